"""Customer-service staff on the simulated platform: from the first agent to the record of the last day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from wxmp import APIError, ArgumentError, NotAuthorizedError, NotFoundError
from wxmp.api.kf import KfInviteStatus, KfOpercode, KfPresence, KfSession
from wxmp.simulator import staff
from wxmp.simulator.formats import sample
from wxmp.webhook import KfCloseSessionEvent, KfCreateSessionEvent, KfSwitchSessionEvent, Webhook

if TYPE_CHECKING:
    from wxmp import Client
    from wxmp.pytest_plugin import WxSim
    from wxmp.simulator import Phone

pytestmark = pytest.mark.wx_sim(clock="frozen")

ANNA = "anna@shop"
BEN = "ben@shop"
DAY = 86_400
ADD = "/customservice/kfaccount/add"
INVITE = "/customservice/kfaccount/inviteworker"
RECORDS = "/customservice/msgrecord/getmsglist"
LONG_SESSIONS = {"kf_session_seconds": 30.0 * DAY}


def now(wx_sim: WxSim) -> datetime:
    """Return the platform's time, in whole seconds."""
    return datetime.fromtimestamp(int(wx_sim.clock.now()), UTC)


def follower(wx_sim: WxSim, name: str) -> Phone:
    """Return the phone of somebody who follows the account."""
    phone = wx_sim.user(name)
    phone.follow()
    return phone


def wechat_id(wx_sim: WxSim, phone: Phone) -> str:
    """Return the WeChat id of a person."""
    return wx_sim.world.person_of(wx_sim.account.users[phone.openid]).wechat_id


def serve(wx_sim: WxSim, *names: str) -> None:
    """Let agents be there who are bound and on line."""
    wx_sim.account.kf_accounts = list(names)


async def serving(client: Client, phone: Phone) -> str:
    """Return who serves a user; empty for nobody."""
    session = await client.kf.get_session(phone.openid)
    return session.kf_account if session is not None else ""


# --- accounts ---------------------------------------------------------------------------------------------------------


async def test_the_life_of_an_agent(wx_sim: WxSim) -> None:
    """Added, renamed, given a face, deleted: each step shows in the list."""
    client = wx_sim.client()
    assert await client.kf.list_accounts() == ()
    await client.kf.add_account(ANNA, nickname="安娜")
    await client.kf.update_account(ANNA, nickname="小安")
    await client.kf.upload_avatar(ANNA, sample("image", "a"))
    (agent,) = await client.kf.list_accounts()
    assert (agent.kf_account, agent.nickname, agent.kf_id) == (ANNA, "小安", "1001")
    assert agent.kf_headimgurl.startswith("http://mmbiz.qpic.cn/")
    assert (agent.kf_wx, agent.invite_wx, agent.invite_status, agent.invite_expire_time) == ("", "", "", None)
    assert agent.extra == {}
    await client.kf.delete_account(ANNA)
    assert await client.kf.list_accounts() == ()
    assert wx_sim.findings == []


async def test_who_does_not_exist(wx_sim: WxSim) -> None:
    """An unknown agent is a NotFoundError with 65401, whatever is asked of them."""
    client, alice = wx_sim.client(), follower(wx_sim, "alice")
    for work in (
        client.kf.update_account(ANNA, nickname="x"),
        client.kf.delete_account(ANNA),
        client.kf.upload_avatar(ANNA, sample("image", "a")),
        client.kf.invite_worker(ANNA, invite_wx="x"),
        client.kf.create_session(alice.openid, kf_account=ANNA),
        client.kf.list_sessions(ANNA),
    ):
        with pytest.raises(NotFoundError) as caught:
            await work
        assert caught.value.errcode == 65401


async def test_an_account_exists_once(wx_sim: WxSim) -> None:
    """The second one of a name is 65406, the hundred and first agent 65405."""
    client = wx_sim.client()
    await client.kf.add_account("a" * 10 + "@" + "b" * 30, nickname="安" * 16)
    with pytest.raises(ArgumentError) as twice:
        await client.kf.add_account("a" * 10 + "@" + "b" * 30, nickname="other")
    for number in range(99):
        await client.kf.add_account(f"a{number}@shop", nickname="x")
    with pytest.raises(ArgumentError) as many:
        await client.kf.add_account(ANNA, nickname="x")
    assert (twice.value.errcode, many.value.errcode) == (65406, 65405)


async def test_add_over_a_broken_connection(wx_sim: WxSim) -> None:
    """The platform acted and the answer was lost: the repeat finds the agent and is content."""
    client = wx_sim.client()
    wx_sim.faults.add("reset_after", path=ADD, times=1)
    await client.kf.add_account(ANNA, nickname="安娜")
    assert wx_sim.calls(ADD) == 2
    (agent,) = await client.kf.list_accounts()
    assert agent.nickname == "安娜"


async def test_add_over_a_broken_connection_of_a_taken_name(wx_sim: WxSim) -> None:
    """A lost answer does not turn somebody else's agent into the one that was asked for."""
    client = wx_sim.client()
    await client.kf.add_account(ANNA, nickname="somebody else")
    wx_sim.faults.add("reset_after", path=ADD, times=1)
    with pytest.raises(ArgumentError) as caught:
        await client.kf.add_account(ANNA, nickname="安娜")
    assert caught.value.errcode == 65406


async def test_delete_over_a_broken_connection(wx_sim: WxSim) -> None:
    """The repeat finds nobody to delete, and that is what was wanted."""
    client = wx_sim.client()
    await client.kf.add_account(ANNA, nickname="x")
    wx_sim.faults.add("reset_after", path="/customservice/kfaccount/del", times=1)
    await client.kf.delete_account(ANNA)
    assert await client.kf.list_accounts() == ()


async def test_without_the_feature(wx_sim: WxSim) -> None:
    """Where the customer service is not switched on, everything is refused with 65400."""
    client, alice = wx_sim.client(), follower(wx_sim, "alice")
    wx_sim.account.staff.enabled = False
    for work in (
        client.kf.list_accounts(),
        client.kf.list_online_accounts(),
        client.kf.add_account(ANNA, nickname="x"),
        client.kf.create_session(alice.openid, kf_account=ANNA),
        client.kf.get_session(alice.openid),
        client.kf.list_waiting(),
        client.kf.list_messages(now(wx_sim), now(wx_sim)),
    ):
        with pytest.raises(NotAuthorizedError) as caught:
            await work
        assert caught.value.errcode == 65400


# --- invitations ------------------------------------------------------------------------------------------------------


async def test_an_invited_person_accepts(wx_sim: WxSim) -> None:
    """The invitation waits for a week at most; then the person is bound, and on line."""
    client, person = wx_sim.client(), follower(wx_sim, "anna")
    await client.kf.add_account(ANNA, nickname="安娜")
    await client.kf.invite_worker(ANNA, invite_wx=wechat_id(wx_sim, person))
    (agent,) = await client.kf.list_accounts()
    assert (agent.invite_wx, agent.invite_status) == (wechat_id(wx_sim, person), KfInviteStatus.WAITING)
    assert agent.invite_expire_time == now(wx_sim) + timedelta(days=7)
    assert await client.kf.list_online_accounts() == ()
    wx_sim.clock.advance(5)
    (agent,) = await client.kf.list_accounts()
    assert (agent.kf_wx, agent.kf_openid, agent.invite_status) == (wechat_id(wx_sim, person), person.openid, "")
    (online,) = await client.kf.list_online_accounts()
    assert (online.status, online.kf_id, online.accepted_case) == (KfPresence.WEB, agent.kf_id, 0)
    assert (online.kf_openid, online.extra) == (person.openid, {})


@pytest.mark.wx_sim(policy={"kf_invite_delay": None})
async def test_invitations_that_come_to_nothing(wx_sim: WxSim) -> None:
    """Refused, and run out after a week; each time another one can be sent."""
    client, person = wx_sim.client(), follower(wx_sim, "anna")
    await client.kf.add_account(ANNA, nickname="安娜")
    await client.kf.invite_worker(ANNA, invite_wx=wechat_id(wx_sim, person))
    staff.answer_invitation(wx_sim.world, wx_sim.account, ANNA, accept=False)
    (agent,) = await client.kf.list_accounts()
    assert agent.invite_status is KfInviteStatus.REJECTED
    await client.kf.invite_worker(ANNA, invite_wx=wechat_id(wx_sim, person))
    wx_sim.clock.advance(7 * DAY)
    (agent,) = await client.kf.list_accounts()
    assert agent.invite_status is KfInviteStatus.EXPIRED


@pytest.mark.wx_sim(policy={"kf_invite_delay": None})
async def test_who_cannot_be_invited(wx_sim: WxSim) -> None:
    """Each reason is an ArgumentError with its own code."""
    client = wx_sim.client()
    first, second = (wechat_id(wx_sim, follower(wx_sim, name)) for name in ("anna", "ben"))
    await client.kf.add_account(ANNA, nickname="x")
    await client.kf.add_account(BEN, nickname="x")

    async def refused(name: str, person: str) -> int:
        with pytest.raises(ArgumentError) as caught:
            await client.kf.invite_worker(name, invite_wx=person)
        return caught.value.errcode

    assert await refused(ANNA, "nobody") == 65409
    await client.kf.invite_worker(ANNA, invite_wx=first)
    assert await refused(ANNA, second) == 65411
    assert await refused(BEN, first) == 65408
    staff.answer_invitation(wx_sim.world, wx_sim.account, ANNA)
    assert await refused(ANNA, second) == 65412
    assert await refused(BEN, first) == 65407


@pytest.mark.wx_sim(policy={"kf_invite_delay": None})
async def test_invite_over_a_broken_connection(wx_sim: WxSim) -> None:
    """The repeat finds the invitation waiting, and it is this one; another person's is told as a refusal."""
    client = wx_sim.client()
    first, second = (wechat_id(wx_sim, follower(wx_sim, name)) for name in ("anna", "ben"))
    await client.kf.add_account(ANNA, nickname="x")
    wx_sim.faults.add("reset_after", path=INVITE, times=1)
    await client.kf.invite_worker(ANNA, invite_wx=first)
    assert wx_sim.calls(INVITE) == 2
    wx_sim.faults.add("reset_after", path=INVITE, times=1)
    with pytest.raises(ArgumentError) as caught:
        await client.kf.invite_worker(ANNA, invite_wx=second)
    assert caught.value.errcode == 65411


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_from_end_to_end(wx_sim: WxSim) -> None:
    """It stands in every list while it lasts, and the webhook hears of its beginning, hand-over and end."""
    client, alice, heard = wx_sim.client(), follower(wx_sim, "alice"), []
    hook = Webhook(token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid)

    @hook.on(KfCreateSessionEvent, KfCloseSessionEvent)
    async def changed(event: KfCreateSessionEvent | KfCloseSessionEvent) -> None:
        heard.append((event.event_name, event.openid, event.kf_account))

    @hook.on(KfSwitchSessionEvent)
    async def switched(event: KfSwitchSessionEvent) -> None:
        heard.append((event.event_name, event.from_kf_account, event.to_kf_account))

    wx_sim.connect(hook)
    serve(wx_sim, ANNA, BEN)
    await client.kf.create_session(alice.openid, kf_account=ANNA, text="an old friend")
    session = KfSession(alice.openid, ANNA, now(wx_sim))
    assert await client.kf.get_session(alice.openid) == session
    assert await client.kf.list_sessions(ANNA) == (session,)
    assert await client.kf.list_sessions(BEN) == ()
    assert [agent.accepted_case for agent in await client.kf.list_online_accounts()] == [1, 0]
    staff.switch_session(wx_sim.world, wx_sim.account, alice.openid, BEN)
    assert await serving(client, alice) == BEN
    await client.kf.close_session(alice.openid, kf_account=BEN)
    assert await client.kf.get_session(alice.openid) is None
    await wx_sim.settled()
    assert heard == [
        ("kf_create_session", alice.openid, ANNA),
        ("kf_switch_session", ANNA, BEN),
        ("kf_close_session", alice.openid, BEN),
    ]


async def test_sessions_that_cannot_be(wx_sim: WxSim) -> None:
    """Nobody bound, off line, somebody else's user, no session, unknown user: each with its code and class."""
    client, alice = wx_sim.client(), follower(wx_sim, "alice")
    serve(wx_sim, BEN, "carl@shop")
    await client.kf.add_account(ANNA, nickname="x")
    with pytest.raises(APIError) as unbound:
        await client.kf.create_session(alice.openid, kf_account=ANNA)
    with pytest.raises(APIError) as unlisted:
        await client.kf.list_sessions(ANNA)
    staff.set_online(wx_sim.world, wx_sim.account, BEN, online=False)
    with pytest.raises(APIError) as offline:
        await client.kf.create_session(alice.openid, kf_account=BEN)
    with pytest.raises(NotFoundError) as nothing:
        await client.kf.close_session(alice.openid, kf_account=BEN)
    staff.set_online(wx_sim.world, wx_sim.account, BEN)
    await client.kf.create_session(alice.openid, kf_account=BEN)
    with pytest.raises(APIError) as taken:
        await client.kf.create_session(alice.openid, kf_account="carl@shop")
    with pytest.raises(APIError) as foreign:
        await client.kf.close_session(alice.openid, kf_account="carl@shop")
    with pytest.raises(ArgumentError) as unknown:
        await client.kf.get_session("nobody")
    found = [one.value.errcode for one in (unbound, unlisted, offline, nothing, taken, foreign, unknown)]
    assert found == [65402, 65402, 65415, 65413, 65414, 65414, 40003]


async def test_close_over_a_broken_connection(wx_sim: WxSim) -> None:
    """The repeat finds no session, and that is what was wanted."""
    client, alice = wx_sim.client(), follower(wx_sim, "alice")
    serve(wx_sim, ANNA)
    await client.kf.create_session(alice.openid, kf_account=ANNA)
    wx_sim.faults.add("reset_after", path="/customservice/kfsession/close", times=1)
    await client.kf.close_session(alice.openid, kf_account=ANNA)
    assert await serving(client, alice) == ""


async def test_a_lost_answer_of_create_session(wx_sim: WxSim) -> None:
    """The outcome is told as unknown; asking shows how it stands."""
    client, alice = wx_sim.client(), follower(wx_sim, "alice")
    serve(wx_sim, ANNA)
    wx_sim.faults.add("status", path="/customservice/kfsession/create", processed=True)
    with pytest.raises(Exception, match="502"):
        await client.kf.create_session(alice.openid, kf_account=ANNA)
    assert wx_sim.calls("/customservice/kfsession/create") == 1
    assert await serving(client, alice) == ANNA


async def test_the_queue(wx_sim: WxSim) -> None:
    """Who waits longest stands first, a hundred are shown, and all are counted."""
    client = wx_sim.client()
    assert (await client.kf.list_waiting()).total == 0
    openids, started = wx_sim.world.create_followers(101), now(wx_sim)
    for openid in openids:
        wx_sim.account.staff.waiting[openid] = wx_sim.clock.now()
        wx_sim.clock.advance(1)
    waiting = await client.kf.list_waiting()
    assert waiting.total == 101
    assert [user.openid for user in waiting.users] == openids[:100]
    assert waiting.users[0].latest_time == started
    assert waiting.users[99].latest_time == started + timedelta(seconds=99)
    assert waiting.extra == waiting.users[0].extra == {}


# --- the record -------------------------------------------------------------------------------------------------------


async def test_what_is_said_is_recorded(wx_sim: WxSim) -> None:
    """Both ways with their codes; what is no text has a placeholder."""
    client, alice, begin = wx_sim.client(), follower(wx_sim, "alice"), now(wx_sim)
    serve(wx_sim, ANNA)
    alice.say("nobody hears this")
    await client.kf.create_session(alice.openid, kf_account=ANNA)
    alice.say("hello")
    wx_sim.clock.advance(7)
    alice.send_image()
    staff.say(wx_sim.world, wx_sim.account, alice.openid, "hi there")
    page = await client.kf.list_messages(begin, now(wx_sim))
    assert [(one.opercode, one.text, one.sent_at) for one in page.messages] == [
        (KfOpercode.RECEIVED, "hello", begin),
        (KfOpercode.RECEIVED, "[图片]", begin + timedelta(seconds=7)),
        (KfOpercode.SENT, "hi there", begin + timedelta(seconds=7)),
    ]
    assert {(one.openid, one.kf_account) for one in page.messages} == {(alice.openid, ANNA)}
    assert page.count == 3
    assert page.extra == page.messages[0].extra == {}


@pytest.mark.wx_sim(policy=LONG_SESSIONS)
@pytest.mark.parametrize("number", [1, 2, 3, 10_000])
async def test_a_record_of_many_days(wx_sim: WxSim, number: int) -> None:
    """Every message comes once and in its order, those in the very second of a border included."""
    client, alice, begin = wx_sim.client(), follower(wx_sim, "alice"), now(wx_sim)
    serve(wx_sim, ANNA)
    await client.kf.create_session(alice.openid, kf_account=ANNA)
    seconds = [0, 0, 1, DAY - 1, DAY, DAY, DAY, DAY + 1, 2 * DAY, 3 * DAY - 1, 3 * DAY, 3 * DAY + 5]
    before = 0
    for second in seconds:
        wx_sim.clock.advance(second - before)
        before = second
        alice.say("ok")
    found = [
        int((message.sent_at - begin).total_seconds())
        async for message in client.kf.iter_messages(begin, begin + timedelta(days=3, seconds=5), count=number)
    ]
    assert found == seconds[:-1]
    pieces = [
        int((message.sent_at - begin).total_seconds())
        for day in range(4)
        async for message in client.kf.iter_messages(
            begin + timedelta(days=day), begin + timedelta(days=day + 1), count=number
        )
    ]
    assert pieces == seconds
    assert wx_sim.findings == []


async def test_a_month_is_asked_for_day_by_day(wx_sim: WxSim) -> None:
    """Thirty days are thirty requests, and none of them is too long for the platform."""
    client = wx_sim.client()
    end = now(wx_sim)
    assert [one async for one in client.kf.iter_messages(end - timedelta(days=30), end)] == []
    assert wx_sim.calls(RECORDS) == 30


async def test_limits_are_the_same_on_both_sides(wx_sim: WxSim) -> None:
    """A day and ten thousand records pass; more is refused before sending."""
    client, end = wx_sim.client(), now(wx_sim)
    await client.kf.list_messages(end - timedelta(days=1), end, count=10_000)
    with pytest.raises(ArgumentError) as span:
        await client.kf.list_messages(end - timedelta(days=1, seconds=1), end)
    with pytest.raises(ArgumentError) as size:
        await client.kf.list_messages(end, end, count=10_001)
    assert (span.value.errcode, size.value.errcode) == (65417, 65416)
    assert wx_sim.calls(RECORDS) == 1
