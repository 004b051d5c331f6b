"""The data set card of a run: what it holds, how it was made, what went wrong, a few examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from llm4gen_data.parquet import open_parquet
from llm4gen_data.runs import fingerprint_hash

N_EXAMPLES = 8
BAR_WIDTH = 40
NEWLINE = "\n"  # Python 3.11 has no backslash inside an f-string expression


def card(out: Path, made: Mapping[str, Any], manifest: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """The README.md of a data set in `out/data`, with the YAML head that Hugging Face reads.

    `made` is the run's fingerprint, `manifest` what its manifest will say of the rows.
    """
    n_rows = manifest["n_rows"]
    model = made["model"] or {"model": "none: dummy captions, for tests only"}
    alt_words, caption_words, examples = _texts(out / path["path"] for path in manifest["outputs"])
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
task_categories:
- text-to-image
- image-to-text
tags:
- recaptioned
- synthetic-captions
---

# LAION-refined

{n_rows:,} images; `caption` was written by a model, `alt_text` is what the web page said.

## How it was made

| | |
|---|---|
| captioner | {made["captioner"]} |
| model | {model["model"]} |
| revision or weights | {model.get("revision") or model.get("sha256") or "not pinned"} |
| instruction | {_cell(made["instruction"])} |
| sampling | {", ".join(f"{name} {value}" for name, value in made["sampling"].items())} |
| images | upright, RGB, at most {made["max_pixels"]:,} pixels |
| versions | {", ".join(f"{name} {version}" for name, version in versions.items())} |
| run | {fingerprint_hash(made)} |

Captions are machine-written and may be wrong. The licence of the images is that of their sources, the licence of
the captions follows from the model above.

## What it holds

{_table("status", manifest["status"], n_rows)}

{manifest["kept"]:,} rows have `keep = true`. Reasons why others do not (a row may have several):

{_table("reason", manifest["reject_reasons"], n_rows)}

Errors:

{_table("error", manifest["errors"], n_rows)}

## Words per text

| | rows | mean | 5 % | median | 95 % |
|---|---|---|---|---|---|
{_length_row("alt_text", alt_words)}
{_length_row("caption", caption_words)}

```
{_histogram(caption_words)}
```

## Examples

| alt_text | caption |
|---|---|
{NEWLINE.join(f"| {_cell(alt_text)} | {_cell(caption)} |" for alt_text, caption in examples)}
"""


def _texts(paths: Iterator[Path]) -> tuple[list[int], list[int], list[tuple[str, str]]]:
    """Words of each alt text and caption, and the first captioned rows as examples."""
    alt_words, caption_words = [], []
    examples: list[tuple[str, str]] = []
    for path in paths:
        for batch in open_parquet(path).iter_batches(columns=["alt_text", "caption"]):
            for alt_text, caption in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if alt_text is not None:
                    alt_words.append(len(alt_text.split()))
                if caption is not None:
                    caption_words.append(len(caption.split()))
                    if len(examples) < N_EXAMPLES:
                        examples.append((alt_text or "", caption))
    return alt_words, caption_words, examples


def _table(name: str, counts: Mapping[str, int], total: int) -> str:
    rows = [f"| {_cell(str(key))} | {n:,} | {n / max(1, total):.1%} |" for key, n in counts.items()]
    return "\n".join([f"| {name} | rows | share |", "|---|---|---|", *(rows or ["| none | 0 | 0.0% |"])])


def _length_row(name: str, words: list[int]) -> str:
    if len(words) < 2:
        return f"| {name} | {len(words)} | {words[0] if words else '-'} | - | - | - |"
    cuts = quantiles(words, n=20, method="inclusive")
    return f"| {name} | {len(words):,} | {fmean(words):.1f} | {cuts[0]:.0f} | {cuts[9]:.0f} | {cuts[18]:.0f} |"


def _histogram(words: list[int], bin_words: int = 10) -> str:
    if not words:
        return "no captions"
    bins = [0] * (max(words) // bin_words + 1)
    for n in words:
        bins[n // bin_words] += 1
    highest = max(bins)
    return "\n".join(
        f"{i * bin_words:4d}-{(i + 1) * bin_words - 1:<4d} {'#' * round(BAR_WIDTH * n / highest):{BAR_WIDTH}s} {n:,}"
        for i, n in enumerate(bins)
    )


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table: captions are untrusted."""
    cleaned = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return cleaned if len(cleaned) <= 500 else cleaned[:497] + "..."
