"""What answers a push on its own connection (被动回复用户消息).

A handler returns one of these records, a ``str`` for a :class:`TextReply`, or ``None`` for nothing to show. The records
say what the user gets; receiver, sender and time come from the push when the answer is rendered.
"""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, ClassVar, Final, Literal, TypeAlias
from urllib.parse import quote

import attrs

from wxmp._log import log_fields
from wxmp.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wxmp.api.custom import CustomMessage
    from wxmp.webhook.messages import Push

__all__ = [
    "MAX_ARTICLES",
    "MAX_TEXT_BYTES",
    "Element",
    "ImageReply",
    "MusicReply",
    "NewsArticle",
    "NewsReply",
    "Reply",
    "TextReply",
    "TransferBizAIIVR",
    "TransferCustomerService",
    "VideoReply",
    "VoiceReply",
    "as_reply",
    "late_message",
    "menu_link",
    "render",
]

_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_LOGGER: Final = logging.getLogger("wxmp.webhook")

#: Most bytes of a text in UTF-8. The official page names no limit for replies: this is what users measured, and the
#: limit of the customer-service message that a late reply becomes.
MAX_TEXT_BYTES: Final = 2048
#: Most articles in the answer to an event; the answer to a message has one.
MAX_ARTICLES: Final = 8

REPLY_KIND_REFUSED: Final = 40008
MEDIA_ID_REFUSED: Final = 40007
PARAMETER_REFUSED: Final = 40035
URL_REFUSED: Final = 40048
MEDIA_ID_MISSING: Final = 41006
NEWS_EMPTY: Final = 44003
TEXT_EMPTY: Final = 44004
TEXT_TOO_LONG: Final = 45002
TOO_MANY_ARTICLES: Final = 45008

#: A text of so many characters is within the limit whatever they are: UTF-8 has 4 bytes for one at most.
_SURELY_SHORT: Final = MAX_TEXT_BYTES // 4
# What XML 1.0 has no place for, and the halves of a character, which UTF-8 has no bytes for.
_UNUSABLE: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_FORBIDDEN: Final = re.compile(f"[{_UNUSABLE}]")
_VISIBLE: Final = re.compile(rf"[^\s{_UNUSABLE}]")
_WEB_ADDRESS: Final = re.compile(rf"https?://[^\s{_UNUSABLE}]", re.IGNORECASE)

#: What stands in a reply: text, a whole number, elements inside, or one group of elements per item. ``None`` and an
#: empty text stand for an element that is left out.
Element: TypeAlias = "str | int | Mapping[str, Element] | Sequence[Mapping[str, Element]] | None"


def _refusal(field: str, errcode: int, problem: str) -> ArgumentError:
    return ArgumentError(errcode=errcode, errmsg=problem, field=field)


def _clean(text: str) -> str:
    """Return the text without the characters that neither XML nor UTF-8 can carry."""
    # Nearly every text passes the first question, and a long one answers it in half the time of the search.
    if text.isprintable() or _FORBIDDEN.search(text) is None:
        return text
    return _FORBIDDEN.sub("", text)


def _need_text(field: str, value: object, *, errcode: int, empty: int, advice: str) -> str:
    """Return ``value`` if it is a text with something to see in it.

    Raises:
        ArgumentError: It is no text (``errcode``), or empty, blank or made of forbidden characters only (``empty``).
    """
    if not isinstance(value, str):
        raise _refusal(field, errcode, f"must be a text, not {type(value).__name__}")
    if _VISIBLE.search(value) is None:
        raise _refusal(field, empty, f"is empty; {advice}")
    return value


def _check_content(_reply: object, attribute: attrs.Attribute[str], value: object) -> None:
    # Nearly every text passes this question, at a third of the price of the others.
    if type(value) is str and len(value) <= _SURELY_SHORT and value.isprintable() and value and not value.isspace():
        return
    advice = "return None from the handler to show the user nothing"
    text = _need_text(attribute.name, value, errcode=TEXT_EMPTY, empty=TEXT_EMPTY, advice=advice)
    if len(text) <= _SURELY_SHORT:
        return
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        size = len(_clean(text).encode())  # what is dropped does not count
    if size > MAX_TEXT_BYTES:
        problem = (
            f"has {size} bytes in UTF-8; shorten it to {MAX_TEXT_BYTES} (a Chinese character has 3), or send the rest "
            "with client.custom.send"
        )
        raise _refusal(attribute.name, TEXT_TOO_LONG, problem)


def _check_media_id(_reply: object, attribute: attrs.Attribute[str], value: object) -> None:
    advice = "pass the media_id of uploaded material"
    _need_text(attribute.name, value, errcode=MEDIA_ID_REFUSED, empty=MEDIA_ID_MISSING, advice=advice)


def _check_optional(_reply: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    if value is not None and not isinstance(value, str):
        problem = f"must be a text or None, not {type(value).__name__}"
        raise _refusal(attribute.name, PARAMETER_REFUSED, problem)


def _check_words(_article: object, attribute: attrs.Attribute[str], value: object) -> None:
    advice = "an article needs title, description, pic_url and url"
    _need_text(attribute.name, value, errcode=PARAMETER_REFUSED, empty=PARAMETER_REFUSED, advice=advice)


def _check_address(article: object, attribute: attrs.Attribute[str], value: object) -> None:
    _check_words(article, attribute, value)
    if _WEB_ADDRESS.match(str(value)) is None:
        problem = "must be a full address that begins with http:// or https://"
        raise _refusal(attribute.name, URL_REFUSED, problem)


class Reply(ABC):
    """The base of all replies.

    A kind that this version does not know is a frozen attrs class of yours with ``msg_type`` and :meth:`elements`.
    """

    __slots__ = ()

    #: ``MsgType`` on the wire.
    msg_type: ClassVar[str]

    @abstractmethod
    def elements(self) -> Mapping[str, Element]:
        """Return what stands below the four common elements, by the names on the wire.

        Values are escaped later; the names must be constants of the program.
        """

    def check(self, push: Push) -> None:  # noqa: B027 - most kinds can answer everything
        """Check whether this can answer ``push``.

        Raises:
            ArgumentError: The platform would refuse it, or show less than was asked for.
        """


@attrs.frozen
class TextReply(Reply):
    """A text (回复文本消息).

    Raises:
        ArgumentError: ``content`` is empty (44004: return ``None`` from the handler instead) or has more than 2048
            bytes in UTF-8 (45002).
    """

    msg_type: ClassVar[str] = "text"

    #: 1 to 2048 bytes in UTF-8. Newlines are shown, ``<a href="…">`` makes a link and :func:`menu_link` a line to tap:
    #: escape what users wrote.
    content: str = attrs.field(validator=_check_content)

    def elements(self) -> Mapping[str, Element]:
        """Return the text."""
        return {"Content": self.content}


@attrs.frozen
class ImageReply(Reply):
    """A picture (回复图片消息). Moving GIFs are not supported.

    Raises:
        ArgumentError: ``media_id`` is empty (41006) or no text (40007).
    """

    msg_type: ClassVar[str] = "image"

    #: Temporary or permanent material.
    media_id: str = attrs.field(validator=_check_media_id)

    def elements(self) -> Mapping[str, Element]:
        """Return the picture."""
        return {"Image": {"MediaId": self.media_id}}


@attrs.frozen
class VoiceReply(Reply):
    """A sound (回复语音消息).

    Raises:
        ArgumentError: ``media_id`` is empty (41006) or no text (40007).
    """

    msg_type: ClassVar[str] = "voice"

    #: Temporary or permanent material.
    media_id: str = attrs.field(validator=_check_media_id)

    def elements(self) -> Mapping[str, Element]:
        """Return the sound."""
        return {"Voice": {"MediaId": self.media_id}}


@attrs.frozen
class VideoReply(Reply):
    """A video (回复视频消息).

    Raises:
        ArgumentError: ``media_id`` is empty (41006) or no text (40007).
    """

    msg_type: ClassVar[str] = "video"

    #: Uploaded video material.
    media_id: str = attrs.field(validator=_check_media_id)
    title: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)
    description: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)
    #: The thumbnail. A reply has none: it is for the customer-service message that a late answer becomes, which
    #: cannot go out without it.
    thumb_media_id: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)

    def elements(self) -> Mapping[str, Element]:
        """Return the video and its words."""
        return {"Video": {"MediaId": self.media_id, "Title": self.title, "Description": self.description}}


@attrs.frozen
class MusicReply(Reply):
    """A music card (回复音乐消息).

    Raises:
        ArgumentError: ``thumb_media_id`` is empty (41006) or no text (40007).
    """

    msg_type: ClassVar[str] = "music"

    #: The thumbnail, the only thing that the platform insists on.
    thumb_media_id: str = attrs.field(validator=_check_media_id)
    title: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)
    description: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)
    #: Address of the stream.
    music_url: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)
    #: Address of a better stream, used on Wi-Fi.
    hq_music_url: str | None = attrs.field(default=None, validator=_check_optional, kw_only=True)

    def elements(self) -> Mapping[str, Element]:
        """Return the card."""
        return {
            "Music": {
                "Title": self.title,
                "Description": self.description,
                "MusicUrl": self.music_url,
                "HQMusicUrl": self.hq_music_url,
                "ThumbMediaId": self.thumb_media_id,
            }
        }


@attrs.frozen
class NewsArticle:
    """One card of a :class:`NewsReply`. All four are needed.

    Raises:
        ArgumentError: One of them is empty (40035), or an address does not begin with ``http://`` or ``https://``
            (40048).
    """

    title: str = attrs.field(validator=_check_words)
    description: str = attrs.field(validator=_check_words)
    #: Address of a JPG or PNG, 360x200 pixels for a large card and 200x200 for a small one.
    pic_url: str = attrs.field(validator=_check_address)
    #: The page that a tap opens.
    url: str = attrs.field(validator=_check_address)


def _as_articles(articles: NewsArticle | Iterable[NewsArticle]) -> tuple[NewsArticle, ...]:
    if isinstance(articles, NewsArticle):
        return (articles,)
    try:
        several = iter(articles)
    except TypeError:
        problem = f"must be a NewsArticle or several of them, not {type(articles).__name__}"
        raise _refusal("articles", PARAMETER_REFUSED, problem) from None
    return tuple(several)


def _check_articles(_reply: object, _attribute: object, articles: tuple[object, ...]) -> None:
    if not articles:
        raise _refusal("articles", NEWS_EMPTY, "is empty; return None from the handler to show the user nothing")
    if len(articles) > MAX_ARTICLES:
        problem = f"has {len(articles)} articles; an event may be answered with {MAX_ARTICLES}, a message with 1"
        raise _refusal("articles", TOO_MANY_ARTICLES, problem)
    for index, article in enumerate(articles):
        if not isinstance(article, NewsArticle):
            problem = f"must be a NewsArticle, not {type(article).__name__}"
            raise _refusal(f"articles[{index}]", PARAMETER_REFUSED, problem)


@attrs.frozen
class NewsReply(Reply):
    """Cards with links (回复图文消息): one for a message, up to 8 for an event.

    Raises:
        ArgumentError: There is no article (44003), or more than 8 (45008). :func:`render` refuses more than one where
            a message is answered (45008).
    """

    msg_type: ClassVar[str] = "news"

    #: Any iterable, or a single article; kept as a tuple.
    articles: tuple[NewsArticle, ...] = attrs.field(converter=_as_articles, validator=_check_articles)

    def elements(self) -> Mapping[str, Element]:
        """Return the cards and their number."""
        return {
            "ArticleCount": len(self.articles),
            "Articles": [
                {"Title": card.title, "Description": card.description, "PicUrl": card.pic_url, "Url": card.url}
                for card in self.articles
            ],
        }

    def check(self, push: Push) -> None:
        """Check that a message gets one article only.

        Raises:
            ArgumentError: ``push`` is a message and there are several articles: the user would see the first (45008).
        """
        if len(self.articles) > 1 and not _is_event(push):
            problem = (
                f"has {len(self.articles)} articles; the answer to a message may have 1, only events take up to "
                f"{MAX_ARTICLES}"
            )
            raise _refusal("articles", TOO_MANY_ARTICLES, problem)


@attrs.frozen
class TransferCustomerService(Reply):
    """Hand the message to the human agents (将消息转发到客服).

    It answers messages only: :func:`render` refuses it for an event (40008).
    """

    msg_type: ClassVar[str] = "transfer_customer_service"

    #: The agent's full account name, ``name@wechat-id``; ``None`` lets any agent take the message. While a named agent
    #: is offline or has all hands full, nobody else takes it.
    kf_account: str | None = attrs.field(default=None, validator=_check_optional)

    def elements(self) -> Mapping[str, Element]:
        """Return the agent, if one is named."""
        # A blank name would be an agent whom nobody is: the message would wait for ever.
        return {"TransInfo": {"KfAccount": _given(self.kf_account)}}

    def check(self, push: Push) -> None:
        """Check that a message is answered.

        Raises:
            ArgumentError: ``push`` is an event (40008).
        """
        _check_is_message(self, push)


@attrs.frozen
class TransferBizAIIVR(Reply):
    """Hand the message to the AI answers of the account (转接 AI 回复).

    They must be switched on in the console, and their training on past articles must have finished. It answers messages
    only: :func:`render` refuses it for an event (40008).
    """

    msg_type: ClassVar[str] = "transfer_biz_ai_ivr"

    def elements(self) -> Mapping[str, Element]:
        """Return nothing: the common elements say it all."""
        return {}

    def check(self, push: Push) -> None:
        """Check that a message is answered.

        Raises:
            ArgumentError: ``push`` is an event (40008).
        """
        _check_is_message(self, push)


def _is_event(push: Push) -> bool:
    return push.msg_type.lower() == "event"


def _check_is_message(reply: Reply, push: Push) -> None:
    if _is_event(push):
        problem = f"is a {type(reply).__name__} for an event; only messages can be handed over, return None instead"
        raise _refusal("reply", REPLY_KIND_REFUSED, problem)


def menu_link(text: str, menu_id: str | int, label: str) -> str:
    """Return a line to tap for the content of a :class:`TextReply` (菜单消息链接, ``weixin://bizmsgmenu``).

    A tap sends ``text`` back as the user's message, with ``menu_id`` in its ``bizmsgmenuid``. The whole link counts in
    the 2048 bytes of the content; a Chinese character of ``text`` takes 9 of them.

    Args:
        text: What the tap sends; percent-encoded here.
        menu_id: Which line it was; percent-encoded here.
        label: What the user sees; escaped here.

    Raises:
        ArgumentError: One of them is empty (40035).
    """
    identifier = str(menu_id) if isinstance(menu_id, int) else menu_id
    words: list[str] = []
    for field, value in (("text", text), ("menu_id", identifier), ("label", label)):
        advice = "a line to tap needs text, menu_id and label"
        needed = _need_text(field, value, errcode=PARAMETER_REFUSED, empty=PARAMETER_REFUSED, advice=advice)
        words.append(_clean(needed))
    # The ampersand stays as it is: the platform's own examples do not escape it.
    address = f"weixin://bizmsgmenu?msgmenucontent={quote(words[0], safe='')}&msgmenuid={quote(words[1], safe='')}"
    return f'<a href="{address}">{escape(words[2], quote=False)}</a>'


def as_reply(value: object) -> Reply | None:
    """Return what a handler's return value stands for.

    Args:
        value: A reply; a ``str`` for a text; ``None`` or ``""`` for nothing to show (``success``).

    Raises:
        ArgumentError: It is something else (40008), or a text that cannot be sent (44004, 45002).
    """
    if value is None:
        return None
    if isinstance(value, str):
        return TextReply(value) if value else None
    if isinstance(value, Reply):
        return value
    problem = f"must be a reply, a text or None, not {type(value).__name__}"
    raise _refusal("return value", REPLY_KIND_REFUSED, problem)


def render(reply: Reply, push: Push, *, format: Literal["xml", "json"], created: int) -> bytes:
    """Return the plain body that answers ``push``; in safe mode it is sealed afterwards.

    Characters that XML 1.0 forbids are dropped, in JSON too, so that both say the same. Elements without a value are
    left out.

    Args:
        reply: The answer.
        push: What it answers; sender and receiver change places.
        format: The format of the push.
        created: Now, in seconds since 1970.

    Raises:
        ArgumentError: This kind of push cannot be answered so: several articles for a message (45008), a transfer for
            an event (40008).
    """
    reply.check(push)
    receiver = _clean(push.from_user_name)
    sender = _clean(push.to_user_name)
    elements = _filled(reply.elements())
    if format == "json":
        answer: dict[str, Element] = {
            "ToUserName": receiver,
            "FromUserName": sender,
            "CreateTime": int(created),
            "MsgType": reply.msg_type,
            **elements,
        }
        return _JSON.encode(answer).encode()
    # Pieces are joined, never formatted: no text of a user is ever read as a template.
    pieces = [
        "<xml><ToUserName><![CDATA[",
        _cdata(receiver),
        "]]></ToUserName><FromUserName><![CDATA[",
        _cdata(sender),
        "]]></FromUserName><CreateTime>",
        str(int(created)),
        "</CreateTime><MsgType><![CDATA[",
        reply.msg_type,
        "]]></MsgType>",
    ]
    _write(elements, pieces)
    pieces.append("</xml>")
    return "".join(pieces).encode()


def _filled(elements: Mapping[str, Element]) -> dict[str, Element]:
    """Return the elements that have a value, their texts clean."""
    filled: dict[str, Element] = {}
    for name, value in elements.items():
        if isinstance(value, str):
            text = _clean(value)
            if text:
                filled[name] = text
        elif isinstance(value, int):
            filled[name] = value
        elif isinstance(value, Mapping):
            inner = _filled(value)
            if inner:
                filled[name] = inner
        elif value is not None:
            filled[name] = [_filled(item) for item in value]
    return filled


def _write(elements: Mapping[str, Element], pieces: list[str]) -> None:
    """Append the elements as XML."""
    for name, value in elements.items():
        pieces += ("<", name, ">")
        if isinstance(value, str):
            pieces += ("<![CDATA[", _cdata(value), "]]>")
        elif isinstance(value, int):
            pieces.append(str(value))
        elif isinstance(value, Mapping):
            _write(value, pieces)
        else:
            for item in value or ():
                pieces.append("<item>")
                _write(item, pieces)
                pieces.append("</item>")
        pieces += ("</", name, ">")


def _cdata(text: str) -> str:
    """Return the text for the inside of a CDATA section. It must be clean: a dropped character can join a ``]]>``."""
    if "]]>" in text:
        return text.replace("]]>", "]]]]><![CDATA[>")
    return text


def late_message(reply: Reply) -> CustomMessage | None:
    """Return the customer-service message (客服消息) for an answer that comes too late for its connection.

    Several articles become the first: such a message takes exactly one. A music card without an address, a video
    without ``thumb_media_id`` and the transfers have no such form.

    Returns:
        The message, or ``None`` when this reply cannot be sent so.
    """
    from wxmp.api.custom import CustomImage, CustomMusic, CustomNews, CustomText, CustomVideo, CustomVoice

    match reply:
        case TextReply(content=content):
            return CustomText(_clean(content))
        case ImageReply(media_id=media_id):
            return CustomImage(_clean(media_id))
        case VoiceReply(media_id=media_id):
            return CustomVoice(_clean(media_id))
        case VideoReply(media_id=media_id, title=title, description=description):
            thumb = _given(reply.thumb_media_id)
            if thumb is None:
                return None
            return CustomVideo(_clean(media_id), thumb, title=_given(title), description=_given(description))
        case MusicReply(thumb_media_id=thumb_media_id, title=title, description=description):
            better = _given(reply.hq_music_url)
            address = _given(reply.music_url) or better
            if address is None:
                return None
            return CustomMusic(
                address,
                _clean(thumb_media_id),
                title=_given(title),
                description=_given(description),
                hqmusicurl=better,
            )
        case NewsReply(articles=articles):
            first = articles[0]
            if len(articles) > 1:
                _LOGGER.warning(
                    "a late answer with %d articles goes out with the first only",
                    len(articles),
                    extra=log_fields("late_answer_cut", count=len(articles)),
                )
            return CustomNews(
                _clean(first.title),
                _clean(first.url),
                description=_clean(first.description),
                picurl=_clean(first.pic_url),
            )
        case _:
            return None


def _given(text: str | None) -> str | None:
    """Return a text with something to see in it, clean; ``None`` otherwise."""
    return _clean(text) if text and _VISIBLE.search(text) else None
