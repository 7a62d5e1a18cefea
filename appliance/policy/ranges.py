"""Many address ranges, asked about one address at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, collapse_addresses


class Ranges:
    """IPv4 networks without overlaps, ascending: thousands of them cost a look-up some fifteen steps."""

    __slots__ = ("_starts", "networks")

    def __init__(self, networks: Iterable[IPv4Network] = ()) -> None:
        self.networks: tuple[IPv4Network, ...] = tuple(collapse_addresses(networks))
        self._starts = [int(network.network_address) for network in self.networks]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.networks == other.networks

    def __hash__(self) -> int:
        return hash(self.networks)

    def covering(self, address: IPv4Address) -> IPv4Network | None:
        """The network that `address` is in."""
        place = bisect_right(self._starts, int(address)) - 1
        if place < 0 or address not in self.networks[place]:
            return None
        return self.networks[place]
