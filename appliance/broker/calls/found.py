"""What a worker said of the addresses of hosts, for as long as its word holds.

A worker resolves and judges a host once and keeps that for the rest of the answer's life; until then it says
the same again, and need not be asked. It tells for how many seconds, of which we believe `MOST_SECONDS`. What
it said counts for the very policy object that was in force when it was asked, and goes with its connection.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.names import HostName
    from appliance.policy.tenant import TenantPolicy

MOST_SECONDS = 5.0
"""A policy that a worker has read, and the broker has not yet, is heard of after so long at the latest."""

CAPACITY = 1024
"""Hosts of all tenants. The one that was asked for longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Word:
    policy: TenantPolicy
    asked: float
    ends: float
    addresses: tuple[IPv4Address, ...]


class Found:
    """Of one worker's connection. Times are seconds of one clock, which may be set back."""

    def __init__(self) -> None:
        self._words: OrderedDict[tuple[str, HostName, int], _Word] = OrderedDict()

    def kept(self, policy: TenantPolicy, host: HostName, port: int, now: float) -> tuple[IPv4Address, ...]:
        """What still holds for the policy's tenant, or nothing."""
        word = self._words.get((policy.tenant, host, port))
        if word is None:
            return ()
        if word.policy is not policy or not word.asked <= now < word.ends:
            self.forget(policy.tenant, host, port)
            return ()
        return word.addresses

    def keep(
        self, policy: TenantPolicy, host: HostName, port: int,
        addresses: tuple[IPv4Address, ...], *, asked: float, holds: object,
    ) -> None:  # fmt: skip
        """An answer to what was asked at `asked`; `holds` are the seconds that the worker said, if it did."""
        if not isinstance(holds, int | float) or isinstance(holds, bool) or not 0 < holds < math.inf:
            return
        key = (policy.tenant, host, port)
        self._words[key] = _Word(policy, asked, asked + min(holds, MOST_SECONDS), addresses)
        self._words.move_to_end(key)
        if len(self._words) > CAPACITY:
            self._words.popitem(last=False)

    def forget(self, tenant: str, host: HostName, port: int) -> None:
        """Ask anew."""
        self._words.pop((tenant, host, port), None)
