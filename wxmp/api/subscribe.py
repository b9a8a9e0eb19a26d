"""Subscription notices (订阅通知): messages that a user has asked for, their templates, and one-time messages."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, JsonValue, Payload, decode, encode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import (
    check_address,
    check_digits,
    check_list,
    check_number,
    check_openid,
    check_optional_text,
    check_text,
    refusal,
)
from wxmp.api._pages import walk_offsets
from wxmp.api._templates import (
    TemplateMiniProgram,
    TemplateValue,
    keywords_of,
    program_payload,
    values_payload,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

__all__ = [
    "SubscribeAPI",
    "SubscribeCategory",
    "SubscribeKeyword",
    "SubscribeKeywordPage",
    "SubscribeKeywordValues",
    "SubscribeTemplate",
    "SubscribeTitle",
    "SubscribeTitlePage",
    "SubscribeType",
    "TemplateMiniProgram",
    "TemplateValue",
]

#: Scenes of one-time messages run from 0 to this.
LAST_SCENE: Final = 10_000
TITLE_CHARS: Final = 15
CONTENT_CHARS: Final = 200
SCENE_DESC_CHARS: Final = 15
RESERVED_BYTES: Final = 128
#: Keywords of a template.
KEYWORDS: Final = range(2, 6)
#: Most entries on one page of :meth:`SubscribeAPI.list_public_titles`.
TITLES_PAGE: Final = 30
STATES: Final = ("developer", "trial", "formal")
LANGUAGES: Final = ("zh_CN", "en_US", "zh_HK", "zh_TW")

PARAMETER_REFUSED: Final = 40035
UNKNOWN_TEMPLATE: Final = 40037
TITLE_REFUSED: Final = 40062
MINI_PROGRAM_REFUSED: Final = 40166
PAGE_REFUSED: Final = 41030
DATA_REFUSED: Final = 47003
UNKNOWN_TID: Final = 200014
START_REFUSED: Final = 200016
LIMIT_REFUSED: Final = 200017
IDS_MISSING: Final = 200018
IDS_REFUSED: Final = 200019
KEYWORDS_REFUSED: Final = 200020
SCENE_DESC_REFUSED: Final = 200021

# A notice uses up what the user has allowed. Its client_msg_id is documented nowhere but in an example, so that nothing
# says that a repeat with it would be harmless.
SEND: Final = Endpoint("POST", "/cgi-bin/message/subscribe/bizsend", repeatable=False)
SEND_ONE_TIME: Final = Endpoint("POST", "/cgi-bin/message/template/subscribe", repeatable=False)
# The browser opens this one; the SDK builds the address and sends nothing.
CONSENT_URL: Final = Endpoint("GET", "/mp/subscribemsg", repeatable=True, auth="none", host="mp")
ADD_TEMPLATE: Final = Endpoint("POST", "/wxaapi/newtmpl/addtemplate", repeatable=False)
DELETE_TEMPLATE: Final = Endpoint(
    "POST", "/wxaapi/newtmpl/deltemplate", repeatable=True, done_codes=frozenset({UNKNOWN_TID})
)
LIST_CATEGORIES: Final = Endpoint("GET", "/wxaapi/newtmpl/getcategory", repeatable=True)
LIST_PUBLIC_TITLES: Final = Endpoint("GET", "/wxaapi/newtmpl/getpubtemplatetitles", repeatable=True)
LIST_PUBLIC_KEYWORDS: Final = Endpoint("GET", "/wxaapi/newtmpl/getpubtemplatekeywords", repeatable=True)
LIST_TEMPLATES: Final = Endpoint("GET", "/wxaapi/newtmpl/gettemplate", repeatable=True)

_KEYWORD: Final = re.compile(r"([a-z_]+?)[0-9]+")
#: Most characters of a value, by the first letters of its keyword. Of a number only the digits count.
_VALUE_CHARS: Final[Mapping[str, int]] = {
    "thing": 20,
    "number": 32,
    "letter": 32,
    "symbol": 5,
    "character_string": 32,
    "phone_number": 17,
    "car_number": 8,
    "name": 20,  # of Latin letters; 10 Chinese characters
    "phrase": 5,
}


class SubscribeType(IntEnum):
    """What one consent of a user is good for (模板类型)."""

    #: One message.
    ONE_TIME = 2
    #: Any number of messages, until it is taken back.
    LONG_TERM = 3


@attrs.frozen
class SubscribeCategory:
    """A category of the account (类目)."""

    category_id: int = attrs.field(metadata=wire("id"))
    name: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeTitle:
    """A template of the public library (公共模板)."""

    tid: int
    title: str = ""
    #: A :class:`SubscribeType`; one that this version does not know stays a number.
    type: SubscribeType | int | None = None
    category_id: int | None = attrs.field(default=None, metadata=wire("categoryId"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeTitlePage:
    """One page of the public library (公共模板标题列表)."""

    #: All that there are, on all pages.
    total: int = attrs.field(metadata=wire("count"))
    #: The entries of this page.
    titles: tuple[SubscribeTitle, ...] = attrs.field(default=(), metadata=wire("data"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeKeyword:
    """A keyword of a public template (关键词)."""

    #: For :meth:`SubscribeAPI.add_template`.
    kid: int
    #: What the user reads before the value.
    name: str = ""
    example: str = ""
    #: The kind of its values: ``thing``, ``date`` and so on. With ``kid`` behind it, it is the key in ``data`` of a
    #: send.
    rule: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeKeywordPage:
    """The keywords of a public template (模板关键词列表). There is one page only."""

    #: All that there are.
    total: int = attrs.field(metadata=wire("count"))
    keywords: tuple[SubscribeKeyword, ...] = attrs.field(default=(), metadata=wire("data"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeKeywordValues:
    """The values that a keyword with a closed set of them takes (枚举参数值范围)."""

    #: As in the text of the template: ``enum_string6.DATA``.
    keyword_code: str = attrs.field(metadata=wire("keywordCode"))
    values: tuple[str, ...] = attrs.field(default=(), metadata=wire("enumValueList"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SubscribeTemplate:
    """A template of the account (私有模板)."""

    template_id: str = attrs.field(metadata=wire("priTmplId"))
    title: str = ""
    #: The text, with placeholders like ``{{thing1.DATA}}``.
    content: str = ""
    #: The text with sample values.
    example: str = ""
    #: A :class:`SubscribeType`; one that this version does not know stays a number.
    type: SubscribeType | int | None = None
    keyword_enum_values: tuple[SubscribeKeywordValues, ...] = attrs.field(
        default=(), metadata=wire("keywordEnumValueList")
    )
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names that ``data`` of a send must fill, in the order of the text: ``("thing1", "time2")``."""
        return keywords_of(self.content)


@attrs.frozen
class SubscribeAPI:
    """Subscription notices (订阅通知): messages that a user has asked for, their templates, and one-time messages.

    A user allows a message in a popup on your page or in an article. Each consent to a one-time template allows one
    message; the events ``subscribe_msg_popup_event``, ``subscribe_msg_change_event`` and ``subscribe_msg_sent_event``
    tell of choices and deliveries. Verified accounts only; the others get 48001.
    """

    _call: Caller

    async def send(
        self,
        openid: str,
        *,
        template_id: str,
        data: Mapping[str, str | TemplateValue],
        page: str | None = None,
        miniprogram: TemplateMiniProgram | None = None,
        miniprogram_state: Literal["developer", "trial", "formal"] | None = None,
        lang: Literal["zh_CN", "en_US", "zh_HK", "zh_TW"] | None = None,
        client_msg_id: str | None = None,
    ) -> None:
        """Send a subscription notice (发送订阅通知).

        It is not repeated when its outcome is unknown: the platform promises nothing about repeats, and a second
        message uses up a second consent. Whether it was delivered comes later as ``subscribe_msg_sent_event``.

        Args:
            openid: The receiver, who need not follow the account.
            template_id: One of the account's templates (:meth:`list_templates`).
            data: A value for each keyword of the template, as text. The first letters of a keyword are a rule:
                ``thing`` up to 20 characters, ``number`` up to 32 digits with decimals, ``letter`` up to 32 letters,
                ``symbol`` up to 5 signs, ``character_string`` up to 32 digits, letters and signs, ``time`` a 24-hour
                clock with or without a date, ``date`` a date with or without a time, ``amount`` one currency sign and
                up to 10 digits, ``phone_number`` up to 17, ``car_number`` up to 8, ``name`` up to 10 Chinese or 20
                Latin characters, ``phrase`` up to 5 Chinese characters.
            page: The page a tap opens. Without it and without ``miniprogram`` a tap does nothing.
            miniprogram: The mini program a tap opens.
            miniprogram_state: Which build of it: ``developer``, ``trial`` or ``formal``; formal if absent.
            lang: Language of the card: ``zh_CN``, ``en_US``, ``zh_HK`` or ``zh_TW``; ``zh_CN`` if absent.
            client_msg_id: A key of yours. The platform shows it in an example and does not say what it does, so it
                makes no send safe to repeat.

        Raises:
            RecipientError: The user has allowed no further message, or switched the template off (43101).
            NotFoundError: No such template (40037).
            ArgumentError: A value breaks the rule of its keyword (47003) or holds a forbidden word (45168), the page is
                refused (41030), the mini program (40166), the openid is not of this account (40003).
            RateLimitError: Several messages to the same user at one time (43108).
            AccountError: The platform holds messages of this template back (43116).

        Source:
            POST /cgi-bin/message/subscribe/bizsend - 订阅通知 / 发送订阅通知
        """
        payload: Payload = {
            "touser": check_openid(SEND, openid),
            "template_id": check_text(SEND, "template_id", template_id, errcode=UNKNOWN_TEMPLATE),
        }
        if not data:
            raise refusal(SEND, "data", DATA_REFUSED, "is empty; a template has at least one keyword to fill")
        payload["data"] = values_payload(SEND, data)
        for name, value in data.items():
            _check_length(name, value.value if isinstance(value, TemplateValue) else value)
        if page is not None:
            payload["page"] = check_text(SEND, "page", page, errcode=PAGE_REFUSED)
        if miniprogram is not None:
            payload["miniprogram"] = program_payload(SEND, miniprogram)
        if miniprogram_state is not None:
            payload["miniprogram_state"] = _one_of("miniprogram_state", miniprogram_state, STATES)
        if lang is not None:
            payload["lang"] = _one_of("lang", lang, LANGUAGES)
        if client_msg_id is not None:
            payload["client_msg_id"] = check_text(SEND, "client_msg_id", client_msg_id, errcode=PARAMETER_REFUSED)
        await self._call(SEND, json=payload)

    def consent_url(self, redirect_uri: str, *, template_id: str, scene: int, reserved: str | None = None) -> str:
        """Return the address that asks the user for one message (引导用户授权一次性订阅). Nothing is sent.

        It is for the browser inside WeChat. It comes back to ``redirect_uri`` with ``template_id``, ``action``
        (``confirm`` or ``cancel``), ``scene``, ``reserved``, and with ``openid`` after a confirmation. Then
        :meth:`send_one_time` may send one message of this scene.

        Args:
            redirect_uri: Where the browser comes back to. Its host must be registered in the console.
            template_id: The account's template of one-time subscriptions, which the console shows (一次性订阅消息).
            scene: 0 to 10000: tells your own cases apart.
            reserved: Comes back as it is, at most 128 bytes. Put something in that only this browser's session knows
                and compare it on return; otherwise others can have their openid taken for this user's.

        Raises:
            ArgumentError: ``redirect_uri`` is no web address, ``scene`` not 0 to 10000, ``reserved`` too long (40035),
                or ``template_id`` empty (40037).

        Source:
            GET https://mp.weixin.qq.com/mp/subscribemsg - 一次性订阅消息 / 获取用户授权
        """
        pairs = [
            ("action", "get_confirm"),
            ("appid", self._call.appid),
            ("scene", _checked_scene(CONSENT_URL, scene)),
            ("template_id", check_text(CONSENT_URL, "template_id", template_id, errcode=UNKNOWN_TEMPLATE)),
            ("redirect_url", check_address(CONSENT_URL, "redirect_uri", redirect_uri, errcode=PARAMETER_REFUSED)),
        ]
        if reserved:
            text = check_text(CONSENT_URL, "reserved", reserved, errcode=PARAMETER_REFUSED, max_bytes=RESERVED_BYTES)
            pairs.append(("reserved", text))
        query = "&".join([f"{name}={quote(value, safe='')}" for name, value in pairs])
        return f"{self._call.mp_origin}{CONSENT_URL.path}?{query}#wechat_redirect"

    async def send_one_time(
        self,
        openid: str,
        *,
        template_id: str,
        scene: int,
        title: str,
        content: str | TemplateValue,
        url: str | None = None,
        miniprogram: TemplateMiniProgram | None = None,
    ) -> None:
        """Send the one message that a user agreed to on the consent page (推送一次性订阅消息).

        Followers get it in the chat, others among the service notices (服务通知). It is not repeated when its outcome
        is unknown: the consent may be used up, or serve a second message.

        Args:
            openid: The user, as the consent page named them.
            template_id: The template of :meth:`consent_url`.
            scene: The scene the user agreed to, 0 to 10000.
            title: At most 15 characters.
            content: At most 200 characters; a :class:`TemplateValue` gives it a colour.
            url: The page a tap opens, on a domain with an ICP registration.
            miniprogram: The mini program a tap opens, with ``pagepath``; it wins over ``url``.

        Raises:
            RecipientError: The user has not agreed to a message of this scene, or it was sent (43101).
            NotFoundError: It is not the account's template of one-time subscriptions (40037).
            ArgumentError: The title is empty or too long (40062), the content (47003), the scene is none (40035), the
                mini program is refused (40166), the openid is not of this account (40003).

        Source:
            POST /cgi-bin/message/template/subscribe - 一次性订阅消息 / 通过API推送订阅模板消息给到授权微信用户
        """
        payload: Payload = {
            "touser": check_openid(SEND_ONE_TIME, openid),
            "template_id": check_text(SEND_ONE_TIME, "template_id", template_id, errcode=UNKNOWN_TEMPLATE),
            "scene": _checked_scene(SEND_ONE_TIME, scene),
            "title": check_text(SEND_ONE_TIME, "title", title, errcode=TITLE_REFUSED, max_wide=TITLE_CHARS),
        }
        text = content if isinstance(content, TemplateValue) else TemplateValue(content)
        check_text(SEND_ONE_TIME, "content", text.value, errcode=DATA_REFUSED, max_wide=CONTENT_CHARS)
        payload["data"] = {"content": encode(text)}
        if url is not None:
            payload["url"] = check_optional_text(SEND_ONE_TIME, "url", url)
        if miniprogram is not None:
            payload["miniprogram"] = program_payload(SEND_ONE_TIME, miniprogram)
            check_text(SEND_ONE_TIME, "miniprogram.pagepath", miniprogram.pagepath, errcode=MINI_PROGRAM_REFUSED)
        await self._call(SEND_ONE_TIME, json=payload)

    async def add_template(self, tid: int | str, *, kid_list: Iterable[int], scene_desc: str) -> str:
        """Add a template of the public library to the account (选用模板).

        It is not repeated when its outcome is unknown. Call it again yourself: 200022 then says that the first one
        worked, and :meth:`list_templates` has its id.

        Args:
            tid: Its number in the library (:meth:`list_public_titles`).
            kid_list: The numbers of 2 to 5 keywords (:meth:`list_public_keywords`), in the order they are shown.
            scene_desc: What it is for (服务场景描述), at most 15 characters.

        Returns:
            The ``template_id`` to send with.

        Raises:
            ArgumentError: The library has no such template (200014), the keywords are refused (200020), the description
                is empty or too long (200021), the account has the same template already (200022), or no room for
                another one (200012).
            AccountError: The account (200011, 200100) or the template (200013) is banned from subscription notices.
            BusyError: The library failed (200001).

        Source:
            POST /wxaapi/newtmpl/addtemplate - 订阅通知 / 选用模板
        """
        number = _checked_tid(ADD_TEMPLATE, tid)
        kids = _whole_numbers(ADD_TEMPLATE, "kid_list", kid_list, errcode=KEYWORDS_REFUSED)
        if len(kids) not in KEYWORDS or len(set(kids)) != len(kids):
            problem = f"must name {KEYWORDS[0]} to {KEYWORDS[-1]} different keywords"
            raise refusal(ADD_TEMPLATE, "kid_list", KEYWORDS_REFUSED, problem)
        described = check_text(
            ADD_TEMPLATE, "scene_desc", scene_desc, errcode=SCENE_DESC_REFUSED, max_wide=SCENE_DESC_CHARS
        )
        reply = await self._call(ADD_TEMPLATE, json={"tid": number, "kidList": kids, "sceneDesc": described})
        return decode(str, field_of(reply, "priTmplId", ADD_TEMPLATE), endpoint=ADD_TEMPLATE.name)

    async def delete_template(self, template_id: str) -> None:
        """Delete one of the account's templates (删除模板). What users allowed for it is gone with it.

        Raises:
            ArgumentError: No such template (200014, 20002), or it is empty (40037; found before sending).
            BusyError: The library failed (20001, 200001).

        Source:
            POST /wxaapi/newtmpl/deltemplate - 订阅通知 / 删除模板
        """
        known = check_text(DELETE_TEMPLATE, "template_id", template_id, errcode=UNKNOWN_TEMPLATE)
        await self._call(DELETE_TEMPLATE, json={"priTmplId": known})

    async def list_categories(self) -> tuple[SubscribeCategory, ...]:
        """List the categories of the account (获取公众号类目).

        Raises:
            AccountError: The account may not use subscription notices (200100).

        Source:
            GET /wxaapi/newtmpl/getcategory - 订阅通知 / 获取公众号类目
        """
        reply = await self._call(LIST_CATEGORIES)
        found = _listed(LIST_CATEGORIES, reply)
        return decode(tuple[SubscribeCategory, ...], found, endpoint=LIST_CATEGORIES.name)

    async def list_public_titles(
        self, category_ids: Iterable[int], *, offset: int = 0, count: int = TITLES_PAGE
    ) -> SubscribeTitlePage:
        """List one page of the public templates of some categories (获取类目下的公共模板).

        :meth:`iter_public_titles` walks through all pages.

        Args:
            category_ids: Of the account's categories (:meth:`list_categories`).
            offset: Entries to leave out, from 0.
            count: Entries on the page, 1 to 30.

        Raises:
            ArgumentError: No category is given (200018), or one that the account does not have (200019); ``offset`` is
                below 0 (200016), ``count`` not 1 to 30 (200017).

        Source:
            GET /wxaapi/newtmpl/getpubtemplatetitles - 订阅通知 / 获取类目下的公共模板
        """
        ids = _joined(category_ids)
        check_number(LIST_PUBLIC_TITLES, "offset", offset, errcode=START_REFUSED)
        check_number(LIST_PUBLIC_TITLES, "count", count, errcode=LIMIT_REFUSED, least=1, most=TITLES_PAGE)
        return await self._list_titles(ids, offset, count)

    def iter_public_titles(
        self, category_ids: Iterable[int], *, offset: int = 0
    ) -> AsyncGenerator[SubscribeTitle, None]:
        """Iterate over all public templates of some categories, page by page (获取类目下的公共模板).

        Args:
            category_ids: Of the account's categories (:meth:`list_categories`).
            offset: Entries to leave out, from 0.

        Raises:
            ArgumentError: No category is given (200018), or one that the account does not have (200019); ``offset`` is
                below 0 (200016).

        Source:
            GET /wxaapi/newtmpl/getpubtemplatetitles - 订阅通知 / 获取类目下的公共模板
        """
        ids = _joined(category_ids)
        check_number(LIST_PUBLIC_TITLES, "offset", offset, errcode=START_REFUSED)

        async def fetch(start: int) -> tuple[tuple[SubscribeTitle, ...], int]:
            page = await self._list_titles(ids, start, TITLES_PAGE)
            return page.titles, page.total

        return walk_offsets(fetch, LIST_PUBLIC_TITLES, offset=offset)

    async def list_public_keywords(self, tid: int | str) -> SubscribeKeywordPage:
        """List the keywords of a public template (获取模板中的关键词).

        Args:
            tid: Its number in the library.

        Raises:
            ArgumentError: The library has no such template (200014).
            BusyError: The library failed (20001).

        Source:
            GET /wxaapi/newtmpl/getpubtemplatekeywords - 订阅通知 / 获取模板中的关键词
        """
        reply = await self._call(LIST_PUBLIC_KEYWORDS, params={"tid": _checked_tid(LIST_PUBLIC_KEYWORDS, tid)})
        found = _listed(LIST_PUBLIC_KEYWORDS, reply)
        # The number is left out at times.
        count = len(found) if isinstance(found, list) else 0
        page = {"count": count, **without_verdict(reply), "data": found}
        return decode(SubscribeKeywordPage, page, endpoint=LIST_PUBLIC_KEYWORDS.name)

    async def list_templates(self) -> tuple[SubscribeTemplate, ...]:
        """List the account's templates (获取私有模板列表).

        Raises:
            AccountError: The account may not use subscription notices (200100).

        Source:
            GET /wxaapi/newtmpl/gettemplate - 订阅通知 / 获取私有模板列表
        """
        reply = await self._call(LIST_TEMPLATES)
        found = _listed(LIST_TEMPLATES, reply)
        return decode(tuple[SubscribeTemplate, ...], found, endpoint=LIST_TEMPLATES.name)

    async def _list_titles(self, ids: str, start: int, limit: int) -> SubscribeTitlePage:
        reply = await self._call(LIST_PUBLIC_TITLES, params={"ids": ids, "start": start, "limit": limit})
        page = decode(SubscribeTitlePage, without_verdict(reply), endpoint=LIST_PUBLIC_TITLES.name)
        if page.total > start:
            # Left out before the end, it would look like the end.
            field_of(reply, "data", LIST_PUBLIC_TITLES)
        return page


def _listed(endpoint: Endpoint, reply: JsonObject) -> JsonValue:
    """Return the list of an answer. An answer that says "ok" and nothing else has an empty one.

    Raises:
        ReplyError: It says neither.
    """
    if "data" not in reply and "errcode" not in reply:
        field_of(reply, "data", endpoint)
    return reply.get("data")


def _check_length(name: str, text: str) -> None:
    """Check a value as far as every reading of the rules agrees."""
    field = f"data[{name!r}]"
    check_text(SEND, field, text, errcode=DATA_REFUSED)
    kind = _KEYWORD.fullmatch(name)
    limit = _VALUE_CHARS.get(kind.group(1)) if kind else None
    if limit is not None and kind is not None:
        digits = kind.group(1) == "number"
        size = sum(map(str.isdigit, text)) if digits else len(text)
        if size > limit:
            unit = "digits" if digits else "characters"
            raise refusal(SEND, field, DATA_REFUSED, f"has {size} {unit}; shorten it to {limit}")


def _one_of(field: str, value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise refusal(SEND, field, PARAMETER_REFUSED, f"must be one of {', '.join(known)}")
    return value


def _checked_scene(endpoint: Endpoint, scene: object) -> str:
    if not isinstance(scene, int) or isinstance(scene, bool) or not 0 <= scene <= LAST_SCENE:
        raise refusal(endpoint, "scene", PARAMETER_REFUSED, f"must be a number from 0 to {LAST_SCENE}")
    return str(scene)


def _checked_tid(endpoint: Endpoint, tid: object) -> str:
    problem = "must be the number of a template of the public library"
    return check_digits(endpoint, "tid", tid, errcode=UNKNOWN_TID, problem=problem)


def _whole_numbers(endpoint: Endpoint, field: str, values: Iterable[object], *, errcode: int) -> tuple[int, ...]:
    return tuple(
        [
            check_number(
                endpoint,
                f"{field}[{index}]",
                value,
                errcode=errcode,
                problem=f"must be a number of the platform, not {type(value).__name__}",
            )
            for index, value in enumerate(check_list(endpoint, field, values, errcode=errcode))
        ]
    )


def _joined(category_ids: Iterable[int]) -> str:
    """Return the ids as the query has them, each once."""
    numbers = _whole_numbers(LIST_PUBLIC_TITLES, "category_ids", category_ids, errcode=IDS_REFUSED)
    if not numbers:
        raise refusal(LIST_PUBLIC_TITLES, "category_ids", IDS_MISSING, "is empty; client.subscribe.list_categories()")
    return ",".join(dict.fromkeys(map(str, numbers)))
