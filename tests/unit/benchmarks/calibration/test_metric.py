import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL.Image import Image

from benchmarks.calibration.metric import ATTRIBUTE_SKILLS, MIN_SCENES, calibrate_metric, metric_for
from benchmarks.calibration.tables import tell
from benchmarks.calibration.twins import SKILLS, Twins, twins_of
from benchmarks.config import BenchConfig
from benchmarks.encoders import EncoderSpec, Features
from benchmarks.records import Score
from benchmarks.suites.t2i_compbench.linguistics import facts_of
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption.captioner import model_path
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.facts import facts_from_json, truth_facts
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.vocabulary import is_held_out
from tests.unit.benchmarks.fake_metric import Brightness, NotANumber

N = 12
QUICK: dict[str, Any] = {"n": N, "first_seed": 50, "split": "any", "n_resamples": 10_000}


@pytest.fixture(scope="module")
def twins() -> dict[str, list[Twins]]:
    return {skill: list(twins_of(skill, N, 50, "any")) for skill in SKILLS}


def test_every_skill_has_as_many_pairs_as_asked_and_they_are_the_same_again(twins: dict[str, list[Twins]]) -> None:
    assert {skill: len(own) for skill, own in twins.items()} == dict.fromkeys(SKILLS, N)
    assert list(twins_of("binding", 3, 50, "any")) == twins["binding"][:3]


def test_twins_differ_in_their_skill_and_in_nothing_else(twins: dict[str, list[Twins]]) -> None:
    for skill in ("color", "shape", "texture"):
        for pair in twins[skill]:
            a, b = (pair.scenes[i].objects for i in range(2))
            changed = {
                name
                for one, other in zip(a, b, strict=True)
                for name in ("shape", "color", "texture", "size", "x", "y", "radius")
                if getattr(one, name) != getattr(other, name)
            }
            assert changed == {skill}
    for pair in twins["size"]:
        assert [o.shape for o in pair.scenes[0].objects] == [o.shape for o in pair.scenes[1].objects]
        assert sum(o.size == "large" for o in pair.scenes[0].objects) > sum(
            o.size == "large" for o in pair.scenes[1].objects
        )
    for pair in twins["count"]:
        assert len(pair.scenes[0].objects) == len(pair.scenes[1].objects) + 1
        assert {o.kind for o in pair.scenes[0].objects} == {o.kind for o in pair.scenes[1].objects}
    for pair in twins["binding"]:
        colors, shapes = (
            [sorted(getattr(o, name) for o in scene.objects) for scene in pair.scenes] for name in ("color", "shape")
        )
        assert colors[0] == colors[1]
        assert shapes[0] == shapes[1]


def test_each_prompt_is_true_of_its_own_scene_and_false_of_the_twin(twins: dict[str, list[Twins]]) -> None:
    from llm4gen_data.scenes.facts import compare

    for pair in (pair for own in twins.values() for pair in own):
        assert pair.prompts[0].prompt != pair.prompts[1].prompt
        for i, prompt in enumerate(pair.prompts):
            asked = facts_from_json(prompt.spec or "")
            wrong = [
                sum(c.false_positive for c in compare(asked, truth_facts(scene)).values())
                + (len(asked.objects) != len(scene.objects))
                for scene in (pair.scenes[i], pair.scenes[1 - i])
            ]
            assert wrong[0] == 0
            assert wrong[1] > 0, (pair.skill, prompt.prompt)


def test_prompts_carry_their_phrases_for_the_scorer_of_t2i_compbench(twins: dict[str, list[Twins]]) -> None:
    for pair in twins["shape"]:
        facts = facts_of(pair.prompts[0].spec, pair.prompts[0].prompt_id)
        assert facts.category == pair.prompts[0].category == "shape"
        assert facts.chunks is not None
        assert all(chunk in pair.prompts[0].prompt for chunk in facts.chunks)


def test_training_twins_hold_nothing_that_training_scenes_do_not() -> None:
    for pair in twins_of("color", 8, 0, "train"):
        assert not any(is_held_out(o.shape, o.color, o.texture) for scene in pair.scenes for o in scene.objects)
    for pair in twins_of("color", 4, 0, "unseen"):
        assert any(is_held_out(o.shape, o.color, o.texture) for o in pair.scenes[0].objects)


class Knowing(Brightness):
    """Knows which picture belongs to which prompt, but for the colours of two objects."""

    headline = "known"

    def __init__(self, own: Iterable[Twins]) -> None:
        self.pictures = {
            prompt.prompt_id: render(scene).tobytes()
            for pair in own
            for prompt, scene in zip(pair.prompts, pair.scenes, strict=True)
        }

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [[Score("known", self._value(image, prompt))] for image, prompt in zip(images, prompts, strict=True)]

    def _value(self, image: Image, prompt: Prompt) -> float:
        return 1.0 if "binding" in prompt.prompt_id else float(image.tobytes() == self.pictures[prompt.prompt_id])


def test_a_metric_that_knows_is_told_from_one_that_does_not(twins: dict[str, list[Twins]]) -> None:
    knowing = Knowing(pair for own in twins.values() for pair in own)
    found = calibrate_metric("knowing", knowing, **QUICK)
    rows = {row["skill"]: row for row in found["skills"]}
    assert list(rows) == [*SKILLS, "all skills"]
    for skill in set(SKILLS) - {"binding"}:
        assert (rows[skill]["right_picture"]["mean"], rows[skill]["all_four"]["mean"]) == (1.0, 1.0)
        assert 0.7 < rows[skill]["right_picture"]["low"] < 1.0  # not certain for being right twelve times
        assert rows[skill]["verdict"] == "better than chance"
    assert (rows["binding"]["right_picture"]["mean"], rows["binding"]["ties"]) == (0.5, 1.0)
    assert (rows["binding"]["all_four"]["mean"], rows["binding"]["verdict"]) == (0.0, "not told from chance")
    assert rows["all skills"]["right_picture"]["mean"] == pytest.approx(6.5 / 7)
    assert json.loads(json.dumps(found)) == found or found["identity"]
    assert "| binding" in tell([found])


class Seeing(Brightness):
    """Works on features; says how many pictures were encoded for how many pairs."""

    def __init__(self) -> None:
        self.uses = (EncoderSpec(f"{__name__}:Means", "none"),)
        self.n_pairs = 0

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        assert features is not None
        self.n_pairs += len(images)
        seen = features[self.uses[0]][:, 0]
        assert seen.tolist() == [np.asarray(image).mean() for image in images]
        return [[Score("mean", float(value))] for value in seen]


class Means:
    encoded: ClassVar[list[int]] = []

    def __init__(self, *_: Any) -> None:
        pass

    def encode(self, images: Sequence[Image]) -> np.ndarray:
        self.encoded.append(len(images))
        return np.array([[np.asarray(image).mean()] for image in images])


def test_each_picture_is_encoded_once_for_both_prompts() -> None:
    metric = Seeing()
    calibrate_metric("seeing", metric, **QUICK)
    assert metric.n_pairs == 4 * len(SKILLS) * N
    assert sum(Means.encoded) == 2 * len(SKILLS) * N


def test_a_metric_that_never_reads_the_prompt_is_right_every_other_time() -> None:
    rows = calibrate_metric("brightness", Brightness(), **QUICK)["skills"]
    for row in rows:
        assert row["right_picture"]["mean"] == 0.5  # it prefers one picture, and that is right for one of two prompts
        assert row["right_prompt"]["mean"] == 0.5
        assert row["all_four"]["mean"] == 0.0
        assert row.get("verdict", "not told from chance") == "not told from chance"


def test_scores_without_a_value_are_counted_and_never_a_zero() -> None:
    class Sometimes(Brightness):
        def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
            full = super().score(images, prompts)
            return [
                [Score("mean", None, error_message="lost")] if "-color-" in prompt.prompt_id else own
                for own, prompt in zip(full, prompts, strict=True)
            ]

    rows = {row["skill"]: row for row in calibrate_metric("sometimes", Sometimes(), **QUICK)["skills"]}
    assert (rows["color"]["n_failed"], rows["color"]["right_picture"]["mean"]) == (N, None)
    assert rows["shape"]["n_failed"] == 0

    class Never(Brightness):
        def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
            return [[] for _ in images]

    with pytest.raises(UserError, match="not one of 336 scores has a value"):
        calibrate_metric("never", Never(), **QUICK)
    with pytest.raises(UserError, match="not one of 336 scores has a value"):
        calibrate_metric("nan", NotANumber(), **QUICK)


class Cut(Brightness):
    """Reads prompts of three objects only in part."""

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [
            [Score("mean", float(np.asarray(image).mean()), truncated=n_objects_of(prompt) == 3)]
            for image, prompt in zip(images, prompts, strict=True)
        ]


def n_objects_of(prompt: Prompt) -> int:
    return len(facts_from_json(prompt.spec or "").objects)


def test_rows_by_number_of_objects_part_the_scenes_of_their_skill(twins: dict[str, list[Twins]]) -> None:
    found = calibrate_metric("cut", Cut(), **QUICK)
    rows = found["by_objects"]
    for skill in SKILLS:
        own = {row["n_objects"]: row["n_scenes"] for row in rows if row["skill"] == skill}
        assert own == Counter(pair.n_objects for pair in twins[skill])
    pooled = {row["n_objects"]: row for row in rows if row["skill"] == "attributes"}
    scenes = {n: {p.scenes[0].seed for s in ATTRIBUTE_SKILLS for p in twins[s] if p.n_objects == n} for n in pooled}
    assert {n: row["n_scenes"] for n, row in pooled.items()} == {n: len(own) for n, own in scenes.items()}
    assert [pooled[n]["cut"] for n in (1, 2, 3)] == [0, 0, 1]
    assert all((row["right_picture"]["low"] is None) == (row["n_scenes"] < MIN_SCENES) for row in rows)
    assert "| 1 object " in tell([found])


def test_balanced_scenes_are_as_many_of_each_number_of_objects() -> None:
    rows = calibrate_metric("brightness", Brightness(), **{**QUICK, "n": 2, "n_resamples": 100}, balanced=True)
    found = {(row["skill"], row["n_objects"]): row["n_scenes"] for row in rows["by_objects"]}
    assert all(found[skill, n] == 2 for skill in ATTRIBUTE_SKILLS for n in (1, 2, 3, 4))
    assert all(found[skill, n] == 2 for skill in ("count", "binding") for n in (2, 3, 4))
    assert ("binding", 1) not in found


def test_a_model_may_be_named_with_the_metric(tmp_path: Path) -> None:
    judge = shutil.copytree(model_path("clip-mini"), tmp_path / "judge")
    assert metric_for(BenchConfig(), f"clip_score={judge}", 64).identity()["model"] == "judge"
    with pytest.raises(UserError, match="nowhere"):
        metric_for(BenchConfig(), "clip_score=nowhere", 64)
    with pytest.raises(UsageError, match="geneval has no option `model`"):
        metric_for(BenchConfig(), "geneval=clip-mini", 64)
    with pytest.raises(UsageError, match="scene_reader"):
        metric_for(BenchConfig(), "scene_reader=clip-mini", 64)


def test_options_are_those_of_a_run() -> None:
    metric = metric_for(BenchConfig(), "clip_score", 64)
    assert metric.identity()["model"] == "clip-mini"
    assert metric_for(BenchConfig(), "tests.unit.benchmarks.fake_metric:Brightness", 512).headline == "mean"
