"""Recognition in pictures, speech to text, translation: requests, results, local checks, errors."""

from __future__ import annotations

import json
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp import APIError, ArgumentError, ConfigError, NotAuthorizedError, NotFoundError, RateLimitError, ReplyError
from wxmp.api.ai import (
    AIAPI,
    BankCard,
    BusinessLicense,
    CardPosition,
    CodeScan,
    Corners,
    CropBox,
    CropSuggestions,
    Dish,
    DrivingLicense,
    IDCard,
    IDCardSide,
    ImageSize,
    PlateNumber,
    Point,
    RestaurantMenu,
    ScannedCode,
    TextLine,
    TextScan,
    Translation,
    VehicleLicense,
    VoiceResult,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import respx

    from wxmp._caller import Caller

    from .conftest import Platform

OK = {"errcode": 0, "errmsg": "ok"}
URL = "https://shop.example.com/图.jpg?a=1&b=2"
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 60
MP3 = b"ID3\x04" + b"\0" * 60

POS = {
    "left_top": {"x": 585, "y": 378},
    "right_top": {"x": "828", "y": 378.5},
    "right_bottom": {"x": 828, "y": 618},
    "left_bottom": {"x": 585, "y": 618},
}
CORNERS = Corners(Point(585, 378), Point(828, 378.5), Point(828, 618), Point(585, 618))
SIZE = {"w": 966, "h": "728"}

#: Every call with a picture: its path, and the least the platform answers.
PICTURES = {
    "ocr_id_card": ("/cv/ocr/idcard", {}),
    "ocr_bank_card": ("/cv/ocr/bankcard", {}),
    "ocr_vehicle_license": ("/cv/ocr/driving", {}),
    "ocr_driving_license": ("/cv/ocr/drivinglicense", {}),
    "ocr_business_license": ("/cv/ocr/bizlicense", {}),
    "ocr_text": ("/cv/ocr/comm", {}),
    "ocr_plate_number": ("/cv/ocr/platenum", {}),
    "ocr_menu": ("/cv/ocr/menu", {"content": {}}),
    "scan_codes": ("/cv/img/qrcode", {"code_results": []}),
    "smart_crop": ("/cv/img/aicrop", {"results": []}),
    "super_resolution": ("/cv/img/superresolution", {"media_id": "M"}),
}
ADD_VOICE = "/cgi-bin/media/voice/addvoicetorecofortext"
VOICE_RESULT = "/cgi-bin/media/voice/queryrecoresultfortext"
TRANSLATE = "/cgi-bin/media/voice/translatecontent"


@pytest.fixture
def ai(caller: Caller) -> AIAPI:
    return AIAPI(caller)


def form(route: respx.Route, call: int = -1) -> dict[str, tuple[str | None, bytes]]:
    """Return the parts of an upload: file name and content of each."""
    request = route.calls[call].request
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request.content)
    parts: dict[str, tuple[str | None, bytes]] = {}
    for part in message.get_payload():  # type: ignore[union-attr]
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        parts[str(name)] = (part.get_filename(), part.get_payload(decode=True))  # type: ignore[union-attr, assignment]
    return parts


# ---- pictures


@pytest.mark.parametrize("call", PICTURES)
async def test_a_picture_is_uploaded(platform: Platform, ai: AIAPI, call: str) -> None:
    """Bytes go into the form field img, under a name with the extension of their format, and nothing beside them."""
    path, reply = PICTURES[call]
    route = platform.answer("POST", path, {**OK, **reply})
    await getattr(ai, call)(JPEG)
    assert platform.params(route) == {}
    assert form(route) == {"img": ("media.jpg", JPEG)}


@pytest.mark.parametrize("call", PICTURES)
async def test_a_picture_elsewhere_is_named(platform: Platform, ai: AIAPI, call: str) -> None:
    """An address goes into the query, encoded once; the body is an empty object."""
    path, reply = PICTURES[call]
    route = platform.answer("POST", path, {**OK, **reply})
    await getattr(ai, call)(img_url=URL)
    assert platform.params(route) == {"img_url": URL}
    assert platform.raw(route) == b"{}"
    assert b"%253A" not in route.calls.last.request.url.raw_path


@pytest.mark.parametrize("call", PICTURES)
@pytest.mark.parametrize("arguments", [{}, {"img": JPEG, "img_url": URL}])
async def test_one_picture_is_needed(platform: Platform, ai: AIAPI, call: str, arguments: dict[str, Any]) -> None:
    """No picture and two pictures are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await getattr(ai, call)(**arguments)
    assert (caught.value.errcode, caught.value.field) == (41005, "img")


@pytest.mark.parametrize("address", ["", " ", "shop.example.com/a.jpg", "file:///etc/hosts", 7])
async def test_an_address_must_be_one(platform: Platform, ai: AIAPI, address: Any) -> None:
    """What the platform cannot load is not sent."""
    with pytest.raises(ArgumentError) as caught:
        await ai.ocr_text(img_url=address)
    assert (caught.value.errcode, caught.value.field) == (101000, "img_url")


@pytest.mark.parametrize(
    ("content", "filename", "errcode", "field"),
    [
        (b"", "a.jpg", 44001, "img"),
        (b"%PDF-1.7" + b"\0" * 40, "a.jpg", 101002, "img"),
        (JPEG, "a.pdf", 101002, "filename"),
        (b"\xff\xd8\xff" + b"\0" * (2 * 1024 * 1024), None, 101002, "img"),
    ],
)
async def test_a_file_must_be_a_picture(
    platform: Platform, ai: AIAPI, content: bytes, filename: str | None, errcode: int, field: str
) -> None:
    """Empty, large and foreign files are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.ocr_text(content, filename=filename)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_a_picture_from_a_path(platform: Platform, ai: AIAPI, tmp_path: Path) -> None:
    """A path is read, and gives its name."""
    path = tmp_path / "card.JPG"
    path.write_bytes(JPEG)
    route = platform.answer("POST", "/cv/ocr/comm", OK)
    await ai.ocr_text(path)
    assert form(route) == {"img": ("card.JPG", JPEG)}


async def test_a_picture_from_an_iterator(platform: Platform, ai: AIAPI) -> None:
    """What an iterator gives is one picture, under the name given."""

    async def pieces() -> AsyncIterator[bytes]:
        yield JPEG[:5]
        yield JPEG[5:]

    route = platform.answer("POST", "/cv/ocr/comm", OK)
    await ai.ocr_text(pieces(), filename="scan.jpeg")
    assert form(route) == {"img": ("scan.jpeg", JPEG)}


async def test_a_path_to_nothing(platform: Platform, ai: AIAPI, tmp_path: Path) -> None:
    """A file that is not there is a mistake of the program."""
    with pytest.raises(ConfigError):
        await ai.ocr_text(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (101000, ArgumentError),
        (101001, NotFoundError),
        (101002, ArgumentError),
        (101003, RateLimitError),
        (48001, NotAuthorizedError),
    ],
)
@pytest.mark.parametrize("call", PICTURES)
async def test_errors_of_pictures(platform: Platform, ai: AIAPI, call: str, code: int, error: type[APIError]) -> None:
    """A bad picture, one with nothing in it, a used-up quota and a missing right are different errors."""
    platform.answer("POST", PICTURES[call][0], {"errcode": code, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await getattr(ai, call)(JPEG)
    assert caught.value.errcode == code


@pytest.mark.parametrize("call", PICTURES)
async def test_a_broken_call_is_repeated(platform: Platform, ai: AIAPI, call: str) -> None:
    """A repeat costs one call of the quota and no more, so the picture is sent again."""
    path, reply = PICTURES[call]
    route = platform.answer("POST", path, httpx.Response(502), {**OK, **reply})
    await getattr(ai, call)(JPEG)
    assert form(route, 0) == form(route, 1) == {"img": ("media.jpg", JPEG)}


# ---- what is read


async def test_id_card_reads_every_field(platform: Platform, ai: AIAPI) -> None:
    """All documented fields are typed, numbers become text, new ones are kept."""
    reply = {
        "type": "Front",
        "name": "张三",
        "id": 110101199001011234,
        "addr": "北京市",
        "gender": "男",
        "nationality": "汉",
        "valid_date": "20070105-20270105",
        "score": 9,
    }
    route = platform.answer("POST", "/cv/ocr/idcard", {**OK, **reply})
    card = await ai.ocr_id_card(img_url=URL, type="photo")
    assert card == IDCard(
        IDCardSide.FRONT,
        "张三",
        "110101199001011234",
        "北京市",
        "男",
        "汉",
        "20070105-20270105",
        extra={"score": 9},
    )
    assert isinstance(card.type, IDCardSide)
    assert platform.params(route) == {"type": "photo", "img_url": URL}


async def test_id_card_of_a_side_nobody_knows(platform: Platform, ai: AIAPI) -> None:
    """A side that this version does not know stays what it is, and the fields of the other side are empty."""
    platform.answer("POST", "/cv/ocr/idcard", {**OK, "type": "Both", "valid_date": None})
    card = await ai.ocr_id_card(JPEG)
    assert card == IDCard("Both")
    assert card.valid_date == ""


async def test_id_card_sends_its_type_beside_a_file(platform: Platform, ai: AIAPI) -> None:
    """The kind of picture goes into the query also of an upload."""
    route = platform.answer("POST", "/cv/ocr/idcard", OK)
    await ai.ocr_id_card(JPEG, type="scan")
    assert platform.params(route) == {"type": "scan"}


async def test_id_card_checks_its_type(platform: Platform, ai: AIAPI) -> None:
    """Another kind of picture is refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.ocr_id_card(JPEG, type="video")  # type: ignore[arg-type]
    assert (caught.value.errcode, caught.value.field) == (40035, "type")


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        ("ocr_id_card", {"id": "SECRET", "new": "SECRET"}),
        ("ocr_bank_card", {"number": "SECRET", "new": "SECRET"}),
        ("ocr_driving_license", {"id_num": "SECRET", "new": "SECRET"}),
    ],
)
async def test_numbers_of_people_are_not_shown(platform: Platform, ai: AIAPI, call: str, reply: dict[str, str]) -> None:
    """A record that lands in a log does not show the number of a card."""
    platform.answer("POST", PICTURES[call][0], {**OK, **reply})
    found = await getattr(ai, call)(JPEG)
    assert found.extra == {"new": "SECRET"}
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize("name", ["number", "id"])
async def test_bank_card_under_both_names(platform: Platform, ai: AIAPI, name: str) -> None:
    """The number has two names in the documentation."""
    platform.answer("POST", "/cv/ocr/bankcard", {**OK, name: "6222021234567890"})
    assert (await ai.ocr_bank_card(JPEG)).number == "6222021234567890"


async def test_bank_card_without_anything(platform: Platform, ai: AIAPI) -> None:
    """A card on which nothing was read is an empty record."""
    platform.answer("POST", "/cv/ocr/bankcard", OK)
    assert await ai.ocr_bank_card(JPEG) == BankCard()


async def test_vehicle_license_reads_every_field(platform: Platform, ai: AIAPI) -> None:
    """All documented fields are typed, the places of the pages included."""
    texts: dict[str, Any] = {
        "plate_num": "粤B1",
        "vehicle_type": "小型普通客车",
        "owner": "东莞市",
        "addr": "广东省",
        "use_character": "非营运",
        "model": "江淮牌",
        "vin": "LJ166",
        "engine_num": "J3",
        "register_date": "2018-07-06",
        "issue_date": "2018-07-01",
        "plate_num_b": "粤B1",
        "record": "441",
        "passengers_num": "7人",
        "total_quality": "2700kg",
        "prepare_quality": "1995kg",
        "overall_size": "4582x1795x1458mm",
    }
    positions = {"card_position_front": {"pos": POS}, "card_position_back": {"pos": POS}, "img_size": SIZE}
    platform.answer("POST", "/cv/ocr/driving", {**OK, **texts, **positions})
    place = CardPosition(CORNERS)
    assert await ai.ocr_vehicle_license(JPEG) == VehicleLicense(
        **texts, card_position_front=place, card_position_back=place, img_size=ImageSize(966, 728)
    )


async def test_vehicle_license_of_one_page(platform: Platform, ai: AIAPI) -> None:
    """A page that is not in the picture has no place."""
    platform.answer("POST", "/cv/ocr/driving", {**OK, "plate_num": "粤B1", "card_position_back": None})
    found = await ai.ocr_vehicle_license(JPEG)
    assert (found.card_position_front, found.card_position_back, found.img_size) == (None, None, None)


async def test_driving_license_reads_every_field(platform: Platform, ai: AIAPI) -> None:
    """All documented fields are typed; dates stay as they are written."""
    texts: dict[str, Any] = {
        "id_num": "660601199501010000",
        "name": "张三",
        "sex": "男",
        "nationality": "中国",
        "address": "广东省",
        "birth_date": "1990-12-21",
        "issue_date": "2012-12-21",
        "car_class": "C1",
        "valid_from": "2018-07-06",
        "valid_to": "2020-07-01",
        "official_seal": "广东省公安局",
    }
    platform.answer("POST", "/cv/ocr/drivinglicense", {**OK, **texts})
    assert await ai.ocr_driving_license(JPEG) == DrivingLicense(**texts)


async def test_business_license_reads_every_field(platform: Platform, ai: AIAPI) -> None:
    """All documented fields are typed, the place of the certificate included."""
    texts: dict[str, Any] = {
        "reg_num": "123",
        "serial": "4",
        "legal_representative": "张三",
        "enterprise_name": "某公司",
        "type_of_organization": "个人经营",
        "address": "某路",
        "type_of_enterprise": "有限责任公司",
        "business_scope": "茶",
        "registered_capital": "200万",
        "paid_in_capital": "200万",
        "valid_period": "1年",
        "registered_date": "2018/01/01",
    }
    platform.answer("POST", "/cv/ocr/bizlicense", {**OK, **texts, "cert_position": {"pos": POS}, "img_size": SIZE})
    assert await ai.ocr_business_license(JPEG) == BusinessLicense(
        **texts, cert_position=CardPosition(CORNERS), img_size=ImageSize(966, 728)
    )


async def test_text_reads_every_line(platform: Platform, ai: AIAPI) -> None:
    """Lines come with their places, in the order of the platform."""
    items = [{"text": "腾讯", "pos": POS}, {"text": "微信"}]
    platform.answer("POST", "/cv/ocr/comm", {**OK, "items": items, "img_size": SIZE})
    assert await ai.ocr_text(JPEG) == TextScan(
        (TextLine("腾讯", CORNERS), TextLine("微信")), img_size=ImageSize(966, 728)
    )


async def test_text_of_an_empty_page(platform: Platform, ai: AIAPI) -> None:
    """A picture without text is no error."""
    platform.answer("POST", "/cv/ocr/comm", OK)
    assert (await ai.ocr_text(JPEG)).items == ()


async def test_plate_number(platform: Platform, ai: AIAPI) -> None:
    """The number of the plate is read."""
    platform.answer("POST", "/cv/ocr/platenum", {**OK, "number": "苏A123456"})
    assert await ai.ocr_plate_number(JPEG) == PlateNumber("苏A123456")


@pytest.mark.parametrize("written", [json.dumps, dict], ids=["text", "object"])
async def test_menu_in_both_shapes(platform: Platform, ai: AIAPI, written: Any) -> None:
    """Dishes are read from an object as well as from JSON inside a text."""
    content = {"menu_items": [{"name": "烧鹅", "price": 58.5}, {"name": "龙虾", "price": "时价"}], "lang": "zh"}
    platform.answer("POST", "/cv/ocr/menu", {**OK, "content": written(content)})
    assert await ai.ocr_menu(JPEG) == RestaurantMenu((Dish("烧鹅", "58.5"), Dish("龙虾", "时价")), extra={"lang": "zh"})


@pytest.mark.parametrize("reply", [{}, {"content": "no JSON"}, {"content": []}])
async def test_menu_without_a_readable_content(platform: Platform, ai: AIAPI, reply: dict[str, Any]) -> None:
    """A content that is no object in any form is a ReplyError."""
    platform.answer("POST", "/cv/ocr/menu", {**OK, **reply})
    with pytest.raises(ReplyError):
        await ai.ocr_menu(JPEG)


async def test_codes_read_every_field(platform: Platform, ai: AIAPI) -> None:
    """Each code has its kind, what it says, and its place where the platform gives one."""
    codes = [
        {"type_name": "QR_CODE", "data": "http://www.qq.com", "pos": POS},
        {"type_name": "EAN_13", "data": 5906789678957},
    ]
    platform.answer("POST", "/cv/img/qrcode", {**OK, "code_results": codes, "img_size": SIZE})
    assert await ai.scan_codes(JPEG) == CodeScan(
        (ScannedCode("QR_CODE", "http://www.qq.com", CORNERS), ScannedCode("EAN_13", "5906789678957")),
        img_size=ImageSize(966, 728),
    )


@pytest.mark.parametrize(("call", "name"), [("scan_codes", "code_results"), ("smart_crop", "results")])
async def test_a_missing_list_is_no_empty_one(platform: Platform, ai: AIAPI, call: str, name: str) -> None:
    """A picture without codes has an empty list; an answer without the list is a ReplyError."""
    platform.answer("POST", PICTURES[call][0], OK)
    with pytest.raises(ReplyError, match=name):
        await getattr(ai, call)(JPEG)


# ---- crops


async def test_crop_reads_every_field(platform: Platform, ai: AIAPI) -> None:
    """Each crop has its four edges."""
    crop = {"crop_left": 112, "crop_top": 0, "crop_right": "839", "crop_bottom": 727}
    platform.answer("POST", "/cv/img/aicrop", {**OK, "results": [crop], "img_size": SIZE})
    assert await ai.smart_crop(JPEG) == CropSuggestions((CropBox(112, 0, 839, 727),), img_size=ImageSize(966, 728))


async def test_crop_sends_its_ratios_beside_a_file(platform: Platform, ai: AIAPI) -> None:
    """Ratios are a field of the form, separated by commas, short ones short."""
    route = platform.answer("POST", "/cv/img/aicrop", {**OK, "results": []})
    await ai.smart_crop(JPEG, ratios=[1, 2.35, 16 / 9])
    assert form(route) == {"ratios": (None, b"1,2.35,1.77778"), "img": ("media.jpg", JPEG)}


async def test_crop_sends_its_ratios_without_a_file(platform: Platform, ai: AIAPI) -> None:
    """Beside an address they are a form as well, without a file."""
    route = platform.answer("POST", "/cv/img/aicrop", {**OK, "results": []})
    await ai.smart_crop(img_url=URL, ratios=(1.0,))
    assert platform.params(route) == {"img_url": URL}
    assert form(route) == {"ratios": (None, b"1")}


@pytest.mark.parametrize(
    ("ratios", "field"),
    [
        ([], "ratios"),
        ([1] * 6, "ratios"),
        ("1,2", "ratios"),
        ([1, 0], "ratios[1]"),
        ([-1], "ratios[0]"),
        ([float("nan")], "ratios[0]"),
        ([float("inf")], "ratios[0]"),
        (["1"], "ratios[0]"),
        ([True], "ratios[0]"),
    ],
)
async def test_crop_checks_its_ratios(platform: Platform, ai: AIAPI, ratios: Any, field: str) -> None:
    """Ratios that are none, and too many, are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.smart_crop(JPEG, ratios=ratios)
    assert (caught.value.errcode, caught.value.field) == (40035, field)


# ---- enlarging


async def test_super_resolution_gives_a_material(platform: Platform, ai: AIAPI) -> None:
    """The result is the id of a temporary material."""
    platform.answer("POST", "/cv/img/superresolution", {**OK, "media_id": "MEDIA"})
    assert await ai.super_resolution(JPEG) == "MEDIA"


async def test_super_resolution_without_a_material(platform: Platform, ai: AIAPI) -> None:
    """An answer without the id is a ReplyError."""
    platform.answer("POST", "/cv/img/superresolution", OK)
    with pytest.raises(ReplyError, match="media_id"):
        await ai.super_resolution(JPEG)


# ---- speech


async def test_voice_is_uploaded(platform: Platform, ai: AIAPI) -> None:
    """Format, id and language go into the query, the sound into the form field media."""
    route = platform.answer("POST", ADD_VOICE, {"errcode": "0", "errmsg": "ok"})
    assert await ai.submit_voice(MP3, voice_id="v1", lang="en_US") == "v1"
    assert platform.params(route) == {"format": "mp3", "voice_id": "v1", "lang": "en_US"}
    assert form(route) == {"media": ("media.mp3", MP3)}


async def test_voice_gets_an_id(platform: Platform, ai: AIAPI) -> None:
    """Without an id one is made, another one for each upload, the same for a repeat of it."""
    route = platform.answer("POST", ADD_VOICE, httpx.Response(502), OK, OK)
    first, second = await ai.submit_voice(MP3), await ai.submit_voice(MP3)
    assert first != second
    assert [platform.params(route, call)["voice_id"] for call in range(3)] == [first, first, second]
    assert "lang" not in platform.params(route)


@pytest.mark.parametrize(
    ("media", "arguments", "errcode", "field"),
    [
        (JPEG, {}, 40005, "media"),
        (MP3 + b"\0" * (1024 * 1024), {}, 40010, "media"),
        (b"", {}, 44001, "media"),
        (MP3, {"filename": "a.amr"}, 40005, "filename"),
        (MP3, {"voice_id": ""}, 40035, "voice_id"),
        (MP3, {"lang": "fr_FR"}, 40035, "lang"),
    ],
)
async def test_voice_checks(
    platform: Platform, ai: AIAPI, media: bytes, arguments: dict[str, Any], errcode: int, field: str
) -> None:
    """Other sounds, large ones, an empty id and another language are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.submit_voice(media, **arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_voice_that_the_platform_refuses(platform: Platform, ai: AIAPI) -> None:
    """A sound that is too large for the platform is an ArgumentError."""
    platform.answer("POST", ADD_VOICE, {"errcode": "40010", "errmsg": "invalid voice size"})
    with pytest.raises(ArgumentError) as caught:
        await ai.submit_voice(MP3)
    assert caught.value.errcode == 40010


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ({"result": "你好"}, VoiceResult("你好")),
        ({"result": "", "is_end": False}, VoiceResult("", is_end=False)),
        ({"result": "你好", "is_end": 1, "score": 3}, VoiceResult("你好", is_end=True, extra={"score": 3})),
    ],
)
async def test_voice_result(platform: Platform, ai: AIAPI, reply: dict[str, Any], result: VoiceResult) -> None:
    """The text so far, whether it is all where the platform says so, and what else comes."""
    route = platform.answer("POST", VOICE_RESULT, reply)
    assert await ai.get_voice_result("v1", lang="zh_CN") == result
    assert platform.params(route) == {"voice_id": "v1", "lang": "zh_CN"}
    assert platform.raw(route) == b"{}"


async def test_voice_result_without_a_language(platform: Platform, ai: AIAPI) -> None:
    """A language that is not given is not sent."""
    route = platform.answer("POST", VOICE_RESULT, {"result": ""})
    await ai.get_voice_result("v1")
    assert platform.params(route) == {"voice_id": "v1"}


@pytest.mark.parametrize(("arguments", "field"), [({"voice_id": " "}, "voice_id"), ({"lang": "zh"}, "lang")])
async def test_voice_result_checks(platform: Platform, ai: AIAPI, arguments: dict[str, Any], field: str) -> None:
    """An empty id and another language are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.get_voice_result(**{"voice_id": "v1", **arguments})
    assert (caught.value.errcode, caught.value.field) == (40035, field)


async def test_voice_result_without_the_text(platform: Platform, ai: AIAPI) -> None:
    """An answer without the text is a ReplyError, not silence."""
    platform.answer("POST", VOICE_RESULT, OK)
    with pytest.raises(ReplyError, match="result"):
        await ai.get_voice_result("v1")


# ---- translation


async def test_translate(platform: Platform, ai: AIAPI) -> None:
    """The languages go into the query, the text into the body, as raw UTF-8."""
    route = platform.answer("POST", TRANSLATE, {"from_content": "你好", "to_content": "Hello", "model": 2})
    assert await ai.translate("你好", from_lang="zh_CN", to_lang="en_US") == Translation(
        "你好", "Hello", extra={"model": 2}
    )
    assert platform.params(route) == {"lfrom": "zh_CN", "lto": "en_US"}
    assert platform.raw(route) == '{"content":"你好"}'.encode()


@pytest.mark.parametrize("content", ["你好", 'say "hi"\n'])
async def test_translate_where_the_body_is_the_text(platform: Platform, ai: AIAPI, content: str) -> None:
    """A platform that translated the JSON itself is sent the text as a file, as the documentation had it before."""
    wrapped = json.dumps({"content": content}, ensure_ascii=False, separators=(",", ":"))
    route = platform.answer(
        "POST",
        TRANSLATE,
        {"from_content": wrapped, "to_content": wrapped},
        {"from_content": content, "to_content": "Hello"},
    )
    assert await ai.translate(content, from_lang="zh_CN", to_lang="en_US") == Translation(content, "Hello")
    assert platform.params(route) == {"lfrom": "zh_CN", "lto": "en_US"}
    assert form(route) == {"media": ("content.txt", content.encode())}


@pytest.mark.parametrize("content", ['{"content":"你好"}', "{x", "{}"])
async def test_translate_of_what_looks_like_json(platform: Platform, ai: AIAPI, content: str) -> None:
    """A text with braces is translated once."""
    route = platform.answer("POST", TRANSLATE, {"from_content": content, "to_content": "Hello"})
    assert (await ai.translate(content, from_lang="zh_CN", to_lang="en_US")).to_content == "Hello"
    assert route.call_count == 1


async def test_translate_of_a_text_that_comes_back_changed(platform: Platform, ai: AIAPI) -> None:
    """What comes back otherwise, braces or not, is taken as it is."""
    route = platform.answer("POST", TRANSLATE, {"from_content": "{x ", "to_content": "Hello"})
    assert (await ai.translate("{x", from_lang="zh_CN", to_lang="en_US")).from_content == "{x "
    assert route.call_count == 1


async def test_translate_takes_600_bytes(platform: Platform, ai: AIAPI) -> None:
    """600 bytes are 200 Chinese characters, and are sent."""
    platform.answer("POST", TRANSLATE, {"from_content": "", "to_content": ""})
    await ai.translate("中" * 200, from_lang="zh_CN", to_lang="en_US")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"content": ""}, "content"),
        ({"content": "中" * 200 + "a"}, "content"),
        ({"content": None}, "content"),
        ({"from_lang": "zh"}, "from_lang"),
        ({"to_lang": None}, "to_lang"),
    ],
)
async def test_translate_checks(platform: Platform, ai: AIAPI, arguments: dict[str, Any], field: str) -> None:
    """Empty and long texts and other languages are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await ai.translate(**{"content": "x", "from_lang": "en_US", "to_lang": "zh_CN", **arguments})
    assert (caught.value.errcode, caught.value.field) == (40035, field)


async def test_translate_that_the_platform_refuses(platform: Platform, ai: AIAPI) -> None:
    """What the platform refuses is an ArgumentError."""
    platform.answer("POST", TRANSLATE, {"errcode": 40035, "errmsg": "invalid parameter"})
    with pytest.raises(ArgumentError):
        await ai.translate("x", from_lang="en_US", to_lang="zh_CN")
