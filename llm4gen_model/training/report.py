"""One HTML file on a training run: the loss, what the model drew on the way, the configuration."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import matplotlib

matplotlib.use("Agg")

import yaml
from matplotlib.figure import Figure

from llm4gen_data.config import to_plain
from llm4gen_data.runs import write_text
from llm4gen_model.training.config import TrainConfig
from llm4gen_model.training.metrics import read_metrics

MAX_GRIDS = 6

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training of {{ name }}</title>
<style>
  :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
  body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
  figure { display: inline-block; margin: 0 1rem 1.5rem 0; vertical-align: top }
  img { max-width: 100%; background: white; border-radius: 4px }
  figcaption { opacity: .75 }
  pre { overflow-x: auto; padding: 1rem; border: 1px solid #8884; border-radius: 4px }
</style>
<h1>Training of {{ name }}</h1>
<p>{{ steps }} steps of batch {{ batch }}; last mean loss {{ "%.4f"|format(last.loss) }},
   {{ "%.0f"|format(rate) }} images/s (median).</p>
<h2>Loss</h2>
<p><img alt="Training loss over steps" src="data:image/svg+xml;base64,{{ curve }}"></p>
<h2>Samples</h2>
<p>Always the same prompts and the same noise, drawn with the moving average of the weights.</p>
{% for step, grid in grids %}
<figure><img alt="Samples after {{ step }} steps" src="data:image/png;base64,{{ grid }}">
<figcaption>after {{ step }} steps</figcaption></figure>
{% endfor %}
<h2>Configuration</h2>
<pre>{{ config }}</pre>
</html>
"""


def write_report(config: TrainConfig, out: Path) -> None:
    """Write `report.html` from `metrics.jsonl` and the newest of `samples/`."""
    lines = read_metrics(out / "metrics.jsonl")
    rates = sorted(line["images_per_s"] for line in lines)
    grids = sorted((out / "samples").glob("*.png"))
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    html = page.render(
        name=out.name,
        steps=f"{config.max_train_steps:,}",
        batch=config.train_batch_size,
        last=lines[-1],
        rate=rates[len(rates) // 2],
        curve=_base64(loss_curve([line["step"] for line in lines], [line["loss"] for line in lines])),
        grids=[(int(path.stem), _base64(path.read_bytes())) for path in grids[-MAX_GRIDS:]],
        config=yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True),
    )
    write_text(out / "report.html", html)


def loss_curve(steps: list[int], losses: list[float]) -> bytes:
    """The loss as SVG: every logged mean, and their running mean over a twentieth of the run."""
    window = max(1, len(losses) // 20)
    smooth = [sum(losses[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(losses))]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="#9db7d5", linewidth=0.8, label="logged mean")
    axes.plot(steps, smooth, color="#1f4e8c", linewidth=1.6, label="running mean")
    axes.set(xlabel="step", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
