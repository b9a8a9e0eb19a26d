"""The public API as users write it; read by mypy --strict and pyright, never run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import wxmp
from wxmp import (
    PRODUCTION,
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    BroadcastError,
    BusyError,
    CallFinished,
    Client,
    ConfigError,
    DeadTokenError,
    Event,
    FilePart,
    FileTokenStore,
    MemoryTokenStore,
    NotAuthorizedError,
    NotFoundError,
    Platform,
    RateLimitError,
    RecipientError,
    RedisTokenStore,
    ReplyError,
    RetryPolicy,
    TimedOutError,
    TokenEvent,
    TokenPolicy,
    TokenStatus,
    TokenStore,
    TokenStoreError,
    TokenStoreUnavailable,
    TransportError,
    WxmpError,
)
from wxmp._wire import JsonObject
from wxmp.api.ai import IDCard, TextScan, VoiceResult
from wxmp.api.articles import Article, NewsContent, NewsItem, PictureArticle
from wxmp.api.autoreply import AutoReplyRules
from wxmp.api.comment import Comment, CommentPage
from wxmp.api.custom import CustomText
from wxmp.api.datacube import AdReport, AdSlotStat, AdSlotTotals, Report, Row, UserSummary
from wxmp.api.downloads import FileStream
from wxmp.api.draft import Draft, DraftPage
from wxmp.api.kf import KfAccount, KfMessage, KfSession
from wxmp.api.mass import MassImages, MassJob, MassNews, MassReceipt, MassStatus
from wxmp.api.material import AddedMaterial, Material, MaterialItem
from wxmp.api.media import MediaFile, UploadedMedia
from wxmp.api.menu import Menu, MenuButton, Menus
from wxmp.api.publish import Publication, PublishJob, PublishReceipt
from wxmp.api.shorturl import LongData
from wxmp.api.subscribe import SubscribeTemplate, SubscribeTitle
from wxmp.api.tag import MemberChange, Tag
from wxmp.api.user import OpenidPage, UserInfo
from wxmp.control import ControlKey, ControlServer, HTTPTokenStore
from wxmp.errcodes import ErrCode, lookup
from wxmp.events import EventHook, combine
from wxmp.integrations.opentelemetry import OpenTelemetryHook
from wxmp.integrations.prometheus import PrometheusHook
from wxmp.pay import PayClient
from wxmp.tokens.encryption import AESGCMCodec
from wxmp.webhook import (
    ActivityLog,
    MenuKeyActivity,
    Push,
    SubscribeEvent,
    TextMessage,
    TextReply,
    UserActivity,
    Webhook,
)
from wxmp.webhook.gate import Mode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    import redis.asyncio


# ---- making a client


def secret_from_vault() -> str:
    return Path("/run/secrets/appsecret").read_text(encoding="utf-8")


def on_event(event: Event) -> None:
    assert_type(event.appid, str)
    match event:
        case TokenEvent():
            assert_type(event.generation, int | None)
            assert_type(event.seconds, float | None)
        case CallFinished():
            assert_type(event.outcome, str)
            assert_type(event.errcode, int | None)
        case _:
            pass


def hooks() -> list[EventHook]:
    both = combine(on_event, PrometheusHook(), OpenTelemetryHook(), print)
    assert_type(both, EventHook)
    Webhook(token="t", appid="wx0123456789abcdef", observer=both)
    Webhook.from_env(observer=both)
    PayClient.from_env(on_event=both)
    return [both]


def make_clients(http_client: httpx.AsyncClient) -> list[Client]:
    return [
        Client("wx0123456789abcdef", "fake-appsecret"),
        Client("wx0123456789abcdef", secret_from_vault),
        Client("wx0123456789abcdef", secret_from_vault, proxy="http://proxy.internal:3128"),
        Client.from_env(),
        Client.from_env("SHOP_"),
        Client(
            "wx0123456789abcdef",
            "fake-appsecret",
            token_store=MemoryTokenStore(),
            token_channel="plain",
            token_policy=TokenPolicy(lease=20, request_timeout=5.0, wait_timeout=30, on_store_down="error"),
            base_url="http://127.0.0.1:8000",
            timeout=3,
            retry=RetryPolicy(attempts=2, total_time=5),
            http_client=http_client,
            on_event=on_event,
        ),
        Client("wx0123456789abcdef", "fake-appsecret", base_url=Platform(api="https://sh.api.weixin.qq.com")),
        Client("wx0123456789abcdef", "fake-appsecret", base_url=PRODUCTION, on_event=print),
    ]


def control(client: Client, http_client: httpx.AsyncClient) -> ControlServer:
    key, text = ControlKey.create("shop", appids={"wx0123456789abcdef"}, kinds={"access_token"}, may_see_status=True)
    assert_type(key, ControlKey)
    assert_type(text, str)
    store = HTTPTokenStore("https://tokens.internal", text, http_client=http_client, timeout=2)
    HTTPTokenStore(["https://a.internal", "https://b.internal"], secret_from_vault)
    Client("wx0123456789abcdef", None, token_store=store)
    ControlKey.create("page", appids="*", kinds={"everything"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    server = ControlServer([client], [key, ControlKey("old", key.id, key.digest, appids="*")], audit="audit.jsonl")
    server.use_keys([key])
    return server


def mistakes() -> None:
    Client("wx0123456789abcdef")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Client("wx0123456789abcdef", b"secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("wx0123456789abcdef", "s", token_channel="other")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Client("wx0123456789abcdef", "s", MemoryTokenStore())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    TokenPolicy(10.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RetryPolicy(attempts="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def stores(client: redis.asyncio.Redis, pool: redis.asyncio.ConnectionPool) -> list[TokenStore]:
    return [
        MemoryTokenStore(),
        FileTokenStore("/var/lib/app/wxmp"),
        FileTokenStore(Path("/var/lib/app/wxmp"), codec=AESGCMCodec([b"0" * 32]), timeout=2),
        RedisTokenStore("redis://localhost/0"),
        RedisTokenStore(client, prefix="shop"),
        RedisTokenStore(pool, timeout=0.5),
    ]


# ---- the token and calls of one's own


async def token_and_calls(part: FilePart) -> None:
    async with Client.from_env() as client:
        assert_type(client, Client)
        assert_type(await client.token(), str)
        assert_type(await client.refresh_token(), str)
        status = client.token_status()
        assert_type(status, TokenStatus)
        assert_type(status.seconds_left, float)
        assert_type(status.last_error, str)
        reply = await client.request("GET", "/cgi-bin/get_api_domain_ip", params={"n": 1, "flag": True, "none": None})
        assert_type(reply, JsonObject)
        await client.request("POST", "/cgi-bin/x", json={"a": ["b", 1, None, {"c": 1.5}]}, repeatable=True)
        await client.request("POST", "/cgi-bin/media/upload", params={"type": "image"}, files=[part])
        await client.request("PUT", "/cgi-bin/x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await client.request("GET", "/cgi-bin/x", None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(await client.aclose(), None)


def parts(path: Path, data: bytes) -> list[FilePart]:
    return [FilePart("media", "a.jpg", data), FilePart("media", "b.jpg", path, content_type="image/jpeg", size=5)]


# ---- errors


async def errors(client: Client) -> str:
    try:
        await client.menu.delete()
    except RateLimitError as error:
        assert_type(error.scope, str)
        return error.scope
    except ArgumentError as error:
        assert_type(error.field, str)
        problem: ValueError = error
        return str(problem)
    except (DeadTokenError, AccountError, NotAuthorizedError, RecipientError, NotFoundError, BusyError) as error:
        assert_type(error.errcode, int)
        return error.advice
    except APIError as error:
        assert_type(error.rid, str)
        assert_type(error.endpoint, str)
        assert_type(lookup(error.errcode), ErrCode)
        return error.errmsg
    except BadStatusError as error:
        assert_type(error.status, int)
        return error.message
    except (TimedOutError, TransportError) as error:
        assert_type(error.maybe_acted, bool)
        return error.endpoint
    except ReplyError as error:
        assert_type(error.body, str)
        return error.body
    except BroadcastError as error:
        assert_type(error.part, str)
        return error.part
    except (TokenStoreUnavailable, TokenStoreError) as error:
        assert_type(error.store, str)
        return error.store
    except ConfigError as error:
        mistake: ValueError = error
        return str(mistake)
    except wxmp.WxmpError as error:
        copy = error.fresh()
        assert_type(copy, WxmpError)
        raise copy from None
    return ""


# ---- the families


async def menus(client: Client) -> None:
    buttons = [
        MenuButton.click("今日歌曲", "V1001_TODAY"),
        MenuButton.sub_menu("菜单", [MenuButton.view("搜索", "https://example.com/")]),
    ]
    assert_type(await client.menu.create(buttons), None)
    assert_type(await client.menu.create(Menu(buttons)), None)
    assert_type(await client.menu.get(), Menus | None)


async def users(client: Client) -> None:
    user = await client.user.get("openid", lang="zh_CN")
    assert_type(user, UserInfo)
    assert_type(user.subscribe, bool)
    assert_type(user.subscribe_time, datetime | None)
    assert_type(user.tag_ids, tuple[int, ...])
    assert_type(user.extra, JsonObject)
    assert_type(await client.user.batch_get(["a", "b"]), tuple[UserInfo, ...])
    assert_type(await client.user.list(), OpenidPage)
    async for openid in client.user.iter_followers():
        assert_type(openid, str)
    async for each in client.user.iter_users(lang="en"):
        assert_type(each, UserInfo)
    await client.user.get("openid", lang="de")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def tags(client: Client) -> None:
    tag = await client.tag.create("VIP")
    assert_type(tag, Tag)
    assert_type(await client.tag.list(), tuple[Tag, ...])
    assert_type(await client.tag.add_members(tag.tag_id, openids={"a", "b"}), MemberChange)
    async for openid in client.tag.iter_members(tag.tag_id):
        assert_type(openid, str)


async def messages(client: Client) -> None:
    await client.custom.send("openid", "text")
    await client.custom.send("openid", CustomText("text"))
    receipt = await client.template.send("openid", template_id="id", data={"thing1": "发货通知"})
    assert_type(receipt.msg_id, int)


async def files(client: Client, path: Path, pieces: AsyncIterator[bytes]) -> None:
    def seen(done: int, total: int | None) -> None:
        print(done, total)

    uploaded = await client.media.upload(path, type="image", progress=seen)
    assert_type(uploaded, UploadedMedia)
    assert_type(uploaded.create_time, datetime)
    await client.media.upload(b"", type="voice")
    await client.media.upload(pieces, type="video", size=5, filename="a.mp4")
    await client.media.upload(path, type="film")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    file = await client.media.get(uploaded.media_id, to=path, progress=seen)
    assert_type(file, MediaFile)
    assert_type(file.path, Path | None)
    async with client.media.stream(uploaded.media_id) as stream:
        assert_type(stream, FileStream)
        async for piece in stream:
            assert_type(piece, bytes)
    assert_type(await client.material.add("cover.jpg", type="thumb"), AddedMaterial)
    assert_type(await client.material.get("id"), Material)
    assert_type(await client.material.upload_article_image(path), str)
    async for item in client.material.iter_items("image"):
        assert_type(item, MaterialItem)


async def articles(client: Client) -> None:
    article = Article("title", "<p></p>", "cover", author="a")
    media_id = await client.draft.add([article, PictureArticle("title", "", ["picture"])])
    assert_type(media_id, str)
    draft = await client.draft.get(media_id)
    assert_type(draft, NewsContent)
    assert_type(draft.news_item, tuple[NewsItem, ...])
    await client.draft.update(media_id, index=0, article=draft.news_item[0].as_article())
    page = await client.draft.list(count=5)
    assert_type(page, DraftPage)
    assert_type(page.drafts, tuple[Draft, ...])
    receipt = await client.publish.submit(media_id)
    assert_type(receipt, PublishReceipt)
    job = await client.publish.get_status(receipt.publish_id)
    assert_type(job, PublishJob)
    assert_type(job.article_urls, tuple[str, ...])
    async for publication in client.publish.iter_publications(no_content=True):
        assert_type(publication, Publication)
    assert_type(await client.comment.list(1), CommentPage)
    async for comment in client.comment.iter_comments(1, index=0):
        assert_type(comment, Comment)


async def mass_sends(client: Client) -> None:
    receipt = await client.mass.send_all(MassNews("draft"), tag_id=1)
    assert_type(receipt, MassReceipt)
    assert_type(receipt.msg_id, int | None)
    assert_type(await client.mass.send(["a", "b"], MassImages("picture")), MassReceipt)
    job = await client.mass.get_status(1)
    assert_type(job, MassJob)
    assert_type(job.msg_status, MassStatus | str)
    await client.mass.send_all("text", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def staff_and_notices(client: Client) -> None:
    assert_type(await client.kf.list_accounts(), tuple[KfAccount, ...])
    assert_type(await client.kf.get_session("openid"), KfSession | None)
    async for message in client.kf.iter_messages(datetime.now(UTC), datetime.now(UTC)):
        assert_type(message, KfMessage)
    assert_type(await client.subscribe.list_templates(), tuple[SubscribeTemplate, ...])
    assert_type(client.subscribe.consent_url("https://example.com", template_id="id", scene=1), str)
    async for title in client.subscribe.iter_public_titles([1]):
        assert_type(title, SubscribeTitle)
    assert_type(await client.autoreply.get(), AutoReplyRules)
    assert_type(await client.shorturl.fetch(await client.shorturl.create("text")), LongData)


async def statistics(client: Client, day: date) -> None:
    report = await client.datacube.get_user_summary(day, day)
    assert_type(report, Report[UserSummary])
    assert_type(report[0], UserSummary)
    assert_type(report[:2], tuple[UserSummary, ...])
    assert_type(report.rows(), list[Row])
    assert_type(report.columns, tuple[str, ...])
    for record in report:
        assert_type(record.ref_date, date)
    assert_type(await client.datacube.get_ad_slot_stats(day), AdReport[AdSlotStat, AdSlotTotals])
    async for stat in client.datacube.iter_ad_slot_stats(day, day):
        assert_type(stat, AdSlotStat)


async def recognition(client: Client, path: Path) -> None:
    assert_type(await client.ai.ocr_id_card(path), IDCard)
    assert_type(await client.ai.ocr_text(img_url="https://example.com/a.jpg"), TextScan)
    assert_type(await client.ai.get_voice_result(await client.ai.submit_voice(path)), VoiceResult)
    await client.ai.translate("茶", from_lang="zh", to_lang="en_US")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def codes_and_pages(client: Client) -> None:
    code = await client.qrcode.create("scene", permanent=True)
    assert_type(await client.qrcode.get_image(code.ticket), bytes)
    assert_type(client.qrcode.image_url(code.ticket), str)
    assert_type(await client.oauth.check_token("token", openid="openid"), bool)


# ---- the webhook


def webhooks(client: Client) -> None:
    hook = Webhook(
        token="token", encoding_aes_key=None, appid="wx", mode="plain", previous=[("old", None)], client=client
    )
    assert_type(hook.mode, Mode)
    assert_type(Webhook.from_env("WX_", client=client, window=None), Webhook)
    Webhook.from_env(windows=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    @hook.on(TextMessage)
    async def echo(message: TextMessage, client: Client) -> TextReply:
        assert_type(message.content, str)
        assert_type(message.msg_id, int | None)
        assert_type(message.created_at, datetime)
        return TextReply(message.content)

    @hook.on_event("subscribe", prefix="qrscene_")
    async def scene(event: SubscribeEvent) -> str | None:
        return event.scene

    @hook.default
    async def other(push: Push) -> None:
        assert_type(push.event, str | None)

    assert_type(echo.__name__, str)
    hook.on(int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hook.on(TextMessage)(print)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def activity(log: ActivityLog) -> None:
    window = await log.window("openid")
    assert_type(window.seconds_left, float)
    assert_type(window.messages_left, int | None)
    assert_type(await log.get("openid"), UserActivity | None)
    assert_type(await log.menus(), list[MenuKeyActivity])
