"""What is read of /proc."""

from __future__ import annotations

import pytest

from tests.bench.figures import stolen_percent

BEFORE = "cpu  100 10 50 9000 70 1 9 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"


@pytest.mark.parametrize(
    ("after", "percent"),
    [
        (BEFORE, 0.0),
        ("cpu  100 10 50 9900 990 1 9 30 0 0\n", 0.0),  # nobody wanted anything
        ("cpu  160 20 60 9900 70 2 13 46 0 0\n", 100 * 16 / 101),
        ("cpu  100 10 50 9000 70 1 9 40 0 0\n", 100.0),
    ],
)
def test_the_share_of_others_is_that_of_the_time_in_which_there_was_work(after: str, percent: float) -> None:
    assert stolen_percent(BEFORE, after) == pytest.approx(percent)
