"""The ``Raises`` of every call against the table of error codes: the class that is named is the class that comes."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING

import pytest

import wxmp
import wxmp.api
from wxmp.errcodes import CODES
from wxmp.errors import APIError, ArgumentError, api_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ENTRY = re.compile(r"^( {4})(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
#: Codes stand in brackets; limits such as 100000 do not.
BRACKETS = re.compile(r"\(([^()]*)\)")
CODE = re.compile(r"(?<![\w.])\d{5,9}(?![\w.])")


def documented() -> Iterator[tuple[str, ModuleType, str, int]]:
    """Return call, module, class and code of everything the docstrings of the families promise."""
    for found in pkgutil.iter_modules(wxmp.api.__path__):
        module = importlib.import_module(f"wxmp.api.{found.name}")
        for name, cls in vars(module).items():
            if not name.endswith("API") or getattr(cls, "__module__", "") != module.__name__:
                continue
            for method, function in vars(cls).items():
                text = inspect.getdoc(function) if inspect.isfunction(function) else None
                raises = (text or "").partition("\nRaises:\n")[2].partition("\n\n")[0]
                for _, error, body in ENTRY.findall(raises):
                    for part in BRACKETS.findall(body):
                        for code in CODE.findall(part):
                            yield f"{found.name}.{method}", module, error, int(code)


PROMISES = list(documented())


def numbers_in_code(module: ModuleType) -> set[object]:
    """Return every number that the code of a module holds; what a local check answers is among them."""
    return {node.value for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize(
    ("call", "module", "error", "code"),
    [pytest.param(*promise, id=f"{promise[0]}-{promise[2]}-{promise[3]}") for promise in PROMISES],
)
def test_the_named_class_is_the_one_that_comes(call: str, module: ModuleType, error: str, code: int) -> None:
    """A documented code is in the table, and becomes the class that the docstring names."""
    named = getattr(wxmp, error)
    if named is ArgumentError and code in numbers_in_code(module):
        return  # a check before sending answers with the platform's code, and always with this class
    assert code in CODES
    raised = {type(api_error(code, "", endpoint=call, token_request=issuing)) for issuing in (False, True)}
    assert any(issubclass(cls, named) for cls in raised)


def test_there_is_something_to_check() -> None:
    """The docstrings are read at all."""
    assert len(PROMISES) > 150
    assert all(issubclass(getattr(wxmp, error), APIError) for _, _, error, _ in PROMISES)
