"""What `benchmarks.comparison` asks of wechatpy or WeRoBot; runs in the peers' own interpreter.

Arguments: wechatpy or werobot, AppID, AppSecret, Token of the webhook, seconds that a slow handler takes.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import host

WHICH, APPID, SECRET, TOKEN, SECONDS = sys.argv[1:]
LINES: list[str] = []
RUNS: list[str] = []


class Keep(logging.Handler):
    """Keeps every line of the log."""

    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(record.getMessage())


logging.basicConfig(level=logging.DEBUG, handlers=[Keep()])


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """A thread for each connection, as a deployed service has workers."""

    daemon_threads = True


def leaks() -> int:
    """Count the lines of the log that hold the AppSecret or the token."""
    token = str(client.access_token if WHICH == "wechatpy" else client.get_access_token())
    return sum(SECRET in line or token in line for line in LINES)


def call(openid: str) -> str:
    """Make one call; return the name of its error."""
    try:
        if WHICH == "wechatpy":
            client.user.get(openid)
        else:
            client.get_user_info(openid)
    except RecursionError:
        return "RecursionError"
    except Exception as error:
        return type(error).__name__
    return ""


def serve_robot() -> str:
    """Serve a robot whose handler is slow at the word; return its address."""
    robot = werobot.WeRoBot(token=TOKEN)
    robot.config["SESSION_STORAGE"] = False

    @robot.text
    def echo(message: Any) -> str:
        RUNS.append(message.content)
        if message.content == "slow":
            time.sleep(float(SECONDS))
        return "here you are"

    server = make_server("127.0.0.1", 0, robot.wsgi, server_class=ThreadingServer, handler_class=host.Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def accepts(timestamp: str, nonce: str, signature: str) -> bool:
    """Tell whether a signature is taken for good."""
    from wechatpy.exceptions import InvalidSignatureException
    from wechatpy.utils import check_signature

    try:
        check_signature(TOKEN, signature, timestamp, nonce)
    except InvalidSignatureException:
        return False
    return True


if WHICH == "wechatpy":
    import wechatpy

    client = wechatpy.WeChatClient(APPID, SECRET, timeout=20)
    more: dict[str, Any] = {"version": wechatpy.__version__, "home": str(Path(wechatpy.__file__).parent)}
    more["accepts"] = accepts
else:
    import werobot

    owner = werobot.WeRoBot(token=TOKEN)
    owner.config["APP_ID"], owner.config["APP_SECRET"], owner.config["SESSION_STORAGE"] = APPID, SECRET, False
    client = owner.client
    more = {"version": werobot.__version__, "home": str(Path(werobot.__file__).parent), "serve": serve_robot}

host.serve(call=call, leaks=leaks, runs=lambda: len(RUNS), **more)
