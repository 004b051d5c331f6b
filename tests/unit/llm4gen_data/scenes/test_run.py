"""`write_scenes`: files as promised, equal bytes for equal arguments, and a second start that only looks."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.run import write_scenes
from llm4gen_data.scenes.sample import Scene, sample_scene

URL = "http://127.0.0.1:1/"


def contents(folder: Path) -> dict[str, bytes]:
    names = ("scenes.parquet", "laion.parquet", *(f"images/{p.name}" for p in (folder / "images").iterdir()))
    return {name: (folder / name).read_bytes() for name in names}


def test_files_hold_the_scenes_of_their_seeds(tmp_path: Path) -> None:
    write_scenes(5, 40, tmp_path / "out", URL, "unseen")
    truth = pq.read_table(tmp_path / "out" / "scenes.parquet").to_pylist()
    laion = pq.read_table(tmp_path / "out" / "laion.parquet").to_pylist()
    assert [row["seed"] for row in truth] == list(range(40, 45))
    for row, web in zip(truth, laion, strict=True):
        scene = Scene.from_dict(json.loads(row["scene"]))
        assert scene == sample_scene(row["seed"], split="unseen")
        with Image.open(tmp_path / "out" / row["file_name"]) as image:
            assert image.tobytes() == render(scene).tobytes()
        assert web["URL"] == row["url"] == URL + f"images/{row['key']}.png"
        assert web["TEXT"] == row["alt_text"]
        assert len(row["dense_caption"].split()) >= 50
        assert {q["answer"] for q in json.loads(row["questions"])} == {"yes", "no"}


def test_equal_arguments_give_equal_bytes_and_a_lost_picture_is_drawn_again(tmp_path: Path) -> None:
    write_scenes(4, 0, tmp_path / "a", URL, "train")
    write_scenes(4, 0, tmp_path / "b", URL, "train")
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    # As after a kill: a picture and all that is written last are missing.
    for name in ("images/000000002.png", "scenes.parquet", "laion.parquet", "manifest.json"):
        (tmp_path / "b" / name).unlink()
    write_scenes(4, 0, tmp_path / "b", URL, "train")
    assert first == contents(tmp_path / "b")


def test_a_complete_folder_is_left_alone_and_one_of_other_arguments_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_scenes(3, 0, out, URL, "train")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    write_scenes(3, 0, out, URL, "train")
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    with pytest.raises(UserError):
        write_scenes(3, 1, out, URL, "train")
