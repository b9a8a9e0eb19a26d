"""The settings of WeChat Pay, as far as they can be judged without a request."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from wxmp.cli._doctor_case import SkippedError
from wxmp.cli._doctor_report import Finding
from wxmp.cli._doctor_settings import widely_readable
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from wxmp.cli._doctor_case import Case

__all__ = ["check_pay"]

_SERIAL: Final = re.compile(r"[0-9A-F]{40}")
MERCHANT: Final = "微信支付商户平台 → 账户中心 → API安全"


async def check_pay(case: Case) -> list[Finding]:
    """Make the client of the environment; look at the files of keys. Nothing is sent."""
    if not any(name.startswith("WXMP_PAY_") and value for name, value in case.variables.items()):
        raise SkippedError("no WXMP_PAY_* variable is set")
    findings: list[Finding] = []
    try:
        await asyncio.to_thread(_make)
    except ConfigError as error:
        findings.append(
            Finding(
                "error",
                str(error),
                "The pay client cannot be made with these settings: the service does not start.",
                f"Correct what is named; keys and certificates are under {MERCHANT}.",
            )
        )
    serial = case.variables.get("WXMP_PAY_SERIAL", "")
    if serial and "-----BEGIN" not in serial and not _SERIAL.fullmatch(serial):
        findings.append(
            Finding(
                "warning",
                f"WXMP_PAY_SERIAL does not have the usual form ({len(serial)} characters)",
                "The serial of a merchant certificate is 40 of the signs 0-9 A-F, in capitals.",
                "openssl x509 -in apiclient_cert.pem -noout -serial",
            )
        )
    path = case.variables.get("WXMP_PAY_PRIVATE_KEY_FILE", "")
    if path and widely_readable(path):
        findings.append(
            Finding(
                "warning",
                f"{path} can be read by other users of this machine",
                "Whoever has the merchant's private key can pay out in its name.",
                f"chmod 600 {path}",
            )
        )
    if not findings:
        mchid = case.variables.get("WXMP_PAY_MCHID", "")
        findings.append(Finding("ok", f"Merchant {mchid}: the keys can be read and used; nothing was sent"))
    return findings


def _make() -> None:
    """See that the settings make a client. It reads the environment; a client that was never used needs no closing."""
    from wxmp.pay import PayClient

    PayClient.from_env()
