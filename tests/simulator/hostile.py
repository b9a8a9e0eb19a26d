"""Values that nobody expects, every place to put them, and a world to try them on."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from wxmp.simulator import Clock, Request, World

if TYPE_CHECKING:
    from collections.abc import Iterator

CLICK = {"type": "click", "name": "x", "key": "K"}
HOSTILE: list[Any] = [
    *(None, True, 0, -1, 2**70, -(2**70), 1.5, "", "x", "\x00", "\ud800", "9" * 30, "²", "http://[", "字" * 3000),
    *([], {}, [[]], [{}], [None], {"x": []}, {"value": {}}, [1], ["x", 1]),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a JSON document, the document's own included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*path, key))


def spoil(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with one value replaced."""
    if not path:
        return value
    spoilt = copy.deepcopy(body)
    target = spoilt
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return spoilt


def lively_world() -> tuple[World, str, dict[str, str]]:
    """Make a world with a token, users, a menu, a template, a tag; return the words that stand for its ids."""
    world = World(clock=Clock.frozen(), seed=3)
    openid = world.create_followers(2)[0]
    account = world.account
    account.menu = [{**CLICK, "sub_button": []}]
    account.callback_url, account.kf_accounts = "http://localhost/", ["k"]
    world.handle(Request("POST", "/cgi-bin/nothing"))
    query = {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}
    token = world.handle(Request("GET", "/cgi-bin/token", query)).json()["access_token"]
    words = {"<user>": openid, "<template>": world.add_template("t", "{{thing1.DATA}}")}
    world.handle(Request("POST", "/cgi-bin/tags/create", {"access_token": str(token)}, b'{"tag":{"name":"tag"}}'))
    return world, str(token), words


def spoilt_bodies(goods: list[dict[str, Any]], words: dict[str, str]) -> Iterator[bytes]:
    """Yield each good body with real ids for its words, then with each of its values replaced by each hostile one."""
    for good in goods:
        text = json.dumps(good)
        for word, real in words.items():
            text = text.replace(word, real)
        body = json.loads(text)
        yield text.encode()
        for place in places(body):
            for value in HOSTILE:
                yield json.dumps(spoil(body, place, value)).encode()
