"""The sets of methods do not contradict each other."""

from __future__ import annotations

from appliance.policy.methods import METHODS, NEVER, READING, STATE_CHANGING


def test_trace_and_connect_can_never_be_written_e7() -> None:
    assert {"TRACE", "CONNECT"} == NEVER
    assert not NEVER & set(METHODS)


def test_reading_changes_nothing() -> None:
    assert not READING & STATE_CHANGING
    assert READING | STATE_CHANGING | {"OPTIONS"} == set(METHODS)
