"""The platform's days: they begin at midnight in Beijing, whatever the server's own time zone."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Final

__all__ = ["AHEAD", "BEIJING", "DAY"]

#: Seconds by which Beijing is ahead of UTC; it has known no summer time since 1991.
AHEAD: Final = 8 * 3600
#: Seconds of a day.
DAY: Final = 86_400
BEIJING: Final = timezone(timedelta(seconds=AHEAD), "Asia/Shanghai")
