"""A merchant's server for the page's tests: it signs orders and what a web page hands to the phone (WeChat Pay v3)."""

from __future__ import annotations

import base64
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from wxmp.simulator.pay.ledger import add_merchant

if TYPE_CHECKING:
    from wxmp.simulator import Simulator

NUMBERS = itertools.count(1)


class Shop:
    """One merchant of the simulator's default account."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.appid = simulator.account.appid
        self.merchant = add_merchant(simulator.world)
        key = serialization.load_pem_private_key(self.merchant.private_key.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key

    def sign(self, *lines: str) -> str:
        """Return the signature of some lines, each ended."""
        text = "".join(f"{line}\n" for line in lines).encode()
        return base64.b64encode(self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()

    def order(self, kind: str, total: int, **more: Any) -> tuple[str, dict[str, Any]]:
        """Place an order (``"native"``, ``"jsapi"``); return its number and the answer."""
        number = f"PAGE{next(NUMBERS):08d}"
        path = f"/v3/pay/transactions/{kind}"
        wanted = {
            "appid": self.appid,
            "mchid": self.merchant.mchid,
            "description": "一杯茶 & <糖>",
            "out_trade_no": number,
            "notify_url": "http://127.0.0.1:9/notify",
            "amount": {"total": total, "currency": "CNY"},
        }
        return number, self._call(path, wanted | more)

    def refund(self, number: str, refund: int, total: int) -> None:
        """Give a part of the money of a paid order back."""
        body = {
            "out_trade_no": number,
            "out_refund_no": f"R{number}",
            "amount": {"refund": refund, "total": total, "currency": "CNY"},
        }
        self._call("/v3/refund/domestic/refunds", body)

    def transfer(self, openid: str, amount: int) -> dict[str, str]:
        """Offer money to somebody; return what a page hands to the phone."""
        body = {
            "appid": self.appid,
            "out_bill_no": f"bill{next(NUMBERS):08d}",
            "transfer_scene_id": "1000",
            "openid": openid,
            "transfer_amount": amount,
            "transfer_remark": "新会员奖励",
            "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
        }
        answer = self._call("/v3/fund-app/mch-transfer/transfer-bills", body)
        return {"mchId": self.merchant.mchid, "appId": self.appid, "package": answer["package_info"]}

    def _call(self, path: str, wanted: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(wanted)
        now, nonce = str(int(time.time())), f"nonce{next(NUMBERS)}"
        signature = self.sign("POST", path, now, nonce, body)
        parts = {
            "mchid": self.merchant.mchid,
            "nonce_str": nonce,
            "signature": signature,
            "timestamp": now,
            "serial_no": self.merchant.serial,
        }
        token = ",".join(f'{name}="{value}"' for name, value in parts.items())
        headers = {
            "authorization": f"WECHATPAY2-SHA256-RSA2048 {token}",
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": "shop",
        }
        answer = httpx.post(
            f"{self.simulator.url}/mch{path}", content=body, headers=headers, timeout=40, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def jsapi(self, prepay_id: str) -> dict[str, str]:
        """Return what the page hands to the phone."""
        now, nonce, package = str(int(time.time())), "nonce1", f"prepay_id={prepay_id}"
        return {
            "appId": self.appid,
            "timeStamp": now,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": self.sign(self.appid, now, nonce, package),
        }

    def state(self, number: str) -> str:
        """Return the state of an order."""
        return self.merchant.orders[number].state
