"""A certificate of our own for a server that asks for one: shown once, with its chain, and its key forgotten."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from appliance.names import HostName
from appliance.tls.authority import new_key
from appliance.tls.upstream import UpstreamFault, UpstreamTrust, explain

from .chains import Origin, make_intermediate, pem

OK = HostName.parse("ok.example")


def key_pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Asking:
    """A server that asks for a client's certificate of `theirs`; `seen` is the chain that it was shown."""

    def __init__(self, tmp_path: Path, **limits) -> None:
        self.server_side, self.theirs = Origin(), Origin()
        bundle = tmp_path / "bundle.pem"
        bundle.write_text(pem(self.server_side.ca))
        self.trust = UpstreamTrust(bundle)
        context = self.server_side.context(self.server_side.certificate("ok.example"), **limits)
        accepted = tmp_path / "clients.pem"
        accepted.write_text(pem(self.theirs.ca))
        context.load_verify_locations(str(accepted))
        self.seen: list[x509.Certificate] = []
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._judge)
        self.server = SSL.Connection(context, None)
        self.server.set_accept_state()

    def _judge(self, _connection, certificate, _code, _depth, passed) -> bool:
        self.seen.append(certificate.to_cryptography())
        return bool(passed)

    def shake(self, client: SSL.Connection) -> SSL.Connection:
        """Both handshakes, as far as they come; then `client` has sent a word and the server has read it."""
        for _ in range(4):
            for one, other in ((client, self.server), (self.server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        return client

    def says(self, client: SSL.Connection, word: bytes) -> bytes:
        client.send(word)
        self.server.bio_write(client.bio_read(65536))
        return self.server.recv(100)


def holds_certificate(connection: SSL.Connection) -> bool:
    return lib.SSL_get_certificate(connection._ssl) != ffi.NULL


@pytest.mark.parametrize("limits", [{}, {"newest": SSL.TLS1_2_VERSION}], ids=["1.3", "1.2"])
def test_it_is_shown_and_then_forgotten_while_the_connection_goes_on(tmp_path: Path, limits) -> None:
    asking = Asking(tmp_path, **limits)
    own = asking.theirs.certificate(common_name="us")
    client = asking.trust.connection_as(OK, pem(own).encode(), key_pem(asking.theirs.key))
    asking.shake(client)
    assert asking.seen[-1] == own
    assert holds_certificate(client)
    asking.trust.forget_key(client)
    assert not holds_certificate(client)
    assert asking.says(client, b"hello") == b"hello"


def test_its_chain_is_shown_as_well(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    own, between = asking.theirs.certificate(), make_intermediate().certificate
    chain = (pem(own) + pem(between)).encode()
    asking.shake(asking.trust.connection_as(OK, chain, key_pem(asking.theirs.key)))
    shown = asking.server.get_peer_cert_chain(as_cryptography=True)
    assert shown == [between]  # of a client OpenSSL lists the others only
    assert asking.server.get_peer_certificate(as_cryptography=True) == own


def test_the_server_has_to_prove_its_name_all_the_same(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    chain, key = pem(asking.theirs.certificate()).encode(), key_pem(asking.theirs.key)
    client = asking.trust.connection_as(HostName.parse("other.example"), chain, key)
    with pytest.raises(SSL.Error) as caught:
        asking.shake(client)
    assert explain(caught.value).fault is UpstreamFault.WRONG_HOST
    assert asking.seen == []


def test_other_connections_have_none(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    asking.trust.connection_as(OK, pem(asking.theirs.certificate()).encode(), key_pem(asking.theirs.key))
    assert not holds_certificate(asking.trust.connection(OK))
    with pytest.raises(SSL.Error):
        asking.shake(asking.trust.connection(OK))


def test_the_trust_store_outlives_a_connection_that_shared_it(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    chain, key = pem(asking.theirs.certificate()).encode(), key_pem(asking.theirs.key)
    for _ in range(20):
        asking.trust.connection_as(OK, chain, key)
    asking.shake(asking.trust.connection_as(OK, chain, key))
    assert asking.seen


@pytest.mark.parametrize("broken", ["chain", "key", "another"])
def test_what_cannot_be_used_is_an_error_that_quotes_nothing(tmp_path: Path, broken: str) -> None:
    asking = Asking(tmp_path)
    chain, key = pem(asking.theirs.certificate()).encode(), key_pem(asking.theirs.key)
    chain = b"no chain" if broken == "chain" else chain
    key = {"key": b"no-key-canary", "another": key_pem(new_key())}.get(broken, key)
    with pytest.raises(ValueError, match="cannot be used") as caught:
        asking.trust.connection_as(OK, chain, key)
    assert "canary" not in str(caught.value)
