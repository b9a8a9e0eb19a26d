"""Recognition: what is said of a picture follows from its bytes, and the limits are those of the documents."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulator.test_library import AMR, BMP, BOUNDARY, GIF, JPEG, MP3_FRAME, PNG, form_body
from wxmp.simulator import formats, library
from wxmp.simulator.families import image_ai

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.conftest import Desk

OTHER = formats.sample("image", "b")
WIDE = b"BM" + bytes(16) + struct.pack("<ii", 800, -400) + bytes(40)
CARDS = ("/cv/ocr/idcard", "/cv/ocr/bankcard", "/cv/ocr/bizlicense")
SEEN = (*CARDS, "/cv/ocr/driving", "/cv/ocr/drivinglicense", "/cv/ocr/comm", "/cv/ocr/platenum", "/cv/ocr/menu")
SEEN = (*SEEN, "/cv/img/qrcode", "/cv/img/aicrop", "/cv/img/superresolution")
ADD = "/cgi-bin/media/voice/addvoicetorecofortext"
RESULT = "/cgi-bin/media/voice/queryrecoresultfortext"
TRANSLATE = "/cgi-bin/media/voice/translatecontent"


def show(desk: Desk, path: str, data: bytes | None = JPEG, filename: str = "x.jpg", **more: Any) -> Any:
    """Upload a picture to be looked at."""
    query = {"access_token": desk.token(), **more.pop("query", {})}
    body = form_body(data, filename, field=more.pop("field", "img"), **more)
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return desk.send("POST", path, query, body, headers=headers).json()


def name(desk: Desk, path: str, address: str, body: bytes = b"{}", **query: str) -> Any:
    """Name a picture that is elsewhere."""
    return desk.send("POST", path, {"access_token": desk.token(), "img_url": address, **query}, body).json()


def speak(desk: Desk, data: bytes = MP3_FRAME * 40, filename: str = "x.mp3", **query: str) -> Any:
    """Upload a recording."""
    query = {"format": "mp3", "voice_id": "v1", **query}
    return show(desk, ADD, data, filename, field="media", query=query)


def hear(desk: Desk, voice_id: str = "v1", **query: str) -> Any:
    """Ask for the text of a recording."""
    token = desk.token()
    return desk.send("POST", RESULT, {"access_token": token, "voice_id": voice_id, **query}, b"{}").json()


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SEEN)
def test_the_same_picture_says_the_same(desk: Desk, path: str):
    """Answers repeat for a picture, whatever it is called, and tell another one apart."""
    if path == "/cv/img/superresolution":
        media = [show(desk, path, data)["media_id"] for data in (JPEG, OTHER)]
        assert [desk.account.library.temporary[key].data for key in media] == [JPEG, OTHER]
        return
    first = show(desk, path)
    assert first["errcode"] == 0
    assert show(desk, path, JPEG, "y.jpg") == first
    if path != "/cv/img/aicrop":
        assert show(desk, path, OTHER) != first


@pytest.mark.parametrize(
    ("data", "size"),
    [(JPEG, (64, 64)), (PNG, (1, 1)), (GIF, (1, 1)), (WIDE, (800, 400))],
    ids=["jpg", "png", "gif", "bmp"],
)
def test_the_size_is_the_true_one(desk: Desk, data: bytes, size: tuple[int, int]):
    """Width and height are read from the header of the picture."""
    assert show(desk, "/cv/ocr/comm", data)["img_size"] == dict(zip("wh", size, strict=True))


@pytest.mark.parametrize("marker", sorted(image_ai.FRAMES))
def test_every_kind_of_jpeg_has_a_size(marker: int):
    """The frame header is found behind other segments, whichever kind of JPEG it is."""
    head = b"\xff\xd8\xff\xe0" + struct.pack(">H", 6) + b"JFIF" + b"\xff\x01" + bytes([0xFF, marker])
    assert image_ai.picture_size(head + struct.pack(">HBHH", 8, 8, 300, 500)) == (500, 300)


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xc0\x00", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\xff\xd8\xff\xe0\x00\x02"]
)
@pytest.mark.parametrize("path", SEEN)
def test_a_broken_header_cannot_be_decoded(desk: Desk, path: str, data: bytes):
    """A picture that ends before its size does is refused."""
    assert show(desk, path, data)["errcode"] == 101002


@pytest.mark.parametrize(
    ("data", "errcode"),
    [(b"", 44001), (AMR, 101002), (BMP, 101002), (JPEG + bytes(2 << 20), 101002), (JPEG + bytes(1 << 20), 0)],
    ids=["empty", "sound", "no size", "2 MB", "1 MB"],
)
def test_what_is_no_picture(desk: Desk, data: bytes, errcode: int):
    """Empty, foreign and large files are refused."""
    assert show(desk, "/cv/ocr/comm", data)["errcode"] == errcode


def test_a_picture_is_needed(desk: Desk):
    """A form without the file, and a body that is no form, are 41005."""
    assert show(desk, "/cv/ocr/comm", field="media")["errcode"] == 41005
    assert desk.post("/cv/ocr/comm", {})["errcode"] == 41005


@pytest.mark.parametrize("address", ["ftp://a.example/x.jpg", "x.jpg", "http://", "http://[", "//a.example/x"])
def test_an_address_must_be_one(desk: Desk, address: str):
    """What cannot be loaded is 101000."""
    assert name(desk, "/cv/ocr/comm", address)["errcode"] == 101000


def test_a_picture_elsewhere_is_not_fetched(desk: Desk):
    """Of a foreign address nothing is known: it says the same each time, and the journal tells."""
    answers = [name(desk, "/cv/ocr/comm", f"https://a.example/{page}") for page in "aab"]
    assert answers[0] == answers[1] != answers[2]
    assert answers[0]["img_size"] == {"w": 1080, "h": 720}
    assert "not fetched" in desk.world.exchanges()[-1].why


def test_a_picture_of_this_world_is_known(desk: Desk):
    """The address of a picture that was uploaded here leads to its bytes."""
    picture = library.store_picture(desk.world, desk.account, JPEG, desk.world.now())
    address = library.media_url(desk.world, picture.key, picture.format)
    assert name(desk, "/cv/ocr/comm", address) == show(desk, "/cv/ocr/comm")


@pytest.mark.parametrize("path", CARDS)
def test_nothing_is_on_the_picture(desk: Desk, path: str):
    """A word in the name says that there is no card: 101001."""
    assert show(desk, path, JPEG, "Nothing.jpg")["errcode"] == 101001
    assert name(desk, path, "https://a.example/nothing.jpg")["errcode"] == 101001


@pytest.mark.parametrize(("path", "list_name"), [("/cv/ocr/comm", "items"), ("/cv/img/qrcode", "code_results")])
def test_nothing_is_found(desk: Desk, path: str, list_name: str):
    """Where there can be any number of things, the same word makes an empty list."""
    assert len(show(desk, path)[list_name]) == 1
    assert show(desk, path, JPEG, "nothing.jpg")[list_name] == []


def test_the_side_of_a_card(desk: Desk):
    """The back of an identity card is told by its name, and has other fields."""
    assert set(show(desk, "/cv/ocr/idcard", JPEG, "back.jpg")) == {"errcode", "errmsg", "type", "valid_date"}
    assert show(desk, "/cv/ocr/idcard")["type"] == "Front"


@pytest.mark.parametrize(("as_text", "read"), [(True, json.loads), (False, dict)])
def test_both_shapes_of_a_menu(make_desk: Any, as_text: bool, read: Callable[[Any], Any]):
    """Dishes come as JSON in a text, as the example shows them, or as an object, as the field table has them."""
    content = show(make_desk(ai_menu_as_text=as_text), "/cv/ocr/menu")["content"]
    assert isinstance(content, str) is as_text
    assert {key for dish in read(content)["menu_items"] for key in dish} == {"name", "price"}


@pytest.mark.parametrize("place", ["form", "json", "query"])
def test_crops_have_their_ratios(desk: Desk, place: str):
    """Each ratio makes one crop, the largest in the middle; ratios can stand in three places."""
    if place == "form":
        answer, size = show(desk, "/cv/img/aicrop", WIDE, ratios="1,4"), (800, 400)
    else:
        address, body = "https://a.example/x", b'{"ratios":"1,4"}' if place == "json" else b"{}"
        query = {"ratios": "1,4"} if place == "query" else {}
        answer, size = name(desk, "/cv/img/aicrop", address, body, **query), (1080, 720)
    boxes = [
        (crop["crop_left"], crop["crop_top"], crop["crop_right"], crop["crop_bottom"]) for crop in answer["results"]
    ]
    assert answer["img_size"] == dict(zip("wh", size, strict=True))
    assert (
        boxes
        == {
            (800, 400): [(200, 0, 600, 400), (0, 100, 800, 300)],
            (1080, 720): [(180, 0, 900, 720), (0, 225, 1080, 495)],
        }[size]
    )


def test_ratios_in_a_form_beside_an_address(desk: Desk):
    """The official example has a form with nothing but the ratios, and the address in the query."""
    answer = show(desk, "/cv/img/aicrop", None, ratios="1,4", query={"img_url": "https://a.example/x"})
    assert len(answer["results"]) == 2


def test_a_crop_without_a_wish(desk: Desk):
    """Without ratios there is one crop, a square."""
    (crop,) = show(desk, "/cv/img/aicrop", WIDE)["results"]
    assert crop["crop_right"] - crop["crop_left"] == crop["crop_bottom"] - crop["crop_top"] == 400


@pytest.mark.parametrize("ratios", ["1,1,1,1,1,1", "x", "0", "-1", "nan", "inf", "1,,2"])
def test_ratios_that_are_none(desk: Desk, ratios: str):
    """At most five ratios above 0."""
    assert show(desk, "/cv/img/aicrop", ratios=ratios)["errcode"] == 40035


def test_an_enlarged_picture_can_be_fetched(desk: Desk):
    """The result is temporary media; of a picture elsewhere it is a sample."""
    known = show(desk, "/cv/img/superresolution")["media_id"]
    foreign = name(desk, "/cv/img/superresolution", "https://a.example/x.jpg")["media_id"]
    query = {"access_token": desk.token()}
    assert desk.send("GET", "/cgi-bin/media/get", query | {"media_id": known}).body == JPEG
    assert desk.send("GET", "/cgi-bin/media/get", query | {"media_id": foreign}).body[:3] == b"\xff\xd8\xff"
    desk.world.advance(3 * 86_400)
    assert desk.get("/cgi-bin/media/get", media_id=known)["errcode"] == 40007


def test_free_calls_end(desk: Desk):
    """The 101st call of a day is 101003; the next day has 100 more, and other endpoints have their own."""
    desk.world.counter(desk.account, "/cv/ocr/comm", desk.world.now()).used = 99
    assert [show(desk, "/cv/ocr/comm")["errcode"] for _ in range(3)] == [0, 101003, 101003]
    assert show(desk, "/cv/ocr/platenum")["errcode"] == 0
    desk.world.advance(86_400)
    assert show(desk, "/cv/ocr/comm")["errcode"] == 0


def test_some_have_no_number(desk: Desk):
    """Where the documents name no number of free calls, there is none."""
    desk.world.counter(desk.account, "/cv/img/qrcode", desk.world.now()).used = 5000
    assert show(desk, "/cv/img/qrcode")["errcode"] == 0


@pytest.mark.parametrize("path", SEEN)
def test_pictures_are_for_verified_accounts(desk: Desk, path: str):
    """Others get 48001."""
    desk.account.verified = False
    assert show(desk, path)["errcode"] == 48001


# --- speech -----------------------------------------------------------------------------------------------------------


def test_a_recording_is_heard_a_moment_later(desk: Desk):
    """Nothing, then the text, then nothing again: it is kept for ten seconds."""
    assert speak(desk)["errcode"] == 0
    heard = []
    for seconds in (0.5, 0.5, 9.0, 0.5):
        desk.world.advance(seconds)
        heard.append(hear(desk))
    text = heard[1]["result"]
    assert text.startswith("这是第")
    assert heard == [{"result": ""}, {"result": text}, {"result": text}, {"result": ""}]


def test_recordings_differ(desk: Desk):
    """The text follows from the bytes and the language; an id that comes again stands for the new recording."""
    texts = []
    for data, lang in ((MP3_FRAME * 2, ""), (MP3_FRAME * 3, ""), (MP3_FRAME * 3, "en_US")):
        speak(desk, data, lang=lang)
        desk.world.advance(1)
        texts.append(hear(desk)["result"])
    assert len(set(texts)) == 3
    assert texts[2].startswith("this is recording")


def test_an_unknown_recording_says_nothing(desk: Desk):
    """Of an id that nobody uploaded there is an empty text."""
    assert hear(desk, "v2") == {"result": ""}


def test_the_oldest_recordings_are_forgotten(make_desk: Any):
    """An account has a limited number of them."""
    desk = make_desk(ai_voices_kept=2, ai_voice_seconds=0.0)
    for key in ("a", "b", "a", "c"):
        speak(desk, voice_id=key)
    assert [bool(hear(desk, key)["result"]) for key in ("a", "b", "c")] == [True, False, True]


@pytest.mark.parametrize(
    ("data", "filename", "query", "errcode"),
    [
        (MP3_FRAME, "x.mp3", {"format": "amr"}, 40035),
        (MP3_FRAME, "x.mp3", {"voice_id": ""}, 40035),
        (MP3_FRAME, "x.mp3", {"lang": "fr"}, 40035),
        (b"", "x.mp3", {}, 44001),
        (AMR, "x.mp3", {}, 40005),
        (MP3_FRAME, "x.amr", {}, 40005),
        (MP3_FRAME * 2600, "x.mp3", {}, 40010),
    ],
)
def test_recordings_are_checked(desk: Desk, data: bytes, filename: str, query: dict[str, str], errcode: int):
    """Format, size, id and language."""
    assert speak(desk, data, filename, **query)["errcode"] == errcode


def test_a_recording_is_needed(desk: Desk):
    """A form without the file is 41005."""
    answer = show(desk, ADD, None, query={"format": "mp3", "voice_id": "v"})
    assert answer["errcode"] == 41005


@pytest.mark.parametrize("query", [{"voice_id": ""}, {"lang": "fr"}])
def test_questions_are_checked(desk: Desk, query: dict[str, str]):
    """The id is needed, and the language one of two."""
    assert hear(desk, **query)["errcode"] == 40035


# --- translation ------------------------------------------------------------------------------------------------------


def turn(desk: Desk, body: bytes, lfrom: str = "zh_CN", lto: str = "en_US") -> Any:
    """Have a text translated."""
    return desk.send("POST", TRANSLATE, {"access_token": desk.token(), "lfrom": lfrom, "lto": lto}, body).json()


@pytest.mark.parametrize("body", ['{"content":"你好"}', "你好"])
def test_a_text_is_marked_as_translated(desk: Desk, body: str):
    """The text is in a JSON object, or the whole body; it comes back behind the name of the language."""
    assert turn(desk, body.encode()) == {"from_content": "你好", "to_content": "[en_US] 你好"}


def test_bare_texts_can_be_refused(make_desk: Any):
    """A policy takes the documented object only."""
    assert turn(make_desk(ai_translate_raw=False), "你好".encode())["errcode"] == 40035


@pytest.mark.parametrize(
    ("body", "languages", "errcode"),
    [
        (b'{"content":""}', {}, 40035),
        (b"{}", {}, 40035),
        (b"", {}, 40035),
        (b"a" * 601, {}, 40035),
        (b"a" * 600, {}, None),
        (b"a", {"lfrom": ""}, 40035),
        (b"a", {"lto": "fr_FR"}, 40035),
    ],
)
def test_texts_are_checked(desk: Desk, body: bytes, languages: dict[str, str], errcode: int | None):
    """1 to 600 bytes, from one of two languages to one of two."""
    assert turn(desk, body, **languages).get("errcode") == errcode


def test_the_same_language_changes_nothing(desk: Desk):
    """There is nothing to translate."""
    assert turn(desk, b"a", "en_US", "en_US")["to_content"] == "a"


@pytest.mark.parametrize("path", [RESULT, TRANSLATE, ADD])
def test_speech_is_for_everybody(desk: Desk, path: str):
    """An account that is not verified may call these too."""
    desk.account.verified = False
    answers = {RESULT: hear, ADD: speak, TRANSLATE: lambda desk: turn(desk, b"a")}
    assert answers[path](desk).get("errcode", 0) == 0


def test_recordings_are_part_of_a_snapshot(desk: Desk):
    """A world that is put back hears what it had heard."""
    speak(desk)
    document = desk.world.snapshot()
    desk.account.outreach.recordings.clear()
    desk.world.restore(document)
    desk.world.advance(1)
    assert hear(desk)["result"]
