"""Settings: frozen records, checked once when they are made."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from wxmp.errors import ConfigError

__all__ = ["PRODUCTION", "Platform", "TokenPolicy"]

#: Seconds after which the old token of a planned rotation stops working.
PLATFORM_OVERLAP: Final = 300.0


@attrs.frozen
class Platform:
    """Where the platform answers: an address is data, so a local simulator is an argument and not a patch."""

    #: The server API.
    api: str = "https://api.weixin.qq.com"
    #: QR pictures.
    mp: str = "https://mp.weixin.qq.com"
    #: The OAuth consent page.
    open: str = "https://open.weixin.qq.com"


PRODUCTION: Final = Platform()


#: Sums of decimal fractions are off by less than this.
ROUNDING: Final = 1e-9


def positive(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no finite number above 0; a validator of attrs."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{attribute.name} must be a number above 0", field=attribute.name)


def positive_whole(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is no whole number above 0; a validator of attrs."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{attribute.name} must be a whole number above 0", field=attribute.name)


def _known_choice(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in ("auto", "local", "error"):
        raise ConfigError(f"{attribute.name} must be 'auto', 'local' or 'error'", field=attribute.name)


@attrs.frozen(kw_only=True)
class TokenPolicy:
    """When a shared token is looked up, renewed, waited for and given up (access_token 中控策略). All in seconds.

    The defaults suit production; they are relative to the life of a token, so short lives do not spin.
    """

    #: For how long one process may refresh before another takes over. At least twice ``request_timeout``.
    lease: float = attrs.field(default=10.0, validator=positive)
    #: Total time of one token request.
    request_timeout: float = attrs.field(default=5.0, validator=positive)
    #: Time to connect for a token request.
    connect_timeout: float = attrs.field(default=3.0, validator=positive)
    #: How often a busy process looks into the store (spread by 20 %, never above a fifth of ``overlap``).
    check_interval: float = attrs.field(default=30.0, validator=positive)
    #: How long a call waits when there is no usable token. At least ``lease`` + ``request_timeout``.
    wait_timeout: float = attrs.field(default=15.0, validator=positive)
    #: Total time of one store operation, connecting included.
    store_timeout: float = attrs.field(default=1.0, validator=positive)
    #: For how long an old token keeps working after a planned rotation.
    overlap: float = attrs.field(default=PLATFORM_OVERLAP, validator=positive)
    #: Channel ``plain`` and tickets: start refreshing at half of the life, and never earlier than this before the end.
    soft_window: float = attrs.field(default=3600.0, validator=positive)
    #: Channel ``stable``: start refreshing ``overlap`` minus 0 .. this before the end.
    soft_jitter: float = attrs.field(default=60.0, validator=positive)
    #: Stop using a token this long before its end (at most 5 % of its life).
    hard_window: float = attrs.field(default=60.0, validator=positive)
    #: Dead tokens that may be replaced in one go ...
    replacement_burst: int = attrs.field(default=10, validator=positive_whole)
    #: ... and the seconds until one more may be (600 for a test account with 200 token requests a day).
    replacement_refill: float = attrs.field(default=60.0, validator=positive)
    #: Without store and without a usable token: ``local`` fetches one for this process, ``error`` raises
    #: ``TokenStoreUnavailable``. ``auto`` is ``local`` on the stable channel, where everybody gets the same token, and
    #: ``error`` on the plain channel, where processes that fetch alone kill each other's tokens.
    on_store_down: Literal["auto", "local", "error"] = attrs.field(default="auto", validator=_known_choice)

    def __attrs_post_init__(self) -> None:
        if self.lease < 2 * self.request_timeout - ROUNDING:
            raise ConfigError(
                "lease must be at least twice request_timeout: the holder has to stop before it ends", field="lease"
            )
        if self.wait_timeout < self.lease + self.request_timeout - ROUNDING:
            raise ConfigError(
                "wait_timeout must be at least lease + request_timeout: waiters outlive a holder that dies",
                field="wait_timeout",
            )
        if self.lease > self.overlap / 2:
            raise ConfigError(
                "lease must be at most half of overlap: a takeover still has to find the old token alive", field="lease"
            )
