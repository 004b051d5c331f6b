"""The cache command as a user runs it, and training without a cache."""

from pathlib import Path

import pytest
import yaml

from pipelines.mini.pairs import PAIRS_SEED, write_pairs
from tests.commands import assert_one_line, run

N_PAIRS = 300


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "pairs"
    write_pairs(N_PAIRS, PAIRS_SEED, folder, processes=1)
    return folder


def test_processes_fill_one_cache(pairs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ("llm4gen-model", "cache", "--data", pairs, "--cache", cache, "--set", "captions={short_caption: 1}")
    assert_one_line(run(*options, "--part", "3/2"), 2, "--part", "expected I/N")
    assert not cache.exists()
    filled = run(*options, "--processes", 2, "--verify")
    assert filled.returncode == 0, filled.stderr
    assert f"latents: {N_PAIRS} entries, " in filled.stdout
    assert "verified" in filled.stdout
    assert len(list((cache / "latents").glob("*.safetensors"))) == 2
    dry = run(*options, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert yaml.safe_load(dry.stdout)["captions"] == {"short_caption": 1.0}
    assert f"# latents: 0 of {N_PAIRS} to make" in dry.stdout


def test_training_without_a_cache_keeps_nothing_and_runs_on(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--set", "cache_mode=none", "--set", "aspect_ratio_buckets=true", "--set", "cam.num_heads=4")
    trained = run(
        *("llm4gen-model", "train", "--data", pairs, "--out", out, "--train-batch-size", 4, "--max-train-steps", 3),
        *options,
    )
    assert trained.returncode == 0, trained.stderr
    assert not (out / "cache").exists()
    assert (out / "model" / "llm4gen.json").exists()
