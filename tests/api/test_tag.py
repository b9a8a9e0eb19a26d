"""Tags: names, members in batches of 50, partial failures, pages, and the name that is taken after a broken attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import tag as module
from wxmp.api.tag import MemberChange, Tag, TagAPI
from wxmp.errors import APIError, ArgumentError, BadStatusError, NotAuthorizedError, NotFoundError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CREATE = "/cgi-bin/tags/create"
LIST = "/cgi-bin/tags/get"
UPDATE = "/cgi-bin/tags/update"
DELETE = "/cgi-bin/tags/delete"
MEMBERS = "/cgi-bin/user/tag/get"
FOR_USER = "/cgi-bin/tags/getidlist"
CHANGES = {
    "add_members": "/cgi-bin/tags/members/batchtagging",
    "remove_members": "/cgi-bin/tags/members/batchuntagging",
}
OK = {"errcode": 0, "errmsg": "ok"}
TAKEN = {"errcode": 45157, "errmsg": "invalid tag name"}


@pytest.fixture
def tag(caller: Caller) -> TagAPI:
    """The family under test."""
    return TagAPI(caller)


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
        ("POST", CREATE, True),
        ("GET", LIST, True),
        ("POST", UPDATE, True),
        ("POST", DELETE, True),
        ("POST", MEMBERS, True),
        ("POST", CHANGES["add_members"], True),
        ("POST", CHANGES["remove_members"], True),
        ("POST", FOR_USER, True),
    }


async def test_create_returns_the_new_tag(platform: Platform, tag: TagAPI) -> None:
    """The name goes out as raw UTF-8 inside ``tag``, and the platform's id comes back."""
    route = platform.answer("POST", CREATE, {"tag": {"id": 134, "name": "广东"}})
    assert await tag.create("广东") == Tag(134, "广东", 0)
    assert platform.raw(route) == '{"tag":{"name":"广东"}}'.encode()
    assert platform.params(route) == {}


@pytest.mark.parametrize("name", ["", "  ", None, 7])
async def test_create_needs_a_name(tag: TagAPI, name: Any) -> None:
    """An empty name, or none, is refused before sending with the platform's code."""
    with pytest.raises(ArgumentError) as caught:
        await tag.create(name)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (45157, "name", f"POST {CREATE}")


async def test_create_refuses_a_long_name(tag: TagAPI) -> None:
    """31 characters are too many by any reading."""
    with pytest.raises(ArgumentError) as caught:
        await tag.create("广" * 31)
    assert (caught.value.errcode, caught.value.field) == (45158, "name")


async def test_create_lets_thirty_characters_through(platform: Platform, tag: TagAPI) -> None:
    """Whether 30 characters of 3 bytes fit is left to the platform: the documentation says both."""
    platform.answer("POST", CREATE, {"tag": {"id": 1, "name": "广" * 30}})
    assert (await tag.create("广" * 30)).tag_id == 1


async def test_create_with_a_taken_name(platform: Platform, tag: TagAPI) -> None:
    """45157 on the first attempt is an error: nothing was created."""
    route = platform.answer("POST", CREATE, TAKEN)
    with pytest.raises(ArgumentError) as caught:
        await tag.create("vip")
    assert caught.value.errcode == 45157
    assert route.call_count == 1


async def test_create_finds_the_tag_of_a_broken_attempt(platform: Platform, tag: TagAPI) -> None:
    """After an attempt whose outcome is unknown, 45157 means that it worked: the tag is looked up."""
    route = platform.answer("POST", CREATE, broken(), TAKEN)
    platform.answer(
        "GET", LIST, {"tags": [{"id": 2, "name": "星标组", "count": 1}, {"id": 9, "name": "vip", "count": 0}]}
    )
    assert await tag.create("vip") == Tag(9, "vip", 0)
    assert route.call_count == 2


async def test_create_does_not_invent_the_tag_of_a_broken_attempt(platform: Platform, tag: TagAPI) -> None:
    """If no tag of that name is there, the platform meant that the name is not allowed."""
    platform.answer("POST", CREATE, broken(), TAKEN)
    platform.answer("GET", LIST, {"tags": []})
    with pytest.raises(ArgumentError) as caught:
        await tag.create("vip")
    assert (caught.value.errcode, caught.value.endpoint) == (45157, f"POST {CREATE}")


@pytest.mark.parametrize("reply", [{}, {"tag": {"name": "vip"}}, {"tag": []}, {"tag": {"id": "x", "name": "vip"}}])
async def test_create_with_a_malformed_answer(platform: Platform, tag: TagAPI, reply: dict[str, Any]) -> None:
    """An answer without the documented tag is a ReplyError, never a KeyError."""
    platform.answer("POST", CREATE, reply)
    with pytest.raises(ReplyError, match="documented shape"):
        await tag.create("vip")


async def test_list_reads_all_tags(platform: Platform, tag: TagAPI) -> None:
    """Numbers may come as text, and new fields are kept."""
    route = platform.answer(
        "GET",
        LIST,
        {"tags": [{"id": 1, "name": "黑名单", "count": 0}, {"id": "127", "name": "广东", "count": "5", "x": 1}]},
    )
    assert await tag.list() == (Tag(1, "黑名单", 0), Tag(127, "广东", 5, extra={"x": 1}))
    assert platform.params(route) == {}


async def test_list_without_tags(platform: Platform, tag: TagAPI) -> None:
    """An answer without the list is not an account without tags."""
    platform.answer("GET", LIST, {})
    with pytest.raises(ReplyError, match="tags"):
        await tag.list()


async def test_update_renames(platform: Platform, tag: TagAPI) -> None:
    """Id and new name go out inside ``tag``."""
    route = platform.answer("POST", UPDATE, OK)
    await tag.update(134, name="广东人")
    assert platform.body(route) == {"tag": {"id": 134, "name": "广东人"}}


@pytest.mark.parametrize(
    ("name", "errcode"),
    [pytest.param("", 45157, id="empty"), pytest.param("n" * 31, 45158, id="long")],
)
async def test_update_checks_the_name(tag: TagAPI, name: str, errcode: int) -> None:
    """The rules for a name are those of create."""
    with pytest.raises(ArgumentError) as caught:
        await tag.update(134, name=name)
    assert (caught.value.errcode, caught.value.field) == (errcode, "name")


@pytest.mark.parametrize("tag_id", [0, 1, 2])
async def test_system_tags_stay(tag: TagAPI, tag_id: int) -> None:
    """System tags can be neither renamed nor deleted (45058)."""
    with pytest.raises(ArgumentError) as renamed:
        await tag.update(tag_id, name="x")
    with pytest.raises(ArgumentError) as deleted:
        await tag.delete(tag_id)
    assert {renamed.value.errcode, deleted.value.errcode} == {45058}
    assert {renamed.value.field, deleted.value.field} == {"tag_id"}


@pytest.mark.parametrize("tag_id", [-1, "134", True, None, 1.5])
async def test_tag_id_must_be_a_number(tag: TagAPI, tag_id: Any) -> None:
    """What cannot be a tag is refused before sending, in every method (45159)."""
    calls = [
        tag.update(tag_id, name="x"),
        tag.delete(tag_id),
        tag.list_members(tag_id),
        tag.add_members(tag_id, openids=["oA"]),
        tag.remove_members(tag_id, openids=["oA"]),
    ]
    for call in calls:
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (45159, "tag_id")
    with pytest.raises(ArgumentError):
        tag.iter_members(tag_id)


async def test_delete_names_the_tag(platform: Platform, tag: TagAPI) -> None:
    """The id goes out inside ``tag``."""
    route = platform.answer("POST", DELETE, OK)
    await tag.delete(134)
    assert platform.body(route) == {"tag": {"id": 134}}


async def test_delete_after_a_broken_attempt(platform: Platform, tag: TagAPI) -> None:
    """45159 on a repeat means that the first attempt deleted the tag."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 45159, "errmsg": "invalid tag"})
    await tag.delete(134)
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("errcode", "error"),
    [(45159, NotFoundError), (45057, ArgumentError), (45058, NotAuthorizedError)],
)
async def test_delete_refused(platform: Platform, tag: TagAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal at the first attempt is an error of its own class."""
    platform.answer("POST", DELETE, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await tag.delete(134)
    assert caught.value.errcode == errcode


async def test_list_members_begins_at_the_top(platform: Platform, tag: TagAPI) -> None:
    """The first page is asked for without a cursor."""
    route = platform.answer(
        "POST", MEMBERS, {"count": 2, "data": {"openid": ["oA", "oB"]}, "next_openid": "oB", "x": 1}
    )
    page = await tag.list_members(134)
    assert platform.body(route) == {"tagid": 134}
    assert (page.count, page.openids, page.next_openid, page.extra) == (2, ("oA", "oB"), "oB", {"x": 1})


async def test_list_members_goes_on_behind_a_cursor(platform: Platform, tag: TagAPI) -> None:
    """The cursor goes back as ``next_openid``; an empty page has no data."""
    route = platform.answer("POST", MEMBERS, {"count": 0})
    page = await tag.list_members(134, next_openid="oB")
    assert platform.body(route) == {"tagid": 134, "next_openid": "oB"}
    assert (page.openids, page.next_openid) == ((), "")


async def test_list_members_of_an_unknown_tag(platform: Platform, tag: TagAPI) -> None:
    """45159 is a NotFoundError."""
    platform.answer("POST", MEMBERS, {"errcode": 45159, "errmsg": "invalid tag"})
    with pytest.raises(NotFoundError):
        await tag.list_members(999)


async def test_list_members_without_count(platform: Platform, tag: TagAPI) -> None:
    """A page without its count is a ReplyError that names it."""
    platform.answer("POST", MEMBERS, {"data": {"openid": ["oA"]}})
    with pytest.raises(ReplyError, match="count"):
        await tag.list_members(134)


async def test_iter_members_of_nobody(platform: Platform, tag: TagAPI) -> None:
    """Nobody carries the tag: one request, nothing yielded."""
    route = platform.answer("POST", MEMBERS, {"count": 0})
    assert [openid async for openid in tag.iter_members(134)] == []
    assert route.call_count == 1


async def test_iter_members_of_one_page(platform: Platform, tag: TagAPI) -> None:
    """An empty cursor ends the walk without another request."""
    route = platform.answer("POST", MEMBERS, {"count": 1, "data": {"openid": ["oA"]}, "next_openid": ""})
    assert [openid async for openid in tag.iter_members(134)] == ["oA"]
    assert route.call_count == 1


async def test_iter_members_walks_all_pages(platform: Platform, tag: TagAPI) -> None:
    """Each page is asked for with the cursor of the one before."""
    route = platform.answer(
        "POST",
        MEMBERS,
        {"count": 2, "data": {"openid": ["oA", "oB"]}, "next_openid": "oB"},
        {"count": 1, "data": {"openid": ["oC"]}, "next_openid": "oC"},
        {"count": 0, "next_openid": ""},
    )
    assert [openid async for openid in tag.iter_members(134)] == ["oA", "oB", "oC"]
    assert [body.get("next_openid") for body in platform.bodies(route)] == [None, "oB", "oC"]


async def test_iter_members_begins_where_it_is_told(platform: Platform, tag: TagAPI) -> None:
    """A walk can go on after a failure."""
    route = platform.answer("POST", MEMBERS, {"count": 0})
    assert [openid async for openid in tag.iter_members(134, next_openid="oB")] == []
    assert platform.body(route) == {"tagid": 134, "next_openid": "oB"}


async def test_iter_members_with_a_stuck_cursor(platform: Platform, tag: TagAPI) -> None:
    """A cursor that comes back a second time ends the walk with an error instead of never."""
    page = {"count": 1, "data": {"openid": ["oA"]}, "next_openid": "oA"}
    route = platform.answer("POST", MEMBERS, page, page, page)
    with pytest.raises(ReplyError, match="does not move"):
        _ = [openid async for openid in tag.iter_members(134)]
    assert route.call_count == 2


@pytest.mark.parametrize("method", CHANGES)
async def test_a_change_names_tag_and_openids(platform: Platform, tag: TagAPI, method: str) -> None:
    """A short list is one request, and nobody failed."""
    route = platform.answer("POST", CHANGES[method], OK)
    assert await getattr(tag, method)(134, openids=["oA", "oB"]) == MemberChange(())
    assert platform.bodies(route) == [{"openid_list": ["oA", "oB"], "tagid": 134}]


@pytest.mark.parametrize("method", CHANGES)
async def test_a_long_list_is_split(platform: Platform, tag: TagAPI, method: str) -> None:
    """Each 50 openids make a request; repetitions are dropped before, and the order stays."""
    route = platform.answer("POST", CHANGES[method], OK)
    everybody = people(120)
    await getattr(tag, method)(134, openids=iter([*everybody, *everybody[:9]]))
    lists = [body["openid_list"] for body in platform.bodies(route)]
    assert [len(batch) for batch in lists] == [50, 50, 20]
    assert [openid for batch in lists for openid in batch] == everybody


@pytest.mark.parametrize("method", CHANGES)
async def test_partial_failures_are_collected(platform: Platform, tag: TagAPI, method: str) -> None:
    """45171 is an answer: the batches after it are sent, and all who failed are returned."""
    everybody = people(120)
    route = platform.answer(
        "POST",
        CHANGES[method],
        {"errcode": 45171, "errmsg": "partial", "fail_openid_list": [everybody[3], everybody[7]]},
        OK,
        {"errcode": 45171, "errmsg": "partial", "fail_openid_list": [everybody[119]]},
    )
    change = await getattr(tag, method)(134, openids=everybody)
    assert change.failed == (everybody[3], everybody[7], everybody[119])
    assert route.call_count == 3


@pytest.mark.parametrize("method", CHANGES)
async def test_a_partial_failure_must_say_whose(platform: Platform, tag: TagAPI, method: str) -> None:
    """45171 without the list is a ReplyError: it must not look like a success."""
    platform.answer("POST", CHANGES[method], {"errcode": 45171, "errmsg": "partial"})
    with pytest.raises(ReplyError, match="fail_openid_list"):
        await getattr(tag, method)(134, openids=["oA"])


@pytest.mark.parametrize("method", CHANGES)
async def test_a_later_batch_fails(platform: Platform, tag: TagAPI, method: str) -> None:
    """The error of a later batch says how many are done and what to do."""
    platform.answer("POST", CHANGES[method], OK, {"errcode": 40003, "errmsg": "invalid openid"})
    with pytest.raises(ArgumentError) as caught:
        await getattr(tag, method)(134, openids=people(70))
    assert caught.value.__notes__ == ["50 of 70 openids were done before this; repeating the whole call is safe"]


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(
    ("openids", "errcode", "field"),
    [
        pytest.param([], 40032, "openids", id="none"),
        pytest.param(["oA", ""], 40003, "openids[1]", id="empty"),
        pytest.param("oA", 40003, "openids", id="one text"),
    ],
)
async def test_openids_are_checked(tag: TagAPI, method: str, openids: Any, errcode: int, field: str) -> None:
    """A list that cannot work is refused before anything is sent."""
    with pytest.raises(ArgumentError) as caught:
        await getattr(tag, method)(134, openids=openids)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize(("errcode", "error"), [(45159, NotFoundError), (45059, ArgumentError), (45169, APIError)])
async def test_add_members_refused(platform: Platform, tag: TagAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal of the whole batch is raised."""
    platform.answer("POST", CHANGES["add_members"], {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await tag.add_members(134, openids=["oA"])
    assert caught.value.errcode == errcode


async def test_list_for_user_returns_ids(platform: Platform, tag: TagAPI) -> None:
    """The ids come back in the platform's order."""
    route = platform.answer("POST", FOR_USER, {**OK, "tagid_list": [134, "2"]})
    assert await tag.list_for_user("oA") == (134, 2)
    assert platform.body(route) == {"openid": "oA"}


async def test_list_for_user_needs_an_openid(tag: TagAPI) -> None:
    """An empty openid is refused before sending (40003)."""
    with pytest.raises(ArgumentError) as caught:
        await tag.list_for_user("")
    assert (caught.value.errcode, caught.value.field) == (40003, "openid")


async def test_list_for_user_without_the_list(platform: Platform, tag: TagAPI) -> None:
    """A missing list is not a user without tags."""
    platform.answer("POST", FOR_USER, OK)
    with pytest.raises(ReplyError, match="tagid_list"):
        await tag.list_for_user("oA")


async def test_a_read_is_repeated(platform: Platform, tag: TagAPI) -> None:
    """A list that broke off is asked for again, and gives up after the policy's attempts."""
    route = platform.answer("GET", LIST, broken())
    with pytest.raises(BadStatusError):
        await tag.list()
    assert route.call_count == 4
