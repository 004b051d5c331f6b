import pytest

from benchmarks.calibration.prompts import Length
from benchmarks.calibration.twins import SKILLS, twins_of
from llm4gen_data.scenes.dense import MAX_WORDS, MIN_WORDS
from llm4gen_data.scenes.facts import compare, facts_from_json, truth_facts

N = 8


@pytest.mark.parametrize("length", ["medium", "dense"])
@pytest.mark.parametrize("skill", SKILLS)
def test_longer_prompts_are_of_the_same_scenes_and_true_of_one_alone(skill: str, length: Length) -> None:
    short = list(twins_of(skill, N, 50, "any"))
    pairs = list(twins_of(skill, N, 50, "any", length))
    assert [pair.scenes for pair in pairs] == [pair.scenes for pair in short]
    for pair in pairs:
        assert pair.prompts[0].prompt != pair.prompts[1].prompt
        for i, prompt in enumerate(pair.prompts):
            asked = facts_from_json(prompt.spec or "")
            assert all(o.color and o.texture and o.size for o in asked.objects)
            assert prompt.n_words == len(prompt.prompt.split())
            if length == "dense":
                assert MIN_WORDS <= prompt.n_words <= MAX_WORDS
            wrong = [
                sum(counts.false_positive for counts in compare(asked, truth_facts(scene)).values())
                + (len(asked.objects) != len(scene.objects))
                for scene in (pair.scenes[i], pair.scenes[1 - i])
            ]
            assert wrong[0] == 0
            assert wrong[1] > 0, prompt.prompt


def test_where_attributes_differ_the_words_around_them_are_mostly_the_same() -> None:
    for length in ("short", "medium"):
        for pair in twins_of("color", N, 50, "any", length):
            first, second = (prompt.prompt.split() for prompt in pair.prompts)
            assert len(first) == len(second)
