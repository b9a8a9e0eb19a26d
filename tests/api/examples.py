"""How each call is made: first with what it cannot do without, then with everything it can take.

A family is loaded when its examples are asked for, so that a fault in one does not hide the others.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Final

import attrs

from tests.api.facts import FACTS

__all__ = ["examples_of"]

Examples = dict[str, list[dict[str, Any]]]

OPENID: Final = "oABCD1234567890"
URL: Final = "https://shop.example.com/a"
APPID: Final = "wx1111111111111111"
DATA_ID: Final = 2247483650
JPEG: Final = b"\xff\xd8\xff\xe0" + b"\0" * 16
MP4: Final = b"\0\0\0\x18ftypmp42" + b"\0" * 16
MP3: Final = b"ID3" + b"\0" * 16


def client() -> Examples:
    return {
        "client.token (plain)": [{}],
        "client.token (stable)": [{}, {"force": True}],
    }


def server() -> Examples:
    return {
        "server.check_callback": [{}],
        "server.list_api_ips": [{}],
        "server.list_callback_ips": [{}],
        "server.explain_rid": [{"rid": "65f0-1-2"}],
    }


def quota() -> Examples:
    return {
        "quota.clear": [{}],
        "quota.clear_with_secret": [{}],
        "quota.get": [{"cgi_path": "/cgi-bin/tags/get"}],
        "quota.clear_path": [{"cgi_path": "/cgi-bin/tags/get"}],
    }


def menu() -> Examples:
    from wxmp.api.menu import MatchRule, MenuButton

    click = MenuButton.click("点", "K")
    article, media = MenuButton.article("文", "A1"), MenuButton.media("图", "M1")
    program = MenuButton.miniprogram("店", appid=APPID, pagepath="p", url=URL)
    every = [MenuButton.sub_menu("多", [MenuButton.view("页", URL), article, media]), program, click]
    return {
        "menu.create": [{"menu": [click]}, {"menu": every}, {"menu": [article, media]}],
        "menu.get_current": [{}],
        "menu.get": [{}],
        "menu.delete": [{}],
        "menu.add_conditional": [
            {"menu": [click], "matchrule": MatchRule(tag_id=2)},
            {"menu": every, "matchrule": MatchRule(tag_id=2, client_platform_type="1")},
        ],
        "menu.delete_conditional": [{"menu_id": "208379533"}],
        "menu.try_match": [{"user_id": OPENID}],
    }


def user() -> Examples:
    return {
        "user.get": [{"openid": OPENID}, {"openid": OPENID, "lang": "en"}],
        "user.batch_get": [{"openids": [OPENID]}, {"openids": [OPENID, "o2"], "lang": "zh_TW"}],
        "user.list": [{}, {"next_openid": OPENID}],
        "user.update_remark": [{"openid": OPENID, "remark": "老王"}],
        "user.change_openid": [{"openids": [OPENID], "from_appid": APPID}],
    }


def tag() -> Examples:
    return {
        "tag.create": [{"name": "茶"}],
        "tag.list": [{}],
        "tag.update": [{"tag_id": 100, "name": "茶"}],
        "tag.delete": [{"tag_id": 100}],
        "tag.list_members": [{"tag_id": 100}, {"tag_id": 100, "next_openid": OPENID}],
        "tag.add_members": [{"tag_id": 100, "openids": [OPENID]}],
        "tag.remove_members": [{"tag_id": 100, "openids": [OPENID]}],
        "tag.list_for_user": [{"openid": OPENID}],
    }


def blacklist() -> Examples:
    return {
        "blacklist.list": [{}, {"next_openid": OPENID}],
        "blacklist.add": [{"openids": [OPENID]}],
        "blacklist.remove": [{"openids": [OPENID]}],
    }


def group() -> Examples:
    return {
        "group.create": [{"name": "茶"}],
        "group.list": [{}],
        "group.get_for_user": [{"openid": OPENID}],
        "group.update": [{"group_id": 100, "name": "茶"}],
        "group.move_member": [{"openid": OPENID, "group_id": 100}],
        "group.move_members": [{"openids": [OPENID], "group_id": 100}],
        "group.delete": [{"group_id": 100}],
    }


def template() -> Examples:
    from wxmp.api.template import TemplateMiniProgram, TemplateValue

    send = {"openid": OPENID, "template_id": "T1"}
    return {
        "template.send": [
            {**send, "data": {"thing1": "茶"}},
            {
                **send,
                "data": {"thing1": TemplateValue("茶", "#FF0000")},
                "url": URL,
                "miniprogram": TemplateMiniProgram(APPID, "p"),
                "client_msg_id": "order-1",
            },
        ],
        "template.set_industry": [{"industry_id1": 1, "industry_id2": "4"}],
        "template.get_industry": [{}],
        "template.add": [
            {"template_id_short": "TM00015"},
            {"template_id_short": "1234", "keyword_name_list": ["订单号"]},
        ],
        "template.list": [{}],
        "template.delete": [{"template_id": "T1"}],
        "template.list_blocked": [{"msg_id": 7}, {"msg_id": 7, "largest_id": 5, "count": 10}],
    }


def custom() -> Examples:
    from wxmp.api import custom as room

    lines = [room.CustomMenuLine("1", "好"), room.CustomMenuLine("2", "坏")]
    messages = [
        room.CustomText("在的"),
        room.CustomImage("M1"),
        room.CustomVoice("M1"),
        room.CustomVideo("M1", "M2", "t", "d"),
        room.CustomMusic(URL, "M2", "t", "d", URL),
        room.CustomNews("t", URL, "d", URL),
        room.CustomMPNews("M1"),
        room.CustomMPNewsArticle("A1"),
        room.CustomMenu(lines, "喜欢吗", "谢谢"),
        room.CustomCard("C1"),
        room.CustomMiniProgram("t", APPID, "p", "M2"),
    ]
    more = {"kf_account": "anna@shop", "ai_generated": True, "business_id": "B1"}
    return {
        "custom.send": [
            *({"openid": OPENID, "message": message} for message in messages),
            {"openid": OPENID, "message": "在的", **more},
        ],
        "custom.set_typing": [
            {"openid": OPENID},
            {"openid": OPENID, "command": "CancelTyping", "business_id": "B1"},
        ],
    }


def qrcode() -> Examples:
    rule = {"prefix": URL, "appid": APPID, "path": "p"}
    return {
        "qrcode.create": [{"scene": 123}, {"scene": "shop", "expire_seconds": 60}, {"scene": 5, "permanent": True}],
        "qrcode.get_image": [{"ticket": "gQH=="}],
        "qrcode.list_rules": [
            {},
            {"appid": APPID, "get_type": 1, "prefix_list": [URL]},
            {"get_type": 2, "page": 1, "page_size": 20},
        ],
        "qrcode.save_rule": [
            rule,
            {**rule, "is_edit": True, "open_version": 1, "debug_urls": [URL], "permit_sub_rule": True},
        ],
        "qrcode.publish_rule": [{"prefix": URL}],
        "qrcode.delete_rule": [{"prefix": URL}, {"prefix": URL, "appid": APPID}],
    }


def oauth() -> Examples:
    page = {"redirect_uri": URL}
    more = {"scope": "snsapi_userinfo", "state": "s1", "force_popup": True, "force_snapshot": False}
    user_token = "USER-TOKEN-OF-THE-TESTS"
    return {
        "oauth.authorize_url": [page, {**page, **more}],
        "oauth.get_token": [{"code": "CODE1"}],
        "oauth.refresh_token": [{"refresh_token": "R1"}],
        "oauth.get_user": [
            {"access_token": user_token, "openid": OPENID},
            {"access_token": user_token, "openid": OPENID, "lang": "en"},
        ],
        "oauth.check_token": [{"access_token": user_token, "openid": OPENID}],
    }


def jssdk() -> Examples:
    return {"jssdk.sign": [{"url": URL}]}


def autoreply() -> Examples:
    return {"autoreply.get": [{}]}


def shorturl() -> Examples:
    return {
        "shorturl.create": [{"long_data": URL}, {"long_data": URL, "expire_seconds": 60}],
        "shorturl.fetch": [{"short_key": "abcdefghijklmno"}],
    }


def subscribe() -> Examples:
    from wxmp.api.subscribe import TemplateMiniProgram, TemplateValue

    program = {"miniprogram": TemplateMiniProgram(APPID, "p")}
    send: dict[str, Any] = {"openid": OPENID, "template_id": "T1", "data": {"thing1": "茶"}}
    once = {"openid": OPENID, "template_id": "T1", "scene": 5, "title": "t", "content": "c"}
    coloured = TemplateValue("c", "#FF0000")
    return {
        "subscribe.send_one_time": [once, {**once, "content": coloured, "url": URL, **program}],
        "subscribe.send": [
            send,
            {**send, "page": "p", **program, "miniprogram_state": "trial", "lang": "zh_CN", "client_msg_id": "order-1"},
        ],
        "subscribe.add_template": [{"tid": "2034", "kid_list": [1, 6], "scene_desc": "上课"}],
        "subscribe.delete_template": [{"template_id": "T1"}],
        "subscribe.list_categories": [{}],
        "subscribe.list_public_titles": [
            {"category_ids": [616, 615]},
            {"category_ids": [616], "offset": 30, "count": 10},
        ],
        "subscribe.list_public_keywords": [{"tid": 2034}],
        "subscribe.list_templates": [{}],
    }


def kf() -> Examples:
    agent = {"kf_account": "anna@shop"}
    talk = {"openid": OPENID, **agent}
    span = {"start_time": datetime(2026, 6, 1, tzinfo=UTC), "end_time": datetime(2026, 6, 2, tzinfo=UTC)}
    return {
        "kf.list_accounts": [{}, {"business_id": "B1"}],
        "kf.list_online_accounts": [{}, {"business_id": "B1"}],
        "kf.add_account": [
            {**agent, "nickname": "安娜"},
            {**agent, "nickname": "安娜", "password": "secret", "business_id": "B1"},
        ],
        "kf.update_account": [{**agent, "nickname": "安娜"}],
        "kf.delete_account": [agent, {**agent, "business_id": "B1"}],
        "kf.upload_avatar": [{**agent, "media": JPEG}],
        "kf.invite_worker": [{**agent, "invite_wx": "wx_anna"}],
        "kf.create_session": [talk, {**talk, "text": "一位老顾客"}],
        "kf.close_session": [talk],
        "kf.get_session": [{"openid": OPENID}],
        "kf.list_sessions": [agent],
        "kf.list_waiting": [{}],
        "kf.list_messages": [span, {**span, "msg_id": 20, "count": 100}],
    }


def mass() -> Examples:
    from wxmp.api import mass as room

    keyed = {"client_msg_id": "order-1", "send_ignore_reprint": True}
    images = room.MassImages(["M1", "M2"], "推荐", title="t", need_open_comment=True, only_fans_can_comment=False)
    messages = [
        room.MassNews("M1"),
        room.MassVoice("M1"),
        images,
        room.MassVideo("M1", "t", "d"),
        room.MassCard("C1"),
        room.MassText("你好"),
    ]
    openids = [OPENID, "o2"]
    card = room.MassCard("C1", {"code": "c", "openid": OPENID, "timestamp": "1", "signature": "s"})
    plain = [message for message in messages if not isinstance(message, room.MassVideo)]
    previews = [*plain, room.MassVideo("M1"), room.MassMusic("M1"), room.MassImages(["M1"]), card]
    article = room.MassArticle("t", "<p>c</p>", "M1")
    more: dict[str, Any] = {"author": "a", "digest": "d", "content_source_url": URL, "show_cover_pic": True}
    full = attrs.evolve(article, **more, need_open_comment=True, only_fans_can_comment=True)
    return {
        "mass.send_all": [
            {"message": "你好", "is_to_all": True},
            *({"message": message, "tag_id": 2, **keyed} for message in messages),
        ],
        "mass.send": [
            {"openids": openids, "message": "你好"},
            *({"openids": openids, "message": message, **keyed} for message in messages),
        ],
        "mass.preview": [
            {"message": "你好", "openid": OPENID},
            *({"message": message, "wechat_id": "wx_anna"} for message in previews),
        ],
        "mass.delete": [{"msg_id": 1}, {"msg_id": 1, "index": 2}, {"url": URL}],
        "mass.get_status": [{"msg_id": 1}],
        "mass.get_speed": [{}],
        "mass.set_speed": [{"speed": 2}],
        "mass.upload_news": [{"articles": article}, {"articles": [full]}],
        "mass.upload_video": [{"media_id": "M1"}, {"media_id": "M1", "title": "t", "description": "d"}],
    }


def articles() -> Any:
    """Articles for drafts and materials: the smallest, all that an article can hold, all that pictures can hold."""
    from wxmp.api import articles as room

    news = room.Article("t", "<p>c</p>", "M1")
    both: dict[str, Any] = {"author": "a", "digest": "d", "content_source_url": URL, "product_key": "P1"}
    both |= {"need_open_comment": True, "only_fans_can_comment": True}
    crop = room.Crop(0, 0, 1, 0.5)
    full = attrs.evolve(news, **both, pic_crop_235_1=crop, pic_crop_1_1=crop)
    pictures = room.PictureArticle("t", "c", ["M1"], **both, crop_percent_list=[room.CoverCrop("1_1", 0, 0, 1, 1)])
    return news, full, pictures


def media() -> Examples:
    return {
        "media.upload": [{"media": JPEG, "type": "image"}],
        "media.get": [{"media_id": "M1"}],
        "media.get_hd_voice": [{"media_id": "M1"}],
    }


def material() -> Examples:
    news, full, _ = articles()
    # What came later than materials cannot be sent here.
    older = attrs.evolve(full, pic_crop_235_1=None, pic_crop_1_1=None, product_key=None)
    place = {"media_id": "M1", "index": 0}
    return {
        "material.add": [
            {"media": JPEG, "type": "image"},
            {"media": MP4, "type": "video", "title": "t", "description": "i"},
        ],
        "material.get": [{"media_id": "M1"}],
        "material.delete": [{"media_id": "M1"}],
        "material.count": [{}],
        "material.list": [{"type": "news"}, {"type": "image", "offset": 20, "count": 10}],
        "material.upload_article_image": [{"media": JPEG}],
        "material.add_news": [{"articles": news}, {"articles": [older]}],
        "material.update_news": [{**place, "article": news}, {**place, "article": older}],
    }


def draft() -> Examples:
    news, full, pictures = articles()
    place = {"media_id": "D1", "index": 0}
    card = {"product_id": "1", "article_type": "news", "card_type": 0}
    return {
        "draft.add": [{"articles": news}, {"articles": [full]}, {"articles": [pictures]}],
        "draft.update": [{**place, "article": news}, {**place, "article": full}, {**place, "article": pictures}],
        "draft.get": [{"media_id": "D1"}],
        "draft.delete": [{"media_id": "D1"}],
        "draft.count": [{}],
        "draft.list": [{}, {"offset": 20, "count": 10, "no_content": True}],
        "draft.switch": [{}, {"check_only": True}],
        "draft.get_product_card": [card],
    }


def publish() -> Examples:
    return {
        "publish.submit": [{"media_id": "D1"}],
        "publish.get_status": [{"publish_id": "100000001"}],
        "publish.delete": [{"article_id": "A1", "index": 1}],
        "publish.get_article": [{"article_id": "A1"}],
        "publish.list": [{}, {"offset": 20, "count": 10, "no_content": True}],
    }


def comment() -> Examples:
    article = {"msg_data_id": DATA_ID, "index": 1}
    one = {"msg_data_id": DATA_ID, "user_comment_id": 7}
    return {
        "comment.open": [{"msg_data_id": DATA_ID}, article],
        "comment.close": [{"msg_data_id": DATA_ID}, article],
        "comment.list": [{"msg_data_id": DATA_ID}, {**article, "offset": 49, "count": 10, "type": 2}],
        "comment.feature": [one, {**one, "index": 1}],
        "comment.unfeature": [one, {**one, "index": 1}],
        "comment.delete": [one, {**one, "index": 1}],
        "comment.reply": [{**one, "content": "谢谢"}, {**one, "content": "谢谢", "index": 1}],
        "comment.delete_reply": [one, {**one, "index": 1}],
    }


def datacube() -> Examples:
    # A Monday that is the first of its month: the begin of a day, a week and a month.
    first = {"begin_date": date(2026, 6, 1)}
    page = {**first, "end_date": date(2026, 6, 1), "page": 2, "page_size": 10, "ad_slot": "SLOT_ID_BIZ_BOTTOM"}
    reports = [call for call in FACTS if call.startswith("datacube.get_") and "_ad_" not in call]
    return {
        **{call: [first] for call in reports},
        "datacube.get_ad_slot_stats": [first, page],
        "datacube.get_ad_cps_stats": [first, page],
        "datacube.get_ad_settlement": [first, page],
    }


def ai() -> Examples:
    both: list[dict[str, Any]] = [{"img": JPEG}, {"img_url": URL}]
    voice = {"media": MP3, "voice_id": "V1"}
    return {
        "ai.ocr_id_card": [*both, {"img": JPEG, "type": "photo"}],
        "ai.ocr_bank_card": both,
        "ai.ocr_vehicle_license": both,
        "ai.ocr_driving_license": both,
        "ai.ocr_business_license": both,
        "ai.ocr_text": both,
        "ai.ocr_plate_number": both,
        "ai.ocr_menu": both,
        "ai.scan_codes": both,
        "ai.smart_crop": [*both, {"img": JPEG, "ratios": [1.0, 2.35]}],
        "ai.super_resolution": both,
        "ai.submit_voice": [voice, {**voice, "lang": "en_US"}],
        "ai.get_voice_result": [{"voice_id": "V1"}, {"voice_id": "V1", "lang": "zh_CN"}],
        "ai.translate": [{"content": "茶", "from_lang": "zh_CN", "to_lang": "en_US"}],
    }


def examples_of(call: str) -> list[dict[str, Any]]:
    """Return the arguments of a call, the smallest first.

    Raises:
        LookupError: There are none.
    """
    family: Any = globals().get(call.partition(".")[0])
    found: Examples = family() if family is not None else {}
    if call not in found:
        raise LookupError(f"{call} has no example in {__name__}")
    return found[call]
