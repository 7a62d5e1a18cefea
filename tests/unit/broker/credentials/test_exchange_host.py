"""A secret is shown to nobody but the hosts that the platform has named for it."""

from __future__ import annotations

import pytest

from appliance.broker.credentials.exchange_host import check_exchange_host, exchanged_at
from appliance.broker.credentials.outgoing import CredentialError
from appliance.broker.vault.kinds import (
    AwsKeys,
    GcpServiceAccount,
    GithubApp,
    OAuthClientCredentials,
    OAuthRefresh,
    StaticSecret,
)

HERE = frozenset({("login.example", 443), ("api.github.com", 443), ("oauth2.googleapis.com", 443)})
TOKEN = "tok-0123456789abcdef"


def refresh(url: str) -> OAuthRefresh:
    return OAuthRefresh.model_construct(token_url=url, client_id="c", refresh_token=TOKEN)


EXCHANGED = [
    refresh("https://login.example/token"),
    OAuthClientCredentials.model_construct(token_url="https://LOGIN.example:443/token"),
    GcpServiceAccount.model_construct(token_url="https://oauth2.googleapis.com/token", scopes=("a",)),
    GithubApp.model_construct(api_url="https://api.github.com"),
]


@pytest.mark.parametrize("material", EXCHANGED, ids=lambda one: one.kind)
def test_a_named_host_is_shown_the_secret_and_no_other(material) -> None:
    check_exchange_host(material, HERE)
    with pytest.raises(CredentialError) as caught:
        check_exchange_host(material, frozenset())
    assert caught.value.code == "token-host-not-named"
    assert "login" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example:444/token", "https://evil.example/token", "https://login.example.evil.example/",
        "https://login.example@evil.example/", "http://login.example/token", "https://a.login.example/token", "nonsense",
    ],
)  # fmt: skip
def test_an_address_beside_the_named_one_is_refused(url: str) -> None:
    with pytest.raises(CredentialError):
        check_exchange_host(refresh(url), HERE)


def test_what_is_not_exchanged_needs_no_host() -> None:
    alone = (
        StaticSecret(value=TOKEN),
        AwsKeys(access_key_id="AKIA", secret_access_key=TOKEN),
        GcpServiceAccount.model_construct(token_url="https://evil.example/", scopes=()),
    )
    for material in alone:
        assert exchanged_at(material) is None
        check_exchange_host(material, frozenset())
