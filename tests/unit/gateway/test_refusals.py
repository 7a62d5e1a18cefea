from __future__ import annotations

import json

import pytest

from appliance.audit.record import Outcome
from appliance.gateway import refusals
from appliance.gateway.refusals import Refusal
from appliance.http1.refused import Refused, UpstreamInvalid
from appliance.policy.verdict import Outcome as Decision
from appliance.policy.verdict import Reason, Verdict
from appliance.resolver.client import Unresolved

CONSTANTS = [value for value in vars(refusals).values() if isinstance(value, Refusal)]


@pytest.mark.parametrize("refusal", CONSTANTS, ids=lambda refusal: refusal.reason)
def test_every_refusal_makes_a_page_and_none_is_407(refusal) -> None:
    assert refusal.status != 407
    head, body = refusals.page(refusal, "id-1").split(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["type"] == f"urn:egress:refusal:{refusal.reason}"
    assert problem["reason"] == refusal.reason
    assert problem["request_id"] == "id-1"
    assert {"title", "status", "detail", "rule", "mend"} <= problem.keys()
    assert b"X-Egress-Request-Id: id-1" in head
    assert (b"Retry-After" in head) == (refusal.retry_after is not None)


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
    assert refusals.alert(refusals.NO_SERVER_NAME) == b"\x15\x03\x03\x00\x02\x02\x70"


def test_the_answer_to_head_has_no_body() -> None:
    assert refusals.page(refusals.OWN_ADDRESS, "id", head_only=True).endswith(b"\r\n\r\n")
