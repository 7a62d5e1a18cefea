"""Any cut of the octets gives the same, nothing gets out, and nothing waits that need not."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.stream import Sieve, Stream, marker
from tests.fuzz.targets.scrubbed_stream import SECRETS, SEEDS, TOKENS, naive
from tests.unit.broker.scrub.test_forms import renderings
from tests.unit.broker.scrub.test_patterns import TRUE

SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
ALL = [
    *renderings(SECRET).values(),
    base64.b64encode(b"u:" + SECRET),
    *(token.encode() for token in TRUE["llm-key"]),
]


def cut(scrubber: Scrubber, data: bytes, places: list[int]) -> list[bytes]:
    stream, out, at = scrubber.stream(), [], 0
    for place in [*places, len(data)]:
        out.append(stream.feed(data[at:place]))
        at = place
    return [*out, stream.end()]


@pytest.mark.parametrize("rendered", ALL)
def test_004_39_a_secret_split_at_any_octet_is_found(rendered: bytes) -> None:
    scrubber = Scrubber([SECRET])
    data = b'data: {"delta": "' + rendered + b'"}\n\n'
    expected = scrubber.octets(data)
    assert b"[scrubbed:" in expected
    for place in range(len(data)):
        assert b"".join(cut(scrubber, data, [place])) == expected
    assert b"".join(cut(scrubber, data, list(range(len(data))))) == expected


@pytest.mark.parametrize("name", TRUE)
def test_004_39_a_credential_split_at_any_octet_is_found(name: str) -> None:
    scrubber = Scrubber()
    data = b'{"a":"' + min(TRUE[name], key=len).encode() + b'","b":1}'
    for place in range(len(data)):
        assert b"".join(cut(scrubber, data, [place])) == b'{"a":"[scrubbed:%b]","b":1}' % name.encode()
    assert b"".join(cut(scrubber, data, list(range(len(data))))) == scrubber.octets(data)


MADE_OF = st.one_of(
    st.sampled_from([*TOKENS, *(seed[1:] for seed in SEEDS)]),
    st.binary(max_size=12),
    st.text("aAbeyJ.-_ \\%u2507/+=\n\"'s:", max_size=16).map(str.encode),
    st.sampled_from(SECRETS).flatmap(lambda secret: st.sampled_from(list(renderings(secret).values()))),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MADE_OF, max_size=8).map(b"".join), st.data())
def test_004_37_004_39_any_cut_gives_what_the_plain_reference_gives(text: bytes, data: st.DataObject) -> None:
    scrubber = Scrubber(SECRETS)
    expected = naive(text, SECRETS)
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    assert b"".join(cut(scrubber, text, places)) == expected
    assert scrubber.octets(text) == scrubber.stream().whole(text) == expected
    for secret in SECRETS:
        for rendered in renderings(secret).values():
            assert rendered not in expected


def test_004_39_an_event_goes_on_at_once() -> None:
    stream = Scrubber([SECRET]).stream()
    for event in (
        b'data: {"n": 1}\n\n',
        b": ping\n\n",
        b"data: sk-learn\r\n\r\n",
        b'data: "wJal eyJhbGciOi ghp_"\n\n',
    ):
        assert stream.feed(event) == event
    assert stream.feed(b"data: wJalrXUtnFEMI and more\n\n") == b"data: wJalrXUtnFEMI and more\n\n"
    assert stream.feed(b"data: " + SECRET + b"\n\n") == b"data: [scrubbed:secret]\n\n"
    assert stream.feed(b"data: AKIAIOSFODNN7EXAMPLE\n\n") == b"data: [scrubbed:aws-access-key-id]\n\n"


def test_004_39_only_what_may_be_a_beginning_waits_and_it_is_bounded() -> None:
    scrubber = Scrubber([SECRET])
    stream = scrubber.stream()
    assert stream.feed(b"text wJalr") == b"text "
    assert stream.feed(b"XUt") == b""
    assert stream.feed(b"!") == b"wJalrXUt!"
    assert scrubber.longest_held < 1024


@pytest.mark.parametrize(
    "text", [b"eyJhbGciOiJIUzI1NiJ9" + b"a" * 200_000, b"-----BEGIN RSA PRIVATE KEY-----" + b"A\n" * 100_000]
)
def test_004_39_a_token_without_end_is_replaced_at_once_and_never_kept(text: bytes) -> None:
    sieve = Sieve(Scrubber()._rules[-1])
    out = b""
    for at in range(0, len(text), 1000):
        out += sieve.feed(text[at : at + 1000])
        assert out.startswith(b"[scrubbed:")
        assert len(sieve._kept) < 200
    assert (out + sieve.feed(b" then!")).endswith(b"] then!") or b"PRIVATE" in text
    assert len(out) < 40


def test_004_37_004_39_a_long_key_is_found_however_it_is_cut() -> None:
    key = base64.encodebytes(bytes(number * 7 % 251 for number in range(2400)))
    scrubber = Scrubber([key])
    for rendered in (key, json.dumps(key.decode()).encode().strip(b'"'), key.hex().encode()):
        for size in (100, 1000, 1 << 20):
            places = list(range(0, len(rendered) + 2, size))[1:]
            assert b"".join(cut(scrubber, b"<" + rendered + b">", places)) == b"<[scrubbed:secret]>"


def test_secrets_side_by_side_have_one_marker() -> None:
    scrubber = Scrubber([SECRET])
    assert scrubber.octets(SECRET * 3 + b" " + SECRET) == b"[scrubbed:secret] [scrubbed:secret]"


def test_what_is_held_at_the_end_goes_on_when_it_came_to_nothing() -> None:
    stream = Scrubber([SECRET]).stream()
    assert stream.feed(b"a wJalrXUtnFEMI") == b"a "
    assert stream.end() == b"wJalrXUtnFEMI"


def test_a_marker_fits_into_json_and_into_a_field() -> None:
    assert json.loads(b'"' + marker("secret") + b'"') == "[scrubbed:secret]"


@pytest.mark.parametrize(
    "text", [b"task-0123456789abcdef0123456789", b"a_b-disk-0123456789abcdef0123456789 x"]
)
def test_004_36_004_39_no_cut_makes_a_word_a_credential(text: bytes) -> None:
    for place in range(len(text)):
        assert b"".join(cut(Scrubber(), text, [place])) == text
    assert b"".join(cut(Scrubber(), text, list(range(len(text))))) == text


def test_004_39_what_follows_a_match_does_not_wait_for_a_beginning_within_it() -> None:
    stream = Scrubber([b"0123abcdefg", b"abcdefghijk"]).stream()
    assert stream.feed(b"0123abcdefghij") == b"[scrubbed:secret]hij"


class Broken:
    """Fails once."""

    context = window = 0
    failed = False

    def held(self, text: bytes, at: int) -> int:
        if self.failed:
            return len(text)
        self.failed = True
        raise RuntimeError(f"at {text!r}")

    def first(self, text: bytes, at: int) -> None:
        return None


def test_004_37_a_failure_of_the_scrubber_lets_nothing_out() -> None:
    stream = Stream([Broken()])  # type: ignore[list-item]
    for call in (lambda: stream.feed(SECRET), lambda: stream.feed(b"more"), stream.end):
        with pytest.raises(ScrubFault) as caught:
            call()
        assert caught.value.code == "scrub-failed"
        assert caught.value.__cause__ is None
        assert SECRET.decode() not in str(caught.value)


def test_nothing_follows_the_end() -> None:
    stream = Scrubber().stream()
    assert stream.feed(b"a") + stream.end() == b"a"
    with pytest.raises(ScrubFault):
        stream.feed(b"b")
