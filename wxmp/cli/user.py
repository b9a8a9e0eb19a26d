"""``wxmp user``: the followers of an account (用户管理)."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import attrs
from cyclopts import App, Parameter

from wxmp.api._pages import walk_pages
from wxmp.api.tag import LIST_MEMBERS
from wxmp.api.user import BATCH_GET_SIZE, LIST, UserInfo
from wxmp.cli._account import AccountOptions, options_of
from wxmp.cli._command import JSON, PLAIN
from wxmp.cli._completion import FileName  # noqa: TC001 - cyclopts reads the annotations
from wxmp.cli._console import (
    FAILED,
    InterruptedBySignal,
    ending,
    error_as_json,
    output_failed,
    print_json,
    run,
    say,
    set_up_logging,
    tell,
)
from wxmp.cli._export_file import Format, PartFile, Sheet, Stream, make_sheet
from wxmp.cli._progress import FRAME, LINE, ProgressBar, show_again
from wxmp.cli._reach import in_reach
from wxmp.cli._tag import find_tag
from wxmp.errors import ConfigError, RateLimitError, WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wxmp.api._pages import OpenidPage
    from wxmp.api.tag import TagMemberPage
    from wxmp.cli._console import Signals
    from wxmp.client import Client

__all__ = ["app", "export"]

STDOUT: Final = "-"
#: What is written unless somebody asks for something else: everything that the platform still fills.
FIELDS: Final = (
    "openid",
    "unionid",
    "subscribe_time",
    "subscribe_scene",
    "remark",
    "tag_ids",
    "group_id",
    "qr_scene",
    "qr_scene_str",
)
KNOWN: Final = tuple(field.name for field in attrs.fields(UserInfo) if field.name != "extra")
#: Requests for details at once.
AT_ONCE: Final = 4

app: App = App(name="user", help="Followers (用户管理): export them.")


@app.command
def export(
    file: Annotated[FileName, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    account: AccountOptions | None = None,
    tag: str | None = None,
    fields: str | None = None,
    form: Annotated[Literal["csv", "jsonl"] | None, Parameter(name="--format")] = None,
    bom: Annotated[bool, PLAIN] = False,
    raw: Annotated[bool, PLAIN] = False,
    resume: Annotated[bool, PLAIN] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write all followers with what the platform tells about them, read in hundreds.

    The file appears when it is whole; until then there is FILE.part, and whatever was there before stays. After
    Ctrl-C, a failure, or a quota that is used up (45009), --resume goes on where it ended. The file can be read by its
    owner only (0600). People who come or leave meanwhile may be missing or be there.

    In CSV a text that begins with = + - or @ gets a ' before it, or a spreadsheet would run it as a formula: somebody
    else may have written it. Times are UTC, lists are joined with a semicolon.

    Exit codes: 0 everybody is in the file; 1 it stopped and can be continued (quota, network, store); 2 the arguments
    cannot work; 130 and 143 it was interrupted (Ctrl-C, SIGTERM) and can be continued.

    Args:
        file: A file that ends in .csv or .jsonl; - for standard output.
        account: The account.
        tag: Only those with this tag: its name or its number.
        fields: Names with commas in between, such as openid,remark,tag_ids. The openid alone needs no details and is
            a hundred times faster.
        form: csv or jsonl (JSON Lines), where the name of the file does not say it.
        bom: Begin a CSV file with the mark by which Excel knows UTF-8.
        raw: Leave the cells of a CSV file as they are.
        resume: Go on where an export of the same kind ended; without one it begins at the start.
        as_json: To a file: print a summary as one line of JSON. To standard output: the same as --format jsonl.
    """
    set_up_logging()
    # To standard output the lines stand alone: a script sees the code, and the sentence on standard error.
    with ending(as_json=as_json and file != STDOUT):
        wanted = read_fields(fields)
        chosen = choose_format(file, form, as_json=as_json)
        if (bom or raw) and chosen != "csv":
            raise ConfigError("bom and raw: are for CSV only", field="bom")
        if resume and file == STDOUT:
            raise ConfigError("resume: what went to standard output cannot be continued", field="resume")
        job = Job(wanted, make_sheet(chosen, wanted, bom=bom, raw=raw), tag)
        client = options_of(account).client()
        what = describe(client.appid, chosen, wanted, tag, bom=bom, raw=raw)
        if file == STDOUT:
            to_stdout(job, client, what)
        else:
            to_file(job, client, PartFile(Path(file), what, resume=resume), file, as_json=as_json)


def read_fields(text: str | None) -> tuple[str, ...]:
    """Return the names of ``--fields``.

    Raises:
        ConfigError: One is unknown, or there are none.
    """
    if text is None:
        return FIELDS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in KNOWN]
    if unknown or not names:
        wrong = f"there is no {unknown[0]!r}" if unknown else "name at least one"
        raise ConfigError(f"fields: {wrong}; there are {', '.join(KNOWN)}", field="fields")
    return names


def choose_format(file: str, form: Format | None, *, as_json: bool) -> Format:
    """Return the format of the options, or that of the name of the file.

    Raises:
        ConfigError: Nothing says it, or two things say something else.
    """
    if file == STDOUT:
        if as_json and form == "csv":
            raise ConfigError("json: standard output cannot be both JSON and CSV", field="json")
        return form or ("jsonl" if as_json else "csv")
    if form is not None:
        return form
    ending_of = Path(file).suffix.lower()
    if ending_of == ".csv":
        return "csv"
    if ending_of == ".jsonl":
        return "jsonl"
    raise ConfigError(f"file: {file} ends neither in .csv nor in .jsonl; add --format", field="file")


def describe(appid: str, form: str, fields: tuple[str, ...], tag: str | None, *, bom: bool, raw: bool) -> str:
    """Return what is exported: only an export of the same can be continued."""
    found = f"{appid} {form} {','.join(fields)}"
    found += f" tag {tag}" if tag is not None else ""
    return f"{found}{' bom' if bom else ''}{' raw' if raw else ''}"


# ---- where to


def to_stdout(job: Job, client: Client, what: str) -> None:
    """Write to standard output."""
    target = Stream(what)
    try:
        run(lambda signals: job.run(client, target, signals))
    except (BrokenPipeError, ConfigError):
        raise
    except OSError as error:
        output_failed(error)
    except WxmpError as error:
        tell(f"{error}\nThe output ends after {target.mark.users:,} followers.")
        raise SystemExit(FAILED) from None
    except InterruptedBySignal:
        tell(f"Interrupted: the output ends after {target.mark.users:,} followers.")
        raise


def to_file(job: Job, client: Client, target: PartFile, file: str, *, as_json: bool) -> None:
    """Write to a file, and say what became of it."""
    started, before = time.monotonic(), target.mark.users
    status, code = "complete", 0
    failure: BaseException | None = None
    try:
        run(lambda signals: job.run(client, target, signals))
        target.finish()
    except ConfigError:
        target.close()
        raise
    except OSError as error:  # a full disk is no reason to lose what is there
        status, failure, code = "stopped", OSError(f"{target.part} cannot be written: {error.strerror}"), FAILED
    except WxmpError as error:
        status, failure, code = "stopped", error, FAILED
    except InterruptedBySignal as interrupted:
        status, failure, code = "interrupted", interrupted, int(str(interrupted.code))
    except BaseException:
        target.close()
        raise
    kept = target.close() if code else False
    seconds = time.monotonic() - started
    if status == "stopped":
        tell(str(failure))
        if isinstance(failure, RateLimitError) and failure.scope == "day":
            tell("The quota of the day is used up; it is filled again at midnight in Beijing.")
    if code:
        tell(f"{status.capitalize()} after {target.mark.users:,} followers; {file} is as it was.")
        if kept:
            tell(f"They are kept in {target.part.name}: the same command with --resume goes on.")
    if as_json:
        print_json(
            {
                "status": status,
                "file": file,
                "users": target.mark.users,
                "earlier": before,
                "seconds": round(seconds, 3),
                "error": error_as_json(failure) if failure is not None else None,
            }
        )
    elif not code:
        say(f"{file}: {target.mark.users:,} followers in {seconds:.1f} s.\n")
    if code:
        raise SystemExit(code)


# ---- what


class Taker(Protocol):
    """Takes lines, and knows how far it is."""

    @property
    def mark(self) -> Position: ...

    def write(self, lines: bytes, users: int, cursor: str) -> None: ...


class Position(Protocol):
    """How far it is."""

    @property
    def size(self) -> int: ...

    @property
    def users(self) -> int: ...

    @property
    def cursor(self) -> str: ...


@attrs.define
class Job:
    """One export."""

    fields: tuple[str, ...]
    sheet: Sheet
    tag: str | None
    #: How many there are, once the platform has said it.
    total: int = 0

    async def run(self, client: Client, target: Taker, _signals: Signals) -> None:
        """Read everybody and write them, a few hundred at once.

        Raises:
            WxmpError: It stopped; what was written so far is whole.
        """
        display = make_display(target.mark.users)
        async with in_reach(client):
            shower = asyncio.create_task(
                show_again(display.every, lambda: display.update(target.mark.users, self.total))
            )
            try:
                batch: list[str] = []
                openids = await self.openids(client, target.mark.cursor)
                if not target.mark.size and not target.mark.cursor:
                    target.write(self.sheet.head(), 0, "")
                try:
                    async for openid in openids:
                        batch.append(openid)
                        if len(batch) == BATCH_GET_SIZE * AT_ONCE:
                            await self.write(client, target, batch)
                            batch = []
                finally:
                    await openids.aclose()
                if batch:
                    await self.write(client, target, batch)
            finally:
                shower.cancel()
                await asyncio.gather(shower, return_exceptions=True)
                display.close()

    async def openids(self, client: Client, cursor: str) -> AsyncGenerator[str, None]:
        """Return the openids behind a cursor; the pages also say how many there are.

        Raises:
            ConfigError: There is no such tag.
        """
        if self.tag is None:

            async def page(after: str) -> OpenidPage:
                found = await client.user.list(after)
                self.total = found.total
                return found

            return walk_pages(page, LIST, next_openid=cursor)
        tag = await find_tag(client, self.tag, option="tag")
        self.total = tag.count

        async def tagged(after: str) -> TagMemberPage:
            return await client.tag.list_members(tag.tag_id, next_openid=after)

        return walk_pages(tagged, LIST_MEMBERS, next_openid=cursor)

    async def write(self, client: Client, target: Taker, openids: list[str]) -> None:
        """Read the details of some, and write them in the order of the list."""
        if self.fields == ("openid",):
            users = [UserInfo(True, openid) for openid in openids]
        else:
            parts = [openids[start : start + BATCH_GET_SIZE] for start in range(0, len(openids), BATCH_GET_SIZE)]
            asked = [asyncio.ensure_future(client.user.batch_get(part)) for part in parts]
            try:
                users = [user for found in await asyncio.gather(*asked) for user in found]
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
        # Without a pause in between: what is written and how far it goes always belong together.
        target.write(self.sheet.lines(users), len(users), openids[-1])


# ---- how far it is


class Display(Protocol):
    """Shows the progress on standard error."""

    every: float

    def update(self, users: int, total: int) -> None: ...

    def close(self) -> None: ...


def make_display(earlier: int) -> Display:
    """Return a bar for a terminal, lines for everything else."""
    return Bar() if sys.stderr.isatty() else Lines(earlier)


class Lines:
    """One line every ten seconds."""

    every: float = LINE

    def __init__(self, earlier: int) -> None:
        self._started = time.monotonic()
        self._earlier = earlier

    def update(self, users: int, total: int) -> None:
        """Write a line."""
        if not total:
            return  # nothing is known yet
        seconds = time.monotonic() - self._started
        rate = (users - self._earlier) / seconds if seconds > 0 else 0.0
        left = f", {(total - users) / rate:.0f} s left" if rate and total > users else ""
        tell(f"{users:,} of {total:,} followers, {rate:,.0f}/s{left}")

    def close(self) -> None:
        """Nothing is left to do."""


class Bar:
    """A bar that moves."""

    every: float = FRAME

    def __init__(self) -> None:
        self._bar = ProgressBar("followers")

    def update(self, users: int, total: int) -> None:
        """Move it."""
        speed = self._bar.speed
        self._bar.move(users, max(total, users) or None, f"{speed:,.0f}/s" if speed else "")

    def close(self) -> None:
        """Take it away: the summary follows."""
        self._bar.close()
