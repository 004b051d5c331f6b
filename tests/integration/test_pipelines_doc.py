"""The programs of docs/pipelines.md, run as they are printed, on the bundled miniature."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from llm4gen_model.models import load_model

DOCS = Path(__file__).parents[2] / "docs" / "pipelines.md"


@pytest.mark.filterwarnings("ignore:.*written in float16")
def test_the_programs_run_and_a_saved_pipeline_draws_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), flags=re.M | re.S)):
        exec(compile(block, f"{DOCS.name}, block {number}", "exec"), names)
    assert names["other"].size == names["image"].size == (64, 64)
    prompt = "a small red circle above a large blue square"

    def draw(pipeline: Any, **prompts: Any) -> bytes:
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        return pipeline(**prompts, generator=generator, num_inference_steps=5).images[0].tobytes()  # type: ignore[no-any-return]

    model = load_model("cam-mini")
    expected = draw(model.pipeline, **model.prompt_encoder.encode([prompt]).as_kwargs())
    for name in ("pipeline", "again", "back"):
        assert draw(names[name], prompt=prompt) == expected, name
