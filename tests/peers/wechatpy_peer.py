"""wechatpy 1.8 and 2.0 as their documentation shows them; runs in the peers' interpreter.

Arguments: AppID, AppSecret, Token, EncodingAESKey.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import host
import wechatpy
from wechatpy import WeChatClient, WeChatOAuth, parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.exceptions import InvalidAppIdException, InvalidSignatureException
from wechatpy.replies import ArticlesReply, ImageReply, create_reply
from wechatpy.utils import check_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

APPID, SECRET, TOKEN, AES_KEY = sys.argv[1:]


class Service:
    """The example of the documentation (examples/echo of wechatpy), without the web framework around it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.refused: list[str] = []
        self.crypto = WeChatCrypto(TOKEN, AES_KEY, APPID)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes | tuple[int, bytes]:
        """Answer a check of the address, or a push."""
        query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        encrypted = query.get("encrypt_type", "raw") != "raw"
        try:
            # The plain signature stands on every push; the one of the envelope is checked while it is opened.
            check_signature(TOKEN, query["signature"], query["timestamp"], query["nonce"])
            if method == "GET":
                return query["echostr"].encode()
            if encrypted:
                body = self.crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
        except (InvalidSignatureException, InvalidAppIdException) as error:
            self.refused.append(type(error).__name__)
            return 403, b""
        message = parse_message(body)
        self.seen.append(message)
        reply = self.reply_to(message)
        xml = reply.render()
        if not xml:
            return b"success"
        return (self.crypto.encrypt_message(xml, query["nonce"], query["timestamp"]) if encrypted else xml).encode()

    def reply_to(self, message: Any) -> Any:
        """Return what the service says."""
        if message.type == "text" and message.content == "图文":
            reply = ArticlesReply(message=message)
            reply.add_article(
                {"title": "标题", "description": "描述", "image": "http://127.0.0.1/a.jpg", "url": "http://127.0.0.1/a"}
            )
            return reply
        if message.type == "text":
            return create_reply(f"你说：{message.content}", message=message)
        if message.type == "image":
            return ImageReply(message=message, media_id=message.media_id)
        if message.type == "event" and message.event in {"subscribe", "subscribe_scan"}:
            return create_reply("欢迎", message=message)
        return create_reply(None, message)

    def last(self) -> dict[str, Any]:
        """Return the newest push as wechatpy understood it."""
        return describe(self.seen[-1])

    def history(self, source: str) -> list[dict[str, Any]]:
        """Return all pushes about one user."""
        return [describe(message) for message in self.seen if message.source == source]

    def events(self) -> list[dict[str, Any]]:
        """Return all events."""
        return [describe(message) for message in self.seen if message.type == "event"]

    def count(self) -> int:
        """Return how many pushes were understood."""
        return len(self.seen)


def describe(message: Any) -> dict[str, Any]:
    """Return a push as wechatpy understood it: class, and every documented attribute."""
    names = {
        name for kind in type(message).__mro__ for name, value in vars(kind).items() if isinstance(value, property)
    }
    names |= {"type", "event", "source", "target", "id", "create_time", *message._fields}
    return {"class": type(message).__name__, **{name: getattr(message, name, None) for name in sorted(names)}}


def oauth(scope: str, state: str) -> Any:
    """Return a page authorisation for the documentation's callback address."""
    return WeChatOAuth(APPID, SECRET, "http://127.0.0.1:8000/callback?a=1&b=2", scope=scope, state=state)


service = Service()
host.serve(
    version=wechatpy.__version__,
    client=WeChatClient(APPID, SECRET),
    wrong=WeChatClient(APPID, "0" * 32),
    base=oauth("snsapi_base", "s1"),
    userinfo=oauth("snsapi_userinfo", "s2"),
    service=service,
    url=host.listen(service.answer),
)
