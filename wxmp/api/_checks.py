"""What the families check before a request goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp._caller import Endpoint

__all__ = ["OPENID_INVALID", "OPENID_LIST_LENGTH", "check_openid", "check_openids", "check_text", "refusal"]

#: An openid that cannot be one.
OPENID_INVALID: Final = 40003
#: A list of openids with a length the platform refuses.
OPENID_LIST_LENGTH: Final = 40032


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
    if max_bytes is not None:
        # A lone surrogate has no UTF-8 form; the encoder refuses it later with its own message.
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            problem = f"has {size} bytes in UTF-8; shorten it to {max_bytes} (a Chinese character has 3)"
            raise refusal(endpoint, field, too_long or errcode, problem)
    return value


def check_openid(endpoint: Endpoint, openid: object, *, field: str = "openid") -> str:
    """Return ``openid`` if it can be one.

    Raises:
        ArgumentError: It is no text, or empty (40003).
    """
    if type(openid) is str and openid and not openid.isspace():  # nearly always; a call costs this check each time
        return openid
    return check_text(endpoint, field, openid, errcode=OPENID_INVALID)


def check_openids(
    endpoint: Endpoint, openids: Iterable[str], *, field: str = "openids", empty: int = OPENID_LIST_LENGTH
) -> tuple[str, ...]:
    """Return the openids without repetitions, in their order.

    Args:
        endpoint: Where they would be sent.
        openids: What the user gave.
        field: The name of the argument, for the error.
        empty: The platform's code for a list with nothing in it.

    Raises:
        ArgumentError: There are none (40032), one of them cannot be an openid (40003), or it is one text, whose
            letters would be taken for openids.
    """
    if isinstance(openids, str | bytes):
        raise refusal(endpoint, field, OPENID_INVALID, "is one text; put the openid in a list")
    unique = tuple(dict.fromkeys(openids))
    if not unique:
        raise refusal(endpoint, field, empty, "is empty; leave the call out when there is nobody to name")
    for index, openid in enumerate(unique):
        check_openid(endpoint, openid, field=f"{field}[{index}]")
    return unique
