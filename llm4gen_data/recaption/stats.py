"""Figures of a recaption run: how captions differ from alt texts, what the gates say, what the captions speak of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.publish import summary
from llm4gen_data.recaption.truth import truth_scores
from llm4gen_data.runs import read_json
from llm4gen_data.scenes.facts import KINDS
from llm4gen_data.scenes.score import FactScore, format_scores

COLUMNS = ["key", "url", "sha256", "alt_text", "caption", "n_words", "status", "keep", "reject_reasons"]
# Words that say nothing about what is in a picture.
FUNCTION_WORDS = frozenset(
    """
    a an and are as at be beside both but by for from has have he her his i in into is it its just near of off on one
    only or other out over she side so some that the their them there these they this those to two up was we were what
    where which while who whose with you your not than then very can all also each more most here between rest rests
    sits lies stands right left above below
    """.split()  # noqa: SIM905
)
BEFORE, AFTER = "#9aa5b1", "#2f6fb3"


def stats(run_directory: Path, scenes: Path | None = None) -> None:
    """Draw `stats/*.png` of a complete run and print its counts; with `scenes`, facts against the truth as well.

    Raises UserError if the run is not complete or the truth table does not fit it.
    """
    if not (run_directory / "manifest.json").exists():
        raise UserError(f"{run_directory}: no manifest.json: not a run, or one that is not complete")
    table = read_captions(run_directory)
    folder = run_directory / "stats"
    folder.mkdir(exist_ok=True)
    _draw_lengths(table, folder / "caption_length.png")
    _draw_gates(table, folder / "gates.png")
    _draw_words(table, folder / "frequent_words.png")
    print(summary(run_directory))
    if scenes is not None:
        scores = truth_scores(table, scenes)
        _draw_truth(scores, folder / "truth.png")
        print(f"\nFacts in the texts against the truth of {scenes}:\n{format_scores(scores)}")
    print(f"figures: {', '.join(str(path) for path in sorted(folder.glob('*.png')))}")


def read_captions(run_directory: Path) -> pd.DataFrame:
    """The texts and verdicts of a run, without its images."""
    outputs = read_json(run_directory / "manifest.json")["outputs"]
    table: pd.DataFrame = pd.concat(
        [open_parquet(run_directory / output["path"]).read(columns=COLUMNS).to_pandas() for output in outputs],
        ignore_index=True,
    )
    return table


def frequent_words(captions: Any, n: int = 30) -> list[tuple[str, int]]:
    """The content words that occur in most captions, with the number of captions."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(set(re.findall(r"[^\W\d_]{3,}(?:-[^\W\d_]+)*", caption.casefold())) - FUNCTION_WORDS)
    return counts.most_common(n)


def _draw_lengths(table: pd.DataFrame, path: Path) -> None:
    before = table["alt_text"].dropna().map(lambda text: len(text.split()))
    after = table["n_words"].dropna()
    highest = max([10, *before.clip(upper=300), *after.clip(upper=300)])
    bins = range(0, int(highest) + 5, 4)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.hist(before, bins, color=BEFORE, alpha=0.8, label=f"alt text, mean {before.mean():.1f} words")
    axes.hist(after, bins, color=AFTER, alpha=0.8, label=f"caption, mean {after.mean():.1f} words")
    axes.set(xlabel="words", ylabel="images", title="Length before and after")
    axes.legend(frameon=False)
    _save(figure, path)


def _draw_gates(table: pd.DataFrame, path: Path) -> None:
    counts = Counter(reason for reasons in table["reject_reasons"] for reason in reasons)
    counts["kept"] = int(table["keep"].sum())
    _draw_bars(counts.most_common(), f"What the gates say of {len(table):,} rows", "rows", path)


def _draw_words(table: pd.DataFrame, path: Path) -> None:
    captions = table["caption"].dropna()
    _draw_bars(frequent_words(captions), f"Most frequent words of {len(captions):,} captions", "captions", path)


def _draw_truth(scores: Mapping[str, Mapping[str, FactScore]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharey=True)
    for axis, measure in zip(axes, ("precision", "recall"), strict=True):
        for offset, ((name, kinds), color) in enumerate(zip(scores.items(), (BEFORE, AFTER), strict=True)):
            heights = [100 * (getattr(kinds[kind], measure) or 0) for kind in KINDS]
            bars = axis.bar([i + 0.4 * offset for i in range(len(KINDS))], heights, 0.38, color=color, label=name)
            axis.bar_label(bars, fmt="{:.0f}", fontsize=8)
        axis.set_xticks([i + 0.2 for i in range(len(KINDS))], KINDS)
        axis.set(title=f"{measure} of facts, %", ylim=(0, 108))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    _save(figure, path)


def _draw_bars(bars: list[tuple[str, int]], title: str, unit: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.22 * len(bars)), layout="constrained")
    names, values = [name for name, _ in reversed(bars)], [n for _, n in reversed(bars)]
    axes.barh(names, values, color=AFTER)
    axes.bar_label(axes.containers[0], fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel=unit, title=title)
    axes.margins(x=0.1, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
