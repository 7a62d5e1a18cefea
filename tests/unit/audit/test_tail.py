"""appliance.audit.tail: what a crash leaves, and what no crash explains."""

from __future__ import annotations

import pytest

from appliance.audit.chain import Head
from appliance.audit.record import compose
from appliance.audit.tail import DamagedLog, is_mark_of, mark, read_tail
from tests.unit.audit.written import seal

FIRST, ONE = seal({"n": 1}, Head())
SECOND, TWO = seal({"n": 2}, ONE)


def test_an_empty_log_has_no_head() -> None:
    assert read_tail(b"").head is None


def test_a_whole_log_has_its_last_record_as_head_and_no_damage() -> None:
    tail = read_tail(FIRST + SECOND)
    assert (tail.head, tail.damage, tail.complete_but_unterminated) == (TWO, b"", False)


@pytest.mark.parametrize("length", range(1, len(SECOND) - 1))
def test_a_cut_line_is_damage_behind_the_last_good_record(length: int) -> None:
    tail = read_tail(FIRST + SECOND[:length])
    assert (tail.head, tail.damage) == (ONE, SECOND[:length])


def test_a_line_that_lacks_only_its_newline_is_whole() -> None:
    tail = read_tail(FIRST + SECOND[:-1])
    assert (tail.head, tail.damage, tail.complete_but_unterminated) == (TWO, b"", True)


def test_zeros_of_a_machine_crash_are_damage() -> None:
    assert read_tail(FIRST + bytes(4096)).damage == bytes(4096)


def test_a_log_of_nothing_but_damage_has_no_head() -> None:
    tail = read_tail(b"{half")
    assert (tail.head, tail.damage) == (None, b"{half")


def test_a_cut_mark_of_a_cut_line_is_still_a_crash() -> None:
    assert read_tail(FIRST + b"{half\n{half a mark").damage == b"{half\n{half a mark"


def test_many_broken_lines_are_no_crash() -> None:
    with pytest.raises(DamagedLog):
        read_tail(FIRST + b"x\n" * 10)


def test_a_mark_names_exactly_one_damage() -> None:
    composed = compose(mark(b"{half", "p.jsonl"), "p", 0.0)
    assert is_mark_of(composed, b"{half")
    assert not is_mark_of(composed, b"{hal")
