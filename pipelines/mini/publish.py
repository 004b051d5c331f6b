"""Put trained weights into the package, and write their cards from the files of the runs that trained and scored them.

    python -m pipelines.mini.publish unet runs/mini/unet
    python -m pipelines.mini.publish model control-mini runs/mini/control
    python -m pipelines.mini.publish model cam-mini runs/mini/cam
    llm4gen-model generate --model mini --model control-mini --model cam-mini --prompts scenes --n-prompts 500 \\
        --set guidance_rescale=0.7 --set noise_per_prompt=true --out runs/mini/pictures
    llm4gen-bench run --suite scenes --images runs/mini/pictures --out runs/mini/scores
    python -m pipelines.mini.publish cards --unet runs/mini/unet --model control-mini=runs/mini/control \\
        --model cam-mini=runs/mini/cam --scores runs/mini/scores

Weights are stored as float16; the scores are of the stored ones.
"""

import shutil
from pathlib import Path
from statistics import median

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

The base of the mini family: a `UNet2DConditionModel` of {parameters:,} parameters on the 8 x 8 x 12 latents of
vae-mini, conditioned on clip-mini. It draws the 64-pixel scenes of `llm4gen_data.scenes`, by v-prediction with zero
terminal SNR. `llm4gen_model.models.load_model("mini")` is the whole pipeline.

## Training

{training}

```sh
python -m pipelines.mini.pairs --n 60000 --seed 72000000 --out runs/mini/pairs-base
torchrun --standalone --nproc-per-node 2 --no-python \\
  llm4gen-model train --config pipelines/mini/unet.yaml --data runs/mini/pairs-base --out runs/mini/unet
```

## Measured

{scores}
"""

MODEL_CARD = """---
license: apache-2.0
library_name: diffusers
tags: [text-to-image, llm4gen, synthetic]
---

# {name}

{what} `llm4gen_model.models.load_model("{name}")` is the whole pipeline.

## Training

{training}

```sh
python -m pipelines.mini.pairs --n 12000 --seed 75000000 --out runs/mini/pairs-cam
llm4gen-model train --config pipelines/mini/cam.yaml{own} --data runs/mini/pairs-cam --out runs/mini/{run}
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
@click.argument("name")
@click.argument("run", type=click.Path(path_type=Path, exists=True))
def model(name: str, run: Path) -> None:
    """Store what a training run exported, a CAM, a UNet or both, as the model NAME."""
    exported, folder = run / "model", BUNDLED / name
    folder.mkdir(exist_ok=True)
    if (exported / "cam").is_dir():
        CrossAdapterModule.from_pretrained(exported / "cam").half().save_pretrained(folder / "cam")
    if (exported / "unet").is_dir():
        network = UNet2DConditionModel.from_pretrained(exported / "unet", low_cpu_mem_usage=False)
        network.half().save_pretrained(folder / "unet")
    shutil.copyfile(exported / "llm4gen.json", folder / "llm4gen.json")


@main.command()
@click.option("--unet", "unet_run", type=click.Path(path_type=Path, exists=True), required=True)
@click.option(
    "--model", "models", metavar="NAME=RUN", multiple=True, help="A model and the run it came from; repeatable."
)
@click.option("--scores", type=click.Path(path_type=Path, exists=True), required=True)
def cards(unet_run: Path, models: tuple[str, ...], scores: Path) -> None:
    """Write the cards of the base and of the models made from it."""
    parameters = {model.name: model.n_parameters for model in bundled_models()}
    tables = score_tables(scores)
    training = training_line(unet_run)
    unet_card = UNET_CARD.format(parameters=parameters["unet-mini"], training=training, scores=tables)
    write_text(BUNDLED / "unet-mini" / "README.md", unet_card)
    for name, run in ((name, Path(run)) for name, _, run in (each.partition("=") for each in models)):
        trained = yaml.safe_load((run / "config.yaml").read_text())["train"]
        card = MODEL_CARD.format(
            name=name,
            what=describe(name, parameters[name]),
            training=training_line(run),
            own="" if trained == "cam+unet" else f" --set train={trained}",
            run=run.name,
            scores=tables,
        )
        write_text(BUNDLED / name / "README.md", card)


def describe(name: str, n_parameters: int) -> str:
    """What a model adds to unet-mini, in a sentence or two."""
    about = read_json(BUNDLED / name / "llm4gen.json")
    llm = about["llm"]
    if llm is None:
        return f"unet-mini ({n_parameters:,} parameters) trained further, without a language model."
    adds = f"adds {llm['max_tokens']} tokens of {llm['name']} to clip-mini's 32"
    if (BUNDLED / name / "unet").is_dir():
        return f"A Cross-Adapter Module that {adds}, and the UNet trained with it: {n_parameters:,} parameters."
    return f"A Cross-Adapter Module of {n_parameters:,} parameters that {adds}. unet-mini under it is unchanged."


def training_line(run: Path) -> str:
    """What a run did, from its own files."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    manifest = read_json(run / "manifest.json")
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "images_per_s" in line]
    batch = config["train_batch_size"]
    starts = [0, *(line["step"] for line in lines)]
    seconds = sum(
        batch * (line["step"] - start) / line["images_per_s"] for start, line in zip(starts, lines, strict=False)
    )
    captions = ", ".join(f"{name} ({share:g})" for name, share in config["captions"].items())
    step_ms = 1000 * batch / median(line["images_per_s"] for line in lines)
    return (
        f"{manifest['n_steps']:,} steps of {batch} pairs out of {manifest['n_pairs']:,}, captions {captions}, "
        f"{config['optimizer']}, learning rate {config['learning_rate']:g}, "
        f"on {manifest['machine']}, {manifest['finished_at'][:10]}: "
        f"{seconds / 60:.0f} minutes, {step_ms:.0f} ms a step (median). The last mean loss was "
        f"{lines[-1]['loss']:.4f}. The weights are a moving average (EMA {config['ema_decay']})."
    )


def score_tables(scores: Path) -> str:
    """Both tables of a run of `llm4gen-bench run`, as it wrote them, and how its pictures were drawn."""
    folder = Path(yaml.safe_load((scores / "config.yaml").read_text())["images"][0])
    sampling = read_json(folder / "manifest.json")["fingerprint"]["sampling"]
    drawn = (
        f"{sampling['num_inference_steps']} steps, guidance {sampling['guidance_scale']:g} "
        f"(rescaled by {sampling.get('guidance_rescale', 0):g}), seed {sampling['seed']}"
        f"{' on, a noise for every prompt' if sampling.get('noise_per_prompt') else ''}"
    )
    tables = [(scores / "tables" / name).read_text().strip() for name in ("scores.md", "comparison.md")]
    return f"Prompt set `scenes`, one picture a prompt, {drawn}.\n\n" + "\n\n".join(tables)


if __name__ == "__main__":
    main()
