"""Statistics: the numbers of past days, counted from what happened."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import Clock, Policy, World, library, statistics
from wxmp.simulator.state import Attempt

FIRST = "2026-01-01"
SECOND = "2026-01-02"
DAY = 86_400


def ask(desk, name, begin=FIRST, end=None):
    return desk.post(f"/datacube/{name}", {"begin_date": begin, "end_date": end or begin})


def rows(desk, name, begin=FIRST, end=None):
    return ask(desk, name, begin, end)["list"]


def publish(world, *, msg_data_id=5, titles=("T",)):
    """Let a mass send bring articles out, without sending anything."""
    articles = [library.Article(title) for title in titles]
    return library.publish_articles(world, world.account, articles, world.now(), msg_data_id=msg_data_id)


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "20260101", "2026-1-1", "2026-02-30", "x", 20260101])
def test_dates_are_written_one_way(desk, given):
    """Anything but YYYY-MM-DD is 61500."""
    desk.world.advance(DAY)
    assert ask(desk, "getusersummary", given, FIRST)["errcode"] == 61500


@pytest.mark.parametrize(
    ("begin", "end"), [("2025-12-31", "2025-12-30"), ("2025-12-24", "2025-12-31"), ("2014-11-30", "2014-12-01")]
)
def test_ranges_are_checked(desk, begin, end):
    """Backwards, eight days where seven are allowed, before the beginning of all numbers: 61501."""
    assert ask(desk, "getusersummary", begin, end)["errcode"] == 61501


def test_seven_days_are_allowed(desk):
    """Both ends count."""
    assert ask(desk, "getusersummary", "2025-12-25", "2025-12-31")["list"] == []


@pytest.mark.parametrize(
    ("name", "days"),
    [("getupstreammsgdist", 15), ("getinterfacesummary", 30), ("getupstreammsghour", 1), ("getarticletotal", 1)],
)
def test_each_endpoint_has_its_own_span(desk, name, days):
    """The documented number of days, and not one more."""
    desk.world.advance(100 * DAY)
    assert "list" in ask(desk, name, FIRST, f"2026-01-{days:02}")
    assert ask(desk, name, FIRST, f"2026-01-{days + 1:02}")["errcode"] == 61501


def test_yesterday_is_ready_at_eight(desk):
    """Today is 61501; yesterday is 61503 until eight in the morning of Shanghai; the day before is there."""
    assert ask(desk, "getusersummary", FIRST)["errcode"] == 61501
    desk.world.advance(12 * 3600)
    assert ask(desk, "getusersummary", FIRST)["errcode"] == 61503
    assert ask(desk, "getusersummary", "2025-12-31")["list"] == []
    desk.world.advance(8 * 3600 - 1)
    assert ask(desk, "getusersummary", FIRST)["errcode"] == 61503
    desk.world.advance(1)
    assert ask(desk, "getusersummary", FIRST)["list"] == []


def test_weeks_and_months_are_asked_for_by_their_first_day(desk, make_desk):
    """Another day or two different ones are 61501; the older reading takes a range."""
    desk.world.advance(60 * DAY)
    for name, good, bad in (
        ("getupstreammsgweek", "2026-01-05", "2026-01-06"),
        ("getupstreammsgdistweek", "2026-01-05", "2026-01-06"),
        ("getupstreammsgmonth", "2026-01-01", "2026-01-02"),
        ("getupstreammsgdistmonth", "2026-01-01", "2026-01-02"),
    ):
        assert "list" in ask(desk, name, good)
        assert ask(desk, name, bad)["errcode"] == 61501
        assert ask(desk, name, good, "2026-01-08")["errcode"] == 61501
    older = make_desk(datacube_whole_periods=False)
    older.world.advance(60 * DAY)
    assert ask(older, "getupstreammsgweek", "2026-01-02", "2026-01-20")["list"] == []


# --- users ------------------------------------------------------------------------------------------------------------


def test_followers_are_counted_by_day_and_source(desk):
    """Gained and lost, each under where the follower came from."""
    world = desk.world
    searcher = world.user_follows()
    world.user_follows()
    body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}}
    scanner = world.user_scans(None, desk.post("/cgi-bin/qrcode/create", body)["ticket"])
    world.user_unfollows(searcher)
    world.advance(DAY)
    world.user_unfollows(scanner)
    world.advance(DAY)
    assert rows(desk, "getusersummary", FIRST, SECOND) == [
        {"ref_date": FIRST, "user_source": 1, "new_user": 2, "cancel_user": 1},
        {"ref_date": FIRST, "user_source": 30, "new_user": 1, "cancel_user": 0},
        {"ref_date": SECOND, "user_source": 30, "new_user": 0, "cancel_user": 1},
    ]


def test_following_twice_counts_once(desk):
    """Who follows already does not come again."""
    openid = desk.world.user_follows()
    desk.world.user_follows(openid)
    desk.world.user_unfollows(openid)
    desk.world.user_unfollows(openid)
    desk.world.advance(DAY)
    (row,) = rows(desk, "getusersummary")
    assert (row["new_user"], row["cancel_user"]) == (1, 1)


def test_the_total_of_each_day_follows_from_what_happened(desk):
    """Followers made without an event count from their day; who left later was still there before."""
    world = desk.world
    made = world.create_followers(3)
    comer = world.user_follows()
    world.advance(DAY)
    world.user_unfollows(comer)
    world.user_unfollows(made[0])
    world.advance(DAY)
    world.create_followers(5)
    world.user_follows(comer)
    world.advance(DAY)
    found = rows(desk, "getusercumulate", "2025-12-31", "2026-01-03")
    assert found[0] == {"ref_date": "2025-12-31", "user_source": 0, "cumulate_user": 0}
    assert [row["cumulate_user"] for row in found] == [0, 4, 2, 8]


# --- messages of users ------------------------------------------------------------------------------------------------


def chatter(world):
    """Two users write: one seven texts and a picture at noon, the other a place two hours later."""
    anna, ben = (world.phone(openid) for openid in world.create_followers(2))
    for number in range(7):
        anna.say(f"n{number}")
    anna.send_image()
    world.advance(2 * 3600)
    ben.send_location()
    ben.report_location()


def test_messages_are_counted_by_kind(desk):
    """Senders and messages of each kind; events do not count."""
    chatter(desk.world)
    desk.world.advance(DAY)
    assert rows(desk, "getupstreammsg") == [
        {"ref_date": FIRST, "msg_type": 1, "msg_user": 1, "msg_count": 7},
        {"ref_date": FIRST, "msg_type": 2, "msg_user": 1, "msg_count": 1},
        {"ref_date": FIRST, "msg_type": 6, "msg_user": 1, "msg_count": 1},
    ]


def test_messages_of_a_blacklisted_user_do_not_count(desk):
    """What nobody hears of is not counted either."""
    openid = desk.world.create_followers(1)[0]
    desk.account.users[openid].blacklisted = True
    desk.world.user_writes(openid, "hi")
    desk.world.advance(DAY)
    assert rows(desk, "getupstreammsg") == []


def test_messages_are_counted_by_hour(desk):
    """Hours are written as 1200 and 1400."""
    chatter(desk.world)
    desk.world.advance(DAY)
    found = [(row["ref_hour"], row["msg_type"]) for row in rows(desk, "getupstreammsghour")]
    assert found == [(1200, 1), (1200, 2), (1400, 6)]


def test_users_are_counted_by_how_much_they_write(desk):
    """Eight messages are in band 2, one is in band 1, eleven are in band 3."""
    chatter(desk.world)
    third = desk.world.phone(desk.world.create_followers(1)[0])
    for _ in range(11):
        third.say("x")
    desk.world.advance(DAY)
    assert rows(desk, "getupstreammsgdist") == [
        {"ref_date": FIRST, "count_interval": 1, "msg_user": 1},
        {"ref_date": FIRST, "count_interval": 2, "msg_user": 1},
        {"ref_date": FIRST, "count_interval": 3, "msg_user": 1},
    ]


@pytest.mark.parametrize(("count", "band"), [(1, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_bands_end_at_five_and_ten(desk, count, band):
    """1 to 5, 6 to 10, more than 10."""
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    for _ in range(count):
        phone.say("x")
    desk.world.advance(DAY)
    assert [row["count_interval"] for row in rows(desk, "getupstreammsgdist")] == [band]


def test_weeks_and_months_add_their_days_up(desk):
    """The same user on two days is one sender; the row has the period's first day."""
    world = desk.world
    world.advance(4 * DAY)
    phone = world.phone(world.create_followers(1)[0])
    for _ in range(2):
        phone.say("a")
        phone.say("b")
        phone.say("c")
        world.advance(DAY)
    world.advance(30 * DAY)
    week, month = "2026-01-05", FIRST
    text = {"msg_type": 1, "msg_user": 1, "msg_count": 6}
    assert rows(desk, "getupstreammsgweek", week) == [{"ref_date": week} | text]
    assert rows(desk, "getupstreammsgmonth", month) == [{"ref_date": month} | text]
    band = {"count_interval": 2, "msg_user": 1}
    assert rows(desk, "getupstreammsgdistweek", week) == [{"ref_date": week} | band]
    assert rows(desk, "getupstreammsgdistmonth", month) == [{"ref_date": month} | band]
    assert rows(desk, "getupstreammsgdist", week) == [{"ref_date": week, "count_interval": 1, "msg_user": 1}]


# --- articles ---------------------------------------------------------------------------------------------------------


def test_reads_and_shares_of_an_article_are_counted(desk):
    """Readers once, reads each time; the id is that of the message and the place in it."""
    world = desk.world
    one, two = publish(world, titles=("eins", "zwei"))
    anna, ben = (world.phone(openid) for openid in world.create_followers(2))
    anna.read(one.key)
    anna.read(one.key)
    ben.read(one.key)
    ben.share(one.key)
    anna.read(two.key)
    world.advance(DAY)
    found = rows(desk, "getarticlesummary")
    assert [(row["msgid"], row["title"]) for row in found] == [("5_1", "eins"), ("5_2", "zwei")]
    assert found[0] | {"ref_date": FIRST} == {
        "ref_date": FIRST,
        "msgid": "5_1",
        "title": "eins",
        "int_page_read_user": 2,
        "int_page_read_count": 3,
        "ori_page_read_user": 0,
        "ori_page_read_count": 0,
        "share_user": 1,
        "share_count": 1,
        "add_to_fav_user": 0,
        "add_to_fav_count": 0,
    }
    assert found[1]["int_page_read_user"] == 1


def test_the_totals_of_an_article_grow_day_by_day(desk):
    """Each row counts up to its day, seven days at most, and the audience is that of the mass send."""
    world = desk.world
    openids = world.create_followers(3)
    cover = library.store_media(world, desk.account, "thumb", "t.jpg", b"\xff\xd8\xff", world.now(), permanent=True)
    article = {"title": "T", "content": "c", "thumb_media_id": cover.media_id}
    media_id = desk.post("/cgi-bin/draft/add", {"articles": [article]})["media_id"]
    body = {"filter": {"is_to_all": True}, "msgtype": "mpnews", "mpnews": {"media_id": media_id}}
    sent = desk.post("/cgi-bin/message/mass/sendall", body)
    world.advance(60)
    url = world.chat(openids[0])[-1].payload["articles"][0]["url"]
    world.phone(openids[0]).read(url)
    world.advance(DAY)
    world.phone(openids[0]).read(url)
    world.phone(openids[1]).read(url)
    world.advance(DAY)
    (row,) = rows(desk, "getarticletotal")
    assert row["msgid"] == f"{sent['msg_data_id']}_1"
    figures = [
        (d["stat_date"], d["target_user"], d["int_page_read_user"], d["int_page_read_count"]) for d in row["details"]
    ]
    assert figures == [(FIRST, 3, 1, 1), (SECOND, 3, 2, 3)]
    world.advance(20 * DAY)
    assert len(rows(desk, "getarticletotal")[0]["details"]) == 7


def test_all_reading_is_counted_by_source_and_hour(desk):
    """Followers read from the chat, others from elsewhere, and one row sums them up."""
    world = desk.world
    (one,) = publish(world)
    world.phone(world.create_followers(1)[0]).read(one.key)
    world.advance(3600)
    world.phone(world.create_stranger()).read(one.key)
    world.advance(DAY)
    found = [(row["user_source"], row["int_page_read_user"]) for row in rows(desk, "getuserread")]
    assert found == [(0, 1), (5, 1), (99_999_999, 2)]
    hours = [(row["ref_hour"], row["user_source"]) for row in rows(desk, "getuserreadhour")]
    assert hours == [(1200, 0), (1200, 99_999_999), (1300, 5), (1300, 99_999_999)]


def test_sharing_is_counted_by_scene_and_hour(desk):
    """A friend and the feed are different scenes."""
    world = desk.world
    (one,) = publish(world)
    phone = world.phone(world.create_followers(1)[0])
    phone.share(one.key)
    phone.share(one.key, scene=2)
    world.advance(3600)
    phone.share(one.key, scene=2)
    world.advance(DAY)
    assert rows(desk, "getusershare") == [
        {"ref_date": FIRST, "share_scene": 1, "share_user": 1, "share_count": 1},
        {"ref_date": FIRST, "share_scene": 2, "share_user": 1, "share_count": 2},
    ]
    hours = [(row["ref_hour"], row["share_scene"], row["share_count"]) for row in rows(desk, "getusersharehour")]
    assert hours == [(1200, 1, 1), (1200, 2, 1), (1300, 2, 1)]


# --- the developer's server -------------------------------------------------------------------------------------------


def attempt(at: float, seconds: float, verdict: str) -> Attempt:
    return Attempt(1, 1, "o", "text", at, 1, "plain", 200, seconds, verdict, "")


def test_deliveries_are_counted_with_their_times(desk):
    """Count, failures, the sum and the longest in milliseconds, by day and by hour."""
    world = desk.world
    for hours, seconds, verdict in ((0, 0.1, "silent"), (0, 5.0, "broken"), (2, 0.25, "shown")):
        statistics.count_attempt(desk.account, attempt(world.now() + hours * 3600, seconds, verdict))
    world.advance(DAY)
    assert rows(desk, "getinterfacesummary") == [
        {"ref_date": FIRST, "callback_count": 3, "fail_count": 1, "total_time_cost": 5350, "max_time_cost": 5000}
    ]
    first, second = rows(desk, "getinterfacesummaryhour")
    assert first == {
        "ref_date": FIRST,
        "ref_hour": 1200,
        "callback_count": 2,
        "fail_count": 1,
        "total_time_cost": 5100,
        "max_time_cost": 5000,
    }
    assert (second["ref_hour"], second["callback_count"]) == (1400, 1)


def test_every_delivery_of_a_push_counts_and_no_forged_one(world, desk, simulator, developer):
    """Three failed deliveries of one message are three; a forged copy sent by a fault is none."""
    simulator.set_callback(developer.url, token="devToken123", mode="plain")
    phone = world.phone(world.create_followers(1)[0])
    developer.answer = lambda hit: (500, b"")
    phone.say("hi")
    assert world.wait_for(lambda w: w.settled, timeout=5)
    developer.answer = lambda hit: b"success"
    world.fault("push_wrong_signature", times=1)
    phone.say("again")
    assert world.wait_for(lambda w: w.settled, timeout=5)
    assert len(developer.hits) == 5
    world.advance(DAY)
    (row,) = rows(desk, "getinterfacesummary")
    assert (row["callback_count"], row["fail_count"]) == (4, 3)
    assert 0 <= row["max_time_cost"] <= row["total_time_cost"]


def test_numbers_survive_a_snapshot(desk):
    """Every endpoint answers the same in another world."""
    world = desk.world
    chatter(world)
    world.user_unfollows(world.user_follows())
    (one,) = publish(world)
    phone = world.phone(world.create_followers(1)[0])
    phone.read(one.key)
    phone.share(one.key)
    statistics.count_attempt(desk.account, attempt(world.now(), 0.1, "silent"))
    world.advance(DAY)
    names = [path.rpartition("/")[2] for path in Policy().datacube_days if not path.endswith(("week", "month"))]
    before = {name: rows(desk, name) for name in names}
    assert all(before.values())
    other = World(Policy(), Clock.frozen(), seed=7)
    other.restore(json.loads(json.dumps(world.snapshot())))
    desk.world, desk.account = other, other.account
    assert {name: rows(desk, name) for name in names} == before
