"""Which images a run consists of, where each goes, and which are drawn together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UsageError
from llm4gen_data.records import Prompt
from llm4gen_model.generate.config import GenerateConfig
from llm4gen_model.generate.loading import ModelLoader, base_of


@dataclass(frozen=True, slots=True)
class Column:
    """One model of the run: `source` is what `load_model` takes, `identity` everything that can change its images."""

    source: str
    name: str
    folder: str
    identity: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One image to be: what draws it, what it shows, and where it goes."""

    column: Column
    prompt: Prompt
    prompt_number: int
    sample_index: int
    path: Path


def noise_seed(config: GenerateConfig, drawing: Drawing) -> int:
    """The seed of the noise that an image starts from, as `GenerateConfig` says."""
    first = drawing.prompt_number * config.samples_per_prompt if config.noise_per_prompt else 0
    return config.seed + first + drawing.sample_index


def list_columns(config: GenerateConfig, loader: ModelLoader) -> list[Column]:
    """The models of the run in the order of the grid, each loaded once to know what it is; bases come first.

    Raises UserError for a model that cannot be had, before anything is written.
    """
    sources: list[str] = []
    for name in config.models:
        base = base_of(name) if config.compare == "base" else None
        base = config.base if base is not None and config.base is not None else base
        if base is not None and base not in (*sources, *config.models):
            sources.append(base)
        sources.append(name)
    columns: list[Column] = []
    for source in sources:
        model = loader.load(source)
        identity = dict(model.identity)
        own_scale = model.prompt_encoder.cam.config.get("scale", 1.0) if model.prompt_encoder.cam is not None else 1.0
        if config.cam_scale is None and own_scale != 1.0:
            identity["cam_scale"] = own_scale
        # a name may be a hub id or a path
        folder = re.sub(r"[^A-Za-z0-9._-]+", "-", model.name).strip(".-") or "model"
        for other in columns:
            if folder == other.folder:
                raise UsageError(
                    f"model {other.name!r}: two models would write to images/{folder}, expected other names"
                )
        columns.append(Column(source, model.name, folder, identity))
        del model
    return columns


def list_drawings(
    config: GenerateConfig, columns: Sequence[Column], prompts: Sequence[Prompt], out: Path
) -> list[Drawing]:
    """Every image of the run in its one order: by model, prompt, sample."""
    return [
        Drawing(column, prompt, number, sample, out / "images" / column.folder / f"{number:05d}-{sample:02d}.png")
        for column in columns
        for number, prompt in enumerate(prompts)
        for sample in range(config.samples_per_prompt)
    ]


def batches(drawings: Sequence[Drawing], lengths: Sequence[int], batch_size: int) -> Iterator[list[Drawing]]:
    """The drawings of one model in batches, the same in every start; `lengths` are text tokens by prompt number.

    Prompts of different lengths do not share a batch: the padding that would make them equal is read by the UNet,
    so that a picture would depend on its neighbours.
    """
    for length in sorted(set(lengths)):
        equal = [drawing for drawing in drawings if lengths[drawing.prompt_number] == length]
        yield from (equal[start : start + batch_size] for start in range(0, len(equal), batch_size))
