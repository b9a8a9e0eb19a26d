"""The gate of the webhook (接入指南, 消息加解密): authentic pushes come in, all others look the same from outside.

The order is part of the protection: size, parameters, envelope, signature, freshness, decryption, message. Nothing is
decrypted that is not signed, and after the signature there is one error for all reasons. What the request says about
its own encryption is never believed: the mode is a setting.

Source:
    接入指南, 消息加解密说明 - 开发者中心 / 消息管理
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args
from urllib.parse import unquote_to_bytes

import attrs

from wxmp.errors import ConfigError, DecryptError, MalformedError, SignatureError
from wxmp.webhook.crypto import NOISE, MessageCipher, check_appid, check_token, sign
from wxmp.webhook.reading import Fields, read_fields, read_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Gate", "Mode", "Opened"]

#: How the console is set: 明文模式, 兼容模式, 安全模式.
Mode: TypeAlias = Literal["plain", "compatible", "safe"]

#: Bytes of an echostr; real ones have about twenty.
MAX_ECHOSTR: Final = 1024
#: Bytes of a query string. The longest real one is below 300.
MAX_QUERY: Final = 8192
#: Bytes of a nonce.
MAX_NONCE: Final = 128
#: Digits of a timestamp: good for 30 000 years.
MAX_DIGITS: Final = 12

# Each of them exactly once, or not at all: which of two would count is a question nobody should have to ask.
_NAMES: Final = frozenset({b"signature", b"msg_signature", b"timestamp", b"nonce", b"echostr"})
# A query as the platform writes it: nothing encoded, nothing doubled.
_QUERY: Final = re.compile(
    rb"signature=([0-9a-f]{40})&timestamp=([0-9]{1,12})&nonce=([A-Za-z0-9]{1,128})"
    rb"(?:&openid=[A-Za-z0-9_-]{0,128})?"
    rb"(?:&encrypt_type=aes)?"
    rb"(?:&msg_signature=([0-9a-f]{40}))?"
    rb"(?:&echostr=([A-Za-z0-9]{1,64}))?"
)


class _Keys:
    """One pair of Token and EncodingAESKey."""

    __slots__ = ("cipher", "token")

    def __init__(self, token: bytes, cipher: MessageCipher | None) -> None:
        self.token = token
        self.cipher = cipher

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


# Nothing that goes in needs escaping: base64, hexadecimal digits, a number.
_SEALED_XML: Final = (
    b"<xml><Encrypt><![CDATA[%b]]></Encrypt><MsgSignature><![CDATA[%b]]></MsgSignature>"
    b"<TimeStamp>%b</TimeStamp><Nonce><![CDATA[%b]]></Nonce></xml>"
)
_SEALED_JSON: Final = b'{"Encrypt":"%b","MsgSignature":"%b","TimeStamp":%b,"Nonce":"%b"}'


@attrs.define(eq=False)  # one for every push: frozen would cost twice as much to make
class Opened:
    """A push that is authentic and can be read."""

    #: The message or event, decrypted; what a plain copy beside it says is not in here.
    fields: Fields = attrs.field(repr=False)
    #: The format the push came in and the reply goes out in.
    format: Literal["xml", "json"]
    #: The same request again has the same key; a genuine retry of the platform does not.
    replay_key: str
    #: Seconds for which a replay would still look fresh; 0 when the window is switched off.
    replay_for: float
    _keys: _Keys | None = attrs.field(default=None, repr=False)


class Gate:
    """Verifies, opens and seals for one account (服务器配置).

    Args:
        token: The Token of the console, 3 to 32 letters and digits.
        encoding_aes_key: The EncodingAESKey, 43 characters; None in plain mode.
        appid: The account's AppID.
        mode: The mode of the console. None: ``safe`` with a key, ``plain`` without.
        previous: Earlier pairs of Token and EncodingAESKey, accepted until you take them out. A key of None means that
            only the Token has changed.
        window: Seconds a timestamp may be away from ``clock``, both ways; None switches the check off.
        max_body: Bytes of the largest body.
        clock: Seconds since the epoch.
        original_id: The account's original id (原始ID, ``gh_...``). When given, pushes to another one are refused.

    Raises:
        ConfigError: The named field cannot work. Secrets are not shown.
    """

    __slots__ = ("_appid", "_clock", "_original_id", "_pairs", "_scope", "_tokens", "_window", "max_body", "mode")

    def __init__(
        self,
        *,
        token: str,
        encoding_aes_key: str | None,
        appid: str,
        mode: Mode | None = None,
        previous: Iterable[tuple[str, str | None]] = (),
        window: float | None = 300.0,
        max_body: int = 1 << 20,
        clock: Callable[[], float],
        original_id: str | None = None,
    ) -> None:
        self.mode: Mode = _checked_mode(mode, encoding_aes_key)
        self.max_body: int = _checked_size(max_body)
        self._appid = check_appid(appid)
        self._window = _checked_window(window)
        self._clock = clock
        self._original_id = _checked_original_id(original_id)
        self._scope = appid.encode("ascii") + b"\0"
        self._pairs = self._paired(token, encoding_aes_key, previous)
        # Several pairs may share a Token: it is hashed once.
        self._tokens = tuple(dict.fromkeys(pair.token for pair in self._pairs))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(appid={self._appid!r}, mode={self.mode!r}, pairs={len(self._pairs)})"

    def _paired(self, token: str, key: str | None, previous: Iterable[tuple[str, str | None]]) -> tuple[_Keys, ...]:
        pairs: dict[tuple[str, str | None], _Keys] = {}
        ciphers: dict[str, MessageCipher] = {}
        for number, (one_token, one_key) in enumerate([(token, key), *_checked_previous(previous)]):
            if one_key is None or self.mode == "plain":
                one_key = None if self.mode == "plain" else key
            try:
                check_token(one_token)
                if one_key is not None and one_key not in ciphers:
                    ciphers[one_key] = MessageCipher(one_key, self._appid)
            except ConfigError as error:
                if number == 0:
                    raise
                raise ConfigError(f"previous[{number - 1}]: {error}", field="previous") from None
            cipher = None if one_key is None else ciphers[one_key]
            pairs.setdefault((one_token, one_key), _Keys(one_token.encode("ascii"), cipher))
        return tuple(pairs.values())

    def verify_url(self, query: bytes) -> bytes:
        """Return what answers the verification of the address (验证消息的确来自微信服务器): the ``echostr``, unchanged.

        It is plain in all three modes. ``msg_signature`` does not count here. Send it as ``text/plain``.

        Raises:
            SignatureError: A parameter is missing, doubled or odd, the signature is wrong, or the request is stale.
        """
        signature, timestamp, nonce, _, echostr = _parameters(query)
        self._signing("signature", signature, timestamp, nonce)
        self._check_fresh(timestamp)
        if not 0 < len(echostr) <= MAX_ECHOSTR:
            raise SignatureError("echostr is missing or too long")
        return echostr

    def open(self, query: bytes, body: bytes) -> Opened:
        """Verify, decrypt and read one push.

        Args:
            query: The query string as received, without ``?``.
            body: The whole body as received.

        Raises:
            SignatureError: Not authentic: parameters, signature, age, or not the configured mode. Status 403.
            DecryptError: Signed, but of no use: any reason whatever; ``__cause__`` may name it. Status 403.
            MalformedError: Too large (413), or neither XML nor JSON, or a plain push that cannot be read (400).
        """
        if len(body) > self.max_body:
            raise MalformedError(f"the body has more than {self.max_body} bytes", status=413)
        signature, timestamp, nonce, msg_signature, _ = _parameters(query)
        if self.mode == "plain":
            return self._open_plain(signature, timestamp, nonce, body)
        if not msg_signature:
            raise SignatureError(f"msg_signature is missing: the push is not encrypted, and the mode is {self.mode}")
        form, sealed = read_sealed(body)
        if sealed is None:
            raise SignatureError(f"the body has not exactly one Encrypt, and the mode is {self.mode}")
        tokens = self._signing("msg_signature", msg_signature, timestamp, nonce, sealed)
        remaining = self._check_fresh(timestamp)
        keys, message = self._unseal(tokens, sealed)
        try:
            fields = read_fields(message)[1]
            if self._original_id is not None:
                self._check_account(fields, self._original_id)
        except (MalformedError, SignatureError) as error:
            raise DecryptError from error
        # It fits, so it is a digest already: of the sealed text, and with it of the message, its noise and the AppID.
        return Opened(fields, form, msg_signature.decode("ascii"), remaining, keys)

    def _open_plain(self, signature: bytes, timestamp: bytes, nonce: bytes, body: bytes) -> Opened:
        self._signing("signature", signature, timestamp, nonce)
        remaining = self._check_fresh(timestamp)
        form, fields = read_fields(body)
        if "Encrypt" in fields:
            raise SignatureError("the push is encrypted, and the mode is plain")
        if self._original_id is not None:
            self._check_account(fields, self._original_id)
        # The signature does not cover the body. Timestamp and nonce are in it, and joined without a separator: a digit
        # moved from one to the other keeps the signature valid, so they may not make another key.
        digest = hashlib.blake2b(self._scope + signature + body, digest_size=20).hexdigest()
        return Opened(fields, form, digest, remaining)

    def seal(self, opened: Opened, reply: bytes) -> bytes:
        """Return what goes out for ``reply``: encrypted under the keys that opened the push (回复加密).

        An empty reply, ``success`` and everything in plain mode stay as they are.
        """
        keys = opened._keys  # noqa: SLF001 - only this class makes and reads them
        if keys is None or keys.cipher is None or reply in (b"", b"success"):
            return reply
        fresh = secrets.token_bytes(NOISE + 8)
        encrypt = keys.cipher.seal(reply, fresh[:NOISE])
        timestamp, nonce = b"%d" % self._clock(), fresh[NOISE:].hex().encode()
        form = _SEALED_JSON if opened.format == "json" else _SEALED_XML
        return form % (encrypt, sign(keys.token, timestamp, nonce, encrypt), timestamp, nonce)

    def _signing(self, name: str, given: bytes, *covered: bytes) -> list[bytes]:
        """Return the Tokens under which ``given`` fits; there is at least one."""
        # Bytes, because compare_digest raises for texts beyond ASCII.
        fitting = [token for token in self._tokens if hmac.compare_digest(sign(token, *covered), given)]
        if not fitting:
            raise SignatureError(f"{name} does not fit: not the Token of the console, or a forgery")
        return fitting

    def _check_fresh(self, timestamp: bytes) -> float:
        """Return for how many seconds ``timestamp`` stays fresh; 0 without a window, where it never ends."""
        if self._window is None:
            return 0.0
        ahead = int(timestamp) - self._clock()
        # Fixed texts: a number in them would let a flood of forgeries past a log that mentions every text once.
        if ahead < -self._window:
            raise SignatureError(f"the timestamp is more than {self._window:g} seconds old: a replay, or a wrong clock")
        if ahead > self._window:
            raise SignatureError(f"the timestamp is more than {self._window:g} seconds ahead: a wrong clock")
        return ahead + self._window + 1.0

    def _unseal(self, tokens: list[bytes], sealed: bytes) -> tuple[_Keys, bytes]:
        """Open ``sealed`` under the first pair with one of ``tokens`` that can."""
        for keys in self._pairs:
            if keys.cipher is not None and keys.token in tokens:
                try:
                    return keys, keys.cipher.decrypt(sealed)
                except DecryptError:
                    continue
        raise DecryptError

    @staticmethod
    def _check_account(fields: Fields, original_id: bytes) -> None:
        named = fields.get("ToUserName")
        text = named if isinstance(named, str) else ""
        if not hmac.compare_digest(text.encode("utf-8", "surrogatepass"), original_id):
            raise SignatureError("ToUserName is not the configured original_id: a push for another account")


def _parameters(query: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return signature, timestamp, nonce, msg_signature and echostr as received; those that are missing are empty.

    Timestamp and nonce are there and have their form.
    """
    usual = _QUERY.fullmatch(query)
    if usual is not None:
        signature, timestamp, nonce, msg_signature, echostr = usual.groups(b"")
        return signature, timestamp, nonce, msg_signature, echostr
    found = _split(query)
    timestamp = found.get(b"timestamp", b"")
    # Of bytes, isdigit knows the ten ASCII digits only; int would also take blanks, signs, underscores.
    if not timestamp.isdigit() or len(timestamp) > MAX_DIGITS:
        raise SignatureError("timestamp is missing or no number")
    nonce = found.get(b"nonce", b"")
    if not 0 < len(nonce) <= MAX_NONCE:
        raise SignatureError("nonce is missing or too long")
    get = found.get
    return get(b"signature", b""), timestamp, nonce, get(b"msg_signature", b""), get(b"echostr", b"")


def _split(query: bytes) -> dict[bytes, bytes]:
    """Return the parameters that matter, decoded; each may be given once."""
    if len(query) > MAX_QUERY:
        raise SignatureError("the query string is too long")
    found: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.partition(b"="))
        if name in _NAMES:
            if name in found:
                raise SignatureError(f"{name.decode('ascii')} is given twice")
            found[name] = value
    return found


def _checked_mode(mode: Mode | None, encoding_aes_key: str | None) -> Mode:
    if mode is None:
        return "plain" if encoding_aes_key is None else "safe"
    if mode not in get_args(Mode):
        raise ConfigError("mode must be 'plain', 'compatible' or 'safe'", field="mode")
    if mode != "plain" and encoding_aes_key is None:
        raise ConfigError(f"mode {mode!r} needs an encoding_aes_key", field="encoding_aes_key")
    return mode


def _checked_size(max_body: object) -> int:
    if not isinstance(max_body, int) or isinstance(max_body, bool) or max_body < 1:
        raise ConfigError("max_body must be a whole number of bytes above 0", field="max_body")
    return max_body


def _checked_window(window: object) -> float | None:
    if window is None:
        return None
    if not isinstance(window, (int, float)) or isinstance(window, bool) or not 0 < window < math.inf:
        raise ConfigError("window must be seconds above 0, or None for no check", field="window")
    return float(window)


def _checked_original_id(original_id: object) -> bytes | None:
    if original_id is None:
        return None
    if not isinstance(original_id, str) or not original_id or not original_id.isascii():
        raise ConfigError("original_id must be the original id of the account, gh_...", field="original_id")
    return original_id.encode("ascii")


def _checked_previous(previous: Iterable[object]) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for pair in previous:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ConfigError("previous must hold pairs of Token and EncodingAESKey", field="previous")
        pairs.append((pair[0], pair[1]))
    return pairs
