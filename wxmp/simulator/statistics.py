"""Daily numbers (数据统计): counted where things happen, read by the datacube endpoints.

Nothing here may import ``state``, which holds the records. Days and hours are those of Shanghai.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator.clock import SHANGHAI

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp.simulator.state import Account, Attempt, User
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = [
    "Day",
    "Replies",
    "Sharing",
    "Statistics",
    "count_attempt",
    "count_follow",
    "count_message",
    "count_share",
    "day_end",
    "day_of",
    "days",
    "followers_at",
]

MESSAGE_TYPES: Final = {"text": 1, "image": 2, "voice": 3, "video": 4, "shortvideo": 4}
OTHER_MESSAGE: Final = 6


@attrs.define
class Replies:
    """What the developer's server did with pushes, within an hour; times are milliseconds."""

    count: int = 0
    fails: int = 0
    total: int = 0
    longest: int = 0


@attrs.define
class Sharing:
    """Who shared articles in one hour, in one way: how often, by openid."""

    article: str
    hour: int
    scene: int
    users: dict[str, int] = attrs.field(factory=dict[str, int])


@attrs.define
class Day:
    """One day of an account.

    Attributes:
        gained: New followers by source.
        lost: Lost followers by the source they once came from.
        messages: How many messages of a kind a user sent, by hour, kind, openid.
        replies: The developer's server, by hour.
        shares: Articles that were shared; reads are kept by the library.
    """

    gained: dict[int, int] = attrs.field(factory=dict[int, int])
    lost: dict[int, int] = attrs.field(factory=dict[int, int])
    messages: dict[int, dict[int, dict[str, int]]] = attrs.field(factory=dict[int, dict[int, dict[str, int]]])
    replies: dict[int, Replies] = attrs.field(factory=dict[int, Replies])
    shares: list[Sharing] = attrs.field(factory=list[Sharing])


@attrs.define
class Statistics:
    """The days of an account, by ISO date; and when each user came, left, came again."""

    days: dict[str, Day] = attrs.field(factory=dict[str, Day])
    turns: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])

    def at(self, now: float) -> tuple[Day, int]:
        """Return the record of the running day, and the hour."""
        moment = datetime.fromtimestamp(now, SHANGHAI)
        return self.days.setdefault(moment.date().isoformat(), Day()), moment.hour


def day_of(now: float) -> date:
    """Return the day a moment belongs to."""
    return datetime.fromtimestamp(now, SHANGHAI).date()


def day_end(day: date) -> float:
    """Return when a day is over."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(days=1)
    return midnight.astimezone(UTC).timestamp()


def days(first: date, last: date) -> Iterable[date]:
    """Return the days from one to another, both included."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


# --- counting -----------------------------------------------------------------------------------------------------


def count_follow(world: World, account: Account, user: User, now: float, *, gained: bool) -> None:
    """Count a follower who came or left."""
    day, _hour = account.statistics.at(now)
    source = world.policy.datacube_sources.get(user.subscribe_scene, 0)
    numbers = day.gained if gained else day.lost
    numbers[source] = numbers.get(source, 0) + 1
    turns = account.statistics.turns.setdefault(user.openid, [])
    if not turns and not gained:
        # Made a follower without an event.
        turns.append(float(user.subscribe_time))
    turns.append(now)


def count_message(account: Account, openid: str, fields: JsonObject, now: float) -> None:
    """Count a message a user sent."""
    day, hour = account.statistics.at(now)
    kind = MESSAGE_TYPES.get(str(fields.get("MsgType", "")), OTHER_MESSAGE)
    users = day.messages.setdefault(hour, {}).setdefault(kind, {})
    users[openid] = users.get(openid, 0) + 1


def count_attempt(account: Account, attempt: Attempt) -> None:
    """Count a delivery to the developer's server, and how long the answer took."""
    day, hour = account.statistics.at(attempt.at)
    replies = day.replies.setdefault(hour, Replies())
    cost = round(attempt.seconds * 1000)
    replies.count += 1
    replies.fails += attempt.verdict == "broken"
    replies.total += cost
    replies.longest = max(replies.longest, cost)


def count_share(account: Account, article: str, openid: str, now: float, *, scene: int = 1) -> None:
    """Count an article that was shared: with a friend (1), in the feed (2), elsewhere (255)."""
    day, hour = account.statistics.at(now)
    for sharing in day.shares:
        if (sharing.article, sharing.hour, sharing.scene) == (article, hour, scene):
            break
    else:
        sharing = Sharing(article, hour, scene)
        day.shares.append(sharing)
    sharing.users[openid] = sharing.users.get(openid, 0) + 1


# --- looking back -------------------------------------------------------------------------------------------------


def followers_at(account: Account, moment: float) -> int:
    """Return how many followers the account had at a moment.

    Who was made a follower without an event counts from the time of following.
    """
    count = 0
    for user in account.users.values():
        turns = account.statistics.turns.get(user.openid)
        if turns is None:
            count += user.following and user.subscribe_time < moment
        else:
            count += sum(turn < moment for turn in turns) % 2
    return count
