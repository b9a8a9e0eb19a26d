"""What it costs to read one encrypted text message, and to answer it with an encrypted text.

In: take the query apart, verify, decrypt, parse to a typed record. Ours also looks for the request among those seen
before and claims the push (``MemoryDedupe``); wechatpy does neither. In + out: the same, then make, check, render and
encrypt a text reply, and store it for the retries. wechatpy's record is a dictionary that converts a field when it is
asked for one; ours is converted. Its ``WeChatCrypto`` is made once; its documentation makes one for each request.

The whole webhook stands beside: what ``Webhook.answer`` does for a request, with the handler in a task of its own, its
deadlines, its lease. wechatpy has none of that. The bare limit is what no SDK in Python can do without: base64, AES
with a kept cipher, SHA-1, and one pass of expat, without handlers, over the message. The envelope around it is not even
parsed there.

All sides read the same messages in turns; each is read once by each. CPU time: nothing is waited for.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl
from xml.parsers.expat import ParserCreate

from benchmarks._report import Row, compared, run
from benchmarks._webhook_app import echoing, import_wechatpy
from benchmarks._webhook_pushes import (
    APPID,
    ENCODING_AES_KEY,
    QUESTION,
    TOKEN,
    cipher,
    encrypted_pushes,
    opened_reply,
)
from wxmp.webhook import MemoryDedupe, TextMessage, TextReply, Webhook
from wxmp.webhook.gate import Gate
from wxmp.webhook.parsing import identity, read_push
from wxmp.webhook.replies import as_reply, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._webhook_pushes import RawPush
    from wxmp.webhook import Push
    from wxmp.webhook.gate import Opened

#: What the webhook asks of its store.
LEASE: Final = 3.0
KEEP: Final = 60.0


class Bare:
    """The limit."""

    def __init__(self) -> None:
        self._cipher = cipher()
        self._token = TOKEN.encode()

    def read(self, push: RawPush, query: dict[str, str]) -> bytes:
        """Do what has to be done to read a push, and no more."""
        encrypt = push.body[push.body.index(b"<Encrypt><![CDATA[") + 18 : push.body.index(b"]]></Encrypt>")]
        parts = sorted((self._token, query["timestamp"].encode(), query["nonce"].encode(), encrypt))
        if hashlib.sha1(b"".join(parts)).hexdigest() != query["msg_signature"]:
            raise RuntimeError("the limit does not verify: this would measure something else")
        plain = self._cipher.decryptor().update(base64.b64decode(encrypt))
        inner = plain[20 : 20 + int.from_bytes(plain[16:20], "big")]
        ParserCreate().Parse(inner, True)
        return inner


class Wechatpy:
    """The peer, as its documentation shows it: ``check_signature`` first, then the message."""

    def __init__(self) -> None:
        self._wechatpy = import_wechatpy()
        self._crypto = self._wechatpy.crypto.WeChatCrypto(TOKEN, ENCODING_AES_KEY, APPID)

    def read(self, push: RawPush, query: dict[str, str]) -> Any:
        """Take the request apart, verify, decrypt, parse."""
        query = taken_apart(push)
        self._wechatpy.utils.check_signature(TOKEN, query["signature"], query["timestamp"], query["nonce"])
        text = self._crypto.decrypt_message(push.body, query["msg_signature"], query["timestamp"], query["nonce"])
        return self._wechatpy.parse_message(text)

    def answer(self, push: RawPush, query: dict[str, str]) -> str:
        """Read and answer."""
        message = self.read(push, query)
        reply = self._wechatpy.create_reply(message.content, message)
        answered: str = self._crypto.encrypt_message(reply.render(), query["nonce"], query["timestamp"])
        return answered


class Ours:
    """Our parts, in the order in which the webhook uses them."""

    def __init__(self) -> None:
        self._gate = Gate(
            token=TOKEN,
            encoding_aes_key=ENCODING_AES_KEY,
            appid=APPID,
            mode=None,
            previous=(),
            window=300.0,
            max_body=1 << 20,
            clock=time.time,
            original_id=None,
        )
        self._store = MemoryDedupe()

    async def _read(self, push: RawPush) -> tuple[Opened, Push, str, int]:
        opened = self._gate.open(push.query, push.body)
        message = read_push(opened.fields)
        digest = hashlib.sha256(identity(message).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        key = f"{APPID}:{digest}"
        claim = await self._store.begin(
            key, replay=f"{APPID}:{opened.replay_key}", replay_for=opened.replay_for, lease=LEASE, keep=KEEP
        )
        if claim.status != "new":
            raise RuntimeError(f"a new push counts as {claim.status}")
        return opened, message, key, claim.fence

    async def read(self, push: RawPush, _query: dict[str, str]) -> Push:
        """Verify, decrypt, parse, see that it is new, claim it."""
        return (await self._read(push))[1]

    async def answer(self, push: RawPush, _query: dict[str, str]) -> bytes:
        """Read, answer, and keep the answer for the retries."""
        opened, message, key, fence = await self._read(push)
        reply = as_reply(TextReply(message.content)) if isinstance(message, TextMessage) else None
        if reply is None:
            raise RuntimeError("a text message is read as something else")
        text = render(reply, message, format=opened.format, created=int(time.time()))
        await self._store.finish(key, fence=fence, answer=text, keep=KEEP, taken=True)
        return self._gate.seal(opened, text)


class Whole:
    """Our whole webhook."""

    def __init__(self) -> None:
        self._silent = Webhook(token=TOKEN, encoding_aes_key=ENCODING_AES_KEY, appid=APPID)
        self._echoing = echoing()

        @self._silent.on(TextMessage)
        async def listen(_: TextMessage) -> None:
            return None

    async def read(self, push: RawPush, _query: dict[str, str]) -> bytes:
        """Handle a push that is answered with nothing."""
        return (await self._silent.answer("POST", push.query, push.body)).body

    async def answer(self, push: RawPush, _query: dict[str, str]) -> bytes:
        """Handle a push that is answered."""
        return (await self._echoing.answer("POST", push.query, push.body)).body


async def check(one: RawPush, query: dict[str, str]) -> None:
    """See that all sides read the same and answer it."""
    ours, peer, whole = Ours(), Wechatpy(), Whole()
    message = await ours.read(one, query)
    read = [message.content if isinstance(message, TextMessage) else "", peer.read(one, query).content]
    silent = await whole.read(one, query)
    answers = [await Ours().answer(one, query), peer.answer(one, query).encode(), await whole.answer(one, query)]
    if read + [opened_reply(each) for each in answers] != [QUESTION] * 5 or silent != b"success":
        raise RuntimeError("somebody does not read or answer what was sent: this would measure something else")
    if QUESTION.encode() not in Bare().read(one, query):
        raise RuntimeError("the limit does not read what was sent: this would measure something else")


def taken_apart(push: RawPush) -> dict[str, str]:
    """Return the query as a web framework gives it."""
    return dict(parse_qsl(push.query.decode()))


async def per_push(way: Callable[..., Any], pushes: Sequence[tuple[RawPush, dict[str, str]]]) -> float:
    """Return the CPU microseconds of one push."""
    waits = asyncio.iscoroutinefunction(way)
    started = time.process_time()
    if waits:
        for push, query in pushes:
            await way(push, query)
    else:
        for push, query in pushes:
            way(push, query)
    return (time.process_time() - started) / len(pushes) * 1e6


async def time_all(rounds: int, times: int) -> dict[str, list[float]]:
    """Time all ways in turns, each with stores of its own."""
    ours, answering, peer, whole = Ours(), Ours(), Wechatpy(), Whole()
    ways: dict[str, Callable[..., Any]] = {
        "limit": Bare().read,
        "ours in": ours.read,
        "peer in": peer.read,
        "ours out": answering.answer,
        "peer out": peer.answer,
        "whole in": whole.read,
        "whole out": whole.answer,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        first = 1 + number * times
        pushes = [(push, taken_apart(push)) for push in encrypted_pushes(times, first=first)]
        for name, way in ways.items():
            microseconds = await per_push(way, pushes)
            if number:  # the first round warms up
                found[name].append(microseconds)
    return found


async def checked(rounds: int, times: int) -> dict[str, list[float]]:
    """See that the work is done, then time it."""
    (one,) = encrypted_pushes(1)
    await check(one, taken_apart(one))
    return await time_all(rounds, times)


def measure(quick: bool) -> list[Row]:
    """Run all ways in turns."""
    import_wechatpy()
    found = asyncio.run(checked(1, 50) if quick else checked(31, 1_000))

    def row(claim: str, ours: str, peer: str, *, most: float | None = None, name: str = "wechatpy") -> Row:
        return Row(claim=claim, unit="us", peer_name=name, ratio_at_most=most, **compared(found[ours], found[peer]))

    return [
        row("encrypted text in, dedupe and replay check included", "ours in", "peer in", most=0.40),
        row("encrypted text in, encrypted text out", "ours out", "peer out", most=0.33),
        row("encrypted text in, the whole webhook", "whole in", "peer in"),
        row("encrypted text in and out, the whole webhook", "whole out", "peer out"),
        row("encrypted text in, against the bare limit", "ours in", "limit", name="base64 + AES + SHA-1 + expat"),
        row("the bare limit of encrypted text in", "limit", "peer in"),
    ]


if __name__ == "__main__":
    raise SystemExit(run("webhook_in_out", measure))
