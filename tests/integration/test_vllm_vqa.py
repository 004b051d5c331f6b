"""VQAScore by `llm4gen-bench run`: vlm-mini on transformers and on vLLM judges alike, its question stands beside."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4gen_data.records import Prompt
from llm4gen_data.scenes.render import render
from tests.commands import assert_one_line, run
from tests.unit.benchmarks.factories import prompts_of, scenes, write_manifest

N_PROMPTS = 6


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts name one object; `true` draws it, `other` another scene."""
    drawn = scenes(N_PROMPTS, first_seed=1_000_000)
    prompts = []
    for prompt, scene in zip(prompts_of(drawn), drawn, strict=True):
        text = f"a {scene.objects[0].color} {scene.objects[0].shape}"
        prompts.append(Prompt(prompt.prompt_id, text, prompt.category, 3, None))
    pictures = [render(scene) for scene in drawn]
    models = {"true": pictures, "other": [*pictures[1:], pictures[0]]}
    return write_manifest(tmp_path_factory.mktemp("vqa") / "images", prompts, models)


def scored(images: Path, out: Path, *sets: str) -> dict[tuple[str, str], float]:
    options = [part for text in sets for part in ("--set", text)]
    line = ("llm4gen-bench", "run", "--suite", "scenes", "--metrics", "vqascore", "--images", images, "--out", out)
    result = run(*line, *options, timeout_s=600)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert all("Is there a " in row["reason"] for row in rows)
    return {(row["model"], row["prompt_id"]): row["value"] for row in rows}


@pytest.mark.slow
def test_transformers_and_vllm_give_the_same_scores(images: Path, tmp_path: Path) -> None:
    plain = scored(images, tmp_path / "transformers")
    true, other = ([value for (model, _), value in plain.items() if model == name] for name in ("true", "other"))
    assert sum(true) / len(true) > 0.8 > 0.4 > sum(other) / len(other)
    results = json.loads((tmp_path / "transformers" / "results.json").read_text(encoding="utf-8"))
    identity = results["metrics"]["vqascore"]
    assert "Is there {} in the picture? Answer yes or no." in json.dumps(identity)
    pytest.importorskip("vllm")
    assert scored(images, tmp_path / "vllm", "vqascore.vqa=vllm") == pytest.approx(plain, abs=1e-3)


def test_weights_that_are_not_there_are_told_before_any_image_is_read(images: Path, tmp_path: Path) -> None:
    line = ("llm4gen-bench", "run", "--suite", "scenes", "--metrics", "vqascore", "--images", images, "--out")
    result = run(*line, tmp_path / "out", "--set", "vqascore.vqa=clip_flant5")
    assert_one_line(result, 1, "clip_flant5: no weights given", "https://", "vqascore.vqa_options.weights=DIR")
    result = run(*line, tmp_path / "out", "--set", "vqascore.vqa=blip_vqa")
    assert_one_line(result, 1, "model_base_vqa_capfilt_large.pth", "https://")
    assert not (tmp_path / "out").exists()
