"""Carry out the jobs of a plan, several at once; output goes to their logs, the terminal sees them begin and end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import click

from llm4gen_data.errors import UserError
from pipelines.reproduce import commands
from pipelines.reproduce.plan import Job
from pipelines.reproduce.progress import duration, is_done, log_of, mark, seconds_of
from pipelines.reproduce.schedule import needs, next_job, seconds_side_by_side

STOP_WAIT_S = 60  # for a step, and for its checkpoint


class TimeIsUp(Exception):
    """What may run in this portion has run."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many jobs run at once, and until when (of `time.monotonic`); `costs` as in the preset."""

    n_jobs: int
    costs: Mapping[str, float]
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A job under way."""

    job: Job
    process: BaseProcess
    began: float

    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.began


def carry_out(jobs: Sequence[Job], later: Sequence[Job], out: Path, pace: Pace) -> None:
    """Run the jobs that are not done, each after those it needs; `later` are those that follow, for the time left.

    What ends it early (Ctrl-C, a job that fails, the deadline) has the others stop in order; they go on next time.
    Raises UserError for a job that failed, TimeIsUp at the deadline.
    """
    (out / "jobs").mkdir(exist_ok=True)
    jobs = list({job.name: job for job in jobs}.values())
    needed = needs(jobs)
    waiting = [job for job in jobs if not is_done(job, out)]
    n_done = len(jobs) - len(waiting)
    n_all = len({job.name for job in (*jobs, *later)})
    running: dict[int, Running] = {}

    def tell(what: str) -> None:
        left = duration(seconds_left(waiting, later, running.values(), out, pace))
        click.echo(f"[{n_done} of {n_all} done, about {left} left] {what}")

    try:
        while waiting or running:
            left_s = None if pace.deadline is None else pace.deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeIsUp
            while job := next_job(waiting, needed, [each.job for each in running.values()], pace.n_jobs):
                waiting.remove(job)
                process = commands.start(job.words, log_of(job, out))
                running[process.sentinel] = Running(job, process, time.monotonic())
                tell(f"{job.name} begins")
            ready = wait(list(running), left_s)
            for sentinel in [each for each in running if each in ready]:
                ended = running.pop(sentinel)
                _settle(ended, out)
                n_done += 1
                tell(f"{ended.job.name} took {duration(ended.seconds())}")
    finally:
        _stop(list(running.values()), out)


def seconds_left(
    waiting: Sequence[Job], later: Sequence[Job], running: Collection[Running], out: Path, pace: Pace
) -> float:
    """Until the last of them is done: those waiting and under way, then those that follow and are not among them."""
    begun = [each.job for each in running]
    known = {job.name for job in (*waiting, *begun)}
    later = [job for job in later if job.name not in known and not is_done(job, out)]
    jobs = [*waiting, *begun, *later]
    cost = dict(zip((job.name for job in jobs), seconds_of(jobs, out, pace.costs), strict=True))
    under_way = {each.job: max(cost[each.job.name] - each.seconds(), 0.0) for each in running}
    first = seconds_side_by_side(waiting, cost, pace.n_jobs, under_way)
    return first + seconds_side_by_side(later, cost, pace.n_jobs)


def tell_what_is_left(first: Sequence[Job], later: Sequence[Job], out: Path, pace: Pace) -> None:
    """How many jobs are done, how many left, and how long these take."""
    done = {job.name: is_done(job, out) for job in (*first, *later)}
    n_done, left = sum(done.values()), [job for job in first if not done[job.name]]
    time_left = duration(seconds_left(left, later, [], out, pace))
    n_left = len(done) - n_done
    click.echo(f"{len(done)} jobs, {n_done} done, {n_left} left: about {time_left} with {pace.n_jobs} at once")


def _settle(ended: Running, out: Path) -> None:
    """Note how a job ended, and how long it took. Raises UserError if it failed."""
    ended.process.join()
    code = ended.process.exitcode or 0
    mark(ended.job, out, ended.seconds(), finished=code == 0)
    if code != 0:
        log = log_of(ended.job, out)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        said = next((f" ({line})" for line in reversed(lines) if line.startswith("Error: ")), "")
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise UserError(f"{ended.job.name} {how}{said}; see {log}, and the same command goes on from here")


def _stop(running: Sequence[Running], out: Path) -> None:
    """Ask all to end where they can go on from, and wait for that; after STOP_WAIT_S they are killed."""
    try:
        for each in running:
            if each.process.pid is not None and each.process.is_alive():
                os.kill(each.process.pid, signal.SIGTERM)
        end = time.monotonic() + STOP_WAIT_S
        for each in running:
            each.process.join(max(end - time.monotonic(), 0.0))
    finally:  # also at a second Ctrl-C
        for each in running:
            if each.process.pid is not None and each.process.is_alive():
                os.killpg(each.process.pid, signal.SIGKILL)
                each.process.join()
            mark(each.job, out, each.seconds(), finished=each.process.exitcode == 0)
