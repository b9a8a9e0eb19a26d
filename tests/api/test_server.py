"""The platform's addresses, the callback check and rid look-up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from wxmp.api.server import CallbackCheck, DNSResult, PingResult, RequestRecord, ServerAPI
from wxmp.errors import APIError, ArgumentError, NotAuthorizedError, NotFoundError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CHECK = "/cgi-bin/callback/check"
RID = "/cgi-bin/openapi/rid/get"
RECORD = {
    "invoke_time": 1635927298,
    "cost_in_ms": 100,
    "request_url": "access_token=SECRET-IN-URL",
    "request_body": '{"p":"SECRET-IN-BODY"}',
    "response_body": '{"r":"SECRET-IN-REPLY"}',
    "client_ip": "113.66.229.7",
}


@pytest.fixture
def server(caller: Caller) -> ServerAPI:
    """The family under test."""
    return ServerAPI(caller)


async def test_check_callback_asks_for_everything(platform: Platform, server: ServerAPI) -> None:
    """Without arguments the check does both parts from the platform's choice of network."""
    route = platform.answer("POST", CHECK, {"dns": [], "ping": []})
    assert await server.check_callback() == CallbackCheck()
    assert platform.body(route) == {"action": "all", "check_operator": "DEFAULT"}
    assert platform.params(route) == {}


async def test_check_callback_reads_every_field(platform: Platform, server: ServerAPI) -> None:
    """Both parts of the answer become records, unknown fields are kept, the verdict is not one of them."""
    route = platform.answer(
        "POST",
        CHECK,
        {
            "errcode": 0,
            "errmsg": "ok",
            "dns": [{"ip": "111.161.64.40", "real_operator": "UNICOM", "ttl": 5}],
            "ping": [
                {"ip": "111.161.64.40", "from_operator": "UNICOM", "package_loss": "0%", "time": "23.079ms"},
                {"ip": "111.161.64.48", "from_operator": "UNICOM", "package_loss": "100%"},
            ],
        },
    )
    found = await server.check_callback(action="dns", check_operator="UNICOM")
    assert platform.body(route) == {"action": "dns", "check_operator": "UNICOM"}
    assert found == CallbackCheck(
        dns=(DNSResult("111.161.64.40", "UNICOM", extra={"ttl": 5}),),
        ping=(
            PingResult("111.161.64.40", "UNICOM", "0%", "23.079ms"),
            PingResult("111.161.64.48", "UNICOM", "100%", None),
        ),
    )


async def test_check_callback_with_one_part(platform: Platform, server: ServerAPI) -> None:
    """The part that was not asked for is empty."""
    platform.answer("POST", CHECK, {"dns": [{"ip": "10.0.0.1"}]})
    assert await server.check_callback(action="dns") == CallbackCheck(dns=(DNSResult("10.0.0.1"),))


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [({"action": "http"}, 40202, "action"), ({"check_operator": "CMCC"}, 40203, "check_operator")],
)
async def test_check_callback_refuses_unknown_values(
    platform: Platform, server: ServerAPI, arguments: dict[str, str], code: int, field: str
) -> None:
    """A value outside the platform's set is found before sending."""
    with pytest.raises(ArgumentError, match="must be one of") as caught:
        await server.check_callback(**arguments)  # type: ignore[arg-type]
    assert (caught.value.errcode, caught.value.field) == (code, field)


@pytest.mark.parametrize("code", [40201, 40202, 40203])
async def test_check_callback_errors(platform: Platform, server: ServerAPI, code: int) -> None:
    """What the platform refuses about the check is an ArgumentError with its code."""
    platform.answer("POST", CHECK, {"errcode": code, "errmsg": "no"})
    with pytest.raises(ArgumentError) as caught:
        await server.check_callback()
    assert caught.value.errcode == code


@pytest.mark.parametrize(
    ("method", "path"),
    [("list_api_ips", "/cgi-bin/get_api_domain_ip"), ("list_callback_ips", "/cgi-bin/getcallbackip")],
)
async def test_addresses(platform: Platform, server: ServerAPI, method: str, path: str) -> None:
    """The addresses come back as a tuple of texts."""
    route = platform.answer("GET", path, {"ip_list": ["101.226.62.77", "101.226.233.128/25"]})
    assert await getattr(server, method)() == ("101.226.62.77", "101.226.233.128/25")
    assert platform.params(route) == {}
    assert platform.raw(route) == b""


@pytest.mark.parametrize(
    ("method", "path"),
    [("list_api_ips", "/cgi-bin/get_api_domain_ip"), ("list_callback_ips", "/cgi-bin/getcallbackip")],
)
@pytest.mark.parametrize("reply", [{}, {"ip_list": "101.226.62.77"}])
async def test_addresses_without_a_list(
    platform: Platform, server: ServerAPI, method: str, path: str, reply: dict[str, object]
) -> None:
    """An answer without the list is a ReplyError that names the endpoint."""
    platform.answer("GET", path, reply)
    with pytest.raises(ReplyError) as caught:
        await getattr(server, method)()
    assert caught.value.endpoint == f"GET {path}"


async def test_a_read_is_repeated(platform: Platform, server: ServerAPI) -> None:
    """A read whose first answer is lost is sent again."""
    route = platform.answer("GET", "/cgi-bin/getcallbackip", httpx.Response(502), {"ip_list": ["10.0.0.1"]})
    assert await server.list_callback_ips() == ("10.0.0.1",)
    assert route.call_count == 2


async def test_explain_rid_reads_every_field(platform: Platform, server: ServerAPI) -> None:
    """A rid gives the recorded request, its time as an instant in UTC."""
    route = platform.answer("POST", RID, {"errcode": 0, "errmsg": "ok", "request": {**RECORD, "new": "x"}})
    found = await server.explain_rid("61725984-6126f6f9-040f19c4")
    assert platform.body(route) == {"rid": "61725984-6126f6f9-040f19c4"}
    assert found == RequestRecord(
        invoke_time=datetime(2021, 11, 3, 8, 14, 58, tzinfo=UTC),
        cost_in_ms=100,
        request_url="access_token=SECRET-IN-URL",
        request_body='{"p":"SECRET-IN-BODY"}',
        response_body='{"r":"SECRET-IN-REPLY"}',
        client_ip="113.66.229.7",
        extra={"new": "x"},
    )


async def test_a_recorded_request_shows_no_secret(platform: Platform, server: ServerAPI) -> None:
    """The repr of a recorded request holds neither its URL, nor a body, nor fields nobody knows."""
    platform.answer("POST", RID, {"request": {**RECORD, "request_header": "SECRET-IN-HEADER"}})
    shown = repr(await server.explain_rid("61725984-6126f6f9-040f19c4"))
    assert "113.66.229.7" in shown
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (76001, NotFoundError),
        (76002, ArgumentError),
        (76003, NotAuthorizedError),
        (76004, APIError),
        (76022, NotAuthorizedError),
    ],
)
async def test_explain_rid_errors(platform: Platform, server: ServerAPI, code: int, error: type[APIError]) -> None:
    """Each way a rid cannot be explained has its class."""
    platform.answer("POST", RID, {"errcode": code, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await server.explain_rid("x")
    assert caught.value.errcode == code


@pytest.mark.parametrize("rid", ["", " ", None])
async def test_explain_rid_needs_a_rid(platform: Platform, server: ServerAPI, rid: str) -> None:
    """An error without rid is not sent to be explained."""
    with pytest.raises(ArgumentError) as caught:
        await server.explain_rid(rid)
    assert (caught.value.errcode, caught.value.field) == (76002, "rid")


async def test_explain_rid_without_a_record(platform: Platform, server: ServerAPI) -> None:
    """An answer without the request is a ReplyError."""
    platform.answer("POST", RID, {"errcode": 0, "errmsg": "ok"})
    with pytest.raises(ReplyError, match="request"):
        await server.explain_rid("x")


async def test_explain_rid_of_a_get(platform: Platform, server: ServerAPI) -> None:
    """What the platform leaves out of a record is empty; a GET has no body."""
    record = {"invoke_time": "1635927298", "cost_in_ms": "30", "response_body": None}
    platform.answer("POST", RID, {"errcode": 0, "errmsg": "ok", "request": record})
    found = await server.explain_rid("61725984-6126f6f9-040f19c4")
    assert (found.request_url, found.request_body, found.response_body, found.client_ip) == ("", "", "", None)
    assert (int(found.invoke_time.timestamp()), found.cost_in_ms) == (1635927298, 30)
