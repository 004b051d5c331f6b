from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from pipelines.reproduce.numbers import Recorded, numbers
from pipelines.reproduce.preset import Claim, Preset
from pipelines.reproduce.report import write_report
from pipelines.reproduce.wording import headline

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
            "prompt_id": [f"p{number}" for number in range(n_prompts)],
            "category": ["dense", "short"] * (n_prompts // 2),
            "n_objects": [2 + number % 3 for number in range(n_prompts)],
            "has_equal_objects": [number % 5 == 0 for number in range(n_prompts)],
        }
    )
    return Recorded(PRESET, pd.DataFrame(rows), prompts, "all_bound", {"all_bound": 0.3})


def test_a_gain_is_found_against_the_best_rival_and_as_a_share() -> None:
    found = numbers(recorded({**MEANS, "e-half": 0.4}))
    assert (found["primary"]["kind"], found["primary"]["n_prompts"]) == ("all_bound", 80)  # of 3 and 4 objects
    (claim,) = found["claim"]
    assert claim["best_rival"] == "s"
    assert claim["less_best"]["low"] > 0.0
    assert claim["less_best"]["p_value"] == max(
        row["p_value"] for row in found["comparisons"] if row["baseline"] in ("r", "s")
    )
    assert 0.4 < claim["share_of_gain"]["mean"] < 0.9
    assert {row["category"] for row in found["by_category"]} == {"dense", "short"}
    assert [row["n_pairs"] for row in found["efficiency"]] == [50, 8000]
    assert all(row["p_holm"] >= row["p_value"] for row in found["comparisons"])
    text = " ".join(headline(PRESET, found))
    assert "A gain that chance does not explain." in text
    assert "% of that" in text


def test_where_there_is_no_gain_that_is_said() -> None:
    found = numbers(recorded(dict.fromkeys(MEANS, 0.3)))
    text = " ".join(headline(PRESET, found))
    assert "Not told from no difference" in text
    assert "At the floor" not in text
    worse = " ".join(headline(PRESET, numbers(recorded({**dict.fromkeys(MEANS, 0.7), "e": 0.1}))))
    assert "It is worse" in worse
    floor = " ".join(headline(PRESET, numbers(recorded(dict.fromkeys(MEANS, -5.0)))))
    assert "At the floor" in floor


def test_the_report_is_made_of_the_record_alone_and_twice_the_same(tmp_path: Path) -> None:
    data = recorded({**MEANS, "e-half": 0.4})
    record = tmp_path / "record"
    record.mkdir()
    (record / "preset.yaml").write_text(yaml.safe_dump(to_plain(replace(PRESET, n_resamples=200))))
    write_json(record / "choices.json", {"primary_kind": "bound", "reached_on_validation": {"all_bound": 0.01}})
    write_json(record / "runs.json", {"commit": "abc1234", "runs": [], "jobs": [{"seconds": 3600.0}]})
    data.scores.to_parquet(record / "scores.parquet")
    data.prompts.to_parquet(record / "prompts.parquet")
    for out in ("one", "two"):
        write_report(record, tmp_path / out)
    for name in ("results.json", "results.md", "results.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (tmp_path / "one" / "results.md").read_text()
    assert "`all_bound`, reached 1.0% at best on the validation prompts" in text
    for words in ("commit abc1234", "1.0 hours", "e matches c", "| o ", "## By kind of fact"):
        assert words in text
    assert read_json(tmp_path / "one" / "results.json")["title"] == "Does it help?"
    with pytest.raises(UserError, match=r"no scores\.parquet"):
        write_report(tmp_path / "one", tmp_path / "three")
