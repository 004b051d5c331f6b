"""What the texts of a run look like, read shard by shard: memory does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc

from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.gates import further_instructions
from llm4gen_data.recaption.status import SUCCESS

N_EXAMPLES = 8


@dataclass
class Digest:
    """Texts of a run: `n_words` counts texts by their words for each column of texts, `examples` are (alt text,
    caption), `rejected` is a caption for each reason, `similarities` counts captions by similarity to two places."""

    n_words: dict[str, Counter[int]]
    examples: list[tuple[str, str]] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    similarities: Counter[float] = field(default_factory=Counter)


def digest(paths: Sequence[Path], reasons: Collection[str] = ()) -> Digest:
    """Read the texts of a run's Parquet files; `reasons` are those to find an example of."""
    names = open_parquet(paths[0]).schema_arrow.names if paths else []
    captions = ["caption", *(f"{name}_caption" for name in further_instructions(names))]
    measures = [name for name in ("caption_similarity",) if name in names]
    read = ["alt_text", "status", "keep", "reject_reasons", *captions, *(f"{name[:-7]}n_words" for name in captions)]
    found = Digest({name: Counter() for name in ("alt_text", *captions)})
    per_file = -(-N_EXAMPLES // max(1, len(paths)))
    sampled = {round(i * (len(paths) - 1) / (N_EXAMPLES - 1)) for i in range(N_EXAMPLES)}
    for number, path in enumerate(paths):
        table = open_parquet(path).read(columns=[*read, *measures])
        _count(found.n_words["alt_text"], pc.list_value_length(pc.utf8_split_whitespace(table["alt_text"])))
        for name in captions:
            _count(found.n_words[name], table[f"{name[:-7]}n_words"])
        for name in measures:
            _count(found.similarities, pc.round(table[name], 2))
        if number in sampled:
            captioned = table.filter(pc.equal(table["status"], SUCCESS)).slice(0, per_file)
            pairs = zip(captioned["alt_text"].to_pylist(), captioned["caption"].to_pylist(), strict=True)
            found.examples += [(alt_text or "", caption or "") for alt_text, caption in pairs]
        if set(reasons) - found.rejected.keys():
            _find_rejected(found.rejected, table)
    found.examples = found.examples[:N_EXAMPLES]
    return found


def mean(counts: Counter[int] | Counter[float]) -> float | None:
    """The mean of counted values; None of none."""
    return fmean(counts.keys(), weights=counts.values()) if counts else None


def quantile(counts: Counter[int], share: float) -> int:
    """The smallest of counted values that at least `share` of them do not exceed."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    raise ValueError("no values")


def _count(counts: Counter[int] | Counter[float], values: pa.ChunkedArray) -> None:
    for entry in values.drop_null().value_counts().to_pylist():
        counts[entry["values"]] += entry["counts"]


def _find_rejected(rejected: dict[str, str], table: pa.Table) -> None:
    """The first rejected caption for each reason that has none yet."""
    chosen = table.filter(pc.and_(pc.invert(table["keep"]), pc.equal(table["status"], SUCCESS)))
    for caption, reasons in zip(chosen["caption"].to_pylist(), chosen["reject_reasons"].to_pylist(), strict=True):
        for reason in reasons:
            rejected.setdefault(reason, caption or "")
