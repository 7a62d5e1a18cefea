"""appliance.broker.signing: who gets an intermediate, and that it is on the record first."""

from __future__ import annotations

import json
import os
import socket
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord, Record
from appliance.broker.ca import RootAuthority, open_authority
from appliance.broker.signing import MAX_REQUEST, Signing
from appliance.control import ControlFactory
from appliance.names import HostName
from appliance.peer import Credentials
from appliance.tls.authority import new_key, signing_request
from appliance.tls.intermediate import request_intermediate
from appliance.tls.leaf import LeafCache

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GATEWAY, SQUID = 64101, 64104
CSR = signing_request(new_key()).public_bytes(Encoding.PEM).decode()


class Recorder:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ready = True

    def claim(self) -> Any:
        raise NotImplementedError

    def write(self, record: Record) -> None:
        if not self.ready:
            raise AuditUnavailable("the disk is full")
        self.records.append(record)


@pytest.fixture
def root(tmp_path: Path) -> RootAuthority:
    return open_authority(tmp_path / "ca", "lab", NOW)


@pytest.fixture
def audit() -> Recorder:
    return Recorder()


def ask(root: RootAuthority, audit: Recorder, uid: int, **message: object) -> dict[str, Any]:
    signing = Signing(root, audit, lambda: NOW)
    factory = ControlFactory(
        signing.operations(frozenset({GATEWAY, SQUID})), identify=lambda _: Credentials(7, uid, uid)
    )
    peer, transport = factory.buildProtocol(None), StringTransport()
    peer.makeConnection(transport)
    peer.dataReceived(json.dumps(message).encode() + b"\n")
    answer: dict[str, Any] = json.loads(transport.value().splitlines()[0])
    return answer


@pytest.mark.parametrize("uid", [GATEWAY, SQUID])
def test_the_gateway_and_its_fallback_get_an_intermediate_of_24_hours_and_its_root(
    root: RootAuthority, audit: Recorder, uid: int
) -> None:
    answer = ask(root, audit, uid, op="sign-intermediate", csr=CSR)
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    certificate.verify_directly_issued_by(root.certificate)
    assert x509.load_pem_x509_certificate(answer["root"].encode()) == root.certificate
    assert answer["not_after"] == "2026-06-02T12:00:00+00:00"
    (record,) = audit.records
    assert isinstance(record, LifecycleRecord)
    assert (record.event, record.subject) == ("intermediate-signed", f"{certificate.serial_number:x}")


@pytest.mark.parametrize("uid", [64102, 1000, 65534])
def test_nobody_else_does(root: RootAuthority, audit: Recorder, uid: int) -> None:
    answer = ask(root, audit, uid, op="sign-intermediate", csr=CSR)
    assert (answer["ok"], answer["error"]) == (False, "not-permitted")
    assert audit.records == []


@pytest.mark.parametrize("csr", [None, 3, "", "nonsense", "x" * (MAX_REQUEST + 1), ["a"]])
def test_a_bad_request_is_refused_and_signs_nothing(
    root: RootAuthority, audit: Recorder, csr: object
) -> None:
    assert ask(root, audit, GATEWAY, op="sign-intermediate", csr=csr)["error"] == "invalid-request"
    assert audit.records == []


def test_without_a_record_there_is_no_certificate(root: RootAuthority, audit: Recorder) -> None:
    audit.ready = False
    answer = ask(root, audit, GATEWAY, op="sign-intermediate", csr=CSR)
    assert answer["error"] == "audit-unavailable"
    assert "certificate" not in answer


def test_status_says_ready_and_how_long_the_root_lives(root: RootAuthority, audit: Recorder) -> None:
    answer = ask(root, audit, 0, op="status")
    assert (answer["ok"], answer["ready"], answer["root_expires_soon"]) == (True, True, False)
    audit.ready = False
    assert ask(root, audit, 0, op="status")["ready"] is False


class OverASocket(TestCase):
    """The worker's client and the broker's operations, over a real Unix socket, up to a strict TLS client."""

    async def test_a_worker_gets_an_intermediate_that_strict_clients_accept(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = str(Path(directory.name) / "broker.sock")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        now = datetime.now(UTC)
        root = open_authority(Path(directory.name) / "ca", "lab", now)
        signing = Signing(root, Recorder(), lambda: now)
        acceptor = Acceptor(reactor, listening, ControlFactory(signing.operations(frozenset({os.getuid()}))))
        self.addCleanup(acceptor.close)
        intermediate = await request_intermediate(UNIXClientEndpoint(reactor, path), reactor)
        cache = LeafCache()
        cache.install(intermediate)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        client.load_verify_locations(Path(directory.name) / "ca" / "root.crt")
        ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
        asking = client.wrap_bio(theirs, ours, server_hostname="ok.example")
        server = SSL.Connection(cache.mint(HostName.parse("ok.example")), None)
        server.set_accept_state()
        with pytest.raises(ssl.SSLWantReadError):
            asking.do_handshake()
        server.bio_write(ours.read())
        with pytest.raises(SSL.WantReadError):
            server.do_handshake()
        theirs.write(server.bio_read(65536))
        asking.do_handshake()
        assert asking.version() == "TLSv1.3"
