"""A call, from the worker's word to the record, with its order and its ends."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.records import ScrubbedLog
from appliance.handover import ANSWER_SECONDS
from appliance.policy.slot import Slot
from tests.unit.broker.calls.support import (
    DEAD,
    HANDLE,
    SECRET,
    SESSION,
    Neighbours,
    account,
)
from tests.unit.gateway.support import ENDPOINT

REDIRECTS = (301, 302, 303, 307, 308)


def reason(said: bytes) -> str:
    found = re.search(rb'"reason":"([a-z0-9-]+)"', said)
    return found[1].decode() if found else said[9:12].decode()


def test_000_44_the_provider_gets_the_secret_and_the_caller_the_answer() -> None:
    n = Neighbours()
    n.get()
    n.answer()
    assert SECRET.encode() in n.sent
    assert SECRET.encode() not in n.said
    assert n.said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert n.said.endswith(b"\r\nContent-Length: 2\r\n\r\nok")


def test_004_09_004_31_nothing_is_decrypted_before_the_checks_and_nothing_dialled_before_that() -> None:
    n = Neighbours()
    n.get()
    assert n.log[:4] == ["find api.example.com 443", "decrypt crm-key", "inject", "connect api.example.com"]
    n.answer()
    assert n.record.checks == ("intent", "binding", "policy", "network", "container")


def test_004_08_the_secret_is_cleared_when_the_request_is_written() -> None:
    n = Neighbours()
    n.get()
    assert n.log[-1] == "secret cleared"
    assert n.held[0].closed == 1


def test_000_04_one_call_one_record() -> None:
    n = Neighbours()
    n.get("/data/1?page=2")
    n.answer()
    record = n.record
    assert (record.outcome, record.reason, record.status) == ("allowed", "allowed-by-integration", 200)
    assert (record.account, record.group, record.secret) == ("crm", "read", "crm-key")
    assert (record.presented, record.query_keys, record.generation) == ("nothing", ("page",), "one")
    assert SECRET not in repr(record)
    assert n.audit.open_claims == 0


@pytest.mark.parametrize(
    ("path", "lines", "outcome"),
    [
        ("/other", (), "denied"),
        ("/data/1", ("Cookie: a=b",), "denied"),
        ("/data/1", (f"Authorization: Bearer {DEAD}",), "denied"),
        ("/data/1", (), "failed"),
    ],
    ids=["policy", "collision", "dead-handle", "no-connection"],
)
def test_000_04_a_call_that_ends_before_the_provider_has_one_record_too(path, lines, outcome) -> None:
    n = Neighbours()
    n.refuses = CallRefused(refusals.DIALLER_UNAVAILABLE)
    n.get(path, *lines)
    assert n.record.outcome == outcome
    n.connection.connectionLost(None)
    assert n.record.outcome == outcome
    assert n.audit.open_claims == 0


def test_000_31_the_same_inputs_have_the_same_hash_and_others_another() -> None:
    hashes = []
    for path in ("/data/1", "/data/1", "/data/2"):
        n = Neighbours()
        n.get(path)
        n.answer()
        hashes.append(n.record.inputs)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("attested", "path", "found"),
    [
        ({"port": 8443}, "/data/1", "port-mismatch"),
        ({"account": "other"}, "/data/1", "account-not-bound"),
        ({"tenant": "globex"}, "/data/1", "account-not-bound"),
        ({}, "/other", "path-not-allowed"),
        ({}, "/data/1?other=1", "query-not-allowed"),
        ({"endpoint": "e2"}, "/data/1", "endpoint-unknown"),
    ],
)
def test_001_13_001_14_004_32_004_33_004_35_a_denied_call_decrypts_nothing(attested, path, found) -> None:
    n = Neighbours()
    n.get(path, **attested)
    assert reason(n.said) == found
    assert not [entry for entry in n.log if entry.startswith(("decrypt", "inject", "connect"))]
    assert n.record.outcome == "denied"
    assert n.record.secret is None


def test_004_34_an_address_that_may_not_be_opened_stops_the_call_before_the_secret() -> None:
    n = Neighbours()
    n.addresses = (*n.addresses, type(n.addresses[0])("10.0.1.5"))
    n.get()
    assert reason(n.said) == "private-address"
    assert n.log == ["find api.example.com 443"]


def test_004_31_the_first_check_that_fails_is_the_last_that_is_made() -> None:
    n = Neighbours()
    n.addresses = ()
    n.get("/other", endpoint="e2")
    assert reason(n.said) == "path-not-allowed"
    assert n.record.checks == ("intent", "binding")


def test_004_21_a_method_of_no_group_is_denied() -> None:
    n = Neighbours()
    n.call("DELETE /data/1 HTTP/1.1\nHost: api.example.com")
    assert reason(n.said) == "method-not-allowed"
    assert n.log == []


@pytest.mark.parametrize(
    ("value", "presented"),
    [
        (HANDLE, "handle"),
        ("agentsecrets://crm-key", "reference"),
        ("agentsecrets://crm", "reference"),
        (SESSION, "token"),
    ],
)
def test_001_08_000_62_one_of_ours_in_the_slot_is_replaced_and_never_sent_on(value, presented) -> None:
    n = Neighbours()
    n.get("/data/1", f"Authorization: Bearer {value}")
    n.answer()
    assert n.record.presented == presented
    assert SECRET.encode() in n.sent
    assert value.encode() not in n.sent


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer sk-of-somebody-else", "authorization: Basic dXNlcjpwYXNz", "X-Api-Key: abc",
        "Cookie: session=1", f"Authorization: token {HANDLE[:-1]}",
    ],
)  # fmt: skip
def test_004_16_004_17_a_collision_kills_and_nothing_goes_out(line) -> None:
    n = Neighbours()
    n.get("/data/1", line)
    assert reason(n.said) == "authority-collision"
    assert n.killed[0][:2] == (ENDPOINT.id, "authority-collision")
    assert not [entry for entry in n.log if entry.startswith(("decrypt", "connect"))]
    assert n.sent == b""
    assert (n.record.presented, n.record.outcome) == ("collision", "denied")


def test_004_16_a_field_that_the_gateway_kept_back_collides() -> None:
    n = Neighbours()
    n.get("/data/1", withheld="proxy-authorization")
    assert reason(n.said) == "authority-collision"
    assert n.killed


@pytest.mark.parametrize(
    ("value", "found"), [(DEAD, "handle-dead"), ("agentsecrets://other", "reference-unknown")]
)
def test_a_dead_handle_or_unknown_reference_is_refused_and_kills_nobody(value, found) -> None:
    n = Neighbours()
    n.get("/data/1", f"Authorization: Bearer {value}")
    assert reason(n.said) == found
    assert n.killed == []
    assert not [entry for entry in n.log if entry.startswith(("decrypt", "connect"))]


@pytest.mark.parametrize("status", REDIRECTS)
def test_000_21_a_redirect_is_an_answer_and_is_not_followed(status) -> None:
    n = Neighbours()
    n.get()
    n.answer(f"HTTP/1.1 {status} Moved\r\nLocation: https://10.0.1.5/\r\nContent-Length: 0\r\n\r\n".encode())
    assert n.said.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(n.upstreams) == 1
    assert n.sent.count(SECRET.encode()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: 0\r\n\r\n" % SECRET.encode(),
        b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(SECRET), SECRET.encode()),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"1\r\n%c\r\n" % octet for octet in SECRET.encode()) + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + SECRET.encode().hex().encode(),
        b"HTTP/1.1 302 F\r\nLocation: https://x.net/?k=%b\r\nContent-Length: 0\r\n\r\n" % SECRET.encode(),
    ],
)  # fmt: skip
def test_004_37_what_a_provider_reflects_is_taken_out(answer) -> None:
    n = Neighbours()
    n.get()
    n.answer(answer)
    if not n.said.endswith(b"0\r\n\r\n"):
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        n.upstreams[-1].connectionLost(Failure(ConnectionDone()))
    assert SECRET.encode() not in n.said
    assert SECRET.encode().hex().encode() not in n.said
    assert b"scrubbed" in n.said


def test_004_37_a_coded_body_is_looked_into() -> None:
    body = gzip.compress(b"before " + SECRET.encode() + b" behind")
    n = Neighbours()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert b"content-encoding" not in n.said.lower()
    assert SECRET.encode() not in n.said
    assert b"before " in n.said
    assert b" behind" in n.said


def test_what_cannot_be_looked_into_is_not_passed_on() -> None:
    n = Neighbours()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: odd\r\nContent-Length: 2\r\n\r\nok")
    assert reason(n.said) == "content-coding-unknown"
    assert n.upstreams[0].lost
    assert n.record.outcome == "failed"


def test_a_query_slot_takes_the_place_of_the_reference() -> None:
    n = Neighbours(account(Slot(style="query", name="page")))
    n.get("/data/1?page=agentsecrets://crm-key")
    n.answer()
    assert f"GET /data/1?page={SECRET} HTTP/1.1".encode() in n.sent


def test_000_68_without_a_record_there_is_no_call() -> None:
    n = Neighbours()
    n.audit.ready = False
    n.get()
    assert reason(n.said) == "audit-unavailable"
    assert n.log == []


def test_002_20_a_provider_that_says_nothing_is_given_up() -> None:
    n = Neighbours()
    n.get()
    n.clock.pump([1] * int(ANSWER_SECONDS + 2))
    assert reason(n.said) == "upstream-response-timeout"
    assert n.upstreams[0].lost
    assert n.held[0].closed


def test_a_provider_that_hangs_up_is_told_of() -> None:
    from twisted.internet.error import ConnectionLost
    from twisted.python.failure import Failure

    n = Neighbours()
    n.get()
    n.upstreams[0].connectionLost(Failure(ConnectionLost()))
    assert reason(n.said) == "upstream-closed"


def test_an_answer_that_breaks_off_is_seen_to_be_cut() -> None:
    from twisted.internet.error import ConnectionLost
    from twisted.python.failure import Failure

    n = Neighbours()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nhalf")
    n.upstreams[0].connectionLost(Failure(ConnectionLost()))
    assert not n.said.endswith(b"0\r\n\r\n")
    assert n.worker.aborted
    assert (n.record.outcome, n.record.status) == ("failed", 200)


def test_004_12_a_caller_that_goes_leaves_nothing_behind() -> None:
    n = Neighbours()
    n.waits = Deferred()
    n.get()
    n.connection.connectionLost()
    assert n.held[0].closed
    assert n.record.reason == "client-closed"
    assert n.sent == b""


def test_a_connection_that_came_too_late_is_ended() -> None:
    n = Neighbours()
    n.get()
    n.connection.connectionLost()
    assert n.upstreams[0].lost
    assert n.record.reason == "client-closed"


def test_004_02_004_38_a_mistake_of_ours_is_a_refusal_and_shows_nothing() -> None:
    n = Neighbours()

    async def mistake(*_):
        raise RuntimeError(SECRET)

    object.__setattr__(n.means, "inject", mistake)
    with capturedLogs() as events:
        n.get()
    assert reason(n.said) == "internal-error"
    assert SECRET.encode() not in n.said
    (event,) = events
    assert "RuntimeError" in formatEvent(event)
    assert SECRET not in repr(event)
    assert n.held[0].closed


def test_a_dial_that_fails_is_the_callers_answer() -> None:
    n = Neighbours()
    n.refuses = CallRefused(refusals.DIALLER_UNAVAILABLE)
    n.get()
    assert reason(n.said) == "dialler-unavailable"
    assert n.held[0].closed


def test_the_next_call_on_the_connection_is_decided_anew() -> None:
    n = Neighbours()
    n.get()
    n.answer()
    n.get("/other")
    assert [record.reason for record in n.audit.records] == ["allowed-by-integration", "path-not-allowed"]
    assert not n.worker.disconnecting


@pytest.mark.parametrize(
    "line",
    ["X-Amz-Copy-Source: /other-bucket/key", "x_amz_copy_source: /other/key", "x-amz-copy-source-range: bytes=0-9",
     "X-Goog-Copy-Source: /a/b", "Destination: https://api.example.com/else"],
)  # fmt: skip
def test_a_field_that_names_another_resource_is_refused(line: str) -> None:
    n = Neighbours()
    n.get("/data/1", line)
    assert reason(n.said) == "other-resource"
    assert n.log == []
    assert n.killed == []


def test_004_40_the_secret_of_the_call_stands_in_its_record_in_no_form() -> None:
    n = Neighbours()
    n.get(f"/data/{SECRET}", "X-Page: 1")
    n.answer()
    assert n.record.path == "/data/[scrubbed:secret]"
    n = Neighbours()
    n.get("/data/1")
    n.answer(b"HTTP/1.1 200 " + SECRET.encode() + b"\x01\r\n\r\n")
    assert SECRET not in repr(n.record)


def test_004_40_what_only_looks_like_a_credential_is_left_to_the_log_which_every_broker_has() -> None:
    n = Neighbours()
    n.means = replace(n.means, audit=ScrubbedLog(n.audit))
    n.get(f"/data/{SECRET}/ghp_0123456789abcdefghij0123")
    n.answer()
    assert n.record.path == "/data/[scrubbed:secret]/[scrubbed:github-token]"


def test_004_40_nothing_of_it_is_held_when_the_record_is_written() -> None:
    n = Neighbours()
    n.get()
    call = n.connection._call
    n.answer()
    assert call._scrubbing is None
