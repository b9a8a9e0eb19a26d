"""What ``wxmp sim`` and ``wxmp sim exec`` have in common: options, and the world they describe."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import attrs
from cyclopts import Parameter

from wxmp.cli import INSTALL_HINT, missing_extra
from wxmp.cli._command import PLAIN
from wxmp.cli._console import FAILED, USAGE_ERROR, set_up_logging
from wxmp.simulator import AddressCheckError, Clock, Policy, Simulator, World, WorldError
from wxmp.simulator.callbacks import CallbackSettings, check_settings
from wxmp.simulator.scenario import Scenario, build, clock_of, load, policy_changes
from wxmp.simulator.snapshots import policy_document, read_policy_document

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

__all__ = ["KEY_VARIABLE", "TOKEN_VARIABLE", "Session", "SimOptions", "Target", "connect", "running"]

TOKEN_VARIABLE: Final = "WXMP_CALLBACK_TOKEN"  # noqa: S105  (a name, not a token)
KEY_VARIABLE: Final = "WXMP_ENCODING_AES_KEY"
RETRY_SECONDS: Final = 0.3
DEFAULT_FOLLOWERS: Final = 3
#: Of a state file: the rules that differ from the defaults, beside the snapshot's own fields.
POLICY_KEY: Final = "policy"
MAX_FILE_BYTES: Final = 1 << 30


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class SimOptions:
    """The world and its server.

    Args:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on; anything but loopback also needs --allow-remote.
        allow_remote: Listen beyond this machine. Whoever reaches the simulator controls it.
        appid: AppID of the account; one is made up by default.
        secret_from_env: Name of an environment variable that holds the account's secret. By default a false one is made
            up and printed. Never use a real secret here.
        followers: How many people follow the account at the start: 3 by default, none with a scenario.
        scenario: YAML file with accounts, people, menus, faults and a timeline.
        state: File that keeps the world and its rules: read at the start if it is there, written at the end. It holds
            the secrets of this world. What a scenario or other options say about people, accounts and rules counts only
            for a new world; --policy counts always.
        policy: NAME=VALUE, may be repeated: changes one rule of the platform, such as token_life=60.
        speed: Simulated seconds per real second: 60 lets a token of two hours die after two minutes.
        frozen: The clock stands still until the page, a scenario or a test moves it.
        seed: Source of all made-up ids: 1 by default, or the scenario's.
        callback: URL of your own server. It is checked as the platform does, then everything that users do is pushed to
            it.
        mode: How pushes are encrypted: plain, compatible or safe.
        format: Format of the pushes: xml or json.
        callback_token_from_env: Name of an environment variable that holds the Token. By default WXMP_CALLBACK_TOKEN is
            taken if it is set; else a Token is made up and printed.
        encoding_aes_key_from_env: Name of an environment variable that holds the EncodingAESKey. By default
            WXMP_ENCODING_AES_KEY is taken if it is set; else a key is made up and printed.
        callback_wait: Seconds in which your server may come up and pass the check; after that the simulator ends.
    """

    port: int = 0
    host: str = "127.0.0.1"
    allow_remote: Annotated[bool, PLAIN] = False
    appid: str | None = None
    secret_from_env: str | None = None
    followers: int | None = None
    scenario: Path | None = None
    state: Path | None = None
    policy: Annotated[tuple[str, ...], PLAIN] = ()
    speed: float | None = None
    frozen: Annotated[bool, PLAIN] = False
    seed: int | None = None
    callback: str | None = None
    mode: Literal["plain", "compatible", "safe"] = "safe"
    format: Literal["xml", "json"] = "xml"
    callback_token_from_env: str | None = None
    encoding_aes_key_from_env: str | None = None
    callback_wait: float = 30.0


@attrs.frozen
class Session:
    """A simulator about to run, and what there is to tell about it.

    Attributes:
        simulator: The simulator.
        target: The developer's server of the options.
        scenario: The scenario.
        secret_name: The environment variable the default account's secret came from.
        continued: Whether the world was read from the state file.
    """

    simulator: Simulator
    target: Target | None
    scenario: Scenario | None
    secret_name: str | None
    continued: bool


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
    def read(cls, url: str, options: SimOptions) -> Target:
        """Read the secrets from the environment, or make false ones up."""
        token_from, key_from = options.callback_token_from_env, options.encoding_aes_key_from_env
        token_name = token_from or (TOKEN_VARIABLE if os.environ.get(TOKEN_VARIABLE) else None)
        key_name = key_from or (KEY_VARIABLE if os.environ.get(KEY_VARIABLE) else None)
        seed = options.seed if options.seed is not None else 1
        digest = hashlib.sha256(f"callback of simulator {seed}".encode()).digest()
        token = read_secret(token_name) or f"simulated{digest.hex()[:16]}"
        # 43 letters and digits: what base64 makes of 32 bytes, without its two odd characters.
        made_up = base64.b64encode(digest, altchars=b"Aa").decode()[:43]
        plain = options.mode == "plain"
        key = None if plain else read_secret(key_name) or made_up
        return cls(url, options.mode, options.format, token, key, token_name, None if plain else key_name)

    @property
    def settings(self) -> CallbackSettings:
        """The server configuration of the account."""
        return CallbackSettings(
            url=self.url, token=self.token, encoding_aes_key=self.key, mode=self.mode, format=self.format
        )

    @property
    def host(self) -> str:
        """The host that may be pushed to, because the operator names it; empty when it cannot be read."""
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""

    def shown(self) -> dict[str, str | None]:
        """Return what may be printed: secrets only where they were made up here."""
        return {
            "url": self.url,
            "mode": self.mode,
            "format": self.format,
            "token": self.token if self.token_name is None else None,
            "encoding_aes_key": self.key if self.key_name is None else None,
        }


def read_secret(name: str | None) -> str | None:
    """Read the secret from an environment variable; arguments would show in the process list."""
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        sys.stderr.write(f"The environment variable {name} is not set.\n")
        raise SystemExit(USAGE_ERROR)
    return value


@contextmanager
def running(options: SimOptions) -> Iterator[Session]:
    """Run the simulator the options describe, and write its state at the end.

    Raises:
        SystemExit: It cannot start, or the state cannot be written; one sentence says why.
    """
    set_up_logging()
    with telling(options):
        session = prepare(options)
        session.simulator.start()
    try:
        yield session
    finally:
        try:
            session.simulator.stop()
        finally:
            # Also where the server does not end in time: what it has is worth keeping.
            if options.state is not None:
                save(session.simulator.world, options.state)


@contextmanager
def telling(options: SimOptions) -> Iterator[None]:
    """Turn what cannot work into one sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        sys.stderr.write(f"{INSTALL_HINT}\n")
        raise SystemExit(USAGE_ERROR) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {options.port} of {options.host} is taken, perhaps by another one; see --port"
        else:
            reason = str(error)
        sys.stderr.write(f"The simulator cannot start: {reason}\n")
        # A file that is not there is the fault of an option.
        raise SystemExit(USAGE_ERROR if error.filename is not None else FAILED) from None
    except ValueError as error:
        sys.stderr.write(f"The simulator cannot start: {error}\n")
        raise SystemExit(USAGE_ERROR) from None


def prepare(options: SimOptions) -> Session:
    """Make the world the options describe."""
    secret = read_secret(options.secret_from_env)
    target = Target.read(options.callback, options) if options.callback is not None else None
    scenario = read_scenario(options.scenario) if options.scenario is not None else None
    secret_name = options.secret_from_env
    if scenario is not None and scenario.accounts:
        if options.appid is not None or secret is not None:
            raise WorldError("the scenario names its accounts; leave --appid and --secret-from-env out")
        secret_name = scenario.accounts[0].secret_variable
    document = read_state(options.state) if options.state is not None else None
    kept = kept_policy(document, options) if document is not None else None
    policy, clock = make_policy(options, scenario, target, kept), make_clock(options, scenario)
    if target is not None:
        check_settings(target.settings, policy.callback_hosts)
    seed = options.seed if options.seed is not None else 1
    if document is not None:
        world = World(policy, clock, seed)
        restore(world, document, options)
    elif scenario is not None:
        world = build(scenario, seed=options.seed, clock=clock, policy=policy, appid=options.appid, secret=secret)
        world.create_followers(options.followers or 0)
    else:
        followers = DEFAULT_FOLLOWERS if options.followers is None else options.followers
        world = World(policy, clock, seed, appid=options.appid, secret=secret, followers=followers)
    simulator = Simulator(world=world, host=options.host, port=options.port, allow_remote=options.allow_remote)
    return Session(simulator, target, scenario, secret_name, continued=document is not None)


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file; what it calls ``${NAME}`` comes from the environment."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise WorldError(f"{path.name} is no text in UTF-8") from None
    return load(text, environ=os.environ, name=path.name)


def make_policy(
    options: SimOptions, scenario: Scenario | None, target: Target | None, kept: Policy | None = None
) -> Policy:
    """Return the rules: those kept in the state file, else the scenario's; then those of the options."""
    policy = kept if kept is not None else scenario.changed() if scenario is not None else Policy()
    if target is not None and target.host and target.host not in policy.callback_hosts:
        policy = attrs.evolve(policy, callback_hosts=(*policy.callback_hosts, target.host))
    if options.policy:
        given = [item.partition("=") for item in options.policy]
        wrong = next((name for name, equals, _value in given if not equals), None)
        if wrong is not None:
            raise WorldError(f"--policy {wrong}: write NAME=VALUE, such as --policy token_life=60")
        policy = policy_changes({name: plain_value(value) for name, _equals, value in given}, policy, "--policy")
    return policy


def plain_value(text: str) -> object:
    """Read the value of an option: JSON where it is some, else a text."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def make_clock(options: SimOptions, scenario: Scenario | None) -> Clock:
    """Return the clock: the options', or the scenario's, or the real one."""
    if options.frozen and options.speed is not None:
        raise WorldError("a frozen clock has no speed; leave one of --frozen and --speed out")
    plan = scenario.clock if scenario is not None else None
    start = plan.start if plan is not None else None
    if options.frozen:
        return Clock.frozen() if start is None else Clock.frozen(start)
    if options.speed is not None:
        return Clock.scaled(options.speed, start=start)
    if plan is None:
        return Clock.real()
    return clock_of(plan)


def read_state(path: Path) -> dict[str, object] | None:
    """Read the state file; ``None`` when there is none yet."""
    if not path.parent.is_dir():
        raise WorldError(f"there is no folder {path.parent} for the state file")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        document: object = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise WorldError(f"{path.name} holds no state of a simulator; choose another --state file")
    return {str(key): value for key, value in document.items()}


def kept_policy(document: dict[str, object], options: SimOptions) -> Policy | None:
    """Return the rules that a state file keeps; ``None`` for a file from before they were kept."""
    values = document.get(POLICY_KEY)
    if values is None:
        return None
    name = options.state.name if options.state is not None else ""
    try:
        return read_policy_document(values)
    except WorldError as error:
        raise WorldError(f"{name}: {error}; choose another --state file") from error


def restore(world: World, document: dict[str, object], options: SimOptions) -> None:
    """Go on where the state file ends. The real clock has gone on meanwhile; any other one has stood still."""
    try:
        world.restore(document)
    except WorldError as error:
        name = options.state.name if options.state is not None else ""
        raise WorldError(f"{name}: {error}; choose another --state file") from error
    if options.appid is not None and options.appid not in world.state.accounts:
        raise WorldError("the state file holds no account with this --appid; leave it out, or choose another file")
    if options.speed is None and world.clock.speed == 1 and world.clock.now() < world.clock.source_now():
        world.clock.set(world.clock.source_now())


def save(world: World, path: Path) -> None:
    """Write the state so that there is always a whole file, readable for its owner only: it holds secrets."""
    text = json.dumps({**world.snapshot(), POLICY_KEY: policy_document(world.policy)})
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        if name:
            with suppress(OSError):
                Path(name).unlink()
        sys.stderr.write(f"The state cannot be written: {error}\n")
        raise SystemExit(FAILED) from None


def connect(session: Session, stop: threading.Event, seconds: float) -> bool:
    """Let the address pass its check, trying again for a while: the developer's server may start later.

    Returns:
        Whether it has passed; a sentence on standard error says why not.
    """
    target = session.target
    if target is None:
        return True
    deadline = time.monotonic() + seconds
    while not stop.is_set():
        try:
            session.simulator.set_callback(
                target.url, token=target.token, encoding_aes_key=target.key, mode=target.mode, format=target.format
            )
        except AddressCheckError as error:
            if time.monotonic() >= deadline:
                sys.stderr.write(f"{error}\n")
                return False
            stop.wait(RETRY_SECONDS)
        else:
            return True
    return True
