"""In time and only once, played in virtual time: several workers, one dedupe store, the platform's deliveries."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.tokens.virtual_time import now, run, virtual
from wxmp.errors import ConfigError, RecipientError, SignatureError, WebhookStoreError
from wxmp.webhook.dedupe import Claim, MemoryDedupe
from wxmp.webhook.delivery import Deliveries, DeliveryPolicy, HandlerFailedError, OverloadedError, Work

if TYPE_CHECKING:
    from collections.abc import Awaitable

#: The platform hangs up after this time.
PATIENCE = 5.0


@attrs.define
class Fleet:
    """Workers that share a store, one push, and what became of it."""

    store: MemoryDedupe
    policy: DeliveryPolicy
    workers: list[Deliveries]
    runs: list[float] = attrs.field(factory=list)
    ended: list[float] = attrs.field(factory=list)
    late: list[bytes] = attrs.field(factory=list)
    requests: int = 0

    def work(self, seconds: float, answer: bytes = b"hello", *, fails: bool = False, key: str = "wx:push") -> Work:
        async def handle() -> bytes:
            self.runs.append(now())
            await asyncio.sleep(seconds)
            if fails:
                raise ValueError("broken")
            self.ended.append(now())
            return answer

        async def send_late(text: bytes) -> None:
            self.late.append(text)

        self.requests += 1
        return Work(key, f"wx:request{self.requests}", 300.0, handle, send_late, "text 0123")

    async def platform(
        self, seconds: float, *, workers: tuple[int, ...] = (0, 0, 0), fails: bool = False
    ) -> list[bytes | int | str]:
        """Deliver as the platform does: each time it hangs up, or is refused, it comes again, three times in all."""
        seen: list[bytes | int | str] = []
        for worker in workers:
            connection = asyncio.ensure_future(self.workers[worker].deliver(self.work(seconds, fails=fails)))
            done, _ = await asyncio.wait({connection}, timeout=PATIENCE)
            if not done:
                # The server goes on with it; nobody reads what it says.
                connection.add_done_callback(lambda task: task.cancelled() or task.exception())
                seen.append("cut")
                continue
            error = connection.exception()
            if error is None:
                seen.append(connection.result())
                return seen
            seen.append(error.status)  # type: ignore[attr-defined]
        return seen

    async def settle(self) -> None:
        await asyncio.sleep(300)
        assert not any(len(worker) for worker in self.workers)


def fleet(workers: int = 2, **settings: Any) -> Fleet:
    store = MemoryDedupe(clock=now)
    policy = DeliveryPolicy(**settings)
    return Fleet(store, policy, [Deliveries(store, policy) for _ in range(workers)])


# ---- the main road


@virtual
async def test_a_fast_handler_answers_on_the_first_connection() -> None:
    """Within the deadline nothing special happens."""
    shop = fleet()
    assert await shop.platform(1.0) == [b"hello"]
    await shop.settle()
    assert (len(shop.runs), shop.late) == (1, [])


@pytest.mark.parametrize("workers", [(0, 0, 0), (0, 1, 0), (1, 0, 1)], ids=str)
def test_a_slow_handler_answers_on_the_connection_of_the_retry(workers: tuple[int, ...]) -> None:
    """After 6 s the second connection carries the answer, whichever worker it reached."""

    async def story() -> None:
        shop = fleet()
        assert await shop.platform(6.0, workers=workers) == ["cut", b"hello"]
        await shop.settle()
        assert (len(shop.runs), len(shop.ended), shop.late) == (1, 1, [])

    run(story())


@pytest.mark.parametrize("workers", [(0, 0, 0), (0, 1, 1), (0, 1, 0)], ids=str)
def test_a_very_slow_handler_is_answered_later(workers: tuple[int, ...]) -> None:
    """After 20 s no connection is left: the last one got nothing to show, and the answer goes out once."""

    async def story() -> None:
        shop = fleet()
        started = now()
        assert await shop.platform(20.0, workers=workers) == ["cut", "cut", b""]
        assert now() - started == pytest.approx(2 * PATIENCE + shop.policy.deadline)
        await shop.settle()
        assert (len(shop.runs), len(shop.ended), shop.late) == (1, 1, [b"hello"])

    run(story())


@virtual
async def test_the_answer_of_the_gap_waits_for_the_retry() -> None:
    """A handler that ends between two connections is answered on the next one, and not a second time."""
    shop = fleet()
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(5.2)))
    await asyncio.wait({first}, timeout=PATIENCE)
    first.cancel()  # the server notices that the platform has hung up
    await asyncio.sleep(1.0)
    assert len(shop.ended) == 1
    assert await shop.workers[1].deliver(shop.work(5.2)) == b"hello"
    await shop.settle()
    assert (len(shop.runs), shop.late) == (1, [])


@virtual
async def test_an_answer_that_nobody_fetches_goes_out_late() -> None:
    """The platform never comes back: after the grace the answer takes the other way."""
    shop = fleet()
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(5.2)))
    await asyncio.wait({first}, timeout=PATIENCE)
    first.cancel()
    await asyncio.sleep(0.2 + shop.policy.grace - 0.1)
    assert shop.late == []
    await asyncio.sleep(0.2)
    assert shop.late == [b"hello"]
    assert await shop.workers[1].deliver(shop.work(5.2)) == b""
    assert len(shop.runs) == 1


@virtual
async def test_a_finished_push_gets_the_first_answer_again() -> None:
    """The platform did not get the answer and delivers once more: the same answer, no second run."""
    shop = fleet()
    assert await shop.workers[0].deliver(shop.work(0.0, b"first")) == b"first"
    assert await shop.workers[1].deliver(shop.work(0.0, b"second")) == b"first"
    assert len(shop.runs) == 1


@virtual
async def test_nothing_to_show_is_never_late() -> None:
    """A handler that returns nothing sends nothing, however long it took."""
    shop = fleet()
    done = asyncio.ensure_future(shop.workers[0].deliver(shop.work(30.0, b"")))
    await asyncio.wait({done}, timeout=PATIENCE)
    done.cancel()
    await shop.settle()
    assert (len(shop.ended), shop.late) == (1, [])


@virtual
async def test_ten_deliveries_at_once_run_one_handler() -> None:
    """However many connections arrive together, in two workers, there is one run and one answer for all."""
    shop = fleet()
    calls = [shop.workers[index % 2].deliver(shop.work(0.5)) for index in range(10)]
    assert set(await asyncio.gather(*calls)) == {b"hello"}
    assert len(shop.runs) == 1


@virtual
async def test_a_request_is_taken_once() -> None:
    """The same request a second time is a replay, and refused."""
    shop = fleet()
    work = shop.work(0.0)
    assert await shop.workers[0].deliver(work) == b"hello"
    with pytest.raises(SignatureError):
        await shop.workers[1].deliver(work)
    assert len(shop.runs) == 1


# ---- workers that die


@virtual
async def test_a_worker_that_dies_leaves_the_push_to_the_next_delivery() -> None:
    """The lease of a dead worker ends, and the connection that waits takes over in time."""
    shop = fleet()
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(1.0)))
    await asyncio.sleep(0.9)
    kill(shop.workers[0])
    first.cancel()
    started = now()
    assert await shop.workers[1].deliver(shop.work(1.0)) == b"hello"
    assert now() - started < shop.policy.deadline
    assert (len(shop.runs), len(shop.ended)) == (2, 1)


@virtual
async def test_a_frozen_worker_does_not_answer_what_another_has_handled() -> None:
    """A process that slept through its lease finds the push taken: its connection gets the other's answer."""
    shop = fleet()
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(2.0, b"frozen")))
    await asyncio.sleep(0.3)
    job = next(iter(shop.workers[0]._jobs.values()))
    assert job.renewal is not None
    job.renewal.cancel()  # what a stopped process does not do
    await asyncio.sleep(0.9)
    end_lease(shop)
    assert await shop.workers[1].deliver(shop.work(0.0, b"other")) == b"other"
    assert await first == b"other"
    assert shop.late == []


@virtual
async def test_a_worker_that_lost_its_lease_stops_its_handler() -> None:
    """A renewal that is refused cuts the handler off: another worker runs it already."""
    shop = fleet()
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(4.0, b"mine")))
    await asyncio.sleep(0.1)
    end_lease(shop)
    assert await shop.workers[1].deliver(shop.work(1.5, b"other")) == b"other"
    assert await first == b"other"
    assert len(shop.ended) == 1


def end_lease(shop: Fleet) -> None:
    """Let the lease of the push end, as if its owner had said nothing for too long."""
    entry = shop.store._pushes.get("wx:push")
    assert entry is not None
    until, delivery, fence, _, state, taken, answer = entry
    shop.store._pushes.put("wx:push", (until, delivery, fence, now(), state, taken, answer), now(), 0.0)


def kill(worker: Deliveries) -> None:
    """Stop a worker as kill -9 does: no clean-up reaches the store."""
    for job in worker._jobs.values():
        job.fenced = True
        if job.renewal is not None:
            job.renewal.cancel()
        if job.task is not None:
            job.task.cancel()


# ---- handlers that fail


@virtual
async def test_a_failed_handler_counts_as_handled(caplog: pytest.LogCaptureFixture) -> None:
    """By default an exception is logged, the user sees nothing, and the platform does not come again."""
    shop = fleet()
    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        assert await shop.platform(0.1, fails=True) == [b""]
    assert "the handler failed" in caplog.text
    assert len(shop.runs) == 1


@virtual
async def test_a_failed_handler_can_ask_for_another_delivery(caplog: pytest.LogCaptureFixture) -> None:
    """With on_error="retry" each delivery runs the handler again."""
    shop = fleet(on_error="retry")
    with caplog.at_level(logging.CRITICAL, "wxmp.webhook"):
        assert await shop.platform(0.1, workers=(0, 1, 0), fails=True) == [500, 500, 500]
    assert len(shop.runs) == 3
    await shop.settle()


@virtual
async def test_waiting_connections_fail_with_errors_of_their_own() -> None:
    """Two connections of one failed handler do not share an exception object."""
    shop = fleet(on_error="retry")
    logging.getLogger("wxmp.webhook").setLevel(logging.CRITICAL)
    try:
        both = await asyncio.gather(
            *(shop.workers[0].deliver(shop.work(1.0, fails=True)) for _ in range(2)), return_exceptions=True
        )
    finally:
        logging.getLogger("wxmp.webhook").setLevel(logging.NOTSET)
    assert [type(error) for error in both] == [HandlerFailedError, HandlerFailedError]
    assert both[0] is not both[1]


@virtual
async def test_a_handler_that_never_ends_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing hangs for ever: after handler_timeout the push is over."""
    shop = fleet(handler_timeout=30.0)
    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        assert await shop.platform(1e9) == ["cut", "cut", b""]
        await asyncio.sleep(20)
    assert "stopped after 30 s" in caplog.text
    await shop.settle()
    assert (len(shop.runs), shop.ended, shop.late) == (1, [], [])


# ---- too much, and the end


@virtual
async def test_the_number_of_handlers_is_bounded() -> None:
    """10,000 pushes at once start as many handlers as the policy says; the others are refused, not queued."""
    shop = fleet(workers=1, max_running=100)
    calls = [
        asyncio.ensure_future(shop.workers[0].deliver(shop.work(1.0, key=f"wx:{index}"))) for index in range(10_000)
    ]
    pending = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0.5)
    assert len(shop.runs) == 100
    assert len(shop.workers[0]) == 100
    assert sum(call.done() for call in calls) == 9_900
    results = await pending
    assert results.count(b"hello") == 100
    assert sum(isinstance(result, OverloadedError) for result in results) == 9_900


@virtual
async def test_closing_waits_for_handlers() -> None:
    """What runs at shutdown may end, and its connection is answered."""
    shop = fleet(workers=1)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(2.0)))
    await asyncio.sleep(0.1)
    await shop.workers[0].aclose()
    assert await call == b"hello"


@virtual
async def test_closing_does_not_wait_for_the_grace() -> None:
    """An answer that waits for another delivery goes out at once when the webhook closes."""
    shop = fleet(workers=1)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(5.2)))
    await asyncio.wait({call}, timeout=PATIENCE)
    call.cancel()
    await asyncio.sleep(0.5)
    started = now()
    await shop.workers[0].aclose()
    assert shop.late == [b"hello"]
    assert now() - started < 0.1


@virtual
async def test_closing_stops_what_takes_too_long_and_leaves_it_to_others(caplog: pytest.LogCaptureFixture) -> None:
    """After the drain a handler is cancelled, and another worker gets the push at once."""
    shop = fleet(drain=3.0)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(100.0)))
    await asyncio.sleep(0.1)
    started = now()
    await shop.workers[0].aclose()
    assert now() - started == pytest.approx(3.0)
    with pytest.raises(OverloadedError):
        await call
    started = now()
    assert await shop.workers[1].deliver(shop.work(0.0)) == b"hello"
    assert now() - started < 0.5


@virtual
async def test_nothing_new_begins_while_closing() -> None:
    """During the drain a new push is left to another worker."""
    shop = fleet(workers=1)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(2.0)))
    await asyncio.sleep(0.1)
    closing = asyncio.ensure_future(shop.workers[0].aclose())
    await asyncio.sleep(0.1)
    with pytest.raises(OverloadedError, match="closing"):
        await shop.workers[0].deliver(shop.work(0.0, key="wx:other"))
    await asyncio.gather(call, closing)


@virtual
async def test_closing_twice_is_fine_and_it_works_again() -> None:
    """aclose() may be called again, and a webhook that was closed can be used again."""
    shop = fleet(workers=1)
    await shop.workers[0].aclose()
    await shop.workers[0].aclose()
    assert await shop.workers[0].deliver(shop.work(0.0)) == b"hello"


# ---- a store that fails


class BrokenStore(MemoryDedupe):
    """A store that can be switched off."""

    down = False

    async def begin(self, *args: Any, **kwargs: Any) -> Claim:
        if self.down:
            raise WebhookStoreError("no connection", store="redis")
        return await super().begin(*args, **kwargs)

    async def extend(self, *args: Any, **kwargs: Any) -> bool:
        if self.down:
            raise WebhookStoreError("no connection", store="redis")
        return await super().extend(*args, **kwargs)

    async def finish(self, *args: Any, **kwargs: Any) -> bool:
        if self.down:
            raise WebhookStoreError("no connection", store="redis")
        return await super().finish(*args, **kwargs)

    async def claim_late(self, *args: Any, **kwargs: Any) -> bool:
        if self.down:
            raise WebhookStoreError("no connection", store="redis")
        return await super().claim_late(*args, **kwargs)

    async def forget(self, *args: Any, **kwargs: Any) -> None:
        if self.down:
            raise WebhookStoreError("no connection", store="redis")
        await super().forget(*args, **kwargs)


def breakable(workers: int = 1, **settings: Any) -> tuple[Fleet, BrokenStore]:
    store = BrokenStore(clock=now)
    policy = DeliveryPolicy(**settings)
    shop = Fleet(store, policy, [Deliveries(store, policy) for _ in range(workers)])
    for worker in shop.workers:
        worker._local = MemoryDedupe(clock=now)
    return shop, store


@pytest.mark.parametrize("seconds", [0.0, 1.0, 6.0, 20.0])
def test_without_the_store_a_process_works_alone(seconds: float) -> None:
    """The store is down from the start: one process still handles a push once and answers it."""

    async def story() -> None:
        shop, store = breakable()
        store.down = True
        seen = await shop.platform(seconds)
        await shop.settle()
        assert (len(shop.runs), len(shop.ended)) == (1, 1)
        assert [answer for answer in [seen[-1], *shop.late] if answer] == [b"hello"]

    run(story())


@pytest.mark.parametrize("moment", [0.5, 4.0, 5.5, 11.0])
@pytest.mark.parametrize("back", [False, True])
def test_a_store_that_fails_in_the_middle_costs_no_push(moment: float, back: bool) -> None:
    """Whenever the store goes, and whether it comes back or not, the handler runs once and the user is answered."""

    async def story() -> None:
        shop, store = breakable()

        async def weather() -> None:
            await asyncio.sleep(moment)
            store.down = True
            if back:
                await asyncio.sleep(3.0)
                store.down = False

        outage = asyncio.ensure_future(weather())
        seen = await shop.platform(8.0)
        await outage
        await shop.settle()
        assert len(shop.ended) == 1
        assert b"hello" in [seen[-1], *shop.late]

    run(story())


@virtual
async def test_the_policy_can_refuse_to_work_alone() -> None:
    """With on_store_down="refuse" a push is left to the next delivery, and no handler runs."""
    shop, store = breakable(on_store_down="refuse")
    store.down = True
    assert await shop.platform(0.0) == [503, 503, 503]
    assert shop.runs == []
    store.down = False
    await asyncio.sleep(2)
    assert await shop.platform(0.0) == [b"hello"]


@virtual
async def test_a_short_outage_costs_no_push_even_so() -> None:
    """With on_store_down="refuse" a connection waits for the store: three refusals in a row would lose the push."""
    shop, store = breakable(on_store_down="refuse")
    store.down = True
    pushed = asyncio.ensure_future(shop.platform(0.0))
    await asyncio.sleep(2.0)
    store.down = False
    assert await pushed == [b"hello"]
    assert len(shop.runs) == 1


@virtual
async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand pushes without the store write a handful of lines."""
    shop, store = breakable()
    store.down = True
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        for index in range(1000):
            await shop.workers[0].deliver(shop.work(0.0, key=f"wx:{index}"))
    assert len(caplog.records) == 1


# ---- settings


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"deadline": 0}, "deadline"),
        ({"attempts": -1}, "attempts"),
        ({"attempts": 2.5}, "attempts"),
        ({"max_running": 0.5}, "max_running"),
        ({"hold": 1.0}, "hold"),
        ({"lease": 4.5}, "lease"),
        ({"on_error": "ignore"}, "on_error"),
        ({"on_store_down": "panic"}, "on_store_down"),
        ({"keep": float("inf")}, "keep"),
        ({"drain": True}, "drain"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], field: str) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError) as caught:
        DeliveryPolicy(**settings)
    assert caught.value.field == field


# ---- races


class SlowStore(MemoryDedupe):
    """A store that takes its time, each way: what another one does meanwhile it does not know."""

    def __init__(self, seconds: float = 0.05, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds

    async def _around(self, operation: Awaitable[Any]) -> Any:
        await asyncio.sleep(self.seconds)
        answer = await operation
        await asyncio.sleep(self.seconds)
        return answer

    async def begin(self, *args: Any, **kwargs: Any) -> Claim:
        return await self._around(super().begin(*args, **kwargs))  # type: ignore[no-any-return]

    async def finish(self, *args: Any, **kwargs: Any) -> bool:
        return await self._around(super().finish(*args, **kwargs))  # type: ignore[no-any-return]


def slow(workers: int = 1, seconds: float = 0.05, **settings: Any) -> Fleet:
    store, policy = SlowStore(seconds, clock=now), DeliveryPolicy(**settings)
    return Fleet(store, policy, [Deliveries(store, policy) for _ in range(workers)])


@virtual
async def test_the_number_of_handlers_is_bounded_while_the_store_thinks() -> None:
    """Pushes that all asked the store before the first handler began do not all begin."""
    shop = slow(max_running=10)
    calls = [shop.workers[0].deliver(shop.work(1.0, key=f"wx:{index}")) for index in range(100)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(shop.runs) == results.count(b"hello") == 10


@virtual
async def test_what_was_refused_for_lack_of_room_is_free_for_the_next_delivery() -> None:
    """Another worker with room handles it at once, not after a lease."""
    shop = fleet(max_running=1)
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(4.9, key="wx:other")))
    await asyncio.sleep(0.1)
    started = now()
    with pytest.raises(OverloadedError):
        await shop.workers[0].deliver(shop.work(0.0))
    started = now()
    assert await shop.workers[1].deliver(shop.work(0.0)) == b"hello"
    assert now() == started
    await first


@virtual
async def test_a_full_worker_still_answers_the_retry_of_a_finished_push() -> None:
    """An answer that waits for its next delivery counts as work; that delivery gets it all the same."""
    shop = fleet(workers=1, max_running=1)
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(5.2)))
    await asyncio.wait({first}, timeout=PATIENCE)
    first.cancel()
    await asyncio.sleep(0.5)
    assert len(shop.workers[0]) == 1
    assert await shop.workers[0].deliver(shop.work(5.2)) == b"hello"
    await shop.settle()
    assert shop.late == []


@virtual
async def test_closing_starts_nothing_for_those_who_still_wait() -> None:
    """A connection whose handler was stopped does not start it once more after closing, when the store is slow."""
    shop = slow(drain=1.0)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(100.0)))
    await asyncio.sleep(0.2)
    await shop.workers[0].aclose()
    with pytest.raises(OverloadedError):
        await call
    assert len(shop.runs) == 1


@virtual
async def test_closing_lets_an_ended_handler_tell_the_store() -> None:
    """The drain ends while the store is told: the answer is kept, and no other worker handles the push again."""
    shop = slow(workers=2, seconds=0.3, drain=1.0)
    call = asyncio.ensure_future(shop.workers[0].deliver(shop.work(1.5)))
    await asyncio.sleep(1.2)
    closing = asyncio.ensure_future(shop.workers[0].aclose())
    assert await call == b"hello"
    await closing
    assert await shop.workers[1].deliver(shop.work(0.0, b"again")) == b"hello"
    assert len(shop.ended) == 1


@virtual
async def test_a_retry_that_comes_while_the_store_is_told_carries_the_answer() -> None:
    """The handler ends without a connection, the retry arrives at the same moment: one answer, not two."""
    shop = slow(seconds=0.2)
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(5.0)))
    await asyncio.sleep(5.0)
    first.cancel()
    assert await shop.workers[0].deliver(shop.work(5.0)) == b"hello"
    await shop.settle()
    assert (len(shop.ended), shop.late) == (1, [])


@pytest.mark.parametrize(("seconds", "late"), [(0.05, False), (0.3, True), (3.0, True)])
def test_an_answer_at_the_very_last_moment_is_not_lost(seconds: float, late: bool) -> None:
    """The last delivery runs out while the store is told of the answer: it goes out one way, on time if it can."""

    async def story() -> None:
        shop = slow(seconds=0.01)
        connections = [asyncio.ensure_future(shop.workers[0].deliver(shop.work(4.45))) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert isinstance(shop.store, SlowStore)
        shop.store.seconds = seconds
        *_, last = await asyncio.gather(*connections, return_exceptions=True)
        await shop.settle()
        assert (last, shop.late) == ((b"", [b"hello"]) if late else (b"hello", []))

    run(story())


@virtual
async def test_the_last_connection_that_is_lost_while_the_store_is_told_costs_no_answer() -> None:
    """The store believes that a connection has the answer; it is gone, and no other will come."""
    shop = slow(seconds=0.2)
    connections = [asyncio.ensure_future(shop.workers[0].deliver(shop.work(2.0))) for _ in range(3)]
    await asyncio.sleep(2.5)
    for connection in connections:
        connection.cancel()
    await shop.settle()
    assert shop.late == [b"hello"]


@virtual
async def test_nobody_hears_what_is_said_after_the_platform_has_hung_up() -> None:
    """A connection that is still open after 5 s does not count: without a retry the answer goes out late."""
    shop = fleet(workers=1)
    with pytest.raises(OverloadedError):
        await shop.workers[0].deliver(shop.work(5.2))
    await shop.settle()
    assert shop.late == [b"hello"]


@virtual
async def test_only_the_newest_delivery_is_heard() -> None:
    """The platform delivers again because the connection broke, and the server has not noticed."""
    shop = fleet(workers=1)
    unnoticed = asyncio.ensure_future(shop.workers[0].deliver(shop.work(4.0)))
    await asyncio.sleep(1.0)
    second = asyncio.ensure_future(shop.workers[0].deliver(shop.work(4.0)))
    await asyncio.sleep(1.0)
    second.cancel()
    assert await unnoticed == b"hello"
    await shop.settle()
    assert shop.late == [b"hello"]


@virtual
async def test_a_busy_process_does_not_handle_a_push_twice() -> None:
    """Something blocks the loop for longer than the lease: the retry joins the handler that is still at work."""
    shop = fleet(workers=1)
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(6.0)))
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    retry = asyncio.ensure_future(shop.workers[0].deliver(shop.work(6.0)))
    loop.jump(4.0)  # type: ignore[attr-defined]
    assert await retry == b"hello"
    await asyncio.gather(first, return_exceptions=True)
    await shop.settle()
    assert (len(shop.runs), len(shop.ended), shop.late) == (1, 1, [])


@virtual
async def test_an_answer_follows_its_push_to_a_new_fence() -> None:
    """The lease ran out, and the retry gets the push while the handler's answer is on its way to the store."""
    shop = slow(seconds=0.3)
    first = asyncio.ensure_future(shop.workers[0].deliver(shop.work(1.0)))
    await asyncio.sleep(1.4)  # it ends at 1.6, and the store hears of it at 1.9
    retry = asyncio.ensure_future(shop.workers[0].deliver(shop.work(1.0)))
    await asyncio.sleep(0.2)
    end_lease(shop)
    assert await asyncio.gather(first, retry) == [b"hello", b"hello"]
    assert "done" in (shop.store._pushes.get("wx:push") or ())
    await shop.settle()
    assert (len(shop.runs), shop.late) == (1, [])


@virtual
async def test_a_store_that_forgets_does_not_make_its_worker_begin_anew() -> None:
    """The store was emptied while the handler ran: the retry in the same worker waits for it."""
    shop = fleet(workers=1)
    asyncio.get_running_loop().call_later(1.0, shop.store._pushes.clear)
    assert await shop.platform(7.0) == ["cut", b"hello"]
    await shop.settle()
    assert (len(shop.runs), shop.late) == (1, [])


# ---- what handlers raise


def raising(shop: Fleet, error: BaseException) -> Work:
    work = shop.work(0.0)

    async def handle() -> bytes:
        shop.runs.append(now())
        await asyncio.sleep(0)
        raise error

    work.handle = handle
    return work


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        SignatureError("of something else"),
        OverloadedError("of something else"),
        WebhookStoreError("of something else"),
        RecipientError(errcode=45015),
        TimeoutError(),
        type("Odd", (BaseException,), {})(),
        StopAsyncIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("on_error", ["success", "retry"])
def test_whatever_a_handler_raises_is_a_failure_of_the_handler(
    error: BaseException, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors of our own and cancellations too: the handler ran once, and nothing of it looks like a refusal."""

    async def story() -> None:
        shop = fleet(on_error=on_error)
        work = raising(shop, error)
        if on_error == "success":
            assert await shop.workers[0].deliver(work) == b""
        else:
            with pytest.raises(HandlerFailedError):
                await shop.workers[0].deliver(work)
        assert len(shop.runs) == 1
        await shop.settle()

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        run(story())
    assert caplog.text.count("the handler failed") == 1


@virtual
async def test_a_handler_that_cleans_up_for_long_keeps_its_push() -> None:
    """It took too long, was told to stop, and cleans up for longer than the lease: nobody else begins meanwhile."""
    shop = fleet(handler_timeout=1.0)
    work = shop.work(0.0)

    async def handle() -> bytes:
        shop.runs.append(now())
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(6.0)
        return b""

    work.handle = handle
    first = asyncio.ensure_future(shop.workers[0].deliver(work))
    await asyncio.wait({first}, timeout=PATIENCE)
    logging.getLogger("wxmp.webhook").setLevel(logging.CRITICAL)
    try:
        assert await shop.workers[1].deliver(shop.work(0.0, b"twice")) == b""
    finally:
        logging.getLogger("wxmp.webhook").setLevel(logging.NOTSET)
    assert len(shop.runs) == 1
    await asyncio.gather(first, return_exceptions=True)


@virtual
async def test_an_outage_of_an_hour_is_two_lines() -> None:
    """The store fails and works again: that is said once each, however often it was asked."""
    shop, store = breakable()
    store.down = True
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("wxmp.webhook")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for index in range(360):
            await shop.workers[0].deliver(shop.work(0.0, key=f"wx:{index}"))
            await asyncio.sleep(10)
        store.down = False
        await shop.workers[0].deliver(shop.work(0.0, key="wx:last"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert len(said) == 2, said


@virtual
async def test_a_late_answer_that_is_given_up_at_shutdown_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Closing does not wait for ever, and says what it cost."""
    shop = fleet(workers=1, drain=1.0)
    work = shop.work(5.2)

    async def hang(_: bytes) -> None:
        await asyncio.sleep(1e6)

    work.send_late = hang
    with pytest.raises(OverloadedError):
        await shop.workers[0].deliver(work)
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        await shop.workers[0].aclose()
    assert "the late answer was given up" in caplog.text
    assert len(shop.workers[0]) == 0


@virtual
async def test_fast_handlers_leave_no_timers() -> None:
    """A thousand pushes that end at once have one timer between them, and closing takes it away."""
    shop = fleet(workers=1)
    for index in range(1000):
        await shop.workers[0].deliver(shop.work(0.0, key=f"wx:{index}"))
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    assert len(timers) <= 1
    await shop.workers[0].aclose()
    assert not [timer for timer in timers if not timer.cancelled()]
