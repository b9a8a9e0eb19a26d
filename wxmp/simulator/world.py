"""The simulated platform itself: a request goes in, a reply comes out. No sockets, no threads, no wall clock."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from bisect import insort
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Unpack, cast

import attrs

from wxmp.simulator import people, tokens
from wxmp.simulator.callbacks import Callbacks, CallbackSettings
from wxmp.simulator.clock import Clock
from wxmp.simulator.effects import ERRCODES, SPOILING
from wxmp.simulator.families import EVENTS, ROUTES
from wxmp.simulator.faults import (
    HEADER_LABEL,
    HEADER_NAME,
    Effect,
    Fault,
    FaultConditions,
    FaultTable,
    Struck,
    read_fault_header,
)
from wxmp.simulator.journal import Exchange, Journal, keep_body, mask_query, rule_of
from wxmp.simulator.lint import Lint
from wxmp.simulator.messages import errmsg
from wxmp.simulator.overview import describe
from wxmp.simulator.pay import notices
from wxmp.simulator.phone import Phone
from wxmp.simulator.policy import DAY, Policy
from wxmp.simulator.routes import Call, Route
from wxmp.simulator.state import (
    Account,
    Attempt,
    CallbackFormat,
    CallbackMode,
    Channel,
    ChatEntry,
    Counter,
    Dice,
    Event,
    Person,
    Push,
    Risk,
    Sent,
    Tag,
    Template,
    Token,
    User,
    WorldState,
)
from wxmp.simulator.wire import (
    JsonObject,
    Refusal,
    Reply,
    Request,
    WorldError,
    dump_json,
    escaped_text,
    json_reply,
    keep_escapes,
    load_json,
    parse_form,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cattrs.preconf.json import JsonConverter

__all__ = ["World", "WorldError"]

TOKEN_PATHS: Mapping[str, Channel] = {"/cgi-bin/token": "plain", "/cgi-bin/stable_token": "stable"}
EXACT_ROUTES: dict[str, list[Route]] = {}
PATTERN_ROUTES: list[tuple[Route, re.Pattern[str]]] = []
for _route in ROUTES:
    if (_pattern := _route.pattern) is not None:
        PATTERN_ROUTES.append((_route, _pattern))
    else:
        EXACT_ROUTES.setdefault(_route.path, []).append(_route)
# How the faults that end a token do it.
TOKEN_DEATHS: Mapping[str, tokens.HowKilled] = {
    "token_killed": "forced",
    "token_expired": "expired",
    "token_unknown": "unknown",
}
APPID_IN_BODY = re.compile(rb'"appid"\s*:\s*"([^"\\]{1,64})"')
SNAPSHOT_VERSION = 1


def event_order(event: Event) -> tuple[float, int]:
    """Order events by time, and among equals by age."""
    return event.due, event.serial


def snapshot_converter() -> JsonConverter:
    """Return the converter between the state and JSON; free JSON values inside pass unchanged."""
    from cattrs.preconf.json import make_converter

    converter = make_converter()  # bytes become base64
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _kind: value)
    return converter


class World:
    """The platform: accounts, people, tokens, faults, the journal, and one clock.

    The same policy, clock, seed and order of requests give the same replies, byte for byte. All public methods may
    be called from any thread.

    Args:
        policy: The adjustable rules; replace ``world.policy`` at any time.
        clock: Simulated time; ``None`` takes the real one.
        seed: Source of all ids and of all chance.
        appid: AppID of the default account; ``None`` derives one from the seed.
        secret: Its AppSecret; ``None`` derives an obviously false one.
        followers: How many followers the default account starts with.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        clock: Clock | None = None,
        seed: int = 1,
        *,
        appid: str | None = None,
        secret: str | None = None,
        followers: int = 0,
    ) -> None:
        self.policy = policy if policy is not None else Policy()
        self.clock = clock if clock is not None else Clock.real()
        self.seed = seed
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.journal = Journal(self.policy.journal_size, self.policy.journal_bytes)
        self.lint = Lint(self)
        self._counted: tuple[int, int | None] | None = None
        self.faults = FaultTable()
        self._event_now: float | None = None
        self._first = (appid, secret, followers)
        self.base_url = ""
        self._tokens: dict[str, tuple[str, int]] = {}
        self.state = WorldState(dice=Dice(seed), started_at=self.clock.now())
        self.callbacks = Callbacks(self)
        self._listeners: list[Callable[[], None]] = []
        self.clock.attach(self)
        self._populate()

    def __repr__(self) -> str:
        return f"World(seed={self.seed}, accounts={len(self.state.accounts)}, calls={len(self.journal)})"

    # --- life of the world ------------------------------------------------------------------------------------

    def _populate(self) -> None:
        appid, secret, followers = self._first
        account = self.add_account(appid, secret)
        self.state.default_appid = account.appid
        self.create_followers(followers)

    def reset(self) -> None:
        """Forget everything and start again: accounts, people, tokens, counters, faults, journal. The clock goes on."""
        with self.lock:
            self._tokens.clear()
            self.callbacks.clear()
            self.journal.clear()
            self.lint.clear()
            self.faults.clear()
            self.state = WorldState(dice=Dice(self.seed), started_at=self.clock.now())
            self._populate()
            self.announce()

    def announce(self) -> None:
        """Tell everybody who waits that something has changed."""
        with self.lock:
            self.changed.notify_all()
            for listener in self._listeners:
                listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call somebody after every change, in the thread where it happens and under the lock."""
        with self.lock:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call them no more."""
        with self.lock:
            self._listeners.remove(listener)

    def snapshot(self) -> JsonObject:
        """Return the whole state as one JSON document, faults and clock included.

        It holds the secrets and tokens of this world in plain text: they are worthless elsewhere. The journal and
        the policy are not part of it.
        """
        with self.lock:
            converter = snapshot_converter()
            document = {
                "version": SNAPSHOT_VERSION,
                "now": self.now(),
                "state": converter.unstructure(self.state),
                "faults": converter.unstructure(list(self.faults.rules)),
            }
            # The detour over text makes a copy: free JSON values in the state are passed on as they are.
            return cast("JsonObject", json.loads(json.dumps(document)))

    def restore(self, document: Mapping[str, object]) -> None:
        """Go back to a snapshot, its time included."""
        from cattrs.errors import BaseValidationError

        if document.get("version") != SNAPSHOT_VERSION:
            raise WorldError(f"not a snapshot of version {SNAPSHOT_VERSION}")
        converter = snapshot_converter()
        try:
            # A detour over JSON text: the document may hold the records of a living world, which must not be shared.
            plain = json.loads(json.dumps(document))
            state = converter.structure(plain["state"], WorldState)
            faults = converter.structure(plain.get("faults", []), list[Fault])
            now = float(plain["now"])
        except (BaseValidationError, KeyError, TypeError, ValueError) as error:
            raise WorldError(f"the snapshot cannot be read: {type(error).__name__}") from error
        with self.lock:
            self.clock.set(now)
            self.state = state
            self.state.events.sort(key=event_order)
            self.faults.restore(faults)
            self._tokens = {
                token.text: (account.appid, token.serial)
                for account in state.accounts.values()
                for token in account.tokens.values()
            }
            self.callbacks.rebuild()
            self.announce()

    # --- time and events --------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the simulated time; inside an event, the moment the event was due."""
        with self.lock:
            return self.clock.now() if self._event_now is None else self._event_now

    def advance(self, seconds: float) -> float:
        """Move the clock forward; everything due on the way happens at its own time, in order."""
        with self.lock:
            return self.clock.advance(seconds)

    def next_due(self) -> float | None:
        """Return when the next event is due, or ``None``."""
        with self.lock:
            return self.state.events[0].due if self.state.events else None

    def run_due(self) -> int:
        """Fire every event that is due and return how many. Every request does this first."""
        fired = 0
        with self.lock:
            while self.state.events and self.state.events[0].due <= self.clock.now() and self._event_now is None:
                event = self.state.events.pop(0)
                account = self.state.accounts.get(event.appid)
                if account is None:
                    continue
                self._event_now = event.due
                try:
                    self._fire(account, event)
                finally:
                    self._event_now = None
                fired += 1
            if fired:
                self.announce()
        return fired

    def schedule(self, delay: float, kind: str, account: Account, fields: JsonObject) -> Event:
        """Put an event into the world's queue."""
        with self.lock:
            self.state.event_serial += 1
            event = Event(self.now() + delay, self.state.event_serial, kind, account.appid, fields)
            insort(self.state.events, event, key=event_order)
            return event

    def _fire(self, account: Account, event: Event) -> None:
        if event.kind == "outsider":
            channel = cast("Channel", event.fields["channel"])
            how = cast("tokens.HowKilled", event.fields["how"])
            every = float(cast("float", event.fields["every"]))
            self.state.outsider_fetches += 1
            tokens.kill(self, account, channel, how, event.due, "an outsider")
            self.schedule(every, "outsider", account, event.fields)
            return
        if event.kind == "push_due":
            self.callbacks.release(account, event)
            return
        EVENTS[event.kind](self, account, event)

    def day(self, now: float) -> int:
        """Return the number of the quota day (midnight in Shanghai by default)."""
        return int((now + self.policy.quota_day_offset_hours * 3600) // DAY)

    def month(self, now: float) -> int:
        """Return the number of the calendar month in Shanghai."""
        date = datetime.fromtimestamp(now, tokens.SHANGHAI)
        return date.year * 12 + date.month

    # --- accounts ---------------------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        """The default account."""
        return self.state.accounts[self.state.default_appid]

    def account_of(self, appid: str | None) -> Account:
        """Return an account by AppID; ``None`` means the default one."""
        if appid is None:
            return self.account
        account = self.state.accounts.get(appid)
        if account is None:
            raise WorldError("no such account in this world")
        return account

    def add_account(
        self, appid: str | None = None, secret: str | None = None, *, test: bool = False, verified: bool = True
    ) -> Account:
        """Add an account: a verified service account unless told otherwise.

        Args:
            appid: AppID; made up when ``None``.
            secret: AppSecret; an obviously false one is made up when ``None``.
            test: A test account (测试号) with its smaller quotas.
            verified: Whether the account is verified (认证).
        """
        with self.lock:
            number = len(self.state.accounts) + 1
            digest = hashlib.sha256(f"{self.seed}|account|{number}".encode()).hexdigest()
            appid = appid if appid is not None else f"wx{digest[:16]}"
            if appid in self.state.accounts:
                raise WorldError("this AppID exists already")
            account = Account(
                appid=appid,
                secret=secret if secret is not None else f"simulated{digest[16:39]}",
                original_id=f"gh_{digest[40:52]}",
                test=test,
                verified=verified,
            )
            account.tag_serial = self.policy.first_tag_id - 1
            for tag_id, name in ((0, "未分组"), (1, "黑名单"), (2, "星标组")):
                account.tags[tag_id] = Tag(tag_id, name, group=True)
            self.state.accounts[appid] = account
            self.announce()
            return account

    def add_template(self, title: str, content: str, *, appid: str | None = None, industry: int = 1) -> str:
        """Put a template into an account's list, as the console would; return its ``template_id``."""
        with self.lock:
            account = self.account_of(appid)
            template_id = self.make_id("template", 43)
            account.templates[template_id] = Template(template_id, title, content, industry=industry)
            return template_id

    def make_id(self, stream: str, characters: int) -> str:
        """Draw an id of URL-safe characters."""
        digest = self.state.dice.digest(stream) + self.state.dice.digest(stream) + self.state.dice.digest(stream)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return "".join(alphabet[byte % 64] for byte in digest[:characters])

    def next_msgid(self, account: Account) -> int:
        """Return the next, growing message id of an account."""
        account.msg_serial += 1 + self.state.dice.digest("msgid")[0]
        return account.msg_serial

    def record_sent(self, account: Account, sent: Sent) -> None:
        """Keep a delivery in the account's list."""
        account.sent.append(sent)
        del account.sent[: -self.policy.sent_kept]

    # --- tokens -----------------------------------------------------------------------------------------------

    def index_token(self, account: Account, token: Token) -> None:
        """Make a token findable by its text."""
        self._tokens[token.text] = (account.appid, token.serial)

    def forget_token(self, token: Token) -> None:
        """Make a token unknown."""
        self._tokens.pop(token.text, None)

    def find_token(self, text: str) -> tuple[Account, Token] | None:
        """Find a token and its account by the token's text."""
        found = self._tokens.get(text)
        if found is None:
            return None
        account = self.state.accounts[found[0]]
        return account, account.tokens[found[1]]

    def is_user_token(self, text: str) -> bool:
        """Tell whether the text is a user token of the OAuth pages."""
        return any(text in account.oauth_tokens for account in self.state.accounts.values())

    def living_tokens(self, channel: Channel, *, appid: str | None = None) -> list[Token]:
        """Return the tokens of a channel that work now, oldest first."""
        with self.lock:
            return tokens.living(self.account_of(appid), channel, self.now())

    def kill_token(
        self, channel: Channel = "stable", how: tokens.HowKilled = "forced", *, appid: str | None = None
    ) -> None:
        """End the current token as another system would.

        Args:
            channel: ``"plain"`` or ``"stable"``.
            how: ``"plain"``: an ordinary fetch from outside, so the old plain token lives out its overlap (and a stable
                one is not touched before its last five minutes). ``"forced"``: dead at once, calls answer 40001.
                ``"expired"``: its life ends now, 42001. ``"unknown"``: the platform no longer knows it, 40014.
            appid: The account; ``None`` means the default one.
        """
        with self.lock:
            self.run_due()
            if how in {"plain", "forced"}:
                self.state.outsider_fetches += 1
            tokens.kill(self, self.account_of(appid), channel, how, self.now(), "another system")
            self.announce()

    def kill_new_tokens(self, channel: Channel, count: int = -1, *, appid: str | None = None) -> None:
        """Let the next ``count`` new tokens be dead on arrival; -1 means all of them, 0 stops it."""
        with self.lock:
            self.account_of(appid).channel(channel).dead_on_arrival = count

    def outsider(
        self,
        every: float | None,
        *,
        channel: Channel = "plain",
        how: tokens.HowKilled = "plain",
        appid: str | None = None,
    ) -> None:
        """Let another system fetch tokens every so many simulated seconds; ``None`` stops it."""
        with self.lock:
            account = self.account_of(appid)
            self.run_due()
            self.state.events = [
                event
                for event in self.state.events
                if not (
                    event.kind == "outsider" and event.appid == account.appid and event.fields["channel"] == channel
                )
            ]
            if every is None:
                return
            if every <= 0:
                raise WorldError("an outsider needs a positive number of seconds between fetches")
            self.schedule(every, "outsider", account, {"channel": channel, "how": how, "every": every})

    def decide_risk(self, address: str, decision: Literal["allow", "refuse"], *, appid: str | None = None) -> None:
        """Play the administrator: answer the risk confirmation (89503) of a caller address."""
        with self.lock:
            risk = self.account_of(appid).risks.setdefault(address, Risk())
            if decision == "allow":
                risk.state = "allowed"
                return
            risk.state = "refused"
            risk.refusals += 1
            hours = self.policy.risk_refusal_hours if risk.refusals == 1 else self.policy.risk_block_hours
            risk.until = self.now() + hours * 3600

    # --- quotas -----------------------------------------------------------------------------------------------

    def daily_limit(self, account: Account, path: str) -> int | None:
        """Return the calls a day an account has for a path; ``None`` means no limit."""
        own = account.quotas.get(path)
        if own is not None:
            return own
        quota = self.policy.daily_quotas.get(path, self.policy.default_daily_quota)
        return quota.test if account.test else quota.ordinary

    def counter(self, account: Account, path: str, now: float) -> Counter:
        """Return the counter of a path, started again when its day or minute is over."""
        counter = account.counters.setdefault(path, Counter())
        day, minute = self.day(now), int(now // 60)
        if counter.day != day:
            counter.day, counter.used = day, 0
        if counter.minute != minute:
            counter.minute, counter.in_minute = minute, 0
        return counter

    def spend(self, account: Account, path: str, now: float) -> None:
        """Count one call against the quotas of a path.

        Raises:
            Refusal: The day's (45009) or the minute's (45011) calls are used up.
        """
        counter = self.counter(account, path, now)
        limit = None if path.startswith("/sns/") else self.daily_limit(account, path)
        if limit is not None and counter.used >= limit:
            raise Refusal(45009, f"{counter.used} of {limit} calls of today are used")
        per_minute = self.policy.minute_quotas.get(path, self.policy.default_minute_quota)
        if per_minute is not None and counter.in_minute >= per_minute:
            raise Refusal(45011, f"{counter.in_minute} calls in this minute, {per_minute} are allowed")
        counter.used += 1
        counter.in_minute += 1
        self._counted = (counter.used, limit)

    def spend_month(self, account: Account, what: str, limit: int, now: float) -> bool:
        """Count something that is limited per calendar month; tell whether there was one left."""
        month = self.month(now)
        if account.month != month:
            account.month = month
            account.months.clear()
        used = account.months.get(what, 0)
        if used >= limit:
            return False
        account.months[what] = used + 1
        return True

    # --- people -----------------------------------------------------------------------------------------------

    def known_user(self, account: Account, openid: str) -> User:
        """Return a user of an account, or refuse: 40003, and 49003 for an openid of another account."""
        user = account.users.get(openid)
        if user is not None:
            return user
        if any(openid in other.users for other in self.state.accounts.values()):
            raise Refusal(49003, "the openid belongs to another account of this world")
        raise Refusal(40003, "no such openid")

    def person_of(self, user: User) -> Person:
        """Return the person behind a user record."""
        return self.state.people[user.person - 1]

    def create_followers(self, count: int, *, appid: str | None = None) -> list[str]:
        """Create people who follow an account, without any event; return their openids."""
        with self.lock:
            account = self.account_of(appid)
            openids: list[str] = []
            for _ in range(count):
                user = people.acquaint(self, account, people.add_person(self))
                user.following = user.ever_followed = True
                user.subscribe_time = int(self.now())
                openids.append(user.openid)
            return openids

    def create_stranger(self, *, appid: str | None = None) -> str:
        """Create a person who knows the account's pages but does not follow it; return their openid."""
        with self.lock:
            return people.acquaint(self, self.account_of(appid), people.add_person(self)).openid

    def user(self, name: str, *, appid: str | None = None) -> Phone:
        """Return the phone of a person by nickname; on first use a stranger of that name appears.

        Args:
            name: Their nickname, the same person for every account.
            appid: The account; ``None`` means the default one.
        """
        with self.lock:
            account = self.account_of(appid)
            person = next((p for p in self.state.people if p.nickname == name), None)
            if person is None:
                person = people.add_person(self, nickname=name)
            return Phone(self, people.acquaint(self, account, person).openid, account.appid)

    def user_follows(
        self, openid: str | None = None, *, appid: str | None = None, scene: str = "ADD_SCENE_SEARCH"
    ) -> str:
        """Let a user follow the account (a new person when ``openid`` is ``None``); return the openid."""
        phone = self.phone(openid, appid=appid)
        phone.follow(scene=scene)
        return phone.openid

    def user_unfollows(self, openid: str, *, appid: str | None = None) -> None:
        """Let a user unfollow the account; the open windows close."""
        self.phone(openid, appid=appid).unfollow()

    def user_writes(self, openid: str, text: str, *, appid: str | None = None, menu_line: str | None = None) -> None:
        """Let a follower write a text; see :meth:`Phone.say <wxmp.simulator.Phone.say>`."""
        self.phone(openid, appid=appid).say(text, menu_line=menu_line)

    def user_taps_menu(self, openid: str, key: str, *, appid: str | None = None) -> JsonObject:
        """Let a follower tap the menu button with this key, url or name; return the button."""
        return self.phone(openid, appid=appid).tap(key)

    def user_scans(self, openid: str | None, ticket: str, *, appid: str | None = None) -> str:
        """Let a user scan a QR code: a follower gives a ``SCAN`` event, anybody else follows first.

        Returns:
            The openid (a new person's when ``openid`` was ``None``).
        """
        phone = self.phone(openid, appid=appid)
        phone.scan(ticket)
        return phone.openid

    def user_pays(self, openid: str, *, appid: str | None = None) -> None:
        """Let a user's payment succeed, as far as the customer-service window is concerned."""
        self.phone(openid, appid=appid).pay()

    def phone(self, openid: str | None = None, *, appid: str | None = None) -> Phone:
        """Return a user's phone, open at an account: everything a user can do. A new person's without ``openid``."""
        return Phone(self, openid if openid is not None else self.create_stranger(appid=appid), appid)

    def chat(self, openid: str, *, appid: str | None = None) -> list[ChatEntry]:
        """Return the lines a user sees in the chat with an account, oldest first."""
        return self.phone(openid, appid=appid).chat

    def sent(self, openid: str | None = None, *, appid: str | None = None) -> list[Sent]:
        """Return what was accepted for delivery, to one user or to all, oldest first."""
        with self.lock:
            self.run_due()
            return [s for s in self.account_of(appid).sent if openid is None or s.openid == openid]

    def pushes(self, openid: str | None = None, *, appid: str | None = None) -> list[Push]:
        """Return what the platform has to tell the developer's server, oldest first."""
        with self.lock:
            self.run_due()
            return [p for p in self.account_of(appid).pushes if openid is None or p.openid == openid]

    # --- the developer's server -------------------------------------------------------------------------------

    def set_callback(
        self,
        url: str,
        *,
        token: str,
        encoding_aes_key: str | None = None,
        mode: CallbackMode | None = None,
        format: CallbackFormat = "xml",
        appid: str | None = None,
    ) -> None:
        """Fill in the server configuration (服务器配置) of an account, without asking the address.

        From then on everything that happens is pushed there, once somebody carries it: a running simulator does.
        ``Simulator.set_callback`` checks the address first, as the platform does.

        Args:
            url: The developer's address; loopback, or a host of ``policy.callback_hosts``.
            token: The Token, 3 to 32 letters and digits.
            encoding_aes_key: The EncodingAESKey, 43 characters.
            mode: ``"plain"``, ``"compatible"`` or ``"safe"``; ``None``: safe with a key, plain without.
            format: ``"xml"`` or ``"json"``.
            appid: The account; ``None`` means the default one.

        Raises:
            CallbackError: What cannot work; nothing is changed.
        """
        wanted = mode if mode is not None else ("plain" if encoding_aes_key is None else "safe")
        settings = CallbackSettings(url=url, token=token, encoding_aes_key=encoding_aes_key, mode=wanted, format=format)
        self.callbacks.configure(self.account_of(appid), settings)

    def stop_callback(self, *, appid: str | None = None) -> None:
        """Switch the server configuration off; nothing is pushed any more."""
        with self.lock:
            self.account_of(appid).callback_enabled = False
            self.announce()

    def push(self, fields: JsonObject, openid: str | None = None, *, appid: str | None = None) -> Push | None:
        """Push any fields, as given: for events the simulator has no act for, such as ``debug_demo``.

        Args:
            fields: ``Event`` or ``MsgType``, and the rest. ``ToUserName``, ``FromUserName`` and ``CreateTime`` are
                added unless they are given. Objects nest; of a list each value becomes an element.
            openid: The user it is about; ``None`` for the platform's own notices, which need a ``FromUserName``.
            appid: The account; ``None`` means the default one.

        Returns:
            What was queued; ``None`` for a message of a user on the blacklist.
        """
        with self.lock:
            self.run_due()
            whole: JsonObject = {"MsgType": "event", **fields} if "Event" in fields else dict(fields)
            sender = openid if openid is not None else whole.get("FromUserName")
            if not isinstance(whole.get("MsgType"), str) or not isinstance(sender, str):
                raise WorldError("a push needs an Event or a MsgType, and an openid or a FromUserName")
            account = self.account_of(appid)
            kind = "event" if whole["MsgType"] == "event" else "message"
            user = account.users.get(sender)
            if user is None and openid is not None:
                raise WorldError("no such user of this account")
            if user is None:
                pushed: Push | None = people.tell(self, account, sender, kind, whole, self.now())
            elif kind == "event":
                pushed = people.push(self, account, user, kind, whole, self.now())
            else:
                pushed = people.act(self, account, user, whole, self.now())
            self.announce()
            return pushed

    def deliveries(self, openid: str | None = None, *, since: int = 0, appid: str | None = None) -> list[Attempt]:
        """Return the requests made to the developer's server after a running number, oldest first."""
        with self.lock:
            attempts = self.account_of(appid).attempts
            return [a for a in attempts if a.id > since and (openid is None or a.openid == openid)]

    @property
    def settled(self) -> bool:
        """Whether everything is delivered that is to be delivered now: pushes, and notices of payments."""
        with self.lock:
            return self.callbacks.idle and notices.idle(self)

    # --- faults -----------------------------------------------------------------------------------------------

    def fault(self, effect: Effect, path: str = "*", **conditions: Unpack[FaultConditions]) -> Fault:
        """Add a fault rule; see :class:`~wxmp.simulator.faults.Fault` for the arguments. Returns the living rule."""
        rule = Fault(effect=effect, path=path, **conditions)
        with self.lock:
            return self.faults.add(rule)

    # --- requests ---------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Reply:
        """Answer one request. This is the whole platform."""
        with self.lock:
            self.run_due()
            call = Call(world=self, request=request, now=self.now())
            appid = self._appid_of(request)
            try:
                struck = self._choose_faults(call, appid)
            except WorldError as error:
                reply = Reply(dump_json({"error": str(error)}), status=400, why=str(error))
                self._note(call, reply, appid, HEADER_LABEL, processed=False)
                self.announce()
                return reply
            fault = struck.main
            if fault is None or fault.effect != "refused":
                self._count_arrival(request, appid)
            for rule in struck.preparing:
                self._prepare(rule, call)
            processed = fault is None or fault.acts
            reply = self._process(call) if processed else Reply()
            if fault is not None:
                reply = self._apply(fault, reply, call)
            delivery = reply.delivery
            for rule in struck.slowing:
                delivery = rule.slow(delivery, self.state.dice)
            if delivery is not reply.delivery:
                reply = attrs.evolve(reply, delivery=delivery)
            self._note(call, reply, appid, struck.labels, processed)
            self.announce()
            return reply

    def _choose_faults(self, call: Call, appid: str) -> Struck:
        """Return the faults of this request: those its own header orders, and the rules that strike it."""
        request = call.request
        header = request.headers.get(HEADER_NAME) if self.policy.fault_header else None
        ordered = read_fault_header(header) if header is not None else []
        host = ""
        if any(rule.host != "*" for rule in self.faults.rules):
            routes = EXACT_ROUTES.get(request.path) or [r for r, p in PATTERN_ROUTES if p.fullmatch(request.path)]
            host = routes[0].host if routes else ""
        return self.faults.choose(request, appid, call.now, self.state.dice, host=host, ordered=ordered)

    def _prepare(self, fault: Fault, call: Call) -> None:
        """Let a fault change the world before the request is judged."""
        how = TOKEN_DEATHS.get(fault.effect)
        if how is None:
            self.clock.jump(fault.seconds)
            self.run_due()
            call.now = self.now()
            return
        found = self.find_token(call.request.query.get("access_token", ""))
        if found is not None:
            account, token = found
            self.state.outsider_fetches += how == "forced"
            tokens.kill(self, account, fault.channel or token.channel, how, call.now, fault.reason)

    def _appid_of(self, request: Request) -> str:
        """Find out which account a request is about, without judging it."""
        found = self._tokens.get(request.query.get("access_token", ""))
        if found is not None:
            return found[0]
        appid = request.query.get("appid", "")
        if not appid and request.body:
            match = APPID_IN_BODY.search(request.body[:4096])
            appid = match.group(1).decode("utf-8", errors="replace") if match else ""
        return appid

    def _count_arrival(self, request: Request, appid: str) -> None:
        self.state.calls[request.path] = self.state.calls.get(request.path, 0) + 1
        channel = TOKEN_PATHS.get(request.path)
        if channel is not None:
            self.state.token_requests += 1
            account = self.state.accounts.get(appid)
            if account is not None:
                account.channel(channel).requests += 1

    def _process(self, call: Call) -> Reply:
        route: Route | None = None
        try:
            route = self._find(call)
            if route is None:
                return json_reply({"errcode": 0, "errmsg": "ok"}, why="unknown path, answered ok by policy")
            self._check(route, call)
            answer = route.handler(call)
        except Refusal as refusal:
            return self._refuse(refusal, route, call.now)
        if isinstance(answer, Reply):
            return answer
        content_type = self.policy.sns_content_type if route.style == "sns" else "application/json; charset=UTF-8"
        return json_reply(answer, why=call.why, content_type=content_type)

    def _find(self, call: Call) -> Route | None:
        request = call.request
        found: list[tuple[Route, Mapping[str, str]]] = [
            (r, {}) for r in EXACT_ROUTES.get(request.path, ()) if request.host in {"", r.host}
        ] or [
            (r, match.groupdict())
            for r, pattern in PATTERN_ROUTES
            if request.host in {"", r.host} and (match := pattern.fullmatch(request.path)) is not None
        ]
        if not found:
            if self.policy.strict_paths:
                raise Refusal(self.policy.unknown_path_errcode, "the simulator has no such endpoint")
            return None
        # Of two routes on one path the one with the caller's verb; with neither, the first says what is wanted.
        route, call.path = next(((r, parts) for r, parts in found if r.method == request.method), found[0])
        return route

    def has_path(self, path: str) -> bool:
        """Tell whether the simulator knows an endpoint."""
        return path in EXACT_ROUTES

    def _check(self, route: Route, call: Call) -> None:
        """Do what comes before every handler: verb, token, rights, quota, body."""
        request = call.request
        if request.method != route.method and self.policy.strict_verbs:
            raise Refusal(43001 if route.method == "GET" else 43002, f"{request.method} where {route.method} is wanted")
        if route.auth == "token":
            call.account, token = tokens.judge(self, call.query("access_token"), call.now)
            call.why = f"token #{token.serial} ({token.channel})"
            self._check_rights(route, call.account)
            self.spend(call.account, route.path, call.now)
        if route.body in {"json", "form"}:
            self._read_body(route, call)

    def _read_body(self, route: Route, call: Call) -> None:
        body = call.request.body
        limit = self.policy.max_body if route.body == "json" else self.policy.max_upload_body
        if len(body) > limit:
            raise Refusal(45001, f"the body has {len(body)} bytes")
        if route.body == "form":
            call.form = parse_form(body, call.request.content_type)
            return
        if b"\\u" in body:
            if route.path in self.policy.escapes_refused and escaped_text(body):
                raise Refusal(self.policy.escapes_refused_errcode, "non-ASCII text was sent as \\uXXXX escapes")
            if route.path in self.policy.escapes_literal:
                body = keep_escapes(body)
        call.body = load_json(body)

    def _check_rights(self, route: Route, account: Account) -> None:
        if route.path in account.banned:
            raise Refusal(48004, "the interface is banned for this account")
        granted = account.test or (
            route.accounts == "all"
            or (account.verified and (route.accounts == "verified" or account.kind == "service"))
        )
        if not granted or route.path in account.ungranted:
            raise Refusal(48001, f"needs a {route.accounts} account" if not granted else "not granted to this account")

    def _refuse(self, refusal: Refusal, route: Route | None, now: float) -> Reply:
        rid = self._rid(now)
        message = f"{errmsg(refusal.errcode, refusal.detail)} rid: {rid}"
        content_type = "application/json; charset=UTF-8"
        if route is not None and route.style == "sns":
            content_type = self.policy.sns_content_type
        elif route is not None and route.style == "binary":
            content_type = self.policy.binary_error_content_type
        return Reply(
            dump_json({"errcode": refusal.errcode, "errmsg": message, **refusal.extra}),
            content_type=content_type,
            errcode=refusal.errcode,
            why=f"{refusal.errcode}: {refusal.why}",
            rid=rid,
        )

    def _rid(self, now: float) -> str:
        return f"{int(now):08x}-{self.state.dice.hex('rid', 8)}-{self.state.dice.hex('rid', 8)}"

    def _apply(self, fault: Fault, reply: Reply, call: Call) -> Reply:
        code = fault.errcode if fault.errcode is not None else ERRCODES.get(fault.effect, -1)
        if fault.effect == "errcode" or fault.effect in ERRCODES:
            address = call.request.client_ip
            detail = f"{address} ipv6 ::ffff:{address}" if fault.effect == "ip_refused" else ""
            return self._refuse(Refusal(code, fault.reason, detail=detail), None, call.now)
        if fault.effect in SPOILING and fault.acts:
            return fault.spoil(reply)
        if fault.effect in SPOILING - {"reset_after"}:
            # "processed" was switched off: spoil a plain answer instead of the real one.
            return fault.spoil(json_reply({"errcode": 0, "errmsg": "ok"}))
        return fault.replace()

    def _note(self, call: Call, reply: Reply, appid: str, fault: str, processed: bool) -> None:
        request, limit = call.request, self.policy.journal_body
        errcode = None if reply.delivery.reset or reply.delivery.hang else reply.errcode
        asked, asked_cut = keep_body(request.body, limit, request.content_type)
        told, told_cut = keep_body(reply.body, limit, reply.content_type)
        used, self._counted = self._counted, None
        exchange = Exchange(
            seq=self.journal.next_seq(),
            at=call.now,
            method=request.method,
            path=request.path,
            query=mask_query(request.query),
            client=request.client,
            client_ip=request.client_ip,
            appid=call.account.appid if call.account is not None else appid,
            status=reply.status,
            errcode=errcode,
            why=reply.why,
            rid=reply.rid,
            fault=fault,
            processed=processed,
            request_body=asked,
            response_body=told,
            rule=rule_of(errcode, reply.status, fault),
            caller=request.client or request.client_ip,
            speed=self.clock.speed,
            quota_used=None if used is None else (used[0] - 1, used[0]),
            quota_limit=None if used is None else used[1],
            request_cut=asked_cut,
            response_cut=told_cut,
            host=request.host,
            content_type=request.content_type,
            response_type=reply.content_type,
        )
        self.journal.add(exchange)
        self.lint.see(call, reply, exchange)

    # --- looking in from outside ------------------------------------------------------------------------------

    def describe(self) -> JsonObject:
        """Return the state a control page shows: counts, quotas and living tokens as fingerprints, never values."""
        return describe(self)

    def wait_for(self, predicate: Callable[[World], bool], timeout: float = 10.0) -> bool:
        """Wait until the predicate holds, looking after every exchange and event; tell whether it did.

        Args:
            predicate: Called with this world, under its lock.
            timeout: Real seconds.
        """
        with self.changed:
            return self.changed.wait_for(lambda: predicate(self), timeout)

    def exchanges(self, since: int = 0) -> Sequence[Exchange]:
        """Return the journal after a running number, as a list of its own."""
        with self.lock:
            return self.journal.since(since)
