import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from llm4gen_data.errors import UsageError
from llm4gen_data.runs import read_json
from llm4gen_model import models
from llm4gen_model.training import loop, run
from llm4gen_model.training.checkpoint import checkpoints
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.features import build_features
from llm4gen_model.training.loader import load_batches
from llm4gen_model.training.loss import noise_scheduler
from llm4gen_model.training.optimizer import build_optimizer
from llm4gen_model.training.trained import build_denoiser, trained_parameters
from tests.factories import pairs_parquet, sdxl_pipeline

Gradients = dict[str, torch.Tensor]


def training(config: TrainConfig, steps: int = 0) -> tuple[Any, Any, Any]:
    """Model, denoiser and features of a run, without a run."""
    model = run.build_model(config)
    denoiser = build_denoiser(config, model)
    pairs = open_pairs(config.data, config.captions)
    features = build_features(config.out.parent / "cache", config, model, pairs)
    return model, denoiser, features


def gradients(config: TrainConfig, n_parts: int = 1) -> Gradients:
    """Of the loss of the first step, computed in `n_parts` pieces."""
    model, denoiser, features = training(config)
    scheduler = noise_scheduler(model.pipeline)
    for batch in load_batches(config, model, features, [0], range(n_parts), n_parts):
        (loop.batch_loss(config, model, denoiser, scheduler, batch) / n_parts).backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad for name, parameter in trained_parameters(denoiser).items()}  # type: ignore[misc]


def assert_close(some: Gradients, others: Gradients) -> None:
    assert some.keys() == others.keys()
    scale = max(gradient.abs().max() for gradient in some.values())
    for name, gradient in some.items():
        assert (gradient - others[name]).abs().max() < 1e-5 * scale, name


def final(config: TrainConfig) -> dict[str, torch.Tensor]:
    """All averaged weights after a run."""
    run.train(config)
    model = models.load_model(str(config.out / "model"))
    assert model.prompt_encoder.cam is not None
    weights: dict[str, torch.Tensor] = model.prompt_encoder.cam.state_dict()
    return weights


def test_pieces_of_a_batch_give_the_gradient_of_the_whole(config: TrainConfig) -> None:
    both = replace(config, train="cam+unet")
    assert_close(gradients(both), gradients(both, n_parts=2))
    pieces = replace(config, gradient_accumulation_steps=4, out=config.out.with_name("pieces"))
    whole, accumulated = final(config), final(pieces)
    for name, weight in whole.items():
        assert torch.allclose(weight, accumulated[name], atol=1e-5), name


def test_checkpointing_gradients_changes_none(config: TrainConfig) -> None:
    both = replace(config, train="cam+unet")
    assert_close(gradients(both), gradients(replace(both, gradient_checkpointing=True)))
    assert_close(gradients(both), gradients(replace(both, channels_last=True)))
    cam = gradients(replace(config, gradient_checkpointing=True))
    assert max(gradient.abs().max() for gradient in cam.values()) > 0


def test_bf16_keeps_float32_weights(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = loop.batch_loss

    def watched(config: Any, model: Any, denoiser: Any, *more: Any) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return original(config, model, denoiser, *more)

    monkeypatch.setattr(loop, "batch_loss", watched)
    run.train(replace(config, mixed_precision="bf16"))
    assert all(seen)
    saved = torch.load(checkpoints(config.out / "checkpoints")[-1], weights_only=True)
    tensors = [*saved["weights"].values(), *saved["ema"]["shadow_params"], saved["optimizer"]["state"][0]["exp_avg"]]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        replace(config, mixed_precision="fp16")


def test_the_average_starts_late_and_is_taken_at_intervals(config: TrainConfig) -> None:
    never = final(replace(config, ema_start_step=100))
    saved = torch.load(checkpoints(config.out / "checkpoints")[-1], weights_only=True)
    for name, weight in never.items():
        assert torch.equal(weight, saved["weights"][f"cam.{name}"])
    some = replace(config, ema_start_step=3, ema_interval=2, out=config.out.with_name("some"))
    run.train(some)  # updates at steps 4, 6, 8
    saved = torch.load(checkpoints(some.out / "checkpoints")[-1], weights_only=True)
    assert saved["ema"]["optimization_step"] == 3
    assert saved["ema"]["decay"] == pytest.approx(config.ema_decay**2)


def test_any_librarys_optimizer_is_passed_through(config: TrainConfig) -> None:
    plain = replace(config, optimizer="torch.optim:SGD", optimizer_options={"momentum": 0.5})
    run.train(plain)
    saved = torch.load(checkpoints(config.out / "checkpoints")[-1], weights_only=True)
    assert saved["optimizer"]["param_groups"][0]["momentum"] == 0.5
    wrong = replace(plain, optimizer_options={"momenta": 0.5}, out=config.out.with_name("wrong"))
    with pytest.raises(UsageError, match=r"optimizer torch\.optim:SGD with .*momenta"):
        run.train(wrong)
    with pytest.raises(UsageError, match="did you mean 'adamw'"):
        run.train(replace(plain, optimizer="adamv", out=config.out.with_name("unknown")))


def test_muon_takes_the_matrices_between_hidden_features(config: TrainConfig) -> None:
    both = replace(
        config, train="cam+unet", optimizer="muon", learning_rate=5e-3, optimizer_options={"adamw_lr": 1e-3}
    )
    _, denoiser, _ = training(both)
    parameters = trained_parameters(denoiser)
    hidden, others = build_optimizer(both, parameters).param_groups
    assert (hidden["lr"], others["lr"]) == (5e-3, 1e-3)
    assert (hidden["use_muon"], others["use_muon"]) == (True, False)
    names = {id(parameter): name for name, parameter in parameters.items()}
    of_muon, of_adamw = ({names[id(parameter)] for parameter in group["params"]} for group in (hidden, others))
    assert of_muon | of_adamw == set(parameters)
    assert not of_muon & of_adamw
    assert {parameters[name].ndim for name in of_muon} == {2, 4}
    assert {name for name in of_adamw if parameters[name].ndim > 1} == {"unet.conv_in.weight", "unet.conv_out.weight"}


def test_a_run_may_begin_from_a_checkpoint_of_another(config: TrainConfig) -> None:
    run.train(config)
    before = checkpoints(config.out / "checkpoints")[-1]
    longer = replace(config, max_train_steps=12, out=config.out.with_name("whole"))
    run.train(longer)
    resumed = replace(longer, resume=str(before), out=config.out.with_name("resumed"))
    run.train(resumed)
    ends = [checkpoints(done.out / "checkpoints")[-1] for done in (longer, resumed)]
    whole, other = (torch.load(path, weights_only=True)["weights"] for path in ends)
    assert all(torch.equal(weight, other[name]) for name, weight in whole.items())


def test_the_best_checkpoints_are_those_of_the_lowest_validation_loss(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {3: 0.5, 6: 0.2, 9: 0.4}
    best = replace(
        config,
        max_train_steps=10,
        validation_share=0.2,
        validation_steps=3,
        checkpoints_keep_best=1,
        checkpoints_total_limit=1,
    )
    model, denoiser, features = training(best)
    best.out.mkdir()
    loop.train_loop(best, Accelerator(cpu=True), model, denoiser, features, losses.__getitem__)
    kept = checkpoints(best.out / "checkpoints")
    assert [path.name for path in kept] == ["00000006.pt", "00000010.pt"]
    assert read_json(kept[0].with_suffix(".json"))["val_loss"] == 0.2


def test_sdxl_trains(config: TrainConfig, tmp_path: Path) -> None:
    sdxl_pipeline().save_pretrained(tmp_path / "sdxl")
    weights = final(replace(config, base=str(tmp_path / "sdxl"), train="cam+cross-attention", max_train_steps=2))
    assert weights["CrossFusionModule.0.q_proj.weight"].shape == (80, 80)


def test_sixteen_pairs_are_learnt_by_heart(config: TrainConfig, tmp_path: Path) -> None:
    """From about 1, the variance of the noise, to below 0.2 in 80 steps."""
    heart = replace(
        config,
        data=pairs_parquet(tmp_path / "sixteen.parquet", 16),
        train="cam+unet",
        train_batch_size=16,
        max_train_steps=80,
        learning_rate=4e-3,
        logging_steps=10,
        checkpointing_steps=999,
        validation_steps=999,
        proportion_empty_prompts=0.0,
    )
    run.train(heart)
    losses = [json.loads(line)["loss"] for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] > 0.6
    assert losses[-1] < 0.2
