"""taskiq: bulk sends over the workers of many machines, with one journal and one rate for the account.

A module that the workers and the program that starts a send both import::

    broker = RedisStreamBroker("redis://…")
    broadcast = BroadcastTask(
        broker,
        client=Client.from_env,
        journal=lambda: RedisJournal("redis://…"),
        messages={"autumn": lambda recipient: TemplateMessage({"thing1": recipient.fields["name"]})},
        pace=Pace(per_second=200),
    )

The program hands the recipients over in shares, and may do so as often as it likes: whom the journal knows as settled
is left out. A worker that is killed loses nothing: its share comes again from a broker that acknowledges (the stream
one does), or from the next :meth:`BroadcastTask.send`, and the journal keeps everybody from getting two messages.
Needs the extra ``taskiq``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from wxmp.broadcast.engine import recipients_of
from wxmp.broadcast.records import Pace, Recipient, RunKey
from wxmp.errors import ConfigError

try:
    from taskiq import TaskiqEvents
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "taskiq":
        raise
    message = 'wxmp.integrations.taskiq needs taskiq: pip install "wxmp-sdk[taskiq]"'
    raise ModuleNotFoundError(message, name=error.name) from None

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskiq import AsyncBroker, TaskiqState

    from wxmp.broadcast.api import Build, Recipients
    from wxmp.broadcast.journal import Journal
    from wxmp.client import Client

__all__ = ["BroadcastTask"]

logger = logging.getLogger("wxmp.broadcast")

#: Recipients of one share. A killed worker delays this many; each costs some hundred bytes in the broker.
SHARE: Final = 500
MOST_IN_A_SHARE: Final = 10_000


class BroadcastTask:
    """A bulk send as a task of taskiq (分布式群发).

    Make it where the broker is made, in a module that every worker imports.

    Args:
        broker: The broker; one that acknowledges, such as ``RedisStreamBroker``, brings a lost share back by itself.
        client: Makes the client of a process, once per worker.
        journal: Makes the journal of a process: one that all machines reach, a ``RedisJournal``.
        messages: What can be sent, by name: functions do not travel, names do.
        pace: Limits of the account, over all workers, and the messages in flight in each share.
        task_name: Its name in the broker.

    Raises:
        ConfigError: There are no messages.
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
        self._make_client = client
        self._make_journal = journal
        self._messages = dict(messages)
        self._pace = pace or Pace()
        self._client: Client | None = None
        self._journal: Journal | None = None
        self._task = broker.register_task(self._run, task_name)
        for event in (TaskiqEvents.WORKER_SHUTDOWN, TaskiqEvents.CLIENT_SHUTDOWN):
            broker.add_event_handler(event, self._close)

    def __repr__(self) -> str:
        return f"<BroadcastTask {self._task.task_name}>"

    async def send(
        self, recipients: Recipients, *, name: str, template_id: str, message: str, share: int = SHARE
    ) -> int:
        """Hand everybody who is not settled yet to the workers.

        Call it again after a crash, or from time to time until it returns 0: then the run is complete.

        Args:
            recipients: As of ``client.broadcast.template``; read once, with flat memory.
            name: Which run it is.
            template_id: One of the account's templates.
            message: One of the ``messages``.
            share: Recipients of one task, 1 to 10,000.

        Returns:
            How many recipients were handed over.

        Raises:
            ConfigError: An argument cannot work.
            JournalError: The journal cannot be reached.
        """
        if message not in self._messages:
            raise ConfigError(f"message must be one of: {', '.join(sorted(self._messages))}", field="message")
        if not 1 <= share <= MOST_IN_A_SHARE:
            raise ConfigError(f"share must be 1 to {MOST_IN_A_SHARE}", field="share")
        client, journal = self._opened()
        run = RunKey(client.appid, name)
        handed_over, chunk = 0, dict[str, Recipient]()
        async for recipient in recipients_of(recipients):
            chunk.setdefault(recipient.openid, recipient)
            if len(chunk) >= share:
                handed_over += await self._hand_over(journal, run, template_id, message, chunk)
                chunk = {}
        return handed_over + await self._hand_over(journal, run, template_id, message, chunk)

    async def _hand_over(
        self, journal: Journal, run: RunKey, template_id: str, message: str, chunk: Mapping[str, Recipient]
    ) -> int:
        known = await journal.known(run, list(chunk)) if chunk else {}
        rows = [
            (recipient.openid, dict(recipient.fields))
            for recipient in chunk.values()
            if not known.get(recipient.openid, False)
        ]
        if rows:
            await self._task.kiq(run.name, template_id, message, rows)
        return len(rows)

    async def aclose(self) -> None:
        """Close the client and the journal that were made here. The broker does it at its own shutdown."""
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
        self, name: str, template_id: str, message: str, rows: list[tuple[str, dict[str, str]]]
    ) -> dict[str, int]:
        """Send one share; returns how many ended how."""
        build = self._messages.get(message)
        if build is None:
            raise ConfigError("this worker does not know that message: its code is older", field="message")
        client, journal = self._opened()
        run = client.broadcast.template(
            [Recipient(openid, fields) for openid, fields in rows],
            build,
            name=name,
            template_id=template_id,
            journal=journal,
            pace=self._pace,
            partial=True,
        )
        try:
            progress = await run.run()
        except asyncio.CancelledError:
            logger.warning("%s: a share was broken off; it can be handed over again", name)
            raise
        return {outcome.value: count for outcome, count in progress.outcomes.items()}
