"""C11 to C13: special addresses themselves, as literals: all ranges, those of metadata, and IPv4 inside IPv6."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from appliance.addresses import BLOCKED_V4, BLOCKED_V6, AddressClass
from appliance.verify.attempts import (
    Attempt,
    anything,
    get,
    label,
    many,
    raw,
    refused,
    refused_twice,
)
from appliance.verify.case import Case
from appliance.verify.parts import opened
from appliance.verify.world import World

IS_ADDRESS = "403 host-is-address keep"
# Where a container's own kernel answers, or sends nothing: no packet of it comes as far as the gateway.
_STAYS_INSIDE = frozenset({AddressClass.LOOPBACK, AddressClass.MULTICAST, AddressClass.RESERVED,
                           AddressClass.UNSPECIFIED})  # fmt: skip


def rows(world: World) -> list[Case]:
    """Every case of these attacks."""
    return [
        *_wrapped_addresses(world),
        *_every_range(world),
        *_metadata(world),
    ]


def wrappings(address: IPv4Address) -> tuple[IPv6Address, ...]:
    """IPv6 addresses out of which some translator or tunnel takes `address`."""
    low = int(address)
    return tuple(
        IPv6Address(value)
        for value in (
            0xFFFF << 32 | low,  # mapped (RFC 4291)
            low,  # compatible (RFC 4291)
            0xFFFF0000 << 32 | low,  # SIIT (RFC 2765)
            0x64FF9B << 96 | low,  # NAT64, well known (RFC 6052)
            0x64FF9B0001 << 80 | low,  # NAT64, local (RFC 8215)
            0x64FF9B0001 << 80 | (low >> 16) << 64 | (low & 0xFFFF) << 40,  # the same with a /48
            0x2002 << 112 | low << 80 | 1,  # 6to4 (RFC 3056)
            0x2001 << 112 | low ^ 0xFFFFFFFF,  # Teredo (RFC 4380)
            0xFE80 << 112 | 0x5EFE << 32 | low,  # ISATAP (RFC 5214)
            0x20014860 << 96 | 0x2005EFE << 32 | low,  # ISATAP on a global prefix
        )
    )


def _wrapped_addresses(world: World) -> list[Case]:
    t = world.targets
    hidden = [t.private, t.metadata, "127.0.0.1", t.www.address]
    attempts = []
    for number, text in enumerate(hidden):
        address = IPv4Address(text)
        forms = [f"[{wrapping}]" for wrapping in wrappings(address)]
        forms += [
            f"[::ffff:{address}]",
            f"[::{address}]",
            f"[64:ff9b::{address}]",
            f"[0:0:0:0:0:FFFF:{address}]",
        ]
        requests = [request for form in forms for request in _asks_for(form)]
        attempts.append(many(label("C11", number, text), requests, [IS_ADDRESS] * len(requests)))
        host = get(forms[0], "/canary/C11")
        attempts.append(
            raw(label("C11", 50 + number, f"{text}-host"), host, IS_ADDRESS, to=(t.www.address, 80))
        )
    return refused_twice(
        "C11-wrapped", "IPv4 inside IPv6: mapped, compatible, SIIT, NAT64, 6to4, Teredo, ISATAP", attempts,
        (opened(world, t.private, 80), opened(world, t.metadata, 80), anything(world, t.www)),
    )  # fmt: skip


def _asks_for(authority: str) -> list[bytes]:
    return [
        get(authority, f"http://{authority}/canary/C12"),
        f"CONNECT {authority}:443 HTTP/1.1\r\nHost: {authority}:443\r\n\r\n".encode(),
    ]


def _every_range(world: World) -> list[Case]:
    """C12: the table of `appliance.addresses`, its first and last addresses."""
    t = world.targets
    explicit: list[Attempt] = []
    direct: list[Attempt] = []
    for number, block in enumerate((*BLOCKED_V4, *BLOCKED_V6)):
        ends = dict.fromkeys((block.network.network_address, block.network.broadcast_address))
        texts = [f"[{end}]" if isinstance(end, IPv6Address) else str(end) for end in ends]
        requests = [request for text in texts for request in _asks_for(text)]
        explicit.append(
            many(label("C12", number, str(block.network)), requests, [IS_ADDRESS] * len(requests))
        )
        if isinstance(block.network, IPv4Network) and block.kind not in _STAYS_INSIDE:
            direct += [
                raw(
                    label("C12", number, f"{text}-direct"),
                    get(text, "/canary/C12"),
                    IS_ADDRESS,
                    to=(text, 80),
                )
                for text in texts
            ]
    canaries = tuple(opened(world, address, 80) for address in (t.private, t.metadata, *_four(t.special)))
    return [
        *refused_twice("C12-explicit", "the first and the last address of every special range, through the proxy", explicit,
                canaries),
        refused("C12-direct", "the same past the proxy, where a container's packet can lead there", direct, canaries),
    ]  # fmt: skip


def _four(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if ":" not in address]


def _metadata(world: World) -> list[Case]:
    """C13: the ways in which clouds' own clients ask."""
    t = world.targets
    asks = [
        ("imds-v1", "GET", "/latest/meta-data/iam/security-credentials/", ()),
        ("imds-v2", "PUT", "/latest/api/token", ("X-aws-ec2-metadata-token-ttl-seconds: 60", "Content-Length: 0")),
        ("azure", "GET", "/metadata/instance?api-version=2021-02-01", ("Metadata: true",)),
        ("gcp", "GET", "/computeMetadata/v1/", ("Metadata-Flavor: Google",)),
        ("ecs", "GET", "/v2/credentials/x", ()),
    ]  # fmt: skip
    hosts = dict.fromkeys((t.metadata, "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192",
                           "100.100.100.200", "169.254.170.23", *_four(t.special)))  # fmt: skip
    explicit: list[Attempt] = []
    direct: list[Attempt] = []
    not_public = "403 name-not-public keep"
    for number, host in enumerate((*hosts, "[fd00:ec2::254]", "[fd20:ce::254]")):
        requests = [
            get(host, f"http://{host}{path}", *fields, method=method) for _, method, path, fields in asks
        ]
        explicit.append(many(label("C13", number, host), requests, [IS_ADDRESS] * len(requests)))
    for number, host in enumerate(hosts):
        requests = [get(host, path, *fields, method=method) for _, method, path, fields in asks]
        attempt = many(label("C13", number, host), requests, [IS_ADDRESS] * len(requests))
        direct.append(replace(attempt, to=(host, 80), way="direct"))
    for number, name in enumerate(
        ("metadata.google.internal", "metadata.google.internal.", "metadata", "metadata.goog.internal")
    ):
        explicit.append(many(label("C13", 50 + number, name), _asks_for(name), [not_public] * 2))
        direct.append(raw(label("C13", 50 + number, name), get(name, "/computeMetadata/v1/"), not_public,
                          to=(t.metadata, 80)))  # fmt: skip
    canaries = tuple(opened(world, address, 80) for address in (t.metadata, *_four(t.special)))
    return [
        *refused_twice("C13-explicit", "cloud metadata as each cloud's client asks for it, through the proxy", explicit,
                canaries),
        refused("C13-direct", "the same past the proxy", direct, canaries),
    ]  # fmt: skip
