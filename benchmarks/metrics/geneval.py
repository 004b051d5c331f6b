"""GenEval as a metric: a detector finds the objects, CLIP names their colours, `suites.geneval` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image

from benchmarks.encoders import EncoderSpec, load_encoder
from benchmarks.metrics.detection import Detection, load_detector
from benchmarks.metrics.mask2former import Segment
from benchmarks.records import Score
from benchmarks.suites import geneval
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt

GREY = "#999"
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")
# What detectors of COCO's classes call some of the benchmark's classes.
OTHER_NAMES = {
    "mouse": "computer mouse",
    "remote": "tv remote",
    "keyboard": "computer keyboard",
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
    "hair dryer": "hair drier",
}


class GenEval:
    """1 if the picture shows everything that is asked and nothing too many, else 0; the kind is `correct`.

    `detector` is an entry of DETECTORS; with "mask2former" colours are read off objects cut out by their masks, as
    published, with any other off their boxes. `clip` is what names colours. `threshold` and `counting_threshold` are
    the scores above which objects count.
    """

    headline = "correct"
    unit = "share of images"
    digits = 4

    def __init__(
        self,
        detector: str = "mask2former",
        detector_options: Mapping[str, Any] | None = None,
        clip: str = "openai/clip-vit-large-patch14",
        clip_revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        threshold: float = geneval.THRESHOLD,
        counting_threshold: float = geneval.COUNTING_THRESHOLD,
    ) -> None:
        self.name, self.detector = detector, load_detector(detector, detector_options or {})
        self.spec = EncoderSpec("clip", clip, clip_revision, dtype, device)
        self.clip = load_encoder(self.spec)
        self.threshold, self.counting_threshold = threshold, counting_threshold

    def identity(self) -> dict[str, Any]:
        """Both models and the thresholds; only the published detector gives published scores."""
        return {
            "metric": "geneval",
            "version": 1,
            "detector": self.detector.identity(),
            "clip": self.clip.identity(),
            "threshold": self.threshold,
            "counting_threshold": self.counting_threshold,
            "color_templates": list(TEMPLATES),
            "color_crop": "the box, over #999 outside a mask where the detector gives one",
            "comparable_with_geneval": False,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Raises UserError for a prompt without GenEval's metadata, or of a class that the detector does not know."""
        known = {OTHER_NAMES.get(name, name) for name in getattr(self.detector, "classes", ())}
        for prompt in prompts:
            strange = [name for name in geneval.task_of(prompt).class_names if known and name not in known]
            if strange:
                raise UserError(f"geneval: prompt {prompt.prompt_id!r}: {self.name} has no class {strange[0]!r}")

    def score(self, images: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        """One score a pair, with what is wrong and every object that was looked at, boxes in pixels of the picture."""
        tasks = [geneval.task_of(prompt) for prompt in prompts]
        found = self.detector.detect(images, [task.class_names for task in tasks])
        named = [[replace(one, label=OTHER_NAMES.get(one.label, one.label)) for one in own] for own in found]
        return [[self._score(*triple)] for triple in zip(images, tasks, named, strict=True)]

    def _score(self, image: Image.Image, task: geneval.Task, found: Sequence[Detection]) -> Score:
        threshold = self.counting_threshold if task.tag == geneval.COUNTING else self.threshold
        is_correct, problems = geneval.check_image(task, found, partial(self._colors_of, image), threshold=threshold)
        seen = [
            f"{one.label} {one.score:.3f} at [{', '.join(f'{value:.1f}' for value in one.box)}]"
            for name in task.class_names
            for one in geneval.surest(found, name, threshold)
        ]
        told = "; ".join(problems) if problems else "all that was asked is there"
        return Score(
            self.headline, float(is_correct), "; ".join([told, *(seen or ["no object of these classes seen"])])
        )

    def _colors_of(self, image: Image.Image, class_name: str, objects: Sequence[Detection]) -> list[str]:
        from benchmarks.metrics.clip_encoder import normalised

        texts = [template.format(color=color, name=class_name) for color in geneval.COLORS for template in TEMPLATES]
        each = self.clip.text_embeds(texts).reshape(len(geneval.COLORS), len(TEMPLATES), -1)
        colors = normalised(each.mean(axis=1))
        crops = normalised(self.clip.encode([cut_out(image, one) for one in objects]))
        return [geneval.COLORS[i] for i in (crops @ colors.T).argmax(axis=1)]


def cut_out(image: Image.Image, found: Detection) -> Image.Image:
    """The object's box, over grey where a mask says that it is not the object.

    Raises UserError for a box without area.
    """
    x1, y1, x2, y2 = (round(value) for value in found.box)
    if x2 <= x1 or y2 <= y1:
        raise UserError(f"geneval: the detector's box {found.box} of {found.label!r} has no area")
    if isinstance(found, Segment) and found.mask is not None:
        mask = Image.fromarray(found.mask.astype("uint8") * 255)
        image = Image.composite(image, Image.new("RGB", image.size, GREY), mask)
    return image.crop((x1, y1, x2, y2))
