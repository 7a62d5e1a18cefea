"""What processes have used, as proc(5) tells it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of all threads so far (proc(5), fields 14 and 15 of stat)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory; what processes share is divided among them (PSS)."""
    kib = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kib += int(rollup.partition("\nPss:")[2].split()[0])
    return kib / 1024


def pin(pids: Iterable[int], processor: int) -> None:
    """Keep every thread of these processes on one processor."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {processor})


def wanted_and_stolen(stat: str) -> tuple[int, int]:
    """Ticks in which a processor of this machine had work, and those of them that others on its host had.

    `stat` is the text of /proc/stat (proc(5): user, nice, system, idle, iowait, irq, softirq, steal).
    """
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.split()[1:9])
    return user + nice + system + irq + softirq + steal, steal


def stolen_percent(before: str, after: str) -> float:
    """Of the time between two texts of /proc/stat in which a processor had work: how much others had it."""
    wanted, stolen = (b - a for a, b in zip(wanted_and_stolen(before), wanted_and_stolen(after), strict=True))
    return 100 * stolen / wanted if wanted else 0.0


def percentile(values: Iterable[float], part: float) -> float:
    """The value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
