"""The duplicate alarm: captions that a run gives again and again, as a broken call or a lost image makes them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.gates import Gates, clean


class FrequentItems:
    """The items that make up more than 1 / `size` of a stream, in `size` counters (Misra and Gries, 1982).

    `counts` are at most `error` too low. Batches merge as Agarwal et al., "Mergeable summaries" (2012), show.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts: Counter[str] = Counter()
        self.error = 0

    def add(self, batch: Counter[str]) -> None:
        """Count a batch of items."""
        self.counts.update(batch)
        if len(self.counts) > self.size:
            least = sorted(self.counts.values(), reverse=True)[self.size]
            self.error += least
            self.counts = Counter({item: n - least for item, n in self.counts.items() if n > least})


def repeated_captions(shards: Sequence[Path], gates: Gates) -> dict[str, int]:
    """The cleaned captions that alarm as duplicates in the run that these Parquet files make up, with their numbers.

    Each instruction counts by itself. Memory does not grow with the rows: one pass finds at most
    `1 / gates.max_duplicate_share` suspects, and if one of them may alarm, a second counts them exactly.
    """
    found: dict[str, int] = {}
    for column in _raw_columns(shards):
        n_captions, frequent = 0, FrequentItems(int(1 / gates.max_duplicate_share) + 1)
        for batch in _counted(shards, column):
            n_captions += batch.total()
            frequent.add(batch)
        enough = max(gates.min_duplicates, int(gates.max_duplicate_share * n_captions) + 1)
        suspects = {caption for caption, n in frequent.counts.items() if n + frequent.error >= enough}
        counts = frequent.counts
        if suspects and frequent.error:
            counts = Counter()
            for batch in _counted(shards, column):
                counts.update({caption: batch[caption] for caption in suspects & batch.keys()})
        for caption in suspects:
            if counts[caption] >= enough:
                found[caption] = found.get(caption, 0) + counts[caption]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def repeated_in(shard: Path, repeated: Iterable[str]) -> frozenset[str]:
    """Those of the `repeated` captions that this Parquet file holds."""
    wanted = frozenset(repeated)
    if not wanted:
        return wanted
    return frozenset(
        caption for column in _raw_columns([shard]) for batch in _counted([shard], column) for caption in batch
    ).intersection(wanted)


def short_hash(captions: Iterable[str]) -> str | None:
    """Sixteen hex digits that stand for a set of captions; None for none."""
    ordered = sorted(captions)
    return hashlib.sha256("\0".join(ordered).encode()).hexdigest()[:16] if ordered else None


def _raw_columns(shards: Sequence[Path]) -> list[str]:
    names = open_parquet(shards[0]).schema_arrow.names if shards else []
    return [name for name in names if name == "caption_raw" or name.endswith("_caption_raw")]


def _counted(shards: Sequence[Path], column: str) -> Iterator[Counter[str]]:
    """The captions of each shard, cleaned and counted; Arrow counts the raw ones, so that equal ones are cheap."""
    for path in shards:
        batch: Counter[str] = Counter()
        for entry in open_parquet(path).read(columns=[column])[column].drop_null().value_counts().to_pylist():
            batch[clean(entry["values"])] += entry["counts"]
        yield batch
