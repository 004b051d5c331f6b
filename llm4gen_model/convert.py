"""From the authors' layout to ours, or from any model with a CAM to a pipeline that diffusers saves whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from llm4gen_data.errors import UserError
from llm4gen_data.runs import fsync_folder, package_versions, write_json, write_text
from llm4gen_model.layouts import (
    EXPORT_FILE,
    RELEASED_FILE,
    find_folder,
    layout_file,
    read_connector,
    read_export,
    read_unet,
)
from llm4gen_model.models import load_model

CARD = """# {name}

LLM4GEN (arXiv 2407.00737) as its authors released it, converted from `{source}` by llm4gen {version}: a Cross-Adapter
Module of {n_cam:,} parameters and the UNet that learned with it, on top of `{base}`. Weights are the authors'.

- language model: {llm}, prefix "{prefix}", {max_tokens} tokens, padding included, {dtype}

```python
from llm4gen_model.models import load_model

model = load_model("{name}")  # or the path of this folder
embeds = model.prompt_encoder.encode(["a small red circle above a large blue square"])
image = model.pipeline(**embeds.as_kwargs()).images[0]
```
"""


def convert(
    source: str, out: Path, *, base: str | None = None, llm: str | None = None, pipeline: bool = False
) -> None:
    """Write the model `source` (a folder or hub id in the authors' layout) to `out` as `train` exports models.

    With `pipeline`, any model with a CAM as a saved LLM4GenPipeline, base and language model included. `base` and
    `llm` are written down as where those are. `out` appears when all of it is durable. Raises UserError for
    another layout, for weights that are missing, misshapen or no tensors, and for an `out` that holds files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists; give an empty or new folder")
    partial = out.absolute().with_name(f".tmp-{out.absolute().name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if pipeline:
            _write_pipeline(source, partial, base, llm)
        else:
            _write_export(source, partial, base, llm, out.absolute().name)
        shutil.rmtree(out, ignore_errors=True)
        partial.replace(out)
        fsync_folder(out.absolute().parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    click.echo(f"{out}: draw with `llm4gen-model generate --model {out}`")


def _write_export(source: str, folder: Path, base: str | None, llm: str | None, name: str) -> None:
    found = find_folder(source)
    if found is None or layout_file(found) != RELEASED_FILE:
        raise UserError(
            f"{source}: not in the authors' layout: expected a folder or hub id with {RELEASED_FILE} and unet/"
        )
    about = read_export(found)
    about["base"] = _lasting(base) or about["base"]
    about["llm"] = {**about["llm"], "name": _lasting(llm) or about["llm"]["name"]}
    cam = read_connector(found)
    unet = read_unet(found)
    assert unet is not None
    folder.mkdir(parents=True)
    cam.save_pretrained(folder / "cam")
    unet.save_pretrained(folder / "unet")
    about["llm"]["width"] = cam.config.llm_dim
    about |= {"source": source, "versions": package_versions("torch", "diffusers", "transformers")}
    write_json(folder / EXPORT_FILE, json.loads(json.dumps(about)))
    card = CARD.format(
        name=name,
        source=source,
        version=package_versions()["llm4gen"],
        n_cam=cam.num_parameters(),
        base=about["base"],
        llm=about["llm"]["name"],
        **{key: about["llm"][key] for key in ("prefix", "max_tokens", "dtype")},
    )
    write_text(folder / "README.md", card)


def _write_pipeline(source: str, folder: Path, base: str | None, llm: str | None) -> None:
    from llm4gen_model.pipeline import LLM4GenPipeline, LLM4GenXLPipeline

    model = load_model(source, base=base, llm=llm)
    if model.prompt_encoder.cam is None:
        raise UserError(f"{source}: has no CAM: expected a model with one")
    kind = LLM4GenXLPipeline if model.prompt_encoder.is_sdxl else LLM4GenPipeline
    folder.mkdir(parents=True)
    kind.from_model(model).save_pretrained(folder)


def _lasting(location: str | None) -> str | None:
    """The location such that it is found from any folder."""
    return str(Path(location).absolute()) if location is not None and Path(location).is_dir() else location
