"""BLIP-VQA as T2I-CompBench uses it, over the modules of transformers' BLIP: P("yes") from one decoder step.

The forward passes are written out here, as transformers' own ignore the mask of the decoder's cross-attention (padded
questions would be wrong by up to 0.2), build keys and values of the image anew for each question, and keep whole
attention matrices in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import BlipForQuestionAnswering

# Ids of bert-base-uncased; [DEC] and [ENC] are the two tokens that BLIP appends to its vocabulary.
YES_ID, NO_ID = 2748, 2053


class BlipModel:
    """The weights, and what is asked of them. Images are encoded once, however many questions there are."""

    def __init__(self, blip: BlipForQuestionAnswering) -> None:
        self.blip = blip.eval()
        vocabulary_size = blip.config.text_config.vocab_size
        self.dec_id, self.enc_id = vocabulary_size - 2, vocabulary_size - 1

    def yes_probability(self, pixel_values: Tensor, question_ids: Tensor, question_mask: Tensor) -> Tensor:
        """P("yes") / (P("yes") + P("no")) for one question about each image: [B,3,H,W], [B,L], [B,L] -> [B].

        The first token of every question is overwritten with [ENC]; padding is where the mask is 0.
        """
        images = self.image_states(pixel_values)
        logits = self.answer_logits(images, [1] * len(images), question_ids, question_mask, [YES_ID, NO_ID])
        return logits.softmax(dim=-1)[:, 0]

    @torch.inference_mode()
    def image_states(self, pixel_values: Tensor) -> Tensor:
        """Images [B,3,H,W] of the model's size, normalised -> [B, 1 + patches, width]."""
        vision = self.blip.vision_model
        states = vision.embeddings(pixel_values)
        for layer in vision.encoder.layers:
            states = states + _vision_attention(layer.self_attn, layer.layer_norm1(states))
            states = states + layer.mlp(layer.layer_norm2(states))
        normed: Tensor = vision.post_layernorm(states)
        return normed

    @torch.inference_mode()
    def answer_logits(
        self,
        image_states: Tensor,
        n_questions: Sequence[int],
        question_ids: Tensor,
        question_mask: Tensor,
        answer_ids: Sequence[int],
    ) -> Tensor:
        """Logits of answers of one token, for `n_questions` about each image: [Q,L] ids and mask -> [Q, answers].

        Questions stand in the order of their images; Q is the sum of `n_questions`.
        """
        mask = question_mask.bool()
        states = self._question_states(image_states, n_questions, question_ids, mask)
        decoder = self.blip.text_decoder
        first = torch.full((len(states), 1), self.dec_id, device=states.device)
        answer = _embed(decoder.bert.embeddings, first)
        for layer in decoder.bert.encoder.layer:
            own = layer.attention
            # a softmax over one position is 1: the token's own value is all that it attends to
            answer = own.output(own.self.value(answer), answer)
            answer = _attend(layer.crossattention, answer, states, mask[:, None, None])
            answer = layer.feed_forward_chunk(answer)
        head = decoder.cls.predictions
        hidden = head.transform(answer[:, 0])
        chosen = torch.as_tensor(answer_ids, device=hidden.device)
        logits: Tensor = hidden @ head.decoder.weight[chosen].T + head.decoder.bias[chosen]
        return logits

    def _question_states(self, image_states: Tensor, n_questions: Sequence[int], ids: Tensor, mask: Tensor) -> Tensor:
        """[Q, L, width]: keys and values of an image are made once in each layer for all its questions."""
        ids = ids.clone()
        ids[:, 0] = self.enc_id
        states = _embed(self.blip.text_encoder.embeddings, ids)
        # All tokens about one image attend to it together: [images, most questions of one, L, width].
        n = torch.tensor(n_questions)
        is_asked = torch.arange(max(n_questions, default=0)) < n[:, None]
        for layer in self.blip.text_encoder.encoder.layer:
            states = _attend(layer.attention, states, states, mask[:, None, None])
            by_image = pad_sequence(list(torch.split(states, list(n_questions))), batch_first=True)
            attended = _attend(layer.crossattention, by_image.flatten(1, 2), image_states, None)
            states = attended.reshape(*by_image.shape)[is_asked.to(states.device)]
            states = layer.feed_forward_chunk(states)
        return states


def _embed(embeddings: Any, ids: Tensor) -> Tensor:
    positions = embeddings.position_embeddings.weight[: ids.shape[1]]
    normed: Tensor = embeddings.LayerNorm(embeddings.word_embeddings(ids) + positions)
    return normed


def _attend(block: Any, states: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of BERT with its residual and norm: [B,T,width] over [B,S,width]; `mask` is True where to look."""
    attention = block.self
    shape = (attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (
        project(x).unflatten(-1, shape).transpose(1, 2)
        for project, x in ((attention.query, states), (attention.key, seen), (attention.value, seen))
    )
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    result: Tensor = block.output(mixed, states)
    return result


def _vision_attention(attention: Any, states: Tensor) -> Tensor:
    heads = attention.qkv(states).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    result: Tensor = attention.projection(scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
    return result
