"""wechatpy, the most used Python SDK, in its released version and the next, against the simulator.

Both have the platform's addresses written into them; only the proxy setting of their process leads here.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from tests.peers.conftest import NEXT, Peer, PeerError, content, file, settle
from wxmp.simulator import Policy, Simulator
from wxmp.simulator.callbacks import CallbackError
from wxmp.simulator.jpeg import flat_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.gateway import Gateway
    from wxmp.simulator import Phone

TITLES = "https://api.weixin.qq.com/wxaapi/newtmpl/getpubtemplatetitles"
TOKEN = "peerToken1"
AES_KEY = base64.b64encode(bytes(range(7, 39))).decode()[:43]
# A picture of one pixel in the two formats.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = flat_jpeg([[True]])
BUTTONS = [
    {"type": "click", "name": "今日歌曲", "key": "V1001_TODAY_MUSIC"},
    {"name": "菜单", "sub_button": [{"type": "view", "name": "搜索", "url": "http://www.soso.com/"}]},
]


@pytest.fixture(scope="module", params=["1.8", "2.0"])
def version(request: pytest.FixtureRequest) -> str:
    """The wechatpy in use."""
    return str(request.param)


@pytest.fixture(scope="module")
def simulator(version: str) -> Iterator[Simulator]:
    """One simulator for each version, whose lists of followers have two to a page."""
    with Simulator(seed=4, followers=3, policy=Policy(follower_page=2)) as running:
        yield running


@pytest.fixture(scope="module")
def peer(start: Callable[..., Peer], simulator: Simulator, version: str) -> Peer:
    """WeChatPy with the default account's credentials."""
    account = simulator.account
    path = (NEXT,) if version == "2.0" else ()
    return start("wechatpy_peer.py", account.appid, account.secret, TOKEN, AES_KEY, path=path)


@pytest.fixture
def follower(simulator: Simulator) -> Phone:
    """A new follower who has just written."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.say("你好")
    return phone


def refusal(peer: Peer, name: str, *args: Any, **more: Any) -> int | str | None:
    """Return the errcode that a call raises."""
    with pytest.raises(PeerError) as caught:
        peer(name, *args, **more)
    assert caught.value.kind == "WeChatClientException"
    return caught.value.errcode


def test_it_is_the_version_that_is_meant(peer: Peer, version: str) -> None:
    """The two environments are two versions."""
    assert peer("version").startswith(version)


# ---- token and errors


def test_one_token_serves_all_calls(peer: Peer, simulator: Simulator) -> None:
    """It asks the plain channel once, and the address list is a list of addresses."""
    first = peer("client.misc.get_wechat_ips")
    before = simulator.token_requests_of("plain")
    assert peer("client.misc.get_wechat_ips") == first
    assert first
    assert simulator.token_requests_of("plain") == before


@pytest.mark.parametrize("how", ["forced", "expired"])
def test_dead_token_is_replaced_once(peer: Peer, simulator: Simulator, how: Any) -> None:
    """A token that died is answered with a code that makes wechatpy fetch one new token and repeat the call."""
    peer("client.misc.get_wechat_ips")
    before = simulator.token_requests_of("plain")
    simulator.kill_token("plain", how)
    assert peer("client.misc.get_wechat_ips")
    assert simulator.token_requests_of("plain") == before + 1


def test_wrong_secret(peer: Peer) -> None:
    """The token endpoint's own error reaches the caller."""
    assert refusal(peer, "wrong.fetch_access_token") in {40001, 40125}


def test_error_of_a_call(peer: Peer) -> None:
    """Code and text of an error are the caller's to read."""
    with pytest.raises(PeerError) as caught:
        peer("client.user.get", "nobody")
    assert caught.value.errcode == 40003
    assert "invalid openid" in caught.value.text


# ---- menu


def test_menu(peer: Peer, simulator: Simulator) -> None:
    """A menu is created, read back in both shapes, and deleted."""
    assert peer("client.menu.create", {"button": BUTTONS})["errcode"] == 0
    got = peer("client.menu.get")["menu"]["button"]
    assert [button["name"] for button in got] == ["今日歌曲", "菜单"]
    assert got[1]["sub_button"][0]["url"] == "http://www.soso.com/"
    info = peer("client.menu.get_menu_info")
    assert info["is_menu_open"] == 1
    assert info["selfmenu_info"]["button"][1]["sub_button"]["list"][0]["name"] == "搜索"
    assert peer("client.menu.delete")["errcode"] == 0
    # wechatpy turns "no menu" into None.
    assert peer("client.menu.get") is None


def test_menu_update_replaces(peer: Peer) -> None:
    """Its update is delete and create: the old menu is gone."""
    peer("client.menu.create", {"button": BUTTONS})
    peer("client.menu.update", {"button": BUTTONS[:1]})
    assert len(peer("client.menu.get")["menu"]["button"]) == 1


def test_conditional_menu(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """A menu for a tag is matched, listed and deleted."""
    peer("client.menu.create", {"button": BUTTONS})
    tag = peer("client.tag.create", "会员菜单")
    peer("client.tag.tag_user", tag["id"], follower.openid)
    made = peer(
        "client.menu.add_conditional",
        {"button": [{"type": "click", "name": "会员", "key": "VIP"}], "matchrule": {"tag_id": str(tag["id"])}},
    )
    match = peer("client.menu.try_match", follower.openid)
    assert [button["name"] for button in match.get("menu", match)["button"]] == ["会员"]
    listed = peer("client.menu.get")["conditionalmenu"]
    assert [str(item["menuid"]) for item in listed] == [str(made["menuid"])]
    assert peer("client.menu.del_conditional", made["menuid"])["errcode"] == 0
    peer("client.tag.delete", tag["id"])


@pytest.mark.parametrize(
    ("buttons", "code"),
    [
        ([], 40016),
        ([{"type": "click", "name": "一", "key": "k"}] * 4, 40016),
        ([{"type": "click", "name": "一"}], 40019),
    ],
)
def test_menu_that_cannot_be(peer: Peer, buttons: list[Any], code: int) -> None:
    """What the platform refuses is an exception with the platform's code."""
    assert refusal(peer, "client.menu.create", {"button": buttons}) == code


# ---- people


def test_user(peer: Peer, follower: Phone) -> None:
    """One user's record has the documented fields."""
    user = peer("client.user.get", follower.openid)
    assert user["subscribe"] == 1
    assert user["openid"] == follower.openid
    assert user["subscribe_scene"] == "ADD_SCENE_SEARCH"
    assert {"subscribe_time", "remark", "groupid", "tagid_list", "qr_scene", "qr_scene_str", "language"} <= set(user)


def test_user_who_left(peer: Peer, simulator: Simulator) -> None:
    """Of somebody who does not follow only the openid is told."""
    phone = simulator.phone()
    assert peer("client.user.get", phone.openid) == {"subscribe": 0, "openid": phone.openid}


def test_followers(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """Its iterator over pages ends, and names every follower once."""
    page = peer("client.user.get_followers")
    everybody = peer("client.user.iter_followers")
    assert follower.openid in everybody
    assert page["count"] == 2
    assert len(everybody) == len(set(everybody)) == page["total"]


def test_user_batch(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """Several users in one call, in the order asked."""
    stranger = simulator.phone()
    users = peer("client.user.get_batch", [follower.openid, stranger.openid])
    assert [(user["openid"], user["subscribe"]) for user in users] == [(follower.openid, 1), (stranger.openid, 0)]


def test_remark(peer: Peer, follower: Phone) -> None:
    """A remark is written and read back."""
    assert peer("client.user.update_remark", follower.openid, "老王 & <朋友>")["errcode"] == 0
    assert peer("client.user.get", follower.openid)["remark"] == "老王 & <朋友>"


def test_tags(peer: Peer, follower: Phone) -> None:
    """A tag's life: made, renamed, put on a user, found from both sides, taken off, deleted."""
    tag = peer("client.tag.create", "广东")
    assert tag["name"] == "广东"
    assert peer("client.tag.update", tag["id"], "广东人")["errcode"] == 0
    assert peer("client.tag.tag_user", tag["id"], [follower.openid])["errcode"] == 0
    assert peer("client.tag.get_user_tag", follower.openid) == [tag["id"]]
    assert peer("client.tag.get_tag_users", tag["id"])["data"]["openid"] == [follower.openid]
    assert {"id": tag["id"], "name": "广东人", "count": 1} in peer("client.tag.get")
    assert peer("client.tag.untag_user", tag["id"], follower.openid)["errcode"] == 0
    assert peer("client.tag.get_user_tag", follower.openid) == []
    assert peer("client.tag.delete", tag["id"])["errcode"] == 0


def test_tag_users_iterator(peer: Peer, follower: Phone) -> None:
    """Its iterator over a tag's users ends."""
    tag = peer("client.tag.create", "翻页")
    peer("client.tag.tag_user", tag["id"], follower.openid)
    assert peer("client.tag.iter_tag_users", tag["id"]) == [follower.openid]
    peer("client.tag.delete", tag["id"])


def test_tag_name_taken(peer: Peer) -> None:
    """A second tag of the same name is refused."""
    tag = peer("client.tag.create", "重名")
    assert refusal(peer, "client.tag.create", "重名") == 45157
    peer("client.tag.delete", tag["id"])


def test_blacklist(peer: Peer, follower: Phone) -> None:
    """A user is put on the blacklist, listed and taken off."""
    assert peer("client.tag.batch_black_list", [follower.openid])["errcode"] == 0
    assert follower.openid in peer("client.tag.get_black_list")["data"]["openid"]
    assert peer("client.tag.batch_unblack_list", [follower.openid])["errcode"] == 0
    assert follower.openid not in peer("client.tag.get_black_list").get("data", {}).get("openid", [])


def test_groups(peer: Peer, follower: Phone) -> None:
    """The old groups still work: made, renamed, moved into, asked for, deleted."""
    group = peer("client.group.create", "分组")["group"]
    assert peer("client.group.update", group["id"], "新分组")["errcode"] == 0
    assert peer("client.group.move_user", follower.openid, group["id"])["errcode"] == 0
    assert peer("client.user.get_group_id", follower.openid) == group["id"]
    assert peer("client.group.get", follower.openid) == group["id"]
    assert {"id": group["id"], "name": "新分组", "count": 1} in peer("client.group.get")
    assert peer("client.group.delete", group["id"]) in ({}, {"errcode": 0, "errmsg": "ok"})


# ---- messages to users


def test_template(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """A template is added, sent, seen on the phone, reported to the server and removed."""
    template = peer("client.template.get", "TM00015")
    listed = peer("client.template.get_all_private_template")["template_list"]
    assert template in {item["template_id"] for item in listed}
    sent = peer(
        "client.message.send_template",
        follower.openid,
        template,
        {
            "first": {"value": "您好"},
            "orderMoneySum": {"value": "12.00元"},
            "orderProductName": {"value": "茶 & <杯>"},
            "Remark": {"value": "再见", "color": "#173177"},
        },
        url="http://127.0.0.1/order",
    )
    assert sent["errcode"] == 0
    assert isinstance(sent["msgid"], int)
    assert [line.source for line in follower.chat][-1] == "template"
    assert peer("client.template.del_private_template", template)["errcode"] == 0


def test_template_unknown(peer: Peer, follower: Phone) -> None:
    """A template that is not there is refused."""
    assert refusal(peer, "client.message.send_template", follower.openid, "no such", {}) == 40037


def test_industry(peer: Peer) -> None:
    """The industry is set and read back."""
    assert peer("client.template.set_industry", 1, 4)["errcode"] == 0
    got = peer("client.template.get_industry")
    assert set(got) == {"primary_industry", "secondary_industry"}
    assert {"first_class", "second_class"} <= set(got["primary_industry"])


def test_customer_service_text(peer: Peer, follower: Phone) -> None:
    """A text reaches the phone of somebody who has just written."""
    assert peer("client.message.send_text", follower.openid, "稍等 & <谢谢>")["errcode"] == 0
    assert (follower.chat[-1].source, follower.chat[-1].content) == ("custom", "稍等 & <谢谢>")


def test_customer_service_image(peer: Peer, follower: Phone) -> None:
    """An uploaded image is sent by its media_id."""
    media = peer("client.media.upload", "image", file(PNG, "a.png"))
    assert peer("client.message.send_image", follower.openid, media["media_id"])["errcode"] == 0
    assert follower.chat[-1].kind == "image"


def test_customer_service_news(peer: Peer, follower: Phone) -> None:
    """One article is allowed, two are not."""
    article = {"title": "标题", "description": "描述", "url": "http://127.0.0.1/", "image": "http://127.0.0.1/a.png"}
    assert peer("client.message.send_articles", follower.openid, [article])["errcode"] == 0
    assert follower.chat[-1].kind == "news"
    assert refusal(peer, "client.message.send_articles", follower.openid, [article, article]) == 45008


def test_customer_service_music(peer: Peer, follower: Phone) -> None:
    """Music has a picture that was uploaded."""
    thumb = peer("client.media.upload", "thumb", file(JPEG, "a.jpg"))
    sent = peer(
        "client.message.send_music",
        follower.openid,
        "http://127.0.0.1/a.mp3",
        "http://127.0.0.1/hq.mp3",
        thumb.get("thumb_media_id") or thumb["media_id"],
        title="歌",
        description="词",
    )
    assert sent["errcode"] == 0
    assert follower.chat[-1].kind == "music"


def test_customer_service_after_the_window(peer: Peer, simulator: Simulator) -> None:
    """To somebody who never wrote nothing can be sent."""
    phone = simulator.phone()
    phone.follow()
    phone.unfollow()
    assert refusal(peer, "client.message.send_text", phone.openid, "x") in {43004, 45015}


def mass(peer: Peer, version: str, text: str, to: Any, **more: Any) -> Any:
    """Send a mass text: the two versions have its arguments in another order."""
    return peer("client.message.send_mass_text", *((to, text) if version == "1.8" else (text, to)), **more)


def test_mass_text_by_openid(peer: Peer, version: str, simulator: Simulator, follower: Phone) -> None:
    """A mass message to two openids reaches both, and its state can be asked for."""
    other = simulator.phone()
    other.follow()
    sent = mass(peer, version, "群发", [follower.openid, other.openid])
    assert sent["errcode"] == 0
    simulator.advance(600)
    assert [phone.chat[-1].content for phone in (follower, other)] == ["群发", "群发"]
    assert peer("client.message.get_mass", sent["msg_id"])["msg_status"] == "SEND_SUCCESS"


def test_mass_text_by_tag(peer: Peer, version: str, simulator: Simulator, follower: Phone) -> None:
    """A mass message to a tag reaches who has it; the released version still calls the tag a group."""
    tag = peer("client.tag.create", "群发")
    peer("client.tag.tag_user", tag["id"], follower.openid)
    sent = mass(peer, version, "给标签", tag["id"])
    assert {"msg_id", "msg_data_id"} <= set(sent) | {"msg_data_id"}
    simulator.advance(600)
    assert follower.chat[-1].content == "给标签"
    peer("client.tag.delete", tag["id"])


def test_mass_preview(peer: Peer, version: str, follower: Phone) -> None:
    """A preview reaches one person."""
    assert mass(peer, version, "预览", follower.openid, preview=True)["errcode"] == 0
    assert follower.chat[-1].content == "预览"


# ---- media, material, drafts


def test_media(peer: Peer) -> None:
    """A temporary picture comes back as it went up."""
    media = peer("client.media.upload", "image", file(PNG, "图.png"))
    assert media["type"] == "image"
    assert isinstance(media["created_at"], int)
    got = peer("client.media.download", media["media_id"])
    assert content(got["content"]) == PNG
    assert got["headers"]["content-type"].startswith("image/")


def test_media_unknown(peer: Peer) -> None:
    """An unknown media_id is an error, not a file."""
    assert refusal(peer, "client.media.download", "no-such-media") == 40007


def test_article_picture(peer: Peer) -> None:
    """A picture for articles has an address."""
    assert peer("client.media.upload_image", file(PNG, "a.png")).startswith("http")


def test_material(peer: Peer) -> None:
    """A permanent picture: added, counted, listed, read, deleted."""
    before = peer("client.material.get_count")
    made = peer("client.material.add", "image", file(PNG, "永久.png"))
    assert {"media_id", "url"} <= set(made)
    after = peer("client.material.get_count")
    assert after["image_count"] == before["image_count"] + 1
    listed = peer("client.material.batchget", "image")
    assert listed["total_count"] == after["image_count"]
    assert made["media_id"] in {item["media_id"] for item in listed["item"]}
    assert content(peer("client.material.get", made["media_id"])["content"]) == PNG
    assert peer("client.material.delete", made["media_id"])["errcode"] == 0
    assert peer("client.material.get_count") == before


def test_draft(peer: Peer, version: str) -> None:
    """A draft: added, counted, read, changed, deleted. The released wechatpy does not know drafts."""
    if version == "1.8":
        with pytest.raises(PeerError, match="has no attribute 'draft'"):
            peer("client.draft.count")
        return
    thumb = peer("client.material.add", "image", file(PNG, "封面.png"))["media_id"]
    article = {"title": "标题", "content": "<p>正文</p>", "thumb_media_id": thumb, "author": "作者"}
    before = peer("client.draft.count")["total_count"]
    made = peer("client.draft.add", [article])["media_id"]
    assert peer("client.draft.count")["total_count"] == before + 1
    assert peer("client.draft.get", made)["news_item"][0]["title"] == "标题"
    assert peer("client.draft.update", made, 0, article | {"title": "新标题"})["errcode"] == 0
    listed = peer("client.draft.batchget")["item"]
    assert [item["content"]["news_item"][0]["title"] for item in listed if item["media_id"] == made] == ["新标题"]
    assert peer("client.draft.delete", made)["errcode"] == 0
    assert peer("client.draft.count")["total_count"] == before


# ---- customer-service staff


def test_staff(peer: Peer, version: str, simulator: Simulator, follower: Phone) -> None:
    """An agent's account is made, renamed, gets a picture, and writes under its name.

    The next version asks for the list at an address that no document names.
    """
    name = f"kf2001@{simulator.account.original_id}"
    assert peer("client.customservice.add_account", name, "客服一", "pswmd5")["errcode"] == 0
    assert peer("client.customservice.update_account", name, "客服二", "pswmd5")["errcode"] == 0
    assert peer("client.customservice.upload_headimg", name, file(JPEG, "a.jpg"))["errcode"] == 0
    assert peer("client.message.send_text", follower.openid, "我是客服", account=name)["errcode"] == 0
    assert follower.chat[-1].content == "我是客服"
    if version == "1.8":
        listed = {item["kf_account"]: item for item in peer("client.customservice.get_accounts")}
        assert listed[name]["kf_nick"] == "客服二"
        assert peer("client.customservice.get_online_accounts") == []
    else:
        assert refusal(peer, "client.customservice.get_accounts") == 40066


def test_staff_is_deleted_the_old_way(peer: Peer, simulator: Simulator) -> None:
    """It deletes an agent by GET, as older documents have it; the simulator takes both forms."""
    name = f"kf2002@{simulator.account.original_id}"
    assert peer("client.customservice.add_account", name, "客服二", "pswmd5")["errcode"] == 0
    assert peer("client.customservice.delete_account", name)["errcode"] == 0
    left = peer("client.customservice.get_accounts") if peer("version").startswith("1") else []
    assert name not in str(left)


def test_waiting_customers(peer: Peer, follower: Phone) -> None:
    """Nobody waits, and somebody who never asked for an agent has none."""
    waiting = peer("client.customservice.get_wait_case")
    assert {"count", "waitcaselist"} <= set(waiting)
    assert peer("client.customservice.get_session", follower.openid).get("kf_account", "") == ""


def test_menu_message(peer: Peer, follower: Phone) -> None:
    """A message with a menu reaches the phone."""
    menu = {"head_content": "满意吗", "list": [{"id": "101", "content": "满意"}], "tail_content": "谢谢"}
    assert peer("client.message.send_msg_menu", follower.openid, menu)["errcode"] == 0
    assert follower.chat[-1].kind == "msgmenu"


# ---- publishing, comments, statistics


def test_publish(peer: Peer, version: str, simulator: Simulator) -> None:
    """A draft is published: its state, its article, the list. The released wechatpy knows nothing of it."""
    if version == "1.8":
        with pytest.raises(PeerError, match="no attribute 'freepublish'"):
            peer("client.freepublish.batchget", 0, 20)
        return
    thumb = peer("client.material.add", "image", file(PNG, "封面.png"))["media_id"]
    draft = peer("client.draft.add", [{"title": "发布", "content": "<p>正文</p>", "thumb_media_id": thumb}])["media_id"]
    publish_id = peer("client.freepublish.submit", draft)["publish_id"]
    simulator.advance(600)
    state = peer("client.freepublish.get", str(publish_id))
    assert state["publish_status"] == 0
    article = state["article_id"]
    assert peer("client.freepublish.getarticle", article)["news_item"][0]["title"] == "发布"
    listed = peer("client.freepublish.batchget", 0, 20)
    assert article in {item["article_id"] for item in listed["item"]}
    assert peer("client.freepublish.delete", article)["errcode"] == 0


def test_autoreply(peer: Peer) -> None:
    """The rules of the console can be read."""
    assert {"is_add_friend_reply_open", "is_autoreply_open"} <= set(peer("client.message.get_autoreply_info"))


def test_statistics(peer: Peer, simulator: Simulator) -> None:
    """Yesterday's numbers come in the documented shape: wechatpy takes ``list`` out of them."""
    # At noon: before eight o'clock there are none.
    now = dt.datetime.fromtimestamp(simulator.world.now(), dt.timezone(dt.timedelta(hours=8)))
    today = (now + dt.timedelta(days=1)).replace(hour=12)
    simulator.advance((today - now).total_seconds())
    day = (today - dt.timedelta(days=1)).strftime("%Y-%m-%d")
    assert [row["ref_date"] for row in peer("client.datacube.get_user_cumulate", day, day)] == [day]
    for row in peer("client.datacube.get_user_summary", day, day):
        assert {"ref_date", "user_source", "new_user", "cancel_user"} <= set(row)
    for row in peer("client.datacube.get_upstream_msg", day, day):
        assert {"ref_date", "msg_type", "msg_user", "msg_count"} <= set(row)


def test_short_url(peer: Peer) -> None:
    """The old short links have been switched off by the platform; wechatpy still offers them."""
    assert refusal(peer, "client.misc.short_url", "http://127.0.0.1/long") == 40066


# ---- codes, pages


@pytest.mark.parametrize(
    "wanted",
    [
        {"expire_seconds": 1800, "action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 123}}},
        {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "店 1"}}},
    ],
    ids=["temporary", "permanent"],
)
def test_qrcode(peer: Peer, wanted: dict[str, Any]) -> None:
    """A QR code is made, and its picture is at the address of the platform's pages."""
    code = peer("client.qrcode.create", wanted)
    assert code.get("expire_seconds") == wanted.get("expire_seconds")
    picture = peer("client.qrcode.show", code)
    assert picture["status"] == 200
    assert picture["headers"]["content-type"] == "image/jpg"
    assert content(picture["content"])[:2] == b"\xff\xd8"
    assert peer("client.qrcode.get_url", code).startswith("https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=")


def test_js_ticket(peer: Peer, simulator: Simulator) -> None:
    """The ticket is kept, and its signature is the documented one."""
    ticket = peer("client.jsapi.get_jsapi_ticket")
    calls = simulator.calls("/cgi-bin/ticket/getticket")
    assert peer("client.jsapi.get_jsapi_ticket") == ticket
    assert simulator.calls("/cgi-bin/ticket/getticket") == calls
    text = f"jsapi_ticket={ticket}&noncestr=n&timestamp=1&url=http://127.0.0.1/?a=b"
    signature = peer("client.jsapi.get_jsapi_signature", "n", ticket, 1, "http://127.0.0.1/?a=b")
    assert signature == hashlib.sha1(text.encode()).hexdigest()


def consent(simulator: Simulator, url: str, openid: str) -> dict[str, list[str]]:
    """Open an authorisation address and tap "allow" as one of the users; return the query it comes back with."""
    found = urlsplit(url)
    assert (found.hostname, found.fragment) == ("open.weixin.qq.com", "wechat_redirect")
    with httpx.Client(base_url=simulator.url, trust_env=False, timeout=5) as browser:
        query = dict(parse_qsl(found.query)) | {"user": openid, "auto": "1"}
        answer = browser.get(f"/open{found.path}", params=query)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.path == "/callback"
    return parse_qs(back.query)


@pytest.mark.parametrize("scope", ["base", "userinfo"])
def test_page_authorisation(peer: Peer, simulator: Simulator, follower: Phone, scope: str) -> None:
    """A code is exchanged once, the token checked, refreshed, and used for the profile where the scope allows."""
    query = consent(simulator, peer(f"{scope}.authorize_url"), follower.openid)
    assert (query["a"], query["b"]) == (["1"], ["2"])
    grant = peer(f"{scope}.fetch_access_token", query["code"][0])
    assert (grant["openid"], grant["scope"]) == (follower.openid, f"snsapi_{scope}")
    assert peer(f"{scope}.check_access_token") is True
    if scope == "userinfo":
        assert peer("userinfo.get_user_info")["nickname"]
    assert peer(f"{scope}.refresh_access_token", grant["refresh_token"])["openid"] == follower.openid
    with pytest.raises(PeerError) as caught:
        peer(f"{scope}.fetch_access_token", query["code"][0])
    assert (caught.value.kind, caught.value.errcode) == ("WeChatOAuthException", 40163)


# ---- pushes


@pytest.fixture(params=["plain", "compatible", "safe"])
def served(request: pytest.FixtureRequest, peer: Peer, simulator: Simulator) -> str:
    """The account pushes to wechatpy's service, which has passed the check of its address."""
    key = None if request.param == "plain" else AES_KEY
    simulator.set_callback(peer("url"), token=TOKEN, encoding_aes_key=key, mode=request.param)
    return str(request.param)


def test_conversation(served: str, peer: Peer, simulator: Simulator) -> None:
    """Follow, text with every kind of character, and the replies on the phone."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    assert phone.chat[-1].content == "欢迎"
    text = 'a & b < c > "d" 你好 🔨 é\n第二行'
    phone.say(text)
    settle(simulator)
    got = peer("service.last")
    assert (got["class"], got["content"], got["source"]) == ("TextMessage", text, phone.openid)
    assert got["target"] == simulator.account.original_id
    assert (phone.chat[-1].source, phone.chat[-1].content) == ("reply", f"你说：{text}")


def test_reply_that_ends_its_own_cdata(served: str, peer: Peer, simulator: Simulator) -> None:
    """It reads "]]>" in a text well, but does not escape it in its answer: that is no XML, and the user is told so."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.say("a]]>b")
    settle(simulator)
    assert peer("service.last")["content"] == "a]]>b"
    attempt = simulator.deliveries(phone.openid)[-1]
    assert attempt.verdict == "broken"
    assert "not well-formed XML" in attempt.why
    assert phone.chat[-1].source == "system"


def test_news_reply(served: str, simulator: Simulator) -> None:
    """Its article reply is shown on the phone."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.say("图文")
    settle(simulator)
    assert phone.chat[-1].kind == "news"


def test_menu_tap(served: str, peer: Peer, simulator: Simulator) -> None:
    """A tap on a menu is its ClickEvent with the key."""
    peer("client.menu.create", {"button": BUTTONS})
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.tap("今日歌曲")
    settle(simulator)
    got = peer("service.last")
    assert (got["class"], got["key"], got["type"], got["event"]) == (
        "ClickEvent",
        "V1001_TODAY_MUSIC",
        "event",
        "click",
    )


@pytest.mark.parametrize("pictures", [1, 2])
def test_every_kind_of_menu_button(served: str, peer: Peer, simulator: Simulator, pictures: int) -> None:
    """The events of all kinds of buttons are wechatpy's classes for them, with what was scanned, sent and chosen."""
    kinds = ["scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select"]
    subs = [{"type": kind, "name": kind[:8], "key": kind} for kind in kinds]
    view = {"type": "view", "name": "网页", "url": "http://127.0.0.1/page"}
    buttons = [{"name": "一", "sub_button": subs[:5]}, subs[5], view]
    assert peer("client.menu.create", {"button": buttons})["errcode"] == 0
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    for key in [*kinds, "http://127.0.0.1/page"]:
        phone.tap(key, scan_result="1234567890", pictures=pictures)
        settle(simulator)
    found = {item["class"]: item for item in peer("service.history", phone.openid) if item["type"] == "event"}
    assert found.pop("SubscribeEvent")
    assert found["ViewEvent"]["url"] == "http://127.0.0.1/page"
    for name in ("ScanCodePushEvent", "ScanCodeWaitMsgEvent"):
        assert (found[name]["scan_type"], found[name]["scan_result"]) == ("qrcode", "1234567890")
    for name in ("PicSysPhotoEvent", "PicPhotoOrAlbumEvent", "PicWeChatEvent"):
        assert found[name]["count"] == pictures
        assert [len(item["PicMd5Sum"]) for item in found[name]["pictures"]] == [32] * pictures
    assert found["LocationSelectEvent"]["label"]
    assert len(found) == 7


def test_reports_of_sending(served: str, peer: Peer, version: str, simulator: Simulator, follower: Phone) -> None:
    """The end of a template message and of a mass message is told, with the numbers that the calls gave."""
    template = peer("client.template.get", "TM00015")
    names = ("first", "orderMoneySum", "orderProductName", "Remark")
    sent = peer("client.message.send_template", follower.openid, template, {name: {"value": "1"} for name in names})
    broadcast = mass(peer, version, "报告", [follower.openid, simulator.account.original_id])
    simulator.advance(600)
    settle(simulator)
    reports = [item for item in peer("service.events") if item["class"].endswith("JobFinishEvent")]
    templates = [item for item in reports if item["class"] == "TemplateSendJobFinishEvent"]
    assert (templates[-1]["id"], templates[-1]["status"]) == (sent["msgid"], "success")
    broadcasts = [item for item in reports if item["class"] == "MassSendJobFinishEvent"]
    assert (broadcasts[-1]["id"], broadcasts[-1]["status"]) == (broadcast["msg_id"], "send success")
    assert broadcasts[-1]["sent_count"] == 1


@pytest.mark.parametrize("version", ["2.0"], indirect=True)
def test_subscription_notices(served: str, peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """The next wechatpy chooses a template, asks, sends, and understands the three events about it.

    Its list of public templates leaves out the categories, which the platform requires.
    """
    assert refusal(peer, "client.template.get_subscribe_message_template_titles") == 200018
    categories = ",".join(str(item["id"]) for item in peer("client.template.get_category"))
    titles = peer("client.get", TITLES, params={"ids": categories, "start": 0, "limit": 30})["data"]
    tid = str(next(item["tid"] for item in titles if item["title"] == "快递签收通知"))
    keywords = peer("client.template.get_subscribe_message_template_keywords", tid)[1]
    chosen = [item["kid"] for item in keywords if item["rule"] in {"name", "thing"}]
    template = peer("client.template.add_subscribe_message_template", tid, chosen, "测试")
    own = {item["priTmplId"]: item for item in peer("client.template.get_subscribe_message_templates")}
    fields = re.findall(r"{{(\w+)\.DATA}}", own[template]["content"])
    follower.answer_popup({template: "accept"})
    data = {name: {"value": "李雷"} for name in fields}
    sent = peer("client.message.send_subscribe_message", follower.openid, template, data, page="http://127.0.0.1/")
    assert sent["errcode"] == 0
    assert follower.chat[-1].source == "subscribe"
    simulator.advance(60)
    follower.answer_popup({template: "accept"})
    follower.change_subscription(template, False)
    settle(simulator)
    found = {item["class"]: item for item in peer("service.history", follower.openid)}
    for name, field, value in (
        ("SubscribeMsgPopupEvent", "SubscribeStatusString", "accept"),
        ("SubscribeMsgChangeEvent", "SubscribeStatusString", "reject"),
        ("SubscribeMsgSentEvent", "ErrorStatus", "success"),
    ):
        assert [(item["TemplateId"], item[field]) for item in found[name]["subscribes"]] == [(template, value)]
    assert peer("client.template.del_subscribe_message_template", template)["errcode"] == 0


def test_scan(served: str, peer: Peer, simulator: Simulator) -> None:
    """A stranger's scan is its SubscribeScanEvent, a follower's its ScanEvent, both with scene and ticket."""
    wanted = {"expire_seconds": 600, "action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "店1"}}}
    ticket = peer("client.qrcode.create", wanted)["ticket"]
    phone = simulator.phone()
    found = []
    for _ in range(2):
        phone.scan(ticket)
        settle(simulator)
        got = peer("service.last")
        found.append((got["class"], got["scene_id"], got["ticket"]))
    assert found == [("SubscribeScanEvent", "店1", ticket), ("ScanEvent", "店1", ticket)]


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("image", "ImageMessage", {"PicUrl": "http://127.0.0.1/a.jpg", "MediaId": "m1"}),
        ("voice", "VoiceMessage", {"MediaId": "m2", "Format": "amr"}),
        ("video", "VideoMessage", {"MediaId": "m3", "ThumbMediaId": "t3"}),
        ("shortvideo", "ShortVideoMessage", {"MediaId": "m4", "ThumbMediaId": "t4"}),
        ("location", "LocationMessage", {"Location_X": "23.1", "Location_Y": "113.3", "Scale": "20", "Label": "位置"}),
        ("link", "LinkMessage", {"Title": "题", "Description": "述", "Url": "http://127.0.0.1/"}),
    ],
)
def test_every_kind_of_message(
    served: str, peer: Peer, simulator: Simulator, kind: str, name: str, fields: dict[str, str]
) -> None:
    """Each kind of message is the class of wechatpy that its documentation names, with its attributes filled."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.send(kind, **fields)
    settle(simulator)
    got = peer("service.last")
    assert got["class"] == name
    values = {str(value) for value in got.values()}
    assert set(fields.values()) <= values
    assert isinstance(got["id"], int)
    assert got["id"] > 0


def test_unfollow_and_location(served: str, peer: Peer, simulator: Simulator) -> None:
    """A position report and the end of the following are understood."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.report_location()
    settle(simulator)
    assert peer("service.last")["class"] == "LocationEvent"
    phone.unfollow()
    settle(simulator)
    assert peer("service.last")["class"] == "UnsubscribeEvent"


def test_nothing_was_refused(served: str, peer: Peer, simulator: Simulator) -> None:
    """Every signature and every envelope is right, in all the pushes of this file."""
    simulator.phone().follow()
    settle(simulator)
    assert peer("service.count") >= 1
    assert peer("service.refused") == []
    broken = [attempt.why for attempt in simulator.deliveries() if attempt.verdict not in {"shown", "silent"}]
    assert [why for why in broken if "not well-formed XML" not in why] == []


def forged(simulator: Simulator, effect: Any) -> list[str]:
    """Let somebody follow while a rule sends forged copies first; return what became of these."""
    phone = simulator.phone()
    simulator.fault(effect)
    phone.follow()
    settle(simulator)
    simulator.clear_faults()
    assert phone.chat[-1].content == "欢迎"
    return [attempt.verdict for attempt in simulator.deliveries(phone.openid) if attempt.number == 0]


def test_wrong_signature_is_refused(served: str, simulator: Simulator) -> None:
    """A copy with a wrong signature is not taken for the platform's; the real one after it is."""
    assert forged(simulator, "push_wrong_signature") == ["refused"]


@pytest.mark.parametrize("served", ["compatible", "safe"], indirect=True)
def test_push_of_another_account_is_refused(served: str, peer: Peer, simulator: Simulator) -> None:
    """A copy whose cipher names another AppID is not taken either, and for this reason."""
    assert forged(simulator, "push_wrong_appid") == ["refused"]
    assert peer("service.refused")[-1] == "InvalidAppIdException"


def test_wrong_token_is_noticed(peer: Peer, simulator: Simulator) -> None:
    """An address whose Token differs does not pass the check."""
    with pytest.raises(CallbackError, match="403"):
        simulator.set_callback(peer("url"), token="anotherToken1", encoding_aes_key=AES_KEY, mode="safe")
    assert peer("service.refused")[-1] == "InvalidSignatureException"


def test_only_the_platform_was_asked(gateway: Gateway, peer: Peer) -> None:
    """All that wechatpy asked for were the platform's hosts, under their real names."""
    peer("client.misc.get_wechat_ips")
    assert gateway.reached <= {"api.weixin.qq.com", "mp.weixin.qq.com"}
