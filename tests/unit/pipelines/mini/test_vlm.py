import random
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
from pipelines.mini.train_vlm import SceneHeads, load_weights, text_losses
from pipelines.mini.vlm import IMAGE_PREFIX, answer, branch, build_model, build_processor, build_tokenizer, export
from pipelines.mini.vlm_batch import IGNORED, MAX_PADDING, batch_texts
from pipelines.mini.vlm_data import ATTRIBUTES, NO_OBJECT, grid_targets, index_batches, pixel_values
from pipelines.mini.vlm_forward import encode_images, text_hidden_states
from pipelines.mini.vlm_grounding import NOTHING_MORE, GroundingHead
from pipelines.mini.vlm_texts import ANSWER_WEIGHT, NAMING_WEIGHT, every_text, naming_tokens, scene_texts, tokenize

TEXTS: list[dict[str, Any]] = [
    {
        "dense": "A large red circle lies left of a small blue star.",
        "medium": "There is a red circle. It lies left of a star.",
        "short": "A red circle and a blue star.",
        "questions": ["Is there a red circle?"],
    }
]
SCENE = sample_scene(3)
ROWS = [
    (0, SCENE, "Describe this image briefly.", TEXTS[0]["short"], 1.0),
    (1, SCENE, "Describe this image briefly.", TEXTS[0]["dense"], 1.0),
    (1, SCENE, "Is there a red circle?", "Yes", ANSWER_WEIGHT),
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


def test_batched_loss_equals_that_of_each_text_alone(
    tokenizer: PreTrainedTokenizerFast, model: Idefics3ForConditionalGeneration, images: np.ndarray
) -> None:
    """Texts see their own image and themselves, as at inference."""
    processor = build_processor(tokenizer)
    prefix = tokenizer(IMAGE_PREFIX, add_special_tokens=False)["input_ids"]
    batch = batch_texts(tokenize(ROWS, tokenizer), prefix, len(images), tokenizer.pad_token_id)
    with torch.inference_mode():
        tokens = encode_images(model, images)
        batched = text_losses(model, GroundingHead(128), tokens, batch)["text"]
        nll, total = torch.zeros(()), torch.zeros(())
        for index, _, instruction, told, weight in ROWS:
            prompt, reply = branch(instruction, told)
            image = Image.fromarray(images[index])
            inputs = processor(text=f"<|im_start|>User:<image>{prompt}{reply}", images=[image], return_tensors="pt")
            n = len(tokenizer(reply)["input_ids"])
            logits, wanted = model(**inputs).logits[0, -n - 1 : -1], inputs["input_ids"][0, -n:]
            named = torch.isin(wanted, torch.tensor(sorted(naming_tokens(tokenizer))))
            weights = weight * torch.where(named, NAMING_WEIGHT, 1.0)
            nll += (weights * torch.nn.functional.cross_entropy(logits, wanted, reduction="none")).sum()
            total += weights.sum()
    assert batched.item() == pytest.approx((nll / total).item(), abs=1e-5)


def test_a_scene_is_told_at_length_and_asked_about(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = scene_texts(SCENE, random.Random(0))
    assert len(texts[0][1].split()) >= 50
    answers = [answer for _, answer, weight in texts if weight == ANSWER_WEIGHT]
    assert set(answers) <= {"Yes", "No"}
    assert len(answers) >= 2
    assert scene_texts(SCENE, random.Random(0)) == texts


def test_groups_hold_texts_of_like_length(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [(0, SCENE, *text) for text in scene_texts(SCENE, random.Random(1))]
    texts = tokenize(rows, tokenizer)
    batch = batch_texts(texts, [1, 2, 3], 1, tokenizer.pad_token_id)
    assert sum(len(image_index) for image_index, _ in batch.groups) == len(texts)
    n_padding = len(batch.input_ids) - 3 - sum(len(text.input_ids) for text in texts)
    assert n_padding <= MAX_PADDING * len(texts)
    assert int((batch.labels != IGNORED).sum()) == sum(label != IGNORED for text in texts for label in text.labels)
    asked = batch.next_cells[batch.next_cells != IGNORED]
    assert {0 <= cell <= NOTHING_MORE for cell in asked.tolist()} == {True}
    assert asked[-1] == NOTHING_MORE
    # each word that names an object is the last token of that word
    words = tokenizer.convert_ids_to_tokens(batch.input_ids[batch.named].tolist())
    assert words
    assert len(batch.named_facts) == len(words)


def test_weights_load_from_a_model_of_fewer_layers_and_other_heads(
    tokenizer: PreTrainedTokenizerFast, model: Idefics3ForConditionalGeneration, images: np.ndarray, tmp_path: Path
) -> None:
    heads = SceneHeads(8)
    saved = {f"heads.{name}": value for name, value in heads.state_dict().items() if not name.startswith("center")}
    saved |= {f"model.{name}": v for name, v in model.state_dict().items() if ".layers.5." not in name}
    torch.save({"modules": saved}, tmp_path / "caption.pt")
    grown, loaded = build_model(tokenizer), SceneHeads(8)
    load_weights(tmp_path / "caption.pt", {"heads": loaded, "model": grown, "grounding": GroundingHead(8)})
    assert torch.equal(loaded.presence.weight, heads.presence.weight)
    assert not torch.equal(loaded.center.weight, heads.center.weight)
    batch = batch_texts(tokenize(ROWS, tokenizer), [1, *[tokenizer.convert_tokens_to_ids("<image>")] * 16], 2, 0)
    with torch.inference_mode():
        states = text_hidden_states(grown, encode_images(grown, images), batch)
    # the layer that was not in the checkpoint lets everything through
    assert torch.equal(grown.model.text_model.norm(states[-2]), states[-1])


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
    assert (tmp_path / "model.safetensors").stat().st_size < 3_200_000
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
    assert set(losses) == {"presence", "center", "background", *ATTRIBUTES}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_batches_go_on_where_they_stopped() -> None:
    whole = index_batches(10, 3, seed=0, first_step=0)
    batches = [next(whole).tolist() for _ in range(8)]
    resumed = index_batches(10, 3, seed=0, first_step=5)
    assert [next(resumed).tolist() for _ in range(3)] == batches[5:]
    assert len({i for batch in batches[:3] for i in batch}) == 9
