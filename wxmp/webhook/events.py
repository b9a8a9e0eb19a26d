"""What happens around the account (接收事件推送): follows, scans, menus, results of jobs, cards, reviews.

One class for each event. Names of events compare without regard to case: the platform itself writes them in several
ways. Fields are read as :mod:`wxmp.webhook.messages` says. Where an event is pushed for the record only, the docstring
says that a reply is ignored; answer it with nothing.

Several events share a base class, which handlers can be registered for: :class:`MenuEvent` is every tap on a menu.
"""

from __future__ import annotations

# ruff: noqa: RUF009 - what stands where a default stands declares a field
import re
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from wxmp._wire import wire
from wxmp.webhook.messages import (
    ALIASES,
    READ,
    Push,
    flag,
    group,
    instant,
    integer,
    integers,
    number,
    optional_text,
    read_text,
    records,
    text,
)
from wxmp.webhook.reading import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EVENTS",
    "MASS_SEND_REFUSALS",
    "AccountVerifiedEvent",
    "AddGuideBuyerRelationEvent",
    "AnnualRenewEvent",
    "ArticleDetail",
    "ArticleUrlResult",
    "AuthorizationChangeEvent",
    "Beacon",
    "CardEvent",
    "CardMerchantCheckResultEvent",
    "CardNotPassCheckEvent",
    "CardPassCheckEvent",
    "CardPayOrderEvent",
    "CardSkuRemindEvent",
    "CloudInvoiceResultEvent",
    "CopyrightCheckArticle",
    "CopyrightCheckResult",
    "CreateMapPoiAuditInfoEvent",
    "EventPush",
    "GiftCardEvent",
    "GiftCardPayDoneEvent",
    "GiftCardSendToFriendEvent",
    "GiftCardUserAcceptEvent",
    "GuideInviteResultEvent",
    "GuideQrcodeScanEvent",
    "GuideScan",
    "KfCloseSessionEvent",
    "KfCreateSessionEvent",
    "KfSessionEvent",
    "KfSwitchSessionEvent",
    "LocationReportEvent",
    "LocationSelectEvent",
    "MassSendArticleUrl",
    "MassSendJobFinishEvent",
    "MenuClickEvent",
    "MenuEvent",
    "MenuMediaIdEvent",
    "MenuViewEvent",
    "MenuViewLimitedEvent",
    "MenuViewMiniProgramEvent",
    "MerchantOrderEvent",
    "NamingVerifyFailEvent",
    "NamingVerifySuccessEvent",
    "PicInfo",
    "PicPhotoOrAlbumEvent",
    "PicSysPhotoEvent",
    "PicWeixinEvent",
    "PicturesEvent",
    "PoiCheckNotifyEvent",
    "ProductEvent",
    "PublishEventInfo",
    "PublishJobFinishEvent",
    "PublishedArticle",
    "QualificationVerifyFailEvent",
    "QualificationVerifySuccessEvent",
    "ScanCodeEvent",
    "ScanCodeInfo",
    "ScanCodePushEvent",
    "ScanCodeWaitMsgEvent",
    "ScanEvent",
    "SendLocationInfo",
    "SendPicsInfo",
    "ShakearoundUserShakeEvent",
    "SubmitInvoiceTitleEvent",
    "SubmitMemberCardUserInfoEvent",
    "SubscribeEvent",
    "SubscribeMsgChange",
    "SubscribeMsgChangeEvent",
    "SubscribeMsgPopup",
    "SubscribeMsgPopupEvent",
    "SubscribeMsgSent",
    "SubscribeMsgSentEvent",
    "TemplateSendJobFinishEvent",
    "UnknownEvent",
    "UnsubscribeEvent",
    "UpdateInvoiceStatusEvent",
    "UpdateMemberCardEvent",
    "UserAuthorizationCancellationEvent",
    "UserAuthorizationRevokeEvent",
    "UserAuthorizeInvoiceEvent",
    "UserCardEvent",
    "UserConsumeCardEvent",
    "UserDelCardEvent",
    "UserEnterSessionFromCardEvent",
    "UserEnterTempSessionEvent",
    "UserGetCardEvent",
    "UserGiftingCardEvent",
    "UserInfoModifiedEvent",
    "UserPayFromPayCellEvent",
    "UserScanProductAsyncEvent",
    "UserScanProductEnterSessionEvent",
    "UserScanProductEvent",
    "UserScanProductVerifyActionEvent",
    "UserViewCardEvent",
    "VerificationFailedEvent",
    "VerifyExpiredEvent",
    "WifiConnectedEvent",
    "WxVerifyDispatchEvent",
    "WxVerifyFailEvent",
    "WxVerifyPaySuccEvent",
    "WxVerifyRefillEvent",
    "WxaMediaCheckEvent",
]

SCENE_PREFIX: Final = "qrscene_"
TRADE_PREFIX: Final = "last_trade_no_"
PRODUCT_PREFIXES: Final = ("scanbarcode|", "scanimage|")
#: Numbers of the content check are written without their sign.
UNSIGNED_END: Final = 1 << 32
SIGNED_END: Final = 1 << 31

_MASS_SEND_ERROR: Final = re.compile(r"err\(([0-9]{1,9})\)")

#: Why a mass send was refused, by the number in its status (群发失败原因).
MASS_SEND_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(
    {
        10001: "suspected advertising",
        20001: "suspected politics",
        20002: "suspected pornography",
        20004: "suspected harm to society",
        20006: "suspected crime",
        20008: "suspected fraud",
        20013: "suspected breach of copyright",
        21000: "suspected for another reason",
        22000: "suspected mutual promotion",
        30001: "the originality check failed with a system error, and reprints were not to be sent",
        30002: "the originality check decided that it may not be sent",
        30003: "judged a reprint, and reprints were not to be sent",
        40001: "rejected by the administrator",
        40002: "the administrator did not answer within 30 minutes",
    }
)


def _squeeze(status: str) -> str:
    """Return a status as it compares: the platform's blanks vary."""
    return "".join(status.split()).lower()


# An undecorated class below adds no attribute to its base: it is the same record under another name. Making it with
# attrs would cost a millisecond for each, at the first event.


@attrs.frozen(kw_only=True)
class EventPush(Push):
    """Anything that happened (事件推送)."""

    type_name: ClassVar[str] = "event"
    #: The event of this class, as the platform's documents spell it.
    event_name: ClassVar[str] = ""
    #: Other names of it.
    event_aliases: ClassVar[tuple[str, ...]] = ()

    #: As sent; compare it without regard to case.
    event: str = attrs.field(  # pyright: ignore[reportIncompatibleMethodOverride] - an attribute that is only read
        default=attrs.Factory(lambda self: self.event_name, takes_self=True),
        metadata={**wire("Event"), READ: read_text, ALIASES: ()},
    )
    #: Events have none, except for the results of jobs.
    msg_id: int | None = integer("MsgId")

    @property
    def key(self) -> str | None:
        """The event's key (EventKey); None without one or if it is empty."""
        return read_text(self.raw.get("EventKey")) or None


@attrs.frozen(kw_only=True)
class UnknownEvent(EventPush):
    """An event that this version does not know; ``extra`` has its fields."""

    #: All fields as they came.
    raw: Fields = attrs.field(factory=dict, hash=False)


# ---- follow, scan, position


@attrs.frozen(kw_only=True)
class SubscribeEvent(EventPush):
    """A user follows the account (关注事件). A reply is shown.

    Whoever follows already and scans a code causes a :class:`ScanEvent`.
    """

    event_name: ClassVar[str] = "subscribe"

    #: What led to the follow, with a prefix; None or empty for an ordinary follow.
    event_key: str | None = optional_text("EventKey")
    #: Ticket of the QR code; None without one.
    ticket: str | None = optional_text("Ticket")

    @property
    def key(self) -> str | None:
        """The event's key with its prefix (EventKey); None without one or if it is empty."""
        return self.event_key or None

    @property
    def scene(self) -> str | None:
        """The scene of the QR code that was scanned (二维码场景值); None if the user did not come by a code."""
        key = self.event_key or ""
        # Once: the scene itself may begin with the prefix.
        return key.removeprefix(SCENE_PREFIX) if key.startswith(SCENE_PREFIX) else None

    @property
    def transaction_id(self) -> str | None:
        """The WeChat Pay transaction that led to the follow (支付后关注); None if there was none."""
        key = self.event_key or ""
        return key.removeprefix(TRADE_PREFIX) if key.startswith(TRADE_PREFIX) else None

    @property
    def product(self) -> tuple[str, str] | None:
        """Standard and code of the product whose page led to the follow (扫商品关注); a retired product."""
        key = self.event_key or ""
        if not key.startswith(PRODUCT_PREFIXES):
            return None
        _, standard, code = (*key.split("|", 2), "")[:3]
        return standard, code


@attrs.frozen(kw_only=True)
class UnsubscribeEvent(EventPush):
    """A user leaves the account (取消关注事件). A reply is ignored.

    The platform's terms require that the personal data of the user is deleted now.
    """

    event_name: ClassVar[str] = "unsubscribe"

    #: Usually there and empty.
    event_key: str | None = optional_text("EventKey")

    @property
    def key(self) -> str | None:
        """The event's key (EventKey); None without one or if it is empty."""
        return self.event_key or None


@attrs.frozen(kw_only=True)
class ScanEvent(EventPush):
    """A follower scans a QR code of the account (已关注用户扫描带参数二维码事件). A reply is shown."""

    event_name: ClassVar[str] = "SCAN"

    #: The scene, without a prefix.
    event_key: str = text("EventKey")
    #: Ticket of the QR code.
    ticket: str = text("Ticket")

    @property
    def key(self) -> str | None:
        """The scene (EventKey); None if it is empty."""
        return self.event_key or None

    @property
    def scene(self) -> str | None:
        """The scene of the QR code (二维码场景值), numbers as text; None if it is empty."""
        return self.event_key or None


@attrs.frozen(kw_only=True)
class LocationReportEvent(EventPush):
    """The position of a user, who agreed to report it (上报地理位置事件). A reply is ignored.

    It comes when the user enters the chat, or every 5 seconds while the user is there, often together with others.
    """

    event_name: ClassVar[str] = "LOCATION"

    #: Degrees.
    latitude: float | None = number("Latitude")
    #: Degrees.
    longitude: float | None = number("Longitude")
    #: Metres.
    precision: float | None = number("Precision")


# ---- custom menu


@attrs.frozen(kw_only=True)
class MenuEvent(EventPush):
    """A tap on the menu (自定义菜单事件). Opening a sub-menu reports nothing."""

    #: Key of the button; its URL or page path for a link.
    event_key: str = text("EventKey")
    #: Id of the conditional menu (个性化菜单) that the user sees.
    menu_id: int | None = integer("MenuId", "MenuID")

    @property
    def key(self) -> str | None:
        """Key of the button (EventKey); None if it is empty."""
        return self.event_key or None


class MenuClickEvent(MenuEvent):
    """A tap on a button that sends its key (点击菜单拉取消息事件). A reply is shown."""

    __slots__ = ()
    event_name: ClassVar[str] = "CLICK"


class MenuViewEvent(MenuEvent):
    """A tap on a link (点击菜单跳转链接事件); the key is its URL. A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "VIEW"


class MenuViewMiniProgramEvent(MenuEvent):
    """A tap on a button that opens a mini program (点击菜单跳转小程序事件); the key is its page path.

    A reply is ignored.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "view_miniprogram"


class MenuMediaIdEvent(MenuEvent):
    """A tap on a button that sends a material (点击菜单下发消息事件); the key is its media id. Seldom pushed."""

    __slots__ = ()
    event_name: ClassVar[str] = "media_id"


class MenuViewLimitedEvent(MenuEvent):
    """A tap on a button that opens an article (点击菜单跳转图文消息事件); the key is its media id. Seldom pushed."""

    __slots__ = ()
    event_name: ClassVar[str] = "view_limited"


@attrs.frozen(kw_only=True)
class ScanCodeInfo:
    """What was scanned from the menu (扫描信息)."""

    #: ``qrcode`` or ``barcode``.
    scan_type: str = text("ScanType")
    #: The text of the code. A barcode has its standard before it: ``EAN_13,6911316223400``.
    scan_result: str = text("ScanResult")


@attrs.frozen(kw_only=True)
class ScanCodeEvent(MenuEvent):
    """A scan that began in the menu (菜单扫码事件)."""

    scan_code_info: ScanCodeInfo | None = group("ScanCodeInfo", ScanCodeInfo)


class ScanCodePushEvent(ScanCodeEvent):
    """A scan from the menu; the client shows what it scanned (扫码推事件)."""

    __slots__ = ()
    event_name: ClassVar[str] = "scancode_push"


class ScanCodeWaitMsgEvent(ScanCodeEvent):
    """A scan from the menu; the client shows a box until the answer comes (扫码推事件且弹出“消息接收中”提示框).

    A reply is shown.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "scancode_waitmsg"


@attrs.frozen(kw_only=True)
class PicInfo:
    """A picture that was sent from the menu (图片信息)."""

    #: MD5 of the picture, which follows as an image message.
    pic_md5_sum: str = text("PicMd5Sum")


@attrs.frozen(kw_only=True)
class SendPicsInfo:
    """The pictures that were sent from the menu (发送的图片信息)."""

    #: As sent. It may differ from the number of entries in the list; the list is right.
    count: int | None = integer("Count")
    pic_list: tuple[PicInfo, ...] = records("PicList", PicInfo, item="item")


@attrs.frozen(kw_only=True)
class PicturesEvent(MenuEvent):
    """Pictures sent from the menu (菜单发图事件). The pictures follow as image messages."""

    send_pics_info: SendPicsInfo | None = group("SendPicsInfo", SendPicsInfo)


class PicSysPhotoEvent(PicturesEvent):
    """Photos taken from the menu (弹出系统拍照发图的事件)."""

    __slots__ = ()
    event_name: ClassVar[str] = "pic_sysphoto"


class PicPhotoOrAlbumEvent(PicturesEvent):
    """Photos taken or chosen from the menu (弹出拍照或者相册发图的事件)."""

    __slots__ = ()
    event_name: ClassVar[str] = "pic_photo_or_album"


class PicWeixinEvent(PicturesEvent):
    """Pictures chosen from the menu in WeChat's album (弹出微信相册发图器的事件)."""

    __slots__ = ()
    event_name: ClassVar[str] = "pic_weixin"


@attrs.frozen(kw_only=True)
class SendLocationInfo:
    """The place that was chosen from the menu (发送的位置信息)."""

    #: Degrees of latitude, whatever the letter suggests.
    location_x: float | None = number("Location_X")
    #: Degrees of longitude.
    location_y: float | None = number("Location_Y")
    #: Zoom of the map.
    scale: float | None = number("Scale")
    #: Address of the place; may begin with a space.
    label: str = text("Label")
    #: Name of the place; often empty.
    poiname: str | None = optional_text("Poiname")

    @property
    def latitude(self) -> float | None:
        """Degrees of latitude (地理位置纬度)."""
        return self.location_x

    @property
    def longitude(self) -> float | None:
        """Degrees of longitude (地理位置经度)."""
        return self.location_y


@attrs.frozen(kw_only=True)
class LocationSelectEvent(MenuEvent):
    """A place chosen from the menu (弹出地理位置选择器的事件). The place follows as a location message."""

    event_name: ClassVar[str] = "location_select"

    send_location_info: SendLocationInfo | None = group("SendLocationInfo", SendLocationInfo)


# ---- results of jobs


@attrs.frozen(kw_only=True)
class TemplateSendJobFinishEvent(EventPush):
    """A template message was delivered, or was not (模版消息发送任务完成). A reply is ignored."""

    event_name: ClassVar[str] = "TEMPLATESENDJOBFINISH"

    #: What ``template.send`` returned.
    msg_id: int | None = integer("MsgID", "MsgId")
    #: ``success``, ``failed:user block`` or ``failed: system failed``; its blanks vary.
    status: str = text("Status")

    @property
    def ok(self) -> bool:
        """Whether the user got it (送达成功)."""
        return _squeeze(self.status) == "success"

    @property
    def blocked(self) -> bool:
        """Whether the user refuses messages of the account (用户拒收)."""
        return _squeeze(self.status) == "failed:userblock"


@attrs.frozen(kw_only=True)
class CopyrightCheckArticle:
    """What the originality check says about one article (单图文校验结果)."""

    #: Position among the articles, from 1.
    article_idx: int | None = integer("ArticleIdx")
    #: What the sender declared (用户声明文章的状态).
    user_declare_state: int | None = integer("UserDeclareState")
    #: What the check found (系统校验的状态).
    audit_state: int | None = integer("AuditState")
    #: Address of the similar original.
    original_article_url: str = text("OriginalArticleUrl")
    #: Kind of the similar original (相似原创文的类型).
    original_article_type: int | None = integer("OriginalArticleType")
    can_reprint: bool | None = flag("CanReprint")
    #: The content has to be replaced by the original's.
    need_replace_content: bool | None = flag("NeedReplaceContent")
    #: The source of the reprint has to be shown.
    need_show_reprint_source: bool | None = flag("NeedShowReprintSource")


@attrs.frozen(kw_only=True)
class CopyrightCheckResult:
    """What the originality check says about a mass send (原创校验结果)."""

    count: int | None = integer("Count")
    result_list: tuple[CopyrightCheckArticle, ...] = records("ResultList", CopyrightCheckArticle, item="item")
    #: 1 no reprint, may be sent; 2 a reprint, may be sent; 3 a reprint, may not be sent.
    check_state: int | None = integer("CheckState")


@attrs.frozen(kw_only=True)
class MassSendArticleUrl:
    """Address of one article of a mass send (群发文章的地址)."""

    #: Position among the articles, from 1.
    article_idx: int | None = integer("ArticleIdx")
    article_url: str = text("ArticleUrl")


@attrs.frozen(kw_only=True)
class ArticleUrlResult:
    """Addresses of the articles of a mass send (群发文章的地址列表)."""

    count: int | None = integer("Count")
    result_list: tuple[MassSendArticleUrl, ...] = records("ResultList", MassSendArticleUrl, item="item")


@attrs.frozen(kw_only=True)
class MassSendJobFinishEvent(EventPush):
    """A mass send is done (事件推送群发结果). A reply is ignored."""

    event_name: ClassVar[str] = "MASSSENDJOBFINISH"

    #: What the mass send returned as ``msg_id``.
    msg_id: int | None = integer("MsgID", "MsgId")
    #: ``send success``, ``send fail`` or ``err(10001)`` ...; see :attr:`refusal`.
    status: str = text("Status")
    #: Followers in the group, or openids.
    total_count: int | None = integer("TotalCount")
    #: Left after the filters (region, sex, refusal, limit of the user): ``sent_count + error_count``.
    filter_count: int | None = integer("FilterCount")
    sent_count: int | None = integer("SentCount")
    error_count: int | None = integer("ErrorCount")
    copyright_check_result: CopyrightCheckResult | None = group("CopyrightCheckResult", CopyrightCheckResult)
    article_url_result: ArticleUrlResult | None = group("ArticleUrlResult", ArticleUrlResult)

    @property
    def ok(self) -> bool:
        """Whether the send succeeded (群发成功)."""
        return _squeeze(self.status) == "sendsuccess"

    @property
    def refusal_code(self) -> int | None:
        """The number in a status such as ``err(10001)``; None for other ones."""
        found = _MASS_SEND_ERROR.fullmatch(_squeeze(self.status))
        return int(found.group(1)) if found else None

    @property
    def refusal(self) -> str | None:
        """Why it was refused (审核失败的原因), in English; None if it was not, or the number is not known."""
        code = self.refusal_code
        return None if code is None else MASS_SEND_REFUSALS.get(code)


@attrs.frozen(kw_only=True)
class PublishedArticle:
    """One article of a publication (已发布的文章)."""

    #: Position among the articles, from 1.
    idx: int | None = integer("idx")
    article_url: str = text("article_url")


@attrs.frozen(kw_only=True)
class ArticleDetail:
    """The articles of a publication (已发布的文章列表)."""

    count: int | None = integer("count")
    items: tuple[PublishedArticle, ...] = records("item", PublishedArticle)


@attrs.frozen(kw_only=True)
class PublishEventInfo:
    """How a publication ended (发布结果)."""

    #: As ``client.publish.submit`` returned it.
    publish_id: str | None = optional_text("publish_id")
    #: 0 done, 1 in work, 2 failed the originality check, 3 failed, 4 rejected by the platform's review, 5 done and all
    #: deleted by the user since, 6 done and all banned by the system since.
    publish_status: int | None = integer("publish_status")
    #: With status 0 only.
    article_id: str | None = optional_text("article_id")
    #: With status 0 only.
    article_detail: ArticleDetail | None = group("article_detail", ArticleDetail)
    #: Positions of the rejected articles, from 1; with status 2 or 4.
    fail_idx: tuple[int, ...] = integers("fail_idx")


@attrs.frozen(kw_only=True)
class PublishJobFinishEvent(EventPush):
    """A publication is done (事件推送发布结果). A reply is ignored."""

    event_name: ClassVar[str] = "PUBLISHJOBFINISH"
    event_aliases: ClassVar[tuple[str, ...]] = ("FREEPUBLISHJOBFINISH",)

    publish_event_info: PublishEventInfo | None = group("PublishEventInfo", PublishEventInfo)

    @property
    def ok(self) -> bool:
        """Whether it is published (发布成功)."""
        return self.publish_event_info is not None and self.publish_event_info.publish_status == 0


# ---- subscription notifications. XML has the list inside a wrapper called like the event, JSON has it at the top, and
# an early sample of the platform has the wrapper of another event.


@attrs.frozen(kw_only=True)
class SubscribeMsgPopup:
    """What a user chose for one template in the box (订阅通知弹窗的选择)."""

    template_id: str = text("TemplateId")
    #: ``accept`` or ``reject``.
    subscribe_status_string: str = text("SubscribeStatusString")
    #: 1 an H5 page, 2 an article; JSON has 0.
    popup_scene: int | None = integer("PopupScene")

    @property
    def accepted(self) -> bool:
        """Whether the user accepts messages of this template (同意订阅)."""
        return self.subscribe_status_string == "accept"


@attrs.frozen(kw_only=True)
class SubscribeMsgPopupEvent(EventPush):
    """A user chose in the box that asks for notifications (用户操作订阅通知弹窗事件). A reply is ignored."""

    event_name: ClassVar[str] = "subscribe_msg_popup_event"

    entries: tuple[SubscribeMsgPopup, ...] = records(
        "SubscribeMsgPopupEvent", SubscribeMsgPopup, "SubscribeMsgChangeEvent", "List", item="List"
    )


@attrs.frozen(kw_only=True)
class SubscribeMsgChange:
    """What a user changed for one template in the settings (订阅通知的管理)."""

    template_id: str = text("TemplateId")
    #: Only ``reject`` is pushed.
    subscribe_status_string: str = text("SubscribeStatusString")

    @property
    def accepted(self) -> bool:
        """Whether the user accepts messages of this template (同意订阅)."""
        return self.subscribe_status_string == "accept"


@attrs.frozen(kw_only=True)
class SubscribeMsgChangeEvent(EventPush):
    """A user refused notifications in the settings (用户管理订阅通知事件). A reply is ignored."""

    event_name: ClassVar[str] = "subscribe_msg_change_event"

    entries: tuple[SubscribeMsgChange, ...] = records(
        "SubscribeMsgChangeEvent", SubscribeMsgChange, "SubscribeMsgPopupEvent", "List", item="List"
    )


@attrs.frozen(kw_only=True)
class SubscribeMsgSent:
    """How the delivery of one notification ended (订阅通知的发送结果)."""

    template_id: str = text("TemplateId")
    #: What sending returned.
    msg_id: int | None = integer("MsgID", "MsgId")
    #: 0 for delivered.
    error_code: int | None = integer("ErrorCode")
    error_status: str = text("ErrorStatus")

    @property
    def ok(self) -> bool:
        """Whether the user got it (送达成功)."""
        return self.error_code == 0


@attrs.frozen(kw_only=True)
class SubscribeMsgSentEvent(EventPush):
    """A notification was delivered, or was not (发送订阅通知事件). A reply is ignored."""

    event_name: ClassVar[str] = "subscribe_msg_sent_event"

    entries: tuple[SubscribeMsgSent, ...] = records("SubscribeMsgSentEvent", SubscribeMsgSent, "List", item="List")


# ---- customer-service sessions


@attrs.frozen(kw_only=True)
class KfSessionEvent(EventPush):
    """A session with the customer service begins or ends (客服会话事件)."""

    #: Member of the staff, ``name@account``.
    kf_account: str = text("KfAccount")


class KfCreateSessionEvent(KfSessionEvent):
    """A session with the customer service begins (接入会话). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "kf_create_session"


class KfCloseSessionEvent(KfSessionEvent):
    """A session with the customer service ends (关闭会话). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "kf_close_session"


@attrs.frozen(kw_only=True)
class KfSwitchSessionEvent(EventPush):
    """A session goes from one member of the staff to another (转接会话). A reply is ignored."""

    event_name: ClassVar[str] = "kf_switch_session"

    from_kf_account: str = text("FromKfAccount")
    to_kf_account: str = text("ToKfAccount")


# ---- what users changed about their data


@attrs.frozen(kw_only=True)
class AuthorizationChangeEvent(EventPush):
    """A user changed the data that the account may have (授权用户信息变更).

    The sender is an account of the platform.
    """

    #: The user whose data it is; :attr:`openid` is the same.
    affected_openid: str = text("OpenID", "openid")
    appid: str = text("AppID", "appid")
    unionid: str | None = optional_text("UnionID", "unionid")
    #: What was revoked: 201 address, 202 invoice, 203 card, 204 microphone, 205 nickname and avatar, 206 position,
    #: 207 chosen pictures and videos; 301 everything (website). Other numbers belong to mini programs.
    revoke_info: str | None = optional_text("RevokeInfo")

    @property
    def openid(self) -> str:
        """The user whose data it is."""
        return self.affected_openid or self.from_user_name


class UserInfoModifiedEvent(AuthorizationChangeEvent):
    """A user changed nickname or avatar (授权用户资料变更). A reply is ignored.

    It comes for those who authorised within the last 30 days: fetch the profile again, or delete it.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "user_info_modified"


class UserAuthorizationRevokeEvent(AuthorizationChangeEvent):
    """A user takes an authorisation back (授权用户撤回授权). A reply is ignored.

    Delete the data that ``revoke_info`` names.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "user_authorization_revoke"


class UserAuthorizationCancellationEvent(AuthorizationChangeEvent):
    """A user closed the WeChat account (授权用户注销). A reply is ignored. Delete the user's data."""

    __slots__ = ()
    event_name: ClassVar[str] = "user_authorization_cancellation"


# ---- verification of the account


@attrs.frozen(kw_only=True)
class AccountVerifiedEvent(EventPush):
    """Until when the account is verified (微信认证有效期)."""

    #: When the verification ends, or ended.
    expired_time: datetime | None = instant("ExpiredTime")


@attrs.frozen(kw_only=True)
class VerificationFailedEvent(EventPush):
    """A verification failed (微信认证失败)."""

    fail_time: datetime | None = instant("FailTime")
    fail_reason: str = text("FailReason")


class QualificationVerifySuccessEvent(AccountVerifiedEvent):
    """The company is verified (资质认证成功); the interfaces can be used from now on. A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "qualification_verify_success"


class QualificationVerifyFailEvent(VerificationFailedEvent):
    """The company could not be verified (资质认证失败). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "qualification_verify_fail"


class NamingVerifySuccessEvent(AccountVerifiedEvent):
    """The name is verified (名称认证成功). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "naming_verify_success"


class NamingVerifyFailEvent(VerificationFailedEvent):
    """The name could not be verified (名称认证失败); the interfaces stay. A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "naming_verify_fail"


class AnnualRenewEvent(AccountVerifiedEvent):
    """The verification has to be renewed (年审通知). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "annual_renew"


class VerifyExpiredEvent(AccountVerifiedEvent):
    """The verification has ended (认证过期失效通知). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "verify_expired"


class WxVerifyPaySuccEvent(EventPush):
    """The verification is paid (微信认证支付成功). A reply is ignored. Its fields are not documented."""

    __slots__ = ()
    event_name: ClassVar[str] = "wx_verify_pay_succ"


class WxVerifyDispatchEvent(EventPush):
    """A reviewer has been found for the verification (微信认证派单). A reply is ignored.

    Its fields are not documented.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "wx_verify_dispatch"


@attrs.frozen(kw_only=True)
class WxVerifyRefillEvent(EventPush):
    """The verification has to be handed in again (微信认证打回重填). A reply is ignored."""

    event_name: ClassVar[str] = "wx_verify_refill"

    refill_time: datetime | None = instant("RefillTime")
    refill_reason: str | None = optional_text("RefillReason")


class WxVerifyFailEvent(VerificationFailedEvent):
    """The verification is rejected for good (微信认证失败). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "wx_verify_fail"


# ---- cards


@attrs.frozen(kw_only=True)
class CardEvent(EventPush):
    """Something happened to a card (卡券事件)."""

    card_id: str = text("CardId")


@attrs.frozen(kw_only=True)
class UserCardEvent(CardEvent):
    """Something happened to the card of one user (用户卡券事件)."""

    #: Code of this user's card; it may begin with zeros.
    user_card_code: str = text("UserCardCode")


@attrs.frozen(kw_only=True)
class CardPassCheckEvent(CardEvent):
    """A card passed the review (卡券通过审核). A reply is ignored."""

    event_name: ClassVar[str] = "card_pass_check"

    #: In old pushes, here too.
    refuse_reason: str | None = optional_text("RefuseReason")


@attrs.frozen(kw_only=True)
class CardNotPassCheckEvent(CardEvent):
    """A card did not pass the review (卡券未通过审核). A reply is ignored."""

    event_name: ClassVar[str] = "card_not_pass_check"

    refuse_reason: str = text("RefuseReason")


@attrs.frozen(kw_only=True)
class UserGetCardEvent(UserCardEvent):
    """A user takes a card (用户领取卡券). A reply is ignored."""

    event_name: ClassVar[str] = "user_get_card"

    is_give_by_friend: bool | None = flag("IsGiveByFriend")
    #: The user who gave it.
    friend_user_name: str | None = optional_text("FriendUserName")
    #: Channel, as a number (old).
    outer_id: int | None = integer("OuterId")
    #: Code before the gift.
    old_user_card_code: str | None = optional_text("OldUserCardCode")
    #: Channel.
    outer_str: str | None = optional_text("OuterStr")
    #: The user had deleted the membership card and takes it back.
    is_restore_member_card: bool | None = flag("IsRestoreMemberCard")
    is_recommend_by_friend: bool | None = flag("IsRecommendByFriend")
    unionid: str | None = optional_text("UnionId")


@attrs.frozen(kw_only=True)
class UserGiftingCardEvent(UserCardEvent):
    """A user gives a card away (转赠卡券). A reply is ignored."""

    event_name: ClassVar[str] = "user_gifting_card"

    #: The gift came back.
    is_return_back: bool | None = flag("IsReturnBack")
    #: The user who gets it.
    friend_user_name: str | None = optional_text("FriendUserName")
    #: Given in a group chat.
    is_chat_room: bool | None = flag("IsChatRoom")


class UserDelCardEvent(UserCardEvent):
    """A user deletes a card (用户删除卡券). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "user_del_card"


@attrs.frozen(kw_only=True)
class UserConsumeCardEvent(UserCardEvent):
    """A card is redeemed (核销卡券). A reply is ignored."""

    event_name: ClassVar[str] = "user_consume_card"

    #: ``FROM_API``, ``FROM_MP`` or ``FROM_MOBILE_HELPER``.
    consume_source: str = text("ConsumeSource")
    #: Name of the store.
    location_name: str | None = optional_text("LocationName")
    #: Member of the staff.
    staff_openid: str | None = optional_text("StaffOpenId")
    verify_code: str | None = optional_text("VerifyCode")
    remark_amount: str | None = optional_text("RemarkAmount")
    #: Channel.
    outer_str: str | None = optional_text("OuterStr")


@attrs.frozen(kw_only=True)
class UserPayFromPayCellEvent(UserCardEvent):
    """A user pays with a card (微信买单). A reply is ignored."""

    event_name: ClassVar[str] = "user_pay_from_pay_cell"

    #: WeChat Pay transaction.
    transaction_id: str = text("TransId")
    #: The store.
    location_id: int | None = integer("LocationId")
    #: Paid, in fen.
    fee_fen: int | None = integer("Fee")
    #: Before the discount, in fen.
    original_fee_fen: int | None = integer("OriginalFee")


@attrs.frozen(kw_only=True)
class UserViewCardEvent(UserCardEvent):
    """A user opens a membership card (进入会员卡). A reply is ignored."""

    event_name: ClassVar[str] = "user_view_card"

    #: Channel.
    outer_str: str | None = optional_text("OuterStr")


class UserEnterSessionFromCardEvent(UserCardEvent):
    """A user enters the chat from a card (从卡券进入公众号会话)."""

    __slots__ = ()
    event_name: ClassVar[str] = "user_enter_session_from_card"


@attrs.frozen(kw_only=True)
class UpdateMemberCardEvent(UserCardEvent):
    """The content of a membership card changed (会员卡内容更新). A reply is ignored."""

    event_name: ClassVar[str] = "update_member_card"

    #: Change of the points.
    modify_bonus: int | None = integer("ModifyBonus")
    #: Change of the balance.
    modify_balance: int | None = integer("ModifyBalance")


@attrs.frozen(kw_only=True)
class CardSkuRemindEvent(CardEvent):
    """The stock of a card fell from over 200 to 100 or less (库存报警). A reply is ignored.

    It comes at most once in 12 hours.
    """

    event_name: ClassVar[str] = "card_sku_remind"

    detail: str = text("Detail")


@attrs.frozen(kw_only=True)
class CardPayOrderEvent(EventPush):
    """An entry in the account of coupon coins (券点流水详情事件). A reply is ignored. It names no card."""

    event_name: ClassVar[str] = "card_pay_order"

    order_id: str = text("OrderId")
    #: ``ORDER_STATUS_FINANCE_SUCC`` ...
    status: str = text("Status")
    create_order_time: datetime | None = instant("CreateOrderTime")
    #: None if nothing was paid.
    pay_finish_time: datetime | None = instant("PayFinishTime")
    desc: str | None = optional_text("Desc")
    free_coin_count: int | None = integer("FreeCoinCount")
    pay_coin_count: int | None = integer("PayCoinCount")
    refund_free_coin_count: int | None = integer("RefundFreeCoinCount")
    refund_pay_coin_count: int | None = integer("RefundPayCoinCount")
    #: ``ORDER_TYPE_SYS_ADD`` ...
    order_type: str = text("OrderType")
    memo: str | None = optional_text("Memo")
    receipt_info: str | None = optional_text("ReceiptInfo")


class SubmitMemberCardUserInfoEvent(UserCardEvent):
    """A user filled in the form of a membership card (会员卡激活事件). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "submit_membercard_user_info"


@attrs.frozen(kw_only=True)
class CardMerchantCheckResultEvent(EventPush):
    """A sub-merchant passed the review, or did not (子商户审核事件). A reply is ignored."""

    event_name: ClassVar[str] = "card_merchant_check_result"

    merchant_id: int | None = integer("MerchantId")
    is_pass: bool | None = flag("IsPass")
    reason: str | None = optional_text("Reason")


@attrs.frozen(kw_only=True)
class GiftCardEvent(EventPush):
    """Something happened to an order of gift cards (礼品卡事件)."""

    #: The shelf (货架).
    page_id: str = text("PageId")
    order_id: str = text("OrderId")


class GiftCardPayDoneEvent(GiftCardEvent):
    """A user paid for gift cards (用户购买礼品卡付款成功). A reply is ignored."""

    __slots__ = ()
    event_name: ClassVar[str] = "giftcard_pay_done"


@attrs.frozen(kw_only=True)
class GiftCardSendToFriendEvent(GiftCardEvent):
    """A user gives a bought gift card away (用户购买后赠送). A reply is ignored."""

    event_name: ClassVar[str] = "giftcard_send_to_friend"

    #: Given in a group chat. The wire has ``true`` and ``false`` in words here.
    is_chat_room: bool | None = flag("IsChatRoom")
    #: Nobody took it and it came back.
    is_return_back: bool | None = flag("IsReturnBack")


@attrs.frozen(kw_only=True)
class GiftCardUserAcceptEvent(GiftCardEvent):
    """A user takes a gift card (用户领取礼品卡成功). A reply is ignored."""

    event_name: ClassVar[str] = "giftcard_user_accept"

    #: Taken in a group chat. The wire has ``true`` and ``false`` in words here.
    is_chat_room: bool | None = flag("IsChatRoom")


# ---- invoices


@attrs.frozen(kw_only=True)
class UserAuthorizeInvoiceEvent(EventPush):
    """A user authorises an invoice (用户授权开票). A reply is ignored."""

    event_name: ClassVar[str] = "user_authorize_invoice"

    #: Either this or ``fail_order_id`` is filled.
    succ_order_id: str | None = optional_text("SuccOrderId")
    fail_order_id: str | None = optional_text("FailOrderId")
    #: The account whose page asked for it; later pushes say ``authorize_appid``.
    appid: str | None = optional_text("AppId")
    authorize_appid: str | None = optional_text("AuthorizeAppId")
    #: ``web``, ``app``, ``wxa`` or ``wap``.
    source: str | None = optional_text("Source", "source")


@attrs.frozen(kw_only=True)
class UpdateInvoiceStatusEvent(EventPush):
    """The status of an invoice changed (发票状态更新). A reply is ignored."""

    event_name: ClassVar[str] = "update_invoice_status"

    #: ``INVOICE_REIMBURSE_INIT``, ``INVOICE_REIMBURSE_LOCK`` or ``INVOICE_REIMBURSE_CLOSURE``.
    status: str = text("Status")
    card_id: str = text("CardId")
    code: str = text("Code")


@attrs.frozen(kw_only=True)
class SubmitInvoiceTitleEvent(EventPush):
    """A user hands in the title of an invoice (用户提交发票抬头). A reply is ignored."""

    event_name: ClassVar[str] = "submit_invoice_title"

    title: str = text("title")
    #: Tax number.
    tax_no: str | None = optional_text("tax_no")
    addr: str | None = optional_text("addr")
    phone: str | None = optional_text("phone")
    #: Name of the bank.
    bank_type: str | None = optional_text("bank_type")
    #: Number of the bank account.
    bank_no: str | None = optional_text("bank_no")
    #: What the scanned code carried.
    attach: str | None = optional_text("attach")
    #: ``InvoiceUserTitlePersonType`` or ``InvoiceUserTitleBusinessType``.
    title_type: str = text("title_type")


@attrs.frozen(kw_only=True)
class CloudInvoiceResultEvent(EventPush):
    """A cloud invoice is issued, or is not (云发票开票结果). A reply is ignored."""

    event_name: ClassVar[str] = "cloud_invoice_invoiceresult_event"

    #: Serial number of the request (发票请求流水号).
    fpqqlsh: str = text("fpqqlsh")
    status: int | None = integer("status")
    #: Tax number of the seller (纳税人识别号).
    nsrsbh: str = text("nsrsbh")


# ---- stores, guides, checks of content


@attrs.frozen(kw_only=True)
class PoiCheckNotifyEvent(EventPush):
    """A store passed the review, or did not (门店审核事件). A reply is ignored."""

    event_name: ClassVar[str] = "poi_check_notify"

    #: Our own id of the store.
    uniq_id: str = text("UniqId")
    #: The platform's id of the store.
    poi_id: str = text("PoiId")
    #: ``succ`` or ``fail``.
    result: str = text("Result")
    #: Why.
    msg: str | None = optional_text("msg", "Msg")


@attrs.frozen(kw_only=True)
class CreateMapPoiAuditInfoEvent(EventPush):
    """A store on the map passed the review, or did not (腾讯地图创建门店审核结果). A reply is ignored."""

    event_name: ClassVar[str] = "create_map_poi_audit_info"

    audit_id: int | None = integer("audit_id")
    status: int | None = integer("status")
    map_poi_id: str = text("map_poi_id")
    name: str = text("name")
    address: str = text("address")
    #: Degrees.
    latitude: float | None = number("latitude")
    #: Degrees.
    longitude: float | None = number("longitude")
    #: What the reviewer says.
    sh_remark: str | None = optional_text("sh_remark")


@attrs.frozen(kw_only=True)
class GuideScan:
    """The scan of a guide's QR code (顾问二维码扫描信息)."""

    qrcode_guide_account: str = text("qrcode_guide_account")
    qrcode_guide_openid: str | None = optional_text("qrcode_guide_openid")
    #: The user who scanned.
    openid: str = text("openid")
    action: int | None = integer("action")
    qrcode_info: str | None = optional_text("qrcode_info")


@attrs.frozen(kw_only=True)
class GuideQrcodeScanEvent(EventPush):
    """A user scans the QR code of a shopping guide (客户扫顾问二维码). A reply is ignored."""

    event_name: ClassVar[str] = "guide_qrcode_scan_event"

    guide_scan_event: GuideScan | None = group("GuideScanEvent", GuideScan)


class GuideInviteResultEvent(EventPush):
    """Somebody answered the invitation to be a shopping guide (顾问邀请结果). A reply is ignored.

    Its fields are not documented.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "guide_invite_result_event"


class AddGuideBuyerRelationEvent(EventPush):
    """A customer now belongs to a shopping guide (为顾问分配客户). A reply is ignored.

    Its fields are not documented.
    """

    __slots__ = ()
    event_name: ClassVar[str] = "add_guide_buyer_relation_event"


@attrs.frozen(kw_only=True)
class WxaMediaCheckEvent(EventPush):
    """The check of a picture or a sound is done (内容安全异步检测结果); mini programs push it. A reply is ignored.

    Several results may come within one second. The ``result`` and ``detail`` of version 2 are in ``extra``.
    """

    event_name: ClassVar[str] = "wxa_media_check"

    appid: str = text("appid")
    #: What the request for the check returned.
    trace_id: str = text("trace_id")
    #: 0 nothing found, 1 risky; version 1 only.
    isrisky: int | None = integer("isrisky")
    extra_info_json: str | None = optional_text("extra_info_json")
    #: 0, or 4294966288 if the link could not be fetched: see :attr:`signed_status_code`.
    status_code: int | None = integer("status_code")
    #: 2 for the form with ``result`` and ``detail``.
    version: int | None = integer("version")

    @property
    def signed_status_code(self) -> int | None:
        """The status code with its sign: -1008 for 4294966288, the link could not be fetched."""
        code = self.status_code
        return code - UNSIGNED_END if code is not None and SIGNED_END <= code < UNSIGNED_END else code


@attrs.frozen(kw_only=True)
class UserEnterTempSessionEvent(EventPush):
    """A user enters the customer service of a mini program (用户进入客服会话). A reply is ignored."""

    event_name: ClassVar[str] = "user_enter_tempsession"

    #: ``session-from`` of the button.
    session_from: str | None = optional_text("SessionFrom")


# ---- retired products


@attrs.frozen(kw_only=True)
class MerchantOrderEvent(EventPush):
    """An order in the WeChat shop is paid (微信小店订单付款通知). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "merchant_order"

    order_id: str = text("OrderId")
    order_status: int | None = integer("OrderStatus")
    product_id: str = text("ProductId")
    #: ``10001:1000012;10002:100021``.
    sku_info: str | None = optional_text("SkuInfo")


@attrs.frozen(kw_only=True)
class WifiConnectedEvent(EventPush):
    """A user is on the Wi-Fi of a store (Wi-Fi连网成功). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "WifiConnected"

    connect_time: datetime | None = instant("ConnectTime")
    #: Reserved; always None.
    expire_time: datetime | None = instant("ExpireTime")
    vendor_id: str = text("VendorId")
    #: The store.
    place_id: str = text("PlaceId")
    #: MAC address of the access point.
    device_no: str = text("DeviceNo")


@attrs.frozen(kw_only=True)
class Beacon:
    """A Bluetooth beacon (摇一摇周边设备)."""

    uuid: str = text("Uuid")
    major: str = text("Major")
    minor: str = text("Minor")
    #: Metres.
    distance: float | None = number("Distance")


@attrs.frozen(kw_only=True)
class ShakearoundUserShakeEvent(EventPush):
    """A user shakes the phone near a beacon (摇一摇周边事件). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "ShakearoundUserShake"

    chosen_beacon: Beacon | None = group("ChosenBeacon", Beacon)
    around_beacons: tuple[Beacon, ...] = records("AroundBeacons", Beacon, item="AroundBeacon")


@attrs.frozen(kw_only=True)
class ProductEvent(EventPush):
    """Something happened around the page of a product (微信扫一扫商品事件). A retired product."""

    #: ``ean13``, ``qrcode`` ...
    key_standard: str = text("KeyStandard")
    #: The code.
    key_str: str = text("KeyStr")


@attrs.frozen(kw_only=True)
class UserScanProductEvent(ProductEvent):
    """A user opens the page of a product (打开商品主页事件). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "user_scan_product"

    country: str | None = optional_text("Country")
    province: str | None = optional_text("Province")
    city: str | None = optional_text("City")
    #: 0 unknown, 1 male, 2 female.
    sex: int | None = integer("Sex")
    #: How the user came to the page (打开商品主页的场景).
    scene: int | None = integer("Scene")
    ext_info: str | None = optional_text("ExtInfo")


@attrs.frozen(kw_only=True)
class UserScanProductEnterSessionEvent(ProductEvent):
    """A user enters the chat from the page of a product (进入公众号事件). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "user_scan_product_enter_session"

    ext_info: str | None = optional_text("ExtInfo")


@attrs.frozen(kw_only=True)
class UserScanProductAsyncEvent(ProductEvent):
    """The region of a user who opened the page of a product (地理位置信息异步推送). A reply is ignored.

    A retired product.
    """

    event_name: ClassVar[str] = "user_scan_product_async"

    ext_info: str | None = optional_text("ExtInfo")
    region_code: str = text("RegionCode")


@attrs.frozen(kw_only=True)
class UserScanProductVerifyActionEvent(ProductEvent):
    """A product passed the review, or did not (商品审核结果推送). A reply is ignored. A retired product."""

    event_name: ClassVar[str] = "user_scan_product_verify_action"

    #: ``verify_ok`` or ``verify_not_pass``.
    result: str = text("Result")
    reason_msg: str | None = optional_text("ReasonMsg")


_CLASSES: Final[tuple[type[EventPush], ...]] = (
    *(SubscribeEvent, UnsubscribeEvent, ScanEvent, LocationReportEvent),
    *(MenuClickEvent, MenuViewEvent, MenuViewMiniProgramEvent, MenuMediaIdEvent, MenuViewLimitedEvent),
    *(ScanCodePushEvent, ScanCodeWaitMsgEvent, PicSysPhotoEvent, PicPhotoOrAlbumEvent, PicWeixinEvent),
    *(LocationSelectEvent, TemplateSendJobFinishEvent, MassSendJobFinishEvent, PublishJobFinishEvent),
    *(SubscribeMsgPopupEvent, SubscribeMsgChangeEvent, SubscribeMsgSentEvent),
    *(KfCreateSessionEvent, KfCloseSessionEvent, KfSwitchSessionEvent),
    *(UserInfoModifiedEvent, UserAuthorizationRevokeEvent, UserAuthorizationCancellationEvent),
    *(QualificationVerifySuccessEvent, QualificationVerifyFailEvent, NamingVerifySuccessEvent),
    *(NamingVerifyFailEvent, AnnualRenewEvent, VerifyExpiredEvent),
    *(WxVerifyPaySuccEvent, WxVerifyDispatchEvent, WxVerifyRefillEvent, WxVerifyFailEvent),
    *(CardPassCheckEvent, CardNotPassCheckEvent, UserGetCardEvent, UserGiftingCardEvent, UserDelCardEvent),
    *(UserConsumeCardEvent, UserPayFromPayCellEvent, UserViewCardEvent, UserEnterSessionFromCardEvent),
    *(UpdateMemberCardEvent, CardSkuRemindEvent, CardPayOrderEvent, SubmitMemberCardUserInfoEvent),
    *(CardMerchantCheckResultEvent, GiftCardPayDoneEvent, GiftCardSendToFriendEvent, GiftCardUserAcceptEvent),
    *(UserAuthorizeInvoiceEvent, UpdateInvoiceStatusEvent, SubmitInvoiceTitleEvent, CloudInvoiceResultEvent),
    *(PoiCheckNotifyEvent, CreateMapPoiAuditInfoEvent),
    *(GuideQrcodeScanEvent, GuideInviteResultEvent, AddGuideBuyerRelationEvent),
    *(WxaMediaCheckEvent, UserEnterTempSessionEvent),
    *(MerchantOrderEvent, WifiConnectedEvent, ShakearoundUserShakeEvent),
    *(UserScanProductEvent, UserScanProductEnterSessionEvent, UserScanProductAsyncEvent),
    UserScanProductVerifyActionEvent,
)

#: The classes by the names of their events (事件类型), in lower case.
EVENTS: Final[Mapping[str, type[EventPush]]] = MappingProxyType(
    {name.lower(): cls for cls in _CLASSES for name in (cls.event_name, *cls.event_aliases)}
)
