"""Reading what a control request says, and writing JSON back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.requests import Request as WebRequest
from starlette.responses import Response

from wxmp.simulator.wire import JsonObject, WorldError, as_object
from wxmp.simulator.world import World

if TYPE_CHECKING:
    from wxmp.simulator.phone import Phone
    from wxmp.simulator.state import Account

__all__ = [
    "View",
    "account_in",
    "answer_json",
    "endpoint",
    "flag",
    "needed",
    "number",
    "phone_in",
    "raw_endpoint",
    "text",
    "whole",
]

View: TypeAlias = Callable[[World, WebRequest, JsonObject], "JsonObject | Response | Awaitable[JsonObject | Response]"]

LONGEST_WAIT: Final = 60.0
LONGEST_TEXT: Final = 1 << 20
WAIT_STEP: Final = 0.02


def text(body: JsonObject, name: str, default: str | None = None) -> str | None:
    """Read a text field."""
    value = body.get(name, default)
    if value is not None and not isinstance(value, str):
        raise WorldError(f"{name} must be a text")
    return value


def needed(body: JsonObject, name: str) -> str:
    """Read a text field that must be there."""
    value = text(body, name)
    if not value:
        raise WorldError(f"{name} is missing")
    return value


def number(body: JsonObject, name: str, default: float) -> float:
    """Read a number field."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WorldError(f"{name} must be a number")
    return value


def flag(body: JsonObject, name: str, *, default: bool) -> bool:
    """Read a yes-or-no field."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise WorldError(f"{name} must be true or false")
    return value


def whole(request: WebRequest, name: str, default: int) -> int:
    """Read a whole number, not negative, of the query."""
    value = request.query_params.get(name, str(default))
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise WorldError(f"{name} must be a whole number")
    return int(value)


def account_in(world: World, request: WebRequest) -> Account:
    """Return the account the query names in ``appid``, or the default one."""
    return world.account_of(request.query_params.get("appid") or None)


def phone_in(world: World, request: WebRequest) -> Phone:
    """Return the phone the query names in ``openid`` and ``appid``."""
    return world.phone(request.query_params.get("openid", ""), appid=request.query_params.get("appid") or None)


def answer_json(value: object, status: int = 200) -> Response:
    """Return JSON in ASCII: the journal may hold broken text that a caller has sent."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(json.dumps(value), status, headers=headers, media_type="application/json")


def endpoint(world: World, view: View) -> Callable[[WebRequest], Awaitable[Response]]:
    """Wrap a view: read the body, turn a wrong wish into HTTP 400 with a sentence."""

    async def answer(request: WebRequest) -> Response:
        raw = await request.body()
        try:
            body = as_object(json.loads(raw)) if raw.strip() else {}
        except (ValueError, RecursionError):
            body = None
        if body is None:
            return answer_json({"error": "the body must be a JSON object"}, 400)
        return await answer_view(world, view, request, body)

    return answer


def raw_endpoint(
    world: World, view: Callable[[World, WebRequest, str], JsonObject]
) -> Callable[[WebRequest], Awaitable[Response]]:
    """Wrap a view that reads the text of the body itself."""

    async def answer(request: WebRequest) -> Response:
        raw = await request.body()
        if len(raw) > LONGEST_TEXT:
            return answer_json({"error": f"the body has more than {LONGEST_TEXT} bytes"}, 400)
        text = raw.decode("utf-8", errors="replace")
        return await answer_view(world, lambda world, request, _body: view(world, request, text), request, {})

    return answer


async def answer_view(world: World, view: View, request: WebRequest, body: JsonObject) -> Response:
    """Call a view; after everything that may have changed the world, whoever watches hears of it."""
    try:
        await settle(world, request)
        found = view(world, request, body)
        answer = found if isinstance(found, dict | Response) else await found
    except ValueError as error:
        return answer_json({"error": str(error)}, 400)
    if request.method != "GET":
        world.announce()
    return answer if isinstance(answer, Response) else answer_json(answer)


async def settle(world: World, request: WebRequest) -> None:
    """Wait until everything is delivered, at most as many seconds as the query says in ``wait``."""
    wanted = request.query_params.get("wait", "0")
    try:
        seconds = min(float(wanted), LONGEST_WAIT)
    except ValueError:
        raise WorldError("wait must be a number of seconds") from None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds if seconds > 0 else None):
            # The world is changed by any thread; a short look now and then needs no bridge to this loop.
            while seconds > 0 and not world.settled:  # noqa: ASYNC110
                await asyncio.sleep(WAIT_STEP)
