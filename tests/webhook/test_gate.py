"""The gate: verification of the address, three modes, changing keys, freshness, replay keys, sealed replies."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.webhook import pushes
from tests.webhook.pushes import ACCOUNT, AES_KEY, APPID, TOKEN
from wxmp.errors import ConfigError, DecryptError, MalformedError, SignatureError, WebhookError
from wxmp.webhook import gate as gate_module
from wxmp.webhook.crypto import MessageCipher, sha1_of_sorted
from wxmp.webhook.gate import MAX_ECHOSTR, Gate

NOW = 1_790_000_000.0
OLD_TOKEN = "oldSampleToken"
OLD_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
INNER = pushes.xml(pushes.fields(Content="你好"))


def gate(**changed: Any) -> Gate:
    settings: dict[str, Any] = {"token": TOKEN, "encoding_aes_key": AES_KEY, "appid": APPID, "clock": lambda: NOW}
    return Gate(**{**settings, **changed})


def plain_gate(**changed: Any) -> Gate:
    return gate(**{"encoding_aes_key": None, **changed})


def query(
    encrypt: str | None = None, *, token: str = TOKEN, at: float | str = NOW, nonce: str = "202611"
) -> dict[str, str]:
    timestamp = at if isinstance(at, str) else str(int(at))
    found = {"signature": sha1_of_sorted(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}
    if encrypt is not None:
        signature = sha1_of_sorted(token, timestamp, nonce, encrypt)
        found |= {"openid": pushes.USER, "encrypt_type": "aes", "msg_signature": signature}
    return found


def sealed(
    inner: bytes = INNER, *, token: str = TOKEN, key: str = AES_KEY, appid: str = APPID, at: float | str = NOW
) -> tuple[bytes, bytes]:
    """Query and body of a push in safe mode with any inner text."""
    encrypt = MessageCipher(key, appid).encrypt(inner)
    return urlencode(query(encrypt, token=token, at=at)).encode(), pushes.xml(
        {"ToUserName": ACCOUNT, "Encrypt": encrypt}
    )


# ---- verification of the address


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_verification_returns_the_echostr(mode: str) -> None:
    """The echostr is plain in all three modes and comes back unchanged."""
    assert gate(mode=mode).verify_url(pushes.verification("5927782489442352469", at=NOW)) == b"5927782489442352469"


@pytest.mark.parametrize("echostr", [b"a b+c%&=", bytes(range(256)), "你好".encode(), b"x" * MAX_ECHOSTR])
def test_verification_decodes_the_echostr_once(echostr: bytes) -> None:
    """Percent signs are undone once, and nothing else is touched."""
    text = urlencode(query()).encode() + b"&echostr=" + quote_from_bytes(echostr, safe="").encode()
    assert gate().verify_url(text) == echostr


def test_verification_ignores_msg_signature() -> None:
    """Some callers send one along; the signature alone decides."""
    assert gate().verify_url(pushes.verification("7", at=NOW) + b"&msg_signature=x") == b"7"
    found = {**query("7"), "signature": "0" * 40, "echostr": "7"}
    with pytest.raises(SignatureError):
        gate().verify_url(urlencode(found).encode())


@pytest.mark.parametrize("token", [TOKEN, OLD_TOKEN])
def test_verification_takes_previous_tokens(token: str) -> None:
    """While the Token is changed both verify."""
    assert gate(previous=[(OLD_TOKEN, None)]).verify_url(pushes.verification("7", token=token, at=NOW)) == b"7"


@pytest.mark.parametrize("echostr", ["", "x" * (MAX_ECHOSTR + 1)])
def test_verification_needs_a_usable_echostr(echostr: str) -> None:
    """Without one there is nothing to answer; a long one is nobody's."""
    with pytest.raises(SignatureError):
        gate().verify_url(pushes.verification(echostr, at=NOW))


@pytest.mark.parametrize("missing", ["signature", "timestamp", "nonce", "echostr"])
def test_verification_needs_every_parameter(missing: str) -> None:
    """Each of the four must be there, once."""
    found = {**query(), "echostr": "7"}
    left = {name: value for name, value in found.items() if name != missing}
    for text in (urlencode(left), urlencode(found) + f"&{missing}={found[missing]}", urlencode({**found, missing: ""})):
        with pytest.raises(SignatureError):
            gate().verify_url(text.encode())


# ---- modes


def test_safe_push_opens() -> None:
    """A signed and encrypted push gives its inner fields."""
    opened = gate().open(*sealed())
    assert opened.fields["Content"] == "你好"
    assert opened.format == "xml"


def test_worked_example_opens() -> None:
    """The push of the documents' example, key and all."""
    cipher = MessageCipher(AES_KEY, APPID)
    encrypt = cipher.encrypt(b"<xml><MsgId>7</MsgId></xml>", random=b"0f1e2d3c4b5a6978")
    body = f"<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>".encode()
    assert gate().open(urlencode(query(encrypt)).encode(), body).fields == {"MsgId": "7"}


def test_json_push_opens() -> None:
    """The JSON data format has the same two names around an inner JSON text."""
    opened = gate().open(*pushes.safe(pushes.fields(MsgId=2**63 + 1), at=NOW, form="json"))
    assert (opened.format, opened.fields["MsgId"]) == ("json", 2**63 + 1)


@pytest.mark.parametrize("form", ["xml", "json"])
def test_plain_push_opens(form: str) -> None:
    """In plain mode the body is the message."""
    opened = plain_gate().open(*pushes.plain(pushes.fields(Content="hi"), at=NOW, form=form))
    assert (opened.format, opened.fields["Content"]) == (form, "hi")


@pytest.mark.parametrize("mode", ["compatible", "safe"])
def test_plain_copy_is_never_used(mode: str) -> None:
    """Beside Encrypt the body may carry every plain field: none of them is believed."""
    text, body = sealed(pushes.xml({"MsgType": "text", "Content": "inside"}))
    forged = pushes.xml({"MsgType": "text", "Content": "outside", "FromUserName": "forged"})
    both = forged.removesuffix(b"</xml>") + body.removeprefix(b"<xml>")
    assert gate(mode=mode).open(text, both).fields == {"MsgType": "text", "Content": "inside"}


@pytest.mark.parametrize("mode", ["compatible", "safe"])
@pytest.mark.parametrize("extra", ["", "&encrypt_type=raw", "&encrypt_type=aes", "&msg_signature=" + "0" * 40])
def test_plain_body_is_refused_where_a_key_is_set(mode: str, extra: str) -> None:
    """A genuine plain signature and no Encrypt: what the request says about encryption does not matter."""
    text, body = pushes.plain(pushes.fields(), at=NOW)
    with pytest.raises(SignatureError) as caught:
        gate(mode=mode).open(text + extra.encode(), body)
    assert caught.value.status == 403


def test_signature_in_place_of_msg_signature_is_refused() -> None:
    """The plain signature does not cover the body, so it does not open an encrypted one."""
    text, body = sealed()
    found = dict(pair.split("=") for pair in text.decode().split("&"))
    for value in (found["signature"], ""):
        with pytest.raises(SignatureError):
            gate().open(urlencode({**found, "msg_signature": value}).encode(), body)


def test_encrypted_push_does_not_need_signature() -> None:
    """Only msg_signature covers an encrypted body; encrypt_type and openid are not looked at."""
    text, body = sealed()
    found = dict(pair.split("=") for pair in text.decode().split("&"))
    for name in ("signature", "encrypt_type", "openid"):
        del found[name]
    assert gate().open(urlencode(found).encode(), body).fields["Content"] == "你好"


def test_encrypted_push_is_refused_in_plain_mode() -> None:
    """Wrong mode: the console encrypts, the service does not know the key."""
    with pytest.raises(SignatureError) as caught:
        plain_gate().open(*sealed())
    assert caught.value.status == 403


def test_mode_defaults_to_the_strictest() -> None:
    """Safe with a key, plain without, and a key alone does not encrypt plain mode."""
    assert gate().mode == "safe"
    assert plain_gate().mode == "plain"
    assert gate(mode="plain").open(*pushes.plain(pushes.fields(), at=NOW)).format == "xml"


def test_parameters_in_any_order_and_encoded() -> None:
    """Order does not matter, and percent-encoded text is signed decoded."""
    encrypt = MessageCipher(AES_KEY, APPID).encrypt(INNER)
    body = pushes.xml({"Encrypt": encrypt})
    found = query(encrypt, nonce="a b+c/d=e&f你")
    backwards = urlencode(dict(reversed(found.items()))).encode()
    assert b"%" in backwards
    assert gate().open(backwards, body).fields["Content"] == "你好"
    assert gate().open(backwards + b"&&lonely&=&x=1&x=2", body).fields["Content"] == "你好"


def test_nonce_and_timestamp_are_hashed_as_received() -> None:
    """Leading zeros stay: a timestamp that went through int would have another signature."""
    text, body = sealed(at="00" + str(int(NOW)))
    assert gate().open(text, body).replay_for == 301.0


# ---- changing keys

CHANGES = {
    "both": (OLD_TOKEN, OLD_KEY),
    "token only": (OLD_TOKEN, AES_KEY),
    "token only, key not repeated": (OLD_TOKEN, None),
    "key only": (TOKEN, OLD_KEY),
}


@pytest.mark.parametrize("previous", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("current", [True, False])
def test_previous_pair_opens_and_seals(previous: tuple[str, str | None], current: bool) -> None:
    """Current and previous pairs open, and the reply goes out under the pair that did."""
    token, key = (TOKEN, AES_KEY) if current else (previous[0], previous[1] or AES_KEY)
    both = gate(previous=[("anotherOldToken", OLD_KEY), previous])
    opened = both.open(*sealed(token=token, key=key))
    assert opened.fields["Content"] == "你好"
    assert pushes.opened(both.seal(opened, b"<xml>reply</xml>"), token=token, key=key) == "<xml>reply</xml>"


def test_pairs_are_not_mixed() -> None:
    """The old Token with the new key was never configured and does not open."""
    with pytest.raises(DecryptError):
        gate(previous=[(OLD_TOKEN, OLD_KEY)]).open(*sealed(token=OLD_TOKEN, key=AES_KEY))


def test_previous_pair_ends_with_the_configuration() -> None:
    """What is no longer configured is refused."""
    with pytest.raises(SignatureError):
        gate().open(*sealed(token=OLD_TOKEN))
    with pytest.raises(DecryptError):
        gate().open(*sealed(key=OLD_KEY))


def test_previous_token_in_plain_mode() -> None:
    """Plain mode has Tokens only."""
    text, body = pushes.plain(pushes.fields(), token=OLD_TOKEN, at=NOW)
    assert plain_gate(previous=[(OLD_TOKEN, None)]).open(text, body).fields["MsgType"] == "text"


# ---- freshness


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_fresh_on_both_sides(seconds: int) -> None:
    """Up to the window old, or as much ahead; what is left is how long a replay would stay fresh."""
    opened = gate().open(*sealed(at=NOW + seconds))
    assert opened.replay_for == seconds + 301.0


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 400_000_000])
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_stale_and_future_are_refused(mode: str, seconds: int) -> None:
    """Beyond the window, on either side, in every mode and for the address too."""
    push = sealed(at=NOW + seconds) if mode == "safe" else pushes.plain(pushes.fields(), at=NOW + seconds)
    with pytest.raises(SignatureError) as caught:
        gate(mode=mode).open(*push)
    assert caught.value.status == 403
    with pytest.raises(SignatureError):
        gate(mode=mode).verify_url(pushes.verification(at=NOW + seconds))


def test_window_can_be_changed_and_switched_off() -> None:
    """Another window, and none at all."""
    with pytest.raises(SignatureError):
        gate(window=10).open(*sealed(at=NOW - 11))
    assert gate(window=10).open(*sealed(at=NOW - 10)).replay_for == 1.0
    assert gate(window=None).open(*sealed(at=1.0)).replay_for == 0.0


@pytest.mark.parametrize("at", [2_208_988_800.0, 4_102_444_800.0, 253_402_300_799.0])
def test_timestamps_after_2038(at: float) -> None:
    """Numbers beyond 32 bits are times like any other."""
    assert gate(clock=lambda: at).open(*sealed(at=at)).replay_for == 301.0


# ---- replay keys


def test_replay_key_is_the_request() -> None:
    """The same request has the same key, a genuine retry another one; other accounts have their own."""
    push, again = sealed(), sealed(at=NOW + 5)
    key = gate().open(*push).replay_key
    assert gate().open(*push).replay_key == key
    assert gate().open(*again).replay_key != key
    other = gate(appid="wxother").open(*sealed(appid="wxother"))
    assert len({key, other.replay_key}) == 2
    assert key.isascii()
    assert len(key) == 40


def test_replay_key_covers_the_plain_body() -> None:
    """One plain signature under two bodies makes two keys."""
    text, body = pushes.plain(pushes.fields(Content="a"), at=NOW)
    keys = {plain_gate().open(text, changed).replay_key for changed in (body, body.replace(b"[a]", b"[b]"), body)}
    assert len(keys) == 2


@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_moved_digits_do_not_make_a_new_request(mode: str) -> None:
    """The signed text has no separators: a digit moved between timestamp and nonce keeps signature and replay key."""
    encrypt = MessageCipher(AES_KEY, APPID).encrypt(INNER)
    body = pushes.xml({"Encrypt": encrypt}) if mode == "safe" else INNER
    found = query(encrypt, at="1790000000", nonce="202611")
    moved = {**found, "timestamp": "179000000020", "nonce": "2611"}
    loose = gate(mode=mode, window=None)
    first, second = (loose.open(urlencode(parameters).encode(), body).replay_key for parameters in (found, moved))
    assert first == second


# ---- after the signature: one refusal

UNUSABLE = {
    "another appid": sealed(appid="wxother"),
    "another key": sealed(key=OLD_KEY),
    "empty": sealed(b""),
    "text": sealed(b"hello"),
    "another root": sealed(b"<html></html>"),
    "not UTF-8": sealed(b"<xml><A>\xff</A></xml>"),
    "UTF-16": sealed("<xml><A>1</A></xml>".encode("utf-16")),
    "DOCTYPE": sealed(b'<!DOCTYPE xml [<!ENTITY a "1">]><xml><A>&a;</A></xml>'),
    "open XML": sealed(b"<xml><A>1</A>"),
    "open JSON": sealed(b'{"A": 1'),
    "too many elements": sealed(b"<xml>" + b"<a/>" * 501 + b"</xml>"),
    "too long text": sealed(b"<xml><a>" + b"x" * 70_000 + b"</a></xml>"),
    "another account": sealed(INNER.replace(ACCOUNT.encode(), b"gh_another")),
    "no account": sealed(b"<xml><MsgType>text</MsgType></xml>"),
    "two accounts": sealed(INNER.replace(b"<xml>", b"<xml><ToUserName>x</ToUserName>")),
}


@pytest.mark.parametrize("push", UNUSABLE.values(), ids=UNUSABLE)
def test_failures_after_the_signature_look_alike(push: tuple[bytes, bytes]) -> None:
    """One class, one text, one number, one status, whatever is wrong inside."""
    with pytest.raises(DecryptError) as caught:
        gate(original_id=ACCOUNT).open(*push)
    assert type(caught.value) is DecryptError
    assert (str(caught.value), caught.value.code, caught.value.status) == (str(DecryptError()), -40007, 403)


def test_original_id_in_plain_mode() -> None:
    """A push for another account is refused, one for this account opens."""
    assert plain_gate(original_id=ACCOUNT).open(*pushes.plain(pushes.fields(), at=NOW)).fields["ToUserName"] == ACCOUNT
    with pytest.raises(SignatureError):
        plain_gate(original_id="gh_another").open(*pushes.plain(pushes.fields(), at=NOW))


# ---- statuses of what comes before


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_too_large_is_413_before_anything_else(mode: str) -> None:
    """The size counts first, whatever else is wrong; exactly the limit is fine."""
    text, body = sealed() if mode != "plain" else pushes.plain(pushes.fields(), at=NOW)
    assert gate(mode=mode, max_body=len(body)).open(text, body)
    with pytest.raises(MalformedError) as caught:
        gate(mode=mode, max_body=len(body) - 1).open(b"", body)
    assert caught.value.status == 413


@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
@pytest.mark.parametrize("body", [b"", b"hello", b"<xml>", b"{", b"\xff", b"<!DOCTYPE xml><xml/>"])
def test_unreadable_outer_body_is_400(mode: str, body: bytes) -> None:
    """Neither XML nor JSON: no message at all."""
    with pytest.raises(MalformedError) as caught:
        gate(mode=mode).open(urlencode(query("x")).encode(), body)
    assert caught.value.status == 400


def test_order_of_checks_in_plain_mode() -> None:
    """An unreadable body without a valid signature is not authentic in the first place."""
    with pytest.raises(SignatureError):
        plain_gate().open(urlencode(query(token="wrongToken")).encode(), b"hello")


# ---- replies


@pytest.mark.parametrize("form", ["xml", "json"])
def test_sealed_reply(form: str) -> None:
    """The reply comes in the format of the push, signed over its own time and a fresh nonce, with no other element."""
    one = gate()
    opened = one.open(*pushes.safe(pushes.fields(), at=NOW, form=form))
    sealed_reply = one.seal(opened, "<xml>你好]]></xml>".encode())
    if form == "xml":
        assert pushes.opened(sealed_reply) == "<xml>你好]]></xml>"
        assert b"<TimeStamp>1790000000</TimeStamp>" in sealed_reply
        return
    parts = json.loads(sealed_reply)
    assert set(parts) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
    assert parts["TimeStamp"] == 1_790_000_000
    signature = sha1_of_sorted(TOKEN, str(parts["TimeStamp"]), parts["Nonce"], parts["Encrypt"])
    assert parts["MsgSignature"] == signature
    assert MessageCipher(AES_KEY, APPID).decrypt(parts["Encrypt"]).decode() == "<xml>你好]]></xml>"


def test_replies_are_never_the_same() -> None:
    """Nonce and random bytes are fresh each time."""
    one = gate()
    opened = one.open(*sealed())
    assert len({one.seal(opened, b"same") for _ in range(50)}) == 50


@pytest.mark.parametrize("reply", [b"", b"success"])
def test_success_is_never_encrypted(reply: bytes) -> None:
    """Neither the empty answer nor the word is sealed."""
    one = gate()
    assert one.seal(one.open(*sealed()), reply) == reply


def test_plain_reply_stays_plain() -> None:
    """What came in plain is answered in plain, with a key at hand or not."""
    one = gate(mode="plain")
    assert one.seal(one.open(*pushes.plain(pushes.fields(), at=NOW)), b"<xml>reply</xml>") == b"<xml>reply</xml>"


# ---- settings


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "x" * 33}, "token"),
        ({"token": "has blank"}, "token"),
        ({"encoding_aes_key": "x" * 42}, "encoding_aes_key"),
        ({"encoding_aes_key": None, "mode": "safe"}, "encoding_aes_key"),
        ({"encoding_aes_key": None, "mode": "compatible"}, "encoding_aes_key"),
        ({"appid": ""}, "appid"),
        ({"mode": "raw"}, "mode"),
        ({"window": 0}, "window"),
        ({"window": -1}, "window"),
        ({"window": float("inf")}, "window"),
        ({"window": float("nan")}, "window"),
        ({"window": True}, "window"),
        ({"window": "300"}, "window"),
        ({"max_body": 0}, "max_body"),
        ({"max_body": 1.5}, "max_body"),
        ({"original_id": ""}, "original_id"),
        ({"original_id": "公众号"}, "original_id"),
        ({"previous": [("", None)]}, "previous"),
        ({"previous": [(OLD_TOKEN, "short")]}, "previous"),
        ({"previous": [OLD_TOKEN]}, "previous"),
        ({"previous": [(OLD_TOKEN,)]}, "previous"),
    ],
)
def test_settings_that_cannot_work(changed: dict[str, Any], field: str) -> None:
    """Refused when the gate is made, with the name of the field and without secrets."""
    with pytest.raises(ConfigError) as caught:
        gate(**changed)
    assert caught.value.field == field
    assert not any(secret in str(caught.value) for secret in (TOKEN, AES_KEY, OLD_TOKEN))


def test_no_secret_in_a_repr() -> None:
    """Neither the gate nor what it opened shows a Token, a key or a message."""
    one = gate(previous=[(OLD_TOKEN, OLD_KEY)])
    opened = one.open(*sealed())
    text = repr(one) + str(one) + repr(opened) + repr(one._pairs) + repr(opened._keys)
    for secret in (TOKEN, AES_KEY, OLD_TOKEN, OLD_KEY, "你好", pushes.USER):
        assert secret not in text
    assert APPID in repr(one)


# ---- properties

PAIRS = [
    *("signature=" + "0a" * 20, "timestamp=1790000000", "nonce=202611", "openid=o-_1", "encrypt_type=aes"),
    *(
        "msg_signature=" + "1b" * 20,
        "msg_signature=",
        "encrypt_type=raw",
        "echostr=1",
        "echostr=",
        "openid=",
        "nonce=%31",
    ),
    *("", "x", "echostr=a+b", "msg_signature=" + "1B" * 20, "timestamp=1", "nonce="),
]
QUERIES = st.lists(st.sampled_from(PAIRS), max_size=8, unique=True).map("&".join)
USUAL = f"signature={'0a' * 20}&timestamp=1790000000&nonce=202611"


@settings(deadline=None, max_examples=300)
@given(QUERIES | QUERIES.map(lambda rest: USUAL + rest) | QUERIES.map(lambda rest: USUAL + "&" + rest))
@example(USUAL)
@example(USUAL + "&openid=o-_1&encrypt_type=aes&msg_signature=" + "1b" * 20)
@example(USUAL + "&msg_signature=" + "1b" * 20)
@example(USUAL + "1b" * 20)
@example(USUAL + "&msg_signature=")
def test_usual_queries_read_like_all_others(query_: str) -> None:
    """The short way through a query finds what the long one finds."""
    usual = gate_module._QUERY.fullmatch(query_.encode())
    if usual is not None:
        found = gate_module._split(query_.encode())
        names = (b"signature", b"timestamp", b"nonce", b"msg_signature", b"echostr")
        assert usual.groups(b"") == tuple(found.get(name, b"") for name in names)


def test_platform_queries_go_the_short_way() -> None:
    """The comparison above would hold for a short way that takes nothing."""
    verification = pushes.verification("5927782489442352469", at=NOW)
    for text in (sealed()[0], pushes.plain(pushes.fields(), at=NOW)[0], verification):
        assert gate_module._QUERY.fullmatch(text)


@settings(deadline=None)
@given(
    st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=32).filter(
        lambda s: len(s.encode()) <= 128
    ),
    st.dictionaries(
        st.sampled_from(["A", "Content", "MsgId"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF)),
        max_size=3,
    ),
)
def test_what_the_platform_could_send_opens(nonce: str, values: dict[str, str]) -> None:
    """Any nonce and any text come through both formats unchanged."""
    for form in ("xml", "json"):
        inner = pushes.xml(values) if form == "xml" else json.dumps(values).encode()
        encrypt = MessageCipher(AES_KEY, APPID).encrypt(inner)
        body = pushes.xml({"Encrypt": encrypt}) if form == "xml" else json.dumps({"Encrypt": encrypt}).encode()
        assert gate().open(urlencode(query(encrypt, nonce=nonce)).encode(), body).fields == values


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(["plain", "compatible", "safe"]))
def test_random_requests_raise_webhook_errors_only(text: bytes, body: bytes, mode: str) -> None:
    """Whatever arrives is refused with one of three statuses."""
    for work in (lambda: gate(mode=mode).open(text, body), lambda: gate(mode=mode).verify_url(text)):
        with pytest.raises(WebhookError) as caught:
            work()
        assert caught.value.status in {400, 403, 413}
