"""What is public, what it costs to import, and that importing has no side effects."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import wxmp

#: The front door. A name is added here together with its documentation and its changelog entry.
PUBLIC = [
    "PRODUCTION",
    "APIError",
    "AccountError",
    "ArgumentError",
    "BadStatusError",
    "BroadcastError",
    "BroadcastFinished",
    "BroadcastStarted",
    "BusyError",
    "CallAnswered",
    "CallFinished",
    "CallRetried",
    "CallStarted",
    "Client",
    "ConfigError",
    "DeadTokenError",
    "DecryptError",
    "Event",
    "FilePart",
    "FileTokenStore",
    "JournalError",
    "LateAnswer",
    "MalformedError",
    "MemoryTokenStore",
    "NotAuthorizedError",
    "NotFoundError",
    "PayAPIError",
    "PayDecryptError",
    "PayError",
    "PayEvent",
    "PayMismatchError",
    "PayProbeError",
    "PaySignatureError",
    "Platform",
    "PushAnswered",
    "PushFinished",
    "PushStarted",
    "RateLimitError",
    "RecipientError",
    "RedisTokenStore",
    "ReplyError",
    "RetryPolicy",
    "SignatureError",
    "TimedOutError",
    "TokenEvent",
    "TokenPolicy",
    "TokenStatus",
    "TokenStore",
    "TokenStoreError",
    "TokenStoreUnavailable",
    "TransportError",
    "WebhookError",
    "WebhookStoreError",
    "WxmpError",
]

#: The front door of WeChat Pay begins with these; the rest of its names are the public names of its rooms.
PAY_ERRORS = [
    "PayAPIError",
    "PayDecryptError",
    "PayError",
    "PayMismatchError",
    "PayProbeError",
    "PaySignatureError",
]

#: Libraries that a program pays for only when it uses them.
LAZY = {
    "aiohttp", "anyio", "attr", "attrs", "cattrs", "click", "cryptography", "cyclopts", "fastapi", "httpcore", "httpx",
    "opentelemetry", "prometheus_client", "pydantic", "redis", "rich", "segno", "starlette", "taskiq", "tenacity",
    "uvicorn",
}  # fmt: skip


def public_modules() -> list[str]:
    """Every importable module without an underscore in its path, from the file system."""
    names = [found.name for found in pkgutil.walk_packages(wxmp.__path__, "wxmp.")]
    return ["wxmp", *(name for name in names if not any(part.startswith("_") for part in name.split(".")))]


MODULES = public_modules()


def run(script: str, *options: str) -> Any:
    """Run ``script`` in a fresh interpreter and return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def loaded_by(statement: str) -> set[str]:
    """Return the libraries of LAZY that a statement loads.

    httpx loads its own command line, with click and rich, wherever those are installed. That is blocked here, so that
    what is left is our doing.
    """
    report = "print(json.dumps([name for name, module in sys.modules.items() if module]))"
    script = f"import json, sys; sys.modules['httpx._main'] = None; {statement}; {report}"
    return {name.partition(".")[0] for name in run(script)} & LAZY


def order(name: str) -> tuple[int, str]:
    """The sorting of ruff (RUF022): constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


# ---- names


def test_the_front_door() -> None:
    """The public names are these, and no others."""
    assert wxmp.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_names_resolve(name: str) -> None:
    """Each public name exists, and is found a second time as the same thing."""
    assert getattr(wxmp, name) is getattr(wxmp, name)


def test_names_come_from_their_homes() -> None:
    """A name of the front door is the thing of the same name in the module that defines it."""
    for name in PUBLIC:
        value = getattr(wxmp, name)
        home = sys.modules[getattr(value, "__module__", "") if name != "PRODUCTION" else "wxmp.config"]
        assert home.__name__.startswith("wxmp.")
        assert getattr(home, name) is value


def test_star_import_gives_the_public_names() -> None:
    """``from wxmp import *`` gives exactly the public names."""
    names: dict[str, object] = {}
    exec("from wxmp import *", names)
    assert set(names) - {"__builtins__"} == set(PUBLIC)


def test_dir_shows_the_public_names() -> None:
    """An interactive shell completes names that are not loaded yet."""
    assert set(PUBLIC) <= set(run("import wxmp, json; print(json.dumps(dir(wxmp)))"))


@pytest.mark.parametrize("name", ["Nothing", "_secret", "errors_", "__wrapped__"])
def test_other_names_do_not_exist(name: str) -> None:
    """A misspelt name is an AttributeError that says so, and an ImportError on import."""
    with pytest.raises(AttributeError, match=name):
        getattr(wxmp, name)


def test_every_error_is_at_the_front_door() -> None:
    """Whoever imports wxmp can catch everything it raises."""
    from wxmp import errors

    assert {name for name in errors.__all__ if name[0].isupper()} <= {*wxmp.__all__}


def test_the_front_door_of_payments() -> None:
    """``wxmp.pay`` names the client, every error, and whatever its public rooms list."""
    import wxmp.pay

    # v2 is a door of its own, and what reads notifications is no business of those who receive them.
    apart = {"wxmp.pay.v2", "wxmp.pay.notify_reading"}
    rooms = [name for name in MODULES if name.startswith("wxmp.pay.") and name not in apart]
    listed = {entry for room in rooms for entry in importlib.import_module(room).__all__ if entry[0].isupper()}
    named = set(wxmp.pay.__all__)
    assert {*listed, *PAY_ERRORS, "PayClient", "PayKeys", "PayEvent", "Signer"} - named == set()
    assert set(wxmp.pay._HOMES) <= {
        *rooms,
        "wxmp.events",
        "wxmp.pay._certificates",
        "wxmp.pay._gateway",
        "wxmp.pay._keys",
    }


def test_the_front_door_of_the_control_server() -> None:
    """``wxmp.control`` names the server, its keys and the store of its clients, and finds each."""
    import wxmp.control

    assert wxmp.control.__all__ == ["ControlKey", "ControlServer", "HTTPTokenStore"]
    assert [getattr(wxmp.control, name).__name__ for name in wxmp.control.__all__] == wxmp.control.__all__


def test_every_name_of_payments_has_one_home() -> None:
    """Each name resolves, and no two rooms give it."""
    import wxmp.pay

    entries = [name for names in wxmp.pay._HOMES.values() for name in names]
    assert sorted([*entries, *PAY_ERRORS]) == sorted(wxmp.pay.__all__)
    for name in wxmp.pay.__all__:
        assert getattr(wxmp.pay, name) is not None


@pytest.mark.parametrize("name", MODULES)
def test_all_tells_the_truth(name: str) -> None:
    """Every public module lists its public names: sorted, once each, existing, and its own."""
    module = importlib.import_module(name)
    listed = vars(module)["__all__"]
    assert listed == sorted(set(listed), key=order)
    assert [entry for entry in listed if entry.startswith("_")] == []
    for entry in listed:
        value = getattr(module, entry)
        assert not isinstance(value, ModuleType)


def documented() -> list[tuple[str, str]]:
    """Every listed class and function, under the module that defines it."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for entry in getattr(module, "__all__", ()):
            value = getattr(module, entry)
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name:
                found.append((name, entry))
    return found


@pytest.mark.parametrize(("module", "name"), documented())
def test_public_things_are_documented(module: str, name: str) -> None:
    """Every public class and function says what it is for."""
    value = getattr(sys.modules[module], name)
    text = inspect.getdoc(value) if not inspect.isclass(value) else vars(value).get("__doc__")
    assert text
    assert not text.startswith(f"{name}(")


def test_package_is_typed() -> None:
    """Type checkers of users read our annotations."""
    import importlib.resources

    assert importlib.resources.files("wxmp").joinpath("py.typed").is_file()


# ---- what importing costs


def test_import_wxmp_is_free() -> None:
    """``import wxmp`` loads no other library, not even an HTTP one."""
    assert loaded_by("import wxmp") == set()


def test_catching_errors_is_free() -> None:
    """A program that only catches our errors loads no other library."""
    assert loaded_by("from wxmp import APIError, WxmpError") == set()


def test_import_client_loads_attrs_only() -> None:
    """The name of the client loads attrs; the HTTP library waits for the first client."""
    assert loaded_by("from wxmp import Client") <= {"attr", "attrs"}


def test_making_a_client_loads_what_a_call_needs() -> None:
    """A client loads the HTTP library, no redis, cryptography, rich, starlette, tenacity or cattrs, and no family."""
    script = "from wxmp import Client; Client('wx0123456789abcdef', 'fake-appsecret')"
    assert loaded_by(script) <= {"anyio", "attr", "attrs", "httpcore", "httpx"}
    families = run(
        f"{script}; import json, sys; print(json.dumps([n for n in sys.modules if n.startswith('wxmp.api')]))"
    )
    assert families == []


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("wxmp.tokens.redis", "redis"),
        ("wxmp.tokens.file", "redis"),
        ("wxmp.simulator", "starlette"),
        ("wxmp.pay", "cryptography"),
        ("wxmp.control", "httpx"),
        ("wxmp.control.store", "httpx"),
        ("wxmp.control.server", "starlette"),
        ("wxmp.broadcast", "taskiq"),
        ("wxmp.integrations.taskiq", "redis"),
    ],
)
def test_other_rooms_are_lazy_too(name: str, library: str) -> None:
    """Naming a store or the simulator does not load what stands behind it."""
    assert library not in loaded_by(f"import {name}")


# ---- side effects


def test_importing_everything_has_no_side_effects() -> None:
    """Importing every public module warns of nothing, prints nothing, and starts no thread."""
    script = f"""
import importlib, json, logging, threading, warnings
before = list(warnings.filters)
for name in {MODULES!r}:
    importlib.import_module(name)
loggers = [logging.root, *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict)
                           if name.partition(".")[0] == "wxmp")]
handlers = {{type(handler).__name__ for logger in loggers for handler in logger.handlers}}
levels = {{logger.level for logger in loggers[1:]}}
filters = [str(item) for item in warnings.filters if item not in before and "wxmp" in str(item)]
print(json.dumps([sorted(handlers), sorted(levels), threading.active_count(), logging.root.level, filters]))
"""
    assert run(script, "-W", "error") == [["NullHandler"], [0], 1, 30, []]


def test_library_is_quiet_by_default() -> None:
    """A program that has set up no logging sees nothing of ours on its standard error."""
    script = "from wxmp import Client; import logging; logging.getLogger('wxmp.call').warning('heard'); print('[]')"
    assert run(script) == []


@pytest.mark.parametrize("name", ["wxmp", "wxmp.errors", "wxmp.client", "wxmp.simulator", "wxmp.pay.client"])
def test_import_works_without_asserts_and_docstrings(name: str) -> None:
    """Optimised Python loses nothing that the package needs."""
    assert run(f"import {name}; print('[]')", "-OO") == []
