"""T2I-CompBench's scorers as metrics: each judges the prompts of its categories and leaves the others alone.

The kind of every headline score is the mode, `official` or `fixed`, so that the two never share a row of a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import __version__ as pillow_version

from benchmarks.config import CompbenchOptions
from benchmarks.encoders import Features, encode, rows_of
from benchmarks.metrics.clip_score import ClipScore
from benchmarks.metrics.detection import DEPTHS, DETECTORS, Detector, load_depth, load_detector
from benchmarks.metrics.vqa import load_vqa
from benchmarks.records import Score
from benchmarks.suites.t2i_compbench.judges import (
    AttributeJudge,
    ClipJudge,
    ComplexJudge,
    Judge,
    NumeracyJudge,
    Spatial2dJudge,
    Spatial3dJudge,
    Verdict,
)
from benchmarks.suites.t2i_compbench.linguistics import KEY, Facts, facts_of
from benchmarks.suites.t2i_compbench.protocol import ATTRIBUTES, CURRENT, Version, parse_protocol
from benchmarks.suites.t2i_compbench.rules import Mode
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

Options = Mapping[str, Any]
UNIDET, EXTERNAL = "unidet", "external"
CPU = "cpu"


class CategoryMetric:
    """One scorer for the prompts of `categories`; a prompt of another category has no score."""

    unit = "0 to 1"
    digits = 4

    def __init__(self, name: str, categories: Sequence[str], judge: Judge, protocol: str) -> None:
        self.name, self.categories, self._judge, self.protocol = name, tuple(categories), judge, protocol
        self.uses = judge.uses
        self.version, mode = parse_protocol(protocol)
        self.headline: str = mode
        self._parsers: set[str] = set()

    def identity(self) -> dict[str, Any]:
        """Protocol and mode, what read the prompts, and the back ends."""
        return {
            "metric": self.name,
            "version": 1,
            "protocol": self.protocol,
            "parser": ", ".join(sorted(self._parsers)),
            **self._judge.identity(),
            "pillow": pillow_version,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt without analysis, or of the prompt file of another version."""
        for prompt in prompts:
            if prompt.category in self.categories:
                facts = facts_of(prompt.spec, prompt.prompt_id)
                _refuse_other_file(facts, prompt, self.version)
                self._parsers.add(facts.parser if facts.file_sha256 else f"{facts.parser} on prompts of the user's")

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """One score of the kind `official` or `fixed` a pair; of complex prompts, also the parts it is made of."""
        own = [i for i, prompt in enumerate(prompts) if prompt.category in self.categories]
        facts = [facts_of(prompts[i].spec, prompts[i].prompt_id) for i in own]
        scores: list[list[Score]] = [[] for _ in prompts]
        if own:
            shown = [images[i] for i in own]
            seen = encode(self.uses, shown) if features is None else rows_of(features, own)
            verdicts = self._judge.judge(shown, facts, seen)
            for i, verdict in zip(own, verdicts, strict=True):
                parts = (_score(f"{self.headline} {name}", part) for name, part in verdict.parts.items())
                scores[i] = [_score(self.headline, verdict), *parts]
        return scores


def blip_vqa(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """Colour, shape and texture: a VQA model is asked for each noun phrase."""
    return _metric("blip_vqa", ATTRIBUTES, protocol, options, _attribute)


def spatial_2d(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """Two objects side by side or one over the other, by a detector."""
    return _metric("spatial_2d", ("spatial",), protocol, options, _spatial)


def spatial_3d(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """One object before or behind another, by a detector and a depth model."""
    return _metric("spatial_3d", ("3d_spatial",), protocol, options, _spatial_3d)


def numeracy(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """So many of each object, by a detector."""
    return _metric("numeracy", ("numeracy",), protocol, options, _numeracy)


def clip(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """Non-spatial relations, by CLIP."""
    return _metric("clip", ("non_spatial",), protocol, options, _clip)


def three_in_one(protocol: str = CURRENT, **options: Any) -> CategoryMetric:
    """Complex prompts: attributes, 2D positions and CLIP in one."""
    return _metric("three_in_one", ("complex",), protocol, options, _complex)


def _metric(
    name: str,
    categories: Sequence[str],
    protocol: str,
    options: Options,
    make: Callable[[CompbenchOptions, Version, Mode], Judge],
) -> CategoryMetric:
    judge = make(CompbenchOptions(**options), *parse_protocol(protocol))
    return CategoryMetric(f"{KEY}.{name}", categories, judge, protocol)


def _attribute(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    return AttributeJudge(load_vqa(back_ends.vqa, back_ends.vqa_options, back_ends.device), version, mode)


def _spatial(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    return Spatial2dJudge(_detector(back_ends, "RS200", mode), mode)


def _spatial_3d(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    depth = load_depth(back_ends.depth, _device(back_ends.depth, DEPTHS, back_ends) | back_ends.depth_options)
    return Spatial3dJudge(_detector(back_ends, "R50", mode), depth, mode)


def _numeracy(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    return NumeracyJudge(_detector(back_ends, "R50", mode), version, mode)


def _clip(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    options = {"dtype": back_ends.clip_dtype, "device": back_ends.device or CPU}
    return ClipJudge(ClipScore(back_ends.clip, back_ends.clip_revision, **options), mode)


def _complex(back_ends: CompbenchOptions, version: Version, mode: Mode) -> Judge:
    return ComplexJudge(*(make(back_ends, version, mode) for make in (_attribute, _spatial, _clip)))


def _detector(back_ends: CompbenchOptions, backbone: str, mode: Mode) -> Detector:
    """UniDet has two backbones, and in `official` one of them is shown its channels in the wrong order."""
    name = back_ends.detector
    chosen = {"backbone": backbone, "protocol": mode} if name == UNIDET else _device(name, DETECTORS, back_ends)
    return _shared_detector(name, json.dumps(chosen | dict(back_ends.detector_options)))


def _device(name: str, table: Mapping[str, str], back_ends: CompbenchOptions) -> dict[str, Any]:
    """Where models of ours run; a program of the user's knows itself."""
    return {"device": back_ends.device or CPU} if name in table and name != EXTERNAL else {}


@lru_cache(maxsize=2)
def _shared_detector(name: str, options: str) -> Detector:
    """One in memory for all metrics that look with it."""
    return load_detector(name, json.loads(options))


def _score(kind: str, verdict: Verdict) -> Score:
    return Score(kind, verdict.value, verdict.reason, error_message=verdict.error_message)


def _refuse_other_file(facts: Facts, prompt: Prompt, version: Version) -> None:
    if prompt.category not in version.files:
        raise UserError(
            f"prompt {prompt.prompt_id!r}: version {version.name} has no category {prompt.category!r}; "
            f"it has {', '.join(version.files)}"
        )
    if facts.category != prompt.category:
        raise UserError(
            f"prompt {prompt.prompt_id!r} of category {prompt.category!r} was analysed as {facts.category!r}"
        )
    if facts.file_sha256 not in (None, version.files[prompt.category].sha256):
        raise UserError(
            f"prompt {prompt.prompt_id!r} is of a {prompt.category} file with sha256 {facts.file_sha256}; version "
            f"{version.name} has {version.files[prompt.category].name} with {version.files[prompt.category].sha256}"
        )
