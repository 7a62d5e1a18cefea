"""E: HTTP. Every form that two readers could read in two ways is refused, or goes on in one form; by bytes.

The byte strings are those of `smuggling.py`, each sent by every way there is, with a second request behind it
for a reader that finds another end of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from appliance.verify.attempts import (
    EXPLICIT,
    SERVED,
    TRANSPARENT,
    Attempt,
    Way,
    absolute,
    anything,
    by,
    command,
    get,
    in_fallback,
    label,
    lines,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Case, Layer, Outcome, Output
from appliance.verify.parts import opened, requested
from appliance.verify.smuggling import REFUSALS
from appliance.verify.world import Site, World

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
HANDLE = "hb_cred_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""The shape of a credential's handle; nothing of the kind has ever been given out."""

SEEN = ("x-original-url", "x-rewrite-url", "x-forwarded-host", "x-forwarded-for", "x-http-method-override",
        "x-upstream-https-proxy", "forwarded", "via", "proxy-authorization", "proxy-connection", "authorization",
        "connection", "keep-alive", "te", "trailer", "upgrade", "x-nominated", "x-public")  # fmt: skip
"""Fields that a site says below `/canary/` whether it saw them."""

_ROOT = re.compile(rb"(GET|POST) / ")


@dataclass(frozen=True, slots=True)
class Form:
    """One byte string for a site, and what must come of it."""

    name: str
    request: bytes
    expect: str


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
    """Every case of section E."""
    return [
        *_by_bytes(world),
        *_bodies(world),
        *_pipelined(world),
        *_authorities(world),
        *_forms(world),
        *_methods(world),
        *_fields(world),
        *_paths(world),
        *_upgrades(world),
        *_redirects(world),
        *_secrets(world),
        *_schemes(world),
        *_pooled(world),
        *_lies(world),
    ]


# ── by bytes ───────────────────────────────────────────────────────────────────────────────────────────


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


def _sent(all_forms: Iterable[Form], ways: Iterable[Way], site: Site, behind: bytes = b"") -> list[Attempt]:
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
            *refused_twice(f"{attack}-bytes", title, _sent(table, EXPLICIT, www, behind), canaries, hides=hides),
            refused(f"{attack}-bytes-transparent", f"{title} (past the proxy)", _sent(table, TRANSPARENT, www, behind),
                    canaries),
        ]  # fmt: skip
    huge = Form("E3.900-head-over-the-worker-s-bound", get(www.name, "/canary/E3", "X-A: " + "b" * 110_000),
                "431 head-too-large close")  # fmt: skip
    cases.append(
        refused("E3-huge", "a head over what a worker reads at all", _sent([huge], EVERY_WAY, www),
                (anything(world, www),))
    )  # fmt: skip
    return cases


# ── E2: bodies ─────────────────────────────────────────────────────────────────────────────────────────


def _post(site: Site, path: str, body: bytes, *fields: str) -> bytes:
    return get(
        site.name, path, "Content-Type: text/plain", "Transfer-Encoding: chunked", *fields, method="POST", body=body
    )  # fmt: skip


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
        Form(label("E2", number, name), _post(site, "/canary/submit/E2", body + hidden), expect)
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
            request = _post(www, "/canary/submit/E2", body, "Trailer: X-Trailer")
            sent = _as_sent(way, request, www) + _as_sent(way, follows, www)
            attempt = by(way, www, name, request, f"{OK}, {OK}")
            canonical.append(replace(attempt, send=(sent,), methods=("POST", "GET"), show=True))
    return [
        *refused_twice("E2-chunks", "chunk sizes, ends, extensions and trailers that are none", _sent(broken, EXPLICIT, www),
                (requested(world, www, "/canary/E2"),)),
        refused("E2-chunks-transparent", "the same past the proxy", _sent(broken, TRANSPARENT, www),
                (requested(world, www, "/canary/E2"),)),
        *refused_twice("E2-get", "a GET with a chunked body, good or broken", _sent(unasked, EVERY_WAY, www),
                (anything(world, www),)),
        Case("E2-canonical", "chunk extensions and trailers are dropped; the site reads a body, then the next request",
             Outcome.REACHES, command(canonical),
             (requested(world, www, "/canary/submit/E2", "POST", "--data", "x"), requested(world, www, "/canary/E2-follows")),
             expect=(*lines(canonical), "| length=11", "| uri=/canary/E2-follows"), forbid=("trailer=X",)),
    ]  # fmt: skip


def _as_sent(way: Way, request: bytes, site: Site) -> bytes:
    return absolute(request, site.name) if way is Way.PROXY else request


# ── E4, E5: another request, another authority ─────────────────────────────────────────────────────────


def _pipelined(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www, t.other
    first = get(www.name, "/canary/E4-first")
    seconds = {
        "post": (
            get(www.name, "/canary/E4", "Content-Length: 0", method="POST"),
            "POST",
            "403 path-not-allowed keep",
        ),
        "delete": (get(www.name, "/canary/E4", method="DELETE"), "DELETE", METHOD),
        "connect-upgrade": (
            get(www.name, "/canary/E4", "Connection: upgrade", "Upgrade: websocket"),
            "GET",
            UPGRADE,
        ),
        "get-with-body": (get(www.name, "/canary/E4", "Content-Length: 3", body=b"abc"), "GET", BODY),
        "broken": (
            b"GET /canary/E4 HTTP/1.1\nHost: " + www.name.encode() + b"\n\n",
            "GET",
            "400 bare-line-end close",
        ),
    }
    attempts = [
        replace(
            by(way, www, label("E4", number, name), first, f"{OK}, {expect}"),
            send=(_as_sent(way, first, www) + _as_sent(way, second, www),), methods=("GET", method),
        )
        for way in EVERY_WAY
        for number, (name, (second, method, expect)) in enumerate(seconds.items())
    ]  # fmt: skip
    hosts = [
        many("E4.50-no-public-name", [get(www.name, f"http://{www.name}/canary/E4-first"),
                                      get("db.internal", "http://db.internal/")], [OK, "403 name-not-public keep"]),
        many("E4.51-private", [get(www.name, f"http://{www.name}/canary/E4-first"),
                               get(t.private, f"http://{t.private}/canary/E4")], [OK, IS_ADDRESS]),
        replace(by(Way.PORT_80, www, "E4.52-other-host", first + get(other.name, "/canary/E4"),
                   f"{OK}, 403 destination-not-pinned close"), methods=("GET", "GET")),
        *(replace(by(way, www, "E4.53-other-host", first + get(other.name, "/canary/E4"),
                     f"{OK}, 421 host-not-server-name close"), methods=("GET", "GET"))
          for way in (Way.TUNNEL, Way.PORT_443)),
    ]  # fmt: skip
    canaries = (requested(world, www, "/canary/E4"), anything(world, other))
    inward = (*canaries, opened(world, t.private, 80))
    pipelined = Case(
        "E4-pipelined", "a second request behind an allowed one: another method, a body, an upgrade, broken",
        Outcome.REFUSED, command(attempts), canaries, expect=lines(attempts),
    )  # fmt: skip
    to_others = Case("E4-hosts", "a second request behind an allowed one: another host", Outcome.REFUSED,
                     command(hosts), inward, expect=lines(hosts))  # fmt: skip
    return [
        pipelined,
        in_fallback(pipelined, attempts, canaries),
        to_others,
        in_fallback(to_others, hosts, inward),
    ]


def _authorities(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www, t.other
    port = "421 port-mismatch close"
    mismatch = "400 host-mismatch close"
    attempts = [
        raw("E5.900-other-target", get(www.name, f"http://{other.name}/canary/E5"), mismatch),
        raw("E5.901-other-host", get(other.name, f"http://{www.name}/canary/E5"), mismatch),
        raw("E5.902-other-port", get(www.name, f"http://{www.name}:8080/canary/E5"), mismatch),
        raw("E5.903-port-8080", get(f"{www.name}:8080", f"http://{www.name}:8080/canary/E5"),
            "403 port-not-allowed keep"),
        raw("E5.904-port-443", get(f"{www.name}:443", f"http://{www.name}:443/canary/E5"),
            "403 scheme-not-allowed keep"),
        raw("E5.905-connect", f"CONNECT {www.name}:443 HTTP/1.1\r\nHost: {other.name}:443\r\n\r\n".encode(), mismatch),
        by(Way.TUNNEL, www, "E5.906-port", get(f"{www.name}:80", "/canary/E5"), port),
        by(Way.TUNNEL, www, "E5.907-port", get(f"{www.name}:8443", "/canary/E5"), port),
    ]  # fmt: skip
    direct = [
        raw("E5.920-port", get(f"{www.name}:81", "/canary/E5"), port, to=(www.address, 80)),
        raw("E5.921-port-443", get(f"{www.name}:443", "/canary/E5"), port, to=(www.address, 80)),
        raw("E5.922-other", get(other.name, "/canary/E5"), "403 destination-not-pinned close", to=(www.address, 80)),
        by(Way.PORT_443, www, "E5.923-port", get(f"{www.name}:80", "/canary/E5"), port),
        raw("E5.924-absolute-other", get(other.name, f"http://{www.name}/canary/E5"), mismatch, to=(www.address, 80)),
    ]  # fmt: skip
    canaries = (anything(world, www), anything(world, other), opened(world, www.address, 8080))
    return [
        *refused_twice("E5-authority", "target, Host, port and connection that do not agree", attempts, canaries,
                       hides=canaries[2:]),
        refused("E5-authority-transparent", "the same past the proxy", direct, canaries),
    ]  # fmt: skip


# ── E6, E7: forms and methods ──────────────────────────────────────────────────────────────────────────


def _forms(world: World) -> list[Case]:
    t = world.targets
    www = t.www.name
    tunnel = f"CONNECT {t.other.name}:443 HTTP/1.1\r\nHost: {t.other.name}:443\r\n\r\n".encode()
    attempts = [
        raw("E6.900-https", get(www, f"https://{www}/canary/E6"), "400 target-https-in-plain close"),
        raw("E6.901-https-private", get(t.private, f"https://{t.private}/"), "400 target-https-in-plain close"),
        raw("E6.902-options", get(www, f"http://{www}/canary/E6", method="OPTIONS"), METHOD),
        raw("E6.903-options-asterisk", f"OPTIONS * HTTP/1.1\r\nHost: {www}\r\n\r\n".encode(), "400 target-asterisk close"),
        raw("E6.904-get-asterisk", f"GET * HTTP/1.1\r\nHost: {www}\r\n\r\n".encode(), "400 target-asterisk close"),
        raw("E6.905-get-authority", get(www, f"{www}:443"), "400 target-form close"),
        replace(by(Way.TUNNEL, t.www, "E6.906-connect-in-tunnel", tunnel, "400 connect-in-tunnel close"),
                methods=("CONNECT",)),
        Attempt("E6.907-connect-then-connect", Way.PROXY, (tunnel,), "closed", connect=f"{www}:443"),
    ]  # fmt: skip
    direct = [
        replace(by(Way.PORT_443, t.www, "E6.920-connect", tunnel, "400 connect-in-tunnel close"), methods=("CONNECT",)),
        by(Way.PORT_80, t.www, "E6.921-https", get(www, f"https://{www}/canary/E6"), "400 target-https-in-plain close"),
    ]  # fmt: skip
    canaries = (anything(world, t.www), anything(world, t.other))
    return [
        *refused_twice(
            "E6-forms", "targets that are not for a proxy, or not for a tunnel", attempts, canaries
        ),
        refused("E6-forms-transparent", "the same past the proxy", direct, canaries),
    ]


def _methods(world: World) -> list[Case]:
    www, other = world.targets.www, world.targets.other
    known = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
    unknown = ("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "REPORT", "SEARCH", "QUERY", "LINK", "PURGE",
               "M-SEARCH", "DEBUG", "BREW", "X", "GETX", "PRI", "SOURCE", "SUBSCRIBE")  # fmt: skip
    table = [(method, METHOD) for method in known] + [(method, UNKNOWN) for method in unknown]

    def attempts(ways: Iterable[Way]) -> list[Attempt]:
        found = []
        for way in ways:
            for number, (method, expect) in enumerate(table):
                request = get(other.name, "/canary/E7", method=method)
                found.append(
                    replace(by(way, other, label("E7", number, method), request, expect), methods=(method,))
                )
            with_body = {
                "post-body": ("POST", METHOD_CLOSE),
                "put-body": ("PUT", METHOD_CLOSE),
                "get-body": ("GET", BODY),
                "head-body": ("HEAD", "403 - close"),
            }
            for number, (name, (method, expect)) in enumerate(with_body.items(), 50):
                length = get(other.name, "/canary/E7", "Content-Length: 3", method=method, body=b"x=1")
                chunks = get(other.name, "/canary/E7", "Transfer-Encoding: chunked", method=method,
                             body=b"3\r\nx=1\r\n0\r\n\r\n")  # fmt: skip
                for form, request in (("length", length), ("chunked", chunks)):
                    sent = by(way, other, label("E7", number, f"{name}-{form}"), request, expect)
                    found.append(replace(sent, methods=(method,)))
        return found

    canaries = (anything(world, other), requested(world, other, "/canary/E7", "POST", "--data", "x"),
                requested(world, other, "/canary/E7", "PUT", "--data", "x"),
                requested(world, other, "/canary/E7", "DELETE"))  # fmt: skip
    elsewhere = [
        replace(by(way, www, "E7.90-other-path", _submission(www, "/canary/other"), "403 path-not-allowed close"),
                methods=("POST",)) for way in EVERY_WAY
    ]  # fmt: skip
    elsewhere += [
        replace(by(way, www, "E7.91-other-type", _submission(www, "/canary/submit/E7", "text/html"),
                   "403 content-type-not-allowed close"), methods=("POST",)) for way in EVERY_WAY
    ]  # fmt: skip
    elsewhere += [
        replace(by(way, www, "E7.92-too-large", _submission(www, "/canary/submit/E7", body=b"x" * 5000),
                   "413 body-too-large close"), methods=("POST",)) for way in EVERY_WAY
    ]  # fmt: skip
    return [
        *refused_twice("E7-methods", "every other method than GET and HEAD, and those with a body", attempts(EXPLICIT), canaries),
        refused("E7-methods-transparent", "the same past the proxy", attempts(TRANSPARENT), canaries),
        refused("E7-rule", "a POST that a rule allows, at another path, of another type, over its size", elsewhere,
                (anything(world, www),)),
    ]  # fmt: skip


def _submission(site: Site, path: str, kind: str = "text/plain", body: bytes = b"x=1") -> bytes:
    return get(
        site.name, path, f"Content-Type: {kind}", f"Content-Length: {len(body)}", method="POST", body=body
    )


# ── E9, E10: what goes on, and in which form ───────────────────────────────────────────────────────────


def _fields(world: World) -> list[Case]:
    www, other = world.targets.www, world.targets.other.name
    spoofed = {
        "X-Original-URL": "/canary/E9-other", "X-Rewrite-URL": "/canary/E9-other", "X-Forwarded-Host": other,
        "X-Forwarded-For": "127.0.0.1", "X-HTTP-Method-Override": "DELETE", "X-Upstream-Https-Proxy": other,
        "Forwarded": f"host={other}", "Via": "1.1 x", "Proxy-Authorization": "Basic eDp5",
        "Proxy-Connection": "keep-alive", "Keep-Alive": "5", "TE": "trailers", "Trailer": "X-A", "X-Nominated": "1",
        "Connection": "keep-alive, x-nominated", "X-Public": "seen",
    }  # fmt: skip
    request = get(www.name, "/canary/E9", *(f"{name}: {value}" for name, value in spoofed.items()))
    shown = [replace(by(way, www, "E9.0-fields", request, OK), show=True) for way in EVERY_WAY]
    nominated = ("Host", "Authorization", "Content-Length", "Transfer-Encoding", "Content-Type", "Cookie", "Range",
                 "Origin", "Referer", "Cache-Control")  # fmt: skip
    hidden = [
        Form(label("E9", 10 + number, name), get(www.name, "/canary/E9", f"Connection: close, {name}"),
             "400 connection-nominates close")
        for number, name in enumerate(nominated)
    ]  # fmt: skip
    seen = requested(world, www, "/canary/E9")
    secret = (other, "=/canary/E9-other", "=DELETE", "=Basic", "=trailers", "x-nominated=1", "=127.0.0.1")
    return [
        Case("E9-fields", "fields that speak for a front end, or for one connection: the site sees none of them",
             Outcome.REACHES, command(shown), (seen,), forbid=secret,
             expect=(*lines(shown), "| x-public=seen", *(f"| {name}=\n" for name in SEEN if name != "x-public"))),
        Case("E9-fields-fallback", "the same by the fallback", Outcome.REACHES,
             command([attempt for attempt in shown if attempt.to is None]), (seen,), forbid=secret,
             layers=frozenset({Layer.SQUID})),
        refused("E9-nominated", "Connection names a field that was judged, so that it would be removed",
                _sent(hidden, EVERY_WAY, www), (anything(world, www),)),
    ]  # fmt: skip


def _paths(world: World) -> list[Case]:
    www = world.targets.www
    canonical = {
        "/canary/a/../E10-dots": "/canary/E10-dots",
        "/canary/./a/./../E10-dots": "/canary/E10-dots",
        "/canary/E10-%7euser%2d%41": "/canary/E10-~user-A",
        "/canary/E10-%c3%bc%3a": "/canary/E10-%C3%BC%3A",
        "/canary/E10-{a}|b?f[x]=%3d\\": "/canary/E10-%7Ba%7D%7Cb?f%5Bx%5D=%3D%5C",
        "/canary/E10?a=b&a=c?d/../e": "/canary/E10?a=b&a=c?d/../e",
    }
    shown = [
        replace(by(way, www, label("E10", 900 + number, path), get(www.name, path), OK), show=True)
        for way in EVERY_WAY
        for number, path in enumerate(canonical)
    ]
    return [
        Case("E10-canonical", "paths that are written in several ways arrive in one", Outcome.REACHES, command(shown),
             (requested(world, www, "/canary/E10*"),),
             expect=(*lines(shown), *(f"| uri={path}\n" for path in canonical.values())), forbid=("%7e", "uri=/canary/a")),
    ]  # fmt: skip


# ── E12, E13: other protocols ──────────────────────────────────────────────────────────────────────────


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """One HPACK field, never indexed, no Huffman code (RFC 7541 section 6.2.3)."""
    return b"\x10" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _http_2(*fields: tuple[bytes, bytes]) -> bytes:
    head = b"".join(_literal(name, value) for name, value in fields)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 5, 1, head)


def _upgrades(world: World) -> list[Case]:
    www = world.targets.www
    name = www.name.encode()
    common = ((b":scheme", b"https"), (b":path", b"/canary/E12"), (b":authority", name))
    preface = "505 h2-prior-knowledge close"
    http_2 = [
        Form("E12.900-get", _http_2((b":method", b"GET"), *common), preface),
        Form("E12.901-crlf-in-pseudo-header",
             _http_2((b":method", b"GET"), (b":scheme", b"https"), (b":authority", name),
                     (b":path", b"/canary/E12 HTTP/1.1\r\nHost: x\r\n\r\nGET /canary/E12")), preface),
        Form("E12.902-extended-connect",
             _http_2((b":method", b"CONNECT"), (b":protocol", b"websocket"), *common), preface),
        Form("E12.903-preface-alone", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", preface),
    ]  # fmt: skip
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    websocket = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    )
    frames = b"\x82\x85\1\2\3\4" + bytes(byte ^ (index % 4 + 1) for index, byte in enumerate(b"hello"))
    asked = [
        Form("E13.0-websocket", get(www.name, "/canary/E13", *websocket, body=frames), UPGRADE),
        Form("E13.1-lower-case", get(www.name, "/canary/E13", "connection: upgrade", "upgrade: WebSocket"), UPGRADE),
        Form("E13.2-no-connection", get(www.name, "/canary/E13", "Upgrade: websocket"), UPGRADE),
        Form("E13.3-tls", get(www.name, "/canary/E13", "Connection: Upgrade", "Upgrade: TLS/1.0"), UPGRADE),
        Form("E13.4-other", get(www.name, "/canary/E13", "Connection: Upgrade", "Upgrade: x/1, websocket"), UPGRADE),
        Form("E13.5-connect-udp", get(www.name, "/canary/E13", "Connection: Upgrade", "Upgrade: connect-udp"), UPGRADE),
        Form("E13.6-spdy", get(www.name, "/canary/E13", "Connection: Upgrade", "Upgrade: SPDY/3.1"), UPGRADE),
    ]  # fmt: skip
    canaries = (anything(world, www),)
    return [
        *refused_twice("E12-http-2", "HTTP/2 frames: a request, a line end in a pseudo-header, extended CONNECT",
                _sent(http_2, EXPLICIT, www), canaries),
        refused("E12-http-2-transparent", "the same past the proxy", _sent(http_2, TRANSPARENT, www), canaries),
        *refused_twice("E13-upgrade", "an upgrade to WebSocket or any other protocol, without a rule for it",
                _sent(asked, EXPLICIT, www), canaries),
        refused("E13-upgrade-transparent", "the same past the proxy", _sent(asked, TRANSPARENT, www), canaries),
    ]  # fmt: skip


# ── E14: redirects ─────────────────────────────────────────────────────────────────────────────────────


def _curl(*words: str) -> str:
    form = r"\nstatus %{http_code} after %{num_redirects}\n"
    quoted = " ".join(f"'{word}'" for word in words)
    return f"curl --silent --show-error --max-time 15 --write-out '{form}' --location {quoted} 2>&1"


def _redirects(world: World) -> list[Case]:
    t = world.targets
    www = t.www.name
    https, http = f"https://{www}/redirect-", f"http://{www}/redirect-"
    inward = [
        _curl(*past, *credentials, f"{scheme}private")
        for scheme in (https, http)
        for past in ((), ("--noproxy", "*"))
        for credentials in ((), ("--location-trusted", "--user", "a:b"))
    ]
    denied = [_curl(*past, f"{https}other") for past in ((), ("--noproxy", "*"))]
    plain = [_curl(*past, f"{https}plain") for past in ((), ("--noproxy", "*"))]
    told = "status 403 after 1"
    return [
        Case("E14-inward", "a redirect to a private address is followed, and judged anew", Outcome.REFUSED,
             ("sh", "-c", "\n".join(inward)), (opened(world, t.private, 80),),
             expect=(told, "host-is-address"), forbid=("egress-canary", "status 200")),
        Case("E14-inward-fallback", "the same by the fallback", Outcome.REFUSED,
             ("sh", "-c", "\n".join(text for text in inward if "noproxy" not in text)),
             (opened(world, t.private, 80),), forbid=("egress-canary", "status 200"), layers=frozenset({Layer.SQUID})),
        Case("E14-denied", "a redirect to a host that is not listed", Outcome.REFUSED, ("sh", "-c", "\n".join(denied)),
             (anything(world, t.other),), expect=("response 403", "Could not resolve host"), forbid=("status 200",),
             tenant="lister"),
        Case("E14-scheme", "a redirect from https to http of a host that is listed for https", Outcome.REFUSED,
             ("sh", "-c", "\n".join(plain)), (requested(world, t.www, "/canary/redirected"),),
             expect=("port-not-allowed", told), forbid=("status 200",), tenant="lister"),
    ]  # fmt: skip


# ── E17, E18: what a secret's handle would be ──────────────────────────────────────────────────────────


def _secrets(world: World) -> list[Case]:
    t = world.targets
    www = t.www
    bearer = f"Authorization: Bearer {HANDLE}"
    traced = [
        replace(by(way, www, "E17.0-trace", get(www.name, "/canary/E17", bearer, *more, method="TRACE"), METHOD),
                methods=("TRACE",), name=f"E17.{number}-trace")
        for way in EVERY_WAY
        for number, more in enumerate(((), ("Max-Forwards: 0",)))
    ]  # fmt: skip
    ranged = [
        replace(by(way, www, "E17.10-handle", get(www.name, f"/canary/E17?h={HANDLE}", bearer, "Range: bytes=0-10"), OK),
                show=True)
        for way in EVERY_WAY
    ]  # fmt: skip
    elsewhere = [
        replace(by(way, t.other, "E18.0-handle", get(t.other.name, "/canary/E18", bearer), OK), show=True)
        for way in EVERY_WAY
    ]
    denied = [
        raw("E18.10-denied-host", get(t.other.name, f"http://{t.other.name}/canary/E18", bearer), NOT_LISTED),
        raw("E18.11-address", get(t.private, f"http://{t.private}/canary/E18", bearer), IS_ADDRESS),
    ]  # fmt: skip
    unchanged = f"| authorization=Bearer {HANDLE}\n"
    return [
        *refused_twice("E17-trace", "TRACE, which would send a request's secrets back", traced, (anything(world, www),)),
        Case("E17-handle", "text shaped as a handle is only text: no secret is put in its place (no injection exists)",
             Outcome.REACHES, command(ranged), (requested(world, www, "/canary/E17"),),
             expect=(*lines(ranged), unchanged, f"| uri=/canary/E17?h={HANDLE}\n")),
        Case("E18-handle", "the same at any other host: there is nothing for it to be exchanged for (no injection exists)",
             Outcome.REACHES, command(elsewhere), (requested(world, t.other, "/canary/E18"),),
             expect=(*lines(elsewhere), unchanged)),
        *refused_twice("E18-denied", "with such a text, a host that is denied stays denied", denied,
                (anything(world, t.other), opened(world, t.private, 80)), tenant="lister"),
    ]  # fmt: skip


# ── E19: schemes, and a proxy's own pages ──────────────────────────────────────────────────────────────


def _schemes(world: World) -> list[Case]:
    t = world.targets
    www, own = t.www.name, "gateway.egress.internal"
    scheme, form, own_page = "400 scheme-not-supported close", "400 target-form close", "403 own-address keep"
    pages = [
        ("internal", get(own, f"http://{own}/squid-internal-mgr/info"), own_page),
        ("internal-port", get(f"{own}:3128", f"http://{own}:3128/squid-internal-mgr/info"), own_page),
        ("origin-form", get(own, "/squid-internal-mgr/menu"), own_page),
        ("static", get(own, "/squid-internal-static/icons/SN.png"), own_page),
        ("periodic", get(own, "/squid-internal-periodic/store_digest"), own_page),
        (
            "localhost",
            get("localhost", "http://localhost/squid-internal-mgr/info"),
            "403 name-not-public keep",
        ),
        ("loopback", get("127.0.0.1:3128", "http://127.0.0.1:3128/squid-internal-mgr/info"), IS_ADDRESS),
        ("cache-object", get(own, f"cache_object://{own}/info"), form),
        ("mgr", get(own, "mgr:info"), form),
        ("urn", get(www, "urn:ietf:rfc:2648"), form),
        ("wais", get(www, f"wais://{www}/canary/E19"), scheme),
        ("whois", get(www, f"whois://{www}/canary/E19"), scheme),
        ("coap", get(www, f"coap://{www}/canary/E19"), scheme),
        ("javascript", get(www, "javascript:alert(1)"), form),
        ("data", get(www, "data:,x"), form),
        ("ftp-userinfo", get(www, f"ftp://a:b@{www}/canary/E19"), scheme),
        ("wss", get(www, f"wss://{www}/canary/E19"), scheme),
        ("file", get(www, "FILE:///etc/passwd"), scheme),
    ]
    attempts = [
        raw(label("E19", number, name), request, expect)
        for number, (name, request, expect) in enumerate(pages, 900)
    ]
    tools = [
        f"curl --silent --show-error --max-time 8 --write-out 'status %{{http_code}}\\n' -x \"$HTTP_PROXY\" '{url}' 2>&1"
        for url in (f"ftp://{t.literal}/canary", f"ftp://{www}/canary/E19", f"ws://{www}/canary/E19")
    ]
    return [
        *refused_twice("E19-schemes", "other schemes by absolute target, and the management pages of proxies", attempts,
                (anything(world, t.www),)),
        Case("E19-tools", "ftp:// and ws:// through the proxy, as curl asks for them", Outcome.REFUSED,
             ("sh", "-c", "\n".join(tools)), (opened(world, t.literal, 80), anything(world, t.www)),
             expect=("status 400",), forbid=("status 200", "egress-canary")),
    ]  # fmt: skip


# ── E20: pooled connections ────────────────────────────────────────────────────────────────────────────


def _pooled(world: World) -> list[Case]:
    t = world.targets
    www = t.www
    alias = Site(f"alias-public.{t.zone}", www.address)
    warm = by(Way.TUNNEL, www, "E20.0-warm", get(www.name, "/canary/E20-warm"), OK)
    wrong = by(
        Way.TUNNEL,
        alias,
        "E20.1-other-name",
        get(alias.name, "/canary/E20"),
        "502 upstream-certificate-wrong-host keep",
    )
    unproved = [warm, wrong, replace(warm, name="E20.2-again"), replace(wrong, name="E20.3-other-name-again")]
    unproven = requested(world, www, "/canary/E20")
    by_certificate = Case(
        "E20-certificate",
        "a name that its address has no certificate for, while a connection to the address rests",
        Outcome.REFUSED,
        command(unproved, in_turn=True),
        (unproven,),
        expect=lines(unproved),
    )
    return [
        by_certificate,
        in_fallback(by_certificate, unproved, (unproven,)),
        Case("E20-names", "two names of one address have connections of their own; one name's is used again",
             Outcome.REACHES, _two_names, (requested(world, www, "/canary/E20-name"),), expect=("names: apart",)),
        Case("E20-tenants", "two tenants have connections of their own to one host", Outcome.REACHES, _two_tenants,
             (requested(world, www, "/canary/E20-tenant"),), expect=("tenants: apart",)),
    ]  # fmt: skip


_FROM = re.compile(r"\| from=(\S+)")


def _two_names(world: World) -> Output:
    """Plain requests on one connection: to `www`, to its alias, to `www` again; the site says whence."""
    t = world.targets
    hosts = (t.www.name, f"alias-public.{t.zone}", t.www.name)
    attempt = many("E20.10-names", [get(host, f"http://{host}/canary/E20-name") for host in hosts], [OK] * 3)
    output = world.run("reader", command([replace(attempt, show=True)]))
    came = _FROM.findall(output.text)
    apart = len(came) == 3 and came[0] == came[2] != came[1]
    return Output(0 if apart else 1, f"{output.text}\nnames: {'apart' if apart else 'NOT apart'} {came}")


def _two_tenants(world: World) -> Output:
    """The same request by two tenants, three times each in turn."""
    www = world.targets.www
    attempt = by(Way.TUNNEL, www, "E20.20-tenant", get(www.name, "/canary/E20-tenant"), OK)
    stimulus = command([replace(attempt, show=True)])
    texts = {
        tenant: "".join(world.run(tenant, stimulus).text for _ in range(2)) for tenant in ("reader", "lister")
    }
    came = {tenant: set(_FROM.findall(text)) for tenant, text in texts.items()}
    apart = all(came.values()) and came["reader"].isdisjoint(came["lister"])
    return Output(0 if apart else 1, f"{texts}\ntenants: {'apart' if apart else 'NOT apart'} {came}")


# ── a server that lies, or says what it was sent ───────────────────────────────────────────────────────

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
        requests = [_as_sent(way, get(liar.name, f"/canary/{name}"), liar) for name in ("surplus", "honest")]
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
    posted = _post(liar, "/canary/submit/raw", body, "Trailer: X-Trailer", "Expect: 100-continue")
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
