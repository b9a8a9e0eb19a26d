"""The tree of pages at the side of every page, made from titles alone.

The theme asks Sphinx for it, page by page, and Sphinx copies the contents of all pages each time: with a reference of
some thousand names that is most of a build.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


def tree(app: Sphinx, pagename: str) -> str:
    """Return the tree as the theme expects it, seen from a page."""
    env, builder = app.env, app.builder
    parents = {
        child: page
        for page, children in env.toctree_includes.items()
        for child in children
    }
    ancestors, page = {pagename}, pagename
    while page in parents and parents[page] not in ancestors:
        page = parents[page]
        ancestors.add(page)

    def branch(pages: list[tuple[str | None, str]], depth: int) -> str:
        items = []
        for title, page in pages:
            if page not in env.titles:
                continue
            marks = f"toctree-l{depth}" + (" current" if page in ancestors else "")
            here = "current " if page == pagename else ""
            address = (
                "#" if page == pagename else builder.get_relative_uri(pagename, page)
            )
            text = escape(title or env.titles[page].astext())
            below = branch(
                [(None, child) for child in env.toctree_includes.get(page, [])],
                depth + 1,
            )
            link = f'<a class="{here}reference internal" href="{address}">{text}</a>'
            items.append(f'<li class="{marks}">{link}{below}</li>')
        current = (
            ' class="current"' if any(page in ancestors for _, page in pages) else ""
        )
        return f"<ul{current}>{''.join(items)}</ul>" if items else ""

    parts = []
    for node in env.tocs[app.config.root_doc].findall(addnodes.toctree):
        if node.get("caption"):
            caption = escape(node["caption"])
            parts.append(
                f'<p class="caption" role="heading"><span class="caption-text">{caption}</span></p>'
            )
        parts.append(branch(node["entries"], 1))
    return "".join(parts)


def replace(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Put our tree in the place of Sphinx's, before the theme asks for it."""
    context["toctree"] = lambda **_: tree(app, pagename)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook, ahead of the theme's."""
    app.connect("html-page-context", replace, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
