"""User groups (用户分组管理), the predecessor of tags. A user is in exactly one group; new programs use tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of
from wxmp.api._checks import check_openid, check_openids, check_text, refusal
from wxmp.api._pages import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Group", "GroupAPI"]

#: Most characters of a name.
NAME_CHARS: Final = 30
#: Most openids of one call.
BATCH: Final = 50
#: Groups every account has: 0 未分组, 1 黑名单, 2 星标组. They can be neither renamed nor deleted.
SYSTEM_GROUPS: Final = frozenset({0, 1, 2})

NAME_REFUSED: Final = 40051
NAME_TOO_LONG: Final = 45017
UNKNOWN_GROUP: Final = 40050
SYSTEM_GROUP: Final = 45016

CREATE: Final = Endpoint("POST", "/cgi-bin/groups/create", repeatable=False)
LIST: Final = Endpoint("GET", "/cgi-bin/groups/get", repeatable=True)
GET_FOR_USER: Final = Endpoint("POST", "/cgi-bin/groups/getid", repeatable=True)
UPDATE: Final = Endpoint("POST", "/cgi-bin/groups/update", repeatable=True)
MOVE_MEMBER: Final = Endpoint("POST", "/cgi-bin/groups/members/update", repeatable=True)
MOVE_MEMBERS: Final = Endpoint("POST", "/cgi-bin/groups/members/batchupdate", repeatable=True)
DELETE: Final = Endpoint("POST", "/cgi-bin/groups/delete", repeatable=True, done_codes=frozenset({UNKNOWN_GROUP}))


@attrs.frozen
class Group:
    """A group (分组)."""

    group_id: int = attrs.field(metadata=wire("id"))
    name: str
    #: Its members.
    count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class GroupAPI:
    """User groups (用户分组管理): retired in favour of tags, still answered for accounts that have them.

    A user is in exactly one group. Groups 0, 1 and 2 belong to the system. Groups can be created, listed and renamed
    1000 times a day each (100 for a test account), and users moved 100 000 times (1000).
    """

    _call: Caller

    async def create(self, name: str) -> Group:
        """Create a group (创建分组). New programs use ``client.tag.create``.

        A second call can create a second group of the same name, so it is not repeated when its outcome is unknown.

        Args:
            name: At most 30 characters.

        Raises:
            ArgumentError: The name is not allowed (40051) or too long (45017), or the account has 100 groups (45018).

        Source:
            POST /cgi-bin/groups/create - 用户分组管理 / 创建分组
        """
        reply = await self._call(CREATE, json={"group": {"name": _checked_name(CREATE, name)}})
        return decode(Group, field_of(reply, "group", CREATE), endpoint=CREATE.name)

    async def list(self) -> tuple[Group, ...]:
        """List all groups with their numbers of members (查询所有分组). New programs use ``client.tag.list``.

        Source:
            GET /cgi-bin/groups/get - 用户分组管理 / 查询所有分组
        """
        reply = await self._call(LIST)
        return decode(tuple[Group, ...], field_of(reply, "groups", LIST), endpoint=LIST.name)

    async def get_for_user(self, openid: str) -> int:
        """Return the id of the group a user is in (查询用户所在分组). New programs use ``client.tag.list_for_user``.

        Raises:
            ArgumentError: Not an openid of this account (40003).

        Source:
            POST /cgi-bin/groups/getid - 用户分组管理 / 查询用户所在分组
        """
        reply = await self._call(GET_FOR_USER, json={"openid": check_openid(GET_FOR_USER, openid)})
        return decode(int, field_of(reply, "groupid", GET_FOR_USER), endpoint=GET_FOR_USER.name)

    async def update(self, group_id: int, *, name: str) -> None:
        """Rename a group (修改分组名). New programs use ``client.tag.update``.

        Args:
            group_id: Which one; not a system group (0, 1, 2).
            name: The new name, at most 30 characters.

        Raises:
            ArgumentError: The name is not allowed (40051) or too long (45017); it is a system group (45016).
            NotAuthorizedError: The platform counts it among the system groups (45016).
            NotFoundError: No such group (40050).

        Source:
            POST /cgi-bin/groups/update - 用户分组管理 / 修改分组名
        """
        group = {"id": _own_group(UPDATE, group_id), "name": _checked_name(UPDATE, name)}
        await self._call(UPDATE, json={"group": group})

    async def move_member(self, openid: str, *, group_id: int) -> None:
        """Move one user to a group (移动用户分组). New programs use ``client.tag.add_members``.

        Args:
            openid: Who.
            group_id: Where to; 0 means no group.

        Raises:
            ArgumentError: Not an openid of this account (40003).
            NotFoundError: No such group (40050).

        Source:
            POST /cgi-bin/groups/members/update - 用户分组管理 / 移动用户分组
        """
        payload = {"openid": check_openid(MOVE_MEMBER, openid), "to_groupid": _known_group(MOVE_MEMBER, group_id)}
        await self._call(MOVE_MEMBER, json=payload)

    async def move_members(self, openids: Iterable[str], *, group_id: int) -> None:
        """Move users to a group (批量移动用户分组). New programs use ``client.tag.add_members``.

        Lists of any length are sent in batches of 50, one after the other.

        Args:
            openids: Who. Repeated ones are sent once.
            group_id: Where to; 0 means no group.

        Raises:
            ArgumentError: The list is empty (40032), or an openid is not of this account (40003, 40031).
            NotFoundError: No such group (40050).

        Source:
            POST /cgi-bin/groups/members/batchupdate - 用户分组管理 / 批量移动用户分组
        """
        _known_group(MOVE_MEMBERS, group_id)

        async def send(batch: tuple[str, ...]) -> None:
            await self._call(MOVE_MEMBERS, json={"openid_list": batch, "to_groupid": group_id})

        await in_batches(check_openids(MOVE_MEMBERS, openids), BATCH, send)

    async def delete(self, group_id: int) -> None:
        """Delete a group (删除分组); its members fall back to group 0. New programs use ``client.tag.delete``.

        Args:
            group_id: Which one; not a system group (0, 1, 2).

        Raises:
            ArgumentError: It is a system group (45016).
            NotAuthorizedError: The platform counts it among the system groups (45016).
            NotFoundError: No such group (40050).

        Source:
            POST /cgi-bin/groups/delete - 用户分组管理 / 删除分组
        """
        # One older document has the id in the query; the call that works has it in the body.
        await self._call(DELETE, json={"group": {"id": _own_group(DELETE, group_id)}})


def _checked_name(endpoint: Endpoint, name: object) -> str:
    return check_text(endpoint, "name", name, errcode=NAME_REFUSED, max_chars=NAME_CHARS, too_long=NAME_TOO_LONG)


def _known_group(endpoint: Endpoint, group_id: object) -> int:
    if not isinstance(group_id, int) or isinstance(group_id, bool) or group_id < 0:
        problem = "must be the number of a group; client.group.list() has them"
        raise refusal(endpoint, "group_id", UNKNOWN_GROUP, problem)
    return group_id


def _own_group(endpoint: Endpoint, group_id: object) -> int:
    number = _known_group(endpoint, group_id)
    if number in SYSTEM_GROUPS:
        raise refusal(endpoint, "group_id", SYSTEM_GROUP, f"{number} is a system group, which stays as it is")
    return number
