"""What attempts through tunnels and TLS have in common: how they are begun, and what they are told."""

from __future__ import annotations

from dataclasses import replace

from appliance.verify.attempts import Attempt, Way, by
from appliance.verify.world import Site

NOT_LISTED = "403 host-not-listed keep"
UNRECOGNISED = "alert 112"
UNREADABLE = "alert 50"


def connect(authority: str) -> bytes:
    """A correct CONNECT for `authority`."""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def inside(
    name: str, site: Site, send: bytes, expect: str, *, methods: tuple[str, ...] = ("GET",)
) -> list[Attempt]:
    """Bytes inside TLS for a site: in a tunnel, and past the proxy."""
    return [replace(by(way, site, name, send, expect), methods=methods) for way in (Way.TUNNEL, Way.PORT_443)]


def greet(name: str, site: Site, first: bytes, tunnel: str, direct: str) -> list[Attempt]:
    """A ClientHello in a tunnel for a site, and sent to its address; what each must come to."""
    return [
        Attempt(name, Way.TUNNEL, (first,), tunnel, connect=f"{site.name}:443"),
        Attempt(name, Way.PORT_443, (first,), direct, to=(site.address, 443)),
    ]
