import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL.Image import Image

from benchmarks.calibration.cli import calibrate
from benchmarks.calibration.figure import write_figure
from benchmarks.records import Score
from llm4gen_data.errors import UsageError
from llm4gen_data.records import Prompt
from llm4gen_data.runs import read_json
from tests.unit.benchmarks.fake_metric import Brightness

METRIC = "tests.unit.benchmarks.fake_metric:Brightness"
FAVOURITE = f"{__name__}:Favourite=red"


class Favourite(Brightness):
    """Likes a colour."""

    def __init__(self, model: str) -> None:
        self.channel = ("red", "green", "blue").index(model)

    def score(self, images: Sequence[Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [[Score("mean", float(np.asarray(image)[..., self.channel].mean()))] for image in images]


def call(*line: object) -> Result:
    return CliRunner().invoke(calibrate, [str(part) for part in line], catch_exceptions=False)


def test_one_command_gives_tables_and_figure_of_all_metrics_and_lengths(tmp_path: Path) -> None:
    line = ["--metric", FAVOURITE, "--metric", METRIC, "--length", "short", "--length", "medium", "--n", 1]
    out, figure = tmp_path / "new" / "calibration.json", tmp_path / "figure.svg"
    result = call(*line, "--set", "n_resamples=200", "--out", out, "--figure", figure)
    assert result.exit_code == 0, result.output
    written = read_json(out)["calibrations"]
    assert [(each["metric"], each["length"]) for each in written] == [
        (name, length) for name in (FAVOURITE, METRIC) for length in ("short", "medium")
    ]
    assert {row["right_picture"]["mean"] for row in written[0]["skills"]} == {0.5}
    assert "right picture, side by side" in result.output
    assert "attributes by number of objects" in result.output
    assert "| Brightness, medium prompts " in result.output
    drawn = figure.read_bytes()
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    write_figure(figure, written)
    assert figure.read_bytes() == drawn


def test_what_cannot_be_meant_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    assert "expected a name that ends in .png" in call("--metric", METRIC, "--figure", tmp_path / "a.gif").output
    assert "need --metric" in call("--length", "dense").output
    with pytest.raises(UsageError, match="nonsense"):
        call("--metric", METRIC, "--metric", "nonsense", "--out", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
