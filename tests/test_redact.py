"""Secrets stay unreadable wherever Python prints or copies them."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
from typing import Any

import attrs
import pytest

from wxmp._redact import MASK, SENSITIVE_NAMES, Secret, fingerprint, mask_fields, scrub

PLAIN = "fake-appsecret-0123456789"


@attrs.frozen
class AttrsHolder:
    secret: Secret


@dataclasses.dataclass
class DataclassHolder:
    secret: Secret


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: "{} {!r}".format(secret, secret),  # noqa: UP032
        lambda secret: repr([secret, {"x": secret}]),
        lambda secret: repr(AttrsHolder(secret)),
        lambda secret: repr(attrs.asdict(AttrsHolder(secret))),
        lambda secret: repr(DataclassHolder(secret)),
        lambda secret: repr(dataclasses.asdict(DataclassHolder(secret))),
        lambda secret: repr(vars(DataclassHolder(secret))),
        lambda secret: repr(copy.copy(secret)),
        lambda secret: repr(copy.deepcopy({"deep": [secret]})),
    ],
)
def test_nothing_prints_the_text(show: Any) -> None:
    """Every way of printing a secret, or what holds it, shows the mask."""
    shown = show(Secret(PLAIN))
    assert MASK in shown
    assert PLAIN not in shown


def test_log_record_shows_the_mask(caplog: pytest.LogCaptureFixture) -> None:
    """A secret among the arguments of a log call is masked."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("wxmp.call").debug("secret %s", Secret(PLAIN))
    assert caplog.messages == ["secret ***"]


@pytest.mark.parametrize("act", [pickle.dumps, json.dumps, vars, lambda secret: pickle.dumps(AttrsHolder(secret))])
def test_what_cannot_be_masked_fails(act: Any) -> None:
    """Pickle, json and vars() refuse a secret, and the refusal does not show it."""
    with pytest.raises(TypeError) as caught:
        act(Secret(PLAIN))
    assert PLAIN not in str(caught.value)


def test_reveal_is_the_way_out() -> None:
    """The text comes back as it went in."""
    assert Secret(PLAIN).reveal() == PLAIN


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_is_the_secret_itself(copied: Any) -> None:
    """Copying a settings object that holds a secret works, and makes no second text."""
    secret = Secret(PLAIN)
    assert copied(secret) is secret


@pytest.mark.parametrize("text", [PLAIN, "", "密钥", "half \ud83d"])
def test_equal_texts_are_equal_secrets(text: str) -> None:
    """Two secrets of one text are equal and hash alike, whatever the text is."""
    assert Secret(text) == Secret(text)
    assert hash(Secret(text)) == hash(Secret(text))


@pytest.mark.parametrize("other", [Secret("other"), Secret(""), PLAIN, None])
def test_other_things_are_not_equal(other: object) -> None:
    """A secret equals neither another secret nor its own plain text."""
    assert Secret(PLAIN) != other


def test_empty_secret_is_false() -> None:
    """Truth tells whether there is a text."""
    assert not Secret("")
    assert Secret("0")


@pytest.mark.parametrize("value", [PLAIN, "", "密钥", "half \ud83d"])
def test_fingerprint_is_short_and_stable(value: str) -> None:
    """A fingerprint is eight hexadecimal digits, the same each time."""
    assert len(fingerprint(value)) == 8
    assert int(fingerprint(value), 16) >= 0
    assert fingerprint(value) == fingerprint(value)


def test_fingerprints_tell_values_apart() -> None:
    """Two values have two fingerprints."""
    assert fingerprint("token-1") != fingerprint("token-2")


@pytest.mark.parametrize("name", sorted(SENSITIVE_NAMES))
def test_every_sensitive_name_is_masked(name: str) -> None:
    """Each listed name is masked in a query string and in JSON."""
    assert PLAIN not in mask_fields(f"https://h/?{name}={PLAIN}&a=1")
    assert PLAIN not in mask_fields(json.dumps({name: PLAIN}))


def test_sensitive_names_of_the_platform() -> None:
    """The names under which the platform carries credentials are all listed."""
    expected = {"access_token", "secret", "appsecret", "component_access_token", "ticket", "code", "refresh_token"}
    assert expected | {"session_key", "sign", "js_code"} <= SENSITIVE_NAMES


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"access_token":"T1","expires_in":7200}', '{"access_token":"***","expires_in":7200}'),
        ('{"access_token" : "T1', '{"access_token" : "***'),
        ('{\\"secret\\": \\"T1\\"}', '{\\"secret\\": \\"***\\"}'),
        ("{'ticket': 'T1'}", "{'ticket': '***'}"),
        ("Access_Token: T1", "Access_Token: ***"),
        ("my_token=T1&errcode=1", "my_token=T1&errcode=1"),
        ('<a href="/x?access_token=T1&openid=o">', '<a href="/x?access_token=***&openid=o">'),
        ('{"errcode":40029,"errmsg":"invalid code"}', '{"errcode":40029,"errmsg":"invalid code"}'),
        ("nothing to see", "nothing to see"),
    ],
)
def test_mask_fields(text: str, masked: str) -> None:
    """Values of sensitive fields are masked in whole and in broken answers."""
    assert mask_fields(text) == masked


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        (["T-1"], "got *** and ***23"),
        (["T-1", "T-123"], "got *** and ***"),
        (["T-123", "T-1"], "got *** and ***"),
        ([], "got T-1 and T-123"),
        (["", "T-123"], "got T-1 and ***"),
        (["absent"], "got T-1 and T-123"),
    ],
)
def test_scrub(secrets: list[str], expected: str) -> None:
    """Every secret goes as a whole, also where one begins with another, and an empty one does nothing."""
    assert scrub("got T-1 and T-123", secrets) == expected
