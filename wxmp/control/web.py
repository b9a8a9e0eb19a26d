"""HTTP for the control server: what was asked, what is answered, and which route leads where."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

import attrs

from wxmp._hosts import is_loopback_address

if TYPE_CHECKING:
    from wxmp._asgi import Scope
    from wxmp.control.keys import ControlKey
    from wxmp.control.wire import ErrorCode

__all__ = [
    "Answer",
    "Ask",
    "Auth",
    "RefusedError",
    "Route",
    "Routes",
    "came_in_the_clear",
    "comes_from_here",
    "is_local",
    "json_answer",
    "path_below",
    "peer_of",
    "refusal",
]

#: Who may ask: ``none`` anybody; ``key`` a key; ``status`` a key that may see the status; ``local`` such a key, or
#: somebody on this machine.
Auth: TypeAlias = Literal["none", "key", "status", "local"]

JSON: Final = "application/json; charset=utf-8"
#: Where all paths of this interface begin that hold a part.
VERSION: Final = "/v1"
STATUS: Final[Mapping[ErrorCode, int]] = {
    "bad_request": 400,
    "broken": 503,
    "budget_spent": 503,
    "forbidden": 403,
    "insecure": 403,
    "internal": 500,
    "method_not_allowed": 405,
    "not_allowed": 403,
    "not_found": 404,
    "pending": 503,
    "refused": 503,
    "store_down": 503,
    "too_large": 413,
    "too_many": 429,
    "unauthorized": 401,
    "unreachable": 503,
}
#: json.dumps makes one for every call that has options.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_PLACE: Final = re.compile(r"\{(\w+)\}")
#: Headers by which a proxy says that the true client is somebody else; and all that begin with ``x-forwarded-``.
_FORWARDED: Final = frozenset(
    {
        b"cf-connecting-ip",
        b"forwarded",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-original-forwarded-for",
        b"x-real-ip",
    }
)
#: Those by which it says that the true client came over plain http.
_PROTO: Final = re.compile(rb"(?:^|,)\s*http\s*(?:,|$)", re.IGNORECASE)
_FORWARDED_PROTO: Final = re.compile(rb"\bproto\s*=\s*\"?http\b", re.IGNORECASE)
#: Address of a peer on a socket of this machine.
UNIX: Final = "unix"
_PEER_MAX: Final = 64
_NO_PEER: Final = re.compile(r"[^A-Za-z0-9_.:%-]")
_LOOPBACK_HOSTS: Final = ("127.0.0.1", "[::1]", "localhost")


@attrs.frozen
class Answer:
    """What goes back."""

    status: int
    body: bytes = attrs.field(repr=False)
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    #: For the audit log; empty when it is no refusal.
    error: str = ""


class RefusedError(Exception):
    """The request is answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


def json_answer(values: Mapping[str, object], *, status: int = 200) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, _ENCODER.encode(values).encode("utf-8"))


def refusal(
    code: ErrorCode,
    message: str,
    *,
    retry_after: float = 0.0,
    errcode: int = 0,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    """Return the answer that says no, and why."""
    values: dict[str, object] = {"error": code, "message": message}
    if errcode:
        values["errcode"] = errcode
    if retry_after > 0:
        values["retry_after"] = round(retry_after, 3)
        headers = (*headers, (b"retry-after", b"%d" % max(-(-retry_after // 1), 1)))
    if code == "unauthorized":
        headers = (*headers, (b"www-authenticate", b'Bearer realm="wxmp control"'))
    plain = json_answer(values, status=STATUS[code])
    return attrs.evolve(plain, headers=headers, error=code)


class Ask:
    """One request."""

    __slots__ = ("body", "key", "method", "parts", "path", "peer", "scope")

    def __init__(self, method: str, path: str, scope: Scope, peer: str) -> None:
        self.method: str = method
        #: Seen from where the application is mounted.
        self.path: str = path
        self.scope: Scope = scope
        #: Address of the other side; ``"unix"`` for a socket of this machine.
        self.peer: str = peer
        #: What the path holds.
        self.parts: Mapping[str, str] = {}
        #: Who asks, where the route wants to know.
        self.key: ControlKey | None = None
        self.body: bytes = b""

    def query(self) -> dict[str, str]:
        """Return the query; of a doubled parameter the last value."""
        text: bytes = self.scope.get("query_string", b"")
        return dict(parse_qsl(text.decode("latin-1"))) if text else {}

    def header(self, name: bytes) -> str:
        """Return a header; empty if it is not there.

        A doubled one is joined by commas, as HTTP says: two keys, or two hosts, are neither of them.
        """
        values = [value.decode("latin-1") for found, value in self.scope["headers"] if found == name]
        return ", ".join(values)


Handler: TypeAlias = Callable[[Ask], Awaitable[Answer]]


@attrs.frozen
class Route:
    """One thing that can be asked for. The table of these is what a description of the interface is made from."""

    method: Literal["GET", "POST"]
    #: ``{name}`` stands for one part.
    path: str
    #: Name of the coroutine of the server that answers.
    name: str
    auth: Auth
    #: One sentence.
    summary: str
    #: Whether it is answered over plain http from other machines as well: it tells nothing and takes nothing secret.
    open: bool = False


class Routes:
    """Finds the route of a request.

    Args:
        table: Each route and what answers it.
    """

    def __init__(self, table: Mapping[Route, Handler]) -> None:
        self._fixed: dict[str, dict[str, tuple[Route, Handler]]] = {}
        #: By the number of steps: the form of the path, and what answers it.
        self._shaped: dict[int, list[tuple[re.Pattern[str], dict[str, tuple[Route, Handler]]]]] = {}
        for route, handler in table.items():
            if "{" not in route.path:
                self._fixed.setdefault(route.path, {})[route.method] = (route, handler)
                continue
            bucket = self._shaped.setdefault(route.path.count("/"), [])
            form = re.compile(_PLACE.sub(r"(?P<\1>[^/]+)", route.path))
            methods = next((found for other, found in bucket if other == form), None)
            if methods is None:
                methods = {}
                bucket.append((form, methods))
            methods[route.method] = (route, handler)

    def find(self, ask: Ask) -> tuple[Route, Handler]:
        """Return what answers, and note in ``ask`` what its path holds.

        Raises:
            RefusedError: Nothing does.
        """
        methods = self._fixed.get(ask.path)
        if methods is None:
            for form, found in self._shaped.get(ask.path.count("/"), ()):
                match = form.fullmatch(ask.path)
                if match is not None:
                    methods, ask.parts = found, match.groupdict()
                    break
            else:
                raise RefusedError(refusal("not_found", "there is nothing at this path"))
        answerer = methods.get(ask.method)
        if answerer is None:
            allowed = ", ".join(sorted(methods)).encode("ascii")
            answer = refusal("method_not_allowed", "this path has another method", headers=((b"allow", allowed),))
            raise RefusedError(answer)
        return answerer


def peer_of(scope: Scope) -> str:
    """Return the address of the other side; ``"unix"`` for a socket of this machine, empty when nobody knows."""
    client = scope.get("client")
    if client is not None and client[0]:
        return _shown(client[0])
    # Servers leave it out for a socket of this machine, and name a path, or nothing, as their own address.
    server = scope.get("server")
    return UNIX if server is None or server[1] is None else ""


@lru_cache(maxsize=1024)
def _shown(host: str) -> str:
    # A server that trusts a proxy takes it from a header: whatever stands there forges no line of a log, and no socket.
    shown = _NO_PEER.sub("?", host[:_PEER_MAX])
    return "?" if shown == UNIX else shown


def path_below(path: str, root: str) -> str:
    """Return a path as seen from where the application is mounted.

    A proxy may have taken away the front part of ``root``, which the application around knows of.
    """
    root = root.rstrip("/")
    if not root or path.startswith(f"{root}/"):
        return path[len(root) :]
    while (cut := root.find("/", 1)) > 0:
        root = root[cut:]
        if path.startswith(f"{root}/") and root != VERSION:
            return path[len(root) :]
    return path


@lru_cache(maxsize=1024)
def is_local(peer: str) -> bool:
    """Tell whether an address is on this machine. A name is not: a proxy may have written it, as it was told."""
    return peer == UNIX or is_loopback_address(peer)


def came_in_the_clear(ask: Ask) -> bool:
    """Tell whether a proxy says that it was asked over plain http."""
    for name, value in ask.scope["headers"]:
        if name == b"x-forwarded-proto" and _PROTO.search(value) is not None:
            return True
        if name == b"forwarded" and _FORWARDED_PROTO.search(value) is not None:
            return True
    return False


def comes_from_here(ask: Ask) -> bool:
    """Tell whether a request was made on this machine, by somebody who wanted this server.

    Not so when a proxy on this machine passes on what others ask, or when a page of another site makes a browser ask:
    its host name leads here only by the tricks of its owner.
    """
    if not is_local(ask.peer):
        return False
    if any(name in _FORWARDED or name.startswith(b"x-forwarded-") for name, _ in ask.scope["headers"]):
        return False
    host = ask.header(b"host")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.lower() in _LOOPBACK_HOSTS
