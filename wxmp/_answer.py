"""Answers: their headers as a mapping, and their bodies counted and decompressed within a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from wxmp.errors import ReplyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LONGEST_LENGTH", "Decoder", "header_map"]

_INFLATE_CHUNK: Final = 64 * 1024
#: Digits of a Content-Length. Python does not read numbers of thousands of digits.
LONGEST_LENGTH: Final = 20


def header_map(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; those that come several times are joined with commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


class Decoder:
    """Counts the bytes of an answer and undoes its compression, never holding more than allowed.

    We ask for no compression: the answers are small and a local copy of one costs less than unpacking it. A proxy may
    compress all the same.

    Args:
        headers: Of the answer, found by lower-case name.
        limit: Bytes the answer may have, decoded.

    Raises:
        ReplyError: The answer announces more than ``limit``, or an encoding nobody asked for. The methods raise it when
            it is larger than announced, or damaged.
    """

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        encoding = headers.get("content-encoding", "").strip().lower()
        self._left = limit
        self._limit = limit
        self._inflate: Any = None
        if encoding in ("gzip", "x-gzip", "deflate"):
            # 32: gzip or zlib, whichever the data says.
            self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        elif encoding not in ("", "identity"):
            raise ReplyError("the answer is compressed in a way nobody asked for")
        declared = headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > LONGEST_LENGTH or int(declared) > limit):
            raise self._too_large()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what ``chunk`` holds."""
        if self._inflate is None:
            self._count(chunk)
            return [chunk]
        pieces = []
        try:
            while chunk:
                piece = self._inflate.decompress(chunk, _INFLATE_CHUNK)
                self._count(piece)
                pieces.append(piece)
                chunk = self._inflate.unconsumed_tail
        except zlib.error:
            raise ReplyError("the compressed answer is damaged") from None
        return pieces

    def finish(self) -> list[bytes]:
        """Return the rest; the answer is complete."""
        if self._inflate is None:
            return []
        try:
            rest = self._inflate.flush()
        except zlib.error:
            rest = b""
        self._count(rest)
        if not self._inflate.eof:
            raise ReplyError("the compressed answer is damaged")
        return [rest]

    def whole(self, chunks: Sequence[bytes]) -> bytes:
        """Return the body that ``chunks`` hold."""
        if self._inflate is None and len(chunks) == 1:  # nearly every answer
            self._count(chunks[0])
            return chunks[0]
        pieces = [piece for chunk in chunks for piece in self.feed(chunk)]
        return b"".join([*pieces, *self.finish()])

    def _count(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise self._too_large()

    def _too_large(self) -> ReplyError:
        return ReplyError(f"the answer is larger than {self._limit} bytes")
