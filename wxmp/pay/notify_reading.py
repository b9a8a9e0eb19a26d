"""The envelope of a notice (通知报文): JSON that is read strictly, because what is in it decides about money.

Nothing here looks at a signature. What comes here was signed by WeChat Pay, and is refused all the same when it is not
what the documents say: two readers of a doubled name could each see another value.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._wire import JsonObject, has_utf8
from wxmp.errors import MalformedError

if TYPE_CHECKING:
    from wxmp._wire import JsonValue

__all__ = ["Envelope", "read_envelope", "read_object"]

#: Levels of objects and lists, one within the other. The documents need seven.
MAX_DEPTH: Final = 32
#: Characters of an id. The documents say 36.
ID_CHARS: Final = 128
#: Characters of an event type. The documents say 32, and name longer ones.
TYPE_CHARS: Final = 128
#: Characters of a cipher text, and of the data that belongs to it.
CIPHERTEXT_CHARS: Final = 1 << 20
ASSOCIATED_CHARS: Final = 256
NONCE_CHARS: Final = 12

RESOURCE_TYPE: Final = "encrypt-resource"
ALGORITHM: Final = "AEAD_AES_256_GCM"

#: Both go into keys and log lines.
_ID: Final = re.compile(rf"[!-~]{{1,{ID_CHARS}}}")
_TYPE: Final = re.compile(rf"[0-9A-Za-z_.-]{{1,{TYPE_CHARS}}}")


@attrs.frozen
class Envelope:
    """What is outside of the encryption."""

    id: str
    create_time: datetime
    event_type: str
    summary: str = attrs.field(repr=False)
    original_type: str
    #: What is encrypted, and how.
    resource: JsonObject = attrs.field(repr=False)


class _RefusedError(ValueError):
    """Why the JSON is refused. The text holds nothing of it."""


def _unique(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("a name stands twice in one object")
    return found


def _refuse_constant(_: str) -> None:
    raise _RefusedError("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedError("a number is out of range")
    return value


# Not strict about control characters within texts: users write what they like.
_DECODER: Final = json.JSONDecoder(
    strict=False, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)


def read_object(text: bytes, what: str) -> JsonObject:
    """Read a JSON object.

    Args:
        text: UTF-8.
        what: What it is, for the error.

    Raises:
        MalformedError: It is not JSON, no object, nested too deep, or has a name twice in one object.
    """
    try:
        value = _DECODER.decode(text.decode("utf-8"))
        if not isinstance(value, dict):
            problem = "is no JSON object"
        elif _depth_exceeds(value, MAX_DEPTH):
            problem = f"is nested more than {MAX_DEPTH} levels deep"
        else:
            return value
    except _RefusedError as error:
        problem = f"is refused: {error}"
    except RecursionError:
        problem = f"is nested more than {MAX_DEPTH} levels deep"
    except ValueError:
        problem = "is not JSON in UTF-8"
    # Raised here and not above: the exception in flight there holds the whole text, and would stay attached.
    raise MalformedError(f"{what} {problem}")


def _depth_exceeds(value: JsonObject, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def read_envelope(body: bytes) -> Envelope:
    """Read the envelope of a notice whose signature has been verified.

    Raises:
        MalformedError: It is not what the documents say; the message names the field and never its value.
    """
    outer = read_object(body, "the notice")
    resource = outer.get("resource")
    if not isinstance(resource, dict):
        raise MalformedError("the notice has no resource")
    if _text(outer, "resource_type") != RESOURCE_TYPE:
        raise MalformedError(f"resource_type is not {RESOURCE_TYPE}")
    algorithm = _text(resource, "resource.algorithm")
    if algorithm != ALGORITHM:
        # The one for merchants with the keys of the national cryptography (国密) is AEAD_SM4_GCM.
        raise MalformedError(f"resource.algorithm is not {ALGORITHM}: another encryption is not supported")
    event_type = _text(outer, "event_type")
    if _TYPE.fullmatch(event_type) is None:
        raise MalformedError("event_type is no name of an event")
    notice_id = _text(outer, "id")
    if _ID.fullmatch(notice_id) is None:
        raise MalformedError(f"id is not 1 to {ID_CHARS} printable characters of ASCII")
    nonce = _text(resource, "resource.nonce")
    if len(nonce) != NONCE_CHARS or not nonce.isascii():
        raise MalformedError(f"resource.nonce is not {NONCE_CHARS} characters of ASCII")
    return Envelope(
        id=notice_id,
        create_time=_instant(_text(outer, "create_time")),
        event_type=event_type,
        summary=_text(outer, "summary", absent=""),
        original_type=_text(resource, "resource.original_type", absent=""),
        resource={
            "algorithm": algorithm,
            "ciphertext": _text(resource, "resource.ciphertext", most=CIPHERTEXT_CHARS),
            "nonce": nonce,
            # Absent, null and empty are all nothing.
            "associated_data": _text(resource, "resource.associated_data", most=ASSOCIATED_CHARS, absent=""),
        },
    )


def _text(holder: JsonObject, place: str, *, most: int = 1024, absent: str | None = None) -> str:
    value = holder.get(place.rpartition(".")[2])
    if value is None and absent is not None:
        return absent
    if not isinstance(value, str):
        raise MalformedError(f"{place} is {'missing' if value is None else 'no text'}")
    if not value and absent is None:
        raise MalformedError(f"{place} is empty")
    if len(value) > most:
        raise MalformedError(f"{place} is longer than {most} characters")
    if not has_utf8(value):
        raise MalformedError(f"{place} holds half a surrogate pair")
    return value


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise MalformedError("create_time is no time with an offset")
