"""Which addresses a tenant may still be connected to under a name, because they were judged for it.

A pin outlives its TTL by a grace, so that a client can use an address that it took from an answer although
the next answer differs. Rebinding (attack B7) gains nothing by that: no address is here that was not judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from appliance.names import HostName
from appliance.resolver.shares import Shares

NAMES_PER_TENANT = 4096
ADDRESSES_PER_NAME = 64
SHORTEST_TTL = 60


def pin_life(ttl: int) -> int:
    """Seconds that a pin lives for an answer with that TTL: twice the TTL, counted as 60 s at least."""
    return 2 * max(ttl, SHORTEST_TTL)


class Pins:
    """Addresses with their expiry (monotonic seconds), by tenant and name."""

    def __init__(self) -> None:
        self._by_name: Shares[HostName, dict[IPv4Address, float]] = Shares(NAMES_PER_TENANT)

    def __len__(self) -> int:
        return len(self._by_name)

    def add(
        self, tenant: str, name: HostName, addresses: Iterable[IPv4Address], ttl: int, now: float
    ) -> None:
        """Pin a judged set; pins that are already there live on until their own expiry."""
        expiry = now + pin_life(ttl)
        earlier = self._by_name.get(tenant, name) or {}
        pinned = {address: until for address, until in earlier.items() if until > now}
        pinned |= {address: max(expiry, pinned.get(address, 0.0)) for address in addresses}
        if len(pinned) > ADDRESSES_PER_NAME:
            latest = sorted(pinned.items(), key=lambda pin: pin[1], reverse=True)[:ADDRESSES_PER_NAME]
            pinned = dict(latest)
        self._by_name.put(tenant, name, pinned)

    def holds(self, tenant: str, name: HostName, address: IPv4Address, now: float) -> bool:
        """Whether `address` is pinned for the name and has not expired."""
        pinned = self._by_name.get(tenant, name)
        return pinned is not None and pinned.get(address, now) > now
