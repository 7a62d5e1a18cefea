"""Certificates from an operator's own CA: enrolment, a worker's channel, and a CA behind TLS on loopback."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, globalLogPublisher

from appliance.broker.api.enrolment import AT_ONCE, EACH, PATH, Enrolments
from appliance.broker.api.pace import Pace
from appliance.broker.api.server_tls import ServerTls
from appliance.broker.calls.connection import CallConnection
from appliance.broker.calls.dials import Dials
from appliance.broker.calls.own_request import OwnRequests
from appliance.broker.calls.platform_requests import PlatformRequests
from appliance.broker.calls.providers import Bounds, Providers
from appliance.broker.identities import Identities, open_identities
from appliance.broker.identity.external_ca import ExternalCa, ExternalCaFault
from appliance.broker.identity.external_enrolment import ExternalEnrolment
from appliance.broker.identity.verification import Trust, WorkloadIdentity
from appliance.endpoints import EndpointTable
from appliance.gateway.dials import Dials as Workers
from appliance.names import HostName
from appliance.policy.compile import OperatorLayer
from appliance.policy.platform import platform_policy
from appliance.policy.rules import RuleIndex
from appliance.policy.tenant import TenantPolicy
from appliance.workload import PLATFORM
from tests.unit.broker.calls.servers import OK, Anywhere, WithAServer
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.broker.identity.answers import Pieces
from tests.unit.broker.identity.peers import INSTANCE, Forge, connect, csr, make_root, shake_hands
from tests.unit.gateway import test_dials
from tests.unit.gateway.support import ENDPOINT, Log, Wire

ASKING = replace(ATTESTED, account="", port=80)
CANARY = "canary-9c41"
URI = "spiffe://lab/tenant/acme/workload/c1"


def now() -> datetime:
    return datetime.now(UTC)


def signed(forge: Forge, uri: str = URI) -> bytes:
    leaf, between = (one.public_bytes(Encoding.PEM).decode() for one in forge.chain(uri))
    return json.dumps({"certificate": leaf, "chain": [between]}).encode()


class Rig:
    """Enrolment over a real database; `post` is what reaches the CA."""

    def __init__(
        self, database_url: str, forge: Forge, post, url: str = "https://ca.example/", clock=None
    ) -> None:
        self.root = make_root()
        self.forge = forge
        roots = (forge.root.certificate,)
        self.identities: Identities = open_identities(database_url, self.root, now, roots)
        self.audit = Log()
        self.clock = clock or Clock()
        self.table = EndpointTable()
        self.table.replace([ENDPOINT])

        async def in_thread(function, *arguments):
            return function(*arguments)

        ca = ExternalCa(url, Trust(INSTANCE, roots), post, self.clock, now)
        self.enrolments = Enrolments(
            certificates=self.identities.certificates, endpoints=self.table, audit=self.audit, in_thread=in_thread,
            pace=Pace(AT_ONCE, EACH, self.clock.seconds), now=now,
            external=ExternalEnrolment(ca, self.identities.workloads, INSTANCE, now),
        )  # fmt: skip
        self.enrolments.open()
        self.connection = CallConnection(0, self.enrolments.begin)
        self.connection.transport = Wire()

    def ask(self, key=None) -> bytes:
        body = csr(key or self.forge.leaf_key)
        head = f"POST {PATH} HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.dataReceived(ASKING.line() + head.encode() + body)
        return self.said

    @property
    def said(self) -> bytes:
        return self.connection.transport.value()

    @property
    def chain(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.said.partition(b"\r\n\r\n")[2])


@pytest.fixture
def forge() -> Forge:
    return Forge()


def test_000_33_the_external_ca_signs_in_the_brokers_place(database_url: str, forge: Forge) -> None:
    async def post(_url, _body):
        return Pieces(signed(forge))

    rig = Rig(database_url, forge, post)
    assert rig.ask().startswith(b"HTTP/1.1 200 ")
    assert b"\r\nX-Egress-Renew-After: 1" in rig.said
    assert [one.issuer for one in rig.chain] == [forge.authority.subject, forge.root.certificate.subject]
    admitted = rig.identities.gate.admit(rig.chain, now())
    assert isinstance(admitted, WorkloadIdentity)
    assert (admitted.id.uri, admitted.endpoint) == (URI, ENDPOINT.id)
    (record,) = rig.audit.records
    assert (record.event, record.subject, record.tenant) == ("certificate-issued", admitted.serial, "acme")
    assert not rig.audit.open_claims
    rig.identities.close()


BAD = {
    ExternalCaFault.REFUSED: (403, b""),
    ExternalCaFault.TOO_LARGE: (200, b"x" * 70_000),
    ExternalCaFault.MALFORMED: (200, CANARY.encode()),
    ExternalCaFault.PRIVATE_KEY: (200, f"-----BEGIN PRIVATE KEY----- {CANARY}".encode()),
    ExternalCaFault.WRONG_CERTIFICATE: (200, signed(Forge())),
    ExternalCaFault.UNREACHABLE: OSError(CANARY),
    ExternalCaFault.TIMEOUT: None,
}


@pytest.mark.parametrize("fault", ExternalCaFault)
def test_000_75_000_76_000_77_000_78_000_79_every_failure_is_a_typed_refusal(
    database_url: str, forge: Forge, fault: ExternalCaFault
) -> None:
    answer = BAD[fault]

    async def post(_url, _body):
        if answer is None:
            return await Deferred()
        if isinstance(answer, OSError):
            raise answer
        return Pieces(answer[1], 1000, answer[0])

    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)
    try:
        rig = Rig(database_url, forge, post)
        rig.ask()
        rig.clock.advance(10)
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert rig.said.startswith(b"HTTP/1.1 504 " if fault is ExternalCaFault.TIMEOUT else b"HTTP/1.1 502 ")
    assert f'"reason":"{fault}"'.encode() in rig.said
    (record,) = rig.audit.records
    assert (record.event, record.reason, record.outcome.value) == ("certificate-refused", fault, "failed")
    assert CANARY not in rig.said.decode() + repr(record) + repr(told)
    assert not rig.audit.open_claims
    assert not rig.clock.getDelayedCalls()
    rig.identities.close()


def test_000_74_when_the_container_goes_the_call_to_the_ca_is_cancelled(
    database_url: str, forge: Forge
) -> None:
    cancelled: list = []

    async def post(_url, _body):
        return await Deferred(cancelled.append)

    rig = Rig(database_url, forge, post)
    assert rig.ask() == b""
    assert rig.audit.open_claims == 1
    rig.connection.withdraw()
    assert len(cancelled) == 1
    assert rig.said == b""
    assert not rig.clock.getDelayedCalls()
    (record,) = rig.audit.records
    assert (record.event, record.reason) == ("certificate-refused", "client-closed")
    assert not rig.audit.open_claims
    rig.identities.close()


def test_000_33_a_disabled_workload_is_given_nothing_of_what_the_ca_signed(
    database_url: str, forge: Forge
) -> None:
    async def post(_url, _body):
        return Pieces(signed(forge))

    rig = Rig(database_url, forge, post)
    rig.identities.workloads.disable("acme", "c1", now())
    assert b'"reason":"workload_disabled"' in rig.ask()
    assert b"CERTIFICATE" not in rig.said
    rig.identities.close()


class Named(Anywhere):
    """The platform's policy, but for its word on loopback."""

    def __init__(self, host: HostName, port: int) -> None:
        hosts = frozenset({(host.text, port)})
        super().__init__(platform_policy(hosts, OperatorLayer(), RuleIndex(), "one").bound)


class OverAWorker(WithAServer):
    """From the request to a CA on loopback: the broker's channel, a worker, its socket, TLS by name."""

    async def begin(self, host: HostName = OK, named: HostName | None = None) -> Rig:
        """Over a worker whose own settings name `named`, left out: `host` as the broker's do."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = str(Path(directory.name) / "dials.sock")
        port = self.dials.port
        dials = Dials(reactor, os.getuid())
        listening = reactor.listenUNIX(path, dials)
        self.addCleanup(listening.stopListening)
        policy = Named(named or host, port)
        worker = test_dials.Worker(port)
        worker.policy = {PLATFORM: policy}.get
        workers = Workers(worker, 0, UNIXClientEndpoint(reactor, path))
        workers.start()
        self.addCleanup(workers.stop)
        for _ in range(200):
            if dials._workers:
                break
            await deferLater(reactor, 0.01)
        self.worker = worker
        self.tls = Providers(reactor, dials, self.trust, self.deadlines, Bounds())
        calls = SimpleNamespace(requests=OwnRequests(self.tls), dials=dials)
        policies = {PLATFORM: Named(host, port), "acme": TenantPolicy("acme")}
        requests = PlatformRequests(calls, policies.__getitem__)
        self.forge = Forge()
        body = signed(self.forge)
        self.says = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        url = f"https://{host}:{port}/sign"
        rig = Rig(f"sqlite:///{directory.name}/broker.db", self.forge, requests.post, url, reactor)
        self.addCleanup(rig.identities.close)
        return rig

    async def until_said(self, rig: Rig) -> bytes:
        for _ in range(300):
            if rig.said:
                return rig.said
            await deferLater(reactor, 0.01)
        raise AssertionError("no answer")

    async def test_000_33_a_certificate_comes_from_the_ca_and_opens_the_brokers_tls(self) -> None:
        rig = await self.begin()
        rig.ask()
        said = await self.until_said(rig)
        assert said.startswith(b"HTTP/1.1 200 "), said
        (asked,) = self.heard
        head, _, body = asked.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /sign HTTP/1.1\r\nHost: ok.example:")
        assert json.loads(body)["spiffe_id"] == URI
        assert b"PRIVATE" not in asked
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(rig.chain[0])
        context.add_extra_chain_cert(rig.chain[1])
        context.use_privatekey(self.forge.leaf_key)
        server = ServerTls(rig.root, rig.identities.trust, now).connection()
        shake_hands(connect(context), server)
        presented = server.get_verified_chain(as_cryptography=True)
        assert isinstance(rig.identities.gate.admit(presented, now()), WorkloadIdentity)

    async def test_a_ca_that_proves_another_name_is_told_nothing(self) -> None:
        rig = await self.begin(HostName("other.example"))
        rig.ask()
        assert b'"reason":"external_ca_unreachable"' in await self.until_said(rig)
        assert len(self.worker.dialler.asked) == 1
        assert self.heard == []

    async def test_what_the_workers_own_settings_do_not_name_it_does_not_dial(self) -> None:
        rig = await self.begin(named=HostName("other.example"))
        rig.ask()
        assert b'"reason":"external_ca_unreachable"' in await self.until_said(rig)
        assert self.worker.dialler.asked == []

    async def test_000_74_when_the_container_goes_the_connection_to_the_ca_ends(self) -> None:
        rig = await self.begin()
        self.says = b""
        rig.ask()
        while not self.heard:
            await deferLater(reactor, 0.01)
        rig.connection.withdraw()
        assert rig.said == b""
        for _ in range(200):
            if not self.deadlines._watched:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("the connection to the CA is still open")
