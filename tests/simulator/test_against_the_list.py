"""One good call to every endpoint that a complete SDK needs, judged by the documented names and by what it changes.

The list stands here on its own: method, path and the documented fields of the answer. Whatever reads must answer
otherwise once the world is otherwise; whatever writes must leave the world changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest

from tests.simulator.conftest import Desk
from tests.simulator.test_library import JPEG, MP4, add, form_body, upload
from wxmp.simulator import Answer, Clock, Policy, World, formats, library, outreach, staff
from wxmp.simulator.families import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.simulator import Reply

DAY = 86_400
YESTERDAY, MONDAY, FIRST = "2026-01-01", "2025-12-29", "2026-01-01"
ANNA, CARL, DORA = "anna@shop", "carl@shop", "dora@shop"
CLICK = {"type": "click", "name": "x", "key": "K"}
BUTTONS = [CLICK, {"name": "y", "sub_button": [{"type": "view", "name": "v", "url": "https://a.example/"}]}]
RULES = {
    "add_friend_autoreply_info": {"type": "text", "content": "欢迎"},
    "message_default_autoreply_info": {"type": "text", "content": "在的"},
    "keyword_autoreply_info": {
        "list": [
            {
                "rule_name": "r",
                "create_time": 1,
                "reply_mode": "reply_all",
                "keyword_list_info": [{"type": "text", "match_mode": "contain", "content": "k"}],
                "reply_list_info": [{"type": "text", "content": "c"}],
            }
        ]
    },
}


class Shop:
    """An account where everything has happened that an endpoint can tell of: two days of it."""

    def __init__(self) -> None:
        self.world = World(Policy(kf_invite_delay=None), Clock.frozen(), seed=7)
        self.desk, self.account = Desk(self.world), self.world.account
        self.account.open_platform = True
        self.ann, self.ben, self.eve = (self.world.user(name) for name in ("Ann", "Ben", "Eve"))
        self.yesterday()
        self.world.advance(DAY)
        self.today()
        self.desk.token()

    def post(self, path: str, body: Any) -> Any:
        """Call a POST endpoint that must succeed."""
        answer = self.desk.post(path, body)
        assert answer.get("errcode", 0) == 0, (path, answer)
        return answer

    def yesterday(self) -> None:
        """Followers come and go and write, articles come out, are read and shared."""
        for phone in (self.ann, self.ben, self.eve):
            phone.follow()
        self.ben.unfollow()
        self.ben.follow()
        self.world.set_callback("http://127.0.0.1:9/wx", token="abc")
        self.ann.say("在吗")
        for job in self.world.callbacks.take():
            sent = self.world.callbacks.next_request(job)
            assert sent is not None
            self.world.callbacks.answered(job, sent, Answer(200, b"success", seconds=0.1))
        self.picture = add(self.desk, "image", JPEG)["media_id"]
        self.film = add(self.desk, "video", MP4, "x.mp4", description=json.dumps({"title": "t"}))["media_id"]
        article = {"author": "a", "content": "<p>c</p>", "thumb_media_id": self.picture, "need_open_comment": 1}
        self.article = article | {"title": "标题", "digest": "d", "content_source_url": "https://a.example/"}
        self.job = self.post("/cgi-bin/freepublish/submit", {"media_id": self.draft_of(1)})
        self.sent = self.mass_send("昨天")
        self.world.advance(60)
        for published in self.account.library.published.values():
            self.ann.read(published.key)
            self.ann.share(published.key)
        self.publication = self.account.library.jobs[self.job["publish_id"]].article_id

    def today(self) -> None:
        """Everything that is there now: media, drafts, comments, tags, menus, templates, agents, codes."""
        account, desk = self.account, self.desk
        old = self.world.add_account("wxold")
        account.migrated_from = [old.appid]
        (self.before,) = self.world.create_followers(1, appid=old.appid)
        self.image = upload(desk, "image", JPEG)["media_id"]
        self.clip = upload(desk, "video", MP4, "x.mp4")["media_id"]
        self.voice = upload(desk, "voice", formats.sample("voice", "v"), "x.amr")["media_id"]
        self.draft, self.spare = self.draft_of(1), self.draft_of(2)
        self.news = self.post("/cgi-bin/material/add_news", {"articles": [self.article]})["media_id"]
        (found,) = library.find_article(account, self.publication)
        self.comment, self.answered = self.ann.comment(found.key, "好"), self.ann.comment(found.key, "妙")
        found.comments[1].reply, found.comments[1].featured = "谢谢", True
        self.under = {"msg_data_id": found.msg_data_id, "index": 0}
        self.tag = self.post("/cgi-bin/tags/create", {"tag": {"name": "t"}})["tag"]["id"]
        self.group = self.post("/cgi-bin/groups/create", {"group": {"name": "g"}})["group"]["id"]
        self.post("/cgi-bin/tags/members/batchtagging", {"tagid": self.tag, "openid_list": [self.ann.openid]})
        account.users[self.eve.openid].blacklisted = True
        self.post("/cgi-bin/menu/create", {"button": BUTTONS})
        rule = {"tag_id": str(self.tag), "client_platform_type": "1"}
        self.menu = self.post("/cgi-bin/menu/addconditional", {"button": BUTTONS, "matchrule": rule})["menuid"]
        self.template = self.world.add_template("订单", "{{thing1.DATA}}")
        self.held = self.send_template("[[blocked]]")["msgid"]
        self.notice = self.post("/wxaapi/newtmpl/addtemplate", {"tid": "2034", "kidList": [1, 6], "sceneDesc": "上课"})[
            "priTmplId"
        ]
        self.ann.answer_popup({self.notice: "accept"})
        once = outreach.OneTimeConsent(self.ann.openid, outreach.one_time_template(account), 5, self.world.now())
        account.outreach.one_time.append(once)
        account.outreach.autoreply = dict(RULES)
        staff.add_agent(account, ANNA, "安娜", wx="wx_anna", online=True).openid = self.ben.openid
        staff.add_agent(account, CARL, "卡尔")
        staff.add_agent(account, DORA, "朵拉")
        self.post("/customservice/kfaccount/inviteworker", {"kf_account": DORA, "invite_wx": self.wx(self.ben)})
        self.post("/customservice/kfsession/create", {"kf_account": ANNA, "openid": self.ann.openid})
        self.ann.say("你好")
        hand_over: dict[str, Any] = {"MsgType": "transfer_customer_service"}
        staff.hand_over(self.world, account, self.ben.openid, hand_over, {"MsgType": "text"}, self.world.now())
        self.code = self.authorize()
        query = {"appid": account.appid, "secret": account.secret, "code": self.authorize(), "snapshot": "1"}
        query |= {"grant_type": "authorization_code"}
        self.grant = desk.send("GET", "/sns/oauth2/access_token", query).json()
        scene = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}}
        self.ticket = self.post("/cgi-bin/qrcode/create", scene)["ticket"]
        self.key = self.post("/cgi-bin/shorten/gen", {"long_data": "d"})["short_key"]
        desk.get("/nonsense")
        self.rid = next(exchange.rid for exchange in reversed(self.world.exchanges()) if exchange.rid)

    def wx(self, phone: Any) -> str:
        """Return somebody's WeChat id."""
        return self.world.person_of(self.account.users[phone.openid]).wechat_id

    def draft_of(self, count: int) -> str:
        """Write a draft of so many articles."""
        articles = [self.article | {"title": f"{n}"} for n in range(count)]
        return self.post("/cgi-bin/draft/add", {"articles": articles})["media_id"]

    def mass_send(self, title: str) -> Any:
        """Send an article to everybody."""
        made = self.post("/cgi-bin/draft/add", {"articles": [self.article | {"title": title}]})["media_id"]
        body = {"filter": {"is_to_all": True}, "msgtype": "mpnews", "mpnews": {"media_id": made}}
        return self.post("/cgi-bin/message/mass/sendall", body | {"clientmsgid": title})

    def send_template(self, value: str) -> Any:
        """Send a template message to Ann."""
        body = {"touser": self.ann.openid, "template_id": self.template, "data": {"thing1": {"value": value}}}
        return self.post("/cgi-bin/message/template/send", body)

    def authorize(self) -> str:
        """Let Ann agree to a page; return the code."""
        query = self.page() | {"user": self.ann.openid, "auto": "1", "snapshot": "1"}
        reply = self.desk.send("GET", "/connect/oauth2/authorize", query, host="open")
        return dict(parse_qsl(urlsplit(dict(reply.headers)["location"]).query))["code"]

    def page(self) -> dict[str, str]:
        """Return the query of the consent page."""
        query = {"appid": self.account.appid, "redirect_uri": "https://a.example/", "response_type": "code"}
        return query | {"scope": "snsapi_userinfo", "state": "s"}

    def own(self) -> dict[str, str]:
        """Return the account's id and secret."""
        return {"appid": self.account.appid, "secret": self.account.secret}

    def days(self, first: str = YESTERDAY) -> dict[str, str]:
        """Return the dates of a statistics call."""
        return {"begin_date": first, "end_date": first}

    def forget(self) -> None:
        """Let nothing have happened in the past days."""
        self.account.statistics.days.clear()
        self.account.statistics.turns.clear()
        self.account.library.reads.clear()

    def form(self, data: bytes, filename: str, **query: str) -> Form:
        """Return an upload."""
        return Form(form_body(data, filename), query)


@attrs.frozen
class Form:
    """A multipart body and the query beside it."""

    body: bytes
    query: dict[str, str]


@attrs.frozen
class Case:
    """One endpoint.

    Attributes:
        call: ``"GET /path"``.
        given: What it is called with: the query of a GET, the body of a POST.
        fields: The documented fields of the answer, such as ``list[].day``; of a list one entry must have each.
        change: Makes the world otherwise, so that the answer must be otherwise; ``None`` for what writes.
    """

    call: str
    given: Callable[[Shop], Any] = attrs.field(repr=False)
    fields: str = ""
    change: Callable[[Shop], object] | None = attrs.field(default=None, repr=False)

    @property
    def path(self) -> str:
        return self.call.partition(" ")[2]


def empty(_shop: Shop) -> dict[str, Any]:
    """Give nothing."""
    return {}


def below(prefix: str, names: str) -> str:
    """Put a prefix before each name."""
    return " ".join(f"{prefix}{name}" for name in names.split())


USER = (
    "subscribe openid unionid subscribe_time remark groupid tagid_list subscribe_scene qr_scene qr_scene_str language"
    " nickname sex city province country headimgurl"
)
ARTICLE = (
    "title author digest content content_source_url thumb_media_id show_cover_pic need_open_comment"
    " only_fans_can_comment url"
)
READING = (
    "int_page_read_user int_page_read_count ori_page_read_user ori_page_read_count share_user share_count"
    " add_to_fav_user add_to_fav_count"
)
MESSAGES = below("list[].", "ref_date msg_type msg_user msg_count")
BAND = below("list[].", "ref_date count_interval msg_user")
ANSWERS = "callback_count fail_count total_time_cost max_time_cost"
SENT = "msg_id msg_data_id type"
KEYWORD = "keyword_autoreply_info.list[]."


def statistics(name: str, fields: str, first: str = YESTERDAY) -> Case:
    """Return the case of a statistics endpoint."""
    return Case(f"POST /datacube/{name}", lambda shop: shop.days(first), fields, Shop.forget)


def user(shop: Shop) -> Any:
    """Return Ann as the account knows her."""
    return shop.account.users[shop.ann.openid]


def to(shop: Shop, **more: Any) -> dict[str, Any]:
    """Return a message's body to Ann."""
    return {"touser": shop.ann.openid, **more}


CASES = (
    # --- base ---
    Case("GET /cgi-bin/token", lambda s: {"grant_type": "client_credential", **s.own()}, "access_token expires_in"),
    Case(
        "POST /cgi-bin/stable_token",
        lambda s: {"grant_type": "client_credential", **s.own()},
        "access_token expires_in",
        lambda s: s.world.kill_token("stable", "forced"),
    ),
    Case(
        "POST /cgi-bin/callback/check",
        lambda _s: {"action": "all", "check_operator": "UNICOM"},
        "dns[].ip dns[].real_operator ping[].ip ping[].from_operator ping[].package_loss ping[].time",
        lambda s: setattr(s.account, "callback_url", "http://127.0.0.9/"),
    ),
    Case(
        "GET /cgi-bin/get_api_domain_ip",
        empty,
        "ip_list",
        lambda s: setattr(s.world, "policy", attrs.evolve(s.world.policy, api_ips=())),
    ),
    Case(
        "GET /cgi-bin/getcallbackip",
        empty,
        "ip_list",
        lambda s: setattr(s.world, "policy", attrs.evolve(s.world.policy, callback_ips=())),
    ),
    Case("POST /cgi-bin/clear_quota", lambda s: {"appid": s.account.appid}),
    Case("POST /cgi-bin/clear_quota/v2", lambda s: {"appid": s.account.appid, "appsecret": s.account.secret}),
    Case(
        "POST /cgi-bin/openapi/quota/get",
        lambda _s: {"cgi_path": "/cgi-bin/tags/get"},
        below("quota.", "daily_limit used remain")
        + " rate_limit.call_count rate_limit.refresh_second"
        + " component_rate_limit.call_count component_rate_limit.refresh_second",
        lambda s: s.desk.get("/cgi-bin/tags/get"),
    ),
    Case("POST /cgi-bin/openapi/quota/clear", lambda _s: {"cgi_path": "/cgi-bin/draft/add"}),
    Case(
        "POST /cgi-bin/openapi/rid/get",
        lambda s: {"rid": s.rid},
        below("request.", "invoke_time cost_in_ms request_url request_body response_body client_ip"),
        lambda s: s.world.journal.clear(),
    ),
    # --- menus ---
    Case("POST /cgi-bin/menu/create", lambda _s: {"button": [CLICK]}),
    Case(
        "GET /cgi-bin/get_current_selfmenu_info",
        empty,
        below("selfmenu_info.button[].", "name type key sub_button.list[].url") + " is_menu_open",
        lambda s: s.desk.get("/cgi-bin/menu/delete"),
    ),
    Case(
        "GET /cgi-bin/menu/get",
        empty,
        below("menu.", "menuid button[].name button[].type button[].key button[].sub_button[].url")
        + " conditionalmenu[].button conditionalmenu[].matchrule.client_platform_type conditionalmenu[].menuid",
        lambda s: s.post("/cgi-bin/menu/create", {"button": [CLICK]}),
    ),
    Case("GET /cgi-bin/menu/delete", empty),
    Case(
        "POST /cgi-bin/menu/addconditional",
        lambda s: {"button": [CLICK], "matchrule": {"tag_id": str(s.tag)}},
        "menuid",
    ),
    Case("POST /cgi-bin/menu/delconditional", lambda s: {"menuid": s.menu}),
    Case(
        "POST /cgi-bin/menu/trymatch",
        lambda s: {"user_id": s.ben.openid},
        "button[].name",
        lambda s: s.post("/cgi-bin/menu/create", {"button": [CLICK]}),
    ),
    # --- users, tags, blacklist, groups ---
    Case("GET /cgi-bin/user/info", lambda s: {"openid": s.ann.openid}, USER, lambda s: s.ann.unfollow()),
    Case(
        "POST /cgi-bin/user/info/batchget",
        lambda s: {"user_list": [{"openid": s.ann.openid}]},
        below("user_info_list[].", USER),
        lambda s: setattr(user(s), "remark", "changed"),
    ),
    Case("GET /cgi-bin/user/get", empty, "total count data.openid next_openid", lambda s: s.ann.unfollow()),
    Case("POST /cgi-bin/user/info/updateremark", lambda s: {"openid": s.ann.openid, "remark": "r"}),
    Case(
        "POST /cgi-bin/changeopenid",
        lambda s: {"from_appid": "wxold", "openid_list": [s.before]},
        below("result_list[].", "ori_openid new_openid err_msg"),
        lambda s: s.account.migrated_from.clear(),
    ),
    Case("POST /cgi-bin/tags/create", lambda _s: {"tag": {"name": "new"}}, "tag.id tag.name"),
    Case(
        "GET /cgi-bin/tags/get",
        empty,
        below("tags[].", "id name count"),
        lambda s: s.post("/cgi-bin/tags/create", {"tag": {"name": "new"}}),
    ),
    Case("POST /cgi-bin/tags/update", lambda s: {"tag": {"id": s.tag, "name": "other"}}),
    Case("POST /cgi-bin/tags/delete", lambda s: {"tag": {"id": s.tag}}),
    Case(
        "POST /cgi-bin/user/tag/get",
        lambda s: {"tagid": s.tag},
        "count data.openid next_openid",
        lambda s: user(s).tags.clear(),
    ),
    Case("POST /cgi-bin/tags/members/batchtagging", lambda s: {"tagid": s.tag, "openid_list": [s.ben.openid]}),
    Case("POST /cgi-bin/tags/members/batchuntagging", lambda s: {"tagid": s.tag, "openid_list": [s.ann.openid]}),
    Case(
        "POST /cgi-bin/tags/getidlist",
        lambda s: {"openid": s.ann.openid},
        "tagid_list",
        lambda s: user(s).tags.clear(),
    ),
    Case(
        "POST /cgi-bin/tags/members/getblacklist",
        empty,
        "total count data.openid next_openid",
        lambda s: setattr(user(s), "blacklisted", True),
    ),
    Case("POST /cgi-bin/tags/members/batchblacklist", lambda s: {"openid_list": [s.ann.openid]}),
    Case("POST /cgi-bin/tags/members/batchunblacklist", lambda s: {"openid_list": [s.eve.openid]}),
    Case("POST /cgi-bin/groups/create", lambda _s: {"group": {"name": "new"}}, "group.id group.name"),
    Case(
        "GET /cgi-bin/groups/get",
        empty,
        below("groups[].", "id name count"),
        lambda s: s.post("/cgi-bin/groups/create", {"group": {"name": "new"}}),
    ),
    Case(
        "POST /cgi-bin/groups/getid",
        lambda s: {"openid": s.ann.openid},
        "groupid",
        lambda s: s.post("/cgi-bin/groups/members/update", {"openid": s.ann.openid, "to_groupid": s.group}),
    ),
    Case("POST /cgi-bin/groups/update", lambda s: {"group": {"id": s.group, "name": "other"}}),
    Case("POST /cgi-bin/groups/members/update", lambda s: {"openid": s.ann.openid, "to_groupid": s.group}),
    Case("POST /cgi-bin/groups/members/batchupdate", lambda s: {"openid_list": [s.ann.openid], "to_groupid": s.group}),
    Case("POST /cgi-bin/groups/delete", lambda s: {"group": {"id": s.group}}),
    # --- template messages ---
    Case(
        "POST /cgi-bin/message/template/send",
        lambda s: to(s, template_id=s.template, data={"thing1": {"value": "v"}}),
        "msgid",
    ),
    Case("POST /cgi-bin/template/api_set_industry", lambda _s: {"industry_id1": "2", "industry_id2": "3"}),
    Case(
        "GET /cgi-bin/template/get_industry",
        empty,
        below("primary_industry.", "first_class second_class") + below(" secondary_industry.", "first_class"),
        lambda s: s.post("/cgi-bin/template/api_set_industry", {"industry_id1": "2", "industry_id2": "3"}),
    ),
    Case("POST /cgi-bin/template/api_add_template", lambda _s: {"template_id_short": "TM00015"}, "template_id"),
    Case(
        "GET /cgi-bin/template/get_all_private_template",
        empty,
        below("template_list[].", "template_id title primary_industry deputy_industry content example"),
        lambda s: s.post("/cgi-bin/template/del_private_template", {"template_id": s.template}),
    ),
    Case("POST /cgi-bin/template/del_private_template", lambda s: {"template_id": s.template}),
    Case(
        "POST /wxa/sec/queryblocktmplmsg",
        lambda s: {"tmpl_msg_id": str(s.held), "largest_id": 0, "limit": 10},
        below("msginfo[].", "id tmpl_msg_id title content send_timestamp openid"),
        lambda s: s.account.sent.clear(),
    ),
    # --- subscription notices ---
    Case(
        "POST /cgi-bin/message/template/subscribe",
        lambda s: to(
            s,
            template_id=outreach.one_time_template(s.account),
            scene="5",
            title="t",
            data={"content": {"value": "v"}},
        ),
    ),
    Case(
        "POST /cgi-bin/message/subscribe/bizsend",
        lambda s: to(s, template_id=s.notice, data={"thing1": {"value": "数学"}, "enum_string6": {"value": "线上"}}),
    ),
    Case(
        "POST /wxaapi/newtmpl/addtemplate",
        lambda _s: {"tid": "1221", "kidList": [1, 2], "sceneDesc": "付款"},
        "priTmplId",
    ),
    Case("POST /wxaapi/newtmpl/deltemplate", lambda s: {"priTmplId": s.notice}),
    Case(
        "GET /wxaapi/newtmpl/getcategory",
        empty,
        "data[].id data[].name",
        lambda s: setattr(s.account.outreach, "categories", [307]),
    ),
    Case(
        "GET /wxaapi/newtmpl/getpubtemplatetitles",
        lambda _s: {"ids": "402", "start": "0", "limit": "30"},
        "count data[].tid data[].title data[].type data[].categoryId",
        lambda s: setattr(s.account.outreach, "categories", [307]),
    ),
    # The public library belongs to the platform: it is the same for every account, whatever happens.
    Case(
        "GET /wxaapi/newtmpl/getpubtemplatekeywords",
        lambda _s: {"tid": "2034"},
        "count data[].kid data[].name data[].example data[].rule",
        lambda s: s.account.ungranted.append("/wxaapi/newtmpl/getpubtemplatekeywords"),
    ),
    Case(
        "GET /wxaapi/newtmpl/gettemplate",
        empty,
        below("data[].", "priTmplId title content example type")
        + below(" data[].keywordEnumValueList[].", "keywordCode")
        + " data[].keywordEnumValueList[].enumValueList",
        lambda s: s.post("/wxaapi/newtmpl/deltemplate", {"priTmplId": s.notice}),
    ),
    # --- customer service ---
    Case("POST /cgi-bin/message/custom/send", lambda s: to(s, msgtype="text", text={"content": "x"})),
    Case("POST /cgi-bin/message/custom/typing", lambda s: to(s, command="Typing")),
    Case(
        "GET /cgi-bin/customservice/getkflist",
        empty,
        below("kf_list[].", "kf_account kf_id kf_nick kf_headimgurl kf_wx kf_openid")
        + below(" kf_list[].", "invite_wx")
        + " kf_list[].invite_expire_time kf_list[].invite_status",
        lambda s: staff.answer_invitation(s.world, s.account, DORA),
    ),
    Case(
        "GET /cgi-bin/customservice/getonlinekflist",
        empty,
        below("kf_online_list[].", "kf_account status kf_id accepted_case kf_openid"),
        lambda s: staff.set_online(s.world, s.account, ANNA, False),
    ),
    Case("POST /customservice/kfaccount/add", lambda _s: {"kf_account": "eric@shop", "nickname": "埃"}),
    Case("POST /customservice/kfaccount/update", lambda _s: {"kf_account": ANNA, "nickname": "安"}),
    Case("POST /customservice/kfaccount/del", lambda _s: {"kf_account": CARL}),
    Case("POST /customservice/kfaccount/uploadheadimg", lambda s: s.form(JPEG, "x.jpg", kf_account=ANNA)),
    Case("POST /customservice/kfaccount/inviteworker", lambda s: {"kf_account": CARL, "invite_wx": s.wx(s.ann)}),
    Case("POST /customservice/kfsession/create", lambda s: {"kf_account": ANNA, "openid": s.ben.openid}),
    Case("POST /customservice/kfsession/close", lambda s: {"kf_account": ANNA, "openid": s.ann.openid}),
    Case(
        "GET /customservice/kfsession/getsession",
        lambda s: {"openid": s.ann.openid},
        "createtime kf_account",
        lambda s: staff.close_session(s.world, s.account, s.ann.openid, s.world.now()),
    ),
    Case(
        "GET /customservice/kfsession/getsessionlist",
        lambda _s: {"kf_account": ANNA},
        "sessionlist[].createtime sessionlist[].openid",
        lambda s: staff.close_session(s.world, s.account, s.ann.openid, s.world.now()),
    ),
    Case(
        "GET /customservice/kfsession/getwaitcase",
        empty,
        "count waitcaselist[].latest_time waitcaselist[].openid",
        lambda s: s.post("/customservice/kfsession/create", {"kf_account": ANNA, "openid": s.ben.openid}),
    ),
    Case(
        "POST /customservice/msgrecord/getmsglist",
        lambda s: {"starttime": int(s.world.now()) - 60, "endtime": int(s.world.now()) + 60, "msgid": 1, "number": 10},
        below("recordlist[].", "openid opercode text time worker") + " number msgid",
        lambda s: staff.say(s.world, s.account, s.ann.openid, "来了"),
    ),
    # --- mass sends ---
    Case(
        "POST /cgi-bin/message/mass/sendall",
        lambda s: {"filter": {"is_to_all": True}, "msgtype": "mpnews", "mpnews": {"media_id": s.draft}},
        SENT,
    ),
    Case(
        "POST /cgi-bin/message/mass/send",
        lambda s: {
            "touser": [s.ann.openid, s.ben.openid],
            "msgtype": "mpnews",
            "mpnews": {"media_id": s.draft},
        },
        SENT,
    ),
    Case("POST /cgi-bin/message/mass/preview", lambda s: to(s, msgtype="text", text={"content": "x"})),
    Case("POST /cgi-bin/message/mass/delete", lambda s: {"msg_id": s.sent["msg_id"]}),
    Case(
        "POST /cgi-bin/message/mass/get",
        lambda s: {"msg_id": str(s.sent["msg_id"])},
        "msg_id msg_status",
        lambda s: s.post("/cgi-bin/message/mass/delete", {"msg_id": s.sent["msg_id"]}),
    ),
    Case(
        "POST /cgi-bin/message/mass/speed/get",
        empty,
        "speed realspeed",
        lambda s: s.post("/cgi-bin/message/mass/speed/set", {"speed": 2}),
    ),
    Case("POST /cgi-bin/message/mass/speed/set", lambda _s: {"speed": 3}),
    Case("POST /cgi-bin/media/uploadnews", lambda s: {"articles": [s.article]}, "type media_id created_at"),
    Case("POST /cgi-bin/media/uploadvideo", lambda s: {"media_id": s.clip}, "type media_id created_at"),
    # --- media, materials, drafts, publications, comments ---
    Case("POST /cgi-bin/media/upload", lambda s: s.form(JPEG, "x.jpg", type="image"), "type media_id created_at"),
    Case(
        "GET /cgi-bin/media/get",
        lambda s: {"media_id": s.clip},
        "video_url",
        lambda s: s.account.library.temporary.clear(),
    ),
    Case(
        "GET /cgi-bin/media/get/jssdk",
        lambda s: {"media_id": s.voice},
        change=lambda s: s.account.library.temporary.clear(),
    ),
    Case("POST /cgi-bin/material/add_material", lambda s: s.form(JPEG, "x.jpg", type="image"), "media_id url"),
    Case(
        "POST /cgi-bin/material/get_material",
        lambda s: {"media_id": s.film},
        "title description down_url",
        lambda s: s.post("/cgi-bin/material/del_material", {"media_id": s.film}),
    ),
    Case("POST /cgi-bin/material/del_material", lambda s: {"media_id": s.film}),
    Case(
        "GET /cgi-bin/material/get_materialcount",
        empty,
        "voice_count video_count image_count news_count",
        lambda s: s.post("/cgi-bin/material/del_material", {"media_id": s.film}),
    ),
    Case(
        "POST /cgi-bin/material/batchget_material",
        lambda _s: {"type": "news", "offset": 0, "count": 20},
        below("item[].content.news_item[].", ARTICLE + " thumb_url") + " total_count item_count item[].media_id",
        lambda s: s.post("/cgi-bin/material/del_material", {"media_id": s.news}),
    ),
    Case("POST /cgi-bin/media/uploadimg", lambda s: s.form(JPEG, "x.jpg"), "url"),
    Case("POST /cgi-bin/material/add_news", lambda s: {"articles": [s.article]}, "media_id"),
    Case(
        "POST /cgi-bin/material/update_news",
        lambda s: {"media_id": s.news, "index": 0, "articles": s.article | {"title": "new"}},
    ),
    Case("POST /cgi-bin/draft/add", lambda s: {"articles": [s.article]}, "media_id"),
    Case("POST /cgi-bin/draft/update", lambda s: {"media_id": s.draft, "index": 0, "articles": s.article}),
    Case(
        "POST /cgi-bin/draft/get",
        lambda s: {"media_id": s.draft},
        below("news_item[].", ARTICLE + " article_type"),
        lambda s: s.post("/cgi-bin/draft/update", {"media_id": s.draft, "index": 0, "articles": s.article}),
    ),
    Case("POST /cgi-bin/draft/delete", lambda s: {"media_id": s.draft}),
    Case("GET /cgi-bin/draft/count", empty, "total_count", lambda s: s.draft_of(1)),
    Case(
        "POST /cgi-bin/draft/batchget",
        lambda _s: {"offset": 0, "count": 20},
        below("item[].content.news_item[].", ARTICLE + " article_type")
        + " total_count item_count item[].media_id item[].update_time",
        lambda s: s.draft_of(1),
    ),
    # Everybody has the draft box, and nobody can switch it off: only the right to ask can change.
    Case(
        "POST /cgi-bin/draft/switch",
        empty,
        "is_open",
        lambda s: s.account.banned.append("/cgi-bin/draft/switch"),
    ),
    Case("POST /cgi-bin/freepublish/submit", lambda s: {"media_id": s.draft}, "publish_id msg_data_id"),
    Case(
        "POST /cgi-bin/freepublish/get",
        lambda s: {"publish_id": s.job["publish_id"]},
        "publish_id publish_status article_id article_detail.count article_detail.item[].idx"
        " article_detail.item[].article_url fail_idx",
        lambda s: library.ban(s.account, s.publication),
    ),
    Case("POST /cgi-bin/freepublish/delete", lambda s: {"article_id": s.publication}),
    Case(
        "POST /cgi-bin/freepublish/getarticle",
        lambda s: {"article_id": s.publication},
        below("news_item[].", ARTICLE + " thumb_url is_deleted"),
        lambda s: s.post("/cgi-bin/freepublish/delete", {"article_id": s.publication}),
    ),
    Case(
        "POST /cgi-bin/freepublish/batchget",
        lambda _s: {"offset": 0, "count": 20},
        below("item[].content.news_item[].", ARTICLE + " thumb_url is_deleted")
        + " total_count item_count item[].article_id item[].update_time",
        lambda s: s.post("/cgi-bin/freepublish/delete", {"article_id": s.publication}),
    ),
    Case("POST /cgi-bin/comment/close", lambda s: s.under),
    Case(
        "POST /cgi-bin/comment/list",
        lambda s: s.under | {"begin": 0, "count": 49, "type": 0},
        below("comment[].", "user_comment_id create_time content comment_type openid reply.content")
        + " total comment[].reply.create_time",
        lambda s: s.post("/cgi-bin/comment/delete", s.under | {"user_comment_id": s.comment}),
    ),
    Case("POST /cgi-bin/comment/markelect", lambda s: s.under | {"user_comment_id": s.comment}),
    Case("POST /cgi-bin/comment/unmarkelect", lambda s: s.under | {"user_comment_id": s.answered}),
    Case("POST /cgi-bin/comment/delete", lambda s: s.under | {"user_comment_id": s.comment}),
    Case("POST /cgi-bin/comment/reply/add", lambda s: s.under | {"user_comment_id": s.comment, "content": "c"}),
    Case("POST /cgi-bin/comment/reply/delete", lambda s: s.under | {"user_comment_id": s.answered}),
    # --- statistics ---
    statistics("getusersummary", below("list[].", "ref_date user_source new_user cancel_user")),
    Case(
        "POST /datacube/getusercumulate",
        lambda s: s.days(),
        below("list[].", "ref_date user_source cumulate_user"),
        lambda s: s.account.users.clear(),
    ),
    statistics("getarticlesummary", below("list[].", "ref_date msgid title " + READING)),
    statistics(
        "getarticletotal",
        below("list[].details[].", "stat_date target_user feed_share_from_session_user " + READING)
        + " list[].ref_date list[].msgid list[].title list[].details[].int_page_from_session_read_user",
    ),
    statistics("getuserread", below("list[].", "ref_date user_source " + READING)),
    statistics("getuserreadhour", below("list[].", "ref_date ref_hour user_source " + READING)),
    statistics("getusershare", below("list[].", "ref_date share_scene share_user share_count")),
    statistics("getusersharehour", below("list[].", "ref_date ref_hour share_scene share_user share_count")),
    statistics("getupstreammsg", MESSAGES),
    statistics("getupstreammsghour", MESSAGES + " list[].ref_hour"),
    statistics("getupstreammsgweek", MESSAGES, MONDAY),
    statistics("getupstreammsgmonth", MESSAGES, FIRST),
    statistics("getupstreammsgdist", BAND),
    statistics("getupstreammsgdistweek", BAND, MONDAY),
    statistics("getupstreammsgdistmonth", BAND, FIRST),
    statistics("getinterfacesummary", below("list[].", "ref_date " + ANSWERS)),
    statistics("getinterfacesummaryhour", below("list[].", "ref_date ref_hour " + ANSWERS)),
    # --- codes, short keys, web pages, tickets, auto replies ---
    Case(
        "POST /cgi-bin/qrcode/create",
        lambda _s: {"action_name": "QR_SCENE", "expire_seconds": 60, "action_info": {"scene": {"scene_id": 1}}},
        "ticket expire_seconds url",
    ),
    Case("GET /cgi-bin/showqrcode", lambda s: {"ticket": s.ticket}, change=lambda s: s.account.qr.clear()),
    Case("POST /cgi-bin/shorten/gen", lambda _s: {"long_data": "d"}, "short_key"),
    Case(
        "POST /cgi-bin/shorten/fetch",
        lambda s: {"short_key": s.key},
        "long_data create_time expire_seconds",
        lambda s: s.world.advance(60),
    ),
    Case("GET /connect/oauth2/authorize", lambda s: s.page() | {"user": s.ann.openid, "auto": "1"}, "code state"),
    Case(
        "GET /sns/oauth2/access_token",
        lambda s: {**s.own(), "code": s.code, "grant_type": "authorization_code"},
        "access_token expires_in refresh_token openid scope unionid is_snapshotuser",
    ),
    Case(
        "GET /sns/oauth2/refresh_token",
        lambda s: {**s.own(), "grant_type": "refresh_token", "refresh_token": s.grant["refresh_token"]},
        "access_token expires_in refresh_token openid scope",
    ),
    Case(
        "GET /sns/userinfo",
        lambda s: {"access_token": s.grant["access_token"], "openid": s.ann.openid},
        "openid nickname sex province city country headimgurl privilege unionid",
        lambda s: setattr(s.world.person_of(user(s)), "nickname", "安安"),
    ),
    Case(
        "GET /sns/auth",
        lambda s: {"access_token": s.grant["access_token"], "openid": s.ann.openid},
        change=lambda s: s.account.oauth_tokens.clear(),
    ),
    Case("GET /cgi-bin/ticket/getticket", lambda _s: {"type": "jsapi"}, "ticket expires_in"),
    Case(
        "GET /cgi-bin/get_current_autoreply_info",
        empty,
        below(KEYWORD, "rule_name create_time reply_mode reply_list_info[].type reply_list_info[].content")
        + below(f" {KEYWORD}keyword_list_info[].", "type")
        + f" {KEYWORD}keyword_list_info[].match_mode {KEYWORD}keyword_list_info[].content"
        + " is_add_friend_reply_open is_autoreply_open add_friend_autoreply_info.type"
        + " add_friend_autoreply_info.content message_default_autoreply_info.type",
        lambda s: s.account.outreach.autoreply.clear(),
    ),
)
# Comments can only be opened where they are closed.
OPEN = Case("POST /cgi-bin/comment/open", lambda s: s.under)
HOSTS = {"/cgi-bin/showqrcode": "mp", "/connect/oauth2/authorize": "open"}
# Who may call, where it is not every verified account: the others get 48001.
EVERYBODY = {
    *("/cgi-bin/callback/check", "/cgi-bin/get_api_domain_ip", "/cgi-bin/getcallbackip", "/cgi-bin/clear_quota"),
    *("/cgi-bin/openapi/quota/get", "/cgi-bin/openapi/quota/clear", "/cgi-bin/openapi/rid/get"),
    *("/cgi-bin/get_current_selfmenu_info", "/cgi-bin/changeopenid", "/cgi-bin/get_current_autoreply_info"),
    *("/cgi-bin/groups/create", "/cgi-bin/groups/get", "/cgi-bin/groups/getid", "/cgi-bin/groups/update"),
    *("/cgi-bin/groups/members/update", "/cgi-bin/groups/members/batchupdate", "/cgi-bin/groups/delete"),
    *("/cgi-bin/media/upload", "/cgi-bin/media/get", "/cgi-bin/media/uploadimg", "/cgi-bin/ticket/getticket"),
    *("/cgi-bin/material/add_material", "/cgi-bin/material/get_material", "/cgi-bin/material/del_material"),
    *("/cgi-bin/material/get_materialcount", "/cgi-bin/material/batchget_material", "/cgi-bin/material/add_news"),
    *("/cgi-bin/material/update_news", "/cgi-bin/draft/add", "/cgi-bin/draft/update", "/cgi-bin/draft/get"),
    *("/cgi-bin/draft/delete", "/cgi-bin/draft/count", "/cgi-bin/draft/batchget", "/cgi-bin/draft/switch"),
    *("/cgi-bin/shorten/gen", "/cgi-bin/shorten/fetch"),
}
SERVICE = {
    *("/cgi-bin/message/template/send", "/cgi-bin/template/api_set_industry", "/cgi-bin/template/get_industry"),
    *("/cgi-bin/template/api_add_template", "/cgi-bin/template/get_all_private_template", "/cgi-bin/qrcode/create"),
    *("/cgi-bin/template/del_private_template", "/wxa/sec/queryblocktmplmsg", "/cgi-bin/message/mass/send"),
}
# No token, no rights to check.
OPEN_TO_ALL = {
    *("/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/clear_quota/v2", "/cgi-bin/showqrcode"),
    *("/connect/oauth2/authorize", "/sns/oauth2/access_token", "/sns/oauth2/refresh_token"),
    *("/sns/userinfo", "/sns/auth"),
}
# A verified subscription account, and any service account.
PUBLISHING = {f"/cgi-bin/freepublish/{name}" for name in ("submit", "get", "delete", "getarticle", "batchget")}
# These write, and what they write is a counter.
COUNTS = {"/cgi-bin/clear_quota", "/cgi-bin/clear_quota/v2", "/cgi-bin/openapi/quota/clear"}


def send(shop: Shop, case: Case) -> Reply:
    """Make the call."""
    method, _, path = case.call.partition(" ")
    given = case.given(shop)
    query = {"access_token": shop.desk.token()}
    more: dict[str, Any] = {"host": HOSTS.get(path, "api")}
    if isinstance(given, Form):
        more["headers"] = {
            "content-type": "multipart/form-data; boundary=" + given.body[2:].partition(b"\r\n")[0].decode()
        }
        return shop.desk.send(method, path, query | given.query, given.body, **more)
    if method == "GET":
        return shop.desk.send(method, path, query | given, **more)
    return shop.desk.send(method, path, query, json.dumps(given, ensure_ascii=False).encode(), **more)


def answer_of(reply: Reply) -> Any:
    """Return the JSON of an answer, the query a browser is sent back with, or ``None`` for bytes."""
    location = dict(reply.headers).get("location")
    if location is not None:
        return dict(parse_qsl(urlsplit(location).query))
    return json.loads(reply.body) if reply.body.startswith(b"{") else None


def values(node: Any, path: str) -> Iterator[Any]:
    """Yield what stands at a path such as ``list[].day``; an empty list holds nothing."""
    name, _, rest = path.partition(".")
    if not isinstance(node, dict) or name.removesuffix("[]") not in node:
        return
    found = node[name.removesuffix("[]")]
    for item in found if name.endswith("[]") else [found]:
        yield from values(item, rest) if rest else [item]


def state_of(shop: Shop, case: Case) -> Any:
    """Return the account and the waiting events without what every call changes: the counters of calls."""
    state: Any = shop.world.snapshot()["state"]
    account = state["accounts"][shop.account.appid]
    if case.path not in COUNTS:
        account.pop("counters")
    return account, state["events"]


@pytest.fixture
def shop() -> Shop:
    """A lively world of one's own."""
    return Shop()


def check(shop: Shop, case: Case) -> None:
    """Judge one endpoint: its answer, the documented fields in it, and that it goes by the state."""
    before = state_of(shop, case)
    reply = send(shop, case)
    answer = answer_of(reply)
    assert reply.status in {200, 302}
    assert reply.errcode in {0, None}, answer
    assert answer is None or answer.get("errcode", 0) == 0, answer
    missing = [name for name in case.fields.split() if not list(values(answer, name))]
    assert not missing, answer
    if case.change is None:
        assert state_of(shop, case) != before
    else:
        case.change(shop)
        changed = send(shop, case)
        assert (changed.status, changed.body) != (reply.status, reply.body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_every_endpoint_answers_from_its_state(shop: Shop, case: Case):
    """A good call succeeds with the documented fields, and either changes the world or follows its changes."""
    check(shop, case)


def test_comments_are_opened(shop: Shop):
    """The one endpoint of the list that needs its opposite to be called first."""
    shop.post("/cgi-bin/comment/close", shop.under)
    check(shop, OPEN)


def refused(shop: Shop, kind: str, *, verified: bool) -> set[str]:
    """Return the paths that an account of some kind is refused with 48001."""
    shop.account.kind, shop.account.verified = kind, verified  # type: ignore[assignment]
    return {case.path for case in (*CASES, OPEN) if send(shop, case).errcode == 48001}


def test_who_may_call(shop: Shop):
    """An account that is not verified, or of the other kind, gets 48001 exactly where the list says so."""
    everything = {case.path for case in (*CASES, OPEN)} - OPEN_TO_ALL
    verified = everything - EVERYBODY
    assert refused(shop, "service", verified=False) - OPEN_TO_ALL == verified - PUBLISHING
    assert refused(shop, "subscription", verified=True) - OPEN_TO_ALL == SERVICE
    assert refused(shop, "subscription", verified=False) - OPEN_TO_ALL == verified


def test_the_list_is_what_is_simulated():
    """Every endpoint of the list has a route, and none is on it twice; what has no place on it is extended."""
    listed = [case.call for case in (*CASES, OPEN)]
    routes = {f"{route.method} {route.path}" for route in ROUTES}
    assert len(listed) == len(set(listed)) == 138
    assert set(listed) <= routes


# --- pushes -----------------------------------------------------------------------------------------------------------

PICTURES = "EventKey SendPicsInfo.Count SendPicsInfo.PicList.item[].PicMd5Sum"
SCANNED = "EventKey ScanCodeInfo.ScanType ScanCodeInfo.ScanResult"
FILM = "MsgId MediaId ThumbMediaId"
REPRINTS = (
    "ArticleIdx UserDeclareState AuditState OriginalArticleUrl OriginalArticleType CanReprint NeedReplaceContent"
    " NeedShowReprintSource"
)
# The documented fields of what is pushed, beside those that everything has; those in brackets may be missing.
PUSHES = {
    "text": "MsgId Content (bizmsgmenuid)",
    "image": "MsgId PicUrl MediaId",
    "voice": "MsgId MediaId Format (MediaId16K) (Recognition)",
    "video": FILM,
    "shortvideo": FILM,
    "location": "MsgId Location_X Location_Y Scale Label",
    "link": "MsgId Title Description Url",
    "subscribe": "(EventKey) (Ticket)",
    "unsubscribe": "(EventKey)",
    "SCAN": "EventKey Ticket",
    "LOCATION": "Latitude Longitude Precision",
    "CLICK": "EventKey (MenuId)",
    "VIEW": "EventKey (MenuId)",
    "view_miniprogram": "EventKey (MenuId)",
    "scancode_push": SCANNED,
    "scancode_waitmsg": SCANNED,
    "pic_sysphoto": PICTURES,
    "pic_photo_or_album": PICTURES,
    "pic_weixin": PICTURES,
    "location_select": below("SendLocationInfo.", "Location_X Location_Y Scale Label (Poiname)") + " EventKey",
    "media_id": "EventKey",
    "view_limited": "EventKey",
    "TEMPLATESENDJOBFINISH": "MsgID Status",
    "MASSSENDJOBFINISH": below("CopyrightCheckResult.ResultList.item[].", REPRINTS)
    + " CopyrightCheckResult.Count CopyrightCheckResult.CheckState"
    + " ArticleUrlResult.Count ArticleUrlResult.ResultList.item[].ArticleIdx"
    + " ArticleUrlResult.ResultList.item[].ArticleUrl"
    + " MsgID Status TotalCount FilterCount SentCount ErrorCount",
    "PUBLISHJOBFINISH": below("PublishEventInfo.", "publish_id publish_status (article_id) (fail_idx)")
    + below(" PublishEventInfo.article_detail.", "(count)")
    + " PublishEventInfo.article_detail.item[].(idx) PublishEventInfo.article_detail.item[].(article_url)",
    "subscribe_msg_popup_event": below("SubscribeMsgPopupEvent.List[].", "TemplateId SubscribeStatusString PopupScene"),
    "subscribe_msg_change_event": below("SubscribeMsgChangeEvent.List[].", "TemplateId SubscribeStatusString"),
    "subscribe_msg_sent_event": below("SubscribeMsgSentEvent.List[].", "TemplateId MsgID ErrorCode ErrorStatus"),
    "kf_create_session": "KfAccount",
    "kf_close_session": "KfAccount",
    "kf_switch_session": "FromKfAccount ToKfAccount",
    "user_authorization_revoke": "OpenID AppID (UnionID) (RevokeInfo)",
}


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every value, as the lists above write it."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for item in node:
            yield from leaves(item, f"{path}[]")
    else:
        yield path


def everything_happens(shop: Shop) -> None:
    """Let users, agents and jobs do everything that is pushed."""
    ann, account, world = shop.ann, shop.account, shop.world
    staff.close_session(world, account, ann.openid, world.now())
    own = ["location_select", "pic_sysphoto", "pic_photo_or_album"], ["pic_weixin", "scancode_push", "scancode_waitmsg"]
    menus: list[list[dict[str, Any]]] = [
        [{"type": kind, "name": kind[:16], "key": kind} for kind in row] for row in own
    ]
    mini = {"type": "miniprogram", "name": "m", "url": "https://a.example/", "appid": "wx1", "pagepath": "p"}
    menus.append([mini, CLICK, {"type": "view", "name": "v", "url": "https://a.example/"}])
    files = ("media_id", shop.picture), ("view_limited", shop.news)
    menus.append([{"type": kind, "name": kind, "media_id": media_id} for kind, media_id in files])
    account.conditional.clear()
    for buttons in menus:
        shop.post("/cgi-bin/menu/create", {"button": buttons})
        ann.refresh_menu()
        for button in buttons:
            ann.tap(button["name"])
    for kind in ("image", "voice", "video", "shortvideo", "location", "link"):
        ann.send(kind)
    ann.say("x", menu_line="5")
    ann.send_voice(recognition="x")
    ann.report_location()
    ann.scan(shop.ticket)
    shop.world.phone().scan(shop.ticket)
    ann.change_subscription(shop.notice, False)
    ann.change_subscription(shop.notice, True)
    ann.answer_popup({shop.notice: "accept"})
    data = {"thing1": {"value": "数学"}, "enum_string6": {"value": "线上"}}
    shop.post("/cgi-bin/message/subscribe/bizsend", to(shop, template_id=shop.notice, data=data))
    staff.add_agent(account, "fred@shop", "弗", wx="wx_fred", online=True)
    shop.post("/customservice/kfsession/create", {"kf_account": ANNA, "openid": ann.openid})
    staff.switch_session(world, account, ann.openid, "fred@shop")
    world.advance(DAY)
    shop.article["content"] = "[[reprint]]"
    body = {"touser": [ann.openid, shop.ben.openid], "msgtype": "mpnews", "send_ignore_reprint": 1}
    shop.post("/cgi-bin/message/mass/send", body | {"mpnews": {"media_id": shop.draft_of(1)}})
    library.decide_publication(account, 4, [1, 2])
    shop.post("/cgi-bin/freepublish/submit", {"media_id": shop.spare})
    shop.post("/cgi-bin/freepublish/submit", {"media_id": shop.draft})
    ann.revoke_authorization()
    world.advance(60)


def test_pushes_have_the_documented_fields(shop: Shop):
    """What is pushed has every field it must have and none that is not documented."""
    everything_happens(shop)
    seen = {push.name for push in shop.account.pushes}
    assert seen == set(PUSHES)
    for push in shop.account.pushes:
        fields = {name: value for name, value in push.fields.items() if name not in {"MsgType", "Event"}}
        documented = PUSHES[push.name].split()
        needed = {name for name in documented if "(" not in name}
        found = set(leaves(fields))
        if "CopyrightCheckResult.ResultList" in found:
            # Where nothing is a reprint, the list of reprints is an empty text.
            needed = {name.partition(".item[]")[0] if "Copyright" in name else name for name in needed}
            documented = [*documented, "CopyrightCheckResult.ResultList"]
        assert needed <= found, push.name
        assert found <= {name.replace("(", "").replace(")", "") for name in documented}, push.name
