import hashlib
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import IMAGE, write_shard
from llm4gen_model.training import run
from llm4gen_model.training.cache import Part
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.estimates import Estimate
from llm4gen_model.training.images import locate_images
from tests.factories import encode, pairs_parquet, picture

Usage = namedtuple("Usage", "total used free")


def test_a_dry_run_tells_sizes_and_writes_nothing(config: TrainConfig, tmp_path: Path) -> None:
    lines = run.dry_run_lines(config)
    assert "12 pairs (0 rows left out), 3.0 steps an epoch, 2.67 epochs; images of 16x16" in lines[0]
    assert "latents: 12 of 12 to make, 1.23e-05 GB (8 x 8 x 8 float16), about" in lines[1]
    assert "text features: 21 of 21 to make" in lines[2]
    assert "x 20 float16" in lines[2]
    assert not (tmp_path / "out").exists()
    cached = replace(config, cache=tmp_path / "cache")
    run.cache(cached)
    assert run.dry_run_lines(cached)[1] == "latents: 0 of 12 to make"
    assert "no cache" in run.dry_run_lines(replace(config, cache_mode="none"))[1]
    assert "nothing estimated: " in run.dry_run_lines(replace(config, data=tmp_path / "nowhere"))[0]


def test_estimated_bytes_are_those_that_are_written(config: TrainConfig, tmp_path: Path) -> None:
    from llm4gen_model.training.features import estimate

    model, pairs = run.build_model(config), open_pairs(config.data, config.captions)
    latents, text = estimate(tmp_path / "cache", config, model, pairs, timed=True)
    run.cache(replace(config, cache=tmp_path / "cache"))
    for name, told, overhead in (("latents", latents, 600 + 12 * 60), ("text-tiny", text, 600 + 21 * 60)):
        size = sum(path.stat().st_size for path in (tmp_path / "cache" / name).glob("*.safetensors"))
        assert 0.98 * told.n_bytes < size < told.n_bytes + overhead
        assert told.seconds_each is not None


def test_too_small_a_disk_is_told_before_anything_is_made(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2, 1, 1))
    with pytest.raises(UserError, match=r"cache needs about .* GB more .* are free there; give another --cache"):
        run.cache(replace(config, cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_estimates_in_words() -> None:
    line = Estimate("latents", 1_000_000, 1_000_000, 65536, 0.01, "8 x 64 x 64 float16").line(4)
    assert line == "latents: 1,000,000 of 1,000,000 to make, 65.5 GB (8 x 64 x 64 float16), about 42 min at 400/s"


def test_parts_of_a_cache_and_its_check(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = replace(config, cache=tmp_path / "cache")
    run.cache(cached, Part(0, 2))
    assert "still missing" in capsys.readouterr().out
    run.cache(cached, Part(1, 2), verify=True)
    told = capsys.readouterr().out
    assert "12 entries, " in told
    assert "verified" in told
    shard = next((tmp_path / "cache" / "text-tiny").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-2] + b"\1\2")
    with pytest.raises(UserError, match=rf"{shard.name}: damaged; delete this file"):
        run.cache(cached, verify=True)
    shard.unlink()
    run.cache(cached, verify=True)
    assert "verified" in capsys.readouterr().out


def test_features_of_another_width_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    from llm4gen_model.training.features import open_cache

    run.cache(replace(config, cache=tmp_path / "cache"))
    model, pairs = run.build_model(config), open_pairs(config.data, config.captions)
    assert model.prompt_encoder.llm is not None
    model.prompt_encoder.llm.width = 999
    identity: dict[str, Any] = run.build_model(config).prompt_encoder.llm.identity()  # type: ignore[union-attr]
    model.prompt_encoder.llm.identity = lambda: identity  # type: ignore[method-assign]
    with pytest.raises(UserError, match="holds entries of 20 numbers a token, this model's have 999"):
        open_cache(tmp_path / "cache", config, model, pairs)


@pytest.mark.parametrize("compression", ["snappy", "NONE", "ours"])
def test_single_images_are_read_where_they_lie(tmp_path: Path, compression: str) -> None:
    path = pairs_parquet(tmp_path / "a.parquet", 30)
    table = pq.read_table(path)
    rows = table["image"].to_pylist()
    rows[5], rows[17], rows[20] = {"bytes": None, "path": None}, rows[2], {"bytes": b"no picture", "path": None}
    rows[25] = {"bytes": encode(picture(25, (10, 30)), "JPEG"), "path": None}
    keys = [None if row["bytes"] is None else hashlib.sha256(row["bytes"]).hexdigest() for row in rows]
    table = table.set_column(table.column_names.index("image"), "image", pa.array(rows, IMAGE))
    table = table.set_column(table.column_names.index("sha256"), "sha256", pa.array(keys))
    if compression == "ours":
        write_shard(path, table)
    else:
        pq.write_table(table, path, compression=compression, row_group_size=7)
    pairs = open_pairs(path, {"caption": 1.0})
    images = locate_images(pairs)
    assert (images.places[0][:, 0] >= 0).sum() == (0 if compression == "snappy" else 29)
    for row, sha256 in enumerate(pairs.table["sha256"].to_pylist()):
        assert hashlib.sha256(images.read(pairs, row)).hexdigest() == sha256
    sizes = dict(zip(pairs.keys(), images.sizes(pairs), strict=True))
    assert sizes["000025"] == (30, 10)
    assert sizes["000004"] == (20, 24)
    assert images.unusable(pairs) == {keys[20]}
