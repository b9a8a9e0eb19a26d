"""The control page's own files, and pictures it shows: stored media and QR codes."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

import wxmp.simulator
from wxmp.simulator.control.reading import View, account_in
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.world import World

__all__ = ["PAGE", "ROUTES"]

PAGE: Final = Path(wxmp.simulator.__file__).parent / "page"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
LOOPBACK: Final = "http://127.0.0.1:* http://localhost:* https://127.0.0.1:* https://localhost:*"
# Own scripts and pictures only. A page of the developer's may be shown in a frame, where it touches nothing else.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"img-src 'self' data: blob: {LOOPBACK}",  # news pictures lie on the developer's own server
        f"media-src 'self' blob: {LOOPBACK}",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        f"frame-src 'self' {LOOPBACK}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
PAGE_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# The stand-in for the JS-SDK is for pages of the developer, which have another origin.
SHARED_FILES: Final = frozenset({"jweixin.js"})
# What a user or a service has uploaded is shown as a picture or a sound and never as a page with scripts.
MEDIA_HEADERS: Final = {
    "cache-control": "private, max-age=600",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
SIGNS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
)
QR_CHARACTERS: Final = 1_000


def page_files() -> dict[str, Path]:
    """Return the page's files by name. Only names found here are served: no path of a request is ever opened."""
    if not PAGE.is_dir():
        return {}
    return {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.suffix in TYPES}


def send_page_file(request: WebRequest, name: str) -> Response:
    """Return one file of the page."""
    path = page_files().get(name)
    if path is None:
        return Response("There is no such file.\n", 404, headers=PAGE_HEADERS, media_type="text/plain")
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**PAGE_HEADERS, "etag": tag}
    if name in SHARED_FILES:
        headers["cross-origin-resource-policy"] = "cross-origin"
    known = [known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=TYPES[path.suffix])


def index(_world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET /_sim/: the page itself."""
    return send_page_file(request, "index.html")


def page_file(_world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET page/{file}: a file of the page."""
    return send_page_file(request, request.path_params["file"])


def media(world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET media?media_id=&appid=: the bytes of a stored medium, without a token."""
    from wxmp.simulator import library

    with world.lock:
        world.run_due()
        found = library.find_media(account_in(world, request), request.query_params.get("media_id", ""), world.now())
    if found is None:
        raise WorldError("no such medium, or it is expired")
    return Response(found.data, headers=MEDIA_HEADERS, media_type=media_type(found.data))


def media_type(data: bytes) -> str:
    """Tell what kind of file it is by its first bytes; anything unknown is only bytes."""
    if data[4:8] == b"ftyp":
        return "video/mp4"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for sign, kind in SIGNS if data.startswith(sign)), "application/octet-stream")


def qr_picture(_world: World, request: WebRequest, _body: JsonObject) -> Response:
    """GET qr.png?text=: a QR code of any text."""
    import segno

    text = request.query_params.get("text", "")
    if not 1 <= len(text) <= QR_CHARACTERS:
        raise WorldError(f"text must have 1 to {QR_CHARACTERS} characters")
    picture = BytesIO()
    segno.make(text, error="m", micro=False).save(picture, kind="png", scale=6, border=4)
    return Response(picture.getvalue(), headers=MEDIA_HEADERS, media_type="image/png")


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/", index),
    ("GET", "/page/{file:path}", page_file),
    ("GET", "/media", media),
    ("GET", "/qr.png", qr_picture),
)
