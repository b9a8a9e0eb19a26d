"""Finds what was sent, by its number and by its de-duplication key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.state import Account, Sent

__all__ = ["SentIndex"]


class SentIndex:
    """Finds a message in the accounts' lists, however long they are.

    It holds what the lists hold and is not part of a snapshot: it is made from the accounts.
    """

    def __init__(self) -> None:
        self._by_number: dict[tuple[str, int], Sent] = {}
        self._by_key: dict[tuple[str, str, str, str], Sent] = {}

    def add(self, account: Account, sent: Sent) -> None:
        """Make a message findable."""
        if sent.msgid is not None:
            self._by_number[account.appid, sent.msgid] = sent
        if sent.client_msg_id:
            self._by_key[account.appid, sent.kind, sent.openid, sent.client_msg_id] = sent

    def drop(self, account: Account, sent: Sent) -> None:
        """Forget a message that the list has forgotten."""
        if sent.msgid is not None:
            self._by_number.pop((account.appid, sent.msgid), None)
        key = account.appid, sent.kind, sent.openid, sent.client_msg_id
        if self._by_key.get(key) is sent:  # and not a later one with the same key
            del self._by_key[key]

    def number(self, account: Account, msgid: object) -> Sent | None:
        """Return the message of this number."""
        return self._by_number.get((account.appid, msgid)) if isinstance(msgid, int) else None

    def key(self, account: Account, kind: str, openid: str, client_msg_id: str, *, after: float) -> Sent | None:
        """Return the last message of this key, if it was sent later than ``after``."""
        found = self._by_key.get((account.appid, kind, openid, client_msg_id))
        return found if found is not None and found.at > after else None

    def clear(self) -> None:
        """Forget everything."""
        self._by_number.clear()
        self._by_key.clear()

    def rebuild(self, accounts: Mapping[str, Account]) -> None:
        """Start again with the messages of these accounts."""
        self.clear()
        for account in accounts.values():
            for sent in account.sent:
                self.add(account, sent)
