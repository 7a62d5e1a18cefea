"""What happens while a call waits: it ends, its container goes, its policy changes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from appliance.broker.calls.call import Call
from appliance.broker.calls.request_body import FORM, MAX_FORM_PARTS
from appliance.handover import ANSWER_SECONDS
from appliance.policy.slot import Slot
from tests.unit.broker.calls.support import SCHEMA, Neighbours, account, policy_of
from tests.unit.gateway.support import CONTAINER, ENDPOINT

CHUNKED = (
    "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\nTransfer-Encoding: chunked"
)


def reason(said: bytes) -> str:
    return json.loads(said.partition(b"\r\n\r\n")[2])["reason"]


def finding(n: Neighbours) -> Deferred:
    """The worker takes its time to find addresses."""
    found: Deferred = Deferred()

    async def find(*_, **__):
        await found
        return n.addresses

    object.__setattr__(n, "find", find)
    return found


def dialling(n: Neighbours) -> Deferred:
    n.waits = Deferred()
    return n.waits


def test_004_09_no_secret_is_decrypted_for_a_call_that_was_refused_meanwhile() -> None:
    n = Neighbours()
    found = finding(n)
    n.call(CHUNKED)
    n.connection.dataReceived(b"zz\r\n")
    found.callback(None)
    assert n.log == []
    assert n.held == []
    assert n.record.reason == "chunk-size-invalid"
    assert n.audit.open_claims == 0


def test_after_a_body_that_was_none_the_connection_is_not_used_again() -> None:
    n = Neighbours()
    finding(n)
    n.call(CHUNKED)
    n.connection.dataReceived(b"zz\r\n")
    assert n.worker.disconnecting


def test_addresses_are_those_of_the_policy_in_force_when_they_are_asked_for() -> None:
    n = Neighbours()
    n.call("GET /data/1 HTTP/1.1\nHost: api.example.com")
    assert n.found_under is n.policy


CHANGES = {
    "removed": (lambda n: setattr(n, "policy", policy_of(None)), "host-not-allowed"),
    "another place": (
        lambda n: setattr(n, "policy", policy_of(account(Slot(style="header", name="x-api-key")))),
        "policy-changed",
    ),
    "gone": (lambda n: n.endpoints.replace([]), "endpoint-unknown"),
    "ended": (lambda n: object.__setattr__(n.means, "ended", lambda _: True), "execution-ended"),
}


@pytest.mark.parametrize("when", [finding, dialling])
@pytest.mark.parametrize("change", CHANGES)
def test_004_31_004_32_004_35_what_was_judged_has_to_hold_when_the_request_is_sent(when, change: str) -> None:
    n = Neighbours()
    waits = when(n)
    n.get()
    act, code = CHANGES[change]
    act(n)
    waits.callback(None)
    assert n.sent == b""
    if change != "removed":
        assert n.record.reason == code
    assert n.record.outcome != "allowed"
    assert n.audit.open_claims == 0
    assert all(held.closed for held in n.held)
    assert when is dialling or n.held == []
    assert all(upstream.lost for upstream in n.upstreams)


def test_a_policy_that_was_read_again_and_says_the_same_changes_nothing() -> None:
    n = Neighbours()
    waits = dialling(n)
    n.get()
    n.policy = policy_of(account())
    waits.callback(None)
    n.answer()
    assert n.record.outcome == "allowed"


def test_a_schema_that_came_meanwhile_counts() -> None:
    n = Neighbours(account(schema=SCHEMA))
    waits = dialling(n)
    n.post(b'{"title":"a"}')
    n.policy = policy_of(account(schema={**SCHEMA, "required": ["title", "more"]}))
    waits.callback(None)
    assert n.sent == b""
    assert n.record.reason == "body-not-allowed"


def test_004_17_a_container_that_collided_makes_no_further_call() -> None:
    n = Neighbours()
    ended: set[str] = set()
    object.__setattr__(n.means, "kill", lambda attestation, *_: ended.add(attestation.endpoint))
    object.__setattr__(n.means, "ended", ended.__contains__)
    n.get("/data/1", "Authorization: Bearer its-own-token")
    n.get()
    assert [record.reason for record in n.audit.records] == ["authority-collision", "execution-ended"]
    assert n.held == []


def test_004_35_a_link_has_its_own_address() -> None:
    n = Neighbours()
    n.get(source="10.9.9.9:40000")
    assert n.record.reason == "endpoint-unknown"
    assert n.held == []


def test_a_record_names_the_container_that_netd_knows_and_not_what_a_worker_says() -> None:
    n = Neighbours()
    n.endpoints.replace([replace(ENDPOINT, container="c7", run="run-7")])
    n.get(container="another", run="another", source=f"{CONTAINER}:1")
    n.answer()
    assert (n.record.container, n.record.run) == ("c7", "run-7")


def test_a_body_that_never_comes_ends_the_call() -> None:
    n = Neighbours(account(schema=SCHEMA))
    n.call(CHUNKED, b"1\r\n{\r\n")
    n.clock.advance(ANSWER_SECONDS + 2)
    assert reason(n.said) == "call-timeout"
    assert n.audit.open_claims == 0


def test_the_time_that_dialling_takes_is_the_providers() -> None:
    n = Neighbours()
    waits = dialling(n)
    n.get()
    n.clock.advance(ANSWER_SECONDS - 20)
    waits.callback(None)
    n.clock.pump([1] * 22)
    assert reason(n.said) == "upstream-response-timeout"


def test_an_upload_may_take_long_while_octets_come() -> None:
    n = Neighbours()
    n.call(CHUNKED)
    for _ in range(3):
        n.clock.advance(ANSWER_SECONDS - 2)
        n.connection.dataReceived(b"1\r\nx\r\n")
    assert n.said == b""


def test_after_a_refusal_in_the_midst_of_a_brief_answer_the_connection_is_whole() -> None:
    n = Neighbours()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    n.clock.advance(ANSWER_SECONDS + 2)
    assert reason(n.said) == "upstream-response-timeout"
    n.get()
    n.answer()
    assert n.said.endswith(b"\r\n\r\nok")


def test_a_damaged_brief_answer_leaves_the_connection_whole() -> None:
    n = Neighbours()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 50\r\n\r\n")
    n.answer(b"xxxxxxxx")
    n.get()
    n.answer()
    assert n.said.endswith(b"\r\n\r\nok")


def test_room_for_a_record_that_cannot_be_made_is_given_back(monkeypatch) -> None:
    n = Neighbours()

    def mistake(*_):
        raise OverflowError

    monkeypatch.setattr(Call, "_record", mistake)
    n.get()
    n.answer()
    assert n.audit.open_claims == 0


def test_a_certificate_of_the_accounts_own_is_for_the_connection_alone() -> None:
    n = Neighbours()
    plain = n.means.inject

    async def with_certificate(*arguments):
        return replace(await plain(*arguments), client_certificate=(b"chain", b"key"))

    object.__setattr__(n.means, "inject", with_certificate)
    n.get()
    assert "connect api.example.com as (b'chain', b'key')" in n.log
    assert b"key" not in n.sent.replace(b"authorization", b"")
    n.answer()
    assert n.record.outcome == "allowed"


def test_004_16_a_form_with_a_token_of_the_callers_own_collides() -> None:
    n = Neighbours(account(content_type=FORM))
    head = f"POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: {FORM}; charset=utf-8\nContent-Length: 19"
    n.call(head, b"a=1&")
    assert n.log == []
    n.connection.dataReceived(b"access_token=ab")
    assert reason(n.said) == "authority-collision"
    assert n.killed
    assert n.held == []


@pytest.mark.parametrize(
    ("line", "body"), [("Content-Encoding: gzip", b"\x1f\x8b"), ("X-A: b", b"&" * (MAX_FORM_PARTS + 1))]
)
def test_a_form_that_cannot_be_looked_into_is_refused(line: str, body: bytes) -> None:
    n = Neighbours(account(content_type=FORM, most=1 << 20))
    head = f"POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: {FORM}\n{line}\nContent-Length: {len(body)}"
    n.call(head, body)
    assert reason(n.said) == "body-not-allowed"
    assert n.held == []
    assert n.killed == []
