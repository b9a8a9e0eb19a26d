"""Customer-service messages: what a user's action allows, and what may be sent."""

from __future__ import annotations

from typing import Final

from wxmp.simulator import library, people
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import ChatEntry, Sent, User
from wxmp.simulator.wire import JsonObject, Refusal, as_object

__all__ = ["ROUTES"]

TYPES: Final = frozenset(
    {
        "text",
        "image",
        "voice",
        "video",
        "music",
        "news",
        "mpnews",
        "mpnewsarticle",
        "msgmenu",
        "wxcard",
        "miniprogrampage",
    }
)
# What the object of each kind must hold.
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "image": ("media_id",),
    "voice": ("media_id",),
    "video": ("media_id", "thumb_media_id"),
    "music": ("musicurl", "thumb_media_id"),
    "mpnewsarticle": ("article_id",),
    "miniprogrampage": ("title", "appid", "pagepath", "thumb_media_id"),
    "mpnews": ("media_id",),
    "wxcard": ("card_id",),
}
MEDIA_FIELDS: Final = frozenset({"media_id", "thumb_media_id"})
COVERS: Final = ("image", "thumb")


def receiver(call: Call) -> User:
    """Return the receiver, or refuse one who can get nothing."""
    openid = call.text("touser")
    if not openid:
        raise Refusal(40003, "touser is missing")
    user = call.user(openid)
    if user.blacklisted:
        raise Refusal(43019, "the user is on the account's blacklist")
    if not user.following:
        # Unfollowing closes the window; who never followed has no window to close.
        raise Refusal(45015 if user.ever_followed else 43004, "the user does not follow the account")
    if user.refuses_messages:
        raise Refusal(48002, "the user has switched messages of this account off")
    return user


def check_content(call: Call) -> str:
    """Check the message itself and return its kind."""
    kind = call.text("msgtype")
    if kind not in TYPES:
        raise Refusal(40008, f"msgtype is {call.body.get('msgtype')!r}")
    if kind in call.world.policy.custom_retired_types:
        raise Refusal(48008 if kind == "wxcard" else 45050, f"{kind} is no longer accepted")
    content = call.part(kind)
    if kind == "text":
        check_text(call, call.text("content", content))
    elif kind == "news":
        check_news(call, content)
    elif kind == "msgmenu":
        check_menu(call, content)
    for name in NEEDED.get(kind, ()):
        if not call.text(name, content):
            raise Refusal(41006 if name in MEDIA_FIELDS else 40035, f"{kind}.{name} is missing", detail=name)
    if call.world.policy.custom_checks_media:
        check_media(call, kind, content)
    linked = call.owner.linked_miniprograms
    if kind == "miniprogrampage" and linked is not None and call.text("appid", content) not in linked:
        raise Refusal(45064, "the mini program is not linked to the account")
    check_sender(call)
    return kind


def check_media(call: Call, kind: str, content: JsonObject) -> None:
    """Check that the media exist, temporary or permanent (40007), and that an article is published (53600)."""
    fits = call.world.policy.media_kind_must_fit
    for name in NEEDED.get(kind, ()):
        if name in MEDIA_FIELDS and kind != "mpnews":
            kinds = COVERS if name == "thumb_media_id" else (kind,)
            library.need_media(call.owner, call.text(name, content), call.now, kinds if fits else ())
    if kind == "mpnewsarticle":
        found = library.find_article(call.owner, call.text("article_id", content))
        if all(article.deleted or article.banned for article in found):
            raise Refusal(53600, "the account has published no such article, or it was taken away")


def check_text(call: Call, content: str) -> None:
    """Check a text: not empty, not too long."""
    if not content:
        raise Refusal(44004, "text.content is empty")
    size, limit = len(content.encode("utf-8", errors="replace")), call.world.policy.custom_text_bytes
    if size > limit:
        raise Refusal(45002, f"the text has {size} bytes, at most {limit} are allowed")


def check_news(call: Call, content: JsonObject) -> None:
    """Check a link card: exactly one article."""
    articles = call.items("articles", content)
    if len(articles) != 1:
        raise Refusal(45008, f"{len(articles)} articles, exactly 1 is allowed")


def check_menu(call: Call, content: JsonObject) -> None:
    """Check a menu message: every line has an id and a text."""
    lines = [as_object(line) or {} for line in call.items("list", content)]
    if not lines or not all(line.get("id") and line.get("content") for line in lines):
        raise Refusal(40035, "a line of the menu message has no id or no content", detail="msgmenu")


def check_sender(call: Call) -> None:
    """Check the customer-service account the message speaks for."""
    sender = as_object(call.body.get("customservice"))
    known = call.owner.kf_accounts
    if sender is not None and known is not None and call.text("kf_account", sender) not in known:
        raise Refusal(61452, "no such customer-service account")


def use_window(call: Call, user: User) -> str:
    """Spend one message of the user's open windows and say what is left.

    Raises:
        Refusal: No window is open (45015), or those that are open are used up (45047).
    """
    user.windows = [window for window in user.windows if window.until > call.now]
    if not user.windows:
        raise Refusal(45015, "the user has done nothing lately that opens a window")
    usable = sorted((w for w in user.windows if w.left is None or w.left > 0), key=lambda window: window.until)
    if not usable:
        raise Refusal(45047, "the messages of all open windows are used up")
    # Where windows do not add up, one message counts against every open one.
    for window in usable[:1] if call.world.policy.custom_windows_add_up else usable:
        if window.left is not None:
            window.left -= 1
    return ", ".join(f"{w.trigger}: {'no limit' if w.left is None else w.left} left" for w in user.windows)


def send(call: Call) -> JsonObject:
    """Send a customer-service message."""
    user = receiver(call)
    kind = check_content(call)
    left = use_window(call, user)
    call.why += f"; {kind} accepted, {left}"
    user.typing_until = 0.0
    user.last_contact_at = call.now
    content = call.text("content", call.part(kind))
    people.chat(call.world, user, ChatEntry("to_user", kind, content, dict(call.body), call.now, "custom"))
    call.world.record_sent(call.owner, Sent("custom", call.now, user.openid, dict(call.body), status="success"))
    return OK()


def typing(call: Call) -> JsonObject:
    """Show or hide the typing hint."""
    user, policy = receiver(call), call.world.policy
    command = call.text("command")
    if command not in {"Typing", "CancelTyping"}:
        raise Refusal(45072, f"command is {call.body.get('command')!r}")
    if command == "CancelTyping":
        user.typing_until = 0.0
        return OK()
    if call.now - user.last_contact_at > policy.typing_contact:
        raise Refusal(45080, f"no message was exchanged in the last {policy.typing_contact:.0f} s")
    if call.now < user.typing_until:
        raise Refusal(45081, "the hint is shown already")
    user.typing_until = call.now + policy.typing_life
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/message/custom/send", send),
    Route("POST", "/cgi-bin/message/custom/typing", typing),
)
