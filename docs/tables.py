"""Writes the pages of ``docs/`` that repeat tables of the code: ``make docs-tables``.

What a call is named and titled is read from the code, and whether the simulator answers it from the simulator. Who may
call an endpoint, and whether it is still maintained, is a fact about the platform: ``tests/api/endpoints.toml``, by
which every call is tested.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from wxmp import Client  # noqa: E402
from wxmp._caller import Endpoint  # noqa: E402
from wxmp.simulator.families import ROUTES  # noqa: E402
from wxmp.simulator.fidelity import as_markdown  # noqa: E402

FACTS: Final[dict[str, dict[str, Any]]] = tomllib.loads((ROOT / "tests/api/endpoints.toml").read_text(encoding="utf-8"))

ACCOUNTS: Final = {
    "all": "every account",
    "verified": "verified",
    "service": "verified service account",
    "comments": "verified, comments switched on",
    "publishing": "verified; any service account",
    "traffic": "traffic owner (流量主)",
}

HEAD: Final = """\
# Every endpoint

Written by `make docs-tables` from the code; do not edit by hand.

The platform has {current} current endpoints and answers {others} more that it calls deprecated or no longer maintained.
Each has a typed call here. A test makes every one of them with as little and with as much as it takes, and compares
what goes over the wire, and what is read from the answer, field by field with a list of what is documented
(`tests/api/test_every_endpoint.py`, `tests/api/endpoints.toml`).

- **call** is an attribute of the client: `await client.menu.create(...)`. In brackets what shares the endpoint: an
  iterator over all pages (`async for`), a stream (`async with`), or the bare address. The records of a family are in
  the module of its name, `from wxmp.api.menu import MenuButton`; those of articles in `wxmp.api.articles`.
- **who** may call it; others get 48001 (`NotAuthorizedError`). "Verified" is an account of either kind that is
  verified (已认证).
- **again**: whether a call is repeated by itself when nobody knows if it arrived. "By key": each call carries a
  de-duplication key, so that a repeat does nothing.
- **tier**: "core" is what nearly every account needs, "standard" what a complete SDK has, "extended" all the rest.
  "Unmaintained" and "deprecated" are the platform's words; the docstring names what took their place.
- **simulated**: whether the local simulator answers it; how truly says [simulator-coverage.md](simulator-coverage.md).

## What has no name here

Retired and very special endpoints (coupons, old stores, shake-around and so on) have no coroutine. `client.request`
calls them with token, retries and errors like every other:

```python
{example}```

`repeatable=True` belongs to calls that only read. An endpoint that takes files gets them as `files=[FilePart(...)]`.
"""

EXAMPLE: Final = """\
import asyncio

from wxmp import Client
from wxmp.simulator import Policy, Simulator


async def main(url: str, appid: str, secret: str) -> None:
    async with Client(appid, secret, base_url=url) as client:
        # The stores of before 2018 (门店, 查询门店列表).
        page = {"begin": 0, "limit": 20}
        reply = await client.request("POST", "/cgi-bin/poi/getpoilist", json=page, repeatable=True)
        print(reply.get("business_list", []))


# The simulator has no stores. It is told to answer "ok" to what it does not know.
with Simulator(policy=Policy(strict_paths=False)) as simulator:
    asyncio.run(main(simulator.url, simulator.account.appid, simulator.account.secret))
    assert simulator.journal[-1].path == "/cgi-bin/poi/getpoilist"
"""

TABLE: Final = "| call | title | endpoint | who | again | tier | simulated |\n|---|---|---|---|---|---|---|\n"

#: Where no family's coroutine stands for an endpoint: the call, its official title.
BY_ITSELF: Final = {
    "client.token (plain)": ('`token()` with `token_channel="plain"`', "获取接口调用凭据"),
    "client.token (stable)": ("`token()`, `refresh_token()`", "获取稳定版接口调用凭据"),
}

#: Sends that are repeated because each carries a key of its own; a test holds this against what they do.
BY_KEY: Final = frozenset({"mass.send", "mass.send_all", "template.send"})

_SOURCE: Final = re.compile(r"^\s*((?:GET|POST) \S+) - (.+)$", re.MULTILINE)


def families() -> dict[str, type]:
    """Return the classes of the families under the names that the client gives them."""
    found = {}
    for name, value in vars(Client).items():
        if isinstance(value, cached_property) and name != "broadcast":  # made of families, and none itself
            room = vars(importlib.import_module(f"wxmp.api.{name}"))
            (found[name],) = [item for key, item in room.items() if key.lower() == f"{name}api"]
    return found


def calls(family: type) -> dict[str, tuple[str, str]]:
    """Return the source line and the official title of each method that calls an endpoint."""
    found = {}
    for name, method in vars(family).items():
        source = _SOURCE.search((inspect.getdoc(method) or "").partition("Source:")[2])
        if inspect.isfunction(method) and not name.startswith("_") and source is not None:
            found[name] = (source[1], source[2].rpartition(" / ")[2].strip())
    return found


def again(family: str, name: str) -> str:
    """Say whether a call is repeated, in a word."""
    if f"{family}.{name}" in BY_KEY:
        return "by key"
    endpoint = vars(importlib.import_module(f"wxmp.api.{family}")).get(name.upper())
    return "no" if isinstance(endpoint, Endpoint) and not endpoint.repeatable else "yes"


def row(cell: str, title: str, fact: dict[str, Any], repeat: str) -> str:
    """Return one line of a table."""
    line = fact["line"]
    method, _, path = line.partition(" ")
    routes = {(route.method, route.path) for route in ROUTES}
    simulated = "yes" if (method, path.partition("?")[0]) in routes else "no"
    who = ACCOUNTS[fact.get("accounts", "all")]
    tier = ", ".join([fact["tier"], *([fact["status"]] if "status" in fact else [])])
    return f"| {cell} | {title} | `{line}` | {who} | {repeat} | {tier} | {simulated} |\n"


def endpoints_page() -> str:
    """Return ``docs/endpoints.md``."""
    current = sum("status" not in fact for fact in FACTS.values())
    parts = [HEAD.format(current=current, others=len(FACTS) - current, example=EXAMPLE)]
    own = "".join(row(cell, title, FACTS[call], "yes") for call, (cell, title) in BY_ITSELF.items())
    parts.append(f"## The token (调用凭据): `client`\n\n{TABLE}{own}")
    for family, cls in families().items():
        found = calls(cls)
        rows = []
        for name, (line, title) in found.items():
            fact = FACTS.get(f"{family}.{name}")
            if fact is None:
                continue
            beside = [f"`{other}`" for other, (source, _) in found.items() if source == line and other != name]
            cell = f"`{name}`" + (f" ({', '.join(beside)})" if beside else "")
            rows.append(row(cell, title, fact, again(family, name)))
        about = (vars(Client)[family].__doc__ or "").rstrip(".")
        parts.append(f"## {about}: `client.{family}`\n\n{TABLE}{''.join(rows)}")
    return "\n".join(parts)


PAGES: Final = {"simulator-coverage.md": as_markdown, "endpoints.md": endpoints_page}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
