"""What is written down about the control server's work, and what never is."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.control.conftest import PING, House, build, tear_down
from wxmp import ConfigError
from wxmp.control import ControlKey
from wxmp.control.audit import Audit, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from wxmp.simulator import Simulator


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Everything that is logged, at DEBUG."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(before)
    root.removeHandler(handler)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_each_answer_is_a_line(simulator: Simulator, tmp_path: Path) -> None:
    """Hand-outs, replacements and refusals: who, what, which generation, from where, and when."""
    path = tmp_path / "audit.jsonl"
    house = build(simulator, audit=path)
    first = await house.value()
    simulator.kill_token()
    said = {"generation": first["generation"], "errcode": 40001, "path": "/cgi-bin/menu/get"}
    second = (await house.claim(**said)).json()
    await house.claim(**said)
    other, text = ControlKey.create("other", appids={"wx00000000000000bb"})
    house.server.use_keys([house.key, other])
    await house.http(text).get(f"/v1/accounts/{house.appid}/access_token")
    await house.http("wrong").get(f"/v1/accounts/{house.appid}/access_token")
    written = lines(path)
    assert [entry["event"] for entry in written] == ["hand_out", "replace", "replace_answered", "refuse", "refuse"]
    assert {entry["peer"] for entry in written} == {"127.0.0.1"}
    assert all(entry["at"].endswith("+00:00") for entry in written)
    handed, replaced, _, forbidden, unknown = written
    assert (handed["key"], handed["key_id"], handed["appid"]) == ("shop", house.key.id, house.appid)
    assert (handed["kind"], handed["generation"]) == ("access_token", first["generation"])
    assert (replaced["generation"], replaced["errcode"]) == (second["generation"], 40001)
    assert replaced["path"] == "/cgi-bin/menu/get"
    assert (forbidden["key"], forbidden["error"], forbidden["status"]) == ("other", "forbidden", 403)
    assert "appid" not in forbidden  # what a key is refused is not confirmed, in the file neither
    assert (unknown["error"], "key" in unknown) == ("unauthorized", False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await tear_down(house)


async def test_guessing_does_not_fill_the_disk(simulator: Simulator, tmp_path: Path) -> None:
    """What anybody can cause is a line once in ten seconds."""
    path = tmp_path / "audit.jsonl"
    now = [0.0]
    house = build(simulator, audit=path, clock=lambda: now[0])
    for turn in range(100):
        now[0] = turn * 0.2
        await house.http("wrong", peer=f"127.0.0.{turn}").get("/v1/status")
        await house.http("wrong").get(f"/nowhere/{turn}")
        await house.http("wrong", peer="10.0.0.5").get("/v1/status")
    assert 3 <= len(lines(path)) <= 2 * 4
    await tear_down(house)


async def test_nothing_of_a_request_makes_a_line_of_its_own(house: House, heard: io.StringIO) -> None:
    """Line breaks in a path, in a claim or in a header do not reach the log."""
    key, text = ControlKey.create("ops", appids="*")
    house.server.use_keys([house.key, key])
    await house.value()
    http = house.http(text)
    await http.get("/v1/accounts/wx%0Aforged%20line/access_token")
    await http.get("/v1/accounts/%1b[31mred/%0d%0aforged/replace")
    await house.claim(generation=1, path="/a\nforged line")
    await house.claim(generation=1, path="/a", errcode=40001)
    said = [line for line in heard.getvalue().splitlines() if line.startswith("wxmp.control")]
    assert said
    assert not [line for line in said if "forged" in line or "\x1b" in line]


def test_a_file_that_is_moved_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log rotation moves the file; within seconds a new one is written."""
    import time

    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    audit.write(Entry(event="hand_out", key="first"))
    path.rename(tmp_path / "audit.jsonl.1")
    true = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: true() + 6.0)
    audit.write(Entry(event="hand_out", key="second"))
    audit.close()
    audit.close()
    assert [entry["key"] for entry in lines(path)] == ["second"]
    assert [entry["key"] for entry in lines(tmp_path / "audit.jsonl.1")] == ["first"]


def test_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not stop the server: it is told once, and writing goes on when there is room again."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(5):
        audit.write(Entry(event="hand_out"))
    monkeypatch.undo()
    audit.write(Entry(event="hand_out", key="again"))
    audit.close()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "the audit file cannot be written: No space left on device"
    ]
    assert [entry["key"] for entry in lines(path)] == ["again"]


def test_a_line_that_was_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a line spoils this one line, and not the one that comes after it."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    true = os.write
    monkeypatch.setattr(os, "write", lambda file, line: true(file, line[:10]))
    audit.write(Entry(event="hand_out", key="torn"))
    monkeypatch.undo()
    audit.write(Entry(event="hand_out", key="first"))
    audit.write(Entry(event="hand_out", key="second"))
    audit.close()
    torn, *others = path.read_text(encoding="utf-8").splitlines()
    assert len(torn) == 10
    assert [json.loads(line)["key"] for line in others] == ["first", "second"]


@pytest.mark.parametrize("what", ["folder", "missing", "link", "pipe"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    """A folder, a path without a folder, a symbolic link and a pipe are refused when the server is made."""
    path = tmp_path / "audit"
    if what == "folder":
        path.mkdir()
    elif what == "missing":
        path = tmp_path / "no" / "audit"
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigError) as caught:
        Audit(path)
    assert caught.value.field == "audit"


async def test_secrets_are_nowhere(simulator: Simulator, heard: io.StringIO, tmp_path: Path) -> None:
    """A whole life at DEBUG: nothing secret in log, audit, status, metrics, answers or reprs."""
    path = tmp_path / "audit.jsonl"
    house = build(simulator, audit=path)
    client = house.client()
    evidence: list[Any] = [house.server, house.key, client, house.text and repr(house.store())]
    await client.request("GET", PING)
    await client.jssdk.sign("https://shop.example/")
    simulator.kill_token()
    await client.request("GET", PING)
    await client.refresh_token()
    values = [await house.value(), await house.value("jsapi_ticket")]
    wrong = house.text[:-1] + ("A" if house.text[-1] != "A" else "B")
    refused = [
        await house.http(wrong).get("/v1/status"),
        await house.http(peer="10.0.0.5").get("/v1/status"),
        await house.claim(dead="x" * 3000),
        await house.claim(dead=values[0]["access_token"], path="no"),
    ]
    simulator.fault("errcode", "/cgi-bin/stable_token", errcode=40125)
    simulator.kill_token()
    refused.append(await house.claim(dead=values[0]["access_token"]))
    shown = [await house.http().get(each) for each in ("/v1/status", "/metrics", "/readyz", "/healthz", "/nowhere")]
    evidence += [answer.text for answer in (*refused, *shown)] + [str(answer.headers) for answer in (*refused, *shown)]
    await tear_down(house)
    everything = (
        heard.getvalue() + path.read_text(encoding="utf-8") + "\n".join(f"{each!r} {each}" for each in evidence)
    )
    account = simulator.account
    tokens = account.tokens
    secrets = {account.secret, house.text, wrong, house.text.split("_", 2)[2], house.key.digest}
    secrets |= {token.text for token in (tokens.values() if isinstance(tokens, dict) else tokens)}
    secrets |= {ticket for ticket, _ in account.tickets.values()}
    assert len(secrets) > 7
    assert "hand_out" in everything
    assert len(everything) > 5000
    assert [secret for secret in secrets if secret in everything] == []


async def test_the_audit_goes_to_its_logger(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Without a file the lines are in ``wxmp.control.audit``, where a program may take them."""
    caplog.set_level(logging.INFO, logger="wxmp.control.audit")
    await house.value()
    (record,) = [record for record in caplog.records if record.name == "wxmp.control.audit"]
    assert record.message.startswith("event=hand_out key=shop ")


async def test_an_error_of_the_platform_shows_no_secret(house: House) -> None:
    """What the platform says is passed on by its code and meaning, for people to act on."""
    house.simulator.fault("errcode", "/cgi-bin/stable_token", errcode=40164)
    answer: httpx.Response = await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    assert "40164" in answer.json()["message"]
    assert house.simulator.account.secret not in answer.text
