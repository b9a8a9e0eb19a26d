"""Signatures and the AES envelope: known answers, every way not to open, and nothing secret in a text."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.pushes import AES_KEY, APPID, TOKEN
from wxmp.errors import ConfigError, DecryptError, WebhookError
from wxmp.webhook.crypto import MessageCipher, check_appid, check_token, sha1_of_sorted, sign

TIMESTAMP, NONCE = "1790000000", "202611"
RANDOM = b"0f1e2d3c4b5a6978"
MESSAGE = (
    "<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><FromUserName><![CDATA[oDemo]]></FromUserName>"
    "<CreateTime>1790000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content>"
    "<MsgId>7</MsgId></xml>"
).encode()
ENCRYPT = (
    "s/R3TZf6va8ZhZiBr4LOXEyioSEnD5ZJ52p6lJLO+1jm+cB447ktrUTtNPq6VENzFcTqj8t1ERs8/2xXEU5G0jvn5ZxmCS+VVj+Tlts68RgfM15f"
    "d952JCuSjEjdk31Z8Ipf2mc53B91VtbkIvFr5zpgFCaIWHrVLW7HRYIWTrD1RlZjUB37jfTuuLzrXcKigNoi0XIqhYqgYYf3Y0gClvO7Bw/QB0GO"
    "/DqdVnxvr94wd5yjImXpxZ8FU9iLlY7UzULg17ubBtxqu/nZZRotolWZ5/XbgWk58zhda0XWkM+O6wvUT8U/pnQNZWEVGbxXQ/lQI9xrzIDsLLoH"
    "kqDivAxzG9xJvSWEqWjyWBidwfS4YyuPQCb+s6vWIGK8T++D"
)


def cbc(padded: bytes, key: str = AES_KEY) -> str:
    """Whatever bytes, sealed: what only somebody with the key could send."""
    raw = base64.b64decode(key + "=")
    sealer = Cipher(algorithms.AES256(raw), modes.CBC(raw[:16])).encryptor()
    return base64.b64encode(sealer.update(padded) + sealer.finalize()).decode()


def padded(message: bytes, *, appid: str = APPID, length: int | None = None, fill: int | None = None) -> bytes:
    """The plain text of an envelope with a length and a padding of one's choice."""
    plain = RANDOM + (len(message) if length is None else length).to_bytes(4, "big") + message + appid.encode()
    n = 32 - len(plain) % 32 if fill is None else fill
    return plain + bytes([n]) * n


@pytest.fixture
def cipher() -> MessageCipher:
    return MessageCipher(AES_KEY, APPID)


def test_plain_signature_known_answer() -> None:
    """The signature of the worked example: sorted by bytes, joined, SHA-1."""
    assert sha1_of_sorted(TOKEN, TIMESTAMP, NONCE) == "8dad301b8dfbd89d751c76933a016e0671b8a482"


def test_msg_signature_known_answer() -> None:
    """The signature of the worked example over the encrypted text."""
    assert sha1_of_sorted(TOKEN, TIMESTAMP, NONCE, ENCRYPT) == "26a47801d69f8323200d88fe3b332c710b1a0fc5"


def test_signature_takes_texts_and_bytes_alike() -> None:
    """Parts may be given as text or as received bytes, and in any order."""
    assert sha1_of_sorted(b"202611", TOKEN, TIMESTAMP.encode()) == sha1_of_sorted(TOKEN, TIMESTAMP, NONCE)
    assert sign(b"b", b"a").decode() == sha1_of_sorted("ab")


def test_parts_are_sorted_by_bytes() -> None:
    """U+FF5E sorts before U+1F600 as bytes; sorted as UTF-16 it would come behind."""
    assert sha1_of_sorted("\U0001f600", "\uff5e") == sha1_of_sorted("\uff5e\U0001f600")


def test_encrypt_known_answer(cipher: MessageCipher) -> None:
    """The worked example is sealed to the last character."""
    assert cipher.encrypt(MESSAGE, random=RANDOM) == ENCRYPT


def test_decrypt_known_answer(cipher: MessageCipher) -> None:
    """The worked example opens, as text and as bytes, with blanks around it."""
    assert cipher.decrypt(ENCRYPT) == MESSAGE
    assert cipher.decrypt(b" \r\n\t" + ENCRYPT.encode() + b"\n") == MESSAGE


@given(st.binary(max_size=400))
def test_round_trip(message: bytes) -> None:
    """What is sealed opens again, whatever its length."""
    cipher = MessageCipher(AES_KEY, APPID)
    assert cipher.decrypt(cipher.encrypt(message)) == message


def test_messages_do_not_disturb_each_other(cipher: MessageCipher) -> None:
    """The kept contexts carry nothing of one message into the next, a refused one in between included."""
    texts = [cipher.encrypt(b"%d" % number * number) for number in range(60)]
    for number, text in reversed(list(enumerate(texts))):
        with pytest.raises(DecryptError):
            cipher.decrypt(cbc(b"\0" * 64))
        assert cipher.decrypt(text) == b"%d" % number * number
        assert MessageCipher(AES_KEY, APPID).decrypt(text) == b"%d" % number * number


def test_equal_messages_never_look_equal(cipher: MessageCipher) -> None:
    """The vector is fixed, so the random bytes must differ from message to message."""
    assert len({cipher.encrypt(b"same")[:22] for _ in range(200)}) == 200


def test_noise_of_a_reader_with_the_vector_is_random(cipher: MessageCipher) -> None:
    """A reader that starts from the vector of the key finds fresh noise too, in the first message and in later ones."""
    raw = base64.b64decode(AES_KEY + "=")
    noises = set()
    for _ in range(50):
        opener = Cipher(algorithms.AES256(raw), modes.CBC(raw[:16])).decryptor()
        noises.add(opener.update(base64.b64decode(cipher.encrypt(b"same")))[:16])
    assert len(noises) == 50


def test_threads_share_a_cipher(cipher: MessageCipher) -> None:
    """Several threads seal and open with one object, and each gets its own message."""
    wrong: list[bytes] = []

    def work(mine: bytes) -> None:
        for size in range(1, 150):
            if cipher.decrypt(cipher.encrypt(mine * size)) != mine * size:
                wrong.append(mine)

    threads = [threading.Thread(target=work, args=(bytes([65 + number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_busy_context_is_not_waited_for(cipher: MessageCipher) -> None:
    """Without a GIL another thread may be inside of the kept context, which then raises: a fresh one does the work."""

    class Busy:
        def update(self, data: bytes) -> bytes:
            raise RuntimeError("Already borrowed")

    cipher._opener = cipher._sealer = Busy()  # type: ignore[assignment]
    assert cipher.decrypt(cipher.encrypt(b"hello")) == b"hello"


@pytest.mark.parametrize("fill", range(1, 33))
def test_every_padding_opens(cipher: MessageCipher, fill: int) -> None:
    """The padding block is 32 bytes: the values 17 to 32, which AES libraries refuse, are right too."""
    message = b"x" * ((-(20 + len(APPID) + fill)) % 32)
    assert cipher.decrypt(cbc(padded(message, fill=fill))) == message


def test_padding_to_sixteen_bytes_opens(cipher: MessageCipher) -> None:
    """Some senders pad to the block of AES; the last byte says how much."""
    message = b"x" * (48 - 20 - len(APPID) - 4)
    assert cipher.decrypt(cbc(padded(message, fill=4))) == message


BROKEN = {
    "empty": "",
    "blanks": "  ",
    "no base64": "!" * 64,
    "text": "你好" * 32,
    "half a surrogate pair": "\ud800" * 32,
    "line break inside": ENCRYPT[:64] + "\n" + ENCRYPT[64:],
    "blank inside": ENCRYPT[:64] + " " + ENCRYPT[64:],
    "url-safe alphabet": ENCRYPT.replace("+", "-").replace("/", "_"),
    "text behind the padding": base64.b64encode(b"x" * 64).decode() + "AAAA",
    "padding first": "=" + ENCRYPT,
    "no padding": base64.b64encode(b"x" * 64).decode().rstrip("="),
    "one block": base64.b64encode(b"x" * 16).decode(),
    "not whole blocks": base64.b64encode(b"x" * 40).decode(),
    "another key": cbc(padded(MESSAGE), "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
    "padding 0": cbc(padded(b"x" * 44)[:-16] + bytes(16)),
    "padding 33": cbc(padded(b"x" * 12)[:-1] + bytes([33])),
    "padding 255": cbc(padded(MESSAGE)[:-1] + b"\xff"),
    "padding of unequal bytes": cbc(padded(MESSAGE)[:-2] + b"\x19\x1a"),
    "padding longer than everything but a header": cbc(b"\x20" * 32),
    "length beyond the end": cbc(padded(MESSAGE, length=len(MESSAGE) + 17)),
    "length of 4 GB": cbc(padded(MESSAGE, length=0xFFFFFFFF)),
    "length one too long": cbc(padded(MESSAGE, length=len(MESSAGE) + 1)),
    "length one too short": cbc(padded(MESSAGE, length=len(MESSAGE) - 1)),
    "another appid": cbc(padded(MESSAGE, appid="wx00112233445566ab")),
    "no appid": cbc(padded(MESSAGE, appid="")),
    "appid with a tail": cbc(padded(MESSAGE, appid=APPID + "x")),
    "appid beyond ASCII": cbc(padded(MESSAGE, appid="wx你好")),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_everything_else_fails_alike(cipher: MessageCipher, text: str) -> None:
    """One error, one text, one number, and no cause that tells more."""
    with pytest.raises(DecryptError) as caught:
        cipher.decrypt(text)
    assert (str(caught.value), caught.value.code, caught.value.status) == (str(DecryptError()), -40007, 403)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_bytes_fail_like_texts(cipher: MessageCipher, text: str) -> None:
    """The same, given as bytes."""
    with pytest.raises(DecryptError):
        cipher.decrypt(text.encode("utf-8", "surrogatepass"))


def test_every_truncation_fails(cipher: MessageCipher) -> None:
    """An envelope cut anywhere does not open."""
    for length in range(len(ENCRYPT)):
        with pytest.raises(DecryptError):
            cipher.decrypt(ENCRYPT[:length])


def test_flipped_bytes_never_raise_anything_else(cipher: MessageCipher) -> None:
    """A flipped byte outside of the noise gives another message or the one error, never anything else."""
    sealed = base64.b64decode(ENCRYPT)
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x41
        with contextlib.suppress(DecryptError):
            assert cipher.decrypt(base64.b64encode(changed)) != MESSAGE or place < 16


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_random_input_raises_one_error(text: bytes | str) -> None:
    """Whatever comes, only DecryptError."""
    with pytest.raises(DecryptError):
        MessageCipher(AES_KEY, APPID).decrypt(text)


@given(st.binary(min_size=2, max_size=8).map(lambda part: (part * 200)[: len(part) * 200 // 16 * 16]))
def test_random_plain_text_raises_one_error(plain: bytes) -> None:
    """Whatever stands inside of a properly sealed envelope, only DecryptError."""
    with pytest.raises(DecryptError):
        MessageCipher(AES_KEY, APPID).decrypt(cbc(plain))


def test_low_bits_of_the_last_character_do_not_count() -> None:
    """43 characters hold 258 bits; keys whose last two bits are set are genuine."""
    assert MessageCipher(AES_KEY[:-1] + "N", APPID).decrypt(ENCRYPT) == MESSAGE


@pytest.mark.parametrize(
    "key", ["", "x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "\n", "x" * 42 + "é", "x-" * 21 + "x", None, 7]
)
def test_odd_keys_are_refused_without_being_shown(key: object) -> None:
    """A key of another form is refused at once; the error names the field and does not show it."""
    with pytest.raises(ConfigError) as caught:
        MessageCipher(key, APPID)  # type: ignore[arg-type]
    assert caught.value.field == "encoding_aes_key"
    assert "xx" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("appid", ["", "wx 1", "wx\n", "x" * 65, "微信", "../x", None])
def test_odd_appids_are_refused(appid: object) -> None:
    """An AppID of another form is refused."""
    with pytest.raises(ConfigError) as caught:
        check_appid(appid)
    assert caught.value.field == "appid"


@pytest.mark.parametrize(
    "token", ["", "ab", "x" * 33, "with-dash", "blank s", "tokén", "٣٣٣", "line\n", None, b"bytes"]
)
def test_odd_tokens_are_refused_without_being_shown(token: object) -> None:
    """A Token is 3 to 32 ASCII letters and digits."""
    with pytest.raises(ConfigError) as caught:
        check_token(token)
    assert caught.value.field == "token"
    assert not token or str(token) not in str(caught.value)


def test_length_of_random_is_checked(cipher: MessageCipher) -> None:
    """Noise of another length would shift everything behind it."""
    with pytest.raises(ConfigError):
        cipher.encrypt(b"x", random=b"short")


def test_key_is_not_in_the_repr(cipher: MessageCipher) -> None:
    """The cipher shows whose it is, never the key."""
    assert AES_KEY not in repr(cipher)
    assert APPID in repr(cipher)


def test_errors_are_webhook_errors() -> None:
    """Callers catch one class."""
    assert issubclass(DecryptError, WebhookError)


def test_cryptography_loads_with_the_first_cipher() -> None:
    """Importing the module alone does not load cryptography."""
    code = "import sys, wxmp.webhook.crypto, wxmp.webhook.gate; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
