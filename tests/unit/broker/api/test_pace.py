"""appliance.broker.api.pace: some at once, then one in a while."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from appliance.broker.api import operations
from appliance.broker.api.pace import COUNTED_ONCE, Pace, times
from appliance.broker.api.routes import ROUTES
from appliance.broker.callers import executing


def test_some_at_once_then_one_each_time() -> None:
    clock = Clock()
    pace = Pace(2, 60, clock.seconds)
    assert [pace.take("a") for _ in range(3)] == [0, 0, 60]
    clock.advance(59.5)
    assert pace.take("a") == 1
    clock.advance(0.5)
    assert [pace.take("a") for _ in range(2)] == [0, 60]


def test_each_has_its_own_and_who_waits_long_has_all_again() -> None:
    clock = Clock()
    pace = Pace(1, 60, clock.seconds)
    assert (pace.take("a"), pace.take("b")) == (0, 0)
    clock.advance(1000)
    assert [pace.take("a") for _ in range(2)] == [0, 60]


def test_a_large_body_counts_as_many_and_the_largest_fits() -> None:
    clock = Clock()
    pace = Pace(5, 60, clock.seconds)
    assert [times(b"x" * size) for size in (0, COUNTED_ONCE - 1, COUNTED_ONCE)] == [1, 1, 2]
    assert pace.take("a", 3) == 0
    assert pace.take("a", 3) == 60
    assert pace.take("a", 2) == 0
    largest = times(b"x" * max(route.max_body for route in ROUTES))
    assert largest < min(operations.AT_ONCE, executing.AT_ONCE)


def test_who_is_gone_is_forgotten() -> None:
    pace = Pace(1, 60, Clock().seconds)
    assert [pace.take("a") for _ in range(2)] == [0, 60]
    pace.forget("a")
    pace.forget("b")
    assert pace.take("a") == 0


def test_who_asked_long_ago_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.broker.api.pace.KEPT", 4)
    clock = Clock()
    pace = Pace(1, 60, clock.seconds)
    for number in range(100):
        assert pace.take(str(number)) == 0
        clock.advance(20)
    assert len(pace._full_at) <= 8
    assert pace.take("99") > 0
