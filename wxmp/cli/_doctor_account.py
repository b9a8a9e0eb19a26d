"""AppSecret, IP list, token, a call, quota, and who else refreshes: all with the platform, none of it by force.

What the platform is asked: the stable endpoint without ``force_refresh`` (it hands out the token that is valid
anyway), once for the secret, once more for the fleet if its store is empty, once at the end. The plain endpoint is
never asked: that would end somebody's token.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from wxmp._beijing import BEIJING
from wxmp._caller import Caller
from wxmp._redact import Secret, fingerprint
from wxmp._request import Credentials, WireRequest
from wxmp._transport import Transport
from wxmp.api.quota import QuotaAPI
from wxmp.api.server import ServerAPI
from wxmp.cli._doctor_case import SkippedError
from wxmp.cli._doctor_report import Finding
from wxmp.cli._doctor_settings import CONSOLE
from wxmp.cli._reach import first_token
from wxmp.errors import (
    APIError,
    ConfigError,
    DeadTokenError,
    NotAuthorizedError,
    RateLimitError,
    ReplyError,
    TokenStoreError,
    TransportError,
    WxmpError,
)
from wxmp.retry import RetryPolicy
from wxmp.tokens.store import TokenKey

if TYPE_CHECKING:
    from wxmp.cli._doctor_case import Case

__all__ = ["check_call", "check_others", "check_platform", "check_quota", "check_secret", "check_token"]

#: Seconds for one answer of the platform.
ANSWER: Final = 6.0
#: The paths whose counters are read: those of the token, and those that services call most.
STABLE_PATH: Final = "/cgi-bin/stable_token"
PLAIN_PATH: Final = "/cgi-bin/token"
PATHS: Final = (
    STABLE_PATH,
    PLAIN_PATH,
    "/cgi-bin/message/custom/send",
    "/cgi-bin/message/template/send",
    "/cgi-bin/user/info",
)
#: The last part of a day's calls that is worth a word.
LOW: Final = 0.1
#: The stable endpoint rotates in the last five minutes: another token then is no sign of anybody. In seconds.
ROTATION: Final = 330.0
#: A fleet with one store asks some fifteen times a day, and an old service without one a few hundred times.
MANY_FETCHES: Final = 1000

WHO: Final = (
    "Look for another system that has this AppID and AppSecret: an old server that still runs, another SDK, a test "
    "environment, a SaaS, a person with curl. Let one central control fetch (wxmp control, 中控服务器) and all others "
    "ask it, or give all of them the same WXMP_TOKEN_STORE. The last resort: reset the AppSecret, and give it to the "
    "central control only."
)

CAUSES: Final[dict[int, str]] = {
    40001: "The AppSecret is not the one of this AppID.",
    40125: "The AppSecret is not the one of this AppID: it was reset, cut, or is that of another account.",
    40013: "The platform knows no such AppID: a typing error, or one of another kind of account.",
    40164: "This machine's address is not on the IP list of the account. The platform looks at the address that leaves "
    "your network: that of the NAT gateway or the proxy.",
    61004: "This machine's address is not on the IP list of the account.",
    40243: "Somebody has frozen the AppSecret in the console.",
    41004: "No AppSecret arrived at the platform.",
    45009: "The calls of today are used up.",
    45011: "Too many calls within this minute.",
    50004: "The platform has closed token requests to this account, perhaps as a penalty.",
    50007: "The account is frozen.",
    89501: "The platform waits for the administrator, who has been asked about this machine.",
    89503: "A new machine asks, and the platform has just asked the administrator about it.",
    89506: "The administrator has refused this machine: blocked for a day.",
    89507: "The administrator has refused this machine: blocked for an hour.",
    -1: "The platform is busy.",
}


class _OneToken:
    """A token that is used as it is: a refusal is told, not mended."""

    def __init__(self, value: str) -> None:
        self._value = Secret(value)

    def peek(self) -> Secret | None:
        return self._value

    async def get(self) -> Secret:
        return self._value

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        return False

    def penalise(self, path: str) -> None:
        pass


class _Line:
    """Calls with one token, each made once."""

    def __init__(self, case: Case, token: str) -> None:
        self._transport = Transport(base_url=case.endpoint, timeout=ANSWER, proxy=case.proxy)
        self.caller = Caller(
            appid=case.appid,
            secret=_no_secret,
            transport=self._transport,
            tokens=_OneToken(token),
            retry=RetryPolicy(attempts=1),
            mp_origin=case.endpoint,
        )

    async def __aenter__(self) -> Caller:
        return self.caller

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()


def _no_secret() -> Secret:
    raise ConfigError("nothing here needs the AppSecret", field="secret")


# ---- the secret


async def check_secret(case: Case) -> list[Finding]:
    """Ask the stable endpoint for the token that is valid: it needs AppSecret and address, and changes nothing."""
    case.need("network")
    if case.client is None:
        raise SkippedError("needs “Settings”, which is not in order")
    if not (case.variables.get("WXMP_SECRET") or case.variables.get("WXMP_SECRET_FILE")):
        raise SkippedError("this process has no AppSecret; the control server does")
    try:
        await _issue(case)
    except APIError as error:
        return [_refusal(error, case)]
    except (TransportError, ReplyError, ConfigError) as error:
        return [_no_answer(error)]
    return [Finding("ok", "The platform takes AppID, AppSecret and the address of this machine")]


async def _issue(case: Case) -> str:
    """Return what the stable endpoint hands out, without force."""
    if case.client is None:
        raise ConfigError("there is no client", field="client")
    # The client's own connection and reading of the answer: what is tried out is what the fleet uses.
    grant = await case.client._fetch_stable(force=False)  # noqa: SLF001 - same package
    value = grant.value.reveal()
    case.hidden.add(value)
    case.issued, case.issued_left = value, grant.life
    case.issued_at = asyncio.get_running_loop().time()
    return value


def _refusal(error: APIError, case: Case) -> Finding:
    found = f"the platform refuses: errcode {error.errcode} ({error.errmsg or error.message})"
    if error.rid:
        found += f", rid {error.rid}"
    cause = CAUSES.get(error.errcode, f"The platform says: {error.message}.")
    remedy = error.advice
    if isinstance(error, RateLimitError) and error.scope == "day":
        remedy = f"{_reset_text(case)} {remedy}"
    elif error.errcode == 40001:
        remedy = f"Copy the AppSecret again, or reset it, under {CONSOLE} → 开发者密码."
    return Finding("error", found, cause, remedy or f"Look the code up in 全局返回码, and look into {CONSOLE}.")


def _reset_text(case: Case) -> str:
    now = datetime.now(UTC) + timedelta(seconds=case.ahead or 0.0)
    here = now.astimezone(BEIJING)
    midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    left = midnight - here
    hours, minutes = divmod(int(left.total_seconds()) // 60, 60)
    return f"The counters start again at midnight in Beijing, in {hours} h {minutes:02d} min."


def _no_answer(error: WxmpError) -> Finding:
    if isinstance(error, ReplyError):
        return Finding(
            "error",
            f"the answer cannot be read: {error}",
            "Something between here and the platform answers in its place, or cuts answers.",
            "Check WXMP_ENDPOINT and what stands in between (proxy, gateway).",
        )
    return Finding(
        "error",
        f"no answer: {error}",
        "The way to the platform broke between two requests.",
        "Run this again; if it stays, look at the network of this machine.",
    )


# ---- the token of the fleet


async def check_token(case: Case) -> list[Finding]:
    """Get the token as a process of the fleet would: from the store, and from the platform only if there is none."""
    if case.client is None:
        raise SkippedError("needs “Settings”, which is not in order")
    stored = case.record.token if case.record is not None else None
    if case.channel == "plain":
        if stored is None:
            raise SkippedError(
                "the store holds no token of the plain channel; fetching one would end the token of whoever has it"
            )
        case.token = stored.value
        return [_usable(case, stored.left, "from the store")]
    if stored is None:
        case.need("secret", "network")
    try:
        case.token = await first_token(case.client)
    except APIError as error:
        if case.issued and stored is None:
            case.token = case.issued
            return [_still_waiting(case, error)]
        case.token = stored.value if stored is not None else ""
        return [_refusal(error, case)]
    except TokenStoreError as error:
        # What is wrong with the store stands there; a fetched token says as much about the account.
        if case.issued:
            case.token = case.issued
            return [Finding("ok", f"Taken from the platform, for the store does not answer ({error.store})")]
        raise SkippedError("needs “Token store”, which is not in order") from None
    except (TransportError, ReplyError) as error:
        if case.issued and stored is None and _cooling(case):
            case.token = case.issued
            return [_still_waiting(case, error)]
        return [_no_answer(error)]
    except ConfigError as error:
        return [_no_answer(error)]
    case.hidden.add(case.token)
    status = case.client.token_status()
    return [_usable(case, status.seconds_left, "from the store" if stored is not None else "from the platform")]


def _cooling(case: Case) -> bool:
    return case.record is not None and case.record.failure is not None


def _still_waiting(case: Case, error: APIError | TransportError | ReplyError) -> Finding:
    """The platform has just said yes to us, and the fleet still remembers a no."""
    failure = case.record.failure if case.record is not None else None
    wait = f"{failure.cool_down:.0f} s" if failure is not None else "some seconds"
    why = f"was refused with {error.errcode}" if isinstance(error, APIError) else "got no usable answer"
    return Finding(
        "warning",
        f"the fleet does not ask for a token for another {wait}: its last try {why}",
        "After a failure all processes wait together. The platform says yes by now, see “AppSecret and IP list”.",
        "Wait: services recover by themselves. Whoever cannot wait runs wxmp token refresh, which forces one.",
    )


def _usable(case: Case, left: float, where: str) -> Finding:
    return Finding("ok", f"Taken {where}: {fingerprint(case.token)} (fingerprint), {left:.0f} s left")


async def check_call(case: Case) -> list[Finding]:
    """Make one light call with the token."""
    case.need("network")
    if not case.token:
        raise SkippedError("there is no token to call with")
    async with _Line(case, case.token) as caller:
        try:
            found = await ServerAPI(caller).list_api_ips()
        except DeadTokenError as error:
            if await _differs(case, case.token):
                return [Finding("ok", "The fleet has replaced its token at this very moment: run this again to try it")]
            case.dead = error.errcode
            return [
                Finding(
                    "error",
                    f"the platform refuses the fleet's token: {error.errcode} ({error.errmsg or error.message})",
                    "It was replaced by another one before its time, see “Who else refreshes”.",
                    "The next call of a service replaces it by itself. Find who ended it, or it happens again.",
                )
            ]
        except APIError as error:
            return [_refusal(error, case)]
        except (TransportError, ReplyError) as error:
            return [_no_answer(error)]
    return [Finding("ok", f"GET /cgi-bin/get_api_domain_ip works ({len(found)} addresses)")]


# ---- quota


async def check_quota(case: Case) -> list[Finding]:
    """Read today's counters of a few paths. Each look is a call, too."""
    case.need("call")
    async with _Line(case, case.token) as caller:
        quota = QuotaAPI(caller)
        answers = await asyncio.gather(*(quota.get(path) for path in PATHS), return_exceptions=True)
    findings: list[Finding] = []
    lines: list[str] = []
    for path, answer in zip(PATHS, answers, strict=True):
        short = path.removeprefix("/cgi-bin/")
        if isinstance(answer, NotAuthorizedError):
            continue
        if isinstance(answer, RateLimitError):
            return [_refusal(answer, case)]
        if isinstance(answer, WxmpError):
            lines.append(f"{short}: cannot be read ({getattr(answer, 'errcode', type(answer).__name__)})")
            continue
        if isinstance(answer, BaseException):
            raise answer
        left, limit = answer.quota.remain, answer.quota.daily_limit
        case.used[path] = answer.quota.used
        if limit > 0 and left <= 0:
            findings.append(
                Finding(
                    "error",
                    f"{short}: all {limit} calls of today are used up",
                    "Every further call is refused with 45009.",
                    f"{_reset_text(case)} Or clear all counters: client.quota.clear(), 10 times a month, shared with "
                    "the button in the console; without a token client.quota.clear_with_secret(). Then find what "
                    "calls so often.",
                )
            )
        elif limit > 0 and left < limit * LOW:
            findings.append(
                Finding(
                    "warning",
                    f"{short}: {left} of {limit} calls are left today",
                    "More than nine tenths are used.",
                    f"{_reset_text(case)} Find what calls so often.",
                )
            )
        else:
            lines.append(f"{short}: {answer.quota.used} of {limit} used")
    if lines:
        findings.append(Finding("ok", "; ".join(lines)))
    if not findings:
        raise SkippedError("this account may not read its counters (only verified accounts may)")
    return findings


# ---- who else


async def check_others(case: Case) -> list[Finding]:
    """Look for a second system that replaces the token."""
    case.need("network")
    if case.store_kind == "control" and not case.issued:
        return await _ask_control(case)
    if not case.token and (not case.issued or case.channel == "plain"):
        raise SkippedError("there is no token to compare")
    findings: list[Finding] = []
    stored = case.record.token if case.record is not None else None
    if case.dead and stored is not None:
        findings.append(_died(case, stored.left))
    elif case.dead:
        findings.append(
            Finding(
                "error",
                f"a token that was fetched a moment ago is refused ({case.dead})",
                "Another system forces a refresh right now, again and again.",
                WHO,
            )
        )
    if case.channel == "stable" and case.issued:
        first, left = case.issued, case.issued_left
        young = stored is None or stored.left > ROTATION
        await _watch(case)
        value = await _again(case)
        if value is not None and value != first and left > ROTATION:
            mine = await _stored_now(case)
            if mine != value:
                findings.append(
                    Finding(
                        "error",
                        f"the platform's token changed within {case.watch:g} s, long before its end",
                        "Another system forces a refresh (force_refresh=true) at this moment, and ends the fleet's "
                        "token each time.",
                        WHO,
                    )
                )
        elif young and not case.dead and case.token not in ("", first) and await _differs(case, first):
            findings.append(
                Finding(
                    "error",
                    "the stable endpoint hands out another token than the one the fleet uses",
                    "Another system has forced a refresh (force_refresh=true), or the fleet's store belongs to another "
                    "environment.",
                    WHO,
                )
            )
    findings += _by_counters(case)
    if case.store_kind == "control":
        findings += await _ask_control(case)
    if not any(finding.status in ("error", "warning") for finding in findings):
        findings.insert(0, Finding("ok", _nobody(case)))
    return findings


def _nobody(case: Case) -> str:
    if case.channel == "plain":
        return "The stored token works: nobody has ended it so far. More cannot be seen without fetching one"
    if not case.issued or not case.token:
        return "Nothing to be seen: the platform's token and the fleet's could not be compared"
    return f"Nobody: the token in use is the platform's own{f', watched for {case.watch:g} s' if case.watch else ''}"


def _died(case: Case, left: float) -> Finding:
    found = f"the stored token is refused ({case.dead}) although it has {left:.0f} s left"
    if case.channel == "plain":
        cause = "Another system has fetched on the plain endpoint (/cgi-bin/token): each fetch ends the token before."
    elif case.issued and case.issued != case.token:
        cause = (
            "The platform has another one: another system has forced a refresh (force_refresh=true) with this AppID."
        )
    else:
        cause = "Another system has replaced it, or the AppSecret was reset."
    return Finding("error", found, cause, WHO)


async def _watch(case: Case) -> None:
    rest = case.issued_at + case.watch - asyncio.get_running_loop().time()
    if rest > 0:
        await asyncio.sleep(rest)


async def _again(case: Case) -> str | None:
    try:
        return await _issue(case)
    except WxmpError:
        return None  # what is wrong with asking is told elsewhere


async def _stored_now(case: Case) -> str:
    """What the store holds by now: the fleet itself may have replaced its token meanwhile."""
    if case.client is None:
        return ""
    try:
        record = await case.client._store.read(TokenKey(case.appid, case.channel))  # noqa: SLF001 - same package
    except WxmpError:
        return ""
    if record.token is None:
        return ""
    case.hidden.add(record.token.value)
    return record.token.value


async def _differs(case: Case, issued: str) -> bool:
    return await _stored_now(case) not in ("", issued)


def _by_counters(case: Case) -> list[Finding]:
    """What the counters of the token endpoints give away."""
    findings: list[Finding] = []
    plain, stable = case.used.get(PLAIN_PATH, 0), case.used.get(STABLE_PATH, 0)
    if case.channel == "stable" and plain > 0:
        findings.append(
            Finding(
                "warning",
                f"{plain} token{'s were' if plain > 1 else ' was'} fetched today on the plain endpoint "
                "(/cgi-bin/token), which wxmp does not use here",
                "Another system shares this AppID. The two channels do not end each other's tokens, so it does no harm "
                "to this fleet; two of that kind do harm to each other.",
                WHO,
            )
        )
    if stable > MANY_FETCHES:
        findings.append(
            Finding(
                "warning",
                f"the stable endpoint was asked {stable} times today",
                "A fleet with one store asks some fifteen times. Somebody asks without keeping the answer.",
                "Give every process the same WXMP_TOKEN_STORE, and look for memory: in their settings.",
            )
        )
    return findings


async def _ask_control(case: Case) -> list[Finding]:
    """Ask the control server what it has seen, if the key may."""
    address = case.store_url.partition(":")[2].split(",")[0].rstrip("/")
    try:
        transport = Transport(base_url=address, timeout=ANSWER)
    except ConfigError as error:
        return [Finding("ok", f"The control server was not asked: {error}")]
    key = Secret(f"Bearer {case.variables.get('WXMP_CONTROL_KEY', '')}")
    try:
        reply = await transport.send(
            WireRequest("GET", "/v1/status", credentials=Credentials(headers={"Authorization": key}))
        )
        values = json.loads(reply.content).get("values", []) if reply.status == 200 else []
    except (WxmpError, ValueError, AttributeError) as error:
        return [Finding("ok", f"The control server does not tell its status ({type(error).__name__})")]
    finally:
        await transport.aclose()
    if reply.status != 200:
        return [Finding("ok", "This key may not see the control server's status: a key with --status would")]
    for value in values:
        if value.get("appid") != case.appid or value.get("kind") != "access_token":
            continue
        early = int(value.get("another_system", {}).get("early_deaths_24h", 0))
        if early:
            return [
                Finding(
                    "error",
                    f"the control server saw {early} token{'s' if early > 1 else ''} die early within 24 hours",
                    "A token does not die early by itself: another system fetches tokens of this AppID.",
                    WHO,
                )
            ]
        return [Finding("ok", "The control server has seen no token die early within 24 hours")]
    return [Finding("ok", "The control server says nothing about this account")]


# ---- the platform's look at the callback


async def check_platform(case: Case) -> list[Finding]:
    """Let the platform resolve and ping the address that the console has."""
    if not case.callback:
        raise SkippedError("no callback URL is given")
    case.need("call")
    async with _Line(case, case.token) as caller:
        try:
            check = await ServerAPI(caller).check_callback()
        except APIError as error:
            if error.errcode == 40201:
                return [
                    Finding(
                        "warning",
                        "the console has no callback URL for this account (40201)",
                        "Nothing is pushed anywhere until it has one, and it is enabled (启用).",
                        f"Enter the URL under {CONSOLE} → 服务器配置, and enable it.",
                    )
                ]
            if isinstance(error, NotAuthorizedError):
                raise SkippedError("this account may not use callback/check") from None
            return [_refusal(error, case)]
        except (TransportError, ReplyError) as error:
            return [_no_answer(error)]
    lost = [ping.ip for ping in check.ping if ping.package_loss not in (None, "0%")]
    if lost:
        return [
            Finding(
                "warning",
                f"the platform's ping to {', '.join(lost)} is lost",
                "The platform cannot reach that address, or ping (ICMP) is blocked there, which is harmless.",
                "See that ports 80 and 443 are open to the world; pushes matter, ping does not.",
            )
        ]
    found = ", ".join(dict.fromkeys(entry.ip for entry in check.dns)) or "no address"
    return [Finding("ok", f"The platform resolves the URL of the console to {found} and reaches it")]
