"""The dashboard and the alerts of docs/grafana: they ask for what is exported, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import CollectorRegistry

from wxmp.api.template import SEND
from wxmp.control.report import Counters, metrics
from wxmp.events import PayEventName, TokenEventName
from wxmp.integrations._labels import SECONDS_OF_ANSWERS
from wxmp.integrations.prometheus import PrometheusHook

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "wxmp.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = BOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
ALERTS = [rule["expr"] for rule in RULES]
_SELECTOR = re.compile(r"\b(wxmp_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|ignoring|on|without) \(([^)]*)\)")


def exported() -> dict[str, set[str]]:
    """The names of all samples, with their labels."""
    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    found: dict[str, set[str]] = {}
    for metric in vars(hook).values():
        for described in metric.describe() if hasattr(metric, "describe") else ():
            labels = set(metric._labelnames)
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
            for ending in endings[described.type]:
                found[described.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    page = metrics([], Counters(refusals={"x": 1}), {})
    for line in page.splitlines():
        if line.startswith("# TYPE"):
            found[line.split()[2]] = {"appid", "kind"}
    found["wxmp_control_refusals_total"] = {"error"}
    found["wxmp_control_failed_logins_total"] = set()
    return found


EXPORTED = exported()


@pytest.mark.parametrize("expression", EXPRESSIONS + ALERTS)
def test_every_expression_asks_for_what_is_exported(expression: str) -> None:
    """Names and labels of an expression are those of our metrics; parentheses are balanced."""
    used: set[str] = {"job", "instance"} if "(up offset" in expression else set()
    asked = _SELECTOR.findall(expression)
    assert asked
    for name, selector in asked:
        assert name in EXPORTED, name
        used |= EXPORTED[name]
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= EXPORTED[name]
    for group in _GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= used
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)


def test_legends_use_labels_that_are_left() -> None:
    """A legend names only labels by which its expression groups."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            left = {label.strip() for group in _GROUPING.findall(target["expr"]) for label in group.split(",")}
            assert shown <= left, panel["title"]


def test_panels_do_not_overlap() -> None:
    """Each panel has its own id and its own place."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) > 30

    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        return {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

    for one, other in combinations(PANELS, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])


def test_it_can_be_imported_anywhere() -> None:
    """Data source and account are variables; nothing of the machine it was made on is inside."""
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "appid"]
    assert BOARD["schemaVersion"] >= 39
    assert BOARD["id"] is None
    uids = {panel["datasource"]["uid"] for panel in PANELS if panel["type"] != "row"}
    assert uids == {"${datasource}"}


def test_every_metric_is_shown() -> None:
    """Whatever the hook exports has a panel, but for parts of histograms."""
    shown = {name for expression in EXPRESSIONS for name, _ in _SELECTOR.findall(expression)}
    left = {name for name in EXPORTED if not name.endswith(("_sum", "_count"))} - shown
    assert left == set()


def test_alerts_ask_for_what_there_is() -> None:
    """Buckets, events, reasons and codes that rules choose are some that the hook writes; the page names each alert."""
    chosen = [choice for expression in ALERTS for choice in re.findall(r'(\w+)="([^"]*)"', expression)]
    words = {
        "le": {str(bound) for bound in SECONDS_OF_ANSWERS},
        "service": {"mp", "pay"},
        "event": {*get_args(TokenEventName), *get_args(PayEventName)},
        "reason": {"due", "dead", "forced", "operator", "store_down"},
        "outcome": {"ok", "sent"},
        "status": {"200", "401", "403"},
        "code": {"45009"},
        "endpoint": {SEND.name},
    }
    assert {label for label, _ in chosen} == words.keys()
    for label, value in chosen:
        assert value in words[label]
    names = [rule["alert"] for rule in RULES]
    for page in ("observability.md", "zh/observability.md"):
        text = (FOLDER.parent / page).read_text(encoding="utf-8")
        table = text.partition("grafana/alerts.yml")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == names
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def case(name: str, series: dict[str, str], *, fires: bool, minutes: int = 40) -> dict[str, Any]:
    """What promtool is to find at the end of some series, one value a minute."""
    labels = {"up": 'up{job="shop", instance="a"}'}
    return {
        "interval": "1m",
        "input_series": [{"series": labels.get(key, key), "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


AT = 'job="shop", instance="a"'
TOKEN = f'appid="wx1", channel="stable", {AT}'
MP = f'service="mp", appid="wx1", mchid="", {AT}'
PAY = f'service="pay", appid="", mchid="1900000001", {AT}'
SENT = f'wxmp_calls_total{{endpoint="{SEND.name}", outcome="ok", {MP}}}'
#: Seconds of the test's clock: it begins at 0.
ENDS = f"wxmp_token_expires_timestamp_seconds{{{TOKEN}}}"
FAILED = f'wxmp_token_events_total{{event="refresh_failed", {TOKEN}}}'
ERRORS = f'wxmp_call_errors_total{{code="45009", endpoint="GET /x", {MP}}}'
CALLS = f'wxmp_call_seconds_count{{endpoint="GET /x", {MP}}}'
FINE_CALLS = f'wxmp_calls_total{{endpoint="GET /x", outcome="ok", {MP}}}'
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "TokenIsNotRefreshed": ({ENDS: "1200x40", FAILED: "0+1x40"}, {ENDS: "1200x40", FAILED: "0x40"}),
    "TokenRequestsFail": ({FAILED: "0+1x40"}, {FAILED: "0x35 2x5"}),
    "AnotherSystemRefreshesTheToken": (
        {f"wxmp_token_duels_total{{{TOKEN}}}": "0x30 1x10"},
        {f"wxmp_token_duels_total{{{TOKEN}}}": "1x40"},
    ),
    "TokensDieBeforeTheirEnd": (
        {f'wxmp_token_refreshes_total{{reason="dead", {TOKEN}}}': "0x10 5x30"},
        {f'wxmp_token_refreshes_total{{reason="due", {TOKEN}}}': "0x10 5x30"},
    ),
    "TokenStoreIsDown": (
        {f"wxmp_token_store_up{{{TOKEN}}}": "1x20 0x20"},
        {f"wxmp_token_store_up{{{TOKEN}}}": "0x20 1x20"},
    ),
    "CallsFail": ({CALLS: "0+10x40", FINE_CALLS: "0+8x40"}, {CALLS: "0+10x40", FINE_CALLS: "0+10x40"}),
    # Its series begins with the first error; after a time in which nobody looked that is no new error.
    "QuotaOfTheDayIsUsed": ({"up": "1x40", ERRORS: "_x29 3x10"}, {"up": "_x29 1x10", ERRORS: "_x29 3x10"}),
    "QuotaOfTheDayIsNearlyUsed": (
        {f'wxmp_call_requests_total{{endpoint="{SEND.name}", {MP}}}': "0+2500x40"},
        {f'wxmp_call_requests_total{{endpoint="GET /x", {MP}}}': "0+2500x40"},
    ),
    "PushesAreNotAnsweredInTime": (
        {
            f'wxmp_push_answer_seconds_bucket{{le="4.0", {MP}}}': "0+9x40",
            f"wxmp_push_answer_seconds_count{{{MP}}}": "0+10x40",
        },
        {
            f'wxmp_push_answer_seconds_bucket{{le="4.0", {MP}}}': "0+10x40",
            f"wxmp_push_answer_seconds_count{{{MP}}}": "0+10x40",
        },
    ),
    "EveryPushIsRefused": (
        {
            f'wxmp_push_answers_total{{status="403", {MP}}}': "0+1x40",
            f'wxmp_push_answers_total{{status="200", {MP}}}': "0x40",
        },
        {
            f'wxmp_push_answers_total{{status="403", {MP}}}': "0+100x40",
            f'wxmp_push_answers_total{{status="200", {MP}}}': "0+1x40",
        },
    ),
    "PushesFail": (
        {f'wxmp_push_answers_total{{status="cut", {MP}}}': "0+1x40"},
        {f'wxmp_push_answers_total{{status="403", {MP}}}': "0+1x40"},
    ),
    "LateAnswersAreLost": (
        {f'wxmp_late_answers_total{{appid="wx1", outcome="window_closed", {AT}}}': "0x20 1x20"},
        {f'wxmp_late_answers_total{{appid="wx1", outcome="sent", {AT}}}': "0x20 1x20"},
    ),
    "PaymentNoticesFail": (
        {f'wxmp_push_answers_total{{status="500", {PAY}}}': "0x30 1x10"},
        {f'wxmp_push_answers_total{{status="204", {PAY}}}': "0x30 1x10"},
    ),
    "PaymentNoticesAreRefused": (
        {f'wxmp_push_answers_total{{status="401", {PAY}}}': "0+1x40"},
        {
            f'wxmp_push_answers_total{{status="401", {PAY}}}': "0+1x40",
            f'wxmp_pay_events_total{{mchid="1900000001", event="probe", {AT}}}': "0+1x40",
        },
    ),
    "PaymentCertificatesAreNotFetched": (
        {f'wxmp_pay_events_total{{mchid="1900000001", event="certificates_failed", {AT}}}': "0+1x40"},
        {f'wxmp_pay_events_total{{mchid="1900000001", event="certificates_fetched", {AT}}}': "0+1x40"},
    ),
    "BulkSendIsStuck": (
        {f'wxmp_broadcasts_running{{appid="wx1", {AT}}}': "1x40", SENT: "7x40"},
        {f'wxmp_broadcasts_running{{appid="wx1", {AT}}}': "1x40", SENT: "0+7x40"},
    ),
    "BulkSendFailed": (
        {"up": "1x40", f'wxmp_broadcasts_total{{appid="wx1", outcome="RateLimitError", {AT}}}': "_x29 1x10"},
        {"up": "1x40", f'wxmp_broadcasts_total{{appid="wx1", outcome="ok", {AT}}}': "_x29 1x10"},
    ),
}


def test_every_alert_has_a_case() -> None:
    """Each rule has series with which it fires, and others with which it does not."""
    assert list(CASES) == [rule["alert"] for rule in RULES]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Prometheus")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Prometheus' own tool takes the rules, and finds each one firing when it should, and silent when it should not."""
    cases = [
        case(name, series, fires=fires)
        for name, both in CASES.items()
        for series, fires in zip(both, (True, False), strict=True)
    ]
    page = tmp_path / "cases.yml"
    page.write_text(
        yaml.safe_dump(
            {"rule_files": [str(FOLDER / "alerts.yml")], "evaluation_interval": "1m", "tests": cases}, width=4096
        ),
        encoding="utf-8",
    )
    done = subprocess.run(["promtool", "test", "rules", page], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
