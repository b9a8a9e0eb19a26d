"""What a page says of itself outside the page: in a list of search results, and beside the other SDK's program."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: What search engines show of a description, and not much more.
_LENGTH: Final = 160
_PEER: Final = re.compile(r"^(?:from|import) (wechatpy|werobot)\b", re.MULTILINE)


def describe(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Make the first paragraph of a page its description."""
    found = (
        []
        if doctree is None
        else [
            node for node in doctree.findall(nodes.paragraph) if node.astext().strip()
        ]
    )
    if found:
        first = next(
            (node for node in found if isinstance(node.parent, nodes.section)), found[0]
        )
        text = " ".join(first.astext().split())
        short = text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…"
        context["metatags"] += f'<meta name="description" content="{escape(short)}">\n'


def take_sides(app: Sphinx, doctree: nodes.document) -> None:
    """Where programs of other SDKs stand before ours, say whose each is."""
    blocks = [
        block
        for block in doctree.findall(nodes.literal_block)
        if block.get("language") == "python"
    ]
    if any(_PEER.search(block.astext()) for block in blocks):
        for block in blocks:
            found = _PEER.search(block.astext())
            block["classes"].append(f"of-{found[1] if found else 'wxmp'}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("html-page-context", describe)
    app.connect("doctree-read", take_sides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
