"""Integration definitions."""

from __future__ import annotations

from appliance.policy.definition import Slot
from appliance.policy.slot import Slot as Same


def test_the_slot_is_a_part_of_the_definition() -> None:
    assert Slot is Same
