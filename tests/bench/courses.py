"""What each contestant did, round by round, and the rows that come of comparing it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.bench.loads import Load
from tests.bench.rows import Direction, Row

OURS = "appliance"
Goals = Mapping[str, float | None]
"""Goal by peer; None is told, not judged."""


@dataclass(slots=True)
class Course:
    """The rounds of one contestant: loads, CPU seconds of all its processes, their memory afterwards."""

    version: str = ""
    loads: list[Load] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    def median(self, of: Callable[[Load], float]) -> float:
        """Over the rounds."""
        return statistics.median(map(of, self.loads))

    def cpu_median(self, of: Callable[[Load], float]) -> float:
        """CPU seconds for one of what `of` counts in a load, over the rounds."""
        each = zip(self.cpu_seconds, self.loads, strict=True)
        return statistics.median(cpu / of(load) for cpu, load in each)

    def by_request(self) -> dict[str, Any]:
        """What a row tells of loads of many requests."""
        rates = [round(load.per_second) for load in self.loads]
        told: dict[str, Any] = {
            "per_second": round(self.median(lambda load: load.per_second)),
            "range_per_second": [min(rates), max(rates)],
            "p50_ms": round(self.median(lambda load: load.p50_ms), 2),
            "p99_ms": round(self.median(lambda load: load.p99_ms), 2),
        }
        if any(self.cpu_seconds):
            told["cpu_us_a_request"] = round(1e6 * self.cpu_median(lambda load: load.requests), 1)
            told["memory_mib"] = round(statistics.median(self.memory_mib), 1)
        return told

    def by_byte(self) -> dict[str, Any]:
        """What a row tells of loads of many octets."""
        rates = [round(load.megabytes_per_second) for load in self.loads]
        told: dict[str, Any] = {
            "mb_per_second": round(self.median(lambda load: load.megabytes_per_second)),
            "range_mb_per_second": [min(rates), max(rates)],
        }
        if any(self.cpu_seconds):
            told["cpu_s_a_gb"] = round(self.cpu_median(lambda load: load.bytes / 1e9), 3)
            told["memory_mib"] = round(statistics.median(self.memory_mib), 1)
        return told


def compared(
    work: str,
    courses: Mapping[str, Course],
    *,
    goals: Goals,
    missing: Mapping[str, str],
    figure: Callable[[Course], float],
    told: Callable[[Course], dict[str, Any]],
    direction: Direction = "up",
) -> list[Row]:
    """A row a peer: `figure` of ours over its; a peer that is `missing` leaves a row without a ratio."""
    rows = []
    for name, goal in goals.items():
        if name in missing:
            rows.append(Row(f"{work} / {name}", None, goal, direction, {}, missing[name]))
        if name not in courses:  # missing, or not asked for
            continue
        ours, peer = courses[OURS], courses[name]
        raw = {
            **{f"ours_{key}": value for key, value in told(ours).items()},
            **{f"peer_{key}": value for key, value in told(peer).items()},
            "peer_version": peer.version,
            "rounds": len(ours.loads),
        }
        row = Row(f"{work} / {name}", figure(ours) / figure(peer), goal, direction, raw)
        rows.append(replace(row, reason=processor_time(raw)) if row.reached is False else row)
    return rows


def processor_time(raw: Mapping[str, Any]) -> str:
    """Why a goal is missed, as far as the processor's time tells; ARCHITECTURE.md says where ours goes."""
    for key, unit in (
        ("cpu_us_a_request", "us of a processor a request"),
        ("cpu_s_a_gb", "s of a processor a GB"),
    ):
        ours, peer = raw.get(f"ours_{key}"), raw.get(f"peer_{key}")
        if ours:
            against = f"against {peer}" if peer else "that the direct way has no use for"
            return f"{ours} {unit} {against} (ARCHITECTURE.md, What a request costs)"
    return ""
