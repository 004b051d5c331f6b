"""Figures of a recaption run: how captions differ from alt texts, what the gates say, what the captions speak of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.digest import digest, mean
from llm4gen_data.recaption.objects import named_objects
from llm4gen_data.recaption.publish import run_config, summary
from llm4gen_data.recaption.truth import find_scenes, truth_scores
from llm4gen_data.runs import read_json
from llm4gen_data.scenes.facts import KINDS
from llm4gen_data.scenes.score import FactScore, format_scores

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
# Words and objects are counted in so many captions, spread over the run; reading one takes a tenth of a millisecond.
MAX_CAPTIONS = 50_000
MAX_WORDS_SHOWN = 300
N_BARS = 30


def stats(run_directory: Path, scenes: Path | None = None) -> None:
    """Draw `stats/*.png` of a complete run and print its counts; with `scenes`, facts against the truth as well.

    Raises UserError if the run is not complete or the truth table does not fit it.
    """
    if not (run_directory / "manifest.json").exists():
        raise UserError(f"{run_directory}: no manifest.json: not a run, or one that is not complete")
    manifest = read_json(run_directory / "manifest.json")
    paths = [run_directory / output["path"] for output in manifest["outputs"]]
    scenes = scenes or find_scenes(run_config(run_directory).source)
    folder = run_directory / "stats"
    folder.mkdir(exist_ok=True)
    n_words = digest(paths).n_words
    _draw_lengths(n_words["alt_text"], n_words["caption"], folder / "caption_length.png")
    reasons = {"kept": manifest["kept"], **manifest["reject_reasons"]}
    _draw_bars(reasons, f"What the gates say of {manifest['n_rows']:,} rows", "rows", folder / "gates.png")
    captions = list(sampled_captions(paths))
    for name, counts in (("words", frequent_words(captions)), ("objects", frequent_objects(captions))):
        title = f"Most frequent {name} of {len(captions):,} captions"
        _draw_bars(dict(counts), title, "captions", folder / f"frequent_{name}.png")
    print(summary(run_directory))
    if scenes is not None:
        truth = truth_scores(paths, scenes)
        _draw_truth(truth.scores, folder / "truth.png")
        print(f"\nFacts in the texts of {truth.n_rows:,} rows against {scenes}:\n{format_scores(truth.scores)}")
    print(f"figures: {', '.join(str(path) for path in sorted(folder.glob('*.png')))}")


def sampled_captions(paths: Sequence[Path]) -> Iterator[str]:
    """Up to MAX_CAPTIONS captions of a run, the same number of each file."""
    per_file = -(-MAX_CAPTIONS // max(1, len(paths)))
    for path in paths:
        yield from open_parquet(path).read(columns=["caption"])["caption"].drop_null().slice(0, per_file).to_pylist()


def frequent_words(captions: Iterable[str], n: int = N_BARS) -> list[tuple[str, int]]:
    """The content words that occur in most captions, with the number of captions."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(set(re.findall(r"[^\W\d_]{3,}(?:-[^\W\d_]+)*", caption.casefold())) - FUNCTION_WORDS)
    return counts.most_common(n)


def frequent_objects(captions: Iterable[str], n: int = N_BARS) -> list[tuple[str, int]]:
    """The things that most captions name, with the number of captions."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(named_objects(caption, max_objects=100))
    return counts.most_common(n)


def _draw_lengths(before: Counter[int], after: Counter[int], path: Path) -> None:
    longest = min(MAX_WORDS_SHOWN, max([10, *before, *after]))
    bins = range(0, longest + 5, 4)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, counts, color in (("alt text", before, BEFORE), ("caption", after, AFTER)):
        if name == "alt text" and not counts:
            continue  # of images that came without
        words = [min(longest, n) for n in counts]
        label = f"{name}, mean {mean(counts) or 0:.1f} words"
        axes.hist(words, bins, weights=list(counts.values()), color=color, alpha=0.8, label=label)
    axes.set(xlabel="words", ylabel="images", title="Length before and after" if before else "Length of the captions")
    axes.legend(frameon=False)
    _save(figure, path)


def _draw_truth(scores: Mapping[str, Mapping[str, FactScore]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained", sharey=True)
    for axis, measure in zip(axes, ("precision", "recall"), strict=True):
        for offset, ((name, kinds), color) in enumerate(zip(scores.items(), (BEFORE, AFTER), strict=True)):
            values = [getattr(kinds[kind], measure) for kind in KINDS]  # None: nothing was said of it
            heights = [100 * (value or 0) for value in values]
            bars = axis.bar([i + 0.4 * offset for i in range(len(KINDS))], heights, 0.38, color=color, label=name)
            axis.bar_label(bars, ["-" if value is None else f"{100 * value:.0f}" for value in values], fontsize=8)
        axis.set_xticks([i + 0.2 for i in range(len(KINDS))], KINDS)
        axis.set(title=f"{measure} of facts, %", ylim=(0, 108))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    _save(figure, path)


def _draw_bars(bars: Mapping[str, int], title: str, unit: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.22 * len(bars)), layout="constrained")
    ordered = sorted(bars.items(), key=lambda bar: bar[1])
    axes.barh([name for name, _ in ordered], [n for _, n in ordered], color=AFTER)
    axes.bar_label(axes.containers[0], fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel=unit, title=title)
    axes.margins(x=0.1, y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
