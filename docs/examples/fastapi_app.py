"""A FastAPI service; all its worker processes share one access token.

WXMP_APPID=wx… WXMP_SECRET=… WXMP_TOKEN_STORE=redis://localhost uvicorn fastapi_app:app --workers 4
"""

import logging
import os

import attrs
from fastapi import FastAPI

from wxmp.integrations.fastapi import ClientDep, wxmp_lifespan

logging.basicConfig(level=logging.INFO)
app = FastAPI(lifespan=wxmp_lifespan())


@app.get("/users/{openid}")
async def show_user(openid: str, client: ClientDep) -> dict[str, object]:
    """Tell whether somebody follows the account, and since when."""
    user = await client.user.get(openid)
    return {"following": user.subscribe, "since": user.subscribe_time}


@app.get("/health")
async def health(client: ClientDep) -> dict[str, object]:
    """Show the state of the token, never the token."""
    return {"worker": os.getpid(), "token": attrs.asdict(client.token_status())}
