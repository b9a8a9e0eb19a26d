"""What the families check before a request goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxmp.errors import ArgumentError

if TYPE_CHECKING:
    from wxmp._caller import Endpoint

__all__ = [
    "LARGEST",
    "OPENID_INVALID",
    "OPENID_LIST_LENGTH",
    "check_address",
    "check_digits",
    "check_list",
    "check_number",
    "check_openid",
    "check_openids",
    "check_optional_text",
    "check_page",
    "check_text",
    "refusal",
]

#: An openid that cannot be one.
OPENID_INVALID: Final = 40003
#: A list of openids with a length the platform refuses.
OPENID_LIST_LENGTH: Final = 40032
#: The payload is not acceptable: a value of another type than the documented one.
TYPE_REFUSED: Final = 47001
#: The largest number that the platform can read; its numbers have 64 bits.
LARGEST: Final = 2**63 - 1
#: Digits of the longest number, unsigned.
LONGEST_DIGITS: Final = 20
#: Entries of a list that are taken. An iterator without end must not be what stops the whole program.
LONGEST: Final = 1_000_000


def refusal(endpoint: Endpoint, field: str, errcode: int, problem: str) -> ArgumentError:
    """Make the error for an argument that the platform would refuse with ``errcode``; the caller raises it."""
    return ArgumentError(errcode=errcode, errmsg=problem, endpoint=endpoint.name, field=field)


def check_text(
    endpoint: Endpoint,
    field: str,
    value: object,
    *,
    errcode: int,
    max_bytes: int | None = None,
    max_chars: int | None = None,
    max_wide: int | None = None,
    too_long: int | None = None,
) -> str:
    """Return ``value`` if it is a text with something in it that is not too long.

    Args:
        endpoint: Where it would be sent.
        field: The path of the argument, for the error.
        value: What the user gave.
        errcode: The platform's code for an empty one.
        max_bytes: Most bytes in UTF-8.
        max_chars: Most characters.
        max_wide: Most characters as the platform's console counts them (字): two of ASCII are one. Whether the
            interface counts so, too, is not documented, and this way nothing is refused that fits one of the readings.
        too_long: The platform's code for a long one; ``errcode`` if absent.

    Raises:
        ArgumentError: It is no text, empty, or too long.
    """
    if not isinstance(value, str):
        raise refusal(endpoint, field, errcode, f"must be a text, not {type(value).__name__}")
    if not value.strip():
        raise refusal(endpoint, field, errcode, "is needed and must not be empty")
    if max_chars is not None and len(value) > max_chars:
        problem = f"has {len(value)} characters; shorten it to {max_chars}"
        raise refusal(endpoint, field, too_long or errcode, problem)
    if max_wide is not None and len(value) > max_wide:
        wide = (len(value) + sum([not char.isascii() for char in value]) + 1) // 2
        if wide > max_wide:
            problem = f"has {wide} characters, letters of ASCII counted as halves; shorten it to {max_wide}"
            raise refusal(endpoint, field, too_long or errcode, problem)
    if max_bytes is not None:
        # A lone surrogate has no UTF-8 form; the encoder refuses it later with its own message.
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            problem = f"has {size} bytes in UTF-8; shorten it to {max_bytes} (a Chinese character has 3)"
            raise refusal(endpoint, field, too_long or errcode, problem)
    return value


def check_optional_text(endpoint: Endpoint, field: str, value: object) -> str:
    """Return ``value`` if it is a text, which may be empty.

    Raises:
        ArgumentError: It is none (47001).
    """
    if not isinstance(value, str):
        raise refusal(endpoint, field, TYPE_REFUSED, f"must be a text, not {type(value).__name__}")
    return value


def check_number(
    endpoint: Endpoint,
    field: str,
    value: object,
    *,
    errcode: int,
    problem: str = "",
    least: int = 0,
    most: int = LARGEST,
) -> int:
    """Return ``value`` if it is a whole number within its limits; ``True`` and ``1.0`` are none.

    Args:
        endpoint: Where it would be sent.
        field: The path of the argument, for the error.
        value: What the user gave.
        errcode: The platform's code for a wrong one.
        problem: What it must be, in other words than its limits.
        least: The smallest one.
        most: The largest one.

    Raises:
        ArgumentError: It is no number, or out of its range.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        limits = f"{least} or more" if most == LARGEST else f"{least} to {most}"
        raise refusal(endpoint, field, errcode, problem or f"must be a whole number, {limits}")
    return value


def check_page(endpoint: Endpoint, offset: object, count: object, *, most: int, errcode: int) -> None:
    """Check the place and the size of a page of a list that is read by position.

    Args:
        endpoint: Where it would be sent.
        offset: Entries to leave out.
        count: Entries on the page.
        most: The most of them.
        errcode: The platform's code for both.

    Raises:
        ArgumentError: One of them is no number, or out of its range.
    """
    check_number(endpoint, "offset", offset, errcode=errcode)
    check_number(endpoint, "count", count, errcode=errcode, least=1, most=most)


def check_address(endpoint: Endpoint, field: str, value: object, *, errcode: int) -> str:
    """Return ``value`` if it is the address of a page.

    Raises:
        ArgumentError: It has another scheme than http and https, no host, or is encoded already.
    """
    text = check_text(endpoint, field, value, errcode=errcode)
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or not text.isprintable() or " " in text:
        problem = "must be the whole address of your page, http:// or https://, not encoded"
        raise refusal(endpoint, field, errcode, problem)
    return text


def check_digits(endpoint: Endpoint, field: str, value: object, *, errcode: int, problem: str) -> str:
    """Return the digits of a number that may be given as a number or as a text.

    Args:
        endpoint: Where it would be sent.
        field: The path of the argument, for the error.
        value: What the user gave.
        errcode: The platform's code for a wrong one.
        problem: What it must be.

    Raises:
        ArgumentError: It is neither, or below 0, or longer than any number of the platform.
    """
    if isinstance(value, str) and len(value) <= LONGEST_DIGITS and value.isascii() and value.isdigit():
        return str(value)
    return str(check_number(endpoint, field, value, errcode=errcode, problem=problem))


def check_list(endpoint: Endpoint, field: str, values: object, *, errcode: int) -> tuple[object, ...]:
    """Return the entries of a list, or of anything else that gives entries.

    Args:
        endpoint: Where they would be sent.
        field: The name of the argument, for the error.
        values: What the user gave.
        errcode: The platform's code for what is no list.

    Raises:
        ArgumentError: It is a text or bytes, whose letters would be taken for entries, or a mapping, whose values would
            be lost; it is no list at all, or has more than a million entries.
    """
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        kind = "one text" if isinstance(values, str) else f"no list but {type(values).__name__}"
        raise refusal(endpoint, field, errcode, f"is {kind}; put what you mean in a list")
    entries = tuple(islice(values, LONGEST + 1))
    if len(entries) > LONGEST:
        raise refusal(endpoint, field, errcode, f"has more than {LONGEST} entries; cut it into parts")
    return entries


def check_openid(endpoint: Endpoint, openid: object, *, field: str = "openid") -> str:
    """Return ``openid`` if it can be one.

    Raises:
        ArgumentError: It is no text, or empty (40003).
    """
    if type(openid) is str and openid and not openid.isspace():  # nearly always; a call costs this check each time
        return openid
    return check_text(endpoint, field, openid, errcode=OPENID_INVALID)


def check_openids(endpoint: Endpoint, openids: Iterable[str], *, empty: int = OPENID_LIST_LENGTH) -> tuple[str, ...]:
    """Return the openids without repetitions, in their order.

    Args:
        endpoint: Where they would be sent.
        openids: What the user gave.
        empty: The platform's code for a list with nothing in it.

    Raises:
        ArgumentError: There are none (40032), one of them cannot be an openid (40003), or it is one text, whose
            letters would be taken for openids.
    """
    unique = dict.fromkeys(
        [
            check_openid(endpoint, openid, field=f"openids[{index}]")
            for index, openid in enumerate(check_list(endpoint, "openids", openids, errcode=OPENID_INVALID))
        ]
    )
    if not unique:
        raise refusal(endpoint, "openids", empty, "is empty; leave the call out when there is nobody to name")
    return tuple(unique)
