"""The lab's certificate authority, one certificate a site, good or wrong in one named way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.lab import internet
from tests.lab.internet import Certificate, Site

DIRECTORY = internet.STATE / "tls"
AUTHORITY = DIRECTORY / "lab-ca.pem"


def _at(path: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"http://{internet.PKI_NAME}/{path}")


# Attack B16: whoever follows one of these asks for a name, and opens an address, that nobody may.
_AUTHORITY_INFORMATION = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, _at("ocsp")),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, _at("ca.cer")),
    ]
)
_REVOCATION_LISTS = x509.CRLDistributionPoints(
    [x509.DistributionPoint([_at("list.crl")], relative_name=None, reasons=None, crl_issuer=None)]
)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority whose key lives as long as this object."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _name("Egress lab authority")
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, site: Site) -> tuple[bytes, bytes]:
        """Certificate and key of `site`, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        self_signed = site.certificate is Certificate.SELF_SIGNED
        expired = site.certificate is Certificate.EXPIRED
        name = "elsewhere.example.net" if site.certificate is Certificate.WRONG_HOST else site.name
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name) if self_signed else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=20))
            .not_valid_after(self._now + timedelta(days=-1 if expired else 20))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (key if self_signed else self._key).public_key()
                ),
                critical=False,
            )
            .add_extension(_AUTHORITY_INFORMATION, critical=False)
            .add_extension(_REVOCATION_LISTS, critical=False)
            .sign(key if self_signed else self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate_path(site: Site) -> Path:
    """PEM certificate of `site`; its key lies beside it with suffix `.key`."""
    return DIRECTORY / f"{site.name}.pem"


def write_all() -> None:
    """A new authority and a certificate for every site of the lab."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    authority = Authority(datetime.now(UTC))
    AUTHORITY.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    for site in (*internet.SITES, *internet.ODD_SITES, *internet.PROVIDERS):
        certificate, key = authority.issue(site)
        certificate_path(site).write_bytes(certificate)
        key_path = certificate_path(site).with_suffix(".key")
        key_path.touch(mode=0o600)
        key_path.write_bytes(key)
