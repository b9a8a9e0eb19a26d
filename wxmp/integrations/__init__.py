"""Web frameworks: one optional module each. They keep a client's life cycle and hold no logic."""

from __future__ import annotations

__all__: list[str] = []
