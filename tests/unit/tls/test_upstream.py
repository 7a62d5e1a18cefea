"""appliance.tls.upstream: our TLS against servers that are wrong in every way (D11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect

from appliance.names import HostName
from appliance.tls.stream import TLSStream
from appliance.tls.upstream import (
    Explanation,
    TrustStoreError,
    UpstreamCertificateInvalid,
    UpstreamFault,
    UpstreamTrust,
    explain,
)

from .chains import Origin, pem

OK = HostName.parse("ok.example")


class Recorder(Protocol):
    """Speaks as soon as it may, and remembers how it ended."""

    def __init__(self, says: bytes = b"") -> None:
        self.says = says
        self.heard = b""
        self.completed = False
        self.reason: BaseException | None = None

    def handshakeCompleted(self) -> None:
        self.completed = True
        assert self.transport is not None
        self.transport.write(self.says)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # always given one here
        self.reason = reason.value


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def trust(tmp_path: Path, origin: Origin) -> UpstreamTrust:
    (tmp_path / "bundle.pem").write_text(pem(Origin().ca) + pem(origin.ca))
    return UpstreamTrust(tmp_path / "bundle.pem")


def talk(trust: UpstreamTrust, server: SSL.Context, name: HostName = OK) -> tuple[Recorder, Recorder]:
    """Let both sides run until nothing moves; the client wants to send a request at once."""
    ours, theirs = Recorder(b"GET / HTTP/1.1\r\n\r\n"), Recorder()
    accepting = SSL.Connection(server, None)
    accepting.set_accept_state()
    server_protocol = TLSStream(accepting, theirs)
    client_protocol = TLSStream(trust.connection(name), ours)
    pump = connect(
        server_protocol,
        FakeTransport(server_protocol, isServer=True),
        client_protocol,
        FakeTransport(client_protocol, isServer=False),
    )
    for _ in range(20):
        pump.flush()
    return ours, theirs


def test_a_good_server_gets_the_request(origin: Origin, trust: UpstreamTrust) -> None:
    ours, theirs = talk(trust, origin.context(origin.certificate("ok.example")))
    assert ours.completed
    assert theirs.heard == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("certificate", "fault"),
    [
        (lambda o: o.certificate("ok.example", end=timedelta(minutes=-1)), UpstreamFault.EXPIRED),
        (lambda o: o.certificate("ok.example", start=timedelta(days=1), end=timedelta(days=2)), UpstreamFault.NOT_YET_VALID),
        (lambda o: o.certificate("ok.example", self_signed=True), UpstreamFault.SELF_SIGNED),
        (lambda _: STRANGER.certificate("ok.example"), UpstreamFault.UNKNOWN_AUTHORITY),
        (lambda o: o.certificate("evil.example"), UpstreamFault.WRONG_HOST),
        (lambda o: o.certificate("*.ok.example"), UpstreamFault.WRONG_HOST),
        (lambda o: o.certificate("ok.example.evil.example"), UpstreamFault.WRONG_HOST),
        (lambda o: o.certificate(common_name="ok.example"), UpstreamFault.WRONG_HOST),
        (lambda o: o.certificate("*.example", "*", "*.com"), UpstreamFault.WRONG_HOST),
    ],
    ids=["expired", "future", "self-signed", "unknown-ca", "other", "wildcard-below", "suffix", "cn-only", "stars"],
)  # fmt: skip
def test_a_bad_certificate_ends_the_handshake_with_its_reason(
    origin: Origin,
    trust: UpstreamTrust,
    certificate: Callable[[Origin], x509.Certificate],
    fault: UpstreamFault,
) -> None:
    made = certificate(origin)
    key_owner = STRANGER if fault is UpstreamFault.UNKNOWN_AUTHORITY else origin
    ours, theirs = talk(trust, key_owner.context(made))
    assert isinstance(ours.reason, UpstreamCertificateInvalid)
    assert explain(ours.reason).fault is fault
    assert (ours.completed, theirs.heard) == (False, b"")
    assert isinstance(theirs.reason, SSL.Error)  # told by an alert


STRANGER = Origin()


def test_a_wildcard_of_one_label_is_good(origin: Origin, trust: UpstreamTrust) -> None:
    name = HostName.parse("a.ok.example")
    assert talk(trust, origin.context(origin.certificate("*.ok.example")), name)[0].completed


def test_one_context_serves_many_names_and_each_connection_insists_on_its_own(
    origin: Origin, trust: UpstreamTrust
) -> None:
    server = origin.context(origin.certificate("ok.example"))
    assert talk(trust, server)[0].completed
    wrong = talk(trust, server, HostName.parse("other.example"))[0]
    assert wrong.reason is not None
    assert explain(wrong.reason) == Explanation(
        UpstreamFault.WRONG_HOST, "the certificate is not for other.example"
    )
    assert talk(trust, server)[0].completed


def test_an_old_protocol_is_refused(origin: Origin, trust: UpstreamTrust) -> None:
    server = origin.context(origin.certificate("ok.example"), newest=SSL.TLS1_1_VERSION)
    server.set_min_proto_version(SSL.TLS1_VERSION)
    server.set_cipher_list(b"ALL:@SECLEVEL=0")
    ours, _ = talk(trust, server)
    assert ours.reason is not None
    assert explain(ours.reason).fault is UpstreamFault.PROTOCOL


def test_a_server_that_speaks_no_tls_is_a_protocol_fault(trust: UpstreamTrust) -> None:
    ours = Recorder()
    protocol = TLSStream(trust.connection(OK), ours)
    plain = Recorder()
    pump = connect(
        plain, FakeTransport(plain, isServer=True), protocol, FakeTransport(protocol, isServer=False)
    )
    plain.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    pump.flush()
    assert ours.reason is not None
    assert explain(ours.reason).fault is UpstreamFault.PROTOCOL


def test_the_server_learns_the_name_and_http_1_1(origin: Origin, trust: UpstreamTrust) -> None:
    seen: list[object] = []

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        seen.append((connection.get_servername(), offered))
        return offered[0]

    server = origin.context(origin.certificate("ok.example"))
    server.set_alpn_select_callback(select)
    assert talk(trust, server)[0].completed
    assert seen == [(b"ok.example", [b"http/1.1"])]


def test_a_missing_or_empty_trust_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for file in ("absent.pem", "empty.pem"):
        with pytest.raises(TrustStoreError, match=f"{file}: no usable trust store; install ca-certificates"):
            UpstreamTrust(tmp_path / file)


def test_every_fault_has_a_code_that_says_upstream() -> None:
    assert all(fault.value.startswith("upstream-") for fault in UpstreamFault)


def test_an_end_without_an_error_queue_is_explained() -> None:
    assert explain(SSL.Error([])).fault is UpstreamFault.PROTOCOL
    assert explain(ConnectionResetError()).fault is UpstreamFault.PROTOCOL
