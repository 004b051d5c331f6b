"""FastChat's battles (Chatbot Arena): a study directory of its own is made of them, which `study analyse` reads.

Read are cleaned battles (`clean_battle_data.py`: model_a, model_b, winner, judge, anony, language, tstamp) and lines
of raw logs (type leftvote, rightvote, tievote or bothbad_vote). Only anonymous battles count, as in the arena.
https://github.com/lm-sys/FastChat
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.study.records import (
    FORM_VERSION,
    Axis,
    Checks,
    Choice,
    ExclusionRules,
    Key,
    KeyPair,
    Study,
    Trial,
    Vote,
    vote_line,
)
from benchmarks.study.services.service import rater_name
from llm4gen_data.errors import UserError
from llm4gen_data.runs import fingerprint_hash, write_json, write_text

AXIS = Axis("preference", "Which answer is better?", shows_prompt=True)
WINNERS: dict[str, Choice] = {"model_a": "left", "model_b": "right", "tie": "tie", "tie (bothbad)": "tie"}
RAW: dict[str, Choice] = {"leftvote": "left", "rightvote": "right", "tievote": "tie", "bothbad_vote": "tie"}
# An arena fixes no rules beforehand, and its times are of the vote alone.
NO_RULES = ExclusionRules(
    min_median_seconds=0, max_gold_miss_share=1, max_side_share=1, min_side_votes=0, min_completed_share=0
)


@dataclass(frozen=True, slots=True)
class Battle:
    """One battle; model_a is shown on the left."""

    question_id: str
    model_a: str
    model_b: str
    choice: Choice
    judge: str
    category: str
    time: str


def make_study_of_battles(paths: Sequence[Path], out: Path) -> list[str]:
    """Write study.json, checks.json, key.json and votes.jsonl into the new folder `out`; lines on what was read.

    Raises UserError naming file and row for what is no battle.
    """
    if out.exists():
        raise UserError(f"{out}: exists; give a new folder")
    battles: list[Battle] = []
    n_open = 0
    for path in paths:
        for where, row in _rows(path):
            battle = _battle(row, where)
            if battle is None:
                n_open += 1
            else:
                battles.append(battle)
    if not battles:
        raise UserError(f"{paths[0]}: holds no anonymous battles")
    study_id = f"fastchat-{fingerprint_hash({'battles': [asdict(battle) for battle in battles]})}"
    slots: dict[str, list[Trial]] = {}
    pairs, votes = {}, []
    for number, battle in enumerate(battles):
        sides = [_stand_in(model, number, battle.question_id) for model in (battle.model_a, battle.model_b)]
        pair_id, rater_id = f"b{number:07d}", rater_name(battle.judge)
        trial = Trial(pair_id, pair_id, AXIS.name, battle.question_id, None, *sides)
        slots.setdefault(rater_id, []).append(trial)
        models = dict(zip(sides, (battle.model_a, battle.model_b), strict=True))
        pairs[pair_id] = KeyPair(battle.question_id, battle.category, 0, 0, models)
        votes.append(
            Vote(
                study_id=study_id,
                pair_id=pair_id,
                trial_id=pair_id,
                prompt_id=battle.question_id,
                axis=AXIS.name,
                left_sha256=sides[0],
                right_sha256=sides[1],
                choice=battle.choice,
                rater_id=rater_id,
                shown_at=battle.time,
                answered_at=battle.time,
                seed=0,
                form_version=FORM_VERSION,
            )
        )
    shown = tuple(tuple(slot) for slot in slots.values())
    study = Study(study_id, "FastChat battles", FORM_VERSION, 0, (AXIS,), 0, 0, "", shown)
    models_in_order = tuple(dict.fromkeys(model for b in battles for model in (b.model_a, b.model_b)))
    out.mkdir(parents=True)
    write_json(out / "study.json", asdict(study))
    write_json(out / "checks.json", asdict(Checks(study_id, NO_RULES, {}, {})))
    write_json(out / "key.json", asdict(Key(study_id, models_in_order, pairs)))
    write_text(out / "votes.jsonl", "".join(map(vote_line, votes)))
    told = [f"{len(battles)} battles of {len(models_in_order)} models by {len(slots)} judges: {out}"]
    return told + ([f"{n_open} left out: models were known, or no vote"] if n_open else [])


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a JSON list or of JSON lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON: {error}") from error
        yield from ((f"{path}, battle {number}", row) for number, row in enumerate(rows, start=1))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not JSON; was it cut off?") from error


def _battle(row: Any, where: str) -> Battle | None:
    """None for a battle that was not anonymous, and for a line of a raw log that is no vote."""
    if not isinstance(row, dict):
        raise UserError(f"{where}: not an object")
    if "type" in row:
        if row["type"] not in RAW:
            return None
        row = _from_raw(row, where)
    elif row.get("anony") is False:
        return None
    winner = row.get("winner")
    if not isinstance(winner, str) or winner not in WINNERS:
        raise UserError(f"{where}: winner = {str(winner)[:80]!r}: expected {', '.join(WINNERS)}")
    names = {}
    for name in ("model_a", "model_b", "judge"):
        value = row.get(name)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise UserError(f"{where}: {name} = {str(value)[:80]!r}: expected a name")
        names[name] = value
    if names["model_a"] == names["model_b"]:
        raise UserError(f"{where}: model_a and model_b are both {names['model_a']!r}")
    stamp = row.get("tstamp")
    try:
        time = datetime.fromtimestamp(float(stamp), UTC).isoformat()
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise UserError(f"{where}: tstamp = {str(stamp)[:80]!r}: expected seconds since 1970") from error
    question = str(row.get("question_id") or where.rpartition(", ")[2])
    return Battle(question, choice=WINNERS[winner], category=str(row.get("language") or "unknown"), time=time, **names)


def _from_raw(row: dict[str, Any], where: str) -> dict[str, Any]:
    states = row.get("states")
    if not isinstance(states, list) or len(states) != 2 or not all(isinstance(state, dict) for state in states):
        raise UserError(f"{where}: states: expected the two sides of a battle")
    winner = next(name for name, choice in WINNERS.items() if choice == RAW[row["type"]])
    return {
        "model_a": states[0].get("model_name"),
        "model_b": states[1].get("model_name"),
        "question_id": states[0].get("conv_id"),
        "winner": winner,
        "judge": f"arena_user_{row.get('ip')}",
        "tstamp": row.get("tstamp"),
    }


def _stand_in(model: str, number: int, question_id: str) -> str:
    """What stands where a picture's sha256 would: battles have none."""
    return sha256(f"{model}\n{number}\n{question_id}".encode()).hexdigest()
