"""T2I-CompBench's positions and numbers with transformers' detectors, and FID, as users run them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.suites.t2i_compbench.language import SpatialTriplet
from llm4gen_data.scenes.render import render
from tests.commands import assert_one_line, run
from tests.unit.benchmarks.factories import scenes, write_manifest
from tests.unit.benchmarks.metrics.tiny_models import tiny_dpt_hybrid, tiny_owlv2
from tests.unit.benchmarks.suites.t2i_compbench.fakes import prompt

FIXED = "t2i-compbench@2025-09/fixed"
UNIDET = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    cat, dog = ({"label": word, "box": [x, 0, x + 200, 300], "score": 0.9} for word, x in (("cat", 0), ("dog", 10)))
    many = {"detections": [[cat, dog] for _ in request.get("images", ())]}
    print(json.dumps({"identity": {"weights": "abc"}} if request["request"] == "identity" else many), flush=True)
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    pair, behind = SpatialTriplet("cat", "near", "dog"), SpatialTriplet("cat", "behind", "dog")
    prompts = [
        prompt("spatial", 0, "a cat near a dog", triplet=pair),
        prompt("3d_spatial", 0, "a cat behind a dog", triplet=behind),
        prompt("numeracy", 0, "a cat and two dogs", counts={"cat": 1, "dog": 2}),
    ]
    drawn = [render(scene).resize((96, 64)) for scene in scenes(6)]
    return write_manifest(tmp_path / "images", prompts, {"model": drawn}, n_samples=2)


def results_of(out: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def test_positions_and_numbers_by_transformers(pictures: Path, tmp_path: Path) -> None:
    owl, dpt = tiny_owlv2(tmp_path / "owl"), tiny_dpt_hybrid(tmp_path / "dpt")
    options = {"detector": "owlv2", "detector_options.model": owl, "depth_options.model": dpt}
    options |= {"detector_options.threshold": 0.0, "depth_options.size_px": 64}
    sets = [word for key, value in options.items() for word in ("--set", f"t2i_compbench.{key}={value}")]
    line = ("llm4gen-bench", "run", "--suite", FIXED, "--images", pictures, *sets, "--set", "n_resamples=100")
    result = run(*line, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    results = results_of(tmp_path / "run")
    assert list(results["metrics"]) == [f"t2i_compbench.{name}" for name in ("spatial_2d", "spatial_3d", "numeracy")]
    for identity in results["metrics"].values():
        assert identity["detector"]["comparable_with_unidet"] is False
        assert identity["detector"]["model_type"] == "owlv2"
    assert results["metrics"]["t2i_compbench.spatial_3d"]["depth"]["input"].startswith("64 x 64 px")
    assert results["n_failed"] == 0
    overall = [row for row in results["scores"] if row["category"] is None]
    assert all(0 <= row["mean"] <= 1 and row["n_images"] == 2 for row in overall)


def test_unidet_in_an_interpreter_of_its_own(pictures: Path, tmp_path: Path) -> None:
    line = ("llm4gen-bench", "run", "--suite", FIXED, "--images", pictures, "--metrics", "t2i_compbench.spatial_2d")
    missing = run(*line, "--out", tmp_path / "run")
    assert_one_line(missing, 1, "Unified_learned_OCIM_RS200", "detector_options.command")
    (tmp_path / "unidet.py").write_text(UNIDET)
    command = f"t2i_compbench.detector_options.command='{sys.executable} {tmp_path / 'unidet.py'}'"
    result = run(*line, "--set", command, "--set", "n_resamples=100", "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    results = results_of(tmp_path / "run")
    assert results["metrics"]["t2i_compbench.spatial_2d"]["detector"]["program"] == {"weights": "abc"}
    (row,) = [row for row in results["scores"] if row["category"] is None]
    assert row["mean"] == pytest.approx(0.25 * 0.9 * 2 + 0.5)


def test_fid_by_a_bundled_clip(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for i, scene in enumerate(scenes(8, first_seed=900)):
        render(scene).save(real / f"{i}.png")
    line = ("llm4gen-bench", "run", "--suite", "coco", "--images", pictures, "--metrics", "fid,clip_score")
    sets = ("--set", "fid.mode=clip", "--set", "fid.model=clip-mini", "--set", "fid.kid_subset_size=5")
    monkeypatch.setenv("LLM4GEN_CACHE", str(tmp_path / "cache"))
    assert_one_line(run(*line, *sets, "--out", tmp_path / "run"), 1, "fid.reference=FOLDER")
    more = ("--set", f"fid.reference={real}", "--set", "clip_score.model=clip-mini", "--set", "n_resamples=100")
    result = run(*line, *sets, *more, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    kinds = {row["kind"]: row for row in results_of(tmp_path / "run")["scores"] if row["category"] is None}
    assert kinds["fid[clip:clip-mini]"]["mean"] > 0
    assert kinds["fid[clip:clip-mini]"]["low"] is None
    assert kinds["kid[clip:clip-mini] std"]["n_images"] == 6
    assert kinds["cosine"]["low"] is not None
    assert "6 pictures against 8 pictures of real; no interval" in result.stdout
    Image.new("RGB", (8, 8)).save(real / "more.png")
    # the reference is another one now: these are other numbers
    assert_one_line(run(*line, *sets, *more, "--out", tmp_path / "run"), 1, "reference")
