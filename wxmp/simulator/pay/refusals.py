"""How WeChat Pay says no: its codes, their HTTP status, and the texts people see."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.wire import JsonObject

__all__ = ["CODES", "Code", "PayRefusal"]


@attrs.frozen
class Code:
    """One code: the status of the v3 answer, the usual text, its spelling in v2, and the internal number."""

    status: int
    message: str
    v2: str = ""
    internal: int = 268_435_461


CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "SYSTEM_ERROR": Code(500, "系统异常，请稍后重试", "SYSTEMERROR"),
        "BIZ_ERR_NEED_RETRY": Code(500, "退款业务流程错误，需要商户触发重试来解决", "BIZERR_NEED_RETRY"),
        "FREQUENCY_LIMITED": Code(429, "频率超限", "FREQUENCY_LIMITED", 268_447_840),
        "PARAM_ERROR": Code(400, "参数错误", "PARAM_ERROR", 268_435_461),
        "INVALID_REQUEST": Code(400, "无效请求", "INVALID_REQUEST", 268_498_688),
        "SIGN_ERROR": Code(401, "错误的签名，验签失败", "SIGNERROR", 268_443_699),
        "NO_AUTH": Code(403, "商户无权限", "NOAUTH"),
        "RULE_LIMIT": Code(403, "业务规则限制", "RULELIMIT"),
        "ACCOUNT_ERROR": Code(403, "账号异常", "ACCOUNTERROR", 268_443_715),
        "USER_ACCOUNT_ABNORMAL": Code(403, "用户账户异常", "USER_ACCOUNT_ABNORMAL"),
        "NOT_ENOUGH": Code(403, "余额不足", "NOTENOUGH"),
        "OUT_TRADE_NO_USED": Code(403, "商户订单号重复", "OUT_TRADE_NO_USED", 268_498_688),
        "ORDER_NOT_EXIST": Code(404, "订单不存在", "ORDERNOTEXIST", 268_512_771),
        "ORDER_CLOSED": Code(400, "该订单已关闭", "ORDERCLOSED", 268_447_914),
        "ORDER_PAID": Code(400, "该订单已支付", "ORDERPAID", 268_449_538),
        "OPENID_MISMATCH": Code(500, "openid和appid不匹配", "PARAM_ERROR", 268_501_013),
        "INVALID_TRANSACTIONID": Code(500, "无效的微信支付订单号", "INVALID_TRANSACTIONID"),
        "MCH_NOT_EXISTS": Code(400, "商户号不存在", "MCHID_NOT_EXIST"),
        "APPID_MCHID_NOT_MATCH": Code(400, "appid和mchid不匹配", "APPID_MCHID_NOT_MATCH", 268_445_527),
        "USERPAYING": Code(202, "用户支付中，需要输入密码", "USERPAYING"),
        "RESOURCE_NOT_EXISTS": Code(404, "查询的资源不存在", "REFUNDNOTEXIST"),
        "ALREADY_EXISTS": Code(400, "单号已存在", "INVALID_REQUEST"),
        "NOT_FOUND": Code(404, "记录不存在"),
        "REQUEST_BLOCKED": Code(403, "请求受阻"),
        "NO_STATEMENT_EXIST": Code(400, "账单文件不存在"),
        "STATEMENT_CREATING": Code(400, "账单生成中"),
    }
)
# The older gateways glue the words.
GLUED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SYSTEM_ERROR": "SYSTEMERROR",
        "SIGN_ERROR": "SIGN_ERROR",
        "NO_AUTH": "NOAUTH",
        "RULE_LIMIT": "RULELIMIT",
        "ACCOUNT_ERROR": "ACCOUNTERROR",
        "NOT_ENOUGH": "NOTENOUGH",
        "ORDER_NOT_EXIST": "ORDERNOTEXIST",
        "ORDER_CLOSED": "ORDERCLOSED",
        "ORDER_PAID": "ORDERPAID",
    }
)


class PayRefusal(Exception):  # noqa: N818  (not an error of the simulator: a normal answer of the platform)
    """WeChat Pay says no: a JSON error with an HTTP status in v3, ``err_code`` in v2.

    Args:
        code: One of :data:`CODES`.
        why: The reason for the journal.
        message: Instead of the code's usual text.
        field: What is wrong: a JSON pointer, or the name of a query parameter.
        location: Where it stands: ``body``, ``query``, ``uri``, ``header``, ``authorization``.
        detail: Further members of ``detail``.
        status: Instead of the code's usual HTTP status.
        internal: Instead of the code's usual internal number.
        v2: Instead of the code's usual spelling in v2.
    """

    def __init__(
        self,
        code: str,
        why: str = "",
        *,
        message: str = "",
        field: str = "",
        value: object = None,
        location: str = "body",
        detail: JsonObject | None = None,
        status: int | None = None,
        internal: int | None = None,
        v2: str = "",
    ) -> None:
        super().__init__(code, why)
        known = CODES[code]
        self.code = code
        self.why = why
        self.message: str = message or known.message
        self.status: int = status if status is not None else known.status
        self.internal: int = internal if internal is not None else known.internal
        self.v2: str = v2 or known.v2 or code
        self.detail: JsonObject = {}
        if field:
            self.detail = {"location": location, "field": field}
            if value is not None:
                # Broken text of the caller comes back as question marks.
                self.detail["value"] = value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        self.detail |= detail or {}

    def spelt(self, glued: bool) -> str:
        """Return the code in the newer spelling, or with its words glued together."""
        return GLUED.get(self.code, self.code) if glued else self.code
