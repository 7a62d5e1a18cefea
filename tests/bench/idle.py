"""What an intercepted connection that nobody uses keeps in memory: 500 more each round, all held to the end.

Each has had one answer. What is counted is how much the processes grow by a round, for one connection.
"""

from __future__ import annotations

import statistics
import subprocess
import time

from tests.bench.courses import OURS
from tests.bench.field import Contestant, Field
from tests.bench.figures import resident_mib
from tests.bench.ground import CLIENT
from tests.bench.loads import LoadFailed
from tests.bench.origin import SITE
from tests.bench.rows import Row

STEP = 500
PEER = "squid"
GOAL = 1.0
SETTLE_SECONDS = 0.5


def measure(field: Field, rounds: int) -> list[Row]:
    """The first 500 are not counted: what is allocated once is not a connection's."""
    work = "resident memory per idle intercepted connection"
    print(work, flush=True)
    if PEER in field.missing:
        return [Row(f"{work} / {PEER}", None, GOAL, "down", {}, field.missing[PEER])]
    found = {}
    for name in (OURS, PEER):
        with field.quiet():  # all of it at once: an idle connection is kept a minute or two
            found[name] = _growth(field.known[name], rounds)
        print(f"  {name}: {', '.join(f'{each:.1f}' for each in found[name])} KiB", flush=True)
    ours, peer = statistics.median(found[OURS]), statistics.median(found[PEER])
    raw = {
        "ours_kib": round(ours, 1),
        "peer_kib": round(peer, 1),
        "ours_rounds_kib": [round(each, 1) for each in found[OURS]],
        "peer_rounds_kib": [round(each, 1) for each in found[PEER]],
        "peer_version": field.known[PEER].version,
        "rounds": rounds,
    }
    return [Row(f"{work} / {PEER}", ours / peer, GOAL, "down", raw)]


def _growth(contestant: Contestant, rounds: int) -> list[float]:
    """KiB for each connection more, round by round. Raises `LoadFailed`."""
    argv = (str(CLIENT), "hold", "tls", SITE.name, SITE.address, str(STEP))
    with subprocess.Popen(
        contestant.seats[0].command(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        before, growth = 0.0, []
        for number in range(rounds + 1):
            client.stdin.write("more\n")
            client.stdin.flush()
            held, lost = map(int, client.stdout.readline().split())
            if lost or held != STEP * (number + 1):
                raise LoadFailed(f"{contestant.name}: of {STEP * (number + 1)} connections {held} are held")
            time.sleep(SETTLE_SECONDS)
            now = resident_mib(contestant.pids())
            if number:
                growth.append((now - before) * 1024 / STEP)
            before = now
        client.stdin.close()
    return growth
