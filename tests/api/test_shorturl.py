"""Short keys: what goes out, what comes back, and the limits on data and life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp.api.shorturl import LongData, ShortURLAPI
from wxmp.errors import ArgumentError, NotFoundError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CREATE = "/cgi-bin/shorten/gen"
FETCH = "/cgi-bin/shorten/fetch"
OK = {"errcode": 0, "errmsg": "ok"}
KEY = "aB3dE6gH9jK2mN5"


@pytest.fixture
def shorturl(caller: Caller) -> ShortURLAPI:
    """The family under test."""
    return ShortURLAPI(caller)


async def test_create_with_everything(platform: Platform, shorturl: ShortURLAPI) -> None:
    """Data and life go out in the body, raw, and the key comes back."""
    route = platform.answer("POST", CREATE, {**OK, "short_key": KEY})
    assert await shorturl.create("https://example.com/?q=你好", expire_seconds=86_400) == KEY
    assert platform.body(route) == {"long_data": "https://example.com/?q=你好", "expire_seconds": 86_400}
    assert "你好".encode() in platform.raw(route)
    assert platform.params(route) == {}


async def test_create_with_the_least(platform: Platform, shorturl: ShortURLAPI) -> None:
    """Without a wish the life is the platform's."""
    route = platform.answer("POST", CREATE, {**OK, "short_key": KEY})
    await shorturl.create("x")
    assert platform.body(route) == {"long_data": "x"}


@pytest.mark.parametrize("data", ["x" * 4096, "数" * 1365 + "x"], ids=["letters", "Chinese"])
@pytest.mark.parametrize("life", [1, 2_592_000])
async def test_create_at_the_limits(platform: Platform, shorturl: ShortURLAPI, data: str, life: int) -> None:
    """4096 bytes pass, and so do the shortest and the longest life."""
    route = platform.answer("POST", CREATE, {**OK, "short_key": KEY})
    await shorturl.create(data, expire_seconds=life)
    assert platform.body(route) == {"long_data": data, "expire_seconds": life}


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        pytest.param({"long_data": ""}, 47003, "long_data", id="empty"),
        pytest.param({"long_data": None}, 47003, "long_data", id="None"),
        pytest.param({"long_data": "x" * 4097}, 9410010, "long_data", id="4097 bytes"),
        pytest.param({"long_data": "数" * 1366}, 9410010, "long_data", id="4098 bytes of Chinese"),
        pytest.param({"expire_seconds": 0}, 9410011, "expire_seconds", id="no life"),
        pytest.param({"expire_seconds": 2_592_001}, 9410011, "expire_seconds", id="too long a life"),
    ],
)
async def test_create_checks(shorturl: ShortURLAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending."""
    arguments = {"long_data": "x", **change}
    with pytest.raises(ArgumentError) as caught:
        await shorturl.create(**arguments)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {CREATE}")


@pytest.mark.parametrize("errcode", [9410010, 9410011, 47003])
async def test_create_refused(platform: Platform, shorturl: ShortURLAPI, errcode: int) -> None:
    """A refusal by the platform is an ArgumentError with its code, and is not repeated."""
    route = platform.answer("POST", CREATE, {"errcode": errcode, "errmsg": "too long"})
    with pytest.raises(ArgumentError) as caught:
        await shorturl.create("x")
    assert (caught.value.errcode, route.call_count) == (errcode, 1)


async def test_create_without_a_key(platform: Platform, shorturl: ShortURLAPI) -> None:
    """A success without a key is a ReplyError."""
    platform.answer("POST", CREATE, OK)
    with pytest.raises(ReplyError, match="short_key"):
        await shorturl.create("x")


async def test_fetch_reads_everything(platform: Platform, shorturl: ShortURLAPI) -> None:
    """All fields are read, numbers as text too, and what is new stays."""
    route = platform.answer(
        "POST",
        FETCH,
        {**OK, "long_data": "数据", "create_time": "1760000000", "expire_seconds": "86399", "new": 1},
    )
    created = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert await shorturl.fetch(KEY) == LongData("数据", created, 86_399, extra={"new": 1})
    assert platform.body(route) == {"short_key": KEY}
    assert platform.params(route) == {}


async def test_fetch_of_the_least(platform: Platform, shorturl: ShortURLAPI) -> None:
    """The data alone is enough; a key in its last second has no second left."""
    platform.answer("POST", FETCH, {"long_data": "x"}, {"long_data": "x", "expire_seconds": 0})
    assert await shorturl.fetch(KEY) == LongData("x")
    assert (await shorturl.fetch(KEY)).expire_seconds == 0


async def test_fetch_without_data(platform: Platform, shorturl: ShortURLAPI) -> None:
    """A success without data is a ReplyError, not an empty text."""
    platform.answer("POST", FETCH, OK)
    with pytest.raises(ReplyError, match="long_data"):
        await shorturl.fetch(KEY)


async def test_fetch_of_an_unknown_key(platform: Platform, shorturl: ShortURLAPI) -> None:
    """9410012 is a NotFoundError."""
    platform.answer("POST", FETCH, {"errcode": 9410012, "errmsg": "short key not found"})
    with pytest.raises(NotFoundError) as caught:
        await shorturl.fetch(KEY)
    assert caught.value.errcode == 9410012


async def test_fetch_needs_a_key(shorturl: ShortURLAPI) -> None:
    """An empty key is refused before sending (47003)."""
    with pytest.raises(ArgumentError) as caught:
        await shorturl.fetch("")
    assert (caught.value.errcode, caught.value.field) == (47003, "short_key")


async def test_both_are_repeated(platform: Platform, shorturl: ShortURLAPI) -> None:
    """After an unknown outcome the call is made once more: a key nobody has heard of does no harm."""
    broken = httpx.Response(502, html="<html>bad gateway</html>")
    create = platform.answer("POST", CREATE, broken, {**OK, "short_key": KEY})
    fetch = platform.answer("POST", FETCH, broken, {"long_data": "x"})
    await shorturl.create("x")
    await shorturl.fetch(KEY)
    assert (create.call_count, fetch.call_count) == (2, 2)
