"""appliance.broker.credentials.gcp: the assertion of RFC 7523, and tokens that an account signs itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.gcp import access_token
from appliance.broker.credentials.outgoing import NoAnswer

from .support import (
    CANARY,
    NOW,
    RSA_PEM,
    Endpoint,
    answer,
    began,
    exchanged,
    granted,
    material,
    refusal,
    request,
    result,
)

EMAIL = "robot@project.iam.gserviceaccount.com"
SCOPES = ["https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/pubsub"]
ISSUED = 1780315200


def account(*scopes: str) -> Any:
    return material(
        "gcp-service-account", client_email=EMAIL, private_key_id="key-1", private_key=RSA_PEM, scopes=scopes
    )


def read(text: str) -> Any:
    return jwt.decode(text, RSAKey.import_key(RSA_PEM), ["RS256"])


def test_an_assertion_is_exchanged_for_the_accounts_scopes() -> None:
    endpoint = Endpoint(granted())
    assert result(access_token(account(*SCOPES), request(), NOW, endpoint, exchanged())) == "access-one"
    ((url, fields, body),) = endpoint.asked
    assert url == "https://oauth2.googleapis.com/token"
    assert fields[b"content-type"] == b"application/x-www-form-urlencoded"
    form = parse_qs(body.decode(), strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    token = read(form["assertion"][0])
    assert token.header == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert token.claims == {
        "iss": EMAIL,
        "aud": url,
        "scope": " ".join(SCOPES),
        "iat": ISSUED,
        "exp": ISSUED + 3600,
    }


def test_it_is_exchanged_once_for_many_calls_and_hosts() -> None:
    endpoint, tokens = Endpoint(None), ExchangedTokens()
    waiting = [
        began(access_token(account(*SCOPES), request(host=host), NOW, endpoint, exchanged(tokens)))
        for host in ("storage.googleapis.com", "pubsub.googleapis.com")
    ]
    endpoint.waiting[0].callback(granted())
    assert [result(waiter) for waiter in waiting] == ["access-one", "access-one"]


def test_without_scopes_the_account_signs_for_the_host_and_nobody_is_asked() -> None:
    endpoint, tokens = Endpoint(), ExchangedTokens()
    texts = {
        host: result(access_token(account(), request(host=host), NOW, endpoint, exchanged(tokens)))
        for host in ("storage.googleapis.com", "pubsub.googleapis.com")
    }
    for host, text in texts.items():
        assert read(text).claims == {
            "iss": EMAIL,
            "sub": EMAIL,
            "aud": f"https://{host}/",
            "iat": ISSUED,
            "exp": ISSUED + 3600,
        }
    later = NOW + timedelta(minutes=30)
    again = access_token(account(), request(host="pubsub.googleapis.com"), later, endpoint, exchanged(tokens))
    assert result(again) == texts["pubsub.googleapis.com"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answer(400, error="invalid_grant", error_description=CANARY), "refresh-revoked"),
        (answer(500, error=CANARY), "token-endpoint-failed"),
        (NoAnswer(CANARY), "token-endpoint-failed"),
    ],
)
def test_a_refused_assertion_is_told_without_googles_words(given: Any, code: str) -> None:
    error = refusal(access_token(account(*SCOPES), request(), NOW, Endpoint(given), exchanged()))
    assert error.code == code
    assert CANARY not in str(error)
