"""Log records: every line of the library has its fields, the page names them all, and a formatter shows them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import logging
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import pytest

import wxmp
from tests.integrations.platform import Account
from wxmp import BusyError, Client, RetryPolicy
from wxmp._log import PREFIX, log_fields
from wxmp.events import TokenEventName
from wxmp.simulator import Simulator
from wxmp.webhook import TextMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(wxmp.__file__).parent
PAGE: Final = (ROOT.parent / "docs" / "observability.md").read_text(encoding="utf-8")
LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical", "log"}
#: What is no library: it speaks for itself, or to testers.
APART: Final = ("simulator", "cli", "testing")
MODULES: Final = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(ROOT.rglob("*.py"))
    if path.relative_to(ROOT).parts[0] not in APART
]
PING: Final = "/cgi-bin/get_api_domain_ip"
FIELDS: Final = [name for name in inspect.signature(log_fields).parameters if name != "event"]


def logging_calls(module: str) -> Iterator[ast.Call]:
    """Yield each call of a logger's method, and each call that is given one to call later."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for part in (node.func, *node.args):
                if isinstance(part, ast.Attribute) and part.attr in LEVELS:
                    owner = ast.unparse(part.value).lower()
                    if owner.endswith(("logger", "trouble")):
                        yield node


def events_of(module: str) -> set[str]:
    """The constant words for ``wxmp_event`` in a module; ``*`` stands for what is put together."""
    found = set()
    for call in logging_calls(module):
        (extra,) = (keyword.value for keyword in call.keywords if keyword.arg == "extra")
        assert isinstance(extra, ast.Call)
        word = extra.args[0]
        found.add(word.value if isinstance(word, ast.Constant) else ast.unparse(word))
    return {str(word) for word in found}


@pytest.mark.parametrize("module", MODULES)
def test_every_line_has_fields(module: str) -> None:
    """Every logger call of the library passes ``extra=log_fields(event, ...)``."""
    for call in logging_calls(module):
        extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
        assert isinstance(extra, ast.Call), f"{module}:{call.lineno}: no extra="
        assert ast.unparse(extra.func) == "log_fields", f"{module}:{call.lineno}"
        assert extra.args, f"{module}:{call.lineno}: no event"
        assert {keyword.arg for keyword in extra.keywords} <= set(FIELDS)


def test_the_walk_sees_the_lines() -> None:
    """The test above looks at all of them."""
    assert sum(len(list(logging_calls(module))) for module in MODULES) > 55


def test_the_page_names_every_field() -> None:
    """The table of fields has those of the code, and no others."""
    table = PAGE.partition("## Log records")[2].partition("What `wxmp_event` says")[0]
    assert set(re.findall(r"`wxmp_(\w+)`", table)) == {"event", *FIELDS}


def test_the_page_names_every_event() -> None:
    """The table of events has the words of the code, and no others."""
    table = PAGE.partition("What `wxmp_event` says")[2].partition("As JSON")[0]
    listed = {
        word
        for line in table.splitlines()
        if line.count("|") == 3
        for word in re.findall(r"`(\w+)`", line.split("|")[2])
    }
    words = set().union(*(events_of(module) for module in MODULES))
    made = {word for word in words if not word.isidentifier()}
    assert made == {"f'token_{name}'", "f'audit_{entry.event}'"}
    words -= made | {"event"}  # of Notifications: its callers give the word
    words |= {f"token_{name}" for name in get_args(TokenEventName)} | {"notice_refused", "notice_dropped"}
    words |= {f"audit_{name}" for name in ("hand_out", "replace", "replace_answered", "refuse")}
    assert listed - {"wxmp_event"} == words


def test_fields_that_are_not_known_are_left_out() -> None:
    """A record has no empty fields."""
    assert log_fields("x", appid="wx1", rid="", errcode=None, attempt=0) == {
        "wxmp_event": "x",
        "wxmp_appid": "wx1",
        "wxmp_attempt": 0,
    }


async def test_a_day_without_trouble_writes_nothing_above_info(caplog: pytest.LogCaptureFixture) -> None:
    """Calls, tokens, a token that had to be replaced, a push: none of it is a warning."""
    account = Account()
    hook = account.hook()

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    with caplog.at_level(logging.DEBUG, "wxmp"), Simulator(seed=1) as simulator:
        ours = simulator.account
        async with hook, Client(ours.appid, ours.secret, base_url=simulator.url) as client:
            await client.request("GET", PING)
            simulator.kill_token("stable")
            await client.request("GET", PING)
            push = account.say("hello")
            await hook.answer("POST", push.query.encode(), push.body)
    records = [record for record in caplog.records if not record.name.startswith("wxmp.simulator")]
    assert {"token_refreshed", "http_answered"} <= {vars(record)["wxmp_event"] for record in records}
    assert max(record.levelno for record in records) == logging.INFO


async def test_a_storm_of_failures_writes_no_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """However many calls fail, each repetition is one line, and nothing else is written of them."""
    with caplog.at_level(logging.INFO, "wxmp"), Simulator(seed=1) as simulator:
        ours = simulator.account
        simulator.fault("errcode", PING, errcode=-1)
        retry = RetryPolicy(attempts=2, initial_wait=0.001, max_wait=0.002)
        async with Client(ours.appid, ours.secret, base_url=simulator.url, retry=retry) as client:
            calls = (client.request("GET", PING, repeatable=True) for _ in range(50))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, BusyError) for outcome in outcomes)
    records = [record for record in caplog.records if not record.name.startswith("wxmp.simulator")]
    found = Counter(vars(record)["wxmp_event"] for record in records)
    assert found == {"token_refreshed": 1, "call_retried": 50}
    assert not any(record.exc_info for record in records)


async def test_what_serves_one_account_names_it(caplog: pytest.LogCaptureFixture) -> None:
    """A process may serve several accounts: the line of a handler that failed says whose push it was."""
    account = Account()
    hook = account.hook()

    @hook.on(TextMessage)
    async def fail(message: TextMessage) -> str:
        raise LookupError

    async with hook:
        push = account.say("hello")
        await hook.answer("POST", push.query.encode(), push.body)
    (record,) = (record for record in caplog.records if vars(record).get("wxmp_event") == "handler_failed")
    assert vars(record)["wxmp_appid"] == account.appid
    assert record.name == "wxmp.webhook"
    assert record.module == "delivery"


async def test_the_formatter_of_the_page_shows_them() -> None:
    """The JSON formatter of the page makes one line of each record, with the fields of a retry and of a token."""
    code = PAGE.partition("As JSON")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, type[logging.Formatter]] = {}
    exec(code.partition("handler =")[0], names)
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(names["JSONFormatter"]())
    logger, level = logging.getLogger("wxmp"), logging.getLogger("wxmp").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    path = PING
    try:
        with Simulator(seed=1) as simulator:
            account = simulator.account
            simulator.fault("errcode", path, errcode=-1, times=1)
            retry = RetryPolicy(initial_wait=0.001, max_wait=0.002)
            async with Client(account.appid, account.secret, base_url=simulator.url, retry=retry) as client:
                await client.request("GET", path, repeatable=True)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    written = [json.loads(line) for line in text.getvalue().splitlines()]
    lines = {line["wxmp_event"]: line for line in written if not line["logger"].startswith("wxmp.simulator")}
    assert (
        lines["call_retried"].items()
        >= {
            "level": "WARNING",
            "logger": "wxmp.call",
            "wxmp_appid": account.appid,
            "wxmp_endpoint": f"GET {path}",
            "wxmp_errcode": -1,
            "wxmp_attempt": 1,
            "wxmp_error": "BusyError",
        }.items()
    )
    assert lines["token_refreshed"]["wxmp_generation"] > 0
    assert all(name.startswith(PREFIX) for name in log_fields("x", appid="y"))
