"""wechatpayv3 as its documentation shows it; runs in the peers' interpreter.

Argument: a JSON file with the merchant's numbers and keys.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import host
import wechatpayv3
from wechatpayv3 import WeChatPay, WeChatPayType

if TYPE_CHECKING:
    from collections.abc import Mapping

MERCHANTS: dict[str, dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


class Shop:
    """One merchant: a client, and the example's server for notices."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.notices: list[Any] = []
        self.refused: list[str] = []
        self.client = WeChatPay(
            wechatpay_type=WeChatPayType.JSAPI,
            mchid=settings["mchid"],
            private_key=settings["private_key"],
            cert_serial_no=settings["serial"],
            apiv3_key=settings["api_v3_key"],
            appid=settings["appid"],
            notify_url=host.listen(self.answer),
            **settings["keys"],
        )

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Take a notice: 200 with a code when it is genuine, an error otherwise."""
        try:
            result = self.client.callback(headers, body)
        except Exception as error:
            self.refused.append(f"{type(error).__name__}: {error}")
            return 500, b""
        if not result:
            self.refused.append("no result")
            return 500, json.dumps({"code": "FAILED", "message": "失败"}).encode()
        self.notices.append(result)
        return 200, json.dumps({"code": "SUCCESS", "message": "成功"}).encode()

    def jsapi(self, prepay_id: str) -> dict[str, str]:
        """Return what the page hands to the phone, as in the example."""
        appid, timestamp, nonce, package = self.settings["appid"], "1790000000", "nonce1", f"prepay_id={prepay_id}"
        return {
            "appId": appid,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self.client.sign(data=[appid, timestamp, nonce, package]),
        }

    def native(self, **more: Any) -> Any:
        """Place an order for a QR code: its kind is an enumeration, which is no JSON."""
        return self.client.pay(pay_type=WeChatPayType.NATIVE, **more)


host.serve(version=wechatpayv3.__version__, **{mode: Shop(settings) for mode, settings in MERCHANTS.items()})
