"""`POST /execute` of a caller that is no container: proved, allowed by its own scopes, on record, and carried."""

from __future__ import annotations

from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred

from appliance.audit.record import Outcome
from appliance.broker.api import telling
from appliance.broker.callers import executing
from appliance.broker.identity.api_keys import api_keys
from appliance.policy.tenant import TenantPolicy
from tests.unit.broker.api.support import Answer
from tests.unit.broker.callers.support import ACTED, CI, PROXY, START, STRANGER, Host
from tests.unit.broker.calls.support import HANDLE, SECRET, SESSION

POSTED = {
    "url": "https://api.example.com/data/1", "method": "POST",
    "headers": {"Content-Type": "application/json"}, "body": '{"title":"x"}',
}  # fmt: skip


def untouched(host: Host) -> bool:
    """Whether nothing was decrypted and nobody was connected to."""
    return not [entry for entry in host.neighbours.log if entry.startswith(("decrypt", "connect", "find"))]


def test_002_07_a_call_is_carried_for_a_caller_and_its_record_says_who(host: Host) -> None:
    process = host.process()
    assert process.by(host.key()).octets == b""
    assert b"GET /data/1?page=2 HTTP/1.1\r\nHost: api.example.com\r\n" in host.neighbours.sent
    assert f"authorization: Bearer {SECRET}".encode() in host.neighbours.sent
    assert b"egk_" not in host.neighbours.sent
    answer = process.answered()
    assert (answer.status, answer.body) == (200, b"ok")
    record = host.neighbours.record
    assert (record.principal, record.tenant, record.source) == ("api-key:ci", "acme", f"uid:{CI}")
    assert (record.endpoint, record.container, record.run) == (None, None, None)
    assert (record.account, record.group, record.secret) == ("crm", "read", "crm-key")
    assert record.checks == ("intent", "binding", "policy", "network", "caller")
    assert record.request_id.endswith(".1")
    assert f"X-Egress-Request-Id: {record.request_id}".encode() in answer.head


def test_002_07_without_a_credential_it_is_401_with_a_challenge_and_on_record(host: Host) -> None:
    refused = host.process().execute()
    assert (refused.status, refused.reason) == (401, "unauthenticated")
    assert b"WWW-Authenticate: Bearer" in refused.head.split(b"\r\n")
    (record,) = host.audit.records
    assert (record.event, record.subject, record.reason) == ("caller-refused", f"uid:{CI}", "unauthenticated")
    assert record.outcome is Outcome.DENIED
    assert untouched(host)


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (("Authorization: Bearer egk_" + "0" * 16 + "_" + "A" * 43,), 401, "api_key_invalid"),
        (("Authorization: Bearer egk_",), 401, "api_key_invalid"),
        (("Authorization: Basic YTpi",), 401, "authorization_scheme"),
        (("Authorization: Bearer a b",), 401, "authorization_scheme"),
        (("Authorization: Bearer eyJ.e30.AA",), 401, "jwt_malformed"),
        (("X-Egress-Actor: root", "X-Egress-Scopes: crm-api:read"), 401, "unauthenticated"),
    ],
)
def test_002_07_what_proves_nobody_is_refused_by_its_code(
    host: Host, fields: tuple[str, ...], status: int, reason: str
) -> None:
    refused = host.process().execute(*fields)
    assert (refused.status, refused.reason) == (status, reason)
    assert b"\r\nWWW-Authenticate: Bearer" in refused.head
    assert host.audit.records[-1].reason == reason
    assert untouched(host)


def test_002_07_two_proofs_are_one_too_many(host: Host) -> None:
    refused = host.process(PROXY).execute(*ACTED, f"Authorization: Bearer {host.key()}")
    assert (refused.status, refused.reason) == (400, "credentials_ambiguous")
    assert b"WWW-Authenticate" not in refused.head
    assert untouched(host)


def test_002_07_each_request_of_a_connection_proves_its_caller_anew(host: Host) -> None:
    process = host.process()
    process.by(host.key())
    assert process.answered().status == 200
    assert process.execute().status == 401


def test_002_11_actor_scopes_and_tenant_in_the_body_mean_nothing(host: Host) -> None:
    key = host.key("crm-api:read")
    claims = {"actor": "root", "scopes": ["crm-api:write", "crm-api:read"]}
    process = host.process()
    process.by(key, **claims)
    assert process.answered().status == 200
    refused = process.by(key, **POSTED, **claims)
    assert (refused.status, refused.reason) == (403, "scope-missing")
    assert [record.principal for record in host.audit.records] == ["api-key:ci", "api-key:ci"]
    assert b"root" not in host.neighbours.sent
    for member in ("tenant", "principal", "caller", "scope"):
        assert process.by(key, **{member: "beta"}).reason == "body-invalid"


def test_002_08_a_group_is_for_who_has_its_scope_and_nothing_is_decrypted_for_others(host: Host) -> None:
    for scopes in (("crm-api:write",), ("other:read",), ("crm-api:read",)):
        host.neighbours.log.clear()
        answer = host.process().by(host.key(*scopes, actor=scopes[0]))
        if scopes != ("crm-api:read",):
            assert (answer.status, answer.reason) == (403, "scope-missing")
            assert (host.neighbours.record.reason, host.neighbours.record.secret) == ("scope-missing", None)
            assert untouched(host)
            host.audit.records.clear()
    assert host.neighbours.upstreams


def test_002_08_a_caller_acts_for_its_own_tenant_alone(host: Host) -> None:
    refused = host.process().by(host.key(tenant="beta"))
    assert (refused.status, refused.reason) == (403, "account-not-bound")
    host.neighbours.policy = TenantPolicy("beta", "two", bound=host.neighbours.policy.bound)
    assert host.process().by(host.key()).reason == "account-not-bound"
    assert untouched(host)


def test_002_23_a_trusted_peer_names_the_caller_and_nobody_else_does(host: Host) -> None:
    process = host.process(PROXY)
    process.execute(*ACTED)
    assert process.answered().status == 200
    assert host.neighbours.record.principal == "trusted-header:alice"
    for uid in (STRANGER, CI, 0):
        refused = host.process(uid).execute(*ACTED)
        assert (refused.status, refused.reason) == (401, "unauthenticated")
        # Beside a key they count for nothing: neither whose call it is, nor what it may.
        other = host.process(uid)
        other.execute(*ACTED, f"Authorization: Bearer {host.key('crm-api:write', actor=f'u{uid}')}", **POSTED)
        assert other.answered().status == 200
        assert host.audit.records[-1].principal == f"api-key:u{uid}"


def test_002_23_of_a_trusted_peers_fields_none_goes_on(host: Host) -> None:
    process = host.process(PROXY)
    copies = {
        "X-Egress-Actor": "mallory", "x_egress_scopes": "everything", "X-EGRESS_ACTOR": "mallory", "X-Note": "kept",
    }  # fmt: skip
    process.execute(*ACTED, "X_Egress_Actor: mallory", headers=copies)
    assert process.answered().status == 200
    sent = host.neighbours.sent.lower().replace(b"_", b"-")
    assert b"x-note: kept" in sent
    assert b"x-egress-" not in sent
    assert b"mallory" not in sent
    assert b"alice" not in sent


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("X-Egress-Scopes: crm-api:read",), "trusted_headers_malformed"),
        (("X-Egress-Actor: a b",), "trusted_headers_malformed"),
        (("X-Egress-Actor: alice", "X-Egress-Actor: bob"), "trusted_headers_malformed"),
        ((), "unauthenticated"),
    ],
)
def test_002_23_a_trusted_peer_that_cannot_be_understood_names_nobody(
    host: Host, fields: tuple[str, ...], reason: str
) -> None:
    refused = host.process(PROXY).execute(*fields)
    assert (refused.status, refused.reason) == (401, reason)
    assert untouched(host)


def test_002_22_a_revoked_key_is_refused_by_the_next_request_and_the_other_serves(host: Host) -> None:
    old, new = host.key(), host.key()
    process = host.process()
    process.by(old)
    assert process.answered().status == 200
    assert host.tell("caller-revoke", id=old[4:20]) == {"id": old[4:20], "was_active": True}
    refused = process.by(old)
    assert (refused.status, refused.reason) == (401, "api_key_revoked")
    assert b'error="invalid_token"' in refused.head
    process.by(new)
    assert process.answered().status == 200


def test_002_22_a_call_that_waits_ends_with_its_key(host: Host) -> None:
    key, other = host.key(), host.key()
    host.neighbours.waits = Deferred()
    mine, theirs = host.process(), host.process()
    mine.by(key)
    theirs.by(other)
    assert host.tell("caller-revoke", id=key[4:20])["was_active"]
    assert Answer(mine.hear()).reason == "caller-ended"
    assert theirs.hear() == b""
    host.neighbours.waits.callback(None)
    assert host.neighbours.sent.count(SECRET.encode()) == 1
    assert all(held.closed for held in host.neighbours.held)


def test_002_08_a_proof_that_ends_while_a_call_waits_ends_the_call(host: Host) -> None:
    key = host.keys.create("acme", "ci", frozenset({"crm-api:read"}), START, timedelta(seconds=9)).text
    host.neighbours.waits = Deferred()
    process = host.process()
    process.by(key)
    host.clock.advance(9)
    host.neighbours.waits.callback(None)
    assert Answer(process.hear()).reason == "caller-expired"
    assert host.neighbours.sent == b""
    assert process.by(key).reason == "api_key_expired"


def test_004_16_an_authority_of_ones_own_ends_the_caller_and_revokes_its_key(host: Host) -> None:
    key, other = host.key(), host.key()
    process, busy = host.process(), host.process()
    busy.by(key)
    refused = process.by(key, headers={"Authorization": "Bearer sk-mine"})
    assert (refused.status, refused.reason) == (403, "authority-collision")
    assert host.neighbours.killed == []  # there is no container to stop
    ended = next(record for record in host.audit.records if getattr(record, "event", "") == "caller-ended")
    assert (ended.subject, ended.tenant, ended.reason) == (key[4:20], "acme", "authority-collision")
    assert "sk-mine" not in repr(host.audit.records)
    assert busy.wire.aborted or b"caller-ended" in busy.hear()
    assert process.by(key).reason == "api_key_revoked"
    process.by(other)
    assert process.answered().status == 200


def test_004_16_who_has_no_key_is_refused_until_the_operator_takes_it_back(host: Host) -> None:
    process = host.process(PROXY)
    process.execute(*ACTED, headers={"X-Api-Key": "mine"})
    refused = process.execute(*ACTED)
    assert (refused.status, refused.reason) == (403, "caller-ended")
    assert host.audit.records[-1].subject == "trusted-header:alice"
    process.execute("X-Egress-Actor: bob", "X-Egress-Scopes: crm-api:read")
    assert process.answered().status == 200
    taken_back = {"tenant": "acme", "principal": "trusted-header:alice"}
    assert host.tell("caller-readmit", **taken_back)["was_ended"] is True
    process.execute(*ACTED)
    assert process.answered().status == 200


@pytest.mark.parametrize("token", [HANDLE, SESSION])
def test_004_16_a_containers_handle_or_session_serves_no_caller(host: Host, token: str) -> None:
    refused = host.process().by(host.key(), headers={"Authorization": f"Bearer {token}"})
    assert refused.status == 403
    assert refused.reason in {"handle-dead", "authority-collision"}
    assert host.neighbours.sent == b""


def test_000_62_the_callers_credential_never_goes_on(host: Host) -> None:
    key = host.key()
    for change in (
        {"headers": {"X-Note": key}}, {"url": f"https://api.example.com/data/{key}"}, POSTED | {"body": key},
        {"headers": {"Authorization": f"Bearer {key}"}},
    ):  # fmt: skip
        assert host.process().by(key, **change).reason == "token-in-request"
    assert untouched(host)
    assert "caller-ended" not in host.events


def test_002_07_one_caller_that_asks_too_often_waits_and_no_other_does(host: Host) -> None:
    key, process = host.key(), host.process()
    answers = [process.by(key, account="other") for _ in range(executing.AT_ONCE + 1)]
    assert {answer.status for answer in answers[:-2]} == {403}
    assert (answers[-1].status, answers[-1].reason) == (429, "too-often")
    assert b"Retry-After: " in answers[-1].head
    process.by(host.key(actor="other"))
    assert process.answered().status == 200


def test_002_07_large_bodies_of_a_caller_count_as_many_requests(host: Host) -> None:
    key, process = host.key(), host.process()
    answers = [process.by(key, account="other", body="x" * 900_000) for _ in range(2)]
    assert [answer.status for answer in answers] == [403, 429]


def test_002_07_one_peer_that_proves_nobody_does_not_fill_the_records(host: Host) -> None:
    stranger = host.process(STRANGER)
    refused = [stranger.execute().status for _ in range(executing.OF_PEER_AT_ONCE + 9)]
    assert (refused[0], refused[-1]) == (401, 429)
    assert host.events.count("caller-refused") == telling.AT_ONCE
    assert host.process(CI).execute().status == 401
    assert host.events.count("caller-refused") == telling.AT_ONCE + 1
    host.clock.advance(2)
    assert stranger.execute().status == 401
    assert host.events.count("caller-refused") == telling.AT_ONCE + 2
    untold = refused.count(401) - telling.AT_ONCE
    assert host.audit.records[-1].detail.endswith(f"; {untold} before it have no record")


def test_where_nothing_can_be_asked_or_recorded_nothing_is_answered(host: Host) -> None:
    key = host.key()
    host.audit.ready = False
    assert host.process().execute().reason == "audit-unavailable"
    assert host.process().by(key).reason == "audit-unavailable"
    host.audit.ready = True
    api_keys.drop(host.database)
    assert host.process().by(key).reason == "store_unavailable"
    assert untouched(host)


def test_a_mistake_of_ours_is_500_and_tells_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "parsed", lambda *_: {}["x"])
    assert host.process().by(host.key()).reason == "internal-error"
