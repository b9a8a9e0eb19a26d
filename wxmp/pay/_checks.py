"""What the payment families check before a request goes out, and of what comes back.

All but the last two raise :class:`~wxmp.errors.ConfigError` with the argument's name and the remedy. No message holds a
value: an openid, a name or a bank account has no place in a log.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import urlsplit

from wxmp._hosts import is_loopback
from wxmp._wire import dumps
from wxmp.errors import ConfigError, PayMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = [
    "ENC_BYTES",
    "OPENID_CHARS",
    "about",
    "app_id",
    "bill_date",
    "choice",
    "client_ip",
    "compact",
    "compact_size",
    "compare",
    "count",
    "fen",
    "flag",
    "instant",
    "notify_address",
    "number",
    "one_of",
    "optional_text",
    "refusal",
    "sized",
    "text",
]

T = TypeVar("T")

#: Numbers that merchants choose, by the kinds that the documents distinguish.
NUMBERS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "out_trade_no": (re.compile(r"[0-9A-Za-z_\-|*]{6,32}"), "6 to 32 of the characters 0-9 A-Z a-z _ - | *"),
    # An order that is there may be older than the rule for new ones: V2 had shorter numbers, and the @.
    "placed_order": (re.compile(r"[0-9A-Za-z_\-|*@]{1,32}"), "1 to 32 of the characters 0-9 A-Z a-z _ - | * @"),
    "out_refund_no": (re.compile(r"[0-9A-Za-z_\-|*@]{1,64}"), "1 to 64 of the characters 0-9 A-Z a-z _ - | * @"),
    "out_bill_no": (re.compile(r"[0-9A-Za-z]{1,32}"), "1 to 32 letters and digits, nothing else"),
    "transaction_id": (re.compile(r"[0-9A-Za-z]{1,32}"), "the platform's number as it gave it: text, up to 32 digits"),
}
#: Four-byte characters do not fit the platform's tables; half a surrogate pair has no UTF-8 form at all.
_WIDE: Final = re.compile("[\U00010000-\U0010ffff\ud800-\udfff]")
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]")
#: One value of RSA-OAEP under a key of 2048 bits.
ENC_BYTES: Final = 214
OPENID_CHARS: Final = 128
NOTIFY_URL_CHARS: Final = 255
IP_CHARS: Final = 45


def refusal(field: str, problem: str) -> ConfigError:
    """Make the error for an argument that cannot work; the caller raises it."""
    return ConfigError(f"{field} {problem}", field=field)


def text(field: str, value: object, *, max_chars: int, max_bytes: int | None = None) -> str:
    """Return ``value`` if it is a text with something in it that the platform can store.

    Raises:
        ConfigError: It is no text, empty, too long, or holds a character of four bytes.
    """
    if not isinstance(value, str):
        raise refusal(field, f"must be a text, not {type(value).__name__}")
    if not value.strip():
        raise refusal(field, "is needed and must not be empty")
    if _WIDE.search(value):
        raise refusal(field, "holds a character of four bytes (an emoji or a rare hanzi), which is refused: remove it")
    if len(value) > max_chars:
        raise refusal(field, f"has {len(value)} characters; shorten it to {max_chars}")
    if max_bytes is not None:
        sized(field, value, max_bytes)
    return str(value)


def optional_text(field: str, value: object, *, max_chars: int) -> str | None:
    """Return a text as :func:`text` does, or ``None``: the platform wants absent members left out."""
    return None if value is None else text(field, value, max_chars=max_chars)


def sized(field: str, value: str, max_bytes: int) -> str:
    """Return ``value`` if its UTF-8 form is not too long.

    Raises:
        ConfigError: It is.
    """
    size = len(value.encode())
    if size > max_bytes:
        raise refusal(field, f"has {size} bytes in UTF-8; shorten it to {max_bytes} (a Chinese character has 3)")
    return value


def number(
    field: str,
    value: object,
    *,
    kind: Literal["out_trade_no", "placed_order", "out_refund_no", "out_bill_no", "transaction_id"] | None = None,
) -> str:
    """Return a merchant's number (商户单号) if it has the documented form.

    Raises:
        ConfigError: It has not.
    """
    pattern, form = NUMBERS[kind or field]
    if not isinstance(value, str):
        raise refusal(field, f"must be a text, not {type(value).__name__}")
    if not pattern.fullmatch(value):
        raise refusal(field, f"must be {form}")
    return str(value)


def _whole(field: str, value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        # A float is nearly an amount, which is worse than none at all.
        raise refusal(field, f"must be {what} as an int, not {type(value).__name__}")
    return int(value)


def fen(field: str, value: object, *, least: int = 1) -> int:
    """Return an amount of money in fen.

    Raises:
        ConfigError: It is no ``int`` (``bool``, ``float``, ``Decimal`` and text are none), or below ``least``.
    """
    amount = _whole(field, value, "a number of fen (1/100 CNY)")
    if amount < least:
        raise refusal(field, f"must be {least} fen or more")
    return amount


def count(field: str, value: object, *, least: int = 1) -> int:
    """Return a number of things.

    Raises:
        ConfigError: It is no ``int``, or below ``least``.
    """
    found = _whole(field, value, "a whole number")
    if found < least:
        raise refusal(field, f"must be {least} or more")
    return found


def flag(field: str, value: object) -> bool:
    """Return a truth value.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, bool):
        raise refusal(field, f"must be True or False, not {type(value).__name__}")
    return value


def choice(field: str, value: object, known: Iterable[str]) -> str:
    """Return one of a closed set of words.

    Raises:
        ConfigError: It is none of them.
    """
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise refusal(field, f"must be one of {', '.join(words)}")
    return str(value)


def one_of(**given: T | None) -> tuple[str, T]:
    """Return name and value of the only argument that is there.

    Raises:
        ConfigError: There is none, or more than one.
    """
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise ConfigError(f"give exactly one of {', '.join(given)}", field=next(iter(given)))
    return found[0]


def instant(field: str, value: object) -> str:
    """Write a time the way the platform wants it: RFC 3339 with its offset, whole seconds.

    Raises:
        ConfigError: It is no ``datetime``, or has no time zone.
    """
    if not isinstance(value, datetime):
        raise refusal(field, f"must be a datetime, not {type(value).__name__}")
    offset = value.utcoffset()
    if offset is None:
        raise refusal(field, "has no time zone; use datetime.now(UTC) + timedelta(minutes=30) or the like")
    if offset % timedelta(minutes=1):
        value = value.astimezone(UTC)  # RFC 3339 has no offsets with seconds
    return value.isoformat(timespec="seconds")


def bill_date(field: str, value: object) -> str:
    """Write the day of a bill.

    Raises:
        ConfigError: It is neither a ``date`` nor ``yyyy-MM-dd``.
    """
    # A datetime is a date too, but its day depends on the time zone: the platform's day is Beijing's.
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise refusal(field, "must be a date, or a text like 2026-01-31: the day in Beijing")


def client_ip(field: str, value: object) -> str:
    """Return the address of a payer's device.

    Raises:
        ConfigError: It is no IPv4 or IPv6 address.
    """
    given = text(field, value, max_chars=IP_CHARS)
    try:
        ip_address(given)
    except ValueError:
        raise refusal(field, "must be an IPv4 or IPv6 address") from None
    return given


def notify_address(field: str, value: object) -> str:
    """Return an address that WeChat can call (通知地址): https, no query; http for this machine only.

    Raises:
        ConfigError: WeChat would not call it.
    """
    given = text(field, value, max_chars=NOTIFY_URL_CHARS)
    if _BLANK.search(given):
        raise refusal(field, "must not hold blanks or control characters")
    try:
        parts = urlsplit(given)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise refusal(field, "must be an address like https://shop.example.com/pay") from None
    if not host or parts.scheme not in ("https", "http"):
        raise refusal(field, "must be an address like https://shop.example.com/pay")
    # Nothing of ours goes to this address, so names below localhost, which browsers and WeChat resolve, are fine too.
    if parts.scheme == "http" and not is_loopback(host) and not host.endswith(".localhost"):
        raise refusal(field, "must begin with https:// (http is for a local simulator only)")
    if "?" in given or "#" in given:
        raise refusal(field, "must have no query and no fragment: put what you need to know into attach")
    if parts.username is not None or parts.password is not None:
        raise refusal(field, "must hold no user name and no password: WeChat does not log in")
    return given


def compact(members: Mapping[str, T]) -> dict[str, T]:
    """Leave out absent members, and objects and lists with nothing in them: the platform wants no ``null``."""
    return {name: value for name, value in members.items() if value is not None and value not in ({}, [])}


def compact_size(value: object) -> int:
    """Return the bytes of the JSON form, without blanks."""
    return len(dumps(value))


def app_id(field: str, value: str | None, default: str | None) -> str:
    """Return the AppID given, or the client's.

    Raises:
        ConfigError: There is neither.
    """
    own = value if value is not None else default
    if own is None:
        raise refusal(field, "is needed: give it here, or to the client for all calls")
    return text(field, own, max_chars=32)


def about(field: str, asked: str, answered: str | None) -> None:
    """Check that an answer is about the number that was asked for.

    Its signature does not say so: it covers the answer alone, and would fit under another question as well.

    Raises:
        PayMismatchError: It names another number.
    """
    if answered and answered != asked:
        raise PayMismatchError(f"the answer is about another {field} than was asked for: query again", field=field)


def compare(what: str, *checks: tuple[str, object, object]) -> None:
    """Compare what the platform says with the caller's own record: field by field, expected and found.

    Raises:
        PayMismatchError: They differ, or there is no such field.
        ConfigError: What is expected is empty, or an amount that is no whole number of fen.
    """
    for field, expected, _ in checks:
        if field.endswith("_fen"):
            # True == 1 and 1.0 == 1: a comparison alone would let an amount of the wrong make pass.
            if not isinstance(expected, int) or isinstance(expected, bool):
                raise ConfigError(f"{field} must be a whole number of fen", field=field)
        elif not expected:
            # An empty text would equal a field that is not there.
            raise ConfigError(f"{field} is needed: give what your own record says", field=field)
    for field, expected, found in checks:
        if expected != found:
            raise PayMismatchError(f"{what} has another {field} than your own record", field=field)
