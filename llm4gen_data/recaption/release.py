"""A finished run -> what one publishes: captions without images, as LAION itself is, or with them; then the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from tqdm import tqdm

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import open_parquet, write_shard
from llm4gen_data.recaption.card import head, how_it_was_made, title, what_it_holds
from llm4gen_data.recaption.digest import digest
from llm4gen_data.recaption.publish import PACKAGES, link
from llm4gen_data.recaption.webdataset_tars import write_tar
from llm4gen_data.runs import finish, is_complete, open_run, package_versions, read_json, write_text

Form = Literal["captions", "images", "webdataset"]

# A file of texts is made in memory; so many rows of about a kilobyte take half a gigabyte on the way.
FILE_ROWS = 100_000
FORM_NOTES = {
    "captions": "Without images: `url` says where an image was, `sha256` which bytes were captioned.",
    "images": "With the bytes of the images in the column `image`.",
    "webdataset": "WebDataset tars: the image, its caption as `.txt`, the other columns as `.json`.",
}


def release(run_directory: Path, out: Path, form: Form = "captions") -> None:
    """Write what a complete run publishes to the folder `out`, with its card; the same command again goes on.

    "captions": every column but the images in Parquet files of up to FILE_ROWS rows; "images": the run's Parquet as
    it is; "webdataset": tars of the captioned images. Rows that the gates reject and, in Parquet, rows that failed
    are in it, with their verdict. Raises UserError if the run is not complete, or has no images that the form needs.
    """
    if not is_complete(run_directory):
        raise UserError(f"{run_directory}: no manifest.json: not a run, or one that is not complete")
    manifest = read_json(run_directory / "manifest.json")
    made = manifest["fingerprint"]
    if form != "captions" and not made["store_images"]:
        raise UserError(f"{run_directory}: holds no images (store_images is false): only captions can be released")
    sources = [run_directory / output["path"] for output in manifest["outputs"]]
    state = {"form": form, "run": manifest["run_id"], "outputs": [output["sha256"] for output in manifest["outputs"]]}
    with open_run(out, "release", {"run": str(run_directory), "form": form}, state):
        if not is_complete(out):
            (out / "data").mkdir(exist_ok=True)
            paths = _write(form, sources, out / "data", {**made, "gates": manifest["gates"]})
            texts = digest(sources, manifest["reject_reasons"].keys())
            versions = {**manifest["versions"], **package_versions()}
            write_text(
                out / "README.md",
                f"{head(manifest, path='data/*.tar' if form == 'webdataset' else 'data/*.parquet')}\n"
                f"# {title(texts)}\n\n{manifest['n_rows']:,} rows. {FORM_NOTES[form]}\n\n"
                f"{how_it_was_made(made, versions)}\n{what_it_holds(manifest, texts)}",
            )
            content = {"n_rows": manifest["n_rows"], "outputs": [str(path.relative_to(out)) for path in paths]}
            finish(out, "release", state, content, PACKAGES)
    print(f"{manifest['n_rows']:,} rows, {form}: {out / 'data'}   card: {out / 'README.md'}")


def push_to_hub(out: Path, repository: str, *, private: bool = False) -> str:
    """Upload a release to the dataset repository `owner/name` of the Hugging Face hub; its address.

    The token is the one of `hf auth login` or HF_TOKEN. A broken upload goes on when called again. Raises UserError
    for what the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.errors import HTTPError as NetworkError  # type: ignore[attr-defined]  # of its HTTP library

    if not is_complete(out):
        raise UserError(f"{out}: no manifest.json: no complete release")
    api = HfApi()
    try:
        url = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=out,
            repo_type="dataset",
            allow_patterns=["README.md", "data/*.parquet", "data/*.tar"],
            delete_patterns=["data/*"],  # of an earlier release in other files
            commit_message=f"LAION-refined, run {read_json(out / 'fingerprint.json')['run']}",
        )
    except (HFValidationError, NetworkError, LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
        raise UserError(f"{repository}: cannot be pushed to the hub: {error}") from error
    return str(url)


def _write(form: Form, sources: Sequence[Path], data: Path, metadata: dict[str, Any]) -> list[Path]:
    if form == "captions":
        return _write_captions(sources, data, metadata)
    paths = []
    for number, source in enumerate(tqdm(sources, desc="release", unit="shard", leave=False)):
        path = data / (source.name if form == "images" else f"{number:05d}.tar")
        if form == "images":
            link(source, path)
        elif not path.exists():
            write_tar(source, path)
        paths.append(path)
    return paths


def _write_captions(sources: Sequence[Path], data: Path, metadata: dict[str, Any]) -> list[Path]:
    """The texts of several shards a file; a file that is there already is whole, and stays."""
    groups: list[list[Path]] = []
    n_rows = FILE_ROWS
    for source in sources:
        rows = open_parquet(source).metadata.num_rows
        if n_rows + rows > FILE_ROWS:
            groups.append([])
            n_rows = 0
        groups[-1].append(source)
        n_rows += rows
    paths = [data / f"train-{number:05d}-of-{len(groups):05d}.parquet" for number in range(len(groups))]
    for group, path in zip(tqdm(groups, desc="release", unit="file", leave=False), paths, strict=True):
        if not path.exists():
            tables = [_texts(source) for source in group]
            write_shard(path, pa.concat_tables(tables).combine_chunks(), metadata)
    return paths


def _texts(source: Path) -> pa.Table:
    file = open_parquet(source)
    table = file.read(columns=[name for name in file.schema_arrow.names if name != "image"])
    return table.replace_schema_metadata()
