"""A real caller and transport in front of a platform made of respx routes; what has no route fails the test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import respx

from wxmp._caller import Caller
from wxmp._redact import Secret
from wxmp._transport import Transport
from wxmp.config import PRODUCTION
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

APPID = "wx0123456789abcdef"
APPSECRET = "appsecret-of-the-tests"
TOKEN = "TOKEN-1"

#: What a route answers: a JSON object, the bytes of a picture, a whole response, or an exception to raise.
Reply = dict[str, Any] | bytes | httpx.Response | Exception


class StubTokens:
    """Tokens that never change; ``dead`` and ``penalised`` keep what was reported."""

    def __init__(self) -> None:
        self.token = Secret(TOKEN)
        self.dead: list[int] = []
        self.penalised: list[str] = []

    def peek(self) -> Secret | None:
        """Return the token."""
        return self.token

    async def get(self) -> Secret:
        """Return the token."""
        return self.token

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        """Take the report and ask for a repeat."""
        self.dead.append(code)
        return True

    def penalise(self, path: str) -> None:
        """Take the report."""
        self.penalised.append(path)


class Platform:
    """The platform as a test sets it up."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.router = router

    def answer(self, method: str, path: str, *replies: Reply, origin: str = PRODUCTION.api) -> respx.Route:
        """Answer ``method path``: one reply to every call; of several replies each one once, and then no more."""
        # eq: respx takes a path as a prefix otherwise.
        route = self.router.route(method=method, scheme="https", host=httpx.URL(origin).host, path__eq=path)
        effects = [_effect(reply) for reply in replies]
        if len(effects) > 1:
            return route.mock(side_effect=effects)
        (effect,) = effects
        if isinstance(effect, Exception):
            return route.mock(side_effect=effect)
        return route.mock(return_value=effect)

    @staticmethod
    def raw(route: respx.Route, call: int = -1) -> bytes:
        """Return the body bytes of one call."""
        content: bytes = route.calls[call].request.content
        return content

    @staticmethod
    def body(route: respx.Route, call: int = -1) -> Any:
        """Return the JSON body of one call."""
        return json.loads(Platform.raw(route, call))

    @staticmethod
    def bodies(route: respx.Route) -> list[Any]:
        """Return the JSON bodies of all calls."""
        return [Platform.body(route, index) for index in range(len(route.calls))]

    @staticmethod
    def params(route: respx.Route, call: int = -1) -> dict[str, str]:
        """Return the query parameters of one call without the access_token, which must be there."""
        params = dict(route.calls[call].request.url.params)
        assert params.pop("access_token", None) == TOKEN
        return params

    @staticmethod
    def query(route: respx.Route, call: int = -1) -> dict[str, str]:
        """Return all query parameters of one call."""
        return dict(route.calls[call].request.url.params)


def _effect(reply: Reply) -> httpx.Response | Exception:
    if isinstance(reply, dict):
        return httpx.Response(200, json=reply)
    if isinstance(reply, bytes):
        return httpx.Response(200, content=reply, headers={"Content-Type": "image/jpeg"})
    return reply


@pytest.fixture
def platform() -> Iterator[Platform]:
    """The platform: a route that is not called, or a call without a route, fails the test."""
    with respx.mock(assert_all_called=True, assert_all_mocked=True) as router:
        yield Platform(router)


@pytest.fixture
def tokens() -> StubTokens:
    """The tokens behind ``caller``."""
    return StubTokens()


@pytest.fixture
async def caller(tokens: StubTokens) -> AsyncIterator[Caller]:
    """A real caller on a real transport; its retry policy repeats without waiting."""

    async def no_wait(_: float) -> None:
        return None

    transport = Transport(base_url=PRODUCTION.api)
    yield Caller(
        appid=APPID,
        secret=lambda: Secret(APPSECRET),
        transport=transport,
        tokens=tokens,
        retry=RetryPolicy(sleep=no_wait, total_time=300.0),
        mp_origin=PRODUCTION.mp,
    )
    await transport.aclose()
