"""Requests and replies as plain records, and the platform's way of writing JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

import attrs

__all__ = [
    "Delivery",
    "Form",
    "JsonObject",
    "Refusal",
    "Reply",
    "Request",
    "UploadedFile",
    "WorldError",
    "as_list",
    "as_object",
    "dump_json",
    "json_reply",
    "load_json",
    "parse_form",
    "whole_number",
]

JsonObject: TypeAlias = dict[str, object]

JSON_TYPE: Final = "application/json; charset=UTF-8"
ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u([0-9a-fA-F]{4})")
ASCII_END: Final = 0x80
# Made once: json.dumps() makes an encoder for every call that is not like its defaults.
ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@attrs.frozen
class Request:
    """One request as it reached the platform.

    ``host`` is ``"api"``, ``"mp"``, ``"open"``, ``"mch"``, or ``""`` when the caller did not say which one it meant.
    The names of ``headers`` are in lower case. ``target`` is path and query exactly as they stood in the request line,
    percent-encodings, order and a prefix such as ``/mch`` included; empty when nobody has written one.
    """

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    host: str = ""
    client: str = ""
    client_ip: str = "127.0.0.1"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    target: str = attrs.field(default="", repr=False)

    @property
    def content_type(self) -> str:
        """The whole ``Content-Type`` header, or an empty text."""
        return self.headers.get("content-type", "")


@attrs.frozen
class UploadedFile:
    """One file of a ``multipart/form-data`` body."""

    filename: str
    content_type: str
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Form:
    """A ``multipart/form-data`` body: plain fields and files, by name. Of a doubled name the first counts."""

    fields: Mapping[str, str] = attrs.field(factory=dict[str, str])
    files: Mapping[str, UploadedFile] = attrs.field(factory=dict[str, UploadedFile])


@attrs.frozen
class Delivery:
    """How an answer travels: what the transport does with it. All times are real seconds.

    Attributes:
        delay: Seconds before the first byte.
        reset: Cut the connection with a reset instead of answering.
        refused: With ``reset``: the connection never came about. A real server has accepted it long before it knows,
            and can only reset it; without sockets it is refused.
        hang: Never answer; the connection stays open.
        drip: Seconds between single bytes of the body; 0 sends it at once.
        filler: Bytes of padding to add inside the body, made while sending.
    """

    delay: float = 0.0
    reset: bool = False
    refused: bool = False
    hang: bool = False
    drip: float = 0.0
    filler: int = 0


DIRECT: Final = Delivery()


@attrs.frozen
class Reply:
    """One answer of the platform, with the reason it was given."""

    body: bytes = attrs.field(default=b"", repr=False)
    status: int = 200
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    errcode: int | None = None
    why: str = ""
    rid: str = ""
    delivery: Delivery = DIRECT

    def json(self) -> JsonObject:
        """Read the body back as a JSON object."""
        return as_object(json.loads(self.body)) or {}


class Refusal(Exception):  # noqa: N818  (not an error of the simulator: a normal answer of the platform)
    """The platform says no: becomes HTTP 200 with an ``errcode``.

    Args:
        errcode: The platform's code.
        why: The reason for the journal, with the numbers that led to it.
        detail: Text put into the message, where the real one names a field or an address.
        extra: Further fields of the answer, such as ``fail_openid_list``.
    """

    def __init__(self, errcode: int, why: str = "", *, detail: str = "", extra: JsonObject | None = None) -> None:
        super().__init__(errcode, why)
        self.errcode = errcode
        self.why = why
        self.detail = detail
        self.extra: JsonObject = extra or {}


class WorldError(ValueError):
    """The test or the control page asked for something this world cannot do, such as a scan of an unknown code."""


def dump_json(value: Mapping[str, object]) -> bytes:
    """Write JSON the platform's way: UTF-8, Chinese not escaped, no blanks."""
    return ENCODE(value).encode("utf-8", errors="surrogatepass")


def json_reply(value: Mapping[str, object], *, why: str = "", content_type: str = JSON_TYPE) -> Reply:
    """Return a successful JSON answer; ``why`` goes to the journal only."""
    return Reply(dump_json(value), errcode=0, why=why, content_type=content_type)


def load_json(body: bytes) -> JsonObject:
    """Read a request body.

    Raises:
        Refusal: Empty (44002), or no JSON object in UTF-8 (47001).
    """
    if not body.strip():
        raise Refusal(44002, "the body is empty")
    try:
        value: object = json.loads(body.decode("utf-8"), strict=False)
    except (ValueError, RecursionError) as error:
        raise Refusal(47001, f"the body is not JSON in UTF-8: {type(error).__name__}") from error
    found = as_object(value)
    if found is None:
        raise Refusal(47001, f"the body is a JSON {type(value).__name__}, not an object")
    return found


def parse_form(body: bytes, content_type: str) -> Form:
    """Read a ``multipart/form-data`` body.

    Raises:
        Refusal: Not of that type, or broken (41005, as if no file had come).
    """
    from io import BytesIO

    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import File, FormParser, parse_options_header

    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Refusal(41005, f"the body is {content_type.partition(';')[0] or 'of no type'}, not multipart/form-data")
    fields: dict[str, str] = {}
    files: dict[str, UploadedFile] = {}

    def take_file(file: object) -> None:
        if isinstance(file, File):
            file.file_object.seek(0)
            name, filename = file.field_name or b"", file.file_name or b""
            data = file.file_object.read()
            files.setdefault(utf8(name), UploadedFile(utf8(filename), file.content_type or "", data))

    def take_field(field: object) -> None:
        fields.setdefault(utf8(getattr(field, "field_name", None) or b""), utf8(getattr(field, "value", None) or b""))

    parser = FormParser(
        "multipart/form-data", take_field, take_file, boundary=boundary, config={"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    )
    try:
        reader = BytesIO(body)
        while chunk := reader.read(1 << 20):
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refusal(41005, f"the multipart body cannot be read: {type(error).__name__}") from error
    return Form(fields, files)


def utf8(value: bytes) -> str:
    """Read text of a form; broken UTF-8 is kept visible."""
    return value.decode("utf-8", errors="replace")


def escaped_text(body: bytes) -> bool:
    r"""Tell whether the raw JSON writes a non-ASCII character as ``\uXXXX``."""
    text = body.decode("utf-8", errors="replace")
    return any(int(match.group(1), 16) >= ASCII_END for match in ESCAPE.finditer(text))


def keep_escapes(body: bytes) -> bytes:
    """Double the backslash of every non-ASCII escape, so that it is read as literal text."""

    def double(match: re.Match[str]) -> str:
        found = match.group(0)
        return f"{found[:-5]}\\{found[-5:]}" if int(match.group(1), 16) >= ASCII_END else found

    return ESCAPE.sub(double, body.decode("utf-8", errors="surrogateescape")).encode("utf-8", errors="surrogateescape")


def as_object(value: object) -> JsonObject | None:
    """Return the value when it is a JSON object."""
    return cast("JsonObject", value) if isinstance(value, dict) else None


def as_list(value: object) -> Sequence[object] | None:
    """Return the value when it is a JSON array."""
    return cast("Sequence[object]", value) if isinstance(value, list) else None


def whole_number(value: object) -> int | None:
    """Read an integer the platform's lenient way: ``5`` and ``"5"`` are the same, ``true`` and ``5.5`` are not."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        return int(value)
    return None
