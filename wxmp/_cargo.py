"""What is secret is added last: a call's query, body and credentials, carried past everything that prints or traces.

httpx, its log line, its event hooks and tracing tools see a request with neither query nor body. Both travel in a
:class:`Cargo` among the request's extensions and are fetched below the client, where bytes are made. After the call
the cargo is emptied, so whoever kept the request finds nothing in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp._body import make_body
from wxmp._redact import Secret
from wxmp._request import encode_query, header_lines
from wxmp.errors import TransportError

if TYPE_CHECKING:
    from wxmp._body import Body
    from wxmp._request import WireReply, WireRequest

__all__ = ["EXTENSION", "IN_LINE", "Cargo"]

#: The request extension under which a cargo travels through a client.
EXTENSION: Final = "wxmp.cargo"
#: The stage of a call that waits for others to give a connection back.
IN_LINE: Final = "waiting for a free connection"


class Cargo:
    """One call as it is meant, where it has got to, and what it may take.

    Args:
        request: What to send.
        key: Scheme, host and port that it may be sent to.
        path: The path as it goes over the wire, without a query.
        limit: Bytes the answer may have, decoded.
        seconds: What the whole call may take.
        deadline: When these end, by the clock of the event loop.
        streaming: Whether the answer is read piece by piece by somebody above the client.
    """

    __slots__ = (
        *("_path", "_request", "deadline", "key", "limit", "reply"),
        *("seconds", "sent", "source_error", "stage", "streaming", "used", "via"),
    )

    def __init__(
        self,
        request: WireRequest,
        key: tuple[bytes, bytes, int],
        path: str,
        *,
        limit: int,
        seconds: float,
        deadline: float,
        streaming: bool,
    ) -> None:
        self._request: WireRequest | None = request
        self._path = path
        self.key = key
        self.limit = limit
        self.seconds = seconds
        self.deadline = deadline
        self.streaming = streaming
        #: The whole answer, unless it is streamed; it stays below the client.
        self.reply: WireReply | None = None
        #: Whether a byte went out; ``None`` when only the user's client knows.
        self.sent: bool | None = None
        self.stage = "waiting for the http_client"
        #: The proxy on the way, as messages name it; the user's client keeps its own to itself.
        self.via = ""
        #: What the content of an upload raised while it was read.
        self.source_error: Exception | None = None
        #: Whether the true address was asked for.
        self.used = False

    @property
    def request(self) -> WireRequest:
        """The request, while the call runs."""
        if self._request is None:
            raise TransportError("the request was sent again after its call had ended", maybe_acted=False)
        return self._request

    @property
    def marks(self) -> tuple[bytes, ...]:
        """What the headers of the answer must not repeat."""
        credentials = self.request.credentials
        return () if credentials is None else credentials.marks

    def target(self) -> Secret:
        """Return path and query as they go over the wire."""
        request = self.request
        self.used = True
        query = request.query or encode_query(request.params)
        if request.credentials is not None:
            secret = request.credentials.query.reveal()
            query = f"{secret}&{query}" if secret and query else secret or query
        return Secret(f"{self._path}?{query}" if query else self._path)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the header lines the request brings along; they replace the client's of the same name."""
        request = self.request
        if request.headers is None and (request.credentials is None or not request.credentials.headers):
            return []  # nearly every request
        return header_lines(request)

    def body(self) -> Body | None:
        """Make the body."""
        return make_body(self.request, self._note)

    def _note(self, error: Exception) -> None:
        self.source_error = error

    def unload(self) -> None:
        """Let nobody who kept the request find a credential."""
        self._request = None
        self.reply = None

    def __repr__(self) -> str:
        return "<cargo>"
