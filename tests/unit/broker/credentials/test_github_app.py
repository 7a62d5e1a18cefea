"""appliance.broker.credentials.github_app: the app's JWT, and the installation's token for it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.github_app import app_jwt, installation_token
from appliance.broker.credentials.outgoing import NoAnswer, TokenAnswer

from .support import CANARY, NOW, RSA_PEM, Endpoint, answer, exchanged, material, refusal, result

TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"


def app(**changed: Any) -> Any:
    return material("github-app", **({"app_id": 12, "installation_id": 34, "private_key": RSA_PEM} | changed))


def issued(**changed: Any) -> TokenAnswer:
    return answer(201, **({"token": TOKEN, "expires_at": "2026-06-01T13:00:00Z"} | changed))


def test_the_apps_jwt_lasts_ten_minutes_from_a_minute_ago() -> None:
    token = jwt.decode(app_jwt(app(), NOW), RSAKey.import_key(RSA_PEM), ["RS256"])
    assert token.claims == {"iss": "12", "iat": 1780315200 - 60, "exp": 1780315200 + 540}
    assert token.claims["exp"] - token.claims["iat"] == 600


def test_it_is_exchanged_for_a_token_of_the_installation() -> None:
    endpoint = Endpoint(issued())
    assert result(installation_token(app(), NOW, endpoint, exchanged())) == TOKEN
    ((url, fields, body),) = endpoint.asked
    assert url == "https://api.github.com/app/installations/34/access_tokens"
    assert fields[b"accept"] == b"application/vnd.github+json"
    assert fields[b"user-agent"]
    scheme, _, text = fields[b"authorization"].partition(b" ")
    assert scheme == b"Bearer"
    assert jwt.decode(text, RSAKey.import_key(RSA_PEM), ["RS256"]).claims["iss"] == "12"
    assert json.loads(body) == {}


def test_002_09_a_token_can_be_narrowed_to_repositories_and_permissions() -> None:
    endpoint = Endpoint(issued())
    narrow = app(
        repositories=["site"], permissions={"contents": "read"}, api_url="https://ghe.example.com/api/v3"
    )
    result(installation_token(narrow, NOW, endpoint, exchanged()))
    ((url, _, body),) = endpoint.asked
    assert url == "https://ghe.example.com/api/v3/app/installations/34/access_tokens"
    assert json.loads(body) == {"repositories": ["site"], "permissions": {"contents": "read"}}


def test_it_is_kept_until_before_its_end() -> None:
    endpoint, tokens = Endpoint(issued(), issued(token="ghs_another")), ExchangedTokens()
    for seconds, text in ((0, TOKEN), (3539, TOKEN), (3540, "ghs_another")):
        moment = NOW + timedelta(seconds=seconds)
        assert result(installation_token(app(), moment, endpoint, exchanged(tokens))) == text


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answer(401, message=CANARY), "refresh-revoked"),
        (answer(404, message=CANARY), "refresh-revoked"),
        (answer(403, message=CANARY), "token-endpoint-failed"),
        (answer(422, message=CANARY), "token-endpoint-failed"),
        (answer(200, token=TOKEN, expires_at="2026-06-01T13:00:00Z"), "token-endpoint-failed"),
        (NoAnswer(CANARY), "token-endpoint-failed"),
        (issued(token=""), "token-endpoint-failed"),
        (issued(token=None), "token-endpoint-failed"),
        (issued(token="with\nbreak"), "token-endpoint-failed"),
        (issued(expires_at="soon"), "token-endpoint-failed"),
        (issued(expires_at="2026-06-01T13:00:00"), "token-endpoint-failed"),
        (issued(expires_at=None), "token-endpoint-failed"),
        (TokenAnswer(201, b'{"token":"a-token","token":"b-token"}'), "token-endpoint-failed"),
    ],
)
def test_without_a_usable_token_there_is_an_error_without_githubs_words(given: Any, code: str) -> None:
    error = refusal(installation_token(app(), NOW, Endpoint(given), exchanged()))
    assert error.code == code
    assert CANARY not in str(error)
