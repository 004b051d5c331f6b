"""Words made from the pixels' hash: for tests of the plumbing, never for data."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence

from llm4gen_data.recaption.captioner import CaptionRequest, Completion, Engine, Sampling


class DummyCaptioner:
    """Deterministic from the image; `LLM4GEN_DUMMY_DELAY_S` makes each batch take that long."""

    batch_size = 32

    def __init__(self, model: str, revision: str | None, sampling: Sampling, engine: Engine) -> None:
        self.max_in_flight = engine.max_in_flight or 4
        self._max_tokens = sampling.max_tokens
        self._delay_s = float(os.environ.get("LLM4GEN_DUMMY_DELAY_S", "0"))

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        """One caption of hash words a request."""
        await asyncio.sleep(self._delay_s)
        return [self._caption(request) for request in requests]

    async def close(self) -> None:
        """Nothing to free."""

    def _caption(self, request: CaptionRequest) -> Completion:
        digest = hashlib.sha256(request.image.tobytes() + request.instruction.encode()).hexdigest()
        words = [digest[i : i + 4] for i in range(0, 64, 4)][: self._max_tokens]
        return Completion(text=f"A picture {' '.join(words)}.", finish_reason="stop", n_output_tokens=len(words))
