from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from accelerate import tracking as trackers
from accelerate.tracking import GeneralTracker, on_main_process
from accelerate.utils import LoggerType

from llm4gen_data.errors import UsageError, UserError
from llm4gen_model.training import run
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.tracking import require_trackers


class Notebook(GeneralTracker):  # type: ignore[misc]
    """A tracker that keeps all it is told."""

    name = "trackio"
    requires_logging_directory = False
    kept: list[tuple[str, Any]]

    def __init__(self, run_name: str, **options: Any) -> None:
        super().__init__()
        Notebook.kept = [("begin", (run_name, options))]

    @property
    def tracker(self) -> list[tuple[str, Any]]:
        return Notebook.kept

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        Notebook.kept.append(("config", values))

    @on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: dict[str, Any], step: int | None, **_: Any) -> None:
        Notebook.kept.append(("log", (step, sorted(values))))

    def log_images(self, values: dict[str, Any], step: int | None) -> None:
        Notebook.kept.append(("images", (step, {name: np.shape(images) for name, images in values.items()})))

    def finish(self) -> None:
        Notebook.kept.append(("finish", None))


def test_a_tracker_is_told_all_that_is_logged(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "trackio", Notebook)
    monkeypatch.setattr(trackers, "_available_trackers", [LoggerType.TRACKIO])
    options: dict[str, Any] = {"trackio": {"space_id": "lab/runs"}}
    run.train(
        replace(config, report_to=("trackio",), tracker_options=options, validation_share=0.4, train_batch_size=2)
    )
    kept = Notebook.kept
    assert kept[0] == ("begin", ("llm4gen", {"name": "out", "space_id": "lab/runs"}))
    settings = dict(kept)["config"]
    assert settings["cam.num_heads"] == 4
    assert all(isinstance(value, bool | int | float | str) for value in settings.values())
    logged = [what for kind, what in kept if kind == "log"]
    assert [step for step, names in logged if "loss" in names] == [3, 6, 8]
    assert [step for step, names in logged if names == ["val_loss"]] == [5, 8]
    images = [what for kind, what in kept if kind == "images"]
    assert [step for step, _ in images] == [5, 8]
    assert len(images[0][1]["samples"]) == 4
    assert kept[-1] == ("finish", None)


def test_a_tracker_that_cannot_be_had_is_one_clear_error(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown tracker 'tensorbored'; known are .*tensorboard"):
        require_trackers(["tensorbored"])
    monkeypatch.setattr(trackers, "_available_trackers", [])
    with pytest.raises(UserError, match="trackio is not installed: pip install trackio"):
        run.train(replace(config, report_to=("trackio",)))
    assert not config.out.exists()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no API key\nconfigured")

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "trackio", broken)
    broken.requires_logging_directory = False  # type: ignore[attr-defined]
    monkeypatch.setattr(trackers, "_available_trackers", [LoggerType.TRACKIO])
    with pytest.raises(UserError, match=r"trackio could not be started \(no API key configured\)"):
        run.train(replace(config, report_to=("trackio",)))
