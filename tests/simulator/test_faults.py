"""Injected faults: when they strike, what they do, and that the platform acted or did not."""

from __future__ import annotations

import time

import httpx
import pytest

from wxmp.simulator import Fault, World
from wxmp.simulator.clock import Clock

PATH = "/cgi-bin/tags/create"


@pytest.fixture
def create(simulator, http):
    """Create a tag over HTTP; a write that shows whether the platform acted."""
    account = simulator.account
    query = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
    token = http.get("/cgi-bin/token", params=query).json()["access_token"]
    names = iter(range(1000))

    def call(**more) -> httpx.Response:
        body = {"tag": {"name": f"t{next(names)}"}}
        return http.post(PATH, params={"access_token": token}, json=body, **more)

    call.acted = lambda: len(account.tags) - 3
    return call


@pytest.mark.parametrize(("effect", "errcode"), [("busy", -1), ("quota", 45009), ("minute", 45011)])
def test_errcode_faults(simulator, create, effect, errcode):
    """Busy, quota and minute answer their codes with a rid, and the platform did not act."""
    rule = simulator.fault(effect, PATH, times=1)
    answer = create().json()
    assert answer["errcode"] == errcode
    assert " rid: " in answer["errmsg"]
    assert (create.acted(), rule.hits) == (0, 1)
    assert "tag" in create().json()


def test_any_errcode_even_after_acting(simulator, create):
    """Any code can be answered; with processed=True the platform acted all the same."""
    simulator.fault("errcode", errcode=-1, processed=True, times=1)
    assert create().json()["errcode"] == -1
    assert create.acted() == 1


def test_status_page(simulator, create):
    """An HTTP 5xx comes with a proxy's HTML page."""
    simulator.fault("status", status=503, times=1)
    answer = create()
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html")
    assert answer.text.startswith("<html>")
    assert create.acted() == 0


@pytest.mark.parametrize(("effect", "acted"), [("reset_before", 0), ("reset_after", 1)])
def test_connection_resets(simulator, create, effect, acted):
    """A reset is a real one (ECONNRESET), before or after the platform has acted; the next call works."""
    simulator.fault(effect, times=1)
    with pytest.raises(httpx.ReadError) as caught:
        create()
    errors = []
    error: BaseException | None = caught.value
    while error is not None:
        errors.append(type(error))
        error = error.__cause__ or error.__context__
    assert ConnectionResetError in errors
    assert create.acted() == acted
    assert simulator.journal[-1].processed is bool(acted)
    assert "tag" in create().json()


def test_hang_never_answers(simulator, create):
    """A hanging request ends with the caller's own timeout; the platform did not act."""
    simulator.fault("hang", times=1)
    with pytest.raises(httpx.ReadTimeout):
        create(timeout=0.2)
    assert create.acted() == 0
    assert "tag" in create().json()


def test_latency_delays_the_answer(simulator, create):
    """The answer comes later, and is the right one."""
    simulator.fault("latency", seconds=0.2, times=1)
    started = time.perf_counter()
    assert "tag" in create().json()
    assert time.perf_counter() - started >= 0.2


def test_latency_and_another_fault_add_up(simulator, create):
    """Slowness goes together with one other fault."""
    simulator.fault("latency", seconds=0.1)
    simulator.fault("busy", times=1)
    started = time.perf_counter()
    assert create().json()["errcode"] == -1
    assert time.perf_counter() - started >= 0.1
    assert simulator.journal[-1].fault == "#2 busy, #1 latency"


def test_drip_sends_byte_by_byte(simulator, create):
    """A dripping body arrives whole but slowly."""
    simulator.fault("drip", seconds=0.005, times=1)
    started = time.perf_counter()
    answer = create()
    assert "tag" in answer.json()
    assert time.perf_counter() - started >= 0.005 * len(answer.content)


@pytest.mark.parametrize(
    ("effect", "check"),
    [
        ("truncated", lambda answer: answer.content.startswith(b'{"tag":') and not answer.content.endswith(b"}")),
        ("empty", lambda answer: answer.content == b""),
        ("not_json", lambda answer: answer.content.startswith(b"<html>")),
        ("content_type", lambda answer: answer.headers["content-type"] == "text/html" and "tag" in answer.json()),
        ("bom", lambda answer: answer.content.startswith(b'\xef\xbb\xbf{"tag"')),
        ("control", lambda answer: b"\x01\x0b\n" in answer.content),
    ],
)
def test_spoilt_answers_come_after_acting(simulator, create, effect, check):
    """Truncated, empty, non-JSON, mislabelled, with a mark or control characters: the platform has acted."""
    simulator.fault(effect, times=1)
    answer = create()
    assert answer.status_code == 200
    assert check(answer)
    assert create.acted() == 1


def test_redirect(simulator, create):
    """A redirect points where it was told to."""
    simulator.fault("redirect", location="https://elsewhere.example/x", times=1)
    answer = create(follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://elsewhere.example/x")


def test_huge_body_is_valid_json_of_the_wanted_size(simulator, create):
    """A huge answer is JSON of that many bytes, sent in pieces."""
    simulator.fault("huge", size=3_000_000, times=1)
    answer = create()
    assert len(answer.json()["errmsg"]) == 3_000_000


def codes(world: World, count: int, **more) -> list[bool]:
    from wxmp.simulator import Request

    return [world.handle(Request("GET", "/x", **more)).errcode == -1 for _ in range(count)]


@pytest.mark.parametrize(
    ("when", "struck"),
    [
        ({}, [True] * 6),
        ({"first": 2}, [True, True, False, False, False, False]),
        ({"nth": 3}, [False, False, True, False, False, False]),
        ({"every": 2}, [False, True, False, True, False, True]),
        ({"every": 2, "times": 1}, [False, True, False, False, False, False]),
        ({"probability": 0.0}, [False] * 6),
        ({"probability": 1.0}, [True] * 6),
    ],
)
def test_moments(world, when, struck):
    """Always, first n, the n-th, every n-th, by chance, and at most so many times."""
    rule = world.fault("busy", **when)
    assert codes(world, 6) == struck
    assert (rule.seen, rule.hits) == (6, sum(struck))


def test_chance_is_seeded():
    """The same seed strikes the same requests, another seed others."""

    def run(seed: int) -> list[bool]:
        world = World(clock=Clock.frozen(), seed=seed)
        world.fault("busy", probability=0.5)
        return codes(world, 64)

    assert run(1) == run(1) != run(2)
    assert 10 < sum(run(1)) < 54


def test_between_two_times(world):
    """A rule can be limited to a span of simulated time."""
    now = world.now()
    world.fault("busy", since=now + 10, until=now + 20)
    struck = []
    for _ in range(4):
        struck += codes(world, 1)
        world.advance(7)
    assert struck == [False, False, True, False]


def test_matching(world):
    """Path, method and client label are patterns; what does not match is not counted."""
    rule = world.fault("busy", "/x*", method="GET", client="worker-*")
    assert codes(world, 1, client="other") == [False]
    assert codes(world, 1, client="worker-1") == [True]
    assert (rule.seen, rule.hits) == (1, 1)


def test_account_matching(desk):
    """A rule for one account leaves the other alone, also on the token endpoint."""
    other = desk.world.add_account()
    desk.world.fault("busy", "/cgi-bin/*token", appid=other.appid)
    assert "access_token" in desk.plain()
    assert "access_token" in desk.stable()
    desk.account = other
    assert desk.plain()["errcode"] == -1
    assert desk.stable()["errcode"] == -1


def test_first_rule_in_order_wins(world):
    """Of several rules only the first that strikes takes effect and counts."""
    first, second = world.fault("busy", times=1), world.fault("quota")
    assert codes(world, 2) == [True, False]
    assert (first.hits, second.hits) == (1, 1)


def test_lost_answer_of_a_token_request_has_issued_a_token(desk):
    """After reset_after on the token endpoint the new token lives and the old one is in its overlap."""
    old = desk.plain()["access_token"]
    desk.world.fault("reset_after", "/cgi-bin/token", times=1)
    desk.plain_reply = desk.send(
        "GET",
        "/cgi-bin/token",
        {"grant_type": "client_credential", "appid": desk.account.appid, "secret": desk.account.secret},
    )
    assert desk.plain_reply.delivery.reset
    assert len(desk.world.living_tokens("plain")) == 2
    desk.world.advance(301)
    assert desk.use(old) == 40001


@pytest.mark.parametrize(
    "fields",
    [{"effect": "explode"}, {"effect": "redirect"}, {"effect": "errcode"}, {"effect": "busy", "first": 0}],
)
def test_impossible_rules_are_refused(fields):
    """A rule that cannot work is refused when it is made."""
    with pytest.raises(ValueError, match=r"effect|location|errcode|first"):
        Fault(**fields)
