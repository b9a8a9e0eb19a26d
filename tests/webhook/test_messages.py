"""The records: one made-up push for every message and event, and what all records can do."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from wxmp.webhook import events as ev
from wxmp.webhook import messages as ms
from wxmp.webhook.parsing import event_class, message_class, read_push
from wxmp.webhook.reading import read_json, read_xml

CREATED = 1_760_000_000
ENVELOPE: dict[str, Any] = {"to_user_name": "gh_0a1b2c3d4e5f", "from_user_name": "oUser_-1", "create_time": CREATED}
AT = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
LATER = datetime(2026, 10, 9, 8, 53, 20, tzinfo=UTC)
AT_S = 1_760_000_000
LATER_S = 1_791_536_000


@attrs.frozen
class Sample:
    """Elements of a push in XML, and the attributes they become; attributes that are not named have their defaults."""

    cls: type[ms.Push]
    name: str
    xml: str
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        kind = f"<MsgType>{self.name}</MsgType><MsgId>6054768590064713728</MsgId>"
        if issubclass(self.cls, ev.EventPush):
            kind = f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{self.name}]]></Event>"
        return (
            "<xml><ToUserName><![CDATA[gh_0a1b2c3d4e5f]]></ToUserName><FromUserName><![CDATA[oUser_-1]]></FromUserName>"
            f"<CreateTime>{CREATED}</CreateTime>{kind}{self.xml}</xml>"
        ).encode()

    @property
    def record(self) -> ms.Push:
        """The record as a user writes it in a test."""
        given = {**ENVELOPE, **self.expected}
        if issubclass(self.cls, ms.Message):
            given["msg_id"] = 6054768590064713728
        return self.cls(**given)


def e(name: str, value: object) -> str:
    """An element with a CDATA section."""
    return f"<{name}><![CDATA[{value}]]></{name}>"


def n(name: str, value: object) -> str:
    """An element without one."""
    return f"<{name}>{value}</{name}>"


SCANNED = e("EventKey", "K6") + n(
    "ScanCodeInfo", e("ScanType", "barcode") + e("ScanResult", "EAN_13,6911316223400") + "\n"
)
SCANNED_AS = {
    "event_key": "K6",
    "scan_code_info": ev.ScanCodeInfo(scan_type="barcode", scan_result="EAN_13,6911316223400"),
}
PICTURES = e("EventKey", "K7") + n(
    "SendPicsInfo",
    n("Count", 3)
    + n("PicList", n("item", e("PicMd5Sum", "0cc175b9")) + "\n " + n("item", e("PicMd5Sum", "92eb5ffe")) + "\n"),
)
PICTURES_AS = {
    "event_key": "K7",
    "send_pics_info": ev.SendPicsInfo(
        count=3, pic_list=(ev.PicInfo(pic_md5_sum="0cc175b9"), ev.PicInfo(pic_md5_sum="92eb5ffe"))
    ),
}
CHANGED = e("OpenID", "oAffected") + e("AppID", "wx0123") + e("UnionID", "u-1") + e("RevokeInfo", "205")
CHANGED_AS = {"affected_openid": "oAffected", "appid": "wx0123", "unionid": "u-1", "revoke_info": "205"}
CARD = e("CardId", "pCard") + e("UserCardCode", "0012345")
CARD_AS = {"card_id": "pCard", "user_card_code": "0012345"}
GIFT = e("PageId", "page+/=") + e("OrderId", "Z2y2")
GIFT_AS = {"page_id": "page+/=", "order_id": "Z2y2"}
PRODUCT = e("KeyStandard", "ean13") + e("KeyStr", "6901481811083")
PRODUCT_AS = {"key_standard": "ean13", "key_str": "6901481811083"}
EXPIRES, EXPIRES_AS = n("ExpiredTime", LATER_S), {"expired_time": LATER}
FAILED, FAILED_AS = n("FailTime", AT_S) + e("FailReason", "too late"), {"fail_time": AT, "fail_reason": "too late"}
BEACON = e("Uuid", "121212121212") + n("Major", 12) + n("Minor", 34)

MESSAGE_SAMPLES = [
    Sample(
        ms.TextMessage,
        "text",
        e("Content", " 你好\n<b>&amp; ")
        + e("MsgDataId", "2650")
        + n("Idx", 2)
        + n("BusinessId", 7)
        + e("bizmsgmenuid", "101"),
        {"content": " 你好\n<b>&amp; ", "msg_data_id": "2650", "idx": 2, "business_id": 7, "bizmsgmenuid": "101"},
    ),
    Sample(
        ms.ImageMessage,
        "image",
        e("PicUrl", "http://mmbiz.example/0?a=1&b=2") + e("MediaId", "m1"),
        {"pic_url": "http://mmbiz.example/0?a=1&b=2", "media_id": "m1"},
    ),
    Sample(
        ms.VoiceMessage,
        "voice",
        e("MediaId", "m2") + e("Format", "amr") + e("MediaId16K", "m2-16") + e("Recognition", "腾讯微信团队"),
        {"media_id": "m2", "format": "amr", "media_id_16k": "m2-16", "recognition": "腾讯微信团队"},
    ),
    Sample(
        ms.VideoMessage,
        "video",
        e("MediaId", "m3") + e("ThumbMediaId", "t3"),
        {"media_id": "m3", "thumb_media_id": "t3"},
    ),
    Sample(
        ms.ShortVideoMessage,
        "shortvideo",
        e("MediaId", "m4") + e("ThumbMediaId", "t4"),
        {"media_id": "m4", "thumb_media_id": "t4"},
    ),
    Sample(
        ms.LocationMessage,
        "location",
        n("Location_X", "23.134521") + n("Location_Y", "-113.358803") + n("Scale", 20) + e("Label", "位置信息"),
        {"location_x": 23.134521, "location_y": -113.358803, "scale": 20.0, "label": "位置信息"},
    ),
    Sample(
        ms.LinkMessage,
        "link",
        e("Title", "T") + e("Description", "D") + e("Url", "https://example.com/?q=1"),
        {"title": "T", "description": "D", "url": "https://example.com/?q=1"},
    ),
    Sample(
        ms.MiniProgramPageMessage,
        "miniprogrampage",
        e("Title", "T") + e("AppId", "wx9") + e("PagePath", "p/i?x=1") + e("ThumbUrl", "u") + e("ThumbMediaId", "t9"),
        {"title": "T", "appid": "wx9", "page_path": "p/i?x=1", "thumb_url": "u", "thumb_media_id": "t9"},
    ),
    Sample(
        ms.DeviceTextMessage,
        "device_text",
        e("DeviceType", "dt")
        + e("DeviceID", "d1")
        + e("SessionID", "s1")
        + e("Content", "MTIz")
        + e("OpenID", "oOwner"),
        {
            "device_type": "dt",
            "device_id": "d1",
            "session_id": "s1",
            "content": "MTIz",
            "affected_openid": "oOwner",
        },
    ),
    Sample(
        ms.DeviceEventMessage,
        "device_event",
        e("Event", "bind")
        + e("DeviceType", "dt")
        + e("DeviceID", "d1")
        + e("SessionID", "s1")
        + e("Content", "MTIz")
        + n("OpType", 2)
        + e("OpenID", "oOwner"),
        {
            "event": "bind",
            "device_type": "dt",
            "device_id": "d1",
            "session_id": "s1",
            "content": "MTIz",
            "op_type": 2,
            "affected_openid": "oOwner",
        },
    ),
]

EVENT_SAMPLES = [
    Sample(
        ev.SubscribeEvent,
        "subscribe",
        e("EventKey", "qrscene_42") + e("Ticket", "gQH47"),
        {"event_key": "qrscene_42", "ticket": "gQH47"},
    ),
    Sample(ev.UnsubscribeEvent, "unsubscribe", e("EventKey", ""), {"event_key": ""}),
    Sample(ev.ScanEvent, "SCAN", e("EventKey", "42") + e("Ticket", "gQH47"), {"event_key": "42", "ticket": "gQH47"}),
    Sample(
        ev.LocationReportEvent,
        "LOCATION",
        n("Latitude", "23.137466") + n("Longitude", "113.352425") + n("Precision", "119.385040"),
        {"latitude": 23.137466, "longitude": 113.352425, "precision": 119.38504},
    ),
    Sample(
        ev.MenuClickEvent,
        "CLICK",
        e("EventKey", "V1001") + n("MenuId", 413210),
        {"event_key": "V1001", "menu_id": 413210},
    ),
    Sample(
        ev.MenuViewEvent,
        "VIEW",
        e("EventKey", "https://example.com/") + n("MenuId", 413210),
        {"event_key": "https://example.com/", "menu_id": 413210},
    ),
    Sample(
        ev.MenuViewMiniProgramEvent,
        "view_miniprogram",
        e("EventKey", "pages/index/index") + n("MenuID", 1),
        {"event_key": "pages/index/index", "menu_id": 1},
    ),
    Sample(ev.ScanCodePushEvent, "scancode_push", SCANNED, SCANNED_AS),
    Sample(ev.ScanCodeWaitMsgEvent, "scancode_waitmsg", SCANNED, SCANNED_AS),
    Sample(ev.PicSysPhotoEvent, "pic_sysphoto", PICTURES, PICTURES_AS),
    Sample(ev.PicPhotoOrAlbumEvent, "pic_photo_or_album", PICTURES, PICTURES_AS),
    Sample(ev.PicWeixinEvent, "pic_weixin", PICTURES, PICTURES_AS),
    Sample(
        ev.LocationSelectEvent,
        "location_select",
        e("EventKey", "K8")
        + n(
            "SendLocationInfo",
            e("Location_X", 23)
            + e("Location_Y", 113)
            + e("Scale", 15)
            + e("Label", " 艺苑路 106号")
            + e("Poiname", "大厦"),
        ),
        {
            "event_key": "K8",
            "send_location_info": ev.SendLocationInfo(
                location_x=23.0, location_y=113.0, scale=15.0, label=" 艺苑路 106号", poiname="大厦"
            ),
        },
    ),
    Sample(ev.MenuMediaIdEvent, "media_id", e("EventKey", "m-1"), {"event_key": "m-1"}),
    Sample(ev.MenuViewLimitedEvent, "view_limited", e("EventKey", "m-2"), {"event_key": "m-2"}),
    Sample(
        ev.TemplateSendJobFinishEvent,
        "TEMPLATESENDJOBFINISH",
        n("MsgID", 200163840) + e("Status", "failed: system failed"),
        {"msg_id": 200163840, "status": "failed: system failed"},
    ),
    Sample(
        ev.MassSendJobFinishEvent,
        "MASSSENDJOBFINISH",
        n("MsgID", 1000001625)
        + e("Status", "err(30003)")
        + n("TotalCount", 100)
        + n("FilterCount", 80)
        + n("SentCount", 75)
        + n("ErrorCount", 5)
        + n(
            "CopyrightCheckResult",
            n("Count", 1)
            + n(
                "ResultList",
                n(
                    "item",
                    n("ArticleIdx", 1)
                    + n("UserDeclareState", 0)
                    + n("AuditState", 2)
                    + e("OriginalArticleUrl", "Url_1")
                    + n("OriginalArticleType", 1)
                    + n("CanReprint", 1)
                    + n("NeedReplaceContent", 0)
                    + n("NeedShowReprintSource", 1),
                ),
            )
            + n("CheckState", 2),
        )
        + n(
            "ArticleUrlResult",
            n("Count", 2)
            + n(
                "ResultList",
                n("item", n("ArticleIdx", 1) + e("ArticleUrl", "a1"))
                + n("item", n("ArticleIdx", 2) + e("ArticleUrl", "a2")),
            ),
        ),
        {
            "msg_id": 1000001625,
            "status": "err(30003)",
            "total_count": 100,
            "filter_count": 80,
            "sent_count": 75,
            "error_count": 5,
            "copyright_check_result": ev.CopyrightCheckResult(
                count=1,
                result_list=(
                    ev.CopyrightCheckArticle(
                        article_idx=1,
                        user_declare_state=0,
                        audit_state=2,
                        original_article_url="Url_1",
                        original_article_type=1,
                        can_reprint=True,
                        need_replace_content=False,
                        need_show_reprint_source=True,
                    ),
                ),
                check_state=2,
            ),
            "article_url_result": ev.ArticleUrlResult(
                count=2,
                result_list=(
                    ev.MassSendArticleUrl(article_idx=1, article_url="a1"),
                    ev.MassSendArticleUrl(article_idx=2, article_url="a2"),
                ),
            ),
        },
    ),
    Sample(
        ev.PublishJobFinishEvent,
        "PUBLISHJOBFINISH",
        n(
            "PublishEventInfo",
            n("publish_id", 2247503051)
            + n("publish_status", 0)
            + "<article_id>\n  <![CDATA[b5O2]]>\n</article_id>"
            + n("article_detail", n("count", 1) + n("item", n("idx", 1) + e("article_url", "U")))
            + n("fail_idx", 1)
            + n("fail_idx", 2),
        ),
        {
            "publish_event_info": ev.PublishEventInfo(
                publish_id="2247503051",
                publish_status=0,
                article_id="b5O2",
                article_detail=ev.ArticleDetail(count=1, items=(ev.PublishedArticle(idx=1, article_url="U"),)),
                fail_idx=(1, 2),
            )
        },
    ),
    Sample(
        ev.SubscribeMsgPopupEvent,
        "subscribe_msg_popup_event",
        n(
            "SubscribeMsgPopupEvent",
            n("List", e("TemplateId", "tA") + e("SubscribeStatusString", "accept") + n("PopupScene", 2))
            + n("List", e("TemplateId", "tB") + e("SubscribeStatusString", "reject") + n("PopupScene", 1)),
        ),
        {
            "entries": (
                ev.SubscribeMsgPopup(template_id="tA", subscribe_status_string="accept", popup_scene=2),
                ev.SubscribeMsgPopup(template_id="tB", subscribe_status_string="reject", popup_scene=1),
            )
        },
    ),
    Sample(
        ev.SubscribeMsgChangeEvent,
        "subscribe_msg_change_event",
        n("SubscribeMsgChangeEvent", n("List", e("TemplateId", "tA") + e("SubscribeStatusString", "reject"))),
        {"entries": (ev.SubscribeMsgChange(template_id="tA", subscribe_status_string="reject"),)},
    ),
    Sample(
        ev.SubscribeMsgSentEvent,
        "subscribe_msg_sent_event",
        n(
            "SubscribeMsgSentEvent",
            n(
                "List",
                e("TemplateId", "tA")
                + n("MsgID", 1700827132819554304)
                + n("ErrorCode", 0)
                + e("ErrorStatus", "success"),
            ),
        ),
        {
            "entries": (
                ev.SubscribeMsgSent(template_id="tA", msg_id=1700827132819554304, error_code=0, error_status="success"),
            )
        },
    ),
    Sample(ev.KfCreateSessionEvent, "kf_create_session", e("KfAccount", "a@b"), {"kf_account": "a@b"}),
    Sample(ev.KfCloseSessionEvent, "kf_close_session", e("KfAccount", "a@b"), {"kf_account": "a@b"}),
    Sample(
        ev.KfSwitchSessionEvent,
        "kf_switch_session",
        e("FromKfAccount", "a@b") + e("ToKfAccount", "c@b"),
        {"from_kf_account": "a@b", "to_kf_account": "c@b"},
    ),
    Sample(ev.UserInfoModifiedEvent, "user_info_modified", CHANGED, CHANGED_AS),
    Sample(ev.UserAuthorizationRevokeEvent, "user_authorization_revoke", CHANGED, CHANGED_AS),
    Sample(ev.UserAuthorizationCancellationEvent, "user_authorization_cancellation", CHANGED, CHANGED_AS),
    Sample(ev.QualificationVerifySuccessEvent, "qualification_verify_success", EXPIRES, EXPIRES_AS),
    Sample(ev.QualificationVerifyFailEvent, "qualification_verify_fail", FAILED, FAILED_AS),
    Sample(ev.NamingVerifySuccessEvent, "naming_verify_success", EXPIRES, EXPIRES_AS),
    Sample(ev.NamingVerifyFailEvent, "naming_verify_fail", FAILED, FAILED_AS),
    Sample(ev.AnnualRenewEvent, "annual_renew", EXPIRES, EXPIRES_AS),
    Sample(ev.VerifyExpiredEvent, "verify_expired", EXPIRES, EXPIRES_AS),
    Sample(ev.WxVerifyPaySuccEvent, "wx_verify_pay_succ", "", {}),
    Sample(ev.WxVerifyDispatchEvent, "wx_verify_dispatch", "", {}),
    Sample(
        ev.WxVerifyRefillEvent,
        "wx_verify_refill",
        n("RefillTime", AT_S) + e("RefillReason", "blurred"),
        {"refill_time": AT, "refill_reason": "blurred"},
    ),
    Sample(ev.WxVerifyFailEvent, "wx_verify_fail", FAILED, FAILED_AS),
    Sample(
        ev.CardPassCheckEvent,
        "card_pass_check",
        e("CardId", "pCard") + e("RefuseReason", "old"),
        {"card_id": "pCard", "refuse_reason": "old"},
    ),
    Sample(
        ev.CardNotPassCheckEvent,
        "card_not_pass_check",
        e("CardId", "pCard") + e("RefuseReason", "非法"),
        {"card_id": "pCard", "refuse_reason": "非法"},
    ),
    Sample(
        ev.UserGetCardEvent,
        "user_get_card",
        CARD
        + n("IsGiveByFriend", 1)
        + e("FriendUserName", "oFriend")
        + n("OuterId", 0)
        + e("OldUserCardCode", "007")
        + e("OuterStr", "12b")
        + n("IsRestoreMemberCard", 0)
        + n("IsRecommendByFriend", 1)
        + n("UnionId", "u-1"),
        {
            **CARD_AS,
            "is_give_by_friend": True,
            "friend_user_name": "oFriend",
            "outer_id": 0,
            "old_user_card_code": "007",
            "outer_str": "12b",
            "is_restore_member_card": False,
            "is_recommend_by_friend": True,
            "unionid": "u-1",
        },
    ),
    Sample(
        ev.UserGiftingCardEvent,
        "user_gifting_card",
        CARD + n("IsReturnBack", 0) + e("FriendUserName", "oFriend") + n("IsChatRoom", 1),
        {**CARD_AS, "is_return_back": False, "friend_user_name": "oFriend", "is_chat_room": True},
    ),
    Sample(ev.UserDelCardEvent, "user_del_card", CARD, CARD_AS),
    Sample(
        ev.UserConsumeCardEvent,
        "user_consume_card",
        CARD
        + e("ConsumeSource", "FROM_API")
        + e("LocationName", "店")
        + e("StaffOpenId", "oStaff")
        + e("VerifyCode", "v")
        + e("RemarkAmount", "1.5")
        + e("OuterStr", "x"),
        {
            **CARD_AS,
            "consume_source": "FROM_API",
            "location_name": "店",
            "staff_openid": "oStaff",
            "verify_code": "v",
            "remark_amount": "1.5",
            "outer_str": "x",
        },
    ),
    Sample(
        ev.UserPayFromPayCellEvent,
        "user_pay_from_pay_cell",
        CARD
        + e("TransId", "10022403432015000000000")
        + n("LocationId", 291710000)
        + e("Fee", 990)
        + e("OriginalFee", 1000),
        {
            **CARD_AS,
            "transaction_id": "10022403432015000000000",
            "location_id": 291710000,
            "fee_fen": 990,
            "original_fee_fen": 1000,
        },
    ),
    Sample(ev.UserViewCardEvent, "user_view_card", CARD + e("OuterStr", "12b"), {**CARD_AS, "outer_str": "12b"}),
    Sample(ev.UserEnterSessionFromCardEvent, "user_enter_session_from_card", CARD, CARD_AS),
    Sample(
        ev.UpdateMemberCardEvent,
        "update_member_card",
        CARD + n("ModifyBonus", 3) + n("ModifyBalance", -5),
        {**CARD_AS, "modify_bonus": 3, "modify_balance": -5},
    ),
    Sample(
        ev.CardSkuRemindEvent,
        "card_sku_remind",
        e("CardId", "pCard") + e("Detail", "nearly gone"),
        {"card_id": "pCard", "detail": "nearly gone"},
    ),
    Sample(
        ev.CardPayOrderEvent,
        "card_pay_order",
        e("OrderId", "404091456")
        + e("Status", "ORDER_STATUS_FINANCE_SUCC")
        + n("CreateOrderTime", AT_S)
        + n("PayFinishTime", LATER_S)
        + e("Desc", "d")
        + e("FreeCoinCount", 200)
        + e("PayCoinCount", 1)
        + e("RefundFreeCoinCount", 2)
        + e("RefundPayCoinCount", 3)
        + e("OrderType", "ORDER_TYPE_SYS_ADD")
        + e("Memo", "奖励")
        + e("ReceiptInfo", "r"),
        {
            "order_id": "404091456",
            "status": "ORDER_STATUS_FINANCE_SUCC",
            "create_order_time": AT,
            "pay_finish_time": LATER,
            "desc": "d",
            "free_coin_count": 200,
            "pay_coin_count": 1,
            "refund_free_coin_count": 2,
            "refund_pay_coin_count": 3,
            "order_type": "ORDER_TYPE_SYS_ADD",
            "memo": "奖励",
            "receipt_info": "r",
        },
    ),
    Sample(ev.SubmitMemberCardUserInfoEvent, "submit_membercard_user_info", CARD, CARD_AS),
    Sample(
        ev.CardMerchantCheckResultEvent,
        "card_merchant_check_result",
        n("MerchantId", 12) + n("IsPass", 0) + e("Reason", "no"),
        {"merchant_id": 12, "is_pass": False, "reason": "no"},
    ),
    Sample(ev.GiftCardPayDoneEvent, "giftcard_pay_done", GIFT, GIFT_AS),
    Sample(
        ev.GiftCardSendToFriendEvent,
        "giftcard_send_to_friend",
        GIFT + n("IsChatRoom", "true") + e("IsReturnBack", "false"),
        {**GIFT_AS, "is_chat_room": True, "is_return_back": False},
    ),
    Sample(
        ev.GiftCardUserAcceptEvent,
        "giftcard_user_accept",
        GIFT + n("IsChatRoom", "false"),
        {**GIFT_AS, "is_chat_room": False},
    ),
    Sample(
        ev.UserAuthorizeInvoiceEvent,
        "user_authorize_invoice",
        e("SuccOrderId", "1202")
        + e("FailOrderId", "")
        + e("AppId", "wx1")
        + e("AuthorizeAppId", "wx2")
        + e("Source", "web"),
        {"succ_order_id": "1202", "fail_order_id": "", "appid": "wx1", "authorize_appid": "wx2", "source": "web"},
    ),
    Sample(
        ev.UpdateInvoiceStatusEvent,
        "update_invoice_status",
        e("Status", "INVOICE_REIMBURSE_INIT") + e("CardId", "pCard") + e("Code", "1869"),
        {"status": "INVOICE_REIMBURSE_INIT", "card_id": "pCard", "code": "1869"},
    ),
    Sample(
        ev.SubmitInvoiceTitleEvent,
        "submit_invoice_title",
        "".join(e(name, f"v-{name}") for name in ("title", "tax_no", "addr", "phone"))
        + "".join(e(name, f"v-{name}") for name in ("bank_type", "bank_no", "attach", "title_type")),
        {
            name: f"v-{name}"
            for name in ("title", "tax_no", "addr", "phone", "bank_type", "bank_no", "attach", "title_type")
        },
    ),
    Sample(
        ev.CloudInvoiceResultEvent,
        "cloud_invoice_invoiceresult_event",
        e("fpqqlsh", "14574d") + n("status", 100) + e("nsrsbh", "150001"),
        {"fpqqlsh": "14574d", "status": 100, "nsrsbh": "150001"},
    ),
    Sample(
        ev.PoiCheckNotifyEvent,
        "poi_check_notify",
        e("UniqId", "own") + e("PoiId", "123") + e("Result", "fail") + e("Msg", "why"),
        {"uniq_id": "own", "poi_id": "123", "result": "fail", "msg": "why"},
    ),
    Sample(
        ev.CreateMapPoiAuditInfoEvent,
        "create_map_poi_audit_info",
        n("audit_id", 5)
        + n("status", 1)
        + e("map_poi_id", "p1")
        + e("name", "店")
        + e("address", "路")
        + n("latitude", "1.5")
        + n("longitude", "2.5")
        + e("sh_remark", "ok"),
        {
            "audit_id": 5,
            "status": 1,
            "map_poi_id": "p1",
            "name": "店",
            "address": "路",
            "latitude": 1.5,
            "longitude": 2.5,
            "sh_remark": "ok",
        },
    ),
    Sample(
        ev.GuideQrcodeScanEvent,
        "guide_qrcode_scan_event",
        n(
            "GuideScanEvent",
            n("qrcode_guide_account", "![CDATA[acc]]")
            + e("qrcode_guide_openid", "oGuide")
            + e("openid", "oBuyer")
            + n("action", 11)
            + e("qrcode_info", "q"),
        ),
        {
            "guide_scan_event": ev.GuideScan(
                qrcode_guide_account="![CDATA[acc]]",
                qrcode_guide_openid="oGuide",
                openid="oBuyer",
                action=11,
                qrcode_info="q",
            )
        },
    ),
    Sample(ev.GuideInviteResultEvent, "guide_invite_result_event", "", {}),
    Sample(ev.AddGuideBuyerRelationEvent, "add_guide_buyer_relation_event", "", {}),
    Sample(
        ev.WxaMediaCheckEvent,
        "wxa_media_check",
        e("appid", "wx8")
        + e("trace_id", "967e")
        + n("isrisky", 1)
        + e("extra_info_json", "{}")
        + n("status_code", 4294966288)
        + n("version", 2),
        {
            "appid": "wx8",
            "trace_id": "967e",
            "isrisky": 1,
            "extra_info_json": "{}",
            "status_code": 4294966288,
            "version": 2,
        },
    ),
    Sample(ev.UserEnterTempSessionEvent, "user_enter_tempsession", e("SessionFrom", "s"), {"session_from": "s"}),
    Sample(
        ev.MerchantOrderEvent,
        "merchant_order",
        e("OrderId", "o1") + n("OrderStatus", 2) + e("ProductId", "p1") + e("SkuInfo", "10001:1;2:3"),
        {"order_id": "o1", "order_status": 2, "product_id": "p1", "sku_info": "10001:1;2:3"},
    ),
    Sample(
        ev.WifiConnectedEvent,
        "WifiConnected",
        n("ConnectTime", AT_S)
        + n("ExpireTime", LATER_S)
        + e("VendorId", "3001")
        + e("PlaceId", "12")
        + e("DeviceNo", "0:1"),
        {"connect_time": AT, "expire_time": LATER, "vendor_id": "3001", "place_id": "12", "device_no": "0:1"},
    ),
    Sample(
        ev.ShakearoundUserShakeEvent,
        "ShakearoundUserShake",
        n("ChosenBeacon", BEACON + n("Distance", "0.057"))
        + n(
            "AroundBeacons",
            n("AroundBeacon", BEACON + n("Distance", "166.816")) + n("AroundBeacon", BEACON + n("Distance", "15.013")),
        ),
        {
            "chosen_beacon": ev.Beacon(uuid="121212121212", major="12", minor="34", distance=0.057),
            "around_beacons": (
                ev.Beacon(uuid="121212121212", major="12", minor="34", distance=166.816),
                ev.Beacon(uuid="121212121212", major="12", minor="34", distance=15.013),
            ),
        },
    ),
    Sample(
        ev.UserScanProductEvent,
        "user_scan_product",
        PRODUCT
        + e("Country", "中国")
        + e("Province", "广东")
        + e("City", "揭阳")
        + n("Sex", 1)
        + n("Scene", 2)
        + e("ExtInfo", "123"),
        {
            **PRODUCT_AS,
            "country": "中国",
            "province": "广东",
            "city": "揭阳",
            "sex": 1,
            "scene": 2,
            "ext_info": "123",
        },
    ),
    Sample(
        ev.UserScanProductEnterSessionEvent,
        "user_scan_product_enter_session",
        PRODUCT + e("ExtInfo", "123"),
        {**PRODUCT_AS, "ext_info": "123"},
    ),
    Sample(
        ev.UserScanProductAsyncEvent,
        "user_scan_product_async",
        PRODUCT + e("ExtInfo", "123") + e("RegionCode", "440105"),
        {**PRODUCT_AS, "ext_info": "123", "region_code": "440105"},
    ),
    Sample(
        ev.UserScanProductVerifyActionEvent,
        "user_scan_product_verify_action",
        PRODUCT + e("Result", "verify_ok") + e("ReasonMsg", "fine"),
        {**PRODUCT_AS, "result": "verify_ok", "reason_msg": "fine"},
    ),
]

SAMPLES = MESSAGE_SAMPLES + EVENT_SAMPLES
CLASSES = [sample.cls for sample in SAMPLES]


def named(value: Sample | type) -> str:
    return value.name if isinstance(value, Sample) else value.__name__


def as_json(value: Any) -> Any:
    """The same tree as JSON has it: numbers are numbers where they can be."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    for number in (int, float):
        try:
            if str(number(value)) == value:
                return number(value)
        except ValueError:
            continue
    return value


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_xml_becomes_the_record(sample: Sample) -> None:
    """A push in XML becomes the record that a user can also write."""
    push = read_push(read_xml(sample.body))

    assert type(push) is sample.cls
    assert push == sample.record
    assert push.extra == {}


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_json_becomes_the_same_record(sample: Sample) -> None:
    """A push in JSON, with its numbers as numbers, becomes the same record."""
    fields = as_json(read_xml(sample.body))
    assert isinstance(fields["CreateTime"], int)

    push = read_push(read_json(json.dumps(fields).encode()))

    assert push == sample.record


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_sample_fills_every_attribute(sample: Sample) -> None:
    """Each attribute that a class adds is proved by the sample of the class."""
    shared = {field.name for cls in (ms.Push, ms.Message, ev.EventPush) for field in attrs.fields(cls)}
    own = {field.name for field in attrs.fields(sample.cls)} - shared
    # Few menu events have a menu_id, and the platform sends it with those only.
    missing = own - set(sample.expected) - {"menu_id"}
    assert missing == set()


def test_every_message_and_event_has_a_sample() -> None:
    """There are 10 messages and 72 events, each with a class of its own and a sample above."""
    assert [sample.cls for sample in MESSAGE_SAMPLES] == list(ms.MESSAGES.values())
    assert len(MESSAGE_SAMPLES) == 10
    assert len({sample.cls for sample in EVENT_SAMPLES}) == len(EVENT_SAMPLES) == 72
    assert {sample.cls for sample in EVENT_SAMPLES} == set(ev.EVENTS.values())
    assert {sample.name.lower() for sample in EVENT_SAMPLES} | {"freepublishjobfinish"} == set(ev.EVENTS)


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_class_knows_its_name(sample: Sample) -> None:
    """A record made without arguments has the names of its kind, as the platform spells them."""
    record = sample.cls()

    if isinstance(record, ev.EventPush):
        assert (record.msg_type, record.event) == ("event", sample.name)
        assert event_class(sample.name) is sample.cls
    else:
        assert record.msg_type == sample.name
        assert message_class(sample.name) is sample.cls


@pytest.mark.parametrize("cls", CLASSES, ids=named)
def test_only_the_envelope_must_be_there(cls: type[ms.Push]) -> None:
    """A push with nothing but its envelope is a record with the defaults."""
    record = cls(**ENVELOPE)
    fields: dict[str, Any] = {"ToUserName": "gh_0a1b2c3d4e5f", "FromUserName": "oUser_-1", "CreateTime": str(CREATED)}
    fields |= {"MsgType": record.msg_type} | ({"Event": record.event} if record.event else {})

    assert read_push(fields) == record


#: What no field of the business should hold.
BAD: list[Any] = ["", "xxxx", "SCENE_VALUE", None, [], {}, [[]], {"x": "y"}, "9" * 5000, 10**50, 1e300, "1_0", True]


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_bad_field_loses_nothing(sample: Sample) -> None:
    """Whatever stands in a field of the business, the push is read, the other attributes hold and raw has what came."""
    fields = read_xml(sample.body)
    plan = ms.plan_of(sample.cls)
    attribute_of = {name: attribute for name, (attribute, _) in plan.known.items()}
    attribute_of |= {name: attribute for name, attribute, _ in plan.aliases}
    for name in set(fields) - {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Event", "MsgId"}:
        for bad in BAD:
            push = read_push({**fields, name: bad})

            assert type(push) is sample.cls
            assert push.raw[name] == bad
            for field in attrs.fields(sample.cls):
                if field.name not in (attribute_of[name], "raw"):
                    assert getattr(push, field.name) == getattr(sample.record, field.name), (field.name, bad)


@pytest.mark.parametrize(
    "cls",
    [cls for module in (ms, ev) for cls in vars(module).values() if isinstance(cls, type) and attrs.has(cls)],
    ids=named,
)
def test_every_class_says_what_it_is_in_both_languages(cls: type) -> None:
    """Each record has a docstring of its own; those with a Chinese title in the platform's documents have it there."""
    assert "__doc__" in vars(cls)
    assert cls.__doc__
    if cls not in (ms.Plan, ms.UnknownMessage, ev.UnknownEvent):
        assert re.search(r"[一-鿿]", cls.__doc__)


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_records_are_values(sample: Sample) -> None:
    """Records cannot be changed and have no room for more; they compare, hash, copy, evolve and pickle."""
    push = read_push(read_xml(sample.body))

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        push.create_time = 1  # type: ignore[misc]
    assert not hasattr(push, "__dict__")
    assert hash(push) == hash(sample.record)
    assert copy.copy(push) == push
    assert pickle.loads(pickle.dumps(push)) == push
    assert pickle.loads(pickle.dumps(push)).raw == push.raw
    assert attrs.evolve(push, create_time=5).create_time == 5
    assert push != attrs.evolve(push, from_user_name="oOther")
    assert repr(push).startswith(f"{sample.cls.__name__}(to_user_name='gh_0a1b2c3d4e5f'")


def test_classes_with_equal_attributes_differ() -> None:
    """A success is no failure because both have the same fields."""
    one: ms.Push = ev.NamingVerifySuccessEvent(event="x")
    assert one != ev.QualificationVerifySuccessEvent(event="x")


def test_unknown_records_compare_with_all_their_fields() -> None:
    """Records of unknown kinds have their fields in raw only, so raw counts for them."""
    assert ev.UnknownEvent(event="new", raw={"A": "1"}) != ev.UnknownEvent(event="new", raw={"A": "2"})
    assert ms.UnknownMessage(raw={"A": "1"}) != ms.UnknownMessage(raw={"A": "2"})
    assert ms.UnknownMessage(raw={"A": "1"}) == ms.UnknownMessage(raw={"A": "1"})
    assert hash(ms.UnknownMessage(raw={"A": "1"})) == hash(ms.UnknownMessage(raw={"A": "1"}))
    assert "'A': '1'" in repr(ms.UnknownMessage(raw={"A": "1"}))


def test_bases_cover_their_events() -> None:
    """One handler can be registered for all taps on the menu, and none of them is forgotten."""
    taps = {cls.event_name.lower() for cls in ev.EVENTS.values() if issubclass(cls, ev.MenuEvent)}
    assert taps == {
        *("click", "view", "view_miniprogram", "media_id", "view_limited", "scancode_push", "scancode_waitmsg"),
        *("pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select"),
    }


@pytest.mark.parametrize("module", [ms, ev])
def test_public_classes_are_listed(module: Any) -> None:
    """``__all__`` is sorted and has all records and tables."""
    own = {
        name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__
    }
    listed = set(module.__all__)
    assert own - listed <= {"Plan"}
    assert {name for name in listed if not name.isupper()} <= own
    # Constants before classes, as ruff sorts them.
    assert module.__all__ == sorted(listed, key=lambda name: (not name.isupper(), name))


def test_reading_messages_does_not_load_the_events() -> None:
    """The classes of events take 50 ms to make: a process that sees messages only never makes them."""
    code = (
        "import sys\n"
        "from wxmp.webhook.parsing import read_push\n"
        "fields = {'ToUserName': 'a', 'FromUserName': 'b', 'CreateTime': '1', 'MsgType': 'text'}\n"
        "read_push(fields)\n"
        "assert 'wxmp.webhook.events' not in sys.modules\n"
        "read_push({**fields, 'MsgType': 'event', 'Event': 'CLICK'})\n"
        "assert 'wxmp.webhook.events' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
