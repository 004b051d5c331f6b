from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene
from pipelines.labels.__main__ import COMMITTED, EARLIER, labels
from pipelines.labels.sample import draw_sample, image_folders, read_sample
from tests.unit.benchmarks.factories import prompts_of, scenes, write_manifest

N = 6
SCENES = scenes(N)
N_OBJECTS = sum(len(scene.objects) for scene in SCENES)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "images", prompts_of(SCENES), {"truth": [render(scene) for scene in SCENES]})


def call(*line: object) -> str:
    result = CliRunner().invoke(labels, [str(part) for part in line], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def by_eye(scene: Scene) -> str:
    return "; ".join(f"{o.size} {o.color} {o.texture} {o.shape} @ {o.x + 2:g},{o.y:g}" for o in scene.objects)


def fill_in(folder: Path) -> None:
    """What an eye that is never wrong would write."""
    scene_of = {render(scene).tobytes(): scene for scene in SCENES}
    lines = (folder / "labels.txt").read_text().splitlines()
    for picture, _ in zip(read_sample(folder)[0], range(N), strict=False):
        i = lines.index(f"{picture.number}:")
        lines[i] += " " + by_eye(scene_of[picture.image.tobytes()])
    (folder / "labels.txt").write_text("\n".join(lines))


def test_a_sample_stands_for_itself_from_sheet_to_agreement(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample"
    assert f"{N} pictures on 1 sheets" in call("sheets", images, "--n-objects", N_OBJECTS, "--out", out)
    with Image.open(out / "sheets" / "sheet-01.png") as sheet:
        assert sheet.width > 5 * 64 * 5
    fill_in(out)
    images.rename(tmp_path / "gone")
    told = call("agree", out, "--out", tmp_path / "agreement.json")
    assert f"{N_OBJECTS} objects in {N} pictures (0 more" in told
    result = read_json(tmp_path / "agreement.json")
    assert {row["attribute"]: row["agreement"]["share"] for row in result["agreement"]} == dict.fromkeys(
        ("size", "color", "texture", "shape", "all attributes", "whole object"), 1.0
    )
    assert result["disagreements"] == []
    assert result["reader"]["metric"] == "scene_reader"


def test_a_larger_sample_goes_on_and_keeps_the_labels(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample"
    call("sheets", images, "--n-objects", 1, "--out", out)
    first = (out / "pictures.csv").read_text().splitlines()
    text = (out / "labels.txt").read_text().replace("001:", "001: unclear @ 3,4")
    (out / "labels.txt").write_text(text)
    call("sheets", images, "--n-objects", N_OBJECTS, "--out", out)
    assert (out / "pictures.csv").read_text().splitlines()[:2] == first
    assert "001: unclear @ 3,4\n002:\n" in (out / "labels.txt").read_text()
    with pytest.raises(UserError, match="holds another sample"):
        call("sheets", images, "--n-objects", N_OBJECTS, "--seed", 5, "--out", out)


def test_pictures_are_drawn_by_seed_and_equal_ones_once(images: Path) -> None:
    drawn = [draw_sample([images], 4, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(UserError, match=rf"{N} pictures of {N_OBJECTS} objects are there, expected 300"):
        draw_sample([images], 300, 0)


def test_a_scored_run_leads_to_its_images(images: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"images: [{images}]\n")
    assert image_folders(tmp_path) == image_folders(images) == (images,)
    (tmp_path / "config.yaml").write_text("images: []\n")
    assert image_folders(tmp_path) == (tmp_path / "images",)
    with pytest.raises(UserError, match="expected a folder of `llm4gen-model generate` or a run"):
        image_folders(tmp_path / "nowhere")


def test_other_pictures_than_the_labelled_ones_are_refused(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sample"
    call("sheets", images, "--n-objects", 3, "--out", out)
    with pytest.raises(UserError, match="no picture is labelled yet"):
        call("agree", out)
    Image.new("RGB", (64, 64)).save(out / "pictures" / "001.png")
    with pytest.raises(UserError, match="not the picture that was labelled"):
        call("agree", out)
    (out / "pictures.csv").write_text("number,sha256\n001,\n")
    with pytest.raises(UserError, match="row 1: expected number 001 and a sha256"):
        read_sample(out)


@pytest.mark.parametrize("folder", [EARLIER, COMMITTED])
def test_the_committed_labels_are_whole(folder: Path) -> None:
    pictures, seen = read_sample(folder)
    assert [picture.number for picture in pictures] == sorted(seen)
    assert sum(len(objects) for objects in seen.values() if objects is not None) >= 300
    assert None not in seen.values()
