"""Subscription notices on the simulated platform: from the library to the phone, and every consent counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from wxmp import AccountError, ArgumentError, NotFoundError, RecipientError, TransportError
from wxmp.api.subscribe import SubscribeCategory, SubscribeType, TemplateMiniProgram, TemplateValue
from wxmp.simulator import outreach
from wxmp.webhook import SubscribeMsgPopupEvent, SubscribeMsgSentEvent, Webhook

if TYPE_CHECKING:
    from wxmp.pytest_plugin import WxSim
    from wxmp.simulator.phone import Phone

pytestmark = pytest.mark.wx_sim(clock="frozen")

SEND = "/cgi-bin/message/subscribe/bizsend"
ADD = "/wxaapi/newtmpl/addtemplate"
DELETE = "/wxaapi/newtmpl/deltemplate"
GOOD = {"thing2": "白菜", "amount3": "¥10.50"}
BACK = "http://localhost/back?a=1"


@pytest.fixture
def alice(wx_sim: WxSim) -> Phone:
    """A follower."""
    phone = wx_sim.user("alice")
    phone.follow()
    return phone


@pytest.fixture
async def template_id(wx_sim: WxSim) -> str:
    """A template for one message per consent: 商品名称 and 支付金额."""
    return await wx_sim.client().subscribe.add_template(1221, kid_list=[2, 3], scene_desc="付款之后")


def titles(phone: Phone) -> list[str]:
    """What stands in the chat, by its title."""
    return [line.content for line in phone.replies if line.source == "subscribe"]


# --- library and templates --------------------------------------------------------------------------------------------


async def test_the_way_from_a_category_to_a_template(wx_sim: WxSim) -> None:
    """Categories lead to titles, titles to keywords, keywords to a template whose names are those of a send."""
    subscribe = wx_sim.client().subscribe
    categories = await subscribe.list_categories()
    assert categories[0] == SubscribeCategory(307, "线下超市")
    page = await subscribe.list_public_titles([categories[0].category_id])
    (title,) = page.titles
    assert (page.total, title.type, title.category_id, title.extra) == (1, SubscribeType.ONE_TIME, 307, {})
    keywords = await subscribe.list_public_keywords(title.tid)
    assert keywords.total == len(keywords.keywords) == 6
    chosen = [keyword for keyword in keywords.keywords if keyword.rule in ("thing", "amount")]
    made = await subscribe.add_template(title.tid, kid_list=[k.kid for k in chosen], scene_desc="付款之后")
    (own,) = await subscribe.list_templates()
    assert (own.template_id, own.title, own.type, own.extra) == (made, "订单支付成功通知", SubscribeType.ONE_TIME, {})
    assert own.keywords == tuple(f"{keyword.rule}{keyword.kid}" for keyword in chosen)
    assert wx_sim.findings == []


async def test_keywords_with_a_closed_set_of_values(wx_sim: WxSim, alice: Phone) -> None:
    """The template lists what such a keyword takes, and the platform takes nothing else."""
    subscribe = wx_sim.client().subscribe
    template_id = await subscribe.add_template(2034, kid_list=[1, 6], scene_desc="上课之前")
    (own,) = await subscribe.list_templates()
    (values,) = own.keyword_enum_values
    assert (values.keyword_code, values.values) == ("enum_string6.DATA", ("线上", "线下"))
    alice.answer_popup({template_id: "accept"})
    with pytest.raises(ArgumentError) as caught:
        await subscribe.send(alice.openid, template_id=template_id, data={"thing1": "数学", "enum_string6": "空中"})
    assert (caught.value.errcode, caught.value.errmsg) == (47003, "argument invalid! data.enum_string6.value invalid")
    await subscribe.send(alice.openid, template_id=template_id, data={"thing1": "数学", "enum_string6": "线上"})
    assert titles(alice) == ["课程开始提醒"]


async def test_all_titles_of_all_categories(wx_sim: WxSim) -> None:
    """The walk gives what pages of one entry give, and begins where it is told."""
    subscribe = wx_sim.client().subscribe
    ids = [category.category_id for category in await subscribe.list_categories()]
    walked = [title.tid async for title in subscribe.iter_public_titles(ids)]
    paged = [(await subscribe.list_public_titles(ids, offset=n, count=1)).titles[0].tid for n in range(len(walked))]
    assert walked == paged
    assert len(walked) == 4
    assert [title.tid async for title in subscribe.iter_public_titles(ids, offset=3)] == walked[3:]
    assert (await subscribe.list_public_titles(ids, offset=4)).titles == ()


async def test_a_category_of_somebody_else(wx_sim: WxSim) -> None:
    """An account asks for its own categories only (200019)."""
    with pytest.raises(ArgumentError) as caught:
        await wx_sim.client().subscribe.list_public_titles([1])
    assert caught.value.errcode == 200019


async def test_what_the_library_refuses(wx_sim: WxSim, template_id: str) -> None:
    """An unknown template, a keyword of another one, the same thing twice, a banned account."""
    subscribe = wx_sim.client().subscribe
    for tid, kids, code in ((9, [1, 2], 200014), (1221, [1, 99], 200020), (1221, [2, 3], 200022)):
        with pytest.raises(ArgumentError) as caught:
            await subscribe.add_template(tid, kid_list=kids, scene_desc="x")
        assert caught.value.errcode == code
    with pytest.raises(ArgumentError) as unknown:
        await subscribe.list_public_keywords(9)
    assert unknown.value.errcode == 200014
    wx_sim.account.outreach.banned = True
    with pytest.raises(AccountError) as banned:
        await subscribe.add_template(1221, kid_list=[3, 2], scene_desc="x")
    assert banned.value.errcode == 200011


@pytest.mark.wx_sim(policy={"subscribe_templates": 1})
async def test_places_are_few(wx_sim: WxSim, template_id: str) -> None:
    """A full account takes another template only after one is deleted."""
    subscribe = wx_sim.client().subscribe
    with pytest.raises(ArgumentError) as caught:
        await subscribe.add_template(4477, kid_list=[1, 2], scene_desc="x")
    assert caught.value.errcode == 200012
    await subscribe.delete_template(template_id)
    await subscribe.add_template(4477, kid_list=[1, 2], scene_desc="x")
    with pytest.raises(ArgumentError) as gone:
        await subscribe.delete_template(template_id)
    assert gone.value.errcode == 200014


async def test_a_deletion_whose_answer_is_lost(wx_sim: WxSim, template_id: str) -> None:
    """The repeat finds nothing, and that is a success."""
    wx_sim.faults.add("reset_after", path=DELETE, times=1)
    await wx_sim.client().subscribe.delete_template(template_id)
    assert wx_sim.calls(DELETE) == 2
    assert wx_sim.account.outreach.templates == {}


async def test_an_addition_whose_answer_is_lost(wx_sim: WxSim) -> None:
    """It is not repeated: the error says that it may have worked, and a second call of the user's tells (200022)."""
    subscribe = wx_sim.client().subscribe
    wx_sim.faults.add("reset_after", path=ADD, times=1)
    with pytest.raises(TransportError) as lost:
        await subscribe.add_template(1221, kid_list=[2, 3], scene_desc="x")
    with pytest.raises(ArgumentError) as again:
        await subscribe.add_template(1221, kid_list=[2, 3], scene_desc="x")
    assert (lost.value.maybe_acted, again.value.errcode) == (True, 200022)
    assert len(await subscribe.list_templates()) == 1


# --- notices ----------------------------------------------------------------------------------------------------------


async def test_one_consent_one_message(wx_sim: WxSim, alice: Phone, template_id: str) -> None:
    """An "accept" pays for one message; the next one is 43101, and the events tell of both."""
    events: list[SubscribeMsgPopupEvent | SubscribeMsgSentEvent] = []
    hook = Webhook(token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid)

    @hook.on(SubscribeMsgPopupEvent, SubscribeMsgSentEvent)
    async def told(event: SubscribeMsgPopupEvent | SubscribeMsgSentEvent) -> None:
        events.append(event)

    wx_sim.connect(hook)
    subscribe = wx_sim.client().subscribe
    with pytest.raises(RecipientError) as before:
        await subscribe.send(alice.openid, template_id=template_id, data=GOOD)
    alice.answer_popup({template_id: "accept"})
    await subscribe.send(alice.openid, template_id=template_id, data=GOOD)
    with pytest.raises(RecipientError) as after:
        await subscribe.send(alice.openid, template_id=template_id, data=GOOD)
    wx_sim.clock.advance(5)
    await wx_sim.settled()
    assert before.value.errcode == after.value.errcode == 43101
    assert titles(alice) == ["订单支付成功通知"]
    popup, sent = events
    assert isinstance(popup, SubscribeMsgPopupEvent)
    assert isinstance(sent, SubscribeMsgSentEvent)
    assert (popup.entries[0].template_id, popup.entries[0].accepted) == (template_id, True)
    assert (sent.entries[0].template_id, sent.entries[0].ok) == (template_id, True)


async def test_a_lasting_consent(wx_sim: WxSim, alice: Phone) -> None:
    """A long-term template is sent until the user switches it off."""
    subscribe = wx_sim.client().subscribe
    template_id = await subscribe.add_template(3310, kid_list=[1, 2], scene_desc="等车")
    assert (await subscribe.list_templates())[0].type is SubscribeType.LONG_TERM
    alice.answer_popup({template_id: "accept"})
    for _ in range(3):
        await subscribe.send(alice.openid, template_id=template_id, data={"thing1": "一号", "time2": "12:30"})
    alice.change_subscription(template_id, on=False)
    with pytest.raises(RecipientError):
        await subscribe.send(alice.openid, template_id=template_id, data={"thing1": "一号", "time2": "12:30"})
    assert len(titles(alice)) == 3


async def test_somebody_who_does_not_follow(wx_sim: WxSim, alice: Phone, template_id: str) -> None:
    """A notice needs a consent, not a follower."""
    alice.answer_popup({template_id: "accept"})
    alice.unfollow()
    await wx_sim.client().subscribe.send(alice.openid, template_id=template_id, data=GOOD)
    assert titles(alice) == ["订单支付成功通知"]


@pytest.mark.parametrize("key", [None, "order-1"])
async def test_a_notice_whose_answer_is_lost(wx_sim: WxSim, alice: Phone, template_id: str, key: str | None) -> None:
    """It is not repeated, and the error says that it may have been sent."""
    alice.answer_popup({template_id: "accept"})
    wx_sim.faults.add("reset_after", path=SEND, times=1)
    with pytest.raises(TransportError) as caught:
        await wx_sim.client().subscribe.send(alice.openid, template_id=template_id, data=GOOD, client_msg_id=key)
    assert caught.value.maybe_acted
    assert wx_sim.calls(SEND) == 1
    assert titles(alice) == ["订单支付成功通知"]


#: Values, and whether they fit; the SDK lets nothing through that is certainly wrong, and nothing right is kept back.
VALUES: dict[str, Any] = {
    "thing2": ("字" * 20, "字" * 21),
    "amount3": ("¥10.50", "ten"),
    "character_string1": ("20260101120000", "字"),
    "time4": ("2026年1月1日 12:00", "noon"),
    "number5": ("-3.25", "three"),
    "phone_number6": ("020-81167888", "1" * 18),
}


@pytest.mark.parametrize("keyword", list(VALUES))
async def test_values_and_their_rules(wx_sim: WxSim, alice: Phone, keyword: str) -> None:
    """A value that breaks the rule of its keyword is 47003, wherever it is found out, and costs no consent."""
    subscribe = wx_sim.client().subscribe
    number = int(keyword[-1])
    other = 3 if number != 3 else 2
    template_id = await subscribe.add_template(1221, kid_list=[number, other], scene_desc="x")
    alice.answer_popup({template_id: "accept"})
    data = {**GOOD, keyword: VALUES[keyword][0]}
    with pytest.raises(ArgumentError) as caught:
        await subscribe.send(alice.openid, template_id=template_id, data={**data, keyword: VALUES[keyword][1]})
    assert caught.value.errcode == 47003
    await subscribe.send(alice.openid, template_id=template_id, data=data)
    assert titles(alice) == ["订单支付成功通知"]


async def test_other_refusals(wx_sim: WxSim, alice: Phone, template_id: str) -> None:
    """A stranger, an unknown template, a forbidden word, a page that is too long, a foreign mini program, a ban."""
    subscribe = wx_sim.client().subscribe
    alice.answer_popup({template_id: "accept"})
    wx_sim.account.linked_miniprograms = ["wxmini"]
    usual: dict[str, Any] = {"openid": alice.openid, "template_id": template_id, "data": GOOD}
    refusals: list[tuple[dict[str, Any], type[Exception], int]] = [
        ({"openid": "nobody"}, ArgumentError, 40003),
        ({"template_id": "unknown"}, NotFoundError, 40037),
        ({"data": {"thing2": "x"}}, ArgumentError, 47003),
        ({"data": GOOD | {"thing2": "[[blocked]]"}}, ArgumentError, 45168),
        ({"page": "x" * 1025}, ArgumentError, 41030),
        ({"miniprogram": TemplateMiniProgram("wxother", "index")}, ArgumentError, 40166),
    ]
    for change, error, code in refusals:
        with pytest.raises(error) as caught:
            await subscribe.send(**{**usual, **change})
        assert getattr(caught.value, "errcode", None) == code
    wx_sim.account.outreach.templates[template_id].restricted = True
    with pytest.raises(AccountError) as held:
        await subscribe.send(**usual)
    assert held.value.errcode == 43116
    wx_sim.account.outreach.templates[template_id].restricted = False
    await subscribe.send(**usual, miniprogram=TemplateMiniProgram("wxmini", "index"), page="https://a.example/")
    assert wx_sim.findings == []


# --- one-time messages ------------------------------------------------------------------------------------------------


async def consent(wx_sim: WxSim, alice: Phone, answer: str, scene: int = 7) -> dict[str, list[str]]:
    """Open the consent page on a phone, tap an answer, and return what comes back to the developer's page."""
    url = wx_sim.client().subscribe.consent_url(
        BACK, template_id=outreach.one_time_template(wx_sim.account), scene=scene, reserved="s&1"
    )
    tapped = url.replace("#wechat_redirect", f"&user={alice.openid}&answer={answer}")
    reply = await wx_sim.http_client().get(tapped)
    assert reply.status_code == 302
    return parse_qs(urlsplit(reply.headers["location"]).query)


async def test_the_page_shows_the_question(wx_sim: WxSim, alice: Phone) -> None:
    """The address leads to the platform's page, not to an error."""
    url = wx_sim.client().subscribe.consent_url(
        BACK, template_id=outreach.one_time_template(wx_sim.account), scene=10_000
    )
    reply = await wx_sim.http_client().get(url)
    assert "申请给你发送一次消息" in reply.text


async def test_a_consent_and_its_message(wx_sim: WxSim, alice: Phone) -> None:
    """What comes back names the user; one message of this scene can be sent, and no second one."""
    template_id = outreach.one_time_template(wx_sim.account)
    back = await consent(wx_sim, alice, "confirm")
    assert back == {
        "a": ["1"],
        "openid": [alice.openid],
        "template_id": [template_id],
        "action": ["confirm"],
        "scene": ["7"],
        "reserved": ["s&1"],
    }
    subscribe = wx_sim.client().subscribe
    message: dict[str, Any] = {
        "template_id": template_id,
        "title": "标题",
        "content": TemplateValue("你好", "#173177"),
    }
    with pytest.raises(RecipientError):
        await subscribe.send_one_time(alice.openid, scene=8, **message)
    await subscribe.send_one_time(alice.openid, scene=7, **message)
    with pytest.raises(RecipientError) as caught:
        await subscribe.send_one_time(alice.openid, scene=7, **message)
    assert caught.value.errcode == 43101
    assert titles(alice) == ["标题"]
    assert wx_sim.findings == []


async def test_a_refused_consent(wx_sim: WxSim, alice: Phone) -> None:
    """A refusal comes back without an openid and allows nothing."""
    back = await consent(wx_sim, alice, "cancel")
    assert (back["action"], "openid" in back) == (["cancel"], False)
    with pytest.raises(RecipientError):
        await wx_sim.client().subscribe.send_one_time(
            alice.openid, template_id=back["template_id"][0], scene=7, title="t", content="c"
        )


async def test_a_template_of_another_kind(wx_sim: WxSim, alice: Phone, template_id: str) -> None:
    """One-time messages have a template of their own (40037)."""
    with pytest.raises(NotFoundError) as caught:
        await wx_sim.client().subscribe.send_one_time(
            alice.openid, template_id=template_id, scene=7, title="t", content="c"
        )
    assert caught.value.errcode == 40037
