"""appliance.broker.dpop.challenge: what a refusal tells a client to do."""

from __future__ import annotations

import pytest

from appliance.broker.denied import Denied, invalid_proof, invalid_token, store_unavailable
from appliance.broker.dpop.challenge import challenge_fields, nonce_fields
from appliance.broker.dpop.presented import Scheme

ALGS = frozenset({"PS256", "ES256"})
BEARER, DPOP = b"Bearer", b'DPoP algs="ES256 PS256"'


def challenges(denied: Denied, scheme: Scheme | None) -> list[bytes]:
    fields = challenge_fields(denied, scheme, ALGS)
    assert all(name in (b"WWW-Authenticate", b"DPoP-Nonce", b"Cache-Control") for name, _ in fields)
    return [value for name, value in fields if name == b"WWW-Authenticate"]


def test_without_credentials_both_schemes_are_offered_without_an_error() -> None:
    """RFC 9449 section 7.1 (figure 15), RFC 6750 section 3.1."""
    assert challenges(Denied(401, "", "authorization_missing", "none"), None) == [BEARER, DPOP]


def test_rfc9449_i_a_token_that_does_not_count_under_each_scheme() -> None:
    """RFC 9449 figure 16."""
    wrong = invalid_token("jkt_mismatch", "Invalid DPoP key binding")
    assert challenges(wrong, "DPoP") == [
        BEARER,
        b'DPoP error="invalid_token", error_description="Invalid DPoP key binding", algs="ES256 PS256"',
    ]
    assert challenges(wrong, "Bearer") == [
        b'Bearer error="invalid_token", error_description="Invalid DPoP key binding"',
        DPOP,
    ]


@pytest.mark.parametrize("scheme", ["DPoP", "Bearer", None])
def test_rfc9449_i_a_fault_of_the_proof_is_told_under_dpop(scheme: Scheme | None) -> None:
    found = challenges(invalid_proof("htm_mismatch", "no"), scheme)
    assert found == [BEARER, b'DPoP error="invalid_dpop_proof", error_description="no", algs="ES256 PS256"']


def test_rfc9449_b_two_methods_are_answered_with_400() -> None:
    """RFC 9449 figure 19."""
    twice = Denied(
        400, "invalid_request", "authorization_repeated", "Multiple methods used to include access token"
    )
    assert challenges(twice, None) == [
        b'Bearer error="invalid_request", error_description="Multiple methods used to include access token"',
        DPOP,
    ]


def test_rfc9449_d_rfc9449_i_a_missing_nonce_is_given_once_and_kept_by_nobody() -> None:
    """RFC 9449 sections 8.2 and 9."""
    fields = challenge_fields(Denied(401, "use_dpop_nonce", "nonce_missing", "no", "the-nonce"), "DPoP", ALGS)
    assert [value for name, value in fields if name == b"DPoP-Nonce"] == [b"the-nonce"]
    assert (b"Cache-Control", b"no-store") in fields
    assert fields[1][1].startswith(b'DPoP error="use_dpop_nonce", ')
    assert nonce_fields("n") == [(b"DPoP-Nonce", b"n"), (b"Cache-Control", b"no-store")]


def test_what_is_no_refusal_of_authority_challenges_nobody() -> None:
    assert challenges(store_unavailable(), "DPoP") == []


def test_a_description_cannot_leave_its_quotes() -> None:
    found = challenges(invalid_token("x", 'a"b\\c\r\nSet-Cookie: d\u2028'), "Bearer")
    assert found[0] == b'Bearer error="invalid_token", error_description="a?b?c??Set-Cookie: d?"'
