"""``wxmp sim``: the WeChat platform on this machine, until Ctrl-C."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import attrs
from cyclopts import Parameter

from wxmp.cli import INSTALL_HINT, missing_extra
from wxmp.simulator import AddressCheckError, Clock, Policy, Simulator

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["sim"]

SHOWN_OPENIDS = 5
# Signals are noticed by the main thread between two waits; on Windows a wait without an end would never notice.
POLL_SECONDS = 0.5
USAGE_ERROR = 2
TOKEN_VARIABLE = "WXMP_CALLBACK_TOKEN"  # noqa: S105  (a name, not a token)
KEY_VARIABLE = "WXMP_ENCODING_AES_KEY"
RETRY_SECONDS = 0.3


def sim(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    allow_remote: Annotated[bool, Parameter(negative="")] = False,
    appid: str | None = None,
    secret_from_env: str | None = None,
    followers: int = 3,
    speed: float = 1.0,
    seed: int = 1,
    callback: str | None = None,
    mode: Literal["plain", "compatible", "safe"] = "safe",
    format: Literal["xml", "json"] = "xml",
    callback_token_from_env: str | None = None,
    encoding_aes_key_from_env: str | None = None,
    callback_wait: float = 30.0,
    json_line: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Run the simulated platform until Ctrl-C.

    Args:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on; anything but loopback also needs --allow-remote.
        allow_remote: Listen beyond this machine. Whoever reaches the simulator controls it.
        appid: AppID of the account; one is made up by default.
        secret_from_env: Name of an environment variable that holds the account's secret. By default a false one is made
            up and printed. Never use a real secret here.
        followers: How many people follow the account at the start.
        speed: Simulated seconds per real second: 60 lets a token of two hours die after two minutes.
        seed: Source of all made-up ids.
        callback: URL of your own server. It is checked as the platform does, then everything that users do is pushed to
            it.
        mode: How pushes are encrypted: plain, compatible or safe.
        format: Format of the pushes: xml or json.
        callback_token_from_env: Name of an environment variable that holds the Token. By default WXMP_CALLBACK_TOKEN is
            taken if it is set; else a Token is made up and printed.
        encoding_aes_key_from_env: Name of an environment variable that holds the EncodingAESKey. By default
            WXMP_ENCODING_AES_KEY is taken if it is set; else a key is made up and printed.
        callback_wait: Seconds in which your server may come up and pass the check; after that the simulator ends.
        json_line: Print one line of JSON instead of text.
    """
    secret = read_secret(secret_from_env)
    target = (
        None
        if callback is None
        else Target.read(callback, mode, format, callback_token_from_env, encoding_aes_key_from_env, seed)
    )
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    # Warnings go to standard error; what a script reads stands alone on standard output.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        simulator = Simulator(
            policy=target.policy() if target is not None else None,
            clock=Clock.scaled(speed) if speed != 1.0 else Clock.real(),
            seed=seed,
            appid=appid,
            secret=secret,
            followers=followers,
            host=host,
            port=port,
            allow_remote=allow_remote,
        )
        with simulator:
            announce(simulator, secret_from_env, target, as_json=json_line)
            if target is not None:
                connect(simulator, target, stop, callback_wait, as_json=json_line)
            while not stop.wait(POLL_SECONDS):
                pass
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        sys.stderr.write(f"{INSTALL_HINT}\n")
        raise SystemExit(USAGE_ERROR) from None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The simulator cannot start: {error}\n")
        raise SystemExit(1) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@attrs.frozen
class Target:
    """The developer's server: where it is, and the two secrets it shares with the platform."""

    url: str
    mode: Literal["plain", "compatible", "safe"]
    format: Literal["xml", "json"]
    token: str = attrs.field(repr=False)
    key: str | None = attrs.field(repr=False)
    token_name: str | None
    key_name: str | None

    @classmethod
    def read(
        cls,
        url: str,
        mode: Literal["plain", "compatible", "safe"],
        format: Literal["xml", "json"],
        token_from: str | None,
        key_from: str | None,
        seed: int,
    ) -> Target:
        """Read the secrets from the environment, or make false ones up."""
        token_name = token_from or (TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else None)
        key_name = key_from or (KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else None)
        digest = hashlib.sha256(f"callback of simulator {seed}".encode()).digest()
        token = read_secret(token_name) or f"simulated{digest.hex()[:16]}"
        # 43 letters and digits: what base64 makes of 32 bytes, without its two odd characters.
        made_up = base64.b64encode(digest, altchars=b"Aa").decode()[:43]
        key = None if mode == "plain" else read_secret(key_name) or made_up
        return cls(url, mode, format, token, key, token_name, None if mode == "plain" else key_name)

    def policy(self) -> Policy:
        """Return the rules of the simulator: what the operator names may be pushed to."""
        try:
            host = urlsplit(self.url).hostname
        except ValueError:
            host = None
        return Policy(callback_hosts=(host,) if host else ())

    def shown(self) -> dict[str, str | None]:
        """Return what may be printed: secrets only where they were made up here."""
        return {
            "url": self.url,
            "mode": self.mode,
            "format": self.format,
            "token": self.token if self.token_name is None else None,
            "encoding_aes_key": self.key if self.key_name is None else None,
        }


def connect(simulator: Simulator, target: Target, stop: threading.Event, seconds: float, *, as_json: bool) -> None:
    """Let the address pass its check, trying again for a while: the developer's server may start later."""
    deadline = time.monotonic() + seconds
    while not stop.is_set():
        try:
            simulator.set_callback(
                target.url, token=target.token, encoding_aes_key=target.key, mode=target.mode, format=target.format
            )
        except AddressCheckError as error:
            if time.monotonic() >= deadline:
                sys.stderr.write(f"{error}\n")
                raise SystemExit(1) from None
            stop.wait(RETRY_SECONDS)
        else:
            told = json.dumps({"callback": target.url}) if as_json else f"Pushing to {target.url} ({target.mode} mode)."
            sys.stdout.write(f"{told}\n")
            sys.stdout.flush()
            return


def read_secret(name: str | None) -> str | None:
    """Read the secret from an environment variable; arguments would show in the process list."""
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        sys.stderr.write(f"The environment variable {name} is not set.\n")
        raise SystemExit(USAGE_ERROR)
    return value


def announce(simulator: Simulator, secret_from_env: str | None, target: Target | None, *, as_json: bool) -> None:
    """Print where the simulator is and how to use it. A secret that came from outside is not repeated."""
    account, url = simulator.account, simulator.url
    secret = None if secret_from_env is not None else account.secret
    openids = list(account.users)[:SHOWN_OPENIDS]
    if as_json:
        line: dict[str, object] = {
            "url": url,
            "appid": account.appid,
            "secret": secret,
            "openids": openids,
            "pid": os.getpid(),
        }
        if target is not None:
            line["callback"] = target.shown() | {"original_id": account.original_id}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()
        return
    sys.stdout.write(
        f"The simulated WeChat platform is at {url} (Ctrl-C stops it).\n\n"
        f"WXMP_ENDPOINT={url}\n"
        f"WXMP_APPID={account.appid}\n"
        f"WXMP_SECRET={secret if secret is not None else f'${secret_from_env}'}\n"
        f"{callback_lines(target)}\n"
        f"Followers: {len(account.users)}{''.join(f'{chr(10)}  {openid}' for openid in openids)}\n"
        f"What happened so far: {url}/_sim/state and {url}/_sim/journal\n"
    )
    sys.stdout.flush()


def callback_lines(target: Target | None) -> str:
    """Return the variables of the developer's server."""
    if target is None:
        return ""
    token = target.token if target.token_name is None else f"${target.token_name}"
    lines = f"{TOKEN_VARIABLE}={token}\n"
    if target.key is not None:
        lines += f"{KEY_VARIABLE}={target.key if target.key_name is None else f'${target.key_name}'}\n"
    return lines
