"""appliance.broker.credentials.signed_jwt: a compact RS256 JWT, and nothing but the claims that were given."""

from __future__ import annotations

from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from appliance.broker.credentials.signed_jwt import seconds, signed_jwt

from .support import NOW, RSA_PEM


def test_it_is_signed_with_the_key_and_says_which() -> None:
    text = signed_jwt({"iss": "app", "iat": 5}, SecretStr(RSA_PEM), "key-1")
    token = jwt.decode(text, RSAKey.import_key(RSA_PEM), ["RS256"])
    assert token.header == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert token.claims == {"iss": "app", "iat": 5}


def test_without_a_key_id_none_is_said() -> None:
    text = signed_jwt({}, SecretStr(RSA_PEM))
    assert jwt.decode(text, RSAKey.import_key(RSA_PEM), ["RS256"]).header == {"alg": "RS256", "typ": "JWT"}


def test_another_key_does_not_verify_it() -> None:
    with pytest.raises(BadSignatureError):
        jwt.decode(signed_jwt({}, SecretStr(RSA_PEM)), RSAKey.generate_key(2048), ["RS256"])


def test_a_moment_is_whole_seconds_since_1970() -> None:
    assert seconds(NOW + timedelta(milliseconds=999)) == 1780315200
