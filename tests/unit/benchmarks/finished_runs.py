"""Run directories as `llm4gen-bench run` leaves them, of made-up scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.scoring import SCORE_SCHEMA
from benchmarks.summary import summarise
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.runs import write_json

LIGHT = {
    "metric": "light", "version": 1, "dtype": "float32", "preprocessing": {"size": 224},
    "headline": "mean", "unit": "share", "digits": 3, "higher_is_better": True,
}  # fmt: skip
SETTINGS: dict[str, Any] = {"n_resamples": 300, "seed": 0}

# model -> prompt id -> values of seeds 0, 1, ...
Values = Mapping[str, Mapping[str, Sequence[float]]]


def values_of(models: Mapping[str, float], n_prompts: int = 20) -> Values:
    """Two images a prompt; prompts vary, models differ by what is given, and a little by prompt."""
    return {
        model: {f"p{i:02d}": [i / 40 + shift + (i * 7 % 5) / 100 * shift, i / 40 + shift] for i in range(n_prompts)}
        for model, shift in models.items()
    }


def finished_run(
    folder: Path,
    values: Values,
    *,
    suite: str = "densprompts",
    identities: Mapping[str, Mapping[str, Any]] | None = None,
    corpus_rows: Sequence[Mapping[str, Any]] = (),
    first_seed: int = 0,
    texts: Mapping[str, str] | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> Path:
    """Every metric of `identities` (by default "light") has the same scores, but those of `corpus_rows`."""
    metrics = identities or {"light": LIGHT}
    per_image = [name for name in metrics if name not in {row["metric"] for row in corpus_rows}]
    rows = [
        (model, prompt, "x", first_seed + s, s, name, metrics[name]["headline"], value, None, None, None)
        for name in per_image
        for model, of_model in values.items()
        for prompt, of_prompt in of_model.items()
        for s, value in enumerate(of_prompt)
    ]
    scores = pd.DataFrame(rows, columns=SCORE_SCHEMA.names).astype({"value": "float64", "truncated": "object"})
    folder.mkdir(parents=True)
    write_shard(folder / "scores.parquet", pa.Table.from_pandas(scores, SCORE_SCHEMA, preserve_index=False))
    ids = list(dict.fromkeys(prompt for of_model in values.values() for prompt in of_model))
    prompts = [
        {"prompt_id": i, "prompt": (texts or {}).get(i, f"a cat {i}"), "category": "x", "n_words": 3, "spec": None}
        for i in ids
    ]
    write_shard(folder / "prompts.parquet", pa.Table.from_pylist(prompts, PROMPT_SCHEMA))
    numbers = summarise(scores, list(values), {name: metrics[name]["headline"] for name in per_image}, **SETTINGS)
    numbers["scores"] += [dict(row) for row in corpus_rows]
    made = [{"folder": "images", "fingerprint": {"sampling": dict(sampling)} if sampling else None}]
    results = {"suite": suite, "models": list(values), "metrics": metrics, **numbers, "generated_with": made}
    write_json(folder / "results.json", results)
    write_json(folder / "manifest.json", {"command": "run"})
    return folder
