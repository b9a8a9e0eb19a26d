"""What an account sends unasked, and the permission for it: broadcasts, subscription notices, short keys.

The records stand here together with the rules that only look at them; the families act by them. Nothing here may import
``state``, which holds the records.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp.simulator.library import Article
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.policy import Policy
    from wxmp.simulator.state import Account
    from wxmp.simulator.world import World

__all__ = [
    "Broadcast",
    "Consent",
    "OneTimeConsent",
    "Outreach",
    "Recording",
    "ShortKey",
    "SubscribeTemplate",
    "answer_popup",
    "change_subscription",
    "decide",
    "find_broadcast",
    "one_time_template",
    "read_marker",
]

ACCEPT: Final = "accept"
REJECT: Final = "reject"


@attrs.define
class Broadcast:
    """One mass send.

    Attributes:
        msg_id: The task's id.
        msg_data_id: The id that articles are counted and commented under; ``None`` for other kinds.
        at: When it was asked for.
        kind: The message type.
        content: The message's own object, as it came.
        text: What a chat shows of it in one line.
        audience: Whom it is for.
        openids: The listed receivers; empty for the other audiences.
        tag_id: The tag, where the audience is one.
        client_id: What recognises a repetition.
        state: ``"approval"``: waits for the administrator. ``"deleted"``: sent, then withdrawn.
        status: The outcome as the report says it.
        articles: The articles, for an article message.
        urls: Where they can be read.
        removed: Which of them were withdrawn, counted from 1.
    """

    msg_id: int
    msg_data_id: int | None
    at: float
    kind: str
    content: JsonObject
    text: str
    audience: Literal["all", "tag", "list"]
    openids: list[str] = attrs.field(factory=list[str], repr=False)
    tag_id: int | None = None
    client_id: str = ""
    ignore_reprint: bool = False
    state: Literal["approval", "sending", "sent", "failed", "deleted"] = "sending"
    status: str = ""
    articles: list[Article] = attrs.field(factory=list[Article], repr=False)
    urls: list[str] = attrs.field(factory=list[str])
    removed: list[int] = attrs.field(factory=list[int])
    total: int = 0
    filtered: int = 0
    sent: int = 0
    errors: int = 0


@attrs.define
class SubscribeTemplate:
    """A subscription template in the account's own list.

    Attributes:
        kind: 2 for one send per consent, 3 for a lasting consent.
        restricted: Whether the platform holds its delivery back (43116).
    """

    template_id: str
    tid: int
    title: str
    content: str
    example: str
    kind: int
    keywords: list[int]
    scene: str = ""
    values: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]])
    restricted: bool = False


@attrs.define
class Consent:
    """What a user allowed for one subscription template.

    Attributes:
        left: Sends that are paid for by an "accept".
        lasting: Whether the consent is not used up.
        refused: Whether the user switched the template off.
    """

    left: int = 0
    lasting: bool = False
    refused: bool = False


@attrs.define
class OneTimeConsent:
    """A consent to one message, given on the page of the old one-time subscription."""

    openid: str
    template_id: str
    scene: int
    at: float


@attrs.define
class ShortKey:
    """Data behind a short key."""

    data: str
    created_at: float
    expires_at: float


@attrs.define
class Recording:
    """Speech that was uploaded to be made into text."""

    text: str
    at: float


@attrs.define
class Outreach:
    """All of it, for one account.

    Attributes:
        protected: Whether a send to everybody waits for the administrator (API mass-send protection).
        speed: The sending speed, 0 (fastest) to 4.
        taken: How many mass messages each user has received in the month ``taken_month``.
        videos: Videos made ready for a mass send, by ``media_id``.
        categories: The ids of the account's categories; ``None`` for all there are.
        banned: Whether the account may not use subscription templates (200011).
        consents: By openid and template id.
        autoreply: The answer of the auto-reply interface; what it does not name is filled in.
    """

    protected: bool = False
    speed: int = 0
    broadcasts: dict[int, Broadcast] = attrs.field(factory=dict[int, Broadcast], repr=False)
    msg_serial: int = 1_000_000_000
    taken: dict[str, int] = attrs.field(factory=dict[str, int], repr=False)
    taken_month: int = 0
    videos: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject], repr=False)
    previews_day: int = 0
    previews: int = 0
    categories: list[int] | None = None
    banned: bool = False
    templates: dict[str, SubscribeTemplate] = attrs.field(factory=dict[str, SubscribeTemplate], repr=False)
    consents: dict[str, dict[str, Consent]] = attrs.field(factory=dict[str, dict[str, Consent]], repr=False)
    one_time: list[OneTimeConsent] = attrs.field(factory=list[OneTimeConsent], repr=False)
    short_keys: dict[str, ShortKey] = attrs.field(factory=dict[str, ShortKey], repr=False)
    recordings: dict[str, Recording] = attrs.field(factory=dict[str, Recording], repr=False)
    autoreply: JsonObject = attrs.field(factory=dict[str, object], repr=False)


# --- broadcasts ---------------------------------------------------------------------------------------------------


def find_broadcast(account: Account, msg_id: object) -> Broadcast | None:
    """Find a mass send by its task id, as a number or as text."""
    if isinstance(msg_id, str):
        msg_id = int(msg_id) if re.fullmatch(r"[0-9]{1,19}", msg_id) else None
    return account.outreach.broadcasts.get(msg_id) if isinstance(msg_id, int) else None


def decide(world: World, account: Account, msg_id: int | str, approve: bool) -> Broadcast:
    """Play the administrator: let a protected mass send go, or refuse it.

    Args:
        world: The world.
        account: Whose mass send.
        msg_id: Its task id.
        approve: ``False`` makes it fail with ``err(40001)``.

    Raises:
        WorldError: No such mass send waits for a decision.
    """
    with world.lock:
        world.run_due()
        found = find_broadcast(account, msg_id)
        if found is None or found.state != "approval":
            raise WorldError("no such mass send waits for the administrator")
        kind = "mass_send" if approve else "mass_refused"
        found.state = "sending"
        world.schedule(0.0, kind, account, {"msg_id": found.msg_id})
        world.run_due()
        world.announce()
        return found


def read_marker(policy: Policy, text: str) -> int | None:
    """Return the verdict of the content check on a text: the code of its marker or its first bad word."""
    match = re.search(policy.mass_marker, text)
    if match is not None:
        return int(match.group(1))
    return next((code for word, code in policy.mass_bad_words.items() if word in text), None)


# --- subscription notices -----------------------------------------------------------------------------------------


def answer_popup(
    policy: Policy, account: Account, openid: str, choices: Mapping[str, str], scene: int = 1
) -> JsonObject:
    """Let a user answer the consent popup; return the event that tells of it.

    Args:
        policy: The adjustable rules.
        account: The account.
        openid: The user.
        choices: ``"accept"`` or ``"reject"`` for each template id shown.
        scene: Where the popup stood: 1 a web page, 2 an article.

    Raises:
        WorldError: Such a popup cannot be.
    """
    if not 1 <= len(choices) <= policy.subscribe_popup_templates:
        raise WorldError(f"a popup shows 1 to {policy.subscribe_popup_templates} templates")
    for template_id, choice in choices.items():
        if template_id not in account.outreach.templates:
            raise WorldError("the account has no such subscription template")
        if choice not in {ACCEPT, REJECT}:
            raise WorldError("a choice is accept or reject")
    entries: list[JsonObject] = []
    for template_id, choice in choices.items():
        template = account.outreach.templates[template_id]
        consent = account.outreach.consents.setdefault(openid, {}).setdefault(template_id, Consent())
        if choice == ACCEPT:
            consent.refused = False
            consent.lasting = template.kind in policy.subscribe_lasting_kinds
            consent.left = consent.left + 1 if policy.subscribe_accepts_add_up else 1
        entries.append({"TemplateId": template_id, "SubscribeStatusString": choice, "PopupScene": scene})
    return {"MsgType": "event", "Event": "subscribe_msg_popup_event", "SubscribeMsgPopupEvent": {"List": entries}}


def change_subscription(account: Account, openid: str, template_id: str, on: bool) -> JsonObject | None:
    """Let a user switch a template on or off in the settings; return the event, if there is one.

    Only switching off is told. It ends every consent given before; switching on brings none of them back.

    Raises:
        WorldError: The account has no such template.
    """
    if template_id not in account.outreach.templates:
        raise WorldError("the account has no such subscription template")
    consent = account.outreach.consents.setdefault(openid, {}).setdefault(template_id, Consent())
    consent.refused = not on
    if on:
        return None
    consent.left, consent.lasting = 0, False
    entry: JsonObject = {"TemplateId": template_id, "SubscribeStatusString": REJECT}
    return {"MsgType": "event", "Event": "subscribe_msg_change_event", "SubscribeMsgChangeEvent": {"List": [entry]}}


def one_time_template(account: Account) -> str:
    """Return the template id of the account's one-time subscription, which the console shows."""
    digest = hashlib.sha256(f"one-time|{account.appid}".encode()).hexdigest()
    return f"{digest[:43]}"
