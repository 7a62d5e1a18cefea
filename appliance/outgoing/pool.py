"""Idle upstream connections, for the next request of the same tenant to the same origin and address only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple, Protocol

from appliance.names import Host
from appliance.outgoing.deadlines import NEVER, Deadlines

if TYPE_CHECKING:
    from appliance.outgoing.upstream import Upstream


class Key(NamedTuple):
    """What must be equal for a connection to be used again (attack E20); the address is checked besides."""

    tenant: str
    secure: bool
    host: Host
    port: int


class Bounds(Protocol):
    """How many connections may rest, for each key, for each tenant and in all, and for how many seconds."""

    @property
    def pooled_per_target(self) -> int:
        """For each key."""

    @property
    def pooled_per_tenant(self) -> int:
        """For each tenant."""

    @property
    def pooled(self) -> int:
        """In all."""

    @property
    def pooled_idle_seconds(self) -> float:
        """How long."""


class Pool:
    """Bounded in all, for each key and for each tenant; a connection waits at most `pooled_idle_seconds`."""

    def __init__(self, limits: Bounds, deadlines: Deadlines) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._idle: dict[Key, list[Upstream]] = {}
        self._of_tenant: Counter[str] = Counter()
        self._resting = 0

    def __len__(self) -> int:
        return self._resting

    def take(self, key: Key, addresses: Container[IPv4Address | None]) -> Upstream | None:
        """The connection that rested last among those to one of the addresses judged for this request.

        One to which something came meanwhile is ended. One that is still `delivering` is passed over.
        """
        resting = self._idle.get(key)
        if not resting:
            return None
        for index in range(len(resting) - 1, -1, -1):
            upstream = resting[index]
            if upstream.address in addresses and not upstream.delivering:
                del resting[index]
                self._forget(upstream, resting)
                if not upstream.quiet:
                    upstream.abort()
                    continue
                upstream.deadline = NEVER
                return upstream
        return None

    def delivering(self, key: Key) -> bool:
        """Whether one rests here that can be taken in the next turn of the reactor, but not in this one."""
        return any(upstream.delivering for upstream in self._idle.get(key, ()))

    def put(self, upstream: Upstream) -> None:
        """Let a connection rest here, or end it when there is no room."""
        key, limits = upstream.key, self._limits
        resting = self._idle.get(key, [])
        if (
            len(resting) >= limits.pooled_per_target
            or self._of_tenant[key.tenant] >= limits.pooled_per_tenant
            or self._resting >= limits.pooled
        ):
            upstream.abort()
            return
        resting.append(upstream)
        self._idle[key] = resting
        self._of_tenant[key.tenant] += 1
        self._resting += 1
        upstream.deadline = self._deadlines.seconds() + self._limits.pooled_idle_seconds

    def remove(self, upstream: Upstream) -> None:
        """The connection is gone, resting or not."""
        resting = self._idle.get(upstream.key, [])
        if upstream in resting:
            resting.remove(upstream)
            self._forget(upstream, resting)

    def close(self) -> None:
        """End all that rest."""
        for resting in list(self._idle.values()):
            for upstream in list(resting):
                upstream.abort()

    def _forget(self, upstream: Upstream, resting: list[Upstream]) -> None:
        self._resting -= 1
        self._of_tenant[upstream.key.tenant] -= 1
        if not self._of_tenant[upstream.key.tenant]:
            del self._of_tenant[upstream.key.tenant]
        if not resting:
            del self._idle[upstream.key]
