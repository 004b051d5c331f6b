from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.recaption import repeats
from llm4gen_data.recaption.repeats import RepeatedKeys


def written(folder: Path, *parts: list[str]) -> list[Path]:
    paths = [folder / f"{i}.parquet" for i in range(len(parts))]
    for path, keys in zip(paths, parts, strict=True):
        pq.write_table(pa.table({"key": keys}), path)
    return paths


@pytest.mark.parametrize("bucket_rows", [3, 1000])
def test_keys_that_come_again_are_named_across_files_and_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_rows: int
) -> None:
    monkeypatch.setattr(repeats, "BUCKET_ROWS", bucket_rows)
    parts = [["a", "b", "c"], ["d", "a", "é"], ["f", "é", "a"]]
    counted = RepeatedKeys(tmp_path, n_rows=9)
    for keys in parts:
        counted.add(pa.array(keys))
    assert sorted(counted.report(written(tmp_path, *parts))) == ["a", "é"]


def test_distinct_keys_are_not_read_again(tmp_path: Path) -> None:
    counted = RepeatedKeys(tmp_path, n_rows=5)
    counted.add(pa.array([str(i) for i in range(5)]))
    counted.add(pa.array([], pa.string()))
    assert counted.report([tmp_path / "nowhere.parquet"]) == []
