"""What template messages and subscription notices have in common: keywords, their values, and the mini program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._wire import JsonObject, encode
from wxmp.api._checks import check_optional_text, check_text, refusal

if TYPE_CHECKING:
    from wxmp._caller import Endpoint

__all__ = ["TemplateMiniProgram", "TemplateValue", "keywords_of", "program_payload", "values_payload"]

MINI_PROGRAM_REFUSED: Final = 40166
DATA_REFUSED: Final = 47003

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\.DATA\s*\}\}")


@attrs.frozen
class TemplateValue:
    """The value of one keyword; a plain text serves as well."""

    value: str
    #: ``"#RRGGBB"``, for one-time subscription messages. Template messages ignore it by now.
    color: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TemplateMiniProgram:
    """The mini program that a tap on the message opens (跳转小程序)."""

    #: A mini program that is bound to the account.
    appid: str
    #: Page with query; not for mini games. One-time subscription messages need it.
    pagepath: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def keywords_of(content: str) -> tuple[str, ...]:
    """Return the names of the placeholders in the text of a template, each once, in order."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(content)))


def _text_of(endpoint: Endpoint, name: object, value: object) -> str:
    """Return the text of one entry of ``data``.

    Raises:
        ArgumentError: The name is no text or empty, or the value is neither a text nor a record with one (47003).
    """
    check_text(endpoint, "data", name, errcode=DATA_REFUSED)
    text = value.value if isinstance(value, TemplateValue) else value
    if not isinstance(text, str):
        problem = (
            "must be a text or a TemplateValue with a text; write numbers and times the way the user shall see them"
        )
        raise refusal(endpoint, f"data[{name!r}]", DATA_REFUSED, problem)
    return text


def values_payload(endpoint: Endpoint, data: object) -> JsonObject:
    """Check ``data`` of a send and return it in wire form.

    Raises:
        ArgumentError: It is no mapping, or one of its values has no text (47003).
    """
    if not isinstance(data, Mapping):
        raise refusal(endpoint, "data", DATA_REFUSED, f"must be a dict of keywords, not {type(data).__name__}")
    payload: JsonObject = {}
    for name, value in data.items():
        text = _text_of(endpoint, name, value)
        payload[name] = encode(value) if isinstance(value, TemplateValue) else {"value": text}
    return payload


def program_payload(endpoint: Endpoint, program: object) -> JsonObject:
    """Check a mini program and return it in wire form.

    Raises:
        ArgumentError: It is no such record, or has no AppID (40166), or its page is no text (47001).
    """
    if not isinstance(program, TemplateMiniProgram):
        problem = f"must be a TemplateMiniProgram, not {type(program).__name__}"
        raise refusal(endpoint, "miniprogram", MINI_PROGRAM_REFUSED, problem)
    check_text(endpoint, "miniprogram.appid", program.appid, errcode=MINI_PROGRAM_REFUSED)
    if program.pagepath is not None:
        check_optional_text(endpoint, "miniprogram.pagepath", program.pagepath)
    payload: JsonObject = encode(program)
    return payload
