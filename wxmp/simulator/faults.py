"""Faults to inject: ordered rules, each with a match, a moment, an effect and a count of its hits."""

from __future__ import annotations

import math
import re
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import attrs

from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.effects import (
    EFFECTS,
    PAY_EFFECTS,
    PREPARING,
    PUSH_EFFECTS,
    SLOWING,
    SPOILING,
    Effect,
    EffectInfo,
    effect_info,
    effects,
)
from wxmp.simulator.hosts import NAMES
from wxmp.simulator.wire import Delivery, Reply, Request, WorldError, dump_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wxmp.simulator.state import Dice, Push

__all__ = [
    "EFFECTS",
    "Effect",
    "EffectInfo",
    "Fault",
    "FaultConditions",
    "FaultTable",
    "PayNotice",
    "Struck",
    "effect_info",
    "effects",
    "read_fault",
    "read_fault_header",
]

# Where a secret is shown; effects about the secret strike only there unless their rule names a path.
TOKEN_PATHS = frozenset({"/cgi-bin/token", "/cgi-bin/stable_token"})
SECRET_EFFECTS = frozenset({"secret_frozen", "ip_refused", "risk_pending"})
# Seconds of an effect whose rule names none.
DEFAULT_SECONDS = {"push_late": 10.0, "push_reordered": 5.0, "push_stale": 3600.0}
LONGEST_SECONDS = 366 * 86_400.0

SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
# Texts that look like openids count as well: lists of users come without a name for each.
OPENID_IN_BODY = re.compile(rb'"(o[A-Za-z0-9_-]{27})"|"(?:openid|touser)"\s*:\s*"([^"\\]{1,64})"')

# A code of WeChat Pay, such as NOT_ENOUGH.
PAY_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
PROBE = "SIGNTEST"
PROBE_START = "WECHATPAY/SIGNTEST/"
PAY_HOST = "mch"
PAY_SIGNATURE = "wechatpay-signature"
OTHER_DIGITS = bytes.maketrans(b"0123456789ABCDEF", b"123456789ABCDEF0")
PAY_SIGN = re.compile(rb"(<sign>(?:<!\[CDATA\[)?)([0-9A-F]+)")

HEADER_NAME = "x-sim-fault"
HEADER_LIMIT = 1_000
HEADER_PART = re.compile(r"([a-z_]+)(?:\s*=\s*(\S.*))?")
HEADER_LABEL = "header"

STATUS_PAGE = "<html>\r\n<head><title>{0} {1}</title></head>\r\n<body>\r\n<center><h1>{0} {1}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"  # noqa: E501
STATUS_NAMES = {
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


@attrs.frozen
class PayNotice:
    """What a payment rule can look at: one notice on its way to a merchant.

    Attributes:
        path: Path of the ``notify_url``.
        mchid: The merchant.
        appid: The account of the order.
        openid: The payer; empty where there is none.
        event: Such as ``"TRANSACTION.SUCCESS"`` or ``"REFUND.SUCCESS"``.
        body: The notice before it is enciphered, as text.
    """

    path: str
    mchid: str
    appid: str = ""
    openid: str = ""
    event: str = ""
    body: str = attrs.field(default="", repr=False)


@attrs.define(kw_only=True)
class Fault:
    """One rule. Empty conditions match everything; ``path`` and the other names are glob patterns.

    Attributes:
        effect: What goes wrong; one of the names in ``effects``.
        enabled: Whether the rule takes part at all; a rule switched off does not count requests either.
        host: ``"api"``, ``"mp"``, ``"open"`` or ``"mch"``; of a request to the bare address, the endpoint's own host.
        method: HTTP verb.
        path: Path without host prefix; of a push or a notice, the path of the developer's address.
        appid: The account concerned.
        client: The caller's ``X-Client`` label.
        openid: The user a push or notice is about; of a request, a user it names in its query or body.
        mchid: Of a payment notice: the merchant.
        event: Of a push: its event name or message type; of a payment notice: its event type.
        body_contains: Text the body holds somewhere; of a push, its fields as JSON.
        direction: ``"in"`` for requests, ``"out"`` for pushes and notices. It follows from the effect: naming the
            other one is refused.
        first: Only the first n matching requests.
        nth: Only the n-th matching request.
        every: Every n-th matching request.
        probability: With this chance, seeded by the world.
        since: Not before this simulated time.
        until: Not from this simulated time on.
        between: Only at this time of the day in Shanghai, such as ``"22:00-06:00"``.
        times: At most this many hits.
        errcode: For ``errcode``, or to replace the code of an effect that has one.
        code: For ``errcode`` on the merchant host, a code of WeChat Pay such as ``"NOT_ENOUGH"``; a rule with nothing
            else strikes only there. For ``pay_answer_forged``, ``"SIGNTEST"`` makes it a probe (签名探测流量).
        status: For ``status`` (an HTML page of a proxy) and ``redirect``.
        seconds: For ``latency`` (before the answer) and ``drip`` (between two bytes); for ``push_late`` and
            ``push_reordered`` the longest wait in simulated seconds, for ``push_stale`` the age of the timestamp; for
            ``clock_jump`` how far, backwards when negative.
        jitter: Up to this many further seconds of latency, seeded.
        location: For ``redirect``.
        size: For ``huge``, bytes; for ``truncated``, bytes left (default: half).
        content_type: For ``content_type``.
        channel: For the effects that end a token: ``"stable"`` or ``"plain"``; empty: the request's own.
        processed: Whether the platform acts on the request first; ``None`` takes the effect's habit.
    """

    id: int = 0
    effect: Effect
    enabled: bool = True
    host: str = "*"
    method: str = "*"
    path: str = "*"
    appid: str = "*"
    client: str = "*"
    openid: str = "*"
    mchid: str = "*"
    event: str = "*"
    body_contains: str = ""
    direction: Literal["*", "in", "out"] = "*"
    first: int | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    since: float | None = None
    until: float | None = None
    between: str = ""
    times: int | None = None
    errcode: int | None = None
    code: str = ""
    status: int = 502
    seconds: float = 0.0
    jitter: float = 0.0
    location: str = ""
    size: int | None = None
    content_type: str = "text/html"
    channel: Literal["", "stable", "plain"] = ""
    processed: bool | None = None
    seen: int = 0
    hits: int = 0

    def __attrs_post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}; known: {', '.join(sorted(EFFECTS))}")
        self._check_conditions()
        if self.effect in DEFAULT_SECONDS and not self.seconds:
            self.seconds = DEFAULT_SECONDS[self.effect]
        if not abs(self.seconds) <= LONGEST_SECONDS or not 0 <= self.jitter <= LONGEST_SECONDS:
            raise ValueError("seconds and jitter must be plain numbers of at most a year")
        if self.effect == "clock_jump":
            if not self.seconds:
                raise ValueError("a clock_jump needs its seconds; negative ones go back")
        elif self.seconds < 0:
            raise ValueError("seconds must not be negative")
        if self.effect == "redirect" and not self.location:
            raise ValueError("a redirect needs a location")
        if self.effect == "errcode" and self.errcode is None and not self.code:
            raise ValueError("the effect errcode needs an errcode, or a code of WeChat Pay")
        self._check_code()
        if self.channel not in {"", "stable", "plain"}:
            raise ValueError("channel must be stable or plain")
        if self.size is not None and self.size < 0:
            raise ValueError("size must not be negative")

    def _check_conditions(self) -> None:
        outgoing = self.outgoing
        if not outgoing and self.event != "*":
            raise ValueError("event is a condition of pushes only, and of payment notices")
        if self.effect not in PAY_EFFECTS and self.mchid != "*":
            raise ValueError("mchid is a condition of payment notices only")
        if outgoing and (self.host, self.method, self.client) != ("*", "*", "*"):
            raise ValueError("host, method and client are conditions of requests only")
        if self.direction not in {"*", "in", "out"}:
            raise ValueError("direction must be in or out")
        if self.direction != "*" and (self.direction == "out") != outgoing:
            raise ValueError(f"the effect {self.effect} happens to what {'goes out' if outgoing else 'comes in'} only")
        if not any(fnmatchcase(host, self.host) for host in NAMES):
            raise ValueError(f"host must be one of {', '.join(NAMES)}")
        if self.between and SPAN.fullmatch(self.between) is None:
            raise ValueError("between must look like 22:00-06:00")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        for name in ("first", "nth", "every"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.times is not None and self.times < 0:
            raise ValueError("times must not be negative")

    def _check_code(self) -> None:
        if self.effect == "pay_answer_forged":
            if self.code not in {"", PROBE}:
                raise ValueError(f"the code of pay_answer_forged is {PROBE} or nothing")
        elif self.code and PAY_CODE.fullmatch(self.code) is None:
            raise ValueError("code is a code of WeChat Pay in capital letters, such as NOT_ENOUGH")

    @property
    def outgoing(self) -> bool:
        """Whether the effect happens to what the platform sends by itself."""
        return self.effect in PUSH_EFFECTS or self.effect in PAY_EFFECTS

    @property
    def label(self) -> str:
        """The rule's name in the journal; a fault of a request's own header is just that."""
        return f"#{self.id} {self.effect}" if self.id else HEADER_LABEL

    @property
    def reason(self) -> str:
        """The rule as the reason of an answer."""
        return f"fault {self.label}" if self.id else f"fault of the request's own header: {self.effect}"

    @property
    def of_pay(self) -> bool:
        """Whether only the merchant host can do this."""
        return self.effect == "pay_answer_forged" or (self.effect == "errcode" and self.errcode is None)

    @property
    def trouble(self) -> Literal["busy", "limited", "refused"]:
        """What the rule's code says, for a part of the platform that has words of its own for it."""
        if self.code or self.errcode is not None:
            return "refused"
        return "busy" if self.effect == "busy" else "limited" if self.effect in {"quota", "minute"} else "refused"

    @property
    def acts(self) -> bool:
        """Whether the platform acts on the request before things go wrong."""
        if self.effect == "refused":
            return False
        if self.processed is not None:
            return self.processed
        return self.effect in SPOILING or self.effect in SLOWING or self.effect in PREPARING

    def matches(self, request: Request, appid: str, host: str = "") -> bool:
        """Tell whether the rule is about this request of a client; ``host`` is the endpoint's own."""
        if not self.enabled or self.outgoing:
            return False
        if self.effect in SECRET_EFFECTS and self.path == "*" and request.path not in TOKEN_PATHS:
            return False
        if self.effect in PREPARING and self.effect != "clock_jump" and "access_token" not in request.query:
            return False
        if self.of_pay and (request.host or host) != PAY_HOST:
            return False
        return (
            fnmatchcase(request.path, self.path)
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(appid, self.appid)
            and fnmatchcase(request.client, self.client)
            and (self.host == "*" or fnmatchcase(request.host or host, self.host))
            and (not self.body_contains or self.body_contains.encode() in request.body)
            and (self.openid == "*" or any(fnmatchcase(openid, self.openid) for openid in openids_of(request)))
        )

    def matches_push(self, path: str, appid: str, push: Push) -> bool:
        """Tell whether the rule is about this push."""
        return (
            self.enabled
            and fnmatchcase(path, self.path)
            and fnmatchcase(appid, self.appid)
            and fnmatchcase(push.openid, self.openid)
            and fnmatchcase(push.name, self.event)
            and (not self.body_contains or self.body_contains.encode() in dump_json(push.fields))
        )

    def matches_notice(self, notice: PayNotice) -> bool:
        """Tell whether the rule is about this payment notice."""
        return (
            self.enabled
            and fnmatchcase(notice.path, self.path)
            and fnmatchcase(notice.mchid, self.mchid)
            and fnmatchcase(notice.appid, self.appid)
            and fnmatchcase(notice.openid, self.openid)
            and fnmatchcase(notice.event, self.event)
            and self.body_contains in notice.body
        )

    def strikes(self, now: float, dice: Dice) -> bool:
        """Count a matching request and tell whether the fault happens to it."""
        if (self.since is not None and now < self.since) or (self.until is not None and now >= self.until):
            return False
        if self.between and not within(self.between, now):
            return False
        self.seen += 1
        if self.times is not None and self.hits >= self.times:
            return False
        if (
            (self.first is not None and self.seen > self.first)
            or (self.nth is not None and self.seen != self.nth)
            or (self.every is not None and self.seen % self.every)
            or (self.probability is not None and dice.fraction(f"fault {self.id}") >= self.probability)
        ):
            return False
        self.hits += 1
        return True

    def slow(self, delivery: Delivery, dice: Dice) -> Delivery:
        """Add this rule's slowness to a delivery."""
        if self.effect == "drip":
            return attrs.evolve(delivery, drip=self.seconds or 0.05)
        jitter = dice.between(f"latency {self.id}", 0.0, self.jitter) if self.jitter else 0.0
        return attrs.evolve(delivery, delay=delivery.delay + self.seconds + jitter)

    def replace(self) -> Reply:
        """Return the answer that stands in the platform's place. An errcode is left to the world: it adds a rid."""
        why = self.reason
        if self.effect == "status":
            name = STATUS_NAMES.get(self.status, "Error")
            page = STATUS_PAGE.format(self.status, name).encode()
            return Reply(page, status=self.status, content_type="text/html", why=why)
        if self.effect == "redirect":
            status = self.status if self.status in {301, 302, 303, 307, 308} else 302
            return Reply(b"", status=status, content_type="text/html", headers=(("location", self.location),), why=why)
        if self.effect == "huge":
            delivery = Delivery(filler=self.size if self.size is not None else 64 << 20)
            return Reply(dump_json({"errcode": 0, "errmsg": ""}), errcode=0, why=why, delivery=delivery)
        if self.effect == "hang":
            return Reply(why=why, delivery=Delivery(hang=True))
        return Reply(why=why, delivery=Delivery(reset=True, refused=self.effect == "refused"))

    def spoil(self, reply: Reply) -> Reply:
        """Return the platform's answer as it arrives after this fault."""
        why = f"{reply.why}; spoilt by {self.reason}"
        body = reply.body
        if self.effect == "reset_after":
            return attrs.evolve(reply, why=why, delivery=attrs.evolve(reply.delivery, reset=True))
        if self.effect == "truncated":
            left = self.size if self.size is not None else len(body) // 2
            return attrs.evolve(reply, why=why, body=body[:left])
        if self.effect == "empty":
            return attrs.evolve(reply, why=why, body=b"")
        if self.effect == "not_json":
            return attrs.evolve(reply, why=why, body=b"<html><body>ok</body></html>", content_type="text/html")
        if self.effect == "content_type":
            return attrs.evolve(reply, why=why, content_type=self.content_type)
        if self.effect == "pay_answer_forged":
            return self._forge(reply, why)
        if self.effect == "bom":
            return attrs.evolve(reply, why=why, body=b"\xef\xbb\xbf" + body)
        # Raw control characters inside the first text of the answer, as some nicknames carry them.
        head, quote, tail = body.rpartition(b'"')
        return attrs.evolve(reply, why=why, body=head + b"\x01\x0b\n" + quote + tail)

    def _forge(self, reply: Reply, why: str) -> Reply:
        """Return an answer of WeChat Pay under a signature that is not its own; one without any stays as it is."""

        def forged(name: str, value: str) -> str:
            if name.lower() != PAY_SIGNATURE:
                return value
            # Still base64 of the right length: only whoever verifies it can tell.
            return PROBE_START + value[len(PROBE_START) :] if self.code == PROBE else value[:-8][::-1] + value[-8:]

        headers = tuple((name, forged(name, value)) for name, value in reply.headers)
        body = PAY_SIGN.sub(lambda found: found[1] + found[2].translate(OTHER_DIGITS), reply.body)
        if headers == reply.headers and body == reply.body:
            why = f"{why}; this answer carries no signature"
        return attrs.evolve(reply, why=why, headers=headers, body=body)


class FaultConditions(TypedDict, total=False):
    """The optional fields of a :class:`Fault`, as keyword arguments."""

    enabled: bool
    host: str
    method: str
    appid: str
    client: str
    openid: str
    mchid: str
    event: str
    body_contains: str
    direction: Literal["*", "in", "out"]
    first: int | None
    nth: int | None
    every: int | None
    probability: float | None
    since: float | None
    until: float | None
    between: str
    times: int | None
    errcode: int | None
    code: str
    status: int
    seconds: float
    jitter: float
    location: str
    size: int | None
    content_type: str
    channel: Literal["", "stable", "plain"]
    processed: bool | None


def within(span: str, now: float) -> bool:
    """Tell whether a moment lies in a span of the day in Shanghai; a span may run over midnight."""
    found = SPAN.fullmatch(span)
    if found is None:
        return False
    hours, minutes, end_hours, end_minutes = (int(part) for part in found.groups())
    start, end = hours * 3600 + minutes * 60, end_hours * 3600 + end_minutes * 60
    here = datetime.fromtimestamp(now, SHANGHAI)
    moment = here.hour * 3600 + here.minute * 60 + here.second
    return start <= moment < end if start <= end else moment >= start or moment < end


def openids_of(request: Request) -> list[str]:
    """Return the users a request names: in its query, or in the usual fields of its body."""
    named = [request.query[name] for name in ("openid", "touser") if name in request.query]
    found = OPENID_IN_BODY.findall(request.body)
    return named + [(bare or value).decode("utf-8", errors="replace") for bare, value in found]


FLAG_FIELDS = frozenset({"enabled", "processed"})
WHOLE_FIELDS = frozenset({"first", "nth", "every", "times", "errcode", "status", "size"})
NUMBER_FIELDS = frozenset({"probability", "since", "until", "seconds", "jitter"})
COUNTERS = frozenset({"id", "seen", "hits"})
# What a rule may say about itself, and which fields may be null: "not set".
RULE_FIELDS = {field.name: field.default is None for field in attrs.fields(Fault) if field.name not in COUNTERS}


def read_fault(fields: Mapping[str, object]) -> Fault:
    """Make a rule from plain data, such as JSON.

    Raises:
        WorldError: An unknown field, a value of the wrong type, or a rule that cannot work.
    """
    for name, value in fields.items():
        if name not in RULE_FIELDS:
            raise WorldError(f"unknown field {name!r} of a fault; known: {', '.join(sorted(RULE_FIELDS))}")
        if value is None and RULE_FIELDS[name]:
            continue
        if name in FLAG_FIELDS:
            wanted, fits = "true or false", isinstance(value, bool)
        elif name in WHOLE_FIELDS:
            wanted, fits = "a whole number", isinstance(value, int) and not isinstance(value, bool)
        elif name in NUMBER_FIELDS:
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            wanted, fits = "a number", plain and math.isfinite(cast("float", value))
        else:
            wanted, fits = "a text", isinstance(value, str)
        if not fits:
            raise WorldError(f"{name} of a fault must be {wanted}")
    if "effect" not in fields:
        raise WorldError("a fault needs an effect")
    try:
        return Fault(**cast("dict[str, Any]", dict(fields)))
    except ValueError as error:
        raise WorldError(str(error)) from error


def read_fault_header(text: str) -> list[Fault]:
    """Read the header ``X-Sim-Fault``: one fault or several, joined by semicolons.

    ``errcode=45009``, ``status=502``, ``reset_after; latency=2.5``: the names of the effects on requests and tokens,
    each with the one value it may have. It holds for its own request only.

    Raises:
        WorldError: What cannot be read, in a sentence.
    """
    if len(text) > HEADER_LIMIT:
        raise WorldError(f"the header X-Sim-Fault is longer than {HEADER_LIMIT} characters")
    rules = [read_header_part(part.strip()) for part in text.split(";")]
    names = [rule.effect for rule in rules]
    if len(names) != len(set(names)):
        raise WorldError("the header X-Sim-Fault names an effect twice")
    if sum(name not in SLOWING and name not in PREPARING for name in names) > 1:
        raise WorldError("the header X-Sim-Fault names two answers for one request; only slow ones can be joined")
    return rules


def read_header_part(part: str) -> Fault:
    """Read one part of the header."""
    found = HEADER_PART.fullmatch(part)
    info = effect_info(found.group(1)) if found is not None else None
    if found is None or info is None or info.kind not in {"request", "token"}:
        known = ", ".join(f"{i.name}=…" if i.value else i.name for i in effects() if i.kind in {"request", "token"})
        raise WorldError(f"the header X-Sim-Fault holds {part[:80]!r}, which is no effect; known: {known}")
    value = found.group(2)
    if value is not None and info.value is None:
        raise WorldError(f"the header X-Sim-Fault gives a value to {info.name}, which takes none")
    given: FaultConditions = {}
    if value is not None and info.value is not None:
        given = header_value(info, info.value, value)
    elif info.name in {"latency", "status"}:
        raise WorldError(f"the header X-Sim-Fault needs a value: {info.name}=…")
    try:
        return Fault(effect=info.name, **given)
    except ValueError as error:
        raise WorldError(f"the header X-Sim-Fault is wrong: {error}") from error


def header_value(info: EffectInfo, field: str, value: str) -> FaultConditions:
    """Read the value of one part of the header, for the field it fills."""
    if field == "location":
        return {"location": value}
    if field == "content_type":
        return {"content_type": value}
    if field == "code" or (field == "errcode" and PAY_CODE.fullmatch(value) is not None):
        return {"code": value}
    try:
        if field == "seconds":
            seconds = float(value)
            if math.isfinite(seconds):
                return {"seconds": seconds}
        elif re.fullmatch(r"-?[0-9]{1,9}", value):
            number = int(value)
            if field == "errcode":
                return {"errcode": number}
            if field == "size":
                return {"size": number}
            if 400 <= number <= 599:
                return {"status": number}
    except ValueError:
        pass
    raise WorldError(f"the header X-Sim-Fault has {value[:40]!r} as the {field} of {info.name}")


@attrs.frozen
class Struck:
    """The rules that strike one request: what comes before it, what stands for its answer, what slows it down."""

    preparing: tuple[Fault, ...] = ()
    main: Fault | None = None
    slowing: tuple[Fault, ...] = ()

    @property
    def labels(self) -> str:
        """The rules' names for the journal, each once."""
        rules = (*self.preparing, *((self.main,) if self.main is not None else ()), *self.slowing)
        return ", ".join(dict.fromkeys(rule.label for rule in rules))


class FaultTable:
    """The rules of a world, in order."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._serial = 0

    @property
    def rules(self) -> tuple[Fault, ...]:
        """All rules, in order."""
        return tuple(self._rules)

    def add(self, fault: Fault) -> Fault:
        """Append a rule and give it its id."""
        self._serial += 1
        fault.id = self._serial
        self._rules.append(fault)
        return fault

    def get(self, fault_id: int) -> Fault | None:
        """Return a rule by its id, or ``None``."""
        return next((rule for rule in self._rules if rule.id == fault_id), None)

    def enable(self, fault_id: int, *, enabled: bool = True) -> Fault | None:
        """Switch a rule on or off; return it, or ``None`` when there is no such rule."""
        rule = self.get(fault_id)
        if rule is not None:
            rule.enabled = enabled
        return rule

    def remove(self, fault_id: int) -> bool:
        """Remove a rule; tell whether it was there."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule.id != fault_id]
        return len(self._rules) < before

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def restore(self, rules: list[Fault]) -> None:
        """Put back the rules of a snapshot."""
        self._rules = list(rules)
        self._serial = max((rule.id for rule in rules), default=0)

    def choose(
        self, request: Request, appid: str, now: float, dice: Dice, *, host: str = "", ordered: Sequence[Fault] = ()
    ) -> Struck:
        """Return the rules that strike a request: all that prepare or slow it, and the first of the others.

        Args:
            request: The request.
            appid: The account it concerns.
            now: Simulated time.
            dice: The world's chance.
            host: The endpoint's own host, for a request to the bare address.
            ordered: The faults of the request's own header; they come first, and no rule's answer beats theirs.
        """
        preparing = [rule for rule in ordered if rule.effect in PREPARING]
        slowing = [rule for rule in ordered if rule.effect in SLOWING]
        main = next((rule for rule in ordered if rule.effect not in PREPARING and rule.effect not in SLOWING), None)
        for rule in self._rules:
            if not rule.matches(request, appid, host):
                continue
            if rule.effect in SLOWING:
                if rule.strikes(now, dice):
                    slowing.append(rule)
            elif rule.effect in PREPARING:
                if rule.strikes(now, dice):
                    preparing.append(rule)
            elif main is None and rule.strikes(now, dice):
                main = rule
        return Struck(tuple(preparing), main, tuple(slowing))

    def strike_push(
        self, effects: Collection[str], path: str, appid: str, push: Push, now: float, dice: Dice
    ) -> dict[str, Fault]:
        """Return the rules of these effects that strike a push: the first of each effect."""
        struck: dict[str, Fault] = {}
        for rule in self._rules:
            wanted = rule.effect in effects and rule.effect not in struck and rule.matches_push(path, appid, push)
            if wanted and rule.strikes(now, dice):
                struck[rule.effect] = rule
        return struck

    def strike_pay(self, effects: Collection[str], notice: PayNotice, now: float, dice: Dice) -> dict[str, Fault]:
        """Return the rules of these effects that strike a payment notice: the first of each effect.

        Ask once for each notice and effect, at the moment the effect would happen: every call counts.
        """
        struck: dict[str, Fault] = {}
        for rule in self._rules:
            wanted = rule.effect in effects and rule.effect not in struck and rule.matches_notice(notice)
            if wanted and rule.strikes(now, dice):
                struck[rule.effect] = rule
        return struck
