import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from llm4gen_model import models
from llm4gen_model.training import run
from llm4gen_model.training.config import CamConfig, LLMConfig, TrainConfig
from tests.factories import language_model, pairs_parquet, sd15_pipeline


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A run over twelve pairs with a tiny SD1.5-shaped base and a tiny language model."""
    pipeline = sd15_pipeline()
    pipeline.save_pretrained(tmp_path / "base", safe_serialization=True)

    def load_llm(name: str, **_: Any) -> Any:
        return language_model(seed=0 if name == "tiny" else 1)

    monkeypatch.setattr(run, "load_llm", load_llm)
    monkeypatch.setattr("llm4gen_model.llm.load_llm", load_llm)
    return TrainConfig(
        data=pairs_parquet(tmp_path / "pairs.parquet", 12),
        out=tmp_path / "out",
        base=str(tmp_path / "base"),
        llm=LLMConfig(name="tiny", max_tokens=12),
        cam=CamConfig(num_heads=4),
        captions={"caption": 0.7, "alt_text": 0.3},
        resolution=16,
        train_batch_size=3,
        max_train_steps=8,
        learning_rate=1e-3,
        lr_warmup_steps=2,
        checkpointing_steps=2,
        logging_steps=3,
        validation_steps=5,
        num_validation_images=2,
        num_inference_steps=2,
        threads=1,
    )


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


class Killed(BaseException):
    """Stands for a stop at any point."""


def stop_at(step: int, original: Callable[..., Any]) -> Callable[..., Any]:
    def stopping(config: Any, model: Any, features: Any, number: int) -> Any:
        if number == step:
            raise Killed
        return original(config, model, features, number)

    return stopping


@pytest.mark.parametrize("train", ["cam", "cam+unet", "unet"])
def test_stopped_runs_end_in_the_same_bits(config: TrainConfig, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm4gen_model.training import loop

    whole = replace(config, train=train)
    run.train(whole)
    stopped = replace(whole, out=config.out.with_name("stopped"))
    for step in (1, 3, 6):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "load_batch", stop_at(step, loop.load_batch))
            with pytest.raises(Killed):
                run.train(stopped)
        assert not (stopped.out / "manifest.json").exists()
    run.train(stopped)
    assert weights(stopped.out / "model") == weights(whole.out / "model")
    assert (
        set(weights(whole.out / "model"))
        == {
            "cam": {"cam/diffusion_pytorch_model.safetensors"},
            "unet": {"unet/diffusion_pytorch_model.safetensors"},
            "cam+unet": {"cam/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.safetensors"},
        }[train]
    )

    def losses(out: Path) -> list[tuple[int, float]]:
        lines = (out / "metrics.jsonl").read_text().splitlines()
        return [(json.loads(line)["step"], json.loads(line)["loss"]) for line in lines]

    assert losses(stopped.out) == losses(whole.out)
    assert [step for step, _ in losses(whole.out)] == [3, 6, 8]


def test_ctrl_c_within_a_step_takes_effect_after_its_checkpoint(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm4gen_model.training import loop

    original = loop.load_batch

    def interrupted(config: Any, model: Any, features: Any, number: int) -> Any:
        if number == 4:  # 4 is no multiple of checkpointing_steps
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return original(config, model, features, number)

    monkeypatch.setattr(loop, "load_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train(config)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert any(path.name.endswith("5.pt") for path in (config.out / "checkpoints").iterdir())


def test_only_what_is_to_be_trained_changes(config: TrainConfig) -> None:
    run.train(config)
    model = models.load_model(str(config.out / "model"))
    base = models.load_model(config.base)
    assert model.identity["unet"] == base.identity["unet"]
    assert model.prompt_encoder.cam is not None
    assert models.module_sha256(model.prompt_encoder.cam) != run.build_model(config).identity["cam"]
    unet_run = replace(config, train="unet", out=config.out.with_name("unet"))
    run.train(unet_run)
    trained = models.load_model(str(unet_run.out / "model"))
    assert trained.identity["unet"] != base.identity["unet"]
    assert trained.identity["vae"] == base.identity["vae"]
    assert trained.prompt_encoder.cam is None


def test_training_learns(config: TrainConfig) -> None:
    longer = replace(
        config, train="unet", max_train_steps=150, learning_rate=3e-3, logging_steps=30, validation_steps=999
    )
    run.train(longer)
    losses = [json.loads(line)["loss"] for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.7 * losses[0]


def test_an_exported_model_draws_and_is_trained_further(config: TrainConfig) -> None:
    both = replace(config, train="cam+unet")
    run.train(both)
    model = models.load_model(str(config.out / "model"))
    embeds = model.prompt_encoder.encode(["a picture"])
    image = model.pipeline(**embeds.as_kwargs(), num_inference_steps=2).images[0]
    assert isinstance(image, Image.Image)
    further = replace(config, base=str(config.out / "model"), out=config.out.with_name("further"))
    assert run.build_model(further).identity["cam"] == model.identity["cam"]
    run.train(further)
    about = read_json(further.out / "model" / "llm4gen.json")
    assert about["base"] == config.base
    assert (further.out / "model" / "unet").is_dir()


def test_a_finished_run_says_so_and_can_be_made_longer(
    config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run.train(config)
    before = weights(config.out / "model")
    run.train(config)
    assert "complete" in capsys.readouterr().out
    run.train(replace(config, max_train_steps=10))
    assert weights(config.out / "model") != before
    assert read_json(config.out / "manifest.json")["n_steps"] == 10


def test_another_configuration_is_refused(config: TrainConfig) -> None:
    run.train(config)
    with pytest.raises(UserError, match="learning_rate"):
        run.train(replace(config, learning_rate=1e-4))


def test_the_cache_command_leaves_nothing_for_training_to_encode(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = replace(config, cache=tmp_path / "cache")
    run.cache(cached)
    assert "12 entries" in capsys.readouterr().out

    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("llm4gen_model.training.cache.FeatureStore.add", forbidden)
    run.train(cached)
    other = replace(cached, out=tmp_path / "other", llm=replace(cached.llm, name="other"))
    with pytest.raises(UserError, match="another encoder"):
        run.train(other)


def test_models_that_do_not_fit_are_one_clear_error(config: TrainConfig, tmp_path: Path) -> None:
    run.train(config)
    about = tmp_path / "out" / "model" / "llm4gen.json"
    good = read_json(about)
    write_json(about, {**good, "format": 99})
    with pytest.raises(UserError, match="format 99"):
        models.load_model(str(about.parent))
    write_json(about, {**good, "llm": {**good["llm"], "max_tokens": 5}})
    with pytest.raises(UserError, match="another language model"):
        models.load_model(str(about.parent))
    write_json(about, {"format": 1})
    with pytest.raises(UserError, match="lacks base"):
        models.load_model(str(about.parent))
    with pytest.raises(UserError, match="no-such-model"):
        models.load_model("no-such-model")
    unet = tmp_path / "base" / "unet"
    weights_file = unet / "diffusion_pytorch_model.safetensors"
    weights_file.rename(unet / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        models.load_model(config.base)


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm4gen_model.training import loop

    original, calls = loop.batch_loss, []

    def breaking(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        loss = original(*arguments)
        return loss * float("nan") if len(calls) == 6 else loss

    monkeypatch.setattr(loop, "batch_loss", breaking)
    with pytest.raises(UserError, match="loss of step 6 is not finite"):
        run.train(config)
    assert sorted(path.name for path in (config.out / "checkpoints").iterdir()) == ["00000002.pt", "00000004.pt"]
