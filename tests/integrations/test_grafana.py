"""The dashboard of docs/grafana: it can be imported, and shows nothing that is not exported."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from wxmp.control.report import Counters, metrics
from wxmp.integrations._labels import SECONDS_OF_ANSWERS
from wxmp.integrations.prometheus import PrometheusHook

BOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "grafana" / "wxmp.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = BOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
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


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_asks_for_what_is_exported(expression: str) -> None:
    """Names and labels of an expression are those of our metrics; parentheses are balanced."""
    used: set[str] = set()
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


def test_the_alert_of_the_documentation_asks_for_a_bucket_that_exists() -> None:
    """The bounds of answers hold the one that the alert on late answers divides by."""
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
    assert 'wxmp_push_answer_seconds_bucket{service="mp", le="4.0"}' in page
    assert 4.0 in SECONDS_OF_ANSWERS
