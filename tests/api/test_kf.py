"""Customer-service staff: accounts, invitations, sessions, the queue, and the record over any span of time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from wxmp.api.kf import (
    KfAccount,
    KfAPI,
    KfInviteStatus,
    KfMessage,
    KfMessagePage,
    KfOnlineAccount,
    KfOpercode,
    KfPresence,
    KfSession,
    KfWaitingList,
    KfWaitingUser,
)
from wxmp.errors import (
    APIError,
    ArgumentError,
    BadStatusError,
    NotAuthorizedError,
    NotFoundError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    import respx

    from tests.api.conftest import Platform
    from wxmp._caller import Caller, Endpoint
    from wxmp._wire import JsonObject

ACCOUNTS = "/cgi-bin/customservice/getkflist"
ONLINE = "/cgi-bin/customservice/getonlinekflist"
ADD = "/customservice/kfaccount/add"
AVATAR = "/customservice/kfaccount/uploadheadimg"
UPDATE = "/customservice/kfaccount/update"
DELETE = "/customservice/kfaccount/del"
INVITE = "/customservice/kfaccount/inviteworker"
CREATE = "/customservice/kfsession/create"
CLOSE = "/customservice/kfsession/close"
GET = "/customservice/kfsession/getsession"
SESSIONS = "/customservice/kfsession/getsessionlist"
WAITING = "/customservice/kfsession/getwaitcase"
MESSAGES = "/customservice/msgrecord/getmsglist"
OK = {"errcode": 0, "errmsg": "ok"}
ANNA = "anna@shop"
JPEG = b"\xff\xd8\xff\xe0 nearly a picture"
START = 1_760_000_000
BEGIN = datetime.fromtimestamp(START, UTC)
DAY = 86_400


@pytest.fixture
def kf(caller: Caller) -> KfAPI:
    """The family under test."""
    return KfAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def refused(errcode: int) -> dict[str, Any]:
    """A refusal by the platform."""
    return {"errcode": errcode, "errmsg": "refused rid: 1-2-3"}


def at(second: float) -> datetime:
    """Return the instant so many seconds after the start."""
    return BEGIN + timedelta(seconds=second)


def record(second: int, text: str = "hi") -> dict[str, Any]:
    """A line of the record so many seconds after the start, as the platform sends it."""
    return {"openid": "oA", "opercode": 2003, "text": text, "time": START + second, "worker": ANNA}


def page(*records: dict[str, Any], msgid: int = 9) -> dict[str, Any]:
    """A page of the record."""
    return {**OK, "recordlist": list(records), "number": len(records), "msgid": msgid}


# --- accounts ---------------------------------------------------------------------------------------------------------


async def test_list_accounts_reads_everything(platform: Platform, kf: KfAPI) -> None:
    """Every documented field has its attribute, what is new stays, and what is left out is empty."""
    route = platform.answer(
        "GET",
        ACCOUNTS,
        {
            "kf_list": [
                {
                    "kf_account": ANNA,
                    "kf_id": "1001",
                    "kf_nick": "小安",
                    "kf_headimgurl": "http://mmbiz.qpic.cn/a/0",
                    "kf_wx": "anna_wx",
                    "invite_wx": "ben_wx",
                    "invite_expire_time": START,
                    "invite_status": "waiting",
                    "kf_openid": "oAnna",
                    "new": 1,
                },
                {"kf_account": "ben@shop", "kf_id": 1002},
            ]
        },
    )
    full, bare = await kf.list_accounts()
    assert full == KfAccount(
        ANNA,
        "1001",
        "小安",
        "http://mmbiz.qpic.cn/a/0",
        "anna_wx",
        "ben_wx",
        BEGIN,
        KfInviteStatus.WAITING,
        "oAnna",
        extra={"new": 1},
    )
    assert bare == KfAccount("ben@shop", "1002")
    assert platform.params(route) == {}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("waiting", KfInviteStatus.WAITING),
        ("rejected", KfInviteStatus.REJECTED),
        ("expired", KfInviteStatus.EXPIRED),
        ("postponed", "postponed"),
        ("", ""),
        (None, ""),
    ],
)
async def test_invite_status(platform: Platform, kf: KfAPI, status: str | None, expected: str) -> None:
    """A documented state is a member; one this version does not know stays as it is, and none is empty."""
    platform.answer("GET", ACCOUNTS, {"kf_list": [{"kf_account": ANNA, "kf_id": "1", "invite_status": status}]})
    (account,) = await kf.list_accounts()
    assert account.invite_status == expected
    assert type(account.invite_status) is type(expected)


@pytest.mark.parametrize("expiry", [0, "", None, "0"])
async def test_invitation_that_never_was(platform: Platform, kf: KfAPI, expiry: Any) -> None:
    """An expiry of nothing is no instant."""
    platform.answer("GET", ACCOUNTS, {"kf_list": [{"kf_account": ANNA, "invite_expire_time": expiry}]})
    (account,) = await kf.list_accounts()
    assert account.invite_expire_time is None


async def test_list_online_accounts_reads_everything(platform: Platform, kf: KfAPI) -> None:
    """The number is a text here too, so that both lists can be joined by it."""
    route = platform.answer(
        "GET",
        ONLINE,
        {
            "kf_online_list": [
                {
                    "kf_account": ANNA,
                    "status": 1,
                    "kf_id": 1001,
                    "accepted_case": "2",
                    "kf_openid": "oAnna",
                    "auto_accept": 0,
                },
                {"kf_account": "ben@shop", "status": "0", "kf_id": "1002", "accepted_case": 0},
            ]
        },
    )
    assert await kf.list_online_accounts() == (
        KfOnlineAccount(ANNA, KfPresence.WEB, "1001", 2, "oAnna", extra={"auto_accept": 0}),
        KfOnlineAccount("ben@shop", KfPresence.OFFLINE, "1002"),
    )
    assert platform.params(route) == {}


async def test_unknown_presence(platform: Platform, kf: KfAPI) -> None:
    """A state this version does not know stays a number."""
    platform.answer("GET", ONLINE, {"kf_online_list": [{"kf_account": ANNA, "status": 7, "kf_id": 1}]})
    (agent,) = await kf.list_online_accounts()
    assert agent.status == 7
    assert not isinstance(agent.status, KfPresence)


async def test_business_id_of_the_lists(platform: Platform, kf: KfAPI) -> None:
    """The sub-merchant goes into the query."""
    accounts = platform.answer("GET", ACCOUNTS, {"kf_list": []})
    online = platform.answer("GET", ONLINE, {"kf_online_list": []})
    assert await kf.list_accounts(business_id="b1") == ()
    assert await kf.list_online_accounts(business_id="b1") == ()
    assert platform.params(accounts) == platform.params(online) == {"business_id": "b1"}


@pytest.mark.parametrize(
    ("path", "call", "field"),
    [
        (ACCOUNTS, lambda kf: kf.list_accounts(), "kf_list"),
        (ONLINE, lambda kf: kf.list_online_accounts(), "kf_online_list"),
        (SESSIONS, lambda kf: kf.list_sessions(ANNA), "sessionlist"),
        (WAITING, lambda kf: kf.list_waiting(), "count"),
        (GET, lambda kf: kf.get_session("oA"), "kf_account"),
    ],
)
async def test_a_missing_list_is_not_an_empty_one(
    platform: Platform, kf: KfAPI, path: str, call: Callable[[KfAPI], Coroutine[Any, Any, object]], field: str
) -> None:
    """An answer of another shape is a ReplyError that names what is missing."""
    platform.answer("GET", path, OK)
    with pytest.raises(ReplyError, match=field):
        await call(kf)


async def test_add_account_with_everything(platform: Platform, kf: KfAPI) -> None:
    """Every documented field goes out under its own name."""
    route = platform.answer("POST", ADD, OK)
    await kf.add_account(ANNA, nickname="小安", password="0" * 32, business_id="b1")
    assert platform.body(route) == {
        "kf_account": ANNA,
        "nickname": "小安",
        "password": "0" * 32,
        "business_id": "b1",
    }
    assert platform.params(route) == {}


async def test_add_account_with_the_least(platform: Platform, kf: KfAPI) -> None:
    """What is not given is not sent; the longest names pass."""
    route = platform.answer("POST", ADD, OK)
    await kf.add_account("a" * 10 + "@" + "b" * 30, nickname="安" * 16)
    assert platform.body(route) == {"kf_account": "a" * 10 + "@" + "b" * 30, "nickname": "安" * 16}


@pytest.mark.parametrize(
    "name", ["", "anna", "@shop", "anna@", "an-na@shop", "安娜@shop", "a" * 11 + "@shop", "anna@" + "b" * 31, None]
)
async def test_add_account_checks_the_name(kf: KfAPI, name: Any) -> None:
    """Ten letters, an at sign, thirty characters (65404)."""
    with pytest.raises(ArgumentError) as caught:
        await kf.add_account(name, nickname="x")
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (65404, "kf_account", f"POST {ADD}")


@pytest.mark.parametrize("nickname", ["", " ", "安" * 17, "x" * 33, None])
async def test_nicknames_are_checked(kf: KfAPI, nickname: Any) -> None:
    """One to sixteen characters, letters counted as halves (65403), for a new account and for an old one."""
    for call in (kf.add_account, kf.update_account):
        with pytest.raises(ArgumentError) as caught:
            await call(ANNA, nickname=nickname)
        assert (caught.value.errcode, caught.value.field) == (65403, "nickname")


async def test_add_account_that_exists(platform: Platform, kf: KfAPI) -> None:
    """65406 at the first attempt is an ArgumentError, and nothing is looked up."""
    route = platform.answer("POST", ADD, refused(65406))
    with pytest.raises(ArgumentError) as caught:
        await kf.add_account(ANNA, nickname="小安")
    assert (caught.value.errcode, route.call_count) == (65406, 1)


async def test_add_account_after_a_broken_attempt(platform: Platform, kf: KfAPI) -> None:
    """65406 on a repeat, and an account with this nickname: the first attempt made it."""
    route = platform.answer("POST", ADD, broken(), refused(65406))
    listed = platform.answer("GET", ACCOUNTS, {"kf_list": [{"kf_account": ANNA, "kf_nick": "小安"}]})
    await kf.add_account(ANNA, nickname="小安", business_id="b1")
    assert route.call_count == 2
    assert platform.params(listed) == {"business_id": "b1"}


@pytest.mark.parametrize(
    "listed", [[{"kf_account": ANNA, "kf_nick": "other"}], [{"kf_account": "ben@shop", "kf_nick": "小安"}], []]
)
async def test_add_account_of_somebody_else(platform: Platform, kf: KfAPI, listed: list[Any]) -> None:
    """65406 on a repeat, but the account is another one: the refusal is told."""
    platform.answer("POST", ADD, broken(), refused(65406))
    platform.answer("GET", ACCOUNTS, {"kf_list": listed})
    with pytest.raises(ArgumentError) as caught:
        await kf.add_account(ANNA, nickname="小安")
    assert caught.value.errcode == 65406


async def test_update_account(platform: Platform, kf: KfAPI) -> None:
    """Name and nickname go out in the body."""
    route = platform.answer("POST", UPDATE, OK)
    await kf.update_account(ANNA, nickname="小安")
    assert platform.body(route) == {"kf_account": ANNA, "nickname": "小安"}


async def test_delete_account(platform: Platform, kf: KfAPI) -> None:
    """Name and sub-merchant go out in the body."""
    route = platform.answer("POST", DELETE, OK)
    await kf.delete_account(ANNA)
    await kf.delete_account(ANNA, business_id="b1")
    assert platform.bodies(route) == [{"kf_account": ANNA}, {"kf_account": ANNA, "business_id": "b1"}]


async def test_delete_account_after_a_broken_attempt(platform: Platform, kf: KfAPI) -> None:
    """65401 on a repeat means that the first attempt deleted the account."""
    route = platform.answer("POST", DELETE, broken(), refused(65401))
    await kf.delete_account(ANNA)
    assert route.call_count == 2


@pytest.mark.parametrize("name", ["", "anna", "anna@", "@shop", None])
@pytest.mark.parametrize(
    "call",
    [
        lambda kf, name: kf.update_account(name, nickname="x"),
        lambda kf, name: kf.delete_account(name),
        lambda kf, name: kf.upload_avatar(name, JPEG),
        lambda kf, name: kf.invite_worker(name, invite_wx="x"),
        lambda kf, name: kf.create_session("oA", kf_account=name),
        lambda kf, name: kf.close_session("oA", kf_account=name),
        lambda kf, name: kf.list_sessions(name),
    ],
    ids=["update", "delete", "upload_avatar", "invite", "create_session", "close_session", "list_sessions"],
)
async def test_names_are_whole(kf: KfAPI, name: Any, call: Callable[[KfAPI, Any], Coroutine[Any, Any, object]]) -> None:
    """Half a name is no account (65401); it is found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await call(kf, name)
    assert (caught.value.errcode, caught.value.field) == (65401, "kf_account")


async def test_a_name_of_older_rules_can_be_used(platform: Platform, kf: KfAPI) -> None:
    """What is refused for a new account may well be there: it is left to the platform."""
    route = platform.answer("POST", DELETE, OK)
    await kf.delete_account("old-name-of-old@shop")
    assert platform.body(route) == {"kf_account": "old-name-of-old@shop"}


def form(route: respx.Route) -> list[tuple[str, str | None, str, bytes]]:
    """Return the parts of an upload: name, file name, type and content."""
    request = route.calls[-1].request
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    found = []
    for part in BytesParser().parsebytes(head + request.content).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            name = str(part.get_param("name", header="content-disposition"))
            found.append((name, part.get_filename(), part.get_content_type(), content))
    return found


async def pieces() -> AsyncIterator[bytes]:
    """Give a picture in two pieces."""
    yield JPEG[:10]
    yield JPEG[10:]


async def test_upload_avatar_from_memory(platform: Platform, kf: KfAPI) -> None:
    """The account goes into the query, the picture into the form."""
    route = platform.answer("POST", AVATAR, OK)
    await kf.upload_avatar(ANNA, JPEG)
    assert platform.params(route) == {"kf_account": ANNA}
    assert form(route) == [("media", "media.jpg", "image/jpeg", JPEG)]


async def test_the_name_in_a_query_is_not_encoded(platform: Platform, kf: KfAPI) -> None:
    """The platform has taken an encoded @ for another name ("invalid kf_account")."""
    avatar, sessions = platform.answer("POST", AVATAR, OK), platform.answer("GET", SESSIONS, {"sessionlist": []})
    await kf.upload_avatar("a_1@gh_1", JPEG)
    await kf.list_sessions("a_1@gh_1")
    for route in (avatar, sessions):
        assert b"kf_account=a_1@gh_1" in route.calls[0].request.url.query


async def test_upload_avatar_from_a_file(platform: Platform, kf: KfAPI, tmp_path: Path) -> None:
    """A file goes up under its own name, or under the one that is given."""
    route = platform.answer("POST", AVATAR, OK)
    path = tmp_path / "anna.jpeg"
    path.write_bytes(JPEG)
    await kf.upload_avatar(ANNA, path)
    assert form(route) == [("media", "anna.jpeg", "image/jpeg", JPEG)]
    await kf.upload_avatar(ANNA, str(path), filename="face.jpg")
    assert form(route) == [("media", "face.jpg", "image/jpeg", JPEG)]


async def test_upload_avatar_as_it_is_made(platform: Platform, kf: KfAPI) -> None:
    """An iterator goes up with and without its size, and the progress is told."""
    route = platform.answer("POST", AVATAR, OK)
    await kf.upload_avatar(ANNA, pieces())
    assert form(route) == [("media", "media.jpg", "image/jpeg", JPEG)]
    told: list[tuple[int, int | None]] = []
    await kf.upload_avatar(ANNA, pieces(), size=len(JPEG), progress=lambda done, total: told.append((done, total)))
    assert form(route) == [("media", "media.jpg", "image/jpeg", JPEG)]
    assert told[-1] == (len(JPEG), len(JPEG))


@pytest.mark.parametrize(
    ("media", "errcode"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", 40005, id="PNG"),
        pytest.param(JPEG.ljust(5 * 1024 * 1024 + 1, b"x"), 40009, id="too large"),
        pytest.param(b"", 44001, id="empty"),
    ],
)
async def test_avatars_are_checked(kf: KfAPI, media: bytes, errcode: int) -> None:
    """A JPG of at most 5 MB: anything else is refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await kf.upload_avatar(ANNA, media)
    assert (caught.value.errcode, caught.value.field) == (errcode, "media")


async def test_upload_avatar_of_a_known_size(kf: KfAPI) -> None:
    """What an iterator will give is judged before it is asked."""
    asked: list[bool] = []

    async def source() -> AsyncIterator[bytes]:
        asked.append(True)
        yield JPEG

    with pytest.raises(ArgumentError) as caught:
        await kf.upload_avatar(ANNA, source(), size=5 * 1024 * 1024 + 1)
    assert (caught.value.errcode, asked) == (40009, [])


@pytest.mark.parametrize(("given", "seconds"), [(None, 60.0), (5.0, 5.0)])
async def test_upload_avatar_has_its_own_timeout(given: float | None, seconds: float) -> None:
    """A minute for one attempt, unless another one is given."""
    asked: list[object] = []

    async def call(_: Endpoint, **arguments: object) -> JsonObject:
        asked.append(arguments["timeout"])
        return {}

    await KfAPI(cast("Caller", call)).upload_avatar(ANNA, JPEG, timeout=given)
    assert asked == [seconds]


async def test_upload_avatar_of_the_greatest_size(platform: Platform, kf: KfAPI) -> None:
    """Exactly 5 MB pass."""
    route = platform.answer("POST", AVATAR, OK)
    await kf.upload_avatar(ANNA, JPEG.ljust(5 * 1024 * 1024, b"x"))
    assert route.call_count == 1


# --- invitations ------------------------------------------------------------------------------------------------------


async def test_invite_worker(platform: Platform, kf: KfAPI) -> None:
    """Account and person go out in the body."""
    route = platform.answer("POST", INVITE, OK)
    await kf.invite_worker(ANNA, invite_wx="anna_wx")
    assert platform.body(route) == {"kf_account": ANNA, "invite_wx": "anna_wx"}


async def test_invite_worker_needs_a_person(kf: KfAPI) -> None:
    """An empty WeChat id is refused before sending (65409)."""
    with pytest.raises(ArgumentError) as caught:
        await kf.invite_worker(ANNA, invite_wx="")
    assert (caught.value.errcode, caught.value.field) == (65409, "invite_wx")


@pytest.mark.parametrize("errcode", [65407, 65408, 65409, 65410, 65411, 65412])
async def test_invite_worker_refused(platform: Platform, kf: KfAPI, errcode: int) -> None:
    """Each reason is an ArgumentError with its code, and is told at once."""
    route = platform.answer("POST", INVITE, refused(errcode))
    with pytest.raises(ArgumentError) as caught:
        await kf.invite_worker(ANNA, invite_wx="anna_wx")
    assert (caught.value.errcode, caught.value.rid, route.call_count) == (errcode, "1-2-3", 1)


@pytest.mark.parametrize("errcode", [65408, 65411])
@pytest.mark.parametrize("field", ["invite_wx", "kf_wx"])
async def test_invite_worker_after_a_broken_attempt(platform: Platform, kf: KfAPI, errcode: int, field: str) -> None:
    """An invitation waits, and it is this one, or the person has accepted meanwhile: the first attempt made it."""
    platform.answer("POST", INVITE, broken(), refused(errcode))
    platform.answer("GET", ACCOUNTS, {"kf_list": [{"kf_account": ANNA, field: "anna_wx"}]})
    await kf.invite_worker(ANNA, invite_wx="anna_wx")


@pytest.mark.parametrize(
    ("errcode", "listed"),
    [
        (65411, [{"kf_account": ANNA, "invite_wx": "other_wx"}]),
        (65408, [{"kf_account": ANNA}, {"kf_account": "ben@shop", "invite_wx": "anna_wx"}]),
        (65411, []),
    ],
)
async def test_invite_worker_of_somebody_else(
    platform: Platform, kf: KfAPI, errcode: int, listed: list[dict[str, Any]]
) -> None:
    """An invitation waits, but it is another one: the refusal is told."""
    platform.answer("POST", INVITE, broken(), refused(errcode))
    platform.answer("GET", ACCOUNTS, {"kf_list": listed})
    with pytest.raises(ArgumentError) as caught:
        await kf.invite_worker(ANNA, invite_wx="anna_wx")
    assert (caught.value.errcode, caught.value.endpoint, caught.value.rid) == (errcode, f"POST {INVITE}", "1-2-3")


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_create_session(platform: Platform, kf: KfAPI) -> None:
    """User, agent and note go out in the body; without a note there is none."""
    route = platform.answer("POST", CREATE, OK)
    await kf.create_session("oA", kf_account=ANNA, text="an old friend")
    await kf.create_session("oA", kf_account=ANNA)
    assert platform.bodies(route) == [
        {"kf_account": ANNA, "openid": "oA", "text": "an old friend"},
        {"kf_account": ANNA, "openid": "oA"},
    ]


async def test_create_session_is_not_repeated(platform: Platform, kf: KfAPI) -> None:
    """What a repeat does is not documented, so an unknown outcome is told."""
    route = platform.answer("POST", CREATE, broken())
    with pytest.raises(BadStatusError):
        await kf.create_session("oA", kf_account=ANNA)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (65400, NotAuthorizedError),
        (65401, NotFoundError),
        (65402, APIError),
        (65414, APIError),
        (65415, APIError),
    ],
)
async def test_create_session_refused(platform: Platform, kf: KfAPI, errcode: int, error: type[APIError]) -> None:
    """Each reason is an error of its own class with its code."""
    platform.answer("POST", CREATE, refused(errcode))
    with pytest.raises(error) as caught:
        await kf.create_session("oA", kf_account=ANNA)
    assert type(caught.value) is error
    assert caught.value.errcode == errcode


async def test_close_session(platform: Platform, kf: KfAPI) -> None:
    """User and agent go out in the body."""
    route = platform.answer("POST", CLOSE, OK)
    await kf.close_session("oA", kf_account=ANNA)
    assert platform.body(route) == {"kf_account": ANNA, "openid": "oA"}


async def test_close_session_after_a_broken_attempt(platform: Platform, kf: KfAPI) -> None:
    """65413 on a repeat means that the first attempt ended the session."""
    route = platform.answer("POST", CLOSE, broken(), refused(65413))
    await kf.close_session("oA", kf_account=ANNA)
    assert route.call_count == 2


async def test_close_session_that_is_not(platform: Platform, kf: KfAPI) -> None:
    """65413 at the first attempt is a NotFoundError."""
    platform.answer("POST", CLOSE, refused(65413))
    with pytest.raises(NotFoundError):
        await kf.close_session("oA", kf_account=ANNA)


async def test_sessions_need_a_user(kf: KfAPI) -> None:
    """An empty openid is refused before sending (40003)."""
    for work in (
        kf.create_session("", kf_account=ANNA),
        kf.close_session("", kf_account=ANNA),
        kf.get_session(""),
    ):
        with pytest.raises(ArgumentError) as caught:
            await work
        assert (caught.value.errcode, caught.value.field) == (40003, "openid")


@pytest.mark.parametrize("created", [START, str(START)])
async def test_get_session(platform: Platform, kf: KfAPI, created: int | str) -> None:
    """The user goes into the query, and stands in the session."""
    route = platform.answer("GET", GET, {**OK, "createtime": created, "kf_account": ANNA, "new": 1})
    assert await kf.get_session("oA") == KfSession("oA", ANNA, BEGIN, extra={"new": 1})
    assert platform.params(route) == {"openid": "oA"}


@pytest.mark.parametrize("created", [0, "", None])
async def test_get_session_of_nobody(platform: Platform, kf: KfAPI, created: Any) -> None:
    """An empty agent means that there is no session."""
    platform.answer("GET", GET, {"createtime": created, "kf_account": ""}, {"createtime": created})
    assert await kf.get_session("oA") is None
    assert await kf.get_session("oA") is None


async def test_list_sessions(platform: Platform, kf: KfAPI) -> None:
    """The agent goes into the query, and stands in each session."""
    route = platform.answer(
        "GET", SESSIONS, {"sessionlist": [{"createtime": START, "openid": "oA", "new": 1}, {"openid": "oB"}]}
    )
    assert await kf.list_sessions(ANNA) == (
        KfSession("oA", ANNA, BEGIN, extra={"new": 1}),
        KfSession("oB", ANNA),
    )
    assert platform.params(route) == {"kf_account": ANNA}


async def test_list_sessions_of_nobody(platform: Platform, kf: KfAPI) -> None:
    """An agent without sessions has an empty list."""
    platform.answer("GET", SESSIONS, {"sessionlist": []})
    assert await kf.list_sessions(ANNA) == ()


async def test_list_sessions_of_another_shape(platform: Platform, kf: KfAPI) -> None:
    """What is no list of objects is a ReplyError."""
    platform.answer("GET", SESSIONS, {"sessionlist": "oA"}, {"sessionlist": ["oA"]})
    for _ in range(2):
        with pytest.raises(ReplyError):
            await kf.list_sessions(ANNA)


async def test_list_waiting(platform: Platform, kf: KfAPI) -> None:
    """Users in their order, and how many there are in all."""
    route = platform.answer(
        "GET",
        WAITING,
        {
            "count": "150",
            "waitcaselist": [{"latest_time": START, "openid": "oA", "kf_account": ""}, {"openid": "oB"}],
            "new": 1,
        },
    )
    assert await kf.list_waiting() == KfWaitingList(
        150, (KfWaitingUser("oA", BEGIN, extra={"kf_account": ""}), KfWaitingUser("oB")), extra={"new": 1}
    )
    assert platform.params(route) == {}


# --- the record -------------------------------------------------------------------------------------------------------


async def test_list_messages_with_everything(platform: Platform, kf: KfAPI) -> None:
    """Times go out as whole seconds in UTC, the cursor and the size under their own names; all fields are read."""
    route = platform.answer(
        "POST",
        MESSAGES,
        {
            **OK,
            "recordlist": [{**record(7, "[图片]"), "new": 1}, {**record(8), "opercode": "2002", "worker": None}],
            "number": 2,
            "msgid": 20165267,
            "newer": 2,
        },
    )
    peking = timezone(timedelta(hours=8))
    found = await kf.list_messages(at(0.9).astimezone(peking), at(DAY), msg_id=5, count=2)
    assert found == KfMessagePage(
        (
            KfMessage("oA", KfOpercode.RECEIVED, at(7), "[图片]", ANNA, extra={"new": 1}),
            KfMessage("oA", KfOpercode.SENT, at(8), "hi"),
        ),
        2,
        20165267,
        extra={"newer": 2},
    )
    assert platform.body(route) == {"starttime": START, "endtime": START + DAY, "msgid": 5, "number": 2}


async def test_list_messages_with_the_least(platform: Platform, kf: KfAPI) -> None:
    """Without a wish the first page of the greatest size is asked for."""
    route = platform.answer("POST", MESSAGES, {"recordlist": []})
    assert await kf.list_messages(at(0), at(1)) == KfMessagePage(())
    assert platform.body(route) == {"starttime": START, "endtime": START + 1, "msgid": 1, "number": 10_000}


async def test_unknown_opercode(platform: Platform, kf: KfAPI) -> None:
    """A code this version does not know stays a number."""
    platform.answer("POST", MESSAGES, page({**record(1), "opercode": 1001}))
    (message,) = (await kf.list_messages(at(0), at(9))).messages
    assert message.opercode == 1001
    assert not isinstance(message.opercode, KfOpercode)


async def test_list_messages_of_nobody(platform: Platform, kf: KfAPI) -> None:
    """A page that says that it has no records may leave their list out."""
    platform.answer("POST", MESSAGES, {"number": 0, "msgid": 1})
    assert await kf.list_messages(at(0), at(1)) == KfMessagePage(msg_id=1)


@pytest.mark.parametrize(
    "answer", [{}, {"number": 1}, {"recordlist": [{"openid": "oA", "opercode": 2002}]}, {"recordlist": "x"}]
)
async def test_list_messages_of_another_shape(platform: Platform, kf: KfAPI, answer: dict[str, Any]) -> None:
    """No list, or a record that nobody can place in time, is a ReplyError."""
    platform.answer("POST", MESSAGES, answer)
    with pytest.raises(ReplyError, match=r"recordlist|time"):
        await kf.list_messages(at(0), at(1))


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        pytest.param({"start_time": at(0).replace(tzinfo=None)}, 65416, "start_time", id="naive start"),
        pytest.param({"end_time": at(9).replace(tzinfo=None)}, 65416, "end_time", id="naive end"),
        pytest.param({"start_time": START}, 65416, "start_time", id="a number"),
        pytest.param({"end_time": at(-1)}, 65416, "end_time", id="backwards"),
        pytest.param({"count": 0}, 65416, "count", id="no records"),
        pytest.param({"count": 10_001}, 65416, "count", id="too many records"),
    ],
)
async def test_record_queries_are_checked(kf: KfAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What cannot be is refused before sending; by the iterator at once, and not when it is first used."""
    arguments: dict[str, Any] = {"start_time": at(0), "end_time": at(9), **change}
    with pytest.raises(ArgumentError) as listed:
        await kf.list_messages(**arguments)
    with pytest.raises(ArgumentError) as walked:
        kf.iter_messages(**arguments)
    for caught in (listed, walked):
        assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [({"end_time": at(DAY + 1)}, 65417, "end_time"), ({"msg_id": -1}, 65416, "msg_id")],
)
async def test_list_messages_checks(kf: KfAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """One page spans a day at most, and its cursor is not negative."""
    with pytest.raises(ArgumentError) as caught:
        await kf.list_messages(**{"start_time": at(0), "end_time": at(9), **change})
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_iter_messages_walks_all_pages(platform: Platform, kf: KfAPI) -> None:
    """A full page is followed by the one behind its cursor, until one is not full."""
    route = platform.answer(
        "POST",
        MESSAGES,
        page(record(1, "a"), record(1, "a"), msgid=3),
        page(record(2, "b"), record(3, "c"), msgid=5),
        page(msgid=5),
    )
    texts = [message.text async for message in kf.iter_messages(at(0), at(9), count=2)]
    assert texts == ["a", "a", "b", "c"]
    assert [body["msgid"] for body in platform.bodies(route)] == [1, 3, 5]
    assert {body["number"] for body in platform.bodies(route)} == {2}


async def test_iter_messages_of_one_page(platform: Platform, kf: KfAPI) -> None:
    """A day in one page is one request."""
    route = platform.answer("POST", MESSAGES, page(record(DAY - 1)))
    assert [message.sent_at async for message in kf.iter_messages(at(0), at(DAY))] == [at(DAY - 1)]
    assert platform.bodies(route) == [{"starttime": START, "endtime": START + DAY, "msgid": 1, "number": 10_000}]


async def test_iter_messages_of_an_empty_span(kf: KfAPI) -> None:
    """Between a second and itself there is nothing to ask for."""
    assert [message async for message in kf.iter_messages(at(0.1), at(0.9))] == []


async def test_iter_messages_splits_a_long_span(platform: Platform, kf: KfAPI) -> None:
    """Each piece is 24 hours, the last one what is left; each begins with a cursor of its own."""
    route = platform.answer("POST", MESSAGES, *[page(record(day * DAY), msgid=77) for day in range(3)])
    found = [message.sent_at async for message in kf.iter_messages(at(0), at(2 * DAY + 60))]
    assert found == [at(0), at(DAY), at(2 * DAY)]
    assert [(body["starttime"] - START, body["endtime"] - START) for body in platform.bodies(route)] == [
        (0, DAY),
        (DAY, 2 * DAY),
        (2 * DAY, 2 * DAY + 60),
    ]
    assert {body["msgid"] for body in platform.bodies(route)} == {1}


@pytest.mark.parametrize(
    ("before", "after"), [(0, 1), (0, 0), (1, 2)], ids=["end belongs to the span", "end does not", "generous"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
async def test_iter_messages_at_the_borders(platform: Platform, kf: KfAPI, before: int, after: int, size: int) -> None:
    """No record is lost or repeated, equal ones in the very second of a border included, however a span is meant."""
    seconds = [0, 1, DAY - 1, DAY, DAY, DAY, DAY + 1, 2 * DAY - 1, 2 * DAY, 2 * DAY, 3 * DAY - 1, 3 * DAY]
    records = [{**record(second), "id": number} for number, second in enumerate(seconds, 1)]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = platform_body(request)
        found = [
            one
            for one in records
            if asked["starttime"] - before <= one["time"] < asked["endtime"] + after and one["id"] >= asked["msgid"]
        ][: asked["number"]]
        return httpx.Response(200, json=page(*found, msgid=found[-1]["id"] + 1 if found else asked["msgid"]))

    platform.router.post(path__eq=MESSAGES).mock(side_effect=answer)
    found = [message.extra["id"] async for message in kf.iter_messages(at(0), at(3 * DAY), count=size)]
    assert found == list(range(1, len(seconds)))
    halves = [
        message.extra["id"]
        for begin, end in ((0, DAY), (DAY, 3 * DAY))
        async for message in kf.iter_messages(at(begin), at(end), count=size)
    ]
    assert halves == found


def platform_body(request: httpx.Request) -> dict[str, Any]:
    """Return the JSON body of a request."""
    body: dict[str, Any] = json.loads(request.content)
    return body


async def test_iter_messages_with_a_stuck_cursor(platform: Platform, kf: KfAPI) -> None:
    """A full page whose cursor stays ends the walk with an error instead of never."""
    route = platform.answer("POST", MESSAGES, *[page(record(1), msgid=5)] * 2)
    with pytest.raises(ReplyError, match="does not move"):
        _ = [message async for message in kf.iter_messages(at(0), at(9), count=1)]
    assert route.call_count == 2


async def test_iter_messages_fetches_when_needed(platform: Platform, kf: KfAPI) -> None:
    """Who stops after the first record has made one request."""
    route = platform.answer("POST", MESSAGES, page(record(1), msgid=5))
    walk = kf.iter_messages(at(0), at(9 * DAY), count=1)
    assert (await anext(walk)).sent_at == at(1)
    await walk.aclose()
    assert route.call_count == 1


# --- repeats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "answer", "call"),
    [
        ("GET", ACCOUNTS, {"kf_list": []}, lambda kf: kf.list_accounts()),
        ("GET", ONLINE, {"kf_online_list": []}, lambda kf: kf.list_online_accounts()),
        ("POST", ADD, OK, lambda kf: kf.add_account(ANNA, nickname="x")),
        ("POST", UPDATE, OK, lambda kf: kf.update_account(ANNA, nickname="x")),
        ("POST", DELETE, OK, lambda kf: kf.delete_account(ANNA)),
        ("POST", AVATAR, OK, lambda kf: kf.upload_avatar(ANNA, JPEG)),
        ("POST", INVITE, OK, lambda kf: kf.invite_worker(ANNA, invite_wx="x")),
        ("POST", CLOSE, OK, lambda kf: kf.close_session("oA", kf_account=ANNA)),
        ("GET", GET, {"kf_account": ""}, lambda kf: kf.get_session("oA")),
        ("GET", SESSIONS, {"sessionlist": []}, lambda kf: kf.list_sessions(ANNA)),
        ("GET", WAITING, {"count": 0}, lambda kf: kf.list_waiting()),
        ("POST", MESSAGES, {"recordlist": []}, lambda kf: kf.list_messages(at(0), at(1))),
    ],
)
async def test_everything_else_is_repeated(
    platform: Platform,
    kf: KfAPI,
    method: str,
    path: str,
    answer: dict[str, Any],
    call: Callable[[KfAPI], Coroutine[Any, Any, object]],
) -> None:
    """After an unknown outcome the call is made once more."""
    route = platform.answer(method, path, broken(), answer)
    await call(kf)
    assert route.call_count == 2
