from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.recaption import stats as module
from llm4gen_data.recaption.stats import frequent_objects, frequent_words, stats
from llm4gen_data.recaption.truth import find_scenes, truth_scores
from llm4gen_data.scenes.run import write_scenes
from tests.unit.llm4gen_data.recaption.finished_run import finished_folder, finished_run

CAPTIONS = ["A dog and two boats on a lake.", "A dog sits in a boat.", "The dog dog dog is here.", None]


def test_words_and_objects_count_once_a_caption() -> None:
    captions = [caption for caption in CAPTIONS if caption]
    assert frequent_words(captions, 1) == [("dog", 3)]
    assert frequent_objects(captions) == [("dog", 3), ("boat", 2), ("lake", 1)]


def test_figures_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path, CAPTIONS)
    stats(run)
    drawn = sorted(path.name for path in (run / "stats").iterdir())
    assert drawn == ["caption_length.png", "frequent_objects.png", "frequent_words.png", "gates.png"]
    assert "4 rows: success 3, failed_image 1" in capsys.readouterr().out
    with pytest.raises(UserError, match="not complete"):
        stats(tmp_path)


def test_lengths_of_alt_texts_are_drawn_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legends: list[list[str]] = []

    def save(figure: Any, _: Path) -> None:
        legends.extend(
            [text.get_text() for text in axes.get_legend().texts] for axes in figure.axes if axes.get_legend()
        )

    monkeypatch.setattr(module, "_save", save)
    (tmp_path / "folder").mkdir()
    stats(finished_folder(tmp_path / "folder", ["A dog sits in a boat."]))
    stats(finished_run(tmp_path, ["A dog sits in a boat."]))
    assert legends == [["caption, mean 6.0 words"], ["alt text, mean 2.0 words", "caption, mean 6.0 words"]]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth") / "scenes"
    write_scenes(20, 3, folder, "http://127.0.0.1:8000/", "train")
    return folder


def captioned(path: Path, scenes: Path, **changed: list[str | None]) -> Path:
    """The true captions of the scenes as rows of a run, with other columns where given."""
    truth = pq.read_table(scenes / "scenes.parquet")
    columns = {
        "key": truth["file_name"].to_pylist(),
        "url": truth["url"].to_pylist(),
        "alt_text": truth["alt_text"].to_pylist(),
        "caption": truth["dense_caption"].to_pylist(),
        "status": ["success"] * truth.num_rows,
        **changed,
    }
    pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), path)
    return path


def test_true_captions_are_true(scenes: Path, tmp_path: Path) -> None:
    truth = truth_scores([captioned(tmp_path / "0.parquet", scenes)], scenes / "scenes.parquet")
    assert truth.n_rows == 20
    assert truth.scores["caption"]["object"].precision == 1.0
    assert (truth.scores["alt text"]["object"].recall or 0) < 0.9
    plain = truth.plain()["scores"]["caption"]["object"]
    assert plain == {"n_true": truth.scores["caption"]["object"].n_true, "precision": 1.0, "recall": 1.0}


def test_scenes_are_found_by_file_name_where_there_is_no_url(scenes: Path, tmp_path: Path) -> None:
    path = captioned(tmp_path / "0.parquet", scenes, url=[None] * 20)
    assert truth_scores([path], scenes / "scenes.parquet").n_rows == 20
    other = captioned(tmp_path / "1.parquet", scenes, url=["http://example.org/other.png"] * 20)
    with pytest.raises(UserError, match="knows none of the 20 captioned images"):
        truth_scores([other], scenes / "scenes.parquet")


def test_the_truth_is_found_from_the_source(scenes: Path, tmp_path: Path) -> None:
    truth = scenes / "scenes.parquet"
    assert find_scenes(str(scenes)) == truth
    assert find_scenes(str(scenes / "images")) == truth
    (tmp_path / "config.yaml").write_text(f"source: {scenes / 'laion.parquet'}\n")
    assert find_scenes(str(tmp_path)) == truth
    assert find_scenes("s3://bucket/images") is None
