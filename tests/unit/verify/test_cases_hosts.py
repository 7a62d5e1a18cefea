"""The rows of section C: whole, unlike each other, and expecting what the gateway's own code says."""

from __future__ import annotations

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
