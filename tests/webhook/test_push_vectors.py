"""Payloads of other implementations: what they expect must stand in our records."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from wxmp._wire import WIRE_NAME
from wxmp.webhook.events import UnknownEvent
from wxmp.webhook.messages import Push, UnknownMessage
from wxmp.webhook.parsing import event_class, message_class, read_push
from wxmp.webhook.reading import read_xml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("WXMP_VECTORS") or ROOT.parent / "shared" / "vectors")
FILE = FOLDER / "payloads_peers.json"
PAYLOADS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["payloads"] if FILE.is_file() else []
WITHOUT = f"the known answers of other implementations are not here: no {FILE.name} beside the project"

#: Wrappers that our records do without: name on the wire -> name of the list inside.
UNWRAPPED = dict.fromkeys(("SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent", "SubscribeMsgSentEvent"), "List")


def on_the_wire(value: Any) -> Any:
    """An attribute as the platform's documents type it: seconds, 0 and 1, objects, lists."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple):
        return [on_the_wire(entry) for entry in value]
    if attrs.has(type(value)):
        return {
            field.metadata[WIRE_NAME]: on_the_wire(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if WIRE_NAME in field.metadata
        }
    return value


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where a value is not the expected one; what is not expected may be anything."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [line for name in expected for line in differences(expected[name], found.get(name), f"{path}/{name}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for number, (one, other) in enumerate(zip(expected, found, strict=True))
            for line in differences(one, other, f"{path}/{number}")
        ]
    same = expected == found and type(expected) is type(found)
    # A time of 0 is no time, and flags in words are flags.
    same = same or (expected == 0 and found is None and path.endswith("Time"))
    same = same or (expected in ("true", "false") and found == int(expected == "true"))
    # One number, which our calls spell as a text because it is one in their answers.
    same = same or (path.endswith("/publish_id") and str(expected) == found)
    return [] if same else [f"{path}: expected {expected!r}, found {found!r}"]


@pytest.mark.skipif(not PAYLOADS, reason=WITHOUT)
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: str(payload["id"]))
def test_a_payload_gives_what_others_expect(payload: dict[str, Any]) -> None:
    """Each expected value is an attribute of the record; fields the record does not know are in extra."""
    push = read_push(read_xml(payload["xml"].encode()))

    known: dict[str, Any] = on_the_wire(push)
    for name, inner in UNWRAPPED.items():
        if name in known:
            known[name] = {inner: known[name]}
    for field in attrs.fields(type(push)):
        for alias in field.metadata.get("wxmp.webhook.aliases", ()):
            if alias in push.raw:
                known[alias] = on_the_wire(getattr(push, field.name))
    assert differences(payload["expected"], {**push.extra, **known}) == []


@pytest.mark.skipif(not PAYLOADS, reason=WITHOUT)
def test_payloads_are_known_kinds() -> None:
    """Only what others made up to be unknown is unknown to us."""
    pushes: list[Push] = [read_push(read_xml(payload["xml"].encode())) for payload in PAYLOADS]
    unknown = {push.event or push.msg_type for push in pushes if isinstance(push, UnknownMessage | UnknownEvent)}

    assert len(pushes) >= 110
    assert unknown == {"notsure", "unknown"}
    assert len({type(push) for push in pushes}) > 60
    assert all(event_class(name) is None and message_class(name) is None for name in unknown)
