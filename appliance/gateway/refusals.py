"""Every way in which the gateway says no, as values (see `appliance.refusal`).

Refusals by policy come as verdicts, those of the HTTP gate as `Refused`; the rest have a constructor here.
Statuses are of RFC 9110 section 15; 407 is never used, because the link is the identity.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.audit.record import Outcome
from appliance.http1.refused import ProtocolFault, UpstreamInvalid
from appliance.limits.budget import Exceeded
from appliance.policy.verdict import Reason, Verdict
from appliance.refusal import Refusal
from appliance.resolver.client import UNKNOWN_ENDPOINT, Unresolved
from appliance.tls.upstream import UpstreamFault

_ASK_OPERATOR = "Ask the operator of this appliance; nothing in the request can change it."

_VERDICT_STATUS = {"uri-too-long": 414, "headers-too-large": 431, "body-too-large": 413}
_PROHIBITED = "destination_ip_prohibited"
_VERDICT_ERROR: dict[str, str] = {Reason.PRIVATE_ADDRESS: _PROHIBITED, Reason.ADDRESS_DENIED: _PROHIBITED}
_RESPONSE_ERROR = {
    "head-too-large": "http_response_header_section_size",
    "too-many-headers": "http_response_header_section_size",
    "coding-unknown": "http_response_transfer_coding",
    "websocket-not-accepted": "http_upgrade_failed",
}


def from_verdict(verdict: Verdict) -> Refusal:
    """A policy's denial. RFC 9110: 413, 414 and 431 for what is too large, 403 for the rest."""
    reason = str(verdict.reason)
    return Refusal(
        _VERDICT_STATUS.get(reason, 403), reason, verdict.detail, verdict.mend, verdict.rule,
        proxy_error=_VERDICT_ERROR.get(reason),
    )  # fmt: skip


def malformed(fault: ProtocolFault) -> Refusal:
    """The HTTP gate takes no more bytes of this connection (RFC 9112 section 11.2)."""
    if isinstance(fault, UpstreamInvalid):
        error = _RESPONSE_ERROR.get(fault.reason, "http_protocol_error")
        return failed(
            fault.status, "upstream-protocol-error", f"{fault.reason}: {fault.detail}", proxy_error=error
        )
    mend = "Send one strictly formed HTTP/1.1 request (RFC 9112)."
    return Refusal(fault.status, fault.reason, fault.detail, mend, closes=True)


def failed(
    status: int, reason: str, detail: str, mend: str = "Try again later.", *, proxy_error: str | None = None
) -> Refusal:
    """Allowed, but not done: the fault lies upstream, or with us if there is no `proxy_error`."""
    return Refusal(status, reason, detail, mend, outcome=Outcome.FAILED, proxy_error=proxy_error)


def misdirected(reason: str, detail: str) -> Refusal:
    """RFC 9110 section 15.5.20: the request is for another authority than its connection."""
    mend = "Open a connection of its own for each host and port."
    return Refusal(421, reason, detail, mend, closes=True)


def unresolved(answer: Unresolved) -> Refusal:
    """The resolver gives no address for a name: denied there, or not found."""
    if answer.denied:
        rule = answer.rule or "resolver"
        error = _VERDICT_ERROR.get(answer.reason)
        return Refusal(403, answer.reason, answer.detail, _ASK_OPERATOR, rule, proxy_error=error)
    if answer.reason in _UNAVAILABLE:
        return replace(failed(503, answer.reason, answer.detail), retry_after=1)
    if answer.reason.endswith("-timeout"):
        return failed(504, answer.reason, answer.detail, proxy_error="dns_timeout")
    return failed(502, answer.reason, answer.detail, "Check the host name.", proxy_error="dns_error")


_UNAVAILABLE = frozenset({"resolver-unavailable", "resolver-busy", UNKNOWN_ENDPOINT, "audit-unavailable"})

IPV6 = Refusal(
    403,
    "private-address",
    "IPv6 is not configured on this appliance.",
    "Use a host name with an IPv4 address.",
    proxy_error=_PROHIBITED,
)
UPGRADE = Refusal(
    403, "upgrade-not-allowed", "The connection may not change its protocol.",
    "Send the request without an Upgrade field.", closes=True,
)  # fmt: skip
WEBSOCKET_EARLY = Refusal(
    400, "websocket-early-data", "Bytes, or the end of them, came before the WebSocket was open.",
    "Wait for the answer (RFC 6455 section 4.1).", closes=True,
)  # fmt: skip
CONNECT_IN_TUNNEL = Refusal(
    400, "connect-in-tunnel", "A tunnel was asked for inside a tunnel.",
    "Send CONNECT to the gateway itself.", closes=True,
)  # fmt: skip
TARGET_FORM = Refusal(
    400, "target-form", "The request target's form does not fit this connection.",
    "Use origin-form (RFC 9112 section 3.2).", closes=True,
)  # fmt: skip
OWN_ADDRESS = Refusal(
    403, "own-address", "This address belongs to the gateway and serves only /.well-known/egress/.",
    "Use the host name of the service that you want to reach.",
)  # fmt: skip
NOT_FOR_THIS_HOST = Refusal(
    403, "secret-not-bound", "A handle or reference stands in a request that no integration account carries.",
    "Send it to the host of the account that it belongs to, or ask the operator to bind one.",
)  # fmt: skip
WITHHELD_TOO_LARGE = Refusal(
    431, "headers-too-large", "Too many header fields came that no server is sent.",
    "Send none of those that speak for a proxy.", closes=True,
)  # fmt: skip
HEAD_TIMEOUT = Refusal(
    408, "request-head-timeout", "The request head was not complete in time.", "Send it faster.", closes=True
)
BODY_TIMEOUT = Refusal(
    408,
    "request-body-timeout",
    "No byte of the request body came for too long.",
    "Send it faster.",
    closes=True,
)
RESPONSE_NOT_READ = Refusal(
    408, "response-not-read", "Nothing of the answer was taken for too long.", "Read it faster.",
    outcome=Outcome.FAILED, closes=True, proxy_error="connection_write_timeout",
)  # fmt: skip
TOO_MANY_CONNECTIONS = Refusal(
    503, "too-many-connections",
    "All containers together have too many connections open; none is left for this tenant, or for its share.",
    "Close connections that are idle, or try again later.",
    outcome=Outcome.FAILED, retry_after=1, closes=True,
)  # fmt: skip
LIMITS_UNAVAILABLE = Refusal(
    503, "limits-unavailable", "What has been used cannot be counted, so nothing is allowed.",
    "Ask the operator; the gateway's log says what is wrong.",
    outcome=Outcome.FAILED, retry_after=5, closes=True,
)  # fmt: skip
AUDIT_UNAVAILABLE = Refusal(
    503, "audit-unavailable", "The decision could not be recorded, so nothing is allowed.",
    "Ask the operator to free space for the audit log.", outcome=Outcome.FAILED, retry_after=5, closes=True,
)  # fmt: skip
POLICY_CHANGED = Refusal(
    403, "policy-changed", "The policy changed while this was under way and no longer allows it.",
    "See `egress policy explain`.", closes=True,
)  # fmt: skip
ENDPOINT_REMOVED = Refusal(
    403, "endpoint-removed", "The container left its network.", _ASK_OPERATOR, closes=True
)
RESPONSE_TOO_LARGE = Refusal(
    502, "response-too-large", "The response is larger than the policy's cap.",
    "Ask for less at a time, or ask the operator for a higher cap.", closes=True,
    proxy_error="http_response_body_size",
)  # fmt: skip
CONNECT_TIMEOUT = failed(
    504, "upstream-connect-timeout", "The server did not accept a connection in time.",
    proxy_error="connection_timeout",
)  # fmt: skip
RESPONSE_TIMEOUT = failed(
    504, "upstream-response-timeout", "The server did not answer in time.",
    proxy_error="connection_read_timeout",
)  # fmt: skip
UNREACHABLE = failed(
    502, "upstream-unreachable", "No connection to any address of the host could be made.",
    proxy_error="destination_unavailable",
)  # fmt: skip
UPLINK_PROXY_ADDRESS = Refusal(
    403, "uplink-proxy-address", "This address is a way out of the appliance and no destination.",
    _ASK_OPERATOR, proxy_error=_PROHIBITED,
)  # fmt: skip
UPLINK_PROXY_UNREACHABLE = failed(
    502, "uplink-proxy-unreachable", "The proxy of this appliance's uplink accepts no connection.",
    _ASK_OPERATOR, proxy_error="destination_unavailable",
)  # fmt: skip
UPLINK_PROXY_TIMEOUT = failed(
    504, "uplink-proxy-timeout", "The proxy of this appliance's uplink did not answer in time.",
    proxy_error="connection_timeout",
)  # fmt: skip
UPSTREAM_CLOSED = failed(
    502, "upstream-closed", "The server closed the connection before it had answered.",
    proxy_error="connection_terminated",
)  # fmt: skip
BROKER_UNAVAILABLE = replace(
    failed(503, "broker-unavailable", "The broker, which makes this call, does not answer."), retry_after=1
)
INTERNAL = failed(500, "internal-error", "The gateway failed.", _ASK_OPERATOR).closing()
DRAINED = failed(503, "draining", "The gateway is restarting.").closing()


SOURCE_UNKNOWN = Refusal(
    403, "source-unknown", "No container endpoint has this source address.", _ASK_OPERATOR, closes=True
)
NO_FIRST_BYTES = Refusal(
    408,
    "no-first-bytes",
    "The client did not say in time what it wants.",
    "Speak HTTP or TLS first.",
    closes=True,
)
NO_SERVER_NAME = Refusal(
    400, "no-server-name", "The TLS ClientHello names no server (RFC 6066 section 3).",
    "Connect by host name with a client that sends SNI.", closes=True, alert=112,
)  # fmt: skip
TLS_INVALID = Refusal(
    400, "tls-invalid", "The first bytes are no TLS ClientHello that can be read.", "Speak TLS 1.2 or 1.3.",
    closes=True, alert=50,
)  # fmt: skip
ENCRYPTED_NAME = Refusal(
    403, "encrypted-server-name",
    "TLS that is passed on unread may hide no other server name (ECH, RFC 9849).",
    "Turn Encrypted ClientHello off in the client, also as GREASE, or have the operator intercept this host.",
    closes=True,
)  # fmt: skip
NOT_TLS_IN_TUNNEL = Refusal(
    400, "not-tls-in-tunnel", "A CONNECT tunnel carries TLS for its host and nothing else.",
    "Use an http:// URL through the proxy without CONNECT; other protocols are not carried.", closes=True,
)  # fmt: skip
LEAF_UNAVAILABLE = Refusal(
    503, "leaf-unavailable", "The gateway has no valid certificate authority at the moment.",
    "Try again; if it stays, the operator sees the cause in `egress status`.",
    outcome=Outcome.FAILED, closes=True, alert=80,
)  # fmt: skip
CLIENT_CLOSED = Refusal(
    499, "client-closed", "The client closed the connection before the answer was complete.", "",
    outcome=Outcome.FAILED, closes=True,
)  # fmt: skip
OWN_DOCUMENT = Refusal(
    200, "own-document", "One of the gateway's own documents.", "", outcome=Outcome.ALLOWED
)
TUNNEL_IDLE = failed(
    504, "tunnel-idle", "Nothing went through the tunnel for too long.",
    proxy_error="connection_read_timeout",
).closing()  # fmt: skip
TUNNEL_TOO_OLD = failed(
    504, "tunnel-too-old", "The tunnel reached its greatest age.", proxy_error="http_response_timeout"
).closing()
TUNNEL_BROKEN = failed(
    502, "tunnel-broken", "One side of the tunnel broke off.", proxy_error="connection_terminated"
).closing()


def server_name_invalid(detail: str) -> Refusal:
    """Attacks C2 and C3 in SNI, and addresses as SNI (RFC 6066 section 3 forbids them)."""
    mend = "Connect by host name."
    return Refusal(
        400, "server-name-invalid", f"The TLS server name is no host name: {detail}.", mend, alert=112
    )


def server_name_mismatch(name: object, host: object) -> Refusal:
    """Attack D3: the tunnel was judged for another host."""
    return replace(
        misdirected("server-name-mismatch", f"The tunnel is for {host}, the TLS server name is {name}."),
        alert=112,
    )


def handshake_failed(error: object) -> Refusal:
    """Attack D10: the client did not take our certificate, or speaks no TLS that we speak."""
    return failed(
        400, "tls-handshake-failed", f"The TLS handshake with the client failed: {error!s:.200}.",
        "Trust the appliance's CA (`/.well-known/egress/ca.pem`), offer TLS 1.2 or 1.3 and http/1.1.",
    )  # fmt: skip


def exceeded(limit: Exceeded) -> Refusal:
    """RFC 6585 section 4, with Retry-After (RFC 9110 section 10.2.3) of when there is room again.

    The connection is closed: whoever goes on asking pays for a new one, and those are bounded as well.
    """
    return Refusal(
        429, limit.reason, f"The limit {limit.path} of {limit.limit} is reached.",
        f"Wait {limit.retry_after} s, or ask for a higher {limit.path} in the tenant's policy.", limit.path,
        retry_after=limit.retry_after, closes=True,
    )  # fmt: skip


def no_integration(prefix: str) -> Refusal:
    """Base-URL mode, and the first segment names nothing that is bound to the tenant."""
    return Refusal(
        403, "integration-not-bound", f"No account of this tenant is /{prefix:.64}/… of base-URL mode.",
        "Write the integration's name behind the host, or ask the operator to bind one.",
    )  # fmt: skip


def body_too_large(limit: int, rule: str) -> Refusal:
    """A body of no announced length grew over the rule's cap (RFC 9110 section 15.5.14)."""
    return Refusal(
        413, "body-too-large", f"The request body is over {limit} bytes.",
        "Send less, or ask for a rule with a higher cap.", rule, closes=True,
    )  # fmt: skip


def not_pinned(host: object, address: object) -> Refusal:
    """Attack D5: the name is allowed, but the address is not one that it was resolved to."""
    return Refusal(
        403, "destination-not-pinned", f"{address} is not an address that {host} was resolved to here.",
        "Resolve the name with the container's own resolver and connect to that address.", closes=True,
    )  # fmt: skip


def uplink_proxy_refused(status: int) -> Refusal:
    """RFC 9110 section 9.3.6: any answer but a success means that there is no tunnel."""
    return failed(
        502, "uplink-proxy-refused", f"The proxy of this appliance's uplink refused with status {status}.",
        "The operator must allow this appliance there CONNECT to public addresses, ports 80 and 443.",
        proxy_error="connection_refused",
    )  # fmt: skip


def uplink_proxy_invalid(detail: str) -> Refusal:
    """What the proxy answered is not the one head that opens a tunnel; nothing was sent through it."""
    return failed(
        502, "uplink-proxy-invalid", f"The proxy of this appliance's uplink cannot be used: {detail}.",
        _ASK_OPERATOR, proxy_error="http_protocol_error",
    )  # fmt: skip


def not_verified(host: object, fault: UpstreamFault, detail: str) -> Refusal:
    """Attack D11: the upstream could not prove that it is `host`; nothing was sent to it."""
    error = "tls_protocol_error" if fault is UpstreamFault.PROTOCOL else "tls_certificate_error"
    return failed(
        502, str(fault), f"No verified TLS connection to {host}: {detail}.",
        "The server's operator must mend it; verification cannot be switched off.",
        proxy_error=error,
    )  # fmt: skip
