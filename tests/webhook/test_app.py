"""The webhook as a whole: requests in, answers out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import json
import logging
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from tests.tokens.virtual_time import now, run, virtual
from tests.webhook.pushes import ACCOUNT, AES_KEY, APPID, TOKEN, USER, fields, opened, plain, safe, verification
from wxmp.errors import ConfigError, RecipientError, WebhookStoreError
from wxmp.webhook import (
    DeliveryPolicy,
    ImageReply,
    MemoryActivityLog,
    MemoryDedupe,
    MenuClickEvent,
    Message,
    NewsArticle,
    NewsReply,
    Push,
    SubscribeEvent,
    TextMessage,
    TextReply,
    TransferCustomerService,
    VideoReply,
    Webhook,
    WebhookSettings,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Handlers are slow in virtual time: what is in time here does not depend on the machine.
QUICK = DeliveryPolicy(deadline=0.2, hold=0.3, lease=0.15, grace=0.1, drain=0.5)


class FakeCustom:
    """Takes customer-service messages."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.error: Exception | None = None

    async def send(self, openid: str, message: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((openid, message))


class FakeClient:
    """A client, as far as a webhook needs one."""

    def __init__(self, appid: str = APPID) -> None:
        self.appid = appid
        self.custom = FakeCustom()


def webhook(**settings: Any) -> Webhook:
    return Webhook(**{"token": TOKEN, "encoding_aes_key": AES_KEY, "appid": APPID, **settings})


def echoing(**settings: Any) -> Webhook:
    hook = webhook(**settings)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    return hook


# ---- the main road


async def test_a_text_is_answered_in_safe_mode() -> None:
    """Decrypted, handled, answered under the same key, to the right person."""
    answer = await echoing().answer("POST", *safe(fields(Content="你好 ]]> <b>")))
    assert (answer.status, answer.content_type) == (200, "application/xml; charset=utf-8")
    text = opened(answer.body)
    assert f"<ToUserName><![CDATA[{USER}]]></ToUserName>" in text
    assert f"<FromUserName><![CDATA[{ACCOUNT}]]></FromUserName>" in text
    assert "你好 ]]" in text


async def test_a_text_is_answered_in_plain_mode() -> None:
    """Without a key both ways are readable."""
    hook = echoing(encoding_aes_key=None)
    answer = await hook.answer("POST", *plain(fields(Content="hi")))
    assert (hook.mode, answer.status) == ("plain", 200)
    assert b"<Content><![CDATA[hi]]></Content>" in answer.body


async def test_json_is_answered_in_json() -> None:
    """The answer has the format of the push."""
    answer = await echoing(encoding_aes_key=None).answer("POST", *plain(fields(Content="hi"), form="json"))
    assert answer.content_type == "application/json; charset=utf-8"
    assert json.loads(answer.body)["Content"] == "hi"
    answer = await echoing().answer("POST", *safe(fields(Content="hi"), form="json"))
    assert set(json.loads(answer.body)) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}


async def test_the_address_is_verified() -> None:
    """GET with a right signature gives the echostr back, whatever the mode."""
    for key in (AES_KEY, None):
        answer = await webhook(encoding_aes_key=key).answer("GET", verification("123 <b>"))
        assert (answer.status, answer.body) == (200, b"123 <b>")
        assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize("value", [None, "", pytest.param("nothing", id="no handler")])
async def test_nothing_to_show_is_success(value: str | None) -> None:
    """No reply is the bare word, never encrypted."""
    hook = webhook()
    if value != "nothing":

        @hook.default
        async def silent(message: Push) -> str | None:
            return value

    answer = await hook.answer("POST", *safe(fields()))
    assert (answer.status, answer.body) == (200, b"success")


async def test_one_message_is_handled_once() -> None:
    """Three deliveries of a message, each with a signature of its own: one run, the same answer."""
    hook, runs = webhook(), []

    @hook.on(Message)
    async def count(message: Message) -> str:
        runs.append(message)
        return f"run {len(runs)}"

    values = fields()
    answers = [await hook.answer("POST", *safe(values)) for _ in range(3)]
    assert [opened(answer.body).count("run 1") for answer in answers] == [1, 1, 1]
    assert len(runs) == 1


async def test_events_of_the_same_second_are_different() -> None:
    """Two events of one user in one second are two pushes; a repeated one is one."""
    hook, runs = webhook(), []

    @hook.default
    async def count(message: Push) -> None:
        runs.append((message.event, message.key))

    for event, key in (("CLICK", "A"), ("CLICK", "B"), ("VIEW", "A"), ("CLICK", "A")):
        await hook.answer("POST", *safe(fields("event", CreateTime=1_790_000_000, Event=event, EventKey=key)))
    assert runs == [("CLICK", "A"), ("CLICK", "B"), ("VIEW", "A")]


async def test_a_request_is_refused_the_second_time() -> None:
    """The very same request is a replay, although the message would get its answer again."""
    hook = echoing()
    request = safe(fields())
    assert (await hook.answer("POST", *request)).status == 200
    assert (await hook.answer("POST", *request)).status == 403


async def test_handlers_by_event_and_key() -> None:
    """The registry is reached through the decorators."""
    hook = webhook()

    @hook.on_event("CLICK", key="V1")
    async def exact(message: MenuClickEvent) -> str:
        return "exact"

    @hook.on_event("subscribe", prefix="qrscene_")
    async def scene(message: SubscribeEvent) -> str:
        return f"scene {message.scene}"

    @hook.default
    async def other(message: Push) -> TextReply:
        return TextReply("other")

    for values, expected in (
        ({"Event": "CLICK", "EventKey": "V1"}, "exact"),
        ({"Event": "CLICK", "EventKey": "V2"}, "other"),
        ({"Event": "subscribe", "EventKey": "qrscene_42", "Ticket": "t"}, "scene 42"),
        ({"Event": "unheard_of"}, "other"),
    ):
        answer = await hook.answer("POST", *safe(fields("event", **values)))
        assert f"<Content><![CDATA[{expected}]]></Content>" in opened(answer.body)


async def test_one_handler_for_several_classes() -> None:
    """on() takes several classes and returns the function, so that decorators can be stacked."""
    hook = webhook()

    @hook.on(TextMessage, SubscribeEvent)
    @hook.on_event("SCAN")
    async def greet(message: Push) -> str:
        return "hello"

    assert greet.__name__ == "greet"
    for values in (fields(), fields("event", Event="subscribe"), fields("event", Event="SCAN", EventKey="1")):
        assert (await hook.answer("POST", *safe(values))).body != b"success"


async def test_a_handler_gets_the_client_of_the_request() -> None:
    """What an adapter hands over comes before the webhook's own."""
    hook, seen = webhook(client=FakeClient()), []

    @hook.default
    async def ask(message: Push, client: Any) -> None:
        seen.append(client)

    other: Any = FakeClient()
    await hook.answer("POST", *safe(fields()))
    await hook.answer("POST", *safe(fields()), client=other)
    assert seen[0] is not other
    assert seen[1] is other


async def test_a_client_of_another_account_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """A route that got the wrong client does not send to the users of another account."""
    stranger: Any = FakeClient("wxffffffffffffffff")
    with pytest.raises(ConfigError) as caught:
        webhook(client=stranger)
    assert caught.value.field == "client"
    hook, seen = webhook(client=FakeClient()), []

    @hook.default
    async def ask(message: Push, client: Any) -> None:
        seen.append(client)

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        await hook.answer("POST", *safe(fields()), client=stranger)
    assert stranger not in seen
    assert "another account" in caplog.text


# ---- keys that change


async def test_a_previous_key_still_opens_and_answers() -> None:
    """During a key change a push under the old pair is answered under the old pair."""
    old_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
    hook = echoing(previous=[("oldToken", old_key)])
    answer = await hook.answer("POST", *safe(fields(Content="old"), token="oldToken", key=old_key))
    assert "old" in opened(answer.body, key=old_key, token="oldToken")
    answer = await hook.answer("POST", *safe(fields(Content="new")))
    assert "new" in opened(answer.body)


# ---- refusals


def refusals() -> list[Any]:
    wrong = safe(fields(), appid="wxffffffffffffffff")
    stale, future = safe(fields(), at=1_000_000_000), safe(fields(), at=4_000_000_000)
    return [
        pytest.param(b"", b"", 403, id="nothing"),
        pytest.param(*plain(fields()), 403, id="plain body"),
        pytest.param(*wrong, 403, id="other appid"),
        pytest.param(*stale, 403, id="stale"),
        pytest.param(*future, 403, id="future"),
        pytest.param(*safe(fields(), token="otherToken"), 403, id="other token"),
        pytest.param(*safe({"nothing": "here"}), 403, id="no message inside"),
        pytest.param(safe(fields())[0], b"\xff\xfe<\x00", 400, id="utf-16"),
        pytest.param(safe(fields())[0], b"not xml", 400, id="not xml"),
        pytest.param(safe(fields())[0], b"x" * ((1 << 20) + 1), 413, id="too large"),
    ]


@pytest.mark.parametrize(("query", "body", "status"), refusals())
async def test_refusals_all_look_the_same(query: bytes, body: bytes, status: int) -> None:
    """Whatever is wrong, the body of the answer is the same, and no handler runs."""
    hook = webhook()

    @hook.default
    async def never(message: Push) -> None:
        raise AssertionError

    answer = await hook.answer("POST", query, body)
    assert (answer.status, answer.body) == (status, b"refused\n")


async def test_a_push_for_another_account_is_refused() -> None:
    """With original_id a push that names another account does not pass."""
    hook = echoing(original_id="gh_other", encoding_aes_key=None)
    assert (await hook.answer("POST", *plain(fields()))).status in (400, 403)
    assert (await hook.answer("POST", *plain(fields(ToUserName="gh_other")))).status == 200


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE", "get"])
async def test_other_methods_are_refused(method: str) -> None:
    """405, before and after reading."""
    hook = webhook()
    refusal = hook.refuse_unread(method, content_length=None, encoding=None)
    assert refusal is not None
    assert refusal.status == (await hook.answer(method, *safe(fields()))).status == 405


@pytest.mark.parametrize(
    ("length", "encoding", "status"),
    [
        (None, None, None),
        ("1048576", None, None),
        ("1048577", None, 413),
        ("9" * 5000, None, 413),
        ("-1", None, None),
        ("abc", None, None),
        (None, "identity", None),
        (None, "gzip", 400),
        (None, " GZIP ", 400),
    ],
)
def test_headers_are_judged_before_the_body(length: str | None, encoding: str | None, status: int | None) -> None:
    """A body that is too long or compressed is not read at all; a length that lies is found out while reading."""
    refusal = webhook().refuse_unread("POST", content_length=length, encoding=encoding)
    assert (None if refusal is None else refusal.status) == status


async def test_refusals_are_logged_once_for_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    """The log names what was wrong, without values, and not a thousand times."""
    hook = webhook()
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        for _ in range(1000):
            await hook.answer("POST", *safe(fields(), token="otherToken"))
    assert len(caplog.records) == 1
    assert "msg_signature" in caplog.text
    assert TOKEN not in caplog.text
    assert AES_KEY not in caplog.text


# ---- handlers that fail


@pytest.mark.parametrize(("on_error", "status", "body"), [("success", 200, b"success"), ("retry", 500, b"refused\n")])
async def test_an_exception_does_not_get_out(
    on_error: Any, status: int, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns nothing of it, the log everything."""
    hook = webhook(delivery=DeliveryPolicy(on_error=on_error))

    @hook.default
    async def fail(message: Push) -> str:
        raise RuntimeError("the database password is 12345")

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        answer = await hook.answer("POST", *safe(fields()))
    assert (answer.status, answer.body) == (status, body)
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    "value",
    [3, b"bytes", ["list"], object(), "x" * 2049, NewsReply([NewsArticle("t", "d", "https://a/p", "https://a/u")] * 2)],
)
async def test_answers_that_the_platform_would_refuse_are_errors(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A reply over its limits, or something that is no reply, is told to the log; the user sees nothing."""
    hook = webhook()

    @hook.default
    async def bad(message: Push) -> Any:
        return value

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        assert (await hook.answer("POST", *safe(fields()))).body == b"success"
    assert "ArgumentError" in caplog.text


async def test_a_bug_of_our_own_is_a_plain_500(caplog: pytest.LogCaptureFixture) -> None:
    """Even then the answer has no traceback."""

    class Broken(MemoryDedupe):
        async def begin(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        answer = await echoing(dedupe=Broken()).answer("POST", *safe(fields()))
    assert (answer.status, answer.body) == (500, b"refused\n")
    assert "ZeroDivisionError" in caplog.text


# ---- late answers


async def late(
    reply: Any, *, client: Any = None, activity: Any = None, values: dict[str, Any] | None = None
) -> tuple[Webhook, Any]:
    """Let a handler answer when all three deliveries are over; return the webhook and its client."""
    hook = webhook(client=client, activity=activity, delivery=QUICK, dedupe=MemoryDedupe(clock=now))
    ready = asyncio.Event()

    @hook.default
    async def slow(message: Push) -> Any:
        await ready.wait()
        return reply

    pushed = values or fields()
    statuses = [(await hook.answer("POST", *safe(pushed))).status for _ in range(3)]
    assert statuses == [503, 503, 200]
    ready.set()
    await hook.aclose()
    return hook, client


@virtual
async def test_a_late_answer_is_a_customer_service_message() -> None:
    """It goes to the user who asked."""
    _, client = await late("at last", client=FakeClient())
    [(openid, message)] = client.custom.sent
    assert (openid, message.content) == (USER, "at last")


@virtual
async def test_without_a_client_a_late_answer_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The warning says what would help, and not what the answer was."""
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        await late("at last")
    assert "Webhook(client=...)" in caplog.text
    assert "at last" not in caplog.text


@pytest.mark.parametrize("reply", [TransferCustomerService(), VideoReply("media")])
@virtual
async def test_what_cannot_be_sent_late_is_dropped_with_a_warning(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A transfer has no form as a message."""
    client = FakeClient()
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        await late(reply, client=client)
    assert client.custom.sent == []
    assert type(reply).__name__ in caplog.text


@virtual
async def test_a_refused_late_answer_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The platform says that the window is closed: a warning, no exception."""
    client = FakeClient()
    client.custom.error = RecipientError(errcode=45015)
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        await late(ImageReply("media"), client=client)
    assert "45015" in caplog.text


@virtual
async def test_the_windows_of_the_user_are_respected(caplog: pytest.LogCaptureFixture) -> None:
    """With an activity log nothing is sent that the platform would refuse; what is sent is counted."""
    activity, client = MemoryActivityLog(), FakeClient()
    await late("one", client=client, activity=activity)
    window = await activity.window(USER)
    assert (len(client.custom.sent), window.messages_left) == (1, 4)
    await activity.record_sent(USER, 4)
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        await late("two", client=client, activity=activity, values=fields("event", Event="VIEW", EventKey="https://a/"))
    assert len(client.custom.sent) == 1
    assert "window" in caplog.text


# ---- activity


async def test_the_activity_log_is_fed() -> None:
    """Who wrote, who follows, what the menu was answered."""
    activity = MemoryActivityLog()
    hook = webhook(activity=activity)

    @hook.on_event("CLICK", key="good")
    async def good(message: Push) -> str:
        return "ok"

    @hook.on_event("CLICK", key="bad")
    async def bad(message: Push) -> str:
        raise ValueError

    logging.getLogger("wxmp.webhook").setLevel(logging.CRITICAL)
    try:
        await hook.answer("POST", *safe(fields("event", Event="subscribe")))
        await hook.answer("POST", *safe(fields()))
        for key in ("good", "bad", "unhandled"):
            await hook.answer("POST", *safe(fields("event", Event="CLICK", EventKey=key)))
    finally:
        logging.getLogger("wxmp.webhook").setLevel(logging.NOTSET)
    user = await activity.get(USER)
    assert user is not None
    assert user.following
    assert user.last_message_at is not None
    keys = {entry.key: entry for entry in await activity.menus()}
    assert (keys["good"].ok, keys["bad"].error, keys["unhandled"].no_handler) == (1, 1, 1)
    assert all(entry.taps == 1 for entry in keys.values())


async def test_a_repeated_delivery_is_one_tap() -> None:
    """Deliveries of one event are counted once."""
    activity = MemoryActivityLog()
    hook = webhook(activity=activity)
    values = fields("event", Event="CLICK", EventKey="again")
    for _ in range(3):
        await hook.answer("POST", *safe(values))
    entry = await activity.menu("again")
    assert entry is not None
    assert entry.taps == 1


@virtual
async def test_a_slow_handler_is_counted_as_late() -> None:
    """late: the handler took longer than one connection lives."""
    activity = MemoryActivityLog()
    await late("x", activity=activity, values=fields("event", Event="CLICK", EventKey="slow"), client=FakeClient())
    entry = await activity.menu("slow")
    assert entry is not None
    assert (entry.ok, entry.late) == (0, 1)


async def test_a_broken_activity_log_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The log is a convenience: when its store is down, messages are answered all the same."""

    class Broken(MemoryActivityLog):
        async def record(self, push: Any) -> None:
            raise WebhookStoreError("no connection", store="redis")

        async def record_outcome(self, push: Any, outcome: Any) -> None:
            raise WebhookStoreError("no connection", store="redis")

    hook = echoing(activity=Broken())
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        answer = await hook.answer("POST", *safe(fields(Content="hi")))
        await hook.answer("POST", *safe(fields("event", Event="CLICK", EventKey="x")))
    assert "hi" in opened(answer.body)
    assert "activity" in caplog.text


# ---- settings


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "no blanks!"}, "token"),
        ({"encoding_aes_key": "short"}, "encoding_aes_key"),
        ({"appid": ""}, "appid"),
        ({"mode": "secret"}, "mode"),
        ({"mode": "safe", "encoding_aes_key": None}, "encoding_aes_key"),
        ({"window": -1}, "window"),
        ({"max_body": 0}, "max_body"),
        ({"previous": ["token"]}, "previous"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], field: str) -> None:
    """The error names the field and shows no secret."""
    with pytest.raises(ConfigError) as caught:
        webhook(**settings)
    assert caught.value.field == field
    assert AES_KEY not in str(caught.value)


def test_the_environment_can_hold_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """from_env() reads five variables; a missing one is named."""
    for name in ("APPID", "CALLBACK_TOKEN", "ENCODING_AES_KEY", "CALLBACK_MODE", "DEDUPE"):
        monkeypatch.delenv(f"WXMP_{name}", raising=False)
    with pytest.raises(ConfigError, match="WXMP_APPID"):
        Webhook.from_env()
    monkeypatch.setenv("WXMP_APPID", APPID)
    with pytest.raises(ConfigError, match="WXMP_CALLBACK_TOKEN"):
        Webhook.from_env()
    monkeypatch.setenv("WXMP_CALLBACK_TOKEN", TOKEN)
    assert Webhook.from_env().mode == "plain"
    monkeypatch.setenv("WXMP_ENCODING_AES_KEY", AES_KEY)
    assert Webhook.from_env().mode == "safe"
    monkeypatch.setenv("WXMP_CALLBACK_MODE", "compatible")
    assert Webhook.from_env(window=None).mode == "compatible"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Variables with which a webhook can be made, under a prefix of their own."""
    monkeypatch.setenv("SHOP_APPID", APPID)
    monkeypatch.setenv("SHOP_CALLBACK_TOKEN", TOKEN)
    monkeypatch.setenv("SHOP_ENCODING_AES_KEY", AES_KEY)
    monkeypatch.delenv("SHOP_DEDUPE", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "MemoryDedupe(0 pushes, 0 requests)"),
        ("", "MemoryDedupe(0 pushes, 0 requests)"),
        ("memory:", "MemoryDedupe(0 pushes, 0 requests)"),
        ("redis://:hunter2@redis.internal:6380/3", "RedisDedupe('redis://redis.internal:6380/3', prefix='wxmp')"),
        ("rediss://user:hunter2@redis.internal", "RedisDedupe('rediss://redis.internal:6379', prefix='wxmp')"),
        ("unix:///run/redis.sock?password=hunter2", "RedisDedupe('unix:///run/redis.sock', prefix='wxmp')"),
    ],
)
def test_the_environment_can_name_the_store(environment: pytest.MonkeyPatch, value: str | None, shown: str) -> None:
    """{prefix}DEDUPE says where deliveries of one push meet: in this process, or in Redis."""
    if value is not None:
        environment.setenv("SHOP_DEDUPE", value)
    hook = Webhook.from_env("SHOP_")
    assert repr(hook._dedupe) == shown
    assert "hunter2" not in repr(vars(hook))


def test_a_store_that_is_given_wins(environment: pytest.MonkeyPatch) -> None:
    """With dedupe= the variable is not read; dedupe=None leaves it the word."""
    environment.setenv("SHOP_DEDUPE", "no store at all")
    store = MemoryDedupe()
    assert Webhook.from_env("SHOP_", dedupe=store)._dedupe is store
    with pytest.raises(ConfigError, match="SHOP_DEDUPE"):
        Webhook.from_env("SHOP_", dedupe=None)


@pytest.mark.parametrize(
    "value",
    [
        "postgres://:hunter2@host",
        "redis:hunter2@host",
        "REDIS://:hunter2@host",
        "file:hunter2",
        "redis://:hunter2@host:port/0",
        "redis://:hunter2#@host/0",
        "redis://:hunter2/@host/0",
        "redis://[hunter2",
    ],
)
def test_a_store_that_cannot_work_names_its_variable(environment: pytest.MonkeyPatch, value: str) -> None:
    """The variable is named and what it may be, the password in it is not shown."""
    environment.setenv("SHOP_DEDUPE", value)
    with pytest.raises(ConfigError, match=r"^SHOP_DEDUPE.* must be .*redis://") as caught:
        Webhook.from_env("SHOP_")
    assert caught.value.field == "SHOP_DEDUPE"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_from_env_takes_what_the_class_takes() -> None:
    """The settings of from_env() are the arguments of the class, by name and type."""
    taken = {name: str(kind.annotation) for name, kind in inspect.signature(Webhook).parameters.items()}
    assert {name: kind.__forward_arg__ for name, kind in WebhookSettings.__annotations__.items()} == taken


def test_the_repr_shows_no_secret() -> None:
    """Neither the webhook nor its application give the Token or the key away."""
    hook = echoing()
    for shown in (repr(hook), repr(hook.asgi()), str(vars(hook))):
        assert TOKEN not in shown
        assert AES_KEY not in shown
    assert repr(hook) == f"Webhook(appid='{APPID}', mode='safe', handlers=1)"


@pytest.mark.parametrize("register", [lambda hook: hook.on(), lambda hook: hook.on_event("")(None)])
def test_registering_nothing_is_refused(register: Callable[[Webhook], Awaitable[None]]) -> None:
    """hook.on() without a class is a mistake."""
    with pytest.raises(ConfigError):
        register(webhook())


async def test_closing_twice_is_fine() -> None:
    """A webhook is a context manager too."""
    async with echoing() as hook:
        await hook.aclose()


# ---- event loops, threads, logs


async def slow_then_late(hook: Webhook, values: dict[str, Any]) -> None:
    """Three deliveries of a push that wait in vain, and time for its late answer."""
    statuses = [(await hook.answer("POST", *safe(values))).status for _ in range(3)]
    assert statuses == [503, 503, 200]
    await asyncio.sleep(0.6)


def test_event_loops_one_after_the_other() -> None:
    """A webhook that was not closed works in the next event loop, late answers included."""
    client = FakeClient()
    hook = webhook(client=client, delivery=QUICK, dedupe=MemoryDedupe(clock=lambda: 0.0))

    @hook.default
    async def slow(message: Push) -> str:
        await asyncio.sleep(0.85)
        return "at last"

    for number in range(1, 3):
        run(slow_then_late(hook, fields()))
        assert len(client.custom.sent) == number


def test_an_event_loop_that_ended_in_the_middle_leaves_nothing() -> None:
    """Its handlers are gone with it, and take no room from those of the next."""
    hook = webhook(delivery=DeliveryPolicy(max_running=1))
    values = fields(Content="again")

    started: list[int] = []

    @hook.default
    async def slow(message: Push) -> str:
        started.append(1)
        await asyncio.sleep(0 if len(started) > 1 else 60)
        return "done"

    async def cut() -> None:
        call = asyncio.ensure_future(hook.answer("POST", *safe(values)))
        while not started:
            await asyncio.sleep(0)
        assert not call.done()

    asyncio.run(cut())
    answer = asyncio.run(hook.answer("POST", *safe(values)))
    assert "done" in opened(answer.body)


def test_two_threads_share_a_webhook() -> None:
    """Each thread has an event loop; a retry that reaches the other one waits for the same answer."""
    # However long the machine pauses, nobody hangs up and no worker counts as dead.
    hook, runs = webhook(delivery=DeliveryPolicy(deadline=100.0, hold=100.0, lease=60.0)), []

    @hook.default
    async def slow(message: Push) -> str:
        runs.append(threading.get_ident())
        await asyncio.sleep(0.5)
        return "once"

    values = fields()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: asyncio.run(hook.answer("POST", *safe(values))), range(4)))
    assert ["once" in opened(answer.body) for answer in answers] == [True] * 4
    assert len(runs) == 1


async def test_a_handler_sees_the_context_of_its_request() -> None:
    """What a middleware put into context variables is there, and what the handler puts there stays with it."""
    hook, seen = webhook(), []
    who = contextvars.ContextVar("who", default="nobody")

    @hook.default
    async def ask(message: Push) -> None:
        seen.append(who.get())
        who.set("handler")

    who.set("middleware")
    await hook.answer("POST", *safe(fields()))
    assert (seen, who.get()) == (["middleware"], "middleware")


async def test_numbers_make_no_refusal_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """One stale request, sent again and again, is one line although it gets older."""
    seconds = [2_000_000_000.0]
    hook = webhook(clock=lambda: seconds[0])
    stale = safe(fields(), at=1_000_000_000)
    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        for _ in range(500):
            seconds[0] += 1
            assert (await hook.answer("POST", *stale)).status == 403
    assert len(caplog.records) == 1


@virtual
async def test_deliveries_that_are_left_to_the_next_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A slow handler is no incident: fifty waiting pushes do not write fifty warnings."""
    hook = webhook(delivery=QUICK, dedupe=MemoryDedupe(clock=now))

    @hook.default
    async def slow(message: Push) -> None:
        await asyncio.sleep(0.5)

    with caplog.at_level(logging.WARNING, "wxmp.webhook"):
        answers = await asyncio.gather(*(hook.answer("POST", *safe(fields())) for _ in range(50)))
        await hook.aclose()
    assert {answer.status for answer in answers} == {503}
    assert len(caplog.records) == 1


@pytest.mark.parametrize("jump", [-100_000.0, -250.0, 250.0, 100_000.0])
async def test_a_clock_that_jumps_costs_no_push_under_way(jump: float) -> None:
    """The clock of the server is set while a handler runs: it is answered, and its retry gets the same answer."""
    offset = [0.0]
    hook = webhook(clock=lambda: time.time() + offset[0])
    begun, ready = asyncio.Event(), asyncio.Event()

    @hook.default
    async def slow(message: Push) -> str:
        begun.set()
        await ready.wait()
        return "hello"

    values = fields()
    call = asyncio.ensure_future(hook.answer("POST", *safe(values)))
    await begun.wait()
    offset[0] = jump
    ready.set()
    assert "hello" in opened((await call).body)
    again = await hook.answer("POST", *safe(values, at=time.time() + jump))
    assert "hello" in opened(again.body)


@virtual
async def test_no_log_line_holds_what_a_user_wrote(caplog: pytest.LogCaptureFixture) -> None:
    """Neither texts nor openids, nor a name of an event that somebody made up, at INFO and above."""
    client = FakeClient()

    class Rude(MemoryActivityLog):
        async def record(self, push: Push) -> None:
            raise KeyError(push.openid)

        async def window(self, openid: str) -> Any:
            raise KeyError(openid)

        async def record_sent(self, openid: str, count: int = 1) -> None:
            raise KeyError(openid)

    hook = webhook(client=client, activity=Rude(), delivery=QUICK, dedupe=MemoryDedupe(clock=now))

    @hook.default
    async def slow(message: Push) -> str:
        await asyncio.sleep(0.85)
        return "a secret answer"

    with caplog.at_level(logging.INFO, "wxmp.webhook"):
        await slow_then_late(hook, fields(Content="a secret question"))
        await slow_then_late(hook, fields("event", Event="made up\nFAKE LINE"))
        await hook.aclose()
    assert len(client.custom.sent) == 2
    assert "KeyError" in caplog.text
    for secret in (USER, "secret", "FAKE", TOKEN, AES_KEY):
        assert secret not in caplog.text


async def test_an_activity_log_of_ones_own_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises, the user is answered."""

    class Rude(MemoryActivityLog):
        async def record(self, push: Push) -> None:
            raise ZeroDivisionError

        async def record_outcome(self, push: Any, outcome: Any) -> None:
            raise ZeroDivisionError

    hook = echoing(activity=Rude())

    @hook.on_event("CLICK")
    async def click(message: Push) -> str:
        return "clicked"

    assert "hi" in opened((await hook.answer("POST", *safe(fields(Content="hi")))).body)
    assert "clicked" in opened((await hook.answer("POST", *safe(fields("event", Event="CLICK", EventKey="x")))).body)


async def test_both_stores_are_closed_even_if_one_cannot() -> None:
    """The error gets out, and the other store is not forgotten."""
    closed: list[str] = []

    class Broken(MemoryDedupe):
        async def aclose(self) -> None:
            raise RuntimeError("no")

    class Watched(MemoryActivityLog):
        async def aclose(self) -> None:
            closed.append("activity")

    hook = echoing(dedupe=Broken(), activity=Watched())
    with pytest.raises(RuntimeError):
        await hook.aclose()
    assert closed == ["activity"]
