from __future__ import annotations

from appliance.verify import cases_limits
from tests.unit.verify.sanity import assert_errands_are_known, assert_making_rows_does_nothing, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_limits", "F1", "F3", "F4", "F7")


def test_an_attack_without_a_row_says_why() -> None:
    assert set(cases_limits.UNROWED) == {"F5", "F8"}


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_limits")


def test_a_command_is_an_errand_that_the_client_knows() -> None:
    assert_errands_are_known("cases_limits")
