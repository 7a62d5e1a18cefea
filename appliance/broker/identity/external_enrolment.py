"""Workloads' certificates from an operator's own CA: what it signs counts once it is recorded here.

The CA is asked by `external_ca`, believed in nothing. The operator's roots for it are read at the start, and
stand beside the broker's own root; of what leads to them only a certificate that is recorded counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from sqlalchemy.exc import IntegrityError

from appliance.broker.identity.external_ca import (
    ExternalCa,
    ExternalCaError,
    ExternalCaFault,
    TrustMaterial,
)
from appliance.broker.identity.spiffe import InvalidSpiffeId
from appliance.broker.identity.verification import is_root
from appliance.broker.identity.workloads import Attestation, EnrolmentRefused, Workloads
from appliance.settings import SettingsError

MAX_ROOTS = 64 * 1024
"""Octets of the file."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A certificate that counts, what the workload presents, and when to ask for the next (aware, UTC)."""

    certificate: x509.Certificate
    pem: str
    renew_after: datetime


@dataclass(frozen=True, slots=True)
class ExternalEnrolment:
    """`instance` is the trust domain."""

    ca: ExternalCa
    workloads: Workloads
    instance: str
    now: Callable[[], datetime]

    async def ask(self, csr: bytes, attested: Attestation) -> TrustMaterial:
        """What the CA has signed for the attested workload; to cancel it cancels the call to the CA.

        Raises `ExternalCaError`, or `EnrolmentRefused` (`csr_invalid`, `attestation_invalid`).
        """
        try:
            identity = attested.identity(self.instance)
        except InvalidSpiffeId as error:
            raise EnrolmentRefused(
                "attestation_invalid", f"what is attested names nobody: {error}"
            ) from error
        return await self.ca.enrol(csr, identity)

    def record(self, material: TrustMaterial, attested: Attestation) -> Recorded:
        """Let it count. Blocks. Raises `EnrolmentRefused`; `ExternalCaError` for one that it gave before."""
        now, leaf = self.now(), material.certificate
        known_before = False
        try:
            self.workloads.record(attested, leaf, attested.identity(self.instance).workload, now)
        except IntegrityError:
            known_before = True
        if known_before:
            raise ExternalCaError(ExternalCaFault.WRONG_CERTIFICATE)
        return Recorded(leaf, material.pem, now + (leaf.not_valid_after_utc - now) / 2)


def read_roots(file: Path) -> tuple[x509.Certificate, ...]:
    """The self-signed CAs of a PEM file. Raises `SettingsError`."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_ROOTS + 1)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; let the broker's uid read it") from error
    found: list[x509.Certificate] = []
    if len(content) <= MAX_ROOTS and b"PRIVATE KEY" not in content:
        try:
            found = x509.load_pem_x509_certificates(content)
            if not all(map(is_root, found)):
                found = []
        except (ValueError, TypeError, UnsupportedAlgorithm):
            found = []
    if not found:
        raise SettingsError(
            f"{file}: not a list of self-signed CA certificates, {MAX_ROOTS} octets at most; "
            "write the roots of the external CA there, PEM, and nothing else"
        )
    return tuple(found)
