"""A tenant's question from name to judged addresses: judge, cache, ask upstream once, judge again, pin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Protocol

import dns.edns
from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - what addTimeout raises
from twisted.internet.interfaces import IReactorTime

from appliance.names import HostName
from appliance.policy.set import PolicySet
from appliance.resolver.cache import AnswerCache, Entry
from appliance.resolver.exchange import MAX_LINKS
from appliance.resolver.flights import Flights
from appliance.resolver.judgement import (
    declined_absent,
    declined_unusable,
    failed,
    judge_addresses,
    judge_links,
    judge_name,
)
from appliance.resolver.outcome import (
    Absent,
    Answered,
    Declined,
    Found,
    LookupResult,
    Unusable,
    UpstreamResult,
)
from appliance.resolver.pins import ADDRESSES_PER_NAME, Pins

TOTAL_TIME = 5.0
FLIGHTS_PER_TENANT = 64
FLIGHTS = 512
_BUSY = failed("resolver-busy", "too many names are being resolved at once", dns.edns.EDECode.NOT_READY)


class Upstream(Protocol):
    """Asks other servers."""

    async def query(self, name: HostName) -> UpstreamResult:
        """One A question, with the tries that it takes."""


class Lookup:
    """Resolves names for tenants. `policies` gives the policy in force, `own` are the gateway's addresses."""

    def __init__(
        self,
        policies: Callable[[], PolicySet],
        upstream: Upstream,
        clock: IReactorTime,
        *,
        min_ttl: int,
        max_ttl: int,
        own: frozenset[IPv4Address] = frozenset(),
    ) -> None:
        self._policies = policies
        self._upstream = upstream
        self._clock = clock
        self.min_ttl = min_ttl
        self._own = own
        self.cache = AnswerCache(min_ttl, max_ttl)
        self.pins = Pins()
        self.flights: Flights[Entry] = Flights(clock)

    async def resolve(
        self,
        tenant: str,
        name: HostName,
        max_age: float | None = None,
        *,
        account: str | None = None,
        departs: Callable[[], Declined | None] = lambda: None,
    ) -> LookupResult:
        """Judged and pinned addresses. Asks upstream when nothing is known, or nothing young enough.

        With an `account` they are for the broker (see `judge_name`), and no container may use them: no pin.
        `departs` is called when this very question is about to go upstream; one that it declines does not.
        """
        declined = judge_name(self._policies().for_tenant(tenant), name, account)
        if declined is not None:
            return declined
        entry, fresh = self.cache.get(tenant, name, self._clock.seconds(), max_age), False
        if entry is None:
            if (tenant, name) not in self.flights:
                declined = _BUSY if self._is_busy(tenant) else departs()
                if declined is not None:
                    return declined
            entry, fresh = await self.flights.join((tenant, name), lambda: self._learn(tenant, name))
        result = self._judge(tenant, name, entry, account)
        return replace(result, fresh=True) if fresh else result

    def holds(self, tenant: str, name: HostName, address: IPv4Address) -> bool:
        """Whether `address` is of a set that was judged for the name and may still be used.

        Judged when it was pinned, and again now, since the policy may have changed since.
        """
        policy = self._policies().for_tenant(tenant)
        return (
            self.pins.holds(tenant, name, address, self._clock.seconds())
            and judge_name(policy, name) is None
            and judge_addresses(policy, name, (address,), self._own) is None
        )

    def _judge(self, tenant: str, name: HostName, entry: Entry, account: str | None) -> LookupResult:
        """Judge what is known with the policy in force *now*, for it may have changed while we waited."""
        policy = self._policies().for_tenant(tenant)
        declined = judge_name(policy, name, account)
        if declined is not None:
            return declined
        match entry.result:
            case Found(addresses=addresses, links=links):
                declined = judge_links(policy, name, links) or judge_addresses(
                    policy, name, addresses, self._own
                )
                if declined is not None:
                    return declined
                answered = self._answered(addresses, entry)
                if account is None:
                    self.pins.add(tenant, name, answered.addresses, answered.ttl, self._clock.seconds())
                return answered
            case Absent(links=links) as absent:
                return judge_links(policy, name, links) or declined_absent(absent)
            case Unusable() as unusable:
                return declined_unusable(unusable)

    def _answered(self, addresses: tuple[IPv4Address, ...], entry: Entry) -> Answered:
        ttl = max(1, int(entry.expires - self._clock.seconds()))
        return Answered(addresses[:ADDRESSES_PER_NAME], ttl)

    def _is_busy(self, tenant: str) -> bool:
        return len(self.flights) >= FLIGHTS or self.flights.under_way(tenant) >= FLIGHTS_PER_TENANT

    async def _learn(self, tenant: str, name: HostName) -> Entry:
        """Ask upstream, in bounded time, and keep what it says."""
        asking = Deferred.fromCoroutine(self._follow(tenant, name))
        try:
            result = await asking.addTimeout(TOTAL_TIME, self._clock)
        except TimeoutError:
            result = Unusable("upstream-timeout", f"no name server answered within {TOTAL_TIME:g} s")
        return self.cache.put(tenant, name, result, self._clock.seconds())

    async def _follow(self, tenant: str, name: HostName) -> UpstreamResult:
        """Ask for `name`, and for the end of its chain of aliases where the server left that to us.

        No name of the chain is asked that may not be: `_judge` will refuse the chain by the same rule.
        """
        links: tuple[HostName, ...] = ()
        ttl = 2**31 - 1
        asked = name
        while True:
            result = await self._upstream.query(asked)
            if isinstance(result, Unusable):
                return result
            links, ttl = links + result.links, min(ttl, result.ttl)
            if len(links) > MAX_LINKS or len({name, *links}) <= len(links):
                return Unusable("upstream-failed", f"the chain of CNAMEs loops or is over {MAX_LINKS} links")
            if isinstance(result, Found):
                return Found(result.addresses, links, ttl)
            if not result.links or not result.exists:
                return Absent(links, ttl, result.exists)
            if judge_links(self._policies().for_tenant(tenant), name, links) is not None:
                return Absent(links, 0, exists=True)
            asked = links[-1]
