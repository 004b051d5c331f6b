"""The data set card of a run: what it holds, how it was made, what went wrong, a few examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from llm4gen_data.recaption.digest import Digest, mean, quantile
from llm4gen_data.recaption.status import SUCCESS
from llm4gen_data.runs import fingerprint_hash

BAR_WIDTH = 40
# Words are counted in bins of this width, and what is longer than the last in one bin.
BIN_WORDS, MAX_BINS = 10, 30
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
NEWLINE = "\n"  # Python 3.11 has no backslash inside an f-string expression


def card(made: Mapping[str, Any], manifest: Mapping[str, Any], texts: Digest, versions: Mapping[str, str]) -> str:
    """The README.md of a data set in `data/`, with the YAML head that Hugging Face reads.

    `made` is the run's fingerprint, `manifest` what its manifest says of the rows, `texts` what they look like.
    """
    return f"""{head(manifest)}
# {title(texts)}

{manifest["n_rows"]:,} images; `caption` was written by a model, {_alt_texts(texts)}.

{how_it_was_made(made, versions)}
{what_it_holds(manifest, texts)}"""


def title(texts: Digest) -> str:
    """What a data set is called: images without alt texts are no LAION."""
    return "LAION-refined" if texts.n_words["alt_text"] else "Recaptioned images"


def _alt_texts(texts: Digest) -> str:
    if texts.n_words["alt_text"]:
        return "`alt_text` is what the web page said"
    return "`alt_text` is empty: the images came without texts"


def head(manifest: Mapping[str, Any], path: str = "data/*.parquet") -> str:
    """The YAML that Hugging Face reads, of the rows and files that `manifest` tells.

    `datasets` knows what it has in its cache by this head and the folder's name alone: without a word on the content,
    another data set in a folder of the same name would come out as the first.
    """
    size = next((name for limit, name in SIZES if manifest["n_rows"] < limit), "n>1B")
    content = hashlib.sha256("".join(output["sha256"] for output in manifest["outputs"]).encode()).hexdigest()
    return f"""---
configs:
- config_name: default
  description: content {content[:16]}
  data_files:
  - split: train
    path: {path}
task_categories:
- text-to-image
- image-to-text
size_categories:
- {size}
tags:
- recaptioned
- synthetic-captions
---
"""


def how_it_was_made(made: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Model, instructions, sampling and versions; the same words for a run and for its release."""
    model = made["model"] or {"model": "none: dummy captions, for tests only"}
    asked = NEWLINE.join(
        f"| instruction {_cell(one['name'])}, version {one['version']} | {_cell(one['text'])} |"
        for one in made["instructions"]
    )
    return f"""## How it was made

| | |
|---|---|
| captioner | {_cell(made["captioner"])} |
| model | {_cell(model["model"])} |
| revision or weights | {_cell(model.get("revision") or model.get("sha256") or "not pinned")} |
{asked}
| sampling | {", ".join(f"{name} {value}" for name, value in made["sampling"].items())} |
| images | upright, RGB, at most {made["max_pixels"]:,} pixels |
| versions | {", ".join(f"{name} {version}" for name, version in versions.items())} |
| run | {fingerprint_hash(made)} |

Captions are machine-written and may be wrong. The licence of the images is that of their sources, the licence of
the captions follows from the model above.
"""


def what_it_holds(manifest: Mapping[str, Any], texts: Digest) -> str:
    """Counts, verdicts, failures, lengths, truth and examples."""
    n_rows, n_success = manifest["n_rows"], manifest["status"].get(SUCCESS, 0)
    gates = ", ".join(f"{name} {value}" for name, value in manifest["gates"].items() if value is not None)
    rejected = NEWLINE.join(f"| {_cell(reason)} | {_cell(text)} |" for reason, text in texts.rejected.items())
    return f"""## What it holds

{_table("status", manifest["status"], n_rows)}

{manifest["kept"]:,} rows have `keep = true`. Reasons why others do not (a row may have several):

{_table("reason", manifest["reject_reasons"], n_rows)}

Gates: {_cell(gates)}.
{_alarms(manifest)}{_measures(manifest, texts)}
Errors:

{_table("error", manifest["errors"], n_rows - n_success)}

## Words per text

| | texts | mean | 5 % | median | 95 % |
|---|---|---|---|---|---|
{NEWLINE.join(_length_row(name, n) for name, n in texts.n_words.items() if n or name != "alt_text")}

Captions by their number of words:

```
{_histogram(texts.n_words["caption"])}
```
{_truth(manifest)}
## Examples

{_examples(texts)}

Rejected:

| reason | caption |
|---|---|
{rejected or "| none | |"}
"""


def _alarms(manifest: Mapping[str, Any]) -> str:
    duplicates = manifest["duplicates"]
    if not duplicates:
        return ""
    n_rows = sum(duplicates.values())
    return f"""
**Duplicate alarm: {len(duplicates):,} captions make up {n_rows:,} of the texts.** A broken call, a placeholder image
or a model that does not look may be behind it. The most frequent:

| caption | texts |
|---|---|
{NEWLINE.join(f"| {_cell(caption)} | {n:,} |" for caption, n in list(duplicates.items())[:10])}
"""


def _measures(manifest: Mapping[str, Any], texts: Digest) -> str:
    lines = []
    objects = manifest.get("objects")
    if objects:
        rate = "-" if objects["rate"] is None else f"{objects['rate']:.1%}"
        lines.append(
            f"Object check: asked about {objects['asked']:,} things that it had named, the captioner itself denied "
            f"{objects['denied']:,}: a hallucination rate of {rate}."
        )
    if texts.similarities:
        similarity = manifest["similarity"]
        model = similarity["model"]["model"]
        lines.append(
            f"Image-text similarity by {_cell(model)} ({similarity['policy']}): mean "
            f"{mean(texts.similarities):.3f} over {texts.similarities.total():,} captions."
        )
    return "".join(f"\n{line}\n" for line in lines)


def _truth(manifest: Mapping[str, Any]) -> str:
    truth = manifest.get("truth")
    if not truth:
        return ""
    kinds = next(iter(truth["scores"].values()))
    rows = [
        f"| {kind} | "
        + " | ".join(
            f"{_share(one[kind]['precision'])} | {_share(one[kind]['recall'])}" for one in truth["scores"].values()
        )
        + f" | {kinds[kind]['n_true']:,} |"
        for kind in kinds
    ]
    titles = " | ".join(f"{name} precision | recall" for name in truth["scores"])
    return f"""
## Truth

Facts that the texts of {truth["n_rows"]:,} drawn scenes tell, against what was drawn:

| fact | {titles} | true facts |
|---|{"---|" * (2 * len(truth["scores"]) + 1)}
{NEWLINE.join(rows)}
"""


def _examples(texts: Digest) -> str:
    if texts.n_words["alt_text"]:
        rows = [f"| {_cell(alt_text)} | {_cell(caption)} |" for alt_text, caption in texts.examples]
        return "\n".join(["| alt_text | caption |", "|---|---|", *rows])
    return "\n".join(["| caption |", "|---|", *(f"| {_cell(caption)} |" for _, caption in texts.examples)])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(name: str, counts: Mapping[str, int], total: int) -> str:
    rows = [
        f"| {_cell(str(key))} | {n:,} | {n / max(1, total):.1%} | {'#' * round(20 * n / max(1, total))} |"
        for key, n in counts.items()
    ]
    return "\n".join([f"| {name} | rows | share | |", "|---|---|---|---|", *(rows or ["| none | 0 | 0.0% | |"])])


def _length_row(name: str, counts: Counter[int]) -> str:
    if not counts:
        return f"| {name} | 0 | - | - | - | - |"
    low, middle, high = (quantile(counts, share) for share in (0.05, 0.5, 0.95))
    return f"| {name} | {counts.total():,} | {mean(counts):.1f} | {low} | {middle} | {high} |"


def _histogram(counts: Counter[int]) -> str:
    if not counts:
        return "no captions"
    bins = [0] * min(MAX_BINS, max(counts) // BIN_WORDS + 1)
    for words, n in counts.items():
        bins[min(words // BIN_WORDS, len(bins) - 1)] += n
    highest = max(bins)
    ends = [f"{(i + 1) * BIN_WORDS - 1:<4d}" for i in range(len(bins))]
    if max(counts) // BIN_WORDS >= MAX_BINS:
        ends[-1] = "... "
    return "\n".join(
        f"{i * BIN_WORDS:4d}-{end} {'#' * round(BAR_WIDTH * n / highest):{BAR_WIDTH}s} {n:,}"
        for i, (n, end) in enumerate(zip(bins, ends, strict=True))
    )


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table: captions are untrusted."""
    cleaned = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return cleaned if len(cleaned) <= 500 else cleaned[:497] + "..."
