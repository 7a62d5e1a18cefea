from __future__ import annotations

from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_requests", "E4", "E5", "E6", "E7", "E9", "E10")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_requests")
