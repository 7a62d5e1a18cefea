"""Performs steps, one error for each, naming the object."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from netns import namespaces, nft
from netns.observe import iptables, links
from netns.plumbing import PlumbingError
from netns.rtnetlink import HOST_SCOPE, LINK_SCOPE, NUD_PERMANENT, Sockets, delete_link
from netns.state import Route, RouteKind, Side
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

_OWN_NAMESPACE = "/proc/thread-self/ns/net"


def apply(steps: Iterable[Step], sockets: Sockets) -> None:
    """Perform `steps` in order. Raises `PlumbingError` at the first that fails, with the step's name."""
    for step in steps:
        try:
            _perform(step, sockets)
        except (NetlinkError, OSError, nft.NftError) as error:
            raise PlumbingError(f"cannot {step}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What went wrong, in words: netlink errors carry an errno and sometimes the kernel's own sentence."""
    if isinstance(error, NetlinkError):
        return f"{os.strerror(error.code)} (netlink error {error.code})"
    return str(error)


def _perform(step: Step, sockets: Sockets) -> None:
    match step:
        case CreateNamespace(name):
            namespaces.create(name)
        case SetSysctl(side, key, value):
            with namespaces.entered(sockets.name(side)):
                (Path("/proc/sys") / key).write_text(value, encoding="ascii")
        case RemoveLink(side, name):
            index = sockets.index(side, name)
            if index is not None:
                delete_link(sockets.of(side), index)
        case CreateUplink():
            _create_uplink(step, sockets)
        case SetUp(side, name):
            sockets.of(side).link("set", index=_index(sockets, side, name), state="up")
        case AddAddress(side, name, address):
            sockets.of(side).addr(
                "add",
                index=_index(sockets, side, name),
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
            )
        case RemoveAddress(side, name, address):
            sockets.of(side).addr(
                "del",
                index=_index(sockets, side, name),
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
            )
        case AddRoute(route):
            sockets.of(Side.GATEWAY).route("replace", **_route(route, sockets))
        case RemoveRoute(route):
            sockets.of(Side.GATEWAY).route("del", **_route(route, sockets))
        case AddRule(rule):
            which: dict[str, object] = {"iifname": rule.arriving} if rule.arriving else {}
            which |= {"fwmark": rule.mark, "fwmask": rule.mask} if rule.mask else {}
            sockets.of(Side.GATEWAY).rule(
                "add", family=socket.AF_INET, priority=rule.priority, table=rule.table, **which
            )
        case SetNeighbour(neighbour):
            sockets.of(Side.GATEWAY).neigh(
                "replace",
                ifindex=_index(sockets, Side.GATEWAY, neighbour.interface),
                dst=str(neighbour.address),
                lladdr=neighbour.mac,
                state=NUD_PERMANENT,
                family=socket.AF_INET,
            )
        case ReplaceTable(side, table):
            with namespaces.entered(sockets.name(side)):
                nft.load(table.text)
        case AcceptInDockerUser(rule):
            done = iptables("-I", "DOCKER-USER", *rule)
            if done.returncode:
                raise OSError(done.stderr.strip())


def _create_uplink(step: CreateUplink, sockets: Sockets) -> None:
    uplink = step.uplink
    outside = sockets.of(Side.OUTSIDE)
    standing = links(outside).get(uplink.outer)
    if standing is not None:
        raise OSError(
            f"a link {uplink.outer} that is not ours is there; rename it or choose another instance name"
        )
    name = sockets.name(Side.OUTSIDE)
    target = _OWN_NAMESPACE if name is None else str(namespaces.path(name))
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sockets.of(Side.GATEWAY).link(
            "add", ifname=uplink.inner, kind="veth", peer={"ifname": uplink.outer, "net_ns_fd": descriptor}
        )
    finally:
        os.close(descriptor)
    outside.link("set", index=_index(sockets, Side.OUTSIDE, uplink.outer), ifalias=uplink.alias)


def _index(sockets: Sockets, side: Side, name: str) -> int:
    index = sockets.index(side, name)
    if index is None:
        raise OSError(f"there is no link {name}")
    return index


def _route(route: Route, sockets: Sockets) -> dict[str, object]:
    local = route.kind is RouteKind.LOCAL
    request: dict[str, object] = {
        "dst": str(route.destination),
        "table": route.table,
        "type": route.kind.name.lower(),
        "family": socket.AF_INET,
    }
    if route.kind is RouteKind.UNREACHABLE:
        return request
    request["oif"] = _index(sockets, Side.GATEWAY, route.interface)
    if route.via is not None:
        request["gateway"] = str(route.via)
    else:
        request["scope"] = HOST_SCOPE if local else LINK_SCOPE
    return request
