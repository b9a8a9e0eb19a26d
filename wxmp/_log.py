"""The fields of a log record: one closed list of names, for whoever searches logs and counts them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["PREFIX", "AccountLogger", "LineLogger", "log_fields"]

#: What every name begins with, so that none collides with those of ``logging`` or of the application.
PREFIX = "wxmp_"


def log_fields(
    event: str,
    *,
    appid: str | None = None,
    mchid: str | None = None,
    channel: str | None = None,
    generation: int | None = None,
    endpoint: str | None = None,
    errcode: int | None = None,
    code: str | None = None,
    rid: str | None = None,
    status: int | None = None,
    attempt: int | None = None,
    seconds: float | None = None,
    elapsed: float | None = None,
    size: int | None = None,
    count: int | None = None,
    error: str | None = None,
    reason: str | None = None,
    store: str | None = None,
    push: str | None = None,
    run: str | None = None,
    key: str | None = None,
    kind: str | None = None,
) -> dict[str, object]:
    """Return the ``extra=`` of a log record: what was given, each name with :data:`PREFIX`.

    Args:
        event: What happened: one fixed word for each log line of the library, whatever its text says.
        appid: The account.
        mchid: The merchant (商户号).
        channel: Which credential of the account.
        generation: Of the credential.
        endpoint: Method and path, or its template; never a query.
        errcode: The platform's code.
        code: WeChat Pay's code.
        rid: The platform's name of a request.
        status: An HTTP status.
        attempt: Which attempt, from 1.
        seconds: A wait or a life.
        elapsed: Seconds that something took.
        size: Bytes.
        count: How many.
        error: Class of an error, never its text.
        reason: Why, in one fixed word, or the text of one of our own errors.
        store: Which store.
        push: Kind and digest of a push: enough to find its other lines.
        run: Name of a bulk send.
        key: Name of a key of the control server.
        kind: What the control server was asked for: ``access_token``, ``jsapi`` or ``wx_card``.
    """
    named = {
        "event": event,
        "appid": appid,
        "mchid": mchid,
        "channel": channel,
        "generation": generation,
        "endpoint": endpoint,
        "errcode": errcode,
        "code": code,
        "rid": rid,
        "status": status,
        "attempt": attempt,
        "seconds": seconds,
        "elapsed": elapsed,
        "size": size,
        "count": count,
        "error": error,
        "reason": reason,
        "store": store,
        "push": push,
        "run": run,
        "key": key,
        "kind": kind,
    }
    return {PREFIX + name: value for name, value in named.items() if value is not None and value != ""}


class AccountLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger for what serves one account and is not told which: its records name the account all the same.

    Args:
        logger: Who writes.
        appid: The account.
        mchid: The merchant (商户号).
    """

    def __init__(self, logger: logging.Logger, *, appid: str = "", mchid: str = "") -> None:
        account = {"appid": appid, "mchid": mchid}
        super().__init__(logger, {PREFIX + name: value for name, value in account.items() if value})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the account's fields to those of the line."""
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


LineLogger: TypeAlias = "logging.Logger | AccountLogger"
