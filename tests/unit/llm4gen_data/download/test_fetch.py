from __future__ import annotations

import io
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPResponse, IncompleteRead
from typing import Any, cast

import pytest

from llm4gen_data.download import fetch


class Body:
    """As much of an HTTP response as reading its body takes; `remaining` bytes never come."""

    def __init__(self, data: bytes, remaining: int = 0) -> None:
        self.stream, self.length = io.BytesIO(data), remaining

    def read1(self, amount: int) -> bytes:
        return self.stream.read(amount)


def body(data: bytes, remaining: int = 0) -> HTTPResponse:
    return cast(HTTPResponse, Body(data, remaining))


def test_a_whole_body_is_read() -> None:
    assert fetch.read_bounded(body(b"x" * 200_000), deadline_s=5) == b"x" * 200_000


def test_a_body_that_is_cut_short_too_long_or_too_slow_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IncompleteRead):
        fetch.read_bounded(body(b"x", remaining=5), deadline_s=5)
    with pytest.raises(TimeoutError, match="longer than"):
        fetch.read_bounded(body(b"x"), deadline_s=-1)
    monkeypatch.setattr(fetch, "MAX_IMAGE_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        fetch.read_bounded(body(b"x" * 101), deadline_s=5)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        ("HTTP Error 404: Not Found", True),
        ("HTTP Error 410: Gone", True),
        ("HTTP Error 429: Too Many Requests", False),
        ("HTTP Error 503: Service Unavailable", False),
        ("Use of image disallowed by X-Robots-Tag directive", True),
        ("<urlopen error [Errno -2] Name or service not known>", True),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", False),
        ("<urlopen error redirect refused: private host 127.0.0.1>", True),
        ("<urlopen error [Errno 111] Connection refused>", False),
        ("timed out", False),
    ],
)
def test_only_errors_that_may_pass_are_tried_again(error: str, final: bool) -> None:
    assert fetch.is_final(error) is final


def test_a_redirect_to_a_private_host_is_not_followed() -> None:
    request = urllib.request.Request("http://example.org/a.png")
    follow: Any = fetch.PublicRedirects().redirect_request
    with pytest.raises(urllib.error.URLError, match=r"redirect refused: private host 169\.254\.169\.254"):
        follow(request, None, 302, "Found", Message(), "http://169.254.169.254/latest")
    assert follow(request, None, 302, "Found", Message(), "https://example.com/b.png").full_url.endswith("/b.png")


def test_a_name_that_leads_to_a_private_address_is_not_connected_to() -> None:
    addresses = {
        "example.org": ["93.184.215.14"],
        "evil.example": ["93.184.215.14", "10.0.0.1"],
        "six.example": ["::1"],
    }
    resolve = fetch.public_addresses(lambda host, port: [(2, 1, 6, "", (ip, port)) for ip in addresses[host]])
    assert resolve("example.org", 80)[0][4] == ("93.184.215.14", 80)
    for host, address in (("evil.example", "10.0.0.1"), ("six.example", "::1")):
        with pytest.raises(OSError, match=f"private address: {host} is {address}"):
            resolve(host, 80)
