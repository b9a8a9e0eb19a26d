"""What users did last, and what may be sent to them now (用户互动与客服消息下发额度).

The webhook feeds an :class:`ActivityLog` with every push that it handles for the first time. The log answers three
questions: when a user wrote, followed and left; how many customer-service messages may go to them, and for how long;
and what became of the taps on each menu button.
"""

from __future__ import annotations

import abc
import math
import os
import threading
import time
import weakref
from collections import OrderedDict
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, get_args

import attrs

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "ALLOWANCES_2023",
    "ActivityLog",
    "ActivityPush",
    "Allowance",
    "CustomWindow",
    "MemoryActivityLog",
    "MenuKeyActivity",
    "Outcome",
    "Trigger",
    "UserActivity",
]

#: What opens a window for customer-service messages.
Trigger: TypeAlias = Literal["message", "menu", "follow", "scan", "pay"]
#: What our handler made of a tap on a menu button (菜单事件响应状态). ``"late"``: it answered, but after the 5 s.
Outcome: TypeAlias = Literal["ok", "error", "no_handler", "late"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

DAY: Final = 86_400.0
#: A user is forgotten this many seconds after their last push. It must be longer than the longest allowance.
USER_TTL: Final = 180 * DAY
#: A menu key is forgotten this many seconds after its last tap: a year and a bit, to compare with last year.
MENU_TTL: Final = 400 * DAY
MAX_USERS: Final = 100_000
MAX_MENU_KEYS: Final = 10_000
#: Longest menu key that is told apart, in bytes of UTF-8. The platform's own limit for a URL is 1024.
MENU_KEY_MAX: Final = 2048
#: Longest openid. The platform's have 28 characters.
OPENID_MAX: Final = 128
#: Largest number of messages an allowance may have: the times of that many sent messages are kept for each user.
MESSAGES_MAX: Final = 1000


def check_seconds(value: object, *, field: str) -> float:
    """Return ``value`` if it is a positive, finite number of seconds; else raise ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{field} must be a positive number of seconds", field=field)
    return float(value)


def check_count(value: object, *, field: str, least: int = 1, most: int | None = None) -> int:
    """Return ``value`` if it is a whole number in the range; else raise ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"{least} to {most}"
        raise ConfigError(f"{field} must be a whole number, {limit}", field=field)
    return value


@attrs.frozen
class Allowance:
    """How many customer-service messages one act of a user allows, and for how many seconds (客服消息下发额度).

    Raises:
        ConfigError: ``messages`` is not 0 to 1000 or None, or ``seconds`` is not a positive number.
    """

    #: Messages; None for no limit.
    messages: int | None
    seconds: float

    def __attrs_post_init__(self) -> None:
        if self.messages is not None:
            check_count(self.messages, field="messages", least=0, most=MESSAGES_MAX)
        check_seconds(self.seconds, field="seconds")


#: The platform's rules since 2023-06-12. Allowances do not add up: one sent message counts against every open window.
ALLOWANCES_2023: Final[Mapping[Trigger, Allowance]] = MappingProxyType(
    {
        "message": Allowance(5, 2 * DAY),
        "menu": Allowance(3, 60.0),
        "follow": Allowance(3, 60.0),
        "scan": Allowance(3, 60.0),
        "pay": Allowance(None, 2 * DAY),
    }
)


@attrs.frozen
class UserActivity:
    """What a user did last (用户最后互动时间). Times are the platform's (``CreateTime``), in UTC; None: not known."""

    openid: str
    #: The user wrote: text, image, voice, location, link ...
    last_message_at: datetime | None = None
    #: The user did something else: followed, left, scanned, tapped a menu, reported a location ...
    last_event_at: datetime | None = None
    #: The last follow (关注时间).
    subscribed_at: datetime | None = None
    #: The last time the user left (取消关注时间).
    unsubscribed_at: datetime | None = None

    @property
    def following(self) -> bool | None:
        """Whether the user follows the account (是否关注); None when the log saw neither a follow nor a leave."""
        if self.subscribed_at is None:
            return None if self.unsubscribed_at is None else False
        return self.unsubscribed_at is None or self.subscribed_at >= self.unsubscribed_at


@attrs.frozen
class CustomWindow:
    """Whether customer-service messages may go to a user now (客服消息下发时限).

    What the platform itself says wins: it may know of acts that were never pushed to us.
    """

    #: A message may be sent: some window has time and messages left.
    open: bool
    #: Until the last of these windows ends; with all messages used up, until the last window ends. 0.0: there is none.
    seconds_left: float
    #: The most that any open window has left now; None: no limit.
    messages_left: int | None
    #: The act of the user that ``seconds_left`` is about.
    trigger: Trigger | None


CLOSED: Final = CustomWindow(open=False, seconds_left=0.0, messages_left=0, trigger=None)


@attrs.frozen
class MenuKeyActivity:
    """Taps on one menu button, and what our handler made of them (菜单事件响应状态)."""

    #: Key of the button; the URL or page path of a link.
    key: str
    taps: int
    last_tap_at: datetime
    ok: int = 0
    error: int = 0
    no_handler: int = 0
    late: int = 0


class ActivityPush(Protocol):
    """The part of a push that a log reads; every record of ``wxmp.webhook`` has it."""

    @property
    def from_user_name(self) -> str:
        """The user's openid."""
        ...

    @property
    def create_time(self) -> int:
        """Seconds since 1970; 0 if it is missing."""
        ...

    @property
    def msg_type(self) -> str:
        """``"event"``, or the kind of the message."""
        ...

    @property
    def event(self) -> str | None:
        """Name of the event, in any spelling."""
        ...

    @property
    def key(self) -> str | None:
        """Key of the event."""
        ...

    @property
    def raw(self) -> Mapping[str, object]:
        """All fields as received."""
        ...


class ActivityLog(abc.ABC):
    """What users did last, kept in one process or for a whole fleet (用户互动记录).

    Feed it each push once: repeated deliveries would count taps twice. Pushes may arrive in any order: an old one never
    moves a time backwards. A ``CreateTime`` that is missing or lies ahead of the log's own clock counts as now.

    A log that fails raises :class:`~wxmp.errors.WebhookStoreError`.
    """

    @abc.abstractmethod
    async def record(self, push: ActivityPush) -> None:
        """Take note of a push. What the platform reports on its own account (results of jobs, reviews) is left out."""

    @abc.abstractmethod
    async def record_outcome(self, push: ActivityPush, outcome: Outcome) -> None:
        """Take note of what our handler made of a menu event (菜单事件响应状态); other pushes are left out.

        Raises:
            ConfigError: There is no such outcome.
        """

    @abc.abstractmethod
    async def record_sent(self, openid: str, count: int = 1) -> None:
        """Take note of customer-service messages that went out just now (客服消息).

        The webhook does so for its late answers. Call it for your own, or :meth:`window` promises too much. It may
        come before the push that allowed them is recorded.

        Raises:
            ConfigError: ``count`` is not at least 1.
        """

    @abc.abstractmethod
    async def record_paid(self, openid: str) -> None:
        """Take note of a payment that was made just now (支付成功).

        No push tells the log, because WeChat Pay notifies elsewhere. The platform allows messages after a payment to
        service accounts (服务号) only.
        """

    @abc.abstractmethod
    async def get(self, openid: str) -> UserActivity | None:
        """Return what a user did last (用户最后互动时间, 关注时间); None when nothing is known."""

    @abc.abstractmethod
    async def window(self, openid: str) -> CustomWindow:
        """Return how many customer-service messages may go to a user, and for how long (客服消息下发时限)."""

    @abc.abstractmethod
    async def menu(self, key: str) -> MenuKeyActivity | None:
        """Return the taps on one button (菜单事件响应状态); None when there was none."""

    @abc.abstractmethod
    async def menus(self) -> list[MenuKeyActivity]:
        """Return the taps on all buttons (菜单事件响应状态), most tapped first."""

    @abc.abstractmethod
    async def forget(self, openid: str) -> None:
        """Delete what is known of a user (删除用户数据)."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release what the log holds. It may be used again."""


# --- what a push says; shared by all backends ------------------------------------------------------------------


Moment: TypeAlias = Literal["wrote", "did", "followed", "left", "message", "menu", "scan", "pay"]
#: The times a backend keeps for each user, in this order. The first four are shown; "followed" and the last four open
#: windows. Writing and the window of writing differ: a tap on a line of a menu message arrives as a text.
MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)

_WROTE: Final[tuple[Moment, ...]] = ("wrote", "message")
_TAPPED_LINE: Final[tuple[Moment, ...]] = ("wrote", "menu")
_DID: Final[tuple[Moment, ...]] = ("did",)
_FOLLOWED: Final[tuple[Moment, ...]] = ("did", "followed")
_FOLLOWED_BY_SCAN: Final[tuple[Moment, ...]] = ("did", "followed", "scan")
_NOTHING: Final[tuple[Moment, ...]] = ()
PAID: Final[tuple[Moment, ...]] = ("pay",)

#: Only these taps allow messages.
_EVENTS: Final[Mapping[str, tuple[Moment, ...]]] = {
    "subscribe": _FOLLOWED,
    "unsubscribe": ("did", "left"),
    "scan": ("did", "scan"),
    "click": ("did", "menu"),
    "scancode_push": ("did", "menu"),
    "scancode_waitmsg": ("did", "menu"),
    # The platform or the staff did these, not the user. Some carry an openid all the same.
    **dict.fromkeys(
        (
            *("templatesendjobfinish", "masssendjobfinish", "publishjobfinish", "subscribe_msg_sent_event"),
            *("kf_create_session", "kf_close_session", "kf_switch_session"),
            *("qualification_verify_success", "qualification_verify_fail", "naming_verify_success"),
            *("naming_verify_fail", "annual_renew", "verify_expired", "wx_verify_pay_succ", "wx_verify_dispatch"),
            *("wx_verify_refill", "wx_verify_fail", "card_pass_check", "card_not_pass_check", "card_sku_remind"),
            *("card_pay_order", "card_merchant_check_result", "update_member_card", "update_invoice_status"),
            *("cloud_invoice_invoiceresult_event", "poi_check_notify", "create_map_poi_audit_info", "wxa_media_check"),
        ),
        _NOTHING,
    ),
}
_MENU_EVENTS: Final = frozenset(
    {
        *("click", "view", "view_miniprogram", "scancode_push", "scancode_waitmsg", "pic_sysphoto"),
        *("pic_photo_or_album", "pic_weixin", "location_select", "media_id", "view_limited"),
    }
)


def moments_of(push: ActivityPush) -> tuple[Moment, ...]:
    """Return which times of the sender a push moves; none if it is not about something that a user did."""
    openid = push.from_user_name
    if not openid or len(openid) > OPENID_MAX:
        return _NOTHING
    kind = push.msg_type.lower()
    if kind == "event":
        name = (push.event or "").lower()
        moments = _EVENTS.get(name, _DID)
        if moments is _FOLLOWED and (push.key or "").startswith("qrscene_"):
            return _FOLLOWED_BY_SCAN
        return moments
    if kind.startswith("device_"):  # a piece of hardware reports
        return _DID
    return _TAPPED_LINE if push.raw.get("bizmsgmenuid") not in (None, "") else _WROTE


def menu_key(push: ActivityPush) -> str:
    """Return the key of the button that was tapped; empty if the push is not a tap."""
    event = push.event
    if not event or event.lower() not in _MENU_EVENTS or push.msg_type.lower() != "event":
        return ""
    return tidy_key(push.key or "")


def tidy_key(key: str) -> str:
    """Return a menu key as it is stored: short, and without characters that UTF-8 cannot hold."""
    if len(key) * 4 <= MENU_KEY_MAX and key.isascii():
        return key
    return key.encode("utf-8", "replace")[:MENU_KEY_MAX].decode("utf-8", "ignore")


def clamp(create_time: int, now: float) -> int:
    """Return the time of a push as far as it can be believed: a missing time, or one ahead of our clock, is now."""
    return create_time if 0 < create_time <= now else int(now)


def user_activity(openid: str, moments: Sequence[int]) -> UserActivity:
    """Make the record from the times in the order of ``MOMENTS``; 0 for a time that is not known."""
    return UserActivity(openid, *(_instant(at) if at else None for at in moments[:4]))


def menu_activity(key: str, taps: int, last: int, outcomes: Iterable[int]) -> MenuKeyActivity:
    """Make the record; ``outcomes`` in the order of ``OUTCOMES``."""
    return MenuKeyActivity(key, taps, _instant(last), *outcomes)


def most_tapped_first(found: Iterable[MenuKeyActivity]) -> list[MenuKeyActivity]:
    """Sort buttons by taps; those tapped equally often by their keys."""
    return sorted(found, key=lambda one: (-one.taps, one.key))


def window_of(
    moments: Sequence[int], sent: Sequence[float], now: float, allowances: Mapping[Trigger, Allowance]
) -> CustomWindow:
    """Work out the window of a user.

    Args:
        moments: Times in the order of ``MOMENTS``, seconds since 1970; 0 for a time that is not known.
        sent: When the latest messages went out.
        now: The time on the log's clock.
        allowances: The rules.
    """
    _, _, followed, left, message, menu, scan, pay = moments
    acts: tuple[tuple[Trigger, int], ...] = (
        ("message", message),
        ("menu", menu),
        ("follow", followed),
        ("scan", scan),
        ("pay", pay),
    )
    best = CLOSED
    most: int | None = 0
    for trigger, at in acts:
        # Leaving closes what was open. A follow within the same second wins, because it is the later of the two.
        if not at or trigger not in allowances or at < left or (at == left and followed < left):
            continue
        rule = allowances[trigger]
        seconds = min(at - now, 0.0) + rule.seconds
        if seconds <= 0:
            continue
        # A second is the best the platform tells: a message sent in the second of the act counts as sent after it.
        messages = None if rule.messages is None else max(rule.messages - sum(one >= at for one in sent), 0)
        usable = messages != 0
        if usable:
            most = None if messages is None or most is None else max(most, messages)
        if (usable, seconds) > (best.open, best.seconds_left):
            best = CustomWindow(usable, seconds, 0, trigger)
    return attrs.evolve(best, messages_left=most)


def most_kept(allowances: Mapping[Trigger, Allowance]) -> int:
    """Return how many times of sent messages are needed to work out windows."""
    return max((rule.messages or 0 for rule in allowances.values()), default=0)


def _instant(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


# --- checks ----------------------------------------------------------------------------------------------------


def check_outcome(value: str) -> int:
    """Return the place of an outcome in ``OUTCOMES``; raise ConfigError if there is no such outcome."""
    for place, outcome in enumerate(OUTCOMES):
        if outcome == value:
            return place
    raise ConfigError(f"outcome must be one of {', '.join(OUTCOMES)}", field="outcome")


def check_allowances(value: Mapping[Trigger, Allowance]) -> Mapping[Trigger, Allowance]:
    """Return a copy that nobody changes; raise ConfigError for what is not a trigger or an allowance."""
    unknown = [name for name in value if name not in get_args(Trigger)]
    if unknown or not all(isinstance(rule, Allowance) for rule in value.values()):
        names = ", ".join(get_args(Trigger))
        raise ConfigError(f"allowances must map {names} to Allowance records", field="allowances")
    return MappingProxyType(dict(value))


# --- in memory -------------------------------------------------------------------------------------------------


@attrs.define
class _User:
    moments: list[int]
    touched: float
    sent: tuple[float, ...] = ()


@attrs.define
class _Button:
    taps: int = 0
    last: int = 0
    outcomes: list[int] = attrs.field(factory=lambda: [0] * len(OUTCOMES))


_PLACES: Final[Mapping[tuple[Moment, ...], tuple[int, ...]]] = {
    moments: tuple(MOMENTS.index(moment) for moment in moments)
    for moments in (_WROTE, _TAPPED_LINE, _DID, _FOLLOWED_BY_SCAN, PAID, *_EVENTS.values())
}


class MemoryActivityLog(ActivityLog):
    """Activity in the memory of one process, shared by its event loops and threads (用户互动记录).

    Bounded: the users and buttons that were touched longest ago go first. Several workers need ``RedisActivityLog``,
    because each of these sees only its own share of the pushes.
    """

    def __init__(
        self,
        *,
        max_users: int = MAX_USERS,
        max_menu_keys: int = MAX_MENU_KEYS,
        ttl: float = USER_TTL,
        menu_ttl: float = MENU_TTL,
        allowances: Mapping[Trigger, Allowance] = ALLOWANCES_2023,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start empty.

        Args:
            max_users: Users that are remembered; one takes about half a kilobyte.
            max_menu_keys: Buttons that are remembered.
            ttl: Seconds after the last push until a user is forgotten; longer than the longest allowance.
            menu_ttl: Seconds after the last tap until a button is forgotten.
            allowances: The rules of the platform; an act that is missing allows nothing.
            clock: Seconds since 1970.

        Raises:
            ConfigError: A number is not positive, or the allowances are not a table of :class:`Allowance`.
        """
        self._max_users = check_count(max_users, field="max_users")
        self._max_menu_keys = check_count(max_menu_keys, field="max_menu_keys")
        self._ttl = check_seconds(ttl, field="ttl")
        self._menu_ttl = check_seconds(menu_ttl, field="menu_ttl")
        self._allowances = check_allowances(allowances)
        self._kept = most_kept(self._allowances)
        self._clock = clock
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._buttons: OrderedDict[str, _Button] = OrderedDict()
        self._lock = threading.Lock()
        _LOGS.add(self)

    def __repr__(self) -> str:
        return f"MemoryActivityLog({len(self._users)} users, {len(self._buttons)} menu keys)"

    async def record(self, push: ActivityPush) -> None:
        """See :meth:`ActivityLog.record`."""
        moments = moments_of(push)
        if not moments:
            return
        key = menu_key(push)
        now = self._clock()
        at = clamp(push.create_time, now)
        with self._lock:
            self._touch(push.from_user_name, moments, at, now)
            if key:
                button = self._button(key, at)
                button.taps += 1

    async def record_outcome(self, push: ActivityPush, outcome: Outcome) -> None:
        """See :meth:`ActivityLog.record_outcome`."""
        place = check_outcome(outcome)
        key = menu_key(push)
        if not key:
            return
        at = clamp(push.create_time, self._clock())
        with self._lock:
            self._button(key, at).outcomes[place] += 1

    async def record_sent(self, openid: str, count: int = 1) -> None:
        """See :meth:`ActivityLog.record_sent`."""
        check_count(count, field="count")
        if not openid or len(openid) > OPENID_MAX:
            return
        now = self._clock()
        with self._lock:
            user = self._user(openid, now) or self._touch(openid, _NOTHING, 0, now)
            if self._kept:
                user.sent = (*user.sent, *(now,) * min(count, self._kept))[-self._kept :]

    async def record_paid(self, openid: str) -> None:
        """See :meth:`ActivityLog.record_paid`."""
        if not openid or len(openid) > OPENID_MAX:
            return
        now = self._clock()
        with self._lock:
            self._touch(openid, PAID, int(now), now)

    async def get(self, openid: str) -> UserActivity | None:
        """See :meth:`ActivityLog.get`."""
        now = self._clock()
        with self._lock:
            user = self._user(openid, now)
            return user_activity(openid, user.moments) if user is not None and any(user.moments) else None

    async def window(self, openid: str) -> CustomWindow:
        """See :meth:`ActivityLog.window`."""
        now = self._clock()
        with self._lock:
            user = self._user(openid, now)
            return CLOSED if user is None else window_of(user.moments, user.sent, now, self._allowances)

    async def menu(self, key: str) -> MenuKeyActivity | None:
        """See :meth:`ActivityLog.menu`."""
        now, key = self._clock(), tidy_key(key)
        with self._lock:
            button = self._buttons.get(key)
            if button is None or now - button.last >= self._menu_ttl:
                return None
            return menu_activity(key, button.taps, button.last, button.outcomes)

    async def menus(self) -> list[MenuKeyActivity]:
        """See :meth:`ActivityLog.menus`."""
        now = self._clock()
        with self._lock:
            found = [
                menu_activity(key, button.taps, button.last, button.outcomes)
                for key, button in self._buttons.items()
                if now - button.last < self._menu_ttl
            ]
        return most_tapped_first(found)

    async def forget(self, openid: str) -> None:
        """See :meth:`ActivityLog.forget`."""
        with self._lock:
            self._users.pop(openid, None)

    async def aclose(self) -> None:
        """Nothing is held but memory; what is known stays."""

    # --- under the lock ---

    def _user(self, openid: str, now: float) -> _User | None:
        user = self._users.get(openid)
        return None if user is None or now - user.touched >= self._ttl else user

    def _touch(self, openid: str, moments: tuple[Moment, ...], at: int, now: float) -> _User:
        users = self._users
        user = users.get(openid)
        if user is None or now - user.touched >= self._ttl:
            user = users[openid] = _User([0] * len(MOMENTS), now)
        user.touched = now
        users.move_to_end(openid)
        times = user.moments
        for place in _PLACES[moments]:
            times[place] = max(times[place], at)
        if len(users) > self._max_users:
            users.popitem(last=False)
        # The oldest stand in front: dropping up to two for each push is enough to get rid of all in time.
        for _ in range(2):
            front = next(iter(users))
            if now - users[front].touched < self._ttl:
                break
            del users[front]
        return user

    def _button(self, key: str, at: int) -> _Button:
        buttons = self._buttons
        button = buttons.get(key)
        if button is None or at - button.last >= self._menu_ttl:
            button = buttons[key] = _Button()
        button.last = max(button.last, at)
        buttons.move_to_end(key)
        if len(buttons) > self._max_menu_keys:
            buttons.popitem(last=False)
        return button

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held the old one


_LOGS: Final[weakref.WeakSet[MemoryActivityLog]] = weakref.WeakSet()


def _after_fork() -> None:
    for log in list(_LOGS):
        log._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
