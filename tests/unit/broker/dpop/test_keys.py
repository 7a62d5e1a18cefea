"""appliance.broker.dpop.keys: public keys alone, each in its one spelling."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.broker.denied import Denied
from appliance.broker.dpop.keys import ALGORITHMS, read_key, verify_signature
from tests.unit.broker.proofs import EC_KEY, ED_KEY, P384_KEY, RSA_KEY, Private, b64, jkt, public_jwk, sign
from tests.vectors import dpop as rfc

EC_JWK, ED_JWK, RSA_JWK = public_jwk(EC_KEY), public_jwk(ED_KEY), public_jwk(RSA_KEY)
P = 2**256 - 2**224 + 2**192 + 2**96 - 1


def reason(members: dict[str, Any]) -> str:
    with pytest.raises(Denied) as caught:
        read_key(members)
    assert caught.value.error == "invalid_dpop_proof"
    return caught.value.reason


def test_rfc9449_g_000_12_the_thumbprint_of_the_rfcs_key() -> None:
    assert read_key(rfc.KEY).thumbprint == rfc.JKT


def test_the_thumbprint_of_rfc_8037() -> None:
    """RFC 8037 appendix A.3."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert read_key(key).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_rfc9449_g_the_thumbprint_of_rfc_7638() -> None:
    """RFC 7638 section 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9"
        "c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1"
        "jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert read_key(key).thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("key", [EC_KEY, P384_KEY, ED_KEY, RSA_KEY])
def test_other_members_change_no_thumbprint(key: Private) -> None:
    members = public_jwk(key)
    assert (
        read_key({"kid": "1", "x5t": "x", **members}).thumbprint == read_key(members).thumbprint == jkt(key)
    )


@pytest.mark.parametrize(
    "members",
    [
        {}, {"kty": "EC"}, {"kty": "oct", "k": "AAAA"}, {"kty": None}, {"kty": ["EC"]}, EC_JWK | {"kty": "ec"},
        EC_JWK | {"crv": "P-384"}, EC_JWK | {"crv": "secp256k1"}, EC_JWK | {"crv": "P-192"}, EC_JWK | {"crv": None},
        EC_JWK | {"x": EC_JWK["y"]}, EC_JWK | {"x": 1}, EC_JWK | {"x": ""}, EC_JWK | {"x": None}, EC_JWK | {"x": EC_JWK["x"] + "="},
        EC_JWK | {"x": b64(b"\0" + bytes(32))}, EC_JWK | {"x": b64(bytes(32)), "y": b64(bytes(32))},
        EC_JWK | {"x": b64(bytes([255] * 32))}, EC_JWK | {"x": EC_JWK["x"][:-2]}, EC_JWK | {"x": "ü" * 43},
        {"kty": "EC", "crv": "P-256", "x": EC_JWK["x"]},
        ED_JWK | {"crv": "X25519"}, ED_JWK | {"crv": "Ed448"}, ED_JWK | {"x": b64(bytes(31))}, ED_JWK | {"x": b64(bytes(33))},
        RSA_JWK | {"e": "Aw"}, RSA_JWK | {"e": "AAEAAQ"}, RSA_JWK | {"e": ""}, RSA_JWK | {"n": ""},
        RSA_JWK | {"n": b64(b"\0" + (2**2048 - 1).to_bytes(256, "big"))}, RSA_JWK | {"n": b64(bytes([255] * 128))},
        RSA_JWK | {"n": b64(bytes([255] * 600))}, RSA_JWK | {"n": 2**2048},
        {"kty": "RSA", "e": "AQAB"},
    ],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(members: dict[str, Any]) -> None:
    assert reason(members) == "jwk_invalid"


def test_a_coordinate_above_the_fields_order_is_no_second_spelling() -> None:
    """A point with a small x has x + p beside it, in as many octets."""
    curve = ec.SECP256R1()
    for x in range(1, 40):
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\2" + x.to_bytes(32, "big"))
        except ValueError:
            continue
        y = b64(point.public_numbers().y.to_bytes(32, "big"))
        members = {"kty": "EC", "crv": "P-256", "x": b64(x.to_bytes(32, "big")), "y": y}
        assert read_key(members)
        assert reason(members | {"x": b64((x + P).to_bytes(32, "big"))}) == "jwk_invalid"
        return
    pytest.fail("no point with a small x")


def test_short_and_long_rsa_keys_are_refused() -> None:
    assert reason(public_jwk(rsa.generate_private_key(65537, 1024))) == "jwk_invalid"


def test_a_signature_in_der_is_not_one_of_jws() -> None:
    der = EC_KEY.sign(b"text", ec.ECDSA(ec.hashes.SHA256()))  # type: ignore[attr-defined]
    with pytest.raises(Denied, match="signature_invalid"):
        verify_signature("ES256", EC_KEY.public_key(), b"text", der)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("ES256", EC_KEY), ("ES384", P384_KEY), ("EdDSA", ED_KEY), ("Ed25519", ED_KEY), ("PS256", RSA_KEY)],
)
def test_signatures_of_each_algorithm(algorithm: str, key: Private) -> None:
    signature = sign(algorithm, key, b"text")
    verify_signature(algorithm, key.public_key(), b"text", signature)
    wrong = [(b"Text", signature), (b"text", b""), (b"text", bytes(len(signature))), (b"text", signature + b"\0"),
             (b"text", signature[:-1]), (b"text", bytes([signature[0] ^ 1]) + signature[1:])]  # fmt: skip
    half = len(signature) // 2
    wrong.append((b"text", signature[:half] + b"\0" + signature[half:]))  # the same two numbers
    for signed, presented in wrong:
        with pytest.raises(Denied, match="signature_invalid"):
            verify_signature(algorithm, key.public_key(), signed, presented)
    for other in ALGORITHMS - {algorithm, "EdDSA", "Ed25519"} | {"none", "HS256", ""}:
        with pytest.raises(Denied, match="alg_mismatch"):
            verify_signature(other, key.public_key(), b"text", signature)
