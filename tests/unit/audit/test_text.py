"""appliance.audit.text: the record of a request or call, put together from parts, is as it is composed."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.record import CallRecord, Interception, Outcome, Record, RequestRecord, compose
from appliance.audit.text import encode, text_of
from tests.unit.audit.test_record import CONNECTION, REQUEST

TEXTS = (
    st.text(max_size=40)
    | st.text(alphabet='a"\\\x00é\U0001f600', max_size=3000)
    | st.sampled_from(["", "x" * 600])
)
MAYBE = st.none() | TEXTS
NUMBERS = st.integers(0, 2**63)
RECORDS = st.builds(
    RequestRecord,
    **dict.fromkeys(("request_id", "source", "method", "scheme", "host", "path", "reason"), TEXTS),
    **dict.fromkeys(("tenant", "endpoint", "container", "run", "rule", "detail", "upstream_address"), MAYBE),
    **dict.fromkeys(("port", "bytes_to_upstream", "bytes_to_client", "count"), NUMBERS),
    query_keys=st.lists(TEXTS, max_size=40).map(tuple),
    signals=st.lists(TEXTS, max_size=2).map(tuple),
    outcome=st.sampled_from(Outcome),
    status=st.none() | NUMBERS,
    duration_ms=st.floats(0, 1e12, allow_nan=False),
    tls=st.sampled_from(Interception),
)
CALLS = st.builds(
    CallRecord,
    **dict.fromkeys(("request_id", "source", "method", "host", "path", "reason"), TEXTS),
    **dict.fromkeys(
        ("tenant", "endpoint", "container", "run", "principal", "account", "group", "secret", "presented",
         "rule", "detail", "upstream_address", "generation", "inputs"), MAYBE),
    port=NUMBERS,
    query_keys=st.lists(TEXTS, max_size=40).map(tuple),
    checks=st.lists(st.sampled_from(["intent", "binding", "policy"]), max_size=5).map(tuple),
    outcome=st.sampled_from(Outcome),
    status=st.none() | NUMBERS,
    duration_ms=st.floats(0, 1e12, allow_nan=False),
)  # fmt: skip
CALL = CallRecord(
    request_id="r-1", tenant="acme", endpoint="e", container="c", run=None, source="10.0.0.1:1", account="crm",
    group="read", secret="key", presented="nothing", method="GET", host="a.example", port=443, path="/",
    outcome=Outcome.ALLOWED, reason="ok", rule="r", detail=None, status=200, duration_ms=1.0, generation="g",
    inputs="0" * 64,
)  # fmt: skip


@given(RECORDS | CALLS, st.text(max_size=20), st.floats(0, 4e9))
def test_put_together_as_composed(record: Record, process: str, seconds: float) -> None:
    assert text_of(record, process, seconds) + "}" == encode(compose(record, process, seconds))


@pytest.mark.parametrize("record", [REQUEST, CALL])
def test_every_field_is_in_it(record: Record) -> None:
    written = json.loads(text_of(record, "gateway-0", 0.0) + "}")
    assert set(written) == {"time", "kind", "process"} | {field.name for field in fields(record)}


def test_parts_do_not_stick() -> None:
    other = replace(REQUEST, tenant="beta", host="other.example", outcome=Outcome.DENIED, run="r")
    called = replace(CALL, tenant="beta", principal="api-key:ci", secret=None, method="POST", checks=("a",))
    for record in (REQUEST, other, REQUEST, CALL, called, CALL):
        assert text_of(record, "gateway-0", 0.0) + "}" == encode(compose(record, "gateway-0", 0.0))


@pytest.mark.parametrize("number", [nan, inf])
def test_what_is_no_json_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        text_of(replace(REQUEST, duration_ms=number), "gateway-0", 0.0)


def test_other_kinds_are_composed() -> None:
    assert text_of(CONNECTION, "gateway-0", 0.0) + "}" == encode(compose(CONNECTION, "gateway-0", 0.0))
