"""The documentation site, ``make docs``: English from ``docs/``, Chinese from ``docs/zh/`` with the tag ``zh``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.util.tags import Tags

    tags: Tags

DOCS: Final = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]
_PROJECT: Final = tomllib.loads(
    (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
)["project"]
_CHINESE: Final = tags.has("zh")  # noqa: F821 - Sphinx puts it here

project = "wxmp"
author = _PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001
release = version = _PROJECT["version"]
language = "zh_CN" if _CHINESE else "en"
html_title = f"wxmp {version} 文档" if _CHINESE else f"wxmp {version}"

extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "site_links",
    "site_anchors",
    "site_descriptions",
    "site_languages",
    "site_navigation",
    "site_search",
]
if not _CHINESE:
    extensions += ["sphinx.ext.autodoc", "site_reference"]
exclude_patterns = [] if _CHINESE else ["zh/**"]
templates_path = [str(DOCS / "_templates")]
#: Where the repository can be read; links that leave the documentation lead there.
repository = _PROJECT["urls"]["Source"]

# ---- pages
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "mailto": None, "site": None}
pygments_style = "tango"
pygments_dark_style = "monokai"
highlight_language = "text"
copybutton_exclude = ".linenos, .gp, .go"

# ---- reference
nitpicky = True
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
add_module_names = False
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_custom_sections = ["Source"]

# ---- the look
html_theme = "furo"
html_static_path = [str(DOCS / "_static")]
# One page for both: a server looks for it at the root of the site.
html_extra_path = [] if _CHINESE else [str(DOCS / "_extra")]
html_css_files = ["site.css"]
html_favicon = str(DOCS / "_static" / "favicon.svg")
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = not _CHINESE
html_domain_indices = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
_SANS: Final = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "PingFang SC", "Hiragino Sans GB",'
    ' "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif'
)
_MONO: Final = (
    'ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono",'
    ' "Noto Sans Mono CJK SC", "PingFang SC", "Microsoft YaHei", monospace'
)
_FONTS: Final = {"font-stack": _SANS, "font-stack--monospace": _MONO}
html_theme_options = {
    "source_repository": repository,
    "source_branch": "main",
    "source_directory": "docs/zh/" if _CHINESE else "docs/",
    "top_of_page_buttons": ["edit"],
    "light_css_variables": {
        **_FONTS,
        "color-brand-primary": "#067a3e",
        "color-brand-content": "#06703a",
    },
    "dark_css_variables": {
        **_FONTS,
        "color-brand-primary": "#4ecb86",
        "color-brand-content": "#5fd394",
    },
}
