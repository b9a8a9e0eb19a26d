"""Tells the log and the ``on_event`` hook about state changes: one line each, never a credential."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._log import log_fields
from wxmp.tokens.store import TokenKey

if TYPE_CHECKING:
    # The events are made, and loaded, only for a hook.
    from wxmp.events import EventHook, TokenEventName  # noqa: TC004

__all__ = ["Reporter"]

logger: logging.Logger = logging.getLogger("wxmp.token")

_BAD_NEWS: Final[frozenset[TokenEventName]] = frozenset(
    {"refresh_failed", "store_down", "budget_exhausted", "fenced_out"}
)


@attrs.frozen
class Reporter:
    """Reports about one credential."""

    key: TokenKey
    hook: EventHook | None

    def __call__(
        self,
        name: TokenEventName,
        *,
        generation: int | None = None,
        seconds: float | None = None,
        elapsed: float | None = None,
        code: int | None = None,
        reason: str = "",
    ) -> None:
        """Log one state change and hand it to the hook. The hook is a guarded one."""
        details = {"generation": generation, "seconds": seconds, "elapsed": elapsed, "code": code, "reason": reason}
        said = ", ".join(
            f"{field}={value:.3f}" if isinstance(value, float) else f"{field}={value}"
            for field, value in details.items()
            if value not in (None, "")
        )
        level = logging.WARNING if name in _BAD_NEWS else logging.INFO
        logger.log(
            level,
            "%s: token of %s/%s (%s)",
            name,
            self.key.appid,
            self.key.channel,
            said,
            extra=log_fields(
                f"token_{name}",
                appid=self.key.appid,
                channel=self.key.channel,
                generation=generation,
                seconds=seconds,
                elapsed=elapsed,
                errcode=code,
                reason=reason,
            ),
        )
        if self.hook is None:
            return
        from wxmp.events import TokenEvent

        self.hook(
            TokenEvent(
                name=name,
                appid=self.key.appid,
                channel=self.key.channel,
                generation=generation,
                seconds=seconds,
                elapsed=elapsed,
                code=code,
                reason=reason,
            )
        )
