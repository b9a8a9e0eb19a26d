"""Tokens at rest that only the key opens."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp._redact import Secret
from wxmp.errors import ConfigError
from wxmp.tokens.encryption import AESGCMCodec
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.redis import RedisTokenStore
from wxmp.tokens.store import LeaseStatus, TokenKey

KEY = TokenKey("wx1", "plain")
OLD, NEW = "A" * 43 + "=", "B" * 42 + "A="
TOKEN = "55_" + "tokentoken" * 13


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=2048))
def test_a_round_trip_gives_the_token_back(value):
    """What was encrypted is decrypted to itself, is printable, and never the same text twice."""
    codec = AESGCMCodec([OLD])
    text = codec.encrypt(value, context="wx1:plain:7")
    assert codec.decrypt(text, context="wx1:plain:7") == value
    assert text.isascii()
    assert text.isprintable()
    assert text != codec.encrypt(value, context="wx1:plain:7")


@pytest.mark.parametrize("context", ["wx2:plain:7", "wx1:stable:7", "wx1:plain:8", ""])
def test_a_text_does_not_open_elsewhere(context):
    """AppID, channel and generation are bound to the text."""
    codec = AESGCMCodec([OLD])
    assert codec.decrypt(codec.encrypt(TOKEN, context="wx1:plain:7"), context=context) is None


def test_an_old_key_still_reads():
    """Every key of the list decrypts, the first one encrypts."""
    text = AESGCMCodec([OLD]).encrypt(TOKEN, context="c")
    assert AESGCMCodec([NEW, OLD]).decrypt(text, context="c") == TOKEN
    assert AESGCMCodec([NEW]).decrypt(text, context="c") is None
    text = AESGCMCodec([NEW, OLD]).encrypt(TOKEN, context="c")
    assert AESGCMCodec([NEW]).decrypt(text, context="c") == TOKEN


def test_every_flipped_bit_is_noticed():
    """A text that was changed anywhere is no token."""
    codec = AESGCMCodec([OLD])
    text = codec.encrypt(TOKEN, context="c")
    mark, sealed = text.split(" ")
    raw = base64.urlsafe_b64decode(sealed)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        assert codec.decrypt(f"{mark} {base64.urlsafe_b64encode(changed).decode()}", context="c") is None


@settings(max_examples=300)
@given(st.text(max_size=200), st.booleans())
def test_garbage_is_no_token(text, marked):
    """Whatever stands in the store: no exception, no token."""
    assert AESGCMCodec([OLD]).decrypt(f"aes256gcm {text}" if marked else text, context="c") is None


@pytest.mark.parametrize("keys", [[], "A" * 43 + "=", [b"short"], ["AAAA"], ["ä" * 32], [b"x" * 16], b"x" * 32])
def test_keys_that_cannot_work_are_refused(keys):
    """Only a list of 256-bit keys is accepted; the error does not show them."""
    with pytest.raises(ConfigError) as caught:
        AESGCMCodec(keys)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [bytes(32), "A" * 43 + "=", Secret("A" * 43 + "="), AESGCMCodec.generate_key()],
    ids=["bytes", "text", "secret", "generated"],
)
def test_keys_come_as_bytes_text_or_secret(key):
    """Each form of a key works."""
    codec = AESGCMCodec([key])
    assert codec.decrypt(codec.encrypt(TOKEN, context="c"), context="c") == TOKEN


def test_keys_do_not_show():
    """Neither repr nor the attributes print a key, and pickle refuses."""
    key = AESGCMCodec.generate_key()
    codec = AESGCMCodec([key])
    codec.encrypt(TOKEN, context="c")
    assert key not in f"{codec!r} {codec} {vars(codec)}"
    with pytest.raises(TypeError):
        pickle.dumps(codec)
    with pytest.raises(TypeError):
        copy.copy(codec)


def test_cryptography_is_loaded_with_the_first_token():
    """Neither the module nor the codec itself loads cryptography."""
    script = (
        "import sys; from wxmp.tokens.encryption import AESGCMCodec; codec = AESGCMCodec([bytes(32)]);"
        "assert not any(name.startswith('cryptography') for name in sys.modules), 'too early';"
        "codec.encrypt('t', context='c'); assert 'cryptography' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.fixture(params=["file", "redis"])
def place(request, tmp_path):
    """Where records are, as functions: make a store, read and write the raw fields of a key."""
    if request.param == "file":
        folder = tmp_path / "tokens"

        def load(key):
            return json.loads((folder / f"{key.appid}.{key.channel}.json").read_text())

        def save(key, fields):
            path = folder / f"{key.appid}.{key.channel}.json"
            path.write_text(json.dumps(fields | {"appid": key.appid, "channel": key.channel}))
            path.chmod(0o600)

        return lambda codec: FileTokenStore(folder, codec=codec), load, save
    server = request.getfixturevalue("redis_server")

    def load_hash(key):
        flat = server.command("HGETALL", f"wxmp:{{{key.appid}}}:{key.channel}:1")
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}

    def save_hash(key, fields):
        server.command("HSET", f"wxmp:{{{key.appid}}}:{key.channel}:1", *[x for pair in fields.items() for x in pair])

    return lambda codec: RedisTokenStore(server.url, codec=codec, timeout=10), load_hash, save_hash


async def test_the_token_is_not_in_the_store(place):
    """Only the token is encrypted; the other fields stay readable."""
    make, load, _ = place
    async with make(AESGCMCodec([OLD])) as store:
        await store.commit(KEY, fence=77, value=TOKEN, life=7200)
        fields = load(KEY)
        assert TOKEN not in json.dumps(fields)
        assert (int(fields["gen"]), int(fields["life"])) == (77, 7_200_000)
        record = await store.read(KEY)
        assert record.token is not None
        assert record.token.value == TOKEN


async def test_a_record_moved_to_another_appid_does_not_open(place):
    """The record of one AppID, copied over that of another, is no token."""
    make, load, save = place
    other = TokenKey("wx2", "plain")
    async with make(AESGCMCodec([OLD])) as store:
        await store.commit(KEY, fence=77, value=TOKEN, life=7200)
        save(other, load(KEY))
        assert (await store.read(KEY)).token is not None
        assert (await store.read(other)).token is None


async def test_a_token_that_no_key_opens_is_replaced(place):
    """Whoever cannot decrypt gets the lease, can put a token back and can commit a new one."""
    make, _, _ = place
    async with make(AESGCMCodec([OLD])) as old, make(AESGCMCodec([NEW])) as new:
        await old.commit(KEY, fence=77, value=TOKEN, life=7200)
        assert (await new.read(KEY)).token is None
        lease = await new.lease(KEY, owner="a", ttl=10, expect=0)
        assert (lease.status, lease.token) == (LeaseStatus.HELD, None)
        assert lease.fence > 77
        assert await new.commit(KEY, fence=lease.fence, value="new", life=7200)
        record = await new.read(KEY)
        assert record.token is not None
        assert record.token.value == "new"


async def test_a_seed_replaces_a_token_that_no_key_opens(place):
    """For who cannot decrypt it, the stored token is not there."""
    make, _, _ = place
    async with make(AESGCMCodec([OLD])) as old, make(AESGCMCodec([NEW])) as new:
        await old.commit(KEY, fence=77, value=TOKEN, life=7200)
        assert await new.seed(KEY, value="mine", generation=70, life=7200, left=100)
        record = await new.read(KEY)
        assert record.token is not None
        assert (record.token.value, record.token.generation) == ("mine", 70)


async def test_a_lease_of_who_cannot_read_leaves_the_token_to_who_can(place):
    """During a rotation of keys a process without the new key must not destroy the token."""
    make, _, _ = place
    async with make(AESGCMCodec([OLD])) as old, make(AESGCMCodec([NEW])) as new:
        await old.commit(KEY, fence=77, value=TOKEN, life=7200)
        lease = await new.lease(KEY, owner="a", ttl=10, expect=0)
        await new.fail(KEY, owner="a", fence=lease.fence, code=-1, cool_down=5)
        record = await old.read(KEY)
        assert record.token is not None
        assert record.token.value == TOKEN


async def test_a_store_without_the_codec_takes_no_ciphertext_for_a_token(place):
    """A process that was set up without the codec must not send the text to the platform."""
    make, _, _ = place
    async with make(AESGCMCodec([OLD])) as sealed, make(None) as plain:
        await sealed.commit(KEY, fence=77, value=TOKEN, life=7200)
        assert (await plain.read(KEY)).token is None
        assert (await plain.lease(KEY, owner="a", ttl=10, expect=0)).status is LeaseStatus.HELD


async def test_a_store_with_the_codec_takes_no_plain_text(place):
    """A plain token under a store with a codec is no record: somebody may have put it there."""
    make, _, _ = place
    async with make(AESGCMCodec([OLD])) as sealed, make(None) as plain:
        await plain.commit(KEY, fence=77, value=TOKEN, life=7200)
        assert (await sealed.read(KEY)).token is None
