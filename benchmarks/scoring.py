"""Images and metrics in, scores out: each image is read once for all metrics, each batch durable before the next.

Batches are fixed ranges of the images: however often a run was killed, a batch holds the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pandas as pd
import pyarrow as pa
from PIL.Image import Image
from tqdm import tqdm

from benchmarks.encoders import EncoderSpec, Features, encode
from benchmarks.feature_cache import FeatureCache
from benchmarks.images import load_image
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.metric import FeatureMetric, Metric
from benchmarks.records import BenchImage, Score
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.prepare import ImageError
from llm4gen_data.records import Prompt

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


@dataclass(frozen=True, slots=True)
class Batch:
    """The images from number `start` up to `stop`, to be judged by the metrics of these names."""

    start: int
    stop: int
    metrics: tuple[str, ...]


BatchScores = dict[int, dict[str, list[Score]]]


def pending_batches(journal: ScoreJournal, n_images: int, batch_size: int) -> list[Batch]:
    """What the journal does not hold yet; a batch of which it holds a part is done again."""
    batches = []
    for start in range(0, n_images, batch_size):
        stop = min(start + batch_size, n_images)
        missing = {name for number in range(start, stop) for name in journal.missing(number)}
        if missing:
            batches.append(Batch(start, stop, tuple(name for name in journal.keys if name in missing)))
    return batches


def score_images(
    images: Sequence[BenchImage],
    metrics: Mapping[str, Metric],
    journal: ScoreJournal,
    batches: Sequence[Batch],
    cache: FeatureCache | None = None,
) -> None:
    """Score `batches` in this process.

    An image that cannot be read gets an error under each metric's headline kind, and so does a value that is no
    finite number.
    """
    with score_progress(batches) as progress:
        for batch, pictures in _read_ahead(images, batches):
            journal.append(score_batch(batch, images, pictures, metrics, cache))
            progress.update(batch.stop - batch.start)


def score_progress(batches: Sequence[Batch]) -> tqdm[Any]:
    """The bar over the images that are to be scored."""
    bar: tqdm[Any] = tqdm(total=sum(batch.stop - batch.start for batch in batches), unit="img", desc="score")
    return bar


def score_table(images: Sequence[BenchImage], journal: ScoreJournal) -> pd.DataFrame:
    """All scores, a row each, by SCORE_SCHEMA."""
    rows = [
        (
            *(image.model, image.prompt.prompt_id, image.prompt.category, image.seed, image.sample_index, metric),
            *(score.kind, score.value, score.truncated, score.reason, score.error_message),
        )
        for number, image in enumerate(images)
        for metric, scores in journal.scores_of(number).items()
        for score in scores
    ]
    return pd.DataFrame(rows, columns=SCORE_SCHEMA.names).astype({"value": "float64", "truncated": "object"})


def score_batch(
    batch: Batch,
    images: Sequence[BenchImage],
    pictures: Sequence[Image | str],
    metrics: Mapping[str, Metric],
    cache: FeatureCache | None,
) -> BatchScores:
    """Scores by image number and metric name; `pictures` are those of the batch, or what is wrong with them."""
    scores: BatchScores = {number: {} for number in range(batch.start, batch.stop)}
    sound = [
        (batch.start + i, images[batch.start + i], picture)
        for i, picture in enumerate(pictures)
        if not isinstance(picture, str)
    ]
    chosen = {name: metrics[name] for name in batch.metrics}
    shown = [picture for _, _, picture in sound]
    prompts = [image.prompt for _, image, _ in sound]
    specs = _needed(chosen.values(), prompts)
    with _enough_memory(len(shown)):
        features = encode(specs, shown, cache) if sound else {}
    for name, metric in chosen.items():
        for i, picture in enumerate(pictures):
            if isinstance(picture, str):
                scores[batch.start + i][name] = [Score(metric.headline, None, error_message=picture)]
        with _enough_memory(len(shown)):
            results = score_pairs(metric, shown, prompts, features) if sound else []
        for (number, _, _), result in zip(sound, results, strict=True):
            scores[number][name] = [_finite(score) for score in result]
    return scores


def read_pictures(batch: Batch, images: Sequence[BenchImage], readers: ThreadPoolExecutor) -> list[Image | str]:
    """The pictures of a batch, or what is wrong with them."""
    return list(readers.map(_picture_or_problem, images[batch.start : batch.stop]))


def _needed(metrics: Iterable[Metric], prompts: Sequence[Prompt]) -> tuple[EncoderSpec, ...]:
    """The encoders of the metrics; of one that judges only prompts of its `categories`, if there are any here."""
    found: dict[EncoderSpec, None] = {}
    for metric in metrics:
        categories = getattr(metric, "categories", None)
        if categories is None or any(prompt.category in categories for prompt in prompts):
            found |= dict.fromkeys(getattr(metric, "uses", ()))
    return tuple(found)


def score_pairs(
    metric: Metric, images: Sequence[Image], prompts: Sequence[Prompt], features: Features
) -> list[list[Score]]:
    """`metric.score`, with the features of the images if it works on such."""
    if not hasattr(metric, "uses"):
        return metric.score(images, prompts)
    return cast("FeatureMetric", metric).score(images, prompts, features)


@contextmanager
def _enough_memory(n_images: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise UserError(
            f"out of memory with {n_images} images at a time: go on with a smaller --set batch_size=N"
        ) from error


def _finite(score: Score) -> Score:
    if score.value is None or math.isfinite(score.value):
        return score
    return replace(score, value=None, error_message=f"the metric gave {score.value}, not a number")


def _read_ahead(images: Sequence[BenchImage], batches: Sequence[Batch]) -> Iterator[tuple[Batch, list[Image | str]]]:
    """Batches with their pictures, or with what is wrong with them; the next batch is read meanwhile."""
    with ThreadPoolExecutor(N_READERS) as readers:
        ahead: tuple[Batch, list[Future[Image | str]]] | None = None
        for batch in (*batches, None):
            futures = (
                [readers.submit(_picture_or_problem, i) for i in images[batch.start : batch.stop]] if batch else []
            )
            if ahead is not None:
                yield ahead[0], [future.result() for future in ahead[1]]
            ahead = (batch, futures) if batch else None


def _picture_or_problem(image: BenchImage) -> Image | str:
    try:
        return load_image(image)
    except ImageError as error:
        return str(error)
