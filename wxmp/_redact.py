"""What keeps credentials out of logs, reprs, errors and pickles."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SENSITIVE_NAMES", "Secret", "fingerprint", "mask_url", "scrub"]

MASK: Final = "***"

#: Names of query parameters and fields whose values never leave the process in a readable form.
SENSITIVE_NAMES: Final = frozenset(
    {
        "access_token",
        "api_v3_key",
        "appsecret",
        "code",
        "component_access_token",
        "encoding_aes_key",
        "js_code",
        "password",
        "refresh_token",
        "secret",
        "session_key",
        "sign",
        "ticket",
        "token",
    }
)


class Secret:
    """A text that shows ``***`` wherever Python would print it; :meth:`reveal` is the only way out.

    Comparing two secrets takes the same time whatever they hold. A secret cannot be pickled: a pickle is a file
    somebody else reads.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself. Hand it to the wire and to nothing else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        import hmac

        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass the name of the variable or file that holds it instead")


def fingerprint(value: str) -> str:
    """Eight hexadecimal digits that tell two secret values apart without giving either away."""
    return hashlib.sha256(value.encode()).hexdigest()[:8]


def mask_url(url: str) -> str:
    """Return ``url`` with its password and the values of sensitive query parameters replaced by ``***``."""
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK  # what cannot be taken apart cannot be masked in part
    netloc = parts.netloc
    if "@" in netloc:
        userinfo, _, host = netloc.rpartition("@")
        user, colon, _ = userinfo.partition(":")
        netloc = f"{user}:{MASK}@{host}" if colon else f"{MASK}@{host}"
    query = parts.query
    if query:
        pairs = [
            (name, MASK if name.lower() in SENSITIVE_NAMES else value)
            for name, value in parse_qsl(query, keep_blank_values=True)
        ]
        query = urlencode(pairs, safe="*")
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every one of ``secrets`` replaced by ``***`` (answers can echo what was sent)."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    return text
