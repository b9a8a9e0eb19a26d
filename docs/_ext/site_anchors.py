"""Puts the numbers of the error catalogue into the index of the search, which leaves numbers out otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ANCHOR: Final = re.compile(r'<a id="([^"]+)">')


def enter(app: Sphinx, doctree: nodes.document) -> None:
    """Make an entry for each anchor of the page. The printed index has been made by now, and stays free of them.

    The search cannot look for an anchor that begins with a digit, so that the row it stands in gets a second name. What
    is in the row is what the search then shows.
    """
    names: list[str] = []
    for node in list(doctree.findall(nodes.raw)):
        found = _ANCHOR.findall(node.astext())
        row = node.parent
        while row is not None and not isinstance(row, nodes.row):
            row = row.parent
        if found and row is not None:
            names += found
            row["ids"].append(f"code-{found[0]}")
    if names:
        entries = [("single", name, f"code-{name}", "main", None) for name in names]
        doctree.append(addnodes.index(entries=entries))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook, after the index's own."""
    app.connect("doctree-read", enter, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
