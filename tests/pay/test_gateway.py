"""One call of the gateway: what goes out, what is believed, what is repeated, and where."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moments import quickest, skip
from tests.pay.conftest import NOTIFY_URL, QUICK, pay_settings
from tests.raw_server import Exchange, RawServer
from wxmp._redact import Secret
from wxmp.errors import (
    ConfigError,
    PayAPIError,
    PayProbeError,
    PaySignatureError,
    ReplyError,
    TimedOutError,
    TransportError,
)
from wxmp.pay import PayClient, PayEndpoint, PayEvent
from wxmp.pay._cipher import OAEP
from wxmp.retry import RetryPolicy
from wxmp.simulator.pay import keys as simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wxmp import Event
    from wxmp.simulator import Simulator
    from wxmp.simulator.pay.records import Merchant

pytestmark = pytest.mark.timeout(60)

NATIVE = PayEndpoint("POST", "/v3/pay/transactions/native", repeat="by_key")
QUERY = PayEndpoint("GET", "/v3/pay/transactions/out-trade-no/{out_trade_no}", repeat="yes")
CLOSE = PayEndpoint("POST", "/v3/pay/transactions/out-trade-no/{out_trade_no}/close", repeat="yes")
ANY = PayEndpoint("POST", "/v3/any", repeat="by_key")
ONCE = PayEndpoint("POST", "/v3/any", repeat="no")
ASK = PayEndpoint("GET", "/v3/any", repeat="yes")

KEY_ID = "PUB_KEY_ID_0119000000012025000000000000"
MCHID = "1900000001"
PAY_PATH = "/v3/pay/transactions/native"


def sign(text: bytes, label: str = "platform") -> str:
    raw = simulated.private_key(label).sign(text, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(raw).decode()


def signature_headers(body: bytes, **changes: str) -> str:
    timestamp = str(int(time.time()))
    found = {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": "n0nce",
        "Wechatpay-Signature": sign(f"{timestamp}\nn0nce\n".encode() + body + b"\n"),
        "Wechatpay-Serial": KEY_ID,
        "Request-ID": "08F78B-0",
    } | {f"Wechatpay-{name.title()}": value for name, value in changes.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in found.items())


async def answer(exchange: Exchange, body: bytes = b'{"ok":1}', status: str = "200 OK", **changes: str) -> None:
    """Answer as the gateway does."""
    await exchange.reply(body, status=status, headers=signature_headers(body, **changes))


class Script:
    """Answers one after the other; the last one for ever."""

    def __init__(self, *steps: Callable[[Exchange], Any]) -> None:
        self.steps = list(steps)

    async def __call__(self, exchange: Exchange) -> None:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        await step(exchange)


def refusal(status: str, code: str = "", **more: Any) -> Callable[[Exchange], Any]:
    """An unsigned error of the gateway."""
    body = json.dumps({"code": code, "message": "text", **more}).encode() if code else b"<html>nginx</html>"
    return lambda exchange: exchange.reply(body, status=status, headers="Request-ID: 08F78B-0\r\n")


async def reset(exchange: Exchange) -> None:
    exchange.writer.transport.abort()


def client_for(server: RawServer, **changes: Any) -> PayClient:
    """A client whose platform is ``server``."""
    settings: dict[str, Any] = {
        "mchid": MCHID,
        "private_key": simulated.private_key("merchant"),
        "serial": "5AB",
        "api_v3_key": "k" * 32,
        "public_key": simulated.public_pem("platform"),
        "public_key_id": KEY_ID,
        "retry": QUICK,
    }
    if "base_url" not in changes:
        settings["base_url"] = server.url
    return PayClient(**settings | changes)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer(answer) as running:
        yield running


@pytest.fixture
async def client(server: RawServer) -> AsyncIterator[PayClient]:
    async with client_for(server) as made:
        yield made


def order(pay: PayClient, number: str, **changes: Any) -> dict[str, Any]:
    return {
        "appid": pay.appid,
        "mchid": pay.mchid,
        "description": "一杯茶",
        "out_trade_no": number,
        "notify_url": NOTIFY_URL,
        "amount": {"total": 100},
    } | changes


def verify(exchange: Exchange) -> dict[str, str]:
    """Check a request as the gateway does, over the bytes that arrived; return the members of its header."""
    header = exchange.header("Authorization")
    assert header is not None
    scheme, _, rest = header.partition(" ")
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    members = dict(part.split("=", 1) for part in rest.split(","))
    found = {name: value.strip('"') for name, value in members.items()}
    text = f"{exchange.method}\n{exchange.target}\n{found['timestamp']}\n{found['nonce_str']}\n".encode()
    simulated.private_key("merchant").public_key().verify(
        base64.b64decode(found["signature"]), text + exchange.body + b"\n", padding.PKCS1v15(), hashes.SHA256()
    )
    return found


# ---- what goes out


async def test_an_order_from_end_to_end(pay: PayClient) -> None:
    """Placed, queried, closed: signed both ways, with a number that needs encoding."""
    number = "A|b*c_-1"
    placed = await pay.gateway(NATIVE, json=order(pay, number))
    assert placed["code_url"].startswith("weixin://")
    found = await pay.gateway(QUERY, path={"out_trade_no": number}, params={"mchid": pay.mchid})
    assert (found["out_trade_no"], found["trade_state"]) == (number, "NOTPAY")
    assert await pay.gateway(CLOSE, path={"out_trade_no": number}, json={"mchid": pay.mchid}) == {}


async def test_headers_of_a_request(server: RawServer, client: PayClient) -> None:
    """The documented headers, and the key that the answer shall be signed with."""
    await client.gateway(ANY, json={"a": 1})
    await client.gateway(ASK, params={"b": "c d"})
    post, get = server.exchanges
    assert post.header("Content-Type") == "application/json"
    assert get.header("Content-Type") is None
    for exchange in (post, get):
        assert exchange.header("Accept") == "application/json"
        assert exchange.header("User-Agent") == "wxmp-sdk"
        assert exchange.header("Wechatpay-Serial") == KEY_ID
        assert exchange.head.lower().count(b"\r\naccept:") == 1
        members = verify(exchange)
        assert (members["mchid"], members["serial_no"]) == (MCHID, "5AB")
        assert abs(int(members["timestamp"]) - time.time()) < 10
    assert get.target == "/v3/any?b=c%20d"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text not in (".", "..")),
    query=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=6),
        st.text(st.characters(codec="utf-8"), max_size=10) | st.integers() | st.booleans() | st.none(),
        max_size=3,
    ),
    body=st.none()
    | st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=6), st.text(st.characters(codec="utf-8")) | st.none(), max_size=4
    ),
)
async def test_what_is_signed_is_what_is_sent(
    number: str, query: dict[str, Any], body: dict[str, str | None] | None
) -> None:
    """Any number, any query, any body: the signature fits the bytes that arrive, and no value leaves its place."""
    async with RawServer(answer) as server, client_for(server) as client:
        endpoint = PayEndpoint("POST", "/v3/x/{out_trade_no}/close", repeat="yes")
        await client.gateway(endpoint, path={"out_trade_no": number}, params=query, json=body)
        (exchange,) = server.exchanges
        verify(exchange)
        path, _, _ = exchange.target.partition("?")
        assert path.count("/") == 4
        if body is None:
            assert exchange.body == b""
        else:
            assert json.loads(exchange.body) == {name: value for name, value in body.items() if value is not None}


async def test_no_body_is_not_an_empty_object(server: RawServer, client: PayClient) -> None:
    """``{}`` is sent and signed as two bytes, nothing as nothing."""
    await client.gateway(ANY, json={})
    await client.gateway(ANY)
    assert [exchange.body for exchange in server.exchanges] == [b"{}", b""]
    for exchange in server.exchanges:
        verify(exchange)


async def test_absent_members_are_left_out(server: RawServer, client: PayClient) -> None:
    """The gateway refuses null; members that are None stay at home, inside of lists and objects too."""
    await client.gateway(ANY, json={"a": None, "b": {"c": None, "d": 1}, "e": [{"f": None, "g": "茶"}]})
    assert server.exchanges[0].body == '{"b":{"d":1},"e":[{"g":"茶"}]}'.encode()


@pytest.mark.parametrize("value", ["", ".", "..", None, 7, "\ud800"])
async def test_a_number_that_cannot_stand_in_a_path(server: RawServer, client: PayClient, value: Any) -> None:
    """Nothing is sent for a number that would change the address."""
    with pytest.raises(ConfigError) as caught:
        await client.gateway(QUERY, path={"out_trade_no": value})
    assert caught.value.field == "out_trade_no"
    assert server.exchanges == []


@pytest.mark.parametrize("payload", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}])
async def test_a_body_that_is_no_json(server: RawServer, client: PayClient, payload: Any) -> None:
    """Nothing is sent, and the member is named."""
    with pytest.raises(ConfigError) as caught:
        await client.gateway(ANY, json=payload)
    assert caught.value.field == "a"
    assert server.exchanges == []


async def test_a_get_has_no_body(client: PayClient) -> None:
    """A body on a GET is a mistake of the family."""
    with pytest.raises(ConfigError):
        await client.gateway(ASK, json={})


# ---- enciphered fields

SEALED = PayEndpoint("POST", "/v3/sealed", repeat="by_key", encrypted=True)


async def test_secrets_are_enciphered(server: RawServer, client: PayClient) -> None:
    """A secret inside the body goes out as RSA-OAEP for the key that the request names."""
    await client.gateway(
        SEALED, json={"list": [{"user_name": Secret("张三")}], "other": client.gateway.encrypt("李四")}
    )
    (exchange,) = server.exchanges
    sent = json.loads(exchange.body)
    key = simulated.private_key("platform")
    assert key.decrypt(base64.b64decode(sent["list"][0]["user_name"]), OAEP).decode() == "张三"
    assert key.decrypt(base64.b64decode(sent["other"]), OAEP).decode() == "李四"
    assert exchange.header("Wechatpay-Serial") == client.gateway.encryption_serial == KEY_ID


async def test_a_repeat_sends_the_same_cipher_text(server: RawServer, client: PayClient) -> None:
    """An encryption is random; a repeat is not another one."""
    server.answer = Script(refusal("500 x", "SYSTEM_ERROR"), answer)
    await client.gateway(SEALED, json={"user_name": Secret("张三")})
    first, second = server.exchanges
    assert first.body == second.body
    assert verify(first)["nonce_str"] != verify(second)["nonce_str"]


async def test_only_endpoints_that_say_so_take_enciphered_fields(server: RawServer, client: PayClient) -> None:
    """A cipher text where the gateway expects plain text is a mistake, found before it is sent."""
    with pytest.raises(ConfigError, match="no enciphered"):
        await client.gateway(ANY, json={"user_name": Secret("张三")})
    assert server.exchanges == []


async def test_fields_of_the_platform_open(client: PayClient) -> None:
    """What is enciphered for the merchant opens with the merchant's key."""
    public = simulated.private_key("merchant").public_key()
    assert client.gateway.decrypt(base64.b64encode(public.encrypt("张三".encode(), OAEP)).decode()) == "张三"


# ---- what is believed


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
async def test_a_signed_answer_is_returned(server: RawServer, client: PayClient, status: str) -> None:
    """Every success is verified and read."""
    server.answer = lambda exchange: answer(exchange, status=status)
    assert await client.gateway(ANY, json={}) == {"ok": 1}


async def test_an_unsigned_success_is_refused(server: RawServer, client: PayClient) -> None:
    """A proxy's page with status 200 is no answer; the call may have been carried out and is not repeated."""
    server.answer = lambda exchange: exchange.reply(b'{"ok":1}')
    with pytest.raises(PaySignatureError) as caught:
        await client.gateway(ANY, json={})
    assert (caught.value.reason, caught.value.maybe_acted) == ("missing", True)
    assert caught.value.endpoint == "POST /v3/any"
    assert len(server.exchanges) == 1


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_an_unsigned_204_is_refused(server: RawServer, client: PayClient, body: bytes) -> None:
    """The answer of a close call is signed like any other."""
    server.answer = lambda exchange: exchange.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    with pytest.raises(PaySignatureError):
        await client.gateway(ANY, json={})


async def test_a_doubled_header_of_an_answer(server: RawServer, client: PayClient) -> None:
    """Two signatures are none."""
    extra = "Wechatpay-Serial: other\r\n"
    body = b"{}"
    server.answer = lambda exchange: exchange.reply(body, headers=signature_headers(body) + extra)
    with pytest.raises(PaySignatureError) as caught:
        await client.gateway(ANY, json={})
    assert caught.value.reason == "doubled"


async def test_a_signed_answer_that_is_no_object(server: RawServer) -> None:
    """An authentic answer of another shape is an error that keeps its beginning."""
    server.answer = lambda exchange: answer(exchange, b"[1]")
    async with client_for(server, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ReplyError) as caught:
            await client.gateway(ANY, json={})
    assert caught.value.body == "[1]"


async def test_a_probe_is_repeated_where_that_is_harmless(server: RawServer) -> None:
    """A probe was a real call: with a number in it the same bytes go out again, and the good answer is believed."""
    noise = "WECHATPAY/SIGNTEST/" + "A" * 300
    seen: list[Event] = []
    server.answer = Script(lambda exchange: answer(exchange, signature=noise), answer)
    async with client_for(server, on_event=seen.append) as client:
        assert await client.gateway(ANY, json={"n": 1}) == {"ok": 1}
        assert server.exchanges[0].body == server.exchanges[1].body
        server.answer = lambda exchange: answer(exchange, signature=noise)
        with pytest.raises(PayProbeError) as caught:
            await client.gateway(ONCE, json={"n": 1})
    assert caught.value.maybe_acted
    assert len(server.exchanges) == 3
    assert [event.name for event in seen if isinstance(event, PayEvent)] == ["probe", "probe"]


# ---- errors


async def test_an_error_of_the_gateway(pay: PayClient) -> None:
    """Code, text, place, verdict and the id that support asks for."""
    with pytest.raises(PayAPIError) as caught:
        await pay.gateway(QUERY, path={"out_trade_no": "unknown9"}, params={"mchid": pay.mchid})
    error = caught.value
    assert (error.code, error.status, error.verdict, error.maybe_acted) == ("ORDER_NOT_EXIST", 404, "never", False)
    assert error.request_id
    assert error.endpoint == "GET /v3/pay/transactions/out-trade-no/{out_trade_no}"
    with pytest.raises(PayAPIError) as field:
        await pay.gateway(NATIVE, json=order(pay, "A12345", amount={"total": 0}))
    assert (field.value.code, field.value.field) == ("PARAM_ERROR", "/amount/total")
    assert "/amount/total" in str(field.value)


async def test_values_that_were_sent_are_not_repeated(server: RawServer, client: PayClient) -> None:
    """The gateway echoes the value at fault, which can be an openid or a name."""
    detail = {"field": "/payer/openid", "value": "oUpF8uMuAJO", "issue": "wrong", "location": "body"}
    server.answer = refusal("400 x", "PARAM_ERROR", detail=detail)
    with pytest.raises(PayAPIError) as caught:
        await client.gateway(ANY, json={})
    assert caught.value.detail == {"field": "/payer/openid", "issue": "wrong", "location": "body"}
    assert "oUpF8" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"code":"ORDERPAID","message":"x","detail":[{"field":"f"}]}', "ORDER_PAID"),
        (b'{"code":7,"message":[],"detail":"x"}', ""),
        (b'{"detail":{"field":3,"sign_information":"x"}}', ""),
        (b"<html>", ""),
        (b"", ""),
        (b"[]", ""),
        (b'{"code":"' + b"X" * 500 + b'"}', "X" * 64),
    ],
)
async def test_errors_of_any_shape(server: RawServer, client: PayClient, body: bytes, code: str) -> None:
    """An error may come from anything in front of the gateway; it is read as far as it goes."""
    server.answer = lambda exchange: exchange.reply(body, status="400 Bad")
    with pytest.raises(PayAPIError) as caught:
        await client.gateway(ANY, json={})
    assert (caught.value.code, caught.value.status) == (code, 400)


async def test_a_payer_at_the_pad_is_an_answer_to_poll(server: RawServer, client: PayClient) -> None:
    """202 with a code is signed, verified, and raised with the advice to query."""
    server.answer = lambda exchange: answer(exchange, b'{"code":"USER_PAYING","message":"x"}', status="202 Accepted")
    with pytest.raises(PayAPIError) as caught:
        await client.gateway(ANY, json={})
    assert (caught.value.code, caught.value.verdict, caught.value.maybe_acted) == ("USERPAYING", "poll", True)
    assert len(server.exchanges) == 1


@pytest.mark.parametrize(
    ("difference", "url", "says"),
    [(0, "/v3/any", "it is the key"), (3, "/v3/any", "changes the body"), (0, "/v3/other", "rewrites addresses")],
)
async def test_a_refused_signature_is_explained(
    server: RawServer, client: PayClient, difference: int, url: str, says: str
) -> None:
    """The gateway shows what it has rebuilt; lengths and names are compared, and nothing of the text is kept."""

    async def refuse(exchange: Exchange) -> None:
        members = verify(exchange)
        text = f"POST\n/v3/any\n{members['timestamp']}\n{members['nonce_str']}\n{exchange.body.decode()}\n"
        information = {
            "method": "POST",
            "url": url,
            "sign_message_length": len(text.encode()) + difference,
            "truncated_sign_message": text,
        }
        await refusal("401 x", "SIGN_ERROR", detail={"issue": "sign not match", "sign_information": information})(
            exchange
        )

    server.answer = refuse
    with pytest.raises(PayAPIError, match=says) as caught:
        await client.gateway(ANY, json={"openid": "oUpF8uMuAJO"})
    assert "oUpF8" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


async def test_a_wrong_key_is_refused_by_the_simulator(pay_sim: Simulator, merchant: Merchant) -> None:
    """The simulator verifies for real: another key is SIGN_ERROR, and the lengths say that it is the key."""
    wrong = pay_settings(pay_sim, merchant, private_key=simulated.private_key("stranger"))
    async with PayClient(**wrong) as client:
        with pytest.raises(PayAPIError, match="it is the key") as caught:
            await client.request("GET", "/v3/certificates")
    assert (caught.value.code, caught.value.status) == ("SIGN_ERROR", 401)


# ---- what is repeated


@pytest.mark.parametrize(
    ("first", "attempts"),
    [
        (refusal("500 x", "SYSTEMERROR"), 2),
        (refusal("500 x", "BANK_ERROR"), 2),
        (refusal("429 x", "FREQUENCY_LIMITED"), 2),
        (refusal("403 x", "RATELIMIT_EXCEED"), 2),
        (refusal("500 x", "SOMETHING_NEW"), 2),
        (refusal("502 x"), 2),
        (refusal("429 x"), 2),
        (reset, 2),
        (refusal("400 x", "SOMETHING_NEW"), 1),
        (refusal("500 x", "OPENID_MISMATCH"), 1),
        (refusal("403 x", "RULELIMIT"), 1),
        (refusal("404 x"), 1),
        (refusal("302 x"), 1),
    ],
)
@pytest.mark.parametrize("endpoint", [ANY, ASK])
async def test_what_passes_is_repeated(
    server: RawServer, client: PayClient, endpoint: PayEndpoint, first: Any, attempts: int
) -> None:
    """The identical bytes go out again, freshly signed, after whatever can pass; and after nothing else."""
    server.answer = Script(first, answer)
    try:
        assert await client.gateway(endpoint, json=None if endpoint is ASK else {"n": 1}) == {"ok": 1}
        assert attempts == 2
    except PayAPIError:
        assert attempts == 1
    assert len(server.exchanges) == attempts
    assert len({(exchange.line, exchange.body) for exchange in server.exchanges}) == 1
    assert len({verify(exchange)["nonce_str"] for exchange in server.exchanges}) == attempts


@pytest.mark.parametrize(
    "first", [refusal("500 x", "SYSTEM_ERROR"), refusal("502 x"), refusal("429 x", "RATELIMIT_EXCEEDED"), reset]
)
async def test_what_may_not_be_repeated_is_not(server: RawServer, client: PayClient, first: Any) -> None:
    """A call without a number that makes it harmless is never sent twice."""
    server.answer = Script(first, answer)
    with pytest.raises((PayAPIError, TransportError)):
        await client.gateway(ONCE, json={"n": 1})
    assert len(server.exchanges) == 1


async def test_repeats_end(server: RawServer, client: PayClient) -> None:
    """After the attempts of the policy the gateway's own error comes out."""
    server.answer = refusal("500 x", "SYSTEM_ERROR")
    with pytest.raises(PayAPIError) as caught:
        await client.gateway(ANY, json={})
    assert caught.value.code == "SYSTEM_ERROR"
    assert caught.value.maybe_acted
    assert len(server.exchanges) == QUICK.attempts


async def test_retry_after_is_obeyed(server: RawServer) -> None:
    """The gateway's word beats our backoff, and too long a wait is not begun."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    body = b'{"code":"FREQUENCY_LIMITED"}'
    server.answer = Script(lambda ex: ex.reply(body, status="429 x", headers="Retry-After: 7\r\n"), answer)
    async with client_for(server, retry=RetryPolicy(sleep=sleep)) as client:
        await client.gateway(ANY, json={})
        assert 7 <= waits[0] < 8
        server.answer = Script(lambda ex: ex.reply(body, status="429 x", headers="Retry-After: 70\r\n"), answer)
        with pytest.raises(PayAPIError) as caught:
            await client.gateway(ANY, json={})
    assert caught.value.retry_after == 70
    assert len(waits) == 1


async def test_a_call_ends_in_its_time(server: RawServer) -> None:
    """The time of all attempts is bounded by the policy, whatever one attempt may take."""
    server.answer = lambda exchange: exchange.hang()
    policy = RetryPolicy(attempts=9, total_time=0.4, initial_wait=0.01)

    async def call() -> TimedOutError:
        async with client_for(server, timeout=0.3, retry=policy) as client:
            with pytest.raises(TimedOutError) as caught:
                await client.gateway(ANY, json={})
        return caught.value

    seconds, _ = await quickest(call, 2.5)
    assert seconds < 2.5
    server.answer = lambda exchange: exchange.outlast(4)
    async with client_for(server, timeout=4, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(TimedOutError) as caught:
            await client.gateway(ANY, json={})
    assert caught.value.maybe_acted


async def test_the_wait_is_logged_without_numbers(
    server: RawServer, client: PayClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each wait, with the template and the code."""
    server.answer = Script(refusal("500 x", "SYSTEM_ERROR"), answer)
    await client.gateway(QUERY, path={"out_trade_no": "my-number"})
    lines = [record.getMessage() for record in caplog.records if record.name == "wxmp.pay"]
    assert len(lines) == 1
    assert "SYSTEM_ERROR" in lines[0]
    assert "my-number" not in lines[0]


# ---- two hosts


class Pair:
    """The two hosts of one client."""

    def __init__(self, first: RawServer, second: RawServer) -> None:
        self.first, self.second = first, second
        self.now = 1000.0
        self.events: list[Event] = []

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.first.exchanges), len(self.second.exchanges)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with RawServer(answer) as first, RawServer(answer) as second:
        yield Pair(first, second)


def twin(pair: Pair, **changes: Any) -> PayClient:
    policy = RetryPolicy(attempts=4, initial_wait=0.001, max_wait=0.002, clock=lambda: pair.now)
    return client_for(
        pair.first, **{"backup_url": pair.second.url, "retry": policy, "on_event": pair.events.append} | changes
    )


async def test_the_second_host_takes_over_and_back(pair: Pair) -> None:
    """A connection that breaks moves the repeat to the other host; after 45 seconds the first one is tried again."""
    pair.first.answer = reset
    async with twin(pair) as client:
        await client.gateway(ANY, json={"n": 1})
        assert pair.counts == (1, 1)
        assert pair.first.exchanges[0].body == pair.second.exchanges[0].body
        await client.gateway(ANY, json={})
        assert pair.counts == (1, 2)
        pair.first.answer = answer
        pair.now += 44.9
        await client.gateway(ANY, json={})
        assert pair.counts == (1, 3)
        pair.now += 0.2
        await client.gateway(ANY, json={})
    assert pair.counts == (2, 3)
    told = [(event.name, event.host) for event in pair.events if isinstance(event, PayEvent)]
    assert told == [("host_failed", "localhost")]


async def test_a_single_502_makes_no_bad_host(pair: Pair) -> None:
    """One 502 moves the repeat; the second one in a row moves the calls after it too."""
    pair.first.answer = Script(refusal("502 x"), answer)
    async with twin(pair) as client:
        await client.gateway(ANY, json={})
        assert pair.counts == (1, 1)
        await client.gateway(ANY, json={})
        assert pair.counts == (2, 1)
        pair.first.answer = refusal("503 x")
        for _ in range(3):
            await client.gateway(ANY, json={})
    assert pair.counts == (4, 4)


async def test_a_business_error_does_not_move(pair: Pair) -> None:
    """The other host would say the same."""
    pair.first.answer = refusal("400 x", "PARAM_ERROR")
    async with twin(pair) as client:
        with pytest.raises(PayAPIError):
            await client.gateway(ANY, json={})
    assert pair.counts == (1, 0)


async def test_what_may_not_be_repeated_moves_when_nothing_was_sent(pair: Pair) -> None:
    """A host that refuses connections has done nothing; one that breaks them may have."""
    async with twin(pair) as client:
        pair.first.answer = reset
        with pytest.raises(TransportError):
            await client.gateway(ONCE, json={})
        assert pair.counts == (1, 0)
    async with twin(pair, base_url="http://127.0.0.1:9") as client:
        assert await client.gateway(ONCE, json={}) == {"ok": 1}
    assert pair.counts == (1, 1)


async def test_without_a_second_host_the_first_is_tried_again(server: RawServer, client: PayClient) -> None:
    """A bad host is still better than none."""
    server.answer = Script(reset, reset, answer)
    assert await client.gateway(ANY, json={}) == {"ok": 1}


# ---- the ledger: whatever breaks, one order

FAULTS = ["reset_before", "reset_after", "refused", "hang", "truncated", "empty", "not_json", "huge"]


@pytest.mark.parametrize("effect", FAULTS)
@pytest.mark.parametrize("times", [1, 9])
async def test_never_a_second_order(pay_sim: Simulator, merchant: Merchant, effect: Any, times: int) -> None:
    """Wherever the connection breaks while an order is placed: one order at most, and the outcome is told truly."""
    pay_sim.fault(effect, PAY_PATH, times=times)
    quick = RetryPolicy(attempts=3, initial_wait=0.001, max_wait=0.002)
    patience = 5.0 if effect != "hang" else 1.5 if times == 1 else 0.5
    async with PayClient(**pay_settings(pay_sim, merchant, retry=quick, timeout=patience)) as client:
        failed: Any = None
        try:
            await client.gateway(NATIVE, json=order(client, "A123456"))
        except (TransportError, ReplyError, PaySignatureError, PayAPIError) as error:
            failed = error
    assert len(merchant.orders) <= 1
    if times == 1 and effect not in ("truncated", "empty", "not_json"):  # these are damaged behind a good HTTP answer
        assert failed is None
        assert set(merchant.orders) == {"A123456"}
    if failed is not None and merchant.orders:
        assert failed.maybe_acted


@pytest.mark.parametrize("effect", ["reset_after", "truncated", "hang"])
async def test_another_content_under_the_same_number_is_found_out(
    pay_sim: Simulator, merchant: Merchant, effect: Any
) -> None:
    """After an unknown outcome the same number with another amount is refused by the gateway, and not repeated."""
    pay_sim.fault(effect, PAY_PATH, times=1, processed=True)
    async with PayClient(**pay_settings(pay_sim, merchant, retry=RetryPolicy(attempts=1), timeout=10)) as client:
        call = asyncio.create_task(client.gateway(NATIVE, json=order(client, "A123456")))
        while not pay_sim.calls(PAY_PATH):
            await asyncio.sleep(0.001)
        if effect == "hang":
            skip(10)
        with pytest.raises((TransportError, ReplyError, PaySignatureError)) as lost:
            await call
        assert lost.value.maybe_acted
        with pytest.raises(PayAPIError):
            await client.gateway(NATIVE, json=order(client, "A123456", amount={"total": 999}))
    assert [item.total for item in merchant.orders.values()] == [100]


async def test_a_cancelled_call_is_cancelled(server: RawServer, client: PayClient) -> None:
    """Cancelling is nobody's failure: nothing is repeated."""
    server.answer = lambda exchange: exchange.hang()
    task = asyncio.create_task(client.gateway(ANY, json={}))
    while not server.exchanges:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(server.exchanges) == 1


# ---- downloads

BILL = PayEndpoint("GET", "/v3/billdownload/file", repeat="yes")


async def test_a_download(server: RawServer, client: PayClient) -> None:
    """A link is fetched signed, with its query as it stands; the answer needs no signature."""
    server.answer = lambda exchange: exchange.reply(b"x" * 100_000, headers="X-Kind: bill\r\n")
    async with client.gateway.download(f"{server.url}/v3/billdownload/file?token=a%2Fb_-=&tartype=gzip", BILL) as reply:
        assert reply.headers["x-kind"] == "bill"
        content = b"".join([piece async for piece in reply.aiter_bytes()])
    assert content == b"x" * 100_000
    (exchange,) = server.exchanges
    assert exchange.target == "/v3/billdownload/file?token=a%2Fb_-=&tartype=gzip"
    assert exchange.header("Accept") == "*/*"
    verify(exchange)


async def test_errors_of_a_download_are_read(server: RawServer, client: PayClient) -> None:
    """An error instead of the file is raised as what it is; what passes is asked for again."""
    server.answer = Script(refusal("500 x", "SYSTEM_ERROR"), refusal("400 x", "NO_STATEMENT_EXIST"))
    with pytest.raises(PayAPIError) as caught:
        async with client.gateway.download(f"{server.url}/v3/billdownload/file?token=a", BILL):
            pass
    assert caught.value.code == "NO_STATEMENT_EXIST"
    assert len(server.exchanges) == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v3/billdownload/file?token=a",
        "https://api.mch.weixin.qq.com/v3/billdownload/file?token=a",
        "http://localhost/v3/billdownload/file",
        "http://localhost:{port}@evil.example/v3/billdownload/file",
        "http://user@localhost:{port}/v3/billdownload/file",
        "http://localhost:{port}/v3/billdownload/file#x",
        "http://localhost:{port}/v3/a b",
        "http://localhost:{port}/../v3",
        "http://localhost:{port}//evil.example/x",
        "file:///etc/passwd",
        "//localhost:{port}/x",
        "http://localhost:notaport/x",
        "",
        None,
    ],
)
async def test_links_elsewhere_are_refused(server: RawServer, client: PayClient, url: Any) -> None:
    """What authorises us goes to the hosts of this client only."""
    given_url = url.replace("{port}", str(server.port)) if isinstance(url, str) else url
    with pytest.raises(ConfigError):
        async with client.gateway.download(given_url, BILL):
            pass
    assert server.exchanges == []


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://api.mch.weixin.qq.com/v3/x?token=a", True),
        ("https://api2.mch.weixin.qq.com:443/v3/x", True),
        ("https://api.wechatpay.cn/v3/x", True),
        ("http://api.mch.weixin.qq.com/v3/x", False),
        ("https://api.mch.weixin.qq.com:8443/v3/x", False),
        ("https://api.mch.weixin.qq.com.evil.example/v3/x", False),
        ("https://127.0.0.1/v3/x", False),
    ],
)
async def test_links_to_the_platform(url: str, fine: bool) -> None:
    """In production a link may name any host of WeChat Pay, with https and the default port."""
    client = client_for(RawServer.__new__(RawServer), base_url="https://api.mch.weixin.qq.com")
    try:
        client.gateway.download(url, BILL)
        assert fine
    except ConfigError:
        assert not fine
    await client.aclose()
