"""How the site's search cuts text into words: Chinese by pairs of characters, all else as Sphinx does.

Dictionaries cut a page and a query differently, and then nothing is found. Pairs are the same on both sides. Both
languages use this: the English pages name every call by its Chinese title too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sphinx.search.en import SearchEnglish

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_RUN: Final = re.compile(r"[\u3400-\u9fff]+|[^\W\u3400-\u9fff]+")

_SPLITTER: Final = r"""
var splitQuery = (query) => {
  const words = [];
  for (const run of query.match(/[\u3400-\u9fff]+|(?:(?![\u3400-\u9fff])[\p{Letter}\p{Number}_])+/gu) || []) {
    if (!/[\u3400-\u9fff]/.test(run) || run.length === 1) words.push(run);
    else for (let at = 0; at + 1 < run.length; at++) words.push(run.slice(at, at + 2));
  }
  return words;
};
"""


def pairs(run: str) -> list[str]:
    """Return each character and each two neighbours."""
    return [*run, *(run[at : at + 2] for at in range(len(run) - 1))]


class PairsEnglish(SearchEnglish):
    """Words of the English site."""

    js_splitter_code = _SPLITTER

    def split(self, input: str) -> list[str]:
        """Cut a text into words."""
        words: list[str] = []
        for run in _RUN.findall(input):
            words += pairs(run) if run[0] >= "\u3400" and run[0] <= "\u9fff" else [run]
        return words


class PairsChinese(PairsEnglish):
    """Words of the Chinese site."""

    lang = "zh"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.add_search_language(PairsEnglish)
    app.add_search_language(PairsChinese)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
