"""What a push looks like on the wire: XML with CDATA, or JSON with the oddities of the platform's JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wxmp.simulator.wire import JsonObject, as_list, as_object, dump_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PushFormat", "push_body", "sealed_body"]

PushFormat: TypeAlias = Literal["xml", "json"]

# What XML 1.0 cannot carry; phones send such characters now and then, and the platform drops them.
FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# These events wrap their list in XML; in JSON the wrapper is gone and CreateTime and all numbers are texts.
SUBSCRIBE_MESSAGE: Final[Mapping[str, str]] = {
    "subscribe_msg_popup_event": "SubscribeMsgPopupEvent",
    "subscribe_msg_change_event": "SubscribeMsgChangeEvent",
    "subscribe_msg_sent_event": "SubscribeMsgSentEvent",
}
# The numbers of these events are texts in JSON.
NUMBERS_AS_TEXT: Final = frozenset({"MASSSENDJOBFINISH"})


def push_body(fields: Mapping[str, object], form: PushFormat, encrypt: str | None = None) -> bytes:
    """Write a push; with ``encrypt`` the cipher text stands beside the fields (compatible mode)."""
    whole: JsonObject = dict(fields) if form == "xml" else json_fields(fields)
    if encrypt is not None:
        whole["Encrypt"] = encrypt
    if form == "json":
        # Broken text of a phone arrives as question marks.
        return dump_json(whole).decode("utf-8", errors="surrogatepass").encode("utf-8", errors="replace")
    return f"<xml>{''.join(element(name, value) for name, value in whole.items())}</xml>".encode()


def sealed_body(to_user_name: str, encrypt: str, form: PushFormat) -> bytes:
    """Write what safe mode shows to the outside: the account, and the cipher text."""
    return push_body({"ToUserName": to_user_name, "Encrypt": encrypt}, form)


def element(name: str, value: object) -> str:
    """Write one element: numbers bare, texts in CDATA, objects nested, each value of a list as an element of its own.

    Characters that XML cannot carry are dropped.
    """
    values = as_list(value)
    if values is not None:
        return "".join(element(name, item) for item in values)
    inner = as_object(value)
    if inner is not None:
        return f"<{name}>{''.join(element(key, item) for key, item in inner.items())}</{name}>"
    if isinstance(value, int | float):
        return f"<{name}>{value:d}</{name}>" if isinstance(value, int) else f"<{name}>{value!r}</{name}>"
    text = FORBIDDEN.sub("", "" if value is None else str(value))
    # A closing bracket inside the text would end the section: it travels in two sections.
    return f"<{name}><![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>"


def json_fields(fields: Mapping[str, object]) -> JsonObject:
    """Return the fields as the platform's JSON has them."""
    event = str(fields.get("Event", ""))
    wrapper = SUBSCRIBE_MESSAGE.get(event)
    shown: JsonObject = {}
    for name, value in fields.items():
        if name == wrapper:
            shown.update(unwrap(value))
        elif wrapper is not None or event in NUMBERS_AS_TEXT:
            shown[name] = as_text(value)
        else:
            shown[name] = value
    return shown


def unwrap(value: object) -> JsonObject:
    """Return the ``List`` of a subscribe-message event: an array of several entries, a bare object for one."""
    entries = (as_object(value) or {}).get("List", [])
    several = as_list(entries)
    shown = [as_text(entry) for entry in (several if several is not None else [entries])]
    return {"List": shown[0] if len(shown) == 1 else shown}


def as_text(value: object) -> object:
    """Turn numbers into texts, inside objects and lists too."""
    inner = as_object(value)
    if inner is not None:
        return {name: as_text(item) for name, item in inner.items()}
    values = as_list(value)
    if values is not None:
        return [as_text(item) for item in values]
    return str(value) if isinstance(value, int | float) else value
