"""Settings are checked once, when they are made."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from wxmp.config import PLATFORM_OVERLAP, PRODUCTION, Platform, TokenPolicy
from wxmp.errors import ConfigError

DURATIONS = [
    field.name for field in attrs.fields(TokenPolicy) if field.name not in ("on_store_down", "replacement_burst")
]


def test_production_is_the_platform() -> None:
    """The default hosts are the platform's three, over TLS."""
    assert attrs.astuple(PRODUCTION) == (
        "https://api.weixin.qq.com",
        "https://mp.weixin.qq.com",
        "https://open.weixin.qq.com",
    )
    assert Platform() == PRODUCTION


def test_default_policy_is_allowed() -> None:
    """The defaults obey the rules that they are checked against."""
    policy = TokenPolicy()
    assert policy.lease >= 2 * policy.request_timeout
    assert policy.wait_timeout >= policy.lease + policy.request_timeout
    assert policy.lease <= policy.overlap / 2
    assert policy.overlap == PLATFORM_OVERLAP == 300.0


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "10", None])
@pytest.mark.parametrize("field", [*DURATIONS, "replacement_burst"])
def test_settings_are_positive_numbers(field: str, value: object) -> None:
    """Zero, negative, endless and wordy settings are refused by name."""
    with pytest.raises(ConfigError, match=field) as caught:
        TokenPolicy(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"lease": 9.9, "request_timeout": 5.0}, "lease"),
        ({"request_timeout": 5.1}, "lease"),
        ({"wait_timeout": 14.9}, "wait_timeout"),
        ({"lease": 12.0}, "wait_timeout"),
        ({"overlap": 19.9}, "lease"),
        ({"lease": 200.0, "wait_timeout": 300.0}, "lease"),
        ({"on_store_down": "panic"}, "on_store_down"),
        ({"on_store_down": ""}, "on_store_down"),
        ({"on_store_down": None}, "on_store_down"),
    ],
)
def test_settings_fit_together(settings: dict[str, Any], field: str) -> None:
    """Settings that would let two processes refresh at once are refused."""
    with pytest.raises(ConfigError) as caught:
        TokenPolicy(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "settings",
    [
        {"lease": 10, "request_timeout": 5},
        {"lease": 0.2, "request_timeout": 0.1, "wait_timeout": 0.4, "overlap": 0.4},
        {"on_store_down": "local"},
        {"on_store_down": "error"},
        {"replacement_burst": 1},
    ],
)
def test_settings_at_the_limits(settings: dict[str, Any]) -> None:
    """Settings that just fit are accepted, also the short ones of a test."""
    policy = TokenPolicy(**settings)
    assert {name: getattr(policy, name) for name in settings} == settings


@pytest.mark.parametrize("record", [TokenPolicy(), Platform()])
def test_settings_are_frozen(record: Any) -> None:
    """Nobody changes the settings of a running client."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, attrs.fields(type(record))[0].name, 1)


def test_policy_takes_keywords_only() -> None:
    """Eleven numbers in a row cannot be mixed up."""
    with pytest.raises(TypeError):
        TokenPolicy(10.0)  # type: ignore[call-arg]


def test_derived_policy_is_checked_too() -> None:
    """A changed copy obeys the same rules."""
    with pytest.raises(ConfigError):
        attrs.evolve(TokenPolicy(), lease=1.0)
