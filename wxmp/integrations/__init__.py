"""Frameworks, task queues and monitoring: one optional module each.

Those of web frameworks keep a client's life cycle and hand on what comes in; they decide nothing.
"""

from __future__ import annotations

__all__: list[str] = []
