"""Keys: random, scoped, at rest only as a hash."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from wxmp import ConfigError
from wxmp.control import ControlKey, HTTPTokenStore
from wxmp.control.keys import KeyRing


def test_a_new_key_is_random_and_kept_as_a_hash() -> None:
    """Two keys share nothing; what the server keeps holds the hash, and the key itself nowhere."""
    key, text = ControlKey.create("shop", appids={"wx1"})
    other, other_text = ControlKey.create("shop", appids={"wx1"})
    assert text != other_text
    assert key.id != other.id
    assert text.startswith(f"wxck_{key.id}_")
    assert len(text) == len("wxck_") + 12 + 1 + 43
    assert key.digest == hashlib.sha256(text.encode()).hexdigest()
    assert text.split("_", 2)[2] not in repr(key)
    assert key.digest not in repr(key)


def test_a_key_is_found_by_its_text() -> None:
    """The ring knows its keys, and no others."""
    key, text = ControlKey.create("shop", appids="*")
    other, other_text = ControlKey.create("news", appids="*")
    ring = KeyRing([key, other])
    assert ring.find(text) is key
    assert ring.find(other_text) is other


@pytest.mark.parametrize("spoil", ["secret", "id", "mixed", "short", "long", "empty", "prefix", "unicode"])
def test_anything_else_is_no_key(spoil: str) -> None:
    """A wrong secret, an unknown id, the id of one with the secret of another, and nonsense are no keys."""
    key, text = ControlKey.create("shop", appids="*")
    other, other_text = ControlKey.create("news", appids="*")
    last = "A" if text[-1] != "A" else "B"
    wrong = {
        "secret": text[:-1] + last,
        "id": f"wxck_{'0' * 12}_{text[18:]}",
        "mixed": text[:18] + other_text[18:],
        "short": text[:-1],
        "long": text + "A" * 10_000,
        "empty": "",
        "prefix": text.removeprefix("wxck_"),
        "unicode": text[:-1] + "é",
    }[spoil]
    assert KeyRing([key, other]).find(wrong) is None


@pytest.mark.parametrize("known", [True, False])
def test_an_unknown_id_is_compared_all_the_same(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison takes the same way whether the id exists or not, and is the one of constant time."""
    key, text = ControlKey.create("shop", appids="*")
    _, stranger = ControlKey.create("shop", appids="*")
    compared = []
    true = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or true(a, b))
    KeyRing([key]).find(text if known else stranger)
    assert compared == [(64, 64)]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"id": "xyz"}, "id"),
        ({"digest": "123"}, "digest"),
        ({"appids": "wx1"}, "appids"),
        ({"appids": {"../x"}}, "appids"),
        ({"appids": None}, "appids"),
        ({"kinds": {"everything"}}, "kinds"),
        ({"kinds": "access_token"}, "kinds"),
        ({"kinds": ()}, "kinds"),
        ({"per_minute": 0}, "per_minute"),
        ({"per_minute": True}, "per_minute"),
    ],
)
def test_settings_that_cannot_work_name_their_field(settings: dict[str, Any], field: str) -> None:
    """What cannot work is refused when the key is made."""
    given = {"name": "shop", "id": "0" * 12, "digest": "0" * 64, "appids": {"wx1"}, **settings}
    with pytest.raises(ConfigError) as caught:
        ControlKey(**given)
    assert caught.value.field == field


def test_two_keys_with_one_id_are_refused() -> None:
    """A copied entry in a configuration does not quietly win over the other."""
    key, _ = ControlKey.create("shop", appids="*")
    with pytest.raises(ConfigError, match=key.id):
        KeyRing([key, key])


def test_a_wrong_key_never_shows() -> None:
    """Whoever pastes the wrong secret where the key belongs does not find it in a log."""
    with pytest.raises(ConfigError) as caught:
        HTTPTokenStore("http://127.0.0.1", "some-other-secret")
    assert caught.value.field == "key"
    assert "some-other-secret" not in f"{caught.value} {caught.value!r}"
