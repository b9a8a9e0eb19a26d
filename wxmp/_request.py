"""What is asked and what is answered: records without any machinery, and how their values are written in a URL.

Nothing here waits, opens or sends; a family can build a request, and a test an answer, without loading an HTTP library.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs

from wxmp._redact import Secret
from wxmp._wire import has_utf8
from wxmp.errors import ConfigError

__all__ = [
    "Credentials",
    "FilePart",
    "Progress",
    "WireReply",
    "WireRequest",
    "encode_path",
    "encode_query",
    "header_lines",
    "refuse_control",
]

#: Is told how many bytes have moved so far, and how many there are in all; ``None`` if nobody knows.
Progress = Callable[[int, int | None], object]

_MARK_LENGTH: Final = 12
_SAFE: Final = re.compile(r"[A-Za-z0-9._~-]*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
#: What parts the words of a header's value.
_BETWEEN_WORDS: Final = re.compile(r'[\s",;]+')


class Credentials:
    """What authorises a request; it is added below the client's logging.

    Args:
        params: Query parameters, for example ``{"access_token": Secret(...)}``.
        json: Fields merged into the JSON body; a ``Secret`` anywhere inside is revealed there.
        headers: Header lines, for example ``{"Authorization": Secret(...)}``.
    """

    __slots__ = ("headers", "json", "marks", "params", "query")

    def __init__(
        self,
        params: Mapping[str, Secret] | None = None,
        json: Mapping[str, object] | None = None,
        headers: Mapping[str, Secret] | None = None,
    ) -> None:
        self.params: Mapping[str, Secret] = {} if params is None else params
        self.json: Mapping[str, object] | None = json
        self.headers: Mapping[str, Secret] = {} if headers is None else headers
        #: The parameters as they go into the URL, encoded once.
        pairs = [f"{name}={_quote(value.reveal())}" for name, value in self.params.items()]
        self.query: Secret = Secret("&".join(pairs))
        #: What an answer's headers must not repeat. Short values (an AppID's part, a flag) are no secrets.
        self.marks: tuple[bytes, ...] = tuple(
            _quote(value.reveal()).encode() for value in self.params.values() if len(value.reveal()) >= _MARK_LENGTH
        ) + tuple(_heart(value.reveal()).encode() for value in self.headers.values())

    def __repr__(self) -> str:
        names = ", ".join([*self.params, *(self.json or ()), *self.headers])
        return f"<Credentials {names}>"

    def values(self) -> list[str]:
        """Return every secret text inside, for scrubbing messages."""
        found: list[str] = []
        for value in self.params.values():
            found += (value.reveal(), _quote(value.reveal()))
        for value in self.headers.values():
            found += (value.reveal(), _heart(value.reveal()))
        pending: list[object] = list((self.json or {}).values())
        while pending:
            item = pending.pop()
            if isinstance(item, Secret):
                found.append(item.reveal())
            elif isinstance(item, Mapping):
                pending += item.values()
            elif isinstance(item, list | tuple):
                pending += item
        return found


@attrs.frozen(repr=False, eq=False)
class FilePart:
    """One file of a multipart upload; read piece by piece, never as a whole.

    Args:
        name: The form field, for example ``"media"``.
        filename: What the platform is told; sent as raw UTF-8, because it ignores the ``filename*`` form.
        content: Bytes, a path, or an asynchronous iterator of bytes. An iterator can be sent once.
        content_type: Its MIME type.
        size: Bytes an iterator will give. Without it the request has no Content-Length and is sent in chunks.
        progress: Called with the bytes that were handed to the network and the bytes in all (``None``: unknown), piece
            by piece, and from 0 again when the upload is repeated. What it raises ends the call.

    Raises:
        ConfigError: A name holds a control character or has no UTF-8 form, or ``progress`` cannot be called.
    """

    name: str
    filename: str
    content: bytes | Path | AsyncIterator[bytes]
    content_type: str = "application/octet-stream"
    size: int | None = None
    progress: Progress | None = None

    def __attrs_post_init__(self) -> None:
        for field in ("name", "filename", "content_type"):
            value = getattr(self, field)
            refuse_control(field, value)
            if not has_utf8(value):  # names that an operating system gives can hold any bytes
                raise _no_utf8(field)
        if self.progress is not None and not callable(self.progress):
            raise ConfigError("progress must be a function of two numbers", field="progress")

    @property
    def replayable(self) -> bool:
        """Whether the content can be sent a second time."""
        return isinstance(self.content, bytes | Path)

    def __repr__(self) -> str:
        return f"<FilePart {self.name}>"


# Not frozen: a frozen class sets each field through object.__setattr__, and one of these is made for every attempt.
@attrs.define(repr=False, eq=False)
class WireRequest:
    """One HTTP request to the platform.

    Args:
        method: ``"GET"`` or ``"POST"``.
        path: A path such as ``"/cgi-bin/user/info"``, encoded already; never a URL, never with a query.
        params: Query parameters. ``None`` values are left out, ``bool`` becomes ``true``/``false``.
        query: The query as it goes over the wire, instead of ``params``: for whoever has signed it.
        content: A body, encoded already.
        content_type: MIME type of ``content``.
        headers: Header lines, instead of those the transport would send or beside them.
        files: Parts of a multipart upload, instead of ``content``.
        form: Plain fields of a multipart upload.
        credentials: What authorises the request.
        origin: Another host than the transport's base URL, for example ``"https://mp.weixin.qq.com"``. Credentials go
            there only if it is one of the transport's ``allowed_origins``.
        endpoint: For errors and logs; method and path if empty.
        timeout: Seconds for the whole request, instead of the transport's.
    """

    method: str
    path: str
    params: Mapping[str, str | int | bool | None] | None = None
    content: bytes | None = None
    files: Sequence[FilePart] | None = None
    form: Mapping[str, str] | None = None
    credentials: Credentials | None = None
    origin: str | None = None
    endpoint: str = ""
    timeout: float | None = None
    query: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None

    @property
    def label(self) -> str:
        """What errors and logs call it."""
        return self.endpoint or f"{self.method} {self.path}"

    @property
    def replayable(self) -> bool:
        """Whether this request can be sent a second time."""
        return not self.files or all(part.replayable for part in self.files)

    def __repr__(self) -> str:
        return f"<WireRequest {self.label}>"


@attrs.frozen(repr=False, eq=False)
class WireReply:
    """An answer: status, headers (lower-case names), decoded body. Its ``repr`` shows no content: it can be a token."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"<WireReply {self.status}, {len(self.content)} bytes>"


def encode_query(params: Mapping[str, str | int | bool | None] | None) -> str:
    """Return ``params`` as they go into the URL; whatever a value holds stays inside its parameter.

    Raises:
        ConfigError: A value has no obvious form on the wire; ``field`` names its parameter.
    """
    if not params:
        return ""
    pairs = []
    for name, value in params.items():
        if value is None:
            continue
        if value is True or value is False:
            text = "true" if value else "false"
        elif isinstance(value, str):
            try:
                # The names of agents (kf_account) have one, and the platform has taken an encoded one for another name.
                # It needs no encoding in a query.
                text = _quote(value).replace("%40", "@")
            except UnicodeEncodeError:
                raise _no_utf8(name) from None
        elif isinstance(value, int):
            text = str(int(value))
        else:
            raise ConfigError(f"{name} must be str, int, bool or None, not {type(value).__name__}", field=name)
        try:
            pairs.append(f"{_quote(name)}={text}")
        except UnicodeEncodeError:
            raise ConfigError("params has a name with half a surrogate pair in it", field="params") from None
    return "&".join(pairs)


def encode_path(template: str, values: Mapping[str, str]) -> str:
    """Put values into a path such as ``"/v3/pay/transactions/id/{transaction_id}"``.

    Everything but letters, digits and ``-._~`` is percent-encoded, so that no value reaches beyond its place.

    Raises:
        ConfigError: A value is missing, is no text, is empty, or would be read as a step to another folder; ``field``
            names it.
    """
    return _PLACE.sub(lambda place: _segment(place.group(1), values), template)


_PLACE: Final = re.compile(r"\{([a-z_]+)\}")


def _segment(name: str, values: Mapping[str, str]) -> str:
    value = values.get(name)
    if not isinstance(value, str) or value in ("", ".", ".."):
        raise ConfigError(f"{name} must be a text that can stand in a path, not empty", field=name)
    try:
        return _quote(value)
    except UnicodeEncodeError:
        raise _no_utf8(name) from None


def _no_utf8(field: str) -> ConfigError:
    return ConfigError(f"{field} holds half a surrogate pair, which has no UTF-8 form", field=field)


def header_lines(request: WireRequest) -> list[tuple[bytes, bytes]]:
    """Return the header lines a request brings along, those of its credentials included.

    Raises:
        ConfigError: A name or a value would not stay within its line.
    """
    lines = []
    for name, value in (request.headers or {}).items():
        lines.append(_line(name, value))
    if request.credentials is not None:
        for name, secret in request.credentials.headers.items():
            lines.append(_line(name, secret.reveal()))
    return lines


def _line(name: str, value: str) -> tuple[bytes, bytes]:
    refuse_control(name, value)
    if _HEADER_NAME.fullmatch(name) is None or not value.isascii():
        raise ConfigError("a header has an ASCII name and an ASCII value", field=name)
    return name.encode("ascii"), value.encode("ascii")


def _heart(value: str) -> str:
    """Return the longest word of a header's value: what makes it secret, however it is repeated."""
    return max(_BETWEEN_WORDS.split(value), key=len)


def _quote(value: str) -> str:
    return value if _SAFE.fullmatch(value) else quote(value, safe="")


def refuse_control(field: str, value: object) -> None:
    """Refuse what could end a header line and begin another.

    Raises:
        ConfigError: ``value`` is no text, or holds a control character.
    """
    if not isinstance(value, str) or _UNPRINTABLE.search(value):
        raise ConfigError(f"{field} must be a text without control characters", field=field)
