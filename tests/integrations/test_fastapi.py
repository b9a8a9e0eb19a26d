"""The FastAPI integration without a server: life cycle, dependency, composition, errors."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.testclient import TestClient

from wxmp import Client, ConfigError
from wxmp.integrations.fastapi import ClientDep, client_named, get_client, wxmp_lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NewsClient = Annotated[Client, Depends(client_named("news"))]


class Recorded(Client):
    """A client that tells whether it is closed."""

    closed = 0

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1
        await super().aclose()


def make(appid: str = "wx0000000000000001") -> Recorded:
    return Recorded(appid, "secret")


def test_one_client_for_the_life_of_the_application() -> None:
    """It is made once at the start, handed to every request, and closed once at the end."""
    made: list[Recorded] = []

    def make_one() -> Recorded:
        made.append(make())
        return made[-1]

    app = FastAPI(lifespan=wxmp_lifespan(make_one))
    seen: list[Client] = []

    @app.get("/")
    async def route(client: ClientDep) -> None:
        seen.append(client)

    assert made == []
    with TestClient(app) as http:
        assert [http.get("/").status_code for _ in range(3)] == [200] * 3
        assert made[0].closed == 0
    assert len(made) == 1
    assert seen == made * 3
    assert made[0].closed == 1


def test_default_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a factory the client comes from the WXMP_ variables."""
    monkeypatch.setenv("WXMP_APPID", "wx00000000000000aa")
    monkeypatch.setenv("WXMP_SECRET", "secret")
    monkeypatch.delenv("WXMP_ENDPOINT", raising=False)
    monkeypatch.delenv("WXMP_TOKEN_STORE", raising=False)
    app = FastAPI(lifespan=wxmp_lifespan())

    @app.get("/")
    async def route(client: ClientDep) -> str:
        return client.token_status().appid

    with TestClient(app) as http:
        assert http.get("/").json() == "wx00000000000000aa"


def test_missing_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that cannot work does not start; the error names the variable."""
    monkeypatch.delenv("WXMP_APPID", raising=False)
    with pytest.raises(ConfigError, match="WXMP_APPID"), TestClient(FastAPI(lifespan=wxmp_lifespan())):
        pass


def test_several_clients_by_name() -> None:
    """A mapping makes one client for each account; ``client_named`` hands them out, and all are closed."""
    clients = {"shop": make("wx0000000000000001"), "news": make("wx0000000000000002")}
    app = FastAPI(lifespan=wxmp_lifespan({"shop": lambda: clients["shop"], "news": lambda: clients["news"]}))

    @app.get("/news")
    async def route(client: NewsClient) -> str:
        return client.token_status().appid

    with TestClient(app) as http:
        assert http.get("/news").json() == "wx0000000000000002"
    assert [client.closed for client in clients.values()] == [1, 1]


def test_own_lifespan_runs_inside() -> None:
    """The application's own lifespan keeps its state, and ends before the client is closed."""
    client = make()
    order: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        order.append("own starts")
        yield {"database": "open"}
        order.append(f"own ends, client closed {client.closed} times")

    app = FastAPI(lifespan=wxmp_lifespan(lambda: client, lifespan=own))

    @app.get("/")
    async def route(request: Request, found: ClientDep) -> list[str]:
        return [request.state.database, found.token_status().appid]

    with TestClient(app) as http:
        assert http.get("/").json() == ["open", "wx0000000000000001"]
    assert order == ["own starts", "own ends, client closed 0 times"]
    assert client.closed == 1


def test_own_lifespan_without_state() -> None:
    """A lifespan that yields nothing is fine too."""
    ended: list[bool] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        yield
        ended.append(True)

    with TestClient(FastAPI(lifespan=wxmp_lifespan(make, lifespan=own))):
        pass
    assert ended == [True]


def test_own_lifespan_may_enter_it() -> None:
    """The other way round: a lifespan that needs the client enters ours and passes its state on."""

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with wxmp_lifespan(make)(app) as state:
            yield {**state, "appid": state["wxmp_client"].token_status().appid}

    app = FastAPI(lifespan=own)

    @app.get("/")
    async def route(request: Request, client: ClientDep) -> bool:
        return bool(request.state.appid == client.token_status().appid)

    with TestClient(app) as http:
        assert http.get("/").json() is True


def test_client_is_closed_when_the_own_lifespan_fails() -> None:
    """A start that fails half-way leaves no open client."""
    client = make()

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        if client.closed == 0:
            raise OSError("no database")
        yield

    app = FastAPI(lifespan=wxmp_lifespan(lambda: client, lifespan=own))
    with pytest.raises(OSError, match="no database"), TestClient(app):
        pass
    assert client.closed == 1


def test_two_lifespans_of_one_name_are_refused() -> None:
    """Nesting two without names would hide one client: the start fails and says what to do."""
    first, second = make(), make()
    app = FastAPI(lifespan=wxmp_lifespan(lambda: first, lifespan=wxmp_lifespan(lambda: second)))
    with pytest.raises(ConfigError, match="give the clients names"), TestClient(app):
        pass
    assert [first.closed, second.closed] == [1, 1]


@pytest.mark.parametrize(("dependency", "said"), [(get_client, "no client:"), (client_named("x"), "client named 'x'")])
def test_application_without_the_lifespan_is_told(dependency: Any, said: str) -> None:
    """A forgotten lifespan, or a name nobody made, is one clear sentence."""
    app = FastAPI()

    @app.get("/")
    async def route(client: Client = Depends(dependency)) -> None: ...  # noqa: B008 - FastAPI's way

    with pytest.raises(ConfigError, match=said), TestClient(app) as http:
        http.get("/")


def test_websocket_routes_get_the_client() -> None:
    """The dependency works for WebSocket routes as for HTTP."""
    app = FastAPI(lifespan=wxmp_lifespan(make))

    @app.websocket("/")
    async def route(socket: WebSocket, client: ClientDep) -> None:
        await socket.accept()
        await socket.send_text(client.token_status().appid)
        await socket.close()

    with TestClient(app) as http, http.websocket_connect("/") as socket:
        assert socket.receive_text() == "wx0000000000000001"


def test_two_applications_do_not_share() -> None:
    """There is no global: each application has its own client."""
    apps = [FastAPI(lifespan=wxmp_lifespan(partial(make, appid))) for appid in ("wx01", "wx02")]
    for app in apps:

        @app.get("/")
        async def route(client: ClientDep) -> str:
            return client.token_status().appid

    with TestClient(apps[0]) as first, TestClient(apps[1]) as second:
        assert [first.get("/").json(), second.get("/").json()] == ["wx01", "wx02"]


@pytest.mark.parametrize("package", ["fastapi", "starlette"])
def test_missing_extra_is_one_sentence(package: str) -> None:
    """Without FastAPI the import fails and names what to install."""
    script = f"import sys; sys.modules[{package!r}] = None; import wxmp.integrations.fastapi"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 1
    said = 'ModuleNotFoundError: wxmp.integrations.fastapi needs FastAPI: pip install "wxmp-sdk[fastapi]"'
    assert ran.stderr.splitlines()[-1] == said
    assert ran.stderr.count("Traceback") == 1
