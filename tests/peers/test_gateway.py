"""The way to the simulator that the peers take."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.peers.gateway import HOSTS, Authority, Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.simulator import Simulator


@pytest.fixture
def way(simulator: Simulator, authority: Authority) -> Iterator[Gateway]:
    """A gateway whose refusals are looked at, not forbidden."""
    with Gateway(simulator.url, authority) as running:
        yield running


@pytest.fixture
def http(way: Gateway) -> Iterator[httpx.Client]:
    """A client with the gateway's settings and no others."""
    context = ssl.create_default_context(cafile=way.environment["SSL_CERT_FILE"])
    with httpx.Client(proxy=way.environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=5) as client:
        yield client


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_of_the_platform_are_the_simulator(http: httpx.Client, way: Gateway, host: str) -> None:
    """Over TLS, under its real name, each host of the platform is answered by the simulator."""
    answer = http.get(f"https://{host}/no/such/path")
    assert way.reached == {host}
    assert answer.status_code == 404 or "errcode" in answer.json()


def test_plain_http_reaches_it_too(http: httpx.Client) -> None:
    """WeRoBot has one address without TLS."""
    answer = http.get("http://api.weixin.qq.com/cgi-bin/getcallbackip", params={"access_token": "x"})
    assert answer.json()["errcode"] == 40014


def test_many_requests_share_a_connection(http: httpx.Client) -> None:
    """A connection stays open for the next request, as the platform's do."""
    for _ in range(5):
        assert http.get("https://api.weixin.qq.com/cgi-bin/getcallbackip").json()["errcode"] == 41001


def test_nothing_else_can_be_reached(http: httpx.Client, way: Gateway) -> None:
    """A peer that asks for another host gets nowhere, and the test learns of it."""
    with pytest.raises(httpx.ProxyError):
        http.get("https://example.com/")
    assert http.get("http://example.org/").status_code == 403
    assert way.refused == ["example.com", "example.org"]


def test_certificates_are_worth_nothing_elsewhere(way: Gateway) -> None:
    """Only who reads this run's bundle trusts the hosts."""
    with (
        httpx.Client(proxy=way.environment["HTTPS_PROXY"], trust_env=False, timeout=5) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get("https://api.weixin.qq.com/")
