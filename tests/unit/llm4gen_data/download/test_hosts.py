from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.download.hosts import refusal, wire_url


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1:8080",
        "user:password@192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[::ffff:10.0.0.1]",
        "[2002:7f00:1::]",
        "metadata.google.internal",
        "printer.local",
        "intranet",
        "１２７。0.0.1",
    ],
)
def test_hosts_that_are_not_public_are_refused_unless_allowed(host: str) -> None:
    assert "private host" in str(refusal(f"http://{host}/a.png"))
    assert refusal(f"http://{host}/a.png", allow_private_hosts=True) is None


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a.png", "http://1.1.1.1/", "http://[2606:4700::1111]/", " HTTPS://EXAMPLE.ORG:8443/a b.png"],
)
def test_public_hosts_are_asked(url: str) -> None:
    assert refusal(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "no URL"),
        ("  ", "no URL"),
        ("file:///etc/passwd", "'file'"),
        ("ftp://example.org/a", "'ftp'"),
        ("data:image/png;base64,AAAA", "'data'"),
        ("//example.org/a.png", "without a scheme"),
        ("http:///a.png", "without a host"),
        ("http://[::1/a.png", "not a URL"),
        ("http://example.org:99999/", "not a URL"),
    ],
)
def test_what_is_no_web_address_is_refused_even_when_private_hosts_are_allowed(url: str | None, reason: str) -> None:
    assert reason in str(refusal(url, allow_private_hosts=True))


@given(st.text(max_size=40))
def test_any_text_has_an_answer(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        if refusal(url) is None:
            assert isinstance(wire_url(url), str)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a%20b/c.png?w=1&h=2", "https://example.org/a%20b/c.png?w=1&h=2"),
        ("https://example.org/a b/é.png?q=ü#top", "https://example.org/a%20b/%C3%A9.png?q=%C3%BC"),
        ("https://bücher.example/a.png", "https://xn--bcher-kva.example/a.png"),
    ],
)
def test_the_wire_form_is_ascii_and_keeps_what_is_encoded(url: str, expected: str) -> None:
    assert wire_url(url) == expected
