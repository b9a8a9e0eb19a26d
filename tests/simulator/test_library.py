"""Temporary and permanent media, the files users send, and what refers to media by id."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.simulator.hostile import spoilt_bodies
from wxmp.simulator import Clock, Policy, Request, World, formats, library

if TYPE_CHECKING:
    from wxmp.simulator.wire import Reply

JPEG = formats.sample("image", "a")
AMR = formats.sample("voice", "a")
MP4 = formats.sample("video", "a")
GIF = b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x00\x00\x00;"
BMP = b"BM" + bytes(60)
MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s, 44.1 kHz: 417 bytes, 26 ms
BOUNDARY = "lib-boundary"
DAY = 86_400
DAYS_3 = 3 * DAY


def png() -> bytes:
    """Make a real PNG of one pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


PNG = png()


def wav(seconds: int) -> bytes:
    """Make a WAV of silence: 8 kHz, 8 bit."""
    data = bytes(8000 * seconds)
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8,
                       b"data", len(data))  # fmt: skip
    return head + data


def form_body(data: bytes | None, filename: str | None, field: str = "media", **fields: str) -> bytes:
    """Write a multipart body by hand."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if data is not None:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send_form(desk, path: str, data: bytes | None, filename: str | None = "x.jpg", *, query=(), **fields: str) -> Any:
    """Upload something; return the answer."""
    request = {"access_token": desk.token(), **dict(query)}
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return desk.send("POST", path, request, form_body(data, filename, **fields), headers=headers).json()


def upload(desk, kind: str, data: bytes | None, filename: str | None = "x.jpg", **fields: str) -> Any:
    return send_form(desk, "/cgi-bin/media/upload", data, filename, query={"type": kind}, **fields)


def add(desk, kind: str, data: bytes | None, filename: str | None = "x.jpg", **fields: str) -> Any:
    return send_form(desk, "/cgi-bin/material/add_material", data, filename, query={"type": kind}, **fields)


def download(desk, media_id: str, path: str = "/cgi-bin/media/get") -> Reply:
    return desk.send("GET", path, {"access_token": desk.token(), "media_id": media_id})


def serve(desk, url: str) -> Reply:
    """Fetch a link of the platform, without a token."""
    key = url.split("/")[4] if "mmbiz.qpic.cn" in url else url.rpartition("/")[2]
    return desk.send("GET", f"/mmbiz/{key}", host="mp")


# --- temporary media --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data", "filename", "content_type"),
    [
        ("image", JPEG, "a.jpeg", "image/jpeg"),
        ("image", PNG, "a.PNG", "image/png"),
        ("image", GIF, "a.gif", "image/gif"),
        ("voice", AMR, "a.amr", "audio/amr"),
        ("voice", MP3_FRAME * 3, "a.mp3", "audio/mpeg"),
        ("voice", b"ID3\x04\x00\x00\x00\x00\x00\x00" + MP3_FRAME, "a.mp3", "audio/mpeg"),
    ],
)
def test_what_is_uploaded_comes_back(desk, kind, data, filename, content_type):
    """Each kind is kept and downloaded byte by byte, with its own content type and a file name."""
    answer = upload(desk, kind, data, filename)
    assert (answer["type"], answer["created_at"]) == (kind, int(desk.world.now()))
    reply = download(desk, answer["media_id"])
    assert (reply.body, reply.content_type) == (data, content_type)
    disposition = dict(reply.headers)["content-disposition"]
    assert disposition.startswith(f'attachment; filename="{answer["media_id"]}.')


def test_a_thumbnail_has_an_id_of_another_name(desk):
    """A thumbnail answers thumb_media_id and no media_id."""
    answer = upload(desk, "thumb", JPEG)
    assert "media_id" not in answer
    assert download(desk, answer["thumb_media_id"]).body == JPEG


def test_a_video_comes_back_as_a_link(desk):
    """A video is downloaded as JSON with a link, labelled text/plain, and the link serves the bytes."""
    media_id = upload(desk, "video", MP4, "a.mp4")["media_id"]
    reply = download(desk, media_id)
    assert reply.content_type == "text/plain"
    assert reply.json()["video_url"].startswith("http://")
    desk.world.base_url = "http://127.0.0.1:1"
    link = download(desk, media_id).json()["video_url"]
    assert link == f"http://127.0.0.1:1/mp/mmbiz/{media_id}"
    assert (serve(desk, link).body, serve(desk, link).content_type) == (MP4, "video/mp4")


@pytest.mark.parametrize(
    ("kind", "data", "filename", "errcode"),
    [
        ("poem", JPEG, "a.jpg", 40004),
        ("", JPEG, "a.jpg", 40004),
        ("image", b"", "a.jpg", 44001),
        ("image", b"<html>", "a.jpg", 40005),
        ("image", JPEG, "a", 40005),
        ("image", JPEG, "a.exe", 40005),
        ("image", BMP, "a.bmp", 40005),
        ("image", AMR, "a.jpg", 40005),
        ("voice", wav(1), "a.wav", 40005),
        ("voice", JPEG, "a.amr", 40005),
        ("video", AMR, "a.mp4", 40005),
        ("thumb", PNG, "a.png", 40005),
        ("image", JPEG + bytes(10 << 20), "a.jpg", 40009),
        ("voice", b"#!AMR\n" + bytes(2 << 20), "a.amr", 40010),
        ("video", MP4 + bytes(10 << 20), "a.mp4", 40011),
        ("thumb", JPEG + bytes(64 << 10), "a.jpg", 40012),
        ("voice", b"#!AMR\n" + (b"\x3c" + bytes(31)) * 3001, "a.amr", 45007),
        ("voice", b"#!AMR-WB\n" + (b"\x44" + bytes(60)) * 3001, "a.amr", 45007),
        ("voice", MP3_FRAME * 2298, "a.mp3", 45007),
    ],
)
def test_refused_uploads(desk, kind, data, filename, errcode):
    """Kind, emptiness, format, size and length have their own codes."""
    assert upload(desk, kind, data, filename)["errcode"] == errcode
    assert desk.account.library.temporary == {}


def test_lengths_and_sizes_at_the_limit_are_taken(desk):
    """60 seconds of AMR and exactly 64 KB of thumbnail are allowed."""
    assert "media_id" in upload(desk, "voice", b"#!AMR\n" + (b"\x3c" + bytes(31)) * 3000, "a.amr")
    assert "thumb_media_id" in upload(desk, "thumb", JPEG + bytes((64 << 10) - len(JPEG)))


def test_no_file(desk):
    """No file, a field without a file name, another field's name, no multipart body: 41005."""
    assert upload(desk, "image", None)["errcode"] == 41005
    assert upload(desk, "image", JPEG, None)["errcode"] == 41005
    assert upload(desk, "image", JPEG, field="file")["errcode"] == 41005
    assert desk.post("/cgi-bin/media/upload", {})["errcode"] == 41005


@pytest.mark.parametrize(("judge", "expected"), [("both", [40005] * 2), ("bytes", [40005, 0]), ("name", [0, 40005])])
def test_the_policy_says_what_a_format_is_judged_by(make_desk, judge, expected):
    """A text called .jpg, and a JPEG called .txt, under each rule."""
    desk = make_desk(media_judged_by=judge)
    answers = [upload(desk, "image", b"text", "a.jpg"), upload(desk, "image", JPEG, "a.txt")]
    assert [answer.get("errcode", 0) for answer in answers] == expected


def test_temporary_media_live_three_days(desk):
    """After three days of the world's clock the id is 40007, and the error is labelled as binary endpoints do."""
    media_id = upload(desk, "image", JPEG)["media_id"]
    desk.world.advance(DAYS_3 - 1)
    assert download(desk, media_id).body == JPEG
    desk.world.advance(1)
    reply = download(desk, media_id)
    assert (reply.errcode, reply.content_type) == (40007, "application/json; encoding=utf-8")
    assert "expired" in reply.why
    upload(desk, "image", JPEG)
    assert "expired" in download(desk, media_id).why
    assert media_id not in desk.account.library.temporary


def test_unknown_and_missing_ids(desk):
    """An unknown media id, and none, are 40007."""
    assert download(desk, "nope").errcode == 40007
    assert desk.get("/cgi-bin/media/get")["errcode"] == 40007


def test_another_accounts_media_are_unknown(desk):
    """A media id is worth nothing to another account."""
    media_id = upload(desk, "image", JPEG)["media_id"]
    other = desk.world.add_account()
    assert library.find_media(desk.account, media_id, desk.world.now()) is not None
    assert library.find_media(other, media_id, desk.world.now()) is None


def test_memory_is_bounded(make_desk):
    """Beyond the bytes of the policy the oldest temporary media are forgotten; permanent ones are refused."""
    data = JPEG + bytes(10_000 - len(JPEG))
    desk = make_desk(media_bytes_kept=30_000)
    ids = [upload(desk, "image", data)["media_id"] for _ in range(4)]
    assert [download(desk, media_id).errcode for media_id in ids] == [40007, 0, 0, 0]
    assert "room" in download(desk, ids[0]).why
    kept = [add(desk, "image", data).get("errcode", 0) for _ in range(4)]
    assert kept == [0, 0, 0, 45034]
    own = desk.account.library
    assert (own.permanent_bytes, own.temporary_bytes, own.temporary) == (30_000, 0, {})


def test_the_number_of_media_is_bounded(make_desk):
    """Pictures that users send are forgotten, too, when there are too many."""
    desk = make_desk(media_kept=3)
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    for _ in range(5):
        phone.send_image()
    assert len(desk.account.library.temporary) == 3


def test_high_quality_voice(desk):
    """The JS-SDK endpoint gives the stored bytes of a recording, and nothing that is none."""
    voice = upload(desk, "voice", AMR, "a.amr")["media_id"]
    image = upload(desk, "image", JPEG)["media_id"]
    assert download(desk, voice, "/cgi-bin/media/get/jssdk").body == AMR
    assert download(desk, image, "/cgi-bin/media/get/jssdk").errcode == 40007


def test_quota_of_uploads(make_desk):
    """A test account has 500 uploads a day."""
    desk = make_desk()
    desk.account.test = True
    assert desk.world.daily_limit(desk.account, "/cgi-bin/media/upload") == 500


def test_a_name_cannot_break_the_header(make_desk):
    """Quotes and line ends of a file name do not get into the header."""
    desk = make_desk(media_download_name="uploaded")
    media = library.store_media(desk.world, desk.account, "image", 'a"\r\nx: y.jpg', JPEG, desk.world.now())
    assert dict(download(desk, media.media_id).headers)["content-disposition"] == 'attachment; filename="a___x: y.jpg"'


def test_a_page_cannot_be_smuggled_in_as_a_picture(desk):
    """What is no known format is served as bytes, never as HTML, and browsers must not guess."""
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    phone.send_image(data=b"<script>alert(1)</script>", filename="a.html")
    reply = serve(desk, f"http://x/{desk.world.pushes()[-1].fields['MediaId']}")
    assert reply.content_type == "application/octet-stream"
    assert dict(reply.headers)["x-content-type-options"] == "nosniff"


# --- permanent material -----------------------------------------------------------------------------------------


def test_permanent_picture(desk):
    """A permanent picture has an id and a link, never expires, and is downloaded byte by byte."""
    answer = add(desk, "image", BMP, "a.bmp")
    desk.world.advance(400 * DAY)
    raw = json.dumps({"media_id": answer["media_id"]}).encode()
    reply = desk.send("POST", "/cgi-bin/material/get_material", {"access_token": desk.token()}, raw)
    assert (reply.body, reply.content_type) == (BMP, "image/bmp")
    assert serve(desk, answer["url"]).body == BMP
    assert download(desk, answer["media_id"]).errcode == 40007


def test_permanent_voice_takes_more_formats(desk):
    """WAV is fine as permanent material, 61 seconds of it are not."""
    assert set(add(desk, "voice", wav(60), "a.wav")) == {"media_id"}
    assert add(desk, "voice", wav(61), "a.wav")["errcode"] == 45007


def test_permanent_video(desk):
    """A video needs title and introduction in one JSON field; reading it gives them and a link."""
    assert add(desk, "video", MP4, "a.mp4")["errcode"] == 41011
    assert add(desk, "video", MP4, "a.mp4", description="{")["errcode"] == 47001
    assert add(desk, "video", MP4, "a.mp4", description='{"introduction": "i"}')["errcode"] == 41011
    told = json.dumps({"title": "标题", "introduction": "简介"}, ensure_ascii=False)
    media_id = add(desk, "video", MP4, "a.mp4", description=told)["media_id"]
    answer = desk.post("/cgi-bin/material/get_material", {"media_id": media_id})
    assert (answer["title"], answer["description"]) == ("标题", "简介")
    assert serve(desk, f"http://x/{media_id}").body == MP4


def test_counts_and_pages(desk):
    """Counts per kind, thumbnails among the pictures; pages newest first, of 1 to 20."""
    ids = [add(desk, "image", JPEG, f"{n}.jpg")["media_id"] for n in range(3)]
    thumb = add(desk, "thumb", JPEG)["media_id"]
    add(desk, "voice", AMR, "v.amr")
    counts = desk.get("/cgi-bin/material/get_materialcount")
    assert counts == {"voice_count": 1, "video_count": 0, "image_count": 4, "news_count": 0}
    pick = lambda **body: desk.post("/cgi-bin/material/batchget_material", {"type": "image"} | body)  # noqa: E731
    page = pick(offset=1, count=2)
    assert (page["total_count"], page["item_count"]) == (4, 2)
    assert [item["media_id"] for item in page["item"]] == [ids[2], ids[1]]
    assert page["item"][0]["name"] == "2.jpg"
    assert serve(desk, page["item"][0]["url"]).body == JPEG
    assert pick(offset=0, count=20)["item"][0]["media_id"] == thumb
    assert pick(offset=9, count=20)["item"] == []
    assert [pick(offset=0, count=21)["errcode"], pick(offset=-1, count=1)["errcode"]] == [40097, 40097]
    assert pick(offset=0, count=0)["errcode"] == 40097
    assert pick(type="thumb", offset=0, count=1)["errcode"] == 40004


def test_limits_of_permanent_material(make_desk):
    """One more than the policy allows is 45034, for each kind by itself."""
    desk = make_desk(material_limits=Policy().material_limits | {"voice": 1})
    assert "media_id" in add(desk, "voice", AMR, "a.amr")
    assert add(desk, "voice", AMR, "a.amr")["errcode"] == 45034
    assert "media_id" in add(desk, "image", JPEG)


def test_deleting_material(desk):
    """Deleted once; a second time, or an unknown one, is 40007."""
    media_id = add(desk, "image", JPEG)["media_id"]
    delete = lambda: desk.post("/cgi-bin/material/del_material", {"media_id": media_id})["errcode"]  # noqa: E731
    assert [delete(), delete()] == [0, 40007]
    assert desk.account.library.permanent_bytes == 0


def test_material_of_a_menu_cannot_be_deleted(desk):
    """48005 while a menu, the default or a conditional one, leads to it."""
    media_id = add(desk, "image", JPEG)["media_id"]
    leaf = {"type": "media_id", "name": "x", "media_id": media_id}
    delete = lambda: desk.post("/cgi-bin/material/del_material", {"media_id": media_id})["errcode"]  # noqa: E731
    assert desk.post("/cgi-bin/menu/create", {"button": [{"name": "y", "sub_button": [leaf]}]})["errcode"] == 0
    assert delete() == 48005
    plain = {"button": [{"type": "click", "name": "c", "key": "K"}]}
    desk.post("/cgi-bin/menu/create", plain)
    menuid = desk.post("/cgi-bin/menu/addconditional", {"button": [leaf], "matchrule": {"tag_id": "2"}})["menuid"]
    assert delete() == 48005
    desk.post("/cgi-bin/menu/delconditional", {"menuid": menuid})
    assert delete() == 0


def test_material_of_an_automatic_reply_cannot_be_deleted(desk):
    """48005 while the automatic reply sends it."""
    media_id = add(desk, "image", JPEG)["media_id"]
    delete = lambda: desk.post("/cgi-bin/material/del_material", {"media_id": media_id})["errcode"]  # noqa: E731
    replies = [{"type": "img", "content": media_id}]
    desk.account.outreach.autoreply = {"keyword_autoreply_info": {"list": [{"reply_list_info": replies}]}}
    assert delete() == 48005
    desk.account.outreach.autoreply = {}
    assert delete() == 0


def test_menus_need_existing_material(desk, make_desk):
    """A button with an unknown media id is 40007, with a temporary one too, unless the policy is loose."""
    create = lambda d, media_id: d.post(  # noqa: E731
        "/cgi-bin/menu/create", {"button": [{"type": "media_id", "name": "x", "media_id": media_id}]}
    )["errcode"]
    assert create(desk, "m") == 40007
    assert create(desk, upload(desk, "image", JPEG)["media_id"]) == 40007
    assert create(make_desk(menu_checks_media=False), "m") == 0
    button = {"type": "article_id", "name": "x", "article_id": "a"}
    assert desk.post("/cgi-bin/menu/create", {"button": [button]})["errcode"] == 53600


def test_pictures_for_articles(desk):
    """JPG and PNG under 1 MB become a link that serves the bytes; they count nowhere."""
    image = "/cgi-bin/media/uploadimg"
    for data, name in ((JPEG, "a.jpg"), (PNG, "a.png")):
        url = send_form(desk, image, data, name)["url"]
        assert serve(desk, url).body == data
    assert send_form(desk, image, GIF, "a.gif")["errcode"] == 40005
    assert send_form(desk, image, JPEG + bytes(1 << 20))["errcode"] == 40009
    assert send_form(desk, image, b"")["errcode"] == 44001
    assert send_form(desk, image, None)["errcode"] == 41005
    assert desk.get("/cgi-bin/material/get_materialcount")["image_count"] == 0
    assert serve(desk, "http://x/nope").status == 404


# --- what users send --------------------------------------------------------------------------------------------


@pytest.fixture
def phone(world):
    """A follower's phone."""
    return world.phone(world.create_followers(1)[0])


def test_what_a_user_sends_can_be_downloaded(desk, phone):
    """The bytes a user sends are the bytes the service downloads."""
    phone.send_image(data=PNG, filename="猫.png")
    phone.send_voice(data=MP3_FRAME, filename="a.mp3")
    phone.send_video(data=MP4, short=True)
    image, voice, video = (push.fields for push in desk.world.pushes(phone.openid))
    assert download(desk, image["MediaId"]).body == PNG
    assert serve(desk, image["PicUrl"]).body == PNG
    assert download(desk, voice["MediaId"]).body == MP3_FRAME
    assert voice["Format"] == "mp3"
    assert "video_url" in download(desk, video["MediaId"]).json()
    assert formats.file_format(download(desk, video["ThumbMediaId"]).body) == "jpg"


def test_a_user_without_a_file_sends_a_real_sample(desk, phone):
    """Without bytes there is a real picture, recording or film to download; pictures differ, and take no memory."""
    phone.send_image()
    phone.send_image()
    phone.send_voice()
    phone.send_video()
    first, second, voice, video = (push.fields for push in desk.world.pushes(phone.openid))
    pictures = [download(desk, fields["MediaId"]).body for fields in (first, second)]
    assert [formats.file_format(data) for data in pictures] == ["jpg", "jpg"]
    assert pictures[0] != pictures[1]
    for name in ("MediaId", "MediaId16K"):
        assert formats.voice_seconds(download(desk, voice[name]).body) == pytest.approx(1.0)
    assert serve(desk, f"http://x/{video['MediaId']}").body[4:8] == b"ftyp"
    assert desk.account.library.temporary_bytes == 0


def test_made_up_ids_are_files_too(desk, phone):
    """A media id that a test gives names a sample, or the given bytes; a known one stays what it is."""
    phone.send_image(media_id="m1")
    assert formats.file_format(download(desk, "m1").body) == "jpg"
    phone.send_image(media_id="m2", data=PNG)
    phone.send_image(media_id="m2")
    assert download(desk, "m2").body == PNG


def test_an_expired_id_is_filled_anew(desk, phone):
    """A made-up id that has expired names a sample again when it is sent again."""
    phone.send_image(media_id="m1")
    desk.world.advance(DAYS_3)
    assert download(desk, "m1").errcode == 40007
    phone.send_image(media_id="m1")
    assert download(desk, "m1").errcode == 0


def test_pictures_of_a_picture_button(desk, phone):
    """The checksum in the event is that of the picture that follows."""
    import hashlib

    desk.post("/cgi-bin/menu/create", {"button": [{"type": "pic_weixin", "name": "p", "key": "P"}]})
    phone.tap("P")
    event, message = (push.fields for push in desk.world.pushes(phone.openid))
    (item,) = event["SendPicsInfo"]["PicList"]["item"]
    assert item["PicMd5Sum"] == hashlib.md5(download(desk, message["MediaId"]).body).hexdigest()


def test_over_http_with_a_real_client(simulator, world, http):
    """A real multipart upload works, and PicUrl of a user's picture is a link that works."""
    account = world.account
    query = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
    token = http.get("/cgi-bin/token", params=query).json()["access_token"]
    answer = http.post(
        "/cgi-bin/media/upload",
        params={"access_token": token, "type": "image"},
        files={"media": ("图.png", PNG, "image/png")},
    ).json()
    got = http.get("/cgi-bin/media/get", params={"access_token": token, "media_id": answer["media_id"]})
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    phone = world.phone(world.create_followers(1)[0])
    phone.send_image(data=JPEG)
    url = world.pushes()[-1].fields["PicUrl"]
    assert url.startswith(simulator.url)
    assert http.get(url).content == JPEG


# --- customer-service messages ----------------------------------------------------------------------------------


def test_messages_need_existing_media(desk, phone, make_desk):
    """An unknown, expired or misfit media id is 40007, an unknown article 53600; a loose policy sends it."""
    phone.say("hi")

    def send(at, to, kind: str, **content: str) -> int:
        body = {"touser": to, "msgtype": kind, kind: content}
        return at.post("/cgi-bin/message/custom/send", body)["errcode"]

    image, voice = upload(desk, "image", JPEG)["media_id"], add(desk, "voice", AMR, "a.amr")["media_id"]
    thumb = upload(desk, "thumb", JPEG)["thumb_media_id"]
    assert send(desk, phone.openid, "image", media_id="m") == 40007
    assert send(desk, phone.openid, "image", media_id=voice) == 40007
    assert send(desk, phone.openid, "music", musicurl="u", thumb_media_id="m") == 40007
    assert send(desk, phone.openid, "mpnewsarticle", article_id="a") == 53600
    assert send(desk, phone.openid, "image", media_id=image) == 0
    assert send(desk, phone.openid, "voice", media_id=voice) == 0
    assert send(desk, phone.openid, "music", musicurl="u", thumb_media_id=thumb) == 0
    desk.world.advance(DAYS_3)
    phone.say("hi")
    assert send(desk, phone.openid, "image", media_id=image) == 40007
    assert send(desk, phone.openid, "voice", media_id=voice) == 0
    loose = make_desk(custom_checks_media=False)
    other = loose.world.phone(loose.world.create_followers(1)[0])
    other.say("hi")
    assert send(loose, other.openid, "image", media_id="m") == 0


# --- the whole of it --------------------------------------------------------------------------------------------


def test_snapshot_keeps_every_byte(desk, phone):
    """Files, drafts and reads survive a snapshot that went through JSON text."""
    media_id = upload(desk, "image", PNG, "a.png")["media_id"]
    url = send_form(desk, "/cgi-bin/media/uploadimg", JPEG)["url"]
    phone.send_image(media_id="m1")
    text = json.dumps(desk.world.snapshot())
    other = World(clock=Clock.frozen(), seed=99)
    other.restore(json.loads(text))
    assert other.account.library == desk.account.library
    again = attrs.evolve(desk.account.library.temporary[media_id])
    assert library.find_media(other.account, media_id, other.now()) == again
    key = url.split("/")[4]
    assert other.handle(Request("GET", f"/mmbiz/{key}", host="mp")).body == JPEG


@pytest.mark.parametrize(("data", "kind"), [(b"", ""), (b"\xff", ""), (b"RIFF", ""), (b"\xff\xfb\xf0\x00", "")])
def test_short_files_are_nothing(data, kind):
    """A file that stops early has no format."""
    assert formats.file_format(data) == kind


@pytest.mark.parametrize("beginning", [b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", b"RIFF\0\0\0\0WAVE", b"#!AMR\n\xff\xff"])
def test_broken_recordings_end(beginning):
    """A broken recording has a length or none, and reading it ends."""
    assert (formats.voice_seconds(beginning + b"\xff" * 1000) or 0) >= 0


def test_samples_are_real(tmp_path):
    """The built-in film is a tree of boxes that adds up, and its movie header has the size of the standard."""
    boxes = {}
    at = 0
    while at < len(MP4):
        size, name = struct.unpack_from(">I4s", MP4, at)
        boxes[name] = MP4[at + 8 : at + size]
        at += size
    assert at == len(MP4)
    assert struct.unpack_from(">I4s", boxes[b"moov"]) == (108, b"mvhd")


# --- hostile bodies ---------------------------------------------------------------------------------------------

ARTICLE = {"title": "t", "content": "<p>x</p>", "thumb_media_id": "<material>", "need_open_comment": 1}
NEWSPIC = {
    "article_type": "newspic",
    "title": "t",
    "content": "x",
    "image_info": {"image_list": [{"image_media_id": "<material>"}]},
    "product_info": {"footer_product_info": {"product_key": "k"}},
}
COMMENT = {"msg_data_id": "<data>", "index": 0, "user_comment_id": 1}
PAGE = {"offset": 0, "count": 20}
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("/cgi-bin/media/upload", {"type": "image"}),
    ("/cgi-bin/material/get_material", {"media_id": "<material>"}),
    ("/cgi-bin/material/get_material", {"media_id": "<news>"}),
    ("/cgi-bin/material/del_material", {"media_id": "<material>"}),
    ("/cgi-bin/material/batchget_material", {"type": "image"} | PAGE),
    ("/cgi-bin/material/batchget_material", {"type": "news"} | PAGE),
    ("/cgi-bin/material/add_news", {"articles": [ARTICLE]}),
    ("/cgi-bin/material/update_news", {"media_id": "<news>", "index": 0, "articles": ARTICLE}),
    ("/cgi-bin/draft/add", {"articles": [ARTICLE, NEWSPIC]}),
    ("/cgi-bin/draft/update", {"media_id": "<draft>", "index": 0, "articles": ARTICLE}),
    ("/cgi-bin/draft/get", {"media_id": "<draft>", "no_content": 0}),
    ("/cgi-bin/draft/delete", {"media_id": "<draft>"}),
    ("/cgi-bin/draft/batchget", PAGE | {"no_content": 1}),
    ("/cgi-bin/draft/switch", {"checkonly": 1}),
    ("/cgi-bin/freepublish/submit", {"media_id": "<draft>"}),
    ("/cgi-bin/freepublish/get", {"publish_id": "<publish>"}),
    ("/cgi-bin/freepublish/delete", {"article_id": "<article>", "index": 1}),
    ("/cgi-bin/freepublish/getarticle", {"article_id": "<article>"}),
    ("/cgi-bin/freepublish/batchget", PAGE | {"no_content": 1}),
    ("/cgi-bin/comment/open", COMMENT),
    ("/cgi-bin/comment/close", COMMENT),
    ("/cgi-bin/comment/list", {**COMMENT, "begin": 0, "count": 10, "type": 0}),
    ("/cgi-bin/comment/markelect", COMMENT),
    ("/cgi-bin/comment/unmarkelect", COMMENT),
    ("/cgi-bin/comment/delete", COMMENT),
    ("/cgi-bin/comment/reply/add", {**COMMENT, "content": "r"}),
    ("/cgi-bin/comment/reply/delete", COMMENT),
]


@pytest.mark.parametrize(("path", "good"), GOOD)
def test_every_value_of_a_body_may_be_hostile(desk, path, good):
    """Each value of a good body is replaced by each hostile one: an answer every time, never an exception."""
    desk.world.policy = attrs.evolve(desk.world.policy, daily_quotas={})
    material = add(desk, "image", JPEG)["media_id"]
    article = ARTICLE | {"thumb_media_id": material}
    draft = desk.post("/cgi-bin/draft/add", {"articles": [article]})["media_id"]
    job = desk.post("/cgi-bin/freepublish/submit", {"media_id": draft})
    desk.world.advance(30)
    words = {
        "<material>": material,
        "<news>": desk.post("/cgi-bin/material/add_news", {"articles": [article]})["media_id"],
        "<draft>": desk.post("/cgi-bin/draft/add", {"articles": [article]})["media_id"],
        "<publish>": job["publish_id"],
        "<data>": job["msg_data_id"],
        "<article>": desk.post("/cgi-bin/freepublish/get", {"publish_id": job["publish_id"]})["article_id"],
    }
    phone = desk.world.phone(desk.world.create_followers(1)[0])
    phone.comment(words["<article>"], "nice")
    for raw in spoilt_bodies([good], words):
        reply = desk.send("POST", path, {"access_token": desk.token()}, raw)
        assert reply.status == 200
        assert isinstance(reply.errcode, int)
    desk.world.advance(30)
    json.dumps(desk.world.snapshot())
    for published in desk.account.library.published.values():
        assert desk.send("GET", f"/s/{published.key}", host="mp").status in {200, 404}
