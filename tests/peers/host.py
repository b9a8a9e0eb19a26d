"""The half of a peer test that runs inside the peer's own interpreter: calls arrive as lines of JSON on standard input.

It knows no peer. Each ``*_peer.py`` makes its SDK's objects as its documentation says and hands them to :func:`serve`;
the test then calls any method of them by name. Only the standard library is imported here.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import enum
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLAIN = (str, int, float, bool, type(None))


def read(value: Any) -> Any:
    """Make the argument that a call is to have: ``{"$file": ..}`` is an open file, ``{"$bytes": ..}`` bytes."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    if "$file" in value:
        file = io.BytesIO(base64.b64decode(value["$file"]))
        file.name = value["name"]
        return file
    if "$tuple" in value:
        return tuple(read(item) for item in value["$tuple"])
    return {key: read(item) for key, item in value.items()}


def show(value: Any) -> Any:
    """Make JSON of what a call gave: records become their fields, a response its status, headers and content."""
    if isinstance(value, enum.Enum):
        return show(value.value)
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if hasattr(value, "items"):
        return {str(key): show(item) for key, item in value.items()}
    if hasattr(value, "status_code") and hasattr(value, "content"):
        return {
            "status": value.status_code,
            "headers": {name.lower(): text for name, text in value.headers.items()},
            "content": show(value.content),
        }
    if hasattr(value, "__iter__"):
        return [show(item) for item in value]
    return {"class": type(value).__name__} | {key: show(item) for key, item in vars(value).items() if key[0] != "_"}


def tell(error: Exception) -> dict[str, Any]:
    """Return what a caller of the SDK would learn from its error."""
    fields = {key: item for key, item in vars(error).items() if isinstance(item, PLAIN)}
    return {"class": type(error).__name__, "text": str(error), **fields}


def find(targets: Mapping[str, Any], name: str) -> Any:
    """Return what a dotted name means."""
    first, *rest = name.split(".")
    found = targets[first]
    for part in rest:
        found = getattr(found, part)
    return found


def serve(**targets: Any) -> None:
    """Answer calls until the test closes standard input."""
    out = sys.stdout
    # What an SDK prints is not an answer.
    sys.stdout = sys.stderr
    print(json.dumps({"value": "ready"}), file=out, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            found = find(targets, order["call"])
            if callable(found):
                found = found(*read(order["args"]), **read(order["more"]))
            answer = {"value": show(found)}
        except Exception as error:
            answer = {"error": tell(error)}
        print(json.dumps(answer), file=out, flush=True)


class Quiet(WSGIRequestHandler):
    """A request handler that writes nothing to standard error."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def listen_wsgi(app: Callable[..., Any]) -> str:
    """Serve a WSGI application in a thread; return its URL."""
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def listen(answer: Callable[[str, str, Mapping[str, str], bytes], bytes | tuple[int, bytes]]) -> str:
    """Serve ``answer(method, target, headers, body)`` in a thread; return its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.go(b"")

        def do_POST(self) -> None:
            self.go(self.rfile.read(int(self.headers.get("content-length", 0))))

        def go(self, body: bytes) -> None:
            given = answer(self.command, self.path, dict(self.headers), body)
            status, content = given if isinstance(given, tuple) else (200, given)
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"
