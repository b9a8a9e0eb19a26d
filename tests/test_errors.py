"""The exception tree: which code becomes what, and what survives copying."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp import errors
from wxmp.errcodes import CODES, DEAD_TOKEN_CODES, lookup
from wxmp.errors import (
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    BroadcastError,
    BusyError,
    ConfigError,
    DeadTokenError,
    DecryptError,
    JournalError,
    MalformedError,
    NotAuthorizedError,
    NotFoundError,
    PayAPIError,
    PayDecryptError,
    PayError,
    PayMismatchError,
    PayProbeError,
    PaySignatureError,
    RateLimitError,
    RecipientError,
    ReplyError,
    SignatureError,
    TimedOutError,
    TokenStoreError,
    TokenStoreUnavailable,
    TransportError,
    WebhookError,
    WebhookStoreError,
    WxmpError,
    api_error,
    split_rid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

API: dict[str, Any] = {"errmsg": "text", "endpoint": "POST /cgi-bin/x", "rid": "5f9d2a1b-0a1b2c3d-4e5f6a7b"}

#: One error of each class with every field set to something that is not its default.
FULL: list[tuple[type[WxmpError], dict[str, Any]]] = [
    (WxmpError, {"message": "m"}),
    (ConfigError, {"message": "m", "field": "appid"}),
    (TransportError, {"message": "m", "endpoint": "GET /x", "maybe_acted": False}),
    (TimedOutError, {"message": "m", "endpoint": "GET /x", "maybe_acted": False, "stage": "connecting"}),
    (BadStatusError, {"message": "m", "endpoint": "GET /x", "maybe_acted": False, "status": 502}),
    (ReplyError, {"message": "m", "endpoint": "GET /x", "body": "<html>", "maybe_acted": False}),
    (APIError, {"errcode": 1, **API, "advice": "Do it."}),
    (DeadTokenError, {"errcode": 40001, **API, "advice": "Do it."}),
    (AccountError, {"errcode": 40164, **API, "advice": "Do it."}),
    (NotAuthorizedError, {"errcode": 48001, **API, "advice": "Do it."}),
    (RateLimitError, {"errcode": 45009, **API, "advice": "Do it.", "scope": "month"}),
    (RecipientError, {"errcode": 43004, **API, "advice": "Do it."}),
    (NotFoundError, {"errcode": 46003, **API, "advice": "Do it."}),
    (ArgumentError, {"errcode": 47001, **API, "advice": "Do it.", "field": "button[0].name"}),
    (BusyError, {"errcode": -1, **API, "advice": "Do it."}),
    (TokenStoreError, {"message": "m", "store": "redis"}),
    (TokenStoreUnavailable, {"message": "m", "store": "redis"}),
    (JournalError, {"message": "m", "journal": "sqlite"}),
    (BroadcastError, {"message": "m", "part": "recipients"}),
    (WebhookError, {"message": "m", "code": -40001, "status": 403}),
    (SignatureError, {"message": "m", "code": -40001, "status": 403}),
    (DecryptError, {"message": "m", "code": -40007, "status": 403}),
    (MalformedError, {"message": "m", "code": -40002, "status": 413}),
    (WebhookStoreError, {"message": "m", "store": "redis"}),
    (PayError, {"message": "m"}),
    (
        PayAPIError,
        {
            "code": "ORDER_PAID",
            "message": "m",
            "status": 400,
            "detail": {"field": "/amount/total", "issue": "x"},
            "request_id": "08F7-0",
            "endpoint": "POST /x",
            "verdict": "later",
            "advice": "Do it.",
            "retry_after": 7.0,
        },
    ),
    (PaySignatureError, {"message": "m", "reason": "stale", "endpoint": "POST /x", "maybe_acted": True}),
    (PayProbeError, {"message": "m", "reason": "probe", "endpoint": "POST /x", "maybe_acted": True}),
    (PayDecryptError, {"message": "m", "reason": "malformed"}),
    (PayMismatchError, {"message": "m", "field": "total_fen"}),
]

#: The fewest arguments each class takes.
BARE: list[tuple[type[WxmpError], dict[str, Any]]] = [
    (cls, {name: values[name] for name in ("message", "errcode", "status") if name in values}) for cls, values in FULL
]

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "pickle-2": lambda error: pickle.loads(pickle.dumps(error, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "fresh": lambda error: error.fresh(),
}


def all_classes(root: type[WxmpError] = WxmpError) -> list[type[WxmpError]]:
    """Return the real tree, in the order of definition."""
    found = [root]
    for cls in root.__subclasses__():
        if cls.__module__ == "wxmp.errors":
            found += all_classes(cls)
    return found


# ---- the tree


def documented_tree() -> dict[str, str]:
    """Read the tree in the module's docstring: class -> base."""
    bases: dict[str, str] = {}
    path: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"    ((?:│  |   )*)(?:[├└]─ )?([A-Z]\w+)", line)
        if found is None:
            continue
        branch = re.search(r"[├└]─", line)
        depth = (branch.start() - 4) // 3 + 1 if branch else 0
        path = [*path[:depth], found.group(2)]
        bases[found.group(2)] = path[depth - 1] if depth else ""
    return bases


def test_tree_in_the_docstring_is_the_real_one() -> None:
    """The picture at the top of the module shows each class under its base."""
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in all_classes()}
    assert documented_tree() == {**real, "WxmpError": ""}


def test_value_errors_are_marked_in_the_docstring() -> None:
    """The picture marks exactly the classes that are ValueErrors too."""
    marked = set(re.findall(r"(\w+) \(ValueError\)", inspect.getdoc(errors) or ""))
    assert marked == {cls.__name__ for cls in all_classes() if issubclass(cls, ValueError)}


def test_codes_in_the_docstring_belong_there() -> None:
    """Each code named beside a class becomes that class."""
    lines = re.findall(r"─ (\w+).*\(([-\d ]+)(?: and most 40xxx)?\)$", inspect.getdoc(errors) or "", re.MULTILINE)
    assert len(lines) == 8
    for name, codes in lines:
        assert {type(api_error(int(code))).__name__ for code in codes.split()} == {name}


def test_every_class_is_public() -> None:
    """Every class of the tree is exported, and nothing else but the builder."""
    assert {cls.__name__ for cls in all_classes()} | {"api_error"} == set(errors.__all__)


def test_the_tables_of_this_file_cover_the_tree() -> None:
    """No class escapes the copying tests."""
    assert {cls for cls, _ in FULL} == set(all_classes())


@pytest.mark.parametrize("error", [ArgumentError(errcode=47001), ConfigError("no")])
def test_bad_arguments_are_value_errors(error: Exception) -> None:
    """Code that knows nothing of the SDK catches bad arguments as ValueError."""
    assert isinstance(error, ValueError)


# ---- codes


@pytest.mark.parametrize(
    ("cls", "codes"),
    [
        (DeadTokenError, [40001, 40014, 42001, 48012]),
        (AccountError, [40013, 40125, 40164, 61004]),
        (NotAuthorizedError, [48001]),
        (RateLimitError, [45009, 45011]),
        (RecipientError, [43004, 43019, 45015]),
        (NotFoundError, [46003, 46004, 40037]),
        (ArgumentError, [47001, 40003, 41001, 44002, 45157, 40033]),
        (BusyError, [-1]),
        (APIError, [123456789]),
    ],
)
def test_known_codes_become_their_class(cls: type[APIError], codes: list[int]) -> None:
    """The codes of the documentation become the class it names."""
    assert {type(api_error(code)) for code in codes} == {cls}


@pytest.mark.parametrize("code", CODES)
def test_every_code_becomes_the_class_of_its_kind(code: int) -> None:
    """No code of the table is without a class, and the error carries the table's words."""
    classes = {
        "ok": APIError,
        "token": DeadTokenError,
        "account": AccountError,
        "permission": NotAuthorizedError,
        "rate": RateLimitError,
        "recipient": RecipientError,
        "not_found": NotFoundError,
        "argument": ArgumentError,
        "busy": BusyError,
        "other": APIError,
    }
    error = api_error(code, "text", endpoint="GET /x")
    assert type(error) is classes[lookup(code).kind]
    assert (error.errcode, error.message, error.errmsg, error.endpoint) == (
        code,
        lookup(code).meaning,
        "text",
        "GET /x",
    )


@pytest.mark.parametrize("code", sorted(DEAD_TOKEN_CODES))
def test_dead_token_codes_of_token_requests_are_account_errors(code: int) -> None:
    """On a token request 40001 speaks of the AppSecret: renewing a token on it would go round for ever."""
    assert type(api_error(code, token_request=True)) is AccountError


@pytest.mark.parametrize("code", [40013, 45009, 45011, -1])
def test_other_codes_of_token_requests_stay(code: int) -> None:
    """All other codes mean the same on a token request."""
    assert type(api_error(code, token_request=True)) is type(api_error(code))


@pytest.mark.parametrize(("code", "scope"), [(45009, "day"), (45011, "minute"), (48006, "month"), (44990, "second")])
def test_rate_limit_knows_its_scope(code: int, scope: str) -> None:
    """A rate limit says when it is over, however the error was made."""
    built = api_error(code)
    assert isinstance(built, RateLimitError)
    assert (built.scope, RateLimitError(errcode=code).scope) == (scope, scope)


# ---- errmsg, rid, advice


@pytest.mark.parametrize(
    ("errmsg", "text", "rid"),
    [
        (
            "invalid credential, access_token is invalid or not latest rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b",
            "invalid credential, access_token is invalid or not latest",
            "5f9d2a1b-0a1b2c3d-4e5f6a7b",
        ),
        ("invalid openid rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b", "invalid openid", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("invalid openid, rid:5f9d2a1b-0a1b2c3d-4e5f6a7b", "invalid openid,", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("invalid rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b, retry", "invalid, retry", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("a rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b b", "a b", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b", "", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("  rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b  \n", "", "5f9d2a1b-0a1b2c3d-4e5f6a7b"),
        ("invalid credential, hint: [wQdiPa0824e297!]", "invalid credential, hint: [wQdiPa0824e297!]", ""),
        ("invalid grid: a-b", "invalid grid: a-b", ""),
        ("rid not found", "rid not found", ""),
        ("rid: ", "rid:", ""),
        ("", "", ""),
    ],
)
def test_rid_is_taken_out_of_the_text(errmsg: str, text: str, rid: str) -> None:
    """The request id has a field of its own, wherever it stands; the old hint stays text."""
    error = api_error(40001, errmsg)
    assert (error.errmsg, error.rid) == (text, rid)


def test_a_text_of_blanks_is_read_in_no_time() -> None:
    """A hostile errmsg of megabytes costs no quadratic search."""
    assert split_rid(" " * 2_000_000 + "rid") == ("rid", "")
    assert split_rid("rid:" + " " * 2_000_000)[1] == ""


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_an_errmsg(errmsg: str) -> None:
    """Whatever the platform says becomes an error that prints."""
    for code in (40001, 40164):
        assert str(code) in str(api_error(code, errmsg))


@pytest.mark.parametrize("code", [40164, 61004])
@pytest.mark.parametrize(
    "errmsg",
    [
        "invalid ip 203.0.113.7, not in whitelist",
        "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 5f9d2a1b-0a1b2c3d-4e5f6a7b",
        "invalid ip ::ffff:203.0.113.7, not in whitelist",
        "not in whitelist: 203.0.113.7.",
        "203.0.113.7",
    ],
)
@pytest.mark.parametrize("direct", [False, True])
def test_allow_list_advice_names_the_address(code: int, errmsg: str, direct: bool) -> None:
    """The advice of 40164 holds the very address to put on the list, however the error was made."""
    error = AccountError(errcode=code, errmsg=errmsg) if direct else api_error(code, errmsg)
    assert error.advice.startswith("Add 203.0.113.7 under ")


@pytest.mark.parametrize("errmsg", ["", "invalid ip 2001:db8::1, not in whitelist", "release 1.2.3.4.5", "12.34.56"])
@pytest.mark.parametrize("direct", [False, True])
def test_allow_list_advice_without_an_address(errmsg: str, direct: bool) -> None:
    """Without an IPv4 address the advice is a sentence all the same, never the placeholder."""
    error = APIError(errcode=40164, errmsg=errmsg) if direct else api_error(40164, errmsg)
    assert error.advice.startswith("Add the caller's address under ")


@pytest.mark.parametrize("code", CODES)
def test_no_placeholder_is_ever_shown(code: int) -> None:
    """No error shows a brace of the table."""
    assert "{ip}" not in str(APIError(errcode=code)) + str(api_error(code))


def test_text_says_everything_a_person_needs() -> None:
    """The text holds endpoint, code, meaning, the platform's words, rid and advice."""
    error = api_error(40164, "invalid ip 203.0.113.7 rid: a-b", endpoint="GET /cgi-bin/token")
    assert str(error) == (
        "GET /cgi-bin/token: errcode 40164 (caller IP is not on the allow list): invalid ip 203.0.113.7 [rid a-b]. "
        "Add 203.0.113.7 under 微信公众平台 → 设置与开发 → 基本配置 → IP白名单; the change takes some minutes."
    )


def test_argument_found_before_sending_names_the_field() -> None:
    """What the SDK refuses itself names the field, and says that nothing was sent."""
    error = ArgumentError(
        errcode=40018, errmsg="too long", endpoint="POST /cgi-bin/menu/create", field="button[0].name"
    )
    assert str(error) == (
        "POST /cgi-bin/menu/create: button[0].name: too long (not sent; the platform would answer 40018)"
    )


def test_other_advice() -> None:
    """with_advice changes the advice of a copy only."""
    error = api_error(40001, "text", endpoint="GET /x")
    other = error.with_advice("Call somebody.")
    assert (type(other), other.errcode, other.errmsg, other.advice) == (DeadTokenError, 40001, "text", "Call somebody.")
    assert error.advice == lookup(40001).advice


# ---- copies


def values(error: WxmpError) -> dict[str, Any]:
    return {**vars(error), "args": error.args, "str": str(error), "repr": repr(error)}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(("cls", "arguments"), FULL + BARE, ids=lambda value: getattr(value, "__name__", ""))
def test_errors_survive_copying(cls: type[WxmpError], arguments: dict[str, Any], how: str) -> None:
    """Pickle, copy, deepcopy and fresh() keep the class and every field."""
    error = cls(**arguments)
    copied = COPIES[how](error)
    assert copied is not error
    assert type(copied) is cls
    assert values(copied) == values(error)
    assert {name: getattr(copied, name) for name in arguments} == arguments


@pytest.mark.parametrize("how", COPIES)
def test_notes_survive_copying(how: str) -> None:
    """What add_note() put on an error goes along, and the copy's notes are its own."""
    error = api_error(-1)
    error.add_note("2 of 3 batches were done")
    copied = COPIES[how](error)
    copied.add_note("seen")
    assert copied.__notes__ == ["2 of 3 batches were done", "seen"]
    assert error.__notes__ == ["2 of 3 batches were done"]


@pytest.mark.parametrize("how", COPIES)
def test_copies_have_no_past(how: str) -> None:
    """A copy has no traceback, cause or context: they hold frames, and frames hold tokens."""
    try:
        try:
            raise KeyError("token")
        except KeyError as inner:
            raise api_error(-1) from inner
    except APIError as error:
        copied = COPIES[how](error)
    assert (copied.__traceback__, copied.__cause__, copied.__context__) == (None, None, None)


def test_waiters_raise_their_own() -> None:
    """Raising a fresh copy leaves the traceback of the original as it was."""
    error = api_error(-1)
    with pytest.raises(BusyError):
        raise error.fresh()
    assert error.__traceback__ is None


# ---- secrecy


def test_repr_names_the_fields() -> None:
    """The repr is the constructor call, without long texts and empty fields."""
    error = api_error(-1, "busy rid: a-b", endpoint="GET /x")
    assert repr(error) == "BusyError(errcode=-1, errmsg='busy', endpoint='GET /x', rid='a-b')"
    assert repr(TimedOutError("late", maybe_acted=False)) == "TimedOutError(message='late', maybe_acted=False)"


def test_body_is_not_printed() -> None:
    """The body of an unreadable answer is in no text, no repr and no traceback."""
    error = ReplyError("the answer is not JSON", endpoint="GET /x", body="<html>openid-of-somebody</html>")
    shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
    assert "openid-of-somebody" not in shown
    assert "openid-of-somebody" in error.body


def test_body_is_short() -> None:
    """Of the body only an excerpt is kept."""
    assert ReplyError("m", body="x" * 10_000).body == "x" * 200
    assert len(ReplyError("m", body="code=1&" * 100).body) == 200


@pytest.mark.parametrize("padding", [0, 150, 180, 195])
def test_half_an_answer_with_a_token_is_masked(padding: int) -> None:
    """A new token in a broken answer, which nobody knows and could search for, is in neither error nor pickle."""
    body = " " * padding + '{"access_token":"FAKE-TOKEN-0123456789-abcdefghijklmnopqrstuvwxyz","expi'
    error = ReplyError("the answer is not JSON", body=body)
    assert "FAKE" not in error.body
    assert b"FAKE" not in pickle.dumps(error)


# ---- payments


@pytest.mark.parametrize(
    ("status", "verdict", "maybe_acted"),
    [
        (500, "same", True),
        (502, "same", True),
        (500, "never", False),
        (400, "never", False),
        (404, "never", False),
        (408, "never", True),
        (429, "slow", False),
        (403, "later", False),
        (202, "poll", True),
    ],
)
def test_which_refusals_of_a_payment_are_certain(status: int, verdict: Any, maybe_acted: bool) -> None:
    """A fault of the platform leaves the outcome open; a refusal does not."""
    assert PayAPIError(status=status, verdict=verdict).maybe_acted is maybe_acted


def test_an_error_of_a_payment_reads_as_one_line() -> None:
    """Endpoint, code, status, text, place, request id and advice, in this order."""
    error = PayAPIError(
        code="PARAM_ERROR",
        message="金额错误",
        status=400,
        detail={"field": "/amount/total"},
        request_id="08F7-0",
        endpoint="POST /v3/x",
        advice="Mend it",
    )
    assert str(error) == ("POST /v3/x: PARAM_ERROR (HTTP 400): 金额错误 [/amount/total] [Request-ID 08F7-0]. Mend it")
    assert error.field == "/amount/total"
    assert str(PayAPIError(status=404)) == "no code (HTTP 404)"
