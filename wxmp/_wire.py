"""Between the platform's JSON and our records.

Reading is lenient where the wire is: numbers come as text and the reverse, text can hold raw control characters or
broken UTF-8, fields are missing, ``null`` or empty, and new fields appear at any time (they are kept in ``extra``).
What cannot be read at all is a :class:`~wxmp.errors.ReplyError` that names the field.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from itertools import islice
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union, get_args, get_origin

import attrs

from wxmp.errors import ArgumentError, ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cattrs import Converter

__all__ = [
    "JsonObject",
    "JsonValue",
    "Payload",
    "check_record",
    "decode",
    "dumps",
    "encode",
    "has_utf8",
    "loads",
    "wire",
]

T = TypeVar("T")

if TYPE_CHECKING:
    #: Any value of a JSON document.
    JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
    #: A JSON object as the standard library reads it.
    JsonObject = dict[str, JsonValue]
else:
    # Whoever resolves the annotations of a record does it in that record's module, which need not know these names.
    JsonValue = dict[str, object] | list[object] | str | int | float | bool | None
    JsonObject = dict[str, object]
#: A JSON object in the making: it can still hold records, tuples and secrets. Never in a public signature.
Payload = dict[str, object]

#: Where a record's attribute metadata keeps the name on the wire.
WIRE_NAME: Final = "wxmp.wire"
#: The attribute that takes the fields which a record does not know.
EXTRA: Final = "extra"
#: The key under which a reader finds them. A wire field named "extra" is an unknown field like any other; and cattrs
#: before 26.2 writes the key into source code as it is, so no NUL, quote or backslash.
EXTRA_KEY: Final = "\x7fextra"
#: The payload is not acceptable, in the platform's numbers.
UNREADABLE_PAYLOAD: Final = 47001
#: Bits. Python writes no number of more than 4300 digits.
LONGEST_NUMBER: Final = 10_000
#: Faults of one answer that an error names.
FAULTS_SHOWN: Final = 3


def wire(name: str) -> dict[str, str]:
    """Metadata for ``attrs.field(metadata=wire("tagid"))``: the attribute has another name on the wire."""
    return {WIRE_NAME: name}


# ---- JSON text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is out of range")
    return value


_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, parse_float=_finite)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def loads(body: bytes, *, endpoint: str = "", mask: Callable[[str], str] | None = None) -> JsonObject:
    """Read the JSON object of an answer, whatever its content type says.

    Args:
        body: The answer. Of a key that stands twice, the last value counts.
        endpoint: For the error.
        mask: Takes credentials out of the text before the error keeps a piece of it.

    Raises:
        ReplyError: It is not JSON (truncated, HTML, empty, nested beyond reason) or not an object.
    """
    text = body.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    try:
        value, end = _DECODER.raw_decode(text)
        if end != len(text):  # decode() looks for blanks around the value, at the price of two regular expressions
            value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        problem = "the answer is not JSON"
    else:
        if type(value) is dict:
            return value
        problem = "the answer is JSON, but not an object"
    # Raised here and not above: the exception in flight there holds the whole text, and would stay attached.
    raise ReplyError(problem, endpoint=endpoint, body=text if mask is None else mask(text))


def dumps(value: object, *, endpoint: str = "") -> bytes:
    r"""Write JSON as raw UTF-8: several endpoints refuse ``\u`` escapes or show them literally (40033, 47002).

    Raises:
        ArgumentError: A value has no JSON form (half a surrogate pair, NaN, an object of a foreign type); it names the
            place and the reason, never the value.
    """
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        pass  # what was caught holds the payload: nothing of it is kept
    field, problem = _unwritable(value)
    raise ArgumentError(errcode=UNREADABLE_PAYLOAD, errmsg=problem, endpoint=endpoint, field=field)


def _unwritable(payload: object) -> tuple[str, str]:
    """Find what keeps ``payload`` from being JSON: the place, and what is wrong there."""
    seen: set[int] = set()
    pending: list[tuple[str, object]] = [("", payload)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict | list | tuple):
            if id(value) in seen:
                continue  # shared or circular; a circle is what is left when nothing else is found
            seen.add(id(value))
            pending += reversed(list(_children(path, value)))
        problem = _fault(value)
        if problem:
            return path or "payload", problem
    return "payload", "the payload contains itself or is nested too deeply"


def _children(path: str, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            name = key if isinstance(key, str) and key.isidentifier() else "?"
            yield f"{path}.{name}" if path else name, item
    else:
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item


def _fault(value: object) -> str:
    if isinstance(value, str):
        return "" if has_utf8(value) else "half a surrogate pair has no UTF-8 form"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "JSON has no infinity and no NaN"
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, str) and not has_utf8(key):
                return "a name holds half a surrogate pair, which has no UTF-8 form"
            if not isinstance(key, str):
                return f"a name is {_kind(key)}, not text"
        return ""
    if isinstance(value, int):
        return "" if value.bit_length() <= LONGEST_NUMBER else "a number has thousands of digits"
    if value is None or isinstance(value, list | tuple):
        return ""
    return f"{_kind(value)} has no JSON form"


def has_utf8(text: str) -> bool:
    """Tell whether a text can be sent at all: half a surrogate pair cannot, and the codec's error shows all of it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


# ---- records


def decode(cls: type[T], payload: object, *, endpoint: str = "") -> T:
    """Make the record ``cls`` from a JSON object.

    Raises:
        ReplyError: A required field is missing or a value cannot be what the record says; the message names it.
    """
    read = _reader(cls)  # type: ignore[arg-type]  # mypy holds that a type of unknown metaclass may have no hash
    try:
        record: T = read(payload, cls)
        return record
    except Exception as error:  # noqa: BLE001 - whatever a hook, or a converter or validator of the record raises
        fault = type(error).__name__  # and no more: as in loads(), it can hold a value of the answer
    shape = _explain(cls, payload) or fault
    raise ReplyError(f"the answer does not have the documented shape: {shape}", endpoint=endpoint)


def encode(record: object) -> Any:
    """Return the JSON form of a record: wire names, no absent (``None``) fields, ``extra`` merged in.

    Raises:
        ArgumentError: A ``datetime`` has no time zone, or an attribute is not what its annotation says.
    """
    return _converter().unstructure(record)


def check_record(record: object) -> None:
    """Refuse a record that holds something else than its annotations say; :func:`encode` does it by itself.

    Raises:
        ArgumentError: It names the attribute and the two types, never the value.
    """
    cls: Any = type(record)
    for name, fits, annotation in _tests(cls):
        value = getattr(record, name)
        if not fits(value):
            raise ArgumentError(
                errcode=UNREADABLE_PAYLOAD,
                errmsg=f"must be {_in_words(annotation)}, not {_kind(value)}",
                field=f"{cls.__name__}.{name}",
            )


@cache
def _tests(cls: type[Any]) -> tuple[tuple[str, Callable[[object], bool], Any], ...]:
    return tuple([(field.name, _fit(field.type), field.type) for field in attrs.fields(attrs.resolve_types(cls))])


_PLAIN: Final[Mapping[object, tuple[Callable[[object], bool], str]]] = {
    str: (lambda value: isinstance(value, str), "a text"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    # The platform's own spelling of a switch is not refused.
    bool: (lambda value: isinstance(value, int) and value in (0, 1), "true or false"),
    datetime: (lambda value: isinstance(value, datetime), "a datetime"),
    NoneType: (lambda value: value is None, "None"),
}


@cache
def _fit(annotation: Any) -> Callable[[object], bool]:
    """Return what tells whether a value is of a type, as far as records use types; records look after themselves."""
    if annotation in _PLAIN:
        return _PLAIN[annotation][0]
    parts = _parts(annotation)
    if parts:
        tests = tuple(map(_fit, parts))
        return lambda value: any(test(value) for test in tests)
    if _is_tuple(annotation):
        item = _fit(get_args(annotation)[0])
        return lambda value: isinstance(value, tuple | list) and all(map(item, value))
    if get_origin(annotation) is dict:
        return lambda value: isinstance(value, dict)
    if _is_record(annotation) or _is_enum(annotation):
        return lambda value: isinstance(value, annotation)
    return lambda _: True


def _in_words(annotation: Any) -> str:
    if annotation in _PLAIN:
        return _PLAIN[annotation][1]
    parts = _parts(annotation)
    if parts:
        # An enum is named by the plain type that stands beside it.
        return " or ".join(dict.fromkeys(_in_words(part) for part in parts if not _is_enum(part)))
    if _is_tuple(annotation):
        return f"a list, each entry {_in_words(get_args(annotation)[0])}"
    return "an object" if get_origin(annotation) is dict else _with_article(getattr(annotation, "__name__", "value"))


@cache
def _reader(cls: object) -> Callable[[object, object], Any]:
    # Outside the guarded part of decode(): a record that cannot be read by anybody is our mistake, not the platform's.
    return _converter().get_structure_hook(cls)


@cache
def _converter(*, detailed: bool = False) -> Converter:
    """Return the converter; the detailed one is slower and keeps the path to a fault."""
    from cattrs import Converter

    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _read_str)
    converter.register_structure_hook(int, _read_int)
    converter.register_structure_hook(float, _read_float)
    converter.register_structure_hook(bool, _read_bool)
    converter.register_structure_hook(datetime, _read_datetime)
    converter.register_unstructure_hook(datetime, _write_datetime)
    converter.register_structure_hook_func(_is_json, lambda value, _: value)
    converter.register_structure_hook_factory(_is_absent_or_scalar, _absent_or_scalar_reader)
    converter.register_structure_hook_func(_is_absent_or_text, _read_absent_or_text)
    converter.register_structure_hook_factory(_is_open_enum, _open_enum_reader)
    converter.register_structure_hook_factory(_is_tuple, lambda cls: _tuple_reader(cls, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _record_reader(cls, converter))
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _record_writer(cls, converter))
    return converter


class _UnfitError(ValueError):
    """A value is not what the record says. The text goes into a ReplyError: it never holds the value."""

    def __init__(self, expected: str, value: object) -> None:
        found = "null" if value is None else "text" if isinstance(value, str) else _kind(value)
        super().__init__(f"expected {expected}, found {found}")


def _read_str(value: object, _: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _UnfitError("text", value)


def _read_int(value: object, _: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    # int() alone takes more than numbers of the wire: underscores, digits of other scripts.
    if isinstance(value, str) and value.isascii() and "_" not in value:
        try:
            return int(value)
        except ValueError:
            pass
    raise _UnfitError("a whole number", value)


def _read_float(value: object, _: object) -> float:
    if isinstance(value, int | float) or (isinstance(value, str) and value.isascii() and "_" not in value):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise _UnfitError("a number", value)


def _read_bool(value: object, _: object) -> bool:
    if value in (True, 1, "1", "true"):
        return True
    if value in (False, 0, "0", "false", "", None):
        return False
    raise _UnfitError("0 or 1", value)


def _read_datetime(value: object, _: object) -> datetime:
    if isinstance(value, str) and ":" in value:
        # WeChat Pay writes RFC 3339. Without an offset it would be anybody's guess.
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise _UnfitError("a time with its offset", value)
    try:
        return datetime.fromtimestamp(_read_int(value, _), UTC)
    except (ValueError, OverflowError, OSError):
        raise _UnfitError("seconds since 1970", value) from None


def _write_datetime(value: datetime) -> int:
    if value.tzinfo is None:
        # The local time zone of a server is no fact about the caller's intention.
        raise ArgumentError(
            errcode=UNREADABLE_PAYLOAD,
            errmsg="it has no time zone; use datetime.now(UTC) or the like",
            field="datetime",
        )
    return int(value.timestamp())


def _parts(cls: object) -> tuple[Any, ...]:
    return get_args(cls) if get_origin(cls) in (Union, UnionType) else ()


_JSON_TYPES: Final = {dict, list, str, int, float, bool, NoneType}


def _is_json(cls: object) -> bool:
    """``JsonObject`` or ``JsonValue``; resolving a record's annotations makes another, equal-looking union of it."""
    return cls == JsonObject or {get_origin(part) or part for part in _parts(cls)} == _JSON_TYPES


_SCALARS: Final[Mapping[object, Callable[[object, object], object]]] = {
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    datetime: _read_datetime,
}


def _is_absent_or_scalar(cls: object) -> bool:
    """``int | None`` and the like, text excepted."""
    parts = _parts(cls)
    return len(parts) == 2 and NoneType in parts and any(part in _SCALARS for part in parts)


def _is_absent_or_text(cls: object) -> bool:
    """``str | None``; cattrs would find out anew for each value which of the two it is."""
    return set(_parts(cls)) == {str, NoneType}


def _read_absent_or_text(value: object, _: object) -> str | None:
    if value is None or type(value) is str:
        return value
    return _read_str(value, _)


def _absent_or_scalar_reader(cls: object) -> Callable[[object, object], object]:
    """Empty text means absent, and so does the instant 0: nobody began to follow in 1970."""
    scalar = next(part for part in _parts(cls) if part is not NoneType)
    read_scalar = _SCALARS[scalar]
    absent = ("", 0, "0") if scalar is datetime else ("",)

    def read(value: object, _: object) -> object:
        return None if value is None or value in absent else read_scalar(value, scalar)

    return read


def _is_enum(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Enum)


def _is_open_enum(cls: object) -> bool:
    """``SomeEnum | str``, or with ``| None``: a closed set today, and whatever the platform sends tomorrow."""
    parts = [part for part in _parts(cls) if part is not NoneType]
    return len(parts) == 2 and any(map(_is_enum, parts)) and any(part in (str, int) for part in parts)


def _open_enum_reader(cls: object) -> Callable[[object, object], object]:
    parts = _parts(cls)
    known: dict[object, Enum] = {member.value: member for member in next(filter(_is_enum, parts))}
    plain: Callable[[object, object], object] = _read_int if int in parts else _read_str
    optional = NoneType in parts

    def read(value: object, _: object) -> object:
        if value is None and optional:
            return None
        raw = plain(value, _)
        return known.get(raw, raw)

    return read


def _is_tuple(cls: object) -> bool:
    return get_origin(cls) is tuple and get_args(cls)[1:] == (Ellipsis,)


def _tuple_reader(cls: object, converter: Converter) -> Callable[[object, object], object]:
    (item, _) = get_args(cls)
    read_item = converter.get_structure_hook(item)

    def read(value: Any, _: object) -> object:
        if value is None or value == "":
            return ()
        if not isinstance(value, list | tuple):
            raise _UnfitError("a list", value)
        return tuple([read_item(entry, item) for entry in value])

    def read_detailed(value: Any, _: object) -> object:
        if not isinstance(value, list | tuple):
            return read(value, _)
        for index, entry in enumerate(value):
            try:
                read_item(entry, item)
            except Exception as error:
                raise _AtIndexError(index) from error
        return ()

    return read_detailed if converter.detailed_validation else read


def _is_record(cls: object) -> bool:
    return isinstance(cls, type) and attrs.has(cls)


def _is_absent_or_record(cls: object) -> bool:
    """``SomeRecord | None``."""
    parts = _parts(cls)
    return len(parts) == 2 and NoneType in parts and any(map(_is_record, parts))


class _AtIndexError(Exception):
    """The entry at ``index`` does not fit; the cause says why."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def _wire_name(attribute: attrs.Attribute[Any]) -> str:
    return str(attribute.metadata.get(WIRE_NAME, attribute.name))


def _record_reader(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn, override

    fields = attrs.fields(attrs.resolve_types(cls))
    names = {field.name: _wire_name(field) for field in fields if field.name != EXTRA}
    keeps_extra = len(names) < len(fields)
    read: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_detailed_validation=converter.detailed_validation,
        **{field.name: override(rename=names.get(field.name, EXTRA_KEY)) for field in fields},  # type: ignore[arg-type]
    )
    known = frozenset(names.values())
    # Fields with a value for "absent": null and empty text mean it. Where an object belongs the platform has sent empty
    # text, too.
    defaulted = tuple(
        names[field.name]
        for field in fields
        if field.name in names
        and field.default is not attrs.NOTHING
        and (field.type in _SCALARS or _is_record(field.type) or _is_absent_or_record(field.type))
    )

    def read_record(payload: Any, target: Any) -> Any:
        if isinstance(payload, cls):
            return payload
        if not isinstance(payload, dict):
            raise _UnfitError("an object", payload)
        if keeps_extra and not payload.keys() <= known:
            payload = {**payload, EXTRA_KEY: {key: payload[key] for key in payload if key not in known}}
        for name in defaulted:
            if payload.get(name, 0) in (None, ""):
                payload = {key: value for key, value in payload.items() if key != name}
        return read(payload, target)

    return read_record


def _record_writer(cls: type[Any], converter: Converter) -> Callable[[Any], JsonObject]:
    from cattrs.gen import make_dict_unstructure_fn, override

    fields = attrs.fields(attrs.resolve_types(cls))
    write = make_dict_unstructure_fn(
        cls,
        converter,
        **{
            field.name: override(rename=EXTRA_KEY if field.name == EXTRA else _wire_name(field))  # type: ignore[arg-type]
            for field in fields
        },
    )

    def write_record(record: Any) -> JsonObject:
        check_record(record)
        payload = {key: value for key, value in write(record).items() if value is not None}
        extra: Mapping[str, Any] | None = payload.pop(EXTRA_KEY, None)
        return {**payload, **extra} if extra else payload

    return write_record


# ---- what is wrong with an answer


def _explain(cls: object, payload: object) -> str:
    """Say which fields are wrong. The fast converter does not keep the path, so the detailed one is asked."""
    try:
        _converter(detailed=True).structure(payload, cls)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - as in decode()
        record = get_args(cls)[0] if _is_tuple(cls) else cls
        return "; ".join(islice(_faults(error, getattr(record, "__name__", "answer")), FAULTS_SHOWN))
    return ""


def _faults(error: BaseException, path: str) -> Iterator[str]:
    from cattrs import ClassValidationError

    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, f"{path}.{_both_names(error.cl, note.name)}")
        for inner in others:
            yield from _faults(inner, path)
    elif isinstance(error, _AtIndexError) and error.__cause__ is not None:
        yield from _faults(error.__cause__, f"{path}[{error.index}]")
    elif isinstance(error, KeyError):
        yield f"{path}: required field missing"
    elif isinstance(error, _UnfitError):
        yield f"{path}: {error}"
    else:
        yield f"{path}: {type(error).__name__}"


def _both_names(cls: type, name: str) -> str:
    """Name an attribute, and what it is called in the answer where that is something else."""
    wire_name = next((_wire_name(field) for field in attrs.fields(cls) if field.name == name), name)
    return name if wire_name == name else f"{name} ({wire_name!r})"
