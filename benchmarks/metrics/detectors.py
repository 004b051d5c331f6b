"""Detectors of the transformers library. None of them is UniDet: published scores do not compare with theirs.

Open vocabularies (OWL-ViT, OWLv2, Grounding DINO) are asked for the words of the prompt and answer in these words;
the DETR family (DETR, RT-DETR, D-FINE, YOLOS ...) finds the classes that it was trained on and uses their names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from PIL import __version__ as pillow_version
from PIL.Image import Image

from benchmarks.metrics.detection import Detection
from benchmarks.metrics.pretrained import (
    load_image_processor,
    load_model,
    model_folder,
    model_type,
    weights_identity,
)
from benchmarks.metrics.suppression import suppressed
from llm4gen_data.errors import UsageError, UserError

OWL = ("owlvit", "owlv2")
GROUNDING = ("grounding-dino", "mm-grounding-dino")
MAX_IMAGES_AT_ONCE = 8


class _Network(Protocol):
    """A loaded model. For images of one size and the words asked of all of them, label, box in pixels and score."""

    def find(self, images: Sequence[Image], words: Sequence[str], threshold: float) -> list[list[Detection]]: ...


class TransformersDetector:
    """Objects above `threshold` by a transformers detection model, by class without those that overlap a better one.

    `model` is a folder or a hub id with safetensors weights. `template` is what an OWL model is asked ("{}" is the
    word). Of two boxes of a label with an IoU above `nms_iou` the better stays (None: both); at most
    `max_detections` an image. Boxes are cut off at the borders of the picture.

    Raises UserError if there is no such model, UsageError for an option out of its range.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        threshold: float = 0.1,
        nms_iou: float | None = 0.5,
        max_detections: int = 300,
        template: str = "a photo of a {}",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if not 0 <= threshold < 1 or not 0 < (nms_iou or 1) <= 1 or max_detections < 1 or "{}" not in template:
            raise UsageError(
                f"detector: threshold {threshold}, nms_iou {nms_iou}, max_detections {max_detections}, template "
                f"{template!r}: expected 0 to 1, 0 to 1 or null, at least 1, and a text with {{}}"
            )
        self.model, self.revision, self.threshold, self.nms_iou = model, revision, threshold, nms_iou
        self.max_detections, self.template, self.dtype, self.device = max_detections, template, dtype, device
        self.folder = model_folder("detector", model, revision, "t2i_compbench.detector_options.model")
        self.model_type = model_type("detector", self.folder)

    def identity(self) -> dict[str, Any]:
        """Weights by sha256, what is asked, thresholds; never comparable with UniDet."""
        return {
            "detector": "transformers",
            "version": 1,
            "comparable_with_unidet": False,
            "model_type": self.model_type,
            **weights_identity(self.model, self.revision, self.folder),
            "vocabulary": "open" if self.model_type in (*OWL, *GROUNDING) else "the model's classes",
            "template": self.template if self.model_type in OWL else None,
            "threshold": self.threshold,
            "nms_iou": self.nms_iou,
            "max_detections": self.max_detections,
            "pillow": pillow_version,
            "dtype": self.dtype,
        }

    def detect(self, images: Sequence[Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """As `Detector.detect`. Images of one size with the same words share a forward pass, so nothing is padded."""
        closed = self.model_type not in (*OWL, *GROUNDING)
        groups: dict[tuple[tuple[int, int], tuple[str, ...]], list[int]] = defaultdict(list)
        for i, (image, asked) in enumerate(zip(images, words, strict=True)):
            if closed or asked:
                groups[image.size, () if closed else tuple(dict.fromkeys(asked))].append(i)
        found: list[list[Detection]] = [[] for _ in images]
        for (size, asked), members in groups.items():
            for start in range(0, len(members), MAX_IMAGES_AT_ONCE):
                part = members[start : start + MAX_IMAGES_AT_ONCE]
                results = self._network.find([images[i] for i in part], asked, self.threshold)
                for i, result in zip(part, results, strict=True):
                    inside = [own for own in (_cut(detection, size) for detection in result) if own is not None]
                    found[i] = suppressed(inside, self.nms_iou)[: self.max_detections]
        return found

    @cached_property
    def _network(self) -> _Network:
        if self.model_type in OWL:
            return _Owl(self)
        if self.model_type in GROUNDING:
            return _GroundingDino(self)
        return _Detr(self)


def owlv2(model: str = "google/owlv2-base-patch16-ensemble", **options: Any) -> TransformersDetector:
    """OWLv2 asked "a photo of a {word}", from 0.1 on."""
    return TransformersDetector(model, **options)


def grounding_dino(
    model: str = "IDEA-Research/grounding-dino-tiny", threshold: float = 0.25, **options: Any
) -> TransformersDetector:
    """Grounding DINO asked for all words of a prompt at once, from 0.25 on."""
    return TransformersDetector(model, threshold=threshold, **options)


def rt_detr(
    model: str = "PekingU/rtdetr_r50vd_coco_o365",
    threshold: float = 0.5,
    nms_iou: float | None = None,
    **options: Any,
) -> TransformersDetector:
    """RT-DETR, 80 classes of COCO, from 0.5 on; the family needs no suppression."""
    return TransformersDetector(model, threshold=threshold, nms_iou=nms_iou, **options)


def detr(
    model: str = "facebook/detr-resnet-50",
    revision: str | None = "no_timm",
    threshold: float = 0.5,
    nms_iou: float | None = None,
    **options: Any,
) -> TransformersDetector:
    """DETR, 91 classes of COCO, from 0.5 on; of revision `no_timm`, whose backbone is of transformers' own."""
    return TransformersDetector(model, revision, threshold=threshold, nms_iou=nms_iou, **options)


class _Loaded:
    """Model, preprocessing and, for an open vocabulary, tokenizer."""

    def __init__(self, detector: TransformersDetector, auto_class: str) -> None:
        self.processor = load_image_processor("detector", detector.folder)
        self.model = load_model("detector", auto_class, detector.folder, detector.dtype, detector.device)
        self.template = detector.template

    def pixels(self, images: Sequence[Image]) -> dict[str, Any]:
        inputs = self.processor(images=list(images), return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return dict(inputs.to(self.model.device))

    def tokenizer(self, folder: Any) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise UserError(f"detector: {folder}: no tokenizer: {' '.join(str(error).split())}") from error


class _Owl:
    def __init__(self, detector: TransformersDetector) -> None:
        self.loaded = _Loaded(detector, "AutoModelForZeroShotObjectDetection")
        self.tokenizer = self.loaded.tokenizer(detector.folder)

    def find(self, images: Sequence[Image], words: Sequence[str], threshold: float) -> list[list[Detection]]:
        import torch

        model = self.loaded.model
        length = model.config.text_config.max_position_embeddings
        queries = [self.loaded.template.format(word) for word in words] * len(images)
        tokens = self.tokenizer(
            queries, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            outputs = model(**self.loaded.pixels(images), **tokens)
        sizes = [(image.height, image.width) for image in images]
        results = self.loaded.processor.post_process_object_detection(_in_float32(outputs), threshold, sizes)
        return [_detections(result, list(words)) for result in results]


class _GroundingDino:
    """Its text is "cat. dog."; a word's score is that of its best token, a box belongs to its best word."""

    def __init__(self, detector: TransformersDetector) -> None:
        self.loaded = _Loaded(detector, "AutoModelForZeroShotObjectDetection")
        self.tokenizer = self.loaded.tokenizer(detector.folder)

    def find(self, images: Sequence[Image], words: Sequence[str], threshold: float) -> list[list[Detection]]:
        import torch

        model = self.loaded.model
        ids, spans = self._tokens(words)
        if len(ids) > model.config.max_text_len:
            raise UserError(
                f"detector: {len(ids)} tokens of {len(words)} words, the model reads {model.config.max_text_len}"
            )
        input_ids = torch.tensor([ids] * len(images), device=model.device)
        with torch.inference_mode():
            outputs = model(**self.loaded.pixels(images), input_ids=input_ids)
        by_token = outputs.logits.float().sigmoid()  # [B, queries, max_text_len]
        by_word = torch.stack([by_token[..., first:end].amax(dim=-1) for first, end in spans], dim=-1)
        scores, labels = by_word.max(dim=-1)
        found = []
        for image, own, label, box in zip(images, scores, labels, outputs.pred_boxes.float(), strict=True):
            keep = own > threshold
            edges = torch.tensor([image.width, image.height] * 2, device=box.device)
            corners = torch.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], dim=-1) * edges
            found.append(_detections({"scores": own[keep], "labels": label[keep], "boxes": corners[keep]}, words))
        return found

    def _tokens(self, words: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of the whole text, and where each word's own tokens begin and end in it."""
        ids, spans = [self.tokenizer.cls_token_id], []
        (stop,) = self.tokenizer(".", add_special_tokens=False)["input_ids"]
        for word in words:
            own = self.tokenizer(word.lower(), add_special_tokens=False)["input_ids"]
            spans.append((len(ids), len(ids) + max(1, len(own))))
            ids += [*own, stop]
        return [*ids, self.tokenizer.sep_token_id], spans


class _Detr:
    def __init__(self, detector: TransformersDetector) -> None:
        self.loaded = _Loaded(detector, "AutoModelForObjectDetection")

    def find(self, images: Sequence[Image], words: Sequence[str], threshold: float) -> list[list[Detection]]:
        import torch

        with torch.inference_mode():
            outputs = self.loaded.model(**self.loaded.pixels(images))
        sizes = [(image.height, image.width) for image in images]
        results = self.loaded.processor.post_process_object_detection(_in_float32(outputs), threshold, sizes)
        return [_detections(result, self.loaded.model.config.id2label) for result in results]


def _in_float32(outputs: Any) -> Any:
    """Half precision is too coarse to count pixels in."""
    outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
    return outputs


def _detections(result: Any, names: Any) -> list[Detection]:
    """`result` holds scores [N], labels [N] and boxes [N, 4] in pixels."""
    rows = zip(result["labels"].tolist(), result["boxes"].tolist(), result["scores"].tolist(), strict=True)
    return [Detection(names[label], (box[0], box[1], box[2], box[3]), score) for label, box, score in rows]


def _cut(detection: Detection, size: tuple[int, int]) -> Detection | None:
    """The part inside the picture; None if there is none."""
    x1, x2 = (min(max(x, 0.0), float(size[0])) for x in detection.box[::2])
    y1, y2 = (min(max(y, 0.0), float(size[1])) for y in detection.box[1::2])
    return Detection(detection.label, (x1, y1, x2, y2), detection.score) if x1 < x2 and y1 < y2 else None
