"""appliance.broker.identity.actors: names and scopes that can be written down, and codes that stay."""

from __future__ import annotations

import pytest

from appliance.broker.identity.actors import (
    MAX_SCOPES,
    SENTENCES,
    Caller,
    CallerFault,
    CallerMode,
    CallerRefusal,
    parse_scopes,
)


def test_002_07_what_is_not_authenticated_is_answered_401_with_a_challenge() -> None:
    refusal = CallerRefusal(CallerFault.UNAUTHENTICATED)
    assert (refusal.status, refusal.fault, refusal.challenge) == (401, "unauthenticated", "Bearer")
    assert CallerRefusal(CallerFault.JWT_EXPIRED).challenge == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("fault", list(CallerFault))
def test_every_fault_has_a_sentence_and_a_status(fault: CallerFault) -> None:
    refusal = CallerRefusal(fault)
    assert refusal.detail == SENTENCES[fault]
    expected = {CallerFault.AMBIGUOUS: 400, CallerFault.JWT_KEYS_UNAVAILABLE: 503}.get(fault, 401)
    assert refusal.status == expected
    assert (refusal.challenge is None) == (expected != 401)


@pytest.mark.parametrize("actor", ["", "a b", "a\n", "a\x00", "é", "x" * 256])
def test_an_actor_that_cannot_be_written_down_is_none(actor: str) -> None:
    with pytest.raises(ValueError):
        Caller(CallerMode.JWT, actor, "acme", frozenset())


@pytest.mark.parametrize("text", [" ", "a  b", " a", "a ", 'a"', "a\\", "a\tb", "é", "x" * 129, " ".join(map(str, range(MAX_SCOPES + 1)))])  # fmt: skip
def test_scopes_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_scopes(text)


def test_scopes_are_tokens_with_one_space_between() -> None:
    assert parse_scopes("") == frozenset()
    assert parse_scopes("calls:write audit:read") == {"calls:write", "audit:read"}


def test_002_08_the_same_name_of_two_modes_is_not_the_same_person() -> None:
    one = Caller(CallerMode.JWT, "root", "acme", frozenset())
    other = Caller(CallerMode.API_KEY, "root", "acme", frozenset())
    assert (one.principal, other.principal) == ("jwt:root", "api-key:root")
