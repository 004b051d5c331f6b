"""An experiment as the commands that a person would type, in order, each with what it leaves behind and its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm4gen_data.runs import read_json
from pipelines.reproduce.preset import Arm, Choice, Preset

DATA, MODEL, BENCH, PYTHON = "llm4gen-data", "llm4gen-model", "llm4gen-bench", "python"
ROWS_PER_SHARD = 5_000  # of pipelines.mini.pairs
CHOICES = "choices.json"
NO_LLM = "none"
MANIFEST = "manifest.json"
ALL = 1_000  # a command that shares the machine with no other
NESTED = ("llm", "cam", "entity_loss")  # whose keys are set one by one, so that the others of the preset stay


@dataclass(frozen=True, slots=True)
class Job:
    """One command; done when `out` exists. It costs `units` times the seconds under `rate` in the preset's costs.

    `makes` is the folder or file that it fills, by which other commands name it; of the commands that run at once it
    counts for `n_processes`.
    """

    name: str
    words: tuple[str, ...]
    makes: Path
    out: Path
    rate: str
    units: float
    n_processes: int = 1


def run_name(arm: str, learning_rate: float | None, seed: int) -> str:
    """The name of a training, and of its pictures and scores; the base's own is that of its model."""
    return arm if learning_rate is None else f"{arm}-lr{learning_rate:g}-seed{seed}"


def data_jobs(preset: Preset, out: Path) -> list[Job]:
    """Scenes and their captions; vlm-mini's and corrupted ones where an arm learns from them."""
    arms = preset.chosen_arms()
    pairs = preset.pairs
    jobs: list[Job] = []
    words: tuple[object, ...]
    for n in sorted({pairs.n, *(arm.n_pairs for arm in arms.values() if arm.n_pairs is not None)}):
        folder = data_folder(preset, out, Arm("", n_pairs=n))
        n_shards = -(-n // ROWS_PER_SHARD)
        last = f"data/train-{n_shards - 1:05d}-of-{n_shards:05d}.parquet"
        share = ("--several-objects-share", pairs.several_objects_share)
        words = ("-m", "pipelines.mini.pairs", "--n", n, "--seed", pairs.seed, *share, "--out", folder)
        jobs.append(_job(f"data/{folder.name}", (PYTHON, *words), folder, last, "pairs", n))
    whole = out / "data" / "pairs"
    if any(arm.data == "corrupted" for arm in arms.values()):
        shares = [word for share in pairs.corrupted_shares for word in ("--share", share)]
        folder = out / "data" / "corrupted"
        words = ("-m", "pipelines.reproduce.corrupted", "--data", whole, *shares, "--out", folder)
        jobs.append(_job("data/corrupted", (PYTHON, *words), folder, MANIFEST, "pairs", pairs.n))
    if any(arm.data == "recaptioned" for arm in arms.values()):
        folder = out / "data" / "recaptioned"
        words = ("recaption", whole, "--captioner", "vllm", "--model", "vlm-mini", "--out", folder)
        job = _job("data/recaptioned", (DATA, *words), folder, MANIFEST, "recaption", pairs.n)
        jobs.append(replace(job, n_processes=ALL))
    return jobs


def probe_jobs(preset: Preset, out: Path) -> list[Job]:
    """What the frozen text models know before anything is trained."""
    if not preset.probes.encoders:
        return []
    twins, probes = out / "probes" / "twins.json", out / "probes" / "before.json"
    n = ("--n", preset.probes.n_twins)
    return [
        _job(
            "probes/twins",
            (BENCH, "calibrate", "--metric", "clip_score", *n, "--out", twins),
            twins,
            "",
            "twins",
            n[1],
        ),
        _probe_job("probes/before", preset, preset.probes.encoders, probes),
    ]


def cache_jobs(preset: Preset, out: Path) -> list[Job]:
    """Latents and features of all pairs, once for each language model, data set and choice of captions."""
    jobs: dict[tuple[object, ...], Job] = {}
    for name, arm in preset.chosen_arms().items():
        folder = cache_folder(preset, out, arm)
        captions = None if folder.name == NO_LLM else json.dumps((preset.train | arm.train).get("captions"))
        if arm.train and arm.n_pairs is None and (folder, arm.data, captions) not in jobs:
            words = (MODEL, "cache", *_training(preset, out, arm), "--cache", folder)
            rate = f"cache.{folder.name}"
            jobs[folder, arm.data, captions] = _job(
                f"cache/{folder.name}-{name}", words, folder, "latents", rate, preset.pairs.n
            )
    return list(jobs.values())


def sweep_jobs(preset: Preset, out: Path) -> list[Job]:
    """Every arm with each learning rate, drawn with each guidance, on the validation prompts."""
    jobs = []
    arms = {name: arm for name, arm in preset.chosen_arms().items() if arm.is_swept}
    if not arms:
        return []
    for name, arm in arms.items():
        if arm.train:
            jobs += [_train_job(preset, out, name, arm, rate, 0) for rate in preset.sweep.learning_rates]
    for scale in preset.sweep.guidance_scales:
        folders = []
        for name, arm in arms.items():
            models = [_model(preset, out, name, arm, rate, 0) for rate in _rates(preset, arm)]
            folders.append(out / "sweep" / "pictures" / f"{name}-g{scale:g}")
            jobs.append(
                _generate_job(
                    f"sweep/{name}-g{scale:g}",
                    *(preset, arm, models, Choice(None, scale), folders[-1]),
                    n_prompts=preset.sweep.n_prompts,
                    prompt_seed=preset.sweep.prompt_seed,
                )
            )
        scores = sweep_scores(out, scale)
        n_images = preset.sweep.n_prompts * sum(len(_rates(preset, arm)) for arm in arms.values())
        jobs.append(_score_job(f"sweep/scores-g{scale:g}", folders, scores, n_images, n_processes=1))
    return jobs


def final_jobs(preset: Preset, out: Path, choices: Mapping[str, Choice]) -> list[Job]:
    """Every arm with its choice and all its seeds, on the test prompts; then what explains the outcome."""
    trainings, drawings, folders = [], [], []
    for name, arm in preset.chosen_arms().items():
        choice = choices[name]
        for seed in range(arm.seeds if arm.train else 1):
            rate = choice.learning_rate if arm.train else None
            if rate is not None:
                trainings.append(_train_job(preset, out, name, arm, rate, seed))
            run = run_name(name, rate, seed)
            folders.append(out / "test" / "pictures" / run)
            model = _model(preset, out, name, arm, rate, seed)
            drawings.append(
                _generate_job(
                    f"test/{run}",
                    *(preset, arm, [model], choice, folders[-1]),
                    n_prompts=preset.n_prompts,
                    prompt_seed=preset.prompt_seed,
                )
            )
    n_images = preset.n_prompts * len(folders)
    scoring = _score_job("test/scores", folders, out / "test" / "scores", n_images, n_processes=2)
    return [*trainings, *drawings, scoring, *_explaining_jobs(preset, out, choices)]


def default_choices(preset: Preset) -> dict[str, Choice]:
    """What stands for the choices in a plan made before the sweep: what is given, else the first of each."""
    guidance = preset.sweep.guidance_scales[0]
    return {
        name: arm.choice or Choice(preset.sweep.learning_rates[0] if arm.train else None, guidance)
        for name, arm in preset.chosen_arms().items()
    }


def read_choices(out: Path) -> dict[str, Choice] | None:
    """What the sweep of the experiment in `out` chose, None if nothing yet."""
    path = out / CHOICES
    if not path.is_file():
        return None
    return {name: Choice(**choice) for name, choice in read_json(path)["choices"].items()}


def sweep_scores(out: Path, guidance_scale: float) -> Path:
    """Where the scores of the validation pictures of one guidance scale are."""
    return out / "sweep" / "scores" / f"g{guidance_scale:g}"


def data_folder(preset: Preset, out: Path, arm: Arm) -> Path:
    """The data set that an arm learns from."""
    part = "" if arm.n_pairs in (None, preset.pairs.n) else f"-{arm.n_pairs}"
    return out / "data" / f"{arm.data}{part}"


def cache_folder(preset: Preset, out: Path, arm: Arm) -> Path:
    """The cache that an arm shares with those of the same language model."""
    train = preset.train | arm.train
    llm = {**preset.train.get("llm", {}), **arm.train.get("llm", {})}.get("name", "minilm")
    return out / "cache" / (NO_LLM if train.get("train") == "unet" else llm)


def _explaining_jobs(preset: Preset, out: Path, choices: Mapping[str, Choice]) -> list[Job]:
    """Probes of what CAMs give, and where the claim's first arm looks for the words of a prompt."""
    arms = preset.chosen_arms()
    jobs = []
    models = {
        name: _model(preset, out, name, arms[name], choices[name].learning_rate, 0)
        for name in (*preset.probes.arms, *preset.claim.arms)
        if name in arms
    }
    encoders = [f"model:{models[name]}" for name in preset.probes.arms if name in arms]
    if encoders:
        jobs.append(_probe_job("probes/after", preset, encoders, out / "probes" / "after.json"))
    looking = next((models[name] for name in preset.claim.arms if name in arms), None)
    if looking is None:
        return jobs
    picture = out / "probes" / "attention.png"
    text = "The picture shows a star and a heart. The first is blue, the second red. The star lies left of the heart."
    words = (MODEL, "attention", "--model", looking, "--prompt", text, "--words")
    sampling = ("--steps", preset.num_inference_steps, "--out", picture)
    return [*jobs, _job("probes/attention", (*words, "star,heart,blue,red", *sampling), picture, "", "start", 1)]


def _rates(preset: Preset, arm: Arm) -> tuple[float | None, ...]:
    return preset.sweep.learning_rates if arm.train else (None,)


def _training(preset: Preset, out: Path, arm: Arm) -> list[object]:
    """The options that say what an arm is."""
    sets: list[object] = []
    for key, value in arm.train.items():
        parts = {f"{key}.{part}": inner for part, inner in value.items()} if key in NESTED else {key: value}
        sets += [word for part, inner in parts.items() for word in ("--set", f"{part}={json.dumps(inner)}")]
    settings = ("--set", f"threads={preset.threads}", "--device", preset.device)
    data = data_folder(preset, out, arm)
    return ["--config", out / "train.yaml", "--base", preset.base, "--data", data, *sets, *settings]


def _train_job(preset: Preset, out: Path, name: str, arm: Arm, rate: float, seed: int) -> Job:
    folder = out / "train" / run_name(name, rate, seed)
    own = ("--cache", cache_folder(preset, out, arm), "--learning-rate", rate, "--seed", seed, "--out", folder)
    words = (MODEL, "train", *_training(preset, out, arm), *own)
    steps = arm.train.get("max_train_steps", preset.train.get("max_train_steps", 1000))
    return _job(f"train/{folder.name}", words, folder, MANIFEST, f"train.{name}", steps)


def _model(preset: Preset, out: Path, name: str, arm: Arm, rate: float | None, seed: int) -> object:
    return out / "train" / run_name(name, rate, seed) / "model" if arm.train else preset.base


def _generate_job(
    name: str,
    preset: Preset,
    arm: Arm,
    models: list[object],
    choice: Choice,
    out: Path,
    *,
    n_prompts: int,
    prompt_seed: int,
) -> Job:
    named = [word for model in models for word in ("--model", model)]
    prompts = ("--prompts", preset.prompts, "--n-prompts", n_prompts, "--set", f"prompt_seed={prompt_seed}")
    sampling = ("--steps", preset.num_inference_steps, "--guidance-scale", choice.guidance_scale)
    own = [
        word
        for key, value in (preset.generate | arm.generate).items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    batch = ("--batch-size", 25, "--device", preset.device, "--out", out)
    words = (MODEL, "generate", *named, *prompts, *sampling, *own, *batch)
    return _job(name, words, out, MANIFEST, "generate", n_prompts * len(models))


def _score_job(name: str, folders: list[Path], out: Path, n_images: int, *, n_processes: int) -> Job:
    images = [word for folder in folders for word in ("--images", folder)]
    sets = ("--set", "n_resamples=200", "--set", "max_gallery_rows=20", "--set", f"processes={n_processes}")
    words = (BENCH, "run", "--suite", "scenes", "--metrics", "scene_reader", *images, *sets, "--out", out)
    # its processes divide the images
    job = _job(name, words, out, MANIFEST, "score", n_images / n_processes)
    return replace(job, n_processes=n_processes)


def _probe_job(name: str, preset: Preset, encoders: Any, out: Path) -> Job:
    named = [word for encoder in encoders for word in ("--encoder", encoder)]
    words = (BENCH, "probe", *named, "--n", preset.probes.n_scenes, "--out", out)
    return _job(name, words, out, "", "probe", len(encoders) * preset.probes.n_scenes)


def _job(name: str, words: tuple[object, ...], makes: Path, last: str, rate: str, units: float) -> Job:
    """`last` is the file or folder in what it makes that is there when it is done, "" for all of it."""
    return Job(name, tuple(str(word) for word in words), makes, makes / last, rate, units)
