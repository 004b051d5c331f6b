"""Prompts in, images out: one run directory with a manifest of every image and a grid to look at.

Each image is complete before it has its name, the manifest comes last: a killed run goes on with the same command.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from PIL import Image
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.errors import UsageError
from llm4gen_data.parquet import GENERATED_IMAGE_SCHEMA, PROMPT_SCHEMA, write_shard
from llm4gen_data.prompts import load_prompts
from llm4gen_data.records import GeneratedImage, Prompt
from llm4gen_data.runs import atomic_path, fingerprint_hash, finish, is_complete, open_run, sha256_file
from llm4gen_model.generate.config import NOT_IN_FINGERPRINT
from llm4gen_model.generate.config import GenerateConfig as GenerateConfig
from llm4gen_model.generate.grid import draw_grid
from llm4gen_model.generate.sampling import sample_images

if TYPE_CHECKING:
    from llm4gen_model.models import Model

MAX_GRID_ROWS = 24
PACKAGES = ("torch", "diffusers", "transformers", "pillow")


@dataclass(frozen=True, slots=True)
class Drawing:
    """One image to be: what draws it, what it shows, and where it goes."""

    model: Model
    prompt: Prompt
    prompt_number: int
    sample_index: int
    path: Path


def generate(config: GenerateConfig, out: Path) -> None:
    """Draw every prompt with every model into the run directory `out`, or go on where an earlier start stopped.

    Writes `images/<model>/<prompt number>-<sample>.png`, `images.parquet`, `prompts.parquet`, `grid.png` and, last,
    `manifest.json`. Finished images are kept; one that is missing or damaged is drawn again. Raises UserError for
    prompts or models that cannot be used, and for a changed configuration.
    """
    from llm4gen_model.models import load_model

    prompts = load_prompts(config.prompts, n=config.n_prompts, seed=config.prompt_seed)
    models = [load_model(name, device=config.device, dtype=config.dtype) for name in config.models]
    drawings = _plan(config, models, prompts, out)
    fingerprint = _fingerprint(config, prompts, models)
    with open_run(out, "generate", to_plain(config), fingerprint):
        # what a killed start left half-written
        for leftover in (out / "images").glob("*/.tmp-*"):
            leftover.unlink()
        pending = {drawing.path for drawing in drawings if not _is_readable(drawing.path)}
        if pending or not is_complete(out):
            (out / "manifest.json").unlink(missing_ok=True)
            write_shard(out / "prompts.parquet", _table(prompts, PROMPT_SCHEMA))
            n_done = len(drawings) - len(pending)
            with tqdm(total=len(drawings), initial=n_done, unit="img", desc="generate") as progress:
                for batch in _batches(drawings, config.batch_size):
                    # A batch is drawn as a whole even where one image of it is missing: in another batch the
                    # same image comes out with other rounding, and so with other bytes.
                    if any(drawing.path in pending for drawing in batch):
                        progress.update(_draw(config, batch, pending))
            _publish(config, out, drawings, fingerprint)
    print(f"{out}: {len(prompts)} prompts, {len(models)} models; look at {out / 'grid.png'}")


def _plan(config: GenerateConfig, models: Sequence[Model], prompts: Sequence[Prompt], out: Path) -> list[Drawing]:
    """Every image of the run in its one order: by model, prompt, sample."""
    # a name may be a hub id or a path
    folders = [re.sub(r"[^A-Za-z0-9._-]+", "-", model.name).strip(".-") or "model" for model in models]
    for model, folder in zip(models, folders, strict=True):
        if folders.count(folder) > 1:
            raise UsageError(f"model {model.name!r}: two models would write to images/{folder}, expected other names")
    return [
        Drawing(model, prompt, number, sample, out / "images" / folder / f"{number:05d}-{sample:02d}.png")
        for model, folder in zip(models, folders, strict=True)
        for number, prompt in enumerate(prompts)
        for sample in range(config.samples_per_prompt)
    ]


def _fingerprint(config: GenerateConfig, prompts: Sequence[Prompt], models: Sequence[Model]) -> dict[str, Any]:
    """Everything that can change an image."""
    sampling = {key: value for key, value in to_plain(config).items() if key not in NOT_IN_FINGERPRINT}
    return {
        "prompts": fingerprint_hash({"prompts": [dataclasses.asdict(prompt) for prompt in prompts]}),
        "models": {model.name: model.identity for model in models},
        "sampling": sampling,
    }


def _batches(drawings: Sequence[Drawing], batch_size: int) -> Iterator[list[Drawing]]:
    """Batches of one model each, the same in every start."""
    for _, group in itertools.groupby(drawings, key=lambda drawing: drawing.model.name):
        remaining = list(group)
        while remaining:
            batch, remaining = remaining[:batch_size], remaining[batch_size:]
            yield batch


def _draw(config: GenerateConfig, batch: Sequence[Drawing], pending: Set[Path]) -> int:
    """Draw a batch and write those of its images that are pending; how many were written."""
    model = batch[0].model
    with torch.no_grad():
        embeds = model.prompt_encoder.encode(
            [drawing.prompt.prompt for drawing in batch],
            [config.negative_prompt] * len(batch),
            cam_scale=config.cam_scale,
        )
    images = sample_images(
        model.pipeline,
        embeds,
        [config.seed + drawing.sample_index for drawing in batch],
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
    )
    n_written = 0
    for drawing, image in zip(batch, images, strict=True):
        if drawing.path in pending:
            drawing.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(drawing.path) as temporary:
                image.save(temporary, format="PNG")
            n_written += 1
    return n_written


def _publish(config: GenerateConfig, out: Path, drawings: Sequence[Drawing], fingerprint: dict[str, Any]) -> None:
    """Write the image manifest and the grid of every prompt's first sample, then the run's manifest."""
    rows = [
        GeneratedImage(
            prompt_id=drawing.prompt.prompt_id,
            prompt=drawing.prompt.prompt,
            seed=config.seed + drawing.sample_index,
            sample_index=drawing.sample_index,
            model=drawing.model.name,
            path=drawing.path.relative_to(out).as_posix(),
            sha256=sha256_file(drawing.path),
        )
        for drawing in drawings
    ]
    write_shard(out / "images.parquet", _table(rows, GENERATED_IMAGE_SCHEMA))
    shown = [drawing for drawing in drawings if drawing.sample_index == 0 and drawing.prompt_number < MAX_GRID_ROWS]
    columns = list(dict.fromkeys(drawing.model.name for drawing in shown))
    n_rows = len(shown) // len(columns)
    images = [[_read(drawing.path) for drawing in shown[row::n_rows]] for row in range(n_rows)]
    with atomic_path(out / "grid.png") as temporary:
        draw_grid(columns, [drawing.prompt.prompt for drawing in shown[:n_rows]], images).save(temporary, format="PNG")
    content = {"n_prompts": len(drawings) // len(columns) // config.samples_per_prompt, "n_images": len(rows)}
    finish(out, "generate", fingerprint, {**content, "device": config.device}, PACKAGES)


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def _is_readable(path: Path) -> bool:
    try:
        _read(path)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a file that is missing or damaged
        return False
    return True


def _table(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=schema)
