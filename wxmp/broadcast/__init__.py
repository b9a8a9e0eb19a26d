"""Bulk sends (群发): any number of recipients, a journal that survives crashes, one rate for the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.broadcast.api import BroadcastAPI, TemplateMessage
from wxmp.broadcast.engine import Run
from wxmp.broadcast.events import settle_event
from wxmp.broadcast.journal import Journal
from wxmp.broadcast.records import Outcome, Pace, Progress, Recipient, Result
from wxmp.broadcast.sources import CSVRecipients, from_csv
from wxmp.broadcast.sqlite import SQLiteJournal

if TYPE_CHECKING:
    from wxmp.broadcast.redis import RedisJournal

__all__ = [
    "BroadcastAPI",
    "CSVRecipients",
    "Journal",
    "Outcome",
    "Pace",
    "Progress",
    "Recipient",
    "RedisJournal",
    "Result",
    "Run",
    "SQLiteJournal",
    "TemplateMessage",
    "from_csv",
    "settle_event",
]


def __getattr__(name: str) -> object:
    if name != "RedisJournal":
        raise AttributeError(f"module 'wxmp.broadcast' has no attribute {name!r}")
    from wxmp.broadcast.redis import RedisJournal  # most use the file

    globals()[name] = RedisJournal
    return RedisJournal


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
