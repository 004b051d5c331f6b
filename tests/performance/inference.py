"""What the CAM costs when images are drawn: `python -m tests.performance.inference [--threads 1] [--ways]`.

Networks of full width with random weights, no downloads. First the parts of one call, in turns: text encoder, language
model (T5-XL, 256 tokens), CAM, one UNet forward with 77 and with 333 tokens, VAE decoder. With `--ways` then whole
calls of the stock pipeline, guidance included: without CAM (plain), with it (ours), with ELLA's connector, which runs
at every step (ella), and with everything encoded anew at every step (re-encode). What a call of more steps would take
is computed from the parts. Memory is what a part needs beyond all networks and what it was given.
With SD1.5, ends with exit code 1 where the CAM takes more than 1 % of one UNet forward, or the longer context more
than 4 %.

On a GPU, to be set beside published figures:
  python -m tests.performance.inference --device cuda --batch-size 16 --steps 30 --ways --compile
  python -m tests.performance.inference --device cuda --model sdxl --batch-size 4 --steps 30 --ways --compile
"""

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import torch
from diffusers import DiffusionPipeline
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llm4gen_data.registry import resolve
from llm4gen_model.conditioning import PromptEncoder
from llm4gen_model.connectors import CONNECTORS
from llm4gen_model.timesteps import fused_per_step
from tests.performance import full_size
from tests.performance.hostile import peak_mb, reset_peak

ENCODERS = ("text encoder", "language model", "CAM")
MOST_CAM, MOST_CONTEXT = 0.01, 0.04
PROMPT = "a small, mostly white seaside town under two clouds, with boats of three colours in its harbour, " * 3


class Meter:
    """Seconds of wall clock and of processor, and MB above what was there before, of every named piece of work."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        self.wall_s: dict[str, list[float]] = {}
        self.cpu_s: dict[str, list[float]] = {}
        self.peak_mb: dict[str, float] = {}

    def measure(self, name: str, work: Callable[[], object]) -> None:
        """Do `work` once more; its result is thrown away."""
        self._reset()
        before, began, cpu_began = self._peak(), time.perf_counter(), time.process_time()
        result = work()
        if self.cuda:
            torch.cuda.synchronize()
        self.wall_s.setdefault(name, []).append(time.perf_counter() - began)
        self.cpu_s.setdefault(name, []).append(time.process_time() - cpu_began)
        self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), self._peak() - before)
        del result

    def part(self, name: str, other: str) -> float:
        """Median over rounds of the time of `name` as a part of that of `other`.

        On a CPU processor time is compared, which other people's work on the machine changes less.
        """
        times = self.wall_s if self.cuda else self.cpu_s
        return statistics.median(a / b for a, b in zip(times[name], times[other], strict=True))

    def line(self, name: str) -> str:
        wall, cpu = statistics.median(self.wall_s[name]), statistics.median(self.cpu_s[name])
        return f"{name:<24} {1000 * wall:10.1f} ms {1000 * cpu:10.1f} ms cpu {self.peak_mb[name]:8.0f} MB"

    def _reset(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL(None).malloc_trim(0)  # or memory that lies freed in the process would hide what is needed
            reset_peak()

    def _peak(self) -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if self.cuda else peak_mb()


def parts(encoder: PromptEncoder, pipeline: DiffusionPipeline, size: int, batch_size: int) -> dict[str, Any]:
    """Every part of a call, ready to be done again and again on one batch of prompts."""
    prompts = [f"{number} {PROMPT}" for number in range(batch_size)]
    text_embeds, llm_embeds, _ = encoder.inputs(prompts)
    unet, vae, cam, llm = pipeline.unet, pipeline.vae, encoder.cam, encoder.llm
    assert cam is not None
    assert llm is not None
    assert llm_embeds is not None
    text_embeds, llm_embeds = (embeds.to(cam.device, cam.dtype) for embeds in (text_embeds, llm_embeds))
    fused = cam(text_embeds, llm_embeds)
    latents = torch.randn(batch_size, 4, size // 8, size // 8, device=unet.device, dtype=unet.dtype)
    pooled, added = encoder.text_embeds(prompts)[1], {}
    if pooled is not None:
        added = {"text_embeds": pooled, "time_ids": pooled.new_full((batch_size, 6), size)}
    return {
        "text encoder": lambda: encoder.text_embeds(prompts),
        "language model": lambda: llm.encode(prompts),
        "CAM": lambda: cam(text_embeds, llm_embeds),
        f"UNet, {text_embeds.shape[1]} tokens": lambda: unet(latents, 500, text_embeds, added_cond_kwargs=added),
        f"UNet, {fused.shape[1]} tokens": lambda: unet(latents, 500, fused, added_cond_kwargs=added),
        "VAE decoder": lambda: vae.decode(latents.to(vae.dtype)),
    }


def ways(
    encoder: PromptEncoder, pipeline: DiffusionPipeline, ella: Any, batch_size: int, options: Any
) -> dict[str, Any]:
    """Whole calls; every one is given prompts that nobody has encoded before."""
    numbers = iter(range(10**9))
    plain_encoder = PromptEncoder.from_pipeline(pipeline)
    ella_encoder = PromptEncoder.from_pipeline(pipeline, llm=encoder.llm, cam=ella)

    def prompts() -> list[str]:
        return [f"{next(numbers)} {PROMPT}" for _ in range(batch_size)]

    def draw(by: PromptEncoder) -> object:
        return pipeline(**by.encode(prompts()).as_kwargs(), **options)

    def draw_ella() -> object:
        with fused_per_step(pipeline, ella):
            return draw(ella_encoder)

    def draw_anew() -> object:
        texts = prompts()

        def encode_anew(_: object, step: int, *__: object) -> dict[str, torch.Tensor]:
            if step + 1 == options["num_inference_steps"]:
                return {}
            fresh = PromptEncoder.from_pipeline(pipeline, llm=encoder.llm, cam=encoder.cam).encode(texts)
            return {"prompt_embeds": torch.cat([fresh.negative_prompt_embeds, fresh.prompt_embeds])}

        first = PromptEncoder.from_pipeline(pipeline, llm=encoder.llm, cam=encoder.cam).encode(texts)
        return pipeline(**first.as_kwargs(), callback_on_step_end=encode_anew, **options)

    return {
        "plain": lambda: draw(plain_encoder),
        "ours": lambda: draw(encoder),
        "ella": draw_ella,
        "re-encode": draw_anew,
    }


@click.command(help=__doc__)
@click.option("--model", type=click.Choice(["sd15", "sdxl"]), default="sd15", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", help="[default: float32 on a CPU, float16 elsewhere]")
@click.option("--size", type=int, help="Pixels on a side. [default: 512, SDXL 1024]")
@click.option("--batch-size", default=1, show_default=True)
@click.option("--steps", default=2, show_default=True, help="Denoising steps of --ways.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--ways/--no-ways", "with_ways", default=False, show_default=True, help="Whole calls too.")
@click.option("--compile/--no-compile", "compiled", default=False, show_default=True, help="Compile UNet and decoder.")
def main(
    model: str,
    device: str,
    dtype: str | None,
    size: int | None,
    batch_size: int,
    steps: int,
    rounds: int,
    threads: int,
    with_ways: bool,
    compiled: bool,
) -> None:
    """Interleaved rounds after one to warm up, medians, ratios of the same round."""
    torch.set_num_threads(threads)
    dtype = dtype or ("float32" if device == "cpu" else "float16")
    size = size or {"sd15": 512, "sdxl": 1024}[model]
    pipeline = full_size.pipeline(model, device, getattr(torch, dtype))
    llm = full_size.t5_xl(device, dtype)
    text_dim = pipeline.unet.config.cross_attention_dim
    sizes = {"text_dim": text_dim, "llm_dim": full_size.LLM_DIM}
    cam, ella = (
        resolve("connector", name, CONNECTORS)(**sizes).eval().to(device, getattr(torch, dtype))
        for name in ("cam", "ella")
    )
    if compiled:
        pipeline.unet.to(memory_format=torch.channels_last).compile(mode="max-autotune-no-cudagraphs")
        pipeline.vae.decoder.compile(mode="max-autotune-no-cudagraphs")
    encoder = PromptEncoder.from_pipeline(pipeline, llm=llm, cam=cam)

    print(f"{model}, {size} px, batch {batch_size}, {dtype}, {device}, {threads} threads, {rounds} rounds")
    networks = {"UNet": pipeline.unet, "VAE": pipeline.vae, "T5-XL": llm.model, "CAM": cam, "ELLA": ella}  # type: ignore[attr-defined]
    millions = {name: sum(p.numel() for p in network.parameters()) / 1e6 for name, network in networks.items()}
    print("millions of parameters: " + ", ".join(f"{name} {count:.1f}" for name, count in millions.items()))

    with torch.inference_mode():
        meter = Meter(device)
        work = parts(encoder, pipeline, size, batch_size)
        short, long = (name for name in work if name.startswith("UNet"))
        compared = {name: work[name] for name in ("CAM", short, long)}
        for do in compared.values():
            do()
        run_in_turns(
            meter, {name: do for name, do in work.items() if name not in compared}, rounds if meter.cuda else 1
        )
        run_in_turns(meter, compared, rounds)
        for name in work:
            print(meter.line(name))
        of_unet, longer = meter.part("CAM", short), meter.part(long, short) - 1
        print(f"CAM {of_unet:.2%} of one UNet forward, longer context {longer:+.1%}, load {os.getloadavg()[0]:.1f}")
        if not compiled:
            cam_tflop, short_tflop, long_tflop = (tflop(do) for do in compared.values())
            print(f"in FLOPs: CAM {cam_tflop / short_tflop:.2%}, longer context {long_tflop / short_tflop - 1:+.1%}")
        for n in (30, 50):
            plain = computed_call_s(meter, short, n, ENCODERS[:1])
            # prompt and negative, read once or at every step
            ours, anew = (computed_call_s(meter, long, n, ENCODERS, n_encoded) for n_encoded in (2, 2 * n))
            print(
                f"computed for {n} steps: plain {batch_size / plain:.4f} images/s, ours {batch_size / ours:.4f} "
                f"({ours / plain:.3f} x plain's time), re-encode {batch_size / anew:.4f} ({anew / ours:.2f} x ours)"
            )
        if with_ways:
            options = {"num_inference_steps": steps, "height": size, "width": size, "output_type": "np"}
            calls = ways(encoder, pipeline, ella, batch_size, options)
            if meter.cuda:
                run_in_turns(Meter(device), calls, 1)  # kernels are compiled and chosen
            run_in_turns(meter, calls, rounds)
            for name in calls:
                rate = batch_size / statistics.median(meter.wall_s[name])
                print(f"{meter.line(name)}   {rate:.4f} images/s, {meter.part(name, 'plain'):.3f} x plain's time")
            print(f"load {os.getloadavg()[0]:.1f}")
    sys.exit(model == "sd15" and (of_unet > MOST_CAM or longer > MOST_CONTEXT))


def run_in_turns(meter: Meter, work: dict[str, Callable[[], object]], rounds: int) -> None:
    """`rounds` times all of it, the order turned round every time."""
    for number in range(rounds):
        for name in list(work) if number % 2 == 0 else reversed(work):
            meter.measure(name, work[name])


def tflop(work: Callable[[], object]) -> float:
    """TFLOP of matrix products and convolutions, attention products included; shapes only, nothing is computed."""
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),  # fused kernels are not all counted
    ):
        work()
    return float(counter.get_total_flops()) / 1e12


def computed_call_s(meter: Meter, unet: str, steps: int, encoders: Sequence[str], n_encoded: int = 2) -> float:
    """Seconds of a call made of measured parts; a step is two UNet forwards, guidance being on."""
    seconds = {name: statistics.median(times) for name, times in (meter.wall_s if meter.cuda else meter.cpu_s).items()}
    encoding_s = n_encoded * sum(seconds[name] for name in encoders)
    return encoding_s + 2 * steps * seconds[unet] + seconds["VAE decoder"]


if __name__ == "__main__":
    main()
