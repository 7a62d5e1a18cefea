"""Sliding windows in integers (F4): exact, without drift, and too strict rather than too loose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.limits.window import SECOND, add, idle, used, wait

LENGTH = SECOND


def test_a_full_window_fades_evenly_in_the_next() -> None:
    cells = [0, 0, 0]
    add(cells, 0, 5 * SECOND, LENGTH, 100)
    assert used([(cells, 0)], 0, 5 * SECOND + SECOND // 2, LENGTH) == 100
    assert used([(cells, 0)], 0, 6 * SECOND, LENGTH) == 100
    assert used([(cells, 0)], 0, 6 * SECOND + SECOND // 4, LENGTH) == 75
    assert used([(cells, 0)], 0, 7 * SECOND, LENGTH) == 0


def test_quiet_windows_are_forgotten() -> None:
    cells = [0, 0, 0]
    add(cells, 0, 5 * SECOND, LENGTH, 100)
    add(cells, 0, 9 * SECOND, LENGTH, 1)
    assert cells == [9, 1, 0]
    assert not idle(cells, 0, 10 * SECOND, LENGTH)
    assert idle(cells, 0, 11 * SECOND, LENGTH)
    assert idle([0, 0, 0], 0, SECOND // 2, LENGTH)


def test_what_others_counted_counts() -> None:
    one, other, old = [5, 30, 0], [4, 40, 0], [2, 99, 99]
    assert used([(one, 0), (other, 0), (old, 0)], 0, 5 * SECOND, LENGTH) == 70


def test_the_wait_is_exact() -> None:
    cells = [0, 0, 0]
    add(cells, 0, 5 * SECOND, LENGTH, 10)
    late = wait([(cells, 0)], 0, 5 * SECOND, LENGTH, 10)
    assert late == SECOND + SECOND // 10
    assert wait([(cells, 0)], 0, 5 * SECOND + late, LENGTH, 10) == 0
    assert wait([(cells, 0)], 0, 5 * SECOND + late - 1, LENGTH, 10) == 1


COUNTS = st.integers(0, 2**50)


@given(COUNTS, COUNTS, st.integers(0, LENGTH - 1), st.integers(1, 2**50))
def test_after_the_wait_it_fits_and_before_it_does_not(current, previous, passed, limit) -> None:
    now = 7 * LENGTH + passed
    place = ([7, current, previous], 0)
    late = wait([place], 0, now, LENGTH, limit)
    assert used([place], 0, now + late, LENGTH) < limit
    if late:
        assert used([place], 0, now, LENGTH) >= limit
        assert used([place], 0, now + late - 1, LENGTH) >= limit


@given(st.lists(st.tuples(st.integers(0, 3 * LENGTH), st.integers(1, 5)), max_size=200), st.integers(1, 20))
def test_no_window_admits_more_than_the_limit(steps, limit) -> None:
    """Whatever the pace: in each cut of time at most `limit`."""
    cells = [0, 0, 0]
    now, admitted = 10 * LENGTH, []
    for pause, amount in steps:
        now += pause
        for _ in range(amount):
            if not wait([(cells, 0)], 0, now, LENGTH, limit):
                add(cells, 0, now, LENGTH, 1)
                admitted.append(now // LENGTH)
    assert all(admitted.count(number) <= limit for number in set(admitted))


def test_years_of_use_do_not_drift() -> None:
    cells = [0, 0, 0]
    for step in range(100_000):
        add(cells, 0, step * 315_360_000_123, LENGTH, 3)
    assert cells[1] == 3
    assert all(isinstance(cell, int) for cell in cells)
