"""How near the recaptioner comes to the engine alone: `python -m tests.performance.recaption [--n 2000] [--rounds 5]`.

Scenes are captioned by vlm-mini on vLLM in three ways, in turns, with engines that stay up:
- bound: `LLM.generate` of all decoded images at once, as in `vllm bench throughput`; nothing is read or written.
- loop:  `LLM.generate` of 8 images at a time with `enforce_eager`, as the closest peer does.
- ours:  the recaption pipeline, from Parquet with encoded images to a finished data set in Parquet.
Starting the engines is left out of all three. Ends with exit code 1 below 90 % of the bound or 3 times the loop.
"""

import asyncio
import functools
import inspect
import io
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from llm4gen_data.config import load_config, to_plain
from llm4gen_data.recaption import publish, shards
from llm4gen_data.recaption.captioners.prompts import chat_prompt
from llm4gen_data.recaption.captioners.vllm_settings import engine_arguments, settle_environment
from llm4gen_data.recaption.config import RecaptionConfig
from llm4gen_data.recaption.instructions import INSTRUCTIONS
from llm4gen_data.recaption.loop import CaptionJob, CaptionLoop
from llm4gen_data.recaption.presets import preset_values
from llm4gen_data.recaption.run import run_fingerprint
from llm4gen_data.runs import open_run
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.sources.source import open_source

SEED = 91_000_000
MODEL = "vlm-mini"
LOOP_BATCH = 8
N_WARMUP = 16
LEAST_OF_BOUND, LEAST_OF_LOOP = 0.9, 3.0


def write_source(path: Path, n: int) -> None:
    """Scenes as PNG in one Parquet file, as a download would leave them."""
    encoded = []
    for seed in range(SEED, SEED + n):
        buffer = io.BytesIO()
        render(sample_scene(seed, split="any")).save(buffer, format="PNG")
        encoded.append(buffer.getvalue())
    keys = [f"{number:06d}" for number in range(n)]
    pq.write_table(pa.table({"key": keys, "image": encoded}), path, row_group_size=100)


def configuration(source: Path) -> RecaptionConfig:
    """The run, with the bundled model's preset: the engine alone gets its engine settings too."""
    return load_config(RecaptionConfig, flags={"source": str(source), **preset_values(MODEL)})


@functools.cache
def engine_alone(source: Path, eager: bool) -> tuple[Any, Any, list[Any]]:
    """vLLM's offline engine with the settings that ours has, and the finished prompts, images decoded."""
    from transformers import AutoProcessor
    from vllm import LLM, SamplingParams
    from vllm.engine.arg_utils import EngineArgs

    settings = configuration(source).captioner_settings()
    arguments = engine_arguments(settings, frozenset(inspect.signature(EngineArgs).parameters))
    # or it would know the images again from the round before
    arguments |= {"enable_prefix_caching": False, "enforce_eager": eager}
    processor = AutoProcessor.from_pretrained(arguments["model"])
    text = chat_prompt(processor, settings.chat_format, INSTRUCTIONS["paper"].text)
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pq.read_table(source)["image"].to_pylist()]
    prompts = [{"prompt": text, "multi_modal_data": {"image": image}} for image in images]
    sampling = SamplingParams(temperature=0.0, max_tokens=settings.sampling.max_tokens)
    return LLM(**arguments), sampling, prompts


def generate(source: Path, n: int | None, batch_size: int | None, eager: bool = False) -> tuple[float, list[str]]:
    """Seconds and captions of the first `n` images, all at once or `batch_size` at a time."""
    engine, sampling, prompts = engine_alone(source, eager)
    asked = prompts[:n]
    size = batch_size or len(asked)
    began = time.perf_counter()
    answers = []
    for first in range(0, len(asked), size):
        answers += engine.generate(asked[first : first + size], sampling, use_tqdm=False)
    seconds = time.perf_counter() - began
    return seconds, [answer.outputs[0].text.strip() for answer in answers]


@functools.cache
def pipeline(source: Path) -> tuple[asyncio.Runner, CaptionLoop, CaptionJob]:
    """Our loop with its engine, in an event loop that stays."""
    config = configuration(source)
    job = CaptionJob(config, source.parent, run_fingerprint(config, open_source(config.source)))
    runner = asyncio.Runner()

    async def start() -> CaptionLoop:
        return job.open_loop(lambda row, outcome: None)

    return runner, runner.run(start()), job


def recaption(source: Path, out: Path, n: int | None) -> tuple[float, list[str]]:
    """Seconds and captions of a run over the first `n` rows, its data set and card published."""
    runner, loop, job = pipeline(source)
    began = time.perf_counter()
    planned = shards.plan(n or pq.read_metadata(source).num_rows, job.config.shard_rows, out)
    with open_run(out, "recaption", to_plain(job.config), job.fingerprint):
        (out / "shards").mkdir()
        runner.run(loop.caption(planned))
        publish.publish(out, planned, job.fingerprint, {})
    seconds = time.perf_counter() - began
    captions = [text for shard in planned for text in pq.read_table(shard.parquet)["caption_raw"].to_pylist()]
    return seconds, captions


def close(source: Path) -> None:
    """Stop our engine, whose process would outlive this one's wish to end."""
    runner, loop, _ = pipeline(source)
    runner.run(loop.close())
    runner.close()


@click.command(help=__doc__)
@click.option("--n", default=2000, show_default=True, help="Images.")
@click.option("--rounds", default=5, show_default=True)
def main(n: int, rounds: int) -> None:
    """Interleaved rounds, captions a second each, the ratios of the medians."""
    settle_environment()  # before the processes start: torch reads its share of it once
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as alone,
        ProcessPoolExecutor(1, get_context("spawn")) as peer,
        ProcessPoolExecutor(1, get_context("spawn")) as ours,
    ):
        source = Path(folder) / "images.parquet"
        write_source(source, n)
        alone.submit(generate, source, N_WARMUP, None).result()
        peer.submit(generate, source, N_WARMUP, LOOP_BATCH, eager=True).result()
        try:
            ours.submit(recaption, source, Path(folder) / "warm-up", N_WARMUP).result()
            taken: dict[str, list[float]] = {"bound": [], "loop": [], "ours": []}
            for number in range(rounds):
                bound_s, expected = alone.submit(generate, source, None, None).result()
                loop_s, _ = peer.submit(generate, source, None, LOOP_BATCH, eager=True).result()
                ours_s, captions = ours.submit(recaption, source, Path(folder) / f"round-{number}", None).result()
                for name, seconds in zip(taken, (bound_s, loop_s, ours_s), strict=True):
                    taken[name].append(n / seconds)
                rates = "   ".join(f"{name} {rates[-1]:6.1f}" for name, rates in taken.items())
                same = sum(a == b for a, b in zip(expected, captions, strict=True))
                print(
                    f"round {number + 1}: {rates} captions/s   load {os.getloadavg()[0]:.1f}   {same} equal",
                    flush=True,
                )
        finally:
            ours.submit(close, source).result()
    medians = {name: statistics.median(rates) for name, rates in taken.items()}
    of_bound, of_loop = medians["ours"] / medians["bound"], medians["ours"] / medians["loop"]
    print("median:  " + "   ".join(f"{name} {rate:6.1f}" for name, rate in medians.items()) + " captions/s")
    print(f"ours is {of_bound:.0%} of the bound and {of_loop:.1f} times the loop of {LOOP_BATCH}")
    sys.exit(of_bound < LEAST_OF_BOUND or of_loop < LEAST_OF_LOOP)


if __name__ == "__main__":
    main()
