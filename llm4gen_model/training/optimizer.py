"""Optimizers and learning-rate schedules: torch's, diffusers' and any library's, passed through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from torch import nn

from llm4gen_data.errors import UsageError
from llm4gen_data.registry import resolve
from llm4gen_model.training.config import TrainConfig

OPTIMIZERS = {"adamw": "torch.optim:AdamW", "muon": "pytorch_optimizer:Muon"}
# What touches latents directly is no map between hidden features and stays AdamW's, as Muon's author advises.
OUTER_LAYERS = {"conv_in", "conv_out"}


def build_optimizer(config: TrainConfig, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of the configuration, of `parameters` by name. Raises UsageError for arguments it does not take.

    `muon` (https://kellerjordan.github.io/posts/muon) is for matrices and convolution kernels, each of its updates
    scaled as in arXiv 2502.16982; biases, norms and the outer layers are left to AdamW, at `adamw_lr`.
    """
    options: dict[str, Any] = {"lr": config.learning_rate}
    given: Any = list(parameters.values())
    betas = (config.adam_beta1, config.adam_beta2)
    if config.optimizer == "adamw":
        options |= {
            "betas": betas,
            "weight_decay": config.adam_weight_decay,
            "eps": config.adam_epsilon,
            "fused": True,
        }
    elif config.optimizer == "muon":
        hidden = [p for name, p in parameters.items() if p.ndim > 1 and OUTER_LAYERS.isdisjoint(name.split("."))]
        of_muon = set(hidden)
        others = [p for p in given if p not in of_muon]
        groups = [{"params": hidden, "use_muon": True}, {"params": others, "use_muon": False}]
        given = [group for group in groups if group["params"]]
        options |= {
            "weight_decay": config.adam_weight_decay,
            "use_adjusted_lr": True,
            "adamw_lr": config.learning_rate,
            "adamw_betas": betas,
            "adamw_wd": config.adam_weight_decay,
            "adamw_eps": config.adam_epsilon,
        }
    options |= config.optimizer_options
    make = resolve("optimizer", config.optimizer, OPTIMIZERS)
    try:
        optimizer: torch.optim.Optimizer = make(given, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"optimizer {config.optimizer} with {options}: {error}") from error
    return optimizer


def build_schedule(config: TrainConfig, optimizer: torch.optim.Optimizer) -> Any:
    """The learning-rate schedule of the configuration, counted in steps."""
    return get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )
