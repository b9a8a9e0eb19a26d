"""Random stories: what users, developers' servers and merchants may do to a world, one step after the other.

A step is a name and three small numbers: a story can be written down, told twice, and cut shorter by hypothesis.
What the numbers pick is taken from the world itself; a story that is told to equal worlds is the same story.
"""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from tests.simulator import test_hostile, test_hostile_outreach, test_library
from tests.simulator.developer import AES_KEY, OTHER_KEY, TOKEN, decrypt, envelope, text_reply, xml_fields
from tests.simulator.pay.merchant import Shop
from wxmp.simulator import Clock, Policy, Request, World, WorldError, formats, library, outreach
from wxmp.simulator.answers import Answer
from wxmp.simulator.callbacks import CallbackSettings
from wxmp.simulator.families import ROUTES
from wxmp.simulator.faults import effects
from wxmp.simulator.pay import ledger
from wxmp.simulator.pay.notices import Notices

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator import Phone, Reply
    from wxmp.simulator.state import Account

SEED = 7
NAMES = ("小明", "Ann", "王大锤🔨", "Ben")
TEXTS = ("你好", "", "x" * 3000, "\x00]]>", "🔨" * 5, "TD", "[[err 20001]]", "<a href='x'>", "\\u4f60", "转人工")
SECONDS = (0.0, 0.5, 1.0, 5.0, 31.0, 61.0, 301.0, 3700.0, 7201.0, 90_000.0, 32 * 86_400.0)
FILES = (("image", "a.jpg"), ("voice", "a.amr"), ("video", "a.mp4"), ("thumb", "a.jpg"))
GOOD: list[tuple[str, dict[str, Any]]] = [
    *((path, body) for path, bodies in test_hostile.GOOD.items() for body in bodies),
    *((path, body) for path, bodies in test_hostile_outreach.GOOD.items() for body in bodies),
    *test_library.GOOD,
]
# The journal is no part of a snapshot, and this asks for it.
GOOD = [(path, body) for path, body in GOOD if path != "/cgi-bin/openapi/rid/get"]
READ = sorted(route.path for route in ROUTES if route.method == "GET" and route.host in {"api", "mp", "open"})
EFFECTS = [effect.name for effect in effects()]
MOODS = ("good", "reply", "none", "status", "junk", "transfer", "huge", "slow")
# Everything kept is kept short, so that a story of a few steps reaches the bounds.
BOUNDS: dict[str, Any] = {
    "journal_size": 60,
    "sent_kept": 8,
    "deliveries_kept": 9,
    "chat_kept": 7,
    "pay_kept": 5,
    "dead_tokens_kept": 4,
    "callback_queue": 12,
    "callback_concurrency": 3,
    "comments_kept": 4,
    "short_keys_kept": 3,
    "media_kept": 6,
    "reads_kept": 5,
    "journal_body": 4000,
    "pay_notice_concurrency": 2,
}
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {
        "callback_order": "account",
        "callback_concurrency": 1,
        "pay_refund_outcome": "CLOSED",
        "mass_over_allowance": "error",
    },
    {"callback_order": "none", "pay_refund_outcome": "ABNORMAL", "strict_paths": False, "pay_notice_delay": 2.0},
    {
        "strict_verbs": False,
        "pay_close_while_paying": True,
        "callback_repeats_broken_body": True,
        "pay_refund_gap": 0.0,
    },
)
Step = tuple[str, int, int, int]


def policy_of(kind: int) -> Policy:
    """Return one of a few sets of rules; all time is the world's own, or nothing could be told twice."""
    return Policy(pay_timestamp="world", callback_timestamp="world", **BOUNDS | KINDS[kind % len(KINDS)])


class Till(Shop):
    """A merchant's server whose clock and nonces belong to its world."""

    def __init__(self, world: World, record: Any, numbers: count[int]) -> None:
        super().__init__(world, record)
        self.numbers = numbers
        self.notify_url = "http://localhost/pay?a=1"

    def authorization(self, method: str, target: str, body: bytes, **changes: Any) -> str:
        own = {"nonce_str": f"nonce{next(self.numbers):027d}", "timestamp": str(int(self.world.now()))}
        return super().authorization(method, target, body, **own | changes)


class Teller:
    """Tells a story to a world and writes down what was answered.

    Args:
        kind: Which rules the world has.
        moves: Whether each saved world goes on in a fresh one, restored from the snapshot.
    """

    def __init__(self, kind: int = 0, *, moves: bool = False) -> None:
        self.policy, self.moves = policy_of(kind), moves
        self.world = self.new_world()
        self.heard: list[object] = []
        self.saved: str | None = None
        self.jobs: list[tuple[Any, Any]] = []
        self.numbers = count(1)
        self.fired: list[tuple[float, float, float | None]] = []
        self.funded: dict[str, int] = {}
        self.saved_funds: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.adopt(self.world)
        self.begin()

    def new_world(self) -> World:
        return World(self.policy, Clock.frozen(), seed=SEED)

    def adopt(self, world: World) -> None:
        """Go on in this world, and watch when its events happen."""
        self.world = world
        self.notices = Notices(world)
        self.jobs.clear()
        happen = world._fire

        def watched(account: Account, event: Any) -> None:
            rest = min((other.due for other in world.state.events), default=None)
            self.fired.append((event.due, world.clock.now(), rest))
            happen(account, event)

        world._fire = watched  # type: ignore[method-assign]

    def begin(self) -> None:
        """Give the default account something of everything, so that the first step finds something to do."""
        world, account = self.world, self.world.account
        world.create_followers(2)
        for name in NAMES[:2]:
            world.user(name).follow()
        world.add_template("t", "{{thing1.DATA}}")
        sample = formats.sample("image", "m")
        library.store_media(world, account, "image", "a.jpg", sample, world.now(), permanent=True, media_id="m")
        article = test_library.ARTICLE | {"thumb_media_id": "m"}
        # A QR code, a template of subscription notices, a draft, and an article that is out after a minute.
        self.post(
            "/cgi-bin/qrcode/create",
            {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}},
        )
        self.post("/wxaapi/newtmpl/addtemplate", {"tid": "1221", "kidList": [2, 5], "sceneDesc": "s"})
        self.post("/cgi-bin/draft/add", {"articles": [article]})
        draft = self.post("/cgi-bin/draft/add", {"articles": [article]})
        self.post("/cgi-bin/freepublish/submit", {"media_id": draft["media_id"]})
        world.advance(60)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        query = {"access_token": self.token(self.world.account, 1)}
        return self.world.handle(Request("POST", path, query, json.dumps(body).encode())).json()

    # --- who and what ---------------------------------------------------------------------------------------------

    def account(self, n: int) -> Account:
        accounts = list(self.world.state.accounts.values())
        return accounts[n % len(accounts)]

    def phone(self, n: int, appid: str | None = None) -> Phone:
        return self.world.user(NAMES[n % len(NAMES)], appid=appid)

    def till(self, n: int) -> Till:
        ledger.default_merchant(self.world)
        merchants = list(self.world.state.pay.merchants.values())
        return Till(self.world, merchants[n % len(merchants)], self.numbers)

    def token(self, account: Account, n: int) -> str:
        """Return a token: nearly always one that works."""
        channel = "stable" if n % 3 else "plain"
        if n % 11 == 0 and account.tokens:
            known = list(account.tokens.values())
            return known[n % len(known)].text
        living = self.world.living_tokens(channel, appid=account.appid)
        if living:
            return living[-1].text
        body = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
        request = Request("POST", "/cgi-bin/stable_token", {}, json.dumps(body).encode())
        try:
            return str(self.world.handle(request).json().get("access_token", "71_nothing"))
        except ValueError:
            return "72_spoilt"  # a fault has struck

    def words(self, account: Account, n: int) -> dict[str, str]:
        """Return what the placeholders of the good bodies stand for."""
        shelf, users = account.library, account.users

        def pick(*things: Any) -> str:
            known = [str(key) for one in things for key in one]
            return known[n % len(known)] if known else "x"

        published = list(shelf.published.values())
        return {
            "<user>": pick(users),
            "<template>": pick(account.templates),
            "<subscription>": pick(account.outreach.templates),
            "<one-time>": outreach.one_time_template(account),
            "<material>": pick(shelf.permanent, shelf.temporary),
            "<news>": pick(shelf.news, shelf.drafts),
            "<draft>": pick(shelf.drafts),
            "<publish>": pick(shelf.jobs),
            "<data>": str(published[n % len(published)].msg_data_id) if published else "1",
            "<article>": published[n % len(published)].article_id if published else "x",
        }

    # --- telling --------------------------------------------------------------------------------------------------

    def tell(self, step: Step) -> None:
        """Do one step. What the world refuses to do is part of the story."""
        name, a, b, c = step
        act: Callable[[int, int, int], object] = getattr(self, f"do_{name}")
        try:
            outcome = act(a, b, c)
        except WorldError as error:
            outcome = f"WorldError: {error}"
        self.heard.append((name, outcome))
        for account in self.world.state.accounts.values():
            self.tokens |= {token.text for token in account.tokens.values()}
            self.tokens |= {*account.oauth_tokens, *account.refresh_tokens, *account.codes}

    def send(self, request: Request) -> object:
        return self.hear(self.world.handle(request))

    @staticmethod
    def hear(reply: Reply) -> object:
        return reply.status, reply.errcode, reply.why, reply.headers, reply.content_type, reply.body, reply.delivery

    # --- users ----------------------------------------------------------------------------------------------------

    def do_follow(self, a: int, b: int, c: int) -> object:
        phone = self.phone(a, self.account(b).appid)
        return phone.follow() if c % 4 else phone.unfollow()

    def do_say(self, a: int, b: int, c: int) -> object:
        phone = self.phone(a, self.account(b).appid)
        if c % 3 == 0:
            phone.follow()
        return phone.say(TEXTS[c % len(TEXTS)], menu_line="101" if c % 7 == 1 else None)

    def do_send(self, a: int, b: int, c: int) -> object:
        phone = self.phone(a, self.account(b).appid)
        data = formats.sample("image", str(c % 5)) if c % 2 else None
        return (
            lambda: phone.send_image(data=data),
            phone.send_voice,
            phone.send_video,
            phone.send_location,
            lambda: phone.send_link("http://[", title="t"),
            phone.open,
            phone.refresh_menu,
            phone.report_location,
        )[c % 8]()

    def do_tap(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        button = {"type": ("click", "view", "scancode_push", "pic_sysphoto", "location_select")[c % 5], "name": "x"}
        button |= {"url": "https://a.example/"} if c % 5 == 1 else {"key": "K"}
        raw = json.dumps({"button": [button]}).encode()
        made = self.send(Request("POST", "/cgi-bin/menu/create", {"access_token": self.token(account, c)}, raw))
        phone = self.phone(a, account.appid)
        phone.refresh_menu()
        return made, phone.tap("x", pictures=1 + c % 3)

    def do_scan(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        tickets = list(account.qr)
        return self.phone(a, account.appid).scan(tickets[c % len(tickets)] if tickets else "none")

    def do_article(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        phone, article = self.phone(a, account.appid), self.words(account, c)["<article>"]
        if c % 3 == 0:
            return phone.share(article)
        return repr(phone.read(article)) if c % 3 == 1 else phone.comment(article, TEXTS[c % len(TEXTS)])

    def do_popup(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        wanted = self.words(account, c)["<subscription>"]
        phone = self.phone(a, account.appid)
        if c % 3 == 0:
            return phone.change_subscription(wanted, bool(c % 2))
        return phone.answer_popup({wanted: "accept" if c % 2 else "reject"})

    def do_event(self, a: int, b: int, c: int) -> object:
        fields = {"Event": ("debug_demo", "x" * 200, "CLICK", "")[c % 4], "Deep": {"A": ["1", {"B": "]]>"}], "C": None}}
        return repr(self.phone(a, self.account(b).appid).push(dict(fields)))

    # --- tokens ---------------------------------------------------------------------------------------------------

    def do_fetch(self, a: int, b: int, c: int) -> object:
        account = self.account(a)
        query = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
        if c % 5 == 0:
            query["secret"] = account.secret[:-1]
        more = {"client": f"c{c % 3}", "client_ip": f"10.0.0.{c % 3}"}
        if b % 2:
            return self.send(Request("GET", "/cgi-bin/token", query, **more))
        body = json.dumps(query | {"force_refresh": b % 4 == 0}).encode()
        return self.send(Request("POST", "/cgi-bin/stable_token", {}, body, **more))

    def do_kill(self, a: int, b: int, c: int) -> object:
        appid, channel = self.account(a).appid, ("plain", "stable")[b % 2]
        if c % 6 == 4:
            return self.world.kill_new_tokens(channel, c % 3, appid=appid)
        if c % 6 == 5:
            return self.world.outsider((None, 600.0, 7000.0)[b % 3], channel=channel, how="forced", appid=appid)
        return self.world.kill_token(channel, ("plain", "forced", "expired", "unknown")[c % 4], appid=appid)

    def do_careless(self, a: int, b: int, c: int) -> object:
        """Show a secret where it does not belong: the journal must not keep it even there."""
        account = self.account(a)
        token = self.token(account, c)
        field = ("access_token", "secret", "appsecret", "Access_Token", "appSecret")[b % 5]
        value = token if "oken" in field else account.secret
        path = ("/cgi-bin/user/get", "/nowhere", "/cgi-bin/menu/get")[c % 3]
        given = {"headers": {"authorization": f"Bearer {token}"}}
        return (
            lambda: self.send(Request("POST", path, {}, json.dumps({field: value}, indent=1).encode(), **given)),
            lambda: self.send(Request("POST", path, {}, f"{field}={quote(value)}&a=1".encode())),
            lambda: self.send(Request("GET", path, {field: value, "a": "1"})),
            lambda: self.send(
                Request("POST", path, {"access_token": token}, f"<xml><{field}>{value}</{field}></xml>".encode())
            ),
            lambda: self.send(Request("POST", path, {}, json.dumps({"a": [{field: value}], "x": "y" * 5000}).encode())),
            lambda: self.send(Request("POST", path, {}, json.dumps({"x": "y" * 3975, field: value}).encode())),
        )[c % 6]()

    # --- the interfaces -------------------------------------------------------------------------------------------

    def do_call(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        path, body = GOOD[a % len(GOOD)]
        text = json.dumps(body)
        for word, real in self.words(account, c).items():
            text = text.replace(word, real)
        query = {"access_token": self.token(account, c), "type": "image", "kf_account": "k"}
        return self.send(Request("POST", path, query, text.encode(), client=f"c{c % 2}"))

    def do_read(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        words = self.words(account, c)
        query = {
            "access_token": self.token(account, c),
            "openid": words["<user>"],
            "media_id": words["<material>"],
            "type": "jsapi",
            "ticket": next(iter(account.qr), "x"),
            "tid": "1221",
            "ids": "2",
            "start": "0",
            "limit": "5",
            "kf_account": "k",
            "next_openid": "",
            "lang": "zh_CN",
            "appid": account.appid,
        }
        path = READ[a % len(READ)].replace("{key}", words["<article>"] if c % 2 else words["<material>"])
        return self.send(Request("GET", path, query, headers={"accept-language": "en"} if c % 2 else {}))

    def do_upload(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        kind, filename = FILES[c % len(FILES)]
        data = formats.sample(kind if kind != "thumb" else "image", str(a % 9)) if a % 7 else b""
        path = ("/cgi-bin/media/upload", "/cgi-bin/material/add_material", "/cgi-bin/media/uploadimg")[a % 3]
        body = test_library.form_body(data, filename, description='{"title":"t","introduction":"i"}')
        headers = {"content-type": f"multipart/form-data; boundary={test_library.BOUNDARY}"}
        query = {"access_token": self.token(account, c), "type": kind}
        return self.send(Request("POST", path, query, body, headers=headers))

    def do_decide(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        known = list(account.outreach.broadcasts)
        if not known:
            return None
        return repr(outreach.decide(self.world, account, known[a % len(known)], bool(c % 2)))

    def do_login(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        openid = self.phone(a, account.appid).openid
        scope = ("snsapi_base", "snsapi_userinfo")[c % 2]
        query = {
            "appid": account.appid,
            "redirect_uri": "http://localhost/back",
            "response_type": "code",
            "scope": scope,
        }
        query |= {"state": "s", "user": openid, "auto": "1"}
        page = self.world.handle(Request("GET", "/connect/oauth2/authorize", query, host="open"))
        target = dict(page.headers).get("location", "")
        code = dict(parse_qsl(urlsplit(target).query)).get("code", "none")
        asked = {"appid": account.appid, "secret": account.secret, "code": code, "grant_type": "authorization_code"}
        answer = self.world.handle(Request("GET", "/sns/oauth2/access_token", asked))
        found = answer.json()
        held = {"access_token": str(found.get("access_token")), "openid": openid, "lang": "zh_CN"}
        info = self.send(Request("GET", "/sns/userinfo", held))
        again = {
            "appid": account.appid,
            "grant_type": "refresh_token",
            "refresh_token": str(found.get("refresh_token")),
        }
        return self.hear(page), self.hear(answer), info, self.send(Request("GET", "/sns/oauth2/refresh_token", again))

    # --- money ----------------------------------------------------------------------------------------------------

    def do_order(self, a: int, b: int, c: int) -> object:
        till = self.till(b)
        phone = self.phone(a, self.home(till))
        number, kind = f"order-{c % 6:04d}", ("jsapi", "native", "h5", "app", "v2")[a % 5]
        total = (1, 100, 99_999)[c % 3]
        if kind == "v2":
            url = "http://localhost/v2"
            return self.hear(
                till.v2_raw("/pay/unifiedorder", till.v2_order(phone.openid, number, total_fee=total, notify_url=url))
            )
        changes: dict[str, Any] = {"payer": {"openid": phone.openid}} if kind == "jsapi" else {}
        if kind == "h5":
            changes["scene_info"] = {"payer_client_ip": "1.2.3.4", "h5_info": {"type": "Wap"}}
        if c % 9 == 8:
            changes["notify_url"] = "https://shop.example.com/pay"
        return self.hear(till.send("POST", f"/v3/pay/transactions/{kind}", till.order(number, total, **changes)))

    def home(self, till: Till) -> str:
        return till.appid if till.appid in self.world.state.accounts else self.world.account.appid

    def do_pay(self, a: int, b: int, c: int) -> object:
        waiting = list(self.world.state.pay.prepays)
        if not waiting:
            return None
        how = ("confirm", "confirm", "slow", "cancel", "fail")[c % 5]
        payer = self.phone(a, self.account(0).appid)
        known = waiting[b % len(waiting)]
        found = self.world.state.pay.prepays[known]
        openid = self.world.state.pay.merchants[found[0]].orders[found[1]].openid
        if openid in self.world.account.users:
            payer = self.world.phone(openid)
        return repr(payer.pay(known, how, password="000000" if c % 11 == 10 else None))

    def do_refund(self, a: int, b: int, c: int) -> object:
        till = self.till(b)
        merchant = self.world.state.pay.merchants[till.mchid]
        paid = [order for order in merchant.orders.values() if order.transaction_id]
        if not paid:
            return None
        order = paid[a % len(paid)]
        amount = max(order.total // (1 + c % 3), 1)
        more = {"notify_url": till.notify_url} if c % 2 else {}
        return self.hear(
            till.refund(order.transaction_id, f"refund-{order.out_trade_no}-{c % 4}", amount, order.total, **more)
        )

    def do_shop(self, a: int, b: int, c: int) -> object:
        till = self.till(b)
        number = f"order-{c % 6:04d}"
        target = f"/v3/pay/transactions/out-trade-no/{number}"
        bill = "2026-01-01"
        return (
            lambda: self.hear(till.send("GET", f"{target}?mchid={till.mchid}")),
            lambda: self.hear(till.send("POST", f"{target}/close", {"mchid": till.mchid})),
            lambda: self.hear(till.send("GET", f"/v3/refund/domestic/refunds/refund-{number}-{c % 4}")),
            lambda: self.hear(till.send("GET", "/v3/certificates")),
            lambda: self.hear(till.send("GET", f"/v3/bill/tradebill?bill_date={bill}")),
            lambda: self.hear(till.v2_raw("/pay/orderquery", {"out_trade_no": number})),
            lambda: repr(
                ledger.act_on_order(self.world, number, ("close", "notify", "refund")[c % 3], mchid=till.mchid)
            ),
            lambda: self.hear(till.send("GET", f"{target}?mchid={till.mchid}", signature="c2FtZQ==")),
            lambda: self.fund(till, (c % 7 - 3) * 1000),
        )[a % 9]()

    def fund(self, till: Till, amount: int) -> int:
        self.funded[till.mchid] = self.funded.get(till.mchid, 0) + amount
        return ledger.fund(self.world, amount, till.mchid)

    def do_transfer(self, a: int, b: int, c: int) -> object:
        till = self.till(b)
        phone = self.phone(a, self.home(till))
        number, amount = f"bill{c % 5}", (30, 5_000)[c % 2]
        target = f"/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{number}"
        if c % 4 == 1:
            return self.hear(till.send("POST", f"{target}/cancel"))
        if c % 4 == 2:
            item = self.world.state.pay.merchants[till.mchid].transfers.get(number)
            given = {"mchId": till.mchid, "appId": till.appid, "package": item.package_info if item else "none"}
            taker = self.world.phone(item.openid) if item and item.openid in self.world.account.users else phone
            return repr(taker.pay(given, "confirm" if c % 8 < 4 else "cancel"))
        if c % 4 == 3:
            return self.hear(till.send("GET", target))
        body = {
            "appid": till.appid,
            "out_bill_no": number,
            "transfer_scene_id": "1000",
            "openid": phone.openid,
            "transfer_amount": amount,
            "transfer_remark": "r",
            "notify_url": till.notify_url,
            "transfer_scene_report_infos": [
                {"info_type": "活动名称", "info_content": "c"},
                {"info_type": "奖励说明", "info_content": "c"},
            ],
        }
        return self.hear(till.send("POST", "/v3/fund-app/mch-transfer/transfer-bills", body))

    def do_merchant(self, a: int, _b: int, _c: int) -> object:
        if len(self.world.state.pay.merchants) >= 2:
            return None
        return repr(ledger.add_merchant(self.world, scheme=("both", "public_key", "certificate")[a % 3]))

    # --- bad days, time, and the console --------------------------------------------------------------------------

    def do_fault(self, a: int, b: int, c: int) -> object:
        effect = EFFECTS[a % len(EFFECTS)]
        given: dict[str, Any] = {"times": 1 + c % 2} if c % 3 else {"probability": 0.5, "times": 4}
        if c % 5 == 4:
            given["nth"] = 2
        needs: dict[str, dict[str, Any]] = {
            "errcode": {"errcode": 45009},
            "redirect": {"location": "http://x/"},
            "huge": {"size": 9000},
            "clock_jump": {"seconds": (-3600.0, 10.0, 8000.0)[c % 3]},
            "push_late": {"seconds": 3.0 + c % 40},
            "latency": {"seconds": 1.0, "jitter": 2.0},
            "drip": {"seconds": 0.1},
        }
        paths = {"token": ("*",), "request": ("*", "/cgi-bin/*", "/v3/*"), "push": ("*",), "pay": ("*",)}
        choice = paths[next(e.kind for e in effects() if e.name == effect)]
        if b % 13 == 12:
            self.world.faults.clear()
        return repr(self.world.fault(effect, choice[b % len(choice)], **given | needs.get(effect, {})))

    def do_ordered(self, a: int, _b: int, c: int) -> object:
        wanted = ("busy", "errcode=40001", "reset_after", "token_killed", "clock_jump=60", "nonsense", "truncated=3")
        account = self.account(0)
        headers = {"x-sim-fault": wanted[a % len(wanted)]}
        return self.send(Request("GET", "/cgi-bin/user/get", {"access_token": self.token(account, c)}, headers=headers))

    def do_wait(self, a: int, _b: int, _c: int) -> object:
        return self.world.advance(SECONDS[a % len(SECONDS)])

    def do_callback(self, a: int, b: int, c: int) -> object:
        account = self.account(b)
        if c % 5 == 0:
            return self.world.stop_callback(appid=account.appid)
        settings = CallbackSettings(
            url=("http://localhost/wx", "http://127.0.0.1:9/wx?a=b")[a % 2],
            token=(TOKEN, "otherToken")[a % 2],
            encoding_aes_key=(AES_KEY, OTHER_KEY)[b % 2],
            mode=("safe", "plain", "compatible")[c % 3],
            format=("xml", "json")[a % 4 // 3],
        )
        return self.world.callbacks.configure(account, settings)

    def do_account(self, a: int, _b: int, c: int) -> object:
        if len(self.world.state.accounts) >= 3:
            account = self.account(a)
            account.verified, account.risk_control, account.kind = (
                bool(c % 4),
                c % 5 == 4,
                ("service", "subscription")[c % 2],
            )
            return None
        account = self.world.add_account(test=bool(c % 2), verified=bool(c % 3))
        self.world.add_template("t", "{{thing1.DATA}}", appid=account.appid)
        return repr(account)

    def do_reset(self, _a: int, _b: int, c: int) -> object:
        if c % 4:
            return None
        self.funded.clear()
        self.world.reset()
        return self.begin()

    # --- pushes on their way --------------------------------------------------------------------------------------

    def do_carry(self, a: int, b: int, c: int) -> object:
        """Take some deliveries and answer some requests; others stay on their way."""
        for sender in (self.world.callbacks, self.notices):
            self.jobs += [(sender, job) for job in sender.take()]
        done: list[object] = []
        for index, (sender, job) in enumerate(list(self.jobs)[: 1 + a % 4]):
            if (b + index) % 6 == 5:
                sender.end(job, again=bool(c % 2))
                self.jobs.remove((sender, job))
                continue
            outgoing = sender.next_request(job)
            if outgoing is None:
                self.jobs.remove((sender, job))
                continue
            done.append((outgoing.method, outgoing.url, outgoing.headers, outgoing.body, outgoing.step))
            done.append(
                repr(sender.answered(job, outgoing, self.answer(job, outgoing, MOODS[(c + index) % len(MOODS)])))
            )
        return done

    def answer(self, job: Any, outgoing: Any, mood: str) -> Answer:
        """Answer as a developer's server may: well, badly, or not at all."""
        if mood == "none":
            return Answer(failure="the connection failed (ConnectError)")
        if mood == "status":
            return Answer(500, b"<html>", "text/html", 0.25)
        if mood == "junk":
            return Answer(200, b"\xff<xml><Content>", "text/plain", 0.25)
        if mood == "huge":
            return Answer(200, b"x" * 70_000, "text/plain", 0.25)
        if mood in {"good", "slow"} or not hasattr(outgoing, "pair"):
            body = b"<xml><return_code>SUCCESS</return_code></xml>" if not hasattr(outgoing, "pair") else b"success"
            return Answer(200, body, "text/plain", 4.5 if mood == "slow" else 0.25)
        if outgoing.format == "json":
            reply = {
                "ToUserName": job.push.openid,
                "FromUserName": "x",
                "CreateTime": 1,
                "MsgType": "text",
                "Content": "c",
            }
            return Answer(200, json.dumps(reply).encode(), "application/json", 0.25)
        push = xml_fields(outgoing.inner)
        plain = text_reply(push, "好的") if mood == "reply" else text_reply(push, MsgType="transfer_customer_service")
        token, key = outgoing.pair
        if outgoing.mode != "plain" and key is not None:
            appid = decrypt(key, xml_fields(outgoing.body)["Encrypt"])[1]
            plain = envelope(plain, appid, token=token, key=key)
        return Answer(200, plain, "text/xml", 0.25)

    def do_deliver(self, _a: int, _b: int, c: int) -> object:
        """Carry everything there is, to a server in one mood."""
        return self.deliver(MOODS[c % len(MOODS)])

    def deliver(self, mood: str) -> int:
        carried = 0
        while True:
            for sender in (self.world.callbacks, self.notices):
                self.jobs += [(sender, job) for job in sender.take()]
            if not self.jobs:
                return carried
            for sender, job in self.jobs:
                while (outgoing := sender.next_request(job)) is not None:
                    carried += 1
                    sender.answered(job, outgoing, self.answer(job, outgoing, mood))
                sender.end(job)
            self.jobs.clear()
            assert carried < 2000, "the deliveries never end"

    # --- snapshots ------------------------------------------------------------------------------------------------

    def do_save(self, _a: int, _b: int, _c: int) -> object:
        """Take a snapshot of a world in which nothing is on its way; go on in it, or in a fresh one made from it."""
        self.deliver("good")
        self.saved = json.dumps(self.world.snapshot())
        self.saved_funds = dict(self.funded)
        if self.moves:
            world = self.new_world()
            world.restore(json.loads(self.saved))
            self.adopt(world)
        return self.saved

    def do_restore(self, _a: int, _b: int, _c: int) -> object:
        """Go back to the last snapshot."""
        if self.saved is None:
            return None
        self.world.restore(json.loads(self.saved))
        self.jobs.clear()
        self.funded = dict(self.saved_funds)
        return self.world.now()


STEPS = sorted(name.removeprefix("do_") for name in dir(Teller) if name.startswith("do_"))
# What most stories are about comes up more often.
STEPS += ["call", "call", "call", "call", "order", "pay", "pay", "refund", "say", "carry", "carry", "callback", "wait"]
