"""Template messages (模板消息): send them, manage the account's templates and industries."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import (
    check_digits,
    check_list,
    check_number,
    check_openid,
    check_optional_text,
    check_text,
)
from wxmp.api._pages import next_page
from wxmp.api._templates import TemplateMiniProgram, TemplateValue, keywords_of, program_payload, values_payload
from wxmp.errors import ReplyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

__all__ = [
    "BlockedMessage",
    "Industries",
    "Industry",
    "Template",
    "TemplateAPI",
    "TemplateMiniProgram",
    "TemplateReceipt",
    "TemplateValue",
]

#: Most bytes of a ``client_msg_id``.
CLIENT_MSG_ID_BYTES: Final = 32
#: Industry codes run from 1 to this (行业代码查询).
LAST_INDUSTRY: Final = 41
#: Most entries on one page of :meth:`TemplateAPI.list_blocked`.
BLOCKED_PAGE: Final = 100

UNKNOWN_TEMPLATE: Final = 40037
MINI_PROGRAM_REFUSED: Final = 40166
PARAMETER_REFUSED: Final = 40035
ARGUMENT_REFUSED: Final = 40097
DATA_REFUSED: Final = 47003
INDUSTRY_REFUSED: Final = 40102


# A send carries a de-duplication key and is then repeatable; the endpoint as such is not.
SEND: Final = Endpoint("POST", "/cgi-bin/message/template/send", repeatable=False)
SET_INDUSTRY: Final = Endpoint("POST", "/cgi-bin/template/api_set_industry", repeatable=False)
GET_INDUSTRY: Final = Endpoint("GET", "/cgi-bin/template/get_industry", repeatable=True)
ADD: Final = Endpoint("POST", "/cgi-bin/template/api_add_template", repeatable=False)
LIST: Final = Endpoint("GET", "/cgi-bin/template/get_all_private_template", repeatable=True)
DELETE: Final = Endpoint(
    "POST", "/cgi-bin/template/del_private_template", repeatable=True, done_codes=frozenset({UNKNOWN_TEMPLATE})
)
LIST_BLOCKED: Final = Endpoint("POST", "/wxa/sec/queryblocktmplmsg", repeatable=True)


@attrs.frozen
class TemplateReceipt:
    """The platform has accepted a message. How it ended comes later as the event ``TEMPLATESENDJOBFINISH``."""

    #: Names the message in that event.
    msg_id: int = attrs.field(metadata=wire("msgid"))
    #: The key the message was sent with. Within ten minutes a second send to the same user with it delivers nothing.
    client_msg_id: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Industry:
    """An industry of the account (所属行业)."""

    #: Name of level 1, for example 运输与仓储.
    first_class: str
    #: Name of level 2, for example 快递.
    second_class: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Industries:
    """The two industries of the account (设置的行业信息)."""

    primary_industry: Industry
    secondary_industry: Industry
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Template:
    """A template of the account (模板)."""

    template_id: str
    title: str = ""
    #: Industry, level 1.
    primary_industry: str = ""
    #: Industry, level 2.
    deputy_industry: str = ""
    #: The text, with placeholders like ``{{thing1.DATA}}``.
    content: str = ""
    #: The text with sample values.
    example: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names that ``data`` of a send must fill, in the order of the text: ``("thing1", "time2")``."""
        return keywords_of(self.content)


@attrs.frozen
class BlockedMessage:
    """A template message that the platform blocked (被拦截的模板消息)."""

    #: The record's own number; the largest one is the cursor for the next page.
    record_id: int = attrs.field(metadata=wire("id"))
    #: The message, always as a text: the receipt of its send has a number, the documentation of this call has letters.
    msg_id: str = attrs.field(default="", metadata=wire("tmpl_msg_id"))
    title: str = ""
    content: str = ""
    #: When it was sent.
    sent_at: datetime | None = attrs.field(default=None, metadata=wire("send_timestamp"))
    #: Who should have got it.
    openid: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TemplateAPI:
    """Template messages (模板消息): send them, manage the account's templates and industries.

    Verified service accounts only; the others get 48001.
    """

    _call: Caller

    async def send(
        self,
        openid: str,
        *,
        template_id: str,
        data: Mapping[str, str | TemplateValue],
        url: str | None = None,
        miniprogram: TemplateMiniProgram | None = None,
        client_msg_id: str | None = None,
    ) -> TemplateReceipt:
        """Send a template message (发送模板消息).

        Every send carries a de-duplication key, so it is repeated after a broken connection and still delivered once.
        The key works for ten minutes: keep the ``total_time`` of the retry policy below that. The platform allows
        100 000 a day, more from 100 000 followers on; accounts outside China cannot link to pages.

        Args:
            openid: The receiver, who must follow the account.
            template_id: One of the account's templates (``client.template.list``).
            data: A value for each keyword of the template, as text. The first letters of a keyword are a rule:
                ``thing`` up to 20 characters, ``character_string`` up to 32 digits, letters and signs, ``time`` a
                24-hour clock with or without a date, ``amount`` one currency sign and up to 10 digits,
                ``phone_number`` up to 17, ``car_number`` up to 8, ``const`` an approved value.
            url: The page a tap opens. Without it and without ``miniprogram`` a tap does nothing.
            miniprogram: The mini program a tap opens; it wins over ``url``.
            client_msg_id: The de-duplication key, at most 32 bytes; made here if absent. Give your own, made from the
                business event, when your process can die between the send and writing down that it was sent.

        Returns:
            The number of the message, and its key.

        Raises:
            RecipientError: The user does not follow the account, or takes none of its messages (43004, 43101).
            NotFoundError: No such template (40037).
            ArgumentError: A value breaks the rule of its keyword, which ``errmsg`` names (47003); the openid is not of
                this account (40003); the mini program is refused (40165, 40166); the template id or ``url`` has an
                impossible length (40036, 40039); the template is of another kind (40008), or of none of the 25 in use
                (45026).
            NotAuthorizedError: The message advertises something (40249).
            AccountError: The account may send none for the time being, because of a breach of the rules (43116).
            RateLimitError: The messages of the day (45009) or of the minute (45011) are used up.

        Source:
            POST /cgi-bin/message/template/send - 模板消息 / 发送模板消息
        """
        payload: JsonObject = {
            "touser": check_openid(SEND, openid),
            "template_id": check_text(SEND, "template_id", template_id, errcode=UNKNOWN_TEMPLATE),
        }
        if url is not None:
            payload["url"] = check_optional_text(SEND, "url", url)
        if miniprogram is not None:
            payload["miniprogram"] = program_payload(SEND, miniprogram)
        key = client_msg_id if client_msg_id is not None else secrets.token_hex(CLIENT_MSG_ID_BYTES // 2)
        check_text(SEND, "client_msg_id", key, errcode=PARAMETER_REFUSED, max_bytes=CLIENT_MSG_ID_BYTES)
        payload["client_msg_id"] = key
        payload["data"] = values_payload(SEND, data)
        reply = await self._call(SEND, json=payload, repeatable=True)
        return decode(TemplateReceipt, {**without_verdict(reply), "client_msg_id": key}, endpoint=SEND.name)

    async def set_industry(self, *, industry_id1: int | str, industry_id2: int | str) -> None:
        """Set the two industries of the account (设置所属行业).

        It can be done once a month, and it deletes the templates of the industries that go. After a failure with an
        unknown outcome look at :meth:`get_industry` before trying again.

        Args:
            industry_id1: Code of the main industry, 1 to 41 (行业代码查询).
            industry_id2: Code of the second one.

        Raises:
            ArgumentError: No such industry (40102).
            NotAuthorizedError: A template in use does not fit the industry (45027).
            RateLimitError: Changed within the last month (43100).

        Source:
            POST /cgi-bin/template/api_set_industry - 模板消息 / 设置所属行业
        """
        payload = {
            "industry_id1": _industry("industry_id1", industry_id1),
            "industry_id2": _industry("industry_id2", industry_id2),
        }
        await self._call(SET_INDUSTRY, json=payload)

    async def get_industry(self) -> Industries:
        """Read the two industries of the account (获取设置的行业信息).

        Source:
            GET /cgi-bin/template/get_industry - 模板消息 / 获取设置的行业信息
        """
        reply = await self._call(GET_INDUSTRY)
        return decode(Industries, without_verdict(reply), endpoint=GET_INDUSTRY.name)

    async def add(self, template_id_short: str, *, keyword_name_list: Sequence[str] | None = None) -> str:
        """Add a template of the public library to the account (获得模板ID).

        It is not repeated when its outcome is unknown: a second one takes a second of the 25 places. Look at
        :meth:`list` then.

        Args:
            template_id_short: Its number in the library: ``TM…`` or ``OPENTM…``, or digits for a category template.
            keyword_name_list: The keywords to show, in order; needed for a category template.

        Returns:
            The ``template_id`` to send with.

        Raises:
            NotFoundError: The library has no such template (40037).
            ArgumentError: The keywords do not fit (40246, 40247), or the account has 25 templates (45026).
            NotAuthorizedError: It belongs to an industry that the account does not have (45027).

        Source:
            POST /cgi-bin/template/api_add_template - 模板消息 / 获得模板ID
        """
        short = check_text(ADD, "template_id_short", template_id_short, errcode=UNKNOWN_TEMPLATE)
        payload: JsonObject = {"template_id_short": short}
        if keyword_name_list is not None:
            names = check_list(ADD, "keyword_name_list", keyword_name_list, errcode=ARGUMENT_REFUSED)
            payload["keyword_name_list"] = [
                check_text(ADD, f"keyword_name_list[{index}]", name, errcode=ARGUMENT_REFUSED)
                for index, name in enumerate(names)
            ]
        reply = await self._call(ADD, json=payload)
        return decode(str, field_of(reply, "template_id", ADD), endpoint=ADD.name)

    async def list(self) -> tuple[Template, ...]:
        """List the account's templates (获取模板列表).

        Source:
            GET /cgi-bin/template/get_all_private_template - 模板消息 / 获取模板列表
        """
        reply = await self._call(LIST)
        return decode(tuple[Template, ...], field_of(reply, "template_list", LIST), endpoint=LIST.name)

    async def delete(self, template_id: str) -> None:
        """Delete one of the account's templates (删除模板).

        Raises:
            NotFoundError: No such template (40037).

        Source:
            POST /cgi-bin/template/del_private_template - 模板消息 / 删除模板
        """
        known = check_text(DELETE, "template_id", template_id, errcode=UNKNOWN_TEMPLATE)
        await self._call(DELETE, json={"template_id": known})

    async def list_blocked(
        self, msg_id: int | str, *, largest_id: int = 0, count: int = BLOCKED_PAGE
    ) -> tuple[BlockedMessage, ...]:
        """List one page of messages that the platform blocked (查询被拦截的模板消息).

        :meth:`iter_blocked` walks through all pages.

        Args:
            msg_id: The message, as the receipt of its send names it.
            largest_id: The largest ``record_id`` of the page before; 0 begins at the top.
            count: Entries on the page, 1 to 100.

        Raises:
            ArgumentError: ``count`` is not 1 to 100 (40097).

        Source:
            POST /wxa/sec/queryblocktmplmsg - 模板消息 / 查询被拦截的模板消息
        """
        problem = f"must be 1 to {BLOCKED_PAGE}"
        check_number(
            LIST_BLOCKED, "count", count, errcode=ARGUMENT_REFUSED, problem=problem, least=1, most=BLOCKED_PAGE
        )
        problem = "must be 0 or a record_id"
        check_number(LIST_BLOCKED, "largest_id", largest_id, errcode=ARGUMENT_REFUSED, problem=problem)
        problem = "must be the msg_id of a receipt"
        if isinstance(msg_id, str):
            message = check_text(LIST_BLOCKED, "msg_id", msg_id, errcode=ARGUMENT_REFUSED)
        else:
            message = str(check_number(LIST_BLOCKED, "msg_id", msg_id, errcode=ARGUMENT_REFUSED, problem=problem))
        payload = {"tmpl_msg_id": message, "largest_id": largest_id, "limit": count}
        reply = await self._call(LIST_BLOCKED, json=payload)
        # An answer that says "ok" and nothing else has no records.
        found = reply.get("msginfo") if "errcode" in reply else field_of(reply, "msginfo", LIST_BLOCKED)
        # The documentation shows one object where there can be several records.
        if isinstance(found, dict):
            found = [found] if found else []
        return decode(tuple[BlockedMessage, ...], found, endpoint=LIST_BLOCKED.name)

    async def iter_blocked(self, msg_id: int | str) -> AsyncGenerator[BlockedMessage, None]:
        """Iterate over all messages that the platform blocked, page by page (查询被拦截的模板消息).

        Args:
            msg_id: The message, as the receipt of its send names it.

        Raises:
            ReplyError: A page ends where the page before did: going on would never end.

        Source:
            POST /wxa/sec/queryblocktmplmsg - 模板消息 / 查询被拦截的模板消息
        """
        cursor = pages = 0
        while page := await self.list_blocked(msg_id, largest_id=cursor):
            largest = max(message.record_id for message in page)
            if largest <= cursor:
                raise ReplyError("id does not move on, so the list would never end", endpoint=LIST_BLOCKED.name)
            pages = next_page(pages, LIST_BLOCKED)
            for message in page:
                yield message
            cursor = largest


def _industry(field: str, code: int | str) -> str:
    problem = f"must be an industry code from 1 to {LAST_INDUSTRY}"
    text = check_digits(SET_INDUSTRY, field, code, errcode=INDUSTRY_REFUSED, problem=problem)
    check_number(SET_INDUSTRY, field, int(text), errcode=INDUSTRY_REFUSED, problem=problem, least=1, most=LAST_INDUSTRY)
    return text
