"""The files of the status page: who may have them, what a browser may do with them, and that they are packaged."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from wxmp.control.static import POLICY, TYPES

if TYPE_CHECKING:
    from tests.control.conftest import House

FILES = {name: (resources.files("wxmp.control") / "page" / name).read_text(encoding="utf-8") for name in TYPES}


class Tags(HTMLParser):
    """All tags with their attributes, and what stands in scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


def tags() -> Tags:
    found = Tags()
    found.feed(FILES["index.html"])
    return found


def test_all_files_are_packaged() -> None:
    """The folder of the package holds the files that are served, and no others."""
    folder = resources.files("wxmp.control") / "page"
    assert sorted(item.name for item in folder.iterdir()) == sorted(TYPES)


async def test_the_policy(house: House) -> None:
    """Own files only: nothing inline, nothing from elsewhere, no frame around it, no form that goes anywhere."""
    answer = await house.http("").get("/")
    assert answer.headers["content-security-policy"] == POLICY
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    for name in ("script-src", "style-src", "img-src", "connect-src"):
        assert rules[name] == "'self'"
    for name in ("base-uri", "form-action", "frame-ancestors", "object-src", "trusted-types"):
        assert rules[name] == "'none'"
    assert "unsafe" not in POLICY
    assert "data:" not in POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["page.js", "style.css", "icon.svg"])
async def test_files_have_their_type(house: House, name: str) -> None:
    """A script is a script and a style a style: browsers refuse them otherwise."""
    answer = await house.http("").get(f"/page/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == TYPES[name]
    assert answer.text == FILES[name]


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "__init__.py", "x", ".", "page"]
)
async def test_nothing_else_is_served(house: House, name: str) -> None:
    """No path of a request is opened."""
    answer = await house.http("").get(f"/page/{name}")
    assert answer.status_code == 404
    assert "ControlServer" not in answer.text


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/openapi.json"])
async def test_the_page_is_refused_over_plain_http_from_elsewhere(house: House, path: str) -> None:
    """A page that came in the clear, and asks for a key, might be anybody's."""
    assert (await house.http("", peer="10.0.0.5").get(path)).status_code == 403
    assert (await house.http("", peer="10.0.0.5", url="https://tokens.internal").get(path)).status_code == 200


async def test_the_page_works_where_it_is_mounted(house: House) -> None:
    """Its addresses are relative."""
    app: Any = Starlette(routes=[Mount("/control", app=house.server)])
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        page = await http.get("/control/")
        for address in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
            assert (await http.get(str(page.url.join(address)))).status_code == 200, address


def test_nothing_is_inline_or_from_elsewhere() -> None:
    """No script and no style in the page, no handler in an attribute, no address of another machine in any file."""
    found = tags()
    assert found.inline == []
    for tag, attributes in found.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    for name, text in FILES.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in FILES["page.js"].replace("uses innerHTML", "")
    assert "@import" not in FILES["style.css"]
    assert "url(" not in FILES["style.css"]


def test_the_key_is_kept_for_the_tab_only() -> None:
    """The key goes into sessionStorage and into no other place; its field has no name, so that no form sends it."""
    script = FILES["page.js"]
    assert re.findall(r"sessionStorage\.\w+\(([^,)]+)", script) == ["KEY", "KEY", "KEY"]
    assert set(re.findall(r"localStorage\.\w+\(([^,)]+)", script)) == {"name"}
    assert "document.cookie" not in script
    assert set(re.findall(r'remember\("([\w.]+)"', script)) == {"wxmp.control.lang", "wxmp.control.theme"}
    (field,) = [attributes for tag, attributes in tags().tags if tag == "input"]
    assert "name" not in field
    assert field["type"] == "password"
    assert field["autocomplete"] == "off"


def test_every_text_is_there_in_both_languages() -> None:
    """Each text has two languages, each with the same places; and each that is used is there."""
    script = FILES["page.js"]
    table = script[script.index("const TEXTS") : script.index("const $ =")]
    texts = {
        key: (english, chinese)
        for key, english, chinese in re.findall(r'^ {2}"?([\w.]+)"?: \["(.*?)", "(.*?)"\],$', table, re.MULTILINE)
    }
    assert len(texts) == table.count('["')
    for key, (english, chinese) in texts.items():
        assert re.findall(r"\{\w+\}", english) == re.findall(r"\{\w+\}", chinese) or sorted(
            re.findall(r"\{\w+\}", english)
        ) == sorted(re.findall(r"\{\w+\}", chinese)), key
        same = key.startswith(("kind.", "lang"))
        assert same or re.search(r"[\u4e00-\u9fff]", chinese), key
    used = {*re.findall(r'\bt\("([\w.]+)"', script), *re.findall(r'data-t="([\w.]+)"', FILES["index.html"])}
    assert used <= set(texts)


def test_the_frame_is_accessible() -> None:
    """One first heading, a main part, labels for fields, a language, and a way to skip the head."""
    found = tags().tags
    assert [tag for tag, _ in found].count("h1") == 1
    assert [tag for tag, _ in found].count("main") == 1
    labelled = {attributes["for"] for tag, attributes in found if tag == "label"}
    assert {attributes["id"] for tag, attributes in found if tag == "input"} <= labelled
    assert dict(found)["html"]["lang"] == "en"
    assert ("a", "#main") in {(tag, attributes.get("href")) for tag, attributes in found}
    assert {attributes.get("type") for tag, attributes in found if tag == "button"} == {"button", "submit"}
