"""`make bench`: comparisons with peers, and what grows with what, as ratios measured in the same run.

Prints one table and writes tests/bench/results/latest.json; rows that were not measured again stay there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from tests.bench import bulk, gets, idle, peers, picture, report, waits, workers
from tests.bench.field import Field
from tests.bench.figures import stolen_percent
from tests.bench.peers import Kind
from tests.bench.rows import Row

SQUID, MITMPROXY = peers.SQUID, peers.MITMPROXY
ON_THE_FIELD: dict[str, tuple[Callable[[Field, int], list[Row]], tuple[Kind, ...]]] = {
    "plain": (gets.plain, (SQUID, peers.ENVOY, peers.HAPROXY, peers.TINYPROXY)),
    "intercepted": (gets.intercepted, (SQUID, MITMPROXY)),
    "fresh": (gets.fresh, (SQUID, MITMPROXY)),
    "download": (bulk.download, (SQUID, MITMPROXY)),
    "tunnel": (bulk.tunnel, (SQUID,)),
    "p99": (waits.plain, (SQUID,)),
    "p99-intercepted": (waits.intercepted, (SQUID,)),
    "idle": (idle.measure, (SQUID,)),
}
"""Measured beside peers: how, and the peers that it needs."""
WORKERS = "workers"
"""On the field as well, which is laid anew for each number of workers."""
ALONE = {
    "docker-run": "docker_run",
    "verdicts": "verdicts",
    "reloads": "reloads",
    "leaves": "leaves",
    "questions": "questions",
    "scale": "scale",
    "fairness": "fairness",
    "memory": "memory",
    "scrub": "scrub",
    "injected": "injected",
}
"""Modules that bring their own surroundings: each has `measure(rounds)`."""


def main() -> int:
    """0 when everything could be measured; whether goals are reached, the table says."""
    known = (*ON_THE_FIELD, WORKERS, *ALONE)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("which", nargs="*", help=f"of {', '.join(known)}; left out: all")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--peers", help="only these, by comma")
    parser.add_argument("--lock", type=Path, help="a file to lock for each round, where others measure too")
    parser.add_argument("--picture", action="store_true", help="draw tests/bench/results.svg anew")
    chosen = parser.parse_args()
    which = chosen.which or list(known)
    for name in which:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    rows = _on_the_field([name for name in which if name in ON_THE_FIELD], chosen)
    if WORKERS in which:
        rows += _measured(partial(workers.measure, chosen.lock, chosen.rounds))
        report.write(rows)
    for name in which:
        if name in ALONE:
            print(name, flush=True)
            module = import_module(f"tests.bench.{ALONE[name]}")
            rows += _measured(partial(module.measure, chosen.rounds))
            report.write(rows)
    print(report.table(rows))
    if chosen.picture:
        picture.draw()
    return 0


def _measured(measure: Callable[[], list[Row]]) -> list[Row]:
    """The rows, each with how much of the processors others had meanwhile."""
    stat = Path("/proc/stat")
    before = stat.read_text()
    rows = measure()
    share = round(stolen_percent(before, stat.read_text()), 1)
    for row in rows:
        row.raw["stolen_percent"] = share
    return rows


def _on_the_field(which: list[str], chosen: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    measures = [ON_THE_FIELD[name] for name in which]
    kinds = {kind.name: kind for _, needed in measures for kind in needed}
    if chosen.peers is not None:
        kinds = {name: kind for name, kind in kinds.items() if name in chosen.peers.split(",")}
    if not measures:
        return rows
    with Field(tuple(kinds.values()), chosen.lock) as field:
        for measure, _ in measures:
            rows += _measured(partial(measure, field, chosen.rounds))
            report.write(rows)
    return rows


if __name__ == "__main__":
    sys.exit(main())
