"""Where training finds the (entity, attribute) pairs of its captions: a column of the data, the cache, or a reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.registry import resolve
from llm4gen_model.training.cache import Part, missing_texts
from llm4gen_model.training.config import EntityLossConfig
from llm4gen_model.training.data import Pairs
from llm4gen_model.training.encode import text_key
from llm4gen_model.training.entity_readers import READERS, Pair, Reader
from llm4gen_model.training.store import FeatureStore, open_store, write_shard

STORED = "stored"
COLUMN = "entity_spans"
SHARD_ENTRIES = 4096

EntitySpans = Callable[[Sequence[str]], list[torch.Tensor]]
"""Captions -> of each one's pairs the characters, `[n,4]`: start and end of the entity, then of the attribute."""


def find_entity_spans(config: EntityLossConfig, pairs: Pairs, folder: Path | None) -> EntitySpans | None:
    """The pairs of all captions that training may draw, read now and kept in `folder`, or as it goes for None.

    None if the loss is off. Raises UserError for a column that is not there or does not fit its captions, and for a
    reader that cannot be had.
    """
    if not config.weight:
        return None
    if config.pairs == STORED:
        return _stored_spans(pairs)
    reader = load_reader(config.pairs)
    if folder is None:
        return lambda captions: [_tensor(found) for found in reader.read(captions)]
    store = cache_entity_spans(folder, pairs.texts(), reader)
    return lambda captions: _cached(store, captions)


def load_reader(name: str) -> Reader:
    """The reader called `name`. Raises UsageError for an unknown one, UserError for a missing package."""
    reader: Reader = resolve("reader of entities", name, READERS)()
    return reader


def cache_entity_spans(folder: Path, texts: Sequence[str], reader: Reader, part: Part | None = None) -> FeatureStore:
    """The pairs of every text, by the sha256 of the text; of what is missing only `part` is read.

    A kill loses at most the shard under way. Raises UserError if the folder is another reader's.
    """
    part = part or Part()
    store = open_store(folder, reader.identity)
    missing = [item for item in missing_texts(store, texts) if part.holds(item[0])]
    items = iter(missing)
    with tqdm(total=len(missing), desc="entities", unit=" captions", disable=not missing) as bar:
        while shard := list(islice(items, SHARD_ENTRIES)):
            keys, captions = zip(*shard, strict=True)
            write_shard(store, keys, [_tensor(found) for found in reader.read(captions)], torch.int32)
            bar.update(len(shard))
    return open_store(folder, store.identity)


def _tensor(pairs: Sequence[Pair]) -> torch.Tensor:
    return torch.tensor(pairs, dtype=torch.int32).reshape(-1, 4)


def _cached(store: FeatureStore, captions: Sequence[str]) -> list[torch.Tensor]:
    found = store.find([text_key(caption) for caption in captions])
    for caption, place in zip(captions, found.tolist(), strict=True):
        if caption and place < 0:
            raise UserError(f"{store.folder}: does not have the entities of the caption {caption[:60]!r}")
    # the empty caption of dropout has none, and needs no entry
    return [_tensor([]) if place < 0 else store.entry(place) for place in found.tolist()]


def stored_sha256(pairs: Pairs) -> str:
    """Sixteen hex digits over the column `entity_spans`, which decides the weights where the loss reads it."""
    digest = hashlib.sha256()
    for file in pairs.files:
        if COLUMN in open_parquet(file).schema_arrow.names:
            for row in pq.read_table(file, columns=["key", COLUMN]).to_pylist():
                digest.update(json.dumps([row["key"], row[COLUMN]]).encode() + b"\0")
    return digest.hexdigest()[:16]


def _stored_spans(pairs: Pairs) -> EntitySpans:
    """The pairs that the data has in its column `entity_spans`; a caption it says nothing of has none."""
    by_caption: dict[str, np.ndarray] = {}
    for file in pairs.files:
        names = open_parquet(file).schema_arrow.names
        if COLUMN not in names:
            raise UserError(f"{file}: has no column {COLUMN!r}, which entity_loss.pairs: stored reads")
        for row in pq.read_table(file, columns=["key", COLUMN, *pairs.captions]).to_pylist():
            if row[COLUMN] is None:
                continue
            where = f"{file}: row {row['key']!r}, {COLUMN}"
            for name, spans in _parsed(row[COLUMN], where).items():
                caption = row.get(name)
                if caption:
                    by_caption.setdefault(caption, _checked(spans, caption, f"{where}, {name!r}"))
    return lambda captions: [
        torch.from_numpy(by_caption[caption]) if caption in by_caption else _tensor([]) for caption in captions
    ]


def _parsed(text: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {text[:60]!r}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected an object with captions' columns as keys, found {text[:60]!r}")
    return value


def _checked(spans: object, caption: str, where: str) -> np.ndarray:
    try:
        array = np.array(spans, np.int32).reshape(-1, 2, 2) if spans else np.zeros((0, 2, 2), np.int32)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"{where}: expected a list of [[start, end], [start, end]], found {json.dumps(spans)[:60]}"
        ) from error
    start, end = array[..., 0], array[..., 1]
    if ((start < 0) | (end <= start) | (end > len(caption))).any():
        raise UserError(
            f"{where}: expected 0 <= start < end <= {len(caption)}, the caption's length, "
            f"found {json.dumps(spans)[:60]}"
        )
    return array.reshape(-1, 4)
