"""How far a metric can be believed: how often it prefers the right picture, skill by skill."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from benchmarks.calibration.prompts import Length
from benchmarks.calibration.twins import SKILLS, Twins, twins_of
from benchmarks.config import BenchConfig
from benchmarks.encoders import encode, rows_of
from benchmarks.metrics.metric import Metric, load_metric
from benchmarks.records import Score
from benchmarks.run import LARGE_CLIP, SMALL_CLIP, SMALL_PICTURE_PX, metric_options
from benchmarks.scoring import score_pairs
from benchmarks.stats import clustered_difference, clustered_share, holm
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Split

CHANCE = 0.5
LEVEL = 0.05
BETTER = "better than chance"
# Skills that scenes of any number of objects can show: only what is pooled over these compares numbers of objects.
ATTRIBUTE_SKILLS = ("color", "shape", "texture", "size")
ALL_SKILLS, POOLED = "all skills", "attributes"
N_OBJECTS = (1, 2, 3, 4)
VIEWS = ("right_picture", "right_prompt", "all_four")
MIN_SCENES = 10  # of a number of objects, for an interval: resampled from fewer, it is often a point
# Scores of a pair: those of the first prompt on both pictures, then those of the second.
FourScores = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair with its scores (None where one has no value); `cut`: the share of its prompts read only in part."""

    skill: str
    scene: str
    n_objects: int
    four: FourScores | None
    cut: float | None


def calibrate_metric(
    name: str,
    metric: Metric,
    *,
    n: int,
    first_seed: int,
    split: Split,
    length: Length = "short",
    balanced: bool = False,
    size_px: int = 64,
    batch_size: int = 32,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score `n` scenes of each skill and their twins, pictures of `size_px`, each against both prompts of a `length`.

    `balanced`: `n` of each skill and number of objects, as far as there are such, not of each skill as they come.

    `right_picture` is the share of prompts whose own picture scores higher than the twin's, `right_prompt` of pictures
    that score higher with their own prompt (a tie counts half, chance is 0.5), `all_four` of pairs right in all four
    respects (chance is 1 in 6). `skills` has a row a skill, `by_objects` one a skill and number of objects of its
    first scene; "attributes" pools the skills that any number of objects can show. Intervals are clustered by scene.
    Raises UserError if the metric cannot judge such prompts.
    """
    settings = {"n_resamples": n_resamples, "seed": seed}
    numbers = N_OBJECTS if balanced else (None,)
    twins = [
        pair
        for skill in SKILLS
        for n_objects in numbers
        for pair in twins_of(skill, n, first_seed, split, length, n_objects)
    ]
    metric.check([prompt for pair in twins for prompt in pair.prompts])
    judged = list(_judged(metric, twins, size_px, batch_size, f"{name}, {length}"))
    if all(pair.four is None for pair in judged):
        raise UserError(f"{name}: not one of {4 * len(twins):,} scores has a value: it does not judge such prompts")
    rows = [_row(skill, [pair for pair in judged if pair.skill == skill], settings) for skill in SKILLS]
    adjusted = holm([row["p_value"] for row in rows])
    rows = [{**row, "p_holm": p, "verdict": _verdict(row, p)} for row, p in zip(rows, adjusted, strict=True)]
    groups = {**{skill: (skill,) for skill in SKILLS}, POOLED: ATTRIBUTE_SKILLS}
    return {
        "metric": name,
        "identity": metric.identity(),
        "headline": metric.headline,
        "length": length,
        "balanced": balanced,
        "mean_words": sum(prompt.n_words for pair in twins for prompt in pair.prompts) / (2 * len(twins)),
        "split": split,
        "first_seed": first_seed,
        "size_px": size_px,
        **settings,
        "skills": [*rows, _row(ALL_SKILLS, judged, settings)],
        "by_objects": [
            _row_by_objects(group, n_objects, own, settings)
            for group, skills in groups.items()
            for n_objects in sorted({pair.n_objects for pair in judged})
            if (own := [pair for pair in judged if pair.skill in skills and pair.n_objects == n_objects])
        ],
        "examples": {pair.skill: [prompt.prompt for prompt in pair.prompts] for pair in reversed(twins)},
    }


def metric_for(config: BenchConfig, name: str, size_px: int) -> Metric:
    """The metric `name` with its options in `config`; `model` "auto" is what suits pictures of `size_px`.

    `NAME=MODEL` is the metric with that model in place of the one in `config`. Raises UsageError if it has none.
    """
    name, replaces, model = name.partition("=")
    options = metric_options(config, name)
    if replaces and "vqa_options" in options:
        options["vqa_options"] = {**options["vqa_options"], "model": model}
    elif replaces and options and "model" not in options:
        raise UsageError(f"--metric {name}={model}: {name} has no option `model`; expected --set {name}.OPTION=...")
    elif replaces:
        options["model"] = model
    elif options.get("model") == "auto":
        options["model"] = SMALL_CLIP if size_px <= SMALL_PICTURE_PX else LARGE_CLIP
    return load_metric(name, options)


def _judged(metric: Metric, twins: Sequence[Twins], size_px: int, batch_size: int, title: str) -> Iterator[Judged]:
    for start in tqdm(range(0, len(twins), batch_size), desc=f"calibrate {title}", unit="batch"):
        batch = twins[start : start + batch_size]
        pictures = [render(scene, size_px) for pair in batch for scene in pair.scenes]
        places = [2 * i + j for i in range(len(batch)) for _ in range(2) for j in range(2)]
        prompts = [prompt for pair in batch for prompt in pair.prompts for _ in range(2)]
        # Both prompts of a pair are held against the same pictures: a metric looks at each of them once.
        features = rows_of(encode(getattr(metric, "uses", ()), pictures), places)
        found = [
            next((score for score in scores if score.kind == metric.headline and _is_number(score)), None)
            for scores in score_pairs(metric, [pictures[place] for place in places], prompts, features)
        ]
        for i, pair in enumerate(batch):
            yield _judge(pair, found[4 * i : 4 * i + 4])


def _judge(pair: Twins, scores: Sequence[Score | None]) -> Judged:
    values = [score.value for score in scores if score is not None and score.value is not None]
    cuts = [score.truncated for score in scores[::2] if score is not None and score.truncated is not None]
    four = (values[0], values[1], values[2], values[3]) if len(values) == 4 else None
    return Judged(pair.skill, str(pair.scenes[0].seed), pair.n_objects, four, sum(cuts) / len(cuts) if cuts else None)


def _is_number(score: Score) -> bool:
    return score.value is not None and math.isfinite(score.value)


def _row(skill: str, own: Sequence[Judged], settings: Mapping[str, int]) -> dict[str, Any]:
    scenes = [pair.scene for pair in own if pair.four is not None]
    fours = [pair.four for pair in own if pair.four is not None]
    cuts = [pair.cut for pair in own if pair.cut is not None]
    twice = [scene for scene in scenes for _ in range(2)]
    # (first prompt, first picture), (first, second), (second, first), (second, second)
    pictures = [_preferred(*choice) for a, b, c, d in fours for choice in ((a, b), (d, c))]
    prompts = [_preferred(*choice) for a, b, c, d in fours for choice in ((a, c), (d, b))]
    four = [float(min(a, d) > max(b, c)) for a, b, c, d in fours]
    return {
        "skill": skill,
        "right_picture": asdict(clustered_share(pictures, twice, **settings)),
        "right_prompt": asdict(clustered_share(prompts, twice, **settings)),
        "all_four": asdict(clustered_share(four, scenes, **settings)),
        "p_value": clustered_difference([value - CHANCE for value in pictures], twice, **settings).p_value,
        "ties": sum(value == CHANCE for value in pictures) / len(pictures) if pictures else None,
        "cut": sum(cuts) / len(cuts) if cuts else None,
        "n_scenes": len(set(scenes)),
        "n_failed": len(own) - len(fours),
    }


def _row_by_objects(group: str, n_objects: int, own: Sequence[Judged], settings: Mapping[str, int]) -> dict[str, Any]:
    row = {"n_objects": n_objects, **_row(group, own, settings)}
    if row["n_scenes"] < MIN_SCENES:
        row |= {view: {**row[view], "low": None, "high": None} for view in VIEWS}
    return row


def _preferred(right: float, wrong: float) -> float:
    return CHANCE if right == wrong else float(right > wrong)


def _verdict(row: Mapping[str, Any], p: float | None) -> str:
    if p is None or p >= LEVEL:
        return "not told from chance"
    return BETTER if row["right_picture"]["mean"] > CHANCE else "worse than chance"
