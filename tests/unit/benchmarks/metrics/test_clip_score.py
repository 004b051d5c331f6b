import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from benchmarks.encoders import load_encoder
from benchmarks.metrics.clip_score import ClipScore
from benchmarks.metrics.metric import load_metric
from benchmarks.records import Score
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import CONTEXT, EOS, tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def metric(folder: Path) -> ClipScore:
    return ClipScore(str(folder))


def fresh(folder: Path, **options: str) -> ClipScore:
    """One that has seen nothing yet."""
    load_encoder.cache_clear()
    return ClipScore(str(folder), **options)


def prompt(text: str) -> Prompt:
    return Prompt(text[:8], text, "c", len(text.split()), None)


def one(metric: ClipScore, image: Image.Image, text: str) -> Score:
    [[score]] = metric.score([image], [prompt(text)])
    return score


def value(metric: ClipScore, image: Image.Image, text: str) -> float:
    found = one(metric, image, text).value
    assert found is not None
    return found


def test_is_the_cosine_of_the_model_s_own_embeddings(folder: Path, metric: ClipScore) -> None:
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    inputs = {**tokenizer("a cat", return_tensors="pt"), **processor(images=picture(1), return_tensors="pt")}
    with torch.inference_mode():
        expected = model(**inputs)
    cosine = torch.nn.functional.cosine_similarity(expected.text_embeds, expected.image_embeds).item()
    assert value(metric, picture(1), "a cat") == pytest.approx(100 * cosine, abs=1e-4)


def test_long_prompts_that_differ_within_the_window_get_different_embeddings(metric: ClipScore) -> None:
    shared = " ".join(["a"] * 94)  # with the six letters 100 tokens
    texts = [f"red fox {shared}", f"fox red {shared}"]
    embeds = metric.encoder.text_embeds(texts)
    assert embeds[0] @ embeds[1] < 0.999
    end = AutoTokenizer.from_pretrained(metric.encoder.folder).convert_tokens_to_ids(EOS)
    for text in texts:
        ids, n_tokens = metric.encoder.token_ids(text)
        assert (len(ids), ids[-1], n_tokens) == (CONTEXT, end, 102)
    scores = [one(metric, picture(1), text) for text in texts]
    assert [score.truncated for score in scores] == [True, True]
    assert scores[0].value != scores[1].value
    assert f"only {CONTEXT} of the prompt's 102 tokens read" in (scores[0].reason or "")


def test_what_lies_behind_the_window_changes_nothing(metric: ClipScore) -> None:
    start = " ".join("abcdefghijklmn")  # 14 tokens, 16 with start and end
    assert one(metric, picture(1), start).truncated is False
    assert value(metric, picture(1), f"{start} x y") == value(metric, picture(1), f"{start} z")


def test_batches_give_what_single_pairs_give(metric: ClipScore) -> None:
    texts = ["a", "a b c d e f", " ".join("abcdefghijklmnopqrstuv"), "a"]
    images = [picture(i, (40 + 8 * i, 48)) for i in range(4)]
    other = fresh(metric.encoder.folder)
    together = [score.value for [score] in other.score(images, [prompt(text) for text in texts])]
    assert together == pytest.approx([value(metric, *pair) for pair in zip(images, texts, strict=True)], abs=1e-4)


def test_each_text_is_encoded_once(metric: ClipScore) -> None:
    other = fresh(metric.encoder.folder)
    other.score([picture(0)], [prompt("a b")])
    encoded: list[int] = []
    text_model = other.encoder._text
    text_model.register_forward_pre_hook(
        lambda _, __, kwargs: encoded.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    other.score([picture(1)] * 4, [prompt("a b"), prompt("c"), prompt("c"), prompt("d")])
    assert encoded == [2]


def test_negative_cosines_are_not_clamped(metric: ClipScore) -> None:
    found = [value(metric, picture(i), "a b c") for i in range(4)] + [value(metric, picture(1), t) for t in "klmnop"]
    assert min(found) < 0


def test_identity_holds_what_changes_values(folder: Path, tmp_path: Path) -> None:
    known = ClipScore(str(folder)).identity()
    assert json.loads(json.dumps(known)) == known
    assert known["preprocessing"]["crop_size"] == {"height": 32, "width": 32}
    assert len(known["weights"]) == 64
    shutil.copytree(folder, tmp_path / "other")
    weights = tmp_path / "other" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert ClipScore(str(tmp_path / "other")).identity()["weights"] != known["weights"]


def test_half_precision_is_near(folder: Path, metric: ClipScore) -> None:
    half = ClipScore(str(folder), dtype="bfloat16")
    assert value(half, picture(1), "a cat") == pytest.approx(value(metric, picture(1), "a cat"), abs=3)


def copy_with(folder: Path, target: Path, file: str, text: str) -> str:
    shutil.copytree(folder, target)
    (target / file).write_text(text, encoding="utf-8")
    return str(target)


def test_models_that_cannot_be_used_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model 'clip-maxi' is unknown"):
        load_metric("clip_score", {"model": "clip-maxi"})
    other = copy_with(folder, tmp_path / "bert", "config.json", '{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type is 'bert', expected 'clip'"):
        ClipScore(other)
    damaged = copy_with(folder, tmp_path / "damaged", "model.safetensors", "no weights")
    with pytest.raises(UserError, match="not a CLIP model with safetensors weights"):
        one(ClipScore(damaged), picture(1), "a")
    shutil.copytree(folder, tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, tmp_path / "half" / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="1 weights are not in the file"):
        one(ClipScore(str(tmp_path / "half")), picture(1), "a")
    shutil.copytree(folder, tmp_path / "pickle")
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    with pytest.raises(UserError, match="not a CLIP model with safetensors weights"):
        one(ClipScore(str(tmp_path / "pickle")), picture(1), "a")


def test_a_model_that_looks_for_another_end_token_is_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["eos_token_id"] = 7
    wrong = copy_with(folder, tmp_path / "wrong", "config.json", json.dumps(config))
    with pytest.raises(UserError, match="the tokenizer ends texts with id 513, the model looks for 7"):
        one(ClipScore(wrong), picture(1), "a")
