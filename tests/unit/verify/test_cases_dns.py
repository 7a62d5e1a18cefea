from __future__ import annotations

from tests.unit.verify.sanity import assert_errands_are_known, assert_making_rows_does_nothing, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_dns", "B1", "B2", "B3", "B4", "B8", "B9")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_dns")


def test_a_command_is_an_errand_that_the_client_knows() -> None:
    assert_errands_are_known("cases_dns")
