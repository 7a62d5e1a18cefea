"""D1, D2, D5, D8, D14: what a tunnel may be asked for, and what is spoken in it or past it."""

from __future__ import annotations

from appliance.verify.attempts import (
    Attempt,
    Way,
    anything,
    by,
    get,
    label,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Case
from appliance.verify.parts import opened, requested
from appliance.verify.tunnels import NOT_LISTED, UNREADABLE, connect
from appliance.verify.world import Site, World

IS_ADDRESS = "403 host-is-address keep"
NOT_PUBLIC = "403 name-not-public keep"
BAD_AUTHORITY = "400 authority-invalid close"
NOT_PINNED = "403 destination-not-pinned close"


def rows(world: World) -> list[Case]:
    """Every case of these attacks."""
    return [
        *_denied_hosts(world),
        *_denied_ports(world),
        *_unrelated_addresses(world),
        *_no_tls(world),
        *_socks(world),
    ]


def _denied_hosts(world: World) -> list[Case]:
    t = world.targets
    literals = [t.private, t.metadata, t.literal, t.www.address, "127.0.0.1", "[::1]", f"[::ffff:{t.private}]",
                f"[{t.public_6}]", "0.0.0.0"]  # fmt: skip
    attempts = [
        many(label("D1", number, text), [connect(f"{text}:{port}") for port in (443, 80)], [IS_ADDRESS] * 2)
        for number, text in enumerate(literals)
    ]
    names = {"localhost": NOT_PUBLIC, "metadata.google.internal": NOT_PUBLIC, "printer.local": NOT_PUBLIC,
             "gateway.egress.internal": "403 own-address keep"}  # fmt: skip
    for number, (name, expect) in enumerate(names.items(), 50):
        attempts.append(many(label("D1", number, name), [connect(f"{name}:443")], [expect]))
    private = Site(f"private.{t.zone}", t.private)
    resolved = by(Way.TUNNEL, private, "D1.60-private", get(private.name, "/"), "403 private-address keep")
    canaries = (opened(world, t.private, 443), opened(world, t.metadata, 80), opened(world, t.literal, 443),
                anything(world, t.www))  # fmt: skip
    denied = [
        many("D1.70-not-listed", [connect(f"{t.other.name}:443"), connect(f"{t.zone}:443")], [NOT_LISTED] * 2)
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
        raw(label("D2", number, f"port-{port}"), connect(f"{www.name}:{port}"), expect)
        for number, (port, expect) in enumerate(ports.items())
    ]
    plain = Attempt("D2.50-port-80-plain", Way.TUNNEL, (get(www.name, "/canary/D2"),), "closed",
                    connect=f"{www.name}:80")  # fmt: skip
    canaries = (opened(world, www.address, 22), opened(world, www.address, 8080), anything(world, www))
    return refused_twice("D2-ports", "CONNECT to other ports of a host that may be read", [*attempts, plain], canaries)  # fmt: skip


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
