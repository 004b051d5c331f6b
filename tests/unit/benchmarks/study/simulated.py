"""Studies without pictures, and raters whose taste is known: the truth that an analysis must find again."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.study.records import (
    Axis,
    Checks,
    Choice,
    ExclusionRules,
    Key,
    KeyPair,
    Side,
    Study,
    Trial,
    Vote,
    vote_line,
)

AXES = (
    Axis("aesthetic", "Which picture looks better?", shows_prompt=False),
    Axis("semantic", "Which picture fits the text better?", shows_prompt=True),
)
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
N_GOLD = 3


def sha256_name(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def simulated_study(
    models: Sequence[str], *, n_prompts: int = 12, n_raters: int = 6, axes: Sequence[Axis] = AXES, seed: int = 0
) -> tuple[Study, Checks, Key]:
    """Every rater sees every pair of models on every prompt, sides by lot; three gold pairs, two repeats an axis."""
    rng = np.random.default_rng(seed)
    key: dict[str, KeyPair] = {}
    gold: dict[str, Side] = {}
    repeats: dict[str, str] = {}
    for prompt in range(n_prompts):
        for first, second in combinations(models, 2):
            shas = {sha256_name(model, prompt): model for model in (first, second)}
            key[sha256_name(first, second, prompt)[:12]] = KeyPair(f"p{prompt}", "xy"[prompt % 2], 7, 0, shas)
    slots = []
    for slot in range(n_raters):
        trials: list[Trial] = []

        for axis in axes:
            seen: list[tuple[str, str, list[str]]] = []
            for pair_id, pair in key.items():
                sides = list(rng.permutation(list(pair.models)))
                seen.append((add(trials, slot, axis, pair_id, pair.prompt_id, sides), pair_id, sides))
            for trial_id, pair_id, sides in seen[:2]:
                repeats[add(trials, slot, axis, pair_id, key[pair_id].prompt_id, sides[::-1])] = trial_id
            for number in range(N_GOLD):
                right_answer = (slot + number) % 2
                sides = [sha256_name("gold", number, side == right_answer) for side in range(2)]
                gold[add(trials, slot, axis, f"gold{number}", "p0", sides)] = "right" if right_answer else "left"
        slots.append(tuple(trials))
    study = Study("study-1", "Compare pictures", 1, seed, tuple(axes), 64, 64, "CODE1", tuple(slots))
    return study, Checks(study.study_id, ExclusionRules(), gold, repeats), Key(study.study_id, tuple(models), key)


def add(trials: list[Trial], slot: int, axis: Axis, pair_id: str, prompt_id: str, sides: Sequence[str]) -> str:
    trial_id = f"s{slot:02d}t{len(trials):04d}"
    prompt = f"text of {prompt_id}" if axis.shows_prompt else None
    left, right = (f"{sha}.png" for sha in sides)
    trials.append(Trial(trial_id, pair_id, axis.name, prompt_id, prompt, left, right))
    return trial_id


def simulated_votes(
    study: Study,
    checks: Checks,
    key: Key,
    strengths: Mapping[str, float],
    *,
    tie_share: float = 0.1,
    prompt_sd: float = 0.0,
    rater_sd: float = 0.0,
    seed: int = 0,
) -> list[Vote]:
    """Rater i votes on slot i by Bradley-Terry; prompts and raters may lean to the first model of a pair."""
    rng = np.random.default_rng(seed)
    of_prompt = {pair.prompt_id: rng.normal(0, prompt_sd) for pair in key.pairs.values()}
    votes = []
    for number, slot in enumerate(study.slots):
        lean = rng.normal(0, rater_sd)
        for i, trial in enumerate(slot):
            pair = key.pairs.get(trial.pair_id)
            if pair is None:
                choice: Choice = checks.gold[trial.trial_id]
            else:
                sides = [pair.models[name.partition(".")[0]] for name in (trial.left, trial.right)]
                sign = 1 if key.models.index(sides[0]) < key.models.index(sides[1]) else -1
                logit = strengths[sides[0]] - strengths[sides[1]] + sign * (lean + of_prompt[pair.prompt_id])
                choice = "left" if rng.random() < 1 / (1 + math.exp(-logit)) else "right"
                choice = "tie" if rng.random() < tie_share else choice
            votes.append(cast(study, trial, choice, f"rater-{number}", START + timedelta(seconds=10 * i)))
    return votes


def cast(study: Study, trial: Trial, choice: Choice, rater_id: str, shown_at: datetime, seconds: float = 3.0) -> Vote:
    return Vote(
        study_id=study.study_id,
        pair_id=trial.pair_id,
        trial_id=trial.trial_id,
        prompt_id=trial.prompt_id,
        axis=trial.axis,
        left_sha256=trial.left.partition(".")[0],
        right_sha256=trial.right.partition(".")[0],
        choice=choice,
        rater_id=rater_id,
        shown_at=shown_at.isoformat(),
        answered_at=(shown_at + timedelta(seconds=seconds)).isoformat(),
        seed=study.seed,
        form_version=study.form_version,
    )


def write_study(folder: Path, study: Study, checks: Checks, key: Key, votes: Sequence[Vote]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in (("study", study), ("checks", checks), ("key", key)):
        (folder / f"{name}.json").write_text(json.dumps(asdict(record)), encoding="utf-8")
    (folder / "votes.jsonl").write_text("".join(map(vote_line, votes)), encoding="utf-8")
    return folder
