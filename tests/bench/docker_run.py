"""How long `docker run … true` takes on an appliance network, against `bridge` and `none`, in the same run.

`make bench`. The same image and flags everywhere; rounds are interleaved, so drift of the machine meets all
three alike. Prints medians and ratios and writes tests/bench/results/latest.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from appliance.verify.case import Image
from tests.lab import policies
from tests.lab.appliance import Appliance
from tests.lab.containers import HARDENED, IMAGES, build_images
from tests.lab.lab import Lab

ROUNDS = 20
WARM_UP = 2
NETWORKS = {"appliance": "lab-acme", "bridge": "bridge", "none": "none"}
RESULTS = Path(__file__).with_name("results") / "latest.json"


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


def measure() -> dict[str, list[float]]:
    """Seconds of each counted round, by kind of network."""
    seconds: dict[str, list[float]] = {kind: [] for kind in NETWORKS}
    for number in range(ROUNDS + WARM_UP):
        for kind, network in NETWORKS.items():
            took = once(network)
            if number >= WARM_UP:
                seconds[kind].append(took)
    return seconds


def rows(seconds: dict[str, list[float]]) -> list[dict[str, object]]:
    """One row a comparison, as the results file holds it."""
    ours = statistics.median(seconds["appliance"])
    return [
        {
            "name": f"docker run true: appliance network / {peer}",
            "ratio": round(ours / statistics.median(seconds[peer]), 3),
            "goal": 1.0 if peer == "bridge" else None,
            "direction": "down",
            "rounds": len(seconds[peer]),
            "median_ms": round(ours * 1000, 1),
            "peer_median_ms": round(statistics.median(seconds[peer]) * 1000, 1),
            "peer_range_ms": [round(min(seconds[peer]) * 1000, 1), round(max(seconds[peer]) * 1000, 1)],
            "range_ms": [
                round(min(seconds["appliance"]) * 1000, 1),
                round(max(seconds["appliance"]) * 1000, 1),
            ],
        }
        for peer in ("bridge", "none")
    ]


def main() -> int:
    """Measure on the lab; 0 when it could be measured."""
    build_images(print)
    with Lab() as lab, Appliance(lab, policies.POLICIES):
        found = rows(measure())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": found}, indent=2) + "\n")
    for row in found:
        print(f"{row['name']}: ratio {row['ratio']} (goal {row['goal']}), {row['median_ms']} ms against "
              f"{row['peer_median_ms']} ms, {row['rounds']} rounds each")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
