from dataclasses import replace

import pytest

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from llm4gen_model.models import load_model
from llm4gen_model.text_encoding import count_chunks
from llm4gen_model.training import run
from llm4gen_model.training.config import TrainConfig, fingerprint_of
from llm4gen_model.training.data import open_pairs


def test_captions_are_read_in_as_many_chunks_as_the_longest_needs(config: TrainConfig) -> None:
    chunked = replace(config, train="unet", long_prompts="chunk", max_train_steps=2)
    pairs = open_pairs(config.data, config.captions)
    model = run.build_model(chunked)
    run.read_long_captions(chunked, model, pairs)
    encoder = model.prompt_encoder
    n_chunks = count_chunks(encoder.tokenizers[0], pairs.texts())
    assert n_chunks > 1
    length = encoder.tokenizers[0].model_max_length
    for text in ("", pairs.texts()[0]):  # all batches alike
        assert encoder.text_embeds([text])[0].shape[1] == n_chunks * length

    run.train(chunked)
    loaded = load_model(str(config.out / "model")).prompt_encoder
    assert (loaded.long_prompts, loaded.min_text_chunks) == ("chunk", n_chunks)
    embeds = loaded.encode(["a"])
    assert embeds.prompt_embeds.shape[1] == embeds.negative_prompt_embeds.shape[1] == n_chunks * length

    path = config.out / "model" / "llm4gen.json"
    write_json(path, {**read_json(path), "text_chunks": 10**9})
    with pytest.raises(UserError, match="text_chunks"):
        load_model(str(config.out / "model"))


def test_runs_begun_before_there_was_a_choice_go_on(config: TrainConfig) -> None:
    assert "long_prompts" not in fingerprint_of(config, to_plain(config))
    chunked = replace(config, long_prompts="chunk")
    assert fingerprint_of(chunked, to_plain(chunked))["long_prompts"] == "chunk"
