"""Questions: answered as the scene has it, balanced within each kind, with dependencies that make sense."""

import random
import re
from collections import Counter, defaultdict

from llm4gen_data.scenes.questions import KINDS, Question, questions
from llm4gen_data.scenes.sample import Scene, SceneObject, relations, sample_scene
from llm4gen_data.scenes.vocabulary import COLORS, HELD_OUT_PAIRS, SHAPES
from llm4gen_data.scenes.wording import NUMBER_WORDS

SCENES = [sample_scene(seed) for seed in range(700)]
ASKED = {scene.seed: questions(scene, random.Random(scene.seed)) for scene in SCENES}
NUMBERS = {word: n for n, word in NUMBER_WORDS.items()}


def meant(scene: Scene, name: str) -> list[SceneObject]:
    """The objects that "red circles" or "circle" or "red object" means, found without the library's own words."""
    words = [word if word in (*SHAPES, *COLORS) else word.removesuffix("s").removesuffix("e") for word in name.split()]
    words = [next(s for s in (*SHAPES, *COLORS, "object") if s.startswith(word)) for word in words]
    return [o for o in scene.objects if all(word in (o.shape, o.color, "object") for word in words)]


def true_answer(scene: Scene, question: Question) -> bool:
    text = question.question.removesuffix("?")
    match question.kind:
        case "existence":
            name = re.fullmatch(r"Is there an? (.+) in the picture", text)
            assert name
            return bool(meant(scene, name[1]))
        case "count":
            asked = re.fullmatch(r"(?:Is|Are) there exactly (\w+) (\w+) in the picture", text)
            assert asked
            return len(meant(scene, asked[2])) == NUMBERS[asked[1]]
        case "relation":
            asked = re.fullmatch(r"(?:Is|Are) the (.+?) (?:to the )?(left of|right of|above|below) the (.+)", text)
            assert asked
            true = {(scene.objects[r.subject], r.relation, scene.objects[r.object]) for r in relations(scene)}
            return all((a, asked[2], b) in true for a in meant(scene, asked[1]) for b in meant(scene, asked[3]))
        case _:
            asked = re.fullmatch(r"(?:Is|Are) the (.+) (?:(?<=object )an? )?(\S+)", text)
            assert asked
            objects = meant(scene, asked[1].removesuffix(" a").removesuffix(" an"))
            assert objects, text
            value = asked[2]
            if question.kind == "shape":
                return all(o in meant(scene, value) for o in objects)
            return all(getattr(o, question.kind) == value for o in objects)


def test_every_answer_is_right() -> None:
    for scene in SCENES:
        for question in ASKED[scene.seed]:
            assert true_answer(scene, question) == (question.answer == "yes"), (question, scene)


def test_yes_and_no_are_balanced_within_each_kind() -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for asked in ASKED.values():
        for question in asked:
            answers[question.kind][question.answer] += 1
    assert set(answers) == set(KINDS)
    for kind, counted in answers.items():
        share = counted["yes"] / counted.total()
        print(f"{kind:10} {counted.total():6} questions, {share:.3f} yes")
        assert abs(share - 0.5) < 2.5 / counted.total() ** 0.5


def test_questions_depend_on_existence_questions_that_are_answered_yes() -> None:
    for asked in ASKED.values():
        by_id = {question.question_id: question for question in asked}
        assert len(by_id) == len(asked)
        for question in asked:
            parents = [by_id[parent] for parent in question.depends_on]
            assert all((parent.kind, parent.answer) == ("existence", "yes") for parent in parents)
            expected = {"existence": 0, "count": 0, "relation": 2}.get(question.kind, 1)
            assert len(parents) == expected


def test_no_question_is_asked_twice() -> None:
    for asked in ASKED.values():
        assert len({question.question for question in asked}) == len(asked)


def test_training_questions_do_not_give_away_what_is_held_out() -> None:
    for asked in ASKED.values():
        for question in asked:
            words = re.findall(r"[a-z]+", question.question)
            if question.kind in ("existence", "color", "texture", "shape"):
                assert not any(a in words and s in words for a, s in HELD_OUT_PAIRS), question
