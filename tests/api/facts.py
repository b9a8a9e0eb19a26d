"""The facts of ``endpoints.toml``: what goes over the wire, and answers made of every field that is documented."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs

__all__ = ["FACTS", "INTERNAL", "PUBLIC", "Fact", "Node", "answer_of", "check_wire"]

_FILE: Final = Path(__file__).with_name("endpoints.toml")

#: Called by the client itself and by no coroutine of that name.
INTERNAL: Final = ("client.token (plain)", "client.token (stable)", "jssdk.sign")


@attrs.define
class Node:
    """A documented field and those inside it."""

    name: str
    type: str
    #: Of a request: it must be there when the object around it is. Of an answer: it is never missing.
    needed: bool
    children: dict[str, Node] = attrs.field(factory=dict)

    def names(self) -> set[str]:
        """The dotted names of all fields below this one."""
        found: set[str] = set()
        for child in self.children.values():
            if not child.name.endswith("*"):
                found.add(child.name)
            found |= child.names()
        return found

    def leaves(self) -> list[Node]:
        """The fields below this one that hold values and no other fields."""
        found: list[Node] = []
        for child in self.children.values():
            found += child.leaves() if child.children else [child]
        return found

    def all(self) -> list[Node]:
        """All fields below this one."""
        return [node for child in self.children.values() for node in (child, *child.all())]


@attrs.frozen
class Fact:
    """What is documented about one endpoint."""

    call: str
    method: str
    path: str
    #: Parameters that are part of the address.
    fixed: dict[str, str]
    host: str
    auth: str
    accounts: str
    tier: str
    status: str
    retry_safe: bool
    answer: str
    #: The fields of the request, by place.
    query: Node
    body: Node
    form: Node
    answers: Node

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def family(self) -> str:
        """The attribute of the client."""
        return self.call.partition(".")[0]


def _tree(fields: list[tuple[str, str, bool]]) -> Node:
    root = Node("", "object", needed=True)
    for name, kind, needed in fields:
        node = root
        path = ""
        parts = name.split(".")
        for index, part in enumerate(parts):
            path = f"{path}.{part}" if path else part
            key = part.removesuffix("[]")
            child = node.children.get(key)
            if child is None:
                last = index == len(parts) - 1
                # A name that is documented only through what is inside it (data.*.value).
                child = Node(path.removesuffix("[]"), kind if last else "object", needed if last else False)
                node.children[key] = child
            node = child
    return root


def _fact(call: str, entry: dict[str, Any]) -> Fact:
    method, _, address = entry["line"].partition(" ")
    path, _, query = address.partition("?")
    places: dict[str, list[tuple[str, str, bool]]] = {"query": [], "body": [], "form": []}
    for field in entry.get("sends", ()):
        place, name, kind = field.split()
        places[place.removesuffix("!")].append((name, kind, place.endswith("!")))
    answers = [field.split() for field in entry.get("answers", ())]
    return Fact(
        call,
        method,
        path,
        dict(parse_qsl(query)),
        entry.get("host", "api.weixin.qq.com"),
        entry.get("auth", "access_token"),
        entry.get("accounts", "all"),
        entry["tier"],
        entry.get("status", "current"),
        entry["retry_safe"],
        entry.get("answer", "json"),
        **{place: _tree(fields) for place, fields in places.items()},
        answers=_tree([(name, kind.removesuffix("?"), not kind.endswith("?")) for name, kind in answers]),
    )


FACTS: Final = {call: _fact(call, entry) for call, entry in tomllib.loads(_FILE.read_text(encoding="utf-8")).items()}
PUBLIC: Final = tuple(call for call in FACTS if call not in INTERNAL)


# ---- requests


def check_wire(tree: Node, value: dict[str, Any], *, as_text: bool = False) -> tuple[set[str], list[str]]:
    """Compare what was sent with what is documented.

    Args:
        tree: The documented fields.
        value: What was sent.
        as_text: In a query everything is text.

    Returns:
        The names that were sent, and what is wrong.
    """
    seen: set[str] = set()
    faults: list[str] = []
    _compare(tree, value, seen, faults, as_text=as_text)
    return seen, faults


def _compare(node: Node, value: dict[str, Any], seen: set[str], faults: list[str], *, as_text: bool) -> None:
    for key, item in value.items():
        child = node.children.get(key) or node.children.get("*")
        if child is None:
            faults.append(f"{node.name}.{key} is not documented".lstrip("."))
            continue
        seen.add(child.name)
        if not _fits(child.type, item, as_text=as_text):
            faults.append(f"{child.name} should be {child.type}, not {json.dumps(item, ensure_ascii=False)}")
            continue
        # A menu's second level has the fields of the first.
        inner = node if key == "sub_button" and not child.children else child
        if inner.children:
            for entry in item if isinstance(item, list) else [item]:
                _compare(inner, entry, seen, faults, as_text=as_text)
    faults += [f"{child.name} is missing" for key, child in node.children.items() if child.needed and key not in value]


def _fits(kind: str, value: Any, *, as_text: bool) -> bool:
    if kind.startswith("array<"):
        return isinstance(value, list) and all(_fits(kind[6:-1], item, as_text=as_text) for item in value)
    if as_text:
        shapes = {"int": r"\d+", "flag": "[01]", "bool": "true|false", "date": r"\d{4}-\d\d-\d\d", "float": r"[\d.]+"}
        return isinstance(value, str) and re.fullmatch(shapes.get(kind, ".+"), value) is not None
    if kind == "json_string":
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    if kind == "date":
        return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None
    types: dict[str, Any] = {"string": str, "object": dict, "bool": bool, "float": (int, float), "file": bytes}
    if kind == "flag":
        return type(value) is int and value in (0, 1)
    return isinstance(value, types.get(kind, int)) and (kind == "bool" or not isinstance(value, bool))


# ---- answers

#: What stands in an object whose fields are not documented.
FREE: Final = "free_field"
#: A field that no documentation has.
NEW: Final = "field_of_tomorrow"


def answer_of(
    fact: Fact,
    values: dict[str, tuple[Any, Any]],
    *,
    change: str = "",
    without: frozenset[str] = frozenset(),
    numbers_as_text: bool = False,
    new: bool = False,
) -> dict[str, Any]:
    """Make an answer with every documented field.

    Args:
        fact: The endpoint.
        values: For fields that cannot hold just any value of their type: two values that they can hold.
        change: This field gets another value.
        without: These fields are left out.
        numbers_as_text: Numbers are written as text, as the platform does at times.
        new: Every object gets a field that nobody knows.
    """
    numbers = {node.name: 1000 + index for index, node in enumerate(fact.answers.all())}

    def made(node: Node) -> Any:
        if node.name in values:
            return values[node.name][node.name == change]
        other = node.name == change
        number = numbers[node.name] + 5000 * other
        kind = node.type
        if kind.startswith("array<"):
            inner = attrs.evolve(node, type=kind[6:-1])
            return [made(inner)]
        if kind == "object":
            if not node.children:
                return {FREE: f"text{number}"}
            return content(node)
        if kind == "bool":
            return not other
        if kind == "flag":
            return str(int(not other)) if numbers_as_text else int(not other)
        if kind in ("int", "int64"):
            return str(number) if numbers_as_text else number
        if kind == "float":
            return str(number + 0.5) if numbers_as_text else number + 0.5
        if kind == "date":
            return f"2026-0{1 + other}-{1 + number % 28:02}"
        return f"text{number}"

    def content(node: Node) -> dict[str, Any]:
        found = {key: made(child) for key, child in node.children.items() if child.name not in without}
        return {**found, NEW: "new"} if new else found

    return content(fact.answers)
