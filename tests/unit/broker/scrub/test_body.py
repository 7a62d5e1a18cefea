"""Compressed, large and chunk-split bodies are scrubbed as plain ones are (004-37, 004-39)."""

from __future__ import annotations

import base64
import gzip

import pytest

from appliance.broker.scrub.body import Body
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.scrubber import Scrubber
from tests.unit.broker.scrub.test_coding import CODED, CODERS, TEXT

SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCY"


def through(body: Body, data: bytes, size: int) -> bytes:
    return b"".join(body.feed(data[at : at + size]) for at in range(0, len(data), size)) + body.end()


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("size", [1, 3, 500, 1 << 20])
def test_004_37_004_39_a_secret_in_a_coded_body_cut_anywhere_is_found(name: str, size: int) -> None:
    value, encode = CODERS[name]
    rendered = [SECRET, SECRET.hex().encode(), base64.b64encode(b"me:" + SECRET)]
    for form in rendered:
        data = encode(b"before " + form + b" after")
        out = through(Scrubber([SECRET]).body([(b"Content-Encoding", value)]), data, size)
        assert out.startswith(b"before ")
        assert b"[scrubbed:secret]" in out
        assert form not in out
    assert through(Scrubber([SECRET]).body([]), SECRET, size) == b"[scrubbed:secret]"


@pytest.mark.parametrize("name", ["gzip", "zstd", "identity"])
def test_004_37_a_large_body_is_scrubbed_to_its_end(name: str) -> None:
    value, encode = CODERS[name]
    data = encode(TEXT * 300 + SECRET + b"!" + TEXT[:100] + SECRET)
    out = through(Scrubber([SECRET]).body([(b"content-encoding", value)]), data, 16384)
    assert out == TEXT * 300 + b"[scrubbed:secret]!" + TEXT[:100] + b"[scrubbed:secret]"


@pytest.mark.parametrize("name", CODED)
def test_004_37_of_a_damaged_body_nothing_follows_the_damage(name: str) -> None:
    value, encode = CODERS[name]
    data = encode(TEXT + SECRET)
    body = Scrubber([SECRET]).body([(b"Content-Encoding", value)])
    assert SECRET not in body.feed(data[:-5])
    with pytest.raises(ScrubFault):
        body.end()
    for call in (lambda: body.feed(data[-5:]), body.end):
        with pytest.raises(ScrubFault) as caught:
            call()
        assert caught.value.code == "scrub-failed"


def test_004_37_a_body_of_an_unknown_coding_is_not_begun() -> None:
    with pytest.raises(ScrubFault) as caught:
        Scrubber([SECRET]).body([(b"Content-Type", b"text/plain"), (b"Content-Encoding", b"snappy")])
    assert caught.value.code == "content-coding-unknown"


@pytest.mark.parametrize("held", [0, 4, 24, 25])
def test_004_37_what_is_there_as_a_whole_is_scrubbed_as_by_and_by(held: int) -> None:
    data = b"before " + SECRET + b" ghp_0123456789abcdefghij0123 " + SECRET[:held]
    by_and_by, at_once, later = (
        Scrubber([SECRET]).body([(b"Content-Encoding", b"identity")]) for _ in range(3)
    )
    expected = through(by_and_by, data, 5)
    assert expected.startswith(b"before [scrubbed:secret] [scrubbed:github-token] ")
    assert at_once.whole(data) == expected
    assert later.feed(data[:20]) + later.whole(data[20:]) == expected
    with pytest.raises(ScrubFault):
        at_once.whole(b"more")


@pytest.mark.parametrize("name", CODED)
def test_a_coded_body_is_never_decoded_as_a_whole(name: str) -> None:
    value, encode = CODERS[name]
    body = Scrubber([SECRET]).body([(b"Content-Encoding", value)])
    for call in (lambda: body.whole(encode(TEXT)), body.end):
        with pytest.raises(ScrubFault) as caught:
            call()
        assert caught.value.code == "scrub-failed"


def test_a_body_that_is_left_in_the_middle_of_its_pieces_is_over() -> None:
    body = Scrubber([SECRET]).body([(b"Content-Encoding", b"gzip")])
    pieces = body.pieces(gzip.compress(TEXT * 20))
    assert TEXT.startswith(next(pieces)[:20])
    with pytest.raises(ScrubFault):
        body.feed(b"def")


def test_004_37_an_unforeseen_failure_lets_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    body = Scrubber([SECRET]).body([(b"Content-Encoding", b"gzip")])
    monkeypatch.setattr(body._decoding, "decode", lambda _: 1 / 0)
    for _ in range(2):
        with pytest.raises(ScrubFault) as caught:
            body.feed(SECRET)
        assert caught.value.code == "scrub-failed"
