import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

import llm4gen_model
from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.models import Model
from llm4gen_model.pipeline import LLM4GenPipeline, LLM4GenXLPipeline
from tests import factories

KINDS: dict[str, Any] = {
    "sd15": (factories.sd15_pipeline, 32, LLM4GenPipeline),
    "sdxl": (factories.sdxl_pipeline, 80, LLM4GenXLPipeline),
}
BOTH = pytest.mark.parametrize("kind", KINDS)
PROMPT, NEGATIVE = "a red cube", "blurry"


@pytest.fixture(autouse=True, scope="module")
def modules_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where diffusers copies custom pipelines to, which by default is the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("modules")
        patch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(folder))
        patch.syspath_prepend(folder)
        yield


def model(kind: str, connector: str = "cam", **options: Any) -> Model:
    make, width, _ = KINDS[kind]
    pipeline = make()
    cam = factories.connector(connector, text_dim=width, **options)
    return Model("tiny", pipeline, PromptEncoder.from_pipeline(pipeline, llm=factories.language_model(), cam=cam), {})


def llm4gen(kind: str, **options: Any) -> Any:
    return quiet(KINDS[kind][2].from_model(model(kind, **options)))


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    return pipeline(*args, generator=generator, num_inference_steps=2, height=16, width=16, **kwargs).images


def bytes_of(images: list[Image.Image]) -> list[bytes]:
    return [image.tobytes() for image in images]


@BOTH
def test_it_draws_what_the_stock_pipeline_draws_from_the_encoders_embeds(kind: str) -> None:
    made = model(kind)
    pipeline = quiet(KINDS[kind][2].from_model(made))
    embeds = made.prompt_encoder.encode([PROMPT, "two dogs"], [NEGATIVE] * 2, ["a cube", "dogs"], cam_scale=0.7)
    stock = draw(made.pipeline, **embeds.as_kwargs(), num_images_per_prompt=2)
    ours = draw(
        pipeline,
        [PROMPT, "two dogs"],
        negative_prompt=NEGATIVE,
        llm_prompt=["a cube", "dogs"],
        cam_scale=0.7,
        num_images_per_prompt=2,
    )
    assert len(ours) == 4
    assert bytes_of(ours) == bytes_of(stock)


@BOTH
@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_without_llm_tokens_it_is_the_stock_pipeline(kind: str, negative: str | None) -> None:
    pipeline = llm4gen(kind)
    stock = quiet(KINDS[kind][0]())
    options = {"negative_prompt": negative, "output_type": "np"}
    dropped = draw(pipeline, PROMPT, drop_llm_tokens=True, **options)
    np.testing.assert_allclose(dropped, draw(stock, PROMPT, **options), atol=1e-5)
    assert not np.allclose(dropped, draw(pipeline, PROMPT, cam_scale=0.0, **options), atol=1e-5)


@BOTH
def test_encode_prompt_is_what_the_call_uses(kind: str) -> None:
    pipeline = llm4gen(kind)
    with torch.no_grad():
        made = pipeline.encode_prompt(
            PROMPT, device="cpu", num_images_per_prompt=2, do_classifier_free_guidance=True, negative_prompt=NEGATIVE
        )
        embeds = pipeline.prompt_encoder.encode([PROMPT], [NEGATIVE])
    assert torch.equal(made[0], embeds.prompt_embeds.expand(2, -1, -1))
    assert torch.equal(made[1], embeds.negative_prompt_embeds.expand(2, -1, -1))


def test_embeds_without_a_negative_get_one_as_long() -> None:
    pipeline = llm4gen("sd15")  # the stock pipelines ask CLIP for a negative of more tokens than it has
    embeds = pipeline.prompt_encoder.encode([PROMPT]).prompt_embeds
    assert bytes_of(draw(pipeline, prompt_embeds=embeds)) == bytes_of(draw(pipeline, PROMPT))


@BOTH
def test_saved_and_loaded_it_draws_the_same_bytes(kind: str, tmp_path: Path) -> None:
    pipeline = llm4gen(kind, mask_padding=True, scale=0.8)
    folder = tmp_path / "mine"
    pipeline.save_pretrained(folder)
    loaded = quiet(KINDS[kind][2].from_pretrained(folder))
    assert bytes_of(draw(loaded, PROMPT)) == bytes_of(draw(pipeline, PROMPT))
    assert loaded.prompt_encoder.llm.identity() == pipeline.prompt_encoder.llm.identity()
    card = (folder / "README.md").read_text()
    assert "# mine" in card
    assert "tiny: BertModel" in card
    # without our class in sight, as diffusers' users load a repository with code
    file = str(folder / "pipeline.py")
    other = quiet(DiffusionPipeline.from_pretrained(folder, custom_pipeline=file, trust_remote_code=True))
    assert type(other) is KINDS[kind][2]
    assert bytes_of(draw(other, PROMPT)) == bytes_of(draw(pipeline, PROMPT))


@BOTH
def test_a_stock_folder_becomes_one_as_custom_pipeline(kind: str, tmp_path: Path) -> None:
    made = model(kind)
    made.pipeline.save_pretrained(tmp_path)
    llm: Any = made.prompt_encoder.llm
    loaded = DiffusionPipeline.from_pretrained(
        tmp_path,
        custom_pipeline=str(Path(llm4gen_model.__file__).parent / "custom_pipelines" / f"{kind}.py"),
        trust_remote_code=True,
        cam=made.prompt_encoder.cam,
        llm=llm.model,
        llm_tokenizer=llm.tokenizer,
        llm_settings={"max_tokens": 12},
    )
    embeds = made.prompt_encoder.encode([PROMPT])
    assert bytes_of(draw(quiet(loaded), PROMPT)) == bytes_of(draw(made.pipeline, **embeds.as_kwargs()))


@BOTH
def test_from_pipe_goes_both_ways(kind: str) -> None:
    pipeline = llm4gen(kind)
    stock_class = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}[kind]
    img2img_class = {"sd15": StableDiffusionImg2ImgPipeline, "sdxl": StableDiffusionXLImg2ImgPipeline}[kind]
    stock = quiet(stock_class.from_pipe(pipeline))
    assert bytes_of(draw(stock, PROMPT)) == bytes_of(draw(quiet(KINDS[kind][0]()), PROMPT))
    img2img = img2img_class.from_pipe(pipeline)
    assert img2img.unet is pipeline.unet
    with pytest.raises(UserError, match="expected cam, llm and llm_tokenizer; from_pipe needs them too"):
        KINDS[kind][2].from_pipe(img2img)
    added = {name: getattr(pipeline, name) for name in ("cam", "llm", "llm_tokenizer")}
    back = quiet(KINDS[kind][2].from_pipe(img2img, **added))
    assert back.config.llm_settings == pipeline.config.llm_settings
    assert bytes_of(draw(back, PROMPT)) == bytes_of(draw(pipeline, PROMPT))


def test_push_to_hub_uploads_the_weights_the_card_and_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uploads: list[str] = []

    def upload_folder(*, repo_id: str, folder_path: str, **_options: Any) -> None:
        uploads.append(repo_id)
        shutil.copytree(folder_path, tmp_path / "hub")

    class Created:
        repo_id = "owner/mine"

    monkeypatch.setattr("diffusers.utils.hub_utils.create_repo", lambda *_args, **_options: Created)
    monkeypatch.setattr("diffusers.utils.hub_utils.load_or_create_model_card", lambda *_args, **_options: _NoCard())
    monkeypatch.setattr("diffusers.utils.hub_utils.populate_model_card", lambda card, **_options: card)
    monkeypatch.setattr("diffusers.utils.hub_utils.upload_folder", upload_folder)
    pipeline = llm4gen("sd15")
    pipeline.push_to_hub("owner/mine")
    assert uploads == ["owner/mine"]
    hub = tmp_path / "hub"
    assert 'from_pretrained("owner/mine")' in (hub / "README.md").read_text()
    assert (hub / "pipeline.py").is_file()
    assert (hub / "cam" / "diffusion_pytorch_model.safetensors").is_file()
    assert bytes_of(draw(quiet(LLM4GenPipeline.from_pretrained(hub)), PROMPT)) == bytes_of(draw(pipeline, PROMPT))


class _NoCard:
    def save(self, path: str) -> None:
        Path(path).write_text("a card of no use")


def test_half_precision_leaves_the_language_model_as_it_was_trained(tmp_path: Path) -> None:
    llm4gen("sd15").save_pretrained(tmp_path)
    half = LLM4GenPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert (half.unet.dtype, half.cam.dtype, half.llm.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert half.prompt_encoder.llm.identity()["dtype"] == "float32"
    assert np.isfinite(np.array(draw(quiet(half), PROMPT)[0])).all()
    all_half = LLM4GenPipeline.from_pretrained(tmp_path, dtype={"default": torch.bfloat16, "llm": torch.bfloat16})
    with pytest.warns(UserWarning, match="computes in bfloat16, the CAM knows its features in float32"):
        assert all_half.prompt_encoder.llm.identity()["dtype"] == "bfloat16"


def test_a_timestep_aware_connector_is_fused_at_every_step() -> None:
    pipeline = llm4gen("sd15", connector="ella")
    at: list[float] = []
    pipeline.cam.register_forward_pre_hook(
        lambda module, args, kwargs: at.append(float(kwargs["timestep"])), with_kwargs=True
    )
    assert draw(pipeline, PROMPT)
    assert at == [float(t) for t in pipeline.scheduler.timesteps]


def test_masked_padding_is_not_looked_at() -> None:
    pipeline = llm4gen("sd15", mask_padding=True)
    long = llm4gen("sd15", mask_padding=True)
    long.register_to_config(llm_settings={**long.config.llm_settings, "max_tokens": 40})
    np.testing.assert_allclose(
        draw(pipeline, PROMPT, output_type="np"), draw(long, PROMPT, output_type="np"), atol=1e-5
    )


def test_the_encoders_options_are_saved(tmp_path: Path) -> None:
    options = {"long_prompts": "chunk", "prompt_weights": True, "llm_token_buckets": (6, 12)}
    pipeline = quiet(LLM4GenPipeline.from_model(model("sd15"), **options))
    pipeline.save_pretrained(tmp_path)
    loaded = quiet(LLM4GenPipeline.from_pretrained(tmp_path))
    assert {name: getattr(loaded.prompt_encoder, name) for name in options} == options
    weighted = draw(loaded, "a (red)1.4 cube " * 3)
    assert bytes_of(weighted) == bytes_of(draw(pipeline, "a (red)1.4 cube " * 3))
    assert bytes_of(weighted) != bytes_of(draw(pipeline, "a red cube " * 3))


def test_the_encoder_is_kept_until_a_component_changes() -> None:
    pipeline = llm4gen("sd15")
    encoder = pipeline.prompt_encoder
    assert pipeline.prompt_encoder is encoder
    pipeline.cam = factories.cam(32, seed=3)
    assert pipeline.prompt_encoder is not encoder
    assert pipeline.prompt_encoder.cam is pipeline.cam


def test_offloading_goes_through_the_parts_in_the_order_of_their_work() -> None:
    for kind in KINDS:
        names = KINDS[kind][2].model_cpu_offload_seq.split("->")
        assert names.index("text_encoder") < names.index("llm") < names.index("cam") < names.index("unet")
        assert set(names) - {"image_encoder"} <= llm4gen(kind).components.keys()


def test_a_lora_scale_reaches_the_text_encoder() -> None:
    pipeline = llm4gen("sd15")
    from peft import LoraConfig

    torch.manual_seed(0)
    pipeline.text_encoder.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["q_proj"]))
    off, on = (pipeline.encode_prompt(PROMPT, "cpu", 1, True, lora_scale=scale)[0].detach() for scale in (0.0, 1.0))
    pipeline.text_encoder.disable_adapters()
    without = pipeline.encode_prompt(PROMPT, "cpu", 1, True)[0].detach()
    torch.testing.assert_close(off, without)
    assert not torch.allclose(on, without, atol=1e-4)


def test_wrong_uses_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="has a StableDiffusionPipeline, LLM4GenXLPipeline needs a StableDiffusionXL"):
        LLM4GenXLPipeline.from_model(model("sd15"))
    with pytest.raises(UserError, match="prompt_2: both text encoders read the same prompt"):
        llm4gen("sdxl")(PROMPT, prompt_2="a dog")
    with pytest.raises(UserError, match="clip_skip"):
        llm4gen("sd15")(PROMPT, clip_skip=1)
    with pytest.raises(UserError, match=r"llm_settings: .*unexpected keyword argument 'n_layers'"):
        LLM4GenPipeline.from_model(model("sd15"), llm_settings={"n_layers": 3})
