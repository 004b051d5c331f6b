"""`llm4gen-data scenes` and what reads its output."""

import signal
import time
from pathlib import Path

import pyarrow.parquet as pq

from tests.commands import assert_one_line, run, start

N = 120
COMMAND = ("llm4gen-data", "scenes", "--n", N, "--seed", 7)


def files(folder: Path) -> dict[str, bytes]:
    names = ("scenes.parquet", "laion.parquet", "images/000000007.png", "images/000000126.png")
    return {name: (folder / name).read_bytes() for name in names}


def test_equal_commands_give_equal_bytes_also_after_a_kill(tmp_path: Path) -> None:
    assert run(*COMMAND, "--out", tmp_path / "a").returncode == 0
    killed = start(*COMMAND, "--out", tmp_path / "b")
    while not any((tmp_path / "b").glob("images/*.png")):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "b" / "laion.parquet").exists()
    assert run(*COMMAND, "--out", tmp_path / "b").returncode == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(list((tmp_path / "b" / "images").iterdir())) == N
    assert_one_line(run("llm4gen-data", "scenes", "--n", 5, "--out", tmp_path / "a"), 1, f"n: {N} -> 5")


def test_laion_columns_and_the_way_through_recaption_and_stats(tmp_path: Path) -> None:
    assert run(*COMMAND, "--base-url", "http://127.0.0.1:1/", "--out", tmp_path / "scenes").returncode == 0
    laion = pq.read_table(tmp_path / "scenes" / "laion.parquet")
    assert {"URL", "TEXT", "WIDTH", "HEIGHT", "similarity", "punsafe", "pwatermark"} <= set(laion.column_names)
    assert laion["URL"][0].as_py() == "http://127.0.0.1:1/images/000000007.png"
    refined = tmp_path / "refined"
    result = run("llm4gen-data", "recaption", tmp_path / "scenes", "--captioner", "dummy", "--out", refined)
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(refined / "data").to_pylist()
    assert [row["alt_text"] for row in rows] == laion["TEXT"].to_pylist()
    stats = run("llm4gen-data", "stats", refined, "--scenes", tmp_path / "scenes" / "scenes.parquet")
    assert stats.returncode == 0, stats.stderr
    for kind in ("object", "color", "texture", "size", "relation"):
        assert f"\n{kind}" in stats.stdout
    assert len(list((refined / "stats").glob("*.png"))) == 5
    wrong = run("llm4gen-data", "stats", refined, "--scenes", tmp_path / "scenes" / "laion.parquet")
    assert_one_line(wrong, 1, "laion.parquet", "not the scenes.parquet")
