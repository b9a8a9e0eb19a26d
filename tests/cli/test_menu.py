"""``wxmp menu``: what is pulled, pushed and compared, for every kind of button, and what a break leaves behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.cli.line import Line, Terminal, finish, wait_for
from wxmp.api.menu import ButtonType, MatchRule, MenuArticle, MenuButton
from wxmp.cli._console import Signals
from wxmp.cli._menu_file import CONSOLE_TYPES, ForSome, MenuSet, document, read_menus, write_menus
from wxmp.cli.menu import common_end, read_file
from wxmp.errors import ConfigError
from wxmp.simulator import Policy, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ADD = "/cgi-bin/menu/addconditional"
REMOVE = "/cgi-bin/menu/delconditional"
CREATE = "/cgi-bin/menu/create"

BASE = """\
# 我们的菜单
menu:
  - name: 今日
    type: click   # the key comes back in the event
    key: TODAY
  - name: 更多
    sub_menu:
      - {name: 商城, type: view, url: "https://shop.example.com/"}
      - {name: 帮助, type: click, key: 0}
"""
SOME = """\
conditional:
  - platform: ios
    menu:
      - {name: 苹果, type: click, key: APPLE}
  - tag: 星标组
    menu:
      - {name: 星标, type: click, key: STAR}
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3, policy=Policy(menu_checks_media=False)) as sim:
        yield sim


def write(wxmp: Line, text: str, name: str = "menu.yaml") -> str:
    (wxmp.folder / name).write_text(text, encoding="utf-8")
    return name


def calls(wxmp: Line) -> list[int]:
    return [wxmp.sim.calls(path) for path in (CREATE, ADD, REMOVE)]


def names(wxmp: Line) -> list[str]:
    """The captions of the conditional menus, in the order in which they are matched."""
    return [str(menu.button[0]["name"]) for menu in reversed(wxmp.sim.account.conditional)]


# ---- back and forth


def test_push_then_nothing_differs(wxmp: Line) -> None:
    """A pushed file equals the platform; pushed again it makes no call, and pulled it keeps its comments."""
    file = write(wxmp, BASE + SOME)
    assert wxmp("menu", "diff", file).code == 3
    done = wxmp("menu", "push", file, "--yes")
    assert (done.code, done.err) == (0, "")
    assert names(wxmp) == ["苹果", "星标"]
    assert calls(wxmp) == [1, 2, 0]
    assert wxmp("menu", "diff", file).out == ""
    assert "has it already" in wxmp("menu", "push", file).out
    assert "says so already" in wxmp("menu", "pull", file).out
    assert (wxmp.folder / file).read_text(encoding="utf-8") == BASE + SOME
    assert calls(wxmp) == [1, 2, 0]


def test_pull_does_not_overwrite(wxmp: Line) -> None:
    """A file that says something else stays as it is until --force says otherwise; - is standard output."""
    wxmp("menu", "push", write(wxmp, BASE + SOME), "--yes")
    other = write(wxmp, "menu: []\n", "other.yaml")
    done = wxmp("menu", "pull", other)
    assert (done.code, "--force" in done.err) == (2, True)
    assert (wxmp.folder / other).read_text(encoding="utf-8") == "menu: []\n"
    assert json.loads(wxmp("menu", "pull", other, "--force", "--json").out)["written"] is True
    assert wxmp("menu", "diff", other).code == 0
    assert wxmp("menu", "pull", "-").out == (wxmp.folder / other).read_text(encoding="utf-8")
    assert max(map(cell_len, wxmp("menu", "pull", "-").out.splitlines())) <= 80


def texts(largest: int) -> st.SearchStrategy[str]:
    signs = st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn"))
    return st.text(signs, min_size=1, max_size=largest // 4).filter(str.strip)


def button(kind: ButtonType, name: str, text: str) -> MenuButton:
    """A button of a type with all that it needs."""
    url = "https://shop.example.com/p?a=1&b=%E4%BD%A0#x"
    fields: dict[str, Any] = {
        ButtonType.VIEW: {"url": url},
        ButtonType.MINIPROGRAM: {"appid": "wx286b93c14bbf93aa", "pagepath": text, "url": url},
        ButtonType.MEDIA_ID: {"media_id": text},
        ButtonType.VIEW_LIMITED: {"media_id": text},
        ButtonType.ARTICLE_ID: {"article_id": text},
        ButtonType.ARTICLE_VIEW_LIMITED: {"article_id": text},
        ButtonType.TEXT: {"value": text},
        ButtonType.NEWS: {
            "value": text,
            "news_info": (MenuArticle(text, digest="d", show_cover=True, content_url=url, extra={"k": [1, None]}),),
        },
    }.get(kind, {"value": text} if kind in CONSOLE_TYPES else {"key": text})
    return MenuButton(name, kind, **fields)


def buttons(kinds: list[ButtonType], name_bytes: int) -> st.SearchStrategy[MenuButton]:
    return st.builds(button, st.sampled_from(kinds), texts(name_bytes), texts(128))


def menus(kinds: list[ButtonType]) -> st.SearchStrategy[tuple[MenuButton, ...]]:
    subs = st.lists(buttons(kinds, 60), min_size=1, max_size=5)
    tops = st.one_of(buttons(kinds, 16), st.builds(MenuButton.sub_menu, texts(16), subs))
    return st.lists(tops, min_size=1, max_size=3).map(tuple)


API = [kind for kind in ButtonType if kind not in CONSOLE_TYPES]
RULES = st.builds(
    MatchRule,
    st.sampled_from([None, 2]),
    st.sampled_from(["1", "2", "3"]),
)
SETS = st.builds(MenuSet, menus(API), st.lists(st.builds(ForSome, RULES, menus(API)), max_size=3).map(tuple))


@settings(max_examples=30, deadline=None)
@given(SETS, menus(list(ButtonType)))
def test_what_is_written_is_read_back(found: MenuSet, console: tuple[MenuButton, ...]) -> None:
    """Whatever the captions and keys hold, the file says it again: numbers, quotes, colons, emoji, what looks empty."""
    found = attrs.evolve(found, menu=console)
    text = write_menus(found, {2: "星标组"}, appid="wx0000000000000001")
    read = read_menus(text, "menu.yaml")
    again = MenuSet(read.menu, tuple(ForSome(rule.resolved({"星标组": 2}), menu) for rule, menu in read.conditional))
    assert document(again, {}) == document(found, {})


@settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=SETS)
def test_round_trip_of_menus_made_by_api(wxmp: Line, found: MenuSet) -> None:
    """Pushed, pulled and compared there is no difference, whatever was there before; nor after a pull and a push."""
    first = write(wxmp, write_menus(found, {2: "星标组"}, appid="wx0000000000000001"))
    done = wxmp("menu", "push", first, "--yes")
    assert done.code == 0, done
    assert wxmp("menu", "pull", "pulled.yaml", "--force").code == 0
    assert wxmp("menu", "diff", first).out == ""
    assert wxmp("menu", "diff", "pulled.yaml").out == ""
    before = calls(wxmp)
    assert wxmp("menu", "push", "pulled.yaml").code == 0
    assert calls(wxmp) == before


def wire(button: MenuButton, number: int) -> dict[str, Any]:
    """A button as the console's menu comes back; media have another id each time."""
    found: dict[str, Any] = {"name": button.name}
    for name in ("type", "key", "url", "media_id", "appid", "pagepath", "article_id", "value"):
        if getattr(button, name) is not None:
            found[name] = str(getattr(button, name))
    if button.type in ("img", "photo", "video", "voice"):
        found["value"] = f"media{number}"
    if button.news_info:
        articles = [{"title": one.title, "digest": "d", "show_cover": 1, "k": [1]} for one in button.news_info]
        found["news_info"] = {"list": articles}
    found["sub_button"] = [wire(sub, number) for sub in button.sub_button]
    return found


@settings(
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(menu=menus(list(ButtonType)))
def test_round_trip_of_menus_made_in_the_console(wxmp: Line, menu: tuple[MenuButton, ...]) -> None:
    """What was made by hand is pulled and compared like the rest, and a push of it makes no call."""
    wxmp.sim.fault("errcode", "/cgi-bin/menu/get", errcode=46003)
    wxmp.sim.account.menu = [wire(button, 1) for button in menu]
    assert wxmp("menu", "pull", "pulled.yaml", "--force").code == 0
    wxmp.sim.account.menu = [wire(button, 2) for button in menu]
    done = wxmp("menu", "diff", "pulled.yaml")
    assert (done.code, done.out) == (0, "")
    assert wxmp("menu", "push", "pulled.yaml").code == 0
    assert calls(wxmp) == [0, 0, 0]


def test_buttons_of_the_console_cannot_be_made(wxmp: Line) -> None:
    """A file that changes something beside them is refused before anything is sent, with line and remedy."""
    file = write(wxmp, BASE + "  - {name: 图文, type: news, value: x}\n")
    done = wxmp("menu", "push", file, "--yes")
    assert done.code == 2
    assert done.err.startswith("menu.yaml, line 10: menu[2].type: 'news' can only be made in the console")
    assert calls(wxmp) == [0, 0, 0]


def test_an_empty_menu_deletes(wxmp: Line) -> None:
    """menu: [] says that there is none."""
    wxmp("menu", "push", write(wxmp, BASE + SOME), "--yes")
    done = wxmp("menu", "push", write(wxmp, "menu: []\n"), "--yes")
    assert (done.code, wxmp.sim.account.menu, wxmp.sim.account.conditional) == (0, None, [])


# ---- conditional menus


def some(*captions: str) -> str:
    lines = [f"  - {{platform: ios, menu: [{{name: {name}, type: click, key: k}}]}}\n" for name in captions]
    return BASE + ("conditional:\n" + "".join(lines) if lines else "")


@pytest.mark.parametrize(
    ("before", "after", "made"),
    [
        ("", "AB", [0, 2, 0]),
        ("AB", "AB", [0, 0, 0]),
        ("AB", "CAB", [0, 1, 0]),
        ("ABC", "AC", [0, 0, 1]),
        ("AB", "BA", [0, 1, 1]),
        ("AB", "BC", [0, 2, 2]),
        ("AB", "", [0, 0, 2]),
        ("AA", "A", [0, 0, 1]),
    ],
)
def test_fewest_calls_to_the_order_of_the_file(wxmp: Line, before: str, after: str, made: list[int]) -> None:
    """The first of the file is matched first; what is at the end in the same order stays where it is."""
    wxmp("menu", "push", write(wxmp, some(*before)), "--yes")
    earlier = calls(wxmp)
    file = write(wxmp, some(*after))
    assert wxmp("menu", "push", file, "--yes").code == 0
    assert names(wxmp) == list(after)
    assert [now - then for now, then in zip(calls(wxmp), earlier, strict=True)] == made


@given(st.lists(st.sampled_from("ABC"), max_size=6), st.lists(st.sampled_from("ABC"), max_size=6))
def test_what_stays_is_the_end_of_both(now: list[str], wanted: list[str]) -> None:
    """The places kept spell the end of what is wanted, and no longer end could be kept."""
    items = {name: ForSome(MatchRule(tag_id=1), (MenuButton.click(name, "k"),)) for name in "ABC"}
    kept = common_end([items[name] for name in now], [items[name] for name in wanted])
    assert [now[place] for place in sorted(kept)] == wanted[len(wanted) - len(kept) :]
    if len(kept) < len(wanted):
        rest = iter(now)
        assert not all(name in rest for name in wanted[len(wanted) - len(kept) - 1 :])


def test_too_many_domains_together_are_deleted_first(wxmp: Line) -> None:
    """Where old and new menus together would link to more than three domains, the old ones go first."""

    def linking(*hosts: str) -> str:
        lines = [f"  - {{platform: ios, menu: [{{name: x, type: view, url: 'http://{host}/'}}]}}\n" for host in hosts]
        return BASE + "conditional:\n" + "".join(lines)

    assert wxmp("menu", "push", write(wxmp, linking("a.cn", "b.cn", "c.cn")), "--yes").code == 0
    assert wxmp("menu", "push", write(wxmp, linking("d.cn", "e.cn")), "--yes").code == 0
    done = wxmp("menu", "push", write(wxmp, linking("a.cn", "b.cn", "c.cn", "d.cn")), "--yes")
    assert (done.code, "4 domains" in done.err) == (2, True)


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "menu.yaml: is empty; write menu:"),
        ("menu: [", "menu.yaml, line 1: this is no YAML"),
        ("buttons: []\n", "menu.yaml, line 1: there is no key 'buttons'; there are menu, conditional"),
        ("conditional: []\n", "menu.yaml, line 1: menu: is missing"),
        ("menu:\n  name: x\n", 'menu.yaml, line 2: menu: must be a list; begin each entry with "- "'),
        ("menu:\n#  - name: x\n", "menu.yaml, line 1: menu: is empty; write entries below it, or [] for none"),
        (BASE + "conditional:\n", "line 10: conditional: is empty; write entries below it, or [] for none"),
        (BASE + "    extra: {a: .nan}\n", "extra: is no number that JSON has"),
        (BASE + "    extra: &e {a: *e}\n", "extra: is too large"),
        (BASE + f"    extra: {'{a: ' * 99}1{'}' * 99}\n", "extra: is too large"),
        ('menu:\n  - {name: "\\ud83d", type: click, key: k}\n', "line 2: menu[0].name: has half of a character"),
        ("menu:\n  - type: click\n", "menu.yaml, line 2: menu[0]: has no name"),
        ("menu:\n  - {name: x, type: click, ky: K}\n", "line 2: menu[0]: there is no key 'ky'; did you mean key?"),
        ("menu:\n  - name: x\n    name: y\n", "menu.yaml, line 3: menu[0].name: is there twice"),
        ("menu:\n  - name:\n    type: click\n", "menu.yaml, line 2: menu[0].name: is empty"),
        ("menu:\n  - name: x\n    type: clack\n", "menu.yaml, line 3: menu[0].type: 'clack' is no type"),
        ("menu:\n  - name: x\n    type: click\n", "menu.yaml, line 2: menu[0].key: "),
        ("menu:\n  - name: 六个汉字太长\n    type: click\n    key: k\n", "line 2: menu[0].name: "),
        ("menu:\n  - name: x\n    sub_menu: []\n", "menu.yaml, line 2: menu[0].type: the button does nothing"),
        (
            BASE + "conditional:\n  - menu: [{name: x, type: click, key: k}]\n",
            "line 11: conditional[0]: says of nobody",
        ),
        (BASE + "conditional:\n  - {platform: symbian, menu: []}\n", "is 'symbian'; write one of ios, android, other"),
        (BASE + "conditional:\n  - {tag: 无, menu: [{name: x, type: click, key: k}]}\n", "no tag '无'; it has "),
        (
            BASE + "conditional:\n  - {sex: 1, menu: [{name: x, type: click, key: k}]}\n",
            "conditional[0].sex: was retired",
        ),
        (
            BASE + "conditional:\n  - platform: ios\n    menu:\n      - name: x\n        type: view\n        url: no\n",
            "menu.yaml, line 15: conditional[0].menu[0].url: must be a whole address",
        ),
    ],
)
def test_mistakes_name_line_key_and_remedy(wxmp: Line, text: str, said: str) -> None:
    """One sentence says where and what to do; nothing is sent."""
    done = wxmp("menu", "push", write(wxmp, text), "--yes")
    assert done.code == 2
    assert said in done.err
    assert calls(wxmp) == [0, 0, 0]


def test_aliases_do_not_explode() -> None:
    """A file that makes much out of little is refused."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    text = "menu:\n  - name: x\n    extra:\n" + "".join(f"      {line}\n" for line in bomb.splitlines())
    with pytest.raises(ConfigError, match="too large"):
        read_menus(text, "menu.yaml")


def test_a_file_without_an_end() -> None:
    """A device, or a pipe that somebody goes on filling, is not read for ever."""
    with pytest.raises(ConfigError, match="no file of menus"):
        read_file(Path("/dev/zero"))


# ---- half-way


def test_a_failure_in_between_is_told_and_the_rest_is_done_later(wxmp: Line) -> None:
    """What is done and what is not is said; a further push does just the rest."""
    file = write(wxmp, BASE + SOME)
    wxmp.sim.fault("errcode", ADD, errcode=65316, nth=2)
    done = wxmp("menu", "push", file, "--yes", "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert (len(told["done"]), told["failed"], told["not_done"]) == (2, "add the menu for platform ios", [])
    assert (told["error"]["type"], told["error"]["errcode"]) == ("ArgumentError", 65316)
    assert names(wxmp) == ["星标"]
    wxmp.sim.clear_faults()
    assert wxmp("menu", "push", file, "--yes").code == 0
    assert names(wxmp) == ["苹果", "星标"]
    assert calls(wxmp) == [1, 3, 0]


def test_an_unknown_outcome_is_looked_at(wxmp: Line) -> None:
    """A menu that was added although the answer was lost is not added again."""
    file = write(wxmp, BASE + SOME)
    wxmp.sim.fault("reset_after", ADD, nth=2)
    assert wxmp("menu", "push", file, "--yes").code == 1
    wxmp.sim.clear_faults()
    assert wxmp("menu", "push", file, "--yes").code == 0
    assert names(wxmp) == ["苹果", "星标"]


def test_ctrl_c_ends_between_two_calls(wxmp: Line) -> None:
    """The call that is on its way comes to its end, no further one is made, and it is said what is left."""
    file = write(wxmp, BASE + SOME)
    wxmp.sim.fault("latency", ADD, seconds=2.0, first=1)
    process = wxmp.start("menu", "push", file, "--yes")
    wait_for(lambda: wxmp.sim.calls(ADD))
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130, done.err
    assert "not done  add the menu for platform ios" in done.err
    assert names(wxmp) == ["星标"]
    assert wxmp("menu", "push", file, "--yes").code == 0
    assert names(wxmp) == ["苹果", "星标"]


def test_a_terminal_is_asked(wxmp: Line) -> None:
    """A person sees the difference and the calls in 80 columns, and Ctrl-C at the question changes nothing."""
    terminal = Terminal("menu", "push", write(wxmp, BASE + SOME), environment=wxmp.variables, folder=wxmp.folder)
    terminal.read_until("[y/N]")
    assert "3. add the menu for platform ios" in terminal.text
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130, terminal.text
    assert terminal.widest <= 80
    assert calls(wxmp) == [0, 0, 0]


def test_somebody_was_at_the_console_meanwhile(wxmp: Line) -> None:
    """What a person has agreed to is what was shown: when the menus have changed since, nothing is done."""
    file = write(wxmp, BASE)

    def confirm(*_: object, **__: object) -> bool:
        wxmp.sim.account.menu = [{"name": "其他", "type": "click", "key": "k", "sub_button": []}]
        return True

    wxmp.monkeypatch.setattr(Signals, "confirm", confirm)
    done = wxmp("menu", "push", file)
    assert (done.code, "have changed meanwhile" in done.err) == (2, True)
    assert calls(wxmp) == [0, 0, 0]


def test_dry_run_and_pipes(wxmp: Line) -> None:
    """A dry run makes no call and says by its code that there is something to do; a pipe needs --yes."""
    file = write(wxmp, BASE)
    assert (wxmp("menu", "push", file, "--dry-run").code, wxmp("menu", "push", file).code) == (3, 2)
    told = json.loads(wxmp("menu", "push", file, "--dry-run", "--json").out)
    assert (told["same"], told["done"], told["not_done"]) == (False, [], ["make the menu for everybody"])
    assert calls(wxmp) == [0, 0, 0]


def test_pull_replaces_no_device(wxmp: Line) -> None:
    """What is no file stays what it is, also with --force: a device in its place would be gone for everybody."""
    pipe = wxmp.folder / "pipe.yaml"
    os.mkfifo(pipe)
    done = wxmp("menu", "pull", str(pipe), "--force")
    assert (done.code, "is no file" in done.err) == (2, True)
    assert pipe.is_fifo()
