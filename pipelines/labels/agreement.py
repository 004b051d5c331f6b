"""How far the scene reader agrees with the eye, object by object and attribute by attribute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from statsmodels.stats.proportion import proportion_confint

from benchmarks.report.tables import Rows, markdown
from benchmarks.stats import clustered_share
from llm4gen_data.scenes.read import ReadObject
from llm4gen_data.scenes.sample import OBJECT_GAP_PX
from llm4gen_data.scenes.vocabulary import SMALL_RADII_PX
from pipelines.labels.format import ATTRIBUTES, LabelledObject

# Half the least distance between the centres of two drawn objects: nearer than this, only one can be meant.
MATCHED_WITHIN_PX = min(SMALL_RADII_PX) + OBJECT_GAP_PX / 2
N_RESAMPLES = 10_000
WHOLE, ALL = "whole object", "all attributes"
Verdict = Literal["right", "wrong", "abstained", "missed"]
VERDICTS: tuple[Verdict, ...] = ("right", "wrong", "abstained", "missed")


@dataclass(frozen=True, slots=True)
class Compared:
    """An object that the eye saw (`eye`), the reader saw (`read`), or both, in the picture `number`."""

    number: str
    eye: LabelledObject | None
    read: ReadObject | None

    def verdict(self, attribute: str) -> Verdict | None:
        """What the reader made of an attribute; None if the eye did not tell it."""
        told = None if self.eye is None else getattr(self.eye, attribute)
        if told is None:
            return None
        if self.read is None:
            return "missed"
        read = getattr(self.read, attribute)
        if read is None:
            return "abstained"
        return "right" if read == told else "wrong"

    def verdict_of_whole(self) -> Verdict | None:
        """The worst verdict on the attributes that the eye told; None if it told none."""
        found = [verdict for name in ATTRIBUTES if (verdict := self.verdict(name))]
        worst_first: tuple[Verdict, ...] = ("missed", "wrong", "abstained", "right")
        return min(found, key=worst_first.index) if found else None


def match(number: str, eye: Sequence[LabelledObject], read: Sequence[ReadObject]) -> Iterator[Compared]:
    """Objects of a picture in pairs, so that most are paired and as near as possible, never over MATCHED_WITHIN_PX."""
    # Farther pairs cost more than any number of near ones.
    too_far = 10.0 * MATCHED_WITHIN_PX * (1 + min(len(eye), len(read)))
    distances = np.array([[np.hypot(a.x - b.x, a.y - b.y) for b in read] for a in eye]).reshape(len(eye), len(read))
    rows, columns = linear_sum_assignment(np.where(distances <= MATCHED_WITHIN_PX, distances, too_far))
    near = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if distances[i, j] <= MATCHED_WITHIN_PX}
    yield from (Compared(number, a, read[near[i]] if i in near else None) for i, a in enumerate(eye))
    yield from (Compared(number, None, b) for j, b in enumerate(read) if j not in near.values())


def agreement(compared: Sequence[Compared]) -> dict[str, Any]:
    """Agreement by attribute, and apart from it what only the eye or only the reader saw, and what is unclear.

    `agreement` counts an abstention and a missed object as disagreement, `where_told` leaves both out. Intervals of
    95 % are Wilson's, as if objects were independent; `by_picture` resamples the pictures instead.
    """
    clear = [c for c in compared if c.eye is not None and not c.eye.is_unclear]
    unclear = [c for c in compared if c.eye is not None and c.eye.is_unclear]
    reader_only = [c.read for c in compared if c.eye is None and c.read is not None]
    verdicts = {name: [(c.number, v) for c in clear if (v := c.verdict(name))] for name in ATTRIBUTES}
    everything = [each for own in verdicts.values() for each in own]
    whole = [(c.number, v) for c in clear if (v := c.verdict_of_whole())]
    shapes = Counter((c.eye.shape, _told(c, "shape")) for c in clear if c.eye and c.eye.shape)
    return {
        "n_objects": len(clear),
        "n_missed": sum(c.read is None for c in clear),
        "matched_within_px": MATCHED_WITHIN_PX,
        "agreement": [_row(name, own) for name, own in {**verdicts, ALL: everything, WHOLE: whole}.items()],
        "unclear_to_the_eye": {
            "objects": len(unclear),
            "of_them_seen": sum(c.read is not None for c in unclear),
            "of_them_shape_told": sum(c.read is not None and c.read.shape is not None for c in unclear),
            **{name: sum(getattr(c.eye, name) is None for c in clear) for name in ATTRIBUTES},
        },
        "seen_by_the_reader_alone": {
            "objects": len(reader_only),
            "shape_told": sum(o.shape is not None for o in reader_only),
            "nothing_told": sum(o.shape is None and o.color is None and o.texture is None for o in reader_only),
        },
        "shapes": [{"eye": eye, "reader": read, "n": n} for (eye, read), n in sorted(shapes.items())],
        "disagreements": [_disagreement(c) for c in compared if c.eye is None or c.verdict_of_whole() != "right"],
    }


def agreement_cells(result: dict[str, Any]) -> Rows:
    """A row an attribute: shares with intervals, and counts."""
    rows: Rows = [["attribute", "agreement", "by picture", "where told", "right", "wrong", "abstained", "missed"]]
    for row in result["agreement"]:
        shares = [_share_text(row[view]) for view in ("agreement", "by_picture", "where_told")]
        rows.append([row["attribute"], *shares, *(str(row[verdict]) for verdict in VERDICTS)])
    return rows


def tell(result: dict[str, Any]) -> str:
    """The agreement as tables for people."""
    unclear, alone = result["unclear_to_the_eye"], result["seen_by_the_reader_alone"]
    return "\n".join(
        [
            f"{result['n_objects']} objects in {result['n_pictures']} pictures "
            f"({result['n_not_labelled']} more pictures not labelled yet)",
            "",
            markdown(agreement_cells(result)),
            "agreement: abstentions and missed objects count against the reader; where told: neither counts. "
            "Brackets: 95 % intervals, Wilson's; by picture: pictures resampled.",
            f"missed: {result['n_missed']} objects that the eye saw, the reader not. Seen by the reader alone: "
            f"{alone['objects']} (shape told of {alone['shape_told']}, nothing of {alone['nothing_told']}).",
            f"Not counted above: {unclear['objects']} objects that the eye could not name (reader saw "
            f"{unclear['of_them_seen']}, told the shape of {unclear['of_them_shape_told']}); and of the others "
            + ", ".join(f"{name} of {unclear[name]}" for name in ATTRIBUTES),
            "",
            markdown(list(_confusions(result["shapes"]))),
        ]
    )


def _row(name: str, own: Sequence[tuple[str, Verdict]]) -> dict[str, Any]:
    counts = Counter(verdict for _, verdict in own)
    right = [float(verdict == "right") for _, verdict in own]
    by_picture = clustered_share(right, [number for number, _ in own], n_resamples=N_RESAMPLES, seed=0)
    return {
        "attribute": name,
        "n": len(own),
        **{verdict: counts[verdict] for verdict in VERDICTS},
        "agreement": _share(counts["right"], len(own)),
        "by_picture": {"share": by_picture.mean, "low": by_picture.low, "high": by_picture.high},
        "where_told": _share(counts["right"], counts["right"] + counts["wrong"]),
    }


def _share(n_right: int, n: int) -> dict[str, float | None]:
    """With Wilson's interval; statsmodels, for proportions near 1 better than the normal approximation."""
    if n == 0:
        return {"share": None, "low": None, "high": None}
    low, high = proportion_confint(n_right, n, alpha=0.05, method="wilson")
    return {"share": n_right / n, "low": float(low), "high": float(high)}


def _share_text(share: dict[str, float | None]) -> str:
    if share["share"] is None:
        return "-"
    ends = "" if share["low"] is None or share["high"] is None else f" [{share['low']:.1%}, {share['high']:.1%}]"
    return f"{share['share']:.1%}{ends}"


def _told(compared: Compared, attribute: str) -> str:
    if compared.read is None:
        return "(missed)"
    return getattr(compared.read, attribute) or "(abstained)"


def _disagreement(compared: Compared) -> dict[str, Any]:
    sides = {"eye": compared.eye, "reader": compared.read}
    return {"number": compared.number, **{side: asdict(o) if o else None for side, o in sides.items()}}


def _confusions(shapes: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    """A row a shape that the eye saw; in the last column all other answers."""
    yield ["shape by eye", "objects", "reader agrees", "reader said instead"]
    by_eye: dict[str, dict[str, int]] = {}
    for each in shapes:
        by_eye.setdefault(each["eye"], {})[each["reader"]] = each["n"]
    for eye, answers in by_eye.items():
        others = ", ".join(f"{read} {n}" for read, n in answers.items() if read != eye)
        yield [eye, str(sum(answers.values())), str(answers.get(eye, 0)), others]
