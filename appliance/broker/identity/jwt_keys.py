"""Keys that verify JWTs, each with the algorithms that it is good for: what a token says cannot change that.

An RSA key never verifies an HMAC, nor is an HMAC secret ever anything else (RFC 8725 §2.1, §3.1). `none` is
no algorithm here.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from appliance.broker.identity.strict_json import parse_object

MAX_KEYS = 64
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MIN_SECRET = 32
"""Octets of an HMAC secret: the output of the smallest hash (RFC 7518 §3.2)."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_HMAC = frozenset({"HS256", "HS384", "HS512"})
ASYMMETRIC = frozenset({*_RSA, *_EC.values(), "Ed25519"})
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the algorithms for which it may be used."""

    key: Key
    algorithms: frozenset[str]


def shared_secret(secret: bytes) -> VerificationKey:
    """For HMAC, with an issuer that shares `secret`. Raises `ValueError` when it is too short."""
    if len(secret) < MIN_SECRET:
        raise ValueError(f"a secret for HMAC has at least {MIN_SECRET} octets")
    return VerificationKey(OctKey.import_key(secret), _HMAC)


def public_key(pem: bytes) -> VerificationKey:
    """An issuer's PEM public key: RSA from 2048 bits, EC, Ed25519. Raises `ValueError`."""
    if b"PRIVATE KEY" in pem:
        raise ValueError("that is the issuer's private key; configure the public one")
    try:
        loaded = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not a PEM public key") from error
    key: Key
    if isinstance(loaded, RSAPublicKey):
        _check_size(loaded.key_size)
        key = RSAKey.import_key(loaded)
    elif isinstance(loaded, EllipticCurvePublicKey) and loaded.curve.name in _CURVES:
        key = ECKey.import_key(loaded)
    elif isinstance(loaded, Ed25519PublicKey):
        key = OKPKey.import_key(loaded)
    else:
        raise ValueError("not a key of a kind that is used here")
    return VerificationKey(key, _good_for(key))


def parse_key_set(document: bytes) -> dict[str, VerificationKey]:
    """The signature keys of a JWK set by their key id (RFC 7517 §5). Raises `ValueError`.

    A key of a kind that is not known, for encryption, without an id, or too weak is left out, as §5 wants it.
    A private or symmetric key that was published, and an id that stands twice, spoil the whole set.
    """
    keys = parse_object(document).get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"a JWK set is an object with at most {MAX_KEYS} keys")
    found: dict[str, VerificationKey] = {}
    for entry in keys:
        if not isinstance(entry, dict):
            raise ValueError("a key of the set is no object")  # noqa: TRY004 - one kind of error
        if not _PRIVATE.isdisjoint(entry):
            raise ValueError("the set holds a private or symmetric key")
        identity = entry.get("kid")
        if not isinstance(identity, str) or not identity:
            continue
        if identity in found:
            raise ValueError("a key id stands twice in the set")
        key = _signature_key(entry)
        if key is not None:
            found[identity] = key
    return found


def _signature_key(entry: Mapping[str, Any]) -> VerificationKey | None:
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kinds: dict[object, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = entry.get("kty")
    importer = kinds.get(kind) if isinstance(kind, str) else None
    if importer is None:
        return None
    try:
        if importer is RSAKey:
            _check_size(8 * len(urlsafe_b64decode(entry["n"] + "==").lstrip(b"\0")))
        key = importer.import_key(dict(entry))
        good_for = _good_for(key)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    named = entry.get("alg")
    algorithms = good_for if named is None else good_for & {str(named)}
    return VerificationKey(key, algorithms) if algorithms else None


def _check_size(bits: int) -> None:
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise ValueError(f"an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")


def _good_for(key: Key) -> frozenset[str]:
    """Raises `ValueError` for a key that is good for nothing."""
    if isinstance(key, RSAKey):
        return _RSA
    if isinstance(key, ECKey) and key.curve_name in _EC:
        return frozenset({_EC[key.curve_name]})
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        return frozenset({"Ed25519"})
    raise ValueError("the key is on a curve that is not used for signatures here")
