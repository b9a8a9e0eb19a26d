"""What every run of the tests says about itself, and which tests coverage does not watch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

# Without these, a property fails when the machine pauses for 0.2 s, and every run asks something else. To look further:
# --hypothesis-profile=default. What a test says of itself stands.
settings.register_profile("wxmp", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wxmp")


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
    config.addinivalue_line("markers", "alone: runs in a process of its own, where nothing else takes memory")


#: What coverage watches with; None without coverage, and where it needs no tracer.
TRACER = sys.gettrace() if type(sys.gettrace()).__module__.partition(".")[0] == "coverage" else None
#: And what it watches new threads with.
THREADS = threading.gettrace()


@contextlib.contextmanager
def watching(how: Any, threads: Any = THREADS) -> Iterator[None]:
    """Let coverage watch, or not, until the end of the block."""
    if TRACER is None:
        yield
        return
    before, threads_before = sys.gettrace(), threading.gettrace()
    threading.settrace(threads)
    sys.settrace(how)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(threads_before)


# Coverage doubles the time of whatever runs, so it watches what tests do, and what they import. What pytest does in
# between is a quarter of all.


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the process that hands out the tests go unwatched; its workers run them."""
    if TRACER is not None and session.config.pluginmanager.has_plugin("dsession"):
        threading.settrace(None)  # type: ignore[arg-type]
        sys.settrace(None)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Iterator[None]:
    """Make the tests of a module that has been imported."""
    with watching(None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Iterator[None]:
    """Run the tests."""
    with watching(None):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_fixture_setup() -> Iterator[None]:
    """Watch a fixture, also one of a test that is not watched: it may be there for others too."""
    with watching(TRACER):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch a test, but no fuzzer: what only chance has reached is not what a test shows."""
    chance = item.get_closest_marker("untraced") or item.get_closest_marker("hypothesis")
    with watching(None, None) if chance else watching(TRACER):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Watch the ends of fixtures."""
    with watching(TRACER):
        return (yield)


#: Says to a process that it is there for one test.
ALONE = "WXMP_TEST_ALONE"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked ``alone`` in a process of its own.

    What is measured of a whole process is then the test's: thousands of other tests have left nothing there, and no
    thread of theirs still works.
    """
    if pyfuncitem.get_closest_marker("alone") is None or ALONE in os.environ:
        return None
    config = pyfuncitem.config
    options = ["--quiet", "--no-header", "-p", "no:xdist", "-p", "no:cacheprovider"]
    options += [f"-W{warning}" for warning in config.getoption("pythonwarnings") or ()]
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("PYTEST_", "COVERAGE_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, pyfuncitem.nodeid],
        cwd=config.rootpath,
        env=kept | {ALONE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        pytest.fail(f"in a process of its own:\n{ran.stdout}{ran.stderr}", pytrace=False)
    return True


@pytest.fixture(scope="module")
def untraced_processes() -> Iterator[None]:
    """Let the processes that a module's tests start run without coverage, which takes most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            patch.delenv(name)
        yield
