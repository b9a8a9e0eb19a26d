"""Customer-service messages (客服消息): what an account sends after a user has done something."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, encode, wire
from wxmp.api._checks import check_openid, check_optional_text, check_text, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CustomAPI",
    "CustomCard",
    "CustomImage",
    "CustomMPNews",
    "CustomMPNewsArticle",
    "CustomMenu",
    "CustomMenuLine",
    "CustomMessage",
    "CustomMiniProgram",
    "CustomMusic",
    "CustomNews",
    "CustomText",
    "CustomVideo",
    "CustomVoice",
]

MESSAGE_TYPE_REFUSED: Final = 40008
PARAMETER_REFUSED: Final = 40035
MEDIA_ID_MISSING: Final = 41006
EMPTY_TEXT: Final = 44004
COMMAND_REFUSED: Final = 45072
ALREADY_TYPING: Final = 45081
SENDER_REFUSED: Final = 61451

COMMANDS: Final = ("Typing", "CancelTyping")

# There is no de-duplication key: a repeat after an unseen success would deliver twice and spend the allowance.
SEND: Final = Endpoint("POST", "/cgi-bin/message/custom/send", repeatable=False)
SET_TYPING: Final = Endpoint(
    "POST", "/cgi-bin/message/custom/typing", repeatable=True, done_codes=frozenset({ALREADY_TYPING})
)


@attrs.frozen
class CustomText:
    """A text (文本消息)."""

    msgtype: ClassVar[str] = "text"

    #: It may hold ``<a href="…">`` links, and mini program links with ``data-miniprogram-appid`` and
    #: ``data-miniprogram-path``. Escape what users wrote.
    content: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomImage:
    """A picture (图片消息)."""

    msgtype: ClassVar[str] = "image"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomVoice:
    """A sound (语音消息)."""

    msgtype: ClassVar[str] = "voice"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomVideo:
    """A video (视频消息)."""

    msgtype: ClassVar[str] = "video"

    media_id: str
    #: The thumbnail.
    thumb_media_id: str
    title: str | None = None
    description: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomMusic:
    """A music card (音乐消息)."""

    msgtype: ClassVar[str] = "music"

    #: Address of the stream.
    musicurl: str
    #: The thumbnail.
    thumb_media_id: str
    title: str | None = None
    description: str | None = None
    #: Address of a better stream, used on Wi-Fi.
    hqmusicurl: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomNews:
    """A card with a link to any page (图文消息, 点击跳转到外链). The platform takes exactly one (45008)."""

    msgtype: ClassVar[str] = "news"

    title: str
    #: The page that a tap opens.
    url: str
    description: str = ""
    #: Address of a JPG or PNG, 640x320 for a large card and 80x80 for a small one.
    picurl: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomMPNews:
    """An article material (图文消息, 点击跳转到图文消息页面). Retired: refused since the draft box came."""

    msgtype: ClassVar[str] = "mpnews"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomMPNewsArticle:
    """A published article (图文消息, 使用通过“发布”系列接口得到的 article_id)."""

    msgtype: ClassVar[str] = "mpnewsarticle"

    article_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomMenuLine:
    """One line of a menu message."""

    #: Comes back as ``bizmsgmenuid`` in the text message that a tap makes.
    id: str
    content: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def _as_tuple(lines: Iterable[CustomMenuLine]) -> tuple[CustomMenuLine, ...]:
    return tuple(lines)


@attrs.frozen
class CustomMenu:
    """A question with lines to tap (菜单消息)."""

    msgtype: ClassVar[str] = "msgmenu"

    lines: tuple[CustomMenuLine, ...] = attrs.field(converter=_as_tuple, metadata=wire("list"))
    #: Text above the lines.
    head_content: str | None = None
    #: Text below them.
    tail_content: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomCard:
    """A coupon (卡券). Retired: the platform has given up cards (48008)."""

    msgtype: ClassVar[str] = "wxcard"

    card_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CustomMiniProgram:
    """A mini program card (小程序卡片)."""

    msgtype: ClassVar[str] = "miniprogrampage"

    title: str
    #: A mini program that is linked to the account.
    appid: str
    #: Page with query.
    pagepath: str
    #: The cover; 520x416 is advised.
    thumb_media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


#: Everything that can be sent; a plain ``str`` is a :class:`CustomText`.
CustomMessage: TypeAlias = (
    CustomText
    | CustomImage
    | CustomVoice
    | CustomVideo
    | CustomMusic
    | CustomNews
    | CustomMPNews
    | CustomMPNewsArticle
    | CustomMenu
    | CustomCard
    | CustomMiniProgram
)

#: What must not be empty, with the platform's code for it.
_NEEDED: Final[dict[type, dict[str, int]]] = {
    CustomText: {"content": EMPTY_TEXT},
    CustomImage: {"media_id": MEDIA_ID_MISSING},
    CustomVoice: {"media_id": MEDIA_ID_MISSING},
    CustomVideo: {"media_id": MEDIA_ID_MISSING, "thumb_media_id": MEDIA_ID_MISSING},
    CustomMusic: {"musicurl": PARAMETER_REFUSED, "thumb_media_id": MEDIA_ID_MISSING},
    CustomNews: {"title": PARAMETER_REFUSED, "url": PARAMETER_REFUSED},
    CustomMPNews: {"media_id": MEDIA_ID_MISSING},
    CustomMPNewsArticle: {"article_id": PARAMETER_REFUSED},
    CustomMenu: {},
    CustomCard: {"card_id": PARAMETER_REFUSED},
    CustomMiniProgram: {
        "title": PARAMETER_REFUSED,
        "appid": PARAMETER_REFUSED,
        "pagepath": PARAMETER_REFUSED,
        "thumb_media_id": MEDIA_ID_MISSING,
    },
}


@attrs.frozen
class CustomAPI:
    """Customer-service messages (客服消息).

    What a user does opens a window: 5 messages within 48 hours after they wrote, 3 within a minute after a tap on the
    menu, a follow or a scan. Allowances do not add up. Verified accounts only; the others get 48001.
    """

    _call: Caller

    async def send(
        self,
        openid: str,
        message: CustomMessage | str,
        *,
        kf_account: str | None = None,
        ai_generated: bool = False,
        business_id: str | None = None,
    ) -> None:
        """Send a customer-service message (发送客服消息).

        It is not repeated when its outcome is unknown, for the platform has no key to tell a repeat: the user would
        get the message twice. The platform allows 500 000 a day (50 000 for a test account).

        Args:
            openid: The receiver.
            message: What to send; a ``str`` is a text.
            kf_account: The customer-service account that speaks, ``name@wechat-id``.
            ai_generated: Show the grey line that says the message was made by AI (内容由第三方AI生成).
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            RecipientError: No window is open (45015) or its messages are used up (45047); the user does not follow
                the account (43004) or has switched off its messages (48002). A repeat does not help.
            ArgumentError: The openid is not of this account (40003), the text is too long (45002), the kind of message
                is none (40008) or not allowed here (45050), a part of it is missing (40035, 41006, 44004), there are
                several articles (45008), or ``kf_account`` is refused (40132, 61451).
            NotFoundError: No such media_id (40007), no such customer-service account (61452).
            NotAuthorizedError: The mini program is not linked to the account (45064), the account may not send this
                kind (48008), or the platform protects a minor from it (70000).
            RateLimitError: The messages of today are used up (45009).

        Source:
            POST /cgi-bin/message/custom/send - 客服消息 / 发送客服消息
        """
        if isinstance(message, str):
            message = CustomText(message)
        receiver = check_openid(SEND, openid)
        content = _content(message)
        payload: JsonObject = {"touser": receiver, "msgtype": message.msgtype, message.msgtype: content}
        if kf_account is not None:
            sender = check_text(SEND, "kf_account", kf_account, errcode=SENDER_REFUSED)
            payload["customservice"] = {"kf_account": sender}
        if ai_generated:
            payload["aimsgcontext"] = {"is_ai_msg": 1}
        if business_id is not None:
            payload["businessid"] = check_optional_text(SEND, "business_id", business_id)
        await self._call(SEND, json=payload)

    async def set_typing(
        self,
        openid: str,
        *,
        command: Literal["Typing", "CancelTyping"] = "Typing",
        business_id: str | None = None,
    ) -> None:
        """Show or hide the typing hint (客服输入状态). It goes by itself after some 15 s.

        Args:
            openid: Who sees it.
            command: ``"Typing"`` shows it, ``"CancelTyping"`` hides it.
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            RecipientError: No message was exchanged in the last 30 s (45080).
            ArgumentError: Another command (45072).
            AccountError: Not with this kind of account (40200).
            APIError: The hint is shown already (45081); harmless.

        Source:
            POST /cgi-bin/message/custom/typing - 客服消息 / 客服输入状态
        """
        if command not in COMMANDS:
            raise refusal(SET_TYPING, "command", COMMAND_REFUSED, "must be 'Typing' or 'CancelTyping'")
        payload: JsonObject = {"touser": check_openid(SET_TYPING, openid), "command": command}
        if business_id is not None:
            payload["businessid"] = check_optional_text(SET_TYPING, "business_id", business_id)
        await self._call(SET_TYPING, json=payload)


def _content(message: CustomMessage) -> JsonObject:
    """Return the object that holds the message itself, checked."""
    needed = _NEEDED.get(type(message))
    if needed is None:
        problem = f"must be a text or one of the Custom… records, not {type(message).__name__}"
        raise refusal(SEND, "message", MESSAGE_TYPE_REFUSED, problem)
    for name, errcode in needed.items():
        check_text(SEND, f"message.{name}", getattr(message, name), errcode=errcode)
    content: JsonObject = encode(message)
    if isinstance(message, CustomNews):
        content = {"articles": [content]}
    elif isinstance(message, CustomMenu):
        _check_lines(message.lines)
    return content


def _check_lines(lines: tuple[CustomMenuLine, ...]) -> None:
    if not lines:
        raise refusal(SEND, "message.lines", PARAMETER_REFUSED, "is empty; a menu message needs a line to tap")
    for index, line in enumerate(lines):
        check_text(SEND, f"message.lines[{index}].id", line.id, errcode=PARAMETER_REFUSED)
        check_text(SEND, f"message.lines[{index}].content", line.content, errcode=PARAMETER_REFUSED)
