"""DPG-Bench through the metric and a whole run: grids cut into cells, both modes, and the benchmark's own sums."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.config import BenchConfig, DpgOptions
from benchmarks.metrics.dpg import ANSWERS, Dpg, answers_from_text, answers_text
from benchmarks.run import run
from benchmarks.suites.dpg import DpgQuestion, aggregate
from benchmarks.suites.dpg_prompts import to_spec
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.parquet import PROMPT_SCHEMA, write_shard
from llm4gen_data.records import Prompt
from llm4gen_data.runs import read_json

A = [
    DpgQuestion("a", 1, "Is there a dog?", "entity - whole", (0,), first_row=True),
    DpgQuestion("a", 2, "Is there a cat?", "entity - whole", (0,)),
    DpgQuestion("a", 3, "Is the cat red?", "attribute - color", (2,)),
]
B = [DpgQuestion("b", 1, "Is there a car?", "entity - whole", (0,))]
PROMPTS = [Prompt("a", "a dog and a red cat", "x", 6, to_spec(A)), Prompt("b", "a car", "y", 2, to_spec(B))]


class Reads:
    """The red of a picture's first pixel is a number whose bits are the answers: dog 1, cat 2, red 4, car 8."""

    bits = ("dog", "cat?", "red", "car")
    seen: ClassVar[list[tuple[int, int]]] = []

    def identity(self) -> dict[str, Any]:
        return {"model": "reads"}

    def answer_probabilities(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[Sequence[str]],
        answers: tuple[str, str] = ("yes", "no"),
    ) -> list[list[float]]:
        self.seen.extend(image.size for image in images)
        return [[self._yes(image, question) for question in own] for image, own in zip(images, questions, strict=True)]

    def _yes(self, image: Image.Image, question: str) -> float:
        number = int(np.asarray(image)[0, 0, 0])
        (bit,) = (i for i, word in enumerate(self.bits) if word in question)
        return 0.9 if number >> bit & 1 else 0.1


def plain(number: int) -> Image.Image:
    return Image.new("RGB", (16, 16), (number, 0, 0))


def grid(*numbers: int) -> Image.Image:
    picture = Image.new("RGB", (32, 32))
    for i, number in enumerate(numbers):
        picture.paste(plain(number), (i % 2 * 16, i // 2 * 16))
    return picture


def test_a_grid_is_scored_cell_by_cell_row_by_row() -> None:
    metric = Dpg(vqa=f"{__name__}:Reads", pictures="grid")
    metric.check(PROMPTS)
    cells = (1, 2 | 4, 4, 0)  # dog; red cat; red but no cat; nothing
    ((fixed, answers),) = metric.score([grid(*cells)], PROMPTS[:1])
    assert fixed.kind == "fixed"
    assert fixed.value == pytest.approx((1 / 3 + 2 / 3 + 0 + 0) / 4)
    assert fixed.reason is not None
    assert "cell 3: Is there a dog? no (P(yes) = 0.100); Is there a cat? no" in fixed.reason
    assert "Is the cat red? yes (P(yes) = 0.900), counts 0: what it depends on is a no | cell 4" in fixed.reason
    assert answers.value == pytest.approx((1 + 2 + 1 + 0) / 12)
    assert answers.reason == "1y 2n 3n | 1n 2y 3y | 1n 2n 3y | 1n 2n 3n"
    assert Reads.seen[-4:] == [(16, 16)] * 4


def test_official_does_not_ask_the_tables_first_question() -> None:
    metric = Dpg(vqa=f"{__name__}:Reads", protocol="dpg-bench/official")
    scores = metric.score([plain(2), plain(8)], PROMPTS)
    assert [own[0].value for own in scores] == [0.5, 1.0]
    assert scores[0][1].reason == "2y 3n"
    alone = Prompt("a", "a dog", "x", 2, to_spec(A[:1]))
    ((failed,),) = metric.score([plain(1)], [alone])
    assert failed.value is None
    assert "not asked" in (failed.error_message or "")
    broken = Prompt("a", "a dog", "x", 2, to_spec([A[0], DpgQuestion("a", 2, "Is it red?", "attribute", (1,))]))
    ((failed,),) = metric.score([plain(4)], [broken])
    assert "depends on 1, which was not asked" in (failed.error_message or "")


def test_answers_are_read_back() -> None:
    given = [{1: True, 12: False}, {1: False, 12: True}]
    assert answers_from_text(answers_text(given)) == given


def test_what_cannot_be_meant_is_one_line() -> None:
    with pytest.raises(UsageError, match="dpg-bench/official or dpg-bench/fixed"):
        Dpg(vqa=f"{__name__}:Reads", protocol="dpg-bench/mended")
    with pytest.raises(UsageError, match="expected single or grid"):
        Dpg(vqa=f"{__name__}:Reads", pictures="four")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no questions of DPG-Bench in its spec"):
        Dpg(vqa=f"{__name__}:Reads").check([Prompt("c", "a car", "x", 2, "{}")])


@pytest.mark.parametrize("mode", ["official", "fixed"])
def test_a_run_has_the_benchmarks_own_numbers(mode: str, tmp_path: Path) -> None:
    rows = [{name: getattr(prompt, name) for name in PROMPT_SCHEMA.names} for prompt in PROMPTS]
    write_shard(tmp_path / "prompts.parquet", pa.Table.from_pylist(rows, PROMPT_SCHEMA))
    folder = tmp_path / "painter"
    folder.mkdir()
    cells = {"a": (1, 2 | 4, 4, 2), "b": (8, 0, 8, 8)}
    for prompt_id, numbers in cells.items():
        grid(*numbers).save(folder / f"{prompt_id}.png")
    config = BenchConfig(
        suite=f"dpg/{mode}",
        images=(folder,),
        layout="folder",
        prompts=tmp_path / "prompts.parquet",
        dpg=DpgOptions(vqa=f"{__name__}:Reads", pictures="grid"),
        n_resamples=50,
    )
    run(config, tmp_path / "out")
    found = {row["kind"]: row for row in read_json(tmp_path / "out" / "results.json")["scores"] if not row["category"]}
    answers = {
        "a": [{1: bool(n & 1), 2: bool(n & 2), 3: bool(n & 4)} for n in cells["a"]],
        "b": [{1: bool(n & 8)} for n in cells["b"]],
    }
    own = aggregate([*A, *B], answers, 4, protocol=mode)  # type: ignore[arg-type]
    assert found[mode]["mean"] == pytest.approx(own.overall)
    assert found[f"{mode} overall"]["mean"] == pytest.approx(own.overall)
    for level, values in ((1, own.per_broad_category), (2, own.per_category)):
        for name, value in values.items():
            assert found[f"{mode}, level {level}: {name}"]["mean"] == pytest.approx(value)
    assert ANSWERS in found
    assert f"DPG-Bench's own sum over questions, {mode}" in (tmp_path / "out" / "results.json").read_text()
