import errno
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json
from llm4gen_model import models
from llm4gen_model.training import loop, run
from llm4gen_model.training.checkpoint import checkpoints
from llm4gen_model.training.config import WHAT, TrainConfig
from llm4gen_model.training.loop import batch_loss
from tests.factories import language_model


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


class Killed(BaseException):
    """Stands for a stop at any point."""


def at_call(number: int, act: Callable[[], object]) -> Callable[..., torch.Tensor]:
    """`batch_loss`, but before its call `number` (of steps, counted from 0 in each start) `act` happens."""
    calls = count()

    def loss(*arguments: Any) -> torch.Tensor:
        if next(calls) == number:
            act()
        return batch_loss(*arguments)

    return loss


def kill() -> None:
    raise Killed


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def logged(out: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


@pytest.mark.parametrize(("train", "optimizer"), [*((train, "adamw") for train in WHAT), ("cam+unet", "muon")])
def test_stopped_runs_end_in_the_same_bits(
    config: TrainConfig, train: Any, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(config, train=train, optimizer=optimizer, lora_rank=2)
    run.train(whole)
    stopped = replace(whole, out=config.out.with_name("stopped"))
    for further in (1, 4):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "batch_loss", at_call(further, kill))
            with pytest.raises(Killed):
                run.train(stopped)
        assert not (stopped.out / "manifest.json").exists()
    run.train(stopped)
    assert weights(stopped.out / "model") == weights(whole.out / "model")
    cam, unet = (f"{name}/diffusion_pytorch_model.safetensors" for name in ("cam", "unet"))
    expected = {"cam": {cam}, "unet": {unet}, "cam+unet-lora": {cam, "lora/pytorch_lora_weights.safetensors"}}
    assert set(weights(whole.out / "model")) == expected.get(train, {cam, unet})
    assert logged(stopped.out) == logged(whole.out)
    assert [step for step, _ in logged(whole.out)] == [3, 6, 8]


def test_ctrl_c_within_a_step_takes_effect_after_its_checkpoint(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "batch_loss", at_call(4, ctrl_c))  # step 5 is no multiple of checkpointing_steps
    with pytest.raises(KeyboardInterrupt):
        run.train(config)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert checkpoints(config.out / "checkpoints")[-1].name == "00000005.pt"


def test_an_ignored_ctrl_c_stays_ignored(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(loop, "batch_loss", at_call(4, ctrl_c))
    run.train(config)
    assert [path.stem for path in sorted((config.out / "checkpoints").glob("*.pt"))] == ["00000006", "00000008"]


def test_a_second_ctrl_c_takes_effect_at_once(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        ctrl_c()
        ctrl_c()

    monkeypatch.setattr(loop, "batch_loss", at_call(4, twice))
    with pytest.raises(KeyboardInterrupt):
        run.train(config)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # 4 may still be on its way to disk; 5 was never finished
    assert {path.stem for path in checkpoints(config.out / "checkpoints")} - {"00000004"} == {"00000002"}


def test_a_full_disk_leaves_the_last_good_checkpoint(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.save

    def save(state: dict[str, Any], path: Path) -> None:
        if state["step"] == 4:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(state, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(UserError, match=r"No space left on device.*the last good one is 00000002\.pt"):
            run.train(config)
    assert sorted(path.name for path in (config.out / "checkpoints").iterdir()) == ["00000002.json", "00000002.pt"]
    run.train(config)
    whole = replace(config, out=config.out.with_name("whole"))
    run.train(whole)
    assert weights(config.out / "model") == weights(whole.out / "model")


def test_only_what_is_to_be_trained_changes(config: TrainConfig) -> None:
    run.train(config)
    model = models.load_model(str(config.out / "model"))
    base = models.load_model(config.base)
    assert model.identity["unet"] == base.identity["unet"]
    assert model.prompt_encoder.cam is not None
    assert model.identity["cam"] != run.build_model(config).identity["cam"]
    unet_run = replace(config, train="unet", out=config.out.with_name("unet"))
    run.train(unet_run)
    trained = models.load_model(str(unet_run.out / "model"))
    assert trained.identity["unet"] != base.identity["unet"]
    assert trained.identity["vae"] == base.identity["vae"]
    assert trained.prompt_encoder.cam is None


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

    monkeypatch.setattr("llm4gen_model.training.cache.write_shard", forbidden)
    run.train(cached)
    # the same name, other weights
    monkeypatch.setattr(run, "load_llm", lambda *_, **__: language_model(seed=1))
    with pytest.raises(UserError, match="another encoder"):
        run.train(replace(cached, out=tmp_path / "other"))


def test_a_cache_holds_the_features_of_several_language_models(config: TrainConfig, tmp_path: Path) -> None:
    cached = replace(config, cache=tmp_path / "cache")
    run.cache(cached)
    run.cache(replace(cached, llm=replace(cached.llm, name="some/other")))
    assert {path.name for path in (tmp_path / "cache").iterdir()} >= {"latents", "text-tiny", "text-some-other"}
    assert "latents: 0 of 12 to make" in run.dry_run_lines(cached)[1]


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
    calls = count(1)

    def breaking(*arguments: Any) -> torch.Tensor:
        return batch_loss(*arguments) * (float("nan") if next(calls) == 6 else 1.0)

    monkeypatch.setattr(loop, "batch_loss", breaking)
    with pytest.raises(UserError, match="loss of step 6 is not finite"):
        run.train(config)
    assert [path.name for path in checkpoints(config.out / "checkpoints")] == ["00000002.pt", "00000004.pt"]
