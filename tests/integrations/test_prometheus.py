"""Metrics of Prometheus: names, labels, and several processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from wxmp import (
    BroadcastFinished,
    BroadcastStarted,
    CallFinished,
    CallStarted,
    Client,
    ConfigError,
    LateAnswer,
    PayAPIError,
    PayEvent,
    PushAnswered,
    PushFinished,
    RetryPolicy,
    TokenEvent,
    WxmpError,
)
from wxmp._watch import CallWatcher
from wxmp.control.report import Counters, metrics
from wxmp.integrations._labels import MOST_ENDPOINTS
from wxmp.integrations.prometheus import PrometheusHook
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

PING = "/cgi-bin/get_api_domain_ip"
QUICK = RetryPolicy(attempts=3, initial_wait=0.001, max_wait=0.002)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_a_session(registry: CollectorRegistry) -> None:
    """Calls, errors, retries, refreshes, deaths and waits of a session are counted under documented names."""
    with Simulator(seed=1) as simulator:
        account = simulator.account
        hook = PrometheusHook(registry)
        async with Client(account.appid, account.secret, base_url=simulator.url, retry=QUICK, on_event=hook) as client:
            await client.request("GET", PING)
            simulator.kill_token("stable")
            await client.request("GET", PING)
            simulator.fault("errcode", PING, errcode=45009)
            with pytest.raises(WxmpError):
                await client.request("GET", PING)
            simulator.fault("errcode", PING, errcode=-1, times=1)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    call = {"service": "mp", "appid": account.appid, "mchid": "", "endpoint": f"GET {PING}"}
    token = {"appid": account.appid, "channel": "stable"}
    assert value("wxmp_calls_total", **call, outcome="ok") == 2
    assert value("wxmp_calls_total", **call, outcome="RateLimitError") == 1
    assert value("wxmp_call_errors_total", **call, code="45009") == 1
    assert value("wxmp_call_requests_total", **call) == 4
    assert value("wxmp_call_seconds_count", **call) == 3
    assert value("wxmp_calls_in_flight", service="mp", appid=account.appid, mchid="") == 0
    assert value("wxmp_token_refreshes_total", **token, reason="due") == 1
    assert value("wxmp_token_refreshes_total", **token, reason="dead") == 1
    assert value("wxmp_token_deaths_total", **token, code="40001") in (1, None)
    assert sum(s.value for m in registry.collect() for s in m.samples if s.name == "wxmp_token_deaths_total") == 1
    assert (value("wxmp_token_expires_timestamp_seconds", **token) or 0) > 1_700_000_000
    assert value("wxmp_token_wait_seconds_count", service="mp", appid=account.appid, mchid="") == 2


def test_the_other_events(registry: CollectorRegistry) -> None:
    """Pushes, late answers, payments and bulk sends have their counters."""
    hook = PrometheusHook(registry)
    hook(PushFinished(appid="wx1", push=1, kind="TextMessage", outcome="ok", elapsed=0.1))
    hook(PushAnswered(appid="wx1", status=200, elapsed=0.1))
    hook(PushAnswered(appid="wx1", status=None, elapsed=5.0))
    hook(LateAnswer(appid="wx1", kind="TextMessage", outcome="sent"))
    hook(PayEvent(appid="", mchid="1900000001", name="probe"))
    hook(BroadcastFinished(appid="wx1", run="autumn", outcome="ok", outcomes={"accepted": 3}, elapsed=1.0))
    hook(TokenEvent(appid="wx1", channel="stable", name="budget_exhausted", seconds=1.0))
    hook(TokenEvent(appid="wx1", channel="stable", name="refresh_failed", reason="TimedOutError"))
    hook(TokenEvent(appid="wx1", channel="stable", name="store_down", reason="text that is no label"))
    text = generate_latest(registry).decode()
    assert 'wxmp_push_answers_total{appid="wx1",mchid="",service="mp",status="cut"} 1.0' in text
    assert 'wxmp_late_answers_total{appid="wx1",outcome="sent"} 1.0' in text
    assert 'wxmp_pay_events_total{event="probe",mchid="1900000001"} 1.0' in text
    assert 'wxmp_broadcast_messages_total{appid="wx1",outcome="accepted"} 3.0' in text
    assert 'wxmp_token_duels_total{appid="wx1",channel="stable"} 1.0' in text
    assert 'wxmp_token_refresh_failures_total{appid="wx1",channel="stable",code="TimedOutError"} 1.0' in text
    assert 'wxmp_token_store_up{appid="wx1",channel="stable"} 0.0' in text
    assert "autumn" not in text
    assert "no label" not in text


def test_endpoints_are_bounded(registry: CollectorRegistry) -> None:
    """Paths that somebody makes up do not make endless series: what is too much is counted together."""
    hook = PrometheusHook(registry)
    for number in range(MOST_ENDPOINTS + 50):
        endpoint = f"GET /made/up/{number}"
        hook(CallStarted(appid="wx1", call=number, endpoint=endpoint))
        hook(CallFinished(appid="wx1", call=number, endpoint=endpoint, outcome="ok", elapsed=0.1, attempts=1))
    labels = {"service": "mp", "appid": "wx1", "mchid": "", "endpoint": "other", "outcome": "ok"}
    assert registry.get_sample_value("wxmp_calls_total", labels) == 50


def test_a_second_hook_for_a_registry_is_refused(registry: CollectorRegistry) -> None:
    """Two hooks would be the same metrics twice."""
    PrometheusHook(registry)
    with pytest.raises(ConfigError, match="pass it everywhere"):
        PrometheusHook(registry)


def test_the_names_of_the_control_server_are_others(registry: CollectorRegistry) -> None:
    """A control server that counts its own calls too can put both on one page."""
    PrometheusHook(registry)
    ours = {metric.name for metric in registry.collect()}
    theirs = {line.split()[2] for line in metrics([], Counters(), {}).splitlines() if line.startswith("# TYPE")}
    assert len(ours) > 20
    assert all(name.startswith("wxmp_control_") for name in theirs)
    assert not any(name.startswith("wxmp_control_") for name in ours)


WORKER = """
from wxmp import CallFinished, CallStarted, TokenEvent
from wxmp.integrations.prometheus import PrometheusHook
hook = PrometheusHook()
hook(CallStarted(appid="wx1", call=1, endpoint="GET /x"))
hook(CallFinished(appid="wx1", call=1, endpoint="GET /x", outcome="ok", elapsed=0.1, attempts=1))
hook(CallStarted(appid="wx1", call=2, endpoint="GET /x"))
hook(TokenEvent(appid="wx1", channel="stable", name="refreshed", seconds=7200, elapsed=0.1, reason="due"))
hook(TokenEvent(appid="wx1", channel="stable", name="store_down"))
print(__import__("os").getpid())
"""
ENDED = """
import sys
from prometheus_client import multiprocess
for process in sys.argv[1:]:
    multiprocess.mark_process_dead(int(process))
"""
PAGE = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_several_processes_make_one_page(tmp_path: Path) -> None:
    """Counts add up, of the times of tokens the newest one counts; calls and states of the store end with a worker."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}

    def run(script: str, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    workers = [run(WORKER).strip() for _ in range(2)]
    page = run(PAGE)
    assert 'wxmp_calls_in_flight{appid="wx1",mchid="",service="mp"} 2.0' in page
    assert 'wxmp_token_store_up{appid="wx1",channel="stable"} 0.0' in page
    assert 'wxmp_calls_total{appid="wx1",endpoint="GET /x",mchid="",outcome="ok",service="mp"} 2.0' in page
    assert 'wxmp_token_refreshes_total{appid="wx1",channel="stable",reason="due"} 2.0' in page
    ends = [line for line in page.splitlines() if line.startswith("wxmp_token_expires_timestamp_seconds{")]
    assert len(ends) == 1
    assert ends[0].startswith('wxmp_token_expires_timestamp_seconds{appid="wx1",channel="stable"} ')
    run(ENDED, *workers)
    page = run(PAGE)
    assert "wxmp_calls_in_flight{" not in page
    assert "wxmp_token_store_up{" not in page
    assert 'wxmp_calls_total{appid="wx1",endpoint="GET /x",mchid="",outcome="ok",service="mp"} 2.0' in page


def test_buckets_that_cannot_work_leave_nothing_behind(registry: CollectorRegistry) -> None:
    """They are refused by name, and the registry takes the next hook; what is in it already is not touched either."""
    with pytest.raises(ConfigError, match="buckets") as caught:
        PrometheusHook(registry, buckets=[3, 2, 1])
    assert caught.value.field == "buckets"
    PrometheusHook(registry)
    theirs = CollectorRegistry()
    Counter("wxmp_late_answers", "Somebody else's.", registry=theirs)
    with pytest.raises(ConfigError, match="already"):
        PrometheusHook(theirs)
    assert [metric.name for metric in theirs.collect()] == ["wxmp_late_answers"]


def test_the_first_of_a_kind_is_an_increase(registry: CollectorRegistry) -> None:
    """Counters whose labels are known begin at 0: ``increase()`` does not see a series that begins with 1."""
    hook = PrometheusHook(registry)
    hook(TokenEvent(appid="wx1", channel="stable", name="refreshed", seconds=7200, reason="due"))
    hook(PushAnswered(appid="wx1", status=200, elapsed=0.1))
    hook(PushAnswered(appid="", mchid="1900000001", service="pay", status=204, elapsed=0.1))
    hook(CallStarted(appid="wx1", mchid="1900000001", service="pay", call=1, endpoint="GET /v3/x"))
    hook(BroadcastStarted(appid="wx1", run="autumn"))
    token, mp = {"appid": "wx1", "channel": "stable"}, {"service": "mp", "appid": "wx1", "mchid": ""}
    pay = {"service": "pay", "appid": "wx1", "mchid": "1900000001"}
    for name, labels in (
        ("wxmp_token_duels_total", token),
        ("wxmp_token_events_total", {**token, "event": "refresh_failed"}),
        ("wxmp_token_refreshes_total", {**token, "reason": "dead"}),
        ("wxmp_token_deaths_total", {**token, "code": "40001"}),
        ("wxmp_push_answers_total", {**mp, "status": "403"}),
        ("wxmp_push_answers_total", {**mp, "status": "cut"}),
        ("wxmp_push_answers_total", {**pay, "appid": "", "status": "500"}),
        ("wxmp_late_answers_total", {"appid": "wx1", "outcome": "window_closed"}),
        ("wxmp_pay_events_total", {"mchid": "1900000001", "event": "certificates_failed"}),
        ("wxmp_calls_total", {**pay, "endpoint": "GET /v3/x", "outcome": "ok"}),
        ("wxmp_call_seconds_count", {**pay, "endpoint": "GET /v3/x"}),
        ("wxmp_broadcasts_total", {"appid": "wx1", "outcome": "ok"}),
        ("wxmp_broadcast_messages_total", {"appid": "wx1", "outcome": "accepted"}),
    ):
        assert registry.get_sample_value(name, labels) == 0, (name, labels)


async def test_a_dead_token_makes_no_new_series(registry: CollectorRegistry) -> None:
    """What happens to real tokens is among what was there, at 0, since the first one."""
    hook = PrometheusHook(registry)
    with Simulator(seed=1) as simulator:
        account = simulator.account
        async with Client(account.appid, account.secret, base_url=simulator.url, retry=QUICK, on_event=hook) as client:
            await client.request("GET", PING)
            names = {"wxmp_token_refreshes_total", "wxmp_token_events_total", "wxmp_token_deaths_total"}

            def series() -> set[tuple[tuple[str, str], ...]]:
                samples = (sample for metric in registry.collect() for sample in metric.samples)
                return {tuple(sample.labels.items()) for sample in samples if sample.name in names}

            before = series()
            simulator.kill_token("stable")
            await client.request("GET", PING)
            simulator.world.advance(60)
            await client.refresh_token()
            assert series() == before


def test_bulk_sends_under_way(registry: CollectorRegistry) -> None:
    """A run that hangs is seen: it has begun, and has not ended."""
    hook = PrometheusHook(registry)
    hook(BroadcastStarted(appid="wx1", run="autumn"))
    hook(BroadcastStarted(appid="wx1", run="winter"))
    hook(BroadcastFinished(appid="wx1", run="autumn", outcome="ok", outcomes={}, elapsed=1.0))
    assert registry.get_sample_value("wxmp_broadcasts_running", {"appid": "wx1"}) == 1


def test_a_call_of_half_a_minute_has_a_bucket(registry: CollectorRegistry) -> None:
    """The default policy repeats for 30 s: the quantiles of such calls are no lie."""
    hook = PrometheusHook(registry)
    hook(CallStarted(appid="wx1", call=1, endpoint="GET /x"))
    hook(CallFinished(appid="wx1", call=1, endpoint="GET /x", outcome="ok", elapsed=29.0, attempts=1))
    labels = {"service": "mp", "appid": "wx1", "mchid": "", "endpoint": "GET /x"}
    assert registry.get_sample_value("wxmp_call_seconds_bucket", {**labels, "le": "10.0"}) == 0
    assert registry.get_sample_value("wxmp_call_seconds_bucket", {**labels, "le": "30.0"}) == 1


@pytest.mark.parametrize("path", ["/\ud800", "/\x1b[31m", "/用户", "/" + "a" * 100_000, '/"\\'])
def test_a_strange_path_does_not_harm_the_page(registry: CollectorRegistry, path: str) -> None:
    """Whatever is called, its label is short and printable: half a surrogate would make the page fail for ever."""
    watcher = CallWatcher(PrometheusHook(registry), appid="wx1", origin="https://api.example")
    with pytest.raises(PayAPIError), watcher(f"GET {path}"):
        raise PayAPIError(code="BAD\ud800", status=500)
    page = generate_latest(registry).decode()
    assert page.isascii()
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) < 500


def test_an_answer_at_the_deadline_is_seen_apart(registry: CollectorRegistry) -> None:
    """The alert of the documentation asks for a bucket that parts answers in time from those at the deadline."""
    hook = PrometheusHook(registry, buckets=[1, 60])
    for seconds in (0.1, 3.9, 4.5):
        hook(PushAnswered(appid="wx1", status=200, elapsed=seconds))
    labels = {"service": "mp", "appid": "wx1", "mchid": "", "le": "4.0"}
    assert registry.get_sample_value("wxmp_push_answer_seconds_bucket", labels) == 2
