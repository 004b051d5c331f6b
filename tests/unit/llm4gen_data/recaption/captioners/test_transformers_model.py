"""The transformers captioner on the bundled model: padding changes nothing, too little memory halves the batch."""

import asyncio
from collections.abc import Sequence

import pytest
import torch

from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion, Engine, Sampling
from llm4gen_data.recaption.captioners.transformers_model import TransformersCaptioner
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from tests.factories import picture


@pytest.fixture(scope="module")
def captioner() -> TransformersCaptioner:
    return TransformersCaptioner(CaptionerSettings("vlm-mini", sampling=Sampling(max_tokens=12), engine=Engine()))


def requests(n: int) -> list[CaptionRequest]:
    texts = [INSTRUCTIONS["paper"].text, INSTRUCTIONS["short"].text]
    return [CaptionRequest(picture(i, (64, 64)), texts[i % 2]) for i in range(n)]


def test_a_batch_says_what_each_request_says_alone(captioner: TransformersCaptioner) -> None:
    together = asyncio.run(captioner.caption(requests(4)))
    alone = [asyncio.run(captioner.caption([request]))[0] for request in requests(4)]
    assert together == alone
    assert all(completion.n_output_tokens == 12 or completion.finish_reason == "stop" for completion in alone)


def test_memory_that_runs_out_halves_the_batch(
    captioner: TransformersCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def generate(asked: Sequence[CaptionRequest]) -> list[Completion]:
        sizes.append(len(asked))
        if len(asked) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Completion(text=request.instruction) for request in asked]

    monkeypatch.setattr(captioner, "_generate", generate)
    asked = requests(10)
    done = asyncio.run(captioner.caption(asked))
    assert [completion.text for completion in done] == [request.instruction for request in asked]
    assert sizes == [10, 5, 2, 3, 5, 2, 3]
    assert captioner.batch_size == 2


def test_a_request_the_model_refuses_fails_alone(
    captioner: TransformersCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(asked: Sequence[CaptionRequest]) -> list[Completion]:
        if any(request.image.width > 1000 for request in asked):
            raise ValueError("absolute aspect ratio must be smaller than 200")
        return [Completion(text="A wall.") for _ in asked]

    monkeypatch.setattr(captioner, "_generate", generate)
    size = captioner.batch_size
    wide = CaptionRequest(picture(0, (2000, 2)), "Describe it.")
    done = asyncio.run(captioner.caption([*requests(4), wide]))
    assert [completion.error for completion in done[:4]] == [None] * 4
    assert done[4].error == "ValueError: absolute aspect ratio must be smaller than 200"
    assert not done[4].transient
    assert captioner.batch_size == size
