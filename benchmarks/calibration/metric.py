"""How far a metric can be believed: how often it prefers the right picture, skill by skill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from benchmarks.calibration.twins import SKILLS, Twins, twins_of
from benchmarks.config import BenchConfig
from benchmarks.encoders import encode, rows_of
from benchmarks.metrics.metric import Metric, load_metric
from benchmarks.records import Score
from benchmarks.report.tables import Rows, estimate_text, markdown, p_text
from benchmarks.run import LARGE_CLIP, SMALL_CLIP, SMALL_PICTURE_PX, metric_options
from benchmarks.scoring import score_pairs
from benchmarks.stats import clustered_difference, clustered_share, holm
from llm4gen_data.errors import UserError
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Split

CHANCE = 0.5
LEVEL = 0.05
VIEWS = ("right_picture", "right_prompt", "all_four")
HEADER = ["skill", "right picture", "p (Holm)", "right prompt", "all four", "ties", "scenes", "failed", "verdict"]
# Scores of a pair: those of the first prompt on both pictures, then those of the second.
FourScores = tuple[float, float, float, float]


def calibrate_metric(
    name: str,
    metric: Metric,
    *,
    n: int,
    first_seed: int,
    split: Split,
    size_px: int = 64,
    batch_size: int = 32,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score `n` scenes of each skill and their twins, pictures of `size_px`, each against both prompts.

    `right_picture` is the share of prompts whose own picture scores higher than the twin's, `right_prompt` of pictures
    that score higher with their own prompt (a tie counts half, chance is 0.5), `all_four` of pairs right in all four
    respects (chance is 1 in 6). Intervals are clustered by scene. Raises UserError if the metric cannot judge such
    prompts.
    """
    settings = {"n_resamples": n_resamples, "seed": seed}
    twins = [pair for skill in SKILLS for pair in twins_of(skill, n, first_seed, split)]
    metric.check([prompt for pair in twins for prompt in pair.prompts])
    scored: dict[str, list[tuple[str, FourScores | None]]] = {skill: [] for skill in SKILLS}
    for pair, four in zip(twins, _scores(metric, twins, size_px, batch_size), strict=True):
        scored[pair.skill].append((str(pair.scenes[0].seed), four))
    if all(four is None for own in scored.values() for _, four in own):
        raise UserError(f"{name}: not one of {4 * len(twins):,} scores has a value: it does not judge such prompts")
    rows = [_row(skill, own, settings) for skill, own in scored.items()]
    adjusted = holm([row["p_value"] for row in rows])
    rows = [{**row, "p_holm": p, "verdict": _verdict(row, p)} for row, p in zip(rows, adjusted, strict=True)]
    rows.append(_row("all skills", [each for own in scored.values() for each in own], settings))
    return {
        "metric": name,
        "identity": metric.identity(),
        "headline": metric.headline,
        "split": split,
        "first_seed": first_seed,
        "size_px": size_px,
        **settings,
        "skills": rows,
        "examples": {pair.skill: [prompt.prompt for prompt in pair.prompts] for pair in reversed(twins)},
    }


def metric_for(config: BenchConfig, name: str, size_px: int) -> Metric:
    """The metric `name` with its options in `config`; `model` "auto" is what suits pictures of `size_px`."""
    options = metric_options(config, name)
    if options.get("model") == "auto":
        options["model"] = SMALL_CLIP if size_px <= SMALL_PICTURE_PX else LARGE_CLIP
    return load_metric(name, options)


def tell(calibration: Mapping[str, Any]) -> str:
    """The calibration as a table for people, with what its columns mean."""
    rows: Rows = [HEADER]
    for row in calibration["skills"]:
        picture, prompt, four = (estimate_text(row[view], 2) for view in VIEWS)
        p = p_text(row["p_holm"]) if "p_holm" in row else ""
        counts = [f"{100 * row['ties']:.0f} %" if row["ties"] is not None else "-", str(row["n_scenes"])]
        rows.append([row["skill"], picture, p, prompt, four, *counts, str(row["n_failed"]), row.get("verdict", "")])
    lines = [
        f"{calibration['metric']} ({calibration['headline']}) on drawn scenes of {calibration['size_px']} px (split "
        f"{calibration['split']}) and their counterfactual twins",
        "",
        markdown(rows),
        "right picture: share of prompts whose own picture scores higher than the twin's; right prompt: share of "
        "pictures that score higher with their own prompt; ties count half, chance is 0.50. All four: pairs right in "
        f"all of that, chance is 0.17. Brackets: 95 % intervals from {calibration['n_resamples']:,} bootstrap "
        "resamples of the scenes; p: right picture against chance.",
        *(f"{skill}: {first!r} against {second!r}" for skill, (first, second) in calibration["examples"].items()),
    ]
    return "\n".join(lines)


def _scores(metric: Metric, twins: Sequence[Twins], size_px: int, batch_size: int) -> Iterable[FourScores | None]:
    """Of each pair the four scores, in the order of FourScores; None where one of them has no value."""
    for start in tqdm(range(0, len(twins), batch_size), desc="calibrate", unit="batch"):
        batch = twins[start : start + batch_size]
        pictures = [render(scene, size_px) for pair in batch for scene in pair.scenes]
        places = [2 * i + j for i in range(len(batch)) for _ in range(2) for j in range(2)]
        prompts = [prompt for pair in batch for prompt in pair.prompts for _ in range(2)]
        # Both prompts of a pair are held against the same pictures: a metric looks at each of them once.
        features = rows_of(encode(getattr(metric, "uses", ()), pictures), places)
        values = [
            next((score.value for score in scores if score.kind == metric.headline and _is_number(score)), None)
            for scores in score_pairs(metric, [pictures[place] for place in places], prompts, features)
        ]
        for i in range(0, len(values), 4):
            a, b, c, d = values[i : i + 4]
            yield None if a is None or b is None or c is None or d is None else (a, b, c, d)


def _is_number(score: Score) -> bool:
    return score.value is not None and math.isfinite(score.value)


def _row(skill: str, own: Sequence[tuple[str, FourScores | None]], settings: Mapping[str, int]) -> dict[str, Any]:
    scenes = [scene for scene, four in own if four is not None]
    fours = [four for _, four in own if four is not None]
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
        "n_scenes": len(set(scenes)),
        "n_failed": len(own) - len(fours),
    }


def _preferred(right: float, wrong: float) -> float:
    return CHANCE if right == wrong else float(right > wrong)


def _verdict(row: Mapping[str, Any], p: float | None) -> str:
    if p is None or p >= LEVEL:
        return "not told from chance"
    return "better than chance" if row["right_picture"]["mean"] > CHANCE else "worse than chance"
