"""What a run of `generate` is read by: the image manifest, the prompts, the grid, and last the run's manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from llm4gen_data.parquet import GENERATED_IMAGE_SCHEMA, PROMPT_SCHEMA, write_shard
from llm4gen_data.records import GeneratedImage, Prompt
from llm4gen_data.runs import atomic_path, finish, package_versions, sha256_file
from llm4gen_model.generate.config import GenerateConfig
from llm4gen_model.generate.grid import draw_grid
from llm4gen_model.generate.plan import Drawing, noise_seed

MAX_GRID_ROWS = 24
PACKAGES = ("torch", "diffusers", "transformers", "pillow")


def write_prompts(out: Path, prompts: Sequence[Prompt], dense: Sequence[str | None]) -> None:
    """Write `prompts.parquet`; where prompts were rewritten it has the further column `upsampled_prompt`."""
    rows, schema = [dataclasses.asdict(prompt) for prompt in prompts], PROMPT_SCHEMA
    if any(text is not None for text in dense):
        rows = [{**row, "upsampled_prompt": text} for row, text in zip(rows, dense, strict=True)]
        schema = schema.append(pa.field("upsampled_prompt", pa.string()))
    write_shard(out / "prompts.parquet", pa.Table.from_pylist(rows, schema=schema))


def publish(
    config: GenerateConfig,
    out: Path,
    drawings: Sequence[Drawing],
    dense: Sequence[str | None],
    fingerprint: dict[str, Any],
) -> None:
    """Write the image manifest and the grid of every prompt's first sample, then the run's manifest."""
    rows = [
        GeneratedImage(
            prompt_id=drawing.prompt.prompt_id,
            prompt=drawing.prompt.prompt,
            seed=noise_seed(config, drawing),
            sample_index=drawing.sample_index,
            model=drawing.column.name,
            path=drawing.path.relative_to(out).as_posix(),
            sha256=sha256_file(drawing.path),
        )
        for drawing in drawings
    ]
    table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=GENERATED_IMAGE_SCHEMA)
    provenance = {"fingerprint": fingerprint, "versions": package_versions(*PACKAGES)}
    write_shard(out / "images.parquet", table, provenance)
    shown = [drawing for drawing in drawings if drawing.sample_index == 0 and drawing.prompt_number < MAX_GRID_ROWS]
    columns = list(dict.fromkeys(drawing.column.name for drawing in shown))
    n_rows = len(shown) // len(columns)
    images = [[read_image(drawing.path) for drawing in shown[row::n_rows]] for row in range(n_rows)]
    texts = [dense[drawing.prompt_number] or drawing.prompt.prompt for drawing in shown[:n_rows]]
    with atomic_path(out / "grid.png") as temporary:
        draw_grid(columns, texts, images).save(temporary, format="PNG")
    content = {"n_prompts": len(dense), "n_images": len(rows), "device": config.device}
    if config.upsample.model is not None:
        n_short = sum(
            prompt.n_words < config.upsample.shorter_than
            for prompt in {drawing.prompt_number: drawing.prompt for drawing in drawings}.values()
        )
        n_upsampled = sum(text is not None for text in dense)
        content |= {"n_upsampled": n_upsampled, "n_not_upsampled": n_short - n_upsampled}
    finish(out, "generate", fingerprint, content, PACKAGES)


def read_image(path: Path) -> Image.Image:
    """The image, decoded whole. Raises what Pillow raises for a file that is missing or damaged."""
    with Image.open(path) as image:
        image.load()
        return image
