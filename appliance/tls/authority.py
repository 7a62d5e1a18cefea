"""Builds the appliance's certificates: root, intermediate, leaf. No I/O, no clock, no stored state.

The profile is RFC 5280's, so that OpenSSL's X509_V_FLAG_X509_STRICT (Python 3.13's default) accepts every
chain: key identifiers everywhere, critical basic constraints and key usage, a positive random serial number.

    root          10 years   CA, path length 1   made once, by the broker
    intermediate  24 hours   CA, path length 0   one for each gateway worker, key only in its memory;
                                                 one for Squid, key in a file that its uid alone reads
    leaf          ≤ 24 hours serverAuth          one DNS name
    workload CA   48 hours   CA, path length 0   clientAuth, URIs of this instance alone, key with the broker
    workload leaf ≤ 24 hours clientAuth          one SPIFFE URI
"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.names import HostName

ROOT_LIFE = timedelta(days=3653)
INTERMEDIATE_LIFE = timedelta(hours=24)
LEAF_LIFE = timedelta(hours=24)
WORKLOAD_AUTHORITY_LIFE = timedelta(hours=48)
MAX_WORKLOAD_LIFE = timedelta(hours=24)
BACKDATED = timedelta(hours=1)
"""How far a container's clock may be behind ours."""

MAX_COMMON_NAME = 64
"""ub-common-name, RFC 5280 appendix A.1; a longer host name stands in the subjectAltName alone."""


SubjectKey = EllipticCurvePublicKey | Ed25519PublicKey


class InvalidSigningRequest(ValueError):
    """A certificate signing request that no intermediate is made from; `str()` is one sentence."""


def new_key() -> EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return generate_private_key(SECP256R1())


def signing_request(key: EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Proof that the asker holds `key`; says nothing else, since the broker decides all the rest."""
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())


def issue_root(key: EllipticCurvePrivateKey, instance: str, now: datetime) -> x509.Certificate:
    """The self-signed trust anchor of an appliance instance. `now` is aware, in UTC."""
    name = _name(f"Egress appliance {instance} root CA")
    builder = _builder(name, name, key.public_key(), key.public_key(), (now, now + ROOT_LIFE))
    return _as_authority(builder, path_length=1).sign(key, hashes.SHA256())


def issue_intermediate(
    root: x509.Certificate,
    root_key: EllipticCurvePrivateKey,
    request: x509.CertificateSigningRequest,
    instance: str,
    now: datetime,
) -> x509.Certificate:
    """A CA that can sign server leaves for DNS names, and nothing else, until 24 hours from `now`.

    Of the request only its key is used. Raises `InvalidSigningRequest`.
    """
    key = request.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise InvalidSigningRequest("the key of the request is not a P-256 key")
    if not request.is_signature_valid:
        raise InvalidSigningRequest("the request is not signed by its own key")
    if key == root_key.public_key():
        raise InvalidSigningRequest("the request is for the root's own key")
    end = min(now + INTERMEDIATE_LIFE, root.not_valid_after_utc)
    # No two share a name: some verifiers look issuers up by name alone.
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
    name = _name(f"Egress appliance {instance} gateway {now:%Y%m%dT%H%M%SZ}-{digest[:6]}")
    builder = _builder(name, root.subject, key, root_key.public_key(), (now, end))
    builder = builder.add_extension(_SERVER_ONLY, critical=False)
    # RFC 5280 §4.2.1.10: an intermediate that is stolen can speak for no address.
    builder = builder.add_extension(_NO_ADDRESSES, critical=True)
    return _as_authority(builder, path_length=0).sign(root_key, hashes.SHA256())


def issue_leaf(
    issuer: x509.Certificate,
    issuer_key: EllipticCurvePrivateKey,
    key: EllipticCurvePublicKey,
    name: HostName,
    now: datetime,
) -> x509.Certificate:
    """A server certificate for exactly `name`, which never outlives its issuer."""
    text = name.text
    subject = _name(text) if len(text) <= MAX_COMMON_NAME else x509.Name([])
    end = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    return (
        _builder(subject, issuer.subject, key, issuer_key.public_key(), (now, end))
        # RFC 5280 §4.2.1.6: critical when, and only when, the subject is empty.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(text)]), critical=not list(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_data=True), critical=True)
        .add_extension(_SERVER_ONLY, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def issue_workload_authority(
    root: x509.Certificate,
    root_key: EllipticCurvePrivateKey,
    key: EllipticCurvePublicKey,
    instance: str,
    now: datetime,
) -> x509.Certificate:
    """A CA that can sign clients whose URI is of the host `instance`, and nothing else, for 48 hours."""
    end = min(now + WORKLOAD_AUTHORITY_LIFE, root.not_valid_after_utc)
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
    name = _name(f"Egress appliance {instance} clients {now:%Y%m%dT%H%M%SZ}-{digest[:6]}")
    builder = _builder(name, root.subject, key, root_key.public_key(), (now, end))
    builder = builder.add_extension(_CLIENT_ONLY, critical=False)
    # RFC 5280 §4.2.1.10: of a URI the host is constrained; a type of name without an entry is free.
    only_ours = x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(instance)],
        excluded_subtrees=[x509.DNSName(""), *_EVERY_ADDRESS],
    )
    builder = builder.add_extension(only_ours, critical=True)
    return _as_authority(builder, path_length=0).sign(root_key, hashes.SHA256())


def issue_workload_leaf(
    issuer: x509.Certificate,
    issuer_key: EllipticCurvePrivateKey,
    key: SubjectKey,
    uri: str,
    life: tuple[datetime, datetime],
) -> x509.Certificate:
    """A client certificate for exactly the SPIFFE ID `uri`; `life` is cut to a day, and to its issuer's end.

    The profile is the X.509-SVID's: an empty subject, so the subjectAltName is critical (RFC 5280 §4.2.1.6).
    """
    now, end = life
    end = min(end, now + MAX_WORKLOAD_LIFE, issuer.not_valid_after_utc)
    return (
        _builder(x509.Name([]), issuer.subject, key, issuer_key.public_key(), (now, end))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_data=True), critical=True)
        .add_extension(_CLIENT_ONLY, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: SubjectKey,
    issuer_key: EllipticCurvePublicKey,
    life: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0] - BACKDATED)
        .not_valid_after(life[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_usage(signs_certificates=True), critical=True)


def _usage(*, signs_data: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


_SERVER_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_CLIENT_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_EVERY_ADDRESS = [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))]
_NO_ADDRESSES = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=_EVERY_ADDRESS)
