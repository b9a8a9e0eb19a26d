"""What is raised to a caller has a public class: our own inner exceptions end inside."""

from __future__ import annotations

import ast
import builtins
from functools import cache
from typing import TYPE_CHECKING, Final

import wxmp
from tests.test_architecture import SOURCES, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Exceptions that are no errors of the library: where each is raised, and the functions in which it ends. What is
#: raised somewhere else, or ends somewhere else, is looked at here first: could a caller ever see it?
INNER: Final[dict[str, tuple[set[str], set[str]]]] = {
    "wxmp._body._SourceFailedError": ({"wxmp._body"}, {"wxmp._transport.Transport._bounded"}),
    "wxmp._caller._NoTokenError": (
        {"wxmp._caller"},
        {"wxmp._caller.Caller.__call__", "wxmp._caller.Caller._persist", "wxmp._caller.Caller._repeat"},
    ),
    "wxmp._pool.PoolClosed": ({"wxmp._pool", "wxmp._loop_pools"}, {"wxmp._transport.Transport._bounded"}),
    "wxmp._pool.ReplyTooLarge": ({"wxmp._pool"}, {"wxmp._transport.Transport._bounded"}),
    "wxmp._redis.OddAnswerError": (
        {"wxmp._redis", "wxmp.webhook.dedupe_redis"},
        {"wxmp._redis.RedisScripts.run", "wxmp.webhook.activity_redis.RedisActivityLog._buttons"},
    ),
    "wxmp._redis._StaleError": ({"wxmp._redis"}, {"wxmp._redis.RedisScripts.run", "wxmp._redis.RedisScripts._send"}),
    "wxmp._wire._AtIndexError": ({"wxmp._wire"}, {"wxmp._wire._explain"}),
    "wxmp._wire._UnfitError": ({"wxmp._wire"}, {"wxmp._wire.decode", "wxmp._wire._explain"}),
    "wxmp.api._datacube_records.NotADateError": ({"wxmp.api._datacube_records"}, {"wxmp._wire.decode"}),
    "wxmp.broadcast.delivery.LapsedError": ({"wxmp.broadcast.delivery"}, {"wxmp.broadcast.engine.Run._send_one"}),
    "wxmp.broadcast.delivery.StopError": (
        {"wxmp.broadcast.delivery"},
        {"wxmp.broadcast.engine.Run._send_one", "wxmp.broadcast.engine.Run._nothing_is_left"},
    ),
    "wxmp.control.desk.UnavailableError": (
        {"wxmp.control.desk"},
        {
            "wxmp.control.desk.watch",
            "wxmp.control.server.ControlServer._hand_out",
            "wxmp.control.server.ControlServer._replace",
        },
    ),
    "wxmp.control.web.RefusedError": (
        {"wxmp.control.server", "wxmp.control.web"},
        {"wxmp.control.server.ControlServer._settle"},
    ),
    "wxmp.pay.notify_reading._RefusedError": ({"wxmp.pay.notify_reading"}, {"wxmp.pay.notify_reading.read_object"}),
    "wxmp.tokens._flight._WithheldError": (
        {"wxmp.tokens._flight"},
        {"wxmp.tokens._flight.Flight._refresh", "wxmp.tokens._flight.Flight._obtain"},
    ),
    "wxmp.tokens._guard.StoreDownError": (
        {"wxmp.tokens._guard"},
        {
            "wxmp.tokens._flight.Flight.run",
            "wxmp.tokens._flight.Flight._commit",
            "wxmp.tokens._flight.Flight._failed",
            "wxmp.tokens.keeper.TokenKeeper.record",
        },
    ),
}

#: The command line ends its own in a sentence and an exit code, the simulator in an answer: both have their own tests.
APART: Final = ("wxmp.cli", "wxmp.simulator")

BASE: Final = "wxmp.errors.WxmpError"
#: Where users import from.
DOORS: Final = ("wxmp", "wxmp.pay", "wxmp.pay.v2", "wxmp.webhook")


@cache
def bases() -> dict[str, list[str]]:
    """Every class of the library, and what it is made from; read and not imported, which would load every extra."""
    found: dict[str, list[str]] = {}
    for module in SOURCES:
        if module.startswith(APART):
            continue
        tree = tree_of(module)
        here = {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                here |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                names = map(ast.unparse, node.bases)
                found[here[node.name]] = [here.get(name, name) for name in names]
    return found


def above(name: str) -> set[str]:
    """A class and everything it is made from, by full names; those of Python by their own."""
    python = getattr(builtins, name, None)
    if isinstance(python, type):
        return {cls.__name__ for cls in python.__mro__}
    return {name}.union(*(above(base) for base in bases().get(name, ())))


@cache
def exceptions() -> dict[str, set[str]]:
    """Every exception class of the library, and what it is made from."""
    return {name: above(name) for name in bases() if "BaseException" in above(name)}


def ours() -> list[str]:
    return [name for name, made_from in exceptions().items() if BASE in made_from]


def listed(module: str) -> set[str]:
    """What a module has in its ``__all__``."""
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {word.value for word in ast.walk(node) if isinstance(word, ast.Constant)}
    return set()


def is_public(name: str) -> bool:
    """Tell whether a class is listed by its own module, and that one has no underscore in its path."""
    module, _, plain = name.rpartition(".")
    return plain in listed(module) and not any(part.startswith("_") for part in module.split("."))


def functions(module: str) -> Iterator[tuple[str, ast.AST]]:
    """The functions and methods of a module, by their full names."""
    pending: list[tuple[str, ast.AST]] = [(module, tree_of(module))]
    while pending:
        place, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{place}.{child.name}"
                pending.append((inner, child))
                if not isinstance(child, ast.ClassDef):
                    yield inner, child


def caught_in(node: ast.AST) -> set[str]:
    """The names behind ``except`` and in ``suppress(...)`` of a function."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.ExceptHandler) and part.type is not None:
            found |= {name.id for name in ast.walk(part.type) if isinstance(name, ast.Name)}
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "suppress":
            found |= {name.id for argument in part.args for name in ast.walk(argument) if isinstance(name, ast.Name)}
    return found


def raised_in(module: str) -> set[str]:
    """The names of the classes that a module raises, or hands to a waiter to be raised."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        target: ast.AST | None = None
        if isinstance(node, ast.Raise):
            target = node.exc
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".set_exception"):
            target = node.args[0]
        if target is not None:
            found |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def test_every_error_of_ours_is_public() -> None:
    """Whoever catches an error can import its class: it is at a front door, or listed by a public module."""
    assert set(ours()) >= {f"wxmp.errors.{entry}" for entry in wxmp.__all__ if entry.endswith("Error")}
    doors = set().union(*map(listed, DOORS))
    assert [name for name in ours() if name.rpartition(".")[2] not in doors and not is_public(name)] == []


def test_every_error_of_ours_is_one_of_the_front_door() -> None:
    """A program that names only classes of ``wxmp`` in its ``except`` misses none that says more."""
    front = {f"wxmp.errors.{entry}" for entry in wxmp.__all__} - {BASE}
    assert [name for name in ours() if name != BASE and front.isdisjoint(above(name))] == []


def test_the_inner_exceptions_are_known() -> None:
    """An exception class that is no error of ours is looked at: where is it raised, and where does it end?"""
    assert set(exceptions()) - set(ours()) == set(INNER)


def test_an_inner_exception_is_raised_only_where_it_ends() -> None:
    """No other module raises it: nobody there would catch it."""
    raised = {module: raised_in(module) for module in SOURCES if not module.startswith(APART)}
    for name, (places, _) in INNER.items():
        assert {module for module in raised if name.rpartition(".")[2] in raised[module]} == places, name


def test_an_inner_exception_ends_inside() -> None:
    """The functions that are to end it catch it, by its name or by that of a base class."""
    for name, (_, ends) in INNER.items():
        names = {one.rpartition(".")[2] for one in above(name) - {"BaseException", "object"}}
        for place in ends:
            module = max((known for known in SOURCES if place.startswith(f"{known}.")), key=len)
            assert caught_in(dict(functions(module))[place]) & names, (name, place)
