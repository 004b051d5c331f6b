from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_model.training.cache import cache_latents, cache_text, open_store, square, text_key
from llm4gen_model.training.data import open_pairs
from tests.factories import encode, language_model, pairs_parquet, picture, tiny_vae


def test_latents_are_the_vae_moments_of_each_image(tmp_path: Path) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "a.parquet", 5), {"caption": 1.0})
    vae = tiny_vae().eval()
    store, unusable = cache_latents(tmp_path / "latents", pairs, vae, 16)
    assert not unusable
    for number, sha256 in enumerate(pairs.table["sha256"].to_pylist()):
        pixels = np.asarray(square(encode(picture(number, (24, 20))), 16)).copy()
        with torch.no_grad():
            dist = vae.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist
        assert torch.allclose(store[sha256], dist.parameters, atol=2e-3)


def test_square_keeps_the_middle_at_the_right_scale() -> None:
    wide = Image.new("RGB", (40, 20), "black")
    wide.paste("white", (10, 0, 30, 20))
    assert np.asarray(square(encode(wide), 10)).min() > 200


def test_text_features_are_the_models_own_without_padding(tmp_path: Path) -> None:
    llm = language_model()
    texts = ["a", "a red circle", "", "some words more than the others"]
    store = cache_text(tmp_path, texts, llm)
    for text, features in zip(texts, llm.encode(texts), strict=True):
        assert store[text_key(text)].shape == features.shape
        assert torch.allclose(store[text_key(text)], features, atol=2e-3)


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


def test_another_encoders_cache_is_refused_with_the_difference(tmp_path: Path) -> None:
    cache_text(tmp_path, ["one"], language_model(max_tokens=12))
    with pytest.raises(UserError, match=r"features of another encoder \(.*max_tokens: 12 -> 9"):
        cache_text(tmp_path, ["one"], language_model(max_tokens=9))
    with pytest.raises(UserError, match="another encoder"):
        cache_text(tmp_path, ["one"], language_model(seed=1))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    cache_text(tmp_path, ["one"], language_model())
    shard = next(tmp_path.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(UserError, match=rf"{shard.name}: damaged"):
        cache_text(tmp_path, ["one"], language_model())


def test_values_that_are_not_finite_are_never_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path, {"encoder": "x"})
    with pytest.raises(UserError, match="not finite"):
        store.add(["bad"], [torch.tensor([[1e9]])])
    assert not list(tmp_path.glob("*.safetensors"))


def test_an_image_that_cannot_be_decoded_is_left_out_by_name(tmp_path: Path) -> None:
    path = pairs_parquet(tmp_path / "a.parquet", 4)
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["image"]["bytes"] = b"no picture"
    pq.write_table(table.from_pylist(rows, schema=table.schema), path)
    pairs = open_pairs(path, {"caption": 1.0})
    vae = tiny_vae().eval()
    for _ in range(2):  # the second time from the cache
        store, unusable = cache_latents(tmp_path / "latents", pairs, vae, 16)
        assert unusable == {rows[2]["sha256"]}
        assert len(store.entries) == 3
    assert pairs.without_images(unusable).keys() == ["000000", "000001", "000003"]
