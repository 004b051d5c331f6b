"""Prompts in, images out: one run directory with a manifest of every image and a grid to look at.

Each image is complete before it has its name, the manifest comes last: a killed run goes on with the same command.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.prompts import load_prompts
from llm4gen_data.records import Prompt
from llm4gen_data.runs import atomic_path, fingerprint_hash, is_complete, open_run, package_versions
from llm4gen_model.generate import upsample
from llm4gen_model.generate.config import GenerateConfig as GenerateConfig
from llm4gen_model.generate.config import sampling_identity
from llm4gen_model.generate.loading import ModelLoader
from llm4gen_model.generate.metadata import png_info
from llm4gen_model.generate.plan import Column, Drawing, batches, list_columns, list_drawings, noise_seed
from llm4gen_model.generate.publish import PACKAGES, publish, read_image, write_prompts
from llm4gen_model.generate.sampling import sample_images
from llm4gen_model.models import Model

UPSAMPLE_JOURNAL = "upsample.journal"


def generate(config: GenerateConfig, out: Path) -> None:
    """Draw every prompt with every model into the run directory `out`, or go on where an earlier start stopped.

    Writes `images/<model>/<prompt number>-<sample>.png`, `images.parquet`, `prompts.parquet`, `grid.png` and, last,
    `manifest.json`. Finished images are kept; one that is missing or damaged is drawn again. One model at a time is
    in memory. Raises UserError for prompts or models that cannot be used, and for a changed configuration.
    """
    prompts = load_prompts(config.prompts, n=config.n_prompts, seed=config.prompt_seed)
    loader = ModelLoader(config)
    columns = list_columns(config, loader)
    drawings = list_drawings(config, columns, prompts, out)
    fingerprint = _fingerprint(config, prompts, columns)
    with open_run(out, "generate", to_plain(config), fingerprint):
        # what a killed start left half-written
        for leftover in (out / "images").glob("*/.tmp-*"):
            leftover.unlink()
        pending = {drawing.path for drawing in drawings if not _is_readable(drawing.path)}
        if pending or not is_complete(out):
            (out / "manifest.json").unlink(missing_ok=True)
            dense = _upsampled(config, prompts, loader, out)
            write_prompts(out, prompts, dense)
            started_at = time.monotonic()
            _draw_all(config, loader, drawings, dense, pending)
            seconds = time.monotonic() - started_at
            publish(config, out, drawings, dense, fingerprint)
            if pending:
                print(f"{len(pending):,} images in {seconds:.1f} s, {len(pending) / seconds:.2f} a second")
    print(f"{out}: {len(prompts)} prompts, {len(columns)} models; look at {out / 'grid.png'}")


def _fingerprint(config: GenerateConfig, prompts: Sequence[Prompt], columns: Sequence[Column]) -> dict[str, Any]:
    """Everything that can change an image."""
    return {
        "prompts": fingerprint_hash({"prompts": [dataclasses.asdict(prompt) for prompt in prompts]}),
        "models": {column.name: column.identity for column in columns},
        "sampling": sampling_identity(config),
        **({"upsample": upsample.fingerprint(config.upsample)} if config.upsample.model is not None else {}),
    }


def _upsampled(config: GenerateConfig, prompts: Sequence[Prompt], loader: ModelLoader, out: Path) -> list[str | None]:
    """The dense text by prompt number, None where the prompt is drawn as it is."""
    if config.upsample.model is None:
        return [None] * len(prompts)
    loader.release()
    return upsample.upsample(prompts, config.upsample, config.seed, out / UPSAMPLE_JOURNAL)


def _draw_all(
    config: GenerateConfig,
    loader: ModelLoader,
    drawings: Sequence[Drawing],
    dense: Sequence[str | None],
    pending: Set[Path],
) -> None:
    groups = [list(group) for _, group in itertools.groupby(drawings, key=lambda drawing: drawing.column.name)]
    with tqdm(total=len(drawings), initial=len(drawings) - len(pending), unit="img", desc="generate") as progress:
        # the last model is still in memory from finding out what it is
        for group in reversed(groups):
            if not any(drawing.path in pending for drawing in group):
                continue
            model = loader.load(group[0].column.source)
            texts = {drawing.prompt_number: _text(drawing, dense) for drawing in group}
            lengths = _lengths(config, model, [texts[number] for number in sorted(texts)])
            for batch in batches(group, lengths, config.batch_size):
                # A batch is drawn as a whole even where one image of it is missing: in another batch the same
                # image comes out with other rounding, and so with other bytes.
                if any(drawing.path in pending for drawing in batch):
                    progress.update(_draw(config, model, batch, dense, pending))
            del model


def _draw(
    config: GenerateConfig, model: Model, batch: Sequence[Drawing], dense: Sequence[str | None], pending: Set[Path]
) -> int:
    """Draw a batch and write those of its images that are pending; how many were written."""
    # A compiled UNet has one shape: a short batch is filled up, and what fills it is thrown away.
    n_filling = config.batch_size - len(batch) if config.compile else 0
    drawn = [*batch, *[batch[-1]] * n_filling]
    with torch.no_grad():
        embeds = model.prompt_encoder.encode(
            [_text(drawing, dense) for drawing in drawn],
            [config.negative_prompt] * len(drawn),
            cam_scale=config.cam_scale,
            drop_llm_tokens=config.drop_llm_tokens,
        )
    images = sample_images(
        model.pipeline,
        embeds,
        [noise_seed(config, drawing) for drawing in drawn],
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        guidance_rescale=config.guidance_rescale,
        height=config.height,
        width=config.width,
        connector=model.prompt_encoder.cam,
    )
    n_written = 0
    for drawing, image in zip(batch, images, strict=False):
        if drawing.path in pending:
            drawing.path.parent.mkdir(parents=True, exist_ok=True)
            about = _about(config, model, drawing, dense, image)
            with atomic_path(drawing.path) as temporary:
                image.save(temporary, format="PNG", pnginfo=png_info(about))
            n_written += 1
    return n_written


def _about(
    config: GenerateConfig, model: Model, drawing: Drawing, dense: Sequence[str | None], image: Image.Image
) -> dict[str, Any]:
    """What the image's own metadata says."""
    upsampled = dense[drawing.prompt_number]
    return {
        "prompt_id": drawing.prompt.prompt_id,
        "prompt": drawing.prompt.prompt,
        **({} if upsampled is None else {"upsampled_prompt": upsampled}),
        **sampling_identity(config),
        "seed": noise_seed(config, drawing),
        "size": list(image.size),
        "scheduler": type(model.pipeline.scheduler).__name__,
        "model": drawing.column.name,
        "model_id": fingerprint_hash(drawing.column.identity),
        "versions": package_versions(*PACKAGES),
    }


def _text(drawing: Drawing, dense: Sequence[str | None]) -> str:
    return dense[drawing.prompt_number] or drawing.prompt.prompt


def _lengths(config: GenerateConfig, model: Model, texts: Sequence[str]) -> list[int]:
    """Text tokens that each prompt takes; all equal unless long prompts are read in chunks."""
    if config.long_prompts == "truncate":
        return [0] * len(texts)
    encoder = model.prompt_encoder
    return [len(encoder.text_token_spans(text)) for text in texts]


def _is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a file that is missing or damaged
        return False
    return True
