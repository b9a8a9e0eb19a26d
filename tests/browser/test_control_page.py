"""The status page of the control server, used as somebody on duty uses it."""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
import uvicorn
from playwright.sync_api import expect

from tests.moments import PATIENT
from wxmp import Client, MemoryTokenStore
from wxmp.control import ControlKey, ControlServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, Locator, Page

    from tests.browser.conftest import Watched
    from wxmp.simulator import Simulator

STARTUP_SECONDS = 40.0
NEVER = "wxck_0123456789ab_" + "x" * 43

#: Text whose contrast with what is behind it is too low: each element that has text of its own.
FAINT = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a), a: 1,
  });
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      layers.push(parse(getComputedStyle(node).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const found = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    seen += 1;
    const ground = behind(element);
    const ink = over(parse(getComputedStyle(element).color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${element.className} "${element.textContent}" ${ratio.toFixed(2)}`);
  }
  return seen > 5 ? found : ["nothing was looked at"];
}"""


class House:
    """A control server under uvicorn, in a thread: one account that works, one whose secret is wrong."""

    def __init__(self, sim: Simulator) -> None:
        self.appid = sim.account.appid
        other = sim.world.add_account("wx00000000000000aa", secret="another-fake-secret")
        self.sim = sim
        self.broken = other.appid
        self.ops, self.ops_key = ControlKey.create("ops", appids="*", may_see_status=True, per_minute=100_000)
        self.shop, self.shop_key = ControlKey.create("shop-backend", appids={self.appid})
        clients = [
            Client(appid, secret, base_url=sim.url, token_store=MemoryTokenStore(), token_policy=PATIENT)
            for appid, secret in [(self.appid, sim.account.secret), (self.broken, "not-its-secret")]
        ]
        self.server = ControlServer(clients, [self.ops, self.shop])
        self.asked: list[str] = []
        self.hidden: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self._count, interface="asgi3", log_config=None, access_log=False, ws="none")
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, daemon=True)

    async def _count(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.asked.append(scope["path"])
            self.hidden += [value.decode() for name, value in scope["headers"] if name == b"authorization"]
            if scope["query_string"]:
                self.asked.append("?")
        await self.server(scope, receive, send)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + STARTUP_SECONDS
        while not self._uvicorn.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(STARTUP_SECONDS)
        self._socket.close()

    def call(self, path: str, key: str, /, **said: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=STARTUP_SECONDS) as http:
            answer = http.post(path, json=said) if said else http.get(path)
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, kind: str = "access_token") -> dict[str, Any]:
        """The shop asks."""
        return self.call(f"/v1/accounts/{self.appid}/{kind}", self.shop_key)

    def die(self) -> None:
        """The shop reports the current access_token dead."""
        said = {"generation": self.ask()["generation"], "errcode": 40001, "path": "/cgi-bin/message/template/send"}
        assert self.call(f"/v1/accounts/{self.appid}/access_token/replace", self.shop_key, **said)["replaced"]

    def learn(self) -> None:
        """Wait until the server knows the quota, and that one account has a wrong secret."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            values = self.call("/v1/status", self.ops_key)["values"]
            if any(value.get("quota") for value in values) and any(value["last_error"] for value in values):
                return
            time.sleep(0.02)


@pytest.fixture
def house(sim: Simulator) -> Iterator[House]:
    with House(sim) as running:
        yield running


def enter(page: Page, key: str) -> None:
    page.locator("#key").fill(key)
    page.locator("#key-send").click()


def start(page: Page, house: House) -> None:
    """Open the page and show the key."""
    page.goto(house.url)
    enter(page, house.ops_key)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def account(page: Page, appid: str) -> Locator:
    return page.locator(f'[data-appid="{appid}"]')


def value(page: Page, appid: str, kind: str = "access_token") -> Locator:
    return account(page, appid).locator(f'tr[data-kind="{kind}"]')


def test_the_state_of_each_value(page: Page, house: House) -> None:
    """What is usable, how long, which generation, how often refreshed, by whom asked, and what went wrong."""
    house.ask()
    generation = house.ask("jsapi_ticket")["generation"]
    house.learn()
    start(page, house)
    good = value(page, house.appid)
    expect(good.locator('[data-field="state"]')).to_have_text("usable")
    expect(good.locator('[data-field="left"]')).to_contain_text(re.compile(r"(1 h 59|2 h 0) min"))
    expect(good.locator('[data-field="age"]')).to_contain_text(re.compile(r"\d+ s"))
    expect(good.locator('[data-field="refreshes"]')).to_have_text("1")
    expect(good.locator('[data-field="error"]')).to_contain_text("none")
    ticket = value(page, house.appid, "jsapi_ticket")
    expect(ticket.locator('[data-field="generation"]')).to_have_text(str(generation))
    askers = account(page, house.appid).locator("table.askers")
    expect(askers.get_by_role("row", name="shop-backend")).to_have_count(2)
    expect(account(page, house.appid).locator("[data-quota]")).to_contain_text(re.compile(r"[\d,]+ of [\d,]+ token"))
    bad = value(page, house.broken)
    expect(bad.locator('[data-field="state"]')).to_have_text("none")
    expect(bad.locator('[data-field="error"]')).to_contain_text("40125")
    expect(page.locator('[data-figure="usable"]')).to_have_text("2 / 3")


def test_another_system(page: Page, house: House) -> None:
    """A value that died early raises an alarm that says when, by which call, and who noticed."""
    house.ask()
    start(page, house)
    expect(page.locator("[data-alarm]")).to_have_count(0)
    house.die()
    page.reload()
    alarm = account(page, house.appid).locator("[data-alarm]")
    expect(alarm).to_contain_text("Another system refreshes this AppID")
    expect(alarm).to_contain_text("/cgi-bin/message/template/send")
    expect(alarm).to_contain_text("40001")
    row = account(page, house.appid).locator("table.deaths tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("shop-backend")
    expect(account(page, house.broken).locator("[data-alarm]")).to_have_count(0)


def test_no_value_is_shown_and_none_is_sent(page: Page, house: House) -> None:
    """Neither the page nor what it asks for holds a token, and the key is in no address."""
    found = [house.ask()["access_token"], house.ask("jsapi_ticket")["ticket"]]
    start(page, house)
    text = page.content() + page.evaluate("JSON.stringify([location.href, document.cookie, {...localStorage}])")
    for secret in (*found, house.ops_key, house.sim.account.secret):
        assert secret not in text
    assert "?" not in house.asked


def test_the_key_stays_in_the_tab(page: Page, house: House) -> None:
    """The key survives a reload, is in no other tab, and is forgotten on demand."""
    start(page, house)
    page.reload()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    other = page.context.new_page()
    other.goto(house.url)
    expect(other.locator("#key-form")).to_be_visible()
    page.locator("#leave").click()
    expect(page.locator("#key-form")).to_be_visible()
    expect(page.locator("[data-appid]")).to_have_count(0)
    assert page.evaluate("sessionStorage.length") == 0


def test_wrong_keys(watched_page: tuple[Page, Watched], house: House) -> None:
    """Each reason for which a key does not do is said, and such a key is not kept."""
    page, watched = watched_page
    watched.allow(r"status of 40[13]")
    page.goto(house.url)
    enter(page, "hello")
    expect(page.locator("#key-error")).to_contain_text("begins with wxck_")
    assert "/v1/status" not in house.asked
    enter(page, NEVER)
    expect(page.locator("#key-error")).to_contain_text("does not know this key")
    enter(page, house.shop_key)
    expect(page.locator("#key-error")).to_contain_text("may not see the status")
    assert page.evaluate("sessionStorage.length") == 0
    page.locator("#lang").click()
    expect(page.locator("#key-error")).to_contain_text("此密钥无权查看状态")
    enter(page, house.ops_key)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_a_withdrawn_key(watched_page: tuple[Page, Watched], house: House) -> None:
    """A key that is withdrawn while the page is open is asked for anew, and nothing stays on the screen."""
    page, watched = watched_page
    watched.allow("status of 401")
    page.clock.install()
    start(page, house)
    house.server.use_keys([house.shop])
    page.clock.fast_forward(11_000)
    expect(page.locator("#key-error")).to_contain_text("does not know this key")
    expect(page.locator("[data-appid]")).to_have_count(0)


def test_it_asks_gently(page: Page, house: House) -> None:
    """One look in ten seconds, and the seconds go on meanwhile without any."""
    # The page's time passes only when it is told to: its clock stands still from the first moment on.
    page.clock.install(time=time.time())
    page.clock.pause_at(time.time() + 3600)
    page.add_init_script("const ask = fetch; window.looks = 0; window.fetch = (...all) => (looks += 1, ask(...all));")
    row = value(page, house.appid)
    answers = 0

    def be_answered() -> None:
        """Wait until the page has taken in what it was answered: a number that is another one each time."""
        expect(row.locator('[data-field="handouts"]')).to_have_text(str(answers))

    def seconds_until_a_look() -> int:
        nonlocal answers
        house.ask()
        answers += 1
        looks, seconds = page.evaluate("looks"), 0
        while page.evaluate("looks") == looks:
            assert seconds < 30
            page.clock.run_for(1_000)
            seconds += 1
        be_answered()
        return seconds

    def age() -> int:
        found = re.fullmatch(r"(?:(\d+) min )?(\d+) s", row.locator(".age-text").inner_text())
        assert found
        return int(found[1] or 0) * 60 + int(found[2])

    house.ask()
    answers += 1
    start(page, house)
    be_answered()
    seconds_until_a_look()
    looks, before = page.evaluate("looks"), age()
    page.clock.run_for(5_000)
    assert before + 4 <= age() <= before + 6
    assert page.evaluate("looks") == looks
    assert 4 <= seconds_until_a_look() <= 7


def test_the_server_is_away(watched_page: tuple[Page, Watched], house: House) -> None:
    """What was seen last stays, and it is said that it is old."""
    page, watched = watched_page
    watched.allow("ERR_CONNECTION_REFUSED|Failed to load resource")
    page.clock.install()
    house.ask()
    start(page, house)
    house.stop()
    page.clock.fast_forward(11_000)
    expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    expect(page.locator("#notice")).to_contain_text("does not answer")
    expect(value(page, house.appid)).to_be_visible()


def test_too_many_requests(watched_page: tuple[Page, Watched], house: House) -> None:
    """A limit is obeyed: the page says so and waits as long as it is told."""
    page, watched = watched_page
    watched.allow("status of 429")
    slow, key = ControlKey.create("slow", appids="*", may_see_status=True, per_minute=1)
    house.server.use_keys([slow, house.shop])
    page.clock.install()
    page.goto(house.url)
    enter(page, key)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.clock.run_for(10_500)
    expect(page.locator("#notice")).to_contain_text("Asked too often")
    looks = house.asked.count("/v1/status")
    page.clock.run_for(20_000)
    page.wait_for_timeout(100)
    assert house.asked.count("/v1/status") == looks


def test_language(page: Page, house: House) -> None:
    """The whole page speaks the other language at once, and still after a reload."""
    house.ask()
    house.die()
    house.learn()
    start(page, house)
    page.locator("#lang").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    for part in ("#bar", "#summary", "[data-alarm]", "table.values thead", "table.askers", "table.deaths", "footer"):
        expect(page.locator(part).first).to_contain_text(re.compile("[\u4e00-\u9fff]"))
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("[data-alarm]")).to_contain_text("有其他系统在刷新此 AppID")


def test_first_language(open_context: Callable[..., tuple[BrowserContext, Watched]], house: House) -> None:
    """The first visit is in Chinese for Chinese browsers, in English for all others."""
    for locale, title in (("zh-CN", "中控服务器"), ("de-DE", "Control server")):
        page = open_context(locale=locale)[0].new_page()
        page.goto(house.url)
        expect(page.locator("h1")).to_contain_text(title)


def test_hostile_names_stay_text(page: Page, house: House) -> None:
    """What others chose is shown as text: the path of a call may hold no markup, and none is made of it."""
    house.ask()
    said = {"generation": house.ask()["generation"], "errcode": 40001, "path": "/<img src=x onerror=alert(1)>"}
    answer = house.call(f"/v1/accounts/{house.appid}/access_token/replace", house.shop_key, **said)
    assert answer["error"] == "bad_request"
    start(page, house)
    assert page.locator("#accounts img, #accounts script").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(
    open_context: Callable[..., tuple[BrowserContext, Watched]], house: House, width: int, scheme: str
) -> None:
    """Nothing is wider than the screen, and all text can be read, by day and by night."""
    house.ask()
    house.die()
    house.ask("jsapi_ticket")
    house.learn()
    context, _ = open_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(house.url)
    expect(page.locator("#key-form")).to_be_visible()
    assert page.evaluate(FAINT) == []
    enter(page, house.ops_key)
    expect(page.locator("[data-alarm]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 384) == (scheme == "dark")


def test_theme(page: Page, house: House) -> None:
    """Light and dark differ, and the choice stays."""
    page.goto(house.url)
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


@pytest.mark.parametrize("width", [390, 1280])
def test_a_table_is_one_for_a_screen_reader(
    open_context: Callable[..., tuple[BrowserContext, Watched]], house: House, width: int
) -> None:
    """Tables, rows, heads and cells have their roles also where they look like a list; headings name accounts."""
    house.ask()
    house.die()
    page = open_context(viewport={"width": width, "height": 844})[0].new_page()
    start(page, house)
    box = account(page, house.appid)
    values = box.get_by_role("table", name=f"Values of {house.appid}")
    expect(values.get_by_role("columnheader")).to_have_count(8)
    expect(values.get_by_role("rowheader", name="access_token")).to_have_count(1)
    expect(values.get_by_role("cell")).to_have_count(7)
    expect(box.get_by_role("table", name="Values that died before their time")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("heading", level=2, name=house.appid)).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Colours"))).to_be_visible()


def test_everything_by_keyboard(page: Page, house: House) -> None:
    """The key is typed and sent, the language changed and the key forgotten without a mouse."""
    page.goto(house.url)
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.insert_text(house.ops_key)
    page.keyboard.press("Enter")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    for name in ("lang", "leave"):
        for _ in range(12):
            if page.evaluate("document.activeElement.id") == name:
                break
            page.keyboard.press("Tab")
        expect(page.locator(f"#{name}")).to_be_focused()
        page.keyboard.press("Enter")
    expect(page.locator("#key-form")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_nothing_moves_while_nothing_happens(page: Page, house: House) -> None:
    """A look that brings nothing new leaves the page's elements alone: whoever reads or selects is not disturbed."""
    page.clock.install()
    house.ask()
    house.learn()
    start(page, house)
    page.evaluate(f"document.querySelector('[data-appid=\"{house.appid}\"]').mark = 1")
    looks = house.asked.count("/v1/status")
    page.clock.run_for(10_500)
    deadline = time.monotonic() + 30
    while house.asked.count("/v1/status") == looks and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    page.wait_for_timeout(100)
    assert page.evaluate(f"document.querySelector('[data-appid=\"{house.appid}\"]').mark") == 1
