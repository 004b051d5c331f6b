"""Jobs of a plan that take no time."""

from pathlib import Path

from pipelines.reproduce.plan import Job


def toy_job(folder: Path, name: str, code: str = "", reads: Job | None = None, n_processes: int = 1) -> Job:
    """Python `code`, which finds in sys.argv what it makes, and after that what it reads."""
    makes = folder / name
    words = ("python", "-c", code, str(makes), *([str(reads.makes)] if reads else []))
    return Job(name, words, makes, makes, f"train.{name}", 1, n_processes)
