"""A web server on this machine that stands in for the web: some images opt out, some are missing."""

from __future__ import annotations

import http.server
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from llm4gen_data.errors import UserError

HOST = "127.0.0.1"
IMAGE_PATH = re.compile(r"/images/(\d{9})\.png")
# One in so many images opts out or is missing, so that failed rows are seen.
BAD_ROW_EVERY, OPTED_OUT, MISSING = 50, 7, 21


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
