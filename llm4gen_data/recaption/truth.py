"""Captions of drawn scenes against what is true of them: facts told and facts right, before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.status import SUCCESS
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.score import FactScore, caption_scores

# Enough for three decimal places; reading the facts of a caption takes a millisecond.
MAX_SCENES = 5000


@dataclass(frozen=True, slots=True)
class Truth:
    """Fact scores of `alt text` and `caption` by kind of fact, over `n_rows` captioned scenes."""

    n_rows: int
    scores: dict[str, dict[str, FactScore]]

    def plain(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "n_rows": self.n_rows,
            "scores": {
                name: {
                    kind: {"n_true": score.n_true, "precision": score.precision, "recall": score.recall}
                    for kind, score in kinds.items()
                }
                for name, kinds in self.scores.items()
            },
        }


def find_scenes(source: str) -> Path | None:
    """The scenes.parquet that a run's source was drawn or downloaded from; None where there is none."""
    folders = [Path(source), Path(source).parent]
    config = Path(source) / "config.yaml"
    if config.is_file():
        drawn = yaml.safe_load(config.read_text(encoding="utf-8"))
        if isinstance(drawn, dict) and isinstance(drawn.get("source"), str):
            folders.append(Path(drawn["source"]).parent)
    return next((folder / "scenes.parquet" for folder in folders if (folder / "scenes.parquet").is_file()), None)


def truth_scores(paths: Sequence[Path], scenes: Path) -> Truth:
    """Score the first MAX_SCENES captioned rows of a run's Parquet files whose scene `scenes` (scenes.parquet) knows.

    Rows find their scene by url, or by file name where the images were read from the folder. Raises UserError if no
    row does.
    """
    captioned = _captioned(paths)
    if not captioned.num_rows:
        raise UserError(f"{scenes}: nothing to compare with, as no row has a caption")
    names = pa.array([Path(key).name for key in captioned["key"].to_pylist()])
    worlds: dict[str, Scene] = {}
    for batch in _batches(scenes):
        files = pa.array([Path(name).name for name in batch["file_name"].to_pylist()])
        wanted = pc.or_(pc.is_in(batch["url"], captioned["url"].combine_chunks()), pc.is_in(files, names))
        known = batch.append_column("name", files).filter(pc.fill_null(wanted, False)).select(["url", "name", "scene"])
        for url, name, scene in zip(*(column.to_pylist() for column in known.columns), strict=True):
            worlds[url] = worlds[name] = Scene.from_dict(json.loads(scene))
    rows = [
        (world, alt_text, caption)
        for url, name, alt_text, caption in zip(
            captioned["url"].to_pylist(),
            names.to_pylist(),
            captioned["alt_text"].to_pylist(),
            captioned["caption"].to_pylist(),
            strict=True,
        )
        if (world := worlds.get(name if url is None else url)) is not None
    ]
    if not rows:
        raise UserError(
            f"{scenes}: knows none of the {captioned.num_rows} captioned images, neither by url nor by name"
        )
    drawn, alt_texts, captions = zip(*rows, strict=True)
    return Truth(len(rows), {"alt text": caption_scores(drawn, alt_texts), "caption": caption_scores(drawn, captions)})


def _captioned(paths: Sequence[Path]) -> pa.Table:
    tables, n_rows = [], 0
    for path in paths:
        table = open_parquet(path).read(columns=["key", "url", "alt_text", "caption", "status"])
        tables.append(table.filter(pc.equal(table["status"], SUCCESS)).replace_schema_metadata())
        n_rows += tables[-1].num_rows
        if n_rows >= MAX_SCENES:
            break
    return pa.concat_tables(tables).slice(0, MAX_SCENES)


def _batches(scenes: Path) -> Iterator[pa.RecordBatch]:
    columns = ["file_name", "url", "scene"]
    file = open_parquet(scenes)
    missing = sorted(set(columns) - set(file.schema_arrow.names))
    if missing:
        raise UserError(f"{scenes}: not the scenes.parquet of `llm4gen-data scenes`: no column {', '.join(missing)}")
    try:
        yield from file.iter_batches(10_000, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{scenes}: cannot be read: {error}") from error
