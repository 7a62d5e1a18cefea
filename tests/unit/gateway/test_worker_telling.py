"""F7: a flood of refusals does not push the records of others out of the log, and none of it goes uncounted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import ConnectionRecord, RequestRecord
from appliance.gateway import refusals
from appliance.gateway.connection import Connections
from appliance.gateway.exchange import Exchange
from appliance.gateway.limits import Limits
from appliance.gateway.settling import settle
from appliance.limits.window import SECOND
from appliance.policy.limits import DEFAULT_LIMITS
from appliance.telling import COLLECT_SECONDS, MANY, Bounds

from .support import CONTAINER, ENDPOINT, Wire, plain, request, web_policy, worker

MANY_REQUESTS = replace(
    DEFAULT_LIMITS,
    container=replace(DEFAULT_LIMITS.container, requests_per_second=5000),
    tenant=replace(DEFAULT_LIMITS.tenant, requests_per_second=5000),
)
BOUND = Bounds().per_second


class Time:
    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def made(time: Time):
    made = worker(policy=web_policy(limits=MANY_REQUESTS), nanoseconds=time)
    made.deadlines.start()
    yield made
    made.deadlines.stop()


def refuse(made, refusal=refusals.UPGRADE, target: str = "/secret?key=1") -> bool:
    return settle(made, plain(), Exchange(made.next_id(), request(target), made.seconds()), refusal)


def test_of_a_thousand_denied_requests_in_a_second_few_are_recorded_and_all_answered(made) -> None:
    connection = Connections(made).buildProtocol(None)
    connection.makeConnection(Wire((str(CONTAINER), 40000)))
    for number in range(1000):
        connection.dataReceived(f"DELETE /{number}?key HTTP/1.1\r\nHost: site.net\r\n\r\n".encode())
    assert connection.transport.value().count(b"HTTP/1.1 403 ") == 1000
    assert made.audit.reasons == ["method-not-allowed"] * BOUND
    assert made.budget.tallies["e1"].denied == 1000
    made.reactor.pump([1.0] * int(COLLECT_SECONDS + 1))
    *told, summary = made.audit.records
    assert len(told) == BOUND
    assert isinstance(summary, RequestRecord)
    assert (summary.reason, summary.outcome, summary.count) == (MANY, "denied", 1000 - BOUND)
    assert (summary.tenant, summary.endpoint, summary.container) == ("acme", ENDPOINT.id, "c1")
    assert (summary.method, summary.host, summary.path, summary.query_keys) == ("DELETE", "site.net", "", ())
    assert summary.detail == (
        "980 refusals in the 10 s before this record, the last as shown: method-not-allowed 980."
    )
    assert sum(record.count for record in made.audit.records) == 1000
    assert made.audit.open_claims == 0


def test_what_is_allowed_or_was_begun_always_has_its_own_record(made) -> None:
    for _ in range(5 * BOUND):
        refuse(made)
    before = len(made.audit.records)
    for _ in range(100):
        exchange = Exchange(made.next_id(), request("/allowed"), made.seconds())
        exchange.verdict = made.policy("acme").judge_host(None, request().host, 80)
        settle(made, plain(), exchange, None)
        begun = Exchange(made.next_id(), request("/begun"), made.seconds())
        begun.flow = made.budget.flow(made.charged(ENDPOINT), "site.net:80")
        settle(made, plain(), begun, refusals.POLICY_CHANGED)
        settle(made, plain(), Exchange(made.next_id(), request(), made.seconds()), refusals.CLIENT_CLOSED)
    assert len(made.audit.records) == before + 300
    assert {record.count for record in made.audit.records} == {1}


def test_connections_without_a_request_share_with_the_requests(made) -> None:
    for _ in range(BOUND):
        refuse(made)
    for _ in range(3):
        connection = Connections(made).buildProtocol(None)
        connection.makeConnection(Wire((str(CONTAINER), 40000)))
        connection.dataReceived(b"nothing that is HTTP\r\n\r\n")
        assert connection.transport.value().startswith(b"HTTP/1.1 400 ")
    refuse(made)
    connection.record(refusals.NO_FIRST_BYTES, count=7)
    made.telling.close()
    summary = made.audit.records[-1]
    assert isinstance(summary, ConnectionRecord)
    assert (summary.reason, summary.count) == (MANY, 11)
    assert "no-first-bytes 7" in summary.detail
    assert "upgrade-not-allowed 1" in summary.detail


def test_only_the_commonest_reasons_are_named(made) -> None:
    for number in range(BOUND + 10):
        refuse(made, replace(refusals.UPGRADE, reason=f"reason-{number}"))
    made.telling.close()
    assert made.audit.records[-1].detail.endswith(" 1 and 4 other reasons.")


def test_one_that_waited_alone_is_recorded_as_it_was(made) -> None:
    for _ in range(BOUND + 1):
        refuse(made)
    made.telling.close()
    assert made.audit.records[-1].reason == "upgrade-not-allowed"
    assert made.audit.records[-1].path == "/secret"


def test_room_is_claimed_before_the_answer_and_once(made) -> None:
    for _ in range(BOUND):
        refuse(made)
    made.audit.ready = False
    assert not refuse(made)
    made.audit.ready = True
    assert refuse(made)
    assert made.audit.open_claims == 1
    made.audit.ready = False
    assert refuse(made)
    assert made.audit.open_claims == 1
    made.telling.close()
    assert made.audit.records[-1].count == 2


def test_what_was_claimed_for_one_is_used_or_given_back(made) -> None:
    for _ in range(BOUND):
        refuse(made)
    for _ in range(2):
        exchange = Exchange(made.next_id(), request(), made.seconds())
        exchange.claim = made.audit.claim()
        settle(made, plain(), exchange, refusals.UPGRADE)
    assert made.audit.open_claims == 1


def test_it_is_written_when_the_container_leaves(made) -> None:
    for _ in range(BOUND + 5):
        refuse(made)
    made.endpoint_removed(ENDPOINT)
    assert made.audit.records[-1].count == 5
    made.reactor.pump([1.0] * int(COLLECT_SECONDS + 1))
    assert len(made.audit.records) == BOUND + 1


def test_a_device_that_fails_then_ends_nothing(made, monkeypatch) -> None:
    warned: list = []
    monkeypatch.setattr("appliance.telling._log.warn", lambda *a, **k: warned.append(k["count"]))
    for _ in range(BOUND + 5):
        refuse(made)

    def failed(_record):
        raise AuditUnavailable("no device")

    (collected,) = made.telling._collected.values()
    monkeypatch.setattr(collected._claim, "write", failed)
    made.telling.close()
    assert warned == [5]


def test_a_long_flood_is_told_for_an_hour_at_most(time: Time) -> None:
    limits = Limits(told=Bounds(per_hour=50, per_hour_of_tenant=1000))
    made = worker(limits=limits, nanoseconds=time)
    for _ in range(60):
        for _ in range(BOUND):
            refuse(made)
        time.now += SECOND
    assert len(made.audit.records) == 50
    time.now += 2 * 3600 * SECOND
    refuse(made)
    assert len(made.audit.records) == 51


def test_many_containers_of_a_tenant_share_a_bound(time: Time) -> None:
    made = worker(limits=Limits(told=Bounds(per_hour_of_tenant=30)), nanoseconds=time)
    for number in range(10):
        for tenant in ("acme", "beta"):
            for _ in range(10):
                record = Exchange("r", request(), 0.0).record(plain(), 0.0, refusals.UPGRADE)
                made.telling.write(replace(record, endpoint=f"{tenant}-{number}", tenant=tenant))
    assert len(made.audit.records) == 60
    made.telling.close()
    assert sum(record.count for record in made.audit.records) == 200
