"""appliance.broker.identity.jwt_keys: what a key is good for is the key's own matter."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from appliance.broker.identity.jwt_keys import MAX_KEYS, parse_key_set, public_key, shared_secret

from .jwts import EC, ED, RSA, SECRET, published


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_002_08_each_kind_of_key_is_good_for_its_own_algorithms() -> None:
    found = parse_key_set(key_set(published(RSA), published(EC), published(ED)))
    assert found["rsa"].algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert found["ec"].algorithms == {"ES256"}
    assert found["ed"].algorithms == {"Ed25519"}
    assert shared_secret(b"x" * 32).algorithms == {"HS256", "HS384", "HS512"}
    assert public_key(RSA.as_pem(private=False)).algorithms == found["rsa"].algorithms
    assert public_key(EC.as_pem(private=False)).algorithms == {"ES256"}
    assert public_key(ED.as_pem(private=False)).algorithms == {"Ed25519"}


def test_002_08_a_key_may_be_for_one_algorithm_alone() -> None:
    assert parse_key_set(key_set(published(RSA, alg="PS256")))["rsa"].algorithms == {"PS256"}
    assert parse_key_set(key_set(published(RSA, alg="HS256"))) == {}
    assert parse_key_set(key_set(published(RSA, alg="none"))) == {}
    assert parse_key_set(key_set(published(EC, alg="RS256"))) == {}


@pytest.mark.parametrize(
    "entry",
    [
        published(EC, use="enc"),
        published(EC, kty="XYZ"),
        published(EC, kty=["EC"]),
        published(EC, kid=""),
        published(EC, kid=7),
        published(EC, key_ops=["encrypt"]),
        published(EC, key_ops="verify"),
        published(EC, x="AAAA"),
        published(RSA, n="AQAB"),
        published(RSA, n=7),
        published(RSA, n="A" * 2000),
        published(RSA, e="AQ"),
        published(RSA, n=urlsafe_b64encode(b"\xff" * 1025).decode().rstrip("=")),
        published(ECKey.generate_key("secp256k1", {"kid": "k1"})),
        published(OKPKey.generate_key("X25519", {"kid": "x"})),
        {"kty": "EC", "kid": "bare"},
    ],
)
def test_002_08_a_key_that_cannot_be_used_is_left_out_and_spoils_nothing(entry: dict[str, Any]) -> None:
    assert list(parse_key_set(key_set(entry, published(RSA, kid="good")))) == ["good"]


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1]}', b'{"keys":[],"keys":[]}',
     key_set(published(EC), published(EC)), key_set(EC.as_dict(private=True)), key_set(RSA.as_dict(private=True)),
     key_set(OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True)),
     key_set(*[published(EC, kid=str(n)) for n in range(MAX_KEYS + 1)])],
    ids=["empty", "list", "none", "object", "number", "twice", "same-id", "private-ec", "private-rsa", "secret", "many"],
)  # fmt: skip
def test_002_08_a_set_that_is_wrong_is_refused_whole(document: bytes) -> None:
    with pytest.raises(ValueError):
        parse_key_set(document)


@pytest.mark.parametrize(
    "configured",
    [b"", b"nonsense", EC.as_pem(private=True), RSA.as_pem(private=True),
     pem(rsa.generate_private_key(65537, 1024)), pem(ec.generate_private_key(ec.SECP256K1())),
     pem(ec.generate_private_key(ec.SECP224R1())), OKPKey.generate_key("X25519").as_pem(private=False)],
    ids=["empty", "nonsense", "private-ec", "private-rsa", "rsa-1024", "k1", "p224", "x25519"],
)  # fmt: skip
def test_002_08_a_configured_key_is_public_and_strong(configured: bytes) -> None:
    with pytest.raises(ValueError):
        public_key(configured)


def test_002_08_a_secret_for_hmac_has_a_length() -> None:
    shared_secret(SECRET.raw_value)
    with pytest.raises(ValueError):
        shared_secret(b"x" * 31)


def test_002_08_an_rsa_key_of_2048_bits_is_strong_enough() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert public_key(pem(key)).algorithms
    jwk = RSAKey.import_key(key.public_key(), {"kid": "r"})
    assert list(parse_key_set(key_set(published(jwk)))) == ["r"]
