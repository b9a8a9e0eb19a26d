"""The service of ``wxmp demo``: a webhook in safe mode under a real uvicorn, as a user writes one.

It says its address on its standard output and reports there what its handlers did; the end of its input ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Final

import uvicorn

from wxmp import Client
from wxmp.cli._demo_pipe import read_commands, say
from wxmp.webhook import DeliveryPolicy, MenuClickEvent, SubscribeEvent, TextMessage, Webhook

if TYPE_CHECKING:
    from wxmp.webhook import Push

__all__: list[str] = []

#: The demo's platform waits one second and a half instead of five, so that nobody watches paint dry. It is the platform
#: that hangs up: a machine that pauses for a second must not make it too late for the last answer.
IMPATIENT: Final = DeliveryPolicy(deadline=0.3, lease=0.25, grace=0.6)


def make_hook(client: Client, handled: list[str]) -> Webhook:
    """Return the webhook; each handler that ends notes what it has handled."""
    hook = Webhook.from_env(client=client, delivery=IMPATIENT)

    @hook.on(TextMessage)
    async def answer(message: TextMessage) -> str:
        work, _, seconds = message.content.partition(" ")
        if work == "work":
            await asyncio.sleep(float(seconds))
        handled.append("text")
        return f"收到：{message.content}"

    @hook.on(SubscribeEvent)
    async def welcome(message: SubscribeEvent) -> str:
        handled.append("subscribe")
        return "欢迎关注"

    @hook.on_event("CLICK", key="TODAY")
    async def today(message: MenuClickEvent) -> str:
        handled.append("click")
        return "今日歌曲：月亮代表我的心"

    @hook.default
    async def note(message: Push) -> None:
        """Reports on the template messages that the fleet has sent."""

    return hook


async def serve() -> None:
    """Answer until the input ends."""
    loop, lines, handled = asyncio.get_running_loop(), asyncio.Queue[bytes](), list[str]()
    threading.Thread(target=read_commands, args=(loop, lines), daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with Client.from_env() as client:
            config = uvicorn.Config(make_hook(client, handled).asgi(), log_config=None, access_log=False, ws="none")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells in no other way
                await asyncio.sleep(0.01)
            say({"ready": os.getpid(), "url": f"http://127.0.0.1:{sock.getsockname()[1]}/wx"})
            while await lines.get():
                say({"handled": len(handled)})
            server.should_exit = True
            await serving


if __name__ == "__main__":
    # Ctrl-C reaches every process of the terminal; it is the demo that ends its service.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve())
