"""The HTML of articles: what the platform keeps of it, and the page a reader gets."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wxmp.simulator.library import Article, Comment, Published

__all__ = ["NOTHING_HERE", "PAGE_HEADERS", "article_page", "kept_html", "plain_text", "shown_html"]

# What is dropped with everything in it.
DROPPED: Final = frozenset(
    {"script", "style", "iframe", "object", "form", "template", "noscript", "svg", "math", "title", "textarea"}
)
VOID: Final = frozenset({"br", "embed", "hr", "img", "input", "meta", "link", "base", "source", "area", "col", "wbr"})
# What is dropped while its content stays.
REFUSED_TAGS: Final = frozenset({"embed", "meta", "link", "base", "input", "button", "source", "html", "head", "body"})
SHOWN_TAGS: Final = frozenset(
    {
        *("a", "b", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i"),
        *("img", "li", "ol", "p", "pre", "s", "section", "span", "strong", "sub", "sup", "table", "tbody", "td"),
        *("th", "thead", "tr", "u", "ul"),
    }
)
URL_ATTRIBUTES: Final = frozenset({"href", "src", "data-src", "poster", "background", "action", "formaction"})
OWN_PICTURE: Final = re.compile(r"/mmbiz(?:_[a-z]+)?/([A-Za-z0-9_-]+)(?:/\d+)?(?:\?.*)?")
OWN_HOST: Final = re.compile(r"(?:mmbiz|mmecoa)\.(?:qpic|qlogo)\.cn|mp\.weixin\.qq\.com|localhost|127(\.[0-9]{1,3}){3}")
ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_-]*")
TAG: Final = re.compile(r"[a-z][a-z0-9-]*")
SPACES: Final = re.compile(r"\s+")

PAGE_HEADERS: Final = (
    (
        "content-security-policy",
        "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)
STYLE: Final = (
    "body{margin:0 auto;max-width:42em;padding:1.5em 1em;font:17px/1.7 system-ui,sans-serif;color:#222}"
    "h1{font-size:1.4em;line-height:1.4;margin:0}img{max-width:100%;height:auto}.by,.note{color:#666;font-size:.85em}"
    ".comment{border-top:1px solid #eee;padding:.6em 0}.reply{margin:.3em 0 0 1em;color:#555}"
)
NOTHING_HERE: Final = (
    b'<!doctype html><html lang="zh"><head><meta charset="utf-8"><title>404</title></head>'
    b"<body><p>\xe8\xaf\xa5\xe5\x86\x85\xe5\xae\xb9\xe5\xb7\xb2\xe8\xa2\xab\xe5\x8f\x91\xe5\xb8\x83\xe8\x80\x85"
    b"\xe5\x88\xa0\xe9\x99\xa4</p></body></html>"
)


def readable(html: str) -> str:
    """Return HTML without what the parser cannot take.

    Some Python versions raise on marked sections, and all take quadratic time for tags that never end.
    """
    head, end, tail = html.replace("<![", "&lt;![").rpartition(">")
    return head + end + tail.replace("<", "&lt;")


def own_picture(url: str, base_url: str = "") -> str:
    """Return the key of a picture that the platform itself serves, or an empty text.

    Args:
        url: Any link.
        base_url: Where the simulator can be reached, when that is not loopback.
    """
    if base_url and url.startswith(f"{base_url}/"):
        url = url.removeprefix(base_url)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if host and not OWN_HOST.fullmatch(host):
        return ""
    match = OWN_PICTURE.fullmatch(parts.path.removeprefix("/mp"))
    return match.group(1) if match else ""


class Rewriter(HTMLParser):
    """Writes HTML again, tag by tag, with what the two callbacks leave of it. Text is always escaped."""

    def __init__(
        self, attribute: Callable[[str, str, str], tuple[str, str] | None], allowed: Callable[[str], bool]
    ) -> None:
        super().__init__(convert_charrefs=True)
        self._attribute = attribute
        self._allowed = allowed
        self._skip: list[str] = []
        self._open: list[str] = []
        self.parts: list[str] = []
        self.dropped: bool = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Write the tag with the attributes that may stay."""
        if tag in DROPPED:
            self._skip.append(tag)
        if self._skip or not self._allowed(tag):
            self.dropped = True
            return
        kept = [found for name, value in attrs if (found := self._attribute(tag, name, value or "")) is not None]
        self.dropped |= len(kept) != len(attrs)
        if tag == "img" and not any(name in {"src", "data-src"} for name, _value in kept):
            self.dropped = True
            return
        text = "".join(f' {name}="{escape(value)}"' for name, value in kept)
        self.parts.append(f"<{tag}{text}>")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Write a tag that closes itself."""
        if tag in DROPPED:
            self.dropped = True
            return
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close what is open; a closing tag without an opening one is dropped."""
        if self._skip:
            if tag == self._skip[-1]:
                self._skip.pop()
            return
        if tag not in self._open:
            return
        while self._open:
            last = self._open.pop()
            self.parts.append(f"</{last}>")
            if last == tag:
                break

    def handle_data(self, data: str) -> None:
        """Write text."""
        if not self._skip:
            self.parts.append(escape(data, quote=False))

    def result(self, html: str) -> str:
        """Rewrite a document."""
        self.feed(readable(html))
        self.close()
        self.parts.extend(f"</{tag}>" for tag in reversed(self._open))
        return "".join(self.parts)


class TextOnly(HTMLParser):
    """Collects the text of HTML."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._skip = 0
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Skip what is dropped; a block ends a word."""
        if tag in DROPPED:
            self._skip += 1
        elif tag not in {"a", "b", "em", "i", "span", "strong", "u"}:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        """Come back from what is dropped."""
        if tag in DROPPED:
            self._skip = max(0, self._skip - 1)

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if not self._skip:
            self.parts.append(data)


def plain_text(html: str) -> str:
    """Return the text of HTML, blanks collapsed."""
    parser = TextOnly()
    parser.feed(readable(html))
    parser.close()
    return SPACES.sub(" ", "".join(parser.parts)).strip()


def kept_html(html: str, *, foreign_pictures: bool, base_url: str = "") -> str:
    """Return an article body as the platform keeps it: no scripts, no handlers, and no pictures of other hosts.

    Args:
        html: What was uploaded.
        foreign_pictures: Whether pictures of other hosts stay.
        base_url: Where the simulator can be reached.
    """

    def attribute(tag: str, name: str, value: str) -> tuple[str, str] | None:
        if not ATTRIBUTE.fullmatch(name) or name.startswith("on") or name in {"srcdoc", "srcset", "id"}:
            return None
        if name in URL_ATTRIBUTES and not web_address(value):
            return None
        if tag == "img" and name in {"src", "data-src"} and not foreign_pictures and not own_picture(value, base_url):
            return None
        return name, value

    rewriter = Rewriter(attribute, lambda tag: tag not in REFUSED_TAGS and TAG.fullmatch(tag) is not None)
    written = rewriter.result(html)
    # What nothing was taken from stays as it was written, to the letter.
    return written if rewriter.dropped else html


def shown_html(html: str, base_url: str = "") -> str:
    """Return an article body for the page: simple tags only, links to the web, and the simulator's own pictures."""

    def attribute(tag: str, name: str, value: str) -> tuple[str, str] | None:
        if tag == "a" and name == "href":
            return (name, value) if value.startswith(("http://", "https://")) else None
        if tag == "img" and name in {"src", "data-src"}:
            key = own_picture(value, base_url)
            # Relative, so that it works behind the path prefix and behind the Host header.
            return ("src", f"../mmbiz/{key}") if key else None
        return (name, value) if tag == "img" and name == "alt" else None

    return Rewriter(attribute, lambda tag: tag in SHOWN_TAGS).result(html)


def web_address(url: str) -> bool:
    """Tell whether a link may stay: a web address, a place in the page, or a relative one."""
    cleaned = "".join(letter for letter in url if letter > " ")
    try:
        scheme = urlsplit(cleaned).scheme
    except ValueError:
        return False
    return scheme in {"", "http", "https", "weixin", "tel", "mailto"}


def article_page(
    article: Article, published: Published | None, comments: Sequence[Comment], when: str, *, base_url: str = ""
) -> bytes:
    """Write the page of an article. Everything that came from somebody is escaped or rewritten.

    Args:
        article: What to show.
        published: Its publication; ``None`` for the preview of a draft.
        comments: The comments a reader sees.
        when: The day it appeared.
        base_url: Where the simulator can be reached.
    """
    head = f"<title>{escape(article.title)}</title>"
    if article.digest:
        head += f'<meta name="description" content="{escape(article.digest)}">'
    by = " ".join(escape(part) for part in (article.author, when) if part)
    parts = [f"<h1>{escape(article.title)}</h1>", f'<p class="by">{by}</p>']
    if published is None:
        parts.append('<p class="note">预览 preview</p>')
    parts.extend(f'<p><img src="../mmbiz/{escape(key)}" alt=""></p>' for key in article.pictures())
    parts.append(f"<article>{shown_html(article.content, base_url)}</article>")
    if article.content_source_url.startswith(("http://", "https://")):
        parts.append(f'<p><a href="{escape(article.content_source_url)}" rel="noreferrer">阅读原文</a></p>')
    if published is not None:
        parts.append(f'<p class="note">阅读 {published.read_count}</p>')
    parts.extend(comment_line(comment) for comment in comments)
    return (
        f'<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}<style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>"
    ).encode("utf-8", errors="replace")


def comment_line(comment: Comment) -> str:
    """Write one comment and the account's reply."""
    text = f"<b>{escape(comment.nickname)}</b> {escape(comment.content)}"
    if comment.reply is not None:
        text += f'<div class="reply">作者 {escape(comment.reply)}</div>'
    return f'<div class="comment">{text}</div>'
