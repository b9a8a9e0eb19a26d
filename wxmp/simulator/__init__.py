"""The WeChat platform on your own machine: accounts, tokens, followers, messages, and its bad days.

Written from the platform's documented behaviour and sharing no code with the SDK, so that a mistake in one shows up
in the other. Starting a :class:`Simulator` needs the extra ``simulator``; a :class:`World` alone needs nothing.
"""

from __future__ import annotations

from wxmp.simulator.clock import Clock
from wxmp.simulator.faults import Fault
from wxmp.simulator.journal import Exchange
from wxmp.simulator.policy import Allowance, DailyQuota, Policy
from wxmp.simulator.server import Simulator
from wxmp.simulator.wire import Reply, Request
from wxmp.simulator.world import World, WorldError

__all__ = [
    "Allowance",
    "Clock",
    "DailyQuota",
    "Exchange",
    "Fault",
    "Policy",
    "Reply",
    "Request",
    "Simulator",
    "World",
    "WorldError",
]
