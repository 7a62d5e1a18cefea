"""What a proxy adds to the slowest answers is what the direct way has not."""

from __future__ import annotations

import pytest

from tests.bench import waits
from tests.bench.courses import Course
from tests.bench.loads import Load

RATES = {"appliance": 900, "squid": 1000}


def course(*p99_ms: float, cpu_seconds: float = 0.0) -> Course:
    rounds = [Load(1000, 1.0, 0.5, p99) for p99 in p99_ms]
    return Course("1", rounds, [cpu_seconds] * len(rounds), [0.0] * len(rounds))


def test_the_direct_ways_p99_is_taken_from_both_medians() -> None:
    row = waits.row("work", RATES, course(3.0, 4.0, 90.0), course(2.0, 3.0, 50.0), course(1.0, 1.0, 1.0))
    assert row.ratio == pytest.approx((4.0 - 1.0) / (3.0 - 1.0))
    assert row.reached is False


def test_a_missed_goal_is_told_with_the_processor_time_of_both_at_that_pace() -> None:
    ours, peer, direct = course(3.0, cpu_seconds=0.2), course(2.0, cpu_seconds=0.1), course(1.0)
    row = waits.row("work", RATES, ours, peer, direct)
    assert (row.raw["ours_cpu_us_a_request"], row.raw["peer_cpu_us_a_request"]) == (200.0, 100.0)
    assert "200.0 us" in row.reason
    assert not waits.row("work", RATES, peer, ours, direct).reason


def test_what_cannot_be_told_apart_counts_as_equal() -> None:
    assert waits.row("work", RATES, course(1.04), course(1.01), course(1.0)).ratio == 1.0


def test_both_rates_are_told() -> None:
    raw = waits.row("work", RATES, course(3.0), course(2.0), course(1.0)).raw
    assert (raw["ours_asked_per_second"], raw["peer_asked_per_second"]) == (900, 1000)
