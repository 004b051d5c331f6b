"""The programs of docs/examples.md, run as they are printed, on the bundled miniature."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.factories import cam, language_model, sdxl_pipeline

DOCS = Path(__file__).parents[2] / "docs" / "examples.md"

pytestmark = pytest.mark.filterwarnings("ignore:.*written in float16")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_section(title: str) -> dict[str, Any]:
    """Run the Python blocks of a section as one program; the names that it leaves behind."""
    sections = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.M)
    [section] = [text for text in sections if text.startswith(f"{title}\n")]
    names: dict[str, Any] = {"__name__": title}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", section, flags=re.M | re.S)):
        exec(compile(block, f"{DOCS.name}, {title}, block {number}", "exec"), names)
    return names


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image, dtype=np.int64)


def test_every_example_is_run_here() -> None:
    titles = re.findall(r"^## (.*)$", DOCS.read_text(encoding="utf-8"), flags=re.M)
    assert titles == ["img2img", "ControlNet", "LoRA", "Modular SDXL"]


def test_img2img_turns_the_red_thing_blue(working_folder: Path) -> None:
    names = run_section("img2img")

    def redness(image: Image.Image) -> float:
        return float((pixels(image)[..., 0] - pixels(image)[..., 2]).max())

    assert (working_folder / "second.png").is_file()
    assert redness(names["first"]) > 100 > redness(names["second"])


def test_a_controlnet_learns_to_follow_outlines_through_the_cam() -> None:
    names = run_section("ControlNet")

    def agreement(images: list[Image.Image]) -> float:
        """F1 of outline pixels, mean over pictures."""
        scores = []
        for image, hint in zip(images, names["hint"], strict=True):
            drawn, wanted = (pixels(picture)[..., 0] > 0 for picture in (names["outlines"](image), hint))
            scores.append(2 * (drawn & wanted).sum() / (drawn.sum() + wanted.sum()))
        return float(np.mean(scores))

    assert np.mean(names["losses"][-25:]) < np.mean(names["losses"][:25])
    assert agreement(names["followed"]) > agreement(names["ignored"]) + 0.05

    # conditioning scale 0 is the plain pipeline: a ControlNet and a CAM do not disturb each other
    torch, embeds = names["torch"], names["embeds"]
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(names["unseen"]))]
    plain = names["pipeline"](
        **embeds.as_kwargs(), guidance_scale=4.0, num_inference_steps=25, generator=generators
    ).images
    for image, ignored in zip(plain, names["ignored"], strict=True):
        np.testing.assert_allclose(pixels(ignored), pixels(image), atol=1)


def test_a_lora_learns_its_style_through_the_cam(working_folder: Path) -> None:
    names = run_section("LoRA")

    def colourfulness(image: Image.Image) -> float:
        return float(np.ptp(pixels(image), axis=2).mean())

    assert [path.suffix for path in (working_folder / "pencil").iterdir()] == [".safetensors"]
    assert np.mean(names["losses"][-10:]) < np.mean(names["losses"][:10])
    assert colourfulness(names["with_lora"]) < 0.5 * colourfulness(names["without_lora"])


def test_modular_sdxl_draws_and_redraws(working_folder: Path) -> None:
    from llm4gen_model.pipeline import LLM4GenXLPipeline

    llm = language_model()
    saved = LLM4GenXLPipeline(
        **sdxl_pipeline().components,
        cam=cam(80),
        llm=llm.model,
        llm_tokenizer=llm.tokenizer,
        llm_settings=dataclasses.asdict(llm.settings),
    )
    saved.save_pretrained(working_folder / "my-sdxl-cam")

    names = run_section("Modular SDXL")

    assert names["first"].size == names["second"].size == (16, 16)
    assert names["first"].tobytes() != names["second"].tobytes()
