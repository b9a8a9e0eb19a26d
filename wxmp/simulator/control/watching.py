"""Watching over HTTP: the state, the journal and its exports, the findings, the live stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from wxmp.simulator.control.reading import View, whole
from wxmp.simulator.export import curl_script, har
from wxmp.simulator.journal import Exchange, show_exchange
from wxmp.simulator.live import BODY_CHARACTERS, LiveStream
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

DIRECTIONS: Final = frozenset({"in", "out"})
DOWNLOAD: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def state(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET state: counts, quotas, living tokens as fingerprints."""
    return world.describe()


def wanted_exchanges(world: World, request: WebRequest) -> list[Exchange]:
    """Return the exchanges a query is about, oldest first."""
    query = request.query_params
    direction, words = query.get("direction", ""), query.get("q", "").lower().split()
    if direction and direction not in DIRECTIONS:
        raise WorldError("direction must be in or out")
    found = [
        exchange
        for exchange in world.exchanges(whole(request, "since", 0))
        if (not direction or exchange.direction == direction) and (not words or holds(exchange, words))
    ]
    limit = whole(request, "limit", 0)
    return found[max(len(found) - limit, 0) :] if "limit" in query else found


def holds(exchange: Exchange, words: list[str]) -> bool:
    """Tell whether all words occur in what an exchange shows."""
    shown = " ".join(
        (
            *(exchange.method, exchange.path, exchange.why, exchange.client, exchange.client_ip, exchange.fault),
            *(exchange.rid, exchange.rule, str(exchange.status), str(exchange.errcode), exchange.appid),
            *(exchange.request_body, exchange.response_body, *exchange.query.values()),
        )
    ).lower()
    return all(word in shown for word in words)


def journal(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET journal?since=&limit=&direction=&q=&brief=: exchanges, oldest first; the newest ``limit`` if that is given.

    With ``brief`` the bodies are cut as in the live stream.
    """
    with world.lock:
        exchanges = wanted_exchanges(world, request)
        last = max(world.journal.seq, whole(request, "since", 0))
    body = BODY_CHARACTERS if request.query_params.get("brief") else None
    return {"exchanges": [show_exchange(exchange, body=body) for exchange in exchanges], "last": last}


def journal_entry(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET journal/{seq}: one exchange with its whole bodies, encrypted forms included."""
    wanted = request.path_params["seq"]
    with world.lock:
        found = world.journal.get(int(wanted)) if wanted.isascii() and wanted.isdecimal() else None
    if found is None:
        raise WorldError("no such exchange is kept")
    return show_exchange(found, raw=True)


def journal_har(world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET journal.har: the exchanges as an HTTP archive, for the tools of browsers."""
    document = har(wanted_exchanges(world, request), base_url=world.base_url)
    headers = {**DOWNLOAD, "content-disposition": 'attachment; filename="journal.har"'}
    return Response(document, headers=headers, media_type="application/json")


def journal_script(world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET journal.sh: the requests of clients as a script that sends them again."""
    script = curl_script(wanted_exchanges(world, request), base_url=world.base_url)
    headers = {**DOWNLOAD, "content-disposition": 'attachment; filename="journal.sh"'}
    return Response(script, headers=headers, media_type="text/plain")


def findings(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET lint: what is wrong with the developer's code, the worst first."""
    return {"findings": world.lint.findings(), "counts": world.lint.counts()}


def live(world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET live?since=: everything that happens, as server-sent events."""
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdecimal() and len(last) <= 18:
        return LiveStream(world, int(last))
    return LiveStream(world, whole(request, "since", 0) if "since" in request.query_params else None)


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/state", state),
    ("GET", "/journal", journal),
    ("GET", "/journal.har", journal_har),
    ("GET", "/journal.sh", journal_script),
    ("GET", "/journal/{seq}", journal_entry),
    ("GET", "/lint", findings),
    ("GET", "/live", live),
)
