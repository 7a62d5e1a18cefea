"""appliance.tls.authority: what the workload CA can sign, as OpenSSL's own verifier sees it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.tls import authority
from appliance.tls.authority import WORKLOAD_AUTHORITY_LIFE, SubjectKey

from .chains import NOW, pem

URI = "spiffe://lab/tenant/acme/workload/c0ffee"


class World:
    def __init__(self) -> None:
        self.root_key, self.key = authority.new_key(), authority.new_key()
        self.root = authority.issue_root(self.root_key, "lab", NOW)
        self.issuer = authority.issue_workload_authority(
            self.root, self.root_key, self.key.public_key(), "lab", NOW
        )

    def leaf(self, key: SubjectKey, uri: str = URI, life: timedelta = timedelta(hours=1)) -> x509.Certificate:
        return authority.issue_workload_leaf(self.issuer, self.key, key, uri, (NOW, NOW + life))

    def forged(self, key: EllipticCurvePrivateKey, name: x509.GeneralName) -> x509.Certificate:
        genuine = self.leaf(key.public_key())
        builder = x509.CertificateBuilder(
            genuine.issuer, genuine.subject, genuine.public_key(), 7,
            genuine.not_valid_before_utc, genuine.not_valid_after_utc,
        )  # fmt: skip
        return builder.add_extension(x509.SubjectAlternativeName([name]), critical=True).sign(
            self.key, hashes.SHA256()
        )


WORLD = World()


def verified(tmp_path: Path, leaf: x509.Certificate, purpose: str = "sslclient") -> str:
    """Empty, or what OpenSSL says against it."""
    for file, certificate in (("leaf", leaf), ("between", WORLD.issuer), ("root", WORLD.root)):
        (tmp_path / file).write_text(pem(certificate))
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "between", tmp_path / "leaf"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize(
    "key",
    [authority.new_key().public_key(), Ed25519PrivateKey.generate().public_key()],
    ids=["p256", "ed25519"],
)
def test_openssl_accepts_the_chain_strictly_for_a_client(tmp_path: Path, key: SubjectKey) -> None:
    assert verified(tmp_path, WORLD.leaf(key)) == ""


def test_000_08_a_workloads_certificate_is_for_no_server(tmp_path: Path) -> None:
    leaf = WORLD.leaf(authority.new_key().public_key())
    assert "unsuitable certificate purpose" in verified(tmp_path, leaf, "sslserver")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            x509.UniformResourceIdentifier("spiffe://other/tenant/acme/workload/x"),
            "permitted subtree violation",
        ),
        (
            x509.UniformResourceIdentifier("spiffe://evil.lab/tenant/acme/workload/x"),
            "permitted subtree violation",
        ),
        (x509.DNSName("broker.egress.internal"), "excluded subtree violation"),
    ],
)
def test_000_08_a_stolen_workload_ca_speaks_for_nobody_else(
    tmp_path: Path, name: x509.GeneralName, fault: str
) -> None:
    assert fault in verified(tmp_path, WORLD.forged(authority.new_key(), name))


def test_the_workload_ca_has_the_profile() -> None:
    basic = WORLD.issuer.extensions.get_extension_for_class(x509.BasicConstraints)
    constraints = WORLD.issuer.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.UniformResourceIdentifier("lab")]
    assert WORLD.issuer.not_valid_after_utc == NOW + WORKLOAD_AUTHORITY_LIFE


def test_the_longest_instance_name_still_fits_a_common_name() -> None:
    key = authority.new_key()
    root = authority.issue_root(key, "i" * 15, NOW)
    made = authority.issue_workload_authority(root, key, authority.new_key().public_key(), "i" * 15, NOW)
    assert made.subject != root.subject


@pytest.mark.parametrize(("life", "hours"), [(1, 1), (24, 24), (25, 24), (1000, 24)])
def test_000_33_a_workloads_certificate_never_outlives_a_day(life: int, hours: int) -> None:
    made = WORLD.leaf(authority.new_key().public_key(), life=timedelta(hours=life))
    assert made.not_valid_after_utc == NOW + timedelta(hours=hours)


def test_neither_outlives_its_issuer() -> None:
    late = WORLD.root.not_valid_after_utc - timedelta(hours=3)
    key = authority.new_key()
    issuer = authority.issue_workload_authority(WORLD.root, WORLD.root_key, key.public_key(), "lab", late)
    assert issuer.not_valid_after_utc == WORLD.root.not_valid_after_utc
    life = (late, late + timedelta(hours=24))
    leaf = authority.issue_workload_leaf(issuer, key, key.public_key(), URI, life)
    assert leaf.not_valid_after_utc == issuer.not_valid_after_utc
