"""The blacklist: whose messages are not pushed, and who receives nothing (黑名单管理)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import decode
from wxmp.api._answers import without_verdict
from wxmp.api._checks import check_openids, check_optional_text
from wxmp.api._pages import OpenidData, OpenidPage, in_batches, walk_pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

__all__ = ["BlacklistAPI", "OpenidData", "OpenidPage"]

LIST: Final = Endpoint("POST", "/cgi-bin/tags/members/getblacklist", repeatable=True)
ADD: Final = Endpoint("POST", "/cgi-bin/tags/members/batchblacklist", repeatable=True)
REMOVE: Final = Endpoint("POST", "/cgi-bin/tags/members/batchunblacklist", repeatable=True)

#: Openids in one request.
BATCH_SIZE: Final = 20


@attrs.frozen
class BlacklistAPI:
    """The blacklist (黑名单管理): list, add, remove. Verified accounts only; the others get 48001."""

    _call: Caller

    async def list(self, next_openid: str = "") -> OpenidPage:
        """List the blacklist, one page (获取公众号的黑名单列表).

        :meth:`iter_members` does the paging.

        Args:
            next_openid: The ``next_openid`` of the page before; empty for the first one. The platform calls it
                ``begin_openid`` here.

        Returns:
            At most 1000 openids (older documentation: 10 000), and the cursor.

        Raises:
            ArgumentError: The cursor is not an openid of this account (40003, 49003).

        Source:
            POST /cgi-bin/tags/members/getblacklist - 用户管理 / 获取公众号的黑名单列表
        """
        cursor = check_optional_text(LIST, "next_openid", next_openid)
        reply = await self._call(LIST, json={"begin_openid": cursor})
        return decode(OpenidPage, without_verdict(reply), endpoint=LIST.name)

    def iter_members(self, *, next_openid: str = "") -> AsyncGenerator[str, None]:
        """Iterate over the openids of all blacklisted users, page by page (获取公众号的黑名单列表).

        Args:
            next_openid: Begin behind this one: the last openid seen, to go on after a failure.

        Raises:
            ReplyError: The platform repeats a cursor, so that the list would never end.

        Source:
            POST /cgi-bin/tags/members/getblacklist - 用户管理 / 获取公众号的黑名单列表
        """
        return walk_pages(self.list, LIST, next_openid=next_openid)

    async def add(self, openids: Iterable[str]) -> None:
        """Put users on the blacklist (拉黑用户). Who is on it already stays.

        Args:
            openids: Any number; repetitions are dropped, and each 20 make one request. When a later request fails, a
                note on the exception says how many are done.

        Raises:
            ArgumentError: An openid is not one of this account (40003, 49003), or there are none (40032; found before
                sending).
            BusyError: The platform cannot do it at the moment (268487001). It is tried again by itself.

        Source:
            POST /cgi-bin/tags/members/batchblacklist - 用户管理 / 拉黑用户
        """
        await self._change(ADD, openids)

    async def remove(self, openids: Iterable[str]) -> None:
        """Take users off the blacklist (取消拉黑用户). Who is not on it is left alone.

        Args:
            openids: Any number; repetitions are dropped, and each 20 make one request. When a later request fails, a
                note on the exception says how many are done.

        Raises:
            ArgumentError: An openid is not one of this account (40003), or there are none (40032; found before
                sending).

        Source:
            POST /cgi-bin/tags/members/batchunblacklist - 用户管理 / 取消拉黑用户
        """
        await self._change(REMOVE, openids)

    async def _change(self, endpoint: Endpoint, openids: Iterable[str]) -> None:
        async def send(batch: tuple[str, ...]) -> None:
            await self._call(endpoint, json={"openid_list": batch})

        await in_batches(check_openids(endpoint, openids), BATCH_SIZE, send)
