"""A finished recaption run whose captions are given, through the real commit and publish, without a captioner."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm4gen_data.config import to_plain
from llm4gen_data.recaption import publish, run, shards
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.journal import Answer, Outcome
from llm4gen_data.runs import open_run
from llm4gen_data.sources.source import open_source
from tests.factories import image_parquet, picture


def finished_run(
    folder: Path, captions: Sequence[str | None], gates: Gates | None = None, shard_rows: int = 10, **config: Any
) -> Path:
    """The run directory `folder`/run over one picture a caption; None: a picture that could not be read.

    Alt texts are "picture 0", "picture 1", ...; every further instruction gets three words of the caption.
    """
    source = image_parquet(folder / "images.parquet", len(captions), similarity=[0.25] * len(captions))
    asked = RecaptionConfig(str(source), "dummy", gates=gates or Gates(), shard_rows=shard_rows, **config)
    out = folder / "run"
    names = [instruction.name for instruction in asked.parsed_instructions()]
    outcomes = {number: _outcome(caption, names) for number, caption in enumerate(captions)}
    publish_outcomes(out, asked, outcomes)
    return out


def finished_folder(folder: Path, captions: Sequence[str]) -> Path:
    """The run directory `folder`/run over a folder of pictures without alt texts."""
    (folder / "pictures").mkdir()
    for number in range(len(captions)):
        picture(number).save(folder / "pictures" / f"{number}.png")
    outcomes = {number: _outcome(caption, ["paper"]) for number, caption in enumerate(captions)}
    publish_outcomes(folder / "run", RecaptionConfig(str(folder / "pictures"), "dummy"), outcomes)
    return folder / "run"


def publish_outcomes(out: Path, config: RecaptionConfig, outcomes: Mapping[int, Outcome]) -> None:
    """Commit the outcomes of all rows of the source in `config`, and publish."""
    source = open_source(config.source)
    fingerprint = run.run_fingerprint(config, source)
    planned = shards.plan(source.n_rows, config.shard_rows, out)
    with open_run(out, "recaption", to_plain(config), fingerprint):
        (out / "shards").mkdir(exist_ok=True)
        for shard in planned:
            rows = list(source.read(shard.start, shard.stop))
            shards.commit(shard, rows, outcomes, config, source.extra_schema, fingerprint)
        publish.publish(out, planned, fingerprint, {})


def with_objects(outcome: Outcome, named: list[str], denied: list[str]) -> Outcome:
    return replace(outcome, objects_named=named, objects_denied=denied)


def _outcome(caption: str | None, names: Sequence[str]) -> Outcome:
    if caption is None:
        return Outcome("failed_image", "not an image")
    answers = {
        name: Answer(caption if i == 0 else " ".join(caption.split()[3:6]), "stop", 9) for i, name in enumerate(names)
    }
    return Outcome("success", answers=answers, width=48, height=32, seen_width=48, seen_height=32)
