"""GenEval as a metric: real CLIP of random weights, a Mask2Former of random weights, and a detector that is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

from benchmarks.encoders import EncoderSpec, load_encoder
from benchmarks.metrics.clip_encoder import normalised
from benchmarks.metrics.detection import Detection, load_detector
from benchmarks.metrics.geneval import TEMPLATES, GenEval, cut_out
from benchmarks.metrics.mask2former import Segment
from benchmarks.suites.geneval import COLORS
from llm4gen_data.errors import UserError
from llm4gen_data.records import Prompt
from tests.unit.benchmarks.factories import tiny_clip

SPEC = '{"tag": "single_object", "include": [{"class": "computer mouse", "count": 1}]}'


class Told:
    """Finds one "mouse" in the left half of every picture."""

    classes = ("mouse", "cat")

    def identity(self) -> dict[str, Any]:
        return {"model": "told"}

    def detect(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Detection]]:
        return [[Detection("mouse", (0, 0, 16, 32), 0.95)] for _ in images]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"), context=64)


def metric(clip: Path) -> GenEval:
    return GenEval(detector=f"{__name__}:Told", clip=str(clip))


def prompt(spec: str) -> Prompt:
    return Prompt("00000", "p", "single_object", 1, spec)


def test_labels_of_coco_are_the_benchmarks_and_reasons_hold_boxes(clip: Path) -> None:
    own = metric(clip)
    own.check([prompt(SPEC)])
    ((score,),) = own.score([Image.new("RGB", (32, 32))], [prompt(SPEC)])
    assert score.value == 1
    assert score.reason == ("all that was asked is there; computer mouse 0.950 at [0.0, 0.0, 16.0, 32.0]")
    with pytest.raises(UserError, match="no class 'giraffe'"):
        own.check([prompt(SPEC.replace("computer mouse", "giraffe"))])


def test_the_color_is_that_of_the_box_whatever_stands_beside_it(clip: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    other = pixels.copy()
    other[:, 16:] = 0
    encoder = load_encoder(EncoderSpec("clip", str(clip)))
    crop = normalised(encoder.encode([Image.fromarray(pixels[:, :16])]))[0]
    # independent: the mean of the templates' unit vectors, colour by colour
    names = {}
    for color in COLORS:
        texts = encoder.text_embeds([t.format(color=color, name="computer mouse") for t in TEMPLATES])
        mean = texts.mean(axis=0)
        names[color] = float(crop @ (mean / np.linalg.norm(mean)))
    best = max(names, key=lambda color: names[color])
    spec = SPEC.replace('"count": 1', f'"count": 1, "color": "{best}"')
    for shown in (pixels, other):
        ((score,),) = metric(clip).score([Image.fromarray(shown)], [prompt(spec)])
        assert score.value == 1
    wrong = next(color for color in COLORS if color != best)
    ((score,),) = metric(clip).score([Image.fromarray(pixels)], [prompt(spec.replace(best, wrong))])
    assert score.value == 0
    assert f"found 0 {wrong}; the computer mouse is {best}" in (score.reason or "")


def test_a_mask_puts_grey_around_the_object() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    cut = np.asarray(cut_out(Image.new("RGB", (8, 8), "red"), Segment("dog", (1, 1, 5, 5), 0.9, mask)))
    assert cut.shape == (4, 4, 3)
    assert (cut[0, 0] == 0x99).all()
    assert (cut[1, 1] == (255, 0, 0)).all()
    with pytest.raises(UserError, match="no area"):
        cut_out(Image.new("RGB", (8, 8)), Detection("dog", (1, 1, 1, 5), 0.9))


def tiny_mask2former(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=16,
        num_queries=5,
        id2label={0: "mouse", 1: "cat"},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_mask2former_gives_boxes_around_its_masks(tmp_path: Path) -> None:
    folder = tiny_mask2former(tmp_path)
    detector = load_detector("mask2former", {"model": str(folder), "threshold": 0.0})
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)) for size in ((48, 64, 3), (40, 30, 3))]
    found = detector.detect(pictures, [["cat"], ["cat"]])
    assert any(found)
    for picture, own in zip(pictures, found, strict=True):
        assert [one.score for one in own] == sorted((one.score for one in own), reverse=True)
        for one in own:
            assert isinstance(one, Segment)
            assert one.mask is not None
            assert one.label in ("mouse", "cat")
            assert one.mask.shape == (picture.height, picture.width)
            x1, y1, x2, y2 = map(int, one.box)
            assert one.mask[y1:y2, x1:x2].sum() == one.mask.sum() > 0
            assert one.mask[y1:y2, x1].any()
            assert one.mask[y2 - 1, x1:x2].any()
    assert detector.identity()["weights"]
