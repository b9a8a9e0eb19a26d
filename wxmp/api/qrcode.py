"""QR codes with a scene (带参数二维码), their pictures, and the rules that open a mini program from a code."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal, overload
from urllib.parse import quote

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, JsonValue, Payload, decode, wire
from wxmp.api._answers import without_verdict
from wxmp.api._checks import LARGEST, check_list, check_number, check_text, refusal
from wxmp.api._pages import next_page
from wxmp.api.downloads import DownloadedFile, receive_file
from wxmp.errors import ReplyError, api_error

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

__all__ = ["QRCode", "QRCodeAPI", "QRCodeRule", "QRCodeRulePage", "QRCodeRuleState", "QRCodeVersion"]

#: Longest life of a temporary code: 30 days, in seconds.
MAX_EXPIRE_SECONDS: Final = 2_592_000
#: Temporary codes take a 32-bit number that is not 0. Whether it has a sign is not said: both are let through.
TEMPORARY_SCENES: Final = (-(2**31), 2**32 - 1)
#: The numbers of permanent codes.
PERMANENT_SCENES: Final = (1, 100_000)
#: Most characters of a text scene.
SCENE_CHARS: Final = 64

#: Most rules on a page, and prefixes in one question.
RULES_PAGE: Final = 200
#: Most test links of a rule.
DEBUG_URLS: Final = 5
#: A switch that counts from 1.
_SWITCH: Final = {"1": False, "2": True}
#: What ``get_type`` of :meth:`QRCodeAPI.list_rules` can be.
LATEST: Final = 0
BY_PREFIX: Final = 1
PAGED: Final = 2

PARAMETER_REFUSED: Final = 40035
SCENE_REFUSED: Final = 40053
ARGUMENT_REFUSED: Final = 40097
MINI_PROGRAM_REFUSED: Final = 40166
PREFIX_REFUSED: Final = 85066
PREFIX_EXISTS: Final = 85071

CREATE: Final = Endpoint("POST", "/cgi-bin/qrcode/create", repeatable=True)
GET_IMAGE: Final = Endpoint("GET", "/cgi-bin/showqrcode", repeatable=True, auth="none", host="mp")
LIST_RULES: Final = Endpoint("POST", "/cgi-bin/wxopen/qrcodejumpget", repeatable=True)
SAVE_RULE: Final = Endpoint(
    "POST", "/cgi-bin/wxopen/qrcodejumpadd", repeatable=True, done_codes=frozenset({PREFIX_EXISTS})
)
PUBLISH_RULE: Final = Endpoint("POST", "/cgi-bin/wxopen/qrcodejumppublish", repeatable=False)
DELETE_RULE: Final = Endpoint("POST", "/cgi-bin/wxopen/qrcodejumpdelete", repeatable=True)


@attrs.frozen
class QRCode:
    """A QR code with a scene (带参数二维码)."""

    #: Key of the picture: ``client.qrcode.image_url`` and ``client.qrcode.get_image``.
    ticket: str
    #: What the code says, to draw it yourself.
    url: str
    #: Seconds from its making to its end; absent on a permanent code.
    expire_seconds: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


class QRCodeRuleState(IntEnum):
    """Whether a rule works for everybody (规则状态)."""

    DRAFT = 1
    PUBLISHED = 2


class QRCodeVersion(IntEnum):
    """The build of the mini program that the test links open (测试范围)."""

    DEVELOPMENT = 1
    TRIAL = 2
    RELEASE = 3


@attrs.frozen
class QRCodeRule:
    """A rule: codes that begin with ``prefix`` open a page of a mini program (扫普通链接二维码打开小程序)."""

    prefix: str
    #: The page.
    path: str
    state: QRCodeRuleState | int
    #: Absent if the rule was saved without one.
    open_version: QRCodeVersion | int | None = None
    #: Links that testers may open before the rule is published.
    debug_urls: tuple[str, ...] = attrs.field(default=(), metadata=wire("debug_url"))
    #: Whether it keeps all longer prefixes for itself. In the documentation's example only: absent if not said.
    permit_sub_rule: bool | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class QRCodeRulePage:
    """Rules, and how many there are and may be (已设置的二维码规则)."""

    rules: tuple[QRCodeRule, ...] = attrs.field(metadata=wire("rule_list"))
    #: Whether the feature is switched on.
    is_open: bool | None = attrs.field(default=None, metadata=wire("qrcodejump_open"))
    #: Publishes left this month.
    publish_quota: int | None = attrs.field(default=None, metadata=wire("qrcodejump_pub_quota"))
    #: Entries on this page.
    count: int | None = attrs.field(default=None, metadata=wire("list_size"))
    #: Rules on all pages.
    total: int | None = attrs.field(default=None, metadata=wire("total_count"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class QRCodeAPI:
    """QR codes with a scene (带参数二维码), their pictures, and rules that open a mini program.

    A scan makes the event ``subscribe`` with the key ``qrscene_<scene>``, or ``SCAN`` with the key ``<scene>`` when
    the user follows already. Verified service accounts only; the others get 48001. The rules take 5 calls a second.
    """

    _call: Caller

    async def create(self, scene: int | str, *, permanent: bool = False, expire_seconds: int | None = None) -> QRCode:
        """Create a QR code, temporary or permanent (生成带参数的二维码).

        The platform makes 100 000 a day (10 000 for a test account). A repeat makes another ticket for the same scene.

        Args:
            scene: What the scan event tells you: a number (temporary: 32 bits, not 0; permanent: 1 to 100000) or a
                text of 1 to 64 characters.
            permanent: The code never ends. An account has 100000 of these, and nobody can delete one.
            expire_seconds: Life of a temporary code, at most 2592000 (30 days). Without it the platform takes 60,
                which is too short for anything that is printed or sent.

        Raises:
            ArgumentError: The scene is refused (40053), or the life is too long or given for a permanent code (40035).
                Or the account has 100000 permanent codes (45029). 40052 would be a mistake of this SDK.
            RateLimitError: The day's codes are used up (45009).

        Source:
            POST /cgi-bin/qrcode/create - 带参数二维码 / 生成带参数的二维码
        """
        action = _checked_scene(scene, permanent=permanent)
        named: JsonObject = {"scene_str": scene} if isinstance(scene, str) else {"scene_id": scene}
        payload: JsonObject = {"action_name": action, "action_info": {"scene": named}}
        if expire_seconds is not None:
            if permanent:
                raise refusal(CREATE, "expire_seconds", PARAMETER_REFUSED, "is for temporary codes only; leave it out")
            payload["expire_seconds"] = check_number(
                CREATE,
                "expire_seconds",
                expire_seconds,
                errcode=PARAMETER_REFUSED,
                problem=f"must be 1 to {MAX_EXPIRE_SECONDS} seconds (30 days)",
                least=1,
                most=MAX_EXPIRE_SECONDS,
            )
        reply = await self._call(CREATE, json=payload)
        return decode(QRCode, without_verdict(reply), endpoint=CREATE.name)

    def image_url(self, ticket: str) -> str:
        """Return the address of a code's picture, for an ``<img>`` (通过ticket换取二维码). It needs no token.

        Args:
            ticket: As :meth:`create` gave it.

        Source:
            GET https://mp.weixin.qq.com/cgi-bin/showqrcode - 带参数二维码 / 通过ticket换取二维码
        """
        return f"{self._call.mp_origin}{GET_IMAGE.path}?ticket={quote(_checked_ticket(ticket), safe='')}"

    @overload
    async def get_image(self, ticket: str) -> bytes: ...
    @overload
    async def get_image(self, ticket: str, *, to: str | os.PathLike[str]) -> Path: ...
    async def get_image(self, ticket: str, *, to: str | os.PathLike[str] | None = None) -> bytes | Path:
        """Fetch a code's picture, a JPEG (通过ticket换取二维码).

        Args:
            ticket: As :meth:`create` gave it.
            to: Where to write it; the file appears there whole or not at all.

        Returns:
            The picture, or the path it was written to.

        Raises:
            BadStatusError: No such ticket (its ``status`` is 404).
            ReplyError: The answer is no picture.
            ConfigError: ``to`` is no place for a file.

        Source:
            GET https://mp.weixin.qq.com/cgi-bin/showqrcode - 带参数二维码 / 通过ticket换取二维码
        """
        file = await receive_file(self._call, GET_IMAGE, params={"ticket": _checked_ticket(ticket)}, to=to)
        if not isinstance(file, DownloadedFile):
            raise ReplyError("the answer is not a picture", endpoint=GET_IMAGE.name)
        return file.path or file.content

    async def list_rules(
        self,
        *,
        appid: str | None = None,
        get_type: Literal[0, 1, 2] = LATEST,
        prefix_list: Sequence[str] | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> QRCodeRulePage:
        """List rules that open a mini program from a code (获取已设置的二维码规则).

        :meth:`iter_rules` walks through all of them.

        Args:
            appid: The mini program, for rules of a service account.
            get_type: 0 the latest 10000, 1 those with a prefix in ``prefix_list``, 2 one page.
            prefix_list: At most 200, for ``get_type`` 1.
            page: From 1, for ``get_type`` 2.
            page_size: At most 200, for ``get_type`` 2.

        Raises:
            ArgumentError: The arguments do not fit each other (40097), or the mini program is refused (40166).
            AccountError: The mini program belongs to a person (85075).
            RateLimitError: More than 5 calls in a second (44990).
            BusyError: The platform is busy (886001); tried again by itself.

        Source:
            POST /cgi-bin/wxopen/qrcodejumpget - 扫普通链接二维码打开小程序 / 获取已设置的二维码规则
        """
        payload: Payload = {"get_type": get_type}
        if appid is not None:
            payload["appid"] = check_text(LIST_RULES, "appid", appid, errcode=MINI_PROGRAM_REFUSED)
        if prefix_list is not None:
            payload["prefix_list"] = _checked_prefixes(prefix_list)
        if page is not None:
            payload["page_num"] = page
        if page_size is not None:
            payload["page_size"] = page_size
        _check_mode(get_type, prefix_list, page, page_size)
        reply = without_verdict(await self._call(LIST_RULES, json=payload))
        rules = reply.get("rule_list")
        if isinstance(rules, list):
            reply["rule_list"] = [_with_plain_switch(rule) for rule in rules]
        return decode(QRCodeRulePage, reply, endpoint=LIST_RULES.name)

    async def iter_rules(self, *, appid: str | None = None) -> AsyncGenerator[QRCodeRule, None]:
        """Iterate over all rules, page by page (获取已设置的二维码规则).

        Args:
            appid: The mini program, for rules of a service account.

        Raises:
            ReplyError: The platform repeats a page, so that the list would never end.

        Source:
            POST /cgi-bin/wxopen/qrcodejumpget - 扫普通链接二维码打开小程序 / 获取已设置的二维码规则
        """
        seen, number = 0, 0
        before: tuple[QRCodeRule, ...] = ()
        while True:
            number = next_page(number, LIST_RULES)
            page = await self.list_rules(appid=appid, get_type=PAGED, page=number, page_size=RULES_PAGE)
            if page.rules and page.rules == before:
                raise ReplyError("page_num does not move on, so the list would never end", endpoint=LIST_RULES.name)
            before = page.rules
            for rule in page.rules:
                yield rule
            seen += len(page.rules)
            if len(page.rules) < RULES_PAGE or (page.total is not None and seen >= page.total):
                return

    async def save_rule(
        self,
        prefix: str,
        *,
        appid: str,
        path: str,
        is_edit: bool = False,
        open_version: QRCodeVersion | int | None = None,
        debug_urls: Sequence[str] | None = None,
        permit_sub_rule: bool | None = None,
    ) -> None:
        """Add a rule that opens a mini program from a code, or change one (增加或修改二维码规则).

        When a first attempt broke off and the repeat says that the rule is there, the rule is looked up: with the
        same page it is the one just added.

        Args:
            prefix: What the codes begin with, an address of your own site.
            appid: The mini program.
            path: Its page.
            is_edit: Change a rule that is not published yet, instead of adding one.
            open_version: The build that the test links open.
            debug_urls: Test links, at most 5.
            permit_sub_rule: Keep all longer prefixes below this one for yourself.

        Raises:
            ArgumentError: There is a rule with this prefix (85071), the prefix is refused (85066, 85070) or belongs to
                others (85072), its verification file is not found (85069), a test link does not begin with it (85068),
                the mini program is refused (40166), a value is (40097), all rules are used up (85073).
            NotAuthorizedError: The ICP registration of the address is not in order (85076).
            AccountError: The mini program belongs to a person (85075).
            RateLimitError: More than 5 calls in a second (44990).
            BusyError: The platform is busy (886001); tried again by itself.

        Source:
            POST /cgi-bin/wxopen/qrcodejumpadd - 扫普通链接二维码打开小程序 / 增加或修改二维码规则
        """
        payload: JsonObject = {
            "prefix": check_text(SAVE_RULE, "prefix", prefix, errcode=PREFIX_REFUSED),
            "appid": check_text(SAVE_RULE, "appid", appid, errcode=MINI_PROGRAM_REFUSED),
            "path": check_text(SAVE_RULE, "path", path, errcode=ARGUMENT_REFUSED),
            "is_edit": 1 if is_edit else 0,
        }
        if open_version is not None:
            problem = "must be a number; OpenVersion has them"
            payload["open_version"] = int(
                check_number(SAVE_RULE, "open_version", open_version, errcode=ARGUMENT_REFUSED, problem=problem)
            )
        if debug_urls is not None:
            urls = check_list(SAVE_RULE, "debug_urls", debug_urls, errcode=ARGUMENT_REFUSED)
            if len(urls) > DEBUG_URLS:
                raise refusal(SAVE_RULE, "debug_urls", ARGUMENT_REFUSED, f"must be a list of at most {DEBUG_URLS}")
            payload["debug_url"] = [
                check_text(SAVE_RULE, f"debug_urls[{index}]", url, errcode=ARGUMENT_REFUSED)
                for index, url in enumerate(urls)
            ]
        if permit_sub_rule is not None:
            # The platform counts from 1 here: 1 no, 2 yes.
            payload["permit_sub_rule"] = 2 if permit_sub_rule else 1
        reply = await self._call(SAVE_RULE, json=payload)
        if reply.get("errcode") == PREFIX_EXISTS:
            page = await self.list_rules(appid=appid, get_type=BY_PREFIX, prefix_list=[prefix])
            if not any(rule.prefix == prefix and rule.path == path for rule in page.rules):
                raise api_error(PREFIX_EXISTS, str(reply.get("errmsg", "")), endpoint=SAVE_RULE.name)

    async def publish_rule(self, prefix: str) -> None:
        """Publish a rule (发布已设置的二维码规则).

        Each call counts against 100 a month, so it is not repeated when its outcome is unknown.

        Raises:
            RateLimitError: The publishes of the month are used up (886000), or more than 5 calls in a second (44990).
            AccountError: The mini program belongs to a person (85075).
            BusyError: The platform is busy (45112, 886001).
            APIError: The rule is not there or cannot be published (85095), or the mini program is not released (85074).

        Source:
            POST /cgi-bin/wxopen/qrcodejumppublish - 扫普通链接二维码打开小程序 / 发布已设置的二维码规则
        """
        known = check_text(PUBLISH_RULE, "prefix", prefix, errcode=PREFIX_REFUSED)
        await self._call(PUBLISH_RULE, json={"prefix": known})

    async def delete_rule(self, prefix: str, *, appid: str | None = None) -> None:
        """Delete a rule (删除已设置的二维码规则).

        Args:
            prefix: Which one.
            appid: The mini program, for rules of a service account.

        Raises:
            AccountError: The mini program belongs to a person (85075).
            RateLimitError: More than 5 calls in a second (44990).
            BusyError: The platform is busy (886001); tried again by itself.

        Source:
            POST /cgi-bin/wxopen/qrcodejumpdelete - 扫普通链接二维码打开小程序 / 删除已设置的二维码规则
        """
        payload: JsonObject = {"prefix": check_text(DELETE_RULE, "prefix", prefix, errcode=PREFIX_REFUSED)}
        if appid is not None:
            payload["appid"] = check_text(DELETE_RULE, "appid", appid, errcode=MINI_PROGRAM_REFUSED)
        await self._call(DELETE_RULE, json=payload)


def _checked_scene(scene: object, *, permanent: bool) -> str:
    """Return the ``action_name`` for a scene."""
    if isinstance(scene, str):
        check_text(CREATE, "scene", scene, errcode=SCENE_REFUSED, max_chars=SCENE_CHARS)
        return "QR_LIMIT_STR_SCENE" if permanent else "QR_STR_SCENE"
    low, high = PERMANENT_SCENES if permanent else TEMPORARY_SCENES
    if not isinstance(scene, int) or isinstance(scene, bool) or scene == 0 or not low <= scene <= high:
        remedy = f"from {low} to {high}" if permanent else "of 32 bits, not 0"
        raise refusal(CREATE, "scene", SCENE_REFUSED, f"must be a text, or a whole number {remedy}")
    return "QR_LIMIT_SCENE" if permanent else "QR_SCENE"


def _with_plain_switch(rule: JsonValue) -> JsonValue:
    """Say yes or no where the platform says 2 or 1."""
    if not isinstance(rule, dict) or "permit_sub_rule" not in rule:
        return rule
    return {**rule, "permit_sub_rule": _SWITCH.get(str(rule["permit_sub_rule"]))}


def _checked_ticket(ticket: object) -> str:
    text = check_text(GET_IMAGE, "ticket", ticket, errcode=PARAMETER_REFUSED)
    if not text.isascii():
        raise refusal(GET_IMAGE, "ticket", PARAMETER_REFUSED, "is no ticket; pass QRCode.ticket, not encoded")
    return text


def _checked_prefixes(prefixes: Sequence[str]) -> list[str]:
    found = check_list(LIST_RULES, "prefix_list", prefixes, errcode=ARGUMENT_REFUSED)
    if not 1 <= len(found) <= RULES_PAGE:
        raise refusal(LIST_RULES, "prefix_list", ARGUMENT_REFUSED, f"must be a list of 1 to {RULES_PAGE} prefixes")
    return [
        check_text(LIST_RULES, f"prefix_list[{index}]", prefix, errcode=ARGUMENT_REFUSED)
        for index, prefix in enumerate(found)
    ]


def _check_mode(get_type: int, prefix_list: Sequence[str] | None, page: int | None, page_size: int | None) -> None:
    check_number(LIST_RULES, "get_type", get_type, errcode=ARGUMENT_REFUSED, problem="must be 0, 1 or 2", most=PAGED)
    if (get_type == BY_PREFIX) != (prefix_list is not None):
        raise refusal(LIST_RULES, "prefix_list", ARGUMENT_REFUSED, "goes with get_type 1, and only with that")
    for name, value, most in (("page", page, LARGEST), ("page_size", page_size, RULES_PAGE)):
        if (get_type == PAGED) != (value is not None):
            raise refusal(LIST_RULES, name, ARGUMENT_REFUSED, "goes with get_type 2, and only with that")
        if value is not None:
            remedy = "must be 1 or more" if most == LARGEST else f"must be 1 to {most}"
            check_number(LIST_RULES, name, value, errcode=ARGUMENT_REFUSED, problem=remedy, least=1, most=most)
