import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_model.llm import LLMSettings, load_llm, require_same_llm


@pytest.fixture(scope="module")
def llm() -> object:
    try:
        return load_llm("minilm-random", LLMSettings(max_tokens=32))
    except UserError as error:
        pytest.skip(str(error))


def test_it_is_the_same_every_time_and_not_the_pretrained_one(llm: object) -> None:
    state = torch.get_rng_state()
    again = load_llm("minilm-random", LLMSettings(max_tokens=32))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's randomness is left alone
    text = ["a red circle left of a blue square"]
    assert torch.equal(again.encode(text)[0], llm.encode(text)[0])  # type: ignore[attr-defined]
    require_same_llm(again.identity(), llm.identity(), "here")  # type: ignore[attr-defined]
    pretrained = load_llm("minilm", LLMSettings(max_tokens=32))
    assert pretrained.width == again.width
    assert pretrained.encode(text)[0].shape == again.encode(text)[0].shape
    assert not torch.allclose(pretrained.encode(text)[0], again.encode(text)[0], atol=0.1)
    with pytest.raises(UserError, match="made with another language model"):
        require_same_llm(again.identity(), pretrained.identity(), "here")
