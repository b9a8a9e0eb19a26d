"""Menus as YAML: read with line numbers, written in one order, compared as text."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

import attrs
import yaml

from wxmp.api.menu import ButtonType, ClientPlatform, MatchRule, MenuArticle, MenuButton
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp._wire import JsonObject, JsonValue

__all__ = [
    "CONSOLE_TYPES",
    "LONGEST",
    "ForSome",
    "MenuSet",
    "Rule",
    "WrittenMenus",
    "diff",
    "document",
    "place_in_file",
    "read_menus",
    "show_rule",
    "where",
    "write_menus",
]

#: Longest file, in characters. A menu has at most a few thousand.
LONGEST: Final = 1_000_000
#: Nodes below ``extra``: aliases make much out of little.
MOST_NODES: Final = 10_000
#: Levels below ``extra``: an alias can hold itself.
DEEPEST: Final = 32
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

#: What is made by hand in the console; no call can make it.
CONSOLE_TYPES: Final = frozenset(
    {ButtonType.TEXT, ButtonType.IMG, ButtonType.PHOTO, ButtonType.VIDEO, ButtonType.VOICE, ButtonType.NEWS}
)
#: Of these the platform gives another ``value`` each time it is asked.
PASSING: Final = frozenset({ButtonType.IMG, ButtonType.PHOTO, ButtonType.VIDEO, ButtonType.VOICE})

PLATFORMS: Final = {"ios": ClientPlatform.IOS, "android": ClientPlatform.ANDROID, "other": ClientPlatform.OTHER}
PLATFORM_NAMES: Final = {str(value): name for name, value in PLATFORMS.items()}

#: Texts of a button, of an article and of a rule, in the order in which they are written.
BUTTON_TEXTS: Final = ("type", "key", "url", "media_id", "appid", "pagepath", "article_id", "value")
ARTICLE_TEXTS: Final = ("title", "author", "digest", "cover_url", "content_url", "source_url")
RETIRED: Final = ("sex", "country", "province", "city", "language")

HEAD: Final = """\
# Menus of {appid} (自定义菜单). "wxmp menu diff" compares this
# file with the platform, "wxmp menu push" puts it up. Of the conditional menus
# (个性化菜单) the first one that fits a user counts.
"""


@attrs.frozen
class Rule:
    """Who sees a conditional menu. A tag is a number, or in a file also a name."""

    tag: int | str | None = None
    #: Everything else, as the platform has it.
    rest: MatchRule = attrs.field(factory=MatchRule)

    def resolved(self, tags: Mapping[str, int]) -> MatchRule:
        """Return the rule as the platform has it.

        Raises:
            KeyError: There is no tag of this name.
        """
        number = tags[self.tag] if isinstance(self.tag, str) else self.tag
        return attrs.evolve(self.rest, tag_id=number)


@attrs.frozen
class ForSome:
    """A menu for some users (个性化菜单)."""

    rule: MatchRule
    menu: tuple[MenuButton, ...]
    #: The platform's; empty for one of a file.
    menu_id: str = attrs.field(default="", eq=False)


@attrs.frozen
class MenuSet:
    """All menus of an account; of the conditional ones the first that fits counts."""

    menu: tuple[MenuButton, ...] = ()
    conditional: tuple[ForSome, ...] = ()


@attrs.frozen
class WrittenMenus:
    """What a file says, and on which lines."""

    name: str
    menu: tuple[MenuButton, ...]
    conditional: tuple[tuple[Rule, tuple[MenuButton, ...]], ...]
    #: Line of each place: ``menu[0].sub_menu[1].key``.
    lines: Mapping[str, int]

    def fail(self, place: str, problem: str) -> NoReturn:
        """Say what is wrong at a place.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{where(self.name, self.lines, place)}: {problem}", field=place)


def where(name: str, lines: Mapping[str, int], place: str) -> str:
    """Return file, line and place, as an error begins."""
    found = place
    while found and found not in lines:
        found = found[: max(found.rfind("."), found.rfind("["), 0)]
    line = lines.get(found)
    return f"{name}{f', line {line}' if line is not None else ''}{f': {place}' if place else ''}"


# ---- reading


def read_menus(text: str, name: str) -> WrittenMenus:
    """Read a file.

    Raises:
        ConfigError: It cannot be read; the message names file, line, key and remedy.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"{name}: has more than {LONGEST:,} characters, which is no file of menus", field="file")
    return _Reader(name).read(text)


class _Reader:
    """Walks through the nodes of one file; what it meets is remembered with its line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[str, int] = {}
        self._nodes = 0

    def read(self, text: str) -> WrittenMenus:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark is not None else ""
            raise ConfigError(f"{self._name}{line}: this is no YAML: {error.problem}", field="file") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"{self._name}: this is no YAML: {error}", field="file") from None
        if root is None:
            raise ConfigError(
                f"{self._name}: is empty; write menu: and its buttons, or menu: [] for none", field="menu"
            )
        top = self._mapping(root, "", ("menu", "conditional"))
        if "menu" not in top:
            self._fail(root, "menu", "is missing; write menu: and its buttons, or menu: [] for none")
        menu = self._buttons(top["menu"], "menu")
        conditional = []
        for number, node in enumerate(
            self._sequence(top["conditional"], "conditional") if "conditional" in top else ()
        ):
            conditional.append(self._conditional(node, f"conditional[{number}]"))
        if conditional and not menu:
            self._fail(top["menu"], "menu", "is empty, but conditional menus need a menu for everybody else")
        return WrittenMenus(self._name, menu, tuple(conditional), self._lines)

    def _fail(self, node: yaml.Node, place: str, problem: str) -> NoReturn:
        line = node.start_mark.line + 1
        raise ConfigError(f"{self._name}, line {line}{f': {place}' if place else ''}: {problem}", field=place)

    def _mapping(self, node: yaml.Node, place: str, known: Sequence[str]) -> dict[str, yaml.Node]:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, place, f"must be a mapping with {', '.join(known)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "this"
            if known and name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                self._fail(key, place, f"there is no key {name!r}; {meant}")
            if name in found:
                self._fail(key, f"{place}.{name}".lstrip("."), "is there twice; leave one of them out")
            found[str(name)] = value
            self._lines[f"{place}.{name}".lstrip(".")] = key.start_mark.line + 1
        return found

    def _sequence(self, node: yaml.Node, place: str) -> Sequence[yaml.Node]:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            # Perhaps its entries are commented out: that everything is to be deleted has to be said.
            self._fail(node, place, "is empty; write entries below it, or [] for none")
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, place, 'must be a list; begin each entry with "- "')
        items: Sequence[yaml.Node] = node.value
        return items

    def _text(self, node: yaml.Node, place: str) -> str:
        """Read a text; what YAML takes for a number or a truth is the text that stands there."""
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, place, "must be a text")
        if node.tag == "tag:yaml.org,2002:null" or not node.value:
            self._fail(node, place, "is empty; write a value, or leave the key out")
        return self._sendable(node, place, str(node.value))

    def _sendable(self, node: yaml.Node, place: str, text: str) -> str:
        if _SURROGATE.search(text):
            self._fail(node, place, "has half of a character (\\ud800 to \\udfff); write the whole one")
        return text

    def _buttons(self, node: yaml.Node, place: str) -> tuple[MenuButton, ...]:
        entries = self._sequence(node, place)
        return tuple([self._button(entry, f"{place}[{number}]") for number, entry in enumerate(entries)])

    def _button(self, node: yaml.Node, place: str) -> MenuButton:
        inner = place.count("sub_menu")
        known = ("name", *BUTTON_TEXTS, "articles", "extra", *(() if inner > 1 else ("sub_menu",)))
        found = self._mapping(node, place, known)
        if "name" not in found:
            self._fail(node, place, "has no name; each button needs one")
        texts = {name: self._text(found[name], f"{place}.{name}") for name in BUTTON_TEXTS if name in found}
        return MenuButton(
            self._text(found["name"], f"{place}.name"),
            **texts,
            sub_button=self._buttons(found["sub_menu"], f"{place}.sub_menu") if "sub_menu" in found else (),
            news_info=self._articles(found["articles"], f"{place}.articles") if "articles" in found else (),
            extra=self._extra(found, place),
        )

    def _articles(self, node: yaml.Node, place: str) -> tuple[MenuArticle, ...]:
        articles = []
        for number, entry in enumerate(self._sequence(node, place)):
            inner = f"{place}[{number}]"
            found = self._mapping(entry, inner, (*ARTICLE_TEXTS, "show_cover", "extra"))
            texts = {name: self._text(found[name], f"{inner}.{name}") for name in ARTICLE_TEXTS if name in found}
            cover = found.get("show_cover")
            articles.append(
                MenuArticle(
                    texts.pop("title", ""),
                    **texts,
                    show_cover=cover is not None and self._text(cover, f"{inner}.show_cover").lower() == "true",
                    extra=self._extra(found, inner),
                )
            )
        return tuple(articles)

    def _conditional(self, node: yaml.Node, place: str) -> tuple[Rule, tuple[MenuButton, ...]]:
        found = self._mapping(node, place, ("tag", "platform", "menu", *RETIRED, "extra"))
        if "menu" not in found:
            self._fail(node, place, "has no menu")
        tag: int | str | None = None
        if "tag" in found:
            text, number = self._text(found["tag"], f"{place}.tag"), found["tag"].tag == "tag:yaml.org,2002:int"
            tag = int(text) if number and text.isdigit() else text
        platform = None
        if "platform" in found:
            text = self._text(found["platform"], f"{place}.platform")
            if text.lower() not in PLATFORMS:
                self._fail(found["platform"], f"{place}.platform", f"is {text!r}; write one of {', '.join(PLATFORMS)}")
            platform = PLATFORMS[text.lower()]
        old = {name: self._text(found[name], f"{place}.{name}") for name in RETIRED if name in found}
        rest = MatchRule(
            client_platform_type=platform,
            sex=old.get("sex"),
            country=old.get("country"),
            province=old.get("province"),
            city=old.get("city"),
            language=old.get("language"),
            extra=self._extra(found, place),
        )
        rule = Rule(tag, rest)
        return rule, self._buttons(found["menu"], f"{place}.menu")

    def _extra(self, found: Mapping[str, yaml.Node], place: str) -> JsonObject:
        node = found.get("extra")
        if node is None:
            return {}
        value = self._plain(node, f"{place}.extra")
        if not isinstance(value, dict):
            self._fail(node, f"{place}.extra", "must be a mapping")
        return value

    def _plain(self, node: yaml.Node, place: str, depth: int = 0) -> JsonValue:
        """Read what this version does not know."""
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            self._fail(node, place, "is too large")
        if isinstance(node, yaml.MappingNode):
            inner = self._mapping(node, place, ())
            return {
                self._sendable(node, place, name): self._plain(value, place, depth + 1) for name, value in inner.items()
            }
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, place, depth + 1) for item in node.value]
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node)
        except yaml.YAMLError:
            self._fail(node, place, "cannot be sent; write a text, a number, true or false")
        finally:
            loader.dispose()
        if isinstance(value, float) and not math.isfinite(value):
            self._fail(node, place, "is no number that JSON has; write one, or a text")
        if isinstance(value, str):
            return self._sendable(node, place, value)
        if value is None or isinstance(value, int | float | bool):
            return value
        return str(getattr(node, "value", ""))  # a date, for example


# ---- writing


def write_menus(menus: MenuSet, tags: Mapping[int, str], *, appid: str) -> str:
    """Return the text of a file.

    Args:
        menus: The menus.
        tags: Names of tags by their numbers.
        appid: Whose menus.
    """
    return f"{HEAD.format(appid=appid)}{document(menus, tags)}"


def document(menus: MenuSet, tags: Mapping[int, str]) -> str:
    """Return the menus as YAML in one order: the same menus always give the same text."""
    found: dict[str, object] = {"menu": [_button_document(button) for button in menus.menu]}
    if menus.conditional:
        found["conditional"] = [
            {**_rule_document(item.rule, tags), "menu": [_button_document(button) for button in item.menu]}
            for item in menus.conditional
        ]
    return yaml.dump(found, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1_000_000)


class _Dumper(yaml.SafeDumper):
    """Indents the entries of lists, which is easier to read, and writes no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _button_document(button: MenuButton) -> dict[str, object]:
    found: dict[str, object] = {"name": button.name}
    for name in BUTTON_TEXTS:
        value = getattr(button, name)
        if value and not (name == "value" and button.type in PASSING):
            found[name] = str(value)
    if button.news_info:
        found["articles"] = [_article_document(article) for article in button.news_info]
    if button.extra:
        found["extra"] = button.extra
    if button.sub_button:
        found["sub_menu"] = [_button_document(sub) for sub in button.sub_button]
    return found


def _article_document(article: MenuArticle) -> dict[str, object]:
    found: dict[str, object] = {name: str(getattr(article, name)) for name in ARTICLE_TEXTS if getattr(article, name)}
    if article.show_cover:
        found["show_cover"] = True
    if article.extra:
        found["extra"] = article.extra
    return found


def _rule_document(rule: MatchRule, tags: Mapping[int, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    if rule.tag_id is not None:
        found["tag"] = tags.get(rule.tag_id, rule.tag_id)
    platform = rule.client_platform_type
    if platform:
        found["platform"] = PLATFORM_NAMES.get(str(platform), str(platform))
    found |= {name: getattr(rule, name) for name in RETIRED if getattr(rule, name)}
    if rule.extra:
        found["extra"] = rule.extra
    return found


def show_rule(rule: MatchRule, tags: Mapping[int, str]) -> str:
    """Return who a menu is for, in a few words."""
    found = _rule_document(rule, tags)
    return ", ".join(f"{name} {value}" for name, value in found.items()) or "nobody"


def diff(before: str, after: str, names: tuple[str, str]) -> str:
    """Return the unified difference of two documents; empty when there is none."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in lines)


#: How the SDK names a place, and how the file does.
_STEP: Final = re.compile(r"\b(?:sub_)?button\b")


def place_in_file(field: str, menu: str) -> str:
    """Return the place of a field as the checks of a call name it: ``button[0].sub_button[1].key``."""
    place = _STEP.sub(lambda found: "sub_menu" if found[0] == "sub_button" else "menu", field)
    return f"{menu}{place.removeprefix('menu')}"
