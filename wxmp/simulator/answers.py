"""What the developer's server answered to a push, read and judged the platform's way.

The reader is the simulator's own: a reply that only our SDK can read would not be noticed otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, cast
from xml.parsers import expat

import attrs

from wxmp.simulator.wire import JsonObject, as_list, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.payload import PushFormat
    from wxmp.simulator.policy import Policy

__all__ = ["Answer", "BrokenReply", "Judgement", "read_reply", "read_xml", "review"]

SUCCESS: Final = b"success"
NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]+)?")
MAX_DEPTH: Final = 16
MAX_ELEMENTS: Final = 10_000
FIRST_BYTES: Final[Mapping[bytes, PushFormat]] = {b"<": "xml", b"{": "json"}
XML_SPACE: Final = b" \t\r\n"


class BrokenReply(Exception):  # noqa: N818  (not an error of the simulator: the developer's server got it wrong)
    """The answer is none of those the platform understands; the text says why."""


@attrs.frozen
class Answer:
    """What came back for one request of the platform.

    Attributes:
        status: The HTTP status; ``None`` when no answer arrived.
        body: The body, cut one byte over the policy's limit.
        content_type: The header, for the journal.
        seconds: Real seconds it took.
        failure: Why no answer arrived: ``"timeout"`` or the connection's trouble.
    """

    status: int | None = None
    body: bytes = attrs.field(default=b"", repr=False)
    content_type: str = ""
    seconds: float = 0.0
    failure: str = ""


@attrs.frozen
class Judgement:
    """What the platform makes of an answer.

    Attributes:
        verdict: ``"silent"``: fine, nothing to show. ``"shown"``: the user sees the reply. ``"not_shown"``: a good
            reply that reaches nobody. ``"handed_over"``: to a human agent or the built-in AI. ``"broken"``: none of
            these.
        why: The reason, in words.
        reply: The reply's fields, decrypted.
        repeat: Whether the push is delivered again.
    """

    verdict: Literal["silent", "shown", "not_shown", "handed_over", "broken"]
    why: str = ""
    reply: JsonObject | None = None
    repeat: bool = False


def review(
    answer: Answer, policy: Policy, read: Callable[[bytes], JsonObject], check: Callable[[JsonObject], Judgement]
) -> Judgement:
    """Judge an answer.

    Args:
        answer: What came back.
        policy: The adjustable rules.
        read: Turns the body into the plain reply's fields; knows mode and keys.
        check: Judges these fields; knows the push.
    """
    if answer.status is None:
        return Judgement("broken", answer.failure, repeat=True)
    if answer.status != 200:
        why = f"HTTP status {answer.status} instead of 200"
        return Judgement("broken", why, repeat=policy.callback_repeats_bad_status)
    body = answer.body.strip() if policy.callback_trims_answer else answer.body
    if body in {b"", SUCCESS}:
        return Judgement("silent", "an empty body" if not body else "success")
    reply: JsonObject | None = None
    if len(body) > policy.callback_answer_bytes:
        why = f"the body has more than {policy.callback_answer_bytes} bytes"
        return Judgement("broken", why, repeat=policy.callback_repeats_broken_body)
    try:
        reply = read(body)
        return check(reply)
    except BrokenReply as broken:
        return Judgement("broken", str(broken), reply, repeat=policy.callback_repeats_broken_body)


# --- reading ----------------------------------------------------------------------------------------------------


def read_reply(body: bytes, form: PushFormat, *, either: bool = False) -> JsonObject:
    """Read a reply in the account's format (in either, when asked for).

    Raises:
        BrokenReply: It cannot be read.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise BrokenReply("the body begins with a byte order mark")
    first = body.lstrip(XML_SPACE)[:1]
    found: PushFormat | None = FIRST_BYTES.get(first)
    if found is None:
        raise BrokenReply(f"neither empty, nor the bare word success, nor {form.upper()}")
    if found != form and not either:
        raise BrokenReply(f"a reply in {found.upper()}, where the account's format is {form.upper()}")
    return read_xml(body) if found == "xml" else read_object(body)


def read_object(body: bytes) -> JsonObject:
    """Read a JSON reply."""
    try:
        found = as_object(json.loads(body.decode("utf-8"), strict=False))
    except (ValueError, RecursionError) as error:
        raise BrokenReply("the body is not JSON in UTF-8") from error
    if found is None:
        raise BrokenReply("the body is JSON, but no object")
    return found


def read_xml(body: bytes) -> JsonObject:
    """Read an XML reply: texts for leaves, objects for what holds elements, lists for what occurs several times.

    Raises:
        BrokenReply: No well-formed XML in UTF-8, a DOCTYPE, another root than ``xml``, or beyond all measure.
    """
    tree = Tree()
    # The encoding is named here, so a declaration inside the document counts for nothing.
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    parser.StartDoctypeDeclHandler = tree.doctype
    parser.buffer_text = True
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise BrokenReply(f"not well-formed XML: {expat.errors.messages.get(error.code, error.code)}") from error
    return tree.root


@attrs.define
class Node:
    """One element being read."""

    name: str
    children: JsonObject = attrs.field(factory=dict[str, object])
    text: list[str] = attrs.field(factory=list[str])

    def add(self, name: str, value: object) -> None:
        """Put a finished child in; a second one of the same name makes a list."""
        before = self.children.get(name)
        if before is None:
            self.children[name] = value
        elif isinstance(before, list):
            cast("list[object]", before).append(value)
        else:
            self.children[name] = [before, value]


class Tree:
    """Builds the fields while expat reads."""

    def __init__(self) -> None:
        self.root: JsonObject = {}
        self._open: list[Node] = []
        self._seen = 0

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._seen += 1
        if not self._open and name != "xml":
            raise BrokenReply("the root element is not xml")
        if self._seen > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise BrokenReply("too many elements")
        self._open.append(Node(name))

    def end(self, _name: str) -> None:
        """An element ends."""
        node = self._open.pop()
        if self._open:
            self._open[-1].add(node.name, node.children or "".join(node.text))
        else:
            self.root = node.children

    def text(self, data: str) -> None:
        """Text inside an element."""
        self._open[-1].text.append(data)

    def doctype(self, *_details: object) -> None:
        """Refuse a document type: no reply has one."""
        raise BrokenReply("the reply has a DOCTYPE")


# --- judging ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Bounds:
    """What a reply is measured by.

    Attributes:
        user: The user's openid: the receiver a reply must name.
        account: The account's original id: the sender it must name.
        to_event: Whether the push was an event.
        shows: Whether a reply to this push reaches the user.
        agents: The account's customer-service accounts; ``None`` means any name will do.
        media: Tells whether the account has a file of one of some kinds; ``None`` means any id will do.
    """

    user: str
    account: str
    to_event: bool
    shows: bool
    agents: Sequence[str] | None = None
    media: Callable[[str, Sequence[str]], bool] | None = None


def check_reply(reply: JsonObject, bounds: Bounds, policy: Policy) -> Judgement:
    """Judge a plain reply.

    Raises:
        BrokenReply: A rule of the platform is broken; the text names the first.
    """
    check_envelope(reply, bounds)
    kind = reply.get("MsgType")
    note = ""
    if kind == "text":
        check_text(reply, policy)
    elif kind in {"image", "voice", "video"}:
        check_media(needed(part(reply, str(kind).capitalize()), "MediaId", str(kind)), (str(kind),), bounds)
    elif kind == "music":
        check_media(needed(part(reply, "Music"), "ThumbMediaId", "music"), ("thumb", "image"), bounds)
    elif kind == "news":
        note = check_news(reply, bounds, policy)
    elif kind in {"transfer_customer_service", "transfer_biz_ai_ivr"}:
        return hand_over(reply, bounds)
    else:
        raise BrokenReply("MsgType is missing" if kind in {None, ""} else "the MsgType is unknown")
    if not bounds.shows:
        return Judgement("not_shown", "replies to this event are not shown", reply)
    return Judgement("shown", note or f"a {kind} reply", reply)


def check_envelope(reply: JsonObject, bounds: Bounds) -> None:
    """Check what every reply has: receiver, sender, time."""
    if reply.get("ToUserName") != bounds.user or reply.get("FromUserName") != bounds.account:
        swapped = reply.get("ToUserName") == bounds.account and reply.get("FromUserName") == bounds.user
        raise BrokenReply(
            "ToUserName and FromUserName are those of the push: a reply swaps them"
            if swapped
            else "ToUserName or FromUserName is not that of the push, swapped"
        )
    created = reply.get("CreateTime")
    numeric = isinstance(created, int | float) and not isinstance(created, bool)
    if not numeric and not (isinstance(created, str) and NUMBER.fullmatch(created.strip())):
        raise BrokenReply("CreateTime is missing or no number")


def check_text(reply: JsonObject, policy: Policy) -> None:
    """Check a text reply: not empty, not too long."""
    content = reply.get("Content")
    if not isinstance(content, str) or not content:
        raise BrokenReply("Content is missing or empty")
    size = len(content.encode("utf-8", errors="replace"))
    if size > policy.callback_text_bytes:
        raise BrokenReply(f"the text has {size} bytes, over {policy.callback_text_bytes} bytes")


def check_media(media_id: str, kinds: Sequence[str], bounds: Bounds) -> None:
    """Check that the account has the file."""
    if bounds.media is not None and not bounds.media(media_id, kinds):
        raise BrokenReply(f"the account has no {' or '.join(kinds)} under this media id")


def check_news(reply: JsonObject, bounds: Bounds, policy: Policy) -> str:
    """Check the articles; those over the limit are dropped from the reply. Returns a note about them."""
    holder: object = reply.get("Articles")
    inner = as_object(holder)
    if inner is not None:
        holder = inner.get("item")
    several = as_list(holder)
    articles = list(several) if several is not None else [holder]
    items = [as_object(item) for item in articles]
    if not all(item is not None for item in items):
        raise BrokenReply("there are no articles")
    if whole_number(reply.get("ArticleCount")) != len(items):
        raise BrokenReply(f"ArticleCount is not the number of articles, {len(items)}")
    for item in items:
        missing = [name for name in ("Title", "Description", "PicUrl", "Url") if name not in (item or {})]
        if missing:
            raise BrokenReply(f"an article has no {missing[0]}")
    limit = policy.callback_event_articles if bounds.to_event else policy.callback_message_articles
    if len(items) <= limit:
        return ""
    if policy.callback_extra_articles == "broken":
        raise BrokenReply(f"{len(items)} articles, at most {limit} are allowed")
    reply["Articles"] = {"item": items[:limit]}
    return f"a news reply: {len(items)} articles, of which {limit} reach the user"


def hand_over(reply: JsonObject, bounds: Bounds) -> Judgement:
    """Hand the message to an agent or to the built-in AI."""
    if bounds.to_event:
        return Judgement("not_shown", "only a message can be handed over, not an event", reply)
    if reply["MsgType"] == "transfer_biz_ai_ivr":
        return Judgement("handed_over", "handed to the account's AI answer", reply)
    named = reply.get("TransInfo")
    if named is None:
        return Judgement("handed_over", "handed to the human agents", reply)
    agent = needed(as_object(named) or {}, "KfAccount", "transfer_customer_service")
    if bounds.agents is not None and agent not in bounds.agents:
        return Judgement("handed_over", "handed to an agent who does not exist: the message waits for nobody", reply)
    return Judgement("handed_over", "handed to the named agent", reply)


def part(reply: JsonObject, name: str) -> JsonObject:
    """Return a nested element."""
    found = as_object(reply.get(name))
    if found is None:
        raise BrokenReply(f"the element {name} is missing")
    return found


def needed(source: JsonObject, name: str, kind: str) -> str:
    """Return a text that must be there."""
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise BrokenReply(f"the {kind} reply has no {name}")
    return value
