"""What an external CA signed counts once it is recorded; its roots are read strictly, or nothing starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Engine
from twisted.internet.task import Clock

from appliance.broker.identity.external_ca import ExternalCa, ExternalCaError, ExternalCaFault, TrustMaterial
from appliance.broker.identity.external_enrolment import MAX_ROOTS, ExternalEnrolment, Recorded, read_roots
from appliance.broker.identity.verification import CertificateFault, Trust, WorkloadGate, WorkloadIdentity
from appliance.broker.identity.workloads import Attestation, EnrolmentRefused, Workloads
from appliance.settings import SettingsError

from .answers import Pieces, outcome
from .peers import INSTANCE, NOW, Forge, csr, make_root
from .test_external_ca import payload

FORGE = Forge()
WHO = Attestation("e1", "acme", "c0ffee")


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def enrolment(database: Engine) -> ExternalEnrolment:
    async def post(_url: str, _body: bytes) -> Pieces:
        return Pieces(payload(FORGE.chain()))

    ca = ExternalCa("https://ca.example/", FORGE.trust, post, Clock(), lambda: NOW)
    return ExternalEnrolment(ca, Workloads(database), INSTANCE, lambda: NOW)


def test_000_33_what_the_ca_signed_counts_once_it_is_recorded(database: Engine) -> None:
    external = enrolment(database)
    gate = WorkloadGate(
        Trust(INSTANCE, (make_root().certificate, FORGE.root.certificate)), external.workloads
    )
    material = outcome(external.ask(csr(FORGE.leaf_key), WHO))
    assert isinstance(material, TrustMaterial)
    chain = [material.certificate, *material.chain]
    assert gate.admit(chain, NOW).fault is CertificateFault.UNKNOWN  # type: ignore[union-attr]  # refused
    recorded = external.record(material, WHO)
    assert isinstance(recorded, Recorded)
    assert recorded.renew_after == NOW + timedelta(minutes=30)
    assert x509.load_pem_x509_certificates(recorded.pem.encode()) == chain
    assert isinstance(gate.admit(chain, NOW), WorkloadIdentity)


def test_a_certificate_that_the_ca_gave_before_is_none(database: Engine) -> None:
    external = enrolment(database)
    material = outcome(external.ask(csr(FORGE.leaf_key), WHO))
    external.record(material, WHO)
    with pytest.raises(ExternalCaError) as caught:
        external.record(material, WHO)
    assert caught.value.code is ExternalCaFault.WRONG_CERTIFICATE
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_000_33_a_disabled_workload_and_one_without_a_name_get_none(database: Engine) -> None:
    external = enrolment(database)
    material = outcome(external.ask(csr(FORGE.leaf_key), WHO))
    external.workloads.disable("acme", "c0ffee", NOW)
    with pytest.raises(EnrolmentRefused, match="workload_disabled"):
        external.record(material, WHO)
    nameless = outcome(external.ask(csr(FORGE.leaf_key), Attestation("e1", "acme", "..")))
    assert isinstance(nameless, EnrolmentRefused)
    assert nameless.code == "attestation_invalid"


def test_roots_are_self_signed_cas_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_bytes(pem(FORGE.root.certificate, make_root().certificate))
    assert read_roots(file)[0].subject == FORGE.root.certificate.subject


@pytest.mark.parametrize(
    "content",
    [
        b"", b"nonsense", pem(FORGE.authority), pem(FORGE.leaf("spiffe://lab/gateway/w0")),
        pem(FORGE.root.certificate, FORGE.authority), pem(FORGE.root.certificate) + b" " * MAX_ROOTS,
        pem(FORGE.root.certificate)
        + FORGE.root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "no-pem", "between", "leaf", "one-of-two", "too-long", "private-key"],
)  # fmt: skip
def test_a_file_of_something_else_is_an_error_at_the_start(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "roots.pem"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="write the roots of the external CA there"):
        read_roots(file)


def test_a_file_that_cannot_be_read_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="let the broker's uid read it"):
        read_roots(tmp_path / "absent.pem")
