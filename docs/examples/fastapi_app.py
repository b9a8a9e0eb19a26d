"""A FastAPI service; all its worker processes share one access token, and handle each push once.

The console's server settings (服务器配置) get the address https://your.host/wx, and the same Token and EncodingAESKey.

WXMP_APPID=wx… WXMP_SECRET=… WXMP_CALLBACK_TOKEN=… WXMP_ENCODING_AES_KEY=… WXMP_TOKEN_STORE=redis://localhost \
uvicorn fastapi_app:app --workers 4
"""

import logging
import os

import attrs
from fastapi import FastAPI

from wxmp import Client
from wxmp.integrations.fastapi import ClientDep, webhook_route, wxmp_lifespan
from wxmp.webhook import MenuClickEvent, RedisDedupe, TextMessage, Webhook

logging.basicConfig(level=logging.INFO)
hook = Webhook.from_env(dedupe=RedisDedupe(os.environ["WXMP_TOKEN_STORE"]))
app = FastAPI(
    routes=[webhook_route("/wx", hook)], lifespan=wxmp_lifespan(webhooks=hook)
)


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


@app.get("/users/{openid}")
async def show_user(openid: str, client: ClientDep) -> dict[str, object]:
    """Tell whether somebody follows the account, and since when."""
    user = await client.user.get(openid)
    return {"following": user.subscribe, "since": user.subscribe_time}


@app.get("/health")
async def health(client: ClientDep) -> dict[str, object]:
    """Show the state of the token, never the token."""
    return {"worker": os.getpid(), "token": attrs.asdict(client.token_status())}
