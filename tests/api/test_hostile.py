"""Every call against a platform that lies and a caller who errs: typed errors, in time, and nothing secret in them.

The facts and the arguments are those of the other tests of all endpoints. Three things are attacked: the answer (each
place of it, and all of it), the arguments (each one, and each attribute of the records in them), and the time between
(cancelled anywhere, two hundred calls at once). Where something is sent, it is compared with what is documented.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import itertools
import json
import logging
import math
import pickle
import random
import traceback
from contextlib import aclosing, suppress
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wxmp.api._pages
from tests.api.conftest import StubTokens
from tests.api.examples import examples_of
from tests.api.facts import FACTS, PUBLIC, Fact
from tests.api.test_every_endpoint import (
    APPID,
    APPSECRET,
    ITERATORS,
    SYNCHRONOUS,
    TOKEN,
    Wire,
    check_place,
    client_on,
    flat,
    good_answer,
    make,
    method_of,
    records,
)
from wxmp import ArgumentError, Client, ConfigError, ReplyError, RetryPolicy, TransportError, WxmpError
from wxmp._caller import Caller
from wxmp._redact import Secret
from wxmp._request import WireReply, WireRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

CALLS = [call for call in PUBLIC if call not in SYNCHRONOUS]
#: What answers a file reads nothing but an error in its place.
FILES = {call for call in CALLS if FACTS[call].answer.startswith("binary")}
#: Seconds that no single call here may take.
PATIENCE = 10

# ---- a client on a line that answers whatever the test says


class Line:
    """Stands where the transport is: no network, no HTTP, any bytes."""

    def __init__(self, content: bytes = b"{}") -> None:
        self.content = content
        self.requests: list[WireRequest] = []

    async def send(self, request: WireRequest) -> WireReply:
        self.requests.append(request)
        return WireReply(200, {}, self.content)

    def stream(self, request: WireRequest, *, max_body: int | None = None) -> Any:
        self.requests.append(request)
        return _Stream(self.content)

    async def aclose(self) -> None:
        return None


class _Stream:
    status = 200

    def __init__(self, content: bytes) -> None:
        self.headers: dict[str, str] = {}
        self._content = content

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        yield self._content


def client_on_line(line: Line) -> Client:
    """Return a real client with a real caller; only its transport is the line."""

    async def no_wait(_: float) -> None:
        return None

    client = Client(APPID, APPSECRET, retry=RetryPolicy(attempts=2, sleep=no_wait))
    client._caller = Caller(
        appid=APPID,
        secret=lambda: Secret(APPSECRET),
        transport=line,  # type: ignore[arg-type]
        tokens=StubTokens(),
        retry=RetryPolicy(attempts=2, sleep=no_wait),
        mp_origin="https://mp.weixin.qq.com",
    )
    return client


@cache
def usual_answer(call: str) -> Any:
    """Return a good answer; for a file, the smallest verdict that can stand in its place."""
    answer = good_answer(FACTS[call])
    return answer if isinstance(answer, dict) else {"errcode": 0, "errmsg": "ok"}


class Verdict(NamedTuple):
    """What became of a call."""

    result: Any = None
    error: WxmpError | None = None


async def outcome(client: Client, call: str, arguments: dict[str, Any]) -> Verdict:
    """Make a call that may fail with one of our errors, and with nothing else, within its time."""
    async with asyncio.timeout(PATIENCE):
        try:
            return Verdict(result=await make(client, call, arguments))
        except WxmpError as error:
            return Verdict(error=error)


def all_words(error: BaseException) -> str:
    """Everything that a log or an error tracker would show of an error."""
    shown = [str(error), repr(error), *getattr(error, "__notes__", ()), *traceback.format_exception(error)]
    return "\n".join([*shown, repr(getattr(error, "body", ""))])


# ---- answers: one place after the other


def nested(opening: str, closing: str) -> str:
    return opening * 500 + "1" + closing * 500


#: JSON texts: what no documentation has, and much of what the platform has sent all the same.
VALUES = {
    "null": "null",
    "empty text": '""',
    "text": '"x"',
    "not a number": '"NaN"',
    "foreign digits": '"\u0661"',
    "half a pair": '"\\ud800"',
    "digits": f'"{"9" * 5000}"',
    "no date": '"2026-13-45"',
    "late": '"9999-12-31T23:59:59-23:59"',
    "negative": "-5",
    "fraction": "1.5",
    "huge": "1" + "0" * 400,
    "exponent": "1e300",
    "true": "true",
    "empty list": "[]",
    "list of null": "[null]",
    "list of lists": "[[]]",
    "list of objects": "[{}]",
    "empty object": "{}",
    "object of null": '{"a":null}',
    "wrapped": '{"list":[1]}',
    "deep list": nested("[", "]"),
    "deep object": nested('{"a":', "}"),
}
PLACE = "\x01PLACE\x01"


def with_a_gap(answer: Any) -> Iterator[str]:
    """Yield JSON texts of an answer in which one place, each in turn, holds :data:`PLACE`."""

    def gaps(value: Any, put: Callable[[Any], Any]) -> Iterator[Any]:
        yield put(PLACE)
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in entries:

            def put_inside(found: Any, key: Any = key) -> Any:
                copy = value.copy()
                copy[key] = found
                return put(copy)

            yield from gaps(item, put_inside)

    for found in gaps(answer, lambda value: value):
        yield json.dumps(found)


@pytest.mark.parametrize("call", CALLS)
async def test_any_value_in_any_place_of_an_answer(call: str) -> None:
    """Whatever stands in one place of an answer: it is read, or refused as not of the documented shape."""
    line = Line()
    client = client_on_line(line)
    arguments = examples_of(call)[-1]
    for text in with_a_gap(usual_answer(call)):
        for name, value in VALUES.items():
            line.content = text.replace(json.dumps(PLACE), value).encode()
            found = await outcome(client, call, arguments)
            assert not isinstance(found.error, ConfigError | ArgumentError), (text, name)
            words = repr(found.result) if found.error is None else str(found.error) + repr(found.error)
            assert TOKEN not in words, (text, name)
            assert len(str(found.error)) < 1500, (text, name)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("values", [["null"], ["text"], ["negative"], ["huge"], ["list of lists"], ["wrapped"], []])
async def test_every_place_of_an_answer_is_wrong(call: str, values: list[str]) -> None:
    """The same in all places at once; without any field at all; and with lists where objects are, and the reverse."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return [turned(item) for item in value.values()]
        return {str(index): turned(item) for index, item in enumerate(value)} if isinstance(value, list) else value

    answer = usual_answer(call)
    wrong: list[Any] = [{}, {name: turned(value) for name, value in answer.items()}]
    for name in values:
        wrong.append({key: value if key == "errcode" else json.loads(VALUES[name]) for key, value in answer.items()})
    line = Line()
    client = client_on_line(line)
    for content in wrong:
        line.content = json.dumps(content).encode()
        found = await outcome(client, call, examples_of(call)[-1])
        assert not isinstance(found.error, ConfigError | ArgumentError)


#: JSON of all kinds, small: hypothesis makes what nobody thought of.
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(call=st.sampled_from(CALLS), data=st.data())
def test_any_json_in_an_answer(call: str, data: st.DataObject) -> None:
    """Any JSON in any of the documented fields, several at once: a result, or one of our errors."""
    answer = dict(usual_answer(call))
    for name in data.draw(st.lists(st.sampled_from(sorted(answer)), max_size=3, unique=True)):
        answer[name] = data.draw(ANY_JSON)

    async def run() -> None:
        found = await outcome(client_on_line(Line(json.dumps(answer).encode())), call, examples_of(call)[-1])
        assert found.error is None or not isinstance(found.error, ConfigError)

    asyncio.run(run())


# ---- answers: the verdict, and what is no JSON

NUMBERS: dict[str, tuple[object, bool]] = {
    # name: the errcode, and whether the call succeeds
    "text": ("40003", False),
    "float": (40003.0, False),
    "fraction": (1.5, False),
    "true": (True, False),
    "list": ([1], False),
    "object": ({"a": 1}, False),
    "huge": (10**30, False),
    "negative": (-(10**30), False),
    "digits": ("9" * 5000, False),
    "empty": ("", False),
    "unknown": (987654321, False),
    "zero as text": ("0", True),
    "zero as float": (0.0, True),
    "null": (None, True),
}


@pytest.mark.parametrize("number", NUMBERS)
async def test_an_errcode_of_any_type(number: str) -> None:
    """An errcode that is no number is no success of any call; a zero is one, however it is written."""
    errcode, good = NUMBERS[number]
    line = Line()
    client = client_on_line(line)
    for call in CALLS:
        line.content = json.dumps({**usual_answer(call), "errcode": errcode}).encode()
        found = await outcome(client, call, examples_of(call)[-1])
        if call != "oauth.check_token" and not (good and call in FILES):
            assert (found.error is None) is good, call


ECHO = f"it was {TOKEN} of {APPSECRET} at https://api.weixin.qq.com/x?access_token={TOKEN}&a=1"
#: Calls that send something else than the account's token: what can echo is theirs.
OWN_CREDENTIALS = {call for call in CALLS if FACTS[call].auth != "access_token"}


@pytest.mark.parametrize(
    "errmsg", [ECHO, [ECHO], {"a": ECHO}, f"x rid: {TOKEN}-1", "a\0\x1b[31m\r\nb\u2028\u202e\ud800"]
)
async def test_an_errmsg_tells_nothing_secret_and_ends_no_line(errmsg: Any) -> None:
    """Errors show neither the token that the platform repeats nor what would forge a line of a log."""
    line = Line()
    client = client_on_line(line)
    for call in CALLS:
        token = "USER-TOKEN-OF-THE-TESTS" if FACTS[call].auth == "user_access_token" else "TOKEN-1"
        words = json.dumps(errmsg).replace(TOKEN, token)
        line.content = b'{"errcode":40097,"errmsg":%s}' % words.encode()
        found = await outcome(client, call, examples_of(call)[-1])
        assert found.error is not None, call
        if FACTS[call].auth in ("access_token", "user_access_token"):
            assert token not in all_words(found.error), call
        if FACTS[call].auth == "appid_secret" or call in ("oauth.get_token", "quota.clear_with_secret"):
            assert APPSECRET not in all_words(found.error), call
        assert str(found.error).isprintable(), call
        assert str(pickle.loads(pickle.dumps(found.error))) == str(found.error)


async def test_an_errmsg_without_end_is_cut() -> None:
    """A megabyte of words from the platform is no megabyte in every log."""
    line = Line(json.dumps({"errcode": 40097, "errmsg": "x" * 10**6 + " rid: " + "a" * 10**5}).encode())
    found = await outcome(client_on_line(line), "user.get", {"openid": "o1"})
    assert len(str(found.error)) < 1500


#: A code that means "done already" and of which a family makes an error after it has looked.
ECHOED_LATER = {
    "tag.create": ({"errcode": 45157, "tags": []}, 45157),
    "kf.add_account": ({"errcode": 65406, "kf_list": []}, 65406),
    "publish.get_status": ({"errcode": 40002}, 40002),
    "datacube.get_ad_slot_stats": ({"base_resp": {"ret": 2009}}, 2009),
}


@pytest.mark.parametrize("call", ECHOED_LATER)
async def test_an_error_made_by_a_family_tells_nothing_secret(call: str) -> None:
    """Where the verdict is an answer first and an error later, what it repeats is masked all the same."""
    reply, errcode = ECHOED_LATER[call]
    answer: dict[str, Any] = {**usual_answer(call), **reply, "errmsg": "it was TOKEN-1"}
    if "base_resp" in reply:
        answer["base_resp"] = {"ret": errcode, "err_msg": "it was TOKEN-1"}
    line = Line()
    client = client_on_line(line)

    async def send(request: WireRequest) -> WireReply:
        line.requests.append(request)
        if len(line.requests) == 1 and FACTS[call].retry_safe:
            # From now on "it is there already" may be the work of the first attempt.
            raise TransportError("broken off", endpoint=request.label)
        looks = request.method == "GET" and FACTS[call].method == "POST"
        return WireReply(200, {}, json.dumps({**reply, "errcode": 0} if looks else answer).encode())

    line.send = send  # type: ignore[method-assign]
    found = await outcome(client, call, examples_of(call)[-1])
    assert getattr(found.error, "errcode", None) == errcode
    assert found.error is not None
    assert "TOKEN-1" not in all_words(found.error)


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "page": (b"<html><body>502 %b</body></html>" % TOKEN.encode(), {"Content-Type": "text/html"}),
    "nothing": (b"", {}),
    "half": (b'{"errcode":0,"a":"%b' % TOKEN.encode(), {}),
    "two": (b'{"errcode":0}{"errcode":1}', {}),
    "deep": (b'{"a":' * 100_000, {}),
    "no number": (b'{"errcode":NaN}', {}),
    "out of range": (b'{"errcode":1e999}', {}),
    "thousands of digits": (b'{"errcode":0,"a":' + b"1" * 5000 + b"}", {}),
    "damaged": (b"\x1f\x8b\x08\0bad", {"Content-Encoding": "gzip"}),
    "strange": (b"{}", {"Content-Encoding": "br"}),
    "large": (b'{"errcode":0}', {"Content-Length": str(200 * 2**20)}),
    "endless": (b'{"errcode":0}', {"Content-Length": "9" * 5000}),
    "bomb": (gzip.compress(b'{"a":"' + b"x" * 11 * 2**20 + b'"}', 1), {"Content-Encoding": "gzip"}),
}
NO_OBJECTS: dict[str, tuple[bytes, dict[str, str]]] = {
    "list": (b"[]", {}),
    "word": (b'"x"', {}),
    "null": (b"null", {}),
    "picture": (b"\xff\xd8\xff\xe0%b\0" % TOKEN.encode(), {"Content-Type": "image/jpeg"}),
    "picture as JSON": (b"\xff\xd8\xff\xe0%b\0" % TOKEN.encode(), {"Content-Type": "application/json"}),
    "other encoding": ('{"errcode":0}'.encode("utf-16"), {}),
}


@pytest.mark.parametrize("name", [*BODIES, *NO_OBJECTS])
async def test_what_is_no_answer(name: str) -> None:
    """What is no JSON object of a sane size is a ReplyError of every call, which shows no token."""
    content, headers = (BODIES | NO_OBJECTS)[name]

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.url.path.endswith("stable_token"):
            return httpx.Response(200, json={"access_token": TOKEN, "expires_in": 7200})
        return httpx.Response(200, content=content, headers=headers)

    async with Client(
        APPID,
        APPSECRET,
        retry=RetryPolicy(attempts=1),
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)),
    ) as client:
        await client.token()
        for call in CALLS[::40] if name == "bomb" else CALLS:
            if call in FILES and (name in NO_OBJECTS or name == "bomb"):
                continue  # it may be a file, and files may be larger
            found = await outcome(client, call, examples_of(call)[-1])
            assert isinstance(found.error, ReplyError), call
            if FACTS[call].auth == "access_token" and FACTS[call].host == "api.weixin.qq.com":
                assert TOKEN not in all_words(found.error), call


@pytest.mark.parametrize("call", sorted(FILES))
async def test_an_error_in_the_place_of_a_file(call: str, tmp_path: Path) -> None:
    """JSON instead of a file is an error or an answer, never a file; nothing is written."""
    line = Line(b'\xef\xbb\xbf {"errcode":40007,"errmsg":"invalid media_id"}')
    client = client_on_line(line)
    arguments = dict(examples_of(call)[-1])
    arguments["to"] = tmp_path / "file"
    found = await outcome(client, call, arguments)
    assert getattr(found.error, "errcode", None) == 40007
    assert list(tmp_path.iterdir()) == []


# ---- pages that never end

ITERATED: dict[str, tuple[str, dict[str, Any]]] = {
    "user.iter_followers": ("user.list", {}),
    "user.iter_users": ("user.list", {}),
    "tag.iter_members": ("tag.list_members", {"tag_id": 100}),
    "blacklist.iter_members": ("blacklist.list", {}),
    "template.iter_blocked": ("template.list_blocked", {"msg_id": 7}),
    "subscribe.iter_public_titles": ("subscribe.list_public_titles", {"category_ids": [616]}),
    "qrcode.iter_rules": ("qrcode.list_rules", {}),
    "kf.iter_messages": (
        "kf.list_messages",
        {"start_time": datetime(2026, 6, 1, tzinfo=UTC), "end_time": datetime(2026, 6, 3, tzinfo=UTC), "count": 1},
    ),
    "material.iter_items": ("material.list", {"type": "image"}),
    "draft.iter_drafts": ("draft.list", {}),
    "publish.iter_publications": ("publish.list", {}),
    "comment.iter_comments": ("comment.list", {"msg_data_id": 5}),
    "datacube.iter_ad_slot_stats": ("datacube.get_ad_slot_stats", {"begin_date": date(2026, 6, 1)}),
    "datacube.iter_ad_cps_stats": ("datacube.get_ad_cps_stats", {"begin_date": date(2026, 6, 1)}),
    "datacube.iter_ad_settlements": ("datacube.get_ad_settlement", {"begin_date": date(2026, 6, 1)}),
}
TOTALS = ("total", "total_num", "total_count", "count", "number", "item_count", "total_page")
CURSORS = ("next_openid", "msgid", "id")
MANY = 10**9


def lying(answer: Any, lie: Callable[[str, Any], Any]) -> Any:
    """Rewrite each field of an answer."""
    if isinstance(answer, dict):
        return {name: lie(name, lying(value, lie)) for name, value in answer.items()}
    return [lying(value, lie) for value in answer] if isinstance(answer, list) else answer


def _moved(cursor: Any, by: int) -> Any:
    return f"o{by}" if isinstance(cursor, str) else cursor + by


def _numbered(page: int, name: str, value: Any) -> Any:
    """Make no page like another: a platform that repeats itself is found out at once."""
    return f"{value}-{page}" if name in ("title", "media_id", "content", "ad_slot", "zone", "product_name") else value


LIES: dict[str, Callable[[int, str, Any], Any]] = {
    "the same": lambda page, name, value: value,
    "total of nothing": lambda page, name, value: MANY if name in TOTALS else [] if isinstance(value, list) else value,
    "total": lambda page, name, value: MANY if name in TOTALS else _numbered(page, name, value),
    "zero": lambda page, name, value: 0 if name in TOTALS else value,
    "negative": lambda page, name, value: -5 if name in TOTALS else value,
    "forward": lambda page, name, value: _moved(value, page) if name in CURSORS else MANY if name in TOTALS else value,
    "back": lambda page, name, value: _moved(value, -page) if name in CURSORS else MANY if name in TOTALS else value,
    "to and fro": lambda page, name, value: (
        _moved(value, page % 2) if name in CURSORS else MANY if name in TOTALS else value
    ),
    "forward over nothing": lambda page, name, value: (
        _moved(value, page) if name in CURSORS else MANY if name in TOTALS else [] if isinstance(value, list) else value
    ),
}


def test_every_iterator_is_attacked() -> None:
    """No iterator is left out."""
    assert set(ITERATED) == set(ITERATORS)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("iterator", ITERATED)
async def test_every_list_ends(iterator: str, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the platform says about totals and cursors, an iterator ends: by itself, or with a typed error."""
    monkeypatch.setattr(wxmp.api._pages, "MOST_PAGES", 50)
    call, arguments = ITERATED[iterator]
    answer = good_answer(FACTS[call])
    line = Line()
    client = client_on_line(line)

    async def send(request: WireRequest) -> WireReply:
        line.requests.append(request)
        assert len(line.requests) <= 200, "it never ends"
        page = lying(answer, lambda name, value: LIES[lie](len(line.requests), name, value))
        return WireReply(200, {}, json.dumps(page).encode())

    line.send = send  # type: ignore[method-assign]
    family, _, name = iterator.partition(".")
    with suppress(ReplyError):
        async with aclosing(getattr(getattr(client, family), name)(**arguments)) as entries:
            async for _ in entries:
                pass


# ---- arguments


class Stranger:
    """An object that nobody expects."""


class Broken(Exception):
    """Raised by the caller's own iterable."""


def breaking() -> Iterator[str]:
    yield "o1"
    raise Broken


ARGUMENTS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "empty": str,
    "blank": lambda: " ",
    "text": lambda: "text",
    "line": lambda: "a\r\nb",
    "zero byte": lambda: "\0",
    "half a pair": lambda: "\ud800",
    "long": lambda: "x" * 70_000,
    "0": int,
    "-1": lambda: -1,
    "10**30": lambda: 10**30,
    "10**5000": lambda: 10**5000,
    "True": lambda: True,
    "1.5": lambda: 1.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "bytes": lambda: b"x",
    "list": list,
    "list of 1": lambda: [1],
    "list of None": lambda: [None],
    "list of lists": lambda: [[]],
    "dict": dict,
    "dict of 1": lambda: {"a": 1},
    "set": lambda: {1},
    "object": Stranger,
    "class": lambda: Stranger,
    "generator": breaking,
    "endless": lambda: itertools.cycle(["o1", "o2"]),
}


def faults_of(fact: Fact, wire: Wire) -> list[str]:
    """What is wrong with the requests that were sent, as far as types go; a line break in a text is none."""
    return [
        fault
        for sent in wire.sent
        for fault in check_place(fact, sent)[1]
        if not (fault.endswith(('\\r\\nb"', 'not ""')) or "x" * 100 in fault or "access_token is" in fault)
    ]


async def attack(client: Client, wire: Wire, call: str, arguments: dict[str, Any]) -> str:
    """Make a call with a strange argument; what is wrong with its behaviour, if anything."""
    wire.sent.clear()
    try:
        async with asyncio.timeout(PATIENCE):
            await make(client, call, arguments)
    except (ArgumentError, ConfigError) as error:
        if wire.sent:
            return "it was refused after something was sent"
        return "" if len(str(error)) < 2000 else "the error repeats the argument at length"
    except Broken:
        return "the caller's error came after something was sent" if wire.sent else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if call in SYNCHRONOUS:
        return ""
    return "; ".join(faults_of(FACTS[call], wire)) or ("" if wire.sent else "nothing was sent")


@pytest.mark.parametrize("call", PUBLIC)
async def test_any_argument(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is given for an argument: what is documented is sent, or it is refused before anything is sent."""
    monkeypatch.chdir(tmp_path)
    wire = Wire(good_answer(FACTS[call]))
    examples = examples_of(call)
    found = {}
    async with client_on(wire) as client:
        for parameter in list(inspect.signature(method_of(call)).parameters)[1:]:
            usual = next((example for example in reversed(examples) if parameter in example), examples[0])
            for name, value in ARGUMENTS.items():
                problem = await attack(client, wire, call, {**usual, parameter: value()})
                # A class can be called, and what the caller's own function raises is the caller's.
                if problem and (parameter, name) != ("progress", "class"):
                    found[parameter, name] = problem
    assert found == {}


def mutations(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Yield copies of an argument in which one attribute or entry, at any depth, is something else."""
    if attrs.has(type(value)):
        places = [field.name for field in attrs.fields(type(value))]
        put = lambda name, new: attrs.evolve(value, **{name: new})  # noqa: E731
        get = lambda name: getattr(value, name)  # noqa: E731
    elif isinstance(value, dict):
        places, put, get = list(value), lambda name, new: {**value, name: new}, value.__getitem__
    elif isinstance(value, list | tuple):
        places = list(range(len(value)))
        put = lambda index, new: [*value[:index], new, *value[index + 1 :]]  # noqa: E731
        get = value.__getitem__
    else:
        return
    for place in places:
        where = f"{path}.{place}"
        for name, make_value in ARGUMENTS.items():
            if name == "endless":
                continue  # a record that is made of it is never finished, and that is before any call
            try:
                changed = put(place, make_value())
            except (TypeError, ValueError, Broken):
                continue  # the record itself refuses it
            yield where, name, changed
        for inner, name, changed in mutations(get(place), where):
            try:
                yield inner, name, put(place, changed)
            except (TypeError, ValueError):
                continue


#: Where the caller writes wire form, what has a place in the console only, and what one endpoint is documented to take
#: and its neighbour is not: it is sent as it is given.
WIRE_FORM: dict[str, tuple[str, ...]] = {
    "": (".extra",),
    "menu.create": (".extra", ".value"),
    "menu.add_conditional": (".extra", ".value"),
    "mass.send_all": (".extra", ".card_ext"),
    "mass.send": (".extra", ".card_ext"),
    "mass.preview": (".extra", ".card_ext", ".title", ".description"),
    "material.add_news": (".extra", ".product_key"),
    "material.update_news": (".extra", ".product_key"),
}


@pytest.mark.parametrize("call", PUBLIC)
async def test_any_attribute_of_an_argument(call: str) -> None:
    """The same for what is inside of an argument: a record with a wrong attribute is refused before it is sent."""
    wire = Wire(good_answer(FACTS[call]))
    found = {}
    async with client_on(wire) as client:
        for example in examples_of(call):
            for parameter, argument in example.items():
                for path, name, changed in mutations(argument, parameter):
                    problem = await attack(client, wire, call, {**example, parameter: changed})
                    own_form = any(place in path for place in WIRE_FORM.get(call, WIRE_FORM[""]))
                    if problem and not (own_form and ("is not documented" in problem or "should be" in problem)):
                        found[path, name] = problem
    assert found == {}


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan, math.inf, 10**30, "3", True])
async def test_a_timeout_that_is_none(timeout: Any) -> None:
    """A time that would never end, or that is none, is refused before anything is sent."""
    line = Line()
    with pytest.raises(ConfigError, match="timeout"):
        await client_on_line(line).media.get("M1", timeout=timeout)
    assert line.requests == []


# ---- cancelled anywhere, two hundred at once


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_anywhere(call: str) -> None:
    """Cancelled at any of its suspensions, a call ends, and the next one on the same client works."""
    wire = Wire(good_answer(FACTS[call]))
    arguments = examples_of(call)[-1]
    async with client_on(wire) as client:
        usual = flat(await make(client, call, arguments))
        for turns in range(100):
            task = asyncio.ensure_future(make(client, call, arguments))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = task.done()
            task.cancel()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
            async with asyncio.timeout(PATIENCE):
                assert _without_keys(flat(await make(client, call, arguments))) == _without_keys(usual)
            if done:
                break
        assert done
        assert client._transport._running == {}


def _without_keys(result: Any) -> Any:
    """A result without the key that each send has for its own."""
    return {**result, "client_msg_id": ""} if isinstance(result, dict) and "client_msg_id" in result else result


async def test_two_hundred_calls_at_once() -> None:
    """Calls of all families at once on one client: each gets its own answer, and the token is fetched once."""
    chosen = random.Random(6).choices([call for call in CALLS if not FACTS[call].fixed], k=200)
    fetched = []

    def key(method: str, host: str, path: str) -> tuple[str, str, str]:
        return method, host, path

    answers = {key(fact.method, fact.host, fact.path): good_answer(fact) for fact in map(FACTS.__getitem__, CALLS)}

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        for _ in range(len(request.url.path) % 7):
            await asyncio.sleep(0)
        if request.url.path.endswith("stable_token"):
            fetched.append(request)
            return httpx.Response(200, json={"access_token": TOKEN, "expires_in": 7200})
        found = answers[key(request.method, request.url.host, request.url.path)]
        if isinstance(found, bytes):
            return httpx.Response(200, content=found, headers={"Content-Type": "image/jpeg"})
        return httpx.Response(200, json=found)

    http_client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with Client(APPID, APPSECRET, http_client=http_client) as client, asyncio.timeout(30):
        results = await asyncio.gather(*(make(client, call, examples_of(call)[-1]) for call in chosen))
    assert len(fetched) == 1
    for call, result in zip(chosen, results, strict=True):
        async with client_on(Wire(good_answer(FACTS[call]))) as alone:
            expected = flat(await make(alone, call, examples_of(call)[-1]))
        assert _without_keys(flat(result)) == _without_keys(expected), call


# ---- what is shown and kept


@pytest.mark.parametrize("call", CALLS)
async def test_results_are_pickled_and_show_no_secret(call: str) -> None:
    """A result survives a pickle and prints without a token; only what holds a user's tokens refuses the pickle."""
    async with client_on(Wire(good_answer(FACTS[call]))) as client:
        result = await make(client, call, examples_of(call)[-1])
    shown = repr(result)
    if call in ("oauth.get_token", "oauth.refresh_token"):
        answer = usual_answer(call)
        assert answer["access_token"] not in shown
        assert answer["refresh_token"] not in shown
        with pytest.raises(TypeError, match="Secret"):
            pickle.dumps(result)
        return
    if call in FILES and not isinstance(result, bytes):
        assert "no picture" not in shown
    assert TOKEN not in shown
    assert pickle.loads(pickle.dumps(result)) == result
    for record in records(result):
        assert not hasattr(record, "__dict__"), type(record)


async def test_a_password_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a call sends, a password of an agent for example, stands in no log and in no error."""
    caplog.set_level(logging.DEBUG)
    line = Line(b'{"errcode":65404,"errmsg":"refused"}')
    arguments = {"kf_account": "anna@shop", "nickname": "Anna", "password": "PASSWORD-OF-THE-TESTS"}
    found = await outcome(client_on_line(line), "kf.add_account", arguments)
    assert found.error is not None
    assert "PASSWORD-OF-THE-TESTS" not in all_words(found.error) + caplog.text
