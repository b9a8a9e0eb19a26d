"""One call from end to end, on a transport that answers from a list."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import attrs
import pytest

from wxmp._caller import Arrival, Caller, Endpoint
from wxmp._redact import Secret
from wxmp._request import Credentials, FilePart
from wxmp.errcodes import DEAD_TOKEN_CODES
from wxmp.errors import (
    AccountError,
    ArgumentError,
    BadStatusError,
    BusyError,
    DeadTokenError,
    NotFoundError,
    RateLimitError,
    ReplyError,
    TimedOutError,
    TokenStoreUnavailable,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wxmp._request import WireRequest

RID = "5f9d2a1b-0a1b2c3d-4e5f6a7b"
APPSECRET = "fake-appsecret"

READ = Endpoint("GET", "/cgi-bin/user/info", repeatable=True)
SEND = Endpoint("POST", "/cgi-bin/message/custom/send", repeatable=False)
DELETE = Endpoint("POST", "/cgi-bin/tags/delete", repeatable=True, done_codes=frozenset({45159}))
TAGGING = Endpoint("POST", "/cgi-bin/tags/members/batchtagging", repeatable=True, accepted_codes=frozenset({45171}))
TOKEN = Endpoint("POST", "/cgi-bin/stable_token", repeatable=True, auth="none", issues_tokens=True)
PICTURE = Endpoint("GET", "/cgi-bin/showqrcode", repeatable=True, auth="none", host="mp")
MEDIA = Endpoint("GET", "/cgi-bin/media/get", repeatable=True)


@attrs.frozen
class Reply:
    """What the caller reads of a WireReply; a stream gives it in pieces of ``step`` bytes, then ``breaks``."""

    status: int = 200
    content: bytes = b'{"errcode":0,"errmsg":"ok"}'
    headers: dict[str, str] = attrs.field(factory=dict)
    step: int = 1 << 16
    breaks: Exception | None = None


def answer(errcode: object = 0, errmsg: object = "ok", **fields: object) -> Reply:
    return Reply(content=json.dumps({"errcode": errcode, "errmsg": errmsg, **fields}).encode())


Outcome = Reply | BaseException


class FakeTransport:
    """Gives one outcome per request, in order; more requests than outcomes fail the test."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[WireRequest] = []
        self.limits: list[int | None] = []
        #: Streams that are open.
        self.open = 0

    async def send(self, request: WireRequest) -> Reply:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def stream(self, request: WireRequest, *, max_body: int | None = None) -> FakeStream:
        self.limits.append(max_body)
        return FakeStream(self, request)

    @property
    def tokens(self) -> list[str]:
        """The access token of each request."""
        return [request.credentials.params["access_token"].reveal() for request in self.requests]  # type: ignore[union-attr]


class FakeStream:
    """The next outcome, as an answer that is read piece by piece."""

    def __init__(self, transport: FakeTransport, request: WireRequest) -> None:
        self.transport = transport
        self.request = request
        self.reply = Reply()
        self.status = 0
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self.reply = await self.transport.send(self.request)
        self.status, self.headers = self.reply.status, self.reply.headers
        self.transport.open += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.open -= 1

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        content, step = self.reply.content, self.reply.step
        for start in range(0, len(content), step):
            yield content[start : start + step]
        if self.reply.breaks is not None:
            raise self.reply.breaks


class FakeTokens:
    """Tokens TOKEN-1, TOKEN-2 ...; the next one after each report. The first ``usable`` are at hand."""

    def __init__(self, *, usable: int = 99, error: WxmpError | None = None, repeat: bool = True) -> None:
        self.number = 1
        self.usable = usable
        self.error = error
        self.repeat = repeat
        self.current = Secret("TOKEN-1")
        self.asked = 0
        self.dead: list[tuple[str, int, str]] = []
        self.penalised: list[str] = []

    def peek(self) -> Secret | None:
        self.usable -= 1
        return self.current if self.usable >= 0 else None

    async def get(self) -> Secret:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.current

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        self.dead.append((value.reveal(), code, path))
        self.number += 1
        self.current = Secret(f"TOKEN-{self.number}")
        return self.repeat

    def penalise(self, path: str) -> None:
        self.penalised.append(path)


@attrs.frozen
class World:
    """A caller and what it stands on."""

    caller: Caller
    transport: FakeTransport
    tokens: FakeTokens
    slept: list[float]


@pytest.fixture
def world() -> Callable[..., World]:
    def make(*outcomes: Outcome, tokens: FakeTokens | None = None, **policy: Any) -> World:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        transport, tokens = FakeTransport(*outcomes), tokens or FakeTokens()
        caller = Caller(
            appid="wx0123456789abcdef",
            secret=lambda: Secret(APPSECRET),
            transport=transport,  # type: ignore[arg-type]
            tokens=tokens,
            retry=RetryPolicy(**{"sleep": sleep, "total_time": 300.0, **policy}),
            mp_origin="https://mp.weixin.qq.com",
        )
        return World(caller, transport, tokens, slept)

    return make


Make: TypeAlias = "Callable[..., World]"


# ---- the straight road


async def test_success_is_one_request(world: Make) -> None:
    """A call that works is sent once, with the token, and its JSON comes back."""
    w = world(Reply(content=b'{"subscribe":1}'))
    assert await w.caller(READ, params={"openid": "o1"}, timeout=2.5) == {"subscribe": 1}
    (request,) = w.transport.requests
    assert (request.method, request.path, request.params) == ("GET", "/cgi-bin/user/info", {"openid": "o1"})
    assert (request.content, request.origin, request.timeout) == (None, None, 2.5)
    assert request.endpoint == "GET /cgi-bin/user/info"
    assert w.transport.tokens == ["TOKEN-1"]
    assert w.tokens.asked == 0


@pytest.mark.parametrize(
    ("payload", "content"),
    [({"name": "菜单"}, '{"name":"菜单"}'.encode()), (None, b"{}"), ({}, b"{}"), ([], b"[]")],
)
async def test_payload_is_raw_json(world: Make, payload: object, content: bytes) -> None:
    """A POST sends its payload as raw UTF-8, and {} when there is none."""
    w = world(Reply())
    await w.caller(SEND, json=payload)
    assert w.transport.requests[0].content == content


async def test_payload_without_json_form_is_not_sent(world: Make) -> None:
    """What cannot be written as JSON is refused before any request."""
    w = world()
    with pytest.raises(ArgumentError, match=r"button\.name"):
        await w.caller(SEND, json={"button": {"name": "half \ud83d"}})
    assert w.transport.requests == []


async def test_cold_client_waits_for_a_token(world: Make) -> None:
    """Without a token at hand the keeper is asked for one."""
    w = world(Reply(), tokens=FakeTokens(usable=0))
    await w.caller(READ)
    assert (w.tokens.asked, w.transport.tokens) == (1, ["TOKEN-1"])


async def test_upload_has_no_json_body(world: Make) -> None:
    """Files and form fields go as they are."""
    part = FilePart("media", "a.jpg", b"...")
    w = world(Reply())
    await w.caller(SEND, files=[part], form={"description": "x"})
    (request,) = w.transport.requests
    assert (request.content, request.files, request.form) == (None, [part], {"description": "x"})


async def test_own_credentials(world: Make) -> None:
    """An endpoint without access token gets the family's credentials and never the account's token."""
    credentials = Credentials(json={"secret": Secret(APPSECRET)})
    w = world(Reply())
    await w.caller(TOKEN, credentials=credentials)
    assert [request.credentials for request in w.transport.requests] == [credentials]
    assert w.tokens.asked == 0


async def test_pictures_come_from_their_own_host(world: Make) -> None:
    """An endpoint of the other host is sent there, without credentials."""
    w = world(Reply(content=b"\xff\xd8jpeg"))
    await w.caller.download(PICTURE, whole, params={"ticket": "t"})
    assert w.transport.requests[0].origin == "https://mp.weixin.qq.com"
    assert w.transport.requests[0].credentials is None


# ---- dead tokens


@pytest.mark.parametrize("code", sorted(DEAD_TOKEN_CODES))
@pytest.mark.parametrize("endpoint", [READ, SEND])
async def test_dead_token_is_replaced_once(world: Make, endpoint: Endpoint, code: int) -> None:
    """A dead token is reported, and the call repeated with the next one, also where repeats are not allowed."""
    w = world(answer(code), answer(done=1))
    assert (await w.caller(endpoint))["done"] == 1
    assert w.transport.tokens == ["TOKEN-1", "TOKEN-2"]
    assert w.tokens.dead == [("TOKEN-1", code, endpoint.path)]
    assert (w.tokens.penalised, w.slept) == ([], [])


async def test_dead_token_as_text(world: Make) -> None:
    """An errcode that comes as text is the same errcode."""
    w = world(answer("40001"), answer("0"))
    await w.caller(READ)
    assert w.tokens.dead == [("TOKEN-1", 40001, READ.path)]


async def test_stubborn_dead_token(world: Make) -> None:
    """After two replacements the path gets the blame, and the error says what the platform said last."""
    w = world(*[answer(40001, f"invalid credential {n} rid: {RID}") for n in (1, 2, 3)])
    with pytest.raises(DeadTokenError) as caught:
        await w.caller(READ)
    assert w.transport.tokens == ["TOKEN-1", "TOKEN-2", "TOKEN-3"]
    assert [value for value, _, _ in w.tokens.dead] == ["TOKEN-1", "TOKEN-2"]
    assert w.tokens.penalised == [READ.path]
    error = caught.value
    assert (error.errmsg, error.rid, error.endpoint) == ("invalid credential 3", RID, READ.name)
    assert w.slept == []


async def test_keeper_forbids_the_repeat(world: Make) -> None:
    """When the keeper replaces nothing for this path, the call fails with the first answer."""
    w = world(answer(40001), tokens=FakeTokens(repeat=False))
    with pytest.raises(DeadTokenError):
        await w.caller(READ)
    assert (len(w.transport.requests), w.tokens.penalised) == (1, [])


async def test_no_further_replacement(world: Make) -> None:
    """When the keeper's budget is empty, the error names the refused call and carries the keeper's advice."""
    refused = DeadTokenError(errcode=40001, endpoint="POST /cgi-bin/stable_token", advice="Another program does it.")
    w = world(answer(42001, f"expired rid: {RID}"), tokens=FakeTokens(usable=1, error=refused))
    with pytest.raises(DeadTokenError) as caught:
        await w.caller(READ)
    error = caught.value
    assert (error.endpoint, error.rid, error.advice) == (READ.name, RID, "Another program does it.")


async def test_dead_code_of_a_token_request(world: Make) -> None:
    """On a token request 40001 is about the AppSecret: nothing is replaced or repeated."""
    w = world(answer(40001))
    with pytest.raises(AccountError):
        await w.caller(TOKEN, credentials=Credentials(json={"secret": Secret(APPSECRET)}))
    assert (w.tokens.dead, len(w.transport.requests)) == ([], 1)


async def test_upload_from_an_iterator_is_sent_once(world: Make) -> None:
    """What can be read only once is not sent again, not even after a dead token; the token is reported."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"..."

    w = world(answer(40001))
    with pytest.raises(DeadTokenError):
        await w.caller(SEND, files=[FilePart("media", "a.jpg", chunks())])
    assert (len(w.transport.requests), len(w.tokens.dead)) == (1, 1)


@pytest.mark.parametrize(
    "error", [TransportError("down"), TokenStoreUnavailable("down"), api_error(-1), api_error(45011), api_error(40164)]
)
@pytest.mark.parametrize("failures", [0, 1])
async def test_errors_of_the_keeper_are_not_repeated(world: Make, error: WxmpError, failures: int) -> None:
    """The keeper has waited as long as it makes sense: the policy adds nothing to that, on no attempt."""
    tokens = FakeTokens(error=error, usable=failures)
    w = world(*[answer(-1)] * failures, tokens=tokens)
    with pytest.raises(type(error)) as caught:
        await w.caller(READ)
    assert caught.value is error
    assert (tokens.asked, len(w.slept)) == (1, failures)


# ---- the policy


@pytest.mark.parametrize(
    "failure",
    [answer(-1), answer(45011), Reply(502), Reply(content=b"<html>"), TransportError("reset"), TimedOutError("slow")],
)
async def test_passing_failures_are_repeated(world: Make, failure: Outcome) -> None:
    """A repeatable call survives what passes."""
    w = world(failure, answer(done=1))
    assert (await w.caller(READ))["done"] == 1
    assert len(w.slept) == 1


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (answer(-1), BusyError),
        (Reply(502), BadStatusError),
        (Reply(content=b"<html>"), ReplyError),
        (TransportError("reset", maybe_acted=True), TransportError),
        (TimedOutError("slow", maybe_acted=True), TimedOutError),
    ],
)
async def test_a_send_is_not_repeated_in_doubt(world: Make, failure: Outcome, expected: type[WxmpError]) -> None:
    """When the platform may have acted, a call that sends something is left alone."""
    w = world(failure)
    with pytest.raises(expected):
        await w.caller(SEND)
    assert (len(w.transport.requests), w.slept) == (1, [])


@pytest.mark.parametrize("failure", [answer(45011), TransportError("refused", maybe_acted=False), Reply(429)])
async def test_a_send_is_repeated_where_nothing_happened(world: Make, failure: Outcome) -> None:
    """When the platform certainly did not act, sending again is safe."""
    w = world(failure, answer(done=1))
    assert (await w.caller(SEND))["done"] == 1


async def test_a_deduplicated_send_is_repeated(world: Make) -> None:
    """A payload with a de-duplication key makes any call repeatable."""
    w = world(TimedOutError("slow", maybe_acted=True), answer(done=1))
    assert (await w.caller(SEND, json={"client_msg_id": "m1"}, repeatable=True))["done"] == 1
    assert w.transport.requests[0].content == w.transport.requests[1].content


async def test_a_repeatable_call_can_be_made_single(world: Make) -> None:
    """The caller's word goes over the endpoint's."""
    w = world(answer(-1))
    with pytest.raises(BusyError):
        await w.caller(READ, repeatable=False)
    assert len(w.transport.requests) == 1


async def test_attempts_are_bounded(world: Make) -> None:
    """The policy's number of attempts includes the first, and the last error escapes."""
    w = world(*[answer(-1, f"busy {n}") for n in (1, 2, 3)], attempts=3)
    with pytest.raises(BusyError, match="busy 3"):
        await w.caller(READ)
    assert (len(w.transport.requests), len(w.slept)) == (3, 2)


async def test_daily_quota_is_raised_at_once(world: Make) -> None:
    """A limit that ends tomorrow is not waited for."""
    w = world(answer(45009))
    with pytest.raises(RateLimitError) as caught:
        await w.caller(READ)
    assert (caught.value.scope, w.slept) == ("day", [])


async def test_dead_token_between_repeats(world: Make) -> None:
    """A token that dies during the repeats is replaced there too, and costs no attempt."""
    w = world(answer(-1), answer(40001), answer(-1), answer(done=1), attempts=3)
    assert (await w.caller(READ))["done"] == 1
    assert w.transport.tokens == ["TOKEN-1", "TOKEN-1", "TOKEN-2", "TOKEN-2"]
    assert len(w.slept) == 2


async def test_upload_from_an_iterator_is_not_repeated(world: Make) -> None:
    """Half-read content is never sent as if it were whole."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"..."

    w = world(TransportError("refused", maybe_acted=False))
    with pytest.raises(TransportError):
        await w.caller(SEND, files=[FilePart("media", "a.jpg", chunks())])
    assert len(w.transport.requests) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("bug")])
async def test_other_errors_pass_through(world: Make, error: BaseException) -> None:
    """Cancellation and bugs are neither repeated nor changed."""
    w = world(error)
    with pytest.raises(type(error)) as caught:
        await w.caller(READ)
    assert caught.value is error


# ---- codes with a meaning of their own


@pytest.mark.parametrize(
    "doubt", [TimedOutError("slow"), TransportError("reset"), Reply(502), Reply(content=b""), answer(-1)]
)
async def test_done_codes_after_doubt(world: Make, doubt: Outcome) -> None:
    """When an attempt may have worked, "it is gone already" is its success."""
    w = world(doubt, answer(45159))
    assert (await w.caller(DELETE))["errcode"] == 45159


async def test_done_codes_without_doubt(world: Make) -> None:
    """On a first attempt, "no such tag" is an error."""
    w = world(answer(45159))
    with pytest.raises(NotFoundError):
        await w.caller(DELETE)


async def test_no_unknown_outcome_is_forgotten(world: Make) -> None:
    """When the last attempt surely did nothing, an earlier one may have: the error still says so."""
    refused = TransportError("refused", maybe_acted=False)
    w = world(TimedOutError("slow"), refused, refused, refused)
    with pytest.raises(TransportError) as caught:
        await w.caller(READ)
    assert caught.value.maybe_acted


async def test_a_refusal_after_an_unknown_outcome_says_so(world: Make) -> None:
    """A definite refusal of the repetition says nothing about the attempt before it."""
    w = world(TimedOutError("slow"), answer(45009))
    with pytest.raises(RateLimitError) as caught:
        await w.caller(READ)
    assert "may have been carried out" in caught.value.__notes__[0]


async def test_a_plain_failure_makes_no_such_claim(world: Make) -> None:
    """Where no attempt can have acted, no error says that one may have."""
    refused = TransportError("refused", maybe_acted=False)
    w = world(refused, refused, refused, refused)
    with pytest.raises(TransportError) as caught:
        await w.caller(READ)
    assert not caught.value.maybe_acted


@pytest.mark.parametrize(
    "refusal", [answer(45011), TransportError("refused", maybe_acted=False), Reply(429), answer(40001)]
)
async def test_done_codes_after_a_refusal(world: Make, refusal: Outcome) -> None:
    """After a refusal nothing was done, so the code keeps its meaning."""
    w = world(refusal, answer(45159))
    with pytest.raises(NotFoundError):
        await w.caller(DELETE)


async def test_doubt_is_remembered(world: Make) -> None:
    """Doubt stays for all later attempts of the call, also behind a refusal."""
    w = world(TimedOutError("slow"), answer(45011), answer(40001), answer(45159))
    assert (await w.caller(DELETE))["errcode"] == 45159


async def test_doubt_is_not_carried_over(world: Make) -> None:
    """The doubt of one call means nothing for the next one."""
    w = world(TimedOutError("slow"), answer(45159), answer(45159))
    await w.caller(DELETE)
    with pytest.raises(NotFoundError):
        await w.caller(DELETE)


async def test_accepted_codes_are_answers(world: Make) -> None:
    """A code that the family reads itself comes back with its reply."""
    w = world(answer(45171, fail_openid_list=["o1"]))
    assert (await w.caller(TAGGING))["fail_openid_list"] == ["o1"]


async def test_accepted_codes_after_doubt(world: Make) -> None:
    """Doubt adds to the accepted codes and takes none away."""
    w = world(TimedOutError("slow"), answer(45171, fail_openid_list=["o1"]))
    assert (await w.caller(TAGGING))["fail_openid_list"] == ["o1"]


async def test_accepted_code_as_text(world: Make) -> None:
    """An accepted code is accepted as text too, and the family finds a number."""
    w = world(answer("45171", fail_openid_list=["o1"]))
    assert (await w.caller(TAGGING))["errcode"] == 45171


# ---- bad answers


@pytest.mark.parametrize(
    ("status", "maybe_acted"),
    [(302, False), (400, False), (403, False), (404, False), (413, False), (500, True), (502, True), (503, True)],
)
async def test_status_other_than_2xx(world: Make, status: int, maybe_acted: bool) -> None:
    """Something in front of the platform answered: only a 5xx leaves doubt."""
    w = world(Reply(status, content=b'{"errcode":0}'), attempts=1)
    with pytest.raises(BadStatusError) as caught:
        await w.caller(READ)
    error = caught.value
    assert (error.status, error.maybe_acted, error.endpoint) == (status, maybe_acted, READ.name)


@pytest.mark.parametrize("status", [200, 201, 206])
async def test_any_2xx_is_an_answer(world: Make, status: int) -> None:
    """Only the JSON decides within 2xx."""
    w = world(Reply(status))
    assert (await w.caller(READ))["errcode"] == 0


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"errcode":0', b"[" * 100_000])
async def test_answer_that_is_no_object(world: Make, content: bytes) -> None:
    """An answer that cannot be read is a ReplyError of this endpoint, with an excerpt."""
    w = world(Reply(content=content), attempts=1)
    with pytest.raises(ReplyError) as caught:
        await w.caller(READ)
    assert caught.value.endpoint == READ.name
    assert caught.value.body == content.decode()[:200]


@pytest.mark.parametrize("errcode", ["many", "", {}, [1], "1_0_x", "9" * 5000, 10**30, True, 1.5])
async def test_errcode_that_is_no_number(world: Make, errcode: object) -> None:
    """An errcode that is no number is a ReplyError."""
    w = world(answer(errcode), attempts=1)
    with pytest.raises(ReplyError, match="errcode is not a number"):
        await w.caller(READ)


@pytest.mark.parametrize("fields", [{}, {"errcode": 0}, {"errcode": "0"}, {"errcode": None}])
async def test_success_has_many_spellings(world: Make, fields: dict[str, Any]) -> None:
    """No errcode, 0, "0" and null are all success."""
    w = world(Reply(content=json.dumps({**fields, "x": 1}).encode()))
    assert (await w.caller(READ))["x"] == 1


# ---- downloads

JPEG = b"\xff\xd8jpeg"
UNKNOWN = answer(40007, f"invalid media_id rid: {RID}").content
LABELS = ["image/jpeg", "text/plain", "application/json; charset=utf-8", "application/octet-stream", ""]


async def whole(arrival: Arrival) -> bytes:
    """Receive a file: all of its bytes."""
    return b"".join([piece async for piece in arrival])


def labelled(content: bytes, label: str = "", **more: Any) -> Reply:
    """An answer with a content type."""
    return Reply(content=content, headers={"content-type": label} if label else {}, **more)


async def test_download_gives_a_file(world: Make) -> None:
    """What is no JSON goes to the receiver, with its headers, and its result comes back."""
    w = world(labelled(JPEG, "image/jpeg"))

    async def receive(arrival: Arrival) -> tuple[bytes, str]:
        return await whole(arrival), arrival.headers["content-type"]

    assert await w.caller.download(MEDIA, receive, params={"media_id": "m"}) == (JPEG, "image/jpeg")
    assert w.transport.requests[0].params == {"media_id": "m"}
    assert w.transport.open == 0


async def test_download_passes_its_limits_on(world: Make) -> None:
    """Time and size of the call are those of the transport's stream; a payload is sent as JSON."""
    w = world(labelled(JPEG))
    endpoint = Endpoint("POST", "/cgi-bin/material/get_material", repeatable=True)
    await w.caller.download(endpoint, whole, json={"media_id": "m"}, timeout=33.0, limit=5000)
    (request,) = w.transport.requests
    assert (request.content, request.timeout, w.transport.limits) == (b'{"media_id":"m"}', 33.0, [5000])


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf \n"])
@pytest.mark.parametrize("label", [*LABELS, "audio/amr", "voice/speex"])
async def test_an_error_is_known_under_any_label(world: Make, label: str, before: bytes, step: int) -> None:
    """An error in the place of a file is raised as what it is, whatever it is labelled, preceded by and cut into."""
    w = world(labelled(before + UNKNOWN, label, step=step))
    with pytest.raises(NotFoundError) as caught:
        await w.caller.download(MEDIA, whole)
    assert (caught.value.errcode, caught.value.rid) == (40007, RID)
    assert w.transport.open == 0


@pytest.mark.parametrize("step", [1, 1 << 16])
@pytest.mark.parametrize("label", LABELS)
async def test_download_that_answers_json(world: Make, label: str, step: int) -> None:
    """Some media are answered as JSON (a video's address): that is no error, and no file."""
    w = world(labelled(b'{"video_url":"https://example.com/v"}', label, step=step))
    assert await w.caller.download(MEDIA, whole) == {"video_url": "https://example.com/v"}


@pytest.mark.parametrize("step", [1, 1 << 16])
@pytest.mark.parametrize("content", [b"{" + bytes(100), b"<" + bytes(100), b" {}{", b"{" + bytes(range(256)) * 400])
@pytest.mark.parametrize("label", ["audio/amr", "Audio/speex; rate=16000", "voice/speex"])
async def test_sound_may_begin_with_anything(world: Make, label: str, content: bytes, step: int) -> None:
    """Sound without a header can begin with a brace or a bracket; its label says that it is sound."""
    w = world(labelled(content, label, step=step))
    assert await w.caller.download(MEDIA, whole) == content


@pytest.mark.parametrize("step", [1, 3, 1 << 16])
async def test_a_file_in_small_pieces_is_whole(world: Make, step: int) -> None:
    """What was read to judge the answer is not lost, however it is cut."""
    content = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    w = world(labelled(content, "image/png", step=step))
    assert await w.caller.download(MEDIA, whole) == content


@pytest.mark.parametrize("content", [b"", b"<html>busy</html>", b"  <!DOCTYPE html>", b"\xef\xbb\xbf<xml/>"])
@pytest.mark.parametrize("label", ["text/html", "image/jpeg", ""])
async def test_a_page_is_no_file(world: Make, content: bytes, label: str) -> None:
    """Nothing, or a page of something in between, is no file; the error keeps an excerpt."""
    w = world(labelled(content, label), attempts=1)
    with pytest.raises(ReplyError, match="not a file") as caught:
        await w.caller.download(MEDIA, whole)
    assert (caught.value.endpoint, caught.value.body) == (MEDIA.name, content.decode())
    assert w.transport.open == 0


async def test_a_page_that_echoes_the_token(world: Make) -> None:
    """The excerpt does not carry the token."""
    w = world(labelled(b"<a href='/x?access_token=TOKEN-1'>"), attempts=1)
    with pytest.raises(ReplyError) as caught:
        await w.caller.download(MEDIA, whole)
    assert "TOKEN-1" not in shown(caught.value)


async def test_endless_json_is_refused(world: Make) -> None:
    """JSON of more than 10 MiB is read no further."""
    w = world(labelled(b'{"news_item":"' + b"x" * (11 << 20), "text/plain"), attempts=1)
    with pytest.raises(ReplyError, match="larger than"):
        await w.caller.download(MEDIA, whole)
    assert w.transport.open == 0


async def test_broken_json_in_place_of_a_file(world: Make) -> None:
    """What begins like JSON and is none is an answer that cannot be read."""
    w = world(labelled(b'{"errcode":40007', "image/jpeg"), attempts=1)
    with pytest.raises(ReplyError):
        await w.caller.download(MEDIA, whole)


async def test_download_replaces_a_dead_token(world: Make) -> None:
    """Downloads go the same road: the token is replaced, passing failures are repeated."""
    w = world(answer(40001), answer(-1), Reply(content=b"jpeg"))
    assert await w.caller.download(MEDIA, whole) == b"jpeg"
    assert w.transport.tokens == ["TOKEN-1", "TOKEN-2", "TOKEN-2"]


async def test_download_that_breaks_begins_anew(world: Make) -> None:
    """When the connection breaks half-way the call is repeated, and the receiver begins with an empty hand."""
    seen: list[list[bytes]] = []

    async def receive(arrival: Arrival) -> bytes:
        seen.append([])
        async for piece in arrival:
            seen[-1].append(piece)
        return b"".join(seen[-1])

    broken = labelled(JPEG, step=4, breaks=TransportError("reset", maybe_acted=True))
    w = world(broken, broken, labelled(JPEG, step=4))
    assert await w.caller.download(MEDIA, receive) == JPEG
    assert seen == [[JPEG[:4], JPEG[4:]]] * 3
    assert (len(w.slept), w.transport.open) == (2, 0)


async def test_download_that_may_not_be_repeated(world: Make) -> None:
    """Where a repeat could do harm, a broken connection is final."""
    w = world(labelled(JPEG, breaks=TransportError("reset", maybe_acted=True)))
    with pytest.raises(TransportError):
        await w.caller.download(SEND, whole)
    assert len(w.transport.requests) == 1


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("bug"), asyncio.CancelledError()])
async def test_what_the_receiver_raises_passes_through(world: Make, error: BaseException) -> None:
    """A failure on this side is neither repeated nor changed, and the answer is let go."""

    async def receive(arrival: Arrival) -> bytes:
        raise error

    w = world(labelled(JPEG))
    with pytest.raises(type(error)) as caught:
        await w.caller.download(MEDIA, receive)
    assert caught.value is error
    assert (len(w.transport.requests), w.transport.open) == (1, 0)


@pytest.mark.parametrize("status", [404, 502])
async def test_download_with_a_bad_status(world: Make, status: int) -> None:
    """An error page is no picture."""
    w = world(Reply(status, content=JPEG), attempts=1)
    with pytest.raises(BadStatusError):
        await w.caller.download(MEDIA, whole)
    assert w.transport.open == 0


async def test_download_without_a_token(world: Make) -> None:
    """Errors of the keeper are raised as they are."""
    error = TokenStoreUnavailable("down")
    w = world(tokens=FakeTokens(usable=0, error=error))
    with pytest.raises(TokenStoreUnavailable) as caught:
        await w.caller.download(MEDIA, whole)
    assert caught.value is error


# ---- streams


async def test_stream_is_open_within_its_block(world: Make) -> None:
    """The file is read within the block, and let go at its end."""
    w = world(labelled(JPEG, "image/jpeg", step=2))
    async with w.caller.stream(MEDIA, params={"media_id": "m"}) as arrival:
        assert isinstance(arrival, Arrival)
        assert w.transport.open == 1
        assert await whole(arrival) == JPEG
    assert w.transport.open == 0
    assert w.transport.requests[0].params == {"media_id": "m"}


async def test_stream_replaces_a_dead_token(world: Make) -> None:
    """Opening goes the road of every call: the token is replaced, passing failures are repeated."""
    w = world(answer(42001), TimedOutError("slow"), labelled(JPEG))
    async with w.caller.stream(MEDIA) as arrival:
        assert isinstance(arrival, Arrival)
        assert await whole(arrival) == JPEG
    assert w.transport.tokens == ["TOKEN-1", "TOKEN-2", "TOKEN-2"]


async def test_stream_raises_an_error_when_it_is_opened(world: Make) -> None:
    """An error in the place of a file is raised before anything can be read."""
    w = world(labelled(UNKNOWN, "image/jpeg", step=1))
    with pytest.raises(NotFoundError):
        async with w.caller.stream(MEDIA):
            pytest.fail("it was opened")
    assert w.transport.open == 0


async def test_stream_of_json(world: Make) -> None:
    """JSON that is no error comes as it is."""
    w = world(labelled(b'{"video_url":"https://example.com/v"}', "text/plain"))
    async with w.caller.stream(MEDIA) as found:
        assert found == {"video_url": "https://example.com/v"}


async def test_stream_that_breaks_is_not_repeated(world: Make) -> None:
    """Once it is open, a broken connection is an error: what was read already cannot be taken back."""
    error = TransportError("reset", maybe_acted=True)
    w = world(labelled(JPEG, step=3, breaks=error))
    read: list[bytes] = []

    async def read_all() -> None:
        async with w.caller.stream(MEDIA) as arrival:
            assert isinstance(arrival, Arrival)
            async for piece in arrival:
                read.append(piece)

    with pytest.raises(TransportError) as caught:
        await read_all()
    assert (b"".join(read), caught.value) == (JPEG, error)
    assert (len(w.transport.requests), w.transport.open) == (1, 0)


@pytest.mark.parametrize("error", [ValueError("bug"), api_error(-1), TransportError("another server")])
async def test_what_the_block_raises_passes_through(world: Make, error: Exception) -> None:
    """A failure of whoever reads is not taken for one of the call."""
    w = world(labelled(JPEG))
    with pytest.raises(type(error)) as caught:
        async with w.caller.stream(MEDIA):
            raise error
    assert caught.value is error
    assert (len(w.transport.requests), w.transport.open) == (1, 0)


# ---- secrecy and log


def shown(error: BaseException) -> str:
    """Everything that a person, a log or a worker queue gets to see of an error."""
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    return text + pickle.dumps(error).decode("latin-1")


@pytest.mark.parametrize(
    "reply",
    [
        answer(47001, "cannot parse access_token=TOKEN-1"),
        answer(47001, "TOKEN-1 TOKEN-1"),
        Reply(content=b"<a href='/x?access_token=TOKEN-1'>"),
        Reply(content=b"error near TOKEN-1"),
        answer("TOKEN-1"),
    ],
)
async def test_echoed_token_is_masked(world: Make, reply: Reply) -> None:
    """An answer that repeats the token does not carry it into the error."""
    w = world(reply, attempts=1)
    with pytest.raises(WxmpError) as caught:
        await w.caller(READ)
    assert "TOKEN-1" not in shown(caught.value)


@pytest.mark.parametrize(
    "reply", [answer(40125, f"bad secret {APPSECRET}"), Reply(content=f"oops {APPSECRET}".encode())]
)
async def test_echoed_appsecret_is_masked(world: Make, reply: Reply) -> None:
    """An answer that repeats the AppSecret does not carry it into the error."""
    w = world(reply, attempts=1)
    with pytest.raises(WxmpError) as caught:
        await w.caller(TOKEN, credentials=Credentials(json={"secret": Secret(APPSECRET)}))
    assert APPSECRET not in shown(caught.value)


async def test_each_wait_is_logged_once(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Each wait is one line with endpoint, attempt, cause and seconds; the token and the texts are not in it."""
    w = world(answer(-1, "TOKEN-1 busy"), TimedOutError("slow"), answer(done=1))
    with caplog.at_level(logging.DEBUG):
        await w.caller(READ, params={"openid": "openid-of-somebody"})
    first, second = w.slept
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("wxmp.call", "WARNING", f"GET /cgi-bin/user/info: attempt 1 failed (errcode -1), next in {first:.2f} s"),
        ("wxmp.call", "WARNING", f"GET /cgi-bin/user/info: attempt 2 failed (TimedOutError), next in {second:.2f} s"),
    ]


async def test_success_is_not_logged(world: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A call that works, with a dead token or without, leaves the log alone."""
    w = world(answer(40001), Reply())
    with caplog.at_level(logging.DEBUG):
        await w.caller(READ)
    assert caplog.records == []


def test_endpoint_has_a_name() -> None:
    """An endpoint is called by method and path in errors and logs."""
    assert SEND.name == "POST /cgi-bin/message/custom/send"


# ---- what is attached to an error, and whose token is masked


def chain(error: BaseException) -> list[BaseException]:
    """The error and everything that is attached to it, shown by Python or not."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        item = pending.pop()
        if item is not None and item not in found:
            found.append(item)
            pending += [item.__cause__, item.__context__]
    return found


async def test_errmsg_that_is_null(world: Make) -> None:
    """No errmsg is an empty text."""
    w = world(answer(47001, None))
    with pytest.raises(ArgumentError) as caught:
        await w.caller(READ)
    assert caught.value.errmsg == ""


async def test_echoed_token_at_the_end_of_the_excerpt(world: Make) -> None:
    """A token that the excerpt would cut in two is masked as a whole."""
    w = world(Reply(content=b"x" * 196 + b" TOKEN-1"), attempts=1)
    with pytest.raises(ReplyError) as caught:
        await w.caller(READ)
    assert caught.value.body == "x" * 196 + " ***"


@pytest.mark.parametrize("reply", [Reply(content=b"error near TOKEN-1"), answer("TOKEN-1")])
async def test_nothing_unmasked_stays_attached(world: Make, reply: Reply) -> None:
    """No error behind the error holds the echoed token either."""
    w = world(reply, attempts=1)
    with pytest.raises(ReplyError) as caught:
        await w.caller(READ)
    assert [error for error in chain(caught.value) if "TOKEN-1" in repr(error) + repr(vars(error))] == []


async def test_echoed_token_of_an_older_call(world: Make) -> None:
    """A call masks the token it was sent with, also when another call has got a newer one meanwhile."""
    w = world(answer(47001, "cannot parse TOKEN-1"), Reply())
    send = w.transport.send

    async def overtaken(request: WireRequest) -> Reply:
        w.transport.send = send  # type: ignore[method-assign]
        reply = await send(request)
        w.tokens.current = Secret("TOKEN-2")
        await w.caller(READ)
        return reply

    w.transport.send = overtaken  # type: ignore[method-assign]
    with pytest.raises(ArgumentError) as caught:
        await w.caller(SEND)
    assert caught.value.errmsg == "cannot parse ***"
