"""CLIPScore and the aesthetic score from one image pass: `python -m tests.performance.evaluate_clip [--n 24]`.

CLIP ViT-L/14 at its real size with random weights. One run with both metrics against two runs with one each; then the
aesthetic score is added to a finished run, which costs only its head; then the peak memory of 100 and of 1,000 small
images. Text is encoded in every run that needs it, weights are loaded before the clock starts.
"""

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from benchmarks.feature_cache import FeatureCache
from benchmarks.images import read_manifests
from benchmarks.journal import ScoreJournal
from benchmarks.metrics.metric import Metric, load_metric
from benchmarks.scoring import pending_batches, score_images
from benchmarks.suites.suite import by_category
from llm4gen_data.records import Prompt
from tests.factories import clip_tokenizer
from tests.performance.full_size import CLIP_L
from tests.unit.benchmarks.factories import scene_manifest, tiny_head, write_manifest

N_WORDS = 30  # of one letter: 32 tokens
N_SAMPLES = 4  # images a prompt, as in GenEval and DPG-Bench
IMAGE_PX = 512
VISION_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
BATCH_SIZE = 8
LEAST_GAIN = 1.8
MEMORY_IMAGES = (100, 1000)
MOST_GROWTH_MIB = 40  # rows, offsets and manifest of 900 images more; their pixels alone are 10 MiB, batches of 32 0.4


@dataclass(frozen=True)
class Spent:
    """Time of a run; that of all its threads tells the same on a machine that others use as well."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s ({self.cpu_s:.2f} s of CPU)"


@click.command(help=__doc__)
@click.option("--n", default=24, show_default=True, help="Images for ViT-L/14.")
def main(n: int) -> None:
    """Print the times and what they are to each other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one_pass(folder, n)
        memory(folder)


def one_pass(folder: Path, n: int) -> None:
    """Both metrics at once, one after the other, and the second one added later."""
    images = pictures(folder / "images", n)
    clip = clip_l14(folder / "clip-l14")
    clip_score = load_metric("clip_score", {"model": str(clip)})
    aesthetic = load_metric("aesthetic", {"head": tiny_head(folder / "head.pth", 768), "model": str(clip)})
    score({"clip_score": clip_score, "aesthetic": aesthetic}, pictures(folder / "warm", 1), folder / "warm.jsonl")
    first = score({"clip_score": clip_score}, images, folder / "clip.jsonl")
    second = score({"aesthetic": aesthetic}, images, folder / "aesthetic.jsonl")
    cache = FeatureCache(folder / "features.sqlite")
    both = score({"clip_score": clip_score, "aesthetic": aesthetic}, images, folder / "both.jsonl", cache)
    later = score({"aesthetic": aesthetic}, images, folder / "later.jsonl", cache)
    separate = first + second
    gain = separate.cpu_s / both.cpu_s
    print(f"ViT-L/14, {n} images of {IMAGE_PX} px, float32, {torch.get_num_threads()} threads")
    print(f"two passes: CLIPScore {first}, aesthetic {second}; one pass: {both}")
    print(f"gain {gain:.2f} of CPU time (at least {LEAST_GAIN}), {separate.wall_s / both.wall_s:.2f} of wall time")
    print(f"aesthetic added later: {later}, {later.cpu_s / both.cpu_s:.2%} of the pass, pictures read anew")
    assert gain >= LEAST_GAIN


def memory(folder: Path) -> None:
    """Peak memory of a process that scores pictures of 64 px with clip-mini, both metrics."""
    peaks = []
    for n in MEMORY_IMAGES:
        scene_manifest(folder / f"scenes-{n}", n // 2)  # two models
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            peaks.append(pool.submit(peak_mib, folder / f"scenes-{n}", folder).result())
    told = ", ".join(f"{n} images {peak:.0f} MiB" for n, peak in zip(MEMORY_IMAGES, peaks, strict=True))
    print(f"peak memory: {told} (at most {MOST_GROWTH_MIB} MiB more)")
    assert peaks[-1] - peaks[0] < MOST_GROWTH_MIB


def peak_mib(images: Path, folder: Path) -> float:
    """What this process needs at most."""
    aesthetic = {"head": tiny_head(folder / "small.pth", 64), "model": "clip-mini"}
    metrics = {
        "clip_score": load_metric("clip_score", {"model": "clip-mini"}),
        "aesthetic": load_metric("aesthetic", aesthetic),
    }
    score(metrics, images, images / "j.jsonl", FeatureCache(images / "features.sqlite"), batch_size=32)
    # getrusage's maximum starts with that of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def score(
    metrics: Mapping[str, Metric], folder: Path, journal: Path, cache: FeatureCache | None = None, batch_size: int = 0
) -> Spent:
    """What it takes to score a folder."""
    images, _ = read_manifests([folder], by_category)
    scores = ScoreJournal(journal, {name: name for name in metrics})
    for metric in metrics.values():
        forget(metric)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    score_images(images, metrics, scores, pending_batches(scores, len(images), batch_size or BATCH_SIZE), cache)
    return Spent(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def forget(metric: Any) -> None:
    """The texts that were encoded before."""
    metric.encoder._texts.clear()


def pictures(folder: Path, n: int) -> Path:
    """Noise of IMAGE_PX under prompts of N_WORDS letters, N_SAMPLES of each."""
    rng = np.random.default_rng(n)
    shown = [Image.fromarray(rng.integers(0, 256, (IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)) for _ in range(n)]
    texts = [" ".join(chr(97 + (i * j + j) % 26) for j in range(N_WORDS)) for i in range(-(-n // N_SAMPLES))]
    return write_manifest(
        folder, [Prompt(f"p{i}", t, "c", N_WORDS, None) for i, t in enumerate(texts)], {"m": shown}, N_SAMPLES
    )


def clip_l14(folder: Path) -> Path:
    """428 million random weights."""
    torch.manual_seed(0)
    ids = {"vocab_size": 49408, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**VISION_L, "image_size": 224, "patch_size": 14}
    CLIPModel(CLIPConfig(text_config=CLIP_L | ids, vision_config=vision, projection_dim=768)).save_pretrained(folder)
    clip_tokenizer(77).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
