"""FID and its kin through a run, with encoders whose features are known."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import BenchConfig, FidOptions
from benchmarks.metrics.distances import frechet_distance, gaussian
from benchmarks.metrics.fid import Fid
from benchmarks.run import run
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt
from tests.unit.benchmarks.factories import write_manifest

HERE = "tests.unit.benchmarks.metrics.test_fid"
MODE = f"{HERE}:MeanColour"
PROMPTS = [Prompt(f"p{i}", f"picture {i}", "all", 2, None) for i in range(6)]


class MeanColour:
    """Three features, the mean of each colour / 255, and two logits."""

    n_logits = 2
    calls = 0

    def __init__(self, *options: Any) -> None:
        self.options = options

    def identity(self) -> dict[str, Any]:
        return {"encoder": "mean colour"}

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        MeanColour.calls += 1
        return np.stack([np.append(colours(image), [9.0, 0.0]) for image in images]).astype(np.float32)


def colours(image: Image.Image) -> np.ndarray:
    return np.asarray(np.asarray(image, np.float64).mean(axis=(0, 1)) / 255)


def noise(first_seed: int, n: int, high: int = 255) -> list[Image.Image]:
    shape = (8, 8, 3)
    return [
        Image.fromarray(np.random.default_rng(first_seed + i).integers(0, high, shape, dtype=np.uint8))
        for i in range(n)
    ]


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM4GEN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "real" / "deeper").mkdir(parents=True)
    for i, picture in enumerate(noise(100, 9)):
        picture.save(tmp_path / "real" / ("deeper" if i % 2 else ".") / f"{i}.png")
    return tmp_path / "real"


def results_of(out: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def config(folder: Path, reference: Path, **options: Any) -> BenchConfig:
    fid = FidOptions(reference=reference, mode=MODE, kid_subsets=5, kid_subset_size=4, is_splits=2, **options)
    return BenchConfig(suite="coco", images=(folder,), metrics=("fid",), fid=fid, batch_size=4)


def test_one_number_a_model(tmp_path: Path, reference: Path) -> None:
    pictures = {"near": noise(0, 6), "dark": noise(50, 6, high=90)}
    folder = write_manifest(tmp_path / "images", PROMPTS, pictures)
    out = tmp_path / "run"
    run(config(folder, reference), out)
    results = results_of(out)
    rows = {(row["model"], row["kind"]): row for row in results["scores"]}
    real = gaussian(np.stack([colours(picture) for picture in noise(100, 9)]))
    for model, own in pictures.items():
        expected = frechet_distance(gaussian(np.stack([colours(picture) for picture in own])), real)
        row = rows[model, f"fid[{MODE}]"]
        assert row["mean"] == pytest.approx(expected, rel=1e-4)
        assert (row["low"], row["high"], row["n_images"], row["n_prompts"]) == (None, None, 6, 6)
        assert rows[model, f"is[{MODE}]"]["mean"] == pytest.approx(1)
    assert rows["near", f"kid[{MODE}]"]["mean"] < rows["dark", f"kid[{MODE}]"]["mean"]
    assert results["comparisons"] == []
    assert results["metrics"]["fid"]["reference"]["n_images"] == 9
    assert any("6 pictures against 9 pictures of real; no interval" in note for note in results["notes"])
    assert "mean of 5 subsets of 4 pictures" in " ".join(results["notes"])
    assert f"fid[{MODE}]" in (out / "tables" / "scores.md").read_text(encoding="utf-8")


def test_reference_and_pictures_are_encoded_once(tmp_path: Path, reference: Path) -> None:
    folder = write_manifest(tmp_path / "images", PROMPTS, {"near": noise(0, 6)})
    MeanColour.calls = 0
    run(config(folder, reference), tmp_path / "run")
    assert MeanColour.calls == 3  # 1 of the reference, 2 of the pictures, which the corpus takes from the cache
    run(config(folder, reference, seed=1), tmp_path / "again")
    assert MeanColour.calls == 5
    files = [file.name for file in (tmp_path / "cache" / "fid").iterdir()]
    assert len(files) == 1
    (reference / "more.png").write_bytes((reference / "0.png").read_bytes())
    run(config(folder, reference), tmp_path / "other")
    assert results_of(tmp_path / "other")["metrics"]["fid"]["reference"]["n_images"] == 10


def test_models_are_judged_by_the_pictures_that_all_have(tmp_path: Path, reference: Path) -> None:
    folder = write_manifest(tmp_path / "images", PROMPTS, {"a": noise(0, 6), "b": noise(20, 6)})
    (folder / "images" / "a" / "00002-0.png").write_bytes(b"no picture")
    run(config(folder, reference), tmp_path / "run")
    rows = [row for row in results_of(tmp_path / "run")["scores"] if row["kind"] == f"fid[{MODE}]"]
    assert [(row["model"], row["n_images"], row["n_failed"]) for row in rows] == [("a", 5, 1), ("b", 5, 0)]


def test_published_statistics(tmp_path: Path, reference: Path) -> None:
    real = gaussian(np.stack([colours(picture) for picture in noise(100, 9)]))
    np.savez(tmp_path / "real.npz", mu=real.mean, sigma=real.covariance)
    metric = Fid(reference=tmp_path / "real.npz", mode=MODE)
    own = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    fid, kid, *_ = metric.score_corpus(own)
    assert fid.value == pytest.approx(frechet_distance(gaussian(own[:, :3]), real))
    assert "unknown number" in fid.note
    assert kid.value is None
    assert "statistics are not enough" in kid.note
    with pytest.raises(UserError, match="statistics of 3 features"):
        metric.score_corpus(own[:, :4])
    few = Fid(reference=reference, mode=MODE).score_corpus(own)
    assert {score.kind: score.value for score in few}[f"kid[{MODE}]"] is None
    assert "kid_subset_size=N" in few[1].note


def test_what_cannot_be_used_is_one_line(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of clip, .*clean"):
        Fid(reference=reference, mode="magic")
    with pytest.raises(UserError, match="nothing to compare with"):
        Fid(mode=MODE)
    with pytest.raises(UserError, match="no such folder"):
        Fid(reference=tmp_path / "none", mode=MODE)
    with pytest.raises(UserError, match=r"inception-2015-12-05\.pt from https.*f58cb9b6.*fid\.model"):
        Fid(reference=reference)
    with pytest.raises(UserError, match=r"weights-inception-2015-12-05-6726825d\.pth from https"):
        Fid(reference=reference, mode="torch-fidelity")
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match=r"expected an \.npz file with mu"):
        Fid(reference=tmp_path / "pickle.npy", mode=MODE).identity()
    (reference / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.jpg"):
        Fid(reference=reference, mode=MODE).identity()
