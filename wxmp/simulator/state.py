"""Everything a simulated world remembers, as plain records in one tree.

Nothing here does any work: the rules live in ``tokens``, ``people`` and ``families``. One tree in one place is what
makes snapshot, restore and reset complete by construction.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import attrs

from wxmp.simulator.library import Library
from wxmp.simulator.outreach import Outreach
from wxmp.simulator.pay.records import PayState
from wxmp.simulator.staff import Staff
from wxmp.simulator.statistics import Statistics
from wxmp.simulator.story import Story
from wxmp.simulator.wire import JsonObject

__all__ = [
    "Account",
    "Attempt",
    "CallbackFormat",
    "CallbackMode",
    "Channel",
    "ChatEntry",
    "Dice",
    "Person",
    "Push",
    "Sent",
    "Tag",
    "Template",
    "Token",
    "User",
    "WorldState",
]

Channel = Literal["plain", "stable"]
AccountKind = Literal["service", "subscription"]
CallbackMode = Literal["plain", "compatible", "safe"]
CallbackFormat = Literal["xml", "json"]


@attrs.define
class Dice:
    """Seeded chance with named streams: drawing from one never shifts another, and all state is a few counters."""

    seed: int
    drawn: dict[str, int] = attrs.field(factory=dict[str, int])

    def digest(self, stream: str) -> bytes:
        """Draw 32 bytes."""
        count = self.drawn.get(stream, 0)
        self.drawn[stream] = count + 1
        return hashlib.sha256(f"{self.seed}|{stream}|{count}".encode()).digest()

    def fraction(self, stream: str) -> float:
        """Draw a number in [0, 1)."""
        return int.from_bytes(self.digest(stream)[:7], "big") / (1 << 56)

    def between(self, stream: str, low: float, high: float) -> float:
        """Draw a number between two bounds."""
        return low + (high - low) * self.fraction(stream)

    def hex(self, stream: str, characters: int) -> str:
        """Draw lower-case hex digits (at most 64)."""
        return self.digest(stream).hex()[:characters]


@attrs.define
class Token:
    """One access token of an account, alive or dead."""

    serial: int
    channel: Channel
    text: str = attrs.field(repr=False)
    minted_at: float
    expires_at: float
    dies_at: float
    minted_by: str = ""
    replaced_by: int | None = None
    death: str = ""


@attrs.define
class ChannelState:
    """One of the two token channels of an account."""

    current: int | None = None
    last_forced_at: float | None = None
    forced_day: int = 0
    forced_today: int = 0
    requests: int = 0
    issued: int = 0
    dead_on_arrival: int = 0


@attrs.define
class Counter:
    """Calls of one path: today, this minute, and resets this month."""

    day: int = 0
    used: int = 0
    minute: int = 0
    in_minute: int = 0


@attrs.define
class Risk:
    """Risk control of the token endpoints for one caller address."""

    state: Literal["new", "pending", "allowed", "refused"] = "new"
    refusals: int = 0
    until: float = 0.0


@attrs.define
class Person:
    """A WeChat user, who has another openid with every account."""

    number: int
    nickname: str
    wechat_id: str
    unionid: str
    platform: Literal["1", "2", "3"] = "2"
    language: str = "zh_CN"


@attrs.define
class Window:
    """Permission to send customer-service messages, opened by something the user did."""

    trigger: str
    until: float
    left: int | None


@attrs.define
class ChatEntry:
    """One line of the chat as the user's phone shows it.

    Attributes:
        direction: Who speaks.
        kind: Message type, event name, or ``"notice"`` for the grey line.
        content: The text, or an empty text.
        payload: The whole message.
        at: Simulated time.
        source: Where it comes from: the user, a passive reply, the two sending interfaces, or the platform itself.
        note: Why it is there, or what became of it.
        push: The id of the push it belongs to.
    """

    direction: Literal["from_user", "to_user"]
    kind: str
    content: str
    payload: JsonObject
    at: float
    source: Literal["user", "reply", "custom", "template", "subscribe", "mass", "pay", "system"]
    note: str = ""
    push: int | None = None


@attrs.define
class User:
    """One person as one account knows them."""

    openid: str
    person: int
    following: bool = False
    ever_followed: bool = False
    subscribe_time: int = 0
    subscribe_scene: str = "ADD_SCENE_SEARCH"
    qr_scene: int = 0
    qr_scene_str: str = ""
    remark: str = ""
    group_id: int = 0
    tags: list[int] = attrs.field(factory=list[int])
    blacklisted: bool = False
    refuses_messages: bool = False
    blocks_templates: bool = False
    last_contact_at: float = 0.0
    typing_until: float = 0.0
    windows: list[Window] = attrs.field(factory=list[Window])
    # The menu as the phone last read it; never read: the phone shows the one in force.
    menu_seen: ConditionalMenu | None = None
    menu_read_at: float | None = None
    chat: list[ChatEntry] = attrs.field(factory=list[ChatEntry], repr=False)


@attrs.define
class Tag:
    """A tag; a group of the old interface is a tag that a user has at most one of."""

    id: int
    name: str
    group: bool = False


@attrs.define
class ConditionalMenu:
    """A menu for the users a rule matches."""

    menuid: int
    button: list[JsonObject]
    rule: dict[str, str]


@attrs.define
class Template:
    """A template in the account's own list."""

    template_id: str
    title: str
    content: str
    example: str = ""
    industry: int = 1


@attrs.define
class Sent:
    """One message accepted for delivery to a user."""

    kind: Literal["template", "custom", "subscribe", "mass"]
    at: float
    openid: str
    payload: JsonObject
    msgid: int | None = None
    status: str = ""
    client_msg_id: str = ""


@attrs.define
class Push:
    """Something the platform has to tell the developer's server, in the order it happened.

    Attributes:
        state: ``"kept"``: no server is configured. ``"waiting"``, ``"held"`` (by a fault), ``"flying"``: not yet
            delivered. ``"delivered"``: the server took it. ``"failed"``: it did not, and no delivery is left.
            ``"dropped"``: too many were waiting.
        attempts: Deliveries so far.
        shown: Whether a reply has reached the user.
    """

    at: float
    kind: Literal["message", "event"]
    openid: str
    fields: JsonObject
    id: int = 0
    state: Literal["kept", "waiting", "held", "flying", "delivered", "failed", "dropped"] = "kept"
    attempts: int = 0
    shown: bool = False

    @property
    def name(self) -> str:
        """The event's name, or the message type."""
        return str(self.fields.get("Event") or self.fields.get("MsgType") or "")


@attrs.define
class Attempt:
    """One request to the developer's server, and what became of it.

    Attributes:
        number: 1 for the first delivery of a push; 0 for a forged copy.
        verdict: See :class:`~wxmp.simulator.answers.Judgement`; of a forged copy ``"refused"`` is right and
            ``"accepted"`` is a hole in the server.
        reply: The reply's fields, decrypted.
        seconds: Real seconds until the answer.
        fault: The fault rule that took part.
    """

    id: int
    push: int
    openid: str
    name: str
    at: float
    number: int
    mode: str
    status: int | None
    seconds: float
    verdict: str
    why: str
    reply: JsonObject | None = None
    fault: str = ""


@attrs.define
class QrTicket:
    """A QR code with a scene value."""

    ticket: str
    url: str
    scene_id: int | None
    scene_str: str | None
    permanent: bool
    expires_at: float | None


@attrs.define
class OAuthCode:
    """A code of the OAuth page: one use, a few minutes."""

    openid: str
    scope: str
    issued_at: float
    used: bool = False
    snapshot: bool = False


@attrs.define
class OAuthGrant:
    """A user token or a refresh token of the OAuth pages."""

    openid: str
    scope: str
    expires_at: float
    revoked: bool = False


@attrs.define
class Account:
    """One Official Account (公众号) of the simulated platform. The secret and all tokens are kept out of ``repr``."""

    appid: str
    secret: str = attrs.field(repr=False)
    original_id: str
    kind: AccountKind = "service"
    verified: bool = True
    test: bool = False
    open_platform: bool = False
    ip_list: list[str] | None = None
    secret_frozen: bool = False
    frozen: bool = False
    token_forbidden: bool = False
    risk_control: bool = False
    ungranted: list[str] = attrs.field(factory=list[str])
    banned: list[str] = attrs.field(factory=list[str])
    oauth_domains: list[str] | None = None
    linked_miniprograms: list[str] | None = None
    kf_accounts: list[str] | None = None
    callback_url: str | None = None
    callback_token: str = attrs.field(default="", repr=False)
    encoding_aes_key: str | None = attrs.field(default=None, repr=False)
    previous_callback_token: str = attrs.field(default="", repr=False)
    previous_encoding_aes_key: str | None = attrs.field(default=None, repr=False)
    callback_changed_at: float = 0.0
    callback_mode: CallbackMode = "safe"
    callback_format: CallbackFormat = "xml"
    callback_enabled: bool = False
    quotas: dict[str, int] = attrs.field(factory=dict[str, int])
    migrated_from: list[str] = attrs.field(factory=list[str])
    name: str = ""
    reports_location: bool = False
    # --- what happens ---
    risks: dict[str, Risk] = attrs.field(factory=dict[str, Risk], repr=False)
    plain: ChannelState = attrs.field(factory=ChannelState, repr=False)
    stable: ChannelState = attrs.field(factory=ChannelState, repr=False)
    tokens: dict[int, Token] = attrs.field(factory=dict[int, Token], repr=False)
    token_serial: int = 0
    counters: dict[str, Counter] = attrs.field(factory=dict[str, Counter], repr=False)
    months: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    month: int = 0
    users: dict[str, User] = attrs.field(factory=dict[str, User], repr=False)
    tags: dict[int, Tag] = attrs.field(factory=dict[int, Tag], repr=False)
    tag_serial: int = 0
    menu: list[JsonObject] | None = attrs.field(default=None, repr=False)
    menuid: int = 0
    conditional: list[ConditionalMenu] = attrs.field(factory=list[ConditionalMenu], repr=False)
    menu_serial: int = 400_000_000
    templates: dict[str, Template] = attrs.field(factory=dict[str, Template], repr=False)
    industries: list[int] = attrs.field(factory=lambda: [1, 6])
    industry_set_at: float | None = None
    msg_serial: int = 2_000_000_000_000_000_000
    sent: list[Sent] = attrs.field(factory=list[Sent], repr=False)
    pushes: list[Push] = attrs.field(factory=list[Push], repr=False)
    push_serial: int = 0
    attempts: list[Attempt] = attrs.field(factory=list[Attempt], repr=False)
    attempt_serial: int = 0
    qr: dict[str, QrTicket] = attrs.field(factory=dict[str, QrTicket], repr=False)
    qr_rules: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject], repr=False)
    codes: dict[str, OAuthCode] = attrs.field(factory=dict[str, OAuthCode], repr=False)
    oauth_tokens: dict[str, OAuthGrant] = attrs.field(factory=dict[str, OAuthGrant], repr=False)
    refresh_tokens: dict[str, OAuthGrant] = attrs.field(factory=dict[str, OAuthGrant], repr=False)
    tickets: dict[str, tuple[str, float]] = attrs.field(factory=dict[str, tuple[str, float]], repr=False)
    # --- library (media, materials, drafts, articles, comments) ---
    library: Library = attrs.field(factory=Library, repr=False)

    # --- outreach (mass sends, subscription notices, staff, statistics) ---
    outreach: Outreach = attrs.field(factory=Outreach, repr=False)
    staff: Staff = attrs.field(factory=Staff, repr=False)
    statistics: Statistics = attrs.field(factory=Statistics, repr=False)

    # --- pay ---

    def channel(self, name: Channel) -> ChannelState:
        """Return the state of one token channel."""
        return self.plain if name == "plain" else self.stable


@attrs.define
class Event:
    """Something due at a time: kept as data, so that a snapshot holds it too."""

    due: float
    serial: int
    kind: str
    appid: str
    fields: JsonObject


@attrs.define
class WorldState:
    """The whole world."""

    dice: Dice
    started_at: float
    default_appid: str = ""
    accounts: dict[str, Account] = attrs.field(factory=dict[str, Account])
    people: list[Person] = attrs.field(factory=list[Person])
    events: list[Event] = attrs.field(factory=list[Event])
    event_serial: int = 0
    calls: dict[str, int] = attrs.field(factory=dict[str, int])
    token_requests: int = 0
    outsider_fetches: int = 0
    story: Story = attrs.field(factory=Story)
    # --- pay: a merchant serves several accounts, so it belongs to none of them ---
    pay: PayState = attrs.field(factory=PayState, repr=False)
