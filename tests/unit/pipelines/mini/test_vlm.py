from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Idefics3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from llm4gen_data.scenes.sample import sample_scene
from pipelines.mini.train_vlm import SceneHeads, encode_images, text_losses
from pipelines.mini.vlm import answer, branch, build_model, build_processor, build_tokenizer, export
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, grid_targets, index_batches, pixel_values
from pipelines.mini.vlm_texts import ANSWER_WEIGHT, NAMING_WEIGHT, every_text, naming_tokens, pack

TEXTS: list[dict[str, Any]] = [
    {
        "dense": "A large red circle lies left of a small blue star.",
        "medium": "There is a red circle. It lies left of a star.",
        "short": "A red circle and a blue star.",
        "questions": [{"question": "Is there a red circle?", "answer": "yes"}],
    }
]
ROW = [
    (*branch("Describe this image briefly.", TEXTS[0]["short"]), 1.0),
    (*branch("Is it red?", "Yes"), ANSWER_WEIGHT),
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(every_text(TEXTS))


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    torch.manual_seed(0)
    return build_model(tokenizer).eval()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


def test_known_words_are_one_token_and_any_text_survives(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer(" A red circle and a blue star.")["input_ids"]) == 8
    assert tokenizer.decode(tokenizer("crimson Ω!")["input_ids"]) == "crimson Ω!"


def test_pixels_equal_the_processors(tokenizer: PreTrainedTokenizerFast, images: np.ndarray) -> None:
    processed = build_processor(tokenizer).image_processor(list(images), return_tensors="pt")["pixel_values"]
    assert torch.equal(pixel_values(images), processed[0])


def test_packed_loss_equals_that_of_each_text_alone(
    tokenizer: PreTrainedTokenizerFast, model: Idefics3ForConditionalGeneration, images: np.ndarray
) -> None:
    """Texts that share a row and an image must not see each other."""
    processor = build_processor(tokenizer)
    with torch.inference_mode():
        tokens = encode_images(model, images)
        packed = text_losses(model, tokens, pack([(0, ROW[:1]), (1, ROW)], tokenizer))["text"]
        nll, total = torch.zeros(()), torch.zeros(())
        for index, (prompt, reply, weight) in [(0, ROW[0]), (1, ROW[0]), (1, ROW[1])]:
            image = Image.fromarray(images[index])
            inputs = processor(text=f"<|im_start|>User:<image>{prompt}{reply}", images=[image], return_tensors="pt")
            n = len(tokenizer(reply)["input_ids"])
            logits, wanted = model(**inputs).logits[0, -n - 1 : -1], inputs["input_ids"][0, -n:]
            named = torch.isin(wanted, torch.tensor(sorted(naming_tokens(tokenizer))))
            weights = weight * torch.where(named, NAMING_WEIGHT, 1.0)
            nll += (weights * torch.nn.functional.cross_entropy(logits, wanted, reduction="none")).sum()
            total += weights.sum()
    assert packed.item() == pytest.approx((nll / total).item(), abs=1e-5)


def test_prompt_is_the_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    content = [{"type": "image"}, {"type": "text", "text": "Is it red?"}]
    prompt = build_processor(tokenizer).apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert prompt == "<|im_start|>User:<image>" + branch("Is it red?", "")[0]


def test_export_loads_and_answers_alike(
    tokenizer: PreTrainedTokenizerFast, model: Idefics3ForConditionalGeneration, images: np.ndarray, tmp_path: Path
) -> None:
    export(model, build_processor(tokenizer), tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 2_600_000
    model.half().float()  # what was exported
    pictures = [Image.fromarray(image) for image in images]
    asked = ["Describe this image briefly.", "Is it red?"]
    expected = answer(model, build_processor(tokenizer), pictures, asked)
    assert answer(loaded, AutoProcessor.from_pretrained(tmp_path), pictures, asked) == expected


def test_targets_name_each_object_where_it_is() -> None:
    scene = sample_scene(3)
    attributes, offsets, _ = grid_targets(scene)
    named = {tuple(names[i] for names, i in zip(ATTRIBUTES.values(), a, strict=True)) for a in attributes if a[0] >= 0}
    assert named == {o.kind for o in scene.objects}
    assert np.abs(offsets).max() <= 0.5


def test_heads_learn_from_objects_only(images: np.ndarray) -> None:
    attributes = torch.full((2, 16, 4), NO_OBJECT)
    attributes[0, 5] = torch.tensor([1, 2, 3, 1])
    targets = {"attributes": attributes, "offsets": torch.zeros(2, 16, 2), "backgrounds": torch.tensor([0, 3])}
    losses = SceneHeads(8)(torch.randn(2, 16, 8), targets)
    assert set(losses) == {"presence", "offset", "background", *ATTRIBUTES}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_batches_go_on_where_they_stopped() -> None:
    whole = index_batches(10, 3, seed=0, first_step=0)
    batches = [next(whole).tolist() for _ in range(8)]
    resumed = index_batches(10, 3, seed=0, first_step=5)
    assert [next(resumed).tolist() for _ in range(3)] == batches[5:]
    assert len({i for batch in batches[:3] for i in batch}) == 9
