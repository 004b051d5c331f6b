"""The two pictures of the paper's Fig. 5 for a prompt set: words a prompt as a histogram, and a word cloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from llm4gen_data.densprompts.diversity import words_of
from llm4gen_data.runs import atomic_path

INK, LINE = "#2f5d8a", "#c0504d"
CLOUD_COLORS = ("#2f5d8a", "#5b8c5a", "#b5651d", "#7a4b8c", "#40798c", "#8c3b3b")
N_CLOUD_WORDS = 90
CLOUD_SIZE = (16.0, 9.0)  # in units of the largest word's height
DPI = 110
GAP = 0.06  # between words, in the same units
# Words that say nothing of what is in a picture.
_FUNCTION_WORDS = """
a an the and or but of in on at to from by with for as is are was be it its she he they them her his their
this that these those there here which who whose what where while when into onto over under above below
beneath behind beside near next before across along around between against toward through out up down off back
right left one two three four five six some each both all no not too very so more than has have does do just
only can also then still stand stands sit sits lie lies rest rests standing sitting lying resting close way
other another few him front side little among inside together seen shows show far middle
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def draw_lengths(n_words: Sequence[int], path: Path) -> None:
    """Prompts by their number of words, a bar a word, with the mean as a line; a PNG."""
    figure = Figure(figsize=(8, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    counts = Counter(n_words)
    axes.bar(list(counts), list(counts.values()), width=1.0, color=INK)
    mean = sum(n_words) / len(n_words)
    axes.axvline(mean, color=LINE, label=f"mean {mean:.1f}")
    axes.set(xlabel="words in a prompt", ylabel="prompts", title=f"Length of {len(n_words):,} prompts")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_word_cloud(prompts: Sequence[str], path: Path) -> None:
    """The words in most prompts, sized by the root of how many prompts hold them; a PNG."""
    counts = Counter(word for prompt in prompts for word in set(words_of(prompt)) - FUNCTION_WORDS)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:N_CLOUD_WORDS]
    figure = Figure(figsize=(8, 4.5), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-CLOUD_SIZE[0] / 2, CLOUD_SIZE[0] / 2), ylim=(-CLOUD_SIZE[1] / 2, CLOUD_SIZE[1] / 2))
    axes.set_axis_off()
    taken = np.empty((0, 4))
    for number, word in enumerate(words):
        outline = TextPath((0, 0), word, size=(counts[word] / counts[words[0]]) ** 0.5)
        box = outline.get_extents()
        place = _free_place(box.width, box.height, taken)
        if place is None:
            continue
        x, y = place
        taken = np.vstack([taken, (x, y, x + box.width, y + box.height)])
        moved = outline.transformed(Affine2D().translate(x - box.x0, y - box.y0))
        axes.add_patch(PathPatch(moved, color=CLOUD_COLORS[number % len(CLOUD_COLORS)], linewidth=0))
    _save(figure, path)


def _free_place(width: float, height: float, taken: Any) -> tuple[float, float] | None:
    """The lower left corner nearest the middle, on a spiral, where a box meets none of `taken` [n, x0 y0 x1 y1]."""
    turns = np.arange(0.0, 60.0, 0.05)
    x, y = 0.22 * turns * np.cos(turns) - width / 2, 0.12 * turns * np.sin(turns) - height / 2
    limits = CLOUD_SIZE[0] / 2, CLOUD_SIZE[1] / 2
    inside = (x > -limits[0]) & (x + width < limits[0]) & (y > -limits[1]) & (y + height < limits[1])
    x0, y0, x1, y1 = (taken[:, side, None] for side in range(4))
    meets = (x0 < x + width + GAP) & (x1 > x - GAP) & (y0 < y + height + GAP) & (y1 > y - GAP)
    free = np.flatnonzero(inside & ~meets.any(0))
    return (float(x[free[0]]), float(y[free[0]])) if len(free) else None


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        # Without the version of matplotlib, so that equal prompts give equal bytes more often.
        figure.savefig(temporary, format="png", metadata={"Software": None})
