"""The rows of section C: whole, unlike each other, and expecting what the gateway's own code says."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

import pytest

from appliance.addresses import BLOCKED_V4, BLOCKED_V6, classify
from appliance.verify import cases_hosts
from appliance.verify.case import Layer, Outcome
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.first_answer import attempts, disagreements

CASES = cases_hosts.rows(FakeWorld())
ATTACKS = {1, 2, 4, 5, 7, 8, 9, 11, 12, 13}


def test_every_attack_has_a_row_and_every_row_a_name_of_its_own() -> None:
    assert {case.attack for case in CASES} == {f"C{number}" for number in ATTACKS}
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        names = [(a["name"], a["way"]) for a in attempts(case)]
        assert len(set(names)) == len(names), case.id


def test_every_refused_row_has_a_canary_and_says_why() -> None:
    for case in CASES:
        assert bool(case.expect) is (Layer.GATEWAY in case.layers), case.id
        if case.outcome is Outcome.REFUSED:
            assert case.canaries, case.id


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert list(disagreements(CASES)) == []


@pytest.mark.parametrize("address", ["10.0.1.5", "169.254.169.254", "127.0.0.1"])
def test_a_disguise_is_what_the_c_library_takes_for_the_address(address: str) -> None:
    texts = cases_hosts.disguises(IPv4Address(address))
    assert len(set(texts)) == len(texts)
    read = [text for text in texts if _read(text) == address]
    assert len(read) >= 7
    assert address not in texts


def _read(text: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        return ""


@pytest.mark.parametrize("address", ["10.0.1.5", "169.254.169.254", "93.184.216.34"])
def test_a_wrapping_hides_the_address_and_is_never_public(address: str) -> None:
    found = [classify(wrapping) for wrapping in cases_hosts.wrappings(IPv4Address(address))]
    assert {str(kind.inner) for kind in found} == {address}
    assert not any(kind.is_public for kind in found)


def test_both_ends_of_every_range_are_tried() -> None:
    (case,) = [case for case in CASES if case.id == "C12-explicit"]
    assert len(attempts(case)) == len(BLOCKED_V4) + len(BLOCKED_V6)
