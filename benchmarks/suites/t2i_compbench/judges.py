"""The scorers of T2I-CompBench: a back end looks, the rules count, and a line says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from benchmarks.encoders import EncoderSpec, Features, rows_of
from benchmarks.metrics.clip_score import ClipScore
from benchmarks.metrics.detection import Depth, Detection, Detector
from benchmarks.metrics.vqa import Vqa, ask_by_picture
from benchmarks.records import Score
from benchmarks.suites.t2i_compbench import labels as names
from benchmarks.suites.t2i_compbench import rules
from benchmarks.suites.t2i_compbench.language import SpatialTriplet, asked_phrases, blip_question
from benchmarks.suites.t2i_compbench.linguistics import Facts
from benchmarks.suites.t2i_compbench.nouns import EQUAL_PLURALS
from benchmarks.suites.t2i_compbench.protocol import Version
from llm4gen_data.records import Prompt

# Detectors of this benchmark look at pictures of this size; boxes and the rule of 150 px live in it.
FRAME_SHORT_PX, FRAME_LONG_PX = 479, 480


@dataclass(frozen=True, slots=True)
class Verdict:
    """A value with the reason for it, or, where there can be none, the `error_message`; and what it is made of."""

    value: float | None
    reason: str | None = None
    error_message: str | None = None
    parts: Mapping[str, Verdict] = field(default_factory=dict)


class Judge(Protocol):
    """Scores pictures by what their prompts ask for; `uses` are the encoders whose features it needs."""

    uses: tuple[EncoderSpec, ...]

    def identity(self) -> dict[str, Any]:
        """Everything in the back ends that changes a value."""
        ...

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """A verdict for each RGB image."""
        ...


class AttributeJudge:
    """BLIP-VQA: is each noun phrase of the prompt in the picture? The product of the probabilities of "yes"."""

    uses: tuple[EncoderSpec, ...] = ()

    def __init__(self, vqa: Vqa, version: Version, mode: rules.Mode) -> None:
        self.vqa, self.version, self.mode = vqa, version, mode

    def identity(self) -> dict[str, Any]:
        """That of the VQA model, and which phrases it is asked for."""
        return {"vqa": self.vqa.identity(), "max_phrases": self.version.max_phrases}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """All questions of an image at once."""
        phrases = [
            asked_phrases(fact.chunks or (), self.version.max_phrases, self.version.stop_phrases) for fact in facts
        ]
        asked = [i for i, own in enumerate(phrases) if own]
        questions = [[blip_question(phrase) for phrase in phrases[i]] for i in asked]
        shown = [images[i] for i in asked]
        answers = ask_by_picture(self.vqa.answer_probabilities, shown, questions) if asked else []
        found = dict(zip(asked, answers, strict=True))
        return [self._verdict(own, found.get(i, [])) for i, own in enumerate(phrases)]

    def _verdict(self, phrases: Sequence[str], yes: Sequence[float]) -> Verdict:
        if not phrases and self.mode == "fixed":
            return Verdict(None, error_message="the prompt has no noun phrase to ask for")
        reason = phrase_reason(phrases, yes) if phrases else "no noun phrase: 1 by the protocol"
        return Verdict(rules.blip_vqa_aggregate(yes, self.mode), reason)


class Spatial2dJudge:
    """Are both objects there, and do their boxes stand as the prompt says?"""

    uses: tuple[EncoderSpec, ...] = ()

    def __init__(self, detector: Detector, mode: rules.Mode) -> None:
        self.detector, self.mode = detector, mode

    def identity(self) -> dict[str, Any]:
        """That of the detector, and the frame that it looks at."""
        return {"detector": self.detector.identity(), "frame": f"{FRAME_SHORT_PX}x{FRAME_LONG_PX} px, bilinear"}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """Prompts whose two objects are not known score 0, as the protocol has it for complex ones."""
        found = _detect(self.detector, [in_frame(image) for image in images], [_words(fact) for fact in facts])
        return [self._verdict(fact.triplet, own) for fact, own in zip(facts, found, strict=True)]

    def _verdict(self, triplet: SpatialTriplet | None, found: Sequence[Detection]) -> Verdict:
        if triplet is None:
            return Verdict(0.0, "the prompt does not name exactly two objects: 0 by the protocol")
        match = names.best_of_each if self.mode == "official" else names.things_of_each
        a, b = _pair(triplet, found, match)
        position = rules.position_2d(triplet.relation, a.box, b.box, self.mode) if a and b else 0.0
        value = rules.spatial_2d_score(triplet.relation, *_numbers(a, b), protocol=self.mode)
        return Verdict(value, _pair_reason(triplet, a, b, position))


class Spatial3dJudge:
    """Are both objects there, and is one before the other as the prompt says?"""

    uses: tuple[EncoderSpec, ...] = ()

    def __init__(self, detector: Detector, depth: Depth, mode: rules.Mode) -> None:
        self.detector, self.depth, self.mode = detector, depth, mode

    def identity(self) -> dict[str, Any]:
        """Those of detector and depth model, and the frame that they share."""
        frame = f"{FRAME_SHORT_PX}x{FRAME_LONG_PX} px, bilinear"
        return {"detector": self.detector.identity(), "depth": self.depth.identity(), "frame": frame}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """Depth is estimated at each picture's own size, stored in 8 bits, and brought into the frame with it."""
        frames = [in_frame(image) for image in images]
        found = _detect(self.detector, frames, [_words(fact) for fact in facts])
        depths = [_depth_in_frame(depth) for depth in self.depth.estimate(images)]
        triples = zip(facts, found, depths, strict=True)
        return [self._verdict(fact.triplet, own, depth) for fact, own, depth in triples]

    def _verdict(self, triplet: SpatialTriplet | None, found: Sequence[Detection], depth: np.ndarray) -> Verdict:
        if triplet is None:
            return Verdict(0.0, "the prompt does not name exactly two objects: 0 by the protocol")
        match = names.last_seen_of_each if self.mode == "official" else names.things_of_each
        a, b = _pair(triplet, found, match)
        position = rules.position_3d(triplet.relation, a.box, b.box, depth, self.mode) if a and b else 0.0
        value = rules.spatial_3d_score(triplet.relation, *_numbers(a, b), depth, protocol=self.mode)
        return Verdict(value, _pair_reason(triplet, a, b, position))


class NumeracyJudge:
    """Is each object there, as often as the prompt says?"""

    uses: tuple[EncoderSpec, ...] = ()

    def __init__(self, detector: Detector, version: Version, mode: rules.Mode) -> None:
        self.detector, self.version, self.mode = detector, version, mode

    def identity(self) -> dict[str, Any]:
        """That of the detector, and the frame that it looks at."""
        return {"detector": self.detector.identity(), "frame": f"{FRAME_SHORT_PX}x{FRAME_LONG_PX} px, bilinear"}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """No value for prompts whose numbers the protocol's version read in a way that is not known."""
        words = [[names.ALIASES.get(name, name) for name in fact.counts or ()] for fact in facts]
        found = _detect(self.detector, [in_frame(image) for image in images], words)
        return [self._verdict(fact.counts or {}, own) for fact, own in zip(facts, found, strict=True)]

    def _verdict(self, counts: dict[str, int], found: Sequence[Detection]) -> Verdict:
        unknown = [] if self.version.equal_plurals else sorted(counts.keys() & EQUAL_PLURALS)
        if unknown:
            return Verdict(None, error_message=f"how version {self.version.name} counted {unknown[0]!r} is not known")
        if not counts:
            return Verdict(None, error_message="the prompt asks for no number of anything")
        triples = [(detection.label, detection.box, detection.score) for detection in found]
        kept = [Detection(*triple) for triple in rules.without_duplicates(triples)]
        asked = ", ".join(f"{n} x {name}" for name, n in counts.items())
        seen = "; ".join(_detection_text(detection) for detection in kept) or "nothing"
        value = rules.numeracy_score(counts, triples, self.mode)
        return Verdict(value, f"asked: {asked}; {len(kept)} seen: {seen}")


class ClipJudge:
    """The cosine between picture and prompt by CLIP ViT-B/32, as it is."""

    def __init__(self, clip: ClipScore, mode: rules.Mode) -> None:
        self.clip, self.mode = clip, mode
        self.uses: tuple[EncoderSpec, ...] = clip.uses

    def identity(self) -> dict[str, Any]:
        """That of the CLIP model."""
        return {"clip": self.clip.identity(), "scale": "cosine, not clamped"}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """`official` cannot read texts over the encoder's context and has no value for them."""
        prompts = [Prompt("", fact.text or "", fact.category, 0, None) for fact in facts]
        scores = self.clip.score(images, prompts, features)
        return [self._verdict(own[0], fact) for own, fact in zip(scores, facts, strict=True)]

    def _verdict(self, score: Score, fact: Facts) -> Verdict:
        if score.value is None:
            return Verdict(None, error_message=score.error_message)
        if score.truncated and self.mode == "official":
            return Verdict(None, error_message=f"longer than the CLIP model can read: {score.reason}")
        return Verdict(score.value / 100, f"cosine with {fact.text!r}: {score.value / 100:.4f}; {score.reason}")


class ComplexJudge:
    """3-in-1: the mean of what each prompt's kind calls for, of attribute, spatial (2D) and CLIP score."""

    def __init__(self, attribute: Judge, spatial: Judge, clip: Judge) -> None:
        self.judges = {"attribute": attribute, "spatial": spatial, "clip": clip}
        self.uses = tuple(spec for judge in self.judges.values() for spec in judge.uses)

    def identity(self) -> dict[str, Any]:
        """Those of the three."""
        return {name: judge.identity() for name, judge in self.judges.items()}

    def judge(self, images: Sequence[Image.Image], facts: Sequence[Facts], features: Features) -> list[Verdict]:
        """Each scorer sees the pictures whose prompts need it."""
        parts: list[dict[str, Verdict]] = [{} for _ in facts]
        for name, judge in self.judges.items():
            own = [i for i, fact in enumerate(facts) if name in rules.PARTS[fact.kind or "spatialaction"]]
            if own:
                verdicts = judge.judge([images[i] for i in own], [facts[i] for i in own], rows_of(features, own))
                for i, verdict in zip(own, verdicts, strict=True):
                    parts[i][name] = verdict
        return [self._verdict(fact.kind or "spatialaction", own) for fact, own in zip(facts, parts, strict=True)]

    def _verdict(self, kind: rules.Kind, parts: dict[str, Verdict]) -> Verdict:
        failed = {name: part for name, part in parts.items() if part.value is None}
        if failed:
            problems = "; ".join(f"{name}: {part.error_message}" for name, part in failed.items())
            return Verdict(None, error_message=problems, parts=parts)
        attribute, spatial, clip = (parts[name].value if name in parts else None for name in self.judges)
        told = ", ".join(f"{name} {part.value:.4f}" for name, part in parts.items())
        return Verdict(
            rules.three_in_one(kind, attribute, spatial, clip), f"prompt of kind {kind}: {told}", parts=parts
        )


def in_frame(image: Image.Image) -> Image.Image:
    """The picture as detectors see it: shorter side 479 px, longer side at most 480 px."""
    return image.resize(frame_size(image.width, image.height), Image.Resampling.BILINEAR)


def frame_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in the frame, in pixels."""
    scale = min(FRAME_SHORT_PX / min(width, height), FRAME_LONG_PX / max(width, height))
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def phrase_reason(phrases: Sequence[str], yes: Sequence[float]) -> str:
    """What each phrase scored; `phrase_scores` reads it back."""
    return "; ".join(f"{blip_question(phrase)} {value:.4f}" for phrase, value in zip(phrases, yes, strict=True))


def phrase_scores(reason: str | None) -> list[str]:
    """The 4-decimal scores of the phrases, from what `phrase_reason` wrote."""
    parts = (part.rpartition("? ") for part in (reason or "").split("; "))
    return [score for _, mark, score in parts if mark]


def _words(fact: Facts) -> list[str]:
    return [] if fact.triplet is None else [fact.triplet.object_a, fact.triplet.object_b]


def _detect(
    detector: Detector, frames: Sequence[Image.Image], words: Sequence[Sequence[str]]
) -> list[list[Detection]]:
    found = detector.detect(frames, [list(dict.fromkeys(own)) for own in words])
    return [sorted(own, key=lambda detection: -detection.score) for own in found]


def _depth_in_frame(depth: np.ndarray) -> np.ndarray:
    """[H, W] in 0-1, by way of an 8-bit grey picture as the original keeps it."""
    grey = Image.fromarray(np.rint(np.clip(depth, 0, 1) * 255).astype(np.uint8))
    return np.asarray(in_frame(grey), dtype=np.float32) / 255


def _pair(
    triplet: SpatialTriplet, found: Sequence[Detection], match: Callable[..., tuple[int | None, int | None]]
) -> tuple[Detection | None, Detection | None]:
    a, b = match((triplet.object_a, triplet.object_b), [detection.label for detection in found])
    return None if a is None else found[a], None if b is None else found[b]


def _numbers(
    a: Detection | None, b: Detection | None
) -> tuple[rules.Box | None, rules.Box | None, float | None, float | None]:
    return (a.box if a else None, b.box if b else None, a.score if a else None, b.score if b else None)


def _pair_reason(triplet: SpatialTriplet, a: Detection | None, b: Detection | None, position: float) -> str:
    found = [
        _detection_text(detection) if detection else f"{word} not found{_why(word)}"
        for word, detection in ((triplet.object_a, a), (triplet.object_b, b))
    ]
    return f"{'; '.join(found)}; {triplet.relation or 'no known relation'}: {position:.3f}"


def _why(word: str) -> str:
    return " (UniDet has no class of exactly this name)" if word in names.NO_UNIDET_CLASS else ""


def _detection_text(detection: Detection) -> str:
    """ "frog 0.83 at [12.0, 30.5, 200.0, 400.0]", the box in pixels of the frame."""
    box = ", ".join(f"{value:.1f}" for value in detection.box)
    return f"{detection.label} {detection.score:.3f} at [{box}]"
