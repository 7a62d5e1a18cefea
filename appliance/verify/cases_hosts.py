"""C1 to C9: the text of a host. Whatever hides an address or another host in it is refused before anything is asked for.

Every text stands where a host can stand: in the Host field of a connection to a site, in an absolute target and
in a CONNECT to the explicit proxy. (Server names of TLS are in `cases_server_names.py`, addresses as literals in
`cases_addresses.py`.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address

from appliance.verify.attempts import (
    Attempt,
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
from appliance.verify.case import Case, Outcome, Output
from appliance.verify.parts import asked, opened, requested
from appliance.verify.tenants import tenant
from appliance.verify.world import Site, World

IS_ADDRESS = "403 host-is-address keep"
NOT_LISTED = "403 host-not-listed keep"
BAD_HOST = "400 host-invalid close"
BAD_AUTHORITY = "400 authority-invalid close"
BAD_LINE = "400 request-line-invalid close"
BAD_OCTET = "400 octet-invalid close"
BARE = "400 bare-line-end close"
INVALID = (BAD_HOST, BAD_AUTHORITY, BAD_AUTHORITY)


def rows(world: World) -> list[Case]:
    """Every case of these attacks."""
    return [
        *_disguised_addresses(world),
        *_control_octets(world),
        *_dots_and_case(world),
        *_userinfo(world),
        *_brackets(world),
        *_suffixes(world),
        *_wildcards(world),
    ]


def _standing(
    attack: str, number: int, text: bytes, expect: tuple[str, str, str], world: World
) -> list[Attempt]:
    """One text in the three places; `expect` is for Host, absolute target and CONNECT in this order."""
    name = label(attack, number, text.decode("ascii", "backslashreplace"))
    www = world.targets.www
    path = f"/canary/{attack}".encode()
    return [
        raw(
            f"{name}-host",
            b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, text),
            expect[0],
            to=(www.address, 80),
        ),
        raw(
            f"{name}-target",
            b"GET http://%b%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (text, path, text),
            expect[1],
        ),
        raw(
            f"{name}-connect",
            b"CONNECT %b:443 HTTP/1.1\r\nHost: %b:443\r\n\r\n" % (text, text),
            expect[2],
        ),
    ]


def _all(
    attack: str, texts: Iterable[tuple[bytes, tuple[str, str, str]]], world: World, first: int = 0
) -> list[Attempt]:
    return [
        attempt
        for number, (text, expect) in enumerate(texts, first)
        for attempt in _standing(attack, number, text, expect, world)
    ]


def disguises(address: IPv4Address) -> tuple[str, ...]:
    """What inet_aton(3) reads as `address`, and a strict reader not (the dotted quad itself is not here)."""
    value, (a, b, c, d) = int(address), address.packed
    return (
        str(value),
        hex(value),
        f"0{value:o}",
        ".".join(hex(part) for part in (a, b, c, d)),
        ".".join(f"0{part:o}" for part in (a, b, c, d)),
        ".".join(f"{part:03d}" for part in (a, b, c, d)) if min(a, b, c, d) < 100 else f"{a}.{b}.{c}.0{d}",
        f"{a}.{(b << 16) | (c << 8) | d}",
        f"{a}.{b}.{(c << 8) | d}",
        f"{a:#x}.{(b << 16) | (c << 8) | d}",
        f"{address}.",
    )


def _disguised_addresses(world: World) -> list[Case]:
    t = world.targets
    hidden = [IPv4Address(t.private), IPv4Address(t.metadata), IPv4Address("127.0.0.1")]
    texts = [text for address in hidden for text in disguises(address)]
    texts += ["0", "0x", "127.1", "256.0.0.1", "1.2.3.4.5", f"{t.www.name}.0x7f", f"{t.www.name}.12"]
    attempts = _all("C1", ((text.encode(), INVALID) for text in texts), world)
    # The C library of the workload does read them, and connects: there they are addresses like any other.
    for number, text in enumerate(disguises(hidden[0])[:5]):
        name = label("C1", 100 + number, f"by-libc-{text}")
        attempts.append(raw(name, get(t.private, "/canary/C1"), IS_ADDRESS, to=(text, 80)))
    return refused_twice(
        "C1-disguised", "an IPv4 address as a number, in octal, in hexadecimal, shortened", attempts,
        (opened(world, t.private, 80), opened(world, t.metadata, 80), anything(world, t.www)),
    )  # fmt: skip


def _control_octets(world: World) -> list[Case]:
    t = world.targets
    www, other = t.www.name.encode(), t.other.name.encode()
    literal = t.literal.encode()
    nul = [(literal + b"\0." + www, (BAD_OCTET,) * 3), (www + b"\0", (BAD_OCTET,) * 3)]
    attempts = _all("C2", nul, world)
    socks = (
        b"\5\1\0" + b"\5\1\0\3" + bytes([len(literal) + len(www) + 2]) + literal + b"\0." + www + b"\0\x50"
    )
    attempts.append(raw("C2.9-socks5-domain-name", socks, BAD_OCTET))
    no_field = "400 field-line-invalid close"
    texts = [
        (www + b"\r\n." + other, (no_field, BAD_LINE, BAD_LINE)),
        (www + b"\n." + other, (BARE,) * 3),
        (www + b"\r." + other, (BARE,) * 3),
        (www + b"\t." + other, (BAD_HOST, BAD_LINE, BAD_LINE)),
        (www + b" " + other, (BAD_HOST, BAD_LINE, BAD_LINE)),
        (www + b"\\." + other, INVALID),
        (www + b"%00." + other, INVALID),
        (www + b"%0d%0aX-A:%20b", INVALID),
        (www + b"%2e" + other, INVALID),
        (www + b"\x7f", (BAD_OCTET,) * 3),
        (www + b"\xe2\x80\x8b", (BAD_OCTET,) * 3),
        ("１２７.0.0.1".encode(), (BAD_OCTET,) * 3),
        (www + b"," + other, INVALID),
        (www + b"_", INVALID),
        (b"-" + www, INVALID),
        (b"a" * 64 + b"." + www, INVALID),
        (b"xn--99999999." + www, INVALID),
        (b".".join([b"a" * 63] * 4), INVALID),
    ]
    canaries = (opened(world, t.literal, 80), anything(world, t.other))
    every = (*canaries, anything(world, t.www))
    return [
        *refused_twice("C2-nul", "NUL in a host, also in a name for SOCKS 5", attempts, every, hides=canaries),
        *refused_twice("C3-octets", "line ends, blanks, backslash, escapes and other octets in a host",
                       _all("C3", texts, world), every, hides=canaries),
    ]  # fmt: skip


def _dots_and_case(world: World) -> list[Case]:
    t = world.targets
    www = t.www
    texts = [(f"{www.name}..", INVALID), (f".{www.name}", INVALID), (www.name.replace(".", "..", 1), INVALID),
             (".", INVALID), ("..", INVALID), ("", INVALID)]  # fmt: skip
    dots = _all("C4", ((text.encode(), expect) for text, expect in texts), world)
    shown = [
        _shown(by(Way.PORT_80, www, "C4.20-one-dot", get(f"{www.name}.", "/canary/C4"), "200 served keep")),
        _shown(raw("C4.21-one-dot", get(f"{www.name}.", f"http://{www.name}./canary/C4"), "200 served keep")),
        _shown(by(Way.TUNNEL, www, "C4.22-one-dot", get(f"{www.name}.", "/canary/C4"), "200 served keep")),
        _shown(by(Way.PORT_80, www, "C5.0-upper", get(www.name.upper(), "/canary/C5"), "200 served keep")),
        _shown(raw("C5.1-upper", get(www.name.title(), f"HTTP://{www.name.upper()}/canary/C5"), "200 served keep")),
        _shown(by(Way.PORT_443, www, "C5.2-upper", get(www.name.title(), "/canary/C5"), "200 served keep")),
    ]  # fmt: skip
    other = t.other.name
    denied = _all("C5", [(other.upper().encode(), (NOT_LISTED,) * 3), (f"{other.title()}.".encode(), (NOT_LISTED,) * 3)],
                  world)  # fmt: skip
    return [
        refused("C4-dots", "empty labels: a dot too many anywhere", dots, (anything(world, www),)),
        Case(
            "C5-one-form", "one trailing dot and any case are the same host, and the site sees its one form (C4)",
            Outcome.REACHES, command(shown),
            (requested(world, www, "/canary/C4"), requested(world, www, "/canary/C5")),
            expect=(*lines(shown), f"| host={www.name}\n"),
            forbid=("host=" + www.name + ".", "host=" + www.name.upper(), "host=" + www.name.title()),
        ),
        *refused_twice("C5-denied", "a host that is not listed, in other cases", denied, (anything(world, t.other),),
                tenant="lister"),
    ]  # fmt: skip


def _shown(attempt: Attempt) -> Attempt:
    return replace(attempt, show=True)


def _userinfo(world: World) -> list[Case]:
    t = world.targets
    www, private = t.www.name, t.private
    userinfo = "400 authority-userinfo close"
    targets = [
        (f"http://{www}@{private}/", private, userinfo),
        (f"http://{www}:80@{private}/", private, userinfo),
        (f"http://{private}@{www}/", www, userinfo),
        (f"http://{www}:x@{www}/", www, userinfo),
        (f"http://@{private}/", private, userinfo),
        (f"http://{private}\\@{www}/", www, userinfo),
        (f"http://{www}%40{private}/", private, BAD_AUTHORITY),
        (f"http://{private}#@{www}/", www, "400 target-fragment close"),
        (f"http://{private}?@{www}/", www, "400 host-mismatch close"),
        (f"http://{private}/@{www}/", www, "400 host-mismatch close"),
        (f"http://{private}?@{www}/", private, IS_ADDRESS),
        (f"http://{private};@{www}/", www, userinfo),
        (f"http://{private}\\.{www}/", www, BAD_AUTHORITY),
        (f"http:/{private}/", www, "400 target-form close"),
        (f"//{private}@{www}/", www, "400 path-empty-segment close"),
    ]
    attempts = [
        raw(label("C7", number, target), get(host, target), expect)
        for number, (target, host, expect) in enumerate(targets)
    ]
    attempts.append(
        raw(
            "C7.50-connect",
            f"CONNECT {www}@{private}:443 HTTP/1.1\r\nHost: {www}\r\n\r\n".encode(),
            userinfo,
        )
    )
    attempts.append(
        raw("C7.51-host", get(f"{www}@{private}", "/canary/C7"), BAD_HOST, to=(t.www.address, 80))
    )
    canary = opened(world, private, 80)
    return refused_twice(
        "C7-userinfo", "another host behind '@', '#@', '?@', a backslash", attempts,
        (canary, anything(world, t.www)), hides=(canary,),
    )  # fmt: skip


def _brackets(world: World) -> list[Case]:
    t = world.targets
    texts = ["[[::1]]", f"[{t.private}]", f"[{t.www.name}]", "[::1", "::1]", "::1", "[fe80::1%25eth0]", "[::1%eth0]",
             "[fe80::1%eth0]", "[]", "[::1].", "[::1]x", "[v1.x]", "[::1%25lo]", "[0:0:0:0:0:0:0:0:1]",
             "[::10.0.1.05]"]  # fmt: skip
    attempts = _all("C8", ((text.encode(), INVALID) for text in texts), world)
    canary = opened(world, t.private, 80)
    return refused_twice(
        "C8-brackets", "brackets round what is no IPv6 address, zone identifiers", attempts,
        (canary, anything(world, t.www)), hides=(canary,),
    )  # fmt: skip


def _suffixes(world: World) -> list[Case]:
    t = world.targets
    www = t.www.name
    names = [f"evil-{www}", f"not{www}", f"x.{www}", f"{www}x", f"{www}-x.{t.leaks}", f"{www}.{t.leaks}",
             f"evil.{www}.{t.leaks}", www.partition(".")[2], f"{www}.com", f"www-{www}"]  # fmt: skip
    attempts = _all("C9", ((name.encode(), (NOT_LISTED,) * 3) for name in names), world)
    for number, name in enumerate(names):
        inside = Attempt(
            label("C9", 50 + number, name), Way.PORT_443, (get(name, "/canary/C9"),), "403 host-not-listed close",
            to=(t.www.address, 443), server_name=name,
        )  # fmt: skip
        attempts.append(inside)
    wildcards = [b"*." + www.partition(".")[2].encode(), b"*.com", b"*"]
    attempts += _all("C9", ((text, INVALID) for text in wildcards), world, first=70)
    return refused_twice(
        "C9-suffixes", "names that begin or end as the one that is listed, and wildcards as names", attempts,
        (asked(world, f"{www}.{t.leaks}"), opened(world, t.decoy, 443), anything(world, t.www)),
        tenant="lister",
    )  # fmt: skip


# Patterns that no document may have: they cover what others register, or are none.
TOO_WIDE = ("*.com", "*.co.uk", "*.github.io")
NO_PATTERNS = ("*", "*.*.net", "a.*.net", "*a.example.net", "a*.example.net", "**.example.net", ".example.net", "*.",
               "*.10.0.0.1")  # fmt: skip


def _wildcards(world: World) -> list[Case]:
    """A tenant whose one rule is for all names below the zone."""
    t = world.targets
    zone, leak = t.zone, f"{t.zone}.{t.leaks}"
    names = [
        zone,
        f"evil-{zone}",
        f"evil{zone}",
        leak,
        f"evil.{leak}",
        f"{zone}x",
        t.www.name,
    ]
    attempts = _all("C9", ((name.encode(), (NOT_LISTED,) * 3) for name in names), world, first=200)
    attempts += _all(
        "C9", ((f"{text}{zone}".encode(), INVALID) for text in ("*.", ".", "..", "a..")), world, first=230
    )
    private = Site(f"private.{zone}", t.private)
    attempts += [
        by(way, private, "C9.240-private", get(private.name, "/canary/C9"), "403 private-address keep")
        for way in (Way.PROXY, Way.TUNNEL)
    ]
    liar = t.liar
    below = [
        by(way, liar, "C9.250-below", get(liar.name, "/canary/honest"), "200 served keep") for way in Way
    ]

    every = (*TOO_WIDE, *NO_PATTERNS)

    def stimulus(world: World) -> Output:
        with tenant(world, _listing(f"*.{zone}")) as one:
            done = world.run(one.name, command([*attempts, *below]))
            told = ""
            for patterns in (TOO_WIDE, NO_PATTERNS):
                one.write(_listing(*patterns))
                told += world.egress("policy", "check", str(one.file)).text
        refused = [pattern for pattern in every if f": '{pattern}' " in told]
        return Output(done.status, f"{done.text}{told}refused {len(refused)} of {len(every)} patterns\n")

    return [
        Case("C9-wildcard", "a rule for all names below one: its apex, names that only look so, patterns that cover more",
             Outcome.REFUSED, stimulus,
             (asked(world, leak), asked(world, f"evil.{leak}"), opened(world, t.private, 80), anything(world, t.www)),
             expect=(*lines([*attempts, *below]), f"refused {len(every)} of {len(every)} patterns")),
    ]  # fmt: skip


def _listing(*hosts: str) -> str:
    """A rule for each, plain and in TLS."""
    rules = [
        {"name": f"below-{number}", "hosts": [host], "schemes": ["http", "https"], "ports": [80, 443]}
        for number, host in enumerate(hosts)
    ]
    return json.dumps({"profile": "allowlist", "rules": rules})
