import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.integrations.modular_sdxl import cam_blocks
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.pipeline import LLM4GenXLPipeline
from tests.factories import cam, connector, language_model, sdxl_pipeline

CALL: dict[str, Any] = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def stock() -> Any:
    return sdxl_pipeline()


@pytest.fixture(scope="module")
def encoder(stock: Any) -> PromptEncoder:
    return PromptEncoder.from_pipeline(stock, llm=language_model(), cam=cam(80))


def modular(stock: Any, encoder: PromptEncoder, **replaced: Any) -> Any:
    pipeline = cam_blocks().init_pipeline()
    components = {name: part for name, part in stock.components.items() if part is not None}
    pipeline.update_components(**{name: components[name] for name in components if name in pipeline.component_names})
    llm: Any = encoder.llm
    parts = {"cam": encoder.cam, "llm": llm.model, "llm_tokenizer": llm.tokenizer, **replaced}
    pipeline.update_components(**parts, llm_settings=dataclasses.asdict(llm.settings))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_embeds_and_image_are_those_of_the_prompt_encoder_in_the_stock_pipeline(
    stock: Any, encoder: PromptEncoder
) -> None:
    state = modular(stock, encoder)(prompt="a red square", **CALL, generator=torch.manual_seed(0))

    embeds = encoder.encode(["a red square"])
    for name, expected in embeds.as_kwargs().items():
        torch.testing.assert_close(state.get(name), expected, rtol=0, atol=1e-6)
    image = stock(**embeds.as_kwargs(), **CALL, guidance_scale=7.5, generator=torch.manual_seed(0)).images[0]
    np.testing.assert_allclose(np.asarray(state.get("images")[0], int), np.asarray(image, int), atol=1)


def test_every_input_reaches_the_prompt_encoder(stock: Any, encoder: PromptEncoder) -> None:
    state = modular(stock, encoder)(
        prompt=["a red square", "a dog"],
        negative_prompt="blur",
        llm_prompt=["one", "two"],
        negative_llm_prompt="three",
        cam_scale=0.5,
        **CALL,
        generator=torch.manual_seed(0),
    )

    expected = encoder.encode(
        ["a red square", "a dog"],
        ["blur", "blur"],
        ["one", "two"],
        negative_llm_prompts=["three", "three"],
        cam_scale=0.5,
    )
    torch.testing.assert_close(state.get("prompt_embeds"), expected.prompt_embeds, rtol=0, atol=1e-6)
    torch.testing.assert_close(state.get("negative_prompt_embeds"), expected.negative_prompt_embeds, rtol=0, atol=1e-6)


def test_without_llm_tokens_it_draws_what_the_stock_pipeline_draws(stock: Any, encoder: PromptEncoder) -> None:
    state = modular(stock, encoder)(
        prompt="a red square", drop_llm_tokens=True, **CALL, generator=torch.manual_seed(0), output_type="np"
    )

    image = stock("a red square", **CALL, guidance_scale=7.5, generator=torch.manual_seed(0), output_type="np").images
    np.testing.assert_allclose(state.get("images"), image, atol=1e-5)


def test_img2img_uses_the_same_block(stock: Any, encoder: PromptEncoder) -> None:
    pipeline = modular(stock, encoder)
    first = pipeline(prompt="a red square", **CALL, generator=torch.manual_seed(0), output="images")

    second = pipeline(
        prompt="a dog", image=first[0], strength=0.6, **CALL, generator=torch.manual_seed(0), output="images"
    )

    assert np.asarray(second[0]).shape == (16, 16, 3)
    assert np.any(np.asarray(second[0]) != np.asarray(first[0]))


def test_saved_and_loaded_it_draws_the_same(stock: Any, encoder: PromptEncoder, tmp_path: Path) -> None:
    pipeline = modular(stock, encoder)
    pipeline.save_pretrained(str(tmp_path), overwrite_modular_index=True)

    loaded = cam_blocks().init_pipeline(str(tmp_path))
    loaded.load_components(dtype=torch.float32)

    call = {"prompt": "a red square", **CALL, "output": "images"}
    before, after = (made(**call, generator=torch.manual_seed(0))[0].tobytes() for made in (pipeline, loaded))
    assert after == before


def test_a_saved_xl_pipeline_loads_as_a_modular_one(stock: Any, encoder: PromptEncoder, tmp_path: Path) -> None:
    llm: Any = encoder.llm
    cam: Any = encoder.cam
    saved = LLM4GenXLPipeline(
        **stock.components,
        cam=cam,
        llm=llm.model,
        llm_tokenizer=llm.tokenizer,
        llm_settings=dataclasses.asdict(llm.settings),
    )
    saved.save_pretrained(tmp_path)

    loaded = cam_blocks().init_pipeline(str(tmp_path))
    loaded.load_components(dtype=torch.float32)

    state = loaded(prompt="a red square", **CALL, generator=torch.manual_seed(0))
    image = saved("a red square", **CALL, guidance_scale=7.5, generator=torch.manual_seed(0)).images[0]
    assert loaded.config.llm_settings == dataclasses.asdict(llm.settings)
    np.testing.assert_allclose(np.asarray(state.get("images")[0], int), np.asarray(image, int), atol=1)


def test_the_empty_prompt_is_read_once(stock: Any, encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = modular(stock, encoder)
    read: list[str] = []
    encode = LastHiddenStates.encode

    def noting_encode(llm: LastHiddenStates, texts: Sequence[str]) -> list[torch.Tensor]:
        read.extend(texts)
        return encode(llm, texts)

    monkeypatch.setattr(LastHiddenStates, "encode", noting_encode)

    for prompt in ("a red square", "a dog"):
        pipeline(prompt=prompt, **CALL)

    assert read == ["a red square", "", "a dog"]


def test_a_language_model_of_another_precision_than_in_training_warns(stock: Any, encoder: PromptEncoder) -> None:
    pipeline = modular(stock, encoder)
    pipeline.update_components(llm_settings={**pipeline.config.llm_settings, "dtype": "bfloat16"})
    with pytest.warns(UserWarning, match="computes in float32, the CAM knows its features in bfloat16"):
        pipeline(prompt="a red square", **CALL)


def test_a_missing_part_is_named(stock: Any, encoder: PromptEncoder) -> None:
    with pytest.raises(UserError, match="no llm: give it with update_components"):
        modular(stock, encoder, llm=None)(prompt="a red square", **CALL)


@pytest.mark.parametrize(
    ("made", "reason"),
    [("ella", "has to run at every step"), ("cam", "masks padding")],
)
def test_what_needs_more_than_embeds_is_refused(stock: Any, encoder: PromptEncoder, made: str, reason: str) -> None:
    options = {"mask_padding": True} if made == "cam" else {}
    with pytest.raises(UserError, match=reason):
        modular(stock, encoder, cam=connector(made, 80, **options))(prompt="a red square", **CALL)
