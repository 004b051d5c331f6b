"""A run over an imported folder, and its scores as the original scripts leave them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.config import BenchConfig, CompbenchOptions
from benchmarks.run import run
from benchmarks.suites.suite import Suite, by_category
from benchmarks.suites.t2i_compbench import suite as suites
from benchmarks.suites.t2i_compbench.export import export_run
from benchmarks.suites.t2i_compbench.language import SpatialTriplet
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt
from tests.unit.benchmarks.factories import tiny_clip
from tests.unit.benchmarks.suites.t2i_compbench.fakes import plain, prompt

HERE = "tests.unit.benchmarks.suites.t2i_compbench.test_run"
FAKES = "tests.unit.benchmarks.suites.t2i_compbench.fakes"
TEXTS = {
    "color": ["a red cat and a dog", "a blue cow"],
    "spatial": ["a cat on the left of a dog"],
    "complex": ["The cat sits."],
}


def prompt_set(n: int | None = None, seed: int = 0) -> list[Prompt]:
    pair = SpatialTriplet("cat", "on the left of", "dog")
    return [
        prompt("color", 0, TEXTS["color"][0], chunks=("a red cat", "a dog")),
        prompt("color", 1, TEXTS["color"][1], chunks=("a blue cow",)),
        prompt("spatial", 0, TEXTS["spatial"][0], triplet=pair),
        prompt("complex", 0, TEXTS["complex"][0], chunks=("The cat",), triplet=None, text="The cat", kind="action"),
    ]


def _suite(source: Suite) -> Suite:
    return Suite(
        metrics=source.metrics,
        prompts=f"{HERE}:prompt_set",
        n_prompts=4,
        group=by_category,
        protocol=source.protocol,
        by_category=source.by_category,
    )


OFFICIAL, FIXED = _suite(suites.OFFICIAL_2025_09), _suite(suites.FIXED_2025_09)


def images(root: Path, *categories: str) -> Path:
    for category in categories:
        (root / category / "samples").mkdir(parents=True)
        for i, text in enumerate(TEXTS[category]):
            for j in range(10):
                name = f"{text}_{10 * i + j:06d}.png"
                plain(100 + 10 * i + j).save(root / category / "samples" / name)
    return root


def config(folder: Path, clip: str = "", mode: str = "OFFICIAL", strict: bool = False) -> BenchConfig:
    back_ends = CompbenchOptions(
        vqa=f"{FAKES}:FakeVqa", detector=f"{FAKES}:FakeDetector", depth=f"{FAKES}:FakeDepth", clip=clip
    )
    return BenchConfig(
        suite=f"{HERE}:{mode}",
        images=(folder,),
        layout="t2i-compbench",
        strict=strict,
        t2i_compbench=back_ends,
        n_resamples=50,
    )


def read(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def test_imported_folder_is_scored_by_category_and_exported(tmp_path: Path) -> None:
    out = tmp_path / "run"
    clip = str(tiny_clip(tmp_path / "clip", context=24))
    run(config(images(tmp_path / "sd15", "color", "spatial", "complex"), clip, strict=True), out)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert list(results["metrics"]) == [f"t2i_compbench.{name}" for name in ("blip_vqa", "spatial_2d", "three_in_one")]
    assert results["metrics"]["t2i_compbench.blip_vqa"]["protocol"] == "t2i-compbench@2025-09/official"
    assert results["n_failed"] == 0

    lines = list(export_run(out, tmp_path / "tree"))
    assert len(lines) == 3
    blip = read(tmp_path / "tree/sd15/color/annotation_blip/vqa_result.json")
    assert blip[0] == {"question_id": 0, "answer": f"{0.5 * 0.45:.4f}"}
    assert [row["question_id"] for row in blip] == list(range(20))
    text = (tmp_path / "tree/sd15/color/annotation_blip/blip_vqa_score.txt").read_text()
    assert float(text.removeprefix("BLIP-VQA score:")) == pytest.approx(
        sum(float(str(row["answer"])) for row in blip) / 20
    )
    second = read(tmp_path / "tree/sd15/color/annotation2_blip/vqa_result.json")
    assert (len(second), second[0]) == (10, {"question_id": 0, "answer": "0.4500"})
    spatial = tmp_path / "tree/sd15/spatial/labels/annotation_obj_detection_2d"
    assert read(spatial / "vqa_result.json")[3] == {"question_id": 3, "answer": pytest.approx(0.925)}
    assert (spatial / "avg_score.txt").read_text().startswith("score avg:0.92")
    assert len(json.loads((spatial / "mapping.json").read_text())) == 10
    whole = read(tmp_path / "tree/sd15/complex/annotation_3_in_1/vqa_result.json")
    parts = [read(tmp_path / f"tree/sd15/complex/annotation_{name}/vqa_result.json") for name in ("blip", "clip")]
    attribute, cosine = float(str(parts[0][0]["answer"])), float(str(parts[1][0]["answer"]))
    assert whole[0]["answer"] == pytest.approx((attribute + cosine) / 2, abs=1e-4)
    with pytest.raises(UserError, match="exists already"):
        list(export_run(out, tmp_path / "tree"))


def test_only_the_back_ends_of_the_categories_at_hand_are_needed(tmp_path: Path) -> None:
    run(config(images(tmp_path / "sd15", "color"), clip="no/such-model"), tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert list(results["metrics"]) == ["t2i_compbench.blip_vqa"]


def test_fixed_scores_are_not_exported_as_the_originals(tmp_path: Path) -> None:
    run(config(images(tmp_path / "sd15", "color"), mode="FIXED"), tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert {row["kind"] for row in results["scores"]} == {"fixed"}
    with pytest.raises(UserError, match="no scores of a suite"):
        list(export_run(tmp_path / "run", tmp_path / "tree"))
    with pytest.raises(UserError, match="no finished run"):
        list(export_run(tmp_path, tmp_path / "tree"))


def test_a_category_that_the_version_does_not_have_is_refused(tmp_path: Path) -> None:
    suite = "t2i-compbench@2024-01/official"
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "two cats", "prompt_id": "n", "category": "numeracy"}\n')
    (tmp_path / "pictures").mkdir()
    plain(1).save(tmp_path / "pictures" / "n.png")
    with pytest.raises(UserError, match="no metric for prompts of category numeracy"):
        run(
            BenchConfig(
                suite=suite,
                images=(tmp_path / "pictures",),
                layout="folder",
                prompts=tmp_path / "prompts.jsonl",
            ),
            tmp_path / "run",
        )


def test_with_a_model_what_is_not_there_is_told_before_drawing(tmp_path: Path) -> None:
    drawn = BenchConfig(suite=f"{HERE}:OFFICIAL", models=("mini",), t2i_compbench=CompbenchOptions(vqa="magic"))
    with pytest.raises(UserError, match="VQA model 'magic' is unknown"):
        run(drawn, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    for changes, message in (
        ({"images": (tmp_path,), "prompts": tmp_path / "p.txt"}, "its own prompts; expected --layout folder as well"),
        ({"models": ("mini",), "prompts": tmp_path / "p.txt"}, "expected --set generate.prompts=FILE"),
        ({"models": ("mini",), "strict": True}, "are for --images"),
        ({"models": ("mini",), "layout": "geneval"}, "are for --images"),
        ({"images": (tmp_path,), "layout": "magic"}, "image layout 'magic' is unknown"),
    ):
        values: dict[str, Any] = {"suite": "scenes", **changes}
        with pytest.raises(UsageError, match=message):
            run(BenchConfig(**values), tmp_path / "run")


def test_strict_stops_before_anything_is_written(tmp_path: Path) -> None:
    folder = images(tmp_path / "sd15", "color")
    (folder / "color" / "samples" / f"{TEXTS['color'][0]}_000003.png").unlink()
    with pytest.raises(UserError, match=r"--strict: .*1 of 20 pictures"):
        run(config(folder, strict=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run(config(folder), tmp_path / "run")


def test_a_detector_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="VQA model 'magic' is unknown"):
        run(
            BenchConfig(
                suite=f"{HERE}:OFFICIAL",
                images=(images(tmp_path / "sd15", "color"),),
                layout="t2i-compbench",
                t2i_compbench=CompbenchOptions(vqa="magic"),
            ),
            tmp_path / "run",
        )
