"""A Chromium, pages that fail their test when anything goes wrong in them, and a simulator with a service behind it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser import chromium as machine
from tests.browser.service import AES_KEY, TOKEN, Service
from tests.simulator.conftest import Desk
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 40_000  # milliseconds
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Watched:
    """What went wrong in a context's pages: errors of scripts and of the console, requests that leave.

    What the page's content security policy blocks is an error on the console.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.troubles: list[str] = []
        # The browser inside the phone shows the developer's pages: they need their scripts and their own origin.
        self._allowed = [re.compile("iframe which has both allow-scripts and allow-same-origin")]
        context.on("console", self._console)
        context.on("weberror", lambda error: self._trouble(f"script: {error.error}"))
        context.on("request", self._request)
        context.on("dialog", lambda dialog: self._trouble(f"dialog: {dialog.message}"))

    def allow(self, pattern: str) -> None:
        """Take a kind of trouble as meant: this test causes it."""
        self._allowed.append(re.compile(pattern))

    @property
    def left(self) -> list[str]:
        """The troubles that nobody meant."""
        return [text for text in self.troubles if not any(pattern.search(text) for pattern in self._allowed)]

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            where = message.location
            self._trouble(f"console {message.type}: {message.text} ({where.get('url')}:{where.get('lineNumber')})")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob", "about"} and parts.hostname not in LOOPBACK:
            self._trouble(f"request leaves this machine: {request.url}")


# The browser lives for one file: while it does, Playwright's event loop counts as running in this thread, and the
# asyncio tests of other files could not run.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, headless. Without one these tests are left out, or fail where it is required."""
    path = machine.find()
    if path is None:
        if machine.required():
            raise RuntimeError(machine.MISSING)
        pytest.skip(machine.MISSING)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(machine.FLAGS), timeout=90_000)
        yield browser
        browser.close()


@pytest.fixture
def open_context(chromium: Browser, sim: Simulator) -> Iterator[Callable[..., tuple[BrowserContext, Watched]]]:
    """Open browser contexts with settings of their own (``locale=``, ``viewport=``, ``color_scheme=`` ...).

    They are closed before the simulator stops: a page that loses it would complain.
    """
    opened: list[tuple[BrowserContext, Watched]] = []

    def begin(**settings: Any) -> tuple[BrowserContext, Watched]:
        settings = {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}} | settings
        context = chromium.new_context(**settings)
        context.set_default_timeout(PATIENCE)
        watched = Watched(context)
        opened.append((context, watched))
        return context, watched

    yield begin
    for context, _ in opened:
        context.close()
    assert [trouble for _, watched in opened for trouble in watched.left] == []


@pytest.fixture
def watched_page(open_context: Callable[..., tuple[BrowserContext, Watched]]) -> tuple[Page, Watched]:
    """A page in a fresh context, and what goes wrong in it."""
    context, watched = open_context()
    return context.new_page(), watched


@pytest.fixture
def page(watched_page: tuple[Page, Watched]) -> Page:
    """A page in a fresh context; anything that goes wrong in it fails the test."""
    return watched_page[0]


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A simulator; ``service`` gives its account a server."""
    with Simulator(seed=5) as running:
        yield running


@pytest.fixture
def service(sim: Simulator) -> Iterator[Service]:
    """The account's service: it welcomes, echoes, answers taps and scans."""
    with Service(sim.account.appid) as running:
        sim.set_callback(running.url, token=TOKEN, encoding_aes_key=AES_KEY, mode="safe")
        yield running


@pytest.fixture
def desk(sim: Simulator) -> Desk:
    """The account's developer at work: calls with a living token."""
    return Desk(sim.world)
