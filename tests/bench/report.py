"""The rows as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.rows import Row

RESULTS = Path(__file__).with_name("results") / "latest.json"
_HEAD = ("comparison", "ours", "peer", "ratio", "goal", "reached")
TOLD_PERCENT = 2
_REACHED = {True: "yes", False: "NO", None: ""}


def figure(raw: dict[str, Any], who: str) -> str:
    """The first figure of `who` ("ours" or "peer"), with its unit, which is the rest of its key."""
    for key, value in raw.items():
        if key.startswith(f"{who}_") and isinstance(value, int | float):
            return f"{value:,} {key.removeprefix(f'{who}_').replace('_', ' ')}"
    return ""


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
    sign = "≥" if row.direction == "up" else "≤"
    goal = "" if row.goal is None else f"{sign} {row.goal:g}"
    return (row.name, figure(row.raw, "ours"), figure(row.raw, "peer"), ratio, goal, _REACHED[row.reached])


def table(rows: Sequence[Row]) -> str:
    """All rows, columns aligned; what a row gives as its reason on a line below it."""
    lines = [_HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = []
    for line, row in zip(lines, (None, *rows), strict=True):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if row is not None and row.reason:
            text.append(f"    {row.reason}")
    return "\n".join([*text, *stolen(rows)])


def stolen(rows: Sequence[Row]) -> list[str]:
    """A line about a machine that had not its processors to itself."""
    shares = [row.raw["stolen_percent"] for row in rows if "stolen_percent" in row.raw]
    if not shares or max(shares) < TOLD_PERCENT:
        return []
    share = f"{min(shares):.0f} to {max(shares):.0f} %"
    told = (
        f"Others on this machine's host had {share} of the processor time that it wanted, by row: where it is"
    )
    return [f"{told} much, times and ratios say little of the programs."]


def write(rows: Sequence[Row], place: Path = RESULTS) -> None:
    """Put the rows into the results file; what it holds of other rows stays."""
    try:
        old = json.loads(place.read_text())["rows"]
    except FileNotFoundError:
        old = []
    new = [row.as_json() for row in rows]
    names = {row["name"] for row in new}
    kept = [row for row in old if row["name"] not in names]
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps({"rows": [*kept, *new]}, indent=2) + "\n")
