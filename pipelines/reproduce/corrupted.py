"""Give every pair further captions, of scenes of which a share of the facts is wrong:

python -m pipelines.reproduce.corrupted --data runs/pairs --share 0.1 --share 0.3 --out runs/corrupted
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import click
import pyarrow as pa

from llm4gen_data.errors import UserError
from llm4gen_data.options import HELP_SETTINGS, one_line_errors
from llm4gen_data.parquet import open_parquet, write_shard
from llm4gen_data.runs import finish, is_complete, open_run
from llm4gen_data.scenes.corrupt import corrupt
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.sample import Scene


@click.command(help=__doc__, context_settings=HELP_SETTINGS)
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--share", "shares", type=click.FloatRange(0, 1), multiple=True, required=True, help="Repeatable.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
def corrupted(data: Path, shares: tuple[float, ...], out: Path) -> None:
    """Write the same shards with a column `corrupted_10` for 10 %, and so on."""
    files = sorted((data / "data").glob("*.parquet"))
    if not files:
        raise UserError(f"{data}: no data/*.parquet; expected what pipelines.mini.pairs wrote")
    fingerprint = {"shares": list(shares), "files": [file.name for file in files]}
    with open_run(out, "corrupted", {"data": str(data), **fingerprint}, fingerprint):
        if is_complete(out):
            return
        (out / "data").mkdir(exist_ok=True)
        for file in files:
            table = open_parquet(file).read()
            scenes = [Scene.from_dict(json.loads(text)) for text in table["scene"].to_pylist()]
            for share in shares:
                captions = [corrupted_caption(scene, share) for scene in scenes]
                table = table.append_column(column_of(share), pa.array(captions, pa.string()))
            write_shard(out / "data" / file.name, table)
        finish(out, "corrupted", fingerprint, {"n_files": len(files)}, ("pyarrow",))


def corrupted_caption(scene: Scene, share: float) -> str:
    """A dense caption of the scene with that share of its facts wrong; equal arguments, equal words."""
    rng = random.Random(f"corrupted-{share:g}-{scene.seed}")
    return dense_caption(corrupt(scene, share, rng), rng)


def column_of(share: float) -> str:
    """The caption column of a share."""
    return f"corrupted_{round(100 * share)}"


main = one_line_errors(corrupted)

if __name__ == "__main__":
    main()
