"""Attempts by exact bytes: what is sent, by which way, and the line that must come of it.

Many attempts go into one container run; `sender.py` is the text that runs there.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from appliance.verify import sender
from appliance.verify.case import Canary, Case, Layer, Outcome
from appliance.verify.world import Site, World

_SENDER = Path(sender.__file__).read_text(encoding="utf-8")
_ORIGIN_FORM = re.compile(rb"([A-Z]+) (/\S*) (?=HTTP/)")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")

SERVED = "served"
"""In a line: some answer below 400, so that something was had (`forbid` it where nothing may be)."""


FALLBACK_WAIT = 1.5  # seconds: the fallback lets some forms wait for more, and nobody waits for its reasons


class Way(StrEnum):
    """How the bytes get to the gateway."""

    PROXY = "proxy"  # to the explicit proxy, as they are
    PORT_80 = "port-80"  # to the site's own address, as if there were no proxy
    TUNNEL = "tunnel"  # inside TLS in a CONNECT tunnel
    PORT_443 = "port-443"  # inside TLS, to the site's own address


EXPLICIT = (Way.PROXY, Way.TUNNEL)
"""Ways that the fallback serves as well."""
TRANSPARENT = (Way.PORT_80, Way.PORT_443)


class Trust(StrEnum):
    """What the client holds of the certificate that it is shown."""

    CONTAINER = "container"  # the container's own trust store decides
    NOTHING = "nothing"  # no authority is trusted: a client that pins another one
    ANYTHING = "anything"  # it does not look


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection.

    `to` is where it leads (None: the explicit proxy), `connect` the authority of a CONNECT before anything
    else, `server_name` the SNI of TLS around `send` (None: no TLS; "": TLS without SNI). `methods` are those
    of the requests in `send`, one for each answer awaited. `expect` is what the line must say, "" for
    anything. `frames` are sent once a WebSocket is open. `show` adds the bodies of answers to the output;
    `wait` bounds each wait, in seconds.
    """

    name: str
    way: str
    send: tuple[bytes, ...]
    expect: str = ""
    to: tuple[str, int] | None = None
    connect: str | None = None
    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    trust: Trust = Trust.CONTAINER
    methods: tuple[str, ...] = ("GET",)
    frames: tuple[bytes, ...] = ()
    show: bool = False
    wait: float = 4.0

    @property
    def line(self) -> str:
        """The line that must be in the output."""
        return f"{self.name} {self.way}: {self.expect}"

    def as_data(self) -> dict[str, object]:
        """For the sender."""
        return {
            "name": self.name,
            "way": self.way,
            "send": _in_text(self.send),
            "frames": _in_text(self.frames),
            "to": self.to,
            "connect": self.connect,
            "server_name": self.server_name,
            "alpn": self.alpn,
            "trust": str(self.trust),
            "methods": self.methods,
            "show": self.show,
            "wait": self.wait,
        }


def _in_text(pieces: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(piece).decode("ascii") for piece in pieces]


def command(attempts: Sequence[Attempt], *, in_turn: bool = False) -> tuple[str, ...]:
    """The stimulus that makes all the attempts, several at a time unless one has to follow the other."""
    data = json.dumps([attempt.as_data() for attempt in attempts], separators=(",", ":")).encode()
    packed = base64.b64encode(zlib.compress(data, 9)).decode("ascii")
    return ("python3", "-c", _SENDER, packed, *(["1"] if in_turn else []))


def lines(attempts: Iterable[Attempt]) -> tuple[str, ...]:
    """What a case expects of them."""
    return tuple(attempt.line for attempt in attempts if attempt.expect)


def refused(
    identifier: str,
    title: str,
    attempts: Sequence[Attempt],
    canaries: tuple[Canary, ...],
    *,
    tenant: str = "reader",
) -> Case:
    """The case in which none of the attempts is served, each is told why, and no canary hears of them."""
    return Case(
        identifier, title, Outcome.REFUSED, command(attempts), canaries, expect=lines(attempts),
        forbid=(f" {SERVED} ",), tenant=tenant,
    )  # fmt: skip


def refused_twice(
    identifier: str,
    title: str,
    attempts: Sequence[Attempt],
    canaries: tuple[Canary, ...],
    *,
    tenant: str = "reader",
    hides: tuple[Canary, ...] | None = None,
) -> list[Case]:
    """The same, and what the fallback must keep of it: no attempt that it can hear is served.

    With `hides` it may serve one whose form the gateway refuses, when it is for the host that was judged; but
    nothing that hides in the form reaches these canaries.
    """
    case = refused(identifier, title, attempts, canaries, tenant=tenant)
    return [case, in_fallback(case, attempts, hides)]


def in_fallback(case: Case, attempts: Sequence[Attempt], hides: tuple[Canary, ...] | None) -> Case:
    """See `refused_twice`."""
    heard = [
        replace(attempt, wait=min(attempt.wait, FALLBACK_WAIT)) for attempt in attempts if attempt.to is None
    ]
    return replace(
        case, id=f"{case.id}-fallback", title=f"{case.title}, by the fallback", stimulus=command(heard),
        expect=(),
        canaries=case.canaries if hides is None else hides, forbid=case.forbid if hides is None else (),
        layers=frozenset({Layer.SQUID}),
    )  # fmt: skip


def anything(world: World, site: Site) -> Canary:
    """Any request that arrives at a site, understood or not."""
    return Canary(
        f"anything at {site.name}", world.requests(site.name), lambda: world.fetch(site, "/canary/control")
    )


def by(way: Way, site: Site, name: str, request: bytes, expect: str = "") -> Attempt:
    """`request` (origin-form, all of it) to a site by one of the ways; in absolute form to the proxy."""
    if way is Way.PROXY:
        return Attempt(name, way, (absolute(request, site.name),), expect)
    if way is Way.PORT_80:
        return Attempt(name, way, (request,), expect, to=(site.address, 80))
    if way is Way.TUNNEL:
        return Attempt(name, way, (request,), expect, connect=f"{site.name}:443", server_name=site.name)
    return Attempt(name, way, (request,), expect, to=(site.address, 443), server_name=site.name)


def raw(name: str, send: bytes, expect: str = "", *, to: tuple[str, int] | None = None) -> Attempt:
    """Bytes as they are, to the explicit proxy or to an address."""
    way = Way.PROXY if to is None else f"{to[0]}:{to[1]}"
    return Attempt(name, way, (send,), expect, to=to)


def many(name: str, requests: Sequence[bytes], expect: Sequence[str]) -> Attempt:
    """Requests to the explicit proxy, one after the other on one connection, each with its answer."""
    methods = tuple(request.split(b" ", 1)[0].decode("ascii") for request in requests)
    return replace(raw(name, b"".join(requests), ", ".join(expect)), methods=methods)


def absolute(request: bytes, host: str) -> bytes:
    """The same request in absolute form, where it is in origin form at all."""
    form = _ORIGIN_FORM.match(request)
    if form is None:
        return request
    method, target = form.groups()
    return b"%b http://%b%b %b" % (method, host.encode("ascii"), target, request[form.end() :])


def get(host: str, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A plain, correct request in origin form."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


def label(attack: str, number: int, text: str) -> str:
    """The name of an attempt: readable, and nobody else's."""
    return f"{attack}.{number}-{_NOT_IN_A_NAME.sub('-', text.lower()).strip('-')[:40]}"
