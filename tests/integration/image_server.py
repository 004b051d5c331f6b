"""A local web server as good and bad as the web: images, opt-outs, redirects, truncated and broken answers."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


def picture(number: int, size: tuple[int, int] = (48, 32), kind: str = "PNG", orientation: int = 1) -> bytes:
    """A small image, red in its top left corner, the rest a colour that depends on `number`."""
    image = Image.new("RGB", size, (number % 200, 120, 255 - number % 200))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"exif": exif, "quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


class WebServer(ThreadingHTTPServer):
    """Answers by the first part of the path; `requests` counts every path asked for, `delay_s` slows answers down."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: Counter[str] = Counter()
        self.delay_s = 0.0
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of an answer is no error here."""


class Handler(BaseHTTPRequestHandler):
    """Serves what the path says, e.g. /png/17, /robots/17/noai, /truncated/17."""

    server: WebServer

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        time.sleep(self.server.delay_s)
        kind, number = self.path.strip("/").split("/")[:2]
        body, status, headers = picture(int(number)), 200, {}
        if kind == "jpeg":
            body = picture(int(number), kind="JPEG")
        elif kind == "turned":
            body = picture(int(number), kind="JPEG", orientation=6)
        elif kind == "large":
            body = picture(int(number), (300, 200), kind="JPEG")
        elif kind == "robots":
            headers["X-Robots-Tag"] = self.path.split("/")[3]
        elif kind == "missing":
            status = 404
        elif kind == "busy" and self.server.requests[self.path] == 1:
            status = 503
        elif kind == "truncated":
            body = picture(int(number), (200, 200), kind="JPEG")[:700]
        elif kind == "short":
            headers["Content-Length"] = str(len(body) + 1000)
        elif kind == "html":
            body = b"<!DOCTYPE html><title>an image was here</title>"
        elif kind == "empty":
            body = b""
        elif kind == "redirect":
            status, headers["Location"] = 302, f"/png/{number}"
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@contextmanager
def serve() -> Iterator[WebServer]:
    """A running server in a thread."""
    with WebServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
