"""Bodies: JSON with its credentials merged in, and multipart uploads that are made while they are sent.

Frames of these functions hold secrets in the clear. They stand below the client, and no traceback that leaves the
transport reaches down to them.
"""

from __future__ import annotations

import asyncio
import json
import secrets as random_source
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wxmp._redact import Secret
from wxmp._request import refuse_control
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from wxmp._request import FilePart, WireRequest

__all__ = ["Body", "make_body"]

_FILE_CHUNK: Final = 256 * 1024


def _reveal(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_reveal)


class _SourceFailedError(Exception):
    """The content of an upload could not be read."""


class Body:
    """The pieces of a body, in the order they are sent.

    Args:
        content_type: Its MIME type.
        pieces: Bytes, and files to be read when their turn comes.
        on_failure: Told what the content of a file raised.
    """

    def __init__(
        self, content_type: str, pieces: Sequence[bytes | FilePart], on_failure: Callable[[Exception], None]
    ) -> None:
        self._content_type = content_type
        self._pieces = pieces
        self._on_failure = on_failure
        self._running: AsyncGenerator[bytes, None] | None = None
        #: Bytes; ``None`` when nobody knows before the end.
        self.length: int | None = 0
        for piece in pieces:
            size = len(piece) if isinstance(piece, bytes) else _size(piece)
            self.length = None if self.length is None or size is None else self.length + size

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that announce it."""
        announced = (b"Transfer-Encoding", b"chunked")
        if self.length is not None:
            announced = (b"Content-Length", b"%d" % self.length)
        return [(b"Content-Type", self._content_type.encode("ascii")), announced]

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._running = self._run()
        return self._running

    async def aclose(self) -> None:
        """Close the file that is being read, if any."""
        if self._running is not None:
            await self._running.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            try:
                async with aclosing(_read(piece)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except Exception as error:  # noqa: BLE001 - the user's iterator can raise anything
                # It must not pass for a failure of the network on its way up through httpx.
                self._on_failure(error)
                raise _SourceFailedError from None

    def __repr__(self) -> str:
        return f"<Body {self._content_type.partition(';')[0]}>"


def make_body(request: WireRequest, on_failure: Callable[[Exception], None]) -> Body | None:
    """Make the body of ``request``; its credentials are merged in here.

    Raises:
        ConfigError: The parts of the request do not go together, or a file cannot be read.
    """
    fields = None if request.credentials is None else request.credentials.json
    refuse_control("content_type", request.content_type)
    if request.files or request.form:
        if request.content is not None or fields:
            raise ConfigError("a request has either a JSON body or files", field="files")
        return _multipart(request.files or (), request.form or {}, on_failure)
    content = request.content
    if fields:
        own = json.loads(content) if content else {}
        if not isinstance(own, dict):
            raise ConfigError("credentials can only be merged into a JSON object", field="content")
        content = _JSON.encode({**own, **fields}).encode()
    return None if content is None else Body(request.content_type, (content,), on_failure)


def _multipart(files: Sequence[FilePart], form: Mapping[str, str], on_failure: Callable[[Exception], None]) -> Body:
    boundary = random_source.token_hex(16)
    pieces: list[bytes | FilePart] = []
    for name, value in form.items():
        refuse_control("form", name)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n{value}\r\n'
        pieces.append(head.encode())
    for part in files:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(part.name)}"; '
            f'filename="{_escaped(part.filename)}"\r\nContent-Type: {part.content_type}\r\n\r\n'
        )
        pieces += (head.encode(), part, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return Body(f"multipart/form-data; boundary={boundary}", pieces, on_failure)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22")


def _size(part: FilePart) -> int | None:
    if isinstance(part.content, bytes):
        return len(part.content)
    if isinstance(part.content, Path):
        try:
            return part.content.stat().st_size
        except OSError as error:
            raise ConfigError(f"cannot read the file: {error.strerror}", field=part.name) from None
    return part.size


async def _read(part: FilePart) -> AsyncGenerator[bytes, None]:
    """Yield the content of a part, exactly as many bytes as were announced."""
    whole = left = _size(part)
    done = 0
    async with aclosing(_chunks(part.content)) as chunks:
        async for chunk in chunks:
            if left is not None:
                left -= len(chunk)
                if left < 0:
                    break
            yield chunk
            done += len(chunk)
            if part.progress is not None:  # behind the yield: the piece has been handed over
                part.progress(done, whole)
    if left:
        raise ConfigError("the content has not the size that was announced; nothing usable was sent", field=part.name)


async def _chunks(source: bytes | Path | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if isinstance(source, bytes):
        for start in range(0, len(source), _FILE_CHUNK):
            yield source[start : start + _FILE_CHUNK]
    elif isinstance(source, Path):
        # Opening waits for no network, and a file opened in a thread would be lost if the call is cancelled meanwhile.
        with source.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _FILE_CHUNK):
                yield chunk
    else:
        async for chunk in source:
            yield chunk
