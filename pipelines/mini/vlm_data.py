"""vlm-mini's pictures: scenes of the train split rendered once into an array, with what each image token holds."""

import io
import random
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from tqdm import tqdm

from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene, sample_scene
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, COLORS, SHAPES, SIZES, TEXTURES
from pipelines.mini.vlm import GRID_SIZE, IMAGE_SIZE_PX

TRAIN_SEED = 50_000_000  # far from the seeds that other models train on and that anything is measured on
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "color": tuple(COLORS),
    "texture": TEXTURES,
    "size": SIZES,
}
NO_OBJECT = -100  # cross_entropy's ignore_index


def render_scenes(folder: Path, n: int, processes: int) -> None:
    """Render `n` training scenes into `folder`; a finished folder is left as it is.

    `images.npy` uint8 `[N,64,64,3]`; `targets.npz` with `attributes [N,16,4]` (`NO_OBJECT` where no object's centre
    is), `offsets [N,16,2]` of the centre in token cells, `backgrounds [N]`.
    """
    if (folder / "targets.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        folder / "images.npy", mode="w+", dtype=np.uint8, shape=(n, IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3)
    )
    targets = []
    with get_context("fork").Pool(processes) as pool:
        rendered = pool.imap(_render_scene, range(TRAIN_SEED, TRAIN_SEED + n), chunksize=200)
        for index, (pixels, target) in enumerate(tqdm(rendered, total=n, desc="render", mininterval=5)):
            images[index] = pixels
            targets.append(target)
    images.flush()
    attributes, offsets, backgrounds = (np.stack(column) for column in zip(*targets, strict=True))
    # Written last: its presence means that the folder is complete.
    np.savez(folder / "targets.npz", attributes=attributes, offsets=offsets, backgrounds=backgrounds)


def _render_scene(seed: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.int64]]:
    scene = sample_scene(seed, split="train")
    return np.asarray(degrade(render(scene), random.Random(seed))), grid_targets(scene)


def degrade(image: Image.Image, rng: random.Random) -> Image.Image:
    """Do to a picture what a downloader may do: half are compressed as JPEG, one in ten is blurred slightly."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randint(75, 100))
        image = Image.open(buffer).convert("RGB")
    return image


def grid_targets(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.int64]:
    """Return what each image token holds: attributes `[16,4]`, centre offsets `[16,2]` in cells, background index."""
    cell_px = IMAGE_SIZE_PX / GRID_SIZE
    attributes = np.full((GRID_SIZE**2, len(ATTRIBUTES)), NO_OBJECT, dtype=np.int64)
    offsets = np.zeros((GRID_SIZE**2, 2), dtype=np.float32)
    for o in scene.objects:
        column, row = int(o.x // cell_px), int(o.y // cell_px)
        cell = row * GRID_SIZE + column
        attributes[cell] = [names.index(getattr(o, attribute)) for attribute, names in ATTRIBUTES.items()]
        offsets[cell] = o.x / cell_px - column - 0.5, o.y / cell_px - row - 0.5
    return attributes, offsets, np.int64(list(BACKGROUNDS).index(scene.background))


def pixel_values(images: np.ndarray) -> torch.Tensor:
    """uint8 `[B,64,64,3]` to float `[B,3,64,64]` in -1..1, equal to the saved image processor's output."""
    return ((torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255) - 0.5) / 0.5


def index_batches(n: int, batch_size: int, seed: int, first_step: int) -> Iterator[np.ndarray]:
    """Yield indices of endless reshuffled epochs, starting at `first_step` as if all before had been drawn."""
    steps_per_epoch = n // batch_size
    step = first_step
    while True:
        order = np.random.default_rng((seed, step // steps_per_epoch)).permutation(n)
        for position in range(step % steps_per_epoch, steps_per_epoch):
            yield np.sort(order[position * batch_size : (position + 1) * batch_size])
            step += 1
