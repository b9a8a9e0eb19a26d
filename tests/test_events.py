"""What hooks are told: calls, tokens, pushes, payments and bulk sends, from begin to end and never twice."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

import wxmp.events
from tests.integrations.platform import Account
from tests.pay.conftest import pay_settings
from tests.tokens.virtual_time import virtual
from wxmp import (
    APIError,
    BroadcastFinished,
    BroadcastStarted,
    CallAnswered,
    CallFinished,
    CallRetried,
    CallStarted,
    Client,
    ConfigError,
    Event,
    LateAnswer,
    PushAnswered,
    PushFinished,
    PushStarted,
    RetryPolicy,
    TokenEvent,
    TransportError,
)
from wxmp._caller import Caller
from wxmp._watched_caller import WatchedCaller
from wxmp.broadcast import TemplateMessage
from wxmp.events import combine, guarded
from wxmp.pay import Notifications, PayClient
from wxmp.pay._gateway import PayEndpoint, _shown
from wxmp.simulator import Simulator
from wxmp.webhook import DeliveryPolicy, Reply, TextMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping
    from pathlib import Path

    from wxmp.broadcast import Recipient

PING = "/cgi-bin/get_api_domain_ip"
QUICK = RetryPolicy(attempts=3, initial_wait=0.001, max_wait=0.002)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.clear_faults()


class Seen(list[Event]):
    """A hook that keeps everything."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def kinds(self, path: str = PING) -> list[str]:
        return [type(event).__name__ for event in self.calls(path)]

    def calls(self, path: str = PING) -> list[Any]:
        return [event for event in self if isinstance(event, wxmp.events.CallEvent) and event.endpoint.endswith(path)]

    def end(self, path: str = PING) -> CallFinished:
        (found,) = (event for event in self.calls(path) if isinstance(event, CallFinished))
        return found


def make(simulator: Simulator, seen: Any, **options: Any) -> Client:
    account = simulator.account
    return Client(account.appid, account.secret, base_url=simulator.url, on_event=seen, **{"retry": QUICK, **options})


# ---- calls


async def test_a_call_has_a_beginning_and_an_end(simulator: Simulator) -> None:
    """Two events with one number, the endpoint without its query, and no token anywhere."""
    seen = Seen()
    async with make(simulator, seen) as client:
        await client.request("GET", PING, params={"lang": "zh_CN"})
        token = await client.token()
    start, end = seen.calls()
    assert isinstance(start, CallStarted)
    assert isinstance(end, CallFinished)
    assert start.call == end.call
    assert (end.outcome, end.attempts, end.errcode, end.service) == ("ok", 1, None, "mp")
    assert 0 < end.waited <= end.elapsed < 10
    assert start.endpoint == f"GET {PING}"
    assert (start.host, start.port) == ("127.0.0.1", simulator.port)
    assert seen.kinds("stable_token") == ["CallStarted", "CallFinished"]
    assert token not in repr(seen)
    assert simulator.account.secret not in repr(seen)


async def test_a_retry_is_told_with_its_wait(simulator: Simulator) -> None:
    """An attempt that failed is an event of its own; the end counts what was sent."""
    seen = Seen()
    simulator.fault("errcode", PING, errcode=-1, times=1)
    async with make(simulator, seen) as client:
        await client.request("GET", PING, repeatable=True)
    assert seen.kinds() == ["CallStarted", "CallRetried", "CallFinished"]
    retry = seen.calls()[1]
    assert (retry.attempt, retry.errcode, retry.reason) == (1, -1, "BusyError")
    assert 0 <= retry.seconds < 1
    assert seen.end().attempts == 2


async def test_an_error_is_an_outcome(simulator: Simulator) -> None:
    """The end names the class of the error, the platform's code, and its rid."""
    seen = Seen()
    async with make(simulator, seen) as client:
        with pytest.raises(APIError) as caught:
            await client.user.get("oNobodyOfThatNameAtAll000000")
    end = seen.end("/cgi-bin/user/info")
    assert (end.outcome, end.errcode, end.rid) == (
        type(caught.value).__name__,
        caught.value.errcode,
        caught.value.rid,
    )
    assert end.rid


async def test_a_dead_token_is_no_retry(simulator: Simulator) -> None:
    """A replaced token costs one more request; tokens have events of their own."""
    seen = Seen()
    async with make(simulator, seen) as client:
        await client.token()
        simulator.kill_token("stable")
        await client.request("GET", PING)
    assert seen.kinds() == ["CallStarted", "CallFinished"]
    assert seen.end().attempts == 2
    assert [event.name for event in seen if isinstance(event, TokenEvent)] == [
        "refreshed",
        "dead_reported",
        "refreshed",
    ]


async def test_a_cancelled_call_ends(simulator: Simulator) -> None:
    """Cancellation is an outcome, and no error."""
    seen = Seen()
    simulator.fault("hang", PING)
    async with make(simulator, seen) as client:
        await client.token()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.request("GET", PING)
    assert seen.kinds() == ["CallStarted", "CallFinished"]
    assert seen.end().outcome == "cancelled"


async def test_a_connection_that_breaks(simulator: Simulator) -> None:
    """A failure without a code has the class of its error."""
    seen = Seen()
    simulator.fault("reset_before", PING)
    async with make(simulator, seen) as client:
        with pytest.raises(TransportError):
            await client.request("GET", PING, repeatable=True)
    assert seen.kinds() == ["CallStarted", "CallRetried", "CallRetried", "CallFinished"]
    assert seen.end().outcome in ("TransportError", "BadStatusError")
    assert seen.end().attempts == 3


async def test_downloads_and_streams(simulator: Simulator) -> None:
    """A download is one call; a stream says when its reader takes over, and ends with the reader."""
    seen = Seen()
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 4096
    async with make(simulator, seen) as client:
        media = await client.media.upload(png, type="image", filename="a.png")
        path = "/cgi-bin/media/get"
        await client.media.get(media.media_id)
        assert seen.kinds(path) == ["CallStarted", "CallFinished"]
        seen.clear()
        async with client.media.stream(media.media_id) as file:
            assert seen.kinds(path) == ["CallStarted", "CallAnswered"]
            async for _ in file:
                pass
        assert seen.kinds(path) == ["CallStarted", "CallAnswered", "CallFinished"]
        assert seen.end(path).outcome == "ok"
        assert isinstance(seen.calls(path)[1], CallAnswered)
        seen.clear()
        with pytest.raises(LookupError):
            async with client.media.stream(media.media_id):
                raise LookupError
        assert seen.end(path).outcome == "LookupError"


async def test_concurrent_calls_do_not_mix(simulator: Simulator) -> None:
    """Each of many calls at once has its own number, one beginning and one end, and counts its own requests."""
    seen = Seen()
    async with make(simulator, seen) as client:
        await client.token()
        await asyncio.gather(*(client.request("GET", PING) for _ in range(20)))
    numbers = [event.call for event in seen.calls()]
    assert len(set(numbers)) == 20
    assert len(numbers) == 40
    assert {event.attempts for event in seen.calls() if isinstance(event, CallFinished)} == {1}


async def test_without_a_hook_nothing_is_built(simulator: Simulator) -> None:
    """A client without a hook has the plain caller."""
    async with make(simulator, None) as client, make(simulator, Seen()) as watched:
        assert type(client._caller) is Caller
        assert type(watched._caller) is WatchedCaller


# ---- hooks


async def test_a_raising_hook_is_told_of_once(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """What a hook raises is dropped; one line of the log says where it happened and not what it said."""

    def hook(event: Event) -> None:
        raise ValueError("the-secret-of-a-hook")

    async with make(simulator, hook) as client:
        for _ in range(3):
            await client.request("GET", PING)
    told = [record for record in caplog.records if record.name == "wxmp.events"]
    assert len(told) == 1
    assert "test_events.py" in told[0].getMessage()
    assert "ValueError" in told[0].getMessage()
    assert "the-secret-of-a-hook" not in caplog.text


def test_combined_hooks_do_not_harm_each_other() -> None:
    """One that raises keeps none of the others from being called."""

    def hook(event: Event) -> None:
        raise ValueError

    first, last = Seen(), Seen()
    combine(first, hook, last)(TokenEvent(name="store_up", appid="wx1", channel="stable"))
    assert len(first) == len(last) == 1


async def asynchronous(event: Event) -> None: ...


class Asynchronous:
    async def __call__(self, event: Event) -> None: ...


async def generating(event: Event) -> AsyncGenerator[None, None]:
    yield


@pytest.mark.parametrize(
    "hook", [asynchronous, partial(asynchronous), Asynchronous(), generating, Seen, Asynchronous, "print", 5]
)
def test_what_is_no_hook_is_refused(hook: Any) -> None:
    """An asynchronous hook would never run, and a class would be made anew for each event: that is said at once."""
    with pytest.raises(ConfigError) as caught:
        Client("wx0123456789abcdef", "secret", on_event=hook)
    assert caught.value.field == "on_event"
    with pytest.raises(ConfigError):
        combine(hook)


async def test_a_hook_that_hides_a_coroutine_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """No signature shows that a lambda returns a coroutine: the first event does. Nothing is left unawaited."""
    hook = guarded(lambda event: asynchronous(event))  # type: ignore[arg-type]  # noqa: PLW0108
    for _ in range(2):
        hook(TokenEvent(name="store_up", appid="wx1", channel="stable"))
    (told,) = caplog.records
    assert "returned a coroutine" in told.getMessage()
    assert vars(told).items() >= {"wxmp_event": "hook_failed", "wxmp_appid": "wx1", "wxmp_reason": "TokenEvent"}.items()


async def test_a_hook_cannot_cancel_a_call(simulator: Simulator) -> None:
    """A hook that asks for the result of a cancelled task gets its CancelledError; the call knows nothing of it."""

    def hook(event: Event) -> None:
        raise asyncio.CancelledError

    async with make(simulator, hook) as client:
        await client.request("GET", PING)


def test_a_hook_is_combined_once() -> None:
    """Twice in one hook everything would be counted twice."""
    seen = Seen()
    with pytest.raises(ConfigError, match="twice"):
        combine(seen, Seen(), seen)


def test_a_guarded_hook_is_guarded_once() -> None:
    """Who passes one hook to many clients has it wrapped once."""
    hook = guarded(print)
    assert guarded(hook) is hook


def test_events_are_frozen_and_have_no_room_for_secrets() -> None:
    """No event has a field that could hold a credential or an openid, and none can be changed."""
    kinds = [kind for kind in vars(wxmp.events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    assert len(kinds) > 12
    names = {field.name for kind in kinds for field in attrs.fields(kind)}
    assert names & {"token", "secret", "openid", "body", "params", "json", "query", "url", "message", "args"} == set()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TokenEvent(name="store_up", appid="wx1", channel="stable").appid = "wx2"  # type: ignore[misc]


# ---- pushes


async def test_a_push_has_a_beginning_and_an_end() -> None:
    """A handler is one pair of events however often its push is delivered; each request has an answer."""
    account, seen = Account(), Seen()
    hook = account.hook(observer=seen)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        if message.content == "fail":
            raise LookupError
        return message.content

    async with hook:
        first = account.say("hello")
        await hook.answer("POST", first.query.encode(), first.body)
        again = account.say("fail")
        await hook.answer("POST", again.query.encode(), again.body)
        await hook.answer("POST", b"signature=wrong", b"nonsense")
        hook.refuse_unread("POST", content_length=str(10**9), encoding=None)
    pushes = [event for event in seen if isinstance(event, wxmp.events.PushEvent)]
    assert [type(event) for event in pushes] == [PushStarted, PushFinished] * 2
    assert {event.kind for event in pushes} == {"TextMessage"}
    assert [event.outcome for event in pushes if isinstance(event, PushFinished)] == ["ok", "LookupError"]
    assert [event.status for event in seen if isinstance(event, PushAnswered)] == [200, 200, 403, 413]


@virtual
async def test_a_late_answer_is_told() -> None:
    """An answer that no connection carried has its own event."""
    account, seen = Account(), Seen()
    hook = account.hook(
        observer=seen, delivery=DeliveryPolicy(deadline=0.02, hold=0.02, lease=0.01, attempts=1, grace=0.001)
    )

    @hook.on(TextMessage)
    async def slow(message: TextMessage) -> str:
        await asyncio.sleep(0.1)
        return "late"

    async with hook:
        push = account.say("hello")
        await hook.answer("POST", push.query.encode(), push.body)
    (late,) = (event for event in seen if isinstance(event, LateAnswer))
    assert (late.kind, late.outcome) == ("TextMessage", "no_client")


# ---- payments and bulk sends


async def test_pay_calls_are_calls(simulator: Simulator) -> None:
    """A call of WeChat Pay has the same events, with the merchant, the template and no number of an order."""
    merchant, seen = simulator.merchant(), Seen()
    async with PayClient(**pay_settings(simulator, merchant, on_event=seen)) as client:
        await client.order.native("A1234567", description="tea", total_fen=100)
        with pytest.raises(wxmp.PayAPIError):
            await client.request("GET", "/v3/pay/transactions/out-trade-no/A7654321", params={"mchid": merchant.mchid})
        Notifications(client, observer=seen)
    start, end = seen.calls("/v3/pay/transactions/native")
    assert (end.outcome, end.service, end.mchid, end.appid) == ("ok", "pay", merchant.mchid, merchant.appids[0])
    assert start.call == end.call
    failed = seen.end("/out-trade-no/{}")
    assert (failed.outcome, failed.code, failed.status) == ("PayAPIError", "ORDER_NOT_EXIST", 404)
    assert "A7654321" not in repr(seen)


async def test_a_bulk_send_has_a_beginning_and_an_end(simulator: Simulator, tmp_path: Path) -> None:
    """Messages are calls; the run has one event at its end, with the outcomes counted. A dry run has none."""
    seen = Seen()
    async with make(simulator, seen) as client:
        template = simulator.world.add_template("发货", "{{thing1.DATA}}")
        openids = [openid async for openid in client.user.iter_followers()]
        message = TemplateMessage({"thing1": "x"})
        run = client.broadcast.template(
            openids, message, name="autumn", template_id=template, journal=tmp_path / "sent.db"
        )
        await run.run()
        rehearsal = client.broadcast.template(
            openids, message, name="winter", template_id=template, journal=tmp_path / "sent.db", dry_run=True
        )
        await rehearsal.run()
    (begin,) = (event for event in seen if isinstance(event, BroadcastStarted))
    (end,) = (event for event in seen if isinstance(event, BroadcastFinished))
    assert begin == BroadcastStarted(appid=simulator.account.appid, run="autumn")
    assert (end.run, end.outcome, sum(end.outcomes.values())) == ("autumn", "ok", len(openids))
    assert not any(openid in repr(seen) for openid in openids)
    assert isinstance(seen.calls("/cgi-bin/message/template/send")[0], CallStarted)
    assert not any(isinstance(event, CallRetried) for event in seen)


async def test_a_bulk_send_that_is_left_is_not_ok(simulator: Simulator, tmp_path: Path) -> None:
    """Whoever leaves a run before its end, to continue it later, is told that it was cancelled."""
    seen = Seen()
    async with make(simulator, seen) as client:
        template = simulator.world.add_template("发货", "{{thing1.DATA}}")
        openids = [openid async for openid in client.user.iter_followers()]

        async def message(recipient: Recipient) -> TemplateMessage:
            await run.cancel()
            return TemplateMessage({"thing1": "x"})

        run = client.broadcast.template(
            openids, message, name="left", template_id=template, journal=tmp_path / "sent.db"
        )
        await run.run()
    (end,) = (event for event in seen if isinstance(event, BroadcastFinished))
    assert end.outcome == "cancelled"


@virtual
async def test_a_handler_that_takes_too_long_is_stopped() -> None:
    """Being stopped at ``handler_timeout`` is an outcome of its own: nobody has cancelled anything."""
    account, seen = Account(), Seen()
    hook = account.hook(
        observer=seen,
        delivery=DeliveryPolicy(deadline=0.02, hold=0.02, lease=0.01, attempts=1, grace=0.001, handler_timeout=0.05),
    )

    @hook.on(TextMessage)
    async def endless(message: TextMessage) -> str:
        await asyncio.sleep(60)
        return "never"

    push = account.say("hello")
    await hook.answer("POST", push.query.encode(), push.body)
    await asyncio.sleep(1)
    await hook.aclose()
    assert [event.outcome for event in seen if isinstance(event, PushFinished)] == ["stopped"]


@attrs.frozen
class Unwritable(Reply):
    """A reply of a program's own, with a mistake in it."""

    msg_type: ClassVar[str] = "text"

    def elements(self) -> Mapping[str, Any]:
        raise LookupError


async def test_an_answer_that_cannot_be_written_is_no_success() -> None:
    """What goes wrong between the handler's last line and the answer is the handler's outcome too."""
    account, seen = Account(), Seen()
    hook = account.hook(observer=seen)

    @hook.on(TextMessage)
    async def wrong(message: TextMessage) -> Reply:
        return Unwritable()

    async with hook:
        push = account.say("hello")
        await hook.answer("POST", push.query.encode(), push.body)
    assert [event.outcome for event in seen if isinstance(event, PushFinished)] == ["LookupError"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v3/pay/transactions/out-trade-no/{out_trade_no}", "/v3/pay/transactions/out-trade-no/{out_trade_no}"),
        ("/v3/pay/transactions/h5", "/v3/pay/transactions/h5"),
        ("/v3/apply4sub/sub_merchants/1900000109/settlement", "/v3/apply4sub/sub_merchants/{}/settlement"),
        ("/v3/marketing/favor/users/oAbcDEFghijKLmnopqRSTuvwxyzA/coupons", "/v3/marketing/favor/users/{}/coupons"),
        ("/v3/x/order-7", "/v3/x/{}"),
        ("/v3/x/ORDER", "/v3/x/{}"),
        ("/v3/x/%E5%BC%A0", "/v3/x/{}"),
        ("/v3/x/o{A/y", "/v3/x/{}/y"),
    ],
)
def test_what_is_shown_of_a_path_of_pay(path: str, shown: str) -> None:
    """Words of the platform stay; numbers of orders and openids do not, with or without a digit."""
    assert _shown(PayEndpoint("GET", path)) == f"GET {shown}"
