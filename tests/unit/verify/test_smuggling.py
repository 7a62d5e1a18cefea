"""The table of byte strings itself; what becomes of each is tested where it is read (`http1`, the fuzz seeds)."""

from __future__ import annotations

from appliance.verify.smuggling import REFUSALS, TAKEN


def test_every_row_is_there_once() -> None:
    names = [(row.attack, row.name) for row in REFUSALS] + [("", row.name) for row in TAKEN]
    assert len(set(names)) == len(names)


def test_every_row_speaks_of_the_host_that_the_battery_puts_a_real_one_for() -> None:
    without = [row.name for row in REFUSALS if b"ok.example" not in row.request.lower()]
    # What is refused before a host is read.
    assert len(without) < 60
    assert all(b"OK.example." in row.request or b"ok.example" in row.request for row in TAKEN)
