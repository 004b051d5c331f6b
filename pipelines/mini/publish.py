"""Put trained weights into the package, and write their cards from the files of the runs that trained and scored them.

    python -m pipelines.mini.publish unet runs/mini/unet-shapes
    python -m pipelines.mini.publish cam runs/mini/cam
    llm4gen-model generate --model mini --model cam-mini --prompts scenes --n-prompts 500 ... --out runs/mini/pictures
    llm4gen-bench run --suite scenes --images runs/mini/pictures --out runs/mini/scores
    python -m pipelines.mini.publish cards --unet runs/mini/unet --unet runs/mini/unet-objects \\
        --unet runs/mini/unet-shapes --cam runs/mini/cam --scores runs/mini/scores

Weights are stored as float16; the scores are of the stored ones.
"""

import shutil
from pathlib import Path
from statistics import median
from typing import Any

import click
import yaml
from diffusers import UNet2DConditionModel

from llm4gen_data.runs import read_json, write_text
from llm4gen_model.cam import CrossAdapterModule
from llm4gen_model.family import BUNDLED, bundled_models
from llm4gen_model.training.metrics import read_metrics

UNET_CARD = """---
license: apache-2.0
library_name: diffusers
tags: [text-to-image, unet, synthetic]
---

# unet-mini

The base of the mini family: a `UNet2DConditionModel` of {parameters:,} parameters on the 16 x 16 x 4 latents of
vae-mini, conditioned on clip-mini. It draws the 64-pixel scenes of `llm4gen_data.scenes`, by v-prediction with zero
terminal SNR. `llm4gen_model.models.load_model("mini")` is the whole pipeline.

## Training

{training}

```sh
python -m pipelines.mini.pairs --n 30000 --out runs/mini/pairs
llm4gen-model train --config pipelines/mini/unet.yaml --data runs/mini/pairs --out runs/mini/unet
python -m pipelines.mini.pairs --n 15000 --seed 71000000 --several-objects-share 0.08 --out runs/mini/pairs-one
llm4gen-model train --config pipelines/mini/unet_objects.yaml --data runs/mini/pairs-one --out runs/mini/unet-objects
llm4gen-model train --config pipelines/mini/unet_shapes.yaml --data runs/mini/pairs-one --out runs/mini/unet-shapes
```

## Measured

{scores}
"""

CAM_CARD = """---
license: apache-2.0
library_name: diffusers
tags: [text-to-image, llm4gen, cross-adapter, synthetic]
---

# cam-mini

A Cross-Adapter Module of {parameters:,} parameters that adds {max_tokens} tokens of {llm} to clip-mini's 32.
unet-mini under it is unchanged. `llm4gen_model.models.load_model("cam-mini")` is the whole pipeline.

## Training

{training}

```sh
python -m pipelines.mini.pairs --n 10000 --out runs/mini/pairs-cam
llm4gen-model train --config pipelines/mini/cam.yaml --data runs/mini/pairs-cam --out runs/mini/cam
```

## Measured

{scores}
"""


@click.group(help=__doc__)
def main() -> None:
    """One sub-command a step."""


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
def unet(run: Path) -> None:
    """Store the UNet of a training run as unet-mini."""
    model = UNet2DConditionModel.from_pretrained(run / "model" / "unet", low_cpu_mem_usage=False)
    model.half().save_pretrained(BUNDLED / "unet-mini")


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
def cam(run: Path) -> None:
    """Store the CAM of a training run as cam-mini."""
    folder = BUNDLED / "cam-mini"
    folder.mkdir(exist_ok=True)
    module = CrossAdapterModule.from_pretrained(run / "model" / "cam")
    module.half().save_pretrained(folder / "cam")
    shutil.copyfile(run / "model" / "llm4gen.json", folder / "llm4gen.json")


@main.command()
@click.option("--unet", "unet_runs", type=click.Path(path_type=Path, exists=True), required=True, multiple=True)
@click.option("--cam", "cam_run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--scores", type=click.Path(path_type=Path, exists=True), required=True)
def cards(unet_runs: tuple[Path, ...], cam_run: Path, scores: Path) -> None:
    """Write both cards; `--unet` once for each stage of its training."""
    parameters = {model.name: model.n_parameters for model in bundled_models()}
    llm = read_json(BUNDLED / "cam-mini" / "llm4gen.json")["llm"]
    values: dict[str, Any] = {"scores": score_tables(scores)}
    stages = "\n".join(f"{number}. {training_line(run)}" for number, run in enumerate(unet_runs, start=1))
    unet_card = UNET_CARD.format(parameters=parameters["unet-mini"], training=stages, **values)
    cam_card = CAM_CARD.format(
        parameters=parameters["cam-mini"],
        llm=llm["name"],
        max_tokens=llm["max_tokens"],
        training=training_line(cam_run),
        **values,
    )
    write_text(BUNDLED / "unet-mini" / "README.md", unet_card)
    write_text(BUNDLED / "cam-mini" / "README.md", cam_card)


def training_line(run: Path) -> str:
    """What a run did, from its own files."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    manifest = read_json(run / "manifest.json")
    lines = read_metrics(run / "metrics.jsonl")
    batch = config["train_batch_size"]
    starts = [0, *(line["step"] for line in lines)]
    seconds = sum(
        batch * (line["step"] - start) / line["images_per_s"] for start, line in zip(starts, lines, strict=False)
    )
    captions = ", ".join(f"{name} ({share:g})" for name, share in config["captions"].items())
    step_ms = 1000 * batch / median(line["images_per_s"] for line in lines)
    return (
        f"{manifest['n_steps']:,} steps of {batch} pairs out of {manifest['n_pairs']:,}, captions {captions}, "
        f"learning rate {config['learning_rate']:g}, on {manifest['machine']}, {manifest['finished_at'][:10]}: "
        f"{seconds / 60:.0f} minutes, {step_ms:.0f} ms a step (median). The last mean loss was "
        f"{lines[-1]['loss']:.4f}. The weights are a moving average (EMA {config['ema_decay']})."
    )


def score_tables(scores: Path) -> str:
    """Both tables of a run of `llm4gen-bench run`, as it wrote them, and how its pictures were drawn."""
    folder = Path(yaml.safe_load((scores / "config.yaml").read_text())["images"][0])
    sampling = read_json(folder / "manifest.json")["fingerprint"]["sampling"]
    drawn = (
        f"{sampling['num_inference_steps']} steps, guidance {sampling['guidance_scale']:g}, seed {sampling['seed']}"
    )
    tables = [(scores / "tables" / name).read_text().strip() for name in ("scores.md", "comparison.md")]
    return f"Prompt set `scenes`, one picture a prompt, {drawn}.\n\n" + "\n\n".join(tables)


if __name__ == "__main__":
    main()
