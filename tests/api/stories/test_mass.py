"""Mass sends on the simulated platform: who gets them, what is counted, and what a lost answer costs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wxmp import APIError, ArgumentError, NotAuthorizedError, NotFoundError, RateLimitError, RecipientError, RetryPolicy
from wxmp.api.articles import Article
from wxmp.api.mass import (
    MassArticle,
    MassCard,
    MassImages,
    MassNews,
    MassSpeed,
    MassStatus,
    MassText,
    MassVideo,
    MassVoice,
)
from wxmp.simulator import formats, library, outreach
from wxmp.webhook import MassSendJobFinishEvent, Webhook

if TYPE_CHECKING:
    from wxmp.api.mass import MassMessage
    from wxmp.pytest_plugin import WxSim
    from wxmp.simulator.library import MediaKind

pytestmark = pytest.mark.wx_sim(clock="frozen", followers=4)

SEND_ALL = "/cgi-bin/message/mass/sendall"
SEND = "/cgi-bin/message/mass/send"
DELETE = "/cgi-bin/message/mass/delete"


def fans(wx_sim: WxSim) -> list[str]:
    """The followers."""
    return list(wx_sim.account.users)


def readers(wx_sim: WxSim) -> list[str]:
    """Those who have a mass message in their chat, once for each."""
    return [openid for openid in fans(wx_sim) for line in wx_sim.world.chat(openid) if line.source == "mass"]


def tasks(wx_sim: WxSim) -> int:
    """How many mass sends the platform knows."""
    return len(wx_sim.account.outreach.broadcasts)


def stored(wx_sim: WxSim, kind: MediaKind, *, permanent: bool = False) -> str:
    """Keep a file of the account."""
    data = formats.sample(kind, kind)
    now = wx_sim.clock.now()
    return library.store_media(wx_sim.world, wx_sim.account, kind, "file", data, now, permanent=permanent).media_id


async def drafted(wx_sim: WxSim, *contents: str) -> str:
    """Write a draft."""
    cover = stored(wx_sim, "thumb", permanent=True)
    return await wx_sim.client().draft.add(
        [Article(f"标题{number}", content, cover) for number, content in enumerate(contents)]
    )


def patient(wx_sim: WxSim, wait: float) -> RetryPolicy:
    """A policy that waits longer between attempts than the platform's minute, in simulated time."""
    clock = wx_sim.clock

    async def sleep(seconds: float) -> None:
        wx_sim.world.advance(seconds)
        await asyncio.sleep(0)

    return RetryPolicy(
        initial_wait=wait, max_wait=wait, total_time=600.0, sleep=sleep, wall_clock=clock.now, clock=clock.now
    )


# --- audiences --------------------------------------------------------------------------------------------------------


async def test_everybody_gets_a_text_and_the_report_follows(wx_sim: WxSim) -> None:
    """The receipt's number is the number in the event, and the state goes from sending to sent."""
    reports: list[MassSendJobFinishEvent] = []
    hook = Webhook(token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid)

    @hook.on(MassSendJobFinishEvent)
    async def finished(event: MassSendJobFinishEvent) -> None:
        reports.append(event)

    wx_sim.connect(hook)
    mass = wx_sim.client().mass
    receipt = await mass.send_all("大家好", is_to_all=True)
    assert receipt.msg_id is not None
    assert (receipt.msg_data_id, receipt.duplicate, receipt.confirmed, receipt.extra) == (None, False, True, {})
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.SENDING
    wx_sim.clock.advance(10)
    await wx_sim.settled()
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.SEND_SUCCESS
    assert readers(wx_sim) == fans(wx_sim)
    (report,) = reports
    assert (report.msg_id, report.ok, report.sent_count) == (receipt.msg_id, True, 4)


async def test_a_tag_gets_it_and_nobody_else(wx_sim: WxSim) -> None:
    """Only those who carry the tag; an unknown tag is an error."""
    client = wx_sim.client()
    tag = await client.tag.create("vip")
    await client.tag.add_members(tag.tag_id, openids=fans(wx_sim)[:2])
    await client.mass.send_all("vip only", tag_id=tag.tag_id)
    wx_sim.clock.advance(10)
    assert readers(wx_sim) == fans(wx_sim)[:2]
    with pytest.raises(NotFoundError) as caught:
        await client.mass.send_all("nobody", tag_id=999)
    assert caught.value.errcode == 45159


async def test_a_list_gets_it(wx_sim: WxSim) -> None:
    """Those on the list, each once, however often they stand there."""
    listed = fans(wx_sim)[1:3]
    await wx_sim.client().mass.send(listed * 2, "hello")
    wx_sim.clock.advance(10)
    assert readers(wx_sim) == listed


async def test_a_list_is_for_service_accounts(wx_sim: WxSim) -> None:
    """A subscription account sends to everybody or to a tag only (48001)."""
    wx_sim.account.kind = "subscription"
    with pytest.raises(NotAuthorizedError):
        await wx_sim.client().mass.send(fans(wx_sim), "hello")


@pytest.mark.wx_sim(policy={"mass_openids": [2, 3]})
async def test_the_platform_counts_too(wx_sim: WxSim) -> None:
    """A limit that the SDK does not know of comes back as the same error."""
    with pytest.raises(ArgumentError) as caught:
        await wx_sim.client().mass.send(fans(wx_sim), "hello")
    assert caught.value.errcode == 40032


# --- lost answers -----------------------------------------------------------------------------------------------------


async def test_a_lost_answer_makes_no_second_task(wx_sim: WxSim) -> None:
    """Cut off after the platform acted: the repeat comes within a minute, and one task is all there is."""
    wx_sim.faults.add("reset_after", path=SEND_ALL, times=1)
    mass = wx_sim.client().mass
    receipt = await mass.send_all("hello", is_to_all=True)
    assert (receipt.msg_id, receipt.duplicate, receipt.confirmed) == (None, True, False)
    assert (tasks(wx_sim), wx_sim.calls(SEND_ALL)) == (1, 2)
    wx_sim.clock.advance(61)
    again = await mass.send_all("hello", is_to_all=True, client_msg_id=receipt.client_msg_id)
    assert again.msg_id in wx_sim.account.outreach.broadcasts
    assert (again.duplicate, again.confirmed, tasks(wx_sim)) == (True, True, 1)
    assert readers(wx_sim) == fans(wx_sim)


async def test_a_lost_answer_and_a_patient_policy(wx_sim: WxSim) -> None:
    """Who waits for more than a minute between attempts gets the number of the first task at once."""
    wx_sim.faults.add("reset_after", path=SEND, times=1)
    receipt = await wx_sim.client(retry=patient(wx_sim, 130.0)).mass.send(fans(wx_sim), "hello")
    assert receipt.msg_id in wx_sim.account.outreach.broadcasts
    assert (receipt.duplicate, receipt.confirmed, tasks(wx_sim)) == (True, True, 1)
    assert readers(wx_sim) == fans(wx_sim)


async def test_a_lost_request_is_made_up_for(wx_sim: WxSim) -> None:
    """Cut off before the platform acted: the repeat sends, once."""
    wx_sim.faults.add("reset_before", path=SEND_ALL, times=2)
    receipt = await wx_sim.client().mass.send_all("hello", is_to_all=True)
    assert (receipt.duplicate, receipt.confirmed, tasks(wx_sim)) == (False, True, 1)
    wx_sim.clock.advance(10)
    assert readers(wx_sim) == fans(wx_sim)


async def test_articles_whose_draft_is_gone(wx_sim: WxSim) -> None:
    """The draft died with the first attempt, and yet the repeat is told of the task and not of a lost draft."""
    media_id = await drafted(wx_sim, "<p>你好</p>")
    wx_sim.faults.add("reset_after", path=SEND, times=1)
    receipt = await wx_sim.client(retry=patient(wx_sim, 130.0)).mass.send(fans(wx_sim), MassNews(media_id))
    (task,) = wx_sim.account.outreach.broadcasts.values()
    assert (receipt.msg_id, receipt.msg_data_id) == (task.msg_id, task.msg_data_id)


async def test_an_own_key_works_across_restarts(wx_sim: WxSim) -> None:
    """A second process with the same key sends nothing, whatever it wants to say, and learns of the first task."""
    first = await wx_sim.client().mass.send_all("first", is_to_all=True, client_msg_id="spring-sale")
    early = await wx_sim.client().mass.send_all("second", is_to_all=True, client_msg_id="spring-sale")
    wx_sim.clock.advance(61)
    later = await wx_sim.client().mass.send_all("third", is_to_all=True, client_msg_id="spring-sale")
    assert (early.msg_id, early.duplicate, early.confirmed) == (None, True, False)
    assert (later.msg_id, later.duplicate, later.confirmed) == (first.msg_id, True, True)
    assert [line.content for line in wx_sim.world.chat(fans(wx_sim)[0]) if line.source == "mass"] == ["first"]


async def test_an_own_key_is_forgotten_after_a_day(wx_sim: WxSim) -> None:
    """After 24 hours the key sends again."""
    mass = wx_sim.client().mass
    first = await mass.send_all("first", is_to_all=True, client_msg_id="daily")
    wx_sim.clock.advance(86_401)
    second = await mass.send_all("second", is_to_all=True, client_msg_id="daily")
    assert not second.duplicate
    assert second.msg_id != first.msg_id


async def test_equal_calls_are_two_messages(wx_sim: WxSim) -> None:
    """Without a key of the caller's, the same text to the same users goes out twice."""
    mass = wx_sim.client().mass
    first, second = [await mass.send(fans(wx_sim), "hello") for _ in range(2)]
    assert first.msg_id != second.msg_id
    wx_sim.clock.advance(10)
    assert len(readers(wx_sim)) == 8


# --- allowances and approval ------------------------------------------------------------------------------------------


async def test_everybody_once_a_day(wx_sim: WxSim) -> None:
    """A second message to everybody on one day is refused (45028); a list is not."""
    mass = wx_sim.client().mass
    await mass.send_all("first", is_to_all=True)
    with pytest.raises(RateLimitError) as caught:
        await mass.send_all("second", is_to_all=True)
    assert caught.value.errcode == 45028
    await mass.send(fans(wx_sim), "third")
    assert tasks(wx_sim) == 2


async def test_four_a_month(wx_sim: WxSim) -> None:
    """The fifth message to the same users reaches nobody, and its task says so."""
    mass = wx_sim.client().mass
    for number in range(4):
        await mass.send(fans(wx_sim), f"message {number}")
        wx_sim.clock.advance(10)
    receipt = await mass.send(fans(wx_sim), "the fifth")
    wx_sim.clock.advance(10)
    assert receipt.msg_id is not None
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.SEND_FAIL
    assert len(readers(wx_sim)) == 16


@pytest.mark.wx_sim(policy={"mass_protection_errcode": 89505})
async def test_the_administrator_is_asked(wx_sim: WxSim) -> None:
    """89505 is a task that waits, not a failure: it goes out once the administrator agrees."""
    wx_sim.account.outreach.protected = True
    receipt = await wx_sim.client().mass.send_all("hello", is_to_all=True)
    assert receipt.awaiting_approval
    assert receipt.msg_id is not None
    assert readers(wx_sim) == []
    outreach.decide(wx_sim.world, wx_sim.account, receipt.msg_id, True)
    wx_sim.clock.advance(10)
    assert readers(wx_sim) == fans(wx_sim)


# --- content ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "images", "image", "voice", "video"])
async def test_every_kind_arrives(wx_sim: WxSim, kind: str) -> None:
    """What can be sent is taken and stands in the chats; a video is made ready first."""
    mass = wx_sim.client().mass
    messages: dict[str, MassMessage] = {
        "text": MassText("hello"),
        "images": MassImages([stored(wx_sim, "image"), stored(wx_sim, "image")], "看看", need_open_comment=True),
        "image": MassImages(stored(wx_sim, "image")),
        "voice": MassVoice(stored(wx_sim, "voice")),
        "video": MassVideo((await mass.upload_video(stored(wx_sim, "video"), title="t")).media_id),
    }
    await mass.preview(messages[kind], openid=fans(wx_sim)[0])
    receipt = await mass.send(fans(wx_sim), messages[kind])
    wx_sim.clock.advance(10)
    assert receipt.msg_id is not None
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.SEND_SUCCESS
    assert readers(wx_sim) == [fans(wx_sim)[0], *fans(wx_sim)]


async def test_content_the_platform_refuses(wx_sim: WxSim) -> None:
    """A text that is too long, an unknown file, a raw video, a coupon."""
    mass = wx_sim.client().mass
    video = stored(wx_sim, "video")
    refusals: list[tuple[MassMessage, type[APIError], int]] = [
        (MassText("字" * 700), ArgumentError, 45002),
        (MassVoice("unknown"), NotFoundError, 40007),
        (MassVideo(video), NotFoundError, 40007),
        (MassNews("unknown"), NotFoundError, 40007),
        (MassCard("card"), NotAuthorizedError, 45113),
    ]
    for message, error, code in refusals:
        with pytest.raises(error) as caught:
            await mass.send(fans(wx_sim), message)
        assert caught.value.errcode == code
    assert tasks(wx_sim) == 0


async def test_articles_are_sent_and_withdrawn(wx_sim: WxSim) -> None:
    """Articles have a second number; one is withdrawn alone, then all, and then there is nothing left."""
    mass = wx_sim.client().mass
    receipt = await mass.send_all(MassNews(await drafted(wx_sim, "一", "二")), is_to_all=True)
    assert (receipt.type, receipt.msg_id is None, receipt.msg_data_id is None) == ("news", False, False)
    assert receipt.msg_id is not None
    with pytest.raises(APIError) as early:
        await mass.delete(receipt.msg_id)
    wx_sim.clock.advance(10)
    await mass.delete(receipt.msg_id, index=1)
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.SEND_SUCCESS
    with pytest.raises(ArgumentError) as beyond:
        await mass.delete(receipt.msg_id, index=3)
    await mass.delete(receipt.msg_id)
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.DELETE
    with pytest.raises(APIError) as late:
        await mass.delete(receipt.msg_id)
    assert [caught.value.errcode for caught in (early, beyond, late)] == [40065, 40060, 40065]


async def test_an_article_is_withdrawn_by_its_address(wx_sim: WxSim) -> None:
    """The address that the report names is enough."""
    mass = wx_sim.client().mass
    receipt = await mass.send(fans(wx_sim), MassNews(await drafted(wx_sim, "一")))
    wx_sim.clock.advance(10)
    (task,) = wx_sim.account.outreach.broadcasts.values()
    await mass.delete(url=task.urls[0])
    assert receipt.msg_id is not None
    assert (await mass.get_status(receipt.msg_id)).msg_status is MassStatus.DELETE


@pytest.mark.parametrize("index", [None, 1])
async def test_a_withdrawal_whose_answer_is_lost(wx_sim: WxSim, index: int | None) -> None:
    """The repeat is told 40065, the state says why, and that is a success."""
    mass = wx_sim.client().mass
    receipt = await mass.send(fans(wx_sim), MassNews(await drafted(wx_sim, "一", "二")))
    wx_sim.clock.advance(10)
    wx_sim.faults.add("reset_after", path=DELETE, times=1)
    assert receipt.msg_id is not None
    await mass.delete(receipt.msg_id, index=index)
    assert wx_sim.calls(DELETE) == 2


async def test_a_text_cannot_be_withdrawn(wx_sim: WxSim) -> None:
    """Only articles and videos (40008), and only tasks that exist (40059)."""
    mass = wx_sim.client().mass
    receipt = await mass.send(fans(wx_sim), "hello")
    wx_sim.clock.advance(10)
    with pytest.raises(ArgumentError) as text:
        await mass.delete(receipt.msg_id)
    with pytest.raises(NotFoundError) as unknown:
        await mass.delete(1)
    assert (text.value.errcode, unknown.value.errcode) == (40008, 40059)


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_previews(wx_sim: WxSim) -> None:
    """A person is named by openid or by WeChat id; strangers and those who left get none."""
    mass, openid = wx_sim.client().mass, fans(wx_sim)[0]
    name = wx_sim.world.person_of(wx_sim.account.users[openid]).wechat_id
    await mass.preview("one", openid=openid)
    await mass.preview("two", wechat_id=name)
    assert readers(wx_sim) == [openid, openid]
    with pytest.raises(ArgumentError) as stranger:
        await mass.preview("three", wechat_id="nobody-of-this-name")
    alice = wx_sim.user("alice")
    alice.follow()
    alice.unfollow()
    with pytest.raises(RecipientError) as left:
        await mass.preview("four", openid=alice.openid)
    assert (stranger.value.errcode, left.value.errcode) == (40132, 43004)
    assert tasks(wx_sim) == 0


async def test_speed(wx_sim: WxSim) -> None:
    """What is set is read, with what it means."""
    mass = wx_sim.client().mass
    assert await mass.get_speed() == MassSpeed(0, 80)
    await mass.set_speed(4)
    assert await mass.get_speed() == MassSpeed(4, 10)


async def test_status_of_a_task_that_is_none(wx_sim: WxSim) -> None:
    """An unknown number is a NotFoundError."""
    with pytest.raises(NotFoundError) as caught:
        await wx_sim.client().mass.get_status(1)
    assert caught.value.errcode == 40059


async def test_uploaded_articles(wx_sim: WxSim) -> None:
    """The deprecated upload makes articles that can be sent, and the simulator says that it is deprecated."""
    mass = wx_sim.client().mass
    media = await mass.upload_news(MassArticle("标题", "正文", stored(wx_sim, "thumb"), show_cover_pic=True))
    assert (media.type, media.extra, media.create_time) == ("news", {}, datetime(2026, 1, 1, 4, tzinfo=UTC))
    await mass.send(fans(wx_sim), MassNews(media.media_id))
    wx_sim.clock.advance(10)
    assert readers(wx_sim) == fans(wx_sim)
    assert [finding["code"] for finding in wx_sim.findings] == ["deprecated_endpoint"]


async def test_nothing_hurts_on_the_real_platform(wx_sim: WxSim) -> None:
    """The platform finds no fault with the form of what the SDK sends, and the SDK knows every field it answers."""
    mass = wx_sim.client().mass
    media_id = await drafted(wx_sim, "一")
    receipt = await mass.send_all(MassNews(media_id), is_to_all=True, send_ignore_reprint=True)
    wx_sim.clock.advance(10)
    assert receipt.msg_id is not None
    assert (receipt.extra, (await mass.get_status(receipt.msg_id)).extra) == ({}, {})
    assert wx_sim.findings == []
