from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.run import write_scenes
from llm4gen_model.training.data import batch_rows, draw, open_pairs
from tests.factories import pairs_parquet

SETTINGS: dict[str, Any] = {"seed": 3, "n_timesteps": 1000, "proportion_empty_prompts": 0.0}


@given(n=st.integers(1, 50), batch_size=st.integers(1, 70), seed=st.integers(0, 5))
def test_every_epoch_holds_every_row_once(n: int, batch_size: int, seed: int) -> None:
    n_steps = -(-3 * n // batch_size)
    stream = [pair for step in range(n_steps) for pair in batch_rows(n, batch_size, seed, step)]
    assert all(len(batch_rows(n, batch_size, seed, step)) == batch_size for step in range(n_steps))
    for epoch in range(3):
        assert sorted(row for row, e in stream[: 3 * n] if e == epoch) == list(range(n))


def test_a_draw_depends_on_seed_epoch_and_key_alone() -> None:
    captions, weights = {"caption": "long", "alt_text": "short"}, {"caption": 1.0, "alt_text": 1.0}
    first = draw("k", captions, weights, (4, 2, 2), epoch=1, **SETTINGS)
    again = draw("k", captions, weights, (4, 2, 2), epoch=1, **SETTINGS)
    other_epoch = draw("k", captions, weights, (4, 2, 2), epoch=2, **SETTINGS)
    other_key = draw("l", captions, weights, (4, 2, 2), epoch=1, **SETTINGS)
    assert np.array_equal(first.noise, again.noise)
    assert (first.caption, first.timestep) == (again.caption, again.timestep)
    for other in (other_epoch, other_key):
        assert not np.array_equal(first.noise, other.noise)
    assert not np.array_equal(first.noise, first.latent_noise)


def test_captions_come_in_their_shares_and_dropout_in_its_own() -> None:
    weights = {"caption": 3.0, "alt_text": 1.0}
    settings = {**SETTINGS, "proportion_empty_prompts": 0.2}
    drawn = Counter(
        draw(f"{i}", {"caption": "long", "alt_text": "short"}, weights, (1,), epoch=0, **settings).caption
        for i in range(4000)
    )
    assert drawn[""] / 4000 == pytest.approx(0.2, abs=0.03)
    assert drawn["long"] / 4000 == pytest.approx(0.6, abs=0.03)
    assert (
        draw(
            "k", {"caption": "long", "alt_text": None}, {"alt_text": 9.0, "caption": 1.0}, (1,), epoch=0, **SETTINGS
        ).caption
        == "long"
    )


def test_time_steps_are_uniform_or_logit_normal() -> None:
    def timesteps(**settings: Any) -> list[int]:
        return [
            draw(f"{i}", {"c": "x"}, {"c": 1.0}, (1,), epoch=0, **SETTINGS, **settings).timestep for i in range(2000)
        ]

    assert np.mean(timesteps()) == pytest.approx(500, abs=25)
    drawn = timesteps(logit_mean=1.0, logit_std=0.5)
    assert np.median(drawn) == pytest.approx(1000 / (1 + np.exp(-1.0)), abs=12)
    assert np.quantile(drawn, 0.84) == pytest.approx(1000 / (1 + np.exp(-1.5)), abs=15)
    assert min(drawn) >= 0
    assert max(drawn) < 1000


def test_noise_is_standard_normal() -> None:
    values = np.stack([draw(f"{i}", {"c": "x"}, {"c": 1.0}, (8, 8), epoch=0, **SETTINGS).noise for i in range(300)])
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values.std() == pytest.approx(1, abs=0.03)


def test_open_pairs_leaves_out_failed_rejected_and_wordless_rows(tmp_path: Path) -> None:
    table = pq.read_table(pairs_parquet(tmp_path / "all.parquet", 6))
    table = table.set_column(table.column_names.index("status"), "status", pa.array(["success"] * 5 + ["error"]))
    table = table.set_column(table.column_names.index("keep"), "keep", pa.array([False] + [True] * 5))
    table = table.set_column(
        table.column_names.index("caption"), "caption", pa.array(["a", "", None, "d", "e", "f"], pa.string())
    )
    pq.write_table(table, tmp_path / "some.parquet")
    pairs = open_pairs(tmp_path / "some.parquet", {"caption": 1.0})
    assert pairs.keys() == ["000003", "000004"]
    assert pairs.n_left_out == 4
    assert len(open_pairs(tmp_path / "some.parquet", {"caption": 1.0}, only_kept=False)) == 3
    both = open_pairs(tmp_path / "some.parquet", {"caption": 1.0, "alt_text": 1.0})
    assert both.texts() == ["d", "e", "picture 1", "picture 2", "picture 4"]


def test_images_are_read_once_each(tmp_path: Path) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "a.parquet", 5), {"caption": 1.0})
    wanted = set(pairs.table["sha256"].to_pylist()[:3])
    assert [sha256 for sha256, _ in pairs.images(wanted)] == pairs.table["sha256"].to_pylist()[:3]


def test_data_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    path = pairs_parquet(tmp_path / "a.parquet", 3)
    with pytest.raises(UserError, match=r"a\.parquet: has no column 'title'"):
        open_pairs(path, {"title": 1.0})
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        open_pairs(tmp_path / "nowhere", {"caption": 1.0})
    write_scenes(1, 0, tmp_path / "photos", "http://127.0.0.1:8000/", "train")
    with pytest.raises(UserError, match=r"photos: is a run of 'scenes'; `llm4gen-data recaption \S+photos --out DIR`"):
        open_pairs(tmp_path / "photos", {"caption": 1.0})
    with pytest.raises(UserError, match="expected Parquet"):
        open_pairs(tmp_path / "photos" / "images", {"caption": 1.0})
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(UserError, match="not a Parquet file"):
        open_pairs(tmp_path / "b.parquet", {"caption": 1.0})
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index("keep"), "keep", pa.array([False] * 3)), path)
    with pytest.raises(UserError, match="none of 3 rows"):
        open_pairs(path, {"caption": 1.0})
