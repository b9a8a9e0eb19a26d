"""A gateway that remembers what it was asked: for the interfaces that the simulator does not have."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs

from wxmp._redact import Secret
from wxmp._request import encode_path, encode_query
from wxmp.pay import PayEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

MCHID = "1900000001"
APPID = "wx0123456789abcdef"


@attrs.frozen
class Asked:
    """One call: the line of the request, and the body with its secrets marked."""

    line: str
    body: Any
    endpoint: PayEndpoint


def marked(value: Any) -> Any:
    """Show what would be enciphered as such."""
    if isinstance(value, Secret):
        return f"enc({value.reveal()})"
    if isinstance(value, dict):
        return {name: marked(item) for name, item in value.items()}
    return [marked(item) for item in value] if isinstance(value, list) else value


class FakeGateway:
    """Answers what it was told to, the last answer for ever; an exception is raised."""

    mchid = MCHID
    appid: str | None = APPID
    notify_url: str | None = "https://shop.example.com/pay"

    def __init__(self, *answers: Any, content: bytes = b"") -> None:
        self.answers = list(answers) or [{}]
        self.asked: list[Asked] = []
        self.content = content

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    async def __call__(
        self,
        endpoint: PayEndpoint,
        *,
        path: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        query = encode_query(params)
        target = encode_path(endpoint.path, path or {}) + (f"?{query}" if query else "")
        body = marked(json)
        if "enc(" in str(body):
            assert endpoint.encrypted, "an enciphered field in a request that names no key"
        self.asked.append(Asked(f"{endpoint.method} {target}", body, endpoint))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def jsapi_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        return {"appId": appid or "", "package": f"prepay_id={prepay_id}"}

    def app_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        return {"appid": appid or "", "prepayid": prepay_id}

    def decrypt(self, text: str) -> str:
        return text.removeprefix("sealed:")

    @asynccontextmanager
    async def download(self, url: str, endpoint: PayEndpoint) -> AsyncIterator[FakeDownload]:
        self.asked.append(Asked(f"{endpoint.method} {url}", None, endpoint))
        yield FakeDownload(self.content)


class FakeDownload:
    """A file that comes in pieces of a few bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.content), 7):
            yield self.content[start : start + 7]


class VirtualTime:
    """A clock that only sleeping moves; ``on_sleep`` is told."""

    def __init__(self, on_sleep: Any = None) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.on_sleep = on_sleep

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self.on_sleep is not None:
            self.on_sleep(seconds)
