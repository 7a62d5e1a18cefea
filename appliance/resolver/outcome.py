"""The values that pass between the parts of the resolver."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

import dns.edns
import dns.rcode

from appliance.audit.record import Outcome
from appliance.names import HostName


@dataclass(frozen=True, slots=True)
class Found:
    """Upstream gave addresses, not yet judged. `links`: CNAME targets passed, in order; `ttl` in seconds."""

    addresses: tuple[IPv4Address, ...]
    links: tuple[HostName, ...]
    ttl: int


@dataclass(frozen=True, slots=True)
class Absent:
    """Upstream says there is no address. `exists` is False for NXDOMAIN.

    With `links`, the last of them has no address in this reply: it may have to be asked itself.
    """

    links: tuple[HostName, ...]
    ttl: int
    exists: bool


@dataclass(frozen=True, slots=True)
class Unusable:
    """Upstream gave nothing to rely on. `reason` is a stable code, `detail` a sentence.

    When it is `final` the zone itself is at fault, and another server has nothing better.
    """

    reason: str
    detail: str
    final: bool = False


UpstreamResult = Found | Absent | Unusable


@dataclass(frozen=True, slots=True)
class Answered:
    """Addresses that were judged for the tenant. `ttl` is what remains of their life in seconds.

    `fresh` marks the one lookup that asked upstream, for which a record is written.
    """

    addresses: tuple[IPv4Address, ...]
    ttl: int
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """No address, and why. `outcome`: DENIED (by rule) or FAILED; `rcode` and `error` say it in DNS.

    `fresh` marks the one lookup that asked upstream, which always has a record of its own.
    """

    outcome: Outcome
    reason: str
    rule: str | None
    detail: str
    rcode: dns.rcode.Rcode
    error: dns.edns.EDECode | None
    fresh: bool = False


LookupResult = Answered | Declined
