"""The engine: each image once through each encoder, in one process or several, killed or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.config import AestheticOptions, BenchConfig, ClipScoreOptions
from benchmarks.encoders import load_encoder
from benchmarks.feature_cache import FeatureCache
from benchmarks.images import load_image, read_manifests
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.clip_encoder import ClipEncoder
from benchmarks.metrics.metric import load_metric
from benchmarks.records import BenchImage
from benchmarks.run import run
from benchmarks.scoring import Batch, pending_batches, score_images, score_table
from benchmarks.suites.suite import by_category
from benchmarks.workers import score_in_processes
from llm4gen_data.errors import UserError
from tests.unit.benchmarks.factories import scene_manifest, tiny_clip, tiny_head

BRIGHTNESS = "tests.unit.benchmarks.fake_metric:Brightness"
Options = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene_manifest(tmp_path_factory.mktemp("scenes"), 5)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    clip = str(tiny_clip(tmp_path_factory.mktemp("clip")))
    head = tiny_head(tmp_path_factory.mktemp("head") / "head.pth", 8)
    return {"clip_score": {"model": clip}, "aesthetic": {"head": head, "model": clip}, BRIGHTNESS: {}}


@pytest.fixture(autouse=True)
def no_models() -> None:
    load_encoder.cache_clear()


@pytest.fixture
def n_encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of an encoder got."""
    sizes: list[int] = []
    encode = ClipEncoder.encode

    def counted(self: ClipEncoder, images: Any) -> np.ndarray:
        sizes.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(ClipEncoder, "encode", counted)
    return sizes


def images_of(folder: Path) -> list[BenchImage]:
    return read_manifests([folder], by_category)[0]


def scored(folder: Path, options: Options, path: Path, cache: FeatureCache | None = None, batch_size: int = 4) -> Any:
    images = images_of(folder)
    metrics = {name: load_metric(name, own) for name, own in options.items()}
    for metric in metrics.values():
        metric.check([image.prompt for image in images])
    journal = ScoreJournal(path, {name: f"key of {name}" for name in metrics})
    score_images(images, metrics, journal, pending_batches(journal, len(images), batch_size), cache)
    return score_table(images, journal)


def test_metrics_of_one_encoder_share_its_pass(
    folder: Path, options: Options, tmp_path: Path, n_encoded: list[int]
) -> None:
    together = scored(folder, options, tmp_path / "j")
    assert n_encoded == [4, 4, 2]
    for name in ("clip_score", "aesthetic"):
        alone = scored(folder, {name: options[name]}, tmp_path / name)
        assert list(alone["value"]) == list(together.loc[together["metric"] == name, "value"])


def test_a_metric_that_is_added_later_costs_only_its_head(
    folder: Path, options: Options, tmp_path: Path, n_encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "features.sqlite")
    first = scored(folder, {"clip_score": options["clip_score"]}, tmp_path / "j", cache)
    assert n_encoded == [4, 4]  # the last two pictures were seen before
    load_encoder.cache_clear()
    monkeypatch.setattr(ClipEncoder, "_tower", None)  # no tower is even loaded
    both = scored(folder, {name: options[name] for name in ("clip_score", "aesthetic")}, tmp_path / "j", cache)
    assert n_encoded == [4, 4]
    assert list(both.loc[both["metric"] == "clip_score", "value"]) == list(first["value"])
    monkeypatch.undo()
    fresh = scored(folder, {"aesthetic": options["aesthetic"]}, tmp_path / "fresh")
    assert list(fresh["value"]) == list(both.loc[both["metric"] == "aesthetic", "value"])


def test_a_run_takes_further_metrics_but_no_other_ones(
    folder: Path, options: Options, tmp_path: Path, n_encoded: list[int]
) -> None:
    clip, head = options["clip_score"]["model"], options["aesthetic"]["head"]
    own = {"clip_score": ClipScoreOptions(clip), "aesthetic": AestheticOptions(head, clip)}

    def start(*metrics: str, **changes: Any) -> None:
        settings = {**own, "n_resamples": 50, "max_gallery_rows": 0, **changes}
        run(BenchConfig(suite="scenes", images=(folder,), metrics=metrics, **settings), tmp_path / "out")

    start("clip_score")
    start("clip_score", "aesthetic")
    assert sum(n_encoded) == 10
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert scores.groupby("metric").size().to_dict() == {"aesthetic": 10, "clip_score": 10}
    with pytest.raises(UserError, match=r"metrics.aesthetic.*another --out"):
        start("clip_score")
    with pytest.raises(UserError, match=r"metrics.clip_score.dtype: .*bfloat16"):
        start("clip_score", "aesthetic", clip_score=ClipScoreOptions(clip, dtype="bfloat16"))
    with pytest.raises(UserError, match="n_resamples: 50 -> 60"):
        start("clip_score", "aesthetic", BRIGHTNESS, n_resamples=60)


def test_several_processes_give_what_one_gives(folder: Path, tmp_path: Path) -> None:
    images, own = images_of(folder), {BRIGHTNESS: dict[str, Any]()}
    journal = ScoreJournal(tmp_path / "two", {BRIGHTNESS: "key"})
    score_in_processes(images, own, journal, pending_batches(journal, len(images), 4), None, 2)
    assert pending_batches(journal, len(images), 4) == []
    assert score_table(images, journal).equals(scored(folder, own, tmp_path / "one"))


def test_what_is_wrong_in_a_process_is_one_line(folder: Path, tmp_path: Path) -> None:
    images = images_of(folder)
    journal = ScoreJournal(tmp_path / "j", {"killer": "k"})
    killer = {"tests.unit.benchmarks.fake_metric:Killer": dict[str, Any]()}
    batches = [Batch(0, 4, tuple(killer))]
    with pytest.raises(UserError, match="a scoring process died"):
        score_in_processes(images, killer, journal, batches, None, 2)


def test_too_large_batches_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"out of memory with 4 images at a time: .* smaller --set batch_size=N"):
        scored(folder, {"tests.unit.benchmarks.fake_metric:Glutton": {}}, tmp_path / "j")


def test_batches_are_fixed_ranges(tmp_path: Path) -> None:
    journal = ScoreJournal(tmp_path / "j", {"a": "1", "b": "2"})
    journal.append({number: {"a": [], "b": []} for number in (0, 1, 4)})
    journal.append({number: {"a": []} for number in (2, 3, 6)})
    assert pending_batches(journal, 7, 2) == [Batch(2, 4, ("b",)), Batch(4, 6, ("a", "b")), Batch(6, 7, ("b",))]


def test_images_that_cannot_be_read_are_rows_of_every_metric(
    options: Options, tmp_path: Path, n_encoded: list[int]
) -> None:
    folder = scene_manifest(tmp_path / "scenes", 3)
    (folder / "images" / "true" / "00001-0.png").write_bytes(b"no picture")
    rows = scored(folder, options, tmp_path / "j")
    failed = rows[rows["error_message"].notna()]
    assert list(failed["metric"]) == list(options)
    assert failed["value"].isna().all()
    assert n_encoded == [3, 2]


def test_the_cache_forgets_nothing_and_believes_nothing_damaged(tmp_path: Path) -> None:
    features = np.arange(6, dtype=np.float16).reshape(2, 3)
    cache = FeatureCache(tmp_path / "f")
    cache.put("e", ["x", "y"], features)
    again = FeatureCache(tmp_path / "f")
    found = again.get("e", ["y", "x", "y"])
    assert found is not None
    assert found.dtype == np.float16
    assert found.tolist() == features[[1, 0, 1]].tolist()
    assert again.get("e", ["x", "z"]) is None
    assert again.get("other", ["x"]) is None
    again._connection.execute("UPDATE features SET data = zeroblob(6) WHERE pixels = 'x'")
    assert again.get("e", ["x"]) is None
    (tmp_path / "text").write_text("no database " * 100, encoding="utf-8")
    with pytest.raises(UserError, match="text: cannot be used as feature cache"):
        FeatureCache(tmp_path / "text")


def test_pictures_are_known_by_their_pixels(folder: Path, options: Options, tmp_path: Path) -> None:
    """The same picture in another file, and of another model, is encoded once."""
    cache = FeatureCache(tmp_path / "features.sqlite")
    scored(folder, options, tmp_path / "j", cache)
    [(n_rows,)] = cache._connection.execute("SELECT count(*) FROM features")
    assert n_rows == 5  # ten images: `shifted` shows those of `true` again
    assert len({load_image(image).tobytes() for image in images_of(folder)}) == 5
