"""A glance is never surer than the expressions that know every notation (004-37, 004-39)."""

from __future__ import annotations

import time
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.broker.scrub.forms import Piece, pieces
from appliance.broker.scrub.glance import _ALIKE, FEW, MOST_READ, Glance, unescaped
from appliance.broker.scrub.rules import LiveRules
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.thorough import Thorough
from tests.fuzz.targets.scrubbed_stream import naive

TOKEN = b"sk-Zr8/41u0041+nQ25"
SECRETS = (
    TOKEN,
    b"aaaaaaaaab",
    b'u00"n/ +b25;',
    b"-----BEGIN KEY-----\nMIIE/pAI+B\nAAK=\n-----END KEY-----",
    b"41414141",
    b"2525252525252541",
    b"x" * 70 + b"\ny" * 40,
)


@lru_cache(maxsize=32)
def thorough(secret: bytes) -> Thorough:
    return Thorough([piece.parts() for piece in pieces([secret])])


def glance(secret: bytes) -> Glance:
    found = pieces([secret])
    return Glance(found)


def notations(unit: str) -> list[bytes]:
    octet = ord(unit)
    short = {'"': '"', "/": "/", "\n": "n"}.get(unit)
    named = {'"': "quot", "/": "sol", "+": "plus", "=": "equals"}.get(unit)
    return [
        unit.encode(),
        b"%%%02X" % octet,
        b"%%25%02x" % octet,
        b"%%2525%02x" % octet,
        b"\\u%04x" % octet,
        b"\\\\\\u%04X" % octet,
        b"&#%d;" % octet,
        b"&#x%x;" % octet,
        *([b"\\" + short.encode(), b"\\\\" + short.encode()] if short else []),
        *([b"&%b;" % named.encode()] if named else []),
        *([b"+"] if unit == " " else []),
    ]


@st.composite
def written(draw: st.DrawFn, piece: Piece) -> bytes:
    """A stretch of a piece, mostly from its beginning, each unit in a notation that may be its own."""
    units = piece.units if isinstance(piece.units, str) else piece.units.decode()
    begin = draw(st.sampled_from([0, 0, 0, 1, len(units) // 2]))
    end = draw(st.sampled_from([len(units), draw(st.integers(begin, len(units)))]))
    plain = draw(st.booleans())
    choices = (
        st.just(unit.encode()) if plain else st.sampled_from(notations(unit)) for unit in units[begin:end]
    )
    return b"".join(draw(choice) for choice in choices)


def texts(secret: bytes) -> st.SearchStrategy[bytes]:
    odds = st.sampled_from(
        [b"%", b"%2", b"%25", b"\\", b"\\\\", b"\\" * 9, b"\\u", b"\\u0", b"\\u00", b"&", b"&#", b"&#4", b"&am", b"u004",
         b"%3f", b"%41", b"&#65;", b"&#200;", b"%e9", b"\\n", b"\\/", b" ", b'","', b"}\n\n"]
    )  # fmt: skip
    some = st.one_of(st.sampled_from(pieces([secret])).flatmap(written), odds, st.binary(max_size=3))
    return st.lists(some, max_size=6).map(b"".join)


CASES = st.sampled_from(SECRETS).flatmap(lambda secret: st.tuples(st.just(secret), texts(secret)))


@settings(max_examples=400, deadline=None)
@given(CASES, st.integers(0, 20), st.integers(0, 12))
@example((b"41bcdefghij", b"%41bc%64efghij"), 0, 0)
@example((b"f\nabcdefgh", b"%3f\\nabcdefgh"), 0, 3)
def test_004_37_004_39_a_sure_glance_is_right(case: tuple[bytes, bytes], at: int, less: int) -> None:
    secret, text = case
    text = text[: max(0, len(text) - less)]
    at = min(at, len(text))
    exact, seen = thorough(secret), glance(secret)
    if seen.sure(text, at):
        assert exact.first(text, at) is None
    held = seen.held(text, at)
    assert held is None or held == exact.held(text, at)


@settings(max_examples=200, deadline=None)
@given(CASES, st.data())
def test_004_37_004_39_with_a_glance_the_same_comes_out_as_by_brute_force(
    case: tuple[bytes, bytes], data: st.DataObject
) -> None:
    secret, text = case
    stream, out, at = Scrubber([secret]).stream(), b"", 0
    for place in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6))):
        out += stream.feed(text[at:place])
        at = place
    assert out + stream.feed(text[at:]) + stream.end() == naive(text, (secret,))


@pytest.mark.parametrize("secret", SECRETS)
def test_ordinary_octets_leave_no_doubt(secret: bytes) -> None:
    seen = glance(secret)
    for text in (
        b'{"id": "chatcmpl-8a6f3c", "text": "The quick brown fox\\njumps \\"over\\" the dog\\n\\n", "url": "https:\\/\\/a"}',
        b"data: {}\n\n",
        b"caf\\u00e9 100% &amp; more &#39;%20%2F",
        b"",
    ):
        assert seen.sure(text, 0)
        assert seen.held(text, 0) is not None


def test_the_beginning_of_a_secret_is_held_without_a_doubt() -> None:
    seen = glance(TOKEN)
    for text, held in (
        (b"a sk-Z", 2),
        (b"a s", 2),
        (b"a sk-Za", 7),
        (b"a \\u00", 2),
        (b"a %", 2),
        (b"s&#1", 0),
        (b"a 736b", 2),
    ):
        assert seen.held(text, 0) == held, text


def test_there_is_doubt_where_a_half_or_a_begun_escape_is() -> None:
    seen = glance(TOKEN)
    for text in (TOKEN, TOKEN[:8], b"%73" + TOKEN[1:], b"s\\u006b-Zr8" + TOKEN[6:]):
        assert not seen.sure(text, 0), text
    for text in (TOKEN[:8], b"%73k", b"s\\u006b-", b"&#115;", b"%3f" * 9 + b"%73"):
        assert seen.held(text, 0) is None, text
    assert not thorough(TOKEN).held(b"s\\u006b-", 0)


@pytest.mark.parametrize(
    "secret", [b"pass%word", b"a&bcdefgh", b"back\\slash", "pässwörter".encode(), b"\xff" * 9]
)
def test_what_may_be_taken_for_an_escape_has_no_glance(secret: bytes) -> None:
    assert LiveRules(pieces([TOKEN, secret]))._glance is None
    assert LiveRules(pieces([TOKEN]))._glance is not None


def test_after_a_doubt_all_is_looked_at_thoroughly() -> None:
    rules = LiveRules(pieces([TOKEN]))
    assert rules.first(b"nothing", 0) is None
    assert "_thorough" not in vars(rules)
    assert rules.first(TOKEN[:8], 0) is None
    assert rules._glance is None
    assert rules.first(b"<" + TOKEN, 0) == (1, 1, 1 + len(TOKEN), "secret", None)


@pytest.mark.parametrize("secret", SECRETS)
def test_004_37_many_octets_are_looked_at_as_few_are(secret: bytes) -> None:
    few, many = glance(secret), glance(secret)
    assert many.sure(b"." * (FEW + 1), 0)
    units = pieces([secret])[0].units
    for text in (
        units,
        b"nothing",
        b"%20 nothing",
        secret.hex().upper().encode(),
        b"&#%d;" % secret[0] + secret[1:],
    ):
        assert isinstance(text, bytes)
        assert many.sure(text, 0) == few.sure(text, 0) == (b"nothing" in text), text
    assert "_doubtful" in vars(many)
    assert "_doubtful" not in vars(few)


def test_004_37_what_stands_for_the_same_unit_is_alike() -> None:
    for notation in {piece.notation for piece in pieces([TOKEN])}:
        assert notation.plain is not None
        for octet, standing in enumerate(notation.plain):
            assert {*standing.translate(_ALIKE)} == {*bytes((octet,)).translate(_ALIKE)}


def test_escapes_are_read_to_a_bound() -> None:
    seen, text = glance(TOKEN), b"%20" * 10_000
    sure = [seen.sure(text, 0) for _ in range(2 + MOST_READ // len(text))]
    assert sure[0]
    assert not sure[-1]
    assert seen.sure(b"no escapes", 0)


def test_each_escape_is_read_once() -> None:
    for text, said in (
        (b"%2541%41%252541%25", b"AAA%"),
        (b"\\u0041\\\\u0041\\/\\n", b"AA/\n"),
        (b"&#65;&#x41;&plus;&sol;", b"AA+/"),
        (b"%C3%A9\\u00e9&#233;&eacute;&amp;", b"%C3%A9\\u00e9&#233;&eacute;&amp;"),
    ):
        assert unescaped(text) == said


@pytest.mark.parametrize("text", [b"\\", b"%25", b"&#x", b"&", b"\\u00", b"%2", b"&#1"])
def test_time_grows_with_the_length_and_no_faster(text: bytes) -> None:
    def seconds(data: bytes) -> float:
        best = 9.0
        for _ in range(3):
            begun = time.process_time()
            seen = glance(TOKEN)
            seen.sure(data, 0)
            seen.held(data, 0)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(text * 16_000) < 16 * 4 * seconds(text * 1000) + 0.05
