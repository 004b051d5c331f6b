"""What a metric is, and the table of metrics."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.records import CorpusScore, Score
from llm4gen_data.errors import UsageError
from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from benchmarks.encoders import EncoderSpec, Features

METRICS = {
    "scene_reader": "benchmarks.metrics.scene_reader:SceneReader",
    "clip_score": "benchmarks.metrics.clip_score:ClipScore",
    "clip_score.chunk_mean": "benchmarks.metrics.long_clip:chunk_mean",
    "clip_score.chunk_min": "benchmarks.metrics.long_clip:chunk_min",
    "long_clip": "benchmarks.metrics.long_clip:LongClipScore",
    "fid": "benchmarks.metrics.fid:Fid",
    "aesthetic": "benchmarks.metrics.aesthetic:Aesthetic",
    "pick_score": "benchmarks.metrics.preference:PickScore",
    "hps": "benchmarks.metrics.preference:HpsV2",
    "image_reward": "benchmarks.metrics.image_reward:ImageReward",
    "vqascore": "benchmarks.metrics.vqascore:VqaScore",
    "t2v_metrics": "benchmarks.metrics.t2v_metrics:T2vMetrics",
    "dsg": "benchmarks.metrics.dsg:Dsg",
    "dpg": "benchmarks.metrics.dpg:Dpg",
    "geneval": "benchmarks.metrics.geneval:GenEval",
    "t2i_compbench.blip_vqa": "benchmarks.suites.t2i_compbench.metrics:blip_vqa",
    "t2i_compbench.spatial_2d": "benchmarks.suites.t2i_compbench.metrics:spatial_2d",
    "t2i_compbench.spatial_3d": "benchmarks.suites.t2i_compbench.metrics:spatial_3d",
    "t2i_compbench.numeracy": "benchmarks.suites.t2i_compbench.metrics:numeracy",
    "t2i_compbench.clip": "benchmarks.suites.t2i_compbench.metrics:clip",
    "t2i_compbench.three_in_one": "benchmarks.suites.t2i_compbench.metrics:three_in_one",
}


MEMBERS = ("headline", "unit", "digits", "identity", "check", "score")


class Metric(Protocol):
    """Scores images against their prompts; made from its options as keywords. Weights are loaded by the first `score`.

    `headline` is the kind of score that stands for the metric where there is room for one number, `unit` says what
    the values are, `digits` how many decimals to print.
    """

    headline: str
    unit: str
    digits: int

    def identity(self) -> dict[str, Any]:
        """Everything that changes a value: metric id and version, weights, preprocessing, dtype; plain JSON data."""
        ...

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Called with all prompts before the first image. Raises UserError if one of them cannot be judged."""
        ...

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """The scores of each pair of an upright RGB image and its prompt, in order.

        Scores without a value stand for a pair that failed alone; no scores, for a prompt that claims nothing of
        what the metric looks for.
        """
        ...


class FeatureMetric(Metric, Protocol):
    """A metric on the features of encoders that it may share with others: each batch passes through them once.

    One with `categories` gives no scores to prompts of others, and needs no features of a batch of such prompts.
    """

    uses: tuple[EncoderSpec, ...]

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """As `Metric.score`; `features` holds those of the images for each of `uses`, None: the metric makes them."""
        ...


class CorpusMetric(FeatureMetric, Protocol):
    """A metric of all pictures of a model together, on the features of the one encoder in `uses`."""

    def score_corpus(self, features: np.ndarray) -> list[CorpusScore]:
        """The numbers of pictures with these features [N, D], the headline first."""
        ...


def distinct(images: Sequence[Image]) -> tuple[list[Image], list[int]]:
    """The pictures without repetition, and the place of each among them; it is the same if it is the same object."""
    places: dict[int, int] = {}
    order = [places.setdefault(id(image), len(places)) for image in images]
    shown: list[Image] = [image for i, image in enumerate(images) if order[i] not in order[:i]]
    return shown, order


def load_metric(name: str, options: Mapping[str, Any]) -> Metric:
    """The metric `name`, an entry of METRICS or a `module:attribute`.

    Raises UsageError for an unknown name, and for a `module:attribute` that is no metric.
    """
    make = resolve("metric", name, METRICS)
    try:
        inspect.signature(make).bind(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"metric {name!r}: {error}; expected a class like metrics.metric.Metric") from error
    metric: Metric = make(**options)
    lacking = [part for part in MEMBERS if not hasattr(metric, part)]
    if lacking:
        raise UsageError(f"metric {name!r} has no {', '.join(lacking)}; expected a class like metrics.metric.Metric")
    return metric
