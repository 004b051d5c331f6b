from typing import Any

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.conditioning import PromptEmbeds, PromptEncoder, masked_cross_attention
from tests import factories

PROMPTS, NEGATIVES = ["a red cube", "dogs"], ["", "blurry"]


def masked_encoder(pipeline: Any) -> PromptEncoder:
    cam = factories.connector("cam", mask_padding=True)
    return PromptEncoder.from_pipeline(pipeline, llm=factories.language_model(max_tokens=12), cam=cam)


def masks_seen(pipeline: Any, embeds: PromptEmbeds, **options: Any) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    with masked_cross_attention(pipeline.unet, embeds):
        hook = pipeline.unet.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["encoder_attention_mask"]), with_kwargs=True
        )
        pipeline(**embeds.as_kwargs(), num_inference_steps=2, output_type="latent", **options)
        hook.remove()
    assert torch.equal(seen[0], seen[1])
    return seen[0]


def test_masks_tell_text_and_real_tokens_from_padding() -> None:
    embeds = masked_encoder(factories.sd15_pipeline()).encode(PROMPTS, NEGATIVES)
    assert embeds.attention_mask is not None
    assert embeds.attention_mask.sum(1).tolist() == [24 + 2 + 8, 24 + 2 + 4]  # [CLS], letters, [SEP]
    assert embeds.negative_attention_mask is not None
    assert embeds.negative_attention_mask.sum(1).tolist() == [24 + 2, 24 + 2 + 6]
    assert not embeds.prompt_embeds[~embeds.attention_mask].any()
    assert not embeds.as_kwargs().keys() & {"attention_mask", "negative_attention_mask"}


def test_a_mask_goes_with_its_prompt_whatever_the_pipeline_repeats() -> None:
    pipeline = factories.sd15_pipeline()
    embeds = masked_encoder(pipeline).encode(PROMPTS, NEGATIVES)
    both = torch.cat([embeds.negative_attention_mask, embeds.attention_mask])  # type: ignore[list-item]
    assert torch.equal(masks_seen(pipeline, embeds), both)
    assert torch.equal(masks_seen(pipeline, embeds, num_images_per_prompt=2), both.repeat_interleave(2, 0))
    unguided = masks_seen(pipeline, embeds, guidance_scale=1.0, num_images_per_prompt=3)
    assert torch.equal(unguided, both[2:].repeat_interleave(3, 0))
    assert not pipeline.unet._forward_pre_hooks


def test_masked_tokens_do_not_change_the_picture() -> None:
    pipeline = factories.sd15_pipeline()
    embeds = masked_encoder(pipeline).encode(PROMPTS, NEGATIVES)
    assert embeds.attention_mask is not None
    keep = 24 + 10  # tokens of the longest prompt
    short = PromptEmbeds(embeds.prompt_embeds[:, :keep], embeds.negative_prompt_embeds[:, :keep])
    short = PromptEmbeds(
        short.prompt_embeds,
        short.negative_prompt_embeds,
        attention_mask=embeds.attention_mask[:, :keep],
        negative_attention_mask=embeds.negative_attention_mask[:, :keep],  # type: ignore[index]
    )

    def draw(embeds: PromptEmbeds) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        with masked_cross_attention(pipeline.unet, embeds):
            return pipeline(  # type: ignore[no-any-return]
                **embeds.as_kwargs(), generator=generator, num_inference_steps=2, output_type="latent"
            ).images

    torch.testing.assert_close(draw(embeds), draw(short), atol=1e-5, rtol=1e-5)


def test_embeds_without_masks_pass_and_foreign_ones_are_refused() -> None:
    pipeline = factories.sd15_pipeline()
    plain = PromptEncoder.from_pipeline(pipeline).encode(PROMPTS)
    assert plain.attention_mask is None
    with masked_cross_attention(pipeline.unet, plain):
        assert not pipeline.unet._forward_pre_hooks
    embeds = masked_encoder(pipeline).encode(PROMPTS)
    with masked_cross_attention(pipeline.unet, embeds), pytest.raises(UserError, match="other embeds than those"):
        pipeline(**plain.as_kwargs(), num_inference_steps=1, output_type="latent")
    assert not pipeline.unet._forward_pre_hooks
