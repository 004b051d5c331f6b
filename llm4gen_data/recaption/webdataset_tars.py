"""A shard of LAION-refined as a WebDataset tar: image, caption and the rest under one key."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from llm4gen_data.parquet import open_parquet
from llm4gen_data.recaption.status import SUCCESS
from llm4gen_data.runs import atomic_path

# By the first bytes: what decoders of WebDataset go by is the suffix.
SUFFIXES = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"))
BATCH_ROWS = 100


def write_tar(source: Path, target: Path) -> None:
    """Write the captioned rows of a Parquet file as KEY.{jpg,png,...}, KEY.txt and KEY.json, in order, atomically.

    KEY is the tar's name and the row number; the row's own `key` may hold any characters and is in the JSON.
    """
    with atomic_path(target) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        number = -1
        for batch in open_parquet(source).iter_batches(BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                image = row.pop("image")
                if row["status"] != SUCCESS or image is None:
                    continue
                name = f"{target.stem}{number:06d}"
                texts = json.dumps(row, ensure_ascii=False, default=str).encode()
                _add(tar, f"{name}.{image_suffix(image['bytes'])}", image["bytes"])
                _add(tar, f"{name}.txt", (row["caption"] or "").encode())
                _add(tar, f"{name}.json", texts)


def image_suffix(data: bytes) -> str:
    """The suffix that goes with an image's first bytes; "img" for a format without a common one."""
    return next((suffix for start, suffix in SUFFIXES if data.startswith(start)), "img")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # with the time 1970, so that equal shards give equal bytes
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
