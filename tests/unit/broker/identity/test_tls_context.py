"""appliance.broker.identity.tls_context: a certificate in every handshake, nothing resumed, nothing old."""

from __future__ import annotations

import ast
import contextlib
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from OpenSSL._util import lib
from OpenSSL.crypto import X509

from appliance.broker.identity.tls_context import (
    BrokerNotProved,
    client_context,
    explain,
    presented_chain,
    server_context,
)
from appliance.broker.identity.verification import CertificateFault, Presented, judge
from appliance.names import HostName
from appliance.tls.authority import issue_workload_leaf

from .peers import (
    BROKER,
    CERTIFICATE_FIELDS,
    INSTANCE,
    NOW,
    URI,
    Forge,
    accept,
    carry,
    connect,
    make_root,
    server_chain,
    shake_hands,
)

FORGE, STRANGER = Forge(), Forge()
KEY, CHAIN = server_chain(FORGE.root)


def listener() -> SSL.Context:
    return server_context(KEY, CHAIN, [FORGE.root.certificate])


def client(chain: list[x509.Certificate] | None = None, forge: Forge = FORGE) -> SSL.Context:
    return client_context(forge.leaf_key, chain or FORGE.chain(), FORGE.root.certificate, BROKER)


def anonymous() -> SSL.Context:
    return SSL.Context(SSL.TLS_CLIENT_METHOD)


def fault_of(context: SSL.Context, server: SSL.Context | None = None) -> CertificateFault:
    with pytest.raises(SSL.Error) as caught:
        shake_hands(connect(context), accept(server or listener()))
    return explain(caught.value).fault


VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])


@VERSIONS
def test_rfc8705_2_000_08_the_listener_knows_who_is_there(version: int) -> None:
    context = client()
    context.set_max_proto_version(version)
    server = accept(listener())
    shake_hands(connect(context), server)
    assert server.get_protocol_version() == version
    who = judge(presented_chain(server), FORGE.trust, NOW)
    assert isinstance(who, Presented)
    assert who.id.uri == URI


def test_000_06_000_08_without_a_certificate_there_is_no_handshake() -> None:
    assert fault_of(anonymous()) is CertificateFault.MISSING


@VERSIONS
@pytest.mark.parametrize("name", [None, BROKER.text, "other.example"])
def test_rfc8705_6_a_certificate_is_demanded_before_the_first_octet_whatever_name_is_asked_for(
    name: str | None, version: int
) -> None:
    """The handshake comes before the token, which therefore cannot say whether a certificate is wanted."""
    context = anonymous()
    context.set_max_proto_version(version)
    ours, server = connect(context), accept(listener())
    if name is not None:
        ours.set_tlsext_host_name(name.encode("ascii"))
    with pytest.raises(SSL.Error) as caught:
        shake_hands(ours, server)
    assert explain(caught.value).fault is CertificateFault.MISSING
    with contextlib.suppress(SSL.Error):
        ours.send(b"GET / HTTP/1.1\r\n")
        carry(ours, server)
    with pytest.raises(SSL.Error):
        server.recv(1)


def test_rfc8705_8_no_connection_changes_its_certificate_later() -> None:
    """A client that would renegotiate: the listener takes no part in it."""
    context, mine = SSL.Context(SSL.TLS_CLIENT_METHOD), FORGE.chain()
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_privatekey(FORGE.leaf_key)
    context.use_certificate(mine[0])
    context.add_extra_chain_cert(mine[1])
    ours, server = connect(context), accept(listener())
    shake_hands(ours, server)
    assert ours.renegotiate()
    with contextlib.suppress(SSL.WantReadError):
        ours.do_handshake()
    carry(ours, server)
    with pytest.raises(SSL.WantReadError):
        server.recv(1)
    carry(server, ours)
    with pytest.raises(SSL.Error, match="no renegotiation"):
        ours.do_handshake()
    assert presented_chain(server)[0] == mine[0]


@VERSIONS
@pytest.mark.parametrize(
    ("chain", "fault"),
    [
        (STRANGER.chain, CertificateFault.UNTRUSTED),
        (lambda: [*STRANGER.chain(), STRANGER.root.certificate], CertificateFault.UNTRUSTED),
        (lambda: [FORGE.leaf(URI)], CertificateFault.UNTRUSTED),
        (lambda: FORGE.chain(end=timedelta(minutes=-1)), CertificateFault.EXPIRED),
        (lambda: FORGE.chain(start=timedelta(minutes=30)), CertificateFault.NOT_YET_VALID),
        (lambda: FORGE.chain(usages=[ExtendedKeyUsageOID.SERVER_AUTH]), CertificateFault.USAGE),
        (lambda: FORGE.chain("spiffe://other/tenant/acme/workload/x"), CertificateFault.TRUST_DOMAIN),
        (lambda: FORGE.chain(names=[x509.DNSName("x.example")]), CertificateFault.NAMES),
    ],
    ids=["other-ca", "brings-its-root", "no-issuer", "expired", "future", "server", "foreign-domain", "dns"],
)
def test_000_08_a_bad_certificate_ends_the_handshake(
    chain: Callable[[], list[x509.Certificate]], fault: CertificateFault, version: int
) -> None:
    made = chain()
    forge = STRANGER if made[0].public_key() == STRANGER.leaf_key.public_key() else FORGE
    context = client(made, forge)
    context.set_max_proto_version(version)
    assert fault_of(context) is fault


def test_000_08_what_openssl_lets_through_is_judged_behind_it() -> None:
    for chain, fault in (
        (FORGE.chain(usages=[]), CertificateFault.USAGE),
        (FORGE.chain(URI, "spiffe://lab/tenant/acme/workload/two"), CertificateFault.NAMES),
    ):
        server = accept(listener())
        shake_hands(connect(client(chain)), server)
        answer = judge(presented_chain(server), FORGE.trust, NOW)
        assert not isinstance(answer, Presented)
        assert answer.fault is fault


def test_an_ed25519_key_is_as_good() -> None:
    key = Ed25519PrivateKey.generate()
    leaf = issue_workload_leaf(
        FORGE.authority, FORGE.key, key.public_key(), URI, (NOW, NOW + timedelta(hours=1))
    )
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(leaf)
    context.add_extra_chain_cert(FORGE.authority)
    context.use_privatekey(key)
    server = accept(listener())
    shake_hands(connect(context), server)
    assert isinstance(judge(presented_chain(server), FORGE.trust, NOW), Presented)


def test_a_client_may_leave_its_issuer_out_where_the_listener_knows_it() -> None:
    server = accept(server_context(KEY, CHAIN, [FORGE.root.certificate], [FORGE.authority]))
    shake_hands(connect(client([FORGE.leaf(URI)])), server)
    assert isinstance(judge(presented_chain(server), FORGE.trust, NOW), Presented)


def test_a_known_issuer_is_no_anchor() -> None:
    server = server_context(KEY, CHAIN, [FORGE.root.certificate], [STRANGER.authority])
    assert fault_of(client([STRANGER.leaf(URI)], STRANGER), server) is CertificateFault.UNTRUSTED


def test_an_old_protocol_is_refused() -> None:
    context = anonymous()
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    assert fault_of(context) is CertificateFault.HANDSHAKE


def test_rfc8705_8_nothing_reads_a_certificate_from_a_field() -> None:
    names = {name.decode("ascii").lower() for name in CERTIFICATE_FIELDS}
    for package in ("broker", "gateway", "http1", "outgoing"):
        for file in (Path(__file__).resolve().parents[4] / "appliance" / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    said = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    assert said.lower().replace("_", "-").removeprefix("http-") not in names, file


def resumed(server: SSL.Context, context: SSL.Context) -> tuple[bool, SSL.Connection]:
    """Whether a second connection resumes the session of the first, and the listener's side of it."""
    first, listening = connect(context), accept(server)
    shake_hands(first, listening)
    session = first.get_session()
    # Of a connection that ends without both words OpenSSL keeps no session: the test would see none resumed.
    first.shutdown()
    listening.shutdown()
    again, listening = connect(context, session), accept(server)
    shake_hands(again, listening)
    return bool(lib.SSL_session_reused(listening._ssl)), listening  # pyOpenSSL has no public name for it


@VERSIONS
def test_rfc8705_9_000_09_nothing_is_resumed_at_the_listener(version: int) -> None:
    context = client()
    context.set_max_proto_version(version)
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    was, listening = resumed(listener(), context)
    assert not was
    assert listening.get_peer_certificate(as_cryptography=True) is not None


@VERSIONS
def test_rfc8705_9_000_09_a_session_that_another_listener_resumes_still_shows_the_certificate(
    version: int,
) -> None:
    """What the test above would find if the listener kept sessions: so it can fail, and RFC 8705 would hold."""
    keeping = SSL.Context(SSL.TLS_SERVER_METHOD)
    keeping.use_privatekey(KEY)
    keeping.use_certificate(CHAIN[0])
    keeping.add_extra_chain_cert(CHAIN[1])
    keeping.set_session_id(b"keeps")
    store = keeping.get_cert_store()
    assert store is not None
    store.add_cert(X509.from_cryptography(FORGE.root.certificate))
    keeping.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    keeping.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    mine = FORGE.chain()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_privatekey(FORGE.leaf_key)
    context.use_certificate(mine[0])
    context.add_extra_chain_cert(mine[1])
    context.set_max_proto_version(version)
    was, listening = resumed(keeping, context)
    assert was
    assert listening.get_peer_certificate(as_cryptography=True) == mine[0]


def test_the_gateway_speaks_to_nobody_but_the_broker() -> None:
    root = make_root()
    for key, chain, name in (
        (*server_chain(root), BROKER),
        (KEY, CHAIN, HostName.parse("other.egress.internal")),
    ):
        context = client_context(FORGE.leaf_key, FORGE.chain(), FORGE.root.certificate, name)
        server = server_context(key, chain, [FORGE.root.certificate])
        with pytest.raises(SSL.Error) as caught:
            shake_hands(connect(context), accept(server))
        assert isinstance(caught.value, BrokerNotProved)


def test_a_workloads_certificate_is_no_brokers() -> None:
    server = server_context(FORGE.leaf_key, FORGE.chain(), [FORGE.root.certificate])
    with pytest.raises(BrokerNotProved):
        shake_hands(connect(client()), accept(server))


def test_only_http_1_1_is_spoken() -> None:
    ours = connect(client())
    shake_hands(ours, accept(listener()))
    assert ours.get_alpn_proto_negotiated() == b"http/1.1"
    context = client()
    context.set_alpn_protos([b"h2"])
    with pytest.raises(SSL.Error):
        shake_hands(connect(context), accept(listener()))


def test_the_name_of_the_instance_is_in_the_trust() -> None:
    assert FORGE.trust.instance == INSTANCE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_000_09_an_ordinary_client_with_its_files_is_let_in_and_resumes_nothing(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Python's own TLS, which is another OpenSSL and says itself whether it has resumed."""
    (tmp_path / "chain.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in FORGE.chain()))
    private = FORGE.leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    ours.maximum_version = version
    ours.load_verify_locations(cadata=FORGE.root.certificate.public_bytes(Encoding.PEM).decode())
    ours.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    context = listener()
    session = None
    for _ in range(3):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_side = ours.wrap_bio(incoming, outgoing, server_hostname=BROKER.text, session=session)
        server = accept(context)
        for _round in range(5):
            with contextlib.suppress(ssl.SSLWantReadError):
                client_side.do_handshake()
            if said := outgoing.read():
                server.bio_write(said)
            with contextlib.suppress(SSL.WantReadError):
                server.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                incoming.write(server.bio_read(1 << 16))
        server.send(b"x")
        incoming.write(server.bio_read(1 << 16))
        assert client_side.read(1) == b"x"
        assert not client_side.session_reused
        assert isinstance(judge(presented_chain(server), FORGE.trust, NOW), Presented)
        session = client_side.session
