"""What ``wxmp doctor`` has found, and how it is told: in 80 columns, or as JSON. Never a secret."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._redact import scrub

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["CHECKS", "Check", "Finding", "Status", "as_json", "as_text", "columns", "summary", "wrapped"]

Status = Literal["ok", "warning", "error", "skipped"]

#: Columns of a terminal that nobody has widened.
WIDTH: Final = 80
#: Columns in front of what belongs to a check.
INDENT: Final = 6
#: Columns in front of the text of a finding: its label stands there.
HANGING: Final = 14
#: A secret shorter than this would take half of the words with it.
SHORTEST_SECRET: Final = 4

#: All checks, in the order they are told.
CHECKS: Final[dict[str, tuple[str, str]]] = {
    "settings": ("Settings", "配置"),
    "network": ("Way to the platform", "网络连通"),
    "clock": ("Clocks", "系统时钟"),
    "store": ("Token store", "令牌存储"),
    "secret": ("AppSecret and IP list", "AppSecret 与 IP 白名单"),
    "token": ("The fleet's token", "access_token"),
    "call": ("A call with it", "接口调用"),
    "others": ("Who else refreshes", "其他刷新方"),
    "quota": ("Quota of today", "调用额度"),
    "callback": ("Callback URL", "回调 URL"),
    "signature": ("Callback Token", "回调 Token"),
    "push": ("EncodingAESKey", "消息加解密"),
    "platform": ("The platform's own look", "网络通信检测"),
    "pay": ("WeChat Pay settings", "微信支付配置"),
}

_RANK: Final[dict[Status, int]] = {"error": 0, "warning": 1, "ok": 2, "skipped": 3}
#: Mark and colour of a status on a terminal, and the word in a pipe.
_MARKS: Final[dict[Status, tuple[str, str]]] = {
    "ok": ("ok", "32"),
    "warning": ("WARN", "33;1"),
    "error": ("FAIL", "31;1"),
    "skipped": ("skip", "2"),
}
#: Signs that stay with what is before them.
CLOSING: Final = "，。；：、）”？！"
_WORDS: Final = re.compile(r"\s+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@attrs.frozen
class Finding:
    """One thing that was seen. What is wrong has a cause and a remedy."""

    status: Status
    found: str
    cause: str = ""
    remedy: str = ""

    def clean(self, hidden: Iterable[str]) -> Finding:
        """Return it without any of ``hidden``, on one line each."""
        secrets = [text for text in hidden if len(text) >= SHORTEST_SECRET]
        texts = (_CONTROL.sub(" ", scrub(text, secrets)) for text in (self.found, self.cause, self.remedy))
        return Finding(self.status, *(_WORDS.sub(" ", text).strip() for text in texts))


@attrs.frozen
class Check:
    """One check that is over."""

    id: str
    findings: tuple[Finding, ...]
    seconds: float
    #: It failed itself: a mistake in here, not in the account.
    broken: bool = False

    @property
    def status(self) -> Status:
        """The worst of its findings."""
        return self.worst.status

    @property
    def worst(self) -> Finding:
        """The finding that matters most; the first of its kind."""
        return min(self.findings, key=lambda finding: _RANK[finding.status])


def as_text(check: Check, *, colour: bool) -> str:
    """Return what a person reads about a check, at most 80 columns wide."""
    title, chinese = CHECKS[check.id]
    word, code = _MARKS[check.status]
    mark = f"{word:<{INDENT}}"
    seconds = f"{check.seconds:.1f} s" if check.status != "skipped" else ""
    heading = f"{title} · {chinese}"
    gap = " " * max(1, WIDTH - INDENT - columns(heading) - len(seconds))
    lines = [f"{_painted(mark, code, colour)}{_painted(heading, '1', colour)}{gap if seconds else ''}{seconds}"]
    for finding in sorted(check.findings, key=lambda finding: _RANK[finding.status]):
        if finding.status in ("ok", "skipped"):
            lines += wrapped(finding.found, first=" " * INDENT, rest=" " * (INDENT + 2))
            continue
        word, code = _MARKS[finding.status]
        for label, text in (("Found", finding.found), ("Cause", finding.cause), ("Do", finding.remedy)):
            if text:
                told = wrapped(text, first=f"{'':{INDENT}}{label + ':':<{HANGING - INDENT}}", rest=" " * HANGING)
                # The label stands in the first line, once.
                told[0] = told[0].replace(f"{label}:", _painted(f"{label}:", code, colour), 1)
                lines += told
    return "\n".join(lines) + "\n"


def summary(checks: Sequence[Check], *, seconds: float, colour: bool) -> str:
    """Return the last lines: how many problems, and where to begin."""
    findings = [finding for check in checks for finding in check.findings]
    errors = [finding for finding in findings if finding.status == "error"]
    warnings = sum(finding.status == "warning" for finding in findings)
    skipped = sum(check.status == "skipped" for check in checks)
    parts = [
        _counted(len(errors), "problem"),
        _counted(warnings, "warning"),
        f"{_counted(skipped, 'check')} skipped" if skipped else "",
    ]
    if not errors:
        parts[:2] = ["No problem" if warnings else "All is well", _counted(warnings, "warning") if warnings else ""]
    line = ", ".join(part for part in parts if part)
    lines = [_painted(f"{line}. ({seconds:.1f} s)", "31;1" if errors else "33;1" if warnings else "32;1", colour)]
    if errors and errors[0].remedy:
        lines += wrapped(errors[0].remedy, first="Begin with: ", rest=" " * 12)
    return "\n".join(lines) + "\n"


def as_json(checks: Sequence[Check], *, about: dict[str, object], seconds: float) -> str:
    """Return everything on one line."""
    findings = [finding for check in checks for finding in check.findings]
    errors = sum(finding.status == "error" for finding in findings)
    told = {
        "ok": not errors and not any(check.broken for check in checks),
        **about,
        "errors": errors,
        "warnings": sum(finding.status == "warning" for finding in findings),
        "seconds": round(seconds, 3),
        "checks": [
            {
                "id": check.id,
                "title": CHECKS[check.id][0],
                "title_zh": CHECKS[check.id][1],
                "status": check.status,
                "found": check.worst.found,
                "cause": check.worst.cause,
                "remedy": check.worst.remedy,
                "seconds": round(check.seconds, 3),
                "findings": [attrs.asdict(finding) for finding in check.findings],
            }
            for check in checks
        ],
    }
    return json.dumps(told, ensure_ascii=False) + "\n"


def columns(text: str) -> int:
    """Return how wide a text is on a terminal: a Chinese character takes two columns."""
    return sum(_width(sign) for sign in text)


def wrapped(text: str, *, first: str, rest: str) -> list[str]:
    """Break a text into lines of 80 columns. Chinese is broken between characters, and so is what is too long."""
    lines: list[str] = []
    line, room, start = first, WIDTH - len(first), True
    for word in text.split(" "):
        for number, part in enumerate(_parts(word)):
            blank = "" if start or number else " "
            size = columns(part)
            if not start and columns(blank) + size > room:
                lines.append(line)
                line, room, blank = rest, WIDTH - len(rest), ""
            line += blank + part
            room -= columns(blank) + size
            start = False
    return [*lines, line]


def _parts(word: str) -> Iterator[str]:
    """Cut a word where a line may end."""
    part = ""
    for sign in word:
        wide = _width(sign) == 2
        if part and ((wide and sign not in "，。；：、）”") or columns(part) >= WIDTH - HANGING - 2):
            yield part
            part = ""
        part += sign
        if wide and sign not in "（“":
            # What closes a clause stays with it.
            continue
    if part:
        yield part


def _width(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
