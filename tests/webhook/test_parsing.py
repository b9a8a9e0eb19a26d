"""From fields to records: what the platform spells differently, what is no push, and what makes two pushes the same."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxmp.errors import MalformedError
from wxmp.webhook import events as ev
from wxmp.webhook import messages as ms
from wxmp.webhook.parsing import event_class, identity, message_class, read_push
from wxmp.webhook.reading import read_json, read_xml

ENVELOPE: dict[str, Any] = {"ToUserName": "gh_1", "FromUserName": "oUser", "CreateTime": "1760000000"}


def text(**fields: Any) -> Any:
    return read_push({**ENVELOPE, "MsgType": "text", **fields})


def event(name: str, **fields: Any) -> Any:
    return read_push({**ENVELOPE, "MsgType": "event", "Event": name, **fields})


# ---- names


@pytest.mark.parametrize("name", ["CLICK", "click", "Click", " CLICK\n"])
def test_names_of_events_compare_without_case(name: str) -> None:
    """The platform changes the case of events; the record keeps the spelling."""
    push = event(name, EventKey="k")

    assert type(push) is ev.MenuClickEvent
    assert push.event == name
    assert event_class(name) is ev.MenuClickEvent


@pytest.mark.parametrize("msg_type", ["text", "TEXT", "Text"])
def test_names_of_messages_compare_without_case(msg_type: str) -> None:
    """The type of a message is in lower case; any other case is understood and kept."""
    push = read_push({**ENVELOPE, "MsgType": msg_type})

    assert type(push) is ms.TextMessage
    assert push.msg_type == msg_type
    assert message_class(msg_type) is ms.TextMessage


def test_a_publication_has_two_names() -> None:
    """FREEPUBLISHJOBFINISH is another name of PUBLISHJOBFINISH."""
    push = event("FREEPUBLISHJOBFINISH", PublishEventInfo={"publish_status": "0"})

    assert type(push) is ev.PublishJobFinishEvent
    assert push.event == "FREEPUBLISHJOBFINISH"
    assert push.ok


def test_position_and_place_are_different_things() -> None:
    """A message of type location is a chosen place; an event LOCATION is a reported position."""
    place = read_push({**ENVELOPE, "MsgType": "location", "Location_X": "1.5", "Location_Y": "2.5"})
    position = event("LOCATION", Latitude="1.5", Longitude="2.5")

    assert isinstance(place, ms.LocationMessage)
    assert isinstance(position, ev.LocationReportEvent)
    assert (place.latitude, place.longitude) == (position.latitude, position.longitude) == (1.5, 2.5)


def test_unknown_messages_keep_every_field() -> None:
    """A message of a new kind is a generic record."""
    push = read_push({**ENVELOPE, "MsgType": "hologram", "MsgId": "7", "Depth": "3", "Parts": {"item": ["a", "b"]}})

    assert type(push) is ms.UnknownMessage
    assert (push.msg_type, push.msg_id) == ("hologram", 7)
    assert push.extra == {"Depth": "3", "Parts": {"item": ["a", "b"]}}
    assert message_class("hologram") is None
    assert message_class("event") is None


def test_unknown_events_keep_every_field() -> None:
    """An event of a new kind is a generic record; its key can be dispatched on."""
    push = event("weapp_audit_success", EventKey="k", SuccTime="5", MsgID="9")

    assert type(push) is ev.UnknownEvent
    assert (push.event, push.key, push.msg_id) == ("weapp_audit_success", "k", None)
    assert push.extra == {"EventKey": "k", "SuccTime": "5", "MsgID": "9"}
    assert event_class("weapp_audit_success") is None


@pytest.mark.parametrize("fields", [{}, {"Event": ""}, {"Event": {"a": "b"}}])
def test_an_event_without_a_name_is_unknown(fields: dict[str, Any]) -> None:
    """An event whose name is missing or unreadable is still delivered."""
    push = read_push({**ENVELOPE, "MsgType": "event", **fields})

    assert type(push) is ev.UnknownEvent
    assert push.event == ""


# ---- what all pushes have


def test_time_is_aware() -> None:
    """The time of a push is an instant in UTC."""
    assert text().created_at == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert text().create_time == 1_760_000_000


def test_messages_have_no_event() -> None:
    """Messages and events can be asked the same questions."""
    assert (text().event, text().key, text().openid) == (None, None, "oUser")


def test_fields_beyond_the_record_are_extra() -> None:
    """New fields appear without notice: they are in extra, and in raw with the others."""
    push = text(Content="hi", Mood="good", MsgID="5")

    assert push.extra == {"Mood": "good", "MsgID": "5"}
    assert push.raw["Mood"] == "good"
    assert push.raw["Content"] == "hi"
    # Job results spell it MsgID; on a message that is some other field.
    assert push.msg_id is None


def test_the_text_of_a_user_is_kept() -> None:
    """Spaces, line breaks and an empty text are what the user sent."""
    assert text(Content=" a\n ").content == " a\n "
    assert text(Content="").content == ""
    assert text().content == ""


def test_missing_and_empty_differ_where_a_text_is_optional() -> None:
    """An element that is sometimes sent is None when missing and "" when empty."""
    assert read_push({**ENVELOPE, "MsgType": "voice"}).recognition is None  # type: ignore[attr-defined]
    assert read_push({**ENVELOPE, "MsgType": "voice", "Recognition": ""}).recognition == ""  # type: ignore[attr-defined]


def test_the_first_of_several_counts() -> None:
    """A scalar that occurs twice has its first value, in the envelope too; raw has both."""
    push = read_push(
        {name: [value, "second"] for name, value in {**ENVELOPE, "MsgType": "text", "Content": "1st"}.items()}
    )

    assert push == ms.TextMessage(to_user_name="gh_1", from_user_name="oUser", create_time=1_760_000_000, content="1st")
    assert push.raw["Content"] == ["1st", "second"]


# ---- values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("7", 7), ("-1008", -1008), ("+5", 5), (" 12\n", 12), ("007", 7), ("9223372036854775808", 2**63)],
        *[(7, 7), (7.0, 7), (True, 1), (2**70, 2**70), (["3", "4"], 3), ("9" * 40, int("9" * 40))],
        *[("", None), (" ", None), ("xxxx", None), ("1_000", None), ("１２", None), ("²", None), ("0x10", None)],
        *[("1.0", None), ("--1", None), ("1e3", None), (7.5, None), (float("nan"), None), (float("inf"), None)],
        *[(None, None), ([], None), ({}, None), ([["3"]], None), ("9" * 41, None), (10**40, None), (-(10**40), None)],
    ],
    ids=repr,
)
def test_whole_numbers(value: Any, expected: int | None) -> None:
    """What the platform writes is a number; what only Python takes for one is none."""
    assert ms.read_integer(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("23.134521", 23.134521), ("-113", -113.0), (" 15 ", 15.0), (".5", 0.5), ("5.", 5.0), ("1e-3", 0.001)],
        *[(20, 20.0), (0.25, 0.25), (["1.5", "2"], 1.5)],
        *[
            ("", None),
            ("north", None),
            ("nan", None),
            ("inf", None),
            ("-Infinity", None),
            ("1_0", None),
            ("1e999", None),
        ],
        *[(float("nan"), None), (float("inf"), None), (10**400, None), (None, None), ({}, None), ("1" * 61, None)],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_numbers(value: Any, expected: float | None) -> None:
    """Numbers are finite."""
    assert ms.read_number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("1", True), ("0", False), (1, True), (0, False), (True, True), (False, False)],
        *[("true", True), ("false", False), ("TRUE ", True), (["0", "1"], False)],
        *[("", None), ("2", None), (-1, None), ("yes", None), (None, None), ({}, None), (1.5, None)],
    ],
    ids=repr,
)
def test_flags(value: Any, expected: bool | None) -> None:
    """Flags are 0 and 1, or words; anything else says nothing."""
    assert ms.read_flag(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("1760000000", datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)), (1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))],
        *[("0", None), (0, None), ("", None), ("-5", None), ("soon", None), ("9" * 30, None), (None, None)],
        (1_760_000_000_000_000, None),
    ],
    ids=repr,
)
def test_instants(value: Any, expected: datetime | None) -> None:
    """Times are aware; 0 is no time."""
    assert ms.read_instant(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("a", "a"), ("", ""), (12, "12"), (True, "true"), (False, "false"), (1.5, "1.5"), (["a", "b"], "a")],
        *[(None, None), ([], None), ({}, None), ([["a"]], None), (10**5000, None), (float("nan"), None)],
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else "number",
)
def test_texts(value: Any, expected: str | None) -> None:
    """JSON has numbers where XML has text: a key of digits, a code."""
    assert ms.read_text(value) == expected


# ---- what single events are known for


@pytest.mark.parametrize(
    ("key", "scene"),
    [
        *[("qrscene_42", "42"), ("qrscene_qrscene_1", "qrscene_1"), ("qrscene_", ""), ("qrscene_a b|c", "a b|c")],
        *[("", None), (None, None), ("last_trade_no_4008", None), ("QRSCENE_1", None), ("42", None)],
    ],
)
def test_scene_of_a_follow(key: str | None, scene: str | None) -> None:
    """The prefix is taken off once; a follow without a code has no scene."""
    assert ev.SubscribeEvent(event_key=key).scene == scene


def test_scene_of_a_scan() -> None:
    """A scan by a follower has the bare scene, whatever it begins with."""
    assert event("SCAN", EventKey="qrscene_1").scene == "qrscene_1"
    assert event("SCAN", EventKey=42).scene == "42"
    assert event("SCAN").scene is None


def test_other_ways_to_follow() -> None:
    """A payment or the page of a product can lead to a follow."""
    paid = ev.SubscribeEvent(event_key="last_trade_no_4008072001201701105817415015")
    assert (paid.transaction_id, paid.scene, paid.product) == ("4008072001201701105817415015", None, None)
    assert ev.SubscribeEvent(event_key="scanbarcode|ean13|69|1").product == ("ean13", "69|1")
    assert ev.SubscribeEvent(event_key="scanimage|x").product == ("x", "")
    assert ev.SubscribeEvent().transaction_id is None
    assert ev.SubscribeEvent().product is None


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe", "SCAN", "CLICK", "LOCATION", "brand_new"])
@pytest.mark.parametrize(("key", "expected"), [("k", "k"), ("", None), (None, None), (5, "5")])
def test_key(name: str, key: Any, expected: str | None) -> None:
    """Handlers are found by the key of any event; an empty one is none."""
    fields = {} if key is None else {"EventKey": key}
    assert event(name, **fields).key == expected


@pytest.mark.parametrize(
    ("fields", "menu_id"),
    [
        ({"MenuId": "5"}, 5),
        ({"MenuID": "5"}, 5),
        ({"MenuID": "6", "MenuId": "5"}, 5),
        ({"MenuId": "xxxx"}, None),
        ({"MenuId": "", "MenuID": "6"}, 6),
        ({"MenuId": "0", "MenuID": "6"}, 0),
    ],
)
def test_menu_id_has_two_spellings(fields: dict[str, Any], menu_id: int | None) -> None:
    """Tables and samples of the documents differ; the one that says something counts."""
    push = event("VIEW", EventKey="https://example.com/", **fields)

    assert push.menu_id == menu_id
    assert push.extra == {}


def test_data_notices_are_about_the_affected_user() -> None:
    """The sender of such a notice is the platform; ``openid`` is the user. The open platform uses lower case."""
    official = event("user_authorization_revoke", OpenID="oA", AppID="wx1", UnionID="u", RevokeInfo="1")
    open_platform = event("user_authorization_revoke", openid="oA", appid="wx1", unionid="u", RevokeInfo="1")

    assert official == open_platform
    assert (official.openid, official.from_user_name) == ("oA", "oUser")
    assert official.extra == open_platform.extra == {}
    assert event("user_info_modified").openid == "oUser"
    # The spelling that says something counts.
    assert event("user_info_modified", OpenID="", openid="oA").openid == "oA"
    assert event("user_info_modified", OpenID="oA", openid="").openid == "oA"


@pytest.mark.parametrize("msg_type", ["device_text", "device_event"])
def test_devices_are_about_their_owner(msg_type: str) -> None:
    """The sender is a device; ``openid`` is its user."""
    assert read_push({**ENVELOPE, "MsgType": msg_type, "OpenID": "oA"}).openid == "oA"
    assert read_push({**ENVELOPE, "MsgType": msg_type}).openid == "oUser"


def test_an_event_of_a_device_is_a_message() -> None:
    """Its MsgType is not event, and it has an Event and a MsgId."""
    push = read_push({**ENVELOPE, "MsgType": "device_event", "Event": "bind", "MsgId": "5"})

    assert isinstance(push, ms.Message)
    assert (push.event, push.msg_id) == ("bind", 5)


POPUP = {"TemplateId": "tA", "SubscribeStatusString": "accept", "PopupScene": "0"}
REJECT = {"TemplateId": "tB", "SubscribeStatusString": "reject"}


@pytest.mark.parametrize(
    "fields",
    [
        {"SubscribeMsgPopupEvent": {"List": POPUP}},
        {"SubscribeMsgPopupEvent": {"List": [POPUP]}},
        {"SubscribeMsgPopupEvent": [{"List": [POPUP]}]},
        {"SubscribeMsgPopupEvent": POPUP},
        {"List": POPUP},
        {"List": [POPUP]},
    ],
    ids=json.dumps,
)
def test_the_list_of_a_subscription_event_has_many_shapes(fields: dict[str, Any]) -> None:
    """With a wrapper in XML, without in JSON; one entry as an object or a list of one."""
    push = event("subscribe_msg_popup_event", **fields)

    (entry,) = push.entries
    assert entry == ev.SubscribeMsgPopup(template_id="tA", subscribe_status_string="accept", popup_scene=0)
    assert entry.accepted
    assert push.extra == {}


@pytest.mark.parametrize("wrapper", ["SubscribeMsgChangeEvent", "SubscribeMsgPopupEvent"])
def test_a_change_of_subscriptions_may_have_the_other_wrapper(wrapper: str) -> None:
    """An early sample of the platform has the wrapper of the popup."""
    push = event("subscribe_msg_change_event", **{wrapper: {"List": [REJECT, REJECT]}})

    assert push.entries == (ev.SubscribeMsgChange(template_id="tB", subscribe_status_string="reject"),) * 2
    assert not push.entries[0].accepted


def test_ids_of_notifications_exceed_doubles() -> None:
    """The id of a notification has more digits than a double holds; JSON has it in quotes."""
    body = {"MsgID": "1700827132819554304", "ErrorCode": "0", "ErrorStatus": "success", "TemplateId": "tA"}
    push = event("subscribe_msg_sent_event", List=body)

    assert push.entries[0].msg_id == 1_700_827_132_819_554_304
    assert push.entries[0].ok
    assert not ev.SubscribeMsgSent(error_code=1).ok


def test_result_of_a_mass_send_in_json() -> None:
    """In JSON the nested results may be empty texts, and numbers are texts."""
    push = event("MASSSENDJOBFINISH", MsgID="5", TotalCount="3", CopyrightCheckResult="", ArticleUrlResult="")

    assert (push.msg_id, push.total_count) == (5, 3)
    assert (push.copyright_check_result, push.article_url_result) == (None, None)


@pytest.mark.parametrize(
    ("status", "ok", "code"),
    [
        *[("send success", True, None), ("sendsuccess", True, None), ("send fail", False, None), ("", False, None)],
        *[
            ("err(10001)", False, 10001),
            ("err( 10001 )", False, 10001),
            ("err(99)", False, 99),
            ("err(x)", False, None),
        ],
    ],
)
def test_status_of_a_mass_send(status: str, ok: bool, code: int | None) -> None:
    """A status says whether it went out, or why not."""
    push = ev.MassSendJobFinishEvent(status=status)

    assert (push.ok, push.refusal_code) == (ok, code)
    assert push.refusal == ("suspected advertising" if code == 10001 else None)


@pytest.mark.parametrize(
    ("status", "ok", "blocked"),
    [
        *[("success", True, False), (" success ", True, False), ("", False, False)],
        *[("failed:user block", False, True), ("failed: user block", False, True)],
        *[("failed: system failed", False, False), ("failed:system failed", False, False)],
    ],
)
def test_status_of_a_template_message(status: str, ok: bool, blocked: bool) -> None:
    """The blanks of a status vary and do not count."""
    push = ev.TemplateSendJobFinishEvent(status=status)
    assert (push.ok, push.blocked) == (ok, blocked)


@pytest.mark.parametrize("name", ["MsgID", "MsgId"])
def test_id_of_a_template_message(name: str) -> None:
    """It is spelled MsgID where messages have MsgId; both are understood."""
    assert event("TEMPLATESENDJOBFINISH", **{name: "200163836"}).msg_id == 200_163_836


@pytest.mark.parametrize(("code", "signed"), [(4294966288, -1008), (0, 0), (None, None), (5, 5), (2**40, 2**40)])
def test_code_of_a_content_check(code: int | None, signed: int | None) -> None:
    """The platform writes a negative number without its sign."""
    assert ev.WxaMediaCheckEvent(status_code=code).signed_status_code == signed


def test_newer_content_check_keeps_its_details() -> None:
    """What version 2 adds is in extra."""
    detail = [{"strategy": "content_model", "suggest": "pass"}]
    push = event("wxa_media_check", appid="wx8", trace_id="t", version=2, detail=detail, result={"label": 100})

    assert push.version == 2
    assert push.extra == {"detail": detail, "result": {"label": 100}}


@pytest.mark.parametrize(
    "pictures",
    [
        {"item": [{"PicMd5Sum": "a"}, {"PicMd5Sum": "b"}]},
        [{"PicMd5Sum": "a"}, {"PicMd5Sum": "b"}],
        [{"item": {"PicMd5Sum": "a"}}, {"item": {"PicMd5Sum": "b"}}],
        {"item": ["", {"PicMd5Sum": "a"}, {"PicMd5Sum": "b"}, None]},
    ],
    ids=json.dumps,
)
def test_items_count_not_their_number(pictures: Any) -> None:
    """The list of pictures is right where Count is not."""
    push = event("pic_weixin", SendPicsInfo={"Count": "9", "PicList": pictures})

    assert [one.pic_md5_sum for one in push.send_pics_info.pic_list] == ["a", "b"]
    assert push.send_pics_info.count == 9


@pytest.mark.parametrize("pictures", ["", None, {}, [], {"item": ""}, {"other": "x"}], ids=repr)
def test_an_empty_list_is_empty(pictures: Any) -> None:
    """An empty wrapper holds nothing."""
    assert event("pic_weixin", SendPicsInfo={"PicList": pictures}).send_pics_info.pic_list == ()


@pytest.mark.parametrize(
    ("raw", "expected"), [("2", (2,)), (["1", "x", "3"], (1, 3)), (4, (4,)), ("", ()), (None, ()), ({}, ())]
)
def test_rejected_articles(raw: Any, expected: tuple[int, ...]) -> None:
    """One element for each rejected article; one alone is still a list."""
    push = event("PUBLISHJOBFINISH", PublishEventInfo={"publish_status": "2", "fail_idx": raw})

    assert push.publish_event_info.fail_idx == expected
    assert not push.ok


def test_a_publication_without_details_is_not_done() -> None:
    """Without its details nobody knows how it ended."""
    assert not ev.PublishJobFinishEvent().ok


def test_place_chosen_from_the_menu() -> None:
    """X is the latitude, also inside the menu event."""
    place = event("location_select", SendLocationInfo={"Location_X": "23", "Location_Y": "113"}).send_location_info
    assert (place.latitude, place.longitude) == (23.0, 113.0)


def test_broken_cdata_is_text() -> None:
    """The platform's sample of a guide's code has CDATA without its brackets."""
    body = (
        b"<xml><ToUserName>g</ToUserName><FromUserName>o</FromUserName><CreateTime>1546924844</CreateTime>"
        b"<MsgType>event</MsgType><Event>guide_qrcode_scan_event</Event>"
        b"<GuideScanEvent><openid>![CDATA[xxx]]</openid><action>11</action></GuideScanEvent></xml>"
    )
    push = read_push(read_xml(body))

    assert isinstance(push, ev.GuideQrcodeScanEvent)
    assert push.guide_scan_event == ev.GuideScan(openid="![CDATA[xxx]]", action=11)


# ---- what is no push


@pytest.mark.parametrize("name", ["ToUserName", "FromUserName", "MsgType"])
@pytest.mark.parametrize("bad", [None, "", " ", {}, [], {"a": "b"}, [["x"]]], ids=repr)
def test_the_envelope_must_be_there(name: str, bad: Any) -> None:
    """Without sender, receiver or type there is nothing to handle."""
    fields = {**ENVELOPE, "MsgType": "text", "Content": "hi"}
    with pytest.raises(MalformedError, match=name):
        read_push({**fields, name: bad})
    del fields[name]
    with pytest.raises(MalformedError, match=name):
        read_push(fields)


@pytest.mark.parametrize("bad", [None, "", "now", "-1", -1, "9" * 20, 10**15, {}, [], 1.5, "253402300800"], ids=repr)
def test_the_time_must_be_readable(bad: Any) -> None:
    """Deduplication needs the time, and a datetime must exist for it."""
    with pytest.raises(MalformedError, match="CreateTime"):
        read_push({**ENVELOPE, "MsgType": "text", "CreateTime": bad})


@pytest.mark.parametrize("time", ["0", 0, "253402300799", 1760000000.0, " 5 "], ids=repr)
def test_any_time_that_exists_is_accepted(time: Any) -> None:
    """Whether a time is believable is not decided here."""
    push = read_push({**ENVELOPE, "MsgType": "text", "CreateTime": time})
    assert push.created_at.timestamp() == int(time)


def test_a_third_party_notice_is_named() -> None:
    """Who points a third-party platform at this address is told so, not that a key is missing."""
    notice: dict[str, Any] = {
        "AppId": "wx1",
        "CreateTime": "1",
        "InfoType": "component_verify_ticket",
        "ComponentVerifyTicket": "secret!",
    }
    with pytest.raises(
        MalformedError, match=r"third-party platform \(InfoType\) \('component_verify_ticket'\), not an"
    ) as e:
        read_push(notice)
    assert "secret!" not in str(e.value)
    with pytest.raises(MalformedError, match="third-party platform"):
        read_push({"InfoType": {"a": "b"}})
    with pytest.raises(MalformedError) as long:
        read_push({"InfoType": "x" * 10_000})
    assert len(str(long.value)) < 300


def test_the_probe_of_cloud_hosting_is_named() -> None:
    """Cloud hosting tries the address with something that is no push."""
    with pytest.raises(MalformedError, match="CheckContainerPath"):
        read_push({"action": "CheckContainerPath"})
    with pytest.raises(MalformedError, match="without MsgType"):
        read_push({"action": "other"})
    with pytest.raises(MalformedError, match="without MsgType"):
        read_push({})


# ---- identity


def test_a_message_is_known_by_its_id() -> None:
    """Another delivery of a message may differ in other fields."""
    assert identity(text(MsgId="5", Content="a")) == identity(text(MsgId=5, Content="b", New="c"))


@pytest.mark.parametrize(
    "change", [{"MsgId": "6"}, {"FromUserName": "oOther"}, {"ToUserName": "gh_2"}, {"CreateTime": "1760000001"}]
)
def test_messages_differ_by_id_user_account_and_time(change: dict[str, str]) -> None:
    """The same MsgId has been seen for different users."""
    assert identity(text(**{"MsgId": "5", **change})) != identity(text(MsgId="5"))


def test_names_do_not_run_together() -> None:
    """Where one name ends and the next begins is part of the identity."""
    one = text(MsgId="5", ToUserName="ab", FromUserName="c")
    assert identity(one) != identity(text(MsgId="5", ToUserName="a", FromUserName="bc"))


@pytest.mark.parametrize("msg_id", [None, "", "0", "not-a-number-1"])
def test_a_message_without_an_id_is_known_by_all_its_fields(msg_id: str | None) -> None:
    """Cloud functions may send an id that is no number, and some send none."""
    fields = {"Content": "a"} if msg_id is None else {"Content": "a", "MsgId": msg_id}

    assert identity(text(**fields)) == identity(text(**fields))
    assert identity(text(**fields)) != identity(text(**{**fields, "Content": "b"}))


def test_ids_that_are_no_numbers_differ() -> None:
    """An id that is no number still tells two messages apart."""
    assert identity(text(Content="a", MsgId="x-1")) != identity(text(Content="a", MsgId="x-2"))


def test_an_event_is_known_by_all_its_fields() -> None:
    """Two events of one user within a second are two, in whatever field they differ."""
    one = event("wxa_media_check", trace_id="t1", detail=[{"a": "1"}])

    assert identity(one) == identity(event("wxa_media_check", trace_id="t1", detail=[{"a": "1"}]))
    assert identity(one) != identity(event("wxa_media_check", trace_id="t2", detail=[{"a": "1"}]))
    assert identity(one) != identity(event("wxa_media_check", trace_id="t1", detail=[{"a": "2"}]))
    assert identity(event("CLICK", MsgId="5", EventKey="a")) != identity(event("CLICK", MsgId="5", EventKey="b"))


def test_the_order_of_fields_is_no_identity() -> None:
    """Element order is never guaranteed, on no level."""
    fields: dict[str, Any] = {
        **ENVELOPE,
        "MsgType": "event",
        "Event": "scancode_push",
        "ScanCodeInfo": {"ScanType": "a", "ScanResult": "b"},
    }
    other = {**dict(reversed(fields.items())), "ScanCodeInfo": {"ScanResult": "b", "ScanType": "a"}}
    assert list(other) != list(fields)

    assert identity(read_push(other)) == identity(read_push(fields))


def test_records_made_by_hand_have_an_identity() -> None:
    """A test of a user can send the same record twice."""
    one = ev.NamingVerifySuccessEvent(from_user_name="oA", expired_time=datetime(2026, 1, 1, tzinfo=UTC))

    assert identity(one) == identity(attrs.evolve(one))
    assert identity(one) != identity(attrs.evolve(one, from_user_name="oB"))


def test_an_identity_does_not_hold_what_users_wrote() -> None:
    """A record without an id is digested, so that no store keeps its text."""
    assert "private" not in identity(text(Content="private"))
    assert len(identity(text(Content="x" * 100_000))) < 200


# ---- anything at all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1", "0", "-5", "1.5"])
NAMES = sorted(
    {name for cls in (*ms.MESSAGES.values(), *ev.EVENTS.values()) for name in ms.plan_of(cls).names}
    | {
        *(
            "item",
            "AroundBeacon",
            "PicMd5Sum",
            "ScanType",
            "Count",
            "PicList",
            "ResultList",
            "ArticleIdx",
            "count",
            "idx",
        )
    }
    | {*("article_detail", "fail_idx", "publish_id", "TemplateId", "PopupScene", "Location_X", "InfoType", "action")}
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4),
    max_leaves=12,
)
TREES = st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES, max_size=10)
TYPES = st.sampled_from([*ms.MESSAGES, "event", "nonsense"])
EVENT_NAMES = st.sampled_from([*ev.EVENTS, "nonsense"])


@given(tree=TREES)
def test_no_tree_breaks_the_reader(tree: dict[str, Any]) -> None:
    """Whatever the fields are, the answer is a record or the one error."""
    try:
        push = read_push(tree)
    except MalformedError:
        return
    assert isinstance(push, ms.Push)


@given(tree=TREES, msg_type=TYPES, name=EVENT_NAMES)
def test_every_push_with_an_envelope_is_read(tree: dict[str, Any], msg_type: str, name: str) -> None:
    """With an envelope every tree is a record with typed attributes, and everything asked of it has an answer."""
    push = read_push({**tree, **ENVELOPE, "MsgType": msg_type, **({"Event": name} if msg_type == "event" else {})})

    kinds = {"str": str, "int": int, "float": float, "bool": bool, "datetime": datetime, "tuple": tuple}
    for field in attrs.fields(type(push)):
        kind, _, optional = str(field.type).partition(" | ")
        if field.name == "raw":
            continue
        value = getattr(push, field.name)
        if value is None:
            assert optional == "None", field.name
        else:
            kind = kind.partition("[")[0]
            assert type(value) is (kinds.get(kind) or getattr(ev, kind)), field.name
    for cls in type(push).__mro__:
        for attribute in vars(cls):
            if isinstance(vars(cls)[attribute], property):
                getattr(push, attribute)
    assert push.raw.keys() >= push.extra.keys()
    assert hash(push) == hash(attrs.evolve(push))
    assert identity(push) == identity(push)


@given(tree=TREES, msg_type=TYPES, name=EVENT_NAMES, seed=st.integers(0, 1000))
def test_order_changes_nothing(tree: dict[str, Any], msg_type: str, name: str, seed: int) -> None:
    """The same fields in another order are the same record with the same identity."""
    fields: dict[str, Any] = {"Event": name, **tree, **ENVELOPE, "MsgType": msg_type}
    shuffled = list(fields.items())
    random.Random(seed).shuffle(shuffled)
    one, other = read_push(fields), read_push(dict(shuffled))

    assert identity(one) == identity(other)
    assert type(one) is type(other)
    # NaN differs from itself; only raw can hold one, and raw counts for unknown kinds only.
    if not isinstance(one, ms.UnknownMessage | ev.UnknownEvent):
        assert one == other


@given(
    content=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    msg_id=st.integers(1, 2**64),
    created=st.integers(0, 2**33),
)
def test_xml_and_json_agree(content: str, msg_id: int, created: int) -> None:
    """The same push is the same record in both formats."""
    content = content.replace("]]>", "")
    xml = (
        f"<xml><ToUserName>g</ToUserName><FromUserName>o</FromUserName><CreateTime>{created}</CreateTime>"
        f"<MsgType>text</MsgType><MsgId>{msg_id}</MsgId><Content><![CDATA[{content}]]></Content></xml>"
    )
    tree = {"ToUserName": "g", "FromUserName": "o", "CreateTime": created, "MsgType": "text", "MsgId": msg_id}
    one = read_push(read_xml(xml.encode()))
    other = read_push(read_json(json.dumps({**tree, "Content": content}).encode()))

    assert one == other
    assert identity(one) == identity(other)
    assert isinstance(one, ms.TextMessage)
    assert one.content == content
