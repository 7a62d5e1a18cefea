from __future__ import annotations

from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane

# What is refused here has nothing behind it that could be reached.
WITHOUT_CANARY = {"D12-documents", "D12-key"}


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_server_names", "D3", "D4", "D6", "D12")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_server_names", WITHOUT_CANARY)
