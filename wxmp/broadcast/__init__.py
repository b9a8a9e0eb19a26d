"""Bulk sends (群发): any number of recipients, a journal that survives crashes, one rate for the account."""

from wxmp.broadcast.api import BroadcastAPI, TemplateMessage
from wxmp.broadcast.engine import Run
from wxmp.broadcast.events import settle_event
from wxmp.broadcast.journal import Journal
from wxmp.broadcast.records import Outcome, Pace, Progress, Recipient, Result
from wxmp.broadcast.sources import CSVRecipients, from_csv
from wxmp.broadcast.sqlite import SQLiteJournal

__all__ = [
    "BroadcastAPI",
    "CSVRecipients",
    "Journal",
    "Outcome",
    "Pace",
    "Progress",
    "Recipient",
    "Result",
    "Run",
    "SQLiteJournal",
    "TemplateMessage",
    "from_csv",
    "settle_event",
]
