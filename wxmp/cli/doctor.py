"""``wxmp doctor``: looks at an account as it is deployed, and says what is wrong, why, and what to do."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from wxmp.cli._account import AccountOptions, options_of
from wxmp.cli._command import JSON, PLAIN, OneCommand
from wxmp.cli._console import FAILED, FINDINGS, ending, run, say
from wxmp.cli._doctor_account import (
    check_call,
    check_others,
    check_platform,
    check_quota,
    check_secret,
    check_token,
)
from wxmp.cli._doctor_callback import check_callback, check_push, check_signature
from wxmp.cli._doctor_case import Case, SkippedError
from wxmp.cli._doctor_network import check_clock, check_network
from wxmp.cli._doctor_pay import check_pay
from wxmp.cli._doctor_report import CHECKS, Check, Finding, as_json, as_text, summary
from wxmp.cli._doctor_settings import check_settings
from wxmp.cli._doctor_store import check_store
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["app", "doctor"]

#: Seconds for everything.
TIMEOUT: Final = 28.0
#: Seconds for one check, unless it is given more.
ONE_CHECK: Final = 12.0
#: Seconds that closing may take.
CLOSING: Final = 2.0

app: OneCommand = OneCommand(name="doctor")


@app.default
def doctor(
    account: AccountOptions | None = None,
    *,
    callback: str | None = None,
    original_id: str | None = None,
    no_push: Annotated[bool, PLAIN] = False,
    token_channel: Literal["stable", "plain"] | None = None,
    watch: float = 2.0,
    timeout: float = TIMEOUT,
    as_json_line: Annotated[bool, JSON] = False,
) -> None:
    """Check an account as it is deployed here, and say for each problem its cause and what to do.

    Run it where the service runs, with the service's environment. It refreshes no token by force and changes nothing.
    The callback's Token and EncodingAESKey come from WXMP_CALLBACK_TOKEN and WXMP_ENCODING_AES_KEY.

    Exit codes: 0 all is well (there may be warnings); 3 a problem was found; 2 the options cannot work; 1 the doctor
    itself failed; 130 interrupted.

    Args:
        account: The account.
        callback: The callback URL (服务器地址), instead of WXMP_CALLBACK_URL.
        original_id: Original id of the account (gh_...), for a server that checks it.
        no_push: Send no push to the callback URL; its EncodingAESKey is then not tried.
        token_channel: The endpoint the fleet fetches its tokens from, instead of WXMP_TOKEN_CHANNEL. The plain one
            is never asked by the doctor.
        watch: Seconds to look whether another system replaces the token.
        timeout: Seconds for everything.
        as_json_line: Print one line of JSON instead of text.
    """
    with ending(as_json=as_json_line):
        case = _case(
            options_of(account),
            callback=callback,
            original_id=original_id or "",
            push=not no_push,
            channel=token_channel,
            watch=watch,
            timeout=timeout,
        )
        examination = Examination(case, timeout=timeout, told=not as_json_line)
        run(lambda _: examination.run())
    raise SystemExit(examination.tell(as_json_line=as_json_line))


def _case(
    account: AccountOptions,
    *,
    callback: str | None,
    original_id: str,
    push: bool,
    channel: str | None,
    watch: float,
    timeout: float,
) -> Case:
    if not 0 < timeout <= 600:
        raise ConfigError("--timeout must be seconds above 0, 600 at most", field="timeout")
    if not 0 <= watch <= timeout - 1:
        raise ConfigError("--watch must be seconds, and less than --timeout by one at least", field="watch")
    variables = account.environ()
    # The client has to have the same, or it would ask the plain endpoint.
    variables["WXMP_TOKEN_CHANNEL"] = channel or variables.get("WXMP_TOKEN_CHANNEL") or "stable"
    case = Case(
        variables=variables,
        callback=(callback if callback is not None else variables.get("WXMP_CALLBACK_URL", "")).strip(),
        original_id=original_id,
        push=push,
        channel=variables["WXMP_TOKEN_CHANNEL"],
        watch=watch,
    )
    case.hide_settings()
    return case


class Examination:
    """All checks of one account: those that need nothing of each other run side by side."""

    def __init__(self, case: Case, *, timeout: float, told: bool) -> None:
        self._case = case
        self._timeout = timeout
        self._told = told
        self._pending = list(CHECKS)
        self._deadline = 0.0
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.started: float = time.monotonic()

    async def run(self) -> None:
        """Make all checks; tell each as soon as those before it are told."""
        case = self._case
        self._deadline = asyncio.get_running_loop().time() + self._timeout
        if self._told:
            say(f"wxmp doctor: {case.shown_appid or '(no AppID)'} at {case.place}\n\n")
        try:
            await self._make("settings", check_settings)
            await asyncio.gather(
                self._make("network", check_network),
                self._make("store", check_store),
                self._make("pay", check_pay),
            )
            await self._make("clock", check_clock)
            await asyncio.gather(self._ask_platform(), self._ask_server())
        finally:
            await self._close()

    async def _ask_platform(self) -> None:
        await self._make("secret", check_secret)
        await self._make("token", check_token)
        await self._make("call", check_call)
        await asyncio.gather(self._make("quota", check_quota), self._make("platform", check_platform))
        await self._make("others", check_others, ONE_CHECK + self._case.watch)

    async def _ask_server(self) -> None:
        await self._make("callback", check_callback)
        await self._make("signature", check_signature)
        await self._make("push", check_push)

    async def _make(
        self, name: str, check: Callable[[Case], Awaitable[list[Finding]]], limit: float = ONE_CHECK
    ) -> None:
        """Make one check within its time. What goes wrong in it is told like everything else."""
        started = time.monotonic()
        left = min(limit, self._deadline - asyncio.get_running_loop().time())
        broken = False
        try:
            findings = await self._in_time(check, left)
        except SkippedError as reason:
            findings = [Finding("skipped", f"Not looked at: {reason}")]
        except TimeoutError:
            findings = [
                Finding(
                    "error",
                    f"this check did not end within {left:.0f} s",
                    "What it asked takes too long to answer.",
                    "Run it again with a longer --timeout; look at the checks above for what is slow.",
                )
            ]
        except Exception as error:  # noqa: BLE001 - one check that fails must not take the others along
            broken = True
            where = traceback.extract_tb(error.__traceback__)[-1]
            findings = [
                Finding(
                    "error",
                    f"the doctor itself failed: {type(error).__name__} in {Path(where.filename).name}, line "
                    f"{where.lineno}",
                    "This is a mistake in wxmp, not in the account.",
                    "Please report it with the output of wxmp doctor --json.",
                )
            ]
        seconds = time.monotonic() - started
        cleaned = tuple(finding.clean(self._case.hidden) for finding in findings)
        self._case.done[name] = Check(name, cleaned, seconds, broken)
        self._flush()

    async def _in_time(self, check: Callable[[Case], Awaitable[list[Finding]]], left: float) -> list[Finding]:
        if left <= 0:
            raise SkippedError(f"the {self._timeout:g} s of --timeout were over")
        async with asyncio.timeout(left):
            return await check(self._case)

    def _flush(self) -> None:
        while self._pending and self._pending[0] in self._case.done:
            name = self._pending.pop(0)
            if self._told:
                say(as_text(self._case.done[name], colour=self._colour))

    async def _close(self) -> None:
        if self._case.client is None:
            return
        try:
            async with asyncio.timeout(CLOSING):
                await self._case.client.aclose()
        except Exception:  # noqa: BLE001 - everything is told already; a store that is gone cannot be closed
            return

    def tell(self, *, as_json_line: bool) -> int:
        """Write the end; return the exit code."""
        checks = [self._case.done[name] for name in CHECKS]
        seconds = time.monotonic() - self.started
        if as_json_line:
            about: dict[str, object] = {"appid": self._case.shown_appid, "endpoint": self._case.place}
            say(as_json(checks, about=about, seconds=seconds))
        else:
            say("\n" + summary(checks, seconds=seconds, colour=self._colour))
        if any(check.broken for check in checks):
            return FAILED
        return FINDINGS if any(check.status == "error" for check in checks) else 0
