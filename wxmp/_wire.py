"""Between the platform's JSON and our records.

Reading is lenient where the wire is: numbers come as text and the reverse, text can hold raw control characters or
broken UTF-8, fields are missing or ``null``, and new fields appear at any time (they are kept in ``extra``). What
cannot be read at all is a :class:`~wxmp.errors.ReplyError` that names the field.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import attrs

from wxmp.errors import ArgumentError, ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cattrs import Converter

__all__ = ["JsonObject", "JsonValue", "decode", "dumps", "encode", "loads", "wire"]

T = TypeVar("T")

#: Any value of a JSON document.
JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
#: A JSON object as the standard library reads it.
JsonObject = dict[str, Any]

#: Where a record's attribute metadata keeps the name on the wire.
WIRE_NAME: Final = "wxmp.wire"
#: The attribute that takes the fields which a record does not know. A wire field of that name would land in it too.
EXTRA: Final = "extra"


def wire(name: str) -> dict[str, str]:
    """Metadata for ``attrs.field(metadata=wire("tagid"))``: the attribute has another name on the wire."""
    return {WIRE_NAME: name}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def loads(body: bytes, *, endpoint: str = "") -> JsonObject:
    """Read the JSON object of an answer, whatever its content type says.

    Raises:
        ReplyError: It is not JSON (truncated, HTML, empty, nested beyond reason) or not an object.
    """
    text = body.decode("utf-8", "replace")
    try:
        value = _DECODER.decode(text.lstrip("\ufeff") if text.startswith("\ufeff") else text)
    except (ValueError, RecursionError):
        raise ReplyError("the answer is not JSON", endpoint=endpoint, body=text) from None
    if type(value) is not dict:
        raise ReplyError("the answer is JSON, but not an object", endpoint=endpoint, body=text)
    return value


def dumps(value: object, *, endpoint: str = "") -> bytes:
    r"""Write JSON as raw UTF-8: several endpoints refuse ``\u`` escapes or show them literally (40033, 47002).

    Raises:
        ArgumentError: A value has no JSON form (a lone surrogate, NaN, an object of a foreign type).
    """
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        problem = "a text holds half a surrogate pair, which has no UTF-8 form"
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"the payload has no JSON form: {error}"
    raise ArgumentError(errcode=47001, errmsg=problem, endpoint=endpoint, field="payload")


def decode(cls: type[T], payload: object, *, endpoint: str = "") -> T:
    """Make the record ``cls`` from a JSON object.

    Raises:
        ReplyError: A required field is missing or a value cannot be what the record says; the message names it.
    """
    converter = _converter()
    try:
        return converter.structure(payload, cls)
    except Exception as error:  # noqa: BLE001 - cattrs lets through whatever a hook raises
        raise ReplyError(_explain(cls, payload, error), endpoint=endpoint) from None


def encode(record: object) -> Any:
    """Return the JSON form of a record: wire names, no absent (``None``) fields, ``extra`` merged in."""
    return _converter().unstructure(record)


def _explain(cls: type, payload: object, error: Exception) -> str:
    """Say which field is wrong. The fast converter does not keep the path, so a second one is asked."""
    from cattrs import transform_error

    try:
        _converter(detailed=True).structure(payload, cls)
    except Exception as detailed:  # noqa: BLE001
        reasons = transform_error(detailed, path=cls.__name__)
        return f"the answer does not have the documented shape: {'; '.join(reasons[:3])}"
    return f"the answer does not have the documented shape: {type(error).__name__}"


@lru_cache(maxsize=2)
def _converter(*, detailed: bool = False) -> Converter:
    from cattrs import Converter

    converter = Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _read_str)
    converter.register_structure_hook(int, _read_int)
    converter.register_structure_hook(float, _read_float)
    converter.register_structure_hook(bool, _read_bool)
    converter.register_structure_hook(datetime, _read_datetime)
    converter.register_unstructure_hook(datetime, lambda value: int(value.timestamp()))
    converter.register_structure_hook_func(lambda cls: cls is JsonValue or cls == JsonObject, lambda value, _: value)
    converter.register_structure_hook_factory(_is_open_enum, _open_enum_reader)
    converter.register_structure_hook_factory(_is_tuple, lambda cls: _tuple_reader(cls, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _record_reader(cls, converter))
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _record_writer(cls, converter))
    return converter


def _read_str(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"expected text, found {type(value).__name__}")


def _read_int(value: object, _: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str):
        return int(value)
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise TypeError(f"expected a whole number, found {type(value).__name__}")


def _read_float(value: object, _: object) -> float:
    if isinstance(value, int | float | str):
        return float(value)
    raise TypeError(f"expected a number, found {type(value).__name__}")


def _read_bool(value: object, _: object) -> bool:
    if value in (True, 1, "1", "true"):
        return True
    if value in (False, 0, "0", "false", "", None):
        return False
    raise TypeError(f"expected 0 or 1, found {type(value).__name__}")


def _read_datetime(value: object, _: object) -> datetime:
    return datetime.fromtimestamp(_read_int(value, _), UTC)


def _is_open_enum(cls: object) -> bool:
    """``SomeEnum | str``: a closed set today, and whatever the platform sends tomorrow."""
    parts = get_args(cls)
    return (
        len(parts) == 2  # noqa: PLR2004
        and any(isinstance(part, type) and issubclass(part, Enum) for part in parts)
        and any(part in (str, int) for part in parts)
    )


def _open_enum_reader(cls: object) -> Callable[[object, object], object]:
    parts = get_args(cls)
    enum = next(part for part in parts if isinstance(part, type) and issubclass(part, Enum))
    plain = _read_int if int in parts else _read_str
    known: dict[object, Enum] = {member.value: member for member in enum}

    def read(value: object, _: object) -> object:
        if value in parts or isinstance(value, enum):
            return value
        raw = plain(value, _)
        return known.get(raw, raw)

    return read


def _is_tuple(cls: object) -> bool:
    return getattr(cls, "__origin__", None) is tuple and get_args(cls)[1:] == (Ellipsis,)


def _tuple_reader(cls: object, converter: Converter) -> Callable[[object, object], object]:
    (item, _) = get_args(cls)
    read_item = converter.get_structure_hook(item)

    def read(value: Any, _: object) -> object:
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise TypeError(f"expected a list, found {type(value).__name__}")
        return tuple([read_item(entry, item) for entry in value])

    return read


def _wire_name(attribute: attrs.Attribute[Any]) -> str:
    return str(attribute.metadata.get(WIRE_NAME, attribute.name))


def _record_reader(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn, override

    fields = attrs.fields(attrs.resolve_types(cls))
    read: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_detailed_validation=converter.detailed_validation,
        **{field.name: override(rename=_wire_name(field)) for field in fields},  # type: ignore[arg-type]
    )
    known = frozenset(_wire_name(field) for field in fields)
    keeps_extra = EXTRA in known

    def read_record(payload: Any, target: Any) -> Any:
        if isinstance(payload, cls):
            return payload
        if not isinstance(payload, dict):
            raise TypeError(f"expected an object, found {type(payload).__name__}")
        if keeps_extra and not payload.keys() <= known:
            payload = {**payload, EXTRA: {key: payload[key] for key in payload.keys() - known}}
        return read(payload, target)

    return read_record


def _record_writer(cls: type[Any], converter: Converter) -> Callable[[Any], JsonObject]:
    from cattrs.gen import make_dict_unstructure_fn, override

    fields = attrs.fields(attrs.resolve_types(cls))
    write = make_dict_unstructure_fn(
        cls,
        converter,
        **{field.name: override(rename=_wire_name(field)) for field in fields},  # type: ignore[arg-type]
    )

    def write_record(record: Any) -> JsonObject:
        payload = {key: value for key, value in write(record).items() if value is not None}
        extra: Mapping[str, Any] = payload.pop(EXTRA, None) or {}
        return {**payload, **extra}

    return write_record
