"""What users of other tools find in a finished run: pandas, DuckDB, datasets; its card and its counts."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from llm4gen_data.recaption import publish
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.journal import Answer, Outcome
from llm4gen_data.recaption.publish import run_config
from tests.unit.llm4gen_data.recaption.finished_run import (
    finished_folder,
    finished_run,
    publish_outcomes,
    with_objects,
)

CAPTIONS = [
    "The image shows a red ball on the grass.",
    "A <b>bold</b> `dog` | with a pipe and a hat.",
    None,
    "I'm sorry, I cannot describe it.",
    *(f"Boat number {i} floats on a wide and very calm lake." for i in range(10)),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("publish"), CAPTIONS, shard_rows=4, instructions=("paper", "short"))


def test_pandas_reads_the_folder(finished: Path) -> None:
    table = pd.read_parquet(finished / "data")
    assert len(table) == 14
    kept = table[table["keep"]]
    assert kept["caption"].iloc[0] == "A red ball on the grass."
    assert list(table["reject_reasons"].iloc[2]) == ["failed_image"]
    assert table["similarity"].tolist() == [0.25] * 14  # a column of LAION's own passes through
    assert kept["image"].iloc[0]["bytes"].startswith(b"\x89PNG")


def test_duckdb_queries_the_files(finished: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    reasons = duckdb.sql(
        f"select reason, count(*) from (select unnest(reject_reasons) as reason from '{finished}/data/*.parquet') "
        "group by reason order by reason"
    ).fetchall()
    assert reasons == [("failed_image", 1), ("refusal", 1)]
    (dog,) = duckdb.sql(
        f"select short_caption from '{finished}/data/*.parquet' where keep and caption ilike '%dog%' and n_words > 5"
    ).fetchall()
    assert dog == ("| with a",)


def test_datasets_tells_runs_in_folders_of_one_name_apart(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    captions = ["A red ball on the grass.", "A boat on a wide and very calm lake."]
    for caption in captions:
        folder = tmp_path / caption[-5:-1]
        folder.mkdir()
        finished_run(folder, [caption], shard_rows=4)
        (run,) = (path.parent for path in folder.rglob("manifest.json"))
        loaded = datasets.load_dataset(str(run), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["caption"][0] == caption


def test_datasets_decodes_the_images(finished: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("parquet", data_dir=str(finished / "data"), cache_dir=str(tmp_path))["train"]
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == (48, 32)
    assert loaded[1]["reject_reasons"] == []


def test_counts_of_the_manifest_and_the_card(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["status"] == {"success": 13, "failed_image": 1}
    assert manifest["kept"] == 12
    assert manifest["errors"] == {"failed_image: not an image": 1}
    card = (finished / "README.md").read_text()
    head, body = card.split("---\n")[1:3]
    assert yaml.safe_load(head)["size_categories"] == ["n<1K"]
    assert "| failed_image: not an image | 1 | 100.0% | ##" in body
    assert "| refusal | 1 | 7.1% | # |" in body
    assert "| caption | 13 | " in body
    assert "| short_caption | 13 | 3.0 | 3 | 3 | 3 |" in body
    assert "instruction short, version 1" in body
    assert "| refusal | I'm sorry, I cannot describe it. |" in body


def test_the_card_of_a_folder_tells_of_no_alt_texts(finished: Path, tmp_path: Path) -> None:
    with_texts = (finished / "README.md").read_text()
    assert "# LAION-refined\n" in with_texts
    assert "`alt_text` is what the web page said" in with_texts
    assert "| picture 0 | A red ball on the grass. |" in with_texts
    card = (finished_folder(tmp_path, ["A red ball on the grass."]) / "README.md").read_text()
    assert "# Recaptioned images\n" in card
    assert "`alt_text` is empty: the images came without texts" in card
    assert "LAION" not in card
    assert "\n| A red ball on the grass. |\n" in card
    assert "| alt_text |" not in card


def test_captions_cannot_break_out_of_the_card(finished: Path) -> None:
    card = (finished / "README.md").read_text()
    assert "A &lt;b>bold&lt;/b> 'dog' \\| with a pipe" in card


def test_the_object_check_gives_a_hallucination_rate(tmp_path: Path) -> None:
    run = finished_run(tmp_path, ["A dog beside a cat on grass."] * 4, object_check=True)
    success = Outcome("success", answers={"paper": Answer("A dog beside a cat on grass.", "stop", 7)})
    outcomes = {
        0: with_objects(success, ["dog", "cat"], []),
        1: with_objects(success, ["dog", "cat"], ["cat"]),
        2: with_objects(success, ["dog"], ["dog"]),
        3: with_objects(success, [], []),
    }
    publish_outcomes(run, run_config(run), outcomes)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["objects"] == {"asked": 5, "denied": 2, "rate": 0.4}
    assert manifest["reject_reasons"] == {"denied_objects": 2}
    assert "a hallucination rate of 40.0%" in (run / "README.md").read_text()
    assert "2 of 5 denied (40.0%)" in publish.summary(run)


def test_a_run_of_failures_only_is_published(tmp_path: Path) -> None:
    run = finished_run(tmp_path, [None, None], Gates(min_similarity=0.2))
    assert json.loads((run / "manifest.json").read_text())["kept"] == 0
    assert "no captions" in (run / "README.md").read_text()
