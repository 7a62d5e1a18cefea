"""The rows of section D: whole, unlike each other, and expecting what the gateway's own code says."""

from __future__ import annotations

from appliance.verify import cases_tls
from appliance.verify.case import Layer, Outcome
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.first_answer import attempts, disagreements

# What is refused here has nothing behind it that could be reached, or was to be reached.
WITHOUT_CANARY = {"D12-documents", "D12-key", "D11-old-server", "D10-client-certificate"}
CASES = cases_tls.rows(FakeWorld())
ATTACKS = {1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 14}


def test_every_attack_has_a_row_and_every_row_a_name_of_its_own() -> None:
    assert {case.attack for case in CASES} == {f"D{number}" for number in ATTACKS}
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        names = [(a["name"], a["way"]) for a in attempts(case)]
        assert len(set(names)) == len(names), case.id


def test_every_refused_row_has_a_canary_and_says_why() -> None:
    for case in CASES:
        assert bool(case.expect) is (Layer.GATEWAY in case.layers), case.id
        if case.outcome is Outcome.REFUSED:
            assert case.canaries or case.id in WITHOUT_CANARY, case.id


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert list(disagreements(CASES)) == []
