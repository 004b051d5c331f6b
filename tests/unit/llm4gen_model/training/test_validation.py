import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_model.models import Model
from llm4gen_model.training import loop, run, validation
from llm4gen_model.training.checkpoint import checkpoints
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.features import build_features
from llm4gen_model.training.loader import Batch, Features
from llm4gen_model.training.loss import noise_scheduler
from llm4gen_model.training.trained import Denoiser, build_denoiser
from llm4gen_model.training.validation import Validator, hold_out, is_held_out, validation_batches, validation_loss

Made = tuple[TrainConfig, Model, Denoiser, Features]


@pytest.fixture
def made(config: TrainConfig) -> Made:
    """A configuration with a held-out share, its model and all its features."""
    config = replace(config, validation_share=0.4)
    model = run.build_model(config)
    pairs = open_pairs(config.data, config.captions)
    return (
        config,
        model,
        build_denoiser(config, model),
        build_features(config.out.parent / "cache", config, model, pairs),
    )


def test_the_share_is_a_function_of_the_image_alone() -> None:
    images = [f"{number:064x}" for number in range(4000)]
    held = {image for image in images if is_held_out(image, 0.1)}
    assert 320 < len(held) < 480
    assert held < {image for image in images if is_held_out(image, 0.2)}
    assert not any(is_held_out(image, 0.0) for image in images)


def test_a_held_out_pair_is_never_trained_on(made: Made) -> None:
    _, _, _, features = made
    train, held_out = hold_out(features, 0.4)
    assert held_out is not None
    kept, apart = set(train.pairs.keys()), set(held_out.pairs.keys())
    assert kept
    assert apart
    assert kept | apart == set(features.pairs.keys())
    assert not kept & apart
    assert hold_out(features, 0.0) == (features, None)
    with pytest.raises(UserError, match="holds out none"):
        hold_out(features, 1e-9)


def test_batches_are_the_same_in_every_run(made: Made) -> None:
    config, model, _, features = made
    _, held_out = hold_out(features, 0.4)
    assert held_out is not None

    def batches(**changes: Any) -> list[Batch]:
        return list(validation_batches(replace(config, **changes), model, held_out))

    first = batches()
    other = batches(seed=5, train_batch_size=2, proportion_empty_prompts=0.9, logit_mean=0.4)
    assert len(first) == len(other) == 1
    for one, two in zip(first, other, strict=True):
        assert one.captions == two.captions
        assert all(one.captions)
        for name in ("latents", "noise", "timesteps", "llm_embeds"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name
    spread = batches(num_validation_pairs=2)[0].timesteps.tolist()
    assert spread == [250, 750]


def test_the_loss_tells_a_better_model(made: Made) -> None:
    config, model, denoiser, features = made
    _, held_out = hold_out(features, 0.4)
    assert held_out is not None
    before = validation_loss(config, model, denoiser, held_out)
    assert before == validation_loss(replace(config, snr_gamma=5.0), model, denoiser, held_out)
    optimizer = torch.optim.SGD(model.pipeline.unet.requires_grad_(True).parameters(), lr=0.05)
    (batch,) = validation_batches(config, model, held_out)
    for _ in range(3):
        loop.batch_loss(config, model, denoiser, noise_scheduler(model.pipeline), batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    assert validation_loss(config, model, denoiser, held_out) < before


def test_a_run_compares_with_its_base_and_keeps_its_best(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()  # the report is written here
    held = replace(config, base="mini", train="unet", resolution=64, validation_share=0.4, validation_steps=3)
    run.train(replace(held, checkpoints_keep_best=1, checkpoints_total_limit=1, num_validation_images=2))
    log = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert list(log[0]) == ["step", "val_loss_base"]
    losses = {line["step"]: line["val_loss"] for line in log if "val_loss" in line}
    assert list(losses) == [3, 6, 8]
    best = min((3, 6), key=lambda step: losses[step])
    assert f"{best:08d}.pt" in {path.name for path in checkpoints(config.out / "checkpoints")}
    manifest = read_json(config.out / "manifest.json")
    assert manifest["n_pairs"] + manifest["n_held_out"] == 12
    assert f"12 pairs, {manifest['n_held_out']} of them held out for validation; trains" in capsys.readouterr().out
    assert [len(list((config.out / "samples" / name).glob("*.png"))) for name in ("base", "00000003")] == [2, 2]
    assert "Validation loss" in (config.out / "report.html").read_text()
    # other prompts: what was drawn for the first ones goes
    run.train(replace(held, max_train_steps=9, validation_prompts=("a red circle",)))
    assert len(list((config.out / "samples" / "base").glob("*.png"))) == 1
    assert not (config.out / "samples" / "00000003").exists()


def test_a_killed_run_measures_the_base_only_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    config, model, denoiser, features = made
    _, held_out = hold_out(features, 0.4)
    config.out.mkdir()
    look = Validator(config, Accelerator(cpu=True), model, denoiser, held_out, ["a picture"])
    look.look_at_base()
    with (config.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')

    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(validation, "draw_samples", forbidden)
    monkeypatch.setattr(validation, "validation_loss", forbidden)
    look.look_at_base()


@pytest.mark.parametrize(
    "change", [{"cache_mode": "none"}, {"aspect_ratio_buckets": True}, {"mixed_precision": "bf16"}]
)
def test_every_way_to_train_can_be_validated(made: Made, change: dict[str, Any]) -> None:
    config, model, denoiser, features = made
    plain = validation_loss(config, model, denoiser, held_out_of(hold_out(features, 0.4)))
    run.train(replace(config, **change, checkpoints_keep_best=1))
    log = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val_loss"] for line in log if "val_loss" in line]
    assert len(losses) == 2
    assert abs(losses[0] - plain) < 0.3


def test_a_loss_that_is_not_finite_is_an_error(made: Made) -> None:
    config, model, denoiser, features = made
    assert denoiser.cam is not None
    next(denoiser.cam.parameters()).data.fill_(float("nan"))
    with pytest.raises(UserError, match="validation loss is not finite"):
        validation_loss(config, model, denoiser, held_out_of(hold_out(features, 0.4)))


def held_out_of(split: tuple[Features, Features | None]) -> Features:
    """The held-out ones."""
    assert split[1] is not None
    return split[1]
