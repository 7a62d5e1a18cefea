"""appliance.broker.credentials.static: a text goes into its slot whole, or nothing goes out."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from appliance.broker.credentials.outgoing import CredentialError, Injection, applied
from appliance.broker.credentials.static import MAX_VALUE, basic_injection, field_value, token_injection
from appliance.broker.vault.kinds import BasicSecret
from appliance.policy.slot import Slot

from .support import CANARY, material, request

BEARER = Slot(style="bearer")
HEADER = Slot(style="header", name="x-api-key")
QUERY = Slot(style="query", name="key")
TOKEN_AS_BASIC = Slot(style="basic", template="x-access-token:{}")


def refused(work: Callable[[], Injection]) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        work()
    assert CANARY not in str(caught.value)
    return caught.value


def test_004_15_bearer_header_and_query_put_the_secret_where_the_definition_says() -> None:
    assert token_injection(CANARY, BEARER).set_headers == ((b"authorization", f"Bearer {CANARY}".encode()),)
    assert token_injection(CANARY, HEADER).set_headers == ((b"x-api-key", CANARY.encode()),)
    assert token_injection(CANARY, QUERY).add_query == (("key", CANARY),)
    for slot in (BEARER, HEADER, QUERY):
        assert CANARY.encode() in token_injection(CANARY, slot).live


def test_a_template_stands_around_the_secret() -> None:
    slot = Slot(style="header", name="authorization", template="token {}")
    assert token_injection(CANARY, slot).set_headers == ((b"authorization", f"token {CANARY}".encode()),)


@pytest.mark.parametrize(
    "slot",
    [BEARER, HEADER, QUERY, TOKEN_AS_BASIC, Slot(style="header", name="authorization", template="Bearer {}")],
)
def test_003_16_without_a_secret_there_is_an_error_and_never_an_empty_field(slot: Slot) -> None:
    assert refused(lambda: token_injection("", slot)).code == "credential-unusable"


@pytest.mark.parametrize(
    "wrong", ["\r\nX-Evil: 1", "\n", "\r", "\0", "\t", "\x7f", "é", "\u2028", "\ud800", "中"]
)
@pytest.mark.parametrize("slot", [BEARER, HEADER])
def test_what_http_could_read_as_another_field_is_refused(slot: Slot, wrong: str) -> None:
    for text in (CANARY + wrong, wrong + CANARY, CANARY + wrong + "x"):
        assert refused(lambda text=text: token_injection(text, slot)).code == "credential-unusable"  # type: ignore[misc]


def test_a_field_has_no_space_at_its_ends_and_a_bearer_token_none_at_all() -> None:
    assert field_value("a b") == b"a b"
    for text in (" a", "a ", " "):
        assert refused(lambda text=text: token_injection(text, HEADER))  # type: ignore[misc]
    assert refused(lambda: token_injection(f"a {CANARY}", BEARER)).code == "credential-unusable"
    assert refused(lambda: token_injection("a" * (MAX_VALUE + 1), HEADER)).code == "credential-unusable"


def test_a_key_in_the_query_is_escaped_and_both_forms_are_live() -> None:
    injection = token_injection("a+b&c=d #é", Slot(style="query", name="api_key"))
    assert injection.add_query == (("api_key", "a%2Bb%26c%3Dd%20%23%C3%A9"),)
    assert injection.live == ("a+b&c=d #é".encode(), b"a%2Bb%26c%3Dd%20%23%C3%A9")


@settings(deadline=None)
@given(token=st.text(min_size=1, max_size=40))
def test_a_key_in_the_query_is_read_back_as_it_was(token: str) -> None:
    query = applied(request(query="a=b"), token_injection(token, QUERY)).query
    assert parse_qsl(query, keep_blank_values=True) == [("a", "b"), ("key", token)]


@settings(deadline=None)
@given(token=st.text(max_size=20))
def test_a_field_is_one_line_of_printable_ascii_or_there_is_none(token: str) -> None:
    try:
        (field,) = token_injection(token, HEADER).set_headers
    except CredentialError:
        return
    assert field == (b"x-api-key", token.encode("ascii"))
    assert token.isprintable()
    assert token == token.strip() != ""


def test_basic_is_rfc_7617() -> None:
    # Section 2 of the RFC, and its UTF-8 example in section 2.1. (The second is shorter than any that we store.)
    for username, password, encoded in (
        ("Aladdin", "open sesame", b"QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("test", "123\u00a3", b"dGVzdDoxMjPCow=="),
    ):
        secret = BasicSecret.model_construct(username=SecretStr(username), password=SecretStr(password))
        injection = basic_injection(secret, Slot(style="basic"))
        assert injection.set_headers == ((b"authorization", b"Basic " + encoded),)
        assert injection.live == (password.encode(), f"{username}:{password}".encode(), encoded)


def test_a_key_in_the_place_of_the_user_name_is_what_is_live() -> None:
    injection = basic_injection(material("basic", username=CANARY, password=""), Slot(style="basic"))
    assert injection.set_headers == ((b"authorization", b"Basic " + base64.b64encode(f"{CANARY}:".encode())),)
    assert injection.live[0] == CANARY.encode()


def test_a_token_can_be_the_password_of_basic() -> None:
    injection = token_injection(CANARY, TOKEN_AS_BASIC)
    pair = f"x-access-token:{CANARY}".encode()
    assert injection.set_headers == ((b"authorization", b"Basic " + base64.b64encode(pair)),)
    assert injection.live == (CANARY.encode(), pair, base64.b64encode(pair))


def test_a_token_with_a_colon_is_no_user_name() -> None:
    slot = Slot(style="basic", template="{}:x-oauth-basic")
    assert refused(lambda: token_injection(f"a:{CANARY}", slot)).code == "credential-unusable"
    assert token_injection(CANARY, slot).live[0] == CANARY.encode()


@pytest.mark.parametrize("slot", [Slot(style="sigv4"), Slot(style="basic"), Slot(style="client-certificate")])
def test_a_token_does_not_fit_other_slots(slot: Slot) -> None:
    assert refused(lambda: token_injection(CANARY, slot)).code == "credential-mismatch"


@pytest.mark.parametrize("slot", [BEARER, TOKEN_AS_BASIC, QUERY])
def test_a_user_and_password_do_not_fit_other_slots(slot: Slot) -> None:
    secret = material("basic", username="alice", password=CANARY)
    assert refused(lambda: basic_injection(secret, slot)).code == "credential-mismatch"
