"""What an encoded image would make a decoder do, read from its bytes: a few walks over segments, blocks and entries.

Each bound names an attack: Pillow reads metadata at `Image.open`, and some of it costs far more than its bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

# Each scan of a progressive JPEG passes over all of its pixels again; encoders write ten.
MAX_JPEG_SCANS = 100
SCAN, END = 0xDA, 0xD9
# In coded data 0xFF is followed by 0 or by a restart marker.
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")
# Between JPEG segments Pillow looks for the next one byte by byte.
MAX_JPEG_JUNK_BYTES = 2**16
# Pillow joins the APP1 segments of EXIF, and the blocks of a GIF comment, by copying what it has so far.
MAX_EXIF_BYTES = 2**20
MAX_GIF_COMMENT_BLOCKS = 4096
MAX_CHUNKS = 2**17
# The entries of a TIFF directory (EXIF is one) may all point to the same bytes: 64 kB can ask for 350 MB of copies.
MAX_DIRECTORY_BYTES = 16 * 2**20
MAX_DIRECTORIES = 32
# Of each strip of a TIFF Pillow makes an object.
MAX_DIRECTORY_NUMBERS = 2**18
BYTE_TYPES = (1, 2, 6, 7)
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
ORIENTATION = 0x0112
SUB_DIRECTORIES = frozenset({330, 0x8769, 0x8825, 0xA005})


class HeaderError(Exception):
    """Metadata that would cost a decoder more than any picture does."""


def check_headers(data: bytes) -> None:
    """Pass over the metadata of a JPEG, PNG, GIF, WebP, TIFF or BMP. Raises HeaderError; damage is for the decoder."""
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_chunks(_png_chunks(data))
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _check_gif(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        _check_chunks(_riff_chunks(data))
    elif data.startswith((b"II", b"MM")):
        _check_tiff(data)
    elif data.startswith(b"BM") and data[30:31] in (b"\x01", b"\x02"):
        raise HeaderError("run-length coded BMP, which is decoded byte by byte, is not read")


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that EXIF gives; 1 where it gives none or is damaged."""
    for tag, kind, _, _, value in _entries(exif.removeprefix(b"Exif\0\0"), max_directories=1):
        if tag == ORIENTATION and kind in (3, 4):
            return value if 1 <= value <= 8 else 1
    return 1


def _check_jpeg(data: bytes) -> None:
    n_scans = exif = 0
    for number, (marker, content) in enumerate(_jpeg_segments(data)):
        n_scans += marker == SCAN
        if n_scans > MAX_JPEG_SCANS or number > MAX_CHUNKS:
            raise HeaderError(f"more than {MAX_JPEG_SCANS} JPEG scans, or {MAX_CHUNKS} segments")
        if marker == 0xE1 and content.startswith(b"Exif\0"):
            exif += len(content)
            if exif > MAX_EXIF_BYTES:
                raise HeaderError(f"more than {MAX_EXIF_BYTES} bytes of EXIF")
            _check_tiff(content[6:])
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            _check_tiff(content[4:])


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the end of the first image; coded data are passed over."""
    place, junk = 2, 0
    while found := JPEG_MARKER.search(data, place):
        junk += found.start() - place
        if junk > MAX_JPEG_JUNK_BYTES:
            raise HeaderError(f"more than {MAX_JPEG_JUNK_BYTES} bytes between JPEG segments")
        marker, place = data[found.start() + 1], found.end()
        if marker == END:
            return
        if marker == 0x01:
            continue
        length = max(2, int.from_bytes(data[place : place + 2], "big"))
        yield marker, data[place + 2 : place + length]
        place += length
        if marker == SCAN:
            coded = JPEG_MARKER.search(data, place)
            place = coded.start() if coded else len(data)
    if len(data) - place > MAX_JPEG_JUNK_BYTES:
        raise HeaderError(f"more than {MAX_JPEG_JUNK_BYTES} bytes after the last JPEG segment")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        yield kind, data[place + 8 : place + 8 + length] if kind == b"eXIf" else b""
        place += 12 + length


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        kind = data[place : place + 4]
        yield kind, data[place + 8 : place + 8 + length] if kind == b"EXIF" else b""
        place += 8 + length + length % 2


def _check_chunks(chunks: Iterator[tuple[bytes, bytes]]) -> None:
    for number, (_, exif) in enumerate(chunks):
        if number > MAX_CHUNKS:
            raise HeaderError(f"more than {MAX_CHUNKS} chunks")
        if exif:
            _check_tiff(exif.removeprefix(b"Exif\0\0"))


def _check_gif(data: bytes) -> None:
    if len(data) < 13:
        return
    place = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    n_blocks = 0
    while data[place : place + 1] == b"!":
        place += 2
        while place < len(data) and data[place]:
            n_blocks += 1
            if n_blocks > MAX_GIF_COMMENT_BLOCKS:
                raise HeaderError(f"more than {MAX_GIF_COMMENT_BLOCKS} blocks before the first GIF frame")
            place += 1 + data[place]
        place += 1


def _check_tiff(data: bytes) -> None:
    """Raise HeaderError if reading every value of the first directory, and of those it names, copies too much."""
    total = 0
    for tag, kind, n_values, size, _ in _entries(data, MAX_DIRECTORIES):
        if n_values > MAX_DIRECTORY_NUMBERS and kind not in BYTE_TYPES:
            raise HeaderError(f"{n_values} numbers in entry {tag} of an EXIF or TIFF directory")
        total += size
        if total > MAX_DIRECTORY_BYTES + len(data):
            raise HeaderError(f"an EXIF or TIFF directory of {len(data)} bytes asks for more than {total} bytes")
    if data[2:4] in (b"\x2b\0", b"\0\x2b"):
        raise HeaderError("BigTIFF is not read")


def _entries(data: bytes, max_directories: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Tag, type, number of values, bytes that reading them copies, and the value where it stands in the entry."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return
    waiting: list[int] = [struct.unpack(f"{order}I", data[4:8])[0]]
    seen: set[int] = set()
    while waiting and len(seen) < max_directories:
        directory = waiting.pop(0)
        if directory in seen or directory + 2 > len(data):
            continue
        seen.add(directory)
        (n_entries,) = struct.unpack_from(f"{order}H", data, directory)
        for number in range(n_entries):
            place = directory + 2 + 12 * number
            if place + 12 > len(data):
                break
            tag, kind, n_values, value = struct.unpack_from(f"{order}HHII", data, place)
            size = n_values * TYPE_BYTES.get(kind, 1)
            copied = min(size, max(0, len(data) - value)) if size > 4 else size
            if kind == 3 and n_values == 1:
                (value,) = struct.unpack_from(f"{order}H", data, place + 8)
            if tag in SUB_DIRECTORIES and n_values == 1:
                waiting.append(value)
            yield tag, kind, n_values, copied, value
