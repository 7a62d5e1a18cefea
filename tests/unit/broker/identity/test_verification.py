"""appliance.broker.identity.verification: each way not to be a workload has its own stable code."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import Engine

from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import thumbprint
from appliance.broker.identity.verification import (
    SENTENCES,
    CertificateFault,
    CertificateRefusal,
    Presented,
    Trust,
    WorkloadGate,
    WorkloadIdentity,
    judge,
)
from appliance.broker.identity.workloads import Attestation, Workloads, serial_text
from appliance.tls.authority import (
    issue_intermediate,
    issue_leaf,
    issue_workload_authority,
    issue_workload_leaf,
    new_key,
    signing_request,
)

from .peers import BROKER, INSTANCE, NOW, URI, Forge

FORGE = Forge()
STRANGER = Forge()
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def judged(chain: list[x509.Certificate], trust: Trust = FORGE.trust) -> CertificateFault | Presented:
    answer = judge(chain, trust, NOW)
    if isinstance(answer, CertificateRefusal):
        assert answer.detail == SENTENCES[answer.fault]
        return answer.fault
    return answer


def test_000_08_a_good_certificate_is_the_workload() -> None:
    chain = FORGE.chain()
    leaf = chain[0]
    assert judged(chain) == Presented(
        WorkloadId("lab", "acme", "c0ffee"), serial_text(leaf), thumbprint(leaf), leaf.not_valid_after_utc
    )
    assert isinstance(judged([*chain, FORGE.root.certificate]), Presented)


def test_000_08_000_06_no_certificate() -> None:
    assert judged([]) is CertificateFault.MISSING


ADDRESS = x509.IPAddress(ip_address("203.0.113.9"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"start": timedelta(hours=-2), "end": timedelta(0)}, "workload_certificate_expired"),
        ({"start": timedelta(seconds=1)}, "workload_certificate_not_yet_valid"),
        ({"usages": []}, "workload_certificate_usage"),
        ({"usages": [SERVER]}, "workload_certificate_usage"),
        ({"usages": [CLIENT, SERVER]}, "workload_certificate_usage"),
        ({"usages": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]}, "workload_certificate_usage"),
        ({"ca": True}, "workload_certificate_usage"),
        ({"ca": None}, "workload_certificate_usage"),
        ({"key_usage": False}, "workload_certificate_usage"),
        ({"signs": True}, "workload_certificate_usage"),
        ({"extra": [x509.OCSPNoCheck()]}, "workload_certificate_usage"),
        ({"names": [x509.UniformResourceIdentifier("spiffe://lab/tenant/acme/workload/two")]}, "workload_certificate_names"),
        ({"names": [x509.UniformResourceIdentifier(URI)]}, "workload_certificate_names"),
        ({"names": [x509.DNSName("x.example")]}, "workload_certificate_names"),
        ({"names": [ADDRESS]}, "workload_certificate_names"),
    ],
    ids=["expired", "future", "no-eku", "server", "client-and-server", "any", "ca", "no-basic", "no-usage", "signs",
         "critical-unknown", "two-uris", "same-uri-twice", "dns-too", "address-too"],
)  # fmt: skip
def test_000_08_each_fault_has_its_code(changes: dict[str, Any], fault: str) -> None:
    assert judged(FORGE.chain(URI, **changes)) == fault


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("spiffe://other/tenant/acme/workload/c0ffee", "workload_trust_domain"),
        ("spiffe://lab.evil/tenant/acme/workload/c0ffee", "workload_trust_domain"),
        ("https://lab/tenant/acme/workload/c0ffee", "workload_certificate_names"),
        ("spiffe://lab/tenant/acme", "workload_certificate_names"),
        ("spiffe://lab/tenant/acme/workload/a/b", "workload_certificate_names"),
    ],
)
def test_000_08_a_foreign_name_is_refused(uri: str, fault: str) -> None:
    assert judged(FORGE.chain(uri)) == fault


def test_000_08_no_name_at_all_is_refused() -> None:
    assert judged([FORGE.leaf(), FORGE.authority]) is CertificateFault.NAMES
    dns_alone = FORGE.leaf(names=[x509.DNSName("lab")])
    assert judged([dns_alone, FORGE.authority]) is CertificateFault.NAMES


def test_000_08_another_ca_is_not_trusted_whatever_it_is_called() -> None:
    assert judged(STRANGER.chain()) is CertificateFault.UNTRUSTED
    # The names match, the signature does not: the stranger's leaf behind our own CA.
    assert judged([STRANGER.leaf(URI), FORGE.authority]) is CertificateFault.UNTRUSTED
    assert judged([*STRANGER.chain(), FORGE.root.certificate]) is CertificateFault.UNTRUSTED
    # A root that the peer brings along is no root of ours.
    assert judged([*STRANGER.chain(), STRANGER.root.certificate]) is CertificateFault.UNTRUSTED


def test_000_08_a_chain_that_stops_short_is_not_trusted() -> None:
    assert judged([FORGE.leaf(URI)]) is CertificateFault.UNTRUSTED
    assert judged([FORGE.leaf(URI), *STRANGER.chain()]) is CertificateFault.UNTRUSTED


def test_000_08_no_roots_trust_nobody() -> None:
    assert judged(FORGE.chain(), Trust(INSTANCE, ())) is CertificateFault.UNTRUSTED


def test_000_08_the_ca_itself_is_no_workload() -> None:
    assert judged([FORGE.authority]) is CertificateFault.USAGE
    assert judged([FORGE.root.certificate]) is CertificateFault.USAGE


def test_000_08_a_workload_cannot_sign_for_another() -> None:
    mine = FORGE.leaf(URI)
    forged = (
        x509.CertificateBuilder(mine.subject, mine.subject, new_key().public_key(), 7)
        .not_valid_before(mine.not_valid_before_utc)
        .not_valid_after(mine.not_valid_after_utc)
    )
    for extension in mine.extensions:
        forged = forged.add_extension(extension.value, extension.critical)
    chain = [forged.sign(FORGE.leaf_key, hashes.SHA256()), mine, FORGE.authority]
    assert judged(chain) is CertificateFault.UNTRUSTED


def test_000_08_a_stolen_workload_ca_cannot_make_another() -> None:
    key = new_key()
    second = issue_workload_authority(FORGE.authority, FORGE.key, key.public_key(), INSTANCE, NOW)
    leaf = issue_workload_leaf(second, key, new_key().public_key(), URI, (NOW, NOW + timedelta(hours=1)))
    assert judged([leaf, second, FORGE.authority]) is CertificateFault.UNTRUSTED


def test_000_08_the_gateways_intermediate_cannot_make_a_client() -> None:
    """Its key is in the process that reads what containers send."""
    key = new_key()
    gateway = issue_intermediate(FORGE.root.certificate, FORGE.root.key, signing_request(key), INSTANCE, NOW)
    genuine = FORGE.leaf(URI)
    forged = (
        x509.CertificateBuilder(gateway.subject, genuine.subject, genuine.public_key(), 7)
        .not_valid_before(genuine.not_valid_before_utc)
        .not_valid_after(genuine.not_valid_after_utc)
    )
    for extension in genuine.extensions:
        forged = forged.add_extension(extension.value, extension.critical)
    assert judged([forged.sign(key, hashes.SHA256()), gateway]) is CertificateFault.USAGE
    server = issue_leaf(gateway, key, new_key().public_key(), BROKER, NOW)
    assert judged([server, gateway]) is CertificateFault.USAGE


def test_000_08_an_expired_ca_ends_what_it_has_signed() -> None:
    answer = judge(FORGE.chain(end=timedelta(days=60)), FORGE.trust, NOW + timedelta(hours=48))
    assert isinstance(answer, CertificateRefusal)
    assert answer.fault is CertificateFault.EXPIRED


def test_000_08_a_name_that_cannot_be_read_is_malformed() -> None:
    bad = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03garbled")
    leaf = FORGE.leaf(names=[], extra=[bad])
    assert judged([leaf, FORGE.authority]) is CertificateFault.MALFORMED


@pytest.fixture
def gate(database: Engine) -> WorkloadGate:
    return WorkloadGate(FORGE.trust, Workloads(database))


def test_000_08_what_nobody_recorded_is_unknown_however_well_signed(gate: WorkloadGate) -> None:
    answer = gate.admit(FORGE.chain(), NOW)
    assert isinstance(answer, CertificateRefusal)
    assert answer.fault is CertificateFault.UNKNOWN


def test_000_08_another_kind_of_identity_is_no_workload_though_it_is_recorded(
    gate: WorkloadGate, database: Engine
) -> None:
    chain = FORGE.chain("spiffe://lab/gateway/w0")
    Workloads(database).record(Attestation("e1", "acme", "w0"), chain[0], "w0", NOW)
    answer = gate.admit(chain, NOW)
    assert isinstance(answer, CertificateRefusal)
    assert answer.fault is CertificateFault.KIND


def test_000_08_a_record_of_another_workload_does_not_count(gate: WorkloadGate, database: Engine) -> None:
    chain = FORGE.chain()
    Workloads(database).record(Attestation("e1", "acme", "other"), chain[0], "other", NOW)
    answer = gate.admit(chain, NOW)
    assert isinstance(answer, CertificateRefusal)
    assert answer.fault is CertificateFault.UNKNOWN


def test_000_08_a_peer_that_was_let_in_is_asked_again(gate: WorkloadGate, database: Engine) -> None:
    chain = FORGE.chain()
    workloads = Workloads(database)
    workloads.record(Attestation("e1", "acme", "c0ffee"), chain[0], "c0ffee", NOW)
    who = gate.admit(chain, NOW)
    assert isinstance(who, WorkloadIdentity)
    assert (who.endpoint, who.serial) == ("e1", serial_text(chain[0]))
    workloads.revoke(who.serial, NOW)
    answer = gate.admit(chain, NOW)
    assert isinstance(answer, CertificateRefusal)
    assert answer.fault is CertificateFault.REVOKED


def test_every_fault_has_a_sentence() -> None:
    assert set(SENTENCES) == set(CertificateFault)
