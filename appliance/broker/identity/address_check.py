"""An operator's list of addresses from which a workload may come: beside its certificate, never instead.

An address proves nobody, so the check is asked about a `WorkloadIdentity` only: a certificate proved that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.broker.identity.verification import WorkloadIdentity

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class AddressRefusal:
    """The answer is 403 with this code."""

    code: str = "workload_ip_denied"
    detail: str = "the workload's certificate is good, but it may not be used from this address"
    status: int = 403


@dataclass(frozen=True, slots=True)
class AddressAllowlist:
    """Networks, IPv4 and IPv6. An empty list lets nobody in; where no check is wanted, there is no list."""

    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AddressAllowlist:
        """From addresses and CIDR networks. Raises `ValueError`, one sentence that quotes the entry."""
        return cls(tuple(_network(entry) for entry in entries))

    def holds(self, address: Address) -> bool:
        """Whether `address` is in a network of the list. An IPv4-mapped address is the IPv4 address."""
        plain = _plain(address)
        return any(network.version == plain.version and plain in network for network in self.networks)


def check_address(
    identity: WorkloadIdentity, address: Address, allowed: AddressAllowlist | None
) -> AddressRefusal | None:
    """Whether the workload may come from `address`; None when it may, or when nothing was configured."""
    del identity  # that there is one is the point
    return None if allowed is None or allowed.holds(address) else AddressRefusal()


def _network(entry: str) -> Network:
    try:
        network = ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{entry!r} is no address and no network: {error}") from error
    if isinstance(network, IPv6Network) and network.overlaps(_MAPPED):
        raise ValueError(f"{entry!r} holds IPv4 addresses in IPv6 form; write them as IPv4")
    return network


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
