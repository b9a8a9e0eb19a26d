"""Signatures for the browser, over shared tickets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from wxmp import Client, ConfigError, NotAuthorizedError
from wxmp.tokens.keeper import TokenKeeper

from .conftest import APPID, APPSECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Platform

TICKET = "bxLdikRXVbTPdHSM05e5u5sUoXNKd8-41ZO3MhKoyN5OfkWITDGgnr2fwJ0m9E8NYzWKVZvdVtaUgWvsdshFKA"
#: What the platform returns for a token.
ISSUED = {"access_token": "TOKEN-1", "expires_in": 7200}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with Client(APPID, APPSECRET) as made:
        yield made


@pytest.fixture
def ticket(platform: Platform) -> Any:
    platform.answer("POST", "/cgi-bin/stable_token", ISSUED)
    return platform.answer(
        "GET", "/cgi-bin/ticket/getticket", {"errcode": 0, "errmsg": "ok", "ticket": TICKET, "expires_in": 7200}
    )


async def test_signature_of_the_official_example(client: Client, ticket: Any) -> None:
    """The signature is SHA-1 over ticket, nonce, time and page, joined as a query in alphabetical order."""
    ticket.return_value.content  # noqa: B018 - the route is used below
    signed = await client.jssdk.sign(
        "http://mp.weixin.qq.com?params=value#part", nonce_str="Wm3WZYTPz0wzccnW", timestamp=1414587457
    )
    text = (
        f"jsapi_ticket={TICKET}&noncestr=Wm3WZYTPz0wzccnW&timestamp=1414587457&url=http://mp.weixin.qq.com?params=value"
    )
    assert signed.signature == hashlib.sha1(text.encode()).hexdigest()
    assert signed.url == "http://mp.weixin.qq.com?params=value"
    assert signed.to_config() == {
        "appId": APPID,
        "timestamp": 1414587457,
        "nonceStr": "Wm3WZYTPz0wzccnW",
        "signature": signed.signature,
    }
    assert dict(ticket.calls.last.request.url.params)["type"] == "jsapi"


async def test_ticket_is_asked_for_once(client: Client, ticket: Any) -> None:
    """A second page is signed with the same ticket, with another nonce."""
    one = await client.jssdk.sign("https://a.example/")
    two = await client.jssdk.sign("https://a.example/")
    assert one.nonce_str != two.nonce_str
    assert ticket.call_count == 1


async def test_card_signature(client: Client, ticket: Any) -> None:
    """A card signature is SHA-1 over the sorted values, joined; its ticket is another one."""
    signed = await client.jssdk.sign_card("card-1", "code-2", nonce_str="nonce", timestamp=1)
    expected = "".join(sorted([TICKET, "1", "nonce", "card-1", "code-2"]))
    assert signed.signature == hashlib.sha1(expected.encode()).hexdigest()
    assert dict(ticket.calls.last.request.url.params)["type"] == "wx_card"


@pytest.mark.parametrize("url", ["", "shop.example/", "javascript:alert(1)", "https://a.example/ b", "//a.example/"])
async def test_only_whole_addresses_are_signed(url: str) -> None:
    """What is not an http or https address is refused before a ticket is asked for."""
    async with Client(APPID, APPSECRET) as client:
        with pytest.raises(ConfigError) as caught:
            await client.jssdk.sign(url)
    assert caught.value.field == "url"


HALF = "card-\ud83d"


@pytest.mark.parametrize(
    ("sign", "field"),
    [
        (lambda jssdk: jssdk.sign(f"https://a.example/{HALF}"), "url"),
        (lambda jssdk: jssdk.sign("https://a.example/", nonce_str=HALF), "nonce_str"),
        (lambda jssdk: jssdk.sign_card("card-1", HALF), "values"),
        (lambda jssdk: jssdk.sign_card("card-1", nonce_str=HALF), "nonce_str"),
    ],
)
async def test_what_has_no_utf8_form_is_not_signed(sign: Any, field: str) -> None:
    """Half a surrogate pair is refused before a ticket is asked for: the codec's error would show the ticket too."""
    async with Client(APPID, APPSECRET) as client:
        with pytest.raises(ConfigError) as caught:
            await sign(client.jssdk)
    assert caught.value.field == field


async def test_unknown_kind_of_ticket() -> None:
    """There are two kinds of tickets."""
    async with Client(APPID, APPSECRET) as client:
        with pytest.raises(ConfigError):
            client.jssdk.ticket_status("other")


async def test_account_without_the_right(client: Client, platform: Platform) -> None:
    """48001: the account may not use the JS-SDK."""
    platform.answer("POST", "/cgi-bin/stable_token", ISSUED)
    platform.answer("GET", "/cgi-bin/ticket/getticket", {"errcode": 48001, "errmsg": "api unauthorized"})
    with pytest.raises(NotAuthorizedError):
        await client.jssdk.sign("https://a.example/")


async def test_status_of_a_ticket(client: Client, ticket: Any) -> None:
    """The status of a ticket tells its age and never its value."""
    await client.jssdk.sign("https://a.example/")
    status = client.jssdk.ticket_status()
    assert status.channel == "jsapi"
    assert status.usable is True
    assert TICKET not in repr(status)
    assert isinstance(client._ticket_keeper("jsapi"), TokenKeeper)
    await client.jssdk.refresh_ticket()
    assert ticket.call_count == 2
