"""Alt texts are as poor as those of the web: short, incomplete, noisy, now and then empty or about something else."""

import random

from llm4gen_data.scenes.alt_text import alt_text
from llm4gen_data.scenes.sample import sample_scene

SCENES = [sample_scene(seed) for seed in range(800)]
TEXTS = [alt_text(scene, random.Random(scene.seed)) for scene in SCENES]


def test_the_same_random_state_gives_the_same_text() -> None:
    assert TEXTS[3] == alt_text(SCENES[3], random.Random(3))


def test_most_texts_name_a_shape_but_few_tell_everything() -> None:
    names_one = [
        any(o.shape in text.lower() for o in scene.objects) for scene, text in zip(SCENES, TEXTS, strict=True)
    ]
    complete = [
        all(word in text.lower() for o in scene.objects for word in o.kind)
        for scene, text in zip(SCENES, TEXTS, strict=True)
    ]
    assert 0.7 < sum(names_one) / len(TEXTS) < 0.95
    assert sum(complete) / len(TEXTS) < 0.02


def test_noise_of_each_kind_occurs() -> None:
    assert 0.01 < TEXTS.count("") / len(TEXTS) < 0.06
    assert any(text.lower().endswith((".jpg", ".png")) for text in TEXTS)
    assert any("sku" in text.lower() for text in TEXTS)
    assert any(text.isupper() for text in TEXTS)
    assert any(text.endswith("...") for text in TEXTS)
    assert sum(len(text.split()) for text in TEXTS) / len(TEXTS) < 9
