"""Short-lived client certificates for workloads: the container makes the CSR, the link attests the name.

    root (broker) → workload CA, 48 hours, key in this process's memory → leaf, 1 hour by default

Of the request only the public key is used, and only when the request is signed by it. A certificate counts
once it is recorded (`workloads`), so one whose record failed is worth nothing. Renewing is asking again with
a new key; the earlier certificate stays good until its own end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.broker.ca import RootAuthority
from appliance.broker.identity.spiffe import InvalidSpiffeId
from appliance.broker.identity.workloads import Attestation, EnrolmentRefused, Workloads
from appliance.tls.authority import (
    MAX_WORKLOAD_LIFE,
    SubjectKey,
    issue_workload_authority,
    issue_workload_leaf,
    new_key,
)

DEFAULT_LIFE = timedelta(hours=1)
SHORTEST_LIFE = timedelta(minutes=1)
MAX_REQUEST = 8 * 1024
"""Octets of a PEM request; one for a P-256 key has about 300."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, the workload CA that signed it, and when to ask for the next (aware, UTC)."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    renew_after: datetime

    @property
    def pem(self) -> str:
        """What the workload presents: its certificate, then the issuer."""
        both = (self.certificate, self.issuer)
        return "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in both)


@dataclass(frozen=True, slots=True)
class _WorkloadAuthority:
    key: EllipticCurvePrivateKey
    certificate: x509.Certificate


class WorkloadCertificates:
    """Issues to workloads. May be called from several threads."""

    def __init__(self, root: RootAuthority, workloads: Workloads, now: Callable[[], datetime]) -> None:
        self._root = root
        self._workloads = workloads
        self._now = now
        self._lock = threading.Lock()
        self._authority: _WorkloadAuthority | None = None

    @property
    def issuer(self) -> x509.Certificate:
        """The workload CA that signs now."""
        return self._current(self._now()).certificate

    def issue(self, csr: bytes, attested: Attestation, life: timedelta = DEFAULT_LIFE) -> Issued:
        """A certificate for the attested workload and the key of `csr` (PEM). Raises `EnrolmentRefused`.

        Codes: `csr_invalid`, `attestation_invalid`, `attestation_conflict`, `life_invalid`,
        `workload_disabled`, `workload_departed`.
        """
        try:
            identity = attested.identity(self._root.instance)
        except InvalidSpiffeId as error:
            raise EnrolmentRefused(
                "attestation_invalid", f"what is attested names nobody: {error}"
            ) from error
        issued = self._sign(csr, identity.uri, life)
        self._workloads.record(attested, issued.certificate, identity.workload, self._now())
        return issued

    def _sign(self, csr: bytes, uri: str, life: timedelta) -> Issued:
        if not SHORTEST_LIFE <= life <= MAX_WORKLOAD_LIFE:
            raise EnrolmentRefused("life_invalid", "a certificate lives for a minute at least, a day at most")
        now = self._now().replace(microsecond=0)
        authority = self._current(now)
        key = requested_key(csr)
        if key in (authority.key.public_key(), self._root.key.public_key()):
            raise EnrolmentRefused("csr_invalid", "the request is for a key of the broker's own")
        leaf = issue_workload_leaf(authority.certificate, authority.key, key, uri, (now, now + life))
        return Issued(leaf, authority.certificate, now + (leaf.not_valid_after_utc - now) / 2)

    def _current(self, now: datetime) -> _WorkloadAuthority:
        with self._lock:
            known = self._authority
            # Replaced while it can still sign for a whole day.
            if known is None or now + MAX_WORKLOAD_LIFE > known.certificate.not_valid_after_utc:
                key = new_key()
                root = self._root
                certificate = issue_workload_authority(
                    root.certificate, root.key, key.public_key(), root.instance, now
                )
                known = self._authority = _WorkloadAuthority(key, certificate)
            return known


def requested_key(csr: bytes) -> SubjectKey:
    """The key of a PEM request whose asker holds it. Raises `EnrolmentRefused` (`csr_invalid`)."""
    if len(csr) > MAX_REQUEST:
        raise EnrolmentRefused("csr_invalid", f"a signing request has at most {MAX_REQUEST} octets")
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        proved = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise EnrolmentRefused("csr_invalid", "not a PEM certificate signing request") from error
    on_p256 = isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) or not (
        on_p256 or isinstance(key, Ed25519PublicKey)
    ):
        raise EnrolmentRefused("csr_invalid", "the key of the request is neither P-256 nor Ed25519")
    if not proved:
        raise EnrolmentRefused("csr_invalid", "the request is not signed by its own key")
    return key
