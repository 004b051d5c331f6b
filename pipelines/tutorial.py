"""The tutorial of the documentation, typed in by a program: `python -m pipelines.tutorial`.

Runs every `sh` block of docs/tutorial.md in an empty folder, one after the other, and writes what they printed, with
the seconds each took, to transcript.md there. With --figures, the pictures of the tutorial are taken from that run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from llm4gen_data.errors import UserError
from llm4gen_data.options import HELP_SETTINGS, one_line_errors

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
FIGURES = {
    "truth.png": "refined/stats/truth.png",
    "grid.png": "mine/grid.png",
    "attention.png": "attention.png",
    "several-objects.png": "several/grid.png",
}
REPORT, FORM = "scores/report.html", "study/form.html"
# Typed in for the pictures alone: the start page's grid, and the page of a human study.
MORE = """
llm4gen-model generate --model control-mini --model cam-mini --prompts bindings --n-prompts 4 --steps 25 \\
  --guidance-scale 4 --set guidance_rescale=0.7 --set noise_per_prompt=true --out several
llm4gen-bench study make --images pictures --n-prompts 12 --set size_px=320 --out study
llm4gen-bench study form study
"""
PAGE_SIZE_PX = (1200, 900)


@click.command(context_settings=HELP_SETTINGS)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="New or empty folder.")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder to copy the tutorial's pictures to; the report's needs playwright and Chromium.",
)
def tutorial(out: Path, figures: Path | None) -> None:
    """Type in the tutorial and keep what it printed."""
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: not empty; the tutorial begins in an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    transcript, total_s = [], 0.0
    for block in blocks:
        click.secho(block, bold=True, nl=False)
        began = time.monotonic()
        printed = type_in(block, out)
        seconds = time.monotonic() - began
        total_s += seconds
        click.echo(f"{printed}({seconds:.0f} s)\n")
        transcript.append(f"```sh\n{block}```\n\n```text\n{printed}```\n\n{seconds:.0f} s\n")
    (out / "transcript.md").write_text("\n".join([*transcript, f"All together: {total_s:.0f} s\n"]), encoding="utf-8")
    click.echo(f"{total_s:.0f} s in all; {out / 'transcript.md'}")
    if figures is not None:
        type_in(MORE, out)
        for name, source in FIGURES.items():
            shutil.copy(out / source, figures / name)
        photograph(out, figures)


def type_in(block: str, folder: Path) -> str:
    """Run the lines of a block as a shell would; what they printed to standard output.

    Raises UserError if one fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", "-ec", block]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise UserError(f"{PAGE.name}: exit code {done.returncode} of\n{block}{done.stdout}")
    return done.stdout


def photograph(out: Path, figures: Path) -> None:
    """Write pictures of the report's top, of its gallery where models differ most, and of a question to raters."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    width, height = PAGE_SIZE_PX
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.goto((out / REPORT).resolve().as_uri())
        tab.screenshot(path=str(figures / "report.png"))
        tab.select_option("#order", "apart")
        tab.evaluate("document.querySelector('#pictures').scrollIntoView()")
        tab.screenshot(path=str(figures / "gallery.png"))
        tab.goto(f"{(out / FORM).resolve().as_uri()}?rater=ann")
        tab.get_by_role("button", name="Begin").click()
        tab.get_by_role("button", name="Go on").click()
        tab.wait_for_timeout(1000)  # pictures are decoded
        tab.screenshot(path=str(figures / "study.png"))
        browser.close()


main = one_line_errors(tutorial)

if __name__ == "__main__":
    main()
