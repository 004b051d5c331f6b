import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy.optimize import minimize
from scipy.stats import binom

from benchmarks.cli import commands
from benchmarks.study.config import StudyConfig
from benchmarks.study.form import write_form
from benchmarks.study.make import design_study, make_study, read_images
from benchmarks.study.records import read_checks, read_key, read_study, sha256_of
from llm4gen_data.errors import UserError
from tests.studies import sharp_and_blurred, small_study


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}


def test_the_same_seed_gives_the_same_study_byte_for_byte(tmp_path: Path) -> None:
    config = sharp_and_blurred(tmp_path / "images", 4)
    make_study(config, tmp_path / "a")
    make_study(config, tmp_path / "b")
    make_study(replace(config, seed=1), tmp_path / "c")
    for name in ("study.json", "checks.json", "key.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()
    assert make_study(config, tmp_path / "a") == [f"{tmp_path / 'a'}: complete"]
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        make_study(replace(config, seed=1), tmp_path / "a")


def test_key_and_checks_fit_the_study(tmp_path: Path) -> None:
    folder = small_study(tmp_path)
    study, checks, key = read_study(folder), read_checks(folder), read_key(folder)
    assert key.models == ("sharp", "blurred")
    shown: Counter[str] = Counter()
    for trials in study.slots:
        by_id = {trial.trial_id: trial for trial in trials}
        for trial in trials:
            sides = {sha256_of(trial.left), sha256_of(trial.right)}
            assert (folder / "images" / trial.left).exists()
            assert (trial.prompt is None) == (trial.axis == "aesthetic")
            if trial.trial_id in checks.gold:
                assert trial.pair_id not in key.pairs
            else:
                assert set(key.pairs[trial.pair_id].models) == sides
                assert key.pairs[trial.pair_id].prompt_id == trial.prompt_id
            if trial.trial_id in checks.repeats:
                first = by_id[checks.repeats[trial.trial_id]]
                assert (first.left, first.right) == (trial.right, trial.left)
                assert (first.pair_id, first.axis) == (trial.pair_id, trial.axis)
            elif trial.trial_id not in checks.gold:
                shown[f"{trial.pair_id} {trial.axis}"] += 1
    assert set(shown.values()) == {3}
    assert len(shown) == 2 * len(key.pairs) == 8
    public = (folder / "study.json").read_text() + (folder / "checks.json").read_text()
    assert "sharp" not in public
    assert "blurred" not in public


def test_gold_pairs_have_a_right_answer(tmp_path: Path) -> None:
    folder = small_study(tmp_path, n=6)
    study, gold = read_study(folder), read_checks(folder).gold
    prompts = {sha256: pair.prompt_id for pair in read_key(folder).pairs.values() for sha256 in pair.models}
    for trial in (trial for trials in study.slots for trial in trials if trial.trial_id in gold):
        right, wrong = (trial.left, trial.right) if gold[trial.trial_id] == "left" else (trial.right, trial.left)
        assert prompts[sha256_of(right)] == trial.prompt_id
        if trial.axis == "semantic":
            assert prompts[sha256_of(wrong)] != trial.prompt_id
        else:
            detail = [
                np.abs(np.diff(np.asarray(Image.open(folder / "images" / name), float))).mean()
                for name in (right, wrong)
            ]
            assert detail[1] < detail[0]


def model_of_files(files: dict[str, tuple[str, list[float]]]) -> float:
    """How often a logistic regression tells the two models of files apart that it has not seen (10 folds)."""
    features = np.array([values for _, values in files.values()], float)
    models = sorted({model for model, _ in files.values()})
    labels = np.array([models.index(model) for model, _ in files.values()])
    spread = features.std(axis=0)
    features = np.column_stack(
        [(features - features.mean(axis=0)) / np.where(spread == 0, 1, spread), np.ones(len(labels))]
    )
    folds = np.random.default_rng(0).permutation(len(labels)) % 10
    right = 0
    for fold in range(10):
        x, sign = features[folds != fold], 2 * labels[folds != fold] - 1

        def loss(w: Any, x: Any = x, sign: Any = sign) -> float:
            return float(np.logaddexp(0, -sign * (x @ w)).mean() + 0.01 * w @ w)

        weights = minimize(loss, np.zeros(features.shape[1])).x
        right += int(((features[folds == fold] @ weights > 0) == labels[folds == fold]).sum())
    return right / len(labels)


def told_by(path: Path, place: int, sides: list[float]) -> list[float]:
    """What a rater could look at without looking at the picture: name, sizes, times, bytes at the head, order."""
    data, status = path.read_bytes(), path.stat()
    with Image.open(path) as image:
        described = [*map(float, image.size), float(len(image.info)), float(len(image.getexif()))]
    return [
        int.from_bytes(path.stem.encode()[:4]) / 2**32, *(ord(c) for c in path.stem[-4:]), len(path.name), len(data),
        status.st_mtime, status.st_size, *data[:48:2], *described, place, *sides,
    ]  # fmt: skip


@pytest.mark.parametrize("size_px", [64, 160])
def test_nothing_but_the_picture_tells_whose_it_is(tmp_path: Path, size_px: int) -> None:
    n = 60
    folder = small_study(tmp_path, n, size_px, pairs_per_rater=30, gold_per_axis=2)
    study = read_study(folder)
    owner = {sha256: model for pair in read_key(folder).pairs.values() for sha256, model in pair.models.items()}
    trials = [trial for trials in study.slots for trial in trials]
    order: dict[str, int] = {}
    left: Counter[str] = Counter()
    for i, trial in enumerate(trials):
        left[sha256_of(trial.left)] += 1
        for name in (trial.left, trial.right):
            order.setdefault(sha256_of(name), i)
    paths = sorted((folder / "images").iterdir())
    blinded = {
        path.name: (owner[path.stem], told_by(path, i, [order[path.stem], left[path.stem]]))
        for i, path in enumerate(paths)
        if path.stem in owner
    }
    assert len(blinded) == 2 * n
    assert len({path.stat().st_size for path in paths}) == 1
    headers = (
        {path.read_bytes()[:300] for path in paths} if size_px > 128 else {path.read_bytes()[:48] for path in paths}
    )
    assert len(headers) == 1
    lucky = binom.ppf(0.999, 2 * n, 0.5) / (2 * n)
    assert model_of_files(blinded) <= lucky
    raw = {
        str(path): (path.parent.name, told_by(path, i, [0.0, 0.0]))
        for i, path in enumerate(sorted((tmp_path / "images").glob("*/*.png")))
    }
    assert model_of_files(raw) > 0.9  # the same eyes on the files as they came


def test_the_page_holds_neither_models_nor_answers_nor_live_markup(tmp_path: Path) -> None:
    config = sharp_and_blurred(tmp_path / "images", 4)
    rows = [json.loads(line) for line in config.prompts.read_text().splitlines()] if config.prompts else []
    rows[0]["prompt"] = '</script><script>alert(1)</script> & "quotes" <img src=x onerror=alert(2)>'
    assert config.prompts is not None
    config.prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_study(replace(config, title="<b>Title</b>", gold_per_axis=1, pairs_per_rater=4), tmp_path / "study")
    write_form(tmp_path / "study", tmp_path / "form.html", None, linked=False)
    page = (tmp_path / "form.html").read_text()
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    assert "<b>Title" not in page
    for secret in ("sharp", "blurred", "gold", "repeat_of", str(tmp_path)):
        assert secret not in page.replace("event.repeat", "")


def test_linked_pages_take_the_pictures_along_but_not_the_key(tmp_path: Path) -> None:
    folder = small_study(tmp_path)
    with pytest.raises(UserError, match="holds the key"):
        write_form(folder, folder / "site.html", None, linked=True)
    write_form(folder, tmp_path / "site" / "index.html", 0, linked=True)
    pictures = {name for trial in read_study(folder).slots[0] for name in (trial.left, trial.right)}
    assert set(files_of(tmp_path / "site")) == {"index.html", *(f"images/{name}" for name in pictures)}
    (folder / "images" / sorted(pictures)[0]).write_bytes(b"other")
    with pytest.raises(UserError, match="not the picture that the study was made with"):
        write_form(folder, tmp_path / "form.html", None, linked=False)


def test_pictures_of_other_sizes_are_brought_to_one_and_told(tmp_path: Path) -> None:
    config = sharp_and_blurred(tmp_path / "images", 4)
    for path in (tmp_path / "images" / "blurred").iterdir():
        Image.open(path).resize((96, 48)).save(path)
    told = make_study(config, tmp_path / "study")
    assert any("blurred 96x48" in line and "may tell them apart" in line for line in told)
    sizes = {Image.open(path).size for path in (tmp_path / "study" / "images").iterdir()}
    assert sizes == {(64, 64)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images_one": True}, "at least two models, found only sharp"),
        ({"raters_per_pair": 0}, "raters_per_pair = 0: expected at least 1"),
        ({"repeat_share": 0.9}, "repeat_share = 0.9: expected 0 to 0.5"),
        ({"axes": ()}, "axes = none"),
        ({"prompts": None}, "name the file with --prompts"),
        ({"images": ()}, "no --images"),
    ],
)
def test_what_makes_no_study_is_told_in_a_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    config = sharp_and_blurred(tmp_path / "images", 4)
    config = replace(config, images=config.images[:1]) if "images_one" in change else replace(config, **change)
    with pytest.raises(UserError, match=told):
        make_study(config, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_prompts_are_chosen_evenly_over_the_categories(tmp_path: Path) -> None:
    config = replace(sharp_and_blurred(tmp_path / "images", 12), n_prompts=6)
    design = design_study(config, read_images(config))
    assert Counter(pair.first.prompt.category for pair in design.pairs) == {"first": 3, "second": 3}
    assert design.lines[0].startswith("2 models, 6 prompts, 6 pairs of pictures, 3 raters a pair")


def test_a_dry_run_tells_the_design_and_writes_nothing(tmp_path: Path) -> None:
    config = sharp_and_blurred(tmp_path / "images", 4)
    images = [word for folder in config.images for word in ("--images", str(folder))]
    line = ["study", "make", *images, "--layout", "folder", "--prompts", str(config.prompts), "--forced-choice"]
    told = CliRunner().invoke(commands, [*line, "--out", str(tmp_path / "study"), "--dry-run"])
    assert told.exit_code == 0, told.output
    assert yaml.safe_load(told.output)["forced_choice"] is True
    assert "# 2 models, 4 prompts, 4 pairs of pictures, 3 raters a pair: 3 raters" in told.output
    assert "# to separate 55% from 50% you need 783 independent votes" in told.output
    assert not (tmp_path / "study").exists()


def test_forced_choice_offers_no_tie(tmp_path: Path) -> None:
    assert not any(axis.tie for axis in read_study(small_study(tmp_path, forced_choice=True)).axes)


def test_defaults_are_the_paper_s_two_axes() -> None:
    assert [(axis.name, axis.shows_prompt, axis.tie) for axis in StudyConfig().axes] == [
        ("aesthetic", False, True),
        ("semantic", True, True),
    ]
