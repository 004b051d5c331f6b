"""The authors' checkpoint, all the way from the prompt to the picture, against their operations one by one."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, T5Config, T5EncoderModel

from llm4gen_data.errors import UserError
from llm4gen_model.models import Model, load_connector, load_model
from tests import factories
from tests.unit.llm4gen_model.test_cam import by_the_book
from tests.unit.llm4gen_model.test_checkpoints import Malicious

PROMPT = "\na red cube, a blue ball\n"
LONG = "a red cube " * 120  # 362 tokens with "pre " and the end token
WIDTHS = {"tiny": (32, 20), "full": (768, 2048)}


def base_folder(folder: Path, width: int = 32) -> Path:
    """An SD1.5-shaped base with CLIP's 77 tokens."""
    torch.manual_seed(1)
    StableDiffusionPipeline(
        vae=factories.tiny_vae(),
        text_encoder=CLIPTextModel(factories.clip_text_config(width, 77)),
        tokenizer=factories.clip_tokenizer(77),
        unet=factories.tiny_unet(width, attention_head_dim=4),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name: the base, RankGen, and the checkpoint, at the tiny width and at the released one."""
    root = tmp_path_factory.mktemp("released")
    made = {}
    for name, (text_dim, llm_dim) in WIDTHS.items():
        made[f"{name} base"] = base_folder(root / name / "base", text_dim)
        made[f"{name} llm"] = factories.rankgen_folder(root / name / "llm", llm_dim)
        made[name] = factories.released_folder(root / name / "checkpoint", text_dim, llm_dim)
    return made


def load(folders: dict[str, Path], size: str = "tiny", **options: Any) -> Model:
    return load_model(
        str(folders[size]), base=str(folders[f"{size} base"]), llm=str(folders[f"{size} llm"]), **options
    )


@torch.no_grad()
def released_embeds(folders: dict[str, Path], size: str, prompt: str) -> torch.Tensor:
    """The condition of one prompt [1, 333, text_dim], in the order of the released script, with nothing of ours."""
    tokenizer = factories.t5_tokenizer()
    ids = torch.tensor([tokenizer("pre " + prompt).input_ids])
    mask = torch.ones_like(ids)
    if ids.shape[1] > 256:
        ids, mask = ids[:, :256], mask[:, :256]
    else:
        zeros = torch.zeros(1, 256 - ids.shape[1], dtype=ids.dtype)
        ids, mask = torch.cat([ids, zeros], dim=1), torch.cat([mask, zeros], dim=1)
    state = torch.load(folders[f"{size} llm"] / "pytorch_model.bin", weights_only=True)
    del state["projection.weight"]
    encoder = T5EncoderModel(T5Config.from_pretrained(folders[f"{size} llm"])).eval()
    encoder.load_state_dict({key.removeprefix("t5_encoder."): value for key, value in state.items()})
    llm_embed = encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    base = folders[f"{size} base"]
    clip_ids = factories.clip_tokenizer(77)(
        prompt, return_tensors="pt", truncation=True, padding="max_length", max_length=77
    ).input_ids
    clip_embed = CLIPTextModel.from_pretrained(base / "text_encoder").eval()(clip_ids, return_dict=False)[0]
    projector = torch.load(folders[size] / "projector.pth", weights_only=True)
    return by_the_book(projector, clip_embed, llm_embed, 8)


@pytest.mark.parametrize(
    ("size", "prompt"),
    [("tiny", PROMPT), ("tiny", ""), ("tiny", LONG), ("full", PROMPT)],
    ids=["tiny", "empty", "long", "full"],
)
def test_the_condition_equals_the_released_operations_in_order(
    folders: dict[str, Path], size: str, prompt: str
) -> None:
    model = load(folders, size)
    assert model.prompt_encoder.cam is not None
    if size == "full":
        assert sum(p.numel() for p in model.prompt_encoder.cam.parameters()) == 8_663_040
    embeds = model.prompt_encoder.encode([prompt])
    expected, negative = (released_embeds(folders, size, text) for text in (prompt, ""))
    assert embeds.prompt_embeds.shape == (1, 333, WIDTHS[size][0])
    assert (embeds.prompt_embeds - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (embeds.negative_prompt_embeds - negative).abs().max() < 1e-5 * negative.abs().max()

    unet = UNet2DConditionModel.from_pretrained(folders[size] / "unet").eval()
    noise, step = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        ours = model.pipeline.unet(noise, step, embeds.prompt_embeds).sample
        theirs = unet(noise, step, expected).sample
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_the_picture_equals_that_of_the_released_script(folders: dict[str, Path]) -> None:
    model = load(folders)
    theirs = StableDiffusionPipeline.from_pretrained(
        folders["tiny base"], unet=UNet2DConditionModel.from_pretrained(folders["tiny"] / "unet"), safety_checker=None
    )
    theirs.set_progress_bar_config(disable=True)
    embeds = {
        "prompt_embeds": released_embeds(folders, "tiny", PROMPT),
        "negative_prompt_embeds": released_embeds(folders, "tiny", ""),
    }
    pictures = [
        pipeline(**kwargs, generator=torch.Generator().manual_seed(1), num_inference_steps=3, output_type="np").images
        for pipeline, kwargs in ((model.pipeline, model.prompt_encoder.encode([PROMPT]).as_kwargs()), (theirs, embeds))
    ]
    assert np.abs(pictures[0] - pictures[1]).max() < 1e-5
    assert pictures[0].std() > 0.01


def test_every_choice_is_in_the_identity_and_the_end_token_is_lost(folders: dict[str, Path]) -> None:
    _, llm = load_connector(folders["tiny"], llm=str(folders["tiny llm"]))
    identity = llm.identity()
    assert {key: identity[key] for key in ("prefix", "max_tokens", "pad", "keep_end", "dtype", "layer")} == {
        "prefix": "pre ",
        "max_tokens": 256,
        "pad": True,
        "keep_end": False,
        "dtype": "float32",
        "layer": "last_hidden_state",
    }
    assert llm.pads
    assert [len(features) for features in llm.encode(["", PROMPT, LONG])] == [256, 256, 256]
    cut, whole = llm.token_spans(LONG), llm.token_spans("a red")
    assert cut[:2] == [None, (0, 1)]
    assert cut[-1] is not None
    assert whole == [None, (0, 1), (2, 5), *[None] * 253]


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("projector", "missing", r"projector\.pth: lacks 1 of 20 tensors: CrossFusionModule\.0\.q_norm\.weight"),
        ("projector", "extra", r"projector\.pth: holds 1 tensors that no CrossAdapterModule has: a"),
        ("projector", "misshapen", r"projector\.pth: CrossFusionModule\.0\.q_norm\.weight: shape \[3\], expected"),
        ("projector", "code", r"projector\.pth: refused: a pickle that holds code"),
        ("unet", "missing", r"lacks 1 of \d+ tensors: conv_in\.weight"),
        ("unet", "extra", r"holds 1 tensors that no UNet2DConditionModel has: a"),
        ("unet", "misshapen", r"conv_in\.weight: shape \[3\], expected"),
        ("unet", "code", r"diffusion_pytorch_model\.bin: refused: a pickle that holds code"),
        ("unet", "none", r"holds projector\.pth but no unet/"),
        ("llm", "code", r"pytorch_model\.bin: refused: a pickle that holds code"),
        ("llm", "misshapen", r"1 weights of another shape .*, encoder\.final_layer_norm\.weight among them"),
        ("llm", "missing", r"lacks 1 weights, encoder\.final_layer_norm\.weight among them"),
        ("llm", "extra", r"pytorch_model\.bin: holds 1 tensors that RankGen has not, a among them"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    folders: dict[str, Path], tmp_path: Path, file: str, change: str, line: str
) -> None:
    where = shutil.copytree(folders["tiny"], tmp_path / "checkpoint")
    llm = shutil.copytree(folders["tiny llm"], tmp_path / "llm")
    unet = where / "unet" / "diffusion_pytorch_model.safetensors"
    path, key = {
        "projector": (where / "projector.pth", "CrossFusionModule.0.q_norm.weight"),
        "unet": (unet.with_suffix(".bin"), "conv_in.weight"),
        "llm": (llm / "pytorch_model.bin", "t5_encoder.encoder.final_layer_norm.weight"),
    }[file]
    state: dict[str, Any] = load_file(unet) if file == "unet" else torch.load(path, weights_only=True)
    if file == "unet":
        unet.unlink()
    if change == "missing":
        del state[key]
    elif change == "none":
        (unet.parent / "config.json").unlink()
        unet.parent.rmdir()
    else:
        added: dict[str, Any] = {"a": Malicious(tmp_path / "ran")} if change == "code" else {"a": torch.zeros(1)}
        state |= {key: torch.zeros(3)} if change == "misshapen" else added
    if change != "none":
        torch.save(state, path)
    with pytest.raises(UserError, match=line) as error:
        load_model(str(where), base=str(folders["tiny base"]), llm=str(llm))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_weights_of_16_bit_training_become_float32_and_it_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    where = factories.released_folder(tmp_path)
    narrow = {k: v.bfloat16() for k, v in torch.load(where / "projector.pth", weights_only=True).items()}
    torch.save(narrow, where / "projector.pth")
    file = where / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({key: value.half() for key, value in load_file(file).items()}, file)
    places: dict[str, Any] = {"base": str(folders["tiny base"]), "llm": str(folders["tiny llm"])}
    with pytest.warns(UserWarning, match="loaded as float32") as said:
        model = load_model(str(where), **places)
    lines = [str(warning.message) for warning in said]
    assert any(line.endswith("projector.pth: written in bfloat16, loaded as float32") for line in lines)
    assert any(line.endswith(f"{file.name}: written in float16, loaded as float32") for line in lines)
    assert model.prompt_encoder.cam is not None
    assert {p.dtype for m in (model.prompt_encoder.cam, model.pipeline.unet) for p in m.parameters()} == {
        torch.float32
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folders)


def test_another_precision_of_the_language_model_warns_of_both(folders: dict[str, Path]) -> None:
    with pytest.warns(UserWarning, match="another precision .*dtype is 'bfloat16', was 'float32'"):
        model = load(folders, llm_dtype="bfloat16")
    assert model.identity["llm"]["dtype"] == "bfloat16"


def test_a_language_model_of_another_width_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = factories.rankgen_folder(tmp_path, width=24)
    with pytest.raises(UserError, match=r"made for a language model 20 wide, .* is 24 wide"):
        load_model(str(folders["tiny"]), base=str(folders["tiny base"]), llm=str(other))


def test_a_hub_id_in_the_authors_layout_loads_like_the_folder(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def snapshot_download(repo_id: str, allow_patterns: list[str]) -> str:
        assert repo_id == "authors/LLM4GEN-models"
        asked.append(allow_patterns)
        return str(folders["tiny"])

    monkeypatch.setattr("llm4gen_model.layouts.snapshot_download", snapshot_download)
    places: dict[str, Any] = {"base": str(folders["tiny base"]), "llm": str(folders["tiny llm"])}
    model = load_model("authors/LLM4GEN-models", **places)
    assert model.name == "authors/LLM4GEN-models"
    assert asked == [["model_index.json", "llm4gen.json", "projector.pth"], ["projector.pth", "unet/*"]]
    assert model.identity["cam"] == load(folders).identity["cam"]


def test_what_the_layout_leaves_unsaid_is_as_in_the_released_script(folders: dict[str, Path]) -> None:
    from llm4gen_model.layouts import read_export

    about = read_export(folders["tiny"])
    assert (about["base"], about["llm"]["name"]) == ("sd-legacy/stable-diffusion-v1-5", "rankgen-t5-xl-all")
    json.dumps(about)


def test_training_goes_on_from_the_authors_weights(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm4gen_model.layouts import RELEASED_ABOUT
    from llm4gen_model.training.config import TrainConfig
    from llm4gen_model.training.run import train

    about: Any = RELEASED_ABOUT
    monkeypatch.setitem(about, "base", str(folders["tiny base"]))
    monkeypatch.setitem(about["llm"], "name", str(folders["tiny llm"]))
    config = TrainConfig(
        data=factories.pairs_parquet(tmp_path / "pairs.parquet", 4),
        out=tmp_path / "run",
        base=str(folders["tiny"]),
        train="cam+unet",
        resolution=16,
        train_batch_size=2,
        max_train_steps=2,
        num_validation_images=1,
        num_inference_steps=1,
        threads=1,
    )
    train(config)
    released, trained = load_model(str(folders["tiny"])), load_model(str(config.out / "model"))
    assert trained.identity["llm"] == released.identity["llm"]
    assert trained.identity["cam"] != released.identity["cam"]
    assert trained.identity["unet"] != released.identity["unet"]
    assert trained.identity["vae"] == released.identity["vae"]
    assert trained.prompt_encoder.encode(["a red cube"]).prompt_embeds.shape == (1, 77 + 256, 32)
