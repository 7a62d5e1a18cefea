"""Which IP addresses are public, by our own table; the kernel and Squid are given the same one.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries, the IANA IPv6 Address Space registry, and
the addresses at which clouds serve metadata. `ipaddress.is_global` differs from this in many places and
is not used. Nothing here is ever "public because unknown" in IPv6: only 2000::/3 can be.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses


class AddressClass(StrEnum):
    """What an address is for; only `PUBLIC` may be dialled without an operator's exception."""

    PUBLIC = "public"
    UNSPECIFIED = "unspecified"
    PRIVATE = "private"
    SHARED = "shared"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    METADATA = "metadata"
    PROTOCOL = "protocol"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    TRANSITION = "transition"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class Block:
    """One range that is not public, and where that is written."""

    network: IPv4Network | IPv6Network
    kind: AddressClass
    source: str


@dataclass(frozen=True, slots=True)
class Classification:
    """The class of an address, the block it fell into ("" when public), and the IPv4 address it hides."""

    address: IPv4Address | IPv6Address
    kind: AddressClass
    block: str
    source: str
    inner: IPv4Address | None = None

    @property
    def is_public(self) -> bool:
        """Whether the address may be dialled without an exception."""
        return self.kind is AddressClass.PUBLIC


_K = AddressClass

BLOCKED_V4: tuple[Block, ...] = tuple(
    Block(IPv4Network(network), kind, source)
    for network, kind, source in (
        ("0.0.0.0/8", _K.UNSPECIFIED, "RFC 791 §3.2: this network"),
        ("10.0.0.0/8", _K.PRIVATE, "RFC 1918"),
        ("100.64.0.0/10", _K.SHARED, "RFC 6598: carrier-grade NAT"),
        ("100.100.100.200/32", _K.METADATA, "Alibaba Cloud instance metadata"),
        ("127.0.0.0/8", _K.LOOPBACK, "RFC 1122 §3.2.1.3"),
        ("168.63.129.16/32", _K.METADATA, "Azure platform address (WireServer)"),
        ("169.254.0.0/16", _K.LINK_LOCAL, "RFC 3927"),
        ("169.254.169.254/32", _K.METADATA, "instance metadata of EC2, Azure, GCP and others"),
        ("169.254.170.2/32", _K.METADATA, "Amazon ECS task credentials"),
        ("169.254.170.23/32", _K.METADATA, "Amazon EKS pod identity"),
        ("172.16.0.0/12", _K.PRIVATE, "RFC 1918"),
        ("192.0.0.0/24", _K.PROTOCOL, "RFC 6890 §2.1: IETF protocol assignments"),
        ("192.0.0.192/32", _K.METADATA, "Oracle Cloud instance metadata"),
        ("192.0.2.0/24", _K.DOCUMENTATION, "RFC 5737: TEST-NET-1"),
        ("192.31.196.0/24", _K.ANYCAST, "RFC 7535: AS112-v4"),
        ("192.52.193.0/24", _K.ANYCAST, "RFC 7450: AMT"),
        ("192.88.99.0/24", _K.TRANSITION, "RFC 7526: deprecated 6to4 relay anycast"),
        ("192.168.0.0/16", _K.PRIVATE, "RFC 1918"),
        ("192.175.48.0/24", _K.ANYCAST, "RFC 7534: direct delegation AS112"),
        ("198.18.0.0/15", _K.BENCHMARKING, "RFC 2544"),
        ("198.51.100.0/24", _K.DOCUMENTATION, "RFC 5737: TEST-NET-2"),
        ("203.0.113.0/24", _K.DOCUMENTATION, "RFC 5737: TEST-NET-3"),
        ("224.0.0.0/4", _K.MULTICAST, "RFC 5771"),
        ("240.0.0.0/4", _K.RESERVED, "RFC 1112 §4: class E"),
        ("255.255.255.255/32", _K.RESERVED, "RFC 919 §7: limited broadcast"),
    )
)

BLOCKED_V6: tuple[Block, ...] = tuple(
    Block(IPv6Network(network), kind, source)
    for network, kind, source in (
        ("::/3", _K.RESERVED, "IANA IPv6 address space: outside 2000::/3"),
        ("4000::/2", _K.RESERVED, "IANA IPv6 address space: outside 2000::/3"),
        ("8000::/1", _K.RESERVED, "IANA IPv6 address space: outside 2000::/3"),
        ("::/96", _K.TRANSITION, "RFC 4291 §2.5.5.1: IPv4-compatible, deprecated"),
        ("::/128", _K.UNSPECIFIED, "RFC 4291 §2.5.2"),
        ("::1/128", _K.LOOPBACK, "RFC 4291 §2.5.3"),
        ("::ffff:0:0/96", _K.TRANSITION, "RFC 4291 §2.5.5.2: IPv4-mapped"),
        ("::ffff:0:0:0/96", _K.TRANSITION, "RFC 2765 §2.1: IPv4-translated (SIIT)"),
        ("64:ff9b::/96", _K.TRANSITION, "RFC 6052 §2.1: well-known NAT64 prefix"),
        ("64:ff9b:1::/48", _K.TRANSITION, "RFC 8215: local-use NAT64"),
        ("100::/64", _K.RESERVED, "RFC 6666: discard only"),
        ("100:0:0:1::/64", _K.RESERVED, "RFC 9780: dummy prefix"),
        ("2001::/23", _K.PROTOCOL, "RFC 2928: IETF protocol assignments"),
        ("2001::/32", _K.TRANSITION, "RFC 4380: Teredo"),
        ("2001:1::1/128", _K.ANYCAST, "RFC 7723: Port Control Protocol"),
        ("2001:1::2/128", _K.ANYCAST, "RFC 8155: TURN"),
        ("2001:1::3/128", _K.ANYCAST, "RFC 9665: DNS-SD service registration"),
        ("2001:2::/48", _K.BENCHMARKING, "RFC 5180"),
        ("2001:3::/32", _K.ANYCAST, "RFC 7450: AMT"),
        ("2001:4:112::/48", _K.ANYCAST, "RFC 7535: AS112-v6"),
        ("2001:10::/28", _K.RESERVED, "RFC 4843: ORCHID, deprecated"),
        ("2001:20::/28", _K.RESERVED, "RFC 7343: ORCHIDv2"),
        ("2001:30::/28", _K.RESERVED, "RFC 9374: drone remote id"),
        ("2001:db8::/32", _K.DOCUMENTATION, "RFC 3849"),
        ("2002::/16", _K.TRANSITION, "RFC 3056: 6to4"),
        ("2620:4f:8000::/48", _K.ANYCAST, "RFC 7534: direct delegation AS112"),
        ("3ffe::/16", _K.RESERVED, "RFC 3701: former 6bone"),
        ("3fff::/20", _K.DOCUMENTATION, "RFC 9637"),
        ("5f00::/16", _K.RESERVED, "RFC 9602: segment routing SIDs"),
        ("fc00::/7", _K.PRIVATE, "RFC 4193: unique local"),
        ("fd00:ec2::/32", _K.METADATA, "EC2 local services (metadata, DNS, time) over IPv6"),
        ("fd20:ce::254/128", _K.METADATA, "GCP metadata over IPv6"),
        ("fe80::/10", _K.LINK_LOCAL, "RFC 4291 §2.5.6"),
        ("fec0::/10", _K.PRIVATE, "RFC 3879: site-local, deprecated"),
        ("ff00::/8", _K.MULTICAST, "RFC 4291 §2.7"),
    )
)

# What an operator may except for a tenant (design §8.2); every other block stays shut for everybody.
EXCEPTABLE: frozenset[AddressClass] = frozenset({_K.PRIVATE, _K.SHARED, _K.DOCUMENTATION, _K.BENCHMARKING})

_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)  # RFC 5214 §6.1: the upper half of the interface identifier


class _Table:
    """The most specific block of any address, by one binary search over the table laid out flat."""

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        edges = {0}
        for block in blocks:
            edges.add(int(block.network.network_address))
            edges.add(int(block.network.broadcast_address) + 1)
        by_width = sorted(blocks, key=lambda block: block.network.prefixlen, reverse=True)
        self._starts = sorted(edges)
        self._blocks = [next((b for b in by_width if self._holds(b, start)), None) for start in self._starts]

    @staticmethod
    def _holds(block: Block, value: int) -> bool:
        return int(block.network.network_address) <= value <= int(block.network.broadcast_address)

    def find(self, value: int) -> Block | None:
        return self._blocks[bisect_right(self._starts, value) - 1]


_V4 = _Table(BLOCKED_V4)
_V6 = _Table(BLOCKED_V6)


def classify(
    address: IPv4Address | IPv6Address, nat64_prefixes: tuple[IPv6Network, ...] = ()
) -> Classification:
    """The class of `address`.

    An IPv6 address that hides an IPv4 one is never public: its kind is that of the hidden address when that
    is not public, else `TRANSITION`. `nat64_prefixes` are the operator's own translators (RFC 6052 §2.2;
    prefix lengths 32, 40, 48, 56, 64, 96).
    """
    if isinstance(address, IPv4Address):
        return _classified(address, _V4.find(int(address)))
    hidden = unwrap(address, nat64_prefixes)
    outer = _V6.find(int(address))
    if hidden is None:
        return _classified(address, outer)
    inner, source = hidden
    block = _V4.find(int(inner))
    if block is not None:
        return Classification(address, block.kind, str(block.network), f"{block.source}, in {source}", inner)
    return Classification(address, _K.TRANSITION, str(outer.network) if outer else source, source, inner)


def _classified(address: IPv4Address | IPv6Address, block: Block | None) -> Classification:
    if block is None:
        return Classification(address, _K.PUBLIC, "", "")
    return Classification(address, block.kind, str(block.network), block.source)


def unwrap(
    address: IPv6Address, nat64_prefixes: tuple[IPv6Network, ...] = ()
) -> tuple[IPv4Address, str] | None:
    """The IPv4 address that a translator or tunnel would take out of `address`, and by which rule."""
    value = int(address)
    for prefix in nat64_prefixes:
        if address in prefix:
            return _rfc6052(value, prefix.prefixlen), "operator's NAT64 prefix"
    low, high = value & 0xFFFFFFFF, value >> 32
    if high in _LOW_32 and value > 1:
        return IPv4Address(low), _LOW_32[high]
    if value >> 80 == 0x0064FF9B0001:
        return _local_nat64(value), "64:ff9b:1::/48"
    if value >> 112 == 0x2002:
        return IPv4Address((value >> 80) & 0xFFFFFFFF), "6to4 2002::/16"
    if value >> 96 == 0x20010000:
        # RFC 4380 §4: the client's address is stored with all its bits inverted.
        return IPv4Address(low ^ 0xFFFFFFFF), "Teredo 2001::/32"
    if high & 0xFFFFFFFF in _ISATAP_MARKS:
        return IPv4Address(low), "ISATAP interface identifier"
    return None


_LOW_32 = {
    0: "IPv4-compatible ::/96",
    0xFFFF: "IPv4-mapped ::ffff:0:0/96",
    0xFFFF0000: "IPv4-translated ::ffff:0:0:0/96",
    0x0064FF9B0000000000000000: "NAT64 64:ff9b::/96",
}


def _local_nat64(value: int) -> IPv4Address:
    """Inside 64:ff9b:1::/48 any length may be in use: the shortest whose suffix is zero (RFC 6052 §2.2)."""
    for length in (48, 56, 64):
        suffix_bits = 128 - length - 32 - 8
        inner = _rfc6052(value, length)
        if int(inner) and not value & ((1 << suffix_bits) - 1):
            return inner
    return _rfc6052(value, 96)


def _rfc6052(value: int, prefix_length: int) -> IPv4Address:
    """RFC 6052 §2.2: the 32 bits after the prefix, stepping over bits 64 to 71, which are always zero."""
    if prefix_length == 96:
        return IPv4Address(value & 0xFFFFFFFF)
    without_u = ((value >> 64) << 56) | (value & ((1 << 56) - 1))
    return IPv4Address((without_u >> (120 - prefix_length - 32)) & 0xFFFFFFFF)


def blocked_networks_v4() -> tuple[IPv4Network, ...]:
    """The IPv4 table without overlaps, ascending, for nft sets and Squid ACLs."""
    return tuple(collapse_addresses(b.network for b in BLOCKED_V4 if isinstance(b.network, IPv4Network)))


def never_exceptable(network: IPv4Network) -> Block | None:
    """The block for which `network` may not be excepted by anybody; None when an operator may except it.

    An exception must lie wholly inside one block of an `EXCEPTABLE` class (so 0.0.0.0/0 and public ranges
    never qualify) and touch no block of another class, such as a metadata address.
    """
    touched = [b for b in BLOCKED_V4 if isinstance(b.network, IPv4Network) and b.network.overlaps(network)]
    for block in touched:
        if block.kind not in EXCEPTABLE:
            return block
    if any(isinstance(b.network, IPv4Network) and network.subnet_of(b.network) for b in touched):
        return None
    return touched[0] if touched else Block(network, _K.PUBLIC, "not a private range")
