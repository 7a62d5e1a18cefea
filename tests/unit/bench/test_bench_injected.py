"""What the rows say of measured calls and handles; and that the job in the container is a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import injected
from tests.bench.injected import BACK_TO_BACK, RATES, Calls, Gifts, added, handles
from tests.bench.loads import Load
from tests.bench.origin import PROVIDER, SITE, configuration


def calls(*times: tuple[float, float]) -> Calls:
    loads = [Load(600, 6.0, p50, p99) for p50, p99 in times]
    return Calls(loads, [200.0] * len(times), [900.0] * len(times))


def test_what_is_added_is_told_in_milliseconds_and_the_middle_is_judged() -> None:
    p50, p99 = added(0, calls((1.0, 3.0), (1.2, 9.0), (1.1, 4.0)), calls((1.9, 8.0), (2.0, 7.0), (2.4, 30.0)))
    assert p50.ratio == pytest.approx(0.9)
    assert p50.reached
    assert (p99.ratio, p99.reached) == (4.0, None)
    assert p50.raw["ours_p50_ms"] == 2.0
    assert p50.raw["ours_broker_us_a_call"] == 900
    missed = added(0, calls((1.0, 3.0)), calls((2.1, 8.0)))[0]
    assert missed.reached is False
    assert missed.reason.startswith("900 us of the broker's processor")
    assert not p50.reason


def test_the_client_that_waits_for_its_answers_is_judged_and_every_pace_is_told_by_its_name() -> None:
    assert RATES[0] == BACK_TO_BACK
    found = [row for rate in RATES for row in added(rate, calls((1.0, 3.0)), calls((3.0, 8.0)))]
    assert [row.name.rpartition(", ")[2] for row in found[::2]] == [
        "back to back / 1 ms",
        "250 a second / 1 ms",
        "60 a second / 1 ms",
    ]
    assert [row.goal for row in found] == [1.0, None, None, None, None, None]
    assert [row.reached for row in found] == [False, None, None, None, None, None]
    assert all(row.ratio is not None for row in found)
    assert len({row.name for row in found}) == len(found)


def test_handles_are_counted_from_the_first_wish_to_the_last_gift() -> None:
    row = handles([Gifts(240, 1.0, [2.0] * 239 + [40.0], 900.0), Gifts(240, 2.0, [4.0] * 240, 1100.0)])
    assert row.raw["ours_handles_per_second"] == 180
    assert row.raw["range_per_second"] == [120, 240]
    assert (row.ratio, row.reached) == (None, None)


def test_one_server_has_both_names() -> None:
    text = configuration(Path("/nowhere"))
    assert {SITE.name, PROVIDER.name} <= set(text.replace(";", "").split())
    assert text.count("{") == text.count("}")


def test_the_containers_job_is_a_program() -> None:
    compile(injected.JOB.read_text(), str(injected.JOB), "exec")
