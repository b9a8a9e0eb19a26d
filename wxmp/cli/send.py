"""``wxmp send``: one message to many (群发模板消息), with a journal, so that it can be interrupted and continued."""

from __future__ import annotations

import asyncio
import codecs
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol, Self

import attrs
from cyclopts import App

from wxmp.broadcast import CSVRecipients, Journal, Outcome, Pace, Progress, SQLiteJournal, from_csv
from wxmp.broadcast.records import RunKey
from wxmp.cli._account import AccountOptions, options_of
from wxmp.cli._command import JSON, PLAIN
from wxmp.cli._completion import FileName  # noqa: TC001 - cyclopts reads the annotations
from wxmp.cli._console import (
    DONE,
    FAILED,
    FINDINGS,
    INTERRUPTED,
    USAGE_ERROR,
    ending,
    error_as_json,
    say,
    set_up_logging,
    taking_signals,
    tell,
)
from wxmp.cli._progress import FRAME, LINE, ProgressBar, show_again
from wxmp.cli._reach import in_reach, in_words
from wxmp.cli._send_rows import Letter, RowFinder, count_lines, read_columns, read_openids, read_values
from wxmp.cli._tag import find_tag
from wxmp.errors import ConfigError, WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import FrameType

    from wxmp.broadcast import Recipient, Run, TemplateMessage
    from wxmp.broadcast.api import Recipients
    from wxmp.client import Client

__all__ = ["app", "template"]

#: Seconds between leaving the run and giving up what is on its way.
AT_ONCE: Final = 0.1
#: Reasons of refusals that are told.
REASONS: Final = 10

app: App = App(name="send", help="Send one message to many (群发模板消息).")


@attrs.frozen(kw_only=True)
class Order:
    """What is to be sent to whom."""

    name: str
    to: str | None
    template_id: str
    letter: Letter
    data: CSVRecipients | None
    encoding: str | None
    journal: Path | None
    pace: Pace
    dry_run: bool

    @property
    def asks(self) -> bool:
        """Whether the platform is asked for anything; a dry run of a file needs nobody."""
        return not self.dry_run or self.to == "all" or (self.to or "").startswith("tag:")


@attrs.define
class Report:
    """What became of it."""

    order: Order
    status: str = "complete"
    progress: Progress | None = None
    #: What the journal knows of the run, earlier starts included; empty for a dry run.
    total: Mapping[str, int] = attrs.field(factory=dict)
    #: Recipients by the errcode that refused them, and its words.
    refusals: dict[int, int] = attrs.field(factory=dict)
    words: dict[int, str] = attrs.field(factory=dict)
    error: WxmpError | None = None
    #: The signal that ended it.
    signal: int = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many ended how, this time."""
        found = self.progress.outcomes if self.progress is not None else {}
        return {outcome.value: found[outcome] for outcome in Outcome if outcome in found}

    @property
    def exit_code(self) -> int:
        """0, or why not."""
        if self.signal:
            return INTERRUPTED + self.signal
        if self.error is not None:
            final = isinstance(self.error, ConfigError)
            return USAGE_ERROR if final else FAILED
        counted = self.total or self.outcomes
        return FINDINGS if counted.get("refused") or counted.get("unknown") else DONE

    def as_json(self) -> str:
        """Return one line."""
        progress = self.progress
        told: dict[str, object] = {
            "name": self.order.name,
            "status": self.status,
            "dry_run": self.order.dry_run,
            "seen": progress.seen if progress is not None else 0,
            "earlier": progress.earlier if progress is not None else 0,
            "outcomes": self.outcomes,
            "total": dict(self.total),
            "refusals": {str(code): count for code, count in sorted(self.refusals.items())},
            "seconds": round(progress.seconds, 3) if progress is not None else 0.0,
            "per_second": round(progress.per_second, 1) if progress is not None else 0.0,
            "error": error_as_json(self.error) if self.error is not None else None,
        }
        return json.dumps(told, ensure_ascii=False)

    def as_text(self) -> str:
        """Return what a person wants to know."""
        progress = self.progress
        lines = []
        if progress is not None:
            planned = " (dry run: nothing was sent)" if self.order.dry_run else ""
            speed = f", {progress.per_second:,.0f} a second" if progress.done and not self.order.dry_run else ""
            lines.append(f"{self.order.name}: {self.status} after {progress.seconds:.1f} s{speed}{planned}")
            lines += [f"  {outcome:<10}{count:>12,}" for outcome, count in self.outcomes.items()]
            if progress.earlier:
                lines.append(f"  {'earlier':<10}{progress.earlier:>12,}")
        for code, count in sorted(self.refusals.items(), key=lambda item: -item[1])[:REASONS]:
            lines.append(f"  refused with {code}: {count:,} ({self.words.get(code, '')})")
        if self.status != "complete" and not self.order.dry_run and progress is not None:
            lines.append("Start it again with the same name and journal to go on.")
        return "".join(f"{line}\n" for line in lines)


@app.command
def template(
    name: str,
    *,
    template_id: str,
    account: AccountOptions | None = None,
    to: FileName | None = None,
    data: Path | None = None,
    value: Annotated[tuple[str, ...], PLAIN] = (),
    url: str | None = None,
    journal: Path | None = None,
    per_second: float | None = None,
    per_day: int | None = None,
    concurrency: int = 20,
    encoding: str | None = None,
    dry_run: Annotated[bool, PLAIN] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Send a template message to many. Started again with the same name and journal it goes on where it ended.

    Ctrl-C finishes what is on its way and ends; a second one ends at once. Neither loses anybody or sends twice.

    Exit codes: 0 everybody was sent to; 1 it stopped and can be continued (limit of the day, no connection, journal);
    2 the arguments cannot work; 3 it is complete, but some were refused or nobody knows what became of them; 130 and
    143 it was interrupted (Ctrl-C, SIGTERM) and can be continued.

    Args:
        name: Which run it is, 1 to 64 characters. Another name sends to everybody again.
        template_id: One of the account's templates.
        account: The account.
        to: all (every follower), tag:NAME or tag:ID, or a file with one openid in a line. Absent: every row of --data.
        data: CSV file: a column openid, and one for each keyword of the template; url may be a column too. With --to,
            whoever has no row is left out. Of repeated openids the first row counts.
        value: KEY=TEXT, may be repeated: the keywords for everybody. With --data, {column} stands for a cell.
        url: The page that a tap opens. With --data, {column} stands for a cell.
        journal: File that remembers who was sent to (SQLite). Needed, unless nothing is sent.
        per_second: Most messages a second, over all processes with this journal.
        per_day: Most messages a day, by the time of Beijing.
        concurrency: Messages on their way at once, 1 to 100.
        encoding: Encoding of the files; without it UTF-8, or GB18030 for a table that is not in UTF-8.
        dry_run: Read, build and count; send nothing and write nothing.
        as_json: Print the summary as one line of JSON.
    """
    set_up_logging()
    with ending(as_json=as_json):
        check_encoding(encoding)
        table = from_csv(data, encoding=encoding) if data is not None else None
        order = Order(
            name=name,
            to=to,
            template_id=template_id,
            letter=make_letter(value, url, table),
            data=table,
            encoding=encoding,
            journal=journal,
            pace=Pace(concurrency=concurrency, per_second=per_second, per_day=per_day),
            dry_run=dry_run,
        )
        check_order(order)
        client = options_of(account).client()
        try:
            report = asyncio.run(carry_out(order, client))
        except WxmpError:
            tell("Nothing was sent.")
            raise
    say(f"{report.as_json()}\n" if as_json else report.as_text())
    if report.error is not None:
        tell(str(report.error))
    if report.exit_code:
        raise SystemExit(report.exit_code)


def make_letter(value: tuple[str, ...], url: str | None, data: CSVRecipients | None) -> Letter:
    """Return the message of the options."""
    letter = Letter(read_values(value), url, read_columns(data) if data is not None else ())
    letter.check()
    return letter


def check_encoding(encoding: str | None) -> None:
    """See that Python knows an encoding.

    Raises:
        ConfigError: It does not.
    """
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise ConfigError(f"encoding: there is none that is called {encoding}", field="encoding") from None


def check_order(order: Order) -> None:
    """See that the options go together.

    Raises:
        ConfigError: They do not.
    """
    if order.to is None and order.data is None:
        raise ConfigError("to: name the recipients: all, tag:NAME, a file of openids; or give --data", field="to")
    if order.journal is None and not order.dry_run:
        raise ConfigError(
            "journal: name a file that remembers who was sent to, such as --journal sent.db", field="journal"
        )
    kind, _, rest = (order.to or "").partition(":")
    if kind == "tag" and not rest:
        raise ConfigError("to: write tag:NAME or tag:ID", field="to")
    if order.to not in (None, "all") and kind != "tag" and not Path(str(order.to)).is_file():
        raise ConfigError(f"to: {order.to} is none of all, tag:NAME, tag:ID, and no file", field="to")


async def carry_out(order: Order, client: Client) -> Report:
    """Send, and return what became of it.

    Raises:
        WxmpError: It could not begin.
    """
    report = Report(order)
    with ExitStack() as stack:
        stopper = stack.enter_context(Stopper())
        try:
            async with in_reach(client) if order.asks else client:
                recipients, total = await find_recipients(client, order)
                build = make_build(order, stack)
                async with open_journal(order) as journal:
                    run = client.broadcast.template(
                        recipients,
                        build,
                        name=order.name,
                        template_id=order.template_id,
                        journal=journal,
                        pace=order.pace,
                        dry_run=order.dry_run,
                    )
                    stopper.run = run
                    await follow(run, report, total, client)
                    if isinstance(journal, Journal):
                        counts = await journal.counts(RunKey(client.appid, order.name))
                        report.total = {
                            outcome.value if outcome is not None else "in_flight": count
                            for outcome, count in counts.items()
                            if count
                        }
        except asyncio.CancelledError:
            if not stopper.number:
                raise
            report.status = "interrupted"
        if stopper.number:
            report.signal = stopper.number
            if report.status == "complete":
                report.status = "cancelled"
    return report


async def follow(run: Run, report: Report, total: int | None, client: Client) -> None:
    """Take the results in, and show how far it is."""
    display = make_display(report.order, total)
    shower = asyncio.create_task(show_again(display.every, lambda: display.update(run.progress)))
    try:
        with in_words(client):
            async with run:
                async for result in run:
                    if result.outcome is Outcome.REFUSED:
                        report.refusals[result.errcode] = report.refusals.get(result.errcode, 0) + 1
                        report.words[result.errcode] = result.errmsg
    except WxmpError as error:
        report.error, report.status = error, "stopped"
    finally:
        shower.cancel()
        await asyncio.gather(shower, return_exceptions=True)
        report.progress = run.progress
        display.update(run.progress)
        display.close()


async def find_recipients(client: Client, order: Order) -> tuple[Recipients, int | None]:
    """Return who is meant, and how many that are, where that costs nothing or one call.

    Raises:
        ConfigError: There is no such tag.
        WxmpError: The platform gave no answer.
    """
    if order.to is None:
        data = order.data
        return (data, count_lines(data.path) - 1) if data is not None else ((), 0)
    if order.to == "all":
        return client.user.iter_followers(), None
    kind, _, wanted = order.to.partition(":")
    if kind != "tag":
        path = Path(order.to)
        return read_openids(path, order.encoding), count_lines(path)
    tag = await find_tag(client, wanted, option="to")
    return client.tag.iter_members(tag.tag_id), tag.count


def make_build(order: Order, stack: ExitStack) -> Callable[[Recipient], TemplateMessage | None]:
    """Return what makes each recipient's message."""
    letter = order.letter
    if order.to is None or order.data is None:
        return letter.write
    finder = RowFinder(order.data)
    stack.callback(finder.close)

    def build(recipient: Recipient) -> TemplateMessage | None:
        row = finder.find(recipient.openid)
        return None if row is None else letter.write(row)

    return build


@asynccontextmanager
async def open_journal(order: Order) -> AsyncIterator[Journal | Path]:
    """Give the journal; for a dry run the path only, so that no file is made."""
    if order.dry_run:
        with tempfile.TemporaryDirectory(prefix="wxmp-") as folder:
            yield order.journal if order.journal is not None else Path(folder) / "none.db"
        return
    async with SQLiteJournal(str(order.journal)) as journal:
        yield journal


# ---- Ctrl-C


class Stopper:
    """Takes SIGINT, SIGTERM and SIGHUP: the first ends the run in an orderly way, the second at once."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.number: int = 0
        self._stack = ExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._stop, number, main)

        self._stack.enter_context(taking_signals(on_signal))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self, number: int, main: asyncio.Task[object] | None) -> None:
        again, self.number = bool(self.number), number
        if self.run is None or again:
            if main is not None:
                main.cancel()
                # The first one leaves the loop over the results, which then waits for what is on its way.
                asyncio.get_running_loop().call_later(AT_ONCE, main.cancel)
            return
        tell("Finishing what is on its way; once more ends at once.")
        task = asyncio.create_task(self.run.cancel())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# ---- how far it is


class Display(Protocol):
    """Shows the progress on standard error."""

    every: float

    def update(self, progress: Progress) -> None:
        """Show it."""
        ...

    def close(self) -> None:
        """Leave the last one there."""
        ...


def make_display(order: Order, total: int | None) -> Display:
    """Return a bar for a terminal, lines for everything else."""
    if sys.stderr.isatty():
        return Bar(order, total)
    return Lines(order)


class Lines:
    """One line every ten seconds."""

    every = LINE

    def __init__(self, order: Order) -> None:
        self._order = order
        self._last = ""

    def update(self, progress: Progress) -> None:
        """Write a line, if there is anything new."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in progress.outcomes.items())
        line = f"{self._order.name}: {progress.seen} seen, {counts or 'none settled'}, {progress.earlier} earlier"
        if line != self._last:
            self._last = line
            tell(f"{line}, {progress.per_second:.0f}/s")

    def close(self) -> None:
        """Nothing is left to do."""


class Bar:
    """A bar that moves."""

    every = FRAME

    def __init__(self, order: Order, total: int | None) -> None:
        self._bar = ProgressBar(order.name, total or None)
        self._total = total or 0

    def update(self, progress: Progress) -> None:
        """Move it."""
        done = progress.done + progress.earlier
        total = max(self._total, done) or None
        refused = progress.outcomes.get(Outcome.REFUSED, 0)
        rate = f"{progress.per_second:,.0f}/s" + (f", {refused:,} refused" if refused else "")
        self._bar.move(done, total if self._total else None, rate)

    def close(self) -> None:
        """Take it away: the summary follows."""
        self._bar.close()
