import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption import verdicts
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.regate import new_gates, regate
from llm4gen_data.recaption.verify import verify
from tests.unit.llm4gen_data.recaption.finished_run import finished_run

CAPTIONS = [f"A red ball number {i} lies on the grass" + " behind a fence" * (i % 2) for i in range(25)] + [None]


def raw_columns(run: Path) -> Any:
    names = ("key", "alt_text", "caption_raw", "finish_reason", "status", "image", "similarity", "short_caption_raw")
    return pq.read_table(run / "data").select(names).to_pylist()


def manifest_of(run: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return manifest


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.suffix in (".parquet", ".json")
    }


def test_regate_changes_verdicts_everywhere_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path, CAPTIONS, instructions=("paper", "short"))
    before = raw_columns(run)
    assert manifest_of(run)["kept"] == 25
    regate(run, new_gates(run, None, ["gates.min_words=10"]))
    table = pq.read_table(run / "data")
    assert table["keep"].to_pylist() == [i % 2 == 1 for i in range(25)] + [False]
    assert table["reject_reasons"].to_pylist()[:2] == [["too_short"], []]
    assert table["short_n_words"].to_pylist()[:2] == [3, 3]
    assert set(map(tuple, table["short_reject_reasons"].to_pylist()[:25])) == {("too_short",)}
    assert raw_columns(run) == before
    manifest = manifest_of(run)
    assert (manifest["kept"], manifest["gates"]["min_words"]) == (12, 10)
    assert yaml.safe_load((run / "config.yaml").read_text())["gates"]["min_words"] == 10
    assert "| too_short | 13 |" in (run / "README.md").read_text()
    assert re.search(r"kept +25 -> +12 +\(-13\)", capsys.readouterr().out)
    assert verify(run).problems == []


def test_a_dry_run_tells_the_same_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path, CAPTIONS)
    before = contents(run)
    gates = Gates(min_words=10)
    regate(run, gates, dry_run=True)
    told = capsys.readouterr().out
    assert contents(run) == before
    regate(run, gates)
    comparison = [line for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert all(line in told for line in comparison)


def test_the_way_there_does_not_show_in_the_bytes(tmp_path: Path) -> None:
    direct = finished_run(tmp_path / "a", CAPTIONS, Gates(min_words=10))
    changed = finished_run(tmp_path / "b", CAPTIONS)
    regate(changed, Gates(min_words=10))
    for path in sorted((direct / "data").iterdir()):
        assert path.read_bytes() == (changed / "data" / path.name).read_bytes()
    again = contents(changed)["shards/00000.parquet"]
    inode = (changed / "shards" / "00000.parquet").stat().st_ino
    regate(changed, Gates(min_words=10))
    assert contents(changed)["shards/00000.parquet"] == again
    assert (changed / "shards" / "00000.parquet").stat().st_ino == inode  # was right already, not written again


@pytest.mark.parametrize("failing", ["write_shard", "write_json"])
def test_a_killed_regate_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    run = finished_run(tmp_path, CAPTIONS)
    with monkeypatch.context() as patch:
        from llm4gen_data.recaption import shards

        original, calls = getattr(shards, failing), []

        def die_at_second(path: Path, *args: Any) -> None:
            calls.append(path)
            if len(calls) == 2:
                raise KeyboardInterrupt
            original(path, *args)

        patch.setattr(shards, failing, die_at_second)
        with pytest.raises(KeyboardInterrupt):
            regate(run, Gates(min_words=10))
    assert not (run / "manifest.json").exists()
    # back to the first gates: also the shard whose marker is older than its rows
    regate(run, Gates())
    assert verify(run).problems == []
    assert manifest_of(run)["kept"] == 25
    regate(run, new_gates(run, None, ["gates.min_words=10"]))
    assert verify(run).problems == []
    assert manifest_of(run)["kept"] == 12


def test_duplicates_are_told_loudly_and_found_over_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = [f"A red ball number {i} lies on the grass" if i % 2 else "A grey square." for i in range(50)]
    run = finished_run(tmp_path, captions)
    reasons = pq.read_table(run / "data")["reject_reasons"].to_pylist()
    assert [row == ["duplicate"] for row in reasons] == [i % 2 == 0 for i in range(50)]
    assert manifest_of(run)["duplicates"] == {"A grey square.": 25}
    assert "Duplicate alarm: 1 captions make up 25" in (run / "README.md").read_text()
    assert "DUPLICATE ALARM" in verdicts_summary(run)
    regate(run, Gates(min_duplicates=30))
    assert manifest_of(run)["kept"] == 50
    regate(run, Gates())
    assert manifest_of(run)["kept"] == 25
    assert capsys.readouterr().out.count("DUPLICATE ALARM") == 1


def verdicts_summary(run: Path) -> str:
    from llm4gen_data.recaption.publish import summary

    return summary(run)


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        regate(tmp_path, Gates())
    run = finished_run(tmp_path, CAPTIONS)
    (run / "shards" / "00001.json").unlink()
    with pytest.raises(UserError, match="is not complete"):
        regate(run, Gates())


def test_only_gates_can_be_changed(tmp_path: Path) -> None:
    run = finished_run(tmp_path, CAPTIONS)
    with pytest.raises(UsageError, match="regate changes gates only; shard_rows"):
        new_gates(run, None, ["shard_rows=7"])
    with pytest.raises(UsageError, match="min_word"):
        new_gates(run, None, ["gates.min_word=7"])
    file = tmp_path / "gates.yaml"
    file.write_text("gates:\n  language: null\n")
    assert new_gates(run, file, ["gates.min_words=5"]) == Gates(min_words=5, language=None)


def test_similarities_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    asked = []

    def of_rows(self: object, table: pa.Table) -> pa.Array:
        asked.append(table.num_rows)
        return pa.array([0.1 * (i % 5) for i in range(table.num_rows)], pa.float32())

    monkeypatch.setattr("llm4gen_data.recaption.similarity.Similarity.of_rows", of_rows)
    run = finished_run(tmp_path, CAPTIONS)
    gates = Gates(similarity_model="clip-mini", min_similarity=0.15)
    regate(run, gates)
    assert asked == [10, 10, 6]
    table = pq.read_table(run / "data")
    assert table["reject_reasons"].to_pylist()[:3] == [["low_similarity"], ["low_similarity"], []]
    regate(run, Gates(similarity_model="clip-mini", min_similarity=0.35))
    assert asked == [10, 10, 6]
    assert manifest_of(run)["similarity"]["model"]["model"] == "clip-mini"
    assert "Image-text similarity by clip-mini" in (run / "README.md").read_text()
    regate(run, Gates())
    assert verdicts.SIMILARITY_COLUMN not in pq.read_table(run / "data").column_names
