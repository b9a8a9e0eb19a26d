"""Followers: read, list, remark, and translate openids (用户管理)."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, get_args

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_openid, check_openids, check_optional_text, check_text, refusal
from wxmp.api._pages import OpenidData, OpenidPage, in_batches, walk_pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

__all__ = ["Language", "OpenidChange", "OpenidData", "OpenidPage", "SubscribeScene", "UserAPI", "UserInfo"]

GET: Final = Endpoint("GET", "/cgi-bin/user/info", repeatable=True)
BATCH_GET: Final = Endpoint("POST", "/cgi-bin/user/info/batchget", repeatable=True)
LIST: Final = Endpoint("GET", "/cgi-bin/user/get", repeatable=True)
UPDATE_REMARK: Final = Endpoint("POST", "/cgi-bin/user/info/updateremark", repeatable=True)
CHANGE_OPENID: Final = Endpoint("POST", "/cgi-bin/changeopenid", repeatable=True)

#: Users in one request of ``batch_get``.
BATCH_GET_SIZE: Final = 100
#: Openids in one request of ``change_openid``.
CHANGE_SIZE: Final = 100
#: One page says "under 30 bytes", an older one "30 characters": what has more characters is wrong under both.
REMARK_CHARS: Final = 30

#: The language of place names: 简体, 繁体, English.
Language = Literal["zh_CN", "zh_TW", "en"]
#: The same, to check against without asking ``typing`` each time.
LANGUAGES: Final[tuple[str, ...]] = get_args(Language)


class SubscribeScene(StrEnum):
    """How a user came to follow (关注的渠道来源)."""

    SEARCH = "ADD_SCENE_SEARCH"
    ACCOUNT_MIGRATION = "ADD_SCENE_ACCOUNT_MIGRATION"
    PROFILE_CARD = "ADD_SCENE_PROFILE_CARD"
    QR_CODE = "ADD_SCENE_QR_CODE"
    PROFILE_LINK = "ADD_SCENE_PROFILE_LINK"
    PROFILE_ITEM = "ADD_SCENE_PROFILE_ITEM"
    PAID = "ADD_SCENE_PAID"
    WECHAT_ADVERTISEMENT = "ADD_SCENE_WECHAT_ADVERTISEMENT"
    REPRINT = "ADD_SCENE_REPRINT"
    LIVESTREAM = "ADD_SCENE_LIVESTREAM"
    CHANNELS = "ADD_SCENE_CHANNELS"
    WXA = "ADD_SCENE_WXA"
    OTHERS = "ADD_SCENE_OTHERS"


_SCENES: Final[dict[str | None, SubscribeScene]] = {scene.value: scene for scene in SubscribeScene}


def _known_scene(value: str | None) -> str | None:
    return _SCENES.get(value, value)


@attrs.frozen
class UserInfo:
    """A user (用户基本信息). Look at ``subscribe`` first: of somebody who does not follow there is only the openid.

    The platform tells nobody when a user last wrote: keep the time of the messages your webhook receives.
    """

    #: Whether the user follows the account.
    subscribe: bool
    #: Their id within this account.
    openid: str
    #: Their id across all apps bound to one Open Platform account (开放平台); absent without such a binding.
    unionid: str | None = None
    #: When they last began to follow.
    subscribe_time: datetime | None = None
    #: The account's note about them.
    remark: str | None = None
    #: Their group, the predecessor of tags.
    group_id: int | None = attrs.field(default=None, metadata=wire("groupid"))
    #: Their tags; the last one put on decides which conditional menu they see.
    tag_ids: tuple[int, ...] = attrs.field(default=(), metadata=wire("tagid_list"))
    #: How they came: a :class:`SubscribeScene`, or the platform's text where this version does not know it.
    subscribe_scene: str | None = attrs.field(default=None, converter=_known_scene)
    #: The number of the QR code they came by.
    qr_scene: int | None = None
    #: The text of the QR code they came by.
    qr_scene_str: str | None = None
    #: No longer filled.
    language: str | None = None
    #: Retired: empty since 2021-12-27. Web authorization (``client.oauth``) gives it, with the user's consent.
    nickname: str | None = None
    #: Retired: 0 since 2021-12-27.
    sex: int | None = None
    #: Retired: empty since 2021-12-27.
    city: str | None = None
    #: Retired: empty since 2021-12-27.
    province: str | None = None
    #: Retired: empty since 2021-12-27.
    country: str | None = None
    #: Retired: empty since 2021-12-27. Web authorization (``client.oauth``) gives it, with the user's consent.
    headimgurl: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class OpenidChange:
    """What became of one openid (openid转换结果)."""

    #: The openid at the old account.
    ori_openid: str
    #: The openid here; absent if there is none.
    new_openid: str | None = None
    #: ``"ok"``, or why there is none: ``"ori_openid error"``.
    err_msg: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UserAPI:
    """Followers (用户管理): read, list, remark, translate openids.

    Verified accounts only; the others get 48001. :meth:`change_openid` is for every account.
    """

    _call: Caller

    async def get(self, openid: str, *, lang: Language | None = None) -> UserInfo:
        """Read one user (获取用户基本信息). The platform allows 5 million a day (500 000 for a test account).

        Args:
            openid: Their openid.
            lang: The language of place names; the platform takes ``"zh_CN"`` if absent.

        Returns:
            The user; ``subscribe`` is false, and nothing else is filled, for somebody who does not follow.

        Raises:
            ArgumentError: The openid is not one of this account (40003; an empty one is found before sending).

        Source:
            GET /cgi-bin/user/info - 用户管理 / 获取用户基本信息
        """
        check_openid(GET, openid)
        _check_lang(GET, lang)
        reply = await self._call(GET, params={"openid": openid, "lang": lang})
        return decode(UserInfo, without_verdict(reply), endpoint=GET.name)

    async def batch_get(self, openids: Iterable[str], *, lang: Language | None = None) -> tuple[UserInfo, ...]:
        """Read many users (批量获取用户基本信息).

        Args:
            openids: Any number; repetitions are dropped, and each 100 make one request.
            lang: The language of place names; the platform takes ``"zh_CN"`` if absent.

        Returns:
            The users in the order asked for. Whom the platform leaves out is not in it: go by ``openid``, not by
            position.

        Raises:
            ArgumentError: An openid is not one of this account (40003), or there are none (40032; found before
                sending).

        Source:
            POST /cgi-bin/user/info/batchget - 用户管理 / 批量获取用户基本信息
        """
        _check_lang(BATCH_GET, lang)
        unique = check_openids(BATCH_GET, openids)

        async def fetch(batch: tuple[str, ...]) -> tuple[UserInfo, ...]:
            language = {} if lang is None else {"lang": lang}
            users = [{"openid": openid, **language} for openid in batch]
            reply = await self._call(BATCH_GET, json={"user_list": users})
            found = field_of(reply, "user_info_list", BATCH_GET)
            return decode(tuple[UserInfo, ...], found, endpoint=BATCH_GET.name)

        position = {openid: index for index, openid in enumerate(unique)}
        users = [user for batch in await in_batches(unique, BATCH_GET_SIZE, fetch) for user in batch]
        return tuple(sorted(users, key=lambda user: position.get(user.openid, len(position))))

    async def list(self, next_openid: str = "") -> OpenidPage:
        """List the openids of followers, one page (获取用户列表).

        :meth:`iter_followers` does the paging. The platform allows 500 pages a day (100 for a test account).

        Args:
            next_openid: The ``next_openid`` of the page before; empty for the first one.

        Returns:
            At most 10 000 openids, and the cursor.

        Raises:
            ArgumentError: The cursor is not an openid of this account (40003).
            RateLimitError: The pages of today are used up (45009).
            BusyError: The list is not to be had at the moment (268487002). It is asked for again by itself.

        Source:
            GET /cgi-bin/user/get - 用户管理 / 获取用户列表
        """
        reply = await self._call(
            LIST, params={"next_openid": check_optional_text(LIST, "next_openid", next_openid) or None}
        )
        return decode(OpenidPage, without_verdict(reply), endpoint=LIST.name)

    def iter_followers(self, *, next_openid: str = "") -> AsyncGenerator[str, None]:
        """Iterate over the openids of all followers, page by page (获取用户列表).

        The platform promises no order, and none of what happens to people who come or leave meanwhile.

        Args:
            next_openid: Begin behind this one: the last openid seen, to go on after a failure.

        Raises:
            ReplyError: The platform repeats a cursor, so that the list would never end.

        Source:
            GET /cgi-bin/user/get - 用户管理 / 获取用户列表
        """
        return walk_pages(self.list, LIST, next_openid=next_openid)

    async def iter_users(
        self, *, lang: Language | None = None, next_openid: str = ""
    ) -> AsyncGenerator[UserInfo, None]:
        """Iterate over all followers with their data, read 100 at a time (获取用户列表, 批量获取用户基本信息).

        Args:
            lang: The language of place names; the platform takes ``"zh_CN"`` if absent.
            next_openid: Begin behind this one: the last openid seen, to go on after a failure.

        Raises:
            ReplyError: The platform repeats a cursor, so that the list would never end.

        Source:
            GET /cgi-bin/user/get, POST /cgi-bin/user/info/batchget - 用户管理
        """
        batch: dict[str, None] = {}
        async with aclosing(self.iter_followers(next_openid=next_openid)) as openids:
            async for openid in openids:
                batch[openid] = None
                if len(batch) == BATCH_GET_SIZE:
                    for user in await self.batch_get(tuple(batch), lang=lang):
                        yield user
                    batch = {}
        if batch:
            for user in await self.batch_get(tuple(batch), lang=lang):
                yield user

    async def update_remark(self, openid: str, *, remark: str) -> None:
        """Set the account's note about a follower (设置用户备注名).

        The platform allows 10 000 a day. One page of the documentation says that only verified service accounts may.

        Args:
            openid: The follower.
            remark: The note; empty removes it. The documentation says under 30 bytes, older text 30 characters.

        Raises:
            ArgumentError: The note is refused (40092; more than 30 characters are found before sending), or the openid
                is not one of this account (40003).
            RecipientError: The user does not follow (43004).
            RateLimitError: The calls of today are used up (45009).

        Source:
            POST /cgi-bin/user/info/updateremark - 用户管理 / 设置用户备注名
        """
        check_openid(UPDATE_REMARK, openid)
        await self._call(UPDATE_REMARK, json={"openid": openid, "remark": _checked_remark(remark)})

    async def change_openid(self, openids: Iterable[str], *, from_appid: str) -> tuple[OpenidChange, ...]:
        """Translate openids of an old account after its migration to this one (openid转换).

        Args:
            openids: Openids of followers of the old account, any number; repetitions are dropped, and each 100 make
                one request.
            from_appid: AppID of the old account. One comment of the documentation asks for its original id
                (``gh_...``).

        Returns:
            One entry for each openid the platform answered, failed ones included: look at ``new_openid``.

        Raises:
            ArgumentError: The list is empty (63182; found before sending), or there is no migration between the
                accounts (63178, 63183).

        Source:
            POST /cgi-bin/changeopenid - 用户管理 / 帐号迁移
        """
        check_text(CHANGE_OPENID, "from_appid", from_appid, errcode=63178)
        unique = check_openids(CHANGE_OPENID, openids, empty=63182)

        async def translate(batch: tuple[str, ...]) -> tuple[OpenidChange, ...]:
            reply = await self._call(CHANGE_OPENID, json={"from_appid": from_appid, "openid_list": batch})
            found = field_of(reply, "result_list", CHANGE_OPENID)
            return decode(tuple[OpenidChange, ...], found, endpoint=CHANGE_OPENID.name)

        return tuple([change for batch in await in_batches(unique, CHANGE_SIZE, translate) for change in batch])


def _checked_remark(remark: object) -> str:
    if not isinstance(remark, str):
        problem = f"must be a text, not {type(remark).__name__}; an empty one removes the note"
        raise refusal(UPDATE_REMARK, "remark", 40092, problem)
    if len(remark) > REMARK_CHARS:
        problem = f"has {len(remark)} characters; shorten it to {REMARK_CHARS}"
        raise refusal(UPDATE_REMARK, "remark", 40092, problem)
    return remark


def _check_lang(endpoint: Endpoint, lang: object) -> None:
    if lang is not None and lang not in LANGUAGES:
        raise refusal(endpoint, "lang", 40035, f"must be one of {', '.join(LANGUAGES)}")
