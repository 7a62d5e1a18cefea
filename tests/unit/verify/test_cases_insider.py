from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.verify.case import Layer, Outcome
from appliance.verify.cases_insider import rows
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.sanity import assert_making_rows_does_nothing, assert_sane, rows_of


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_insider", "H10")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_insider")


def test_each_refusal_forbids_what_the_text_says_when_it_was_none() -> None:
    for case in rows_of("cases_insider"):
        assert case.layers == {Layer.KERNEL}
        assert case.outcome is Outcome.REACHES or "REACHED" in case.forbid, case.id


def test_where_there_is_no_account_there_is_no_row() -> None:
    world: Any = FakeWorld()
    world.targets = replace(world.targets, accounts=None)
    assert rows(world) == []
