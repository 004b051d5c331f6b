import random

from llm4gen_data.scenes.corrupt import corrupt
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.facts import caption_facts, compare, truth_facts
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import size_of_radius


def test_nothing_wrong_is_the_scene_itself_and_all_wrong_shares_no_fact() -> None:
    scene = sample_scene(3)
    assert corrupt(scene, 0.0, random.Random(0)) == scene
    wrong = corrupt(scene, 1.0, random.Random(0))
    for true, false in zip(scene.objects, wrong.objects, strict=True):
        for name in ("shape", "color", "texture", "size"):
            assert getattr(true, name) != getattr(false, name)
        assert size_of_radius(false.radius) == false.size
    assert wrong.background != scene.background


def test_the_share_of_wrong_shapes_is_the_one_asked_for_and_captions_tell_it() -> None:
    right = asked = 0
    for seed in range(150):
        scene = sample_scene(seed)
        wrong = corrupt(scene, 0.3, random.Random(seed))
        caption = dense_caption(wrong, random.Random(seed))
        assert compare(caption_facts(caption), truth_facts(wrong))["object"].false_positive == 0
        pairs = list(zip(scene.objects, wrong.objects, strict=True))
        right += sum(a.shape == b.shape for a, b in pairs)
        asked += len(pairs)
    assert 0.65 < right / asked < 0.75


def test_mirrored_relations_are_the_opposite_ones() -> None:
    scene = next(s for s in map(sample_scene, range(50)) if truth_facts(s).relations)
    wrong = corrupt(scene, 1.0, random.Random(0))
    assert truth_facts(wrong).relations == {(b, relation, a) for a, relation, b in truth_facts(scene).relations}
