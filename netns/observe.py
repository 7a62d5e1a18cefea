"""What the kernel holds, and what it remembers for us."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from netns import namespaces, nft
from netns.naming import TENANT_PREFIX, attachment_of, network_of
from netns.plumbing import Network
from netns.rtnetlink import NUD_PERMANENT, Sockets
from netns.state import (
    Desired,
    Link,
    Neighbour,
    Observed,
    Remembered,
    Route,
    RouteKind,
    RoutingRule,
    Side,
    Space,
)

_IFF_UP = 1
_BY_KERNEL = 2  # RTPROT_KERNEL: follows from an address, is not ours to keep
_PROC_SYS = Path("/proc/sys")


def observe(desired: Desired, sockets: Sockets) -> Observed:
    """What there is of all that `desired` speaks of.

    Raises `NamespaceError`, `NftError` or pyroute2's `NetlinkError`.
    """
    outer_table = (
        None if desired.outer_table is None else (desired.outer_table.family, desired.outer_table.name)
    )
    inner_table = (desired.inner_table.family, desired.inner_table.name)
    namespace = sockets.exists(Side.GATEWAY)
    tables = tuple({route.table for route in desired.routes})
    inner = Space()
    counts: dict[str, tuple[int, int]] = {}
    if namespace:
        inner = _space(sockets, Side.GATEWAY, desired.inner_sysctls, inner_table, tables)
        with namespaces.entered(desired.namespace):
            counts = nft.counters(*inner_table)
    outer = _space(sockets, Side.OUTSIDE, desired.outer_sysctls, outer_table, ())
    docker_user = _docker_user(desired.docker_user) if desired.docker_user else None
    return Observed(namespace, inner, outer, docker_user, counts)


def _space(
    sockets: Sockets,
    side: Side,
    sysctls: tuple[tuple[str, str], ...],
    table: tuple[str, str] | None,
    tables: tuple[int, ...],
) -> Space:
    rtnetlink = sockets.of(side)
    found = links(rtnetlink)
    names = {link.index: link.name for link in found.values()}
    with namespaces.entered(sockets.name(side)):
        values = {key: _sysctl(key) for key, _ in sysctls}
        listing = None if table is None else nft.listing(*table)
    return Space(
        links=found,
        addresses=frozenset(
            (names.get(a["index"], ""), IPv4Interface((a.get("local"), a["prefixlen"])))
            for a in rtnetlink.get_addr(family=socket.AF_INET)
        ),
        routes=frozenset(_routes(rtnetlink, names, tables)) if tables else frozenset(),
        rules=frozenset(
            RoutingRule(
                r.get("priority"),
                r.get("table"),
                r.get("fwmark") or 0,
                r.get("fwmask") or 0,
                r.get("iifname") or "",
            )
            for r in rtnetlink.get_rules(family=socket.AF_INET)
            if r.get("fwmark") or r.get("iifname")
        ),
        neighbours=frozenset(
            Neighbour(names.get(n["ifindex"], ""), IPv4Address(n.get("dst")), n.get("lladdr"))
            for n in rtnetlink.get_neighbours(family=socket.AF_INET)
            if n["state"] & NUD_PERMANENT and n.get("lladdr")
        ),
        sysctls=values,
        table=listing,
    )


def links(rtnetlink: Any) -> dict[str, Link]:
    """Links of one namespace by name."""
    return {
        message.get("ifname"): Link(
            message.get("ifname"),
            message["index"],
            bool(message["flags"] & _IFF_UP),
            message.get("ifalias") or "",
            message.get("address") or "",
        )
        for message in rtnetlink.get_links()
    }


def _routes(rtnetlink: Any, names: dict[int, str], tables: tuple[int, ...]) -> list[Route]:
    kinds = {kind.value: kind for kind in RouteKind}
    return [
        Route(
            IPv4Network((message.get("dst") or "0.0.0.0", message["dst_len"])),  # noqa: S104 - a default route
            names.get(message.get("oif"), ""),
            kinds[message["type"]],
            IPv4Address(message.get("gateway")) if message.get("gateway") else None,
            message.get("table"),
        )
        for message in rtnetlink.get_routes(family=socket.AF_INET)
        if message.get("table") in tables and message["proto"] != _BY_KERNEL and message["type"] in kinds
    ]


def _sysctl(key: str) -> str | None:
    try:
        return " ".join((_PROC_SYS / key).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return None


def ipv6_discards() -> int:
    """IPv6 packets that containers sent and no stack took, in the namespace of the calling thread."""
    total = 0
    for file in Path("/proc/thread-self/net/dev_snmp6").glob(f"{TENANT_PREFIX}*"):
        with suppress(OSError):  # the link went meanwhile
            fields = dict(line.split()[:2] for line in file.read_text(encoding="ascii").splitlines())
            total += int(fields.get("Ip6InDiscards", 0))
    return total


def _docker_user(rules: tuple[tuple[str, ...], ...]) -> frozenset[tuple[str, ...]] | None:
    """Which of our rules stand in DOCKER-USER; None when Docker has made no such chain."""
    if not has_docker_user():
        return None
    return frozenset(rule for rule in rules if iptables("-C", "DOCKER-USER", *rule).returncode == 0)


def has_docker_user() -> bool:
    """Whether there is an iptables chain DOCKER-USER."""
    try:
        return iptables("-n", "-L", "DOCKER-USER").returncode == 0
    except FileNotFoundError:
        return False


def iptables(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run iptables in the namespace of the calling thread, waiting for its lock."""
    return subprocess.run(["iptables", "-w", "5", *arguments], check=False, capture_output=True, text=True)


def remembered(namespace: str, table: str, sockets: Sockets) -> Remembered:
    """Networks and links as the kernel kept them over our restart; empty without a gateway namespace."""
    if not sockets.exists(Side.GATEWAY):
        return Remembered()
    with namespaces.entered(namespace):
        pools = nft.elements("inet", table, "networks")
    networks = tuple(network for network in map(_network, pools) if network is not None)
    rtnetlink = sockets.of(Side.GATEWAY)
    macs = {
        (n["ifindex"], n.get("dst")): n.get("lladdr")
        for n in rtnetlink.get_neighbours(family=socket.AF_INET)
        if n["state"] & NUD_PERMANENT
    }
    found = []
    for link in links(rtnetlink).values():
        plain = attachment_of(link.alias, "") if link.name.startswith(TENANT_PREFIX) else None
        if plain is None:
            continue
        mac = macs.get((link.index, str(plain.address)))
        attachment = attachment_of(link.alias, mac) if mac else None
        if attachment is not None:
            found.append((attachment, link.name, link.index))
    return Remembered(networks, tuple(found))


def _network(item: Any) -> Network | None:
    """A pool from nft's JSON: `{"elem": {"val": {"prefix": {"addr": …, "len": …}}, "comment": …}}`."""
    try:
        prefix = item["elem"]["val"]["prefix"]
        pool = IPv4Network((prefix["addr"], prefix["len"]))
        return network_of(pool, item["elem"]["comment"])
    except (KeyError, TypeError, ValueError):
        return None
