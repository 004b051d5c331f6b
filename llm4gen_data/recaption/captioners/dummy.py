"""Words made from a few of the pixels: for tests of the plumbing, never for data."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence

from PIL import Image

from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion

# What is hashed of an image, so that a large one costs no more than a small one.
SAMPLED_PX = (16, 16)


class DummyCaptioner:
    """Deterministic from the image; `LLM4GEN_DUMMY_DELAY_S` makes each batch take that long."""

    batch_size = 32

    def __init__(self, settings: CaptionerSettings) -> None:
        self.max_in_flight = settings.engine.max_in_flight or 4
        self._max_tokens = settings.sampling.max_tokens
        self._delay_s = float(os.environ.get("LLM4GEN_DUMMY_DELAY_S", "0"))

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One caption of hash words a request."""
        await asyncio.sleep(self._delay_s)
        return [self._caption(request) for request in requests]

    async def close(self) -> None:
        """Nothing to free."""

    def _caption(self, request: CaptionRequest) -> Completion:
        seen = request.image.resize(SAMPLED_PX, Image.Resampling.NEAREST).tobytes()
        digest = hashlib.blake2b(seen + request.instruction.encode(), digest_size=32).hexdigest()
        words = [digest[i : i + 4] for i in range(0, 64, 4)][: self._max_tokens]
        return Completion(text=f"A picture {' '.join(words)}.", finish_reason="stop", n_output_tokens=len(words))
