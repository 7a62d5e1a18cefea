"""The record of one call, however it ended."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from appliance.audit.record import CallRecord, Outcome
from appliance.broker.calls.checks import facts_of
from appliance.broker.calls.for_caller import principal_of

if TYPE_CHECKING:
    from appliance.broker.calls.checks import Allowed
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead
    from appliance.refusal import Refusal


def call_record(
    attestation: Attestation,
    head: RequestHead,
    allowed: Allowed | None,
    refusal: Refusal | None,
    *,
    secret: str | None,
    presented: str | None,
    checks: tuple[str, ...],
    status: int | None,
    upstream_address: str | None,
    duration_ms: float,
    generation: str,
    detail: str | None = None,
) -> CallRecord:
    """Without a refusal the call was `allowed` and answered; `detail` may say how. See `CallRecord`."""
    if refusal is None:
        assert allowed is not None
        verdict = allowed.verdict
        outcome, reason, rule = Outcome.ALLOWED, str(verdict.reason), verdict.rule
    else:
        outcome, reason, rule, detail = refusal.outcome, refusal.reason, refusal.rule, refusal.detail
    return CallRecord(
        request_id=attestation.request_id,
        tenant=attestation.tenant,
        endpoint=attestation.endpoint or None,
        container=attestation.container or None,
        run=attestation.run or None,
        principal=principal_of(attestation),
        source=attestation.source,
        account=attestation.account,
        group=None if allowed is None else allowed.group.name,
        secret=secret,
        presented=presented,
        method=head.method,
        host=str(head.host),
        port=attestation.port,
        path=head.path,
        query_keys=tuple(key for key, _ in head.pairs),
        checks=checks,
        outcome=outcome,
        reason=reason,
        rule=rule,
        detail=detail,
        status=status,
        upstream_address=upstream_address,
        duration_ms=duration_ms,
        generation=generation,
        inputs=hashlib.sha256(repr(facts_of(attestation, head)).encode()).hexdigest(),
    )
