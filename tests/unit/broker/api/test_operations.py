"""Who is answered, how often, and what stands on record of those who are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from appliance.broker.api import telling
from appliance.broker.api.operations import AT_ONCE, empty_reply, json_reply
from appliance.broker.api.pace import Pace
from appliance.broker.database_threads import DatabaseBusy
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.verification import CertificateFault
from appliance.broker.identity.workloads import workload_certificates
from tests.unit.broker.api.support import BEARER, Broker, Client, now


def test_a_workload_that_asks_too_often_waits(broker: Broker) -> None:
    broker.interface._operations.pace = Pace(1, 1.0, broker.clock.seconds)
    client = broker.workload()
    assert client.ask("DELETE /v1/session").status == 401
    answer = client.ask("DELETE /v1/session")
    assert (answer.status, answer.reason) == (429, "too-often")
    assert b"\r\nRetry-After: 1" in answer.head
    assert broker.workload("e2", "c2").ask("DELETE /v1/session").status == 401
    assert AT_ONCE > 1


def test_large_bodies_count_as_many_requests(broker: Broker) -> None:
    client = broker.workload()
    large = {**ASKED["POST /execute"], "body": "x" * 900_000}
    bearer = BEARER + client.session()
    assert client.ask("POST /execute", bearer, body=large).reason != "too-often"
    assert broker.workload().ask("POST /execute", bearer, body=large).reason == "too-often"
    assert broker.workload().ask("DELETE /v1/session").status == 401


def test_000_06_who_is_nobody_is_on_record_with_the_link_and_no_token(broker: Broker) -> None:
    broker.workload().ask("DELETE /v1/session", "Authorization: Bearer s3cret-token")
    (record,) = broker.audit.records
    assert (record.event, record.tenant, record.subject) == ("workload-refused", "acme", "c1")
    assert record.reason == "token_unknown"
    assert "s3cret" not in repr(record)


def test_who_is_nobody_does_not_fill_the_records(broker: Broker) -> None:
    client = broker.workload()
    for _ in range(telling.AT_ONCE + 40):
        assert client.ask("DELETE /v1/session", "Authorization: Bearer s3cret-token").status == 401
    for number in range(telling.AT_ONCE + 40):
        stranger = Client(broker)
        stranger.link = replace(stranger.link, endpoint=f"x{number}")
        with pytest.raises(SSL.Error):
            stranger.ask("DELETE /v1/session")
        stranger.connection.connectionLost(Failure(ConnectionLost()))
    assert len(broker.audit.records) == 2 * telling.AT_ONCE
    broker.workload("e2", "c2").ask("DELETE /v1/session")
    assert len(broker.audit.records) == 2 * telling.AT_ONCE + 1


ASKED = {
    "POST /v1/session": {"ttl": 600}, "DELETE /v1/session": None, "POST /v1/handles": {"account": "crm"},
    "DELETE /v1/handles": None,
    "POST /execute": {
        "account": "crm", "url": "https://api.example.com/data/1", "method": "GET", "headers": {}, "body": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("line", ASKED)
def test_000_07_a_good_certificate_from_an_address_outside_the_list_is_denied(
    broker: Broker, line: str
) -> None:
    client = broker.workload()
    bearer = BEARER + client.session()
    broker.interface = broker.wired("2001:db8::/32", "172.18.0.3")
    answer = broker.workload().ask(line, bearer, body=ASKED[line])
    assert (answer.status, answer.reason) == (403, "workload_ip_denied")
    record = broker.audit.records[-1]
    assert (record.event, record.reason) == ("workload-refused", "workload_ip_denied")
    assert (record.tenant, record.subject, record.outcome) == ("acme", "c1", "denied")
    assert broker.workload("e2", "c2").ask("POST /v1/session", body={"ttl": 600}).status == 201


def test_000_07_an_empty_list_lets_nobody_and_without_one_the_certificate_is_enough(broker: Broker) -> None:
    assert broker.workload().ask("POST /v1/session", body={"ttl": 600}).status == 201
    broker.interface._operations.addresses = AddressAllowlist(())
    assert broker.workload().ask("POST /v1/session", body={"ttl": 600}).reason == "workload_ip_denied"


def test_000_07_the_address_is_asked_behind_the_certificate(broker: Broker) -> None:
    client = broker.workload()
    broker.interface = broker.wired("172.18.0.3")
    broker.identities.workloads.revoke_workload("acme", "c1", now())
    assert client.ask("POST /v1/session", body={"ttl": 600}).status == 401


def test_000_06_from_an_address_on_the_list_nobody_passes_without_a_certificate(broker: Broker) -> None:
    broker.interface = broker.wired("172.18.0.2")
    nobody = Client(broker)
    with pytest.raises(SSL.Error):
        nobody.connect()
        nobody.say(b"x")
    nobody.connection.connectionLost()
    (record,) = broker.audit.records
    assert (record.event, record.reason) == ("workload-refused", CertificateFault.MISSING)
    assert record.outcome == "denied"


def test_where_nothing_can_be_asked_nothing_is_answered(broker: Broker) -> None:
    client = broker.workload()
    workload_certificates.drop(broker.database)
    assert client.ask("DELETE /v1/session").reason == "store_unavailable"


def test_where_too_much_waits_for_the_database_the_answer_is_503(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> None:
        raise DatabaseBusy

    client = broker.workload()
    monkeypatch.setattr(broker.interface._operations, "in_thread", busy)
    answer = client.ask("POST /v1/session", body={"ttl": 600})
    assert (answer.status, answer.reason) == (503, "store_unavailable")


def test_answers_are_kept_by_nobody() -> None:
    assert b"Cache-Control: no-store" in json_reply(200, {"a": 1})
    assert json_reply(201, {"a": 1}, "n").endswith(b'\r\n\r\n{"a":1}\n')
    assert b"DPoP-Nonce: n\r\n" in empty_reply("n")
    assert b"Content-Length" not in empty_reply()
