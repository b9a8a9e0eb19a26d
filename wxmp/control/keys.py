"""Who may ask the control server for what: keys that are random, scoped, and at rest only as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import attrs

from wxmp._redact import Secret
from wxmp.control.wire import KINDS, Kind
from wxmp.errors import ConfigError
from wxmp.tokens.store import check_name

__all__ = ["ControlKey", "KeyRing", "Scope", "key_text"]

Scope: TypeAlias = frozenset[str] | Literal["*"]

PREFIX: Final = "wxck"
#: Random bytes of the part that says which key it is, and of the part that is secret.
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
#: Requests of one key in a minute.
PER_MINUTE: Final = 600
#: Longest text that is looked at as a key.
TEXT_MAX: Final = 200

_ID: Final = re.compile(r"[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TEXT: Final = re.compile(r"wxck_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def key_text(value: object) -> Secret:
    """Return a key as it is sent, if it can be one. The error never shows it.

    Raises:
        ConfigError: It has another form.
    """
    if not isinstance(value, str) or _TEXT.fullmatch(value) is None:
        raise ConfigError("key must be a key of a control server: wxck_<id>_<secret>", field="key")
    return Secret(value)


def _digest(text: str) -> str:
    # A slow hash protects passwords, which people choose. Of 256 random bits nobody tries them all, however fast the
    # hash is; a slow one would only help those who want to keep the server busy.
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _scope(value: object) -> Scope:
    if value == "*":
        return "*"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError("appids must be '*' or a set of AppIDs", field="appids")
    return frozenset(check_name(appid, field="appids") for appid in value)


def _kinds(value: object) -> frozenset[Kind]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"kinds must be a set of {', '.join(KINDS)}", field="kinds")
    asked = list(value)
    if not asked or any(kind not in KINDS for kind in asked):
        raise ConfigError(f"kinds must be a set of {', '.join(KINDS)}", field="kinds")
    return frozenset(asked)


def _check_name(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    check_name(value, field=attribute.name)


def _check_id(_: object, _attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise ConfigError("id must be 12 hexadecimal digits", field="id")


def _check_digest(_: object, _attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ConfigError("digest must be 64 hexadecimal digits", field="digest")


def _check_rate(_: object, _attribute: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError("per_minute must be a whole number above 0", field="per_minute")


@attrs.frozen
class ControlKey:
    """One client's key as the server keeps it: its name, what it may do, and a hash to know it by.

    The key itself, ``wxck_<id>_<secret>``, is in the client's hands only. Two keys may have the same name: that is how
    a key is changed without a break.
    """

    #: Whose key it is: stands in the audit log and on the status page.
    name: str = attrs.field(validator=_check_name)
    #: 12 hexadecimal digits, the public part of the key.
    id: str = attrs.field(validator=_check_id)
    #: SHA-256 of the whole key, 64 hexadecimal digits.
    digest: str = attrs.field(validator=_check_digest, repr=False)
    #: AppIDs it may ask for, or ``"*"``.
    appids: Scope = attrs.field(converter=_scope, kw_only=True)
    #: What it may ask for: ``access_token``, ``jsapi_ticket``, ``wx_card_ticket``.
    kinds: frozenset[Kind] = attrs.field(default=frozenset(KINDS), converter=_kinds, kw_only=True)
    #: Whether it may report a value dead, so that it is replaced.
    may_replace: bool = attrs.field(default=True, kw_only=True)
    #: Whether it may read ``/v1/status`` and ``/metrics``, of the accounts in its scope.
    may_see_status: bool = attrs.field(default=False, kw_only=True)
    #: Requests in a minute.
    per_minute: int = attrs.field(default=PER_MINUTE, validator=_check_rate, kw_only=True)

    @classmethod
    def create(
        cls,
        name: str,
        *,
        appids: Iterable[str],
        kinds: Iterable[Kind] = KINDS,
        may_replace: bool = True,
        may_see_status: bool = False,
        per_minute: int = PER_MINUTE,
    ) -> tuple[ControlKey, str]:
        """Make a new key; return what the server keeps, and the key itself, which nobody can make again from that.

        Args:
            name: Whose key it is.
            appids: AppIDs it may ask for, or ``"*"``.
            kinds: What it may ask for.
            may_replace: Whether it may report a value dead.
            may_see_status: Whether it may read the status and the metrics.
            per_minute: Requests in a minute.

        Raises:
            ConfigError: A setting cannot work.
        """
        identity = secrets.token_hex(ID_BYTES)
        text = f"{PREFIX}_{identity}_{secrets.token_urlsafe(SECRET_BYTES)}"
        key = cls(
            name,
            identity,
            _digest(text),
            appids=appids,
            kinds=kinds,
            may_replace=may_replace,
            may_see_status=may_see_status,
            per_minute=per_minute,
        )
        return key, text

    def covers(self, appid: str) -> bool:
        """Tell whether ``appid`` is in its scope."""
        return self.appids == "*" or appid in self.appids


class KeyRing:
    """The keys that a server accepts.

    Raises:
        ConfigError: Two keys have the same id.
    """

    def __init__(self, keys: Iterable[ControlKey]) -> None:
        self._keys: dict[str, ControlKey] = {}
        for key in keys:
            if key.id in self._keys:
                raise ConfigError(f"two keys have the id {key.id}", field="keys")
            self._keys[key.id] = key
        # Somebody who is not there is compared all the same: nobody learns by the time which ids exist.
        self._nobody = _digest(secrets.token_hex(SECRET_BYTES))

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"

    def find(self, text: str) -> ControlKey | None:
        """Return the key that ``text`` is, or ``None``."""
        if len(text) > TEXT_MAX:
            return None
        form = _TEXT.fullmatch(text)
        if form is None:
            return None
        key = self._keys.get(form.group(1))
        same = hmac.compare_digest(_digest(text), self._nobody if key is None else key.digest)
        return key if same else None
