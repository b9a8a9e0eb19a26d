"""The simulator stands apart: it shares no code with the SDK and loads no server until it is started."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wxmp.simulator
from wxmp.simulator.families import ROUTES
from wxmp.simulator.messages import ERRMSG, errmsg

ROOT = Path(wxmp.simulator.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_nothing_of_the_sdk(path):
    """A mistake shared with the SDK would hide itself, so no module of the SDK is imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module}"]
        assert not [name for name in names if name.startswith("wxmp") and not name.startswith("wxmp.simulator")]
        assert not [name for name in names if name.startswith(".")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_core_reads_no_wall_clock_and_no_global_chance(path):
    """Time comes from the clock and chance from the seed: nothing else may ask the machine."""
    text = path.read_text(encoding="utf-8")
    names = {node.names[0].name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)}
    assert not names & {"random", "secrets", "uuid"}
    if path.name != "clock.py":
        assert "time" not in names


def test_import_loads_no_server():
    """Importing the package and running a world needs neither server nor HTTP client nor cryptography."""
    code = (
        "import sys; from wxmp.simulator import Clock, Simulator, World; World(clock=Clock.frozen()); Simulator();"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "print(sorted(loaded & {'starlette', 'uvicorn', 'segno', 'httpx', 'redis', 'cryptography'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_every_refusal_has_a_text():
    """Every errcode the rules can answer has a message of its own."""
    codes = {
        int(code) for path in SOURCES for code in re.findall(r"Refusal\((-?\d+)", path.read_text(encoding="utf-8"))
    }
    assert len(codes) > 60
    assert codes - set(ERRMSG) == set()
    assert errmsg(40164, "1.2.3.4") == "invalid ip 1.2.3.4, not in whitelist"
    assert errmsg(12345) == "system error"


def test_no_two_routes_collide():
    """Each verb and path has one route on each host, and all endpoints of the families are there."""
    routes = [(route.method, route.path, route.host) for route in ROUTES]
    assert len(routes) == len(set(routes))
    assert len(routes) > 160
    assert {route.method for route in ROUTES} == {"GET", "POST"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_all_is_sorted_and_true(path):
    """Every module names its public things, sorted, and has them."""
    module = "wxmp.simulator." + path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    module = module.removesuffix(".__init__")
    __import__(module)
    names = sys.modules[module].__all__
    assert len(names) == len(set(names))
    assert all(hasattr(sys.modules[module], name) for name in names)
