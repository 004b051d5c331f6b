from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEncoder
from tests import factories

PROMPTS = ["a red cube", "a very long prompt that no context of this length can hold in full", ""]
NEGATIVES = ["blurry", "", "a red cube"]
PIPELINES = pytest.mark.parametrize("make", [factories.sd15_pipeline, factories.sdxl_pipeline])


def stock_embeds(pipeline: Any, prompts: list[str], negatives: list[str] | None) -> dict[str, torch.Tensor]:
    """What the pipeline's own `encode_prompt` gives, by the names of its arguments."""
    with torch.no_grad():
        embeds = pipeline.encode_prompt(
            prompts,
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negatives,
        )
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return dict(zip(names, embeds, strict=False))


def draw(pipeline: Any, n: int, **embeds: Any) -> np.ndarray:
    generators = [torch.Generator().manual_seed(seed) for seed in range(n)]
    images: np.ndarray = pipeline(**embeds, generator=generators, num_inference_steps=2, output_type="np").images
    return images


@PIPELINES
@pytest.mark.parametrize("negatives", [None, NEGATIVES])
@pytest.mark.parametrize("drop", [True, False])
def test_without_llm_tokens_it_equals_the_stock_pipeline(
    make: Callable[[], Any], negatives: list[str] | None, drop: bool
) -> None:
    pipeline = make()
    encoder = PromptEncoder.from_pipeline(pipeline)
    if drop:
        cam = factories.cam(encoder.text_width)
        encoder = PromptEncoder.from_pipeline(pipeline, llm=factories.language_model(), cam=cam)
    ours = encoder.encode(PROMPTS, negatives, drop_llm_tokens=drop).as_kwargs()
    stock = stock_embeds(pipeline, PROMPTS, negatives)
    assert ours.keys() == stock.keys()
    for name, expected in stock.items():
        assert torch.equal(ours[name], expected), name
    assert np.array_equal(draw(pipeline, 3, **ours), draw(pipeline, 3, prompt=PROMPTS, negative_prompt=negatives))


def test_learned_words_of_textual_inversion_are_encoded_as_the_stock_pipeline_does() -> None:
    pipeline = factories.sd15_pipeline()
    pipeline.tokenizer.add_tokens(["<cat>", "<cat>_1"])
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    ours, _ = PromptEncoder.from_pipeline(pipeline).text_embeds(["a <cat>", "a cat"])
    assert torch.equal(ours, stock_embeds(pipeline, ["a <cat>", "a cat"], None)["prompt_embeds"])


@PIPELINES
def test_with_a_cam_the_stock_pipeline_draws(make: Callable[[], Any]) -> None:
    pipeline = make()
    llm = factories.language_model(max_tokens=12)
    width = PromptEncoder.from_pipeline(pipeline).text_width
    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.cam(width))
    with torch.no_grad():
        embeds = encoder.encode(PROMPTS, NEGATIVES)
        assert embeds.prompt_embeds.shape == embeds.negative_prompt_embeds.shape == (3, 24 + 12, width)
        text, pooled = encoder.text_embeds(PROMPTS)
        expected = encoder.cam(text, encoder.llm_embeds(PROMPTS))  # type: ignore[misc]
    assert torch.equal(embeds.prompt_embeds, expected)
    assert torch.equal(embeds.prompt_embeds[:, :24], text)
    assert (pooled is None) == (embeds.pooled_prompt_embeds is None)
    images = draw(pipeline, 3, **embeds.as_kwargs())
    assert images.shape == (3, 16, 16, 3)
    assert np.isfinite(images).all()
    assert images.std() > 0


def test_the_fused_tokens_come_from_the_llm_prompts_and_scale() -> None:
    encoder = factories.cam_model("m").prompt_encoder
    with torch.no_grad():
        plain = encoder.encode(["a cube", "a ball"])
        spoken = encoder.encode(["a cube", "a ball"], llm_prompts=["a cube of glass", "a ball"])
        halved = encoder.encode(["a cube", "a ball"], cam_scale=0.5)
    assert torch.equal(spoken.prompt_embeds[:, :24], plain.prompt_embeds[:, :24])
    changed = (spoken.prompt_embeds - plain.prompt_embeds).abs().amax((1, 2))
    assert changed[0] > 1e-3
    assert changed[1] < 1e-5
    assert torch.equal(halved.prompt_embeds[:, 24:], 0.5 * plain.prompt_embeds[:, 24:])
    assert torch.equal(halved.negative_prompt_embeds[:, 24:], 0.5 * plain.negative_prompt_embeds[:, 24:])


def test_sdxl_zeros_a_negative_that_is_not_given_and_encodes_an_empty_one() -> None:
    pipeline = factories.sdxl_pipeline()
    encoder = PromptEncoder.from_pipeline(pipeline)
    assert encoder.force_zeros_for_empty_prompt
    assert not encoder.encode(["a"]).negative_prompt_embeds.any()
    assert encoder.encode(["a"], [""]).negative_prompt_embeds.any()
    fused = PromptEncoder.from_pipeline(pipeline, llm=factories.language_model(), cam=factories.cam(80))
    negative = fused.encode(["a"]).negative_prompt_embeds
    assert not negative[:, :24].any()
    assert negative[:, 24:].any()


def test_gradients_reach_the_cam_alone() -> None:
    model = factories.cam_model("m")
    model.prompt_encoder.encode(["a cube"]).prompt_embeds.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.prompt_encoder.cam.parameters())
    assert all(parameter.grad is None for parameter in model.pipeline.text_encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([],), "no prompts: expected at least one"),
        (("a cube",), "expected a list of prompts, found one text: 'a cube'"),
        ((["a", 3],), "prompt 1: expected a text, found int"),
        ((["a", "b"], ["c"]), "1 negative prompts for 2 prompts"),
        ((["a"], [None]), "negative prompt 0: expected a text, found NoneType"),
        ((["a"], None, ["b", "c"]), "2 LLM prompts for 1 prompts"),
    ],
)
def test_prompts_of_a_wrong_kind_are_told_in_one_line(arguments: tuple[Any, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        factories.cam_model("m").prompt_encoder.encode(*arguments)


def test_a_cam_that_does_not_fit_is_told_in_one_line() -> None:
    pipeline, llm = factories.sd15_pipeline(), factories.language_model()
    with pytest.raises(UserError, match="made for text encoders 48 wide, this model's are 32"):
        PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.cam(48))
    with pytest.raises(UserError, match="made for a language model 24 wide, 'tiny' is 20 wide"):
        PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.cam(32, llm_dim=24))
    with pytest.raises(UserError, match="needs a language model"):
        PromptEncoder.from_pipeline(pipeline, cam=factories.cam(32))
    with pytest.raises(UserError, match="has no language model"):
        PromptEncoder.from_pipeline(pipeline).llm_embeds(["a"])
