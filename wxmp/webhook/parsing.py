"""From the fields of a push to its record, and what makes two deliveries the same push (消息排重)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.errors import MalformedError
from wxmp.webhook.messages import MESSAGES, Message, UnknownMessage, read_integer, read_record, read_text

if TYPE_CHECKING:
    from wxmp.webhook.events import EventPush
    from wxmp.webhook.messages import Push
    from wxmp.webhook.reading import Fields

__all__ = ["event_class", "identity", "message_class", "read_push"]

EVENT: Final = "event"
#: The first second of the year 10000: what comes later is no time that Python knows.
TIME_END: Final = 253_402_300_800
#: Most characters of a name that an error shows.
NAME_SHOWN: Final = 40


def message_class(msg_type: str) -> type[Message] | None:
    """Return the class of a ``MsgType`` (消息类型), in any case; ``None`` for an unknown one and for ``event``."""
    return MESSAGES.get(msg_type) or MESSAGES.get(msg_type.strip().lower())


def event_class(name: str) -> type[EventPush] | None:
    """Return the class of an event (事件类型), in any case; ``None`` for an unknown one."""
    # Whoever only reads messages never pays for the classes of events.
    from wxmp.webhook.events import EVENTS

    return EVENTS.get(name.strip().lower())


def read_push(fields: Fields) -> Push:
    """Make the record of a push. Fields beyond the envelope may be missing or wrong: see ``wxmp.webhook.messages``.

    Args:
        fields: What ``wxmp.webhook.reading`` read; the record keeps it as ``raw``.

    Raises:
        MalformedError: There is no ``MsgType``, ``FromUserName``, ``ToUserName`` or readable ``CreateTime``: it is not
            a message or an event of an Official Account.
    """
    msg_type = read_text(fields.get("MsgType")) or ""
    cls: type[Push] | None = message_class(msg_type)
    if cls is None:
        kind = msg_type.strip().lower()
        if not kind:
            raise MalformedError(_no_message(fields))
        cls = _class_of_event(fields) if kind == EVENT else UnknownMessage
    push = read_record(cls, fields, {"raw": fields})
    if not push.from_user_name.strip():
        raise MalformedError("a push without FromUserName: nobody sent it")
    if not push.to_user_name.strip():
        raise MalformedError("a push without ToUserName: it is for no account")
    created = push.create_time
    # The record has 0 for a time that cannot be read.
    if not 0 <= created < TIME_END or (not created and read_integer(fields.get("CreateTime")) is None):
        raise MalformedError("a push without a CreateTime that can be read: it must be in seconds since 1970")
    return push


def identity(push: Push) -> str:
    """Return a text that all deliveries of one push share, and no other push has (消息排重).

    A message has its ``MsgId``; others may have the same one, so sender, receiver and time count too. An event has
    none, and within one second a user can cause several: there everything counts. The order of the fields does not.
    """
    if isinstance(push, Message) and push.msg_id:
        receiver, sender = push.to_user_name, push.from_user_name
        # With their lengths, so that no two pairs of names read the same.
        return f"{len(receiver)}:{receiver}{len(sender)}:{sender}{push.create_time}:{push.msg_id}"
    fields = push.raw or attrs.asdict(push)  # a record that a test made has no raw fields
    text = json.dumps(fields, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)
    return f"fields:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


def _class_of_event(fields: Fields) -> type[EventPush]:
    from wxmp.webhook.events import UnknownEvent

    return event_class(read_text(fields.get("Event")) or "") or UnknownEvent


def _no_message(fields: Fields) -> str:
    """Return what a push without a message type is."""
    notice = fields.get("InfoType")
    if notice is not None:
        name = f" ({notice[:NAME_SHOWN]!r})" if isinstance(notice, str) else ""
        return (
            f"a notice of a third-party platform (InfoType){name}, not an Official Account message: "
            "such notices go to an address of their own"
        )
    if read_text(fields.get("action")) == "CheckContainerPath":
        return "the probe that WeChat cloud hosting sends when a push path is saved (CheckContainerPath), not a message"
    return "a push without MsgType: neither a message nor an event"
