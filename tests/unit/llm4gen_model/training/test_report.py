import json
import re
from dataclasses import replace
from pathlib import Path

from PIL import Image

from llm4gen_data.runs import write_json
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.metrics import write_metrics
from llm4gen_model.training.report import MAX_COLUMNS, loss_now_and_first, validation, write_report
from llm4gen_model.training.samples import sample_grid, sampled_steps

HOSTILE = 'a <script>alert(1)</script> "sign"'


def lines(n: int) -> list[dict[str, float]]:
    values = {"grad_norm": 0.1, "learning_rate": 1e-4, "images_per_s": 32.0, "samples_seen": 0.0, "epoch": 1.0}
    logged = [{"step": step, "loss": 1 / step, **values} for step in range(1, n + 1)]
    return [{"step": 0, "val_loss_base": 0.5}, *logged, {"step": n, "val_loss": 0.4}]


def samples(folder: Path, steps: list[int], side: int) -> None:
    folder.mkdir()
    about = {"prompts": [HOSTILE], "clip_ends": [5], "num_inference_steps": 9, "guidance_scale": 4.0, "seed": 3}
    write_json(folder / "about.json", about)
    for name in ("base", *(f"{step:08d}" for step in steps)):
        (folder / name).mkdir()
        Image.new("RGB", (side, side), "red").save(folder / name / "0.png")
    for step in steps:
        sample_grid(folder, step)


def test_a_finished_run_is_one_page_that_needs_no_network(config: TrainConfig, tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.jsonl", lines(8))
    samples(tmp_path / "samples", list(range(1, 13)), side=600)
    write_report(config, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "8 of 8" in page
    assert "base 0.5000" in page
    assert "0.1339</dd><dd><small>in the last quarter of the steps done, 0.7500 in the first<" in page
    assert "-20.0 %" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<script>alert" not in page
    assert 'a &lt;sc<span class="cut">ript&gt;' in page  # what CLIP cuts off begins after five characters
    assert 'http-equiv="refresh"' not in page
    assert page.count("data:image/webp") == 1 + MAX_COLUMNS + 1  # the base, some steps; once more in the style sheet
    assert "<figcaption>step 12</figcaption>" in page
    found = re.search(r'data-lines="([^"]*)"', page)
    assert found is not None
    assert json.loads(found[1].replace("&#34;", '"'))[0][0][:2] == [1, 1.0]


def test_a_run_under_way_has_a_page_that_opens_itself_anew(config: TrainConfig, tmp_path: Path) -> None:
    write_report(config, tmp_path)
    assert "Curves" in (tmp_path / "report.html").read_text()
    write_metrics(tmp_path / "metrics.jsonl", [line for line in lines(4) if "loss" in line])
    samples(tmp_path / "samples", [4], side=16)
    write_report(config, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 'http-equiv="refresh"' in page
    assert "4 of 8" in page
    assert "0:00:00 left" in page
    assert "Validation loss" not in page
    assert "--set validation_share=0.1" in page
    assert page.count('src="data:image/png') == 2
    assert sampled_steps(tmp_path / "samples") == [4]


def test_the_training_loss_is_a_mean_over_a_quarter_beside_the_first() -> None:
    assert loss_now_and_first([0.4, 0.3, *[9.0] * 4, 0.2, 0.1]) == (
        "0.1500",
        "in the last quarter of the steps done, 0.3500 in the first",
    )
    assert loss_now_and_first([0.4, 0.2]) == ("0.3000", "mean of all steps")


def test_a_run_that_holds_images_out_is_not_told_to(config: TrainConfig, tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.jsonl", [line for line in lines(4) if "loss" in line])
    write_report(replace(config, validation_share=0.1), tmp_path)
    assert "--set validation_share" not in (tmp_path / "report.html").read_text()


def test_the_gain_is_that_over_the_base() -> None:
    found = validation([*lines(4), {"step": 6, "val_loss": 0.45}])
    assert found is not None
    assert (found["best"], found["best_step"], found["now"], found["step"]) == (0.4, 4, 0.45, 6)
    assert abs(found["gain"] - 0.1) < 1e-9
    assert validation([{"step": 1, "loss": 1.0}]) is None
