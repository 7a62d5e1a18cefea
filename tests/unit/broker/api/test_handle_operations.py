"""Handles: decrypted when asked for, named at random, dead when the work is done."""

from __future__ import annotations

from appliance.broker.handles import HANDLE, Bound
from tests.unit.broker.api.support import BEARER, Broker, Client
from tests.unit.broker.calls.support import SECRET, STORED
from tests.unit.gateway.support import ENDPOINT

BOUND = Bound("acme", ENDPOINT.id, "crm")


def given(client: Client, token: str, account: str = "crm"):
    return client.ask("POST /v1/handles", BEARER + token, body={"account": account})


def test_004_07_it_is_asked_for_decrypted_named_and_kept_in_this_order(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    assert broker.neighbours.log == []
    answer = given(client, token)
    assert (answer.status, answer.json["expires_in"]) == (201, 300)
    assert HANDLE.fullmatch(answer.json["handle"])
    assert SECRET not in answer.text
    assert broker.neighbours.log == ["decrypt crm-key"]
    assert broker.handles.resolve(answer.json["handle"], BOUND).material.value.get_secret_value() == SECRET
    assert broker.handles.resolve(answer.json["handle"], BOUND).stored == STORED
    assert broker.events == ["session-opened", "handle-given"]
    assert answer.json["handle"] not in repr(broker.audit.records)
    assert given(client, token).json["handle"] != answer.json["handle"]


def test_004_11_when_the_work_is_done_all_are_dead_and_there_is_no_other(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    handle = given(client, token).json["handle"]
    done = client.ask("DELETE /v1/handles", BEARER + token)
    assert (done.status, done.json) == (200, {"revoked": 1})
    assert broker.handles.resolve(handle, BOUND) is None
    assert broker.neighbours.held[0].closed == 1
    again = given(client, token)
    assert (again.status, again.reason) == (403, "execution-ended")
    assert broker.neighbours.log == ["decrypt crm-key", "secret cleared"]
    other = broker.workload("e2", "c2")
    assert given(other, other.session()).status == 201


def test_000_09_without_a_session_of_ones_own_there_is_none(broker: Broker) -> None:
    client, other = broker.workload(), broker.workload("e2", "c2")
    token = client.session()
    assert client.ask("POST /v1/handles", body={"account": "crm"}).status == 401
    assert given(other, token).reason == "certificate_mismatch"
    assert given(client, client.session(account="crm")).reason == "account_mismatch"
    assert client.ask("DELETE /v1/handles").status == 401
    assert broker.neighbours.log == []


def test_another_tenants_account_is_none_of_mine(broker: Broker) -> None:
    client = broker.workload()
    refused = given(client, client.session(), "other")
    assert (refused.status, refused.reason) == (403, "account-not-bound")
    assert broker.neighbours.log == []


def test_nothing_is_decrypted_that_could_not_be_given_or_recorded(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    broker.audit.ready = False
    assert given(client, token).reason == "audit-unavailable"
    assert broker.neighbours.log == []
    broker.audit.ready = True
    for _ in range(32):
        assert given(client, token).status == 201
    count = len(broker.neighbours.log)
    refused = given(client, token)
    assert (refused.status, refused.reason) == (429, "handles-of-execution")
    assert len(broker.neighbours.log) == count


def test_who_collided_gets_nothing_any_more(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    broker.over.add(ENDPOINT.id)
    assert given(client, token).reason == "execution-ended"
    assert client.ask("POST /v1/session", body={"ttl": 9}).reason == "execution-ended"
