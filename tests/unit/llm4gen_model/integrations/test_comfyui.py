import importlib.util
import inspect
import json
import re
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.checkpoints import load_cam
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.family import BUNDLED
from llm4gen_model.integrations import comfyui
from llm4gen_model.layouts import read_export
from llm4gen_model.models import load_pipeline
from tests.factories import cam, connector, language_model, sd15_pipeline, sdxl_pipeline

DOCS = Path(__file__).parents[4] / "docs" / "comfyui.md"


class Clip:
    """ComfyUI's CLIP object, as its text nodes use it, over a diffusers pipeline's text encoders."""

    def __init__(self, pipeline: Any) -> None:
        self.encoder = PromptEncoder.from_pipeline(pipeline)

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list[list[Any]]:
        embeds, pooled = self.encoder.text_embeds([tokens])
        return [[embeds, {"pooled_output": pooled}]]


def run(node: type, **inputs: Any) -> Any:
    """Call a node as ComfyUI's executor does: a fresh object, its FUNCTION, inputs by name, no gradients."""
    with torch.inference_mode():
        outputs = getattr(node(), node.FUNCTION)(**inputs)  # type: ignore[attr-defined]
    assert len(outputs) == len(node.RETURN_TYPES)  # type: ignore[attr-defined]
    return outputs[0]


def comfyui_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ComfyUI installation in `folder`: its folders, and its module `folder_paths`."""
    for name in ("custom_nodes", "models/llm4gen"):
        (folder / name).mkdir(parents=True)
    paths: Any = types.ModuleType("folder_paths")
    paths.models_dir = str(folder / "models")
    paths.folder_names_and_paths = {}
    paths.add_model_folder_path = lambda name, path: paths.folder_names_and_paths.update({name: ([path], set())})
    paths.get_folder_paths = lambda name: paths.folder_names_and_paths[name][0][:]
    monkeypatch.setitem(sys.modules, "folder_paths", paths)
    return folder


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Install the nodes by the documented line and import them by path, as ComfyUI imports custom nodes."""
    line = re.search(r'^echo "(.*)" > custom_nodes/llm4gen.py$', DOCS.read_text(encoding="utf-8"), re.M)
    assert line is not None
    path = folder / "custom_nodes" / "llm4gen.py"
    path.write_text(line[1] + "\n", encoding="utf-8")
    name = str(path.with_suffix(""))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def tiny(width: int, **options: Any) -> PromptEncoder:
    return PromptEncoder([], [], language_model(), connector("cam", width, **options))


def test_comfyui_finds_the_nodes_and_their_contract_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = installed(comfyui_at(tmp_path, monkeypatch), monkeypatch)

    assert set(module.NODE_CLASS_MAPPINGS) == set(module.NODE_DISPLAY_NAME_MAPPINGS)
    for node in module.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        json.dumps(inputs)  # the browser asks for it
        assert set(inputs) <= {"required", "optional", "hidden"}
        assert all(isinstance(spec[0], str | list) for kind in inputs.values() for spec in kind.values())
        parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
        assert [name for kind in inputs.values() for name in kind] == list(parameters)[1:]
        for name in inputs.get("optional", {}):
            assert parameters[name].default is not inspect.Parameter.empty
        assert isinstance(node.RETURN_TYPES, tuple)
        assert isinstance(node.CATEGORY, str)


def test_the_loader_lists_the_model_folders_and_takes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = comfyui_at(tmp_path, monkeypatch)
    shutil.copytree(BUNDLED / "cam-mini", folder / "models" / "llm4gen" / "mine")
    (folder / "models" / "llm4gen" / "no-model").mkdir()
    shutil.copytree(BUNDLED / "cam-mini", folder / "elsewhere")
    loader = installed(folder, monkeypatch).NODE_CLASS_MAPPINGS["LLM4GENLoader"]

    assert loader.INPUT_TYPES()["required"]["model"][0] == ["mine", "cam-mini"]
    for stranger in ("no-model", "../../elsewhere", str(folder / "elsewhere")):
        with pytest.raises(UserError, match="no such folder in ComfyUI/models/llm4gen"):
            run(loader, model=stranger, device="default", llm_dtype="as trained", offload=True)


@pytest.mark.filterwarnings("ignore:.*written in float16")
def test_a_workflow_on_the_miniature_gives_the_prompt_encoders_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = installed(comfyui_at(tmp_path, monkeypatch), monkeypatch).NODE_CLASS_MAPPINGS
    pipeline = load_pipeline("mini")
    clip = Clip(pipeline)

    llm4gen = run(nodes["LLM4GENLoader"], model="cam-mini", device="default", llm_dtype="as trained", offload=True)
    positive = run(nodes["LLM4GENTextEncode"], llm4gen=llm4gen, clip=clip, text="a large red circle")
    negative = run(nodes["LLM4GENTextEncode"], llm4gen=llm4gen, clip=clip, text="")

    assert llm4gen.llm.identity() == read_export(BUNDLED / "cam-mini")["llm"]
    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm4gen.llm, cam=load_cam(BUNDLED / "cam-mini" / "cam"))
    embeds = encoder.encode(["a large red circle"], [""])
    for [[found, extras]], wanted in (
        (positive, embeds.prompt_embeds),
        (negative, embeds.negative_prompt_embeds),
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
        assert set(extras) == {"pooled_output"}


def test_text_encode_reads_both_texts_and_the_scale() -> None:
    pipeline = sd15_pipeline()
    encoder = PromptEncoder.from_pipeline(pipeline, llm=language_model(), cam=cam(32))
    llm4gen = PromptEncoder([], [], language_model(), cam(32))

    [[found, _]] = run(
        comfyui.LLM4GENTextEncode,
        llm4gen=llm4gen,
        clip=Clip(pipeline),
        text="a (dog:1.2)",
        llm_text="a brown dog",
        cam_scale=0.5,
    )
    [[same_text, _]] = run(comfyui.LLM4GENTextEncode, llm4gen=llm4gen, clip=Clip(pipeline), text="a (dog:1.2)")

    wanted = encoder.encode(["a (dog:1.2)"], [""], ["a brown dog"], cam_scale=0.5).prompt_embeds
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    wanted = encoder.encode(["a (dog:1.2)"], [""], ["a dog"]).prompt_embeds
    torch.testing.assert_close(same_text, wanted, rtol=0, atol=1e-5)


def test_apply_keeps_all_that_a_conditioning_holds() -> None:
    pipeline = sdxl_pipeline()
    [[text_embeds, extras]] = Clip(pipeline).encode_from_tokens_scheduled("a dog")
    conditioning = [
        [text_embeds, {**extras, "width": 1024, "start_percent": 0.0, "end_percent": 0.5}],
        [text_embeds.repeat(2, 3, 1), {"start_percent": 0.5, "end_percent": 1.0}],
    ]
    llm4gen = tiny(80)

    first, second = run(
        comfyui.LLM4GENApply, llm4gen=llm4gen, conditioning=conditioning, llm_text="a dog", cam_scale=1.0
    )

    n_text = text_embeds.shape[1]
    assert first[0].shape == (1, n_text + 12, 80)
    assert second[0].shape == (2, 3 * n_text + 12, 80)  # three chunks of CLIP's, two of a batch
    assert torch.equal(first[0][:, :n_text], text_embeds)
    assert first[1] == conditioning[0][1]
    assert first[1] is not conditioning[0][1]  # ComfyUI keeps what a node gave: later nodes must not change it
    assert conditioning[0][0].shape[1] == n_text


def test_padding_is_left_out_where_the_cam_masks_it() -> None:
    pipeline = sd15_pipeline()
    llm4gen = tiny(32, mask_padding=True)
    assert llm4gen.llm is not None
    n_real = len(llm4gen.llm.encode(["a dog"])[0])

    [[found, _]] = run(comfyui.LLM4GENTextEncode, llm4gen=llm4gen, clip=Clip(pipeline), text="a dog")

    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm4gen.llm, cam=llm4gen.cam)
    embeds = encoder.encode(["a dog"], [""])
    assert embeds.attention_mask is not None
    assert found.shape[1] == 24 + n_real < embeds.prompt_embeds.shape[1]
    torch.testing.assert_close(found[0], embeds.prompt_embeds[embeds.attention_mask], rtol=0, atol=1e-5)


def test_a_conditioning_of_another_width_and_a_missing_clip_are_refused() -> None:
    llm4gen = tiny(32)
    with pytest.raises(UserError, match="made for text encoders 32 wide, this conditioning is 80 wide"):
        run(comfyui.LLM4GENTextEncode, llm4gen=llm4gen, clip=Clip(sdxl_pipeline()), text="a dog")
    with pytest.raises(UserError, match="no CLIP"):
        run(comfyui.LLM4GENTextEncode, llm4gen=llm4gen, clip=None, text="a dog")


def test_a_connector_that_runs_at_every_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm4gen_model.models.load_connector", lambda *_, **__: (connector("ella"), language_model()))
    with pytest.raises(UserError, match="TimestepAwareSemanticConnector has to run at every step"):
        run(comfyui.LLM4GENLoader, model="cam-mini", device="cpu", llm_dtype="as trained", offload=False)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a (red:1.2) dog", "a red dog"),
        ("((red)) (big (old:0.5) dog:.9)", "red big old dog"),
        (r"a \(real\) (dog:1.1)", "a (real) dog"),
        ("(ratio 3:4) (cat:-1)", "ratio 3 cat"),
        ("at 10:30) and (open", "at 10:30) and (open"),
        ("embedding:bad-hands, a dog\n", "bad-hands, a dog\n"),
        ("(" + "1" * 20000, "(" + "1" * 20000),
    ],
)
def test_weights_are_not_read_to_the_language_model(text: str, plain: str) -> None:
    assert comfyui.text_without_weights(text) == plain
