"""The page on which raters vote: one HTML file with the trials, the pictures and a small script inside."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.study.records import Study, Trial, read_study, sha256_of
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.runs import sha256_file, write_text

# Where the pictures are: inside the page, in images/ beside it, or with the server that also takes the votes.
Mode = Literal["embedded", "linked", "served"]
LARGE_PAGE_BYTES = 100 * 2**20


def write_form(folder: Path, out: Path, slot: int | None, linked: bool) -> list[str]:
    """Write the page of the study in `folder` to `out`; the lines to tell.

    With `slot` it holds only the trials of that rater. With `linked` the pictures are copied to `images/` beside it.
    Raises UsageError for a slot that does not exist, and for `linked` pages inside the study directory.
    """
    study = read_study(folder)
    if slot is not None and slot >= len(study.slots):
        raise UsageError(f"--slot {slot}: the study has slots 0 to {len(study.slots) - 1}")
    slots = dict(enumerate(study.slots)) if slot is None else {slot: study.slots[slot]}
    pictures = pictures_of(slots.values())
    if linked and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--out {out}: give a folder outside {folder}, which holds the key and must not go on a host")
    for name in pictures:
        _check_picture(folder / "images" / name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if linked:
        (out.parent / "images").mkdir(exist_ok=True)
        for name in pictures:
            shutil.copy2(folder / "images" / name, out.parent / "images" / name)
        write_text(out, render_form(study, slots, "linked", {name: f"images/{name}" for name in pictures}))
    else:
        inside = {name: _data_url(folder / "images" / name) for name in pictures}
        write_text(out, render_form(study, slots, "embedded", inside))
    size = out.stat().st_size
    told = [f"{out}: {len(slots)} raters, {len(pictures)} pictures, {size / 2**20:.1f} MB"]
    if size > LARGE_PAGE_BYTES:
        told.append("that is a large page: --slot N writes one rater's, --linked leaves the pictures outside")
    return told


def render_form(study: Study, slots: dict[int, tuple[Trial, ...]], mode: Mode, images: dict[str, str]) -> str:
    """The page as text; `images` is file name -> URL. What the study says is escaped, nothing else may run."""
    environment = Environment(
        loader=PackageLoader("benchmarks", "study/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    style, script = (
        files("benchmarks").joinpath(f"study/page/form.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    data: dict[str, Any] = {
        **{name: getattr(study, name) for name in ("study_id", "form_version", "seed", "width_px", "height_px")},
        "completion_code": study.completion_code,
        "axes": [asdict(axis) for axis in study.axes],
        "mode": mode,
        "n_trials": max(map(len, study.slots)),
        "slots": {str(number): [asdict(trial) for trial in trials] for number, trials in slots.items()},
        "images": images,
    }
    return environment.get_template("form.html.jinja").render(
        study=study,
        data=data,
        mode=mode,
        image_source="data:" if mode == "embedded" else "'self' data: blob:",
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def pictures_of(slots: Iterable[Iterable[Trial]]) -> list[str]:
    """File names of all pictures, in an order that says nothing."""
    return sorted({name for trials in slots for trial in trials for name in (trial.left, trial.right)})


def _check_picture(path: Path) -> None:
    if not path.is_file() or sha256_file(path) != sha256_of(path.name):
        raise UserError(f"{path}: missing, or not the picture that the study was made with")


def _data_url(path: Path) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
