"""Mass sends (群发): to everybody, a tag, a list; the allowances, the content check, the report that follows."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp.simulator import library, outreach, people
from wxmp.simulator.library import Article
from wxmp.simulator.outreach import Broadcast
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, ChatEntry, Event, Sent, User
from wxmp.simulator.wire import JsonObject, Refusal, as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

SENDABLE: Final = frozenset({"mpnews", "text", "voice", "image", "mpvideo", "wxcard"})
# What may be withdrawn: the body of articles and videos lies with the platform.
DELETABLE: Final = frozenset({"mpnews", "mpvideo"})
STATES: Final = {
    "approval": "SENDING",
    "sending": "SENDING",
    "sent": "SEND_SUCCESS",
    "failed": "SEND_FAIL",
    "deleted": "DELETE",
}
REFUSED: Final = "err(40001)"
UNANSWERED: Final = "err(40002)"
REPRINT: Final = "err(30003)"


@attrs.frozen
class Audience:
    """Whom a mass send is for."""

    kind: Literal["all", "tag", "list"]
    openids: tuple[str, ...] = ()
    tag_id: int | None = None


@attrs.frozen
class Content:
    """What is sent: the message's own object, a line for the chat, and the articles of an article message."""

    kind: str
    fields: JsonObject
    text: str = ""
    articles: tuple[Article, ...] = ()


# --- accepting ----------------------------------------------------------------------------------------------------


def send_all(call: Call) -> JsonObject:
    """Send to all followers or to a tag."""
    given = call.part("filter")
    if given.get("is_to_all") in (True, 1, "true"):
        return accept(call, Audience("all"))
    tag_id, group_id = call.number("tag_id", given), call.number("group_id", given)
    if tag_id is None and group_id is not None:
        if group_id not in call.owner.tags:
            raise Refusal(40152, "no such group")
        return accept(call, Audience("tag", tag_id=group_id))
    if tag_id is None or tag_id not in call.owner.tags:
        raise Refusal(45159, "no such tag" if tag_id is not None else "neither is_to_all nor a tag_id")
    return accept(call, Audience("tag", tag_id=tag_id))


def send(call: Call) -> JsonObject:
    """Send to a list of openids."""
    listed = as_list(call.body.get("touser"))
    if listed is None or not all(isinstance(openid, str) and openid for openid in listed):
        raise Refusal(40031, "touser is no list of openids")
    least, most = call.world.policy.mass_openids
    if len(listed) < least:
        raise Refusal(40130, f"{len(listed)} openids, at least {least} are needed")
    if len(listed) > most:
        raise Refusal(40032, f"{len(listed)} openids, at most {most} are allowed")
    # A doubled openid is one receiver.
    openids = tuple(dict.fromkeys(str(openid) for openid in listed))
    if call.world.policy.mass_unknown_openids == "refuse" and any(o not in call.owner.users for o in openids):
        raise Refusal(40031, "touser holds an openid this account does not know")
    return accept(call, Audience("list", openids=openids))


def accept(call: Call, audience: Audience) -> JsonObject:
    """Take a mass send in: the outcome comes later, as MASSSENDJOBFINISH."""
    account, world, policy = call.owner, call.world, call.world.policy
    # Before the content: the draft of a repeated send is gone by then.
    client_id = recognise(call, audience)
    content = check_content(call, SENDABLE)
    check_allowance(world, account, audience, call.now)
    account.outreach.msg_serial += 1
    broadcast = Broadcast(
        msg_id=account.outreach.msg_serial,
        msg_data_id=next_data_id(account) if content.articles else None,
        at=call.now,
        kind=content.kind,
        content=content.fields,
        text=content.text,
        audience=audience.kind,
        openids=list(audience.openids),
        tag_id=audience.tag_id,
        client_id=client_id,
        ignore_reprint=call.number("send_ignore_reprint") == 1,
        articles=list(content.articles),
    )
    account.outreach.broadcasts[broadcast.msg_id] = broadcast
    event: JsonObject = {"msg_id": broadcast.msg_id}
    guarded = audience.kind == "all" or policy.mass_protection_covers == "every"
    if account.outreach.protected and guarded:
        broadcast.state = "approval"
        world.schedule(policy.mass_protection_seconds, "mass_unanswered", account, event)
        call.why += f"; task {broadcast.msg_id} waits for the administrator"
        if policy.mass_protection_errcode:
            raise Refusal(policy.mass_protection_errcode, "waits for the administrator", extra=event)
    else:
        low, high = policy.mass_delay
        a_second = policy.mass_speeds[account.outreach.speed] * 10_000 / 60
        delay = world.state.dice.between("mass delay", low, high) + len(targets(account, broadcast)) / a_second
        world.schedule(delay, "mass_send", account, event)
        call.why += f"; task {broadcast.msg_id} accepted, the report is due in {delay:.2f} s"
    answer: JsonObject = {"errcode": 0, "errmsg": "send job submission success", "msg_id": broadcast.msg_id}
    if broadcast.msg_data_id is not None:
        answer |= {"msg_data_id": broadcast.msg_data_id, "type": "news"}
    return answer


def next_data_id(account: Account) -> int:
    """Return the next id that articles are counted and commented under."""
    account.library.data_serial += 1
    return account.library.data_serial


def recognise(call: Call, audience: Audience) -> str:
    """Return what recognises this send, and refuse it when it was asked for before (45065, 45066)."""
    policy = call.world.policy
    given = call.text("clientmsgid")
    if len(given.encode("utf-8", errors="replace")) > policy.mass_client_id_bytes:
        raise Refusal(45067, f"clientmsgid is longer than {policy.mass_client_id_bytes} bytes")
    if not given and not policy.mass_default_client_id:
        return ""
    if not given:
        body = {name: value for name, value in call.body.items() if name not in {"touser", "filter"}}
        whole = json.dumps([audience.kind, sorted(audience.openids), audience.tag_id, body], sort_keys=True)
        given = hashlib.md5(whole.encode("utf-8", errors="replace"), usedforsecurity=False).hexdigest()
    for known in call.owner.outreach.broadcasts.values():
        age = call.now - known.at
        if known.client_id != given or age >= policy.mass_client_id_seconds:
            continue
        old: JsonObject = {"msg_id": known.msg_id}
        if known.msg_data_id is not None:
            old["msg_data_id"] = known.msg_data_id
        if age < policy.mass_client_id_gap:
            raise Refusal(45066, f"the same clientmsgid came {age:.0f} s ago, as task {known.msg_id}")
        if known.state == "approval" and policy.mass_protection_errcode:
            raise Refusal(89504, f"task {known.msg_id} still waits for the administrator", extra=old)
        raise Refusal(45065, f"the same clientmsgid is task {known.msg_id}", extra=old)
    return given


def check_allowance(world: World, account: Account, audience: Audience, now: float) -> None:
    """Refuse what is over the account's own allowance (45028)."""
    policy = world.policy
    counted = [
        known for known in account.outreach.broadcasts.values() if known.state != "failed" or policy.mass_failed_counts
    ]
    if account.kind == "subscription":
        used = sum(world.day(known.at) == world.day(now) for known in counted)
        if used >= policy.mass_subscription_per_day:
            raise Refusal(45028, f"{used} of {policy.mass_subscription_per_day} sends of today are used")
        return
    if audience.kind != "all":
        return
    everybody = [known for known in counted if known.audience == "all"]
    today = sum(world.day(known.at) == world.day(now) for known in everybody)
    month = sum(world.month(known.at) == world.month(now) for known in everybody)
    if today >= policy.mass_to_all_per_day:
        raise Refusal(45028, f"{today} of {policy.mass_to_all_per_day} sends to everybody are used today")
    if month >= policy.mass_to_all_per_month:
        raise Refusal(45028, f"{month} of {policy.mass_to_all_per_month} sends to everybody are used this month")


# --- content ------------------------------------------------------------------------------------------------------


def check_content(call: Call, kinds: frozenset[str]) -> Content:
    """Check the message and return it."""
    kind = call.text("msgtype")
    if kind not in kinds:
        raise Refusal(40008, f"msgtype is {call.body.get('msgtype')!r}")
    if kind == "wxcard":
        raise Refusal(45113, "coupons are no longer accepted")
    if kind == "image":
        return check_images(call)
    fields = as_object(call.body.get(kind))
    if fields is None:
        raise Refusal(40228, f"the object {kind!r} is missing")
    if kind == "text":
        return check_text(call, fields)
    media_id = call.text("media_id", fields)
    if not media_id:
        raise Refusal(40007, f"{kind}.media_id is missing")
    account = call.owner
    if kind == "mpnews":
        draft = library.find_draft(account, media_id, call.now)
        if draft is None:
            raise Refusal(40007, "the account has no articles under this media_id")
        return Content(kind, fields, draft.articles[0].title, tuple(draft.articles))
    if kind == "mpvideo":
        video = account.outreach.videos.get(media_id)
        if video is None:
            raise Refusal(40007, "not a media_id of media/uploadvideo")
        title = call.text("title", fields) or call.text("title", video)
        return Content(kind, {**video, **fields}, title)
    library.need_media(account, media_id, call.now, ("voice",) if kind == "voice" else ())
    return Content(kind, fields)


def check_text(call: Call, fields: JsonObject) -> Content:
    """Check a text: not empty, not too long."""
    content, limit = call.text("content", fields), call.world.policy.mass_text_bytes
    if not content:
        raise Refusal(44004, "text.content is empty")
    size = len(content.encode("utf-8", errors="replace"))
    if size > limit:
        raise Refusal(45002, f"the text has {size} bytes, at most {limit} are allowed")
    return Content("text", fields, content)


def check_images(call: Call) -> Content:
    """Check pictures: the object is called ``images`` although the kind is ``image``; a single one the older way."""
    account, policy = call.owner, call.world.policy
    images, single = as_object(call.body.get("images")), as_object(call.body.get("image"))
    if images is None:
        if single is None or not policy.mass_single_image:
            raise Refusal(40228, "the object 'images' is missing")
        library.need_media(account, call.text("media_id", single), call.now, ("image",))
        return Content("image", {"media_ids": [call.text("media_id", single)]})
    media_ids = as_list(images.get("media_ids"))
    if media_ids is None or not 1 <= len(media_ids) <= policy.mass_max_images:
        found = len(media_ids) if media_ids is not None else 0
        raise Refusal(40215, f"{found} pictures, 1 to {policy.mass_max_images} are allowed")
    for media_id in media_ids:
        library.need_media(account, str(media_id), call.now, ("image",))
    return Content("image", images, call.text("title", images))


def words(broadcast: Broadcast) -> str:
    """Return everything readable in a mass send, for the content check."""
    parts = [json.dumps(broadcast.content, ensure_ascii=False, default=str)]
    parts += [f"{article.title}\n{article.digest}\n{article.content}" for article in broadcast.articles]
    return "\n".join(parts)


# --- sending ------------------------------------------------------------------------------------------------------


def targets(account: Account, broadcast: Broadcast) -> list[str]:
    """Return whom a mass send is for, before anybody is left out."""
    if broadcast.audience == "list":
        return list(broadcast.openids)
    return [
        user.openid
        for user in account.users.values()
        if user.following and (broadcast.audience == "all" or broadcast.tag_id in user.tags)
    ]


def sort_out(world: World, account: Account, broadcast: Broadcast) -> tuple[list[User], int]:
    """Return who gets a mass send, and count on it who does not: left out beforehand, or failed."""
    policy, found = world.policy, account.outreach
    month = world.month(world.now())
    if found.taken_month != month:
        found.taken_month = month
        found.taken.clear()
    receivers: list[User] = []
    filtered = errors = 0
    for openid in targets(account, broadcast):
        user = account.users.get(openid)
        if user is None or not user.following:
            errors += 1
        elif user.blacklisted or user.refuses_messages:
            filtered += 1
        elif account.kind == "service" and found.taken.get(openid, 0) >= policy.mass_per_user_month:
            if policy.mass_over_allowance == "filter":
                filtered += 1
            else:
                errors += 1
        else:
            receivers.append(user)
            found.taken[openid] = found.taken.get(openid, 0) + 1
    broadcast.total = len(receivers) + filtered + errors
    broadcast.sent, broadcast.errors = len(receivers), errors
    broadcast.filtered = broadcast.sent + broadcast.errors
    return receivers, filtered


def run(world: World, account: Account, event: Event) -> None:
    """Carry out a mass send: check its content, deliver to some, report, and deliver to the others later."""
    broadcast = outreach.find_broadcast(account, event.fields["msg_id"])
    if broadcast is None or broadcast.state != "sending":
        return
    code = outreach.read_marker(world.policy, words(broadcast))
    if code is not None:
        fail(world, account, broadcast, f"err({code})", event.due)
        return
    reprints = [
        index for index, a in enumerate(broadcast.articles, start=1) if world.policy.mass_reprint_marker in a.content
    ]
    if reprints and not broadcast.ignore_reprint:
        fail(world, account, broadcast, REPRINT, event.due, reprints)
        return
    receivers, _filtered = sort_out(world, account, broadcast)
    if not receivers:
        fail(world, account, broadcast, "send fail", event.due, reprints)
        return
    if broadcast.articles and broadcast.msg_data_id is not None:
        published = library.publish_articles(
            world, account, broadcast.articles, event.due, msg_data_id=broadcast.msg_data_id
        )
        broadcast.urls = [library.article_url(world, one.key) for one in published]
        # A draft is used up by a mass send; a news material stays.
        account.library.drafts.pop(str(broadcast.content.get("media_id")), None)
    broadcast.state, broadcast.status = "sent", "send success"
    first = int(len(receivers) * world.policy.mass_before_report)
    deliver(world, account, broadcast, receivers[:first], event.due)
    report(world, account, broadcast, event.due, reprints)
    rest: JsonObject = {"msg_id": broadcast.msg_id, "openids": [user.openid for user in receivers[first:]]}
    world.schedule(world.policy.mass_after_report, "mass_rest", account, rest)


def run_rest(world: World, account: Account, event: Event) -> None:
    """Deliver to those who had to wait: the report came before them."""
    broadcast = outreach.find_broadcast(account, event.fields["msg_id"])
    openids = as_list(event.fields["openids"]) or []
    found = [account.users.get(str(openid)) for openid in openids]
    if broadcast is not None:
        deliver(world, account, broadcast, [user for user in found if user is not None], event.due)


def refused(world: World, account: Account, event: Event) -> None:
    """Let a mass send fail that the administrator refused."""
    broadcast = outreach.find_broadcast(account, event.fields["msg_id"])
    if broadcast is not None:
        fail(world, account, broadcast, REFUSED, event.due)


def unanswered(world: World, account: Account, event: Event) -> None:
    """Let a mass send fail that the administrator said nothing about."""
    broadcast = outreach.find_broadcast(account, event.fields["msg_id"])
    if broadcast is not None and broadcast.state == "approval":
        fail(world, account, broadcast, UNANSWERED, event.due)


def fail(
    world: World, account: Account, broadcast: Broadcast, status: str, now: float, reprints: list[int] | None = None
) -> None:
    """End a mass send that reaches nobody, and report it."""
    broadcast.state, broadcast.status = "failed", status
    broadcast.total = broadcast.total or len(targets(account, broadcast))
    report(world, account, broadcast, now, reprints or [])


def deliver(world: World, account: Account, broadcast: Broadcast, users: list[User], now: float) -> None:
    """Show a mass send in the chats of its receivers."""
    payload = shown(world, broadcast, broadcast.urls)
    for user in users:
        people.chat(world, user, ChatEntry("to_user", broadcast.kind, broadcast.text, payload, now, "mass"))
        world.record_sent(account, Sent("mass", now, user.openid, payload, broadcast.msg_id, "success"))


def shown(world: World, broadcast: Broadcast | Content, urls: list[str], msg_id: int | None = None) -> JsonObject:
    """Return what a chat shows of a mass send."""
    fields = broadcast.content if isinstance(broadcast, Broadcast) else broadcast.fields
    payload: JsonObject = {"msgtype": broadcast.kind, broadcast.kind: dict(fields)}
    if isinstance(broadcast, Broadcast):
        msg_id = broadcast.msg_id
    if msg_id is not None:
        payload["msg_id"] = msg_id
    if broadcast.articles:
        payload["articles"] = [
            {
                "title": article.title,
                "digest": article.digest,
                "url": url,
                "pic_url": library.media_url(world, article.thumb_media_id, "jpg"),
            }
            for article, url in zip(broadcast.articles, urls, strict=True)
        ]
    return payload


def report(world: World, account: Account, broadcast: Broadcast, now: float, reprints: list[int]) -> None:
    """Push the outcome (MASSSENDJOBFINISH)."""
    empty = account.callback_format == "json" and world.policy.mass_empty_results == "text"
    fields: JsonObject = {
        "MsgType": "event",
        "Event": "MASSSENDJOBFINISH",
        "MsgID": broadcast.msg_id,
        "Status": broadcast.status,
        "TotalCount": broadcast.total,
        "FilterCount": broadcast.filtered,
        "SentCount": broadcast.sent,
        "ErrorCount": broadcast.errors,
        "CopyrightCheckResult": copyright_result(broadcast, reprints, empty=empty),
        "ArticleUrlResult": url_result(broadcast, empty=empty),
    }
    people.tell(world, account, world.policy.mass_sender, "event", fields, now)


def copyright_result(broadcast: Broadcast, reprints: list[int], *, empty: bool) -> object:
    """Return what the originality check found."""
    if not reprints:
        # In JSON the result without content is an empty text where an object is expected.
        return "" if empty else {"Count": 0, "ResultList": "", "CheckState": 1 if broadcast.articles else 0}
    allowed = broadcast.ignore_reprint
    items = [
        {
            "ArticleIdx": index,
            "UserDeclareState": 0,
            "AuditState": 2,
            "OriginalArticleUrl": f"http://mp.weixin.qq.com/s/original{index}",
            "OriginalArticleType": 1,
            "CanReprint": int(allowed),
            "NeedReplaceContent": 1,
            "NeedShowReprintSource": 1,
        }
        for index in reprints
    ]
    return {"Count": len(items), "ResultList": {"item": items}, "CheckState": 2 if allowed else 3}


def url_result(broadcast: Broadcast, *, empty: bool) -> object:
    """Return where the articles can be read."""
    if not broadcast.urls:
        return "" if empty else {"Count": 0, "ResultList": ""}
    items = [{"ArticleIdx": index, "ArticleUrl": url} for index, url in enumerate(broadcast.urls, start=1)]
    return {"Count": len(items), "ResultList": {"item": items}}


# --- the rest of the family ---------------------------------------------------------------------------------------


def preview(call: Call) -> JsonObject:
    """Show a mass send to one person (预览)."""
    account, world = call.owner, call.world
    user = preview_receiver(call)
    content = check_content(call, SENDABLE | {"music"})
    urls = [library.article_url(world, article.key) for article in content.articles]
    payload = shown(world, content, urls)
    entry = ChatEntry("to_user", content.kind, content.text, payload, call.now, "mass", "a preview")
    people.chat(world, user, entry)
    world.record_sent(account, Sent("mass", call.now, user.openid, payload, status="preview"))
    return OK()


def preview_receiver(call: Call) -> User:
    """Return who gets the preview: a follower, named by WeChat id or by openid."""
    account, name = call.owner, call.text("towxname")
    if not name:
        user = call.user(call.text("touser"))
    else:
        day = call.world.day(call.now)
        found = account.outreach
        if found.previews_day != day:
            found.previews_day, found.previews = day, 0
        if found.previews >= call.world.policy.mass_previews_per_day:
            raise Refusal(45009, f"{found.previews} previews to WeChat ids were sent today")
        users = account.users.values()
        named = next((user for user in users if call.world.person_of(user).wechat_id == name), None)
        if named is None:
            raise Refusal(40132, "nobody who knows this account has this WeChat id")
        user = named
        found.previews += 1
    if user.blacklisted and call.world.policy.blacklist_stops_notices:
        raise Refusal(43019, "the user is on the account's blacklist")
    if not user.following:
        raise Refusal(43004, "the user does not follow the account")
    return user


def delete(call: Call) -> JsonObject:
    """Withdraw a sent article or video; the card stays on the phones."""
    account, url = call.owner, call.text("url")
    given = call.body.get("msg_id")
    index = call.number("article_idx") or 0
    if given in (None, "", 0):
        if not url:
            raise Refusal(40101, "neither msg_id nor url is given")
        broadcast = next((b for b in account.outreach.broadcasts.values() if url in b.urls), None)
        if broadcast is not None:
            index = broadcast.urls.index(url) + 1
    else:
        broadcast = outreach.find_broadcast(account, given)
    if broadcast is None:
        raise Refusal(40059, "no such mass send")
    if broadcast.kind not in DELETABLE:
        raise Refusal(40008, f"a {broadcast.kind} cannot be withdrawn")
    if broadcast.state != "sent":
        raise Refusal(40065, f"the mass send is {broadcast.state}")
    count = max(len(broadcast.articles), 1)
    if not 0 <= index <= count:
        raise Refusal(40060, f"article_idx is {index}, 1 to {count} is there")
    if index in broadcast.removed:
        raise Refusal(40065, f"article {index} was withdrawn before")
    for number in range(1, count + 1) if index == 0 else (index,):
        if number not in broadcast.removed:
            broadcast.removed.append(number)
        published = library.find_published(account, broadcast.msg_data_id, number - 1)
        if published is not None and broadcast.articles:
            published.deleted = True
    if len(broadcast.removed) == count:
        broadcast.state = "deleted"
    return OK()


def status(call: Call) -> JsonObject:
    """Tell how far a mass send is."""
    broadcast = outreach.find_broadcast(call.owner, call.body.get("msg_id"))
    if broadcast is None:
        raise Refusal(40059, "no such mass send")
    return {"msg_id": str(broadcast.msg_id), "msg_status": STATES[broadcast.state]}


def get_speed(call: Call) -> JsonObject:
    """Read the sending speed."""
    level = call.owner.outreach.speed
    return {"speed": level, "realspeed": call.world.policy.mass_speeds[level]}


def get_speed_by_get(call: Call) -> JsonObject:
    """Read the sending speed the older way, with GET."""
    if not call.world.policy.mass_speed_by_get:
        raise Refusal(43002, "GET where POST is wanted")
    return get_speed(call)


def set_speed(call: Call) -> JsonObject:
    """Set the sending speed."""
    level, highest = call.number("speed"), len(call.world.policy.mass_speeds) - 1
    if "speed" not in call.body:
        raise Refusal(45084, "speed is missing")
    if level is None or not 0 <= level <= highest:
        raise Refusal(45083, f"speed is {call.body.get('speed')!r}, 0 to {highest} is allowed")
    call.owner.outreach.speed = level
    return OK()


def upload_news(call: Call) -> JsonObject:
    """Keep articles for a mass send (上传图文消息素材); superseded by drafts."""
    limit = call.world.policy.mass_news_articles
    listed = call.items("articles")
    if len(listed) > limit:
        raise Refusal(45008, f"{len(listed)} articles, at most {limit} are allowed")
    articles = library.check_articles(call.world, call.owner, listed, call.now, mass=True)
    expires = call.now + call.world.policy.media_life
    draft = library.store_draft(call.world, call.owner, articles, call.now, news=True, expires_at=expires)
    return {"type": "news", "media_id": draft.media_id, "created_at": int(call.now)}


def upload_video(call: Call) -> JsonObject:
    """Turn a video into one that a mass send takes."""
    media_id = call.text("media_id")
    library.need_media(call.owner, media_id, call.now, ("video",))
    made = call.world.make_id("media", 64)
    call.owner.outreach.videos[made] = {
        "source": media_id,
        "title": call.text("title"),
        "description": call.text("description"),
    }
    return {"type": "video", "media_id": made, "created_at": int(call.now)}


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/message/mass/sendall", send_all),
    Route("POST", "/cgi-bin/message/mass/send", send, accounts="service_verified"),
    Route("POST", "/cgi-bin/message/mass/preview", preview),
    Route("POST", "/cgi-bin/message/mass/delete", delete),
    Route("POST", "/cgi-bin/message/mass/get", status),
    Route("POST", "/cgi-bin/message/mass/speed/get", get_speed, takes="none"),
    Route("GET", "/cgi-bin/message/mass/speed/get", get_speed_by_get),
    Route("POST", "/cgi-bin/message/mass/speed/set", set_speed),
    Route("POST", "/cgi-bin/media/uploadnews", upload_news),
    Route("POST", "/cgi-bin/media/uploadvideo", upload_video),
)
EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {
    "mass_send": run,
    "mass_rest": run_rest,
    "mass_refused": refused,
    "mass_unanswered": unanswered,
}
