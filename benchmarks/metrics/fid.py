"""FID, KID and Inception score: how far all pictures of a model together are from real ones; by named networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.encoders import ENCODERS, EncoderSpec, Features, load_encoder
from benchmarks.metrics.reference import Reference
from benchmarks.records import CorpusScore, Score
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

CLIP = "clip"
MODES = {CLIP: CLIP} | {name.removeprefix("inception-"): name for name in ENCODERS if name.startswith("inception-")}


class Fid:
    """One number a model, of all its pictures: `fid[MODE]`, `kid[MODE]` and, of networks with classes, `is[MODE]`.

    `mode` names the network: clean, torch-fidelity, torchmetrics, or clip (`model` is then which CLIP, and the kind
    is called after it), else an encoder `module:attribute`. `reference` is a folder of real pictures or an .npz file
    of statistics (FID only). FID grows as pictures get fewer: values compare only at the same number of pictures.

    Raises UserError for a network or reference that is not there, UsageError for an unknown mode.
    """

    unit = "distance"
    higher_is_better = False
    digits = 4

    def __init__(
        self,
        reference: Path | str | None = None,
        mode: str = "clean",
        model: str = "",
        revision: str | None = None,
        kid_subsets: int = 100,
        kid_subset_size: int = 1000,
        is_splits: int = 10,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        if mode not in MODES and ":" not in mode:
            raise UsageError(f"fid.mode {mode!r}: expected one of {', '.join(MODES)}, or module:attribute")
        for key, value, least in (
            ("kid_subsets", kid_subsets, 1),
            ("kid_subset_size", kid_subset_size, 2),
            ("is_splits", is_splits, 1),
        ):
            if value < least:
                raise UsageError(f"fid.{key} = {value}: expected at least {least}")
        if mode == CLIP and not model:
            raise UsageError("fid.mode clip: expected --set fid.model=..., a bundled CLIP, a folder or a hub id")
        self.spec = EncoderSpec(MODES.get(mode, mode), model, revision, dtype, device)
        self.mode = f"{mode}:{Path(model).name}" if mode == CLIP else mode
        self.headline = f"fid[{self.mode}]"
        self.kid_subsets, self.kid_subset_size, self.is_splits = kid_subsets, kid_subset_size, is_splits
        self.seed = seed
        self.uses = (self.spec,)
        self._encoder = load_encoder(self.spec)
        if reference is None:
            raise UserError(
                "fid: nothing to compare with: expected --set fid.reference=FOLDER of real pictures, or .npz"
            )
        if not Path(reference).exists():
            raise UserError(f"fid: {reference}: no such folder or file of statistics")
        self.reference = Reference(Path(reference), self.spec)

    def identity(self) -> dict[str, Any]:
        """Network, reference with its number of pictures, subsets and splits."""
        return {
            "metric": "fid",
            "version": 1,
            "mode": self.mode,
            "network": self._encoder.identity(),
            "reference": self.reference.identity(),
            "kid": f"{self.kid_subsets} subsets of {self.kid_subset_size}",
            "is_splits": self.is_splits,
            "seed": self.seed,
            "higher_is_better": False,
        }

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Prompts play no part."""

    def score(
        self, images: Sequence[Image], prompts: Sequence[Prompt], features: Features | None = None
    ) -> list[list[Score]]:
        """No picture has a value of its own."""
        return [[] for _ in images]

    def score_corpus(self, features: np.ndarray) -> list[CorpusScore]:
        """FID, KID and IS of the pictures with these features [N, D]; what cannot be computed says why."""
        n_logits = getattr(self._encoder, "n_logits", 0)
        width = features.shape[1] - n_logits
        expected = len(self.reference.gaussian.mean)
        if width != expected:
            raise UserError(
                f"fid: {self.reference.path}: statistics of {expected} features, network {self.mode} has {width}"
            )
        return [
            self._fid(features[:, :width]),
            *self._kid(features[:, :width]),
            *(self._inception_score(features[:, width:]) if n_logits else ()),
        ]

    def _fid(self, features: np.ndarray) -> CorpusScore:
        from benchmarks.metrics.distances import frechet_distance, gaussian

        n_reference = self.reference.gaussian.n
        against = f"{n_reference:,} pictures" if n_reference else "statistics of an unknown number of pictures"
        try:
            value = frechet_distance(gaussian(features), self.reference.gaussian)
        except UserError as error:
            return CorpusScore(self.headline, None, str(error))
        told = f"{len(features):,} pictures against {against} of {self.reference.path.name}; no interval"
        few = "; fewer pictures than features, so its size says little" if len(features) < features.shape[1] else ""
        return CorpusScore(self.headline, value, told + few)

    def _kid(self, features: np.ndarray) -> Iterator[CorpusScore]:
        from benchmarks.metrics.distances import kernel_distance

        kind = f"kid[{self.mode}]"
        if self.reference.features is None:
            yield CorpusScore(kind, None, "KID needs a folder of pictures; statistics are not enough")
            return
        try:
            found = kernel_distance(
                features, self.reference.features, self.kid_subsets, self.kid_subset_size, self.seed
            )
        except UserError as error:
            yield CorpusScore(kind, None, f"{error}; --set fid.kid_subset_size=N takes fewer")
            return
        told = f"mean of {self.kid_subsets} subsets of {self.kid_subset_size} pictures"
        yield CorpusScore(kind, found.mean, told)
        yield CorpusScore(f"{kind} std", found.std, "standard deviation over the subsets, no interval")

    def _inception_score(self, logits: np.ndarray) -> Iterator[CorpusScore]:
        from benchmarks.metrics.distances import inception_score

        kind = f"is[{self.mode}]"
        try:
            found = inception_score(logits, self.is_splits, self.seed)
        except UserError as error:
            yield CorpusScore(kind, None, str(error))
            return
        told = f"{self.is_splits} splits of {len(logits):,} pictures; higher is surer and more varied"
        yield CorpusScore(kind, found.mean, told)
        yield CorpusScore(f"{kind} std", found.std, "standard deviation over the splits, no interval")
