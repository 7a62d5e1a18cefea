"""Sessions over workloads' own TLS."""

from __future__ import annotations

import time

import pytest

from appliance.broker.api.session_operations import AT_ONCE, EACH
from appliance.broker.sessions import MAX_LIFE
from tests.unit.broker.api.support import BEARER, Broker
from tests.unit.broker.proofs import ABSENT, EC_KEY, jkt, proof
from tests.unit.gateway.support import ENDPOINT

SESSION = "https://broker.egress.internal/v1/session"


def test_000_34_000_35_a_token_is_told_once_and_its_life_is_the_brokers(broker: Broker) -> None:
    client = broker.workload()
    answer = client.ask("POST /v1/session", body={"ttl": 600})
    assert answer.status == 201
    assert b"Cache-Control: no-store" in answer.head
    assert set(answer.json) == {"token", "token_type", "expires_in", "session"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 600)
    assert broker.events == ["session-opened"]
    assert answer.json["token"] not in repr(broker.audit.records)
    for ttl in (0, -1, MAX_LIFE + 1):
        refused = client.ask("POST /v1/session", body={"ttl": ttl})
        assert (refused.status, refused.reason) == (400, "session_life")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"ttl": "600"}, {"ttl": 600.0}, {"ttl": True}, {"ttl": 600, "tenant": "globex"}, [], 1,
        b'{"ttl":600,"ttl":600}', b"{", b'{"ttl":NaN}', {"ttl": 600, "dpop": 1}, {"ttl": 600, "account": 7},
    ],
)  # fmt: skip
def test_000_40_only_the_message_itself_is_taken(broker: Broker, body: object) -> None:
    refused = broker.workload().ask("POST /v1/session", body=body)
    assert (refused.status, refused.reason) == (400, "body-invalid")
    assert broker.events == []


def test_000_11_a_session_that_is_bound_to_a_key_says_so_and_wants_its_proof(broker: Broker) -> None:
    client = broker.workload()
    uri = "spiffe://lab/tenant/acme/workload/c1"
    first = client.ask("POST /v1/session", body={"ttl": 600, "dpop": True})
    assert (first.status, first.reason) == (401, "proof_missing")
    moment = int(time.time())
    text = proof(EC_KEY, htu=SESSION, ath=ABSENT, iat=moment, nonce=broker.nonce(uri))
    opened = client.ask("POST /v1/session", f"DPoP: {text}", body={"ttl": 600, "dpop": True})
    assert opened.status == 201, opened.text
    assert (opened.json["token_type"], opened.json["dpop_jkt"]) == ("DPoP", jkt(EC_KEY))
    without = client.ask("DELETE /v1/session", f"Authorization: DPoP {opened.json['token']}")
    assert (without.status, without.reason) == (401, "proof_missing")
    assert b'DPoP error="invalid_dpop_proof"' in without.head
    as_bearer = client.ask("DELETE /v1/session", BEARER + opened.json["token"])
    assert as_bearer.reason == "scheme_mismatch"
    unwanted = client.ask("POST /v1/session", f"DPoP: {text}", body={"ttl": 600})
    assert unwanted.reason == "proof-unwanted"


def test_000_09_a_stolen_token_is_worth_nothing_with_another_certificate(broker: Broker) -> None:
    token = broker.workload().session()
    for thief in (broker.workload(), broker.workload("e2", "c2")):
        refused = thief.ask("DELETE /v1/session", BEARER + token)
        assert refused.reason == "certificate_mismatch"
        assert refused.status == 401
        assert b'error="invalid_token"' in refused.head


def test_a_session_ends_when_it_is_told_to(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    assert client.ask("DELETE /v1/session", BEARER + token).status == 204
    again = client.ask("DELETE /v1/session", BEARER + token)
    assert (again.status, again.reason) == (401, "session_revoked")
    assert client.ask("DELETE /v1/session").status == 401


def test_000_36_a_token_for_a_slot_has_a_providers_form_and_ends_too(broker: Broker) -> None:
    client = broker.workload()
    token = client.session(account="crm", shape="sk-")
    assert token.startswith("sk-")
    assert client.ask("DELETE /v1/session", BEARER + token).status == 204
    assert client.ask("POST /v1/session", body={"ttl": 9, "account": "none"}).reason == "account-not-bound"
    with_key = client.ask("POST /v1/session", "DPoP: x", body={"ttl": 9, "account": "crm", "dpop": True})
    assert with_key.reason == "proof-not-in-slot"


def test_without_room_for_a_record_there_is_no_session(broker: Broker) -> None:
    broker.audit.ready = False
    assert broker.workload().ask("POST /v1/session", body={"ttl": 9}).reason == "audit-unavailable"
    broker.audit.ready = True
    assert not broker.audit.open_claims


def test_one_container_does_not_use_up_its_tenants_sessions(broker: Broker) -> None:
    client = broker.workload()
    for _ in range(AT_ONCE):
        client.session()
    refused = client.ask("POST /v1/session", body={"ttl": 600})
    assert (refused.status, refused.reason) == (429, "too-often")
    assert broker.workload("e2", "c2").session()
    broker.clock.pump([1.0] * int(EACH))
    assert client.session()
    broker.interface.departed(ENDPOINT)
    assert not broker.interface._sessions.pace.take(ENDPOINT.id)
