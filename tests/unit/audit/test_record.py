"""appliance.audit.record: constant fields, bounds, time (F7: a record always fits)."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.audit import record as audit
from appliance.audit.chain import Head
from tests.unit.audit.written import seal

REQUEST = audit.RequestRecord(
    request_id="r1",
    tenant="acme",
    endpoint="e1",
    container="c1",
    run=None,
    source="172.18.0.2:4000",
    method="GET",
    scheme="https",
    host="ok.example",
    port=443,
    path="/a",
    query_keys=("q", "page"),
    outcome=audit.Outcome.ALLOWED,
    reason="allowed-by-profile",
    rule="profile read-only-web",
    detail=None,
    status=200,
    upstream_address="203.0.113.9:443",
    duration_ms=1.23456,
    tls=audit.Interception.INTERCEPTED,
)
CONNECTION = audit.ConnectionRecord(
    connection_id="k",
    tenant=None,
    endpoint=None,
    container=None,
    run=None,
    source="a",
    destination="b",
    outcome=audit.Outcome.DENIED,
    reason="host-is-address",
    rule=None,
    detail=None,
    duration_ms=0.0,
)
DNS = audit.DnsRecord(
    tenant="acme",
    endpoint=None,
    container=None,
    run=None,
    source="a",
    destination="b",
    transport="udp",
    name="ok.example",
    type="A",
    outcome=audit.Outcome.DENIED,
    reason="host-not-listed",
    rule=None,
    detail=None,
    rcode="REFUSED",
    duration_ms=0.1,
)
ADMISSION = audit.AdmissionRecord(
    operation="create",
    tenant="acme",
    container=None,
    image="x",
    user=None,
    outcome=audit.Outcome.DENIED,
    reason="not-hardened",
    rule=None,
    detail="--cap-drop ALL is missing",
)
LIFECYCLE = audit.LifecycleRecord(event="started")
ALL = [REQUEST, CONNECTION, DNS, ADMISSION, LIFECYCLE]


def test_the_fields_of_a_request_are_these_in_this_order() -> None:
    assert list(audit.compose(REQUEST, "gateway-0", 0.0)) == [
        *("time", "kind", "process", "request_id", "tenant", "endpoint", "container", "run", "source"),
        *(
            "method",
            "scheme",
            "host",
            "port",
            "path",
            "query_keys",
            "signals",
            "outcome",
            "reason",
            "rule",
            "detail",
        ),
        *("status", "upstream_address", "bytes_to_upstream", "bytes_to_client", "duration_ms", "tls"),
        "count",
    ]


@pytest.mark.parametrize("record", ALL, ids=lambda record: str(record.kind))
def test_every_kind_is_plain_json_with_every_field_present(record: audit.Record) -> None:
    composed = json.loads(json.dumps(audit.compose(record, "p", 1.0)))
    assert composed["kind"] == record.kind.value
    assert {field.name for field in fields(record)} <= set(composed)


@pytest.mark.parametrize("record", ALL, ids=lambda record: str(record.kind))
def test_no_field_can_hold_values_headers_or_bodies(record: audit.Record) -> None:
    names = {field.name for field in fields(record)}
    assert names.isdisjoint({"query", "headers", "body", "authorization", "cookie", "url"})


def test_time_is_rfc_3339_utc_with_six_digits_even_at_a_whole_second() -> None:
    assert audit.timestamp(1769903999.000001) == "2026-01-31T23:59:59.000001Z"
    assert audit.timestamp(0.0) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("character", ["a", '"', "\x00", "é", "\U0001f600", "\ud800"])
@pytest.mark.parametrize("record", ALL, ids=lambda record: str(record.kind))
def test_the_longest_record_stays_in_its_bound(record: audit.Record, character: str) -> None:
    changes: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, tuple):
            changes[field.name] = (character * 100_000,) * 1000
        elif isinstance(value, int | float):
            changes[field.name] = 2**63
        elif field.name not in ("outcome", "tls"):
            changes[field.name] = character * 100_000
    longest = replace(record, **changes)  # type: ignore[arg-type]  # each value has its field's type
    line, _ = seal(audit.compose(longest, "p" * 64, 253402300799.0), Head(2**63, "f" * 64))
    assert len(line) <= audit.MAX_RECORD


def test_cut_text_says_how_much_is_missing_and_short_text_is_whole() -> None:
    composed = audit.compose(replace(REQUEST, path="/" + "a" * 5000, host="h" * 253), "p", 0.0)
    kept, _, missing = composed["path"].partition("…+")
    assert len(kept) + int(missing) == 5001
    assert composed["host"] == "h" * 253


def test_too_many_query_keys_are_counted() -> None:
    composed = audit.compose(replace(REQUEST, query_keys=("k",) * 100), "p", 0.0)
    assert composed["query_keys"][-1] == f"…+{100 - audit.MAX_ITEMS}"


def test_the_events_that_the_record_names_are_written_somewhere() -> None:
    text = str(audit.LifecycleRecord.__doc__)
    words = set(re.findall(r"`([a-z-]+)`", text)) - {"event", "subject"}
    assert len(words) > 3
    root = Path(audit.__file__).parents[2]
    files = [f for package in ("appliance", "netns", "squid") for f in (root / package).rglob("*.py")]
    code = "".join(f.read_text(encoding="utf-8") for f in files)
    assert [word for word in sorted(words) if f'event="{word}"' not in code] == []


@pytest.mark.parametrize(
    "seconds", [0.0, 1.5, 1767225599.9999994, 1767225599.9999996, 1767225600.0000005, 2**31 + 0.25]
)
def test_a_time_is_rounded_as_the_standard_library_does(seconds: float) -> None:
    assert audit.timestamp(seconds) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
