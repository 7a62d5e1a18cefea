"""D: CONNECT and TLS. What a tunnel is asked for, what is spoken in it, which names it is opened under."""

from __future__ import annotations

import json
from dataclasses import replace

from appliance.verify.attempts import (
    SERVED,
    Attempt,
    Trust,
    Way,
    anything,
    by,
    command,
    get,
    label,
    lines,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Canary, Case, Outcome, Output
from appliance.verify.hello import SSL_3, TLS_1_0, client_hello, encrypted_hello, protocols, server_names
from appliance.verify.parts import opened, requested
from appliance.verify.tenants import operator, reload, tenant
from appliance.verify.world import Site, World

IS_ADDRESS = "403 host-is-address keep"
NOT_LISTED = "403 host-not-listed keep"
NOT_PUBLIC = "403 name-not-public keep"
BAD_AUTHORITY = "400 authority-invalid close"
NOT_PINNED = "403 destination-not-pinned close"
UNRECOGNISED = "alert 112"
UNREADABLE = "alert 50"
OLD_VERSION = "alert 70"
NO_PROTOCOL = "alert 120"
NO_TLS = "502 upstream-tls-protocol keep"

KEY_SEARCH = """
import os
found = []
for top in ("/run", "/etc", "/var", "/tmp", "/home", "/root", "/opt", "/srv"):
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as file:
                    if os.path.isfile(path) and b"PRIVATE KEY-----" in file.read(1 << 20):
                        found.append(path)
            except OSError:
                pass
for path in ("/var/lib/egress", "/run/egress/broker", "/run/egress/broker.sock"):
    if os.path.exists(path):
        found.append(path)
print("keys in reach:", found or "none")
"""


def rows(world: World) -> list[Case]:
    """Every case of section D."""
    return [
        *_denied_hosts(world),
        *_denied_ports(world),
        *_server_names(world),
        *_fronting(world),
        *_unrelated_addresses(world),
        *_encrypted_hello(world),
        *_no_tls(world),
        *_pinning(world),
        _unread(world),
        *_bad_servers(world),
        *_forged_names(world),
        *_socks(world),
    ]


def _connect(authority: str) -> bytes:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def _inside(
    name: str, site: Site, send: bytes, expect: str, *, methods: tuple[str, ...] = ("GET",)
) -> list[Attempt]:
    """Bytes inside TLS for a site: in a tunnel, and past the proxy."""
    return [replace(by(way, site, name, send, expect), methods=methods) for way in (Way.TUNNEL, Way.PORT_443)]


def _denied_hosts(world: World) -> list[Case]:
    t = world.targets
    literals = [t.private, t.metadata, t.literal, t.www.address, "127.0.0.1", "[::1]", f"[::ffff:{t.private}]",
                f"[{t.public_6}]", "0.0.0.0"]  # fmt: skip
    attempts = [
        many(label("D1", number, text), [_connect(f"{text}:{port}") for port in (443, 80)], [IS_ADDRESS] * 2)
        for number, text in enumerate(literals)
    ]
    names = {"localhost": NOT_PUBLIC, "metadata.google.internal": NOT_PUBLIC, "printer.local": NOT_PUBLIC,
             "gateway.egress.internal": "403 own-address keep"}  # fmt: skip
    for number, (name, expect) in enumerate(names.items(), 50):
        attempts.append(many(label("D1", number, name), [_connect(f"{name}:443")], [expect]))
    private = Site(f"private.{t.zone}", t.private)
    resolved = by(Way.TUNNEL, private, "D1.60-private", get(private.name, "/"), "403 private-address keep")
    canaries = (opened(world, t.private, 443), opened(world, t.metadata, 80), opened(world, t.literal, 443),
                anything(world, t.www))  # fmt: skip
    denied = [
        many(
            "D1.70-not-listed", [_connect(f"{t.other.name}:443"), _connect(f"{t.zone}:443")], [NOT_LISTED] * 2
        )
    ]
    return [
        *refused_twice("D1-connect", "CONNECT to an address, to names of no public host, to a name of a private address",
                [*attempts, resolved], canaries),
        *refused_twice("D1-denied", "CONNECT to a host that is not listed", denied, (anything(world, t.other),),
                tenant="lister"),
    ]  # fmt: skip


def _denied_ports(world: World) -> list[Case]:
    www = world.targets.www
    not_allowed = "403 port-not-allowed keep"
    ports = {"22": not_allowed, "25": not_allowed, "8080": not_allowed, "1": not_allowed, "65535": not_allowed,
             "53": not_allowed, "853": not_allowed, "3128": not_allowed, "0": BAD_AUTHORITY, "65536": BAD_AUTHORITY,
             "+443": BAD_AUTHORITY, "0443": BAD_AUTHORITY, "443x": BAD_AUTHORITY, "": BAD_AUTHORITY,
             "443:22": BAD_AUTHORITY}  # fmt: skip
    attempts = [
        raw(label("D2", number, f"port-{port}"), _connect(f"{www.name}:{port}"), expect)
        for number, (port, expect) in enumerate(ports.items())
    ]
    plain = Attempt("D2.50-port-80-plain", Way.TUNNEL, (get(www.name, "/canary/D2"),), "closed",
                    connect=f"{www.name}:80")  # fmt: skip
    canaries = (opened(world, www.address, 22), opened(world, www.address, 8080), anything(world, www))
    return refused_twice("D2-ports", "CONNECT to other ports of a host that may be read", [*attempts, plain], canaries)  # fmt: skip


def _hello(name: str, world: World, hello: bytes, tunnel: str, direct: str) -> list[Attempt]:
    """A ClientHello in a tunnel for `www`, and sent to its address past the proxy."""
    www = world.targets.www
    return [
        Attempt(name, Way.TUNNEL, (hello,), tunnel, connect=f"{www.name}:443"),
        Attempt(name, Way.PORT_443, (hello,), direct, to=(www.address, 443)),
    ]


def _server_names(world: World) -> list[Case]:
    t = world.targets
    other, address = t.other.name.encode(), t.literal.encode()
    attempts = [
        *_hello("D3.0-none", world, client_hello(), UNRECOGNISED, UNRECOGNISED),
        *_hello("D3.1-address", world, client_hello(server_names(address)), UNRECOGNISED, UNRECOGNISED),
        *_hello("D3.2-own-address", world, client_hello(server_names(t.www.address.encode())), UNRECOGNISED,
                UNRECOGNISED),
        *_hello("D3.3-number", world, client_hello(server_names(b"2130706433")), UNRECOGNISED, UNRECOGNISED),
        *_hello("D3.4-ipv6", world, client_hello(server_names(b"::1")), UNRECOGNISED, UNRECOGNISED),
        Attempt("D3.5-other", Way.TUNNEL, (client_hello(server_names(other)),), UNRECOGNISED,
                connect=f"{t.www.name}:443"),
        Attempt("D3.6-other-upper", Way.TUNNEL, (client_hello(server_names(other.upper())),), UNRECOGNISED,
                connect=f"{t.www.name}:443"),
        Attempt("D3.7-other-connect", Way.TUNNEL, (client_hello(server_names(t.www.name.encode())),), UNRECOGNISED,
                connect=f"{t.other.name}:443"),
    ]  # fmt: skip
    same = [
        *_hello("D3.20-upper", world, client_hello(server_names(t.www.name.upper().encode())), "hello", "hello"),
        *_hello("D3.21-dot", world, client_hello(server_names(f"{t.www.name}.".encode())), "hello", "hello"),
    ]  # fmt: skip
    denied = [
        Attempt("D3.30-not-listed", Way.PORT_443, (get(t.other.name, "/canary/D3"),), "403 host-not-listed close",
                to=(t.www.address, 443), server_name=t.other.name),
        Attempt("D3.31-not-listed", Way.PORT_443, (get(t.other.name, "/canary/D3"),), "403 host-not-listed close",
                to=(t.other.address, 443), server_name=t.other.name),
    ]  # fmt: skip
    sites = (anything(world, t.www), anything(world, t.other))
    return [
        *refused_twice("D3-server-name", "a tunnel for one host, a TLS server name of another, of an address, none", attempts,
                (*sites, opened(world, t.literal, 443))),
        Case("D3-same-name", "the same name in another case, or with its dot, is the same", Outcome.REFUSED,
             command(same), (anything(world, t.www),), expect=lines(same)),
        refused("D3-denied", "past the proxy, the server name of a host that is not listed", denied, sites,
                tenant="lister"),
    ]  # fmt: skip


def _fronting(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www, t.other.name
    not_name = "421 host-not-server-name close"
    second = "200 served keep, "
    ok = get(www.name, "/canary/D4-first")
    h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    attempts = [
        *_inside("D4.0-host", www, get(other, "/canary/D4"), not_name),
        *_inside("D4.1-host-private", www, get(t.private, "/canary/D4"), not_name),
        *_inside("D4.2-host-below", www, get(f"x.{www.name}", "/canary/D4"), not_name),
        *_inside("D4.3-port", www, get(f"{www.name}:8443", "/canary/D4"), "421 port-mismatch close"),
        *_inside("D4.4-absolute", www, get(other, f"http://{other}/canary/D4"), "400 target-form close"),
        *_inside("D4.5-absolute-own", www, get(www.name, f"http://{www.name}/canary/D4"), "400 target-form close"),
        *_inside("D4.6-absolute-https", www, get(other, f"https://{other}/canary/D4"),
                 "400 target-https-in-plain close"),
        *_inside("D4.7-two-hosts", www, get(www.name, "/canary/D4", f"Host: {other}"), "400 field-repeated close"),
        *_inside("D4.8-http-2", www, h2, "505 h2-prior-knowledge close"),
        *_inside("D4.9-connect", www, _connect(f"{other}:443"), "400 connect-in-tunnel close", methods=("CONNECT",)),
        *_inside("D4.10-x-host", www, get(other, "/canary/D4", f"X-Forwarded-Host: {www.name}"), not_name),
    ]  # fmt: skip
    later = [
        *_inside("D4.20-second", www, ok + get(other, "/canary/D4"), second + not_name, methods=("GET", "GET")),
        *_inside("D4.21-second-connect", www, ok + _connect(f"{other}:443"),
                 second + "400 connect-in-tunnel close", methods=("GET", "CONNECT")),
        *_inside("D4.22-second-post", www, ok + get(www.name, "/canary/D4", "Content-Length: 0", method="POST"),
                 second + "403 path-not-allowed keep", methods=("GET", "POST")),
    ]  # fmt: skip
    return [
        *refused_twice("D4-fronting", "inside TLS for one host, a request for another (also as HTTP/2)", attempts,
                       (anything(world, www), anything(world, t.other)), hides=(anything(world, t.other),)),
        Case("D4-second", "the second request on a kept connection is for another host, or another method",
             Outcome.REFUSED, command(later), (requested(world, www, "/canary/D4"), anything(world, t.other)),
             expect=lines(later)),
    ]  # fmt: skip


def _unrelated_addresses(world: World) -> list[Case]:
    t = world.targets
    www = t.www.name
    addresses = [t.literal, t.private, t.metadata, t.other.address, t.public_resolver, t.decoy]
    attempts = [
        attempt
        for number, address in enumerate(addresses)
        for attempt in (
            Attempt(label("D5", number, f"{address}-tls"), Way.PORT_443, (get(www, "/canary/D5"),), NOT_PINNED,
                    to=(address, 443), server_name=www),
            raw(label("D5", number, f"{address}-plain"), get(www, "/canary/D5"), NOT_PINNED, to=(address, 80)),
        )
    ]  # fmt: skip
    canaries = tuple(opened(world, address, 443) for address in (t.literal, t.private, t.metadata, t.decoy))
    return [
        refused("D5-unrelated", "a host that may be read, at an address that is not its own", attempts,
                (*canaries, requested(world, t.www, "/canary/D5"), anything(world, t.other))),
    ]  # fmt: skip


def _encrypted_hello(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www.name.encode(), t.other.name.encode()
    attempts = [
        *_hello("D6.0-own", world, client_hello(server_names(www), encrypted_hello()), "hello", "hello"),
        *_hello("D6.1-no-outer", world, client_hello(encrypted_hello()), UNRECOGNISED, UNRECOGNISED),
        Attempt("D6.2-other-outer", Way.TUNNEL, (client_hello(server_names(other), encrypted_hello()),), UNRECOGNISED,
                connect=f"{t.www.name}:443"),
        Attempt("D6.3-public-outer", Way.TUNNEL, (client_hello(server_names(b"cloudflare-ech.com"), encrypted_hello()),),
                UNRECOGNISED, connect=f"{t.www.name}:443"),
    ]  # fmt: skip
    return refused_twice(
        "D6-encrypted-hello",
        "an encrypted ClientHello: TLS ends at the gateway under the outer name, which must be the tunnel's",
        attempts, (anything(world, t.www), anything(world, t.other)),
    )  # fmt: skip


def _no_tls(world: World) -> list[Case]:
    t = world.targets
    www = t.www
    spoken = {
        "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "closed"),
        "http": (get(www.name, "/canary/D8"), "closed"),
        "zeros": (bytes(200), "closed"),
        "smtp": (b"EHLO x\r\n", "closed"),
        "sslv2": (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40), "closed"),
        "empty-record": (b"\x16\x03\x01\x00\x00", UNREADABLE),
        "server-hello": (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", UNREADABLE),
        "other-version": (b"\x16\x02\x01\x00\x04\x01\x00\x00\x00", UNREADABLE),
        "interrupted": (
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x71\x03" + b"\x17\x03\x03\x00\x01x",
            UNREADABLE,
        ),
    }
    attempts = [
        Attempt(label("D8", number, name), Way.TUNNEL, (data,), expect, connect=f"{www.name}:443", wait=2.0)
        for number, (name, (data, expect)) in enumerate(spoken.items())
    ]
    attempts.append(
        Attempt(
            "D8.50-server-first", Way.TUNNEL, (), "silent", connect=f"{www.name}:443", wait=1.0, methods=()
        )
    )
    direct = [
        raw(label("D8", 60 + number, name), data, expect, to=(www.address, 443))
        for number, (name, data, expect) in enumerate((
            ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", "400 request-line-invalid close"),
            ("zeros", bytes(200), "400 octet-invalid close"),
            ("http", get(www.name, "/canary/D8"), "403 scheme-not-allowed keep"),
            ("redis", b"*1\r\n$4\r\nPING\r\n", "400 request-line-invalid close"),
            ("postgres", b"\0\0\0\x08\x04\xd2\x16\x2f", "400 octet-invalid close"),
        ))
    ]  # fmt: skip
    return [
        *refused_twice("D8-tunnel", "a tunnel in which no TLS is spoken, or none that can be read, or the server is to begin",
                attempts, (anything(world, www),)),
        refused("D8-direct", "port 443 past the proxy without TLS", direct, (anything(world, www),)),
    ]  # fmt: skip


def _pinning(world: World) -> list[Case]:
    www = world.targets.www
    request = get(www.name, "/canary/D10")
    pinned = [
        replace(a, trust=Trust.NOTHING)
        for a in _inside("D10.0-pinned", www, request, "tls CERTIFICATE_VERIFY_FAILED")
    ]
    asking = world.targets.asks_who
    asks_who = _inside("D10.5-client-certificate", asking, get(asking.name, "/canary/D10"), NO_TLS)
    name = server_names(www.name.encode())
    h2 = _hello("D10.10-h2-only", world, client_hello(name, protocols(b"h2")), NO_PROTOCOL, NO_PROTOCOL)
    both = [
        replace(a, alpn=("h2", "http/1.1"), show=True)
        for a in _inside("D10.20-offers-both", www, request, f"200 {SERVED} keep")
    ]  # fmt: skip
    return [
        refused("D10-pinned", "a client that trusts another authority only: it gives up, and nothing is passed by unread",
                pinned, (anything(world, www),)),
        refused("D10-client-certificate", "a server that wants a client's certificate: the gateway has none to lend",
                asks_who, ()),
        refused("D10-http-2", "a client that speaks HTTP/2 only", h2, (anything(world, www),)),
        Case("D10-alpn", "a client that offers HTTP/2 as well gets HTTP/1.1", Outcome.REACHES, command(both),
             (requested(world, www, "/canary/D10"),), expect=(*lines(both), "protocol=http/1.1"), forbid=("protocol=h2",)),
    ]  # fmt: skip


def _unread(world: World) -> Case:
    """D10: a host whose TLS the operator lets through unread is that host alone, at its own addresses, and TLS."""
    t = world.targets
    other, name = t.other, t.other.name.encode()
    tunnel = f"{other.name}:443"
    hello = client_hello(server_names(name))
    spoken = {
        "other-name": (client_hello(server_names(t.www.name.encode())), UNRECOGNISED),
        "no-name": (client_hello(), UNRECOGNISED),
        "name-is-address": (client_hello(server_names(t.private.encode())), UNRECOGNISED),
        "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", "closed"),
        "plain": (get(other.name, "/canary/D10-plain"), "closed"),
    }
    attempts = [
        Attempt(label("D10", 30 + number, word), Way.TUNNEL, (data,), expect, connect=tunnel)
        for number, (word, (data, expect)) in enumerate(spoken.items())
    ]
    attempts += [
        Attempt("D10.40-elsewhere", f"{address}:443", (hello,), "hello", to=(address, 443))
        for address in (t.www.address, t.literal)
    ]
    attempts += [
        raw("D10.41-port", _connect(f"{other.name}:22"), NOT_LISTED),
        raw(
            "D10.42-plain",
            get(other.name, f"http://{other.name}/canary/D10-plain"),
            NOT_LISTED,
        ),
    ]
    through = [
        replace(by(way, other, "D10.45-unread", get(other.name, "/canary/D10-unread"), f"200 {SERVED} keep"),
                trust=Trust.ANYTHING)
        for way in (Way.TUNNEL, Way.PORT_443)
    ]  # fmt: skip

    def stimulus(world: World) -> Output:
        listed = {"profile": "allowlist", "rules": [{"name": "site", "hosts": [t.www.name]}]}
        own = {**listed, "rules": [{"name": "site", "hosts": [other.name], "tls": "passthrough"}]}
        with tenant(world, json.dumps(listed)) as one:
            exempt = {"passthrough": [{"hosts": [other.name], "tenants": [one.name]}]}
            with operator(one, json.dumps(exempt)):
                answer = reload(world)
                done = world.run(one.name, command([*attempts, *through]))
            reload(world)
            one.write(json.dumps(own))
            asked = world.egress("policy", "check", str(one.file))
        said = f"of its own accord: {'refused' if asked.status else 'TAKEN'} {asked.text}"
        return Output(done.status, f"{answer.text}{done.text}{said}\n")

    return Case(
        "D10-unread", "a host whose TLS the operator lets through unread: other names, addresses, ports and protocols",
        Outcome.REFUSED, stimulus,
        (requested(world, other, "/canary/D10-plain"), opened(world, t.literal, 443)),
        expect=(*lines([*attempts, *through]), "of its own accord: refused"), disruptive=True,
    )  # fmt: skip


def _bad_servers(world: World) -> list[Case]:
    t = world.targets
    bad = {"expired": t.expired, "self-signed": t.self_signed, "wrong-host": t.wrong_host}
    attempts = [
        replace(attempt, trust=Trust.ANYTHING)
        for number, (fault, site) in enumerate(bad.items())
        for attempt in _inside(
            label("D11", number, fault), site, get(site.name, "/canary/D11"),
            f"502 upstream-certificate-{fault} keep",
        )
    ]  # fmt: skip
    alias = Site(f"alias-public.{t.zone}", t.www.address)
    attempts += _inside(
        "D11.10-other-name", alias, get(alias.name, "/canary/D11"), "502 upstream-certificate-wrong-host keep"
    )
    canaries: tuple[Canary, ...] = tuple(
        Canary(
            f"anything at {site.name}",
            world.requests(site.name),
            lambda site=site: world.fetch(site, "/canary/control", "--insecure"),  # type: ignore[misc]
        )
        for site in bad.values()
    )
    name = server_names(t.www.name.encode())
    old = [
        *_hello("D11.20-ssl-3", world, client_hello(name, version=SSL_3), OLD_VERSION, OLD_VERSION),
        *_hello("D11.21-tls-1.0", world, client_hello(name, version=TLS_1_0), OLD_VERSION, OLD_VERSION),
    ]
    return [
        *refused_twice("D11-servers", "servers whose certificate has expired, is their own, is for another name", attempts,
                (*canaries, requested(world, t.www, "/canary/D11"))),
        refused("D11-old-server", "a server that speaks TLS 1.1 at best", _inside(
            "D11.30-old-server", t.old_tls, get(t.old_tls.name, "/canary/D11"), NO_TLS), ()),
        refused("D11-versions", "a client of SSL 3 or TLS 1.0", old, (anything(world, t.www),)),
    ]  # fmt: skip


def _forged_names(world: World) -> list[Case]:
    t = world.targets
    www = t.www.name.encode()
    parent = www.partition(b".")[2]
    invalid = [b"*." + parent, b"*", b"a" * 64 + b"." + parent, b".".join([b"a" * 60] * 5), www + b"\r\n", www + b"\0",
               www + b"\0." + parent, www + b" ", b" " + www, www + b"/", www + b"%00", b"." + www, www + b"..",
               www + b"\\", www + b"@" + www, b"-" + www, "bücher.example".encode(), b"xn--99999999.example",
               www + b":443", b"[::1]", www + b"_", b'"' + www + b'"']  # fmt: skip
    attempts = [
        attempt
        for number, name in enumerate(invalid)
        for attempt in _hello(
            label("D12", number, name.decode("ascii", "backslashreplace")), world, client_hello(server_names(name)),
            UNRECOGNISED, UNRECOGNISED,
        )
    ]  # fmt: skip
    unreadable = {
        "two-names": client_hello(server_names(www, www)),
        "two-extensions": client_hello(server_names(www), server_names(www)),
        "other-kind": client_hello(server_names(www, kind=1)),
        "empty": client_hello(server_names(b"")),
    }
    for number, (name, hello) in enumerate(unreadable.items(), 50):
        attempts += _hello(label("D12", number, name), world, hello, UNREADABLE, UNREADABLE)
    own = "gateway.egress.internal"
    folder = f"http://{own}/.well-known/egress/"
    documents = [
        "ca.key",
        "ca-key.pem",
        "root.key",
        "intermediate.pem",
        "intermediate.key",
        "ca.pem.bak",
        "",
        "ca.pem?x",
    ]
    asked = [get(own, folder + document) for document in documents]
    own_pages = [many("D12.80-documents", asked, ["403 own-address keep"] * len(asked)),
                 raw("D12.81-above", get(own, f"{folder}../../ca.key"), "403 own-address keep"),
                 raw("D12.82-write", get(own, f"{folder}ca.pem", "Content-Length: 0", method="PUT"),
                     "403 own-address keep")]  # fmt: skip
    given = [replace(raw("D12.90-ca", get(own, f"{folder}ca.pem"), f"200 {SERVED} keep"), show=True)]
    return [
        *refused_twice("D12-forged-names", "server names for which no leaf may ever be made", attempts, (anything(world, t.www),)),
        refused("D12-documents", "the gateway's own documents: there is no key among them", own_pages, ()),
        Case("D12-ca", "what the gateway gives of its authority is a certificate alone", Outcome.REACHES, command(given),
             (), expect=(*lines(given), "BEGIN CERTIFICATE"), forbid=("PRIVATE",)),
        Case("D12-key", "no private key is in reach of a workload's files", Outcome.REFUSED,
             ("python3", "-c", KEY_SEARCH), (), expect=("keys in reach: none",), forbid=("keys in reach: [",)),
    ]  # fmt: skip


def _socks(world: World) -> list[Case]:
    t = world.targets
    a, b, c, d = (int(part) for part in t.literal.split("."))
    quad = bytes([a, b, c, d])
    port = (80).to_bytes(2, "big")
    octet = "400 octet-invalid close"
    host = t.www.name.encode()
    spoken = {
        "socks4-connect": b"\4\1" + port + quad + b"\0",
        "socks4-bind": b"\4\2" + port + quad + b"\0",
        "socks4a": b"\4\1" + port + b"\0\0\0\1\0" + host + b"\0",
        "socks5-connect": b"\5\1\0" + b"\5\1\0\1" + quad + port,
        "socks5-bind": b"\5\1\0" + b"\5\2\0\1" + quad + port,
        "socks5-udp-associate": b"\5\1\0" + b"\5\3\0\1" + quad + port,
        "socks5-name": b"\5\1\0" + b"\5\1\0\3" + bytes([len(host)]) + host + port,
        "socks5-password": b"\5\2\0\2" + b"\1\1a\1b" + b"\5\1\0\1" + quad + port,
        "proxy-protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get(t.www.name, "/canary/D14"),
        "proxy-protocol-2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + quad * 3 + get(t.www.name, "/canary/D14"),
    }
    told = {"proxy-protocol": "400 request-line-invalid close", "proxy-protocol-2": "400 leading-crlf close"}
    attempts = [
        attempt
        for number, (name, data) in enumerate(spoken.items())
        for attempt in (
            raw(label("D14", number, name), data, told.get(name, octet)),
            raw(label("D14", 50 + number, f"{name}-1080"), data, told.get(name, octet), to=(t.literal, 1080)),
        )
    ]
    return refused_twice("D14-socks", "SOCKS 4 and 5, and the PROXY protocol, to a port that speaks HTTP", attempts,
                   (opened(world, t.literal, 80), anything(world, t.www)))  # fmt: skip
