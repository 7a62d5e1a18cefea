"""The rows of section E: whole, unlike each other, and expecting what the gateway's own code says."""

from __future__ import annotations

from appliance.verify import cases_http
from appliance.verify.case import Layer, Outcome
from appliance.verify.smuggling import REFUSALS
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.first_answer import attempts, disagreements

CASES = cases_http.rows(FakeWorld())
ATTACKS = {1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 14, 17, 18, 19, 20}


def test_every_attack_has_a_row_and_every_row_a_name_of_its_own() -> None:
    assert {case.attack for case in CASES} == {f"E{number}" for number in ATTACKS}
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


def test_every_byte_string_of_the_table_is_sent_by_every_way() -> None:
    sent = [a for case in CASES if "-bytes" in case.id and case.expect for a in attempts(case)]
    table = [row for row in REFUSALS if row.attack not in {"C", "C2", "C7"}]
    assert len(sent) == 4 * len(table)
