"""The aiohttp integration without a network service: life cycle, keys, sub-applications, errors."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from wxmp import Client, ConfigError
from wxmp.integrations.aiohttp import CLIENT, client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NEWS = web.AppKey("news", Client)


class Recorded(Client):
    """A client that tells whether it is closed."""

    closed = 0

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1
        await super().aclose()


def make(appid: str = "wx0000000000000001") -> Recorded:
    return Recorded(appid, "secret")


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[None]:
    """Start and stop an application without a socket."""
    runner = web.AppRunner(app)
    try:
        await runner.setup()
        yield
    finally:
        await runner.cleanup()


async def test_one_client_for_the_life_of_the_application() -> None:
    """It is made once at the start, found under the key, and closed once at the end."""
    made: list[Recorded] = []

    def make_one() -> Recorded:
        made.append(make())
        return made[-1]

    app = web.Application()
    app.cleanup_ctx.append(client_context(make_one))
    assert made == []
    async with running(app):
        assert app[CLIENT] is made[0]
        assert made[0].closed == 0
    assert [client.closed for client in made] == [1]


async def test_default_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a factory the client comes from the WXMP_ variables."""
    monkeypatch.setenv("WXMP_APPID", "wx00000000000000aa")
    monkeypatch.setenv("WXMP_SECRET", "secret")
    monkeypatch.delenv("WXMP_ENDPOINT", raising=False)
    monkeypatch.delenv("WXMP_TOKEN_STORE", raising=False)
    app = web.Application()
    app.cleanup_ctx.append(client_context())
    async with running(app):
        assert app[CLIENT].token_status().appid == "wx00000000000000aa"


async def test_missing_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that cannot work does not start; the error names the variable."""
    monkeypatch.delenv("WXMP_APPID", raising=False)
    app = web.Application()
    app.cleanup_ctx.append(client_context())
    with pytest.raises(ConfigError, match="WXMP_APPID"):
        async with running(app):
            pass


async def test_several_clients_under_keys_of_their_own() -> None:
    """Each account has its key; all clients are closed."""
    shop, news = make("wx0000000000000001"), make("wx0000000000000002")
    app = web.Application()
    app.cleanup_ctx.extend([client_context(lambda: shop), client_context(lambda: news, key=NEWS)])
    async with running(app):
        assert app[CLIENT] is shop
        assert app[NEWS] is news
    assert (shop.closed, news.closed) == (1, 1)


async def test_second_client_under_one_key_is_refused() -> None:
    """Two contexts with the same key would hide one client: the start fails and says what to do."""
    first, second = make(), make()
    app = web.Application()
    app.cleanup_ctx.extend([client_context(lambda: first), client_context(lambda: second)])
    with pytest.raises(ConfigError, match="AppKey"):
        async with running(app):
            pass
    assert first.closed == 1


async def test_sub_application_finds_the_client_of_its_parent() -> None:
    """``config_dict`` looks into the parents."""
    client = make()
    app, sub = web.Application(), web.Application()

    async def route(request: web.Request) -> web.Response:
        return web.Response(text=request.config_dict[CLIENT].token_status().appid)

    sub.router.add_get("/", route)
    app.add_subapp("/sub", sub)
    app.cleanup_ctx.append(client_context(lambda: client))

    async with TestClient(TestServer(app)) as http, http.get("/sub/") as answer:
        assert await answer.text() == "wx0000000000000001"


async def test_client_is_closed_when_a_later_context_fails() -> None:
    """A start that fails half-way leaves no open client."""
    client = make()

    async def fails(app: web.Application) -> AsyncIterator[None]:
        if client.closed == 0:
            raise OSError("no database")
        yield

    app = web.Application()
    app.cleanup_ctx.extend([client_context(lambda: client), fails])
    with pytest.raises(OSError, match="no database"):
        async with running(app):
            pass
    assert client.closed == 1


def test_missing_extra_is_one_sentence() -> None:
    """Without aiohttp the import fails and names what to install."""
    script = "import sys; sys.modules['aiohttp'] = None; import wxmp.integrations.aiohttp"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    said = 'ModuleNotFoundError: wxmp.integrations.aiohttp needs aiohttp: pip install "wxmp-sdk[aiohttp]"'
    assert ran.stderr.splitlines()[-1] == said
    assert ran.stderr.count("Traceback") == 1
