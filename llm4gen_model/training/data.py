"""Pairs of images and captions, in an order and with a randomness that depend on nothing but seed, epoch and key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.runs import command_of

READ_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rows to train on, without pixels: columns `key`, `sha256` (of the image file), the caption columns, and
    where the image is: `file` (position in `files`) and `row` in it.
    """

    table: pa.Table
    captions: Mapping[str, float]
    files: tuple[Path, ...]
    n_left_out: int

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def keys(self) -> list[str]:
        """All keys, in order."""
        return list(self.table.column("key").to_pylist())

    def texts(self) -> list[str]:
        """Every distinct caption that training may draw, in order of appearance."""
        columns = [self.table.column(name).combine_chunks().drop_null() for name in self.captions]
        return list(pc.unique(pa.chunked_array(columns, pa.string())).to_pylist())

    def without_images(self, sha256: set[str]) -> Pairs:
        """The pairs whose image is not among these. Raises UserError if none remain."""
        kept = self.table.filter(pc.invert(pc.is_in(self.table["sha256"], pa.array(sorted(sha256)))))
        if kept.num_rows == 0:
            raise UserError(f"{self.files[0].parent}: none of its images can be decoded")
        n_left_out = self.n_left_out + self.table.num_rows - kept.num_rows
        return replace(self, table=kept.combine_chunks(), n_left_out=n_left_out)

    def content_sha256(self) -> str:
        """Sixteen hex digits over keys, image hashes and captions."""
        digest = hashlib.sha256()
        for name in ("key", "sha256", *self.captions):
            for value in self.table.column(name).to_pylist():
                digest.update(repr(value).encode() + b"\0")
        return digest.hexdigest()[:16]

    def images(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        """The encoded bytes of the images whose sha256 is wanted, each once, in file order."""
        seen: set[str] = set()
        holders = self.table.filter(pc.is_in(self.table["sha256"], pa.array(sorted(wanted), pa.string())))["file"]
        for number in sorted(set(holders.to_pylist())):
            for batch in open_parquet(self.files[number]).iter_batches(READ_BATCH_ROWS, columns=["sha256", "image"]):
                for sha256, image in zip(batch["sha256"].to_pylist(), batch["image"], strict=True):
                    if sha256 in wanted and sha256 not in seen:
                        seen.add(sha256)
                        yield sha256, image.as_py()["bytes"]
                if len(seen) == len(wanted):
                    return


def open_pairs(path: Path, captions: Mapping[str, float], *, only_kept: bool = True) -> Pairs:
    """Read the texts of a data set in LAION-refined's layout: a run of recaption, a folder of Parquet, or a file.

    Left out are rows without image or caption, and those the gates rejected unless `only_kept` is False.
    Raises UserError if a column is missing or nothing remains.
    """
    files = _parquet_files(path)
    tables = []
    for number, file in enumerate(files):
        names = open_parquet(file).schema_arrow.names
        missing = [name for name in ("key", "sha256", "image", *captions) if name not in names]
        if missing:
            raise UserError(f"{file}: has no column {missing[0]!r}; found {', '.join(names)}")
        extra = [name for name in ("status", "keep") if name in names]
        # the leaf alone: whether there is an image must not cost reading its bytes
        part = pq.read_table(file, columns=["key", "sha256", *captions, *extra])
        part = part.append_column("file", pa.array(np.full(part.num_rows, number, np.int32)))
        tables.append(part.append_column("row", pa.array(np.arange(part.num_rows, dtype=np.int32))))
    table = pa.concat_tables(tables, promote_options="default")
    usable = pc.is_valid(table["sha256"])
    if "status" in table.column_names:
        usable = pc.and_(usable, pc.fill_null(pc.equal(table["status"], "success"), False))
    if only_kept and "keep" in table.column_names:
        usable = pc.and_(usable, pc.fill_null(table["keep"], True))
    some_caption = None
    for name in captions:
        has = pc.greater(pc.fill_null(pc.utf8_length(table[name]), 0), 0)
        some_caption = has if some_caption is None else pc.or_(some_caption, has)
    kept = table.filter(pc.and_(usable, some_caption)).select(["key", "sha256", *captions, "file", "row"])
    if kept.num_rows == 0:
        raise UserError(f"{path}: none of {table.num_rows:,} rows has an image and a caption in {', '.join(captions)}")
    for name in captions:  # an empty caption counts as none
        column = kept[name]
        cleaned = pc.if_else(pc.equal(pc.utf8_length(column), 0), pa.scalar(None, pa.string()), column)
        kept = kept.set_column(kept.column_names.index(name), name, cleaned)
    # in one piece, or every look-up of a row would search the pieces of all files
    return Pairs(kept.combine_chunks(), dict(captions), tuple(files), table.num_rows - kept.num_rows)


def _parquet_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected Parquet with images and captions")
    if (command := command_of(path)) in ("scenes", "download"):
        raise UserError(
            f"{path}: is a run of {command!r}; `llm4gen-data recaption {path} --out DIR` makes the data for training"
        )
    files = sorted((path / "data" if (path / "data").is_dir() else path).glob("*.parquet"))
    if not files:
        raise UserError(f"{path}: expected Parquet with images and captions, or a finished run of recaption")
    return files


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides for one sample in one epoch; noises are `[C,h,w]` float32."""

    caption: str
    timestep: int
    latent_noise: np.ndarray
    noise: np.ndarray


@lru_cache(maxsize=2)
def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of one epoch, a function of seed and epoch alone."""
    return generator("order", seed, epoch).permutation(n)


def batch_rows(n: int, batch_size: int, seed: int, step: int) -> list[tuple[int, int]]:
    """The (row, epoch) pairs of step `step`: consecutive pieces of the permutations of all epochs, end to end."""
    rows: list[tuple[int, int]] = []
    position = step * batch_size
    while len(rows) < batch_size:
        epoch, start = divmod(position, n)
        taken = order(n, seed, epoch)[start : start + batch_size - len(rows)]
        rows += [(int(row), epoch) for row in taken]
        position += len(taken)
    return rows


def draw(
    key: str,
    captions: Mapping[str, str | None],
    weights: Mapping[str, float],
    shape: Sequence[int],
    *,
    seed: int,
    epoch: int,
    n_timesteps: int,
    proportion_empty_prompts: float,
    logit_mean: float | None = None,
    logit_std: float = 1.0,
) -> Draw:
    """Draw caption, time step and noises of a sample; a function of (seed, key, epoch) alone.

    Time steps are uniform, or logit-normal if `logit_mean` is given (arXiv 2403.03206, section 3.1).

    So it depends neither on the batch the sample falls in, nor on workers, nor on where a run was resumed.
    """
    rng = generator("sample", seed, epoch, key)
    present = [name for name in weights if captions[name]]
    shares = np.array([weights[name] for name in present])
    chosen = present[int(rng.choice(len(present), p=shares / shares.sum()))]
    text = "" if rng.random() < proportion_empty_prompts else captions[chosen] or ""
    if logit_mean is None:
        timestep = int(rng.integers(n_timesteps))
    else:
        timestep = int(n_timesteps / (1 + np.exp(-rng.normal(logit_mean, logit_std))))
    return Draw(
        caption=text,
        timestep=timestep,
        latent_noise=rng.standard_normal(shape, dtype=np.float32),
        noise=rng.standard_normal(shape, dtype=np.float32),
    )


def generator(*parts: object) -> np.random.Generator:
    """A generator keyed by its arguments, by value."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
