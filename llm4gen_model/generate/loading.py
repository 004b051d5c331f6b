"""Models as `generate` draws with them, never two in memory at once."""

from __future__ import annotations

import gc
from difflib import get_close_matches
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from llm4gen_data.errors import UsageError
from llm4gen_data.runs import read_json
from llm4gen_model import models
from llm4gen_model.generate.config import GenerateConfig
from llm4gen_model.layouts import PIPELINE_FILE, find_folder, layout_file, read_export
from llm4gen_model.models import Model


class ModelLoader:
    """Loads models by name for one configuration; another name, or `release`, lets go of the last one first."""

    def __init__(self, config: GenerateConfig) -> None:
        self._config = config
        self._name: str | None = None
        self._model: Model | None = None

    def load(self, name: str) -> Model:
        """The model `name`, ready to draw. Raises UserError if it cannot be had."""
        if self._model is None or self._name != name:
            self.release()
            self._model, self._name = load_for(name, self._config), name
        return self._model

    def release(self) -> None:
        """Free the memory of the last model; nobody else may hold it by now."""
        if self._model is None:
            return
        self._model = self._name = None
        gc.collect()  # pipelines are full of cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_for(name: str, config: GenerateConfig) -> Model:
    """A model with the scheduler, prompt handling, off-load and compilation of `config`."""
    model = models.load_model(
        name,
        dtype=config.dtype,
        device=config.device,
        offload=config.offload,
        base=config.base,
        llm=config.llm,
        llm_dtype=config.llm_dtype,
        llm_quantize=config.llm_quantize,
    )
    if config.scheduler is not None:
        set_scheduler(model.pipeline, config.scheduler)
    model.prompt_encoder.long_prompts = config.long_prompts
    model.prompt_encoder.prompt_weights = config.prompt_weights
    if config.compile:
        # every batch has the same shape: a graph for any shape would be slower, and no graph is made twice
        model.pipeline.unet.compile(dynamic=False)
    return model


def base_of(name: str) -> str | None:
    """What `load_model` takes for the base of the model `name`; None for what is itself a base.

    Raises UsageError for a model that does not say what it was made from.
    """
    folder = find_folder(name) if name not in models.MODEL_SPECS else None
    if folder is not None and layout_file(folder) == PIPELINE_FILE:
        if read_json(folder / PIPELINE_FILE).get("_class_name") in models.SAVED_PIPELINES:
            raise UsageError(f"--compare base: {name!r} does not say what its base is; name it with another --model")
        folder = None
    return None if folder is None else str(read_export(folder)["base"])


def set_scheduler(pipeline: DiffusionPipeline, name: str) -> None:
    """Replace a pipeline's scheduler by the diffusers class `name`, with the configuration of the one before.

    Raises UsageError for a name that diffusers has no scheduler of.
    """
    scheduler: Any = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if scheduler is None or SchedulerMixin not in scheduler.__mro__:
        known = sorted(entry for entry in dir(diffusers) if entry.endswith("Scheduler") and "Flax" not in entry)
        close = get_close_matches(name, known, n=1)
        raise UsageError(
            f"scheduler {name!r} is unknown: expected a scheduler of diffusers, such as "
            f"{close[0] if close else 'DPMSolverMultistepScheduler'}"
        )
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
