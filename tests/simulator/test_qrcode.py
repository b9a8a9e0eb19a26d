"""QR codes: creating, scanning, the picture, and mini program rules."""

from __future__ import annotations

import struct

import pytest

from wxmp.simulator import WorldError
from wxmp.simulator.jpeg import flat_jpeg

CREATE = "/cgi-bin/qrcode/create"


def create(desk, action="QR_SCENE", scene=None, **body):
    scene = {"scene_id": 123} if scene is None else scene
    return desk.post(CREATE, {"action_name": action, "action_info": {"scene": scene}} | body)


def test_temporary_and_permanent_codes(desk):
    """A temporary code names its life (60 s unless asked for), a permanent one has none; tickets need URL encoding."""
    assert create(desk)["expire_seconds"] == 60
    assert create(desk, expire_seconds=2_592_000)["expire_seconds"] == 2_592_000
    permanent = create(desk, "QR_LIMIT_STR_SCENE", {"scene_str": "门店"})
    assert set(permanent) == {"ticket", "url"}
    assert set("+/=") <= set(permanent["ticket"])


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"action_name": "QR"}, 40052),
        ({"action_info": {}}, 40053),
        ({"action_info": {"scene": {"scene_id": 0}}}, 40053),
        ({"action_info": {"scene": {"scene_id": 2**32}}}, 40053),
        ({"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": ""}}}, 40053),
        ({"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "x" * 65}}}, 40053),
        ({"expire_seconds": 2_592_001}, 40035),
        ({"expire_seconds": 0}, 40035),
    ],
)
def test_wrong_codes(desk, changes, errcode):
    """Each wrong field has its code."""
    body = {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 1}}} | changes
    assert desk.post(CREATE, body)["errcode"] == errcode


def test_permanent_codes_run_out(make_desk):
    """Permanent codes are limited in number (45029), temporary ones are not."""
    desk = make_desk(qr_max_permanent=1)
    create(desk, "QR_LIMIT_SCENE")
    assert create(desk, "QR_LIMIT_SCENE")["errcode"] == 45029
    assert "ticket" in create(desk)


def test_stranger_and_follower_scan(desk):
    """A stranger's scan follows with qrscene_, a follower's gives SCAN with the bare scene; user/info has it too."""
    world, ticket = desk.world, create(desk, expire_seconds=100)["ticket"]
    openid = world.user_scans(None, ticket)
    world.user_scans(openid, ticket)
    follow, scan = (push.fields for push in world.pushes(openid))
    assert (follow["Event"], follow["EventKey"], follow["Ticket"]) == ("subscribe", "qrscene_123", ticket)
    assert (scan["Event"], scan["EventKey"]) == ("SCAN", "123")
    shown = desk.get("/cgi-bin/user/info", openid=openid)
    assert (shown["subscribe_scene"], shown["qr_scene"]) == ("ADD_SCENE_QR_CODE", 123)


def test_expired_and_unknown_codes_push_nothing(desk):
    """Scanning an expired or unknown code pushes no event."""
    world, openid = desk.world, desk.world.create_followers(1)[0]
    ticket = create(desk, expire_seconds=100)["ticket"]
    world.advance(100)
    for wrong in (ticket, "nope"):
        with pytest.raises(WorldError, match="expired"):
            world.user_scans(openid, wrong)
    assert world.pushes() == []


def test_out_of_range_permanent_scene(desk, make_desk):
    """A permanent scene over 100 000 comes back as 4294967295, or is refused by policy."""
    openid = desk.world.user_scans(None, create(desk, "QR_LIMIT_SCENE", {"scene_id": 100_001})["ticket"])
    assert desk.world.pushes(openid)[0].fields["EventKey"] == "qrscene_4294967295"
    strict = make_desk(qr_scene_out_of_range="refuse")
    assert create(strict, "QR_LIMIT_SCENE", {"scene_id": 100_001})["errcode"] == 40053


def test_picture_needs_no_token(desk):
    """The picture of a ticket is a JPEG without any token; an unknown ticket is HTTP 404."""
    reply = desk.send("GET", "/cgi-bin/showqrcode", {"ticket": create(desk)["ticket"]}, host="mp")
    assert (reply.status, reply.content_type, reply.body[:3], reply.body[-2:]) == (
        200,
        "image/jpg",
        b"\xff\xd8\xff",
        b"\xff\xd9",
    )
    missing = desk.send("GET", "/cgi-bin/showqrcode", {"ticket": "x"})
    assert (missing.status, missing.content_type) == (404, "text/html")


def read_flat_jpeg(data: bytes) -> list[list[bool]]:
    """Decode the simplest kind of JPEG: one component, flat blocks, the tables that are in the file."""
    at, tables, size = 2, {}, (0, 0)
    quantum = 0
    while True:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        part = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            quantum = part[1]
        elif marker == 0xC0:
            size = struct.unpack(">HH", part[1:5])
        elif marker == 0xC4:
            code, index, codes = 0, 17, {}
            for bits, count in enumerate(part[1:17], start=1):
                for _ in range(count):
                    codes[format(code, f"0{bits}b")] = part[index]
                    code, index = code + 1, index + 1
                code <<= 1
            tables[part[0]] = codes
        elif marker == 0xDA:
            break
    bits = "".join(format(byte, "08b") for byte in data[at:-2].replace(b"\xff\x00", b"\xff"))
    where = 0

    def symbol(table: dict[str, int]) -> int:
        nonlocal where
        end = where + 1
        while bits[where:end] not in table:
            end += 1
        found, where = table[bits[where:end]], end
        return found

    level, rows = 0, []
    for _ in range(size[0] // 8):
        row = []
        for _ in range(size[1] // 8):
            category = symbol(tables[0x00])
            raw = int(bits[where : where + category] or "0", 2)
            where += category
            level += raw if category and raw >> (category - 1) else raw - (1 << category) + 1 if category else 0
            assert symbol(tables[0x10]) == 0
            row.append(level * quantum / 8 + 128 < 128)
        rows.append(row)
    return rows


def test_picture_shows_the_squares_it_was_given():
    """Decoding the JPEG gives the matrix back."""
    matrix = [[(x * y + x) % 3 == 0 for x in range(9)] for y in range(7)]
    assert read_flat_jpeg(flat_jpeg(matrix)) == matrix


def test_picture_shows_the_url_of_the_code(desk):
    """The squares are those of the code's own URL."""
    import segno

    code = create(desk)
    reply = desk.send("GET", "/cgi-bin/showqrcode", {"ticket": code["ticket"]})
    expected = [
        [bool(cell) for cell in row] for row in segno.make(code["url"], error="m", micro=False).matrix_iter(border=4)
    ]
    assert read_flat_jpeg(reply.body) == expected


def test_mini_program_rules(desk):
    """Add, refuse the same again (85071), edit, list, publish, delete."""
    rule = {"prefix": "https://a.example/", "appid": "wx1", "path": "p", "is_edit": 0}
    call = lambda name, **body: desk.post(f"/cgi-bin/wxopen/qrcodejump{name}", body)  # noqa: E731
    assert call("add", **rule)["errcode"] == 0
    assert call("add", **rule)["errcode"] == 85071
    assert call("add", **rule | {"is_edit": 1, "path": "q"})["errcode"] == 0
    assert call("publish", prefix=rule["prefix"])["errcode"] == 0
    listed = call("get", get_type=0)
    assert (listed["rule_list"][0]["path"], listed["rule_list"][0]["state"]) == ("q", 2)
    assert listed["qrcodejump_pub_quota"] == 99
    assert call("get", get_type=2, page_num=2, page_size=1)["rule_list"] == []
    assert call("get", get_type=1, prefix_list=["x"])["rule_list"] == []
    assert call("delete", prefix=rule["prefix"])["errcode"] == 0
    assert call("delete", prefix=rule["prefix"])["errcode"] == 85095
    assert call("add", **rule | {"prefix": "x"})["errcode"] == 85066
