import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.run import run
from llm4gen_data.recaption.verify import verify
from llm4gen_data.runs import sha256_file
from llm4gen_data.scenes.run import write_scenes
from tests.factories import image_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 rows in 3 shards, one of which failed."""
    folder = tmp_path_factory.mktemp("verify")
    (image_folder(folder / "in", 30) / "00007.png").write_bytes(b"no picture")
    run(RecaptionConfig(str(folder / "in"), captioner="dummy", shard_rows=10), folder / "run")
    return folder / "run"


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def rewrite(out: Path, index: int, change: Callable[[pa.Table], pa.Table]) -> None:
    """A shard with other rows, as if it had been committed so."""
    manifest = json.loads((out / "manifest.json").read_text())
    output = manifest["outputs"][index]
    table = pq.read_table(out / output["path"])
    (out / output["path"]).unlink()
    pq.write_table(change(table), out / output["path"])
    output["sha256"] = sha256_file(out / output["path"])
    (out / "manifest.json").write_text(json.dumps(manifest))


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def test_a_finished_run_is_whole(finished: Path) -> None:
    verdict = verify(finished)
    assert (verdict.n_inputs, verdict.n_captions, verdict.n_tombstones, verdict.problems) == (30, 29, 1, [])


def test_lost_and_moved_rows_are_named(out: Path) -> None:
    rewrite(out, 1, lambda table: table.filter([i != 4 for i in range(10)]))
    rewrite(out, 2, lambda table: table.take(list(range(9, -1, -1))))
    lost, moved = verify(out).problems
    assert "missing 00014.png" in lost
    assert "their order or number differs" in moved


def test_a_row_written_twice_is_named(out: Path) -> None:
    rewrite(out, 2, lambda table: with_column(table, "key", ["00001.png", *table["key"].to_pylist()[1:]]))
    problems = verify(out).problems
    assert any("missing 00020.png" in problem for problem in problems)
    assert any("1 keys occur more than once: 00001.png" in problem for problem in problems)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("status", ["lost", *["success"] * 9]),
        ("caption_raw", [None, *["a caption"] * 9]),
        ("status", ["failed_caption", *["success"] * 9]),
    ],
)
def test_status_must_go_with_captions_and_error(out: Path, column: str, values: list[Any]) -> None:
    rewrite(out, 1, lambda table: with_column(table, column, values))
    (problem,) = verify(out).problems
    assert "1 rows whose status does not go with their captions and error: 00010.png" in problem
    assert verify(out).n_captions == 28


def test_files_too_few_and_too_many_are_named(out: Path) -> None:
    first, second = sorted((out / "data").glob("*.parquet"))[:2]
    shutil.copy(first, out / "data" / "train-copy.parquet")
    second.unlink()
    (out / "shards" / "00001.journal").touch()
    missing, stray, journal = verify(out).problems
    assert "missing, with rows 10 to 20" in missing
    assert "train-copy.parquet: is not in the manifest" in stray
    assert "journal is left over" in journal


def test_what_an_unfinished_run_lacks_is_named(out: Path) -> None:
    (out / "manifest.json").unlink()
    (out / "shards" / "00002.json").unlink()
    with pytest.raises(UserError, match="not complete: 1 of 3 shards are missing: rows 20:30"):
        verify(out)
    with pytest.raises(UserError, match="not a run directory"):
        verify(out / "data")


def test_a_run_of_another_command_is_not_captioned_into(tmp_path: Path) -> None:
    write_scenes(2, 0, tmp_path / "photos", "http://127.0.0.1:8000/", "train")
    config = RecaptionConfig(str(tmp_path / "photos" / "images"), captioner="dummy")
    with pytest.raises(UserError, match="is a run of 'scenes', expected a new folder or a run of 'recaption'"):
        run(config, tmp_path / "photos")
