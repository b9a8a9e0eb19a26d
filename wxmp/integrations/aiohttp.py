"""aiohttp: a client that lives as long as the application, under a typed key.

::

    app.cleanup_ctx.append(client_context())


    async def show_user(request: web.Request) -> web.Response:
        client = request.config_dict[CLIENT]

``config_dict`` looks into the parents of a sub-application too; ``request.app`` does not. Needs the extra ``aiohttp``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from wxmp.client import Client
from wxmp.errors import ConfigError

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "aiohttp":
        raise
    message = 'wxmp.integrations.aiohttp needs aiohttp: pip install "wxmp-sdk[aiohttp]"'
    raise ModuleNotFoundError(message, name=error.name) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["CLIENT", "client_context"]

logger = logging.getLogger("wxmp.integrations")

#: Where the application keeps its client.
CLIENT: Final[web.AppKey[Client]] = web.AppKey("wxmp_client", Client)


def client_context(
    make_client: Callable[[], Client] | None = None, *, key: web.AppKey[Client] = CLIENT
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that makes the client at the start and closes it at the end.

    Args:
        make_client: Makes the client; :meth:`Client.from_env <wxmp.Client.from_env>` if absent.
        key: Where it is kept. For several accounts give each a key of its own:
            ``NEWS = web.AppKey("news", Client)``.

    Raises:
        ConfigError: When the application starts: the client cannot be made, or the key is in use.
    """
    make = make_client or Client.from_env

    async def context(app: web.Application) -> AsyncIterator[None]:
        if key in app:
            raise ConfigError("the application has a client under this key: pass key=web.AppKey(...)", field="key")
        async with make() as client:
            app[key] = client
            logger.info("opened %r", client)
            yield
        logger.info("closed %r", client)

    return context
