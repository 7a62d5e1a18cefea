"""What the rows about HTTP share: byte strings with what must come of them, and the usual answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.verify.attempts import EXPLICIT, SERVED, TRANSPARENT, Attempt, Way, absolute, by, get
from appliance.verify.world import Site

OK = f"200 {SERVED} keep"
METHOD = "403 method-not-allowed keep"
METHOD_CLOSE = "403 method-not-allowed close"
UNKNOWN = "403 method-unknown keep"
BODY = "403 body-not-allowed close"
NOT_LISTED = "403 host-not-listed keep"
IS_ADDRESS = "403 host-is-address keep"
UPGRADE = "403 upgrade-not-allowed keep"
BROKEN = "502 upstream-protocol-error close"
EVERY_WAY = (*EXPLICIT, *TRANSPARENT)


@dataclass(frozen=True, slots=True)
class Form:
    """One byte string for a site, and what must come of it."""

    name: str
    request: bytes
    expect: str


def by_each(all_forms: Iterable[Form], ways: Iterable[Way], site: Site, behind: bytes = b"") -> list[Attempt]:
    """Each form by each way; `behind` is what a reader finds that takes the form to end sooner."""
    return [
        by(
            way,
            site,
            form.name,
            form.request + (behind if form.request.endswith(b"\n") else b""),
            form.expect,
        )
        for way in ways
        for form in all_forms
    ]


def post(site: Site, path: str, body: bytes, *fields: str) -> bytes:
    """A chunked POST; `body` as it goes over the wire."""
    chunked = ("Content-Type: text/plain", "Transfer-Encoding: chunked")
    return get(site.name, path, *chunked, *fields, method="POST", body=body)


def as_sent(way: Way, request: bytes, site: Site) -> bytes:
    """The request in the form that a way wants, for requests sent in one piece."""
    return absolute(request, site.name) if way is Way.PROXY else request
