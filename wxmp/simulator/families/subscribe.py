"""Subscription notices (订阅通知): the public library, the account's templates, sending; and one-time messages."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from wxmp.simulator import outreach, people
from wxmp.simulator.outreach import Consent, OneTimeConsent, SubscribeTemplate
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, ChatEntry, Event, Sent, User
from wxmp.simulator.wire import JsonObject, Refusal, Reply, as_list, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\.DATA\s*\}\}")
KEYWORD: Final = re.compile(r"([a-z_]+?)\d+")
ONE_TIME: Final = 2
LASTING: Final = 3


@attrs.frozen
class Keyword:
    """One keyword of a public template: ``rule`` is what its values must be."""

    kid: int
    name: str
    example: str
    rule: str
    values: tuple[str, ...] = ()


@attrs.frozen
class PublicTemplate:
    """A template of the platform's public library."""

    tid: int
    title: str
    category: int
    keywords: tuple[Keyword, ...]
    kind: int = ONE_TIME


# A few templates that together have every kind of value. Titles and numbers are the simulator's own.
CATEGORIES: Final[Mapping[int, str]] = {307: "线下超市", 402: "在线教育", 612: "公共交通", 670: "快递物流"}
LIBRARY: Final[Mapping[int, PublicTemplate]] = {
    template.tid: template
    for template in (
        PublicTemplate(
            1221,
            "订单支付成功通知",
            307,
            (
                Keyword(1, "订单编号", "20260101120000", "character_string"),
                Keyword(2, "商品名称", "白菜一颗", "thing"),
                Keyword(3, "支付金额", "¥10.50", "amount"),
                Keyword(4, "支付时间", "2026年1月1日 12:00", "time"),
                Keyword(5, "数量", "3", "number"),
                Keyword(6, "联系电话", "020-81167888", "phone_number"),
            ),
        ),
        PublicTemplate(
            2034,
            "课程开始提醒",
            402,
            (
                Keyword(1, "课程名称", "高等数学", "thing"),
                Keyword(2, "开课日期", "2026年1月1日", "date"),
                Keyword(3, "老师", "张老师", "name"),
                Keyword(4, "课程状态", "即将开始", "phrase"),
                Keyword(5, "班级", "ABC", "letter"),
                Keyword(6, "上课方式", "线上", "enum_string", ("线上", "线下")),
            ),
        ),
        PublicTemplate(
            3310,
            "公交到站提醒",
            612,
            (
                Keyword(1, "线路", "快线一号", "thing"),
                Keyword(2, "到站时间", "12:30", "time"),
                Keyword(3, "车牌号", "粤A8Z888挂", "car_number"),
                Keyword(4, "标记", "!!", "symbol"),
            ),
            kind=LASTING,
        ),
        PublicTemplate(
            4477,
            "快递签收通知",
            670,
            (
                Keyword(1, "运单号", "SF1234567890", "character_string"),
                Keyword(2, "签收人", "李雷", "name"),
                Keyword(3, "签收时间", "2026年1月1日 12:00", "time"),
                Keyword(4, "备注", "放在门口", "thing"),
            ),
        ),
    )
}

CLOCK: Final = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?"
CALENDAR: Final = r"\d{4}(年\d{1,2}月\d{1,2}日|[-/.]\d{1,2}[-/.]\d{1,2})"
# What a value of each kind looks like, as a whole.
VALUE_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "thing": r".{1,20}",
        "number": r"-?(?=.{1,32}\Z)\d+(\.\d+)?",
        "letter": r"[A-Za-z]{1,32}",
        "symbol": r"[^\w\s]{1,5}",
        "character_string": r"[!-~]{1,32}",
        "time": rf"({CALENDAR} ?)?{CLOCK}(\s?[~-]\s?({CALENDAR} ?)?{CLOCK})?|{CALENDAR}",
        "date": rf"{CALENDAR}( ?{CLOCK})?(\s?[~-]\s?{CALENDAR}( ?{CLOCK})?)?",
        "amount": r"[^\w\s]?\d{1,10}(\.\d+)?元?",
        "phone_number": r"[\d+()\-#* ]{1,17}",
        "car_number": r"(?=.{1,8}\Z)[A-Za-z0-9\u4e00-\u9fff][A-Za-z0-9]*[A-Za-z0-9\u4e00-\u9fff]",
        "name": r"[\u4e00-\u9fff·]{1,10}|[A-Za-z .,'·-]{1,20}",
        "phrase": r"[\u4e00-\u9fff]{1,5}",
    }.items()
}


# --- the public library -------------------------------------------------------------------------------------------


def categories(call: Call) -> list[int]:
    """Return the ids of the account's categories."""
    chosen = call.owner.outreach.categories
    return [number for number in CATEGORIES if chosen is None or number in chosen]


def list_categories(call: Call) -> JsonObject:
    """List the account's categories."""
    return {**OK(), "data": [{"id": number, "name": CATEGORIES[number]} for number in categories(call)]}


def list_titles(call: Call) -> JsonObject:
    """List the public templates of some categories."""
    given = call.query("ids")
    if not given:
        raise Refusal(200018, "ids is missing")
    wanted = [whole_number(part.strip()) for part in given.split(",")]
    own = categories(call)
    if any(number not in own for number in wanted):
        raise Refusal(200019, f"ids is {given!r}, the account has {own}")
    start, limit = whole_number(call.query("start")), whole_number(call.query("limit"))
    if start is None or start < 0:
        raise Refusal(200016, f"start is {call.query('start')!r}")
    most = call.world.policy.subscribe_titles_page
    if limit is None or not 1 <= limit <= most:
        raise Refusal(200017, f"limit is {call.query('limit')!r}, 1 to {most} is allowed")
    found = [template for template in LIBRARY.values() if template.category in wanted]
    data = [
        {"tid": template.tid, "title": template.title, "type": template.kind, "categoryId": str(template.category)}
        for template in found[start : start + limit]
    ]
    return {**OK(), "count": len(found), "data": data}


def public_template(value: object) -> PublicTemplate:
    """Return a public template by its id, a number or a text."""
    template = LIBRARY.get(whole_number(value) or 0)
    if template is None:
        raise Refusal(200014, f"the library has no template {value!r}" if value else "tid is missing")
    return template


def list_keywords(call: Call) -> JsonObject:
    """List the keywords of a public template."""
    template = public_template(call.query("tid"))
    data = [
        {"kid": keyword.kid, "name": keyword.name, "example": keyword.example, "rule": keyword.rule}
        for keyword in template.keywords
    ]
    return {**OK(), "count": len(data), "data": data}


# --- the account's templates --------------------------------------------------------------------------------------


def add(call: Call) -> JsonObject:
    """Add a public template to the account, with chosen keywords in a chosen order."""
    found, policy = call.owner.outreach, call.world.policy
    if found.banned:
        raise Refusal(200011, "the account may not use subscription templates")
    public = public_template(call.body.get("tid"))
    kids = [whole_number(kid) for kid in as_list(call.body.get("kidList")) or []]
    known = {keyword.kid: keyword for keyword in public.keywords}
    chosen = [known[kid] for kid in kids if kid is not None and kid in known]
    least, most = policy.subscribe_keywords
    if len(chosen) != len(kids) or len(set(kids)) != len(kids) or not least <= len(kids) <= most:
        raise Refusal(
            200020, f"kidList is {call.body.get('kidList')!r}: {least} to {most} different ones of the template"
        )
    scene = call.text("sceneDesc")
    if not 1 <= len(scene) <= policy.subscribe_scene_chars:
        raise Refusal(200021, f"sceneDesc has {len(scene)} characters, 1 to {policy.subscribe_scene_chars} are allowed")
    numbers = [keyword.kid for keyword in chosen]
    if any(own.tid == public.tid and own.keywords == numbers for own in found.templates.values()):
        raise Refusal(200022, "the account has this template with these keywords")
    if len(found.templates) >= policy.subscribe_templates:
        raise Refusal(200012, f"the account has {len(found.templates)} private templates already")
    template = SubscribeTemplate(
        template_id=call.world.make_id("subscribe template", 43),
        tid=public.tid,
        title=public.title,
        content="\n".join(f"{keyword.name}:{{{{{keyword.rule}{keyword.kid}.DATA}}}}" for keyword in chosen),
        example="\n".join(f"{keyword.name}:{keyword.example}" for keyword in chosen),
        kind=public.kind,
        keywords=numbers,
        scene=scene,
        values={f"{keyword.rule}{keyword.kid}": list(keyword.values) for keyword in chosen if keyword.values},
    )
    found.templates[template.template_id] = template
    return {**OK(), "priTmplId": template.template_id}


def delete(call: Call) -> JsonObject:
    """Delete one of the account's templates; what users allowed for it is gone with it."""
    template_id = call.text("priTmplId")
    if call.owner.outreach.templates.pop(template_id, None) is None:
        raise Refusal(200014, "the account has no such template")
    for consents in call.owner.outreach.consents.values():
        consents.pop(template_id, None)
    return OK()


def list_own(call: Call) -> JsonObject:
    """List the account's templates."""
    return {**OK(), "data": [show(template) for template in call.owner.outreach.templates.values()]}


def show(template: SubscribeTemplate) -> JsonObject:
    """Return one template in the platform's shape."""
    shown: JsonObject = {
        "priTmplId": template.template_id,
        "title": template.title,
        "content": template.content,
        "example": template.example,
        "type": template.kind,
    }
    if template.values:
        shown["keywordEnumValueList"] = [
            {"keywordCode": f"{name}.DATA", "enumValueList": values} for name, values in template.values.items()
        ]
    return shown


# --- sending ------------------------------------------------------------------------------------------------------


def receiver(call: Call) -> User:
    """Return the receiver: anybody the account knows and has not put on the blacklist."""
    user = call.user(call.text("touser"))
    if user.blacklisted and call.world.policy.blacklist_stops_notices:
        raise Refusal(43019, "the user is on the account's blacklist")
    return user


def send(call: Call) -> JsonObject:
    """Send a subscription notice: it needs, and mostly uses up, a consent of the user."""
    account, world = call.owner, call.world
    user = receiver(call)
    template = account.outreach.templates.get(call.text("template_id"))
    if template is None:
        raise Refusal(40037, "the account has no such subscription template")
    if template.restricted:
        raise Refusal(43116, "the platform holds messages of this template back")
    check_data(call, template)
    check_target(call)
    client_msg_id = call.text("client_msg_id")
    if client_msg_id and world.policy.subscribe_deduplicates:
        oldest = call.now - world.policy.client_msg_id_life
        sent = world.sent_index.key(account, "subscribe", user.openid, client_msg_id, after=oldest)
        if sent is not None:
            call.why += f"; duplicate of message {sent.msgid}, not sent again"
            return OK()
    consent = account.outreach.consents.get(user.openid, {}).get(template.template_id, Consent())
    if consent.refused or not (consent.lasting or consent.left):
        raise Refusal(43101, "the user switched it off" if consent.refused else "the user has allowed no further send")
    if not consent.lasting:
        consent.left -= 1
    msgid = world.next_msgid(account)
    record = Sent("subscribe", call.now, user.openid, dict(call.body), msgid, "sending", client_msg_id)
    world.record_sent(account, record)
    low, high = world.policy.subscribe_delay
    delay = world.state.dice.between("subscribe delay", low, high)
    event: JsonObject = {"openid": user.openid, "template_id": template.template_id, "msgid": msgid}
    world.schedule(delay, "subscribe_sent", account, event)
    left = "a lasting consent" if consent.lasting else f"{consent.left} more allowed"
    call.why += f"; message {msgid} accepted ({left}), the report is due in {delay:.2f} s"
    where = "" if user.following else "in the service notices: the user does not follow the account"
    # The phone shows the template's own captions, which the message does not carry.
    shown: JsonObject = {**call.body, "template_content": template.content}
    entry = ChatEntry("to_user", "subscribe", template.title, shown, call.now, "subscribe", where)
    people.chat(world, user, entry)
    return OK()


def check_data(call: Call, template: SubscribeTemplate) -> None:
    """Check that every keyword of the template has a value of its kind (47003 names the first that has not)."""
    data = as_object(call.body.get("data"))
    if data is None:
        raise Refusal(47003, "data is missing", detail="data is empty")
    for name in PLACEHOLDER.findall(template.content):
        value = (as_object(data.get(name)) or {}).get("value")
        if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
            raise Refusal(47003, f"the keyword {name} has no value", detail=f"data.{name}.value is empty")
        match = KEYWORD.fullmatch(name)
        rule = VALUE_RULES.get(match.group(1)) if match else None
        fits = rule is None or rule.fullmatch(str(value)) is not None
        if not fits or (name in template.values and str(value) not in template.values[name]):
            why = f"the value of {name} breaks the rule of its kind"
            raise Refusal(47003, why, detail=f"data.{name}.value invalid")
        if any(word in str(value) for word in call.world.policy.subscribe_blocked_words):
            raise Refusal(45168, f"the value of {name} holds a blocked word")


def check_target(call: Call) -> None:
    """Check where a tap on the message leads."""
    page = call.body.get("page")
    if page is not None and (not isinstance(page, str) or len(page) > call.world.policy.subscribe_page_chars):
        raise Refusal(41030, f"page is {type(page).__name__}, or too long")
    check_miniprogram(call)


def check_miniprogram(call: Call) -> None:
    """Check the mini program a tap leads to."""
    target, linked = as_object(call.body.get("miniprogram")), call.owner.linked_miniprograms
    if target is not None and target and linked is not None and call.text("appid", target) not in linked:
        raise Refusal(40166, "the mini program is not linked to the account")


def report(world: World, account: Account, event: Event) -> None:
    """Tell what became of a subscription notice (subscribe_msg_sent_event)."""
    openid, template_id = str(event.fields["openid"]), str(event.fields["template_id"])
    consent = account.outreach.consents.get(openid, {}).get(template_id, Consent())
    code = world.policy.subscribe_off_errcode if consent.refused else 0
    status = "user refuse to accept the msg" if code else "success"
    sent = world.sent_index.number(account, event.fields["msgid"])
    if sent is not None:
        sent.status = status
    entry: JsonObject = {
        "TemplateId": template_id,
        "MsgID": event.fields["msgid"],
        "ErrorCode": code,
        "ErrorStatus": status,
    }
    fields: JsonObject = {
        "MsgType": "event",
        "Event": "subscribe_msg_sent_event",
        "SubscribeMsgSentEvent": {"List": [entry]},
    }
    people.push(world, account, account.users[openid], "event", fields, event.due)


# --- the old one-time subscription --------------------------------------------------------------------------------

PAGE: Final = """<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head>
<body><h1>{title}</h1>{body}</body></html>
"""
MAX_CHOICES: Final = 20
OWN_PARAMETERS: Final = frozenset({"user", "answer"})


def page(title: str, body: str, why: str) -> Reply:
    """Return a page for a person's eyes. ``body`` is HTML and must be escaped already."""
    text = PAGE.format(title=html.escape(title), body=body).encode("utf-8", errors="replace")
    return Reply(text, content_type="text/html; charset=utf-8", why=why)


def consent_page(call: Call) -> Reply:
    """Ask for the consent to one message, or take the answer and send the browser back.

    Besides the platform's own parameters: ``user`` chooses who is sitting at the phone, and ``answer`` is what they
    tap, ``confirm`` or ``cancel``.
    """
    account = call.world.state.accounts.get(call.query("appid"))
    if account is None:
        return page("无法打开", "<p>appid 参数错误</p>", "page error: no such account")
    call.account = account
    scene, policy = whole_number(call.query("scene")), call.world.policy
    target, reserved = call.query("redirect_url"), call.query("reserved")
    try:
        parts = urlsplit(target)
        web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        parts, web = urlsplit(""), False
    problems = {
        "action 参数错误": call.query("action") != "get_confirm",
        "scene 参数错误": scene is None or not 0 <= scene <= policy.one_time_scene_max,
        "template_id 参数错误": call.query("template_id") != outreach.one_time_template(account),
        "redirect_url 参数错误": not web,
        "reserved 参数错误": len(reserved.encode("utf-8", errors="replace")) > policy.one_time_reserved_bytes,
    }
    wrong = next((text for text, broken in problems.items() if broken), None)
    if wrong is not None:
        return page("无法打开", f"<p>{html.escape(wrong)}</p>", f"page error: {wrong}")
    user = visitor(call, account)
    if user is None:
        return page("无法打开", "<p>没有这个用户</p>", "page error: no such user")
    answer = call.query("answer")
    if answer not in {"confirm", "cancel"}:
        return choices(call, account, user)
    if answer == "confirm":
        consent = OneTimeConsent(user.openid, call.query("template_id"), scene or 0, call.now)
        account.outreach.one_time.append(consent)
        del account.outreach.one_time[: -policy.sent_kept]
    back = {"openid": user.openid} if answer == "confirm" else {}
    back |= {"template_id": call.query("template_id"), "action": answer, "scene": str(scene), "reserved": reserved}
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *back.items()])
    location = urlunsplit(parts._replace(query=query))
    why = f"{answer} of {user.openid[:8]}…"
    return Reply(status=302, content_type="text/html", headers=(("location", location),), why=why)


def visitor(call: Call, account: Account) -> User | None:
    """Return who visits the page: the one asked for, else the first user, else a new stranger."""
    wanted = call.query("user")
    if wanted:
        return account.users.get(wanted)
    if not account.users:
        return account.users[call.world.create_stranger(appid=account.appid)]
    return next(iter(account.users.values()))


def choices(call: Call, account: Account, user: User) -> Reply:
    """Show the page, with two links for every user who may sit at the phone."""
    given = {name: value for name, value in call.request.query.items() if name not in OWN_PARAMETERS}
    others = [user, *(other for other in account.users.values() if other is not user)][:MAX_CHOICES]
    items: list[str] = []
    for choice in others:
        links = " ".join(
            f'<a href="{html.escape("?" + urlencode({**given, "user": choice.openid, "answer": answer}))}">{text}</a>'
            for answer, text in (("confirm", "同意"), ("cancel", "取消"))
        )
        name = html.escape(f"{call.world.person_of(choice).nickname} ({choice.openid})")
        items.append(f"<li>{name}: {links}</li>")
    return page("申请给你发送一次消息", f"<ul>{''.join(items)}</ul>", "the consent page is shown")


def send_one_time(call: Call) -> JsonObject:
    """Send the one message a user agreed to on the consent page."""
    account, policy = call.owner, call.world.policy
    user = receiver(call)
    template_id, scene = call.text("template_id"), call.number("scene")
    if template_id != outreach.one_time_template(account):
        raise Refusal(40037, "not the account's template of one-time subscriptions")
    title = call.text("title")
    if not 1 <= len(title) <= policy.one_time_title_chars:
        raise Refusal(40062, f"the title has {len(title)} characters, 1 to {policy.one_time_title_chars} are allowed")
    data = as_object(call.body.get("data")) or {}
    value = call.text("value", as_object(data.get("content")) or {})
    if not 1 <= len(value) <= policy.one_time_content_chars:
        why = f"the content has {len(value)} characters, 1 to {policy.one_time_content_chars} are allowed"
        raise Refusal(47003, why, detail="data.content.value invalid")
    check_miniprogram(call)
    consents = account.outreach.one_time
    found = next((one for one in consents if one.openid == user.openid and one.scene == scene), None)
    if found is None:
        raise Refusal(43101, "the user has not agreed to a message of this scene, or it was sent")
    consents.remove(found)
    where = "" if user.following else "in the service notices: the user does not follow the account"
    entry = ChatEntry("to_user", "subscribe", title, dict(call.body), call.now, "subscribe", where)
    people.chat(call.world, user, entry)
    msgid = call.world.next_msgid(account)
    call.world.record_sent(account, Sent("subscribe", call.now, user.openid, dict(call.body), msgid, "success"))
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/wxaapi/newtmpl/getcategory", list_categories),
    Route("GET", "/wxaapi/newtmpl/getpubtemplatetitles", list_titles),
    Route("GET", "/wxaapi/newtmpl/getpubtemplatekeywords", list_keywords),
    Route("POST", "/wxaapi/newtmpl/addtemplate", add),
    Route("POST", "/wxaapi/newtmpl/deltemplate", delete),
    Route("GET", "/wxaapi/newtmpl/gettemplate", list_own),
    Route("POST", "/cgi-bin/message/subscribe/bizsend", send),
    Route("POST", "/cgi-bin/message/template/subscribe", send_one_time),
    Route("GET", "/mp/subscribemsg", consent_page, auth="none", host="mp", style="page"),
)
EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {"subscribe_sent": report}
