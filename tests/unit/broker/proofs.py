"""Proofs as a client makes them, and as an attacker would."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Private = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey

NOW = 1_800_000_000
TOKEN = "session-token-of-a-workload"
METHOD = "POST"
URI = "https://broker.example/execute"
ABSENT = object()


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value: int, size: int) -> str:
    return b64(value.to_bytes(size, "big"))


def public_jwk(key: Private) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size]
        return {"kty": "EC", "crv": curve, "x": number(numbers.x, size), "y": number(numbers.y, size)}
    if isinstance(key, Ed25519PrivateKey):
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
        }
    return {"kty": "RSA", "e": "AQAB", "n": number(key.public_key().public_numbers().n, key.key_size // 8)}


def private_member(key: Private) -> dict[str, str]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"d": number(key.private_numbers().private_value, (key.key_size + 7) // 8)}
    if isinstance(key, Ed25519PrivateKey):
        return {"d": b64(key.private_bytes_raw())}
    return {"d": number(key.private_numbers().d, key.key_size // 8)}


def jkt(key: Private) -> str:
    return b64(
        hashlib.sha256(json.dumps(public_jwk(key), sort_keys=True, separators=(",", ":")).encode()).digest()
    )


def sign(algorithm: str, key: Private, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest, size = (SHA384(), 48) if algorithm == "ES384" else (SHA256(), (key.key_size + 7) // 8)
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    if algorithm == "RS256":
        return key.sign(data, padding.PKCS1v15(), SHA256())
    return key.sign(data, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())


def serialised(header: str, claims: str, key: Private, algorithm: str) -> str:
    """From JSON texts, so that a member can come twice."""
    signed = f"{b64(header.encode('utf-8', 'surrogatepass'))}.{b64(claims.encode('utf-8', 'surrogatepass'))}"
    return f"{signed}.{b64(sign(algorithm, key, signed.encode()))}"


def algorithm_of(key: Private) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[key.key_size]
    return "EdDSA" if isinstance(key, Ed25519PrivateKey) else "PS256"


def parts(
    key: Private, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a good proof, with members changed, added, or taken away (`ABSENT`)."""
    good_header = {"typ": "dpop+jwt", "alg": algorithm_of(key), "jwk": public_jwk(key)}
    good_claims = {
        "jti": "0123456789abcdef",
        "htm": METHOD,
        "htu": URI,
        "iat": NOW,
        "ath": b64(hashlib.sha256(TOKEN.encode()).digest()),
    }
    return tuple(
        {name: value for name, value in (good | (changes or {})).items() if value is not ABSENT}
        for good, changes in ((good_header, header), (good_claims, claims))
    )


def proof(
    key: Private,
    *,
    header: dict[str, Any] | None = None,
    signed_as: str | None = None,
    **claims: Any,
) -> str:
    """A proof for `TOKEN`, good unless something is changed."""
    whole_header, whole_claims = parts(key, header, claims)
    algorithm = signed_as or algorithm_of(key)
    return serialised(json.dumps(whole_header), json.dumps(whole_claims), key, algorithm)


EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
P384_KEY = ec.generate_private_key(ec.SECP384R1())
ED_KEY = Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(65537, 2048)
