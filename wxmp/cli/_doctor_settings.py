"""The settings of an account, before anything is sent: what is missing, what cannot work, who else can read it."""

from __future__ import annotations

import difflib
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxmp._hosts import is_loopback
from wxmp._proxy import proxy_from_env
from wxmp.cli._doctor_report import Finding
from wxmp.client import Client
from wxmp.errors import ConfigError
from wxmp.webhook.app import dedupe_from_env
from wxmp.webhook.crypto import check_key, check_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.cli._doctor_case import Case

__all__ = ["CONSOLE", "check_settings", "widely_readable"]

#: Where the settings of an account stand.
CONSOLE: Final = "微信公众平台 → 设置与开发 → 基本配置"

_APPID: Final = re.compile(r"wx[0-9a-f]{16}")
#: Signs that a tool has left around a value.
QUOTES: Final = "\"'"
_SECRET: Final = re.compile(r"[0-9a-fA-F]{32}")
#: What the names of the callback's variables begin with.
CALLBACK: Final = ("WXMP_CALLBACK_", "WXMP_ENCODING_", "WXMP_DEDUPE")
#: What this package reads.
KNOWN: Final = frozenset(
    {
        *("WXMP_APPID", "WXMP_SECRET", "WXMP_SECRET_FILE", "WXMP_ENDPOINT", "WXMP_TOKEN_STORE", "WXMP_CONTROL_KEY"),
        *("WXMP_TOKEN_CHANNEL", "WXMP_PROXY"),
        *("WXMP_CALLBACK_URL", "WXMP_CALLBACK_TOKEN", "WXMP_ENCODING_AES_KEY", "WXMP_CALLBACK_MODE"),
        "WXMP_DEDUPE",
        *("WXMP_PAY_MCHID", "WXMP_PAY_SERIAL", "WXMP_PAY_PRIVATE_KEY", "WXMP_PAY_PRIVATE_KEY_FILE"),
        *("WXMP_PAY_API_V3_KEY", "WXMP_PAY_PREVIOUS_API_V3_KEY", "WXMP_PAY_APPID", "WXMP_PAY_PUBLIC_KEY"),
        *("WXMP_PAY_PUBLIC_KEY_FILE", "WXMP_PAY_PUBLIC_KEY_ID", "WXMP_PAY_ENDPOINT", "WXMP_PAY_NOTIFY_URL"),
    }
)


async def check_settings(case: Case) -> list[Finding]:
    """Look at the variables; make the client that the other checks use."""
    findings = [*_forms(case), *_appid(case), *_secret(case), *_endpoint(case), *_proxy(case)]
    # What is wrong with the callback keeps no client from being made, and nothing else from being looked at.
    callback = [*_forms(case, of_callback=True), *_callback(case), *_dedupe(case)]
    if not any(finding.status == "error" for finding in findings):
        try:
            case.client = Client.from_env(environ=case.variables)
        except ConfigError as error:
            findings.append(_refused(error))
        except (OSError, ValueError, ImportError) as error:
            findings.append(
                Finding(
                    "error",
                    f"WXMP_TOKEN_STORE: {type(error).__name__}",
                    "The address of the store cannot be used.",
                    "Write it as redis://:PASSWORD@HOST:6379/0 with the password percent-encoded.",
                )
            )
    else:
        findings += _store_form(case)
    findings += callback
    if not any(finding.status == "error" for finding in findings):
        source = "WXMP_SECRET" if case.variables.get("WXMP_SECRET") else "WXMP_SECRET_FILE"
        if not case.variables.get(source):
            source = "the control server only"
        findings.insert(0, Finding("ok", f"AppID {case.appid}, AppSecret from {source}, tokens in {_place(case)}"))
    return findings


def _place(case: Case) -> str:
    if case.store_kind == "redis":
        parts = urlsplit(case.store_url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or parts.path}{port}"
    return case.store_url if case.store_kind in ("file", "control") else "memory"


def _forms(case: Case, *, of_callback: bool = False) -> Iterator[Finding]:
    """What is wrong with a variable, whatever it says: those of the callback, or all others."""
    for name, value in sorted(case.variables.items()):
        if not name.startswith("WXMP_") or not value or name.endswith(("_PRIVATE_KEY", "_PUBLIC_KEY")):
            continue
        if name.startswith(CALLBACK) is not of_callback:
            continue
        if value != value.strip() or value[0] in QUOTES or value[-1] in QUOTES:
            yield Finding(
                "error",
                f"{name} has quotation marks, blanks or a line break around its value",
                "Some tools that read a .env file (docker --env-file, systemd) keep them as part of the value; a "
                "secret that comes from a file often ends in a line break.",
                f"Write {name}=value, with nothing before and behind the value.",
            )
    if of_callback:
        return
    for name in sorted(set(case.variables) - KNOWN):
        if not name.upper().startswith("WXMP_"):
            continue
        near = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.85)
        if near and not case.variables.get(near[0]):
            yield Finding(
                "warning",
                f"{name} is set, but nothing reads it",
                f"It looks like {near[0]}, which is not set.",
                f"Rename it to {near[0]}.",
            )


def _appid(case: Case) -> Iterator[Finding]:
    appid = case.appid
    if not appid:
        yield Finding(
            "error",
            "WXMP_APPID is not set",
            "Without it nobody knows which account this is.",
            f"Set WXMP_APPID to the AppID (开发者ID) of {CONSOLE}.",
        )
    elif appid.startswith("gh_"):
        yield Finding(
            "error",
            "WXMP_APPID holds an original ID (gh_...)",
            "The original ID (原始ID) names the account in pushes; calls want the AppID.",
            f"Set WXMP_APPID to the AppID of {CONSOLE}; it begins with wx.",
        )
    elif not _APPID.fullmatch(appid):
        yield Finding(
            "warning",
            f"WXMP_APPID does not have the form of an AppID ({len(appid)} characters)",
            "An AppID is wx and 16 of the signs 0-9 a-f, in small letters."
            + (" This looks like an AppSecret." if _SECRET.fullmatch(appid) else ""),
            f"Compare it with the AppID of {CONSOLE}.",
        )


def _secret(case: Case) -> Iterator[Finding]:
    value, path = case.variables.get("WXMP_SECRET", ""), case.variables.get("WXMP_SECRET_FILE", "")
    if value and path:
        yield Finding(
            "error",
            "both WXMP_SECRET and WXMP_SECRET_FILE are set",
            "Which of the two counts is a question nobody should have to ask: neither is taken.",
            "Unset one of them; the file is the safer one.",
        )
        return
    if not value and not path:
        if case.store_kind != "control":
            yield Finding(
                "error",
                "neither WXMP_SECRET nor WXMP_SECRET_FILE is set",
                "Without the AppSecret no token can be asked for.",
                f"Take it from {CONSOLE} → 开发者密码, put it into a file of mode 0600, name the file in "
                "WXMP_SECRET_FILE.",
            )
        return
    if path:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it holds no text in UTF-8"
            yield Finding(
                "error",
                f"WXMP_SECRET_FILE: {path} cannot be read: {reason}",
                "The service has no AppSecret and cannot start.",
                f"Check the path and its owner: ls -l {path} (this runs as user {_user()}).",
            )
            return
        case.hidden.add(value)
        if not value:
            yield Finding(
                "error",
                f"WXMP_SECRET_FILE: {path} is empty",
                "The secret was not written, or not mounted.",
                "Write the AppSecret into it, on one line.",
            )
            return
        if widely_readable(path):
            yield Finding(
                "warning",
                f"{path} can be read by other users of this machine",
                "Whoever has the AppSecret is the account.",
                f"chmod 600 {path}",
            )
    value = value.strip(f"{QUOTES} \t\r\n")  # what stands around it is told already
    if len(value) != 32 or (not case.simulated and not _SECRET.fullmatch(value)):
        yield Finding(
            "warning",
            f"the AppSecret does not have the usual form ({len(value)} characters)",
            "An AppSecret is 32 of the signs 0-9 a-f: it was cut, or it is another secret.",
            f"Copy it again, or reset it: {CONSOLE} → 开发者密码.",
        )


def _endpoint(case: Case) -> Iterator[Finding]:
    try:
        parts = urlsplit(case.endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.username:
        yield Finding(
            "error",
            "WXMP_ENDPOINT is no address of the form https://host",
            "Nothing can be sent to it.",
            "Unset it for production, or take the address that wxmp sim prints.",
        )
    elif parts.scheme == "http" and not is_loopback(host):
        yield Finding(
            "error",
            f"WXMP_ENDPOINT goes to {host} without TLS",
            "Everybody on the way would read the tokens, so the client refuses it.",
            "Use https://; plain http is for a simulator on this machine.",
        )


def _proxy(case: Case) -> Iterator[Finding]:
    try:
        proxy_from_env(case.variables, "WXMP_PROXY")
    except ConfigError:
        yield Finding(
            "error",
            "WXMP_PROXY is no address of the form http://host:port",
            "Nothing can be sent through it, and nothing is sent past it.",
            "Write it as http://USER:PASSWORD@HOST:3128, the signs @ : / # ? % in the password percent-encoded; unset "
            "it if there is no proxy. SOCKS is not possible.",
        )


def _callback(case: Case) -> Iterator[Finding]:
    token, key = case.callback_token, case.variables.get("WXMP_ENCODING_AES_KEY", "")
    mode = case.variables.get("WXMP_CALLBACK_MODE", "")
    if token:
        try:
            check_token(token)
        except ConfigError:
            yield Finding(
                "error",
                f"WXMP_CALLBACK_TOKEN does not have the form of a Token ({len(token)} characters)",
                "A Token (令牌) is 3 to 32 letters and digits. It is no access_token and no AppSecret.",
                f"Copy the Token of {CONSOLE} → 服务器配置.",
            )
    if key:
        try:
            check_key(key)
        except ConfigError:
            yield Finding(
                "error",
                f"WXMP_ENCODING_AES_KEY does not have the form of an EncodingAESKey ({len(key)} characters)",
                "It is 43 characters of base64, without the closing “=”.",
                f"Copy the EncodingAESKey (消息加解密密钥) of {CONSOLE} → 服务器配置.",
            )
    if mode not in ("", "plain", "compatible", "safe"):
        yield Finding(
            "error",
            f"WXMP_CALLBACK_MODE is “{mode[:20]}”",
            "It is plain (明文模式), compatible (兼容模式) or safe (安全模式), as set in the console.",
            "Unset it: with an EncodingAESKey the mode is safe, without one plain.",
        )
    elif mode in ("safe", "compatible") and not key:
        yield Finding(
            "error",
            f"WXMP_CALLBACK_MODE is {mode}, but WXMP_ENCODING_AES_KEY is not set",
            "Without the key no push can be opened.",
            f"Set WXMP_ENCODING_AES_KEY to the EncodingAESKey of {CONSOLE} → 服务器配置.",
        )


def _dedupe(case: Case) -> Iterator[Finding]:
    try:
        dedupe_from_env(case.variables, "WXMP_DEDUPE")
    except ConfigError as error:  # it says what, and does not show the address, which may hold a password
        yield Finding(
            "error",
            "WXMP_DEDUPE does not name a store",
            f"{error}; the webhook does not start.",
            "Set it to redis://:PASSWORD@HOST:6379/0, the password percent-encoded, for all workers of the webhook.",
        )


def _store_form(case: Case) -> Iterator[Finding]:
    if case.store_kind not in ("memory", "file", "redis", "control"):
        yield Finding(
            "error",
            "WXMP_TOKEN_STORE does not name a store",
            "It is memory:, file:PATH, redis://…, rediss://…, unix://… or control:https://…",
            "Set WXMP_TOKEN_STORE to one of these; for several machines to redis://HOST:6379/0.",
        )


def _refused(error: ConfigError) -> Finding:
    remedies = {
        "WXMP_TOKEN_STORE": "Set WXMP_TOKEN_STORE to redis://HOST:6379/0, file:/var/lib/app/wxmp or control:https://…",
        "WXMP_CONTROL_KEY": "Make a key with wxmp control key on the control server, and set WXMP_CONTROL_KEY to it.",
        "source": "Write WXMP_TOKEN_STORE as redis://:PASSWORD@HOST:6379/0, the password percent-encoded.",
    }
    return Finding(
        "error",
        str(error),
        "The client cannot be made with these settings: the service does not start.",
        remedies.get(error.field, "Correct the variable that is named, and run this again."),
    )


def widely_readable(path: str) -> bool:
    """Tell whether others than its owner can read a file."""
    if sys.platform == "win32":
        return False
    try:
        return bool(Path(path).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "unknown"
