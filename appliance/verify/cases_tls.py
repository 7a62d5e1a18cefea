"""D10, D11: both ends of TLS. Clients and servers that pin, want a certificate, are too old, or show a bad one."""

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
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Canary, Case, Outcome, Output
from appliance.verify.hello import SSL_3, TLS_1_0, client_hello, protocols, server_names
from appliance.verify.parts import opened, requested
from appliance.verify.tenants import operator, reload, tenant
from appliance.verify.tunnels import NOT_LISTED, UNRECOGNISED, connect, greet, inside
from appliance.verify.world import Site, World

OLD_VERSION = "alert 70"
NO_PROTOCOL = "alert 120"
NO_TLS = "502 upstream-tls-protocol keep"


def rows(world: World) -> list[Case]:
    """Every case of these attacks."""
    return [
        *_pinning(world),
        _unread(world),
        *_bad_servers(world),
    ]


def _pinning(world: World) -> list[Case]:
    www = world.targets.www
    request = get(www.name, "/canary/D10")
    pinned = [
        replace(a, trust=Trust.NOTHING)
        for a in inside("D10.0-pinned", www, request, "tls CERTIFICATE_VERIFY_FAILED")
    ]
    asking = world.targets.asks_who
    asks_who = inside("D10.5-client-certificate", asking, get(asking.name, "/canary/D10"), NO_TLS)
    name = server_names(www.name.encode())
    h2 = greet("D10.10-h2-only", www, client_hello(name, protocols(b"h2")), NO_PROTOCOL, NO_PROTOCOL)
    both = [
        replace(a, alpn=("h2", "http/1.1"), show=True)
        for a in inside("D10.20-offers-both", www, request, f"200 {SERVED} keep")
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
        raw("D10.41-port", connect(f"{other.name}:22"), NOT_LISTED),
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
        for attempt in inside(
            label("D11", number, fault), site, get(site.name, "/canary/D11"),
            f"502 upstream-certificate-{fault} keep",
        )
    ]  # fmt: skip
    alias = Site(f"alias-public.{t.zone}", t.www.address)
    attempts += inside(
        "D11.10-other-name", alias, get(alias.name, "/canary/D11"), "502 upstream-certificate-wrong-host keep"
    )
    canaries: tuple[Canary, ...] = tuple(
        Canary(
            f"anything at {site.name}",
            world.requests(site.name),
            lambda site=site: world.fetch(site, "/canary/control", "--insecure"),  # type: ignore[misc]  # the default binds the loop's value
        )
        for site in bad.values()
    )
    name = server_names(t.www.name.encode())
    old = [
        *greet("D11.20-ssl-3", t.www, client_hello(name, version=SSL_3), OLD_VERSION, OLD_VERSION),
        *greet("D11.21-tls-1.0", t.www, client_hello(name, version=TLS_1_0), OLD_VERSION, OLD_VERSION),
    ]
    return [
        *refused_twice("D11-servers", "servers whose certificate has expired, is their own, is for another name", attempts,
                (*canaries, requested(world, t.www, "/canary/D11"))),
        refused("D11-old-server", "a server that speaks TLS 1.1 at best", inside(
            "D11.30-old-server", t.old_tls, get(t.old_tls.name, "/canary/D11"), NO_TLS), ()),
        refused("D11-versions", "a client of SSL 3 or TLS 1.0", old, (anything(world, t.www),)),
    ]  # fmt: skip
