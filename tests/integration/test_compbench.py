"""T2I-CompBench as users run it: prompts read once, pictures of other tools scored, results exported."""

import json
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks.metrics.blip_vqa import MEAN, STD
from benchmarks.suites.t2i_compbench.linguistics import facts_of
from llm4gen_data.densprompts.audit.linguistic import load_pipeline
from tests.commands import assert_one_line, run
from tests.factories import picture
from tests.unit.benchmarks.factories import tiny_clip, write_manifest
from tests.unit.benchmarks.metrics import blip_reference as blip
from tests.unit.benchmarks.suites.t2i_compbench.data import ROOT
from tests.unit.benchmarks.suites.t2i_compbench.fakes import plain, prompt

SUITE = "t2i-compbench@2025-09/official"
OWN = ("A person is looking at a rainbow.", "Two dogs/cats " + "sit <script>alert(1)</script> " * 66)

needs_spacy = pytest.mark.skipif(load_pipeline() is None, reason="no English spaCy model")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "own.txt").write_text("\n".join(OWN), encoding="utf-8")
    out = folder / "prompts.parquet"
    line = ("llm4gen-bench", "prompts", "--suite", SUITE, "--file", folder / "own.txt", "--category", "non_spatial")
    result = run(*line, "--out", out, LLM4GEN_CACHE=str(folder / "cache"))
    assert result.returncode == 0, result.stderr
    assert "2 prompts (non_spatial 2), read by spaCy" in result.stdout
    return out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("1-0", "1-1", "2-0", "2-1"):
        plain(10 + len(list(folder.iterdir()))).save(folder / f"{name}.png")
    return folder


@needs_spacy
def test_own_prompts_are_scored_and_exported(prompts: Path, pictures: Path, tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path / "clip", context=48)
    line = ("llm4gen-bench", "run", "--suite", SUITE, "--images", pictures, "--layout", "folder", "--prompts", prompts)
    options = ("--strict", "--set", f"t2i_compbench.clip={clip}", "--set", "n_resamples=100")
    result = run(*line, *options, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    # the prompt of 2,000 characters is too long for the official scorer: told, and never a zero
    assert (results["n_images"], results["n_failed"]) == (4, 2)
    assert "on prompts of the user's" in results["metrics"]["t2i_compbench.clip"]["parser"]
    result = run("llm4gen-bench", "export", tmp_path / "run", "--out", tmp_path / "tree")
    assert result.returncode == 0, result.stderr
    assert "2 failed, left out" in result.stdout
    answers = json.loads((tmp_path / "tree/pictures/non_spatial/annotation_clip/vqa_result.json").read_text())
    assert [row["question_id"] for row in answers] == [0, 1]


@needs_spacy
def test_bad_input_is_one_line(prompts: Path, pictures: Path, tmp_path: Path) -> None:
    line = ("llm4gen-bench", "run", "--suite", SUITE, "--images", pictures, "--out", tmp_path / "run")
    folder = ("--layout", "folder", "--prompts", prompts)
    assert_one_line(run(*line, "--layout", "magic"), 2, "image layout 'magic' is unknown", "t2i-compbench")
    (pictures / "2-1.png").write_bytes(b"no picture")
    assert_one_line(run(*line, *folder), 1, "2-1.png", "--allow-missing")
    assert_one_line(run(*line, *folder, "--allow-missing", "--strict"), 1, "--strict", "2-1.png")
    (pictures / "2-1.png").unlink()
    assert_one_line(run(*line, *folder, "--strict"), 1, "1 of 2 prompts have fewer than 2 images")
    assert not (tmp_path / "run").exists()
    write = ("llm4gen-bench", "prompts", "--out", tmp_path / "p.parquet", "--suite")
    assert_one_line(run(*write, "t2i-compbench@1999"), 2, "is unknown: expected t2i-compbench@VERSION/MODE")
    absent = run(*write, SUITE, "--from", tmp_path, LLM4GEN_CACHE=str(tmp_path / "cache"))
    assert_one_line(absent, 1, "color_val.txt: no such file")
    assert_one_line(run("llm4gen-bench", "export", tmp_path, "--out", tmp_path / "t"), 1, "no finished run")


def test_mixed_protocols_are_refused(tmp_path: Path, pictures: Path) -> None:
    old = prompt("color", 0, "a red cat", chunks=("a red cat",), file_sha256="0" * 64)
    folder = write_manifest(tmp_path / "images", [old], {"model": [plain(9)]})
    fake = "t2i_compbench.vqa=tests.unit.benchmarks.suites.t2i_compbench.fakes:FakeVqa"
    line = ("llm4gen-bench", "run", "--suite", SUITE, "--images", folder, "--set", fake, "--out", tmp_path / "run")
    assert_one_line(run(*line, PYTHONPATH=str(ROOT)), 1, "color-000", "color_val.txt", "0000000000")


def test_attributes_by_an_original_checkpoint(tmp_path: Path) -> None:
    """From pictures to the original's files, by BLIP-VQA in its original layout: every answer is told and counts."""
    prompts = [
        prompt("color", 0, "a red cube and a blue ball", chunks=("a red cube", "a blue ball")),
        prompt("color", 1, "a blue cube", chunks=("a blue cube",)),
        prompt("shape", 0, "a cube and a ball", chunks=("a cube", "a ball")),
        prompt("texture", 0, "a blue ball", chunks=("a blue ball",)),
    ]
    pictures = [picture(seed) for seed in range(2 * len(prompts))]
    folder = write_manifest(tmp_path / "images", prompts, {"sd15": pictures}, n_samples=2)
    weights = blip.random_checkpoint()
    checkpoint, vocabulary = blip.write_original(tmp_path, weights)
    values = {"weights": checkpoint, "vocabulary": vocabulary, "image_size": blip.IMAGE}
    values |= {"vision_heads": blip.HEADS, "text_heads": blip.HEADS}
    sets = [f"t2i_compbench.vqa_options.{name}={value}" for name, value in values.items()]
    line = ("llm4gen-bench", "run", "--suite", SUITE, "--images", folder, "--out", tmp_path / "run")
    options = [word for value in (*sets, "n_resamples=100", "batch_size=3") for word in ("--set", value)]
    result = run(*line, *options)
    assert result.returncode == 0, result.stderr

    scores = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    assert scores["metric"].eq("t2i_compbench.blip_vqa").all()
    assert scores["value"].notna().sum() == len(pictures)
    expected = {}
    for i, asked in enumerate(prompts):
        chunks = facts_of(asked.spec, asked.prompt_id).chunks or ()
        for sample in range(2):
            yes = [_p_yes(weights, pictures[2 * i + sample], f"{chunk} ?") for chunk in chunks]
            expected[asked.prompt_id, sample] = [(f"{chunk}?", p) for chunk, p in zip(chunks, yes, strict=True)]
    for row in scores.to_dict("records"):
        told = [part.rpartition(" ") for part in row["reason"].split("; ")]
        answers = expected[row["prompt_id"], row["sample_index"]]
        assert [phrase for phrase, _, _ in told] == [phrase for phrase, _ in answers]
        assert [float(value) for _, _, value in told] == pytest.approx([p for _, p in answers], abs=1e-4)
        assert row["value"] == pytest.approx(prod(p for _, p in answers), abs=2e-4)

    result = run("llm4gen-bench", "export", tmp_path / "run", "--out", tmp_path / "tree")
    assert result.returncode == 0, result.stderr
    color = tmp_path / "tree/sd15/color"
    first, second = (
        json.loads((color / f"annotation{place}_blip/vqa_result.json").read_text(encoding="utf-8")) for place in (1, 2)
    )
    assert [row["question_id"] for row in first] == [0, 1, 2, 3]
    assert [row["question_id"] for row in second] == [0, 1]
    assert float(first[0]["answer"]) == pytest.approx(expected["color-000", 0][0][1], abs=1e-4)
    assert (color / "annotation_blip/blip_vqa_score.txt").read_text().startswith("BLIP-VQA score:0.")
    assert sorted(path.name for path in color.parent.iterdir()) == ["color", "shape", "texture"]


def _p_yes(weights: blip.Weights, image: Image.Image, question: str) -> float:
    """By the evaluation that the model is tested against, on the picture as the original prepares it."""
    side = (blip.IMAGE, blip.IMAGE)
    shown = np.asarray(image.convert("RGB").resize(side, Image.Resampling.BICUBIC), dtype=np.float32) / 255
    pixels = torch.from_numpy((shown - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).permute(2, 0, 1)
    ids = [101, *(1 + blip.WORDS.index(word) for word in question.split()), 102]
    [value] = blip.yes_probability(weights, pixels[None], [ids])
    return value
