"""How many samples a second the loader brings from a cache: `python -m tests.performance.loading`.

Caches of synthetic latents and features in the sizes of SD1.5 at 512 px with T5-XL: moments 8 x 64 x 64 in float16
(66 kB) and up to 256 tokens x 2048 (4 kB a token). A batch is ready when its latents are sampled, its noise drawn
and its features padded to 256 tokens, in main memory; that the features become float32 is the GPU's work. The peer
reads one padded file a sample in a torch DataLoader of as many workers, as caches named after the image do, and draws
no noise. Both in turns, in one run. CPU time tells what two idle cores would do where others share them.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.data import Pairs
from llm4gen_model.training.encode import text_key
from llm4gen_model.training.loader import BATCHES_AHEAD, Features, make_batch
from llm4gen_model.training.prefetch import map_ahead
from llm4gen_model.training.sources import CachedLatents, CachedText
from llm4gen_model.training.store import FeatureStore, open_store, write_shard

TARGET_PER_S = 134.0  # images/s of the best published training of this size on one H100
WIDTH, MAX_TOKENS, SIDE = 2048, 256, 64
SHARD = 256


def write_caches(folder: Path, n: int, mean_tokens: int) -> Features:
    """Caches of `n` samples with captions of `mean_tokens` tokens on average (gamma-distributed, cut at 256)."""
    rng = np.random.default_rng(0)
    captions = [f"caption {number}" for number in range(n)]
    images = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(n)]
    lengths = rng.gamma(6.0, mean_tokens / 6.0, n).clip(2, MAX_TOKENS).astype(int)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, n, SHARD):
        part = range(start, min(n, start + SHARD))
        moments = [torch.randn(8, SIDE, SIDE, generator=generator) for _ in part]
        states = [torch.randn(int(lengths[i]), WIDTH, generator=generator) for i in part]
        write_shard(open_store(folder / "latents", {}), [images[i] for i in part], moments, torch.float16)
        write_shard(open_store(folder / "text", {}), [text_key(captions[i]) for i in part], states, torch.float16)
    write_shard(open_store(folder / "text", {}), [text_key("")], [torch.zeros(1, WIDTH)], torch.float16)
    table = pa.table({"key": [str(i) for i in range(n)], "sha256": images, "caption": captions})
    pairs = Pairs(table, {"caption": 1.0}, (), 0)
    return Features(
        pairs, CachedLatents(open_store(folder / "latents", {})), CachedText(open_store(folder / "text", {}))
    )


class FilesOfSamples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One padded npz a sample, found by its number; noise is drawn in the loop."""

    def __init__(self, folder: Path, n: int) -> None:
        self.files = [folder / f"{number}.npz" for number in range(n)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        with np.load(self.files[number]) as content:
            moments, states = torch.from_numpy(content["moments"]).float(), torch.from_numpy(content["states"]).float()
        mean, log_variance = moments.chunk(2)
        return mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * torch.randn_like(mean), states


def write_files(folder: Path, features: Features) -> FilesOfSamples:
    """The same content as `features`, in one file a sample."""
    folder.mkdir()
    latents, text = features.latents, features.text
    assert isinstance(latents, CachedLatents)
    assert isinstance(text, CachedText)
    for row in range(len(features.pairs)):
        states = np.zeros((MAX_TOKENS, WIDTH), np.float16)
        stored = text.features([features.pairs.table["caption"][row].as_py()])[0]
        states[: len(stored)] = stored.numpy()
        np.savez(
            folder / f"{row}.npz", moments=latents.moments(features.pairs, [row])[0][0].half().numpy(), states=states
        )
    return FilesOfSamples(folder, len(features.pairs))


def per_second(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    n = work()
    return n / (time.perf_counter() - began)


def bytes_a_sample(store: FeatureStore) -> float:
    return store.n_bytes() / len(store)


@click.command(help=__doc__)
@click.option("--samples", default=1024, show_default=True)
@click.option("--mean-tokens", default=100, show_default=True, help="Of a caption; dense captions have 80 to 130.")
@click.option("--batch-size", default=32, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(samples: int, mean_tokens: int, batch_size: int, threads: int, rounds: int) -> None:
    """Interleaved rounds over the whole cache, medians, and the ratio to what the GPU would need."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        features = write_caches(folder, samples, mean_tokens)
        files = write_files(folder / "files", features)
        config = TrainConfig(data=folder, out=folder, train_batch_size=batch_size)
        encoder = SimpleNamespace(llm=SimpleNamespace(max_tokens=MAX_TOKENS), cam=None, is_sdxl=False)
        vae = SimpleNamespace(config={"scaling_factor": 0.18215})
        vae.config = type("Config", (dict,), {"scaling_factor": 0.18215})(vae.config)
        scheduler = SimpleNamespace(config=SimpleNamespace(num_train_timesteps=1000))
        pipeline = SimpleNamespace(vae=vae, scheduler=scheduler, vae_scale_factor=8)
        model: Any = SimpleNamespace(prompt_encoder=encoder, pipeline=pipeline)
        steps = samples // batch_size

        def ours(at: TrainConfig) -> int:
            batches = map_ahead(
                lambda step: make_batch(at, model, features, step),
                range(steps),
                threads=threads,
                ahead=BATCHES_AHEAD,
            )
            return sum(len(batch.latents) for batch in batches)

        def theirs() -> int:
            batches = DataLoader(files, batch_size, shuffle=True, num_workers=threads, drop_last=True)
            return sum(len(latents) for latents, _ in batches)

        ours(config)
        seeds = [replace(config, seed=number) for number in range(rounds)]
        taken = []
        for at in seeds:
            began = time.process_time()
            mine = per_second(lambda at=at: ours(at))  # type: ignore[misc]
            cpu_ms = 1000 * (time.process_time() - began) / (steps * batch_size)
            taken.append((mine, per_second(theirs), cpu_ms))
        latents, text = features.latents, features.text
        assert isinstance(latents, CachedLatents)
        assert isinstance(text, CachedText)
        size = bytes_a_sample(latents.store) + bytes_a_sample(text.store)
    rate, peer, cpu_ms = (statistics.median(rates) for rates in zip(*taken, strict=True))
    print(f"{samples:,} samples of {size / 1e3:.0f} kB, batch {batch_size}, {threads} threads, {rounds} rounds")
    print(
        f"ours  {rate:6.0f} samples/s  {rate * size / 1e6:5.0f} MB/s read  "
        f"{rate / TARGET_PER_S:.1f} x what a GPU at {TARGET_PER_S:.0f} images/s needs"
    )
    print(
        f"      {cpu_ms:6.2f} ms of CPU time a sample: two idle cores would bring {2000 / cpu_ms:.0f} samples/s, "
        f"{2000 / cpu_ms / TARGET_PER_S:.1f} x"
    )
    print(
        f"files {peer:6.0f} samples/s  one padded file a sample, DataLoader of {threads} workers; "
        f"ours is {rate / peer:.1f} x that"
    )


if __name__ == "__main__":
    main()
