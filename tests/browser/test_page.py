"""The simulator's page, used as a developer uses it: a phone, a timeline, and what goes on between them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.service import CHECKOUT, CONFIG
from tests.browser.shop import Shop
from tests.redis_server import held_port
from tests.simulator.conftest import Desk
from wxmp.simulator import Request, Simulator
from wxmp.simulator.jpeg import flat_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import BrowserContext, CDPSession, Locator, Page

    from tests.browser.conftest import Watched
    from tests.browser.service import Service

NASTY = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\'"&amp;${1}{{1}}'
BUTTONS: list[dict[str, Any]] = [
    {"type": "click", "name": "今日歌曲", "key": "V1001_TODAY"},
    {"name": "菜单", "sub_button": [{"type": "click", "name": "赞一下", "key": "V1001_GOOD"}]},
]


#: Keeps what the toasts say: each is there for seconds only.
TOASTS = """
window.toasts = [];
document.addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
  for (const toast of changes.flatMap((change) => [...change.addedNodes])) {
    toasts.push(`${toast.classList.contains("bad") ? "bad" : "ok"} ${toast.textContent}`);
  }
}).observe(document.querySelector("#toasts"), { childList: true }));
"""


def start(page: Page, sim: Simulator) -> None:
    """Open the page and wait until it is connected."""
    page.add_init_script(f"if (top === window) {{ {TOASTS} }}")
    answer = page.goto(f"{sim.url}/_sim/")
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def add(page: Page, name: str) -> None:
    """Add a person; their phone is shown."""
    page.locator("#add-user-name").fill(name)
    page.locator("#add-user").click()
    expect(page.locator("#phone-list [aria-selected=true]")).to_contain_text(name)
    expect(page.locator("#follow")).to_be_visible()  # until then the phone does not know the account's codes


def follow(page: Page, name: str = "爱丽丝") -> None:
    """Add a person who follows."""
    add(page, name)
    page.locator("#follow").click()
    expect(page.locator("#unfollow")).to_be_visible()


def welcome(page: Page) -> None:
    """Add a person who follows, and wait for the service's welcome."""
    follow(page)
    expect(line(page, "reply")).to_contain_text("欢迎关注")


def line(page: Page, source: str) -> Locator:
    """Return the newest line of the chat that comes from a source."""
    return page.locator(f'#chat [data-source="{source}"]').last


def openid_of(page: Page) -> str:
    """Return who is at the phone."""
    found = page.locator("#phone-list [aria-selected=true]").get_attribute("data-openid")
    assert found
    return found


# ---- the phone


@pytest.mark.usefixtures("service")
def test_follow_and_talk(page: Page, sim: Simulator) -> None:
    """Somebody follows and is welcomed, says hello and is answered; no reload is needed to see it."""
    start(page, sim)
    welcome(page)
    page.locator("#chat-input").fill("你好 & <b>世界</b> 🔨")
    page.locator("#chat-send").click()
    expect(line(page, "user")).to_contain_text("你好 & <b>世界</b> 🔨")
    expect(line(page, "reply")).to_contain_text("你说：你好 & <b>世界</b> 🔨")
    page.locator("#unfollow").click()
    expect(page.locator("#follow")).to_be_visible()


@pytest.mark.usefixtures("service")
def test_article_card(page: Page, sim: Simulator) -> None:
    """An article whose picture is elsewhere is a card without it: nothing is asked for beyond this machine."""
    start(page, sim)
    welcome(page)
    page.locator("#chat-input").fill("图文")
    page.locator("#chat-send").click()
    expect(line(page, "reply")).to_contain_text("标题")
    expect(line(page, "reply").locator(".picture.missing")).to_have_count(1)


@pytest.mark.usefixtures("service")
def test_what_others_do_is_seen(page: Page, sim: Simulator) -> None:
    """What a test or another window does to the world appears by itself, in the chat and in the timeline."""
    start(page, sim)
    phone = sim.world.user("鲍勃")
    phone.follow()
    # As a follower: the tab of a stranger is made anew at any moment, maybe under the mouse.
    page.locator("#phone-list .person:not(.stranger)", has_text="鲍勃").click()
    expect(line(page, "reply")).to_contain_text("欢迎关注")
    phone.say("从外面来")
    expect(line(page, "reply")).to_contain_text("你说：从外面来")
    expect(page.locator("#timeline [data-seq]").filter(has_text="/wx").last).to_be_visible()


@pytest.mark.usefixtures("service")
def test_menu(page: Page, sim: Simulator, desk: Desk) -> None:
    """A button and a button of a sub-menu are tapped; the service's answers come."""
    desk.post("/cgi-bin/menu/create", {"button": BUTTONS})
    start(page, sim)
    welcome(page)
    page.locator('#menu-bar [data-menu-key="V1001_TODAY"]').click()
    expect(line(page, "reply")).to_contain_text("点了 V1001_TODAY")
    page.locator('#menu-bar [data-menu-key="菜单"]').click()
    page.locator('#menu-bar [data-menu-key="V1001_GOOD"]').click()
    expect(line(page, "reply")).to_contain_text("点了 V1001_GOOD")


def test_send_a_picture(page: Page, sim: Simulator) -> None:
    """A picture is taken from the sheet, shown in the chat, and the account can download it by its media_id."""
    start(page, sim)
    follow(page)
    page.locator("#attach").click()
    page.locator('[data-attach="sample_image"]').click()
    picture = line(page, "user").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 640
    (message,) = [entry for entry in sim.chat(openid_of(page)) if entry.kind == "image"]
    token = Desk(sim.world).token()
    query = {"access_token": token, "media_id": str(message.payload["MediaId"])}
    answer = httpx.get(f"{sim.url}/cgi-bin/media/get", params=query, timeout=40, trust_env=False)
    assert answer.headers["content-type"].startswith("image/jpeg")


def test_stale_menu_is_told(page: Page, sim: Simulator, desk: Desk) -> None:
    """A phone goes on showing the old menu, says so, and reads the new one when told."""
    desk.post("/cgi-bin/menu/create", {"button": BUTTONS})
    start(page, sim)
    follow(page)
    page.locator("#phone-list [aria-selected=true]").click()  # the chat is opened, and the menu read
    user = sim.account.users[openid_of(page)]
    assert sim.wait_for(lambda _: user.menu_read_at is not None, 40)
    expect(page.locator('#menu-bar [data-menu-key="V1001_TODAY"]')).to_be_visible()
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "新的", "key": "NEW"}]})
    expect(page.locator("#stale")).to_be_visible()
    expect(page.locator('#menu-bar [data-menu-key="NEW"]')).to_have_count(0)
    page.locator("#menu-refresh").click()
    expect(page.locator('#menu-bar [data-menu-key="NEW"]')).to_be_visible()
    expect(page.locator("#stale")).to_be_hidden()


@pytest.mark.usefixtures("service")
def test_scan(page: Page, sim: Simulator, desk: Desk) -> None:
    """A code of the account is scanned: a stranger follows by it, a follower gives an event."""
    made = desk.post(
        "/cgi-bin/qrcode/create",
        {"action_name": "QR_STR_SCENE", "expire_seconds": 600, "action_info": {"scene": {"scene_str": "store1"}}},
    )
    start(page, sim)
    add(page, "爱丽丝")
    for answer in ("欢迎关注", "扫了 store1"):
        page.locator("#scan-open").click()
        page.locator(f'[data-ticket="{made["ticket"]}"]').click()
        expect(line(page, "reply")).to_contain_text(answer)


def test_template_card(page: Page, sim: Simulator, desk: Desk) -> None:
    """A template message is a card with its title, its captions and its values."""
    start(page, sim)
    follow(page)
    template = desk.post("/cgi-bin/template/api_add_template", {"template_id_short": "TM00015"})["template_id"]
    data = {
        "first": {"value": "您好"},
        "orderMoneySum": {"value": "12.00元"},
        "orderProductName": {"value": "茶"},
        "Remark": {"value": "再见"},
    }
    sent = desk.post(
        "/cgi-bin/message/template/send", {"touser": openid_of(page), "template_id": template, "data": data}
    )
    assert sent["errcode"] == 0
    card = line(page, "template")
    for text in ("订单支付成功", "支付金额", "12.00元", "茶", "再见"):
        expect(card).to_contain_text(text)


def test_first_steps(page: Page, sim: Simulator) -> None:
    """Without people and without a server the page says what to do, and each step is one tap away."""
    start(page, sim)
    expect(page.locator("#timeline-empty")).to_contain_text(f"WXMP_APPID={sim.account.appid}")
    page.locator("#timeline-empty .text-link").click()
    expect(page.locator("#callback-form [name=url]")).to_be_focused()
    page.locator("#first-user").click()
    expect(page.locator("#follow")).to_be_focused()
    before = page.locator("#menu-bar").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#unfollow")).to_be_visible()
    expect(page.locator("#menu-bar")).not_to_have_text(before)


@pytest.mark.usefixtures("service")
def test_many_people(page: Page, sim: Simulator, desk: Desk) -> None:
    """Among many people somebody is found by name; only new lines are news, and a window that is over goes away."""
    sim.world.clock.freeze()  # the window of a minute is over when this test says so
    people = [sim.world.user(f"人{number:02d}") for number in range(12)]
    for phone in people:
        phone.follow()
    assert sim.wait_until_settled()
    start(page, sim)
    page.locator("#people-open").click()
    expect(page.locator("#people-list [data-openid]")).to_have_count(12)
    page.keyboard.type("人07")
    expect(page.locator("#people-list [data-openid]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#phone-list [aria-selected=true]")).to_have_text(re.compile("人07"))
    expect(page.locator("#people-open")).to_be_focused()
    desk.post(
        "/cgi-bin/qrcode/create", {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "a"}}}
    )
    people[3].say("有人吗")
    expect(page.locator(f'#phone-list [data-openid="{people[3].openid}"] .unread')).to_have_count(1)
    expect(page.locator("#phone-list .unread")).to_have_count(1)
    expect(page.locator("#windows .chip")).to_have_count(1)
    sim.advance(3600)
    expect(page.locator("#windows .chip")).to_have_count(0)


def test_what_is_covered_is_out_of_reach(page: Page, sim: Simulator, service: Service) -> None:
    """Below the phone's browser and its sheets nothing can be reached, and the focus comes back afterwards."""
    start(page, sim)
    follow(page)
    focus = "document.activeElement.id"
    for opener, layer in (("#attach", "#sheet"), ("#scan-open", "#sheet")):
        page.locator(opener).click()
        expect(page.locator(layer)).to_be_visible()
        assert page.locator("#composer").evaluate("(element) => element.inert") is True
        page.keyboard.press("Escape")
        expect(page.locator(layer)).to_be_hidden()
        assert page.evaluate(focus) == opener[1:]
    scan_text(page, f"{service.base}/landing")
    expect(page.frame_locator("#browser-frame").locator("#landed")).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#composer, #menu-row, .chat-head')") is None
    page.locator("#browser-close").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#browser")).to_be_hidden()
    assert page.evaluate(focus) == "scan-open"
    assert page.locator("#composer").evaluate("(element) => element.inert") is False


@pytest.mark.usefixtures("service")
def test_chat_stays_at_its_end(page: Page, sim: Simulator) -> None:
    """Neither another size nor another view moves the chat from its newest line; the reader's own scrolling does."""
    start(page, sim)
    welcome(page)
    phone = sim.world.user("爱丽丝")
    for number in range(15):
        phone.say(f"第{number}行")
    expect(line(page, "reply")).to_contain_text("第14行")
    left = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight"
    page.set_viewport_size({"width": 390, "height": 700})
    page.locator('#tabs [data-tab="timeline"]').click()
    phone.say("来了吗")
    page.locator('#tabs [data-tab="phone"]').click()
    expect(line(page, "reply")).to_contain_text("来了吗")
    page.set_viewport_size({"width": 640, "height": 400})
    expect(line(page, "reply")).to_be_in_viewport()
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(line(page, "reply")).to_be_in_viewport()
    page.locator("#chat-scroll").evaluate("(box) => { box.scrollTop = 0; }")
    expect(page.locator("#chat-scroll")).to_have_attribute("data-end", "false")
    phone.say("再来")
    expect(line(page, "reply")).to_contain_text("再来")
    assert page.locator("#chat-scroll").evaluate(left) > 100


def test_subscription_popup(page: Page, sim: Simulator, desk: Desk) -> None:
    """The popup lists the account's templates; the answer of the person at the phone becomes an event."""
    added = desk.post("/wxaapi/newtmpl/addtemplate", {"tid": "1221", "kidList": [2, 3], "sceneDesc": "付款"})
    start(page, sim)
    follow(page)
    page.locator("#attach").click()
    page.locator('[data-attach="subscribe"]').click()
    row = page.locator(f'#popup [data-template="{added["priTmplId"]}"]')
    row.locator("input[value=reject]").check()
    row.locator("input[value=accept]").check()
    page.locator("#popup-done").click()
    expect(page.locator('#chat [data-kind="subscribe_msg_popup_event"]')).to_be_visible()
    assert sim.account.outreach.consents[openid_of(page)][added["priTmplId"]].left == 1


def test_config_of_a_page(page: Page, sim: Simulator, service: Service, desk: Desk) -> None:
    """A page's wx.config is ready with a right signature and told of a wrong one; the person at the page hears why."""
    start(page, sim)
    follow(page)
    ticket = desk.get("/cgi-bin/ticket/getticket", type="jsapi")["ticket"]
    signed = f"jsapi_ticket={ticket}&noncestr=n1&timestamp=1700000000&url={service.base}/config"
    right = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
    for signature, outcome in ((right, "ready"), ("0" * 40, "config:fail, invalid signature")):
        values = {"{script}": f"{sim.url}/_sim/page/jweixin.js", "{appid}": sim.account.appid, "{signature}": signature}
        text = CONFIG
        for name, value in values.items():
            text = text.replace(name, value)
        service.pages["/config"] = text
        scan_text(page, f"{service.base}/config#/part")
        frame = page.frame_locator("#browser-frame")
        expect(frame.locator("#outcome")).to_have_text(outcome)
        if outcome == "ready":
            frame.locator("#scan").click()
            page.locator("#scan-input").press("Escape")
            expect(frame.locator("#outcome")).to_have_text("scanQRCode:cancel")
            frame.locator("#scan").click()
            page.locator("#scan-input").fill("茶-42")
            page.locator("#scan-go").click()
            expect(frame.locator("#outcome")).to_have_text("茶-42")
        page.locator("#browser-close").click()
    page.wait_for_function("toasts.some((text) => text.includes('jsapi_ticket'))")


def test_no_consent_from_the_menu(page: Page, sim: Simulator, service: Service, desk: Desk) -> None:
    """A follower who comes from the menu is sent on without being asked; whoever scans the same address is asked."""
    query = f"appid={sim.account.appid}&redirect_uri={quote(service.base + '/landing', safe='')}"
    address = f"https://open.weixin.qq.com/connect/oauth2/authorize?{query}"
    address += "&response_type=code&scope=snsapi_userinfo&state=s1#wechat_redirect"
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "view", "name": "我的", "url": address}]})
    start(page, sim)
    follow(page)
    page.locator("#menu-bar [data-menu-key]").click()
    frame = page.frame_locator("#browser-frame")
    expect(frame.locator("#landed")).to_have_text("code given, state s1")
    page.locator("#browser-close").click()
    scan_text(page, address)
    expect(frame.locator("#oauth-allow")).to_be_visible()


def test_consent(page: Page, sim: Simulator, service: Service) -> None:
    """An authorisation address is opened in the phone's browser, consented to, and leads back with a code."""
    start(page, sim)
    follow(page)
    query = f"appid={sim.account.appid}&redirect_uri={quote(service.base + '/landing', safe='')}"
    address = (
        f"https://open.weixin.qq.com/connect/oauth2/authorize?{query}"
        "&response_type=code&scope=snsapi_userinfo&state=abc#wechat_redirect"
    )
    scan_text(page, address)
    frame = page.frame_locator("#browser-frame")
    frame.locator("#oauth-allow").click()
    expect(frame.locator("#landed")).to_have_text("code given, state abc")
    codes = list(sim.account.codes.values())
    assert [(code.openid, code.scope) for code in codes] == [(openid_of(page), "snsapi_userinfo")]
    page.locator("#browser-close").click()
    expect(page.locator("#browser")).to_be_hidden()


# ---- paying


@pytest.fixture
def shop(sim: Simulator) -> Shop:
    """A merchant of the account."""
    return Shop(sim)


def scan_text(page: Page, text: str) -> None:
    """Hold the phone's camera over a code."""
    page.locator("#scan-open").click()
    page.locator("#scan-input").fill(text)
    page.locator("#scan-go").click()


def test_pay_by_code(page: Page, sim: Simulator, shop: Shop) -> None:
    """The code of an order opens the pad with amount and title; a wrong password is told, the right one pays."""
    number, answer = shop.order("native", 1234)
    start(page, sim)
    follow(page)
    scan_text(page, answer["code_url"])
    expect(page.locator("#pay-amount")).to_have_text(re.compile(r"12\.34"))
    expect(page.locator("#pay-title")).to_contain_text("一杯茶 & <糖>")
    page.locator("#pay-password").fill("000000")
    page.locator("#pay-confirm").click()
    expect(page.locator("#pay-error")).not_to_be_empty()
    assert shop.state(number) == "NOTPAY"
    page.locator("#pay-password").fill("123456")
    page.locator("#pay-confirm").click()
    expect(page.locator("#pay-pad")).to_be_hidden()
    assert shop.state(number) == "SUCCESS"
    expect(line(page, "pay")).to_contain_text("12.34")


def test_refund_says_what_came_back(page: Page, sim: Simulator, shop: Shop) -> None:
    """The voucher of a partial refund shows its own amount, not the order's."""
    start(page, sim)
    follow(page)
    number, answer = shop.order("native", 1999)
    sim.world.user("爱丽丝").pay(answer["code_url"], password="123456")
    expect(line(page, "pay").locator(".amount")).to_have_text("¥19.99")
    shop.refund(number, 999, 1999)
    sim.advance(86_400)
    expect(page.locator("#chat .amount")).to_have_text(["¥19.99", "¥9.99"])


def test_pay_in_a_page(page: Page, sim: Simulator, service: Service, shop: Shop) -> None:
    """A shop's page in the phone's browser asks for the money through the bridge, and hears how it ended."""
    start(page, sim)
    follow(page)
    number, answer = shop.order("jsapi", 100, payer={"openid": openid_of(page)})
    script = f"{sim.url}/_sim/page/jweixin.js"
    params = json.dumps(shop.jsapi(answer["prepay_id"]))
    service.pages["/shop"] = CHECKOUT.replace("{script}", script).replace("{params}", params)
    scan_text(page, f"{service.base}/shop")
    frame = page.frame_locator("#browser-frame")
    frame.locator("#buy").click()
    expect(page.locator("#pay-amount")).to_have_text(re.compile(r"1\.00"))
    page.locator("#pay-cancel").click()
    expect(frame.locator("#outcome")).to_have_text("get_brand_wcpay_request:cancel")
    assert shop.state(number) == "NOTPAY"
    frame.locator("#buy").click()
    page.locator("#pay-password").fill("123456")
    page.locator("#pay-confirm").click()
    expect(frame.locator("#outcome")).to_have_text("get_brand_wcpay_request:ok")
    assert shop.state(number) == "SUCCESS"


def test_transfer_in_a_page(page: Page, sim: Simulator, service: Service, shop: Shop) -> None:
    """A page offers money: the sheet says how much; left by Esc the page hears "cancel", taken it becomes a voucher."""
    start(page, sim)
    follow(page)
    params = json.dumps(shop.transfer(openid_of(page), 888))
    script = f"{sim.url}/_sim/page/jweixin.js"
    text = CHECKOUT.replace("getBrandWCPayRequest", "requestMerchantTransfer")
    service.pages["/gift"] = text.replace("{script}", script).replace("{params}", params)
    scan_text(page, f"{service.base}/gift")
    frame = page.frame_locator("#browser-frame")
    frame.locator("#buy").click()
    expect(page.locator("#sheet .amount")).to_have_text("¥8.88")
    page.locator("#transfer-take").press("Escape")
    expect(frame.locator("#outcome")).to_have_text("requestMerchantTransfer:cancel")
    frame.locator("#buy").click()
    page.locator("#transfer-take").click()
    expect(frame.locator("#outcome")).to_have_text("requestMerchantTransfer:ok")
    page.locator("#browser-close").click()
    expect(line(page, "pay").locator(".amount")).to_have_text("¥8.88")
    assert page.evaluate("toasts.filter((text) => text.startsWith('bad '))") == []


# ---- the timeline


def test_fault_in_the_timeline(page: Page, sim: Simulator, desk: Desk) -> None:
    """A fault that is switched on strikes the next call; the row says so, its detail says why, and it can be ended."""
    desk.token()
    start(page, sim)
    switch = page.locator('[data-fault-switch="busy"]')
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    assert desk.get("/cgi-bin/getcallbackip")["errcode"] == -1
    expect(switch.locator(".hits")).to_have_text("1")  # it is made anew for that, and would be under the mouse
    row = page.locator("#timeline [data-seq]").filter(has_text="/cgi-bin/getcallbackip").last
    expect(row).to_contain_text("-1")
    expect(row).to_contain_text("busy")
    row.click()
    expect(page.locator("#detail")).to_contain_text("busy")
    expect(page.locator("#detail")).to_contain_text("system error")
    expect(page.locator("body")).not_to_contain_text("[object ")
    page.locator("#detail-close").click()
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    assert "errcode" not in desk.get("/cgi-bin/getcallbackip")


def test_fault_by_the_form(page: Page, sim: Simulator, desk: Desk) -> None:
    """A rule for one path and one code is made by the form, listed, counted and removed."""
    start(page, sim)
    page.locator("#fault-effect").select_option("errcode")
    page.locator("#fault-path").fill("/cgi-bin/user/info")
    page.locator("#fault-errcode").fill("45009")
    page.locator("#fault-add").click()
    rule = page.locator("#fault-list [data-fault]")
    expect(rule).to_contain_text("errcode=45009")
    assert desk.get("/cgi-bin/user/info", openid="x")["errcode"] == 45009
    expect(rule.locator(".hits")).to_have_text("1 hits")
    rule.get_by_role("button").click()
    expect(rule).to_have_count(0)


def test_filter(page: Page, sim: Simulator, desk: Desk) -> None:
    """The timeline is filtered by text, by direction and to errors."""
    start(page, sim)
    desk.get("/cgi-bin/getcallbackip")
    desk.get("/cgi-bin/user/info", openid="nobody")
    rows = page.locator("#timeline [data-seq]")
    expect(rows.filter(has_text="/cgi-bin/user/info")).to_have_count(1)
    page.locator("#timeline-errors").click()
    expect(rows.filter(has_text="/cgi-bin/getcallbackip")).to_have_count(0)
    expect(rows.filter(has_text="/cgi-bin/user/info")).to_have_count(1)
    page.locator("#timeline-errors").click()
    page.locator("#timeline-filter").fill("getcallbackip")
    expect(rows.filter(has_text="/cgi-bin/user/info")).to_have_count(0)
    expect(rows.filter(has_text="/cgi-bin/getcallbackip")).to_have_count(1)
    page.locator("#timeline-filter").fill("")
    page.locator('[data-direction="out"]').click()
    expect(rows).to_have_count(0)


def test_clock_and_tokens(page: Page, sim: Simulator, desk: Desk) -> None:
    """Two hours forward end the token; the list of tokens says so."""
    token, began = desk.token(), sim.world.now()
    start(page, sim)
    expect(page.locator("#tokens")).to_contain_text(re.compile("stable", re.IGNORECASE))
    page.locator("#clock-advance-2h").click()
    page.locator("#clock-advance-1m").click()
    expect(page.locator("#tokens-count")).to_be_visible()
    assert sim.wait_for(lambda world: world.now() > began + 7200, 40)
    assert desk.use(token) == 42001


#: Scrolls the timeline from its end to its beginning, in so many frames.
SCROLLING = """(frames) => new Promise((resolve) => {
  const list = document.querySelector("#timeline");
  let drawn = 0;
  const step = () => {
    drawn += 1;
    if (drawn > frames) { resolve(); return; }
    list.scrollTop = list.scrollHeight * (1 - drawn / frames);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
FRAMES = 120


def work(session: CDPSession) -> float:
    """Return the seconds of work that the page's thread has had so far; a machine that pauses adds nothing."""
    found = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])


def test_five_thousand_exchanges(page: Page, sim: Simulator, desk: Desk) -> None:
    """A timeline of 5,000 rows holds few of them in the document, follows the newest, and scrolls well."""
    start(page, sim)
    token = desk.token()
    request = Request("GET", "/cgi-bin/getcallbackip", {"access_token": token})
    for _ in range(5_000):
        sim.world.handle(request)
    expect(page.locator("#timeline-count")).to_contain_text(re.compile("5[,.]?00"), timeout=60_000)
    rows = page.locator("#timeline [data-seq]")
    last = max(exchange.seq for exchange in sim.journal)
    expect(page.locator(f'#timeline [data-seq="{last}"]')).to_be_visible()
    assert rows.count() < 200
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = work(session)
    page.evaluate(SCROLLING, FRAMES)
    assert rows.count() < 200
    assert (work(session) - before) / FRAMES < 0.1
    assert page.evaluate("document.querySelectorAll('*').length") < 5_000
    page.locator("#timeline").evaluate("(list) => { list.scrollTop = 0; }")
    expect(page.locator("#timeline-jump")).to_be_visible()
    page.locator("#timeline-jump").click()
    expect(page.locator(f'#timeline [data-seq="{last}"]')).to_be_visible()


def test_a_list_that_is_hardly_too_long(page: Page, sim: Simulator, desk: Desk) -> None:
    """Where all but a part of a row fits, the reader may scroll to the beginning, and the list stays there."""
    start(page, sim)
    for _ in range(5):
        desk.get("/cgi-bin/getcallbackip")
    expect(page.locator("#timeline [data-seq]")).to_have_count(len(sim.journal))
    top = page.evaluate(
        """async () => {
          const list = document.querySelector("#timeline"), space = document.querySelector("#timeline-space");
          const frames = async () => {
            for (let frame = 0; frame < 4; frame += 1) await new Promise(requestAnimationFrame);
          };
          list.style.flex = "none";
          list.style.height = `${space.offsetHeight - 20}px`;
          await frames();
          const end = list.scrollTop;
          list.scrollTop = 0;
          await frames();
          return [end, list.scrollTop];
        }"""
    )
    assert top == [20, 0]


# ---- safety


@pytest.mark.usefixtures("service")
def test_hostile_texts_are_shown_as_texts(page: Page, sim: Simulator, desk: Desk) -> None:
    """Names, messages, menus, templates, paths and bodies that hold HTML are shown as they are; none of it runs."""
    phone = sim.world.user(f"{NASTY}名")
    phone.follow()
    phone.say(NASTY)
    phone.send("location", Label=NASTY)
    phone.send("link", Title=NASTY, Description=NASTY, Url="javascript:window.hacked=3")
    assert sim.wait_until_settled()
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "<b>x</b>", "key": NASTY}]})
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "<img src=x onerror=x()>"}})
    desk.get(f"/cgi-bin/{quote(NASTY)}", openid=NASTY)
    desk.post(
        "/cgi-bin/message/custom/send",
        {
            "touser": phone.openid,
            "msgtype": "text",
            "text": {"content": f'<a href="javascript:window.hacked=4">x</a>{NASTY}'},
        },
    )
    desk.post(
        "/cgi-bin/message/custom/send",
        {
            "touser": phone.openid,
            "msgtype": "news",
            "news": {
                "articles": [{"title": NASTY, "description": NASTY, "url": "javascript:window.hacked=5", "picurl": "x"}]
            },
        },
    )
    start(page, sim)
    page.locator("#phone-list [data-openid]").first.click()
    expect(page.locator("#chat")).to_contain_text("<script>window.hacked=2</script>")
    expect(line(page, "custom")).to_contain_text("onerror")
    # By number and not by place: a line that arrives meanwhile moves all others, and a second click closes one again.
    numbers = page.locator("#timeline [data-seq]").evaluate_all("rows => rows.map(row => row.dataset.seq)")
    for seq in numbers[:20]:
        page.locator(f'#timeline [data-seq="{seq}"]').click()
        expect(page.locator("#detail-close")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('#chat script, #timeline script, #detail script').length") == 0


def test_article_is_no_way_in(page: Page, sim: Simulator, desk: Desk) -> None:
    """An article's HTML is shown inside the phone; its scripts do not run, neither there nor in the page around it."""
    files = {"media": ("a.jpg", flat_jpeg([[True]]), "image/jpeg")}
    query = {"access_token": desk.token(), "type": "image"}
    upload = f"{sim.url}/cgi-bin/material/add_material"
    thumb = httpx.post(upload, params=query, files=files, timeout=40, trust_env=False).json()["media_id"]
    article = {
        "title": "<b onclick=x()>粗</b>",
        "content": f"<p id=told>正文</p>{NASTY}<script>top.hacked=6</script>",
        "thumb_media_id": thumb,
    }
    draft = desk.post("/cgi-bin/draft/add", {"articles": [article]})["media_id"]
    publish = desk.post("/cgi-bin/freepublish/submit", {"media_id": draft})["publish_id"]
    sim.advance(600)
    found = desk.post("/cgi-bin/freepublish/get", {"publish_id": publish})
    url = found["article_detail"]["item"][0]["article_url"]
    start(page, sim)
    follow(page)
    scan_text(page, url)
    frame = page.frame_locator("#browser-frame")
    expect(frame.locator("body")).to_contain_text("正文")
    inside = page.frames[1].evaluate("[window.hacked ?? null, document.scripts.length]")
    assert inside == [None, 0]
    assert page.evaluate("window.hacked") is None


def test_page_may_not_be_framed_and_runs_only_its_own_scripts(page: Page, sim: Simulator) -> None:
    """The page's policy allows no inline script, no other origin's script, and no frame around it."""
    answer = page.goto(f"{sim.url}/_sim/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy


# ---- looks and ways


def test_language(page: Page, sim: Simulator) -> None:
    """The whole page speaks the other language at once, and still after a reload."""
    start(page, sim)
    before = page.locator("html").get_attribute("lang")
    follow_text = page.locator('[data-t="clock.title"]').inner_text()
    page.locator("#lang").click()
    expect(page.locator("html")).not_to_have_attribute("lang", before or "")
    expect(page.locator('[data-t="clock.title"]')).not_to_have_text(follow_text)
    for part in ("#broadcasts", "#quotas", "#tokens", "#fault-list", "#merchants", "#lint", "#callback"):
        expect(page.locator(part)).to_contain_text(re.compile("[\u4e00-\u9fff]"))
    after = page.locator("html").get_attribute("lang") or ""
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", after)


def test_first_language(open_context: Callable[..., tuple[BrowserContext, Watched]], sim: Simulator) -> None:
    """The first visit is in Chinese for Chinese browsers, in English for all others."""
    for locale, language in (("zh-CN", "zh"), ("de-DE", "en")):
        page = open_context(locale=locale)[0].new_page()
        start(page, sim)
        expect(page.locator("html")).to_have_attribute("lang", re.compile(f"^{language}"))


def test_theme(page: Page, sim: Simulator) -> None:
    """Light and dark differ, and the choice stays."""
    start(page, sim)
    colours: dict[str, str] = {}
    for _ in range(3):
        page.locator("#theme").click()
        name = page.locator("html").get_attribute("data-theme") or ""
        colours[name] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert set(colours) == {"light", "dark", "auto"}
    assert colours["light"] != colours["dark"]
    page.locator("#theme").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def tab_to(page: Page, target: str) -> None:
    """Press the Tab key until an element has the focus."""
    for _ in range(60):
        if page.evaluate("(target) => document.activeElement?.matches(target) ?? false", target):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not reach {target}")


@pytest.mark.usefixtures("service")
def test_by_keyboard_alone(page: Page, sim: Simulator, desk: Desk) -> None:
    """Somebody without a mouse adds a person, follows, writes, taps the menu, and reads an exchange."""
    desk.post("/cgi-bin/menu/create", {"button": BUTTONS})
    start(page, sim)
    tab_to(page, "#add-user-name")
    page.keyboard.type("爱丽丝")
    page.keyboard.press("Enter")
    expect(page.locator("#follow")).to_be_visible()
    tab_to(page, "#follow")
    page.keyboard.press("Enter")
    expect(line(page, "reply")).to_contain_text("欢迎关注")
    tab_to(page, "#chat-input")
    page.keyboard.type("键盘")
    page.keyboard.press("Enter")
    expect(line(page, "reply")).to_contain_text("你说：键盘")
    expect(page.locator('#menu-bar [data-menu-key="V1001_TODAY"]')).to_be_visible()
    tab_to(page, "#menu-bar [data-menu-key]")
    page.keyboard.press("Enter")
    expect(line(page, "reply")).to_contain_text("点了 V1001_TODAY")
    tab_to(page, "#timeline")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()


def test_controls_have_names(page: Page, sim: Simulator, desk: Desk) -> None:
    """Whoever hears the page instead of seeing it is told what each control is, in both languages."""
    desk.post("/cgi-bin/menu/create", {"button": BUTTONS})
    start(page, sim)
    follow(page)
    for _ in range(2):
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, a[href], iframe, [role=listbox]")]
              .filter((e) => e.checkVisibility())
              .filter((e) => !(e.getAttribute("aria-label") || e.title || e.innerText?.trim() || e.labels?.length))
              .map((e) => e.outerHTML.slice(0, 120))"""
        )
        assert nameless == []
        page.locator("#lang").click()


def test_focus_is_visible(page: Page, sim: Simulator) -> None:
    """Whatever has the keyboard's focus shows it."""
    start(page, sim)
    shown = []
    for _ in range(25):
        page.keyboard.press("Tab")
        shown.append(
            page.evaluate(
                """() => {
                  const here = document.activeElement, style = getComputedStyle(here);
                  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                  return [here.id || here.className || here.tagName, ring || style.boxShadow !== "none"];
                }"""
            )
        )
    assert [name for name, visible in shown if not visible] == []


def test_reconnect(watched_page: tuple[Page, Watched]) -> None:
    """The simulator is stopped and started again: the page says so, comes back by itself, and shows the new world."""
    page, watched = watched_page
    watched.allow("ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|net::")
    with held_port() as holder:  # nobody else gets it between the two
        port = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        with Simulator(seed=5, port=port) as sim:
            start(page, sim)
            follow(page, "从前")
            page.locator("#attach").click()
        expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
        with Simulator(seed=6, port=port) as again:
            again.world.user("后来").follow()
            expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=60_000)
            expect(page.locator("#phone-list")).to_contain_text("后来")
            expect(page.locator("#phone-list")).not_to_contain_text("从前")
            expect(page.locator("#sheet")).to_be_hidden()


def test_save_reset_load(watched_page: tuple[Page, Watched], sim: Simulator, tmp_path: Path) -> None:
    """A world is saved, begun anew and loaded again; the page shows each as it is."""
    page, watched = watched_page
    watched.allow("status of 400 .*/open:")  # a chat that is opened just when its world ends
    # The second click counts within four seconds: the page's time stands still between the two.
    page.clock.install()
    start(page, sim)
    follow(page, "旧友")
    with page.expect_download() as saving:
        page.locator("#world-save").click()
    saving.value.save_as(tmp_path / "world.json")
    page.locator("#scan-open").click()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 60)
    page.locator("#world-reset").click()
    page.locator("#world-reset").click()
    page.clock.resume()
    expect(page.locator("#phone-list [data-openid]")).to_have_count(0)
    expect(page.locator("#chat > *")).to_have_count(0)
    expect(page.locator("#sheet")).to_be_hidden()
    expect(page.locator("#first-user")).to_be_visible()
    page.locator("#world-load").set_input_files(tmp_path / "world.json")
    expect(page.locator("#phone-list")).to_contain_text("旧友")
    expect(page.locator("#unfollow")).to_be_visible()


WIDE = "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"


def test_nothing_sticks_out(page: Page, sim: Simulator, desk: Desk) -> None:
    """From a small phone to a large screen nothing is wider than the window, in any of the three views."""
    desk.post("/cgi-bin/menu/create", {"button": BUTTONS})
    start(page, sim)
    follow(page, "名字很长很长很长很长很长很长很长很长的人")
    page.locator("#chat-input").fill("很长的一行" * 60 + " " + "x" * 300)
    page.locator("#chat-send").click()
    expect(line(page, "user")).to_be_visible()
    desk.get("/cgi-bin/" + "very-long-path/" * 30)
    sticking = []
    views = {}
    for width in (360, 390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 844})
        narrow = page.locator("#tabs").is_visible()
        views[width] = ["phone", "timeline", "tools"] if narrow else ["all"]
        for view in views[width]:
            if narrow:
                page.locator(f'#tabs [data-tab="{view}"]').click()
            more = page.evaluate(WIDE)
            if more > 0:
                sticking.append(f"{width} px, {view}: {more} px too wide")
    assert sticking == []
    assert len(views[390]) == 3
    assert views[1280] == ["all"]
