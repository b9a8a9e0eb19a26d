"""The blacklist: pages, batches of 20, and what is told when a later batch fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from wxmp.api.blacklist import BlacklistAPI, OpenidData, OpenidPage
from wxmp.errors import ArgumentError, BadStatusError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

LIST = "/cgi-bin/tags/members/getblacklist"
PATHS = {"add": "/cgi-bin/tags/members/batchblacklist", "remove": "/cgi-bin/tags/members/batchunblacklist"}
OK = {"errcode": 0, "errmsg": "ok"}


@pytest.fixture
def blacklist(caller: Caller) -> BlacklistAPI:
    """The family under test."""
    return BlacklistAPI(caller)


def people(count: int) -> list[str]:
    """Return that many openids."""
    return [f"oPERSON{number:04}" for number in range(count)]


async def test_list_begins_at_the_top(platform: Platform, blacklist: BlacklistAPI) -> None:
    """The first page is asked for with an empty cursor and read into a record."""
    route = platform.answer(
        "POST", LIST, {"total": 3, "count": 2, "data": {"openid": ["oA", "oB"]}, "next_openid": "oB", "new": 1}
    )
    page = await blacklist.list()
    assert platform.body(route) == {"begin_openid": ""}
    assert page == OpenidPage(3, 2, "oB", OpenidData(("oA", "oB")), extra={"new": 1})
    assert page.openids == ("oA", "oB")


async def test_list_goes_on_behind_a_cursor(platform: Platform, blacklist: BlacklistAPI) -> None:
    """The cursor of an answer goes back under the request's own name; a page without data is empty."""
    route = platform.answer("POST", LIST, {"total": 3, "count": 0, "next_openid": ""})
    page = await blacklist.list("oB")
    assert platform.body(route) == {"begin_openid": "oB"}
    assert (page.openids, page.data) == ((), None)


async def test_list_without_a_count(platform: Platform, blacklist: BlacklistAPI) -> None:
    """An answer without a documented number is a ReplyError that names it."""
    platform.answer("POST", LIST, {"total": 3})
    with pytest.raises(ReplyError, match="count"):
        await blacklist.list()


async def test_iter_members_of_an_empty_list(platform: Platform, blacklist: BlacklistAPI) -> None:
    """Nobody on the list: one request, nothing yielded."""
    route = platform.answer("POST", LIST, {"total": 0, "count": 0, "next_openid": ""})
    assert [openid async for openid in blacklist.iter_members()] == []
    assert route.call_count == 1


async def test_iter_members_walks_all_pages(platform: Platform, blacklist: BlacklistAPI) -> None:
    """Each page is asked for with the cursor of the one before, until an empty one."""
    route = platform.answer(
        "POST",
        LIST,
        {"total": 3, "count": 2, "data": {"openid": ["oA", "oB"]}, "next_openid": "oB"},
        {"total": 3, "count": 1, "data": {"openid": ["oC"]}, "next_openid": "oC"},
        {"total": 3, "count": 0, "next_openid": ""},
    )
    assert [openid async for openid in blacklist.iter_members()] == ["oA", "oB", "oC"]
    assert platform.bodies(route) == [{"begin_openid": ""}, {"begin_openid": "oB"}, {"begin_openid": "oC"}]


async def test_iter_members_with_a_stuck_cursor(platform: Platform, blacklist: BlacklistAPI) -> None:
    """A cursor that comes back a second time ends the walk with an error instead of never."""
    page = {"total": 3, "count": 1, "data": {"openid": ["oA"]}, "next_openid": "oA"}
    route = platform.answer("POST", LIST, page)
    with pytest.raises(ReplyError, match="does not move"):
        _ = [openid async for openid in blacklist.iter_members()]
    assert route.call_count == 2


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_change_names_the_openids(platform: Platform, blacklist: BlacklistAPI, method: str) -> None:
    """A short list is one request."""
    route = platform.answer("POST", PATHS[method], OK)
    assert await getattr(blacklist, method)(["oA", "oB"]) is None
    assert platform.bodies(route) == [{"openid_list": ["oA", "oB"]}]
    assert platform.params(route) == {}


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_long_list_is_split(platform: Platform, blacklist: BlacklistAPI, method: str) -> None:
    """Each 20 openids make a request; repetitions are dropped before, and the order stays."""
    route = platform.answer("POST", PATHS[method], OK)
    everybody = people(45)
    await getattr(blacklist, method)(iter([*everybody, *everybody[:7]]))
    lists = [body["openid_list"] for body in platform.bodies(route)]
    assert [len(batch) for batch in lists] == [20, 20, 5]
    assert [openid for batch in lists for openid in batch] == everybody


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_later_batch_fails(platform: Platform, blacklist: BlacklistAPI, method: str) -> None:
    """The error of a later batch says how many are done and what to do."""
    route = platform.answer("POST", PATHS[method], OK, {"errcode": 49003, "errmsg": "not yours"})
    with pytest.raises(ArgumentError) as caught:
        await getattr(blacklist, method)(people(45))
    assert caught.value.errcode == 49003
    assert caught.value.__notes__ == ["20 of 45 openids were done before this; repeating the whole call is safe"]
    assert route.call_count == 2


async def test_the_first_batch_fails(platform: Platform, blacklist: BlacklistAPI) -> None:
    """Nothing was done before the first batch, so nothing is said about it."""
    platform.answer("POST", PATHS["add"], {"errcode": 40003, "errmsg": "bad"})
    with pytest.raises(ArgumentError) as caught:
        await blacklist.add(people(45))
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_change_is_repeated(platform: Platform, blacklist: BlacklistAPI, method: str) -> None:
    """A change whose outcome is unknown is sent again: the result is the same."""
    route = platform.answer("POST", PATHS[method], httpx.Response(502), OK)
    await getattr(blacklist, method)(["oA"])
    assert route.call_count == 2


async def test_a_broken_batch_gives_up_in_the_end(platform: Platform, blacklist: BlacklistAPI) -> None:
    """A batch that fails every time raises after the attempts of the policy, with the note."""
    route = platform.answer("POST", PATHS["add"], OK, *[httpx.Response(502)] * 4)
    with pytest.raises(BadStatusError) as caught:
        await blacklist.add(people(21))
    assert route.call_count == 5
    assert caught.value.__notes__ == ["20 of 21 openids were done before this; repeating the whole call is safe"]


@pytest.mark.parametrize("method", ["add", "remove"])
@pytest.mark.parametrize(
    ("openids", "code", "field"),
    [
        ([], 40032, "openids"),
        ("oABCDEF", 40003, "openids"),
        (["oA", ""], 40003, "openids[1]"),
        (["oA", None], 40003, "openids[1]"),
    ],
)
async def test_openids_that_cannot_be(
    platform: Platform, blacklist: BlacklistAPI, method: str, openids: list[str], code: int, field: str
) -> None:
    """Nobody, one bare text, an empty or missing openid: refused before anything is sent."""
    with pytest.raises(ArgumentError) as caught:
        await getattr(blacklist, method)(openids)
    assert (caught.value.errcode, caught.value.field) == (code, field)
    assert caught.value.endpoint == f"POST {PATHS[method]}"
