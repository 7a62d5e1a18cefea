"""Two workers against one: the same load on the same appliance, started once with each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.bench import loads
from tests.bench.courses import OURS, Course
from tests.bench.field import Field
from tests.bench.loads import Load, Seat
from tests.bench.rows import Row

SECONDS = 4
GOAL = 1.7
ENOUGH_PROCESSORS = 4
"""Two for the workers, two for clients and server."""
TOO_FEW = (
    "{} processors, which clients and server need as well: two workers cannot have one each. "
    "What a request costs them says what is left to gain"
)


def measure(lock: Path | None, rounds: int) -> list[Row]:
    """Plain GETs from all containers, which the kernel spreads over the workers by their addresses."""

    def put(seats: Sequence[Seat]) -> Load:
        return loads.wrk(seats, "http", SECONDS, connections=2 * loads.CONNECTIONS)

    print("two workers over one", flush=True)
    courses = {}
    for workers in (1, 2):
        with Field((), lock, workers) as field:
            courses[workers] = field.rounds([OURS], rounds, put, 2 * loads.CONNECTIONS)[OURS]
    return [row(courses[1], courses[2], os.cpu_count() or 1)]


def row(one: Course, two: Course, processors: int) -> Row:
    """Judged only where there are processors enough."""
    raw = {f"ours_{key}": value for key, value in two.by_request().items()}
    raw |= {f"peer_{key}": value for key, value in one.by_request().items()}
    raw |= {"processors": processors, "rounds": len(one.loads)}
    few = processors < ENOUGH_PROCESSORS
    return Row(
        "plain GET 1 KiB keep-alive, two workers / one",
        two.median(lambda load: load.per_second) / one.median(lambda load: load.per_second),
        None if few else GOAL,
        "up",
        raw,
        TOO_FEW.format(processors) if few else "",
    )
