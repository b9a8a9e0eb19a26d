"""WeRoBot against the simulator: its own WSGI application takes the pushes, its client makes calls."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.conftest import Peer, PeerError, content, file, settle
from wxmp.simulator.jpeg import flat_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator import Phone, Simulator

TOKEN = "peerToken2"
AES_KEY = base64.b64encode(bytes(range(9, 41))).decode()[:43]
JPEG = flat_jpeg([[True]])
BUTTONS = [
    {"type": "click", "name": "今日歌曲", "key": "V1001_TODAY_MUSIC"},
    {"name": "菜单", "sub_button": [{"type": "view", "name": "搜索", "url": "http://www.soso.com/"}]},
]


@pytest.fixture(scope="module")
def peer(start: Callable[..., Peer], simulator: Simulator) -> Peer:
    """WeRoBot with the default account's credentials."""
    account = simulator.account
    return start("werobot_peer.py", account.appid, account.secret, TOKEN, AES_KEY)


@pytest.fixture
def follower(simulator: Simulator) -> Phone:
    """A new follower who has just written."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.say("你好")
    return phone


@pytest.fixture(params=["plain", "compatible", "safe"])
def served(request: pytest.FixtureRequest, peer: Peer, simulator: Simulator) -> str:
    """The account pushes to a robot, which has passed the check of its address."""
    key = None if request.param == "plain" else AES_KEY
    url = peer("plain" if request.param == "plain" else "safe")
    simulator.set_callback(url, token=TOKEN, encoding_aes_key=key, mode=request.param)
    return str(request.param)


# ---- the client


def test_one_token_serves_all_calls(peer: Peer, simulator: Simulator) -> None:
    """It asks the plain channel once."""
    assert peer("client.get_ip_list")["ip_list"]
    before = simulator.token_requests_of("plain")
    peer("client.get_ip_list")
    assert simulator.token_requests_of("plain") == before


def test_menu(peer: Peer) -> None:
    """A menu is created, read in both shapes, extended for a group and deleted."""
    assert peer("client.create_menu", {"button": BUTTONS})["errcode"] == 0
    assert [button["name"] for button in peer("client.get_menu")["menu"]["button"]] == ["今日歌曲", "菜单"]
    assert peer("client.get_custom_menu_config")["is_menu_open"] == 1
    tag = peer("client.create_tag", "菜单")["tag"]["id"]
    made = peer("client.create_custom_menu", BUTTONS[:1], {"tag_id": str(tag)})
    assert peer("client.delete_custom_menu", made["menuid"])["errcode"] == 0
    assert peer("client.delete_tag", tag)["errcode"] == 0
    assert peer("client.delete_menu")["errcode"] == 0
    with pytest.raises(PeerError, match="46003"):
        peer("client.get_menu")


def test_custom_menu_match(peer: Peer, follower: Phone) -> None:
    """What a user would see."""
    peer("client.create_menu", {"button": BUTTONS})
    found = peer("client.match_custom_menu", follower.openid)
    assert [button["name"] for button in found.get("menu", found)["button"]] == ["今日歌曲", "菜单"]


def test_users(peer: Peer, follower: Phone) -> None:
    """Followers, one user, several, a remark."""
    assert follower.openid in peer("client.get_followers")["data"]["openid"]
    assert peer("client.remark_user", follower.openid, "备注")["errcode"] == 0
    assert peer("client.get_user_info", follower.openid)["remark"] == "备注"
    users = peer("client.get_users_info", [follower.openid])["user_info_list"]
    assert [user["openid"] for user in users] == [follower.openid]


def test_groups(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """The old groups: made, renamed, one and many moved, asked for, deleted."""
    other = simulator.phone()
    other.follow()
    group = peer("client.create_group", "分组")["group"]["id"]
    assert peer("client.update_group", group, "新分组")["errcode"] == 0
    assert peer("client.move_user", follower.openid, group)["errcode"] == 0
    assert peer("client.get_group_by_id", follower.openid)["groupid"] == group
    assert peer("client.move_users", [follower.openid, other.openid], group)["errcode"] == 0
    assert {"id": group, "name": "新分组", "count": 2} in peer("client.get_groups")["groups"]
    peer("client.delete_group", group)
    assert peer("client.get_group_by_id", follower.openid)["groupid"] == 0


def test_tags(peer: Peer, follower: Phone) -> None:
    """A tag's life."""
    tag = peer("client.create_tag", "标签")["tag"]["id"]
    assert peer("client.update_tag", tag, "新标签")["errcode"] == 0
    assert peer("client.tag_users", tag, [follower.openid])["errcode"] == 0
    assert peer("client.get_tags_by_user", follower.openid)["tagid_list"] == [tag]
    assert peer("client.get_users_by_tag", tag)["data"]["openid"] == [follower.openid]
    assert {"id": tag, "name": "新标签", "count": 1} in peer("client.get_tags")["tags"]
    assert peer("client.untag_users", tag, [follower.openid])["errcode"] == 0
    assert peer("client.delete_tag", tag)["errcode"] == 0


def test_customer_service_messages(peer: Peer, follower: Phone) -> None:
    """Text, picture and article reach the phone; its article field names are the platform's."""
    media = peer("client.upload_media", "image", file(JPEG, "图.jpg"))["media_id"]
    article = {"title": "标题", "description": "描述", "url": "http://127.0.0.1/", "picurl": "http://127.0.0.1/a.jpg"}
    assert peer("client.send_text_message", follower.openid, "文字")["errcode"] == 0
    assert peer("client.send_image_message", follower.openid, media)["errcode"] == 0
    assert peer("client.send_article_message", follower.openid, [article])["errcode"] == 0
    assert [line.kind for line in follower.chat][-3:] == ["text", "image", "news"]


def test_staff(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """An agent's account is made, listed, gets a picture (its one address without TLS), writes, and is deleted."""
    name = f"kf2001@{simulator.account.original_id}"
    assert peer("client.add_custom_service_account", name, "客服一", "pswmd5")["errcode"] == 0
    assert peer("client.update_custom_service_account", name, "客服二", "pswmd5")["errcode"] == 0
    assert peer("client.upload_custom_service_account_avatar", name, file(JPEG, "a.jpg"))["errcode"] == 0
    listed = {item["kf_account"]: item for item in peer("client.get_custom_service_account_list")["kf_list"]}
    assert listed[name]["kf_nick"] == "客服二"
    assert peer("client.get_online_custom_service_account_list")["kf_online_list"] == []
    assert peer("client.send_text_message", follower.openid, "我是客服", name)["errcode"] == 0
    assert peer("client.delete_custom_service_account", name, "客服二", "pswmd5")["errcode"] == 0


def test_mass(peer: Peer, simulator: Simulator, follower: Phone) -> None:
    """A mass text to everybody, to a tag and to a list is accepted; one person is shown a preview."""
    other = simulator.phone()
    other.follow()
    assert peer("client.send_mass_preview_to_user", "text", "预览", follower.openid)["errcode"] == 0
    assert follower.chat[-1].content == "预览"
    sent = peer("client.send_mass_msg", "text", "名单", [follower.openid, other.openid])
    assert sent["errcode"] == 0
    simulator.advance(600)
    assert [phone.chat[-1].content for phone in (follower, other)] == ["名单", "名单"]
    assert peer("client.get_mass_msg_status", sent["msg_id"])["msg_status"] == "SEND_SUCCESS"
    assert peer("client.send_mass_msg", "text", "全部")["errcode"] == 0
    assert "speed" in peer("client.get_mass_msg_speed")


def test_media(peer: Peer) -> None:
    """A file whose name is Chinese (it sends the name percent-encoded) comes back as it went up."""
    media = peer("client.upload_media", "image", file(JPEG, "图.jpg"))
    got = peer("client.download_media", media["media_id"])
    assert content(got["content"]) == JPEG


def test_material(peer: Peer) -> None:
    """A permanent picture: added, counted, listed, read, deleted."""
    before = peer("client.get_media_count")["image_count"]
    made = peer("client.upload_permanent_media", "image", file(JPEG, "a.jpg"))["media_id"]
    assert peer("client.get_media_count")["image_count"] == before + 1
    assert made in {item["media_id"] for item in peer("client.get_media_list", "image", 0, 20)["item"]}
    assert content(peer("client.download_permanent_media", made)["content"]) == JPEG
    assert peer("client.delete_permanent_media", made)["errcode"] == 0


def test_qrcode(peer: Peer) -> None:
    """A QR code and its picture."""
    code = peer("client.create_qrcode", {"action_name": "QR_LIMIT_SCENE", "action_info": {"scene": {"scene_id": 7}}})
    assert content(peer("client.show_qrcode", code["ticket"])["content"])[:2] == b"\xff\xd8"


def test_error(peer: Peer) -> None:
    """An error is its exception, with code and text."""
    with pytest.raises(PeerError, match="40003: invalid openid") as caught:
        peer("client.get_user_info", "nobody")
    assert caught.value.kind == "ClientException"


# ---- the robot


def test_conversation(served: str, peer: Peer, simulator: Simulator) -> None:
    """Follow, text with every kind of character, and the replies on the phone."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    assert phone.chat[-1].content == "欢迎"
    text = 'a & b < c > "d" 你好 🔨 é\n第二行'
    phone.say(text)
    settle(simulator)
    got = peer("last")
    assert (got["class"], got["content"], got["source"]) == ("TextMessage", text, phone.openid)
    assert (phone.chat[-1].source, phone.chat[-1].content) == ("reply", f"你说：{text}")


@pytest.mark.parametrize("text", ["图文", "对象"])
def test_article_replies(served: str, simulator: Simulator, text: str) -> None:
    """Both ways of its documentation to answer with an article are shown on the phone."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.say(text)
    settle(simulator)
    assert phone.chat[-1].kind == "news"


def test_menu_tap(served: str, peer: Peer, simulator: Simulator) -> None:
    """A tap is its click event with the key, and its answer reaches the phone."""
    peer("client.create_menu", {"button": BUTTONS})
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.tap("今日歌曲")
    settle(simulator)
    got = peer("last")
    assert (got["class"], got["type"], got["key"]) == ("ClickEvent", "click_event", "V1001_TODAY_MUSIC")
    assert phone.chat[-1].content == "一首歌"


def test_scan(served: str, peer: Peer, simulator: Simulator) -> None:
    """A stranger's scan follows, a follower's is its scan event; WeRoBot keeps the prefix of the first."""
    wanted = {"expire_seconds": 600, "action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "店1"}}}
    ticket = peer("client.create_qrcode", wanted)["ticket"]
    phone = simulator.phone()
    found = []
    for _ in range(2):
        phone.scan(ticket)
        settle(simulator)
        got = peer("last")
        found.append((got["class"], got["key"], got["ticket"]))
    assert found == [("SubscribeEvent", "qrscene_店1", ticket), ("ScanEvent", "店1", ticket)]
    assert phone.chat[-1].content == "扫了 店1"


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("image", "ImageMessage", {"PicUrl": "http://127.0.0.1/a.jpg"}),
        ("voice", "VoiceMessage", {"MediaId": "m2", "Format": "amr"}),
        ("video", "VideoMessage", {"MediaId": "m3", "ThumbMediaId": "t3"}),
        ("shortvideo", "VideoMessage", {"MediaId": "m4", "ThumbMediaId": "t4"}),
        ("location", "LocationMessage", {"Location_X": "23.1", "Location_Y": "113.3", "Scale": "20", "Label": "位置"}),
        ("link", "LinkMessage", {"Title": "题", "Description": "述", "Url": "http://127.0.0.1/"}),
    ],
)
def test_every_kind_of_message(
    served: str, peer: Peer, simulator: Simulator, kind: str, name: str, fields: dict[str, str]
) -> None:
    """Each kind of message is the class of WeRoBot that its documentation names, with its attributes filled."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.send(kind, **fields)
    settle(simulator)
    got = peer("last")
    assert got["class"] == name
    values: set[str] = set()
    for value in got.values():
        values |= {str(item) for item in value} if isinstance(value, list) else {str(value)}
    assert set(fields.values()) <= values


def test_nobody_answers_what_has_no_handler(served: str, peer: Peer, simulator: Simulator) -> None:
    """An event without a reply is an empty answer, which the platform takes."""
    phone = simulator.phone()
    phone.follow()
    settle(simulator)
    phone.report_location()
    settle(simulator)
    assert (peer("last")["class"], simulator.deliveries(phone.openid)[-1].verdict) == ("LocationEvent", "silent")


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
def test_push_of_another_account_is_refused(served: str, simulator: Simulator) -> None:
    """A copy whose cipher names another AppID is not taken either."""
    assert forged(simulator, "push_wrong_appid") == ["refused"]


# ---- last, because it ends the token of all


def test_dead_token_is_an_error(peer: Peer, simulator: Simulator) -> None:
    """WeRoBot never renews a token before its time: what the platform says is what the caller gets."""
    peer("mortal.get_ip_list")
    simulator.kill_token("plain", "forced")
    for _ in range(2):
        with pytest.raises(PeerError, match="40001"):
            peer("mortal.get_ip_list")
