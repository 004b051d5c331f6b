"""Drawn scenes distorted as small generative models do it: wobbling outlines and marks, soft edges, uneven colour."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.vocabulary import FRAME_PX


def distorted(scene: Scene, wobble_px: float, seed: int) -> Image.Image:
    """The picture of a scene, its pixels moved by `wobble_px` (standard deviation), blurred, shaded and noisy."""
    rng = np.random.default_rng(seed)

    def field(scale_px: float) -> NDArray[np.float64]:
        smooth = ndimage.gaussian_filter(rng.normal(size=(FRAME_PX, FRAME_PX)), scale_px, mode="wrap")
        return np.asarray(smooth / smooth.std())

    drawn = np.asarray(render(scene), dtype=np.float32)
    rows, columns = np.indices((FRAME_PX, FRAME_PX))
    places = [rows + wobble_px * field(4), columns + wobble_px * field(4)]
    moved = np.stack(
        [ndimage.map_coordinates(drawn[..., c], places, order=1, mode="nearest") for c in range(3)], axis=-1
    )
    soft = ndimage.gaussian_filter(moved, (0.7, 0.7, 0))
    empty = np.asarray(render(Scene(0, scene.background, ())), dtype=np.float32)
    is_object = np.clip(np.linalg.norm(soft - empty, axis=-1) / 60, 0, 1)[..., None]
    shading = soft * 0.1 * field(5)[..., None] + 8 * np.stack([field(5) for _ in range(3)], axis=-1)
    noisy = soft + is_object * shading + rng.normal(scale=2, size=soft.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
