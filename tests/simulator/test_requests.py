"""How requests reach their handlers: forms, patterns in paths, verbs, hosts, people by name."""

from __future__ import annotations

import json

import httpx
import pytest

from wxmp.simulator import Request, World, gateway, snapshots
from wxmp.simulator.families import ROUTES
from wxmp.simulator.routes import Call, Route, RouteTable
from wxmp.simulator.wire import Refusal, parse_form


def form_of(**parts):
    """Let httpx write a form, as a client would."""
    fields = {name: value for name, value in parts.items() if isinstance(value, str)}
    files = {name: value for name, value in parts.items() if not isinstance(value, str)}
    request = httpx.Request("POST", "http://127.0.0.1/", data=fields, files=files)
    return request.read(), request.headers["content-type"]


def test_a_form_is_read_byte_for_byte():
    """Files of any bytes and UTF-8 names arrive as they were sent; fields stand beside them."""
    data = bytes(range(256)) * 5000 + b"\r\n--x\r\n"
    body, kind = form_of(media=("\u56fe.png", data, "image/png"), description='{"title": "\u6807\u9898"}')
    form = parse_form(body, kind)
    assert dict(form.fields) == {"description": '{"title": "\u6807\u9898"}'}
    file = form.files["media"]
    assert (file.filename, file.content_type, file.data) == ("\u56fe.png", "image/png", data)


def test_an_empty_form_holds_nothing():
    """A form without parts is empty, not an error."""
    form = parse_form(b"--b--\r\n", "multipart/form-data; boundary=b")
    assert (dict(form.fields), dict(form.files)) == ({}, {})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"{}", ""),
        (b"abc", "multipart/form-data; boundary=b"),
        (b"--b\r\nno header\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data"),
    ],
)
def test_what_is_no_form_is_refused(body, kind):
    """Another type or a broken body is 41005, as if no file had come."""
    with pytest.raises(Refusal) as caught:
        parse_form(body, kind)
    assert caught.value.errcode == 41005


@pytest.fixture
def extra_routes(monkeypatch):
    """Two routes on one path, a pattern, an exact path within it, and one that takes forms: in every world."""

    def told(call: Call):
        text = {name: file.filename for name, file in call.form.files.items()}
        return {"verb": call.request.method, "path": dict(call.path), "files": text, "host": call.request.host}

    def raw(call: Call):
        return {"raw": len(call.request.body), "kind": call.request.content_type}

    routes = (
        Route("GET", "/t/both", told, auth="none"),
        Route("POST", "/t/both", raw, auth="none", takes="raw"),
        Route("GET", "/t/a/exact", lambda _call: {"exact": True}, auth="none"),
        Route("POST", "/t/form", told, auth="none", takes="form"),
        Route("GET", "/t/{first_part}/{second}", told, auth="none"),
        Route("GET", "/v9/pay", told, auth="none", host="mch"),
    )
    monkeypatch.setattr(gateway, "ENDPOINTS", RouteTable((*ROUTES, *routes)))


@pytest.mark.usefixtures("extra_routes")
class TestRoutes:
    def test_parts_of_the_path(self, world: World):
        """Parts in braces match up to the next slash, and the handler gets them."""
        assert world.handle(Request("GET", "/t/x.y/z")).json()["path"] == {"first_part": "x.y", "second": "z"}
        assert world.handle(Request("GET", "/t/x/y/z")).errcode == 40066

    def test_exact_paths_win(self, world):
        """An exact path is taken before a pattern that matches it too."""
        assert world.handle(Request("GET", "/t/a/exact")).json() == {"exact": True}

    def test_two_verbs_on_one_path(self, world):
        """Each verb finds its own route, and another verb is told what is wanted."""
        assert world.handle(Request("GET", "/t/both")).json()["verb"] == "GET"
        sent = Request("POST", "/t/both", body=b"<xml/>", headers={"content-type": "text/xml"})
        assert world.handle(sent).json() == {"raw": 6, "kind": "text/xml"}
        assert world.handle(Request("PUT", "/t/both")).errcode == 43001

    def test_a_form_reaches_its_handler(self, http):
        """A real client's upload arrives over HTTP."""
        answer = http.post("/t/form", files={"media": ("a.png", b"123", "image/png")}).json()
        assert answer["files"] == {"media": "a.png"}

    def test_a_form_over_the_limit(self, make_desk, extra_routes):
        """An upload above policy.max_upload_body is 45001; JSON has its own, smaller limit."""
        world: World = make_desk(max_upload_body=300, max_body=10).world
        body, kind = form_of(media=("a.png", b"1" * 400, "image/png"))
        assert world.handle(Request("POST", "/t/form", body=body, headers={"content-type": kind})).errcode == 45001
        body, kind = form_of(media=("a.png", b"1" * 50, "image/png"))
        assert world.handle(Request("POST", "/t/form", body=body, headers={"content-type": kind})).errcode == 0

    @pytest.mark.parametrize("where", [("/mch/v9/pay", "127.0.0.1"), ("/v9/pay", "api.mch.weixin.qq.com")])
    def test_the_merchant_host(self, http, where):
        """The fourth host is told by path prefix or by Host header."""
        path, host = where
        headers = {} if host == "127.0.0.1" else {"host": host}
        assert http.get(path, headers=headers).json()["host"] == "mch"

    def test_other_hosts_do_not_serve_it(self, http):
        """A path of the merchant host is unknown elsewhere."""
        assert http.get("/v9/pay", headers={"host": "api.weixin.qq.com"}).json()["errcode"] == 40066


def test_people_by_name(world):
    """The same name is the same person, to every account, and a stranger at first."""
    alice = world.user("alice")
    assert world.user("alice").openid == alice.openid
    assert world.user("bob").openid != alice.openid
    other = world.add_account().appid
    assert world.user("alice", appid=other).openid != alice.openid
    assert [p.nickname for p in world.state.people] == ["alice", "bob"]
    assert world.account.users[alice.openid].following is False


def test_bytes_survive_a_snapshot(world):
    """A snapshot is JSON, and bytes in the state come back from it."""
    text = json.dumps(world.snapshot())
    world.restore(json.loads(text))
    converter = snapshots.converter()
    assert converter.structure(converter.unstructure(b"\x00\xff"), bytes) == b"\x00\xff"


def test_the_world_knows_its_address(simulator, world):
    """While a simulator runs, the world can write links to itself."""
    assert world.base_url == simulator.url
    simulator.stop()
    assert world.base_url == ""
