from pathlib import Path

import pytest

from llm4gen_model.training.metrics import append_metrics, cut_metrics, mean_metrics, progress_words, read_metrics


def test_a_line_holds_means_and_counts() -> None:
    line = mean_metrics([(1.0, 3.0, 0.5), (2.0, 5.0, 1.5)], step=10, learning_rate=1e-4, batch_size=8, n_pairs=32)
    expected = {"step": 10, "loss": 1.5, "grad_norm": 4.0, "learning_rate": 1e-4, "images_per_s": 8.0}
    assert line == pytest.approx({**expected, "samples_seen": 80, "epoch": 2.5, **_memory(line)})
    assert progress_words({**line, "max_memory_gb": 71.26}) == {"loss": "1.5000", "images/s": "8", "GB": "71.3"}


def _memory(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name == "max_memory_gb"}


def test_what_a_killed_start_logged_is_forgotten(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert read_metrics(log) == []
    lines = [{"step": 0, "val_loss_base": 1.0}, {"step": 5, "loss": 0.5}, {"step": 5, "val_loss": 0.7}]
    for line in [*lines, {"step": 8, "loss": 0.4}]:
        append_metrics(log, line)
    with log.open("a") as file:
        file.write('{"step": 9, "lo')
    cut_metrics(log, 5)
    assert read_metrics(log) == lines
