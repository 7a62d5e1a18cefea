from __future__ import annotations

from appliance.verify.smuggling import REFUSALS
from tests.unit.verify.first_answer import attempts
from tests.unit.verify.sanity import assert_attempts_are_sane, assert_sane, rows_of


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_framing", "E1", "E2", "E3", "E5", "E6", "E7", "E10", "E12", "E13", "E19", "E20")


def test_what_is_expected_is_what_the_gateway_says() -> None:
    assert_attempts_are_sane("cases_framing")


def test_every_byte_string_of_the_table_is_sent_by_every_way() -> None:
    sent = [
        a for case in rows_of("cases_framing") if "-bytes" in case.id and case.expect for a in attempts(case)
    ]
    table = [row for row in REFUSALS if row.attack not in {"C", "C2", "C7"}]
    assert len(sent) == 4 * len(table)
