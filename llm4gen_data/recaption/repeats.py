"""Which keys of a run occur more than once, found without holding them: 64-bit hashes in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llm4gen_data.parquet import open_parquet

# Hashes compared at a time, 8 bytes each.
BUCKET_ROWS = 4_000_000
MAX_REPORTED = 1000


class RepeatedKeys:
    """Counts keys by hash in files below `folder`, split into buckets so that memory does not grow with the rows.

    Equal hashes are only suspects: `report` reads their keys again and compares those.
    """

    def __init__(self, folder: Path, n_rows: int) -> None:
        self._buckets = [folder / f"{number}.hashes" for number in range(n_rows // BUCKET_ROWS + 1)]
        for bucket in self._buckets:
            bucket.touch()

    def add(self, keys: pa.Array) -> None:
        """Count these keys."""
        hashes = _hashes(keys)
        bucket_of = hashes % np.uint64(len(self._buckets))
        for number, bucket in enumerate(self._buckets):
            with bucket.open("ab") as file:
                file.write(hashes[bucket_of == number].tobytes())

    def report(self, paths: Iterable[Path]) -> list[str]:
        """Up to MAX_REPORTED keys that were counted more than once, read from the Parquet files they came from."""
        suspects = np.concatenate([_repeated(np.fromfile(bucket, np.uint64)) for bucket in self._buckets])
        if not len(suspects):
            return []
        counts: Counter[str] = Counter()
        for path in paths:
            keys = open_parquet(path).read(columns=["key"])["key"].combine_chunks()
            counts.update(keys.filter(pa.array(np.isin(_hashes(keys), suspects[:MAX_REPORTED]))).to_pylist())
        return [key for key, n in counts.items() if n > 1]


def _hashes(keys: pa.Array) -> npt.NDArray[np.uint64]:
    return pd.util.hash_array(keys.to_numpy(zero_copy_only=False), categorize=False)


def _repeated(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
