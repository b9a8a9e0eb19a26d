"""What keeps credentials out of logs, reprs, errors and pickles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MASK", "SENSITIVE_NAMES", "Secret", "fingerprint", "mask_fields", "scrub"]

#: What stands where a credential was.
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

# A name, its closing quote, a separator, the value: as JSON (also inside of a JSON text), query string or header line.
_FIELD: Final = re.compile(
    rf"""(?<![A-Za-z0-9_-])({"|".join(sorted(SENSITIVE_NAMES))})(\\?["']?\s{{0,9}}[:=]\s{{0,9}}\\?["']?)[^"'\\&\s,;<>{{}}]+""",
    re.IGNORECASE,
)


class Secret:
    """A text that shows ``***`` wherever Python would print it; :meth:`reveal` is the only way out.

    Comparing two secrets takes the same time whatever they hold. A copy is the secret itself. A secret cannot be
    pickled: a pickle is a file somebody else reads.
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
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass the name of the variable or file that holds it instead")


def _bytes(value: str) -> bytes:
    # A broken environment variable can hold half a surrogate pair; comparing it must not be what fails.
    return value.encode("utf-8", "surrogatepass")


def fingerprint(value: str) -> str:
    """Eight hexadecimal digits that tell two secret values apart without giving either away."""
    import hashlib

    return hashlib.sha256(_bytes(value)).hexdigest()[:8]


def mask_fields(text: str) -> str:
    """Return ``text`` with the values of sensitive fields masked, whatever they are: half an answer, an error page."""
    return _FIELD.sub(rf"\1\2{MASK}", text)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every one of ``secrets`` replaced by ``***`` (answers can echo what was sent)."""
    # The longest first: where one secret begins with another, the rest of the longer one would stay readable.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
