"""The gateway: endpoints found by path, forms of their own for parts of the platform, and bugs that own up."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from wxmp.simulator import Request, Simulator, World, WorldError, gateway
from wxmp.simulator import world as world_module
from wxmp.simulator.app import read_request
from wxmp.simulator.families import DIALECTS, ROUTES
from wxmp.simulator.hosts import HOSTS, address
from wxmp.simulator.routes import Call, Route, RouteTable


def nothing(_call: Call):
    return {}


# --- endpoints ---


def test_every_route_is_an_endpoint():
    """What only says no is no route: on the merchant host each path has the one verb that works."""
    merchant = [route for route in ROUTES if route.host == "mch"]
    assert len({route.path for route in merchant}) == len(merchant) > 20
    assert {route.handler.__name__ for route in merchant} == {"answer"}


def test_patterns_are_found_by_their_first_part():
    """A path is matched against few patterns, and an exact path against none."""
    table = RouteTable(
        [Route("GET", "/a/{x}", nothing), Route("GET", "/b/{x}", nothing), Route("POST", "/a/exact", nothing)]
    )
    assert [(route.path, dict(parts)) for route, parts in table.find("/a/1")] == [("/a/{x}", {"x": "1"})]
    assert [route.path for route, _ in table.find("/a/exact")] == ["/a/exact"]
    assert table.find("/a/1/2") == table.find("/c/1") == table.find("") == []
    assert "/a/exact" in table
    assert "/a/1" not in table


def test_a_path_of_another_host_is_not_found():
    """The host counts when it is named."""
    table = RouteTable([Route("GET", "/a", nothing, host="mp")])
    assert [len(table.find("/a", host)) for host in ("", "mp", "api")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("api.weixin.qq.com", "/mch/v3/x", ("api", "/mch/v3/x")),
        ("api2.wechatpay.cn", "/v3/x", ("mch", "/v3/x")),
        ("localhost", "/mch/v3/x", ("mch", "/v3/x")),
        ("localhost", "/mp/", ("mp", "/")),
        ("localhost", "/mp", ("", "/mp")),
        ("localhost", "/cgi-bin/token", ("", "/cgi-bin/token")),
        ("", "", ("", "")),
    ],
)
def test_the_host_is_named_once(name, path, expected):
    """A real name says which host is meant; on this machine the path may begin with it."""
    assert address(name, path) == expected


def test_hosts_are_data():
    """One table for the server, the transport without sockets, and the rules of faults."""
    assert set(HOSTS.values()) == {"api", "mp", "open", "mch"}
    with pytest.raises(TypeError):
        HOSTS["x"] = "api"  # type: ignore[index]


# --- the merchant host, where there is nothing ---


@pytest.mark.parametrize("host", ["mch", ""])
@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_wrong_verbs_at_the_merchant_host(world, host, verb):
    """Every verb but the right one is 405 in the gateway's own form."""
    reply = world.handle(Request(verb, "/v3/certificates", host=host))
    assert (reply.status, reply.json()["code"]) == (405, "INVALID_REQUEST")
    assert "GET is wanted" in reply.why


@pytest.mark.parametrize("path", ["/v3/nope", "/v3/a/b/c/d/e/f/g/h/i/j/k/l", "/nope", "/", "/cgi-bin/token"])
@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE"])
def test_unknown_paths_at_the_merchant_host(world, path, verb):
    """An unknown path is 404 with a code and a message, for any verb and any number of parts."""
    reply = world.handle(Request(verb, path, host="mch"))
    assert (reply.status, reply.json()["code"]) == (404, "RESOURCE_NOT_EXISTS")
    assert dict(reply.headers)["Request-ID"]


@pytest.mark.parametrize("path", ["/pay/unifiedorder", "/secapi/pay/reverse", "/mmpaymkttransfers/sendredpack"])
@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_v2_paths_want_post(world, path, verb):
    """The older interface says so in XML."""
    reply = world.handle(Request(verb, path, host="mch"))
    assert reply.status == 200
    assert "请使用post方法" in reply.body.decode()


def test_v2_paths_that_are_not_simulated(world):
    """They say that the simulator lacks them, and are no endpoints."""
    reply = world.handle(Request("POST", "/pay/micropay", body=b"<xml/>"))
    assert b"<return_code><![CDATA[FAIL]]>" in reply.body
    assert not world.has_path("/pay/micropay")
    assert world.has_path("/pay/unifiedorder")


def test_other_hosts_have_errcodes(world):
    """The forms of the merchant host stay there: elsewhere an unknown path is 40066, and a bare slash too."""
    assert world.handle(Request("GET", "/v3/nope", host="api")).errcode == 40066
    assert world.handle(Request("GET", "/", host="")).errcode == 40066
    assert {dialect.host for dialect in DIALECTS} == {"mch"}


# --- bugs ---


@pytest.fixture
def broken(monkeypatch):
    """Endpoints with a bug, on two hosts."""

    def fail(call: Call):
        raise KeyError(call.request.body)

    routes = (
        Route("POST", "/t/broken", fail, auth="none", takes="raw"),
        Route("POST", "/v3/broken", fail, auth="none", takes="raw", host="mch"),
        Route("POST", "/pay/broken", fail, auth="none", takes="raw", host="mch"),
    )
    monkeypatch.setattr(gateway, "ENDPOINTS", RouteTable((*ROUTES, *routes)))


@pytest.mark.usefixtures("broken")
class TestBugs:
    @pytest.fixture(autouse=True)
    def no_bugs(self):
        """These are made on purpose."""

    def test_a_bug_is_answered(self, http, world, caplog):
        """A bug in a handler is status 500 with -1, on a connection that lives; the journal names class and path."""
        with caplog.at_level(logging.CRITICAL, "wxmp.simulator"):
            for _ in range(2):
                reply = http.post("/t/broken", content=b"hello")
                assert (reply.status_code, reply.json()["errcode"]) == (500, -1)
        exchange = world.exchanges()[-1]
        assert exchange.why == "-1: a bug of the simulator: KeyError in POST /t/broken"
        assert (exchange.rule, exchange.errcode, exchange.status) == ("bug:KeyError", -1, 500)

    def test_a_bug_is_logged_without_what_was_sent(self, world: World, caplog):
        """The log shows where it broke, and neither body nor query."""
        world.handle(Request("POST", "/t/broken", {"access_token": "the-token"}, b"the-body"))
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("wxmp.simulator", "ERROR")
        assert "KeyError in POST /t/broken" in caplog.text
        assert ", in fail\n" in caplog.text
        assert "the-token" not in caplog.text
        assert "the-body" not in caplog.text

    def test_the_merchant_host_has_its_own_words(self, world: World, caplog):
        """There it is SYSTEM_ERROR, in JSON or in XML."""
        reply = world.handle(Request("POST", "/v3/broken", host="mch"))
        assert (reply.status, reply.json()["code"]) == (500, "SYSTEM_ERROR")
        reply = world.handle(Request("POST", "/pay/broken", host="mch"))
        assert "系统" in reply.body.decode()
        assert [exchange.rule for exchange in world.journal] == ["bug:KeyError"] * 2
        assert len(caplog.records) == 2

    def test_a_bug_of_the_lint_costs_no_answer(self, world: World, monkeypatch, caplog):
        """Advice that fails is logged, and the answer is what it was."""

        def fail(call: Call, *_rest: object) -> None:
            raise ValueError(call.request.body)

        monkeypatch.setattr(world.lint, "see", fail)
        assert world.handle(Request("GET", "/nope", body=b"the-body")).errcode == 40066
        assert "a bug of the simulator's lint: ValueError at exchange 1" in caplog.text
        assert "the-body" not in caplog.text


# --- the request line ---


def test_the_target_is_what_was_sent(http, world):
    """Path and query reach the world as they stood on the wire, next to what they mean."""
    seen: list[Request] = []
    handle = world.gateway.handle
    world.gateway.handle = lambda request: seen.append(request) or handle(request)
    for target in ("/mch/v3/x/a%2Ab*?b=%7e&a=%20+", "/cgi-bin/caf%C3%A9", "/x?"):
        http.get(http.base_url.copy_with(raw_path=target.encode()))
    assert [request.target for request in seen] == ["/mch/v3/x/a%2Ab*?b=%7e&a=%20+", "/cgi-bin/caf%C3%A9", "/x"]
    assert (seen[0].path, seen[0].query) == ("/v3/x/a*b*", {"b": "~", "a": "  "})


def test_the_target_of_a_server_that_keeps_none():
    """A server of ASGI need not keep the path as it was sent; it is then written again."""
    scope = {"method": "GET", "path": "/v3/é", "query_string": b"a=1", "headers": [], "client": None}
    assert read_request(scope, b"", False).target == "/v3/%C3%A9?a=1"


# --- merchants ---


def test_merchants_of_a_world(world):
    """The first merchant comes into being when it is asked for; others are added by number."""
    first = world.default_merchant()
    assert world.default_merchant() is first
    other = world.add_merchant("1900000109", name="书店", scheme="public_key")
    assert (other.mchid, other.name, other.certificates) == ("1900000109", "书店", [])
    assert Simulator(world=world).merchant("1900000109") is other
    assert Simulator(world=world).merchant() is first
    with pytest.raises(WorldError, match="exists already"):
        world.add_merchant("1900000109")


def test_the_world_stays_the_readable_heart():
    """Requests, snapshots and quotas have rooms of their own."""
    assert len(Path(world_module.__file__).read_text(encoding="utf-8").splitlines()) < 600


def test_an_unknown_path_may_pass(make_desk):
    """Without strict paths an ordinary unknown path is answered ok; the merchant host keeps its form."""
    world: World = make_desk(strict_paths=False).world
    assert json.loads(world.handle(Request("GET", "/nope")).body)["errcode"] == 0
    assert world.handle(Request("GET", "/v3/nope")).status == 404
