"""Two languages, one site: each page leads to its twin, and says what it is written in."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sphinx.locale import _

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

_DOCS: Final = Path(__file__).parents[1]
#: Pages that Sphinx makes for both languages.
_BOTH: Final = frozenset({"search"})
#: Where there is no twin: what is written from docstrings is English, and the Chinese site tells about it.
_REFERENCE: Final = "reference/index"
#: What the theme says in English only.
_THEME: Final = {
    "Skip to content": "跳到正文",
    "Edit this page": "编辑本页",
    "On this page": "本页目录",
    "Back to top": "回到顶部",
    "Next": "下一页",
    "Previous": "上一页",
    "Home": "首页",
    "Made with ": "主题：",
}


def twin(pagename: str, *, chinese: bool) -> str:
    """Return the page of the other language, from the root of its site."""
    if (
        pagename in _BOTH
        or (_DOCS / ("" if chinese else "zh") / f"{pagename}.md").exists()
    ):
        return pagename
    return _REFERENCE if pagename.startswith("reference/") else "index"


def tell(
    app: Sphinx,
    pagename: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Give a page's template both addresses."""
    chinese = app.config.language == "zh_CN"
    other = twin(pagename, chinese=chinese) + ".html"
    root = posixpath.relpath(".", posixpath.dirname(pagename) or ".")
    context["language"] = "zh-CN" if chinese else "en"
    context["twin"] = posixpath.normpath(
        posixpath.join(root, ".." if chinese else "zh", other)
    )
    context["own"] = f"{posixpath.basename(pagename)}.html"
    if chinese:
        context["_"] = context["gettext"] = say


def say(text: str) -> str:
    """Translate what a template says: what we have a word for, and all else as Sphinx does."""
    return _THEME.get(text) or _(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("html-page-context", tell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
