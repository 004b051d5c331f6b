from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

from llm4gen_data.download.process import img2dataset_process, last_words, require_img2dataset
from llm4gen_data.errors import UserError


def test_a_missing_img2dataset_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"download needs the package 'img2dataset': pip install 'llm4gen\[download\]'"
    ):
        require_img2dataset()


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "Starting\n0it [00:00, ?it/s]\nOSError: [Errno 28] No space left\n1it [00:01, 1.1it/s]\n",
            "OSError: [Errno 28] No",
        ),
        ("Starting\rhalf\rdone\n", "done"),
        ("", "nothing in its log"),
    ],
)
def test_the_last_words_are_the_last_error_or_the_last_line(tmp_path: Path, log: str, words: str) -> None:
    path = tmp_path / "img2dataset.log"
    path.write_text(log)
    assert last_words(path).startswith(words)


def test_a_log_that_is_not_there_has_no_words(tmp_path: Path) -> None:
    assert last_words(tmp_path / "img2dataset.log") == "nothing in its log"


def test_a_process_that_fails_leaves_its_reason_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "img2dataset.log"
    with img2dataset_process(tmp_path / "no-request.json", log) as process:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    assert process.returncode == 1
    assert "no-request.json" in last_words(log)
