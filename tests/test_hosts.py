"""Which addresses are this machine's own."""

from __future__ import annotations

import pytest

from wxmp._hosts import is_loopback, is_loopback_address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])
def test_addresses_of_this_machine(host: str) -> None:
    """All of 127.0.0.0/8, and the one of IPv6 in any spelling, IPv4 within IPv6 included."""
    assert is_loopback(host)
    assert is_loopback_address(host)


@pytest.mark.parametrize("host", ["", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "127.0.0.1.example", "127.1"])
def test_addresses_of_other_machines(host: str) -> None:
    """Names that look like an address, short spellings, and "all addresses" are not this machine."""
    assert not is_loopback(host)
    assert not is_loopback_address(host)


@pytest.mark.parametrize(("name", "here"), [("localhost", True), ("LocalHost", True), ("shop.localhost", False)])
def test_a_name_is_believed_in_addresses_only(name: str, here: bool) -> None:
    """``localhost`` in an address that somebody has configured; a name that came with a request proves nothing."""
    assert is_loopback(name) is here
    assert not is_loopback_address(name)
