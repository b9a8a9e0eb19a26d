"""Bulk sends (群发模板消息), as ``client.broadcast`` offers them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wxmp._caller import Caller
from wxmp.api.template import SEND, TemplateAPI, TemplateMiniProgram, TemplateValue
from wxmp.broadcast.delivery import Message
from wxmp.broadcast.engine import Run
from wxmp.broadcast.journal import Journal
from wxmp.broadcast.records import Pace, Recipient, RunKey
from wxmp.broadcast.sqlite import SQLiteJournal
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    import os

__all__ = ["BroadcastAPI", "Build", "Recipients", "TemplateMessage"]

#: Whoever should get a message: openids or records, from a list, a generator or an asynchronous iterator.
Recipients = AsyncIterable[Recipient] | AsyncIterable[str] | Iterable[Recipient] | Iterable[str]


@attrs.frozen
class TemplateMessage:
    """What one recipient gets; the arguments of ``client.template.send``."""

    data: Mapping[str, str | TemplateValue] = attrs.field(repr=False)
    #: The page a tap opens.
    url: str | None = attrs.field(default=None, repr=False)
    #: The mini program a tap opens; it wins over ``url``.
    miniprogram: TemplateMiniProgram | None = None


#: A message for everybody, or a function (plain or ``async``) that makes each recipient's; ``None`` leaves one out.
Build = TemplateMessage | Callable[[Recipient], "TemplateMessage | Awaitable[TemplateMessage | None] | None"]


class _TemplateSender:
    """Sends template messages for the engine."""

    deduplicates = True
    endpoint = SEND.name

    def __init__(self, api: TemplateAPI, template_id: str, build: Build) -> None:
        self._api = api
        self._template_id = template_id
        self._build = build
        self.fingerprint = f"template {template_id}"

    async def prepare(self, recipient: Recipient) -> Message | None:
        made = self._build(recipient) if callable(self._build) else self._build
        if inspect.isawaitable(made):
            made = await made
        if made is None:
            return None
        if not isinstance(made, TemplateMessage):
            raise ConfigError(f"build must return a TemplateMessage or None, not {type(made).__name__}", field="build")
        return Message(made)

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        made = message.payload
        if not isinstance(made, TemplateMessage):
            raise ConfigError("this message was made by another sender", field="build")
        receipt = await self._api.send(
            openid,
            template_id=self._template_id,
            data=made.data,
            url=made.url,
            miniprogram=made.miniprogram,
            client_msg_id=client_msg_id,
        )
        return receipt.msg_id


@attrs.frozen
class BroadcastAPI:
    """Bulk sends that survive a crash (群发模板消息): nobody is lost, nobody gets a message twice."""

    #: Calls once: what is repeated, and when, is decided here, where the journal is.
    _call: Caller

    def template(
        self,
        recipients: Recipients,
        build: Build,
        *,
        name: str,
        template_id: str,
        journal: Journal | str | os.PathLike[str],
        pace: Pace | None = None,
        partial: bool = False,
        dry_run: bool = False,
    ) -> Run:
        """Send a template message to many (群发模板消息).

        Nothing happens before the run is iterated over or awaited::

            run = client.broadcast.template(followers, build, name="autumn", template_id="…", journal="sent.db")
            async for result in run:
                print(result.openid, result.outcome)

        Started again with the same ``name`` and journal it goes on where it ended, whatever ended it: whom the journal
        knows is not sent to again. A message whose answer was lost is asked for again under the same key within ten
        minutes of its first attempt; after that it is :attr:`~wxmp.broadcast.Outcome.UNKNOWN` and never sent again.

        Args:
            recipients: Openids or :class:`~wxmp.broadcast.Recipient` records, of any number: a list, a generator,
                ``client.user.iter_followers()``, ``client.tag.iter_members(…)``, ``from_csv(…)``. Repeated ones get
                one message. A run that is continued reads them from the start.
            build: The message, or a function of the recipient that makes it.
            name: Which run it is; 1 to 64 characters. Another name sends to everybody again.
            template_id: One of the account's templates (``client.template.list``).
            journal: What is written down: a path (SQLite), or a journal that is open for longer.
            pace: Messages in flight, and limits of a second and a day.
            partial: ``recipients`` are a share of the run's; other processes send to the rest.
            dry_run: Read, build and count, but send and write nothing.

        Raises:
            ConfigError: An argument cannot work. While it runs: ``name`` belongs to another template.
            JournalError: The journal failed. Everything so far is safe; start it again.
            BroadcastError: ``build``, the recipients or the journal were cancelled, and nobody has cancelled the run.
            RateLimitError: The messages of the day are used up, those of the platform (45009) or those of
                ``pace.per_day``; its ``scope`` is ``"day"``. Go on tomorrow.
            NotFoundError: No such template (40037).

        Source:
            POST /cgi-bin/message/template/send - 模板消息 / 发送模板消息
        """
        if not template_id or not template_id.strip():
            raise ConfigError("template_id is needed; client.template.list() has them", field="template_id")
        if not isinstance(build, TemplateMessage) and not callable(build):
            raise ConfigError("build must be a TemplateMessage, or a function that makes one", field="build")
        own = not isinstance(journal, Journal)
        has_past = isinstance(journal, Journal) or Path(journal).exists()
        return Run(
            RunKey(self._call.appid, name),
            recipients,
            _TemplateSender(TemplateAPI(self._call), template_id, build),
            SQLiteJournal(journal) if not isinstance(journal, Journal) else journal,
            pace or Pace(),
            close_journal=own,
            partial=partial,
            dry_run=dry_run,
            has_past=has_past,
            observer=self._call.observer,
        )
