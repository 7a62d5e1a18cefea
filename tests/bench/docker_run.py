"""How long `docker run … true` takes on an appliance network, against `bridge` and `none`, in the same run.

`make bench`, or `python -m tests.bench docker-run`. The same image and flags everywhere; rounds are interleaved, so drift of the machine meets all
three alike.
"""

from __future__ import annotations

import statistics
import subprocess
import time

from appliance.verify.case import Image
from tests.bench.rows import Row
from tests.lab import policies
from tests.lab.appliance import Appliance
from tests.lab.containers import HARDENED, IMAGES, build_images
from tests.lab.lab import Lab

RUNS = 4
"""On each network, in a round."""
WARM_UP = 2
NETWORKS = {"appliance": "lab-acme", "bridge": "bridge", "none": "none"}


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


def rows(seconds: dict[str, list[float]]) -> list[Row]:
    """One row a comparison."""
    ours = seconds["appliance"]
    return [
        Row(
            f"docker run true: appliance network / {peer}",
            statistics.median(ours) / statistics.median(seconds[peer]),
            1.0 if peer == "bridge" else None,
            "down",
            {
                "ours_median_ms": round(statistics.median(ours) * 1000, 1),
                "peer_median_ms": round(statistics.median(seconds[peer]) * 1000, 1),
                "ours_range_ms": [round(min(ours) * 1000, 1), round(max(ours) * 1000, 1)],
                "peer_range_ms": [
                    round(min(seconds[peer]) * 1000, 1),
                    round(max(seconds[peer]) * 1000, 1),
                ],
                "rounds": len(ours),
            },
        )
        for peer in ("bridge", "none")
    ]


def measure(rounds: int) -> list[Row]:
    """On the lab."""
    build_images(print)
    with Lab() as lab, Appliance(lab, policies.POLICIES):
        return rows(seconds_of(RUNS * rounds))
