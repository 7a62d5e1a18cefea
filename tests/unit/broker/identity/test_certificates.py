"""appliance.broker.identity.certificates: one name, one use, one key; and only what was asked for rightly."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from sqlalchemy import Engine, func, select

from appliance.broker.ca import RootAuthority
from appliance.broker.identity.certificates import (
    DEFAULT_LIFE,
    MAX_REQUEST,
    Issued,
    WorkloadCertificates,
    requested_key,
)
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.verification import (
    CertificateFault,
    CertificateRefusal,
    Trust,
    WorkloadGate,
    WorkloadIdentity,
)
from appliance.broker.identity.workloads import (
    Attestation,
    EnrolmentRefused,
    Workloads,
    serial_text,
    workload_certificates,
)
from appliance.tls.authority import new_key

from .peers import INSTANCE, NOW, csr, make_root

ROOT = make_root()
LINK = Attestation("e1", "acme", "c0ffee")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workloads(database: Engine) -> Workloads:
    return Workloads(database)


@pytest.fixture
def issuing(workloads: Workloads, clock: Clock) -> WorkloadCertificates:
    return WorkloadCertificates(ROOT, workloads, clock)


def admitted(
    workloads: Workloads, issued: Issued, now: datetime = NOW
) -> WorkloadIdentity | CertificateFault:
    gate = WorkloadGate(Trust(INSTANCE, (ROOT.certificate,)), workloads)
    answer = gate.admit([issued.certificate, issued.issuer], now)
    return answer.fault if isinstance(answer, CertificateRefusal) else answer


def refused(
    issuing: WorkloadCertificates, request: bytes, attested: Attestation = LINK, **more: timedelta
) -> str:
    with pytest.raises(EnrolmentRefused) as caught:
        issuing.issue(request, attested, **more)
    return caught.value.code


def value(
    certificate: x509.Certificate, kind: type[x509.ExtensionType]
) -> x509.Extension[x509.ExtensionType]:
    return certificate.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_000_33_enrolment_issues_a_certificate_with_one_uri_for_clients_only(
    issuing: WorkloadCertificates, workloads: Workloads, kind: str
) -> None:
    key = new_key() if kind == "p256" else ed25519.Ed25519PrivateKey.generate()
    algorithm = hashes.SHA256() if kind == "p256" else None
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, algorithm)
    issued = issuing.issue(request.public_bytes(Encoding.PEM), LINK)
    certificate = issued.certificate
    assert certificate.public_key() == key.public_key()
    names = value(certificate, x509.SubjectAlternativeName)
    uri = "spiffe://lab/tenant/acme/workload/c0ffee"
    assert (list(names.value), names.critical) == ([x509.UniformResourceIdentifier(uri)], True)
    assert list(value(certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not value(certificate, x509.BasicConstraints).value.ca
    usage = value(certificate, x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert certificate.not_valid_after_utc == NOW + DEFAULT_LIFE
    assert issued.renew_after == NOW + DEFAULT_LIFE / 2
    assert list(certificate.subject) == []
    who = admitted(workloads, issued)
    assert isinstance(who, WorkloadIdentity)
    assert (who.id, who.endpoint) == (WorkloadId("lab", "acme", "c0ffee"), "e1")


def test_000_33_nothing_of_the_request_is_copied_but_its_key(issuing: WorkloadCertificates) -> None:
    key = new_key()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "canary")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier("spiffe://lab/tenant/beta/workload/x"), x509.DNSName("canary.example")]
            ),
            critical=False,
        )
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"canary")
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    plain = issuing.issue(csr(key), LINK).certificate
    asked = issuing.issue(request.public_bytes(Encoding.PEM), LINK).certificate
    assert b"canary" not in asked.public_bytes(Encoding.DER)
    assert b"beta" not in asked.public_bytes(Encoding.DER)
    assert list(asked.extensions) == list(plain.extensions)


def test_without_a_container_the_endpoint_is_named(
    issuing: WorkloadCertificates, workloads: Workloads
) -> None:
    who = admitted(workloads, issuing.issue(csr(new_key()), Attestation("e5", "acme")))
    assert isinstance(who, WorkloadIdentity)
    assert who.id.workload == "e5"


def test_a_request_must_be_signed_by_its_own_key(issuing: WorkloadCertificates) -> None:
    key = new_key()
    der = bytearray(x509.load_pem_x509_csr(csr(key)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    broken = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    assert refused(issuing, broken) == "csr_invalid"
    assert requested_key(csr(key)) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_keys_of_other_kinds_are_refused(
    issuing: WorkloadCertificates, key: ec.EllipticCurvePrivateKey
) -> None:
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    assert refused(issuing, request.public_bytes(Encoding.PEM)) == "csr_invalid"


@pytest.mark.parametrize(
    "request_", [b"", b"nonsense", b"\xff" * 64, b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)  # fmt: skip
def test_what_is_no_request_is_refused(issuing: WorkloadCertificates, request_: bytes) -> None:
    assert refused(issuing, request_) == "csr_invalid"


def test_a_request_has_a_size(issuing: WorkloadCertificates) -> None:
    request = csr(new_key())
    padded = request + b"\n" * (MAX_REQUEST - len(request))
    issuing.issue(padded, LINK)
    assert refused(issuing, padded + b"\n") == "csr_invalid"


def test_the_roots_own_key_is_not_certified(issuing: WorkloadCertificates) -> None:
    assert refused(issuing, csr(ROOT.key)) == "csr_invalid"


@pytest.mark.parametrize(
    ("life", "good"),
    [(timedelta(0), False), (timedelta(seconds=59), False), (timedelta(minutes=1), True), (timedelta(hours=24), True),
     (timedelta(hours=24, seconds=1), False), (timedelta(hours=-1), False)],
)  # fmt: skip
def test_000_33_a_certificate_lives_for_a_day_at_most(
    issuing: WorkloadCertificates, life: timedelta, *, good: bool
) -> None:
    if good:
        assert issuing.issue(csr(new_key()), LINK, life).certificate.not_valid_after_utc == NOW + life
    else:
        assert refused(issuing, csr(new_key()), life=life) == "life_invalid"


def test_000_33_renewal_leaves_the_earlier_certificate_to_its_end(
    issuing: WorkloadCertificates, workloads: Workloads, clock: Clock
) -> None:
    first = issuing.issue(csr(new_key()), LINK)
    clock.now = first.renew_after
    second = issuing.issue(csr(new_key()), LINK)
    assert isinstance(admitted(workloads, first, clock.now), WorkloadIdentity)
    later = first.certificate.not_valid_after_utc
    assert admitted(workloads, first, later) is CertificateFault.EXPIRED
    assert isinstance(admitted(workloads, second, later), WorkloadIdentity)
    assert first.certificate.serial_number != second.certificate.serial_number


def test_000_33_a_disabled_workload_loses_access_at_once(
    issuing: WorkloadCertificates, workloads: Workloads
) -> None:
    issued = issuing.issue(csr(new_key()), LINK)
    workloads.disable("acme", "c0ffee", NOW)
    assert admitted(workloads, issued) is CertificateFault.DISABLED
    assert refused(issuing, csr(new_key())) == "workload_disabled"


def test_000_33_a_departed_container_loses_access_at_once(
    issuing: WorkloadCertificates, workloads: Workloads
) -> None:
    issued = issuing.issue(csr(new_key()), LINK)
    workloads.depart("e1", NOW)
    assert admitted(workloads, issued) is CertificateFault.DEPARTED
    assert refused(issuing, csr(new_key())) == "workload_departed"


def test_000_33_a_revoked_certificate_loses_access_at_once(
    issuing: WorkloadCertificates, workloads: Workloads
) -> None:
    issued = issuing.issue(csr(new_key()), LINK)
    workloads.revoke(serial_text(issued.certificate), NOW)
    assert admitted(workloads, issued) is CertificateFault.REVOKED
    assert isinstance(admitted(workloads, issuing.issue(csr(new_key()), LINK)), WorkloadIdentity)


def test_what_is_attested_must_be_a_name(issuing: WorkloadCertificates, database: Engine) -> None:
    for container in ("a/b", "..", "x" * 129, "c\n"):
        assert refused(issuing, csr(new_key()), Attestation("e1", "acme", container)) == "attestation_invalid"
    with database.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(workload_certificates)) == 0


def test_an_endpoint_of_another_tenant_is_refused(issuing: WorkloadCertificates) -> None:
    issuing.issue(csr(new_key()), LINK)
    assert refused(issuing, csr(new_key()), Attestation("e1", "beta", "c0ffee")) == "attestation_conflict"


def test_the_workload_ca_is_replaced_while_it_can_still_sign_for_a_day(
    issuing: WorkloadCertificates, workloads: Workloads, clock: Clock
) -> None:
    first = issuing.issue(csr(new_key()), LINK)
    clock.now = NOW + timedelta(hours=24)
    assert issuing.issuer == first.issuer
    day = issuing.issue(csr(new_key()), LINK, timedelta(hours=24))
    assert day.certificate.not_valid_after_utc == clock.now + timedelta(hours=24)
    clock.now += timedelta(seconds=1)
    second = issuing.issue(csr(new_key()), LINK)
    assert second.issuer != first.issuer
    # What the one before has signed stays good.
    assert isinstance(admitted(workloads, day, clock.now), WorkloadIdentity)
    assert isinstance(admitted(workloads, second, clock.now), WorkloadIdentity)


def test_a_certificate_of_before_a_restart_stays_good(
    issuing: WorkloadCertificates, workloads: Workloads, clock: Clock
) -> None:
    before = issuing.issue(csr(new_key()), LINK)
    again = WorkloadCertificates(ROOT, workloads, clock)
    assert again.issue(csr(new_key()), LINK).issuer != before.issuer
    assert isinstance(admitted(workloads, before), WorkloadIdentity)


def test_what_is_presented_is_the_certificate_and_its_issuer(issuing: WorkloadCertificates) -> None:
    issued = issuing.issue(csr(new_key()), LINK)
    assert x509.load_pem_x509_certificates(issued.pem.encode()) == [issued.certificate, issued.issuer]
    assert "PRIVATE" not in issued.pem


def test_a_foreign_broker_of_the_same_name_is_not_trusted(workloads: Workloads, clock: Clock) -> None:
    foreign: RootAuthority = make_root()
    issued = WorkloadCertificates(foreign, workloads, clock).issue(csr(new_key()), LINK)
    assert admitted(workloads, issued) is CertificateFault.UNTRUSTED
