"""Images and metrics in, scores out: each image is read once for all metrics, each batch durable before the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pyarrow as pa
from PIL.Image import Image
from tqdm import tqdm

from benchmarks.images import load_image
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.metric import Metric
from benchmarks.records import BenchImage, Score
from llm4gen_data.recaption.prepare import ImageError

N_READERS = 4  # threads; Pillow decodes outside the interpreter's lock

SCORE_SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("sample_index", pa.int32(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        ("value", pa.float64()),
        ("truncated", pa.bool_()),
        ("reason", pa.string()),
        ("error_message", pa.string()),
    ]
)

Numbered = list[tuple[int, BenchImage]]


def score_images(
    images: Sequence[BenchImage], metrics: Mapping[str, Metric], journal: ScoreJournal, batch_size: int
) -> int:
    """Score what the journal does not hold yet; how many images that were.

    An image that cannot be read gets an error under each metric's headline kind, and so does a value that is no
    finite number.
    """
    pending = [(number, image) for number, image in enumerate(images) if number not in journal.scores]
    with tqdm(total=len(images), initial=len(images) - len(pending), unit="img", desc="score") as progress:
        for batch, pictures in _read_ahead(pending, batch_size):
            journal.append(_score_batch(batch, pictures, metrics))
            progress.update(len(batch))
    return len(pending)


def score_table(images: Sequence[BenchImage], journal: ScoreJournal) -> pd.DataFrame:
    """All scores, a row each, by SCORE_SCHEMA."""
    rows = [
        (
            *(image.model, image.prompt.prompt_id, image.prompt.category, image.seed, image.sample_index, metric),
            *(score.kind, score.value, score.truncated, score.reason, score.error_message),
        )
        for number, image in enumerate(images)
        for metric, scores in journal.scores[number].items()
        for score in scores
    ]
    return pd.DataFrame(rows, columns=SCORE_SCHEMA.names).astype({"value": "float64", "truncated": "object"})


def _score_batch(
    batch: Numbered, pictures: Sequence[Image | str], metrics: Mapping[str, Metric]
) -> dict[int, dict[str, list[Score]]]:
    scores: dict[int, dict[str, list[Score]]] = {number: {} for number, _ in batch}
    sound = [
        (number, image, picture)
        for (number, image), picture in zip(batch, pictures, strict=True)
        if not isinstance(picture, str)
    ]
    for name, metric in metrics.items():
        for (number, _), picture in zip(batch, pictures, strict=True):
            if isinstance(picture, str):
                scores[number][name] = [Score(metric.headline, None, error_message=picture)]
        if sound:
            numbers, found, shown = zip(*sound, strict=True)
            results = metric.score(list(shown), [image.prompt for image in found])
            for number, result in zip(numbers, results, strict=True):
                scores[number][name] = [_finite(score) for score in result]
    return scores


def _finite(score: Score) -> Score:
    if score.value is None or math.isfinite(score.value):
        return score
    return replace(score, value=None, error_message=f"the metric gave {score.value}, not a number")


def _read_ahead(pending: Numbered, batch_size: int) -> Iterator[tuple[Numbered, list[Image | str]]]:
    """Batches with their pictures, or with what is wrong with them; the next batch is read meanwhile."""
    with ThreadPoolExecutor(N_READERS) as readers:
        ahead: tuple[Numbered, list[Future[Image | str]]] | None = None
        for start in range(0, len(pending) + batch_size, batch_size):
            batch = pending[start : start + batch_size]
            futures = [readers.submit(_picture_or_problem, image) for _, image in batch]
            if ahead is not None:
                yield ahead[0], [future.result() for future in ahead[1]]
            ahead = (batch, futures) if batch else None


def _picture_or_problem(image: BenchImage) -> Image | str:
    try:
        return load_image(image)
    except ImageError as error:
        return str(error)
