from __future__ import annotations

from tests.unit.verify.sanity import assert_sane


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_neighbours", "A12", "A16", "A17", "A18", "A19", "A23", "A24", "A25", "A26")
