"""How long `docker run … true` takes on an appliance network, against bridges and `none`, in the same run.

`make bench`, or `python -m tests.bench docker-run`. The same image and flags everywhere; rounds are interleaved, so
drift of the machine meets all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.verify.case import Image
from tests.bench.rows import Row
from tests.lab import policies
from tests.lab.appliance import Appliance
from tests.lab.containers import HARDENED, IMAGES, build_images
from tests.lab.lab import Lab
from tests.lab.namespaces import run

RUNS = 4
"""On each network, in a round."""
WARM_UP = 2
OWN_BRIDGE = "egress-bench-bridge"
NETWORKS = {"appliance": "lab-acme", "bridge": "bridge", "bridge of one's own": OWN_BRIDGE, "none": "none"}
GOALS = {"bridge": 1.0, "bridge of one's own": 1.0}
EMBEDDED_DNS = (
    "in every network but its default bridge dockerd serves names, and has a child of its own run iptables eleven"
    " times at each start: 90 to 98 ms from its fork to its exit by the kernel's own events, of 584 for the whole;"
    " on the default bridge there is no such child; the row of a bridge of one's own has it as well"
)


def once(network: str) -> float:
    """Seconds of one run; the entry point is left out, because it waits for the gateway where there is one."""
    command = [
        "docker",
        "run",
        "--rm",
        "--network",
        network,
        *HARDENED,
        "--entrypoint",
        "/bin/true",
        IMAGES[Image.PYTHON],
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return time.perf_counter() - began


def seconds_of(runs: int) -> dict[str, list[float]]:
    """Seconds of each counted run, by kind of network."""
    seconds: dict[str, list[float]] = {kind: [] for kind in NETWORKS}
    for number in range(runs + WARM_UP):
        for kind, network in NETWORKS.items():
            took = once(network)
            if number >= WARM_UP:
                seconds[kind].append(took)
    return seconds


def row(seconds: dict[str, list[float]], peer: str) -> Row:
    """Ours against one peer."""
    ours, theirs = seconds["appliance"], seconds[peer]
    ratio = statistics.median(ours) / statistics.median(theirs)
    return Row(
        f"docker run true: appliance network / {peer}",
        ratio,
        GOALS.get(peer),
        "down",
        {
            "ours_median_ms": round(statistics.median(ours) * 1000, 1),
            "peer_median_ms": round(statistics.median(theirs) * 1000, 1),
            "ours_range_ms": [round(min(ours) * 1000, 1), round(max(ours) * 1000, 1)],
            "peer_range_ms": [round(min(theirs) * 1000, 1), round(max(theirs) * 1000, 1)],
            "rounds": len(ours),
        },
        reason=EMBEDDED_DNS if peer == "bridge" and ratio > 1 else "",
    )


def rows(seconds: dict[str, list[float]]) -> list[Row]:
    """One row a comparison."""
    return [row(seconds, peer) for peer in NETWORKS if peer != "appliance"]


def measure(rounds: int) -> list[Row]:
    """On the lab."""
    build_images(print)
    with Lab() as lab, Appliance(lab, policies.POLICIES), own_bridge():
        return rows(seconds_of(RUNS * rounds))


@contextmanager
def own_bridge() -> Iterator[None]:
    """A network as users define them, with Docker's own driver."""
    run("docker", "network", "rm", OWN_BRIDGE, check=False)
    run("docker", "network", "create", OWN_BRIDGE)
    try:
        yield
    finally:
        run("docker", "network", "rm", OWN_BRIDGE, check=False)
