"""The description of the interface: it describes the routes that there are, and the answers that come."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from wxmp.control import ControlKey
from wxmp.control.openapi import DOCUMENT
from wxmp.control.server import ROUTES
from wxmp.control.web import STATUS
from wxmp.control.wire import BODY_MAX, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.control.conftest import House

DOC: Any = DOCUMENT
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
#: What this file's validator understands. A word it does not know fails: it would be a promise that nobody checks.
WORDS = {
    *("$ref", "type", "enum", "oneOf", "properties", "required", "additionalProperties", "items", "minimum", "maximum"),
    *("minLength", "maxLength", "format", "description", "default"),
}


def resolve(thing: Any) -> Any:
    """Follow a reference."""
    while isinstance(thing, dict) and "$ref" in thing:
        found = DOC
        for step in thing["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        thing = found
    return thing


def errors(value: Any, schema: Any, where: str = "") -> Iterator[str]:
    """Yield what in a value is not as the schema says."""
    schema = resolve(schema)
    assert set(schema) <= WORDS, set(schema) - WORDS
    if "oneOf" in schema:
        fits = [choice for choice in schema["oneOf"] if not list(errors(value, choice, where))]
        if len(fits) != 1:
            yield f"{where} fits {len(fits)} of {len(schema['oneOf'])} choices"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}"
    if "type" in schema and (
        not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        yield f"{where} is no {schema['type']}"
        return
    if isinstance(value, dict):
        yield from errors_of_object(value, schema, where)
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from errors(item, schema["items"], f"{where}[{at}]")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where} is {value}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{where} has {len(value)} characters"
        if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
            yield f"{where} has no time zone"


def errors_of_object(value: dict[str, Any], schema: Any, where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}.{name} is missing"
    for name, item in value.items():
        if name in properties:
            yield from errors(item, properties[name], f"{where}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{where}.{name} is not described"


def operation(method: str, path: str) -> Any:
    return DOC["paths"][path][method.lower()]


def check(answer: httpx.Response, method: str, path: str) -> Any:
    """See that an answer is one of those that are described for the operation; return its body."""
    described = operation(method, path)["responses"]
    assert str(answer.status_code) in described, answer.text
    response = resolve(described[str(answer.status_code)])
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][media_type]["schema"]
    for name in response.get("headers", {}):
        assert name.lower() in answer.headers
    body = answer.json() if media_type == "application/json" else answer.text
    assert list(errors(body, schema, "$")) == []
    return body


# ---- the document


def test_every_route_is_described_and_nothing_else() -> None:
    """Routes and paths are the same, with the same words and the same keys."""
    described = {(method.upper(), path) for path, methods in DOC["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        said = operation(route.method, route.path)
        assert said["summary"] == route.summary
        wanted = {"none": [], "key": [{"key": []}], "status": [{"key": []}], "local": [{"key": []}, {}]}
        assert said["security"] == wanted[route.auth], route
        assert ("401" in said["responses"]) == (route.auth != "none")
        assert ("403" in said["responses"]) == (not route.open)


def test_places_of_a_path_are_described() -> None:
    """Each ``{place}`` is a parameter, and each parameter of a path is a place."""
    for path, methods in DOC["paths"].items():
        for said in methods.values():
            names = {item["name"] for item in said.get("parameters", ()) if item["in"] == "path"}
            assert names == set(re.findall(r"\{(\w+)\}", path))


def test_it_is_a_document_of_its_kind() -> None:
    """Version, title, unique names of operations; every reference leads somewhere, every schema can be checked."""
    assert DOC["openapi"].startswith("3.1.")
    assert DOC["info"]["title"]
    assert DOC["info"]["version"]
    names = [said["operationId"] for methods in DOC["paths"].values() for said in methods.values()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in DOC["tags"]}
    found: set[str] = set()

    def walk(thing: Any) -> None:
        if isinstance(thing, dict):
            if "$ref" in thing:
                assert resolve(thing)
                found.add(thing["$ref"])
            for item in thing.values():
                walk(item)
        elif isinstance(thing, list | tuple):
            for item in thing:
                walk(item)

    walk(DOC)
    assert {said for methods in DOC["paths"].values() for item in methods.values() for said in item["tags"]} <= tags
    components = DOC["components"]
    parts = [(kind, name) for kind in ("schemas", "responses") for name in components[kind]]
    assert {f"#/components/{kind}/{name}" for kind, name in parts} == found
    for schema in components["schemas"].values():
        list(errors({}, schema))


def test_all_error_codes_are_described() -> None:
    """The description knows every ``error`` and its HTTP status, and no others."""
    said = DOC["components"]["schemas"]["Error"]["properties"]["error"]
    assert sorted(said["enum"]) == sorted(STATUS)
    for code, status in STATUS.items():
        assert f"`{code}` {status}" in said["description"]
    assert f"{BODY_MAX // 1024} KiB" in DOC["components"]["responses"]["TooLarge"]["description"]
    assert DOC["components"]["schemas"]["Kind"]["enum"] == list(KINDS)


def test_the_validator_sees_mistakes() -> None:
    """A missing field, a foreign one and a wrong type are found: the checks below can fail."""
    schema = {"$ref": "#/components/schemas/AccessToken"}
    good = {"appid": "wx1", "access_token": "t", "generation": 1, "expires_in": 1.5, "life": 7200}
    assert list(errors(good, schema)) == []
    for bad in (
        {**good, "secret": "x"},
        {**good, "generation": 0},
        {**good, "generation": True},
        {**good, "life": "7200"},
        {key: value for key, value in good.items() if key != "appid"},
    ):
        assert list(errors(bad, schema))


# ---- real answers


async def test_it_is_served(house: House) -> None:
    """The server gives the document to anybody, as JSON."""
    answer = await house.http("").get("/openapi.json")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert check(answer, "GET", "/openapi.json")["openapi"] == DOC["openapi"]
    assert house.appid not in answer.text


@pytest.mark.parametrize("kind", KINDS)
async def test_values_are_as_described(house: House, kind: str) -> None:
    """What is handed out, and what replaces it, fits its schema."""
    path = "/v1/accounts/{appid}/{kind}"
    address = path.format(appid=house.appid, kind=kind)
    found = check(await house.http().get(address), "GET", path)
    said = {"generation": found["generation"], "errcode": 40001, "path": "/cgi-bin/user/get"}
    assert list(errors(said, {"$ref": "#/components/schemas/Claim"})) == []
    answer = await house.http().post(f"{address}/replace", json=said)
    assert check(answer, "POST", f"{path}/replace")["replaced"] is True


async def test_the_status_is_as_described(house: House) -> None:
    """The status fits its schema: with and without a value, a quota, deaths and askers."""
    fits = []
    for _ in range(2):
        fits.append(check(await house.http().get("/v1/status"), "GET", "/v1/status"))
        first = await house.value()
        await house.claim(generation=first["generation"], errcode=40001, path="/cgi-bin/user/get")
        await house.value("jsapi_ticket")
    async with asyncio.timeout(30):
        while not (known := (await house.http().get("/v1/status")).json()["values"][0])["quota"]:
            await asyncio.sleep(0.02)
    body = check(await house.http().get("/v1/status"), "GET", "/v1/status")
    assert fits[0]["values"][0]["deaths"] == []
    assert known["quota"]["daily_limit"] > 0
    assert len(body["values"]) == 2
    assert body["values"][0]["deaths"]
    assert body["values"][0]["asked_by"]


async def test_refusals_are_as_described(house: House) -> None:
    """Each refusal fits the schema of errors and is described for its operation."""
    path, appid = "/v1/accounts/{appid}/{kind}", house.appid
    address = path.format(appid=appid, kind="access_token")
    reader, text = ControlKey.create("reader", appids={"wx-none"}, may_replace=False, per_minute=3)
    seer, anywhere = ControlKey.create("seer", appids="*", may_replace=False)
    house.server.use_keys([house.key, reader, seer])
    refused = [
        (await house.http("").get(address), "GET", path),
        (await house.http("", peer="10.0.0.9").get(address), "GET", path),
        (await house.http(text).get(address), "GET", path),
        (await house.http(anywhere).get("/v1/accounts/wx-none/access_token"), "GET", path),
        (await house.http().get(address, params={"wait": "no"}), "GET", path),
        (await house.http(anywhere).post(f"{address}/replace", json={"generation": 1}), "POST", f"{path}/replace"),
        (await house.http().post(f"{address}/replace", content=b"x" * (BODY_MAX + 1)), "POST", f"{path}/replace"),
        (await house.http(text).get("/v1/status"), "GET", "/v1/status"),
        (await house.http(text).get("/metrics"), "GET", "/metrics"),
        (await house.http(text).get("/metrics"), "GET", "/metrics"),
        (await house.http("").get("/page/secrets.txt"), "GET", "/page/{file}"),
        (await house.http("", peer="10.0.0.9").get("/"), "GET", "/"),
    ]
    codes = [check(*each)["error"] for each in refused]
    assert codes == [
        *("unauthorized", "insecure", "forbidden", "not_found", "bad_request", "not_allowed", "too_large"),
        *("forbidden", "forbidden", "too_many", "not_found", "insecure"),
    ]


async def test_no_value_is_as_described(house: House) -> None:
    """When there is nothing to hand out, code, errcode and time to wait are where they should be."""
    house.simulator.fault("errcode", "/cgi-bin/stable_token", errcode=40164)
    path = "/v1/accounts/{appid}/{kind}"
    answer = await house.http().get(path.format(appid=house.appid, kind="access_token"))
    body = check(answer, "GET", path)
    assert (body["error"], body["errcode"]) == ("refused", 40164)
    assert int(answer.headers["retry-after"]) >= body["retry_after"]
    assert check(await house.http("").get("/readyz"), "GET", "/readyz")["missing"] == 1


async def test_the_rest_is_as_described(house: House) -> None:
    """Health, metrics and the files of the page have the types that are named."""
    await house.value()
    assert check(await house.http("").get("/healthz"), "GET", "/healthz") == {"status": "ok"}
    assert check(await house.http("").get("/readyz"), "GET", "/readyz") == {"status": "ok"}
    assert "wxmp_control_usable" in check(await house.http("").get("/metrics"), "GET", "/metrics")
    assert "<!DOCTYPE html>" in check(await house.http("").get("/"), "GET", "/")
    for file in ("page.js", "style.css", "icon.svg"):
        assert check(await house.http("").get(f"/page/{file}"), "GET", "/page/{file}")
