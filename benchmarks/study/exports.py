"""A study -> the files of an annotation service or a crowd market; nothing of the key or of the checks goes there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.study.records import Study, read_study
from benchmarks.study.services.service import EXPORTERS
from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve


def export_study(service: str, folder: Path, url: str, out: Path) -> list[str]:
    """Write the study in `folder` for `service` into the new folder `out`; lines that say what to do with it.

    Raises UsageError for an unknown service or an address that is none, UserError if `out` exists.
    """
    write: Callable[[Study, str, Path], list[str]] = resolve("service", service, EXPORTERS)
    if out.exists():
        raise UserError(f"{out}: exists; give a new folder")
    return write(read_study(folder), url, out)
