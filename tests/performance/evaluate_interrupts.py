"""Interrupted evaluation: `python -m tests.performance.evaluate_interrupts [--n 24000] [--kills 10]`.

Pictures of scenes by the model `true` (what was asked) and `shifted` (what the next prompt asks), scored by
`llm4gen-bench run` with the bundled metrics, killed with -9 at moments spread over the run and started again. Scores,
numbers and tables must be those of a run that nobody disturbed.
"""

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import click

from llm4gen_data.runs import read_json, sha256_file
from tests.commands import run, start
from tests.unit.benchmarks.factories import scene_manifest

COMPARED = ("scores.parquet", "results.json", "tables/scores.csv", "tables/comparison.csv", "report.html")
JOURNAL = "scores-*.jsonl"
METRICS = "clip_score,clip_score.chunk_min,scene_reader"


@click.command(help=__doc__)
@click.option("--n", default=24_000, show_default=True, help="Images, half of them of each model.")
@click.option("--kills", default=10, show_default=True)
@click.option("--processes", default=1, show_default=True)
@click.option("--metrics", default=METRICS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep everything here.  [default: a temporary folder]")
def main(n: int, kills: int, processes: int, metrics: str, out: Path | None) -> None:
    """Print when it was killed, how long it took and whether anything differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = out or Path(name)
        images = folder / "images"
        if not images.exists():
            scene_manifest(images, n // 2)
        same = ("--suite", "scenes", "--images", images, "--metrics", metrics, "--set", "clip_score.model=clip-mini")
        settings = ("--set", f"processes={processes}", "--set", "batch_size=32", "--set", "n_resamples=1000")
        line = ("llm4gen-bench", "run", *same, *settings, "--out")
        begun = time.perf_counter()
        whole = run(*line, folder / "whole", timeout_s=24 * 3600)
        assert whole.returncode == 0, whole.stderr
        whole_s = time.perf_counter() - begun
        moments = interrupted(line, folder / "killed", journal_bytes(folder / "whole"), kills)
        differing = [name for name in COMPARED if not same_file(folder / "whole" / name, folder / "killed" / name)]
        print(f"{read_json(folder / 'whole' / 'results.json')['n_images']} images by {metrics}: {whole_s:.0f} s")
        print(f"killed {len(moments)} times, with {', '.join(map(str, moments))} images scored")
        print(f"DIFFERENT: {', '.join(differing)}" if differing else f"equal to the byte: {', '.join(COMPARED)}")
        assert not differing
        assert len(moments) == kills


def interrupted(line: tuple[object, ...], out: Path, n_bytes: int, kills: int) -> list[int]:
    """Run to the end, killed `kills` times before the journal has `n_bytes`; how many images had scores each time."""
    random.seed(0)
    moments = []
    for target in sorted(random.sample(range(1, n_bytes * 9 // 10), kills)):
        process = start(*line, out)
        while process.poll() is None:
            if journal_bytes(out) >= target:
                os.killpg(process.pid, signal.SIGKILL)
                moments.append(sum(path.read_bytes().count(b"\n") for path in out.glob(JOURNAL)))
                break
            time.sleep(0.02)
        process.communicate()
    done = run(*line, out, timeout_s=24 * 3600)
    assert done.returncode == 0, done.stderr
    return moments


def journal_bytes(out: Path) -> int:
    """How much is scored."""
    return sum(path.stat().st_size for path in out.glob(JOURNAL))


def same_file(one: Path, other: Path) -> bool:
    """Whether the bytes are equal."""
    return sha256_file(one) == sha256_file(other)


if __name__ == "__main__":
    main()
