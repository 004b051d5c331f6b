import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from pipelines.mini import train as training_loop
from pipelines.mini import train_vae
from pipelines.mini.evaluate_vae import evaluate, model_card, round_trip
from pipelines.mini.train import Stage

STAGE = Stage("vae", 2, (0.0, 1e-3), 0.0, steps=3, warmup_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, scenes_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("vae")
    train_vae.train(out, scenes_folder, 8, STAGE, threads=1, seed=0)
    return out


def test_an_interrupted_training_ends_in_the_same_weights(
    run: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = train_vae.reconstruction_losses
    calls = 0

    def interrupted(*args: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return losses(*args)

    monkeypatch.setattr(training_loop, "CHECKPOINT_INTERVAL_S", 0.0)
    monkeypatch.setattr(train_vae, "reconstruction_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_vae.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)
    train_vae.train(tmp_path, scenes_folder, 8, STAGE, threads=1, seed=0)

    weights = "model/diffusion_pytorch_model.safetensors"
    assert calls == 4
    assert (tmp_path / weights).read_bytes() == (run / weights).read_bytes()


def test_export_is_small_half_precision_and_scaled(run: Path, scenes_folder: Path) -> None:
    weights = load_file(run / "model" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(tensor.nbytes for tensor in weights.values()) < 700_000

    model = AutoencoderKL.from_pretrained(run / "model", torch_dtype=torch.float32)
    decoded, latents = round_trip(model, np.load(scenes_folder / "images.npy"))
    assert decoded.shape == (8, 64, 64, 3)
    assert latents.shape == (8, 4, 16, 16)
    assert latents.std().item() == pytest.approx(1, abs=0.01)


def test_card_tells_what_was_measured(run: Path) -> None:
    model = AutoencoderKL.from_pretrained(run / "model", torch_dtype=torch.float32)
    measured = evaluate(model, 2, "train")
    assert measured["reader_before"]["object"] == 1.0
    card = model_card(
        json.loads((run / "training.json").read_text()), {"train": measured, "unseen": {**measured, "psnr_db": 12.34}}
    )
    assert f"| PSNR | {measured['psnr_db']:.1f} dB | 12.3 dB |" in card
    assert "3 steps of 2 scenes" in card
    assert "Muon" not in card
