from __future__ import annotations

from tests.unit.verify.sanity import assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_taken", "A4", "A6", "A7", "A9", "A12", "A19", "B1", "C12", "C13")
