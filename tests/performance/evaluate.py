"""All that the evaluator must show: `python -m tests.performance.evaluate [PART ...]`.

Each part is a program of its own and runs in its own process; its module says what it measures. Ends with exit code 1
where one of them fell short.
"""

import subprocess
import sys

import click

PARTS = {
    "blip": "tests.performance.evaluate_blip",
    "clip": "tests.performance.evaluate_clip",
    "interrupts": "tests.performance.evaluate_interrupts",
    "coverage": "tests.performance.coverage",
}


@click.command(help=__doc__)
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
def main(parts: tuple[str, ...]) -> None:
    short = []
    for part in parts or PARTS:
        print(f"== {part}: python -m {PARTS[part]}", flush=True)
        if subprocess.run([sys.executable, "-m", PARTS[part]], check=False).returncode != 0:
            short.append(part)
    print(f"fell short: {', '.join(short)}" if short else "all parts reached what they must")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
