"""The public prompt files, where they lie beside the checkout; the project does not contain them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[5]
FOLDER = Path(os.environ.get("LLM4GEN_TEST_DATA", ROOT.parent / "shared" / "data")) / "t2i_compbench"

needs_prompt_files = pytest.mark.skipif(
    not (FOLDER / "complex_val.txt").is_file(), reason="no public prompt files; $LLM4GEN_TEST_DATA names their folder"
)


def lines(name: str) -> list[str]:
    text = (FOLDER / name).read_bytes().decode()
    return [line.strip() for line in text.split("\n") if line.strip()]
