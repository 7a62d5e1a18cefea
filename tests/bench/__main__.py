"""`make bench`: comparisons with peers, and what grows with what, as ratios measured in the same run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import bulk, gets, peers, report
from tests.bench.field import Field
from tests.bench.peers import Kind
from tests.bench.rows import Row

SQUID, MITMPROXY = peers.SQUID, peers.MITMPROXY
ON_THE_FIELD: dict[str, tuple[Callable[[Field, int], list[Row]], tuple[Kind, ...]]] = {
    "plain": (gets.plain, (SQUID, peers.ENVOY, peers.HAPROXY, peers.TINYPROXY)),
    "intercepted": (gets.intercepted, (SQUID, MITMPROXY)),
    "fresh": (gets.fresh, (SQUID, MITMPROXY)),
    "download": (bulk.download, (SQUID, MITMPROXY)),
    "tunnel": (bulk.tunnel, (SQUID,)),
}
"""Which, by name: how it is measured, and the peers that it needs."""


def main() -> int:
    """0 when everything could be measured; whether goals are reached, the table says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("which", nargs="*", help=f"of {', '.join(ON_THE_FIELD)}; left out: all")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--peers", help="only these, by comma")
    parser.add_argument(
        "--lock", type=Path, help="a file to lock while a load runs, where others measure too"
    )
    chosen = parser.parse_args()
    which = chosen.which or list(ON_THE_FIELD)
    for name in which:
        if name not in ON_THE_FIELD:
            parser.error(f"{name} is none of {', '.join(ON_THE_FIELD)}")
    rows: list[Row] = []
    measures = [ON_THE_FIELD[name] for name in which]
    kinds = {kind.name: kind for _, needed in measures for kind in needed}
    if chosen.peers is not None:
        kinds = {name: kind for name, kind in kinds.items() if name in chosen.peers.split(",")}
    with Field(tuple(kinds.values()), chosen.lock) as field:
        for measure, _ in measures:
            rows += measure(field, chosen.rounds)
            report.write(rows)
    print(report.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
