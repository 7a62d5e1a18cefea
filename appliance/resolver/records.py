"""The audit record of a lookup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rcode

from appliance.audit.record import DnsRecord, Outcome
from appliance.resolver.outcome import Answered, LookupResult

if TYPE_CHECKING:
    from appliance.endpoints import Endpoint


def record_of(
    result: LookupResult,
    endpoint: Endpoint | None,
    *,
    tenant: str,
    source: str,
    destination: str,
    transport: str,
    name: str,
    kind: str,
    seconds: float,
) -> DnsRecord | None:
    """What is written down: each refusal, each failure, each question that went upstream; else None.

    An answer out of the cache adds nothing to the record of the question that filled it.
    """
    if isinstance(result, Answered):
        if not result.fresh:
            return None
        outcome, reason, rule, detail, rcode = Outcome.ALLOWED, "resolved", None, None, dns.rcode.NOERROR
        addresses, ttl = tuple(map(str, result.addresses)), result.ttl
    else:
        outcome, reason, rule, detail = result.outcome, result.reason, result.rule, result.detail
        rcode, addresses, ttl = result.rcode, (), None
    return DnsRecord(
        tenant=tenant,
        endpoint=endpoint.id if endpoint else None,
        container=(endpoint.container or None) if endpoint else None,
        run=(endpoint.run or None) if endpoint else None,
        source=source,
        destination=destination,
        transport=transport,
        name=name,
        type=kind,
        outcome=outcome,
        reason=reason,
        rule=rule,
        detail=detail,
        rcode=dns.rcode.to_text(rcode),
        addresses=addresses,
        ttl=ttl,
        duration_ms=seconds * 1000,
    )
