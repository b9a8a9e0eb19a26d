"""Links that the site's pages cannot follow as they stand.

The sources read well on GitHub: a link names a file, relative to the page. In the site

- a file outside the pages (a test, a benchmark, an example) becomes its address in the repository,
- an English page linked from a Chinese one becomes its address in the English site,
- an anchor written as ``<a id="...">`` is an address too, which MyST does not know.

A link to a file that does not exist is a warning, and so the end of the build.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_DOCS: Final = Path(__file__).parents[1]
_ROOT: Final = _DOCS.parent
_LINK: Final = re.compile(r"(?<!!)(\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
_FENCE: Final = re.compile(r"^ {0,3}(```+|~~~+|:::+)")
_ANCHOR: Final = re.compile(r'<a id="([^"]+)">')
_log: Final = logging.getLogger(__name__)

#: The scheme of an address inside the site, from the first pass to the second.
_SITE: Final = "site:"


@cache
def _anchors(page: Path) -> frozenset[str]:
    return frozenset(_ANCHOR.findall(page.read_text(encoding="utf-8")))


def _address(app: Sphinx, docname: str, target: str) -> str:
    """Return what a link has to name in the site."""
    path, _, fragment = target.partition("#")
    page = app.env.doc2path(docname)
    tail = f"#{fragment}" if fragment else ""
    if re.match(r"[a-z]+:", target):
        return target
    file = Path(os.path.normpath(page.parent / path)) if path else page
    if not file.exists():
        _log.warning("the link %s leads to no file", target, location=docname)
        return target
    found = app.env.path2doc(file)
    if found is not None and found in app.env.found_docs:
        if fragment in _anchors(file):
            own = app.builder.get_relative_uri(docname, found) if path else ""
            return f"{_SITE}{own}{tail}"
        return target
    if file.suffix == ".md" and _DOCS in file.parents:
        other = file.relative_to(_DOCS).with_suffix(".html")
        here = Path("zh", docname) if app.srcdir != _DOCS else Path(docname)
        return f"{_SITE}{os.path.relpath(other, here.parent)}{tail}"
    kind = "tree" if file.is_dir() else "blob"
    return f"{app.config.repository}/{kind}/main/{file.relative_to(_ROOT).as_posix()}{tail}"


def rewrite(app: Sphinx, docname: str, content: list[str]) -> None:
    """Give each link of a page, outside its code, an address."""
    lines, fence = [], ""
    for line in content[0].split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            line = _LINK.sub(
                lambda found: found[1] + _address(app, docname, found[2]) + found[3],
                line,
            )
        lines.append(line)
    content[0] = "\n".join(lines)


def unmark(app: Sphinx, doctree: nodes.document) -> None:
    """Take the scheme of the first pass away again."""
    for node in doctree.findall(nodes.reference):
        uri = node.get("refuri", "")
        if uri.startswith(_SITE):
            node["refuri"] = uri.removeprefix(_SITE)
            node["internal"] = True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both passes."""
    app.add_config_value("repository", "", "env")
    app.connect("source-read", rewrite)
    app.connect("doctree-read", unmark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
