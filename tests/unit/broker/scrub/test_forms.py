"""A live secret in every form in which it may come back (004-37)."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.scrub import forms
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.forms import pieces
from appliance.broker.scrub.patterns import BUILT_IN
from appliance.broker.scrub.rules import LiveRules
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.sequences import compiled, longest, whole
from appliance.broker.scrub.stream import marker

TEXT = 'wJalr/XUt+nFE"MI=K7&MD<E\\NG?b~\n x'
OCTETS = bytes(range(128, 160)) + b"%\\/+"


def each_percent(data: bytes, case: str) -> bytes:
    return b"".join(b"%%%b" % getattr(f"{octet:02x}", case)().encode() for octet in data)


def renderings(secret: bytes) -> dict[str, bytes]:
    found = {
        "raw": secret,
        "hex, lower": secret.hex().encode(),
        "hex, upper": secret.hex().upper().encode(),
        "hex, mixed": "".join(c.upper() if at % 3 else c for at, c in enumerate(secret.hex())).encode(),
        "percent, needed": urllib.parse.quote_from_bytes(secret).encode(),
        "percent, strict": urllib.parse.quote_from_bytes(secret, safe="").encode(),
        "percent, plus": urllib.parse.quote_plus(secret).encode(),
        "percent, all upper": each_percent(secret, "upper"),
        "percent, all lower": each_percent(secret, "lower"),
        "percent, twice": urllib.parse.quote_from_bytes(
            urllib.parse.quote_from_bytes(secret, safe="").encode(), safe=""
        ).encode(),
        "percent, thrice": each_percent(secret, "upper").replace(b"%", b"%2525"),
    }
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return found
    escaped = json.dumps(text)[1:-1]
    units = text.encode("utf-16-be").hex()
    every = "".join("\\u" + units[at : at + 4] for at in range(0, len(units), 4))
    return found | {
        "json": escaped.encode(),
        "json, utf-8": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "json, slashes": escaped.replace("/", "\\/").encode(),
        "json, every unit": every.encode(),
        "json, every unit, upper": every.upper().replace("\\U", "\\u").encode(),
        "json in json": json.dumps(json.dumps(text))[3:-3].encode(),
        "json in json in json": json.dumps(json.dumps(json.dumps(text)))[7:-7].encode(),
        "html": html.escape(text).encode(),
        "html, decimal": "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text).encode(),
        "html, hex": "".join(c if c.isalnum() else f"&#x{ord(c):x};" for c in text).encode(),
    }


@pytest.mark.parametrize(
    "secret", [TEXT.encode(), OCTETS, "pässwörd€😀".encode()], ids=["text", "octets", "unicode"]
)
def test_004_37_every_rendering_of_a_secret_is_found_whole(secret: bytes) -> None:
    scrubber = Scrubber([secret])
    for name, rendered in renderings(secret).items():
        assert scrubber.octets(b"<" + rendered + b">") == b"<[scrubbed:secret]>", name


@pytest.mark.parametrize("secret", [b"ABCDEFGH", b"\xfb\xff\xbf\xfe\xff\xfb\xef\xbe!", TEXT.encode() * 3])
def test_004_37_base64_is_found_at_every_alignment_in_both_alphabets(secret: bytes) -> None:
    scrubber = Scrubber([secret])
    for before in range(6):
        for after in range(4):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                coded = encode(b"\x5a" * before + secret + b"\xa5" * after)
                for rendered in (
                    coded,
                    coded.rstrip(b"="),
                    coded.replace(b"/", b"\\/"),
                    coded.replace(b"+", b"%2B"),
                ):
                    scrubbed = scrubber.octets(b"<" + rendered + b">")
                    assert b"[scrubbed:secret]" in scrubbed
                    left = scrubbed.replace(b"[scrubbed:secret]", b"").strip(b"<>=")
                    # A character at each end that a neighbour has a part in, and the neighbours' own.
                    assert len(left) <= -(-before * 4 // 3) + -(-after * 4 // 3) + 2, (before, after)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=8, max_size=80).map(str.encode) | st.binary(min_size=8, max_size=80), st.data())
def test_004_37_any_mixture_of_renderings_is_found(secret: bytes, data: st.DataObject) -> None:
    if secret.isascii() and (
        b"[" in secret or b"]" in secret or any(secret in marker(each.name) for each in BUILT_IN)
    ):
        return  # a marker's own octets
    try:
        units = [character.encode() for character in secret.decode()]
    except UnicodeDecodeError:
        units = [bytes((octet,)) for octet in secret]
    mixed = b"".join(
        data.draw(st.sampled_from([unit, each_percent(unit, "upper"), each_percent(unit, "lower")]))
        for unit in units
    )
    scrubbed = Scrubber([secret]).octets(mixed)
    assert not scrubbed.replace(b"[scrubbed:secret]", b"")


def test_004_37_part_of_a_long_secret_is_found() -> None:
    secret = base64.b64encode(bytes(range(256)) * 4)
    scrubber = Scrubber([secret])
    assert scrubber.octets(secret) == b"[scrubbed:secret]"
    assert b"[scrubbed:secret]" in scrubber.octets(secret[100:300])
    assert scrubber.octets(base64.b64encode(secret)).strip(b"=") == b"[scrubbed:secret]"


def test_no_piece_is_longer_than_is_said_and_none_is_tiny() -> None:
    for size in (8, 63, 64, 65, 129, 1000, forms.LONGEST):
        secret = ("k" * size).encode()
        found = pieces([secret])
        assert len(found) <= 5 * forms.MOST_PIECES
        for piece in found:
            assert 8 <= len(piece.units) <= max(forms.PIECE, 2 * forms.LONGEST // forms.MOST_PIECES)
            assert not compiled(whole(piece.parts())).match(b"")
    assert LiveRules(pieces([b"k" * 1000])).window < 64 * 13
    assert longest(pieces(["😀😀".encode() * 64])[0].parts()) <= 64 * 28


@pytest.mark.parametrize("secret", [b"", b"1234567"])
def test_a_secret_that_is_too_short_to_be_told_apart_is_refused(secret: bytes) -> None:
    with pytest.raises(ScrubFault) as caught:
        Scrubber([b"long enough", secret])
    assert caught.value.code == "scrub-secret-short"
    assert "1234567" not in str(caught.value)


def test_more_than_can_be_searched_for_is_refused() -> None:
    pieces([b"x" * forms.LONGEST])
    many = [bytes((97 + number,)) * forms.LONGEST for number in range(5)]
    for secrets in ([b"x" * (forms.LONGEST + 1)], many):
        with pytest.raises(ScrubFault) as caught:
            pieces(secrets)
        assert caught.value.code == "scrub-secret-long"


def test_a_secret_that_is_part_of_a_marker_is_refused() -> None:
    with pytest.raises(ScrubFault) as caught:
        Scrubber([b"scrubbed"])
    assert caught.value.code == "scrub-secret-plain"


def test_resembling_text_stays() -> None:
    scrubber = Scrubber([b"swordfish-7"])
    for text in (
        b"swordfish",
        b"swordfish-8",
        b"Swordfish-7",
        b"%73wordfish-",
        b"c3dvcmRmaXNo",
        b"73776F726466697368",
    ):
        assert scrubber.octets(text) == text
