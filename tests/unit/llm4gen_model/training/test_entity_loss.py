import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.models import Model
from llm4gen_model.training import loop, run
from llm4gen_model.training.config import EntityLossConfig, TrainConfig, fingerprint_of, load_train_config
from llm4gen_model.training.data import open_pairs
from llm4gen_model.training.entity_loss import captured_maps, distance, entity_losses, entity_tokens
from llm4gen_model.training.entity_readers import Pair, Reader
from llm4gen_model.training.features import build_features
from llm4gen_model.training.loader import load_batches
from llm4gen_model.training.loss import noise_scheduler
from llm4gen_model.training.metrics import read_metrics
from llm4gen_model.training.trained import build_denoiser
from tests.factories import cam_model, connector, language_model, sd15_pipeline

ON = EntityLossConfig(weight=1.0, layers=("mid", "up"), pairs=f"{__name__}:numbers_reader", max_pairs=3)


def numbers_reader() -> Reader:
    """Of "a picture with number 7", or "picture 7", that the picture is 7."""

    def pairs(text: str) -> list[Pair]:
        picture = text.find("picture")
        digit = next((i for i, letter in enumerate(text) if letter.isdigit()), -1)
        return [((picture, picture + 7), (digit, digit + 1))] if picture >= 0 and digit >= 0 else []

    return Reader({"reader": "numbers"}, lambda texts: [pairs(text) for text in texts])


def spans(*pairs: Pair) -> torch.Tensor:
    return torch.tensor(pairs, dtype=torch.int32).reshape(-1, 4)


def test_both_tokenizers_tokens_stand_for_a_word() -> None:
    encoder = cam_model("tiny").prompt_encoder  # a token a letter; CLIP reads 22 of them, the language model 10
    given = [spans(((6, 9), (2, 5)), ((18, 19), (2, 5)), ((30, 31), (2, 5)), ((0, 1), (2, 5))), spans()]
    tokens = entity_tokens(encoder, ["a red cat sits on a mat that is old", ""], given, 3)
    assert tokens.shape == (2, 3, 2, 24 + 12)
    assert tokens.dtype == torch.bool
    entity, attribute = tokens[0, 0]
    # spaces are no tokens; one special token before each text
    assert entity.nonzero()[:, 0].tolist() == [5, 6, 7, 24 + 5, 24 + 6, 24 + 7]
    assert attribute.nonzero()[:, 0].tolist() == [2, 3, 4, 24 + 2, 24 + 3, 24 + 4]
    assert tokens[0, 1, 0].nonzero()[:, 0].tolist() == [14]  # the language model did not get so far
    assert not tokens[0, 2].any()  # nobody did
    assert not tokens[1].any()


def test_without_a_token_for_each_of_the_language_models_the_text_encoders_count() -> None:
    pipeline, llm = sd15_pipeline(), language_model()
    given = spans(((6, 9), (2, 5)))
    for encoder in (
        PromptEncoder.from_pipeline(pipeline),
        PromptEncoder.from_pipeline(pipeline, llm=llm, cam=connector("resampler")),
    ):
        tokens = entity_tokens(encoder, ["a red cat"], [given], 1)
        assert tokens.sum(dim=-1).tolist() == [[[3, 3]]]
        assert tokens.shape[-1] == 24


def test_distances() -> None:
    left, right = torch.tensor([3.0, 0.0, 0.0, 1.0]), torch.tensor([0.0, 2.0, 0.0, 0.0])
    for name, far in {"l2": math.sqrt(2), "l1": 1.0}.items():
        assert float(distance(name, left, right)) == pytest.approx(far)
    shares, others = left / 4, torch.tensor([0.25, 0.25, 0.25, 0.25])
    divergence = 0.5 * (0.75 - 0.25) * math.log(3)
    kl = distance("kl", shares + 1e-6, others)
    assert float(kl) > divergence
    for name in ("l2", "l1", "kl"):
        assert float(distance(name, left, 5 * left)) == pytest.approx(0, abs=1e-3)
        assert float(distance(name, left, right)) == pytest.approx(float(distance(name, 7 * right, left)), rel=1e-4)
        zero = torch.zeros(4, requires_grad=True)
        (gradient,) = torch.autograd.grad(distance(name, zero, zero), zero)
        assert torch.isfinite(gradient).all()


def test_the_loss_is_a_mean_over_pairs_layers_and_samples() -> None:
    maps = {"a": torch.rand(2, 4, 16, 9).softmax(dim=-1), "b": torch.rand(2, 2, 4, 9).softmax(dim=-1)}
    tokens = torch.zeros(2, 3, 2, 9, dtype=torch.bool)
    tokens[0, 0, 0, [1, 2]] = tokens[0, 0, 1, 3] = tokens[0, 1, 0, 4] = tokens[0, 1, 1, 5] = True
    timesteps = torch.tensor([100, 900])
    found = entity_losses(ON, maps, tokens, timesteps)
    expected = [
        distance("l2", layer[0].mean(0)[:, entity].sum(1), layer[0].mean(0)[:, attribute].sum(1))
        for layer in maps.values()
        for entity, attribute in (([1, 2], [3]), ([4], [5]))
    ]
    torch.testing.assert_close(found[0], torch.stack(expected).mean())
    assert float(found[1]) == 0
    swapped = entity_losses(ON, {name: layer.flip(0) for name, layer in maps.items()}, tokens.flip(0), timesteps)
    assert float(swapped[1]) == pytest.approx(float(found[0]))
    early = entity_losses(
        replace(ON, max_timestep=500), {n: m.flip(0) for n, m in maps.items()}, tokens.flip(0), timesteps
    )
    assert early.tolist() == [0, 0]
    # latents of a resampler stand behind the text and are nobody's
    longer = {name: torch.nn.functional.pad(layer, (0, 5), value=0.3) for name, layer in maps.items()}
    torch.testing.assert_close(entity_losses(ON, longer, tokens, timesteps), found)


def gradients(config: TrainConfig, *, checkpointing: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """The entity loss alone of the first batch, and its gradients."""
    config = replace(config, gradient_checkpointing=checkpointing)
    model = run.build_model(config)
    denoiser = build_denoiser(config, model)
    features = build_features(config.out.parent / "cache", config, model, open_pairs(config.data, config.captions))
    (batch,) = load_batches(config, model, features, [0], [0], 1)
    assert batch.entities is not None
    with captured_maps(config.entity_loss, denoiser.unet) as maps:
        loop.batch_loss(config, model, denoiser, noise_scheduler(model.pipeline), batch)
        loss = entity_losses(config.entity_loss, maps, batch.entities, batch.timesteps).mean()
        torch.autograd.backward(loss)
    found = {name: p.grad for name, p in denoiser.named_parameters() if p.grad is not None}
    return loss.item(), found


@pytest.mark.parametrize("train", ["cam", "cam+unet"])
def test_the_gradient_of_the_cam_is_the_same_under_gradient_checkpointing(config: TrainConfig, train: Any) -> None:
    config = replace(config, train=train, entity_loss=ON)
    loss, plain = gradients(config, checkpointing=False)
    again, checkpointed = gradients(config, checkpointing=True)
    assert loss == again > 0
    assert {name for name in plain if name.startswith("cam.")}
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        assert torch.equal(gradient, checkpointed[name]), name
    assert float(plain["cam.CrossFusionModule.0.q_proj.weight"].abs().max()) > 0


def test_training_brings_an_entity_and_its_attributes_together(config: TrainConfig) -> None:
    """Twelve captions, 25 steps: they are looked at more alike than after as many without the loss."""
    longer = replace(
        config,
        train="cam+unet",
        max_train_steps=25,
        checkpointing_steps=99,
        validation_steps=99,
        learning_rate=5e-3,
        proportion_empty_prompts=0.0,
    )
    after = []
    for number, entity_loss in enumerate((ON, replace(ON, weight=0.0))):
        one = replace(longer, entity_loss=entity_loss, out=config.out.with_name(f"out-{number}"))
        run.train(one)
        after.append(gradients(replace(one, entity_loss=ON, base=str(one.out / "model")), checkpointing=False)[0])
    assert after[0] < 0.7 * after[1]
    guided, plain = (read_metrics(config.out.with_name(f"out-{number}") / "metrics.jsonl") for number in (0, 1))
    assert guided[-1]["entity_loss"] < 0.7 * guided[0]["entity_loss"]
    assert all("entity_loss" not in line for line in plain)


def test_pieces_and_restarts_change_nothing(config: TrainConfig) -> None:
    guided = replace(config, entity_loss=ON, max_train_steps=4, validation_steps=3)
    run.train(guided)
    online = replace(
        guided,
        out=config.out.with_name("online"),
        gradient_accumulation_steps=2,
        gradient_checkpointing=True,
        cache_mode="none",
    )
    run.train(online)
    halves = replace(guided, out=config.out.with_name("halves"))
    run.train(replace(halves, max_train_steps=2))
    run.train(halves)

    def weights(of: Path) -> torch.Tensor:
        saved = torch.load(sorted((of / "checkpoints").glob("*.pt"))[-1], weights_only=True)["weights"]
        return saved["cam.CrossFusionModule.0.q_proj.weight"]  # type: ignore[no-any-return]

    whole = weights(guided.out)
    assert torch.equal(whole, weights(halves.out))
    assert (whole - weights(online.out)).abs().max() < 1e-3  # features of the cache are float16


def test_settings(config: TrainConfig) -> None:
    required = [f"data={config.data}", f"out={config.out}"]
    told = load_train_config(None, [*required, "entity_loss.weight=0.01", "entity_loss.layers=[mid_block]"], {})
    assert told.entity_loss == EntityLossConfig(weight=0.01, layers=("mid_block",))
    assert "entity_loss" not in fingerprint_of(config, to_plain(config))
    assert "entity_loss" in fingerprint_of(told, to_plain(told))
    for wrong, message in {
        "weight=-1": "expected 0",
        "max_pairs=0": "at least 1",
        "distance=l3": "distance",
        "wait=1": "did you mean entity_loss.weight",
    }.items():
        with pytest.raises(UsageError, match=message):
            load_train_config(None, [*required, f"entity_loss.{wrong}"], {})
    model = Model("tiny", sd15_pipeline(), PromptEncoder.from_pipeline(sd15_pipeline()), {})
    with (
        pytest.raises(UsageError, match=r"layer 'up_blocks\.9'"),
        captured_maps(replace(ON, layers=("up_blocks.9",)), model.pipeline.unet),
    ):
        pass
