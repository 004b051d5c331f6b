"""Which URLs are asked for at all: public http(s) hosts, in the ASCII form that goes over the wire."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import quote, urlsplit, urlunsplit

# Top-level names that never lead to the public internet (RFC 6761, RFC 6762, RFC 8375, ICANN 2024).
PRIVATE_DOMAINS = ("localhost", "local", "internal", "home.arpa", "lan", "intranet")


def refusal(url: str | None, *, allow_private_hosts: bool = False) -> str | None:
    """Why `url` must not be requested, or None if it may be.

    Refused are rows without URL, schemes other than http and https, and, unless `allow_private_hosts`, hosts
    that name a private, loopback, link-local or otherwise non-public address in any spelling a resolver
    takes ("localhost", "10.1.2.3", "127.1", "2130706433", "[::1]", "169.254.169.254", names without a dot).
    """
    if url is None or not url.strip():
        return "no URL"
    try:
        parts = urlsplit(url.strip())
        # IDNA also turns full-width digits into digits: what is judged is what will be asked.
        host = (parts.hostname or "").encode("idna").decode("ascii")
        _ = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return f"scheme {parts.scheme!r} is not http or https" if parts.scheme else "URL without a scheme"
    if not host:
        return "URL without a host"
    if not allow_private_hosts and is_private_host(host):
        return f"private host {host}"
    return None


def is_private_host(host: str) -> bool:
    """Whether `host` is a literal non-public address or a name that can only be local; nothing is looked up."""
    name = host.rstrip(".").lower()
    address = _literal_address(name)
    if address is not None:
        return not is_public_address(address)
    return "." not in name or name.endswith(tuple(f".{domain}" for domain in PRIVATE_DOMAINS))


def is_public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is reachable on the public internet, seeing through IPv4 addresses wrapped in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public_address(inner)
    return address.is_global and not address.is_multicast


def wire_url(url: str) -> str:
    """`url` in ASCII: international host names in IDNA, other characters percent-encoded, the fragment dropped.

    urllib refuses spaces and non-ASCII characters, which web pages (and so LAION) are full of. `url` must
    have passed `refusal`.
    """
    parts = urlsplit(url.strip())
    netloc = parts.netloc
    if not netloc.isascii():
        user, at, host = netloc.rpartition("@")
        netloc = quote(user, safe=":%") + at + host.encode("idna").decode("ascii")
    path = quote(parts.path, safe="/%:=&?~+!$,;'@()*[]|")
    query = quote(parts.query, safe="/%:=&?~+!$,;'@()*[]|")
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def _literal_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        pass
    try:  # what resolvers also take for an address: 127.1, 0x7f.0.0.1, 2130706433
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None
