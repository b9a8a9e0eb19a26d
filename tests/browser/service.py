"""A small service of an account, as its developer would write it, for the page's simulator to push to."""

from __future__ import annotations

import html
import socket
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

import uvicorn

from wxmp.webhook import (
    MenuClickEvent,
    NewsArticle,
    NewsReply,
    ScanEvent,
    SubscribeEvent,
    TextMessage,
    TextReply,
    Webhook,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

TOKEN = "pageToken1"
AES_KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
STARTUP_SECONDS = 40.0


def make_hook(appid: str) -> Webhook:
    """Return the service: a welcome, an echo, an answer to each tap and scan."""
    hook = Webhook(token=TOKEN, encoding_aes_key=AES_KEY, appid=appid, mode="safe")

    @hook.on(SubscribeEvent)
    async def welcome(event: SubscribeEvent) -> TextReply:
        return TextReply("欢迎关注")

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> TextReply | NewsReply:
        if message.content == "图文":
            return NewsReply(
                [NewsArticle("标题", "描述", pic_url="https://example.com/a.png", url="https://example.com/")]
            )
        return TextReply(f"你说：{message.content}")

    @hook.on(MenuClickEvent)
    async def tapped(event: MenuClickEvent) -> TextReply:
        return TextReply(f"点了 {event.event_key}")

    @hook.on(ScanEvent)
    async def scanned(event: ScanEvent) -> TextReply:
        return TextReply(f"扫了 {event.event_key}")

    return hook


LANDING = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><title>落地页</title>
<p id="landed">code {code}, state {state}</p>"""
# A shop's page as the documents of WeChat Pay show it, with the simulator's stand-in for the JS-SDK.
CHECKOUT = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><title>收银台</title>
<script src="{script}"></script><button id="buy">买</button><p id="outcome"></p>
<script>
document.querySelector("#buy").addEventListener("click", () => WeixinJSBridge.invoke(
  "getBrandWCPayRequest", {params}, (result) => document.querySelector("#outcome").textContent = result.err_msg));
</script>"""


# A page that sets up the JS-SDK.
CONFIG = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><title>配置</title>
<script src="{script}"></script><button id="scan">扫</button><p id="outcome"></p>
<script>
const say = (text) => document.querySelector("#outcome").textContent = text;
wx.config({
  appId: "{appid}", timestamp: 1700000000, nonceStr: "n1", signature: "{signature}", jsApiList: ["chooseWXPay"],
});
wx.ready(() => {
  say("ready");
  document.querySelector("#scan").addEventListener("click", () => wx.scanQRCode({
    needResult: 1, success: (result) => say(result.resultStr), cancel: (result) => say(result.errMsg),
  }));
});
wx.error((error) => say(error.errMsg));
</script>"""


def make_app(appid: str, pages: dict[str, str]) -> ASGIApplication:
    """Return the pushes' address, a page that users come back to after they have consented, and other pages."""
    pushes = make_hook(appid).asgi()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/landing" and scope["path"] not in pages:
            await pushes(scope, receive, send)
            return
        query = dict(parse_qsl(scope["query_string"].decode()))
        code, state = (html.escape(query.get(name, "none")) for name in ("code", "state"))
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        landing = LANDING.format(code="given" if len(code) == 32 else code, state=state)
        await send({"type": "http.response.body", "body": pages.get(scope["path"], landing).encode()})

    return app


class Service:
    """The service under uvicorn, in a thread of this process. ``pages`` are further pages by path."""

    def __init__(self, appid: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"{self.base}/wx"
        self.pages: dict[str, str] = {}
        config = uvicorn.Config(
            make_app(appid, self.pages), log_config=None, lifespan="off", ws="none", access_log=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="service", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STARTUP_SECONDS)
        self._socket.close()
