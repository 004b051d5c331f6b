"""Encoded images as bad as the web and worse: mutations of whole ones, and bombs that cost more than their bytes."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.factories import encode, picture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def whole_images() -> dict[str, bytes]:
    """One image of each kind, small enough that mutations often hit what matters."""
    frames = [picture(i) for i in range(4)]
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    found = {
        "JPEG": encode(picture(3), "JPEG", exif=exif),
        "progressive JPEG": encode(picture(4), "JPEG", progressive=True, exif=exif),
        "PNG": encode(picture(5), "PNG", exif=exif),
        "palette PNG": encode(picture(6).convert("P"), "PNG", transparency=3),
        "16-bit PNG": encode(Image.new("I;16", (20, 20), 3000), "PNG"),
        "WEBP": encode(picture(7), "WEBP", exif=exif),
        "lossless WEBP": encode(picture(8).convert("RGBA"), "WEBP", lossless=True),
        "GIF": encode(picture(9), "GIF", comment=b"a comment"),
    }
    for name in ("GIF", "WEBP", "PNG"):
        found[f"animated {name}"] = encode(frames[0], name, save_all=True, append_images=frames[1:], duration=50)
    return found


def mutations(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`n` damaged images and the names of their kinds: bytes changed, cut, doubled, swapped, joined, mislabelled."""
    draw, wholes = random.Random(seed), list(whole_images().items())
    for number in range(n):
        kind, whole = wholes[number % len(wholes)]
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 4, 16))):
            damage(data, draw)
        if number % 50 == 7:  # the signature of one format before the rest of another
            _, other = draw.choice(wholes)
            data[:12] = other[:12]
        yield kind, bytes(data)


def damage(data: bytearray, draw: random.Random) -> None:
    """Change `data` once, in place."""
    start = draw.randrange(len(data)) if data else 0
    stop = min(len(data), start + draw.choice((1, 2, 4, 32, 1000)))
    match draw.randrange(7):
        case 0:
            data[start:stop] = draw.randbytes(stop - start)
        case 1:
            data[start:stop] = draw.choice((b"\x00", b"\xff", b"\x7f")) * (stop - start)
        case 2:
            del data[start:]
        case 3:
            del data[start:stop]
        case 4:
            data[start:start] = data[start:stop] * draw.choice((1, 3, 50))
        case 5:
            data[start:start] = draw.randbytes(draw.choice((1, 8, 300)))
        case 6 if data:
            data[start] ^= 1 << draw.randrange(8)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, pixels: bytes = bytes(1000)) -> bytes:
    """An RGB PNG that claims a size and holds what it is given."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", zlib.compress(pixels, 9)), chunk(b"IEND", b""))
    )


def greedy_directory(n_bytes: int) -> bytes:
    """A TIFF directory of `n_bytes` whose entries all claim all of its bytes."""
    n_entries = min(65_535, (n_bytes - 10) // 12)
    entries = b"".join(struct.pack("<HHII", tag, 7, n_bytes - 8, 8) for tag in range(1, n_entries + 1))
    return (b"II*\0" + struct.pack("<IH", 8, n_entries) + entries).ljust(n_bytes, b"\0")


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """A JPEG segment before the scan."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def deflated(n_bytes: int) -> bytes:
    """So many zeros, compressed without holding them."""
    compressor, piece = zlib.compressobj(9), bytes(2**16)
    whole = b"".join(compressor.compress(piece) for _ in range(n_bytes // len(piece)))
    return whole + compressor.compress(bytes(n_bytes % len(piece))) + compressor.flush()


def frames(n: int, side: int, format: str) -> bytes:
    """An animation of `n` frames of one colour each, none like the next."""
    shades = (Image.new("L", (side, side), i % 250) for i in range(n))
    return encode(next(shades), format, save_all=True, append_images=list(shades))


def flat_png(side: int) -> bytes:
    """A whole black PNG, a thousandth of its pixels in bytes."""
    pixels = deflated(side * (3 * side + 1))
    return b"".join((png(side, side)[:33], chunk(b"IDAT", pixels), chunk(b"IEND", b"")))


def bombs() -> dict[str, bytes]:
    """Images of few bytes that would cost much memory or time; some are legal pictures and must come out."""
    jpeg, gif = encode(picture(1), "JPEG"), encode(picture(1), "GIF")
    progressive = encode(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    blocks = b"".join(b"\xff" + b"c" * 255 for _ in range(40_000))
    bmp = encode(Image.new("P", (1, 1)), "BMP")
    return {
        "0 bytes": b"",
        "1 byte": b"\xff",
        "HTML": b"<!DOCTYPE html><img src=x>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "PNG of 60,000 x 60,000": png(60_000, 60_000),
        "PNG of 1,000,000 x 100": png(1_000_000, 100),
        "PNG with a text chunk of 10 MB": png(
            8, 8, chunk(b"zTXt", b"a\0\0" + deflated(10_000_000)), pixels=bytes(25 * 8)
        ),
        "PNG with a profile of 10 MB": png(
            8, 8, chunk(b"iCCP", b"a\0\0" + deflated(10_000_000)), pixels=bytes(25 * 8)
        ),
        "PNG with 2,000 text chunks": png(8, 8, *[chunk(b"tEXt", b"a\0" + b"b" * 900)] * 2000, pixels=bytes(25 * 8)),
        "PNG with 300,000 chunks": png(8, 8, *[chunk(b"vpAg", b"")] * 300_000, pixels=bytes(25 * 8)),
        "PNG with greedy EXIF": png(8, 8, chunk(b"eXIf", greedy_directory(500_000)), pixels=bytes(25 * 8)),
        "JPEG with greedy EXIF": jpeg[:2] + jpeg_segment(0xE1, b"Exif\0\0" + greedy_directory(60_000)) + jpeg[2:],
        "JPEG with greedy MPF": jpeg[:2] + jpeg_segment(0xE2, b"MPF\0" + greedy_directory(60_000)) + jpeg[2:],
        "JPEG with 200 EXIF segments": jpeg[:2] + jpeg_segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 200 + jpeg[2:],
        "JPEG with a profile of 12 MB": jpeg[:2]
        + b"".join(jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes((i, 200)) + bytes(60_000)) for i in range(1, 201))
        + jpeg[2:],
        "JPEG with 5,000 scans": progressive[:last_scan] + progressive[last_scan:-2] * 5000 + b"\xff\xd9",
        "JPEG after 20 MB of nothing": jpeg[:2] + bytes(20_000_000) + jpeg[2:],
        "JPEG of 65,500 x 65,500": jpeg.replace(struct.pack(">HH", 32, 48), struct.pack(">HH", 65_500, 65_500)),
        "GIF with a comment of 10 MB": gif[: gif.index(b",")] + b"!\xfe" + blocks + b"\0" + gif[gif.index(b",") :],
        "GIF of 65,535 x 65,535": gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "TIFF that is one greedy directory": greedy_directory(500_000),
        "run-length BMP": bmp[:18]
        + struct.pack("<ii", 60_000, 2_000)
        + bmp[26:30]
        + b"\x01"
        + bmp[31:]
        + b"\0\2\0\xff",
        "GIF of 300 frames": frames(300, 32, "GIF"),
        "WebP of 10 frames of 1,000 x 1,000": frames(10, 1000, "WEBP"),
    }
