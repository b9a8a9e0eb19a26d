"""Every current endpoint of the platform: it is there, it sends what is documented, and it reads all that is answered.

The facts stand in ``endpoints.toml``, the arguments in ``examples.py``. Each call is made through a real client whose
HTTP client records what it is given.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from datetime import date, datetime
from email.parser import BytesParser
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import httpx
import pytest

import wxmp.api
from tests.api.examples import examples_of
from tests.api.facts import FACTS, FREE, INTERNAL, NEW, PUBLIC, Fact, answer_of, check_wire
from wxmp import Client, ReplyError, RetryPolicy, TransportError
from wxmp._caller import Endpoint
from wxmp._redact import Secret

API = "api.weixin.qq.com"
APPID = "wx0123456789abcdef"
APPSECRET = "appsecret-of-the-tests"
TOKEN = "TOKEN-OF-THE-TESTS"
USER_TOKEN = "USER-TOKEN-OF-THE-TESTS"
PICTURE = b"\xff\xd8\xff\xe0 no picture"

# ---- what deviates, and why

#: No coroutine: a URL is made, and a browser goes there.
SYNCHRONOUS = {"oauth.authorize_url"}

#: The constant of an endpoint, where it is not the coroutine's name in capitals.
CONSTANTS = {"oauth.authorize_url": "AUTHORIZE"}

#: Addresses that are made for a browser and are no endpoints of the list.
PAGES = {"subscribe.consent_url"}

#: These may be repeated although the endpoint as such may not: each send carries a key by which the platform tells a
#: repeat.
KEYED = {"template.send", "mass.send", "mass.send_all"}

#: Documented fields of a request that cannot be sent, and why.
NOT_SENT: dict[str, dict[str, str]] = {}

JUDGED = {"base_resp.ret": "it is judged like an errcode", "base_resp.err_msg": "it is part of the error"}

#: Documented fields of an answer that are not handed on, and why.
NOT_READ: dict[str, dict[str, str]] = {
    "media.upload": {"thumb_media_id": "it stands for the media_id of a thumb, where that one is missing"},
    "datacube.get_ad_slot_stats": JUDGED,
    "datacube.get_ad_cps_stats": JUDGED,
    "datacube.get_ad_settlement": JUDGED,
}

#: Fields that cannot hold just any value of their type: two that they can hold.
VALUES: dict[str, dict[str, tuple[Any, Any]]] = {
    "menu.get": {"conditionalmenu[].matchrule.tag_id": ("5", "6")},
    "template.list_blocked": {"msginfo.id": ("5", "6")},
    "subscribe.list_public_titles": {"data[].categoryId": ("5", "6")},
    "mass.get_status": {"msg_id": ("5", "6")},
    "publish.submit": {"msg_data_id": ("5", "6")},
    "datacube.get_ad_slot_stats": {"base_resp.ret": (0, 0)},
    "datacube.get_ad_cps_stats": {"base_resp.ret": (0, 0)},
    "datacube.get_ad_settlement": {"base_resp.ret": (0, 0)},
}

#: Answers of which exactly one part is there at a time.
ALTERNATIVES = {
    "media.upload": ("media_id", "thumb_media_id"),
    "material.get": ("news_item", "down_url"),
}

#: Records that keep no unknown fields, and why.
WITHOUT_EXTRA = {
    "OpenidData": "it is the wrapper around one list; the page that holds it keeps what is new",
    "MemberChange": "it is made here, of the answers to several batches",
}

#: What an answer holds beside its documented fields.
BESIDE: dict[str, dict[str, Any]] = {
    "tag.add_members": {"errcode": 45171, "errmsg": "some failed"},
    "tag.remove_members": {"errcode": 45171, "errmsg": "some failed"},
}

#: Codes that mean "done already" when a repeat is answered with them: (call, codes).
DONE: dict[str, set[int]] = {
    "menu.delete": {46003},
    "menu.delete_conditional": {65301},
    "tag.create": {45157},
    "tag.delete": {45159},
    "group.delete": {40050},
    "template.delete": {40037},
    "custom.set_typing": {45081},
    "qrcode.save_rule": {85071},
    "subscribe.delete_template": {200014},
    "kf.add_account": {65406},
    "kf.delete_account": {65401},
    "kf.invite_worker": {65408, 65411},
    "kf.close_session": {65413},
    "mass.send_all": {45065, 45066},
    "mass.send": {45065, 45066},
    "mass.delete": {40065},
    "material.delete": {40007},
    "draft.delete": {40007},
    "comment.delete": {88008},
    "comment.reply": {88005},
    "comment.delete_reply": {87009, 88009},
}

#: Codes that are an answer.
ACCEPTED: dict[str, set[int]] = {
    "menu.get": {46003},
    "tag.add_members": {45171},
    "tag.remove_members": {45171},
    "oauth.check_token": {40001, 40003, 42001},
    "mass.send_all": {89504, 89505},
    "mass.send": {89504, 89505},
    "publish.get_status": {40002},
}

#: Endpoints where 40001 is about the AppSecret or the user's token, never about the account's token.
ISSUES_TOKENS = {"quota.clear_with_secret", "oauth.get_token", "oauth.refresh_token"}

#: Async iterators beside the endpoints that page.
ITERATORS = (
    "user.iter_followers",
    "user.iter_users",
    "tag.iter_members",
    "blacklist.iter_members",
    "template.iter_blocked",
    "subscribe.iter_public_titles",
    "qrcode.iter_rules",
    "kf.iter_messages",
    "material.iter_items",
    "draft.iter_drafts",
    "publish.iter_publications",
    "comment.iter_comments",
    "datacube.iter_ad_slot_stats",
    "datacube.iter_ad_cps_stats",
    "datacube.iter_ad_settlements",
)

# ---- a client whose wire is recorded


@attrs.frozen
class Sent:
    """One request as the platform gets it."""

    method: str
    host: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    form: dict[str, Any]


class Wire:
    """Records requests and answers them; the token is fetched beside the record."""

    def __init__(self, answer: dict[str, Any] | bytes | None = None) -> None:
        self.sent: list[Sent] = []
        self.answer: dict[str, Any] | bytes = {"errcode": 0, "errmsg": "ok"} if answer is None else answer
        #: So many requests break off before they are answered.
        self.broken = 0
        self.record_tokens = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if request.url.path.endswith("token") and request.url.path.startswith("/cgi-bin/") and not self.record_tokens:
            return httpx.Response(200, json={"access_token": TOKEN, "expires_in": 7200})
        self.sent.append(read_request(request, body))
        if self.broken:
            self.broken -= 1
            raise httpx.ReadTimeout("broken off", request=request)
        if isinstance(self.answer, bytes):
            return httpx.Response(200, content=self.answer, headers={"Content-Type": "image/jpeg"})
        return httpx.Response(200, json=self.answer)


def read_request(request: httpx.Request, body: bytes) -> Sent:
    """Take a request apart."""
    query = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True, strict_parsing=bool(request.url.query)))
    kind = request.headers.get("content-type", "")
    form: dict[str, Any] = {}
    if kind.startswith("multipart/"):
        message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        for part in message.walk():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                form[name] = content if part.get_filename() is not None else content.decode()
        body = b""
    payload = json.loads(body) if body else {}
    return Sent(request.method, request.url.host, request.url.path, query, payload, form)


def client_on(wire: Wire, *, channel: Any = "stable") -> Client:
    """Return a client in front of the recording wire; its retry policy does not wait."""

    async def no_wait(_: float) -> None:
        return None

    return Client(
        APPID,
        APPSECRET,
        token_channel=channel,
        retry=RetryPolicy(sleep=no_wait, total_time=300.0),
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(wire)),
    )


async def make(client: Client, call: str, arguments: dict[str, Any]) -> Any:
    """Make a call; what it answers."""
    family, _, name = call.partition(".")
    result = getattr(getattr(client, family), name)(**arguments)
    return await result if inspect.isawaitable(result) else result


async def recorded(call: str, arguments: dict[str, Any], wire: Wire | None = None) -> list[Sent]:
    """Make a call and return the requests it sent."""
    wire = wire or Wire(good_answer(FACTS[call]))
    async with client_on(wire, channel="plain" if "plain" in call else "stable") as client:
        if call.startswith("client.token"):
            wire.record_tokens = True
            await (client.refresh_token() if arguments else client.token())
        else:
            result = await make(client, call, arguments)
            if call in SYNCHRONOUS:
                parts = urlsplit(result)
                query = dict(parse_qsl(parts.query))
                return [Sent("GET", parts.netloc, parts.path, query, {}, {})]
    return wire.sent


def good_answer(fact: Fact, **how: Any) -> dict[str, Any] | bytes:
    """Make an answer with all that is documented."""
    if fact.answer == "binary" or (fact.answer == "binary_or_json" and not fact.answers.children):
        return PICTURE
    answer = answer_of(fact, VALUES.get(fact.call, {}), **how)
    verdict = BESIDE.get(fact.call, {"errcode": 0, "errmsg": "ok"})
    return {**verdict, **answer}


def endpoints_of(family: str) -> dict[str, Endpoint]:
    """Every endpoint constant of a family, under the name of its coroutine."""
    named = {constant: call.partition(".")[2] for call, constant in CONSTANTS.items() if call.startswith(f"{family}.")}
    found = {}
    for name, value in vars(importlib.import_module(f"wxmp.api.{family}")).items():
        if isinstance(value, Endpoint):
            found[f"{family}.{named.get(name, name.lower())}"] = value
    return found


def method_of(call: str) -> Any:
    """Return what a call is a name of; a call that is missing fails the test by its name."""
    family, _, name = call.partition(".")
    client = client_on(Wire())
    assert hasattr(Client, family), f"client.{family} is missing"
    method = getattr(type(getattr(client, family)), name, None)
    assert method is not None, f"client.{call} is missing"
    return method


# ---- the calls are there


def test_the_facts_are_complete() -> None:
    """The list has every current endpoint: 161 that are called, three behind the token and the tickets."""
    assert (len(PUBLIC), len(INTERNAL)) == (161, 3)
    lines = [(fact.line, *fact.fixed.items()) for fact in FACTS.values()]
    assert len(set(lines)) == len(lines)


def test_no_endpoint_is_missing_from_the_facts() -> None:
    """No family has an endpoint that the list does not know."""
    families = [module.name for module in pkgutil.iter_modules(wxmp.api.__path__)]
    found = {call: endpoint for family in families for call, endpoint in endpoints_of(family).items()}
    assert set(found) - set(PUBLIC) == PAGES


@pytest.mark.parametrize("call", [*PUBLIC, *ITERATORS])
def test_the_call_exists(call: str) -> None:
    """Each endpoint has its coroutine under its name, and paging endpoints their iterator."""
    method = method_of(call)
    if call in ITERATORS:
        assert "AsyncGenerator" in str(inspect.signature(method).return_annotation)
    else:
        assert inspect.iscoroutinefunction(method) is (call not in SYNCHRONOUS)


@pytest.mark.parametrize("call", PUBLIC)
def test_the_constant_agrees_with_the_facts(call: str) -> None:
    """Method, path, host, credential, special codes and whether a repeat does harm are what is documented."""
    fact = FACTS[call]
    endpoint = endpoints_of(fact.family)[call]
    assert (endpoint.method, endpoint.path) == (fact.method, fact.path)
    assert endpoint.repeatable is fact.retry_safe
    assert endpoint.auth == ("token" if fact.auth == "access_token" else "none")
    assert endpoint.host == ("mp" if fact.host == "mp.weixin.qq.com" else "api")
    assert endpoint.issues_tokens is (call in ISSUES_TOKENS)
    assert set(endpoint.done_codes) == DONE.get(call, set())
    assert set(endpoint.accepted_codes) == ACCEPTED.get(call, set())


@pytest.mark.parametrize("call", PUBLIC)
def test_the_docstring_names_source_and_title(call: str) -> None:
    """Each coroutine says which endpoint it is, and carries the official Chinese title, so that a search finds it."""
    text = inspect.getdoc(method_of(call)) or ""
    source = text.partition("Source:")[2]
    fact = FACTS[call]
    query = "".join(f"?{name}={value}" for name, value in fact.fixed.items())
    host = "" if fact.host == API else f"https://{fact.host}"
    assert f"{fact.method} {host}{fact.path}{query} - " in source
    assert re.search(r"[\u4e00-\u9fff]", text.partition("\n")[0])
    assert re.search(r"[\u4e00-\u9fff]", source)


@pytest.mark.parametrize("call", PUBLIC)
def test_only_the_obvious_argument_is_positional(call: str) -> None:
    """Everything after the first two arguments is named, and nothing positional is a switch."""
    parameters = list(inspect.signature(method_of(call)).parameters.values())[1:]
    positional = [entry for entry in parameters if entry.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert len(positional) <= 2
    assert not [entry.name for entry in positional if "bool" in str(entry.annotation)]


# ---- requests


def check_place(fact: Fact, sent: Sent) -> tuple[set[str], list[str]]:
    """Compare a request with the facts, its credentials included; they are not part of what is returned."""
    query = dict(sent.query)
    token = query.pop("access_token", None)
    expected = {"access_token": TOKEN, "user_access_token": USER_TOKEN}.get(fact.auth)
    faults = [] if token == expected else [f"access_token is {token!r}, not {expected!r}"]
    for name, value in fact.fixed.items():
        if query.pop(name, None) != value:
            faults.append(f"{name} is not {value!r}")
    if fact.auth != "appid_secret" and APPSECRET in repr(sent):
        faults.append("the AppSecret goes along")
    seen: set[str] = set()
    for tree, fields in ((fact.query, query), (fact.body, sent.body), (fact.form, sent.form)):
        names, wrong = check_wire(tree, fields, as_text=fields is query)
        seen |= names
        faults += wrong
    return seen, faults


@pytest.mark.parametrize("call", FACTS)
async def test_the_smallest_call_sends_what_is_required(call: str) -> None:
    """One request: method, host and path, the credential at its place, all that is required and nothing unknown."""
    fact = FACTS[call]
    (sent,) = await recorded(call, examples_of(call)[0])
    assert (sent.method, sent.host, sent.path) == (fact.method, fact.host, fact.path)
    _, faults = check_place(fact, sent)
    assert faults == []


@pytest.mark.parametrize("call", FACTS)
async def test_all_that_is_documented_can_be_sent(call: str) -> None:
    """The examples together send every documented field, each with its type at its place, and nothing else."""
    fact = FACTS[call]
    seen: set[str] = set()
    for arguments in examples_of(call):
        for sent in await recorded(call, arguments):
            names, faults = check_place(fact, sent)
            assert faults == []
            seen |= names
    everything = fact.query.names() | fact.body.names() | fact.form.names()
    assert everything - seen == set(NOT_SENT.get(call, {}))


@pytest.mark.parametrize("call", [call for call in PUBLIC if call not in SYNCHRONOUS])
async def test_only_what_may_be_repeated_is_repeated(call: str) -> None:
    """After a request whose outcome is unknown, a second one follows if and only if two do no harm."""
    wire = Wire(good_answer(FACTS[call]))
    wire.broken = 1
    repeats = FACTS[call].retry_safe or call in KEYED
    if repeats:
        await recorded(call, examples_of(call)[0], wire)
    else:
        with pytest.raises(TransportError) as caught:
            await recorded(call, examples_of(call)[0], wire)
        assert caught.value.maybe_acted
    assert len(wire.sent) == (2 if repeats else 1)
    assert len({repr(sent) for sent in wire.sent}) == 1


# ---- answers


def fields_of(record: Any) -> list[Any]:
    """Return the attributes of a record."""
    return list(attrs.fields(type(record)))


def flat(value: Any) -> Any:
    """Return a result as plain values that can be compared, whatever hides or converts them."""
    if attrs.has(type(value)):
        return {"": type(value).__name__, **{name.name: flat(getattr(value, name.name)) for name in fields_of(value)}}
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [flat(item) for item in value]
    if isinstance(value, type):
        return value.__name__
    assert value is None or isinstance(value, str | bytes | int | float | date | datetime), type(value)
    return repr(value)


def records(value: Any) -> list[Any]:
    """Return all records in a result."""
    if attrs.has(type(value)):
        inner = [record for field in fields_of(value) for record in records(getattr(value, field.name))]
        return [value, *inner]
    if isinstance(value, list | tuple):
        return [record for item in value for record in records(item)]
    return []


def extras(result: Any) -> list[dict[str, Any]]:
    """Return what the records of a result keep without knowing it."""
    return [record.extra for record in records(result) if hasattr(record, "extra")]


def mappings(value: Any) -> list[dict[str, Any]]:
    """Return the dicts in a result, ``extra`` left out."""
    if attrs.has(type(value)):
        names = [field.name for field in fields_of(value) if field.name != "extra"]
        return [plain for name in names for plain in mappings(getattr(value, name))]
    if isinstance(value, list | tuple):
        return [plain for item in value for plain in mappings(item)]
    return [value] if isinstance(value, dict) else []


ANSWERING = [
    call
    for call in PUBLIC
    if FACTS[call].answers.children and FACTS[call].answer != "binary" and call not in SYNCHRONOUS
]
BINARY = [call for call in PUBLIC if FACTS[call].answer.startswith("binary")]


async def answered(call: str, answer: Any) -> Any:
    """Make the largest call, which leaves nothing to chance, and return its result."""
    wire = Wire(answer)
    async with client_on(wire) as client:
        return await make(client, call, examples_of(call)[-1])


@pytest.mark.parametrize("call", ANSWERING)
async def test_every_documented_field_has_a_typed_place(call: str) -> None:
    """An answer with every documented field is read, and none of them is left to ``extra``."""
    result = await answered(call, good_answer(FACTS[call]))
    assert [set(extra) - {FREE} for extra in extras(result) if set(extra) - {FREE}] == []
    # Nor to an attribute that takes any JSON.
    assert [set(plain) - {FREE} for plain in mappings(result) if set(plain) - {FREE}] == []


@pytest.mark.parametrize("call", ANSWERING)
async def test_every_documented_field_reaches_the_caller(call: str) -> None:
    """An answer that differs in one documented field gives a result that differs."""
    fact = FACTS[call]
    plain = flat(await answered(call, good_answer(fact)))
    unseen = {
        leaf.name
        for leaf in fact.answers.leaves()
        if flat(await answered(call, good_answer(fact, change=leaf.name))) == plain
    }
    assert unseen == set(NOT_READ.get(call, {}))


@pytest.mark.parametrize("call", ANSWERING)
async def test_numbers_may_come_as_text(call: str) -> None:
    """The platform writes numbers as text at times; the result is the same."""
    fact = FACTS[call]
    plain = flat(await answered(call, good_answer(fact)))
    assert flat(await answered(call, good_answer(fact, numbers_as_text=True))) == plain


@pytest.mark.parametrize("call", ANSWERING)
async def test_unknown_fields_are_kept(call: str) -> None:
    """A field that the platform adds tomorrow, in any object, is kept by the record that is made of it."""
    fact = FACTS[call]
    result = await answered(call, good_answer(fact, new=True))
    bare = {type(record).__name__ for record in records(result) if not hasattr(record, "extra")}
    assert bare <= set(WITHOUT_EXTRA)
    assert [extra for extra in extras(result) if extra.get(NEW) != "new"] == []


@pytest.mark.parametrize("call", ANSWERING)
async def test_a_field_may_be_missing(call: str) -> None:
    """Without any one of its fields an answer is still read, or refused as what it is: not of the documented shape."""
    fact = FACTS[call]
    for node in fact.answers.all():
        answer = good_answer(fact, without=frozenset({node.name}))
        if not node.needed:
            await answered(call, answer)
            continue
        try:
            await answered(call, answer)
        except ReplyError:
            continue


@pytest.mark.parametrize("call", ANSWERING)
async def test_everything_that_may_be_missing_is_missing(call: str) -> None:
    """An answer with nothing but what is always there is read; of alternatives each one alone, and it is seen."""
    fact = FACTS[call]
    optional = {node.name for node in fact.answers.all() if not node.needed}
    for part in ALTERNATIVES.get(call, ("",)):
        without = frozenset(name for name in optional if not name.startswith(part or "."))
        result = flat(await answered(call, good_answer(fact, without=without)))
        leaves = [leaf.name for leaf in fact.answers.leaves() if part and leaf.name.startswith(part)]
        for leaf in leaves:
            assert flat(await answered(call, good_answer(fact, without=without, change=leaf))) != result


@pytest.mark.parametrize("call", BINARY)
async def test_bytes_are_handed_on(call: str) -> None:
    """What is answered as a file reaches the caller byte by byte."""
    result = await answered(call, PICTURE)
    assert (result if isinstance(result, bytes) else result.content) == PICTURE
