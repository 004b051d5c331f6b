import sys

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.prompt_weights import parse_weights
from tests import factories

compel = pytest.importorskip("compel")


@pytest.mark.parametrize(
    ("prompt", "plain", "weights"),
    [
        ("a (red)1.5 cube, on a (wooden)0.6 table.", "a red cube, on a wooden table.", {"red": 1.5, "wooden": 0.6}),
        ("two dogs+ and a cat-", "two dogs and a cat", {"dogs": 1.1, "cat": 0.9}),
    ],
)
def test_weights_are_read_and_taken_out_of_the_text(prompt: str, plain: str, weights: dict[str, float]) -> None:
    text, fragments = parse_weights(prompt)
    assert text == plain
    assert {fragment: weight for fragment, weight in fragments if weight != 1} == pytest.approx(weights)


@pytest.mark.parametrize("prompt", ["", "a cat", 'a (not weighted)\n text,  "kept" as it is ', "((("])
def test_a_text_without_weights_stays_as_it_is(prompt: str) -> None:
    assert parse_weights(prompt) == (prompt, [])


@pytest.mark.parametrize("prompt", ['("a cat", "a dog").blend(1, 1)', '("a", "b").and()', "a cat.swap(dog)"])
def test_other_operators_are_refused(prompt: str) -> None:
    with pytest.raises(UserError, match="expected weights only"):
        parse_weights(prompt)


def test_without_compel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compel.prompt_parser", None)
    with pytest.raises(UserError, match="prompt weights need compel: pip install compel"):
        parse_weights("a (red)1.5 cube")


def test_embeds_are_compels_own_and_plain_prompts_the_stock_pipelines() -> None:
    pipeline = factories.sd15_pipeline()
    encoder = PromptEncoder.from_pipeline(pipeline, prompt_weights=True)
    weigh = compel.Compel(tokenizer=pipeline.tokenizer, text_encoder=pipeline.text_encoder)
    prompts = ["a (red)0.4 cube", "a (red)1.4 cube", "a red cube"]
    ours, _ = encoder.text_embeds(prompts)
    assert torch.equal(ours[:2], weigh(prompts[:2]))
    assert torch.equal(ours[2:], PromptEncoder.from_pipeline(pipeline).text_embeds(prompts[2:])[0])


def test_sdxl_weighs_both_encoders_and_pools_the_plain_text() -> None:
    pipeline = factories.sdxl_pipeline()
    weighted, pooled = PromptEncoder.from_pipeline(pipeline, prompt_weights=True).text_embeds(["a (red)1.4 cube"])
    plain, plain_pooled = PromptEncoder.from_pipeline(pipeline).text_embeds(["a red cube"])
    changed = (weighted - plain).abs().amax(1)[0]
    assert changed[:32].max() > 0.01
    assert changed[32:].max() > 0.01
    assert pooled is not None
    assert plain_pooled is not None
    assert torch.equal(pooled, plain_pooled)


def test_the_language_model_reads_the_plain_text() -> None:
    model = factories.cam_model("m")
    encoder = PromptEncoder.from_pipeline(
        model.pipeline, llm=model.prompt_encoder.llm, cam=model.prompt_encoder.cam, prompt_weights=True
    )
    weighted, plain = encoder.inputs(["a (red)1.4 cube"]), encoder.inputs(["a red cube"])
    assert weighted.llm_embeds is not None
    assert plain.llm_embeds is not None
    assert torch.equal(weighted.llm_embeds, plain.llm_embeds)
    assert not torch.equal(weighted.text_embeds, plain.text_embeds)
    spans = encoder.text_token_spans("a (red)1.4 cube")
    assert spans[1:9] == [(0, 1), *((i, i + 1) for i in (2, 3, 4)), *((i, i + 1) for i in (6, 7, 8, 9))]


def test_weights_work_in_every_chunk_of_a_long_prompt() -> None:
    pipeline = factories.sd15_pipeline()
    encoder = PromptEncoder.from_pipeline(pipeline, prompt_weights=True, long_prompts="chunk")
    text = "a cube on a table of very very {} wood"  # 23 letters before the word, 22 of them in the first chunk
    weighted, _ = encoder.text_embeds([text.format("(old)1.5"), "a cube"])
    plain, _ = encoder.text_embeds([text.format("old"), "a cube"])
    changed = (weighted - plain)[0].abs().amax(-1) > 1e-4
    assert weighted.shape[1] == 48
    assert not changed[:24].any()
    assert changed[24:].any()
    assert torch.equal(weighted[1], plain[1])
