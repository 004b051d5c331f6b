"""The loop with captioners that fail in every way there is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionerSettings, CaptionRequest, Completion, EngineDied
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.loop import MAX_LONE_DEATHS_IN_A_ROW, CaptionJob
from llm4gen_data.recaption.shards import plan, read_outcomes, reopen
from tests.factories import encode, picture

N = 24


def size_number(request: CaptionRequest) -> int:
    """The images of these tests say who they are by their width."""
    return request.image.width - 8


class Scripted:
    """Answers with the image's number and the instruction; what it does to some images, tests decide."""

    batch_size = 1
    max_in_flight = 6
    poison: set[int] = set()  # noqa: RUF012
    busy: set[int] = set()  # noqa: RUF012
    n_starts = 0
    deaths: list[list[int]] = []  # noqa: RUF012

    def __init__(self, settings: CaptionerSettings) -> None:
        type(self).n_starts += 1
        self.settings = settings
        self.in_flight: set[int] = set()
        self.dead = False

    async def caption(self, requests: Sequence[CaptionRequest]) -> list[Completion]:
        numbers = {size_number(request) for request in requests}
        self.in_flight |= numbers
        await asyncio.sleep(0.002)
        if self.in_flight & self.poison:
            if not self.dead:
                type(self).deaths.append(sorted(self.in_flight))
            self.dead = True
        if self.dead:
            raise EngineDied("out of memory")
        self.in_flight -= numbers
        return [self.answer(request) for request in requests]

    def answer(self, request: CaptionRequest) -> Completion:
        number = size_number(request)
        if number in self.busy:
            return Completion(error="503", transient=True)
        if request.instruction.startswith("Is there"):
            return Completion("No." if "cat" in request.instruction else "Yes.", n_output_tokens=1)
        return Completion(f"A dog and a cat, number {number}: {request.instruction[:8]}", n_output_tokens=9)

    async def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    for name, value in {"poison": set(), "busy": set(), "n_starts": 0, "deaths": []}.items():
        monkeypatch.setattr(Scripted, name, value)
    return Scripted


def job(tmp_path: Path, **options: Any) -> CaptionJob:
    folder = tmp_path / "in"
    if not folder.exists():
        folder.mkdir()
        for i in range(N):
            (folder / f"{i:02d}.png").write_bytes(encode(picture(i).resize((8 + i, 8))))
    config = RecaptionConfig(str(folder), captioner=f"{__name__}:Scripted", shard_rows=10, **options)
    (tmp_path / "run" / "shards").mkdir(parents=True, exist_ok=True)
    return CaptionJob(config, tmp_path / "run", {})


def caption(job: CaptionJob) -> list[dict[str, Any]]:
    """Caption what has no marker; the rows of all shards."""
    shards = plan(N, job.config.shard_rows, job.out)

    async def work() -> None:
        loop = job.open_loop(lambda *_: None)
        try:
            await loop.caption([shard for shard in shards if not shard.marker.exists()])
        finally:
            await loop.close()

    asyncio.run(work())
    assert not list((job.out / "shards").glob("*.journal"))
    return [row for shard in shards for row in pq.read_table(shard.parquet).to_pylist()]


def test_instructions_are_asked_together_and_each_has_its_columns(tmp_path: Path, scripted: type[Scripted]) -> None:
    rows = caption(job(tmp_path, instructions=("paper", "short", "colours=Name the colours.")))
    assert [row["caption_raw"] for row in rows] == [f"A dog and a cat, number {i}: Detail t" for i in range(N)]
    assert rows[3]["short_caption"] == "A dog and a cat, number 3: Describe"
    assert rows[3]["colours_caption_raw"] == "A dog and a cat, number 3: Name the"
    assert rows[3]["colours_n_words"] == 9
    assert rows[3]["short_reject_reasons"] == []


def test_the_row_on_which_the_engine_dies_again_is_quarantined(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.poison |= {7, 15}
    rows = caption(job(tmp_path))
    assert {i for i, row in enumerate(rows) if row["status"] == "quarantined"} == {7, 15}
    assert rows[7]["error_message"] == "the engine died on it twice: out of memory"
    assert sum(row["status"] == "success" for row in rows) == N - 2
    assert [7] in scripted.deaths
    assert [15] in scripted.deaths
    assert scripted.n_starts == len(scripted.deaths) + 1


def test_poison_in_batches_one_after_the_other_does_not_end_the_run(
    tmp_path: Path, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "max_in_flight", 1)
    scripted.poison |= {7, 8}
    rows = caption(job(tmp_path))
    assert scripted.deaths == [[7], [7], [8], [8]]
    assert {i for i, row in enumerate(rows) if row["status"] != "success"} == {7, 8}


def test_an_engine_that_only_dies_ends_the_run_in_one_line(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.poison |= set(range(N))
    with pytest.raises(UserError, match=r"died on 3 pictures in a row .*out of memory.*goes on from here"):
        caption(job(tmp_path))
    assert len(scripted.deaths) == 1 + MAX_LONE_DEATHS_IN_A_ROW
    scripted.poison -= set(range(N))
    statuses = [row["status"] for row in caption(job(tmp_path))]
    assert statuses.count("success") >= N - MAX_LONE_DEATHS_IN_A_ROW
    assert set(statuses) <= {"success", "quarantined"}


def test_failed_rows_are_taken_out_and_done_again(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.busy |= {2, 23}
    this = job(tmp_path, instructions=("paper", "short"), object_check=True)
    before = caption(this)
    assert {i for i, row in enumerate(before) if row["status"] == "failed_transient"} == {2, 23}
    assert before[2]["short_caption"] is None
    shards = plan(N, 10, this.out)
    untouched = shards[1].parquet.read_bytes()
    assert [reopen(shard, this.config, ["failed_transient"]) for shard in shards] == [1, 0, 1]
    assert [shard.marker.exists() for shard in shards] == [False, True, False]
    scripted.busy -= {2, 23}
    n_asked = scripted.n_starts
    after = caption(this)
    assert [row["status"] for row in after] == ["success"] * N
    assert scripted.n_starts == n_asked + 1
    assert shards[1].parquet.read_bytes() == untouched
    assert [row for i, row in enumerate(after) if i not in (2, 23)] == [
        row for i, row in enumerate(before) if i not in (2, 23)
    ]
    assert all(
        outcome.answers.keys() == {"paper", "short"} for outcome in read_outcomes(shards[0], this.config).values()
    )


def test_the_model_is_asked_about_what_it_named(tmp_path: Path, scripted: type[Scripted]) -> None:
    row = caption(job(tmp_path, object_check=True))[0]
    assert row["objects_named"] == ["dog", "cat"]
    assert row["objects_denied"] == ["cat"]
