"""How far raters agree with each other, and each with themselves. All of it can be told while the study is blind."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

import krippendorff
import numpy as np
import pandas as pd
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import fleiss_kappa

from benchmarks.stats import CONFIDENCE

# Of a pair's two images the one whose sha256 comes first: preferred 1, tied 0, not preferred -1.
VERDICTS = (-1.0, 0.0, 1.0)


def verdict(votes: pd.DataFrame) -> pd.Series:
    """Each vote as one of VERDICTS: the same preference is the same number whichever side the image stood on.

    `votes` has the columns `choice`, `left_sha256` and `right_sha256`.
    """
    side = votes["choice"].map({"left": 1.0, "tie": 0.0, "right": -1.0})
    return side.where(votes["left_sha256"] <= votes["right_sha256"], -side)


def agreement(votes: pd.DataFrame) -> dict[str, Any]:
    """Krippendorff's alpha (nominal, ordinal), Fleiss' kappa and raw agreement of the votes of one axis.

    A unit is a pair of images. Fleiss' kappa needs as many votes on every unit: it is of the units with the most
    common number of votes. None where there is nothing to tell, such as no pair with two votes or no variation.
    """
    rated = votes.assign(verdict=verdict(votes)).drop_duplicates(["rater_id", "pair_id"])
    counts = (
        pd.crosstab(rated["pair_id"], rated["verdict"])
        .reindex(columns=list(VERDICTS), fill_value=0)
        .to_numpy(dtype=int)
    )
    n_votes = counts.sum(axis=1)
    shared = counts[n_votes >= 2]
    most_common = Counter(n_votes[n_votes >= 2].tolist()).most_common(1)
    n_each = most_common[0][0] if most_common else 0
    even = counts[n_votes == n_each]
    return {
        "alpha_nominal": _alpha(shared, "nominal"),
        "alpha_ordinal": _alpha(shared, "ordinal"),
        "fleiss_kappa": _kappa(even) if n_each else None,
        "raw_agreement": _raw(shared),
        "n_pairs": len(counts),
        "n_pairs_shared": len(shared),
        "n_pairs_of_kappa": len(even) if n_each else 0,
        "n_votes_a_pair_of_kappa": n_each,
    }


def side_bias(votes: pd.DataFrame) -> dict[str, Any]:
    """How often the left image was preferred among votes that are no tie, and how likely that is without a bias."""
    n_left, n_right = int((votes["choice"] == "left").sum()), int((votes["choice"] == "right").sum())
    if n_left + n_right == 0:
        return {"share_left": None, "low": None, "high": None, "p_value": None, "n_left": 0, "n_right": 0}
    test = binomtest(n_left, n_left + n_right)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return {
        "share_left": n_left / (n_left + n_right),
        "low": float(interval.low),
        "high": float(interval.high),
        "p_value": float(test.pvalue),
        "n_left": n_left,
        "n_right": n_right,
    }


def _alpha(counts: np.ndarray[Any, Any], level: Literal["nominal", "ordinal"]) -> float | None:
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:  # everyone says the same: chance cannot be told
        return None
    domain = list(VERDICTS)
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level))


def _kappa(counts: np.ndarray[Any, Any]) -> float | None:
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = float(fleiss_kappa(counts))
    return kappa if math.isfinite(kappa) else None


def _raw(counts: np.ndarray[Any, Any]) -> float | None:
    """Of all pairs of votes on the same pair of images, the share that is equal."""
    n = counts.sum(axis=1)
    possible = (n * (n - 1)).sum()
    return float((counts * (counts - 1)).sum() / possible) if possible else None
