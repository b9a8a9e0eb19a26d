"""A family costs nothing until it is touched, and then only itself."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cached_property
from typing import Any

import pytest

from wxmp import Client

# Bulk sends are made of families and are none.
FAMILIES = [n for n, value in vars(Client).items() if isinstance(value, cached_property) and n != "broadcast"]

#: Libraries that no family may bring along; a webhook or a store does.
HEAVY = ["redis", "cryptography", "starlette", "rich", "yaml"]

SCRIPT = """
import json, sys
from wxmp import Client
client = Client("wx0123456789abcdef", "fake-appsecret")
before = set(sys.modules)
for name in {names!r}:
    getattr(client, name)
loaded = set(sys.modules) - before
print(json.dumps([sorted(n for n in loaded if n.startswith("wxmp.")), sorted(set({heavy!r}) & set(sys.modules))]))
"""


def touched(*names: str) -> Any:
    """Return which of our modules the first touch of families loads in a new process, and which heavy libraries."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['httpx._main'] = None\n" + SCRIPT.format(names=names, heavy=HEAVY),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_loads_itself_and_no_other(family: str) -> None:
    """The first touch of a family loads its module and those that families share, and no other family."""
    ours, heavy = touched(family)
    assert {name for name in FAMILIES if f"wxmp.api.{name}" in ours} == {family}
    assert not [name for name in ours if not name.startswith(("wxmp.api", "wxmp._"))]
    assert heavy == []


def test_all_families_together_load_nothing_heavy() -> None:
    """A program that touches every family still has no redis, cryptography, web framework or command line."""
    ours, heavy = touched(*FAMILIES)
    assert {f"wxmp.api.{family}" for family in FAMILIES} <= set(ours)
    assert not [name for name in ours if name.startswith(("wxmp.pay", "wxmp.webhook", "wxmp.simulator", "wxmp.cli"))]
    assert heavy == []
