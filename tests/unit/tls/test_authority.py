"""appliance.tls.authority: chains that strict verifiers accept, and what an intermediate cannot do (D12)."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.names import HostName
from appliance.tls import authority
from appliance.tls.authority import InvalidSigningRequest

from .chains import NOW, make_intermediate, pem

LONG = HostName.parse("a" * 60 + "." + "b" * 20 + ".example")
SHORT = HostName.parse("ok.example")


def leaf(
    name: HostName, when: timedelta = timedelta(0)
) -> tuple[x509.Certificate, x509.Certificate, x509.Certificate]:
    made = make_intermediate()
    key = authority.new_key().public_key()
    return (
        authority.issue_leaf(made.certificate, made.key, key, name, NOW + when),
        made.certificate,
        made.root,
    )


def openssl_verify(
    tmp_path: Path, chain: tuple[x509.Certificate, ...], name: str
) -> subprocess.CompletedProcess[str]:
    for file, certificate in zip(("leaf", "intermediate", "root"), chain, strict=True):
        (tmp_path / file).write_text(pem(certificate))
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "intermediate", tmp_path / "leaf"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", [SHORT, LONG], ids=["short", "longer-than-a-common-name"])
def test_openssl_accepts_the_chain_strictly(tmp_path: Path, name: HostName) -> None:
    done = openssl_verify(tmp_path, leaf(name), name.text)
    assert done.returncode == 0, done.stderr


def test_openssl_refuses_the_chain_for_another_name(tmp_path: Path) -> None:
    done = openssl_verify(tmp_path, leaf(SHORT), "evil.example")
    assert "hostname mismatch" in done.stderr


def test_a_leaf_names_exactly_one_host_and_is_for_servers_only() -> None:
    certificate = leaf(SHORT)[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.DNSName("ok.example")]
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_long_name_stands_in_a_critical_alternative_name_and_nowhere_else() -> None:
    certificate = leaf(LONG)[0]
    assert list(certificate.subject) == []
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize(("after", "life"), [(timedelta(0), 24), (timedelta(hours=20), 4)])
def test_a_leaf_never_outlives_a_day_or_its_issuer(after: timedelta, life: int) -> None:
    certificate = leaf(SHORT, after)[0]
    assert certificate.not_valid_before_utc == NOW + after - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + after + timedelta(hours=life)


def test_the_longest_instance_name_still_fits_a_common_name() -> None:
    root_key = authority.new_key()
    root = authority.issue_root(root_key, "i" * 15, NOW)
    request = authority.signing_request(authority.new_key())
    authority.issue_intermediate(root, root_key, request, "i" * 15, NOW)


def test_serial_numbers_differ() -> None:
    assert len({leaf(SHORT)[0].serial_number for _ in range(20)}) == 20


def test_root_and_intermediate_have_the_profile() -> None:
    made = make_intermediate()
    for certificate, length in ((made.root, 1), (made.certificate, 0)):
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, length)
        assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
        assert not usage.value.digital_signature
    assert made.root.not_valid_after_utc - NOW > timedelta(days=3650)
    assert made.certificate.not_valid_after_utc - NOW == timedelta(hours=24)
    assert made.root.subject.rfc4514_string() == "CN=Egress appliance lab root CA"


def test_a_stolen_intermediate_cannot_make_another_authority(tmp_path: Path) -> None:
    made = make_intermediate()
    key = authority.new_key()
    second = authority.issue_intermediate(
        made.certificate, made.key, authority.signing_request(key), "lab", NOW
    )
    forged = authority.issue_leaf(second, key, key.public_key(), SHORT, NOW)
    (tmp_path / "both").write_text(pem(second) + pem(made.certificate))
    (tmp_path / "root").write_text(pem(made.root))
    (tmp_path / "leaf").write_text(pem(forged))
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "both", tmp_path / "leaf"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "path length constraint exceeded" in done.stderr


def test_a_stolen_intermediate_cannot_speak_for_an_address(tmp_path: Path) -> None:
    from ipaddress import ip_address

    made = make_intermediate()
    genuine = authority.issue_leaf(made.certificate, made.key, made.key.public_key(), SHORT, NOW)
    builder = x509.CertificateBuilder(
        genuine.issuer, genuine.subject, genuine.public_key(), genuine.serial_number,
        genuine.not_valid_before_utc, genuine.not_valid_after_utc,
    )  # fmt: skip
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("203.0.113.9"))])
    forged = builder.add_extension(address, critical=False).sign(made.key, hashes.SHA256())
    done = openssl_verify(tmp_path, (forged, made.certificate, made.root), "ok.example")
    assert "excluded subtree violation" in done.stderr


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "p384"],
)
def test_only_p256_keys_are_signed(key: object) -> None:
    root_key = authority.new_key()
    root = authority.issue_root(root_key, "lab", NOW)
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())  # type: ignore[arg-type]  # a key
    with pytest.raises(InvalidSigningRequest, match="P-256"):
        authority.issue_intermediate(root, root_key, request, "lab", NOW)


def test_a_request_must_be_signed_by_its_own_key() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    root_key = authority.new_key()
    root = authority.issue_root(root_key, "lab", NOW)
    der = bytearray(authority.signing_request(authority.new_key()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(InvalidSigningRequest, match="own key"):
        authority.issue_intermediate(root, root_key, x509.load_der_x509_csr(bytes(der)), "lab", NOW)


def test_the_roots_own_key_is_not_signed() -> None:
    root_key = authority.new_key()
    root = authority.issue_root(root_key, "lab", NOW)
    with pytest.raises(InvalidSigningRequest, match="root's own key"):
        authority.issue_intermediate(root, root_key, authority.signing_request(root_key), "lab", NOW)


def test_what_a_request_asks_for_beside_its_key_is_ignored() -> None:
    root_key, key = authority.new_key(), authority.new_key()
    root = authority.issue_root(root_key, "lab", NOW)
    request = (
        x509.CertificateSigningRequestBuilder(root.subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = authority.issue_intermediate(root, root_key, request, "lab", NOW)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert made.subject != root.subject


def test_an_intermediate_never_outlives_its_root() -> None:
    root_key = authority.new_key()
    root = authority.issue_root(root_key, "lab", NOW)
    late = root.not_valid_after_utc - timedelta(hours=3)
    made = authority.issue_intermediate(
        root, root_key, authority.signing_request(authority.new_key()), "lab", late
    )
    assert made.not_valid_after_utc == root.not_valid_after_utc
