"""appliance.broker.credentials.outgoing: the request after injection has the secret once, and nothing else changed."""

from __future__ import annotations

import pytest

from appliance.broker.credentials.outgoing import CredentialError, Injection, TokenAnswer, applied

from .support import CANARY, request


def test_a_field_replaces_all_of_its_name_whatever_their_case() -> None:
    given = request(
        headers=((b"Host", b"a.example"), (b"AUTHORIZATION", b"Bearer x"), (b"authorization", b"Basic y"))
    )
    done = applied(given, Injection(((b"authorization", b"Bearer z"),)))
    assert done.headers == ((b"Host", b"a.example"), (b"authorization", b"Bearer z"))
    assert (done.method, done.path, done.query, done.body) == (
        given.method,
        given.path,
        given.query,
        given.body,
    )


def test_a_dropped_field_is_gone() -> None:
    given = request(headers=((b"X-Amz-Security-Token", b"x"), (b"accept", b"*/*")))
    assert applied(given, Injection(drop_headers=(b"x-amz-security-token",))).headers == (
        (b"accept", b"*/*"),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "key=s"),
        ("a=b&c", "a=b&c&key=s"),
        ("key=hb_cred_x&a=b", "a=b&key=s"),
        ("a=b&key=1&key=2&%6Bey=3&key", "a=b&key=s"),
        ("Key=1", "Key=1&key=s"),
        ("k=ey", "k=ey&key=s"),
    ],
)
def test_a_query_key_is_there_once(before: str, after: str) -> None:
    assert applied(request(query=before), Injection(add_query=(("key", "s"),))).query == after


@pytest.mark.parametrize("query", ["", "a=b&&c=", "a=+%20", "key=1"])
def test_a_query_without_a_secret_in_it_stays_as_it_is(query: str) -> None:
    assert applied(request(query=query), Injection(((b"a", b"b"),))).query == query


def test_nothing_that_is_printed_shows_a_secret() -> None:
    injection = Injection(
        ((b"authorization", CANARY.encode()),),
        (("key", CANARY),),
        (b"", CANARY.encode()),
        (CANARY.encode(),),
    )
    assert CANARY not in repr(injection)
    done = applied(request(body=CANARY.encode()), injection)
    assert CANARY in done.query
    assert CANARY not in repr(done)
    assert repr(injection) == "<Injection of authorization, 1 query keys>"
    assert CANARY not in repr(TokenAnswer(200, CANARY.encode()))
    assert str(CredentialError("credential-mismatch", "No.")) == "credential-mismatch: No."


@pytest.mark.parametrize(
    ("port", "headers", "authority"),
    [
        (443, (), "api.example.com"),
        (8443, (), "api.example.com:8443"),
        (443, ((b"HOST", b"api.example.com:443"),), "api.example.com:443"),
    ],
)
def test_the_authority_is_what_the_wire_says(
    port: int, headers: tuple[tuple[bytes, bytes], ...], authority: str
) -> None:
    assert request(port=port, headers=headers).authority == authority


def test_the_target_has_a_question_mark_where_there_is_a_query() -> None:
    assert request(query="a=b").target == "/v1/things?a=b"
    assert request().target == "/v1/things"
