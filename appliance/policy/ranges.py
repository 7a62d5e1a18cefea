"""Many address ranges, asked about one address at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable
from ipaddress import IPv4Address, IPv4Network

from appliance.stepwise import finish

NETWORKS_IN_A_STEP = 500


class Ranges:
    """IPv4 networks without overlaps, ascending: thousands of them cost a look-up some fifteen steps."""

    __slots__ = ("_starts", "networks")

    def __init__(self, networks: Iterable[IPv4Network] = ()) -> None:
        self.networks: tuple[IPv4Network, ...] = finish(_collapsing(networks))
        self._starts = [int(network.network_address) for network in self.networks]

    @classmethod
    def making(cls, networks: Iterable[IPv4Network]) -> Generator[None, None, Ranges]:
        """The same in steps."""
        made = cls()
        made.networks = yield from _collapsing(networks)
        made._starts = [int(network.network_address) for network in made.networks]
        return made

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


def _collapsing(networks: Iterable[IPv4Network]) -> Generator[None, None, tuple[IPv4Network, ...]]:
    """As `ipaddress.collapse_addresses` does: none within another, halves of one network joined."""
    found: list[IPv4Network] = []
    ascending = sorted(networks, key=lambda network: (int(network.network_address), network.prefixlen))
    for number, network in enumerate(ascending):
        if not found or found[-1].broadcast_address < network.network_address:
            found.append(network)
        while len(found) > 1 and found[-1].prefixlen and found[-1].supernet() == found[-2].supernet():
            found[-2:] = [found[-1].supernet()]
        if (number + 1) % NETWORKS_IN_A_STEP == 0:
            yield
    return tuple(found)
