from __future__ import annotations

from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_connect", "D1", "D2", "D5", "D8", "D14")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_connect")
