import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.runs import atomic_path, diff, fingerprint_hash, open_run, read_json, write_json, write_text


def _write_half(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})
    with pytest.raises(RuntimeError, match="killed"):
        _write_half(path)
    assert read_json(path) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nothing_becomes_visible_when_the_disk_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for text in ("{", "[" * 200_000, ""):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match=r"a\.json: cannot be read as JSON"):
            read_json(tmp_path / "a.json")


def test_the_same_fingerprint_resumes_another_is_refused_with_a_diff(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for _ in range(2):
        with open_run(out, "recaption", {"workers": 1}, {"model": {"sha256": "a"}, "max_pixels": 5}):
            pass
    with (
        pytest.raises(UserError, match=r"max_pixels: 5 -> 6; model\.sha256: \"a\" -> \"b\""),
        open_run(out, "recaption", {}, {"model": {"sha256": "b"}, "max_pixels": 6}),
    ):
        pass
    with (
        pytest.raises(UserError, match=r"is a run of 'recaption', expected a new folder or a run of 'train'"),
        open_run(out, "train", {}, {"max_pixels": 5}),
    ):
        pass


def test_a_folder_with_other_things_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds files but no run"), open_run(tmp_path, "recaption", {}, {}):
        pass
    with pytest.raises(UserError, match="is a file"), open_run(tmp_path / "thesis.tex", "recaption", {}, {}):
        pass
    below = tmp_path / "thesis.tex" / "run"
    with pytest.raises(UserError, match="cannot be written to"), open_run(below, "recaption", {}, {}):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def _try_to_open(out: Path, queue: "multiprocessing.Queue[str]") -> None:
    try:
        with open_run(out, "recaption", {}, {}):
            queue.put("opened")
    except UserError as error:
        queue.put(str(error))


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    with open_run(tmp_path / "run", "recaption", {}, {}):
        process = context.Process(target=_try_to_open, args=(tmp_path / "run", queue))
        process.start()
        assert "another process is working" in queue.get(timeout=30)
        process.join()


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with open_run(out, "recaption", {}, {}):
        (out / "shards").mkdir()
        (out / "shards" / ".tmp-abc-00000.parquet").write_bytes(b"half")
    with open_run(out, "recaption", {}, {}):
        assert list((out / "shards").iterdir()) == []


def test_fingerprints_do_not_depend_on_key_order() -> None:
    assert fingerprint_hash({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert diff({"a": 1}, {"a": 1}) == []
    assert diff({"a": 1}, {"b": 1}) == ["a: 1 -> null", "b: null -> 1"]
