from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.metrics.blip_model import BlipModel
from benchmarks.metrics.blip_vqa import MEAN, STD, WEIGHTS_NAME, BlipVqa, load_original_checkpoint
from benchmarks.metrics.metric import load_metric
from benchmarks.metrics.vqa import load_vqa
from benchmarks.suites.t2i_compbench.judges import AttributeJudge
from benchmarks.suites.t2i_compbench.metrics import CategoryMetric
from llm4gen_data.errors import UserError
from tests.factories import picture
from tests.unit.benchmarks.metrics import blip_reference as reference
from tests.unit.benchmarks.suites.t2i_compbench.fakes import prompt as compbench_prompt

SIZES = {"image_size": reference.IMAGE, "vision_heads": reference.HEADS, "text_heads": reference.HEADS}
QUESTIONS = [[101, 7, 8, 9, 10, 102], [101, 11, 102], [101, 12, 13, 102]]


@pytest.fixture(scope="module")
def weights() -> reference.Weights:
    return reference.random_checkpoint()


@pytest.fixture(scope="module")
def model(weights: reference.Weights) -> BlipModel:
    return load_original_checkpoint(weights, **SIZES)


def pixels(n: int) -> torch.Tensor:
    return torch.randn(n, 3, reference.IMAGE, reference.IMAGE, generator=torch.Generator().manual_seed(n))


def padded(questions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask; padding holds a word, so that one who looks at it is wrong."""
    width = max(map(len, questions))
    ids = torch.tensor([own + [99] * (width - len(own)) for own in questions])
    return ids, torch.tensor([[1] * len(own) + [0] * (width - len(own)) for own in questions])


def test_equals_an_independent_evaluation_alone_and_in_padded_batches(
    model: BlipModel, weights: reference.Weights
) -> None:
    images = pixels(3)
    expected = reference.yes_probability(weights, images, QUESTIONS)
    assert max(expected) - min(expected) > 0.02
    together = model.yes_probability(images, *padded(QUESTIONS))
    assert together.tolist() == pytest.approx(expected, abs=1e-5)
    for i, question in enumerate(QUESTIONS):
        alone = model.yes_probability(images[i : i + 1], *padded([question]))
        assert alone.item() == pytest.approx(expected[i], abs=1e-5)


def test_many_questions_share_one_image(model: BlipModel, weights: reference.Weights) -> None:
    images, counts = pixels(2), [2, 1]
    ids, mask = padded(QUESTIONS)
    answers = [reference.YES, reference.NO]
    logits = model.answer_logits(model.image_states(images), counts, ids, mask, answers)
    expected = reference.yes_probability(weights, images[[0, 0, 1]], QUESTIONS)
    assert logits.softmax(-1)[:, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_first_token_is_overwritten_and_the_caller_s_ids_are_not(model: BlipModel) -> None:
    ids, mask = padded(QUESTIONS)
    before = ids.clone()
    values = model.yes_probability(pixels(3), ids, mask)
    assert torch.equal(ids, before)
    ids[:, 0] = reference.VOCABULARY - 1
    assert torch.equal(model.yes_probability(pixels(3), ids, mask), values)


def test_reads_the_original_s_file_and_its_shared_tensors_once(weights: reference.Weights, tmp_path: Path) -> None:
    del (left_out := dict(weights))["text_decoder.cls.predictions.decoder.weight"]
    torch.save({"model": left_out}, tmp_path / "blip.pth")
    loaded = load_original_checkpoint(tmp_path / "blip.pth", **SIZES)
    [expected] = reference.yes_probability(weights, pixels(1), QUESTIONS[:1])
    assert loaded.yes_probability(pixels(1), *padded(QUESTIONS[:1])).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("text_encoder.encoder.layer.1.crossattention.self.key.bias", None, "lacks 1 of"),
        ("visual_encoder.blocks.1.attn.qkv.weight", torch.zeros(3, 3), r"shape \[3, 3\], expected \[72, 24\]"),
        ("text_encoder.pooler.dense.weight", torch.zeros(3, 3), "holds 1 tensors"),
        ("visual_encoder.norm.bias", torch.full((24,), torch.nan), "not finite"),
        ("visual_encoder.norm.bias", torch.zeros(24, dtype=torch.int64), "floats"),
        ("visual_encoder.pos_embed", torch.zeros(1, 26, 24), "26 positions; image_size=32 with patches of 8 px needs"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    weights: reference.Weights, name: str, change: torch.Tensor | None, told: str
) -> None:
    other = {key: tensor for key, tensor in weights.items() if key != name}
    if change is not None:
        other[name] = change
    with pytest.raises(UserError, match=told) as caught:
        load_original_checkpoint(other, **SIZES)
    assert name in str(caught.value)


def test_heads_that_do_not_divide_and_code_in_a_pickle_are_refused(weights: reference.Weights, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="text_heads=5 does not divide the width 16"):
        load_original_checkpoint(weights, **{**SIZES, "text_heads": 5})
    torch.save({"model": Path("/")}, tmp_path / "code.pth")
    with pytest.raises(UserError, match="a pickle that holds code"):
        load_original_checkpoint(tmp_path / "code.pth")


@pytest.fixture(scope="module")
def vqa(weights: reference.Weights, tmp_path_factory: pytest.TempPathFactory) -> BlipVqa:
    folder = tmp_path_factory.mktemp("blip")
    checkpoint, vocabulary = reference.write_original(folder, weights)
    made = load_vqa("blip_vqa", {"weights": str(checkpoint), "vocabulary": str(vocabulary), **SIZES})
    assert isinstance(made, BlipVqa)
    return made


def test_asks_pictures_as_the_original_does(vqa: BlipVqa, weights: reference.Weights) -> None:
    images = [picture(1), picture(2), picture(3)]
    found = vqa.answer_probabilities(images, [["a red cube?", "a ball?"], [], ["a blue ball?"]])
    side = (reference.IMAGE, reference.IMAGE)
    resized = [image.convert("RGB").resize(side, Image.Resampling.BICUBIC) for image in images]
    normed = [
        (torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(*side, 3) / 255 - torch.tensor(MEAN))
        / torch.tensor(STD)
        for image in resized
    ]
    questions = [[101, 1, 2, 3, 6, 102], [101, 1, 5, 6, 102], [101, 1, 4, 5, 6, 102]]
    shown = torch.stack([normed[i] for i in (0, 0, 2)]).permute(0, 3, 1, 2)
    a, b, c = reference.yes_probability(weights, shown, questions)
    assert found[0] == pytest.approx([a, b], abs=1e-5)
    assert found[1] == []
    assert found[2] == pytest.approx([c], abs=1e-5)
    [[yes]] = vqa.answer_probabilities(images[:1], [["a ball?"]], ("yes", "no"))
    [[no]] = vqa.answer_probabilities(images[:1], [["a ball?"]], ("no", "yes"))
    assert yes + no == pytest.approx(1)


def test_is_the_judge_of_attributes_by_its_options(vqa: BlipVqa) -> None:
    options = {"weights": str(vqa.weights), "vocabulary": vqa.vocabulary, **SIZES}
    metric = load_metric("t2i_compbench.blip_vqa", {"vqa_options": options})
    images = [picture(1), picture(2)]
    prompts = [compbench_prompt("color", i, "a red cube and a ball", chunks=("a red cube", "a ball")) for i in (0, 1)]
    metric.check(prompts)
    [[first], [second]] = metric.score(images, prompts)
    yes = vqa.answer_probabilities(images, [["a red cube?", "a ball?"]] * 2)
    for score, (cube, ball) in zip((first, second), yes, strict=True):
        assert score.value == pytest.approx(cube * ball, abs=1e-4)
        assert score.reason == f"a red cube? {cube:.4f}; a ball? {ball:.4f}"


def test_runs_on_the_device_of_its_suite_unless_told_another(vqa: BlipVqa) -> None:
    options = {"weights": str(vqa.weights), "vocabulary": vqa.vocabulary, **SIZES}
    metric = load_metric("t2i_compbench.blip_vqa", {"vqa_options": options, "device": "meta"})
    assert isinstance(metric, CategoryMetric)
    assert isinstance(metric._judge, AttributeJudge)
    assert isinstance(metric._judge.vqa, BlipVqa)
    assert metric._judge.vqa.device == "meta"
    other = load_vqa("blip_vqa", {**options, "device": "cpu"}, "meta")
    assert isinstance(other, BlipVqa)
    assert other.device == "cpu"
    nowhere = load_vqa("blip_vqa", options, "cuda:99")
    with pytest.raises(UserError, match="device 'cuda:99' cannot be used"):
        nowhere.answer_probabilities([picture(1)], [["a ball?"]])


def test_identity_tells_weights_and_preprocessing_but_no_folder(vqa: BlipVqa) -> None:
    identity = vqa.identity()
    assert len(identity["weights"]) == 64
    assert identity["image_size"] == reference.IMAGE
    assert "/" not in str(identity["vocabulary"])


def test_what_is_missing_is_told_in_one_line(vqa: BlipVqa, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no weights given; expected {WEIGHTS_NAME} from https://"):
        BlipVqa()
    with pytest.raises(UserError, match="no such file"):
        BlipVqa(weights=str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="answer 'a cube': expected a single word"):
        vqa.answer_probabilities([picture(1)], [["a ball?"]], ("a cube", "no"))
    without = BlipVqa(str(vqa.weights), str(tmp_path / "none" / "vocab.txt"), image_size=reference.IMAGE)
    with pytest.raises(UserError, match=r"give the vocab.txt of google-bert/bert-base-uncased") as caught:
        without.answer_probabilities([picture(1)], [["a ball?"]])
    assert "\n" not in str(caught.value)
