"""Real processes, of commands that take no time."""

import os
import time
from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from pipelines.reproduce import commands
from pipelines.reproduce.progress import is_done, log_of, seconds_of
from pipelines.reproduce.side_by_side import Pace, TimeIsUp, carry_out
from tests.unit.pipelines.reproduce.toy_jobs import toy_job

WRITE = "import sys; from pathlib import Path; print('at work'); "
WRITE += "Path(sys.argv[1]).write_text('+'.join([*(Path(read).read_text() for read in sys.argv[2:]), 'x']))"
# Goes on until it is asked to stop, and then ends in order.
LONG = """
import signal, sys, time
from pathlib import Path
def stop(*_):
    Path(sys.argv[1] + "-saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
Path(sys.argv[1] + "-begun").touch()
time.sleep(60)
"""
FAIL = """
import sys, time
from pathlib import Path
while not Path(sys.argv[1]).with_name("long-begun").exists():
    time.sleep(0.01)
print("Error: no such colour", file=sys.stderr)
sys.exit(3)
"""
TWO = Pace(2, {})


@pytest.fixture(autouse=True)
def _without_long_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LONG_IMPORTS", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # put back afterwards
    commands.prepare(threads=1)


def test_each_runs_once_after_those_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, c = toy_job(tmp_path, "a", WRITE), toy_job(tmp_path, "c", WRITE)
    b = toy_job(tmp_path, "b", WRITE, reads=a)
    carry_out([a, b, c], [toy_job(tmp_path, "later")], tmp_path, TWO)
    assert (tmp_path / "b").read_text() == "x+x"
    assert all(is_done(job, tmp_path) for job in (a, b, c))
    assert "at work" in log_of(a, tmp_path).read_text()
    told = capsys.readouterr().out
    assert "at work" not in told
    assert told.index("c begins") < told.index("b begins")  # a is not done yet
    assert "[3 of 4 done, about " in told
    carry_out([a, b, c], [], tmp_path, TWO)
    assert capsys.readouterr().out == ""


def test_a_failure_stops_the_others_in_order(tmp_path: Path) -> None:
    long, bad = toy_job(tmp_path, "long", LONG), toy_job(tmp_path, "bad", FAIL)
    never = toy_job(tmp_path, "never", WRITE)
    with pytest.raises(UserError, match=r"bad failed with exit code 3 \(Error: no such colour\); see .*bad\.log"):
        carry_out([long, bad, never], [], tmp_path, TWO)
    assert (tmp_path / "long-saved").exists()
    assert not (tmp_path / "never").exists()
    assert not is_done(bad, tmp_path)


def test_what_is_under_way_at_the_deadline_is_stopped_in_order(tmp_path: Path) -> None:
    long = toy_job(tmp_path, "long", LONG)
    began = time.monotonic()
    with pytest.raises(TimeIsUp):
        carry_out([long], [], tmp_path, Pace(1, {}, deadline=began + 1.5))
    spent = read_json(tmp_path / "jobs" / "long.json")
    assert spent["finished_at"] is None
    assert spent["seconds"] > 0.5
    assert seconds_of([long], tmp_path, {"train": 100.0, "start": 0.0})[0] == pytest.approx(100 - spent["seconds"])
    assert time.monotonic() - began < 30
    assert os.environ["OMP_NUM_THREADS"] == "1"
