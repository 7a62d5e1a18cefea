from __future__ import annotations

from tests.unit.verify.sanity import assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_tools", "T1")
