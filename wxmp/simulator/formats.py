"""What a file is, judged by its own bytes, and small real files to stand for what nobody gave."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

from wxmp.simulator.jpeg import flat_jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONTENT_TYPES", "file_format", "sample", "voice_seconds"]

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "amr": "audio/amr",
    "mp3": "audio/mpeg",
    "wma": "audio/x-ms-wma",
    "wav": "audio/wav",
    "speex": "audio/speex",
    "mp4": "video/mp4",
}
BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"#!AMR\n", "amr"),
    (b"#!AMR-WB\n", "amr"),
    (b"ID3", "mp3"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma"),
)
# Bytes of an AMR frame after its header, by mode; every frame is 20 ms.
AMR_FRAMES: Final = (12, 13, 15, 17, 19, 20, 26, 31, 5)
AMR_WIDE_FRAMES: Final = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5)
AMR_FRAME_SECONDS: Final = 0.02
# Kilobits a second of MPEG 1 layer III, and of MPEG 2 layer III; samples a second by version.
MP3_RATES: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MP3_LOW_RATES: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MP3_SAMPLES: Final[Mapping[int, tuple[int, int, int]]] = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
# Nobody needs to know more of a recording than that it is far too long, or of a broken file than that it is broken.
LONG_ENOUGH: Final = 600.0
MAX_GAPS: Final = 10_000
SAMPLE_SQUARES: Final = 8
SAMPLE_FRAMES: Final = 50


def file_format(data: bytes) -> str:
    """Return what the bytes are, as an extension in lower case, or an empty text."""
    for beginning, name in BEGINNINGS:
        if data.startswith(beginning):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:4] == b"OggS" and b"Speex" in data[:64]:
        return "speex"
    return "mp3" if mp3_frame(data, 0) is not None else ""


def mp3_frame(data: bytes, at: int) -> tuple[int, float] | None:
    """Return the bytes and the seconds of the layer III frame that begins here, if one does."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate, pace = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in MP3_SAMPLES or not 0 < rate < 15 or pace == 3:
        return None
    kilobits = (MP3_RATES if version == 3 else MP3_LOW_RATES)[rate]
    samples = 1152 if version == 3 else 576
    per_second = MP3_SAMPLES[version][pace]
    return samples // 8 * kilobits * 1000 // per_second + (head[2] >> 1 & 1), samples / per_second


def voice_seconds(data: bytes) -> float | None:
    """Return how long a recording is; ``None`` when its format does not tell in an easy way.

    Counting ends after ten minutes.
    """
    kind = file_format(data)
    if kind == "amr":
        return amr_seconds(data)
    if kind == "wav" and len(data) >= 32:
        per_second = struct.unpack_from("<I", data, 28)[0]
        return (len(data) - 44) / per_second if per_second else None
    return mp3_seconds(data) if kind == "mp3" else None


def amr_seconds(data: bytes) -> float:
    """Count the frames of an AMR file."""
    wide = data.startswith(b"#!AMR-WB\n")
    sizes = AMR_WIDE_FRAMES if wide else AMR_FRAMES
    at, frames = 9 if wide else 6, 0
    while at < len(data) and frames * AMR_FRAME_SECONDS < LONG_ENOUGH:
        mode = data[at] >> 3 & 15
        at += 1 + (sizes[mode] if mode < len(sizes) else 0)
        frames += 1
    return frames * AMR_FRAME_SECONDS


def mp3_seconds(data: bytes) -> float:
    """Add up the frames of an MP3 file; what is no frame is stepped over."""
    at, seconds, gaps = 0, 0.0, 0
    if data.startswith(b"ID3") and len(data) >= 10:
        # The tag's size has seven bits a byte.
        at = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
    while 0 <= at < len(data) and seconds < LONG_ENOUGH and gaps < MAX_GAPS:
        frame = mp3_frame(data, at)
        if frame is None:
            gaps += 1
            at = data.find(b"\xff", at + 1)
            continue
        at += frame[0]
        seconds += frame[1]
    return seconds


def sample(kind: str, name: str) -> bytes:
    """Make a small real file: a JPEG, an AMR recording of a second of silence, or an MP4 without tracks.

    Pictures of different names differ, as real ones do.
    """
    if kind == "voice":
        return b"#!AMR\n" + (b"\x3c" + bytes(31)) * SAMPLE_FRAMES
    if kind in {"video", "shortvideo"}:
        return box(b"ftyp", b"isom\x00\x00\x02\x00isomiso2mp41") + box(b"moov", box(b"mvhd", movie_header()))
    bits = hashlib.sha256(name.encode("utf-8", errors="replace")).digest()
    rows = range(SAMPLE_SQUARES)
    return flat_jpeg([[bool(bits[row] >> column & 1) for column in rows] for row in rows])


def box(name: bytes, data: bytes) -> bytes:
    """Return one box of an MP4 file."""
    return struct.pack(">I", len(data) + 8) + name + data


def movie_header() -> bytes:
    """Return a movie header: no tracks, one second of 1000 units."""
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    times = struct.pack(">5I", 0, 0, 0, 1000, 1000)
    return times + struct.pack(">IH10x", 0x10000, 0x100) + matrix + bytes(24) + struct.pack(">I", 1)
