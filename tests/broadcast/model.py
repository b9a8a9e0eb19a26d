"""A journal and a platform that are models: in memory, on a clock of the test's own, and ready to fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from wxmp.broadcast.delivery import Message
from wxmp.broadcast.engine import Run
from wxmp.broadcast.journal import Allowance, Claim, Doubt, Journal
from wxmp.broadcast.records import Outcome, Pace, Recipient, Result, RunKey
from wxmp.errors import ConfigError, JournalError, TransportError, WxmpError, api_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence

APPID = "wx0123456789abcdef"
ENDPOINT = "POST /model"
KEY = RunKey(APPID, "run")


@attrs.define(eq=False)
class Row:
    owner: str
    claimed_at: float
    result: Result | None = None


class MemoryJournal(Journal):
    """The contract of a journal in its plainest form. It can take time, fail before it acts, and after."""

    name = "memory"

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, delay: float = 0.0) -> None:
        self.clock = clock
        self.delay = delay
        #: "" | down | deaf (it acts, and the answer is lost)
        self.fault = ""
        self.rows: dict[str, Row] = {}
        self.leases: dict[str, float] = {}
        self.fingerprint: str | None = None
        self.closed = 0
        self.free_at = 0.0
        self._open: set[str] = set()
        self.granted: list[tuple[float, int]] = []
        self.most_in_doubt = 0
        #: What was asked, for tests that count.
        self.asked: list[str] = []

    async def _around(self, verb: str, work: Callable[[], object]) -> object:
        self.asked.append(verb)
        await asyncio.sleep(self.delay / 2)
        if self.fault == "down":
            raise JournalError("no connection", journal=self.name)
        answer = work()
        if verb in ("exchange", "take_over"):
            self.most_in_doubt = max(self.most_in_doubt, len(self._in_flight()))
        if self.fault == "deaf":
            raise JournalError("the answer was lost", journal=self.name)
        await asyncio.sleep(self.delay / 2)
        return answer

    async def begin(self, run: RunKey, *, fingerprint: str) -> None:
        def work() -> None:
            self.fingerprint = self.fingerprint or fingerprint
            if self.fingerprint != fingerprint:
                raise ConfigError("name belongs to another run", field="name")

        await self._around("begin", work)

    async def known(self, run: RunKey, openids: Sequence[str]) -> Mapping[str, bool]:
        return await self._around(  # type: ignore[return-value]
            "known", lambda: {one: self.rows[one].result is not None for one in openids if one in self.rows}
        )

    async def exchange(
        self,
        run: RunKey,
        *,
        owner: str,
        lease: float,
        claims: Sequence[str] = (),
        results: Sequence[Result] = (),
        releases: Sequence[str] = (),
    ) -> tuple[Claim, ...]:
        claims, results, releases = tuple(claims), tuple(results), tuple(releases)

        def work() -> tuple[Claim, ...]:
            self.leases[owner] = self.clock() + lease
            for result in results:
                row = self.rows.setdefault(result.openid, Row(owner, self.clock()))
                replaces = result.outcome is Outcome.ACCEPTED and (
                    row.result is None or row.result.outcome in (Outcome.UNKNOWN, Outcome.REFUSED, Outcome.SKIPPED)
                )
                if row.result is None or replaces:
                    row.result = result
                    self._open.discard(result.openid)
            for openid in releases:
                row = self.rows.get(openid)
                if row is not None and row.owner == owner and row.result is None:
                    del self.rows[openid]
                    self._open.discard(openid)
            answers = []
            for openid in claims:
                mine = openid not in self.rows
                if mine:
                    self.rows[openid] = Row(owner, self.clock())
                    self._open.add(openid)
                answers.append(Claim(openid, mine=mine))
            return tuple(answers)

        return await self._around("exchange", work)  # type: ignore[return-value]

    def _in_flight(self) -> dict[str, Row]:
        return {openid: self.rows[openid] for openid in sorted(self._open)}

    def plant(self, openid: str, *, owner: str, claimed_at: float) -> None:
        """Put somebody in flight."""
        self.rows[openid] = Row(owner, claimed_at)
        self._open.add(openid)

    async def take_over(
        self, run: RunKey, *, owner: str, lease: float, openids: Sequence[str] | None, limit: int
    ) -> tuple[Doubt, ...]:
        wanted = None if openids is None else set(openids)

        def work() -> tuple[Doubt, ...]:
            now = self.clock()
            self.leases[owner] = now + lease
            doubts = []
            for openid, row in self._in_flight().items():
                dead = row.owner != owner and self.leases.get(row.owner, 0.0) <= now
                if dead and (wanted is None or openid in wanted) and len(doubts) < limit:
                    row.owner = owner
                    doubts.append(Doubt(openid, now - row.claimed_at))
            return tuple(doubts)

        return await self._around("take_over", work)  # type: ignore[return-value]

    async def others(self, run: RunKey, *, owner: str) -> float | None:
        def work() -> float | None:
            waits = [self.leases[row.owner] - self.clock() for row in self._in_flight().values() if row.owner != owner]
            return max(min(waits), 0.0) if waits else None

        return await self._around("others", work)  # type: ignore[return-value]

    async def allow(self, appid: str, *, wanted: int, per_second: float | None, per_day: int | None) -> Allowance:
        def work() -> Allowance:
            now, granted, wait = self.clock(), wanted, 0.0
            if per_second is not None:
                granted = min(granted, max(int(per_second / 10), 1)) if self.free_at <= now + 1e-9 else 0
                wait = max(self.free_at - now, 0.0)
            if per_day is not None:
                left = max(per_day - sum(number for _, number in self.granted), 0)
                if not left:
                    return Allowance(0, 0.0, day_is_over=True)
                granted = min(granted, left)
            if per_second is not None:
                self.free_at = max(now, self.free_at) + granted / per_second
            self.granted.append((now, granted))
            return Allowance(granted, wait)

        return await self._around("allow", work)  # type: ignore[return-value]

    async def settle(self, appid: str, *, openid: str, msg_id: int | None, outcome: Outcome, at: float) -> bool:
        def work() -> bool:
            row = self.rows.get(openid)
            if row is None or row.result is None:
                return row is not None
            row.result = attrs.evolve(row.result, outcome=outcome)
            return True

        return await self._around("settle", work)  # type: ignore[return-value]

    async def counts(self, run: RunKey) -> Mapping[Outcome | None, int]:
        def work() -> dict[Outcome | None, int]:
            found: dict[Outcome | None, int] = {}
            for row in self.rows.values():
                outcome = row.result.outcome if row.result is not None else None
                found[outcome] = found.get(outcome, 0) + 1
            return found

        return await self._around("counts", work)  # type: ignore[return-value]

    async def results(self, run: RunKey, *, outcome: Outcome | None = None) -> AsyncIterator[Result]:
        for row in list(self.rows.values()):
            if row.result is not None and outcome in (None, row.result.outcome):
                yield row.result

    async def aclose(self) -> None:
        self.closed += 1

    # ---- for tests

    def outcomes(self) -> dict[str, Outcome | None]:
        return {openid: row.result.outcome if row.result else None for openid, row in self.rows.items()}


@attrs.define(eq=False)
class Platform:
    """Takes messages, knows a key for ten minutes, and does what the script says for a while."""

    clock: Callable[[], float] = time.monotonic
    delay: float = 0.0
    life: float = 600.0
    #: Everything that arrived: time, openid, key.
    arrived: list[tuple[float, str, str]] = attrs.field(factory=list)
    #: What was delivered, by openid: the times.
    delivered: dict[str, list[float]] = attrs.field(factory=dict)
    keys: dict[tuple[str, str], tuple[float, int]] = attrs.field(factory=dict)
    #: What happens to everybody's messages: "" | an errcode | lost (done, no answer) | hole (not done, no answer)
    fault: str | int = ""
    #: The same for one recipient.
    faults: dict[str, str | int] = attrs.field(factory=dict)
    flying: int = 0
    most_flying: int = 0

    async def send(self, openid: str, key: str) -> int:
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            await asyncio.sleep(self.delay / 2)
            self.arrived.append((self.clock(), openid, key))
            fault = self.faults.get(openid, self.fault)
            if fault == "hole":
                await asyncio.sleep(10.0)
                raise TransportError("timed out", endpoint=ENDPOINT)
            if fault == "refused":
                raise TransportError("no connection", endpoint=ENDPOINT, maybe_acted=False)
            if isinstance(fault, int):
                if fault == -1:
                    self._take(openid, key)
                raise api_error(fault, "no", endpoint=ENDPOINT)
            number = self._take(openid, key)
            if fault == "lost":
                raise TransportError("connection reset", endpoint=ENDPOINT)
            await asyncio.sleep(self.delay / 2)
            return number
        finally:
            self.flying -= 1

    def _take(self, openid: str, key: str) -> int:
        now = self.clock()
        at, number = self.keys.get((openid, key), (-1e9, 0))
        if now - at >= self.life:
            number = len(self.keys) + 1
            self.keys[openid, key] = now, number
            self.delivered.setdefault(openid, []).append(now)
        return number


class ModelSender:
    """Sends to the model."""

    endpoint = ENDPOINT

    def __init__(
        self,
        platform: Platform,
        build: Callable[[Recipient], object] | None = None,
        *,
        deduplicates: bool = True,
        fingerprint: str = "model",
    ) -> None:
        self.platform = platform
        self.build = build
        self.deduplicates = deduplicates
        self.fingerprint = fingerprint
        self.before_send: Callable[[], WxmpError | Exception | None] = lambda: None

    async def prepare(self, recipient: Recipient) -> Message | None:
        made = self.build(recipient) if self.build else recipient
        if asyncio.iscoroutine(made):
            made = await made
        return None if made is None else Message(made)

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        error = self.before_send()
        if error is not None:
            raise error
        return await self.platform.send(openid, client_msg_id)


def make_run(
    source: AsyncIterable[Recipient | str] | Iterable[Recipient | str],
    platform: Platform,
    journal: MemoryJournal,
    *,
    build: Callable[[Recipient], object] | None = None,
    deduplicates: bool = True,
    pace: Pace | None = None,
    sender: ModelSender | None = None,
    wall_clock: Callable[[], float] | None = None,
    **options: bool,
) -> Run:
    sender = sender or ModelSender(platform, build, deduplicates=deduplicates)
    return Run(
        KEY,
        source,
        sender,
        journal,
        pace or Pace(),
        clock=journal.clock,
        wall_clock=wall_clock or journal.clock,
        **options,
    )


def people(number: int) -> list[str]:
    return [f"o{index:05d}" for index in range(number)]
