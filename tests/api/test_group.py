"""Groups: the predecessor of tags, with batches of 50 and a create that is never repeated blindly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import group as module
from wxmp.api.group import Group, GroupAPI
from wxmp.errors import APIError, ArgumentError, BadStatusError, NotAuthorizedError, NotFoundError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CREATE = "/cgi-bin/groups/create"
LIST = "/cgi-bin/groups/get"
FOR_USER = "/cgi-bin/groups/getid"
UPDATE = "/cgi-bin/groups/update"
MOVE = "/cgi-bin/groups/members/update"
MOVE_MANY = "/cgi-bin/groups/members/batchupdate"
DELETE = "/cgi-bin/groups/delete"
OK = {"errcode": 0, "errmsg": "ok"}


@pytest.fixture
def group(caller: Caller) -> GroupAPI:
    """The family under test."""
    return GroupAPI(caller)


def people(count: int) -> list[str]:
    """Return that many openids."""
    return [f"oPERSON{number:04}" for number in range(count)]


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", CREATE, False),
        ("GET", LIST, True),
        ("POST", FOR_USER, True),
        ("POST", UPDATE, True),
        ("POST", MOVE, True),
        ("POST", MOVE_MANY, True),
        ("POST", DELETE, True),
    }


async def test_create_returns_the_new_group(platform: Platform, group: GroupAPI) -> None:
    """The name goes out inside ``group``, and the platform's id comes back."""
    route = platform.answer("POST", CREATE, {"group": {"id": 107, "name": "test"}})
    assert await group.create("test") == Group(107, "test", 0)
    assert platform.body(route) == {"group": {"name": "test"}}
    assert platform.params(route) == {}


async def test_create_is_not_repeated(platform: Platform, group: GroupAPI) -> None:
    """Names are not unique: after an attempt with an unknown outcome a repeat could make a second group."""
    route = platform.answer("POST", CREATE, broken())
    with pytest.raises(BadStatusError):
        await group.create("test")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("name", "errcode"), [pytest.param("", 40051, id="empty"), pytest.param("组" * 31, 45017, id="long")]
)
async def test_names_are_checked(group: GroupAPI, name: str, errcode: int) -> None:
    """A name that cannot work is refused before sending, in create and in update."""
    for call in (group.create(name), group.update(107, name=name)):
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (errcode, "name")


async def test_create_with_a_malformed_answer(platform: Platform, group: GroupAPI) -> None:
    """An answer without the group is a ReplyError, never a KeyError."""
    platform.answer("POST", CREATE, OK)
    with pytest.raises(ReplyError, match="group"):
        await group.create("test")


async def test_create_over_the_limit(platform: Platform, group: GroupAPI) -> None:
    """The 101st group is refused (45018)."""
    platform.answer("POST", CREATE, {"errcode": 45018, "errmsg": "too many"})
    with pytest.raises(ArgumentError) as caught:
        await group.create("test")
    assert caught.value.errcode == 45018


async def test_list_reads_all_groups(platform: Platform, group: GroupAPI) -> None:
    """System groups are among them, and new fields are kept."""
    route = platform.answer(
        "GET",
        LIST,
        {"groups": [{"id": 0, "name": "未分组", "count": 72596}, {"id": 104, "name": "华东", "count": 4, "x": 1}]},
    )
    assert await group.list() == (Group(0, "未分组", 72596), Group(104, "华东", 4, extra={"x": 1}))
    assert platform.params(route) == {}


async def test_list_without_groups(platform: Platform, group: GroupAPI) -> None:
    """An answer without the list is a ReplyError."""
    platform.answer("GET", LIST, {})
    with pytest.raises(ReplyError, match="groups"):
        await group.list()


async def test_get_for_user_returns_the_id(platform: Platform, group: GroupAPI) -> None:
    """The group's number comes back, as text too."""
    route = platform.answer("POST", FOR_USER, {"groupid": "102"})
    assert await group.get_for_user("oA") == 102
    assert platform.body(route) == {"openid": "oA"}


async def test_get_for_user_without_group(platform: Platform, group: GroupAPI) -> None:
    """An answer without a number is a ReplyError, for 0 would mean something."""
    platform.answer("POST", FOR_USER, OK)
    with pytest.raises(ReplyError, match="groupid"):
        await group.get_for_user("oA")


async def test_update_renames(platform: Platform, group: GroupAPI) -> None:
    """Id and new name go out inside ``group``."""
    route = platform.answer("POST", UPDATE, OK)
    await group.update(108, name="test2")
    assert platform.body(route) == {"group": {"id": 108, "name": "test2"}}


@pytest.mark.parametrize("group_id", [0, 1, 2])
async def test_system_groups_stay(group: GroupAPI, group_id: int) -> None:
    """System groups can be neither renamed nor deleted (45016)."""
    for call in (group.update(group_id, name="x"), group.delete(group_id)):
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (45016, "group_id")


@pytest.mark.parametrize("group_id", [-1, "108", True, None])
async def test_group_id_must_be_a_number(group: GroupAPI, group_id: Any) -> None:
    """What cannot be a group is refused before sending, in every method (40050)."""
    calls = [
        group.update(group_id, name="x"),
        group.delete(group_id),
        group.move_member("oA", group_id=group_id),
        group.move_members(["oA"], group_id=group_id),
    ]
    for call in calls:
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (40050, "group_id")


@pytest.mark.parametrize("method", ["get_for_user", "move_member"])
async def test_openid_is_checked(group: GroupAPI, method: str) -> None:
    """An empty openid is refused before sending (40003)."""
    more = {"group_id": 108} if method == "move_member" else {}
    with pytest.raises(ArgumentError) as caught:
        await getattr(group, method)("", **more)
    assert (caught.value.errcode, caught.value.field) == (40003, "openid")


@pytest.mark.parametrize("group_id", [0, 108])
async def test_move_member_names_user_and_group(platform: Platform, group: GroupAPI, group_id: int) -> None:
    """The target goes out as ``to_groupid``; group 0 is a target like any other."""
    route = platform.answer("POST", MOVE, OK)
    await group.move_member("oA", group_id=group_id)
    assert platform.body(route) == {"openid": "oA", "to_groupid": group_id}


async def test_move_members_is_one_request(platform: Platform, group: GroupAPI) -> None:
    """A short list is one request."""
    route = platform.answer("POST", MOVE_MANY, OK)
    await group.move_members(["oA", "oB"], group_id=108)
    assert platform.bodies(route) == [{"openid_list": ["oA", "oB"], "to_groupid": 108}]


async def test_move_members_splits_a_long_list(platform: Platform, group: GroupAPI) -> None:
    """Each 50 openids make a request; repetitions are dropped before, and the order stays."""
    route = platform.answer("POST", MOVE_MANY, OK)
    everybody = people(101)
    await group.move_members([*everybody, *everybody[:3]], group_id=108)
    lists = [body["openid_list"] for body in platform.bodies(route)]
    assert [len(batch) for batch in lists] == [50, 50, 1]
    assert [openid for batch in lists for openid in batch] == everybody


async def test_move_members_fails_later(platform: Platform, group: GroupAPI) -> None:
    """The error of a later batch says how many are done and what to do."""
    platform.answer("POST", MOVE_MANY, OK, {"errcode": 40031, "errmsg": "invalid openid list"})
    with pytest.raises(ArgumentError) as caught:
        await group.move_members(people(70), group_id=108)
    assert caught.value.__notes__ == ["50 of 70 openids were done before this; repeating the whole call is safe"]


async def test_move_members_needs_somebody(group: GroupAPI) -> None:
    """An empty list is refused before sending (40032)."""
    with pytest.raises(ArgumentError) as caught:
        await group.move_members([], group_id=108)
    assert (caught.value.errcode, caught.value.field) == (40032, "openids")


async def test_delete_names_the_group(platform: Platform, group: GroupAPI) -> None:
    """The id goes out in the body."""
    route = platform.answer("POST", DELETE, OK)
    await group.delete(108)
    assert platform.body(route) == {"group": {"id": 108}}
    assert platform.params(route) == {}


async def test_delete_after_a_broken_attempt(platform: Platform, group: GroupAPI) -> None:
    """40050 on a repeat means that the first attempt deleted the group."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 40050, "errmsg": "invalid group id"})
    await group.delete(108)
    assert route.call_count == 2


@pytest.mark.parametrize(("errcode", "error"), [(40050, NotFoundError), (45016, NotAuthorizedError)])
async def test_delete_refused(platform: Platform, group: GroupAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal at the first attempt is an error of its own class."""
    platform.answer("POST", DELETE, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await group.delete(108)
    assert caught.value.errcode == errcode
