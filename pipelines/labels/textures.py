"""How `scenes.patterns.WEIGHTS` come about: texture by evidence, learned on drawn scenes and on labelled objects.

Those that are there were fitted by an earlier form of this, which is not kept: what comes out here is not the same to
the digit. The command sets both side by side, on objects that neither has learned on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import trange

from benchmarks.probes.linear import fit
from llm4gen_data.scenes.fit import surroundings
from llm4gen_data.scenes.patterns import MIN_LEAD, evidence_of_texture
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.segment import CUTS, Pixels, find_background, find_regions
from llm4gen_data.scenes.shades import darkness_of
from llm4gen_data.scenes.silhouettes import likely_shapes
from llm4gen_data.scenes.vocabulary import TEXTURES
from llm4gen_model.models import load_model
from pipelines.labels.agreement import MATCHED_WITHIN_PX
from pipelines.labels.sample import read_sample
from pipelines.mini.vlm_data import degrade, pixel_values

SCENE_SEED = 60_000_000
MAX_NOISE = 0.6  # on latents, in units of their standard deviation
FAINTEST = 0.3  # of the marks' contrast
DEV_EVERY = 5  # one example in so many chooses the penalty


@dataclass(frozen=True, slots=True)
class Example:
    """The evidence of an object's texture, the columns of WEIGHTS, and what it is."""

    evidence: NDArray[np.float32]
    texture: str


@dataclass(frozen=True, slots=True)
class Shares:
    """Of objects: what weights tell rightly, wrongly, and not at all."""

    right: float
    wrong: float
    untold: float


def fitted_weights(examples: Sequence[Example]) -> NDArray[np.float32]:
    """Weights [TEXTURES, evidence] by logistic regression, each row less the mean of all, which changes no order."""
    chooses = (np.random.default_rng(0).permutation(len(examples)) % DEV_EVERY == 0).tolist()
    states = torch.from_numpy(np.stack([example.evidence[:-1] for example in examples]))
    own, dev = torch.tensor([not dev for dev in chooses]), torch.tensor(chooses)
    textures = [example.texture for example in examples]
    told = [[t for t, is_dev in zip(textures, chooses, strict=True) if is_dev == which] for which in (False, True)]
    linear = fit(states[own], told[0], states[dev], told[1])
    slopes = linear.weight[:-1] / linear.scale[:, None]
    weights = torch.cat([slopes, linear.weight[-1:] - linear.mean @ slopes]).T
    weights = weights[[linear.labels.index(texture) for texture in TEXTURES]]
    return np.asarray((weights - weights.mean(dim=0)).detach().numpy(), dtype=np.float32)


def shares(weights: NDArray[np.float32], examples: Sequence[Example]) -> Shares:
    """What `weights` tell of `examples` by evidence alone, as `patterns.texture_of` does."""
    scores = np.stack([weights @ example.evidence for example in examples])
    lead = np.diff(np.sort(scores, axis=1)[:, -2:], axis=1)[:, 0] >= MIN_LEAD
    right = scores.argmax(axis=1) == [TEXTURES.index(example.texture) for example in examples]
    return Shares(float((lead & right).mean()), float((lead & ~right).mean()), float((~lead).mean()))


@torch.inference_mode()
def drawn_examples(n_scenes: int) -> list[Example]:
    """Objects of drawn scenes: a third compressed or blurred, a third with faint marks, a third of noisy latents."""
    vae = load_model("mini").pipeline.vae
    found = []
    for number in trange(n_scenes, desc="draw", mininterval=5):
        rng = random.Random(SCENE_SEED + number)
        scene, kind = sample_scene(SCENE_SEED + number), number % 3
        image, contrast = render(scene), 1.0
        if kind == 0:
            image = degrade(image, rng)
        elif kind == 1:
            contrast = rng.uniform(FAINTEST, 1)
        else:
            latents = vae.encode(pixel_values(np.array(image)[None])).latent_dist.mean
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(number))
            noisy = latents + rng.uniform(0, MAX_NOISE) * latents.std() * noise
            pixels = ((vae.decode(noisy).sample.clamp(-1, 1) + 1) * 127.5).round().byte()
            image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
        objects = [(o.x, o.y, o.color, o.texture) for o in scene.objects]
        found += list(_examples(image, objects, contrast))
    return found


def labelled_examples(folder: Path) -> list[Example]:
    """Objects of generated pictures whose colour and texture were told by eye."""
    pictures, seen = read_sample(folder)
    found = []
    for picture in pictures:
        told = [(o.x, o.y, o.color, o.texture) for o in seen.get(picture.number) or () if o.color and o.texture]
        found += list(_examples(picture.image, told, contrast=1.0))
    return found


def _examples(
    image: Image.Image, objects: Sequence[tuple[float, float, str | None, str | None]], contrast: float
) -> Iterator[Example]:
    """Of each object (x, y, colour, texture) of which there is a region; darkness is weakened to `contrast`."""
    picture: Pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    _, background = find_background(picture)
    regions = find_regions(picture, background, CUTS[0])
    centers = [np.argwhere(region).mean(axis=0)[::-1] for region in regions]
    everywhere = np.any([np.zeros(picture.shape[:2], dtype=bool), *regions], axis=0)
    for x, y, color, texture in objects:
        distances = [float(np.hypot(*(center - (x, y)))) for center in centers]
        if color is None or texture is None or min(distances, default=np.inf) > MATCHED_WITHIN_PX:
            continue
        region = regions[int(np.argmin(distances))]
        around = surroundings(picture, background, region, everywhere & ~region)
        pose = likely_shapes(region, around, color)[0].pose
        yield Example(evidence_of_texture(contrast * darkness_of(picture, color), region, pose), texture)
