import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data import parquet, records
from llm4gen_data.errors import UserError
from tests.factories import encode, picture


@pytest.mark.parametrize(
    ("record", "schema"),
    [
        (records.CaptionRecord, parquet.CAPTION_SCHEMA),
        (records.Prompt, parquet.PROMPT_SCHEMA),
        (records.GeneratedImage, parquet.GENERATED_IMAGE_SCHEMA),
    ],
)
def test_records_and_schemas_name_the_same_columns_in_the_same_order(record: type, schema: pa.Schema) -> None:
    assert [field.name for field in dataclasses.fields(record)] == schema.names


def image_table(n: int) -> pa.Table:
    images = [{"bytes": encode(picture(i)), "path": None} for i in range(n)]
    return pa.table({"key": [f"{i}" for i in range(n)], "image": pa.array(images, parquet.IMAGE), "tags": [["a"]] * n})


def test_equal_tables_give_equal_bytes_with_metadata_inside(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        parquet.write_shard(tmp_path / name, image_table(250), {"model": "m", "z": 1})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.schema_arrow.metadata[b"llm4gen"] == b'{"model": "m", "z": 1}'
    column = {
        file.metadata.row_group(0).column(i).path_in_schema: file.metadata.row_group(0).column(i) for i in range(4)
    }
    assert column["image.bytes"].compression == "UNCOMPRESSED"
    assert column["key"].compression == "ZSTD"
    assert column["key"].has_offset_index


def test_hugging_face_datasets_sees_an_image(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parquet.write_shard(tmp_path / "train.parquet", image_table(3))
    rows = datasets.load_dataset("parquet", data_dir=str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert type(rows.features["image"]).__name__ == "Image"
    assert rows[2]["image"].size == (48, 32)


def test_what_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file"):
        parquet.open_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no such file"):
        parquet.open_parquet(tmp_path / "b.parquet")
