"""Every way in which a call to a provider is refused, as values (see `appliance.refusal`)."""

from __future__ import annotations

from appliance.audit.record import Outcome
from appliance.broker.identity.address_check import AddressRefusal
from appliance.http1.refused import ProtocolFault
from appliance.refusal import Refusal

RULE = "broker"
"""The `rule` of a refusal that no policy document can change."""

_ASK_OPERATOR = "Ask the operator of this appliance; nothing in the request can change it."


def denied(status: int, reason: str, detail: str, mend: str, rule: str = RULE) -> Refusal:
    """By a rule."""
    return Refusal(status, reason, detail, mend, rule)


def failed(status: int, reason: str, detail: str, mend: str = "Try again later.") -> Refusal:
    """Allowed, and not done."""
    return Refusal(status, reason, detail, mend, RULE, Outcome.FAILED)


DIALLER_UNAVAILABLE = failed(503, "dialler-unavailable", "No worker of the gateway connects for the broker.")
PEER_NOT_JUDGED = failed(
    502, "peer-not-judged", "A connection was made to another address than was judged.", _ASK_OPERATOR
)
AUDIT_UNAVAILABLE = failed(
    503, "audit-unavailable", "The decision could not be recorded, so nothing is allowed.",
    "Ask the operator to free space for the audit log.",
)  # fmt: skip
INTERNAL = failed(500, "internal-error", "The broker failed.", _ASK_OPERATOR)
UPSTREAM_CLOSED = failed(502, "upstream-closed", "The provider closed the connection before it had answered.")
UPSTREAM_TIMEOUT = failed(504, "upstream-response-timeout", "The provider did not answer in time.")
HANDSHAKE_TIMEOUT = failed(504, "upstream-connect-timeout", "The provider's TLS handshake took too long.")
SECRETS_UNAVAILABLE = failed(503, "store_unavailable", "Too much waits for the broker's database.")
SESSIONS_UNAVAILABLE = failed(503, "sessions-unavailable", "The store of sessions does not answer.")
ABANDONED = Refusal(
    499, "client-closed", "Whoever asked was gone before the answer was complete.", "", RULE, Outcome.FAILED
)
ACCOUNT_UNBOUND = denied(
    403,
    "account-not-bound",
    "No active integration account of this tenant covers the request.",
    _ASK_OPERATOR,
)
POLICY_CHANGED = denied(
    403, "policy-changed", "The account was changed while the call was under way.", "Send it once more."
)
EXECUTION_ENDED = denied(
    403, "execution-ended", "What runs on this link was ended after an authority collision.",
    "Start the container anew.",
)  # fmt: skip
_ELSEWHERE = AddressRefusal()
ADDRESS_DENIED = denied(
    _ELSEWHERE.status, _ELSEWHERE.code, "The workload may not be used from this address.", _ASK_OPERATOR
)
BODIES_TOO_LARGE = failed(
    503, "bodies-too-large", "Too many large bodies wait in the broker, which needs each of them whole.",
    "Try again when other calls are done, or send less.",
)  # fmt: skip
FORM_UNREAD = denied(
    400, "body-not-allowed", "The form has too many parts or is coded: it cannot be looked into.",
    "Send it plain, or in several smaller ones.",
)  # fmt: skip
CALL_TIMEOUT = failed(504, "call-timeout", "The call could not be sent in time, or its body did not come.")
ACCOUNT_WITHDRAWN = denied(
    403, "account-withdrawn", "The account, or its secret, was taken away while the call was under way.",
    _ASK_OPERATOR,
)  # fmt: skip
WORKLOAD_DISABLED = denied(
    403, "workload_disabled", "The operator has disabled this workload while its call was under way.",
    _ASK_OPERATOR,
)  # fmt: skip
VAULT_LOCKED = failed(
    503, "vault-locked", "The vault was locked while the call was under way.", _ASK_OPERATOR
)
REFERENCE_UNKNOWN = denied(
    403, "reference-unknown", "The reference in the request names no secret of the bound account.",
    "Write the name of the account's secret, or send no authority.",
)  # fmt: skip
HANDLE_DEAD = denied(
    403, "handle-dead", "The handle in the request is not alive.",
    "Ask for a new one; a handle lives at most 300 s and as long as its execution.",
)  # fmt: skip
WEBSOCKETS_FULL = failed(
    503, "websockets-too-many", "Too many WebSockets of this tenant, or of all, are open.",
    "Close one that is not needed.",
)  # fmt: skip
TUNNEL_IDLE = failed(504, "tunnel-idle", "Nothing went through the WebSocket for too long.")
TUNNEL_TOO_OLD = failed(504, "tunnel-too-old", "The WebSocket reached its greatest age.", "Open another.")
OWN_CERTIFICATE_UNUSABLE = failed(
    502, "credential-unusable", "The account's certificate, or its key, cannot be used.", _ASK_OPERATOR
)
BODY_INVALID_MEND = "Send a body that fits the integration's schema."


def collision(where: str) -> Refusal:
    """Requirement 004-16: the caller brings authority of its own."""
    return denied(
        403, "authority-collision", f"The request brings an authority of its own ({where}).",
        "Send none, or a handle or reference of the bound account. What ran here is stopped.",
    )  # fmt: skip


def not_scrubbed(code: str) -> Refusal:
    """What cannot be searched for secrets is not passed on."""
    mend = _SCRUB_MEND.get(code, "Ask for an answer without a content coding.")
    return failed(502, code, "The answer cannot be searched for secrets, so it is not passed on.", mend)


_SCRUB_MEND = {
    "content-partial": "Ask for the whole, without Range: a secret could stand across two parts.",
    "content-charset-unknown": "Ask for UTF-8.",
    "scrub-secret-short": "Ask the operator for a longer secret: 8 octets and more can be told from text.",
    "scrub-secret-long": _ASK_OPERATOR,
    "scrub-secret-plain": _ASK_OPERATOR,
    "scrub-failed": _ASK_OPERATOR,
}


def other_resource(field: str) -> Refusal:
    """A field names what no rule has judged."""
    return denied(
        403, "other-resource", f"The field {field} names another resource, which no path rule has judged.",
        "Read it and write it in two calls.",
    )  # fmt: skip


def of_credential(code: str, detail: str) -> Refusal:
    """No credential, so no call."""
    return failed(502, code, detail, _ASK_OPERATOR)


def body_too_large(limit: int, rule: str) -> Refusal:
    """A body of no announced length grew over the group's cap (RFC 9110 section 15.5.14)."""
    return denied(
        413, "body-too-large", f"The request body is over {limit} bytes.", "Send less.", rule
    ).closing()


def frames_exceeded(limit: int) -> Refusal:
    """As the gateway says it, for one WebSocket."""
    detail = f"The WebSocket had more than {limit} frames in a second."
    return denied(429, "frames-per-second-exceeded", detail, "Send fewer and longer ones.")


def upstream_protocol(fault: ProtocolFault) -> Refusal:
    """What the provider said is not what it should be."""
    return failed(502, "upstream-protocol-error", f"{fault.reason}: {fault.detail}")


def of_vault(code: str, detail: str) -> Refusal:
    """There is no secret to be used: none of that name, or the vault is locked or damaged."""
    return failed(503 if code == "vault-locked" else 502, code, detail, _ASK_OPERATOR)


KIND_UNFIT = failed(
    502, "credential-mismatch", "The account's secret is of a kind that its integration has no place for.",
    _ASK_OPERATOR,
)  # fmt: skip
