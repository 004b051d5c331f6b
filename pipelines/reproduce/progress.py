"""What is done, what is left, and how long it takes: by the times of the jobs that have run, else by the preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from llm4gen_data.runs import read_json, write_json
from pipelines.reproduce.plan import Job

# Seconds on two cores; measured in docs/reproduce.md. A preset's own `costs` win.
COSTS = {
    "start": 6.0,
    "pairs": 0.01,
    "recaption": 0.015,
    "train": 0.40,
    "generate": 0.25,
    "score": 0.13,
    "twins": 0.3,
    "probe": 0.06,
    "cache": 0.04,
    "cache.none": 0.01,
    "cache.smollm2": 0.3,
}


def is_done(job: Job, out: Path) -> bool:
    """Whether this very command has ended well and what it made is still there."""
    marker = _marker(job, out)
    return marker.is_file() and job.out.exists() and read_json(marker)["words"] == list(job.words)


def mark_done(job: Job, out: Path, seconds: float) -> None:
    """Note that a job has ended well, and how long it took."""
    marker = _marker(job, out)
    marker.parent.mkdir(parents=True, exist_ok=True)
    finished_at = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"rate": job.rate, "units": job.units, "seconds": round(seconds, 1), "finished_at": finished_at}
    write_json(marker, {"job": job.name, **told, "words": list(job.words)})


def markers(out: Path) -> list[dict[str, Any]]:
    """What is noted of the jobs that have run, in the order of their end."""
    return sorted((read_json(path) for path in (out / "jobs").glob("*.json")), key=lambda told: told["finished_at"])


def seconds_of(jobs: Sequence[Job], out: Path, costs: Mapping[str, float]) -> list[float]:
    """How long each job takes: its start, and so much a unit as jobs of its kind took that have run."""
    known = COSTS | dict(costs)
    measured: dict[str, list[float]] = {}
    for told in markers(out):
        each = max(told["seconds"] - known["start"], 0.0) / told["units"]
        for rate in (told["rate"], told["rate"].partition(".")[0]):
            measured.setdefault(rate, []).append(each)
    return [known["start"] + job.units * _rate(job.rate, measured, known) for job in jobs]


def _rate(rate: str, measured: Mapping[str, Sequence[float]], known: Mapping[str, float]) -> float:
    """Of this arm if it was timed or is in the costs, else of its kind."""
    kind = rate.partition(".")[0]
    if rate in measured:
        return median(measured[rate])
    return known[rate] if rate in known else median(measured.get(kind, [known[kind]]))


def _marker(job: Job, out: Path) -> Path:
    return out / "jobs" / f"{job.name.replace('/', '--')}.json"


def duration(seconds: float) -> str:
    """ "2 h 05 min", "7 min", "40 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
