"""What the activity log promises: one suite over memory and Redis, then what only one of them has to promise."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.redis_server import BlackHole, GivenServer, RedisServer, find_server
from wxmp.errors import ConfigError, WebhookStoreError
from wxmp.webhook.activity import (
    ALLOWANCES_2023,
    ActivityLog,
    Allowance,
    CustomWindow,
    MemoryActivityLog,
    MenuKeyActivity,
    Outcome,
    Trigger,
    UserActivity,
)
from wxmp.webhook.activity_redis import RedisActivityLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

APPID = "wx0123456789abcdef"
ANNA = "oAnna-000000000000000000000_"
BERT = "oBert-000000000000000000000_"
HOUR = 3600.0
DAY = 24 * HOUR
#: How long a test may take between reading the time and asking a real server.
PATIENCE = 20.0

Kind = Literal["memory", "redis"]
MENU_EVENTS = (
    *("CLICK", "VIEW", "view_miniprogram", "scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album"),
    *("pic_weixin", "location_select", "media_id", "view_limited"),
)
OPENING_EVENTS = ("CLICK", "scancode_push", "scancode_waitmsg")


@attrs.frozen
class FakePush:
    """As much of a push as the log reads."""

    from_user_name: str
    create_time: int
    msg_type: str = "event"
    event: str | None = None
    key: str | None = None
    raw: dict[str, object] = attrs.field(factory=dict)


def text(openid: str, at: float, **raw: object) -> FakePush:
    return FakePush(openid, int(at), "text", raw=raw)


def event(openid: str, at: float, name: str, key: str | None = None) -> FakePush:
    return FakePush(openid, int(at), event=name, key=key)


def instant(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)


class Clock:
    """Time that only passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_790_000_000.25

    def __call__(self) -> float:
        return self.seconds


@attrs.define
class Room:
    """A log with its time, and what a test cannot do through its verbs."""

    kind: Kind
    log: ActivityLog
    now: int
    clock: Clock
    prefix: str = ""
    server: GivenServer | RedisServer | None = None

    def user_key(self, openid: str) -> str:
        return f"{self.prefix}:act:{{{APPID}}}:u:{hashlib.sha256(openid.encode()).hexdigest()[:32]}"

    def menu_key(self, last: str = "menu") -> str:
        return f"{self.prefix}:act:{{{APPID}}}:{last}"

    def command(self, *args: object) -> Any:
        assert self.server is not None
        return self.server.command(*args)

    async def sent_ago(self, openid: str, seconds: float, count: int = 1) -> None:
        """Let messages have gone out some time ago."""
        if self.server is None:
            self.clock.seconds -= seconds
            await self.log.record_sent(openid, count)
            self.clock.seconds += seconds
        else:
            old = (self.command("HGET", self.user_key(openid), "sent") or b"").decode().split()
            new = [str(round((time.time() - seconds) * 1000))] * count
            self.command("HSET", self.user_key(openid), "sent", " ".join(old + new))

    def about(self, seconds: float) -> Any:
        """Expect some seconds left: exactly with the clock of a test, nearly with a real one."""
        if self.server is None:
            return pytest.approx(seconds - 0.25)
        return pytest.approx(seconds - PATIENCE / 2, abs=PATIENCE / 2)


@pytest.fixture(scope="module")
def server() -> Iterator[GivenServer | RedisServer]:
    with find_server() as found:
        yield found


def new_prefix() -> str:
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
async def redis_room(server: GivenServer | RedisServer) -> AsyncIterator[Callable[..., Room]]:
    """Makes rooms in Redis, each with keys of its own."""
    rooms: list[Room] = []

    def make(**options: Any) -> Room:
        prefix = options.setdefault("prefix", new_prefix())
        log = RedisActivityLog(server.url, appid=APPID, timeout=5.0, **options)
        rooms.append(Room("redis", log, int(time.time()), Clock(), prefix, server))
        return rooms[-1]

    yield make
    for room in rooms:
        await room.log.aclose()


def memory_room(**options: Any) -> Room:
    clock = Clock()
    return Room("memory", MemoryActivityLog(clock=clock, **options), int(clock()), clock)


@pytest.fixture(params=["memory", "redis"])
def make_room(request: pytest.FixtureRequest, redis_room: Callable[..., Room]) -> Callable[..., Room]:
    return memory_room if request.param == "memory" else redis_room


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    return make_room()


async def counts(log: ActivityLog, openid: str) -> tuple[bool, int | None, Trigger | None]:
    window = await log.window(openid)
    return window.open, window.messages_left, window.trigger


# --- times -----------------------------------------------------------------------------------------------------


async def test_a_user_who_never_came_is_unknown(room: Room) -> None:
    """Nothing is known of a user without a push, and nothing may be sent."""
    assert await room.log.get(ANNA) is None
    assert await room.log.window(ANNA) == CustomWindow(open=False, seconds_left=0.0, messages_left=0, trigger=None)


@pytest.mark.parametrize("msg_type", ["text", "image", "voice", "video", "shortvideo", "location", "link", "new_kind"])
async def test_every_message_is_writing(room: Room, msg_type: str) -> None:
    """The time of the last message is the platform's, for every kind of message."""
    await room.log.record(FakePush(ANNA, room.now - 5, msg_type))
    assert await room.log.get(ANNA) == UserActivity(ANNA, last_message_at=instant(room.now - 5))
    assert (await room.log.window(ANNA)).trigger == "message"


async def test_an_event_is_not_writing(room: Room) -> None:
    """An event moves the time of events and opens nothing by itself."""
    await room.log.record(event(ANNA, room.now - 5, "LOCATION"))
    assert await room.log.get(ANNA) == UserActivity(ANNA, last_event_at=instant(room.now - 5))
    assert not (await room.log.window(ANNA)).open


@pytest.mark.parametrize("msg_type", ["device_event", "device_text"])
async def test_hardware_is_not_the_user(room: Room, msg_type: str) -> None:
    """What a bound device reports is not writing."""
    await room.log.record(FakePush(ANNA, room.now - 5, msg_type, event="bind"))
    assert await room.log.get(ANNA) == UserActivity(ANNA, last_event_at=instant(room.now - 5))


@pytest.mark.parametrize("name", ["TEMPLATESENDJOBFINISH", "MASSSENDJOBFINISH", "kf_create_session", "annual_renew"])
async def test_what_the_platform_reports_is_not_the_user(room: Room, name: str) -> None:
    """Results of jobs, sessions of the staff and notices about the account say nothing about a user."""
    await room.log.record(event(ANNA, room.now - 5, name))
    assert await room.log.get(ANNA) is None


async def test_users_do_not_mix(room: Room) -> None:
    """What one user does says nothing of another."""
    await room.log.record(text(ANNA, room.now - 5))
    await room.log.record(event(BERT, room.now - 4, "unsubscribe"))
    assert (await room.log.window(ANNA)).open
    assert (await room.log.get(BERT)) == UserActivity(
        BERT, last_event_at=instant(room.now - 4), unsubscribed_at=instant(room.now - 4)
    )


async def test_follow_and_leave(room: Room) -> None:
    """Following is known after a follow, over after a leave, and back after the next follow."""
    await room.log.record(text(ANNA, room.now - 100))
    states = [(await room.log.get(ANNA) or UserActivity("")).following]
    for seconds, name in [(90, "subscribe"), (80, "unsubscribe"), (70, "subscribe")]:
        await room.log.record(event(ANNA, room.now - seconds, name, key=""))
        states.append((await room.log.get(ANNA) or UserActivity("")).following)
    assert states == [None, True, False, True]
    assert await room.log.get(ANNA) == UserActivity(
        ANNA, instant(room.now - 100), instant(room.now - 70), instant(room.now - 70), instant(room.now - 80)
    )


async def test_an_old_leave_does_not_win(room: Room) -> None:
    """A leave that arrives late, after the follow that came after it, changes neither following nor the windows."""
    await room.log.record(event(ANNA, room.now - 10, "subscribe"))
    await room.log.record(event(ANNA, room.now - 30, "unsubscribe"))
    assert (await room.log.get(ANNA) or UserActivity("")).following is True
    assert await counts(room.log, ANNA) == (True, 3, "follow")


async def test_a_follow_wins_within_one_second(room: Room) -> None:
    """A leave and a follow of the same second mean that the user follows."""
    await room.log.record(event(ANNA, room.now - 10, "subscribe"))
    await room.log.record(event(ANNA, room.now - 10, "unsubscribe"))
    assert (await room.log.get(ANNA) or UserActivity("")).following is True
    assert await counts(room.log, ANNA) == (True, 3, "follow")


@pytest.mark.parametrize("name", ["subscribe", "Subscribe", "SUBSCRIBE"])
async def test_names_of_events_in_any_spelling(room: Room, name: str) -> None:
    """The spelling of an event's name does not matter."""
    await room.log.record(event(ANNA, room.now - 10, name))
    assert (await room.log.get(ANNA) or UserActivity("")).following is True


@pytest.mark.parametrize("create_time", [0, -5, 2**62])
async def test_a_time_that_cannot_be_counts_as_now(room: Room, create_time: int) -> None:
    """A missing time, and one in the far future, count as the time of the log's clock."""
    await room.log.record(FakePush(ANNA, create_time, "text"))
    user = await room.log.get(ANNA)
    assert user is not None
    assert user.last_message_at is not None
    assert 0 <= user.last_message_at.timestamp() - room.now <= PATIENCE
    assert (await room.log.window(ANNA)).seconds_left <= 2 * DAY


async def test_the_future_buys_no_time(room: Room) -> None:
    """A push from a clock that is an hour ahead opens a window no longer than the rule."""
    await room.log.record(event(ANNA, room.now + HOUR, "CLICK", "k"))
    window = await room.log.window(ANNA)
    assert window.open
    assert window.seconds_left <= 60


async def test_the_future_does_not_stick() -> None:
    """A push from the future does not keep its window open once it should have ended."""
    room = memory_room()
    await room.log.record(event(ANNA, room.now + HOUR, "CLICK", "k"))
    room.clock.seconds += 61
    assert not (await room.log.window(ANNA)).open


@pytest.mark.parametrize("openid", ["", "o" * 129])
async def test_impossible_openids_leave_nothing(room: Room, openid: str) -> None:
    """A push without a usable sender leaves no user behind."""
    await room.log.record(text(openid, room.now - 5))
    await room.log.record_paid(openid)
    await room.log.record_sent(openid)
    assert await room.log.get(openid) is None


async def test_forget_removes_a_user(room: Room) -> None:
    """Nothing is left of a user who is forgotten, and nobody else is touched."""
    await room.log.record(text(ANNA, room.now - 5))
    await room.log.record(text(BERT, room.now - 5))
    await room.log.forget(ANNA)
    await room.log.forget("o-nobody")
    assert await room.log.get(ANNA) is None
    assert not (await room.log.window(ANNA)).open
    assert await room.log.get(BERT) is not None


# --- windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPENING_EVENTS)
async def test_a_tap_that_allows_messages(room: Room, name: str) -> None:
    """Click and the two scan buttons allow 3 messages in a minute."""
    await room.log.record(event(ANNA, room.now, name, "k"))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 3, "menu")
    assert window.seconds_left == room.about(60)


@pytest.mark.parametrize("name", sorted({*MENU_EVENTS} - {*OPENING_EVENTS}))
async def test_a_tap_that_allows_nothing(room: Room, name: str) -> None:
    """The other buttons allow no message."""
    await room.log.record(event(ANNA, room.now, name, "k"))
    assert not (await room.log.window(ANNA)).open


async def test_writing_allows_messages(room: Room) -> None:
    """Whoever writes may be sent 5 messages in 48 hours."""
    await room.log.record(text(ANNA, room.now - 47 * HOUR))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 5, "message")
    assert window.seconds_left == room.about(HOUR)


async def test_a_window_ends(room: Room) -> None:
    """After its time a window is closed, with no messages left."""
    await room.log.record(text(ANNA, room.now - 2 * DAY - 1))
    await room.log.record(event(ANNA, room.now - 61, "CLICK", "k"))
    assert await room.log.window(ANNA) == CustomWindow(open=False, seconds_left=0.0, messages_left=0, trigger=None)


async def test_a_line_of_a_menu_message_is_a_tap(room: Room) -> None:
    """A text with bizmsgmenuid is the last message, but it allows what a tap allows."""
    await room.log.record(text(ANNA, room.now, bizmsgmenuid="101"))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 3, "menu")
    assert window.seconds_left == room.about(60)
    assert (await room.log.get(ANNA) or UserActivity("")).last_message_at == instant(room.now)
    assert await room.log.menus() == []


async def test_an_empty_bizmsgmenuid_is_writing(room: Room) -> None:
    """An empty element changes nothing about a text."""
    await room.log.record(text(ANNA, room.now, bizmsgmenuid=""))
    assert await counts(room.log, ANNA) == (True, 5, "message")


async def test_following_allows_messages(room: Room) -> None:
    """A follow allows 3 messages in a minute."""
    await room.log.record(event(ANNA, room.now, "subscribe", ""))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 3, "follow")
    assert window.seconds_left == room.about(60)


async def test_scanning_allows_messages(room: Room) -> None:
    """A scan by a follower allows 3 messages in a minute."""
    await room.log.record(event(ANNA, room.now, "SCAN", "7"))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 3, "scan")
    assert window.seconds_left == room.about(60)


@pytest.mark.parametrize(("key", "trigger"), [("qrscene_7", "scan"), ("last_trade_no_4200", None), (None, None)])
async def test_following_through_a_code_is_a_scan_too(
    make_room: Callable[..., Room], key: str | None, trigger: Trigger | None
) -> None:
    """A follow counts as a scan when, and only when, its key names a scene."""
    room = make_room(allowances={"scan": ALLOWANCES_2023["scan"]})
    await room.log.record(event(ANNA, room.now, "subscribe", key))
    assert (await room.log.window(ANNA)).trigger == trigger


async def test_paying_allows_messages(room: Room) -> None:
    """A payment allows any number of messages in 48 hours."""
    await room.log.record_paid(ANNA)
    await room.log.record_sent(ANNA, 50)
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, None, "pay")
    assert window.seconds_left == room.about(2 * DAY)
    assert await room.log.get(ANNA) == UserActivity(ANNA)


async def test_allowances_do_not_add_up(room: Room) -> None:
    """Two open windows allow what the better one allows; a sent message counts against both."""
    await room.log.record(event(ANNA, room.now - 20, "CLICK", "k"))
    await room.log.record(text(ANNA, room.now - 10))
    left = [await counts(room.log, ANNA)]
    for _ in range(5):
        await room.log.record_sent(ANNA)
        left.append(await counts(room.log, ANNA))
    assert left == [(True, most, "message") for most in (5, 4, 3, 2, 1)] + [(False, 0, "message")]


async def test_a_tap_allows_more_when_the_messages_are_used_up(room: Room) -> None:
    """With all messages of the long window gone, a later tap opens its own."""
    await room.log.record(text(ANNA, room.now - 100))
    await room.sent_ago(ANNA, 50, 5)
    assert await counts(room.log, ANNA) == (False, 0, "message")
    await room.log.record(event(ANNA, room.now - 10, "CLICK", "k"))
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 3, "menu")
    assert window.seconds_left == room.about(50)


async def test_the_most_that_may_be_sent_now(room: Room) -> None:
    """The number is that of the window with most left, the time that of the one that lasts longest."""
    await room.log.record(text(ANNA, room.now - 100))
    await room.sent_ago(ANNA, 50, 4)
    await room.log.record(event(ANNA, room.now - 10, "CLICK", "k"))
    assert await counts(room.log, ANNA) == (True, 3, "message")


async def test_writing_again_allows_anew(room: Room) -> None:
    """A message sent before the user wrote again does not count any more."""
    await room.log.record(text(ANNA, room.now - 100))
    await room.sent_ago(ANNA, 50, 5)
    await room.log.record(text(ANNA, room.now - 10))
    assert await counts(room.log, ANNA) == (True, 5, "message")


async def test_an_old_push_allows_nothing_anew(room: Room) -> None:
    """A push that arrives late gives nothing back of what was sent."""
    await room.log.record(text(ANNA, room.now - 10))
    await room.log.record_sent(ANNA, 2)
    await room.log.record(text(ANNA, room.now - 60))
    assert await counts(room.log, ANNA) == (True, 3, "message")
    assert (await room.log.get(ANNA) or UserActivity("")).last_message_at == instant(room.now - 10)


async def test_a_push_that_overtook_an_answer(room: Room) -> None:
    """What was sent after the act counts, even if the log heard of the act later."""
    await room.log.record(text(ANNA, room.now - 100))
    await room.sent_ago(ANNA, 40, 2)
    await room.log.record(text(ANNA, room.now - 60))
    assert await counts(room.log, ANNA) == (True, 3, "message")


async def test_leaving_closes_every_window(room: Room) -> None:
    """After a leave nothing may be sent, whatever was open, until the user does something again."""
    for push in (
        text(ANNA, room.now - 30),
        event(ANNA, room.now - 30, "subscribe", "qrscene_1"),
        event(ANNA, room.now - 30, "CLICK", "k"),
        event(ANNA, room.now - 20, "unsubscribe"),
    ):
        await room.log.record(push)
    assert await room.log.window(ANNA) == CustomWindow(open=False, seconds_left=0.0, messages_left=0, trigger=None)
    await room.log.record(event(ANNA, room.now - 10, "subscribe"))
    assert await counts(room.log, ANNA) == (True, 3, "follow")


async def test_leaving_closes_what_opened_in_the_same_second(room: Room) -> None:
    """Whoever writes and leaves within a second has left."""
    await room.log.record(text(ANNA, room.now - 20))
    await room.log.record(event(ANNA, room.now - 20, "unsubscribe"))
    assert not (await room.log.window(ANNA)).open


async def test_an_answer_may_be_recorded_before_its_push(room: Room) -> None:
    """A message to a user nobody knows yet is no activity of theirs, but it counts once the push is recorded."""
    await room.sent_ago(ANNA, 5, 2)
    assert await room.log.get(ANNA) is None
    assert not (await room.log.window(ANNA)).open
    await room.log.record(text(ANNA, room.now - 10))
    assert await counts(room.log, ANNA) == (True, 3, "message")


async def test_the_latest_messages_are_kept(room: Room) -> None:
    """However many messages went out before, the latest are those that count."""
    await room.log.record(text(ANNA, room.now - 10))
    await room.sent_ago(ANNA, 100, 9)
    await room.log.record_sent(ANNA, 2)
    assert await counts(room.log, ANNA) == (True, 3, "message")


async def test_sending_at_the_same_time(room: Room) -> None:
    """Messages that many tasks send at once are all counted."""
    await room.log.record(text(ANNA, room.now - 10))
    await asyncio.gather(*(room.log.record_sent(ANNA) for _ in range(4)))
    assert (await room.log.window(ANNA)).messages_left == 1
    await asyncio.gather(*(room.log.record_sent(ANNA, 3) for _ in range(20)))
    assert await counts(room.log, ANNA) == (False, 0, "message")


async def test_other_rules(make_room: Callable[..., Room]) -> None:
    """The table of the constructor is the rule: numbers, seconds, and acts that allow nothing."""
    room = make_room(allowances={"message": Allowance(20, DAY), "menu": Allowance(0, 60.0)})
    await room.log.record(text(ANNA, room.now - 23 * HOUR))
    await room.log.record(event(ANNA, room.now, "subscribe"))
    await room.log.record_sent(ANNA, 15)
    window = await room.log.window(ANNA)
    assert (window.open, window.messages_left, window.trigger) == (True, 5, "message")
    assert window.seconds_left == room.about(HOUR)
    await room.log.record(event(BERT, room.now, "CLICK", "k"))
    assert await counts(room.log, BERT) == (False, 0, "menu")


async def test_no_rules_at_all(make_room: Callable[..., Room]) -> None:
    """An empty table allows nothing, and sending is still no error."""
    room = make_room(allowances={})
    await room.log.record(text(ANNA, room.now))
    await room.log.record_sent(ANNA)
    assert await counts(room.log, ANNA) == (False, 0, None)


# --- menus -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MENU_EVENTS, "click", "View"])
async def test_taps_are_counted(room: Room, name: str) -> None:
    """Every menu event counts as a tap on its key."""
    await room.log.record(event(ANNA, room.now - 20, name, "price list 价格"))
    await room.log.record(event(BERT, room.now - 10, name, "price list 价格"))
    assert await room.log.menu("price list 价格") == MenuKeyActivity("price list 价格", 2, instant(room.now - 10))


async def test_an_old_tap_counts_and_moves_nothing_back(room: Room) -> None:
    """A tap that arrives late is counted; the last tap stays the last."""
    await room.log.record(event(ANNA, room.now - 10, "CLICK", "k"))
    await room.log.record(event(ANNA, room.now - 20, "CLICK", "k"))
    assert await room.log.menu("k") == MenuKeyActivity("k", 2, instant(room.now - 10))


@pytest.mark.parametrize("outcome", ["ok", "error", "no_handler", "late"])
async def test_every_outcome_is_counted(room: Room, outcome: Outcome) -> None:
    """Each outcome has its own number."""
    push = event(ANNA, room.now - 10, "CLICK", "k")
    for _ in range(3):
        await room.log.record(push)
    for _ in range(2):
        await room.log.record_outcome(push, outcome)
    assert await room.log.menu("k") == MenuKeyActivity("k", 3, instant(room.now - 10), **{outcome: 2})


async def test_an_outcome_without_a_tap(room: Room) -> None:
    """An outcome is not lost when the tap was not recorded."""
    await room.log.record_outcome(event(ANNA, room.now - 10, "CLICK", "k"), "error")
    assert await room.log.menu("k") == MenuKeyActivity("k", 0, instant(room.now - 10), error=1)


async def test_only_taps_have_outcomes(room: Room) -> None:
    """Messages, other events and taps without a key leave no button behind."""
    for push in (
        text(ANNA, room.now),
        FakePush(ANNA, room.now, "text", event="CLICK", key="k"),
        event(ANNA, room.now, "subscribe", "qrscene_1"),
        event(ANNA, room.now, "SCAN", "k"),
        event(ANNA, room.now, "CLICK", ""),
        event(ANNA, room.now, "CLICK"),
    ):
        await room.log.record(push)
        await room.log.record_outcome(push, "ok")
    assert await room.log.menus() == []
    assert await room.log.menu("k") is None


async def test_an_unknown_outcome_is_refused(room: Room) -> None:
    """A mistyped outcome is an error, not a lost count."""
    with pytest.raises(ConfigError) as caught:
        await room.log.record_outcome(event(ANNA, room.now, "CLICK", "k"), "okay")  # type: ignore[arg-type]
    assert caught.value.field == "outcome"


async def test_menus_are_sorted(room: Room) -> None:
    """The list has the most tapped button first, and equals by their key."""
    for key, taps in [("b", 1), ("c", 3), ("a", 1)]:
        for _ in range(taps):
            await room.log.record(event(ANNA, room.now, "CLICK", key))
    assert [(one.key, one.taps) for one in await room.log.menus()] == [("c", 3), ("a", 1), ("b", 1)]


async def test_menu_keys_are_bounded(make_room: Callable[..., Room]) -> None:
    """With too many keys the one that was touched longest ago goes; a tap or an outcome touches."""
    room = make_room(max_menu_keys=3)
    for key in ("a", "b", "c", "a"):
        await room.log.record(event(ANNA, room.now, "VIEW", key))
    await room.log.record_outcome(event(ANNA, room.now, "VIEW", "b"), "ok")
    await room.log.record(event(ANNA, room.now, "VIEW", "d"))
    assert [(one.key, one.taps) for one in await room.log.menus()] == [("a", 2), ("b", 1), ("d", 1)]
    for number in range(30):
        await room.log.record(event(ANNA, room.now, "VIEW", f"https://example.com/{number}"))
    assert len(await room.log.menus()) == 3


@pytest.mark.parametrize("key", ["x" * 5000, "文" * 3000, "\ud800 half a pair", "a\x00b\nc d", "{}*:?"])
async def test_odd_keys(room: Room, key: str) -> None:
    """Long, broken and strange keys are counted under a key of bounded length, and are found by their own text."""
    for _ in range(2):
        await room.log.record(event(ANNA, room.now - 10, "VIEW", key))
    found = await room.log.menu(key)
    assert found is not None
    assert found.taps == 2
    assert len(found.key.encode()) <= 2048
    assert await room.log.menus() == [found]


async def test_menu_keys_expire(make_room: Callable[..., Room]) -> None:
    """A button whose last tap is too long ago is not there any more, and starts from nothing."""
    room = make_room(menu_ttl=1000.0)
    await room.log.record(event(ANNA, room.now - 1001, "CLICK", "old"))
    await room.log.record(event(ANNA, room.now - 800, "CLICK", "new"))
    assert await room.log.menu("old") is None
    assert [one.key for one in await room.log.menus()] == ["new"]
    await room.log.record(event(ANNA, room.now, "CLICK", "old"))
    assert await room.log.menu("old") == MenuKeyActivity("old", 1, instant(room.now))


# --- any order, any arguments ----------------------------------------------------------------------------------

#: Ages of pushes. None is near the end of a window, so that a slow test machine changes nothing.
AGES = st.sampled_from([1, 2, 3, 20, 25, 200, 300, 40 * 3600, 50 * 3600])
PUSHES = st.lists(
    st.tuples(
        AGES,
        st.sampled_from(
            [
                *[("text", None, None, {}), ("text", None, None, {"bizmsgmenuid": "1"})],
                *[("event", "subscribe", "qrscene_1", {}), ("event", "subscribe", "", {})],
                *[("event", "unsubscribe", "", {}), ("event", "SCAN", "1", {}), ("event", "LOCATION", None, {})],
                *[("event", "CLICK", "a", {}), ("event", "scancode_push", "b", {}), ("event", "VIEW", "b", {})],
                ("event", "TEMPLATESENDJOBFINISH", None, {}),
            ]
        ),
    ),
    max_size=12,
)


def what_is_left(
    log: ActivityLog, pushes: list[FakePush]
) -> tuple[UserActivity | None, CustomWindow, list[MenuKeyActivity]]:
    async def run() -> tuple[UserActivity | None, CustomWindow, list[MenuKeyActivity]]:
        for push in pushes:
            await log.record(push)
        result = await log.get(ANNA), await log.window(ANNA), await log.menus()
        await log.aclose()
        return result

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["memory", "redis"])
@settings(max_examples=60, deadline=None)
@given(made=PUSHES, data=st.data())
def test_any_order_gives_the_same(
    server: GivenServer | RedisServer, kind: Kind, made: list[Any], data: st.DataObject
) -> None:
    """The same pushes in any order leave the same times, windows and taps, in Redis as in memory."""
    now = int(time.time())
    pushes = [FakePush(ANNA, now - age, kind, name, key, raw) for age, (kind, name, key, raw) in made]
    mixed = data.draw(st.permutations(pushes))
    in_order = what_is_left(
        MemoryActivityLog(clock=lambda: now + 0.5), sorted(pushes, key=lambda push: push.create_time)
    )
    log: ActivityLog = (
        MemoryActivityLog(clock=lambda: now + 0.5)
        if kind == "memory"
        else RedisActivityLog(server.url, appid=APPID, prefix=new_prefix(), timeout=5.0)
    )
    user, window, menus = what_is_left(log, mixed)
    assert (user, menus) == (in_order[0], in_order[2])
    assert attrs.evolve(window, seconds_left=0.0) == attrs.evolve(in_order[1], seconds_left=0.0)
    assert window.seconds_left == pytest.approx(in_order[1].seconds_left, abs=PATIENCE)


@pytest.mark.parametrize("count", [0, -1, True, 1.5])
async def test_a_count_is_a_number_of_messages(room: Room, count: Any) -> None:
    """Sending nothing, or half a message, is an error."""
    with pytest.raises(ConfigError) as caught:
        await room.log.record_sent(ANNA, count)
    assert caught.value.field == "count"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("ttl", bad) for bad in (0, -1.0, math.inf, math.nan, "1", True)],
        *[("menu_ttl", bad) for bad in (0, math.inf)],
        *[("max_menu_keys", bad) for bad in (0, 1.5, True)],
        *[("allowances", bad) for bad in ({"wrote": Allowance(1, 1.0)}, {"menu": (3, 60)})],
    ],
)
def test_arguments_that_cannot_work(
    make_room: Callable[..., Room], field: str, value: Mapping[Trigger, Allowance]
) -> None:
    """A wrong argument is named at once."""
    with pytest.raises(ConfigError) as caught:
        make_room(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("messages", "seconds", "field"),
    [(-1, 60.0, "messages"), (1001, 60.0, "messages"), (True, 60.0, "messages"), (3, 0.0, "seconds")],
)
def test_an_allowance_makes_sense(messages: int, seconds: float, field: str) -> None:
    """An allowance has a number of messages and some seconds."""
    with pytest.raises(ConfigError) as caught:
        Allowance(messages, seconds)
    assert caught.value.field == field


def test_the_rules_of_2023() -> None:
    """The default table is the platform's since June 2023."""
    assert {trigger: (rule.messages, rule.seconds) for trigger, rule in ALLOWANCES_2023.items()} == {
        "message": (5, 172_800.0),
        "menu": (3, 60.0),
        "follow": (3, 60.0),
        "scan": (3, 60.0),
        "pay": (None, 172_800.0),
    }


async def test_a_log_may_be_closed_twice_and_used_again(room: Room) -> None:
    """Closing is harmless, and nothing is forgotten."""
    await room.log.record(text(ANNA, room.now))
    await room.log.aclose()
    await room.log.aclose()
    assert await room.log.get(ANNA) is not None


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.untraced
async def test_memory_stays_bounded() -> None:
    """A million users leave no more than were asked for."""
    log = MemoryActivityLog(max_users=1000, clock=Clock())
    for number in range(1_000_000):
        await log.record(FakePush(f"o{number}", 1_789_999_999, "text"))
    assert repr(log) == "MemoryActivityLog(1000 users, 0 menu keys)"
    assert await log.get("o998999") is None
    assert await log.get("o999000") is not None


async def test_who_was_touched_longest_ago_goes_first() -> None:
    """A push keeps its user; looking at one does not."""
    room = memory_room(max_users=2)
    for openid in (ANNA, BERT, ANNA):
        await room.log.record(text(openid, room.now))
    assert await room.log.get(BERT) is not None
    await room.log.record(text("oCarl", room.now))
    assert await room.log.get(BERT) is None
    assert await room.log.get(ANNA) is not None


async def test_users_in_memory_expire() -> None:
    """A user is forgotten some time after the last push, and starts from nothing then."""
    room = memory_room(ttl=100.0)
    await room.log.record(event(ANNA, room.now, "subscribe"))
    room.clock.seconds += 99
    assert await room.log.get(ANNA) is not None
    room.clock.seconds += 1
    assert await room.log.get(ANNA) is None
    assert not (await room.log.window(ANNA)).open
    await room.log.record(text(ANNA, room.clock()))
    assert await room.log.get(ANNA) == UserActivity(ANNA, last_message_at=instant(room.clock()))


async def test_expired_users_free_their_memory() -> None:
    """Users who expired go with the next pushes, whoever these are from."""
    room = memory_room(ttl=100.0)
    for number in range(10):
        await room.log.record(text(f"o{number}", room.now))
    room.clock.seconds += 100
    for _ in range(5):
        await room.log.record(text(ANNA, room.clock()))
    assert repr(room.log) == "MemoryActivityLog(1 users, 0 menu keys)"


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_a_number_of_users_makes_sense(value: Any) -> None:
    """There is room for one user at least."""
    with pytest.raises(ConfigError) as caught:
        MemoryActivityLog(max_users=value)
    assert caught.value.field == "max_users"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_does_not_inherit_a_held_lock() -> None:
    """A child process can use the log even if a thread of its parent was in the middle of it."""
    log = MemoryActivityLog()
    with log._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if log._lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- Redis -----------------------------------------------------------------------------------------------------


async def test_redis_names_no_openid(redis_room: Callable[..., Room]) -> None:
    """No key name and no value holds an openid, and all keys of an account are in one slot."""
    room = redis_room()
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    await room.log.record_sent(ANNA)
    names = [name.decode() for name in room.command("KEYS", f"{room.prefix}:*")]
    assert sorted(names) == sorted([room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen")])
    assert ANNA not in repr([*names, room.command("HGETALL", room.user_key(ANNA))])


async def test_redis_keys_expire(redis_room: Callable[..., Room]) -> None:
    """Every key has a time to live: users 180 days after their last push, buttons 400 days after the last tap."""
    room = redis_room()
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    await room.log.record_outcome(event(ANNA, room.now, "CLICK", "k"), "ok")
    await room.log.record_sent(ANNA)
    lives = [room.command("PTTL", key) for key in (room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen"))]
    assert lives == pytest.approx([days * DAY * 1000 for days in (180, 400, 400)], abs=PATIENCE * 1000)


async def test_redis_sets_the_given_lives(redis_room: Callable[..., Room]) -> None:
    """The times to live are those of the constructor, and each push renews them."""
    room = redis_room(ttl=1000.0, menu_ttl=2000.0)
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    for key in (room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen")):
        room.command("PEXPIRE", key, 60_000)
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    lives = [room.command("PTTL", key) for key in (room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen"))]
    assert lives == pytest.approx([1_000_000, 2_000_000, 2_000_000], abs=PATIENCE * 1000)


async def test_a_user_known_by_a_message_only_expires(redis_room: Callable[..., Room]) -> None:
    """The record that a message to an unknown user leaves has a time to live too."""
    room = redis_room(ttl=1000.0)
    await room.log.record_sent(ANNA)
    assert 0 < room.command("PTTL", room.user_key(ANNA)) <= 1_000_000


async def test_sending_does_not_prolong_a_user(redis_room: Callable[..., Room]) -> None:
    """What we send is no activity of the user; only a key without an end gets one."""
    room = redis_room()
    await room.log.record(text(ANNA, room.now))
    room.command("PEXPIRE", room.user_key(ANNA), 60_000)
    await room.log.record_sent(ANNA)
    assert room.command("PTTL", room.user_key(ANNA)) <= 60_000
    room.command("PERSIST", room.user_key(ANNA))
    await room.log.record_sent(ANNA)
    assert room.command("PTTL", room.user_key(ANNA)) > 60_000


async def test_two_workers_share_a_log(redis_room: Callable[..., Room]) -> None:
    """What one worker records, another knows; other prefixes and accounts do not."""
    prefix = new_prefix()
    one, room = redis_room(prefix=prefix), redis_room(prefix=prefix)
    assert one.server is not None
    foreign = RedisActivityLog(one.server.url, appid="wxother", prefix=prefix, timeout=5.0)
    await one.log.record(text(ANNA, one.now))
    await asyncio.gather(*(log.record_sent(ANNA) for log in (one.log, room.log)))
    assert (await room.log.window(ANNA)).messages_left == 3
    assert await foreign.get(ANNA) is None
    assert await redis_room().log.get(ANNA) is None
    await foreign.aclose()


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "-5", "1e3", "1.5", " 7", "9" * 15, "9" * 40, b"\xff\xfe", "0x10", "nan", "1;2", "12 13"],
)
async def test_garbage_in_a_user_counts_as_absent(redis_room: Callable[..., Room], garbage: str | bytes) -> None:
    """A field that is no time of ours is not there, and the next push repairs it."""
    room = redis_room()
    await room.log.record(text(ANNA, room.now - 10))
    await room.log.record_sent(ANNA)
    fields = ("wrote", "did", "followed", "left", "message", "menu", "scan", "pay", "sent")
    room.command("HSET", room.user_key(ANNA), *(part for field in fields for part in (field, garbage)))
    assert await room.log.get(ANNA) is None
    assert not (await room.log.window(ANNA)).open
    await room.log.record(text(ANNA, room.now - 10))
    await room.log.record_sent(ANNA)
    assert await room.log.get(ANNA) == UserActivity(ANNA, last_message_at=instant(room.now - 10))
    assert await counts(room.log, ANNA) == (True, 4, "message")


async def test_a_huge_field_is_not_fetched(redis_room: Callable[..., Room]) -> None:
    """A list of sent messages beyond all reason counts as absent, and the next message repairs it."""
    room = redis_room()
    await room.log.record(text(ANNA, room.now - 10))
    room.command("HSET", room.user_key(ANNA), "sent", f"{room.now}000 " * 100_000)
    assert (await room.log.window(ANNA)).messages_left == 5
    await room.log.record_sent(ANNA)
    assert (await room.log.window(ANNA)).messages_left == 4
    assert len(room.command("HGET", room.user_key(ANNA), "sent")) < 20


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "1 2", "1 2 3 4 5 6 7", "-1 5 0 0 0 0", "1 999999999999999 0 0 0 0", b"\xff 1 1 1 1 1", "1 " * 5000],
)
async def test_garbage_in_a_button_counts_as_absent(redis_room: Callable[..., Room], garbage: str | bytes) -> None:
    """A button that cannot be read is not there, and the next tap counts from nothing."""
    room = redis_room()
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    room.command("HSET", room.menu_key(), "k", garbage)
    room.command("HSET", room.menu_key(), b"\xff\xff", f"1 {room.now} 0 0 0 0")
    assert await room.log.menu("k") is None
    assert await room.log.menus() == []
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    assert await room.log.menus() == [MenuKeyActivity("k", 1, instant(room.now))]


@pytest.mark.parametrize("make", [("SET", "text"), ("RPUSH", "a"), ("SADD", "a")])
async def test_something_else_under_our_names(redis_room: Callable[..., Room], make: tuple[str, str]) -> None:
    """A key of another kind counts as absent for readers; the next push puts ours in its place."""
    room = redis_room()
    for key in (room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen")):
        room.command(make[0], key, make[1])
    assert await room.log.get(ANNA) is None
    assert not (await room.log.window(ANNA)).open
    assert await room.log.menu("k") is None
    assert await room.log.menus() == []
    await room.log.record_sent(ANNA)
    await room.log.record(event(ANNA, room.now, "CLICK", "k"))
    assert await counts(room.log, ANNA) == (True, 2, "menu")
    assert await room.log.menu("k") == MenuKeyActivity("k", 1, instant(room.now))


@pytest.mark.parametrize("lost", ["menu", "seen"])
async def test_buttons_stay_bounded_when_a_key_is_lost(redis_room: Callable[..., Room], lost: str) -> None:
    """A server that drops one of the two keys of the buttons does not make the other one grow without end."""
    room = redis_room(max_menu_keys=5)
    for number in range(5):
        await room.log.record(event(ANNA, room.now, "VIEW", f"{number}"))
    room.command("DEL", room.menu_key(lost))
    for number in range(5, 20):
        await room.log.record(event(ANNA, room.now, "VIEW", f"{number}"))
    assert room.command("HLEN", room.menu_key()) == room.command("ZCARD", room.menu_key("seen")) == 5
    assert sorted(one.key for one in await room.log.menus()) == ["15", "16", "17", "18", "19"]


async def test_a_rebuilt_order_spares_the_button_just_tapped(redis_room: Callable[..., Room]) -> None:
    """A tap that arrives late, right after a key was lost, does not push out its own button."""
    room = redis_room(max_menu_keys=2)
    for key in ("a", "b"):
        await room.log.record(event(ANNA, room.now, "VIEW", key))
    room.command("DEL", room.menu_key("seen"))
    await room.log.record(event(ANNA, room.now - 1000, "VIEW", "late"))
    assert "late" in [one.key for one in await room.log.menus()]


async def test_a_lower_bound_takes_hold(redis_room: Callable[..., Room]) -> None:
    """A new, lower number of buttons is reached within a few taps."""
    room = redis_room()
    for number in range(40):
        await room.log.record(event(ANNA, room.now, "VIEW", f"{number}"))
    smaller = redis_room(prefix=room.prefix, max_menu_keys=2)
    for _ in range(3):
        await smaller.log.record(event(ANNA, room.now, "VIEW", "39"))
    assert room.command("HLEN", room.menu_key()) == 2


async def test_expired_buttons_are_removed(redis_room: Callable[..., Room]) -> None:
    """The next tap on any button removes those that expired."""
    room = redis_room(menu_ttl=1000.0)
    await room.log.record(event(ANNA, room.now, "VIEW", "old"))
    room.command("ZINCRBY", room.menu_key("seen"), -1_001_000_000, "old")
    await room.log.record(event(ANNA, room.now, "VIEW", "new"))
    assert room.command("HKEYS", room.menu_key()) == room.command("ZRANGE", room.menu_key("seen"), 0, -1) == [b"new"]


async def test_every_verb_is_one_round_trip(own_server: RedisServer) -> None:
    """Once the scripts are known, a verb sends one command."""
    log = RedisActivityLog(own_server.url, appid=APPID, timeout=5.0)
    now = int(time.time())
    push = event(ANNA, now, "CLICK", "k")

    async def every_verb() -> None:
        await log.record(push)
        await log.record_outcome(push, "ok")
        await log.record_sent(ANNA)
        await log.record_paid(ANNA)
        await log.get(ANNA)
        await log.window(ANNA)
        await log.menu("k")
        await log.menus()
        await log.forget("o-nobody")

    await every_verb()  # connects, loads the scripts
    own_server.command("CONFIG", "RESETSTAT")
    await every_verb()
    stats = own_server.command("INFO", "commandstats").decode()
    calls = {
        line.split(":")[0]: line.split("calls=")[1].split(",")[0] for line in stats.splitlines() if "calls=" in line
    }
    assert calls["cmdstat_evalsha"] == "9"
    assert "cmdstat_eval" not in calls
    await log.aclose()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer() as started:
        yield started


async def test_the_acl_rule_is_enough(own_server: RedisServer) -> None:
    """The rule in the docstring allows every verb, repairs included."""
    doc = RedisActivityLog.__doc__ or ""
    rule = doc[doc.index("ACL SETUSER") :].split("\n\n")[0].split()
    own_server.command(*rule)
    log = RedisActivityLog(f"redis://wxmp:password@127.0.0.1:{own_server.port}/0", appid=APPID, timeout=5.0)
    room = Room("redis", log, int(time.time()), Clock(), "wxmp", own_server)
    push = event(ANNA, room.now, "CLICK", "k")
    for kind in ("SET", "none"):
        for key in (room.user_key(ANNA), room.menu_key("menu"), room.menu_key("seen")):
            if kind == "SET":
                own_server.command("SET", key, "text")
        await log.record(push)
        await log.record_outcome(push, "ok")
        await log.record_sent(ANNA)
        assert (await log.window(ANNA)).open
        assert await log.get(ANNA) is not None
        assert await log.menu("k") is not None
        own_server.command("DEL", room.menu_key("seen"))
    small = RedisActivityLog(
        f"redis://wxmp:password@127.0.0.1:{own_server.port}/0", appid=APPID, timeout=5.0, max_menu_keys=1
    )
    await small.record(event(ANNA, room.now, "CLICK", "l"))
    assert [one.key for one in await small.menus()] == ["l"]
    await small.forget(ANNA)
    assert await small.get(ANNA) is None
    await log.aclose()
    await small.aclose()


async def test_a_server_that_lost_everything(own_server: RedisServer) -> None:
    """After a restart the log goes on, from nothing."""
    log = RedisActivityLog(own_server.url, appid=APPID, timeout=5.0)
    await log.record(text(ANNA, time.time()))
    own_server.restart_empty()
    assert await log.get(ANNA) is None
    await log.record(text(ANNA, time.time()))
    assert (await log.window(ANNA)).open
    await log.aclose()


async def test_a_server_that_does_not_answer() -> None:
    """A dead server is a WebhookStoreError within the time limit, without openid, key or password."""
    with BlackHole() as hole:
        url = f"redis://:s3cret@127.0.0.1:{hole.port}/0"
        log = RedisActivityLog(url, appid=APPID, timeout=0.1)
        verbs: list[Callable[[], Any]] = [
            lambda: log.record(event(ANNA, 1, "CLICK", "my-key")),
            lambda: log.record_outcome(event(ANNA, 1, "CLICK", "my-key"), "ok"),
            lambda: log.record_sent(ANNA),
            lambda: log.record_paid(ANNA),
            lambda: log.get(ANNA),
            lambda: log.window(ANNA),
            lambda: log.menu("my-key"),
            log.menus,
            lambda: log.forget(ANNA),
        ]
        for verb in verbs:
            started = time.monotonic()
            with pytest.raises(WebhookStoreError) as caught:
                await verb()
            assert time.monotonic() - started < 5
            assert caught.value.store == "redis"
            assert caught.value.__cause__ is not None
            said = f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {log!r}"
            assert not any(word in said for word in (ANNA, "my-key", "s3cret"))
        await log.aclose()


@pytest.mark.parametrize("appid", ["", "a" * 65, "wx}x", "wx:1", "wx\n", 7])
def test_an_appid_fits_into_a_key(appid: Any) -> None:
    """An appid that could break out of its place in a key is refused."""
    with pytest.raises(ConfigError) as caught:
        RedisActivityLog("redis://localhost", appid=appid)
    assert caught.value.field == "appid"
