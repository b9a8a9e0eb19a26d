"""A QR code as a real JPEG, made without an imaging library.

The platform's QR pictures are JPEG. A picture of black and white squares needs next to nothing of that format: with
one 8x8 block per square every block is flat, so only its brightness (the DC coefficient) is written.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["flat_jpeg"]

BLOCK: Final = 8
QUANTUM: Final = 16
# The standard luminance DC table: how many codes of each length, and the categories in order.
DC_LENGTHS: Final = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
DC_VALUES: Final = bytes(range(12))
# One code is enough for the AC coefficients: "end of block".
AC_LENGTHS: Final = bytes([1] + [0] * 15)
AC_VALUES: Final = bytes([0])
AC_END: Final = "0"


def dc_codes() -> dict[int, str]:
    """Return the Huffman code of every DC category."""
    codes: dict[int, str] = {}
    code = index = 0
    for length, count in enumerate(DC_LENGTHS, start=1):
        for _ in range(count):
            codes[DC_VALUES[index]] = format(code, f"0{length}b")
            code += 1
            index += 1
        code <<= 1
    return codes


def segment(marker: int, data: bytes) -> bytes:
    """Return one JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def flat_jpeg(squares: Sequence[Sequence[bool]]) -> bytes:
    """Draw a matrix, eight pixels a side for every square; true is black."""
    height, width = len(squares) * BLOCK, len(squares[0]) * BLOCK
    codes = dc_codes()
    bits: list[str] = []
    before = 0
    for row in squares:
        for black in row:
            # A flat block of brightness b has the DC coefficient 8 * (b - 128).
            level = 8 * ((0 if black else 255) - 128) // QUANTUM
            step, before = level - before, level
            category = abs(step).bit_length()
            bits.append(codes[category])
            if category:
                bits.append(format(step if step > 0 else step + (1 << category) - 1, f"0{category}b"))
            bits.append(AC_END)
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
            segment(0xDB, b"\x00" + bytes([QUANTUM] * 64)),
            segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"),
            segment(0xC4, b"\x00" + DC_LENGTHS + DC_VALUES),
            segment(0xC4, b"\x10" + AC_LENGTHS + AC_VALUES),
            segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            data,
            b"\xff\xd9",
        )
    )
