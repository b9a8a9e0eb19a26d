"""Tells the log and the ``on_event`` hook about state changes: one line each, never a credential."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from wxmp.events import Event, EventHook, EventName
from wxmp.tokens.store import TokenKey

__all__ = ["Reporter"]

logger: logging.Logger = logging.getLogger("wxmp.token")

_BAD_NEWS: Final[frozenset[EventName]] = frozenset({"refresh_failed", "store_down", "budget_exhausted", "fenced_out"})


@attrs.frozen
class Reporter:
    """Reports about one credential."""

    key: TokenKey
    hook: EventHook | None

    def __call__(
        self,
        name: EventName,
        *,
        generation: int | None = None,
        seconds: float | None = None,
        elapsed: float | None = None,
        code: int | None = None,
        reason: str = "",
    ) -> None:
        """Log one state change and hand it to the hook. What the hook raises is logged and dropped."""
        event = Event(
            name=name,
            appid=self.key.appid,
            channel=self.key.channel,
            generation=generation,
            seconds=seconds,
            elapsed=elapsed,
            code=code,
            reason=reason,
        )
        details = {"generation": generation, "seconds": seconds, "elapsed": elapsed, "code": code, "reason": reason}
        said = ", ".join(
            f"{field}={value:.3f}" if isinstance(value, float) else f"{field}={value}"
            for field, value in details.items()
            if value not in (None, "")
        )
        level = logging.WARNING if name in _BAD_NEWS else logging.INFO
        logger.log(level, "%s: token of %s/%s (%s)", name, self.key.appid, self.key.channel, said)
        if self.hook is None:
            return
        try:
            self.hook(event)
        except Exception:
            logger.exception("on_event raised for %s", name)
