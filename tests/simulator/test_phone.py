"""What users do on their phones, what is pushed for it, and what it allows the account to send."""

from __future__ import annotations

import pytest

from wxmp.simulator import WorldError


@pytest.fixture
def phone(world):
    """The phone of a follower."""
    (openid,) = world.create_followers(1)
    return world.phone(openid)


def pushed(phone, world):
    return [push.fields for push in world.pushes(phone.openid)]


def test_new_person(world):
    """A phone without an openid is a new person's, who may follow."""
    phone = world.phone()
    with pytest.raises(WorldError, match="only a follower"):
        phone.say("x")
    phone.follow()
    phone.say("x")
    phone.unfollow()
    assert [line.kind for line in phone.chat] == ["subscribe", "text", "unsubscribe"]
    assert {line.source for line in phone.chat} == {"user"}


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda p: p.say("你好"), {"MsgType": "text", "Content": "你好"}),
        (lambda p: p.say("是", menu_line="101"), {"MsgType": "text", "Content": "是", "bizmsgmenuid": "101"}),
        (
            lambda p: p.send_image(media_id="m1", pic_url="http://a.example/1"),
            {"MsgType": "image", "PicUrl": "http://a.example/1", "MediaId": "m1"},
        ),
        (
            lambda p: p.send("voice", MediaId="m1", MediaId16K="m2", Recognition="你好"),
            {"MsgType": "voice", "MediaId": "m1", "Format": "amr", "MediaId16K": "m2", "Recognition": "你好"},
        ),
        (
            lambda p: p.send("video", MediaId="m1", ThumbMediaId="t"),
            {"MsgType": "video", "MediaId": "m1", "ThumbMediaId": "t"},
        ),
        (
            lambda p: p.send("shortvideo", MediaId="m1", ThumbMediaId="t"),
            {"MsgType": "shortvideo", "MediaId": "m1", "ThumbMediaId": "t"},
        ),
        (
            lambda p: p.send_location((1.5, 2.5, "家"), scale=20),
            {"MsgType": "location", "Location_X": 1.5, "Location_Y": 2.5, "Scale": 20, "Label": "家"},
        ),
        (
            lambda p: p.send_link("https://a.example/", title="t", description="d"),
            {"MsgType": "link", "Title": "t", "Description": "d", "Url": "https://a.example/"},
        ),
    ],
)
def test_messages(phone, world, act, expected):
    """Each kind of message has the platform's fields and a MsgId."""
    act(phone)
    (fields,) = pushed(phone, world)
    assert fields == expected | {"MsgId": fields["MsgId"]}


@pytest.mark.parametrize(
    "act",
    [
        lambda p: p.send_image(),
        lambda p: p.send_voice(recognition="x"),
        lambda p: p.send_video(),
        lambda p: p.send_video(short=True),
        lambda p: p.send_location(),
    ],
)
def test_made_up_fields_are_complete(phone, world, act):
    """What is left out is made up: no field is empty, and media ids differ."""
    act(phone)
    act(phone)
    first, second = pushed(phone, world)
    assert all(value != "" for value in first.values())
    assert first["MsgId"] != second["MsgId"]
    if "MediaId" in first:
        assert first["MediaId"] != second["MediaId"]


def test_only_known_kinds(phone):
    """A user cannot send what users cannot send."""
    with pytest.raises(WorldError, match="cannot send 'music'"):
        phone.send("music")


MENU = [
    {"type": "scancode_waitmsg", "name": "scan", "key": "SCAN"},
    {"type": "pic_sysphoto", "name": "photo", "key": "PHOTO"},
    {"type": "location_select", "name": "place", "key": "PLACE"},
]


def test_scan_button(phone, world, desk):
    """A scan button tells what was scanned and opens the window of a menu tap."""
    desk.post("/cgi-bin/menu/create", {"button": MENU})
    button = phone.tap("SCAN", scan_type="barcode", scan_result="EAN_13,6911316223400")
    assert button["name"] == "scan"
    (fields,) = pushed(phone, world)
    assert fields == {
        "MsgType": "event",
        "Event": "scancode_waitmsg",
        "EventKey": "SCAN",
        "ScanCodeInfo": {"ScanType": "barcode", "ScanResult": "EAN_13,6911316223400"},
    }
    assert [window.trigger for window in world.account.users[phone.openid].windows] == ["menu"]


def test_picture_button(phone, world, desk):
    """A picture button tells how many pictures there are; each follows as a message, which counts as writing."""
    desk.post("/cgi-bin/menu/create", {"button": MENU})
    phone.tap("PHOTO", pictures=2)
    event, *pictures = pushed(phone, world)
    assert event["SendPicsInfo"]["Count"] == 2
    assert len({item["PicMd5Sum"] for item in event["SendPicsInfo"]["PicList"]["item"]}) == 2
    assert [picture["MsgType"] for picture in pictures] == ["image", "image"]
    assert [window.trigger for window in world.account.users[phone.openid].windows] == ["write"]
    with pytest.raises(WorldError, match="1 to 9"):
        phone.tap("PHOTO", pictures=0)


def test_place_button(phone, world, desk):
    """A location button is followed by a location message; the event has the numbers as texts."""
    desk.post("/cgi-bin/menu/create", {"button": MENU})
    phone.tap("PLACE", place=(1.5, 2.5, "家"))
    event, message = pushed(phone, world)
    assert event["SendLocationInfo"]["Location_X"] == "1.5"
    assert (message["MsgType"], message["Location_X"], message["Label"]) == ("location", 1.5, "家")


def test_reported_location(phone, world):
    """A reported location is an event, opens no window and is no line of the chat."""
    phone.report_location(1.5, 2.5, precision=10.0)
    assert pushed(phone, world) == [
        {"MsgType": "event", "Event": "LOCATION", "Latitude": 1.5, "Longitude": 2.5, "Precision": 10.0}
    ]
    assert phone.chat == []
    assert world.account.users[phone.openid].windows == []


def test_blacklisted_users_see_their_own_words(phone, world):
    """A message of a user on the blacklist stays on their phone."""
    world.account.users[phone.openid].blacklisted = True
    phone.say("x")
    assert [line.content for line in phone.chat] == ["x"]
    assert phone.chat[0].push is None
    assert world.pushes() == []


def test_any_push(phone, world):
    """Any event can be pushed as given; a notice of the platform needs no user."""
    pushed = phone.push({"Event": "debug_demo", "debug_str": "hello"})
    assert (pushed.kind, pushed.fields) == ("event", {"MsgType": "event", "Event": "debug_demo", "debug_str": "hello"})
    notice = world.push({"Event": "qualification_verify_success", "FromUserName": "fromUser", "ExpiredTime": 1})
    assert (notice.openid, notice.id) == ("fromUser", pushed.id + 1)
    assert phone.push({"MsgType": "device_text", "Content": "eA=="}).kind == "message"
    for fields, openid in (({}, phone.openid), ({"Event": "x"}, None), ({"Event": "x"}, "oNobody")):
        with pytest.raises(WorldError):
            world.push(fields, openid)


def test_menu_line_counts_as_a_tap(phone, world):
    """A tapped line of a menu message opens the menu's window, not that of writing."""
    phone.say("是", menu_line="101")
    assert [window.trigger for window in world.account.users[phone.openid].windows] == ["menu"]
