"""What is done, what is left, and how long it takes: by the times of the jobs that have run, else by the preset."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from llm4gen_data.runs import read_json, write_json
from pipelines.reproduce.plan import Job

# Seconds on one core, but for `recaption`, which takes all; see docs/reproduce.md. A preset's own `costs` win.
COSTS = {
    "start": 3.0,
    "pairs": 0.005,
    "recaption": 0.03,
    "train": 0.40,
    "generate": 0.17,
    "score": 0.20,
    "twins": 0.05,
    "probe": 0.08,
    "cache": 0.08,
    "cache.none": 0.004,
    "cache.clip": 0.006,
    "cache.scene-graph": 0.007,
    "cache.smollm2": 0.5,
}


def is_done(job: Job, out: Path) -> bool:
    """Whether this very command has ended well and what it made is still there."""
    marker = _marker(job, out)
    if not (marker.is_file() and job.out.exists()):
        return False
    told = read_json(marker)
    return told["finished_at"] is not None and told["words"] == list(job.words)


def mark(job: Job, out: Path, seconds: float, *, finished: bool) -> None:
    """Note that a job has ended, or stopped on the way, after so many seconds more."""
    finished_at = datetime.now(UTC).isoformat(timespec="seconds") if finished else None
    seconds = round(seconds + _spent(job, out), 1)
    told = {"rate": job.rate, "units": job.units, "seconds": seconds, "finished_at": finished_at}
    write_json(_marker(job, out), {"job": job.name, **told, "commit": commit(), "words": list(job.words)})


def log_of(job: Job, out: Path) -> Path:
    """What the job has said, in all its starts."""
    return _marker(job, out).with_suffix(".log")


def markers(out: Path) -> list[dict[str, Any]]:
    """What is noted of the jobs that have ended, in the order of their end."""
    told = [read_json(path) for path in (out / "jobs").glob("*.json")]
    return sorted((one for one in told if one["finished_at"] is not None), key=lambda one: one["finished_at"])


def seconds_of(jobs: Sequence[Job], out: Path, costs: Mapping[str, float]) -> list[float]:
    """How long each job takes from here: its start, and so much a unit as jobs of its kind took that have run."""
    known = COSTS | dict(costs)
    measured: dict[str, list[float]] = {}
    for told in markers(out):
        each = max(told["seconds"] - known["start"], 0.0) / told["units"]
        for rate in (told["rate"], told["rate"].partition(".")[0]):
            measured.setdefault(rate, []).append(each)
    whole = [known["start"] + job.units * _rate(job.rate, measured, known) for job in jobs]
    return [max(seconds - _spent(job, out), known["start"]) for job, seconds in zip(jobs, whole, strict=True)]


@cache
def commit() -> str | None:
    """The commit that this code stands at, `-dirty` if it was changed since; None where there is no git."""
    line = ("git", "describe", "--always", "--dirty", "--exclude", "*")
    try:
        found = subprocess.run(line, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _spent(job: Job, out: Path) -> float:
    """The seconds of earlier starts of a job that has not ended yet."""
    marker = _marker(job, out)
    told = read_json(marker) if marker.is_file() else None
    same = told is not None and told["finished_at"] is None and told["words"] == list(job.words)
    return float(told["seconds"]) if told is not None and same else 0.0


def _rate(rate: str, measured: Mapping[str, Sequence[float]], known: Mapping[str, float]) -> float:
    """Of this arm if it was timed or is in the costs, else of its kind."""
    kind = rate.partition(".")[0]
    if rate in measured:
        return median(measured[rate])
    return known[rate] if rate in known else median(measured.get(kind, [known[kind]]))


def _marker(job: Job, out: Path) -> Path:
    return out / "jobs" / (job.name.replace("/", "--") + ".json")


def duration(seconds: float) -> str:
    """ "2 h 05 min", "7 min", "40 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
