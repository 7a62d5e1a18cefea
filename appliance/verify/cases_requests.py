"""E4 to E10: what a request asks for, of whom, and in which form it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from appliance.verify.attempts import (
    EXPLICIT,
    TRANSPARENT,
    Attempt,
    Way,
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
from appliance.verify.case import Case, Layer, Outcome
from appliance.verify.forms import (
    BODY,
    EVERY_WAY,
    IS_ADDRESS,
    METHOD,
    METHOD_CLOSE,
    OK,
    UNKNOWN,
    UPGRADE,
    Form,
    as_sent,
    by_each,
)
from appliance.verify.parts import opened, requested
from appliance.verify.world import Site, World

SEEN = ("x-original-url", "x-rewrite-url", "x-forwarded-host", "x-forwarded-for", "x-http-method-override",
        "x-upstream-https-proxy", "forwarded", "via", "proxy-authorization", "proxy-connection", "authorization",
        "connection", "keep-alive", "te", "trailer", "upgrade", "x-nominated", "x-public")  # fmt: skip
"""Fields that a site says below `/canary/` whether it saw them."""


def rows(world: World) -> list[Case]:
    """Every case of this module."""
    return [
        *_pipelined(world),
        *_authorities(world),
        *_forms(world),
        *_methods(world),
        *_fields(world),
        *_paths(world),
    ]


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
            send=(as_sent(way, first, www) + as_sent(way, second, www),), methods=("GET", method),
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
                by_each(hidden, EVERY_WAY, www), (anything(world, www),)),
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
