"""What stands in no record of the broker: the eleven patterns, and what is live in a call."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import CallRecord, LifecycleRecord, Outcome
from appliance.audit.sink import Sink
from appliance.audit.text import text_of
from appliance.broker.records import UNSCRUBBED, ScrubbedLog, scrubbed
from appliance.broker.scrub.scrubber import Scrubber
from tests.unit.broker.calls.support import HANDLE, SECRET
from tests.unit.gateway.support import Log

OCTETS = Scrubber().octets
TOKENS = {
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "github-token": "ghp_" + "a1B2" * 9,
    "google-access-token": "ya29." + "a0Af" * 10,
    "slack-token": "xoxb-" + "1234567890-abcdef",
    "handle": HANDLE,
    "aws-access-key-id": "AKIAIOSFODNN7EXAMPLE",
    "stripe-live-key": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "google-api-key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "llm-key": "sk-" + "abcdefghijklmnopqrstuvwx",
    "github-fine-grained-token": "github_pat_" + "11ABCDEFG0123456789abc",
    "private-key": "-----BEGIN PRIVATE KEY-----",
}


def call(**members: object) -> CallRecord:
    """As of a call that has nothing remarkable."""
    usual = {
        "request_id": "id-1", "tenant": "acme", "endpoint": "e1", "container": "c" * 64, "run": "run-1",
        "source": "172.18.0.2:40000", "account": "crm", "group": "read", "secret": "crm-key",
        "presented": "nothing", "method": "GET", "host": "api.example.com", "port": 443, "path": "/data/1",
        "query_keys": ("page", "limit"), "checks": ("intent", "binding", "policy", "network", "container"),
        "outcome": Outcome.ALLOWED, "reason": "allowed-by-integration", "rule": "accounts[0]", "detail": None,
        "status": 200, "upstream_address": "93.184.216.34", "duration_ms": 12.5, "generation": "one",
        "inputs": "ab" * 32,
    }  # fmt: skip
    return CallRecord(**(usual | members))


def said(record: object) -> str:
    return json.dumps(dataclasses.asdict(record), default=str)


def test_004_40_what_has_no_secret_is_recorded_as_it_came() -> None:
    for record in (
        call(),
        call(path="/a%20b/%zz", detail="100 % sk-", query_keys=()),
        LifecycleRecord(event="started"),
    ):
        assert scrubbed(record, OCTETS) is record


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("where", ["path", "query_keys", "detail", "method", "host", "run", "request_id"])
def test_004_40_what_looks_like_a_credential_stands_in_no_field(name: str, where: str) -> None:
    token = TOKENS[name]
    record = scrubbed(call(**{where: ("page", token) if where == "query_keys" else f"/x/{token}/y"}), OCTETS)
    assert token[4:16] not in said(record)
    assert f"[scrubbed:{name}]" in said(record)
    others = {field: value for field, value in dataclasses.asdict(record).items() if field != where}
    assert others == {field: value for field, value in dataclasses.asdict(call()).items() if field != where}


@pytest.mark.parametrize("name", TOKENS)
def test_004_40_nor_does_it_in_escapes(name: str) -> None:
    escaped = "".join(f"%{ord(character):02x}" for character in TOKENS[name])
    assert f"[scrubbed:{name}]" in said(scrubbed(call(path=f"/x/{escaped}"), OCTETS))
    assert escaped[12:30] not in said(scrubbed(call(query_keys=("page", escaped)), OCTETS))


def test_004_40_a_lifecycle_record_is_searched_as_well() -> None:
    record = scrubbed(LifecycleRecord(event="secret-set", subject="acme/" + HANDLE, detail=HANDLE), OCTETS)
    assert HANDLE[:24] not in said(record)
    assert record.event == "secret-set"


def test_004_40_the_live_secret_of_a_call_is_found_in_each_of_its_forms() -> None:
    octets = Scrubber([SECRET.encode()]).octets
    for form in (SECRET, SECRET.encode().hex(), SECRET.replace("-", "%2D")):
        assert form[4:] not in said(scrubbed(call(detail=f"the provider said {form}"), octets))


@pytest.mark.parametrize("before", [*range(2000, 2060), 2300, 5000])
def test_004_40_nor_does_the_beginning_of_one_that_is_cut_off(before: int) -> None:
    token = "sk-proj-" + "aB3-" * 40
    record = scrubbed(call(path="/" * before + token), OCTETS)
    assert "aB3-aB3-" not in text_of(record, "broker", 0.0)


def test_004_40_what_cannot_be_searched_is_recorded_without_its_texts() -> None:
    def fails(_: bytes) -> bytes:
        raise RuntimeError(HANDLE)

    record = scrubbed(call(path="/" + HANDLE, outcome=Outcome.DENIED), fails)
    assert HANDLE not in said(record)
    assert (record.path, record.query_keys) == (UNSCRUBBED, (UNSCRUBBED,))
    assert (record.request_id, record.tenant, record.container) == ("id-1", "acme", "c" * 64)
    assert (record.outcome, record.reason, record.status) == (Outcome.DENIED, "allowed-by-integration", 200)


def test_004_40_every_way_into_the_log_is_searched(tmp_path: Path) -> None:
    sink = Sink(tmp_path, "broker")
    log = ScrubbedLog(sink)
    assert log.ready
    log.write(call(path="/" + HANDLE))
    log.claim().write(call(path="/" + HANDLE))
    log.claim().hold(call(path="/" + HANDLE))
    log.flush()
    log.claim().release()
    sink.close()
    (file,) = tmp_path.rglob("*.jsonl")
    lines = file.read_text().splitlines()
    assert len(lines) == 3
    assert HANDLE[:24] not in file.read_text()
    assert all(json.loads(line)["path"] == "/[scrubbed:handle]" for line in lines)


def test_where_nothing_can_be_recorded_it_says_so() -> None:
    log = Log()
    log.ready = False
    assert not ScrubbedLog(log).ready
    with pytest.raises(AuditUnavailable):
        ScrubbedLog(log).write(call())


def test_a_record_costs_far_less_than_0_2_ms_to_search() -> None:
    record, escapes = call(path="/data/" + "segment/" * 20), call(path="/%41" * 9000)
    for one, most in ((record, 100e-6), (escapes, 1e-3)):
        best = min(_seconds(one) for _ in range(20))
        assert best < most


def _seconds(record: CallRecord) -> float:
    began = time.perf_counter()
    for _ in range(20):
        scrubbed(record, OCTETS)
    return (time.perf_counter() - began) / 20
