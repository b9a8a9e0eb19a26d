"""Template messages: industries, the account's own templates, sending, and the report that comes later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator import people
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, ChatEntry, Event, Sent, Template, User
from wxmp.simulator.wire import JsonObject, Refusal, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\.DATA\s*\}\}")
KEYWORD = re.compile(r"([a-z_]+?)\d*\Z")
DAY: Final = 86_400.0
MAX_BLOCKED_PAGE: Final = 100
BLOCKED: Final = "blocked"
DIGITS: Final = re.compile(r"[0-9]{1,20}")

# The platform's 41 industries (行业代码查询), in order.
INDUSTRIES: Final = (
    ("IT科技", "互联网|电子商务"),
    ("IT科技", "IT软件与服务"),
    ("IT科技", "IT硬件与设备"),
    ("IT科技", "电子技术"),
    ("IT科技", "通信与运营商"),
    ("IT科技", "网络游戏"),
    ("金融业", "银行"),
    ("金融业", "基金|理财|信托"),
    ("金融业", "保险"),
    ("餐饮", "餐饮"),
    ("酒店旅游", "酒店"),
    ("酒店旅游", "旅游"),
    ("运输与仓储", "快递"),
    ("运输与仓储", "物流"),
    ("运输与仓储", "仓储"),
    ("教育", "培训"),
    ("教育", "院校"),
    ("政府与公共事业", "学术科研"),
    ("政府与公共事业", "交警"),
    ("政府与公共事业", "博物馆"),
    ("政府与公共事业", "公共事业|非盈利机构"),
    ("医药护理", "医药医疗"),
    ("医药护理", "护理美容"),
    ("医药护理", "保健与卫生"),
    ("交通工具", "汽车相关"),
    ("交通工具", "摩托车相关"),
    ("交通工具", "火车相关"),
    ("交通工具", "飞机相关"),
    ("房地产", "建筑"),
    ("房地产", "物业"),
    ("消费品", "消费品"),
    ("商业服务", "法律"),
    ("商业服务", "会展"),
    ("商业服务", "中介服务"),
    ("商业服务", "认证"),
    ("商业服务", "审计"),
    ("文体娱乐", "传媒"),
    ("文体娱乐", "体育"),
    ("文体娱乐", "娱乐休闲"),
    ("印刷", "印刷"),
    ("其它", "其它"),
)


@attrs.frozen
class Library:
    """A template of the platform's public library. A category template lets the account choose its keywords."""

    title: str
    content: str = ""
    keywords: tuple[tuple[str, str], ...] = ()
    industry: int = 1


LIBRARY: Final[dict[str, Library]] = {
    "TM00015": Library(
        "订单支付成功",
        "{{first.DATA}}\n\n支付金额:{{orderMoneySum.DATA}}\n商品信息:{{orderProductName.DATA}}\n{{Remark.DATA}}",
    ),
    "TM00017": Library(
        "订单状态更新",
        "{{first.DATA}}\n\n订单编号:{{OrderSn.DATA}}\n订单状态:{{OrderStatus.DATA}}\n{{remark.DATA}}",
    ),
    "OPENTM207710423": Library(
        "服务到期提醒", "{{first.DATA}}\n服务:{{keyword1.DATA}}\n到期:{{keyword2.DATA}}\n{{remark.DATA}}"
    ),
    "43216": Library(
        "订单发货通知",
        keywords=(
            ("订单编号", "character_string"),
            ("商品名称", "thing"),
            ("发货时间", "time"),
            ("订单金额", "amount"),
            ("客服电话", "phone_number"),
        ),
    ),
    "57": Library("预约成功通知", keywords=(("预约项目", "thing"), ("预约时间", "time"), ("预约状态", "const"))),
}


def longest(limit: int) -> Callable[[str], bool]:
    """Return a rule: at most so many characters."""
    return lambda value: len(value) <= limit


# Rules by the letters a keyword begins with; others take any text.
VALUE_RULES: Final[dict[str, Callable[[str], bool]]] = {
    "thing": longest(20),
    "const": longest(20),
    "character_string": lambda value: len(value) <= 32 and value.isascii(),
    "phone_number": lambda value: re.fullmatch(r"[0-9+\-() ]{1,17}", value) is not None,
    "car_number": longest(8),
    "amount": lambda value: re.fullmatch(r"[^\d\s]?\d{1,10}(\.\d{1,2})?元?", value) is not None,
    "time": lambda value: re.search(r"\d{1,2}:\d{2}|\d{4}\s*[-年/]", value) is not None,
}


def industry_pair(call: Call) -> list[int]:
    """Read the two industries, each a text or a number from 1 to 41."""
    pair = [whole_number(call.body.get(name)) for name in ("industry_id1", "industry_id2")]
    known = [number for number in pair if number is not None and 1 <= number <= len(INDUSTRIES)]
    if len(known) != len(pair):
        raise Refusal(40102, f"the industries are {pair}, 1 to {len(INDUSTRIES)} are known")
    return known


def set_industry(call: Call) -> JsonObject:
    """Set the two industries; templates of others are deleted."""
    account, wanted = call.owner, industry_pair(call)
    wait = call.world.policy.industry_change_days * DAY
    if account.industry_set_at is not None and call.now - account.industry_set_at < wait:
        raise Refusal(43100, "the industries were changed less than a month ago")
    account.industries = wanted
    account.industry_set_at = call.now
    account.templates = {key: item for key, item in account.templates.items() if item.industry in wanted}
    return OK()


def get_industry(call: Call) -> JsonObject:
    """Read the two industries."""
    shown = [INDUSTRIES[number - 1] for number in call.owner.industries]
    names = ("primary_industry", "secondary_industry")
    return {
        name: {"first_class": first, "second_class": second} for name, (first, second) in zip(names, shown, strict=True)
    }


def add(call: Call) -> JsonObject:
    """Add a library template to the account."""
    account, short = call.owner, call.text("template_id_short")
    entry = LIBRARY.get(short)
    if entry is None:
        raise Refusal(40037, f"the library has no template {short!r}")
    limit = call.world.policy.max_templates
    if len(account.templates) >= limit:
        raise Refusal(45026, f"the account has {limit} templates already")
    content = entry.content or category_content(call, entry)
    # A template belongs to the account's main industry here, so that a later change has something to delete.
    template = Template(call.world.make_id("template", 43), entry.title, content, industry=account.industries[0])
    account.templates[template.template_id] = template
    return {**OK(), "template_id": template.template_id}


def category_content(call: Call, entry: Library) -> str:
    """Build the content of a category template from the chosen keywords, in their order."""
    chosen = (
        [name for name in call.items("keyword_name_list") if isinstance(name, str)]
        if call.body.get("keyword_name_list")
        else []
    )
    kinds = dict(entry.keywords)
    if not chosen or any(name not in kinds for name in chosen):
        raise Refusal(40246, f"the keywords must be some of {', '.join(kinds)}")
    return "\n".join(f"{name}:{{{{{kinds[name]}{index}.DATA}}}}" for index, name in enumerate(chosen, start=1))


def list_own(call: Call) -> JsonObject:
    """List the account's templates."""
    return {"template_list": [show(template) for template in call.owner.templates.values()]}


def show(template: Template) -> JsonObject:
    """Return one template in the platform's shape."""
    first, second = INDUSTRIES[template.industry - 1]
    return {
        "template_id": template.template_id,
        "title": template.title,
        "primary_industry": first,
        "deputy_industry": second,
        "content": template.content,
        "example": template.example,
    }


def delete(call: Call) -> JsonObject:
    """Delete one of the account's templates."""
    if call.owner.templates.pop(call.text("template_id"), None) is None:
        raise Refusal(40037, "the account has no such template")
    return OK()


def receiver(call: Call) -> User:
    """Return the receiver: a follower who is not on the blacklist."""
    user = call.user(call.text("touser"))
    if user.blacklisted:
        raise Refusal(43019, "the user is on the account's blacklist")
    if not user.following:
        raise Refusal(43004, "the user does not follow the account")
    return user


def check_data(call: Call, template: Template) -> None:
    """Check that every keyword of the template has a value that fits its kind (47003 names the first that has not)."""
    data = as_object(call.body.get("data"))
    if data is None:
        raise Refusal(47003, "data is missing", detail="data is empty")
    for name in PLACEHOLDER.findall(template.content):
        entry = as_object(data.get(name)) or {}
        value = entry.get("value")
        if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
            raise Refusal(47003, f"the keyword {name} has no value", detail=f"data.{name}.value is empty")
        match = KEYWORD.match(name)
        rule = VALUE_RULES.get(match.group(1)) if match else None
        if rule is not None and not rule(str(value)):
            raise Refusal(
                47003, f"the value of {name} breaks the rule of its kind", detail=f"data.{name}.value invalid"
            )


def send(call: Call) -> JsonObject:
    """Send a template message; the same ``client_msg_id`` to the same user is sent once in ten minutes."""
    account, world = call.owner, call.world
    user = receiver(call)
    template = account.templates.get(call.text("template_id"))
    if template is None:
        raise Refusal(40037, "the account has no such template")
    check_data(call, template)
    check_miniprogram(call)
    client_msg_id = call.text("client_msg_id")
    if client_msg_id:
        oldest = call.now - world.policy.client_msg_id_life
        sent = world.sent_index.key(account, "template", user.openid, client_msg_id, after=oldest)
        if sent is not None:
            call.why += f"; duplicate of message {sent.msgid}, not sent again"
            return {**OK(), "msgid": sent.msgid}
    msgid = world.next_msgid(account)
    # Of a message that is held back only the platform's list of such messages tells.
    status = BLOCKED if is_blocked(call) else "sending"
    record = Sent("template", call.now, user.openid, dict(call.body), msgid, status, client_msg_id)
    world.record_sent(account, record)
    if not user.blocks_templates and status != BLOCKED:
        shown: JsonObject = {**call.body, "template_content": template.content}
        # The phone shows the template's own captions, which the message does not carry.
        entry = ChatEntry("to_user", "template", template.title, shown, call.now, "template")
        people.chat(world, user, entry)
    low, high = world.policy.template_delay
    delay = world.state.dice.between("template delay", low, high)
    world.schedule(delay, "template_finish", account, {"openid": user.openid, "msgid": msgid})
    call.why += f"; message {msgid} accepted, the report is due in {delay:.2f} s"
    return {**OK(), "msgid": msgid}


def finish(world: World, account: Account, event: Event) -> None:
    """Report the outcome of a template message (TEMPLATESENDJOBFINISH)."""
    user = account.users[str(event.fields["openid"])]
    # One text has a blank after the colon and the other has none: both are as documented.
    status = "failed:user block" if user.blocks_templates else "success"
    if not user.following and not user.blocks_templates:
        status = "failed: system failed"
    sent = world.sent_index.number(account, event.fields["msgid"])
    if sent is not None and sent.status == BLOCKED:
        status = "failed: system failed"
    elif sent is not None:
        sent.status = status
    fields: JsonObject = {
        "MsgType": "event",
        "Event": "TEMPLATESENDJOBFINISH",
        "MsgID": event.fields["msgid"],
        "Status": status,
    }
    people.push(world, account, user, "event", fields, event.due)


def is_blocked(call: Call) -> bool:
    """Tell whether the platform holds a message back for what it says."""
    values = [str((as_object(entry) or {}).get("value", "")) for entry in call.part("data").values()]
    return any(word in value for word in call.world.policy.template_blocked_words for value in values)


def check_miniprogram(call: Call) -> None:
    """Check the mini program a tap on the message leads to."""
    target, linked = as_object(call.body.get("miniprogram")), call.owner.linked_miniprograms
    if target and linked is not None and call.text("appid", target) not in linked:
        raise Refusal(40166, "the mini program is not linked to the account")


def list_blocked(call: Call) -> JsonObject:
    """List what the platform held back of a message, one page."""
    # Message ids have more digits than other numbers, and come as texts as well.
    wanted, largest = (str(call.body.get(name, "")) for name in ("tmpl_msg_id", "largest_id"))
    limit = call.number("limit")
    if not (DIGITS.fullmatch(wanted) and DIGITS.fullmatch(largest)):
        raise Refusal(40097, f"tmpl_msg_id is {wanted!r}, largest_id is {largest!r}: whole numbers are wanted")
    if limit is None or not 1 <= limit <= MAX_BLOCKED_PAGE:
        raise Refusal(40097, f"limit is {call.body.get('limit')!r}, 1 to {MAX_BLOCKED_PAGE} is allowed")
    found = [
        sent
        for sent in call.owner.sent
        if sent.kind == "template" and sent.status == BLOCKED and str(sent.msgid) == wanted and wanted != largest
    ]
    return {**OK(), "msginfo": [show_blocked(call.owner, sent) for sent in found[:limit]]}


def show_blocked(account: Account, sent: Sent) -> JsonObject:
    """Return one message that was held back, in the platform's shape."""
    template = account.templates.get(str(sent.payload.get("template_id")))
    data = as_object(sent.payload.get("data")) or {}

    def value(match: re.Match[str]) -> str:
        return str((as_object(data.get(match.group(1))) or {}).get("value", ""))

    return {
        "id": str(sent.msgid),
        "tmpl_msg_id": str(sent.msgid),
        "title": template.title if template is not None else "",
        "content": PLACEHOLDER.sub(value, template.content) if template is not None else "",
        "send_timestamp": int(sent.at),
        "openid": sent.openid,
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/template/api_set_industry", set_industry, accounts="service_verified"),
    Route("GET", "/cgi-bin/template/get_industry", get_industry, accounts="service_verified"),
    Route("POST", "/cgi-bin/template/api_add_template", add, accounts="service_verified"),
    Route("GET", "/cgi-bin/template/get_all_private_template", list_own, accounts="service_verified"),
    Route("POST", "/cgi-bin/template/del_private_template", delete, accounts="service_verified"),
    Route("POST", "/cgi-bin/message/template/send", send, accounts="service_verified"),
    Route("POST", "/wxa/sec/queryblocktmplmsg", list_blocked, accounts="service_verified"),
)
EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {"template_finish": finish}
