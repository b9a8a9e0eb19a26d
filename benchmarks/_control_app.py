"""One service that answers with a token, in a process of its own: its CPU time is nobody else's.

    python -m benchmarks._control_app wxmp      # prints its port and a key, ends with its standard input

The peer is a bare route of Starlette that makes the same JSON from values it has at hand; it knows no keys, no scopes,
no limits, and keeps nothing fresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks._report import NOT_INSTALLED, NotInstalledError
from benchmarks._webhook_app import ROOT, Server
from benchmarks._worker import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

APPID: Final = "wx0123456789abcdef"
PATH: Final = f"/v1/accounts/{APPID}/access_token"
VALUE: Final = "72_" + "A" * 140
LIFE: Final = 7200.0
#: Above what anybody can send here.
PER_MINUTE: Final = 100_000_000


async def control() -> tuple[Any, str]:
    """Return our server, with a token in its store, and a key to it."""
    from wxmp import Client, MemoryTokenStore
    from wxmp.control import ControlKey, ControlServer
    from wxmp.tokens.store import TokenKey

    store = MemoryTokenStore()
    await store.seed(TokenKey(APPID, "stable"), value=VALUE, generation=1, life=LIFE, left=LIFE)
    key, text = ControlKey.create("bench", appids={APPID}, may_see_status=True, per_minute=PER_MINUTE)
    return ControlServer([Client(APPID, "fake-appsecret", token_store=store)], [key]), text


async def bare() -> tuple[Any, str]:
    """Return the peer."""
    try:
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError:
        raise NotInstalledError("starlette is missing: pip install --group bench") from None

    async def answer(_: Any) -> Any:
        return JSONResponse(
            {"appid": APPID, "access_token": VALUE, "generation": 1, "expires_in": LIFE, "life": LIFE},
            headers={"Cache-Control": "no-store"},
        )

    return Starlette(routes=[Route("/v1/accounts/{appid}/access_token", answer)]), "none"


APPS: Final = {"wxmp": control, "Starlette": bare}


@attrs.frozen
class Service:
    """A service that runs."""

    server: Server
    key: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.port}"


@contextlib.contextmanager
def serving(way: str) -> Iterator[Service]:
    """Start one service and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._control_app", way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            if process.wait(10) == NOT_INSTALLED:
                raise NotInstalledError(f"{way}: something is missing: pip install --group bench")
            raise RuntimeError(f"{way} did not start")
        port, key = json.loads(line)
        try:
            yield Service(Server(process.pid, port), key)
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve(way: str) -> None:
    """Serve until standard input ends."""
    import uvicorn

    app, key = await APPS[way]()
    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            await running
        await asyncio.sleep(0.01)
    print(json.dumps([server.servers[0].sockets[0].getsockname()[1], key]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await running


def main() -> int:
    """Be one service."""
    try:
        import httptools  # noqa: F401
        import uvloop
    except ImportError as error:
        print(f"{error.name} is missing: pip install --group bench", file=sys.stderr)
        return NOT_INSTALLED
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(sys.argv[1]))
    except NotInstalledError as missing:
        print(missing, file=sys.stderr)
        return NOT_INSTALLED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
