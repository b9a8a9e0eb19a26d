"""What the families do with an answer before it becomes a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.errors import ReplyError

if TYPE_CHECKING:
    from wxmp._caller import Endpoint
    from wxmp._wire import JsonObject

__all__ = ["field_of", "without_verdict"]


def field_of(reply: JsonObject, name: str, endpoint: Endpoint) -> object:
    """Return one field of an answer.

    Raises:
        ReplyError: It is not there, though the documentation says so.
    """
    try:
        return reply[name]
    except KeyError:
        raise ReplyError(
            f"the answer does not have the documented shape: {name} is missing", endpoint=endpoint.name
        ) from None


def without_verdict(reply: JsonObject) -> JsonObject:
    """Return an answer without ``errcode`` and ``errmsg``: they are judged, and no record has a place for them."""
    if "errcode" not in reply and "errmsg" not in reply:  # many successes carry no verdict at all
        return reply
    return {name: value for name, value in reply.items() if name not in ("errcode", "errmsg")}
