"""The main job from end to end on a plain machine, with the real commands: `python -m pipelines.demo`.

Scenes stand in for photographs: a local web server offers them as the web would, a few with an opt-out header, a
few missing. Stopped at any point, the same command goes on from there.
"""

from __future__ import annotations

import http.server
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq

from llm4gen_data.errors import UserError
from llm4gen_data.options import HELP_SETTINGS, one_line_errors
from llm4gen_data.runs import is_complete, write_text

HOST = "127.0.0.1"
COMMAND = Path(sys.executable).parent / "llm4gen-data"
IMAGE_PATH = re.compile(r"/images/(\d{9})\.png")
# One in so many images opts out or is missing, so that failed rows are seen.
BAD_ROW_EVERY, OPTED_OUT, MISSING = 50, 7, 21
STOP_WAIT_S = 15
N_EXAMPLES = 3


@click.command(context_settings=HELP_SETTINGS)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/demo"), help="Folder.")
@click.option("--n", type=click.IntRange(min=1), default=400, help="How many images.")
@click.option("--port", type=click.IntRange(1024, 65535), help="Port of the web server.  [default: a free one]")
def demo(out: Path, n: int, port: int | None) -> None:
    """Scenes -> web server -> download -> recaption with vLLM -> verify -> stats, in a few minutes on a CPU."""
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    scenes, downloaded, refined = out / "scenes", out / "downloaded", out / "refined"
    port = chosen_port(out, port)
    base_url = f"http://{HOST}:{port}/"
    with nullcontext() if is_complete(downloaded) else serve_images(scenes / "images", port):
        write_text(out / "port", f"{port}\n")
        stage(
            f"1/5  Draw {n} scenes: images whose truth is known, with alt texts as noisy as LAION's",
            ["scenes", "--n", n, "--seed", 0, "--base-url", base_url, "--out", scenes],
        )
        stage(
            f"2/5  Download them by URL with img2dataset; {base_url} refuses some and has lost others",
            ["download", scenes / "laion.parquet", "--out", downloaded, "--allow-private-hosts"],
        )
    stage(
        "3/5  Write a dense caption for every image with the bundled vlm-mini in vLLM",
        ["recaption", downloaded, "--captioner", "vllm", "--model", "vlm-mini", "--out", refined],
    )
    stage("4/5  Prove that every input row is there once, with a caption or a reason", ["verify", refined])
    stage(
        "5/5  Draw what changed, and hold the texts against the truth of the scenes, fact by fact",
        ["stats", refined, "--scenes", scenes / "scenes.parquet"],
    )
    show_examples(scenes, refined)
    click.echo(f"\nDone in {time.monotonic() - began:.0f} s. Look at:")
    click.echo(f"  {refined / 'data'}/    the data set (Parquet), for datasets.load_dataset({str(refined)!r})")
    click.echo(f"  {refined / 'README.md'}    its card")
    click.echo(f"  {refined / 'stats'}/    the figures")
    click.echo("Your own images next:\n  $ llm4gen-data recaption FOLDER --model MODEL --out refined --dry-run")


def chosen_port(out: Path, port: int | None) -> int:
    """The port of an earlier start, which its URLs name (file `port` in `out`), or else `port`, or else a free one."""
    file = out / "port"
    if file.exists():
        earlier = int(file.read_text(encoding="utf-8"))
        if port not in (None, earlier):
            raise UserError(f"--port {port}: {out} was started with port {earlier}; give no --port, or another --out")
        return earlier
    if port is None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
    return port


@contextmanager
def serve_images(folder: Path, port: int) -> Iterator[None]:
    """Serve the images of `folder` to this machine only, while the block runs. Raises UserError for a taken port."""
    try:
        server = ImageServer((HOST, port), partial(ImageHandler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"port {port}: {error.strerror}; stop what uses it, or give another --out and --port"
        ) from error
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class ImageServer(http.server.ThreadingHTTPServer):
    """A server that takes many connections at once, and a client's end in the middle of one calmly."""

    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A download that was stopped is no error here."""


class ImageHandler(http.server.SimpleHTTPRequestHandler):
    """`/images/NNNNNNNNN.png` and nothing else; some answers opt out, some images are missing."""

    opts_out = False

    def send_head(self) -> Any:
        """As the base class, for image paths only."""
        found = IMAGE_PATH.fullmatch(self.path)
        if found is None or int(found[1]) % BAD_ROW_EVERY == MISSING:
            self.send_error(404)
            return None
        self.opts_out = int(found[1]) % BAD_ROW_EVERY == OPTED_OUT
        self.path = self.path.removeprefix("/images")
        return super().send_head()

    def end_headers(self) -> None:
        """Add the opt-out to some."""
        if self.opts_out:
            self.send_header("X-Robots-Tag", "noai")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the terminal to the progress bar."""


def stage(title: str, arguments: Sequence[object]) -> None:
    """Announce and run one `llm4gen-data` command; a failing one ends the demo with its exit code.

    The command gets a process group of its own, so that Ctrl-C reaches it once, from here, and it can end in order.
    """
    words = [str(argument) for argument in arguments]
    click.secho(f"\n{title}", bold=True)
    click.echo(f"$ llm4gen-data {shlex.join(words)}")
    began = time.monotonic()
    process = subprocess.Popen([str(COMMAND), *words], process_group=0)
    try:
        code = process.wait()
    except BaseException as stop:
        process.send_signal(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
        try:
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        if isinstance(stop, KeyboardInterrupt):
            sys.exit(130)  # the command has said that it goes on from here, and so does the demo
        raise
    if code != 0:
        click.echo(
            f"The command above failed with exit code {code}; mend it, and the demo goes on from here.", err=True
        )
        sys.exit(code if code > 0 else 128 - code)
    click.echo(f"({time.monotonic() - began:.0f} s)")


def show_examples(scenes: Path, refined: Path) -> None:
    """Print some captions before and after."""
    table = pq.read_table(refined / "data", columns=["key", "alt_text", "caption", "status"])
    rows = [row for row in table.to_pylist() if row["status"] == "success" and row["alt_text"]]
    click.secho("\nBefore and after", bold=True)
    for row in rows[:N_EXAMPLES]:
        click.echo(f"  {scenes / 'images' / row['key']}.png")  # a row's key in the download is its number
        click.echo(f"    before: {row['alt_text']}")
        click.echo(f"    after:  {row['caption']}")


main = one_line_errors(demo)

if __name__ == "__main__":
    main()
