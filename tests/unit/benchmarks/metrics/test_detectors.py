"""transformers detectors on tiny random weights, against what their networks give and boxes written out here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, GroundingDinoForObjectDetection, Owlv2ForObjectDetection

from benchmarks.metrics.detection import Detection, load_detector
from benchmarks.metrics.detectors import TransformersDetector
from benchmarks.metrics.pretrained import load_image_processor
from benchmarks.metrics.suppression import suppressed
from llm4gen_data.errors import UsageError, UserError
from tests.unit.benchmarks.factories import tiny_clip
from tests.unit.benchmarks.metrics.tiny_models import tiny_grounding_dino, tiny_owlv2, tiny_rt_detr

WIDE, SQUARE = (60, 40), (48, 48)
WORDS = [["cat", "dog"], ["dog"], ["cat", "dog"], ["cat", "dog"]]


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


IMAGES = [noise(0, WIDE), noise(1, SQUARE), noise(2, WIDE), noise(3, SQUARE)]


@pytest.mark.parametrize("make", [tiny_owlv2, tiny_grounding_dino, tiny_rt_detr])
def test_a_picture_is_seen_the_same_in_any_company(make: Callable[[Path], Path], tmp_path: Path) -> None:
    detector = TransformersDetector(str(make(tmp_path / "model")), threshold=0.0, nms_iou=0.5)
    together = detector.detect(IMAGES, WORDS)
    for image, words, found in zip(IMAGES, WORDS, together, strict=True):
        (alone,) = detector.detect([image], [words])
        assert [own.label for own in alone] == [own.label for own in found]
        for ours, theirs in zip(alone, found, strict=True):
            np.testing.assert_allclose([*ours.box, ours.score], [*theirs.box, theirs.score], atol=1e-3)
        assert found
        assert all(0 <= own.box[0] < own.box[2] <= image.width for own in found)
        assert all(0 <= own.box[1] < own.box[3] <= image.height for own in found)
        assert [own.score for own in found] == sorted((own.score for own in found), reverse=True)
    assert {own.label for own in together[1]} <= ({"dog"} if make is not tiny_rt_detr else {"cat", "dog"})
    assert detector.identity()["comparable_with_unidet"] is False


def test_owlv2_boxes_are_in_pixels_of_the_picture(tmp_path: Path) -> None:
    """The network sees the picture in the corner of a square, so its unit is the longer side on both axes."""
    folder = tiny_owlv2(tmp_path / "model")
    detector = TransformersDetector(str(folder), threshold=0.0, nms_iou=None, template="a {}")
    found = detector.detect([IMAGES[0]], [["cat", "dog"]])[0]
    tokens = AutoTokenizer.from_pretrained(folder)(
        ["a cat", "a dog"], padding="max_length", max_length=40, return_tensors="pt"
    )
    pixels = load_image_processor("test", folder)(images=[IMAGES[0]], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        outputs = Owlv2ForObjectDetection.from_pretrained(folder).eval()(pixel_values=pixels, **tokens)
    best, label = outputs.logits[0].sigmoid().max(dim=-1)
    centre, size = outputs.pred_boxes[0].split(2, dim=-1)
    boxes = (torch.cat([centre - size / 2, centre + size / 2], dim=-1) * WIDE[0]).numpy()
    expected = []
    for score, which, box in zip(best.tolist(), label.tolist(), boxes, strict=True):
        x1, x2 = np.clip(box[[0, 2]], 0, WIDE[0])
        y1, y2 = np.clip(box[[1, 3]], 0, WIDE[1])
        if x1 < x2 and y1 < y2:
            expected.append((score, ("cat", "dog")[which], (x1, y1, x2, y2)))
    expected.sort(key=lambda row: -row[0])
    assert [own.label for own in found] == [row[1] for row in expected]
    np.testing.assert_allclose([own.box for own in found], [row[2] for row in expected], atol=1e-3)
    np.testing.assert_allclose([own.score for own in found], [row[0] for row in expected], atol=1e-5)


def test_grounding_dino_reads_words_of_several_tokens(tmp_path: Path) -> None:
    folder = tiny_grounding_dino(tmp_path / "model")
    detector = TransformersDetector(str(folder), threshold=0.0, nms_iou=None)
    words = ["red cats", "dog"]
    found = detector.detect([IMAGES[1]], [words])[0]
    # as the tokenizer reads it: [CLS] red cat ##s . dog . [SEP]
    ids = AutoTokenizer.from_pretrained(folder)("red cats. dog.", return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == [2, 8, 5, 7, 4, 6, 4, 3]
    pixels = load_image_processor("test", folder)(images=[IMAGES[1]], return_tensors="pt")
    with torch.inference_mode():
        logits = GroundingDinoForObjectDetection.from_pretrained(folder).eval()(**pixels, input_ids=ids).logits[0]
    of_words = torch.stack([logits[:, 1:4].amax(dim=1), logits[:, 5]], dim=1).sigmoid()
    best = sorted(of_words.amax(dim=1).tolist(), reverse=True)
    np.testing.assert_allclose([own.score for own in found], best[: len(found)], atol=1e-5)
    assert {own.label for own in found} <= set(words)


def test_an_open_vocabulary_finds_nothing_where_nothing_is_asked(tmp_path: Path) -> None:
    detector = TransformersDetector(str(tiny_owlv2(tmp_path / "model")), threshold=0.0, max_detections=3)
    nothing, something = detector.detect(IMAGES[:2], [[], ["dog", "dog"]])
    assert nothing == []
    assert len(something) == 3


def test_suppression() -> None:
    a = Detection("cat", (0, 0, 10, 10), 0.5)
    near = Detection("cat", (0, 0, 10, 9), 0.9)
    other = Detection("dog", (0, 0, 10, 10), 0.1)
    apart = Detection("cat", (0, 0, 10, 4), 0.2)
    assert suppressed([a, near, other, apart], 0.5) == [near, apart, other]
    assert suppressed([a, near, other, apart], None) == [near, a, apart, other]
    # a box that is suppressed suppresses nothing itself
    chain = [Detection("cat", (i * 3, 0, i * 3 + 10, 10), 0.9 - i / 10) for i in range(3)]
    assert suppressed(chain, 0.5) == [chain[0], chain[2]]
    assert suppressed([], 0.5) == []


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.safetensors of https://huggingface.co/no/such.*detector_options"):
        load_detector("owlv2", {"model": "no/such"})
    with pytest.raises(UserError, match="model 'nosuch' is unknown"):
        load_detector("rt_detr", {"model": "nosuch"})
    with pytest.raises(UsageError, match="threshold 2"):
        load_detector("owlv2", {"model": str(tmp_path), "threshold": 2})
    with pytest.raises(UserError, match=r"not a AutoModelForObjectDetection"):
        TransformersDetector(str(tiny_clip(tmp_path / "clip"))).detect(IMAGES[:1], [["cat"]])
    folder = tiny_rt_detr(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors weights"):
        TransformersDetector(str(folder)).detect(IMAGES[:1], [["cat"]])
