from __future__ import annotations

from appliance.verify import cases_faults
from tests.unit.verify.sanity import assert_sane, rows_of


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_faults", "A20", "A21")


def test_whatever_breaks_something_for_others_says_so() -> None:
    rows = rows_of("cases_faults")
    assert [case.id for case in rows if not case.disruptive] == ["A21-first-packet"]
    compile(cases_faults.TRESPASS, "trespass", "exec")


def test_a_fault_that_is_not_mended_is_said() -> None:
    answers = iter([False, False, True])
    assert cases_faults._mended(lambda: next(answers)).startswith("mended after")
    assert cases_faults._mended(lambda: False) == "NOT MENDED"
