"""Reading a document written by hand: every key is known, every value has its type, every error names its line."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, cast

import attrs

from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.wire import WorldError, as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yaml.nodes import Node

__all__ = ["Document", "Part", "ScenarioError", "nearest", "read_duration", "read_moment", "read_yaml"]

Key: TypeAlias = "tuple[str | int, ...]"

MAX_CHARACTERS: Final = 1 << 20
MAX_NODES: Final = 50_000
MAX_DEPTH: Final = 40
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DURATION: Final = re.compile(r"([+-]?)((?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+)")
DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
TYPE_NAMES: Final[dict[type, str]] = {
    dict: "a mapping",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
}


class ScenarioError(WorldError):
    """A scenario cannot be used: where, why, and what would help."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the one that was probably meant, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"


def read_duration(text: str) -> float | None:
    """Read ``90s``, ``1m30s``, ``500ms``, ``2h``, ``3d``, with a sign where time may go back; ``None`` for others."""
    found = DURATION.fullmatch(text.strip())
    if found is None:
        return None
    seconds = sum(float(number) * UNITS[unit] for number, unit in DURATION_PART.findall(found.group(2)))
    return -seconds if found.group(1) == "-" else seconds


def read_moment(text: str) -> float | None:
    """Read an ISO time such as ``2026-11-11T20:00:00``; without an offset it is Shanghai's. ``None`` for others."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=SHANGHAI)).timestamp()


def kind_of(value: object) -> str:
    """Name the type of a value in plain words."""
    if value is None:
        return "nothing"
    return TYPE_NAMES.get(type(value), "a number" if isinstance(value, float) else type(value).__name__)


@attrs.frozen
class Document:
    """A document that was read: its value, and on which line each part of it stands.

    Attributes:
        name: What errors call it, such as the file's name.
        value: Mappings, lists, texts, numbers, true, false, null.
        lines: The line of a part by its keys; empty when the document was no text.
        environ: Where ``${NAME}`` is looked up.
    """

    name: str
    value: object = attrs.field(repr=False)
    lines: Mapping[Key, int] = attrs.field(factory=dict[Key, int], repr=False)
    environ: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)

    def where(self, key: Key) -> str:
        """Name a place in the document."""
        line = next((self.lines[key[:end]] for end in range(len(key), -1, -1) if key[:end] in self.lines), None)
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).lstrip(".")
        place = self.name if line is None else f"{self.name} line {line}"
        return f"{place}, {path}" if path else place


def read_yaml(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """Read YAML: plain data only, keys once each, and no surprises such as ``no`` being false or ``10:30`` being 630.

    Raises:
        ScenarioError: It is no YAML, or too much of it.
    """
    import yaml

    if len(text) > MAX_CHARACTERS:
        raise ScenarioError(f"{name}: longer than {MAX_CHARACTERS} characters")

    class Loader(yaml.SafeLoader):
        """A safe loader that takes as special only what JSON does."""

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in (
        ("null", r"^(?:~|null|)$", ["~", "n", ""]),
        ("bool", r"^(?:true|false)$", ["t", "f"]),
        ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
        ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read"
        line = f" line {mark.line + 1}" if mark is not None else ""
        raise ScenarioError(f"{name}{line}: no YAML: {problem}") from None
    except (RecursionError, ValueError):
        raise ScenarioError(f"{name}: no YAML: it cannot be read") from None
    builder = Builder(name)
    value = builder.build(node, ()) if node is not None else {}
    return Document(name, value, builder.lines, environ)


class Builder:
    """Turns the nodes of a YAML text into plain values, and keeps the line of each."""

    def __init__(self, name: str) -> None:
        self.lines: dict[Key, int] = {}
        self._name = name
        self._nodes = 0

    def build(self, node: Node, key: Key) -> object:
        """Return the value of one node."""
        from yaml.nodes import MappingNode, ScalarNode, SequenceNode

        line = node.start_mark.line + 1
        self.lines[key] = line
        self._nodes += 1
        # An alias repeats what it stands for: a few lines could become a billion values.
        if self._nodes > MAX_NODES or len(key) > MAX_DEPTH:
            raise ScenarioError(f"{self._name} line {line}: too many values, or too deep; write less, without aliases")
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in {"map", "seq", "null", "bool", "int", "float", "str"}:
            raise ScenarioError(
                f"{self._name} line {line}: the tag !{kind.lstrip('!')} is not taken; write plain values"
            )
        if isinstance(node, MappingNode):
            return self._mapping(node, key)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*key, place)) for place, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(kind, str(node.value), line)
        raise ScenarioError(f"{self._name} line {line}: neither a mapping nor a list nor a value")

    def _mapping(self, node: Node, key: Key) -> dict[str, object]:
        found: dict[str, object] = {}
        for name_node, value_node in node.value:
            name, line = name_node.value, name_node.start_mark.line + 1
            if not isinstance(name, str):
                raise ScenarioError(f"{self._name} line {line}: a key must be a plain word")
            if name in found:
                raise ScenarioError(f"{self._name} line {line}: the key {name!r} stands here twice; keep one")
            found[name] = self.build(value_node, (*key, name))
            # The line of the key is where people look, not the one where a long value begins.
            self.lines[(*key, name)] = line
        return found

    def _scalar(self, tag: str, text: str, line: int) -> object:
        if tag == "null":
            return None
        if tag == "bool":
            return text == "true"
        if tag == "int":
            if len(text) > 19:
                raise ScenarioError(f"{self._name} line {line}: the number is too long; quote it to make it a text")
            return int(text)
        if tag == "float":
            return float(text)
        return text


@attrs.define
class Part:
    """One mapping of a document, read key by key. :meth:`done` refuses what nobody has asked for.

    Args:
        document: The whole.
        key: Where the mapping stands in it.
        expands: Whether ``${NAME}`` in texts is replaced from the environment.
    """

    document: Document
    key: Key = ()
    expands: bool = False
    _value: dict[str, object] = attrs.field(init=False, repr=False)
    _asked: list[str] = attrs.field(init=False, factory=list[str], repr=False)

    def __attrs_post_init__(self) -> None:
        value: object = self.document.value
        for step in self.key:
            value = cast("Mapping[str | int, object]", value)[step]
        found = as_object(value)
        if found is None:
            self.fail(None, f"must be a mapping, not {kind_of(value)}")
        self._value = found

    # --- errors -----------------------------------------------------------------------------------------------

    def where(self, name: str | None = None) -> str:
        """Name this place, or one of its keys."""
        return self.document.where(self.key if name is None else (*self.key, name))

    def fail(self, name: str | None, sentence: str) -> NoReturn:
        """Refuse the document because of this place.

        Raises:
            ScenarioError: Always.
        """
        raise ScenarioError(f"{self.where(name)}: {sentence}")

    def done(self) -> None:
        """Refuse keys that nobody has asked for."""
        for name in self._value:
            if name not in self._asked:
                self.fail(name, f"unknown key {name!r}; {nearest(name, self._asked)}")

    # --- values -----------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def keys(self) -> list[str]:
        """Return the keys, in order."""
        return list(self._value)

    def raw(self, name: str) -> object:
        """Return a value as it is; ``None`` when it is missing."""
        if name not in self._asked:
            self._asked.append(name)
        return self._value.get(name)

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.fail(name, f"must be a text: write it in quotes, '{value}'")
        if not isinstance(value, str):
            self.fail(name, f"must be a text, not {kind_of(value)}")
        return self._expand(name, value) if self.expands else value

    def _expand(self, name: str, value: str) -> str:
        def look_up(found: re.Match[str]) -> str:
            known = self.document.environ.get(found.group(1))
            if not known:
                self.fail(name, f"the environment variable {found.group(1)} is not set; export it, or write a value")
            return known

        return VARIABLE.sub(look_up, value)

    def variable(self, name: str) -> str | None:
        """Return the name of the environment variable a whole value comes from, if it does."""
        found = VARIABLE.fullmatch(str(self.raw(name) or ""))
        return found.group(1) if found is not None else None

    def needed(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.text(name)
        if not value:
            misspelt = difflib.get_close_matches(name, set(self._value) - set(self._asked), n=1)
            if misspelt:
                self.fail(misspelt[0], f"unknown key {misspelt[0]!r}; did you mean {name!r}?")
            self.fail(None, f"{name} is missing; add it")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of a few texts."""
        value = self.text(name, default)
        if value not in choices and value != default:
            self.fail(name, f"{value!r} is not possible; {nearest(value, choices)}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(name, f"must be true or false, not {kind_of(value)}")
        return value

    def whole(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.raw(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.fail(name, f"must be a whole number, not {kind_of(value)}")
        return value if isinstance(value, int) else None

    def number(self, name: str) -> float | None:
        """Return a number."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(name, f"must be a number, not {kind_of(value)}")
        return float(value)

    def seconds(self, name: str, *, back: bool = False) -> float | None:
        """Return a duration in seconds: a number, or a text such as ``1m30s``."""
        value = self.raw(name)
        if value is None:
            return None
        seconds = read_duration(value) if isinstance(value, str) else self.number(name)
        if seconds is None or (seconds < 0 and not back):
            self.fail(name, f"must be a duration such as 10s, 1m30s, 2h{' or -5m' if back else ''}, not {value!r}")
        return seconds

    def moment(self, name: str) -> float | None:
        """Return an instant, in seconds since 1970, written as ISO time."""
        value = self.raw(name)
        if value is None:
            return None
        moment = read_moment(value) if isinstance(value, str) else None
        if moment is None:
            self.fail(name, f"must be a time such as 2026-11-11T20:00:00+08:00, not {value!r}")
        return moment

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.raw(name)
        items = as_list(value) if value is not None else []
        if items is None or not all(isinstance(item, str) for item in items):
            self.fail(name, "must be a list of texts, such as [one, two]")
        return tuple(self._expand(name, str(item)) if self.expands else str(item) for item in items)

    def part(self, name: str, *, expands: bool | None = None) -> Part | None:
        """Return a mapping inside this one."""
        if self.raw(name) is None:
            return None
        return Part(self.document, (*self.key, name), self.expands if expands is None else expands)

    def parts(self, name: str, *, expands: bool | None = None) -> list[Part]:
        """Return a list of mappings."""
        value = self.raw(name)
        items = as_list(value) if value is not None else []
        if items is None:
            self.fail(name, f"must be a list, not {kind_of(value)}; begin each entry with a dash")
        wanted = self.expands if expands is None else expands
        return [Part(self.document, (*self.key, name, place), wanted) for place in range(len(items))]
