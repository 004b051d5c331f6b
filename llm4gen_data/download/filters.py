"""Which rows are worth their download: limits on the publisher's own scores, and lists of what was taken back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
from pydantic import Field

from llm4gen_data.download.hosts import wire_url
from llm4gen_data.errors import UserError
from llm4gen_data.sources.files import File, list_files
from llm4gen_data.sources.laion import URL_ALIASES, UrlTable, find_column
from llm4gen_data.sources.tables import open_tables, read_batches

# What the limits look at, by LAION's, Re-LAION's, COYO's and DataComp's names; compared without case.
ALIASES = {
    "width": ("width", "original_width"),
    "height": ("height", "original_height"),
    "aesthetic": ("aesthetic", "aesthetic_score", "aesthetic_score_laion_v2", "predicted_aesthetic", "prediction"),
    "punsafe": ("punsafe", "nsfw_score_opennsfw2"),
    "pwatermark": ("pwatermark", "watermark_score"),
    "similarity": (
        "similarity",
        "clip_similarity_vitl14",
        "clip_similarity_vitb32",
        "clip_l14_similarity_score",
        "clip_b32_similarity_score",
    ),
}
HASH_LENGTHS = {64: "sha256", 32: "md5"}
BATCH_ROWS = 65536


@dataclass(frozen=True, slots=True)
class Filters:
    """Limits (inclusive) that a row must keep to be asked for; None: no limit.

    Sizes are pixels as the publisher gives them. A row that has no value where there is a limit is filtered:
    what passes is known to be within it. `removal_list` names a file of URLs, sha256 or md5 (text, one a line, or
    Parquet with such columns): its rows are not asked for, nor kept if the bytes that came have such a hash.
    """

    min_width: Annotated[int | None, Field(ge=1)] = None
    min_height: Annotated[int | None, Field(ge=1)] = None
    min_aesthetic: float | None = None
    max_punsafe: float | None = None
    max_pwatermark: float | None = None
    min_similarity: float | None = None
    removal_list: str | None = None

    def limits(self) -> Iterator[tuple[str, str, float]]:
        """The limits that are set: "min" or "max", what of, and where it lies."""
        for entry in fields(self):
            side, _, name = entry.name.partition("_")
            limit = getattr(self, entry.name)
            if name in ALIASES and limit is not None:
                yield side, name, limit


@dataclass(frozen=True, slots=True)
class RemovalList:
    """URLs (without scheme, as they go over the wire), and hashes of image bytes in lower-case hex."""

    urls: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()
    md5: frozenset[str] = frozenset()

    def names(self, *, url: str | None = None, sha256: str | None = None, md5: str | None = None) -> str | None:
        """Why this must not be kept, None if the list does not name it."""
        if url is not None and self.urls and same_url(url) in self.urls:
            return "on the removal list (url)"
        for name, value, listed in (("sha256", sha256, self.sha256), ("md5", md5, self.md5)):
            if value is not None and value.lower() in listed:
                return f"on the removal list ({name})"
        return None

    def names_bytes(self, data: bytes) -> str | None:
        """Why these bytes must not be kept, None if the list does not name them."""
        return self.names(
            sha256=hashlib.sha256(data).hexdigest() if self.sha256 else None,
            md5=hashlib.md5(data, usedforsecurity=False).hexdigest() if self.md5 else None,
        )


@dataclass(frozen=True, slots=True)
class RowFilter:
    """`filters` over the columns that a table has for them; `columns` maps what is limited to the table's name."""

    filters: Filters = Filters()
    columns: dict[str, str] = field(default_factory=dict)
    removal: RemovalList = RemovalList()
    hash_columns: dict[str, str] = field(default_factory=dict)

    def reasons(self, rows: pa.Table) -> list[str | None]:
        """For each row why it is not asked for, None for a row that is."""
        found: list[str | None] = [None] * rows.num_rows
        for side, name, limit in self.filters.limits():
            values = _numbers(rows[self.columns[name]])
            outside = values < limit if side == "min" else values > limit
            for i in (values.isna() | outside).to_numpy().nonzero()[0]:
                below_or_above = "below" if side == "min" else "above"
                found[i] = found[i] or (f"no {name}" if pd.isna(values[i]) else f"{name} {below_or_above} {limit:g}")
        hashes = {name: rows[column].to_pylist() for name, column in self.hash_columns.items()}
        for i, url in enumerate(rows["url"].to_pylist() if self.removal != RemovalList() else []):
            row_hashes = {name: None if values[i] is None else str(values[i]) for name, values in hashes.items()}
            found[i] = found[i] or self.removal.names(url=url, **row_hashes)
        return found


def row_filter(filters: Filters, table: UrlTable) -> RowFilter:
    """`filters` made ready for a table. Raises UserError if the table lacks a column that a limit needs."""
    names = table.schema.names
    # a publisher's name that is one of ours got a prefix
    plain = [name.removeprefix("source_") for name in names]
    columns = {}
    for side, name, limit in filters.limits():
        column = find_column(plain, ALIASES[name])
        if column is None:
            raise UserError(
                f"{side}_{name} = {limit:g}: the source has no column {' or '.join(ALIASES[name])}; "
                f"found {', '.join(plain)}"
            )
        columns[name] = names[plain.index(column)]
        kind = table.schema.field(columns[name]).type
        if not (
            pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or _is_text(kind)
        ):
            raise UserError(f"{side}_{name} = {limit:g}: column {columns[name]!r} has type {kind}, expected numbers")
    removal = read_removal_list(filters.removal_list) if filters.removal_list else RemovalList()
    hash_columns = {
        name: names[plain.index(column)]
        for name in ("sha256", "md5")
        if getattr(removal, name) and (column := find_column(plain, (name,)))
    }
    return RowFilter(filters, columns, removal, hash_columns)


def read_removal_list(location: str) -> RemovalList:
    """Read a removal list, a path or a URL; about 200 bytes of memory an entry.

    Raises UserError naming file and line for what is neither a URL nor a hash.
    """
    entries: dict[str, set[str]] = {"url": set(), "sha256": set(), "md5": set()}
    for file in list_files(location):
        rows = _parquet_entries(file) if file.suffix == ".parquet" else _text_entries(file)
        for kind, value in rows:
            entries[kind].add(same_url(value) if kind == "url" else value.lower())
    if not any(entries.values()):
        raise UserError(f"{location}: a removal list without an entry")
    return RemovalList(frozenset(entries["url"]), frozenset(entries["sha256"]), frozenset(entries["md5"]))


def same_url(url: str) -> str:
    """What two spellings of a URL share: no scheme, host in lower case, ASCII, no fragment."""
    try:
        parts = urlsplit(wire_url(url))
    except ValueError:
        return url.strip()
    return f"{parts.netloc.lower()}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")


def _text_entries(file: File) -> Iterator[tuple[str, str]]:
    try:
        with file.open() as lines:
            for number, line in enumerate(lines, start=1):
                entry = line.decode("utf-8-sig", errors="replace").strip()
                if entry and not entry.startswith("#"):
                    yield _kind(entry, f"{file}: line {number}"), entry
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}") from error


def _kind(entry: str, where: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]+", entry) and len(entry) in HASH_LENGTHS:
        return HASH_LENGTHS[len(entry)]
    if "://" not in entry:
        raise UserError(f"{where}: {entry[:80]!r} is neither a URL nor a sha256 or md5 in hex")
    return "url"


def _parquet_entries(file: File) -> Iterator[tuple[str, str]]:
    (table,) = open_tables([file])
    found = {"url": find_column(table.schema.names, URL_ALIASES)}
    found |= {kind: find_column(table.schema.names, (kind,)) for kind in ("sha256", "md5")}
    columns = {kind: name for kind, name in found.items() if name is not None}
    if not columns:
        names = ", ".join(table.schema.names)
        raise UserError(f"{file}: missing a column of URLs, sha256 or md5; found {names}")
    for batch in read_batches(table, list(columns.values()), 0, BATCH_ROWS) if table.n_rows else ():
        for kind, name in columns.items():
            yield from ((kind, str(value)) for value in batch.column(name).to_pylist() if value)


def _numbers(column: Any) -> pd.Series:
    numbers: pd.Series = pd.to_numeric(column.to_pandas(), errors="coerce")
    return numbers.astype("float64").reset_index(drop=True)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def fingerprint(filters: Filters, chosen: RowFilter) -> dict[str, Any]:
    """The limits that are set, and one hash that stands for the removal list's entries."""
    removal = chosen.removal
    listed: Sequence[str] = sorted(removal.urls | removal.sha256 | removal.md5)
    values: dict[str, Any] = {f"{side}_{name}": limit for side, name, limit in filters.limits()}
    if listed:
        values["removal_list_sha256"] = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return values
