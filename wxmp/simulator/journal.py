"""The journal: every exchange, what was answered, and why. Credentials are replaced before anything is kept."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Exchange", "Journal", "fingerprint"]

SECRET_KEYS = frozenset(
    {"access_token", "appsecret", "code", "msg_signature", "refresh_token", "secret", "signature", "ticket"}
)
SECRET_VALUE = re.compile(r'("(?:access_token|appsecret|code|refresh_token|secret|ticket)"\s*:\s*")((?:[^"\\]|\\.)*)')


def fingerprint(value: str) -> str:
    """Return 8 hex digits that tell two secret values apart and reveal neither."""
    return hashlib.sha256(value.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]


def mask_query(query: Mapping[str, str]) -> dict[str, str]:
    """Replace the values of credential parameters by their fingerprints."""
    return {key: f"***{fingerprint(value)}" if key in SECRET_KEYS else value for key, value in query.items()}


def mask_body(body: bytes, limit: int) -> str:
    """Return the start of a body as text, with the values of credential fields replaced by their fingerprints."""
    # Masking works on complete values, so it has to see a little more than what is kept: a value cut in the middle
    # by the limit is masked first and cut afterwards.
    text = body[: limit + 4096].decode("utf-8", errors="replace")
    return SECRET_VALUE.sub(lambda match: f"{match.group(1)}***{fingerprint(match.group(2))}", text)[:limit]


@attrs.frozen
class Exchange:
    """One request and its answer: a client's (``direction`` is ``"in"``), or the platform's own push (``"out"``).

    Attributes:
        seq: Running number.
        at: Simulated time, seconds since 1970.
        client: The caller's ``X-Client`` label.
        errcode: The answer's code; ``None`` when the answer carries none (a page, a picture, a reset).
        why: The reason for the answer.
        fault: Which injected fault took part, such as ``"#2 busy"``.
        processed: Whether the platform acted on the request.
        direction: ``"in"``: a client asked the platform. ``"out"``: the platform asked the developer's server; the
            bodies are then the decrypted ones, and ``why`` begins with the verdict.
        attempt: Of a push: 1 for the first delivery; 0 for a forged copy and for the address check.
        mode: Of a push: plain, compatible or safe.
        seconds: Of a push: real seconds until the answer.
    """

    seq: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    client: str
    client_ip: str
    appid: str
    status: int
    errcode: int | None
    why: str
    rid: str
    fault: str
    processed: bool
    request_body: str = attrs.field(repr=False)
    response_body: str = attrs.field(repr=False)
    direction: Literal["in", "out"] = "in"
    attempt: int = 0
    mode: str = ""
    seconds: float = 0.0


class Journal:
    """The last exchanges, oldest first, bounded in number."""

    def __init__(self, size: int) -> None:
        self._kept: deque[Exchange] = deque(maxlen=size)
        self._rids: dict[str, Exchange] = {}
        self.seq = 0

    def __iter__(self) -> Iterator[Exchange]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Exchange:
        return self._kept[index]

    def add(self, exchange: Exchange) -> None:
        """Keep one exchange; the oldest goes when the journal is full."""
        if self._kept.maxlen is not None and len(self._kept) == self._kept.maxlen:
            self._rids.pop(self._kept[0].rid, None)
        self._kept.append(exchange)
        if exchange.rid:
            self._rids[exchange.rid] = exchange

    def next_seq(self) -> int:
        """Return the next running number."""
        self.seq += 1
        return self.seq

    def by_rid(self, rid: str) -> Exchange | None:
        """Find the exchange a rid stands for."""
        return self._rids.get(rid)

    def since(self, seq: int) -> list[Exchange]:
        """Return the exchanges after a running number."""
        return [exchange for exchange in self._kept if exchange.seq > seq]

    def find(self, predicate: Callable[[Exchange], bool]) -> Exchange | None:
        """Return the first exchange kept for which ``predicate`` is true."""
        return next((exchange for exchange in self._kept if predicate(exchange)), None)

    def clear(self) -> None:
        """Forget all exchanges; running numbers go on."""
        self._kept.clear()
        self._rids.clear()
