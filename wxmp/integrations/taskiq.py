"""taskiq: bulk sends over the workers of many machines, with one journal and one rate for the account.

A module that the workers and the program that starts a send both import::

    broker = RedisStreamBroker("redis://…", consumer_id="0", xread_count=1, idle_timeout=120_000)
    broadcast = BroadcastTask(
        broker,
        client=Client.from_env,
        journal=lambda: RedisJournal("redis://…"),
        messages={"autumn": lambda recipient: TemplateMessage({"thing1": recipient.fields["name"]})},
        pace=Pace(per_second=200),
    )

The program hands the recipients over in shares, and may do so as often as it likes: whom the journal knows as settled
is left out, and the journal keeps everybody from getting two messages. So the safe way to send to everybody is to call
:meth:`BroadcastTask.send` again until it returns 0. A broker that acknowledges, as the stream one does, brings the
share of a killed worker back sooner. Needs the extra ``taskiq``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._log import log_fields
from wxmp.broadcast.engine import Run, recipients_of
from wxmp.broadcast.records import MOST_CONCURRENCY, Pace, Recipient, RunKey
from wxmp.errors import ConfigError

try:
    from taskiq import TaskiqEvents
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] != "taskiq":
        raise
    _message = 'wxmp.integrations.taskiq needs taskiq: pip install "wxmp-sdk[taskiq]"'
    raise ModuleNotFoundError(_message, name=_error.name) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskiq import AsyncBroker, TaskiqState

    from wxmp.broadcast.api import Build, Recipients
    from wxmp.broadcast.journal import Journal
    from wxmp.client import Client

__all__ = ["BroadcastTask"]

logger: logging.Logger = logging.getLogger("wxmp.broadcast")

#: Recipients of one share. A killed worker delays this many; each costs some hundred bytes in the broker.
SHARE: Final = 500
MOST_IN_A_SHARE: Final = 10_000
#: How often a share is passed on by workers that cannot send it, and the seconds before: doubling from the first to
#: the second. A minute and a half in all: a deployment is over by then, and the broker is not filled with copies.
MOST_PASSES: Final = 25
PASS_WAIT: Final = (0.5, 4.0)


@attrs.define(eq=False)
class _Share:
    """A share that this process has in hand."""

    #: Done when the share is to be given up.
    stop: asyncio.Future[None]
    #: Done when nothing of it is in hand any more.
    ended: asyncio.Future[None]
    #: What sends it, once its turn has come.
    run: Run | None = None


class BroadcastTask:
    """A bulk send as a task of taskiq (分布式群发).

    Make it where the broker is made, in a module that every worker imports. Several accounts on one broker each have
    their own, with a ``task_name`` of its own.

    Openids and fields of the recipients go through the broker, and stay there for as long as it keeps messages (a
    Redis stream: until it is trimmed). To keep personal data out of it, hand over openids alone and look up the rest
    in the functions of ``messages``, which may be ``async``.

    Args:
        broker: The broker; one that acknowledges, such as ``RedisStreamBroker``, brings a lost share back by itself.
        client: Makes the client of a process, once per worker.
        journal: Makes the journal of a process: one that all machines reach, a ``RedisJournal``.
        messages: What can be sent, by name: functions do not travel, names do.
        pace: Limits of the account, over all workers, and the messages in flight in each share. So many shares are
            sent at once in a process as make 100 messages in flight; more wait for their turn.
        task_name: Its name in the broker.

    Raises:
        ConfigError: There are no messages, or the broker has a task of that name.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        *,
        client: Callable[[], Client],
        journal: Callable[[], Journal],
        messages: Mapping[str, Build],
        pace: Pace | None = None,
        task_name: str = "wxmp.broadcast",
    ) -> None:
        if not messages:
            raise ConfigError("messages must name at least one message", field="messages")
        if broker.find_task(task_name) is not None:
            raise ConfigError("the broker has a task of that name; each account needs its own", field="task_name")
        self._make_client = client
        self._make_journal = journal
        self._messages = dict(messages)
        self._pace = pace or Pace()
        self._at_once = max(1, MOST_CONCURRENCY // self._pace.concurrency)
        self._client: Client | None = None
        self._journal: Journal | None = None
        self._shares: list[_Share] = []

        # taskiq renames what it registers, and a method cannot be renamed.
        async def send_share(
            appid: str,
            name: str,
            template_id: str,
            message: str,
            rows: list[tuple[str, dict[str, str]]],
            passed: int = 0,
        ) -> dict[str, int]:
            """Send one share; returns how many ended how."""
            return await self._run(appid, name, template_id, message, rows, passed)

        self._task = broker.register_task(send_share, task_name)
        for event in (TaskiqEvents.WORKER_SHUTDOWN, TaskiqEvents.CLIENT_SHUTDOWN):
            broker.add_event_handler(event, self._close)

    def __repr__(self) -> str:
        return f"<BroadcastTask {self._task.task_name}>"

    # ---- whoever starts a send

    async def send(
        self, recipients: Recipients, *, name: str, template_id: str, message: str, share: int = SHARE
    ) -> int:
        """Hand everybody who is not settled yet to the workers.

        Call it again until it returns 0: then everybody is settled. Whatever went wrong in between (a worker died, the
        limit of the day was reached, the broker lost its data) is made good by the next call. Whoever still waits in
        the broker is handed over once more; that costs some memory there, and never a second message. After a worker
        was killed, call it within nine minutes: so long can a message whose answer was lost be asked for again.

        Args:
            recipients: As of ``client.broadcast.template``; read once, with flat memory.
            name: Which run it is; 1 to 64 characters.
            template_id: One of the account's templates.
            message: One of the ``messages``.
            share: Recipients of one task, 1 to 10,000.

        Returns:
            How many recipients were handed over.

        Raises:
            ConfigError: An argument cannot work, or ``name`` belongs to another template.
            JournalError: The journal cannot be reached.
        """
        build = self._messages.get(message)
        if build is None:
            raise ConfigError(f"message must be one of: {', '.join(sorted(self._messages))}", field="message")
        if not 1 <= share <= MOST_IN_A_SHARE:
            raise ConfigError(f"share must be 1 to {MOST_IN_A_SHARE}", field="share")
        client, journal = self._opened()
        run = RunKey(client.appid, name)
        # Sent to nobody: what is wrong with the run is found out here, and not in each worker.
        await client.broadcast.template(
            (), build, name=name, template_id=template_id, journal=journal, pace=Pace(concurrency=1), partial=True
        ).run()
        handed_over, chunk = 0, dict[str, Recipient]()
        async for recipient in recipients_of(recipients):
            chunk.setdefault(recipient.openid, recipient)
            if len(chunk) >= share:
                handed_over += await self._hand_over(journal, run, template_id, message, chunk)
                chunk = {}
        handed_over += await self._hand_over(journal, run, template_id, message, chunk)
        logger.info(
            "%s: %d recipients were handed to the workers",
            name,
            handed_over,
            extra=log_fields("recipients_handed_over", run=name, count=handed_over),
        )
        return handed_over

    async def _hand_over(
        self, journal: Journal, run: RunKey, template_id: str, message: str, chunk: Mapping[str, Recipient]
    ) -> int:
        rows = await _unsettled(journal, run, [(recipient.openid, _fields(recipient)) for recipient in chunk.values()])
        if rows:
            await self._task.kiq(run.appid, run.name, template_id, message, rows)
        return len(rows)

    # ---- the workers

    async def aclose(self) -> None:
        """Finish what is in flight, pass the rest of the shares on, and close the client and the journal.

        The broker does it at its own shutdown. It takes 10 seconds at most, if answers are late. Safe to call twice.
        """
        shares = list(self._shares)
        for share in shares:
            if not share.stop.done():
                share.stop.set_result(None)
        await asyncio.gather(*(share.run.cancel() for share in shares if share.run is not None))
        if shares:
            await asyncio.wait([share.ended for share in shares])
        client, self._client = self._client, None
        journal, self._journal = self._journal, None
        if client is not None:
            await client.aclose()
        if journal is not None:
            await journal.aclose()

    async def _close(self, _: TaskiqState) -> None:
        await self.aclose()

    def _opened(self) -> tuple[Client, Journal]:
        if self._client is None:
            self._client = self._make_client()
        if self._journal is None:
            self._journal = self._make_journal()
        return self._client, self._journal

    async def _run(
        self,
        appid: str,
        name: str,
        template_id: str,
        message: str,
        rows: list[tuple[str, dict[str, str]]],
        passed: int,
    ) -> dict[str, int]:
        loop = asyncio.get_running_loop()
        share = _Share(loop.create_future(), loop.create_future())
        self._shares.append(share)
        try:
            client, journal = self._opened()
            build = self._messages.get(message)
            if build is None or client.appid != appid:
                await self._pass_on(share, appid, name, template_id, message, rows, passed)
                return {}
            await self._wait_for_turn(share)
            outcomes: dict[str, int] = {}
            if not share.stop.done():
                run = share.run = client.broadcast.template(
                    [Recipient(openid, fields) for openid, fields in rows],
                    build,
                    name=name,
                    template_id=template_id,
                    journal=journal,
                    pace=self._pace,
                    partial=True,
                )
                progress = await run.run()
                outcomes = {outcome.value: count for outcome, count in progress.outcomes.items()}
            if share.stop.done():  # this process ends; what it has not sent is for another one
                rest = await _unsettled(journal, RunKey(appid, name), rows)
                if rest:
                    logger.info(
                        "%s: %d recipients are passed on, this worker ends",
                        name,
                        len(rest),
                        extra=log_fields("recipients_passed_on", run=name, appid=appid, count=len(rest)),
                    )
                    await self._task.kiq(appid, name, template_id, message, rest, passed)
            return outcomes
        finally:
            self._shares.remove(share)
            share.ended.set_result(None)

    async def _wait_for_turn(self, share: _Share) -> None:
        """Wait until the connections of the client are enough for one more share, or it is to be given up."""
        while not share.stop.done():
            sending = [other.ended for other in self._shares if other.run is not None]
            if len(sending) < self._at_once:
                return
            await asyncio.wait([share.stop, *sending], return_when=asyncio.FIRST_COMPLETED)

    async def _pass_on(
        self,
        share: _Share,
        appid: str,
        name: str,
        template_id: str,
        message: str,
        rows: list[tuple[str, dict[str, str]]],
        passed: int,
    ) -> None:
        """Leave a share to another worker: this one is of another account, or its code is older."""
        if passed >= MOST_PASSES:
            raise ConfigError(
                "no worker has that message and that account; deploy it to all, then call send() again", field="message"
            )
        first, longest = PASS_WAIT
        wait = min(first * 2**passed, longest)
        logger.warning(
            "%s: this worker cannot send %r, it passes the share on in %.1f s",
            name,
            message,
            wait,
            extra=log_fields("share_passed_on", run=name, seconds=wait),
        )
        await asyncio.wait([share.stop], timeout=wait)
        await self._task.kiq(appid, name, template_id, message, rows, passed + 1)


async def _unsettled(
    journal: Journal, run: RunKey, rows: list[tuple[str, dict[str, str]]]
) -> list[tuple[str, dict[str, str]]]:
    known = await journal.known(run, [openid for openid, _ in rows])
    return [(openid, fields) for openid, fields in rows if not known.get(openid, False)]


def _fields(recipient: Recipient) -> dict[str, str]:
    """Return the fields, if they arrive as they are sent."""
    fields: dict[str, object] = dict(recipient.fields)
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    wrong = [name for name in fields if name not in texts]
    if wrong:
        raise ConfigError(f"fields of recipients are text, {wrong[0]!r} is not", field="recipients")
    return texts
