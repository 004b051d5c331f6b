"""The probe with captioners that are known: what it measures and what it advises."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.probe import compare, draw_images, engine_rate, prepare_timed, probe, suggested_processes
from tests.factories import image_folder, picture


class Slow:
    """Takes 10 ms a request, says whether it was alone, and fails if asked to."""

    batch_size, max_in_flight = 1, 4

    def __init__(self, settings: CaptionerSettings) -> None:
        self.error = "out of order" if settings.model == "broken" else None

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        await asyncio.sleep(0.01)
        text = "alone" if len(requests) == 1 else "together"
        return [Completion(text, n_output_tokens=10, error=self.error) for _ in requests]

    async def close(self) -> None:
        pass


def asked(n: int) -> list[list[CaptionRequest]]:
    return [[CaptionRequest(picture(i), "Describe it.")] for i in range(n)]


def test_the_engines_rate_counts_what_was_answered() -> None:
    rate = asyncio.run(engine_rate(Slow(CaptionerSettings("m")), asked(40), limit_s=5))
    assert 100 < rate.images_per_s <= 400  # four at once, 10 ms each
    assert rate.tokens_per_s == pytest.approx(10 * rate.images_per_s)


def test_a_slow_engine_is_measured_within_the_limit() -> None:
    rate = asyncio.run(engine_rate(Slow(CaptionerSettings("m")), asked(10_000), limit_s=0.2))
    assert 50 < rate.images_per_s <= 400


def test_alone_and_together_are_compared() -> None:
    requests = [request for requests in asked(3) for request in requests]
    assert asyncio.run(compare(Slow(CaptionerSettings("m")), requests)) == [("alone", "together")] * 3


def test_processes_are_advised_where_one_is_too_slow_and_cores_are_many() -> None:
    assert suggested_processes(prepared_per_s=16, engine_images_per_s=40, cores=32) == 3
    assert suggested_processes(prepared_per_s=16, engine_images_per_s=400, cores=6) == 5
    assert suggested_processes(prepared_per_s=200, engine_images_per_s=40, cores=32) == 0
    assert suggested_processes(prepared_per_s=16, engine_images_per_s=40, cores=2) == 0


def test_drawn_pictures_are_of_typical_sizes() -> None:
    prepared, per_s = prepare_timed(draw_images(3), 512 * 512)
    assert [(image.width, image.height) for image in prepared] == [(512, 512), (1024, 768), (1024, 1024)]
    assert per_s > 0


def test_the_table_names_what_starves(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = str(image_folder(tmp_path / "in", 4))
    probe(RecaptionConfig(source, captioner="dummy"), 4)
    table = capsys.readouterr().out
    assert f"4 of {source}, seen at 48x32 pixels" in table
    assert "4 of 4 captions equal" in table
    assert "starving" in table
    assert "--set engine.prepare_processes=" in table


def test_a_captioner_that_only_fails_is_an_error(tmp_path: Path) -> None:
    source = str(image_folder(tmp_path / "in", 2))
    with pytest.raises(UserError, match="out of order"):
        probe(RecaptionConfig(source, captioner=f"{__name__}:Slow", model="broken"), 2)
