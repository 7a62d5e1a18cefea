"""Rows as a table and as the results file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.rows import Row

FASTER = Row("gets / squid", 1.5, 1.3, "up", {"ours_per_second": 3000, "peer_per_second": 2000})
FATTER = Row("memory / squid", 1.2, 1.0, "down", {"ours_kib": 12.5, "peer_kib": 10.4}, "a leaf a name")
ABSENT = Row("gets / envoy", None, 1.0, "up", {}, "envoy is not installed")
TOLD = Row("gets / direct", 0.4, None, "up")


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (FASTER, True), (FATTER, False), (ABSENT, None), (TOLD, None),
        (Row("", 1.3, 1.3, "up"), True), (Row("", 1.0, 1.0, "down"), True), (Row("", 1.29, 1.3, "up"), False),
    ],
)  # fmt: skip
def test_a_goal_is_reached_or_not_or_not_judged(row: Row, *, reached: bool | None) -> None:
    assert row.reached is reached
    assert row.as_json()["reached"] is reached


def test_the_table_has_figures_goals_and_reasons() -> None:
    lines = report.table([FASTER, FATTER, ABSENT, TOLD]).splitlines()
    assert lines[1].split("  ")[0] == "gets / squid"
    assert "3,000 per second" in lines[1]
    assert "2,000 per second" in lines[1]
    assert "≥ 1.3" in lines[1]
    assert lines[1].endswith("yes")
    assert "12.5 kib" in lines[2]
    assert "≤ 1" in lines[2]
    assert lines[2].endswith("NO")
    assert lines[3].strip() == "a leaf a name"
    assert "–" in lines[4]
    assert "yes" not in lines[4]
    assert lines[5].strip() == "envoy is not installed"


def test_the_results_file_keeps_rows_that_were_not_measured_again(tmp_path: Path) -> None:
    place = tmp_path / "results" / "latest.json"
    report.write([FASTER, FATTER], place)
    report.write([Row("gets / squid", 1.6, 1.3, "up"), ABSENT], place)
    rows = json.loads(place.read_text())["rows"]
    assert [(row["name"], row["ratio"]) for row in rows] == [
        ("memory / squid", 1.2), ("gets / squid", 1.6), ("gets / envoy", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shares", "said"), [([], ""), ([0.1, 1.9], ""), ([0.4, 22.3], "had 0 to 22 % of the processor time")]
)
def test_a_machine_that_others_use_is_told_of(shares: list[float], said: str) -> None:
    rows = [FASTER, *(Row(f"row {n}", 1.0, None, "up", {"stolen_percent": n}) for n in shares)]
    last = report.table(rows).splitlines()[-1]
    assert (said in last) if said else ("host" not in last)
