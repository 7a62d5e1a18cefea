"""How much later the slowest answers come by way of a proxy, at half of what it carries at most.

Two rates of fixed pace, over connections that are there; what is late counts from when it was due. First each is
asked for half of its own most, which is measured in the same run: "half load" as an operator sizes a host. Then all
are asked for half of Squid's most, which is more of ours where Squid carries more: the same service side by side.
From each p99 that of the direct way at the same rate is taken away: what is left is the proxy's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.bench import loads
from tests.bench.courses import OURS, Course, processor_time
from tests.bench.field import Field
from tests.bench.loads import Load, Seat
from tests.bench.rows import Row

PEAK_SECONDS = 4
SECONDS = 10
"""So long that what a proxy does every few seconds is in each round."""
PEER = "squid"
GOAL = 1.0
OWN, PEERS = "one's own", "Squid's"
LEAST_MS = 0.05
"""Below it nothing is told apart on a machine that does other things too."""


def plain(field: Field, rounds: int) -> list[Row]:
    """HTTP."""
    return _measured("plain", "http", field, rounds)


def intercepted(field: Field, rounds: int) -> list[Row]:
    """HTTPS."""
    return _measured("intercepted", "https", field, rounds)


def _measured(kind: str, scheme: str, field: Field, rounds: int) -> list[Row]:
    work = f"added p99 at half of {{}} most, {kind} GET 1 KiB"
    print(work.format("the"), flush=True)
    if PEER in field.missing:
        return [Row(f"{work.format(whose)} / {PEER}", None, GOAL, "down", {}, field.missing[PEER])
                for whose in (OWN, PEERS)]  # fmt: skip

    def most(seats: Sequence[Seat]) -> Load:
        return loads.wrk(seats[:1], scheme, PEAK_SECONDS)

    peaks = field.rounds([OURS, PEER], 1, most, loads.CONNECTIONS)
    half = {name: round(course.loads[0].per_second / 2) for name, course in peaks.items()}

    def compared(whose: str, rates: Mapping[str, int]) -> Row:
        at = {field.known[name].seats[0]: rate for name, rate in rates.items()}

        def put(seats: Sequence[Seat]) -> Load:
            rate = at[seats[0]]
            return loads.client("paced", seats[:1], scheme, SECONDS, loads.CONNECTIONS, str(rate))

        courses = field.rounds([OURS, PEER, "direct"], rounds, put, loads.CONNECTIONS)
        return row(work.format(whose), rates, courses[OURS], courses[PEER], courses["direct"])

    return [
        compared(OWN, {**half, "direct": max(half.values())}),
        compared(PEERS, dict.fromkeys((OURS, PEER, "direct"), half[PEER])),
    ]


def row(work: str, rates: Mapping[str, int], ours: Course, peer: Course, direct: Course) -> Row:
    """Medians of the rounds' p99, less the direct way's."""

    def p99(course: Course) -> float:
        return statistics.median(load.p99_ms for load in course.loads)

    added = {who: p99(course) - p99(direct) for who, course in (("ours", ours), ("peer", peer))}
    raw = {f"{who}_added_p99_ms": round(value, 3) for who, value in added.items()}
    raw |= {
        "ours_asked_per_second": rates[OURS],
        "peer_asked_per_second": rates[PEER],
        "ours_got_per_second": round(ours.median(lambda load: load.per_second)),
        "peer_got_per_second": round(peer.median(lambda load: load.per_second)),
        "direct_p99_ms": round(p99(direct), 3),
        "ours_p50_ms": round(ours.median(lambda load: load.p50_ms), 3),
        "peer_p50_ms": round(peer.median(lambda load: load.p50_ms), 3),
        "peer_version": peer.version,
        "rounds": len(ours.loads),
    }
    for who, course in (("ours", ours), ("peer", peer)):
        # At this pace a turn has one event and not thirty: it costs more than at the most that is carried.
        raw[f"{who}_cpu_us_a_request"] = round(1e6 * course.cpu_median(lambda load: load.requests), 1)
    ratio = max(added["ours"], LEAST_MS) / max(added["peer"], LEAST_MS)
    told = Row(f"{work} / {PEER}", ratio, GOAL, "down", raw)
    return replace(told, reason=processor_time(raw)) if told.reached is False else told
