"""The page of results that is committed, from the records beside it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_text
from pipelines.reproduce.record import RUNS
from pipelines.reproduce.report import RESULTS, report_text, source_text, write_results
from pipelines.reproduce.trust import is_trust, trust_text, write_trust

HEAD = """<!-- Written by `python -m pipelines.reproduce --page docs/results.md` from docs/results/; do not edit. -->

# Results

Every table and figure of this page is made of what is kept in `docs/results/`, by
`python -m pipelines.reproduce --page docs/results.md`. Below each table stands when, on what, with which seeds, at
which commit and by which command its data came about. What the arms are, and how it is decided, is told in
[Reproduce](reproduce.md).
"""


def write_page(page: Path) -> None:
    """Calculate `NAME.md`, and numbers and figure of each record in `NAME/*/`. Raises UserError if there is none."""
    folders = records(page)
    if not folders:
        kept = page.with_suffix("")
        raise UserError(f"{kept}: holds no record; copy the folder `record` of an experiment to {kept}/NAME")
    for record in folders:
        if is_trust(record):
            write_trust(record)
        else:
            write_results(record, record)
    write_text(page, page_text(page))
    print(f"{page}: {len(folders)} records")


def page_text(page: Path) -> str:
    """The page as the numbers beside the records have it."""
    parts = [HEAD]
    for record in records(page):
        text = re.sub(r"^#", "##", _text(record), flags=re.M)
        parts.append(re.sub(r"\]\((\w+\.(?:png|svg))\)", rf"]({page.stem}/{record.name}/\1)", text))
    return "\n".join(parts)


def records(page: Path) -> list[Path]:
    """The folders of the records that the page is made of."""
    return sorted(path.parent for path in page.with_suffix("").glob(f"*/{RUNS}"))


def _text(record: Path) -> str:
    if is_trust(record):
        return trust_text(record, source_text(read_json(record / RUNS)))
    return report_text(record, read_json(record / RESULTS))
