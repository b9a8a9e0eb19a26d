"""Whatever a caller sends about mass sends, notices, staff, keys and statistics, the platform answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.hostile import lively_world, spoilt_bodies
from wxmp.simulator import Request, library, outreach
from wxmp.simulator.families import autoreply, datacube, kf, mass, shorturl, subscribe
from wxmp.simulator.formats import sample

OWN = [route for family in (autoreply, datacube, kf, mass, shorturl, subscribe) for route in family.ROUTES]
TEXT = {"msgtype": "text", "text": {"content": "x"}, "clientmsgid": "c", "send_ignore_reprint": 0}
DATES = {"begin_date": "2025-12-01", "end_date": "2025-12-01"}
GOOD: dict[str, list[dict[str, Any]]] = {
    "/cgi-bin/message/mass/sendall": [
        {"filter": {"is_to_all": False, "tag_id": 100}, **TEXT},
        {"filter": {"is_to_all": True}, "msgtype": "mpnews", "mpnews": {"media_id": "m"}},
        {"filter": {"group_id": 100}, "msgtype": "image", "images": {"media_ids": ["m"], "title": "t"}},
    ],
    "/cgi-bin/message/mass/send": [
        {"touser": ["<user>", "o2"], **TEXT},
        {"touser": ["<user>", "o2"], "msgtype": "mpvideo", "mpvideo": {"media_id": "m", "title": "t"}},
        {"touser": ["<user>", "o2"], "msgtype": "image", "image": {"media_id": "m"}},
    ],
    "/cgi-bin/message/mass/preview": [
        {"touser": "<user>", "towxname": "", **TEXT},
        {"towxname": "wxid_000001", **TEXT},
    ],
    "/cgi-bin/message/mass/delete": [{"msg_id": 1000000001, "article_idx": 1}, {"url": "u"}],
    "/cgi-bin/message/mass/get": [{"msg_id": "1000000001"}],
    "/cgi-bin/message/mass/speed/get": [{}],
    "/cgi-bin/message/mass/speed/set": [{"speed": 1}],
    "/cgi-bin/media/uploadnews": [{"articles": [{"title": "t", "content": "c", "thumb_media_id": "m"}]}],
    "/cgi-bin/media/uploadvideo": [{"media_id": "m", "title": "t", "description": "d"}],
    "/wxaapi/newtmpl/addtemplate": [{"tid": "1221", "kidList": [1, 2], "sceneDesc": "s"}],
    "/wxaapi/newtmpl/deltemplate": [{"priTmplId": "x"}],
    "/cgi-bin/message/subscribe/bizsend": [
        {
            "touser": "<user>",
            "template_id": "<subscription>",
            "page": "p",
            "client_msg_id": "c",
            "data": {"thing2": {"value": "v"}, "number5": {"value": 3}},
            "miniprogram": {"appid": "a", "pagepath": "p"},
        }
    ],
    "/cgi-bin/message/template/subscribe": [
        {
            "touser": "<user>",
            "template_id": "<one-time>",
            "scene": "1",
            "title": "t",
            "data": {"content": {"value": "v"}},
        }
    ],
    "/customservice/kfaccount/add": [{"kf_account": "a@b", "nickname": "n"}],
    "/customservice/kfaccount/update": [{"kf_account": "k", "nickname": "n"}],
    "/customservice/kfaccount/del": [{"kf_account": "k"}],
    "/customservice/kfaccount/uploadheadimg": [{}],
    "/customservice/kfaccount/inviteworker": [{"kf_account": "k", "invite_wx": "wxid_000001"}],
    "/customservice/kfsession/create": [{"kf_account": "k", "openid": "<user>"}],
    "/customservice/kfsession/close": [{"kf_account": "k", "openid": "<user>"}],
    "/customservice/msgrecord/getmsglist": [{"starttime": 1, "endtime": 2, "msgid": 1, "number": 1}],
    "/cgi-bin/shorten/gen": [{"long_data": "x", "expire_seconds": 60}],
    "/cgi-bin/shorten/fetch": [{"short_key": "x"}],
    **{route.path: [DATES] for route in datacube.ROUTES},
}


def prepared():
    """Return a lively world with an image, a subscription template and a one-time template."""
    world, token, words = lively_world()
    words["<one-time>"] = outreach.one_time_template(world.account)
    wish = b'{"tid":"1221","kidList":[2,5],"sceneDesc":"s"}'
    added = world.handle(Request("POST", "/wxaapi/newtmpl/addtemplate", {"access_token": token}, wish)).json()
    words["<subscription>"] = str(added["priTmplId"])
    library.store_media(
        world, world.account, "image", "a.jpg", sample("image", "m"), world.now(), permanent=True, media_id="m"
    )
    return world, token, words


def test_every_endpoint_with_a_body_is_covered():
    """The table names every endpoint of these families that takes a body."""
    assert sorted(GOOD) == sorted(route.path for route in OWN if route.method == "POST")


@pytest.mark.parametrize("path", sorted(GOOD))
def test_every_value_of_every_body_may_be_hostile(path):
    """Each value of a good body is replaced by each hostile one: an answer every time, never an exception."""
    world, token, words = prepared()
    openid = words["<user>"]
    for raw in spoilt_bodies(GOOD[path], words):
        world.user_writes(openid, "hi")
        world.phone(openid).answer_popup({words["<subscription>"]: "accept"})
        world.account.counters.clear()
        reply = world.handle(Request("POST", path, {"access_token": token, "kf_account": "k"}, raw))
        assert reply.status == 200
        assert isinstance(reply.errcode, int)
    world.advance(4000)
    world.restore(json.loads(json.dumps(world.snapshot())))


@pytest.mark.parametrize("path", [route.path for route in OWN if route.method == "GET" and route.host == "api"])
def test_queries_may_be_hostile(path):
    """Any query gets an answer, never an exception."""
    world, token, words = prepared()
    for value in ("", "x", "\x00", "²", "字", words["<user>"], "k", "1"):
        world.account.counters.clear()
        query = dict.fromkeys(("openid", "kf_account", "ids", "start", "limit", "tid"), value)
        assert world.handle(Request("GET", path, query | {"access_token": token})).status == 200
