"""COCO captions as prompts."""

import json
from pathlib import Path

import pytest

from benchmarks.suites.coco import ANNOTATIONS, captions
from llm4gen_data.errors import UserError
from llm4gen_data.prompts import load_prompts


@pytest.fixture
def annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM4GEN_CACHE", str(tmp_path))
    rows = [
        {"image_id": image_id, "id": 10 * image_id + i, "caption": f"A cat  number {image_id}\non mat {i}. "}
        for image_id in range(1, 41)
        for i in range(5)
    ]
    (tmp_path / "coco").mkdir()
    file = tmp_path / "coco" / ANNOTATIONS
    file.write_text(json.dumps({"annotations": rows}), encoding="utf-8")
    return file


def test_one_caption_an_image_by_seed(annotations: Path) -> None:
    prompts = load_prompts("benchmarks.suites.coco:captions", n=20, seed=3)
    assert len({prompt.prompt_id.split("-")[0] for prompt in prompts}) == 20
    assert prompts == captions(20, 3)
    assert prompts != captions(20, 4)
    assert all(prompt.prompt.startswith("A cat number ") and "\n" not in prompt.prompt for prompt in prompts)
    assert len({prompt.prompt_id[-1] for prompt in prompts}) > 1  # not always the first of the five
    assert len(captions()) == 40


def test_what_is_not_there_is_one_line(annotations: Path) -> None:
    annotations.write_text('{"images": []}')
    with pytest.raises(UserError, match=r"not a file of COCO captions \(KeyError"):
        captions(3)
    annotations.unlink()
    with pytest.raises(UserError, match=r"captions_val2014.json: no such file; put annotations/.*cocodataset"):
        captions(3)
