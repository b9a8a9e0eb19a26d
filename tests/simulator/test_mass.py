"""Mass sends: audiences, allowances, repetition, the content check, approval, the report, withdrawing."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import Clock, Policy, World, WorldError, library, outreach
from wxmp.simulator.formats import sample

SEND_ALL = "/cgi-bin/message/mass/sendall"
SEND = "/cgi-bin/message/mass/send"
PREVIEW = "/cgi-bin/message/mass/preview"
DELETE = "/cgi-bin/message/mass/delete"
GET = "/cgi-bin/message/mass/get"
EVERYBODY = {"is_to_all": True}


@pytest.fixture
def fans(world: World) -> list[str]:
    return world.create_followers(4)


def text(content: str = "大家好", **more):
    return {"msgtype": "text", "text": {"content": content}} | more


def to_all(desk, content: str = "大家好", **more):
    return desk.post(SEND_ALL, {"filter": EVERYBODY} | text(content, **more))


def to_list(desk, openids, content: str = "大家好", **more):
    return desk.post(SEND, {"touser": openids} | text(content, **more))


def reports(world: World):
    return [push.fields for push in world.pushes() if push.name == "MASSSENDJOBFINISH"]


def finish(world: World):
    """Let a running mass send end, and return its report."""
    world.advance(10)
    return reports(world)[-1]


def lines(world: World, openid: str):
    return [line for line in world.chat(openid) if line.source == "mass"]


def thumb(world: World) -> str:
    data = sample("thumb", "t")
    return library.store_media(world, world.account, "thumb", "t.jpg", data, world.now(), permanent=True).media_id


def draft(desk, *contents: str, **more) -> str:
    cover = thumb(desk.world)
    articles = [
        {"title": f"标题{number}", "content": content, "thumb_media_id": cover} | more
        for number, content in enumerate(contents, start=1)
    ]
    return desk.post("/cgi-bin/draft/add", {"articles": articles})["media_id"]


def send_articles(desk, media_id: str, **more):
    body = {"filter": EVERYBODY, "msgtype": "mpnews", "mpnews": {"media_id": media_id}}
    return desk.post(SEND_ALL, body | more)


# --- audiences --------------------------------------------------------------------------------------------------------


def test_everybody_gets_a_send_to_all(desk, fans):
    """A send to all reaches every follower as a line from the source mass, and nobody else."""
    stranger = desk.world.create_stranger()
    assert to_all(desk)["errcode"] == 0
    finish(desk.world)
    assert [line.content for openid in fans for line in lines(desk.world, openid)] == ["大家好"] * 4
    assert lines(desk.world, stranger) == []


@pytest.mark.parametrize("name", ["tag_id", "group_id"])
def test_a_tag_reaches_those_who_carry_it(desk, fans, name):
    """A send to a tag, under its new or its old name, reaches the followers with that tag."""
    tag = desk.post("/cgi-bin/tags/create", {"tag": {"name": "vip"}})["tag"]["id"]
    desk.post("/cgi-bin/tags/members/batchtagging", {"openid_list": fans[:2], "tagid": tag})
    assert desk.post(SEND_ALL, {"filter": {"is_to_all": False, name: tag}} | text())["errcode"] == 0
    assert finish(desk.world)["TotalCount"] == 2
    assert [len(lines(desk.world, openid)) for openid in fans] == [1, 1, 0, 0]


@pytest.mark.parametrize(("given", "code"), [({}, 45159), ({"tag_id": 4711}, 45159), ({"group_id": 4711}, 40152)])
def test_an_unknown_tag_is_refused(desk, fans, given, code):
    """Neither everybody nor a known tag: 45159, and 40152 under the old name."""
    assert desk.post(SEND_ALL, {"filter": given} | text())["errcode"] == code


def test_a_list_needs_two_openids_and_takes_ten_thousand(desk, fans):
    """One openid is 40130, ten thousand and one are 40032, something that is no text is 40031."""
    assert to_list(desk, fans[:1])["errcode"] == 40130
    assert to_list(desk, [f"o{number}" for number in range(10_001)])["errcode"] == 40032
    assert to_list(desk, [1, 2])["errcode"] == 40031
    assert to_list(desk, fans[:2])["errcode"] == 0


def test_unknown_openids_count_as_errors_unless_the_policy_refuses_them(desk, fans, make_desk):
    """An openid nobody has is one more ErrorCount; with the other policy the whole call is 40031."""
    to_list(desk, [*fans, "onobody"])
    report = finish(desk.world)
    assert (report["TotalCount"], report["SentCount"], report["ErrorCount"]) == (5, 4, 1)
    strict = make_desk(mass_unknown_openids="refuse")
    known = strict.world.create_followers(2)
    assert to_list(strict, [*known, "onobody"])["errcode"] == 40031


def test_a_subscription_account_may_not_send_to_a_list(desk, fans):
    """Sending to openids is for service accounts: 48001."""
    desk.account.kind = "subscription"
    assert to_list(desk, fans)["errcode"] == 48001


# --- allowances -------------------------------------------------------------------------------------------------------


def test_sends_to_all_are_one_a_day_and_four_a_month(desk, fans):
    """The second send to all of a day is 45028, and so is the fifth of a calendar month; the next month begins anew."""
    codes = []
    for day in range(5):
        codes.append(to_all(desk, f"day {day}")["errcode"])
        codes.append(to_all(desk, f"again {day}")["errcode"])
        desk.world.advance(86_400)
    assert codes == [0, 45028] * 4 + [45028, 45028]
    desk.world.advance(31 * 86_400)
    assert to_all(desk, "next month")["errcode"] == 0


def test_a_subscription_account_sends_once_a_day(desk, fans):
    """A subscription account has one send a day, also to a tag."""
    desk.account.kind = "subscription"
    tag = desk.post("/cgi-bin/tags/create", {"tag": {"name": "vip"}})["tag"]["id"]
    assert to_all(desk)["errcode"] == 0
    assert desk.post(SEND_ALL, {"filter": {"tag_id": tag}} | text("more"))["errcode"] == 45028
    desk.world.advance(86_400)
    assert to_all(desk, "tomorrow")["errcode"] == 0


def test_a_user_takes_four_a_month(desk, fans):
    """The fifth mass message of a month is left out before sending; in the next month it arrives."""
    for number in range(5):
        assert to_list(desk, fans[:2], f"n{number}")["errcode"] == 0
        finish(desk.world)
    assert len(lines(desk.world, fans[0])) == 4
    last = reports(desk.world)[-1]
    assert (last["Status"], last["TotalCount"], last["FilterCount"], last["SentCount"]) == ("send fail", 2, 0, 0)
    desk.world.advance(31 * 86_400)
    to_list(desk, fans[:2], "next month")
    assert finish(desk.world)["SentCount"] == 2


def test_what_is_over_the_allowance_may_count_as_error(make_desk):
    """With the other policy a user over the allowance stands in ErrorCount."""
    desk = make_desk(mass_over_allowance="error", mass_per_user_month=0)
    to_list(desk, desk.world.create_followers(2))
    report = finish(desk.world)
    assert (report["FilterCount"], report["ErrorCount"]) == (2, 2)


def test_a_sixty_first_request_in_a_minute_is_refused(desk, fans):
    """Sixty requests a minute, then 45011."""
    codes = [to_list(desk, fans, f"n{number}")["errcode"] for number in range(61)]
    assert codes == [0] * 60 + [45011]


# --- repetition -------------------------------------------------------------------------------------------------------


def test_a_repetition_is_recognised_by_its_clientmsgid(desk, fans):
    """Within a minute 45066, then 45065 with the old msg_id, and after a day it is a new send."""
    first = to_list(desk, fans, "one", clientmsgid="job-1")
    assert to_list(desk, fans, "one", clientmsgid="job-1")["errcode"] == 45066
    desk.world.advance(61)
    again = to_list(desk, fans, "two", clientmsgid="job-1")
    assert (again["errcode"], again["msg_id"]) == (45065, first["msg_id"])
    desk.world.advance(86_400)
    assert to_list(desk, fans, "one", clientmsgid="job-1")["errcode"] == 0


def test_without_a_clientmsgid_audience_and_content_stand_for_it(desk, fans, make_desk):
    """The same text to the same people is a repetition, another text or other people are not."""
    assert to_list(desk, fans)["errcode"] == 0
    desk.world.advance(61)
    assert to_list(desk, fans)["errcode"] == 45065
    assert to_list(desk, fans[:2])["errcode"] == 0
    assert to_list(desk, fans, "anders")["errcode"] == 0
    lenient = make_desk(mass_default_client_id=False)
    openids = lenient.world.create_followers(2)
    assert [to_list(lenient, openids)["errcode"] for _ in range(2)] == [0, 0]


def test_a_repeated_article_send_is_recognised_although_its_draft_is_gone(desk, fans):
    """The draft dies with the send, and yet the repetition is 45065, not 40007."""
    media_id = draft(desk, "<p>hi</p>")
    first = send_articles(desk, media_id, clientmsgid="job")
    desk.world.advance(61)
    again = send_articles(desk, media_id, clientmsgid="job")
    assert (again["errcode"], again["msg_data_id"]) == (45065, first["msg_data_id"])
    assert send_articles(desk, media_id, clientmsgid="other")["errcode"] == 40007


def test_a_clientmsgid_has_at_most_32_bytes(desk, fans):
    """Thirty-three bytes are 45067."""
    assert to_list(desk, fans, clientmsgid="x" * 33)["errcode"] == 45067
    assert to_list(desk, fans, clientmsgid="x" * 32)["errcode"] == 0


# --- content ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"msgtype": "poem"}, 40008),
        ({"msgtype": "wxcard", "wxcard": {"card_id": "x"}}, 45113),
        ({"msgtype": "text"}, 40228),
        ({"msgtype": "text", "text": {"content": ""}}, 44004),
        ({"msgtype": "text", "text": {"content": "字" * 700}}, 45002),
        ({"msgtype": "mpnews", "mpnews": {"media_id": "unknown"}}, 40007),
        ({"msgtype": "voice", "voice": {"media_id": "unknown"}}, 40007),
        ({"msgtype": "mpvideo", "mpvideo": {"media_id": "unknown"}}, 40007),
        ({"msgtype": "image"}, 40228),
        ({"msgtype": "image", "images": {"media_ids": []}}, 40215),
        ({"msgtype": "image", "images": {"media_ids": ["unknown"]}}, 40007),
    ],
)
def test_content_is_checked(desk, fans, body, code):
    """Each kind of content has its rules."""
    assert desk.post(SEND, {"touser": fans} | body)["errcode"] == code


def test_the_longest_text_and_the_right_kind_of_media_are_taken(desk, fans):
    """Exactly 2048 bytes are fine, and a voice message takes a voice, not a picture."""
    assert to_list(desk, fans, "x" * 2_048)["errcode"] == 0
    assert to_list(desk, fans, "x" * 2_049)["errcode"] == 45002
    for kind, code in (("voice", 0), ("image", 40007)):
        media = library.store_media(desk.world, desk.account, kind, "m", sample(kind, kind), desk.world.now())
        body = {"touser": fans, "msgtype": "voice", "voice": {"media_id": media.media_id}}
        assert desk.post(SEND, body)["errcode"] == code


def test_pictures_are_sent_under_images_or_the_older_way(desk, fans):
    """The kind is image, the object images; the older object image is taken too."""
    store = desk.world
    media = library.store_media(store, desk.account, "image", "i.jpg", sample("image", "i"), store.now())
    new = {"msgtype": "image", "images": {"media_ids": [media.media_id]}}
    old = {"msgtype": "image", "image": {"media_id": media.media_id}}
    assert [desk.post(SEND, {"touser": fans} | body)["errcode"] for body in (new, old)] == [0, 0]


def test_a_video_is_made_ready_first(desk, fans):
    """A video's own media_id is refused, that of uploadvideo is taken."""
    video = library.store_media(desk.world, desk.account, "video", "v.mp4", sample("video", "v"), desk.world.now())
    body = {"touser": fans, "msgtype": "mpvideo", "mpvideo": {"media_id": video.media_id}}
    assert desk.post(SEND, body)["errcode"] == 40007
    made = desk.post("/cgi-bin/media/uploadvideo", {"media_id": video.media_id, "title": "片"})
    assert made["type"] == "video"
    assert desk.post(SEND, body | {"mpvideo": {"media_id": made["media_id"]}})["errcode"] == 0
    finish(desk.world)
    assert lines(desk.world, fans[0])[0].content == "片"
    assert desk.post("/cgi-bin/media/uploadvideo", {"media_id": "unknown"})["errcode"] == 40007


@pytest.mark.parametrize("code", [10001, 20001, 20006, 21000])
def test_marked_content_is_refused_by_the_content_check(desk, fans, code):
    """A marker names the verdict: nobody gets the message, and the status says why."""
    assert to_list(desk, fans, f"sale [[err {code}]]")["errcode"] == 0
    report = finish(desk.world)
    assert (report["Status"], report["TotalCount"], report["SentCount"]) == (f"err({code})", 4, 0)
    assert lines(desk.world, fans[0]) == []


def test_a_marker_inside_an_article_counts_and_bad_words_can_be_named(make_desk):
    """The check reads articles too, and words of the policy."""
    desk = make_desk(mass_bad_words={"赌博": 20006})
    desk.world.create_followers(2)
    send_articles(desk, draft(desk, "<p>赌博</p>"))
    assert finish(desk.world)["Status"] == "err(20006)"


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_has_the_documented_fields(desk, fans):
    """Names and values of MASSSENDJOBFINISH, with FilterCount the sum of the two after it."""
    world = desk.world
    desk.account.users[fans[0]].refuses_messages = True
    desk.account.users[fans[1]].blacklisted = True
    stranger = world.create_stranger()
    answer = to_list(desk, [*fans, stranger])
    assert finish(world) == {
        "MsgType": "event",
        "Event": "MASSSENDJOBFINISH",
        "MsgID": answer["msg_id"],
        "Status": "send success",
        "TotalCount": 5,
        "FilterCount": 3,
        "SentCount": 2,
        "ErrorCount": 1,
        "CopyrightCheckResult": {"Count": 0, "ResultList": "", "CheckState": 0},
        "ArticleUrlResult": {"Count": 0, "ResultList": ""},
    }


def test_the_report_comes_before_the_last_one_has_it(desk, fans):
    """When the report is pushed, some receivers are still to come."""
    to_list(desk, fans)
    while not reports(desk.world):
        desk.world.advance(desk.world.next_due() - desk.world.now())
    assert reports(desk.world)[0]["SentCount"] == 4
    assert sum(len(lines(desk.world, openid)) for openid in fans) == 2
    desk.world.advance(5)
    assert sum(len(lines(desk.world, openid)) for openid in fans) == 4


@pytest.mark.parametrize("form", ["json", "xml"])
def test_the_report_on_the_wire(world, desk, fans, simulator, developer, form):
    """In JSON all numbers are texts and empty results are empty texts; in XML they are numbers and elements."""
    simulator.set_callback(developer.url, token="devToken123", format=form)
    answer = to_list(desk, fans)
    world.advance(10)
    assert world.wait_for(lambda w: w.settled, timeout=5)
    (body,) = [hit.body for hit in developer.hits if b"MASSSENDJOBFINISH" in hit.body]
    if form == "xml":
        assert f"<MsgID>{answer['msg_id']}</MsgID>".encode() in body
        assert b"<FilterCount>4</FilterCount>" in body
        assert b"<CheckState>0</CheckState></CopyrightCheckResult>" in body
    else:
        found = json.loads(body)
        assert (found["MsgID"], found["SentCount"], found["TotalCount"]) == (str(answer["msg_id"]), "4", "4")
        assert (found["CopyrightCheckResult"], found["ArticleUrlResult"]) == ("", "")
        assert found["FromUserName"] == "mphelper"


def test_articles_come_out_with_their_links(desk, fans):
    """An article send publishes the articles: links in the report and in the chat, readable by a user."""
    answer = send_articles(desk, draft(desk, "<p>eins</p>", "<p>zwei</p>"))
    assert answer["type"] == "news"
    report = finish(desk.world)
    items = report["ArticleUrlResult"]["ResultList"]["item"]
    assert [item["ArticleIdx"] for item in items] == [1, 2]
    (line,) = lines(desk.world, fans[0])
    assert [article["url"] for article in line.payload["articles"]] == [item["ArticleUrl"] for item in items]
    assert line.content == "标题1"
    assert desk.world.phone(fans[0]).read(items[1]["ArticleUrl"]).title == "标题2"
    assert library.find_published(desk.account, answer["msg_data_id"], 1).mass


def test_a_reprint_stops_unless_the_sender_goes_on(desk, fans):
    """An article taken for a reprint is err(30003) with state 3; with send_ignore_reprint it goes out with state 2."""
    send_articles(desk, draft(desk, "<p>[[reprint]]</p>"))
    report = finish(desk.world)
    assert (report["Status"], report["CopyrightCheckResult"]["CheckState"]) == ("err(30003)", 3)
    send_articles(desk, draft(desk, "<p>[[reprint]]!</p>"), send_ignore_reprint=1)
    report = finish(desk.world)
    assert (report["Status"], report["CopyrightCheckResult"]["CheckState"]) == ("send success", 2)
    assert report["CopyrightCheckResult"]["ResultList"]["item"][0]["ArticleIdx"] == 1


def test_uploaded_news_can_be_sent(desk, fans):
    """The older way: articles uploaded for a mass send, which outlive it."""
    cover = thumb(desk.world)
    article = {"title": "t", "content": "<p>c</p>", "thumb_media_id": cover}
    made = desk.post("/cgi-bin/media/uploadnews", {"articles": [article]})
    assert (made["type"], made["created_at"]) == ("news", int(desk.world.now()))
    assert send_articles(desk, made["media_id"])["errcode"] == 0
    assert finish(desk.world)["Status"] == "send success"
    assert desk.post("/cgi-bin/media/uploadnews", {"articles": [article] * 9})["errcode"] == 45008
    assert desk.post("/cgi-bin/media/uploadnews", {"articles": [article | {"thumb_media_id": "?"}]})["errcode"] == 40007


# --- the administrator ------------------------------------------------------------------------------------------------


def test_a_protected_send_waits_for_the_administrator(desk, fans):
    """Nothing happens until the administrator approves."""
    desk.account.outreach.protected = True
    answer = to_all(desk)
    desk.world.advance(1_000)
    assert reports(desk.world) == []
    assert desk.post(GET, {"msg_id": answer["msg_id"]})["msg_status"] == "SENDING"
    outreach.decide(desk.world, desk.account, answer["msg_id"], True)
    assert finish(desk.world)["Status"] == "send success"
    desk.world.advance(3_600)
    assert len(reports(desk.world)) == 1


def test_refusal_and_silence_end_a_protected_send(desk, fans):
    """The administrator says no: err(40001). Nobody says anything for thirty minutes: err(40002)."""
    desk.account.outreach.protected = True
    first = to_all(desk)
    outreach.decide(desk.world, desk.account, first["msg_id"], False)
    assert reports(desk.world)[-1]["Status"] == "err(40001)"
    second = to_all(desk, "zweiter Versuch")
    desk.world.advance(1_799)
    assert len(reports(desk.world)) == 1
    desk.world.advance(2)
    assert reports(desk.world)[-1]["Status"] == "err(40002)"
    assert desk.post(GET, {"msg_id": second["msg_id"]})["msg_status"] == "SEND_FAIL"
    with pytest.raises(WorldError, match="waits"):
        outreach.decide(desk.world, desk.account, second["msg_id"], True)


def test_protection_covers_sends_to_everybody_only(desk, fans):
    """A list is sent at once, although the protection is on."""
    desk.account.outreach.protected = True
    to_list(desk, fans)
    assert finish(desk.world)["Status"] == "send success"


def test_a_protected_send_may_answer_89505(make_desk):
    """With the other policy the call itself says that it waits, and a repetition says that it still does."""
    desk = make_desk(mass_protection_errcode=89505)
    desk.world.create_followers(2)
    desk.account.outreach.protected = True
    answer = to_all(desk)
    assert answer["errcode"] == 89505
    desk.world.advance(61)
    assert to_all(desk)["errcode"] == 89504
    outreach.decide(desk.world, desk.account, answer["msg_id"], True)
    assert finish(desk.world)["Status"] == "send success"


# --- preview, state, withdrawing, speed -------------------------------------------------------------------------------


def test_a_preview_reaches_one_follower(desk, fans):
    """By openid or by WeChat id, which wins; nobody else sees it and no report comes."""
    name = desk.world.person_of(desk.account.users[fans[1]]).wechat_id
    assert desk.post(PREVIEW, text(touser=fans[0]))["errcode"] == 0
    assert desk.post(PREVIEW, text(touser=fans[0], towxname=name))["errcode"] == 0
    assert [len(lines(desk.world, openid)) for openid in fans] == [1, 1, 0, 0]
    assert reports(desk.world) == []


def test_a_preview_needs_a_known_follower(desk, fans):
    """An unknown WeChat id is 40132, an unknown openid 40003, somebody who does not follow 43004."""
    assert desk.post(PREVIEW, text(towxname="nobody"))["errcode"] == 40132
    assert desk.post(PREVIEW, text(touser="nobody"))["errcode"] == 40003
    assert desk.post(PREVIEW, text(touser=desk.world.create_stranger()))["errcode"] == 43004


def test_a_hundred_previews_a_day_go_to_wechat_ids(desk, fans):
    """The hundred and first preview to a WeChat id is 45009, also the next day's first is fine."""
    name = desk.world.person_of(desk.account.users[fans[0]]).wechat_id
    assert {desk.post(PREVIEW, text(towxname=name))["errcode"] for _ in range(100)} == {0}
    assert desk.post(PREVIEW, text(towxname=name))["errcode"] == 45009
    desk.world.advance(86_400)
    assert desk.post(PREVIEW, text(towxname=name))["errcode"] == 0


def test_the_state_of_a_send(desk, fans):
    """Sending, then sent, as text; an unknown task is 40059."""
    msg_id = to_list(desk, fans)["msg_id"]
    assert desk.post(GET, {"msg_id": msg_id}) == {"msg_id": str(msg_id), "msg_status": "SENDING"}
    finish(desk.world)
    assert desk.post(GET, {"msg_id": str(msg_id)})["msg_status"] == "SEND_SUCCESS"
    assert desk.post(GET, {"msg_id": 5})["errcode"] == 40059


def test_articles_can_be_withdrawn_one_by_one_or_together(desk, fans):
    """One article, then the rest; the cards stay in the chats, the pages go; a repetition is 40065."""
    msg_id = send_articles(desk, draft(desk, "<p>a</p>", "<p>b</p>"))["msg_id"]
    assert desk.post(DELETE, {"msg_id": msg_id})["errcode"] == 40065
    report = finish(desk.world)
    urls = [item["ArticleUrl"] for item in report["ArticleUrlResult"]["ResultList"]["item"]]
    assert desk.post(DELETE, {"msg_id": msg_id, "article_idx": 3})["errcode"] == 40060
    assert desk.post(DELETE, {"msg_id": msg_id, "article_idx": 2})["errcode"] == 0
    assert desk.post(DELETE, {"msg_id": msg_id, "article_idx": 2})["errcode"] == 40065
    phone = desk.world.phone(fans[0])
    assert phone.read(urls[0]).title == "标题1"
    with pytest.raises(WorldError, match="taken away"):
        phone.read(urls[1])
    assert desk.post(DELETE, {"url": urls[0]})["errcode"] == 0
    assert desk.post(GET, {"msg_id": msg_id})["msg_status"] == "DELETE"
    assert desk.post(DELETE, {"msg_id": msg_id})["errcode"] == 40065
    assert len(lines(desk.world, fans[0])) == 1


def test_all_articles_go_at_once_without_an_index(desk, fans):
    """No index, or 0, means every article of the message; the chat names the task it came with."""
    msg_id = send_articles(desk, draft(desk, "<p>a</p>", "<p>b</p>"))["msg_id"]
    finish(desk.world)
    (line,) = lines(desk.world, fans[0])
    assert line.payload["msg_id"] == msg_id
    assert desk.post(DELETE, {"msg_id": str(msg_id)})["errcode"] == 0
    for article in line.payload["articles"]:
        with pytest.raises(WorldError, match="taken away"):
            desk.world.phone(fans[0]).read(article["url"])


def test_only_articles_and_videos_can_be_withdrawn(desk, fans):
    """A text stays: 40008. Without any name 40101, an unknown task 40059."""
    msg_id = to_list(desk, fans)["msg_id"]
    finish(desk.world)
    assert desk.post(DELETE, {"msg_id": msg_id})["errcode"] == 40008
    assert desk.post(DELETE, {"article_idx": 1})["errcode"] == 40101
    assert desk.post(DELETE, {"url": "https://mp.weixin.qq.com/s/none"})["errcode"] == 40059


def test_the_speed_is_one_of_five(desk):
    """Level 0 by default; 5 is 45083, nothing is 45084."""
    path = "/cgi-bin/message/mass/speed/"
    assert desk.post(path + "get", {}) == {"speed": 0, "realspeed": 80}
    assert desk.post(path + "set", {"speed": 4})["errcode"] == 0
    assert desk.post(path + "get", {}) == {"speed": 4, "realspeed": 10}
    assert desk.post(path + "set", {"speed": 5})["errcode"] == 45083
    assert desk.post(path + "set", {})["errcode"] == 45084


def test_a_slower_speed_takes_longer(make_desk):
    """Each receiver adds to the time until the report, at the speed that is set."""
    desk = make_desk(mass_delay=(1.0, 1.0), mass_speeds=(80, 60, 45, 30, 1))
    openids = desk.world.create_followers(200)
    to_list(desk, openids, "fast")
    assert desk.world.next_due() - desk.world.now() == pytest.approx(1.015)
    desk.world.advance(10)
    desk.post("/cgi-bin/message/mass/speed/set", {"speed": 4})
    to_list(desk, openids, "slow")
    assert desk.world.next_due() - desk.world.now() == pytest.approx(2.2)


def test_a_running_send_survives_a_snapshot(desk, fans):
    """Snapshot in the middle, restore in another world: the send ends there as it would have here."""
    send_articles(desk, draft(desk, "<p>a</p>"))
    document = json.loads(json.dumps(desk.world.snapshot()))
    other = World(Policy(), Clock.frozen(), seed=7)
    other.restore(document)
    assert finish(other) == finish(desk.world)
    assert len(lines(other, fans[0])) == 1
