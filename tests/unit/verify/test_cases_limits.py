from __future__ import annotations

from tests.unit.verify.first_answer import disagreements
from tests.unit.verify.sanity import (
    assert_errands_are_known,
    assert_making_rows_does_nothing,
    assert_sane,
    rows_of,
)


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_limits", "F1", "F3", "F4", "F5", "F7", "F8")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    attempts = [case for case in rows_of("cases_limits") if case.id.startswith("F8-")]
    assert list(disagreements(attempts)) == []


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_limits")


def test_a_command_is_an_errand_that_the_client_knows() -> None:
    assert_errands_are_known("cases_limits")
