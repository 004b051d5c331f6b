"""Kill -9 and see what is lost: `python -m tests.performance.chaos [--kills 50] [--vllm-kills 5] [--ray-kills 2]`.

Whole processes are killed with the dummy captioner and with vlm-mini in vLLM, each some time after the first line
that its start wrote to a journal, and started again; Ray workers are killed beneath a run that has to go on by
itself. Then `verify` has to find every row exactly once, and the bytes have to equal those of an undisturbed run.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pyarrow.parquet as pq

from tests.captioners import PYTHONPATH
from tests.commands import run, start
from tests.factories import image_parquet
from tests.kills import output_bytes, ray_workers, run_under_kills, wait_for_progress

os.environ["PYTHONPATH"] = PYTHONPATH
RECAPTION = ("llm4gen-data", "recaption")
COUNTING = ("--captioner", "tests.captioners:Counting")
N_ROWS = 20_000
N_SCENES = 400
VLLM_KILL_WINDOW_S = 3.0
RAY_KILL_WINDOW_S = 2.0


def chaos(
    name: str, arguments: tuple[object, ...], folder: Path, n_kills: int, window_s: float, **environment: str
) -> None:
    """Kill a run `n_kills` times, let it end, compare it with one that was left alone; print what was lost."""
    counts = {which: folder / f"{which}.count" for which in ("undisturbed", "killed")}
    for path in counts.values():
        path.touch()
    _checked(*arguments, "--out", folder / "undisturbed", CAPTIONED=str(counts["undisturbed"]))
    moment, kills, n_runs = random.Random(0), 0, 0
    while kills < n_kills:
        # a run may be complete before the last kill; then another begins
        n_runs += 1
        out = folder / f"killed-{n_runs}"
        begin = partial(start, *arguments, "--out", out, CAPTIONED=str(counts["killed"]), **environment)
        kills += run_under_kills(begin, out, n_kills - kills, moment, window_s)
        _checked(*arguments, "--out", out, CAPTIONED=str(counts["killed"]))
        _compare(f"{name}: {kills} kills", out, folder / "undisturbed")
    if n_asked := counts["undisturbed"].stat().st_size:
        again = counts["killed"].stat().st_size - n_runs * n_asked
        print(f"  {again:,} rows captioned again, {again / kills:.1f} a kill", flush=True)


def ray_chaos(name: str, arguments: tuple[object, ...], folder: Path, n_kills: int, **environment: str) -> None:
    """Kill workers of one Ray run, which has to end well by itself."""
    ray = ("--runner", "ray", "--n-workers", "2")
    _checked(*arguments, "--out", folder / "undisturbed")
    moment, kills, out = random.Random(0), 0, folder / "killed"
    process = start(*arguments, *ray, "--out", out, **environment)
    while kills < n_kills and wait_for_progress(process, out):
        time.sleep(moment.uniform(0, RAY_KILL_WINDOW_S))
        os.kill(moment.choice(ray_workers(process.pid)).pid, signal.SIGKILL)
        kills += 1
    _, errors = process.communicate()
    if process.returncode or kills < n_kills:
        raise RuntimeError(f"{name}: {kills} kills, exit code {process.returncode}: {errors[-2000:]}")
    _compare(f"{name}: {kills} workers killed", out, folder / "undisturbed")


def _checked(*arguments: object, **environment: str) -> str:
    result = run(*arguments, timeout_s=3600, **environment)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {result.stderr[-2000:]}")
    return result.stdout


def _compare(what: str, out: Path, undisturbed: Path) -> None:
    whole = _checked("llm4gen-data", "verify", out).strip()
    if output_bytes(out) == output_bytes(undisturbed):
        same = "bytes equal"
    else:
        ours, theirs = (pq.read_table(run / "data", columns=["caption_raw"]).column(0) for run in (out, undisturbed))
        n = sum(a == b for a, b in zip(ours.to_pylist(), theirs.to_pylist(), strict=True))
        same = f"{n:,} of {len(ours):,} captions equal"
    print(f"{what}: {whole}; {same}", flush=True)


def _scenes(folder: Path, n: int) -> Path:
    _checked("llm4gen-data", "scenes", "--n", n, "--out", folder)
    return folder


@click.command(help=__doc__)
@click.option("--kills", default=50, show_default=True, help="Of processes with the dummy captioner.")
@click.option("--vllm-kills", default=5, show_default=True, help="Of processes with vlm-mini in vLLM.")
@click.option("--ray-kills", default=2, show_default=True, help="Of Ray workers, with the dummy captioner.")
@click.option("--ray-vllm-kills", default=2, show_default=True, help="Of Ray workers with vlm-mini in vLLM.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work; a temporary folder otherwise.")
def main(kills: int, vllm_kills: int, ray_kills: int, ray_vllm_kills: int, folder: Path | None) -> None:
    """One after the other, each in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        dummy: tuple[object, ...] = (
            *RECAPTION,
            image_parquet(scratch / "in.parquet", N_ROWS),
            *COUNTING,
            *("--set", "shard_rows=500"),
        )
        parts: list[tuple[int, Callable[[int, Path], None]]] = [
            (kills, lambda n, into: chaos("dummy", dummy, into, n, 0.4, LLM4GEN_DUMMY_DELAY_S="0.02")),
            (ray_kills, lambda n, into: ray_chaos("ray, dummy", dummy, into, n, LLM4GEN_DUMMY_DELAY_S="0.02")),
        ]
        if vllm_kills or ray_vllm_kills:
            scenes = _scenes(scratch / "scenes", N_SCENES)
            vllm = (*RECAPTION, scenes, "--set", "shard_rows=50")
            parts += [
                (vllm_kills, lambda n, into: chaos("vllm", vllm, into, n, VLLM_KILL_WINDOW_S)),
                (ray_vllm_kills, lambda n, into: ray_chaos("ray, vllm", vllm, into, n)),
            ]
        for number, (n_kills, part) in enumerate(parts):
            if n_kills:
                (scratch / str(number)).mkdir()
                part(n_kills, scratch / str(number))


if __name__ == "__main__":
    main()
