"""``wxmp token``: the shared access_token (调用凭据): print it, look at it, replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App

from wxmp.cli._account import AccountOptions, options_of
from wxmp.cli._command import JSON, PLAIN
from wxmp.cli._console import (
    FINDINGS,
    USAGE_ERROR,
    confirm,
    ending,
    print_json,
    run,
    say,
    set_up_logging,
    tell,
)
from wxmp.cli._reach import first_token, in_words, knocking
from wxmp.errcodes import lookup

if TYPE_CHECKING:
    from wxmp.cli._console import Signals
    from wxmp.client import Client
    from wxmp.tokens.keeper import TokenStatus
    from wxmp.tokens.store import TokenRecord

__all__ = ["app", "get", "refresh", "status"]

MEMORY: Final = "memory"
MINUTE: Final = 60
HOUR: Final = 3600

app: App = App(name="token", help="The shared access_token (调用凭据): print it, look at it, replace it.")


@app.command
def get(*, account: AccountOptions | None = None, as_json: Annotated[bool, JSON] = False) -> None:
    """Print the access_token, for a tool that has to call the platform itself.

    It is the one that the whole fleet uses: it comes from the shared store, and the platform is only asked when there
    is none or it is due. Do not keep it: ask again before each use.

    Exit codes: 0 it was printed; 1 the platform, the network or the store failed; 2 the arguments cannot work.

    Args:
        account: The account.
        as_json: Print one line of JSON: the token, its generation, and the seconds that are left.
    """
    set_up_logging()

    async def main(signals: Signals) -> tuple[str, TokenStatus]:
        async with options_of(account).client() as client:
            # A token that was issued and never stored would be lost for everybody.
            with signals.finishing(), in_words(client):
                token = await first_token(client)
            return token, client.token_status()

    with ending(as_json=as_json):
        token, known = run(main)
        warn_of_memory(known, "this token was asked for by this command alone")
        if as_json:
            print_json(
                {
                    "appid": known.appid,
                    "access_token": token,
                    "generation": known.generation,
                    "seconds_left": round(known.seconds_left),
                }
            )
        else:
            say(f"{token}\n")


@app.command
def status(*, account: AccountOptions | None = None, as_json: Annotated[bool, JSON] = False) -> None:
    """Show what the shared store knows: generation, age, what is left, the last error. Never the token itself.

    The platform is not asked, and nothing is changed.

    Exit codes: 0 all is well, or there is no token yet; 1 the store failed; 2 the arguments cannot work; 3 the last
    refresh failed, and nobody may ask the platform for a while.

    Args:
        account: The account.
        as_json: Print one line of JSON.
    """
    set_up_logging()

    async def main(_signals: Signals) -> tuple[TokenStatus, TokenRecord]:
        async with options_of(account).client() as client:
            return client.token_status(), await client.token_keeper().record()

    with ending(as_json=as_json):
        known, record = run(main)
        if known.store == MEMORY:
            tell("The store is memory: each process has its own token, and this one cannot see the others'.")
        if as_json:
            print_json(status_as_json(known, record))
        else:
            say(status_as_text(known, record))
        if record.failure is not None:
            raise SystemExit(FINDINGS)


@app.command
def refresh(
    *,
    account: AccountOptions | None = None,
    yes: Annotated[bool, PLAIN] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Replace the access_token for the whole fleet, now. Meant for one that has leaked, never for a timer.

    The old token dies at once; the fleet finds the new one in the store. The platform allows this 20 times a day, 30
    seconds apart. Tokens that are due renew themselves. On a terminal it asks first.

    Exit codes: 0 it was replaced; 1 the platform, the network or the store failed; 2 the arguments cannot work, or
    you did not want it: nothing was done; 130 and 143 it was interrupted (Ctrl-C, SIGTERM): what was on its way came
    to its end first.

    Args:
        account: The account.
        yes: Do not ask.
        as_json: Print one line of JSON: the new generation, and the seconds that are left.
    """
    set_up_logging()

    async def replace(client: Client, signals: Signals) -> TokenStatus:
        async with client:
            # Cut in two, the old token would be dead and the new one in nobody's hands.
            with signals.finishing(), in_words(client), knocking():
                await client.refresh_token()
                known = client.token_status()
                tell(f"Replaced: generation {known.generation}, good for {spoken(known.seconds_left)}.")
        return known

    with ending(as_json=as_json):
        client = options_of(account).client()
        warn_of_memory(client.token_status(), "the fleet cannot find the new token there")
        question = f"Replace the token of {client.appid}? The old one dies at once; 20 a day, 30 s apart."
        if not confirm(question, yes=yes):
            tell("Nothing was done.")
            if as_json:
                print_json({"appid": client.appid, "refused": True})
            raise SystemExit(USAGE_ERROR)
        known = run(lambda signals: replace(client, signals))
        if as_json:
            print_json(
                {
                    "appid": known.appid,
                    "generation": known.generation,
                    "fingerprint": known.fingerprint,
                    "seconds_left": round(known.seconds_left),
                }
            )


def warn_of_memory(known: TokenStatus, what: str) -> None:
    """Say what a store of this process alone means."""
    if known.store != MEMORY:
        return
    tell(f"Warning: the token store is memory: and {what}.")
    if known.channel == "plain":
        tell("On the plain channel that ended the token of everybody else: set WXMP_TOKEN_STORE to the fleet's store.")
    else:
        tell("Set WXMP_TOKEN_STORE, or --token-store, to the store that the fleet shares.")


def status_as_json(known: TokenStatus, record: TokenRecord) -> dict[str, object]:
    """Return what ``--json`` prints."""
    token, failure = record.token, record.failure
    return {
        "appid": known.appid,
        "channel": known.channel,
        "store": known.store,
        "generation": token.generation if token is not None else 0,
        "age": round(token.life - token.left) if token is not None else None,
        "seconds_left": round(token.left) if token is not None else 0,
        "refreshing": record.lease_left > 0,
        "failure": None
        if failure is None
        else {"errcode": failure.code, "in_a_row": failure.count, "cool_down": round(failure.cool_down, 1)},
    }


def status_as_text(known: TokenStatus, record: TokenRecord) -> str:
    """Return what a person wants to know."""
    token, failure = record.token, record.failure
    lines = [f"{known.appid}, {known.channel} channel, store: {known.store}"]
    if token is None:
        lines.append("  token        none: the next call fetches one")
    else:
        lines += [
            f"  generation   {token.generation}",
            f"  age          {spoken(token.life - token.left)}",
            f"  left         {spoken(token.left)} of {spoken(token.life)}",
        ]
    if record.lease_left > 0:
        lines.append("  refresh      under way")
    if failure is None:
        lines.append("  last error   none")
    else:
        lines.append(f"  last error   {failed(failure.code)}")
        lines.append(f"  failures     {failure.count} in a row; not asked again for {spoken(failure.cool_down)}")
    return "".join(f"{line}\n" for line in lines)


def failed(code: int) -> str:
    """Return a failure in a few words."""
    if not code:
        return "no usable answer of the platform"
    return f"{code} ({lookup(code).meaning})"


def spoken(seconds: float) -> str:
    """Return a duration as people say it."""
    whole = max(round(seconds), 0)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
