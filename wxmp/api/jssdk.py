"""JS-SDK and card signatures (JS-SDK 说明文档), over tickets that the whole fleet shares."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._wire import has_utf8
from wxmp.errors import ConfigError
from wxmp.tokens.keeper import TokenKeeper

if TYPE_CHECKING:
    from wxmp.tokens.keeper import TokenStatus

__all__ = ["JSSDKAPI", "CardSignature", "JSSDKSignature", "TicketKind"]

JSAPI: Final = "jsapi"
WX_CARD: Final = "wx_card"

#: What a ticket is for: ``wx.config``, or cards.
TicketKind = Literal["jsapi", "wx_card"]


@attrs.frozen
class JSSDKSignature:
    """What ``wx.config`` needs in the browser (通过config接口注入权限验证配置)."""

    appid: str
    #: Unix seconds.
    timestamp: int
    nonce_str: str
    signature: str
    #: The page that was signed, without its fragment.
    url: str

    def to_config(self) -> dict[str, str | int]:
        """Return the object for ``wx.config``, in its spelling; add ``jsApiList`` and ``debug``."""
        return {
            "appId": self.appid,
            "timestamp": self.timestamp,
            "nonceStr": self.nonce_str,
            "signature": self.signature,
        }


@attrs.frozen
class CardSignature:
    """What ``wx.addCard`` and ``wx.chooseCard`` need (卡券扩展字段)."""

    #: Unix seconds.
    timestamp: int
    nonce_str: str
    signature: str


@attrs.frozen
class JSSDKAPI:
    """JS-SDK tickets and signatures (JS-SDK).

    A ticket lives 7200 s, and the platform issues few of them: it is kept in the token store and renewed by one process
    of the fleet, like the access_token.
    """

    _appid: str
    _keeper: Callable[[str], TokenKeeper]

    async def sign(self, url: str, *, nonce_str: str | None = None, timestamp: int | None = None) -> JSSDKSignature:
        """Sign a page for ``wx.config`` (JS-SDK使用权限签名算法).

        Args:
            url: The page's address as the browser shows it, query included. The fragment is cut off. Sign only
                addresses of your own site: take the page from your own route, not from a parameter of the request.
            nonce_str: Random text; made here if absent.
            timestamp: Unix seconds; now if absent.

        Raises:
            ConfigError: The address is not http or https, or it or ``nonce_str`` is no text with a UTF-8 form.
            NotAuthorizedError: The account may not use the JS-SDK (48001).
            RateLimitError: The tickets of today are used up (45009).

        Source:
            GET /cgi-bin/ticket/getticket?type=jsapi - 获取ticket
        """
        page = url.partition("#")[0]
        if not page.startswith(("http://", "https://")) or any(char.isspace() for char in page):
            raise ConfigError("url must be the whole address of the page, http:// or https://", field="url")
        _check_text("url", page)
        _check_text("nonce_str", nonce_str or "")
        nonce = nonce_str if nonce_str is not None else secrets.token_hex(8)
        now = timestamp if timestamp is not None else int(time.time())
        ticket = (await self._keeper(JSAPI).get()).reveal()
        text = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={now}&url={page}"
        signature = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        return JSSDKSignature(self._appid, now, nonce, signature, page)

    async def sign_card(
        self, *values: str, nonce_str: str | None = None, timestamp: int | None = None
    ) -> CardSignature:
        """Sign a card for ``addCard`` or ``chooseCard`` (卡券签名).

        Args:
            values: The values that take part beside ticket, time and nonce: card_id, code, openid, location_id …
            nonce_str: Random text; made here if absent.
            timestamp: Unix seconds; now if absent.

        Raises:
            ConfigError: A value is no text with a UTF-8 form.
            NotAuthorizedError: The account may not use cards (48001).
            RateLimitError: The tickets of today are used up (45009).

        Source:
            GET /cgi-bin/ticket/getticket?type=wx_card - 获取ticket
        """
        for value in values:
            _check_text("values", value)
        _check_text("nonce_str", nonce_str or "")
        nonce = nonce_str if nonce_str is not None else secrets.token_hex(8)
        now = timestamp if timestamp is not None else int(time.time())
        ticket = (await self._keeper(WX_CARD).get()).reveal()
        text = "".join(sorted([ticket, str(now), nonce, *values]))
        return CardSignature(now, nonce, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

    async def refresh_ticket(self, kind: TicketKind = JSAPI) -> None:
        """Replace a ticket now, after browsers report ``invalid signature`` for a page that is signed correctly.

        Args:
            kind: ``"jsapi"`` or ``"wx_card"``.

        Source:
            GET /cgi-bin/ticket/getticket - 获取ticket
        """
        await self._keeper(_checked_kind(kind)).refresh()

    def ticket_status(self, kind: TicketKind = JSAPI) -> TokenStatus:
        """Return age, seconds left and last error of a ticket; never its value."""
        return self._keeper(_checked_kind(kind)).status()


def _check_text(field: str, value: object) -> None:
    # Before the ticket is in the same text: what Python raises while it is encoded would show all of it.
    if not isinstance(value, str) or not has_utf8(value):
        raise ConfigError(f"{field} must be text that has a UTF-8 form, without halves of surrogate pairs", field=field)


def _checked_kind(kind: str) -> str:
    if kind not in (JSAPI, WX_CARD):
        raise ConfigError("kind must be 'jsapi' or 'wx_card'", field="kind")
    return kind
