"""Faults to inject: ordered rules, each with a match, a moment, an effect and a count of its hits."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

import attrs

from wxmp.simulator.wire import Delivery, Reply, Request, dump_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from wxmp.simulator.state import Dice, Push

__all__ = ["Effect", "Fault", "FaultConditions", "FaultTable"]

Effect = Literal[
    "busy",
    "quota",
    "minute",
    "errcode",
    "status",
    "reset_before",
    "reset_after",
    "hang",
    "latency",
    "drip",
    "truncated",
    "empty",
    "not_json",
    "content_type",
    "bom",
    "control",
    "redirect",
    "huge",
    "push_twice",
    "push_late",
    "push_reordered",
    "push_lost_answer",
    "push_previous_key",
    "push_wrong_signature",
    "push_wrong_appid",
    "push_stale",
    "push_replayed",
]
EFFECTS: frozenset[str] = frozenset(get_args(Effect))

ERRCODES = {"busy": -1, "quota": 45009, "minute": 45011}
# These change how the platform's own answer travels; all others stand in its place.
SLOWING = frozenset({"latency", "drip"})
# These spoil the platform's own answer, so the request was processed; the rest is not, unless the rule says so.
SPOILING = frozenset({"reset_after", "truncated", "empty", "not_json", "content_type", "bom", "control"})

# These happen to the platform's own pushes; all others to requests that arrive.
PUSH_EFFECTS = frozenset(effect for effect in EFFECTS if effect.startswith("push_"))
# Seconds of an effect whose rule names none.
PUSH_SECONDS = {"push_late": 10.0, "push_reordered": 5.0, "push_stale": 3600.0}

STATUS_PAGE = "<html>\r\n<head><title>{0} {1}</title></head>\r\n<body>\r\n<center><h1>{0} {1}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"  # noqa: E501
STATUS_NAMES = {
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


@attrs.define(kw_only=True)
class Fault:
    """One rule. Empty conditions match everything; ``path`` and the other names are glob patterns.

    Attributes:
        effect: What goes wrong; see :data:`Effect`.
        method: HTTP verb.
        path: Path without host prefix; of a push, the path of the callback address.
        appid: The account concerned.
        client: The caller's ``X-Client`` label.
        openid: Of a push: the user it is about.
        event: Of a push: its event name or message type.
        first: Only the first n matching requests.
        nth: Only the n-th matching request.
        every: Every n-th matching request.
        probability: With this chance, seeded by the world.
        since: Not before this simulated time.
        until: Not from this simulated time on.
        times: At most this many hits.
        errcode: For ``errcode``, or to replace the code of busy, quota, minute.
        status: For ``status`` (an HTML page of a proxy) and ``redirect``.
        seconds: For ``latency`` (before the answer) and ``drip`` (between two bytes); for ``push_late`` and
            ``push_reordered`` the longest wait in simulated seconds, for ``push_stale`` the age of the timestamp.
        jitter: Up to this many further seconds of latency, seeded.
        location: For ``redirect``.
        size: For ``huge``, bytes; for ``truncated``, bytes left (default: half).
        content_type: For ``content_type``.
        processed: Whether the platform acts on the request first; ``None`` takes the effect's habit.
    """

    id: int = 0
    effect: Effect
    method: str = "*"
    path: str = "*"
    appid: str = "*"
    client: str = "*"
    openid: str = "*"
    event: str = "*"
    first: int | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    since: float | None = None
    until: float | None = None
    times: int | None = None
    errcode: int | None = None
    status: int = 502
    seconds: float = 0.0
    jitter: float = 0.0
    location: str = ""
    size: int | None = None
    content_type: str = "text/html"
    processed: bool | None = None
    seen: int = 0
    hits: int = 0

    def __attrs_post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise ValueError(f"unknown effect {self.effect!r}; known: {', '.join(sorted(EFFECTS))}")
        if self.effect not in PUSH_EFFECTS and (self.openid, self.event) != ("*", "*"):
            raise ValueError("openid and event are conditions of pushes only")
        if self.effect in PUSH_SECONDS and not self.seconds:
            self.seconds = PUSH_SECONDS[self.effect]
        if self.effect == "redirect" and not self.location:
            raise ValueError("a redirect needs a location")
        if self.effect == "errcode" and self.errcode is None:
            raise ValueError("the effect errcode needs an errcode")
        for name in ("first", "nth", "every"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")

    @property
    def label(self) -> str:
        """The rule's name in the journal."""
        return f"#{self.id} {self.effect}"

    @property
    def acts(self) -> bool:
        """Whether the platform acts on the request before things go wrong."""
        if self.processed is not None:
            return self.processed
        return self.effect in SPOILING or self.effect in SLOWING

    def matches(self, request: Request, appid: str) -> bool:
        """Tell whether the rule is about this request of a client."""
        return (
            self.effect not in PUSH_EFFECTS
            and fnmatchcase(request.path, self.path)
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(appid, self.appid)
            and fnmatchcase(request.client, self.client)
        )

    def matches_push(self, path: str, appid: str, push: Push) -> bool:
        """Tell whether the rule is about this push."""
        return (
            fnmatchcase(path, self.path)
            and fnmatchcase(appid, self.appid)
            and fnmatchcase(push.openid, self.openid)
            and fnmatchcase(push.name, self.event)
        )

    def strikes(self, now: float, dice: Dice) -> bool:
        """Count a matching request and tell whether the fault happens to it."""
        if (self.since is not None and now < self.since) or (self.until is not None and now >= self.until):
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
        why = f"fault {self.label}"
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
        return Reply(why=why, delivery=Delivery(reset=True))

    def spoil(self, reply: Reply) -> Reply:
        """Return the platform's answer as it arrives after this fault."""
        why = f"{reply.why}; spoilt by fault {self.label}"
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
        if self.effect == "bom":
            return attrs.evolve(reply, why=why, body=b"\xef\xbb\xbf" + body)
        # Raw control characters inside the first text of the answer, as some nicknames carry them.
        head, quote, tail = body.rpartition(b'"')
        return attrs.evolve(reply, why=why, body=head + b"\x01\x0b\n" + quote + tail)


class FaultConditions(TypedDict, total=False):
    """The optional fields of a :class:`Fault`, as keyword arguments."""

    method: str
    appid: str
    client: str
    openid: str
    event: str
    first: int | None
    nth: int | None
    every: int | None
    probability: float | None
    since: float | None
    until: float | None
    times: int | None
    errcode: int | None
    status: int
    seconds: float
    jitter: float
    location: str
    size: int | None
    content_type: str
    processed: bool | None


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

    def choose(self, request: Request, appid: str, now: float, dice: Dice) -> tuple[list[Fault], Fault | None]:
        """Return the slowing rules and the first other rule that strike this request."""
        slowing: list[Fault] = []
        main: Fault | None = None
        for rule in self._rules:
            if not rule.matches(request, appid):
                continue
            if rule.effect in SLOWING:
                if rule.strikes(now, dice):
                    slowing.append(rule)
            elif main is None and rule.strikes(now, dice):
                main = rule
        return slowing, main

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
