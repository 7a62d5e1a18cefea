"""How long one tenant waits while another floods, against how long it waits in quiet, in the same run.

`make bench`. A container of one tenant asks for a page again and again, on a connection and with a look-up of
its own each time; beside it a container of another tenant does nothing, or floods in one way. Rounds of quiet and
of each flood alternate, so drift of the machine meets all alike. The flooder's limits are the defaults, of the policy
and of `egress run`.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from appliance.verify.case import Image
from tests.bench.figures import percentile
from tests.bench.rows import Row
from tests.lab import internet, policies
from tests.lab.appliance import Appliance
from tests.lab.containers import IMAGES, build_images, logs_of, run_hardened, start_hardened
from tests.lab.internet import WWW
from tests.lab.lab import Lab
from tests.lab.namespaces import run

REQUESTS = 150
PAUSE = 0.06  # with two questions a request, below what a container may ask the resolver
GOAL = 2.0
KINDS = ("quiet", "requests", "connections", "dns", "bytes")
WORKING, FLOODING = policies.READER, "lab-flood"
FLOOD_SECONDS = 15
AS_RUN = ("--cpus", "1")  # as `egress run` bounds a job: who floods has not the host's processors as well
LAB = Path(__file__).parents[1] / "lab"


def waited() -> list[float]:
    """Milliseconds of each request of the working tenant. Raises `RuntimeError` when one was not answered."""
    text = (LAB / "steady.py").read_text()
    done = run_hardened(
        WORKING, IMAGES[Image.PYTHON], ("python3", "-c", text, WWW.name, str(REQUESTS), str(PAUSE))
    )
    if done.status != 0:
        raise RuntimeError(f"the working tenant's container failed: {done.text[-500:]}")
    said = json.loads(done.text.splitlines()[-1])
    if said["statuses"] != {"200": REQUESTS}:
        raise RuntimeError(f"the working tenant lost answers: {said['statuses']}")
    return [float(each) for each in said["milliseconds"]]


def beside(kind: str) -> tuple[list[float], str]:
    """The same beside a flood; with what the flooder got, on one line."""
    if kind == "quiet":
        return waited(), ""
    text = (LAB / "flood.py").read_text()
    command = ("python3", "-c", text, WWW.name, str(FLOOD_SECONDS), *[kind] * 3)
    flooder = start_hardened(FLOODING, IMAGES[Image.PYTHON], command, *AS_RUN)
    try:
        return waited(), (logs_of(flooder).splitlines() or [""])[0]
    finally:
        run("docker", "rm", "-f", flooder, check=False)


def waits(rounds: int) -> dict[str, list[float]]:
    """Milliseconds by kind, over all rounds."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS:
            milliseconds, flooder = beside(kind)
            found[kind] += milliseconds
            print(f"round {number + 1} {kind}: p99 {percentile(milliseconds, 0.99):.1f} ms {flooder}")
    return found


def rows(found: dict[str, list[float]]) -> list[Row]:
    """One row a flood."""
    quiet = found["quiet"]
    return [
        Row(
            f"p99 of one tenant while another floods {kind} / in quiet",
            percentile(values, 0.99) / percentile(quiet, 0.99),
            GOAL,
            "down",
            {
                "ours_p99_ms": round(percentile(values, 0.99), 1),
                "peer_p99_ms": round(percentile(quiet, 0.99), 1),
                "ours_median_ms": round(statistics.median(values), 1),
                "peer_median_ms": round(statistics.median(quiet), 1),
                "requests": len(values),
            },
        )
        for kind, values in found.items()
        if kind != "quiet"
    ]


def measure(rounds: int) -> list[Row]:
    """On the lab."""
    build_images(print)
    with Lab() as lab, Appliance(lab, policies.POLICIES) as appliance:
        draft = internet.RUNTIME / f"{FLOODING}.yaml"
        draft.write_text("profile: read-only-web\n")
        appliance.egress("tenant", "add", FLOODING, "--policy", str(draft))
        return rows(waits(rounds))
