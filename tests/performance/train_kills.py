"""Twenty kills of a training: `python -m tests.performance.train_kills [--kills 20]`.

`llm4gen-model train` on the mini family, killed with -9 at random moments and started again, against a run that
nobody disturbed: weights and logged losses must be equal to the bit.
"""

import json
import tempfile
from pathlib import Path

import click

from tests.commands import run
from tests.integration.test_training import N_PAIRS, N_STEPS, kill_and_resume, weights


@click.command(help=__doc__)
@click.option("--kills", default=20, show_default=True)
def main(kills: int) -> None:
    """Print where it was killed and whether a bit differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = run("python", "-m", "pipelines.mini.pairs", "--n", N_PAIRS, "--out", folder / "pairs")
        assert made.returncode == 0, made.stderr
        whole, killed, moments = kill_and_resume(folder / "pairs", folder, kills)
        losses = [[json.loads(line)["loss"] for line in (out / "metrics.jsonl").open()] for out in (whole, killed)]
        equal = weights(whole) == weights(killed) and losses[0] == losses[1]
        print(f"killed {len(moments)} times, at {', '.join(f'{moment:.1f}' for moment in moments)} of {N_STEPS} steps")
        print("weights and losses equal to the bit" if equal else "DIFFERENT")


if __name__ == "__main__":
    main()
