import hashlib
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.scenes.facts import caption_facts, compare, truth_facts
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene
from pipelines.mini import pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(pairs, "ROWS_PER_SHARD", 40)
        pairs.write_pairs(100, 70_000_000, out, 1)
    return out / "data"


def test_shards_hold_all_rows_once(folder: Path) -> None:
    shards = sorted(folder.iterdir())
    assert [shard.name for shard in shards] == [f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [40, 40, 20]
    keys = pq.read_table(folder)["key"].to_pylist()
    assert len(set(keys)) == 100


def test_nearly_half_of_the_scenes_hold_one_object(folder: Path) -> None:
    scenes = [json.loads(text) for text in pq.read_table(folder)["scene"].to_pylist()]
    assert 30 <= sum(len(scene["objects"]) == 1 for scene in scenes) <= 60


def test_pictures_show_and_captions_tell_the_scene(folder: Path) -> None:
    for row in pq.read_table(folder).slice(0, 40).to_pylist():
        scene = Scene.from_dict(json.loads(row["scene"]))
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert image.tobytes() == render(scene).tobytes()
        assert row["sha256"] == hashlib.sha256(row["image"]["bytes"]).hexdigest()
        assert (row["status"], row["keep"], row["width"], row["height"]) == ("success", True, 64, 64)
        for name in ("short_caption", "medium_caption", "caption"):
            counts = compare(caption_facts(row[name]), truth_facts(scene))
            assert sum(each.false_positive for each in counts.values()) == 0, row[name]
            assert counts["object"].false_negative == 0, row[name]


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pairs.write_pairs(5, 1, tmp_path / name, 1)
    name = "data/train-00000-of-00001.parquet"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_shards_of_another_number_are_not_mixed_in(folder: Path) -> None:
    with pytest.raises(UserError, match="of-00003"):
        pairs.write_pairs(1, 70_000_000, folder.parent, 1)
