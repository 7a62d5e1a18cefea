"""Rows that come of rounds."""

from __future__ import annotations

import pytest

from tests.bench import waits, workers
from tests.bench.courses import Course, compared
from tests.bench.loads import Load


def course(rates: list[float], cpu: float = 0.0, p99: float = 1.0) -> Course:
    loads = [Load(int(rate * 2), 2.0, 0.5, p99, int(rate * 2e6)) for rate in rates]
    return Course("1.0", loads, [cpu] * len(loads), [20.0] * len(loads))


def rate(of: Course) -> float:
    return of.median(lambda load: load.per_second)


def test_medians_are_compared_and_a_missing_peer_leaves_no_ratio() -> None:
    courses = {"appliance": course([300, 100, 200], 1.0), "squid": course([100, 100, 400], 0.5)}
    goals = {"squid": 1.3, "envoy": 1.0, "haproxy": None}
    rows = compared(
        "gets", courses, goals=goals, missing={"envoy": "not here"}, figure=rate, told=Course.by_request
    )
    assert [(row.name, row.ratio, row.goal, row.reason) for row in rows] == [
        ("gets / squid", 2.0, 1.3, ""), ("gets / envoy", None, 1.0, "not here"),
    ]  # fmt: skip
    assert rows[0].raw["ours_per_second"] == 200
    assert rows[0].raw["ours_range_per_second"] == [100, 300]
    assert rows[0].raw["peer_version"] == "1.0"


def test_cpu_is_told_by_request_and_by_gigabyte_where_there_are_processes() -> None:
    assert course([100], 0.5).by_request()["cpu_us_a_request"] == pytest.approx(2500)
    assert course([100], 0.5).by_byte()["cpu_s_a_gb"] == pytest.approx(2.5)
    assert "cpu_us_a_request" not in course([100]).by_request()
    assert "cpu_s_a_gb" not in course([100]).by_byte()


def test_what_the_direct_way_takes_is_nobodys() -> None:
    ours, peer, direct = course([10], p99=1.4), course([10], p99=1.2), course([10], p99=1.0)
    rates = {"appliance": 10, "squid": 10}
    row = waits.row("p99", rates, ours, peer, direct)
    assert row.ratio == pytest.approx(2.0)
    assert row.reached is False
    assert waits.row("p99", rates, direct, direct, direct).ratio == 1


def test_two_workers_are_judged_where_there_are_processors_for_them() -> None:
    row = workers.row(course([100]), course([190]), 4)
    assert (row.ratio, row.goal, row.reason) == (pytest.approx(1.9), 1.7, "")
    row = workers.row(course([100]), course([110]), 2)
    assert row.goal is None
    assert row.reason.startswith("2 processors")


def test_a_missed_goal_is_told_with_the_processor_time_of_both() -> None:
    courses = {"appliance": course([100], 0.5), "squid": course([200], 0.5)}
    (row,) = compared("gets", courses, goals={"squid": 1.0}, missing={}, figure=rate, told=Course.by_request)
    assert row.reached is False
    assert row.reason.startswith("2500.0 us of a processor a request against 1250.0")
    (row,) = compared("gets", courses, goals={"squid": 0.5}, missing={}, figure=rate, told=Course.by_request)
    assert row.reason == ""
    courses = {"appliance": course([100], 0.5), "direct": course([200])}
    (row,) = compared("gets", courses, goals={"direct": 0.9}, missing={}, figure=rate, told=Course.by_request)
    assert row.reason.startswith("2500.0 us of a processor a request that the direct way has no use for")
