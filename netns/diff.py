"""Steps from what is there to what should be, in the order that leaves no gap (pure).

Rules stand before a link comes up, and what should not be there goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from netns.naming import TENANT_PREFIX
from netns.state import Desired, Observed, Route, RouteKind, Side, Space
from netns.steps import (
    AcceptInDockerUser,
    AddAddress,
    AddRoute,
    AddRule,
    CreateNamespace,
    CreateUplink,
    RemoveAddress,
    RemoveLink,
    RemoveRoute,
    ReplaceTable,
    SetNeighbour,
    SetSysctl,
    SetUp,
    Step,
)

FORWARDING = "net/ipv4/ip_forward"
"""Writing it resets the links' own settings (kernel, ip-sysctl.rst): they are all set again after it."""

_LOOPBACK = IPv4Network("127.0.0.0/8")


def difference(desired: Desired, observed: Observed) -> tuple[Step, ...]:
    """Steps that turn `observed` into `desired`; empty when nothing is to be done."""
    return tuple(_steps(desired, observed))


def _steps(desired: Desired, observed: Observed) -> Iterator[Step]:
    inner, outer = observed.inner, observed.outer
    if not observed.namespace:
        yield CreateNamespace(desired.namespace)
    yield from _sysctls(Side.GATEWAY, desired.inner_sysctls, inner)
    strays = [n for n in sorted(inner.links) if n.startswith(TENANT_PREFIX) and n not in desired.links]
    yield from (RemoveLink(Side.GATEWAY, name) for name in strays)
    if inner.table != desired.inner_table.canonical:
        yield ReplaceTable(Side.GATEWAY, desired.inner_table)
    if desired.outer_table is not None and outer.table != desired.outer_table.canonical:
        yield ReplaceTable(Side.OUTSIDE, desired.outer_table)
    present = observed.docker_user
    if present is not None:
        yield from (AcceptInDockerUser(rule) for rule in desired.docker_user if rule not in present)
    yield from _uplink(desired, observed)
    yield from _gateway_addresses(desired, inner)
    yield from _up(Side.GATEWAY, ("lo", *desired.links), inner)
    gone = (
        {*strays}
        if _is_whole(desired, observed) and _is_up(inner, desired.uplink.inner)
        else {*strays, desired.uplink.inner}
    )
    yield from _routing(desired, inner, gone)


def _sysctls(side: Side, wanted: tuple[tuple[str, str], ...], space: Space) -> Iterator[Step]:
    reset = False
    for key, value in wanted:
        # A kernel without IPv6 has no switch for it, and needs none.
        absent = key in space.sysctls and space.sysctls[key] is None
        if absent and key.startswith("net/ipv6/"):
            continue
        if space.sysctls.get(key) != value or (reset and key.startswith("net/ipv4/conf/")):
            yield SetSysctl(side, key, value)
            reset = reset or key == FORWARDING


def _uplink(desired: Desired, observed: Observed) -> Iterator[Step]:
    uplink = desired.uplink
    inner, outer = observed.inner.links.get(uplink.inner), observed.outer.links.get(uplink.outer)
    whole = _is_whole(desired, observed)
    if not whole:
        # Removing one end of a pair removes the other. An outer link without our alias is somebody else's.
        if inner is not None:
            yield RemoveLink(Side.GATEWAY, uplink.inner)
        elif outer is not None and outer.alias == uplink.alias:
            yield RemoveLink(Side.OUTSIDE, uplink.outer)
        yield CreateUplink(uplink)
    space = observed.outer if whole else Space()
    yield from _sysctls(Side.OUTSIDE, desired.outer_sysctls, observed.outer if whole else _absent(observed))
    if (uplink.outer, desired.outer_address) not in space.addresses:
        yield AddAddress(Side.OUTSIDE, uplink.outer, desired.outer_address)
    if not whole or (uplink.inner, desired.inner_address) not in observed.inner.addresses:
        yield AddAddress(Side.GATEWAY, uplink.inner, desired.inner_address)
    yield from _up(Side.OUTSIDE, (uplink.outer,), space)
    yield from _up(Side.GATEWAY, (uplink.inner,), observed.inner if whole else Space())


def _is_whole(desired: Desired, observed: Observed) -> bool:
    outer = observed.outer.links.get(desired.uplink.outer)
    ours = outer is not None and outer.alias == desired.uplink.alias
    return ours and desired.uplink.inner in observed.inner.links


def _absent(observed: Observed) -> Space:
    # A new link starts with the defaults: what an earlier one of that name was set to is void.
    return Space(sysctls={k: v for k, v in observed.outer.sysctls.items() if "/conf/" not in k})


def _gateway_addresses(desired: Desired, inner: Space) -> Iterator[Step]:
    for name, address in sorted(inner.addresses):
        wanted = (name, address) == (desired.uplink.inner, desired.inner_address)
        if not wanted and not (name == "lo" and address.network.subnet_of(_LOOPBACK)):
            yield RemoveAddress(Side.GATEWAY, name, address)


def _up(side: Side, names: tuple[str, ...], space: Space) -> Iterator[Step]:
    for name in names:
        link = space.links.get(name)
        if link is None or not link.up:
            yield SetUp(side, name)


def _routing(desired: Desired, inner: Space, gone: set[str]) -> Iterator[Step]:
    # The kernel drops a link's routes by itself, with the link: those in `gone` an earlier step took away.
    present = {route for route in inner.routes if route.interface not in gone}
    wanted = set(desired.routes)
    for route in sorted(present - wanted, key=_route_order):
        yield RemoveRoute(route)
    yield from (AddRule(rule) for rule in desired.rules if rule not in inner.rules)
    # Local ranges before the containers inside them, the default route last.
    for route in sorted(wanted - present, key=_route_order):
        yield AddRoute(route)
    for neighbour in desired.neighbours:
        if neighbour not in inner.neighbours:
            yield SetNeighbour(neighbour)


def _is_up(space: Space, name: str) -> bool:
    return name in space.links and space.links[name].up


def _route_order(route: Route) -> tuple[int, bool, bool, int, str]:
    network = route.destination
    return (
        route.table,
        network.prefixlen == 0,
        route.kind is RouteKind.UNICAST,
        int(network.network_address),
        route.interface,
    )
