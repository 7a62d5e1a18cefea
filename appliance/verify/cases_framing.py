"""E1 to E3 and every other byte string: where a message ends, read in one way only.

The byte strings are those of `smuggling.py`, each sent by every way there is, with a second request behind it
for a reader that finds another end of the first.
"""

from __future__ import annotations

import re
from dataclasses import replace

from appliance.verify.attempts import (
    EXPLICIT,
    TRANSPARENT,
    anything,
    by,
    command,
    get,
    label,
    lines,
    refused,
    refused_twice,
)
from appliance.verify.case import Case, Outcome
from appliance.verify.forms import BODY, BROKEN, EVERY_WAY, OK, Form, as_sent, by_each, post
from appliance.verify.parts import opened, requested
from appliance.verify.smuggling import REFUSALS
from appliance.verify.world import Site, World

_ROOT = re.compile(rb"(GET|POST) / ")

# The bounds of a worker lie above those of the table, so that a tenant's own caps are named in a refusal:
# here each string is as long as it takes to pass the bound.
_BOUNDS = {
    "request line over its cap": "414 uri-too-long keep",
    "head over its cap": "431 headers-too-large keep",
}
_LONGER = {
    "request line without end": b"GET /" + b"a" * 40_000,
    "method without end": b"A" * 40_000,
}
_BY_POLICY = {"path-encoded-slash": "403 path-not-allowed keep"}


def rows(world: World) -> list[Case]:
    """Every case of this module."""
    return [
        *_by_bytes(world),
        *_bodies(world),
        *_lies(world),
    ]


def forms(attack: str, world: World) -> list[Form]:
    """What the table of byte strings has for an attack, with real hosts in it and a path of its own."""
    www, other = world.targets.www.name.encode(), world.targets.other.name.encode()
    found = []
    for number, row in enumerate(REFUSALS):
        if row.attack != attack:
            continue
        request = _LONGER.get(row.name, row.request)
        request = request.replace(b"ok.example", www).replace(b"evil.example", other)
        request = _ROOT.sub(rb"\1 /canary/%b " % attack.encode(), request, count=1)
        expect = _BOUNDS.get(row.name) or _BY_POLICY.get(row.reason) or f"{row.status} {row.reason} close"
        found.append(Form(label(attack, number, row.name), request, expect))
    return found


def _behind(attack: str, site: Site) -> bytes:
    """What a reader finds that takes the first request to end sooner."""
    return b"0\r\n\r\n" + get(site.name, f"/canary/{attack}-smuggled")


_TITLES = {
    "E1": "Content-Length and Transfer-Encoding in every ambiguous form; fields that lie about framing",
    "E3": "bare line ends, NUL, other octets, versions, heads over their bounds",
    "E5": "no Host, two Hosts, a Host that is not the target's",
    "E6": "asterisk-form, authority-form without CONNECT, https:// in a plain request, CONNECT with a body",
    "E7": "methods in lower case, padded, endless",
    "E10": "paths with dots, escapes, backslashes, semicolons, fragments, controls",
    "E12": "HTTP/2 by upgrade, by prior knowledge, by pseudo-header",
    "E19": "schemes that are not HTTP, and names of a proxy's own pages",
}


def _by_bytes(world: World) -> list[Case]:
    www = world.targets.www
    cases = []
    for attack, title in _TITLES.items():
        table = forms(attack, world)
        canaries = (anything(world, www), anything(world, world.targets.other))
        behind = _behind(attack, www)
        hides = (
            requested(world, www, f"/canary/{attack}-smuggled"),
            opened(world, world.targets.private, 80),
        )
        cases += [
            *refused_twice(f"{attack}-bytes", title, by_each(table, EXPLICIT, www, behind), canaries, hides=hides),
            refused(f"{attack}-bytes-transparent", f"{title} (past the proxy)", by_each(table, TRANSPARENT, www, behind),
                    canaries),
        ]  # fmt: skip
    huge = Form("E3.900-head-over-the-worker-s-bound", get(www.name, "/canary/E3", "X-A: " + "b" * 110_000),
                "431 head-too-large close")  # fmt: skip
    cases.append(
        refused("E3-huge", "a head over what a worker reads at all", by_each([huge], EVERY_WAY, www),
                (anything(world, www),))
    )  # fmt: skip
    return cases


def _broken_bodies(site: Site) -> list[Form]:
    """Chunked bodies for the path where a body is allowed, each with a request hidden in what follows."""
    hidden = get(site.name, "/canary/E2")
    size = "400 chunk-size-invalid close"
    end = "400 chunk-end-missing close"
    bodies = {
        "size-g": (b"g\r\n", size),
        "size-0x": (b"0x5\r\nhello\r\n0\r\n\r\n", size),
        "size-plus": (b"+5\r\nhello\r\n0\r\n\r\n", size),
        "size-minus": (b"-5\r\nhello\r\n0\r\n\r\n", size),
        "size-space-before": (b" 5\r\nhello\r\n0\r\n\r\n", size),
        "size-space-behind": (b"5 \r\nhello\r\n0\r\n\r\n", size),
        "size-tab-behind": (b"5\t\r\nhello\r\n0\r\n\r\n", size),
        "size-empty": (b"\r\nhello\r\n0\r\n\r\n", size),
        "size-16-digits": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", size),
        "size-overflow": (b"ffffffffffffffff\r\n", size),
        "size-underscore": (b"1_0\r\n", size),
        "size-bare-lf": (b"5\nhello\r\n0\r\n\r\n", size),
        "size-bare-cr": (b"5\rhello\r\n0\r\n\r\n", size),
        "size-nul": (b"5\0\r\nhello\r\n0\r\n\r\n", size),
        "size-comma": (b"5,5\r\nhello\r\n0\r\n\r\n", size),
        "extension-bare-lf": (b"5;a\nb\r\nhello\r\n0\r\n\r\n", size),
        "extension-bare-cr": (b"5;a\rb\r\nhello\r\n0\r\n\r\n", size),
        "extension-nul": (b"5;a=\0\r\nhello\r\n0\r\n\r\n", size),
        "extension-blank": (b"5 ;a=b\r\nhello\r\n0\r\n\r\n", size),
        "extension-open-quote": (b'5;a="b\r\nhello\r\n0\r\n\r\n', size),
        "extension-empty": (b"5;\r\nhello\r\n0\r\n\r\n", size),
        "extension-long": (b"5;" + b"a" * 400 + b"\r\nhello\r\n0\r\n\r\n", size),
        "extensions-flood": ((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100, "400 chunk-extensions close"),
        "data-longer": (b"3\r\nhello\r\n0\r\n\r\n", end),
        "data-no-crlf": (b"5\r\nhello0\r\n\r\n", end),
        "data-bare-lf": (b"5\r\nhello\n0\r\n\r\n", end),
        "data-bare-cr": (b"5\r\nhello\r0\r\n\r\n", end),
        "last-bare-lf": (b"5\r\nhello\r\n0\n\n", size),
        "trailer-length": (b"0\r\nContent-Length: 5\r\n\r\n", "400 trailer-forbidden close"),
        "trailer-coding": (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 trailer-forbidden close"),
        "trailer-host": (b"0\r\nHost: x\r\n\r\n", "400 trailer-forbidden close"),
        "trailer-no-colon": (b"0\r\nbroken\r\n\r\n", "400 trailer-invalid close"),
        "trailer-space-before-colon": (b"0\r\nX-A : b\r\n\r\n", "400 trailer-invalid close"),
        "trailer-folded": (b"0\r\nX-A: b\r\n c\r\n\r\n", "400 trailer-invalid close"),
        "trailer-bare-lf": (b"0\r\nX-A: b\nX-C: d\r\n\r\n", "400 trailer-invalid close"),
        "trailer-nul": (b"0\r\nX-A: \0\r\n\r\n", "400 trailer-invalid close"),
        "trailer-request-line": (b"0\r\nGET /canary/E2 HTTP/1.1\r\n\r\n", "400 trailer-invalid close"),
        "trailers-too-large": (b"0\r\n" + b"X-A: bbbbbbbb\r\n" * 1000 + b"\r\n", "400 trailers-too-large close"),
        "too-much-data": (b"800\r\n" + b"x" * 2048 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n",
                          "413 body-too-large close"),
    }  # fmt: skip
    return [
        Form(label("E2", number, name), post(site, "/canary/submit/E2", body + hidden), expect)
        for number, (name, (body, expect)) in enumerate(bodies.items())
    ]


def _bodies(world: World) -> list[Case]:
    www = world.targets.www
    broken = _broken_bodies(www)
    unasked = [
        Form(
            form.name.replace("E2.", "E2.1"),
            form.request.replace(b"POST /canary/submit/", b"GET /canary/"),
            BODY,
        )
        for form in broken
    ]
    good = b'5;a=b;c="d;e"\r\nhello\r\n6;x\r\n world\r\n0;last\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n'
    plain = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    follows = get(www.name, "/canary/E2-follows")
    canonical = []
    for way in EVERY_WAY:
        for name, body in (("E2.300-extensions-and-trailers", good), ("E2.301-plain", plain)):
            request = post(www, "/canary/submit/E2", body, "Trailer: X-Trailer")
            sent = as_sent(way, request, www) + as_sent(way, follows, www)
            attempt = by(way, www, name, request, f"{OK}, {OK}")
            canonical.append(replace(attempt, send=(sent,), methods=("POST", "GET"), show=True))
    return [
        *refused_twice("E2-chunks", "chunk sizes, ends, extensions and trailers that are none", by_each(broken, EXPLICIT, www),
                (requested(world, www, "/canary/E2"),)),
        refused("E2-chunks-transparent", "the same past the proxy", by_each(broken, TRANSPARENT, www),
                (requested(world, www, "/canary/E2"),)),
        *refused_twice("E2-get", "a GET with a chunked body, good or broken", by_each(unasked, EVERY_WAY, www),
                (anything(world, www),)),
        Case("E2-canonical", "chunk extensions and trailers are dropped; the site reads a body, then the next request",
             Outcome.REACHES, command(canonical),
             (requested(world, www, "/canary/submit/E2", "POST", "--data", "x"), requested(world, www, "/canary/E2-follows")),
             expect=(*lines(canonical), "| length=11", "| uri=/canary/E2-follows"), forbid=("trailer=X",)),
    ]  # fmt: skip


_LIES = ("switch", "switch-bare", "length-and-coding", "two-lengths", "two-equal-lengths", "length-plus", "length-list",
         "coding-identity", "coding-twice", "interim-flood", "fold", "nul", "bare-lf", "bare-cr", "space-before-colon",
         "no-colon", "status-1000", "status-600", "http-2", "http-9", "no-http", "leading-crlf", "huge-head",
         "many-fields", "no-content-with-body", "nominates-length")  # fmt: skip


def _lies(world: World) -> list[Case]:
    liar = world.targets.liar
    arrived = opened(world, liar.address, 443)
    told = [
        by(way, liar, label(attack, number, lie), get(liar.name, f"/canary/{lie}"), BROKEN)
        for way in EVERY_WAY
        for number, lie in enumerate(_LIES)
        for attack in ("E13" if lie.startswith("switch") else "E1",)
    ]
    honest = [
        by(way, liar, "E1.90-honest", get(liar.name, "/canary/honest"), OK) for way in EVERY_WAY
    ]  # fmt: skip
    surplus = []
    for way in EVERY_WAY:
        requests = [as_sent(way, get(liar.name, f"/canary/{name}"), liar) for name in ("surplus", "honest")]
        attempt = by(way, liar, "E20.30-surplus", requests[0], f"{OK}, {OK}")
        surplus.append(replace(attempt, send=(b"".join(requests),), methods=("GET", "GET"), show=True))
    switches = [attempt for attempt in told if attempt.name.startswith("E13")]
    others = [attempt for attempt in told if attempt.name.startswith("E1.")]
    return [
        Case("E13-unasked", "a server that switches protocols unasked: no tunnel comes of it", Outcome.REACHES,
             command([*switches, *honest]), (arrived,), expect=lines([*switches, *honest]), forbid=("101", "smuggled")),
        Case("E1-answers", "answers whose end two readers would see in two places, and answers that are none",
             Outcome.REACHES, command([*others, *honest]), (arrived,), expect=lines([*others, *honest]),
             forbid=("smuggled",)),
        Case("E20-surplus", "a second answer behind the first is not the next request's", Outcome.REACHES,
             command(surplus), (arrived,), expect=(*lines(surplus), "| honest"), forbid=("| smuggled",)),
        *_as_received(world),
    ]  # fmt: skip


def _as_received(world: World) -> list[Case]:
    """The same as `E2-canonical` and `E9-fields`, by the bytes that a server was sent."""
    liar = world.targets.liar
    name = liar.name
    body = b'5;a=b;c="d;e"\r\nhello\r\n6;x\r\n world\r\n0;last\r\nX-Trailer: 1\r\n\r\n'
    posted = post(liar, "/canary/submit/raw", body, "Trailer: X-Trailer", "Expect: 100-continue")
    fields = get(f"{name.upper()}.", "/canary/a/../raw", "Connection: x-a, keep-alive", "X-A: 1",
                 "Via: 1.1 x", "Forwarded: host=x", "TE: trailers", "X-B:   padded \t", "Proxy-Authorization: x")  # fmt: skip
    attempts = []
    for way in EVERY_WAY:
        attempts.append(by(way, liar, "E2.400-raw", posted, OK))
        attempts.append(by(way, liar, "E9.400-raw", fields, OK))
    attempts = [replace(attempt, show=True, methods=("POST",) if "E2" in attempt.name else ("GET",))
                for attempt in attempts]  # fmt: skip
    wire_posted = (f"POST /canary/submit/raw HTTP/1.1\nHost: {name}\nContent-Type: text/plain\n"
                   "Transfer-Encoding: chunked\n\n5\nhello\n6\n world\n0\n\n")  # fmt: skip
    wire_fields = f"GET /canary/raw HTTP/1.1\nHost: {name}\nX-B: padded\n\n"
    shown = tuple(
        "".join(f"  | {text}\n" for text in wire.splitlines()) for wire in (wire_posted, wire_fields)
    )
    return [
        Case("E2-as-received", "what a server is sent, byte for byte: no extension, no trailer, no field of one connection",
             Outcome.REACHES, command(attempts), (opened(world, liar.address, 443),), expect=(*lines(attempts), *shown),
             forbid=("a=b", "X-Trailer", "last", "Via", "Forwarded", "X-A:", "Proxy-", "TE:")),
    ]  # fmt: skip
