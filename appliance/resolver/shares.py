"""A bounded mapping in which every tenant has a share of its own and cannot push out another's entries."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Shares(Generic[K, V]):
    """At most `size` entries for each tenant; the entry that was not used for longest gives way."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._shares: dict[str, OrderedDict[K, V]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._shares.values()))

    def get(self, tenant: str, key: K) -> V | None:
        """The entry, which thereby counts as used."""
        share = self._shares.get(tenant)
        if share is None or key not in share:
            return None
        share.move_to_end(key)
        return share[key]

    def put(self, tenant: str, key: K, value: V) -> None:
        """Set the entry."""
        share = self._shares.setdefault(tenant, OrderedDict())
        share[key] = value
        share.move_to_end(key)
        if len(share) > self._size:
            share.popitem(last=False)

    def drop(self, tenant: str, key: K) -> None:
        """Forget the entry, if there is one."""
        share = self._shares.get(tenant)
        if share is not None:
            share.pop(key, None)
            if not share:
                del self._shares[tenant]
