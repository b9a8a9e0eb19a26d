"""The WeChat platform on your own machine: accounts, tokens, followers, messages, and its bad days.

Written from the platform's documented behaviour and sharing no code with the SDK, so that a mistake in one shows up
in the other. Starting a :class:`Simulator` needs the extra ``simulator``; a :class:`World` alone needs nothing.

It answers the SDK's calls, and it calls back: :meth:`Simulator.set_callback` checks the address of a developer's
server, and from then on everything that users do on their phones (:meth:`Simulator.phone`) is pushed there, three times
if need be, in plain, compatible or safe mode. What the server replies is judged as the platform does and stands in the
user's chat (:meth:`Simulator.chat`); each request and its verdict stand in :meth:`Simulator.deliveries`.

The rooms: ``state`` remembers; ``world`` is the heart; ``gateway`` takes each request to its handler, with one room per
family of endpoints; ``phone`` and ``people`` are the users; ``callbacks`` decides what is pushed and what an answer
means, with ``payload``, ``envelope`` and ``answers`` for writing and reading. None of these does I/O. ``app`` and
``server`` bring the answers to HTTP, ``deliver`` the pushes.
"""

from __future__ import annotations

from wxmp.simulator.answers import Answer, Judgement
from wxmp.simulator.callbacks import AddressCheckError, CallbackError
from wxmp.simulator.clock import Clock
from wxmp.simulator.faults import Fault
from wxmp.simulator.journal import Exchange
from wxmp.simulator.pay.pad import PayResult
from wxmp.simulator.pay.records import Merchant
from wxmp.simulator.phone import Phone
from wxmp.simulator.policy import Allowance, DailyQuota, Policy
from wxmp.simulator.server import Simulator
from wxmp.simulator.state import Attempt, ChatEntry, Push
from wxmp.simulator.wire import Reply, Request, WorldError
from wxmp.simulator.world import World

__all__ = [
    "AddressCheckError",
    "Allowance",
    "Answer",
    "Attempt",
    "CallbackError",
    "ChatEntry",
    "Clock",
    "DailyQuota",
    "Exchange",
    "Fault",
    "Judgement",
    "Merchant",
    "PayResult",
    "Phone",
    "Policy",
    "Push",
    "Reply",
    "Request",
    "Simulator",
    "World",
    "WorldError",
]
