"""appliance.broker.dpop.compact: one proof, one spelling."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.denied import Denied
from appliance.broker.dpop.compact import (
    MAX_PROOF,
    Compact,
    decode_base64url,
    encode_base64url,
    read_compact,
)


def b64(text: str | bytes) -> str:
    octets = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def reason(text: str) -> str:
    with pytest.raises(Denied) as caught:
        read_compact(text)
    assert (caught.value.status, caught.value.error) == (401, "invalid_dpop_proof")
    assert len(text) < 12 or text not in str(caught.value)
    return caught.value.reason


def test_three_parts_are_taken_apart() -> None:
    text = ".".join(map(b64, ('{"a":1}', '{"b":[{"c":null}]}', "signature")))
    assert read_compact(text) == Compact(
        {"a": 1}, {"b": [{"c": None}]}, text.rsplit(".", 1)[0].encode(), b"signature"
    )


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a", "a.b", "e30.e30", "e30.e30.e30.e30", ".e30.AA", "e30..AA", "e30.e30.AA ", " e30.e30.AA", "e30.e30.AA\n",
     "e30.e30.AA==", "e30=.e30.AA", "e30.e30.A", "e30.e30.AB", "e31.e30.AA", "e30.e30.A+", "e30.e30.A/", "e30.e30.Ä", "e30.e30.AA,e30.e30.AA",
     "e30. e30.AA", '{"a":1}', "e30.e30.AA.AA.AA", "\ud800.e30.AA", "e30\x00.e30.AA"],
)  # fmt: skip
def test_rfc9449_2_other_forms_are_no_proof(text: str) -> None:
    assert reason(text) == "proof_malformed"


@pytest.mark.parametrize(
    "body",
    ["", " ", "{", "{}x", "{}{}", "[]", "null", "1", '"x"', "[{}]", '{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"x":{"b":1,"b":2}}',
     '{"x":[{"b":1,"b":2}]}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":1e999}', '{"a":"\\ud800"}', '{"\\udfff":1}',
     '{"a":\ud800}', "{'a':1}", '{"a":01}', '{"a":1,}', '\ufeff{"a":1}', '{"a":"\n"}', '{"a":' + "9" * 4400 + "}", '{"a":' * 1000 + "1" + "}" * 1000],
)  # fmt: skip
def test_rfc9449_2_each_part_is_one_json_object_that_has_each_member_once(body: str) -> None:
    assert reason(f"{b64(body)}.e30.AA").startswith("proof_")
    assert reason(f"e30.{b64(body)}.AA").startswith("proof_")


def test_invalid_utf_8_is_no_json() -> None:
    for octets in (b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}', "{}".encode("utf-16")):
        assert reason(f"{b64(octets)}.e30.AA") == "proof_malformed"


def test_deep_nesting_is_refused_not_raised() -> None:
    assert reason(f"{b64('[' * 5000)}.e30.AA") == "proof_malformed"


def test_a_proof_has_a_greatest_size() -> None:
    def sized(size: int) -> str:
        return f"e30.e30.{'A' * (size - 8)}"

    assert MAX_PROOF % 4 == 0
    assert read_compact(sized(MAX_PROOF)).header == {}
    assert reason(sized(MAX_PROOF + 1)) == "proof_too_large"
    assert reason("." * 10_000_000) == "proof_too_large"


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_base64url_goes_both_ways(octets: bytes) -> None:
    text = encode_base64url(octets)
    assert decode_base64url(text) == octets
    assert "=" not in text


@settings(deadline=None)
@given(st.text("ABab01-_+/= \n", max_size=12))
def test_octets_have_one_spelling(text: str) -> None:
    try:
        octets = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(octets) == text


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("eyJ0.-_AQ{}\"'")))
def test_any_text_is_read_or_denied(text: str) -> None:
    with suppress(Denied):
        assert isinstance(read_compact(text), Compact)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_what_is_written_is_read(members: dict[str, int | str]) -> None:
    assert read_compact(f"{b64(json.dumps(members))}.e30.AA").header == members
