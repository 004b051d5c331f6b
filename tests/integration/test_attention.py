"""The bundled model drawn and looked into, by the commands."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.commands import assert_one_line, run

PROMPT = (
    "A teal pentagon and a brown crescent follow one another from left to right. Both are small. The pentagon has a "
    "dotted surface. Dark dots cover the crescent. The whole background is gray."
)


@pytest.fixture(autouse=True, scope="module")
def minilm() -> None:
    from llm4gen_model.llms.pretrained import package_folder
    from llm4gen_model.llms.sentence import PACKAGE

    if package_folder(PACKAGE) is None:
        pytest.skip(f"the package {PACKAGE} is not installed")


def test_the_bundled_model_shows_where_it_looked(tmp_path: Path) -> None:
    command = ["llm4gen-model", "attention", "--model", "cam-mini", "--steps", 2, "--prompt", PROMPT]
    result = run(*command, "--out", tmp_path / "picture.png", "--words", "teal,brown crescent,gray")
    assert result.returncode == 0, result.stderr
    assert "3 words, 7 layers, 2 steps" in result.stdout
    assert Image.open(tmp_path / "picture.png").height >= 2 * 144
    assert_one_line(run(*command, "--out", tmp_path / "other.png", "--words", "cube"), 2, "word 'cube'")
    assert not (tmp_path / "other.png").exists()


def test_the_bundled_model_beside_its_base(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(f"a red star\n{PROMPT}\n")
    options = ["--compare", "base", "--steps", 2, "--prompts", tmp_path / "prompts.txt", "--dtype", "bfloat16"]
    result = run("llm4gen-model", "generate", "--model", "cam-mini", *options, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "out/images.parquet").to_pylist()
    assert [row["model"] for row in rows] == ["mini", "mini", "cam-mini", "cam-mini"]
    assert len({row["sha256"] for row in rows}) == 4
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["fingerprint"]["sampling"]["dtype"] == "bfloat16"
