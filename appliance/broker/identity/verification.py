"""Judges the certificates that a TLS peer has presented: who it is, or a stable code why it is nobody.

`judge` decides by the certificates alone; `WorkloadGate` asks the database as well, so that what was revoked
a moment ago is refused now. OpenSSL has verified the chain in the handshake already (`tls_context`). Here
everything is judged once more from the certificates themselves, more strictly, and told by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from appliance.broker.identity.spiffe import (
    InvalidSpiffeId,
    SpiffeId,
    WorkloadId,
    parse,
    trust_domain,
)
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.workloads import Standing, Workloads, serial_text

MAX_CHAIN = 4
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class CertificateFault(StrEnum):
    """Stable codes; the peer gets 401 with one of them where the handshake has not told it already."""

    HANDSHAKE = "workload_tls_failed"
    MISSING = "workload_certificate_missing"
    UNTRUSTED = "workload_certificate_untrusted"
    MALFORMED = "workload_certificate_malformed"
    EXPIRED = "workload_certificate_expired"
    NOT_YET_VALID = "workload_certificate_not_yet_valid"
    USAGE = "workload_certificate_usage"
    NAMES = "workload_certificate_names"
    TRUST_DOMAIN = "workload_trust_domain"
    KIND = "workload_identity_kind"
    UNKNOWN = "workload_certificate_unknown"
    REVOKED = "workload_certificate_revoked"
    DISABLED = "workload_disabled"
    DEPARTED = "workload_departed"


@dataclass(frozen=True, slots=True)
class CertificateRefusal:
    """Nobody: the code, and one sentence that is safe to show to the peer."""

    fault: CertificateFault
    detail: str


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that is what it should be."""

    id: SpiffeId
    serial: str
    thumbprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """A workload that has access at this moment."""

    id: WorkloadId
    endpoint: str
    serial: str
    thumbprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust domain, and the self-signed roots that speak for it."""

    instance: str
    roots: tuple[x509.Certificate, ...]


def judge(chain: Sequence[x509.Certificate], trust: Trust, now: datetime) -> Presented | CertificateRefusal:
    """`chain` begins with the peer's own certificate; each further one has signed the one before it.

    A root at its end is not needed. Certificates behind the one that a root has signed are not looked at.
    """
    if not chain:
        return _refuse(CertificateFault.MISSING)
    try:
        return _judge(chain, trust, now)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # cryptography reads extensions when they are asked for.
        return _refuse(CertificateFault.MALFORMED)


def _judge(chain: Sequence[x509.Certificate], trust: Trust, now: datetime) -> Presented | CertificateRefusal:
    path = _path(chain, trust.roots)
    if path is None:
        return _refuse(CertificateFault.UNTRUSTED)
    for certificate in path:
        if now >= certificate.not_valid_after_utc:
            return _refuse(CertificateFault.EXPIRED)
        if now < certificate.not_valid_before_utc:
            return _refuse(CertificateFault.NOT_YET_VALID)
    leaf = path[0]
    if not all(_may_sign(one, below) for below, one in enumerate(path[1:])):
        return _refuse(CertificateFault.UNTRUSTED)
    if not _is_a_client(leaf) or not all(_may_sign_clients(one) for one in path[1:]):
        return _refuse(CertificateFault.USAGE)
    names = list(_value(leaf, x509.SubjectAlternativeName) or ())
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        return _refuse(CertificateFault.NAMES)
    uri = names[0].value
    try:
        if trust_domain(uri) != trust.instance:
            return _refuse(CertificateFault.TRUST_DOMAIN)
        identity = parse(uri)
    except InvalidSpiffeId:
        return _refuse(CertificateFault.NAMES)
    return Presented(identity, serial_text(leaf), thumbprint(leaf), leaf.not_valid_after_utc)


class WorkloadGate:
    """Lets a peer in as the workload that it is. Blocks: it asks the database each time."""

    def __init__(self, trust: Trust, workloads: Workloads) -> None:
        self._trust = trust
        self._workloads = workloads

    def admit(
        self, chain: Sequence[x509.Certificate], now: datetime
    ) -> WorkloadIdentity | CertificateRefusal:
        """For each request, not only at the handshake: a connection outlives a revocation."""
        presented = judge(chain, self._trust, now)
        if isinstance(presented, CertificateRefusal):
            return presented
        if not isinstance(presented.id, WorkloadId):
            return _refuse(CertificateFault.KIND)
        standing = self._workloads.standing(presented.thumbprint)
        if standing is None or (standing.serial, standing.tenant, standing.workload) != (
            presented.serial,
            presented.id.tenant,
            presented.id.workload,
        ):
            return _refuse(CertificateFault.UNKNOWN)
        fault = _fault_of(standing)
        if fault is not None:
            return _refuse(fault)
        return WorkloadIdentity(
            presented.id, standing.endpoint, presented.serial, presented.thumbprint, presented.not_after
        )


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is self-signed and may sign others. Raises what cryptography does for one it cannot read."""
    return _signed(certificate, certificate) and _may_sign(certificate, 0) and _may_sign_clients(certificate)


def _fault_of(standing: Standing) -> CertificateFault | None:
    if standing.revoked:
        return CertificateFault.REVOKED
    if standing.departed:
        return CertificateFault.DEPARTED
    return CertificateFault.DISABLED if standing.disabled else None


def _path(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate] | None:
    """The peer's certificate, those between, and the root; each signed by the next."""
    path: list[x509.Certificate] = []
    for certificate in chain[:MAX_CHAIN]:
        if path and not _signed(path[-1], certificate):
            return None
        path.append(certificate)
        for root in roots:
            if _signed(certificate, root):
                return [*path, root]
    return None


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(issuer: x509.Certificate, below: int) -> bool:
    """RFC 5280 §6.1.4 (k), (l), (n): a CA that signs, with no more CAs `below` than it allows."""
    basic, usage = _value(issuer, x509.BasicConstraints), _value(issuer, x509.KeyUsage)
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        return False
    return basic.path_length is None or below <= basic.path_length


def _may_sign_clients(issuer: x509.Certificate) -> bool:
    usage = _value(issuer, x509.ExtendedKeyUsage)
    return usage is None or ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _is_a_client(leaf: x509.Certificate) -> bool:
    """Exactly clientAuth; stricter than RFC 5280 §4.2.1.12, which takes an absent extension for all uses."""
    basic, usage = _value(leaf, x509.BasicConstraints), _value(leaf, x509.KeyUsage)
    extended = _value(leaf, x509.ExtendedKeyUsage)
    if basic is None or basic.ca or usage is None or not usage.digital_signature or usage.key_cert_sign:
        return False
    if any(one.critical and one.oid not in _UNDERSTOOD for one in leaf.extensions):
        return False
    return extended is not None and list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def _value(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _refuse(fault: CertificateFault) -> CertificateRefusal:
    return CertificateRefusal(fault, SENTENCES[fault])


_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)

SENTENCES = {
    CertificateFault.HANDSHAKE: "the TLS handshake failed",
    CertificateFault.MISSING: "no client certificate was presented; ask the broker for one",
    CertificateFault.UNTRUSTED: "the client certificate leads to no authority for workloads",
    CertificateFault.MALFORMED: "the client certificate cannot be read",
    CertificateFault.EXPIRED: "the client certificate has expired; ask the broker for another",
    CertificateFault.NOT_YET_VALID: "the client certificate is not valid yet",
    CertificateFault.USAGE: "the client certificate is not for TLS clients, and for nothing else",
    CertificateFault.NAMES: "the client certificate does not name exactly one SPIFFE ID",
    CertificateFault.TRUST_DOMAIN: "the client certificate is of another trust domain",
    CertificateFault.KIND: "the client certificate is not of the kind that is served here",
    CertificateFault.UNKNOWN: "the client certificate is none that the broker keeps",
    CertificateFault.REVOKED: "the client certificate has been revoked",
    CertificateFault.DISABLED: "the workload is disabled",
    CertificateFault.DEPARTED: "the container has left the network that its certificate was issued for",
}
