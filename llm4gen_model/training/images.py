"""Single images out of Parquet files, read where they lie: for training without a cache of latents."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_data.sources.images import open_image, turn, upright_size
from llm4gen_model.training.buckets import Size
from llm4gen_model.training.data import Pairs

GROUPS_KEPT = 16


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Where in its file every image of a data set lies; row i of `places[f]` is row i of file f.

    Columns of `places`: offset and length in bytes (offset -1: compressed within Parquet), upright height and width
    in pixels (0: no image, or none that opens).
    """

    files: tuple[Path, ...]
    maps: tuple[mmap.mmap, ...]
    places: tuple[np.ndarray, ...]

    def read(self, pairs: Pairs, row: int) -> bytes:
        """The encoded bytes of a row's image."""
        number, position = pairs.table["file"][row].as_py(), pairs.table["row"][row].as_py()
        offset, length = self.places[number][position, :2].tolist()
        if offset >= 0:
            data: bytes = self.maps[number][offset : offset + length]
            return data
        group, first = _group_of(self.files[number], position)
        return _group_images(self.files[number], group)[position - first] or b""

    def sizes(self, pairs: Pairs) -> list[Size]:
        """Upright height and width of every pair's image; (0, 0) where it does not open."""
        files, rows = pairs.table["file"].to_pylist(), pairs.table["row"].to_pylist()
        return [tuple(self.places[file][row, 2:].tolist()) for file, row in zip(files, rows, strict=True)]

    def unusable(self, pairs: Pairs) -> set[str]:
        """The sha256 of images that do not open."""
        keys = pairs.table["sha256"].to_pylist()
        return {key for key, size in zip(keys, self.sizes(pairs), strict=True) if not all(size)}


def locate_images(pairs: Pairs) -> StoredImages:
    """Read through the files once and note where every image lies and how large it is.

    Raises UserError if a file is damaged.
    """
    maps = []
    for path in pairs.files:
        with path.open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    bar = tqdm(zip(pairs.files, maps, strict=True), total=len(maps), desc="images", unit=" files", leave=False)
    places = tuple(np.array(list(_places(path, mapped)), np.int64).reshape(-1, 4) for path, mapped in bar)
    return StoredImages(pairs.files, tuple(maps), places)


def _places(path: Path, mapped: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    file = open_parquet(path)
    for group in range(file.metadata.num_row_groups):
        begin, end = _extent(file, group)
        at = begin
        for data in _group_images(path, group):
            if not data:
                yield -1, 0, 0, 0
                continue
            offset = -1
            if end:
                # Parquet keeps values of a page one behind the other; one that came before is kept once, at its front
                offset = mapped.find(data, at, end)
                offset = mapped.find(data, begin, at) if offset < 0 else offset
                at = max(at, offset + len(data))
            yield offset, len(data), *_upright(data)


def _extent(file: pq.ParquetFile, group: int) -> tuple[int, int]:
    """First and last byte of a row group's images in the file; (0, 0) if they are compressed."""
    row_group = file.metadata.row_group(group)
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        if column.path_in_schema == "image.bytes" and column.compression == "UNCOMPRESSED":
            begin = column.dictionary_page_offset or column.data_page_offset
            return begin, begin + column.total_compressed_size
    return 0, 0


def _upright(data: bytes) -> Size:
    try:
        with open_image(data) as image:
            width, height = upright_size(image.size, turn(image))
    except ImageError:
        return 0, 0
    return height, width


@lru_cache(maxsize=GROUPS_KEPT)
def _group_images(path: Path, group: int) -> list[bytes | None]:
    try:
        column = open_parquet(path).read_row_group(group, columns=["image.bytes"])["image"].combine_chunks()
    except OSError as error:
        raise UserError(f"{path}: damaged in row group {group}: {error}") from error
    return list(column.field("bytes").to_pylist())


@lru_cache(maxsize=4096)
def _group_of(path: Path, row: int) -> tuple[int, int]:
    """The row group that holds a row, and the first row of it."""
    metadata = open_parquet(path).metadata
    first = 0
    for group in range(metadata.num_row_groups):
        n = metadata.row_group(group).num_rows
        if row < first + n:
            return group, first
        first += n
    raise UserError(f"{path}: has no row {row}; it changed while it was read")
