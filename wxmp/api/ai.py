"""Recognition: cards, licences, texts and codes in pictures; speech to text; translation (智能接口)."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, get_args

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._request import FilePart
from wxmp._wire import JsonObject, decode, loads, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_list, check_text, refusal
from wxmp.api.uploads import UploadRule, send_file
from wxmp.errors import ReplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp.api.uploads import FileSource

__all__ = [
    "AIAPI",
    "BankCard",
    "BusinessLicense",
    "CardPosition",
    "CodeScan",
    "Corners",
    "CropBox",
    "CropSuggestions",
    "Dish",
    "DrivingLicense",
    "IDCard",
    "IDCardSide",
    "ImageSize",
    "PlateNumber",
    "Point",
    "RestaurantMenu",
    "ScannedCode",
    "SpeechLanguage",
    "TextLine",
    "TextScan",
    "Translation",
    "VehicleLicense",
    "VoiceResult",
]

#: What the platform hears and translates: Mandarin and English.
SpeechLanguage = Literal["zh_CN", "en_US"]

#: Bytes in UTF-8.
TRANSLATE_BYTES: Final = 600
#: Most crops in one question.
RATIOS: Final = 5
#: What is smaller, or as large as the second, would be written with an exponent; no picture comes near.
LEAST_RATIO: Final = 0.0001
RATIO_END: Final = 999_999

PARAMETER_REFUSED: Final = 40035
VOICE_TYPE_REFUSED: Final = 40005
VOICE_SIZE_REFUSED: Final = 40010
PICTURE_MISSING: Final = 41005
IMG_URL_REFUSED: Final = 101000
IMAGE_REFUSED: Final = 101002

#: Which formats are read is not said: what is no picture at all is refused. "Under 2 MB", says the documentation, and
#: leaves the last byte of it to the platform.
IMAGE: Final = UploadRule(
    types=("jpg", "jpeg", "png", "bmp", "gif", "webp", "heic", "avif", "tif", "tiff"),
    max_bytes=2 * 1024 * 1024,
    type_refused=IMAGE_REFUSED,
    size_refused=IMAGE_REFUSED,
)
#: The only format there is.
VOICE: Final = UploadRule(
    types=("mp3",), max_bytes=1024 * 1024, type_refused=VOICE_TYPE_REFUSED, size_refused=VOICE_SIZE_REFUSED
)

# A repeat spends one more call of the day or of what was bought, and does no other harm.
OCR_ID_CARD: Final = Endpoint("POST", "/cv/ocr/idcard", repeatable=True)
OCR_BANK_CARD: Final = Endpoint("POST", "/cv/ocr/bankcard", repeatable=True)
OCR_VEHICLE_LICENSE: Final = Endpoint("POST", "/cv/ocr/driving", repeatable=True)
OCR_DRIVING_LICENSE: Final = Endpoint("POST", "/cv/ocr/drivinglicense", repeatable=True)
OCR_BUSINESS_LICENSE: Final = Endpoint("POST", "/cv/ocr/bizlicense", repeatable=True)
OCR_TEXT: Final = Endpoint("POST", "/cv/ocr/comm", repeatable=True)
OCR_PLATE_NUMBER: Final = Endpoint("POST", "/cv/ocr/platenum", repeatable=True)
OCR_MENU: Final = Endpoint("POST", "/cv/ocr/menu", repeatable=True)
SCAN_CODES: Final = Endpoint("POST", "/cv/img/qrcode", repeatable=True)
SMART_CROP: Final = Endpoint("POST", "/cv/img/aicrop", repeatable=True)
SUPER_RESOLUTION: Final = Endpoint("POST", "/cv/img/superresolution", repeatable=True)
SUBMIT_VOICE: Final = Endpoint("POST", "/cgi-bin/media/voice/addvoicetorecofortext", repeatable=True)
GET_VOICE_RESULT: Final = Endpoint("POST", "/cgi-bin/media/voice/queryrecoresultfortext", repeatable=True)
TRANSLATE: Final = Endpoint("POST", "/cgi-bin/media/voice/translatecontent", repeatable=True)


# ---- where something is in a picture


@attrs.frozen
class Point:
    """A place in a picture, in pixels from its upper left corner (坐标)."""

    x: float = 0.0
    y: float = 0.0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Corners:
    """The four corners of what was found; it can be turned and tilted (位置信息)."""

    left_top: Point | None = None
    right_top: Point | None = None
    right_bottom: Point | None = None
    left_bottom: Point | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CardPosition:
    """Where a card or certificate is in the picture (卡片位置)."""

    pos: Corners | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ImageSize:
    """The size of the picture, in pixels (图片大小)."""

    width: int = attrs.field(default=0, metadata=wire("w"))
    height: int = attrs.field(default=0, metadata=wire("h"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


# ---- what was read. Numbers and dates stay as they were read: a smudge can turn them into anything.


class IDCardSide(StrEnum):
    """Which side of an identity card was in the picture (正面或背面)."""

    FRONT = "Front"
    BACK = "Back"


@attrs.frozen
class IDCard:
    """What is written on one side of an identity card (身份证). The number is not part of the repr."""

    #: Which side: the front has name to ethnic group, the back has ``valid_date``.
    type: IDCardSide | str = ""
    #: 姓名.
    name: str = ""
    #: 公民身份号码.
    id: str = attrs.field(default="", repr=False)
    #: 住址.
    addr: str = ""
    #: 性别, for example ``"男"``.
    gender: str = ""
    #: 民族, for example ``"汉"``.
    nationality: str = ""
    #: 有效期限, as it is written: ``"20070105-20270105"``.
    valid_date: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class BankCard:
    """What is written on a bank card (银行卡). The number is not part of the repr."""

    #: 卡号.
    number: str = attrs.field(default="", repr=False)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class VehicleLicense:
    """What is written in a vehicle licence (行驶证)."""

    #: 车牌号码.
    plate_num: str = ""
    #: 车辆类型.
    vehicle_type: str = ""
    #: 所有人.
    owner: str = ""
    #: 住址.
    addr: str = ""
    #: 使用性质.
    use_character: str = ""
    #: 品牌型号.
    model: str = ""
    #: 车辆识别代号.
    vin: str = ""
    #: 发动机号码.
    engine_num: str = ""
    #: 注册日期, as it is written.
    register_date: str = ""
    #: 发证日期, as it is written.
    issue_date: str = ""
    #: 车牌号码 of the second page.
    plate_num_b: str = ""
    #: 档案编号.
    record: str = ""
    #: 核定载人数, with its unit.
    passengers_num: str = ""
    #: 总质量, with its unit.
    total_quality: str = ""
    #: 整备质量, with its unit.
    prepare_quality: str = ""
    #: 外廓尺寸.
    overall_size: str = ""
    #: Where the first page is; absent if it is not in the picture.
    card_position_front: CardPosition | None = None
    #: Where the second page is; absent if it is not in the picture.
    card_position_back: CardPosition | None = None
    img_size: ImageSize | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class DrivingLicense:
    """What is written in a driving licence (驾驶证). The number is not part of the repr."""

    #: 证号.
    id_num: str = attrs.field(default="", repr=False)
    #: 姓名.
    name: str = ""
    #: 性别.
    sex: str = ""
    #: 国籍.
    nationality: str = ""
    #: 住址.
    address: str = ""
    #: 出生日期, as it is written.
    birth_date: str = ""
    #: 初次领证日期, as it is written.
    issue_date: str = ""
    #: 准驾车型.
    car_class: str = ""
    #: 有效期限, its first day as it is written.
    valid_from: str = ""
    #: 有效期限, its last day as it is written.
    valid_to: str = ""
    #: 印章文字.
    official_seal: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class BusinessLicense:
    """What is written on a business licence (营业执照)."""

    #: 注册号.
    reg_num: str = ""
    #: 编号.
    serial: str = ""
    #: 法定代表人姓名.
    legal_representative: str = ""
    #: 企业名称.
    enterprise_name: str = ""
    #: 组成形式.
    type_of_organization: str = ""
    #: 经营场所 or 企业住所.
    address: str = ""
    #: 公司类型.
    type_of_enterprise: str = ""
    #: 经营范围.
    business_scope: str = ""
    #: 注册资本, as it is written.
    registered_capital: str = ""
    #: 实收资本, as it is written.
    paid_in_capital: str = ""
    #: 营业期限, as it is written.
    valid_period: str = ""
    #: 注册日期 or 成立日期, as it is written.
    registered_date: str = ""
    #: Where the certificate is.
    cert_position: CardPosition | None = None
    img_size: ImageSize | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TextLine:
    """One line of printed text (识别结果)."""

    text: str = ""
    pos: Corners | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TextScan:
    """The printed text of a picture, line by line (通用印刷体)."""

    items: tuple[TextLine, ...] = ()
    img_size: ImageSize | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PlateNumber:
    """The number on a licence plate (车牌号)."""

    number: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Dish:
    """One line of a restaurant's menu (菜品)."""

    name: str = ""
    #: As it was read; a menu can say 时价 as well.
    price: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RestaurantMenu:
    """What is on a restaurant's menu (菜单内容)."""

    dishes: tuple[Dish, ...] = attrs.field(default=(), metadata=wire("menu_items"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ScannedCode:
    """One code in a picture (码信息)."""

    #: For example ``"QR_CODE"``, ``"EAN_13"``, ``"CODE_128"``, ``"DATA_MATRIX"``, ``"PDF417"``.
    type_name: str
    #: What it says.
    data: str
    #: Absent for most bar codes.
    pos: Corners | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CodeScan:
    """The codes in a picture (二维码/条码识别结果)."""

    codes: tuple[ScannedCode, ...] = attrs.field(metadata=wire("code_results"))
    img_size: ImageSize | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CropBox:
    """A part of a picture, in pixels (智能裁剪结果)."""

    crop_left: int
    crop_top: int
    crop_right: int
    crop_bottom: int
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CropSuggestions:
    """How to cut a picture (智能裁剪结果): one crop for each ratio asked for."""

    crops: tuple[CropBox, ...] = attrs.field(metadata=wire("results"))
    img_size: ImageSize | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class VoiceResult:
    """What was heard so far (语音识别结果)."""

    #: The text; empty while nothing is recognised.
    result: str
    #: Whether that was all. Seen in answers, not documented: absent if the platform does not say.
    is_end: bool | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Translation:
    """A translated text (翻译结果)."""

    #: The text as it was given.
    from_content: str
    #: The translation.
    to_content: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AIAPI:
    """Recognition in pictures, speech to text, translation (智能接口).

    A picture is given either as ``img`` (a file of less than 2 MB) or as ``img_url`` (an address that the platform can
    load). The calls with pictures are for verified accounts (the others get 48001), and most are free 100 times a day;
    more can be bought (微信服务市场). A repeat after a broken connection spends one more of them. A file that cannot be
    read is a ``ConfigError``.
    """

    _call: Caller

    async def ocr_id_card(
        self,
        img: FileSource | None = None,
        *,
        img_url: str | None = None,
        type: Literal["photo", "scan"] | None = None,
        filename: str | None = None,
    ) -> IDCard:
        """Read one side of an identity card (身份证识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            type: ``"photo"`` for a photograph, ``"scan"`` for a scan; only older documentation has it.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002), another ``type``
                (40035).
            NotFoundError: There is no identity card in the picture (101001).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/idcard - 智能接口 / OCR识别 / 身份证识别
        """
        if type not in (None, "photo", "scan"):
            raise refusal(OCR_ID_CARD, "type", PARAMETER_REFUSED, "must be 'photo' or 'scan'")
        reply = await self._look(OCR_ID_CARD, img, img_url, filename, type=type)
        return decode(IDCard, without_verdict(reply), endpoint=OCR_ID_CARD.name)

    async def ocr_bank_card(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> BankCard:
        """Read the number of a bank card (银行卡识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            NotFoundError: There is no bank card in the picture (101001).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/bankcard - 智能接口 / OCR识别 / 银行卡识别
        """
        reply = without_verdict(await self._look(OCR_BANK_CARD, img, img_url, filename))
        # One official example has the number under another name.
        if "number" not in reply and "id" in reply:
            reply = {**reply, "number": reply["id"]}
        return decode(BankCard, reply, endpoint=OCR_BANK_CARD.name)

    async def ocr_vehicle_license(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> VehicleLicense:
        """Read a vehicle licence (行驶证识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/driving - 智能接口 / OCR识别 / 行驶证识别
        """
        reply = await self._look(OCR_VEHICLE_LICENSE, img, img_url, filename)
        return decode(VehicleLicense, without_verdict(reply), endpoint=OCR_VEHICLE_LICENSE.name)

    async def ocr_driving_license(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> DrivingLicense:
        """Read a driving licence (驾驶证识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/drivinglicense - 智能接口 / OCR识别 / 驾驶证识别
        """
        reply = await self._look(OCR_DRIVING_LICENSE, img, img_url, filename)
        return decode(DrivingLicense, without_verdict(reply), endpoint=OCR_DRIVING_LICENSE.name)

    async def ocr_business_license(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> BusinessLicense:
        """Read a business licence (营业执照识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            NotFoundError: There is no licence in the picture (101001).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/bizlicense - 智能接口 / OCR识别 / 营业执照识别
        """
        reply = await self._look(OCR_BUSINESS_LICENSE, img, img_url, filename)
        return decode(BusinessLicense, without_verdict(reply), endpoint=OCR_BUSINESS_LICENSE.name)

    async def ocr_text(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> TextScan:
        """Read the printed text of a picture, line by line (通用印刷体识别). 100 a day are free.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/comm - 智能接口 / OCR识别 / 通用印刷体识别
        """
        reply = await self._look(OCR_TEXT, img, img_url, filename)
        return decode(TextScan, without_verdict(reply), endpoint=OCR_TEXT.name)

    async def ocr_plate_number(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> PlateNumber:
        """Read a licence plate (车牌识别). 100 a day are free.

        The current documentation no longer lists it; the platform answers it still.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/ocr/platenum - 智能接口 / OCR识别 / 车牌识别
        """
        reply = await self._look(OCR_PLATE_NUMBER, img, img_url, filename)
        return decode(PlateNumber, without_verdict(reply), endpoint=OCR_PLATE_NUMBER.name)

    async def ocr_menu(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> RestaurantMenu:
        """Read the menu of a restaurant (菜单识别). How many are free is not said, and more cannot be bought.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The calls are used up (101003).

        Source:
            POST /cv/ocr/menu - 智能接口 / OCR识别 / 菜单识别
        """
        content = field_of(await self._look(OCR_MENU, img, img_url, filename), "content", OCR_MENU)
        # An object in the field table, JSON inside a text in the example.
        if isinstance(content, str):
            content = loads(content.encode("utf-8", "surrogatepass"), endpoint=OCR_MENU.name)
        return decode(RestaurantMenu, content, endpoint=OCR_MENU.name)

    async def scan_codes(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> CodeScan:
        """Find QR codes, bar codes, DataMatrix and PDF417 in a picture (二维码/条码识别).

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/img/qrcode - 智能接口 / 图像处理 / 二维码/条码识别
        """
        reply = await self._look(SCAN_CODES, img, img_url, filename)
        return decode(CodeScan, without_verdict(reply), endpoint=SCAN_CODES.name)

    async def smart_crop(
        self,
        img: FileSource | None = None,
        *,
        img_url: str | None = None,
        ratios: Sequence[float] | None = None,
        filename: str | None = None,
    ) -> CropSuggestions:
        """Ask where to cut a picture so that what matters stays in it (图片智能裁剪).

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            ratios: Width divided by height of each crop wanted, at most 5: ``[1, 2.35]``. Without them the platform
                chooses one.
            filename: What ``img`` is called, if it is no path.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002), no or too many
                ``ratios`` or one that is not above 0 (40035).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/img/aicrop - 智能接口 / 图像处理 / 图片智能裁剪
        """
        wanted = None if ratios is None else _checked_ratios(ratios)
        reply = await self._look(SMART_CROP, img, img_url, filename, ratios=wanted)
        return decode(CropSuggestions, without_verdict(reply), endpoint=SMART_CROP.name)

    async def super_resolution(
        self, img: FileSource | None = None, *, img_url: str | None = None, filename: str | None = None
    ) -> str:
        """Make a picture twice as wide and high, and sharper (图片高清化).

        The current documentation no longer lists it.

        Args:
            img: The picture, less than 2 MB: a path, bytes, or an asynchronous iterator of bytes.
            img_url: Instead of ``img``: where the platform finds it, not encoded.
            filename: What ``img`` is called, if it is no path.

        Returns:
            The ``media_id`` of the new picture, a temporary material: it can be fetched for 3 days.

        Raises:
            ArgumentError: Neither or both of ``img`` and ``img_url`` (41005), an address that is none or cannot be
                loaded (101000), a file that is empty (44001), no picture or too large (101002).
            RateLimitError: The free calls of today and those that were bought are used up (101003).

        Source:
            POST /cv/img/superresolution - 智能接口 / 图像处理 / 图片高清化
        """
        reply = await self._look(SUPER_RESOLUTION, img, img_url, filename)
        return decode(str, field_of(reply, "media_id", SUPER_RESOLUTION), endpoint=SUPER_RESOLUTION.name)

    async def submit_voice(
        self,
        media: FileSource,
        *,
        voice_id: str | None = None,
        lang: SpeechLanguage | None = None,
        filename: str | None = None,
    ) -> str:
        """Upload speech to be made into text (上传语音文件). Every account may.

        Ask :meth:`get_voice_result` for the text within 10 seconds of the upload.

        Args:
            media: The sound: MP3, 16 kHz, one channel, at most 1 MB.
            voice_id: Your name for it; made here if absent. A repeat of the upload carries the same.
            lang: What is spoken: ``"zh_CN"`` or ``"en_US"``; the platform takes Mandarin if absent.
            filename: What ``media`` is called, if it is no path.

        Returns:
            The ``voice_id`` to ask with.

        Raises:
            ArgumentError: The file is no MP3 (40005), empty (44001) or larger than 1 MB (40010), ``voice_id`` is empty
                or ``lang`` another one (40035).

        Source:
            POST /cgi-bin/media/voice/addvoicetorecofortext - 智能接口 / 开放接口 / 上传语音文件
        """
        name = voice_id if voice_id is not None else secrets.token_hex(16)
        check_text(SUBMIT_VOICE, "voice_id", name, errcode=PARAMETER_REFUSED)
        _check_language(SUBMIT_VOICE, "lang", lang)
        params = {"format": "mp3", "voice_id": name, **({} if lang is None else {"lang": lang})}
        await send_file(self._call, SUBMIT_VOICE, media, rule=VOICE, params=params, filename=filename)
        return name

    async def get_voice_result(self, voice_id: str, *, lang: SpeechLanguage | None = None) -> VoiceResult:
        """Ask what was said in an upload (获取语音识别结果). Every account may.

        Args:
            voice_id: As :meth:`submit_voice` returned it. Ask within 10 seconds of the upload.
            lang: As it was given there.

        Returns:
            What was recognised so far: ask again if it is empty.

        Raises:
            ArgumentError: ``voice_id`` is empty or ``lang`` another one (40035; found before sending).

        Source:
            POST /cgi-bin/media/voice/queryrecoresultfortext - 智能接口 / 开放接口 / 获取语音识别结果
        """
        check_text(GET_VOICE_RESULT, "voice_id", voice_id, errcode=PARAMETER_REFUSED)
        _check_language(GET_VOICE_RESULT, "lang", lang)
        reply = await self._call(GET_VOICE_RESULT, params={"voice_id": voice_id, "lang": lang})
        return decode(VoiceResult, without_verdict(reply), endpoint=GET_VOICE_RESULT.name)

    async def translate(self, content: str, *, from_lang: SpeechLanguage, to_lang: SpeechLanguage) -> Translation:
        """Translate a text between Chinese and English (微信翻译). Every account may.

        Args:
            content: The text, at most 600 bytes in UTF-8.
            from_lang: Its language: ``"zh_CN"`` or ``"en_US"``.
            to_lang: The language wanted.

        Raises:
            ArgumentError: The text is empty or too long, or a language another one (40035).

        Source:
            POST /cgi-bin/media/voice/translatecontent - 智能接口 / 开放接口 / 微信翻译
        """
        check_text(TRANSLATE, "content", content, errcode=PARAMETER_REFUSED, max_bytes=TRANSLATE_BYTES)
        for field, language in (("from_lang", from_lang), ("to_lang", to_lang)):
            _check_language(TRANSLATE, field, language, needed=True)
        params = {"lfrom": from_lang, "lto": to_lang}
        reply = await self._call(TRANSLATE, params=params, json={"content": content})
        found = decode(Translation, without_verdict(reply), endpoint=TRANSLATE.name)
        if not _is_wrapped(found.from_content, content):
            return found
        # The object is of the present documentation; until 2025 it was the bare text, or a file with it. Where the
        # object itself was translated, the former still holds.
        part = FilePart("media", "content.txt", content.encode("utf-8"), content_type="text/plain")
        reply = await self._call(TRANSLATE, params=params, files=[part])
        return decode(Translation, without_verdict(reply), endpoint=TRANSLATE.name)

    async def _look(
        self,
        endpoint: Endpoint,
        img: FileSource | None,
        img_url: str | None,
        filename: str | None,
        *,
        type: str | None = None,
        ratios: str | None = None,
    ) -> JsonObject:
        """Send a picture, or say where it is."""
        if (img is None) == (img_url is None):
            problem = "give the picture as img or as img_url" + ("" if img is None else ", not as both")
            raise refusal(endpoint, "img", PICTURE_MISSING, problem)
        params = {} if type is None else {"type": type}
        fields = {} if ratios is None else {"ratios": ratios}
        if img is not None:
            return await send_file(
                self._call, endpoint, img, rule=IMAGE, params=params, form=fields, field="img", filename=filename
            )
        address = check_text(endpoint, "img_url", img_url, errcode=IMG_URL_REFUSED)
        if not address.startswith(("http://", "https://")):
            raise refusal(endpoint, "img_url", IMG_URL_REFUSED, "must be a whole address with http:// or https://")
        params["img_url"] = address
        # The official example sends them as a form, in which there is no file then.
        return await self._call(endpoint, params=params, files=[] if fields else None, form=fields or None)


def _checked_ratios(ratios: Sequence[object]) -> str:
    """Return the ratios as the platform reads them."""
    numbers = check_list(SMART_CROP, "ratios", ratios, errcode=PARAMETER_REFUSED)
    if not 1 <= len(numbers) <= RATIOS:
        raise refusal(SMART_CROP, "ratios", PARAMETER_REFUSED, f"must be a list of 1 to {RATIOS} numbers")
    texts: list[str] = []
    for index, ratio in enumerate(numbers):
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not LEAST_RATIO <= ratio < RATIO_END:
            problem = "must be a number above 0: width divided by height"
            raise refusal(SMART_CROP, f"ratios[{index}]", PARAMETER_REFUSED, problem)
        texts.append(f"{ratio:.6g}")
    return ",".join(texts)


def _is_wrapped(text: str, content: str) -> bool:
    """Whether ``text`` is the JSON that ``content`` was sent in."""
    if text == content or not text.startswith("{"):
        return False
    try:
        return loads(text.encode("utf-8", "surrogatepass")) == {"content": content}
    except ReplyError:
        return False


def _check_language(endpoint: Endpoint, field: str, value: object, *, needed: bool = False) -> None:
    if (value is None and not needed) or value in get_args(SpeechLanguage):
        return
    raise refusal(endpoint, field, PARAMETER_REFUSED, f"must be one of {', '.join(get_args(SpeechLanguage))}")
