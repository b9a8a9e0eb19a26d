"""One process that pays a user once, to be killed between the order and its answer.

Run as ``python -m tests.processes.pay_payer '{...arguments of the client...}' '{...arguments of the transfer...}'``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from wxmp.pay import PayClient, TransferReport


async def pay(settings: dict[str, Any], transfer: dict[str, Any]) -> None:
    async with PayClient(**settings) as client:
        await client.transfer.create(**terms(transfer))


def terms(transfer: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a transfer, which came as JSON."""
    return {**transfer, "report_infos": [TransferReport(*info) for info in transfer["report_infos"]]}


if __name__ == "__main__":
    asyncio.run(pay(json.loads(sys.argv[1]), json.loads(sys.argv[2])))
