"""The pytest plugin: a WeChat platform of its own for each test that asks for it.

The fixture ``wx_sim`` is a :class:`WxSim`. pytest imports this module in every run, so it imports nothing: the
simulator loads when a test uses the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from wxmp._wx_sim import WxSim
    from wxmp.simulator.sandbox import SandboxOptions

__all__ = ["WxSim", "wx_sim", "wx_sim_options"]

#: Exchanges told in the report of a failed test, unless the ini file says otherwise.
REPORTED = 20

SANDBOX = pytest.StashKey["WxSim"]()


def __getattr__(name: str) -> object:
    if name == "WxSim":
        from wxmp._wx_sim import WxSim

        return WxSim
    raise AttributeError(f"module 'wxmp.pytest_plugin' has no attribute {name!r}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings."""
    parser.addini("wx_sim_seed", "wx_sim: source of all ids and all chance (default: 1)", default="")
    parser.addini("wx_sim_clock", "wx_sim: 'real' (default), 'frozen', or a speed", default="")
    parser.addini(
        "wx_sim_report", f"wx_sim: exchanges told when a test fails (default: {REPORTED}; 0: no report)", default=""
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "wx_sim(seed, clock, policy, followers, appid, secret, scenario): how the world of this test begins",
    )


@pytest.fixture
def wx_sim_options() -> SandboxOptions:
    """How the worlds of these tests begin: override it in a module or a ``conftest.py``; markers come on top."""
    return {}


@pytest.fixture
def wx_sim(request: pytest.FixtureRequest, wx_sim_options: SandboxOptions) -> Iterator[WxSim]:
    """A WeChat platform with one account, for this test alone."""
    from wxmp._wx_sim import WxSim

    with WxSim(**gather(request, wx_sim_options)) as sandbox:
        node: pytest.Item = request.node
        node.stash[SANDBOX] = sandbox
        yield sandbox


def gather(request: pytest.FixtureRequest, options: SandboxOptions) -> SandboxOptions:
    """Put the settings together: ini file, fixture, markers from the outermost to the test's own.

    The rules of ``policy`` add up; everything else is replaced.
    """
    from wxmp.simulator.sandbox import SandboxOptions as Known

    gathered: dict[str, Any] = {}
    node: pytest.Item = request.node
    layers: list[Mapping[str, Any]] = [ini_options(request.config), options]
    for mark in reversed(list(node.iter_markers("wx_sim"))):
        if mark.args:
            raise pytest.UsageError("the marker wx_sim takes keyword arguments only")
        layers.append(mark.kwargs)
    for layer in layers:
        unknown = sorted(layer.keys() - Known.__annotations__.keys())
        if unknown:
            known = ", ".join(Known.__annotations__)
            raise pytest.UsageError(f"wx_sim has no option {', '.join(unknown)}; it has: {known}")
        before, after = gathered.get("policy"), layer.get("policy")
        gathered |= layer
        if isinstance(before, dict) and isinstance(after, dict):
            gathered["policy"] = before | after
    return gathered  # type: ignore[return-value]  # its names were just compared


def ini_options(config: pytest.Config) -> SandboxOptions:
    """Return what the ini file says."""
    options: SandboxOptions = {}
    seed: str = config.getini("wx_sim_seed")
    clock: str = config.getini("wx_sim_clock")
    try:
        if seed:
            options["seed"] = int(seed)
        if clock == "frozen":
            options["clock"] = "frozen"
        elif clock not in ("", "real"):
            options["clock"] = float(clock)
    except ValueError:
        raise pytest.UsageError("wx_sim_seed must be a number; wx_sim_clock 'real', 'frozen' or a number") from None
    return options


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell what happened in the world of a test that has failed."""
    report = yield
    sandbox = item.stash.get(SANDBOX, None)
    if sandbox is not None and report.failed and report.when != "teardown":
        count: str = item.config.getini("wx_sim_report")
        limit = int(count) if count.isdecimal() else REPORTED
        if limit:
            report.sections.append(("wx_sim journal", tell(sandbox, limit)))
    return report


def tell(sandbox: WxSim, limit: int) -> str:
    """Return the story of a world, whatever it takes: the failure itself must be seen in any case."""
    try:
        return sandbox.explain(limit)
    except Exception as error:  # noqa: BLE001 - an exception in this hook would end the whole run
        return f"The journal cannot be told: {type(error).__name__}."
