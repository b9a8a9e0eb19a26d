"""The simulated platform itself: a request goes in, a reply comes out. No sockets, no threads, no wall clock."""

from __future__ import annotations

import threading
from bisect import insort
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Unpack

from wxmp.simulator import accounts, people, snapshots, tokens
from wxmp.simulator.callbacks import Callbacks, CallbackSettings
from wxmp.simulator.clock import SHANGHAI, Clock
from wxmp.simulator.families import EVENTS
from wxmp.simulator.faults import Effect, Fault, FaultConditions, FaultTable
from wxmp.simulator.gateway import Gateway
from wxmp.simulator.journal import Exchange, Journal
from wxmp.simulator.lint import Lint
from wxmp.simulator.overview import describe
from wxmp.simulator.pay import ledger, notices
from wxmp.simulator.phone import Phone
from wxmp.simulator.policy import DAY, Policy
from wxmp.simulator.quotas import Quotas
from wxmp.simulator.sent import SentIndex
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
    Sent,
    Token,
    User,
    WorldState,
)
from wxmp.simulator.wire import JsonObject, Refusal, Reply, Request, WorldError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxmp.simulator.pay.ledger import MerchantOptions
    from wxmp.simulator.pay.records import Merchant

__all__ = ["World", "WorldError"]


def event_order(event: Event) -> tuple[float, int]:
    """Order events by time, and among equals by age."""
    return event.due, event.serial


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
        self.policy: Policy = policy if policy is not None else Policy()
        self.clock: Clock = clock if clock is not None else Clock.real()
        self.seed = seed
        self.lock: threading.RLock = threading.RLock()
        self.changed: threading.Condition = threading.Condition(self.lock)
        self.journal: Journal = Journal(self.policy.journal_size, self.policy.journal_bytes)
        self.lint: Lint = Lint(self)
        self.faults: FaultTable = FaultTable()
        self._event_now: float | None = None
        self._first = (appid, secret, followers)
        self.base_url = ""
        self._tokens = tokens.TokenIndex()
        self.sent_index: SentIndex = SentIndex()
        self.quotas: Quotas = Quotas(self)
        self.gateway: Gateway = Gateway(self)
        self.state: WorldState = WorldState(dice=Dice(seed), started_at=self.clock.now())
        self.callbacks: Callbacks = Callbacks(self)
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
        """Forget everything and start again: accounts, people, tokens, counters, faults, journal. The clock goes on.

        What was built afterwards is not built again: no scenario is replayed, no state file read, no merchant or
        account added. Only the account and the followers of the constructor come back.
        """
        with self.lock:
            self._tokens.clear()
            self.sent_index.clear()
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
            return snapshots.write(self)

    def restore(self, document: Mapping[str, object]) -> None:
        """Go back to a snapshot, its time included.

        Raises:
            WorldError: It cannot be read; nothing is changed.
        """
        found = snapshots.read(document)
        with self.lock:
            self.clock.set(found.now)
            self.state = found.state
            self.state.events.sort(key=event_order)
            self.faults.restore(found.faults)
            self._tokens.rebuild(found.state.accounts)
            self.sent_index.rebuild(found.state.accounts)
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
            now = self.clock.advance(seconds)
            self.announce()
            return now

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
            tokens.outsider_fetches(self, account, event)
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
        date = datetime.fromtimestamp(now, SHANGHAI)
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
            account = accounts.add_account(self, appid, secret, test=test, verified=verified)
            self.announce()
            return account

    def add_template(self, title: str, content: str, *, appid: str | None = None, industry: int = 1) -> str:
        """Put a template into an account's list, as the console would; return its ``template_id``."""
        with self.lock:
            return accounts.add_template(self, self.account_of(appid), title, content, industry)

    def add_merchant(
        self, mchid: str | None = None, appid: str | None = None, **options: Unpack[MerchantOptions]
    ) -> Merchant:
        """Add a merchant (商户) of WeChat Pay with everything its server needs to know.

        Args:
            mchid: Merchant number, 8 to 10 digits; made up from the seed when ``None``.
            appid: The account it collects for; ``None`` means the default one.
            options: Keys, names and so on: see ``wxmp.simulator.pay.ledger.MerchantOptions``.
        """
        return ledger.add_merchant(self, mchid, appid, **options)

    def default_merchant(self) -> Merchant:
        """Return the first merchant of the world; it comes into being when somebody asks for it."""
        return ledger.default_merchant(self)

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
        self.sent_index.add(account, sent)
        for forgotten in account.sent[: -self.policy.sent_kept]:
            self.sent_index.drop(account, forgotten)
        del account.sent[: -self.policy.sent_kept]

    # --- tokens -----------------------------------------------------------------------------------------------

    def index_token(self, account: Account, token: Token) -> None:
        """Make a token findable by its text."""
        self._tokens.add(account, token)

    def forget_token(self, token: Token) -> None:
        """Make a token unknown."""
        self._tokens.drop(token)

    def find_token(self, text: str) -> tuple[Account, Token] | None:
        """Find a token and its account by the token's text."""
        return self._tokens.find(text, self.state.accounts)

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
            self.run_due()
            tokens.set_outsider(self, self.account_of(appid), every, channel, how)

    def decide_risk(self, address: str, decision: Literal["allow", "refuse"], *, appid: str | None = None) -> None:
        """Play the administrator: answer the risk confirmation (89503) of a caller address."""
        with self.lock:
            accounts.decide_risk(self, self.account_of(appid), address, decision)

    # --- quotas -----------------------------------------------------------------------------------------------

    def daily_limit(self, account: Account, path: str) -> int | None:
        """Return the calls a day an account has for a path; ``None`` means no limit."""
        return self.quotas.daily_limit(account, path)

    def counter(self, account: Account, path: str, now: float) -> Counter:
        """Return the counter of a path, started again when its day or minute is over."""
        return self.quotas.counter(account, path, now)

    def spend(self, account: Account, path: str, now: float) -> None:
        """Count one call against the quotas of a path; used up is a refusal (45009, 45011)."""
        self.quotas.spend(account, path, now)

    def spend_month(self, account: Account, what: str, limit: int, now: float) -> bool:
        """Count something that is limited per calendar month; tell whether there was one left."""
        return self.quotas.spend_month(account, what, limit, now)

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
            pushed = people.push_fields(self, self.account_of(appid), fields, openid)
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
        """Answer one request. This is the whole platform; its steps stand in ``wxmp.simulator.gateway``."""
        with self.lock:
            return self.gateway.handle(request)

    def has_path(self, path: str) -> bool:
        """Tell whether the simulator knows an endpoint."""
        return path in self.gateway.routes

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
