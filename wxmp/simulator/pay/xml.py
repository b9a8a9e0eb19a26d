"""The flat XML of v2: written with CDATA, read without DOCTYPE or entities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.simulator.answers import BrokenReply, read_xml
from wxmp.simulator.payload import FORBIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_flat", "write_xml"]


def write_xml(fields: Mapping[str, str], *, root: str = "xml") -> bytes:
    """Write fields as a flat element; a closing bracket inside a text travels in two sections."""
    inner = "".join(
        f"<{name}><![CDATA[{FORBIDDEN.sub('', value).replace(']]>', ']]]]><![CDATA[>')}]]></{name}>"
        for name, value in fields.items()
    )
    return f"<{root}>{inner}</{root}>".encode()


def read_flat(body: bytes) -> dict[str, str]:
    """Read a flat element.

    Raises:
        BrokenReply: No well-formed XML, a DOCTYPE, an element twice, or elements inside elements.
    """
    found = read_xml(body)
    for name, value in found.items():
        if not isinstance(value, str):
            raise BrokenReply(f"the element {name[:40]!r} occurs twice or holds elements")
    return {name: str(value) for name, value in found.items()}
