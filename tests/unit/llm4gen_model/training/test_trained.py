from dataclasses import replace
from typing import Any

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json
from llm4gen_model import models
from llm4gen_model.training import run
from llm4gen_model.training.config import WHAT, CamConfig, LLMConfig, TrainConfig
from llm4gen_model.training.trained import build_denoiser, trained_parameters


@pytest.mark.parametrize("train", WHAT)
def test_only_what_is_to_be_trained_changes(config: TrainConfig, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live and frozen weights side by side, before the first step and after the last."""
    kept: list[Any] = []

    def keep(config: TrainConfig, model: models.Model) -> Any:
        denoiser = build_denoiser(config, model)
        everything = torch.nn.ModuleDict({"denoiser": denoiser, "vae": model.pipeline.vae})
        everything["text_encoder"] = model.pipeline.text_encoder
        kept[:] = [everything, {name: value.clone() for name, value in everything.state_dict().items()}]
        return denoiser

    monkeypatch.setattr(run, "build_denoiser", keep)
    run.train(replace(config, train=train, max_train_steps=3))
    everything, before = kept
    changed = {name for name, value in everything.state_dict().items() if not torch.equal(value, before[name])}
    expected = {f"denoiser.{name}" for name in trained_parameters(everything["denoiser"])}
    # what gets no gradient at all: the frozen half of a LoRA product is zero in the first step only
    assert changed <= expected
    assert len(changed) > 0.9 * len(expected)
    part = {"cam": "cam.", "unet": "unet.", "cam+unet-lora": "lora_", "cam+cross-attention": "attn2"}.get(train, "")
    assert any(part in name for name in changed)


def test_a_lora_draws_as_it_was_trained_and_is_diffusers_own(config: TrainConfig) -> None:
    lora = replace(config, train="cam+unet-lora", lora_rank=2)
    run.train(lora)
    model = models.load_model(config.base)
    exported = config.out / "model"
    model.pipeline.load_lora_weights(exported / "lora")
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 24, 32)
    with torch.no_grad():
        drawn = model.pipeline.unet(latents, 5, context).sample
        plain = models.load_model(config.base).pipeline.unet(latents, 5, context).sample
        loaded = models.load_model(str(exported))
        assert torch.equal(loaded.pipeline.unet(latents, 5, context).sample, drawn)
        assert not torch.equal(plain, drawn)
        further = replace(lora, base=str(exported), out=config.out.with_name("further"))
        fused = run.build_model(further).pipeline.unet(latents, 5, context).sample
        assert torch.allclose(fused, drawn, atol=1e-5)
    run.train(further)
    assert {path.name for path in (further.out / "model").iterdir() if path.is_dir()} == {"cam", "lora", "unet"}
    again = models.load_model(str(further.out / "model"))
    assert again.identity["unet"] != loaded.identity["unet"]


def test_clip_in_the_language_models_place_is_one_setting(config: TrainConfig) -> None:
    control = replace(config, llm=LLMConfig(name="clip"))
    model = run.build_model(control)
    assert model.prompt_encoder.llm is not None
    (features,) = model.prompt_encoder.llm.encode(["a red circle"])
    assert torch.equal(features, model.prompt_encoder.text_embeds(["a red circle"])[0][0])
    run.train(control)
    about = read_json(config.out / "model" / "llm4gen.json")
    assert about["llm"]["name"] == "clip"
    loaded = models.load_model(str(config.out / "model"))
    embeds = loaded.prompt_encoder.encode(["a red circle"]).prompt_embeds
    assert embeds.shape == (1, 24 + 24, 32)


@pytest.mark.parametrize("kind", ["ella", "mlp"])
def test_another_connector_is_trained_in_the_cams_place(config: TrainConfig, kind: Any) -> None:
    sizes = {"num_layers": 1, "num_heads": 2, "num_latents": 3} if kind == "ella" else {}
    run.train(replace(config, max_train_steps=2, cam=CamConfig(kind=kind, options=sizes)))
    loaded = models.load_model(str(config.out / "model"))
    assert loaded.prompt_encoder.cam is not None
    assert loaded.prompt_encoder.cam.uses_timestep == (kind == "ella")
    wrong = replace(config, cam=CamConfig(kind=kind, options={"heads": 2}))
    with pytest.raises(UserError, match=f"cam.options: {kind} takes no 'heads'; expected some of"):
        run.build_model(wrong)


def test_without_a_language_model_there_is_no_cam(config: TrainConfig) -> None:
    run.train(replace(config, max_train_steps=1))
    further = replace(config, train="unet", base=str(config.out / "model"), out=config.out.with_name("further"))
    model = run.build_model(further)
    assert model.prompt_encoder.cam is None
    assert build_denoiser(further, model).cam is None
