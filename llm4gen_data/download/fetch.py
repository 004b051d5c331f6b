"""The process that img2dataset runs in, `python -m llm4gen_data.download.fetch request.json`; not for import.

img2dataset fetches and counts; around each request stand limits that it lacks: an end to every request, a
bound on bytes, no way to a private host by redirect or name, back-off, no second try of what is final
(404, opt-out).
Its worker processes import this module again, as `__mp_main__`, which is where these are put in place.
"""

from __future__ import annotations

import functools
import http.client
import inspect
import ipaddress
import json
import multiprocessing
import os
import random
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm4gen_data.download.hosts import is_public_address, refusal

MAX_IMAGE_BYTES = 64 * 2**20
# A timeout bounds each wait for bytes; a server that sends one byte a second passes it for ever.
DEADLINE_TIMEOUTS = 6
CHUNK_BYTES = 2**16
# Client errors that another try may mend: timeout, too early, too many requests.
TRANSIENT_CLIENT_ERRORS = ("HTTP Error 408", "HTTP Error 425", "HTTP Error 429")
FINAL_ERRORS = (
    "HTTP Error 4",
    "Use of image disallowed",
    "unknown url type",
    "[Errno -2]",  # the name does not exist
    "[SSL: CERTIFICATE_VERIFY_FAILED]",
    "redirect refused",
    "private address",
    "more than",
)
RETRY_SIGNATURE = ["row", "timeout", "retries", "user_agent_token", "disallowed_header_directives"]

Fetched = tuple[int, Any, str | None]


class PublicRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to public hosts only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """As in urllib. Raises URLError if the new address would have been refused as a row's URL."""
        reason = refusal(newurl)
        if reason is not None:
            raise urllib.error.URLError(f"redirect refused: {reason}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def public_addresses(lookup: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`socket.getaddrinfo` that raises OSError for a name behind which a non-public address stands."""

    @functools.wraps(lookup)
    def resolve(host: Any, *args: Any, **kwargs: Any) -> list[Any]:
        found = lookup(host, *args, **kwargs)
        for *_, address in found:
            if not is_public_address(ipaddress.ip_address(address[0].partition("%")[0])):
                raise OSError(f"private address: {host} is {address[0]}")
        return found

    return resolve


class BoundedResponses(urllib.request.BaseHandler):
    """Let a response's `read()` end after `deadline_s` seconds or MAX_IMAGE_BYTES, whatever the server does."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s

    def http_response(self, request: urllib.request.Request, response: http.client.HTTPResponse) -> Any:
        """Called by urllib on every response before it is read."""
        vars(response)["read"] = functools.partial(read_bounded, response, self.deadline_s)
        return response

    https_response = http_response


def read_bounded(response: http.client.HTTPResponse, deadline_s: float, amount: int | None = None) -> bytes:
    """Read a response's body. Raises TimeoutError, ValueError (too long) or IncompleteRead (cut short)."""
    if amount is not None:
        return type(response).read(response, amount)
    end = time.monotonic() + deadline_s
    body = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_IMAGE_BYTES:
            raise ValueError(f"more than {MAX_IMAGE_BYTES} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"took longer than {deadline_s:.0f} s")
    if response.length:  # what Content-Length promised and did not come
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body)


def is_final(error: str) -> bool:
    """Whether an error of img2dataset's `download_image` would only repeat itself."""
    reason = error.removeprefix("<urlopen error ")
    return reason.startswith(FINAL_ERRORS) and not reason.startswith(TRANSIENT_CLIENT_ERRORS)


def fetch_with_retry(
    row: tuple[int, str | None],
    timeout: float,
    retries: int,
    user_agent_token: str | None,
    disallowed_header_directives: set[str],
    *,
    ticks: int,
) -> Fetched:
    """img2dataset's `download_image_with_retry` with back-off; writes one byte to `ticks` for each row done."""
    from img2dataset.downloader import download_image

    key, url = row
    result: Fetched = (key, None, "refused")
    if url is not None:
        for attempt in range(retries + 1):
            result = download_image(row, timeout, user_agent_token, disallowed_header_directives)
            if result[1] is not None or is_final(str(result[2])):
                break
            if attempt < retries:
                time.sleep(2**attempt * random.uniform(0.5, 1.0))
    os.write(ticks, b".")
    return result


def equip_worker(request: dict[str, Any]) -> None:
    """Put the limits in place in a process that fetches, and end it when the process that started it is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()  # first of all: the import takes seconds
    import img2dataset.downloader as downloader

    handlers: list[urllib.request.BaseHandler] = [
        BoundedResponses(DEADLINE_TIMEOUTS * request["arguments"]["timeout"])
    ]
    if not request["allow_private_hosts"]:
        handlers.append(PublicRedirects())
        if not urllib.request.getproxies():  # a proxy may be private, and looks names up itself
            socket.getaddrinfo = public_addresses(socket.getaddrinfo)
    urllib.request.install_opener(urllib.request.build_opener(*handlers))
    ticks = os.open(request["ticks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    downloader.download_image_with_retry = functools.partial(fetch_with_retry, ticks=ticks)


def main(request: dict[str, Any]) -> None:
    """Run img2dataset on the request; end at once when standard input closes, that is when our parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_end_with_a_worker, daemon=True).start()
    from img2dataset import download
    from img2dataset.downloader import download_image_with_retry

    if list(inspect.signature(download_image_with_retry).parameters) != RETRY_SIGNATURE:
        raise SystemExit("Error: this version of img2dataset is not known here, install img2dataset 1.47")
    download(**request["arguments"])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    else:
        os.read(0, 1)  # returns when the pipe from the process that started us closes
    os._exit(1)


def _end_with_a_worker() -> None:
    # multiprocessing.Pool forgets the task of a worker that was killed and waits for it for ever.
    workers: set[Any] = set()
    while not (killed := [worker for worker in workers if (worker.exitcode or 0) < 0]):
        time.sleep(0.5)
        workers |= set(multiprocessing.active_children())
    print(
        f"Error: a download process was killed by signal {-killed[0].exitcode}, perhaps for want of memory", flush=True
    )
    os._exit(1)


if __name__ in ("__main__", "__mp_main__"):
    # webdataset imports torch if it is there, which nothing here needs: 2 of 5 seconds in each process.
    sys.modules["torch"] = None  # type: ignore[assignment]
    _request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if __name__ == "__main__":
        main(_request)
    else:
        equip_worker(_request)
