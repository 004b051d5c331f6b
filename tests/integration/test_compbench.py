"""T2I-CompBench as users run it: prompts read once, pictures of other tools scored, results exported."""

import json
from pathlib import Path

import pytest

from llm4gen_data.densprompts.audit.linguistic import load_pipeline
from tests.commands import assert_one_line, run
from tests.unit.benchmarks.factories import tiny_clip, write_manifest
from tests.unit.benchmarks.t2i_compbench.data import ROOT
from tests.unit.benchmarks.t2i_compbench.fakes import plain, prompt

SUITE = "t2i-compbench@2025-09/official"
OWN = ("A person is looking at a rainbow.", "Two dogs/cats " + "sit <script>alert(1)</script> " * 66)

pytestmark = pytest.mark.skipif(load_pipeline() is None, reason="no English spaCy model")


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
    fake = "t2i_compbench.vqa=tests.unit.benchmarks.t2i_compbench.fakes:FakeVqa"
    line = ("llm4gen-bench", "run", "--suite", SUITE, "--images", folder, "--set", fake, "--out", tmp_path / "run")
    assert_one_line(run(*line, PYTHONPATH=str(ROOT)), 1, "color-000", "color_val.txt", "0000000000")
