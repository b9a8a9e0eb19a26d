"""User tags (用户标签管理): create, list, rename, delete, and who carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_openid, check_openids, check_optional_text, check_text, refusal
from wxmp.api._pages import OpenidData, in_batches, walk_pages
from wxmp.errors import api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

__all__ = ["MemberChange", "Tag", "TagAPI", "TagMemberPage"]

#: Most characters of a name. The documentation says characters once and bytes once: more characters fail either way.
NAME_CHARS: Final = 30
#: Most openids of one call.
BATCH: Final = 50
#: Tags every account has (2 is 星标组); they can be neither renamed nor deleted.
SYSTEM_TAGS: Final = frozenset({0, 1, 2})

NAME_REFUSED: Final = 45157
NAME_TOO_LONG: Final = 45158
UNKNOWN_TAG: Final = 45159
SYSTEM_TAG: Final = 45058
PARTIAL_FAILURE: Final = 45171

CREATE: Final = Endpoint("POST", "/cgi-bin/tags/create", repeatable=True, done_codes=frozenset({NAME_REFUSED}))
LIST: Final = Endpoint("GET", "/cgi-bin/tags/get", repeatable=True)
UPDATE: Final = Endpoint("POST", "/cgi-bin/tags/update", repeatable=True)
DELETE: Final = Endpoint("POST", "/cgi-bin/tags/delete", repeatable=True, done_codes=frozenset({UNKNOWN_TAG}))
LIST_MEMBERS: Final = Endpoint("POST", "/cgi-bin/user/tag/get", repeatable=True)
ADD_MEMBERS: Final = Endpoint(
    "POST", "/cgi-bin/tags/members/batchtagging", repeatable=True, accepted_codes=frozenset({PARTIAL_FAILURE})
)
REMOVE_MEMBERS: Final = Endpoint(
    "POST", "/cgi-bin/tags/members/batchuntagging", repeatable=True, accepted_codes=frozenset({PARTIAL_FAILURE})
)
LIST_FOR_USER: Final = Endpoint("POST", "/cgi-bin/tags/getidlist", repeatable=True)


@attrs.frozen
class Tag:
    """A tag (标签)."""

    tag_id: int = attrs.field(metadata=wire("id"))
    name: str
    #: Followers that carry it.
    count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TagMemberPage:
    """One page of the followers that carry a tag (标签下粉丝列表)."""

    #: Entries on this page.
    count: int
    #: The cursor for the next page; empty at the end.
    next_openid: str = ""
    #: The entries as the platform wraps them; absent on an empty page. :attr:`openids` is easier.
    data: OpenidData | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def openids(self) -> tuple[str, ...]:
        """The entries of this page."""
        return self.data.openid if self.data is not None else ()


@attrs.frozen
class MemberChange:
    """What became of tagging or untagging: everybody was changed but those in ``failed``."""

    #: The users that could not be changed (``fail_openid_list``, 45171). Repeat the call for these only.
    failed: tuple[str, ...] = ()


@attrs.frozen
class TagAPI:
    """User tags (用户标签管理): create, list, rename, delete, and who carries them.

    Verified accounts only; the others get 48001. Tags can be created, listed, renamed and deleted 1000 times a day each
    (``RateLimitError`` 45009); an account has at most 100 of them.
    """

    _call: Caller

    async def create(self, name: str) -> Tag:
        """Create a tag (创建标签).

        When a first attempt broke off and the repeat says that the name is taken, the first one worked: the tag is
        looked up and returned.

        Args:
            name: Tag name, at most 30 characters. Names are unique.

        Returns:
            The new tag: its ``tag_id`` from the platform, its name, ``count`` 0.

        Raises:
            ArgumentError: The name is taken or not allowed (45157), too long (45158), or the account already has 100
                tags (45056).

        Source:
            POST /cgi-bin/tags/create - 用户标签管理 / 创建标签
        """
        reply = await self._call(CREATE, json={"tag": {"name": _checked_name(CREATE, name)}})
        if reply.get("errcode") == NAME_REFUSED:
            for tag in await self.list():
                if tag.name == name:
                    return tag
            raise api_error(NAME_REFUSED, str(reply.get("errmsg", "")), endpoint=CREATE.name)
        return decode(Tag, field_of(reply, "tag", CREATE), endpoint=CREATE.name)

    async def list(self) -> tuple[Tag, ...]:
        """List all tags, system tags included, with their numbers of followers (获取公众号已创建的标签).

        Source:
            GET /cgi-bin/tags/get - 用户标签管理 / 获取标签
        """
        reply = await self._call(LIST)
        return decode(tuple[Tag, ...], field_of(reply, "tags", LIST), endpoint=LIST.name)

    async def update(self, tag_id: int, *, name: str) -> None:
        """Rename a tag (编辑标签).

        Args:
            tag_id: Which one; not a system tag (0, 1, 2).
            name: The new name, at most 30 characters.

        Raises:
            ArgumentError: The name is taken or not allowed (45157), or too long (45158); it is a system tag (45058).
            NotAuthorizedError: The platform counts it among the system tags (45058).
            NotFoundError: No such tag (45159).

        Source:
            POST /cgi-bin/tags/update - 用户标签管理 / 编辑标签
        """
        tag = {"id": _own_tag(UPDATE, tag_id), "name": _checked_name(UPDATE, name)}
        await self._call(UPDATE, json={"tag": tag})

    async def delete(self, tag_id: int) -> None:
        """Delete a tag and take it off everybody (删除标签).

        Args:
            tag_id: Which one; not a system tag (0, 1, 2).

        Raises:
            ArgumentError: More than 100000 followers carry it (45057): take it off with :meth:`remove_members` first.
                Or it is a system tag (45058).
            NotAuthorizedError: The platform counts it among the system tags (45058).
            NotFoundError: No such tag (45159).

        Source:
            POST /cgi-bin/tags/delete - 用户标签管理 / 删除标签
        """
        await self._call(DELETE, json={"tag": {"id": _own_tag(DELETE, tag_id)}})

    async def list_members(self, tag_id: int, *, next_openid: str = "") -> TagMemberPage:
        """List one page of the followers that carry a tag (获取标签下粉丝列表).

        :meth:`iter_members` walks through all pages.

        Args:
            tag_id: Which tag.
            next_openid: The cursor of the page before; empty begins at the top.

        Raises:
            NotFoundError: No such tag (45159).
            ArgumentError: The cursor is no openid of this account (40003).

        Source:
            POST /cgi-bin/user/tag/get - 用户标签管理 / 获取标签下粉丝列表
        """
        payload: JsonObject = {"tagid": _known_tag(LIST_MEMBERS, tag_id)}
        if check_optional_text(LIST_MEMBERS, "next_openid", next_openid):
            payload["next_openid"] = next_openid
        reply = await self._call(LIST_MEMBERS, json=payload)
        return decode(TagMemberPage, without_verdict(reply), endpoint=LIST_MEMBERS.name)

    def iter_members(self, tag_id: int, *, next_openid: str = "") -> AsyncGenerator[str, None]:
        """Iterate over the openids of all followers that carry a tag, page by page (获取标签下粉丝列表).

        Args:
            tag_id: Which tag.
            next_openid: Begin behind this openid; empty begins at the top.

        Raises:
            NotFoundError: No such tag (45159).
            ReplyError: The platform's cursor does not move on.

        Source:
            POST /cgi-bin/user/tag/get - 用户标签管理 / 获取标签下粉丝列表
        """
        _known_tag(LIST_MEMBERS, tag_id)

        async def fetch(cursor: str) -> TagMemberPage:
            return await self.list_members(tag_id, next_openid=cursor)

        return walk_pages(fetch, LIST_MEMBERS, next_openid=next_openid)

    async def add_members(self, tag_id: int, *, openids: Iterable[str]) -> MemberChange:
        """Put a tag on users (批量为用户打标签).

        Lists of any length are sent in batches of 50, one after the other. Do not change tags of the same user from
        several tasks at once: the platform answers 45169.

        Args:
            tag_id: Which tag.
            openids: Followers. Repeated ones are sent once.

        Returns:
            Who could not be tagged (45171); the others were.

        Raises:
            ArgumentError: The list is empty (40032), an openid is not of this account (40003, 49003), or a user would
                have more than 20 tags (45059).
            NotFoundError: No such tag (45159).
            RateLimitError: Too many calls today (45009) or in this minute (45011).

        Source:
            POST /cgi-bin/tags/members/batchtagging - 用户标签管理 / 批量为用户打标签
        """
        return await self._change(ADD_MEMBERS, tag_id, openids)

    async def remove_members(self, tag_id: int, *, openids: Iterable[str]) -> MemberChange:
        """Take a tag off users (批量为用户取消标签).

        Lists of any length are sent in batches of 50, one after the other. Do not change tags of the same user from
        several tasks at once: the platform answers 45169.

        Args:
            tag_id: Which tag.
            openids: Followers. Repeated ones are sent once.

        Returns:
            Who could not be untagged (45171); the others were.

        Raises:
            ArgumentError: The list is empty (40032), or an openid is not of this account (40003, 49003).
            NotFoundError: No such tag (45159).
            RateLimitError: Too many calls today (45009) or in this minute (45011).

        Source:
            POST /cgi-bin/tags/members/batchuntagging - 用户标签管理 / 批量为用户取消标签
        """
        return await self._change(REMOVE_MEMBERS, tag_id, openids)

    async def list_for_user(self, openid: str) -> tuple[int, ...]:
        """List the ids of the tags a user carries (获取用户身上的标签列表).

        Raises:
            RecipientError: The user does not follow the account (43004).
            ArgumentError: Not an openid of this account (40003, 49003).
            RateLimitError: The calls of today are used up (45009).

        Source:
            POST /cgi-bin/tags/getidlist - 用户标签管理 / 获取用户身上的标签列表
        """
        reply = await self._call(LIST_FOR_USER, json={"openid": check_openid(LIST_FOR_USER, openid)})
        return decode(tuple[int, ...], field_of(reply, "tagid_list", LIST_FOR_USER), endpoint=LIST_FOR_USER.name)

    async def _change(self, endpoint: Endpoint, tag_id: int, openids: Iterable[str]) -> MemberChange:
        _known_tag(endpoint, tag_id)

        async def send(batch: tuple[str, ...]) -> tuple[str, ...]:
            reply = await self._call(endpoint, json={"openid_list": batch, "tagid": tag_id})
            if reply.get("errcode") != PARTIAL_FAILURE:
                return ()
            return decode(tuple[str, ...], field_of(reply, "fail_openid_list", endpoint), endpoint=endpoint.name)

        failed = await in_batches(check_openids(endpoint, openids), BATCH, send)
        return MemberChange(tuple([openid for batch in failed for openid in batch]))


def _checked_name(endpoint: Endpoint, name: object) -> str:
    return check_text(endpoint, "name", name, errcode=NAME_REFUSED, max_chars=NAME_CHARS, too_long=NAME_TOO_LONG)


def _known_tag(endpoint: Endpoint, tag_id: object) -> int:
    if not isinstance(tag_id, int) or isinstance(tag_id, bool) or tag_id < 0:
        raise refusal(endpoint, "tag_id", UNKNOWN_TAG, "must be the number of a tag; client.tag.list() has them")
    return tag_id


def _own_tag(endpoint: Endpoint, tag_id: object) -> int:
    number = _known_tag(endpoint, tag_id)
    if number in SYSTEM_TAGS:
        raise refusal(endpoint, "tag_id", SYSTEM_TAG, f"{number} is a system tag, which stays as it is")
    return number
