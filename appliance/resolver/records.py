"""The audit record of a lookup: what stands in it, and whether it has one of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.rcode

from appliance.audit.record import DnsRecord, Outcome
from appliance.resolver.outcome import Answered, Declined, LookupResult

if TYPE_CHECKING:
    from appliance.audit.log import Claim
    from appliance.endpoints import Endpoint
    from appliance.telling import Telling


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
) -> DnsRecord:
    """What is written down of `result`, for the endpoint that asked; None where that is not known."""
    if isinstance(result, Answered):
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


def is_recorded(result: LookupResult) -> bool:
    """Each refusal, each failure, each question that went upstream.

    An answer out of the cache adds nothing to the record of the question that filled it.
    """
    return result.fresh or isinstance(result, Declined)


def write_record(record: DnsRecord, claim: Claim, telling: Telling, *, fresh: bool) -> None:
    """What went upstream (`fresh`) has a record of its own, in the room of `claim`; a refusal may share one.

    Raises `AuditUnavailable`.
    """
    if fresh:
        claim.write(record)
    else:
        claim.release()
        telling.write(record)
