"""`llm4gen-data download`: a table of image URLs -> a run directory of Parquet shards that holds every input row.

A shard is finished when its marker stands in `shards/`. `work/` holds what img2dataset reads and writes
(`staged/`, `urls/`, `fetched/`) and may be lost at any time; `img2dataset.log` is its chatter.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from tqdm import tqdm

from llm4gen_data.config import to_plain
from llm4gen_data.download.filters import Filters, RowFilter, row_filter
from llm4gen_data.download.filters import fingerprint as filter_fingerprint
from llm4gen_data.download.process import img2dataset_process, last_words, require_img2dataset
from llm4gen_data.download.shards import SUCCESS, Marker, finish_shard, read_marker, shard_path
from llm4gen_data.download.staging import REFUSED, FetchedShard, fetched_shards, stage, write_request
from llm4gen_data.errors import UserError
from llm4gen_data.runs import SCHEMA_VERSION, finish, is_complete, open_run, read_json
from llm4gen_data.sources.laion import UrlTable, open_url_table

# Shards handed to one img2dataset process: enough to pay for its start, few enough to keep `work/` small.
WINDOW_SHARDS = 1000
MAX_ERRORS_IN_MANIFEST = 100
# img2dataset processes in a row that may end without a single finished shard.
MAX_FAILURES = 2
POLL_S = 0.2
# No request takes so long by far, see fetch.py.
STALL_S = 600


@dataclass(frozen=True, slots=True)
class DownloadConfig:
    """What to download and how.

    `image_size` is the longest that an image's shorter side may be, in pixels: larger images are scaled down
    to it, none is scaled up, cropped or given a border. `timeout_s` bounds each wait for bytes (a whole
    request: six times that); `retries` follow only on what another try may mend. `n_processes` times
    `n_threads` requests are under way at once; 0 processes stands for one a CPU.

    Responses that opt out through `X-Robots-Tag` (noai, noimageai, noindex, noimageindex) are always
    honoured; `optout_directives` names further ones, and `user_agent_token` makes directives count that are
    addressed to that agent. Rows outside of `filters` are kept without being asked for.
    """

    source: str
    out: Path
    image_size: Annotated[int, Field(ge=1)] = 1024
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    n_processes: Annotated[int, Field(ge=0)] = 0
    n_threads: Annotated[int, Field(ge=1)] = 64
    shard_rows: Annotated[int, Field(ge=1, le=100_000)] = 1000
    allow_private_hosts: bool = False
    optout_directives: tuple[str, ...] = ()
    user_agent_token: str | None = None
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True)
class Finishing:
    """Shards being taken over from img2dataset in threads, and the markers of those that are finished."""

    config: DownloadConfig
    row_filter: RowFilter
    pool: ThreadPoolExecutor
    stop: threading.Event
    markers: dict[int, Marker]
    futures: dict[int, Future[Marker]] = field(default_factory=dict)

    def submit_fetched(self) -> None:
        """Hand newly fetched shards to the threads, collect finished ones. Raises what a thread raised."""
        for fetched in fetched_shards(self.config.out / "work", self.markers.keys() | self.futures.keys()):
            self.futures[fetched.shard] = self.pool.submit(self._finish, fetched)
        for shard in [shard for shard, future in self.futures.items() if future.done()]:
            self.markers[shard] = self.futures.pop(shard).result()

    def wait(self, bar: tqdm[Any]) -> None:
        """Collect all shards that the threads still work on."""
        for shard in list(self.futures):
            self.markers[shard] = self.futures.pop(shard).result()
            _advance(bar, self.n_rows())

    def _finish(self, fetched: FetchedShard) -> Marker:
        first_row = fetched.shard * self.config.shard_rows
        marker = finish_shard(
            self.config.out, fetched, first_row, self.config.image_size, self.row_filter.removal, self.stop
        )
        for path in (fetched.staged, fetched.urls, fetched.fetched):
            path.unlink()
        return marker

    def n_shards(self) -> int:
        """Shards fetched so far, whether finished or still being taken over."""
        return len(self.markers) + len(self.futures)

    def n_rows(self) -> int:
        """Rows of finished shards."""
        return sum(marker.n_rows for marker in self.markers.values())


def run_download(config: DownloadConfig) -> None:
    """Fetch every URL of `config.source` into `config.out`, or go on where an earlier start of it was stopped.

    `shards/NNNNN.parquet` hold, in input order: key (row number), url, alt_text, image (bytes, path; null
    unless fetched), width, height, original_width, original_height (pixels, upright), sha256 and exif (of
    the bytes as served), download_status (success, failed_to_download, failed_to_resize, refused, filtered),
    download_error, and the publisher's own columns. `manifest.json` comes last. Images are upright for
    every reader: bytes are as served, or, where EXIF turns the image or it is too large, re-encoded.

    Raises UserError for an unusable source or folder, if img2dataset fails, and, with the run complete, if
    not a single image arrived.
    """
    table = open_url_table(config.source)
    chosen = row_filter(config.filters, table)
    fingerprint = _fingerprint(config, table, chosen)
    with open_run(config.out, "download", to_plain(config), fingerprint):
        if is_complete(config.out):
            print(f"{config.out}: already complete")
        else:
            require_img2dataset()
            markers = _finish_all_shards(config, table, chosen)
            shutil.rmtree(config.out / "work", ignore_errors=True)
            finish(
                config.out, "download", fingerprint, _content(config, markers), ("img2dataset", "pillow", "pyarrow")
            )
    _report(config.out, read_json(config.out / "manifest.json"))


def _fingerprint(config: DownloadConfig, table: UrlTable, chosen: RowFilter) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "input": table.fingerprint(),
        "image_size": config.image_size,
        "shard_rows": config.shard_rows,
        "allow_private_hosts": config.allow_private_hosts,
        "optout_directives": sorted(config.optout_directives),
        "user_agent_token": config.user_agent_token,
        "filters": filter_fingerprint(config.filters, chosen),
    }


def _finish_all_shards(config: DownloadConfig, table: UrlTable, chosen: RowFilter) -> dict[int, Marker]:
    (config.out / "shards").mkdir(exist_ok=True)
    n_shards = -(-table.n_rows // config.shard_rows)
    markers = {shard: marker for shard in range(n_shards) if (marker := read_marker(config.out, shard)) is not None}
    rows_done = sum(marker.n_rows for marker in markers.values())
    mininterval_s = 0.2 if sys.stderr.isatty() else 10
    stop = threading.Event()
    with (
        tqdm(total=table.n_rows, initial=rows_done, desc="download", unit="row", mininterval=mininterval_s) as bar,
        ThreadPoolExecutor(_n_processes(config)) as pool,
    ):
        finishing = Finishing(config, chosen, pool, stop, markers)
        try:
            finishing.submit_fetched()  # what a killed start had fetched and not yet taken over
            finishing.wait(bar)
            n_failures = 0
            while missing := [shard for shard in range(n_shards) if shard not in markers]:
                complaint = _run_window(config, table, missing[:WINDOW_SHARDS], finishing, bar)
                n_failures = n_failures + 1 if complaint else 0
                if n_failures == MAX_FAILURES:
                    raise UserError(complaint)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return dict(sorted(markers.items()))


def _run_window(
    config: DownloadConfig, table: UrlTable, shards: list[int], finishing: Finishing, bar: tqdm[Any]
) -> str:
    """Let one img2dataset process fetch `shards`; says what went wrong if not one of them was finished.

    Neither its exit code nor its end is trusted: what counts is the shards it left.
    """
    work, log = config.out / "work", config.out / "img2dataset.log"
    shutil.rmtree(work, ignore_errors=True)
    n_rows = sum(stage(table, shards, work, config.shard_rows, config.allow_private_hosts, finishing.row_filter))
    request = write_request(work, shards, config.allow_private_hosts, _img2dataset_arguments(config))
    rows_before, shards_before = finishing.n_rows(), finishing.n_shards()
    sign, changed_at, stalled = (0, shards_before), time.monotonic(), False
    bar.set_postfix_str("starting img2dataset")
    with img2dataset_process(request, log) as process:
        while finishing.n_shards() < shards_before + len(shards) and not stalled:
            ended = process.poll() is not None
            finishing.submit_fetched()
            n_ticks = (work / "ticks").stat().st_size
            _advance(bar, max(finishing.n_rows(), rows_before + min(n_ticks, n_rows)))
            if ended:
                break
            if sign != (n_ticks, finishing.n_shards()):
                sign, changed_at = (n_ticks, finishing.n_shards()), time.monotonic()
                bar.set_postfix_str("", refresh=False)
            stalled = time.monotonic() - changed_at > STALL_S
            time.sleep(POLL_S)
    finishing.wait(bar)
    if finishing.n_shards() > shards_before:
        return ""
    what = "made no progress" if stalled else f"ended with code {process.returncode} and no result"
    return f"img2dataset {what}: {last_words(log)} (its log: {log})"


def _advance(bar: tqdm[Any], n_rows: int) -> None:
    # Rows under way are counted before their shard is finished; one fetched again does not turn the bar back.
    bar.update(max(0, n_rows - int(bar.n)))


def _n_processes(config: DownloadConfig) -> int:
    return config.n_processes or os.cpu_count() or 1


def _img2dataset_arguments(config: DownloadConfig) -> dict[str, Any]:
    return {
        "input_format": "parquet",
        "output_format": "parquet",
        "url_col": "fetch_url",
        "save_additional_columns": ["row_key"],
        # Bytes as served: img2dataset would ignore EXIF orientation and re-encode everything.
        "disable_all_reencoding": True,
        "compute_hash": "sha256",
        "extract_exif": True,
        "number_sample_per_shard": config.shard_rows,
        "processes_count": _n_processes(config),
        "thread_count": config.n_threads,
        "timeout": config.timeout_s,
        "retries": config.retries,
        "user_agent_token": config.user_agent_token,
        "disallowed_header_directives": ["noai", "noimageai", "noindex", "noimageindex", *config.optout_directives],
        "enable_wandb": False,
    }


def _content(config: DownloadConfig, markers: dict[int, Marker]) -> dict[str, Any]:
    status: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for marker in markers.values():
        status.update(marker.status)
        errors.update(marker.errors)
    return {
        "n_rows": sum(marker.n_rows for marker in markers.values()),
        "status": dict(status.most_common()),
        "errors": dict(errors.most_common(MAX_ERRORS_IN_MANIFEST)),
        "outputs": [
            {"path": f"shards/{shard_path(config.out, shard).name}", "sha256": marker.sha256, "rows": marker.rows}
            for shard, marker in markers.items()
        ],
    }


def _report(out: Path, manifest: dict[str, Any]) -> None:
    status, errors = manifest["status"], Counter(manifest["errors"])
    n_rows, n_success = manifest["n_rows"], status.get(SUCCESS, 0)
    if n_success == 0:
        reason, n_times = errors.most_common(1)[0]
        hint = "" if set(status) != {REFUSED} else " (see --allow-private-hosts)"
        raise UserError(
            f"{out}: 0 of {n_rows} images arrived: most frequent reason {reason!r}, {n_times} rows{hint}; "
            "every row is kept with its reason"
        )
    print(f"{out}: {n_success} of {n_rows} images arrived")
    for reason, n_times in errors.most_common(5):
        print(f"  {n_times} rows: {reason}")
