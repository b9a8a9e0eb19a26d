"""The table of return codes: complete, consistent, cheap to import."""

from __future__ import annotations

import marshal
import pickle
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from wxmp import errcodes
from wxmp.errcodes import CODES, DEAD_TOKEN_CODES, TOKEN_ENDPOINT_FIX, ErrCode, Kind, Verdict, lookup

ENTRIES = list(CODES.values())
SOURCE = Path(errcodes.__file__)

# Which verdicts a kind may have, with the codes that make an exception where there are any.
VERDICTS_OF_KIND: dict[str, set[str]] = {
    "ok": {"ok"},
    "token": {"renew"},
    "account": {"fix", "refuse"},  # refuse: 89506 and 89507, an administrator's refusal runs out by itself
    "permission": {"fix"},
    "rate": {"wait", "refuse"},
    "recipient": {"fix"},
    "not_found": {"fix"},
    "argument": {"fix"},
    "busy": {"busy", "refuse"},  # refuse: 61503, ready on the next day
    "other": {"fix"},
}

# The exception tree names these codes beside its classes.
STYLE_EXAMPLES = {
    40001: "token",
    40014: "token",
    42001: "token",
    40013: "account",
    40125: "account",
    40164: "account",
    48001: "permission",
    45009: "rate",
    45011: "rate",
    43004: "recipient",
    43019: "recipient",
    45015: "recipient",
    46003: "not_found",
    46004: "not_found",
    40037: "not_found",
    47001: "argument",
    -1: "busy",
}

# What somebody who builds the main features will run into.
LIKELY = [
    *[-1, 40001, 40002, 40013, 40014, 40125, 40164, 40243, 41002, 41004, 42001, 48012],  # token
    *[50004, 50007, 61004, 89501, 89503, 89506, 89507],
    *[40016, 40017, 40018, 40019, 40020, 40023, 40024, 40025, 40026, 40027, 40033, 40054, 40055],  # menu
    *[46003, 65301, 65302, 65303, 65304, 65305, 65308, 65316, 65317, 65320],
    *[40003, 40032, 45056, 45057, 45058, 45059, 45157, 45158, 45159, 45169, 45171, 49003],  # tags
    *[40050, 40051, 45016, 45017, 45018],  # groups
    *[40036, 40037, 43004, 43019, 43100, 45026, 45027, 47003],  # template
    *[45002, 45008, 45015, 45047, 45072, 45080, 45081, 48002],  # customer service messages
    *[40052, 40053, 45029],  # QR codes
    *[40029, 40030, 40163, 42002, 42003, 42007, 50001],  # web consent
    *[40004, 40005, 40006, 40007, 40009, 40010, 40011, 40012, 41005, 41006, 45001, 45007, 48005],  # media
    *[40130, 42010, 45028, 45065, 45066, 45067, 48003, 89504, 89505, 268488001],  # mass send
    *[45009, 45011, 48006, 76001, 76003, 76021, 76022],  # quota
    *[43001, 43002, 44002, 47001, 47002, 48001, 48004, 50002],  # everywhere
]


def test_table_is_complete() -> None:
    """All 678 codes are there."""
    assert len(CODES) == 678


def test_table_is_ascending() -> None:
    """Iterating over the table yields ascending codes."""
    assert list(CODES) == sorted(CODES)


def test_key_is_the_code_of_the_entry() -> None:
    """A code finds the entry that carries it."""
    assert [entry.code for entry in ENTRIES] == list(CODES)


def test_table_cannot_be_changed() -> None:
    """Nobody can patch the table at run time."""
    with pytest.raises(TypeError):
        CODES[1] = CODES[0]  # type: ignore[index]


def test_no_code_stands_twice_in_the_source() -> None:
    """A repeated key would silently win over the first; there is none."""
    keys = Counter(re.findall(r"^    (-?\d+): \(", SOURCE.read_text(encoding="utf-8"), re.MULTILINE))
    assert keys == Counter(str(code) for code in CODES)


def test_names_are_unique() -> None:
    """A name means one code."""
    assert [name for name, times in Counter(entry.name for entry in ENTRIES).items() if times > 1] == []


def test_names_are_well_formed() -> None:
    """Names are UPPER_SNAKE, at most 36 characters, and carry no bare number."""
    pattern = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z][A-Z0-9]*)*")
    assert [entry for entry in ENTRIES if not pattern.fullmatch(entry.name) or len(entry.name) > 36] == []


def test_unknown_is_no_name_of_the_table() -> None:
    """The name for codes outside the table stands for no code inside it."""
    assert "UNKNOWN" not in {entry.name for entry in ENTRIES}


def test_closed_sets_are_kept() -> None:
    """Every verdict and every kind is one of the published words, and each word is used."""
    assert {entry.verdict for entry in ENTRIES} == set(get_args(Verdict))
    assert {entry.kind for entry in ENTRIES} == set(get_args(Kind))


def test_verdict_and_kind_agree() -> None:
    """A kind has only the verdicts that make sense for it."""
    assert [entry for entry in ENTRIES if entry.verdict not in VERDICTS_OF_KIND[entry.kind]] == []


def test_waiting_periods_outside_quotas_are_these() -> None:
    """Three codes are refused until later without being a quota."""
    assert {e.code for e in ENTRIES if e.verdict == "refuse" and e.kind != "rate"} == {61503, 89506, 89507}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("verdict", {"ok": 1, "renew": 4, "wait": 8, "busy": 26, "refuse": 19, "fix": 620}),
        (
            "kind",
            {
                "ok": 1,
                "token": 4,
                "account": 41,
                "permission": 85,
                "rate": 24,
                "recipient": 19,
                "not_found": 52,
                "argument": 381,
                "busy": 27,
                "other": 44,
            },
        ),
    ],
)
def test_no_code_changes_sides_unnoticed(field: str, expected: dict[str, int]) -> None:
    """The number of codes per verdict and per kind changes only together with this test."""
    assert Counter(getattr(entry, field) for entry in ENTRIES) == expected


def test_success_is_zero_and_only_zero() -> None:
    """Only 0 is a success."""
    assert [entry.code for entry in ENTRIES if entry.kind == "ok" or entry.verdict == "ok"] == [0]


def test_scope_belongs_to_rate_codes() -> None:
    """Every rate code has a scope, and no other code has one."""
    allowed = {"second", "minute", "day", "month", "item"}
    assert [e for e in ENTRIES if (e.kind == "rate") != (e.scope in allowed) or (e.kind != "rate" and e.scope)] == []


def test_only_short_limits_are_waited_for() -> None:
    """A limit of a day or a month is never waited for, one of a second or a minute always is."""
    rate = [entry for entry in ENTRIES if entry.kind == "rate"]
    assert {e.scope for e in rate if e.verdict == "wait"} <= {"second", "minute", "item"}
    assert {e.scope for e in rate if e.verdict == "refuse"} <= {"day", "month", "item"}


@pytest.mark.parametrize(("code", "scope"), [(45009, "day"), (45011, "minute"), (48006, "month"), (44990, "second")])
def test_scope_of_the_well_known_limits(code: int, scope: str) -> None:
    """The daily, the minute, the monthly and the per-second limit are told apart."""
    assert lookup(code).scope == scope


@pytest.mark.parametrize(("code", "kind"), STYLE_EXAMPLES.items())
def test_examples_of_the_exception_tree(code: int, kind: str) -> None:
    """The codes named beside the exception classes belong to those classes."""
    assert lookup(code).kind == kind


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (-1, "SYSTEM_BUSY"),
        (40001, "INVALID_CREDENTIAL"),
        (40003, "INVALID_OPENID"),
        (40164, "INVALID_IP"),
        (42001, "ACCESS_TOKEN_EXPIRED"),
        (45009, "API_DAILY_QUOTA_LIMIT"),
        (46003, "MENU_NO_EXIST"),
    ],
)
def test_names_follow_the_platform(code: int, name: str) -> None:
    """Well known codes carry the platform's own words."""
    assert lookup(code).name == name


def test_dead_token_codes_are_the_renewed_ones() -> None:
    """Renewal happens on exactly the four dead-token codes."""
    assert {entry.code for entry in ENTRIES if entry.verdict == "renew"} == DEAD_TOKEN_CODES
    assert {40001, 40014, 42001, 48012} == DEAD_TOKEN_CODES


def test_token_endpoints_never_renew() -> None:
    """Every code that renews on a business call is switched off for the token endpoints and sns."""
    assert {entry.code for entry in ENTRIES if entry.verdict == "renew"} <= TOKEN_ENDPOINT_FIX


def test_missing_token_is_not_a_dead_token() -> None:
    """41001 says that no token was sent, which a new token cannot mend."""
    assert (lookup(41001).verdict, lookup(41001).kind) == ("fix", "argument")


def test_meanings_are_short_and_plain() -> None:
    """A meaning is one short phrase without a full stop, ready for the middle of a message."""
    bad = [e for e in ENTRIES if not e.meaning or len(e.meaning) > 90 or e.meaning != e.meaning.strip(" .\n")]
    assert bad == []


def test_advice_is_sentences() -> None:
    """An advice starts with a capital letter, ends with a full stop and has no doubled blanks."""
    pattern = re.compile(r"[A-Z].*\.")
    bad = [e for e in ENTRIES if e.advice and (not pattern.fullmatch(e.advice) or "  " in e.advice)]
    assert bad == []


def test_advice_does_not_repeat_the_meaning() -> None:
    """Advice says what to do, not once more what happened."""
    assert [e for e in ENTRIES if e.advice.rstrip(".").casefold() == e.meaning.casefold()] == []


def test_the_likely_codes_have_advice() -> None:
    """Nobody meets a common code without being told what to do."""
    assert [code for code in LIKELY if not lookup(code).advice] == []


def test_the_only_placeholder_is_the_address() -> None:
    """Advice holds {ip} for the two allow-list codes and no other brace, so that filling it in cannot fail."""
    assert {e.code for e in ENTRIES if "{ip}" in e.advice} == {40164, 61004}
    assert [e.code for e in ENTRIES if set("{}") & set(e.advice.replace("{ip}", ""))] == []


def test_advice_for_the_allow_list_names_the_place() -> None:
    """The most common trouble of a new deployment leads to the right page of the console."""
    assert "微信公众平台 → 设置与开发 → 基本配置 → IP白名单" in lookup(40164).advice


@pytest.mark.parametrize("code", [1, -2, 99999, 2**40])
def test_unknown_codes_are_never_repeated(code: int) -> None:
    """A code outside the table is reported under its number, and nothing is repeated for it."""
    entry = lookup(code)
    assert entry[:2] == (code, "UNKNOWN")
    assert (entry.verdict, entry.kind, entry.scope) == ("fix", "other", "")
    assert entry.meaning


def test_unknown_codes_do_not_grow_the_table() -> None:
    """Looking up a code that nobody knows leaves no trace."""
    lookup(123456789)
    assert 123456789 not in CODES


def test_known_code_is_looked_up_in_the_table() -> None:
    """A known code yields the very entry of the table."""
    assert lookup(45009) is CODES[45009]


def test_entry_survives_pickle() -> None:
    """An entry can travel to a worker."""
    entry = lookup(40164)
    copy = pickle.loads(pickle.dumps(entry))
    assert copy == entry
    assert type(copy) is ErrCode


def test_import_loads_nothing_else() -> None:
    """The table needs typing and types, and pulls in nothing more."""
    script = (
        "import importlib.util, sys, types, typing, collections.abc\n"
        "before = set(sys.modules)\n"
        "spec = importlib.util.spec_from_file_location('table', sys.argv[1])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(SOURCE)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() in ("[]", "['__future__']")


def test_import_is_cheap() -> None:
    """Building the table from its byte code takes less than 3 ms: it holds constants, and parses nothing."""
    source = SOURCE.read_text(encoding="utf-8")
    start = time.perf_counter()
    byte_code = marshal.dumps(compile(source, str(SOURCE), "exec"))
    compiling = time.perf_counter() - start
    times = []
    for _ in range(20):
        start = time.perf_counter()
        exec(marshal.loads(byte_code), {"__name__": "table"})
        times.append(time.perf_counter() - start)
    assert min(times) < max(0.003, compiling / 10)  # the second is for a machine that needs longer for everything


def test_public_names() -> None:
    """The public names are the announced ones."""
    expected = {"CODES", "DEAD_TOKEN_CODES", "TOKEN_ENDPOINT_FIX", "ErrCode", "Kind", "Verdict", "lookup"}
    assert set(errcodes.__all__) == expected
