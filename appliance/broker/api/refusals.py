"""Every way in which the broker's own interface says no, as values (see `appliance.refusal`).

Reasons of tokens, proofs and certificates are the codes of where they are judged.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.broker.calls.refusals import POLICY_CHANGED, denied, failed
from appliance.broker.denied import Denied
from appliance.broker.handles import WITHDRAWN, HandleRefused
from appliance.broker.identity.external_ca import ExternalCaError, ExternalCaFault
from appliance.broker.identity.verification import CertificateRefusal
from appliance.broker.identity.workloads import EnrolmentRefused
from appliance.http1.refused import Refused
from appliance.refusal import Refusal

_MEND = "See the README on the broker's interface."

NOT_PLAIN = denied(400, "target-form", "Only plain HTTP/1.1 requests for a path are answered.", _MEND)
MISDIRECTED = denied(421, "not-the-broker", "The request is for another host than the broker.", _MEND)
METHOD_NOT_ALLOWED = denied(405, "method-not-allowed", "This path is not asked with that method.", _MEND)
BODY_UNWANTED = denied(400, "body-not-allowed", "This request has no body.", "Send none.")
NOT_JSON = denied(415, "content-type-not-allowed", "The body is no application/json.", "Send JSON.")
LINK_MISMATCH = denied(
    401, "workload_link_mismatch", "The client certificate was issued to another link than it came over.",
    "Use the certificate of this container.",
)  # fmt: skip
TOKEN_IN_REQUEST = denied(
    400, "token-in-request", "The session's token stands in the request that is to be sent.",
    "Present it in Authorization, and nowhere else.",
)  # fmt: skip
CONNECTOR_AMBIGUOUS = denied(
    400, "connector-ambiguous", "Several accounts of this tenant use that integration for that host.",
    "Name the account.",
)  # fmt: skip
PROOF_UNWANTED = denied(
    400, "proof-unwanted", "A DPoP proof came, and the session is not to be bound to its key.",
    'Ask with "dpop": true, or send no proof.',
)  # fmt: skip
NO_PROOF_IN_SLOT = denied(
    400, "proof-not-in-slot", "No proof can come along where a provider's key would stand.",
    "Ask for a session without an account, or without a key.",
)  # fmt: skip
NOT_FOUND = denied(404, "not-found", "Nothing is answered here.", _MEND)
NOT_READY = replace(
    failed(503, "not-ready", "The broker has not learnt yet which containers there are."), retry_after=1
)
STORE_UNAVAILABLE = failed(503, "store_unavailable", "The broker's database does not answer.")


def too_often(seconds: int) -> Refusal:
    """RFC 6585 section 4."""
    refusal = denied(429, "too-often", "That is asked for too often.", "Wait, then ask again.")
    return replace(refusal, retry_after=seconds)


def body_too_large(most: int) -> Refusal:
    """RFC 9110 section 15.5.14."""
    return denied(413, "body-too-large", f"The request body is over {most} bytes.", "Send less.").closing()


def malformed(fault: Refused) -> Refusal:
    """RFC 9112 section 11.2: no more octets of this connection are read."""
    return denied(
        fault.status, fault.reason, fault.detail, "Send one strictly formed HTTP/1.1 request."
    ).closing()


def body_invalid(detail: str) -> Refusal:
    """The body is not the message that is expected."""
    return denied(400, "body-invalid", f"{detail}.", "Send exactly the members that the README names.")


def url_invalid(detail: str) -> Refusal:
    """Not one absolute https URL of a host by name."""
    return denied(400, "url-invalid", f"The url {detail}.", "Write https://HOST/PATH, as the provider does.")


def request_invalid(reason: str, detail: str) -> Refusal:
    """What is to be sent is no request that we would send."""
    return denied(400, reason, f"{detail[0].upper()}{detail[1:]}.", "Send one plain request.")


def of_handle(error: HandleRefused) -> Refusal:
    """No handle."""
    if error.code == WITHDRAWN:
        return POLICY_CHANGED  # asked once more, what holds by then is told
    status = 403 if error.code == "execution-ended" else 429
    return denied(status, error.code, f"No handle: {error.detail}.", "End what is not needed any more.")


def field_not_allowed(name: str) -> Refusal:
    """A field by which somebody else would decide for whom, or for what host, the request is."""
    return denied(400, "field-not-allowed", f"The field {name} is not taken here.", "Leave it away.")


def of_certificate(refusal: CertificateRefusal) -> Refusal:
    """The workload's certificate does not count."""
    detail = refusal.detail[0].upper() + refusal.detail[1:] + "."
    return denied(401, refusal.fault, detail, "Ask for a new certificate.")


def of_denied(error: Denied) -> Refusal:
    """A token or a proof does not count. The fields that belong to it: `dpop.challenge`."""
    detail = error.detail[0].upper() + error.detail[1:] + "."
    if error.status >= 500:
        return STORE_UNAVAILABLE
    return denied(error.status, error.reason, detail, "Open a session, and present its token as it wants.")


def page(
    refusal: Refusal, request_id: str, headers: tuple[tuple[str, str], ...] = (), *, close: bool
) -> bytes:
    """The refusal as a whole response, with further fields."""
    whole = refusal.page(request_id, close=close)
    head, end, body = whole.partition(b"\r\n\r\n")
    lines = b"".join(f"\r\n{name}: {value}".encode("ascii") for name, value in headers)
    return head + lines + end + body


def of_enrolment(error: EnrolmentRefused) -> Refusal:
    """No certificate."""
    status = _STATUSES.get(error.code, 403)
    mend = "Send a PEM signing request for a P-256 key." if status == 400 else "Ask the operator."
    return denied(status, error.code, f"No certificate: {error.detail}.", mend)


def of_external_ca(error: ExternalCaError) -> Refusal:
    """No certificate from the operator's CA; nothing of what it said is in that."""
    status = 504 if error.code is ExternalCaFault.TIMEOUT else 502
    return failed(status, error.code, f"No certificate: {error.detail}.", "Try again, or ask the operator.")


_STATUSES = {"csr_invalid": 400, "life_invalid": 400, "attestation_invalid": 400}
