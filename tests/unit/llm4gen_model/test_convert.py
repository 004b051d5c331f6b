import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from llm4gen_data.errors import UserError
from llm4gen_model.cli import commands
from llm4gen_model.convert import convert
from llm4gen_model.models import Model, load_connector, load_model
from tests import factories
from tests.unit.llm4gen_model.test_released import PROMPT, base_folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("convert")
    return {
        "source": str(factories.released_folder(root / "released")),
        "base": str(base_folder(root / "base")),
        "llm": str(factories.rankgen_folder(root / "llm")),
    }


def draw(model: Model) -> np.ndarray:
    import torch

    embeds = model.prompt_encoder.encode([PROMPT]).as_kwargs()
    generator = torch.Generator().manual_seed(1)
    images: np.ndarray = model.pipeline(**embeds, generator=generator, num_inference_steps=2, output_type="np").images
    return images


def test_a_converted_checkpoint_is_safetensors_and_draws_the_same_pixels(
    folders: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "converted"
    result = CliRunner().invoke(
        commands,
        ["convert", folders["source"], "--out", str(out), "--base", folders["base"], "--llm", folders["llm"]],
    )
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"README.md", "cam", "llm4gen.json", "unet"}
    assert not [path for path in out.rglob("*") if path.suffix in (".pth", ".bin")]
    about = json.loads((out / "llm4gen.json").read_text())
    assert about["llm"] | {"prefix": "pre ", "max_tokens": 256, "pad": True, "keep_end": False} == about["llm"]
    original = load_model(folders["source"], base=folders["base"], llm=folders["llm"])
    converted = load_model(str(out))
    assert np.array_equal(draw(original), draw(converted))
    assert {**original.identity, "llm": 0} == {**converted.identity, "llm": 0}
    cam, llm = load_connector(out)
    assert (cam.config.llm_dim, llm.max_tokens) == (20, 256)


def test_a_pipeline_holds_base_and_language_model_and_draws_the_same_pixels(
    folders: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "pipeline"
    convert(folders["source"], out, base=folders["base"], llm=folders["llm"], pipeline=True)
    assert json.loads((out / "model_index.json").read_text())["_class_name"] == "LLM4GenPipeline"
    original = load_model(folders["source"], base=folders["base"], llm=folders["llm"])
    saved = load_model(str(out))
    assert np.array_equal(draw(original), draw(saved))
    assert saved.name == "pipeline"
    assert saved.identity["cam"] == original.identity["cam"]
    assert saved.identity["llm"]["prefix"] == "pre "


@pytest.mark.parametrize(
    ("source", "options", "line"),
    [
        ("base", {}, "not in the authors' layout: expected a folder or hub id with projector.pth and unet/"),
        ("base", {"pipeline": True}, "has no CAM: expected a model with one"),
        ("damaged", {}, "lacks 1 of 20 tensors"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing_behind(
    folders: dict[str, str], tmp_path: Path, source: str, options: dict[str, Any], line: str
) -> None:
    import torch

    where = folders.get(source, str(tmp_path / "damaged"))
    if source == "damaged":
        state = torch.load(factories.released_folder(Path(where)) / "projector.pth", weights_only=True)
        state.popitem()
        torch.save(state, Path(where) / "projector.pth")
    with pytest.raises(UserError, match=re.escape(line)):
        convert(where, tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir() if path.name != "damaged"] == []


def test_a_checkpoint_names_no_code_to_be_run(folders: dict[str, str], tmp_path: Path) -> None:
    convert(folders["source"], tmp_path / "out", base=folders["base"], llm="os:mkdir")
    with pytest.raises(UserError, match="'os:mkdir' is code: name it yourself"):
        load_model(str(tmp_path / "out"))
    (tmp_path / "out" / "llm4gen.json").write_text('{"format": 1, "base": "mini", "train": "cam", "llm": "minilm"}')
    with pytest.raises(UserError, match="llm = 'minilm': expected null or"):
        load_connector(tmp_path / "out")
    with pytest.raises(UserError, match="no model with a language model"):
        load_connector(folders["base"])


def test_files_are_never_overwritten(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UserError, match="exists; give an empty or new folder"):
        convert(folders["source"], tmp_path)
    assert (tmp_path / "mine").read_text() == "keep"
