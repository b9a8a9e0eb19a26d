"""Mass sends (群发): one message to all followers, to a tag, or to a list of users."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, Payload, decode, encode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import (
    OPENID_LIST_LENGTH,
    check_list,
    check_number,
    check_openid,
    check_openids,
    check_optional_text,
    check_text,
    refusal,
)
from wxmp.errors import BusyError, ReplyError, TransportError, api_error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MassAPI",
    "MassArticle",
    "MassCard",
    "MassImages",
    "MassJob",
    "MassMedia",
    "MassMessage",
    "MassMusic",
    "MassNews",
    "MassPreview",
    "MassReceipt",
    "MassSpeed",
    "MassStatus",
    "MassText",
    "MassVideo",
    "MassVoice",
]

#: Receivers of one :meth:`MassAPI.send`.
LEAST_OPENIDS: Final = 2
MOST_OPENIDS: Final = 10_000
#: Most bytes of a ``client_msg_id``.
CLIENT_MSG_ID_BYTES: Final = 32
#: Most articles of one :meth:`MassAPI.upload_news`.
MOST_ARTICLES: Final = 8
#: Speeds run from 0, the fastest, to this.
SLOWEST: Final = 4

MEDIA_REFUSED: Final = 40007
MESSAGE_TYPE_REFUSED: Final = 40008
PARAMETER_REFUSED: Final = 40035
UNKNOWN_TASK: Final = 40059
ARTICLE_INDEX_REFUSED: Final = 40060
STATE_REFUSED: Final = 40065
PARAMETER_MISSING: Final = 40101
TOO_FEW_OPENIDS: Final = 40130
WECHAT_ID_REFUSED: Final = 40132
IMAGE_COUNT_REFUSED: Final = 40215
NO_ARTICLES: Final = 44003
EMPTY_TEXT: Final = 44004
TOO_MANY_ARTICLES: Final = 45008
KEY_KNOWN: Final = 45065
KEY_TOO_FAST: Final = 45066
KEY_TOO_LONG: Final = 45067
SPEED_REFUSED: Final = 45083
UNKNOWN_TAG: Final = 45159
APPROVAL_RUNNING: Final = 89504
APPROVAL_STARTED: Final = 89505

#: The answers to a key that the platform has seen before.
SEEN_BEFORE: Final = frozenset({KEY_KNOWN, KEY_TOO_FAST})
#: The task waits for the administrator; it has not failed.
APPROVAL: Final = frozenset({APPROVAL_RUNNING, APPROVAL_STARTED})

# A send carries a de-duplication key and is then repeatable; the endpoint as such is not. A key that was made here is
# new: if the platform knows it, an earlier attempt of the same call has brought it there.
SEND_ALL: Final = Endpoint(
    "POST", "/cgi-bin/message/mass/sendall", repeatable=False, done_codes=SEEN_BEFORE, accepted_codes=APPROVAL
)
SEND: Final = Endpoint(
    "POST", "/cgi-bin/message/mass/send", repeatable=False, done_codes=SEEN_BEFORE, accepted_codes=APPROVAL
)
PREVIEW: Final = Endpoint("POST", "/cgi-bin/message/mass/preview", repeatable=False)
DELETE: Final = Endpoint("POST", "/cgi-bin/message/mass/delete", repeatable=True, done_codes=frozenset({STATE_REFUSED}))
GET_STATUS: Final = Endpoint("POST", "/cgi-bin/message/mass/get", repeatable=True)
GET_SPEED: Final = Endpoint("POST", "/cgi-bin/message/mass/speed/get", repeatable=True)
SET_SPEED: Final = Endpoint("POST", "/cgi-bin/message/mass/speed/set", repeatable=True)
UPLOAD_NEWS: Final = Endpoint("POST", "/cgi-bin/media/uploadnews", repeatable=True)
UPLOAD_VIDEO: Final = Endpoint("POST", "/cgi-bin/media/uploadvideo", repeatable=True)

#: A caller's own key may be known from an earlier call, so that already the first attempt can learn of it.
_WITH_OWN_KEY: Final = {
    endpoint: attrs.evolve(endpoint, accepted_codes=APPROVAL | SEEN_BEFORE) for endpoint in (SEND_ALL, SEND)
}


@attrs.frozen
class MassText:
    """A text (文本)."""

    msgtype: ClassVar[str] = "text"

    content: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassNews:
    """Articles (图文消息): a draft, or a news material. A draft is used up: its ``media_id`` dies with the send."""

    msgtype: ClassVar[str] = "mpnews"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def _media_ids(value: Iterable[str]) -> tuple[str, ...]:
    # One text is one picture; its letters are none.
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen
class MassImages:
    """One or several pictures (图片)."""

    msgtype: ClassVar[str] = "image"

    #: Materials; one may be given as a plain text.
    media_ids: tuple[str, ...] = attrs.field(converter=_media_ids)
    #: A line that recommends them (推荐语).
    recommend: str | None = None
    title: str | None = attrs.field(default=None, kw_only=True)
    #: Whether readers may comment; no if absent.
    need_open_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Whether only followers may comment; everybody if absent.
    only_fans_can_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassVoice:
    """A sound (语音)."""

    msgtype: ClassVar[str] = "voice"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassVideo:
    """A video (视频)."""

    msgtype: ClassVar[str] = "mpvideo"

    #: From :meth:`MassAPI.upload_video`; the id of the video material itself is refused.
    media_id: str
    #: Documented for :meth:`MassAPI.send` only. What :meth:`MassAPI.upload_video` was told goes with every send.
    title: str | None = None
    #: As ``title``.
    description: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassMusic:
    """A piece of music (音乐). For previews only."""

    msgtype: ClassVar[str] = "music"

    media_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassCard:
    """A coupon (卡券). Retired: the platform has given up cards (45113)."""

    msgtype: ClassVar[str] = "wxcard"

    card_id: str
    #: ``code``, ``openid``, ``timestamp`` and ``signature``; for previews only. The documentation has an object, its
    #: examples and others have the JSON text of one: it goes out as it is given.
    card_ext: JsonObject | str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


#: Everything that can be sent; a plain ``str`` is a :class:`MassText`.
MassMessage: TypeAlias = MassText | MassNews | MassImages | MassVoice | MassVideo | MassCard
#: Everything that can be shown to one person beforehand.
MassPreview: TypeAlias = MassMessage | MassMusic

#: What must not be empty, with the platform's code for it.
_NEEDED: Final[dict[type, tuple[str, int]]] = {
    MassText: ("content", EMPTY_TEXT),
    MassNews: ("media_id", MEDIA_REFUSED),
    MassVoice: ("media_id", MEDIA_REFUSED),
    MassVideo: ("media_id", MEDIA_REFUSED),
    MassMusic: ("media_id", MEDIA_REFUSED),
    MassCard: ("card_id", PARAMETER_REFUSED),
}


@attrs.frozen
class MassReceipt:
    """The platform has taken a mass send in. How it ended comes later as the event ``MASSSENDJOBFINISH``.

    Look at :attr:`duplicate` when you gave a key of your own, and at :attr:`confirmed` in any case.
    """

    #: Names the task: in that event, and for :meth:`MassAPI.get_status` and :meth:`MassAPI.delete`. ``None`` where the
    #: platform knows the task and did not name it (see :attr:`confirmed` and :attr:`awaiting_approval`).
    msg_id: int | None
    #: The key it was sent with. Within 24 hours a second send with it sends nothing.
    client_msg_id: str
    #: Articles only: what comments and statistics count them under.
    msg_data_id: int | None = None
    #: Articles only: ``news``.
    type: str = ""
    #: The platform had this key before, and this answer made no new task. Either an earlier attempt of this call did,
    #: whose answer was lost, or an earlier call with the same ``client_msg_id``: then what counts is what **that** call
    #: sent, whatever stood in this one.
    duplicate: bool = False
    #: Whether the platform said that there is a task. False after 45066: it has seen the key within the last minute and
    #: says no more, so the earlier request may as well have been refused. Make the same send with the same
    #: ``client_msg_id`` a minute later: it names the task, or sends what was not sent.
    confirmed: bool = True
    #: The task waits up to 30 minutes for the administrator (群发保护, 89504, 89505), and fails without an answer. Do
    #: not send again.
    awaiting_approval: bool = False
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


class MassStatus(StrEnum):
    """How far a mass send is (群发状态)."""

    SEND_SUCCESS = "SEND_SUCCESS"
    SENDING = "SENDING"
    SEND_FAIL = "SEND_FAIL"
    DELETE = "DELETE"


@attrs.frozen
class MassJob:
    """The state of a mass send (群发消息发送状态)."""

    msg_id: int
    #: A :class:`MassStatus`; a state that this version does not know stays text.
    msg_status: MassStatus | str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def ok(self) -> bool:
        """Whether it is sent, and not withdrawn."""
        return self.msg_status == MassStatus.SEND_SUCCESS


@attrs.frozen
class MassSpeed:
    """How fast mass sends go out (群发速度)."""

    #: 0 (fastest) to 4.
    speed: int
    #: Ten thousands of messages a minute: 80, 60, 45, 30 or 10.
    realspeed: int
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassArticle:
    """An article for :meth:`MassAPI.upload_news` (图文消息)."""

    title: str
    #: HTML.
    content: str
    #: The cover.
    thumb_media_id: str
    author: str | None = attrs.field(default=None, kw_only=True)
    #: Made of the first 64 characters if absent.
    digest: str | None = attrs.field(default=None, kw_only=True)
    #: Where "read more" leads (阅读原文).
    content_source_url: str | None = attrs.field(default=None, kw_only=True)
    #: Whether the cover is shown in the text.
    show_cover_pic: bool | None = attrs.field(default=None, kw_only=True)
    #: Whether readers may comment; no if absent.
    need_open_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Whether only followers may comment; everybody if absent.
    only_fans_can_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassMedia:
    """What an upload made (上传结果)."""

    media_id: str
    #: ``news`` or ``video``.
    type: str = ""
    create_time: datetime | None = attrs.field(default=None, metadata=wire("created_at"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MassAPI:
    """Mass sends (群发): one message to all followers, to a tag, or to a list of users.

    Every send counts: a user takes at most 4 mass messages a month from a service account; a subscription account sends
    once a day. Verified accounts only; the others get 48001.

    Each send carries a de-duplication key. When an answer is lost, the call is repeated with the same key; a platform
    that knows the key by then (45065) has taken the lost one in, and that is the success of the call. With a key of
    your own (``client_msg_id``) this works across processes and restarts, for 24 hours.
    """

    _call: Caller

    async def send_all(
        self,
        message: MassMessage | str,
        *,
        is_to_all: bool = False,
        tag_id: int | None = None,
        send_ignore_reprint: bool = False,
        client_msg_id: str | None = None,
    ) -> MassReceipt:
        """Send to everybody, or to all who carry a tag (根据标签进行群发).

        Success means that the task is queued; the event ``MASSSENDJOBFINISH`` tells the outcome. The platform takes 60
        requests a minute and 100 a day; a service account reaches everybody once a day and four times a month.

        A call without ``client_msg_id`` gets a new key, so that two calls are two messages: the platform's own guard
        against the same content within 24 hours works only for sends without any key. Where a job can be started twice,
        give the key.

        Args:
            message: What to send; a ``str`` is a text.
            is_to_all: True: to everybody. It must be said; a missing tag alone is not taken for it. The message then
                also stands in the account's history.
            tag_id: To the followers with this tag.
            send_ignore_reprint: Send articles even if they are judged to be a reprint of somebody else's
                (待群发的图文被判定为转载时继续群发).
            client_msg_id: The de-duplication key, at most 32 bytes; made here if absent. Give your own, made from the
                business event, when your process can die between the send and writing down that it was sent.

        Returns:
            The task. ``duplicate`` says that the key was known (45065, 45066), ``confirmed`` whether the platform
            vouches for a task, ``awaiting_approval`` that the administrator must agree first (89504, 89505).

        Raises:
            ArgumentError: Neither or both of ``is_to_all`` and ``tag_id`` (40035), an empty text (44004), one that is
                too long (45002), no or too many pictures (40215), a kind of message that cannot be sent (40008), a key
                that is too long (45067).
            NotFoundError: No such media_id (40007), no such tag (45159, 40152).
            RateLimitError: The allowance is used up (45028), or the calls of the day (45009) or minute (45011, 42010).
            NotAuthorizedError: The terms of mass sends are not accepted (48003), articles with advertisements (45062),
                coupons (45113).
            TransportError: The outcome is unknown. A note on the error holds the ``client_msg_id``: the same call with
                it sends what was not sent, or tells what became of it. The same goes for ``BusyError`` and
                ``ReplyError``.

        Source:
            POST /cgi-bin/message/mass/sendall - 群发消息 / 根据标签群发消息
        """
        # Only True itself reaches everybody: a "false" out of a settings file must not.
        everybody = is_to_all is True
        if everybody == (tag_id is not None):
            problem = "say either is_to_all=True, which reaches every follower, or tag_id=…"
            raise refusal(SEND_ALL, "is_to_all", PARAMETER_REFUSED, problem)
        audience: JsonObject = {"is_to_all": everybody}
        if tag_id is not None:
            problem = "must be the number of a tag; client.tag.list() has them"
            audience["tag_id"] = check_number(SEND_ALL, "tag_id", tag_id, errcode=UNKNOWN_TAG, problem=problem)
        payload: Payload = {"filter": audience, **_content(SEND_ALL, message)}
        return await self._send(SEND_ALL, payload, send_ignore_reprint, client_msg_id)

    async def send(
        self,
        openids: Iterable[str],
        message: MassMessage | str,
        *,
        send_ignore_reprint: bool = False,
        client_msg_id: str | None = None,
    ) -> MassReceipt:
        """Send to a list of users (根据OpenID列表群发). Verified service accounts only.

        Success means that the task is queued; the event ``MASSSENDJOBFINISH`` tells the outcome. The platform takes 60
        requests a minute and 100 a day. A list over the limit is not split here: each part is a task of its own, with
        its own key, its own outcome and a place among the day's calls, which is for you to decide.

        Without ``client_msg_id`` two calls are two messages, as with :meth:`send_all`.

        Args:
            openids: 2 to 10000 followers. Repeated ones are sent once.
            message: What to send; a ``str`` is a text.
            send_ignore_reprint: Send articles even if they are judged to be a reprint of somebody else's.
            client_msg_id: The de-duplication key, at most 32 bytes; made here if absent. It covers the account, not the
                receiver: another part of a long list needs another one.

        Returns:
            The task, as with :meth:`send_all`.

        Raises:
            ArgumentError: Fewer than 2 receivers (40130) or more than 10000 (40032), openids that are none (40003,
                40031), an empty text (44004), one that is too long (45002), no or too many pictures (40215), a kind of
                message that cannot be sent (40008), a key that is too long (45067).
            NotFoundError: No such media_id (40007).
            RateLimitError: The calls of the day (45009) or minute (45011, 42010) are used up.
            NotAuthorizedError: Not a service account (48001), the terms of mass sends are not accepted (48003),
                articles with advertisements (45062), coupons (45113).
            TransportError: The outcome is unknown. A note on the error holds the ``client_msg_id``: the same call with
                it sends what was not sent, or tells what became of it. The same goes for ``BusyError`` and
                ``ReplyError``.

        Source:
            POST /cgi-bin/message/mass/send - 群发消息 / 根据OpenID群发消息
        """
        receivers = check_openids(SEND, openids, empty=TOO_FEW_OPENIDS)
        if len(receivers) < LEAST_OPENIDS:
            problem = "has one user; a mass send needs 2, a single user gets a template or customer-service message"
            raise refusal(SEND, "openids", TOO_FEW_OPENIDS, problem)
        if len(receivers) > MOST_OPENIDS:
            problem = (
                f"has {len(receivers)} users; send parts of at most {MOST_OPENIDS}, each with a client_msg_id of its "
                "own, or put a tag on them and use send_all"
            )
            raise refusal(SEND, "openids", OPENID_LIST_LENGTH, problem)
        payload: Payload = {"touser": receivers, **_content(SEND, message)}
        return await self._send(SEND, payload, send_ignore_reprint, client_msg_id)

    async def preview(
        self, message: MassPreview | str, *, openid: str | None = None, wechat_id: str | None = None
    ) -> None:
        """Show a message to one person before it is sent to many (预览接口).

        It is not repeated when its outcome is unknown: the preview would come twice, and count twice.

        Args:
            message: What to show; a ``str`` is a text.
            openid: Who sees it: a follower. Either this or ``wechat_id``.
            wechat_id: The same by WeChat id (微信号); 100 previews a day.

        Raises:
            ArgumentError: Neither or both of ``openid`` and ``wechat_id`` (40035), an openid of another account
                (40003), an unknown WeChat id (40132), an empty text (44004), a kind of message that cannot be sent
                (40008).
            RecipientError: The user does not follow the account (43004).
            NotFoundError: No such media_id (40007).
            RateLimitError: The previews of the day are used up (45009).

        Source:
            POST /cgi-bin/message/mass/preview - 群发消息 / 预览接口
        """
        if (openid is None) == (wechat_id is None):
            raise refusal(PREVIEW, "openid", PARAMETER_REFUSED, "name the person by either openid or wechat_id")
        payload: Payload = {}
        if openid is not None:
            payload["touser"] = check_openid(PREVIEW, openid)
        else:
            payload["towxname"] = check_text(PREVIEW, "wechat_id", wechat_id, errcode=WECHAT_ID_REFUSED)
        await self._call(PREVIEW, json={**payload, **_content(PREVIEW, message)})

    async def delete(self, msg_id: int | None = None, *, index: int | None = None, url: str | None = None) -> None:
        """Withdraw articles or a video that was sent (删除群发).

        The card stays on the phones, what it opens is gone. An article that was sent several times goes with all its
        copies. Only finished sends that were made through this interface; 10 a day.

        Args:
            msg_id: The task. Either this or ``url``.
            index: Which article of it, **from 1**; absent or 0 withdraws all of them.
            url: The article by its address.

        Raises:
            NotFoundError: No such task (40059).
            ArgumentError: Neither or both of ``msg_id`` and ``url`` (40101), no such article (40060), not articles or a
                video (40008).
            APIError: The task is not finished, or withdrawn already (40065). When a first attempt broke off and the
                repeat says so, the state of the task decides whether the first one worked.
            RateLimitError: The withdrawals of the day are used up (45009).
            BusyError: The same article is just being withdrawn (9500001).

        Source:
            POST /cgi-bin/message/mass/delete - 群发消息 / 删除群发
        """
        if (msg_id is None) == (url is None):
            raise refusal(DELETE, "msg_id", PARAMETER_MISSING, "name the message by either msg_id or url")
        payload: JsonObject = {}
        if msg_id is not None:
            payload["msg_id"] = _checked_task(DELETE, msg_id)
        else:
            payload["url"] = check_text(DELETE, "url", url, errcode=PARAMETER_MISSING)
        if index is not None:
            problem = "must be 1 for the first article and so on, or 0 for all"
            payload["article_idx"] = check_number(
                DELETE, "index", index, errcode=ARTICLE_INDEX_REFUSED, problem=problem
            )
        reply = await self._call(DELETE, json=payload)
        if reply.get("errcode") == STATE_REFUSED and msg_id is not None:
            # "Gone already" and "not finished yet" are one code.
            state = (await self.get_status(msg_id)).msg_status
            if state != MassStatus.DELETE and not (index and state == MassStatus.SEND_SUCCESS):
                raise api_error(STATE_REFUSED, str(reply.get("errmsg", "")), endpoint=DELETE.name)

    async def get_status(self, msg_id: int) -> MassJob:
        """Ask how far a mass send is (查询群发消息发送状态).

        Raises:
            NotFoundError: No such task (40059).
            AccountError: It waits for the administrator (89504, 89505).

        Source:
            POST /cgi-bin/message/mass/get - 群发消息 / 查询群发消息发送状态
        """
        reply = await self._call(GET_STATUS, json={"msg_id": str(_checked_task(GET_STATUS, msg_id))})
        return decode(MassJob, {"msg_id": msg_id, **without_verdict(reply)}, endpoint=GET_STATUS.name)

    async def get_speed(self) -> MassSpeed:
        """Read how fast mass sends go out (获取群发速度).

        Source:
            POST /cgi-bin/message/mass/speed/get - 群发消息 / 获取群发速度
        """
        reply = await self._call(GET_SPEED)
        return decode(MassSpeed, without_verdict(reply), endpoint=GET_SPEED.name)

    async def set_speed(self, speed: int) -> None:
        """Set how fast mass sends go out (设置群发速度), so that the readers do not come all at once.

        Args:
            speed: 0: 800 000 a minute, 1: 600 000, 2: 450 000, 3: 300 000, 4: 100 000.

        Raises:
            ArgumentError: Another speed (45083).
            BusyError: The platform could not set it (45085).
            AccountError: It waits for the administrator (89504, 89505).

        Source:
            POST /cgi-bin/message/mass/speed/set - 群发消息 / 设置群发速度
        """
        problem = f"must be a number from 0, the fastest, to {SLOWEST}"
        check_number(SET_SPEED, "speed", speed, errcode=SPEED_REFUSED, problem=problem, most=SLOWEST)
        await self._call(SET_SPEED, json={"speed": speed})

    async def upload_news(self, articles: MassArticle | Iterable[MassArticle]) -> MassMedia:
        """Upload articles for a mass send (上传图文消息素材). Deprecated: use ``client.draft.add``.

        The platform takes 10 a day. A repeat after a broken connection makes a second set of articles, which nobody
        sees and which expires.

        Args:
            articles: One article, or 1 to 8.

        Returns:
            The ``media_id`` for :class:`MassNews`.

        Raises:
            ArgumentError: There are none (44003) or more than 8 (45008), a title is missing (40035), a content (44003)
                or a cover (40007).
            NotFoundError: No such cover (40007).

        Source:
            POST /cgi-bin/media/uploadnews - 群发消息 / 上传图文消息素材
        """
        single = isinstance(articles, MassArticle)
        found = (articles,) if single else check_list(UPLOAD_NEWS, "articles", articles, errcode=NO_ARTICLES)
        if not found:
            raise refusal(UPLOAD_NEWS, "articles", NO_ARTICLES, "is empty; a message has at least one article")
        if len(found) > MOST_ARTICLES:
            problem = f"has {len(found)} articles; at most {MOST_ARTICLES} fit"
            raise refusal(UPLOAD_NEWS, "articles", TOO_MANY_ARTICLES, problem)
        written = [_article(f"articles[{index}]", article) for index, article in enumerate(found)]
        reply = await self._call(UPLOAD_NEWS, json={"articles": written})
        return decode(MassMedia, without_verdict(reply), endpoint=UPLOAD_NEWS.name)

    async def upload_video(
        self, media_id: str, *, title: str | None = None, description: str | None = None
    ) -> MassMedia:
        """Turn a video material into one that can be sent (上传群发视频素材).

        Args:
            media_id: From ``client.media.upload`` or ``client.material.add``.
            title: Shown with the video.
            description: Shown with the video.

        Returns:
            The ``media_id`` for :class:`MassVideo`.

        Raises:
            NotFoundError: No such video (40007).
            ArgumentError: ``media_id`` is empty (40007; found before sending).

        Source:
            POST /cgi-bin/media/uploadvideo - 群发消息 / 上传群发视频素材
        """
        payload: JsonObject = {"media_id": check_text(UPLOAD_VIDEO, "media_id", media_id, errcode=MEDIA_REFUSED)}
        if title is not None:
            payload["title"] = check_optional_text(UPLOAD_VIDEO, "title", title)
        if description is not None:
            payload["description"] = check_optional_text(UPLOAD_VIDEO, "description", description)
        reply = await self._call(UPLOAD_VIDEO, json=payload)
        return decode(MassMedia, without_verdict(reply), endpoint=UPLOAD_VIDEO.name)

    async def _send(
        self, endpoint: Endpoint, payload: Payload, send_ignore_reprint: bool, client_msg_id: str | None
    ) -> MassReceipt:
        own = client_msg_id is not None
        key = check_text(
            endpoint,
            "client_msg_id",
            client_msg_id if own else secrets.token_hex(CLIENT_MSG_ID_BYTES // 2),
            errcode=PARAMETER_REFUSED,
            max_bytes=CLIENT_MSG_ID_BYTES,
            too_long=KEY_TOO_LONG,
        )
        if send_ignore_reprint:
            payload["send_ignore_reprint"] = 1
        payload["clientmsgid"] = key
        try:
            reply = await self._call(_WITH_OWN_KEY[endpoint] if own else endpoint, json=payload, repeatable=True)
            return _receipt(endpoint, reply, key)
        except (BusyError, ReplyError, TransportError) as error:
            if isinstance(error, BusyError) or error.maybe_acted:
                error.add_note(
                    f"it may have been sent all the same: after a minute, and within 24 hours, the same call with "
                    f"client_msg_id={key!r} sends nothing twice and tells what became of it"
                )
            raise


def _receipt(endpoint: Endpoint, reply: JsonObject, key: str) -> MassReceipt:
    """Read the answer to a send, whichever of the accepted codes it holds."""
    code = reply.get("errcode", 0)
    found: Payload = {**without_verdict(reply), "client_msg_id": key}
    # The documentation says msgid where it speaks of a known key, and msg_id elsewhere.
    if "msg_id" not in found and "msgid" in found:
        found["msg_id"] = found.pop("msgid")
    if code in SEEN_BEFORE or code in APPROVAL:
        found.setdefault("msg_id", None)
        found["duplicate"] = code in SEEN_BEFORE
        found["confirmed"] = code != KEY_TOO_FAST or found["msg_id"] is not None
        found["awaiting_approval"] = code in APPROVAL
    else:
        found["msg_id"] = decode(int, field_of(reply, "msg_id", endpoint), endpoint=endpoint.name)
    return decode(MassReceipt, found, endpoint=endpoint.name)


def _content(endpoint: Endpoint, message: object) -> JsonObject:
    """Return ``msgtype`` and the object that holds the message itself, checked."""
    if isinstance(message, str):
        message = MassText(message)
    if isinstance(message, MassMusic) and endpoint is not PREVIEW:
        raise refusal(endpoint, "message", MESSAGE_TYPE_REFUSED, "is music, which can only be previewed")
    if isinstance(message, MassImages):
        return _images(endpoint, message)
    needed = _NEEDED.get(type(message))
    if needed is None:
        problem = f"must be a text or one of the Mass… records, not {type(message).__name__}"
        raise refusal(endpoint, "message", MESSAGE_TYPE_REFUSED, problem)
    name, errcode = needed
    check_text(endpoint, f"message.{name}", getattr(message, name), errcode=errcode)
    msgtype: str = getattr(message, "msgtype")  # noqa: B009 - the type is one of the table
    return {"msgtype": msgtype, msgtype: encode(message)}


def _images(endpoint: Endpoint, message: MassImages) -> JsonObject:
    if not message.media_ids:
        raise refusal(endpoint, "message.media_ids", IMAGE_COUNT_REFUSED, "is empty; give at least one picture")
    for index, media_id in enumerate(message.media_ids):
        check_text(endpoint, f"message.media_ids[{index}]", media_id, errcode=MEDIA_REFUSED)
    if endpoint is PREVIEW and message == MassImages(message.media_ids[:1]):
        # The documented form of a preview; the one with several pictures is what others use.
        return {"msgtype": "image", "image": {"media_id": message.media_ids[0]}}
    # The kind is image, the object is images.
    return {"msgtype": "image", "images": _with_flags(message)}


def _with_flags(record: object) -> JsonObject:
    """Return a record's wire form with 0 and 1 for its switches: the platform takes no true and false here."""
    written: JsonObject = encode(record)
    return {name: int(value) if isinstance(value, bool) else value for name, value in written.items()}


def _article(field: str, article: object) -> JsonObject:
    if not isinstance(article, MassArticle):
        problem = f"must be a MassArticle, not {type(article).__name__}"
        raise refusal(UPLOAD_NEWS, field, PARAMETER_REFUSED, problem)
    check_text(UPLOAD_NEWS, f"{field}.title", article.title, errcode=PARAMETER_REFUSED)
    check_text(UPLOAD_NEWS, f"{field}.content", article.content, errcode=NO_ARTICLES)
    check_text(UPLOAD_NEWS, f"{field}.thumb_media_id", article.thumb_media_id, errcode=MEDIA_REFUSED)
    return _with_flags(article)


def _checked_task(endpoint: Endpoint, msg_id: object) -> int:
    problem = "must be the number of a mass send, as its receipt has it"
    return check_number(endpoint, "msg_id", msg_id, errcode=UNKNOWN_TASK, problem=problem, least=1)
