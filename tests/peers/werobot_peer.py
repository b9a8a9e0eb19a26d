"""WeRoBot as its documentation shows it; runs in the peers' interpreter.

Arguments: AppID, AppSecret, Token, EncodingAESKey.
"""

from __future__ import annotations

import sys
from typing import Any

import host
import werobot
from werobot import WeRoBot
from werobot.replies import ArticlesReply, ImageReply, TransferCustomerServiceReply

APPID, SECRET, TOKEN, AES_KEY = sys.argv[1:]
SEEN: list[Any] = []


def make(aes_key: str | None) -> WeRoBot:
    """Return a robot with the handlers of the documentation's examples."""
    robot = WeRoBot(token=TOKEN)
    robot.config["APP_ID"] = APPID
    robot.config["APP_SECRET"] = SECRET
    if aes_key is not None:
        robot.config["ENCODING_AES_KEY"] = aes_key
    # Sessions would be a file beside this one.
    robot.config["SESSION_STORAGE"] = False

    @robot.subscribe
    def welcome(message: Any) -> str:
        SEEN.append(message)
        return "欢迎"

    @robot.filter("图文")
    def articles(message: Any) -> Any:
        SEEN.append(message)
        return [["标题", "描述", "http://127.0.0.1/a.jpg", "http://127.0.0.1/a"]]

    @robot.filter("对象")
    def as_object(message: Any) -> Any:
        reply = ArticlesReply(message=message)
        reply.add_article(werobot.replies.Article("标题", "描述", "http://127.0.0.1/a.jpg", "http://127.0.0.1/a"))
        return reply

    @robot.filter("人工")
    def agent(message: Any) -> Any:
        return TransferCustomerServiceReply(message=message)

    @robot.text
    def echo(message: Any) -> str:
        SEEN.append(message)
        return f"你说：{message.content}"

    @robot.image
    def image(message: Any) -> Any:
        SEEN.append(message)
        return ImageReply(message=message, media_id=message.media_id if hasattr(message, "media_id") else "m")

    @robot.key_click("V1001_TODAY_MUSIC")
    def music(message: Any) -> str:
        SEEN.append(message)
        return "一首歌"

    @robot.scan
    def scan(message: Any) -> str:
        SEEN.append(message)
        return f"扫了 {message.key}"

    @robot.handler
    def anything(message: Any) -> None:
        if not SEEN or SEEN[-1] is not message:
            SEEN.append(message)

    return robot


def last() -> dict[str, Any]:
    """Return the newest push as WeRoBot understood it: class, type, and the attributes of its class."""
    message = SEEN[-1]
    names = {name for kind in type(message).__mro__ for name, value in vars(kind).items() if hasattr(value, "__get__")}
    fields = {name: getattr(message, name, None) for name in sorted(names) if name[0] != "_"}
    fields = {name: value for name, value in fields.items() if not callable(value)}
    return {**fields, "class": type(message).__name__, "type": message.type, "source": message.source}


plain, safe = make(None), make(AES_KEY)
host.serve(
    version=werobot.__version__,
    client=safe.client,
    mortal=plain.client,
    plain=host.listen_wsgi(plain.wsgi),
    safe=host.listen_wsgi(safe.wsgi),
    last=last,
)
