from __future__ import annotations

from tests.unit.verify.sanity import assert_errands_are_known, assert_making_rows_does_nothing, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_answers", "B6", "B7", "B11", "B12", "B13", "B16")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_answers")


def test_a_command_is_an_errand_that_the_client_knows() -> None:
    assert_errands_are_known("cases_answers")
