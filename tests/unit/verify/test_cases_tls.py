from __future__ import annotations

from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane

# What is refused here has nothing behind it that could be reached, or was to be reached.
WITHOUT_CANARY = {"D11-old-server", "D10-client-certificate"}


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_tls", "D10", "D11")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_tls", WITHOUT_CANARY)
