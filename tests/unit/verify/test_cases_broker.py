from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.verify.cases_broker import rows
from tests.unit.verify.fake_world import FakeWorld
from tests.unit.verify.sanity import assert_making_rows_does_nothing, assert_sane, rows_of


def test_every_attack_has_a_row_that_can_fail() -> None:
    assert_sane("cases_broker", "H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9")


def test_making_rows_does_nothing() -> None:
    assert_making_rows_does_nothing("cases_broker")


def test_where_there_is_no_account_there_is_no_row() -> None:
    world: Any = FakeWorld()
    world.targets = replace(world.targets, accounts=None)
    assert rows(world) == []


def test_no_command_holds_a_secret() -> None:
    world = FakeWorld()
    accounts = world.targets.accounts
    assert accounts is not None
    for case in rows_of("cases_broker"):
        if not callable(case.stimulus):
            for account in (accounts.mirror, accounts.chat, accounts.theirs):
                assert not any(account.secret in word for word in case.stimulus), case.id
