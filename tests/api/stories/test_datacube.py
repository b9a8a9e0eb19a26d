"""Statistics on the simulated platform: what users did on past days is what is read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from wxmp import ArgumentError, BusyError
from wxmp.api import datacube as module
from wxmp.api.datacube import (
    DatacubeAPI,
    FollowSource,
    InterfaceSummary,
    ReadSource,
    Report,
    ShareScene,
    UpstreamMsg,
    UpstreamMsgBand,
    UpstreamMsgDist,
    UpstreamMsgType,
    UserCumulate,
    UserShare,
    UserSummary,
)
from wxmp.simulator import library
from wxmp.simulator.policy import DATACUBE_DAYS
from wxmp.webhook import TextMessage, Webhook

if TYPE_CHECKING:
    from wxmp.pytest_plugin import WxSim
    from wxmp.simulator.phone import Phone

# The world begins at noon of the first of January in Beijing and moves only when a story moves it, so that its days
# are always in the past of the machine that runs these tests.
pytestmark = pytest.mark.wx_sim(clock="frozen")

DAY = 86_400
FIRST = date(2026, 1, 1)
SECOND = date(2026, 1, 2)
MONDAY = date(2026, 1, 5)
PLACE = "/datacube/getusersummary"


def pass_days(wx_sim: WxSim, days: float = 1) -> None:
    wx_sim.world.advance(days * DAY)


def follower(wx_sim: WxSim, name: str, scene: str = "ADD_SCENE_SEARCH") -> Phone:
    phone = wx_sim.user(name)
    phone.follow(scene=scene)
    return phone


def article(wx_sim: WxSim, *titles: str) -> list[str]:
    """Bring articles out with a mass send of the number 5; return what their readers open."""
    found = [library.Article(title) for title in titles]
    sent = library.publish_articles(wx_sim.world, wx_sim.account, found, wx_sim.world.now(), msg_data_id=5)
    return [one.key for one in sent]


async def test_followers_come_and_go(wx_sim: WxSim) -> None:
    """Gained and lost by day and source; the net growth is the difference."""
    anna = follower(wx_sim, "anna")
    follower(wx_sim, "ben", "ADD_SCENE_QR_CODE")
    pass_days(wx_sim)
    anna.unfollow()
    pass_days(wx_sim)
    report = await wx_sim.client().datacube.get_user_summary(FIRST, SECOND)
    assert report.items == (
        UserSummary(FIRST, FollowSource.SEARCH, 1, 0),
        UserSummary(FIRST, FollowSource.QR_CODE, 1, 0),
        UserSummary(SECOND, FollowSource.SEARCH, 0, 1),
    )
    assert report.rows()[2] == {"ref_date": SECOND, "user_source": 1, "new_user": 0, "cancel_user": 1}


async def test_a_month_of_followers_is_read_week_by_week(wx_sim: WxSim) -> None:
    """Thirty days are five requests and one report without a gap."""
    follower(wx_sim, "anna")
    pass_days(wx_sim, 20)
    follower(wx_sim, "ben")
    pass_days(wx_sim, 15)
    report = await wx_sim.client().datacube.get_user_cumulate(FIRST, FIRST + timedelta(days=29))
    assert report.items == tuple(UserCumulate(FIRST + timedelta(days=n), 0, 1 if n < 20 else 2) for n in range(30))
    assert wx_sim.calls("/datacube/getusercumulate") == 5


async def test_messages_are_counted_by_kind_and_hour(wx_sim: WxSim) -> None:
    """A user of eight messages is one sender and one entry in the band of 6 to 10."""
    anna = follower(wx_sim, "anna")
    for _ in range(7):
        anna.say("hi")
    wx_sim.world.advance(7200)
    anna.send_image()
    pass_days(wx_sim)
    datacube = wx_sim.client().datacube
    assert (await datacube.get_upstream_msg(FIRST)).items == (
        UpstreamMsg(FIRST, UpstreamMsgType.TEXT, 1, 7),
        UpstreamMsg(FIRST, UpstreamMsgType.IMAGE, 1, 1),
    )
    hours = await datacube.get_upstream_msg_hour(FIRST)
    assert [(one.ref_hour, one.msg_type) for one in hours] == [
        (1200, UpstreamMsgType.TEXT),
        (1400, UpstreamMsgType.IMAGE),
    ]
    assert (await datacube.get_upstream_msg_dist(FIRST)).items == (UpstreamMsgDist(FIRST, UpstreamMsgBand.UP_TO_10, 1),)


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(whole, marks=pytest.mark.wx_sim(policy={"datacube_whole_periods": whole}), id=name)
        for whole, name in ((True, "first day twice"), (False, "a range, as formerly"))
    ],
)
async def test_weeks_and_months_are_read_under_both_rules(wx_sim: WxSim, whole: bool) -> None:
    """The documentation has had two rules for them; the same call works under either."""
    assert wx_sim.world.policy.datacube_whole_periods is whole
    pass_days(wx_sim, 4)
    anna = follower(wx_sim, "anna")
    anna.say("in the week of the fifth")
    pass_days(wx_sim, 7)
    for _ in range(2):
        anna.say("in the week of the twelfth")
    pass_days(wx_sim, 30)
    datacube = wx_sim.client().datacube
    end = date(2026, 2, 1)
    weeks = await datacube.get_upstream_msg_week(FIRST, end)
    assert [(one.ref_date, one.msg_count) for one in weeks] == [(MONDAY, 1), (date(2026, 1, 12), 2)]
    months = await datacube.get_upstream_msg_month(FIRST, end)
    assert [(one.ref_date, one.msg_count) for one in months] == [(FIRST, 3)]
    weekly = await datacube.get_upstream_msg_dist_week(MONDAY)
    assert weekly.items == (UpstreamMsgDist(MONDAY, UpstreamMsgBand.UP_TO_5, 1),)
    monthly = await datacube.get_upstream_msg_dist_month(FIRST)
    assert monthly.items == (UpstreamMsgDist(FIRST, UpstreamMsgBand.UP_TO_5, 1),)


async def test_articles_are_read_and_shared(wx_sim: WxSim) -> None:
    """Readers and reads, sharers and shares: of an article, of all, by source, by scene, by hour."""
    anna, ben = follower(wx_sim, "anna"), follower(wx_sim, "ben")
    one, two = article(wx_sim, "eins", "zwei")
    for phone, key in ((anna, one), (anna, one), (ben, one), (ben, two)):
        phone.read(key)
    ben.share(one)
    ben.share(one, scene=2)
    pass_days(wx_sim)
    datacube = wx_sim.client().datacube
    summary = await datacube.get_article_summary(FIRST)
    assert [(a.msg_id, a.title, a.int_page_read_user, a.int_page_read_count, a.share_count) for a in summary] == [
        ("5_1", "eins", 2, 3, 2),
        ("5_2", "zwei", 1, 1, 0),
    ]
    read = await datacube.get_user_read(FIRST)
    assert [(a.user_source, a.int_page_read_count) for a in read] == [(ReadSource.CHAT, 4), (ReadSource.ALL, 4)]
    hours = await datacube.get_user_read_hour(FIRST)
    assert [(a.ref_hour, a.user_source) for a in hours] == [(1200, ReadSource.CHAT), (1200, ReadSource.ALL)]
    assert (await datacube.get_user_share(FIRST)).items == (
        UserShare(FIRST, ShareScene.FRIEND, 1, 1),
        UserShare(FIRST, ShareScene.MOMENTS, 1, 1),
    )
    assert [a.ref_hour for a in await datacube.get_user_share_hour(FIRST)] == [1200, 1200]


async def test_an_article_is_followed_for_a_week(wx_sim: WxSim) -> None:
    """Seven entries that grow, and as many rows."""
    anna = follower(wx_sim, "anna")
    (key,) = article(wx_sim, "eins")
    anna.read(key)
    pass_days(wx_sim)
    anna.read(key)
    pass_days(wx_sim, 10)
    report = await wx_sim.client().datacube.get_article_total(FIRST)
    (found,) = report
    assert [(day.stat_date, day.int_page_read_count) for day in found.details] == [
        (FIRST + timedelta(days=n), 1 if n == 0 else 2) for n in range(7)
    ]
    assert [row["stat_date"] for row in report.rows()] == [day.stat_date for day in found.details]
    assert {row["title"] for row in report.rows()} == {"eins"}


async def test_the_own_server_is_measured(wx_sim: WxSim) -> None:
    """Every push counts, a failed one as a failure, by day and by hour."""
    hook = Webhook(token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    wx_sim.connect(hook)
    anna = follower(wx_sim, "anna")
    anna.say("hi")
    await wx_sim.settled()
    pass_days(wx_sim)
    datacube = wx_sim.client().datacube
    (day,) = await datacube.get_interface_summary(FIRST)
    assert (day.ref_date, day.callback_count, day.fail_count) == (FIRST, 2, 0)
    assert 0 <= day.max_time_cost_ms <= day.total_time_cost_ms
    (hour,) = await datacube.get_interface_summary_hour(FIRST)
    assert (hour.ref_hour, hour.callback_count) == (1200, 2)
    assert isinstance(hour, InterfaceSummary)


async def test_every_field_of_the_platform_has_its_attribute(wx_sim: WxSim) -> None:
    """Nothing that the simulated platform says about a lively day is left over."""
    wx_sim.connect(Webhook(token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid))
    anna = follower(wx_sim, "anna")
    (key,) = article(wx_sim, "eins")
    anna.read(key)
    anna.share(key)
    anna.say("hi")
    await wx_sim.settled()
    pass_days(wx_sim, 40)
    datacube = wx_sim.client().datacube
    seen = 0
    for path in DATACUBE_DAYS:
        name = next(n for n, e in vars(module).items() if getattr(e, "path", None) == path).lower()
        day = MONDAY - timedelta(days=7) if name.endswith("week") else FIRST
        report: Report[Any] = await getattr(datacube, name)(day)
        assert len(report), name
        assert not report.extra
        assert not [item.extra for item in report if item.extra], name
        for item in report:
            assert not [detail.extra for detail in getattr(item, "details", ()) if detail.extra], name
        assert {tuple(row) for row in report.rows()} == {report.columns}
        seen += 1
    assert seen == 17


@pytest.mark.parametrize("path", DATACUBE_DAYS)
async def test_long_ranges_fit_what_the_platform_allows(wx_sim: WxSim, path: str) -> None:
    """The platform refuses none of the windows of a range of seventy days."""
    pass_days(wx_sim, 100)
    name = next(n for n, e in vars(module).items() if getattr(e, "path", None) == path).lower()
    await getattr(wx_sim.client().datacube, name)(FIRST, FIRST + timedelta(days=69))
    calls = 10 if name.endswith("week") else 3 if name.endswith("month") else -(-70 // DATACUBE_DAYS[path])
    assert wx_sim.calls(path) == calls


async def test_yesterday_is_ready_at_eight(wx_sim: WxSim) -> None:
    """Before 8 o'clock the platform says so (61503), and it is not asked again in vain."""
    wx_sim.world.advance(DAY / 2 + 7 * 3600)
    datacube = wx_sim.client().datacube
    with pytest.raises(BusyError) as caught:
        await datacube.get_user_summary(FIRST)
    assert caught.value.errcode == 61503
    assert wx_sim.calls(PLACE) == 1
    wx_sim.world.advance(3600)
    assert not await datacube.get_user_summary(FIRST)


async def test_the_days_before_yesterday_are_told_when_it_is_not_ready(wx_sim: WxSim) -> None:
    """A long range that ends too early says how far it came."""
    pass_days(wx_sim, 8)
    wx_sim.world.advance(DAY / 2 + 3600)
    with pytest.raises(BusyError) as caught:
        await wx_sim.client().datacube.get_user_summary(FIRST, date(2026, 1, 9))
    (note,) = caught.value.__notes__
    assert note.startswith("the days 2026-01-01 to 2026-01-07 were read")


async def test_today_is_refused_by_the_platform_too(wx_sim: WxSim) -> None:
    """Where the clock of the machine is ahead, the platform's word counts (61501)."""
    with pytest.raises(ArgumentError) as caught:
        await DatacubeAPI(wx_sim.client()._caller).get_user_summary(FIRST)
    assert (caught.value.errcode, caught.value.field) == (61501, "")
    assert wx_sim.calls(PLACE) == 1


async def test_today_is_refused_before_sending(wx_sim: WxSim) -> None:
    """With the platform's own time, SDK and platform agree about every day around today."""
    client = wx_sim.client()
    datacube, by_the_machine = client.datacube, DatacubeAPI(client._caller)
    wx_sim.world.advance(20 * 3600)  # eight in the morning of the second
    assert datetime.fromtimestamp(wx_sim.clock.now(), UTC).hour == 0
    assert not await datacube.get_user_summary(FIRST)
    for day in (SECOND, date(2026, 1, 3)):
        with pytest.raises(ArgumentError) as caught:
            await datacube.get_user_summary(day)
        assert (caught.value.errcode, caught.value.field) == (61501, "begin_date")
        with pytest.raises(ArgumentError):
            await by_the_machine.get_user_summary(day)
    assert wx_sim.calls(PLACE) == 3


async def test_the_first_day_of_all_is_the_same(wx_sim: WxSim) -> None:
    """SDK and platform agree on where statistics begin."""
    datacube = wx_sim.client().datacube
    assert not await datacube.get_user_summary(date(2014, 12, 1))
    with pytest.raises(ArgumentError) as caught:
        await datacube.get_user_summary(date(2014, 11, 30))
    assert caught.value.field == "begin_date"
    assert wx_sim.calls(PLACE) == 1


async def test_a_bad_day_in_the_middle(wx_sim: WxSim) -> None:
    """A passing failure is repeated and leaves no gap; nothing is read twice."""
    follower(wx_sim, "anna")
    pass_days(wx_sim, 20)
    wx_sim.faults.add("status", PLACE, nth=2, status=502)
    report = await wx_sim.client().datacube.get_user_summary(FIRST, date(2026, 1, 14))
    assert report.items == (UserSummary(FIRST, FollowSource.SEARCH, 1, 0),)
    assert wx_sim.calls(PLACE) == 3


async def test_the_test_of_the_documentation(wx_sim: WxSim) -> None:
    """What docs/datacube.md shows under "In tests" works: moving the clock alone makes yesterday of today."""
    wx_sim.user("alice").follow()
    wx_sim.clock.advance(86400)
    (day,) = await wx_sim.client().datacube.get_user_summary(date(2026, 1, 1))
    assert day.new_user == 1
