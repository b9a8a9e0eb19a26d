"""What a family of endpoints is made of: routes, and the call a handler receives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from wxmp.simulator.hosts import Host
from wxmp.simulator.state import Account
from wxmp.simulator.wire import Form, JsonObject, Refusal, Reply, Request, as_list, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp.simulator.state import User
    from wxmp.simulator.world import World  # noqa: TC004  (a cycle at run time; nothing resolves the hints of Call)

__all__ = ["OK", "Call", "Dialect", "Handler", "Route", "RouteTable", "Trouble"]

Takes = Literal["json", "form", "raw", "none"]
NO_FORM = Form()
NO_PARTS: Mapping[str, str] = MappingProxyType({})
PATH_PART = re.compile(r"\\?\{([a-z_]+)\\?\}")


@attrs.define
class Call:
    """One request on its way through a handler: the world, the account it concerns, and its parsed body."""

    world: World
    request: Request
    now: float
    account: Account | None = None
    body: JsonObject = attrs.field(factory=dict[str, object], repr=False)
    form: Form = attrs.field(default=NO_FORM, repr=False)
    path: Mapping[str, str] = NO_PARTS
    why: str = ""
    bug: str = ""

    @property
    def owner(self) -> Account:
        """The account of the token; for handlers behind a token check."""
        if self.account is None:
            raise Refusal(40013, "no account is known for this call")
        return self.account

    def query(self, name: str) -> str:
        """Return a query parameter, or an empty text."""
        return self.request.query.get(name, "")

    def text(self, name: str, source: JsonObject | None = None) -> str:
        """Return a text field of the body (or of ``source``), or an empty text when it is missing or no text."""
        value = (self.body if source is None else source).get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str, source: JsonObject | None = None) -> int | None:
        """Return a whole number of the body (or of ``source``); digits in a text count."""
        return whole_number((self.body if source is None else source).get(name))

    def part(self, name: str, source: JsonObject | None = None) -> JsonObject:
        """Return an object field; missing or of another type is refused with 47001."""
        found = as_object((self.body if source is None else source).get(name))
        if found is None:
            raise Refusal(47001, f"the field {name!r} is not an object")
        return found

    def items(self, name: str, source: JsonObject | None = None) -> Sequence[object]:
        """Return an array field; missing or of another type is refused with 47001."""
        found = as_list((self.body if source is None else source).get(name))
        if found is None:
            raise Refusal(47001, f"the field {name!r} is not an array")
        return found

    def openids(self, limit: int, *, empty: int = 40031) -> list[str]:
        """Return the field ``openid_list``: too long is 40032, empty or odd is ``empty``."""
        found = [item for item in self.items("openid_list") if isinstance(item, str) and item]
        if len(found) > limit:
            raise Refusal(40032, f"{len(found)} openids, at most {limit} are allowed")
        if not found or len(found) != len(self.items("openid_list")):
            raise Refusal(empty, "openid_list is empty or holds something that is no text")
        return found

    def user(self, openid: str) -> User:
        """Return a user the account knows, or refuse: 40003, and 49003 for another account's openid."""
        return self.world.known_user(self.owner, openid)


Handler: TypeAlias = Callable[[Call], "JsonObject | Reply"]


@attrs.frozen
class Route:
    """One endpoint.

    Attributes:
        method: The HTTP verb it wants.
        path: Its path; parts in braces match anything up to the next slash.
        handler: What answers.
        auth: ``"token"``: the access token is checked first. ``"none"``: the handler checks what there is.
        accounts: Who may call; others get 48001.
        host: Which of the platform's hosts serves it.
        style: How answers are labelled; see the wire habits in :class:`~wxmp.simulator.policy.Policy`.
        takes: How the body is read before the handler runs; ``None``: JSON of a POST, nothing of a GET.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    auth: Literal["token", "none"] = "token"
    accounts: Literal["all", "verified", "service_verified"] = "verified"
    host: Host = "api"
    style: Literal["json", "sns", "binary", "page"] = "json"
    takes: Takes | None = None

    @property
    def body(self) -> Takes:
        """How the body is read."""
        if self.takes is not None:
            return self.takes
        return "json" if self.method == "POST" else "none"

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What a path with parts in braces matches; ``None`` for an exact one."""
        if "{" not in self.path:
            return None
        return re.compile(PATH_PART.sub(r"(?P<\1>[^/]+)", re.escape(self.path)))


Found: TypeAlias = "tuple[Route, Mapping[str, str]]"


class RouteTable:
    """All endpoints, found by their paths.

    Args:
        routes: The endpoints. A path with parts in braces begins with a plain part.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, list[Found]] = {}
        # By first part and number of parts: only few patterns are ever tried.
        self._patterns: dict[tuple[str, int], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            pattern = route.pattern
            if pattern is None:
                self._exact.setdefault(route.path, []).append((route, NO_PARTS))
            else:
                self._patterns.setdefault(pattern_key(route.path), []).append((pattern, route))

    def __contains__(self, path: str) -> bool:
        return path in self._exact

    def find(self, path: str, host: str = "") -> list[Found]:
        """Return the endpoints of a path, one for each verb, with the parts of the path; exact paths win.

        Args:
            path: The path.
            host: The host that is meant; an empty text for any.
        """
        exact = self._exact.get(path)
        if exact is not None:
            if not host:
                return exact
            served = [found for found in exact if found[0].host == host]
            if served:
                return served
        return [
            (route, match.groupdict())
            for pattern, route in self._patterns.get(pattern_key(path), ())
            if (not host or route.host == host) and (match := pattern.fullmatch(path)) is not None
        ]


def pattern_key(path: str) -> tuple[str, int]:
    """Return the first part of a path and the number of its slashes."""
    return path[1:].partition("/")[0], path.count("/")


@attrs.frozen
class Trouble:
    """A failure that some part of the platform has to put in its own words.

    Attributes:
        kind: ``"busy"``; ``"limited"``: too many calls; ``"refused"``: any other code; ``"broken"``: a bug of the
            simulator.
        why: The reason for the journal.
        errcode: The code on the ordinary hosts.
        code: The code of WeChat Pay, where a test has named one.
    """

    kind: Literal["busy", "limited", "refused", "broken"]
    why: str
    errcode: int = -1
    code: str = ""


@attrs.frozen
class Dialect:
    """A part of the platform that answers in a form of its own, even where there is no endpoint.

    Attributes:
        host: Its host.
        prefix: What its paths begin with; of several the longest counts. ``"/"``: every path of the host, once a
            request has named the host.
        nowhere: Answers where no endpoint does; the second argument is the verb that is wanted, empty for an unknown
            path.
        trouble: Writes a failure.
    """

    host: Host
    prefix: str
    nowhere: Callable[[Call, str], Reply]
    trouble: Callable[[Call, Trouble], Reply]

    def serves(self, host: str, path: str) -> bool:
        """Tell whether a request is for this part."""
        return path.startswith(self.prefix) and (host == self.host or (not host and self.prefix != "/"))


def OK() -> JsonObject:  # noqa: N802  (reads as the constant it would be, were dicts immutable)
    """Return the plain success answer."""
    return {"errcode": 0, "errmsg": "ok"}
