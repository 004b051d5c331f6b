"""A record of an experiment that never ran, with arms as good as a test wants them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from llm4gen_data.config import to_plain
from llm4gen_data.runs import write_json
from pipelines.reproduce.numbers import Recorded
from pipelines.reproduce.preset import Claim, Preset

MEANS = {"c": 0.2, "r": 0.25, "s": 0.3, "e": 0.6, "o": 0.8}
PRESET = Preset(
    title="Does it help?",
    arms={name: {"title": name, "train": {"train": "unet"}, "seeds": 3} for name in MEANS}
    | {"e-half": {"title": "half", "train": {"train": "unet"}, "n_pairs": 50}},
    claim=Claim(("e",), ("r", "s"), "c", "o"),
    comparisons=(("e", "r"), ("e", "s"), ("e", "c")),
    efficiency_arm="e",
    n_resamples=1000,
)


def recorded(means: dict[str, float], n_prompts: int = 120) -> Recorded:
    rng = np.random.default_rng(0)
    hardness = rng.normal(scale=0.2, size=n_prompts)
    rows = [
        {"arm": arm, "seed": seed, "prompt_id": f"p{number}", "kind": kind, "value": float(rng.random() < share)}
        for arm, mean in means.items()
        for seed in range(1 if arm == "e-half" else 3)
        for number, share in enumerate(mean + hardness)
        for kind in ("all_bound", "bound")
    ]
    prompts = pd.DataFrame(
        {
            "prompt": [f"prompt {number}" for number in range(n_prompts)],
            "prompt_id": [f"p{number}" for number in range(n_prompts)],
            "category": ["dense", "short"] * (n_prompts // 2),
            "n_objects": [2 + number % 3 for number in range(n_prompts)],
            "has_equal_objects": [number % 5 == 0 for number in range(n_prompts)],
        }
    )
    return Recorded(PRESET, pd.DataFrame(rows), prompts, "all_bound", {"all_bound": 0.3})


def write_toy_trust(record: Path) -> None:
    """What the recipe `trust` would leave: CLIPScore reads dense prompts in part and cannot tell relations."""
    record.mkdir(parents=True)
    estimate = {"mean": 0.7, "low": 0.6, "high": 0.8}
    calibrations = [
        {
            "metric": f"clip_score{model}",
            "length": length,
            "skills": [
                {"skill": "color", "right_picture": estimate, "verdict": "better than chance", "cut": cut},
                {"skill": "relation", "right_picture": estimate, "verdict": verdict, "cut": cut},
            ],
            "by_objects": [{"skill": "attributes", "n_objects": n, "right_picture": estimate} for n in (1, 2)],
        }
        for model, length, verdict, cut in (
            ("", "short", "better than chance", 0.0),
            ("=runs/judge/model", "dense", "not told from chance", 1.0),
        )
    ]
    write_json(record / "calibration.json", {"calibrations": calibrations})
    agreement = [
        {
            "attribute": "size",
            **{view: {"share": 0.98, "low": 0.95, "high": 0.99} for view in ("agreement", "by_picture", "where_told")},
            **{"right": 98, "wrong": 1, "abstained": 1, "missed": 0},
        }
    ]
    seen = {"n_objects": 100, "n_pictures": 50, "reader": {"version": 4}, "agreement": agreement}
    write_json(record / "agreement.json", seen)
    jobs = [{"seconds": 60.0, "finished_at": "2026-01-02T03:04:05+00:00"}]
    write_json(record / "runs.json", {"commands": ["trust"], "commits": ["abc"], "devices": ["cpu"], "jobs": jobs})


def write_toy_record(record: Path, only: tuple[str, ...] = ()) -> None:
    """What `record.write_record` would leave of it, or of a part with these arms."""
    data = recorded({**MEANS, "e-half": 0.4})
    scores = data.scores[data.scores["arm"].isin(only or PRESET.arms)]
    record.mkdir(parents=True)
    plain = to_plain(replace(PRESET, n_resamples=200, only=only))
    (record / "preset.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    reached = {"all_bound": 0.06 if only == ("o",) else 0.01, "bound": 0.5}
    choices = {name: {"learning_rate": 1e-3, "guidance_scale": 4.0} for name in only or PRESET.arms}
    chosen = {"primary_kind": "bound", "reached_on_validation": reached, "choices": choices, "sweep": []}
    write_json(record / "choices.json", chosen)
    about = {
        "commands": ["python -m pipelines.reproduce --preset toy"],
        "commits": ["abc1234"],
        "devices": ["cpu, a machine"],
    }
    losses = {("c", 0): 0.31, ("c", 2): 0.33, ("e", 0): 0.3, ("e", 2): 0.31, ("o", 0): 0.29}
    runs = [{"arm": arm, "seed": seed, "run": f"{arm}-{seed}", "loss": loss} for (arm, seed), loss in losses.items()]
    runs = [run for run in runs if run["arm"] in (only or PRESET.arms)]
    jobs = [{"seconds": 3600.0, "finished_at": "2026-01-02T03:04:05+00:00"}]
    write_json(record / "runs.json", {**about, "runs": runs, "jobs": jobs})
    estimate = {"mean": 0.7, "low": 0.6, "high": 0.8}
    skills = [{"skill": skill, "right_prompt": estimate} for skill in ("binding", "relation")]
    write_json(record / "twins.json", {"calibrations": [{"skills": skills}]})  # as `llm4gen-bench calibrate` writes it
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "png")
    shown = [(arm, f"p{number}") for arm in ("c", "e", "o") if arm in (only or PRESET.arms) for number in range(2)]
    examples = [{"arm": arm, "prompt_id": prompt_id, "image": picture.getvalue()} for arm, prompt_id in shown]
    pd.DataFrame(examples, columns=["arm", "prompt_id", "image"]).to_parquet(record / "examples.parquet")
    scores.to_parquet(record / "scores.parquet")
    data.prompts.to_parquet(record / "prompts.parquet")
