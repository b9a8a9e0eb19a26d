"""The interface of the control server as an OpenAPI 3.1 document: for people, and for tools that make clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.control.wire import KINDS, WAIT_MAX
from wxmp.errcodes import DEAD_TOKEN_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOCUMENT"]

_JSON: Final = "application/json"
_APPID: Final = "wx0123456789abcdef"


def _schema(name: str) -> dict[str, object]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(name: str) -> dict[str, object]:
    return {"$ref": f"#/components/responses/{name}"}


def _text(description: str, **more: object) -> dict[str, object]:
    return {"type": "string", "description": description, **more}


def _whole(description: str, least: int | None = 0) -> dict[str, object]:
    bound = {} if least is None else {"minimum": least}
    return {"type": "integer", "description": description, **bound}


def _seconds(description: str, least: float | None = 0) -> dict[str, object]:
    bound = {} if least is None else {"minimum": least}
    return {"type": "number", "description": f"{description}, in seconds", **bound}


def _record(description: str, properties: Mapping[str, object], *, optional: frozenset[str] = frozenset()) -> object:
    """Return the schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _content(schema: object, media_type: str = _JSON) -> dict[str, object]:
    return {media_type: {"schema": schema}}


_MOMENT: Final = {"type": "string", "format": "date-time"}
_SECONDS_TO_WAIT: Final = {
    "Retry-After": {"description": "Seconds, rounded up.", "schema": {"type": "integer", "minimum": 1}}
}

#: The answer to a question for a value, without the value: the access_token and the tickets have it under other names.
_COMMON: Final[Mapping[str, object]] = {
    "appid": _text("The account."),
    "generation": _whole("Of two values the one with the higher generation is the newer.", 1),
    "expires_in": _seconds("What is left of it"),
    "life": _seconds("Its whole life"),
}
_REPLACED: Final[Mapping[str, object]] = {
    "replaced": {
        "type": "boolean",
        "description": "Whether it was replaced because of this request. False: somebody had done it before, or the "
        "platform must not be asked now and the value is still good.",
    }
}


def _value(field: str, description: str, more: Mapping[str, object]) -> object:
    secret = _text("The value. Use it in calls of the platform; never write it down.", minLength=1, format="password")
    return _record(description, {**_COMMON, field: secret, **more})


_CLAIM: Final[Mapping[str, object]] = {
    "type": "object",
    "description": "Which value is dead: either of `dead` and `generation`.",
    "properties": {
        "dead": _text("The value that the platform refused.", minLength=1, maxLength=2048),
        "generation": _whole("The number that came with it.", 1),
        "errcode": _whole(
            f"What the platform answered: one of {', '.join(map(str, sorted(DEAD_TOKEN_CODES)))} for an access_token.",
            None,
        ),
        "path": _text("The path of the refused call, without its query. For the status page."),
        "operator": {
            "type": "boolean",
            "description": "A person wants it replaced although it works, for example because it leaked. The platform "
            "allows that 20 times a day and 30 s apart.",
        },
    },
    "oneOf": [{"required": ["dead"]}, {"required": ["generation"]}],
}

_ERROR_CODES: Final = {
    "bad_request": "400: the request cannot be understood.",
    "unauthorized": "401: no key, or one that is not known.",
    "insecure": "403: it came over plain http from another machine. Change the key that was sent.",
    "forbidden": "403: the key may not ask for that.",
    "not_allowed": "403: the key may not have values replaced.",
    "not_found": "404: no such path, or no such account in the scope of a key for all accounts.",
    "method_not_allowed": "405.",
    "too_large": "413: the body.",
    "too_many": "429: of this key, or of wrong keys from this address.",
    "pending": "503: it is being fetched; ask again.",
    "refused": "503: the platform said no: `errcode`.",
    "budget_spent": "503: values die faster than they may be replaced: `errcode`.",
    "unreachable": "503: the platform gave no usable answer.",
    "store_down": "503: the token store cannot be reached.",
    "broken": "503: the server is not set up for this; its log says why.",
    "internal": "500: the server failed; see its log.",
}

_STATUS_OF_VALUE: Final[Mapping[str, object]] = {
    "appid": _text("The account."),
    "kind": _schema("Kind"),
    "channel": _text("How it is fetched: `stable`, `plain`, `jsapi` or `wx_card`."),
    "store": _text("Where it is shared: `memory`, `file`, `redis`."),
    "store_up": {"type": "boolean", "description": "Whether the store answered the last time."},
    "usable": {"type": "boolean", "description": "Whether there is a value to hand out."},
    "generation": _whole("Generation of the value; 0 without one."),
    "fingerprint": _text("Eight hexadecimal digits to tell two values apart; empty without one."),
    "age": _seconds("Time since it was issued"),
    "seconds_left": _seconds("Time until it ends; 0 without one"),
    "last_error": _text("Class and code of the last failed refresh; empty after a success."),
    "cool_down": _seconds("Time until the platform may be asked again after a failure"),
    "refreshes_today": _whole("New values since midnight in Beijing, as far as this replica has seen."),
    "hand_outs": _whole("Times that this replica has handed it out since its start."),
    "replacements": _whole("Values that were reported dead since its start."),
    "asked_by": {"type": "array", "items": _schema("Asker"), "description": "The latest first."},
    "deaths": {"type": "array", "items": _schema("Death"), "description": "The latest first; at most 50."},
    "another_system": _schema("AnotherSystem"),
    "quota": {
        "description": "Of the token endpoint; null while it is not known. Only for the access_token.",
        "oneOf": [_schema("Quota"), {"type": "null"}],
    },
}

_SCHEMAS: Final[Mapping[str, object]] = {
    "Kind": {"type": "string", "enum": list(KINDS)},
    "AccessToken": _value("access_token", "The access_token (调用凭据).", {}),
    "Ticket": _value("ticket", "The jsapi_ticket or the wx_card_ticket.", {}),
    "ReplacedAccessToken": _value("access_token", "The access_token to use from now on.", _REPLACED),
    "ReplacedTicket": _value("ticket", "The ticket to use from now on.", _REPLACED),
    "Claim": _CLAIM,
    "Error": _record(
        "Why not.",
        {
            "error": _text(
                "\n".join(f"- `{code}` {meaning}" for code, meaning in _ERROR_CODES.items()), enum=list(_ERROR_CODES)
            ),
            "message": _text("The same for people."),
            "errcode": _whole("The platform's code.", None),
            "retry_after": _seconds("When to ask again"),
        },
        optional=frozenset({"errcode", "retry_after"}),
    ),
    "Status": _record(
        "Every value in the scope of the key.",
        {"now": _MOMENT, "values": {"type": "array", "items": _schema("ValueStatus")}},
    ),
    "ValueStatus": _record("One value; never the value itself.", _STATUS_OF_VALUE, optional=frozenset({"quota"})),
    "Asker": _record(
        "Who asked for it.",
        {"key": _text("Name of the key."), "count": _whole("How often.", 1), "last": _MOMENT},
    ),
    "Death": _record(
        "A value that the platform refused before its time.",
        {
            "at": _MOMENT,
            "generation": _whole("Which one.", 1),
            "age": _seconds("How old it was"),
            "left": _seconds("What it had left", None),
            "errcode": _whole("What the platform answered; 0 if nobody said.", None),
            "path": _text("The call that was refused; empty if nobody said."),
            "key": _text("Name of the key that noticed."),
        },
    ),
    "AnotherSystem": _record(
        "Whether another system refreshes this AppID.",
        {
            "suspected": {"type": "boolean", "description": "Values have died that had not been replaced before."},
            "early_deaths_24h": _whole("How many in 24 hours."),
        },
    ),
    "Quota": _record(
        "The quota of the token endpoint.",
        {
            "daily_limit": _whole("Requests of a day."),
            "used": _whole("Used."),
            "left": _whole("Left.", None),
            "at": _MOMENT,
        },
    ),
    "Health": _record(
        "Nothing that anybody should not know.",
        {
            "status": _text("How it is.", enum=["ok", "not ready"]),
            "missing": _whole("Accounts without a usable access_token.", 1),
        },
        optional=frozenset({"missing"}),
    ),
}


def _failing(description: str, *, waits: bool = False) -> dict[str, object]:
    headers: dict[str, object] = {"headers": _SECONDS_TO_WAIT} if waits else {}
    return {"description": description, **headers, "content": _content(_schema("Error"))}


_RESPONSES: Final[Mapping[str, object]] = {
    "BadRequest": _failing("The request cannot be understood."),
    "Unauthorized": _failing("No key, or one that is not known."),
    "Forbidden": _failing("The key may not do that, or the request came over plain http from another machine."),
    "NotFound": _failing("There is no such account or kind."),
    "TooLarge": _failing("The body has more than 64 KiB."),
    "TooMany": _failing("Too many requests of this key, or wrong keys from this address.", waits=True),
    "Unavailable": _failing("There is no value to hand out now. Ask again after `retry_after`.", waits=True),
}

_KEY_ERRORS: Final[dict[str, object]] = {
    "401": _answer("Unauthorized"),
    "403": _answer("Forbidden"),
    "429": _answer("TooMany"),
}
_VALUE_ERRORS: Final[dict[str, object]] = {
    "400": _answer("BadRequest"),
    **_KEY_ERRORS,
    "404": _answer("NotFound"),
    "503": _answer("Unavailable"),
}
_OF_A_VALUE: Final = (
    {
        "name": "appid",
        "in": "path",
        "required": True,
        "description": "The account's AppID.",
        "schema": {"type": "string"},
        "example": _APPID,
    },
    {"name": "kind", "in": "path", "required": True, "description": "Which value.", "schema": _schema("Kind")},
    {
        "name": "wait",
        "in": "query",
        "description": "Longest time to wait for a value that is being fetched, in seconds.",
        "schema": {"type": "number", "minimum": 0, "maximum": WAIT_MAX, "default": WAIT_MAX},
    },
)


def _well(answer: object, errors: Mapping[str, object]) -> dict[str, object]:
    return {"200": answer, **errors}


def _page_file(media_types: tuple[str, ...], *, missing: bool = False) -> dict[str, object]:
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    answers: dict[str, object] = {
        "200": {"description": "The file.", "content": content},
        "403": _answer("Forbidden"),
    }
    return {**answers, "404": _answer("NotFound")} if missing else answers


#: Path -> method -> operation. The summaries are those of the table of routes, which a test compares with this.
_PATHS: Final[Mapping[str, Mapping[str, object]]] = {
    "/v1/accounts/{appid}/{kind}": {
        "get": {
            "operationId": "getValue",
            "summary": "The current access_token or ticket.",
            "description": "Ask at most every 30 seconds and use the value meanwhile, to `expires_in` at the longest.",
            "tags": ["values"],
            "parameters": _OF_A_VALUE,
            "security": [{"key": []}],
            "responses": {
                "200": {
                    "description": "The value.",
                    "content": _content({"oneOf": [_schema("AccessToken"), _schema("Ticket")]}),
                },
                **_VALUE_ERRORS,
            },
        }
    },
    "/v1/accounts/{appid}/{kind}/replace": {
        "post": {
            "operationId": "replaceValue",
            "summary": "Replace a value that is dead.",
            "description": "Compare and swap: if it is no longer the current value, the current one is the answer, at "
            "once. Otherwise the server replaces it, once, however many ask. Say so when the platform answers 40001, "
            "40014 or 42001; then repeat the call once with the new value.",
            "tags": ["values"],
            "parameters": _OF_A_VALUE,
            "requestBody": {"required": True, "content": _content(_schema("Claim"))},
            "security": [{"key": []}],
            "responses": {
                "200": {
                    "description": "The value to use from now on.",
                    "content": _content({"oneOf": [_schema("ReplacedAccessToken"), _schema("ReplacedTicket")]}),
                },
                **_VALUE_ERRORS,
                "413": _answer("TooLarge"),
            },
        }
    },
    "/v1/status": {
        "get": {
            "operationId": "getStatus",
            "summary": "What happened to each value; never a value.",
            "description": "For keys that may see the status. Of several replicas each tells what it has seen itself.",
            "tags": ["operation"],
            "security": [{"key": []}],
            "responses": _well({"description": "The status.", "content": _content(_schema("Status"))}, _KEY_ERRORS),
        }
    },
    "/metrics": {
        "get": {
            "operationId": "getMetrics",
            "summary": "Metrics in the text format of Prometheus.",
            "description": "For keys that may see the status; on the server's own machine without a key.",
            "tags": ["operation"],
            "security": [{"key": []}, {}],
            "responses": _well(
                {"description": "The metrics.", "content": _content({"type": "string"}, "text/plain")}, _KEY_ERRORS
            ),
        }
    },
    "/healthz": {
        "get": {
            "operationId": "getHealth",
            "summary": "Whether the process lives.",
            "tags": ["operation"],
            "security": [],
            "responses": {"200": {"description": "It does.", "content": _content(_schema("Health"))}},
        }
    },
    "/readyz": {
        "get": {
            "operationId": "getReadiness",
            "summary": "Whether every account has a usable access_token.",
            "tags": ["operation"],
            "security": [],
            "responses": {
                "200": {"description": "It has.", "content": _content(_schema("Health"))},
                "503": {"description": "It has not.", "content": _content(_schema("Health"))},
            },
        }
    },
    "/openapi.json": {
        "get": {
            "operationId": "getDescription",
            "summary": "This description.",
            "tags": ["operation"],
            "security": [],
            "responses": {
                "200": {"description": "OpenAPI 3.1.", "content": _content({"type": "object"})},
                "403": _answer("Forbidden"),
            },
        }
    },
    "/": {
        "get": {
            "operationId": "getPage",
            "summary": "The status page.",
            "tags": ["page"],
            "security": [],
            "responses": _page_file(("text/html",)),
        }
    },
    "/page/{file}": {
        "get": {
            "operationId": "getPageFile",
            "summary": "A file of the status page.",
            "tags": ["page"],
            "parameters": [
                {
                    "name": "file",
                    "in": "path",
                    "required": True,
                    "description": "Its name.",
                    "schema": {"type": "string"},
                    "example": "page.js",
                }
            ],
            "security": [],
            "responses": _page_file(("text/css", "text/javascript", "image/svg+xml"), missing=True),
        }
    },
}

#: The document. Its addresses are relative to where it is found, so that it holds wherever the server is mounted.
DOCUMENT: Final[Mapping[str, object]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "wxmp control server (中控服务器)",
        "version": "1",
        "description": "Keeps the access_token and the tickets of WeChat Official Accounts fresh, and hands them to "
        "services in any language. Over TLS or on the same machine only; every answer is `Cache-Control: no-store`.",
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [{"url": "."}],
    "tags": [
        {"name": "values", "description": "What services ask for."},
        {"name": "operation", "description": "For whoever runs the server."},
        {"name": "page", "description": "For people."},
    ],
    "paths": _PATHS,
    "components": {
        "schemas": _SCHEMAS,
        "responses": _RESPONSES,
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "A key of this server: wxck_<id>_<secret>."}
        },
    },
}
