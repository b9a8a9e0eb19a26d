"""The journal: every exchange, what was answered, and why. Credentials are replaced before anything is kept."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp.simulator.effects import PREPARING, SLOWING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wxmp.simulator.wire import JsonObject

__all__ = ["Exchange", "Journal", "fingerprint", "keep_body", "mask_body", "mask_query", "rule_of", "show_exchange"]

SECRET_KEYS: Final = frozenset(
    {
        *("access_token", "appsecret", "authorization", "code", "encoding_aes_key", "msg_signature", "paysign"),
        *("js_code", "refresh_token", "secret", "session_key", "sign", "signature", "ticket"),
    }
)
NAMES: Final = (
    "access_token|api_v[23]_key|appsecret|code|encoding_aes_key|js_code|MsgSignature|msg_signature|paySign"
    "|refresh_token|secret|session_key|sign|signature|ticket"
)
# JSON, XML, and the parts of forms and addresses. A code of the pay errors (PARAM_ERROR) is no credential.
SECRET_JSON: Final = re.compile(rf'("(?:{NAMES})"\s*:\s*")((?:[^"\\]|\\.)*)', re.IGNORECASE)
SECRET_XML: Final = re.compile(rf"(<(?:{NAMES})>(?:<!\[CDATA\[)?)([^<\]]*)", re.IGNORECASE)
SECRET_PAIR: Final = re.compile(r"(\b(?:access_token|appsecret|refresh_token|secret)=)([^&\s\"'<>\\]+)", re.IGNORECASE)
SECRET_PART: Final = re.compile(
    r"(name=\"(?:access_token|appsecret|refresh_token|secret)\"[^\r\n]*(?:\r?\n[^\r\n]+)*\r?\n\r?\n)([^\r\n]*)",
    re.IGNORECASE,
)
WORD: Final = re.compile(r"[A-Z][A-Z_]*")
# Masking works on complete values, so it has to see a little more than what is kept: a value cut in the middle by the
# limit is masked first and cut afterwards.
MARGIN: Final = 4096
PART_HEAD: Final = re.compile(rb"\r?\n\r?\n")
BINARY_TYPES: Final = ("image/", "audio/", "video/", "application/octet-stream", "application/zip", "application/gzip")


def fingerprint(value: str) -> str:
    """Return 8 hex digits that tell two secret values apart and reveal neither."""
    return hashlib.sha256(value.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]


def mask_query(query: Mapping[str, str]) -> dict[str, str]:
    """Replace the values of credential parameters by their fingerprints."""
    return {key: f"***{fingerprint(value)}" if key.lower() in SECRET_KEYS else value for key, value in query.items()}


def mask_value(match: re.Match[str]) -> str:
    """Replace one credential; an empty value and the name of an error are none."""
    head, value = match.group(1), match.group(2)
    return match.group(0) if not value or WORD.fullmatch(value) else f"{head}***{fingerprint(value)}"


def mask_text(text: str) -> str:
    """Replace the values of credential fields by their fingerprints: in JSON, XML, forms and addresses."""
    if '"' in text:
        text = SECRET_JSON.sub(mask_value, text)
        text = SECRET_PART.sub(mask_value, text) if 'name="' in text else text
    if "</" in text:
        text = SECRET_XML.sub(mask_value, text)
    return SECRET_PAIR.sub(mask_value, text) if "=" in text else text


def mask_body(body: bytes, limit: int) -> str:
    """Return the start of a body as text, with the values of credential fields replaced by their fingerprints."""
    return mask_text(body[: limit + MARGIN].decode("utf-8", errors="replace"))[:limit]


def keep_body(body: bytes, limit: int, content_type: str = "") -> tuple[str, bool]:
    """Return a body as it is kept, and whether it was cut; of files only their size is kept."""
    if not body:
        return "", False
    if content_type.startswith("multipart/"):
        body = describe_form(body, content_type)
    elif content_type.startswith(BINARY_TYPES) or b"\0" in body[:MARGIN]:
        return f"<{len(body)} bytes>"[:limit], False
    kept = mask_body(body, limit)
    return kept, len(body) > limit and len(kept) >= limit


def describe_form(body: bytes, content_type: str) -> bytes:
    """Return a multipart body whose files are replaced by their sizes."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        return f"<{len(body)} bytes>".encode()
    mark = b"--" + found.group(1).encode("latin-1", errors="replace")
    shown: list[bytes] = []
    for part in body.split(mark):
        head, data = [*PART_HEAD.split(part, maxsplit=1), b""][:2]
        if b"filename" in head.lower():
            part = head + b"\r\n\r\n" + f"<{len(data.rstrip())} bytes>".encode() + b"\r\n"
        shown.append(part)
    return mark.join(shown)


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
        rule: A short stable name for what decided: ``"ok"``, ``"token_replaced"``, ``"fault:busy"``, ``"push:shown"``.
        caller: Who asked: the label, else the address; the platform itself for a push.
        speed: Simulated seconds per real second at that moment; 0 when the clock stood still.
        quota_used: Calls of the path counted today before and after, where the request was counted.
        quota_limit: And how many there are.
        request_cut: Whether ``request_body`` is not the whole body; likewise ``response_cut``.
        request_raw: Of a push in an encrypted mode: the body as it went out, still encrypted.
        response_raw: The answer to a push as it came, still encrypted.
        host: Which of the platform's hosts was meant; of a push, scheme and address of the developer's server.
        content_type: Of the request; ``response_type`` of the answer.
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
    rule: str = ""
    caller: str = ""
    speed: float = 1.0
    quota_used: tuple[int, int] | None = None
    quota_limit: int | None = None
    request_cut: bool = False
    response_cut: bool = False
    request_raw: str = attrs.field(default="", repr=False)
    response_raw: str = attrs.field(default="", repr=False)
    host: str = ""
    content_type: str = ""
    response_type: str = ""

    @property
    def size(self) -> int:
        """Characters kept of all bodies."""
        return len(self.request_body) + len(self.response_body) + len(self.request_raw) + len(self.response_raw)


FIELDS: Final = tuple(field.name for field in attrs.fields(Exchange))
RAW: Final = frozenset({"request_raw", "response_raw"})


def show_exchange(exchange: Exchange, *, body: int | None = None, raw: bool = False) -> JsonObject:
    """Return an exchange as JSON.

    Args:
        exchange: What to show.
        body: At most so many characters of each body; ``"cut"`` then tells whether any is missing.
        raw: Whether to show the encrypted forms too.
    """
    shown: JsonObject = {name: getattr(exchange, name) for name in FIELDS if raw or name not in RAW}
    cut = exchange.request_cut or exchange.response_cut
    if body is not None:
        for name in ("request_body", "response_body"):
            text: str = getattr(exchange, name)
            if len(text) > body:
                shown[name], cut = text[:body], True
    shown["cut"] = cut
    return shown


RULES: Final[Mapping[int, str]] = {
    -1: "busy",
    0: "ok",
    40001: "token_replaced",
    40013: "appid_unknown",
    40014: "token_unknown",
    40029: "code_unknown",
    40066: "path_unknown",
    40125: "secret_wrong",
    40163: "code_used",
    40164: "ip_not_listed",
    41001: "token_missing",
    42001: "token_expired",
    43001: "verb",
    43002: "verb",
    43004: "not_following",
    44002: "body_empty",
    45009: "quota_day",
    45011: "quota_minute",
    45015: "window_closed",
    45047: "window_used_up",
    47001: "body_unreadable",
    48001: "not_granted",
    48004: "banned",
}


def rule_of(errcode: int | None, status: int, fault: str) -> str:
    """Return the short name of what decided an answer; a fault that only slows it down has decided nothing."""
    struck = [label.rpartition(" ")[2] for label in fault.split(", ") if label]
    deciding = next((name for name in struck if name not in SLOWING and name not in PREPARING), None)
    if deciding is not None:
        return f"fault:{deciding}"
    if errcode is None:
        return "ok" if 200 <= status < 400 else f"status_{status}"
    return RULES.get(errcode, f"errcode_{errcode}")


class Journal:
    """The last exchanges, oldest first, bounded in number and in the size of their bodies.

    Args:
        size: Exchanges kept.
        most: Characters kept of all bodies together; at least the newest exchange stays.
    """

    def __init__(self, size: int, most: int = 64 << 20) -> None:
        self._kept: deque[Exchange] = deque()
        self._size = size
        self._most = most
        self._characters = 0
        self._rids: dict[str, Exchange] = {}
        self.watcher: Callable[[Exchange], None] | None = None
        self.seq: int = 0

    def __iter__(self) -> Iterator[Exchange]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Exchange:
        return self._kept[index]

    @property
    def characters(self) -> int:
        """Characters kept of all bodies together."""
        return self._characters

    @property
    def first_seq(self) -> int:
        """The number of the oldest exchange kept; of the next one when none is."""
        return self._kept[0].seq if self._kept else self.seq + 1

    def add(self, exchange: Exchange) -> None:
        """Keep one exchange; the oldest go when the journal is full."""
        self._kept.append(exchange)
        self._characters += exchange.size
        if exchange.rid:
            self._rids[exchange.rid] = exchange
        if self.watcher is not None:
            self.watcher(exchange)
        while len(self._kept) > self._size or (self._characters > self._most and len(self._kept) > 1):
            oldest = self._kept.popleft()
            self._characters -= oldest.size
            self._rids.pop(oldest.rid, None)

    def next_seq(self) -> int:
        """Return the next running number."""
        self.seq += 1
        return self.seq

    def by_rid(self, rid: str) -> Exchange | None:
        """Find the exchange a rid stands for."""
        return self._rids.get(rid)

    def get(self, seq: int) -> Exchange | None:
        """Return an exchange by its running number, if it is still kept."""
        return next((exchange for exchange in reversed(self._kept) if exchange.seq == seq), None)

    def since(self, seq: int, most: int | None = None) -> list[Exchange]:
        """Return the exchanges after a running number, oldest first; at most so many."""
        found: list[Exchange] = []
        for exchange in reversed(self._kept):
            if exchange.seq <= seq:
                break
            found.append(exchange)
        found.reverse()
        return found if most is None else found[:most]

    def find(self, predicate: Callable[[Exchange], bool]) -> Exchange | None:
        """Return the first exchange kept for which ``predicate`` is true."""
        return next((exchange for exchange in self._kept if predicate(exchange)), None)

    def clear(self) -> None:
        """Forget all exchanges; running numbers go on."""
        self._kept.clear()
        self._rids.clear()
        self._characters = 0
