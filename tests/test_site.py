"""The documentation site builds without a warning, its links lead somewhere, it can be read and searched."""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import attrs
import pytest

from tests.browser.conftest import Watched, chromium
from tests.test_public_api import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["chromium"]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: The whole site is made in the first test.
pytestmark = pytest.mark.timeout(600)

#: Where links of the pages lead to. A new host is added here by whoever has looked at it.
HOSTS = {"github.com", "taskiq-python.github.io"}
#: Shown where there is no page, in both languages at once.
LOST = "404.html"
#: Public modules without a page: what they hold is shown elsewhere, or is nobody's business but the package's.
UNSHOWN = {
    "wxmp": "every name is shown where it is at home",
    "wxmp.api": "families, each with a page",
    "wxmp.broadcast": "every name is shown where it is at home",
    "wxmp.cli": "docs/cli.md",
    "wxmp.control": "every name is shown where it is at home",
    "wxmp.integrations": "empty",
    "wxmp.pay": "every name is shown where it is at home",
    "wxmp.testing": "its one name is shown where it is at home",
    "wxmp.tokens": "empty",
    "wxmp.webhook": "every name is shown where it is at home",
}
#: Rooms inside the control server.
UNSHOWN_ROOMS = ("wxmp.cli.", "wxmp.control.", "wxmp.simulator.")


@attrs.frozen
class Html:
    """What links of one page of the site."""

    ids: frozenset[str]
    #: Where ``<a>`` leads.
    links: tuple[str, ...]
    #: What the page loads: styles, scripts, images.
    assets: tuple[str, ...]
    text: str


def read(path: Path) -> Html:
    text = path.read_text(encoding="utf-8")
    tags = re.findall(r"<(a|link|script|img|source|iframe|use)\b([^>]*)>", text)
    links, assets = [], []
    for name, attributes in tags:
        for target in re.findall(r'\b(?:href|src|srcset)="([^"]*)"', attributes):
            target = target.replace("&amp;", "&")
            if name == "a" or 'rel="alternate"' in attributes:
                links.append(target)
            elif name != "use":
                assets.append(target)
    return Html(frozenset(re.findall(r'\s(?:id|name)="([^"]+)"', text)), tuple(links), tuple(assets), text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both languages, built as ``make docs`` does.

    Nothing is measured in there: tracing all of Sphinx takes as long as Sphinx itself. Each language has one process,
    because the other one, and the other tests, need the second core.
    """
    root = tmp_path_factory.mktemp("site")
    base = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(DOCS)]
    builds = [
        [*base, "--doctree-dir", str(root / "en"), str(DOCS), str(root / "site")],
        [*base, "--tag", "zh", "--doctree-dir", str(root / "zh"), str(DOCS / "zh"), str(root / "site" / "zh")],
    ]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    running = [
        subprocess.Popen(line, cwd=ROOT, env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for line in builds
    ]
    try:
        said = [process.communicate(timeout=560)[0].decode() for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)[-8000:]
    return root / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    """Every page of the site."""
    return {path: read(path) for path in sorted(site.rglob("*.html"))}


# ---- the sources


def sources(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    return {name for name in found if not name.startswith(("zh/", "reference/"))}


def test_every_page_has_its_twin() -> None:
    """Each page exists in both languages; only the reference, written from docstrings, is English alone."""
    assert sources(DOCS) == sources(DOCS / "zh")
    assert (DOCS / "zh" / "reference" / "index.md").exists()


def test_every_public_module_is_in_the_reference() -> None:
    """A public module is shown by a page of the reference, or has a reason not to be."""
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").rglob("*.md"))
    shown = set(re.findall(r"automodule:: (\S+)", text))
    assert shown <= set(MODULES) - set(UNSHOWN)
    missing = set(MODULES) - shown - set(UNSHOWN)
    assert {name for name in missing if not name.startswith(UNSHOWN_ROOMS)} == set()


# ---- the built pages


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Html]) -> None:
    """Each link inside the site names a page that exists, and each anchor a place on it."""
    broken = []
    for path, page in pages.items():
        for link in {*page.links, *page.assets}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{path.relative_to(site)}: {link} (no such anchor)")
    assert broken == []
    assert len(pages) > 100


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Html]) -> None:
    """No page and no style asks another host for anything."""
    for page in pages.values():
        assert [asset for asset in page.assets if urlsplit(asset).netloc] == []
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']+", text) == [], style.name


def test_links_to_elsewhere(pages: dict[Path, Html]) -> None:
    """A link that leaves the site is https, leads to a known host, and into the repository only to what is there."""
    links = {link for page in pages.values() for link in page.links if urlsplit(link).netloc}
    assert {link for link in links if urlsplit(link).scheme != "https"} == set()
    assert {urlsplit(link).netloc for link in links} == HOSTS
    own = "https://github.com/wxmp-sdk/wxmp/"
    for link in links:
        found = re.match(rf"{own}(?:blob|tree|edit)/main/([^#]+)", link)
        assert found is None or (ROOT / found[1]).exists(), link
    assert any(link.startswith(f"{own}blob/main/tests/") for link in links)


def test_pages_say_their_language(site: Path, pages: dict[Path, Html]) -> None:
    """A page says in what language it is, and leads to its twin."""
    for path, page in pages.items():
        name = path.relative_to(site)
        chinese = name.parts[0] == "zh"
        assert f'lang="{"zh-CN" if chinese else "en"}"' in page.text[:200]
        twin = Path(*name.parts[1:]) if chinese else Path("zh", name)
        if not (site / twin).exists():
            assert name.parts[0] in ("reference", "genindex.html", LOST), name
        else:
            (link,) = set(re.findall(r'<link rel="alternate" hreflang="[\w-]+" href="([^"]+)"', page.text))
            assert (path.parent / link).resolve() == site / twin


def test_pages_describe_themselves(site: Path, pages: dict[Path, Html]) -> None:
    """Each page that somebody wrote has a title of its own and a description, for who finds it elsewhere."""
    made = {"search.html", "genindex.html"}
    written = {path: page.text for path, page in pages.items() if path.name not in made}
    lacking = [
        path for path, text in written.items() if not re.search(r'<meta name="description" content="[^"]+">', text)
    ]
    assert lacking == []
    said = {path: re.findall(r'<meta name="description" content="([^"]+)">', text)[0] for path, text in written.items()}
    # Whoever finds it elsewhere has no page before it: a sentence, and none about the making of the page.
    assert {path.name: text for path, text in said.items() if len(text) < 15 or "make docs-tables" in text} == {}
    titles = Counter(re.findall(r"<title>(.*?)</title>", text)[0] for text in written.values())
    assert [title for title, times in titles.items() if times > 1] == []


def test_every_page_leads_to_its_source(site: Path) -> None:
    """A reader who finds a mistake is one click away from mending it, in the language of the page."""
    for name, source in (("webhook.html", "docs/webhook.md"), ("zh/howto/oauth.html", "docs/zh/howto/oauth.md")):
        text = (site / name).read_text(encoding="utf-8")
        assert f'href="https://github.com/wxmp-sdk/wxmp/edit/main/{source}"' in text


def test_the_theme_speaks_chinese(site: Path) -> None:
    """What the theme says around a page is in the page's language."""
    text = (site / "zh" / "webhook.html").read_text(encoding="utf-8")
    for english, chinese in (("Next", "下一页"), ("Previous", "上一页"), ("On this page", "本页目录")):
        assert re.search(rf">\s*{chinese}\s*<", text)
        assert not re.search(rf">\s*{english}\s*<", text)
    assert re.search(r">\s*Next\s*<", (site / "webhook.html").read_text(encoding="utf-8"))


def test_a_family_begins_with_its_calls(site: Path) -> None:
    """The first class on the page of a family is the one that has the calls."""
    for page in sorted((DOCS / "reference" / "api").glob("*.md")):
        module = re.findall(r"automodule:: (wxmp\.api\.\w+)", page.read_text(encoding="utf-8"))
        names = re.findall(
            r'<dt[^>]* id="([\w.]+)"', (site / "reference" / "api" / f"{page.stem}.html").read_text("utf-8")
        )
        if module and hasattr(importlib.import_module(module[0]), "__all__"):
            calls = [name for name in names if re.fullmatch(r"wxmp\.api\.\w+\.\w+API", name)]
            assert not calls or names[0] == calls[0], page.name


def test_programs_of_two_sdks_say_whose_they_are(site: Path) -> None:
    """Where a page shows the old program and the new one, each says what it is written for."""
    for name in ("migrating.html", "zh/migrating.html"):
        marks = Counter(re.findall(r"of-(wechatpy|werobot|wxmp)\b", (site / name).read_text(encoding="utf-8")))
        assert marks["wechatpy"] >= 5
        assert marks["werobot"] >= 2
        assert marks["wxmp"] >= 7


@pytest.mark.parametrize("name", ["errors.html", "zh/errors.html"])
def test_a_code_has_an_address(site: Path, pages: dict[Path, Html], name: str) -> None:
    """Every return code is an anchor of the catalogue, and a word of the search."""
    from wxmp.errcodes import CODES

    assert {str(code) for code in CODES if code} <= pages[site / name].ids
    assert '"40164":[[' in (site / name).with_name("searchindex.js").read_text(encoding="utf-8")


# ---- in a browser


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site, served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def window(chromium: Browser) -> Iterator[tuple[BrowserContext, Watched]]:
    """One window for all tests; whatever goes wrong in it fails the test that is running."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(60_000)
    yield context, Watched(context)
    context.close()


@pytest.fixture
def page(window: tuple[BrowserContext, Watched]) -> Iterator[Page]:
    context, watched = window
    watched.troubles.clear()
    opened = context.new_page()
    yield opened
    opened.close()
    assert watched.left == []


SAMPLE = [
    "index.html",
    "errors.html",
    "endpoints.html",
    "architecture.html",
    "webhook.html",
    "migrating.html",
    "reference/api/template.html",
    "zh/index.html",
    "zh/errors.html",
    "zh/webhook.html",
]


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_window(page: Page, address: str, width: int) -> None:
    """Nothing sticks out: what is wide scrolls in itself."""
    page.set_viewport_size({"width": width, "height": 800})
    for name in SAMPLE:
        page.goto(f"{address}/{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


@pytest.mark.parametrize("width", [1280, 390])
def test_the_switch_leads_to_the_other_language_and_back(page: Page, address: str, width: int) -> None:
    """The switch can be seen and leads to the same page in the other language."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{address}/webhook.html")
    switch = page.locator("article .languages a" if width == 390 else ".sidebar-drawer .languages a")
    switch.click()
    page.wait_for_url("**/zh/webhook.html")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    switch.click()
    page.wait_for_url(re.compile(r":\d+/webhook\.html$"))


def test_programs_fit_their_page(page: Page, address: str) -> None:
    """On a laptop a program is read without scrolling it."""
    page.set_viewport_size({"width": 1366, "height": 800})
    for name in ("tutorial.html", "migrating.html", "zh/pay.html", "simulator.html"):
        page.goto(f"{address}/{name}")
        scroll = """() => [...document.querySelectorAll("article pre")]
          .filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.innerText.slice(0, 60))"""
        assert page.evaluate(scroll) == [], name


def test_what_is_not_there_leads_back(site: Path, window: tuple[BrowserContext, Watched]) -> None:
    """The page for a wrong address finds the site from any depth, below any folder of the server."""
    asked: list[str] = []

    class Lost(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = (site / LOST).read_bytes()
            self.send_response(404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path == "/docs/v1/zh/searchindex.js" else 404)
            self.end_headers()

    context, watched = window
    with ThreadingHTTPServer(("127.0.0.1", 0), Lost) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        opened = context.new_page()
        try:
            opened.goto(f"http://127.0.0.1:{server.server_address[1]}/docs/v1/howto/nothing.html")
            opened.locator('a[href="/docs/v1/zh/index.html"]').wait_for()
        finally:
            opened.close()
            server.shutdown()
            thread.join()
    watched.troubles.clear()  # a browser counts each 404 as one
    assert asked == ["/docs/v1/howto/zh/searchindex.js", "/docs/v1/zh/searchindex.js"]
    for name in re.findall(r'data-page="([^"]+)"', (site / LOST).read_text(encoding="utf-8")):
        assert (site / name).is_file(), name


LUMINANCE = """(selector) => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const node = document.querySelector(selector);
  let behind = node;
  while (behind.parentElement && /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor))
    behind = behind.parentElement;
  const one = light(getComputedStyle(node).color), two = light(getComputedStyle(behind).backgroundColor);
  return (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(page: Page, address: str, scheme: str) -> None:
    """Text, links and code differ enough from what is behind them, by day and by night."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(f"{address}/zh/index.html")
    for selector, least in [("article p", 7), ("article td a", 4.5), (".highlight pre", 7), (".highlight .k", 4.5)]:
        assert page.evaluate(LUMINANCE, selector) >= least, selector
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(float, re.findall(r"[\d.]+", background)[:3])) < 300) == (scheme == "dark")


@pytest.mark.parametrize(
    ("where", "query", "expected"),
    [
        ("", "TokenStore", "reference/tokens.html"),
        ("", "40164", "errors.html#code-40164"),
        ("", "客服消息", "reference/api/custom.html"),
        ("", "退款", "reference/pay/refunds.html"),
        ("", "菜单", "reference/api/menu.html"),
        ("", "token", "token-store.html"),
        ("zh/", "客服消息", "webhook.html"),
        ("zh/", "去重", "webhook.html"),
        ("zh/", "token", "token-store.html"),
        ("", "access_token", "token-store.html"),
        ("zh/", "access_token", "token-store.html"),
        ("zh/", "40164", "errors.html#code-40164"),
        ("", "refund", "pay.html"),
        ("zh/", "被动回复", "webhook.html"),
        ("zh/", "IP白名单", "howto/production.html"),  # letters and Chinese without a space between them
        ("zh/", "docker", "howto/workers.html"),
        ("zh/", "幂等", "howto/notices.html"),
    ],
)
def test_search_finds(page: Page, address: str, where: str, query: str, expected: str) -> None:
    """The search finds names, return codes and Chinese words."""
    page.goto(f"{address}/{where}search.html?q={query}")
    page.locator(f'#search-results a[href*="{expected}"]').first.wait_for()
