"""TLS of the broker's mTLS listener, and of the gateway's connection to it.

The listener demands a client certificate in every handshake (RFC 8705 §2: the TLS layer says who the client
is). Nothing is resumed there, neither by session identifier nor by ticket: each connection proves the key
anew, and a certificate that was revoked or has expired does not live on in a session.
"""

from __future__ import annotations

from collections.abc import Sequence

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.hazmat import DNS_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns

from appliance.broker.identity.verification import SENTENCES, CertificateFault, CertificateRefusal
from appliance.names import HostName
from appliance.tls.leaf import NoCommonProtocol
from appliance.tls.profile import HTTP_1_1, restrict

_CONTEXT_ID = b"egress broker"
_DEMANDED = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


class ClientRefused(SSL.Error):
    """The listener refused a client's certificate in the handshake."""

    def __init__(self, refusal: CertificateRefusal) -> None:
        # The shape of OpenSSL's own error queue.
        super().__init__([("broker", "", refusal.detail)])
        self.refusal = refusal


class BrokerNotProved(SSL.Error):
    """What answered is not the broker."""

    def __init__(self, detail: str) -> None:
        super().__init__([("broker", "", detail)])


def server_context(
    key: EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    between: Sequence[x509.Certificate] = (),
) -> SSL.Context:
    """The listener's: its own `key` and `chain`, and the roots of its clients.

    `between` are workload CAs that a client may leave out. They are no trust anchors.
    """
    context = _own(SSL.TLS_SERVER_METHOD, key, chain)
    context.set_session_id(_CONTEXT_ID)
    store = context.get_cert_store()
    assert store is not None
    for certificate in (*roots, *between):
        store.add_cert(X509.from_cryptography(certificate))
    context.set_verify(_DEMANDED, _client_verified)
    return context


def client_context(
    key: EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    root: x509.Certificate,
    name: HostName,
) -> SSL.Context:
    """The gateway worker's: its own certificate, and a broker that `root` has certified as `name`."""
    context = _own(SSL.TLS_CLIENT_METHOD, key, chain)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(X509.from_cryptography(root))

    def verified(_connection: SSL.Connection, certificate: X509, code: int, depth: int, passed: int) -> bool:
        if not passed:
            raise BrokerNotProved(f"the broker's certificate failed verification (code {code})")
        if depth == 0:
            _insist(name, certificate)
        return True

    context.set_verify(_DEMANDED, verified)
    return context


def presented_chain(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    """The chain that was verified, the peer's own certificate first; empty where there was none."""
    return tuple(connection.get_verified_chain(as_cryptography=True) or ())


def explain(error: BaseException) -> CertificateRefusal:
    """Why a handshake with a client failed, for the audit record; the client has had an alert."""
    if isinstance(error, ClientRefused):
        return error.refusal
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else None
    if isinstance(queue, list) and any(entry[-1] == _NO_CERTIFICATE for entry in queue):
        return CertificateRefusal(CertificateFault.MISSING, SENTENCES[CertificateFault.MISSING])
    return CertificateRefusal(CertificateFault.HANDSHAKE, SENTENCES[CertificateFault.HANDSHAKE])


def _own(method: int, key: EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]) -> SSL.Context:
    context = SSL.Context(method)
    restrict(context)
    context.use_certificate(chain[0])
    for certificate in chain[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(key)
    context.check_privatekey()
    if method == SSL.TLS_CLIENT_METHOD:
        context.set_alpn_protos([HTTP_1_1])
    else:
        context.set_alpn_select_callback(_select)
    return context


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    del connection
    # RFC 7301 §3.2: no protocol in common ends the handshake. A client that offers none is not asked this.
    if HTTP_1_1 not in offered:
        raise NoCommonProtocol
    return HTTP_1_1


def _client_verified(
    connection: SSL.Connection, certificate: X509, code: int, depth: int, passed: int
) -> bool:
    del connection, certificate, depth
    if not passed:
        fault = _FAULTS.get(code, CertificateFault.UNTRUSTED)
        raise ClientRefused(CertificateRefusal(fault, SENTENCES[fault]))
    return True


def _insist(name: HostName, certificate: X509) -> None:
    try:
        verify_service_identity(
            extract_patterns(certificate), obligatory_ids=[DNS_ID(name.text)], optional_ids=[]
        )
    except (service_identity.VerificationError, service_identity.CertificateError, ValueError) as error:
        raise BrokerNotProved(f"the certificate is not for {name.text}") from error


_NO_CERTIFICATE = "peer did not return a certificate"
_CODES = SSL.X509VerificationCodes
_FAULTS = {
    _CODES.ERR_CERT_HAS_EXPIRED: CertificateFault.EXPIRED,
    _CODES.ERR_CERT_NOT_YET_VALID: CertificateFault.NOT_YET_VALID,
    _CODES.ERR_INVALID_PURPOSE: CertificateFault.USAGE,
    _CODES.ERR_PERMITTED_VIOLATION: CertificateFault.TRUST_DOMAIN,
    _CODES.ERR_EXCLUDED_VIOLATION: CertificateFault.NAMES,
}
