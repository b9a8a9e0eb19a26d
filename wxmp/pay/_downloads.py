"""Files that a signed answer announces: fetched in pieces, uncompressed, and only given out when the hash fits.

The file itself carries no signature. Its hash came in an answer that did, so until the last byte has been counted
nothing of it is believed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, Final

import attrs

from wxmp._files import arriving, target_path
from wxmp.errors import PayDecryptError, ReplyError
from wxmp.pay._gateway import PayEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from wxmp.pay._gateway import Gateway

__all__ = ["Announced", "Opener", "fetch_bytes", "fetch_file", "fetch_spooled", "pieces"]

#: Bytes that are written at once, in a thread.
PIECE: Final = 1 << 18
#: A file of this many bytes stays in memory until its hash is known; a larger one waits on the disk.
SPOOLED: Final = 1 << 22
#: No file is larger, uncompressed. A compressed one could otherwise fill the disk.
LARGEST: Final = 1 << 33
GZIP: Final = b"\x1f\x8b"
#: zlib's way to say: a gzip header, and nothing else.
GZIP_WINDOW: Final = 31
#: By the platform's words. SHA-1 is its choice; the hash is compared with one that came signed.
HASHES: Final = {"SHA1": "sha1", "SHA256": "sha256"}


#: What GCM adds to a file: its last bytes.
TAG_BYTES: Final = 16
#: AES-256, in bytes.
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class Opener:
    """Deciphers a file piece by piece: AES-256-GCM, the tag at its end, no associated data.

    Args:
        key: Of the file.
        nonce: Of the file.

    Raises:
        PayDecryptError: They cannot be what they should.
    """

    def __init__(self, key: bytes, nonce: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
            raise PayDecryptError(
                f"the file's key must have {KEY_BYTES} bytes and its nonce {NONCE_BYTES}", reason="malformed"
            )
        self._context = Cipher(algorithms.AES(key), modes.GCM(nonce)).decryptor()
        self._rest = b""

    def __repr__(self) -> str:
        return "<Opener>"

    def feed(self, data: bytes) -> bytes:
        """Return what is deciphered of the next bytes; none of it is to be believed before :meth:`end`."""
        data = self._rest + data
        self._rest = data[-TAG_BYTES:]
        return self._context.update(data[:-TAG_BYTES])

    def end(self) -> None:
        """Compare the tag.

        Raises:
            PayDecryptError: Something was changed, or the key is another one.
        """
        from cryptography.exceptions import InvalidTag

        try:
            self._context.finalize_with_tag(self._rest)
        except (InvalidTag, ValueError):
            pass
        else:
            return
        raise PayDecryptError("the file does not open with the key that was announced")


@attrs.frozen
class Announced:
    """A file that an answer has announced."""

    url: str = attrs.field(repr=False)
    hash_type: str
    hash_value: str
    endpoint: PayEndpoint
    #: For a file that travels enciphered; good for one download.
    opener: Opener | None = attrs.field(default=None, repr=False)

    def counter(self) -> hashlib._Hash:
        """Return what counts the hash.

        Raises:
            ReplyError: The platform names one that we do not know.
        """
        name = HASHES.get(self.hash_type.upper().replace("-", ""))
        if name is None:
            raise ReplyError("the file is announced with an unknown kind of hash", endpoint=self.endpoint.name)
        return hashlib.new(name, usedforsecurity=False)


class Inflater:
    """Uncompresses what looks compressed, and passes on everything else."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._start = b""
        self._begun = False
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the content of the next bytes of the file.

        Raises:
            ReplyError: It is compressed and damaged.
        """
        if not self._begun:
            self._start += data
            if len(self._start) < len(GZIP):
                return
            data, self._begun = self._start, True
            if data.startswith(GZIP):
                self._member = zlib.decompressobj(GZIP_WINDOW)
        if self._member is None:
            yield data
            return
        while data:
            try:
                content = self._member.decompress(data, PIECE)
            except zlib.error:
                raise self._damaged() from None
            if content:
                yield content
            data = self._member.unconsumed_tail or self._member.unused_data
            if self._member.eof and data:
                self._member = zlib.decompressobj(GZIP_WINDOW)  # several files of gzip in a row are one

    def end(self) -> Iterator[bytes]:
        """Yield what is left.

        Raises:
            ReplyError: The file ends in the middle.
        """
        if not self._begun:
            yield self._start
        elif self._member is not None:
            while not self._member.eof:
                try:
                    content = self._member.decompress(b"", PIECE)
                except zlib.error:
                    raise self._damaged() from None
                if not content:
                    raise self._damaged()
                yield content

    def _damaged(self) -> ReplyError:
        return ReplyError("the file is damaged: it does not uncompress", endpoint=self._endpoint, maybe_acted=False)


async def _fetch(call: Gateway, file: Announced, target: IO[bytes]) -> None:
    """Write the content of an announced file.

    Raises:
        ReplyError: It is not what was announced. What was written must not be used.
    """
    name = file.endpoint.name
    counter, inflater = file.counter(), Inflater(name)
    size, waiting = 0, bytearray()
    async with call.download(file.url, file.endpoint) as stream:
        async for piece in stream.aiter_bytes():
            data = piece if file.opener is None else file.opener.feed(piece)
            for content in inflater.feed(data):
                size += len(content)
                if size > LARGEST:
                    raise ReplyError(f"the file is larger than {LARGEST} bytes", endpoint=name, maybe_acted=False)
                counter.update(content)
                waiting += content
                if len(waiting) >= PIECE:
                    await asyncio.to_thread(target.write, bytes(waiting))
                    waiting.clear()
    if file.opener is not None:
        file.opener.end()
    for content in inflater.end():
        counter.update(content)
        waiting += content
    await asyncio.to_thread(target.write, bytes(waiting))
    if not hmac.compare_digest(counter.hexdigest().encode(), file.hash_value.strip().lower().encode()):
        problem = "the file is not the one that was announced: its hash differs. Ask for a new link and try again"
        raise ReplyError(problem, endpoint=name, maybe_acted=False)


async def fetch_file(call: Gateway, file: Announced, to: str | Path) -> Path:
    """Write an announced file to a path, where it appears whole and good or not at all.

    Raises:
        ConfigError: The folder is not there, or the path is a folder.
        ReplyError: The file is not what was announced.
    """
    target = target_path(to)
    async with arriving(target, private=True) as handle:
        await _fetch(call, file, handle)
    return target


async def fetch_spooled(call: Gateway, file: Announced) -> IO[bytes]:
    """Return an announced file, good and at its beginning; whoever asks closes it.

    Raises:
        ReplyError: The file is not what was announced.
    """
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOLED)  # noqa: SIM115 - handed over when it is good
    try:
        await _fetch(call, file, spool)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return spool


async def fetch_bytes(call: Gateway, file: Announced) -> bytes:
    """Return the content of an announced file.

    Raises:
        ReplyError: The file is not what was announced.
    """
    with await fetch_spooled(call, file) as spool:
        return await asyncio.to_thread(spool.read)


async def pieces(spool: IO[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield a file in pieces."""
    while data := await asyncio.to_thread(spool.read, PIECE):
        yield data
