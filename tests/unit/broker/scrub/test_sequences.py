from __future__ import annotations

import pytest
import re2

from appliance.broker.scrub.sequences import (
    at_most,
    begun,
    compiled,
    literal,
    longest,
    one_of,
    quoted,
    run,
    which_of,
    whole,
)

PARTS = (
    *literal(b"a."),
    one_of(literal(b"xy"), literal(b"z")),
    run(b"[0-9]", 3),
    at_most(b"[A-Z]", 2),
    *literal(b"!"),
)


def test_the_whole_is_matched_and_nothing_else() -> None:
    expression = compiled(whole(PARTS))
    for text in (b"a.xy123!", b"a.z000AB!"):
        assert expression.fullmatch(text)
    for text in (b"aXxy123!", b"a.xy12!", b"a.x123!", b"a.z000ABC!", b""):
        assert not expression.fullmatch(text)
    assert longest(PARTS) == 10


def test_every_proper_beginning_is_a_beginning() -> None:
    expression = compiled(begun(PARTS) + rb"\z")
    for text in (b"a.xy123AB!", b"a.z123!"):
        for size in range(len(text)):
            assert expression.match(text[:size]), text[:size]
        assert not expression.match(text)
    assert not expression.match(b"b")
    assert not expression.match(b"a.xz")


def test_a_choice_that_is_the_beginning_of_another_may_go_on() -> None:
    expression = compiled(begun((one_of(literal(b"a"), literal(b"abc")),)) + rb"\z")
    assert expression.fullmatch(b"a")
    assert expression.fullmatch(b"ab")
    assert not expression.match(b"abc")


def test_what_follows_the_whole_belongs_to_its_beginnings() -> None:
    expression = compiled(begun(literal(b"ab"), b"(?s:.*)") + rb"\z")
    found = expression.search(b"xxab\n\xff!")
    assert found
    assert found.start() == 2


def test_octets_mean_themselves() -> None:
    every = bytes(range(256))
    assert compiled(quoted(every)).fullmatch(every)


def test_what_is_no_expression_is_refused_without_a_word_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not an expression") as caught:
        compiled(b"(swordfish")
    assert "swordfish" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert capfd.readouterr() == ("", "")


def test_no_expression_stays_in_a_cache() -> None:
    cached = re2._Regexp._make
    before = cached.cache_info()
    compiled(b"swordfish")
    assert cached.cache_info() == before


def test_of_several_expressions_those_that_match_are_told() -> None:
    which = which_of([b"ab", b"a[a-z]c", b"b"])
    assert sorted(which(b"abc")) == [0, 1]
    assert which(b"xab") == []
    assert which(b"b\xff") == [2]
    with pytest.raises(ValueError, match="not expressions") as caught:
        which_of([b"(swordfish"])
    assert "swordfish" not in str(caught.value)
