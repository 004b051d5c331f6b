"""Everything a test needs, made on the spot: pictures, folders of pictures, Parquet, tars."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from llm4gen_data.parquet import IMAGE


def picture(number: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A picture that no other number gives."""
    image = Image.new("RGB", size, ((37 * number) % 256, (91 * number + 40) % 256, (number // 7) % 256))
    ImageDraw.Draw(image).rectangle((4, 4, 8 + number % 20, 20), fill=((number * 13) % 256, 200, 30))
    return image


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def image_folder(folder: Path, n: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (folder / f"{i:05d}.png").write_bytes(encode(picture(i)))
    return folder


def image_parquet(path: Path, n: int, **columns: list[object]) -> Path:
    """Rows of key, image struct, url and alt_text, and any further columns; written in row groups of 50."""
    table = pa.table(
        {
            "key": [f"{i:06d}" for i in range(n)],
            "url": [f"http://example.org/{i}.png" for i in range(n)],
            "alt_text": [f"picture {i}" for i in range(n)],
            "image": pa.array([{"bytes": encode(picture(i)), "path": None} for i in range(n)], IMAGE),
            **columns,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=50)
    return path


def image_tar(path: Path, n: int) -> Path:
    """A WebDataset tar of png + txt + json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i in range(n):
            parts = {
                "png": encode(picture(i)),
                "txt": f"picture {i}".encode(),
                "json": b'{"url": "http://example.org/%d"}' % i,
            }
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{i:05d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path
