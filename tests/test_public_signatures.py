"""What is public says which types it takes and gives: no ``Any``, and nothing that a type checker must guess."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import typing
import venv
from collections.abc import Coroutine, MutableMapping
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs
import pytest

import wxmp
from tests.test_public_api import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(wxmp.__file__).parents[1]

FRAMEWORKS = "an ASGI application of any framework: each types its three arguments in its own way"
#: Where ``Any`` stands all the same, and why.
UNAVOIDABLE = {
    "wxmp.integrations.fastapi.Lifespan: the alias": "FastAPI's own type of a lifespan has it",
    "wxmp.integrations.fastapi.wxmp_lifespan: lifespan": "FastAPI's own type of a lifespan has it",
    "wxmp.integrations.fastapi.wxmp_lifespan: return": "FastAPI's own type of a lifespan has it",
    "wxmp.simulator.carrier.ASGIApp: the alias": FRAMEWORKS,
    "wxmp.simulator.carrier.Carrier.serve: app": FRAMEWORKS,
    "wxmp.simulator.carrier.lifespan: app": FRAMEWORKS,
    "wxmp.simulator.sandbox.Sandbox.connect: target": FRAMEWORKS,
    "wxmp.simulator.sandbox.Sandbox.lifespan: app": FRAMEWORKS,
}

#: Methods that belong to the public side of a class although they begin with an underscore.
SPECIAL = ("__init__", "__call__", "__getitem__", "__iter__", "__next__", "__aenter__", "__aiter__", "__anext__")


@cache
def namespace(module: ModuleType) -> dict[str, object]:
    """Return what the annotations of a module can name, imports for type checkers included."""
    found = dict(vars(module))
    for block in ast.parse(inspect.getsource(module)).body:
        if not isinstance(block, ast.If) or "TYPE_CHECKING" not in ast.unparse(block.test):
            continue
        for node in block.body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("wxmp"):
                source = importlib.import_module(str(node.module))
                for item in node.names:
                    if hasattr(source, "__path__") and not hasattr(source, item.name):
                        importlib.import_module(f"{source.__name__}.{item.name}")
                    # What is imported may itself be there for type checkers only.
                    name = item.asname or item.name
                    found[name] = getattr(source, item.name, None) or namespace(source)[item.name]
            else:
                exec(compile(ast.Module([node], []), module.__name__, "exec"), found)
    for name, value in found.items():
        if isinstance(value, str) and name[:1].isupper() and not name.isupper():
            # An alias that is written as a text. Inside another type the text is kept, to be looked at.
            found[name] = tuple[value]  # type: ignore[valid-type]
    return found


def functions_of(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods that a class itself defines, as functions."""
    for name, value in vars(cls).items():
        if name.startswith("_") and name not in SPECIAL:
            continue
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property):
            value = value.func
        if inspect.isfunction(value) and value.__module__ == cls.__module__:
            yield name, value


def annotated() -> Iterator[tuple[str, str, ModuleType, Any]]:
    """Yield every public annotation: its place, the name of the argument or attribute, the module, the annotation."""
    for name in MODULES:
        module = importlib.import_module(name)
        for entry in getattr(module, "__all__", ()):
            value = getattr(module, entry)
            if get_origin(value) is not None:
                yield f"{name}.{entry}", "the alias", module, value
            elif getattr(value, "__module__", name) != name:
                continue  # it is looked at where it is defined
            elif inspect.isclass(value):
                for attribute, kind in vars(value).get("__annotations__", {}).items():
                    if not attribute.startswith("_"):
                        yield f"{name}.{entry}", attribute, module, kind
                for method, function in functions_of(value):
                    for argument, kind in function.__annotations__.items():
                        yield f"{name}.{entry}.{method}", argument, module, kind
            elif inspect.isfunction(value):
                for argument, kind in value.__annotations__.items():
                    yield f"{name}.{entry}", argument, module, kind


def resolved(kind: Any, module: ModuleType) -> Any:
    """Return an annotation as the types it names."""
    if not isinstance(kind, str):
        return kind
    return eval(kind.removeprefix("*"), namespace(module))


def holds_any(kind: Any) -> bool:
    """Tell whether ``Any`` is somewhere in a type; aliases are looked into."""
    if kind is Any:
        return True
    if isinstance(kind, str | typing.ForwardRef):  # a name inside an alias, perhaps one of another module
        return re.search(r"\bAny\b", str(kind)) is not None
    parts = get_args(kind)
    if get_origin(kind) is MutableMapping and parts == (str, Any):
        # A scope or a message of ASGI: all servers and frameworks type them so, and another type would not fit theirs.
        return False
    if get_origin(kind) is Coroutine:
        # What an ``async def`` gives is a Coroutine[Any, Any, T] to every type checker.
        parts = parts[2:]
    return any(holds_any(part) for inner in parts for part in (inner if isinstance(inner, list) else [inner]))


def test_no_public_signature_has_any() -> None:
    """No argument, result, attribute or alias is ``Any`` or holds it, but for those that are listed with a reason."""
    found = set()
    for place, name, module, kind in annotated():
        if holds_any(resolved(kind, module)):
            found.add(f"{place}: {name}")
    assert found == set(UNAVOIDABLE)


def test_the_walk_sees_every_kind_of_annotation() -> None:
    """The test above looks at arguments, results, attributes of records, aliases and properties."""
    seen = {f"{place}: {name}" for place, name, _, _ in annotated()}
    assert len(seen) > 3000
    assert {
        "wxmp.client.Client.__init__: on_event",
        "wxmp.client.Client.menu: return",
        "wxmp.client.Client.request: return",
        "wxmp.api.tag.Tag: extra",
        "wxmp.api.tag.TagAPI.create: name",
        "wxmp.api.user.UserAPI.iter_users: return",
    } <= seen


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Any", True),
        ("dict[str, Any] | None", True),
        ("Callable[[Any], None]", True),
        ("Coroutine[Any, Any, int]", False),
        ("Coroutine[Any, Any, list[Any]]", True),
        ("MutableMapping[str, Any]", False),
        ("JsonObject", False),
        ("Loose", True),
    ],
)
def test_any_is_found_wherever_it_stands(kind: str, expected: bool) -> None:
    """``Any`` inside a union, a container, a callable or behind an alias is found."""
    names = """
from typing import Any
from collections.abc import Callable, Coroutine, MutableMapping
from wxmp._wire import JsonObject
Loose = dict[str, Any]
"""
    module = ModuleType("example")
    exec(names, vars(module))
    assert holds_any(eval(kind, vars(module))) is expected


@pytest.mark.parametrize("name", MODULES)
def test_every_argument_and_result_is_annotated(name: str) -> None:
    """No public function leaves a type out, and no public record an attribute."""
    module = importlib.import_module(name)
    bare = []
    for entry in getattr(module, "__all__", ()):
        value = getattr(module, entry)
        if getattr(value, "__module__", name) != name or isinstance(value, ModuleType):
            continue
        members = list(functions_of(value)) if inspect.isclass(value) else [("", value)] * inspect.isfunction(value)
        for method, function in members:
            named = [item for item in inspect.signature(function).parameters if item not in ("self", "cls")]
            bare += [f"{entry}.{method}: {item}" for item in (*named, "return") if item not in function.__annotations__]
        if inspect.isclass(value) and attrs.has(value):
            bare += [f"{entry}.{field.name}" for field in attrs.fields(value) if field.type is None]
    assert bare == []


# ---- as a type checker of somebody else sees it


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What pyright says about the package when it is installed beside a user's program."""
    home = tmp_path_factory.mktemp("user")
    venv.create(home / "env", symlinks=True)
    (site,) = (home / "env").glob("lib/python*/site-packages")
    shutil.copytree(ROOT / "wxmp", site / "wxmp", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "others.pth").write_text(str(Path(attrs.__file__).parents[1]), encoding="utf-8")
    environment = os.environ | {"PATH": f"{home / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "wxmp", "--ignoreexternal", "--outputjson"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return found


def test_no_public_type_is_unknown(verdict: dict[str, Any]) -> None:
    """Pyright knows the type of everything that the package exports."""
    assert verdict["moduleName"] == "wxmp"
    assert len(verdict["symbols"]) > 5000
    unknown = [
        symbol["name"]
        for symbol in verdict["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
    ]
    assert unknown == []


def test_no_public_type_is_left_to_inference(verdict: dict[str, Any]) -> None:
    """Where an attribute has no annotation of its own, type checkers may infer different things: there is none."""
    assert verdict["completenessScore"] == 1
