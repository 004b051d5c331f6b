"""A built set, read back, is what was built."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4gen_data.densprompts.build import build
from llm4gen_data.densprompts.config import DensePromptsConfig
from llm4gen_data.densprompts.read import read_set
from llm4gen_data.densprompts.run import build_densprompts
from llm4gen_data.densprompts.taxonomy import quotas
from llm4gen_data.errors import UserError


def test_what_is_read_is_what_was_built(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no finished prompt set"):
        read_set(out)
    build_densprompts(DensePromptsConfig(n=12, seed=2), out)
    built = [replace(dense, similarity=0.0, plans=()) for dense in build(quotas(12), 2, Counter())]
    assert read_set(out) == built
    twins = pq.read_table(out / "twins.parquet")
    pq.write_table(twins.drop_columns(["kind"]), out / "twins.parquet")
    with pytest.raises(UserError, match=r"twins\.parquet: no column kind"):
        read_set(out)
    strays = twins.set_column(0, "prompt_id", [["dp-unknown"] * len(twins)])
    pq.write_table(strays, out / "twins.parquet")
    with pytest.raises(UserError, match="dp-unknown"):
        read_set(out)
