"""Squid's lines as records: who, what, why; never a value of a query."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from uuid import UUID

from appliance.audit.record import ConnectionRecord, Interception, Outcome, RequestRecord
from appliance.endpoints import Endpoint
from squid.accesslog import FORMAT, Line, parse, record_of
from squid.render import render
from tests.unit.squid.test_render import PLACE, ours

IDENTITY = UUID(int=7)
CALLER = Endpoint(
    id="e" * 64, network="n" * 64, tenant="acme", address=IPv4Address("172.20.0.2"), interface="t-e", ifindex=3,
    container="c1", name="job", run="r1",
)  # fmt: skip
TEXT = "172.20.0.2 4711 GET https www.example.com 443 /a?key=hidden&other 200 93.184.216.34 120 3456 17 -"


def line(**changes: str) -> Line:
    parsed = parse(TEXT)
    assert parsed is not None
    return replace(parsed, **changes)


def test_the_format_is_what_squid_is_told_to_write() -> None:
    assert f"logformat egress {FORMAT}\n" in render(ours("profile: read-only-web\n"), PLACE)


def test_an_allowed_request() -> None:
    record = record_of(line(), CALLER, IDENTITY)
    assert isinstance(record, RequestRecord)
    assert (record.tenant, record.container, record.run, record.source) == (
        "acme",
        "c1",
        "r1",
        "172.20.0.2:4711",
    )
    assert (record.method, record.host, record.port, record.path) == ("GET", "www.example.com", 443, "/a")
    assert record.query_keys == ("key", "other")
    assert (record.outcome, record.reason, record.status) == (Outcome.ALLOWED, "allowed-by-fallback", 200)
    assert (record.bytes_to_client, record.upstream_address, record.duration_ms) == (
        3456,
        "93.184.216.34",
        17.0,
    )
    assert record.tls is Interception.INTERCEPTED
    assert "hidden" not in repr(record)


def test_an_error_of_the_server_is_no_refusal_of_ours() -> None:
    record = record_of(line(status="404"), CALLER, IDENTITY)
    assert record is not None
    assert (record.outcome, record.reason) == (Outcome.ALLOWED, "allowed-by-fallback")


def test_refused_failed_and_unknown() -> None:
    for error, outcome, reason in (
        ("ERR_EGRESS_METHOD", Outcome.DENIED, "method-not-allowed"),
        ("ERR_EGRESS_PRIVATE_ADDRESS", Outcome.DENIED, "private-address"),
        ("ERR_CONFLICT_HOST", Outcome.DENIED, "host-mismatch"),
        ("ERR_DNS_FAIL", Outcome.FAILED, "name-not-resolved"),
        ("ERR_SECURE_CONNECT_FAIL", Outcome.FAILED, "upstream-certificate-invalid"),
        ("ERR_CLIENT_GONE", Outcome.FAILED, "upstream-failed"),
    ):
        record = record_of(line(error=error, status="403"), None, IDENTITY)
        assert record is not None
        assert (record.outcome, record.reason, record.tenant) == (outcome, reason, None)


def test_a_tunnel_is_on_record_when_it_is_refused_else_by_its_requests() -> None:
    tunnel = line(method="CONNECT", scheme="-", target="-")
    assert record_of(tunnel, CALLER, IDENTITY) is None
    refused = record_of(replace(tunnel, error="ERR_EGRESS_HOST_NOT_LISTED", status="403"), CALLER, IDENTITY)
    assert isinstance(refused, RequestRecord)
    assert (refused.method, refused.reason) == ("CONNECT", "host-not-listed")


def test_what_was_no_request() -> None:
    record = record_of(
        line(scheme="-", method="NONE", error="ERR_INVALID_REQ", status="400"), CALLER, IDENTITY
    )
    assert isinstance(record, ConnectionRecord)
    assert (record.outcome, record.reason) == (Outcome.DENIED, "request-malformed")


def test_a_line_that_is_none() -> None:
    assert parse("") is None
    assert parse(TEXT + " more") is None
    odd = record_of(line(port="x", status="²", bytes_out="-1"), CALLER, IDENTITY)
    assert isinstance(odd, RequestRecord)
    assert (odd.status, odd.bytes_to_client) == (None, 0)
