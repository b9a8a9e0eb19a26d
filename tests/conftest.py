"""What every run of the tests says about itself, and which tests coverage does not watch."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_report_header() -> str:
    """Say at the top whether the tests of the page take part."""
    path = chromium.find()
    return f"browser: {path}" if path else f"browser: none, the tests of the page are left out ({chromium.MISSING})"


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of these tests, and let the programs that they start hear signals.

    A shell that starts the run in the background, and nohup, let it ignore some; that would be inherited.
    """
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
    config.addinivalue_line("markers", "untraced: quicker, and what it reaches does not count as covered")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let a fuzzer run without coverage: what only chance has reached is not what a test shows."""
    tracer = sys.gettrace()
    if item.get_closest_marker("untraced") is None or tracer is None:
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(scope="module")
def untraced_processes() -> Iterator[None]:
    """Let the processes that a module's tests start run without coverage, which takes most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            patch.delenv(name)
        yield
