"""Pushes on the wire, and the envelope around them."""

from __future__ import annotations

import json

import pytest

from tests.simulator.developer import AES_KEY, OTHER_KEY, decrypt, encrypt, xml_fields
from wxmp.simulator import envelope
from wxmp.simulator.answers import BrokenReply, read_xml
from wxmp.simulator.payload import push_body, sealed_body
from wxmp.webhook.crypto import MessageCipher, sha1_of_sorted

# The worked examples of the specification.
KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
APPID = "wx00112233445566aa"
MESSAGE = (
    "<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><FromUserName><![CDATA[oDemo]]></FromUserName>"
    "<CreateTime>1790000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content>"
    "<MsgId>7</MsgId></xml>"
).encode()
SEALED = (
    "s/R3TZf6va8ZhZiBr4LOXEyioSEnD5ZJ52p6lJLO+1jm+cB447ktrUTtNPq6VENzFcTqj8t1ERs8/2xXEU5G0jvn5ZxmCS+VVj+Tlts68RgfM15fd9"
    "52JCuSjEjdk31Z8Ipf2mc53B91VtbkIvFr5zpgFCaIWHrVLW7HRYIWTrD1RlZjUB37jfTuuLzrXcKigNoi0XIqhYqgYYf3Y0gClvO7Bw/QB0GO/DqdVn"
    "xvr94wd5yjImXpxZ8FU9iLlY7UzULg17ubBtxqu/nZZRotolWZ5/XbgWk58zhda0XWkM+O6wvUT8U/pnQNZWEVGbxXQ/lQI9xrzIDsLLoHkqDivAxzG9"
    "xJvSWEqWjyWBidwfS4YyuPQCb+s6vWIGK8T++D"
)


def test_signature_known_answer():
    """The worked example of the plain signature, whatever the order of the parts."""
    assert envelope.signature("devSampleToken", "1790000000", "202611") == "8dad301b8dfbd89d751c76933a016e0671b8a482"
    assert envelope.signature("202611", "devSampleToken", "1790000000") == "8dad301b8dfbd89d751c76933a016e0671b8a482"


def test_envelope_known_answer():
    """The worked example of the envelope, in both directions, and its signature."""
    assert envelope.encrypt(KEY, APPID, MESSAGE, b"0f1e2d3c4b5a6978") == SEALED
    assert envelope.decrypt(KEY, APPID, SEALED) == MESSAGE
    signed = envelope.signature("devSampleToken", "1790000000", "202611", SEALED)
    assert signed == "26a47801d69f8323200d88fe3b332c710b1a0fc5"


def test_message_of_the_worked_example_is_written_alike():
    """A text push is written byte for byte like the example: CDATA for texts, bare numbers."""
    fields = {
        "ToUserName": "gh_demo",
        "FromUserName": "oDemo",
        "CreateTime": 1790000000,
        "MsgType": "text",
        "Content": "你好",
        "MsgId": 7,
    }
    assert push_body(fields, "xml") == MESSAGE


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 31, 32, 33, 1000])
def test_envelope_against_a_second_implementation(size):
    """Every padding length is understood by another implementation, and the other way round."""
    message = b"x" * size
    assert decrypt(AES_KEY, envelope.encrypt(AES_KEY, "wx1", message, b"n" * 16)) == (message, "wx1")
    assert envelope.decrypt(AES_KEY, "wx1", encrypt(AES_KEY, message, "wx1")) == message


def test_envelope_against_the_sdk():
    """Two readings of the same documents understand each other: the SDK's and the simulator's."""
    cipher = MessageCipher(AES_KEY, "wx1")
    assert cipher.decrypt(envelope.encrypt(AES_KEY, "wx1", "你好".encode(), b"n" * 16)) == "你好".encode()
    sealed = cipher.encrypt("你好".encode())
    assert envelope.decrypt(AES_KEY, "wx1", sealed if isinstance(sealed, str) else sealed.decode()) == "你好".encode()
    assert sha1_of_sorted("b", "a", "c") == envelope.signature("c", "b", "a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "base64"),
        ("你", "base64"),
        ("", "length"),
        ("AAAA", "length"),
        (encrypt(OTHER_KEY, b"hello", "wx1"), "cannot be decrypted"),
        (encrypt(AES_KEY, b"hello", "wx2"), "another AppID"),
        (encrypt(AES_KEY, b"hello", "wx1")[:-24] + "A" * 23 + "=", "cannot be decrypted"),
    ],
)
def test_damaged_envelopes(text, why):
    """Whatever is wrong with an envelope is said in words."""
    with pytest.raises(BrokenReply, match=why):
        envelope.decrypt(AES_KEY, "wx1", text)


def test_xml_survives_hostile_text():
    """A text cannot close its section, and what XML cannot carry is dropped."""
    fields = {"Content": "]]></Content><x>1</x>]]>\x00\x0b\ud800<&>", "N": None}
    assert xml_fields(push_body(fields, "xml")) == {"Content": "]]></Content><x>1</x>]]><&>", "N": ""}
    assert read_xml(push_body(fields, "xml")) == {"Content": "]]></Content><x>1</x>]]><&>", "N": ""}


def test_xml_nesting_lists_and_numbers():
    """Objects nest, every value of a list is an element, floats keep their digits."""
    fields = {"Info": {"Count": 2, "List": {"item": [{"A": "1"}, {"A": "2"}]}}, "Latitude": 31.2304, "None": []}
    assert push_body(fields, "xml").decode() == (
        "<xml><Info><Count>2</Count><List><item><A><![CDATA[1]]></A></item><item><A><![CDATA[2]]></A></item></List>"
        "</Info><Latitude>31.2304</Latitude></xml>"
    )


def test_json_keeps_numbers_and_chinese():
    """JSON has numbers as numbers, Chinese unescaped, and broken text replaced."""
    body = push_body({"CreateTime": 5, "Content": "你\ud800", "MsgId": 2**60}, "json")
    assert body == '{"CreateTime":5,"Content":"你?","MsgId":1152921504606846976}'.encode()


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ([{"TemplateId": "t", "PopupScene": 2}], {"TemplateId": "t", "PopupScene": "2"}),
        ([{"PopupScene": 1}, {"PopupScene": 2}], [{"PopupScene": "1"}, {"PopupScene": "2"}]),
    ],
)
def test_json_of_subscribe_message_events(entries, shown):
    """The wrapper is gone, one entry is a bare object, and all numbers are texts, CreateTime too."""
    fields = {"CreateTime": 5, "Event": "subscribe_msg_popup_event", "SubscribeMsgPopupEvent": {"List": entries}}
    assert json.loads(push_body(fields, "json")) == {
        "CreateTime": "5",
        "Event": "subscribe_msg_popup_event",
        "List": shown,
    }
    assert b"<SubscribeMsgPopupEvent><List>" in push_body(fields, "xml")


def test_json_of_a_mass_send_report():
    """The numbers of a mass-send report are texts in JSON."""
    fields = {"Event": "MASSSENDJOBFINISH", "MsgID": 7, "SentCount": 3, "CopyrightCheckResult": ""}
    assert json.loads(push_body(fields, "json")) == fields | {"MsgID": "7", "SentCount": "3"}


def test_sealed_bodies():
    """Safe mode shows the account and the cipher text, nothing else; compatible mode shows both forms."""
    assert xml_fields(sealed_body("gh_1", "abc", "xml")) == {"ToUserName": "gh_1", "Encrypt": "abc"}
    assert json.loads(sealed_body("gh_1", "abc", "json")) == {"ToUserName": "gh_1", "Encrypt": "abc"}
    assert xml_fields(push_body({"Content": "x"}, "xml", "abc")) == {"Content": "x", "Encrypt": "abc"}
