import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.recaption import release as module
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.regate import regate
from llm4gen_data.recaption.release import push_to_hub, release
from tests.unit.llm4gen_data.recaption.finished_run import finished_folder, finished_run

CAPTIONS = [None, *(f"Boat number {i} floats on a wide and very calm lake." for i in range(24))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("release"), CAPTIONS)


def test_captions_are_released_without_images(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 20)
    release(finished, tmp_path / "out")
    data = tmp_path / "out" / "data"
    assert sorted(path.name for path in data.iterdir()) == [f"train-0000{i}-of-00002.parquet" for i in range(2)]
    table = pq.read_table(data)
    assert table.num_rows == 25
    assert {"url", "sha256", "alt_text", "caption", "caption_raw", "similarity", "keep"} <= set(table.column_names)
    assert "image" not in table.column_names
    assert table["status"].to_pylist()[0] == "failed_image"
    stored = json.loads(pq.read_schema(data / "train-00000-of-00002.parquet").metadata[b"llm4gen"])
    assert stored["gates"]["min_words"] == 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Without images" in card
    assert "25 rows" in card
    assert str(finished) not in card


def test_a_release_of_images_without_alt_texts_is_not_called_laion(tmp_path: Path) -> None:
    release(finished_folder(tmp_path, ["A dog sits in a boat."]), tmp_path / "out")
    assert "# Recaptioned images\n" in (tmp_path / "out" / "README.md").read_text()


def test_datasets_reads_a_release(finished: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    release(finished, tmp_path / "out", "images")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[1]["image"].size == (48, 32)


def test_webdataset_reads_its_tars(finished: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    release(finished, tmp_path / "out", "webdataset")
    tars = sorted(str(path) for path in (tmp_path / "out" / "data").iterdir())
    assert [Path(tar).name for tar in tars] == ["00000.tar", "00001.tar", "00002.tar"]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("png", "txt", "json"))
    assert len(samples) == 24  # the row without a picture is not a sample
    image, caption, texts = samples[3]
    assert (image.size, caption) == ((48, 32), CAPTIONS[4])
    assert (texts["key"], texts["keep"], texts["alt_text"]) == ("000004", True, "picture 4")
    # and so does our own source
    from llm4gen_data.sources.source import open_source

    assert open_source(str(tmp_path / "out" / "data")).n_rows == 24


def test_equal_runs_give_equal_tars(finished: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        release(finished, tmp_path / name, "webdataset")
    first, second = ((tmp_path / name / "data" / "00000.tar").read_bytes() for name in ("a", "b"))
    assert first == second
    with tarfile.open(tmp_path / "a" / "data" / "00000.tar") as tar:
        assert tar.getnames()[:3] == ["00000000001.png", "00000000001.txt", "00000000001.json"]


def test_a_release_stays_what_it_was_when_the_run_changes(tmp_path: Path) -> None:
    run = finished_run(tmp_path, CAPTIONS)
    release(run, tmp_path / "out", "images")
    before = pq.read_table(tmp_path / "out" / "data")
    regate(run, Gates(min_words=30))
    assert pq.read_table(tmp_path / "out" / "data").equals(before)
    with pytest.raises(UserError, match="another configuration"):
        release(run, tmp_path / "out", "images")


def test_what_cannot_be_released_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not complete"):
        release(tmp_path, tmp_path / "out")
    run = finished_run(tmp_path, CAPTIONS, store_images=False)
    release(run, tmp_path / "captions")
    with pytest.raises(UserError, match="holds no images"):
        release(run, tmp_path / "out", "webdataset")


def test_push_to_hub_uploads_data_and_card_only(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.utils._paths import filter_repo_objects

    calls: list[tuple[str, dict[str, Any]]] = []

    class Hub:
        def create_repo(self, repo_id: str, **options: Any) -> str:
            calls.append((repo_id, options))
            return f"https://huggingface.co/datasets/{repo_id}"

        def upload_folder(self, **options: Any) -> None:
            patterns = options["allow_patterns"]
            files = filter_repo_objects(
                [str(path.relative_to(options["folder_path"])) for path in options["folder_path"].rglob("*")],
                allow_patterns=patterns,
            )
            calls.append((options["repo_id"], {"repo_type": options["repo_type"], "files": sorted(files)}))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    release(finished, tmp_path / "out")
    assert push_to_hub(tmp_path / "out", "owner/refined", private=True).endswith("owner/refined")
    assert calls == [
        ("owner/refined", {"repo_type": "dataset", "private": True, "exist_ok": True}),
        ("owner/refined", {"repo_type": "dataset", "files": ["README.md", "data/train-00000-of-00001.parquet"]}),
    ]


def test_what_the_hub_refuses_is_one_line(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(finished, tmp_path / "out")
    with pytest.raises(UserError, match="a/b/c: cannot be pushed to the hub: Repo id must be"):
        push_to_hub(tmp_path / "out", "a/b/c")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="offline"):
        push_to_hub(tmp_path / "out", "owner/refined")
