from __future__ import annotations

from appliance.broker.scrub.forms import pieces
from appliance.broker.scrub.thorough import HEAD, OneByOne, Thorough, Together


def thorough(*secrets: bytes) -> Thorough:
    return Thorough([piece.parts() for piece in pieces(secrets)])


LIVE = thorough(b"swordfish-7", b"swordfish-7-more")


def test_what_may_become_a_match_is_held_from_its_first_octet() -> None:
    text = b"swordfish-7"
    for size in range(1, HEAD):
        assert LIVE.held(b"any " + text[:size], 0) == 4
    for escape in (b"\\", b"\\u", b"\\u007", b"\\\\\\u00", b"%", b"%7", b"%257", b"&", b"&#x7", b"&#11"):
        assert LIVE.held(b"any s" + escape, 0) == 4, escape


def test_a_head_that_goes_on_otherwise_is_not_held() -> None:
    for text in (b"swordfish-8", b"a swordfish and", b"swordfi\\x", b"swordfish-7-more"):
        assert LIVE.held(text, 0) == len(text), text
    assert LIVE.held(b"swordfish and swordfish-7-mo", 0) == 14


def test_long_secrets_are_found_one_by_one_and_short_ones_together() -> None:
    assert isinstance(LIVE._exact, Together)
    assert isinstance(thorough(bytes(range(256)) * 3)._exact, OneByOne)


def test_one_by_one_is_as_together() -> None:
    one_by_one = OneByOne(LIVE._pieces, LIVE._heads)
    text = b"swordf sword%66ish-7-mor swordfish-7-more 73776f72646669 73776f7264666973682d37 c3dvcmRmaXNoLTctbW9yZQ swordfish"
    for size in range(len(text) + 1):
        for at in (0, 7, 30):
            assert one_by_one.first(text[:size], at) == LIVE._exact.first(text[:size], at), text[:size]
            assert one_by_one.held(text[:size], at) == LIVE._exact.held(text[:size], at), text[:size]
