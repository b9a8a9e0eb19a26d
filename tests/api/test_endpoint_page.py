"""The pages that ``docs/tables.py`` writes are what the code says, in both languages, with a line for everything."""

from __future__ import annotations

import importlib.util
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.api.facts import FACTS, PUBLIC
from tests.api.test_every_endpoint import KEYED
from wxmp import Client
from wxmp.errcodes import CODES
from wxmp.pay._codes import CODES as PAY_CODES
from wxmp.simulator.fidelity import FIDELITY

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def tables() -> Any:
    """The script that writes the pages."""
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_what_the_code_says(tables: Any) -> None:
    """Each written page is what ``make docs-tables`` would write now."""
    names = {"endpoints.md", "errors.md", "simulator-coverage.md"}
    assert names | {f"zh/{name}" for name in names} == set(tables.PAGES)
    for name, page in tables.PAGES.items():
        assert (DOCS / name).read_text(encoding="utf-8") == page(), f"{name} is behind: make docs-tables"


def test_every_endpoint_has_its_line(tables: Any) -> None:
    """The page has one line for each endpoint, under its family, with a Chinese title."""
    page = tables.endpoints_page()
    sections = dict(re.findall(r"^## [^\n]*`client\.(\w+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for call in PUBLIC:
        family, _, name = call.partition(".")
        (line,) = [row for row in sections[family].splitlines() if row.startswith((f"| `{name}` |", f"| `{name}` ("))]
        _, _, title, endpoint, *_ = (cell.strip() for cell in line.split("|"))
        assert re.search(r"[\u4e00-\u9fff]", title), call
        assert endpoint.startswith(f"`{FACTS[call].line}"), call
    assert len(re.findall(r"^\| `", page, re.MULTILINE)) == len(FACTS)


def test_every_code_has_its_line(tables: Any) -> None:
    """Each catalogue has one line for each return code, and the Chinese one an advice wherever the code has one."""
    for page in (tables.errors_page(), tables.errors_page(tables.CHINESE)):
        lines = re.findall(r'^\| <a id="(-?\d+)"></a>.*\| ([^|]*) \|$', page, re.MULTILINE)
        assert {int(number): advice != "" for number, advice in lines} == {
            code: entry.advice != "" for code, entry in CODES.items() if code
        }


def test_nothing_is_translated_that_is_gone(tables: Any) -> None:
    """The Chinese texts belong to what there is."""
    words = tables.WORDS
    assert set(words["errcodes"]) == {str(code) for code in CODES if code}
    assert set(words["paycodes"]) == {entry.code for entry in PAY_CODES.values()}
    assert set(words["simulated"]) == set(FIDELITY)
    assert set(words["groups"]) == {str(first) for first, *_ in tables.GROUPS}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readmes_count_and_name_what_there_is(name: str) -> None:
    """Both READMEs say how many calls there are, and name every family of the client."""
    text = (DOCS.parent / name).read_text(encoding="utf-8")
    families = [entry for entry in vars(Client) if isinstance(vars(Client)[entry], cached_property)]
    families.remove("broadcast")  # made of families, and none itself
    assert re.search(rf"\b{len(PUBLIC)} (calls|个调用)", text)
    assert re.search(rf"\b{len(families)} (families|组)", text)
    assert re.search("[,、]\\s*".join(f"`{family}`" for family in families), text)


def test_what_is_repeated_by_its_key_is_listed(tables: Any) -> None:
    """The page calls those sends repeatable by key that are found to be."""
    assert tables.BY_KEY == KEYED
