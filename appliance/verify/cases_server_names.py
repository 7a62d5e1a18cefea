"""D3, D4, D6, D12: the names that TLS is opened under, and those that are asked for inside it."""

from __future__ import annotations

from dataclasses import replace

from appliance.verify.attempts import (
    SERVED,
    Attempt,
    Way,
    anything,
    command,
    get,
    label,
    lines,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Case, Outcome
from appliance.verify.hello import client_hello, encrypted_hello, server_names
from appliance.verify.parts import opened, requested
from appliance.verify.tunnels import UNREADABLE, UNRECOGNISED, connect, greet, inside
from appliance.verify.world import World

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
    """Every case of these attacks."""
    return [
        *_server_names(world),
        *_fronting(world),
        *_encrypted_hello(world),
        *_forged_names(world),
    ]


def _server_names(world: World) -> list[Case]:
    t = world.targets
    other, address = t.other.name.encode(), t.literal.encode()
    attempts = [
        *greet("D3.0-none", t.www, client_hello(), UNRECOGNISED, UNRECOGNISED),
        *greet("D3.1-address", t.www, client_hello(server_names(address)), UNRECOGNISED, UNRECOGNISED),
        *greet("D3.2-own-address", t.www, client_hello(server_names(t.www.address.encode())), UNRECOGNISED,
                UNRECOGNISED),
        *greet("D3.3-number", t.www, client_hello(server_names(b"2130706433")), UNRECOGNISED, UNRECOGNISED),
        *greet("D3.4-ipv6", t.www, client_hello(server_names(b"::1")), UNRECOGNISED, UNRECOGNISED),
        Attempt("D3.5-other", Way.TUNNEL, (client_hello(server_names(other)),), UNRECOGNISED,
                connect=f"{t.www.name}:443"),
        Attempt("D3.6-other-upper", Way.TUNNEL, (client_hello(server_names(other.upper())),), UNRECOGNISED,
                connect=f"{t.www.name}:443"),
        Attempt("D3.7-other-connect", Way.TUNNEL, (client_hello(server_names(t.www.name.encode())),), UNRECOGNISED,
                connect=f"{t.other.name}:443"),
    ]  # fmt: skip
    same = [
        *greet("D3.20-upper", t.www, client_hello(server_names(t.www.name.upper().encode())), "hello", "hello"),
        *greet("D3.21-dot", t.www, client_hello(server_names(f"{t.www.name}.".encode())), "hello", "hello"),
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
        *inside("D4.0-host", www, get(other, "/canary/D4"), not_name),
        *inside("D4.1-host-private", www, get(t.private, "/canary/D4"), not_name),
        *inside("D4.2-host-below", www, get(f"x.{www.name}", "/canary/D4"), not_name),
        *inside("D4.3-port", www, get(f"{www.name}:8443", "/canary/D4"), "421 port-mismatch close"),
        *inside("D4.4-absolute", www, get(other, f"http://{other}/canary/D4"), "400 target-form close"),
        *inside("D4.5-absolute-own", www, get(www.name, f"http://{www.name}/canary/D4"), "400 target-form close"),
        *inside("D4.6-absolute-https", www, get(other, f"https://{other}/canary/D4"),
                 "400 target-https-in-plain close"),
        *inside("D4.7-two-hosts", www, get(www.name, "/canary/D4", f"Host: {other}"), "400 field-repeated close"),
        *inside("D4.8-http-2", www, h2, "505 h2-prior-knowledge close"),
        *inside("D4.9-connect", www, connect(f"{other}:443"), "400 connect-in-tunnel close", methods=("CONNECT",)),
        *inside("D4.10-x-host", www, get(other, "/canary/D4", f"X-Forwarded-Host: {www.name}"), not_name),
    ]  # fmt: skip
    later = [
        *inside("D4.20-second", www, ok + get(other, "/canary/D4"), second + not_name, methods=("GET", "GET")),
        *inside("D4.21-second-connect", www, ok + connect(f"{other}:443"),
                 second + "400 connect-in-tunnel close", methods=("GET", "CONNECT")),
        *inside("D4.22-second-post", www, ok + get(www.name, "/canary/D4", "Content-Length: 0", method="POST"),
                 second + "403 path-not-allowed keep", methods=("GET", "POST")),
    ]  # fmt: skip
    return [
        *refused_twice("D4-fronting", "inside TLS for one host, a request for another (also as HTTP/2)", attempts,
                       (anything(world, www), anything(world, t.other)), hides=(anything(world, t.other),)),
        Case("D4-second", "the second request on a kept connection is for another host, or another method",
             Outcome.REFUSED, command(later), (requested(world, www, "/canary/D4"), anything(world, t.other)),
             expect=lines(later)),
    ]  # fmt: skip


def _encrypted_hello(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www.name.encode(), t.other.name.encode()
    attempts = [
        *greet("D6.0-own", t.www, client_hello(server_names(www), encrypted_hello()), "hello", "hello"),
        *greet("D6.1-no-outer", t.www, client_hello(encrypted_hello()), UNRECOGNISED, UNRECOGNISED),
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
        for attempt in greet(
            label("D12", number, name.decode("ascii", "backslashreplace")), t.www, client_hello(server_names(name)),
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
        attempts += greet(label("D12", number, name), t.www, hello, UNREADABLE, UNREADABLE)
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
