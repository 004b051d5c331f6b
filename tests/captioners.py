"""Captioners that misbehave on purpose, given to `recaption --captioner tests.captioners:NAME`."""

import os
from collections.abc import Sequence
from pathlib import Path

from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion, EngineDied
from llm4gen_data.recaption.captioners.dummy import DummyCaptioner

# What the installed commands need to find this module.
PYTHONPATH = str(Path(__file__).parents[1])
# Pictures of these sizes (pixels) are poison.
KILLS_ENGINE = (13, 17)
KILLS_PROCESS = (13, 19)
REFUSED = (13, 23)


class Counting(DummyCaptioner):
    """The dummy captioner; every picture asked about adds a byte to the file that the environment calls CAPTIONED.

    A picture of size KILLS_ENGINE is the engine's death, one of KILLS_PROCESS the process's, one of REFUSED refused.
    """

    batch_size = 8

    def __init__(self, settings: CaptionerSettings) -> None:
        super().__init__(settings)
        self._dead = False

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        if "CAPTIONED" in os.environ:
            with Path(os.environ["CAPTIONED"]).open("ab") as file:
                file.write(b"." * len(requests))
        completions = await super().caption(requests)
        sizes = [request.image.size for request in requests]
        if KILLS_PROCESS in sizes:
            os._exit(9)
        if self._dead or KILLS_ENGINE in sizes:
            self._dead = True
            raise EngineDied("the engine is gone")
        refused = Completion(error="refused")
        return [refused if size == REFUSED else done for size, done in zip(sizes, completions, strict=True)]
