"""One web service that answers pushes, in a process of its own: its CPU time is nobody else's.

    python -m benchmarks._webhook_app wxmp      # prints its port, ends with its standard input

The service of the peer is written as the documentation of FastAPI and of wechatpy show it, but keeps its
``WeChatCrypto``: their example makes one for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks._report import NOT_INSTALLED, NotInstalledError
from benchmarks._webhook_pushes import APPID, ENCODING_AES_KEY, TOKEN
from benchmarks._worker import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.webhook import TextMessage, TextReply, Webhook

ROOT: Final = Path(__file__).parents[1]
PATH: Final = "/wx"


def import_fastapi() -> Any:
    """Import the framework, or say how to install it."""
    try:
        import fastapi
        import httptools  # noqa: F401
        import uvloop  # noqa: F401
    except ImportError as error:
        raise NotInstalledError(f"{error.name} is missing: pip install --group bench") from None
    return fastapi


def import_wechatpy() -> Any:
    """Import the peer's webhook half, or say how to install it."""
    try:
        import wechatpy  # type: ignore[import-untyped, unused-ignore]
        import wechatpy.crypto  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise NotInstalledError("wechatpy is missing: pip install --group bench") from None
    return wechatpy


def echoing() -> Webhook:
    """Return our webhook with one handler that says what the user said."""
    from wxmp.webhook import TextMessage, TextReply, Webhook

    hook = Webhook(token=TOKEN, encoding_aes_key=ENCODING_AES_KEY, appid=APPID)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> TextReply:
        return TextReply(message.content)

    return hook


def plain() -> Any:
    """Return our plain ASGI app."""
    return echoing().asgi()


def inside_fastapi() -> Any:
    """Return a FastAPI app with our route in it."""
    from wxmp.integrations.fastapi import webhook_route

    app = import_fastapi().FastAPI()
    app.router.routes.append(webhook_route(PATH, echoing()))
    return app


def with_wechatpy() -> Any:
    """Return a FastAPI app that uses wechatpy."""
    wechatpy = import_wechatpy()
    fastapi = import_fastapi()
    app = fastapi.FastAPI()
    crypto = wechatpy.crypto.WeChatCrypto(TOKEN, ENCODING_AES_KEY, APPID)

    async def answer(request: Any) -> Any:
        query = request.query_params
        body = await request.body()
        try:
            text = crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
        except (wechatpy.exceptions.InvalidSignatureException, wechatpy.exceptions.InvalidAppIdException):
            raise fastapi.HTTPException(403) from None
        message = wechatpy.parse_message(text)
        reply = wechatpy.create_reply(message.content, message)
        answered = crypto.encrypt_message(reply.render(), query["nonce"], query["timestamp"])
        return fastapi.Response(answered, media_type="application/xml")

    # FastAPI reads annotations where a function is defined, and these names are local.
    answer.__annotations__ = {"request": fastapi.Request}
    app.post(PATH, response_class=fastapi.Response)(answer)
    return app


APPS: Final = {"wxmp": plain, "wxmp in FastAPI": inside_fastapi, "FastAPI + wechatpy": with_wechatpy}


@attrs.frozen
class Server:
    """The process, seen from outside."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, of the process so far."""
        # After the name, which may hold blanks: field 14 and 15 of proc(5), counted from field 3.
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return the resident MiB of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def serving(way: str) -> Iterator[Server]:
    """Start one service and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._webhook_app", way],
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
        try:
            yield Server(process.pid, json.loads(line))
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve(app: Any) -> None:
    """Serve until standard input ends."""
    import uvicorn

    # No access log: writing lines is not what is compared, and both sides would write the same ones.
    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            await running
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await running


if __name__ == "__main__":
    try:
        import_fastapi()
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(APPS[sys.argv[1]]()))
    except NotInstalledError as missing:
        print(missing, file=sys.stderr)
        sys.exit(NOT_INSTALLED)
