from __future__ import annotations

from appliance.broker.scrub.forms import pieces, possible_ends
from appliance.broker.scrub.patterns import BUILT_IN, WITHIN
from appliance.broker.scrub.rules import SECRET, LiveRules, PatternRules, pattern_rules
from tests.unit.broker.scrub.test_patterns import TRUE

SECRETS = [b"swordfish-7", b"swordfish-7-more"]
LIVE = LiveRules(pieces(SECRETS))
KNOWN = PatternRules(BUILT_IN)


def test_of_two_that_begin_together_the_longest_is_found() -> None:
    text = b"a swordfish-7-more"
    found = LIVE.first(text, 0)
    assert found is not None
    assert found[:4] == (2, 2, len(text), SECRET)
    assert LIVE.first(b"a swordfish-7-mor", 0)[2] == 13  # type: ignore[index]


def test_a_head_alone_is_no_match() -> None:
    assert LIVE.first(b"swordfish", 0) is None
    assert LIVE.first(b"nothing", 0) is None


def test_what_may_become_a_match_is_held_from_its_first_octet() -> None:
    text = b"swordfish-7"
    for size in range(1, len(text)):
        assert LIVE.held(b"any " + text[:size], 0) == 4
    assert LIVE.held(b"any swordfish-", 0) == 4
    assert LIVE.held(b"any other", 0) == 9
    for escape in (b"\\", b"\\u", b"\\u007", b"\\\\\\u00", b"%", b"%7", b"%257", b"&", b"&#x7", b"&#11"):
        assert LIVE.held(b"any s" + escape, 0) == 4, escape


def test_a_head_that_goes_on_otherwise_is_not_held() -> None:
    for text in (b"swordfish-8", b"a swordfish and", b"swordfi\\x", b"swordfish-7-more"):
        assert LIVE.held(text, 0) == len(text), text
    assert LIVE.held(b"swordfish and swordfish-7-mo", 0) == 14


def test_nothing_is_held_for_longer_than_a_match_may_be() -> None:
    text = b"swordfish" + b"." * 2 * LIVE.window
    assert LIVE.held(text, 0) == len(text)


def test_a_match_of_a_pattern_tells_its_name_and_what_comes_before_it() -> None:
    text = b'"\\nsk-0123456789abcdef0123"'
    found = KNOWN.first(text, 0)
    assert found is not None
    assert (text[found.begin : found.start], text[found.start : found.end]) == (
        b"\\n",
        b"sk-0123456789abcdef0123",
    )
    assert found.name == "llm-key"


def test_the_octet_before_has_its_say() -> None:
    text = b"task-0123456789abcdef0123"
    assert KNOWN.first(text, 2) is None
    assert KNOWN.first(text[2:], 0) is not None


def test_the_beginning_of_a_pattern_is_held_and_an_ordinary_end_is_not() -> None:
    for text, held in (
        (b"a gh", 2),
        (b"a ghp_0123", 2),
        (b"a eyJhbGciOi", 2),
        (b"a sk-learn", 2),
        (b"a sk-learn ", 11),
    ):
        assert KNOWN.held(text, 0) == held, text
    assert KNOWN.held(b'data: {"a":1}\n\n', 0) == 15


def test_patterns_are_compiled_once() -> None:
    assert pattern_rules(BUILT_IN) is pattern_rules(BUILT_IN)


def test_behind_an_octet_of_none_nothing_has_begun() -> None:
    for octet in set(range(256)) - WITHIN:
        for token in (token for tokens in TRUE.values() for token in tokens):
            text = token[:9].encode() + bytes((octet,))
            assert KNOWN._begun.search(text, 0).start() == len(text), text  # type: ignore[union-attr]


def test_behind_an_octet_of_no_form_nothing_is_held() -> None:
    for octet in set(range(256)) - possible_ends(pieces(SECRETS)):
        assert LIVE._thorough.held(b"swordf" + bytes((octet,)), 0) == 7
    assert {*b"}]\n\r,:\"'> "}.isdisjoint(possible_ends(pieces(SECRETS)))
