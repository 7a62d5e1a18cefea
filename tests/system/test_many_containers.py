"""Fifty containers of five tenants, started and removed in parallel: nothing of them stays behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.verify.case import Image
from tests.lab import internet
from tests.lab.appliance import INSTANCE, Appliance
from tests.lab.containers import IMAGES, run_hardened, start_hardened
from tests.lab.lab import Lab
from tests.lab.namespaces import inside, run

pytestmark = pytest.mark.system

TENANTS = [f"many-{number}" for number in range(5)]
CONTAINERS = 50
AT_ONCE = 6  # on two cores; more would measure the machine


@pytest.fixture
def tenants(appliance: Appliance) -> Iterator[list[str]]:
    for tenant in TENANTS:
        appliance.egress("tenant", "add", tenant)
    yield TENANTS
    for tenant in TENANTS:
        appliance.egress("tenant", "rm", tenant, "--purge", check=False)


def namespaces() -> list[str]:
    return [entry["name"] for entry in json.loads(run("ip", "-j", "netns"))]


def links() -> list[str]:
    return [link["ifname"] for link in json.loads(run("ip", "-j", "link"))]


def state() -> dict[str, object]:
    """All that a container could leave: links, addresses, rules and routes of both sides, namespaces."""
    gateway = [link["ifname"] for link in json.loads(run(*inside(INSTANCE, "ip", "-j", "link")))]
    return {
        "gateway links": sorted(gateway),
        # Without the containers' ends of our links: one that is left has its other end in the gateway.
        "host links": sorted(
            name for name in links() if name.startswith(("veth", INSTANCE, internet.PREFIX))
        ),
        "gateway routes": sorted(run(*inside(INSTANCE, "ip", "route", "show", "table", "all")).splitlines()),
        "gateway neighbours": [
            n for n in json.loads(run(*inside(INSTANCE, "ip", "-j", "neigh"))) if n["dev"] != "uplink"
        ],
        # Terse: `opening` holds who was there within the last minute. Who is there stands in `endpoints`.
        "gateway rules": run(*inside(INSTANCE, "nft", "-s", "-t", "list", "ruleset")),
        "gateway endpoints": run(
            *inside(INSTANCE, "nft", "-s", "list", "map", "inet", INSTANCE, "endpoints")
        ),
        # Not /var/run/docker/netns: Docker removes the files of its own sandboxes once a minute.
        "namespaces": sorted(name for name in namespaces() if name.startswith((INSTANCE, internet.PREFIX))),
    }


def test_fifty_containers_of_five_tenants_leave_nothing(
    lab: Lab, appliance: Appliance, tenants: list[str]
) -> None:
    before = state()
    command = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"https://{internet.WWW.name}/")

    def one(number: int) -> str:
        output = run_hardened(tenants[number % len(tenants)], IMAGES[Image.PYTHON], command, seconds=120)
        return output.text if output.status == 0 else f"status {output.status}: {output.text}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, range(CONTAINERS)))
    assert results == ["200"] * CONTAINERS

    deadline = time.monotonic() + 15
    while (after := state()) != before and time.monotonic() < deadline:
        time.sleep(0.5)
    assert after == before
    doctor = appliance.egress("--json", "doctor", check=False)
    assert doctor.returncode == 0, [check for check in json.loads(doctor.stdout) if not check["ok"]]


def test_containers_stopped_by_force_leave_nothing(
    lab: Lab, appliance: Appliance, tenants: list[str]
) -> None:
    before = state()
    started = [start_hardened(tenant, IMAGES[Image.PYTHON], ("sleep", "100")) for tenant in tenants]
    assert state() != before
    run("docker", "rm", "-f", *started, timeout=60)
    deadline = time.monotonic() + 15
    while (after := state()) != before and time.monotonic() < deadline:
        time.sleep(0.5)
    assert after == before
