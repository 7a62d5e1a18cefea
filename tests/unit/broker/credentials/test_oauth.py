"""appliance.broker.credentials.oauth: RFC 6749 to the letter, and nothing of the provider's passed on."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.oauth import MAX_ANSWER, access_token, client_basic, read_answer
from appliance.broker.credentials.outgoing import CredentialError, NoAnswer, TokenAnswer
from appliance.broker.vault.kinds import OAuthRefresh

from .support import (
    CANARY,
    NOW,
    Endpoint,
    Store,
    answer,
    began,
    exchanged,
    granted,
    material,
    refresh,
    refusal,
    result,
)


def form(endpoint: Endpoint, at: int = 0) -> dict[str, list[str]]:
    return parse_qs(endpoint.asked[at][2].decode(), strict_parsing=True)


def client(**changed: Any) -> Any:
    fields = {
        "token_url": "https://login.example.com/token",
        "client_id": "app",
        "client_secret": "client-secret",
    }
    return material("oauth2-client-credentials", **(fields | changed))


def test_a_refresh_token_is_exchanged_by_section_6() -> None:
    endpoint = Endpoint(granted())
    assert result(access_token(refresh(scope="read write"), NOW, endpoint, exchanged())) == "access-one"
    ((url, fields, _),) = endpoint.asked
    assert url == "https://login.example.com/token"
    assert form(endpoint) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-one"],
        "scope": ["read write"],
    }
    assert fields == {
        b"content-type": b"application/x-www-form-urlencoded",
        b"accept": b"application/json",
        b"authorization": b"Basic " + base64.b64encode(b"app:client-secret"),
    }


def test_a_client_asks_for_itself_by_section_4_4() -> None:
    endpoint = Endpoint(granted())
    secret = client(scope="read", audience="https://api.example.com/")
    assert result(access_token(secret, NOW, endpoint, exchanged())) == "access-one"
    assert form(endpoint) == {
        "grant_type": ["client_credentials"],
        "scope": ["read"],
        "audience": ["https://api.example.com/"],
    }
    assert b"authorization" in endpoint.asked[0][1]


def test_what_is_not_set_is_not_sent() -> None:
    endpoint = Endpoint(granted())
    result(access_token(client(), NOW, endpoint, exchanged()))
    assert form(endpoint) == {"grant_type": ["client_credentials"]}


def test_a_client_can_name_itself_in_the_body() -> None:
    for secret in (refresh(client_authentication="body"), client(client_authentication="body")):
        endpoint = Endpoint(granted())
        result(access_token(secret, NOW, endpoint, exchanged()))
        assert form(endpoint)["client_id"] == ["app"]
        assert form(endpoint)["client_secret"] == ["client-secret"]
        assert b"authorization" not in endpoint.asked[0][1]


def test_a_public_client_says_its_name_alone() -> None:
    endpoint = Endpoint(granted())
    result(access_token(refresh(client_secret=None), NOW, endpoint, exchanged()))
    assert form(endpoint)["client_id"] == ["app"]
    assert "client_secret" not in form(endpoint)
    assert b"authorization" not in endpoint.asked[0][1]


def test_the_clients_parts_are_form_encoded_before_they_are_joined() -> None:
    # RFC 6749 section 2.3.1 and appendix B, whose example text is " %&+£€".
    encoded = base64.b64decode(client_basic("a:b", " %&+\u00a3\u20ac"))
    assert encoded == b"a%3Ab:+%25%26%2B%C2%A3%E2%82%AC"


@settings(deadline=None)
@given(first=st.text(max_size=20), second=st.text(max_size=20))
def test_a_clients_name_and_secret_can_be_told_apart(first: str, second: str) -> None:
    name, _, secret = base64.b64decode(client_basic(first, second)).decode("ascii").partition(":")
    assert ":" not in secret
    assert parse_qs(f"a={name}&b={secret}", keep_blank_values=True) == {"a": [first], "b": [second]}


def test_a_token_is_exchanged_once_for_many_calls() -> None:
    endpoint, tokens = Endpoint(None), ExchangedTokens()
    waiting = [began(access_token(refresh(), NOW, endpoint, exchanged(tokens))) for _ in range(10)]
    endpoint.waiting[0].callback(granted())
    assert {result(waiter) for waiter in waiting} == {"access-one"}
    later = NOW + timedelta(minutes=50)
    assert result(access_token(refresh(), later, endpoint, exchanged(tokens))) == "access-one"
    assert len(endpoint.asked) == 1


def test_it_is_renewed_before_it_ends() -> None:
    endpoint, tokens = Endpoint(granted("one", expires_in=600), granted("two")), ExchangedTokens()
    for seconds, text in ((0, "one"), (539, "one"), (540, "two")):
        moment = NOW + timedelta(seconds=seconds)
        assert result(access_token(refresh(), moment, endpoint, exchanged(tokens))) == text


def test_a_new_refresh_token_is_stored_before_the_access_token_is_used() -> None:
    stored_when_asked: list[int] = []
    store, tokens = Store(), ExchangedTokens()
    endpoint = Endpoint(granted(refresh_token="refresh-two"), granted("access-two"))
    given_out = began(access_token(refresh(scope="read"), NOW, endpoint, exchanged(tokens, store=store)))
    given_out.addCallback(lambda token: stored_when_asked.append(len(store.kept)) or token)
    assert result(given_out) == "access-one"
    assert stored_when_asked == [1]
    (renewed,) = store.kept
    assert renewed == refresh(scope="read", refresh_token="refresh-two")
    # The next call reveals the new version and is served without another exchange.
    assert result(access_token(renewed, NOW, endpoint, exchanged(tokens))) == "access-one"
    assert len(endpoint.asked) == 1


def test_a_token_that_waits_for_its_refresh_token_to_be_stored_is_given_to_nobody() -> None:
    may_store: Deferred[None] = Deferred()

    class Slow(Store):
        async def __call__(self, renewed: OAuthRefresh) -> int:
            await may_store
            return await super().__call__(renewed)

    store = Slow()
    waiter = began(
        access_token(refresh(), NOW, Endpoint(granted(refresh_token="refresh-two")), exchanged(store=store))
    )
    assert not waiter.called
    may_store.callback(None)
    assert result(waiter) == "access-one"


def test_without_its_refresh_token_stored_an_access_token_is_not_used() -> None:
    store, tokens = Store(), ExchangedTokens()
    store.fails = True
    endpoint = Endpoint(granted(refresh_token=CANARY))
    error = refusal(access_token(refresh(), NOW, endpoint, exchanged(tokens, store=store)))
    assert error.code == "rotation-not-stored"
    assert CANARY not in str(error) + repr(error.__context__) + repr(error.__cause__)
    assert len(tokens) == 0


@pytest.mark.parametrize("again", ["refresh-one", "", None])
def test_the_same_refresh_token_again_is_no_new_version(again: str | None) -> None:
    store = Store()
    endpoint = Endpoint(granted(refresh_token=again))
    assert result(access_token(refresh(), NOW, endpoint, exchanged(store=store))) == "access-one"
    assert store.kept == []


def test_a_client_of_its_own_has_no_refresh_token_to_store() -> None:
    store = Store()
    endpoint = Endpoint(granted(refresh_token="refresh-two"))
    assert result(access_token(client(), NOW, endpoint, exchanged(store=store))) == "access-one"
    assert store.kept == []


@pytest.mark.parametrize("token", ["short", "has space in it", "line\nbreak-token", "é" * 10])
def test_a_malformed_refresh_token_is_not_stored(token: str) -> None:
    store = Store()
    error = refusal(
        access_token(refresh(), NOW, Endpoint(granted(refresh_token=token)), exchanged(store=store))
    )
    assert (error.code, store.kept) == ("token-endpoint-failed", [])
    assert token not in str(error)


@pytest.mark.parametrize("status", [400, 401])
def test_a_revoked_refresh_token_is_told_as_such_without_the_providers_words(status: int) -> None:
    endpoint = Endpoint(answer(status, error="invalid_grant", error_description=CANARY))
    error = refusal(access_token(refresh(), NOW, endpoint, exchanged()))
    assert error.code == "refresh-revoked"
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("given_answer", "detail"),
    [
        (answer(400, error="invalid_client", error_description=CANARY), "refused: invalid_client"),
        (answer(400, error=CANARY), "answered 400"),
        (answer(400, error=["invalid_grant"]), "answered 400"),
        (TokenAnswer(400, b'{"error":"x","error":"invalid_grant"}'), "answered 400"),
        (answer(403, error="invalid_grant"), "answered 403"),
        (answer(500, error="invalid_grant"), "answered 500"),
        (TokenAnswer(503, CANARY.encode()), "answered 503"),
        (TokenAnswer(302, b""), "answered 302"),
        (answer(201, access_token="a-token", token_type="bearer"), "answered 201"),
    ],
)
def test_every_other_refusal_is_a_failed_token_endpoint(given_answer: TokenAnswer, detail: str) -> None:
    error = refusal(access_token(refresh(), NOW, Endpoint(given_answer), exchanged()))
    assert (error.code, error.detail) == ("token-endpoint-failed", f"The token endpoint {detail}.")


def test_a_provider_that_is_down_is_a_failed_token_endpoint() -> None:
    error = refusal(access_token(refresh(), NOW, Endpoint(NoAnswer(CANARY)), exchanged()))
    assert (error.code, error.detail) == ("token-endpoint-failed", "The token endpoint did not answer.")
    assert error.__context__ is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"access_token=a&token_type=bearer",
        b'{"access_token":"one-token","token_type":"bearer","access_token":"two-token"}',
        b"\xff",
        b"[" * 50_000,
        b'{"access_token":"a-token","token_type":"bearer","x":"' + b"x" * MAX_ANSWER + b'"}',
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_or_none_is_refused(body: bytes) -> None:
    with pytest.raises(CredentialError, match="no JSON object of a bounded size") as caught:
        read_answer(TokenAnswer(200, body), NOW)
    assert caught.value.code == "token-endpoint-failed"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "members",
    [
        {"access_token": ""},
        {"access_token": None},
        {"access_token": "with space"},
        {"access_token": "with\r\nX-Evil: 1"},
        {"access_token": ["a-token"]},
        {"access_token": "x" * (16 * 1024 + 1)},
        {"token_type": "mac"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"token_type": ["bearer"]},
        {"expires_in": 0},
        {"expires_in": -5},
        {"expires_in": True},
        {"expires_in": 1.5},
        {"expires_in": "soon"},
        {"expires_in": 10**30},
        {"refresh_token": 5},
    ],
)
def test_an_answer_without_a_usable_token_is_refused(members: dict[str, Any]) -> None:
    whole = {"access_token": "a-token", "token_type": "bearer", "expires_in": 60} | members
    with pytest.raises(CredentialError) as caught:
        read_answer(TokenAnswer(200, json.dumps(whole).encode()), NOW)
    assert caught.value.code == "token-endpoint-failed"


@pytest.mark.parametrize(
    ("said", "seconds"), [(60, 60), ("3599", 3599), (None, 300), (9_999_999_999, 400 * 86_400)]
)
def test_how_long_a_token_lasts(said: object, seconds: int) -> None:
    token, _ = read_answer(granted(expires_in=said), NOW)
    assert token.expires == NOW + timedelta(seconds=seconds)


@settings(deadline=None)
@given(
    status=st.sampled_from([200, 400, 401, 500]),
    body=st.binary(max_size=60)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(
            st.sampled_from(["access_token", "token_type", "expires_in", "error", "refresh_token"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.text(max_size=8)
            | st.just("bearer")
            | st.lists(st.none(), max_size=1),
        ),
    ),
)
def test_whatever_is_answered_there_is_a_token_or_a_refusal(status: int, body: bytes) -> None:
    try:
        token, _ = read_answer(TokenAnswer(status, body), NOW)
    except CredentialError:
        return
    assert status == 200
    assert token.text.isascii()
    assert token.text.isprintable()
    assert token.expires > NOW
