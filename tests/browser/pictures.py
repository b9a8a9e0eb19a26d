"""Make the pictures of the simulator's page for the documentation.

Run ``python -m tests.browser.pictures [FOLDER]``; FOLDER is ``docs/images`` by default. It needs a Chromium, and fonts
with Chinese characters and emoji.
"""

from __future__ import annotations

import datetime as dt
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import uvicorn
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.browser import chromium as machine
from tests.browser.service import AES_KEY, TOKEN
from tests.browser.shop import Shop
from tests.simulator.conftest import Desk
from wxmp.simulator import Clock, Simulator
from wxmp.webhook import MenuClickEvent, NewsArticle, NewsReply, SubscribeEvent, TextMessage, TextReply, Webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp.simulator.phone import Phone

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
SIZE: Final[ViewportSize] = {"width": 1280, "height": 800}
MOST_BYTES: Final = 250_000
MORNING: Final = dt.datetime(2026, 5, 12, 10, 24, 7, tzinfo=dt.timezone(dt.timedelta(hours=8)))
TEA: Final = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 336">
<defs><linearGradient id="s" x2="0" y2="1"><stop stop-color="#f6e3b8"/><stop offset="1" stop-color="#e9f0dc"/>
</linearGradient></defs><rect width="640" height="336" fill="url(#s)"/><circle cx="500" cy="90" r="38" fill="#fff6dd"/>
<path d="M0 210Q110 120 230 190T470 170T640 200V336H0Z" fill="#9dbf93"/>
<path d="M0 250Q140 180 290 240T640 230V336H0Z" fill="#6f9e6c"/>
<path d="M0 290Q180 230 360 282T640 272V336H0Z" fill="#4a7d52"/>
<path d="M262 196h116v34a44 44 0 0 1-44 44h-28a44 44 0 0 1-44-44z" fill="#fdfbf5"/>
<path d="M378 206h14a18 18 0 0 1 0 36h-16" fill="none" stroke="#fdfbf5" stroke-width="10"/>
<path d="M300 178q-10-16 0-30t0-30M336 178q-10-16 0-30t0-30" fill="none" stroke="#fff" stroke-width="5" opacity=".8"/>
</svg>"""


@attrs.frozen
class Story:
    """The texts of one picture."""

    language: str
    theme: str
    account: str
    people: tuple[str, str, str, str]
    welcome: str
    question: str
    answer: str
    order: str
    ordered: str
    title: str
    description: str
    buttons: list[dict[str, Any]]


ENGLISH: Final = Story(
    "en-GB",
    "light",
    "Half-Day Tea",
    ("Alice", "Bob", "Chloe", "David"),
    "Welcome to Half-Day Tea 🍵 Write “today” for what is fresh.",
    "Do you deliver before noon?",
    "We do: whatever is ordered by 11:00 is with you by noon.",
    "today",
    "",
    "Today: the first jasmine of the year",
    "Picked on Monday, scented for three nights.",
    [
        {"type": "click", "name": "Today", "key": "TODAY"},
        {
            "name": "Shop",
            "sub_button": [
                {"type": "click", "name": "Teas", "key": "TEAS"},
                {"type": "click", "name": "My orders", "key": "ORDERS"},
            ],
        },
        {"type": "click", "name": "Help", "key": "HELP"},
    ],
)
CHINESE: Final = Story(
    "zh-CN",
    "dark",
    "半日茶馆",
    ("小爱", "阿强", "林婷", "大卫"),
    "欢迎来到半日茶馆 🍵 回复“今日”看看今天的新茶。",
    "中午前能送到吗？",
    "可以，11 点前下单，中午前送达。",
    "来一份茉莉花茶",
    "好的，请扫码支付 ¥28.00。",
    "今日新茶：头采茉莉",
    "周一采摘，三窨一提。",
    [
        {"type": "click", "name": "今日新茶", "key": "TODAY"},
        {
            "name": "茶铺",
            "sub_button": [
                {"type": "click", "name": "全部茶品", "key": "TEAS"},
                {"type": "click", "name": "我的订单", "key": "ORDERS"},
            ],
        },
        {"type": "click", "name": "帮助", "key": "HELP"},
    ],
)


def make_app(story: Story, appid: str, picture: str) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Return the tea house's server: its webhook, and the picture of its tea."""
    hook = Webhook(token=TOKEN, encoding_aes_key=AES_KEY, appid=appid, mode="safe")
    news = NewsReply([NewsArticle(story.title, story.description, pic_url=picture, url=picture)])

    @hook.on(SubscribeEvent)
    async def welcome(event: SubscribeEvent) -> TextReply:
        return TextReply(story.welcome)

    @hook.on(TextMessage)
    async def answer(message: TextMessage) -> TextReply | NewsReply:
        if message.content == story.order:
            return TextReply(story.ordered) if story.ordered else news
        return TextReply(story.answer)

    @hook.on(MenuClickEvent)
    async def tapped(event: MenuClickEvent) -> NewsReply:
        return news

    pushes = hook.asgi()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wx":
            await pushes(scope, receive, send)
            return
        status, body = (200, TEA) if scope["path"] == "/tea.svg" else (204, b"")
        headers = [(b"content-type", b"image/svg+xml")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def act(simulator: Simulator, story: Story) -> Phone:
    """Let the story happen; return the phone it is about."""
    desk = Desk(simulator.world)
    world = simulator.world

    def wait(seconds: float) -> None:
        assert simulator.wait_until_settled()
        simulator.advance(seconds)

    desk.post("/cgi-bin/menu/create", {"button": story.buttons})
    people = [world.user(name) for name in story.people]
    for phone in people[:3]:
        phone.follow()
        wait(3)
    hero = people[0]
    hero.open()
    hero.say(story.question)
    wait(8)
    desk.get("/cgi-bin/user/info", openid=hero.openid)
    old = desk.token()
    world.kill_token("stable", "forced")
    desk.get("/cgi-bin/tags/get", old)
    desk.stable()
    desk.get("/cgi-bin/tags/get")
    wait(2)
    world.fault("busy", "/cgi-bin/message/*", times=1)
    text = {"touser": hero.openid, "msgtype": "text", "text": {"content": story.answer}}
    desk.post("/cgi-bin/message/custom/send", text | {"touser": people[1].openid})
    desk.post("/cgi-bin/message/custom/send", text | {"touser": people[1].openid})
    desk.post("/cgi-bin/message/custom/send", text | {"touser": people[3].openid})
    wait(5)
    hero.say(story.order)
    wait(6)
    if story.ordered:
        shop = Shop(simulator)
        base = (simulator.account.callback_url or "").removesuffix("/wx")
        _, order = shop.order("native", 2800, description="茉莉花茶 250g", notify_url=f"{base}/notify")
        hero.pay(order["code_url"], password="123456")
        wait(4)
    else:
        people[2].say("Thank you!")
        wait(4)
    return hero


def show(page: Page, simulator: Simulator, hero: Phone, story: Story) -> None:
    """Bring the page into the state that is worth a picture."""
    page.add_init_script(f"localStorage.setItem('wxmp-sim-theme', '{story.theme}')")
    page.goto(f"{simulator.url}/_sim/#user={hero.openid}")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator(f'#phone-list [data-openid="{hero.openid}"]')).to_have_attribute("aria-selected", "true")
    page.locator('[data-fault-switch="push_twice"]').click()
    expect(page.locator('[data-fault-switch="push_twice"]')).to_have_attribute("aria-checked", "true")
    page.locator("#tools").evaluate("(tools) => { tools.scrollTop = 0; }")
    if story.theme == "dark":
        page.locator("#timeline [data-seq]").filter(has_text="busy").click()
        expect(page.locator("#detail-close")).to_be_visible()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(800)  # pictures have been loaded, and what moves has arrived


def make(browser: Browser, story: Story, path: Path) -> None:
    """Play a story and take its picture."""
    with Simulator(seed=11, clock=Clock(start=MORNING.timestamp())) as simulator, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        account = simulator.account
        account.name = story.account
        app = make_app(story, account.appid, f"{base}/tea.svg")
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        simulator.set_callback(f"{base}/wx", token=TOKEN, encoding_aes_key=AES_KEY, mode="safe")
        hero = act(simulator, story)
        context = browser.new_context(locale=story.language, viewport=SIZE, timezone_id="Asia/Shanghai")
        page = context.new_page()
        show(page, simulator, hero, story)
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, animations="disabled", caret="hide")
        context.close()
        server.should_exit = True
        thread.join(10)


def main(arguments: list[str]) -> int:
    """Make both pictures; say what they weigh."""
    executable = machine.find()
    if executable is None:
        print(machine.MISSING, file=sys.stderr)
        return 1
    folder = Path(arguments[0]) if arguments else FOLDER
    heavy = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(machine.FLAGS))
        for story in (ENGLISH, CHINESE):
            path = folder / f"simulator-{story.theme}.png"
            make(browser, story, path)
            size = path.stat().st_size
            heavy |= size > MOST_BYTES
            print(f"{path}: {size} bytes{', too heavy' if size > MOST_BYTES else ''}")
        browser.close()
    return int(heavy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
