import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import IMAGE
from llm4gen_model.training.cache import Part, cache_latents, cache_text, read_part
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.encode import fitted, text_key
from tests.factories import encode, language_model, pairs_parquet, picture, tiny_vae

SQUARE = [(16, 16)]


def change_images(path: Path, images: dict[int, bytes]) -> list[str]:
    """Put other bytes into some rows, their hashes with them; give the hashes of all rows."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    for number, data in images.items():
        rows[number]["image"]["bytes"] = data
        rows[number]["sha256"] = hashlib.sha256(data).hexdigest()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return [row["sha256"] for row in rows]


def test_latents_are_the_vae_moments_of_each_image(tmp_path: Path) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "a.parquet", 5), {"caption": 1.0})
    vae = tiny_vae().eval()
    store, unusable = cache_latents(tmp_path / "latents", pairs, vae, SQUARE)
    assert not unusable
    for number, sha256 in enumerate(pairs.table["sha256"].to_pylist()):
        pixels = np.asarray(fitted(encode(picture(number, (24, 20))), SQUARE)[0]).copy()
        with torch.no_grad():
            dist = vae.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist
        assert torch.allclose(store[sha256].float(), dist.parameters[0], atol=2e-3)
        assert store.sizes[store.find([sha256])[0]].tolist() == [20, 24]


def test_buckets_keep_what_a_square_would_cut(tmp_path: Path) -> None:
    path = pairs_parquet(tmp_path / "a.parquet", 4)
    keys = change_images(path, {1: encode(picture(1, (40, 20))), 3: encode(picture(3, (20, 40)))})
    pairs = open_pairs(path, {"caption": 1.0})
    store, _ = cache_latents(tmp_path / "latents", pairs, tiny_vae().eval(), [(16, 16), (12, 24), (24, 12)])
    assert [tuple(store[key].shape) for key in keys] == [(8, 8, 8), (8, 6, 12), (8, 8, 8), (8, 12, 6)]


def test_fitting_keeps_the_middle_at_the_right_scale() -> None:
    wide = Image.new("RGB", (40, 20), "black")
    wide.paste("white", (10, 0, 30, 20))
    image, size = fitted(encode(wide), [(10, 10)])
    assert np.asarray(image).min() > 200
    assert size == (20, 40)


def test_text_features_are_the_models_own_without_padding(tmp_path: Path) -> None:
    llm = language_model()
    texts = ["a", "a red circle", "", "some words more than the others"]
    store = cache_text(tmp_path, texts, llm)
    for text, features in zip(texts, llm.encode(texts), strict=True):
        assert store[text_key(text)].shape == features.shape
        assert torch.allclose(store[text_key(text)].float(), features, atol=2e-3)


class Counting:
    """A language model that notes what it is asked."""

    def __init__(self) -> None:
        self._llm = language_model()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._llm, name)

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        self.asked += texts
        features: list[torch.Tensor] = self._llm.encode(texts)
        return features


def test_a_partial_cache_is_completed_and_nothing_made_twice(tmp_path: Path) -> None:
    llm = Counting()
    cache_text(tmp_path, ["one", "two"], llm)  # type: ignore[arg-type]
    store = cache_text(tmp_path, ["two", "three"], llm)  # type: ignore[arg-type]
    assert sorted(llm.asked) == ["one", "three", "two"]
    assert all(text_key(text) in store for text in ("one", "two", "three"))


def test_parts_make_everything_once(tmp_path: Path) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "a.parquet", 12), {"caption": 1.0})
    llm, vae = Counting(), tiny_vae().eval()
    halves = [read_part("1/2"), read_part("2/2")]
    for part in [halves[0], *(halves[1].divided(number, 2) for number in range(2))]:
        store = cache_text(tmp_path / "text", pairs.texts(), llm, part)  # type: ignore[arg-type]
        latents, _ = cache_latents(tmp_path / "latents", pairs, vae, SQUARE, part)
        assert len(latents) > 0
    assert len(store) == len(latents) == 12
    assert sorted(llm.asked) == sorted(pairs.texts())
    assert len(store.shards) == 3


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_parts_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N"):
        read_part(text)


def test_values_do_not_depend_on_where_an_earlier_start_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm4gen_model.training import cache, store

    for name, value in (("ENCODE_BATCH", 4), ("CHUNK", 8), ("TEXT_SHARD_ENTRIES", 8)):
        monkeypatch.setattr(cache, name, value)
    texts = [f"{'word ' * (number % 7)}{number}" for number in range(30)]
    whole = cache_text(tmp_path / "whole", texts, language_model(), dtype=torch.float32)
    llm, written = language_model(), store.write_shard

    def failing(*arguments: object) -> None:
        if len(list((tmp_path / "stopped").glob("*.safetensors"))) == 2:
            raise KeyboardInterrupt
        written(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_shard", failing)
        with pytest.raises(KeyboardInterrupt):
            cache_text(tmp_path / "stopped", texts, llm, dtype=torch.float32)
    stopped = cache_text(tmp_path / "stopped", texts, llm, dtype=torch.float32)
    assert len(stopped.shards) == len(whole.shards) == 4
    assert all(torch.equal(stopped[text_key(text)], whole[text_key(text)]) for text in texts)


def test_another_encoders_cache_is_refused_with_the_difference(tmp_path: Path) -> None:
    cache_text(tmp_path, ["one"], language_model(max_tokens=12))
    with pytest.raises(UserError, match=r"features of another encoder \(.*max_tokens: 12 -> 9"):
        cache_text(tmp_path, ["one"], language_model(max_tokens=9))
    with pytest.raises(UserError, match="another encoder"):
        cache_text(tmp_path, ["one"], language_model(seed=1))
    with pytest.raises(UserError, match=r"cache_dtype: .*float16.* -> .*bfloat16"):
        cache_text(tmp_path, ["one"], language_model(max_tokens=12), dtype=torch.bfloat16)
    pairs = open_pairs(pairs_parquet(tmp_path / "a.parquet", 2), {"caption": 1.0})
    vae = tiny_vae().eval()
    cache_latents(tmp_path / "latents", pairs, vae, SQUARE)
    with pytest.raises(UserError, match=r"another encoder \(sizes: \[\[16, 16\]\] -> \[\[32, 32\]\]\)"):
        cache_latents(tmp_path / "latents", pairs, vae, [(32, 32)])
    with pytest.raises(UserError, match=r"another encoder \(vae: "):
        cache_latents(tmp_path / "latents", pairs, vae.half(), SQUARE)


def test_images_that_cannot_be_used_are_left_out_by_name(tmp_path: Path) -> None:
    path = pairs_parquet(tmp_path / "a.parquet", 5)
    keys = change_images(path, {2: b"no picture"})
    table = pq.read_table(path)
    edited = table["image"].to_pylist()
    edited[4] = {"bytes": encode(picture(99)), "path": None}  # and the hash is still the old picture's
    column = table.column_names.index("image")
    pq.write_table(table.set_column(column, "image", pa.array(edited, IMAGE)), path)
    pairs = open_pairs(path, {"caption": 1.0})
    vae = tiny_vae().eval()
    for _ in range(2):  # the second time from the cache
        store, unusable = cache_latents(tmp_path / "latents", pairs, vae, SQUARE, Part())
        assert unusable == {keys[2], keys[4]}
        assert len(store) == 3
    assert pairs.without_images(unusable).keys() == ["000000", "000001", "000003"]
    told = next((tmp_path / "latents").glob("unusable-*.json")).read_text()
    assert "not an image" in told
    assert "not those that the column sha256 tells of" in told
