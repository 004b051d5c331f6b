"""A trained model as a folder that `load_model` takes: what was trained, and the name of what was not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers

from llm4gen_data.runs import fsync_folder, package_versions, write_json, write_text
from llm4gen_model.layouts import EXPORT_FORMAT, PIPELINE_FILE, find_folder, layout_file, read_export
from llm4gen_model.models import MODEL_SPECS, Model
from llm4gen_model.training.config import WHAT, TrainConfig

CARD = """# {name}

{what}, trained on top of `{base}` by llm4gen {version}.

- data: {n_pairs:,} pairs of image and caption; captions: {captions}
- {steps:,} steps of batch {batch}, learning rate {rate}, seed {seed}; the weights are a moving average (EMA {ema})
- language model: {llm}

```python
from llm4gen_model.models import load_model

model = load_model("{name}")  # or the path of this folder
embeds = model.prompt_encoder.encode(["a small red circle above a large blue square"])
image = model.pipeline(**embeds.as_kwargs()).images[0]
```
"""


def export_model(config: TrainConfig, model: Model, folder: Path, n_pairs: int) -> None:
    """Write `llm4gen.json`, `cam/`, `unet/` or `lora/`, and a card; the folder appears when all of it is durable.

    `lora/` is what diffusers' `load_lora_weights` takes. The UNet is there where it is not the base's own.
    """
    partial = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    base, keeps_unet = root_of(config.base)
    llm = model.prompt_encoder.llm
    cam = model.prompt_encoder.cam
    if cam is not None:
        cam.save_pretrained(partial / "cam")
    if config.train == "cam+unet-lora":
        save_lora(model, partial / "lora")
    if config.train in ("cam+unet", "cam+cross-attention", "unet") or keeps_unet:
        without_lora(model.pipeline.unet).save_pretrained(partial / "unet")
    about = {
        "format": EXPORT_FORMAT,
        "base": base,
        "train": config.train,
        "llm": llm.identity() if llm is not None else None,
        "steps": config.max_train_steps,
        **({"text_chunks": model.prompt_encoder.min_text_chunks} if config.long_prompts == "chunk" else {}),
        "versions": package_versions("torch", "diffusers", "transformers"),
    }
    write_json(partial / "llm4gen.json", json.loads(json.dumps(about)))
    card = CARD.format(
        name=config.out.name,
        what=WHAT[config.train],
        base=base,
        version=package_versions()["llm4gen"],
        n_pairs=n_pairs,
        captions=", ".join(f"{name} ({weight:g})" for name, weight in config.captions.items()),
        steps=config.max_train_steps,
        batch=config.train_batch_size,
        rate=config.learning_rate,
        seed=config.seed,
        ema=config.ema_decay,
        llm=f"{llm.name}, {llm.max_tokens} tokens" if llm is not None else "none",
    )
    write_text(partial / "README.md", card)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    fsync_folder(folder.parent)


def root_of(base: str) -> tuple[str, bool]:
    """The base model under `base`, which may itself be made of one, and whether it has a UNet of its own."""
    folder = find_folder(base) if base not in MODEL_SPECS else None
    if folder is None or layout_file(folder) == PIPELINE_FILE:
        return base, False
    return str(read_export(folder)["base"]), any((folder / name).is_dir() for name in ("unet", "lora"))


def save_lora(model: Model, folder: Path) -> None:
    """Write the LoRA of the model's UNet in diffusers' layout."""
    from peft import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(model.pipeline.unet))
    type(model.pipeline).save_lora_weights(folder, unet_lora_layers=layers)


def without_lora(unet: Any) -> Any:
    """The UNet itself, or what it was before it got its LoRA."""
    if not getattr(unet, "peft_config", None):
        return unet
    plain = UNet2DConditionModel.from_config(unet.config)
    weights = {name.replace(".base_layer", ""): value for name, value in unet.state_dict().items()}
    plain.load_state_dict({name: value for name, value in weights.items() if ".lora_" not in name})
    return plain
