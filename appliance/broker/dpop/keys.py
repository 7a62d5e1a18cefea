"""Keys and signatures of proofs: RFC 7517 and 7518, RFC 8037, RFC 9864, and the thumbprint of RFC 7638.

Taken are the algorithms of FAPI 2.0 (section 5.4) and ES384; every one is asymmetric and in IANA's registry.
No MAC, no "none" (RFC 9449 section 11.6), no PKCS #1 v1.5. A key has one spelling, and so one thumbprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

from appliance.broker.denied import invalid_proof
from appliance.broker.dpop.compact import decode_base64url, encode_base64url

ALGORITHMS = frozenset({"ES256", "ES384", "EdDSA", "Ed25519", "PS256"})

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Of RFC 7518 sections 6.2.2, 6.3.2 and 6.4, and RFC 8037 section 2."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096

_EXPONENT = "AQAB"
_CURVES: dict[str, tuple[ec.EllipticCurve, int]] = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
}
_EC: dict[str, tuple[type[ec.EllipticCurve], HashAlgorithm, int]] = {
    "ES256": (ec.SECP256R1, SHA256(), 32),
    "ES384": (ec.SECP384R1, SHA384(), 48),
}

Public = ec.EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey


@dataclass(frozen=True, slots=True)
class ProofKey:
    """A public key from a proof's header. `thumbprint` is the `jkt` of RFC 9449 section 6.1."""

    public: Public
    thumbprint: str


def read_key(members: Mapping[str, Any]) -> ProofKey:
    """The public key of a JWK; members that are not needed for it are ignored. Raises `Denied`."""
    kind = members.get("kty")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise invalid_proof("jwk_invalid", "jwk is no key of a type that is taken")
    read, required = _KINDS[kind]
    try:
        public = read(members)
    except (ValueError, UnsupportedAlgorithm):
        raise invalid_proof("jwk_invalid", f"jwk is no public key of type {kind} that is taken") from None
    # RFC 7638 section 3: the required members in lexicographic order, without white space.
    text = json.dumps({name: members[name] for name in required}, separators=(",", ":"))
    return ProofKey(public, encode_base64url(hashlib.sha256(text.encode("ascii")).digest()))


def verify_signature(algorithm: str, key: Public, signed: bytes, signature: bytes) -> None:
    """Raises `Denied` for a signature that is not of this key, and for a key of another algorithm."""
    try:
        match algorithm, key:
            case "ES256" | "ES384", ec.EllipticCurvePublicKey() if isinstance(key.curve, _EC[algorithm][0]):
                _, digest, size = _EC[algorithm]
                key.verify(_der(signature, size), signed, ec.ECDSA(digest))
            case "EdDSA" | "Ed25519", Ed25519PublicKey():
                key.verify(signature, signed)
            case "PS256", RSAPublicKey():
                # RFC 7518 section 3.5: the salt is as long as the hash.
                key.verify(signature, signed, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
            case _:
                raise invalid_proof("alg_mismatch", "jwk is no key of the algorithm in alg")
    except InvalidSignature:
        raise invalid_proof("signature_invalid", "the signature is not of the key in jwk") from None


def _der(signature: bytes, size: int) -> bytes:
    """An ECDSA signature as OpenSSL takes it, from two numbers of `size` octets (RFC 7518 section 3.4)."""
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
    return encode_dss_signature(r, s)


def _elliptic(members: Mapping[str, Any]) -> Public:
    curve, size = _CURVES[_text(members, "crv", tuple(_CURVES))]
    x, y = (_number(members, name, size) for name in ("x", "y"))
    numbers = ec.EllipticCurvePublicNumbers(x, y, curve)
    public = numbers.public_key()
    if public.public_numbers() != numbers:  # OpenSSL takes x + p for x, where that has as many octets
        raise ValueError("not the one spelling of this point")
    return public


def _edwards(members: Mapping[str, Any]) -> Public:
    _text(members, "crv", ("Ed25519",))
    return Ed25519PublicKey.from_public_bytes(decode_base64url(_text(members, "x")))


def _rsa(members: Mapping[str, Any]) -> Public:
    _text(members, "e", (_EXPONENT,))
    octets = decode_base64url(_text(members, "n"))
    modulus = int.from_bytes(octets, "big")
    # RFC 7518 section 6.3.1.1: no octet more than needed.
    if not octets or octets[0] == 0 or not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise ValueError("modulus")
    return RSAPublicNumbers(65537, modulus).public_key()


def _number(members: Mapping[str, Any], name: str, size: int) -> int:
    """A coordinate (RFC 7518 section 6.2.1.2): as many octets as the field has."""
    octets = decode_base64url(_text(members, name))
    if len(octets) != size:
        raise ValueError(name)
    return int.from_bytes(octets, "big")


def _text(members: Mapping[str, Any], name: str, allowed: tuple[str, ...] = ()) -> str:
    value = members.get(name)
    if not isinstance(value, str) or (allowed and value not in allowed):
        raise ValueError(name)
    return value


_KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], Public], tuple[str, ...]]] = {
    "EC": (_elliptic, ("crv", "kty", "x", "y")),
    "OKP": (_edwards, ("crv", "kty", "x")),
    "RSA": (_rsa, ("e", "kty", "n")),
}
"""By `kty`: how it is read, and the members of its thumbprint."""
