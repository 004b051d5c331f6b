import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPVisionModel

from benchmarks.metrics.clip_flant5 import PAD_RGB, SYSTEM, ClipFlanT5
from benchmarks.metrics.vqascore import TEMPLATES, VqaScore
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.metrics import t5_reference as reference


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip_flant5") / "model"
    reference.write_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipFlanT5:
    return ClipFlanT5(str(folder), str(folder / "vision"), dtype="float32", batch_size=2)


def prompt(text: str) -> Prompt:
    return Prompt(text[:8], text, "c", len(text.split()), None)


def ids(text: str) -> list[int]:
    """As the tokenizer of the fixture cuts: words that it knows, else letters; an end token behind."""
    known = reference.VOCABULARY
    pieces = [piece for word in text.split() for piece in ([word] if word in known else word)]
    return [known.index(piece) if piece in known else 2 for piece in pieces] + [1]


def expected_score(folder: Path, image: Image.Image, question: str, answer: str) -> float:
    weights = load_file(folder / "model.safetensors")
    square = Image.new("RGB", (48, 48), PAD_RGB)
    square.paste(image, (0, 8))
    pixels = CLIPImageProcessorPil.from_pretrained(folder / "vision")(images=square, return_tensors="pt")
    with torch.inference_mode():
        states = CLIPVisionModel.from_pretrained(folder / "vision").eval()(**pixels, output_hidden_states=True)
    patches = reference.projected(weights, states.hidden_states[-2][0, 1:])
    before, after = (weights["shared.weight"][ids(text)] for text in (f"{SYSTEM} USER: ", f"\n{question} ASSISTANT: "))
    return reference.score(weights, torch.cat([before, patches, after]), ids(answer))


def test_equals_an_independent_evaluation_alone_and_in_padded_batches(folder: Path, model: ClipFlanT5) -> None:
    images = [picture(1), picture(2)]
    questions = [["does it show a cat?", "is it?", "a much longer question about it, is it so?"], ["a dog?"]]
    expected = [
        [expected_score(folder, image, question, "Yes") for question in own]
        for image, own in zip(images, questions, strict=True)
    ]
    found = model.answer_likelihoods(images, questions, ("Yes",))
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    assert found[1] == pytest.approx(expected[1], rel=1e-4)
    [[alone]] = model.answer_likelihoods(images[:1], [questions[0][1:2]], ("Yes",))
    assert alone == pytest.approx(expected[0][1], rel=1e-4)
    assert len({round(value, 9) for value in (*found[0], *found[1])}) == 4
    both = model.answer_likelihoods(images[:1], [["is it?"]], ("Yes", "No"))[0][0]
    assert both == pytest.approx(expected[0][1] + expected_score(folder, images[0], "is it?", "No"), rel=1e-4)


def test_weighs_two_answers(model: ClipFlanT5) -> None:
    [[yes], []] = model.answer_probabilities([picture(1), picture(2)], [["is it?"], []])
    [[no]] = model.answer_probabilities([picture(1)], [["is it?"]], ("no", "yes"))
    assert 0 < yes < 1
    assert yes + no == pytest.approx(1)
    assert model.answer_probabilities([picture(1)], [[]]) == [[]]


def test_prompts_of_120_words_that_differ_in_the_last_one_get_different_states(model: ClipFlanT5) -> None:
    shared = " ".join(["word"] * 119)
    texts = [TEMPLATES["clip-flant5"].question.replace("{}", f"{shared} {last}") for last in ("cat", "dog")]
    a, b = model.text_states([picture(1)] * 2, texts)
    assert a.shape == b.shape
    assert (a - b).abs().max() > 1e-3
    scores = model.answer_likelihoods([picture(1)], [texts], ("Yes",))[0]
    assert scores[0] != scores[1]


def test_vqascore_asks_by_the_paper_s_template(folder: Path) -> None:
    options = {"weights": str(folder), "vision_tower": str(folder / "vision"), "dtype": "float32"}
    metric = VqaScore("clip_flant5", options)
    [[score]] = metric.score([picture(1)], [prompt("a cat")])
    question = 'Does this figure show "a cat"? Please answer yes or no.'
    assert score.value == pytest.approx(expected_score(folder, picture(1), question, "Yes"), rel=1e-4)
    assert question in (score.reason or "")
    identity = json.dumps(metric.identity())
    assert 'Does this figure show \\"{}\\"' in identity
    assert str(folder.parent) not in identity


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("lm_head.weight", None, "lacks 1 of"),
        ("decoder.block.1.layer.1.EncDecAttention.q.weight", torch.zeros(2, 2), r"shape \[2, 2\], expected"),
        ("mm_projector.2.bias", None, "mm_projector.*lacks 1 of 4 tensors: 2.bias"),
        ("adapter.weight", torch.zeros(2, 2), "holds 1 tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    folder: Path, tmp_path: Path, name: str, change: torch.Tensor | None, told: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(name, None)
    if change is not None:
        tensors[name] = change
    for file in folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(tensors, tmp_path / "model.safetensors")
    broken = ClipFlanT5(str(tmp_path), str(folder / "vision"), dtype="float32")
    with pytest.raises(UserError, match=told):
        broken.answer_likelihoods([picture(1)], [["is it?"]], ("Yes",))


def test_missing_weights_are_told_in_one_line() -> None:
    with pytest.raises(
        UserError, match=r"no weights given; expected the folder of https://.*clip-flant5-xxl"
    ) as caught:
        VqaScore("clip_flant5")
    assert "\n" not in str(caught.value)
