"""appliance.broker.api.enrolment: a certificate for the link that asks, and for no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from sqlalchemy import Engine
from twisted.internet.task import Clock

from appliance.broker.api.enrolment import AT_ONCE, EACH, PATH, Enrolments
from appliance.broker.api.pace import Pace
from appliance.broker.calls.connection import CallConnection
from appliance.broker.identity.certificates import MAX_REQUEST, WorkloadCertificates
from appliance.broker.identity.verification import Trust, WorkloadGate, WorkloadIdentity
from appliance.broker.identity.workloads import Workloads, workload_certificates
from appliance.endpoints import EndpointTable
from appliance.tls.authority import new_key
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.broker.identity.peers import INSTANCE, csr, make_root
from tests.unit.gateway.support import ENDPOINT, Log, Wire

ASKING = replace(ATTESTED, account="", port=80)


def now() -> datetime:
    return datetime.now(UTC)


class Rig:
    """The broker's end of a worker's connection, over a real database."""

    def __init__(self, database: Engine) -> None:
        self.database = database
        self.root = make_root()
        self.workloads = Workloads(database)
        self.table = EndpointTable()
        self.table.replace([ENDPOINT])
        self.audit = Log()
        self.clock = Clock()

        async def in_thread(function, *arguments):
            return function(*arguments)

        self.enrolments = Enrolments(
            certificates=WorkloadCertificates(self.root, self.workloads, now), endpoints=self.table,
            audit=self.audit, in_thread=in_thread, pace=Pace(AT_ONCE, EACH, self.clock.seconds), now=now,
        )  # fmt: skip
        self.enrolments.open()

    def ask(self, body: bytes | None = None, *, line: str = f"POST {PATH}", attested=ASKING) -> bytes:
        """What the broker says, a new connection each time."""
        self.connection = CallConnection(0, self.enrolments.begin)
        self.connection.transport = Wire()
        body = csr(new_key()) if body is None else body
        head = f"{line} HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.dataReceived(attested.line() + head.encode() + body)
        return self.connection.transport.value()

    def admitted(self, said: bytes):
        chain = x509.load_pem_x509_certificates(said.partition(b"\r\n\r\n")[2])
        gate = WorkloadGate(Trust(INSTANCE, (self.root.certificate,)), self.workloads)
        return gate.admit(chain, now() + timedelta(seconds=1))


@pytest.fixture
def rig(database: Engine) -> Rig:
    return Rig(database)


def test_000_33_the_certificate_names_the_link_and_is_a_clients(rig: Rig) -> None:
    said = rig.ask()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nX-Egress-Renew-After: 1" in said
    admitted = rig.admitted(said)
    assert isinstance(admitted, WorkloadIdentity)
    assert admitted.id.uri == "spiffe://lab/tenant/acme/workload/c1"
    assert admitted.endpoint == ENDPOINT.id
    (record,) = rig.audit.records
    assert (record.event, record.subject, record.tenant) == ("certificate-issued", admitted.serial, "acme")
    assert not rig.audit.open_claims


def test_000_33_a_disabled_workload_gets_none(rig: Rig) -> None:
    rig.workloads.disable("acme", "c1", now())
    said = rig.ask()
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b'"reason":"workload_disabled"' in said
    (record,) = rig.audit.records
    assert (record.event, record.reason, record.outcome.value) == (
        "certificate-refused", "workload_disabled", "denied",
    )  # fmt: skip


def test_000_33_a_link_that_netd_does_not_know_gets_none(rig: Rig) -> None:
    for attested in (replace(ASKING, tenant="globex"), replace(ASKING, endpoint="e9")):
        assert b'"reason":"endpoint-unknown"' in rig.ask(attested=attested)
    assert not rig.audit.records


def test_nothing_is_issued_before_it_is_known_who_is_there(rig: Rig) -> None:
    rig.enrolments.is_open = False
    said = rig.ask()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in said


def test_a_link_that_asks_too_often_waits(rig: Rig) -> None:
    assert all(rig.ask(b"x").startswith(b"HTTP/1.1 400 ") for _ in range(AT_ONCE))
    said = rig.ask()
    assert said.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 60\r\n" in said
    rig.clock.advance(EACH)
    assert rig.ask().startswith(b"HTTP/1.1 200 ")
    rig.enrolments.departed(ENDPOINT)
    assert rig.ask().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("line", [f"GET {PATH}", f"POST {PATH}?life=9", "POST /v1/session", "POST /execute"])
def test_000_39_nothing_else_is_answered_without_an_account(rig: Rig, line: str) -> None:
    assert rig.ask(line=line).startswith(b"HTTP/1.1 404 ")
    assert not rig.audit.records


def test_a_body_is_bounded_and_must_be_a_request(rig: Rig) -> None:
    assert rig.ask(b"x" * (MAX_REQUEST + 1)).startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"csr_invalid"' in rig.ask(b"")
    assert b'"reason":"csr_invalid"' in rig.ask(b"-----BEGIN CERTIFICATE REQUEST-----")
    assert rig.connection.transport.disconnecting is False


def test_without_room_for_the_record_nothing_is_issued(rig: Rig) -> None:
    rig.audit.ready = False
    assert b'"reason":"audit-unavailable"' in rig.ask()
    rig.audit.ready = True
    workload_certificates.drop(rig.database)
    assert b'"reason":"store_unavailable"' in rig.ask()
    assert not rig.audit.open_claims
    assert not rig.audit.records


def test_one_connection_carries_one_after_the_other(rig: Rig) -> None:
    rig.ask()
    body = csr(new_key())
    head = f"POST {PATH} HTTP/1.1\r\nHost: broker.egress.internal\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire = head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for octet in ASKING.line() + wire:
        rig.connection.dataReceived(bytes([octet]))
    assert rig.connection.transport.value().count(b"HTTP/1.1 200 ") == 2
    rig.connection.dataReceived(ASKING.line() + head.encode() + b"zz\r\n")
    assert b"HTTP/1.1 400 " in rig.connection.transport.value()


def test_000_33_the_name_is_netds_word_and_not_the_workers(rig: Rig) -> None:
    admitted = rig.admitted(rig.ask(attested=replace(ASKING, container="c9", run="another")))
    assert isinstance(admitted, WorkloadIdentity)
    assert admitted.id.workload == ENDPOINT.container
    elsewhere = replace(ASKING, source="172.18.0.9:1")
    assert b'"reason":"endpoint-unknown"' in rig.ask(attested=elsewhere)
