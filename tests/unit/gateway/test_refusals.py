from __future__ import annotations

import json

import pytest

from appliance.audit.record import Outcome
from appliance.gateway import refusals
from appliance.http1.refused import Refused, UpstreamInvalid
from appliance.limits.budget import Exceeded, Measure, Scope
from appliance.policy.verdict import Outcome as Decision
from appliance.policy.verdict import Reason, Verdict
from appliance.refusal import Refusal
from appliance.resolver.client import Unresolved
from appliance.tls.upstream import UpstreamFault

CONSTANTS = [value for value in vars(refusals).values() if isinstance(value, Refusal)]


@pytest.mark.parametrize("refusal", CONSTANTS, ids=lambda refusal: refusal.reason)
def test_every_refusal_makes_a_page_and_none_is_407(refusal) -> None:
    assert refusal.status != 407
    head, body = refusal.page("id-1").split(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["type"] == f"urn:egress:refusal:{refusal.reason}"
    assert problem["reason"] == refusal.reason
    assert problem["request_id"] == "id-1"
    assert {"title", "status", "detail", "rule", "mend"} <= problem.keys()
    assert b"X-Egress-Request-Id: id-1" in head
    assert (b"Retry-After" in head) == (refusal.retry_after is not None)


def proxy_error(refusal: Refusal) -> str:
    """As the client reads it in the Proxy-Status field."""
    head = refusal.page("id-1").decode()
    return head.partition("Proxy-Status: egress; error=")[2].partition(";")[0]


# RFC 9209 section 2.3; a constant that is not here is the request's own fault, by its status.
DENIED, OURS, TERMINATED = "http_request_denied", "proxy_internal_error", "connection_terminated"
PROXY_ERRORS = {
    "IPV6": "destination_ip_prohibited", "UPLINK_PROXY_ADDRESS": "destination_ip_prohibited",
    "UPGRADE": DENIED, "OWN_ADDRESS": DENIED, "POLICY_CHANGED": DENIED, "ENDPOINT_REMOVED": DENIED,
    "SOURCE_UNKNOWN": DENIED, "NOT_FOR_THIS_HOST": DENIED, "ENCRYPTED_NAME": DENIED,
    "CLIENT_CLOSED": DENIED, "OWN_DOCUMENT": DENIED,  # for the record alone: no page says them
    "TOO_MANY_CONNECTIONS": OURS, "LIMITS_UNAVAILABLE": OURS, "AUDIT_UNAVAILABLE": OURS, "INTERNAL": OURS,
    "DRAINED": OURS, "BROKER_UNAVAILABLE": OURS, "LEAF_UNAVAILABLE": OURS,
    "UNREACHABLE": "destination_unavailable", "UPLINK_PROXY_UNREACHABLE": "destination_unavailable",
    "CONNECT_TIMEOUT": "connection_timeout", "UPLINK_PROXY_TIMEOUT": "connection_timeout",
    "RESPONSE_TIMEOUT": "connection_read_timeout", "TUNNEL_IDLE": "connection_read_timeout",
    "RESPONSE_NOT_READ": "connection_write_timeout", "TUNNEL_TOO_OLD": "http_response_timeout",
    "UPSTREAM_CLOSED": TERMINATED, "TUNNEL_BROKEN": TERMINATED,
    "RESPONSE_TOO_LARGE": "http_response_body_size",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, value in vars(refusals).items() if value in CONSTANTS])
def test_the_type_of_error_of_each_constant(name: str) -> None:
    refusal = getattr(refusals, name)
    assert proxy_error(refusal) == PROXY_ERRORS.get(name, "http_request_error")
    assert name in PROXY_ERRORS or refusal.status < 500


EXCEEDED = Exceeded(Scope.TENANT, Measure.REQUESTS, 10, 1)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (refusals.exceeded(EXCEEDED), DENIED),
        (refusals.misdirected("host-mismatch", "…"), DENIED),
        (refusals.server_name_mismatch("a", "b"), DENIED),
        (refusals.not_pinned("a", "b"), DENIED),
        (refusals.server_name_invalid("…"), "http_request_error"),
        (refusals.handshake_failed("…"), "http_request_error"),
        (refusals.body_too_large(1, "r"), "http_request_error"),
        (refusals.uplink_proxy_refused(403), "connection_refused"),
        (refusals.uplink_proxy_invalid("…"), "http_protocol_error"),
        (refusals.malformed(Refused(400, "obs-fold", "…")), "http_request_error"),
        (refusals.malformed(Refused(501, "coding-unknown", "…")), "http_request_error"),
        (refusals.malformed(UpstreamInvalid("obs-fold", "…")), "http_protocol_error"),
        (refusals.malformed(UpstreamInvalid("head-too-large", "…")), "http_response_header_section_size"),
        (refusals.malformed(UpstreamInvalid("too-many-headers", "…")), "http_response_header_section_size"),
        (refusals.malformed(UpstreamInvalid("coding-unknown", "…")), "http_response_transfer_coding"),
        (refusals.malformed(UpstreamInvalid("websocket-not-accepted", "…")), "http_upgrade_failed"),
        *((refusals.not_verified("a", fault, "…"), "tls_certificate_error")
          for fault in UpstreamFault if fault is not UpstreamFault.PROTOCOL),
        (refusals.not_verified("a", UpstreamFault.PROTOCOL, "…"), "tls_protocol_error"),
        (refusals.unresolved(Unresolved("upstream-timeout", "…")), "dns_timeout"),
        (refusals.unresolved(Unresolved("upstream-failed", "…")), "dns_error"),
        (refusals.unresolved(Unresolved("name-does-not-exist", "…")), "dns_error"),
        (refusals.unresolved(Unresolved("resolver-unavailable", "…")), OURS),
        (refusals.unresolved(Unresolved("audit-unavailable", "…")), OURS),
        (refusals.unresolved(Unresolved("host-not-listed", "…", denied=True)), DENIED),
        (refusals.unresolved(Unresolved("private-address", "…", denied=True)), "destination_ip_prohibited"),
    ],
    ids=lambda value: value.reason if isinstance(value, Refusal) else None,
)  # fmt: skip
def test_the_type_of_error_of_what_is_made(refusal: Refusal, expected: str) -> None:
    assert proxy_error(refusal) == expected


@pytest.mark.parametrize("reason", Reason)
def test_the_type_of_error_of_a_verdict(reason: Reason) -> None:
    refusal = refusals.from_verdict(Verdict(Decision.DENY, reason, "acme.yaml:3", "No.", "Ask."))
    if reason in {Reason.PRIVATE_ADDRESS, Reason.ADDRESS_DENIED}:
        expected = "destination_ip_prohibited"
    else:
        expected = DENIED if refusal.status == 403 else "http_request_error"
    assert proxy_error(refusal) == expected


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.METHOD_NOT_ALLOWED, 403),
        (Reason.URI_TOO_LONG, 414),
        (Reason.HEADERS_TOO_LARGE, 431),
        (Reason.BODY_TOO_LARGE, 413),
    ],
)
def test_a_verdict_keeps_its_reason_and_rule(reason, status) -> None:
    refusal = refusals.from_verdict(Verdict(Decision.DENY, reason, "acme.yaml:3", "No.", "Ask."))
    assert (refusal.status, refusal.reason, refusal.rule) == (status, reason.value, "acme.yaml:3")
    assert refusal.outcome is Outcome.DENIED


def test_whose_fault_a_malformed_message_was() -> None:
    client = refusals.malformed(Refused(400, "obs-fold", "a folded line"))
    assert (client.status, client.reason, client.outcome, client.closes) == (
        400,
        "obs-fold",
        Outcome.DENIED,
        True,
    )
    server = refusals.malformed(UpstreamInvalid("obs-fold", "a folded line"))
    assert (server.status, server.reason, server.outcome) == (502, "upstream-protocol-error", Outcome.FAILED)


@pytest.mark.parametrize(
    ("answer", "status", "outcome", "rule"),
    [
        (Unresolved("resolver-unavailable", "…"), 503, Outcome.FAILED, "gateway"),
        (Unresolved("endpoint-unknown", "…"), 503, Outcome.FAILED, "gateway"),
        (Unresolved("private-address", "…", denied=True, rule="table"), 403, Outcome.DENIED, "table"),
        (Unresolved("name-does-not-exist", "…"), 502, Outcome.FAILED, "gateway"),
        (Unresolved("upstream-timeout", "…"), 504, Outcome.FAILED, "gateway"),
    ],
)
def test_what_the_resolver_says(answer, status, outcome, rule) -> None:
    refusal = refusals.unresolved(answer)
    assert (refusal.status, refusal.reason, refusal.outcome, refusal.rule) == (
        status, answer.reason, outcome, rule,
    )  # fmt: skip


def test_an_alert_is_one_fatal_record() -> None:
    assert refusals.NO_SERVER_NAME.alert_record() == b"\x15\x03\x03\x00\x02\x02\x70"


def test_the_answer_to_head_has_no_body() -> None:
    assert refusals.OWN_ADDRESS.page("id", head_only=True).endswith(b"\r\n\r\n")
