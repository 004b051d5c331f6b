"""Metrics of all pictures of a model together: one number a model, over the images that every model has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import EncoderSpec, encode
from benchmarks.feature_cache import FeatureCache
from benchmarks.images import models_of
from benchmarks.metrics.metric import CorpusMetric, Metric
from benchmarks.records import BenchImage
from benchmarks.scoring import N_READERS, Batch, read_pictures


def is_corpus_metric(metric: Metric) -> bool:
    """Whether its numbers are of all pictures of a model together."""
    return hasattr(metric, "score_corpus")


def corpus_rows(
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    cache: FeatureCache,
    batch_size: int,
    scratch: Path,
) -> list[dict[str, Any]]:
    """A row of `scores` in results.json for each number of the corpus metrics among `metrics`, with a `note`.

    Such numbers depend on how many pictures there are: all models are judged by the prompts, seeds and samples of
    which every model has a sound picture. Features come from the `cache`, where scoring has put them, and wait in a
    file in the folder `scratch`, so that memory does not grow with the pictures as long as all are sound.
    """
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        if is_corpus_metric(metric):
            with tempfile.TemporaryFile(dir=scratch) as file:
                rows += _rows(name, metric, images, cache, batch_size, file)  # type: ignore[arg-type]
    return rows


def corpus_notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What each number is of, told once where it is the same for all models."""
    for kind in dict.fromkeys(row["kind"] for row in rows):
        told = {row["model"]: row["note"] for row in rows if row["kind"] == kind}
        if len(set(told.values())) == 1:
            yield f"{kind}: {next(iter(told.values()))}."
        else:
            yield from (f"{kind}, {model}: {note}." for model, note in told.items())


def _rows(
    name: str,
    metric: CorpusMetric,
    images: Sequence[BenchImage],
    cache: FeatureCache,
    batch_size: int,
    file: Any,
) -> list[dict[str, Any]]:
    features, is_sound = _features(metric.uses[0], images, cache, batch_size, file)
    models = models_of(images)
    if features is None:
        return []
    keys = [{images[i].key for i in np.flatnonzero(is_sound) if images[i].model == model} for model in models]
    shared = set.intersection(*keys)
    rows = []
    for model in models:
        own = [i for i, image in enumerate(images) if image.model == model]
        chosen = [i for i in own if is_sound[i] and images[i].key in shared]
        for score in metric.score_corpus(_chosen_rows(features, chosen)):
            rows.append(
                {
                    "model": model,
                    "metric": name,
                    "kind": score.kind,
                    "category": None,
                    "mean": score.value,
                    "low": None,
                    "high": None,
                    "n_prompts": len({images[i].prompt.prompt_id for i in chosen}),
                    "n_images": len(chosen) if score.value is not None else 0,
                    "n_failed": int(len(own) - is_sound[own].sum()),
                    "truncated_share": None,
                    "note": score.note,
                }
            )
    return rows


def _chosen_rows(features: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Rows that stand together are not copied: those of a model, unless pictures are missing."""
    if chosen and chosen[-1] - chosen[0] + 1 == len(chosen):
        return features[chosen[0] : chosen[-1] + 1]
    return features[list(chosen)]


def _features(
    spec: EncoderSpec, images: Sequence[BenchImage], cache: FeatureCache, batch_size: int, file: Any
) -> tuple[np.ndarray | None, np.ndarray]:
    """[N, D] float32 in `file`, and [N] which rows are of a picture that could be read."""
    features = None
    is_sound = np.zeros(len(images), dtype=bool)
    with ThreadPoolExecutor(N_READERS) as readers:
        for start in range(0, len(images), batch_size):
            batch = Batch(start, min(start + batch_size, len(images)), ())
            pictures = read_pictures(batch, images, readers)
            sound = [(start + i, picture) for i, picture in enumerate(pictures) if not isinstance(picture, str)]
            if sound:
                numbers = [number for number, _ in sound]
                found = encode([spec], [picture for _, picture in sound], cache)[spec]
                if features is None:
                    features = np.memmap(file, np.float32, "w+", shape=(len(images), found.shape[1]))
                features[numbers] = found
                is_sound[numbers] = True
    return features, is_sound
