"""A network namespace as we compare it: what should be there and what is (types)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netns.plumbing import Attachment, Network

MAIN_TABLE = 254


class Side(Enum):
    """The two namespaces that we touch."""

    GATEWAY = "gateway"
    OUTSIDE = "outside"  # where the uplink's other end lies: the host's, or `uplink.peer_namespace`


class RouteKind(Enum):
    """`rtm_type` of rtnetlink(7), as far as we use it."""

    UNICAST = 1
    LOCAL = 2
    UNREACHABLE = 7  # the kernel refuses to send there; such a route has no interface


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `alias` is empty where none is set."""

    name: str
    index: int
    up: bool
    alias: str = ""
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route."""

    destination: IPv4Network
    interface: str
    kind: RouteKind = RouteKind.UNICAST
    via: IPv4Address | None = None
    table: int = MAIN_TABLE


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """`ip rule`: packets whose mark is `mark` in the bits of `mask` use `table`.

    With `arriving`, only those that came in by that interface; `lo` means what this machine sends.
    """

    priority: int
    table: int
    mark: int = 0
    mask: int = 0
    arriving: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent entry of the neighbour table."""

    interface: str
    address: IPv4Address
    mac: str


@dataclass(frozen=True, slots=True)
class Uplink:
    """The veth pair to the outside: names of both ends. `alias` marks the outer one as ours."""

    inner: str
    outer: str
    alias: str


@dataclass(frozen=True, slots=True)
class Table:
    """An nft table: `text` as we load it, `canonical` as nft lists it back (see `netns.nft`)."""

    family: str
    name: str
    text: str
    canonical: str


@dataclass(frozen=True, slots=True)
class Desired:
    """All that should be there. Sysctls are (path below /proc/sys, value), in the order of setting.

    `outer_table` and `docker_user` are absent when the uplink does not end in the host's namespace.
    """

    namespace: str
    uplink: Uplink
    inner_address: IPv4Interface
    outer_address: IPv4Interface
    inner_sysctls: tuple[tuple[str, str], ...]
    outer_sysctls: tuple[tuple[str, str], ...]
    routes: tuple[Route, ...]
    rules: tuple[RoutingRule, ...]
    neighbours: tuple[Neighbour, ...]
    links: tuple[str, ...]
    inner_table: Table
    outer_table: Table | None
    docker_user: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Space:
    """What one namespace holds. A sysctl that the kernel does not have is None."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: frozenset[tuple[str, IPv4Interface]] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[RoutingRule] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    sysctls: dict[str, str | None] = field(default_factory=dict)
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there. `docker_user` is None when Docker has no such chain."""

    namespace: bool
    inner: Space
    outer: Space
    docker_user: frozenset[tuple[str, ...]] | None
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What netd knew, as the kernel kept it: networks, and attached links with their interface and index."""

    networks: tuple[Network, ...] = ()
    links: tuple[tuple[Attachment, str, int], ...] = ()
