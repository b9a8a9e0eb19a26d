"""``wxmp menu``: the menus of an account as a YAML file (自定义菜单, 个性化菜单)."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol, cast
from urllib.parse import urlsplit

import attrs
from cyclopts import App, Parameter

from wxmp.api.menu import MatchRule, MenuAPI, MenuButton
from wxmp.cli._account import AccountOptions, options_of
from wxmp.cli._command import JSON, PLAIN
from wxmp.cli._completion import FileName  # noqa: TC001 - cyclopts reads the annotations
from wxmp.cli._console import (
    FAILED,
    FINDINGS,
    USAGE_ERROR,
    InterruptedBySignal,
    ending,
    error_as_json,
    print_json,
    run,
    say,
    set_up_logging,
    tell,
)
from wxmp.cli._menu_file import (
    CONSOLE_TYPES,
    LONGEST,
    ForSome,
    MenuSet,
    WrittenMenus,
    diff,
    document,
    place_in_file,
    read_menus,
    show_rule,
    write_menus,
)
from wxmp.cli._reach import in_reach
from wxmp.client import Client
from wxmp.errors import ArgumentError, ConfigError, NotAuthorizedError, WxmpError
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wxmp._caller import Caller
    from wxmp._wire import JsonObject
    from wxmp.cli._console import Signals

__all__ = ["app", "compare", "pull", "push"]

#: Domains that all conditional menus together may link to (65316).
DOMAINS: Final = 3
STDOUT: Final = "-"
#: For what only looks: a person waits. A push is not given up in the middle so soon.
SOON: Final = RetryPolicy(total_time=5.0)

app: App = App(name="menu", help="Menus as YAML files (自定义菜单): pull, push, diff.")


@attrs.frozen
class Found:
    """What the platform has."""

    menus: MenuSet
    #: Names of tags by number; only read where a menu asks for one.
    tags: Mapping[int, str]
    #: What a person should know about it.
    remarks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The menus as YAML."""
        return document(self.menus, self.tags)


@attrs.frozen
class Step:
    """One call of a push."""

    title: str
    call: Callable[[Client], Awaitable[object]]


# ---- commands


@app.command
def pull(
    file: Annotated[FileName, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    account: AccountOptions | None = None,
    force: Annotated[bool, PLAIN] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write the menus that users see to a YAML file, the conditional ones included.

    A file that already says the same stays as it is, with its comments. One that says something else is not
    overwritten without --force. A menu made by hand in the console is written too.

    Exit codes: 0 the file says what the platform has; 1 the platform, the network or the store failed; 2 the arguments
    cannot work, or the file says something else: nothing was written.

    Args:
        file: The YAML file; - for standard output.
        account: The account.
        force: Overwrite a file that says something else.
        as_json: Print one line of JSON.
    """
    set_up_logging()
    with ending(as_json=as_json):
        target = None if file == STDOUT else Path(file)
        if target is None and as_json:
            raise ConfigError("file: - and --json cannot share the standard output", field="file")
        written = read_file(target) if target is not None and target.exists() and not force else None

        async def main(_signals: Signals) -> tuple[Found, str, bool]:
            async with in_reach(options_of(account).client(retry=SOON)) as client:
                # One that cannot be resolved any more cannot be the same either.
                found = await look(client, bool(written and asks_for_tags(written)))
                same = False
                if written is not None:
                    with suppress(ConfigError):
                        same = document(resolve(written, found), found.tags) == found.text
                return found, client.appid, same

        found, appid, same = run(main)
        for remark in found.remarks:
            tell(remark)
        if target is None:
            say(write_menus(found.menus, found.tags, appid=appid))
            return
        if written is not None and not same:
            raise ConfigError(
                f"{file} says something else: wxmp menu diff {file} shows what, --force overwrites it", field="file"
            )
        if not same:
            write_file(target, write_menus(found.menus, found.tags, appid=appid))
        menu, some = len(found.menus.menu), len(found.menus.conditional)
        if as_json:
            print_json({"appid": appid, "file": file, "written": not same, "buttons": menu, "conditional": some})
        else:
            what = "says so already" if same else "written"
            say(f"{file}: {what}. Buttons: {menu}, conditional menus: {some}.\n")


@app.command(name="diff")
def compare(file: Path, /, *, account: AccountOptions | None = None, as_json: Annotated[bool, JSON] = False) -> None:
    """Show what a push of the file would change, as a unified difference. Comments and layout do not count.

    Exit codes: 0 no difference; 1 the platform, the network or the store failed; 2 the arguments or the file cannot
    work; 3 there is a difference.

    Args:
        file: The YAML file.
        account: The account.
        as_json: Print one line of JSON.
    """
    set_up_logging()
    with ending(as_json=as_json):
        written = read_file(file)

        async def main(_signals: Signals) -> tuple[str, Found]:
            async with in_reach(options_of(account).client(retry=SOON)) as client:
                found = await look(client, asks_for_tags(written))
                wanted = resolve(written, found)
                return diff(found.text, document(wanted, found.tags), ("platform", file.name)), found

        difference, found = run(main)
        for remark in found.remarks:
            tell(remark)
        if as_json:
            print_json({"same": not difference, "diff": difference})
        else:
            say(difference)
        if difference:
            raise SystemExit(FINDINGS)


@app.command
def push(
    file: Path,
    /,
    *,
    account: AccountOptions | None = None,
    dry_run: Annotated[bool, PLAIN] = False,
    yes: Annotated[bool, PLAIN] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Put the menus of a file up. It shows the difference first, and asks on a terminal.

    Everything is checked before the first call. The menu for everybody is replaced in one call, then missing
    conditional menus are added, then superfluous ones are deleted. When something fails in between, it says what is
    done; a further push does the rest. In the end the menus are read back. A menu made in the console can only be
    replaced as a whole.

    Exit codes: 0 the platform has what the file says; 1 the platform, the network or the store failed, and it says
    what is done; 2 the arguments or the file cannot work, or you did not want it: nothing was done; 3 with --dry-run
    there is something to do, else the platform shows something other than what was sent; 130 and 143 it was
    interrupted between two calls.

    Args:
        file: The YAML file.
        account: The account.
        dry_run: Check and show; change nothing.
        yes: Do not ask.
        as_json: Print one line of JSON.
    """
    set_up_logging()
    with ending(as_json=as_json):
        written = read_file(file)
        check(written)
        client = options_of(account).client
        outcome = Outcome(dry_run=dry_run)
        try:
            run(lambda signals: carry_out(client(), written, outcome, signals, yes=yes, quiet=as_json))
        except (WxmpError, InterruptedBySignal) as error:
            if not outcome.begun:
                raise
            outcome.error = error
        finally:
            outcome.tell()
        if as_json:
            print_json(outcome.as_json())
        if isinstance(outcome.error, InterruptedBySignal):
            raise SystemExit(outcome.error.code)
        if outcome.error is not None:
            tell(str(outcome.error))
            raise SystemExit(FAILED)
        if outcome.refused:
            tell("Nothing was done.")
            raise SystemExit(USAGE_ERROR)
        if outcome.left_over or (dry_run and outcome.difference):
            raise SystemExit(FINDINGS)


# ---- push


@attrs.define
class Outcome:
    """What became of a push."""

    dry_run: bool
    difference: str | None = None
    steps: tuple[str, ...] = ()
    done: list[str] = attrs.field(factory=list)
    #: The call that was under way when it ended.
    unknown: str = ""
    refused: bool = False
    #: What the platform shows in the end that was not sent.
    left_over: str = ""
    error: WxmpError | InterruptedBySignal | None = None

    @property
    def begun(self) -> bool:
        """Whether there was a first call."""
        return bool(self.done or self.unknown)

    @property
    def left(self) -> list[str]:
        """What was not begun."""
        return list(self.steps[len(self.done) + bool(self.unknown) :])

    def tell(self) -> None:
        """Say what is done and what is not, where it did not come to its end."""
        if not self.begun or not (self.left or self.unknown):
            if self.left_over:
                tell(f"The platform shows something other than what was sent:\n{self.left_over}")
            return
        for title in self.done:
            tell(f"done      {title}")
        if self.unknown:
            # Broken off: the platform may have done it.
            tell(f"{'failed  ' if self.error is not None else 'unsure  '}  {self.unknown}")
        for title in self.left:
            tell(f"not done  {title}")
        tell("Push again to do the rest: it looks first at what is there.")

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "same": not self.difference,
            "dry_run": self.dry_run,
            "diff": self.difference,
            "done": self.done,
            "failed": self.unknown or None,
            "not_done": self.left,
            "refused": self.refused,
            "left_over": self.left_over or None,
            "error": error_as_json(self.error) if self.error is not None else None,
        }


async def carry_out(
    client: Client, written: WrittenMenus, outcome: Outcome, signals: Signals, *, yes: bool, quiet: bool
) -> None:
    """Look, show, ask, and make the calls one after the other."""
    async with in_reach(client):
        found = await look(client, asks_for_tags(written))
        wanted = resolve(written, found)
        text = document(wanted, found.tags)
        outcome.difference = diff(found.text, text, ("platform", written.name))
        for remark in found.remarks:
            tell(remark)
        if not outcome.difference:
            if not quiet:
                say(f"{written.name}: the platform has it already.\n")
            return
        check_calls(written, wanted, found)
        steps = plan(found, wanted)
        outcome.steps = tuple(step.title for step in steps)
        if not quiet:
            say(outcome.difference)
            say("".join(f"{number}. {title}\n" for number, title in enumerate(outcome.steps, start=1)))
        if outcome.dry_run:
            return
        if not signals.confirm("Make these calls?" if len(steps) > 1 else "Make this call?", yes=yes):
            outcome.refused = True
            return
        if not yes and (await look(client, asks_for_tags(written))).text != found.text:
            # Somebody was at the console while a person read: nobody has agreed to these calls.
            raise ConfigError("the platform's menus have changed meanwhile: nothing was done, push again", field="file")
        for step in steps:
            await asyncio.sleep(0)  # a signal that came meanwhile counts before the next call
            with signals.finishing():
                outcome.unknown = step.title
                await step.call(client)
                outcome.unknown = ""
                outcome.done.append(step.title)
                if not quiet:
                    say(f"done  {step.title}\n")
        after = await look(client, asks_for_tags(written))
        outcome.left_over = diff(after.text, document(wanted, after.tags), ("platform", written.name))


def plan(found: Found, wanted: MenuSet) -> list[Step]:
    """Return the calls that lead from one to the other.

    A new conditional menu always stands before all others, and none can be moved. So those stay that are at the end of
    both lists, in the same order; what stands before them is added, the last one first.
    """
    now = found.menus
    if not wanted.menu:
        return [Step("delete the menu and all conditional ones", lambda client: client.menu.delete())]
    steps: list[Step] = []
    if document(MenuSet(now.menu), {}) != document(MenuSet(wanted.menu), {}):
        title = "replace the menu for everybody" if now.menu else "make the menu for everybody"
        steps.append(Step(title, lambda client: client.menu.create(wanted.menu)))
    kept = common_end(now.conditional, wanted.conditional)
    added = [adding(item, found.tags) for item in reversed(wanted.conditional[: len(wanted.conditional) - len(kept)])]
    removed = [deleting(item, found.tags) for number, item in enumerate(now.conditional) if number not in kept]
    together = domains([*(item.menu for item in now.conditional), *(item.menu for item in wanted.conditional)])
    if len(together) > DOMAINS:
        # Both at once would be refused (65316): for a moment these users see the menu for everybody.
        return [*steps, *removed, *added]
    return [*steps, *added, *removed]


def adding(item: ForSome, tags: Mapping[int, str]) -> Step:
    """Return the call that adds a conditional menu."""

    async def call(client: Client) -> None:
        await client.menu.add_conditional(item.menu, matchrule=item.rule)

    return Step(f"add the menu for {show_rule(item.rule, tags)}", call)


def deleting(item: ForSome, tags: Mapping[int, str]) -> Step:
    """Return the call that deletes a conditional menu."""

    async def call(client: Client) -> None:
        await client.menu.delete_conditional(item.menu_id)

    return Step(f"delete the old menu for {show_rule(item.rule, tags)} ({item.menu_id})", call)


def common_end(now: Sequence[ForSome], wanted: Sequence[ForSome]) -> set[int]:
    """Return the places in ``now`` of the longest end of ``wanted`` that is there in its order."""
    kept: set[int] = set()
    place = len(now)
    for item in reversed(wanted):
        text = document(MenuSet((), (item,)), {})
        place -= 1
        while place >= 0 and document(MenuSet((), (now[place],)), {}) != text:
            place -= 1
        if place < 0:
            break
        kept.add(place)
    return kept


# ---- checks


class Checker:
    """Stands where the platform is: what arrives here has passed all checks."""

    async def __call__(self, *_: object, **__: object) -> JsonObject:
        return {"errcode": 0, "menuid": "1"}


class Call(Protocol):
    """A call that is only checked."""

    def __call__(self, api: MenuAPI, /) -> Awaitable[object]: ...


def check(written: WrittenMenus) -> None:
    """See that a file keeps the limits that need no look at the platform.

    Raises:
        ConfigError: It does not.
    """
    for number, (rule, menu) in enumerate(written.conditional):
        place = f"conditional[{number}]"
        if not menu:
            written.fail(f"{place}.menu", "is empty; a menu has 1 to 3 buttons")
        if rule.tag is None and rule.rest == MatchRule():
            written.fail(place, "says of nobody; add tag: or platform:")
    found = domains(menu for _, menu in written.conditional)
    if len(found) > DOMAINS:
        problem = (
            f"the menus link to {len(found)} domains ({', '.join(sorted(found))}); all together may have {DOMAINS}"
        )
        written.fail("conditional", problem)


def check_calls(written: WrittenMenus, wanted: MenuSet, found: Found) -> None:
    """See that the platform would take everything that is new.

    Raises:
        ConfigError: It would not.
    """
    now = found.menus
    calls: list[tuple[str, Call]] = []
    if wanted.menu and document(MenuSet(now.menu), {}) != document(MenuSet(wanted.menu), {}):
        calls.append(("menu", lambda api: api.create(wanted.menu)))
    there = {document(MenuSet((), (item,)), {}) for item in now.conditional}
    for number, item in enumerate(wanted.conditional):
        if document(MenuSet((), (item,)), {}) not in there:
            calls.append((f"conditional[{number}].menu", adding_call(item)))
    api = MenuAPI(cast("Caller", Checker()))
    for place, call in calls:
        try:
            finish(call(api))
        except ArgumentError as error:
            field = error.field
            if field.startswith("matchrule"):
                name = field.removeprefix("matchrule").removeprefix(".")
                shown = {"client_platform_type": "platform", "tag_id": "tag"}.get(name, name)
                whole = f"{place.removesuffix('.menu')}{f'.{shown}' if shown else ''}"
            else:
                whole = place_in_file(field, place)
            written.fail(whole, error.errmsg)


def adding_call(item: ForSome) -> Call:
    """Return the call that would add a menu."""
    return lambda api: api.add_conditional(item.menu, matchrule=item.rule)


def finish(call: Awaitable[object]) -> None:
    """Run a call that waits for nothing."""
    with suppress(StopIteration):
        call.__await__().send(None)


def leaves(buttons: Iterable[MenuButton]) -> Iterator[MenuButton]:
    """Yield all buttons that do something."""
    for button in buttons:
        if button.sub_button:
            yield from leaves(button.sub_button)
        else:
            yield button


def domains(menus: Iterable[Sequence[MenuButton]]) -> set[str]:
    """Return the domains that menus link to."""
    found: set[str] = set()
    for menu in menus:
        for button in leaves(menu):
            with suppress(ValueError):
                found.add(urlsplit(button.url or "").hostname or "")
    return found - {""}


# ---- the platform and the file


async def look(client: Client, with_tags: bool) -> Found:
    """Read all menus: those of the API, and one of the console where that is what users see."""
    remarks: list[str] = []
    try:
        menus = await client.menu.get()
    except NotAuthorizedError:
        menus = None
        remarks.append("This account cannot read menus made by API (48001): only what users see is shown.")
    current = await client.menu.get_current()
    shown = current.selfmenu_info.button if current.selfmenu_info is not None else ()
    console = sum(button.type in CONSOLE_TYPES for button in leaves(shown))
    # What was made in the console is not to be had in any other way.
    in_force = shown if current.is_menu_open else ()
    menu = in_force if menus is None or console else menus.menu.button
    if shown and not current.is_menu_open:
        remarks.append("The menu is switched off in the console.")
    if console:
        remarks.append(f"{console} buttons were made in the console: no call can make these again.")
    conditional = tuple(
        ForSome(item.matchrule, item.button, item.menu_id) for item in (menus.conditionalmenu if menus else ())
    )
    tags: dict[int, str] = {}
    if with_tags or any(item.rule.tag_id is not None for item in conditional):
        tags = {tag.tag_id: tag.name for tag in await client.tag.list()}
    return Found(MenuSet(menu, conditional), tags, tuple(remarks))


def asks_for_tags(written: WrittenMenus) -> bool:
    """Tell whether a file names a tag."""
    return any(rule.tag is not None for rule, _ in written.conditional)


def resolve(written: WrittenMenus, found: Found) -> MenuSet:
    """Return the menus of a file with the numbers of their tags.

    Raises:
        ConfigError: There is no such tag.
    """
    numbers = {name: number for number, name in found.tags.items()}
    conditional = []
    for number, (rule, menu) in enumerate(written.conditional):
        try:
            conditional.append(ForSome(rule.resolved(numbers), menu))
        except KeyError:
            there = ", ".join(numbers) or "none"
            written.fail(f"conditional[{number}].tag", f"the account has no tag {rule.tag!r}; it has {there}")
    return MenuSet(written.menu, tuple(conditional))


def read_file(path: Path) -> WrittenMenus:
    """Read a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST + 1)  # a device has no end
    except OSError as error:
        raise ConfigError(f"file: {path} cannot be read: {error.strerror}", field="file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"file: {path} is no text in UTF-8; save it as such", field="file") from None
    return read_menus(text, path.name)


def write_file(path: Path, text: str) -> None:
    """Write a file in one go: there is always the old one or the new one.

    Raises:
        ConfigError: It cannot be written.
    """
    # Where the name is a link, the file behind it is meant.
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # In its place a device would become a file, for everybody on this machine.
        raise ConfigError(f"file: {path} is no file; name one, or - for standard output", field="file")
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise ConfigError(f"file: {path} cannot be written: {error.strerror}", field="file") from None
