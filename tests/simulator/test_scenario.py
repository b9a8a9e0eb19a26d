"""Scenarios: what a file says becomes a world, its story happens on the clock, mistakes are told with their line."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp.simulator import Clock, Policy, Request, World, library
from wxmp.simulator.faults import Fault
from wxmp.simulator.pay import ledger
from wxmp.simulator.pay.records import Order
from wxmp.simulator.phone import SENDABLE
from wxmp.simulator.scenario import ScenarioError, apply, build, load, policy_changes
from wxmp.simulator.steps import ACTIONS

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples" / "scenarios").glob("*.yaml"))
FROZEN = "clock: {frozen: true}\n"


def made(text: str, **environ: str) -> World:
    """Make a world with a frozen clock."""
    return build(load(FROZEN + text, environ=environ))


def done(world: World) -> list[tuple[float, str, str]]:
    """Return what has happened: seconds after the start, what, and what went wrong."""
    story = world.state.story
    return [(step.at - story.started_at, step.text, step.error) for step in story.done]


def told(world: World) -> list[str]:
    """Return the names of everything pushed."""
    return [push.name for push in world.pushes()]


# --- what a file says ---------------------------------------------------------------------------------------------


def test_accounts(monkeypatch):
    """The first account is the default one; settings, secret and callback are as written, secrets from outside."""
    monkeypatch.setenv("SHOP_SECRET", "not of this process")
    world = made(
        """
accounts:
  - name: shop
    appid: wx0000000000000001
    secret: ${SHOP_SECRET}
    ip_list: [10.0.0.1, "${NET}/24"]
    secret_frozen: true
    ungranted: [/cgi-bin/user/get]
    callback: {url: "http://127.0.0.1:${PORT}/wx", token: "${TOKEN}", encoding_aes_key: "${KEY}", format: json}
  - {name: paper, kind: subscription, verified: false, test: true}
""",
        SHOP_SECRET="from-outside",
        NET="192.168.1.0",
        PORT="8000",
        TOKEN="token123",
        KEY="k" * 43,
    )
    shop, paper = world.state.accounts.values()
    assert world.account is shop
    assert (shop.appid, shop.secret, shop.name) == ("wx0000000000000001", "from-outside", "shop")
    assert shop.ip_list == ["10.0.0.1", "192.168.1.0/24"]
    assert (shop.secret_frozen, shop.ungranted) == (True, ["/cgi-bin/user/get"])
    assert (shop.callback_url, shop.callback_token) == ("http://127.0.0.1:8000/wx", "token123")
    assert (shop.encoding_aes_key, shop.callback_mode, shop.callback_format) == ("k" * 43, "safe", "json")
    assert (paper.kind, paper.verified, paper.test, paper.callback_enabled) == ("subscription", False, True, False)
    assert paper.secret.startswith("simulated")


def test_secrets_stay_out_of_repr():
    """Neither the scenario nor its parts show a secret."""
    text = "accounts: [{secret: '${S}', callback: {url: 'http://127.0.0.1/', token: '${T}', encoding_aes_key: '${K}'}}]"
    scenario = load(text, environ={"S": "hush-1", "T": "hush2", "K": "hush3" + "k" * 38})
    assert "hush" not in repr(scenario)


def test_people_tags_menus_templates_and_codes():
    """People, their tags, menus by the platform's rules, templates, and codes to scan."""
    world = made(
        """
followers: 2
tags: [vip]
users:
  - {name: alice, tags: [vip], platform: ios, language: en, remark: A}
  - {name: bob, follow: false, platform: android}
  - {name: eve, blacklisted: true}
menus:
  default: {button: [{type: click, name: all, key: ALL}]}
  conditional:
    - {matchrule: {tag: vip, platform: ios}, button: [{type: click, name: vip, key: VIP}]}
templates:
  - {title: order, content: "{{a.DATA}}", template_id: ORDER}
  - {title: other, content: "{{a.DATA}}"}
qr_codes:
  - {name: poster, scene: window, permanent: true}
  - {scene: 12, expires: 10m}
"""
    )
    account = world.account
    alice, bob, eve = (account.users[world.user(name).openid] for name in ("alice", "bob", "eve"))
    assert len(account.users) == 5
    assert (alice.following, bob.following, eve.blacklisted) == (True, False, True)
    assert [account.tags[tag].name for tag in alice.tags] == ["vip"]
    assert (world.person_of(alice).platform, world.person_of(bob).platform) == ("1", "2")
    assert (world.person_of(alice).language, alice.remark) == ("en", "A")
    assert told(world) == []
    assert world.user("alice").tap("VIP")["name"] == "vip"
    assert world.user("eve").tap("ALL")["name"] == "all"
    assert account.templates["ORDER"].title == "order"
    assert len(account.templates) == 2
    poster, number = account.qr.values()
    assert (poster.scene_str, poster.permanent, number.scene_id) == ("window", True, 12)
    assert number.expires_at == world.now() + 600


def test_names_lead_to_ids():
    """Applying tells what the names have become."""
    world = World(clock=Clock.frozen())
    text = (
        "accounts: [{name: shop}]\nusers: [{name: alice}]\nqr_codes: [{scene: a}]\ntemplates: [{title: t, content: c}]"
    )
    applied = apply(world, load(text, environ={}))
    assert applied.accounts["shop"] == world.account.appid
    assert applied.users == {"alice": world.user("alice").openid}
    assert set(applied.codes.values()) == set(world.account.qr)
    assert set(applied.templates.values()) == set(world.account.templates)


def test_parts_belong_to_the_account_they_name():
    """With several accounts each part says which one; without a word it is the first."""
    world = made(
        """
accounts: [{name: one}, {name: two, appid: wx0000000000000002}]
tags: [a, {name: b, account: two}]
users: [{name: alice}, {name: alice, account: two, tags: [b]}, {name: bob, account: wx0000000000000002}]
faults: [{effect: busy}, {effect: quota, account: two}]
steps:
  - {user: alice, do: say, text: x, account: one}
  - {user: bob, do: say, text: y, account: two}
"""
    )
    one, two = world.state.accounts.values()
    assert [tag.name for tag in one.tags.values()][3:] == ["a"]
    assert [tag.name for tag in two.tags.values()][3:] == ["b"]
    assert (len(one.users), len(two.users), len(world.state.people)) == (1, 2, 2)
    assert [rule.appid for rule in world.faults.rules] == ["*", "wx0000000000000002"]
    world.advance(1)
    assert [len(world.pushes(appid=account.appid)) for account in (one, two)] == [1, 1]


def test_merchants():
    """A merchant has the numbers and keys that were written, its keys from outside."""
    world = made("merchants: [{mchid: '1900000001', api_v3_key: '${V3}', name: 店}]", V3="v" * 32)
    merchant = world.state.pay.merchants["1900000001"]
    assert (merchant.api_v3_key, merchant.name, merchant.appids) == ("v" * 32, "店", [world.account.appid])


def test_clock_and_seed():
    """The clock starts where it is told, stands or runs, and the seed makes the ids."""
    text = 'seed: 9\nclock: {start: "2026-11-11T20:00:00", %s}'
    frozen = build(load(text % "frozen: true", environ={}))
    assert (frozen.now(), frozen.clock.speed, frozen.seed) == (1794398400.0, 0, 9)
    fast = build(load(text % "speed: 60", environ={}), seed=10)
    assert (fast.clock.speed, fast.seed) == (60, 10)
    assert 0 <= fast.now() - 1794398400.0 < 600
    assert build(load("seed: 9", environ={})).clock.mode == "real"


def plain(value: object) -> object:
    """Return a policy value the way a file would write it."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return value


def test_every_policy_field_can_be_written():
    """Each field of the policy takes its own default in a file's spelling, and the result is the same policy."""
    default = Policy()
    values = {field.name: plain(getattr(default, field.name)) for field in attrs.fields(Policy)}
    assert policy_changes(json.loads(json.dumps(values)), default, "x") == default


def test_policy():
    """Single rules change, tables entry by entry, and a preset takes the rules of a year."""
    world = made(
        """
policy:
  preset: '2021'
  token_life: 60
  token_overlap: 5
  stable_over_forced: 45009
  template_delay: [1, 2]
  token_true_life: null
  minute_quotas: {/cgi-bin/user/get: 3}
  custom_allowances: {scan: {messages: 1, seconds: 30}}
"""
    )
    policy = world.policy
    assert (policy.token_life, policy.token_overlap, policy.stable_over_forced) == (60, 5.0, "45009")
    assert (policy.template_delay, policy.token_true_life) == ((1.0, 2.0), None)
    assert policy.minute_quotas["/cgi-bin/user/get"] == 3
    assert policy.minute_quotas["/cgi-bin/stable_token"] == 10_000
    assert policy.custom_allowances["scan"].seconds == 30
    assert policy.custom_allowances["write"].messages == 20


def test_mapping_instead_of_text():
    """The same as plain mappings needs no YAML; mistakes are told without a line."""
    assert build(load({"users": [{"name": "a"}], "clock": {"frozen": True}}, environ={})).user("a").openid
    with pytest.raises(ScenarioError, match=r"^scenario, users\[0\]\.nam: unknown key 'nam'; did you mean 'name'\?$"):
        load({"users": [{"name": "a", "nam": "b"}]}, environ={})


# --- the story ----------------------------------------------------------------------------------------------------

STORY = """
tags: [vip]
users: [{name: alice, tags: [vip]}, {name: carol, follow: false}]
menus: {default: [{type: click, name: m, key: M}]}
qr_codes: [{name: poster, scene: window}]
steps:
  - {at: 10s, user: alice, do: say, text: 你好}
  - {after: 5s, user: alice, do: tap, key: M}
  - {at: 1m, user: carol, do: scan, code: poster}
  - {after: 10s, user: carol, do: location, Location_X: 1.5}
  - {after: 10s, user: carol, do: unfollow}
  - {at: 2m, user: alice, do: say, text: 在吗, repeat: {every: 10s, times: 3}}
"""


def test_steps_happen_at_their_times():
    """Nothing happens while the clock stands; advancing fires what is due, in order, each at its own time."""
    world = made(STORY)
    assert told(world) == []
    world.advance(12)
    assert told(world) == ["text"]
    world.advance(200)
    times = [push.at - world.state.story.started_at for push in world.pushes()]
    assert told(world) == ["text", "CLICK", "subscribe", "location", "unsubscribe", "text", "text", "text"]
    assert times == [10, 15, 60, 70, 80, 120, 130, 140]
    assert done(world)[:2] == [(10, "alice: say", ""), (15, "alice: tap", "")]


def test_story_goes_on_after_a_snapshot():
    """A snapshot in the middle holds what is still to come; both worlds end the same."""
    world = made(STORY)
    world.advance(65)
    document = json.loads(json.dumps(world.snapshot()))
    other = World(clock=Clock.frozen(), seed=1)
    other.restore(document)
    for each in (world, other):
        each.advance(100)
    assert other.snapshot() == world.snapshot()
    assert told(other)[-1] == "text"


def test_same_scenario_same_story_byte_for_byte():
    """Two runs of a scenario with chance in it give the same replies, journal, pushes and state."""

    def run() -> tuple[str, list[bytes]]:
        scenario = load(next(path for path in EXAMPLES if path.stem == "night-shift").read_text("utf-8"), environ={})
        world = build(scenario)
        world.set_callback("http://127.0.0.1:1/", token="token123")
        replies = []
        for _ in range(100):
            query = {"grant_type": "client_credential", "appid": world.account.appid, "secret": world.account.secret}
            reply = world.handle(Request("GET", "/cgi-bin/token", query))
            replies += [reply.body, repr(reply).encode()]
            world.advance(10)
        journal = [attrs.asdict(exchange) for exchange in world.exchanges()]
        return json.dumps([journal, world.snapshot()]), replies

    assert run() == run()


def test_failing_step_is_told_and_the_next_one_happens(caplog):
    """A step that cannot happen says where it stands and why."""
    world = made(
        "users: [{name: a, follow: false}]\nsteps:\n  - {user: a, do: say, text: x}\n  - {user: a, do: follow}"
    )
    world.advance(1)
    assert done(world) == [(0, "a: say", "only a follower can write to the account"), (0, "a: follow", "")]
    assert "scenario line 4, steps[0]: a: say: only a follower" in caplog.text


def test_world_steps():
    """Faults, tokens, risk, the account and the clock have steps of their own."""
    world = made(
        """
users: [{name: a}]
steps:
  - {at: 1s, do: fault, effect: busy, path: /x, since: 10s, until: 20s, times: 1}
  - {at: 2s, do: kill_token, channel: plain}
  - {at: 3s, do: kill_new_tokens, channel: stable, count: 2}
  - {at: 4s, do: risk, address: 1.2.3.4, decision: refuse}
  - {at: 5s, do: account, secret_frozen: true, ip_list: [1.1.1.1]}
  - {at: 6s, do: push, fields: {Event: debug_demo, FromUserName: o1}}
  - {at: 7s, user: a, do: push, fields: {Event: debug_demo}}
  - {at: 8s, do: outsider, every: 100s, how: forced}
  - {at: 9s, user: a, do: report_location, latitude: 1.5}
  - {at: 200s, do: clear_faults}
  - {at: 201s, do: outsider}
  - {at: 202s, do: clock, jump: -1m}
"""
    )
    start = world.now()
    world.advance(9)
    (rule,) = world.faults.rules
    assert (rule.since, rule.until, rule.times) == (start + 11, start + 21, 1)
    assert world.account.stable.dead_on_arrival == 2
    assert world.account.risks["1.2.3.4"].state == "refused"
    assert (world.account.secret_frozen, world.account.ip_list) == (True, ["1.1.1.1"])
    assert told(world) == ["debug_demo", "debug_demo", "LOCATION"]
    world.advance(191)
    assert world.state.outsider_fetches == 2
    assert world.advance(10) == start + 150
    assert world.faults.rules == ()
    assert [error for _at, _text, error in done(world) if error] == []
    assert world.state.events == []


def test_clock_steps():
    """The clock may be set, sped up and stopped by the story."""
    world = build(
        load(
            """
clock: {start: "2026-11-11T20:00:00+08:00", frozen: true}
steps:
  - {at: "2026-11-11T20:01:00+08:00", do: clock, set: "2026-11-11T21:00:00+08:00"}
  - {at: 2h, do: clock, speed: 30}
""",
            environ={},
        )
    )
    start = world.now()
    assert world.advance(60) == start + 3600
    world.advance(3600)
    assert world.clock.speed == 30
    world.clock.freeze()


def test_paying_reading_and_deciding():
    """Users pay the newest order they can, read and comment the newest article; the administrator decides."""
    world = made(
        """
users: [{name: a}]
merchants: [{mchid: '1900000001'}]
steps:
  - {at: 1s, user: a, do: pay}
  - {at: 2s, user: a, do: pay, how: cancel}
  - {at: 3s, user: a, do: pay, order: A1}
  - {at: 4s, user: a, do: pay}
  - {at: 5s, user: a, do: read}
  - {at: 6s, user: a, do: read}
  - {at: 7s, user: a, do: comment, text: 好}
  - {at: 8s, user: a, do: answer_popup, choices: {T1: accept}}
  - {at: 9s, do: decide, approve: false}
"""
    )
    account, now = world.account, world.now()
    merchant = world.state.pay.merchants["1900000001"]
    world.advance(1)
    for number in ("A1", "A2"):
        ledger.place(
            world,
            merchant,
            Order("1900000001", number, account.appid, "JSAPI", "v3", "x", 1, "CNY", "", now, now + 60, number),
        )
    world.advance(3)
    assert [order.state for order in merchant.orders.values()] == ["SUCCESS", "SUCCESS"]
    world.advance(1)
    article = library.Article("t", need_open_comment=1)
    (published,) = library.publish_articles(world, account, [article], now, msg_data_id=1)
    world.advance(5)
    errors = {text: error for _at, text, error in done(world) if error}
    assert errors == {
        "a: pay": "there is no order to pay",
        "a: read": "the account has published no article",
        "a: answer_popup": "the account has no such subscription template",
        "decide": "no mass send waits for the administrator",
    }
    assert [text for _at, text, error in done(world) if not error].count("a: pay") == 3
    assert len(published.comments) == 1


def test_every_message_can_be_sent():
    """All that a user can send, and the rest of what they do, stands in the table of actions."""
    users = {name for name, action in ACTIONS.items() if action.who != "world"}
    assert (set(SENDABLE) - {"text"}) | {"say", "tap", "scan", "follow", "unfollow", "open", "pay", "read"} <= users
    assert all(set(action.needed) <= set(action.fields) for action in ACTIONS.values())


def test_faults_count_from_the_start():
    """A rule's span counts from the start, or stands on the clock; durations may be written as such."""
    world = made(
        """
faults:
  - {effect: latency, seconds: 300ms, jitter: 1m30s, since: 10s, until: "2026-01-01T12:05:00+08:00"}
  - {effect: busy, between: "22:00-06:00"}
"""
    )
    first, second = world.faults.rules
    now = world.now()
    assert (first.seconds, first.jitter, first.since, first.until) == (0.3, 90.0, now + 10, now + 300)
    assert second == Fault(id=2, effect="busy", between="22:00-06:00")


# --- into a world that is there -----------------------------------------------------------------------------------


def test_apply_adds_to_a_world():
    """A world that lives keeps what it has: known accounts change, others are added, people come along."""
    world = World(clock=Clock.frozen(), seed=3, followers=2)
    token = world.account
    apply(world, load(f"seed: 9\naccounts: [{{appid: {token.appid}, test: true}}, {{name: two}}]", environ={}))
    assert (world.seed, len(world.state.accounts), world.account.test) == (3, 2, True)
    apply(world, load("users: [{name: alice}]\nclock: {speed: 2}", environ={}))
    assert (len(world.account.users), world.clock.speed) == (3, 2)
    world.clock.freeze()


def test_apply_afresh():
    """Starting again leaves nothing of before: the scenario's seed, clock and first account are the world's."""
    world = World(clock=Clock.frozen(), seed=3, followers=2)
    world.fault("busy")
    scenario = load(
        'seed: 9\nclock: {start: "2026-11-11T20:00:00", frozen: true}\naccounts: [{appid: wx1}]\nusers: [{name: a}]',
        environ={},
    )
    apply(world, scenario, fresh=True)
    assert (world.seed, world.account.appid, list(world.state.accounts)) == (9, "wx1", ["wx1"])
    assert (len(world.account.users), world.faults.rules, world.now()) == (1, (), 1794398400.0)
    assert world.snapshot() == build(scenario).snapshot()


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user:\n - {name: a}", "scenario line 1, user: unknown key 'user'; did you mean 'users'?"),
        ("\nusers:\n - name: a\n   folow: true", "scenario line 4, users[0].folow: unknown key 'folow'; did you mean"),
        ("users: [{}]", "scenario line 1, users[0]: name is missing; add it"),
        ("users: {name: a}", "users: must be a list, not a mapping; begin each entry with a dash"),
        ("users: [a]", "users[0]: must be a mapping, not a text"),
        ("users: [{name: 5}]", "users[0].name: must be a text: write it in quotes, '5'"),
        ("users: [{name: a, follow: no}]", "users[0].follow: must be true or false, not a text"),
        ("users: [{name: a, platform: symbian}]", "'symbian' is not possible; known: android, ios, other"),
        ("users: [{name: a}, {name: a}]", "users[1]: there are two users 'a'; give each its own name"),
        ("users: [{name: a, tags: [vip]}]", "the account has no tag 'vip'"),
        ("followers: -1", "followers: must be between 0 and"),
        ("seed: 1\nseed: 2", "line 2: the key 'seed' stands here twice; keep one"),
        ("seed: 1.5", "seed: must be a whole number, not a number"),
        ("seed: 99999999999999999999999", "the number is too long; quote it"),
        ("clock: {start: 10:30}", "clock.start: must be a time such as 2026-11-11T20:00:00+08:00, not '10:30'"),
        ("clock: {speed: 2, frozen: true}", "a frozen clock has no speed; keep one of the two"),
        ("clock: {speed: -2}", "must not be negative"),
        ("policy: {token_lif: 3}", "policy.token_lif: the policy has no 'token_lif'; did you mean 'token_life'?"),
        ("policy: {token_life: 1.5}", "policy.token_life: must be a whole number, not 1.5"),
        ("policy: {strict_paths: 1}", "policy.strict_paths: must be true or false, not 1"),
        ("policy: {callback_order: nobody}", "must be one of user, account, none, not 'nobody'"),
        ("policy: {template_delay: [1]}", "must be a list of 2 values"),
        ("policy: {daily_quotas: {/x: {ordinary: 1}}}", "policy.daily_quotas: test missing"),
        ("policy: {daily_quotas: {/x: {a: 1}}}", "must be a mapping with ordinary, test"),
        ("accounts: [{name: a}, {name: a}]", "accounts[1]: there are two accounts 'a'"),
        ("accounts: [{secret: '${NO_SUCH}'}]", "the environment variable NO_SUCH is not set; export it, or write"),
        ("accounts: [{secret: 0123456789abcdef0123456789abcdef}]", "this looks like a real AppSecret; write ${NAME}"),
        ("accounts: [{callback: {url: 'http://127.0.0.1/'}}]", "accounts[0].callback: token is missing; add it"),
        ("accounts: [{callback: {url: 'http://e.example/', token: abc}}]", "the URL leads beyond this machine"),
        ("accounts: [{name: a}]\nusers: [{name: b, account: c}]", "no account is called 'c'; known: a"),
        ("users: [{name: b, account: c}]", "users[0]: no account is called 'c'"),
        ("menus: {default: [{name: abc}]}", "menus: the platform refuses it with 65308"),
        ("menus: {default: 3}", "menus.default: must be a list of buttons"),
        ("menus: {conditional: [{button: []}]}", "menus.conditional[0]: matchrule is missing; say for whom"),
        ("menus: {conditional: [{button: [], matchrule: {sex: 1}}]}", "unknown key 'sex'"),
        ("menus: {conditional: [{button: [], matchrule: {tag: v}}]}", "the account has no tag 'v'"),
        ("templates: [{title: t}]", "templates[0]: content is missing; add it"),
        ("qr_codes: [{name: a}]", "a QR code needs a scene"),
        ("qr_codes: [{scene: a, permanent: true, expires: 1m}]", "a permanent code never expires"),
        ("merchants: [{mchid: '1'}]", "merchants[0]: a merchant number has 8 to 10 digits"),
        ("merchants: [{key: '1'}]", "merchants[0].key: unknown key 'key'"),
        ("faults: [{effect: bussy}]", "faults[0]: unknown effect 'bussy'"),
        ("faults: [{effect: busy, nth: 0}]", "faults[0]: nth must be at least 1"),
        ("faults: [{effect: busy, pth: /x}]", "faults[0].pth: unknown key 'pth'; did you mean 'path'?"),
        ("faults: [{effect: latency, seconds: soon}]", "must be a duration such as 10s, 1m30s, 2h"),
        ("faults: [{effect: busy, account: a, appid: b}]", "account and appid say the same"),
        ("steps: [{at: 1s}]", "steps[0]: do is missing; add it"),
        ("steps: [{do: sya}]", "steps[0].do: nothing is called 'sya'; did you mean 'say'?"),
        ("steps: [{do: say, text: x}]", "steps[0]: say needs a user; add user: and a name"),
        ("steps: [{do: say, text: x, user: a}]", "no user of this account is called 'a'; known: none; or add it"),
        ("users: [{name: a}]\nsteps: [{do: clear_faults, user: a}]", "clear_faults is nothing a user does"),
        ("users: [{name: a}]\nsteps: [{do: say, user: a}]", "steps[0]: text is missing; say needs it"),
        ("users: [{name: a}]\nsteps: [{do: say, text: x, txt: y, user: a}]", "unknown key 'txt'; did you mean 'text'?"),
        ("users: [{name: a}]\nsteps: [{do: scan, user: a}]", "scan needs either code"),
        ("users: [{name: a}]\nsteps: [{do: scan, code: x, user: a}]", "no QR code is called 'x'; known: none"),
        ("steps: [{do: clear_faults, at: 1s, after: 2s}]", "a step has at or after, not both"),
        ("steps: [{do: clear_faults, at: -1s}]", "must be a duration"),
        ("steps: [{do: clear_faults, at: '2000-01-01T00:00:00'}]", "this was before the clock's start"),
        ("steps: [{do: clear_faults, repeat: {every: 1s}}]", "a repetition needs both every: (a duration) and times"),
        ("steps: [{do: clear_faults, repeat: {every: 1s, times: 20000}}]", "times: (1 to 10000)"),
        ("steps: [{do: clock}]", "clock does nothing here; say what: jump, set, speed, freeze"),
        ("steps: [{do: kill_token, how: softly}]", "'softly' is not possible; known: expired, forced, plain, unknown"),
        ("steps: [{do: push, fields: 3}]", "fields: must be a mapping"),
        ("steps: [{do: fault, effect: busy, path: 3}]", "path of a fault must be a text"),
        ("a: [1", "line 1: no YAML: expected ',' or ']'"),
        ("- 1", "must be a mapping, not a list"),
        ("? [1, 2]\n: 3", "a key must be a plain word"),
        ("x: &a [*a]", "too many values, or too deep"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{n}: &{n} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"
            for p, n in zip("abcdef", "bcdefg", strict=True)), "too many values, or too deep"),
        ("[" * 5000, "no YAML: it cannot be read"),
        ("x: !!python/object/apply:os.system [echo]", "the tag !python/object/apply:os.system is not taken"),
        ("x: !!python/name:os.system a", "the tag !"),
        ("x: !!binary aGk=", "the tag !binary is not taken"),
        ("x: " + "y" * (1 << 20), "longer than 1048576 characters"),
        ("a: 1\n--- \nb: 2", "no YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_place_and_remedy(text, sentence):
    """Whatever is wrong is one sentence with its line and key, and nothing is guessed."""
    with pytest.raises(ScenarioError) as caught:
        build(load(text, environ={}), clock=Clock.frozen())
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("scenario")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"about": "\ud800"}, "scenario: a text holds half a character; write it whole"),
        ({"about": {1, 2}}, "scenario: not made of plain values"),
        ({"policy": {"token_overlap": float("nan")}}, "scenario: not made of plain values"),
    ],
)
def test_values_no_file_could_hold(value, sentence):
    """What could never be written down again is refused at once."""
    with pytest.raises(ScenarioError, match=sentence):
        load(value, environ={})


def test_nothing_is_run_from_a_tag(tmp_path):
    """A tag that would run something in other loaders is refused before anything happens."""
    path = tmp_path / "made"
    with pytest.raises(ScenarioError):
        load(f"users: !!python/object/apply:pathlib.Path.touch [{path}]", environ={})
    assert not path.exists()


def test_environment_is_read_in_accounts_and_merchants_only():
    """What users say is not looked up; and what comes over a network has no environment at all."""
    text = "users: [{name: a}]\nsteps: [{user: a, do: say, text: '${HOME}'}]"
    world = made(text, HOME="/home/me")
    world.advance(1)
    assert world.pushes()[0].fields["Content"] == "${HOME}"
    with pytest.raises(ScenarioError, match="HOME is not set"):
        load("accounts: [{secret: '${HOME}'}]", environ={})


def test_missing_value_is_not_repeated_in_the_error():
    """An error names the variable, never a secret."""
    with pytest.raises(ScenarioError) as caught:
        build(load("accounts: [{callback: {url: '${U}', token: '${T}'}}]", environ={"U": "ftp://x/", "T": "hush123"}))
    assert "hush" not in str(caught.value)


WORDS = [
    *(
        "users",
        "name",
        "account",
        "accounts",
        "tags",
        "follow",
        "platform",
        "menus",
        "default",
        "conditional",
        "button",
    ),
    *("matchrule", "tag", "templates", "title", "content", "qr_codes", "scene", "expires", "merchants", "mchid"),
    *("faults", "effect", "first", "since", "between", "path", "steps", "do", "at", "after", "user", "repeat", "every"),
    *(
        "times",
        "policy",
        "token_life",
        "daily_quotas",
        "preset",
        "clock",
        "start",
        "speed",
        "frozen",
        "seed",
        "callback",
    ),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=True),
    st.sampled_from(["busy", "say", "10s", "-1m", "2026-11-11", "a", "${A}", "", "ios", "2021", "push_late", "clock"]),
)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), TREES | st.lists(TREES, max_size=3), max_size=4))
def test_any_mapping_is_a_scenario_or_a_mistake(tree):
    """Whatever stands in a document, it makes a world or one sentence, never anything else."""
    try:
        build(load(tree, environ={}), clock=Clock.frozen())
    except ScenarioError as error:
        assert str(error).startswith("scenario")  # noqa: PT017


@settings(max_examples=300, deadline=None)
@given(st.text("ab:{}[],&*!|>-'\"#%@`?\n\t 01.~\x00\ud800\x85", max_size=60))
def test_any_text_is_a_scenario_or_a_mistake(text):
    """Broken YAML of any kind is one sentence."""
    try:
        load(text, environ={})
    except ScenarioError as error:
        assert str(error).startswith("scenario")  # noqa: PT017


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path):
    """The examples are read, and their whole story happens without a mistake."""
    world = build(load(path.read_text("utf-8"), environ={}, name=path.name), clock=Clock.frozen())
    world.advance(3600)
    story = world.state.story
    assert [step for step in story.done if step.error] == []
    assert len(story.done) > 5
    assert [event.kind for event in world.state.events if event.kind == "scenario_step"] == []


def test_import_loads_no_yaml():
    """YAML is loaded when a text is read, and not before."""
    code = "import sys, wxmp.simulator.scenario as s; s.build(s.load({}, environ={})); print('yaml' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert typing.cast("str", ran.stdout).strip() == "False"
