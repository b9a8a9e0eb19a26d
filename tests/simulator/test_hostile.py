"""Whatever a caller sends, the platform answers: no request may break the simulator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator import test_hostile_outreach, test_library
from tests.simulator.hostile import CLICK, lively_world, spoilt_bodies
from wxmp.simulator import Clock, Request, World
from wxmp.simulator.families import ROUTES

BUTTONS = [CLICK, {"name": "y", "sub_button": [{"type": "view", "name": "v", "url": "https://a.example/"}]}]
MINI = {"type": "miniprogram", "name": "m", "url": "https://a.example/", "appid": "wx1", "pagepath": "p"}
RULE = {"tag_id": "2", "client_platform_type": "1", "sex": "", "city": ""}
SCENE = {"scene_id": 5, "scene_str": "s"}
DATA = {"thing1": {"value": "v", "color": "#000000"}}

# A good body for every endpoint that takes one; every value in it is then replaced by each hostile one.
GOOD: dict[str, list[dict[str, Any]]] = {
    "/cgi-bin/stable_token": [{"grant_type": "client_credential", "appid": "a", "secret": "s", "force_refresh": True}],
    "/cgi-bin/clear_quota": [{"appid": "a"}],
    "/cgi-bin/clear_quota/v2": [{"appid": "a", "appsecret": "s"}],
    "/cgi-bin/openapi/quota/get": [{"cgi_path": "/cgi-bin/user/get"}],
    "/cgi-bin/openapi/quota/clear": [{"cgi_path": "/cgi-bin/user/get"}],
    "/cgi-bin/openapi/rid/get": [{"rid": "6955f140-5ff2ed62-12ae385c"}],
    "/cgi-bin/callback/check": [{"action": "all", "check_operator": "DEFAULT"}],
    "/cgi-bin/menu/create": [{"button": BUTTONS}, {"button": [MINI]}],
    "/cgi-bin/menu/addconditional": [{"button": BUTTONS, "matchrule": RULE}],
    "/cgi-bin/menu/delconditional": [{"menuid": "1"}],
    "/cgi-bin/menu/trymatch": [{"user_id": "<user>"}],
    "/cgi-bin/user/info/batchget": [{"user_list": [{"openid": "<user>", "lang": "zh_CN"}]}],
    "/cgi-bin/user/info/updateremark": [{"openid": "<user>", "remark": "r"}],
    "/cgi-bin/changeopenid": [{"from_appid": "a", "openid_list": ["<user>"]}],
    "/cgi-bin/tags/create": [{"tag": {"name": "t"}}],
    "/cgi-bin/tags/update": [{"tag": {"id": 100, "name": "t"}}],
    "/cgi-bin/tags/delete": [{"tag": {"id": 100}}],
    "/cgi-bin/user/tag/get": [{"tagid": 100, "next_openid": ""}],
    "/cgi-bin/tags/members/batchtagging": [{"tagid": 100, "openid_list": ["<user>"]}],
    "/cgi-bin/tags/members/batchuntagging": [{"tagid": 100, "openid_list": ["<user>"]}],
    "/cgi-bin/tags/getidlist": [{"openid": "<user>"}],
    "/cgi-bin/tags/members/getblacklist": [{"begin_openid": ""}],
    "/cgi-bin/tags/members/batchblacklist": [{"openid_list": ["<user>"]}],
    "/cgi-bin/tags/members/batchunblacklist": [{"openid_list": ["<user>"]}],
    "/cgi-bin/groups/create": [{"group": {"name": "g"}}],
    "/cgi-bin/groups/getid": [{"openid": "<user>"}],
    "/cgi-bin/groups/update": [{"group": {"id": 100, "name": "g"}}],
    "/cgi-bin/groups/members/update": [{"openid": "<user>", "to_groupid": 0}],
    "/cgi-bin/groups/members/batchupdate": [{"openid_list": ["<user>"], "to_groupid": 0}],
    "/cgi-bin/groups/delete": [{"group": {"id": 100}}],
    "/cgi-bin/template/api_set_industry": [{"industry_id1": "1", "industry_id2": 2}],
    "/cgi-bin/template/api_add_template": [{"template_id_short": "57", "keyword_name_list": ["预约项目"]}],
    "/cgi-bin/template/del_private_template": [{"template_id": "<template>"}],
    "/cgi-bin/message/template/send": [
        {"touser": "<user>", "template_id": "<template>", "data": DATA, "client_msg_id": "c", "miniprogram": {}}
    ],
    "/wxa/sec/queryblocktmplmsg": [{"tmpl_msg_id": "1", "largest_id": 0, "limit": 10}],
    "/cgi-bin/message/custom/send": [
        {"touser": "<user>", "msgtype": "text", "text": {"content": "x"}, "customservice": {"kf_account": "k"}},
        {"touser": "<user>", "msgtype": "news", "news": {"articles": [{"title": "t"}]}},
        {"touser": "<user>", "msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1", "content": "c"}]}},
        {"touser": "<user>", "msgtype": "music", "music": {"musicurl": "u", "thumb_media_id": "m"}},
    ],
    "/cgi-bin/message/custom/typing": [{"touser": "<user>", "command": "Typing"}],
    "/cgi-bin/qrcode/create": [
        {"action_name": name, "expire_seconds": 60, "action_info": {"scene": SCENE}}
        for name in ("QR_SCENE", "QR_LIMIT_STR_SCENE")
    ],
    "/cgi-bin/wxopen/qrcodejumpget": [
        {"get_type": 1, "prefix_list": ["x"]},
        {"get_type": 2, "page_num": 1, "page_size": 20},
    ],
    "/cgi-bin/wxopen/qrcodejumpadd": [
        {"prefix": "https://a.example/", "appid": "w", "path": "p", "is_edit": 0, "open_version": 1, "debug_url": ["u"]}
    ],
    "/cgi-bin/wxopen/qrcodejumppublish": [{"prefix": "https://a.example/"}],
    "/cgi-bin/wxopen/qrcodejumpdelete": [{"prefix": "https://a.example/"}],
}


def test_every_endpoint_with_a_body_is_covered():
    """Every endpoint that takes JSON stands in one of the three tables of good bodies."""
    others = {*test_hostile_outreach.GOOD, *(path for path, _ in test_library.GOOD)}
    taking = {route.path for route in ROUTES if route.method == "POST" and route.body == "json"}
    assert taking <= {*GOOD, *others}
    assert not set(GOOD) & others


@pytest.mark.parametrize("path", sorted(GOOD))
def test_every_value_of_every_body_may_be_hostile(path):
    """Each value of a good body is replaced by each hostile one: an answer every time, never an exception."""
    world, token, words = lively_world()
    openid = words["<user>"]
    for raw in spoilt_bodies(GOOD[path], words):
        world.user_writes(openid, "hi")
        reply = world.handle(Request("POST", path, {"access_token": token}, raw))
        assert reply.status == 200
        assert isinstance(reply.errcode, int)
    world.advance(10)
    json.dumps(world.snapshot())


@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.method == "GET" and route.host != "mch"])
@settings(max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_queries_may_be_hostile(path, data):
    """Any query gets an answer: HTTP 200, 302 or 404, and never an exception."""
    world, token, words = lively_world()
    values = st.sampled_from(
        [
            "",
            "x",
            "\x00",
            "²",
            "字",
            "javascript:x",
            "http://[",
            "http://a/?",
            "code",
            "client_credential",
            "snsapi_base",
            "snsapi_userinfo",
            "authorization_code",
            "1",
            world.account.appid,
            world.account.secret,
            *words.values(),
        ]
    )
    names = ["openid", "next_openid", "type", "ticket", "grant_type", "appid", "secret", "redirect_uri", "code"]
    names += ["response_type", "scope", "state", "user", "auto", "refresh_token", "snapshot"]
    query = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=9))
    reply = world.handle(Request("GET", path.replace("{key}", "x"), query | {"access_token": token}))
    assert reply.status in {200, 302, 404}


@settings(max_examples=150, deadline=None, database=None)
@given(
    path=st.text(max_size=20),
    body=st.binary(max_size=80),
    query=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=5),
)
def test_any_bytes_get_an_answer(path, body, query):
    """Arbitrary paths, queries and bodies get an errcode, or at an address of WeChat Pay what stands for one there."""
    world = World(clock=Clock.frozen())
    for method in ("GET", "POST", "PUT"):
        reply = world.handle(Request(method, path, query, body))
        assert reply.errcode is not None or b"<return_code>" in reply.body or b'"code"' in reply.body
        assert world.handle(Request(method, "/cgi-bin/stable_token", query, body)).errcode is not None
