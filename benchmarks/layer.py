"""Instructions of our own layer for one ``user.get``, transport excluded.

Included: finding the token, the retry policy's way in and out, building the request, encoding its query (token
included), reading the JSON answer, judging it, making the typed record. Excluded: everything that moves bytes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from benchmarks._callgrind import instructions
from benchmarks._report import Row, run
from benchmarks._server import USER
from benchmarks._ways import OPENID, TOKEN, warm_client
from wxmp._request import WireReply, WireRequest
from wxmp._transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

#: Never asked: the transport below answers by itself.
NOWHERE: Final = "http://127.0.0.1:9"
MAX_BODY: Final = 2**20


class NoTransport(Transport):
    """Does what a transport does before its client is called, and then answers."""

    reply = WireReply(200, {"content-type": "application/json; encoding=utf-8"}, USER)

    async def send(self, request: WireRequest) -> WireReply:
        """Check the request, encode its address, and answer."""
        _, cargo = self._load(request, MAX_BODY, streaming=False)
        cargo.target()
        return self.reply


@asynccontextmanager
async def without_transport(url: str = NOWHERE) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give our call without its transport."""
    async with warm_client(url) as client:
        transport = NoTransport(base_url=url)
        client._caller._transport = transport
        request = WireRequest("GET", "/", credentials=client._caller._token_credentials(await client._keeper.get()))
        _, cargo = transport._load(request, MAX_BODY, streaming=False)
        if TOKEN not in cargo.target().reveal():
            raise RuntimeError("the token is not in the address: this would measure something else")
        get = client.user.get
        yield lambda: get(OPENID, lang="zh_CN")


def measure(quick: bool) -> list[Row]:
    """Count."""
    counted = instructions("layer", NOWHERE, 20 if quick else 500)
    return [
        Row(
            claim="our layer for user.get, transport excluded",
            unit="k instructions",
            ours=counted / 1000,
            at_most=100,
        )
    ]


if __name__ == "__main__":
    raise SystemExit(run("layer", measure))
