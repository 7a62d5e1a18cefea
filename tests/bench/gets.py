"""GET of 1 KiB over connections that are kept, plain and intercepted: requests a second of one worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench import loads
from tests.bench.field import Course, Field
from tests.bench.loads import Load, Seat
from tests.bench.rows import Row

SECONDS = 4
PLAIN = {"squid": 1.3, "envoy": 1.0, "haproxy": None, "tinyproxy": None, "direct": None}
"""Goal by peer; None is told, not judged."""


def plain(field: Field, rounds: int) -> list[Row]:
    """HTTP."""

    def put(seats: Sequence[Seat]) -> Load:
        return loads.wrk(seats[:1], "http", SECONDS)

    courses = field.rounds(["appliance", *PLAIN], rounds, put, loads.CONNECTIONS)
    return compared("plain GET 1 KiB keep-alive, one worker", courses, PLAIN, field.missing)


def compared(
    work: str, courses: Mapping[str, Course], goals: Mapping[str, float | None], missing: Mapping[str, str]
) -> list[Row]:
    """A row for each peer, by requests a second."""
    ours = courses["appliance"]
    rows = []
    for name, goal in goals.items():
        if name in missing:
            rows.append(Row(f"{work} / {name}", None, goal, "up", {}, missing[name]))
        if name not in courses:  # missing, or not asked for
            continue
        peer = courses[name]
        raw = {"peer_version": peer.contestant.version, **ours.figures("ours"), **peer.figures("peer"),
               "rounds": len(ours.loads)}  # fmt: skip
        rows.append(Row(f"{work} / {name}", ours.per_second / peer.per_second, goal, "up", raw))
    return rows
