"""Asyncio SDK for the WeChat Official Account platform (微信公众平台)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wxmp._request import FilePart
    from wxmp.client import Client
    from wxmp.config import PRODUCTION, Platform, TokenPolicy
    from wxmp.errors import (
        AccountError,
        APIError,
        ArgumentError,
        BadStatusError,
        BroadcastError,
        BusyError,
        ConfigError,
        DeadTokenError,
        DecryptError,
        JournalError,
        MalformedError,
        NotAuthorizedError,
        NotFoundError,
        PayAPIError,
        PayDecryptError,
        PayError,
        PayMismatchError,
        PayProbeError,
        PaySignatureError,
        RateLimitError,
        RecipientError,
        ReplyError,
        SignatureError,
        TimedOutError,
        TokenStoreError,
        TokenStoreUnavailable,
        TransportError,
        WebhookError,
        WebhookStoreError,
        WxmpError,
    )
    from wxmp.events import (
        BroadcastFinished,
        BroadcastStarted,
        CallAnswered,
        CallFinished,
        CallRetried,
        CallStarted,
        Event,
        LateAnswer,
        PayEvent,
        PushAnswered,
        PushFinished,
        PushStarted,
        TokenEvent,
    )
    from wxmp.retry import RetryPolicy
    from wxmp.tokens.file import FileTokenStore
    from wxmp.tokens.keeper import TokenStatus
    from wxmp.tokens.memory import MemoryTokenStore
    from wxmp.tokens.redis import RedisTokenStore
    from wxmp.tokens.store import TokenStore

__all__ = [
    "PRODUCTION",
    "APIError",
    "AccountError",
    "ArgumentError",
    "BadStatusError",
    "BroadcastError",
    "BroadcastFinished",
    "BroadcastStarted",
    "BusyError",
    "CallAnswered",
    "CallFinished",
    "CallRetried",
    "CallStarted",
    "Client",
    "ConfigError",
    "DeadTokenError",
    "DecryptError",
    "Event",
    "FilePart",
    "FileTokenStore",
    "JournalError",
    "LateAnswer",
    "MalformedError",
    "MemoryTokenStore",
    "NotAuthorizedError",
    "NotFoundError",
    "PayAPIError",
    "PayDecryptError",
    "PayError",
    "PayEvent",
    "PayMismatchError",
    "PayProbeError",
    "PaySignatureError",
    "Platform",
    "PushAnswered",
    "PushFinished",
    "PushStarted",
    "RateLimitError",
    "RecipientError",
    "RedisTokenStore",
    "ReplyError",
    "RetryPolicy",
    "SignatureError",
    "TimedOutError",
    "TokenEvent",
    "TokenPolicy",
    "TokenStatus",
    "TokenStore",
    "TokenStoreError",
    "TokenStoreUnavailable",
    "TransportError",
    "WebhookError",
    "WebhookStoreError",
    "WxmpError",
]

# Names load when they are first asked for: `import wxmp` costs no HTTP library, and a process that only catches errors
# never loads one.
_HOMES = {
    "wxmp._request": ("FilePart",),
    "wxmp.client": ("Client",),
    "wxmp.config": ("PRODUCTION", "Platform", "TokenPolicy"),
    "wxmp.events": (
        "BroadcastFinished",
        "BroadcastStarted",
        "CallAnswered",
        "CallFinished",
        "CallRetried",
        "CallStarted",
        "Event",
        "LateAnswer",
        "PayEvent",
        "PushAnswered",
        "PushFinished",
        "PushStarted",
        "TokenEvent",
    ),
    "wxmp.retry": ("RetryPolicy",),
    "wxmp.tokens.file": ("FileTokenStore",),
    "wxmp.tokens.keeper": ("TokenStatus",),
    "wxmp.tokens.memory": ("MemoryTokenStore",),
    "wxmp.tokens.redis": ("RedisTokenStore",),
    "wxmp.tokens.store": ("TokenStore",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'wxmp' has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "wxmp.errors")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
