"""What the control server and its clients say to each other: paths, fields, codes and limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BODY_MAX",
    "FIELDS",
    "KINDS",
    "KIND_OF_CHANNEL",
    "NAME_OF_KIND",
    "PATH_SHOWN",
    "WAIT_MAX",
    "ErrorCode",
    "Kind",
]

Kind: TypeAlias = Literal["access_token", "jsapi_ticket", "wx_card_ticket"]

#: What can be handed out, by its part of the path.
KINDS: Final[tuple[Kind, ...]] = ("access_token", "jsapi_ticket", "wx_card_ticket")
#: The field of the answer that holds the value.
FIELDS: Final[Mapping[Kind, str]] = {
    "access_token": "access_token",
    "jsapi_ticket": "ticket",
    "wx_card_ticket": "ticket",
}
#: What :meth:`wxmp.Client.token_keeper` calls it.
NAME_OF_KIND: Final[Mapping[Kind, Literal["access_token", "jsapi", "wx_card"]]] = {
    "access_token": "access_token",
    "jsapi_ticket": "jsapi",
    "wx_card_ticket": "wx_card",
}
#: The channel of a :class:`~wxmp.tokens.store.TokenKey` and what it asks for. Which of the two channels of the
#: access_token the account is on is the server's business.
KIND_OF_CHANNEL: Final[Mapping[str, Kind]] = {
    "stable": "access_token",
    "plain": "access_token",
    "jsapi": "jsapi_ticket",
    "wx_card": "wx_card_ticket",
}

#: Bytes of a request body.
BODY_MAX: Final = 64 * 1024
#: Longest time a request may ask to be kept waiting for a value, in seconds.
WAIT_MAX: Final = 15.0
#: What a path of the platform may look like to be remembered and shown.
PATH_SHOWN: Final = re.compile(r"/[A-Za-z0-9/_.-]{1,127}")

#: ``error`` of an answer that is none of 2xx:
#:
#: ``bad_request`` (400), ``unauthorized`` (401), ``insecure``, ``forbidden`` and ``not_allowed`` (403; the last: this
#: key may not replace), ``not_found`` (404), ``method_not_allowed`` (405), ``too_large`` (413), ``too_many`` (429), and
#: with 503 and ``retry_after``: ``pending`` (it is being fetched), ``refused`` (the platform said no: ``errcode``),
#: ``budget_spent`` (values die faster than they may be replaced: ``errcode``), ``unreachable`` (the platform),
#: ``store_down``, ``broken`` (the server's own settings; see its log). ``internal`` (500).
ErrorCode: TypeAlias = Literal[
    "bad_request",
    "broken",
    "budget_spent",
    "forbidden",
    "insecure",
    "internal",
    "method_not_allowed",
    "not_allowed",
    "not_found",
    "pending",
    "refused",
    "store_down",
    "too_large",
    "too_many",
    "unauthorized",
    "unreachable",
]
