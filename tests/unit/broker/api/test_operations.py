"""Who is answered, how often, and what stands on record of those who are not."""

from __future__ import annotations

from appliance.broker.api.operations import AT_ONCE, empty_reply, json_reply
from appliance.broker.api.pace import Pace
from appliance.broker.identity.workloads import workload_certificates
from tests.unit.broker.api.support import Broker


def test_a_workload_that_asks_too_often_waits(broker: Broker) -> None:
    broker.interface._operations.pace = Pace(1, 1.0, broker.clock.seconds)
    client = broker.workload()
    assert client.ask("DELETE /v1/session").status == 401
    answer = client.ask("DELETE /v1/session")
    assert (answer.status, answer.reason) == (429, "too-often")
    assert b"\r\nRetry-After: 1" in answer.head
    assert broker.workload("e2", "c2").ask("DELETE /v1/session").status == 401
    assert AT_ONCE > 1


def test_000_06_who_is_nobody_is_on_record_with_the_link_and_no_token(broker: Broker) -> None:
    broker.workload().ask("DELETE /v1/session", "Authorization: Bearer s3cret-token")
    (record,) = broker.audit.records
    assert (record.event, record.tenant, record.subject) == ("workload-refused", "acme", "c1")
    assert record.reason == "token_unknown"
    assert "s3cret" not in repr(record)


def test_where_nothing_can_be_asked_nothing_is_answered(broker: Broker) -> None:
    client = broker.workload()
    workload_certificates.drop(broker.database)
    assert client.ask("DELETE /v1/session").reason == "store_unavailable"


def test_answers_are_kept_by_nobody() -> None:
    assert b"Cache-Control: no-store" in json_reply(200, {"a": 1})
    assert json_reply(201, {"a": 1}, "n").endswith(b'\r\n\r\n{"a":1}\n')
    assert b"DPoP-Nonce: n\r\n" in empty_reply("n")
    assert b"Content-Length" not in empty_reply()
