"""``wxmp user export``: who is in the file, what the file is like, and what a break leaves behind."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
import stat
import tracemalloc
from typing import TYPE_CHECKING, Self

import pytest

from tests.cli.line import Line, Terminal, finish, wait_for
from wxmp._redact import Secret
from wxmp.api.user import OpenidData, OpenidPage, UserInfo
from wxmp.cli._console import Signals
from wxmp.cli._export_file import PartFile, make_sheet
from wxmp.cli.user import FIELDS, KNOWN, Job, Lines, describe
from wxmp.errors import ConfigError
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLLOWERS = 950
DETAILS = "/cgi-bin/user/info/batchget"
LIST = "/cgi-bin/user/get"


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=FOLLOWERS) as sim:
        yield sim


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def openids(wxmp: Line) -> list[str]:
    return list(wxmp.sim.account.users)


def left_behind(wxmp: Line) -> list[str]:
    return sorted(path.name for path in wxmp.folder.iterdir() if path.name != "tokens")


def test_everybody_with_details(wxmp: Line) -> None:
    """Each follower once, with what the platform tells, asked for in hundreds; nobody else may read the file."""
    before = wxmp.sim.calls(DETAILS)
    done = wxmp("user", "export", "all.csv")
    assert (done.code, done.out.startswith(f"all.csv: {FOLLOWERS} followers in ")) == (0, True)
    found = rows(wxmp.folder / "all.csv")
    assert tuple(found[0]) == FIELDS
    assert sorted(row["openid"] for row in found) == sorted(openids(wxmp))
    assert found[0]["subscribe_scene"].startswith("ADD_SCENE_")
    assert wxmp.sim.calls(DETAILS) - before == 10
    assert left_behind(wxmp) == ["all.csv"]
    if os.name == "posix":
        assert stat.S_IMODE((wxmp.folder / "all.csv").stat().st_mode) == 0o600


def test_json_lines(wxmp: Line) -> None:
    """One object in a line, with the fields asked for; the summary is one line of JSON."""
    done = wxmp("user", "export", "all.jsonl", "--fields", "openid,tag_ids,remark", "--json")
    told = json.loads(done.out)
    assert (told["status"], told["users"], told["earlier"], told["error"]) == ("complete", FOLLOWERS, 0, None)
    lines = (wxmp.folder / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == FOLLOWERS
    assert list(json.loads(lines[0])) == ["openid", "tag_ids", "remark"]


def test_to_standard_output(wxmp: Line) -> None:
    """- writes there, as CSV, or as JSON Lines with --json; the progress stays away from it."""
    done = wxmp("user", "export", "-", "--fields", "openid")
    assert (done.code, len(list(csv.reader(io.StringIO(done.out))))) == (0, FOLLOWERS + 1)
    done = wxmp("user", "export", "-", "--fields", "openid", "--json")
    assert {json.loads(line)["openid"] for line in done.out.splitlines()} == set(openids(wxmp))


def test_openids_alone_need_no_details(wxmp: Line) -> None:
    """Who only wants openids does not pay for more."""
    before = wxmp.sim.calls(DETAILS)
    assert wxmp("user", "export", "all.csv", "--fields", "openid").code == 0
    assert wxmp.sim.calls(DETAILS) == before


@pytest.mark.parametrize("by", ["name", "number"])
def test_those_with_a_tag(wxmp: Line, by: str) -> None:
    """A tag by its name or number; one that is not there is a sentence with those that are."""
    some = openids(wxmp)[5:8]
    for openid in some:
        wxmp.sim.account.users[openid].tags[:] = [2]
    tag = "星标组" if by == "name" else "2"
    assert wxmp("user", "export", "tagged.csv", "--tag", tag).code == 0
    assert {row["openid"] for row in rows(wxmp.folder / "tagged.csv")} == set(some)
    done = wxmp("user", "export", "other.csv", "--tag", "无")
    assert (done.code, "no tag '无'; it has " in done.err) == (2, True)
    assert left_behind(wxmp) == ["tagged.csv"]


@pytest.mark.parametrize("text", ["=1+1", "+86", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_cells_that_a_spreadsheet_would_run(text: str) -> None:
    """In CSV they begin with ', unless somebody wants them raw; JSON has them as they are."""
    user = UserInfo(True, "o1", remark=text)
    cell = list(csv.reader(io.StringIO(make_sheet("csv", ("remark",), bom=False, raw=False).lines([user]).decode())))
    assert cell == [[f"'{text}"]]
    raw = list(csv.reader(io.StringIO(make_sheet("csv", ("remark",), bom=False, raw=True).lines([user]).decode())))
    assert raw == [[text]]
    assert json.loads(make_sheet("jsonl", ("remark",), bom=False, raw=False).lines([user])) == {"remark": text}


def test_excel_mark(wxmp: Line) -> None:
    """With --bom the file begins with the mark, and only once."""
    assert wxmp("user", "export", "all.csv", "--fields", "openid", "--bom").code == 0
    data = (wxmp.folder / "all.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfopenid")
    assert data.count(b"\xef\xbb\xbf") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("all.txt",), "neither in .csv nor in .jsonl"),
        (("all.csv", "--fields", "openid,name"), "there is no 'name'; there are subscribe, openid"),
        (("all.csv", "--fields", ","), "name at least one"),
        (("all.jsonl", "--bom"), "are for CSV only"),
        (("-", "--resume"), "cannot be continued"),
        (("-", "--tag", "无"), "no tag '无'"),
        (("-", "--json", "--format", "csv"), "cannot be both"),
        (("none/all.csv",), "cannot be written"),
        ((".", "--format", "csv"), "is no file"),
    ],
)
def test_mistakes(wxmp: Line, arguments: tuple[str, ...], said: str) -> None:
    """What cannot work is one sentence, and leaves nothing behind."""
    done = wxmp("user", "export", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert left_behind(wxmp) == []


# ---- half-way


def test_a_used_up_quota_and_the_rest_later(wxmp: Line) -> None:
    """What was there before stays, what was read is kept, and --resume reads the rest without asking again."""
    (wxmp.folder / "all.csv").write_text("before")
    wxmp.sim.fault("errcode", DETAILS, errcode=45009, body_contains=openids(wxmp)[500])
    done = wxmp("user", "export", "all.csv")
    assert done.code == 1
    assert "after 400 followers; all.csv is as it was." in done.err
    assert "filled again at midnight" in done.err
    assert (wxmp.folder / "all.csv").read_text() == "before"
    wxmp.sim.clear_faults()
    before = wxmp.sim.calls(DETAILS)
    told = json.loads(wxmp("user", "export", "all.csv", "--resume", "--json").out)
    assert (told["users"], told["earlier"]) == (FOLLOWERS, 400)
    # 6 for the rest instead of 10; what the first start gave up may still arrive.
    assert 6 <= wxmp.sim.calls(DETAILS) - before < 10
    assert sorted(row["openid"] for row in rows(wxmp.folder / "all.csv")) == sorted(openids(wxmp))
    assert left_behind(wxmp) == ["all.csv"]


def test_resume_goes_on_only_with_the_same(wxmp: Line) -> None:
    """Other fields are another export; without --resume it begins again."""
    wxmp.sim.fault("errcode", DETAILS, errcode=45009, body_contains=openids(wxmp)[500])
    assert wxmp("user", "export", "all.csv").code == 1
    done = wxmp("user", "export", "all.csv", "--fields", "openid,remark", "--resume")
    assert (done.code, "is of another export" in done.err) == (2, True)
    wxmp.sim.clear_faults()
    assert wxmp("user", "export", "all.csv", "--fields", "openid,remark").code == 0
    assert len(rows(wxmp.folder / "all.csv")) == FOLLOWERS
    assert left_behind(wxmp) == ["all.csv"]


def test_a_full_disk(wxmp: Line) -> None:
    """What fits is kept and can be continued when there is room again; the old file stays, the code is 1."""
    (wxmp.folder / "all.csv").write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        done = wxmp("user", "export", "all.csv", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told = json.loads(done.out)
    assert (done.code, told["status"], told["error"]["type"]) == (1, "stopped", "OSError")
    assert "all.csv.part cannot be written: File too large\nStopped after 400 followers" in done.err
    assert (wxmp.folder / "all.csv").read_text() == "before"
    assert wxmp("user", "export", "all.csv", "--resume").code == 0
    assert sorted(row["openid"] for row in rows(wxmp.folder / "all.csv")) == sorted(openids(wxmp))


def test_killed_behind_the_first_line(wxmp: Line) -> None:
    """The names of the columns stand in a continued file once."""
    target = PartFile(
        wxmp.folder / "all.csv",
        describe(wxmp.sim.account.appid, "csv", ("openid",), None, bom=False, raw=False),
        resume=False,
    )
    target.write(make_sheet("csv", ("openid",), bom=False, raw=False).head(), 0, "")
    target._file.close()
    assert wxmp("user", "export", "all.csv", "--fields", "openid", "--resume").code == 0
    assert [row["openid"] for row in rows(wxmp.folder / "all.csv")] == openids(wxmp)


@pytest.mark.parametrize("name", ["all.csv.part", "all.csv.part.json", "all.csv.part.json.new"])
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_links_that_somebody_has_laid(wxmp: Line, name: str, link: str) -> None:
    """In a folder that others can write to, nothing is written into a file of their choice."""
    victim = wxmp.folder / "victim"
    victim.write_text("as it was")
    getattr(wxmp.folder / name, link)(victim)
    done = wxmp("user", "export", "all.csv", "--fields", "openid")
    assert done.code == (2 if name == "all.csv.part" else 0), done.err
    assert victim.read_text() == "as it was"


def test_another_export_ends_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened as a part and is in its place by now is not written to: it is the other one's whole file."""
    (tmp_path / "all.csv.part").write_text("whole")
    monkeypatch.setattr("fcntl.flock", lambda *_: (tmp_path / "all.csv.part").replace(tmp_path / "all.csv"))
    with pytest.raises(ConfigError, match="another export"):
        PartFile(tmp_path / "all.csv", "what", resume=False)
    assert (tmp_path / "all.csv").read_text() == "whole"


def test_a_torn_tail_is_cut_off(wxmp: Line) -> None:
    """Lines behind the last mark, of a process that was killed, are not there twice."""
    wxmp.sim.fault("errcode", DETAILS, errcode=45009, body_contains=openids(wxmp)[500])
    assert wxmp("user", "export", "all.csv").code == 1
    wxmp.sim.clear_faults()
    with (wxmp.folder / "all.csv.part").open("ab") as file:
        file.write(b"oHALF,a line that was ne")
    assert wxmp("user", "export", "all.csv", "--resume").code == 0
    assert sorted(row["openid"] for row in rows(wxmp.folder / "all.csv")) == sorted(openids(wxmp))


def test_ctrl_c_and_on(wxmp: Line) -> None:
    """SIGINT leaves the old file and what can be continued; a second export of the same file waits outside."""
    (wxmp.folder / "all.csv").write_text("before")
    wxmp.sim.fault("latency", DETAILS, seconds=5, body_contains=openids(wxmp)[500])
    process = wxmp.start("user", "export", "all.csv")
    wait_for(lambda: (wxmp.folder / "all.csv.part.json").exists() and "400" in wxmp_side(wxmp))
    second = wxmp("user", "export", "all.csv")
    assert (second.code, "another export is writing" in second.err) == (2, True)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert done.code == 130, done.err
    assert "Interrupted after 400 followers; all.csv is as it was." in done.err
    assert "--resume goes on" in done.err
    assert "\x1b" not in done.out + done.err
    assert (wxmp.folder / "all.csv").read_text() == "before"
    wxmp.sim.clear_faults()
    assert wxmp("user", "export", "all.csv", "--resume").code == 0
    assert sorted(row["openid"] for row in rows(wxmp.folder / "all.csv")) == sorted(openids(wxmp))
    assert left_behind(wxmp) == ["all.csv"]


def wxmp_side(wxmp: Line) -> str:
    return str(json.loads((wxmp.folder / "all.csv.part.json").read_text())["users"])


def test_a_terminal_gets_a_bar(wxmp: Line) -> None:
    """It moves, fits into 80 columns, and is gone at the end."""
    wxmp.sim.fault("latency", DETAILS, seconds=2.0, body_contains=openids(wxmp)[500])
    terminal = Terminal("user", "export", "all.csv", environment=wxmp.variables, folder=wxmp.folder)
    terminal.read_until("400/950")
    assert terminal.end() == 0
    assert terminal.text.startswith("all.csv: 950 followers in ")
    assert terminal.widest <= 80


def test_a_pipe_gets_lines_with_rate_and_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """How many of how many, how fast, and how long still; what an earlier start read does not count as speed."""
    lines = Lines(earlier=1000)
    lines._started -= 10
    lines.update(3000, 5000)
    assert capsys.readouterr().err == "3,000 of 5,000 followers, 200/s, 10 s left\n"


#: Bytes: a page of 10,000 followers takes half of it, all four take more.
PEAK = 3_000_000


class ManyFollowers:
    """A platform with many followers, of which a page is made when it is asked for."""

    pages = 4

    async def list(self, after: str = "") -> OpenidPage:
        number = int(after or 0)
        openids = tuple(f"o{number:03}{entry:024}" for entry in range(10_000))
        following = str(number + 1) if number + 1 < self.pages else ""
        return OpenidPage(self.pages * 10_000, 10_000, following, OpenidData(openids))


class ManyClient:
    user = ManyFollowers()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def token_keeper(self) -> Self:
        return self

    async def get(self, *, patience: float) -> Secret:
        return Secret("token")


@pytest.mark.alone
async def test_memory_is_flat(tmp_path: Path) -> None:
    """Many pages of followers take no more memory than a page of them."""
    job = Job(("openid",), make_sheet("csv", ("openid",), bom=False, raw=False), None)
    target = PartFile(tmp_path / "all.csv", "many", resume=False)
    tracemalloc.start()
    try:
        await job.run(ManyClient(), target, Signals())  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    target.finish()
    assert (tmp_path / "all.csv").stat().st_size == 40_000 * 30 + 8
    assert peak < PEAK


def test_the_fields_are_those_of_a_user() -> None:
    """What is written by default is part of what can be."""
    assert set(FIELDS) < set(KNOWN)
