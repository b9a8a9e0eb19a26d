"""WeChat Pay v2 as wechatpy's documentation shows it; runs in the peers' interpreter.

Argument: a JSON file with the merchant's numbers and keys.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import host
import wechatpy
from wechatpy.exceptions import InvalidSignatureException
from wechatpy.pay import WeChatPay

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
NOTICES: list[Any] = []
REFUSED: list[str] = []


def answer(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Take a notice of a payment or of a refund."""
    try:
        refund = b"<req_info>" in body
        NOTICES.append(pay.parse_refund_notify_result(body) if refund else pay.parse_payment_result(body))
    except InvalidSignatureException as error:
        REFUSED.append(type(error).__name__)
        return b"<xml><return_code><![CDATA[FAIL]]></return_code></xml>"
    return b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"


pay = WeChatPay(
    SETTINGS["appid"],
    SETTINGS["api_v2_key"],
    SETTINGS["mchid"],
    mch_cert=SETTINGS["certificate_file"],
    mch_key=SETTINGS["private_key_file"],
)
host.serve(
    version=wechatpy.__version__,
    pay=pay,
    url=host.listen(answer),
    notices=lambda: NOTICES,
    refused=lambda: REFUSED,
)
