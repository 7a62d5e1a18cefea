"""What is on record of a call, answered or refused."""

from __future__ import annotations

from dataclasses import replace

from appliance.audit.record import CallRecord, Outcome
from appliance.broker.calls import refusals
from appliance.broker.calls.checks import Allowed, binding, policy_allows
from appliance.broker.calls.recording import call_record
from appliance.http1.head import RequestHead, parse_request_head
from tests.unit.broker.calls.support import ATTESTED, account, policy_of
from tests.unit.broker.calls.test_for_caller import attested

POLICY = policy_of(account())


def recorded(allowed: Allowed | None, refusal, attestation=ATTESTED) -> CallRecord:
    head = parse_request_head(b"GET /data/1?page=2 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    assert isinstance(head, RequestHead)
    if allowed is None and refusal is None:
        found = policy_allows(ATTESTED, head, binding(ATTESTED, POLICY), POLICY)
        assert isinstance(found, Allowed)
        allowed = found
    return call_record(
        attestation, head, allowed, refusal, secret=None, presented=None, checks=("intent",), status=200,
        upstream_address=None, duration_ms=1.5, generation="one",
    )  # fmt: skip


def test_000_04_an_answered_call_has_the_verdicts_reason() -> None:
    record = recorded(None, None)
    assert (record.outcome, record.reason, record.group) == (
        Outcome.ALLOWED,
        "allowed-by-integration",
        "read",
    )
    assert (record.path, record.query_keys, record.detail) == ("/data/1", ("page",), None)


def test_000_04_a_refused_one_has_the_refusals() -> None:
    record = recorded(None, refusals.ACCOUNT_UNBOUND)
    assert (record.outcome, record.reason, record.group) == (Outcome.DENIED, "account-not-bound", None)
    assert record.detail == refusals.ACCOUNT_UNBOUND.detail


def test_what_is_not_known_is_null() -> None:
    record = recorded(None, refusals.INTERNAL, replace(ATTESTED, container="", run=""))
    assert (record.container, record.run) == (None, None)


def test_002_07_a_callers_call_says_who_called_and_names_no_container() -> None:
    record = recorded(None, refusals.INTERNAL, attested())
    assert (record.principal, record.source) == ("api-key:ci", "uid:1000")
    assert (record.endpoint, record.container, record.run) == (None, None, None)
    assert recorded(None, refusals.INTERNAL).principal is None
