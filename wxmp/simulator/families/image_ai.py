"""Recognition (智能接口): pictures, speech, translation. Nothing is looked at: answers follow from the bytes that came.

The same picture always says the same, another one something else, and its size is read from its header.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from wxmp.simulator import formats, library
from wxmp.simulator.outreach import Recording
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal, as_object, parse_form

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROUTES"]

LANGUAGES: Final = ("zh_CN", "en_US")
PICTURES: Final = frozenset({"jpg", "png", "gif", "bmp"})
NAMES: Final = ("张三", "李四", "王五", "赵六", "陈七", "周八")
PLACES: Final = ("北京市海淀区示例路", "上海市徐汇区示例路", "广州市海珠区示例路", "成都市武侯区示例路")
DISHES: Final = ("宫保鸡丁", "麻婆豆腐", "清蒸鲈鱼", "龙井虾仁", "小笼包")
PROVINCES: Final = "京沪粤川苏浙"
HEARD: Final = {"zh_CN": "这是第{}段录音", "en_US": "this is recording {}"}
# What a picture is taken to be of whose address leads elsewhere: nothing is fetched.
FOREIGN_SIZE: Final = (1080, 720)
# JPEG markers that hold the size, and those without a length.
FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
BARE: Final = frozenset({0x01, *range(0xD0, 0xDA)})


@attrs.frozen
class Seen:
    """A picture, as far as anything is known of it.

    Attributes:
        name: Its file name or address, in lower case.
        data: Its bytes; of a picture elsewhere its address.
    """

    name: str
    width: int
    height: int
    data: bytes = attrs.field(repr=False)

    def pick(self, choices: Sequence[str], place: int) -> str:
        """Return one of the choices, always the same of this picture."""
        return choices[self.digest[place] % len(choices)]

    def digits(self, count: int, place: int = 0) -> str:
        """Return so many digits, always the same of this picture."""
        return str(int.from_bytes(self.digest[place : place + 16], "big")).zfill(count)[-count:]

    @property
    def digest(self) -> bytes:
        """What all answers are made of."""
        return hashlib.sha256(self.data).digest()

    @property
    def size(self) -> JsonObject:
        """The field ``img_size``."""
        return {"w": self.width, "h": self.height}

    @property
    def corners(self) -> JsonObject:
        """Where whatever it is stands: in the middle, with a margin of an eighth."""
        left, top = self.width // 8, self.height // 8
        right, bottom = self.width - left, self.height - top
        return {
            "left_top": {"x": left, "y": top},
            "right_top": {"x": right, "y": top},
            "right_bottom": {"x": right, "y": bottom},
            "left_bottom": {"x": left, "y": bottom},
        }


def look(call: Call, *, certificate: bool = False) -> Seen:
    """Return the picture of a request; without one, 41005.

    Args:
        call: The request.
        certificate: A picture without a certificate is refused (101001).
    """
    policy, path = call.world.policy, call.request.path
    free = policy.ai_free_calls.get(path)
    if free is not None and call.world.counter(call.owner, path, call.now).used > free:
        raise Refusal(101003, f"the {free} free calls of today are used, and none were bought")
    seen = elsewhere(call, call.query("img_url")) if call.query("img_url") else uploaded(call)
    if certificate and is_named(seen, policy.ai_nothing_words):
        raise Refusal(101001, "the name of the picture says that there is nothing on it")
    return seen


def is_named(seen: Seen, words: Sequence[str]) -> bool:
    """Tell whether one of the words is in the name of a picture."""
    return any(word.lower() in seen.name for word in words)


def elsewhere(call: Call, address: str) -> Seen:
    """Return the picture of an address: one of this world, or one that is taken to be there."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refusal(101000, "img_url is no address")
    for key in parts.path.split("/"):
        found = call.owner.library.pictures.get(key) or library.find_media(call.owner, key, call.now)
        if found is not None:
            return measured(call, address, found.data)
    call.why += "; the picture is elsewhere and was not fetched"
    return Seen(address.lower(), *FOREIGN_SIZE, address.encode("utf-8", errors="replace"))


def uploaded(call: Call) -> Seen:
    """Return the picture in the form field ``img``."""
    request = call.request
    if len(request.body) > call.world.policy.max_upload_body:
        raise Refusal(45001, f"the body has {len(request.body)} bytes")
    call.form = parse_form(request.body, request.content_type)
    file = call.form.files.get("img")
    if file is None:
        named = ", ".join(sorted({*call.form.files, *call.form.fields})) or "nothing"
        raise Refusal(41005, f"there is no img_url, and the form has no file named img; it has {named}")
    return measured(call, file.filename, file.data)


def measured(call: Call, name: str, data: bytes) -> Seen:
    """Return a picture with the size that its header tells; what has none cannot be decoded (101002)."""
    if not data:
        raise Refusal(44001, "the file is empty")
    if len(data) >= call.world.policy.ai_image_bytes:
        raise Refusal(
            101002, f"the picture has {len(data)} bytes, allowed are under {call.world.policy.ai_image_bytes}"
        )
    kind = formats.file_format(data)
    size = picture_size(data) if kind in PICTURES else None
    if size is None or 0 in size:
        raise Refusal(101002, f"by its bytes the file is {kind or 'nothing known'}, and no picture that can be decoded")
    return Seen(name.lower(), *size, data)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height as the header of a picture tells them."""
    try:
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"GIF"):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
        else:
            return jpeg_size(data)
    except struct.error:
        return None
    return abs(width), abs(height)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG: they stand in the first frame header."""
    at = 2
    while data[at : at + 1] == b"\xff" and len(data) >= at + 4:
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 if marker in BARE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


# --- cards and licences -------------------------------------------------------------------------------------------


def id_card(call: Call) -> JsonObject:
    """Read an identity card: the side is in the name. The numbers belong to no place and to nobody."""
    seen = look(call, certificate=True)
    if is_named(seen, call.world.policy.ai_back_words):
        return {**OK(), "type": "Back", "valid_date": "20200101-20400101"}
    return {
        **OK(),
        "type": "Front",
        "name": seen.pick(NAMES, 0),
        "id": f"000000{seen.digits(12)}",
        "addr": f"{seen.pick(PLACES, 1)}{seen.digits(2, 2)}号",
        "gender": seen.pick("男女", 3),
        "nationality": "汉",
    }


def bank_card(call: Call) -> JsonObject:
    """Read a bank card."""
    return {**OK(), "number": f"0000{look(call, certificate=True).digits(15)}"}


def vehicle_license(call: Call) -> JsonObject:
    """Read a vehicle licence: both pages are in each picture."""
    seen = look(call)
    plate = plate_of(seen)
    return {
        **OK(),
        "plate_num": plate,
        "vehicle_type": "小型普通客车",
        "owner": seen.pick(NAMES, 0),
        "addr": seen.pick(PLACES, 1),
        "use_character": "非营运",
        "model": f"示例牌SIM{seen.digits(4)}",
        "vin": f"LSIM0{seen.digits(12)}",
        "engine_num": seen.digits(8, 4),
        "register_date": "2018-07-06",
        "issue_date": "2018-07-08",
        "plate_num_b": plate,
        "record": seen.digits(12, 8),
        "passengers_num": "5人",
        "total_quality": "2100kg",
        "prepare_quality": "1600kg",
        "overall_size": "4582x1795x1458mm",
        "card_position_front": {"pos": seen.corners},
        "card_position_back": {"pos": seen.corners},
        "img_size": seen.size,
    }


def driving_license(call: Call) -> JsonObject:
    """Read a driving licence."""
    seen = look(call)
    return {
        **OK(),
        "id_num": f"000000{seen.digits(12)}",
        "name": seen.pick(NAMES, 0),
        "sex": seen.pick("男女", 3),
        "nationality": "中国",
        "address": seen.pick(PLACES, 1),
        "birth_date": "1990-12-21",
        "issue_date": "2012-12-21",
        "car_class": seen.pick(("C1", "C2", "B2"), 5),
        "valid_from": "2018-12-21",
        "valid_to": "2028-12-21",
        "official_seal": "示例市公安局交通警察支队",
    }


def business_license(call: Call) -> JsonObject:
    """Read a business licence."""
    seen = look(call, certificate=True)
    return {
        **OK(),
        "reg_num": f"000000{seen.digits(12)}",
        "serial": seen.digits(9, 4),
        "legal_representative": seen.pick(NAMES, 0),
        "enterprise_name": f"示例{seen.digits(3, 2)}科技有限公司",
        "type_of_organization": "",
        "address": seen.pick(PLACES, 1),
        "type_of_enterprise": "有限责任公司",
        "business_scope": "软件开发",
        "registered_capital": "壹佰万元整",
        "paid_in_capital": "",
        "valid_period": "长期",
        "registered_date": "2018年01月01日",
        "cert_position": {"pos": seen.corners},
        "img_size": seen.size,
    }


def plate_number(call: Call) -> JsonObject:
    """Read a licence plate."""
    return {**OK(), "number": plate_of(look(call))}


def plate_of(seen: Seen) -> str:
    """Return the plate of a picture."""
    return f"{seen.pick(PROVINCES, 6)}A{seen.digits(5, 6)}"


# --- texts, codes, crops ------------------------------------------------------------------------------------------


def text(call: Call) -> JsonObject:
    """Read printed text: one line that names the picture by its digest."""
    seen = look(call)
    line: JsonObject = {"text": f"示例文字{seen.digits(6)}", "pos": seen.corners}
    return {**OK(), "items": [] if nothing(call, seen) else [line], "img_size": seen.size}


def menu(call: Call) -> JsonObject:
    """Read a restaurant's menu."""
    seen = look(call)
    dishes = [{"name": name, "price": 10 + seen.digest[place] % 90} for place, name in enumerate(DISHES)]
    content = {"menu_items": [] if nothing(call, seen) else dishes}
    if call.world.policy.ai_menu_as_text:
        return {**OK(), "content": json.dumps(content, ensure_ascii=False)}
    return {**OK(), "content": content}


def codes(call: Call) -> JsonObject:
    """Find codes: one that names the picture by its digest."""
    seen = look(call)
    code: JsonObject = {"type_name": "QR_CODE", "data": f"wxmp-sim:{seen.digits(12)}", "pos": seen.corners}
    return {**OK(), "code_results": [] if nothing(call, seen) else [code], "img_size": seen.size}


def nothing(call: Call, seen: Seen) -> bool:
    """Tell whether the name of a picture says that there is nothing on it."""
    return is_named(seen, call.world.policy.ai_nothing_words)


def crop(call: Call) -> JsonObject:
    """Suggest crops: the largest in the middle, one for each ratio."""
    seen = look(call)
    if call.query("img_url") and call.request.content_type.lower().startswith("multipart/"):
        call.form = parse_form(call.request.body, call.request.content_type)  # the official example: no file in it
    given = call.form.fields.get("ratios") or json_field(call.request.body, "ratios") or call.query("ratios")
    wanted = [ratio_of(part) for part in given.split(",")] if given else [1.0]
    if len(wanted) > call.world.policy.ai_ratios:
        raise Refusal(
            40035, f"{len(wanted)} ratios, at most {call.world.policy.ai_ratios} are allowed", detail="ratios"
        )
    return {**OK(), "results": [middle(seen, ratio) for ratio in wanted], "img_size": seen.size}


def ratio_of(part: str) -> float:
    """Read one ratio."""
    try:
        ratio = float(part)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio < float("inf"):
        raise Refusal(40035, f"the ratio {part!r} is none", detail="ratios")
    return ratio


def middle(seen: Seen, ratio: float) -> JsonObject:
    """Return the largest part of a picture that has a ratio, in its middle."""
    width, height = seen.width, seen.height
    if width > height * ratio:
        width = max(round(height * ratio), 1)
    else:
        height = max(round(width / ratio), 1)
    left, top = (seen.width - width) // 2, (seen.height - height) // 2
    return {"crop_left": left, "crop_top": top, "crop_right": left + width, "crop_bottom": top + height}


def enlarge(call: Call) -> JsonObject:
    """Keep the picture as temporary media; it stays as it is."""
    seen = look(call)
    # Of a picture elsewhere nothing is known but its address: a sample stands for it.
    known = formats.file_format(seen.data) in PICTURES
    data = seen.data if known else formats.sample("image", seen.name)
    media = library.store_media(call.world, call.owner, "image", "super.jpg", data, call.now)
    return {**OK(), "media_id": media.media_id}


def json_field(body: bytes, name: str) -> str:
    """Return a text of a JSON body, or an empty one."""
    value = (json_object(body) or {}).get(name)
    return value if isinstance(value, str) else ""


def json_object(body: bytes) -> JsonObject | None:
    """Return the JSON object that a body is, if it is one."""
    try:
        return as_object(json.loads(body.decode("utf-8"), strict=False))
    except (ValueError, RecursionError):
        return None


# --- speech and translation ---------------------------------------------------------------------------------------


def add_voice(call: Call) -> JsonObject:
    """Take a recording; its text is there a moment later."""
    policy, voice_id = call.world.policy, call.query("voice_id")
    if call.query("format") != "mp3":
        raise Refusal(40035, f"format is {call.query('format')!r}, only mp3 is taken", detail="format")
    if not voice_id:
        raise Refusal(40035, "voice_id is missing", detail="voice_id")
    lang = language(call, "lang", "zh_CN")
    file = call.form.files.get("media")
    if file is None:
        raise Refusal(41005, "the form has no file named media that carries a file name")
    if not file.data:
        raise Refusal(44001, "the file is empty")
    if len(file.data) > policy.ai_voice_bytes:
        raise Refusal(40010, f"the recording has {len(file.data)} bytes, allowed are {policy.ai_voice_bytes}")
    library.check_format(policy, file.filename, file.data, ("mp3",))
    number = int.from_bytes(hashlib.sha256(file.data).digest()[:2], "big")
    kept = call.owner.outreach.recordings
    kept.pop(voice_id, None)
    kept[voice_id] = Recording(HEARD[lang].format(number), call.now)
    while len(kept) > policy.ai_voices_kept:
        del kept[next(iter(kept))]
    return OK()


def voice_result(call: Call) -> JsonObject:
    """Tell what was heard: nothing before it is ready, and nothing after it is forgotten."""
    policy, voice_id = call.world.policy, call.query("voice_id")
    if not voice_id:
        raise Refusal(40035, "voice_id is missing", detail="voice_id")
    language(call, "lang", "zh_CN")
    found = call.owner.outreach.recordings.get(voice_id)
    age = call.now - found.at if found is not None else 0.0
    if found is None or age > policy.ai_voice_life:
        call.why += "; there is no such recording" if found is None else "; the recording is forgotten"
        return {"result": ""}
    if age < policy.ai_voice_seconds:
        call.why += "; it is not ready"
        return {"result": ""}
    return {"result": found.text}


def translate(call: Call) -> JsonObject:
    """Translate a text: it comes back behind the name of the language."""
    source, target = language(call, "lfrom"), language(call, "lto")
    body, policy = call.request.body, call.world.policy
    found = json_object(body)
    if found is None and policy.ai_translate_raw:
        content = body.decode("utf-8", errors="replace")
    else:
        content = json_field(body, "content")
    size = len(content.encode("utf-8", errors="replace"))
    if not 0 < size <= policy.ai_translate_bytes:
        why = f"content has {size} bytes, 1 to {policy.ai_translate_bytes} are allowed"
        raise Refusal(40035, why, detail="content")
    return {"from_content": content, "to_content": content if source == target else f"[{target}] {content}"}


def language(call: Call, name: str, default: str = "") -> str:
    """Return the language that a query parameter names."""
    value = call.query(name) or default
    if value not in LANGUAGES:
        raise Refusal(40035, f"{name} is {value!r}, not one of {', '.join(LANGUAGES)}", detail=name)
    return value


Reader: TypeAlias = Callable[[Call], JsonObject]


def of_picture(path: str, handler: Reader) -> Route:
    """Return the route of a call with a picture, whose body the handler reads: there may be none."""
    return Route("POST", path, handler, takes="raw")


ROUTES: Final[tuple[Route, ...]] = (
    of_picture("/cv/ocr/idcard", id_card),
    of_picture("/cv/ocr/bankcard", bank_card),
    of_picture("/cv/ocr/driving", vehicle_license),
    of_picture("/cv/ocr/drivinglicense", driving_license),
    of_picture("/cv/ocr/bizlicense", business_license),
    of_picture("/cv/ocr/comm", text),
    of_picture("/cv/ocr/platenum", plate_number),
    of_picture("/cv/ocr/menu", menu),
    of_picture("/cv/img/qrcode", codes),
    of_picture("/cv/img/aicrop", crop),
    of_picture("/cv/img/superresolution", enlarge),
    Route("POST", "/cgi-bin/media/voice/addvoicetorecofortext", add_voice, accounts="all", takes="form"),
    Route("POST", "/cgi-bin/media/voice/queryrecoresultfortext", voice_result, accounts="all", takes="raw"),
    Route("POST", "/cgi-bin/media/voice/translatecontent", translate, accounts="all", takes="raw"),
)
