"""What the retry machinery adds to a call that succeeds.

Ours is the real ``Caller``, whose one attempt is replaced by a coroutine that returns at once, against the same caller
with a front that prepares the call and awaits that attempt: the difference is the machinery. The peer is tenacity's
decorator with the same policy on a coroutine that returns at once, against that coroutine.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from tenacity import retry, retry_if_exception, stop_after_attempt, stop_before_delay, wait_random_exponential

from benchmarks._report import Row, run
from benchmarks._ways import warm_client
from wxmp._caller import Caller, Endpoint
from wxmp.errors import WxmpError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GET: Final = Endpoint("GET", "/cgi-bin/user/info", repeatable=True)
ANSWER: Final[dict[str, Any]] = {}
#: Never asked.
NOWHERE: Final = "http://127.0.0.1:9"


class OneStep(Caller):
    """A caller whose attempt costs nothing."""

    async def _attempt(self, call: Any, exchange: Any, read: Any) -> Any:
        return ANSWER


class WithoutRetry(OneStep):
    """The same caller without the machinery."""

    async def __call__(
        self,
        endpoint: Endpoint,
        *,
        params: Any = None,
        json: Any = None,
        files: Any = None,
        form: Any = None,
        credentials: Any = None,
        timeout: float | None = None,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Prepare the call and attempt it once."""
        call = self._prepare(endpoint, params, json, files, form, credentials, timeout)
        answer: dict[str, Any] = await self._attempt(call, self._transport.send, self._read)
        return answer


async def seconds_of(function: Callable[[Any], Awaitable[object]], argument: object, calls: int) -> float:
    """Return the CPU seconds of one call; nothing is waited for."""
    numbers = range(calls)
    started = time.process_time()
    for _ in numbers:
        await function(argument)
    return (time.process_time() - started) / calls


async def compare(rounds: int, calls: int) -> tuple[list[float], list[float]]:
    """Return microseconds per call that the machinery adds: ours, tenacity's."""

    async def bare(_: object) -> dict[str, Any]:
        return ANSWER

    @retry(
        stop=stop_after_attempt(4) | stop_before_delay(30),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        retry=retry_if_exception(lambda error: isinstance(error, WxmpError)),
        reraise=True,
    )
    async def decorated(_: object) -> dict[str, Any]:
        return ANSWER

    ours, theirs = [], []
    async with warm_client(NOWHERE) as client:
        with_retry, without = OneStep.__new__(OneStep), WithoutRetry.__new__(WithoutRetry)
        for caller in (with_retry, without):
            caller.__dict__.update(client._caller.__dict__)
        for _ in range(rounds):
            floor = await seconds_of(without, GET, calls)
            ours.append((await seconds_of(with_retry, GET, calls) - floor) * 1e6)
            floor = await seconds_of(bare, GET, calls)
            theirs.append((await seconds_of(decorated, GET, calls // 10) - floor) * 1e6)
    return ours, theirs


def measure(quick: bool) -> list[Row]:
    """Run both in turns."""
    ours, theirs = asyncio.run(compare(3 if quick else 25, 200 if quick else 20_000))
    mine, peer = statistics.median(ours), statistics.median(theirs)
    claim = "retry machinery on a call that succeeds"
    return [
        Row(claim=claim, unit="us", ours=mine, at_most=1.0, rounds=ours),
        Row(claim=claim, unit="us", ours=mine, peer_name="tenacity @retry", peer=peer, ratio_at_most=0.03, rounds=ours),
    ]


if __name__ == "__main__":
    raise SystemExit(run("retry_cost", measure))
