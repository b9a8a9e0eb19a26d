"""When a call is repeated: the table, the waits, the bounds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp.errcodes import CODES
from wxmp.errors import (
    BadStatusError,
    ConfigError,
    ReplyError,
    TimedOutError,
    TokenStoreError,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.retry import RetryPolicy, certainly_not_executed

if TYPE_CHECKING:
    from tenacity import RetryCallState

#: 20 seconds into a minute.
WALL = 1_700_000_000.0 - 1_700_000_000.0 % 60 + 20.0


class Clock:
    """Monotonic time that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, **options: Any) -> RetryPolicy:
        options = {"sleep": self.sleep, "clock": lambda: self.now, "wall_clock": lambda: WALL, **options}
        return RetryPolicy(**options)


class Calls:
    """An operation that fails with one error after the other, and then returns."""

    def __init__(self, clock: Clock, *failures: BaseException, takes: float = 0.0) -> None:
        self.clock = clock
        self.failures = list(failures)
        self.takes = takes
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        self.clock.now += self.takes
        if self.failures:
            raise self.failures.pop(0)
        return "done"


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ---- what is repeated

#: error, repeated when repeatable, repeated when not
TABLE: list[tuple[BaseException, bool, bool]] = [
    (TransportError("refused", maybe_acted=False), True, True),
    (TransportError("reset", maybe_acted=True), True, False),
    (TimedOutError("connecting", maybe_acted=False), True, True),
    (TimedOutError("reading", maybe_acted=True), True, False),
    (BadStatusError("HTTP status 500", status=500, maybe_acted=True), True, False),
    (BadStatusError("HTTP status 502", status=502, maybe_acted=True), True, False),
    (BadStatusError("HTTP status 503", status=503, maybe_acted=True), True, False),
    (BadStatusError("HTTP status 429", status=429, maybe_acted=False), True, True),
    (BadStatusError("HTTP status 408", status=408, maybe_acted=False), True, True),
    (BadStatusError("HTTP status 404", status=404, maybe_acted=False), False, False),
    (BadStatusError("HTTP status 403", status=403, maybe_acted=False), False, False),
    (BadStatusError("HTTP status 302", status=302, maybe_acted=False), False, False),
    (ReplyError("not JSON"), True, False),
    (ReplyError("too large", maybe_acted=False), True, True),
    (api_error(-1), True, False),
    (api_error(45011), True, True),
    (api_error(44990), True, True),
    (api_error(45009), False, False),
    (api_error(48006), False, False),
    (api_error(40001), False, False),
    (api_error(42001), False, False),
    (api_error(40164), False, False),
    (api_error(47001), False, False),
    (api_error(43004), False, False),
    (api_error(46003), False, False),
    (api_error(123456789), False, False),
    (ConfigError("no"), False, False),
    (TokenStoreError("down"), False, False),
    (ValueError("bug"), False, False),
    (asyncio.CancelledError(), False, False),
    (KeyboardInterrupt(), False, False),
]


@pytest.mark.parametrize(
    ("error", "repeatable", "repeated"), [(e, True, r) for e, r, _ in TABLE] + [(e, False, r) for e, _, r in TABLE]
)
def test_what_is_repeated(error: BaseException, repeatable: bool, repeated: bool) -> None:
    """Passing failures are repeated; of a call that sends or creates only those where nothing happened."""
    assert RetryPolicy().should_repeat(error, repeatable=repeatable) is repeated


@pytest.mark.parametrize("code", CODES)
def test_verdict_of_the_table_decides(code: int) -> None:
    """Busy is repeated where it does no harm, wait always, and everything else never."""
    verdict = CODES[code].verdict
    policy = RetryPolicy()
    assert policy.should_repeat(api_error(code), repeatable=True) is (verdict in ("busy", "wait"))
    assert policy.should_repeat(api_error(code), repeatable=False) is (verdict == "wait")


@pytest.mark.parametrize(("error", "certain"), [(e, not_repeatable) for e, yes, not_repeatable in TABLE if yes])
def test_certainty_is_the_one_rule(error: BaseException, certain: bool) -> None:
    """A call that is not repeatable is repeated exactly when the platform certainly did not act."""
    assert certainly_not_executed(error) is certain


# ---- how long it waits


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [(1, 0.2, 0.4), (2, 0.4, 0.8), (3, 0.8, 1.6), (4, 1.6, 3.2), (5, 2.5, 5.0), (6, 2.5, 5.0), (5000, 2.5, 5.0)],
)
def test_waits_double_up_to_the_longest(attempt: int, shortest: float, longest: float) -> None:
    """Each wait is random within its bounds, also the longest one: processes that failed together come back apart."""
    waits = {RetryPolicy().wait_after(api_error(-1), attempt) for _ in range(50)}
    assert shortest <= min(waits)
    assert max(waits) <= longest
    assert len(waits) > 10


@settings(deadline=None)
@given(
    st.floats(1e-3, 1e6),
    st.floats(1e-3, 1e6),
    st.integers(1, 10_000),
)
def test_no_wait_is_longer_than_allowed(initial: float, longest: float, attempt: int) -> None:
    """Whatever the settings, a wait is above 0 and at most max_wait."""
    wait = RetryPolicy(initial_wait=initial, max_wait=longest).wait_after(TransportError("x"), attempt)
    assert 0 < wait <= longest


@pytest.mark.parametrize("second", [0.0, 0.5, 20.0, 59.9])
def test_minute_limit_waits_for_the_next_minute(second: float) -> None:
    """After 45011 the call comes back shortly after the platform's counter is filled again."""
    policy = RetryPolicy(wall_clock=lambda: WALL - 20 + second)
    for _ in range(50):
        assert 60.1 <= second + policy.wait_after(api_error(45011), 3) <= 61.0


@pytest.mark.parametrize(
    "code", [entry.code for entry in CODES.values() if entry.verdict == "wait" and entry.scope != "minute"]
)
def test_other_short_limits_use_the_backoff(code: int) -> None:
    """A limit of a second, of one user or one message waits like any passing failure."""
    assert 0.2 <= RetryPolicy().wait_after(api_error(code), 1) <= 0.4


def test_there_are_item_limits_to_wait_for() -> None:
    """The table has limits of one user or message among those that are waited for."""
    assert any(entry.verdict == "wait" and entry.scope == "item" for entry in CODES.values())


# ---- the bounds


async def test_success_after_failures(clock: Clock) -> None:
    """A call that fails twice and then works returns its result, after two waits."""
    calls = Calls(clock, api_error(-1), TransportError("reset"))
    assert await clock.policy().retrying(repeatable=True)(calls) == "done"
    assert calls.count == 3
    assert len(clock.slept) == 2


@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_attempts_are_bounded(clock: Clock, attempts: int) -> None:
    """There are as many attempts as the policy says, the first one included."""
    calls = Calls(clock, *[api_error(-1) for _ in range(9)])
    with pytest.raises(WxmpError):
        await clock.policy(attempts=attempts).retrying(repeatable=True)(calls)
    assert (calls.count, len(clock.slept)) == (attempts, attempts - 1)


async def test_total_time_is_bounded(clock: Clock) -> None:
    """No attempt starts after the total time, however many are left."""
    calls = Calls(clock, *[api_error(-1) for _ in range(99)], takes=1.0)
    with pytest.raises(WxmpError):
        await clock.policy(attempts=1000, total_time=10.0).retrying(repeatable=True)(calls)
    assert sum(clock.slept) + calls.count - 1 < 10.0
    assert calls.count >= 3


async def test_time_spent_before_counts(clock: Clock) -> None:
    """Seconds that the first attempt took are taken off the total time."""
    calls = Calls(clock, *[api_error(-1) for _ in range(9)])
    with pytest.raises(WxmpError):
        await clock.policy(total_time=10.0).retrying(repeatable=True, elapsed=9.99)(calls)
    assert calls.count == 1


async def test_no_total_time_is_no_repeat(clock: Clock) -> None:
    """total_time=0 turns repeating off."""
    calls = Calls(clock, api_error(-1))
    with pytest.raises(WxmpError):
        await clock.policy(total_time=0).retrying(repeatable=True)(calls)
    assert (calls.count, clock.slept) == (1, [])


async def test_unlimited_total_time(clock: Clock) -> None:
    """An infinite total time leaves the number of attempts as the bound."""
    calls = Calls(clock, *[api_error(-1) for _ in range(50)], takes=3600.0)
    assert await clock.policy(attempts=100, total_time=float("inf")).retrying(repeatable=True)(calls) == "done"
    assert calls.count == 51


async def test_minute_limit_within_the_total_time(clock: Clock) -> None:
    """With time enough a minute limit is waited for, once."""
    calls = Calls(clock, api_error(45011))
    assert await clock.policy(total_time=60.0).retrying(repeatable=False)(calls) == "done"
    (slept,) = clock.slept
    assert 40.1 <= slept <= 41.0


async def test_minute_limit_beyond_the_total_time(clock: Clock) -> None:
    """When the next minute is too far away the error is raised at once, not after a useless wait."""
    calls = Calls(clock, api_error(45011))
    with pytest.raises(WxmpError):
        await clock.policy(total_time=30.0).retrying(repeatable=True)(calls)
    assert (calls.count, clock.slept) == (1, [])


@pytest.mark.parametrize("attempts", [1, 3])
async def test_the_last_real_error_escapes(clock: Clock, attempts: int) -> None:
    """What is raised is the very last failure; tenacity's own error is nowhere behind it."""
    failures = [TransportError(f"number {number}") for number in range(9)]
    last = failures[attempts - 1]
    with pytest.raises(TransportError) as caught:
        await clock.policy(attempts=attempts).retrying(repeatable=True)(Calls(clock, *failures))
    assert caught.value is last
    assert "RetryError" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("error", [ValueError("bug"), asyncio.CancelledError(), api_error(45009)])
async def test_other_errors_pass_through_at_once(clock: Clock, error: BaseException) -> None:
    """A bug, a cancellation or a daily limit is not repeated."""
    calls = Calls(clock, error)
    with pytest.raises(type(error)) as caught:
        await clock.policy().retrying(repeatable=True)(calls)
    assert caught.value is error
    assert (calls.count, clock.slept) == (1, [])


async def test_before_sleep_sees_each_wait(clock: Clock) -> None:
    """The hook is called once before each wait, with the attempt, its error and the seconds."""
    seen: list[tuple[int, str, float]] = []

    def look(state: RetryCallState) -> None:
        assert state.outcome is not None
        seen.append((state.attempt_number, type(state.outcome.exception()).__name__, state.upcoming_sleep))

    calls = Calls(clock, api_error(-1), TransportError("x"))
    await clock.policy().retrying(repeatable=True, before_sleep=look)(calls)
    assert seen == [(1, "BusyError", clock.slept[0]), (2, "TransportError", clock.slept[1])]


async def test_cancellation_ends_a_wait() -> None:
    """A caller that is cancelled while it waits makes no further attempt."""
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    calls = Calls(Clock(), api_error(-1))
    task: asyncio.Task[str] = asyncio.create_task(RetryPolicy(sleep=sleep).retrying(repeatable=True)(calls))
    async with asyncio.timeout(10):
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert calls.count == 1


# ---- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("attempts", value) for value in (0, -1, 1.5, True, "3", None)],
        *[("total_time", value) for value in (-1, -0.1, float("nan"), True, "30", None)],
        *[("initial_wait", value) for value in (0, -1, float("nan"), float("inf"), True, "1", None)],
        *[("max_wait", value) for value in (0, -1, float("nan"), float("inf"), False, "1", None)],
    ],
)
def test_settings_that_cannot_work(field: str, value: object) -> None:
    """A setting that makes no sense is refused by name when the policy is made."""
    with pytest.raises(ConfigError, match=field) as caught:
        RetryPolicy(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_policy_is_a_value() -> None:
    """Policies with the same settings are equal, frozen, and show no functions."""
    assert RetryPolicy() == RetryPolicy(sleep=Clock().sleep)
    assert repr(RetryPolicy()) == "RetryPolicy(attempts=4, total_time=30.0, initial_wait=0.2, max_wait=5.0)"
    with pytest.raises(AttributeError):
        RetryPolicy().attempts = 5  # type: ignore[misc]


def test_tenacity_is_loaded_after_a_failure() -> None:
    """Making a policy and judging an error loads no tenacity; only running one does."""
    script = (
        "import sys; from wxmp.retry import RetryPolicy; from wxmp.errors import api_error; policy = RetryPolicy();"
        "assert policy.should_repeat(api_error(-1), repeatable=True); policy.wait_after(api_error(-1), 1);"
        "assert 'tenacity' not in sys.modules; policy.retrying(repeatable=True); assert 'tenacity' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
