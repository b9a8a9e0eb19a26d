"""Recognition on the simulated platform: cards, texts, codes and crops of pictures, speech to text, translation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wxmp import ArgumentError, NotAuthorizedError, NotFoundError, RateLimitError
from wxmp.api.ai import CropBox, IDCardSide, ImageSize
from wxmp.simulator import formats, library

if TYPE_CHECKING:
    from pathlib import Path

    from wxmp.pytest_plugin import WxSim

JPEG = formats.sample("image", "card")
#: 128 kbit/s, 44.1 kHz: 26 ms a frame.
MP3 = (b"\xff\xfb\x90\x00" + bytes(413)) * 40
ELSEWHERE = "https://shop.example.com/图.jpg?a=1&b=2"


async def test_both_sides_of_an_identity_card(wx_sim: WxSim) -> None:
    """The front has name and number, the back how long it is valid; nothing documented is left over."""
    ai = wx_sim.client().ai
    front, back = await ai.ocr_id_card(JPEG), await ai.ocr_id_card(JPEG, filename="back.jpg", type="scan")
    assert (front.type, back.type) == (IDCardSide.FRONT, IDCardSide.BACK)
    assert front.name
    assert len(front.id) == 18
    assert back.valid_date == "20200101-20400101"
    assert front.extra == back.extra == {}


async def test_cards_and_licences(wx_sim: WxSim) -> None:
    """Every kind of document is read from a file, and no field is unknown."""
    ai = wx_sim.client().ai
    bank, plate = await ai.ocr_bank_card(JPEG), await ai.ocr_plate_number(JPEG)
    vehicle, driving, business = (
        await ai.ocr_vehicle_license(JPEG),
        await ai.ocr_driving_license(JPEG),
        await ai.ocr_business_license(JPEG),
    )
    assert bank.number
    assert vehicle.plate_num == plate.number
    assert driving.id_num
    assert business.enterprise_name
    assert vehicle.card_position_front == business.cert_position
    assert not any(found.extra for found in (bank, plate, vehicle, driving, business))


async def test_the_same_picture_at_an_address(wx_sim: WxSim, tmp_path: Path) -> None:
    """A picture says the same from memory, from a file and from its address."""
    ai = wx_sim.client().ai
    picture = library.store_picture(wx_sim.world, wx_sim.account, JPEG, wx_sim.world.now())
    path = tmp_path / "card.jpg"
    path.write_bytes(JPEG)
    address = library.media_url(wx_sim.world, picture.key, picture.format)
    assert await ai.ocr_text(JPEG) == await ai.ocr_text(path) == await ai.ocr_text(img_url=address)


async def test_an_address_with_signs_of_its_own(wx_sim: WxSim) -> None:
    """An address with a query arrives whole: another query is another picture."""
    ai = wx_sim.client().ai
    first, second = await ai.ocr_text(img_url=ELSEWHERE), await ai.ocr_text(img_url=ELSEWHERE + "3")
    assert first.items[0].text != second.items[0].text
    assert wx_sim.journal[-2].query["img_url"] == ELSEWHERE


async def test_dishes_and_codes(wx_sim: WxSim) -> None:
    """A menu that comes as JSON in a text is a list of dishes; a code has its place."""
    ai = wx_sim.client().ai
    menu, scan = await ai.ocr_menu(JPEG), await ai.scan_codes(JPEG)
    assert [bool(dish.name and dish.price) for dish in menu.dishes] == [True] * 5
    (code,) = scan.codes
    assert code.type_name == "QR_CODE"
    assert code.pos is not None
    assert code.pos.right_bottom is not None
    assert (code.pos.right_bottom.x, scan.img_size) == (56, ImageSize(64, 64))


async def test_crops(wx_sim: WxSim) -> None:
    """The ratios arrive beside a file and beside an address."""
    ai = wx_sim.client().ai
    near = await ai.smart_crop(JPEG, ratios=[1, 2])
    far = await ai.smart_crop(img_url=ELSEWHERE, ratios=[1, 2])
    assert near.crops == (CropBox(0, 0, 64, 64), CropBox(0, 16, 64, 48))
    assert far.crops == (CropBox(180, 0, 900, 720), CropBox(0, 90, 1080, 630))


async def test_an_enlarged_picture_is_a_material(wx_sim: WxSim) -> None:
    """The id leads to temporary media of the account."""
    media_id = await wx_sim.client().ai.super_resolution(JPEG)
    assert wx_sim.account.library.temporary[media_id].data == JPEG


async def test_a_picture_of_nothing(wx_sim: WxSim) -> None:
    """No card is a NotFoundError, no text an empty list."""
    ai = wx_sim.client().ai
    for call in (ai.ocr_id_card, ai.ocr_bank_card, ai.ocr_business_license):
        with pytest.raises(NotFoundError) as caught:
            await call(JPEG, filename="nothing.jpg")
        assert caught.value.errcode == 101001
    assert (await ai.ocr_text(JPEG, filename="nothing.jpg")).items == ()


async def test_what_the_platform_cannot_decode(wx_sim: WxSim) -> None:
    """A picture that only looks like one is refused there."""
    with pytest.raises(ArgumentError) as caught:
        await wx_sim.client().ai.ocr_text(b"\xff\xd8\xff\xe0" + b"\0" * 60)
    assert caught.value.errcode == 101002


async def test_free_calls_end(wx_sim: WxSim) -> None:
    """After 100 calls there are none for the day, and the refusal is not asked for again."""
    ai = wx_sim.client().ai
    wx_sim.world.counter(wx_sim.account, "/cv/ocr/comm", wx_sim.world.now()).used = 99
    await ai.ocr_text(JPEG)
    with pytest.raises(RateLimitError) as caught:
        await ai.ocr_text(JPEG)
    assert caught.value.errcode == 101003
    assert wx_sim.calls("/cv/ocr/comm") == 2


async def test_an_account_that_may_not(wx_sim: WxSim) -> None:
    """Pictures are for verified accounts, translation is for everybody."""
    wx_sim.account.verified = False
    ai = wx_sim.client().ai
    with pytest.raises(NotAuthorizedError):
        await ai.ocr_text(JPEG)
    assert (await ai.translate("茶", from_lang="zh_CN", to_lang="en_US")).to_content == "[en_US] 茶"


async def test_speech_to_text(wx_sim: WxSim) -> None:
    """Nothing right after the upload, the text a second later, nothing after ten."""
    ai = wx_sim.client().ai
    voice_id = await ai.submit_voice(MP3, lang="en_US")
    heard = [await ai.get_voice_result(voice_id, lang="en_US")]
    for seconds in (1, 10):
        wx_sim.world.advance(seconds)
        heard.append(await ai.get_voice_result(voice_id))
    assert [result.result[:17] for result in heard] == ["", "this is recording", ""]


@pytest.mark.parametrize("content", ["茶" * 200, 'say "hi"\n\\u4f60', "<茶>"])
async def test_translation(wx_sim: WxSim, content: str) -> None:
    """A text arrives as it is, up to its last byte."""
    found = await wx_sim.client().ai.translate(content, from_lang="en_US", to_lang="zh_CN")
    assert (found.from_content, found.to_content) == (content, f"[zh_CN] {content}")
