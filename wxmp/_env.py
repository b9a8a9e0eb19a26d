"""Settings that come from environment variables: what their mistakes are called, and how they name a Redis server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_redis_address", "named_in_env"]


@contextmanager
def named_in_env(name: str) -> Iterator[None]:
    """Let a mistake be found by the variable it stands in, and not by the argument that it became."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}", field=name) from None


def is_redis_address(value: str) -> bool:
    """Tell whether a store that is named like this is Redis; whether the address can work is found out later."""
    kind, _, rest = value.partition(":")
    return kind in ("redis", "rediss", "unix") and rest.startswith("//")
