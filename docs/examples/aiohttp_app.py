"""An aiohttp service; all its processes share one access token, and handle each push once.

The console's server settings (服务器配置) get the address https://your.host/wx, and the same Token and EncodingAESKey.

WXMP_APPID=wx… WXMP_SECRET=… WXMP_CALLBACK_TOKEN=… WXMP_ENCODING_AES_KEY=… WXMP_TOKEN_STORE=redis://localhost \
python aiohttp_app.py 8080
"""

import logging
import os
import sys

import attrs
from aiohttp import web

from wxmp import Client
from wxmp.integrations.aiohttp import CLIENT, add_webhook, client_context
from wxmp.webhook import MenuClickEvent, RedisDedupe, TextMessage, Webhook

hook = Webhook.from_env(dedupe=RedisDedupe(os.environ["WXMP_TOKEN_STORE"]))
routes = web.RouteTableDef()


@hook.on(TextMessage)
async def echo(message: TextMessage) -> str:
    """Say what the user said."""
    return message.content


@hook.on_event("CLICK", key="help")
async def help_tapped(event: MenuClickEvent) -> str:
    """Answer the menu button 帮助."""
    return "您可以直接给我们留言"


@hook.on_event("CLICK", key="member_since")
async def member_since_tapped(event: MenuClickEvent, client: Client) -> str | None:
    """Ask the platform first. However long that takes, the user gets this answer, and gets it once."""
    user = await client.user.get(event.openid)
    return (
        f"您于 {user.subscribe_time.astimezone():%Y-%m-%d} 关注了我们"
        if user.subscribe_time
        else None
    )


@routes.get("/users/{openid}")
async def show_user(request: web.Request) -> web.Response:
    """Tell whether somebody follows the account, and since when."""
    user = await request.config_dict[CLIENT].user.get(request.match_info["openid"])
    since = user.subscribe_time.isoformat() if user.subscribe_time is not None else None
    return web.json_response({"following": user.subscribe, "since": since})


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """Show the state of the token, never the token."""
    status = request.config_dict[CLIENT].token_status()
    return web.json_response({"worker": os.getpid(), "token": attrs.asdict(status)})


def make_app() -> web.Application:
    """Put the application together."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(client_context())
    add_webhook(app, "/wx", hook)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
