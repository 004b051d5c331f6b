"""How long `--help` takes, against a Python that does nothing: `python -m tests.performance.startup`."""

import statistics
import subprocess
import sys
import time

from tests.commands import BIN

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("llm4gen-data", "--help"),
    ("llm4gen-data", "recaption", "--help"),
    ("llm4gen-model", "--help"),
    ("llm4gen-bench", "--help"),
)
N_ROUNDS = 15


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Interleaved rounds, medians in milliseconds, the ratio to `python -c pass`."""
    lines: dict[tuple[str, ...], list[str]] = {("python", "-c", "pass"): [sys.executable, "-c", "pass"]}
    lines |= {command: [str(BIN / command[0]), *command[1:]] for command in COMMANDS}
    taken: dict[tuple[str, ...], list[float]] = {name: [] for name in lines}
    for _ in range(N_ROUNDS):
        for name, line in lines.items():
            taken[name].append(seconds(line))
    bound = statistics.median(taken["python", "-c", "pass"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{' '.join(name):32s} {1000 * median:6.0f} ms   {median / bound:4.1f} x bare Python")


if __name__ == "__main__":
    main()
