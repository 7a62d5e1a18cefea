from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.addresses import BLOCKED_V4, BLOCKED_V6, classify
from appliance.verify import cases_addresses
from tests.unit.verify.first_answer import attempts
from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane, rows_of


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_addresses", "C11", "C12", "C13")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_addresses")


@pytest.mark.parametrize("address", ["10.0.1.5", "169.254.169.254", "93.184.216.34"])
def test_a_wrapping_hides_the_address_and_is_never_public(address: str) -> None:
    found = [classify(wrapping) for wrapping in cases_addresses.wrappings(IPv4Address(address))]
    assert {str(kind.inner) for kind in found} == {address}
    assert not any(kind.is_public for kind in found)


def test_both_ends_of_every_range_are_tried() -> None:
    (case,) = [case for case in rows_of("cases_addresses") if case.id == "C12-explicit"]
    assert len(attempts(case)) == len(BLOCKED_V4) + len(BLOCKED_V6)
