import asyncio
import os
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import pytest

from llm4gen_data.recaption import preparing
from llm4gen_data.recaption.prepare import ImageError, PreparedImage
from llm4gen_data.recaption.preparing import Preparation
from tests.factories import encode, picture

IMAGES = [encode(picture(i)) for i in range(5)]


def prepared(n_processes: int, images: list[bytes]) -> list[Any]:
    preparation = Preparation(max_pixels=100, n_processes=n_processes)
    try:
        return asyncio.run(_call(preparation, images))
    finally:
        preparation.close()


async def _call(preparation: Preparation, images: list[bytes]) -> list[Any]:
    return [*await preparation(images)]


def test_processes_prepare_what_threads_prepare() -> None:
    images = [*IMAGES, b"no picture"]
    beside, within = prepared(1, images), prepared(0, images)
    assert [image.image.tobytes() for image in beside[:5]] == [image.image.tobytes() for image in within[:5]]
    assert all(image.image.width * image.image.height <= 100 for image in within[:5])
    assert isinstance(beside[5], ImageError)
    assert str(beside[5]) == str(within[5])


def dies_on_three(images: list[bytes], max_pixels: int) -> list[Any]:
    """Stands for a decoder that takes its process down."""
    if IMAGES[3] in images:
        os._exit(1)
    return preparing.prepare_all(images, max_pixels)


def test_an_image_that_kills_its_decoder_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = ProcessPoolExecutor.submit

    def submit_deadly(pool: Any, _: Any, *arguments: Any) -> Future[Any]:
        return submit(pool, dies_on_three, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit_deadly)
    result = prepared(1, IMAGES)
    assert [isinstance(image, PreparedImage) for image in result] == [True, True, True, False, True]
    assert "crashed" in str(result[3])
