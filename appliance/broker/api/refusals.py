"""Every way in which the broker's own interface says no, as values (see `appliance.refusal`).

Reasons of tokens, proofs and certificates are the codes of where they are judged.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.broker.calls.refusals import denied, failed
from appliance.broker.identity.workloads import EnrolmentRefused
from appliance.http1.refused import Refused
from appliance.refusal import Refusal

_MEND = "See the README on the broker's interface."

NOT_FOUND = denied(404, "not-found", "Nothing is answered here.", _MEND)
NOT_READY = replace(
    failed(503, "not-ready", "The broker has not learnt yet which containers there are."), retry_after=1
)
STORE_UNAVAILABLE = failed(503, "store_unavailable", "The broker's database does not answer.")


def too_often(seconds: int) -> Refusal:
    """RFC 6585 section 4."""
    refusal = denied(429, "too-often", "This workload asks for that too often.", "Wait, then ask again.")
    return replace(refusal, retry_after=seconds)


def body_too_large(most: int) -> Refusal:
    """RFC 9110 section 15.5.14."""
    return denied(413, "body-too-large", f"The request body is over {most} bytes.", "Send less.").closing()


def malformed(fault: Refused) -> Refusal:
    """RFC 9112 section 11.2: no more octets of this connection are read."""
    return denied(
        fault.status, fault.reason, fault.detail, "Send one strictly formed HTTP/1.1 request."
    ).closing()


def of_enrolment(error: EnrolmentRefused) -> Refusal:
    """No certificate."""
    status = _STATUSES.get(error.code, 403)
    mend = "Send a PEM signing request for a P-256 key." if status == 400 else "Ask the operator."
    return denied(status, error.code, f"No certificate: {error.detail}.", mend)


_STATUSES = {"csr_invalid": 400, "life_invalid": 400, "attestation_invalid": 400}
