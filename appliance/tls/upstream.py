"""Client side of TLS towards the server that was judged: it proves to be that name, or the handshake fails.

The chain is verified by OpenSSL against the operator's trust store, the name by service-identity (RFC 9525),
both inside the handshake: a server that fails learns it by an alert, and no octet of a request is sent to it.
A session that is resumed was verified when it began (see `sessions`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from weakref import WeakKeyDictionary

import service_identity
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL._util import lib
from OpenSSL.crypto import X509
from service_identity.hazmat import DNS_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns

from appliance.names import HostName
from appliance.tls.profile import HTTP_1_1, restrict
from appliance.tls.sessions import LIFE, Resumable


class UpstreamFault(StrEnum):
    """Stable reason codes of a TLS connection that could not be made."""

    EXPIRED = "upstream-certificate-expired"
    NOT_YET_VALID = "upstream-certificate-not-yet-valid"
    SELF_SIGNED = "upstream-certificate-self-signed"
    UNKNOWN_AUTHORITY = "upstream-certificate-unknown-authority"
    WRONG_HOST = "upstream-certificate-wrong-host"
    INVALID = "upstream-certificate-invalid"
    PROTOCOL = "upstream-tls-protocol"


class UpstreamCertificateInvalid(SSL.Error):
    """The server's certificate was refused. An `SSL.Error`, so that every reader of those stops for it."""

    def __init__(self, fault: UpstreamFault, detail: str) -> None:
        # The shape of OpenSSL's own error queue.
        super().__init__([("upstream", "", detail)])
        self.fault = fault
        self.detail = detail


class TrustStoreError(ValueError):
    """The operator's trust store cannot be used; `str()` names the file and the mend."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a connection could not be made: the code, and one sentence that is safe to show to the caller."""

    fault: UpstreamFault
    detail: str


def explain(error: BaseException) -> Explanation:
    """The reason code for what ended a handshake."""
    if isinstance(error, UpstreamCertificateInvalid):
        return Explanation(error.fault, error.detail)
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else None
    if isinstance(queue, list) and queue:
        return Explanation(UpstreamFault.PROTOCOL, f"the TLS handshake failed: {queue[-1][-1]}")
    return Explanation(UpstreamFault.PROTOCOL, "the server ended the TLS handshake")


@dataclass(slots=True)
class _Expected:
    """Whom a connection is to, and until when that needs no new proof (0: there is none yet)."""

    name: HostName
    proved_until: float = 0.0


class UpstreamTrust:
    """One client context for the worker; it is not bound to a name, each connection of it is."""

    def __init__(self, trust_store: Path, now: Callable[[], float] = time.monotonic) -> None:
        """Read the PEM bundle `trust_store`. Raises `TrustStoreError`."""
        context = self._context = self._new_context()
        try:
            context.load_verify_locations(str(trust_store))
        except SSL.Error as error:
            mend = "install ca-certificates, or set upstream_ca to a PEM bundle that this process may read"
            raise TrustStoreError(f"{trust_store}: no usable trust store; {mend}") from error
        self._now = now
        self._expected: WeakKeyDictionary[SSL.Connection, _Expected] = WeakKeyDictionary()

    def connection(self, name: HostName, resumable: Resumable | None = None) -> SSL.Connection:
        """A client connection over memory BIOs that insists on `name`.

        It offers to resume that session if it is of the same name; a server that declines is verified.
        """
        connection = self._begin(self._context, name)
        if resumable is not None and resumable.name == name:
            connection.set_session(resumable.session)
            self._expected[connection].proved_until = resumable.ends
        return connection

    def connection_as(self, name: HostName, chain: bytes, key: bytes) -> SSL.Connection:
        """The same with a certificate and a key of its own (PEM), for a server that asks for one.

        Nothing of them is kept but in the connection; `forget_key` takes the key out of that as well. Raises
        `ValueError` when they cannot be used.
        """
        try:
            own, *issuers = x509.load_pem_x509_certificates(chain)
            context = self._new_context()
            # The store itself, which took 23 ms to read. OpenSSL frees it with the last of its contexts.
            store = lib.SSL_CTX_get_cert_store(self._context._context)  # noqa: SLF001 - pyOpenSSL has no way to share one
            lib.X509_STORE_up_ref(store)
            lib.SSL_CTX_set_cert_store(context._context, store)  # noqa: SLF001 - as above
            for issuer in issuers:
                context.add_extra_chain_cert(issuer)
            connection = self._begin(context, name)
            connection.use_certificate(own)
            connection.use_privatekey(load_pem_private_key(key, None))  # type: ignore[arg-type]  # any of OpenSSL's
        except (SSL.Error, UnsupportedAlgorithm, TypeError, ValueError):
            raise ValueError("the certificate or its key cannot be used") from None
        return connection

    def forget_key(self, connection: SSL.Connection) -> None:
        """After the handshake of one from `connection_as` its key is needed no more, and freed."""
        # SSL_set_SSL_CTX(3): what was to be shown is replaced by the context's own, which is nothing.
        connection.set_context(self._context)

    def _new_context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        restrict(context)
        context.set_alpn_protos([HTTP_1_1])
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return context

    def _begin(self, context: SSL.Context, name: HostName) -> SSL.Connection:
        connection = SSL.Connection(context, None)
        connection.set_tlsext_host_name(name.text.encode("ascii"))
        connection.set_connect_state()
        self._expected[connection] = _Expected(name)
        return connection

    def resumable(self, connection: SSL.Connection) -> Resumable | None:
        """The session of a connection that is at its end, where it may be resumed.

        Only of TLS 1.3, whose resumed sessions have keys of their own (psk_dhe_ke, RFC 8446 section 4.2.9).
        """
        expected = self._expected.get(connection)
        if (
            expected is None
            or expected.proved_until <= self._now()
            or connection.get_protocol_version() != SSL.TLS1_3_VERSION
        ):
            return None
        session = connection.get_session()
        # OpenSSL spoils the session of a connection that is freed without a goodbye, as those that rest are.
        connection.set_shutdown(SSL.SENT_SHUTDOWN)
        return None if session is None else Resumable(session, expected.name, expected.proved_until)

    def _verified(
        self, connection: SSL.Connection, certificate: X509, code: int, depth: int, passed: int
    ) -> bool:
        # OpenSSL asks for each certificate of the chain, the server's own (depth 0) last. Raising ends the
        # handshake: pyOpenSSL answers "refused" and raises ours from `do_handshake`.
        if not passed:
            raise UpstreamCertificateInvalid(*_fault_of(code))
        if depth == 0:
            expected = self._expected.get(connection)
            _insist(None if expected is None else expected.name, certificate)
            if expected is not None:
                expected.proved_until = self._now() + LIFE
        return True


def _fault_of(code: int) -> tuple[UpstreamFault, str]:
    fault = _FAULTS.get(code, UpstreamFault.INVALID)
    return fault, _SENTENCES.get(fault, f"the server's certificate failed verification (code {code})")


def _insist(name: HostName | None, certificate: X509) -> None:
    if name is None:
        raise UpstreamCertificateInvalid(UpstreamFault.INVALID, "no name was expected of the server")
    try:
        verify_service_identity(
            extract_patterns(certificate), obligatory_ids=[DNS_ID(name.text)], optional_ids=[]
        )
    except (service_identity.VerificationError, service_identity.CertificateError, ValueError) as error:
        raise UpstreamCertificateInvalid(
            UpstreamFault.WRONG_HOST, f"the certificate is not for {name.text}"
        ) from error


_CODES = SSL.X509VerificationCodes
_FAULTS = {
    _CODES.ERR_CERT_HAS_EXPIRED: UpstreamFault.EXPIRED,
    _CODES.ERR_CERT_NOT_YET_VALID: UpstreamFault.NOT_YET_VALID,
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: UpstreamFault.SELF_SIGNED,
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: UpstreamFault.UNKNOWN_AUTHORITY,
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: UpstreamFault.UNKNOWN_AUTHORITY,
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UpstreamFault.UNKNOWN_AUTHORITY,
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: UpstreamFault.UNKNOWN_AUTHORITY,
}
_SENTENCES = {
    UpstreamFault.EXPIRED: "a certificate of the server's chain has expired",
    UpstreamFault.NOT_YET_VALID: "a certificate of the server's chain is not valid yet",
    UpstreamFault.SELF_SIGNED: "the certificate is self-signed",
    UpstreamFault.UNKNOWN_AUTHORITY: "no authority of this appliance's trust store issued the certificate",
}
