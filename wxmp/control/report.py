"""What the control server tells about itself: the status for people, the metrics for Prometheus. Never a value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wxmp.control.desk import Desk

__all__ = ["METRICS_TYPE", "Counters", "QuotaLeft", "metrics", "status_of"]

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@attrs.frozen
class QuotaLeft:
    """What the platform said about the token endpoint of one account."""

    daily_limit: int
    used: int
    left: int
    #: Seconds since 1970.
    at: float


@attrs.define
class Counters:
    """What is counted over all accounts since the start."""

    #: Refusals by the ``error`` of the answer.
    refusals: dict[str, int] = attrs.field(factory=dict)
    failed_logins: int = 0

    def refused(self, error: str) -> None:
        """Count one."""
        self.refusals[error] = self.refusals.get(error, 0) + 1


def _moment(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None


def status_of(desk: Desk, quota: QuotaLeft | None) -> dict[str, object]:
    """Return what ``/v1/status`` says about one value."""
    known, ledger = desk.status, desk.ledger
    early = ledger.early_deaths()
    told: dict[str, object] = {
        "appid": desk.appid,
        "kind": desk.kind,
        "channel": known.channel,
        "store": known.store,
        "store_up": known.store_up,
        "usable": known.usable,
        "generation": known.generation,
        "fingerprint": known.fingerprint,
        "age": round(known.age, 3),
        "seconds_left": round(known.seconds_left, 3),
        "last_error": known.last_error,
        "cool_down": round(known.cool_down, 3),
        "refreshes_today": ledger.refreshes_today,
        "hand_outs": ledger.hand_outs,
        "replacements": ledger.replacements,
        "asked_by": [
            {"key": name, "count": asker.count, "last": _moment(asker.last)}
            for name, asker in sorted(ledger.askers.items(), key=lambda item: -item[1].last)
        ],
        "deaths": [
            {
                "at": _moment(death.at),
                "generation": death.generation,
                "age": round(death.age, 3),
                "left": round(death.left, 3),
                "errcode": death.errcode,
                "path": death.path,
                "key": death.key,
            }
            for death in reversed(ledger.deaths)
        ],
        # A value does not die early by itself: a second system fetches values of this AppID, or a person did.
        "another_system": {"suspected": bool(early), "early_deaths_24h": len(early)},
    }
    if desk.kind == "access_token":
        told["quota"] = None if quota is None else {**attrs.asdict(quota), "at": _moment(quota.at)}
    return told


#: Name, type, help.
_GAUGES: Final = (
    ("wxmp_control_usable", "Whether there is a value to hand out (1 or 0)."),
    ("wxmp_control_seconds_left", "Seconds until the current value ends."),
    ("wxmp_control_age_seconds", "Seconds since the current value was issued."),
    ("wxmp_control_store_up", "Whether the token store answered the last time (1 or 0)."),
    ("wxmp_control_cool_down_seconds", "Seconds until the platform may be asked again after a failure."),
)
_COUNTS: Final = (
    ("wxmp_control_hand_outs_total", "Values handed out."),
    ("wxmp_control_refreshes_total", "New values seen, by whichever replica they were fetched."),
    ("wxmp_control_deaths_total", "Values that were reported dead and replaced."),
)


def metrics(desks: Iterable[Desk], counters: Counters, keys: Mapping[str, int]) -> str:
    """Return the metrics in the text format of Prometheus.

    Args:
        desks: What is told of.
        counters: What concerns no account.
        keys: Further gauges without labels.
    """
    samples: dict[str, list[str]] = {name: [] for name, _ in (*_GAUGES, *_COUNTS)}
    for desk in desks:
        known, ledger = desk.status, desk.ledger
        label = f'{{appid="{desk.appid}",kind="{desk.kind}"}}'  # checked names: nothing in them needs a backslash
        figures = (
            int(known.usable),
            round(known.seconds_left, 3),
            round(known.age, 3),
            int(known.store_up),
            round(known.cool_down, 3),
            ledger.hand_outs,
            ledger.refreshes,
            ledger.replacements,
        )
        for name, figure in zip(samples, figures, strict=True):
            samples[name].append(f"{name}{label} {figure}")
    lines = []
    for names, kind in ((_GAUGES, "gauge"), (_COUNTS, "counter")):
        for name, text in names:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples[name]]
    lines += [
        "# HELP wxmp_control_refusals_total Requests that were answered with an error.",
        "# TYPE wxmp_control_refusals_total counter",
        *(f'wxmp_control_refusals_total{{error="{error}"}} {count}' for error, count in counters.refusals.items()),
        "# HELP wxmp_control_failed_logins_total Requests with a key that is none.",
        "# TYPE wxmp_control_failed_logins_total counter",
        f"wxmp_control_failed_logins_total {counters.failed_logins}",
    ]
    for name, count in keys.items():
        lines += [f"# TYPE {name} gauge", f"{name} {count}"]
    return "\n".join(lines) + "\n"
