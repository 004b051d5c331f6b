"""Images in, scores with intervals out: manifest or models -> metrics -> journal -> tables and a report.

Every batch of scores is durable before the next one starts and the manifest is written last: a killed run goes on
with the same command.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import BenchConfig
from benchmarks.corpus import corpus_rows
from benchmarks.feature_cache import FeatureCache
from benchmarks.images import first_pictures, models_of, read_manifests, refuse_faults
from benchmarks.importers.importer import IMPORTERS, MANIFEST, import_images
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.metric import METRICS, Metric, load_metric
from benchmarks.publish import publish
from benchmarks.records import BenchImage
from benchmarks.report.tables import comparison_cells, markdown, score_cells, split_cells
from benchmarks.scoring import pending_batches, score_images, score_table
from benchmarks.study.source import study_metrics, with_study
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.workers import score_in_processes
from llm4gen_data.config import load_config, to_plain
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.registry import resolve
from llm4gen_data.runs import (
    SCHEMA_VERSION,
    fingerprint_hash,
    fsync_folder,
    is_complete,
    open_run,
    read_json,
    write_json,
)
from llm4gen_model.generate.config import GenerateConfig

if TYPE_CHECKING:
    import pandas as pd

SMALL_PICTURE_PX = 64
OTHER_INTERPRETER = "t2v_metrics"  # has another torch
SMALL_CLIP, LARGE_CLIP = "clip-mini", "openai/clip-vit-large-patch14"


@dataclass(frozen=True, slots=True)
class Work:
    """Images, metrics with the options they are made of, and everything that can change a score of them."""

    images: list[BenchImage]
    metrics: dict[str, Metric]
    options: dict[str, dict[str, Any]]
    scored: dict[str, Any]


def run(config: BenchConfig, out: Path) -> None:
    """Score the images of `config` into the run directory `out`, or go on where an earlier start stopped.

    Raises UsageError for what cannot be meant, UserError for a manifest, model or metric that cannot be used, and
    once everything is written if a metric could score none of the images.
    """
    suite = _check(config)
    folders = config.images or (out / "images",)
    # Images that exist are checked before anything is written.
    work = _load(config, suite, folders) if config.images else None
    fingerprint = _fingerprint(config, suite, work)
    known = _known(out, fingerprint)
    with open_run(out, "run", to_plain(config), known):
        if known != fingerprint:
            _add_metrics(out, fingerprint)
        if not is_complete(out):
            if work is None:
                _generate(_generate_config(config, suite), folders[0])
                work = _load(config, suite, folders)
            scores, corpus = _score(config, work, out)
            publish(config, work.images, work.metrics, scores, corpus, work.scored, fingerprint, folders, out)
        results = read_json(out / "results.json")
        print("", markdown(score_cells(results)), sep="\n")
        if results["comparisons"]:
            print(markdown(comparison_cells(results, by_category=False)))
        if results["splits"]:
            print(markdown(split_cells(results)))
        print(*results["notes"], f"report: {out / 'report.html'}", sep="\n")
    _refuse_no_score(results)


def _score(config: BenchConfig, work: Work, out: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """What the journal does not hold yet is scored; a row each of all that it holds then, and those of `corpus`."""
    # A score is worth something only for the same images and metric: the former stand in the name, the latter within.
    metrics = {name: work.metrics[name] for name in work.options}  # people have scored already
    keys = {name: fingerprint_hash(work.scored["metrics"][name]) for name in metrics}
    journal = ScoreJournal(out / f"scores-{fingerprint_hash(work.scored['images'])}.jsonl", keys)
    path = config.feature_cache or out / "features.sqlite"
    cache = FeatureCache(path) if any(getattr(metric, "uses", ()) for metric in metrics.values()) else None
    try:
        batches = pending_batches(journal, len(work.images), config.batch_size)
        if config.processes > 1 and len(batches) > 1:
            n_processes = min(config.processes, len(batches))
            where = None if cache is None else path
            score_in_processes(work.images, work.options, journal, batches, where, n_processes)
        else:
            score_images(work.images, metrics, journal, batches, cache)
        corpus = [] if cache is None else corpus_rows(work.images, work.metrics, cache, config.batch_size, out)
        scores = score_table(work.images, journal)
        return scores if config.study is None else with_study(scores, config.study, work.images), corpus
    finally:
        journal.close()
        if cache is not None:
            cache.close()


def _known(out: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The fingerprint of the run in `out` if `fingerprint` only adds metrics to it, else `fingerprint` itself."""
    now = json.loads(json.dumps({"command": "run", **fingerprint}))
    if (out / "fingerprint.json").is_file():
        known = read_json(out / "fingerprint.json")
        same = {**known, "metrics": None} == {**now, "metrics": None}
        if same and known["metrics"].items() <= now["metrics"].items():
            return {key: value for key, value in known.items() if key != "command"}
    return dict(fingerprint)


def _add_metrics(out: Path, fingerprint: Mapping[str, Any]) -> None:
    """The run is to be finished anew: its scores stay in the journal, and those of more metrics join them."""
    (out / "manifest.json").unlink(missing_ok=True)
    fsync_folder(out)
    write_json(out / "fingerprint.json", {"command": "run", **fingerprint})


def _check(config: BenchConfig) -> Suite:
    """The suite. Raises UsageError for options that make no sense."""
    if not config.suite:
        raise UsageError(f"expected --suite NAME: {', '.join(SUITES)}, or module:attribute")
    suite: Suite = resolve("suite", config.suite, SUITES)
    if bool(config.images) == bool(config.models):
        raise UsageError("expected either --images DIR (repeatable) or --model M (repeatable)")
    if config.layout != MANIFEST:
        resolve("image layout", config.layout, IMPORTERS)
    elif config.prompts is not None:
        layouts = ", ".join(name for name in IMPORTERS if name != "folder")
        where = "--set generate.prompts=FILE" if config.models else f"--layout folder as well (or {layouts})"
        raise UsageError(f"--prompts {config.prompts}: a manifest has its own prompts; expected {where}")
    if config.models and config.study is not None:
        raise UsageError(f"--study {config.study}: people have seen images that exist; expected --images, not --model")
    if config.models and (config.layout != MANIFEST or config.strict):
        raise UsageError("--layout and --strict are for --images; a model's images have a manifest and are sound")
    for name in config.metrics:
        resolve("metric", name, METRICS)
    for key, least in (("batch_size", 1), ("processes", 1), ("n_resamples", 1), ("max_gallery_rows", 0)):
        if getattr(config, key) < least:
            raise UsageError(f"{key} = {getattr(config, key)}: expected at least {least}")
    if config.models:
        _generate_config(config, suite)
        for name, options in _options(config, suite).items():
            if options.get("model") != "auto":  # what is not there is better known before hours of drawing
                load_metric(name, options)
    elif config.generate:
        raise UsageError("generate: these options are for --model; the images of --images exist already")
    return suite


def _load(config: BenchConfig, suite: Suite, folders: Sequence[Path]) -> Work:
    """The images and the metrics that can judge them, with a line on whatever is worth telling."""
    if config.layout == MANIFEST:
        images, remarks = read_manifests(folders, suite.group, allow_missing=config.allow_missing)
    else:
        images, remarks = import_images(config, suite, folders)
    if config.strict:
        refuse_faults(images, remarks)
    prompts = {image.prompt.prompt_id: image.prompt for image in images}
    print(f"{len(images)} images of {len(prompts)} prompts by {', '.join(models_of(images))}")
    for remark in remarks:
        print(remark)
    metrics: dict[str, Metric] = {}
    chosen = _options(config, suite, {image.prompt.category for image in images})
    for name, options in chosen.items():
        if options.get("model") == "auto":
            options["model"] = _clip_for(images)
            print(f"{name}: {options['model']} ({SMALL_CLIP} for pictures of at most {SMALL_PICTURE_PX} px, ", end="")
            print(f"else {LARGE_CLIP}; --set {name}.model=... chooses)")
        metrics[name] = load_metric(name, options)
        metrics[name].check(prompts.values())
    if config.study is not None:
        metrics |= study_metrics(config.study)
    return Work(images, metrics, chosen, _scored_with(images, metrics))


def _options(
    config: BenchConfig, suite: Suite, categories: Collection[str] | None = None
) -> dict[str, dict[str, Any]]:
    """The chosen metrics with their options; a metric of the user's has none.

    Without a choice, those that judge prompts of `categories` (None: of any).
    """
    names = config.metrics
    if not names and categories is None:
        names = suite.metrics
    elif not names:
        unjudged = sorted(category for category in categories or () if not suite.metrics_of(category))
        if unjudged:
            raise UserError(f"suite {config.suite}: no metric for prompts of category {', '.join(unjudged)}")
        judges = {name for category in categories or () for name in suite.metrics_of(category)}
        names = tuple(name for name in suite.metrics if name in judges)
    options = {}
    for name in names:
        options[name] = metric_options(config, name)
        if suite.protocol and name in suite.metrics:
            options[name]["protocol"] = suite.protocol
    return options


def metric_options(config: BenchConfig, name: str) -> dict[str, Any]:
    """The options in `config` of one metric (an entry of METRICS, or `module:attribute`); a suite adds its own."""
    family = name.partition(".")[0] if name in METRICS else name
    options: dict[str, Any] = asdict(getattr(config, family)) if hasattr(config, family) else {}
    for key in ("device", "dtype"):
        if key in options and options[key] is None:
            options[key] = getattr(config, key)
    if "device" in options and family != OTHER_INTERPRETER:
        _refuse_absent_device(name, options["device"])
    return options


def _refuse_absent_device(metric: str, device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        told = str(error).partition("\n")[0]
        raise UserError(f"{metric}: device {device!r} cannot be used: {told}") from error


def _clip_for(images: Sequence[BenchImage]) -> str:
    """Which CLIP suits: the bundled one has only ever seen small pictures."""
    pictures = first_pictures(images)
    small = pictures and all(max(picture.size) <= SMALL_PICTURE_PX for picture in pictures)
    return SMALL_CLIP if small else LARGE_CLIP


def _scored_with(images: Sequence[BenchImage], metrics: dict[str, Metric]) -> dict[str, Any]:
    """Everything that can change a score: every image, as the manifest lists it, and the metrics."""
    rows = [(i.model, *i.key, i.prompt.prompt, i.prompt.category, i.prompt.spec, i.sha256, i.problem) for i in images]
    return {
        "images": {"n_images": len(images), "sha256": fingerprint_hash({"images": rows})},
        "metrics": {name: metric.identity() for name, metric in metrics.items()},
    }


def _fingerprint(config: BenchConfig, suite: Suite, work: Work | None) -> dict[str, Any]:
    """Everything that can change a number: the images or what draws them, the metrics, the resampling."""
    if work is None:
        drawn = to_plain(_generate_config(config, suite))
        images = {key: value for key, value in drawn.items() if key not in ("batch_size", "device")}
        scored = {"images": images, "metrics": _options(config, suite)}
    else:
        scored = work.scored
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": config.suite,
        **scored,
        "n_resamples": config.n_resamples,
        "bootstrap_seed": config.bootstrap_seed,
        "max_gallery_rows": config.max_gallery_rows,
    }


def _generate_config(config: BenchConfig, suite: Suite) -> GenerateConfig:
    """How the suite's prompts are drawn. Raises UsageError for what `generate` does not know."""
    defaults = {"prompts": suite.prompts, "n_prompts": suite.n_prompts, **suite.generate}
    values = {**defaults, **config.generate, "models": config.models}
    if not values["prompts"]:
        raise UsageError(f"suite {config.suite}: has no prompts to draw; expected --set generate.prompts=FILE")
    return load_config(GenerateConfig, flags=values)


def _generate(config: GenerateConfig, folder: Path) -> None:
    from llm4gen_model.generate.run import generate

    generate(config, folder)


def _refuse_no_score(results: dict[str, Any]) -> None:
    for name in results["metrics"]:
        rows = [row for row in results["scores"] if row["metric"] == name and row["category"] is None]
        if all(row["n_images"] == 0 for row in rows):
            known = (note for note in results["notes"] if note.startswith("Not scored"))
            reason = next(known, "no prompt asks for anything that it looks for")
            raise UserError(f"{name}: not one of {results['n_images']} images has a value; {reason}")
