"""``wxmp token``: the fleet's token is printed, looked at and replaced, and nobody else's is harmed."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.line import Line, Terminal, finish, wait_for
from wxmp.cli.token import spoken

STABLE = "/cgi-bin/stable_token"


def test_get_prints_the_shared_token(wxmp: Line) -> None:
    """The token of the store and nothing else; a second one costs no request."""
    first, second = wxmp("token", "get"), wxmp("token", "get")
    assert (first.code, first.err, first.out) == (0, "", second.out)
    assert wxmp.sim.token_requests == 1
    told = json.loads(wxmp("token", "get", "--json").out)
    assert told["access_token"] == first.out.strip()
    assert told["seconds_left"] > 7000


def test_get_from_memory_warns_and_ends_nobodys_token(wxmp: Line) -> None:
    """With the store of one process it says so, and the token is still that of the fleet."""
    fleet = wxmp("token", "get").out
    done = wxmp("token", "get", "--token-store", "memory:")
    assert (done.code, done.out) == (0, fleet)
    assert "token store is memory" in done.err
    assert fleet.strip() not in done.err


def test_status_tells_all_but_the_token(wxmp: Line) -> None:
    """Nothing, then generation, age and what is left; the platform is never asked."""
    before = wxmp("token", "status")
    assert (before.code, "none: the next call fetches one" in before.out) == (0, True)
    assert wxmp.sim.token_requests == 0
    token = wxmp("token", "get").out.strip()
    done, told = wxmp("token", "status"), json.loads(wxmp("token", "status", "--json").out)
    assert token not in done.out + done.err + json.dumps(told)
    assert "last error   none" in done.out
    assert (told["store"], told["failure"], told["refreshing"]) == ("file", None, False)
    assert told["generation"] > 0
    assert 7000 < told["seconds_left"] <= 7200
    assert wxmp.sim.token_requests == 1


def test_status_after_a_failure(wxmp: Line) -> None:
    """The last error of the fleet is told by its number, and the exit code says that there is something to see."""
    wxmp.sim.fault("errcode", STABLE, errcode=40164)
    assert wxmp("token", "get").code == 1
    wxmp.sim.clear_faults()
    done = wxmp("token", "status")
    assert done.code == 3
    assert "last error   40164 (" in done.out
    assert json.loads(wxmp("token", "status", "--json").out)["failure"]["errcode"] == 40164


def test_refresh_needs_a_word(wxmp: Line) -> None:
    """In a pipe nobody can be asked: without --yes nothing is done."""
    before = wxmp("token", "get").out
    done = wxmp("token", "refresh")
    assert (done.code, "add --yes" in done.err) == (2, True)
    assert wxmp("token", "get").out == before


def test_refresh_replaces_the_token_of_the_fleet(wxmp: Line) -> None:
    """Everybody finds the new one in the store, of a higher generation; the platform's limit is a sentence."""
    before = json.loads(wxmp("token", "get", "--json").out)
    done = wxmp("token", "refresh", "--yes", "--json")
    told, after = json.loads(done.out), json.loads(wxmp("token", "get", "--json").out)
    assert (done.code, told["generation"]) == (0, after["generation"])
    assert after["generation"] > before["generation"]
    assert after["access_token"] != before["access_token"]
    assert after["access_token"] not in done.out + done.err
    again = wxmp("token", "refresh", "--yes")
    assert (again.code, "30 s apart" in again.err) == (1, True)


@pytest.mark.parametrize(("answer", "code"), [("n\r", 2), ("y\r", 0)])
def test_refresh_asks_on_a_terminal(wxmp: Line, answer: str, code: int) -> None:
    """A person is told what it costs, and decides."""
    before = wxmp("token", "get").out
    terminal = Terminal("token", "refresh", environment=wxmp.variables, folder=wxmp.folder)
    terminal.read_until("[y/N]")
    assert "20 a day" in terminal.text
    terminal.type(answer)
    assert terminal.end() == code, terminal.text
    assert terminal.widest <= 80
    assert (wxmp("token", "get").out == before) is bool(code)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_lets_a_refresh_come_to_its_end(wxmp: Line, number: signal.Signals, code: int) -> None:
    """The old token is dead by then: the new one gets into the store, and the lease is free again."""
    before = json.loads(wxmp("token", "get", "--json").out)
    wxmp.sim.fault("latency", STABLE, seconds=2.0)
    process = wxmp.start("token", "refresh", "--yes")
    wait_for(lambda: wxmp.sim.token_requests == 2)
    process.send_signal(number)
    done = finish(process)
    wxmp.sim.clear_faults()
    assert done.code == code, done.err
    assert "Finishing what is on its way" in done.err
    after = json.loads(wxmp("token", "get", "--json").out)
    assert after["generation"] > before["generation"]
    assert wxmp.sim.token_requests == 2
    assert json.loads(wxmp("token", "status", "--json").out)["refreshing"] is False


def test_durations_as_people_say_them() -> None:
    """Seconds, minutes, hours."""
    assert [spoken(seconds) for seconds in (-1, 59.6, 119, 121, 7199, 7322)] == [
        *("0 s", "60 s", "119 s", "2 min 1 s", "119 min 59 s", "2 h 2 min")
    ]
