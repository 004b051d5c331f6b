from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_model.training.data import open_pairs
from pipelines.mini.pairs import write_pairs
from pipelines.reproduce.corrupted import column_of, corrupted


def test_pairs_keep_their_keys_and_gain_captions(tmp_path: Path) -> None:
    write_pairs(6, 72_000_000, tmp_path / "pairs", 1, 1.0)
    line = ["--data", str(tmp_path / "pairs"), "--share", "0", "--share", "0.5", "--out", str(tmp_path / "out")]
    corrupted.main(line, standalone_mode=False)
    corrupted.main(line, standalone_mode=False)  # finished: nothing to do
    plain = open_pairs(tmp_path / "pairs", {"caption": 1.0})
    names = [column_of(0.0), column_of(0.5)]
    both = open_pairs(tmp_path / "out", dict.fromkeys(names, 1.0))
    assert names == ["corrupted_0", "corrupted_50"]
    assert both.keys() == plain.keys()  # so that order and noise are the same
    assert all(a != b for a, b in zip(*(both.table[name].to_pylist() for name in names), strict=True))
    with pytest.raises(UserError, match="expected what pipelines"):
        corrupted.main(
            ["--data", str(tmp_path), "--share", "0.1", "--out", str(tmp_path / "x")], standalone_mode=False
        )
