import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.training import run
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.features import build_features
from llm4gen_model.training.loader import Batch, load_batch, load_batches
from llm4gen_model.training.prefetch import map_ahead
from tests.factories import encode, picture, sdxl_pipeline


def ready(config: TrainConfig) -> tuple[Any, Any]:
    """Model and features."""
    model = run.build_model(config)
    pairs = open_pairs(config.data, config.captions)
    return model, build_features(config.out.parent / "cache", config, model, pairs)


def same(one: Batch, other: Batch, tolerance: float = 0.0) -> bool:
    assert one.llm_embeds is not None
    assert other.llm_embeds is not None
    return (
        one.captions == other.captions
        and torch.equal(one.timesteps, other.timesteps)
        and torch.equal(one.noise, other.noise)
        and torch.allclose(one.latents, other.latents, rtol=0, atol=tolerance)
        and torch.allclose(one.llm_embeds, other.llm_embeds, rtol=0, atol=tolerance)
        and one.text_embeds is not None
        and other.text_embeds is not None
        and torch.equal(one.text_embeds, other.text_embeds)
    )


def of_many_shapes(config: TrainConfig) -> TrainConfig:
    """The same pairs, every second picture a wide one, and buckets."""
    import hashlib

    table = pq.read_table(config.data)
    rows = table.to_pylist()
    for number in range(1, len(rows), 2):
        data = encode(picture(number, (40, 20)))
        rows[number] |= {"image": {"bytes": data, "path": None}, "sha256": hashlib.sha256(data).hexdigest()}
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), config.data)
    return replace(config, aspect_ratio_buckets=True)


def test_parts_put_together_are_the_batch(config: TrainConfig) -> None:
    model, features = ready(config)
    whole = load_batch(config, model, features, 5)
    for n_parts in (2, 4):
        parts = [load_batch(config, model, features, 5, part, n_parts) for part in range(n_parts)]
        assert [caption for part in parts for caption in part.captions] == whole.captions
        assert torch.equal(torch.cat([part.latents for part in parts]), whole.latents)
        embeds = [part.llm_embeds for part in parts if part.llm_embeds is not None]
        assert whole.llm_embeds is not None
        assert torch.equal(torch.cat(embeds), whole.llm_embeds)
    assert len({tuple(load_batch(config, model, features, step).captions) for step in range(6)}) == 6


def test_batches_made_ahead_are_the_batches_in_order(config: TrainConfig) -> None:
    model, features = ready(config)
    ahead = list(load_batches(config, model, features, range(3, 9), (1, 0), 2))
    assert len(ahead) == 12
    wanted = [load_batch(config, model, features, step, part, 2) for step in range(3, 9) for part in (1, 0)]
    assert all(same(one, other) for one, other in zip(ahead, wanted, strict=True))


@pytest.mark.parametrize("buckets", [False, True])
def test_without_a_cache_the_same_batches_come(config: TrainConfig, buckets: bool) -> None:
    settings = of_many_shapes(config) if buckets else config
    model, cached = ready(settings)
    online_config = replace(settings, cache_mode="none")
    _, online = ready(online_config)
    assert len(online.pairs) == len(cached.pairs)
    for step in (0, 7, 8, 21):
        from_disk = load_batch(settings, model, cached, step)
        assert same(from_disk, load_batch(online_config, model, online, step), tolerance=4e-3)


def test_without_a_cache_a_batch_does_not_depend_on_those_before(config: TrainConfig) -> None:
    settings = replace(config, cache_mode="none")
    model, features = ready(settings)
    in_order = list(load_batches(settings, model, features, range(20), (0,), 1))
    model, features = ready(settings)
    assert same(load_batch(settings, model, features, 13), in_order[13])


def test_buckets_give_batches_of_one_shape_and_epochs_of_all_rows(config: TrainConfig) -> None:
    settings = of_many_shapes(config)
    model, features = ready(settings)
    shapes = [tuple(load_batch(settings, model, features, step).latents.shape) for step in range(6)]
    assert len(set(shapes)) == 2
    assert {shape[0] for shape in shapes} == {settings.train_batch_size}
    assert all(height * width <= 8 * 8 for _, _, height, width in shapes)


def test_sdxl_is_told_each_images_own_size(config: TrainConfig, tmp_path: Path) -> None:
    sdxl_pipeline().save_pretrained(tmp_path / "sdxl", safe_serialization=True)
    settings = replace(config, base=str(tmp_path / "sdxl"), train="unet")
    model, features = ready(settings)
    batch = load_batch(settings, model, features, 0)
    assert batch.time_ids is not None
    assert batch.time_ids.tolist() == [[20, 24, 0, 2, 16, 16]] * settings.train_batch_size  # 24x20 covers 19x16
    online = replace(settings, cache_mode="none")
    again = load_batch(online, model, ready(online)[1], 0)
    assert again.time_ids is not None
    assert torch.equal(again.time_ids, batch.time_ids)


def test_latents_that_are_not_finite_are_one_clear_line(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, features = ready(config)
    store = features.latents.store
    broken = tuple(torch.full_like(values, float("nan")) for values in store.values)
    bad = replace(features, latents=replace(features.latents, store=replace(store, values=broken)))
    with pytest.raises(UserError, match=r"cache/latents: the latents of pair '0000\d\d' .* are not finite"):
        load_batch(config, model, bad, 0)
    with pytest.raises(UserError, match="not finite"):
        list(load_batches(config, model, bad, range(3), (0,), 1))


def test_a_caption_that_the_cache_lacks_is_named(config: TrainConfig) -> None:
    model, features = ready(config)
    pairs = features.pairs
    column = pairs.table.column_names.index("caption")
    edited = pairs.table.set_column(column, "caption", pa.array(["quite another text"] * len(pairs)))
    with pytest.raises(UserError, match="no features of the caption 'quite another text'"):
        load_batch(config, model, replace(features, pairs=replace(pairs, table=edited)), 0)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_work_ahead_keeps_its_order_and_bound(threads: int) -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        return number * number

    results: Iterator[int] = map_ahead(work, range(20), threads=threads, ahead=4)
    for number in range(10):
        assert next(results) == number * number
        assert max(begun) <= number + 4
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == 1 or not any("prefetch" in t.name for t in threading.enumerate())


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise UserError("three")
        return number

    results = map_ahead(work, range(10), threads=2, ahead=6)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="three"):
        next(results)
