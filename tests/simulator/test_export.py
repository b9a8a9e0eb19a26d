"""The journal for other programs: HTTP archives, and scripts that send the requests again."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.conftest import Desk
from wxmp.simulator.export import curl_script, har

if TYPE_CHECKING:
    from wxmp.simulator import Simulator, World

# Required fields by the specification of the format (HAR 1.2).
ENTRY = {
    "startedDateTime": str,
    "time": float | int,
    "request": dict,
    "response": dict,
    "cache": dict,
    "timings": dict,
}
REQUEST = {
    "method": str,
    "url": str,
    "httpVersion": str,
    "cookies": list,
    "headers": list,
    "queryString": list,
    "headersSize": int,
    "bodySize": int,
}
RESPONSE = {
    "status": int,
    "statusText": str,
    "httpVersion": str,
    "cookies": list,
    "headers": list,
    "content": dict,
    "redirectURL": str,
    "headersSize": int,
    "bodySize": int,
}


def check(value: dict[str, Any], fields: dict[str, Any]) -> None:
    """Check that the fields are there, with their types."""
    for name, kind in fields.items():
        assert isinstance(value[name], kind), (name, value.get(name))


@pytest.fixture
def session(desk: Desk, world: World) -> World:
    """A world in which several kinds of things have happened."""
    token = {"access_token": desk.token()}
    headers = {"content-type": "application/json"}
    body = json.dumps({"tag": {"name": "重'要"}}, ensure_ascii=False).encode()
    desk.send("POST", "/cgi-bin/tags/create", token, body, headers=headers, client="worker 1")
    desk.send("GET", "/cgi-bin/showqrcode", {"ticket": "a b&c"}, host="mp")
    desk.plain(client="x\ny")
    world.set_callback("http://127.0.0.1:9/wx", token="devToken123")
    world.phone(world.create_followers(1)[0]).say("你好")
    from wxmp.simulator import Answer

    for job in world.callbacks.take():
        while (outgoing := world.callbacks.next_request(job)) is not None:
            world.callbacks.answered(job, outgoing, Answer(200, b"success", "text/plain", 0.25))
    return world


def test_archive_has_all_required_fields(session: World):
    """Every required field of the format is there with its type."""
    log = json.loads(har(list(session.journal)))["log"]
    assert log["version"] == "1.2"
    assert {"name", "version"} <= set(log["creator"])
    assert len(log["entries"]) == len(session.journal)
    for entry in log["entries"]:
        check(entry, ENTRY)
        check(entry["request"], REQUEST)
        check(entry["response"], RESPONSE)
        check(entry["response"]["content"], {"size": int, "mimeType": str})
        check(entry["timings"], {"send": float | int, "wait": float | int, "receive": float | int})
        for pair in (*entry["request"]["headers"], *entry["request"]["queryString"], *entry["response"]["headers"]):
            check(pair, {"name": str, "value": str})
        if "postData" in entry["request"]:
            check(entry["request"]["postData"], {"mimeType": str, "text": str})
        assert datetime.fromisoformat(entry["startedDateTime"]).tzinfo is not None
        assert entry["time"] == sum(entry["timings"].values())


def test_archive_shows_what_happened(session: World):
    """Addresses, bodies and sizes are those of the exchanges; the platform's pushes go to the developer."""
    entries = json.loads(har(list(session.journal), base_url="http://127.0.0.1:1234"))["log"]["entries"]
    _token, tag, picture, _plain, push = entries
    assert tag["request"]["url"].startswith("http://127.0.0.1:1234/cgi-bin/tags/create?access_token=%2A%2A%2A")
    assert json.loads(tag["request"]["postData"]["text"]) == {"tag": {"name": "重'要"}}
    assert tag["request"]["bodySize"] == len('{"tag": {"name": "重\'要"}}'.encode())
    assert (
        picture["request"]["url"]
        == "http://127.0.0.1:1234/mp/cgi-bin/showqrcode?ticket=%2A%2A%2A"
        + (picture["request"]["queryString"][0]["value"][3:])
    )
    assert (picture["response"]["status"], picture["response"]["statusText"]) == (404, "Not Found")
    assert push["request"]["url"].startswith("http://127.0.0.1:9/wx?signature=")
    assert push["time"] == 250.0


def test_archive_without_a_server_names_the_platform(session: World):
    """A world without a server stands for the real hosts."""
    entries = json.loads(har(list(session.journal)))["log"]["entries"]
    assert entries[1]["request"]["url"].startswith("https://api.weixin.qq.com/cgi-bin/tags/create?")
    assert entries[2]["request"]["url"].startswith("https://mp.weixin.qq.com/cgi-bin/showqrcode?")


def test_exports_hold_no_secret(session: World):
    """Neither form holds a token or the secret."""
    text = har(list(session.journal)) + curl_script(list(session.journal))
    tokens = [token.text for token in session.account.tokens.values()]
    assert tokens
    assert not [secret for secret in (*tokens, session.account.secret) if secret in text]


def test_script_uses_variables_for_secrets(session: World):
    """Every kind of credential is a variable the script asks for."""
    script = curl_script(list(session.journal), base_url="http://127.0.0.1:1234")
    assert ': "${BASE:=http://127.0.0.1:1234}"' in script
    assert ': "${ACCESS_TOKEN:?set ACCESS_TOKEN first}"' in script
    assert ': "${SECRET:?set SECRET first}"' in script
    assert "***" not in script


def test_script_is_one_the_shell_can_read(session: World):
    """The shell parses it, and a line break of a caller ends nothing."""
    script = curl_script(list(session.journal))
    done = subprocess.run(["sh", "-n"], check=False, input=script, text=True, capture_output=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    commands = [line for line in script.splitlines() if line.startswith("curl ")]
    assert len(commands) == 4


NASTY = ["'; touch {}; '", "$(touch {})", "`touch {}`", "\ntouch {}\n", "x\r\ntouch {}"]


@pytest.mark.parametrize("nasty", NASTY)
def test_script_runs_nothing_a_caller_has_written(desk: Desk, world: World, tmp_path: Any, nasty: str):
    """Text of a caller in path, query, body or label is never a command."""
    mark = tmp_path / "mark"
    nasty = nasty.format(mark)
    headers = {"content-type": f"application/json{nasty}"}
    desk.send("POST", f"/cgi-bin/{nasty}", {nasty: nasty}, nasty.encode(), headers=headers, client=nasty)
    script = curl_script(list(world.journal), base_url="http://127.0.0.1:9")
    fake = tmp_path / "curl"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o700)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh"], check=False, input=script, text=True, capture_output=True, timeout=10, env={"PATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_script_leaves_out_what_is_not_kept(make_desk):
    """A body that was cut, and a file, cannot be sent again: a comment says so."""
    desk = make_desk(journal_body=10)
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 50}})
    form = {"content-type": "multipart/form-data; boundary=b"}
    desk.send("POST", "/cgi-bin/media/upload", {"access_token": desk.token()}, b"--b--", headers=form)
    script = curl_script(list(desk.world.journal))
    assert script.count("not sent again: the body is not kept") == 3  # the first is the request for the token
    assert "curl" not in script


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here; the shell tests above still run")
def test_script_can_be_run(simulator: Simulator, world: World):
    """With the variables set, the same requests reach the simulator again."""
    desk = Desk(world)
    token = desk.token()
    headers = {"content-type": "application/json"}
    body = '{"tag": {"name": "it\'s 重要"}}'.encode()
    desk.send("POST", "/cgi-bin/tags/create", {"access_token": token}, body, headers=headers)
    script = curl_script(world.exchanges(since=1), base_url=simulator.url)
    environment = {"PATH": "/usr/bin:/bin", "ACCESS_TOKEN": token}
    done = subprocess.run(
        ["sh"], check=False, input=script, text=True, capture_output=True, timeout=20, env=environment
    )
    assert done.returncode == 0, done.stderr
    again = world.journal[-1]
    assert (again.path, again.request_body, again.errcode) == ("/cgi-bin/tags/create", body.decode(), 45157)
