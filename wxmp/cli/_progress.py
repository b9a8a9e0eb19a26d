"""How far something long is, on standard error: a bar for a terminal; who has none writes lines now and then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FRAME", "LINE", "ProgressBar", "show_again"]

#: Seconds between two looks at the progress: on a terminal, and in a pipe.
FRAME: Final = 0.2
LINE: Final = 10.0


async def show_again(every: float, update: Callable[[], None]) -> None:
    """Show the progress again and again, until this is cancelled."""
    while True:
        await asyncio.sleep(every)
        update()


class ProgressBar:
    """A bar that moves, with a number, a rate and the time left."""

    def __init__(self, name: str, total: int | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(name, total=total, rate="")
        self._progress.start()

    @property
    def speed(self) -> float | None:
        """How many a second, as the bar saw it move."""
        return self._progress.tasks[0].speed

    def move(self, done: int, total: int | None, rate: str) -> None:
        """Move it."""
        self._progress.update(self._task, completed=done, total=total, rate=rate)

    def close(self) -> None:
        """Take it away: the summary follows."""
        self._progress.stop()
