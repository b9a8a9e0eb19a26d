"""Injected faults: when they strike, what they do, and that the platform acted or did not."""

from __future__ import annotations

import json
import time

import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp.simulator import Fault, Policy, Request, World, WorldError
from wxmp.simulator.clock import Clock
from wxmp.simulator.faults import EFFECTS, PayNotice, effects, read_fault, read_fault_header

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
    [
        {"effect": "explode"},
        {"effect": "redirect"},
        {"effect": "errcode"},
        {"effect": "busy", "first": 0},
        {"effect": "busy", "event": "CLICK"},
        {"effect": "busy", "mchid": "1900000001"},
        {"effect": "busy", "host": "weixin"},
        {"effect": "busy", "direction": "out"},
        {"effect": "push_twice", "direction": "in"},
        {"effect": "push_twice", "client": "w1"},
        {"effect": "push_twice", "mchid": "1900000001"},
        {"effect": "busy", "between": "22-6"},
        {"effect": "busy", "probability": 1.5},
        {"effect": "busy", "times": -1},
        {"effect": "latency", "seconds": -1.0},
        {"effect": "latency", "seconds": float("nan")},
        {"effect": "clock_jump"},
        {"effect": "truncated", "size": -1},
        {"effect": "token_killed", "channel": "other"},
    ],
)
def test_impossible_rules_are_refused(fields):
    """A rule that cannot work is refused when it is made."""
    words = r"effect|location|errcode|first|event|mchid|host|between|probability|times|seconds|size|channel"
    with pytest.raises(ValueError, match=words):
        Fault(**fields)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"effect": "busy", "nonsense": 1}, "unknown field 'nonsense'"),
        ({"effect": "busy", "seen": 3}, "unknown field 'seen'"),
        ({"effect": "busy", "first": "2"}, "first of a fault must be a whole number"),
        ({"effect": "busy", "first": True}, "first of a fault must be a whole number"),
        ({"effect": "latency", "seconds": float("inf")}, "seconds of a fault must be a number"),
        ({"effect": "busy", "path": None}, "path of a fault must be a text"),
        ({"effect": "busy", "enabled": 1}, "enabled of a fault must be true or false"),
        ({"path": "*"}, "needs an effect"),
        ({"effect": "redirect"}, "needs a location"),
    ],
)
def test_rules_from_plain_data_are_read_strictly(fields, part):
    """A rule from JSON has known fields of the right types only."""
    with pytest.raises(WorldError, match=part):
        read_fault(fields)


def test_rule_from_plain_data():
    """What fits makes the very rule; null means that a limit is not set."""
    assert read_fault({"effect": "busy", "first": None, "times": 2}) == Fault(effect="busy", times=2)


def test_table_of_effects():
    """Every effect is in the table once, with its kind, its fields, and a sentence in both languages."""
    table = effects()
    assert {info.name for info in table} == EFFECTS
    assert len(table) == len(EFFECTS)
    assert {info.kind for info in table} == {"request", "push", "pay", "token"}
    known = {field.name for field in attrs.fields(Fault)}
    for info in table:
        assert set(info.fields) <= known
        assert info.value is None or info.value in info.fields
        assert info.en.endswith(".")
        assert info.zh.endswith("。")


# --- matching -------------------------------------------------------------------------------------------------------


def test_host_is_the_endpoints_own_without_a_prefix(world):
    """A rule for one host strikes its endpoints, also those asked at the bare address."""
    rule = world.fault("busy", host="mp")
    world.handle(Request("GET", "/cgi-bin/token"))
    world.handle(Request("GET", "/cgi-bin/showqrcode"))
    world.handle(Request("GET", "/anything", host="mp"))
    assert rule.hits == 2


def test_user_and_body_of_a_request(world):
    """A rule looks for a user in query and body, and for any text in the body."""
    (openid,) = world.create_followers(1)
    rule = world.fault("busy", openid=openid)
    for body in (f'{{"touser":"{openid}"}}', f'{{"openid_list": ["{openid}"]}}', '{"touser":"o"}'):
        world.handle(Request("POST", "/x", body=body.encode()))
    world.handle(Request("GET", "/x", {"openid": openid}))
    assert rule.hits == 3
    words = world.fault("busy", body_contains="价格")
    world.faults.remove(rule.id)
    world.handle(Request("POST", "/x", body='{"content":"价格"}'.encode()))
    world.handle(Request("POST", "/x", body=b"{}"))
    assert (words.seen, words.hits) == (1, 1)


def test_time_of_the_day(world):
    """A rule may be for a span of the day in Shanghai, over midnight too; the world starts there at noon."""
    night, noon = world.fault("busy", between="22:00-06:00"), world.fault("busy", between="11:30-12:30")
    for _ in range(24):
        world.handle(Request("GET", "/x"))
        world.advance(3600)
    assert (night.hits, noon.hits) == (8, 1)


def test_rule_switched_off_neither_strikes_nor_counts(world):
    """A rule can be switched off and on by its id, found and removed; an unknown id is told."""
    rule = world.fault("busy")
    assert world.faults.enable(rule.id, enabled=False) is rule
    assert codes(world, 2) == [False, False]
    assert rule.seen == 0
    world.faults.enable(rule.id)
    assert codes(world, 1) == [True]
    assert world.faults.get(rule.id) is rule
    assert world.faults.remove(rule.id)
    assert (world.faults.get(rule.id), world.faults.enable(rule.id)) == (None, None)


def test_push_rules_look_into_the_fields(world):
    """A push matches by a text anywhere in its fields."""
    world.set_callback("http://127.0.0.1:1/", token="token123")
    phone = world.phone(world.create_followers(1)[0])
    rule = world.fault("push_late", body_contains="退款")
    phone.say("你好")
    phone.say("我要退款")
    assert rule.hits == 1
    assert [push.state for push in world.pushes()] == ["waiting", "held"]


def test_payment_rules(world):
    """Of each payment effect the first rule that matches the notice strikes and counts."""
    dice, now = world.state.dice, world.now()
    rules = [
        world.fault("pay_twice", mchid="19*", event="TRANSACTION.*", body_contains="A1"),
        world.fault("pay_twice"),
        world.fault("pay_never", "/other"),
        world.fault("pay_forged", openid="o1", appid="wx1", first=1),
    ]
    notice = PayNotice("/pay", "1900000001", "wx1", "o1", "TRANSACTION.SUCCESS", '{"out_trade_no":"A1"}')
    wanted = {"pay_twice", "pay_never", "pay_forged"}
    first = world.faults.strike_pay(wanted, notice, now, dice)
    assert first == {"pay_twice": rules[0], "pay_forged": rules[3]}
    assert list(world.faults.strike_pay(wanted, notice, now, dice)) == ["pay_twice"]
    assert [rule.hits for rule in rules] == [2, 0, 0, 1]
    assert world.faults.strike_pay({"pay_early"}, notice, now, dice) == {}
    assert world.handle(Request("GET", "/pay")).errcode != -1


# --- tokens and the secret ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["plain", "stable"])
@pytest.mark.parametrize(
    ("effect", "errcode"), [("token_killed", 40001), ("token_expired", 42001), ("token_unknown", 40014)]
)
def test_token_dies_just_before_its_request_is_judged(desk, channel, effect, errcode):
    """The request's own token ends as if another system had ended it; a new one works at once."""
    fetch = desk.plain if channel == "plain" else desk.stable
    token = fetch()["access_token"]
    rule = desk.world.fault(effect, times=1)
    assert desk.use(token) == errcode
    assert desk.world.journal[-1].fault == f"#1 {effect}"
    assert rule.hits == 1
    fresh = fetch()["access_token"]
    assert fresh != token
    assert desk.use(fresh) == 0


def test_killed_token_names_its_killer(desk):
    """The journal says by which rule the token was replaced; the other channel lives on."""
    plain, stable = desk.plain()["access_token"], desk.stable()["access_token"]
    desk.world.fault("token_killed", times=1)
    desk.use(stable)
    assert "fault #1 token_killed" in desk.world.journal[-1].why
    assert desk.use(plain) == 0
    assert desk.world.state.outsider_fetches == 1


def test_token_faults_pass_by_requests_without_a_token(desk):
    """Only requests that carry a token are counted, so the n-th is the n-th of those."""
    token = desk.stable()["access_token"]
    rule = desk.world.fault("token_killed", nth=2)
    desk.stable()
    assert desk.use(token) == 0
    assert desk.use(token) == 40001
    assert rule.seen == 2


@pytest.mark.parametrize(
    ("effect", "errcode", "part"),
    [
        ("secret_frozen", 40243, "frozen"),
        ("ip_refused", 40164, "invalid ip 9.9.9.9 ipv6 ::ffff:9.9.9.9, not in whitelist"),
        ("risk_pending", 89503, "administrator"),
    ],
)
def test_refused_at_the_token_endpoints(desk, effect, errcode, part):
    """Trouble with the secret meets requests for a token only, and ends with its rule."""
    token = desk.stable()["access_token"]
    rule = desk.world.fault(effect)
    assert desk.use(token) == 0
    answer = desk.stable(client_ip="9.9.9.9")
    assert answer["errcode"] == errcode
    assert part in answer["errmsg"]
    assert desk.plain()["errcode"] == errcode
    desk.world.faults.remove(rule.id)
    assert "access_token" in desk.stable()


def test_other_code_for_a_refused_address(desk):
    """One official page names 61004: a rule may answer that."""
    desk.world.fault("ip_refused", errcode=61004)
    assert desk.plain()["errcode"] == 61004


def test_refused_connection_is_not_counted(simulator, http):
    """A refused request is reset and counts nowhere, not even among the requests that arrived."""
    simulator.fault("refused", times=1)
    with pytest.raises(httpx.ReadError):
        http.get("/cgi-bin/token")
    assert (simulator.calls("/cgi-bin/token"), simulator.token_requests) == (0, 0)
    assert (simulator.journal[-1].fault, simulator.journal[-1].processed) == ("#1 refused", False)
    http.get("/cgi-bin/token")
    assert simulator.token_requests == 1


@pytest.mark.parametrize("seconds", [7300.0, -600.0])
def test_clock_jump_comes_before_the_request_is_judged(desk, seconds):
    """The clock is wrong from this request on: what was due happens, and a token may have died."""
    token = desk.stable()["access_token"]
    before = desk.world.now()
    desk.world.outsider(100.0)
    desk.world.fault("clock_jump", seconds=seconds, times=1)
    assert desk.use(token) == (42001 if seconds > 0 else 0)
    assert desk.world.now() == before + seconds == desk.world.journal[-1].at
    assert desk.world.state.outsider_fetches == (73 if seconds > 0 else 0)


# --- the header -----------------------------------------------------------------------------------------------------


def ordered(desk, header, path="/cgi-bin/getcallbackip"):
    return desk.send("GET", path, {"access_token": desk.token()}, headers={"x-sim-fault": header})


def test_header_orders_a_fault_for_its_own_request(desk):
    """Any client can have one request fail; the journal names the header, and the next request is all right."""
    reply = ordered(desk, "errcode=45009")
    assert reply.errcode == 45009
    assert desk.world.journal[-1].fault == "header"
    assert "errcode" in desk.world.journal[-1].why
    assert desk.use(desk.token()) == 0


def test_header_over_http(simulator, create, http):
    """It works from any SDK that can set a header, together with slowness."""
    started = time.perf_counter()
    with pytest.raises(httpx.ReadError):
        create(headers={"X-Sim-Fault": "reset_after; latency=0.1"})
    assert time.perf_counter() - started >= 0.1
    assert create.acted() == 1
    assert create(headers={"X-Sim-Fault": "status=504"}).status_code == 504
    assert create.acted() == 1


@pytest.mark.parametrize(
    ("header", "check"),
    [
        ("busy", lambda reply: reply.errcode == -1),
        (" latency = 2.5 ;drip=0.5", lambda reply: (reply.delivery.delay, reply.delivery.drip) == (2.5, 0.5)),
        ("truncated=3", lambda reply: len(reply.body) == 3),
        ("redirect=https://e.example/?a=b", lambda reply: reply.headers == (("location", "https://e.example/?a=b"),)),
        ("token_killed", lambda reply: reply.errcode == 40001),
        ("clock_jump=-5;empty", lambda reply: reply.body == b""),
        ("content_type=text/plain", lambda reply: reply.content_type == "text/plain"),
        ("huge=5", lambda reply: reply.delivery.filler == 5),
        ("errcode=-1", lambda reply: reply.errcode == -1),
    ],
)
def test_header_values(desk, header, check):
    """Each effect takes the one value that matters."""
    assert check(ordered(desk, header))


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", "is no effect"),
        ("bussy", "'bussy', which is no effect"),
        ("push_twice", "is no effect"),
        ("busy=1", "gives a value to busy"),
        ("errcode", "needs an errcode"),
        ("errcode=x", "'x' as the errcode of errcode"),
        ("errcode=99999999999999999999", "as the errcode"),
        ("status=200", "'200' as the status of status"),
        ("status", "needs a value: status=…"),
        ("latency", "needs a value: latency=…"),
        ("latency=nan", "'nan' as the seconds of latency"),
        ("latency=-1", "must not be negative"),
        ("latency=1e300", "at most a year"),
        ("busy;busy", "names an effect twice"),
        ("busy;status=502", "two answers for one request"),
        ("busy;", "is no effect"),
        ("x" * 1001, "longer than 1000"),
    ],
)
def test_wrong_header_is_told(desk, header, part):
    """A header that cannot be read answers HTTP 400 with a sentence; the platform does not act, the journal knows."""
    reply = ordered(desk, header)
    assert reply.status == 400
    assert part in reply.json()["error"]
    last = desk.world.journal[-1]
    assert (last.status, last.fault, last.processed) == (400, "header", False)
    assert part in last.why
    assert desk.world.state.calls.get("/cgi-bin/getcallbackip", 0) == 0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("abcdeglnortuy_=;. 0-9", max_size=60))
def test_any_header_is_faults_or_a_sentence(text):
    """Whatever a client sends, the header is read or refused."""
    try:
        assert read_fault_header(text)
    except WorldError as error:
        assert str(error).startswith("the header X-Sim-Fault")  # noqa: PT017


def test_header_can_be_switched_off(make_desk):
    """The policy lets the header mean nothing."""
    desk = make_desk(fault_header=False)
    assert ordered(desk, "busy").errcode == 0
    assert ordered(desk, "nonsense").errcode == 0


def test_header_comes_before_rules_and_does_not_use_them_up(desk):
    """A rule's answer waits while a header gives one; slowness of both adds up."""
    desk.token()
    rule = desk.world.fault("quota", times=1)
    desk.world.fault("latency", seconds=1.0)
    reply = ordered(desk, "busy; latency=2")
    assert (reply.errcode, reply.delivery.delay, rule.hits) == (-1, 3.0, 0)
    assert desk.world.journal[-1].fault == "header, #2 latency"
    assert ordered(desk, "latency=2").errcode == 45009


# --- the whole again ------------------------------------------------------------------------------------------------


def story(seed: int) -> bytes:
    """Run a world with faults of all kinds and return everything it said, and its journal."""
    world = World(Policy(), Clock.frozen(), seed=seed, followers=3)
    world.fault("busy", probability=0.3)
    world.fault("latency", jitter=2.0, probability=0.5)
    world.fault("token_killed", probability=0.2)
    world.fault("clock_jump", seconds=-3.0, every=7)
    world.fault("control", "/cgi-bin/user/*", nth=5)
    said: list[str] = []

    def ask(method: str, path: str, query: dict[str, str], body: bytes = b"", **headers: str) -> bytes:
        reply = world.handle(Request(method, path, query, body, headers=headers))
        said.append(repr((reply, reply.body)))
        return reply.body

    token = ""
    for number in range(120):
        if number % 10 == 0:
            account = world.account
            query = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
            token = json.loads(ask("GET", "/cgi-bin/token", query)).get("access_token", token)
        ask("POST", "/cgi-bin/tags/create", {"access_token": token}, b'{"tag":{"name":"t%d"}}' % number)
        ask("GET", "/cgi-bin/user/get", {"access_token": token}, **({"x-sim-fault": "drip=1"} if number % 9 else {}))
        world.advance(11)
    kept = json.dumps([attrs.asdict(exchange) for exchange in world.exchanges()])
    return ("\n".join(said) + kept).encode()


def test_same_seed_same_story():
    """The same seed, faults, chance and requests give the same replies and the same journal, byte for byte."""
    assert story(5) == story(5)
    assert story(5) != story(6)


def test_rules_survive_a_snapshot_with_their_counters(world):
    """A snapshot holds the rules, their switches and what they have counted."""
    world.fault("busy", every=2, between="00:00-23:59", body_contains="")
    world.fault("latency", enabled=False)
    codes(world, 3)
    document = json.loads(json.dumps(world.snapshot()))
    other = World(clock=Clock.frozen(), seed=7)
    other.restore(document)
    assert other.faults.rules == world.faults.rules
    assert codes(other, 1) == [True]
