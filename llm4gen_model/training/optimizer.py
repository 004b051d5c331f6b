"""Optimizers and learning-rate schedules: torch's, diffusers' and any library's, passed through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from torch import nn

from llm4gen_data.errors import UsageError
from llm4gen_data.registry import resolve
from llm4gen_model.training.config import TrainConfig

OPTIMIZERS = {"adamw": "torch.optim:AdamW"}


def build_optimizer(config: TrainConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of the configuration. Raises UsageError for arguments that it does not take."""
    options: dict[str, Any] = {"lr": config.learning_rate}
    if config.optimizer == "adamw":
        options |= {
            "betas": (config.adam_beta1, config.adam_beta2),
            "weight_decay": config.adam_weight_decay,
            "eps": config.adam_epsilon,
            "fused": True,
        }
    options |= config.optimizer_options
    make = resolve("optimizer", config.optimizer, OPTIMIZERS)
    try:
        optimizer: torch.optim.Optimizer = make(parameters, **options)
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
