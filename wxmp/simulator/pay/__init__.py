"""WeChat Pay (微信支付) as the platform sees it: merchants, orders, money, signatures, notices, bills.

The rooms: ``records`` remembers; ``ledger`` holds the rules of orders, refunds and transfers; ``keys`` and ``signing``
are the cryptography, written once more from the documents so that nothing is shared with the SDK; ``v3`` and ``v2``
answer requests; ``notices`` decides what the merchant's server is told; ``pad`` is what the payer does on the phone.
"""

from __future__ import annotations

__all__: list[str] = []
