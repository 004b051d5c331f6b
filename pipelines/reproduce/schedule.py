"""Which command may run next, and how long all take with several side by side."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath

from pipelines.reproduce.plan import Job


def needs(jobs: Sequence[Job]) -> dict[str, set[str]]:
    """For each job the earlier ones that make what its words name: what it reads, or the folder it writes into too."""
    makers: dict[str, set[str]] = {}
    found = {}
    for job in jobs:
        named = [PurePath(word.removeprefix("model:")) for word in job.words if "/" in word]
        folders = {str(folder) for path in named for folder in (path, *path.parents)}
        found[job.name] = set().union(*(makers[folder] for folder in folders & makers.keys()))
        makers.setdefault(str(job.makes), set()).add(job.name)
    return found


def next_job(
    waiting: Sequence[Job], needed: Mapping[str, Collection[str]], under_way: Collection[Job], n_jobs: int
) -> Job | None:
    """The first that waits for no other and for whose processes there is room beside those under way."""
    room = n_jobs - sum(processes(job, n_jobs) for job in under_way)
    undone = {job.name for job in (*waiting, *under_way)}
    free = (job for job in waiting if undone.isdisjoint(needed[job.name]) and processes(job, n_jobs) <= room)
    return next(free, None)


def processes(job: Job, n_jobs: int) -> int:
    """How many of the commands side by side the job stands for."""
    return min(job.n_processes, n_jobs)


def seconds_side_by_side(
    waiting: Sequence[Job], seconds: Mapping[str, float], n_jobs: int, under_way: Mapping[Job, float] | None = None
) -> float:
    """How long until the last is done, of those waiting and those under way with so many seconds to go."""
    needed, waiting = needs((*(under_way or {}), *waiting)), list(waiting)
    now, working = 0.0, dict(under_way or {})
    ends = [(end, job.name, job) for job, end in working.items()]
    heapq.heapify(ends)
    while waiting or ends:
        while job := next_job(waiting, needed, working, n_jobs):
            waiting.remove(job)
            working[job] = now + seconds[job.name]
            heapq.heappush(ends, (working[job], job.name, job))
        now, _, ended = heapq.heappop(ends)
        del working[ended]
    return now
