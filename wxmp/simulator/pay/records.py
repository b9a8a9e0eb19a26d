"""Everything WeChat Pay remembers, as plain records: part of the world's one tree, so a snapshot holds it too."""

from __future__ import annotations

import hashlib
from typing import Literal

import attrs

from wxmp.simulator.wire import JsonObject

__all__ = [
    "BillLink",
    "Merchant",
    "Notice",
    "NoticeAttempt",
    "NoticeState",
    "Order",
    "Pad",
    "PayState",
    "PlatformCertificate",
    "Refund",
    "RefundStatus",
    "SignType",
    "TradeState",
    "TradeType",
    "Transfer",
    "TransferState",
]

TradeState = Literal["NOTPAY", "USERPAYING", "SUCCESS", "REFUND", "CLOSED", "REVOKED", "PAYERROR"]
TradeType = Literal["JSAPI", "NATIVE", "MWEB", "APP"]
RefundStatus = Literal["PROCESSING", "SUCCESS", "CLOSED", "ABNORMAL"]
TransferState = Literal[
    "ACCEPTED", "PROCESSING", "WAIT_USER_CONFIRM", "TRANSFERING", "SUCCESS", "FAIL", "CANCELING", "CANCELLED"
]
NoticeState = Literal["waiting", "sleeping", "delivered", "failed", "blocked", "lost"]
SignType = Literal["MD5", "HMAC-SHA256"]


@attrs.define
class PlatformCertificate:
    """One platform certificate (平台证书) of a merchant; the key itself is derived from its label when needed."""

    serial: str
    key: str
    effective_at: float
    expires_at: float


@attrs.define
class Order:
    """One order of a merchant.

    Attributes:
        api: Which interface it came through; the notice has the same form.
        content: What must be the same when the number comes again.
        prepay_ids: All prepay ids given for it, with the end of each.
        openid: The payer a JSAPI order names.
        payer: Who has paid, under the order's AppID.
        paying: Who is at the password pad (``slow``).
    """

    mchid: str
    out_trade_no: str
    appid: str
    trade_type: TradeType
    api: Literal["v3", "v2"]
    description: str
    total: int
    currency: str
    notify_url: str
    created_at: float
    expires_at: float
    content: str = attrs.field(repr=False)
    attach: str = ""
    openid: str = ""
    device_id: str = ""
    goods_tag: str = ""
    sign_type: SignType = "MD5"
    prepay_ids: dict[str, float] = attrs.field(factory=dict[str, float], repr=False)
    code_url: str = ""
    h5_url: str = ""
    url_expires_at: float = 0.0
    state: TradeState = "NOTPAY"
    transaction_id: str = ""
    bank_type: str = ""
    paid_at: float | None = None
    closed_at: float | None = None
    payer: str = ""
    paying: str = ""
    refunded: int = 0
    refunds: list[str] = attrs.field(factory=list[str])
    last_refund_at: float | None = None


@attrs.define
class Refund:
    """One refund (退款)."""

    out_refund_no: str
    refund_id: str
    out_trade_no: str
    transaction_id: str
    amount: int
    total: int
    currency: str
    created_at: float
    content: str = attrs.field(repr=False)
    api: Literal["v3", "v2"] = "v3"
    reason: str = ""
    notify_url: str = ""
    funds_account: str = "AVAILABLE"
    status: RefundStatus = "PROCESSING"
    finished_at: float | None = None
    channel: str = "ORIGINAL"
    received_account: str = ""


@attrs.define
class Transfer:
    """One transfer to a user (商家转账)."""

    out_bill_no: str
    transfer_bill_no: str
    appid: str
    openid: str
    amount: int
    remark: str
    scene_id: str
    created_at: float
    updated_at: float
    content: str = attrs.field(repr=False)
    package_info: str = attrs.field(default="", repr=False)
    user_name: str = attrs.field(default="", repr=False)
    notify_url: str = ""
    state: TransferState = "WAIT_USER_CONFIRM"
    fail_reason: str = ""


@attrs.define
class BillLink:
    """A bill file behind a download link."""

    mchid: str
    text: str = attrs.field(repr=False)
    gzip: bool
    expires_at: float


@attrs.define
class Merchant:
    """A merchant (商户). Keys are kept out of ``repr``.

    Attributes:
        number: 1 for the first merchant of a world; its keys are derived from this number.
        given_key: A private key of the developer's own (PEM); empty: the derived one.
        serial: Serial number of the merchant API certificate.
        public_key_id: ``PUB_KEY_ID_…``; empty for a merchant that has platform certificates only.
        certificates: Platform certificates, oldest first; none for a merchant that has the public key only.
        ungranted: Products the merchant has not opened: ``JSAPI``, ``NATIVE``, ``MWEB``, ``APP``, ``TRANSFER``.
        notices_signed_by: The serial that signs notices; empty: the newest key, as the policy says.
        balance: Money the merchant can refund and transfer, fen.
    """

    mchid: str
    name: str
    number: int
    appids: list[str]
    api_v3_key: str = attrs.field(repr=False)
    api_v2_key: str = attrs.field(repr=False)
    serial: str
    public_key_id: str
    certificates: list[PlatformCertificate]
    balance: int
    given_key: str = attrs.field(default="", repr=False)
    notices_signed_by: str = ""
    refund_notify_url: str = ""
    transfer_scenes: list[str] = attrs.field(factory=list[str])
    ungranted: list[str] = attrs.field(factory=list[str])
    disabled: bool = False
    orders: dict[str, Order] = attrs.field(factory=dict[str, Order], repr=False)
    transactions: dict[str, str] = attrs.field(factory=dict[str, str], repr=False)
    refunds: dict[str, Refund] = attrs.field(factory=dict[str, Refund], repr=False)
    transfers: dict[str, Transfer] = attrs.field(factory=dict[str, Transfer], repr=False)
    nonces: dict[str, float] = attrs.field(factory=dict[str, float], repr=False)

    @property
    def private_key(self) -> str:
        """The merchant API private key (商户 API 私钥), PEM in PKCS#8. Made on first use."""
        if self.given_key:
            return self.given_key
        from wxmp.simulator.pay import keys

        return keys.private_pem(self.key_label)

    @property
    def certificate(self) -> str:
        """The merchant API certificate (商户 API 证书), PEM; its serial is ``serial``."""
        from wxmp.simulator.pay import keys

        return keys.merchant_certificate(self)

    @property
    def platform_public_key(self) -> str:
        """The WeChat Pay public key (微信支付公钥), PEM; its id is ``public_key_id``."""
        from wxmp.simulator.pay import keys

        return keys.public_pem(self.public_key_label)

    @property
    def platform_certificates(self) -> dict[str, str]:
        """All platform certificates (平台证书) by serial, PEM."""
        from wxmp.simulator.pay import keys

        return {item.serial: keys.platform_certificate(item) for item in self.certificates}

    @property
    def key_label(self) -> str:
        """The name the merchant's own key is derived from."""
        return f"merchant/{self.number}"

    @property
    def public_key_label(self) -> str:
        """The name the platform's public key of this merchant is derived from."""
        return f"public key/{self.number}"


@attrs.define
class Notice:
    """Something WeChat Pay has to tell the merchant's server.

    Attributes:
        id: The notice's own id, the same on every repeat.
        plain: What is enciphered (v3), or the fields (v2).
        state: ``"waiting"``: to be sent now. ``"sleeping"``: again later. ``"delivered"``, ``"failed"``: over.
            ``"blocked"``: the address leads beyond this machine. ``"lost"``: a fault has swallowed it.
        flying: On its way at this moment; no part of a snapshot, as no request survives one.
    """

    id: str
    mchid: str
    appid: str
    api: Literal["v3", "v2"]
    event_type: str
    original_type: str
    summary: str
    url: str
    openid: str
    created_at: float
    plain: JsonObject = attrs.field(repr=False)
    sign_type: SignType = "MD5"
    state: NoticeState = "waiting"
    attempts: int = 0
    flying: bool = attrs.field(default=False, init=False)


@attrs.define
class NoticeAttempt:
    """One request with a notice, and what became of it.

    Attributes:
        number: 1 for the first delivery; 0 for a forged or a second copy.
        verdict: ``"delivered"``, ``"refused"`` (an answer that is no success), ``"broken"`` (no answer); of a forged
            copy ``"refused"`` is right and ``"accepted"`` is a hole in the server.
    """

    id: int
    notice: str
    mchid: str
    event_type: str
    at: float
    number: int
    status: int | None
    seconds: float
    verdict: str
    why: str
    fault: str = ""


@attrs.define
class Pad:
    """One payer's password pad: wrong passwords in a row, and how long it is locked."""

    wrong: int = 0
    locked_until: float = 0.0


@attrs.define
class PayState:
    """WeChat Pay's part of the world.

    Attributes:
        prepays: What can be paid: prepay ids and the addresses of QR codes and H5 pages -> merchant, order number.
        packages: What can be confirmed: ``package_info`` -> merchant, bill number.
        queue: Ids of the notices to be sent now, those on their way included.
        flying: Deliveries on their way at this moment; no part of a snapshot.
    """

    merchants: dict[str, Merchant] = attrs.field(factory=dict[str, Merchant])
    prepays: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]], repr=False)
    packages: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]], repr=False)
    bills: dict[str, BillLink] = attrs.field(factory=dict[str, BillLink], repr=False)
    pads: dict[str, Pad] = attrs.field(factory=dict[str, Pad], repr=False)
    notices: list[Notice] = attrs.field(factory=list[Notice], repr=False)
    queue: list[str] = attrs.field(factory=list[str])
    attempts: list[NoticeAttempt] = attrs.field(factory=list[NoticeAttempt], repr=False)
    attempt_serial: int = 0
    flying: int = attrs.field(default=0, init=False)

    def notice(self, notice_id: object) -> Notice | None:
        """Find a notice that is still remembered; the wanted ones are near the end."""
        return next((notice for notice in reversed(self.notices) if notice.id == notice_id), None)


def made_up(seed: int, what: str, characters: int = 32) -> str:
    """Make up an obviously worthless key or number of hex digits, always the same one."""
    return hashlib.sha256(f"{seed}|pay|{what}".encode()).hexdigest()[:characters]
