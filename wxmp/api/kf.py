"""Customer-service staff (客服管理): accounts, invitations, sessions, and the record of what was said."""

from __future__ import annotations

import math
import re
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_number, check_openid, check_optional_text, check_text, refusal
from wxmp.api._pages import next_page
from wxmp.api.uploads import FileSource, Progress, UploadRule, send_file
from wxmp.errors import ReplyError, api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = [
    "KfAPI",
    "KfAccount",
    "KfInviteStatus",
    "KfMessage",
    "KfMessagePage",
    "KfOnlineAccount",
    "KfOpercode",
    "KfPresence",
    "KfSession",
    "KfWaitingList",
    "KfWaitingUser",
]

#: Most characters of a nickname.
NICKNAME_CHARS: Final = 16
#: Most records on one page of :meth:`KfAPI.list_messages`.
RECORDS_PAGE: Final = 10_000
#: Seconds. The longest span that one query for records may have.
RECORDS_SPAN: Final = 86_400
#: The cursor of a first page of records.
FIRST_RECORD: Final = 1

UNKNOWN_ACCOUNT: Final = 65401
NICKNAME_REFUSED: Final = 65403
NAME_REFUSED: Final = 65404
ACCOUNT_EXISTS: Final = 65406
ALREADY_INVITED: Final = 65408
WECHAT_ID_REFUSED: Final = 65409
INVITATION_WAITS: Final = 65411
NO_SESSION: Final = 65413
PARAMETER_REFUSED: Final = 65416
SPAN_TOO_LONG: Final = 65417

AVATAR: Final = UploadRule(("jpg", "jpeg"), 5 * 1024 * 1024, type_refused=40005, size_refused=40009)

#: A name that can be given to a new account.
_NEW_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,10}@[^@\s]{1,30}")

LIST_ACCOUNTS: Final = Endpoint("GET", "/cgi-bin/customservice/getkflist", repeatable=True)
LIST_ONLINE_ACCOUNTS: Final = Endpoint("GET", "/cgi-bin/customservice/getonlinekflist", repeatable=True)
ADD_ACCOUNT: Final = Endpoint(
    "POST", "/customservice/kfaccount/add", repeatable=True, done_codes=frozenset({ACCOUNT_EXISTS})
)
UPDATE_ACCOUNT: Final = Endpoint("POST", "/customservice/kfaccount/update", repeatable=True)
DELETE_ACCOUNT: Final = Endpoint(
    "POST", "/customservice/kfaccount/del", repeatable=True, done_codes=frozenset({UNKNOWN_ACCOUNT})
)
UPLOAD_AVATAR: Final = Endpoint("POST", "/customservice/kfaccount/uploadheadimg", repeatable=True)
INVITE_WORKER: Final = Endpoint(
    "POST",
    "/customservice/kfaccount/inviteworker",
    repeatable=True,
    done_codes=frozenset({ALREADY_INVITED, INVITATION_WAITS}),
)
CREATE_SESSION: Final = Endpoint("POST", "/customservice/kfsession/create", repeatable=False)
CLOSE_SESSION: Final = Endpoint(
    "POST", "/customservice/kfsession/close", repeatable=True, done_codes=frozenset({NO_SESSION})
)
GET_SESSION: Final = Endpoint("GET", "/customservice/kfsession/getsession", repeatable=True)
LIST_SESSIONS: Final = Endpoint("GET", "/customservice/kfsession/getsessionlist", repeatable=True)
LIST_WAITING: Final = Endpoint("GET", "/customservice/kfsession/getwaitcase", repeatable=True)
LIST_MESSAGES: Final = Endpoint("POST", "/customservice/msgrecord/getmsglist", repeatable=True)


class KfInviteStatus(StrEnum):
    """What became of an invitation (邀请的状态)."""

    WAITING = "waiting"
    REJECTED = "rejected"
    EXPIRED = "expired"


class KfPresence(IntEnum):
    """Whether an agent can be reached (客服在线状态)."""

    OFFLINE = 0
    WEB = 1


class KfOpercode(IntEnum):
    """Which way a message went (操作码)."""

    #: From the agent to the user.
    SENT = 2002
    #: From the user to the agent.
    RECEIVED = 2003


@attrs.frozen
class KfAccount:
    """An agent account (客服账号): who is bound to it, or who is invited."""

    #: ``prefix@wechat-id``.
    kf_account: str
    #: Its number, always as a text; the platform writes it both ways.
    kf_id: str = ""
    #: The nickname that users see.
    nickname: str = attrs.field(default="", metadata=wire("kf_nick"))
    #: Address of the avatar.
    kf_headimgurl: str = ""
    #: The WeChat id that is bound to it; empty before somebody has accepted an invitation.
    kf_wx: str = ""
    #: The WeChat id that is invited.
    invite_wx: str = ""
    #: When the invitation runs out.
    invite_expire_time: datetime | None = None
    #: Empty without an invitation.
    invite_status: KfInviteStatus | str = ""
    #: The agent as a user of the account.
    kf_openid: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfOnlineAccount:
    """An agent who is on line (在线客服)."""

    #: ``prefix@wechat-id``.
    kf_account: str
    status: KfPresence | int
    #: As in :class:`KfAccount`.
    kf_id: str = ""
    #: Sessions the agent has now.
    accepted_case: int = 0
    #: The agent as a user of the account.
    kf_openid: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfSession:
    """A user in the care of an agent (会话)."""

    #: The user.
    openid: str
    #: The agent.
    kf_account: str
    #: When it began.
    create_time: datetime | None = attrs.field(default=None, metadata=wire("createtime"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfWaitingUser:
    """A user who waits for an agent (未接入会话)."""

    openid: str
    #: When they wrote last.
    latest_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfWaitingList:
    """The users who wait for an agent (未接入会话列表)."""

    #: All who wait; more than there are in :attr:`users` when these are over a hundred.
    total: int = attrs.field(metadata=wire("count"))
    #: The first hundred of them, who waits longest first.
    users: tuple[KfWaitingUser, ...] = attrs.field(default=(), metadata=wire("waitcaselist"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfMessage:
    """One message between a user and an agent (聊天记录)."""

    #: The user.
    openid: str
    #: Which way it went.
    opercode: KfOpercode | int
    #: When; the platform tells whole seconds.
    sent_at: datetime = attrs.field(metadata=wire("time"))
    #: The text; a placeholder for pictures and the like.
    text: str = ""
    #: The agent, ``prefix@wechat-id``.
    kf_account: str = attrs.field(default="", metadata=wire("worker"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfMessagePage:
    """One page of the record of what was said (聊天记录)."""

    messages: tuple[KfMessage, ...] = attrs.field(default=(), metadata=wire("recordlist"))
    #: Records on this page. Fewer than were asked for: it is the last one.
    count: int = attrs.field(default=0, metadata=wire("number"))
    #: The cursor for the next page.
    msg_id: int = attrs.field(default=0, metadata=wire("msgid"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class KfAPI:
    """Customer-service staff (客服管理): accounts, invitations, sessions, and the record of what was said.

    For verified accounts that have switched the customer service on (65400 otherwise: ``NotAuthorizedError``).
    """

    _call: Caller

    async def list_accounts(self, *, business_id: str | None = None) -> tuple[KfAccount, ...]:
        """List all agent accounts, with their invitations (获取所有客服账号).

        Args:
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            GET /cgi-bin/customservice/getkflist - 客服管理 / 获取所有客服账号
        """
        if business_id is not None:
            check_optional_text(LIST_ACCOUNTS, "business_id", business_id)
        reply = await self._call(LIST_ACCOUNTS, params={"business_id": business_id})
        return decode(tuple[KfAccount, ...], field_of(reply, "kf_list", LIST_ACCOUNTS), endpoint=LIST_ACCOUNTS.name)

    async def list_online_accounts(self, *, business_id: str | None = None) -> tuple[KfOnlineAccount, ...]:
        """List the agents who are on line, with their numbers of sessions (获取在线客服列表).

        Args:
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            GET /cgi-bin/customservice/getonlinekflist - 客服管理 / 获取在线客服列表
        """
        if business_id is not None:
            check_optional_text(LIST_ONLINE_ACCOUNTS, "business_id", business_id)
        reply = await self._call(LIST_ONLINE_ACCOUNTS, params={"business_id": business_id})
        found = field_of(reply, "kf_online_list", LIST_ONLINE_ACCOUNTS)
        return decode(tuple[KfOnlineAccount, ...], found, endpoint=LIST_ONLINE_ACCOUNTS.name)

    async def add_account(
        self, kf_account: str, *, nickname: str, password: str | None = None, business_id: str | None = None
    ) -> None:
        """Add an agent account (添加客服账号). An account has at most 100 of them, and needs a WeChat id (微信号).

        Nobody can serve with it before :meth:`invite_worker` has bound a person to it.

        When a first attempt broke off and the repeat says that the account exists, it is looked up: with the same
        nickname it is the one that was asked for.

        Args:
            kf_account: ``prefix@wechat-id``: at most 10 letters, digits and underscores, then the WeChat id of the
                Official Account, at most 30 characters.
            nickname: What users see, at most 16 characters.
            password: Retired. The old version wanted the MD5 of a password here, in hexadecimal digits.
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            ArgumentError: The name (65404) or the nickname (65403) is refused; the account exists (65406), or there
                are 100 of them (65405). Of the old version: 61451, 61453, 61454, 61455, 61456.
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/kfaccount/add - 客服管理 / 添加客服账号
        """
        name = check_text(ADD_ACCOUNT, "kf_account", kf_account, errcode=NAME_REFUSED)
        if not _NEW_NAME.fullmatch(name):
            problem = "must be 1 to 10 letters, digits or underscores, an @, and the WeChat id of the account (1 to 30)"
            raise refusal(ADD_ACCOUNT, "kf_account", NAME_REFUSED, problem)
        payload: JsonObject = {"kf_account": name, "nickname": _checked_nickname(ADD_ACCOUNT, nickname)}
        if password is not None:
            payload["password"] = check_optional_text(ADD_ACCOUNT, "password", password)
        if business_id is not None:
            payload["business_id"] = check_optional_text(ADD_ACCOUNT, "business_id", business_id)
        reply = await self._call(ADD_ACCOUNT, json=payload)
        if reply.get("errcode") == ACCOUNT_EXISTS:
            found = await self._find(name, business_id)
            if found is None or found.nickname != nickname:
                raise api_error(ACCOUNT_EXISTS, str(reply.get("errmsg", "")), endpoint=ADD_ACCOUNT.name)

    async def update_account(self, kf_account: str, *, nickname: str) -> None:
        """Change the nickname of an agent account (设置客服信息).

        Args:
            kf_account: Which one, ``prefix@wechat-id``.
            nickname: What users see, at most 16 characters.

        Raises:
            ArgumentError: The nickname is refused (65403).
            NotFoundError: No such agent account (65401).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/kfaccount/update - 客服管理 / 设置客服信息
        """
        name = _known_name(UPDATE_ACCOUNT, kf_account)
        nick = _checked_nickname(UPDATE_ACCOUNT, nickname)
        await self._call(UPDATE_ACCOUNT, json={"kf_account": name, "nickname": nick})

    async def delete_account(self, kf_account: str, *, business_id: str | None = None) -> None:
        """Delete an agent account (删除客服账号).

        Args:
            kf_account: Which one, ``prefix@wechat-id``.
            business_id: Not for Official Accounts: the sub-merchant of a mini program.

        Raises:
            NotFoundError: No such agent account (65401). Not raised when an attempt before it may have deleted it.
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/kfaccount/del - 客服管理 / 删除客服账号
        """
        payload: JsonObject = {"kf_account": _known_name(DELETE_ACCOUNT, kf_account)}
        if business_id is not None:
            payload["business_id"] = check_optional_text(DELETE_ACCOUNT, "business_id", business_id)
        await self._call(DELETE_ACCOUNT, json=payload)

    async def upload_avatar(
        self,
        kf_account: str,
        media: FileSource,
        *,
        filename: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> None:
        """Set the avatar of an agent account (上传客服头像).

        Args:
            kf_account: Which one, ``prefix@wechat-id``.
            media: A JPG of at most 5 MB; 640x640 pixels are advised. A path, bytes, or an asynchronous iterator.
            filename: What the platform is told; the path's own name if absent.
            size: Bytes that an iterator will give: it is then sent as it is made, once.
            progress: Told the bytes so far and in all.
            timeout: Seconds for one whole attempt; 60 if absent.

        Raises:
            NotFoundError: No such agent account (65401).
            ArgumentError: It is no JPG (40005), or too large (40009): both found before sending.
            NotAuthorizedError: The customer service is not switched on (65400).
            ConfigError: The file cannot be read.

        Source:
            POST /customservice/kfaccount/uploadheadimg - 客服管理 / 上传客服头像
        """
        await send_file(
            self._call,
            UPLOAD_AVATAR,
            media,
            rule=AVATAR,
            params={"kf_account": _known_name(UPLOAD_AVATAR, kf_account)},
            filename=filename,
            size=size,
            progress=progress,
            timeout=timeout,
        )

    async def invite_worker(self, kf_account: str, *, invite_wx: str) -> None:
        """Invite a WeChat user to serve with an agent account (邀请绑定客服账号).

        :meth:`list_accounts` shows what became of the invitation.

        When a first attempt broke off and the repeat says that an invitation waits, it is looked up: one of the same
        person for the same account is the one that was asked for.

        Args:
            kf_account: Which account, ``prefix@wechat-id``.
            invite_wx: The WeChat id (微信号) of the person.

        Raises:
            NotFoundError: No such agent account (65401).
            ArgumentError: The person serves already (65407), is invited already (65408), cannot be invited by this id
                (65409), or serves with too many accounts (65410); for this account an invitation waits (65411), or
                somebody is bound to it (65412).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/kfaccount/inviteworker - 客服管理 / 邀请绑定客服账号
        """
        name = _known_name(INVITE_WORKER, kf_account)
        person = check_text(INVITE_WORKER, "invite_wx", invite_wx, errcode=WECHAT_ID_REFUSED)
        reply = await self._call(INVITE_WORKER, json={"kf_account": name, "invite_wx": person})
        errcode = reply.get("errcode")
        if isinstance(errcode, int) and errcode in INVITE_WORKER.done_codes:
            found = await self._find(name)
            # By now the person can have accepted.
            if found is None or person not in (found.invite_wx, found.kf_wx):
                raise api_error(errcode, str(reply.get("errmsg", "")), endpoint=INVITE_WORKER.name)

    async def create_session(self, openid: str, *, kf_account: str, text: str | None = None) -> None:
        """Give a user into the care of an agent (创建会话). The agent must be on line.

        The webhook hears of it as the event ``kf_create_session``. The call is not repeated when its outcome is
        unknown: only older documentation says that a second one for the same agent is a success.
        :meth:`get_session` shows how it stands.

        Args:
            openid: The user.
            kf_account: The agent, ``prefix@wechat-id``.
            text: A note for the agent; of older documentation.

        Raises:
            NotFoundError: No such agent account (65401).
            APIError: Nobody is bound to the agent account (65402), another agent serves the user (65414), or the agent
                is off line (65415).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/kfsession/create - 客服会话控制 / 创建会话
        """
        payload: JsonObject = {
            "kf_account": _known_name(CREATE_SESSION, kf_account),
            "openid": check_openid(CREATE_SESSION, openid),
        }
        if text is not None:
            payload["text"] = check_optional_text(CREATE_SESSION, "text", text)
        await self._call(CREATE_SESSION, json=payload)

    async def close_session(self, openid: str, *, kf_account: str) -> None:
        """End the session of a user with an agent (关闭会话).

        The webhook hears of it as the event ``kf_close_session``.

        Args:
            openid: The user.
            kf_account: The agent who serves them, ``prefix@wechat-id``.

        Raises:
            NotFoundError: The user is in no session (65413). Not raised when an attempt before it may have ended it.
            APIError: Another agent serves the user (65414).
            ArgumentError: The openid is not of this account (40003).

        Source:
            POST /customservice/kfsession/close - 客服会话控制 / 关闭会话
        """
        payload: JsonObject = {
            "kf_account": _known_name(CLOSE_SESSION, kf_account),
            "openid": check_openid(CLOSE_SESSION, openid),
        }
        await self._call(CLOSE_SESSION, json=payload)

    async def get_session(self, openid: str) -> KfSession | None:
        """Find out which agent serves a user (获取客户会话状态).

        Args:
            openid: The user.

        Returns:
            The session, or ``None`` if the user is in none.

        Raises:
            ArgumentError: The openid is not of this account (40003).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            GET /customservice/kfsession/getsession - 客服会话控制 / 获取客户会话状态
        """
        reply = await self._call(GET_SESSION, params={"openid": check_openid(GET_SESSION, openid)})
        # A missing name alone is not an empty one: an answer of another shape does not say that nobody serves the user.
        begun = reply.get("createtime", "unknown") not in (0, "0", "", None)
        if not (field_of(reply, "kf_account", GET_SESSION) if begun else reply.get("kf_account")):
            return None
        return decode(KfSession, {"openid": openid, **without_verdict(reply)}, endpoint=GET_SESSION.name)

    async def list_sessions(self, kf_account: str) -> tuple[KfSession, ...]:
        """List the sessions of an agent (获取客服会话列表).

        Args:
            kf_account: The agent, ``prefix@wechat-id``.

        Raises:
            NotFoundError: No such agent account (65401).
            APIError: Nobody is bound to the agent account (65402).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            GET /customservice/kfsession/getsessionlist - 客服会话控制 / 获取客服会话列表
        """
        name = _known_name(LIST_SESSIONS, kf_account)
        reply = await self._call(LIST_SESSIONS, params={"kf_account": name})
        found = field_of(reply, "sessionlist", LIST_SESSIONS)
        if isinstance(found, list):
            # Whose they are stands in the question only.
            found = [{"kf_account": name, **entry} if isinstance(entry, dict) else entry for entry in found]
        return decode(tuple[KfSession, ...], found, endpoint=LIST_SESSIONS.name)

    async def list_waiting(self) -> KfWaitingList:
        """List the users who wait for an agent (获取未接入会话列表): the first hundred, and how many there are in all.

        Raises:
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            GET /customservice/kfsession/getwaitcase - 客服会话控制 / 获取未接入会话列表
        """
        reply = await self._call(LIST_WAITING)
        return decode(KfWaitingList, without_verdict(reply), endpoint=LIST_WAITING.name)

    async def list_messages(
        self,
        start_time: datetime,
        end_time: datetime,
        *,
        msg_id: int = FIRST_RECORD,
        count: int = RECORDS_PAGE,
    ) -> KfMessagePage:
        """Read one page of what users and agents have said (获取聊天记录).

        :meth:`iter_messages` walks through all pages, and through any span of time.

        Args:
            start_time: Begin of the span, with a time zone; fractions of a second are cut off.
            end_time: Its end, at most 24 hours later.
            msg_id: 1 for the first page, then the ``msg_id`` of the page before.
            count: Records on the page, at most 10000. There is another page while a page has that many.

        Raises:
            ArgumentError: The span is longer than 24 hours (65417), or one of the values cannot be (65416).
            NotAuthorizedError: The customer service is not switched on (65400).

        Source:
            POST /customservice/msgrecord/getmsglist - 客服消息 / 获取聊天记录
        """
        start, end = _span(start_time, end_time)
        if end - start > RECORDS_SPAN:
            problem = "must be at most 24 hours after start_time; iter_messages takes longer spans"
            raise refusal(LIST_MESSAGES, "end_time", SPAN_TOO_LONG, problem)
        problem = f"must be {FIRST_RECORD} or a msg_id of a page"
        check_number(LIST_MESSAGES, "msg_id", msg_id, errcode=PARAMETER_REFUSED, problem=problem)
        _check_count(count)
        return await self._records(start, end, msg_id, count)

    def iter_messages(
        self, start_time: datetime, end_time: datetime, *, count: int = RECORDS_PAGE
    ) -> AsyncGenerator[KfMessage, None]:
        """Iterate over what users and agents have said, page by page and day by day (获取聊天记录).

        A span of any length is read in pieces of 24 hours, and each record comes once. ``start_time`` belongs to the
        span and ``end_time`` does not, so spans that follow each other neither lose a record nor give it twice.

        Args:
            start_time: Begin of the span, with a time zone; fractions of a second are cut off.
            end_time: Its end; records of this second and later are left out.
            count: Records on one page, at most 10000.

        Raises:
            ArgumentError: One of the values cannot be (65416).
            NotAuthorizedError: The customer service is not switched on (65400).
            ReplyError: A page is full and its cursor does not move on: going on would never end.

        Source:
            POST /customservice/msgrecord/getmsglist - 客服消息 / 获取聊天记录
        """
        start, end = _span(start_time, end_time)
        _check_count(count)
        return self._walk_records(start, end, count)

    async def _walk_records(self, start: int, end: int, count: int) -> AsyncGenerator[KfMessage, None]:
        for first in range(start, end, RECORDS_SPAN):
            # The documentation does not say whether the end of a span belongs to it. Records of that second are left
            # to the next piece, which is right either way.
            last = min(first + RECORDS_SPAN, end)
            cursor, full, pages = FIRST_RECORD, True, 0
            while full:
                pages = next_page(pages, LIST_MESSAGES)
                page = await self._records(first, last, cursor, count)
                full = max(page.count, len(page.messages)) >= count
                if full and (page.msg_id <= cursor or not page.messages):
                    problem = "msgid does not move on, so the list would never end"
                    raise ReplyError(problem, endpoint=LIST_MESSAGES.name)
                for message in page.messages:
                    if first <= message.sent_at.timestamp() < last:
                        yield message
                cursor = page.msg_id

    async def _records(self, start: int, end: int, msg_id: int, count: int) -> KfMessagePage:
        payload: JsonObject = {"starttime": start, "endtime": end, "msgid": msg_id, "number": count}
        reply = await self._call(LIST_MESSAGES, json=payload)
        page = decode(KfMessagePage, without_verdict(reply), endpoint=LIST_MESSAGES.name)
        if page.count or "number" not in reply:
            # Only a page that says that it has none may leave them out.
            field_of(reply, "recordlist", LIST_MESSAGES)
        return page

    async def _find(self, kf_account: str, business_id: str | None = None) -> KfAccount | None:
        accounts = await self.list_accounts(business_id=business_id)
        return next((account for account in accounts if account.kf_account == kf_account), None)


def _known_name(endpoint: Endpoint, kf_account: object) -> str:
    """Check the name of an account that is there already: it may be older than today's rules for new ones."""
    name = check_text(endpoint, "kf_account", kf_account, errcode=UNKNOWN_ACCOUNT)
    prefix, _, wechat_id = name.partition("@")
    if not (prefix and wechat_id):
        problem = "must be the whole name, prefix@wechat-id; client.kf.list_accounts() has them"
        raise refusal(endpoint, "kf_account", UNKNOWN_ACCOUNT, problem)
    return name


def _checked_nickname(endpoint: Endpoint, nickname: object) -> str:
    return check_text(endpoint, "nickname", nickname, errcode=NICKNAME_REFUSED, max_wide=NICKNAME_CHARS)


def _span(start_time: object, end_time: object) -> tuple[int, int]:
    """Return both ends of a span in whole seconds."""
    start, end = _seconds("start_time", start_time), _seconds("end_time", end_time)
    if end < start:
        raise refusal(LIST_MESSAGES, "end_time", PARAMETER_REFUSED, "is before start_time")
    return start, end


def _seconds(field: str, moment: object) -> int:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        # The local time zone of a server is no fact about the caller's intention.
        problem = "must be a datetime with a time zone, such as datetime.now(UTC)"
        raise refusal(LIST_MESSAGES, field, PARAMETER_REFUSED, problem)
    return math.floor(moment.timestamp())


def _check_count(count: object) -> None:
    problem = f"must be 1 to {RECORDS_PAGE}"
    check_number(LIST_MESSAGES, "count", count, errcode=PARAMETER_REFUSED, problem=problem, least=1, most=RECORDS_PAGE)
