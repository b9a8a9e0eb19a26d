"""The journal in forms other programs read: an HTTP archive, and a script that sends the requests again.

Credentials are masked in the journal already; in the script a shell variable stands for each kind of them.
"""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp.simulator.journal import Exchange
    from wxmp.simulator.wire import JsonObject

__all__ = ["curl_script", "har"]

HOSTS: Final = {
    "": "https://api.weixin.qq.com",
    "api": "https://api.weixin.qq.com",
    "mp": "https://mp.weixin.qq.com",
    "open": "https://open.weixin.qq.com",
    "mch": "https://api.mch.weixin.qq.com",
}
DEVELOPER: Final = "http://developer.invalid"
MASKED: Final = re.compile(r"\*\*\*[0-9a-f]{8}")
# The credential a masked value in a body belongs to: a JSON field, an XML element, a part of an address.
MASKED_FIELD: Final = re.compile(r"([A-Za-z_0-9]+)(\"\s*:\s*\"|>(?:<!\[CDATA\[)?|=)(\*\*\*[0-9a-f]{8})")
QUOTED_AND: Final = "'&'"
BINARY: Final = re.compile(r"<[0-9]+ bytes>")


# --- HTTP archive -------------------------------------------------------------------------------------------------


def har(exchanges: Sequence[Exchange], *, base_url: str = "") -> str:
    """Return the exchanges as an HTTP archive (HAR 1.2), which browsers and other tools open.

    Args:
        exchanges: Oldest first.
        base_url: Where the simulator listens; without it the platform's own hosts are named.
    """
    document = {
        "log": {
            "version": "1.2",
            "creator": {"name": "wxmp simulator", "version": "1"},
            "entries": [har_entry(exchange, base_url) for exchange in exchanges],
        }
    }
    return json.dumps(document, indent=1)


def har_entry(exchange: Exchange, base_url: str) -> JsonObject:
    """Return one entry."""
    milliseconds = round(exchange.seconds * 1000, 3)
    query = [{"name": name, "value": value} for name, value in exchange.query.items()]
    request: JsonObject = {
        "method": exchange.method,
        "url": address(exchange, base_url),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(exchange.content_type, ("X-Client", exchange.client)),
        "queryString": query,
        "headersSize": -1,
        "bodySize": size(exchange.request_body, cut=exchange.request_cut),
    }
    if exchange.request_body:
        request["postData"] = {"mimeType": exchange.content_type, "text": exchange.request_body}
    return {
        "startedDateTime": datetime.fromtimestamp(exchange.at, UTC).isoformat(timespec="milliseconds"),
        "time": milliseconds,
        "request": request,
        "response": {
            "status": exchange.status,
            "statusText": status_text(exchange.status),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": headers(exchange.response_type),
            "content": {
                "size": size(exchange.response_body, cut=exchange.response_cut),
                "mimeType": exchange.response_type,
                "text": exchange.response_body,
            },
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": size(exchange.response_body, cut=exchange.response_cut),
        },
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
        "comment": f"#{exchange.seq} {exchange.rule} {exchange.why}".strip(),
    }


def headers(content_type: str, *more: tuple[str, str]) -> list[JsonObject]:
    """Return the headers that are known."""
    known = (("Content-Type", content_type), *more)
    return [{"name": name, "value": value} for name, value in known if value]


def size(text: str, *, cut: bool) -> int:
    """Return the bytes of a body; -1 when it is not known, as the format has it."""
    return -1 if cut or BINARY.fullmatch(text) else len(text.encode("utf-8", errors="replace"))


def status_text(status: int) -> str:
    """Return the words that go with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def address(exchange: Exchange, base_url: str) -> str:
    """Return the whole address of a request."""
    query = f"?{urlencode(exchange.query, errors='replace')}" if exchange.query else ""
    return f"{origin(exchange, base_url)}{quote(exchange.path, errors='replace')}{query}"


def origin(exchange: Exchange, base_url: str) -> str:
    """Return what stands before the path."""
    if exchange.direction == "out":
        return exchange.host if "://" in exchange.host else DEVELOPER
    if not base_url:
        return HOSTS.get(exchange.host, HOSTS[""])
    return f"{base_url}/{exchange.host}" if exchange.host else base_url


# --- script -------------------------------------------------------------------------------------------------------


def curl_script(exchanges: Sequence[Exchange], *, base_url: str = "") -> str:
    """Return a shell script that sends the clients' requests again; what cannot be sent again becomes a comment.

    Args:
        exchanges: Oldest first; the platform's own pushes are left out.
        base_url: Where the simulator listens.
    """
    needed: dict[str, None] = {}
    commands = [command(exchange, needed) for exchange in exchanges if exchange.direction == "in"]
    head = [
        "#!/bin/sh",
        "# Sends the requests of a simulator's journal again. Credentials are not in the journal: set the variables.",
        "set -u",
        f': "${{BASE:={base_url or HOSTS[""]}}}"',
        *(f': "${{{name}:?set {name} first}}"' for name in needed),
        "",
    ]
    script = "\n".join([*head, *commands])
    return f"{script}\n".encode("utf-8", errors="replace").decode("utf-8")


def command(exchange: Exchange, needed: dict[str, None]) -> str:
    """Return one request as a command, or as a comment when its body is not all there."""
    path = quote(f"/{exchange.host}{exchange.path}" if exchange.host else exchange.path, errors="replace")
    # Nothing that a caller has written stands in a comment as it is: a line break would end it.
    note = f"# {exchange.seq}: {quote(exchange.method)} {path} -> {exchange.status} {exchange.errcode}"
    body = exchange.request_body
    if exchange.request_cut or exchange.content_type.startswith("multipart/") or BINARY.search(body):
        return f"{note} (not sent again: the body is not kept)"
    pairs: list[str] = []
    for name, value in exchange.query.items():
        masked = MASKED.fullmatch(value)
        shown = variable(name, needed) if masked else shlex.quote(quote(value, safe="", errors="replace"))
        pairs.append(f"{shlex.quote(quote(name, safe='', errors='replace'))}={shown}")
    target = f'"$BASE"{shlex.quote(path)}' + (f"'?'{QUOTED_AND.join(pairs)}" if pairs else "")
    words = ["curl", "-sS", "-X", shlex.quote(exchange.method)]
    if exchange.content_type:
        words += ["-H", shlex.quote(f"Content-Type: {one_line(exchange.content_type)}")]
    if exchange.client:
        words += ["-H", shlex.quote(f"X-Client: {one_line(exchange.client)}")]
    if body:
        words += ["--data-raw", quoted_body(body, needed)]
    return f"{note}\n{' '.join(words)} {target}; echo"


def variable(name: str, needed: dict[str, None]) -> str:
    """Return the shell variable that stands for a kind of credential."""
    name = re.sub(r"[^A-Z0-9_]|^(?=[0-9])", "_", name.upper())
    needed[name] = None
    return f'"${{{name}}}"'


def quoted_body(body: str, needed: dict[str, None]) -> str:
    """Return a body as one word of the shell, with variables where credentials were."""
    words: list[str] = []
    place = 0
    for match in MASKED_FIELD.finditer(body):
        words += [shlex.quote(body[place : match.start(3)]), variable(match.group(1), needed)]
        place = match.end(3)
    rest = shlex.quote(body[place:]) if body[place:] or not words else ""
    return "".join(words) + rest


def one_line(text: str) -> str:
    """Return a header's value without line breaks."""
    return " ".join(text.split())
