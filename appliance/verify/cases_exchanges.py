"""E12 to E20: other protocols, redirects, handles, schemes, and connections that are used again."""

from __future__ import annotations

import re
from dataclasses import replace

from appliance.verify.attempts import (
    EXPLICIT,
    TRANSPARENT,
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
from appliance.verify.case import Case, Layer, Outcome, Output
from appliance.verify.forms import EVERY_WAY, IS_ADDRESS, METHOD, NOT_LISTED, OK, UPGRADE, Form, by_each
from appliance.verify.parts import opened, requested
from appliance.verify.world import Site, World

UNBOUND = "403 secret-not-bound keep"
HANDLE = "hb_cred_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""The shape of a credential's handle; nothing of the kind has ever been given out."""


def rows(world: World) -> list[Case]:
    """Every case of this module."""
    return [
        *_upgrades(world),
        *_redirects(world),
        *_secrets(world),
        *_schemes(world),
        *_pooled(world),
    ]


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
                by_each(http_2, EXPLICIT, www), canaries),
        refused("E12-http-2-transparent", "the same past the proxy", by_each(http_2, TRANSPARENT, www), canaries),
        *refused_twice("E13-upgrade", "an upgrade to WebSocket or any other protocol, without a rule for it",
                by_each(asked, EXPLICIT, www), canaries),
        refused("E13-upgrade-transparent", "the same past the proxy", by_each(asked, TRANSPARENT, www), canaries),
    ]  # fmt: skip


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
        by(way, www, "E17.10-handle", get(www.name, f"/canary/E17?h={HANDLE}", bearer, "Range: bytes=0-10"), UNBOUND)
        for way in EVERY_WAY
    ]  # fmt: skip
    elsewhere = [
        by(way, t.other, "E18.0-handle", get(t.other.name, "/canary/E18", bearer), UNBOUND)
        for way in EVERY_WAY
    ]
    denied = [
        raw("E18.10-denied-host", get(t.other.name, f"http://{t.other.name}/canary/E18", bearer), NOT_LISTED),
        raw("E18.11-address", get(t.private, f"http://{t.private}/canary/E18", bearer), IS_ADDRESS),
    ]  # fmt: skip
    return [
        *refused_twice("E17-trace", "TRACE, which would send a request's secrets back", traced, (anything(world, www),)),
        Case("E17-handle", "a handle where no integration account carries the request goes nowhere",
             Outcome.REFUSED, command(ranged), (anything(world, www),), expect=tuple(lines(ranged))),
        Case("E18-handle", "the same at any other host",
             Outcome.REFUSED, command(elsewhere), (anything(world, t.other),), expect=tuple(lines(elsewhere))),
        *refused_twice("E18-denied", "with such a text, a host that is denied stays denied", denied,
                (anything(world, t.other), opened(world, t.private, 80)), tenant="lister"),
    ]  # fmt: skip


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
