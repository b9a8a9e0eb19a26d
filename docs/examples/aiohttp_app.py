"""An aiohttp service; all its processes share one access token.

WXMP_APPID=wx… WXMP_SECRET=… WXMP_TOKEN_STORE=redis://localhost python aiohttp_app.py 8080
"""

import logging
import os
import sys

import attrs
from aiohttp import web

from wxmp.integrations.aiohttp import CLIENT, client_context

routes = web.RouteTableDef()


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
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
