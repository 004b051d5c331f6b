from collections.abc import Callable, Sequence
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
        ((["a"], None, ["b", 3]), "LLM prompt 1: expected a text, found int"),
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


class CountingModel:
    """A language model whose features tell how long a text is, and which remembers what it was asked."""

    name, width, max_tokens, pads = "counting", 20, 12, False

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        self.asked.append(list(texts))
        return [torch.full((1 + min(len(text), 11), 20), float(len(text))) for text in texts]

    def token_spans(self, text: str) -> list[tuple[int, int] | None]:
        return [None] * len(text)


def encoder_over(llm: Any, **options: Any) -> PromptEncoder:
    return PromptEncoder.from_pipeline(factories.sd15_pipeline(), llm=llm, cam=factories.cam(32), **options)


@PIPELINES
def test_long_prompts_are_read_in_chunks_of_the_context(make: Callable[[], Any]) -> None:
    pipeline = make()
    encoder = PromptEncoder.from_pipeline(pipeline, long_prompts="chunk")
    letters = "abcdefghijklmnopqrstuvwxyz" * 2  # of one token each: chunks of 22
    long = " ".join(letters)
    embeds = encoder.encode([long, "a red cube"], ["blurry", "no"])
    assert embeds.prompt_embeds.shape == embeds.negative_prompt_embeds.shape == (2, 3 * 24, encoder.text_width)
    parts = [stock_embeds(pipeline, [" ".join(part)], None) for part in (letters[:22], letters[22:44], letters[44:])]
    expected = torch.cat([part["prompt_embeds"] for part in parts], dim=1)
    torch.testing.assert_close(embeds.prompt_embeds[:1], expected, atol=1e-5, rtol=1e-5)
    # a shorter prompt of the same batch is followed by empty ones
    empty = stock_embeds(pipeline, [""], None)["prompt_embeds"]
    torch.testing.assert_close(embeds.prompt_embeds[1:, 24:48], empty, atol=1e-5, rtol=1e-5)
    if embeds.pooled_prompt_embeds is not None:
        torch.testing.assert_close(
            embeds.pooled_prompt_embeds[:1], parts[0]["pooled_prompt_embeds"], atol=1e-5, rtol=1e-5
        )
    assert np.isfinite(draw(pipeline, 2, **embeds.as_kwargs())).all()


def test_a_long_negative_makes_the_prompt_as_long() -> None:
    encoder = PromptEncoder.from_pipeline(factories.sd15_pipeline(), long_prompts="chunk")
    embeds = encoder.encode(["a"], ["b" * 30])
    assert embeds.prompt_embeds.shape == embeds.negative_prompt_embeds.shape == (1, 48, 32)


def test_chunks_change_nothing_for_a_prompt_that_fits() -> None:
    pipeline = factories.sd15_pipeline()
    chunked = PromptEncoder.from_pipeline(pipeline, long_prompts="chunk").encode(["a red cube"])
    cut = PromptEncoder.from_pipeline(pipeline).encode(["a red cube"])
    assert torch.equal(chunked.prompt_embeds, cut.prompt_embeds)


def test_every_text_token_knows_its_characters() -> None:
    encoder = PromptEncoder.from_pipeline(factories.sd15_pipeline())
    spans = encoder.text_token_spans("A red, cube")
    assert len(spans) == 24
    assert spans[0] is None
    words = ["A red, cube"[span[0] : span[1]] for span in spans if span is not None]
    assert words == ["A", "r", "e", "d", ",", "c", "u", "b", "e"]
    assert spans[10:] == [None] * 14
    chunked = PromptEncoder.from_pipeline(factories.sd15_pipeline(), long_prompts="chunk")
    spans = chunked.text_token_spans("ab" * 15)
    assert [number for number, span in enumerate(spans) if span is None] == [0, 23, 24, *range(33, 48)]
    assert spans[25] == (22, 23)


def test_a_learned_words_vectors_all_have_its_characters() -> None:
    pipeline = factories.sd15_pipeline()
    pipeline.tokenizer.add_tokens(["<cat>", "<cat>_1"])
    spans = PromptEncoder.from_pipeline(pipeline).text_token_spans("a <cat> b")
    assert spans[1:5] == [(0, 1), (2, 7), (2, 7), (8, 9)]


def test_the_negative_and_a_repeated_batch_are_read_once() -> None:
    llm = CountingModel()
    encoder = encoder_over(llm)
    first = encoder.encode(["a cat", "a dog"], ["blur", "blur"])
    encoder.encode(["a bird", "a cat"], ["blur", "blur"])
    again = encoder.encode(["a cat", "a dog"], ["blur", "blur"])
    assert llm.asked == [["a cat", "a dog"], ["blur"], ["a bird", "a cat"]]
    assert torch.equal(first.prompt_embeds, again.prompt_embeds)
    for number in range(40):
        encoder.llm_embeds([str(number)])
    encoder.llm_embeds(["blur"])
    assert llm.asked[-1] == ["blur"]  # not kept for ever


def test_buckets_hold_both_signs_and_no_more() -> None:
    encoder = encoder_over(CountingModel(), llm_token_buckets=(4, 8, 12))
    lengths = [
        encoder.encode([prompt], [negative]).prompt_embeds.shape[1] - 24
        for prompt, negative in (("a", "b"), ("abc", ""), ("a cube", ""), ("a", "a cube"), ("a" * 40, ""))
    ]
    assert lengths == [4, 4, 8, 8, 12]
    fixed = encoder_over(CountingModel()).encode(["a"])
    few = encoder.encode(["a"])
    torch.testing.assert_close(few.prompt_embeds, fixed.prompt_embeds[:, : 24 + 4])


@pytest.mark.parametrize("buckets", [(), (4, 8), (0, 12), (12, 16)])
def test_buckets_that_do_not_end_with_the_longest_text_are_refused(buckets: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected lengths up to 12, it among them"):
        encoder_over(CountingModel(), llm_token_buckets=buckets)
    padding = CountingModel()
    padding.pads = True
    with pytest.raises(UserError, match="'counting' pads every text to 12"):
        encoder_over(padding, llm_token_buckets=(4, 12))


def test_the_parts_can_be_had_before_they_are_fused() -> None:
    encoder = factories.cam_model("m").prompt_encoder
    inputs = encoder.inputs(["a cube"], ["a cube of glass"])
    with torch.no_grad():
        fused = encoder.fuse(inputs, scale=0.5)
        expected = encoder.encode(["a cube"], llm_prompts=["a cube of glass"], cam_scale=0.5)
    assert torch.equal(fused, expected.prompt_embeds)
    assert inputs.llm_mask is not None
    assert inputs.llm_mask.tolist() == [[True] * 12]
    assert encoder.inputs(["ab"]).llm_mask.tolist() == [[True] * 4 + [False] * 8]


def test_the_language_model_may_read_another_negative() -> None:
    encoder = factories.cam_model("m").prompt_encoder
    with torch.no_grad():
        plain = encoder.encode(["a"], ["blur"])
        spoken = encoder.encode(["a"], ["blur"], negative_llm_prompts=["a blurred picture"])
    assert torch.equal(spoken.prompt_embeds, plain.prompt_embeds)
    assert torch.equal(spoken.negative_prompt_embeds[:, :24], plain.negative_prompt_embeds[:, :24])
    assert not torch.equal(spoken.negative_prompt_embeds, plain.negative_prompt_embeds)


def test_the_scale_of_the_config_holds_where_a_call_gives_none() -> None:
    pipeline, llm = factories.sd15_pipeline(), factories.language_model()
    half = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.connector("cam", scale=0.5))
    whole = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=factories.connector("cam"))
    with torch.no_grad():
        given = whole.encode(["a"], cam_scale=0.5).prompt_embeds
        assert torch.equal(half.encode(["a"]).prompt_embeds, given)
        assert torch.equal(half.encode(["a"], cam_scale=1.0).prompt_embeds, whole.encode(["a"]).prompt_embeds)
