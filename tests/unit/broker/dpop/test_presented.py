"""appliance.broker.dpop.presented: one token under one scheme, one proof."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.denied import Denied
from appliance.broker.dpop.presented import MAX_TOKEN, Presented, one_proof, read_presented, read_proofs
from tests.vectors import dpop as rfc

TOKEN = rfc.TOKEN.encode()


def denied(*fields: tuple[bytes, bytes]) -> tuple[int, str, str]:
    with pytest.raises(Denied) as caught:
        read_presented(fields)
    return caught.value.status, caught.value.error, caught.value.reason


def test_a_token_with_its_proof() -> None:
    fields = [(b"Host", b"x"), (b"Authorization", b"DPoP " + TOKEN), (b"DPoP", rfc.FOR_TOKEN.encode())]
    assert read_presented(fields) == Presented("DPoP", rfc.TOKEN, (rfc.FOR_TOKEN,))
    assert read_presented([(b"AUTHORIZATION", b"bearer  " + TOKEN)]) == Presented("Bearer", rfc.TOKEN)


@pytest.mark.parametrize("scheme", [b"dpop", b"DPOP", b"DPoP", b"dPoP"])
def test_schemes_are_read_without_regard_to_case(scheme: bytes) -> None:
    assert read_presented([(b"authorization", scheme + b" x")]).scheme == "DPoP"


def test_000_11_nothing_presented_is_no_error_but_no_access() -> None:
    assert denied() == (401, "", "authorization_missing")
    assert denied((b"dpop", b"x")) == (401, "", "authorization_missing")
    assert denied((b"authorization", b"Basic eDp5")) == (401, "", "authorization_scheme")


@pytest.mark.parametrize("other", [b"Bearer y", b"DPoP y", b"Bearer x", b"", b"Basic x"])
def test_rfc9449_b_two_methods_are_a_bad_request(other: bytes) -> None:
    """RFC 9449 section 7.2."""
    found = denied((b"authorization", b"DPoP x"), (b"Authorization", other))
    assert found == (400, "invalid_request", "authorization_repeated")


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"DPoP", b"Bearer", b"DPoP ", b" DPoP x", b"DPoP x ", b"DPoP x y", b"DPoP x, Bearer y", b"DPoP x,y", b"DPoP\tx",
     b"DPoP x\x00", b'DPoP "x"', b"DPoP x=y", b"DPoP \xc3\xa4", b"DPoP ==", b"DPoP " + b"x" * MAX_TOKEN, b"Bearer\xa0x"],
)  # fmt: skip
def test_authorization_is_a_scheme_and_one_token(value: bytes) -> None:
    assert denied((b"authorization", value))[:2] == (400, "invalid_request")


@pytest.mark.parametrize("value", [b"DPoP x", b"dpop x", b" DPoP x", b"DPOP"])
def test_rfc9449_a_dpop_is_never_for_a_proxy(value: bytes) -> None:
    """RFC 9449 section 7.1."""
    fields = ((b"authorization", b"Bearer x"), (b"Proxy-Authorization", value))
    assert denied(*fields) == (400, "invalid_request", "dpop_for_proxy")
    assert denied(fields[1]) == (400, "invalid_request", "dpop_for_proxy")


def test_another_proxy_authorization_is_not_our_matter() -> None:
    fields = [(b"authorization", b"Bearer x"), (b"proxy-authorization", b"Basic x")]
    assert read_presented(fields) == Presented("Bearer", "x")


def test_rfc9449_1_000_11_exactly_one_proof() -> None:
    """RFC 9449 section 4.3, check 1: also two that are the same."""
    assert one_proof(("x",)) == "x"
    for proofs, reason in (
        ((), "proof_missing"),
        (("x", "x"), "proof_repeated"),
        (("x", "y"), "proof_repeated"),
    ):
        with pytest.raises(Denied) as caught:
            one_proof(proofs)
        assert (caught.value.status, caught.value.error) == (401, "invalid_dpop_proof")
        assert caught.value.reason == reason


def test_every_dpop_field_counts() -> None:
    assert read_proofs([(b"DPoP", b"x"), (b"X-DPoP", b"z"), (b"dpop", b"\xff")]) == ("x", "\xff")


def test_neither_token_nor_proof_shows_in_a_repr() -> None:
    shown = repr(Presented("DPoP", rfc.TOKEN, (rfc.FOR_TOKEN,)))
    assert rfc.TOKEN not in shown
    assert rfc.FOR_TOKEN not in shown


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"dpop", b"proxy-authorization"]), st.binary(max_size=20)
        )
    )
)
def test_any_fields_are_read_or_denied(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        found = read_presented(fields)
    except Denied:
        return
    assert len([name for name, _ in fields if name == b"authorization"]) == 1
    assert found.token
