"""The files of the status page, and what a browser may do with them."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Final

from wxmp.control.web import Answer

__all__ = ["POLICY", "description", "page_file"]

PAGE: Final = Path(__file__).with_name("page")
#: Only names that stand here are served: no path of a request is ever opened.
TYPES: Final = {
    "icon.svg": "image/svg+xml",
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
#: Own files only, nothing inline, no frame around it, nowhere for a form to go: the page holds a key.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


@lru_cache(maxsize=len(TYPES))
def page_file(name: str) -> Answer | None:
    """Return a file of the page; ``None`` if there is none of that name."""
    if name not in TYPES:
        return None
    return Answer(200, (PAGE / name).read_bytes(), TYPES[name], HEADERS)


@lru_cache(maxsize=1)
def description() -> Answer:
    """Return the description of the interface."""
    from wxmp.control.openapi import DOCUMENT

    return Answer(200, json.dumps(DOCUMENT, ensure_ascii=False, indent=1).encode("utf-8"))
